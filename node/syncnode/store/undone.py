"""Writes that were undone since their table is only received here: how they stand on record.

Such a record is an ordinary conflict, told by what no merge could decide: the value that lost is
the later one, for its author had seen the other. Of a row that was inserted here winner and loser
are one stamp, for nothing else stood there.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from syncproto.codec import decode_row, encode_row
from syncproto.identity import RowKey
from syncproto.merge import Conflict
from syncproto.row import EMPTY, Cell, Row, Stamp, Value

if TYPE_CHECKING:
    from syncnode.store.sidecar import Sidecar

UNDONE = "undone"
"""The reason of a row (`hidden.py`) that its table shows otherwise, or not, until what was written
here is taken back."""
DUE = "undone"
"""The setting that says: there are such rows."""
BARE = "was: "
DELETED_HERE = "only received"
"""What lost, where the row was deleted here."""


def undone_edit(
    table: str, key: RowKey, column: str, row: Row, stamp: Stamp, value: Value
) -> Conflict:
    """A value that was written to a row that stands, `row` being what it goes back to."""
    cell = row.cells.get(column)
    if cell is None:  # the column came after the row was written
        return Conflict(table, key, column, stamp, stamp, None, value)
    return Conflict(table, key, column, cell.stamp, stamp, cell.value, value)


def undone_insert(table: str, key: RowKey, column: str, stamp: Stamp, value: Value) -> Conflict:
    """A value of a row that nobody else knows, or that is deleted."""
    return Conflict(table, key, column, stamp, stamp, None, value, True)


def undone_delete(table: str, key: RowKey, row: Row, stamp: Stamp) -> Conflict:
    """The delete of a row that stands."""
    latest = max(cell.stamp for cell in row.cells.values())
    return Conflict(table, key, "", latest, stamp, None, DELETED_HERE)


def is_undone(conflict: Conflict) -> bool:
    """Whether it is on record since the table is only received where it was written."""
    if conflict.column == "":
        return conflict.losing == DELETED_HERE
    if conflict.deleted:
        return conflict.winner == conflict.loser
    return conflict.loser >= conflict.winner


def bare_text(book: "Sidecar", values: Mapping[str, Value]) -> str:
    """Values of columns for which a row has no cells, as the detail of a row that is undone."""
    stamp = Stamp(1, book.origin, 1)  # never looked at
    row = Row({name: Cell(stamp, value) for name, value in values.items()})
    return BARE + encode_row(row, book.number).hex()


def bare_of(book: "Sidecar", detail: str | None) -> Row:
    """As `bare_text` wrote them; an empty row where there are none."""
    if detail is None or not detail.startswith(BARE):
        return EMPTY
    return decode_row(bytes.fromhex(detail.removeprefix(BARE)), book.origin_of)


def undone_lines(book: "Sidecar", number: int) -> Iterator[tuple[RowKey, Row]]:
    """Of a table whose rows have no key: lines that were written here and are to go, each by the
    name under which it is remembered. They are marked as held, and so in no delta."""
    for key, state in book.tx.rows(
        "SELECT row_key, state FROM syncnode_row WHERE place='held' "
        f"AND tbl={book.tx.mark} AND reason={book.tx.mark} ORDER BY lsn",
        (number, UNDONE),
    ):
        yield RowKey(bytes(key)), decode_row(bytes(state), book.origin_of)
