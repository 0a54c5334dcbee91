"""Numbers and runs in plain words, for terminals and pages alike."""

import re
from collections.abc import Sequence
from typing import Any

from syncnode.cli.terminal import counted, printable
from syncsim.results import Results

_UNITS_MS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_MS_BY_UNIT = dict(_UNITS_MS)
_DURATION_PART = re.compile(r"(\d{1,9})(ms|[dhms])")
_BYTES = (("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000))

_FAULTS = {  # one of them, several
    "partition": ("partition", "partitions"),
    "crash": ("crash", "crashes"),
    "power-cut": ("power cut", "power cuts"),
    "clock": ("clock fault", "clock faults"),
    "restore": ("restore", "restores"),
    "clone": ("clone", "clones"),
    "wipe": ("wipe", "wipes"),
}

FAULTS_SHOWN = 12  # kinds of faults that a line of the summary has room for
WORST_SHOWN = 5  # sites whose data were the oldest


def duration(length_ms: float | None) -> str:
    """A length of time in its two greatest units, such as "3d 4h" or "2m 5s"; "-" for none."""
    if length_ms is None:
        return "-"
    left = round(length_ms)
    if left < 0:
        return f"-{duration(-left)}"
    for place, (unit, unit_ms) in enumerate(_UNITS_MS):
        if left >= unit_ms:
            count, rest = divmod(left, unit_ms)
            text = f"{count}{unit}"
            # A second unit says something about days, hours and minutes only.
            if place < 3:
                smaller, smaller_ms = _UNITS_MS[place + 1]
                if rest >= smaller_ms:
                    text += f" {rest // smaller_ms}{smaller}"
            elif place == 3 and rest:
                text = f"{left / unit_ms:.3g}s" if left < 10_000 else text
            return text
    return "0s"


def parse_moment_ms(text: str) -> int | None:
    """Milliseconds of a moment such as "3d4h", "90s" or "1d 12h"; None if it is none."""
    compact = "".join(text.split())
    parts = _DURATION_PART.findall(compact)
    if not parts or "".join(count + unit for count, unit in parts) != compact:
        return None
    units = [unit for _, unit in parts]
    if len(set(units)) < len(units):
        return None
    return sum(int(count) * _MS_BY_UNIT[unit] for count, unit in parts)


def size(count: float) -> str:
    """A number of bytes such as "12.3 MB" (powers of ten)."""
    for unit, unit_bytes in _BYTES:
        if count >= unit_bytes:
            return f"{count / unit_bytes:.3g} {unit}"
    return f"{round(count)} B"


def number(value: float) -> str:
    """A count with its thousands apart; a fraction with three digits."""
    if isinstance(value, int) or value == round(value):
        return f"{round(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def share(value: float) -> str:
    """A share as per cent; what is nearly all is never shown as all, nor a little as nothing."""
    per_cent = 100 * value
    if 0 < per_cent < 0.1:
        return "<0.1 %"
    if 99.9 < per_cent < 100:
        return ">99.9 %"
    return f"{per_cent:.3g} %"


def columns(headers: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """Rows in columns, the first `left` of them flush left and the others flush right."""
    lines = [list(map(printable, row)) for row in (headers, *rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(headers))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def scaled_words(scaled: float) -> str | None:
    """What `scale` means for the figures; None where all of the work is simulated."""
    if scaled == 1.0:
        return None
    factor = number(1 / scaled)
    return (
        f"{share(scaled)} of the people's work is simulated, and the bytes of row data are scaled "
        f"back: multiplied by 1/scale = {factor}. Writes, conflicts and parked rows are those of "
        "the simulated share."
    )


def outcome(results: Results) -> str:
    """One line: what was done and how it ended."""
    faults = ", ".join(fault(kind, count) for kind, count in results.faults.items() if count)
    if not results.converged:
        ended = "did NOT converge"
    else:
        ended = "converged"
    if not results.verdicts:
        checks = "no checker was asked"
    elif results.held:
        checks = f"all {counted(len(results.verdicts), 'check')} hold"
    else:
        failed = [name for name, verdict in results.verdicts.items() if verdict != "held"]
        checks = f"{len(failed)} of {counted(len(results.verdicts), 'check')} FAILED"
    writes = f"{number(results.writes)} {'write' if results.writes == 1 else 'writes'}"
    return f"seed {results.seed}: {writes}, {faults or 'no faults'}; {ended}, {checks}"


def fault(kind: str, count: int) -> str:
    """ "3 partitions", "1 crash", "61 messages lost"."""
    one, several = _FAULTS.get(kind, (kind, kind))
    return f"{number(count)} {one if count == 1 else several}"


def summary(results: Results) -> str:
    """A run on one screen."""
    p50, p90, p99, worst = results.staleness_ms
    lines = [
        f"{results.title}",
        f"{counted(len(results.sites), 'site')}, {counted(len(results.links), 'link')}; "
        f"{duration(results.faults_ms)} of writes and faults, then at most "
        f"{duration(results.quiet_ms)} of quiet",
        f"seed {results.seed}, level {results.level}, rule {results.rule}, "
        f"choice {results.choice}, version {results.version}",
    ]
    if scaled := scaled_words(results.scaled):
        lines.append(scaled)
    lines.append("")
    if results.converged:
        ended = f"yes, {duration(results.converged_ms)} after the quiet began"
    else:
        ended = f"NO, not within {duration(results.quiet_ms)} of quiet"
    if results.bound_ms is not None:
        ended += f" (computed bound {duration(results.bound_ms)})"
    pairs: list[tuple[str, str]] = [
        ("converged", ended),
        ("writes", f"{number(results.writes)} in {counted(results.transactions, 'transaction')}"),
        (
            "staleness",
            f"p50 {duration(p50)}, p90 {duration(p90)}, p99 {duration(p99)}, "
            f"greatest {duration(worst)}",
        ),
        ("bytes", f"{size(results.bytes)}"),
        (
            "exchanges",
            f"{number(results.rounds)} came to their end, {number(results.failures)} broke off",
        ),
        ("conflicts", f"{number(results.conflicts)} on record"),
        ("parked", f"{number(results.parked)} at the end"),
        ("lost updates", number(results.lost_updates)),
        ("faults", _faults(results)),
    ]
    for place, (name, verdict) in enumerate(results.verdicts.items()):
        pairs.append(("checkers" if place == 0 else "", f"{name}: {verdict}"))
    pairs.append(("trace", results.trace or "-"))
    width = max(len(name) for name, _ in pairs)
    lines += [f"{name.ljust(width)}  {printable(value)}" for name, value in pairs]
    worst_sites = sorted(results.sites, key=lambda site: (-site.staleness_ms[2], site.name))
    if len(results.sites) > 2:
        lines += ["", "sites whose data were the oldest (p99):", _sites(worst_sites[:WORST_SHOWN])]
    lines += ["", outcome(results)]
    return "\n".join(lines)


def _faults(results: Results) -> str:
    taken = [(kind, count) for kind, count in results.faults.items() if count]
    if not taken:
        return "none took place"
    text = ", ".join(fault(kind, count) for kind, count in taken[:FAULTS_SHOWN])
    return text if len(taken) <= FAULTS_SHOWN else f"{text} and others"


def _sites(sites: Sequence[Any]) -> str:
    return columns(
        ("site", "writes", "arrived", "p50", "p90", "p99", "greatest", "broken off"),
        [
            (
                site.name,
                number(site.writes),
                number(site.arrived),
                *(duration(staleness_ms) for staleness_ms in site.staleness_ms),
                number(site.failures),
            )
            for site in sites
        ],
    )
