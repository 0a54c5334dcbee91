"""A few rows among very many cannot be written here: these are parked, all others arrive."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mariadb_sites import Maker, maker, run, servers_of
from sites import Site, sync
from tables import Statement, execute

PERSONS = 400
READING = (
    "CREATE TABLE reading (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE, "
    "person_id INTEGER REFERENCES person (id), number INTEGER{number}, note VARCHAR(80){note}, "
    "value DOUBLE{value}, day {day})"
)
LOOSE = {"number": "", "note": "", "value": "", "day": "TEXT"}
STRICT = {
    "number": " NOT NULL UNIQUE",
    "note": " NOT NULL",
    "value": " CHECK (value < 1000)",
    "day": "DATE",
}
PERSON = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE, "
    "name VARCHAR(80){note})"
)
SEEN = "CREATE TABLE seen (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL)"
# What an application of the receiving site does whenever a row appears.
TRIGGERS = {
    "sqlite": (
        "CREATE TRIGGER counts AFTER INSERT ON reading "
        "BEGIN INSERT INTO seen (uuid) VALUES (NEW.uuid); END",
    ),
    "mysql": (
        "CREATE TRIGGER counts AFTER INSERT ON reading FOR EACH ROW "
        "INSERT INTO seen (uuid) VALUES (NEW.uuid)",
    ),
    "postgresql": (
        "CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO seen (uuid) VALUES (NEW.uuid); RETURN NULL; END $$",
        "CREATE TRIGGER counts AFTER INSERT ON reading FOR EACH ROW EXECUTE FUNCTION counts()",
    ),
}
# What a careless copy would bend: escapes and marks of statements, of COPY, and of drivers.
NOTES = ("plain", "a\tb\nc\rd", "\\N", "\\", 'it\'s "so"', "%s %% ?", "", " 𝄞 ", "\x1a\x08\x0b")


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    engine = request.node.callspec.params["engine"]
    yield from maker(tmp_path, *servers_of(request, {engine}))


def schema(limits: dict[str, str]) -> tuple[str, ...]:
    return (
        PERSON.format(auto="{auto}", **limits),
        READING.format(auto="{auto}", **limits),
        SEEN,
    )


def uuid(kind: int, number: int) -> str:
    return f"{number:08x}-{kind:04}-4000-8000-{number * 7919:012x}"


def reading(number: int) -> tuple[Any, ...]:
    value = None if number % 3 else number / 64
    day = f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}"
    return (uuid(2, number), number % PERSONS + 1, number, NOTES[number % len(NOTES)], value, day)


def bad_ones(engine: str, count: int) -> dict[int, tuple[tuple[Any, ...], str]]:
    """By number the rows that cannot be written, and why: the first and the last of all among
    them, and two neighbours."""
    found = {}
    for number, column, value, reason in (
        (0, 3, None, "not null"),
        (count // 3, 4, 1000.5, "check constraint"),
        (count // 3 + 1, 2, count // 3 - 1, "unique clash"),
        (count - count // 3, 1, PERSONS + 1, "missing parent"),
        (count - 1, 3, None, "not null"),
        *([(count // 2, 5, "tomorrow", "type does not fit")] if engine != "sqlite" else []),
    ):
        row = list(reading(number))
        row[column] = value
        found[number] = (tuple(row), reason)
    return found


def fill(site: Site, engine: str, count: int) -> None:
    cursor = site.connection.cursor()
    cursor.execute("BEGIN")
    people = [(number + 1, uuid(1, number), f"P{number}") for number in range(PERSONS)]
    # The last one has no name, and stays away from a site that wants one.
    people.append((PERSONS + 1, uuid(1, PERSONS), None))
    cursor.executemany("INSERT INTO person VALUES (?, ?, ?)", people)
    bad = bad_ones(engine, count)
    cursor.executemany(
        "INSERT INTO reading (uuid, person_id, number, note, value, day) VALUES (?, ?, ?, ?, ?, ?)",
        [bad[number][0] if number in bad else reading(number) for number in range(count)],
    )
    cursor.execute("COMMIT")


def shown(site: Site) -> list[tuple[Any, ...]]:
    rows = run(
        site,
        "SELECT r.uuid, p.uuid, r.number, r.note, r.value, r.day FROM reading r "
        "JOIN person p ON p.id = r.person_id ORDER BY r.uuid",
    )
    return [(*row[:5], str(row[5])) for row in rows]


ENGINES = [
    pytest.param("sqlite", 20_000, id="sqlite"),
    pytest.param("postgresql", 20_000, id="postgresql", marks=pytest.mark.postgresql),
    pytest.param("mysql", 4_000, id="mariadb", marks=pytest.mark.mariadb),
]


@pytest.mark.parametrize(("engine", "count"), ENGINES)
def test_of_many_rows_a_few_are_refused_and_all_others_arrive(
    make: Maker, engine: str, count: int
) -> None:
    steps = {"apply_rows_max": 6_000} if engine == "sqlite" else {}
    (there,) = make(schema(LOOSE), "sqlite", exclude=("seen",))

    def let_watch(connection: Any) -> None:
        for statement in TRIGGERS[engine]:
            execute(connection, Statement(statement))

    (here,) = make(schema(STRICT), engine, exclude=("seen",), before=let_watch, **steps)
    fill(there, engine, count)
    sync(here, there, check=False)
    bad = bad_ones(engine, count)
    refused = {row[0] for row, _ in bad.values()}
    expected = [row for row in shown(there) if row[0] not in refused]
    assert len(expected) == count - len(bad)
    assert shown(here) == expected
    assert list(here.parked()) == [
        ("person", "not null"),
        *(("reading", reason) for reason in sorted(reason for _, reason in bad.values())),
    ]
    # The application's own trigger saw each row once, and nothing of it all is sent back.
    watched = run(here, "SELECT uuid FROM seen ORDER BY uuid")
    assert watched == [(row[0],) for row in expected]
    again = sync(here, there, check=False)
    assert (again.sent, again.received) == (0, 0)
    here.check()
    # What was refused is kept, and shown when it fits.
    run(there, "UPDATE reading SET note = ? WHERE number = ?", "at last", count - 1)
    sync(here, there, check=False)
    refused.remove(uuid(2, count - 1))
    assert shown(here) == [row for row in shown(there) if row[0] not in refused]
