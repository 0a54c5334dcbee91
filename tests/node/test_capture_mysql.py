"""Capture on MariaDB: a line for every row that changed, an image for every row that went."""

import datetime
import decimal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pytest
import sqlalchemy
from servers import MariaDB

from syncnode.capture import (
    capture_ddl,
    changed_columns,
    drop_ddl,
    explain,
    mask_count,
    trigger_names,
)
from syncnode.capture.mysql import keyed_by_integer, parse_key
from syncnode.schema.inspect import inspect
from syncnode.schema.plan import SchemaPlan

PERSON = (
    "CREATE TABLE person (id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " name VARCHAR(50), weight DOUBLE)"
)


class Captured:
    """A database with capture installed, and an autocommitting connection of an application."""

    def __init__(self, server: MariaDB, url: str, *schema: str) -> None:
        self.database = url.rpartition("/")[2]
        self.connection = server.connect(self.database, autocommit=True, charset="utf8mb4")
        self.run(*schema)
        engine = sqlalchemy.create_engine(url)
        self.plan: SchemaPlan = inspect(engine)
        engine.dispose()
        self.run(*capture_ddl(self.plan, "mysql"))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.rows(statement)

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
        for identifier, number, op, ms, k1, kx, *masked in self.rows(
            f"SELECT id, tbl, op, ms, k1, kx, {masks} FROM syncnode_journal ORDER BY id"
        ):
            table = self.plan.by_number[number]
            assert abs(ms - time.time() * 1000) < 60_000
            key: tuple[Any, ...] = ()
            if table.primary_key:
                key = (k1,) if keyed_by_integer(table) else parse_key(table, kx)
            image = self.rows(
                f"SELECT * FROM syncnode_trash_{number} WHERE syncnode_journal_id = {identifier}"
            )
            images += len(image)
            changed = changed_columns(table, masked) if op == "U" else ()
            found.append((table.name, op, key, changed, image[0][1:] if image else None))
        kept = sum(
            self.rows(f"SELECT count(*) FROM syncnode_trash_{table.number}")[0][0]
            for table in self.plan
        )
        assert kept == images, "every image belongs to a line"
        return found


Opened = Callable[..., Captured]


@pytest.fixture
def opened(mariadb: MariaDB, mariadb_url: str) -> Iterator[Opened]:
    databases = []

    def opened(*schema: str) -> Captured:
        databases.append(Captured(mariadb, mariadb_url, *schema))
        return databases[-1]

    yield opened
    for database in databases:
        database.connection.close()


def test_one_line_for_each_inserted_row(opened: Opened) -> None:
    people = opened(PERSON)
    assert people.lines(
        "INSERT INTO person (uuid, name) VALUES ('a', 'Ann'), ('b', 'Bob')",
        "INSERT INTO person (id, uuid) SELECT 10, CONCAT('c', uuid) FROM person WHERE id = 1",
    ) == [
        ("person", "I", (1,), (), None),
        ("person", "I", (2,), (), None),
        ("person", "I", (10,), (), None),
    ]


