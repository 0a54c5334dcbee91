"""Schemas of tests, said once for all engines: their DDL, their rows, and what they hold.

`dump` is the judge of convergence: it reads rows and walks foreign keys by itself, with none of
the node's code, and shows every local number as the row that it names. Two databases hold the
same rows exactly when their dumps are equal.
"""

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal, NamedTuple

Dialect = Literal["sqlite", "mysql"]
Record = dict[str, Any]

_TYPES = {
    "counter": ("INTEGER", "INT"),
    "int": ("INTEGER", "INT"),
    "bigint": ("BIGINT", "BIGINT"),
    "bool": ("BOOLEAN", "TINYINT(1)"),
    "bit": ("BIT(1)", "BIT(1)"),
    "uuid": ("CHAR(38)", "CHAR(38)"),
    "text": ("TEXT", "LONGTEXT"),
    "blob": ("BLOB", "LONGBLOB"),
    "date": ("DATE", "DATE"),
    "time": ("TIME", "TIME"),
    "datetime": ("DATETIME", "DATETIME"),
    "datetime(6)": ("DATETIME(6)", "DATETIME(6)"),
    "double": ("DOUBLE", "DOUBLE"),
    "float": ("FLOAT", "FLOAT"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `type` is a name of `_TYPES`, varchar(n) or decimal(p,s)."""

    name: str
    type: str
    null: bool = True
    default: str | None = None

    def ddl(self, dialect: Dialect) -> str:
        declared = _TYPES.get(self.type, (self.type.upper(),) * 2)[dialect == "mysql"]
        null = "" if self.null else " NOT NULL"
        default = "" if self.default is None else f" DEFAULT {self.default}"
        counter = " AUTO_INCREMENT" if self.type == "counter" and dialect == "mysql" else ""
        return f"{quoted(self.name, dialect)} {declared}{null}{default}{counter}"


@dataclass(frozen=True, slots=True)
class Foreign:
    columns: tuple[str, ...]
    table: str
    targets: tuple[str, ...]
    action: str = ""

    def ddl(self, dialect: Dialect) -> str:
        return (
            f"FOREIGN KEY ({names(self.columns, dialect)})"
            f" REFERENCES {quoted(self.table, dialect)} ({names(self.targets, dialect)})"
            f" {self.action}"
        ).rstrip()


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `identity` are the columns that say which row it is at any site.

    An empty identity means that a row is all that stands in it, but for its counter.
    """

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()
    foreign: tuple[Foreign, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def counter(self) -> str | None:
        return next((column.name for column in self.columns if column.type == "counter"), None)

    def ddl(self, dialect: Dialect) -> str:
        parts = [column.ddl(dialect) for column in self.columns]
        if self.primary_key:
            parts.append(f"PRIMARY KEY ({names(self.primary_key, dialect)})")
        parts += [f"UNIQUE ({names(columns, dialect)})" for columns in self.unique]
        if dialect == "sqlite":
            parts += [key.ddl(dialect) for key in self.foreign]
        tail = " ENGINE=InnoDB" if dialect == "mysql" else ""
        return (
            f"CREATE TABLE {quoted(self.name, dialect)} (\n  " + ",\n  ".join(parts) + f"\n){tail}"
        )


@dataclass(frozen=True, slots=True)
class Schema:
    tables: tuple[Table, ...]

    def table(self, name: str) -> Table:
        return next(table for table in self.tables if table.name == name)

    def ddl(self, dialect: Dialect) -> list[str]:
        """One statement each; foreign keys come last where a table cannot name a later one."""
        statements = [table.ddl(dialect) for table in self.tables]
        if dialect == "mysql":
            statements += [
                f"ALTER TABLE {quoted(table.name, dialect)} ADD {key.ddl(dialect)}"
                for table in self.tables
                for key in table.foreign
            ]
        return statements

    def root(self, table: str, column: str) -> tuple[str, str] | None:
        """The table and column whose local numbers this column holds, if it refers to any."""
        return _root(self, table, column)


class Statement(NamedTuple):
    """SQL with the placeholders of its dialect's driver (sqlite3, PyMySQL)."""

    sql: str
    parameters: tuple[Any, ...] = ()


def quoted(name: str, dialect: Dialect) -> str:
    mark = '"' if dialect == "sqlite" else "`"
    return mark + name.replace(mark, mark * 2) + mark


def names(columns: Iterable[str], dialect: Dialect) -> str:
    return ", ".join(quoted(column, dialect) for column in columns)


def insertion(table: str, record: Record, dialect: Dialect) -> Statement:
    places = ", ".join([_place(dialect)] * len(record))
    return Statement(
        f"INSERT INTO {_escaped(table, dialect)} ({_listed(record, dialect)}) VALUES ({places})",
        tuple(record.values()),
    )


def change(table: str, record: Record, where: Record, dialect: Dialect) -> Statement:
    assignments = ", ".join(f"{_escaped(name, dialect)} = {_place(dialect)}" for name in record)
    condition, parameters = _condition(where, dialect)
    return Statement(
        f"UPDATE {_escaped(table, dialect)} SET {assignments} WHERE {condition}",
        (*record.values(), *parameters),
    )


def deletion(table: str, where: Record, dialect: Dialect) -> Statement:
    condition, parameters = _condition(where, dialect)
    return Statement(f"DELETE FROM {_escaped(table, dialect)} WHERE {condition}", parameters)


def dialect_of(connection: Any) -> Dialect:
    return "sqlite" if type(connection).__module__.startswith("sqlite3") else "mysql"


def execute(connection: Any, statement: Statement) -> list[tuple[Any, ...]]:
    """Run a statement on a connection of sqlite3 or PyMySQL; its rows, if it has any."""
    cursor = connection.cursor()
    # PyMySQL formats only where it is given parameters; `_escaped` counts on it.
    cursor.execute(statement.sql, statement.parameters)
    found = list(cursor.fetchall()) if cursor.description else []
    cursor.close()
    return found


def create(connection: Any, schema: Schema) -> None:
    """Make the tables, with foreign keys checked from now on by this connection."""
    dialect = dialect_of(connection)
    cursor = connection.cursor()
    if dialect == "sqlite":
        cursor.execute("PRAGMA foreign_keys = ON")
    for sql in schema.ddl(dialect):
        cursor.execute(sql)
    cursor.close()
    connection.commit()


def fill(connection: Any, rows: Iterable[tuple[str, Record]]) -> None:
    """Insert and commit rows in any order; the caller knows that all references lead somewhere."""
    dialect = dialect_of(connection)
    off, on = _CHECKS[dialect]
    connection.commit()  # SQLite switches checks only between transactions
    cursor = connection.cursor()
    for sql in off:
        cursor.execute(sql)
    for table, record in rows:
        cursor.execute(*insertion(table, record, dialect))
    connection.commit()
    for sql in on:
        cursor.execute(sql)
    if dialect == "sqlite":
        assert cursor.execute("PRAGMA foreign_key_check").fetchall() == []
    cursor.close()


_CHECKS = {
    "sqlite": (["PRAGMA foreign_keys = OFF"], ["PRAGMA foreign_keys = ON"]),
    "mysql": (
        # Or a user 0 would get the next number.
        [
            "SET @mode = @@sql_mode, foreign_key_checks = 0",
            "SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO')",
        ],
        ["SET sql_mode = @mode, foreign_key_checks = 1"],
    ),
}


def records(connection: Any, table: Table) -> list[Record]:
    """All rows as they stand, with the values as the driver gives them."""
    dialect = dialect_of(connection)
    columns = [column.name for column in table.columns]
    rows = execute(
        connection,
        Statement(f"SELECT {_listed(columns, dialect)} FROM {_escaped(table.name, dialect)}"),
    )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def dump(
    connection: Any, schema: Schema, tables: Iterable[str] | None = None
) -> dict[str, list[str]]:
    """The whole database, or some tables of it, as sorted lines without any local number."""
    return _Picture(connection, schema).lines(tables)


class _Picture:
    def __init__(self, connection: Any, schema: Schema) -> None:
        self._schema = schema
        self._rows = {table.name: records(connection, table) for table in schema.tables}
        self._found: dict[tuple[str, str], dict[Any, Record]] = {}

    def lines(self, tables: Iterable[str] | None) -> dict[str, list[str]]:
        chosen = list(tables) if tables is not None else list(self._rows)
        return {
            name: sorted(
                json.dumps(self._content(self._schema.table(name), row, ()), ensure_ascii=False)
                for row in self._rows[name]
            )
            for name in chosen
        }

    def _content(self, table: Table, row: Record, path: tuple[Any, ...]) -> Record:
        return {
            column.name: self._shown(table, column, row[column.name], path)
            for column in table.columns
            if not (
                column.type == "counter"
                and self._schema.root(table.name, column.name) == (table.name, column.name)
            )
        }

    def _shown(self, table: Table, column: Column, value: Any, path: tuple[Any, ...]) -> Any:
        root = self._schema.root(table.name, column.name)
        if value is None or root is None:
            return neutral(value, column.type)
        parent = self._by_number(*root).get(value)
        if parent is None:
            return {"missing": [root[0], value]}
        return {root[0]: self._identity(self._schema.table(root[0]), parent, path)}

    def _identity(self, table: Table, row: Record, path: tuple[Any, ...]) -> Any:
        here = (table.name, id(row))
        if here in path:
            return "itself" if path[-1] == here else "a row on the way here"
        if table.identity:
            shown = [
                self._shown(table, table.column(name), row[name], (*path, here))
                for name in table.identity
            ]
            return [text.rstrip(" ").lower() if isinstance(text, str) else text for text in shown]
        return self._content(table, row, (*path, here))

    def _by_number(self, table: str, column: str) -> Mapping[Any, Record]:
        if (table, column) not in self._found:
            self._found[table, column] = {row[column]: row for row in self._rows[table]}
        return self._found[table, column]


def neutral(value: Any, kind: str) -> Any:
    """The value as every engine would show it."""
    if value is None:
        return None
    if kind == "bit":
        return int.from_bytes(value, "big") if isinstance(value, bytes) else value
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if kind.startswith("decimal") and not isinstance(value, str):
        scale = int(re.findall(r"\d+", kind)[1])
        return str(Decimal(str(value)).quantize(Decimal(1).scaleb(-scale)))
    if kind == "float" and isinstance(value, int | float):
        return f"{value:.6g}"  # what a four-byte float can tell apart
    if kind == "double" and isinstance(value, int | float):
        return repr(float(value))
    if isinstance(value, datetime.timedelta):
        seconds, rest = divmod(value, datetime.timedelta(seconds=1))
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return clock + (f".{rest.microseconds:06}".rstrip("0") if rest else "")
    text = str(value) if isinstance(value, datetime.date | Decimal) else value
    if kind.startswith("datetime") and isinstance(text, str) and "." in text:
        return text.rstrip("0").rstrip(".")
    return text


@lru_cache(maxsize=100_000)
def _root(schema: Schema, table: str, column: str) -> tuple[str, str] | None:
    here, visited = (table, column), set()
    while here not in visited:
        visited.add(here)
        found = schema.table(here[0])
        onward = [
            (key.table, target)
            for key in found.foreign
            for name, target in zip(key.columns, key.targets, strict=True)
            if name == here[1] and (key.table, target) != here
        ]
        if not onward:
            break
        here = onward[0]
    found = schema.table(here[0])
    local = found.primary_key == (here[1],) and found.column(here[1]).type == "counter"
    return here if local else None


def _escaped(name: str, dialect: Dialect) -> str:
    """The name in a statement with placeholders: PyMySQL's are formatted with %."""
    return quoted(name, dialect).replace("%", "%%" if dialect == "mysql" else "%")


def _listed(columns: Iterable[str], dialect: Dialect) -> str:
    return ", ".join(_escaped(column, dialect) for column in columns)


def _place(dialect: Dialect) -> str:
    return "?" if dialect == "sqlite" else "%s"


def _condition(where: Record, dialect: Dialect) -> tuple[str, tuple[Any, ...]]:
    terms = [
        f"{_escaped(name, dialect)} IS NULL"
        if value is None
        else f"{_escaped(name, dialect)} = {_place(dialect)}"
        for name, value in where.items()
    ]
    return " AND ".join(terms), tuple(value for value in where.values() if value is not None)
