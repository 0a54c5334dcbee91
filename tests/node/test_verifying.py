"""`verify`: what no trigger saw is found here, what differs is found with a peer; and repaired."""

import hashlib
from contextlib import contextmanager

import pytest
from mariadb_sites import maker, run, servers_of
from processes import ProcessSite
from sites import make_site, one_network, sync

from syncnode.apply.repairing import read_repairs
from syncnode.capture.local_check import unseen
from syncnode.comparing.answers import Answers
from syncnode.comparing.contents import Contents
from syncnode.operations.following import follow
from syncnode.operations.verifying import Verifying, check
from syncproto.errors import (
    LimitExceededError,
    MalformedMessageError,
    StoreError,
    UnexpectedMessageError,
)
from syncproto.question_bytes import encode_question
from syncproto.questions import Leaf, Question, group_checks
from syncproto.sums import sum_of

SCHEMA = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT,"
    " weight REAL)",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " patient_id INTEGER REFERENCES patient (id), note TEXT)",
    "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)",
    "CREATE TABLE tag (name TEXT, value TEXT)",
    "CREATE TABLE role (role TEXT PRIMARY KEY NOT NULL, title TEXT)",
)


def uuid_of(number):
    digits = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def add(site, number, name="Ann"):
    site.sql("INSERT INTO patient (uuid, name) VALUES (?, ?)", uuid_of(number), name)


@pytest.fixture
def pair(tmp_path):
    """Two sites in step, with rows of every kind of key."""
    here, there = make_site(tmp_path, "here", SCHEMA), make_site(tmp_path, "there", SCHEMA)
    one_network(here, there)
    for number in range(40):
        add(here, number, f"name {number}")
    for number in range(20):
        here.sql(
            "INSERT INTO visit (uuid, patient_id, note) VALUES (?, ?, 'x')",
            uuid_of(1000 + number),
            number + 1,
        )
    there.sql("INSERT INTO patient (uuid, name) VALUES (?, 'first here')", uuid_of(77))
    here.sql("INSERT INTO note (text) VALUES ('a'), ('b')")
    here.sql("INSERT INTO tag VALUES ('x', '1'), ('x', '1'), ('y', NULL)")
    here.sql("INSERT INTO role VALUES ('nurse', 'Nurse'), ('clerk', 'Clerk')")
    sync(here, there)
    yield here, there
    here.close()
    there.close()


def _checks_of(site):
    contents = Contents(site.replica)
    return group_checks(contents.totals, contents.shapes)


@contextmanager
def unwatched(site, *tables):
    """The application writes, and no trigger looks on."""
    names = site.look("SELECT name, sql FROM sqlite_master WHERE type='trigger'")
    for name, _ in names:
        site.sql(f"DROP TRIGGER {name}")
    yield
    for _, sql in names:
        site.sql(sql)


def verified(here, there, *, repair=False, ours=False, values=False, confirm=lambda _: True):
    answers = Answers(there.replica)

    def ask(body):
        there.replica.seal()
        return answers.answer(body)

    verifying = Verifying(here.replica, there.name, ask, lambda _: None, ours=ours, values=values)
    return verifying.run(repair, confirm)


def numbers(report):
    """Of the tables that differ: same, different, only here, only there, on the way."""
    return {
        one.table: (one.same, one.different, one.only_here, one.only_there, one.on_the_way)
        for one in report.tables
        if not one.equal
    }


def checked(site, *, repair=False, confirm=lambda _: True):
    return check(site.settings, repair=repair, confirm=confirm, progress=lambda _: None)


def faults(report):
    return {
        one.table: (one.uncaptured, one.vanished, one.renamed, one.moved)
        for one in report.tables
        if not one.sound
    }


