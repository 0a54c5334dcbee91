"""The application changes its schema while sites are apart: each site's plan follows by itself."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from mariadb_sites import COUNTERS, Maker, another, maker, run, servers_of
from sites import Site, settle, sync

from syncnode.operations import following, recapturing, status
from syncnode.operations.following import follow
from syncnode.operations.site import open_replica
from syncnode.schema.plan import DeleteRule
from syncproto.errors import StoreError

Engines = tuple[str, ...]
PAIRS = [("sqlite", "sqlite"), ("mysql", "sqlite"), ("sqlite", "mysql"), ("postgresql", "sqlite")]
U1, U2, U3 = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")

SCHEMA = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " name VARCHAR(5))",
    "CREATE TABLE mark (label VARCHAR(20), weight INTEGER)",
)
VISIT = (
    "CREATE TABLE visit (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " person INTEGER NOT NULL, note VARCHAR(20), FOREIGN KEY (person) REFERENCES person (id))"
)
EMAIL = "ALTER TABLE person ADD COLUMN email VARCHAR(20) NOT NULL DEFAULT 'none'"
TOWN = "ALTER TABLE person ADD COLUMN town VARCHAR(20)"
ALL = "SELECT uuid, name, email FROM person ORDER BY uuid"


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    engines = request.node.callspec.params["engines"] if hasattr(request.node, "callspec") else ()
    yield from maker(tmp_path, *servers_of(request, engines))


def upgraded(site: Site, *statements: str) -> None:
    """The application's own migration, and what a running node does about it."""
    for statement in statements:
        run(site, fitting(site, statement))
    assert follow(site.replica, site.settings)
    assert not follow(site.replica, site.settings)


def fitting(site: Site, statement: str) -> str:
    return statement.replace("{auto}", COUNTERS.get(site.replica.database.dialect.name, ""))


def altered(site: Site) -> list[tuple[Any, ...]]:
    return [tuple(line) for line in site.altered()]


@pytest.mark.parametrize("engines", PAIRS)
def test_a_new_column_with_a_default_replicates_nothing_and_a_real_write_does(
    make: Maker, engines: Engines
) -> None:
    one, other = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    run(other, "INSERT INTO person (uuid, name) VALUES (?, 'Bob')", U2)
    settle(one, other)
    before = one.state(), other.state()
    upgraded(one, EMAIL)
    assert one.state() == before[0]
    settle(one, other)
    assert (one.state(), other.state()) == before
    assert altered(other) == []
    # Rows known before, edited and deleted, while only one site has the column.
    run(one, "UPDATE person SET email = 'ada@x' WHERE uuid = ?", U1)
    run(other, "UPDATE person SET name = 'Eve' WHERE uuid = ?", U1)
    run(one, "INSERT INTO person (uuid, name, email) VALUES (?, 'Cy', 'cy@x')", U3)
    settle(one, other)
    assert run(one, ALL) == [(U1, "Eve", "ada@x"), (U2, "Bob", "none"), (U3, "Cy", "cy@x")]
    assert run(other, "SELECT uuid, name FROM person ORDER BY uuid") == [
        (U1, "Eve"), (U2, "Bob"), (U3, "Cy"),
    ]  # fmt: skip
    assert altered(other) == [("person", "unknown column")] * 2
    assert list(other.parked()) == []
    # What is edited there keeps the cell that it does not know.
    run(other, "UPDATE person SET name = 'Cyd' WHERE uuid = ?", U3)
    settle(one, other)
    assert run(one, ALL)[2] == (U3, "Cyd", "cy@x")
    upgraded(other, EMAIL)
    settle(one, other)
    assert run(other, ALL) == run(one, ALL)
    assert altered(other) == []
    assert one.conflicts() == other.conflicts() == []
    run(other, "DELETE FROM person WHERE uuid = ?", U1)
    run(other, "UPDATE person SET email = 'bob@x' WHERE uuid = ?", U2)
    settle(one, other)
    assert run(one, ALL) == run(other, ALL) == [(U2, "Bob", "bob@x"), (U3, "Cyd", "cy@x")]


