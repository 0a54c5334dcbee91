"""Clocks for the rows that stand in a table before syncnode does, many at once.

Of a row that a canonical uuid names nothing else must be known than when the application last
changed it, so nothing else is read. All other rows go the seal's own way.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

from syncnode.capture.modified import stamper
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import Key, Table
from syncproto.clock import BASELINE_HLC
from syncproto.identity import Dot
from syncproto.keys import canonical_uuids
from syncproto.row import Stamp
from syncproto.sums import same_stamp_sum

if TYPE_CHECKING:
    from syncnode.store.database import Transaction


class Step(NamedTuple):
    """How many rows got clocks, and the primary key of the last one."""

    rows: int
    last: Key | None


class PlainRows:
    """The rows of one table, in the order of its primary key.

    Args:
        now_ms: No row was changed later.
    """

    def __init__(self, table: Table, *, now_ms: int) -> None:
        self._table = table
        modified = [name for name in table.plan.modified if name in table.place]
        self._names = [name for name in (table.uuid,) if name is not None] + modified
        self._stamped = stamper(table.plan, self._names, now_ms=now_ms)

    def seal(
        self, tx: "Transaction", sidecar: Sidecar, dot: Dot, after: Key | None, limit: int
    ) -> Step | None:
        """Give clocks of this changeset to the next rows; None, and nothing done, if it takes more
        than their uuids to name them."""
        table = self._table
        if not table.uuid_indexed or table.has_odd(tx):
            return None
        rows = table.columns_after(tx, self._names, after, limit)
        width = len(table.plan.primary_key)
        names = [row[width] for row in rows]
        if set(map(type, names)) - {str}:
            return None
        keys = canonical_uuids(names)
        if keys is None or len(set(keys)) != len(keys):
            return None
        if not rows:
            return Step(0, after)
        hlcs = [BASELINE_HLC] * len(rows)
        if self._stamped is not None:
            stamped = self._stamped
            hlcs = [stamped(row[width:]) for row in rows]
        first, number = sidecar.reserve_lsns(table.name, len(rows)), sidecar.number(dot.origin)
        lsns = range(first, first + len(rows))
        if width == 1:
            pks = [row[0] for row in rows]
            lines: list[tuple[Any, ...]] = list(zip(pks, lsns, hlcs, keys, strict=True))
            table.insert_new_clocks(tx, lines, number, dot.seq)
        else:
            lines = [
                (*row[:width], lsn, hlc, number, dot.seq, key, None, None)
                for row, lsn, hlc, key in zip(rows, lsns, hlcs, keys, strict=True)
            ]
            table.insert_clocks(tx, lines)
        sidecar.add_sum(table.name, same_stamp_sum(keys, Stamp(0, dot.origin, dot.seq)))
        sidecar.hlc = max(sidecar.hlc, *hlcs)
        return Step(len(rows), tuple(rows[-1][:width]))