def shown(site):
    """What people see, without local numbers."""
    return {
        "patient": site.sql("SELECT uuid, name, weight FROM patient ORDER BY uuid"),
        "visit": site.sql(
            "SELECT v.uuid, p.uuid, v.note FROM visit v LEFT JOIN patient p "
            "ON p.id = v.patient_id ORDER BY v.uuid"
        ),
        "note": site.sql("SELECT text FROM note ORDER BY text"),
        "tag": site.sql("SELECT name, value FROM tag ORDER BY name, value"),
        "role": site.sql("SELECT role, title FROM role ORDER BY role"),
    }


def in_step(here, there):
    sync(here, there)
    assert shown(here) == shown(there)
    assert verified(here, there).equal
    for site in (here, there):
        assert checked(site).sound


# With a peer


def test_sites_in_step_are_equal_and_that_costs_few_bytes(pair):
    here, there = pair
    assert shown(here) == shown(there)
    report = verified(here, there)
    assert report.equal
    assert report.reason is None
    assert numbers(report) == {}
    assert {one.table: one.same for one in report.tables} == {
        "patient": 41, "visit": 20, "note": 2, "tag": 3, "role": 2,
    }  # fmt: skip
    assert report.bytes_sent + report.bytes_received < 250


def test_one_flipped_cell_is_found_by_table_row_and_column(pair):
    here, there = pair
    with unwatched(there):
        there.sql("UPDATE patient SET name = 'flipped' WHERE uuid = ?", uuid_of(7))
    report = verified(here, there)
    assert numbers(report) == {"patient": (40, 1, 0, 0, 0)}
    (example,) = next(one for one in report.tables if one.table == "patient").examples
    assert (example.row, example.where, example.columns) == (uuid_of(7), "different", ("name",))
    assert example.here is example.there is None  # values are shown only when asked for
    assert "flipped" not in str(report)
    assert "patient" in report.reason
    shown_too = verified(here, there, values=True)
    (example,) = next(one for one in shown_too.tables if one.table == "patient").examples
    assert (example.here, example.there) == ({"name": "name 7"}, {"name": "flipped"})


def test_a_uuid_is_the_same_in_any_case_and_no_other_text_is(pair):
    """As PostgreSQL's uuid shows it, which knows no capitals."""
    here, there = pair
    for site, text in ((here, uuid_of(1)), (there, uuid_of(1).upper())):
        with unwatched(site):
            site.sql("UPDATE visit SET note = ?", text)
    assert verified(here, there).equal
    with unwatched(there):
        there.sql("UPDATE patient SET name = upper(name) WHERE uuid = ?", uuid_of(7))
        there.sql("UPDATE visit SET note = upper(?) WHERE uuid = ?", uuid_of(2), uuid_of(1003))
    assert numbers(verified(here, there)) == {
        "patient": (40, 1, 0, 0, 0), "visit": (19, 1, 0, 0, 0),
    }  # fmt: skip


@pytest.mark.parametrize("ours", [False, True])
def test_a_repair_writes_the_values_of_the_side_that_stands(pair, ours):
    here, there = pair
    with unwatched(there):
        there.sql("UPDATE patient SET name = 'flipped' WHERE uuid = ?", uuid_of(7))
    before = shown(here), shown(there)
    asked = []
    refused = verified(here, there, repair=True, ours=ours, confirm=lambda r: asked.append(r))
    assert refused.repaired == 0
    (plan,) = asked[0].plan
    said = "written again as they are here" if ours else "written here as there has them"
    assert plan == f"patient: 1 row {said}"
    assert (shown(here), shown(there)) == before
    report = verified(here, there, repair=True, ours=ours)
    assert report.repaired == 1
    assert not report.equal
    assert "syncnode sync there" in report.reason
    in_step(here, there)
    assert shown(here) == before[0 if ours else 1]
    assert here.conflicts() == there.conflicts() == []
    ((settings,),) = here.look("SELECT value FROM syncnode_setting WHERE name='repairs'")
    assert (1, here.origin and here.replica.standing(here.id).latest.seq) in read_repairs(
        {"repairs": settings}
    )


