"""Bundles between real databases: any order, twice, in part, among exchanges, and never wrongly."""

import random
import shutil

import pytest
from couriers import introduce, pack, unpack
from sites import connect, make_site, one_network, same, sync

from syncnode.operations.discarding import discard
from syncnode.operations.forgetting import forget
from syncnode.operations.reporting import status
from syncnode.settings.config import read_settings
from syncproto.errors import ConfigError, UsageError

SCHEMA = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT)",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " patient_id INTEGER REFERENCES patient (id), note TEXT)",
)
SMALL = 64_000


@pytest.fixture
def sites(tmp_path):
    """Three sites that know each other, with bundles as their only link."""
    made = [make_site(tmp_path, name, SCHEMA) for name in ("kigali", "butaro", "rwinkwavu")]
    one_network(*made)
    introduce(*made)
    yield made
    for site in made:
        site.close()


def add(site, number, name="Ana"):
    site.sql(
        "INSERT INTO patient (uuid, name) VALUES (?, ?)",
        f"0a8e1a54-1111-4222-8333-{number:012}",
        name,
    )


def names(site):
    return [name for (name,) in site.sql("SELECT name FROM patient ORDER BY uuid")]


def many(site, count=2600):
    """Rows for several small parts."""
    draw = random.Random(7)
    with site.transaction():
        for number in range(count):
            add(site, number, draw.randbytes(42).hex())


def test_what_is_exported_here_is_there_after_the_import(sites, tmp_path):
    kigali, butaro, _ = sites
    add(kigali, 1)
    kigali.sql("INSERT INTO visit (uuid, patient_id, note) VALUES ('v1', 1, 'fever')")
    report = pack(kigali, tmp_path / "key", "butaro")
    assert (report.files, report.rows, report.needs) == ((str(tmp_path / "key"),), 2, None)
    done = unpack(butaro, tmp_path / "key")
    assert (done.done, done.taken, done.files[0].exporter) == (True, 1, "kigali")
    same(kigali, butaro)
    assert names(butaro) == ["Ana"]


def test_a_second_import_of_the_same_changes_nothing(sites, tmp_path):
    kigali, butaro, _ = sites
    add(kigali, 1)
    pack(kigali, tmp_path / "key", "butaro")
    unpack(butaro, tmp_path / "key")
    before = butaro.state(), butaro.look("SELECT * FROM syncnode_changeset")
    done = unpack(butaro, tmp_path / "key", tmp_path / "key")
    assert (done.done, done.taken) == (True, 0)
    assert (butaro.state(), butaro.look("SELECT * FROM syncnode_changeset")) == before
    assert butaro.look("SELECT 1 FROM syncnode_bundle") == []
    assert butaro.look("SELECT 1 FROM syncnode_staged") == []


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (2, 0, 0, 2, 1)])
def test_parts_come_in_any_order_and_are_one_delta(sites, tmp_path, order):
    kigali, butaro, _ = sites
    many(kigali)
    report = pack(kigali, tmp_path / "key", "butaro", split=SMALL)
    assert len(report.files) == 3
    assert report.files[0].endswith("key.1")
    assert all((tmp_path / file).stat().st_size <= SMALL for file in report.files)
    for place in order[:-1]:
        done = unpack(butaro, report.files[place])
        assert not done.done
        assert names(butaro) == []  # nothing of it is shown until all is here
    assert unpack(butaro, report.files[order[-1]]).done
    same(kigali, butaro)
    assert len(names(butaro)) == 2600


def test_status_names_the_part_that_is_missing_and_who_can_supply_it(sites, tmp_path):
    kigali, butaro, rwinkwavu = sites
    many(kigali)
    report = pack(kigali, tmp_path / "key", "butaro", split=SMALL)
    sync(kigali, rwinkwavu)
    unpack(butaro, *(file for number, file in enumerate(report.files) if number != 1))
    (note,) = (text for text in status(butaro.settings).notes if "part 2" in text)
    assert note.startswith("part 2 of 3 of the bundle of kigali, 20")
    assert "is missing (" in note
    assert "; kigali can supply it; `syncnode import --discard " in note
    assert not status(butaro.settings).in_sync
    # Who says that it holds all of it can supply it, too.
    pack(rwinkwavu, tmp_path / "other", "butaro", "kigali")
    kigali.replica.flush()
    done = unpack(butaro, tmp_path / "other")
    assert done.done  # and so it did
    same(kigali, butaro, rwinkwavu)


