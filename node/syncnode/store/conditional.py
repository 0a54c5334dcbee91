"""References by condition: values that are local numbers only where another column says so.

`person_attribute.value` is a text; where its type's `format` says `org.openmrs.Concept` its digits
are a local number of `concept`. Read, it becomes a reference; written, the number that the row
has here. Only tables that have such a column do any of this.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncnode.dialects.base import Dialect
from syncnode.schema.local_rows import text_literal
from syncnode.schema.plan import ColumnPlan, Conditional, SchemaPlan, TablePlan
from syncproto.identity import RowKey
from syncproto.row import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from syncnode.store.database import Transaction
    from syncnode.store.table import Table

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_INTEGERS = ("integer", "unsigned")


class ByContent:
    """The columns of one table that hold references by condition.

    Args:
        clock_of: The name of the clock table of a replicated table.
        missing: The key of a row that is referred to and is not here.
    """

    def __init__(
        self,
        table: TablePlan,
        schema: SchemaPlan,
        dialect: Dialect,
        *,
        clock_of: "Callable[[TablePlan], str]",
        missing: "Callable[[str, object], RowKey]",
    ) -> None:
        self._dialect = dialect
        self._by_name = schema.by_name
        self._clock_of = clock_of
        self._missing = missing
        self.columns = tuple(
            (place, column, column.conditional)
            for place, column in enumerate(table.travelling)
            if column.conditional is not None
        )

    def select(self, alias: str) -> tuple[list[str], str]:
        """For each column what decides and the key that the number may mean; and the joins."""
        quote, extras, joins = self._dialect.quote, list[str](), ""
        for place, column, condition in self.columns:
            says = f"{alias}.{quote(condition.column)}"
            if condition.by is not None:
                name = f"d{place}"
                joins += (
                    f" LEFT JOIN {quote(condition.decided_in)} {name} ON "
                    f"{name}.{quote(condition.decider_key)} = {alias}.{quote(condition.by)}"
                )
                says = f"{name}.{quote(condition.column)}"
            extras.append(says)
            keys = []
            for number, target in enumerate(sorted(condition.targets)):
                parent = self._by_name.get(target)
                if parent is None:
                    continue
                local = parent.local_key or parent.primary_key[0]
                name = f"q{place}_{number}"
                value = self._number(column, f"{alias}.{quote(column.name)}")
                joins += (
                    f" LEFT JOIN {self._clock_of(parent)} {name} ON "
                    f"{says} IN ({said(self._dialect, condition, target)}) "
                    f"AND {name}.{quote(local)} = {value}"
                )
                keys.append(f"{name}.syncnode_key")
            extras.append(f"COALESCE({', '.join(keys)})" if len(keys) > 1 else "".join(keys))
            extras[-1] = extras[-1] or "NULL"
        return extras, joins

    def resolve(self, values: list[Any], extras: Sequence[Any]) -> None:
        """Put references where numbers mean one. One that leads nowhere stays as it is, and is
        written only where it leads nowhere either (`leads_elsewhere`)."""
        for index, (place, _, condition) in enumerate(self.columns):
            value = values[place]
            target = dict(condition.tables).get(extras[2 * index])
            if value is None or target is None or not is_number(value):
                continue
            key = extras[2 * index + 1]
            if key is not None:
                values[place] = Reference(target, RowKey(bytes(key)))
            elif target not in self._by_name:
                values[place] = Reference(target, self._missing(target, value))

    def _number(self, column: ColumnPlan, expression: str) -> str:
        """The column as an integer that an index can be asked for; anything for what is none."""
        if column.kind in _INTEGERS:
            return expression
        if self._dialect.name == "sqlite":
            return f"CAST({expression} AS INTEGER)"
        if self._dialect.name == "mysql":
            return f"CAST({expression} AS SIGNED)"
        return f"CASE WHEN {expression} ~ '^[0-9]{{1,18}}$' THEN CAST({expression} AS BIGINT) END"


def is_number(value: object) -> bool:
    """Whether it may be a local number."""
    return _NUMBER.fullmatch(str(value)) is not None


def numbered(rows: Sequence[Sequence[Any]], place: int) -> set[int]:
    """Indices of the rows in which the value there may be a local number."""
    return {
        index for index, row in enumerate(rows) if row[place] is not None and is_number(row[place])
    }


def deciders(
    asked: Collection[Any], condition: Conditional, said_by: Mapping[Any, Any]
) -> set[Any]:
    """Those of `asked` by which a number is one of some table, or of which that is not known."""
    tables = dict(condition.tables)
    return {one for one in asked if one not in said_by or said_by[one] in tables}


def leads_elsewhere(
    tx: "Transaction",
    table: "Table",
    name: str,
    value: object,
    deciding: Any,
    tables: "Mapping[str, Table]",
) -> bool:
    """Whether a number that led nowhere where it was written leads to a row here.

    `deciding` is what stands in the column that leads to the row that decides, in its local form,
    or in the one that decides itself.
    """
    condition = table.conditional.get(name)
    if condition is None or value is None or not is_number(value):
        return False
    quote = table.dialect.quote
    if condition.by is not None:
        deciding = tx.value(
            f"SELECT {quote(condition.column)} FROM {quote(condition.decided_in)} "
            f"WHERE {quote(condition.decider_key)}={tx.mark}",
            (deciding,),
        )
    parent = tables.get(dict(condition.tables).get(deciding, ""))
    if parent is None:
        return False
    local = quote(parent.plan.local_key or parent.plan.primary_key[0])
    sql = f"SELECT 1 FROM {parent.quoted} WHERE {local}={tx.mark}"
    return tx.value(sql, (int(str(value)),)) is not None


def written(column: ColumnPlan, number: Any) -> Any:
    """A local number as the column holds it."""
    return number if number is None or column.kind in _INTEGERS else str(number)


def refers_sql(
    dialect: Dialect, column: ColumnPlan, target: str, *, child: str, number: str
) -> str:
    """Whether the column, in the row `child`, refers to the row of `target` with that number.

    `child` is an alias, `number` an expression.
    """
    quote, condition = dialect.quote, column.conditional
    assert condition is not None, "only references by condition"
    if column.kind not in _INTEGERS:
        kinds = {"sqlite": "TEXT", "mysql": "CHAR"}
        number = f"CAST({number} AS {kinds.get(dialect.name, 'VARCHAR')})"
    same = f"{child}.{quote(column.name)} = {number}"
    says = said(dialect, condition, target)
    if condition.by is None:
        return f"{same} AND {child}.{quote(condition.column)} IN ({says})"
    return (
        f"{same} AND EXISTS (SELECT 1 FROM {quote(condition.decided_in)} d WHERE "
        f"d.{quote(condition.decider_key)} = {child}.{quote(condition.by)} "
        f"AND d.{quote(condition.column)} IN ({says}))"
    )


def said(dialect: Dialect, condition: Conditional, target: str) -> str:
    """What may be said for a number to be one of `target`, as literals."""
    return ", ".join(literal(dialect, text) for text, table in condition.tables if table == target)


def literal(dialect: Dialect, text: str) -> str:
    """A text within a statement that takes parameters."""
    quoted = text_literal(dialect.name, text)
    return quoted if dialect.name == "sqlite" else quoted.replace("%", "%%")


def referring(table: "Table", column: str, target: str) -> str:
    """That the row `c` of a table refers by that column to the row of `target` whose number is
    the one parameter."""
    plan, dialect = table.plan.column(column), table.dialect
    return refers_sql(dialect, plan, target, child="c", number=dialect.mark)


def decided_by(
    table: "Table", tables: "Iterable[Table]"
) -> Mapping[str, list[tuple["Table", str, str]]]:
    """By column of a table that decides: the tables and columns whose values it decides, and the
    column there that leads to it."""
    found: dict[str, list[tuple[Table, str, str]]] = {}
    for child in tables:
        for name, condition in child.conditional.items():
            if condition.by is not None and condition.decider == table.name:
                found.setdefault(condition.column, []).append((child, name, condition.by))
    return found
