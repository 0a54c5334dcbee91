"""Rows that wait for each other in a circle, and so come to rest only all at once.

Three kinds: parked rows whose parents are parked with them; deleted rows to which nothing but
each other refers; rows whose new unique values are still held by each other. Everything that
can be decided row by row is decided in `writing.py` first.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from syncnode.schema.plan import ColumnPlan
from syncnode.store.hidden import HiddenRow
from syncnode.store.table import Key, Table
from syncproto.identity import RowKey
from syncproto.row import Row, Value

if TYPE_CHECKING:
    from syncnode.apply.writing import Wanted, Writer

WAITING_ROWS_MAX = 20_000  # parked rows looked at together; beyond it circles wait for a decision

Node = tuple[int, RowKey]
ByValue = tuple[int, tuple[str, ...], tuple[Value, ...]]
"""A parent by its number of table, columns, and what must stand in them."""


@dataclass(slots=True)
class Ahead:
    """A row written before it was certain that its parents would be.

    Attributes:
        columns, line: As they were inserted.
    """

    table: Table
    wanted: "Wanted"
    pk: Key
    columns: list[str]
    line: tuple[Any, ...]


# Parked rows that refer to each other


def circle(
    waiting: Mapping[Node, HiddenRow],
    tables: Mapping[int, Table],
    resolve: Callable[[str, Iterable[RowKey]], set[RowKey]],
    lacking_by_value: Callable[[Table, Row], list[ByValue]],
) -> list[Node]:
    """Those of `waiting` that need nothing but rows that are here and each other.

    `resolve` returns which of the given rows of a table are not here; `lacking_by_value` the
    parents of a row, named by their values, that are not here.
    """
    left = dict(waiting)
    numbers = {table.name: number for number, table in tables.items()}
    nowhere = _nowhere(left, resolve)
    by_value = {node: lacking_by_value(tables[node[0]], left[node].row) for node in left}

    def here(node: Node) -> bool:
        return all(
            (reference.table, reference.key) not in nowhere
            or (numbers.get(reference.table, 0), reference.key) in left
            for reference in left[node].row.references()
        ) and all(
            any(
                number == other and parents_by_value(left[other, key].row, columns) == values
                for other, key in left
            )
            for number, columns, values in by_value[node]
        )

    while alone := [node for node in left if not here(node)]:
        for node in alone:
            del left[node]
    return sorted(left)


def _nowhere(
    waiting: Mapping[Node, HiddenRow], resolve: Callable[[str, Iterable[RowKey]], set[RowKey]]
) -> set[tuple[str, RowKey]]:
    asked: dict[str, set[RowKey]] = {}
    for hidden in waiting.values():
        for reference in hidden.row.references():
            asked.setdefault(reference.table, set()).add(reference.key)
    return {(table, key) for table, keys in asked.items() for key in resolve(table, sorted(keys))}


# Deleted rows that refer to each other


def free_to_go(
    dead: Iterable[tuple[int, Key]], referrers: Callable[[int, Key, int], list[tuple[int, Key]]]
) -> list[tuple[int, Key]]:
    """Those of `dead` that no row outside refers to, also not by way of a row that stays.

    `referrers(table, pk, limit)` returns rows that refer to one, (0, ()) for a row that cannot
    be named; `limit` of them are enough.
    """
    rows = set(dead)
    below: dict[tuple[int, Key], list[tuple[int, Key]]] = {}
    staying: list[tuple[int, Key]] = []
    for node in rows:
        # More referrers than there are dead rows: one of them is alive.
        found = referrers(*node, len(rows) + 1)
        if any(child not in rows for child in found):
            staying.append(node)
        for child in found:
            below.setdefault(child, []).append(node)
    stays = set(staying)
    while staying:
        for parent in below.get(staying.pop(), ()):
            if parent not in stays:
                stays.add(parent)
                staying.append(parent)
    return sorted(rows - stays, key=repr)


# Rows that exchange unique values


def placeholders(table: Table, key: RowKey, changed: Mapping[str, Any]) -> dict[str, Any] | None:
    """A value that no other row has for each unique key that changes; None if there is none."""
    found: dict[str, Any] = {}
    for unique in table.plan.unique_keys:
        columns = [table.plan.column(name) for name in unique.columns if name in changed]
        if not columns or any(column.name in found for column in columns):
            continue
        free = next((column for column in columns if column.nullable), None)
        if free is not None:
            found[free.name] = None
            continue
        column = columns[0]
        value = _unheard_of(column, key)
        if value is None:
            return None
        found[column.name] = value
    return found


def _unheard_of(column: ColumnPlan, key: RowKey) -> Any:
    if column.reference is not None:
        return None
    if column.kind in ("text", "any"):
        name = f"~{key.hex()}"
        # Characters of a random key differ from the first on.
        return name[: column.size] if column.size is None or column.size >= 8 else None
    if column.kind == "integer":
        return -(int.from_bytes(key[:3], "big") + 2)
    return None


def exchange(writer: "Writer", table: Table, rows: list[tuple["Wanted", dict[str, Any]]]) -> bool:
    """Write the rows that can be written together; each first gives its unique values up."""
    while len(rows) > 1:
        failed = _exchanged(writer, table, rows)
        if failed is None:
            writer._updated(table, rows)
            writer._vacated.add(table.number)
            return True
        rows = [row for row in rows if row[0].key != failed]
    return False


def _exchanged(
    writer: "Writer", table: Table, rows: list[tuple["Wanted", dict[str, Any]]]
) -> RowKey | None:
    """Try it; the key of the first row that was refused, in which case nothing has changed."""
    writer._write_to(table.number)
    key = rows[0][0].key
    try:
        with writer._tx.savepoint():
            for step in (0, 1):
                for wanted, changed in rows:
                    key = wanted.key
                    values = changed if step else placeholders(table, key, changed)
                    if values:
                        line = (*values.values(), *writer._pk_of(wanted))
                        writer._tx.execute(table.update_sql(tuple(values)), line)
    except writer._row_errors as error:
        if writer._refusal(table, error) is None:
            raise
        return key
    return None


def parents_by_value(row: Row, columns: Iterable[str]) -> tuple[Value, ...]:
    """What a row says in these columns."""
    return tuple(row.cells[name].value if name in row.cells else None for name in columns)
