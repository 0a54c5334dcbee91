"""Rows that stay at their site since a column of their key says so.

No trigger writes them down, no clock stands beside them, and none is taken from a peer.
"""

from collections.abc import Callable

from syncnode.schema.plan import TablePlan


def stays_sql(
    table: TablePlan, column: Callable[[str], str], literal: Callable[[str], str]
) -> str | None:
    """That a row stays here, in SQL that is never NULL; None if none does.

    `column` writes a column of the row by its name, `literal` a text.
    """
    parts = []
    for name, values in table.local_rows:
        listed = ", ".join(literal(value) for value in values)
        parts.append(f"({column(name)} IN ({listed})) IS TRUE")
    return " OR ".join(parts) if parts else None


def stays(table: TablePlan, name: str, value: object) -> bool:
    """Whether a row with this value in that column of its key stays at its site."""
    values = dict(table.local_rows).get(name, ())
    if not isinstance(value, str):
        return False
    if not table.column(name).collation_insensitive:
        return value in values
    return value.casefold().rstrip(" ") in {one.casefold().rstrip(" ") for one in values}


def text_literal(engine: str, text: str) -> str:
    """A text within a statement that takes no parameters."""
    quoted = "'" + text.replace("'", "''") + "'"
    return quoted.replace("\\", "\\\\") if engine == "mysql" else quoted
