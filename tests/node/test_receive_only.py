"""Tables that are only received at a site: what is written to them there is undone, on record, and
told to nobody."""

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from mariadb_sites import Maker, maker, run, servers_of
from processes import ProcessSite, eventually
from sites import Site, make_site, one_network, sync

from syncnode.apply.taking import NotTaken
from syncnode.comparing.answers import Answers
from syncnode.links.peers import Peer, put_peer
from syncnode.operations import conflicts, status
from syncnode.operations.guarding import guard
from syncnode.operations.verifying import Verifying
from syncnode.replica import DatabaseReplica
from syncnode.settings.link_rules import Said, SiteRules
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
        assert users
        assert None not in users


# What becomes of single writes


def test_a_row_that_was_inserted_here_stays_as_long_as_rows_refer_to_it(chain: Chain):
    mid, top = chain.mid, chain.top
    run(mid, "INSERT INTO concept (uuid, code, note) VALUES (?, 'c9', 'ours')", U[9])
    run(mid, "INSERT INTO obs (uuid, note, concept) VALUES (?, 'seen', 1)", U[4])
    mid.replica.seal()
    mid.check()
    assert content(mid, "concept") == Counter([(U[9], "c9", "ours", None)])
    assert mid.held() == [("concept", None)]
    assert len(undone(mid)) == 3
    chain.rounds()
    # It is no row for anybody else; what refers to it waits there, and says so.
    assert content(top, "concept") == Counter()
    assert top.parked() == [("obs", "missing parent")]
    # Whoever may write it is not kept from it by what stands here.
    run(top, "INSERT INTO concept (uuid, code, note) VALUES (?, 'c0', 'theirs')", U[9])
    chain.rounds()
    for site in chain.all:
        site.check()
        assert content(site, "concept") == Counter([(U[9], "c0", "theirs", None)])
        assert content(site, "obs") == Counter([(U[4], "seen", U[9])])
        assert (site.held(), site.parked()) == ([], [])


def test_a_row_that_was_inserted_here_goes_with_the_last_that_refers_to_it(chain: Chain):
    mid = chain.mid
    run(mid, "INSERT INTO concept (uuid, code, note) VALUES (?, 'c9', 'ours')", U[9])
    run(mid, "INSERT INTO obs (uuid, note, concept) VALUES (?, 'seen', 1)", U[4])
    mid.replica.seal()
    assert mid.held() == [("concept", None)]
    run(mid, "DELETE FROM obs")
    mid.replica.seal()
    chain.rounds()
    for site in chain.all:
        site.check()
        assert (content(site, "concept"), site.held()) == (Counter(), []), site.name


def test_rows_come_back_under_their_local_keys_and_what_a_cascade_took_is_gone(chain: Chain):
    """The observations are this site's to delete; the concept is not."""
    fill(chain.top)
    chain.rounds()
    mid = chain.mid
    run(mid, "INSERT INTO obs (uuid, note, concept) SELECT ?, 'seen', min(id) FROM concept", U[4])
    chain.rounds()
    rows = run(mid, "SELECT * FROM concept ORDER BY id")
    run(mid, "DELETE FROM concept WHERE id < (SELECT max(id) FROM concept)")
    mid.replica.seal()
    chain.rounds()
    assert run(mid, "SELECT * FROM concept ORDER BY id") == rows
    for site in chain.all:
        site.check()
        assert content(site, "obs") == Counter()
        assert content(site, "concept") == content(chain.top, "concept")
    assert undone(mid) == Counter({("concept", "", None, "only received"): 2})


def test_the_first_image_of_a_journal_counts_however_it_is_cut(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
):
    fill(chain.top)
    chain.rounds()
    before = content(chain.mid, "concept")
    monkeypatch.setattr("syncnode.capture.seal.LINES_PER_STEP", 1)
    run(chain.mid, "UPDATE concept SET note='for a moment' WHERE uuid=?", U[1])
    run(chain.mid, "UPDATE concept SET note='n1' WHERE uuid=?", U[1])
    chain.mid.replica.seal()
    assert content(chain.mid, "concept") == before
    assert undone(chain.mid) == Counter()


