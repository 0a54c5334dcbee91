"""Sites in a row that migrate at moments of their own, while people write and links are down.

Each site goes through the same migrations in the same order: columns come, one grows, one goes;
tables come, and one gets another name. The sites at the ends meet only through the one between
them. When all are migrated and have met, the application sees the same at all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from mariadb_sites import run
from sites import Site, make_site, one_network, sync

from syncnode.operations.following import follow
from syncnode.settings.config import read_settings
from syncnode.store.keeping import count_kept

SITES = 4
SCHEMA = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,"
    " name VARCHAR(20), note VARCHAR(20))",
    "CREATE TABLE place (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,"
    " person INTEGER REFERENCES person (id), name VARCHAR(20))",
)
MIGRATIONS = (
    "ALTER TABLE person ADD COLUMN email VARCHAR(20) NOT NULL DEFAULT 'none'",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,"
    " person INTEGER NOT NULL REFERENCES person (id), note VARCHAR(20))",
    "ALTER TABLE place RENAME TO location",
    "ALTER TABLE person DROP COLUMN note",
    "ALTER TABLE visit ADD COLUMN ward INTEGER REFERENCES location (id)",
    "CREATE TABLE stay (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,"
    " visit INTEGER REFERENCES visit (id), note VARCHAR(20))",
)
UUIDS = [f"{number:08}-0000-4000-8000-000000000000" for number in range(4)]
SEEN = (
    "SELECT uuid, name, email FROM person ORDER BY uuid",
    "SELECT l.uuid, l.name, p.uuid FROM location l LEFT JOIN person p ON p.id = l.person"
    " ORDER BY l.uuid",
    "SELECT v.uuid, v.note, p.uuid, l.uuid FROM visit v JOIN person p ON p.id = v.person"
    " LEFT JOIN location l ON l.id = v.ward ORDER BY v.uuid",
    "SELECT s.uuid, s.note, v.uuid FROM stay s LEFT JOIN visit v ON v.id = s.visit ORDER BY s.uuid",
)


class Migrating:
    """Sites in a row, whose people write and whose applications are upgraded as chance has it."""

    def __init__(self, sites: Sequence[Site], rng: Random) -> None:
        self.sites, self.rng = sites, rng
        self.done = [0] * len(sites)
        self.written = 0

    def begin(self) -> None:
        """The first site is ahead of all others, and its rows are on their way."""
        while not self.has(0, "TABLE visit ("):
            self.migrate(0)
        site = self.sites[0]
        run(site, "INSERT OR IGNORE INTO person (uuid, name) VALUES (?, 'Ada')", UUIDS[0])
        visit = "INSERT OR IGNORE INTO visit (uuid, person, note) SELECT ?, id, 'begun' FROM person"
        run(site, f"{visit} LIMIT 1", UUIDS[0])
        sync(site, self.sites[1])

    def kept_at(self, which: int) -> Mapping[str, int]:
        with self.sites[which].replica.database.read() as tx:
            return count_kept(tx)

    def play(self, steps: int) -> None:
        for step in range(steps):
            which, dice = self.rng.randrange(len(self.sites)), self.rng.random()
            if dice < 0.08:
                self.migrate(which)
            elif dice < 0.3:
                other = which + 1 if which + 1 < len(self.sites) else which - 1
                sync(self.sites[which], self.sites[other])
            else:
                self.write(which, step)
        for which in range(len(self.sites)):
            while self.done[which] < len(MIGRATIONS):
                self.migrate(which)

    def settle(self) -> None:
        for _ in range(len(self.sites) + 2):
            for which in range(len(self.sites) - 1):
                sync(self.sites[which], self.sites[which + 1])
                sync(self.sites[which + 1], self.sites[which])

    def migrate(self, which: int) -> None:
        """One migration or several; what is written before the node notices is not lost."""
        site = self.sites[which]
        count = self.rng.randint(1, 2)
        steps = MIGRATIONS[self.done[which] : self.done[which] + count]
        for statement in steps:
            # SQLite looks at triggers before it drops a column; with this it does not.
            run(site, f"PRAGMA legacy_alter_table = {'ON' if 'DROP' in statement else 'OFF'}")
            run(site, statement)
            self.done[which] += 1
        if steps and not any("DROP" in statement for statement in steps):
            self.write(which, 900 + self.done[which])
        follow(site.replica, site.settings)
        run(site, "SELECT 1 FROM person LIMIT 1")  # this connection reads the new triggers

    def has(self, which: int, word: str) -> bool:
        return any(word in statement for statement in MIGRATIONS[: self.done[which]])

    def write(self, which: int, step: int) -> None:
        site, uuid, other = self.sites[which], *self.rng.choices(UUIDS, k=2)
        place = "location" if self.has(which, "RENAME") else "place"
        held = ["SELECT person FROM " + place + " WHERE person IS NOT NULL"]
        held += ["SELECT person FROM visit"] if self.has(which, "TABLE visit") else []
        free = " AND id NOT IN (" + " UNION ".join(held) + ")"
        said = f"{which}-{step}"
        kinds: list[tuple[str, tuple[Any, ...]]] = [
            ("INSERT OR IGNORE INTO person (uuid, name) VALUES (?, ?)", (uuid, said)),
            ("INSERT OR IGNORE INTO person (uuid, name) VALUES (?, ?)", (uuid, said)),
            ("UPDATE person SET name = ? WHERE uuid = ?", (said, uuid)),
            (f"DELETE FROM person WHERE uuid = ?{free}", (uuid,)),
            (
                f"INSERT OR IGNORE INTO {place} (uuid, person, name)"
                " SELECT ?, max(id), ? FROM person WHERE uuid = ?",
                (uuid, said, other),
            ),
            (f"UPDATE {place} SET name = ? WHERE uuid = ?", (said, uuid)),
        ]
        if not self.has(which, "DROP COLUMN"):
            kinds.append(("UPDATE person SET note = ? WHERE uuid = ?", (said, uuid)))
        if self.has(which, "email"):
            kinds.append(("UPDATE person SET email = ? WHERE uuid = ?", (said, uuid)))
        if self.has(which, "TABLE visit ("):
            visit = "INSERT OR IGNORE INTO visit (uuid, person, note) SELECT ?, id, ? FROM person"
            kinds.append((f"{visit} WHERE uuid = ?", (uuid, said, other)))
            kinds.append(("UPDATE visit SET note = ? WHERE uuid = ?", (said, uuid)))
        if self.has(which, "ward"):
            ward = "(SELECT id FROM location WHERE uuid = ?)"
            kinds.append((f"UPDATE visit SET ward = {ward} WHERE uuid = ?", (other, uuid)))
        if self.has(which, "TABLE stay"):
            stay = "INSERT OR IGNORE INTO stay (uuid, visit, note) SELECT ?, max(id), ? FROM visit"
            kinds.append((f"{stay} WHERE uuid = ?", (uuid, said, other)))
            kinds.append(("DELETE FROM stay WHERE uuid = ?", (uuid,)))
        sql, values = self.rng.choice(kinds)
        run(site, sql, *values)
        self.written += 1


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[list[Site]]:
    made = [make_site(tmp_path, f"site{number}", SCHEMA) for number in range(SITES)]
    one_network(*made)
    for site in made:
        declared = '\n[renamed]\nplace = "location"\n"person.note" = false\n'
        site.settings.path.write_text(site.settings.path.read_text() + declared)
        site.settings = read_settings(site.settings.path)
    yield made
    for site in made:
        site.close()


def test_a_delete_at_a_site_without_the_column_deletes_for_those_who_have_it(
    sites: list[Site],
) -> None:
    """The latest write of the row was to the column that is gone here: the deleter had seen it."""
    one, other, *_ = sites
    run(other, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", UUIDS[0])
    sync(one, other)
    run(other, "UPDATE person SET note = 'seen'")
    sync(one, other)
    drop_note(one)
    run(one, "DELETE FROM person")
    sync(one, other)
    assert run(one, "SELECT * FROM person") == run(other, "SELECT * FROM person") == []


def drop_note(site: Site) -> None:
    run(site, "PRAGMA legacy_alter_table = ON")
    run(site, "ALTER TABLE person DROP COLUMN note")
    assert follow(site.replica, site.settings)
    run(site, "SELECT 1 FROM person LIMIT 1")


def test_a_delete_by_a_site_that_never_had_what_was_dropped_on_the_way_to_it_is_one_everywhere(
    sites: list[Site],
) -> None:
    """The last write of the row was to a column that the site between has let go of since."""
    middle, writer, deleter, beside = sites
    run(writer, "INSERT INTO person (uuid, name) VALUES (?, 'Ada')", UUIDS[0])
    run(writer, "INSERT INTO person (uuid, name) VALUES (?, 'Bob')", UUIDS[1])
    for site in (writer, beside):
        sync(middle, site)
    run(writer, "UPDATE person SET note = 'seen'")
    for site in (writer, beside):
        sync(middle, site)
    drop_note(middle)
    drop_note(beside)
    sync(middle, deleter)
    run(deleter, "DELETE FROM person WHERE uuid = ?", UUIDS[0])
    run(deleter, "DELETE FROM person WHERE uuid = ?", UUIDS[1])
    run(writer, "UPDATE person SET note = 'later' WHERE uuid = ?", UUIDS[1])
    for _ in range(3):
        for site in (deleter, beside, writer):
            sync(middle, site)
    # An edit that came after the drop brings its row back, as any does; one before it does not.
    for site in sites:
        assert run(site, "SELECT uuid, name FROM person") == [(UUIDS[1], "Bob")]
    known = [site.look("SELECT count(*) FROM syncnode_changeset") for site in sites]
    for _ in range(2):
        for site in (deleter, beside, writer):
            sync(middle, site)
    assert [site.look("SELECT count(*) FROM syncnode_changeset") for site in sites] == known


@pytest.mark.parametrize("seed", range(8))
def test_sites_that_migrate_at_random_moments_come_to_the_same_rows(
    sites: list[Site], seed: int
) -> None:
    world = Migrating(sites, Random(seed))
    world.begin()
    assert sum(world.kept_at(1).values()), "the second site has rows of a table that it lacks"
    world.play(100)
    world.settle()
    assert world.written > 50
    for query in SEEN:
        first = run(sites[0], query)
        for site in sites[1:]:
            assert run(site, query) == first, f"{query} at {site.name}"
    assert [list(site.parked()) for site in sites] == [[]] * SITES
