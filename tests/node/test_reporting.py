"""Reports tell the truth: what is pending, parked, aside, unsealed, and what is wrong."""

import subprocess
import sys
import time
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from sites import make_site, one_network, set_rule, sync

from syncnode.capture import trigger_names
from syncnode.identity.files import anchor_fault, key_fault
from syncnode.links.peers import Contact, Peer, put_contacts, put_peer
from syncnode.operations import conflicts, log, parked, peers, reporting, status
from syncnode.operations.running import not_shown
from syncnode.serve_lock import serve_lock
from syncnode.texts import skew_text, utc_text, value_text
from syncproto.identity import RowKey, site_text
from syncproto.row import Reference

SCHEMA = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT,"
    " email TEXT UNIQUE)",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " patient_id INTEGER REFERENCES patient (id), note TEXT)",
)
UUIDS = [f"0a8e1a54-1111-4222-8333-{number:012}" for number in range(400)]


@pytest.fixture
def pair(tmp_path):
    """Parent and child that know each other; nothing has been exchanged."""
    here, there = (make_site(tmp_path, name, SCHEMA) for name in ("kigali", "rwinkwavu"))
    one_network(here, there)
    for site, other, role, url in (
        (here, there, "child", ""),
        (there, here, "parent", "https://kigali.example:8470"),
    ):
        with site.replica.database.write() as tx:
            put_peer(tx, Peer(other.id, other.name, role, url, bytes(32)))
    yield here, there
    for site in (here, there):
        site.close()


def patient(site, number, name="Ann", email=None):
    site.sql("INSERT INTO patient (uuid, name, email) VALUES (?, ?, ?)", UUIDS[number], name, email)


def synced(one, other):
    sync(one, other)
    one.replica.flush()
    other.replica.flush()


def pending(site):
    report = status(site.settings)
    assert [peer.pending for peer in report.peers] == [report.pending]
    return report.pending


def test_a_new_site_is_in_sync_with_nobody(tmp_path):
    site = make_site(tmp_path, "kigali", SCHEMA)
    report = status(site.settings)
    assert (report.name, report.site) == ("kigali", site_text(site.id))
    assert (report.tables, report.peers, report.pending, report.parked) == (2, (), 0, 0)
    assert not report.in_sync
    assert "no peers yet: nothing is copied anywhere" in report.notes
    site.close()


def test_pending_rows_are_counted_exactly(pair):
    here, there = pair
    assert pending(here) == 0
    for number in range(30):
        patient(here, number)
    assert pending(here) == 30  # not sealed yet
    here.replica.seal()
    assert pending(here) == 30
    assert [peer.equal for peer in peers(here.settings)] == [None]
    synced(there, here)
    assert pending(here) == pending(there) == 0
    assert status(here.settings).in_sync
    here.sql("UPDATE patient SET name='Ben' WHERE id<=3")
    here.sql("UPDATE patient SET name='Bea' WHERE id=2")
    here.sql("DELETE FROM patient WHERE id=7")
    assert pending(here) == 4
    here.replica.seal()
    assert pending(here) == 4
    assert not status(here.settings).in_sync
    synced(there, here)
    assert pending(here) == 0


def test_pending_of_the_whole_site_are_rows_that_some_peer_lacks(pair, tmp_path):
    here, there = pair
    third = make_site(tmp_path, "butaro", SCHEMA)
    one_network(here, third)
    with here.replica.database.write() as tx:
        put_peer(tx, Peer(third.id, "butaro", "child", "", bytes(32)))
    patient(here, 1)
    synced(there, here)
    synced(third, here)
    patient(here, 2)
    synced(there, here)
    patient(there, 3)
    synced(there, here)
    report = status(here.settings)
    assert {peer.name: peer.pending for peer in report.peers} == {"butaro": 2, "rwinkwavu": 0}
    assert report.pending == 2
    third.close()


def test_what_a_peer_has_not_told_yet_counts_as_pending(pair):
    here, there = pair
    patient(here, 1)
    sync(there, here)
    there.replica.flush()
    assert pending(here) == 1  # here nothing was written down yet
    here.replica.flush()
    assert pending(here) == 0


def test_the_ledger_names_who_wrote_and_who_brought(pair):
    here, there = pair
    patient(there, 1)
    patient(there, 2)
    synced(there, here)
    patient(here, 3)
    here.replica.seal()
    newest, oldest = log(here.settings, entries_max=None)
    assert (newest.origin, newest.sender, newest.seq) == ("kigali", None, 1)
    assert (oldest.origin, oldest.sender, oldest.rows_by_table) == (
        "rwinkwavu", "rwinkwavu", {"patient": 2},
    )  # fmt: skip
    assert oldest.rows == 2
    assert abs(_ms(oldest.written) - _ms(oldest.arrived)) < 60_000
    assert log(here.settings, entries_max=1) == [newest]


def _ms(text):
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp() * 1000


