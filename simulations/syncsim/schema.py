"""The tables of every simulated site: a small clinic, and what a database of it looks like.

`key` columns never appear here: a row is named by its row key, in SQL by its column `uuid`.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SimTable:
    """One table.

    Attributes:
        columns: Texts and whole numbers, in order.
        references: Column to the table that it points to; nullable.
    """

    columns: tuple[str, ...]
    references: Mapping[str, str]


TABLES: Mapping[str, SimTable] = {
    "person": SimTable(("name", "village", "born", "voided"), {}),
    "visit": SimTable(("started", "stopped", "reason"), {"person": "person"}),
    "encounter": SimTable(("happened", "form", "provider"), {"visit": "visit"}),
    "obs": SimTable(("concept", "value", "voided"), {"encounter": "encounter"}),
}


def all_columns(table: str) -> tuple[str, ...]:
    """Plain columns, then references."""
    return (*TABLES[table].columns, *TABLES[table].references)


def statements() -> list[str]:
    """The schema as SQLite knows it."""
    result = []
    for name, table in TABLES.items():
        columns = [f"{column}" for column in table.columns]
        columns += [
            f"{column} INTEGER REFERENCES {other} (id)"
            for column, other in table.references.items()
        ]
        result.append(
            f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, "
            f"{', '.join(columns)})"
        )
    return result
