"""Manifests: what files a declared directory holds, as rows of a table that no database has.

A row is named by the file's relative name and has three cells: the name, the content (SHA-256 and
size in one, so that they never part), and when the file was written. Rows are kept, merged, passed
on and put on record as those of any table that is not here (`store/keeping.py`).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from syncnode.files.names import name_fault
from syncnode.store.keeping import begin, rewrite_kept
from syncnode.store.sidecar import Sidecar
from syncproto.clock import stamped_after
from syncproto.codec import decode_row
from syncproto.delta import RecordedConflict
from syncproto.identity import RowKey, SiteId
from syncproto.keys import composite_key
from syncproto.merge import Conflict
from syncproto.row import EMPTY, Row, Stamp, Value, deletion, written

if TYPE_CHECKING:
    from syncnode.apply.repairing import Rewriting
    from syncnode.replica import DatabaseReplica
    from syncnode.schema.plan import SchemaPlan
    from syncnode.store.database import Database, Transaction

NAME, CONTENT, MODIFIED = "name", "content", "modified"
_CONTENT = re.compile(r"([0-9a-f]{64}) (0|[1-9][0-9]{0,14})")
MODIFIED_MS_MAX = 1 << 45  # the year 3084


class Content(NamedTuple):
    """What a file holds."""

    digest: bytes
    size: int

    def __str__(self) -> str:
        return f"{self.digest.hex()} {self.size}"


class Entry(NamedTuple):
    """One row of a manifest.

    Attributes:
        name: As the row says; "" if it says none.
        content: None for a file that was deleted.
        fault: Why the row cannot be followed here; "" if it can.
        author: The site that wrote the content, if the row says.
    """

    key: RowKey
    name: str
    content: Content | None
    modified_ms: int
    fault: str = ""
    author: SiteId | None = None


class Change(NamedTuple):
    """A file that was written here, or deleted.

    Attributes:
        base: Digest of what it held before; None for a file that was not known.
    """

    name: str
    content: Content | None
    modified_ms: int = 0
    base: bytes | None = None


def key_of(table: str, name: str) -> RowKey:
    """Names are told apart by every letter, a name that looks like a UUID too."""
    return composite_key(table, (name,))


def read_content(value: Value) -> Content | None:
    """As the cell has it; None for what is none."""
    match = _CONTENT.fullmatch(value) if isinstance(value, str) else None
    return Content(bytes.fromhex(match[1]), int(match[2])) if match else None


def read_entry(table: str, key: RowKey, row: Row) -> Entry:
    """What a row says; other sites wrote it, so anything may stand in it."""
    values = {column: cell.value for column, cell in row.cells.items()}
    name, modified = values.get(NAME), values.get(MODIFIED)
    named = name if isinstance(name, str) else ""
    modified_ms = modified if isinstance(modified, int) and not isinstance(modified, bool) else 0
    modified_ms = modified_ms if 0 <= modified_ms < MODIFIED_MS_MAX else 0
    fault = name_fault(name) or ""
    if not fault and key_of(table, named) != key:
        fault = "the row is another file's"
    if not row.alive:
        return Entry(key, named, None, 0, fault)
    content = read_content(values.get(CONTENT))
    if content is None:
        fault = fault or "the row does not say what the file holds"
    author = row.cells[CONTENT].stamp.origin.site if CONTENT in row.cells else None
    return Entry(key, named, content or Content(b"", 0), modified_ms, fault, author)


def begin_manifests(database: "Database", plan: "SchemaPlan", tables: Iterable[str]) -> None:
    """Keep these manifests from now on."""
    with database.read() as tx:
        new = set(tables) - Sidecar.load(tx, plan).kept.keys()
    if new:
        with database.write() as tx:
            book = Sidecar.load(tx, plan)
            begin(book, sorted(new))
            book.save()


def read_entries(tx: "Transaction", book: Sidecar, table: str, after: int) -> list[Entry]:
    """The rows that have changed since that lsn."""
    number, m = book.kept.get(table), tx.mark
    return [
        read_entry(table, RowKey(bytes(key)), decode_row(bytes(state), book.origin_of))
        for key, state in tx.rows(
            f"SELECT row_key, state FROM syncnode_row WHERE tbl={m} AND place='kept' "
            f"AND lsn>{m} ORDER BY lsn",
            (number, after),
        )
    ]


def gave_way(tx: "Transaction", book: Sidecar, table: str) -> set[tuple[RowKey, bytes]]:
    """Key and digest of every content that is on record as the loser of a conflict."""
    found: set[tuple[RowKey, bytes]] = set()
    any_sql = f"SELECT 1 FROM syncnode_conflict WHERE tbl={tx.mark} LIMIT 1"
    if tx.value(any_sql, (table,)) is None:
        return found
    for _, conflict, _ in book.on_record():
        content = read_content(conflict.losing) if conflict.table == table else None
        if content is not None and conflict.column == CONTENT:
            found.add((conflict.key, content.digest))
    return found


def write_changes(replica: "DatabaseReplica", table: str, changes: Sequence[Change]) -> None:
    """What was done to the files here, as one changeset.

    Raises:
        StoreError: The database could not take it now.
    """

    def work(rewriting: "Rewriting") -> None:
        book, number = rewriting.book, rewriting.book.kept[table]
        by_key = {key_of(table, change.name): change for change in changes}
        stored = rewriting.hidden.get(number, list(by_key))
        before = {key: hidden.row for key, hidden in stored.items()}
        after = {
            key: _changed(before.get(key, EMPTY), change, rewriting)
            for key, change in by_key.items()
        }
        unseen = [_unseen(table, key, before, after[key], by_key[key]) for key in by_key]
        book.put_conflicts(one for one in unseen if one is not None)
        rewrite_kept(book, rewriting.hidden, table, before, after, wall_ms=rewriting.wall_ms)

    replica.write_again(work, repair=False)


def _unseen(
    table: str, key: RowKey, before: Mapping[RowKey, Row], after: Row, change: Change
) -> RecordedConflict | None:
    """Who wrote the file had something else before him than the manifest says: that arrived, and
    had not come to stand here yet. The database has seen it, and the person has not."""
    old = before.get(key, EMPTY).cells.get(CONTENT)
    stood = read_content(old.value) if old is not None else None
    if change.base is None or change.content is None or old is None or stood is None:
        return None
    if not before[key].alive or stood.digest in (change.base, change.content.digest):
        return None
    new = after.cells[CONTENT]
    conflict = Conflict(table, key, CONTENT, new.stamp, old.stamp, new.value, old.value)
    return RecordedConflict(conflict, new.stamp)


def _changed(row: Row, change: Change, rewriting: "Rewriting") -> Row:
    hlc = stamped_after(row.hlc, wall_ms=rewriting.wall_ms)
    stamp = Stamp(hlc, rewriting.dot.origin, rewriting.dot.seq)
    if change.content is None:
        return deletion(row, stamp)
    values: dict[str, Value] = {CONTENT: str(change.content), MODIFIED: change.modified_ms}
    if not row.alive:
        values[NAME] = change.name
    return written(row, values, stamp)
