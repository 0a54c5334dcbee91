"""Names that differ in case, accent or trailing blank alone: each row is a row of its own.

A unit 'mg' is no 'Mg', and an engine that tells them apart says so everywhere. Where an engine
takes two names for one, its sites show the row that was written first, and park the other.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from mariadb_sites import ALL_PAIRS, Maker, maker, run, say, servers_of
from sites import Site, settle

Engines = tuple[str, str]
EXACT = "utf8mb4 COLLATE utf8mb4_nopad_bin"  # in UTF-8 as SQLite compares by itself
NAT = ("CREATE TABLE nat (code VARCHAR(40) NOT NULL PRIMARY KEY, v VARCHAR(40))",)
COMP = (
    "CREATE TABLE comp (a VARCHAR(40) NOT NULL, b VARCHAR(40) NOT NULL, v VARCHAR(40),"
    " PRIMARY KEY (a, b))",
)
NOCASE = "provider = icu, locale = 'und-u-ks-level2', deterministic = false"
UNITS = [("MG", "mega"), ("Mg", "magnesium"), ("mg", "milli")]


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path, engines: Engines) -> Iterator[Maker]:
    yield from maker(tmp_path, *servers_of(request, engines))


def put(site: Site, *rows: tuple[str, ...]) -> None:
    table = "nat" if len(rows[0]) == 2 else "comp"
    for row in rows:
        run(site, f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", *row)


def rows(site: Site, table: str = "nat") -> list[tuple[Any, ...]]:
    return sorted(run(site, f"SELECT * FROM {table}"))


def at_all(sites: Sequence[Site], expected: list[tuple[str, ...]], table: str = "nat") -> None:
    for site in sites:
        assert rows(site, table) == sorted(expected), site.name
        assert not site.parked(), site.name


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_three_rows_that_stood_before_are_three_rows(make: Maker, engines: Engines) -> None:
    def before(connection: Any) -> None:
        for code, value in [("mg", "milli"), ("MG", "mega"), ("Mg", "magnesium")]:
            say(connection, "INSERT INTO nat VALUES (?, ?)", code, value)

    one = make(NAT, engines[0], charset=EXACT, before=before)[0]
    other = make(NAT, engines[1], charset=EXACT)[0]
    settle(one, other)
    at_all((one, other), UNITS)


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_rows_are_told_apart_by_blanks_accents_and_case_one_after_the_other(
    make: Maker, engines: Engines
) -> None:
    sites = make(NAT, *engines, charset=EXACT)
    written = [(code, f"of {code!r}") for code in ("Y", "y", "y ", "ý", "Ý  ", "")]
    for place, row in enumerate(written):
        put(sites[0], row)
        settle(*sites)
        at_all(sites, written[: place + 1])
    for place, (code, value) in enumerate(written):
        run(sites[place % 2], "UPDATE nat SET v = ? WHERE code = ?", value.upper(), code)
    settle(*sites)
    at_all(sites, [(code, value.upper()) for code, value in written])
    run(sites[0], "DELETE FROM nat WHERE code IN ('Y', 'y')")
    settle(*sites)
    at_all(sites, [(code, value.upper()) for code, value in written[2:]])


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_keys_of_several_columns_are_told_apart_too(make: Maker, engines: Engines) -> None:
    sites = make(COMP, *engines, charset=EXACT)
    written = [("q", "q", "1"), ("Q", "q", "2"), ("q", "Q", "3"), ("q ", "q", "4")]
    put(sites[0], *written[:3])
    put(sites[1], written[3])
    settle(*sites)
    at_all(sites, written, "comp")


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_variants_of_two_sites_are_all_kept_whoever_wrote_which_first(
    make: Maker, engines: Engines
) -> None:
    one, other = make(NAT, *engines, charset=EXACT)
    put(one, ("mg", "milli"), ("MG", "mega"))
    put(other, ("MG", "mega"), ("Mg", "magnesium"), ("mg", "milli"))
    settle(one, other)
    at_all((one, other), UNITS)
    assert one.conflicts() == []


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_names_that_change_hands_in_one_transaction_arrive(make: Maker, engines: Engines) -> None:
    sites = make(NAT, *engines, charset=EXACT)
    put(sites[0], ("c", "d"), ("C ", "e"), ("ç", "f"), ("", "g"))
    settle(*sites)
    at_all(sites, [("c", "d"), ("C ", "e"), ("ç", "f"), ("", "g")])
    with sites[0].transaction():
        for code, value in (("tmp", "d"), ("c2", "f"), ("ç", "d")):
            run(sites[0], "UPDATE nat SET code = ? WHERE v = ?", code, value)
    settle(*sites)
    at_all(sites, [("ç", "d"), ("C ", "e"), ("c2", "f"), ("", "g")])


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_a_uuid_in_a_text_key_is_one_name_in_either_case_and_its_twins_are_rows(
    make: Maker, engines: Engines
) -> None:
    """As a UUID both are the same 16 bytes; the second has a name of its own, made of its text,
    so that two sites which hold both agree on it."""
    uuid = "aaaaaaaa-0000-4000-8000-00000000000b"
    one, other = make(NAT, *engines, charset=EXACT)
    put(one, (uuid, "lower"))
    settle(one, other)
    for site in (one, other):
        put(site, (uuid.upper(), "upper"))
    put(other, (uuid.replace("b", "B"), "mixed"))
    settle(one, other)
    at_all(
        (one, other), [(uuid, "lower"), (uuid.upper(), "upper"), (uuid.replace("b", "B"), "mixed")]
    )


# Where an engine takes several names for one

LOOSE = "utf8mb4 COLLATE utf8mb4_general_ci"
ROLES = (
    "CREATE TABLE role (code VARCHAR(40) COLLATE {loose} NOT NULL PRIMARY KEY, title VARCHAR(40))",
    "CREATE TABLE member (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " role VARCHAR(40) COLLATE {loose} NOT NULL,"
    " FOREIGN KEY (role) REFERENCES role (code) ON UPDATE CASCADE)",
)


@pytest.mark.parametrize("engines", [("mysql", "sqlite")])
def test_engines_that_take_names_for_one_show_the_first_of_them_alike(
    make: Maker, engines: Engines
) -> None:
    loose, other, exact = make(NAT, "mysql", *engines, charset=LOOSE)
    for site, unit in zip((loose, other, exact), UNITS, strict=True):
        put(site, unit)
        time.sleep(0.002)  # what is written next is later
    settle(loose, other, exact)
    assert rows(exact) == sorted(UNITS)
    assert rows(loose) == rows(other) == [UNITS[0]]
    for site in (loose, other):
        assert [reason for _, reason in site.parked()] == ["unique clash"] * 2
    run(other, "UPDATE nat SET v = 'edited'")
    settle(loose, other, exact)
    assert rows(loose) == rows(other) == [(UNITS[0][0], "edited")]
    run(loose, "DELETE FROM nat")
    settle(loose, other, exact)
    assert rows(exact) == sorted(UNITS[1:])
    assert rows(loose) == rows(other) == [UNITS[1]]
    for site in (loose, other):
        assert [reason for _, reason in site.parked()] == ["unique clash"]


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_a_name_that_changes_in_case_alone_changes_under_its_children(
    make: Maker, engines: Engines
) -> None:
    one, other = (make(roles(engine), engine)[0] for engine in engines)
    run(one, "INSERT INTO role VALUES ('nurse', 'Nurse')")
    run(one, "INSERT INTO member (uuid, role) VALUES ('m1', 'nurse')")
    settle(one, other)
    run(one, "UPDATE role SET code = 'Nurse', title = 'of all'")
    settle(one, other)
    for site in (one, other):
        assert run(site, "SELECT code, title FROM role") == [("Nurse", "of all")]
        assert run(site, "SELECT count(*) FROM role JOIN member ON role = code") == [(1,)]
        assert not site.parked()
        assert not site.held()


def roles(engine: str) -> list[str]:
    loose = "utf8mb4_general_ci" if engine == "mysql" else "NOCASE"
    statements = [statement.replace("{loose}", loose) for statement in ROLES]
    if engine == "postgresql":
        statements.insert(0, f"CREATE COLLATION {loose} ({NOCASE})")
    return statements