def test_a_row_that_took_the_place_of_two_gives_both_back(chain: Chain):
    """One needs the code that the other shows, and that one refers to it."""
    fill(chain.top)
    run(
        chain.top,
        "UPDATE concept SET broader=(SELECT id FROM concept WHERE uuid=?) WHERE uuid=?",
        U[1],
        U[2],
    )
    chain.rounds()
    mid = chain.mid
    run(mid, "INSERT OR REPLACE INTO concept (uuid, code, note) VALUES (?, 'c1', 'x')", U[2])
    assert sum(content(mid, "concept").values()) == 2
    mid.replica.seal()
    mid.check()
    assert content(mid, "concept") == content(chain.top, "concept")


def test_images_of_later_steps_know_the_rows_that_went_before(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
):
    fill(chain.top)
    child = "UPDATE concept SET broader=(SELECT min(id) FROM concept) WHERE uuid=?"
    run(chain.top, child, U[2])
    chain.rounds()
    mid = chain.mid
    before = content(mid, "concept")
    monkeypatch.setattr("syncnode.capture.seal.LINES_PER_STEP", 1)
    mid.sql("PRAGMA foreign_keys = OFF")
    run(mid, "DELETE FROM concept WHERE uuid=?", U[1])
    run(mid, "DELETE FROM concept WHERE uuid=?", U[2])
    mid.replica.seal()
    mid.check()
    assert content(mid, "concept") == before


def test_rows_that_refer_to_each_other_are_on_record_by_their_names(chain: Chain):
    mid = chain.mid
    run(mid, "INSERT INTO concept (uuid) VALUES (?)", U[8])
    run(mid, "INSERT INTO concept (uuid, broader) SELECT ?, max(id) FROM concept", U[9])
    mid.replica.seal()
    assert content(mid, "concept") == Counter()
    lost = {column: plainly(value) for _, column, _, value in undone(mid) if column == "broader"}
    assert lost == {"broader": U[8]}


def test_what_is_not_written_back_yet_is_told_to_nobody_and_comes_back_after_a_restart(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
):
    fill(chain.top)
    chain.rounds()
    mid, low = chain.mid, chain.low
    before = content(mid, "concept")
    with monkeypatch.context() as killed:
        killed.setattr(DatabaseReplica, "_settle", lambda *_: 1 / 0)
        run(mid, "UPDATE concept SET note='mine' WHERE uuid=?", U[1])
        run(mid, "DELETE FROM concept WHERE uuid=?", U[2])
        run(mid, "INSERT INTO concept (uuid, code) VALUES (?, 'c9')", U[9])
        with pytest.raises(ZeroDivisionError):
            mid.replica.seal()
    assert content(mid, "concept") != before
    assert not status(mid.settings).in_sync
    mid.reopen()
    held = {key: row for key, row in mid.state().items() if key[0] == "concept"}
    assert held == {key: row for key, row in chain.top.state().items() if key[0] == "concept"}
    sync(low, mid)
    for site in (mid, low):
        assert content(site, "concept") == before
        site.check()
    assert sum(undone(mid).values()) == 4


def test_a_value_that_arrives_for_a_row_that_was_just_edited_here_is_shown(chain: Chain):
    fill(chain.top)
    chain.rounds()
    run(chain.top, "UPDATE concept SET code='later' WHERE uuid=?", U[1])
    run(chain.mid, "UPDATE concept SET code='mine', note='mine' WHERE uuid=?", U[1])
    sync(chain.mid, chain.top)
    chain.mid.check()
    assert content(chain.mid, "concept") == content(chain.top, "concept")
    assert undone(chain.mid) == Counter(
        {("concept", "code", "c1", "mine"): 1, ("concept", "note", "n1", "mine"): 1}
    )


