"""Random schemas with every kind of key, and random rows and edits that they allow.

A schema is drawn from a `random.Random`: seeded, or Hypothesis's own, which shrinks. Edits are
drawn against what a database holds just now, so they are valid but for clashes that the engine
itself refuses (`perform` says so); two sites that draw their own edits clash only in what is
drawn narrowly on purpose: natural keys and secondary unique columns.
"""

import random
import sqlite3
import uuid
from typing import Any

import psycopg
import pymysql
from hypothesis import strategies as st
from tables import (
    Column,
    Foreign,
    Record,
    Schema,
    Statement,
    Table,
    change,
    deletion,
    dialect_of,
    execute,
    insertion,
    neutral,
    records,
)

KINDS = ("uuid", "shared", "composite", "natural", "random", "none")
TABLES_MAX = 7
_TYPES = (
    "int",
    "bigint",
    "bool",
    "bit",
    "varchar(40)",
    "text",
    "blob",
    "date",
    "time",
    "datetime",
    "datetime(6)",
    "decimal(8,2)",
    "double",
    "float",
)
_NAMES = ("a", "Group Name", "order", "what's up?", "100%", 'say "x"', "naïve", "select", "b`c")
_ACTIONS = ("", "", "ON DELETE CASCADE", "ON DELETE SET NULL")


def random_schema(draw: random.Random, *, kinds: tuple[str, ...] = KINDS) -> Schema:
    """One to `TABLES_MAX` tables; the first has a uuid, so that the others find a parent."""
    tables = [_table(draw, 0, "uuid", [])]
    for number in range(1, draw.randint(1, TABLES_MAX)):
        tables.append(_table(draw, number, draw.choice(kinds), tables))
    return Schema(tuple(_with_cycle(draw, tables)))


def schemas() -> st.SearchStrategy[Schema]:
    return st.randoms(use_true_random=False).map(random_schema)


def edit(
    connection: Any, schema: Schema, draw: random.Random, *, deletes: bool = True
) -> Statement:
    """One statement: an insert, an update of one row, or a delete of one row."""
    table = draw.choice(schema.tables)
    rows = records(connection, table)
    dialect = dialect_of(connection)
    choice = draw.random()
    if not rows or choice < 0.5:
        record = _record(connection, schema, table, draw)
        if record is not None:
            return insertion(table.name, record, dialect)
        table = schema.tables[0]  # some parent has no row yet: this table needs none
        first = _record(connection, schema, table, draw)
        assert first is not None
        return insertion(table.name, first, dialect)
    row = draw.choice(rows)
    names = table.primary_key or [column.name for column in table.columns]
    where = {name: _asked(row[name], table.column(name).type) for name in names}
    fixed = {*table.primary_key, *table.identity}
    free = [column for column in table.columns if column.name not in fixed]
    if deletes and (choice > 0.85 or not free):
        return deletion(table.name, where, dialect)
    if not free:
        return insertion(table.name, _record(connection, schema, table, draw) or row, dialect)
    changed = draw.sample(free, draw.randint(1, min(2, len(free))))
    values = {c.name: _value(connection, schema, table, c, draw) for c in changed}
    absent = {c.name for c in changed if values[c.name] is None and not c.null}
    return change(
        table.name,
        {name: row[name] if name in absent else value for name, value in values.items()},
        where,
        dialect,
    )


def _asked(value: Any, kind: str) -> Any:
    """A value as a condition takes it: MariaDB shows bits as bytes, and compares numbers."""
    return neutral(value, kind) if kind == "bit" and isinstance(value, bytes) else value


def perform(connection: Any, statement: Statement) -> bool:
    """Run the statement; False where the engine refused it, which leaves everything as it was.

    The caller commits.
    """
    try:
        execute(connection, statement)
    except (sqlite3.IntegrityError, pymysql.err.IntegrityError, psycopg.IntegrityError):
        return False
    return True


def write(
    connection: Any, schema: Schema, draw: random.Random, count: int, *, deletes: bool = True
) -> int:
    """Draw, run and commit that many edits one by one; the number that the engine took."""
    taken = 0
    for _ in range(count):
        taken += perform(connection, edit(connection, schema, draw, deletes=deletes))
        connection.commit()
    return taken


def _table(draw: random.Random, number: int, kind: str, earlier: list[Table]) -> Table:
    name = f"{draw.choice(_NAMES)} {number}" if draw.random() < 0.4 else f"t{number}"
    columns, foreign = _contents(draw, earlier)
    unique: list[tuple[str, ...]] = []
    parents = [table for table in earlier if _number(table)]
    texts = [column for column in columns if column.type == "varchar(40)"]
    if texts and draw.random() < 0.4:
        unique.append((texts[0].name,))
    key: tuple[Column, ...] = (Column("id", "counter", null=False),)
    identity: tuple[str, ...] = ()
    if kind == "uuid":
        key = (*key, Column("uuid", "uuid", null=False))
        identity = ("uuid",)
        if draw.random() < 0.8:
            unique.append(("uuid",))
        if draw.random() < 0.4:
            columns.append(Column("parent", "int"))
            foreign.append(Foreign(("parent",), name, ("id",), draw.choice(_ACTIONS)))
    elif kind == "natural":
        key = (Column("code", "varchar(20)", null=False),)
        identity = ("code",)
    elif kind == "shared":
        parent = draw.choice(parents)
        key = (Column("id", "int", null=False),)
        identity = ("id",)
        foreign.append(Foreign(("id",), parent.name, (str(_number(parent)),)))
    elif kind == "composite":
        parent = draw.choice(parents)
        key = (Column("owner", "int", null=False), Column("code", "varchar(20)", null=False))
        identity = ("owner", "code")
        foreign.append(Foreign(("owner",), parent.name, (str(_number(parent)),)))
    elif kind == "none":
        key = ()
    keyed = tuple(column.name for column in key if column.name != "uuid")
    return Table(name, (*key, *columns), keyed, identity, tuple(foreign), tuple(unique))


