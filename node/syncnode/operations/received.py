"""What `status` says of tables that are only received here."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from syncnode.store.sidecar import clock_table
from syncproto.codec import decode_cells, decode_row
from syncproto.row import Row, Stamp

if TYPE_CHECKING:
    from syncnode.operations.records import Records
    from syncnode.schema.plan import SchemaPlan, TablePlan
    from syncnode.store.sidecar import Sidecar

STATES = ("dead", "parked", "altered", "shown")  # where a row of the sidecar has a state


def received_notes(book: "Sidecar", plan: "SchemaPlan", records: "Records") -> Iterator[str]:
    """Sentences on what was taken back, and on what was written before it would have been."""
    only = [table for table in plan if table.received_only]
    if not only:
        return
    if undone := records.undone(book.origin.site):
        were = "value written here was" if undone == 1 else "values written here were"
        yield (
            f"{undone:,} {were} taken back, since the table is only received here; `syncnode "
            "conflicts` has them: write them at a site that may change the table"
        )
    for table in only:
        if count := own_rows(book, table):
            rows, stand = ("row", "stands") if count == 1 else ("rows", "stand")
            yield (
                f"{table.name} is only received here, and {count:,} {rows} of it {stand} as this "
                "site wrote them, from before or since no trigger saw what they were; what is "
                "written above from now on replaces them, `syncnode verify PEER` shows which "
                "differ, and with --repair takes the peer's"
            )


def own_rows(book: "Sidecar", table: "TablePlan") -> int:
    """How many rows of a table have a cell that was written here."""
    tx, own = book.tx, book.origin.site
    found: set[bytes] = set()
    if table.key_kind != "none":
        numbers = [n for n in range(book.origin_count) if book.origin_of(n).site == own]
        ours = ", ".join(map(str, numbers)) or "-1"
        width = len(table.travelling)
        for key, number, cells in tx.rows(
            f"SELECT syncnode_key, syncnode_origin, syncnode_cells FROM {clock_table(table)} "
            f"WHERE syncnode_origin IN ({ours}) OR syncnode_cells IS NOT NULL"
        ):
            odd, apart = dict[str, Stamp](), 0
            if cells is not None:
                odd, _, absent = decode_cells(bytes(cells), book.origin_of)
                apart = len(odd) + len(absent)
            based = number in numbers and apart < width
            if based or any(stamp.origin.site == own for stamp in odd.values()):
                found.add(bytes(key))
    marks = ", ".join([tx.mark] * len(STATES))
    for key, state in tx.rows(
        f"SELECT row_key, state FROM syncnode_row WHERE tbl={tx.mark} AND place IN ({marks})",
        (table.number, *STATES),
    ):
        if _is_own(decode_row(bytes(state), book.origin_of), own):
            found.add(bytes(key))
    return len(found)


def _is_own(row: Row, own: bytes) -> bool:
    stamps = list(row.stamps()) if row.cells else []
    return any(stamp.origin.site == own for stamp in stamps)
