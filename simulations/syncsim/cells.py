"""Many runs at once: one cell is one scenario, one seed; its results are one small file.

Cells run in processes of this machine or on a Dask cluster, in any order, and each comes to the
same results wherever it ran. A folder keeps them, so work that was interrupted goes on where it
stopped: a file is there whole or not at all, and is taken again only if scenario, seed, version
and sources are the same.
"""

import hashlib
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from syncproto.errors import ConfigError, SyncError
from syncsim import versions
from syncsim.plain import plain_scenario
from syncsim.run_folder import NotInstalledError, json_text, read_json
from syncsim.scenario import Scenario

CELLS = "cells"
DASK_CONNECT_S = 20
# A cell's results without what grows with the sites: a sweep keeps hundreds of them.
_LEFT_OUT = ("behind", "links_down", "sites", "links")
FAILURES_SHOWN = 10
_WAITING_MAX = 4  # cells handed over ahead for each process, each with its scenario


@dataclass(frozen=True, slots=True)
class Cell:
    """One run to be made.

    Attributes:
        label: What tells it from the other cells, apart from the seed: by name, plain values.
    """

    label: Mapping[str, Any]
    scenario: Scenario
    seed: int
    level: str = "sites"

    @property
    def name(self) -> str:
        """Of its file: the seed, and a digest of the label."""
        digest = hashlib.sha256(json_text([dict(self.label), self.level]).encode()).hexdigest()
        return f"seed-{self.seed}-{digest[:12]}.json"

    def identity(self) -> dict[str, Any]:
        """What must agree before results that are there already stand for this cell."""
        plain = plain_scenario(self.scenario)
        del plain["text"]  # comments have no say
        return {
            "label": dict(self.label),
            "seed": self.seed,
            "level": self.level,
            "scenario": hashlib.sha256(json_text(plain).encode()).hexdigest()[:16],
            "version": versions.version(),
            "code": versions.code_digest(),
        }


@dataclass(frozen=True, slots=True)
class Done:
    """A cell that was run.

    Attributes:
        results: `Results.plain()` without its matrices, sites and links.
    """

    cell: Cell
    results: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """A cell that a fault of the code, or the end of a process, kept from running."""

    cell: Cell
    reason: str


Work = Callable[[Cell], dict[str, Any]]


def run_cell(cell: Cell) -> dict[str, Any]:
    """Run one cell, here: its identity as this process sees it, and its results."""
    from syncsim import run

    results = run(cell.scenario, cell.seed, level=cell.level).results.plain()
    for name in _LEFT_OUT:
        del results[name]
    # As it will be after a way through a file: what is there already must look the same.
    made: dict[str, Any] = json.loads(json_text({"cell": cell.identity(), "results": results}))
    return made


def execute(
    cells: Sequence[Cell],
    folder: Path | None,
    *,
    jobs: int | None = None,
    dask: str | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    work: Work = run_cell,
) -> Iterator[Done | Failed]:
    """Run the cells that `folder` does not have yet; all of them, as they come to their end.

    Args:
        folder: Where results are kept; None keeps nothing.
        jobs: Processes; None for one a core.
        dask: Address of a scheduler that runs them instead.

    Raises:
        ConfigError: A file in the folder is of another scenario or version.
        NotInstalledError: `dask` is given and the package is not there.
    """
    left: list[Cell] = []
    for cell in cells:
        found = _found(cell, folder)
        if found is None:
            left.append(cell)
        else:
            yield Done(cell, found["results"])
    count = len(cells) - len(left)

    def tell() -> None:
        if progress is not None:
            progress(count, len(cells), f"{count} of {len(cells)} runs")

    tell()
    if not left:
        return
    if dask is not None:
        ended = _on_dask(left, dask, work)
    else:
        ended = _in_processes(left, jobs or cores(), work)
    for cell, made in ended:
        count += 1
        if isinstance(made, str):
            yield Failed(cell, made)
        elif differing := _differing(made, cell):
            # A worker of a cluster, or sources that were edited meanwhile.
            yield Failed(cell, f"it was run by another version of syncsim ({differing})")
        else:
            if folder is not None:
                _keep(folder, cell, made)
            yield Done(cell, made["results"])
        tell()


