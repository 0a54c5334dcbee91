"""Deletes at a site that has let go of a column.

The cells of such a column are gone here, and their dots with them; a delete that names only the
dots it finds would leave them unseen, and others who keep the column would take them for edits
that the deleter did not know. All that the site claims of the table, its people had before them.

Who is served from here has never had those cells either, and claims them; a delete from there is
made again here, so that all sites come to the same: what was let go of holds no row alive.
"""

import json
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

from syncnode.store.hidden import DEAD, HiddenRow, HiddenRows
from syncnode.store.sidecar import DROPPED, Sidecar
from syncnode.store.table import Table
from syncproto.clock import stamped_after
from syncproto.identity import Origin, RowKey
from syncproto.row import Delete, Row, Stamp, deletion, union_seen

if TYPE_CHECKING:
    from syncnode.capture.seal import Sealer

CLAIMED = "schema_dropped_claims"
"""The setting with what was claimed of each such table when it last lost a column, as JSON."""


def dropped_columns(book: Sidecar) -> dict[str, list[str]]:
    """The columns that each table has ever lost; one that came again is among them."""
    found: dict[str, list[str]] = json.loads(book.settings.get(DROPPED, "{}"))
    return found


def note_dropped(book: Sidecar, columns_by_table: Mapping[str, Collection[str]]) -> None:
    """Remember columns that went, and whose cells may have been in them."""
    known = dropped_columns(book)
    claimed = json.loads(book.settings.get(CLAIMED, "{}"))
    for name, columns in columns_by_table.items():
        known[name] = sorted({*known.get(name, ()), *columns})
        entries = book.frontier.vector(name).entries
        claimed[name] = {str(book.number(origin)): entry.seq for origin, entry in entries.items()}
    book.set(DROPPED, json.dumps(known, sort_keys=True))
    book.set(CLAIMED, json.dumps(claimed, sort_keys=True))


def all_seen(book: Sidecar, hidden: HiddenRows, table: Table, key: RowKey, dead: Row) -> Row:
    """A row just deleted here, whose delete has seen all that is claimed of a table that has lost
    a column; what waits aside for its time nobody has seen."""
    delete = dead.delete
    assert delete is not None, "just deleted"
    if table.name not in dropped_columns(book):
        return dead
    if hidden.asides(table.number, key):
        return dead
    vector = book.frontier.vector(table.name)
    # Own changesets need no entry: see `Delete`.
    claimed = {
        origin: entry.seq
        for origin, entry in vector.entries.items()
        if origin != delete.stamp.origin
    }
    return Row(dead.cells, delete._replace(seen=union_seen(delete.seen, claimed)))


def repeat_deletes(
    book: Sidecar,
    sealer: "Sealer",
    tables: Collection[Table],
    first_lsn: int,
    *,
    wall_ms: int,
    nonce: Callable[[], int],
) -> None:
    """Delete rows again that others have deleted since `first_lsn` without having seen all that
    was let go of here. Once: such a delete has seen it, and so has every later one that knows
    it."""
    hidden = HiddenRows(book)
    lost = json.loads(book.settings.get(CLAIMED, "{}"))
    for table in tables:
        if table.name not in lost or table.deletes_win:
            continue
        before = {book.origin_of(int(number)): seq for number, seq in lost[table.name].items()}
        for key, row in _just_dead(book, hidden, table, first_lsn):
            assert row.delete is not None, "it is dead"
            if _has_seen(row.delete, before) or hidden.asides(table.number, key):
                continue
            dot = book.open_changeset(nonce())
            stamp = Stamp(stamped_after(row.hlc, wall_ms=wall_ms), dot.origin, dot.seq)
            dead = all_seen(book, hidden, table, key, deletion(row, stamp))
            local = hidden.get(table.number, [key])[key].local
            sealer.put_hidden(table, key, HiddenRow(DEAD, dead, local=local), row)
    book.close_changeset(wall_ms)


def _just_dead(
    book: Sidecar, hidden: HiddenRows, table: Table, first_lsn: int
) -> list[tuple[RowKey, Row]]:
    m = book.tx.mark
    lines = book.tx.rows(
        f"SELECT row_key FROM syncnode_row WHERE tbl={m} AND place='{DEAD}' AND lsn>{m} "
        "AND aside=0 ORDER BY row_key",
        (table.number, first_lsn),
    )
    rows = hidden.get(table.number, [RowKey(bytes(key)) for (key,) in lines])
    return [(key, one.row) for key, one in rows.items() if one.row.delete is not None]


def _has_seen(delete: Delete, claimed: Mapping[Origin, int]) -> bool:
    return all(
        delete.seen.get(origin, 0) >= seq
        or any(mine.origin == origin and mine.seq > seq for mine in delete.stamps)
        for origin, seq in claimed.items()
    )
