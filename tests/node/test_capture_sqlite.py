"""Capture on SQLite: a line for every row that changed, an image for every row that went."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy

from syncnode.capture import (
    capture_ddl,
    changed_columns,
    drop_ddl,
    explain,
    mask_count,
    trigger_names,
    uncaptured,
)
from syncnode.schema.inspect import inspect
from syncnode.schema.plan import SchemaPlan

PERSON = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " name TEXT COLLATE NOCASE, weight)"
)


class Captured:
    """A database in memory with capture installed; statements commit one by one."""

    def __init__(self, schema: str) -> None:
        self.engine = sqlalchemy.create_engine("sqlite://")
        with self.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert isinstance(raw, sqlite3.Connection)
            self.raw = raw
            raw.isolation_level = None
            raw.execute("PRAGMA foreign_keys=ON")
            raw.executescript(schema)
            self.plan: SchemaPlan = inspect(connection)
        for statement in capture_ddl(self.plan, "sqlite"):
            raw.execute(statement)

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.raw.execute(statement)

    def forget(self) -> None:
        self.run("DELETE FROM syncnode_journal")
        for table in self.plan:
            self.run(f"DELETE FROM syncnode_trash_{table.number}")

    def lines(self, *statements: str) -> list[tuple[Any, ...]]:
        """What the statements put down: table, op, key, changed columns, image.

        Whatever is asserted of these is asserted of the whole journal and the whole trash.
        """
        self.forget()
        self.run(*statements)
        masks = ", ".join(f"mask{index}" for index in range(mask_count(self.plan)))
        found, images = [], 0
        for row in self.raw.execute(
            f"SELECT *, rk, {masks} FROM syncnode_journal ORDER BY id"
        ).fetchall():
            identifier, number, op, ms, *keys = row
            table = self.plan.by_number[number]
            assert abs(ms - time.time() * 1000) < 60_000
            image = self.raw.execute(
                f"SELECT * FROM syncnode_trash_{number} WHERE syncnode_journal_id = ?",
                (identifier,),
            ).fetchone()
            images += image is not None
            found.append(
                (
                    table.name,
                    op,
                    tuple(keys[: len(table.primary_key)]),
                    changed_columns(table, row[-mask_count(self.plan) :]) if op == "U" else (),
                    image and tuple(image[1:]),
                )
            )
        kept = sum(
            self.raw.execute(f"SELECT count(*) FROM syncnode_trash_{table.number}").fetchone()[0]
            for table in self.plan
        )
        assert kept == images, "every image belongs to a line"
        return found


Opened = Callable[[str], Captured]


@pytest.fixture
def opened() -> Iterator[Opened]:
    databases = []

    def opened(schema: str) -> Captured:
        databases.append(Captured(schema))
        return databases[-1]

    yield opened
    for database in databases:
        database.raw.close()
        database.engine.dispose()


def test_one_line_for_each_inserted_row(opened: Opened) -> None:
    people = opened(PERSON)
    assert people.lines(
        "INSERT INTO person (uuid, name) VALUES ('a', 'Ann'), ('b', 'Bob')",
        "INSERT INTO person (uuid) SELECT 'c' || uuid FROM person WHERE id = 1",
    ) == [
        ("person", "I", (1,), (), None),
        ("person", "I", (2,), (), None),
        ("person", "I", (3,), (), None),
    ]


def test_an_update_names_the_columns_whose_bytes_changed(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', 1), (2, 'b', NULL, NULL)")
    assert people.lines("UPDATE person SET name = 'Ann', weight = 1 WHERE id = 1") == []
    assert people.lines("UPDATE person SET weight = NULL WHERE id = 2") == []
    for new in ("'ann'", "'ann '", "NULL", "'x'"):
        assert people.lines(f"UPDATE person SET name = {new}, weight = weight WHERE id = 1") == [
            ("person", "U", (1,), ("name",), None)
        ]
    for new in ("'1'", "x'31'", "1.5", "1.0", "1"):
        assert people.lines(f"UPDATE person SET weight = {new} WHERE id = 1") == [
            ("person", "U", (1,), ("weight",), None)
        ], new
    assert people.lines("UPDATE person SET name = 'n', weight = 7") == [
        ("person", "U", (1,), ("name", "weight"), None),
        ("person", "U", (2,), ("name", "weight"), None),
    ]


def test_a_deleted_row_leaves_its_image(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', x'00ff'), (2, 'b', NULL, 1.5)")
    assert people.lines("DELETE FROM person") == [
        ("person", "D", (1,), (), (1, "a", "Ann", b"\x00\xff")),
        ("person", "D", (2,), (), (2, "b", None, 1.5)),
    ]


def test_a_change_of_key_is_a_delete_and_an_insert(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', 1)")
    assert people.lines("UPDATE person SET id = 5, name = 'X'") == [
        ("person", "D", (1,), (), (1, "a", "Ann", 1)),
        ("person", "I", (5,), (), None),
    ]
    assert people.lines("UPDATE person SET rowid = 6") == [
        ("person", "D", (5,), (), (5, "a", "X", 1)),
        ("person", "I", (6,), (), None),
    ]
    assert people.lines("UPDATE person SET uuid = 'A'") == [
        ("person", "D", (6,), (), (6, "a", "X", 1)),
        ("person", "I", (6,), (), None),
    ]
    deleted, inserted = people.raw.execute("SELECT id, mask0 FROM syncnode_journal").fetchall()
    assert inserted[1] == deleted[0], "the new line says which old one it comes from"


@pytest.mark.parametrize("recursive", [False, True])
def test_replace_writes_down_every_row_that_it_removes(opened: Opened, recursive: bool) -> None:
    people = opened(PERSON)
    people.run(f"PRAGMA recursive_triggers = {recursive}")
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', 1), (2, 'b', 'Bob', 2)")
    lines = people.lines("INSERT OR REPLACE INTO person VALUES (1, 'b', 'C', 3)")
    assert set(lines) == {
        ("person", "D", (1,), (), (1, "a", "Ann", 1)),
        ("person", "D", (2,), (), (2, "b", "Bob", 2)),
        ("person", "I", (1,), (), None),
    }
    assert lines[-1][1] == "I"
    assert len(lines) == (5 if recursive else 3)
    line = ("person", "D", (1,), (), (1, "b", "C", 3))
    assert people.lines("REPLACE INTO person VALUES (1, 'b', 'D', 3)") == [
        *([line] * (2 if recursive else 1)),
        ("person", "I", (1,), (), None),
    ]


def test_an_update_that_replaces_writes_down_the_row_in_the_way(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', 1), (2, 'b', 'Bob', 2)")
    assert people.lines("UPDATE OR REPLACE person SET uuid = 'b' WHERE id = 1") == [
        ("person", "D", (2,), (), (2, "b", "Bob", 2)),
        ("person", "D", (1,), (), (1, "a", "Ann", 1)),
        ("person", "I", (1,), (), None),
    ]


def test_a_key_declared_to_replace_needs_no_replace_in_the_statement(opened: Opened) -> None:
    tags = opened(
        "CREATE TABLE tag (a TEXT COLLATE NOCASE, b INT, note,"
        " PRIMARY KEY (a, b) ON CONFLICT REPLACE) WITHOUT ROWID;"
        "CREATE TABLE word (id INTEGER PRIMARY KEY, w TEXT);"
        "CREATE UNIQUE INDEX one_word ON word (w COLLATE NOCASE);"
    )
    tags.run(
        "INSERT INTO tag VALUES ('x', 1, 'n')", "INSERT INTO word VALUES (1, 'yes'), (2, NULL)"
    )
    assert tags.lines("INSERT INTO tag VALUES ('X', '1', 'm')") == [
        ("tag", "D", ("x", 1), (), ("x", 1, "n")),
        ("tag", "I", ("X", 1), (), None),
    ]
    assert tags.lines("REPLACE INTO word VALUES (3, 'YES'), (4, NULL)") == [
        ("word", "D", (1,), (), (1, "yes")),
        ("word", "I", (3,), (), None),
        ("word", "I", (4,), (), None),
    ]


def test_an_explicit_rowid_replaces_too(opened: Opened) -> None:
    codes = opened("CREATE TABLE code (c TEXT NOT NULL PRIMARY KEY)")
    codes.run("INSERT INTO code (rowid, c) VALUES (7, 'a')")
    assert codes.lines("REPLACE INTO code (rowid, c) VALUES (7, 'b')") == [
        ("code", "D", ("a",), (), ("a",)),
        ("code", "I", ("b",), (), None),
    ]


def test_an_upsert_is_an_update_after_a_hint_that_is_untrue(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', 1)")
    hint = ("person", "D", (1,), (), (1, "a", "Ann", 1))
    assert people.lines(
        "INSERT INTO person (uuid, name) VALUES ('a', 'Z')"
        " ON CONFLICT (uuid) DO UPDATE SET name = excluded.name"
    ) == [hint, ("person", "U", (1,), ("name",), None)]
    people.run("UPDATE person SET name = 'Ann'")
    assert people.lines("INSERT OR IGNORE INTO person (uuid) VALUES ('a')") == [hint]


FAMILY = """
CREATE TABLE parent (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE);
CREATE TABLE child (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,
 parent INT REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE,
 friend INT REFERENCES parent ON DELETE SET NULL,
 elder INT REFERENCES child ON DELETE CASCADE);
