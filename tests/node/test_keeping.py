"""Rows of tables that are not in a site's database: kept, passed on, written when they come."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from mariadb_sites import run
from processes import ProcessSite, eventually
from sites import Site, make_site, one_network, settle, sync

from syncnode.operations import status
from syncnode.operations.following import follow
from syncnode.operations.site import initialise, open_replica
from syncnode.settings.config import read_settings
from syncnode.store.keeping import count_kept
from syncproto.directions import EVERY_WAY

U1, U2, U3 = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")
PERSON = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, name VARCHAR(9))"
)
VISIT = (
    "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,"
    " person INTEGER NOT NULL REFERENCES person (id), note VARCHAR(20))"
)
STAY = (
    "CREATE TABLE stay (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,"
    " visit INTEGER NOT NULL REFERENCES visit (id), place VARCHAR(20))"
)
SEEN = "SELECT v.uuid, v.note, p.uuid FROM visit v JOIN person p ON p.id = v.person ORDER BY v.uuid"
Make = Callable[..., list[Site]]


@pytest.fixture
def make(tmp_path: Path):
    made: list[Site] = []

    def sites(*schemas: Sequence[str], **options: object) -> list[Site]:
        for schema in schemas:
            made.append(make_site(tmp_path, f"site{len(made)}", schema, **options))
        one_network(*made)
        return made

    yield sites
    for site in made:
        site.close()


def visit(site: Site, uuid: str, person: str, note: str) -> None:
    run(
        site,
        "INSERT INTO visit (uuid, person, note) SELECT ?, id, ? FROM person WHERE uuid = ?",
        *(uuid, note, person),
    )


def upgraded(site: Site, *statements: str) -> None:
    for statement in statements:
        run(site, statement)
    assert follow(site.replica, site.settings)


def kept(site: Site) -> dict[str, int]:
    with site.replica.database.read() as tx:
        return dict(count_kept(tx))


def test_rows_of_an_unknown_table_pass_through_and_stand_after_the_upgrade(make: Make) -> None:
    one, middle, far = make((PERSON, VISIT), (PERSON,), (PERSON, VISIT))
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    visit(one, U2, U1, "first")
    sync(one, middle)
    sync(middle, far)
    assert run(far, SEEN) == [(U2, "first", U1)]
    assert kept(middle) == {"visit": 1}
    # Back the other way: an edit, a delete, and a row of the far one's own.
    visit(far, U3, U1, "second")
    run(far, "UPDATE visit SET note = 'again' WHERE uuid = ?", U2)
    sync(middle, far)
    sync(one, middle)
    assert run(one, SEEN) == [(U2, "again", U1), (U3, "second", U1)]
    run(one, "DELETE FROM visit WHERE uuid = ?", U2)
    sync(one, middle)
    sync(far, middle)
    assert run(far, SEEN) == [(U3, "second", U1)]
    assert one.state() == middle.state() == far.state()
    assert [note for note in status(middle.settings).notes if "2 rows of visit are kept" in note]
    upgraded(middle, VISIT)
    assert kept(middle) == {}
    assert run(middle, SEEN) == [(U3, "second", U1)]
    settle(one, middle, far)
    assert one.state() == middle.state() == far.state()
    assert not [note for note in status(middle.settings).notes if "kept" in note]


def test_what_two_sites_wrote_apart_is_on_record_at_the_one_between_them(make: Make) -> None:
    one, middle, far = make((PERSON, VISIT), (PERSON,), (PERSON, VISIT))
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    visit(one, U2, U1, "first")
    sync(one, middle)
    sync(middle, far)
    run(one, "UPDATE visit SET note = 'here'")
    run(far, "UPDATE visit SET note = 'there'")
    sync(one, middle)
    sync(far, middle)
    assert [conflict[:2] for conflict in middle.conflicts()] == [("visit", "note")]
    sync(one, middle)
    assert run(one, SEEN) == run(far, SEEN)
    assert run(one, SEEN) in ([(U2, "here", U1)], [(U2, "there", U1)])  # perhaps in one millisecond
    assert one.conflict_names() == middle.conflict_names() == far.conflict_names()


def test_they_are_written_though_nobody_is_left_who_has_them(make: Make) -> None:
    one, middle = make((PERSON, VISIT, STAY), (PERSON,))
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    visit(one, U2, U1, "first")
    run(one, "INSERT INTO stay (uuid, visit, place) SELECT ?, id, 'Musha' FROM visit", U3)
    sync(one, middle)
    upgraded(middle, VISIT)  # one module now, the other a month later
    assert kept(middle) == {"stay": 1}
    upgraded(middle, STAY)
    assert run(middle, SEEN) == [(U2, "first", U1)]
    assert run(middle, "SELECT s.place, v.uuid FROM stay s JOIN visit v ON v.id = s.visit") == [
        ("Musha", U2)
    ]
    assert one.state() == middle.state()
    done = sync(one, middle)
    assert (done.sent, done.received) == (0, 0)  # they are claimed
    settle(one, middle)


def test_what_a_migration_put_there_gives_way_and_is_on_record(make: Make) -> None:
    one, other = make((PERSON, VISIT), (PERSON,))
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    for uuid in (U2, U3):
        visit(one, uuid, U1, "entered")
    settle(one, other)
    seed = "INSERT INTO visit (uuid, person, note) SELECT '{}', id, '{}' FROM person"
    upgraded(other, VISIT, seed.format(U2, "seed"), seed.format(U3, "entered"))
    assert run(other, SEEN) == [(U2, "entered", U1), (U3, "entered", U1)]
    settle(one, other)
    assert [conflict[2:] for conflict in one.conflicts()] == [("entered", "seed")]


def test_a_row_whose_parent_never_came_is_parked_when_its_table_comes(make: Make) -> None:
    one, other = make((PERSON, VISIT), (PERSON,))
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    visit(one, U2, U1, "first")
    settle(one, other)
    run(one, "PRAGMA foreign_keys = OFF")
    run(one, "INSERT INTO visit (uuid, person, note) VALUES (?, 99, 'lost')", U3)
    settle(one, other, check=False)
    upgraded(other, VISIT)
    assert run(other, SEEN) == [(U2, "first", U1)]
    assert list(other.parked()) == [("visit", "missing parent")]


def test_a_value_from_the_future_waits_there_too_and_is_not_forgotten(make: Make) -> None:
    clock = {"ms": 1_790_000_000_000}
    (one,) = make((PERSON, VISIT), wall_ms=lambda: clock["ms"] + 86_400_000)
    _, other = make((PERSON,), wall_ms=lambda: clock["ms"])
    (_, _, third) = make((PERSON, VISIT), wall_ms=lambda: clock["ms"])
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    visit(one, U2, U1, "tomorrow")
    run(one, "UPDATE syncnode_journal SET ms = ?", clock["ms"] + 86_400_000)
    sync(one, other)
    assert kept(other) == {}
    sync(other, third)
    clock["ms"] += 90_000_000
    for site in (other, third):
        site.replica.seal()
    assert kept(other) == {"visit": 1}
    sync(other, third)
    assert run(third, SEEN) == [(U2, "tomorrow", U1)]
    assert other.state() == third.state()


def test_a_site_that_lost_a_table_keeps_what_it_once_wrote_to_it(make: Make) -> None:
    one, other = make((PERSON, VISIT), (PERSON, VISIT))
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    settle(one, other)
    visit(other, U2, U1, "first")
    settle(one, other)
    other.uninstall()
    run(other, "DROP TABLE visit")
    initialise(other.settings, dry_run=False, progress=lambda _: None)
    other.replica = open_replica(other.settings)
    one_network(one, other)
    settle(one, other)
    assert kept(other) == {"visit": 1}
    other.replica.renew(other.origin.incarnation + 1, 0)
    settle(one, other)
    upgraded(other, VISIT)
    assert run(other, SEEN) == [(U2, "first", U1)]
    settle(one, other)
    assert one.state() == other.state()


def test_a_table_that_was_left_out_by_choice_is_not_kept(make: Make, tmp_path: Path) -> None:
    one, _ = make((PERSON, VISIT), (PERSON,))
    other = make_site(tmp_path, "chosen", (PERSON, VISIT), exclude=("visit",))
    one_network(one, other)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    visit(one, U2, U1, "first")
    settle(one, other)
    assert kept(other) == {}
    assert other.replica.standing(other.id).frontier.scopes == {"person"}
    other.close()


def test_the_settings_may_say_that_nothing_of_the_kind_is_kept(make: Make) -> None:
    one, other = make((PERSON, VISIT), (PERSON,))
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    visit(one, U2, U1, "first")
    settle(one, other)
    assert kept(other) == {"visit": 1}
    with other.replica.database.write() as tx:
        tx.execute(
            "INSERT INTO syncnode_peer (site, name, role, url, public_key, counter, trouble, "
            "skew_ms) VALUES (?, 'one', 'parent', '', x'00', 0, '', 0)",
            (one.id,),
        )
    other.replica.heard(one.id, one.replica.standing(other.id).frontier, EVERY_WAY)
    other.replica.flush()
    written = other.settings.path.read_text()
    for line, scopes in (("false", {"person"}), ("true", {"person", "visit"})):
        other.settings.path.write_text(f"{written}\n[tables]\npass_on = {line}\n")
        other.replica.database.close()
        other.replica = open_replica(read_settings(other.settings.path))
        settle(one, other)
        assert other.replica.standing(other.id).frontier.scopes == scopes
        assert set(kept(other)) == scopes - {"person"}
    assert one.state() == other.state()


def test_who_is_behind_is_told_by_status_at_the_others(tmp_path: Path) -> None:
    parent, child = ProcessSite(tmp_path, "kigali"), ProcessSite(tmp_path, "butaro", listens=False)
    try:
        for site in (parent, child):
            site.init()
        parent.start()
        parent.admit(child)
        parent.sql("CREATE TABLE ward (name VARCHAR(20) PRIMARY KEY)")
        parent.sql("INSERT INTO ward VALUES ('maternity')")
        eventually(lambda: "1 row of ward is kept" in notes(child, "sync"))
        eventually(lambda: "butaro has no table ward yet" in notes(parent))
        child.sql("CREATE TABLE ward (name VARCHAR(20) PRIMARY KEY)")
        eventually(lambda: "ward" not in notes(child, "sync"))
        assert child.sql("SELECT name FROM ward") == [("maternity",)]
        eventually(lambda: "no table ward" not in notes(parent))
    finally:
        for site in (parent, child):
            site.close()


def notes(site: ProcessSite, *first: str) -> str:
    if first:
        site.command(*first)
    return "; ".join(site.report("status")["notes"])
