"""A schema of MariaDB in the words of another engine, by SQLAlchemy's reflection."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Computed,
    ForeignKeyConstraint,
    MetaData,
    SmallInteger,
    Table,
    UniqueConstraint,
    create_engine,
)
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import AddConstraint, CreateTable

DIALECTS = {"postgresql": postgresql.dialect(), "sqlite": sqlite.dialect()}


def converted(url: str, engine: str) -> list[str]:
    """Statements that make the tables of the database at `url` on another engine: columns, keys,
    unique and foreign keys; no plain indexes. Numbers that the server gives stay so, and a default
    that is a number."""
    source = create_engine(url)
    there = MetaData()
    there.reflect(source)
    source.dispose()
    here, dialect = MetaData(), DIALECTS[engine]
    for table in there.tables.values():
        _copy(table, here)
    if engine == "sqlite":
        return [str(CreateTable(table).compile(dialect=dialect)) for table in here.tables.values()]
    made = [
        str(CreateTable(table, include_foreign_key_constraints=[]).compile(dialect=dialect))
        for table in here.tables.values()
    ]
    made += [
        str(AddConstraint(key).compile(dialect=dialect))
        for table in here.tables.values()
        for key in sorted(table.foreign_key_constraints, key=lambda key: str(key.name))
    ]
    return made


def _copy(table: Table, target: MetaData) -> None:
    columns = [_column(column) for column in table.columns]
    copy = Table(table.name, target, *columns)
    for number, index in enumerate(sorted(table.indexes, key=lambda index: str(index.name))):
        if index.unique:
            names = [column.name for column in index.columns]
            copy.append_constraint(UniqueConstraint(*names, name=f"{table.name[:40]}_u{number}"))
    for number, key in enumerate(
        sorted(table.foreign_key_constraints, key=lambda key: str(key.name))
    ):
        copy.append_constraint(
            ForeignKeyConstraint(
                key.column_keys,
                [element.target_fullname for element in key.elements],
                name=f"{table.name[:40]}_f{number}",
                onupdate=key.onupdate,
                ondelete=key.ondelete,
            )
        )


def _column(column: Column[object]) -> Column[object]:
    assert not isinstance(column.server_default, Computed | CheckConstraint), column
    kind = column.type
    generic = SmallInteger() if isinstance(kind, mysql.TINYINT) else kind.as_generic()
    if hasattr(generic, "collation"):
        generic.collation = None
    given = getattr(column.server_default, "arg", None)
    default = "" if given is None else str(given).strip("'")
    alone = column.primary_key and len(column.table.primary_key.columns) == 1
    return Column(
        column.name,
        generic,
        primary_key=column.primary_key,
        nullable=column.nullable,
        autoincrement=alone and column.autoincrement is True and not column.foreign_keys,
        server_default=default if default.isdigit() else None,
    )