@pytest.mark.parametrize("ours", [False, True])
def test_rows_of_one_side_alone_are_repaired_too(pair, ours):
    """A row that both sites know, and that one of them lost with its clock."""
    here, there = pair
    ((lost,),) = here.sql("SELECT id FROM visit WHERE uuid=?", uuid_of(1003))
    table = next(table for table in here.replica.tables.values() if table.name == "visit")
    key = bytes.fromhex(uuid_of(1003).replace("-", ""))
    row = here.state()["visit", key]
    with unwatched(here):
        here.sql("DELETE FROM visit WHERE id=?", lost)
    with here.replica.database.write() as tx:
        table.delete_clocks(tx, [(lost,)])
        book = here.replica._load(tx)
        book.add_sum("visit", -sum_of(key, row))
        book.save()
    assert numbers(verified(here, there)) == {"visit": (19, 0, 0, 1, 0)}
    assert numbers(verified(there, here)) == {"visit": (19, 0, 1, 0, 0)}
    verified(here, there, repair=True, ours=ours)
    in_step(here, there)
    assert (len(shown(here)["visit"]) == 19) == ours


def test_what_was_not_exchanged_yet_is_on_the_way_and_not_different(pair):
    here, there = pair
    here.sql("UPDATE patient SET name = 'new' WHERE uuid = ?", uuid_of(3))
    there.sql("UPDATE patient SET name = 'newer' WHERE uuid = ?", uuid_of(4))
    here.sql("DELETE FROM note WHERE text = 'a'")
    add(here, 500)
    report = verified(here, there)
    assert numbers(report) == {"patient": (39, 0, 0, 0, 3), "note": (1, 0, 0, 0, 1)}
    assert not report.equal
    assert "not exchanged yet" in report.reason
    assert report.plan == ()
    assert verified(here, there, repair=True, confirm=pytest.fail).repaired == 0
    in_step(here, there)


def test_parked_rows_are_compared_by_what_is_replicated_and_counted(tmp_path):
    strict = (SCHEMA[0].replace("weight REAL", "weight REAL CHECK (weight < 100)"), *SCHEMA[1:])
    here, there = make_site(tmp_path, "here", SCHEMA), make_site(tmp_path, "there", strict)
    one_network(here, there)
    add(here, 1)
    here.sql("INSERT INTO patient (uuid, name, weight) VALUES (?, 'Ben', 120)", uuid_of(2))
    sync(here, there)
    assert there.parked() == [("patient", "check constraint")]
    report = verified(here, there)
    assert report.equal
    patient = next(one for one in report.tables if one.table == "patient")
    assert (patient.same, patient.hidden_here, patient.hidden_there) == (2, 0, 1)
    for site in (here, there):
        site.close()


def test_deleted_rows_that_others_hold_do_not_count(pair):
    here, there = pair
    here.sql("DELETE FROM visit WHERE patient_id = 40")
    here.sql("DELETE FROM patient WHERE id = 40")
    ((local,),) = there.sql("SELECT id FROM patient WHERE uuid = ?", uuid_of(39))
    there.sql("INSERT INTO visit (uuid, patient_id) VALUES (?, ?)", uuid_of(800), local)
    sync(here, there)
    sync(there, here)
    assert here.held() == there.held() == [("patient", None)]
    report = verified(here, there)
    assert report.equal
    assert next(one for one in report.tables if one.table == "patient").same == 40
    for site in (here, there):
        assert checked(site).sound


def test_renamed_rows_are_compared_by_what_is_replicated(tmp_path):
    schema = ("CREATE TABLE person (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
              " username TEXT UNIQUE)",)  # fmt: skip
    here, there = make_site(tmp_path, "here", schema), make_site(tmp_path, "there", schema)
    one_network(here, there)
    for number, site in enumerate((here, there)):
        site.sql("INSERT INTO person (uuid, username) VALUES (?, 'bob')", uuid_of(number))
    sync(here, there)
    sync(there, here)
    shown_names = here.sql("SELECT username FROM person ORDER BY uuid")
    assert ("bob",) in shown_names
    assert shown_names != [("bob",), ("bob",)]
    report = verified(here, there)
    assert report.equal
    assert report.tables[0].same == 2
    for site in (here, there):
        assert checked(site).sound
        site.close()


