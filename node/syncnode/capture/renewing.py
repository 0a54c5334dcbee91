"""A new incarnation: what was sealed on a branch that peers do not share is written again.

The rows keep their values and get dots of the new origin; the ledger forgets the old ones.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from syncnode.capture.seal import Sealer
from syncnode.store.database import Transaction
from syncnode.store.hidden import HELD, STATE_HERE, HiddenRows
from syncnode.store.keeping import rewrite_kept
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import Origins, Table
from syncproto.codec import decode_cells
from syncproto.identity import Origin, RowKey
from syncproto.memory import forgotten, redotted


def begin_incarnation(
    book: Sidecar,
    hidden: HiddenRows,
    tables: Mapping[int, Table],
    sealer: Sealer,
    incarnation: int,
    common_seq: int,
    *,
    nonce: Callable[[], int],
    wall_ms: int,
) -> None:
    """Go on under an incarnation of at least that number; own changesets above `common_seq` are
    forgotten, and their rows written anew. `nonce`: draws that of the changeset that does
    it."""
    old = book.origin
    first = book.tx.value(
        f"SELECT min(lsn) FROM syncnode_changeset WHERE origin={book.tx.mark} "
        f"AND seq>{book.tx.mark}",
        (book.number(old), common_seq),
    )
    common_nonce = book.recent_nonces(old).get(common_seq)
    book.origin = Origin(old.site, max(incarnation, old.incarnation + 1))
    book.set("incarnation", str(book.origin.incarnation))
    if first is None:
        return
    upto = book.lsn
    dot = book.open_changeset(nonce())
    origins = Origins(book.origin_of, decode_cells)
    for table in tables.values():
        if table.plan.key_kind == "none":
            continue
        clocked = _clocked(book.tx, table, first, upto, book.number(old))
        elsewhere = hidden.get(table.number, clocked)
        for key in clocked:
            if key in elsewhere and elsewhere[key].place in STATE_HERE:
                continue  # its state is not what the table shows: below
            pk = table.find(book.tx, [key]).get(key)
            if pk is None:
                continue
            for stored in table.by_pk(book.tx, [pk], origins):
                row = table.row_of(stored)
                if any(s.origin == old and s.seq > common_seq for s in row.stamps()):
                    again = redotted(row, old, common_seq, dot)
                    sealer.write_clock(table, pk, key, again, row)
    for _, number, key, row in list(hidden.changed(first, upto)):
        here = hidden.get(number, [key]).get(key)
        if here is None or here.place == HELD:
            continue
        if any(s.origin == old and s.seq > common_seq for s in row.stamps()):
            again = redotted(row, old, common_seq, dot)
            if number not in tables:  # a manifest of files
                name = next(name for name, kept in book.kept.items() if kept == number)
                states = ({key: row}, {key: again})
                rewrite_kept(book, hidden, name, *states, wall_ms=wall_ms)
                continue
            sealer.put_hidden(tables[number], key, replace(here, row=again), row)
    m = book.tx.mark
    book.lsn += 1
    book.tx.execute(
        f"UPDATE syncnode_conflict SET origin={m}, seq={m}, lsn={m} WHERE origin={m} AND seq>{m}",
        (book.number(dot.origin), dot.seq, book.lsn, book.number(old), common_seq),
    )
    book.frontier = forgotten(book.frontier, old, common_seq, common_nonce)
    book.tx.execute(
        f"DELETE FROM syncnode_changeset WHERE origin={m} AND seq>{m}",
        (book.number(old), common_seq),
    )
    book.close_changeset(wall_ms)


def _clocked(tx: Transaction, table: Table, first: int, upto: int, origin: int) -> list[RowKey]:
    """Keys of the rows of these lsn that may bear stamps of an origin."""
    return [
        RowKey(bytes(key))
        for (key,) in tx.rows(
            f"SELECT syncnode_key FROM {table.clock_name} "
            f"WHERE syncnode_lsn BETWEEN {tx.mark} AND {tx.mark} "
            f"AND (syncnode_origin={tx.mark} OR syncnode_cells IS NOT NULL) "
            "ORDER BY syncnode_lsn",
            (first, upto, origin),
        )
    ]
