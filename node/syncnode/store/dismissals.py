"""Parked rows of which somebody has decided that they may stay so.

Such a row is replicated as before, stands in the sidecar, is tried again as all others, and is
written if its obstacle goes. Only it is not shown and does not count against "in sync" any more.
"""

from collections.abc import Iterable

from syncnode.store.database import Transaction
from syncnode.store.hidden import PARKED
from syncproto.identity import RowKey

_SAME = "d.tbl=r.tbl AND d.row_key=r.row_key AND d.since_ms=r.since_ms"
DISMISSED = f"EXISTS (SELECT 1 FROM syncnode_dismissed d WHERE {_SAME})"
"""Of a parked `syncnode_row r`. A row that is parked anew, after it could be written, has another
time and needs another decision."""
OPEN = f"(r.place='{PARKED}' AND NOT {DISMISSED})"
"""Of `syncnode_row r`: parked, and nobody has dismissed it."""


def dismiss(tx: Transaction, rows: Iterable[tuple[int, RowKey, int]]) -> None:
    """Dismiss parked rows, each by table, key and since when it is parked."""
    m = tx.mark
    tx.execute(
        "DELETE FROM syncnode_dismissed WHERE NOT EXISTS (SELECT 1 FROM syncnode_row r WHERE "
        f"r.place='{PARKED}' AND r.tbl=syncnode_dismissed.tbl "
        "AND r.row_key=syncnode_dismissed.row_key AND r.since_ms=syncnode_dismissed.since_ms)"
    )
    lines = list(rows)
    restore(tx, [(number, key) for number, key, _ in lines])
    tx.executemany(
        f"INSERT INTO syncnode_dismissed (tbl, row_key, since_ms) VALUES ({m}, {m}, {m})", lines
    )


def restore(tx: Transaction, rows: Iterable[tuple[int, RowKey]]) -> None:
    """Let these rows count again."""
    tx.executemany(
        f"DELETE FROM syncnode_dismissed WHERE tbl={tx.mark} AND row_key={tx.mark}", list(rows)
    )
