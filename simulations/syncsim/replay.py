"""`syncsim replay`: a run once more from its folder, and a look at one moment of it."""

import io
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from syncproto.errors import SyncError
from syncsim import versions
from syncsim.report.text import columns, duration, number
from syncsim.results import Results
from syncsim.run_folder import Record, read_record

LINES_AROUND = 10  # of the trace, before and after a moment
LINES_MAX = 100_000  # of a window: what a terminal's memory can hold
SITES_SHOWN = 40
LINKS_SHOWN = 40


class ReplayDiffersError(SyncError):
    """The run does not come out as it did: the text says what may be the reason."""


class Window(io.StringIO):
    """A trace that keeps only the lines of a span of time, and a few before and after.

    Attributes:
        before, within, after: Lines without their ends.
        dropped: How many lines of the span did not fit in.
    """

    def __init__(self, from_ms: int, until_ms: int, *, around: int = LINES_AROUND) -> None:
        super().__init__()
        self.from_ms = from_ms
        self.until_ms = until_ms
        self.before: deque[str] = deque(maxlen=around)
        self.within: list[str] = []
        self.after: list[str] = []
        self.dropped = 0
        self._around = around
        self._begun = ""

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._take(line)
        return len(text)

    def _take(self, line: str) -> None:
        at_ms = int(line.partition(" ")[0])
        if at_ms < self.from_ms:
            self.before.append(line)
        elif at_ms <= self.until_ms:
            if len(self.within) < LINES_MAX:
                self.within.append(line)
            else:
                self.dropped += 1
        elif len(self.after) < self._around:
            self.after.append(line)


@dataclass(frozen=True, slots=True)
class Replay:
    """A run that came out as it did before."""

    record: Record
    results: Results
    window: Window | None = field(repr=False)


def replay(
    folder: Path,
    *,
    at_ms: int | None = None,
    until_ms: int | None = None,
    around: int = LINES_AROUND,
    progress: Callable[[int, int], None] | None = None,
) -> Replay:
    """Make the run in `folder` again.

    Args:
        at_ms, until_ms: The span of time whose trace is kept; without `until_ms` a moment.

    Raises:
        ConfigError: The folder holds no run.
        ReplayDiffersError: The trace is another one.
    """
    from syncsim import run

    record = read_record(folder)
    window = None
    if at_ms is not None:
        window = Window(at_ms, at_ms if until_ms is None else until_ms, around=around)
    finished = run(
        record.scenario,
        record.seed,
        level=record.level,
        progress=progress,
        trace=window,
        moments_ms=() if at_ms is None else (at_ms,),
    )
    results = finished.results
    if results.trace != record.trace:
        raise ReplayDiffersError(
            f"the trace differs: {record.trace} then, {results.trace} now; {_reasons(record)}"
        )
    return Replay(record, results, window)


def moment_text(replayed: Replay, at_ms: int) -> str:
    """What each site lacked, which links were down, and the trace around a moment."""
    results, window = replayed.results, replayed.window
    assert window is not None, "the replay kept no trace"
    lines = [f"{results.title}, seed {results.seed}, at {duration(at_ms)} ({at_ms} ms)", ""]
    ended_ms = results.times_ms[-1]
    if at_ms > ended_ms:
        lines += [f"the run had ended by then, at {duration(ended_ms)}", ""]
    lines += [_behind_text(results, at_ms), "", _links_text(replayed.record, results, at_ms), ""]
    numbers = [f"{place} {site.name}" for place, site in enumerate(results.sites)]
    more = ", …" if len(numbers) > SITES_SHOWN else ""
    lines.append(f"numbers of sites in the trace: {', '.join(numbers[:SITES_SHOWN])}{more}")
    lines.append(f"trace from {window.from_ms} ms to {window.until_ms} ms:")
    lines += [f"  {line}" for line in window.before]
    lines += [f"> {line}" for line in window.within]
    if window.dropped:
        lines.append(f"  ({number(window.dropped)} more lines; take a shorter span)")
    lines += [f"  {line}" for line in window.after]
    return "\n".join(lines)


def sample_at(times_ms: Sequence[int], at_ms: int) -> int | None:
    """The index of the last sample that is not after a moment; None before the first."""
    earlier = [place for place, time_ms in enumerate(times_ms) if time_ms <= at_ms]
    return earlier[-1] if earlier else None


def _behind_text(results: Results, at_ms: int) -> str:
    sample = sample_at(results.times_ms, at_ms)
    if sample is None:
        return "no sample of the curves had been taken yet"
    lacks = results.behind[sample]
    lacking = sorted(
        (-count, site.name) for count, site in zip(lacks, results.sites, strict=True) if count
    )
    taken = "then"
    if results.times_ms[sample] != at_ms:  # whole nodes, or a moment after the end
        taken = f"at the last sample before, {duration(results.times_ms[sample])}"
    if not lacking:
        return f"no site lacked a write {taken}"
    rows = [(name, number(-count)) for count, name in lacking[:SITES_SHOWN]]
    text = f"{len(lacking)} of {len(lacks)} sites lacked writes {taken}:\n"
    text += columns(("site", "lacks"), rows)
    if len(lacking) > SITES_SHOWN:
        text += f"\nand {len(lacking) - SITES_SHOWN} more"
    return text


def _links_text(record: Record, results: Results, at_ms: int) -> str:
    down = links_down(record, at_ms)
    if not down:
        return "every link worked"
    names = [f"{results.links[link].one} - {results.links[link].other}" for link in down]
    text = f"{len(down)} of {len(results.links)} links were down: {', '.join(names[:LINKS_SHOWN])}"
    return text if len(down) <= LINKS_SHOWN else f"{text} and {len(down) - LINKS_SHOWN} more"


def links_down(record: Record, at_ms: int) -> list[int]:
    """Indices of the links of which a direction does not work at a moment, drawn anew."""
    from syncsim.misfortunes import mishaps
    from syncsim.network import Network

    network = Network(record.scenario, record.seed)
    for mishap in mishaps(record.scenario, record.seed):
        if mishap.kind == "partition" and mishap.at_ms <= at_ms < mishap.until_ms:
            network.cut(mishap)
    return network.links_down(at_ms)


def _reasons(record: Record) -> str:
    differing = [
        f"{what} {then} then, {now} now"
        for what, then, now in (
            ("version", record.version, versions.version()),
            ("sources", record.code, versions.code_digest()),
            ("Python", record.python, versions.python_version()),
        )
        if then != now
    ]
    if differing:
        return f"{'; '.join(differing)}. Replay it with what made it."
    return (
        "version, sources and Python are the same, so something here is not deterministic: "
        "please report it with the folder"
    )