@pytest.mark.parametrize("engines", [("sqlite", "sqlite", "sqlite")])
def test_cells_that_a_site_in_the_middle_does_not_know_pass_through_it(
    make: Maker, engines: Engines
) -> None:
    one, middle, far = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    settle(one, middle, far)
    upgraded(one, EMAIL)
    upgraded(far, EMAIL)
    run(one, "UPDATE person SET email = 'ada@x'")
    sync(one, middle)
    sync(middle, far)
    assert run(far, ALL) == [(U1, "Ada", "ada@x")]
    run(far, "DELETE FROM person")
    sync(far, middle)
    sync(middle, one)
    assert run(one, ALL) == run(middle, "SELECT * FROM person") == []


@pytest.mark.parametrize("engines", PAIRS)
def test_what_was_written_before_the_column_was_noticed_is_not_lost(
    make: Maker, engines: Engines
) -> None:
    one, other = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Bob')", U2)
    settle(one, other)
    upgraded(
        one,
        EMAIL,
        f"UPDATE person SET email = 'ada@x' WHERE uuid = '{U1}'",
        f"INSERT INTO person (uuid, name, email) VALUES ('{U3}', 'Cy', 'cy@x')",
    )
    upgraded(other, EMAIL)
    settle(one, other)
    assert run(other, ALL) == [(U1, "Ada", "ada@x"), (U2, "Bob", "none"), (U3, "Cy", "cy@x")]


@pytest.mark.parametrize("engines", PAIRS)
def test_a_migration_that_fills_the_column_at_every_site_loses_to_a_real_edit(
    make: Maker, engines: Engines
) -> None:
    """Rule B6: each site computes the same value; nobody's later edit is undone by it."""
    one, other = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    settle(one, other)
    fill = "UPDATE person SET email = 'at-home'"
    upgraded(one, EMAIL)
    run(one, "UPDATE person SET email = 'ada@x'")
    one.replica.seal()
    upgraded(other, EMAIL, fill)
    settle(one, other)
    assert run(one, ALL) == run(other, ALL) == [(U1, "Ada", "ada@x")]


@pytest.mark.parametrize("engines", [*PAIRS, ("sqlite", "postgresql")])
def test_a_new_table_is_taken_up_and_brings_what_others_wrote_to_it(
    make: Maker, engines: Engines
) -> None:
    one, other = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    settle(one, other)
    upgraded(one, VISIT)
    ((number,),) = run(one, "SELECT id FROM person")
    run(one, "INSERT INTO visit (uuid, person, note) VALUES (?, ?, 'first')", U1, number)
    settle(one, other)  # the other has no such table, and both are content
    upgraded(other, VISIT)
    settle(one, other)
    assert run(other, "SELECT uuid, note FROM visit") == [(U1, "first")]
    run(other, "UPDATE visit SET note = 'second'")
    settle(one, other)
    assert run(one, "SELECT uuid, note FROM visit") == [(U1, "second")]


@pytest.mark.parametrize("engines", PAIRS)
def test_rows_that_stood_in_a_new_table_before_it_was_noticed_take_part(
    make: Maker, engines: Engines
) -> None:
    one, other = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    settle(one, other)
    visit = f"INSERT INTO visit (uuid, person, note) SELECT '{U2}', id, 'seed' FROM person"
    upgraded(one, VISIT, visit)
    upgraded(other, VISIT, visit)
    settle(one, other)
    for site in (one, other):
        assert run(site, "SELECT uuid, note FROM visit") == [(U2, "seed")]
        assert list(site.conflicts()) == []


@pytest.mark.parametrize(
    "engines", [("mysql", "mysql"), ("mysql", "sqlite"), ("postgresql", "sqlite")]
)
def test_a_wider_column_takes_what_did_not_fit(make: Maker, engines: Engines) -> None:
    one, other = make(SCHEMA, *engines)
    verb = "ALTER COLUMN name TYPE" if engines[0] == "postgresql" else "MODIFY name"
    wide = f"ALTER TABLE person {verb} VARCHAR(40)"
    if engines[1] == "sqlite":
        run(other, "INSERT INTO person (uuid, name) VALUES (?, 'Adelheid')", U1)
    else:
        upgraded(other, wide)
        run(other, "INSERT INTO person (uuid, name) VALUES (?, 'Adelheid')", U1)
    settle(one, other)
    assert list(one.parked()) == [("person", "type does not fit")]
    upgraded(one, wide)
    assert list(one.parked()) == []
    settle(one, other)
    assert run(one, "SELECT name FROM person") == [("Adelheid",)]
    run(one, "DELETE FROM person")  # its image is as wide
    settle(one, other)
    assert run(other, "SELECT name FROM person") == []


