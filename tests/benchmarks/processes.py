"""What processes cost: CPU time and memory, as Linux counts them in /proc."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
POLL_S = 0.01  # often enough that little of a short process's last moments is missed
RESET_PEAK = "5"  # proc(5): clear_refs takes 5 to set VmHWM to what is held now


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, with all its threads; to a hundredth."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def family_cpu_s(pid: int) -> float:
    """The same of a process with its children, those that have ended included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    alive_s = 0.0
    for child in children:
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            alive_s += cpu_s(int(child))
    return sum(map(int, fields[11:15])) / TICKS_PER_S + alive_s


def memory_mib(pid: int, name: str) -> float:
    """`VmRSS` (held now) or `VmHWM` (the most since the start, or since `reset_peak`)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has ended")


def reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)


@dataclass(frozen=True, slots=True)
class Spent:
    """What one finished process cost.

    Attributes:
        peak_mib: The most memory it held.
        out: What it printed.
    """

    cpu_s: float
    wall_s: float
    peak_mib: float
    out: str


def run(command: Sequence[str], *, may_fail: bool = False) -> Spent:
    """Run a program to its end.

    The peak is polled, since `getrusage` of a child begins at the peak of who started it.

    Raises:
        RuntimeError: It failed; the text is what it said.
    """
    start_s = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    texts = ["", ""]
    readers = [
        threading.Thread(target=_read, args=(texts, number, stream))
        for number, stream in enumerate((process.stdout, process.stderr))
    ]
    for reader in readers:
        reader.start()
    peak_mib = 0.0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        # It may end just now; the next look tells how.
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            peak_mib = max(peak_mib, memory_mib(process.pid, "VmHWM"))
        time.sleep(POLL_S)
    wall_s = time.perf_counter() - start_s
    process.returncode = os.waitstatus_to_exitcode(status)
    for reader in readers:
        reader.join()
    if process.returncode and not may_fail:
        raise RuntimeError(f"{' '.join(command)} failed: {texts[1].strip()}")
    return Spent(usage.ru_utime + usage.ru_stime, wall_s, peak_mib, texts[0])


def _read(texts: list[str], number: int, stream: IO[str] | None) -> None:
    assert stream is not None, "it was asked for"
    with stream:
        texts[number] = stream.read()
