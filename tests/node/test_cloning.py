"""`init --cloned`: a restored copy of a site's database becomes a site of its own."""

import os
import shutil
import sqlite3
import subprocess

import pytest
from mariadb_sites import maker, run, servers_of
from processes import ProcessSite, eventually
from servers import postgresql_programs
from sites import Site, connect, same, settle, sync

from syncnode.identity.anchor import Anchor
from syncnode.operations import conflicts, initialise, initialise_clone, log, parked, status
from syncnode.replica import DatabaseReplica
from syncnode.settings.config import read_settings
from syncnode.settings.new_config import new_settings, write_settings
from syncnode.store.database import Database
from syncproto.errors import ConfigError, StoreError

SCHEMA = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " name VARCHAR(50), village VARCHAR(50))",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " patient_id INTEGER, note VARCHAR(50), FOREIGN KEY (patient_id) REFERENCES patient (id))",
    "CREATE TABLE measure (id INTEGER PRIMARY KEY {auto}, amount VARCHAR(20))",
    "CREATE TABLE tag (label VARCHAR(20), colour VARCHAR(20))",
)
ANN, BEN, EVE, FOE, GUY = (f"0a8e1a54-1111-4222-8333-{number:012}" for number in range(5))
ENGINES = [
    pytest.param(("sqlite",), id="sqlite"),
    pytest.param(("mysql",), id="mysql", marks=pytest.mark.mariadb),
    pytest.param(("postgresql",), id="postgresql", marks=pytest.mark.postgresql),
]


@pytest.fixture
def make(tmp_path, request):
    params = getattr(request.node, "callspec", None)
    engines = params.params.get("engines", ()) if params is not None else ()
    yield from maker(tmp_path, *servers_of(request, engines))


def settings_of(folder, name, url):
    return new_settings(folder / name / "syncnode.toml", name=name, database=url, environment={})


def copied(make, site, name):
    """The database of a site, dumped and restored under another name; its URL."""
    if site.settings.database.startswith("sqlite"):
        (make.folder / name).mkdir(exist_ok=True)
        path = make.folder / name / "copy.db"
        with sqlite3.connect(path) as target:
            site.connection.backup(target)
        target.close()
        return f"sqlite:///{path}"
    if site.settings.database.startswith("postgresql"):
        return restored_postgresql(make.postgresql, site, name)
    database = site.connection.db.decode()
    url = make.server.create_database(name)
    dump = make.folder / f"{name}.sql"
    options = ("--single-transaction", f"--result-file={dump}")
    make.server._client("mariadb-dump", "mysqldump", *options, database)
    make.server.load(name, dump)
    return url