def test_an_update_names_the_columns_whose_bytes_changed(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', 1), (2, 'b', NULL, NULL)")
    assert people.lines("UPDATE person SET name = 'Ann', weight = 1 WHERE id = 1") == []
    assert people.lines("UPDATE person SET weight = NULL WHERE id = 2") == []
    for new in ("'ann'", "'ann '", "'änn'", "NULL", "'x'"):
        assert people.lines(f"UPDATE person SET name = {new}, weight = weight WHERE id = 1") == [
            ("person", "U", (1,), ("name",), None)
        ]
    assert people.lines("UPDATE person SET name = 'n', weight = 7") == [
        ("person", "U", (1,), ("name", "weight"), None),
        ("person", "U", (2,), ("name", "weight"), None),
    ]


def test_a_deleted_row_leaves_its_image(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', 0.1), (2, 'b', NULL, NULL)")
    assert people.lines("DELETE FROM person") == [
        ("person", "D", (1,), (), (1, "a", "Ann", 0.1)),
        ("person", "D", (2,), (), (2, "b", None, None)),
    ]


def test_a_change_of_key_is_a_delete_and_an_insert(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', 1)")
    assert people.lines("UPDATE person SET id = 5, name = 'X'") == [
        ("person", "D", (1,), (), (1, "a", "Ann", 1.0)),
        ("person", "I", (5,), (), None),
    ]
    assert people.lines("UPDATE person SET uuid = 'A'") == [
        ("person", "D", (5,), (), (5, "a", "X", 1.0)),
        ("person", "I", (5,), (), None),
    ]
    deleted, inserted = people.rows("SELECT id, mask0 FROM syncnode_journal ORDER BY id")
    assert inserted[1] == deleted[0], "the new line says which old one it comes from"


def test_replace_deletes_every_row_in_the_way(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', 1), (2, 'b', 'Bob', 2)")
    lines = people.lines("REPLACE INTO person VALUES (1, 'b', 'C', 3)")
    assert sorted(lines[:-1]) == [
        ("person", "D", (1,), (), (1, "a", "Ann", 1.0)),
        ("person", "D", (2,), (), (2, "b", "Bob", 2.0)),
    ]
    assert lines[-1] == ("person", "I", (1,), (), None)


def test_an_upsert_is_an_update(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', 1)")
    upsert = "INSERT INTO person (uuid, name) VALUES ('a', 'Z') ON DUPLICATE KEY UPDATE name = 'Z'"
    assert people.lines(upsert) == [("person", "U", (1,), ("name",), None)]
    assert people.lines(upsert, "INSERT IGNORE INTO person (uuid) VALUES ('a')") == []


FAMILY = (
    "CREATE TABLE parent (id INT PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE)",
    "CREATE TABLE child (id INT PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE, parent INT,"
    " friend INT, elder INT,"
    " FOREIGN KEY (parent) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    " FOREIGN KEY (friend) REFERENCES parent (id) ON DELETE SET NULL ON UPDATE SET NULL,"
    " FOREIGN KEY (elder) REFERENCES child (id) ON DELETE CASCADE)",
    "CREATE TABLE toy (id INT PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE, owner INT,"
    " maker INT, FOREIGN KEY (owner) REFERENCES child (id) ON DELETE CASCADE,"
    " FOREIGN KEY (maker) REFERENCES parent (id) ON DELETE CASCADE)",
    "INSERT INTO parent VALUES (1, 'p1'), (2, 'p2')",
    "INSERT INTO child VALUES (1, 'c1', 1, 2, NULL), (2, 'c2', 2, 1, NULL), (3, 'c3', 2, NULL, 1)",
    "INSERT INTO toy VALUES (1, 't1', 1, NULL), (2, 't2', 2, NULL), (3, 't3', 3, 1)",
)


def test_a_deletes_cascade_is_written_down_to_any_depth(opened: Opened) -> None:
    family = opened(*FAMILY)
    lines = family.lines("DELETE FROM parent WHERE id = 1")
    assert set(lines) == {
        ("child", "D", (1,), (), (1, "c1", 1, 2, None)),
        ("child", "D", (3,), (), (3, "c3", 2, None, 1)),
        ("child", "U", (2,), ("friend",), None),
        ("parent", "D", (1,), (), (1, "p1")),
        ("toy", "D", (1,), (), (1, "t1", 1, None)),
        ("toy", "D", (3,), (), (3, "t3", 3, 1)),
    }
    assert len(lines) == 7, "the toy that two ways lead to has two lines"
    assert family.rows("SELECT id FROM child") == [(2,)]
    assert family.rows("SELECT id FROM toy") == [(2,)]


def test_a_chain_within_one_table_is_followed_as_far_as_the_engine_goes(opened: Opened) -> None:
    family = opened(*FAMILY)
    for number in range(10, 22):
        elder = number - 1 if number > 10 else "NULL"
        family.run(f"INSERT INTO child VALUES ({number}, 'n{number}', NULL, NULL, {elder})")
    lines = family.lines("DELETE FROM child WHERE id = 10")
    assert [line[2] for line in lines if line[:2] == ("child", "D")] == [
        *((number,) for number in range(11, 22)),
        (10,),
    ]


def test_an_updates_cascade_is_written_down(opened: Opened) -> None:
    family = opened(*FAMILY)
    lines = family.lines("UPDATE parent SET id = 9 WHERE id = 2")
    assert sorted(lines, key=str) == [
        ("child", "U", (1,), ("friend",), None),
        ("child", "U", (2,), ("parent",), None),
        ("child", "U", (3,), ("parent",), None),
        ("parent", "D", (2,), (), (2, "p2")),
        ("parent", "I", (9,), (), None),
    ]
    assert family.lines("UPDATE parent SET id = 9 WHERE id = 9") == []


def test_a_cascaded_change_of_key_moves_children_through_tables(opened: Opened) -> None:
    keys = opened(
        "CREATE TABLE role (name VARCHAR(20) PRIMARY KEY)",
        "CREATE TABLE member (role VARCHAR(20), n INT, PRIMARY KEY (role, n), FOREIGN KEY (role)"
        " REFERENCES role (name) ON UPDATE CASCADE ON DELETE CASCADE)",
        "CREATE TABLE badge (id INT PRIMARY KEY, role VARCHAR(20), n INT, FOREIGN KEY (role, n)"
        " REFERENCES member (role, n) ON UPDATE CASCADE ON DELETE SET NULL)",
        "CREATE TABLE note (role VARCHAR(20), FOREIGN KEY (role) REFERENCES role (name)"
        " ON UPDATE CASCADE ON DELETE SET NULL)",
        "INSERT INTO role VALUES ('nurse')",
        "INSERT INTO member VALUES ('nurse', 7)",
        "INSERT INTO badge VALUES (1, 'nurse', 7)",
        "INSERT INTO note VALUES ('nurse')",
    )
    assert set(keys.lines("UPDATE role SET name = 'Nurse'")) == {
        ("member", "D", ("nurse", 7), (), ("nurse", 7)),
        ("member", "I", ("Nurse", 7), (), None),
        ("badge", "U", (1,), ("role",), None),
        ("note", "D", (), (), ("nurse",)),
        ("note", "I", (), (), ("Nurse",)),
        ("role", "D", ("nurse",), (), ("nurse",)),
        ("role", "I", ("Nurse",), (), None),
    }
    assert keys.rows("SELECT * FROM member") == [("Nurse", 7)]
    assert set(keys.lines("DELETE FROM role")) == {
        ("member", "D", ("Nurse", 7), (), ("Nurse", 7)),
        ("badge", "U", (1,), ("role", "n"), None),
        ("note", "D", (), (), ("Nurse",)),
        ("note", "I", (), (), (None,)),
        ("role", "D", ("Nurse",), (), ("Nurse",)),
    }


def test_children_committed_after_the_snapshot_are_seen(opened: Opened, mariadb: MariaDB) -> None:
    family = opened(*FAMILY)
    family.run("SET autocommit = 0", "SELECT * FROM child")
    mariadb.execute(
        "INSERT INTO child VALUES (50, 'late', 2, NULL, NULL)", database=family.database
    )
    lines = family.lines("DELETE FROM parent WHERE id = 2")
    assert ("child", "D", (50,), (), (50, "late", 2, None, None)) in lines
    family.run("COMMIT", "SET autocommit = 1")


def test_writers_do_not_wait_for_each_others_lines(opened: Opened, mariadb: MariaDB) -> None:
    family = opened(*FAMILY)
    family.run("BEGIN", "DELETE FROM parent WHERE id = 1")
    mariadb.execute("INSERT INTO parent VALUES (70, 'p70')", database=family.database)
    family.run("ROLLBACK")
    assert [line[:3] for line in family.lines()] == []


def test_a_table_without_key_keeps_old_and_new_rows(opened: Opened) -> None:
    notes = opened("CREATE TABLE note (a INT, b VARCHAR(9))")
    assert notes.lines("INSERT INTO note VALUES (1, 'x'), (1, 'x')") == [
        ("note", "I", (), (), (1, "x")),
        ("note", "I", (), (), (1, "x")),
    ]
    assert notes.lines("UPDATE note SET b = 'X' LIMIT 1", "UPDATE note SET a = 1") == [
        ("note", "D", (), (), (1, "x")),
        ("note", "I", (), (), (1, "X")),
    ]
    assert notes.lines("DELETE FROM note WHERE BINARY b = 'x'") == [("note", "D", (), (), (1, "x"))]


def test_a_counted_row_gets_a_random_key_when_it_is_inserted(opened: Opened) -> None:
    visits = opened("CREATE TABLE visit (id INT AUTO_INCREMENT PRIMARY KEY, note TEXT)")
    assert visits.plan.tables[0].key_kind == "random"
    visits.run("INSERT INTO visit (note) VALUES ('a'), ('b')", "UPDATE visit SET note = 'c'")
    keys = [rk for (rk,) in visits.rows("SELECT rk FROM syncnode_journal ORDER BY id")]
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
    with pytest.raises(pymysql.IntegrityError):
        people.run("INSERT INTO person (id, uuid) VALUES (8, 'z'), (9, 'a')")
    assert people.lines() == []


def test_the_nodes_own_writes_are_quiet_but_only_for_their_table(opened: Opened) -> None:
    both = opened(
        PERSON, "CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(38) UNIQUE)"
    )
    both.run(
        "CREATE TRIGGER audited AFTER INSERT ON person FOR EACH ROW"
        " INSERT INTO audit (uuid) VALUES (CONCAT('x', NEW.uuid))"
    )
    number = both.plan.by_name["person"].number
    assert both.lines(
        f"SET @syncnode_applying = {number}",
        "INSERT INTO person (id, uuid) VALUES (1, 'a')",
        "UPDATE person SET name = 'b', id = 2",
        "REPLACE INTO person (id, uuid) VALUES (2, 'c')",
        "DELETE FROM person",
        "SET @syncnode_applying = NULL",
    ) == [("audit", "I", (1,), (), None), ("audit", "I", (2,), (), None)]


def test_capture_sees_what_a_trigger_of_the_application_makes_of_a_row(opened: Opened) -> None:
    people = opened(PERSON)
    people.run("INSERT INTO person VALUES (1, 'a', 'Ann', 1)")
    people.run("CREATE TRIGGER touched BEFORE UPDATE ON person FOR EACH ROW SET NEW.weight = 2")
    assert people.lines("UPDATE person SET name = 'Ann'") == [
        ("person", "U", (1,), ("weight",), None)
    ]


def test_any_name_will_do(opened: Opened) -> None:
    odd = opened(
        "CREATE TABLE `or'der %s ?` (`se``lect %d` INT PRIMARY KEY, `where ? :x` TEXT,"
        ' uuid CHAR(38) NOT NULL UNIQUE, `a"b` TEXT)',
        "CREATE TABLE `100% own` (`%` INT PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE, `%s` INT,"
        " FOREIGN KEY (`%s`) REFERENCES `or'der %s ?` (`se``lect %d`) ON DELETE CASCADE)",
        "INSERT INTO `or'der %s ?` VALUES (1, 'w', 'u', 'x')",
        "INSERT INTO `100% own` VALUES (3, 'v', 1)",
    )
    name = "or'der %s ?"
    assert odd.lines(
        f"UPDATE `{name}` SET `a\"b` = 'y', `where ? :x` = NULL", f"DELETE FROM `{name}`"
    ) == [
        (name, "U", (1,), ("where ? :x", 'a"b'), None),
        ("100% own", "D", (3,), (), (3, "v", 1)),
        (name, "D", (1,), (), (1, None, "u", "y")),
    ]


def test_a_thousand_columns_have_a_bit_each(opened: Opened) -> None:
    columns = ", ".join(f"c{index} INT" for index in range(1_000))
    wide = opened(f"CREATE TABLE wide (id CHAR(9) PRIMARY KEY, {columns})")
    wide.run("INSERT INTO wide (id) VALUES ('a')")
    assert mask_count(wide.plan) == 17
    assert wide.lines("UPDATE wide SET c0 = 1, c60 = 1, c61 = 1, c62 = 1, c999 = 1") == [
        ("wide", "U", ("a",), ("c0", "c60", "c61", "c62", "c999"), None)
    ]
    assert [line[1] for line in wide.lines("UPDATE wide SET id = 'b'")] == ["D", "I"]


def test_keys_of_every_type_are_read_back_exactly(opened: Opened) -> None:
    odd = opened(
        "CREATE TABLE odd (t VARCHAR(20) CHARACTER SET latin1, u BIGINT UNSIGNED, b VARBINARY(9),"
        " d DECIMAL(9,3), f FLOAT, s TIMESTAMP(3) NOT NULL DEFAULT 0, w DATETIME(6), x BIT(5),"
        " PRIMARY KEY (t, u, b, d, f, s, w, x))"
    )
    assert odd.lines(
        "SET time_zone = '+02:00'",
        "INSERT INTO odd VALUES ('ä\"\\\\ %', 18446744073709551615, x'00ff', 1.5, 0.1,"
        " '2015-01-02 03:04:05.678', '2015-01-02 03:04:05.000001', 5)",
    ) == [
        (
            "odd",
            "I",
            (
                'ä"\\ %',
                18446744073709551615,
                b"\x00\xff",
                "1.500",
                0.10000000149011612,
                "2015-01-02 01:04:05.678",
                "2015-01-02 03:04:05.000001",
                5,
            ),
            (),
            None,
        )
    ]


def test_images_keep_what_today_would_be_refused(opened: Opened) -> None:
    old = opened(
        "CREATE TABLE old (id INT PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE, d DATE NOT NULL,"
        " e ENUM('a', 'it''s') CHARACTER SET utf8mb3 NOT NULL, n DECIMAL(9,3) NOT NULL,"
        " s TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, j JSON, g INT AS (id + 1) STORED,"
        " c CHAR(38), FOREIGN KEY (c) REFERENCES old (uuid) ON DELETE CASCADE)",
        "SET sql_mode = ''",
        "INSERT INTO old (id, uuid, d, e, n, s, c) VALUES"
        " (1, 'u', '0000-00-00', 'it''s', 1.5, '2020-01-01', NULL),"
        " (2, 'v', '2001-02-00', '', 2, 0, 'u')",
    )
    old.run("SET sql_mode = 'TRADITIONAL,ANSI_QUOTES'")
    lines = old.lines("DELETE FROM old WHERE id = 1")
    assert lines == [
        (
            "old",
            "D",
            (2,),
            (),
            (2, "v", "2001-02-00", "", decimal.Decimal(2), "0000-00-00 00:00:00", None, "u"),
        ),
        (
            "old",
            "D",
            (1,),
            (),
            (
                1,
                "u",
                "0000-00-00",
                "it's",
                decimal.Decimal("1.5"),
                datetime.datetime(2020, 1, 1),
                None,
                None,
            ),
        ),
    ]


def test_the_applications_last_id_is_its_own(opened: Opened) -> None:
    people = opened(PERSON, "CREATE TABLE visit (id INT AUTO_INCREMENT PRIMARY KEY, note TEXT)")
    people.run("INSERT INTO visit (note) VALUES ('x')")
    with people.connection.cursor() as cursor:
        cursor.execute("INSERT INTO person (id, uuid) VALUES (41, 'a')")
        cursor.execute("INSERT INTO person (uuid) VALUES ('b'), ('c')")
        assert cursor.lastrowid == 42
        cursor.execute("DELETE FROM visit")
        cursor.execute("SELECT LAST_INSERT_ID()")
        assert cursor.fetchone() == (42,)


def test_all_that_is_installed_is_named_and_removed(opened: Opened) -> None:
    family = opened(*FAMILY)
    mode = family.rows("SELECT @@sql_mode")
    assert "STRICT_TRANS_TABLES" in mode[0][0], "the session's own mode is back"
    assert {row[0] for row in family.rows("SHOW TRIGGERS")} == trigger_names(family.plan)
    family.run(*drop_ddl(family.plan, "mysql"))
    assert family.rows("SHOW TRIGGERS") == []
    assert family.rows("SHOW TABLES LIKE 'syncnode%'") == []


def test_a_missing_right_is_explained(opened: Opened, mariadb: MariaDB) -> None:
    people = opened(PERSON)
    statements = capture_ddl(people.plan, "mysql")
    tables = [sql for sql in statements if sql.startswith("CREATE TABLE")]
    trigger = next(sql for sql in statements if sql.startswith("CREATE TRIGGER"))
    people.run(*drop_ddl(people.plan, "mysql"))
    mariadb.execute("CREATE USER IF NOT EXISTS clerk@'%' IDENTIFIED BY 'c'")
    mariadb.execute(
        f"GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP ON `{people.database}`.* TO clerk@'%'"
    )
    clerk = pymysql.connect(
        host="127.0.0.1", port=mariadb.port, user="clerk", password="c", database=people.database
    )
    try:
        with clerk.cursor() as cursor:
            for statement in tables:
                cursor.execute(statement)
            with pytest.raises(pymysql.MySQLError) as caught:
                cursor.execute(trigger)
    finally:
        clerk.close()
        mariadb.execute("DROP USER clerk@'%'")
    explained = explain(caught.value)
    assert explained is not None
    assert "GRANT" in str(explained)
    assert "TRIGGER" in str(explained)
    trusted = explain(pymysql.OperationalError(1419, "You do not have the SUPER privilege"))
    assert "log_bin_trust_function_creators" in str(trusted)
    assert explain(pymysql.OperationalError(2003, "gone")) is None
