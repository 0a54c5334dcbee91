"""Stamps, rows and small replicas to build examples from, and rows as Hypothesis draws them."""

from collections.abc import Callable
from itertools import count

import hypothesis.strategies as st

from syncproto.identity import Origin, RowKey, SiteId
from syncproto.memory import MemoryReplica
from syncproto.merge import merged
from syncproto.row import EMPTY, Cell, Row, Stamp, Value, deletion, written

A, B, C = (Origin(SiteId(letter * 16), 1) for letter in (b"A", b"B", b"C"))
KEY, OTHER_KEY = RowKey(b"k" * 16), RowKey(b"o" * 16)
NOON_MS = 1_700_000_000_000
MINUTE_MS = 60_000


def at(hlc: int, origin: Origin = A, seq: int = 1) -> Stamp:
    return Stamp(hlc, origin, seq)


def cell(stamp: Stamp, value: Value) -> Cell:
    return Cell(stamp, value)


class Clock:
    """A wall clock that stands still until it is set."""

    def __init__(self) -> None:
        self.ms = NOON_MS

    def __call__(self) -> int:
        return self.ms


def replica(
    origin: Origin,
    *,
    tables: tuple[str, ...] = ("t", "u"),
    clock: Callable[[], int] | None = None,
    rows_max: int = 1_000,
    network: bytes = b"network!",
    first_nonce: int = 1,
    delete_wins: tuple[str, ...] = (),
) -> MemoryReplica:
    """A replica whose nonces are numbers in turn, from a start of its own."""
    numbers = count(first_nonce + 1_000 * origin.site[0])
    return MemoryReplica(
        origin,
        tables,
        network=network,
        wall_ms=clock or Clock(),
        nonce=lambda: next(numbers),
        rows_max=rows_max,
        delete_wins=delete_wins,
    )


# Three sites that each write a row in few ways: collisions of stamps, dots and deletes happen.
origins = st.sampled_from([A, B, C])


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Parts of one row as they could travel: each from a site that wrote over what it had."""

    held = dict.fromkeys([A, B, C], EMPTY)
    seqs = dict.fromkeys([A, B, C], 0)
    parts: list[Row] = []
    for _ in range(draw(st.integers(2, 8))):
        origin = draw(origins)
        row = held[origin]
        kind = draw(st.sampled_from(["write", "write", "delete", "hear", "hear"]))
        if kind == "hear":
            held[origin] = merged(row, held[draw(origins)])
        else:
            seqs[origin] += 1
            stamp = Stamp(max(draw(st.integers(1, 9)), row.hlc + 1), origin, seqs[origin])
            if kind == "write":
                name = draw(st.sampled_from("ab"))
                held[origin] = written(row, {name: draw(st.integers(0, 2))}, stamp)
            elif row.cells:
                held[origin] = deletion(row, stamp, wins=draw(st.booleans()))
        parts.append(held[origin])
    return parts
