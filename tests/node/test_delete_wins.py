"""Tables in which deletes win, and what comes back with a row that does not stay deleted."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mariadb_sites import ALL_PAIRS, Maker, maker, run, servers_of
from sites import Site, settle, sync

from syncnode.operations import conflicts
from syncnode.operations.deciding import take
from syncnode.schema.plan import DeleteRule
from syncnode.store.sidecar import Sidecar
from syncproto.row import Stamp

Engines = tuple[str, ...]
U1, U2, U3 = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")

SCHEMA = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " name VARCHAR(20), town VARCHAR(20))",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " person INTEGER NOT NULL, note VARCHAR(20), FOREIGN KEY (person) REFERENCES person (id))",
    "CREATE TABLE mark (label VARCHAR(20), weight INTEGER)",
)
PERSON = "SELECT uuid, name, town FROM person ORDER BY uuid"


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    engines = request.node.callspec.params["engines"] if hasattr(request.node, "callspec") else ()
    yield from maker(tmp_path, *servers_of(request, engines))


def sites(make: Maker, engines: Engines, rule: DeleteRule = "delete-wins") -> list[Site]:
    made = make(SCHEMA, *engines)
    for site in made:
        plan = site.replica.plan
        changed = replace(plan, tables=tuple(replace(t, deletes=rule) for t in plan.tables))
        with site.replica.database.write() as tx:
            tx.execute(
                f"UPDATE syncnode_setting SET value={tx.mark} WHERE name='plan'",
                (changed.to_json(),),
            )
        site.reopen()
    return list(made)


def seen_by_all(one: Site, *others: Site) -> None:
    run(one, "INSERT INTO person (uuid, name, town) VALUES (?, 'Ada', 'Musha')", U1)
    settle(one, *others)


def stamps(site: Site) -> list[tuple[Stamp, Stamp]]:
    """(who won, who lost) of what is on record."""
    with site.replica.database.read() as tx:
        found = Sidecar.load(tx, site.replica.plan).conflicts()
        return [(record.conflict.winner, record.conflict.loser) for record in found]


def number(site: Site, uuid: str = U1) -> int:
    ((found,),) = run(site, "SELECT id FROM person WHERE uuid = ?", uuid)
    return int(found)


@pytest.mark.parametrize("engines", ALL_PAIRS)
@pytest.mark.parametrize("caller", [0, 1])
def test_a_delete_that_wins_kills_an_unseen_edit_and_both_sites_have_it_on_record(
    make: Maker, engines: Engines, caller: int
) -> None:
    pair = sites(make, engines)
    one, other = pair
    seen_by_all(one, other)
    run(one, "DELETE FROM person")
    run(other, "UPDATE person SET name = 'Eve', town = NULL")
    sync(pair[caller], pair[1 - caller])
    settle(one, other)
    for site in pair:
        assert run(site, PERSON) == []
        found = sorted(conflicts(site.settings), key=lambda report: report.column or "")
        assert [(c.column, c.kept, c.lost) for c in found] == [
            ("name", "(its delete)", "Eve"),
            ("town", "(its delete)", None),
        ]
        named = {(winner.origin.site, loser.origin.site) for winner, loser in stamps(site)}
        assert named == {(one.id, other.id)}


@pytest.mark.parametrize("engines", [("sqlite",) * 3])
def test_an_edit_that_three_sites_hear_of_in_any_order_is_killed_alike(
    make: Maker, engines: Engines
) -> None:
    one, other, third = sites(make, engines)
    seen_by_all(one, other, third)
    run(one, "DELETE FROM person")
    run(other, "UPDATE person SET name = 'Eve'")
    sync(third, other)
    assert run(third, PERSON) == [(U1, "Eve", "Musha")]
    sync(third, one)
    settle(one, other, third)
    assert run(third, PERSON) == []
    assert len(third.conflicts()) == 1


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_who_inserts_the_row_again_after_seeing_it_deleted_has_it_back_everywhere(
    make: Maker, engines: Engines
) -> None:
    one, other = sites(make, engines)
    seen_by_all(one, other)
    run(one, "DELETE FROM person")
    settle(one, other)
    run(other, "INSERT INTO person (uuid, name, town) VALUES (?, 'Ada', 'Rwinkwavu')", U1)
    settle(one, other)
    assert run(one, PERSON) == run(other, PERSON) == [(U1, "Ada", "Rwinkwavu")]
    assert one.conflicts() == other.conflicts() == []
    run(one, "DELETE FROM person")
    settle(one, other)
    assert run(other, PERSON) == []


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_a_replaced_row_is_no_deleted_row(make: Maker, engines: Engines) -> None:
    """Deleted and inserted between two seals: an edit, which an unseen edit outlives."""
    one, other = sites(make, engines)
    seen_by_all(one, other)
    run(one, "DELETE FROM person")
    run(one, "INSERT INTO person (uuid, name, town) VALUES (?, 'Ada', 'Rwinkwavu')", U1)
    run(other, "UPDATE person SET name = 'Eve'")
    settle(one, other)
    assert run(one, PERSON) == run(other, PERSON) == [(U1, "Eve", "Rwinkwavu")]


@pytest.mark.parametrize("engines", ALL_PAIRS)
@pytest.mark.parametrize("rule", ["update-revives", "delete-wins"])
def test_a_deleted_row_to_which_others_refer_stays_until_they_go(
    make: Maker, engines: Engines, rule: DeleteRule
) -> None:
    one, other = sites(make, engines, rule)
    seen_by_all(one, other)
    run(one, "DELETE FROM person")
    run(other, "INSERT INTO visit (uuid, person) VALUES (?, ?)", U1, number(other))
    settle(one, other)
    for site in (one, other):
        assert run(site, PERSON) == [(U1, "Ada", "Musha")]
        assert list(site.held()) == [("person", None)]
        assert [(table, column) for table, column, _, _ in site.conflicts()] == [("person", "")]
    run(one, "DELETE FROM visit")
    settle(one, other)
    assert run(one, PERSON) == run(other, PERSON) == []


@pytest.mark.parametrize("engines", ALL_PAIRS)
@pytest.mark.parametrize("rule", ["update-revives", "delete-wins"])
def test_a_held_row_that_somebody_writes_again_needs_nobody_to_hold_it(
    make: Maker, engines: Engines, rule: DeleteRule
) -> None:
    one, other = sites(make, engines, rule)
    seen_by_all(one, other)
    run(one, "DELETE FROM person")
    run(other, "INSERT INTO visit (uuid, person) VALUES (?, ?)", U1, number(other))
    settle(one, other)
    run(one, "UPDATE person SET town = 'Kigali'")
    settle(one, other)
    assert [*one.held(), *other.held()] == []
    run(other, "DELETE FROM visit")
    settle(one, other)
    assert run(one, PERSON) == run(other, PERSON) == [(U1, "Ada", "Kigali")]


@pytest.mark.parametrize("engines", [("sqlite",) * 2])
def test_equal_rows_without_a_key_may_be_deleted_and_written_again(
    make: Maker, engines: Engines
) -> None:
    one, other = sites(make, engines)
    run(one, "INSERT INTO mark VALUES ('a', 1), ('a', 1)")
    settle(one, other)
    run(one, "DELETE FROM mark")
    settle(one, other)
    assert run(other, "SELECT * FROM mark") == []
    run(other, "INSERT INTO mark VALUES ('a', 1)")
    settle(one, other)
    assert run(one, "SELECT * FROM mark") == [("a", 1)]


# What comes back


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_a_row_that_revives_comes_back_whole_and_under_its_old_local_key(
    make: Maker, engines: Engines
) -> None:
    one, other = sites(make, engines, "update-revives")
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Bob')", U2)
    seen_by_all(one, other)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Cy')", U3)
    settle(one, other)
    before = number(one)
    run(one, "DELETE FROM person WHERE uuid = ?", U1)
    run(other, "UPDATE person SET name = 'Eve' WHERE uuid = ?", U1)
    settle(one, other)
    assert number(one) == before
    for site in (one, other):
        assert run(site, PERSON)[0] == (U1, "Eve", "Musha")


@pytest.mark.parametrize("engines", [("sqlite",) * 2])
def test_a_local_key_that_another_row_has_by_now_is_not_taken_from_it(
    make: Maker, engines: Engines
) -> None:
    one, other = sites(make, engines, "update-revives")
    seen_by_all(one, other)
    before = number(one)
    run(one, "DELETE FROM person")
    one.replica.seal()
    run(one, "INSERT INTO person (id, uuid, name) VALUES (?, ?, 'Bob')", before, U2)
    run(other, "UPDATE person SET name = 'Eve'")
    settle(one, other)
    assert number(one, U2) == before
    assert number(one, U1) != before


@pytest.mark.parametrize("engines", [("sqlite",) * 2])
def test_an_old_local_key_is_not_given_to_two_rows_of_one_delta(
    make: Maker, engines: Engines
) -> None:
    """It is the next free number, too, which new rows of the same delta are given."""
    one, other = sites(make, engines, "update-revives")
    seen_by_all(one, other)
    run(one, "DELETE FROM person")
    run(other, "UPDATE person SET name = 'Eve'")
    run(other, "INSERT INTO person (uuid, name) VALUES (?, 'Bob')", U2)
    settle(one, other)
    assert run(one, PERSON) == [(U1, "Eve", "Musha"), (U2, "Bob", None)]


@pytest.mark.parametrize("engines", [("sqlite",) * 3])
@pytest.mark.parametrize("rule", ["update-revives", "delete-wins"])
def test_a_site_that_was_away_does_not_bring_the_dead_back(
    make: Maker, engines: Engines, rule: DeleteRule
) -> None:
    one, other, away = sites(make, engines, rule)
    seen_by_all(one, other, away)
    run(one, "DELETE FROM person")
    settle(one, other)
    run(away, "INSERT INTO person (uuid, name) VALUES (?, 'Bob')", U2)
    sync(away, other)
    settle(one, other, away)
    for site in (one, other, away):
        assert run(site, PERSON) == [(U2, "Bob", None)]


@pytest.mark.parametrize("engines", [("sqlite",) * 2])
def test_a_value_that_a_delete_killed_can_be_taken(make: Maker, engines: Engines) -> None:
    one, other = sites(make, engines)
    seen_by_all(one, other)
    run(one, "DELETE FROM person")
    run(other, "UPDATE person SET name = 'Eve'")
    settle(one, other)
    (found,) = conflicts(other.settings)
    assert take(other.settings, found.id, force=False).taken
    settle(one, other)
    assert run(one, PERSON) == run(other, PERSON) == [(U1, "Eve", "Musha")]
    assert conflicts(one.settings) == conflicts(other.settings) == []


@pytest.mark.parametrize("engines", [("sqlite",) * 2])
@pytest.mark.parametrize("caller", [0, 1])
def test_an_edit_gives_way_to_the_delete_and_not_to_what_the_deleter_wrote_before(
    make: Maker, engines: Engines, caller: int
) -> None:
    """That value is later by the clock, and gone with the row."""
    pair = sites(make, engines)
    one, other = pair
    seen_by_all(one, other)
    run(other, "UPDATE person SET name = 'Eve'")
    other.replica.seal()
    time.sleep(0.003)
    run(one, "UPDATE person SET name = 'Ann'")
    one.replica.seal()
    run(one, "DELETE FROM person")
    sync(pair[caller], pair[1 - caller])
    settle(one, other)
    for site in pair:
        assert run(site, PERSON) == []
        (found,) = conflicts(site.settings)
        assert (found.column, found.kept, found.lost) == ("name", "(its delete)", "Eve")
        assert found.done.startswith("the row stays deleted")
    assert take(one.settings, found.id, force=False).taken
    settle(one, other)
    assert run(one, PERSON) == run(other, PERSON) == [(U1, "Eve", "Musha")]


@pytest.mark.parametrize("engines", [("sqlite",) * 2])
def test_a_value_that_stayed_until_its_row_was_deleted_is_told_so(
    make: Maker, engines: Engines
) -> None:
    one, other = sites(make, engines)
    seen_by_all(one, other)
    run(other, "UPDATE person SET name = 'Eve'")
    other.replica.seal()
    time.sleep(0.003)
    run(one, "UPDATE person SET name = 'Ann'")
    settle(one, other)
    run(one, "DELETE FROM person")
    settle(one, other)
    for site in (one, other):
        (found,) = conflicts(site.settings)
        assert (found.kept, found.lost) == ("Ann", "Eve")
        assert found.done.startswith("the later write stayed until the row was deleted")
    assert take(other.settings, found.id, force=False).taken
    settle(one, other)
    assert run(one, PERSON) == run(other, PERSON) == [(U1, "Eve", "Musha")]