def _contents(draw: random.Random, earlier: list[Table]) -> tuple[list[Column], list[Foreign]]:
    columns, foreign = [], []
    for name in draw.sample(_NAMES, draw.randint(1, 4)):
        columns.append(Column(name, draw.choice(_TYPES)))
    for number, parent in enumerate(draw.sample(earlier, min(len(earlier), draw.randint(0, 2)))):
        name = f"ref {number}"
        if _number(parent):
            target, kind = str(_number(parent)), "int"
        elif parent.primary_key == ("code",):
            target, kind = "code", "varchar(20)"
        else:
            continue
        null = draw.random() < 0.6
        actions = _ACTIONS if null else _ACTIONS[:3]
        columns.append(Column(name, kind, null=null))
        foreign.append(Foreign((name,), parent.name, (target,), draw.choice(actions)))
    return columns, foreign


def _number(table: Table) -> str | None:
    """The column of a single integer primary key, own or shared, that others can refer to."""
    if len(table.primary_key) != 1 or table.primary_key == ("code",):
        return None
    return table.primary_key[0]


def _with_cycle(draw: random.Random, tables: list[Table]) -> list[Table]:
    """Sometimes let the first table refer to a later one, so that parents have no order."""
    first = tables[0]
    later = [table for table in tables[1:] if _number(table)]
    if not later or draw.random() < 0.5:
        return tables
    target = draw.choice(later)
    closing = Foreign(("back",), target.name, (str(_number(target)),))
    first = Table(
        first.name,
        (*first.columns, Column("back", "int")),
        first.primary_key,
        first.identity,
        (*first.foreign, closing),
        first.unique,
    )
    return [first, *tables[1:]]


def _record(connection: Any, schema: Schema, table: Table, draw: random.Random) -> Record | None:
    """A new row; None when a parent that it needs has none."""
    record = {}
    for column in table.columns:
        if column.type == "counter":
            continue
        value = _value(connection, schema, table, column, draw)
        if value is None and not column.null:
            return None
        record[column.name] = value
    return record


def _value(
    connection: Any, schema: Schema, table: Table, column: Column, draw: random.Random
) -> Any:
    for key in table.foreign:
        if column.name in key.columns:
            target = key.targets[key.columns.index(column.name)]
            found = [row[target] for row in records(connection, schema.table(key.table))]
            return draw.choice(found) if found and draw.random() < 0.9 else None
    if column.null and draw.random() < 0.15:
        return None
    if column.type == "uuid":
        return str(uuid.UUID(int=draw.getrandbits(128), version=4))
    return _content(column.type, draw)


def _content(kind: str, draw: random.Random) -> Any:
    """A value of that type that every engine keeps exactly."""
    match kind:
        case "int" | "bigint":
            return draw.choice([0, 1, -1, draw.randrange(-(2**31), 2**31)])
        case "bool" | "bit":
            return draw.randrange(2)
        case "varchar(20)":  # keys: few, so that two sites invent the same
            return draw.choice("abcdefgh") + draw.choice(["", "-1", " ward", "'s", "%"])
        case "varchar(40)" | "varchar(50)" | "varchar(100)" | "varchar(255)":
            return f"n{draw.randrange(60)}"
        case "text":
            return draw.choice(["", "plain", "naïve\n'quoted'", "100% ?", "\\", "x" * 300])
        case "blob":
            return draw.choice([b"", b"\x00", b"\xff'\\\n", draw.randbytes(8)])
        case "date":
            return f"2026-0{draw.randint(1, 9)}-{draw.randint(10, 28)}"
        case "time":
            return f"{draw.randrange(24):02}:{draw.randrange(60):02}:00"
        case "datetime":
            return f"2026-01-{draw.randint(10, 28)} {draw.randrange(24):02}:30:00"
        case "datetime(6)":
            return f"2026-01-{draw.randint(10, 28)} 01:02:03.{draw.randrange(10**6):06}"
        case "decimal(8,2)" | "decimal(6,2)":
            return f"{draw.randrange(-99999, 99999) / 100:.2f}"
        case "double":
            return draw.choice([0.1, -2.5, 1e100, 3.0, draw.random()])
        case "float":
            return draw.choice([0.5, -2.25, 3.0, 36.6])
    raise ValueError(kind)
