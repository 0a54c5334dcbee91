"""A delete that gives way since somebody elsewhere wrote a row that refers to what was deleted.

The row stays at every site, and every site has on record whose delete was not done, and why.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mariadb_sites import ALL_PAIRS, Maker, maker, run, servers_of
from sites import Site, settle, sync

from syncnode.operations import conflicts
from syncproto.keys import content_key, text_key
from syncproto.row import Reference

Engines = tuple[str, ...]
U1, U2, U3 = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")
P1, C1 = text_key("person", U1), text_key("visit", U1)

SCHEMA = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " boss INTEGER, name VARCHAR(20), FOREIGN KEY (boss) REFERENCES person (id))",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " person INTEGER, note VARCHAR(20), FOREIGN KEY (person) REFERENCES person (id))",
    "CREATE TABLE drug (code VARCHAR(20) NOT NULL PRIMARY KEY)",
    "CREATE TABLE dose (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " drug VARCHAR(20), FOREIGN KEY (drug) REFERENCES drug (code))",
)


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    engines = request.node.callspec.params["engines"] if hasattr(request.node, "callspec") else ()
    yield from maker(tmp_path, *servers_of(request, engines))


def person(site: Site, uuid: str = U1) -> int:
    ((number,),) = run(site, "SELECT id FROM person WHERE uuid = ?", uuid)
    return int(number)


def visit(site: Site, uuid: str = U1, of: str = U1) -> None:
    run(site, "INSERT INTO visit (uuid, person) VALUES (?, ?)", uuid, person(site, of))


def records(site: Site) -> list[tuple[str, str, object]]:
    """(table, column, what stands) of what is on record."""
    return [(table, column, stands) for table, column, stands, _ in site.conflicts()]


@pytest.mark.parametrize("engines", ALL_PAIRS)
@pytest.mark.parametrize("caller", [0, 1])
def test_a_delete_that_gives_way_to_a_child_is_on_record_at_every_site(
    make: Maker, engines: Engines, caller: int
) -> None:
    pair = make(SCHEMA, *engines)
    one, other = pair
    run(one, "INSERT INTO person (uuid) VALUES (?)", U1)
    run(one, "INSERT INTO drug VALUES ('x')")
    settle(one, other)
    run(one, "DELETE FROM person")
    run(one, "DELETE FROM drug")
    visit(other)
    run(other, "INSERT INTO dose (uuid, drug) VALUES (?, 'x')", U1)
    sync(pair[caller], pair[1 - caller])
    settle(one, other)
    found = [
        ("drug", "", Reference("dose", text_key("dose", U1))),
        ("person", "", Reference("visit", C1)),
    ]
    for site in pair:
        assert records(site) == found
        report = next(one for one in conflicts(site.settings) if one.table == "person")
        assert (report.column, report.lost) == (None, "(its delete)")
        assert report.kept == f"(the row, for visit:{U1})"
        assert report.done.startswith("the row stays, since a row that refers to it was written")
    run(one, "DELETE FROM visit")
    settle(one, other)
    assert run(other, "SELECT * FROM person") == []
    assert [table for table, _, _ in records(one)] == ["drug", "person"]


@pytest.mark.parametrize("engines", [("sqlite",) * 3])
def test_what_two_other_sites_bring_together_is_one_record(make: Maker, engines: Engines) -> None:
    """The third hears of the delete from one and of the child from the other, and so may they."""
    one, other, third = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid) VALUES (?)", U1)
    settle(one, other, third)
    run(one, "DELETE FROM person")
    visit(other)
    sync(third, one)
    assert records(third) == []
    sync(third, other)
    assert records(third) == records(other) == [("person", "", Reference("visit", C1))]
    sync(one, other)
    settle(one, other, third)
    assert records(one) == [("person", "", Reference("visit", C1))]


@pytest.mark.parametrize("engines", [("sqlite",) * 2])
def test_the_boss_of_a_deleted_person_who_is_held_is_held_and_named_too(
    make: Maker, engines: Engines
) -> None:
    one, other = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'boss')", U1)
    run(one, "INSERT INTO person (uuid, boss) VALUES (?, ?)", U2, person(one))
    settle(one, other)
    run(one, "DELETE FROM person WHERE uuid = ?", U2)
    run(one, "DELETE FROM person")
    visit(other, of=U2)
    settle(one, other)
    assert records(one) == [("person", "", Reference("visit", C1))] * 2


@pytest.mark.parametrize("engines", [("sqlite",) * 2])
def test_a_child_that_moves_or_is_edited_counts_and_one_known_to_the_deleter_does_not(
    make: Maker, engines: Engines
) -> None:
    one, other = make(SCHEMA, *engines)
    for uuid in (U1, U2, U3):
        run(one, "INSERT INTO person (uuid) VALUES (?)", uuid)
    visit(one, U1, of=U1)
    settle(one, other)
    run(one, "DELETE FROM person WHERE uuid = ?", U2)
    run(other, "UPDATE visit SET person = ?", person(other, U2))
    settle(one, other)
    assert records(one) == [("person", "", Reference("visit", C1))]
    # The child that is there keeps the row, and its next edit is nothing new.
    run(other, "UPDATE visit SET note = 'later'")
    settle(one, other)
    assert len(records(one)) == 1
    # A deleter who goes over foreign keys knew what he did.
    run(one, "UPDATE visit SET person = ?", person(one, U3))
    settle(one, other)
    run(one, "PRAGMA foreign_keys = OFF")
    run(one, "DELETE FROM person WHERE uuid = ?", U3)
    sync(one, other, check=False)
    assert list(other.held()) == [("person", None)]
    assert len(records(other)) == 1


@pytest.mark.parametrize("engines", [("sqlite",) * 3])
def test_each_of_two_deletes_that_give_way_is_named(make: Maker, engines: Engines) -> None:
    one, other, third = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid) VALUES (?)", U1)
    settle(one, other, third)
    run(one, "DELETE FROM person")
    run(third, "DELETE FROM person")
    visit(other)
    settle(one, other, third)
    with third.replica.database.read() as tx:
        found = [record.conflict for record in third.replica._load(tx).conflicts()]
    assert {conflict.loser.origin for conflict in found} == {one.origin, third.origin}
    assert {conflict.key for conflict in found} == {P1}
    assert content_key("person", U1) == P1