def test_a_conflict_shows_both_values_and_both_authors(pair):
    here, there = pair
    patient(here, 1)
    synced(there, here)
    here.sql("UPDATE patient SET name='Anna'")
    time.sleep(0.002)
    there.sql("UPDATE patient SET name=NULL")
    synced(there, here)
    for site in (here, there):
        (conflict,) = conflicts(site.settings)
        assert (conflict.table, conflict.row, conflict.column) == ("patient", UUIDS[1], "name")
        assert (conflict.kept, conflict.kept_by) == (None, "rwinkwavu")
        assert (conflict.lost, conflict.lost_by) == ("Anna", "kigali")
        assert conflict.kept_written > conflict.lost_written
        assert status(site.settings).conflicts == 1


def test_an_edit_against_a_delete_is_a_conflict_of_the_whole_row(pair):
    here, there = pair
    patient(here, 1)
    synced(there, here)
    here.sql("UPDATE patient SET name='Anna'")
    there.sql("DELETE FROM patient")
    synced(there, here)
    (conflict,) = conflicts(here.settings)
    assert conflict.column is None
    assert (conflict.kept_by, conflict.lost_by) == ("kigali", "rwinkwavu")
    assert "edited by somebody who had not seen the delete" in conflict.done


def test_a_parked_row_shows_its_values_its_author_and_why(pair):
    here, there = pair
    for site in pair:
        set_rule(site, "patient", ["email"], "hold")
    patient(here, 1, "Ann", "a@x")
    patient(there, 2, "Ben", "a@x")
    synced(there, here)
    for site in pair:
        (row,) = parked(site.settings)
        assert row.table == "patient"
        assert row.values["email"] == "a@x"
        assert row.values["name"] in ("Ann", "Ben")
        assert row.reason == "unique clash"
        assert row.detail == "another row has the same patient.email"
        assert row.written_by == ("kigali" if row.values["name"] == "Ann" else "rwinkwavu")
        report = status(site.settings)
        assert (report.parked, report.parked_rows, report.in_sync) == (1, (row,), False)
        assert "1 row cannot be written here; `syncnode parked` says why" in report.notes
        said = not_shown(SimpleNamespace(replica=site.replica))
        assert said.startswith("1 row is parked, the first in patient (")


def test_an_author_beyond_a_peer_is_told_with_that_peer(pair, tmp_path):
    """Names do not travel, but who brought what he wrote is known."""
    here, there = pair
    third = make_site(tmp_path, "butaro", SCHEMA)
    one_network(here, third)
    for site in (*pair, third):
        set_rule(site, "patient", ["email"], "hold")
    patient(third, 1, "Ann", "a@x")
    synced(third, here)
    patient(there, 2, "Ben", "a@x")
    third.sql("UPDATE patient SET name = 'Anna'")
    synced(third, here)
    synced(there, here)
    name = f"a site beyond kigali ({site_text(third.id)[:8]})"
    (row,) = parked(there.settings)
    assert row.written_by in (name, "rwinkwavu")
    assert name in {entry.origin for entry in log(there.settings, entries_max=None)}
    there.sql("UPDATE patient SET email = 'b@x' WHERE uuid = ?", UUIDS[2])
    synced(there, here)
    third.sql("UPDATE patient SET name = 'Anna-Maria' WHERE uuid = ?", UUIDS[1])
    there.sql("UPDATE patient SET name = 'Anne' WHERE uuid = ?", UUIDS[1])
    synced(third, here)
    synced(there, here)
    (conflict,) = conflicts(there.settings)
    assert {conflict.kept_by, conflict.lost_by} == {name, "rwinkwavu"}
    third.close()


def test_a_deleted_row_that_others_refer_to_is_counted_and_named(pair):
    here, there = pair
    patient(here, 1)
    synced(here, there)
    here.sql("DELETE FROM patient")
    there.sql("INSERT INTO visit (uuid, patient_id) VALUES ('v', 1)")
    synced(here, there)
    synced(here, there)
    for site in pair:
        report = status(site.settings)
        assert report.held == 1
        note = "1 row of patient is deleted, and held while other rows refer to it"
        assert note in report.notes
        assert report.in_sync