def test_the_record_says_why_and_the_value_cannot_be_taken_here(chain: Chain):
    fill(chain.top)
    chain.rounds()
    mid = chain.mid
    run(mid, "UPDATE concept SET note='mine' WHERE uuid=?", U[1])
    chain.rounds()
    (report,) = conflicts(mid.settings)
    assert (report.kept, report.kept_by, report.lost, report.lost_by) == (
        *("n1", "top"),
        *("mine", "mid"),
    )
    assert "only received" in report.done
    mid.replica.flush()
    said = status(mid.settings)
    assert (said.conflicts, said.pending, said.parked) == (1, 0, 0)
    assert [note for note in said.notes if "taken back" in note]
    with mid.replica.database.read() as tx:
        ((conflict, _),) = mid.replica._load(tx).conflicts()
    with pytest.raises(NotTaken, match=r"concept is only received here.*a site that may"):
        mid.replica.take(conflict, force=True, and_then=lambda _: None)
    # Decided, once somebody who may write it has written it again.
    run(chain.top, "UPDATE concept SET note='agreed' WHERE uuid=?", U[1])
    chain.rounds()
    assert conflicts(mid.settings) == []


@pytest.mark.mariadb
@pytest.mark.parametrize("engines", [pytest.param(("sqlite", "mysql"), id="mariadb")])
def test_what_a_cascade_of_mariadb_deletes_comes_back_and_what_it_changes_stands(
    make: Maker, engines: tuple[str, str]
):
    """No trigger fires for either; of what goes by it images are kept before."""
    schema = [
        "CREATE TABLE kind (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE)",
        *(
            f"CREATE TABLE {name} (id INTEGER PRIMARY KEY {{auto}}, uuid CHAR(36) NOT NULL UNIQUE,"
            f" kind INTEGER, FOREIGN KEY (kind) REFERENCES kind (id) ON DELETE {action})"
            for name, action in (("part", "CASCADE"), ("note", "SET NULL"))
        ),
    ]
    top, site = make(schema, *engines)
    link(top, site)
    rule(site, SiteRules(levels=(Said(words={"*": "receive"}),)))
    run(top, "INSERT INTO kind (uuid) VALUES (?)", U[1])
    for name, uuid in (("part", U[2]), ("note", U[3])):
        run(top, f"INSERT INTO {name} (uuid, kind) VALUES (?, 1)", uuid)
    sync(site, top)
    rows = {name: run(site, f"SELECT * FROM {name}") for name in ("kind", "part")}
    run(site, "DELETE FROM kind")
    site.replica.seal()
    site.check()
    assert {name: run(site, f"SELECT * FROM {name}") for name in rows} == rows
    assert run(site, "SELECT uuid, kind FROM note") == [(U[3], None)]
    assert undone(site) == Counter(
        {(name, "", None, "only received"): 1 for name in ("kind", "part")}
    )
    notes = [note for note in status(site.settings).notes if "as this site wrote" in note]
    assert [note.partition(" ")[0] for note in notes] == ["note"]


# Rules that change


def test_what_was_written_before_a_table_was_only_received_stays_and_is_named(tmp_path: Path):
    chain = Chain(tmp_path, rules=FREE)
    top, mid = chain.top, chain.mid
    fill(top)
    chain.rounds()
    run(mid, "UPDATE concept SET note='sealed' WHERE uuid=?", U[1])
    mid.replica.seal()
    run(mid, "UPDATE concept SET note='not sealed yet' WHERE uuid=?", U[2])
    run(mid, "INSERT INTO setting VALUES ('not sealed', 'either')")
    assert rule(mid, RECEIVED) == ONLY
    assert rule(mid, RECEIVED) == ()
    run(mid, "UPDATE concept SET note='too late' WHERE uuid=?", U[3])
    for _ in range(3):
        sync(mid, top)
    mid.check()
    notes = {uuid: note for uuid, _, note, _ in content(mid, "concept")}
    assert notes == {U[1]: "sealed", U[2]: "not sealed yet", U[3]: "n3"}
    said = [note for note in status(mid.settings).notes if "2 rows of it stand" in note]
    (note,) = said  # and another one of the setting
    assert note.startswith("concept is only received here")
    assert ("not sealed", "either") in content(mid, "setting")
    for number in (1, 2):
        run(top, "UPDATE concept SET note=? WHERE uuid=?", f"again {number}", U[number])
    sync(mid, top)
    assert content(mid, "concept") == content(top, "concept")
    assert not [note for note in status(mid.settings).notes if note.startswith("concept")]
    chain.close()


