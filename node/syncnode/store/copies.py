"""Rows of tables without a primary key: which line of the table shows which of them.

Such a row is named by all that it says, as it is replicated (rule A14). Where it refers to a row
for which another one stands, its line says something else: it refers to that one. Then the row
is ALTERED, and keeps which rows its line refers to, so that the line is found again when it is
edited or deleted, whatever became of those rows since.
"""

import json
from collections.abc import Iterable, Mapping

from syncnode.store.database import Transaction
from syncnode.store.hidden import ALTERED, SHOWN, HiddenRow, HiddenRows
from syncnode.store.references import Inbound
from syncnode.store.table import Key, Table
from syncproto.identity import RowKey
from syncproto.keys import copy_key
from syncproto.row import Reference, Row, Value

IN_TABLE = frozenset({SHOWN, ALTERED})
"""Rows of these tables that have a line."""

LineName = tuple[Value, ...]
"""All that a line says, references as keys: what a row that is shown as it is, is named by."""


def shown_as(row: Row, instead: Mapping[str, Reference]) -> HiddenRow:
    """What is kept of a row whose line refers to these rows instead of its own."""
    if not instead:
        return HiddenRow(SHOWN, row)
    detail = {
        name: [reference.table, reference.key.hex()] for name, reference in sorted(instead.items())
    }
    return HiddenRow(ALTERED, row, 0, "merged", json.dumps(detail))


def instead_of(hidden: HiddenRow) -> dict[str, Reference]:
    """The rows to which the line refers instead of those to which the row does."""
    if hidden.place != ALTERED or hidden.detail is None:
        return {}
    return {
        name: Reference(table, RowKey(bytes.fromhex(key)))
        for name, (table, key) in json.loads(hidden.detail).items()
    }


def line_of(row: Row, instead: Mapping[str, Reference]) -> Row:
    """The row as its line says it."""
    if not instead:
        return row
    cells = {name: row.cells[name]._replace(value=instead[name]) for name in instead}
    return Row({**row.cells, **cells}, row.delete)


def name_of(table: Table, row: Row) -> LineName:
    """What names the line that says this."""
    cells = [row.cells.get(name) for name in table.columns]
    return tuple(table.named([cell.value if cell is not None else None for cell in cells]))


def altered_by_name(table: Table, hidden: HiddenRows) -> dict[LineName, list[RowKey]]:
    """By what their lines say, the rows of the table whose lines do not say what they do."""
    found: dict[LineName, list[RowKey]] = {}
    rows = hidden.get(table.number, hidden.in_place(table.number, ALTERED))
    for key in sorted(rows):
        name = name_of(table, line_of(rows[key].row, instead_of(rows[key])))
        found.setdefault(name, []).append(key)
    return found


def shown_by(table: Table, hidden: HiddenRows, name: LineName) -> list[RowKey]:
    """The rows that are shown as they are, with lines of this name."""
    found: list[RowKey] = []
    ordinal = 0
    while True:
        key = copy_key(table.name, name, ordinal)
        here = hidden.get(table.number, [key]).get(key)
        if here is None:
            return found
        if here.place == SHOWN:
            found.append(key)
        ordinal += 1


def lines_below(
    tx: Transaction, table: Table, pk: Key, inbounds: Iterable[tuple[Inbound, Table]]
) -> list[tuple[Table, LineName]]:
    """What the lines of tables without a primary key say that refer to this row."""
    quote = tx.dialect.quote
    here = " AND ".join(f"t.{quote(name)}={tx.mark}" for name in table.plan.primary_key)
    found: dict[tuple[int, LineName], tuple[Table, LineName]] = {}
    for inbound, child in inbounds:
        values, joins = child._values("c")
        for line in tx.rows(
            f"SELECT {values} FROM {table.quoted} t JOIN {child.quoted} c "
            f"ON {inbound.joined(tx.dialect)}{joins} WHERE {here}",
            pk,
        ):
            name = tuple(child.named(child._wired(line)))
            found[child.number, name] = (child, name)
    return list(found.values())
