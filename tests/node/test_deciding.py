"""People decide: they take the value that lost, dismiss what may stay, and try rows again."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from mariadb_sites import ALL_PAIRS, maker, run, servers_of
from processes import ProcessSite, eventually
from sites import make_site, one_network, settle, sync

from syncnode.links.peers import Peer, put_peer
from syncnode.operations import (
    conflicts,
    dismiss_conflicts,
    dismiss_parked,
    parked,
    retry,
    show_conflict,
    show_parked,
    status,
    take,
)
from syncproto.errors import ConfigError

SCHEMA = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " name VARCHAR(50), village VARCHAR(50), doctor_id INTEGER,"
    " FOREIGN KEY (doctor_id) REFERENCES doctor (id))",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " patient_id INTEGER, note VARCHAR(50), FOREIGN KEY (patient_id) REFERENCES patient (id))",
)
DOCTOR = (
    "CREATE TABLE doctor (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " name VARCHAR(50))"
)
UUIDS = [f"0a8e1a54-1111-4222-8333-{number:012}" for number in range(40)]
ANN, BEN = UUIDS[1], UUIDS[2]


@pytest.fixture
def make(tmp_path, request):
    params = getattr(request.node, "callspec", None)
    engines = params.params.get("engines", ()) if params is not None else ()
    yield from maker(tmp_path, *servers_of(request, engines))


def pair_of(make, engines=("sqlite", "sqlite"), **options):
    """Two sites that know each other as peers and hold one patient, Ann of Rwinkwavu."""
    here, there = make((DOCTOR, *SCHEMA), *engines, **options)
    for site, other in ((here, there), (there, here)):
        with site.replica.database.write() as tx:
            put_peer(tx, Peer(other.id, other.name, "peer", "https://x:1", bytes(32)))
    run(here, "INSERT INTO patient (uuid, name, village) VALUES (?, 'Ann', 'Rwinkwavu')", ANN)
    settle(here, there)
    return here, there


def clash(here, there, column="name", values=("Anna", "Anne")):
    """Both edit one cell; `there` is the later one, so what was written here has lost."""
    run(here, f"UPDATE patient SET {column} = ? WHERE uuid = ?", values[0], ANN)
    here.replica.seal()
    time.sleep(0.003)
    run(there, f"UPDATE patient SET {column} = ? WHERE uuid = ?", values[1], ANN)
    settle(here, there)


def only(site):
    (conflict,) = conflicts(site.settings)
    return conflict


def shown(site, column="name", key=ANN):
    return [value for (value,) in run(site, f"SELECT {column} FROM patient WHERE uuid = ?", key)]


def flushed(*sites):
    for site in sites:
        site.replica.flush()


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_who_lost_a_value_sees_it_at_home_and_takes_it_for_all(make, engines):
    here, there = pair_of(make, engines)
    clash(here, there)
    mine, theirs = only(here), only(there)
    assert mine.id == theirs.id
    assert (mine.lost, mine.lost_by, mine.kept, mine.kept_by) == (
        "Anna", here.name, "Anne", there.name,
    )  # fmt: skip
    assert shown(here) == shown(there) == ["Anne"]
    report = take(here.settings, mine.id[:6], force=False)
    assert (report.id, report.taken, report.reason, report.note) == (mine.id, True, None, None)
    assert shown(here) == ["Anna"]
    settle(here, there)
    assert shown(there) == ["Anna"]
    for site, decision in (
        (here, "the value that had lost was taken here"),
        (there, "decided by a later write"),
    ):
        assert conflicts(site.settings) == []
        assert status(site.settings).conflicts == 0
        (decided,) = conflicts(site.settings, decided=True)
        assert (decided.id, decided.decision) == (mine.id, decision)
    settle(here, there)
    assert len(there.conflicts()) == 1  # it stays on record, once


@pytest.mark.parametrize(
    ("engines", "who"),
    [
        pytest.param(("mysql", "sqlite"), "USER()", marks=pytest.mark.mariadb),
        pytest.param(("postgresql", "sqlite"), "SESSION_USER", marks=pytest.mark.postgresql),
    ],
)
def test_the_database_user_is_told_where_the_value_was_written(make, engines, who):
    here, there = pair_of(make, engines)
    clash(here, there)
    ((user,),) = run(here, f"SELECT {who}")
    assert (only(here).lost_user, only(here).kept_user) == (user, None)
    assert (only(there).lost_user, only(there).kept_user) == (None, None)


def test_a_value_that_was_written_again_since_is_overwritten_by_force_only(make):
    here, there = pair_of(make)
    clash(here, there)
    conflict = only(here)
    run(there, "UPDATE patient SET name = 'Ann-Marie'")
    settle(here, there)
    assert conflicts(here.settings) == conflicts(there.settings) == []
    report = take(here.settings, conflict.id, force=False)
    assert not report.taken
    assert "patient.name was written again since; --force" in report.reason
    assert shown(here) == ["Ann-Marie"]
    assert take(here.settings, conflict.id, force=True).taken
    settle(here, there)
    assert shown(here) == shown(there) == ["Anna"]


def test_a_third_write_that_had_seen_neither_decides_nothing(make):
    here, there = pair_of(make)
    (third,) = make((DOCTOR, *SCHEMA), "sqlite")
    settle(here, there, third)
    clash(here, there)
    time.sleep(0.003)
    run(third, "UPDATE patient SET name = 'Annabel'")
    settle(here, there, third)
    assert shown(here) == ["Annabel"]
    lost = {conflict.lost for conflict in conflicts(here.settings)}
    assert {"Anna", "Anne"} <= lost
    run(here, "UPDATE patient SET name = 'Ann'")
    settle(here, there, third)
    assert [conflicts(site.settings) for site in (here, there, third)] == [[], [], []]


def test_the_unsealed_edit_of_a_clerk_is_seen_before_a_value_is_taken(make):
    here, there = pair_of(make)
    clash(here, there)
    run(here, "UPDATE patient SET name = 'typed just now'")
    assert not take(here.settings, only(here).id, force=False).taken
    assert shown(here) == ["typed just now"]


def test_taking_a_lost_delete_deletes_unless_rows_refer(make):
    here, there = pair_of(make)
    run(here, "UPDATE patient SET name = 'Anna'")
    run(there, "DELETE FROM patient")
    settle(here, there)
    conflict = only(there)
    assert (conflict.column, conflict.lost, conflict.lost_by) == (None, "(its delete)", there.name)
    run(there, "INSERT INTO visit (uuid, patient_id) SELECT ?, id FROM patient", UUIDS[9])
    report = take(there.settings, conflict.id, force=False)
    assert report.reason == "rows of visit refer to this one: delete or change these first"
    run(there, "DELETE FROM visit")
    assert take(there.settings, conflict.id, force=False).taken
    settle(here, there)
    assert run(here, "SELECT * FROM patient") == run(there, "SELECT * FROM patient") == []
    assert conflicts(here.settings) == conflicts(there.settings) == []
    assert take(there.settings, conflict.id, force=False).reason == "the row is deleted already"


def test_a_row_edited_since_is_deleted_by_force_only(make):
    here, there = pair_of(make)
    run(here, "UPDATE patient SET name = 'Anna'")
    run(there, "DELETE FROM patient")
    settle(here, there)
    run(here, "UPDATE patient SET village = 'Kabarore'")
    settle(here, there)
    (conflict,) = conflicts(there.settings)
    assert "the row was written again" in take(there.settings, conflict.id, force=False).reason
    assert take(there.settings, conflict.id, force=True).taken
    settle(here, there)
    assert run(here, "SELECT * FROM patient") == []


def test_a_delete_that_gave_way_to_a_row_that_refers_is_explained(make):
    here, there = pair_of(make)
    run(here, "DELETE FROM patient")
    run(there, "INSERT INTO visit (uuid, patient_id) SELECT ?, id FROM patient", UUIDS[9])
    settle(here, there)
    conflict = only(here)
    report = take(here.settings, conflict.id, force=False)
    assert report.reason == (
        "the row is deleted already, and stands only because rows of visit refer to it: delete or "
        "change these, and it goes by itself"
    )
    run(here, "DELETE FROM visit")
    settle(here, there)
    settle(here, there)
    assert run(there, "SELECT * FROM patient") == []
    assert conflicts(here.settings) == conflicts(there.settings) == []


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_a_lost_edit_brings_a_deleted_row_back_whole(make, engines):
    here, there = pair_of(make, engines)
    clash(here, there)
    conflict = only(here)
    before = run(here, "SELECT id FROM patient")
    run(there, "DELETE FROM patient")
    settle(here, there)
    assert run(here, "SELECT * FROM patient") == []
    report = take(here.settings, conflict.id, force=False)
    assert (report.taken, report.note) == (True, "the row was deleted, and stands in patient again")
    assert run(here, "SELECT id FROM patient") == before
    settle(here, there)
    for site in (here, there):
        assert run(site, "SELECT uuid, name, village FROM patient") == [(ANN, "Anna", "Rwinkwavu")]


def test_an_edit_that_lost_against_a_delete_that_wins_brings_the_row_back(make):
    here, there = pair_of(make)
    for site in (here, there):
        plan = site.replica.plan
        tables = tuple(replace(table, deletes="delete-wins") for table in plan.tables)
        with site.replica.database.write() as tx:
            changed = replace(plan, tables=tables).to_json()
            tx.execute("UPDATE syncnode_setting SET value = ? WHERE name = 'plan'", (changed,))
        site.reopen()
    run(here, "DELETE FROM patient")
    here.replica.seal()
    time.sleep(0.003)
    run(there, "UPDATE patient SET name = 'Anna', village = 'Kabarore'")
    settle(here, there)
    assert shown(there) == []
    name, _ = conflicts(there.settings)
    assert (name.column, name.kept, name.lost) == ("name", "(its delete)", "Anna")
    assert take(there.settings, name.id, force=False).taken
    settle(here, there)
    for site in (here, there):
        assert run(site, "SELECT name, village FROM patient") == [("Anna", "Kabarore")]
        assert conflicts(site.settings) == []
    assert not take(there.settings, name.id, force=False).taken


def test_a_reference_is_translated_to_the_local_key(make):
    here, there = pair_of(make)
    run(there, "INSERT INTO doctor (uuid, name) VALUES (?, 'only to shift numbers')", UUIDS[20])
    run(there, "DELETE FROM doctor")
    run(there, "INSERT INTO doctor (id, uuid, name) VALUES (77, ?, 'Grey')", UUIDS[21])
    run(here, "INSERT INTO doctor (uuid, name) VALUES (?, 'House')", UUIDS[22])
    settle(here, there)
    chosen = "(SELECT id FROM doctor WHERE uuid = '{}')"
    run(here, f"UPDATE patient SET doctor_id = {chosen.format(UUIDS[21])}")
    here.replica.seal()
    time.sleep(0.003)
    run(there, f"UPDATE patient SET doctor_id = {chosen.format(UUIDS[22])}")
    settle(here, there)
    conflict = only(there)
    assert (conflict.lost, conflict.kept) == (f"doctor:{UUIDS[21]}", f"doctor:{UUIDS[22]}")
    assert take(there.settings, conflict.id, force=False).taken
    settle(here, there)
    named = "SELECT p.uuid, d.name FROM patient p JOIN doctor d ON d.id = p.doctor_id"
    assert run(here, named) == run(there, named) == [(ANN, "Grey")]


def test_a_reference_to_a_row_that_is_gone_is_refused(make):
    here, there = pair_of(make)
    for number, name in ((21, "Grey"), (22, "House")):
        run(there, "INSERT INTO doctor (uuid, name) VALUES (?, ?)", UUIDS[number], name)
    settle(here, there)
    for site, name in ((here, "Grey"), (there, "House")):
        run(site, "UPDATE patient SET doctor_id = (SELECT id FROM doctor WHERE name = ?)", name)
        site.replica.seal()
        time.sleep(0.003)
    settle(here, there)
    run(here, "DELETE FROM doctor WHERE name = 'Grey'")
    settle(here, there)
    report = take(here.settings, only(here).id, force=False)
    assert not report.taken
    assert report.reason.startswith(
        "patient.doctor_id would refer to a row of doctor that is not in this database"
    )
    assert run(here, "SELECT name FROM doctor") == [("House",)]


@pytest.fixture
def strict(tmp_path):
    """A pair of which the second refuses one name."""
    ddl = [statement.replace("{auto}", "") for statement in (DOCTOR, *SCHEMA)]
    checked = [
        statement.replace("name VARCHAR(50), v", "name VARCHAR(50) CHECK (name <> 'No'), v")
        for statement in ddl
    ]
    here, there = make_site(tmp_path, "kigali", ddl), make_site(tmp_path, "butaro", checked)
    one_network(here, there)
    for site, other in ((here, there), (there, here)):
        with site.replica.database.write() as tx:
            put_peer(tx, Peer(other.id, other.name, "peer", "https://x:1", bytes(32)))
    run(here, "INSERT INTO patient (uuid, name) VALUES (?, 'Ann')", ANN)
    settle(here, there)
    yield here, there
    here.close()
    there.close()


def test_a_value_that_does_not_fit_is_refused_with_the_reason(strict):
    here, there = strict
    clash(here, there, values=("No", "Anne"))
    report = take(there.settings, only(there).id, force=False)
    assert not report.taken
    assert report.reason.startswith("patient does not take it: the check ")
    assert shown(there) == ["Anne"]
    assert only(there).decision is None
    assert take(here.settings, only(here).id, force=False).taken


def test_nothing_is_taken_into_a_row_that_is_parked_here(strict):
    here, there = strict
    clash(here, there, values=("Anna", "Anne"))
    run(here, "UPDATE patient SET village = 'X', name = 'No'")
    settle(here, there, check=False)
    assert len(parked(there.settings)) == 1
    (old,) = conflicts(there.settings, decided=True)
    report = take(there.settings, old.id, force=True)
    assert "the row is parked here" in report.reason


def test_dismissing_is_local_and_leaves_the_record(make):
    here, there = pair_of(make)
    clash(here, there)
    clash(here, there, "village", ("Kabarore", "Kayonza"))
    first, second = conflicts(here.settings)
    assert dismiss_conflicts(here.settings, [first.id[:8].upper()]) == [first.id]
    assert [one.id for one in conflicts(here.settings)] == [second.id]
    assert status(here.settings).conflicts == 1
    assert show_conflict(here.settings, first.id).decision == "dismissed here"
    assert len(conflicts(there.settings)) == 2
    assert dismiss_conflicts(here.settings, None) == [second.id]
    assert conflicts(here.settings) == []
    assert shown(here) == ["Anne"]
    settle(here, there)
    assert len(conflicts(there.settings)) == 2
    # A change of mind.
    assert take(here.settings, first.id, force=False).taken


def test_a_number_that_names_none_or_several_is_refused(make):
    here, there = pair_of(make)
    clash(here, there)
    for number, says in (
        ("zzzz", "is no number of a conflict"),
        ("ab", "is no number of a conflict"),
        ("0" * 32, "there is no conflict"),
    ):
        with pytest.raises(ConfigError, match=says):
            take(here.settings, number, force=False)
    (name,) = [name for (name,) in here.look("SELECT name FROM syncnode_conflict")]
    double = bytes(name[:4]) + bytes(12)
    here.sql(
        "INSERT INTO syncnode_conflict SELECT ?, tbl, row_key, col, body, hlc, origin, seq, lsn, "
        "decided FROM syncnode_conflict",
        double,
    )
    with pytest.raises(ConfigError, match="2 conflicts begin with"):
        dismiss_conflicts(here.settings, [name[:4].hex()])


# Parked rows


def park(here, there):
    run(here, "INSERT INTO patient (uuid, name) VALUES (?, 'No')", BEN)
    sync(there, here)
    flushed(here, there)
    (row,) = parked(there.settings)
    return row


def told(peer, site):
    """How many rows `site` tells its peers that it does not show."""
    return site.replica.standing(peer.id).unshown


def test_a_dismissed_row_counts_no_more_and_is_kept_and_passed_on(strict):
    here, there = strict
    row = park(here, there)
    assert not status(there.settings).in_sync
    assert told(here, there) == 1
    assert dismiss_parked(there.settings, [row.id]) == [row.id]
    report = status(there.settings)
    assert (report.parked, report.parked_rows, report.in_sync) == (0, (), True)
    assert any("1 row that cannot be written here is dismissed" in note for note in report.notes)
    assert told(here, there) == 0
    assert parked(there.settings) == []
    assert show_parked(there.settings, row.id).dismissed
    assert shown(there, key=BEN) == []
    assert ("patient", "check constraint") in there.parked()
    settle(here, there)  # compares the replicated states of both
    found = retry(there.settings, [row.id])
    assert (found.tried, found.written, [one.id for one in found.parked]) == (1, 0, [row.id])
    assert not status(there.settings).in_sync


def test_a_dismissed_row_is_written_when_its_obstacle_goes_and_counts_when_parked_anew(strict):
    here, there = strict
    row = park(here, there)
    dismiss_parked(there.settings, None)
    run(here, "UPDATE patient SET name = 'Ben' WHERE uuid = ?", BEN)
    settle(here, there)
    assert shown(there, key=BEN) == ["Ben"]
    assert there.parked() == []
    time.sleep(0.003)
    run(here, "UPDATE patient SET name = 'No' WHERE uuid = ?", BEN)
    settle(here, there, check=False)
    (again,) = parked(there.settings)
    assert again.id == row.id
    assert again.since > row.since


def test_retry_writes_what_can_be_written_now(strict):
    here, there = strict
    row = park(here, there)
    there.sql("PRAGMA writable_schema = ON")
    there.sql("UPDATE sqlite_master SET sql = replace(sql, '<> ''No''', '<> ''Yes''')")
    there.sql("PRAGMA writable_schema = RESET")
    there.reopen()
    found = retry(there.settings, [])
    assert (found.tried, found.written, found.parked) == (1, 1, ())
    assert shown(there, key=BEN) == ["No"]
    assert retry(there.settings, []).tried == 0
    with pytest.raises(ConfigError, match="there is no parked row"):
        retry(there.settings, [row.id])


# As people have it


def test_the_commands_decide_beside_running_nodes(tmp_path):
    here, there = (ProcessSite(tmp_path, name).init() for name in ("kigali", "butaro"))
    try:
        with here.serving():
            here.admit(there)
            key = here.add_patient("Ann")
            there.run("sync")
            here.sql("UPDATE patient SET name = 'Anna'")
            time.sleep(0.05)
            there.sql("UPDATE patient SET name = 'Anne'")
            there.run("sync")
            (conflict,) = here.report("conflicts")
            assert there.report("conflicts", "list") == there.report("conflicts")
            assert conflict["lost"] == "Anna"
            number = conflict["id"][:8]
            assert number in here.run("conflicts")
            assert "lost     Anna" in here.run("conflicts", "show", number)
            with there.serving():
                taken = there.report("conflicts", "take", number)
                assert taken == {"id": conflict["id"], "taken": True, "reason": None, "note": None}
                assert eventually(lambda: here.patients() == there.patients() == {key: "Anna"})
                again = there.command("conflicts", "take", number)
                assert (again.returncode, again.stdout) == (1, "")
                assert "not taken: patient.name was written again since" in again.stderr
            assert here.run("conflicts") == ""
            assert here.report("conflicts", "--all")[0]["decision"] == "decided by a later write"
            for wrong in (
                ["conflicts", "dismiss"],
                ["parked", "dismiss", "--all", number],
                ["conflicts", "show", "xyz"],
                ["parked", "retry", "12"],
            ):
                assert here.command(*wrong).returncode == 2
            assert here.command("parked", "show", "00000000").returncode == 1  # there is none
            refused = here.command("conflicts", "dismiss", "--all")
            assert refused.returncode == 1
            assert "--yes" in refused.stderr
            assert here.report("conflicts", "dismiss", "--all", "--yes") == {"dismissed": []}
            assert here.report("parked", "retry") == {"tried": 0, "written": 0, "parked": []}
            assert here.report("parked", "dismiss", "--all", "--yes") == {"dismissed": []}
            assert here.report("parked", "list", "--all") == []
    finally:
        here.close()
        there.close()


def test_the_list_of_conflicts_needs_nothing_heavy(make):
    here, there = pair_of(make)
    clash(here, there)
    code = (
        "import sys\nfrom syncnode.__main__ import main\n"
        f"assert main(['conflicts', '--json', '--config', {str(here.settings.path)!r}]) == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in done.stderr.split()}
    assert not imported & {"sqlalchemy", "cryptography", "trio", "httpx", "pymysql", "h11"}
    assert len(json.loads(done.stdout)) == 1
