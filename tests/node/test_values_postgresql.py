"""Values and statements of PostgreSQL that a careless copy would bend, drop or never notice."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from mariadb_sites import POSTGRESQL_PAIRS, Maker, another, details, maker, run, say, servers_of
from servers import PostgreSQL
from sites import Site, make_site, one_network, settle, sync

from syncnode.comparing.contents import Contents

ALICE, BOB, CAROL, DAVE = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abcd")
Engines = tuple[str, ...]
PAIRS = [
    pytest.param(
        pair,
        id="-".join(pair),
        marks=[pytest.mark.postgresql, *([pytest.mark.mariadb] if "mysql" in pair else [])],
    )
    for pair in POSTGRESQL_PAIRS
]
HEAD = "CREATE TABLE item (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE, "


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    drawn = getattr(request.node, "callspec", None)
    engines = drawn.params.get("engines", ()) if drawn else ()
    yield from maker(tmp_path, *servers_of(request, {"postgresql", *engines}))


def item(column: str) -> tuple[str]:
    """A table with a counter, a uuid, a text and this column `v`."""
    return (f"{HEAD}name VARCHAR(40), v {column})",)


def put(site: Site, uuid: str, value: object) -> None:
    run(site, "INSERT INTO item (uuid, v) VALUES (?, ?)", uuid, value)


def values(site: Site) -> list[Any]:
    return [value for (value,) in run(site, "SELECT v FROM item ORDER BY uuid")]


def uuid(number: int) -> str:
    return f"{number:08}-0000-4000-8000-000000000000"


# Of each type: the column here, at SQLite, what is written here, what SQLite holds then.
EXACT: list[tuple[str, str, list[tuple[str, Any]]]] = [
    ("BOOLEAN", "BOOLEAN", [("true", 1), ("false", 0)]),
    ("SMALLINT", "INTEGER", [("-32768", -32768)]),
    ("BIGINT", "BIGINT", [(str(-(2**63)), -(2**63)), (str(2**63 - 1), 2**63 - 1)]),
    ("NUMERIC(20,4)", "TEXT", [("12.3", "12.3000"), ("-0.0001", "-0.0001")]),
    ("NUMERIC(40,2)", "TEXT", [("12345678901234567890123456789.25",) * 2]),
    ("NUMERIC", "TEXT", [("1.00", "1.00"), ("1e40", "1" + "0" * 40), ("NaN", "NaN")]),
    ("REAL", "REAL", [("36.6", 36.6), ("0.1", 0.1), ("1e-30", 1e-30), ("NaN", "NaN")]),
    ("DOUBLE PRECISION", "DOUBLE", [("0.30000000000000004", 0.1 + 0.2), ("5e-324", 5e-324)]),
    ("TEXT", "TEXT", [("", ""), ("  padded  ", "  padded  "), ("'%s?\\\n", "'%s?\\\n")]),
    ("VARCHAR(8)", "TEXT", [("𝄞 clef ", "𝄞 clef ")]),
    ("CHAR(8)", "TEXT", [("ab", "ab")]),
    ("UUID", "CHAR(38)", [(ALICE.upper(), ALICE)]),
    ("BYTEA", "BLOB", [("\\x", b""), ("\\x00ff27", b"\x00\xff'")]),
    ("DATE", "DATE", [("2026-02-28", "2026-02-28"), ("0044-03-15 BC", "0044-03-15 BC")]),
    ("TIME", "TIME", [("23:59:01.5", "23:59:01.500000"), ("24:00", "24:00:00")]),
    ("TIMESTAMP(6)", "DATETIME", [("2026-01-02 03:04:05.25", "2026-01-02 03:04:05.250000")]),
    ("TIMESTAMP(0)", "DATETIME", [("2026-01-02 03:04:05", "2026-01-02 03:04:05")]),
    ("TIMESTAMPTZ", "DATETIME", [("2026-01-02 03:04:05+02", "2026-01-02 01:04:05")]),
    ("BIT(3)", "INTEGER", [("101", 5)]),
    ("JSON", "TEXT", [('{"b":1,  "a":2, "a":3}', '{"b":1,  "a":2, "a":3}')]),
    ("JSONB", "TEXT", [('{"b":1,  "a":2, "a":3}', '{"a": 3, "b": 1}')]),
    ("TEXT[]", "TEXT", [('{ab, "c d"}', '{ab,"c d"}')]),
    ("mood", "TEXT", [("glad", "glad")]),
    ("INTERVAL", "TEXT", [("36 hours", "36:00:00")]),
    ("INET", "TEXT", [("10.0.0.1/8", "10.0.0.1/8")]),
    ("INT4RANGE", "TEXT", [("[1,3]", "[1,4)")]),
    ("XML", "TEXT", [("<a>b</a>", "<a>b</a>")]),
    ("short_name", "TEXT", [("Ann", "Ann")]),
]
TYPES = (
    "CREATE TYPE mood AS ENUM ('glad', 'sad')",
    "CREATE DOMAIN short_name AS VARCHAR(5) CHECK (VALUE <> '')",
)


def of_every_type(make: Maker) -> tuple[Site, Site]:
    columns = [", ".join(f"v{n} {case[place]}" for n, case in enumerate(EXACT)) for place in (0, 1)]
    one = make((*TYPES, f"{HEAD}{columns[0]})"), "postgresql")[0]
    other = make((f"{HEAD}{columns[1]})",), "sqlite")[0]
    return one, other


def test_values_of_every_type_arrive_exactly_and_come_back(make: Maker) -> None:
    one, other = of_every_type(make)
    again = make(
        (*TYPES, f"{HEAD}{', '.join(f'v{n} {c[0]}' for n, c in enumerate(EXACT))})"), "postgresql"
    )[0]
    number = 0
    for place, (_, _, given) in enumerate(EXACT):
        for text, _ in given:
            number += 1
            run(one, f"INSERT INTO item (uuid, v{place}) VALUES (?, ?)", uuid(number), text)
    settle(one, other)
    settle(other, again)
    assert details(one) == details(other) == details(again) == []
    shown = iter(run(other, "SELECT * FROM item ORDER BY uuid"))
    for place, (kind, _, given) in enumerate(EXACT):
        for _, expected in given:
            assert next(shown)[2 + place] == expected, kind
    # By way of SQLite they are here again, to the byte.
    texts = ", ".join(f"v{n}::text" for n in range(len(EXACT)))
    sql = f"SELECT uuid, {texts} FROM item ORDER BY uuid"
    assert run(again, sql) == run(one, sql)
    # What is written back as it was is no change, and what SQLite changes arrives.
    run(other, "UPDATE item SET uuid = upper(uuid)")
    settle(one, other)
    assert run(one, sql.replace("uuid, ", "", 1)) == run(again, sql.replace("uuid, ", "", 1))


UNFIT = [
    ("a zero character", "TEXT", "TEXT", "a\0b", "ab"),
    ("too long", "VARCHAR(5)", "TEXT", "sixsix", "five5"),
    ("too long by blanks alone", "VARCHAR(5)", "TEXT", "five5  ", "five5"),
    ("blanks at the end of a CHAR", "CHAR(5)", "TEXT", "ab ", "ab"),
    ("out of range", "SMALLINT", "INTEGER", 32768, 32767),
    ("a rounded decimal", "NUMERIC(6,2)", "TEXT", "1.005", "1.25"),
    ("a decimal beyond the precision", "NUMERIC(4,2)", "TEXT", "123.45", "23.45"),
    ("hundreds", "NUMERIC(3,-2)", "TEXT", "150", "200"),
    ("a rounded float", "REAL", "DOUBLE", 0.1 + 0.2, 0.3),
    ("an integer beyond a double", "DOUBLE PRECISION", "INTEGER", 2**53 + 1, 2**53),
    (
        "a fraction of a second",
        "TIMESTAMP(0)",
        "TEXT",
        "2026-01-02 03:04:05.5",
        "2026-01-02 03:04:05",
    ),
    ("a zone", "TIMESTAMP", "TEXT", "2026-01-02 03:04:05+02", "2026-01-02 03:04:05"),
    ("a day that is not the same tomorrow", "DATE", "TEXT", "tomorrow", "2026-01-02"),
    ("no such date", "DATE", "TEXT", "2026-02-31", "2026-02-28"),
    ("a zero date", "TIMESTAMP", "TEXT", "0000-00-00 00:00:00", "0001-01-01 00:00:00"),
    ("a time of another engine", "TIME", "TEXT", "838:59:59", "23:59:59"),
    ("text in a number", "INTEGER", "TEXT", "three", "3"),
    ("a fraction in an integer", "INTEGER", "REAL", 1.5, 2.0),
    ("bytes in a text", "TEXT", "BLOB", b"\xff", "text"),
    ("text in bytes", "BYTEA", "BLOB", "text", b"bytes"),
    ("neither true nor false", "BOOLEAN", "INTEGER", 2, 1),
    ("too many bits", "BIT(2)", "INTEGER", 4, 3),
    ("a value of no enumeration", "mood", "TEXT", "cross", "sad"),
    ("no UUID", "UUID", "TEXT", "SNOMED CT-2", ALICE),
    ("no JSON", "JSON", "TEXT", "{", "{}"),
    ("JSON that would be rewritten", "JSONB", "TEXT", '{"a":1}', '{"a": 1}'),
    ("an array that would be rewritten", "INTEGER[]", "TEXT", "{1, 2}", "{1,2}"),
    ("a range that would be rewritten", "INT4RANGE", "TEXT", "[1,3]", "[1,4)"),
    ("what a CHECK refuses", "short_name", "TEXT", "", "Ann"),
]
TEXT_TO_NUMBER = {"text in a number"}


def test_what_a_column_cannot_hold_is_parked_and_never_bent(make: Maker) -> None:
    """All at once: each row waits for itself alone and comes when it has a value that fits."""
    columns = [", ".join(f"v{n} {case[place]}" for n, case in enumerate(UNFIT)) for place in (1, 2)]
    one = make((*TYPES, f"{HEAD}{columns[0]})"), "postgresql")[0]
    other = make((f"{HEAD}{columns[1]})",), "sqlite")[0]
    for number, (*_, unfit, _) in enumerate(UNFIT):
        run(other, f"INSERT INTO item (uuid, v{number}) VALUES (?, ?)", uuid(number), unfit)
    sync(one, other)
    arrived = [found[:8] for (found,) in run(one, "SELECT uuid FROM item")]
    assert [UNFIT[int(found)][0] for found in arrived] == []
    reasons = [reason for reason, _ in details(one)]
    assert sorted(set(reasons)) == ["check constraint", "type does not fit"]
    assert reasons.count("check constraint") == 1
    assert len(reasons) == len(UNFIT)
    settle(one, other)
    for number, (name, *_, fitting) in enumerate(UNFIT):
        given = int(fitting) if name in TEXT_TO_NUMBER else fitting
        column = f"CAST(? AS {'BLOB' if isinstance(given, bytes) else 'NUMERIC'})"
        mark = column if isinstance(given, int) else "?"
        run(other, f"UPDATE item SET v{number} = {mark} WHERE uuid = ?", given, uuid(number))
    settle(one, other)
    left = {UNFIT[int(detail)][0] if detail.isdigit() else detail for _, detail in details(one)}
    assert left <= {"item.v16: the column takes integers, not text"}, left


def test_a_moment_is_the_same_in_every_session_and_at_mariadb(
    make: Maker, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    one = make(item("TIMESTAMPTZ"), "postgresql")[0]
    other = make(item("DATETIME(6)"), "sqlite")[0]
    kigali = another(one, options="-ctimezone=Africa/Kigali -cdatestyle=German")
    say(kigali, "INSERT INTO item (uuid, v) VALUES (?, '2026-01-02 03:04:05')", ALICE)
    settle(one, other)
    assert values(other) == ["2026-01-02 01:04:05"]
    run(other, "UPDATE item SET v = '2026-01-02 02:04:05.500000'")
    settle(one, other)
    assert say(kigali, "SELECT v::text FROM item") == [("02.01.2026 04:04:05.5 CAT",)]
    kigali.close()


def test_numbers_that_the_application_draws_next_are_free(make: Maker) -> None:
    """Sequences of serial and identity columns, also of one that is GENERATED ALWAYS, and of a
    number that travels."""
    schema = (
        "CREATE SEQUENCE own",
        "CREATE TABLE a (id SERIAL PRIMARY KEY, uuid UUID NOT NULL UNIQUE)",
        "CREATE TABLE b (id INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        " uuid UUID NOT NULL UNIQUE)",
        "CREATE TABLE c (uuid UUID PRIMARY KEY, number SERIAL NOT NULL UNIQUE)",
        "CREATE TABLE d (id BIGINT PRIMARY KEY DEFAULT nextval('own'), uuid UUID NOT NULL UNIQUE)",
        "CREATE TABLE e (id SERIAL PRIMARY KEY, word TEXT)",
    )
    one, other = make(schema, "postgresql", "postgresql")
    for table in "abcd":
        for digit in "12345":
            run(one, f"INSERT INTO {table} (uuid) VALUES (?)", digit * 8 + ALICE[8:])
    run(one, "INSERT INTO e (word) VALUES ('one'), ('two')")
    settle(one, other)
    assert not one.parked()
    assert not other.parked()
    for site, digit in ((other, "6"), (one, "7"), (other, "8")):
        for table in "abcd":
            run(site, f"INSERT INTO {table} (uuid) VALUES (?)", digit * 8 + ALICE[8:])
        run(site, "INSERT INTO e (word) VALUES ('three')")
        settle(one, other)
        assert not one.parked()
        assert not other.parked()
    for table in "abcd":
        assert run(one, f"SELECT count(*) FROM {table}") == [(8,)]
        assert run(other, f"SELECT count(*) FROM {table}") == [(8,)]
    assert run(other, "SELECT count(*) FROM e") == [(5,)]


def test_rows_with_numbers_above_the_sequence_are_not_run_into(make: Maker) -> None:
    """As a dump leaves them whose reader did not set the sequence."""
    schema = ("CREATE TABLE a (id SERIAL PRIMARY KEY, uuid UUID NOT NULL UNIQUE)",)
    one, other = make(schema, "postgresql", "postgresql")
    for number in (1, 2, 3, 9):
        run(other, "INSERT INTO a VALUES (?, ?)", number, uuid(number))
    for number in range(20, 30):
        run(one, "INSERT INTO a (uuid) VALUES (?)", uuid(number))
    settle(one, other)
    assert run(other, "SELECT count(*) FROM a") == [(14,)]
    assert run(other, "SELECT id FROM a WHERE uuid = ?", uuid(9)) == [(9,)]
    run(other, "INSERT INTO a (uuid) VALUES (?)", uuid(40))


def test_generated_columns_are_made_by_each_engine(make: Maker) -> None:
    schema = (
        "CREATE TABLE item (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
        " v INTEGER, double INTEGER GENERATED ALWAYS AS (v * 2) STORED)",
    )
    one = make((schema[0].replace("double ", "twice "),), "postgresql")[0]
    other = make((schema[0].replace("double ", "twice "),), "sqlite")[0]
    put(one, ALICE, 3)
    put(other, BOB, 4)
    settle(one, other)
    assert run(one, "SELECT v, twice FROM item ORDER BY v") == [(3, 6), (4, 8)]
    assert run(other, "SELECT v, twice FROM item ORDER BY v") == [(3, 6), (4, 8)]


FAMILY = (
    "CREATE TABLE parent (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
    " code VARCHAR(20) NOT NULL UNIQUE)",
    "CREATE TABLE child (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
    " owner INTEGER NOT NULL REFERENCES parent (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    " friend INTEGER REFERENCES parent (id) ON DELETE SET NULL,"
    " code VARCHAR(20) REFERENCES parent (code) ON DELETE SET NULL ON UPDATE CASCADE)",
)


def family(make: Maker) -> tuple[Site, Site]:
    one, other = make(FAMILY, "postgresql", "sqlite")
    for code, name in (("A", ALICE), ("B", BOB)):
        run(one, "INSERT INTO parent (uuid, code) VALUES (?, ?)", name, code)
    run(
        one,
        "INSERT INTO child (uuid, owner, friend, code) SELECT ?, a.id, b.id, b.code"
        " FROM parent a, parent b WHERE a.code = 'A' AND b.code = 'B'",
        CAROL,
    )
    settle(one, other)
    return one, other


def picture(site: Site) -> list[tuple[Any, ...]]:
    return run(
        site,
        "SELECT o.code, f.code, c.code FROM child c JOIN parent o ON o.id = c.owner"
        " LEFT JOIN parent f ON f.id = c.friend",
    )


def test_what_the_engine_does_by_itself_is_done_everywhere(make: Maker) -> None:
    one, other = family(make)
    run(one, "UPDATE parent SET code = 'C' WHERE code = 'B'")
    run(one, "UPDATE parent SET id = 77 WHERE code = 'A'")
    settle(one, other)
    assert picture(one) == picture(other) == [("A", "C", "C")]
    run(one, "DELETE FROM parent WHERE code = 'C'")
    settle(one, other)
    assert picture(one) == picture(other) == [("A", None, None)]
    run(one, "DELETE FROM parent WHERE code = 'A'")
    settle(one, other)
    assert run(other, "SELECT * FROM child") == []
    assert run(other, "SELECT * FROM parent") == []
    assert one.conflicts() == other.conflicts() == []


def test_truncate_deletes_every_row_everywhere_and_they_can_come_back(make: Maker) -> None:
    one, other = family(make)
    run(one, "TRUNCATE parent CASCADE")
    run(other, "UPDATE child SET friend = NULL")
    settle(one, other)
    # The edit, which did not know of it, brings the row back whole, and its parents with it.
    assert run(one, "SELECT uuid FROM child") == run(other, "SELECT uuid FROM child") == [(CAROL,)]
    assert picture(one) == picture(other) == [("A", None, "B")]
    run(one, "TRUNCATE child, parent RESTART IDENTITY")
    settle(one, other)
    assert run(other, "SELECT * FROM child") == run(other, "SELECT * FROM parent") == []
    assert one.held() == other.held() == []


def test_upsert_copy_and_merge_are_captured(make: Maker) -> None:
    one, other = make(item("INTEGER"), "postgresql", "sqlite")
    put(one, ALICE, 1)
    settle(one, other)
    upsert = (
        "INSERT INTO item (uuid, v) VALUES (?, 9), (?, 9)"
        " ON CONFLICT (uuid) DO UPDATE SET v = item.v + 1"
    )
    run(one, upsert, ALICE, BOB)
    run(one, "INSERT INTO item (uuid, v) VALUES (?, 7) ON CONFLICT DO NOTHING", BOB)
    with one.connection.cursor().copy("COPY item (uuid, v) FROM STDIN") as copy:
        copy.write(f"{CAROL}\t3\n")
    settle(one, other)
    assert run(other, "SELECT uuid, v FROM item ORDER BY uuid") == [
        (ALICE, 2),
        (BOB, 9),
        (CAROL, 3),
    ]


def test_an_update_that_changes_nothing_is_no_change(make: Maker) -> None:
    one, _ = make(item("NUMERIC"), "postgresql", "sqlite")
    put(one, ALICE, "1.0")
    one.replica.seal()
    run(one, "UPDATE item SET v = v, name = name")
    assert run(one, "SELECT count(*) FROM syncnode_journal") == [(0,)]
    # Equal to the engine, and yet another text.
    run(one, "UPDATE item SET v = 1.00")
    assert run(one, "SELECT op FROM syncnode_journal") == [("U",)]


def test_refusals_of_the_schema_and_of_its_triggers_hold_up_one_row_only(make: Maker) -> None:
    refuse = (
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.name = 'refused' THEN RAISE EXCEPTION 'not this one'; END IF;"
        " RETURN NEW; END $$",
        "CREATE TRIGGER refuse BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION refuse()",
    )
    strict = (
        f"{HEAD}name VARCHAR(40) UNIQUE, v INTEGER NOT NULL CHECK (v > 0))",
        "CREATE UNIQUE INDEX ON item (lower(name)) WHERE v > 100",
        *refuse,
    )
    one = make(strict, "postgresql")[0]
    other = make(item("INTEGER"), "sqlite")[0]
    for number, (name, value) in enumerate(
        [("refused", 1), ("zero", 0), ("null", None), ("Ann", 101), ("ann", 102), ("good", 1)]
    ):
        run(
            other,
            "INSERT INTO item (uuid, name, v) VALUES (?, ?, ?)",
            uuid(number),
            name,
            value,
        )
    settle(one, other)
    assert run(one, "SELECT name FROM item ORDER BY name") == [("Ann",), ("good",)]
    assert sorted(details(one)) == [
        (
            "check constraint",
            'item: new row for relation "item" violates check constraint "item_v_check"',
        ),
        (
            "not null",
            'item: null value in column "v" of relation "item" violates not-null constraint',
        ),
        ("trigger", "item: not this one"),
        ("unique clash", details(one)[-1][1]),
    ]
    run(other, "UPDATE item SET name = 'accepted', v = 5 WHERE name <> 'good'")
    run(other, "UPDATE item SET name = name || rowid")
    settle(one, other)
    assert details(one) == []
    assert run(one, "SELECT count(*) FROM item") == [(6,)]


def test_deferred_constraints_of_the_application_are_told_row_by_row(make: Maker) -> None:
    """What it lets be checked at the commit would undo the whole apply."""
    schema = (
        "CREATE TABLE code (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
        " code VARCHAR(20), UNIQUE (code) DEFERRABLE INITIALLY DEFERRED)",
    )
    one = make(schema, "postgresql")[0]
    other = make((schema[0].replace("DEFERRABLE INITIALLY DEFERRED", ""),), "sqlite")[0]
    run(one, "INSERT INTO code (uuid, code) VALUES (?, 'x')", ALICE)
    run(other, "INSERT INTO code (uuid, code) VALUES (?, 'x')", BOB)
    run(other, "INSERT INTO code (uuid, code) VALUES (?, 'y')", CAROL)
    settle(one, other)
    assert run(one, "SELECT count(*) FROM code WHERE uuid = ?", CAROL) == [(1,)]
    assert run(one, "SELECT count(*) FROM code WHERE uuid = ?", ALICE) == [(1,)]


CIRCLE = (
    "CREATE TABLE a (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE, b INTEGER)",
    "CREATE TABLE b (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
    " a INTEGER NOT NULL REFERENCES a (id))",
)
# One name for foreign keys of several tables, which PostgreSQL allows.
NAMESAKE = (
    "CREATE TABLE c (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
    " a INTEGER CONSTRAINT closing REFERENCES a (id))"
)
CLOSING = "ALTER TABLE a ADD CONSTRAINT closing FOREIGN KEY (b) REFERENCES b (id)"


def test_circles_arrive_and_go_and_no_foreign_key_is_ever_unchecked(make: Maker) -> None:
    one, other = make((*CIRCLE, NAMESAKE, CLOSING), "postgresql", "postgresql")
    run(one, "INSERT INTO a (id, uuid) VALUES (901, ?)", ALICE)
    run(one, "INSERT INTO b (id, uuid, a) VALUES (902, ?, 901)", BOB)
    run(one, "UPDATE a SET b = 902")
    settle(one, other)
    joined = "SELECT a.uuid, b.uuid FROM a JOIN b ON b.a = a.id AND a.b = b.id"
    assert run(other, joined) == [(ALICE, BOB)]
    # The application is refused as before, at once.
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        run(other, "UPDATE a SET b = 77")
    clerk = another(other, autocommit=False)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        say(clerk, "INSERT INTO b (uuid, a) VALUES (?, 77)", CAROL)
    clerk.close()
    run(one, "UPDATE a SET b = NULL")
    run(one, "DELETE FROM b")
    run(one, "DELETE FROM a")
    settle(one, other)
    assert run(other, "SELECT count(*) FROM a") == run(other, "SELECT count(*) FROM b") == [(0,)]


def test_the_tables_of_the_schema_that_the_url_names_and_no_others(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    name = "clinics"
    postgresql.create_database(name)
    sites = []
    try:
        for schema in ("north", "South"):
            postgresql.execute(f'CREATE SCHEMA "{schema}"', database=name)
            url = postgresql.url(name, schema=schema)
            tables = item("INTEGER") if schema == "north" else item("TEXT")
            ddl = [one.replace("{auto}", "GENERATED BY DEFAULT AS IDENTITY") for one in tables]
            sites.append(make_site(tmp_path, schema, ddl, url=url))
        one_network(*sites)
        one, other = sites
        put(one, ALICE, 3)
        # By whatever path the application comes.
        with postgresql.connect(name) as elsewhere:
            elsewhere.execute('INSERT INTO "South".item (uuid, v) VALUES (%s, %s)', (BOB, "text"))
        sync(one, other)
        assert values(other) == ["text"]
        assert [reason for reason, _ in details(other)] == ["type does not fit"]
        assert [
            table
            for (table,) in one.look(
                "SELECT tablename FROM pg_tables"
                " WHERE schemaname = 'north' AND tablename NOT LIKE 'syncnode%%'"
            )
        ] == ["item"]
    finally:
        for site in sites:
            site.close()
        postgresql.drop_database(name)


def test_who_wrote_is_told_by_the_login(make: Maker) -> None:
    one, _ = make(item("INTEGER"), "postgresql", "sqlite")
    put(one, ALICE, 1)
    assert run(one, "SELECT usr FROM syncnode_journal") == [("postgres",)]


@pytest.mark.parametrize("engines", [PAIRS[2]])
def test_three_vendors_in_one_network_end_with_the_same_rows(make: Maker, engines: Engines) -> None:
    schema = (
        "CREATE TABLE place (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
        " name VARCHAR(40) NOT NULL)",
        "CREATE TABLE person (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
        " name VARCHAR(40), alive TINYINT(1), born DATE, seen DATETIME, weight DECIMAL(6,2),"
        " heat FLOAT, photo LONGBLOB, place INTEGER, boss INTEGER,"
        " FOREIGN KEY (place) REFERENCES place (id), FOREIGN KEY (boss) REFERENCES person (id))",
        "CREATE TABLE tag (name VARCHAR(20) NOT NULL PRIMARY KEY, note LONGTEXT)",
    )
    bent = {"FLOAT": "REAL"}
    sites = [
        make(schema, "sqlite")[0],
        make(schema, "mysql")[0],
        make([one.replace("FLOAT", bent["FLOAT"]) for one in schema], "postgresql")[0],
    ]
    lite, maria, postgresql = sites
    for number, site in enumerate(sites):
        run(site, "INSERT INTO place (uuid, name) VALUES (?, ?)", uuid(number), f"place {number}")
        run(
            site,
            "INSERT INTO person (uuid, name, alive, born, seen, weight, heat, photo, place) "
            "SELECT ?, ?, ?, '1990-02-28', '2026-01-02 03:04:05', '61.50', 36.6, ?, id FROM place",
            uuid(10 + number),
            f"person {number}",
            1,
            b"\x00\xff",
        )
        run(site, "INSERT INTO tag VALUES (?, ?)", f"tag {number}", "naïve 'text' 100%")
    settle(*sites)
    everybody = (
        "SELECT p.uuid, p.name, p.alive, p.heat, l.name, b.name FROM person p"
        " LEFT JOIN place l ON l.id = p.place LEFT JOIN person b ON b.id = p.boss ORDER BY p.uuid"
    )
    seen = [run(site, everybody) for site in sites]
    assert list(seen[0]) == list(seen[1]) == list(seen[2])
    assert len(seen[0]) == 3
    # Edits on all sides of one row and of several; deletes against edits.
    for number, site in enumerate(sites):
        run(site, "UPDATE person SET name = ? WHERE uuid = ?", f"by {number}", uuid(10))
        run(
            site,
            "UPDATE person SET boss = ? WHERE uuid = ?",
            run(site, "SELECT id FROM person WHERE uuid = ?", uuid(10))[0][0],
            uuid(10 + number),
        )
    run(postgresql, "DELETE FROM tag WHERE name = 'tag 0'")
    run(maria, "DELETE FROM tag WHERE name = 'tag 2'")
    run(lite, "UPDATE tag SET note = 'kept' WHERE name = 'tag 2'")
    run(postgresql, "UPDATE person SET alive = false WHERE uuid = ?", uuid(11))
    settle(*sites)
    seen = [run(site, everybody) for site in sites]
    assert list(seen[0]) == list(seen[1]) == list(seen[2])
    assert [row[2] for row in seen[0]] == [1, 0, 1]
    assert [row[5] for row in seen[0]] == [seen[0][0][1]] * 3
    tags = [run(site, "SELECT name, note FROM tag ORDER BY name") for site in sites]
    assert list(tags[0]) == list(tags[1]) == list(tags[2])
    assert [name for name, _ in tags[0]] == ["tag 1", "tag 2"]
    lost = [site.conflicts() for site in sites]
    assert lost[0] == lost[1] == lost[2]
    assert {(table, column) for table, column, *_ in lost[0]} >= {("person", "name")}
    assert not any(site.parked() for site in sites)


def test_a_uuid_in_capitals_is_shown_in_small_letters_and_compares_equal(make: Maker) -> None:
    table = "CREATE TABLE item (id INTEGER PRIMARY KEY {auto}, uuid %s NOT NULL UNIQUE, other %s)"
    (one,) = make([table % ("UUID", "UUID")], "postgresql")
    (other,) = make([table % ("CHAR(36)", "CHAR(36)")], "sqlite")
    run(other, "INSERT INTO item (uuid, other) VALUES (upper(?), upper(?))", ALICE, ALICE)
    sync(other, one)
    assert run(one, "SELECT uuid::text, other::text FROM item") == [(ALICE, ALICE)]
    assert Contents(one.replica).totals == Contents(other.replica).totals