def cores() -> int:
    """How many processes this machine can run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parse_seeds(text: str) -> tuple[int, ...]:
    """The seeds of "1-20" or "1,4,7-9", in order.

    Raises:
        ConfigError: It is no such list.
    """
    seeds: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ConfigError(f"--seeds {text}: write, say, 1-20 or 1,4,7-9")
        begins, ends = int(first), int(last) if dash else int(first)
        if ends < begins or ends - begins >= 1_000_000:
            raise ConfigError(f"--seeds {text}: {part.strip()} is no range from less to more")
        seeds.update(range(begins, ends + 1))
    return tuple(sorted(seeds))


def _found(cell: Cell, folder: Path | None) -> dict[str, Any] | None:
    """The cell's results in the folder, if they are there and are its own."""
    if folder is None or not (path := folder / CELLS / cell.name).exists():
        return None
    found = read_json(path)
    if not isinstance(found.get("cell"), dict) or "results" not in found:
        raise ConfigError(f"{path}: is no cell of a sweep; remove it")
    if differing := _differing(found, cell):
        raise ConfigError(
            f"{path}: was made otherwise ({differing}); name another folder, or remove this one"
        )
    return found


def _differing(made: Mapping[str, Any], cell: Cell) -> str:
    """In which respects results are not those of the cell; "" where in none."""
    there, wanted = made["cell"], json.loads(json_text(cell.identity()))
    return "; ".join(
        f"{name} was {there.get(name)} and is {wanted[name]}"
        for name in wanted
        if there.get(name) != wanted[name]
    )


def _keep(folder: Path, cell: Cell, made: Mapping[str, Any]) -> None:
    path = folder / CELLS / cell.name
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json_text(made), encoding="utf-8")
    part.replace(path)


def _in_processes(
    cells: Sequence[Cell], jobs: int, work: Work
) -> Iterator[tuple[Cell, dict[str, Any] | str]]:
    jobs = min(jobs, len(cells))
    if jobs == 1:
        for cell in cells:
            yield cell, _tried(work, cell)
        return
    with _pool(jobs) as pool:
        waiting: dict[Future[dict[str, Any] | str], Cell] = {}
        coming = iter(cells)
        while True:
            for cell in coming:
                waiting[pool.submit(_tried, work, cell)] = cell
                if len(waiting) >= jobs * _WAITING_MAX:
                    break
            if not waiting:
                return
            ended, _ = wait(waiting, return_when=FIRST_COMPLETED)
            # In the order in which they were handed over, of those that ended together.
            for future in [future for future in waiting if future in ended]:
                cell = waiting.pop(future)
                try:
                    yield cell, future.result()
                except BrokenProcessPool as error:
                    raise SyncError(
                        "a process ended without a word, perhaps for want of memory; run it again "
                        "with fewer --jobs to go on"
                    ) from error


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that end at once when the caller is interrupted."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _deaf_to_interrupts)
    try:
        yield pool
    except BaseException:
        # A run may take minutes, and nobody waits for it any more.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _deaf_to_interrupts() -> None:
    """Ctrl-C reaches every process of a terminal; the first one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _tried(work: Work, cell: Cell) -> dict[str, Any] | str:
    """What `work` makes of the cell, or why it could not."""
    try:
        return work(cell)
    except SyncError as error:
        return str(error)
    except Exception as error:
        # One broken run must not cost the others; its seed is told, to be run alone.
        return f"{type(error).__name__}: {error}"


def _on_dask(
    cells: Sequence[Cell], address: str, work: Work
) -> Iterator[tuple[Cell, dict[str, Any] | str]]:
    if find_spec("distributed") is None:
        raise NotInstalledError(
            "--dask needs the package distributed: pip install 'syncnode[cluster]'"
        )
    from distributed import Client, as_completed

    try:
        client = Client(address, timeout=DASK_CONNECT_S)
    except (OSError, ValueError) as error:
        raise SyncError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        # The same cell is the same task: two sweeps at once share their work.
        futures = {
            client.submit(partial(_tried, work), cell, key=f"syncsim-{_task(cell)}"): cell
            for cell in cells
        }
        for future in as_completed(list(futures)):
            cell = futures.pop(future)
            try:
                made = future.result()
            except Exception as error:  # of the cluster, or of a worker without syncsim
                made = f"{type(error).__name__}: {error}"
            yield cell, made


def _task(cell: Cell) -> str:
    return hashlib.sha256(json_text(cell.identity()).encode()).hexdigest()[:24]


def failures_text(failed: Sequence[Failed]) -> str:
    """A line for each run that was not made, with what is needed to make it alone; not endless."""
    lines = [
        f"not run: {label_text(failure.cell.label)} seed {failure.cell.seed}: {failure.reason}"
        for failure in failed[:FAILURES_SHOWN]
    ]
    if len(failed) > FAILURES_SHOWN:
        lines.append(f"and {len(failed) - FAILURES_SHOWN} more runs were not made")
    return "\n".join(lines)


def label_text(label: Mapping[str, Any]) -> str:
    """A label in a line."""
    return " ".join(f"{name}={value}" for name, value in label.items())
