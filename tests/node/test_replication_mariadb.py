"""Replication between databases of MariaDB and of PostgreSQL, with each other and with SQLite.

What holds after every exchange (sums, clocks beside rows, the same state at both ends) is asked
by `sites.settle`; what the tables show is compared without our clocks by `tables.dump`.
"""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from clinic import CLINIC, clinic_rows
from mariadb_sites import SERVER_PAIRS, Maker, maker, run, servers_of, unsettled
from random_schemas import random_schema, write
from sites import Site, same_rows, settle, sync
from tables import fill

PERSON = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE, "
    "name VARCHAR(40), boss INTEGER REFERENCES person (id))",
)
ALICE, BOB, CAROL = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abc")
Engines = tuple[str, str]


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path, engines: Engines) -> Iterator[Maker]:
    yield from maker(tmp_path, *servers_of(request, engines))


def people(site: Site) -> list[tuple[str, str, str | None]]:
    """(uuid, name, name of the boss)."""
    return run(
        site,
        "SELECT p.uuid, p.name, b.name FROM person p LEFT JOIN person b ON b.id = p.boss "
        "ORDER BY p.uuid",
    )


@pytest.mark.parametrize("engines", SERVER_PAIRS)
def test_rows_cross_and_local_numbers_do_not(make: Maker, engines: Engines) -> None:
    one, other = make(PERSON, *engines)
    run(one, "INSERT INTO person VALUES (7, ?, 'Alice', 7)", ALICE)
    run(other, "INSERT INTO person VALUES (7, ?, 'Bob', NULL)", BOB)
    settle(one, other)
    assert people(one) == people(other) == [(ALICE, "Alice", "Alice"), (BOB, "Bob", None)]
    (bob,) = run(one, "SELECT id FROM person WHERE id<>7")
    run(one, "UPDATE person SET boss=? WHERE id=7", *bob)
    run(other, "UPDATE person SET name='Alicia' WHERE name='Alice'")
    settle(one, other)
    assert people(one) == people(other) == [(ALICE, "Alicia", "Bob"), (BOB, "Bob", None)]
    run(one, "UPDATE person SET boss=NULL")
    run(one, "DELETE FROM person WHERE id=?", *bob)
    settle(one, other)
    assert people(one) == people(other) == [(ALICE, "Alicia", None)]


@pytest.mark.parametrize("engines", SERVER_PAIRS)
def test_clinics_that_hold_the_same_rows_under_other_numbers_become_one(
    make: Maker, engines: Engines
) -> None:
    sites = []
    for offset, engine in zip((0, 100), engines, strict=True):
        rows = clinic_rows(1, 5, local_offset=offset)
        sites += make(CLINIC, engine, before=partial(fill, rows=rows))
    settle(*sites)
    same_rows(sites[0], sites[1], CLINIC)
    draw = random.Random(7)
    for _ in range(6):
        for site in sites:
            write(site.connection, CLINIC, draw, 8)
        sync(*sites)
    settle(*sites)
    if not unsettled(sites):
        same_rows(sites[0], sites[1], CLINIC)


@pytest.mark.parametrize("engines", SERVER_PAIRS)
@pytest.mark.parametrize("seed", [0, 1, 2, 4, 5])
def test_any_schema_converges(make: Maker, engines: Engines, seed: int) -> None:
    draw = random.Random(seed)
    schema = random_schema(draw)
    sites = make(schema, *engines, before=lambda connection: write(connection, schema, draw, 10))
    for _ in range(3):
        for site in sites:
            write(site.connection, schema, draw, 12)
        sync(*sites)
    settle(*sites)
    if not unsettled(sites):
        same_rows(sites[0], sites[1], schema)
