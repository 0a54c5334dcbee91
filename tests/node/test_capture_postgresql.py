"""Capture on PostgreSQL: what each statement puts down; always the whole journal and trash."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy
from servers import PostgreSQL

from syncnode.capture import capture_ddl, changed_columns, drop_ddl, mask_count, trigger_names
from syncnode.capture.postgresql import keyed_by_integer, parse_key
from syncnode.schema.inspect import inspect
from syncnode.schema.plan import SchemaPlan
from syncnode.store.database import Database

PERSON = (
    "CREATE TABLE person (id SERIAL PRIMARY KEY, uuid UUID NOT NULL UNIQUE, name VARCHAR(50),"
    " weight DOUBLE PRECISION, notes JSON)"
)
UUID = "aaaaaaaa-0000-4000-8000-00000000000"


class Captured:
    """A database with capture installed, and an autocommitting connection of an application."""

    def __init__(self, server: PostgreSQL, url: str, *schema: str) -> None:
        self.server, self.name = server, url.rpartition("/")[2]
        self.connection = server.connect(self.name)
        self.run(*schema)
        self.before = server.dump(self.name)
        self.database = Database(url)
        with self.database.engine.connect() as connection:
            self.plan: SchemaPlan = inspect(connection)
        self.transaction(capture_ddl(self.plan, "postgresql"))

    def transaction(self, statements: list[str]) -> None:
        with self.connection.transaction():
            self.run(*statements)

    def close(self) -> None:
        self.connection.close()
        self.database.close()

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.rows(statement)

    def lines(self, *statements: str) -> list[tuple[Any, ...]]:
        """What the statements put down: table, op, key, changed columns, image without the line.

        Whatever is asserted of these is asserted of the whole journal and the whole trash.
        """
        self.run("DELETE FROM syncnode_journal")
        for table in self.plan:
            self.run(f"DELETE FROM syncnode_trash_{table.number}")
        self.run(*statements)
        masks = ", ".join(f"mask{index}" for index in range(mask_count(self.plan)))
        found, images = [], 0
        for line, number, op, ms, k1, kx, *masked in self.rows(
            f"SELECT id, tbl, op, ms, k1, kx, {masks} FROM syncnode_journal ORDER BY id"
        ):
            table = self.plan.by_number[number]
            assert abs(ms - time.time() * 1000) < 60_000
            key: tuple[Any, ...] = ()
            if table.primary_key:
                key = (k1,) if keyed_by_integer(table) else parse_key(table, kx)
            columns = ", ".join(f'"{column.name}"' for column in table.stored)
            trash = f"FROM syncnode_trash_{number} WHERE syncnode_journal_id = {line}"
            image = self.rows(f"SELECT {columns} {trash}")
            images += len(image)
            changed = changed_columns(table, masked) if op == "U" else ()
            found.append((table.name, op, key, changed, *image))
        trash_tables = (f"syncnode_trash_{table.number}" for table in self.plan)
        kept = sum(self.rows(f"SELECT count(*) FROM {name}")[0][0] for name in trash_tables)
        assert kept == images, "images without a line"
        return found


@pytest.fixture
def people(postgresql: PostgreSQL, postgresql_url: str) -> Iterator[Captured]:
    captured = Captured(postgresql, postgresql_url, PERSON)
    yield captured
    captured.close()


def insert(number: int) -> str:
    return f"INSERT INTO person VALUES ({number}, '{UUID}{number}', 'n{number}', 1.5, '{{}}')"


def image(number: int, **other: Any) -> tuple[Any, ...]:
    import uuid

    row = {"id": number, "uuid": uuid.UUID(f"{UUID}{number}"), "name": f"n{number}"}
    return tuple({**row, "weight": 1.5, "notes": {}, **other}.values())


def test_each_statement_leaves_a_line_and_a_delete_an_image(people: Captured) -> None:
    assert people.lines(insert(1), insert(2)) == [
        ("person", "I", (1,), ()),
        ("person", "I", (2,), ()),
    ]
    assert people.lines("UPDATE person SET name = 'x', weight = weight WHERE id = 1") == [
        ("person", "U", (1,), ("name",))
    ]
    assert people.lines("UPDATE person SET notes = '{ }' WHERE id = 1") == [
        ("person", "U", (1,), ("notes",))
    ]
    assert people.lines("UPDATE person SET name = name, notes = notes") == []
    assert people.lines("DELETE FROM person WHERE id = 2") == [("person", "D", (2,), (), image(2))]


def test_a_row_that_takes_another_key_goes_and_comes(people: Captured) -> None:
    people.run(insert(1))
    came = people.lines("UPDATE person SET id = 9")
    assert came == [("person", "D", (1,), (), image(1)), ("person", "I", (9,), ())]
    ((went, mask),) = people.rows(
        "SELECT d.id, i.mask0 FROM syncnode_journal d, syncnode_journal i"
        " WHERE d.op = 'D' AND i.op = 'I'"
    )
    assert mask == went


def test_what_was_undone_leaves_nothing(people: Captured) -> None:
    people.connection.autocommit = False
    people.run(insert(1), "SAVEPOINT here", insert(2), "ROLLBACK TO SAVEPOINT here", "COMMIT")
    people.connection.autocommit = True
    assert people.rows("SELECT op, k1 FROM syncnode_journal") == [("I", 1)]


def test_truncate_writes_every_row_down(people: Captured) -> None:
    people.run(insert(1), insert(2))
    assert sorted(people.lines("TRUNCATE person"), key=lambda line: line[2]) == [
        ("person", "D", (1,), (), image(1)),
        ("person", "D", (2,), (), image(2)),
    ]


def test_the_node_is_not_captured_in_the_table_that_it_writes(people: Captured) -> None:
    def write() -> list[tuple[Any, ...]]:
        with people.connection.transaction():
            people.run(f"SELECT set_config('syncnode.applying', '{number}', true)")
            return people.lines(insert(3), "UPDATE person SET name = 'x'", "DELETE FROM person")

    number = people.plan.by_name["person"].number
    assert write() == []
    number += 1
    assert len(write()) == 3
    # Only until its transaction ends.
    assert len(people.lines(insert(4))) == 1


def test_a_connection_that_fires_no_triggers_is_captured_too(people: Captured) -> None:
    """As a logical subscription writes."""
    with people.connection.transaction():
        people.run("SET LOCAL session_replication_role = replica")
        assert people.lines(insert(1)) == [("person", "I", (1,), ())]


def test_keys_of_every_type_are_read_back_whatever_the_session_shows(
    postgresql: PostgreSQL, postgresql_url: str
) -> None:
    captured = Captured(
        postgresql,
        postgresql_url,
        "CREATE TABLE t (a TIMESTAMPTZ, b DATE, c BYTEA, d NUMERIC(6,2), e BOOLEAN, f CHAR(6),"
        ' g UUID, h DOUBLE PRECISION, "i""s" TEXT, j BIGINT, PRIMARY KEY (a, b, c, d, e, f, g, h,'
        ' "i""s", j))',
    )
    try:
        captured.run(
            "SET datestyle = 'German'",
            "SET timezone = 'Africa/Kigali'",
            "SET extra_float_digits = -5",
            "SET bytea_output = escape",
            "INSERT INTO t VALUES ('2026-01-02 03:04:05.25+02', '2026-02-28', '\\x00ff', 1.5, true,"
            f" 'ab', '{UUID}1', 0.30000000000000004, 'x''\"\\', 2)",
        )
        ((kx,),) = captured.rows("SELECT kx FROM syncnode_journal")
        (table,) = captured.plan.tables
        key = parse_key(table, kx)
        assert key == (
            "2026-01-02 01:04:05.25+00",
            "2026-02-28",
            b"\x00\xff",
            "1.50",
            True,
            "ab",
            f"{UUID}1",
            0.1 + 0.2,
            "x'\"\\",
            2,
        )
        # As the node's own driver reads the row, and finds it again.
        names = ", ".join(captured.database.dialect.quote(name) for name in table.primary_key)
        marks = ", ".join(["%s"] * len(key))
        with captured.database.read() as tx:
            assert tx.rows(f"SELECT {names} FROM t WHERE ({names}) = ({marks})", key) == [key]
    finally:
        captured.close()


def test_rows_without_a_key_are_kept_when_they_come_and_when_they_go(
    postgresql: PostgreSQL, postgresql_url: str
) -> None:
    captured = Captured(postgresql, postgresql_url, "CREATE TABLE log (a INTEGER, b TEXT)")
    try:
        assert captured.lines("INSERT INTO log VALUES (1, NULL)") == [
            ("log", "I", (), (), (1, None))
        ]
        assert captured.lines("UPDATE log SET b = 'x'", "UPDATE log SET a = 1") == [
            ("log", "D", (), (), (1, None)),
            ("log", "I", (), (), (1, "x")),
        ]
    finally:
        captured.close()


def test_all_of_it_can_be_taken_away(people: Captured) -> None:
    assert trigger_names(people.plan) == {
        name for (name,) in people.rows("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")
    }
    for _ in range(2):
        people.transaction(drop_ddl(people.plan, "postgresql"))
    assert people.server.dump(people.name) == people.before


def test_inspection_takes_a_connection_of_anybody(postgresql_url: str) -> None:
    engine = sqlalchemy.create_engine(postgresql_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(PERSON)
    assert inspect(engine).by_name["person"].key_kind == "uuid"
    engine.dispose()
