"""Apply: received rows into the application's tables, in batches, in one transaction.

For each chunk: find which rows are here, lock them, seal what the application has committed of
them meanwhile, merge in memory with the protocol's own merge, and write (`arrivals.py`,
`writing.py`). A row that cannot be written is parked and holds up no other; what waited for what
came is released at the end (`settling.py`).

The engine never acts by itself: a deleted row goes only when nothing refers to it any more;
until then it is held in its table (rules A4 and A12).
"""

from collections.abc import Callable, Iterable, Sequence

from syncnode.apply.arrivals import Arrivals
from syncnode.apply.settling import Settler
from syncproto.delta import Chunk
from syncproto.frontier import Frontier
from syncproto.identity import RowKey
from syncproto.merge import merged
from syncproto.row import Row


class Applier(Arrivals, Settler):
    """Applies a delta within one writing transaction; see `Writer` for what it is made of."""

    def apply(self, chunks: Iterable[Chunk], claim: Frontier) -> None:
        """Merge and write the rows of these chunks, then let rest what can come to rest."""
        self._claim = claim
        for chunk in chunks:
            self._sidecar.put_conflicts(chunk.records)
            self._apply_blocks(chunk.blocks, claim)
        self.settle(self._sealer.sealed_keys)
        for number in sorted(self._written - {0}):
            self._tx.dialect.raise_counters(self._tx, self._tables[number].plan)

    def take_due(self) -> bool:
        """Merge the cells whose stamps are not of the future any more; what they displace went
        on record when they came."""
        due = self._hidden.take_due(self._wall_ms + self._skew_ms_max)
        for number, key, row in due:
            table = self._tables.get(number)
            if table is None:
                self._keeper.take_due(number, key, row)
                continue
            wanted = self._ours(table, [key])[key]
            wanted.row = merged(wanted.row, row)
            if wanted.row != wanted.old:
                self._carry_out(table, [wanted])
        return bool(due)

    def rewrite(
        self, name: str, keys: Sequence[RowKey], changed: Callable[[RowKey, Row], Row]
    ) -> None:
        """Give rows new states: `changed` of each row's key and state."""
        table = self._by_name[name]
        rows = list(self._ours(table, keys).values())
        self._tx.dialect.lock_rows(
            self._tx, table.plan, [one.shown.pk for one in rows if one.shown is not None]
        )
        for one in rows:
            one.row = changed(one.key, one.row)
        self._carry_out(table, rows)

    def finish(self) -> None:
        """Leave the connection as it was found."""
        self._write_to(0)