@pytest.mark.parametrize(
    "engines", [("mysql", "mysql"), ("mysql", "sqlite"), ("postgresql", "sqlite")]
)
def test_a_column_that_went_is_let_go_of_here_and_stays_elsewhere(
    make: Maker, engines: Engines
) -> None:
    one, other = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Bob')", U2)
    settle(one, other)
    run(one, "UPDATE person SET name = 'Eve' WHERE uuid = ?", U1)
    settle(one, other)
    upgraded(one, "ALTER TABLE person DROP COLUMN name")
    run(one, "INSERT INTO person (uuid) VALUES (?)", U3)
    run(other, "UPDATE person SET name = 'Cy' WHERE uuid = ?", U2)
    for _ in range(2):
        sync(one, other)
        sync(other, one)
    assert run(other, "SELECT uuid, name FROM person ORDER BY uuid") == [
        (U1, "Eve"), (U2, "Cy"), (U3, None),
    ]  # fmt: skip
    assert altered(one) == [("person", "unknown column")]
    run(one, "DELETE FROM person WHERE uuid = ?", U2)
    sync(one, other)
    assert run(other, "SELECT uuid FROM person ORDER BY uuid") == [(U1,), (U3,)]


@pytest.mark.parametrize("engines", [("sqlite",)])
def test_a_table_whose_rows_are_known_by_all_their_columns_is_named(
    make: Maker, engines: Engines
) -> None:
    (one,) = make(SCHEMA, *engines)
    run(one, "ALTER TABLE mark ADD COLUMN colour TEXT")
    assert not follow(one.replica, one.settings)
    assert [note for note in status(one.settings).notes if "known by all" in note]


@pytest.mark.parametrize("engines", [("sqlite",), ("mysql",), ("postgresql",)])
def test_commands_follow_before_they_do_anything(make: Maker, engines: Engines) -> None:
    (one,) = make(SCHEMA, *engines)
    run(one, EMAIL)
    run(one, fitting(one, VISIT))
    assert [note for note in status(one.settings).notes if "came after `init`" in note]
    replica = open_replica(one.settings)
    assert {"visit", "person", "mark"} == replica.plan.by_name.keys()
    assert "email" in {column.name for column in replica.plan.by_name["person"].columns}
    replica.close()
    assert not [note for note in status(one.settings).notes if "came after `init`" in note]