def test_a_repair_takes_the_parents_values_of_what_was_written_before(tmp_path: Path):
    chain = Chain(tmp_path, rules=FREE)
    top, mid = chain.top, chain.mid
    fill(top)
    chain.rounds()
    run(mid, "UPDATE concept SET note='before' WHERE uuid=?", U[1])
    rule(mid, RECEIVED)
    sync(mid, top)
    answers = Answers(top.replica)
    verifying = Verifying(mid.replica, "top", answers.answer, lambda _: None)
    report = verifying.run(True, lambda _: True)
    assert report.repaired == 1
    assert content(mid, "concept") == content(top, "concept")
    run(top, "UPDATE concept SET note='after' WHERE uuid=?", U[1])
    sync(mid, top)
    mid.check()
    assert content(mid, "concept") == content(top, "concept")
    chain.close()


def test_a_table_that_may_be_written_again_keeps_what_is_written(chain: Chain):
    mid, top = chain.mid, chain.top
    fill(top)
    chain.rounds()
    run(mid, "UPDATE concept SET note='too early' WHERE uuid=?", U[1])
    assert rule(mid, FREE) == ONLY
    run(mid, "UPDATE concept SET note='kept' WHERE uuid=?", U[2])
    sync(mid, top)
    sync(mid, top)
    for site in (mid, top):
        site.check()
        notes = {uuid: note for uuid, _, note, _ in content(site, "concept")}
        assert notes == {U[1]: "n1", U[2]: "kept", U[3]: "n3"}
    assert "_former" not in str(mid.look("SELECT name FROM sqlite_master WHERE type='trigger'"))
    assert sum(undone(mid).values()) == 1


def test_a_peers_word_makes_a_table_only_received_and_what_children_get_does_not_count(
    tmp_path: Path,
):
    chain = Chain(tmp_path, rules=FREE)
    top, mid = chain.top, chain.mid
    fill(top)
    chain.rounds()
    # The parent does not take the table from its children.
    words = SiteRules(pairs={"mid": (Said(words={"concept": "send"}),)})
    top.replica.words = LinkWords(words)
    sync(mid, top)
    mid.replica.flush()
    assert guard(mid.replica) == ("concept",)
    assert guard(chain.low.replica) == ()
    run(mid, "UPDATE concept SET note='mine' WHERE uuid=?", U[1])
    chain.rounds()
    assert content(mid, "concept") == content(top, "concept")
    # A second parent takes it: then it leaves, and is no more undone.
    link(chain.low, mid)
    assert guard(mid.replica) == ("concept",)
    run(mid, "UPDATE concept SET note='theirs' WHERE uuid=?", U[1])
    mid.replica.seal()
    assert content(mid, "concept") != content(top, "concept")
    chain.close()


def test_a_table_of_another_site_that_takes_it_from_nobody_is_free(tmp_path: Path):
    """ "none" is no receiving: what is written to the table stays at the site."""
    nothing = SiteRules(levels=(Said(words=dict.fromkeys(ONLY, "none")),))
    chain = Chain(tmp_path, rules=nothing)
    run(chain.mid, "INSERT INTO setting VALUES ('own', 'value')")
    chain.rounds()
    assert content(chain.mid, "setting") == Counter([("own", "value")])
    chain.close()