def test_a_column_that_one_site_has_not_yet_is_no_difference_of_rows(pair):
    here, there = pair
    here.sql("ALTER TABLE patient ADD COLUMN email TEXT NOT NULL DEFAULT 'none'")
    assert follow(here.replica, here.settings)
    for site, other in (pair, reversed(pair)):
        assert verified(site, other).equal  # nobody wrote what the default put there
    here.sql("UPDATE patient SET email = 'x@y' WHERE uuid = ?", uuid_of(3))
    add(here, 700)
    sync(here, there)
    for site, other in (pair, reversed(pair)):
        assert verified(site, other).equal  # what is not known there is kept all the same
        assert checked(site).sound
    with unwatched(here):
        here.sql("UPDATE patient SET email = 'flipped' WHERE uuid = ?", uuid_of(3))
    found = verified(here, there)
    assert numbers(found) == {"patient": (41, 1, 0, 0, 0)}
    (example,) = next(one for one in found.tables if one.table == "patient").examples
    assert example.columns == ("email",)


def test_a_table_of_one_site_alone_is_named(tmp_path):
    here = make_site(tmp_path, "here", SCHEMA)
    there = make_site(tmp_path, "there", SCHEMA, exclude=("note",))
    one_network(here, there)
    here.sql("INSERT INTO note (text) VALUES ('a')")
    report = verified(here, there)
    assert [(one.table, one.unknown_to) for one in report.tables if one.unknown_to] == [
        ("note", "there")
    ]
    assert report.equal
    back = verified(there, here)
    assert [(one.table, one.unknown_to) for one in back.tables if one.unknown_to] == [
        ("note", "here")
    ]
    for site in (here, there):
        site.close()


def test_rows_that_are_too_large_together_are_told_in_parts(pair):
    here, there = pair
    with unwatched(there):
        there.sql("UPDATE patient SET name = 'flipped ' || id")
    answers, told = Answers(there.replica), []

    def limited(body):
        found = answers.answer(body)
        if len(found) > 1_500:
            raise LimitExceededError("too long")
        told.append(len(found))
        return found

    report = Verifying(here.replica, "there", limited, lambda _: None).run(False, pytest.fail)
    assert numbers(report) == {"patient": (0, 41, 0, 0, 0)}
    assert max(told) <= 1_500


def test_a_server_that_was_restarted_goes_on_with_the_comparison(pair):
    here, there = pair
    with unwatched(there):
        there.sql("UPDATE patient SET name = 'flipped' WHERE uuid = ?", uuid_of(7))

    def ask(body):
        return Answers(there.replica).answer(body)  # nothing kept from one question to the next

    report = Verifying(here.replica, "there", ask, lambda _: None).run(False, pytest.fail)
    assert numbers(report) == {"patient": (40, 1, 0, 0, 0)}


def test_a_question_that_does_not_fit_is_refused(pair):
    here, _ = pair
    answers = Answers(here.replica)
    for body in (b"", b"SQ", encode_question(Question(bytes(8)))[:-1]):
        with pytest.raises(MalformedMessageError):
            answers.answer(body)
    stranger = Question(bytes(8), leaves=(Leaf(b"none", 0, 0, ()),))
    with pytest.raises(UnexpectedMessageError):
        answers.answer(encode_question(stranger))


def test_a_reading_ends_with_its_comparison_or_the_next(pair):
    here, _ = pair
    answers = Answers(here.replica)
    checks = _checks_of(here)
    for run_number in range(5):
        answers.answer(encode_question(Question(bytes([run_number]) * 8, groups=checks)))
    assert len(answers._readings) == 2


