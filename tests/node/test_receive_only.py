"""Tables that are only received at a site: what is written to them there is undone, on record, and
told to nobody."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from mariadb_sites import Maker, maker, run, servers_of
from sites import Site, make_site, one_network, sync

from syncnode.apply.taking import NotTaken
from syncnode.links.peers import Peer, put_peer
from syncnode.operations import conflicts, status
from syncnode.operations.guarding import guard
from syncnode.replica import DatabaseReplica
from syncnode.settings.link_rules import Said, SiteRules
from syncnode.store.database import Database
from syncnode.store.link_words import LinkWords

U = [f"{digit * 8}-0000-4000-8000-000000000000" for digit in "0123456789abcdef"]
SCHEMA = (
    "CREATE TABLE concept (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " code VARCHAR(20) UNIQUE, note VARCHAR(20), broader INTEGER,"
    " FOREIGN KEY (broader) REFERENCES concept (id))",
    "CREATE TABLE setting (name VARCHAR(20) PRIMARY KEY, content VARCHAR(20))",
    "CREATE TABLE tag (word VARCHAR(20), weight INTEGER)",
    "CREATE TABLE obs (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " concept INTEGER, note VARCHAR(20),"
    " FOREIGN KEY (concept) REFERENCES concept (id) ON DELETE CASCADE)",
)
ONLY = ("concept", "setting", "tag")
CONTENT = {
    "concept": "SELECT c.uuid, c.code, c.note, b.uuid FROM concept c"
    " LEFT JOIN concept b ON b.id = c.broader",
    "setting": "SELECT name, content FROM setting",
    "tag": "SELECT word, weight FROM tag",
    "obs": "SELECT o.uuid, o.note, c.uuid FROM obs o LEFT JOIN concept c ON c.id = o.concept",
}
RECEIVED = SiteRules(levels=(Said(words=dict.fromkeys(ONLY, "receive")),))
FREE = SiteRules()


def content(site: Site, table: str) -> Counter[tuple[Any, ...]]:
    """What the application sees, without local numbers."""
    return Counter(map(tuple, run(site, CONTENT[table])))


def seen(site: Site) -> dict[str, Counter[tuple[Any, ...]]]:
    return {table: content(site, table) for table in CONTENT}


def rule(site: Site, rules: SiteRules) -> tuple[str, ...]:
    """Go by these rules from now on; the tables of which something else holds."""
    site.options["words"] = site.replica.words = LinkWords(rules)
    return guard(site.replica)


def link(parent: Site, child: Site) -> None:
    for site, there, role in ((parent, child, "child"), (child, parent, "parent")):
        with site.replica.database.write() as tx:
            put_peer(tx, Peer(there.id, there.name, role, "https://x:1", bytes(32)))


def undone(site: Site) -> Counter[tuple[Any, ...]]:
    """(table, column, value that stands, value that lost) of what was undone at this site."""
    with site.replica.database.read() as tx:
        book = site.replica._load(tx)
        return Counter(
            (c.table, c.column, c.winning, c.losing)
            for c, _ in book.conflicts()
            if c.loser.origin.site == site.id
        )


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    engines = request.node.callspec.params.get("engines", ())
    yield from maker(tmp_path, *servers_of(request, engines))


class Chain:
    """top, mid, low: each the parent of the next; the tables of ONLY come down."""

    def __init__(self, folder: Path, *, rules: SiteRules = RECEIVED) -> None:
        schema = [statement.replace(" {auto}", "") for statement in SCHEMA]
        self.top, self.mid, self.low = (
            make_site(folder, name, schema) for name in ("top", "mid", "low")
        )
        self.all = (self.top, self.mid, self.low)
        one_network(*self.all)
        link(self.top, self.mid)
        link(self.mid, self.low)
        for site in (self.mid, self.low):
            rule(site, rules)

    def rounds(self, count: int = 3) -> None:
        for _ in range(count):
            sync(self.mid, self.top)
            sync(self.low, self.mid)

    def close(self) -> None:
        for site in self.all:
            site.close()


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    made = Chain(tmp_path)
    yield made
    made.close()


def fill(site: Site) -> None:
    for number in (1, 2, 3):
        run(
            site,
            "INSERT INTO concept (uuid, code, note) VALUES (?, ?, ?)",
            U[number],
            f"c{number}",
            f"n{number}",
        )
        run(site, "INSERT INTO setting VALUES (?, ?)", f"s{number}", f"v{number}")
        run(site, "INSERT INTO tag VALUES (?, ?)", "t", 1)


@pytest.mark.parametrize(
    "engines",
    [
        pytest.param(("sqlite", "sqlite"), id="sqlite"),
        pytest.param(("sqlite", "mysql"), id="mariadb", marks=pytest.mark.mariadb),
        pytest.param(("sqlite", "postgresql"), id="postgresql", marks=pytest.mark.postgresql),
    ],
)
def test_what_is_written_to_a_table_that_is_only_received_is_undone_and_on_record(
    make: Maker, engines: tuple[str, str]
):
    top, site = make(SCHEMA, *engines)
    link(top, site)
    assert rule(site, RECEIVED) == ONLY
    fill(top)
    sync(site, top)
    before, rows = seen(site), run(site, "SELECT * FROM concept ORDER BY id")
    assert before == seen(top)
    run(site, "UPDATE concept SET note='first', code='x' WHERE uuid=?", U[1])
    run(site, "UPDATE concept SET note='second' WHERE uuid=?", U[1])
    run(site, "DELETE FROM concept WHERE uuid=?", U[2])
    run(site, "INSERT INTO concept (uuid, code, note) VALUES (?, 'c9', 'new')", U[9])
    run(site, "UPDATE setting SET content='mine' WHERE name='s1'")
    run(site, "DELETE FROM setting WHERE name='s2'")
    run(site, "UPDATE setting SET name='s8' WHERE name='s3'")
    run(site, "UPDATE tag SET weight=2 WHERE word='t'")
    run(site, "INSERT INTO obs (uuid, note) VALUES (?, 'ours')", U[4])
    site.replica.seal()
    site.check()
    after = seen(site)
    assert after.pop("obs") == Counter([(U[4], "ours", None)])
    assert after == {table: before[table] for table in after}
    assert run(site, "SELECT * FROM concept ORDER BY id") == rows
    lost = undone(site)
    assert lost == Counter(
        {
            ("concept", "note", "n1", "second"): 1,
            ("concept", "code", "c1", "x"): 1,
            ("concept", "", None, "only received"): 1,
            ("concept", "uuid", None, U[9]): 1,
            ("concept", "code", None, "c9"): 1,
            ("concept", "note", None, "new"): 1,
            ("setting", "content", "v1", "mine"): 1,
            ("setting", "", None, "only received"): 2,
            ("setting", "name", None, "s8"): 1,
            ("setting", "content", None, "v3"): 1,
            ("tag", "", None, "only received"): 3,
            ("tag", "word", None, "t"): 3,
            ("tag", "weight", None, 2): 3,
        }
    )
    sync(site, top)
    assert content(top, "obs") == content(site, "obs")
    assert {table: content(top, table) for table in ONLY} == after
    # And what the parent writes next arrives as ever.
    run(top, "UPDATE concept SET note='later' WHERE uuid=?", U[1])
    run(top, "INSERT INTO setting VALUES ('s8', 'theirs')")
    run(top, "INSERT INTO tag VALUES ('t', 2)")
    sync(site, top)
    site.check()
    assert {table: content(site, table) for table in ONLY} == {
        table: content(top, table) for table in ONLY
    }
    if engines[1] != "sqlite":
        users = {report.lost_user for report in conflicts(site.settings, decided=True)}
        assert users and None not in users
