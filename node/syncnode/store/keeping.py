"""Rows of tables that are not in this database: kept, passed on, and written when the table comes.

Sites of one network are upgraded weeks apart, and one may run an application without some module.
Such a site keeps the rows of the tables that it lacks as they are replicated, whole, in
`syncnode_row`, merges what else arrives of them, and passes them on: whoever is behind it gets
them, although the site that wrote them may be gone. They have a scope of the frontier and a sum
like the rows of any table. What they refer to is nobody's business before the table is here.

Once the application makes the table, the scope begins anew with what stands in it by then (a
migration may fill it at every site), and what was kept is taken in as if it arrived.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from syncnode.files.settings import is_manifest
from syncnode.schema.plan import SchemaPlan, TablePlan
from syncnode.store.hidden import KEPT, HiddenRow, HiddenRows
from syncnode.store.sidecar import KEPT_FROM, Sidecar
from syncproto.clock import milliseconds
from syncproto.codec import decode_row
from syncproto.delta import Block, Chunk, blocks_of
from syncproto.frontier import Frontier, VersionVector
from syncproto.frontier_blob import decode_frontier, encode_frontier
from syncproto.identity import RowKey
from syncproto.memory import parted
from syncproto.merge import Conflict, lost, merged
from syncproto.row import EMPTY, Row
from syncproto.sums import sum_of

if TYPE_CHECKING:
    from syncnode.apply.repairing import Rewriting
    from syncnode.replica import DatabaseReplica
    from syncnode.store.database import Database, Transaction

WAITING = "kept_waiting"
"""The setting with the tables that have come and whose kept rows are not written yet, as JSON:
the number under which they were kept, the table's name and what was claimed of it."""
TABLES_MAX = 1_000  # kept at a time: an application has hundreds
ROWS = 5_000  # taken in at once


def lacking(plan: SchemaPlan, scopes: Collection[str]) -> list[str]:
    """Of tables that a peer has those that are not here, and were not left out by choice."""
    out = {one.table for one in plan.excluded}
    return sorted(name for name in scopes if name not in plan.by_name and name not in out)


def begin(book: Sidecar, names: Iterable[str]) -> None:
    """Keep these tables from now on: with an empty scope, so that peers send all of them."""
    m = book.tx.mark
    for name in names:
        if name in book.kept or len(book.kept) >= TABLES_MAX:
            continue
        number = max((*book.kept.values(), *_waiting_numbers(book), KEPT_FROM - 1)) + 1
        book.tx.execute(
            f"INSERT INTO syncnode_table (id, name, plan, total) VALUES ({m}, {m}, '', '0')",
            (number, name),
        )
        book.kept[name] = number
        book.sums[name] = 0
        book.frontier = Frontier({**book.frontier.vectors, name: VersionVector({})})


def begin_with_peers(database: "Database", plan: SchemaPlan) -> None:
    """Keep the tables that peers had when they last said so: where nothing changes they do not
    say it again, and the settings may have forbidden it then."""
    with database.read() as tx:
        told = tx.rows("SELECT frontier FROM syncnode_peer WHERE frontier IS NOT NULL")
        known = {name for (name,) in tx.rows("SELECT name FROM syncnode_table")}
    scopes = {scope for (blob,) in told for scope in decode_frontier(bytes(blob)).scopes}
    if new := [name for name in lacking(plan, scopes) if name not in known]:
        with database.write() as tx:
            book = Sidecar.load(tx, plan)
            begin(book, new)
            book.save()


def forget_all(database: "Database", plan: SchemaPlan) -> None:
    """Keep none any longer, and claim nothing of them: the settings say so."""
    with database.read() as tx:
        if all(map(is_manifest, Sidecar.load(tx, plan).kept)):
            return
    with database.write() as tx:
        book = Sidecar.load(tx, plan)
        _forget(book)
        book.save()