CREATE TABLE toy (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,
 owner INT REFERENCES child ON DELETE CASCADE);
INSERT INTO parent VALUES (1, 'p1'), (2, 'p2');
INSERT INTO child VALUES (1, 'c1', 1, 2, NULL), (2, 'c2', 2, 1, NULL), (3, 'c3', 2, NULL, 1);
INSERT INTO toy VALUES (1, 't1', 1), (2, 't2', 2), (3, 't3', 3);
"""


def test_cascades_fire_the_childrens_triggers(opened: Opened) -> None:
    family = opened(FAMILY)
    assert sorted(family.lines("DELETE FROM parent WHERE id = 1")) == [
        ("child", "D", (1,), (), (1, "c1", 1, 2, None)),
        ("child", "D", (3,), (), (3, "c3", 2, None, 1)),
        ("child", "U", (2,), ("friend",), None),
        ("parent", "D", (1,), (), (1, "p1")),
        ("toy", "D", (1,), (), (1, "t1", 1)),
        ("toy", "D", (3,), (), (3, "t3", 3)),
    ]
    assert sorted(family.lines("UPDATE parent SET id = 9")) == [
        ("child", "U", (2,), ("parent",), None),
        ("parent", "D", (2,), (), (2, "p2")),
        ("parent", "I", (9,), (), None),
    ]


def test_children_of_a_replaced_row_are_captured_too(opened: Opened) -> None:
    family = opened(FAMILY)
    lines = family.lines("REPLACE INTO parent VALUES (1, 'new')")
    assert ("child", "D", (1,), (), (1, "c1", 1, 2, None)) in lines
    assert ("toy", "D", (3,), (), (3, "t3", 3)) in lines


def test_a_table_without_key_keeps_old_and_new_rows(opened: Opened) -> None:
    notes = opened("CREATE TABLE note (a, b)")
    assert notes.lines("INSERT INTO note VALUES (1, 'x'), (1, 'x')") == [
        ("note", "I", (), (), (1, "x")),
        ("note", "I", (), (), (1, "x")),
    ]
    assert notes.lines("UPDATE note SET b = 'X' WHERE rowid = 1", "UPDATE note SET a = 1") == [
        ("note", "D", (), (), (1, "x")),
        ("note", "I", (), (), (1, "X")),
    ]
    assert notes.lines("DELETE FROM note WHERE rowid = 2") == [("note", "D", (), (), (1, "x"))]


def test_a_counted_row_gets_a_random_key_when_it_is_inserted(opened: Opened) -> None:
    visits = opened("CREATE TABLE visit (id INTEGER PRIMARY KEY, note TEXT)")
    assert visits.plan.tables[0].key_kind == "random"
    visits.run("INSERT INTO visit (note) VALUES ('a'), ('b')", "UPDATE visit SET note = 'c'")
    keys = [rk for (rk,) in visits.raw.execute("SELECT rk FROM syncnode_journal ORDER BY id")]
    assert [len(rk) if rk else None for rk in keys] == [16, 16, None, None]
    assert keys[0] != keys[1]


def test_what_is_rolled_back_leaves_no_line(opened: Opened) -> None:
    people = opened(PERSON)
    assert people.lines(
        "BEGIN",
        "INSERT INTO person (id, uuid) VALUES (1, 'a')",
        "SAVEPOINT s",
        "INSERT INTO person (id, uuid) VALUES (2, 'b')",
        "DELETE FROM person WHERE id = 1",
        "ROLLBACK TO s",
        "INSERT INTO person (id, uuid) VALUES (3, 'c')",
        "COMMIT",
    ) == [("person", "I", (1,), (), None), ("person", "I", (3,), (), None)]
    assert people.lines("BEGIN", "DELETE FROM person", "ROLLBACK") == []
    people.forget()
    with pytest.raises(sqlite3.IntegrityError):
        people.run("INSERT INTO person (id, uuid) VALUES (8, 'z'), (9, 'a')")
    assert people.lines() == []


def test_the_nodes_own_writes_are_quiet_but_only_for_their_table(opened: Opened) -> None:
    both = opened(
        PERSON + "; CREATE TABLE audit (id INTEGER PRIMARY KEY, uuid TEXT UNIQUE NOT NULL)"
    )
    both.run(
        "CREATE TRIGGER audited AFTER INSERT ON person BEGIN"
        " INSERT INTO audit (uuid) VALUES ('x' || NEW.uuid); END"
    )
    number = both.plan.by_name["person"].number
    assert both.lines(
        f"UPDATE syncnode_flag SET applying = {number}",
        "INSERT INTO person (id, uuid) VALUES (1, 'a')",
        "UPDATE person SET name = 'b', id = 2",
        "REPLACE INTO person (id, uuid) VALUES (2, 'c')",
        "UPDATE OR REPLACE person SET uuid = 'd'",
        "DELETE FROM person",
        "UPDATE syncnode_flag SET applying = 0",
    ) == [("audit", "I", (1,), (), None), ("audit", "I", (2,), (), None)]


def test_a_trigger_of_the_application_sees_and_changes_what_it_did(opened: Opened) -> None:
    people = opened(PERSON)
    people.run(
        "CREATE TRIGGER touched AFTER INSERT ON person BEGIN"
        " UPDATE person SET weight = 1 WHERE id = NEW.id; END"
    )
    assert sorted(people.lines("INSERT INTO person (id, uuid) VALUES (1, 'a')")) == [
        ("person", "I", (1,), (), None),
        ("person", "U", (1,), ("weight",), None),
    ]


def test_any_name_will_do(opened: Opened) -> None:
    odd = opened(
        'CREATE TABLE "or\'der %s ?" ("se""lect %d" INTEGER PRIMARY KEY, "where ? :x" TEXT,'
        ' "uuid" TEXT NOT NULL UNIQUE, [a`b] TEXT)'
    )
    name = "or'der %s ?"
    odd.run(f"INSERT INTO \"{name}\" VALUES (1, 'w', 'u', 'x')")
    assert odd.lines(
        f'UPDATE "{name}" SET [a`b] = \'y\', "where ? :x" = NULL', f'DELETE FROM "{name}"'
    ) == [
        (name, "U", (1,), ("where ? :x", "a`b"), None),
        (name, "D", (1,), (), (1, None, "u", "y")),
    ]


def test_a_thousand_columns_have_a_bit_each(opened: Opened) -> None:
    names = [f"c{index}" for index in range(1_000)]
    wide = opened(f"CREATE TABLE wide (id TEXT NOT NULL PRIMARY KEY, {', '.join(names)})")
    wide.run("INSERT INTO wide (id) VALUES ('a')")
    assert mask_count(wide.plan) == 17
    assert wide.lines("UPDATE wide SET c0 = 1, c60 = 1, c61 = 1, c62 = 1, c999 = 1") == [
        ("wide", "U", ("a",), ("c0", "c60", "c61", "c62", "c999"), None)
    ]
    assert [line[1] for line in wide.lines("UPDATE wide SET id = 'b'")] == ["D", "I"]


def test_generated_columns_are_left_out(opened: Opened) -> None:
    items = opened(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, n INT,"
        " twice INT AS (n * 2) STORED)"
    )
    items.run("INSERT INTO item (id, uuid, n) VALUES (1, 'a', 2)")
    assert items.lines("UPDATE item SET n = 3", "DELETE FROM item") == [
        ("item", "U", (1,), ("n",), None),
        ("item", "D", (1,), (), (1, "a", 3)),
    ]


def test_capture_works_where_the_schema_is_not_trusted(opened: Opened) -> None:
    visits = opened("CREATE TABLE visit (id INTEGER PRIMARY KEY, note TEXT)")
    visits.run("PRAGMA trusted_schema = OFF")
    assert visits.lines("REPLACE INTO visit VALUES (1, 'a')") == [("visit", "I", (1,), (), None)]


def test_the_journal_adds_nothing_to_the_applications_last_id(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', 1)")
    cursor = people.raw.execute("REPLACE INTO person VALUES (41, 'a', 'B', 1)")
    assert (cursor.lastrowid, people.raw.execute("SELECT changes()").fetchone()) == (41, (1,))


def test_all_that_is_installed_is_named_and_removed(opened: Opened) -> None:
    family = opened(FAMILY)
    catalogue = "SELECT name FROM sqlite_master WHERE name LIKE 'syncnode%' AND type = "
    installed = {name for (name,) in family.raw.execute(catalogue + "'trigger'")}
    assert installed == trigger_names(family.plan)
    family.run(*drop_ddl(family.plan, "sqlite"), *drop_ddl(family.plan, "sqlite"))
    assert not family.raw.execute(catalogue + "type").fetchall()


def test_an_index_that_no_trigger_can_follow_is_said(opened: Opened) -> None:
    words = opened(
        "CREATE TABLE word (id INTEGER PRIMARY KEY, w TEXT, gone INT);"
        "CREATE UNIQUE INDEX live ON word (w) WHERE gone = 0"
    )
    (sentence,) = uncaptured(words.plan)
    assert "word" in sentence
    assert "live" in sentence


def test_a_read_only_file_is_explained(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("PRAGMA query_only = ON")
    with pytest.raises(sqlite3.OperationalError) as caught:
        people.run(*drop_ddl(people.plan, "sqlite"))
    assert "read-only" in str(explain(caught.value))
    assert explain(ValueError("else")) is None
