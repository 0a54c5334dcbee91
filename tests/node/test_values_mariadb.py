"""Values and statements of MariaDB that a careless copy would bend, drop or never notice."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from mariadb_sites import PAIRS, Maker, another, details, maker, run, say
from servers import MariaDB
from sites import Site, settle, sync

ALICE, BOB, CAROL, DAVE = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abcd")
Engines = tuple[str, str]


@pytest.fixture
def make(tmp_path: Path, mariadb: MariaDB) -> Iterator[Maker]:
    yield from maker(tmp_path, mariadb)


def item(column: str) -> tuple[str]:
    """A table with a counter, a uuid, a text and this column `v`."""
    return (
        "CREATE TABLE item (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
        f" name VARCHAR(40), v {column})",
    )


def put(site: Site, uuid: str, value: object) -> None:
    run(site, "INSERT INTO item (uuid, v) VALUES (?, ?)", uuid, value)


def values(site: Site) -> list[Any]:
    return [value for (value,) in run(site, "SELECT v FROM item ORDER BY uuid")]


# Values

EXACT: list[tuple[str, str, list[Any]]] = [
    ("FLOAT", "FLOAT", [0.1, 36.6, 1e-30, 16777216.0, None]),
    ("DOUBLE", "DOUBLE", [0.1 + 0.2, 1e308, 5e-324, -0.5]),
    ("DECIMAL(20,4)", "DECIMAL(20,4)", ["12.3000", "-0.0001"]),
    ("DATE", "DATE", ["0000-00-00", "2026-02-00", "9999-12-31", "2026-02-28"]),
    ("DATETIME", "DATETIME", ["0000-00-00 00:00:00", "1000-01-01 00:00:00"]),
    ("DATETIME(6)", "DATETIME(6)", ["2026-01-02 03:04:05.250000", "2026-01-02 03:04:05"]),
    ("TIME", "TIME", ["-838:59:59", "23:59:01", "100:00:00"]),
    ("YEAR", "INTEGER", [1901, 2155]),
    ("BIT(1)", "BIT(1)", [0, 1]),
    ("TINYINT(1)", "BOOLEAN", [0, 1, 2]),
    ("BIGINT", "BIGINT", [-(2**63), 2**63 - 1]),
    ("VARBINARY(20)", "BLOB", [b"", b"\x00\xff", b"%s?'\\"]),
    ("LONGTEXT", "TEXT", ["", "  padded  ", "'quoted' \\ %s ? \0 \n", "𝄞 clef", "I\u0307"]),
    ("ENUM('a','b''c','')", "TEXT", ["a", "b'c"]),
    ("SET('x','y')", "TEXT", ["", "x,y"]),
    ("JSON", "TEXT", ['{"a": [1, 2.50, "é"]}']),
]


@pytest.mark.parametrize("engines", PAIRS)
def test_values_arrive_exactly_and_come_back(make: Maker, engines: Engines) -> None:
    mysql = [f"v{n} {column}" for n, (column, _, _) in enumerate(EXACT)]
    sqlite = [f"v{n} {column}" for n, (_, column, _) in enumerate(EXACT)]
    head = "CREATE TABLE item (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE, "
    one, other = (
        make((head + ", ".join(mysql if engine == "mysql" else sqlite) + ")",), engine)[0]
        for engine in engines
    )
    run(one, "SET sql_mode = 'ALLOW_INVALID_DATES'")
    number = 0
    for place, (_, _, given) in enumerate(EXACT):
        for value in given:
            number += 1
            sql = f"INSERT INTO item (uuid, v{place}) VALUES (?, ?)"
            run(one, sql, f"{number:08}-0000-4000-8000-000000000000", value)
    settle(one, other)
    assert details(one) == details(other) == []
    columns = ", ".join(f"v{n}" for n in range(len(EXACT)))
    if engines[1] == "mysql":
        texts = ", ".join(f"HEX(v{n}), CAST(v{n} AS CHAR)" for n in range(len(EXACT)))
        sql = f"SELECT uuid, {texts} FROM item ORDER BY uuid"
        assert run(one, sql) == run(other, sql)
        return
    shown = iter(run(other, f"SELECT {columns} FROM item ORDER BY uuid"))
    for place, (_, column, given) in enumerate(EXACT):
        for value in given:
            expected = float(value) if column.startswith("DECIMAL") else value
            assert next(shown)[place] == expected
    # What SQLite writes comes back as it was.
    run(other, "UPDATE item SET uuid = upper(uuid)")
    before = run(one, f"SELECT {columns} FROM item ORDER BY uuid")
    settle(one, other)
    assert run(one, f"SELECT {columns} FROM item ORDER BY uuid") == before
    assert details(one) == []


def test_a_timestamp_is_one_moment_in_every_session(make: Maker) -> None:
    one, other = make(item("TIMESTAMP NULL"), "mysql", "mysql")
    kigali = another(one, init_command="SET time_zone = '+02:00'")
    say(kigali, "INSERT INTO item (uuid, v) VALUES (?, '2026-01-02 03:04:05')", ALICE)
    settle(one, other)
    run(other, "SET time_zone = '-05:00'")
    assert [str(value) for value in values(other)] == ["2026-01-01 20:04:05"]
    say(kigali, "UPDATE item SET v = '2026-01-02 04:04:05'")
    settle(one, other)
    assert [str(value) for value in values(other)] == ["2026-01-01 21:04:05"]
    kigali.close()


UNFIT = [
    ("a four-byte character", "VARCHAR(40) CHARACTER SET utf8mb3", "TEXT", "𝄞", "clef"),
    ("latin1", "VARCHAR(40) CHARACTER SET latin1", "TEXT", "漢", "naïve"),
    ("too long", "VARCHAR(5)", "TEXT", "sixsix", "five5"),
    ("out of range", "TINYINT", "INTEGER", 128, 127),
    ("negative", "INT UNSIGNED", "INTEGER", -1, 0),
    ("a rounded decimal", "DECIMAL(6,2)", "DECIMAL(6,2)", 1.005, 1.25),
    ("a rounded float", "FLOAT", "DOUBLE", 0.1 + 0.2, 0.3),
    ("a fraction of a second", "DATETIME", "TEXT", "2026-01-02 03:04:05.5", "2026-01-02 03:04:05"),
    ("no date", "DATE", "TEXT", "yesterday", "2026-01-02"),
    ("no such date", "DATE", "TEXT", "2026-02-31", "2026-02-28"),
    ("text in a number", "INT", "INTEGER", "three", 3),
    ("a fraction in an integer", "INT", "REAL", 1.5, 2.0),
    ("bytes in a text", "TEXT", "BLOB", b"\xff", "text"),
    ("text in bytes", "BLOB", "BLOB", "text", b"bytes"),
    ("padded bytes", "BINARY(4)", "BLOB", b"ab", b"abcd"),
    ("a value of no enumeration", "ENUM('a','b')", "TEXT", "c", "b"),
    ("two bits", "BIT(1)", "INTEGER", 2, 1),
    ("infinity", "DOUBLE", "DOUBLE", float("inf"), 1.5),
    ("too long for utf8mb3", "TINYTEXT", "TEXT", "é" * 200, "é" * 100),
]


def test_what_a_column_cannot_hold_is_parked_and_never_bent(make: Maker) -> None:
    """All at once: each row waits for itself alone and comes when it has a value that fits."""
    head = "CREATE TABLE item (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE, "
    columns = [
        ", ".join(f"v{n} {case[place]}" for n, case in enumerate(UNFIT)) + ")" for place in (1, 2)
    ]
    one = make((head + columns[0],), "mysql")[0]
    other = make((head + columns[1],), "sqlite")[0]
    for number, (*_, unfit, _) in enumerate(UNFIT):
        sql = f"INSERT INTO item (uuid, v{number}) VALUES (?, ?)"
        run(other, sql, f"{number:08}-0000-4000-8000-000000000000", unfit)
    sync(one, other)
    arrived = [uuid[:8] for (uuid,) in run(one, "SELECT uuid FROM item")]
    assert [UNFIT[int(uuid)][0] for uuid in arrived] == []
    assert {reason for reason, _ in details(one)} == {"type does not fit"}
    assert len(details(one)) == len(UNFIT)
    settle(one, other)
    for number, (*_, fitting) in enumerate(UNFIT):
        uuid = f"{number:08}-0000-4000-8000-000000000000"
        run(other, f"UPDATE item SET v{number} = ? WHERE uuid = ?", fitting, uuid)
    settle(one, other)
    assert details(one) == []
    assert list(run(one, "SELECT count(*) FROM item")) == [(len(UNFIT),)]


def test_an_update_that_does_not_fit_leaves_the_row_as_it_was(make: Maker) -> None:
    one, other = make(item("VARCHAR(5)"), "mysql")[0], make(item("TEXT"), "sqlite")[0]
    put(other, ALICE, "short")
    put(other, BOB, "short")
    settle(one, other)
    run(other, "UPDATE item SET v = 'far too long' WHERE uuid = ?", ALICE)
    run(other, "UPDATE item SET v = 'fits' WHERE uuid = ?", BOB)
    sync(one, other)
    assert values(one) == ["short", "fits"]
    assert [reason for reason, _ in details(one)] == ["type does not fit"]
    run(one, "UPDATE item SET name = 'edited' WHERE uuid = ?", ALICE)
    settle(one, other)
    assert list(run(other, "SELECT v, name FROM item WHERE uuid = ?", ALICE)) == [
        ("far too long", "edited")
    ]
    run(one, "UPDATE item SET v = 'mine' WHERE uuid = ?", ALICE)
    settle(one, other)
    assert values(one) == values(other) == ["mine", "fits"]
    assert details(one) == []


def test_an_unsigned_number_beyond_63_bits_waits_at_sqlite(make: Maker) -> None:
    one = make(item("BIGINT UNSIGNED"), "mysql")[0]
    other = make(item("INTEGER"), "sqlite")[0]
    put(one, ALICE, 2**64 - 1)
    put(one, BOB, 2**63 - 1)
    sync(one, other)
    assert values(other) == [2**63 - 1]
    assert [reason for reason, _ in details(other)] == ["type does not fit"]
    run(one, "UPDATE item SET v = 7 WHERE uuid = ?", ALICE)
    settle(one, other)
    assert values(other) == [7, 2**63 - 1]


def test_generated_columns_are_made_by_each_engine(make: Maker) -> None:
    schema = (
        "CREATE TABLE item (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
        " v INT, twice INT GENERATED ALWAYS AS (v * 2) STORED,"
        " half INT GENERATED ALWAYS AS (v - 1) VIRTUAL)",
    )
    one, other = make(schema, "mysql", "sqlite")
    put(one, ALICE, 3)
    settle(one, other)
    run(other, "UPDATE item SET v = 5")
    settle(one, other)
    for site in (one, other):
        assert list(run(site, "SELECT v, twice, half FROM item")) == [(5, 10, 4)]


@pytest.mark.parametrize("engines", PAIRS)
def test_names_with_marks_of_every_driver(make: Maker, engines: Engines) -> None:
    def quoted(name: str, engine: str) -> str:
        return f"`{name.replace('`', '``')}`" if engine == "mysql" else f'"{name}"'

    names = ("100% ?", "a`b %s", "it's", "ключ", "select")
    sites = []
    for engine in engines:
        table, number, text, mark, word = (quoted(name, engine) for name in names)
        sites += make(
            (
                f"CREATE TABLE {table} ({number} INTEGER PRIMARY KEY {{auto}},"
                f" {text} VARCHAR(40), uuid CHAR(38) NOT NULL UNIQUE, {mark} VARCHAR(40),"
                f" {word} INTEGER REFERENCES {table} ({number}))",
            ),
            engine,
        )
    one, other = sites
    table, number, text, mark, word = (quoted(name, "mysql") for name in names)
    say(one.connection, f"INSERT INTO {table} ({text}, uuid) VALUES ('100%', '{ALICE}')")
    say(one.connection, f"INSERT INTO {table} ({word}, uuid) VALUES (1, '{BOB}')")
    settle(one, other)
    say(one.connection, f"UPDATE {table} SET {mark} = '%s ?' WHERE uuid = '{ALICE}'")
    say(one.connection, f"DELETE FROM {table} WHERE uuid = '{BOB}'")
    settle(one, other)
    there = quoted(names[0], engines[1])
    assert [row[1:4] for row in say(other.connection, f"SELECT * FROM {there}")] == [
        ("100%", ALICE, "%s ?")
    ]


def test_a_row_near_the_greatest_packet_crosses(make: Maker) -> None:
    one, other = make(item("LONGBLOB"), "mysql", "mysql")
    ((most,),) = run(one, "SELECT @@max_allowed_packet")
    body = bytes(range(256)) * (int(most) // 256 // 2 - 64)  # quoting doubles some bytes
    run(one, "INSERT INTO item (uuid, v) VALUES (?, ?)", ALICE, body[: int(most) * 4 // 10])
    put(one, BOB, b"small")
    settle(one, other)
    assert values(other) == [body[: int(most) * 4 // 10], b"small"]


# Statements

FAMILY = (
    "CREATE TABLE parent (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
    " code VARCHAR(20) NOT NULL UNIQUE, name VARCHAR(40))",
    "CREATE TABLE child (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
    " parent_id INTEGER NOT NULL, friend_id INTEGER, name VARCHAR(40),"
    " FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    " FOREIGN KEY (friend_id) REFERENCES parent (id) ON DELETE SET NULL ON UPDATE CASCADE)",
    "CREATE TABLE badge (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
    " child_id INTEGER NOT NULL, code VARCHAR(20),"
    " FOREIGN KEY (child_id) REFERENCES child (id) ON DELETE CASCADE,"
    " FOREIGN KEY (code) REFERENCES parent (code) ON UPDATE CASCADE ON DELETE SET NULL)",
)


def family(make: Maker, engines: Engines) -> tuple[Site, Site]:
    """Alice with a child Carol who has a badge; Bob, whose friend Carol is, and the badge."""
    one, other = make(FAMILY, *engines)
    run(one, "INSERT INTO parent VALUES (1, ?, 'A', 'Alice'), (2, ?, 'B', 'Bob')", ALICE, BOB)
    run(one, "INSERT INTO child VALUES (1, ?, 1, 2, 'Carol')", CAROL)
    run(one, "INSERT INTO badge VALUES (1, ?, 1, 'B')", DAVE)
    settle(one, other)
    return one, other


def picture(site: Site) -> list[tuple[Any, ...]]:
    return list(
        run(
            site,
            "SELECT p.code, f.code, b.code FROM child c JOIN parent p ON p.id = c.parent_id"
            " LEFT JOIN parent f ON f.id = c.friend_id LEFT JOIN badge b ON b.child_id = c.id",
        )
    )


@pytest.mark.parametrize("engines", PAIRS)
def test_what_the_engine_deletes_by_itself_is_deleted_everywhere(
    make: Maker, engines: Engines
) -> None:
    one, other = family(make, engines)
    run(one, "DELETE FROM parent WHERE code = 'A'")
    settle(one, other)
    for table in ("child", "badge"):
        assert list(run(other, f"SELECT * FROM {table}")) == []
    assert list(run(other, "SELECT code FROM parent")) == [("B",)]


@pytest.mark.parametrize("engines", PAIRS)
def test_what_the_engine_sets_to_null_by_itself_is_null_everywhere(
    make: Maker, engines: Engines
) -> None:
    one, other = family(make, engines)
    run(one, "DELETE FROM parent WHERE code = 'B'")
    settle(one, other)
    assert picture(one) == picture(other) == [("A", None, None)]


@pytest.mark.parametrize("engines", PAIRS)
def test_keys_that_the_engine_follows_by_itself_are_followed_everywhere(
    make: Maker, engines: Engines
) -> None:
    one, other = family(make, engines)
    run(one, "UPDATE parent SET code = 'C' WHERE code = 'B'")
    run(one, "UPDATE parent SET id = 77 WHERE code = 'A'")
    settle(one, other)
    assert picture(one) == picture(other) == [("A", "C", "C")]
    assert one.conflicts() == []


def test_replace_and_upsert_are_an_edit_of_the_same_row(make: Maker) -> None:
    one, other = make(item("INT"), "mysql", "mysql")
    put(one, ALICE, 1)
    put(one, BOB, 1)
    settle(one, other)
    run(other, "UPDATE item SET name = 'from afar' WHERE uuid = ?", BOB)
    run(one, "REPLACE INTO item (uuid, name, v) VALUES (?, 'replaced', 2)", ALICE)
    run(
        one,
        "INSERT INTO item (uuid, v) VALUES (?, 9), (?, 9) ON DUPLICATE KEY UPDATE v = v + 1",
        BOB,
        CAROL,
    )
    run(one, "INSERT IGNORE INTO item (uuid, v) VALUES (?, 100)", CAROL)
    settle(one, other)
    for site in (one, other):
        assert list(run(site, "SELECT uuid, name, v FROM item ORDER BY uuid")) == [
            (ALICE, "replaced", 2),
            (BOB, "from afar", 2),
            (CAROL, None, 9),
        ]


def test_an_update_that_changes_nothing_is_no_change(make: Maker) -> None:
    one, other = make(item("FLOAT"), "mysql", "mysql")
    put(one, ALICE, 0.1)
    settle(one, other)
    run(one, "UPDATE item SET v = 0.1, uuid = uuid, name = NULL")
    assert list(run(one, "SELECT count(*) FROM syncnode_journal")) == [(0,)]


def test_a_change_of_case_alone_is_a_change(make: Maker) -> None:
    one, other = make(item("VARCHAR(40)"), "mysql", "mysql")
    put(one, ALICE, "provider")
    settle(one, other)
    for text in ("Provider", "Próvider", "Próvider "):
        run(one, "UPDATE item SET v = ?", text)
        settle(one, other)
        assert values(other) == [text]
    run(other, "UPDATE item SET uuid = upper(uuid)")
    settle(one, other)
    assert list(run(one, "SELECT uuid FROM item")) == [(ALICE.upper(),)]


def test_rows_without_a_key_go_with_the_row_that_they_refer_to(make: Maker) -> None:
    """By the time of the seal the row that named their reference is gone."""
    tags = (
        "CREATE TABLE tag (item_id INTEGER NOT NULL, word VARCHAR(20), weight DECIMAL(6,2),"
        " FOREIGN KEY (item_id) REFERENCES item (id))",
    )
    one, other = make((*item("INT"), *tags), "mysql", "sqlite")
    put(one, ALICE, 1)
    put(one, BOB, 1)
    run(one, "INSERT INTO tag VALUES (1, 'x', 1.5), (1, 'x', 1.5), (2, 'x', 0.1)")
    settle(one, other)
    assert list(run(other, "SELECT count(*) FROM tag")) == [(3,)]
    run(other, "UPDATE tag SET weight = 2 WHERE weight < 1")
    with one.transaction():
        run(one, "DELETE FROM tag WHERE item_id = 1")
        run(one, "DELETE FROM item WHERE id = 1")
    settle(one, other)
    for site in (one, other):
        assert [(word, float(w)) for word, w in run(site, "SELECT word, weight FROM tag")] == [
            ("x", 2.0)
        ]
        assert list(run(site, "SELECT uuid FROM item")) == [(BOB,)]


def test_a_row_that_was_changed_and_then_deleted_keeps_each_value_with_its_dot(
    make: Maker,
) -> None:
    """The image of the deleted row holds the change; revived elsewhere, all show one value."""
    one, other = make(item("INT"), "mysql", "mysql")
    put(one, ALICE, 1)
    settle(one, other)
    with one.transaction():
        run(one, "UPDATE item SET v = 2")
        run(one, "DELETE FROM item")
    run(other, "UPDATE item SET name = 'still here'")
    settle(one, other)
    assert values(one) == values(other) == [2]


def mark(uuid: str) -> str:
    return sha256(bytes.fromhex(uuid.replace("-", ""))).hexdigest()[:6]


def test_unique_values_that_two_sites_gave_are_told_apart_by_a_mark(make: Maker) -> None:
    schema = (
        "CREATE TABLE role (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
        " name VARCHAR(40) NOT NULL UNIQUE)",
    )
    one, other = make(schema, "mysql", "mysql")
    run(one, "INSERT INTO role (uuid, name) VALUES (?, 'Clerk')", ALICE)
    run(other, "INSERT INTO role (uuid, name) VALUES (?, 'clerk')", BOB)
    settle(one, other)
    names = [sorted(run(site, "SELECT name FROM role")) for site in (one, other)]
    assert names[0] == names[1]
    assert names[0] in (
        [("Clerk",), (f"clerk~{mark(BOB)}",)],
        [(f"Clerk~{mark(ALICE)}",), ("clerk",)],
    )
    run(other, "UPDATE role SET name = 'Nurse' WHERE uuid = ?", BOB)
    settle(one, other)
    for site in (one, other):
        assert list(site.parked()) == []
        assert sorted(name for (name,) in run(site, "SELECT name FROM role")) == [
            "Clerk",
            "Nurse",
        ]


def test_refusals_of_the_schema_and_of_its_triggers_hold_up_one_row_only(make: Maker) -> None:
    loose, strict = item("INT"), item("INT NOT NULL CHECK (v < 100)")
    one = make(loose, "mysql")[0]
    other = make(
        (
            *strict,
            "CREATE TRIGGER no_sevens BEFORE INSERT ON item FOR EACH ROW"
            " IF NEW.v = 7 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no sevens here';"
            " END IF",
        ),
        "mysql",
    )[0]
    for uuid, value in ((ALICE, None), (BOB, 500), (CAROL, 7), (DAVE, 1)):
        put(one, uuid, value)
    sync(one, other)
    assert values(other) == [1]
    assert sorted(reason for reason, _ in details(other)) == [
        "check constraint",
        "not null",
        "trigger",
    ]
    assert any("no sevens here" in str(detail) for _, detail in details(other))
    run(one, "UPDATE item SET v = 8")
    settle(one, other)
    assert values(other) == [8, 8, 8, 8]


def test_what_the_applications_own_triggers_write_is_captured(make: Maker) -> None:
    log = (
        "CREATE TABLE log (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
        " text VARCHAR(60))",
    )
    trigger = (
        "CREATE TRIGGER noted AFTER INSERT ON item FOR EACH ROW"
        " INSERT INTO log (uuid, text) VALUES (UUID(), CONCAT('came ', NEW.uuid))",
    )
    one = make((*item("INT"), *log), "mysql")[0]
    other = make((*item("INT"), *log, *trigger), "mysql")[0]
    put(one, ALICE, 1)
    settle(one, other)
    for site in (one, other):
        assert list(run(site, "SELECT text FROM log")) == [(f"came {ALICE}",)]


def test_a_moment_that_the_engine_moves_by_itself_stays_as_its_author_left_it(make: Maker) -> None:
    changed = "changed TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP"
    one, other = make((item("INT")[0].replace("v INT", f"v INT, {changed}"),), "mysql", "mysql")
    run(one, "INSERT INTO item (uuid, v, changed) VALUES (?, 1, '2020-01-02 03:04:05')", ALICE)
    settle(one, other)
    run(one, "UPDATE item SET v = 2, changed = changed")
    settle(one, other)
    rows = [run(site, "SELECT v, CAST(changed AS CHAR) FROM item") for site in (one, other)]
    assert rows == [[(2, "2020-01-02 03:04:05")]] * 2