@pytest.mark.parametrize(
    "engines", [("sqlite", "sqlite"), ("mysql", "sqlite"), ("postgresql", "sqlite")]
)
def test_what_breaks_off_half_way_is_done_again(
    make: Maker, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    settle(one, other)
    for statement in (EMAIL, VISIT):
        run(one, fitting(one, statement))
    for broken in ("_mark_absent", "_take_written", "_show_unknown"):
        with monkeypatch.context() as patch:
            patch.setattr(following, broken, _ended)
            with pytest.raises(KeyboardInterrupt):
                follow(one.replica, one.settings)
        # The application works on, whatever is there of triggers, images and columns.
        run(one, "UPDATE person SET email = ?, name = 'Eve'", broken)
        run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Bob')", U2)
        run(one, "DELETE FROM person WHERE uuid = ?", U2)
    follow(one.replica, one.settings)
    upgraded(other, EMAIL, VISIT)
    settle(one, other)
    assert run(one, ALL) == run(other, ALL) == [(U1, "Eve", "_show_unknown")]


def _ended(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("engines", [("postgresql", "sqlite")])
def test_defaults_of_many_kinds_are_told_from_what_was_written(
    make: Maker, engines: Engines
) -> None:
    one, other = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Bob')", U2)
    settle(one, other)
    before = one.state()
    columns = (
        "a NUMERIC(8,2) DEFAULT 0", "b JSON DEFAULT '{}'", "c CHAR(5) DEFAULT 'x'",
        "d INTEGER DEFAULT -1", "e VARCHAR(20) DEFAULT 'none (yet)'", "f BOOLEAN DEFAULT false",
        "g TIMESTAMP DEFAULT now()", "h DATE DEFAULT '2020-01-01'", "i JSONB",
        "j INTEGER[] DEFAULT '{1,2}'",
    )  # fmt: skip
    added = [f"ALTER TABLE person ADD COLUMN {column}" for column in columns]
    written = "UPDATE person SET a = 1, b = '[]', d = 7, e = 'set', i = '[1]', j = '{3}'"
    upgraded(one, *added, f"{written} WHERE uuid = '{U1}'")
    now = one.state()
    (changed,) = [place for place in now if now[place] != before[place]]
    assert now[changed].cells.keys() - before[changed].cells.keys() == set("abdeij")
    run(one, "DELETE FROM person")  # its image has all types
    settle(one, other)
    assert run(other, "SELECT uuid FROM person") == []


@pytest.mark.parametrize("engines", [("postgresql", "sqlite")])
def test_a_transaction_that_is_open_while_the_schema_changes_loses_nothing(
    make: Maker, engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan waits for who writes to the table, and gives way to whom it would hold up."""
    one, other = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    settle(one, other)
    run(one, EMAIL)
    slow = another(one, autocommit=False)
    slow.execute("UPDATE person SET name = 'Eve', email = 'eve@x'")
    monkeypatch.setattr(recapturing, "LOCK_WAIT_S", 0.0)
    with pytest.raises(StoreError, match="busy"):
        follow(one.replica, one.settings)
    slow.commit()
    slow.close()
    follow(one.replica, one.settings)
    upgraded(other, EMAIL)
    settle(one, other)
    assert run(one, ALL) == run(other, ALL) == [(U1, "Eve", "eve@x")]


@pytest.mark.parametrize("engines", [("postgresql",)])
def test_in_a_deadlock_with_the_application_it_is_never_the_application_that_is_killed(
    make: Maker, engines: Engines
) -> None:
    """Rule A12: both hold one of the changed tables and want the other."""
    (one,) = make((*SCHEMA, VISIT), *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    run(one, "INSERT INTO visit (uuid, person) SELECT ?, id FROM person", U1)
    run(one, EMAIL)
    run(one, EMAIL.replace("person", "visit"))
    slow = another(one, autocommit=False)
    slow.execute("UPDATE visit SET note = 'held'")
    with ThreadPoolExecutor(1) as beside:
        following_on = beside.submit(follow, one.replica, one.settings)
        waiting = "SELECT 1 FROM pg_locks WHERE relation='visit'::regclass AND NOT granted"
        deadline_s = time.monotonic() + 20
        while not run(one, waiting) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        slow.execute("UPDATE person SET name = 'Eve'")
        slow.commit()
        assert following_on.result(timeout=60)
    slow.close()
    assert run(one, "SELECT name, email FROM person") == [("Eve", "none")]


@pytest.mark.parametrize("engines", [("sqlite", "sqlite")])
def test_a_row_inserted_again_keeps_the_cells_that_are_unknown_here(
    make: Maker, engines: Engines
) -> None:
    one, other = make(SCHEMA, *engines)
    upgraded(one, EMAIL)
    run(one, "INSERT INTO person (uuid, name, email) VALUES (?, 'Ada', 'ada@x')", U1)
    settle(one, other)
    run(other, "DELETE FROM person")
    settle(one, other)
    run(other, "INSERT INTO person (uuid, name) VALUES (?, 'Eve')", U1)
    settle(one, other)
    assert altered(other) == [("person", "unknown column")]
    assert run(one, ALL) == [(U1, "Eve", "ada@x")]


@pytest.mark.parametrize("engines", [("sqlite", "sqlite")])
def test_a_migration_fills_a_column_also_in_rows_with_other_unknown_cells(
    make: Maker, engines: Engines
) -> None:
    one, other = make(SCHEMA, *engines)
    run(one, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", U1)
    settle(one, other)
    upgraded(one, EMAIL, TOWN)
    run(one, "UPDATE person SET town = 'Musha'")
    settle(one, other)
    upgraded(other, EMAIL, "UPDATE person SET email = 'at-home'")
    settle(one, other)
    assert altered(other) == [("person", "unknown column")]
    assert run(one, ALL) == run(other, ALL) == [(U1, "Ada", "at-home")]
    upgraded(other, TOWN)
    assert run(other, "SELECT town FROM person") == [("Musha",)]


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("engines", [("sqlite",) * 3])
def test_sites_of_mixed_versions_come_to_the_same_rows(
    make: Maker, engines: Engines, seed: int
) -> None:
    sites = make(SCHEMA, *engines)
    if seed % 2:
        for site in sites:
            set_deletes(site, "delete-wins")
    Mixed(sites, Random(seed)).play(90)
    settle(*sites)
    for query in (
        "SELECT uuid, name, email, town FROM person ORDER BY uuid",
        "SELECT v.uuid, v.note, p.uuid FROM visit v JOIN person p ON p.id = v.person "
        "ORDER BY v.uuid",
    ):
        assert run(sites[0], query) == run(sites[1], query) == run(sites[2], query)
    assert sites[0].state() == sites[1].state() == sites[2].state()
    assert [altered(site) for site in sites] == [[], [], []]


KINDS = ("insert", "insert", "name", "name", "email", "town", "visit", "leave", "delete")


class Mixed:
    """Three sites, upgraded piece by piece at times of their own, whose people write on."""

    def __init__(self, sites: Sequence[Site], rng: Random) -> None:
        self.sites, self.rng = sites, rng
        self.todo = [[EMAIL, TOWN, VISIT] for _ in sites]
        self.uuids = [f"{number:08}{U1[8:]}" for number in range(4)]

    def play(self, steps: int) -> None:
        for step in range(steps):
            which = self.rng.randrange(len(self.sites))
            if self.rng.random() < 0.05 and self.todo[which]:
                self.upgrade(which)
            if self.rng.random() < 0.3:
                other = (which + self.rng.randrange(1, len(self.sites))) % len(self.sites)
                sync(self.sites[which], self.sites[other])
            else:
                self.write(which, step)
        for which, todo in enumerate(self.todo):
            while todo:
                self.upgrade(which)

    def upgrade(self, which: int) -> None:
        count = self.rng.randint(1, len(self.todo[which]))
        parts = [self.todo[which].pop(0) for _ in range(count)]
        if EMAIL in parts and self.rng.random() < 0.4:
            parts.append("UPDATE person SET email = 'filled'")
        upgraded(self.sites[which], *parts)

    def write(self, which: int, step: int) -> None:
        site, uuid, todo = self.sites[which], self.rng.choice(self.uuids), self.todo[which]
        kind = self.rng.choice(KINDS)
        if kind == "insert":
            run(site, "INSERT OR IGNORE INTO person (uuid, name) VALUES (?, ?)", uuid, f"n{step}")
        elif kind == "name" or (kind in ("email", "town") and not any(kind in one for one in todo)):
            run(site, f"UPDATE person SET {kind} = ? WHERE uuid = ?", f"{kind[0]}{step}", uuid)
        elif kind == "visit" and VISIT not in todo:
            visit = "INSERT OR IGNORE INTO visit (uuid, person, note) SELECT ?, id, ? FROM person"
            run(site, f"{visit} WHERE uuid = ?", uuid, f"v{step}", self.rng.choice(self.uuids))
        elif kind == "leave" and VISIT not in todo:
            run(site, "DELETE FROM visit WHERE uuid = ?", uuid)
        elif kind == "delete":
            held = "" if VISIT in todo else " AND id NOT IN (SELECT person FROM visit)"
            run(site, f"DELETE FROM person WHERE uuid = ?{held}", uuid)


def set_deletes(site: Site, rule: DeleteRule) -> None:
    """As a preset would have said it to `init`."""
    plan = site.replica.plan
    tables = tuple(replace(table, deletes=rule) for table in plan.tables)
    with site.replica.database.write() as tx:
        tx.execute(
            f"UPDATE syncnode_setting SET value={tx.mark} WHERE name='plan'",
            (replace(plan, tables=tables).to_json(),),
        )
    site.reopen()
