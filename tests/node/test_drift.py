"""The application changes its schema under syncnode: named by table and column, with what to do."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
from processes import ProcessSite, eventually
from servers import MariaDB
from sites import make_site

from syncnode.operations import status
from syncnode.operations.site import fault_of, initialise, open_replica
from syncnode.schema.drift import drift
from syncnode.settings.config import read_settings
from syncnode.settings.topology import TableChoice
from syncproto.errors import ConfigError, StoreError

RENAME = "ALTER TABLE patient RENAME COLUMN village TO place"
SCHEMA = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid VARCHAR(36) NOT NULL UNIQUE,"
    " name VARCHAR(40))",
    "CREATE TABLE audit (id INTEGER PRIMARY KEY, uuid VARCHAR(36) NOT NULL UNIQUE)",
)


@contextmanager
def joined(folder):
    parent, child = ProcessSite(folder, "kigali"), ProcessSite(folder, "butaro", listens=False)
    try:
        for one in (parent, child):
            one.init()
        parent.start()
        parent.admit(child)
        yield parent, child
    finally:
        for one in (parent, child):
            one.close()


def test_a_renamed_column_is_named_before_anything_fails_on_it(tmp_path):
    with joined(tmp_path) as (parent, child):
        key = child.add_patient("Ann")
        child.sql(RENAME)
        child.sql("UPDATE patient SET place = 'Butaro'")
        for arguments in (("serve",), ("sync",), ("invite", "x", "--url", "https://x:1")):
            done = child.command(*arguments)
            assert done.returncode == 1
            (said,) = done.stderr.splitlines()
            assert "patient has no column village any more (new there: place)" in said
            assert "`syncnode uninstall`" in said
        status = child.report("status")
        assert not status["in_sync"]
        assert "patient has no column village any more" in status["notes"][0]
        # One way out: as it was, and what was written meanwhile goes out.
        child.sql("ALTER TABLE patient RENAME COLUMN place TO village")
        child.run("sync")
        assert parent.sql("SELECT uuid, village FROM patient") == [(key, "Butaro")]


def test_a_daemon_under_which_a_column_goes_ends_with_that_sentence(tmp_path):
    with joined(tmp_path) as (parent, _):
        parent.sql(RENAME)
        parent.sql("INSERT INTO patient (uuid) VALUES ('a')")
        eventually(lambda: parent.ended)
        assert "patient has no column village any more" in parent.log().splitlines()[-1]
        assert parent.process.returncode == 1
        parent.process = None


def test_what_came_after_init_is_noted_and_what_was_left_out_is_not(tmp_path):
    site = make_site(tmp_path, "kigali", SCHEMA, exclude=("audit",))
    before = status(site.settings).notes
    assert before == ("no peers yet: nothing is copied anywhere",)
    site.sql("ALTER TABLE patient ADD COLUMN email TEXT")
    site.sql("CREATE TABLE visit (id INTEGER PRIMARY KEY)")
    site.sql("CREATE VIEW names AS SELECT name FROM patient")
    column, table, *others = status(site.settings).notes
    assert tuple(others) == before
    assert column.startswith("patient has a column email that came after `init`")
    assert table.startswith("a table came after `init` and is not replicated (visit): ")
    site.sql("CREATE TABLE obs (id INTEGER PRIMARY KEY)")
    assert (
        "2 tables came after `init` and are not replicated (obs, visit)"
        in (status(site.settings).notes[1])
    )
    site.reopen()  # none of this keeps it from working
    assert fault_of(site.settings) is None
    site.close()


def test_tables_of_no_choice_are_not_noted(tmp_path):
    site = make_site(tmp_path, "kigali", SCHEMA, only=("patient",))
    site.sql("CREATE TABLE visit (id INTEGER PRIMARY KEY)")
    assert status(site.settings).notes == ("no peers yet: nothing is copied anywhere",)
    site.close()


def test_a_table_that_went_is_named_rather_than_its_triggers(tmp_path):
    site = make_site(tmp_path, "kigali", SCHEMA)
    site.sql("DROP TABLE audit")
    with pytest.raises(StoreError, match="there is no table audit any more"):
        open_replica(site.settings)
    assert "no table audit" in str(fault_of(site.settings))
    site.close()


@pytest.mark.parametrize(
    ("made", "now", "named"),
    [
        ({"only": ("patient",)}, TableChoice(only=("patient",)), None),
        ({"only": ("visit",)}, TableChoice(only=("visit",)), None),  # patient is taken along
        ({}, TableChoice(), None),
        ({}, TableChoice(only=("patient",)), "(audit, visit)"),
        ({"only": ("patient",)}, TableChoice(), "(audit, visit)"),
        ({"only": ("patient",)}, TableChoice(only=("patient", "audit")), "(audit)"),
        ({}, TableChoice(exclude=("audit",)), "(audit)"),
        ({"exclude": ("audit",)}, TableChoice(), "(audit)"),
    ],
)
def test_a_choice_of_tables_that_was_changed_after_init_is_noted(tmp_path, made, now, named):
    visit = (
        "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid VARCHAR(36) NOT NULL UNIQUE,"
        " patient_id INTEGER REFERENCES patient (id))"
    )
    site = make_site(tmp_path, "kigali", (*SCHEMA, visit), **made)
    settings = replace(site.settings, tables=now)
    notes = [note for note in status(settings).notes if "[tables]" in note]
    if named is None:
        assert notes == []
    else:
        (note,) = notes
        assert note.startswith("[tables] was changed after `init`, which goes on as it was ")
        assert named in note
    site.close()


def test_a_choice_of_what_never_was_there_is_refused_with_file_and_line(tmp_path):
    site = make_site(tmp_path, "kigali", SCHEMA)
    with site.settings.path.open("a") as file:
        file.write('\n[tables]\nonly = ["patient", "nope"]\n')
    settings = read_settings(site.settings.path)
    with pytest.raises(ConfigError) as caught:
        open_replica(settings)
    said = str(caught.value)
    assert said.startswith(f'{site.settings.path}:8: tables.only[1]: "nope" is no table of the ')
    assert said.endswith("audit, patient")
    report = status(settings)
    assert str(caught.value) in report.notes
    assert not report.in_sync
    # What was there at `init` and went since is no mistake of the settings.
    site.settings.path.write_text(
        site.settings.path.read_text().partition("[tables]")[0] + '[tables]\nexclude = ["old"]\n'
    )
    site.sql("CREATE TABLE old (id INTEGER PRIMARY KEY)")
    site.uninstall()
    settings = read_settings(site.settings.path)
    initialise(settings, dry_run=False, progress=lambda _: None)
    site.sql("DROP TABLE old")
    open_replica(settings).close()
    site.connection.close()


@pytest.mark.mariadb
def test_the_same_on_mariadb(mariadb: MariaDB, mariadb_url: str, tmp_path) -> None:
    site = make_site(tmp_path, "kigali", SCHEMA, url=mariadb_url)
    name = mariadb_url.rpartition("/")[2]
    mariadb.execute("ALTER TABLE patient ADD COLUMN email TEXT, DROP COLUMN name", database=name)
    mariadb.execute("CREATE TABLE visit (id INT PRIMARY KEY)", database=name)
    mariadb.execute("CREATE VIEW uuids AS SELECT uuid FROM patient", database=name)
    with site.replica.database.read() as tx:
        found = drift(tx, site.replica.plan)
    assert found.gone == {"patient": ("name",)}
    assert found.came == {"patient": ("email",)}
    assert found.tables == ("visit",)
    with pytest.raises(StoreError, match="patient has no column name any more"):
        open_replica(site.settings)
    site.close()


def test_a_daemon_follows_a_new_column_and_a_new_table(tmp_path):
    with joined(tmp_path) as (parent, child):
        child.start()
        email = "ALTER TABLE patient ADD COLUMN email TEXT"
        ward = "CREATE TABLE ward (id INTEGER PRIMARY KEY, uuid VARCHAR(36) NOT NULL UNIQUE)"
        key = child.add_patient("Ann")
        eventually(lambda: key in parent.patients())
        for one in (parent, child):
            one.sql(email)
            one.sql(ward)
            eventually(lambda one=one: "what is replicated follows" in one.log())
        child.sql("UPDATE patient SET email = 'ann@x' WHERE uuid = ?", key)
        child.sql("INSERT INTO ward (uuid) VALUES ('w')")
        eventually(lambda: parent.sql("SELECT email FROM patient") == [("ann@x",)])
        eventually(lambda: parent.sql("SELECT uuid FROM ward") == [("w",)])
        eventually(lambda: child.report("status")["in_sync"])
