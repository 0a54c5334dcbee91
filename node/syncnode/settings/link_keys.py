"""What is said of links besides tables: how often, how long, how much and when.

    every = "15m"                 # how often a peer is called; the longest pause after a failure
    stay = false                  # hang up in between; else a request is kept open, for changes
    tries = 10                    # failed calls with short pauses, before the pause is `every`
    timeout = "3m"                # how long a peer may be silent over a request
    batch = "64 kB"               # of rows in one message, encoded; what a broken link loses
    budget = "2 MB/h"             # bytes both ways, in any stretch of that length
    open = ["22:00-06:00"]        # when calls are made, by the clock of this machine

They stand in `[network]`, `[groups.G]`, `[sites.X]` and `[sites.X.with.Y]`, the nearest counts; in
a site's own file in `[site]` and `[site.with.Y]`. They speak of the calls that a site makes. A
budget of a pair is for that link; any other is for all links of a site together.
"""

import re
from dataclasses import dataclass, fields

from syncnode.settings.toml_reader import Table, parse_size_bytes, shown
from syncproto.budget import Allowance
from syncproto.windows import DAY_MS, Window

EVERY_MS_LEAST = 1_000
EVERY_MS_MOST = 31 * DAY_MS
TIMEOUT_MS_LEAST, TIMEOUT_MS_MOST = 5_000, 3_600_000
TRIES_MOST = 1_000
BATCH_LEAST, BATCH_MOST = 512, 64 << 20
BUDGET_LEAST = 4_096  # under a request with its answer, nothing would ever cross

KEYS = {
    "every": "every_ms",
    "stay": "stay",
    "tries": "tries",
    "timeout": "timeout_ms",
    "batch": "batch_bytes",
    "budget": "budget",
    "open": "open",
}
"""By their names in files, those of `LinkKeys`."""

_BUDGET = re.compile(r"(\d{1,9}(?:\.\d{1,3})? ?(?:B|kB|KB|MB|GB))/(s|m|h|d)")
_PERIOD_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": DAY_MS}
_WINDOW = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-4]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class LinkKeys:
    """What one place says of links; None where it says nothing.

    Attributes:
        every_ms: How often a peer is called, and the longest pause between two attempts.
        stay: A request is kept waiting at the peer, so that changes travel at once.
        tries: Attempts with short pauses, before the pauses are `every_ms`.
        timeout_ms: How long a peer may be silent.
        batch_bytes: Of rows in one message.
        budget: Bytes by time.
        open: When calls are made; empty for always.
    """

    every_ms: int | None = None
    stay: bool | None = None
    tries: int | None = None
    timeout_ms: int | None = None
    batch_bytes: int | None = None
    budget: Allowance | None = None
    open: tuple[Window, ...] | None = None

    def over(self, farther: "LinkKeys") -> "LinkKeys":
        """These, and what is said farther away where they say nothing."""
        if farther is NOTHING_SAID:
            return self
        return LinkKeys(
            *(
                mine if (mine := getattr(self, field.name)) is not None else theirs
                for field in fields(self)
                for theirs in (getattr(farther, field.name),)
            )
        )


NOTHING_SAID = LinkKeys()


def read_link_keys(table: Table) -> LinkKeys:
    """What a table says of links; other keys are for the caller."""
    found = LinkKeys(
        every_ms=every_ms(table),
        stay=table.flag("stay", default=True) if table.value("stay") is not None else None,
        tries=table.integer("tries", default=None, least=1, most=TRIES_MOST),
        timeout_ms=table.duration_ms(
            "timeout", default=None, least=TIMEOUT_MS_LEAST, most=TIMEOUT_MS_MOST
        ),
        batch_bytes=(
            table.size_bytes("batch", default=BATCH_LEAST, least=BATCH_LEAST, most=BATCH_MOST)
            if table.value("batch") is not None
            else None
        ),
        budget=_budget(table),
        open=_windows(table),
    )
    return found if found != NOTHING_SAID else NOTHING_SAID


def every_ms(table: Table) -> int | None:
    """How often a site calls its peers."""
    return table.duration_ms("every", default=None, least=EVERY_MS_LEAST, most=EVERY_MS_MOST)


def budget_text(budget: Allowance) -> str:
    """As people write it."""
    unit = next(name for name, period in _PERIOD_MS.items() if period == budget.period_ms)
    for name, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if budget.bytes_max % size == 0:
            return f"{budget.bytes_max // size} {name}/{unit}"
    return f"{budget.bytes_max} B/{unit}"


def _budget(table: Table) -> Allowance | None:
    written = table.text("budget", example="2 MB/h")
    if written is None:
        return None
    match = _BUDGET.fullmatch(written)
    if match is None:
        table.fault(
            "budget", f'{shown(written)} is no budget; write an amount by time, such as "2 MB/h"'
        )
        return None
    size = parse_size_bytes(match[1])
    assert size is not None, "the pattern is that of a size"
    if size < BUDGET_LEAST:
        table.fault("budget", f"{shown(written)} is less than one request takes; 4096 B would do")
        return None
    return Allowance(size, _PERIOD_MS[match[2]])


def _windows(table: Table) -> tuple[Window, ...] | None:
    written = table.texts("open", example="22:00-06:00")
    if written is None:
        return None
    windows: list[Window] = []
    for index, text in enumerate(written):
        match = _WINDOW.fullmatch(text)
        begins, ends = _times(match) if match else (0, 0)
        if begins == ends or ends > DAY_MS:
            fault = f'{shown(text)} is no time of the day; write, say, "22:00-06:00"'
            table.fault(("open", index), fault)
        else:
            windows.append(Window(begins, ends % DAY_MS))
    return tuple(windows)


def _times(match: re.Match[str]) -> tuple[int, int]:
    hour, minute, hour_ends, minute_ends = map(int, match.groups())
    return (hour * 60 + minute) * 60_000, (hour_ends * 60 + minute_ends) * 60_000