def test_a_node_that_ends_does_not_read_on(pair):
    here, _ = pair
    answers = Answers(here.replica)
    checks = _checks_of(here)
    answers.end()
    with pytest.raises(StoreError, match="about to end") as caught:
        answers.answer(encode_question(Question(bytes(8), groups=checks)))
    assert caught.value.transient


ENGINES = (
    pytest.param("sqlite"),
    pytest.param("mysql", marks=pytest.mark.mariadb),
    pytest.param("postgresql", marks=pytest.mark.postgresql),
)
PERSON = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " boss INTEGER, weight DECIMAL(6,2), height DOUBLE, born DATE, seen DATETIME(6), photo BLOB,"
    " name VARCHAR(50), FOREIGN KEY (boss) REFERENCES person (id))",
)


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree_on_equal_rows(request, tmp_path, engine):
    servers = servers_of(request, [engine])
    for make in maker(tmp_path, *servers):
        sites = make(PERSON, engine, "sqlite")
        for site, first in zip(sites, (10, 70), strict=True):
            sql = f"INSERT INTO person VALUES ({', '.join('?' * 9)})"
            whole = ("60.50", 1.5, "2015-01-02", "2015-01-02 03:04:05.250000", b"\0\xff", "Ann")
            run(site, sql, first, uuid_of(0), None, *whole)
            run(site, sql, first + 1, uuid_of(1), first, *[None] * 5, "Zoé")
            site.replica.seal()
        totals = [Contents(site.replica).totals for site in sites]
        assert totals[0] == totals[1]
        assert totals[0]["person"].rows == 2
        run(sites[1], "UPDATE person SET name='Ben' WHERE id=71")
        sites[1].replica.seal()
        assert Contents(sites[1].replica).totals != totals[0]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_local_check_finds_what_no_trigger_saw_on_every_engine(request, tmp_path, engine):
    for make in maker(tmp_path, *servers_of(request, [engine])):
        here, there = make(PERSON, engine, "sqlite")
        for number in range(5):
            run(here, "INSERT INTO person (uuid, name) VALUES (?, 'x')", uuid_of(number))
        sync(here, there)
        assert checked(here).sound
        if engine == "postgresql":
            run(here, "ALTER TABLE person DISABLE TRIGGER ALL")
        else:
            for event in ("insert", "update", "delete"):
                run(here, f"DROP TRIGGER syncnode_t1_{event}")
        run(here, "INSERT INTO person (uuid, name) VALUES (?, 'bulk')", uuid_of(9))
        run(here, "DELETE FROM person WHERE uuid = ?", uuid_of(1))
        assert faults(checked(here)) == {"person": (1, 1, 0, 0)}
        if engine == "postgresql":
            run(here, "ALTER TABLE person ENABLE TRIGGER ALL")
            run(here, "ALTER TABLE person DISABLE TRIGGER USER")  # the application's, and ours
        repaired = checked(here, repair=True)
        assert repaired.sound, repaired
        run(here, "UPDATE person SET name = 'seen' WHERE uuid = ?", uuid_of(9))
        sync(here, there)
        assert run(there, "SELECT uuid, name FROM person ORDER BY uuid") == sorted(
            [(uuid_of(number), "x") for number in (0, 2, 3, 4)] + [(uuid_of(9), "seen")]
        )
        assert verified(there, here).equal


# Here


def test_a_site_that_was_always_watched_is_sound(pair):
    for site in pair:
        report = checked(site)
        assert report.sound
        assert report.plan == ()
        assert {one.table: one.rows for one in report.tables} == {
            "patient": 41, "visit": 20, "note": 2, "tag": 3, "role": 2,
        }  # fmt: skip