def test_a_column_that_comes_later_is_undone_like_others(chain: Chain):
    from syncnode.operations.following import follow

    fill(chain.top)
    chain.rounds()
    for site in chain.all:
        site.sql("ALTER TABLE setting ADD COLUMN unit VARCHAR(20)")
        assert follow(site.replica, site.settings)
    run(chain.top, "UPDATE setting SET unit='kg' WHERE name='s1'")
    chain.rounds()
    run(chain.mid, "UPDATE setting SET unit='g'")
    chain.mid.replica.seal()
    chain.mid.check()
    rows = "SELECT name, unit FROM setting ORDER BY name"
    assert run(chain.mid, rows) == run(chain.top, rows)
    assert sum(undone(chain.mid).values()) == 3


def test_a_running_node_takes_back_what_is_written_and_goes_by_rules_that_change(tmp_path: Path):
    topology = tmp_path / "topology.toml"
    sites = "[sites.top]\n[sites.low]\nparent = 'top'\n"
    topology.write_text(f"{sites}[sites.low.tables]\nvisit = 'receive'\n")
    top = ProcessSite(tmp_path, "top").init()
    low = ProcessSite(tmp_path, "low", listens=False).init()
    for site in (top, low):
        site.config.write_text(f"topology = '{topology}'\n" + site.config.read_text())

    def notes(site: ProcessSite) -> set[str]:
        return {note for (note,) in site.connection.execute("SELECT note FROM visit")}

    def write(site: ProcessSite, note: str) -> None:
        site.connection.execute("INSERT INTO visit (uuid, note) VALUES (?, ?)", (note, note))

    with top.serving():
        top.admit(low)
        write(top, "theirs")
        with low.serving():
            eventually(lambda: notes(low) == {"theirs"})
            write(low, "ours")
            low.connection.execute("UPDATE visit SET note='changed' WHERE uuid='theirs'")
            eventually(lambda: notes(low) == {"theirs"})
            eventually(lambda: low.report("status")["conflicts"] == 3)
            assert notes(top) == {"theirs"}
            topology.write_text(sites)
            eventually(lambda: "visit: may be written here again" in low.log())
            write(low, "kept")
            eventually(lambda: notes(top) == {"theirs", "kept"} == notes(low))


# Random stories


