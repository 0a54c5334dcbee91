"""How many rows a peer has not confirmed: what a frontier does not cover, counted by the clocks."""

from syncnode.schema.plan import SchemaPlan
from syncnode.store.database import Transaction
from syncnode.store.sidecar import Sidecar, clock_table
from syncproto.codec import decode_cells, decode_row
from syncproto.frontier import Entry, Frontier, VersionVector
from syncproto.identity import Origin

PENDING_MAX = 100_000  # counted exactly up to here: a report must not take minutes


class Pending:
    """Counts rows of one snapshot."""

    def __init__(self, tx: Transaction, book: Sidecar, plan: SchemaPlan) -> None:
        self._tx = tx
        self._book = book
        self._plan = plan

    def lacking(self, told: Frontier) -> int:
        """Rows here that lie above `told`, up to about `PENDING_MAX`, and unsealed ones."""
        frontier, count = self._book.frontier, self.unsealed()
        full = Frontier({name: told.vector(name) for name in frontier.vectors})
        if full.includes(frontier):
            return count
        lines = list(self._book.ledger_above(full))
        start = min((line.lsn for line in lines), default=self._book.lsn + 1)
        for table in self._plan.tables:
            if count > PENDING_MAX:
                break
            vector = full.vector(table.name)
            if vector.includes(frontier.vector(table.name)):
                continue
            if table.key_kind != "none":
                count += self._clocks(clock_table(table), vector, start)
            count += self._hidden(table.number, vector, start)
        for name, number in self._book.kept.items():
            if name in told.scopes:  # others do not want them
                count += self._hidden(number, full.vector(name), start)
        return count

    def _clocks(self, clock: str, vector: VersionVector, start: int) -> int:
        tx, count = self._tx, 0
        covered = {
            number: vector.seq(self._book.origin_of(number))
            for number in range(self._book.origin_count)
        }
        for number, seq, rows in tx.rows(
            f"SELECT syncnode_origin, syncnode_seq, count(*) FROM (SELECT syncnode_origin, "
            f"syncnode_seq FROM {clock} WHERE syncnode_lsn>={tx.mark} AND syncnode_cells IS NULL "
            f"LIMIT {PENDING_MAX + 1}) AS found GROUP BY syncnode_origin, syncnode_seq",
            (start,),
        ):
            if seq > covered[number]:
                count += rows
        for number, seq, cells in tx.rows(
            f"SELECT syncnode_origin, syncnode_seq, syncnode_cells FROM {clock} WHERE "
            f"syncnode_lsn>={tx.mark} AND syncnode_cells IS NOT NULL LIMIT {PENDING_MAX + 1}",
            (start,),
        ):
            if seq > covered[number]:
                count += 1
                continue
            odd, delete, _ = decode_cells(bytes(cells), self._book.origin_of)
            stamps = [*odd.values(), *(delete.stamps if delete else ())]
            count += any(not vector.covers(stamp) for stamp in stamps)
        return count

    def _hidden(self, number: int, vector: VersionVector, start: int) -> int:
        m = self._tx.mark
        origin_of = self._book.origin_of
        rows = self._tx.rows(
            f"SELECT state FROM syncnode_row WHERE tbl={m} AND lsn>={m} AND place<>'held' "
            f"LIMIT {PENDING_MAX + 1}",
            (number, start),
        )
        return sum(
            any(not vector.covers(stamp) for stamp in decode_row(state, origin_of).stamps())
            for (state,) in rows
        )

    def unsealed(self) -> int:
        """Rows that the application has written and no seal has read yet."""
        names = ["tbl"]
        if self._tx.dialect.name == "sqlite":
            widest = int(self._book.settings.get("widest_key", "1"))
            names += [f"k{index + 1}" for index in range(widest)]
        else:
            names += ["k1", "kx"]
        found: int = self._tx.value(
            f"SELECT count(*) FROM (SELECT DISTINCT {', '.join(names)} FROM syncnode_journal "
            f"LIMIT {PENDING_MAX + 1}) AS found"
        )
        return found


def known_to_all(told: list[Frontier]) -> Frontier:
    """What every one of these frontiers covers."""
    scopes = frozenset.intersection(*(one.scopes for one in told))
    vectors = {}
    for scope in scopes:
        first, *others = (one.vector(scope).entries for one in told)
        entries: dict[Origin, Entry] = {}
        for origin, entry in first.items():
            least = min((entry, *(other.get(origin, Entry(0, 0)) for other in others)))
            if least.seq:
                entries[origin] = least
        vectors[scope] = VersionVector(entries)
    return Frontier(vectors)