def test_what_no_trigger_saw_is_found_and_made_a_change_of(pair):
    here, there = pair
    with unwatched(here):
        add(here, 600, "bulk")
        here.sql("INSERT INTO note (text) VALUES ('bulk')")
        here.sql("INSERT INTO tag VALUES ('x', '1'), ('new', NULL)")
        here.sql("INSERT INTO role VALUES ('cook', 'Cook')")
        here.sql("DELETE FROM visit WHERE uuid IN (?, ?)", uuid_of(1001), uuid_of(1002))
        here.sql("DELETE FROM tag WHERE name = 'y'")
        here.sql("UPDATE patient SET uuid = ? WHERE uuid = ?", uuid_of(901), uuid_of(30))
        here.sql("UPDATE patient SET id = 9000 WHERE uuid = ?", uuid_of(31))
    expected = {
        "patient": (1, 0, 1, 1), "visit": (0, 2, 0, 0), "note": (1, 0, 0, 0),
        "tag": (2, 1, 0, 0), "role": (1, 0, 0, 0),
    }  # fmt: skip
    wanted = shown(here)
    report = checked(here)
    assert faults(report) == expected
    assert "syncnode verify --repair" in report.reason
    assert faults(checked(here, repair=True, confirm=lambda _: False)) == expected
    repaired = checked(here, repair=True)
    assert repaired.sound
    assert repaired.repaired == 10
    assert "patient: 1 row sent to all sites as new" in repaired.plan
    here.check()
    assert shown(here) == wanted
    in_step(here, there)
    assert shown(there) == wanted


def test_a_row_that_came_and_went_unseen_and_stands_again_is_one_row(pair):
    """A table restored from a dump: rows under other local numbers, the same uuids."""
    here, there = pair
    rows = here.sql("SELECT uuid, patient_id, note FROM visit ORDER BY uuid")
    with unwatched(here):
        here.sql("DELETE FROM visit")
        for number, row in enumerate(rows):
            here.sql("INSERT INTO visit VALUES (?, ?, ?, ?)", 500 + number, *row)
    assert faults(checked(here)) == {"visit": (0, 0, 0, 20)}
    checked(here, repair=True)
    here.check()
    in_step(here, there)
    assert len(shown(there)["visit"]) == 20


def test_triggers_that_are_missing_are_made_again_before_what_they_missed_is_taken_in(pair):
    here, there = pair
    # As a table that was dropped and made anew: all of its triggers are gone.
    number = next(t.number for t in here.replica.tables.values() if t.name == "role")
    for (name,) in here.look(
        f"SELECT name FROM sqlite_master WHERE type='trigger' AND name LIKE 'syncnode_t{number}_%'"
    ):
        here.sql(f"DROP TRIGGER {name}")
    here.sql("UPDATE role SET title = 'not seen' WHERE role = 'nurse'")
    here.sql("INSERT INTO role VALUES ('cook', 'Cook')")
    report = checked(here)
    assert faults(report) == {"role": (1, 0, 0, 0)}
    assert checked(here, repair=True).sound
    here.sql("INSERT INTO role VALUES ('guard', 'Guard')")
    sync(here, there)
    assert ("guard", "Guard") in shown(there)["role"]
    # The value that changed in a row that kept its key only a peer can tell.
    assert numbers(verified(here, there)) == {"role": (3, 1, 0, 0, 0)}
    verified(here, there, repair=True, ours=True)
    in_step(here, there)
    assert ("nurse", "not seen") in shown(there)["role"]


def test_rows_written_while_one_looks_are_no_fault(pair):
    here, _ = pair
    looked = []

    def progress(text):
        if text.startswith("looking at patient") and not looked:
            looked.append(text)
            add(here, 700)

    found = unseen(here.replica, progress)
    assert looked
    assert not any(found.values())


def test_two_rows_of_one_uuid_are_no_fault(tmp_path):
    schema = ("CREATE TABLE person (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL, name TEXT)",)
    here, there = make_site(tmp_path, "here", schema), make_site(tmp_path, "there", schema)
    one_network(here, there)
    here.sql("INSERT INTO person (uuid, name) VALUES (?, 'a')", uuid_of(1))
    here.replica.seal()
    here.sql("INSERT INTO person (uuid, name) VALUES (?, 'b')", uuid_of(1))
    sync(here, there)
    for site in (here, there):
        assert checked(site).sound
        site.close()


