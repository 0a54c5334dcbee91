"""A site that was restored, moved or cloned says so: what was seen, since when, what was done."""

import json
import shutil
import sqlite3
import subprocess

import pytest
from processes import ProcessSite

from syncnode.identity.renewals import (
    KEPT,
    LEAPS_FRESH_MS,
    MOVED,
    OLDER,
    PEER,
    SETTING,
    SHARED_TOLD_MS,
    TOLD_MS,
    Herald,
    Renewal,
    is_shared,
    read_renewals,
    told,
    with_one_more,
)

DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000


def leap(ms, before):
    return Renewal(ms, before, before + 2, PEER)


def test_one_renewal_is_told_with_its_time_its_reason_and_what_was_done():
    one = Renewal(NOW_MS, 1, 2, OLDER)
    said = told([one], NOW_MS)
    assert said.startswith("this site was restored from an older copy: ")
    assert "on 2027-01-15T08:00:00.000Z it went on as incarnation 2" in said
    assert "fetches from its peers" in said
    assert told([], NOW_MS) is None
    assert told([one], NOW_MS + TOLD_MS) is None


@pytest.mark.parametrize(
    ("renewals", "shared"),
    [
        ([], False),
        ([leap(NOW_MS, 1)], False),  # as after a backup from before an earlier renewal
        ([leap(NOW_MS - DAY_MS, 1), leap(NOW_MS, 3)], True),
        ([Renewal(NOW_MS, 1, 2, PEER), Renewal(NOW_MS, 2, 3, PEER)], False),
        ([Renewal(NOW_MS, 1, 3, MOVED), Renewal(NOW_MS, 3, 5, OLDER)], False),
        ([leap(NOW_MS - TOLD_MS, 1), leap(NOW_MS, 3)], False),
        ([leap(NOW_MS - LEAPS_FRESH_MS - 2, 1), leap(NOW_MS - LEAPS_FRESH_MS, 3)], False),
    ],
)
def test_a_clone_is_known_by_incarnations_that_this_database_never_had(renewals, shared):
    assert is_shared(renewals, NOW_MS) == shared


def test_only_the_latest_are_kept():
    settings = {}
    for number in range(1, 100):
        settings[SETTING] = with_one_more(settings, leap(number, number))
    assert read_renewals(settings) == [leap(number, number) for number in range(100 - KEPT, 100)]


def test_a_daemon_tells_each_renewal_once_and_of_a_clone_once_an_hour():
    now_ms, heard = NOW_MS, []
    herald = Herald(heard.append, lambda: now_ms)
    renewals = [Renewal(now_ms, 1, 2, OLDER)]
    for _ in range(2):
        herald.look(renewals)
    assert len(heard) == 1
    for number in range(3, 9, 2):
        renewals.append(leap(now_ms, number))
        herald.look(renewals)
    assert len(heard) == 3  # one leap, then the clone
    assert "another machine uses the identity of this site" in heard[-1]
    now_ms += SHARED_TOLD_MS
    renewals.append(leap(now_ms, 9))
    herald.look(renewals)
    assert heard[3].startswith("another machine")


# --- As an operator meets it ---


@pytest.fixture
def pair(tmp_path):
    """A parent that serves, and a child that joined it."""
    parent, child = ProcessSite(tmp_path, "kigali"), ProcessSite(tmp_path, "butaro", listens=False)
    for one in (parent, child):
        one.init()
    parent.start()
    parent.admit(child)
    child.add_patient("Ann")
    child.run("sync")
    yield parent, child
    for one in (parent, child):
        one.close()


def copy_of(site):
    """The database with its sidecar, as a backup holds it."""
    path = site.folder / "backup.db"
    path.unlink(missing_ok=True)
    site.sql(f"VACUUM INTO '{path}'")
    return path


def put_back(site, copy):
    site.connection.close()
    for suffix in ("", "-wal", "-shm"):
        (site.folder / f"site.db{suffix}").unlink(missing_ok=True)
    shutil.copy(copy, site.database)
    site.connection = sqlite3.connect(site.database, isolation_level=None)


def test_a_restored_database_is_named_by_sync_by_serve_and_by_status(pair):
    parent, child = pair
    copy = copy_of(child)
    child.add_patient("lost with the database")
    child.run("sync")
    assert not [note for note in child.report("status")["notes"] if "restored" in note]
    put_back(child, copy)
    report = child.report("sync")
    assert report["done"]
    (said,) = report["notes"]
    assert "this site was restored from an older copy" in said
    assert "went on as incarnation 2" in said
    assert said in child.report("status")["notes"]
    assert child.report("status")["in_sync"]
    assert child.patients() == parent.patients()
    assert child.report("sync")["notes"] == [], "it is news only once"
    put_back(child, copy)
    child.start()
    assert "went on as incarnation 3" in child.log()


def test_a_clone_beside_its_original_is_named_on_both_and_gets_a_key_of_its_own(pair, tmp_path):
    parent, child = pair
    clone = object.__new__(ProcessSite)
    clone.__dict__ |= child.__dict__
    clone.folder = tmp_path / "clone"
    # Not by this process, which has the file open: closing a copy of it would take its locks.
    subprocess.run(["cp", "-r", child.folder, clone.folder], check=True)
    clone.database, clone.config = clone.folder / "site.db", clone.folder / "syncnode.toml"
    clone.config.write_text(clone.config.read_text().replace(str(child.folder), str(clone.folder)))
    clone.connection = sqlite3.connect(clone.database, isolation_level=None)
    try:
        (first,) = clone.report("sync")["notes"]
        assert "copied or moved from another machine or folder" in first
        for _ in range(3):
            for one in (clone, child):
                one.add_patient(f"of {one.folder.name}")
                report = one.report("sync")
                assert report["done"], "nothing is held up"
        assert "another machine uses the identity of this site" in report["notes"][0]
        for one in (child, clone):
            status = one.report("status")
            assert "another machine uses the identity of this site" in status["notes"][0]
            assert not status["in_sync"]
        # What the sentence says is to be done.
        old = (clone.folder / "site.key").read_bytes()
        clone.run("uninstall", "--force")
        clone.run("init")
        assert (clone.folder / "site.key").read_bytes() != old
        token = parent.run("invite", "clone").strip()
        clone.run("join", token, "--yes")
        clone.run("sync")
        for one in (child, clone, child, clone):
            one.add_patient("afterwards")
            assert one.report("sync")["notes"] == []
        child.run("sync")
        assert child.patients() == clone.patients() == parent.patients()
        kept = json.loads(
            child.sql("SELECT value FROM syncnode_setting WHERE name = ?", SETTING)[0][0]
        )
        assert kept[-1]["why"] == PEER
    finally:
        clone.connection.close()