def _forget(book: Sidecar) -> None:
    m = book.tx.mark
    # Of manifests we are authors ourselves: rows of ours that were forgotten would stay claimed.
    going = {name: number for name, number in book.kept.items() if not is_manifest(name)}
    for name, number in going.items():
        book.tx.execute(f"DELETE FROM syncnode_row WHERE tbl={m}", (number,))
        book.tx.execute(f"DELETE FROM syncnode_table WHERE id={m}", (number,))
        del book.sums[name]
    staying = {n: v for n, v in book.frontier.vectors.items() if n not in going}
    book.frontier = Frontier(staying)
    for name in going:
        del book.kept[name]


class Keeper:
    """Takes in rows of tables that are not here, within one transaction.

    Args:
        limit: The greatest HLC that is not of the future here.
    """

    def __init__(self, book: Sidecar, hidden: HiddenRows, *, limit: int, wall_ms: int) -> None:
        self._book = book
        self._hidden = hidden
        self._limit = limit
        self._wall_ms = wall_ms
        self._names = {number: name for name, number in book.kept.items()}

    def take(self, block: Block, theirs: VersionVector) -> list[Conflict]:
        """Merge the rows of a block into what is kept; returns what went lost, for the record.
        Of a table that is not kept nothing is claimed either."""
        name = block.table
        number = self._book.kept.get(name)
        found: list[Conflict] = []
        if number is None:
            return found
        mine = self._book.frontier.vector(name)
        stand = {key: kept.row for key, kept in self._hidden.get(number, block.keys).items()}
        before = dict(stand)
        some_aside = self._hidden.some_aside(number)
        for key, row in block.rows():
            old = stand.get(key, EMPTY)
            asides = self._hidden.asides(number, key) if some_aside else []
            for rival in (old, *asides):
                pairs = lost(name, key, rival, row, we_saw=mine.covers, they_saw=theirs.covers)
                found += manifest_conflicts(name, pairs)
            now, later = parted(row, self._limit)
            if later is not None and later not in asides:
                lsn = self._book.next_lsn(name)
                self._hidden.put_aside(number, key, later, lsn, milliseconds(later.hlc))
                some_aside = True
            if now is not None:
                stand[key] = merged(old, now)
        self.write(name, before, stand)
        return found

    def take_due(self, number: int, key: RowKey, row: Row) -> None:
        """Merge a part whose time has come."""
        name = self._names.get(number)
        if name is not None:
            here = {k: kept.row for k, kept in self._hidden.get(number, [key]).items()}
            self.write(name, here, {key: merged(here.get(key, EMPTY), row)})

    def write(self, name: str, before: Mapping[RowKey, Row], after: Mapping[RowKey, Row]) -> None:
        """Give rows new states."""
        book, number = self._book, self._book.kept[name]
        changed = {key: row for key, row in after.items() if row != before.get(key, EMPTY)}
        new: list[tuple[RowKey, HiddenRow]] = []
        for key, row in changed.items():
            book.hlc = max(book.hlc, row.hlc)
            book.add_sum(name, sum_of(key, row) - sum_of(key, before.get(key, EMPTY)))
            kept = HiddenRow(KEPT, row, book.next_lsn(name), since_ms=self._wall_ms)
            if key in before:
                self._hidden.put(number, key, kept)
            else:
                new.append((key, kept))
        self._hidden.put_new(number, new)


def manifest_conflicts(table: str, found: Iterable[Conflict]) -> Iterator[Conflict]:
    """Of a manifest only those over content: that two files with one content were written at
    other times is nobody's loss."""
    manifest = is_manifest(table)
    return (one for one in found if not manifest or one.column in ("", "content"))


def rewrite_kept(
    book: Sidecar,
    hidden: HiddenRows,
    table: str,
    before: Mapping[RowKey, Row],
    after: Mapping[RowKey, Row],
    *,
    wall_ms: int,
) -> None:
    """Give kept rows new states that were made here."""
    Keeper(book, hidden, limit=0, wall_ms=wall_ms).write(table, before, after)