def test_truncate_on_mariadb_is_found_and_repaired(tmp_path, mariadb_url):
    schema = ("CREATE TABLE person (id INT AUTO_INCREMENT PRIMARY KEY,"
              " uuid CHAR(36) NOT NULL UNIQUE, name VARCHAR(50))")  # fmt: skip
    here = make_site(tmp_path, "maria", [schema], url=mariadb_url)
    there = make_site(
        tmp_path, "lite", [schema.replace("INT AUTO_INCREMENT", "INTEGER").replace("INT ", "INT ")]
    )
    one_network(here, there)
    for number in range(5):
        run(here, "INSERT INTO person (uuid, name) VALUES (?, 'x')", uuid_of(number))
    sync(here, there)
    run(here, "TRUNCATE person")
    run(here, "INSERT INTO person (uuid, name) VALUES (?, 'after')", uuid_of(9))
    report = checked(here)
    assert faults(report)["person"][1] >= 4
    assert checked(here, repair=True).sound
    sync(here, there)
    assert there.sql("SELECT uuid, name FROM person") == [(uuid_of(9), "after")]
    assert verified(here, there).equal
    for site in (here, there):
        site.close()


# As a user has it


@pytest.fixture
def running(tmp_path):
    """A parent that serves and its child, in processes of their own."""
    parent, child = (
        ProcessSite(tmp_path, name, listens=name == "kigali").init()
        for name in ("kigali", "rwinkwavu")
    )
    parent.start()
    parent.admit(child)
    yield parent, child
    parent.close()
    child.close()


def test_a_running_peer_answers_over_the_link(running):
    parent, child = running
    key = child.add_patient("Ann")
    child.run("sync")
    alike = child.report("verify", "kigali")
    assert alike["equal"]
    assert 0 < alike["bytes_sent"] + alike["bytes_received"] < 300
    (name,) = child.sql("SELECT name FROM sqlite_master WHERE name LIKE 'syncnode_t1_update'")[0]
    ((sql,),) = child.sql("SELECT sql FROM sqlite_master WHERE name = ?", name)
    child.sql(f"DROP TRIGGER {name}")
    child.sql("UPDATE patient SET name = 'Secret' WHERE uuid = ?", key)
    child.sql(sql)
    found = child.command("verify", "kigali")
    assert found.returncode == 1
    assert f"patient {key}: different: name" in found.stdout
    assert "Secret" not in found.stdout + found.stderr + parent.log()
    assert "here name = Secret" in child.command("verify", "kigali", "--values").stdout
    refused = child.command("verify", "kigali", "--repair")
    assert refused.returncode == 1
    assert "plan: patient: 1 row written here as kigali has them" in refused.stderr
    assert "there is no terminal to ask" in refused.stderr
    assert child.patients() == {key: "Secret"}
    repaired = child.command("verify", "kigali", "--repair", "--yes")
    assert repaired.returncode == 1, "the repair is yet to be exchanged"
    assert "1 row written again: run `syncnode sync kigali`" in repaired.stderr
    child.run("sync")
    assert child.patients() == parent.patients() == {key: "Ann"}
    assert "equal with kigali" in child.command("verify", "kigali").stderr
    assert "repair" in child.run("log")
    assert child.command("verify").returncode == 0


def test_only_members_are_answered(running):
    parent, child = running
    child.run("sync")
    parent.run("forget", "rwinkwavu")
    refused = child.command("verify", "kigali")
    assert refused.returncode == 1
    assert "is not known here: invite it first" in refused.stderr


def test_a_peer_that_cannot_be_called_is_named(running):
    parent, _ = running
    refused = parent.command("verify", "rwinkwavu")
    assert refused.returncode == 1
    assert "has no address to call" in refused.stderr
