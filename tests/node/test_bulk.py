"""Many rows as one text, and many values looked at together: the same as one by one."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mariadb_sites import maker, run
from servers import PostgreSQL
from sites import sync

from syncnode.dialects.base import Unfit, marked
from syncnode.dialects.bulk import (
    COPY_ROWS,
    STATEMENT_CHARACTERS,
    VALUE_LENGTH_MAX,
    copy_texts,
    values_texts,
)
from syncnode.dialects.mysql import MysqlDialect
from syncnode.dialects.postgresql import PostgresqlDialect
from syncnode.schema.plan import ColumnPlan

ROWS = [
    (1, "plain", 0.1, None, b"\x00\xff", 7),
    (-2, 'it\'s a \\ and "more"', 1e300, "x", b"", None),
    (3, "tab\tline\nreturn\r", None, "", None, 0.5),
]


def test_rows_for_copy() -> None:
    assert list(copy_texts(ROWS) or ()) == [
        "1\tplain\t0.1\t\\N\t\\\\x00ff\t7\n"
        '-2\tit\'s a \\\\ and "more"\t1e+300\tx\t\\\\x\t\\N\n'
        "3\ttab\\tline\\nreturn\\r\t\\N\t\t\\N\t0.5\n"
    ]


def test_rows_for_an_insert() -> None:
    assert values_texts(ROWS) == [
        "(1,'plain',0.1e0,NULL,x'00ff',7),"
        "(-2,'it\\'s a \\\\ and \\\"more\\\"',1e+300,'x',x'',NULL),"
        "(3,'tab\tline\\nreturn\\r',NULL,'',NULL,0.5e0)"
    ]


def test_what_is_long_or_of_another_type_is_left_to_the_driver() -> None:
    for rows in (
        [("x" * (VALUE_LENGTH_MAX + 1),)],
        [(b"x" * (VALUE_LENGTH_MAX + 1),)],
        [(1,), (1 + 0j,)],
        [("text",), (b"bytes",)],
    ):
        assert copy_texts(rows) is None
        assert values_texts(rows) is None


def test_pieces_have_a_bound_and_hold_all_rows_in_order() -> None:
    rows = [(number, "x" * 100) for number in range(2 * COPY_ROWS + 1)]
    assert [piece.count("\n") for piece in copy_texts(rows) or ()] == [COPY_ROWS, COPY_ROWS, 1]
    long = [(number, "x" * 60_000) for number in range(40)]
    statements = values_texts(long) or []
    assert ",".join(statements) == ",".join(f"({number},'{text}')" for number, text in long)
    assert len(statements) > 1
    assert all(len(statement) <= STATEMENT_CHARACTERS + 40 for statement in statements)


# Whether a column is plain

COLUMNS = [
    ColumnPlan("v", "integer", True, size=4, declared="integer"),
    ColumnPlan("v", "bit", True, size=3, declared="bit(3)"),
    ColumnPlan("v", "bit", True, size=1, declared="boolean"),
    ColumnPlan("v", "float", True, declared="double precision"),
    ColumnPlan("v", "single", True, declared="real"),
    ColumnPlan("v", "decimal", True, precision=6, scale=2, declared="numeric(6,2)"),
    ColumnPlan("v", "text", True, declared="text"),
    ColumnPlan("v", "text", True, size=5, declared="character varying(5)"),
    ColumnPlan("v", "text", True, size=5, declared="character(5)"),
    ColumnPlan("v", "text", True, declared="uuid"),
    ColumnPlan("v", "text", True, declared="jsonb"),
    ColumnPlan("v", "bytes", True, size=4, declared="binary(4)"),
    ColumnPlan("v", "bytes", True, declared="bytea"),
    ColumnPlan("v", "date", True, declared="date"),
    ColumnPlan("v", "time", True, fraction=0, declared="time(0) without time zone"),
    ColumnPlan("v", "datetime", True, fraction=0, declared="timestamp(0) without time zone"),
    ColumnPlan("v", "datetime", True, fraction=6, declared="timestamp with time zone"),
]
UUID = "0a8e1a54-1111-4222-8333-000000000001"
VALUES: list[Any] = [
    *(None, 0, 1, -1, 7, 8, 2**53 + 1, 0.5, 0.1, 1e300, math.inf, "NaN", "12.30", "1.005"),
    *("", "ab", "ab ", "five5", "sixsix", "a\0b", "a.b", marked(b"\xff"), UUID, UUID.upper()),
    *("2026-02-28", "2026-02-28\n", "0044-03-15 BC", "tomorrow", "23:59:59", "23:59:59.5"),
    *("2026-02-28 23:59:59", "2026-02-28 23:59:59.25", "2026-02-28 23:59:59+02", "infinity"),
    *(b"", b"\x00\xff", b"1234"),
]


def left_as_it_is(fitting: Any, value: Any) -> bool:
    try:
        fitted = fitting(value) if value is not None else None
    except Unfit:
        return False
    return type(fitted) is type(value) and fitted == value


@pytest.mark.parametrize("dialect", [MysqlDialect(), PostgresqlDialect()], ids=lambda d: d.name)
@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.declared)
def test_no_column_is_plain_in_which_a_value_would_change(dialect: Any, column: ColumnPlan) -> None:
    fitting = dialect.from_wire(column)
    for value in VALUES:
        for others in ([], [None], VALUES[1:5], ["ab"], ["2026-01-01"], ["2026-01-01 00:00:00"]):
            if dialect.plain(column, [*others, value]):
                assert left_as_it_is(fitting, value), value


PLAIN = {
    "integer": [1, None, -2],
    "double precision": [0.5, None],
    "text": ["a", "b ", None],
    "character varying(5)": ["five5", ""],
    "character(5)": ["ab"],
    "uuid": [UUID],
    "bytea": [b"\x00"],
    "date": ["2026-02-28", "0000-00-00", None],
    "time(0) without time zone": ["23:59:59"],
    "timestamp(0) without time zone": ["2026-02-28 23:59:59", None],
}


@pytest.mark.parametrize("dialect", [MysqlDialect(), PostgresqlDialect()], ids=lambda d: d.name)
def test_usual_columns_are_plain(dialect: Any) -> None:
    columns = {column.declared: column for column in COLUMNS}
    for declared, values in PLAIN.items():
        assert dialect.plain(columns[declared], values), declared


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1))
def test_texts_for_copy_are_read_back(texts: list[str]) -> None:
    (piece,) = copy_texts([(text, number) for number, text in enumerate(texts)]) or ()
    lines = piece.split("\n")
    assert lines.pop() == ""
    assert [read(line.split("\t")[0]) for line in lines] == texts


def read(field: str) -> str:
    """A field of COPY as PostgreSQL's documentation has it read, for the escapes used here."""
    found, escaped = [], False
    for character in field:
        if escaped:
            found.append(
                {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "v": "\v", "f": "\f"}.get(
                    character, character
                )
            )
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            found.append(character)
    assert not escaped
    return "".join(found)


@pytest.mark.postgresql
def test_a_rule_of_postgresql_sees_rows_in_bulk(tmp_path: Path, postgresql: PostgreSQL) -> None:
    """COPY would pass it over."""
    table = "CREATE TABLE item (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE)"
    for make in maker(tmp_path, None, postgresql):
        (there,) = make((table,), "sqlite")
        seen = "CREATE TABLE seen (uuid CHAR(36))"
        rule = "CREATE RULE sees AS ON INSERT TO item DO ALSO INSERT INTO seen VALUES (NEW.uuid)"
        (here,) = make((table, seen, rule), "postgresql", exclude=("seen",))
        names = [(f"{number:08}-0000-4000-8000-000000000000",) for number in range(1_000)]
        there.connection.executemany("INSERT INTO item (uuid) VALUES (?)", names)
        sync(here, there)
        assert run(here, "SELECT uuid FROM item ORDER BY uuid") == names
        assert run(here, "SELECT uuid FROM seen ORDER BY uuid") == names