# When the table comes


def number_tables(book: Sidecar, tables: Iterable[TablePlan]) -> None:
    """Write these tables of a new plan down; the scopes of those of which rows are kept begin
    anew, and what was claimed of them waits for `show_kept`."""
    m = book.tx.mark
    waiting = _waiting(book)
    for table in tables:
        number = book.kept.pop(table.name, None)
        if number is not None:
            claimed = Frontier({table.name: book.frontier.vector(table.name)})
            waiting[number] = (table.name, claimed)
            book.frontier = Frontier({**book.frontier.vectors, table.name: VersionVector({})})
            book.tx.execute(f"DELETE FROM syncnode_table WHERE id={m}", (number,))
        book.tx.execute(
            f"INSERT INTO syncnode_table (id, name, plan, total) VALUES ({m}, {m}, {m}, '0')",
            (table.number, table.name, table.to_json()),
        )
    _set_waiting(book, waiting)
    book.save_frontier()


def show_kept(replica: "DatabaseReplica") -> None:
    """Write the rows that were kept for tables that are here now."""
    with replica.database.read() as tx:
        waiting = _waiting(Sidecar.load(tx, replica.plan))
    if not waiting:
        return

    def work(rewriting: "Rewriting") -> None:
        book = rewriting.book
        order = {table.name: place for place, table in enumerate(book.plan.tables)}
        here = {n: w for n, w in waiting.items() if w[0] in order}
        for number, (name, claim) in sorted(here.items(), key=lambda one: order[one[1][0]]):
            for blocks in _taken(book, number, name):
                chunk = Chunk(book.origin, Frontier({}), 0, 0, (), tuple(blocks), claim)
                rewriting.applier.apply([chunk], claim)
            book.advance(book.frontier.joined(claim), rewriting.wall_ms, sender=None)
        _set_waiting(book, {n: w for n, w in waiting.items() if n not in here})

    replica.write_again(work, repair=False)


def _taken(book: Sidecar, number: int, name: str) -> Iterator[list[Block]]:
    """All that is kept under a number, some at a time; it is gone from there afterwards."""
    m, tx = book.tx.mark, book.tx
    while lines := tx.rows(
        f"SELECT lsn, row_key, state FROM syncnode_row WHERE tbl={m} ORDER BY lsn LIMIT {ROWS}",
        (number,),
    ):
        tx.execute(f"DELETE FROM syncnode_row WHERE tbl={m} AND lsn<={m}", (number, lines[-1][0]))
        yield list(
            blocks_of(
                [
                    (name, RowKey(bytes(key)), decode_row(bytes(state), book.origin_of))
                    for _, key, state in lines
                ]
            )
        )


def count_kept(tx: "Transaction") -> Mapping[str, int]:
    """How many rows are kept, by table."""
    return dict(
        tx.rows(
            "SELECT t.name, count(*) FROM syncnode_row r JOIN syncnode_table t ON t.id=r.tbl "
            f"WHERE r.place='{KEPT}' GROUP BY t.name ORDER BY t.name"
        )
    )


def _waiting(book: Sidecar) -> dict[int, tuple[str, Frontier]]:
    found = json.loads(book.settings.get(WAITING, "{}"))
    return {
        int(number): (name, decode_frontier(bytes.fromhex(claimed)))
        for number, (name, claimed) in found.items()
    }


def _waiting_numbers(book: Sidecar) -> list[int]:
    return [int(number) for number in json.loads(book.settings.get(WAITING, "{}"))]


def _set_waiting(book: Sidecar, waiting: Mapping[int, tuple[str, Frontier]]) -> None:
    if waiting or WAITING in book.settings:
        written = {n: [name, encode_frontier(claim).hex()] for n, (name, claim) in waiting.items()}
        book.set(WAITING, json.dumps(written))