def test_rows_of_the_future_are_named_with_their_site_and_by_how_much(pair):
    here, there = pair
    there.reopen(wall_ms=lambda: time.time_ns() // 1_000_000 + 3 * 3_600_000 + 60_000)
    patient(there, 1)
    there.sql("UPDATE syncnode_journal SET ms = ms + ?", 3 * 3_600_000 + 60_000)
    synced(there, here)
    report = status(here.settings)
    (note,) = [note for note in report.notes if "kept aside" in note]
    assert note == (
        "1 row of rwinkwavu is kept aside, stamped up to 3 h ahead of the clock here: "
        "set the clock of rwinkwavu"
    )
    assert not report.in_sync
    assert "kept aside" in not_shown(SimpleNamespace(replica=here.replica))


def test_troubles_of_a_peer_are_told(pair):
    here, there = pair
    with here.replica.database.write() as tx:
        put_contacts(tx, {there.id: Contact(None, "cannot reach it", -7_200_000)})
    (peer,) = peers(here.settings)
    assert peer.problem == "cannot reach it; its clock is 2 h behind the clock here"
    assert f"rwinkwavu: {peer.problem}" in status(here.settings).notes
    assert peer.last_exchange is None
    with here.replica.database.write() as tx:
        put_contacts(tx, {there.id: Contact(1_700_000_000_123)})
    (peer,) = peers(here.settings)
    assert (peer.problem, peer.last_exchange) == (None, "2023-11-14T22:13:20.123Z")


def test_missing_triggers_are_told(pair):
    here, _ = pair
    name = min(trigger_names(here.replica.plan))
    here.sql(f"DROP TRIGGER {name}")
    (note,) = [note for note in status(here.settings).notes if "trigger" in note]
    assert name in note
    assert "not captured" in note


def test_a_key_or_an_anchor_that_is_gone_or_damaged_is_told(pair):
    here, _ = pair
    key, anchor = here.settings.key, here.settings.anchor
    assert key_fault(key) is None
    assert anchor_fault(anchor) is None
    good = {path: path.read_bytes() for path in (key, anchor)}
    lines = good[key].decode().splitlines()
    for path, damage, says in (
        (key, None, f"there is no key at {key}, so nothing can be exchanged"),
        (key, b"a key, honestly", f"{key} holds no readable key"),
        (key, b"", "no readable key"),
        (key, good[key][:-40], "no readable key"),
        (key, "\n".join([lines[0], "QUJD", lines[-1]]).encode(), "no readable key"),
        (anchor, None, f"there is no identity anchor at {anchor}"),
        (anchor, b"{", "the identity anchor is damaged; delete it and start again"),
    ):
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
        report = status(here.settings)
        assert says in "\n".join(report.notes)
        path.write_bytes(good[path])
    assert not [note for note in status(here.settings).notes if "key" in note or "anchor" in note]


def test_a_catch_up_between_its_steps_is_told(pair):
    here, there = pair
    with here.replica.database.write() as tx:
        tx.execute(
            "INSERT INTO syncnode_stage (sender, incarnation, lsn, claim, applied, first_lsn, "
            "row_count) VALUES (?, 1, 9, X'00', 1, 1, 90)",
            (there.id,),
        )
        for position in (2, 3):
            tx.execute("INSERT INTO syncnode_staged VALUES (?, ?, X'00')", (there.id, position))
    (note,) = [note for note in status(here.settings).notes if "catching up" in note]
    assert "rwinkwavu: about 30 of 90 rows" in note
    with here.replica.database.write() as tx:
        tx.execute("DELETE FROM syncnode_stage")


def test_a_disk_that_is_nearly_full_is_told(pair, monkeypatch):
    here, _ = pair
    full = SimpleNamespace(f_bavail=10, f_frsize=4096, f_blocks=10_000)
    monkeypatch.setattr(reporting.os, "statvfs", lambda _: full)
    assert any("nearly full: 0 MiB" in note for note in status(here.settings).notes)


def test_serving_is_known_by_the_lock(pair):
    here, _ = pair
    assert not status(here.settings).serving
    lock = serve_lock(here.replica.database)
    lock.take()
    assert status(here.settings).serving
    lock.release()
    assert not status(here.settings).serving
    assert not lock.path.exists()


def test_reports_are_plain_values_and_write_nothing(pair):
    import json

    here, there = pair
    patient(here, 1)
    synced(there, here)
    before = here.path.read_bytes()
    for report in (status(here.settings), *peers(here.settings), *conflicts(here.settings)):
        json.dumps(asdict(report))
    assert here.path.read_bytes() == before


def test_status_of_sqlite_imports_nothing_heavy(pair):
    here, _ = pair
    code = (
        "import sys\nfrom syncnode.__main__ import main\n"
        f"assert main(['status', '--config', {str(here.settings.path)!r}]) == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in done.stderr.split()}
    assert not imported & {"sqlalchemy", "cryptography", "trio", "httpx", "pymysql", "h11"}
    assert "site       kigali" in done.stdout


def test_a_topology_names_the_network(pair):
    here, _ = pair
    named = replace(here.settings, topology=SimpleNamespace(network="rwinkwavu"))
    assert status(named).network == "rwinkwavu"
    assert len(status(here.settings).network) == 16


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (7, "7"),
        (1.5, "1.5"),
        ("Ann", "Ann"),
        (b"\x00\xff", "0x00ff"),
        (
            Reference("patient", RowKey(bytes.fromhex(UUIDS[3].replace("-", "")))),
            f"patient:{UUIDS[3]}",
        ),
    ],
)
def test_values_are_plain_text(value, text):
    assert value_text(value) == text


@pytest.mark.parametrize(
    ("skew_ms", "text"),
    [
        (1_000, "1 s ahead of"),
        (-119_000, "119 s behind"),
        (120_000, "2 min ahead of"),
        (-7_200_000, "2 h behind"),
        (26 * 365 * 86_400_000, "9490 days ahead of"),
    ],
)
def test_a_skew_has_a_size_and_a_direction(skew_ms, text):
    assert skew_text(skew_ms) == text


def test_times_beyond_the_calendar_are_shown_at_its_end():
    assert utc_text(1 << 50) == "9999-12-31T23:59:59.999Z"
    assert utc_text(-5) == "1970-01-01T00:00:00.000Z"