def test_an_exchange_with_the_same_site_between_two_parts_does_no_harm(sites, tmp_path):
    kigali, butaro, _ = sites
    many(kigali)
    report = pack(kigali, tmp_path / "key", "butaro", split=SMALL)
    unpack(butaro, *report.files[:2])
    add(kigali, 9000, "Ben")
    sync(butaro, kigali)
    assert butaro.look("SELECT 1 FROM syncnode_bundle") == []  # all of it came the other way
    assert unpack(butaro, *report.files[2:]).done
    same(kigali, butaro)


def test_a_broken_exchange_between_two_parts_does_no_harm(sites, tmp_path):
    kigali, butaro, _ = sites
    kigali.reopen(chunk_bytes_max=20_000)
    many(kigali)
    report = pack(kigali, tmp_path / "key", "butaro", split=SMALL)
    unpack(butaro, *report.files[:2])
    sync(butaro, kigali, break_at=5, check=False)
    assert butaro.look("SELECT count(*) FROM syncnode_stage") == [(1,)]  # of kigali's exchange
    assert unpack(butaro, *report.files[2:]).done
    assert len(names(butaro)) == 2600
    sync(butaro, kigali)
    same(kigali, butaro)


def test_a_bundle_without_its_base_waits_and_claims_nothing(sites, tmp_path):
    kigali, butaro, rwinkwavu = sites
    add(kigali, 1, "Ana")
    pack(kigali, tmp_path / "one", "butaro")
    add(kigali, 2, "Ben")
    report = pack(kigali, tmp_path / "two", "butaro", since="last")
    assert report.needs is not None
    assert report.needs.startswith("the bundle of 20")
    assert report.rows == 1
    before = butaro.replica.standing(butaro.id).frontier
    done = unpack(butaro, tmp_path / "two")
    assert not done.done
    assert done.waiting[0].startswith("the bundle of kigali, 20")
    assert "waits for 1 changesets that came before it" in done.waiting[0]
    assert butaro.replica.standing(butaro.id).frontier == before
    assert names(butaro) == []
    sync(butaro, rwinkwavu)  # nothing of it is served
    assert names(rwinkwavu) == []
    done = unpack(butaro, tmp_path / "one")
    assert (done.done, done.taken) == (True, 2)
    assert names(butaro) == ["Ana", "Ben"]
    same(kigali, butaro)


def test_what_waits_for_its_base_is_taken_when_an_exchange_brings_that(sites, tmp_path):
    kigali, butaro, rwinkwavu = sites
    add(kigali, 1, "Ana")
    sync(kigali, rwinkwavu)
    pack(kigali, tmp_path / "one", "butaro")
    add(kigali, 2, "Ben")
    pack(kigali, tmp_path / "two", "butaro", since="last")
    assert not unpack(butaro, tmp_path / "two").done
    sync(butaro, rwinkwavu)
    assert names(butaro) == ["Ana", "Ben"]
    same(kigali, butaro)


def test_the_next_bundle_begins_where_the_reader_said_it_stands(sites, tmp_path):
    kigali, butaro, _ = sites
    add(kigali, 1, "Ana")
    pack(kigali, tmp_path / "1", "butaro")
    unpack(butaro, tmp_path / "1")
    pack(butaro, tmp_path / "2", "kigali")  # nothing new: a receipt
    assert unpack(kigali, tmp_path / "2").done
    (peer,) = (one for one in status(kigali.settings).peers if one.name == "butaro")
    assert (peer.pending, peer.equal) == (0, True)
    assert peer.last_exchange is not None
    add(kigali, 2, "Ben")
    report = pack(kigali, tmp_path / "3", "butaro")
    assert (report.rows, report.needs) == (1, "what butaro last said")
    assert unpack(butaro, tmp_path / "3").done
    same(kigali, butaro)


def test_a_receipt_travels_by_a_third_site(sites, tmp_path):
    kigali, butaro, rwinkwavu = sites
    add(kigali, 1, "Ana")
    pack(kigali, tmp_path / "1", "butaro")
    unpack(butaro, tmp_path / "1")
    pack(butaro, tmp_path / "2", "rwinkwavu")
    unpack(rwinkwavu, tmp_path / "2")
    pack(rwinkwavu, tmp_path / "3", "kigali")
    unpack(kigali, tmp_path / "3")
    add(kigali, 2, "Ben")
    assert pack(kigali, tmp_path / "4", "butaro").rows == 1


