"""Apply: received rows into the application's tables, in batches, in one transaction.

For each chunk: find which rows are here, lock them, seal what the application has committed of
them meanwhile, merge in memory with the protocol's own merge, and write (`arrivals.py`,
`writing.py`). A row that cannot be written is parked and holds up no other; what waited for what
came is released at the end (`settling.py`).

The engine never acts by itself: a deleted row goes only when nothing refers to it any more;
until then it is held in its table (rules A4 and A12).
"""

from collections.abc import Iterable

from syncnode.arrivals import Arrivals
from syncnode.settling import Settler
from syncproto.delta import Chunk
from syncproto.frontier import Frontier
from syncproto.merge import merged


class Applier(Arrivals, Settler):
    """Applies a delta within one writing transaction; see `Writer` for what it is made of."""

    def apply(self, chunks: Iterable[Chunk], claim: Frontier) -> None:
        """Merge and write the rows of these chunks, then let rest what can come to rest."""
        self._claim = claim
        for chunk in chunks:
            self._sidecar.put_conflicts(chunk.records)
            self._apply_blocks(chunk.blocks, claim)
        self.settle(self._sealer.sealed_keys)

    def take_due(self) -> bool:
        """Merge the cells whose stamps are not of the future any more; what they displace went
        on record when they came."""
        due = self._hidden.take_due(self._wall_ms + self._skew_ms_max)
        for number, key, row in due:
            table = self._tables.get(number)
            if table is None:
                continue
            wanted = self._ours(table, [key])[key]
            wanted.row = merged(wanted.row, row)
            if wanted.row != wanted.old:
                self._carry_out(table, [wanted])
        return bool(due)

    def finish(self) -> None:
        """Leave the connection as it was found."""
        self._write_to(0)