def restored_postgresql(server, site, name):
    database = site.settings.database.rpartition("/")[2].partition("?")[0]
    programs = postgresql_programs()
    assert programs, "the server runs"
    url = server.create_database(name)
    done = subprocess.run(
        [
            programs[0].with_name("psql"),
            *("-q", "-v", "ON_ERROR_STOP=1"),
            f"--dbname=postgresql://postgres@127.0.0.1:{server.port}/{name}",
        ],
        input=server.dump(database, rows=True),
        env={**os.environ, "PGPASSWORD": server.password},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return url


def adopted(make, url, name):
    """The copy, a site of its own now, in the original's network."""
    settings = settings_of(make.folder, name, url)
    initialise_clone(settings, dry_run=False, progress=lambda _: None)
    replica = DatabaseReplica(Database(settings.database), Anchor(settings.anchor))
    site = Site(settings, connect(url), replica)
    make.made.append(site)
    return site


def filled(make, engines):
    (site,) = make(SCHEMA, *engines)
    run(site, "INSERT INTO patient (uuid, name) VALUES (?, 'Ann'), (?, 'Ben')", ANN, BEN)
    run(site, "INSERT INTO visit (uuid, patient_id) SELECT uuid, id FROM patient")
    run(site, "INSERT INTO measure (amount) VALUES ('one'), ('two')")
    run(site, "INSERT INTO tag VALUES ('a', 'red'), ('a', 'red'), ('b', NULL)")
    site.replica.seal()
    run(site, "UPDATE patient SET name = 'Benjamin' WHERE name = 'Ben'")
    run(site, "DELETE FROM visit WHERE uuid = ?", BEN)
    site.replica.seal()
    return site


@pytest.mark.parametrize("engines", ENGINES)
def test_a_clone_has_all_and_transfers_nothing(make, engines):
    original = filled(make, engines)
    clone = adopted(make, copied(make, original, "clone"), "clone")
    assert clone.id != original.id
    assert (clone.origin.site, clone.origin.incarnation) == (clone.id, 1)
    done = sync(clone, original)
    assert (done.sent, done.received) == (0, 0)
    same(original, clone)
    run(clone, "UPDATE patient SET village = 'here' WHERE uuid = ?", ANN)
    run(clone, "INSERT INTO measure (amount) VALUES ('three')")
    run(original, "INSERT INTO tag VALUES ('a', 'red')")
    run(original, "UPDATE patient SET name = 'Anna' WHERE uuid = ?", ANN)
    done = sync(clone, original)
    assert (done.sent, done.received) == (2, 2)
    settle(original, clone)
    for site in (original, clone):
        assert run(site, "SELECT name, village FROM patient WHERE uuid = ?", ANN) == [
            ("Anna", "here")
        ]
        assert run(site, "SELECT count(*) FROM measure") == [(3,)]
        assert run(site, "SELECT count(*) FROM tag") == [(4,)]
        assert conflicts(site.settings) == []


@pytest.mark.parametrize("engines", ENGINES)
def test_what_was_not_sealed_in_the_copy_makes_neither_conflict_nor_second_row(make, engines):
    original = filled(make, engines)
    run(original, "INSERT INTO patient (uuid, name) VALUES (?, 'Eve')", EVE)
    run(original, "UPDATE patient SET name = 'Anne' WHERE uuid = ?", ANN)
    run(original, "INSERT INTO measure (amount) VALUES ('three')")
    run(original, "INSERT INTO tag VALUES ('c', 'blue')")
    run(original, "DELETE FROM patient WHERE uuid = ?", BEN)
    clone = adopted(make, copied(make, original, "clone"), "clone")
    assert original.replica.seal()
    assert clone.replica.seal()
    settle(clone, original)
    for site in (original, clone):
        assert run(site, "SELECT uuid, name FROM patient ORDER BY uuid") == [
            (ANN, "Anne"), (EVE, "Eve"),
        ]  # fmt: skip
        assert run(site, "SELECT amount FROM measure ORDER BY amount") == [
            ("one",), ("three",), ("two",),
        ]  # fmt: skip
        assert run(site, "SELECT count(*) FROM tag") == [(4,)]
        assert site.conflicts() == []


@pytest.mark.parametrize("engines", ENGINES[:2])
def test_triggers_that_a_dump_left_out_are_made_again(make, engines):
    original = filled(make, engines)
    url = copied(make, original, "clone")
    application = connect(url)
    cursor = application.cursor()
    number = next(t.number for t in original.replica.plan.tables if t.name == "patient")
    for what in ("insert", "update"):
        cursor.execute(f"DROP TRIGGER syncnode_t{number}_{what}")
    application.close()
    report = initialise_clone(settings_of(make.folder, "clone", url), dry_run=True, progress=print)
    assert sum(text.startswith("CREATE TRIGGER") for text in report.statements) == 2
    assert report.site is None
    clone = adopted(make, url, "clone")
    run(clone, "UPDATE patient SET village = 'here'")
    settle(clone, original)
    assert run(original, "SELECT DISTINCT village FROM patient") == [("here",)]


def test_what_is_parked_held_or_on_record_is_carried_over_with_the_names(make):
    original, other = make(SCHEMA, "sqlite", "sqlite")
    run(original, "INSERT INTO patient (uuid, name) VALUES (?, 'Ann'), (?, 'Ben')", ANN, BEN)
    settle(original, other)
    run(original, "CREATE TRIGGER no BEFORE INSERT ON measure WHEN NEW.amount = 'bad' "
        "BEGIN SELECT RAISE(ABORT, 'not allowed'); END")  # fmt: skip
    original.reopen()
    run(other, "INSERT INTO measure (amount) VALUES ('bad')")
    run(original, "UPDATE patient SET name = 'Anna' WHERE uuid = ?", ANN)
    run(other, "UPDATE patient SET name = 'Anne' WHERE uuid = ?", ANN)
    run(original, "DELETE FROM patient WHERE uuid = ?", BEN)
    run(other, "INSERT INTO visit (uuid, patient_id) SELECT ?, id FROM patient WHERE uuid = ?",
        EVE, BEN)  # fmt: skip
    settle(original, other, check=False)
    assert (len(original.parked()), len(original.held())) == (1, 1)
    clone = adopted(make, copied(make, original, "clone"), "clone")
    assert (clone.parked(), clone.held()) == (original.parked(), original.held())
    before, after = conflicts(original.settings), conflicts(clone.settings)
    assert [one.id for one in after] == [one.id for one in before] != []
    name = original.settings.name
    assert name in {one.lost_by for one in after} | {one.kept_by for one in after}
    assert [row.id for row in parked(clone.settings)] == [r.id for r in parked(original.settings)]
    entries = log(clone.settings, entries_max=None)
    assert {entry.sender for entry in entries if entry.origin == name} == {name}
    done = sync(clone, other, check=False)
    assert (done.sent, done.received) == (0, 0)
    assert status(clone.settings).name == "clone"


def test_nothing_but_a_copy_is_made_a_clone(make, tmp_path):
    original = filled(make, ("sqlite",))
    plain = tmp_path / "plain.db"
    with sqlite3.connect(plain) as database:
        database.execute("CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE)")
    own = original.settings.database
    for name, url, says in (
        ("clone", f"sqlite:///{plain}", "is no copy of a site's database"),
        ("clone", own, f"is the database of {original.name} itself"),
        (original.name, copied(make, original, "clone"), "is the name of the site that this is"),
    ):
        settings = settings_of(tmp_path / "elsewhere", name, url)
        with pytest.raises((StoreError, ConfigError), match=says):
            initialise_clone(settings, dry_run=False, progress=print)
        assert not settings.key.exists()
    original.reopen()
    assert original.id == original.origin.site


def test_the_original_is_not_touched_though_its_folder_was_copied_too(make, tmp_path):
    original = filled(make, ("sqlite",))
    url = copied(make, original, "clone")
    at_home = new_settings(original.settings.path, name="clone", database=url, environment={})
    with pytest.raises(ConfigError, match="lives here: give the copy a folder of its own"):
        initialise_clone(at_home, dry_run=False, progress=print)
    # A whole folder, key and anchor and all, that came from another machine.
    shutil.copy(original.settings.key, tmp_path / "clone" / "site.key")
    shutil.copy(original.settings.anchor, tmp_path / "clone" / "site.anchor")
    clone = adopted(make, url, "clone")
    assert clone.id != original.id
    old = (tmp_path / "clone" / "site.key.old1").read_bytes()
    assert old == original.settings.key.read_bytes()
    assert sync(clone, original).sent == 0


@pytest.mark.parametrize("step", ["store_key", "write_settings", "finish"])
def test_who_is_interrupted_runs_it_again(make, monkeypatch, step):
    original = filled(make, ("sqlite",))
    url = copied(make, original, "clone")
    settings = settings_of(make.folder, "clone", url)

    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    module = (
        "syncnode.settings.new_config"
        if step == "write_settings"
        else "syncnode.operations.cloning"
    )
    with monkeypatch.context() as patch:
        patch.setattr(f"{module}.{step}", killed)
        with pytest.raises(Killed):
            initialise_clone(settings, dry_run=False, progress=print)
    with pytest.raises(StoreError, match="interrupted"):
        DatabaseReplica(Database(url), None)
    clone = adopted(make, url, "clone")
    assert clone.id != original.id
    done = sync(clone, original)
    assert (done.sent, done.received) == (0, 0)
    same(original, clone)


def test_a_clone_joins_its_original_and_transfers_nothing(tmp_path):
    """As people do it: a backup, `init --cloned`, `join`, `sync`, `serve`."""
    here = ProcessSite(tmp_path, "kigali").init()
    there = ProcessSite(tmp_path, "butaro")
    try:
        for number in range(50):
            here.add_patient(f"patient {number}")
        with here.serving():
            eventually(lambda: not here.sql("SELECT 1 FROM syncnode_journal"))
            there.connection.close()
            for name in ("site.db", "site.db-wal", "site.db-shm"):
                (there.folder / name).unlink(missing_ok=True)
            there.connection = sqlite3.connect(there.database, isolation_level=None)
            here.connection.backup(there.connection)
            refused = here.command(
                "init", "--cloned", "--database", f"sqlite:///{here.database}", "--name", "x"
            )
            assert refused.returncode == 2
            there.run("init", "--cloned", "--database", f"sqlite:///{there.database}",
                      "--name", "butaro", "--listen", there.listen)  # fmt: skip
            here.admit(there)
            report = there.report("sync")
            (exchanged,) = report["exchanges"]
            assert report["done"]
            assert (exchanged["rows_sent"], exchanged["rows_received"]) == (0, 0)
            assert exchanged["bytes_sent"] + exchanged["bytes_received"] < 1_000
            assert there.report("peers")[0]["role"] == "parent"
            with there.serving():
                one, other = here.add_patient("Ann"), there.add_patient("Ben")
                eventually(lambda: other in here.patients() and one in there.patients())
            assert here.patients() == there.patients()
            assert len(here.patients()) == 52
            assert here.report("status")["site"] != there.report("status")["site"]
            assert here.report("conflicts", "--all") == []
    finally:
        here.close()
        there.close()


def clone_of(tmp_path, *, rules="", **choice):
    """A site that chose its tables so, and the settings of a clone of it, not made yet."""
    home = tmp_path / "original"
    home.mkdir()
    path = home / "site.db"
    with sqlite3.connect(path) as database:
        for statement in SCHEMA:
            database.execute(statement.replace("{auto}", ""))
    settings = new_settings(
        home / "syncnode.toml",
        name="kigali",
        database=f"sqlite:///{path}",
        environment={},
        **choice,
    )
    if rules:
        write_settings(settings.path, settings)
        settings.path.write_text(settings.path.read_text() + rules)
        settings = read_settings(settings.path, {})
    initialise(settings, dry_run=False, progress=lambda _: None)
    (tmp_path / "clone").mkdir()
    copy = tmp_path / "clone" / "copy.db"
    with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    return settings_of(tmp_path, "clone", f"sqlite:///{copy}")


def about_rules(settings):
    return [
        note for note in status(settings).notes
        if "[tables]" in note or "preset" in note or "rules" in note
    ]  # fmt: skip


def test_a_clone_takes_over_the_choice_of_tables_and_the_preset(tmp_path):
    settings = clone_of(tmp_path, only=("visit",), preset="openmrs")
    report = initialise_clone(settings, dry_run=False, progress=print)
    written = read_settings(settings.path, {})
    assert (written.tables.only, written.tables.preset) == (("visit",), "openmrs")
    assert not any("copy [tables]" in warning for warning in report.warnings)
    assert any("copy into" in one and "[filters], [hooks]" in one for one in report.warnings)
    assert about_rules(written) == []


def test_a_clone_leaves_out_what_its_original_did(tmp_path):
    settings = clone_of(tmp_path, exclude=("tag",))
    initialise_clone(settings, dry_run=False, progress=print)
    written = read_settings(settings.path, {})
    assert (written.tables.only, written.tables.exclude) == (None, ("tag",))
    assert about_rules(written) == []


def test_a_clone_says_which_rules_of_its_original_are_missing_and_where_they_go(tmp_path):
    settings = clone_of(tmp_path, rules='[tables.patient]\ndeletes = "delete-wins"\n')
    report = initialise_clone(settings, dry_run=False, progress=print)
    (said,) = [warning for warning in report.warnings if "copy [tables] and [maps]" in warning]
    assert "rules with which kigali was made" in said
    assert str(settings.path) in said
    (note,) = about_rules(settings)
    assert "copy [tables] and [maps] from its settings" in note
    assert "uninstall" not in note
    settings.path.write_text(
        settings.path.read_text() + '[tables.patient]\ndeletes = "delete-wins"\n'
    )
    assert about_rules(read_settings(settings.path, {})) == []