def test_one_for_several_readers_holds_what_any_of_them_lacks(sites, tmp_path):
    kigali, butaro, rwinkwavu = sites
    add(kigali, 1, "Ana")
    sync(butaro, kigali)
    kigali.replica.flush()
    add(kigali, 2, "Ben")
    assert pack(kigali, tmp_path / "one", "butaro").rows == 1
    report = pack(kigali, tmp_path / "key", "butaro", "rwinkwavu")
    assert (report.rows, report.needs) == (2, None)
    for site in (butaro, rwinkwavu):
        assert unpack(site, tmp_path / "key").done
    same(*sites)


def test_one_for_anyone_holds_everything(sites, tmp_path):
    kigali, butaro, rwinkwavu = sites
    add(kigali, 1, "Ana")
    sync(butaro, kigali)
    kigali.replica.flush()
    report = pack(kigali, tmp_path / "key", "anyone")
    assert (report.rows, report.needs, set(report.readers)) == (1, None, {"butaro", "rwinkwavu"})
    for site in (butaro, rwinkwavu):
        assert unpack(site, tmp_path / "key").done
    same(*sites)
    report = pack(kigali, tmp_path / "more", "anyone", since="butaro")
    assert (report.rows, report.needs) == (0, "what butaro last said")


def test_a_reader_that_is_not_named_learns_whom_it_is_for(sites, tmp_path):
    kigali, _, rwinkwavu = sites
    add(kigali, 1)
    pack(kigali, tmp_path / "key", "butaro")
    done = unpack(rwinkwavu, tmp_path / "key")
    assert not done.done
    assert "can be opened by butaro alone; have it made again with `--for rwinkwavu`" in str(
        done.files[0].problem
    )
    assert b"Ana" not in (tmp_path / "key").read_bytes()


def test_what_was_changed_or_cut_off_is_refused_by_part(sites, tmp_path):
    kigali, butaro, _ = sites
    many(kigali)
    report = pack(kigali, tmp_path / "key", "butaro", split=SMALL)
    for file, spoil, why in (
        (report.files[0], lambda data: data[:-300], "it is cut off"),
        (
            report.files[1],
            lambda data: data[:5000] + bytes((data[5000] ^ 1,)) + data[5001:],
            "does not fit",
        ),
        (report.files[2], lambda data: data + b"x", "bytes after its end"),
    ):
        whole = (tmp_path / file).read_bytes()
        (tmp_path / file).write_bytes(spoil(whole))
        done = unpack(butaro, file)
        number = file.rpartition(".")[2]
        problem = str(done.files[0].problem)
        assert problem.startswith(f"part {number} of the bundle of kigali, 20"), problem
        assert why in problem
        assert butaro.look("SELECT 1 FROM syncnode_staged") == []
        (tmp_path / file).write_bytes(whole)
    assert unpack(butaro, *report.files).done
    same(kigali, butaro)


def test_a_file_that_is_no_bundle_spoils_none_of_the_others(sites, tmp_path):
    kigali, butaro, _ = sites
    add(kigali, 1)
    pack(kigali, tmp_path / "key", "butaro")
    (tmp_path / "photo").write_bytes(b"GIF89a" * 99)
    done = unpack(butaro, tmp_path / "photo", tmp_path / "gone", tmp_path / "key")
    problems = [one.problem for one in done.files]
    assert problems == ["no bundle of syncnode", "No such file or directory", None]
    assert names(butaro) == ["Ana"]


def test_a_site_that_was_forgotten_is_refused_also_with_what_waits(sites, tmp_path):
    kigali, butaro, _ = sites
    many(kigali)
    report = pack(kigali, tmp_path / "key", "butaro", split=SMALL)
    unpack(butaro, report.files[0])
    assert butaro.look("SELECT count(*) FROM syncnode_bundle") == [(1,)]
    forget(butaro.settings, "kigali")
    assert butaro.look("SELECT 1 FROM syncnode_bundle") == []
    assert butaro.look("SELECT 1 FROM syncnode_staged") == []
    done = unpack(butaro, *report.files)
    assert all("is not known at this site" in str(one.problem) for one in done.files)
    assert names(butaro) == []