class Desk:
    """What somebody writes to the tables of one site at random, each word of it new."""

    def __init__(self, site: Site, random: Random, words: Iterator[int]) -> None:
        self.site, self.random, self.words = site, random, words

    def write(self) -> None:
        """One statement; what the engine refuses does not happen."""
        what = self.random.choice(self.KINDS)
        with contextlib.suppress(sqlite3.IntegrityError):
            what(self)

    def _word(self) -> str:
        return f"w{next(self.words)}"

    def _one(self, table: str, column: str = "id") -> Any:
        found = [value for (value,) in run(self.site, f"SELECT {column} FROM {table}")]
        return self.random.choice(found) if found else None

    def _insert(self) -> None:
        number = next(self.words)
        run(
            self.site,
            "INSERT INTO concept (uuid, code, note, broader) VALUES (?, ?, ?, ?)",
            f"{number:08d}-0000-4000-8000-000000000000",
            self.random.choice([None, f"c{number}", self._one("concept", "code")]),
            self._word(),
            self.random.choice([None, self._one("concept")]),
        )

    def _update(self) -> None:
        run(
            self.site,
            f"UPDATE concept SET {self.random.choice(['note', 'code'])}=? WHERE id=?",
            self.random.choice([None, self._word()]),
            self._one("concept"),
        )

    def _point(self) -> None:
        broader = self.random.choice([None, self._one("concept")])
        run(self.site, "UPDATE concept SET broader=? WHERE id=?", broader, self._one("concept"))

    def _swap(self) -> None:
        one, other = self._one("concept"), self._one("concept")
        codes = dict(run(self.site, "SELECT id, code FROM concept"))
        if one is not None:
            run(self.site, "UPDATE concept SET code=NULL WHERE id=?", one)
            run(self.site, "UPDATE concept SET code=? WHERE id=?", codes[one], other)
            run(self.site, "UPDATE concept SET code=? WHERE id=?", codes[other], one)

    def _delete(self) -> None:
        run(self.site, "DELETE FROM concept WHERE id=?", self._one("concept"))

    def _move(self) -> None:
        number = 1_000 + next(self.words)
        run(self.site, "UPDATE concept SET id=? WHERE id=?", number, self._one("concept"))

    def _rename(self) -> None:
        uuid = f"{next(self.words):08d}-1111-4000-8000-000000000000"
        run(self.site, "UPDATE concept SET uuid=? WHERE id=?", uuid, self._one("concept"))

    def _replace(self) -> None:
        uuid, code = self._one("concept", "uuid"), self._one("concept", "code")
        if uuid is not None:
            sql = "INSERT OR REPLACE INTO concept (uuid, code, note) VALUES (?, ?, ?)"
            run(self.site, sql, uuid, code, self._word())

    def _set(self) -> None:
        name = self.random.choice([self._one("setting", "name"), None]) or self._word()
        run(self.site, "INSERT OR REPLACE INTO setting VALUES (?, ?)", name, self._word())

    def _call(self) -> None:
        name = self._one("setting", "name")
        run(self.site, "UPDATE setting SET name=? WHERE name=?", self._word(), name)

    def _unset(self) -> None:
        run(self.site, "DELETE FROM setting WHERE name=?", self._one("setting", "name"))

    def _tag(self) -> None:
        word, weight = self.random.choice("ab"), self.random.choice([1, 2])
        run(self.site, "INSERT INTO tag VALUES (?, ?)", word, weight)

    def _untag(self) -> None:
        run(self.site, "DELETE FROM tag WHERE rowid=?", self._one("tag", "rowid"))

    def _retag(self) -> None:
        weight, rowid = self.random.choice([1, 2]), self._one("tag", "rowid")
        run(self.site, "UPDATE tag SET weight=? WHERE rowid=?", weight, rowid)

    KINDS = (
        *(_insert, _insert, _update, _update, _point, _swap, _delete, _move, _rename),
        *(_replace, _set, _set, _call, _unset, _tag, _untag, _retag),
    )


Lines = dict[Any, dict[str, Any]]


def lines(site: Site, table: str, before: Lines | None = None) -> Lines:
    """The rows by their local keys; of the concepts those above by the names that they had."""
    columns = {
        "concept": ("id", "uuid", "code", "note", "broader"),
        "setting": ("name", "name", "content"),
    }[table]
    rows = run(site, f"SELECT {', '.join(columns)} FROM {table}")
    found = {row[0]: dict(zip(columns[1:], row[1:], strict=True)) for row in rows}
    if table == "concept":
        for row in found.values():
            above = {**found, **(before or {})}.get(row["broader"])
            row["broader"] = above["uuid"] if above is not None else None
    return found


def expected_losses(table: str, before: Lines, after: Lines) -> Counter[tuple[str, str, Any]]:
    """(table, column, value) of what must be on record of one burst: by plain comparison. A row is
    the one that has its local key, or else its name."""
    found: Counter[tuple[str, str, Any]] = Counter()
    name = "uuid" if table == "concept" else "name"
    there = {row[name]: row for key, row in before.items() if key not in after}
    for key, row in after.items():
        old = before.get(key) or there.pop(row[name], None)
        for column, value in row.items():
            if value is not None if old is None else old[column] != value:
                found[table, column, value] += 1
    found[table, "", "only received"] += len(there)
    return +found