def test_another_networks_bundle_is_refused(sites, tmp_path):
    kigali, butaro, _ = sites
    add(kigali, 1)
    pack(kigali, tmp_path / "key", "butaro")
    with butaro.replica.database.write() as tx:
        tx.execute("UPDATE syncnode_setting SET value='0011223344556677' WHERE name='network'")
    assert "another network" in str(unpack(butaro, tmp_path / "key").files[0].problem)
    assert "made it itself" in str(unpack(kigali, tmp_path / "key").files[0].problem)


def test_a_large_bundle_goes_in_steps_and_is_named_meanwhile(sites, tmp_path):
    kigali, butaro, _ = sites
    many(kigali)
    pack(kigali, tmp_path / "key", "butaro", split=SMALL)
    with butaro.settings.path.open("a") as file:
        file.write("\n[limits]\napply_rows_max = 500\n")
    butaro.settings = read_settings(butaro.settings.path)
    done = unpack(butaro, *sorted(tmp_path.glob("key.*")))
    assert done.done, done
    same(kigali, butaro)
    (sender,) = {bytes(one) for (one,) in butaro.look("SELECT sender FROM syncnode_changeset")}
    assert sender == kigali.id
    assert butaro.look("SELECT 1 FROM syncnode_stage") == []


def test_a_database_that_was_put_back_learns_it_from_a_bundle(sites, tmp_path):
    kigali, butaro, _ = sites
    add(butaro, 1, "Ana")
    sync(butaro, kigali)
    saved = tmp_path / "saved"
    butaro.replica.close()
    butaro.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copytree(butaro.path.parent, saved)
    butaro.reopen()
    add(butaro, 2, "lost")
    sync(butaro, kigali)
    butaro.close()
    shutil.rmtree(butaro.path.parent)
    shutil.copytree(saved, butaro.path.parent)  # the whole machine: database and anchor
    butaro.connection = connect(butaro.settings.database)
    butaro.reopen()
    before = butaro.origin.incarnation
    pack(kigali, tmp_path / "key", "butaro", since=None)
    assert unpack(butaro, tmp_path / "key").files[0].problem is None
    assert butaro.origin.incarnation > before
    sync(butaro, kigali)
    same(butaro, kigali)
    assert names(butaro) == ["Ana", "lost"]


def test_what_builds_on_what_is_lost_for_good_can_be_given_up(sites, tmp_path):
    kigali, butaro, _ = sites
    add(kigali, 1)
    pack(kigali, tmp_path / "lost", "butaro")
    add(kigali, 2)
    report = pack(kigali, tmp_path / "key", "butaro", since="last")
    (text,) = unpack(butaro, tmp_path / "key").waiting
    assert f"--discard {report.bundle[:8]}` gives it up" in text
    with pytest.raises(ConfigError, match=f"those that wait: {report.bundle[:8]}"):
        discard(butaro.settings, "0123456789")
    done = discard(butaro.settings, report.bundle[:8])
    assert (done.done, len(done.notes)) == (True, 1)
    for table in ("bundle", "staged"):
        assert butaro.look(f"SELECT 1 FROM syncnode_{table}") == []
    sync(butaro, kigali)
    same(butaro, kigali)


def test_what_another_process_has_taken_is_not_taken_again(sites, tmp_path):
    kigali, butaro, _ = sites
    add(kigali, 1)
    pack(kigali, tmp_path / "key", "butaro")
    unpack(butaro, tmp_path / "key")
    before = butaro.replica.standing(butaro.id).frontier
    assert butaro.replica._take_bundle(b"gone while one looked") is False
    assert butaro.replica.standing(butaro.id).frontier == before


def test_wrong_usage_is_named(sites, tmp_path):
    kigali = sites[0]
    add(kigali, 1)
    for readers, options, error, text in (
        (("nobody",), {}, ConfigError, "no peer named 'nobody'"),
        (("anyone", "butaro"), {}, UsageError, "stands alone"),
        (("butaro",), {"split": 10}, UsageError, "at least 64 KB"),
        (("butaro",), {"since": "last"}, ConfigError, "nothing was exported"),
        (("butaro",), {"since": "butaro"}, ConfigError, "has not said yet"),
    ):
        with pytest.raises(error, match=text):
            pack(kigali, tmp_path / "key", *readers, **options)
    (tmp_path / "there").write_text("a letter")
    with pytest.raises(ConfigError, match="exists already"):
        pack(kigali, tmp_path / "there", "butaro")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["there"]