def tag_losses(before: Counter[Any], after: Counter[Any]) -> Counter[tuple[str, str, Any]]:
    found: Counter[tuple[str, str, Any]] = Counter()
    for (word, weight), count in (after - before).items():
        found["tag", "word", word] += count
        found["tag", "weight", weight] += count
    found["tag", "", "only received"] += (before - after).total()
    return +found


def plainly(value: Any) -> Any:
    """A reference as the row's uuid."""
    if not hasattr(value, "key"):
        return value
    text = value.key.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


class Story:
    """Sites at which people write at random, exchanges that break, processes that are killed."""

    def __init__(self, folder: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.random, self.chain = Random(seed), Chain(folder)
        self.in_parts = self.random.choice([1, 2, 3]) if seed % 3 == 0 else 0
        self.monkeypatch = monkeypatch
        words = iter(range(1, 1_000_000))
        self.desks = {site.name: Desk(site, self.random, words) for site in self.chain.all}
        self.losses = {site.name: Counter[tuple[str, str, Any]]() for site in self.chain.all}
        self.kills = 0

    def step(self) -> None:
        chain = self.chain
        if self.random.random() < 0.3:
            caller, callee = self.random.choice([(chain.mid, chain.top), (chain.low, chain.mid)])
            sync(caller, callee, break_at=self.random.choice([None, None, 2, 3]), check=False)
        elif self.random.random() < 0.3:
            for _ in range(self.random.randint(1, 4)):
                self.desks["top"].write()
        else:
            self.burst(self.random.choice([chain.mid, chain.low]))

    def burst(self, site: Site) -> None:
        """Somebody writes where nothing may be written, and it is sealed by one way or another."""
        site.replica.seal()
        before = {name: lines(site, name) for name in ("concept", "setting")}
        stood = {table: content(site, table) for table in ONLY}
        for _ in range(self.random.randint(1, 5)):
            self.desks[site.name].write()
        losses = self.losses[site.name]
        for name, rows in before.items():
            losses += expected_losses(name, rows, lines(site, name, rows))
        losses += tag_losses(stood["tag"], content(site, "tag"))
        self.losses[site.name] = losses
        how = self.random.randrange(4) if self.kills else 0
        with self.monkeypatch.context() as patched:
            if self.in_parts:
                patched.setattr("syncnode.capture.seal.LINES_PER_STEP", self.in_parts)
            if how == 0:
                self.kill(site)
            elif how == 1 and not self.in_parts:
                sync(self.chain.low, self.chain.mid, check=False)
            site.replica.seal()
        site.check()
        if how != 1:  # nothing has come meanwhile
            assert {table: content(site, table) for table in ONLY} == stood

    def kill(self, site: Site) -> None:
        """Between the seal and the writing back."""
        site.replica._settle = lambda _: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore
        try:
            site.replica.seal()
        except KeyboardInterrupt:
            self.kills += 1
        site.reopen()


@pytest.mark.parametrize("seed", range(6))
def test_random_writes_are_undone_and_each_is_on_record_once(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
):
    story = Story(tmp_path, seed, monkeypatch)
    chain = story.chain
    fill(chain.top)
    chain.rounds()
    for _ in range(30):
        story.step()
    chain.rounds()
    for site in chain.all:
        site.check()
        assert (site.parked(), site.held(), site.altered()) == ([], [], []), site.name
        assert {t: content(site, t) for t in ONLY} == {t: content(chain.top, t) for t in ONLY}
    for site in (chain.mid, chain.low):
        found: Counter[tuple[str, str, Any]] = Counter()
        for (table, column, _, value), count in undone(site).items():
            found[table, column, plainly(value)] += count
        wanted = story.losses[site.name]
        assert not wanted - found, wanted - found
        # A row that moves is one that goes and one that comes, if these are sealed apart.
        assert story.in_parts or found == wanted, found - wanted
    assert undone(chain.top) == Counter()
    assert story.kills
    chain.close()
