"""Replication between SQLite databases: each test is a promise, said in SQL at both ends.

After every exchange the kept sums are compared with the rows (`sites.sync`), and at the end of
most tests both sites are asked for the same state, cell by cell (`sites.same`, `sites.settle`).
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sites import Site, make_site, one_network, same, settle, sync, two_sites

from syncnode.links.peers import Peer, put_peer
from syncnode.operations.site import open_replica
from syncproto.errors import StoreError

UUIDS = [f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "123456789"]
ANN, BOB, CAT, DAN, *OTHERS = UUIDS

CLINIC = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, uuid CHAR(38) NOT NULL UNIQUE,"
    " name TEXT, note TEXT, email TEXT UNIQUE, boss INTEGER REFERENCES person(id))",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " person_id INTEGER NOT NULL REFERENCES person(id), weight REAL)",
    "CREATE TABLE patient (id INTEGER PRIMARY KEY REFERENCES person(id), status TEXT)",
    "CREATE TABLE role (code VARCHAR(20) PRIMARY KEY, title TEXT)",
    "CREATE TABLE member (person_id INTEGER NOT NULL REFERENCES person(id),"
    " role VARCHAR(20) NOT NULL REFERENCES role(code), since DATE, PRIMARY KEY (person_id, role))",
    "CREATE TABLE remark (id INTEGER PRIMARY KEY, person_id INTEGER REFERENCES person(id),"
    " body TEXT)",
    "CREATE TABLE tag (a TEXT, b TEXT)",
)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    here, there = two_sites(tmp_path, CLINIC)
    yield here, there
    here.close()
    there.close()


def person(site: Site, uuid: str, name: str = "x", **columns: object) -> int:
    names = ", ".join(("uuid", "name", *columns))
    marks = ", ".join("?" * (2 + len(columns)))
    site.sql(f"INSERT INTO person ({names}) VALUES ({marks})", uuid, name, *columns.values())
    return number(site, uuid)


def number(site: Site, uuid: str) -> int:
    ((found,),) = site.sql("SELECT id FROM person WHERE uuid = ?", uuid)
    return int(found)


def one(site: Site, sql: str, *parameters: object) -> object:
    """The only value of the only row."""
    rows = site.sql(sql, *parameters)
    assert len(rows) == 1, rows
    return rows[0][0]


def later(site: Site, ms: int = 1_000) -> None:
    """What the journal holds was written that much later than it says."""
    site.sql("UPDATE syncnode_journal SET ms = ms + ?", ms)


def both(sites: tuple[Site, Site], sql: str) -> list[tuple[object, ...]]:
    """The rows of a query that must answer alike at both sites."""
    here, there = (site.sql(sql) for site in sites)
    assert here == there
    return here


# What travels


def test_rows_of_every_kind_of_key_travel_both_ways(pair: tuple[Site, Site]) -> None:
    for site, uuid, code in zip(pair, (ANN, BOB), ("nurse", "clerk"), strict=True):
        local = person(site, uuid, code)
        site.sql("INSERT INTO visit (uuid, person_id, weight) VALUES (?, ?, 61.5)", code, local)
        site.sql("INSERT INTO patient VALUES (?, 'well')", local)
        site.sql("INSERT INTO role VALUES (?, 'a title')", code)
        site.sql("INSERT INTO member VALUES (?, ?, '2026-01-02')", local, code)
        site.sql("INSERT INTO remark (person_id, body) VALUES (?, ?)", local, code)
        site.sql("INSERT INTO tag VALUES (?, 'equal'), (?, 'equal'), ('x', 'y')", code, code)
    done = sync(*pair)
    assert (done.sent, done.received) == (9, 9)
    named = "JOIN person p ON p.id ="
    assert both(
        pair, f"SELECT t.uuid, p.name, weight FROM visit t {named} t.person_id ORDER BY 1"
    ) == [("clerk", "clerk", 61.5), ("nurse", "nurse", 61.5)]
    assert both(pair, f"SELECT p.name, status FROM patient t {named} t.id ORDER BY 1") == [
        ("clerk", "well"),
        ("nurse", "well"),
    ]
    assert both(
        pair, f"SELECT p.name, role, since FROM member t {named} t.person_id ORDER BY 1"
    ) == [("clerk", "clerk", "2026-01-02"), ("nurse", "nurse", "2026-01-02")]
    assert both(pair, f"SELECT p.name, body FROM remark t {named} t.person_id ORDER BY 1") == [
        ("clerk", "clerk"),
        ("nurse", "nurse"),
    ]
    # A row without a key is all that it says: the equal ones of two sites are the same row.
    assert both(pair, "SELECT a, b FROM tag ORDER BY 1, 2") == [("clerk", "equal")] * 2 + [
        ("nurse", "equal")
    ] * 2 + [("x", "y")]
    same(*pair)


def test_what_was_applied_is_not_sent_back(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN)
    pair[0].sql("INSERT INTO tag VALUES ('a', 'b')")
    sync(*pair)
    sync(*pair)
    done = sync(*pair)
    assert (done.sent, done.received) == (0, 0)
    assert pair[1].look("SELECT count(*) FROM syncnode_journal") == [(0,)]


def test_one_row_edited_ten_times_travels_once(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN)
    for step in range(10):
        pair[0].sql("UPDATE person SET name = ?", f"name {step}")
    assert sync(*pair).sent == 1
    assert one(pair[1], "SELECT name FROM person") == "name 9"


def test_an_update_that_changes_nothing_is_no_change(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN)
    sync(*pair)
    pair[0].sql("UPDATE person SET name = name, note = note")
    assert sync(*pair).sent == 0


@pytest.mark.parametrize(
    "value",
    [
        None,
        0,
        -1,
        2**63 - 1,
        -(2**63),
        1.5,
        1e300,
        "",
        "naïve\n'quoted' \"%s\" ?",
        "x" * 100_000,
        b"",
        b"\x00\xff",
        "2026-01-02",
        "1",
        1.0,
    ],
    ids=lambda value: repr(value)[:12],
)
def test_values_arrive_exactly(tmp_path: Path, value: object) -> None:
    here, there = two_sites(tmp_path, ["CREATE TABLE t (uuid TEXT PRIMARY KEY, v)"])
    here.sql("INSERT INTO t VALUES (?, ?)", ANN, value)
    sync(here, there)
    ((found, kind),) = there.sql("SELECT v, typeof(v) FROM t")
    assert (found, kind) == here.sql("SELECT v, typeof(v) FROM t")[0]
    there.sql("UPDATE t SET v = 'other'")
    there.sql("UPDATE t SET v = ?", value)
    sync(here, there)
    same(here, there)


def test_names_with_blanks_quotes_and_percent_signs_are_names(tmp_path: Path) -> None:
    ddl = [
        'CREATE TABLE "say ""x"" 100%" ("what\'s up?" INTEGER PRIMARY KEY, "uuid" TEXT NOT NULL'
        ' UNIQUE, "select" TEXT, "b`c" TEXT)',
        'CREATE TABLE "Group Name" ("order" INTEGER NOT NULL REFERENCES "say ""x"" 100%"'
        '("what\'s up?"), "naïve %s" TEXT NOT NULL, "from" INT, PRIMARY KEY ("order", "naïve %s"))',
        'CREATE TABLE "no key?" ("a b" TEXT, "to" INTEGER REFERENCES "say ""x"" 100%")',
    ]
    here, there = sites = two_sites(tmp_path, ddl)
    for site, uuid in zip(sites, (ANN, BOB), strict=True):
        site.sql('INSERT INTO "say ""x"" 100%" (uuid, "select") VALUES (?, ?)', uuid, uuid)
        site.sql("INSERT INTO \"Group Name\" VALUES (1, '%', 2)")
        site.sql("INSERT INTO \"no key?\" VALUES ('a', 1), ('a', 1)")
    settle(*sites)
    here.sql('UPDATE "say ""x"" 100%" SET "b`c" = \'new\'')
    there.sql('DELETE FROM "no key?" WHERE rowid = 1')
    there.sql('UPDATE "Group Name" SET "from" = 7, "naïve %s" = \'renamed\'')
    settle(*sites)
    assert both(sites, 'SELECT "b`c" FROM "say ""x"" 100%"') == [("new",), ("new",)]
    assert both(sites, 'SELECT "naïve %s", "from" FROM "Group Name"') == [("renamed", 7)] * 2
    assert both(sites, 'SELECT count(*) FROM "no key?"') == [(3,)]


def test_tables_may_differ_between_sites(tmp_path: Path) -> None:
    here = make_site(tmp_path, "here", CLINIC)
    some = make_site(tmp_path, "some", CLINIC, only=("person", "visit"))
    less = make_site(tmp_path, "less", CLINIC, exclude=("tag", "remark"))
    one_network(here, some, less)
    ann = person(here, ANN)
    here.sql("INSERT INTO tag VALUES ('a', 'b')")
    here.sql("INSERT INTO visit (uuid, person_id) VALUES ('v', ?)", ann)
    here.sql("INSERT INTO role VALUES ('nurse', 'Nurse')")
    some.sql("INSERT INTO tag VALUES ('stays', 'here')")
    settle(here, some, less)
    for site, tables in ((some, (1, 1, 1, 0)), (less, (1, 1, 0, 1)), (here, (1, 1, 1, 1))):
        counts = tuple(
            one(site, f"SELECT count(*) FROM {name}") for name in ("person", "visit", "tag", "role")
        )
        assert counts == tables, site.name


# Rows that stood there before


def _before(*rows: tuple[object, ...]) -> Callable[[Any], None]:
    def write(connection: Any) -> None:
        for row in rows:
            connection.execute("INSERT INTO person (id, uuid, name) VALUES (?, ?, ?)", row)

    return write


def test_equal_rows_that_stood_on_both_sides_are_one_row_and_no_conflict(tmp_path: Path) -> None:
    here = make_site(tmp_path, "here", CLINIC, before=_before((1, ANN, "Ann"), (2, BOB, "Bob")))
    there = make_site(tmp_path, "there", CLINIC, before=_before((7, BOB, "Bob"), (9, CAT, "Cat")))
    one_network(here, there)
    settle(here, there)
    assert both((here, there), "SELECT uuid, name FROM person ORDER BY uuid") == [
        (ANN, "Ann"),
        (BOB, "Bob"),
        (CAT, "Cat"),
    ]
    assert (number(here, BOB), number(there, BOB)) == (2, 7)
    assert here.conflicts() == []


def test_rows_that_differed_before_are_decided_alike_and_recorded_at_both(tmp_path: Path) -> None:
    here = make_site(tmp_path, "here", CLINIC, before=_before((1, ANN, "Ann")))
    there = make_site(tmp_path, "there", CLINIC, before=_before((5, ANN, "Anna")))
    one_network(here, there)
    settle(here, there)
    ((name,),) = both((here, there), "SELECT name FROM person")
    greater = max((here.origin, "Ann"), (there.origin, "Anna"))
    assert name == greater[1]
    loser = {"Ann": "Anna", "Anna": "Ann"}[str(name)]
    assert here.conflicts() == there.conflicts() == [("person", "name", name, loser)]


def test_any_later_write_wins_over_a_row_that_stood_before(tmp_path: Path) -> None:
    here = make_site(tmp_path, "here", CLINIC, before=_before((1, ANN, "Ann")))
    there = make_site(tmp_path, "there", CLINIC, before=_before((5, ANN, "Anna")))
    one_network(here, there)
    for site, name in ((here, "written"), (there, "Anna")):
        if site.origin != max(here.origin, there.origin):
            site.sql("UPDATE person SET name = ?", name + "!")
            wins = name + "!"
    settle(here, there)
    assert both((here, there), "SELECT name FROM person") == [(wins,)]


def test_rows_with_local_numbers_only_are_named_by_content_when_older(tmp_path: Path) -> None:
    def remarks(connection: Any) -> None:
        connection.execute("INSERT INTO remark (id, body) VALUES (1, 'same'), (2, 'x')")

    here = make_site(tmp_path, "here", CLINIC, before=remarks)
    there = make_site(tmp_path, "there", CLINIC, before=remarks)
    one_network(here, there)
    here.sql("INSERT INTO remark (body) VALUES ('new')")
    there.sql("INSERT INTO remark (body) VALUES ('new')")
    settle(here, there)
    assert both((here, there), "SELECT body FROM remark ORDER BY body") == [
        ("new",),
        ("new",),
        ("same",),
        ("x",),
    ]


# Two people write


def test_edits_of_different_columns_of_one_row_are_both_kept(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN)
    sync(*pair)
    pair[0].sql("UPDATE person SET name = 'Ann'")
    pair[1].sql("UPDATE person SET note = 'tall'")
    settle(*pair)
    assert both(pair, "SELECT name, note FROM person") == [("Ann", "tall")]
    assert pair[0].conflicts() == []


@pytest.mark.parametrize("last", [0, 1])
def test_the_later_edit_wins_and_the_loser_is_on_record_at_both_sites(
    pair: tuple[Site, Site], last: int
) -> None:
    person(pair[0], ANN)
    sync(*pair)
    pair[0].sql("UPDATE person SET name = 'from 0', note = 'same'")
    pair[1].sql("UPDATE person SET name = 'from 1', note = 'same'")
    later(pair[last])
    settle(*pair)
    assert both(pair, "SELECT name FROM person") == [(f"from {last}",)]
    record = [("person", "name", f"from {last}", f"from {1 - last}")]
    assert pair[0].conflicts() == pair[1].conflicts() == record


def test_an_edit_of_one_column_against_one_of_all_columns_is_on_record(
    pair: tuple[Site, Site],
) -> None:
    person(pair[0], ANN)
    person(pair[0], BOB)
    ann = number(pair[0], ANN)
    pair[0].sql("INSERT INTO remark (person_id, body) VALUES (?, 'first')", ann)
    sync(*pair)
    pair[0].sql("UPDATE remark SET person_id = ?, body = 'all'", number(pair[0], BOB))
    pair[1].sql("UPDATE remark SET body = 'one'")
    later(pair[1])
    # By whoever merges first: the other one may be gone before it does.
    sync(pair[1], pair[0], break_at=1)
    assert pair[0].conflicts() == [("remark", "body", "one", "all")]
    settle(*pair)
    assert both(pair, "SELECT body FROM remark") == [("one",)]
    assert pair[0].conflicts() == pair[1].conflicts() == [("remark", "body", "one", "all")]


def test_who_writes_over_a_value_that_he_saw_wins_whatever_the_clocks_say(
    pair: tuple[Site, Site],
) -> None:
    person(pair[0], ANN, "first")
    later(pair[0], 200_000)
    sync(*pair)
    pair[1].sql("UPDATE person SET name = 'second'")
    settle(*pair)
    assert both(pair, "SELECT name FROM person") == [("second",)]
    assert pair[0].conflicts() == []


def test_a_transaction_of_many_rows_is_never_seen_by_half(tmp_path: Path) -> None:
    here, there = two_sites(tmp_path, CLINIC, chunk_bytes_max=400, rows_first=2)
    with here.transaction():
        for uuid in UUIDS:
            person(here, uuid, "round 0")
    settle(here, there)

    def look(number: int, _: object) -> None:
        names = there.sql("SELECT DISTINCT name FROM person")
        assert len(names) == 1, f"half a transaction is seen at turn {number}"

    for turn in range(6):
        with here.transaction():
            for uuid in UUIDS:
                here.sql("UPDATE person SET name = ? WHERE uuid = ?", f"round {turn + 1}", uuid)
        sync(there, here, break_at=turn, each=look)
    done = sync(there, here, each=look)
    assert done.turns > 4, "the delta was cut"
    assert there.sql("SELECT DISTINCT name FROM person") == [("round 6",)]


# Deletes


def test_a_delete_travels_and_a_row_may_come_back(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN, "Ann", note="kept")
    sync(*pair)
    pair[0].sql("DELETE FROM person")
    settle(*pair)
    assert both(pair, "SELECT * FROM person") == []
    person(pair[1], ANN, "again")
    settle(*pair)
    assert both(pair, "SELECT name, note FROM person") == [("again", None)]
    assert pair[0].conflicts() == []


@pytest.mark.parametrize("editor", [0, 1])
@pytest.mark.parametrize("delete_later", [False, True])
def test_an_edit_that_the_deleter_had_not_seen_revives_the_whole_row_and_is_recorded(
    pair: tuple[Site, Site], editor: int, delete_later: bool
) -> None:
    person(pair[0], ANN, "Ann", note="kept", email="a@b")
    sync(*pair)
    pair[editor].sql("UPDATE person SET name = 'edited'")
    pair[1 - editor].sql("DELETE FROM person")
    later(pair[1 - editor if delete_later else editor])
    settle(*pair)
    assert both(pair, "SELECT name, note, email FROM person") == [("edited", "kept", "a@b")]
    assert pair[0].conflicts() == pair[1].conflicts() == [("person", "", None, None)]


def test_a_parent_deleted_elsewhere_is_held_while_a_new_child_needs_it(
    pair: tuple[Site, Site],
) -> None:
    person(pair[0], ANN, "Ann", note="kept")
    sync(*pair)
    pair[0].sql("DELETE FROM person")
    pair[1].sql("INSERT INTO visit (uuid, person_id) VALUES ('v', ?)", number(pair[1], ANN))
    settle(*pair)
    assert both(pair, "SELECT p.name, p.note FROM visit JOIN person p ON p.id = person_id") == [
        ("Ann", "kept")
    ]
    assert pair[0].held() == pair[1].held() == [("person", None)]
    pair[0].sql("DELETE FROM visit")
    settle(*pair)
    assert both(pair, "SELECT * FROM person") == []
    assert pair[0].held() == pair[1].held() == []


def test_a_deleted_parent_that_comes_with_its_child_is_held_at_a_site_that_knew_neither(
    tmp_path: Path,
) -> None:
    here, there, third = (make_site(tmp_path, name, CLINIC) for name in ("a", "b", "c"))
    one_network(here, there, third)
    person(here, ANN, "Ann")
    sync(here, there)
    here.sql("INSERT INTO visit (uuid, person_id) VALUES ('v', ?)", number(here, ANN))
    there.sql("DELETE FROM person")
    sync(here, there)
    sync(there, third)  # one delta with both
    assert third.parked() == []
    assert third.held() == here.held() == [("person", None)]
    assert one(third, "SELECT p.name FROM visit JOIN person p ON p.id = person_id") == "Ann"
    settle(here, there, third)


def test_a_held_row_that_is_written_again_is_alive(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN, "Ann")
    sync(*pair)
    pair[0].sql("DELETE FROM person")
    pair[1].sql("INSERT INTO visit (uuid, person_id) VALUES ('v', ?)", number(pair[1], ANN))
    settle(*pair)
    pair[0].sql("UPDATE person SET note = 'back'")
    settle(*pair)
    assert pair[0].held() == pair[1].held() == []
    pair[1].sql("DELETE FROM visit")
    settle(*pair)
    assert both(pair, "SELECT name, note FROM person") == [("Ann", "back")]


def test_a_held_row_may_be_deleted_by_hand_with_its_child(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN, "Ann")
    sync(*pair)
    pair[0].sql("DELETE FROM person")
    pair[1].sql("INSERT INTO visit (uuid, person_id) VALUES ('v', ?)", number(pair[1], ANN))
    settle(*pair)
    with pair[0].transaction():
        pair[0].sql("DELETE FROM visit")
        pair[0].sql("DELETE FROM person")
    settle(*pair)
    assert both(pair, "SELECT * FROM person") == []
    assert pair[0].held() == pair[1].held() == []


def test_both_delete_one_row(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN)
    sync(*pair)
    for site in pair:
        site.sql("DELETE FROM person")
    settle(*pair)
    assert both(pair, "SELECT * FROM person") == []
    assert pair[0].conflicts() == []


def test_children_and_parents_deleted_together_go_together(pair: tuple[Site, Site]) -> None:
    ann = person(pair[0], ANN)
    bob = person(pair[0], BOB, boss=ann)
    pair[0].sql("INSERT INTO visit (uuid, person_id) VALUES ('v', ?)", bob)
    pair[0].sql("INSERT INTO patient VALUES (?, 'x')", bob)
    sync(*pair)
    with pair[0].transaction():
        for table in ("visit", "patient"):
            pair[0].sql(f"DELETE FROM {table}")
        pair[0].sql("DELETE FROM person WHERE id = ?", bob)
        pair[0].sql("DELETE FROM person")
    settle(*pair)
    assert both(pair, "SELECT * FROM person") == both(pair, "SELECT * FROM visit") == []


def test_cascades_and_set_null_are_changes_like_others(tmp_path: Path) -> None:
    ddl = (
        "CREATE TABLE p (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE)",
        "CREATE TABLE c (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
        " p INTEGER REFERENCES p ON DELETE CASCADE)",
        "CREATE TABLE n (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
        " p INTEGER REFERENCES p ON DELETE SET NULL)",
    )
    sites = here, there = two_sites(tmp_path, ddl)
    here.sql("INSERT INTO p VALUES (1, 'one'), (2, 'two')")
    here.sql("INSERT INTO c VALUES (1, 'c1', 1), (2, 'c2', 2)")
    here.sql("INSERT INTO n VALUES (1, 'n1', 1), (2, 'n2', 2)")
    settle(*sites)
    here.sql("DELETE FROM p WHERE id = 1")
    settle(*sites)
    assert both(sites, "SELECT uuid FROM c") == [("c2",)]
    assert both(sites, "SELECT uuid, p IS NULL FROM n ORDER BY uuid") == [("n1", 1), ("n2", 0)]
    # A child that the deleter had not seen: the engine must not cascade to it (rule A12).
    here.sql("DELETE FROM p")
    there.sql("INSERT INTO c VALUES (9, 'late', (SELECT id FROM p))")
    settle(*sites)
    assert both(sites, "SELECT c.uuid, p.uuid FROM c JOIN p ON p.id = c.p") == [("late", "two")]
    assert here.held() == [("p", None)]


# Statements that are two things at once


def test_replace_and_upsert_and_insert_or_ignore(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN, "Ann", note="old", email="a@b")
    sync(*pair)
    site = pair[0]
    site.sql("INSERT OR IGNORE INTO person (uuid, name) VALUES (?, 'ignored')", ANN)
    assert sync(*pair).sent == 0
    site.sql(
        "INSERT INTO person (uuid, name) VALUES (?, 'up') "
        "ON CONFLICT (uuid) DO UPDATE SET name = excluded.name",
        ANN,
    )
    settle(*pair)
    assert both(pair, "SELECT name, note FROM person") == [("up", "old")]
    site.sql("REPLACE INTO person (uuid, name, email) VALUES (?, 'replaced', 'a@b')", ANN)
    settle(*pair)
    assert both(pair, "SELECT name, note, email FROM person") == [("replaced", None, "a@b")]
    site.sql("REPLACE INTO person (uuid, name, email) VALUES (?, 'other', 'a@b')", BOB)
    settle(*pair)
    assert both(pair, "SELECT uuid, name FROM person") == [(BOB, "other")]


def test_a_local_number_used_again_is_another_row(pair: tuple[Site, Site]) -> None:
    pair[0].sql("INSERT INTO visit VALUES (1, 'v1', ?, 1.0)", person(pair[0], ANN))
    sync(*pair)
    pair[0].sql("DELETE FROM visit")
    pair[0].sql("INSERT INTO visit VALUES (1, 'v2', ?, 2.0)", number(pair[0], ANN))
    settle(*pair)
    assert both(pair, "SELECT uuid, weight FROM visit") == [("v2", 2.0)]


def test_a_row_inserted_and_deleted_between_two_seals_leaves_nothing(
    pair: tuple[Site, Site],
) -> None:
    person(pair[0], ANN)
    pair[0].sql("DELETE FROM person")
    pair[0].sql("INSERT INTO tag VALUES ('a', 'b')")
    pair[0].sql("DELETE FROM tag")
    settle(*pair)
    assert both(pair, "SELECT * FROM person") == []
    assert pair[0].look("SELECT count(*) FROM syncnode_journal") == [(0,)]


def test_a_uuid_that_is_changed_names_another_row(pair: tuple[Site, Site]) -> None:
    ann = person(pair[0], ANN, "Ann", note="kept")
    pair[0].sql("INSERT INTO visit (uuid, person_id) VALUES ('v', ?)", ann)
    sync(*pair)
    pair[0].sql("UPDATE person SET uuid = ?", BOB)
    settle(*pair)
    assert both(
        pair, "SELECT p.uuid, p.name, p.note FROM visit JOIN person p ON p.id=person_id"
    ) == [(BOB, "Ann", "kept")]
    assert both(pair, "SELECT count(*) FROM person") == [(1,)]


def test_two_rows_may_exchange_their_uuids(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN, "Ann")
    person(pair[0], BOB, "Bob")
    sync(*pair)
    with pair[0].transaction():
        pair[0].sql("UPDATE person SET uuid = 'aside' WHERE name = 'Ann'")
        pair[0].sql("UPDATE person SET uuid = ? WHERE name = 'Bob'", ANN)
        pair[0].sql("UPDATE person SET uuid = ? WHERE name = 'Ann'", BOB)
    settle(*pair)
    assert both(pair, "SELECT uuid, name FROM person ORDER BY uuid") == [
        (ANN, "Bob"),
        (BOB, "Ann"),
    ]


def test_values_of_a_unique_column_may_be_exchanged(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN, email="a@x")
    person(pair[0], BOB, email="b@x")
    person(pair[0], CAT, email="c@x")
    sync(*pair)
    with pair[0].transaction():
        pair[0].sql("UPDATE person SET email = 'swap' WHERE uuid = ?", ANN)
        pair[0].sql("UPDATE person SET email = 'a@x' WHERE uuid = ?", BOB)
        pair[0].sql("UPDATE person SET email = 'b@x' WHERE uuid = ?", CAT)
        pair[0].sql("UPDATE person SET email = 'c@x' WHERE uuid = ?", ANN)
    settle(*pair)
    assert both(pair, "SELECT email FROM person ORDER BY uuid") == [("c@x",), ("a@x",), ("b@x",)]
    assert pair[1].parked() == []


def test_a_unique_value_moves_from_one_row_to_another(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN, email="a@x")
    person(pair[0], BOB, email="b@x")
    sync(*pair)
    with pair[0].transaction():
        pair[0].sql("UPDATE person SET email = NULL WHERE uuid = ?", ANN)
        pair[0].sql("UPDATE person SET email = 'a@x' WHERE uuid = ?", BOB)
        person(pair[0], CAT, email="b@x")
    settle(*pair)
    assert both(pair, "SELECT email FROM person ORDER BY uuid") == [(None,), ("a@x",), ("b@x",)]
    assert pair[1].parked() == []


def test_a_renamed_natural_key_takes_its_children_along(pair: tuple[Site, Site]) -> None:
    site = pair[0]
    site.sql("INSERT INTO role VALUES ('nurse', 'Nurse')")
    site.sql("INSERT INTO member VALUES (?, 'nurse', NULL)", person(site, ANN))
    sync(*pair)
    with site.transaction():
        site.sql("PRAGMA defer_foreign_keys = ON")
        site.sql("UPDATE role SET code = 'matron'")
        site.sql("UPDATE member SET role = 'matron'")
    settle(*pair)
    assert both(pair, "SELECT code, title FROM role") == [("matron", "Nurse")]
    assert both(pair, "SELECT role FROM member") == [("matron",)]
    # A later row of the old name is a row of its own (rule A14).
    pair[1].sql("INSERT INTO role VALUES ('nurse', 'another')")
    settle(*pair)
    assert both(pair, "SELECT code, title FROM role ORDER BY code") == [
        ("matron", "Nurse"),
        ("nurse", "another"),
    ]


def test_a_changed_local_number_stays_the_same_row(pair: tuple[Site, Site]) -> None:
    site = pair[0]
    person(site, ANN, "Ann")
    site.sql("INSERT INTO remark (person_id, body) VALUES (?, 'r')", number(site, ANN))
    site.sql("INSERT INTO visit (uuid, person_id) VALUES ('v', ?)", number(site, ANN))
    sync(*pair)
    with site.transaction():
        site.sql("PRAGMA defer_foreign_keys = ON")
        site.sql("UPDATE person SET id = 77")
        site.sql("UPDATE remark SET person_id = 77, id = 5")
        site.sql("UPDATE visit SET person_id = 77, id = 99")
    settle(*pair)
    assert both(
        pair, "SELECT p.name, r.body FROM remark r JOIN person p ON p.id = r.person_id"
    ) == [("Ann", "r")]
    assert both(pair, "SELECT count(*) FROM visit JOIN person p ON p.id = person_id") == [(1,)]
    pair[1].sql("UPDATE person SET note = 'edited'")
    pair[1].sql("UPDATE remark SET body = 'edited'")
    settle(*pair)
    assert pair[0].sql("SELECT id, note FROM person") == [(77, "edited")]
    assert pair[0].sql("SELECT body FROM remark") == [("edited",)]


# Rows that refer to each other


def test_self_references_arrive_in_any_order(tmp_path: Path) -> None:
    here, _ = sites = two_sites(tmp_path, CLINIC, chunk_bytes_max=300, rows_first=1)
    for uuid in UUIDS:
        person(here, uuid)
    with here.transaction():
        for child, parent in zip(UUIDS, [*UUIDS[1:], UUIDS[0]], strict=True):
            here.sql(
                "UPDATE person SET boss = (SELECT id FROM person WHERE uuid = ?) WHERE uuid = ?",
                parent,
                child,
            )
    settle(*sites)
    bosses = "SELECT c.uuid, b.uuid FROM person c JOIN person b ON b.id = c.boss ORDER BY 1"
    assert both(sites, bosses) == list(zip(UUIDS, [*UUIDS[1:], UUIDS[0]], strict=True))


CYCLE = (
    "CREATE TABLE person (person_id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " creator INTEGER REFERENCES users(user_id))",
    "CREATE TABLE users (user_id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " person_id INTEGER NOT NULL REFERENCES person(person_id),"
    " creator INTEGER NOT NULL REFERENCES users(user_id))",
    "CREATE TABLE concept (concept_id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " creator INTEGER NOT NULL REFERENCES users(user_id), cause INTEGER REFERENCES concept)",
)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"chunk_bytes_max": 1, "rows_first": 1},
        {"chunk_bytes_max": 1, "rows_first": 1, "apply_rows_max": 1},
    ],
    ids=["one delta", "one row a chunk", "one row a step"],
)
def test_tables_that_refer_to_each_other_in_a_circle(tmp_path: Path, sizes: dict[str, int]) -> None:
    here, there = sites = two_sites(tmp_path, CYCLE, **sizes)
    with here.transaction():
        here.sql("PRAGMA defer_foreign_keys = ON")
        for one_more in range(3):
            here.sql("INSERT INTO person VALUES (?, ?, 10)", one_more + 1, f"p{one_more}")
        for one_more in range(3):
            here.sql(
                "INSERT INTO users VALUES (?, ?, ?, 10)",
                10 + one_more,
                f"u{one_more}",
                one_more + 1,
            )
        here.sql("INSERT INTO concept VALUES (5, 'c5', 10, 6), (6, 'c6', 11, 5)")
    settle(*sites)
    assert both(
        sites,
        "SELECT u.uuid, p.uuid, c.uuid FROM users u JOIN person p USING (person_id)"
        " JOIN users c ON c.user_id = u.creator ORDER BY 1",
    ) == [
        ("u0", "p0", "u0"),
        ("u1", "p1", "u0"),
        ("u2", "p2", "u0"),
    ]
    assert both(
        sites,
        "SELECT a.uuid, b.uuid FROM concept a JOIN concept b ON a.cause = b.concept_id ORDER BY 1",
    ) == [("c5", "c6"), ("c6", "c5")]
    assert there.parked() == []
    with here.transaction():
        here.sql("PRAGMA defer_foreign_keys = ON")
        for table in ("concept", "users", "person"):
            here.sql(f"DELETE FROM {table}")
    settle(*sites)
    assert [both(sites, f"SELECT * FROM {t}") for t in ("concept", "users", "person")] == [[]] * 3
    assert there.held() == []


# Tables without a primary key


def test_equal_copies_are_counted(pair: tuple[Site, Site]) -> None:
    pair[0].sql("INSERT INTO tag VALUES ('a', 'b'), ('a', 'b'), ('a', 'b'), ('c', NULL)")
    settle(*pair)
    pair[0].sql("DELETE FROM tag WHERE rowid = 1")
    pair[1].sql("DELETE FROM tag WHERE rowid = 3")
    settle(*pair)
    # Both deleted the highest copy: that is one delete, as equal rows cannot be told apart.
    assert both(pair, "SELECT a, b FROM tag ORDER BY a") == [("a", "b"), ("a", "b"), ("c", None)]
    pair[1].sql("UPDATE tag SET b = 'changed' WHERE a = 'c'")
    pair[0].sql("DELETE FROM tag WHERE a = 'a'")
    settle(*pair)
    assert both(pair, "SELECT a, b FROM tag") == [("c", "changed")]


def test_a_row_without_key_follows_the_row_that_it_refers_to(tmp_path: Path) -> None:
    ddl = (
        "CREATE TABLE p (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, v TEXT)",
        "CREATE TABLE link (a INTEGER REFERENCES p, b INTEGER REFERENCES p)",
    )
    here, there = sites = two_sites(tmp_path, ddl)
    here.sql("INSERT INTO p VALUES (1, 'one', ''), (2, 'two', '')")
    there.sql("INSERT INTO p VALUES (1, 'three', '')")
    here.sql("INSERT INTO link VALUES (1, 2), (1, 2), (2, NULL)")
    there.sql("INSERT INTO link VALUES (1, 1)")
    settle(*sites)
    shown = (
        "SELECT x.uuid, y.uuid FROM link JOIN p x ON x.id = a LEFT JOIN p y ON y.id = b"
        " ORDER BY 1, 2"
    )
    assert both(sites, shown) == [("one", "two"), ("one", "two"), ("three", "three"), ("two", None)]
    there.sql("DELETE FROM link WHERE a = (SELECT id FROM p WHERE uuid = 'one')")
    there.sql("DELETE FROM p WHERE uuid = 'one'")
    settle(*sites)
    assert both(sites, shown) == [("three", "three"), ("two", None)]
    assert both(sites, "SELECT uuid FROM p ORDER BY 1") == [("three",), ("two",)]


# Several things to one row between two seals


def test_a_row_edited_and_then_deleted_takes_its_last_values_along(
    pair: tuple[Site, Site],
) -> None:
    person(pair[0], ANN, "Ann", note="old")
    sync(*pair)
    pair[0].sql("UPDATE person SET name = 'edited'")
    pair[0].sql("DELETE FROM person")
    pair[1].sql("UPDATE person SET note = 'revives'")
    later(pair[0])
    settle(*pair)
    assert both(pair, "SELECT name, note FROM person") == [("edited", "revives")]


def test_a_held_row_shows_the_last_values_that_its_deleter_wrote(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN, "Ann", note="old")
    sync(*pair)
    pair[0].sql("UPDATE person SET name = 'edited'")
    pair[0].sql("DELETE FROM person")
    pair[1].sql("INSERT INTO visit (uuid, person_id) VALUES ('v', ?)", number(pair[1], ANN))
    settle(*pair)
    assert both(pair, "SELECT name, note FROM person") == [("edited", "old")]
    assert pair[0].held() == pair[1].held() == [("person", None)]


def test_a_row_known_by_its_number_alone_keeps_its_name_when_the_number_changes(
    pair: tuple[Site, Site],
) -> None:
    pair[0].sql("INSERT INTO remark (id, body) VALUES (1, 'one'), (2, 'two')")
    sync(*pair)
    keys = set(pair[0].state())
    pair[0].sql("UPDATE remark SET id = 50 WHERE id = 1")
    pair[0].sql("UPDATE remark SET id = 51 WHERE id = 50")
    pair[1].sql("UPDATE remark SET body = body || '!'")
    settle(*pair)
    assert set(pair[0].state()) == keys
    assert pair[0].sql("SELECT id, body FROM remark ORDER BY id") == [(2, "two!"), (51, "one!")]


def test_a_number_deleted_and_used_again_at_once_is_two_rows(pair: tuple[Site, Site]) -> None:
    pair[0].sql("INSERT INTO remark (id, body) VALUES (1, 'old')")
    sync(*pair)
    pair[0].sql("DELETE FROM remark")
    pair[0].sql("INSERT INTO remark (id, body) VALUES (1, 'new')")
    pair[1].sql("UPDATE remark SET body = 'edited'")
    settle(*pair)
    assert both(pair, "SELECT body FROM remark ORDER BY body") == [("edited",), ("new",)]


def test_children_of_a_number_that_names_another_row_now_follow_it(
    pair: tuple[Site, Site],
) -> None:
    pair[0].sql("INSERT INTO visit (uuid, person_id) VALUES ('v', ?)", person(pair[0], ANN, "Ann"))
    pair[0].sql("INSERT INTO patient VALUES (?, 'well')", number(pair[0], ANN))
    sync(*pair)
    pair[0].sql("UPDATE person SET uuid = ?, name = 'Bob'", BOB)
    settle(*pair)
    assert both(pair, "SELECT v.uuid, p.uuid FROM visit v JOIN person p ON p.id = person_id") == [
        ("v", BOB)
    ]
    assert both(pair, "SELECT p.name, status FROM patient t JOIN person p ON p.id = t.id") == [
        ("Bob", "well")
    ]


# Parking: what cannot be written here now holds up nothing


def test_a_child_waits_for_its_parent_at_a_site_that_lacks_it(tmp_path: Path) -> None:
    """The parent is deleted and forgotten by hand behind our back, so it is nowhere there."""
    ddl = (
        "CREATE TABLE p (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE)",
        "CREATE TABLE c (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
        " p INTEGER NOT NULL REFERENCES p)",
    )
    here = make_site(tmp_path, "here", ddl)
    there = make_site(tmp_path, "there", ddl)
    one_network(here, there)
    here.sql("PRAGMA foreign_keys = OFF")
    here.sql("INSERT INTO c VALUES (1, 'orphan', 5), (2, 'other', 1)")
    here.sql("INSERT INTO p VALUES (1, 'one')")
    done = sync(here, there, check=False)
    assert done.sent == 3
    assert there.sql("SELECT uuid FROM c") == [("other",)]
    assert there.parked() == [("c", "missing parent")]
    here.sql("INSERT INTO p VALUES (5, 'five')")
    here.sql("UPDATE c SET p = 1 WHERE id = 1")
    here.sql("UPDATE c SET p = 5 WHERE id = 1")
    settle(here, there)
    assert there.parked() == []
    assert both((here, there), "SELECT c.uuid, p.uuid FROM c JOIN p ON p.id = c.p ORDER BY 1") == [
        ("orphan", "five"),
        ("other", "one"),
    ]


def test_an_update_that_clashes_is_shown_with_a_mark_and_loses_nothing(
    pair: tuple[Site, Site],
) -> None:
    person(pair[0], ANN, "Ann", email="ann")
    sync(*pair)
    person(pair[1], BOB, "Bob", email="taken")
    later(pair[0])
    pair[0].sql("UPDATE person SET email = 'taken', note = 'noted'")
    later(pair[0])
    settle(*pair)
    ann = "SELECT name, email, note FROM person WHERE uuid = '" + ANN + "'"
    marked = f"taken~{sha256(bytes.fromhex(ANN.replace('-', ''))).hexdigest()[:6]}"
    assert both(pair, ann) == [("Ann", marked, "noted")]
    # An edit of what is shown goes over what is replicated, and loses none of it.
    pair[1].sql("UPDATE person SET name = 'Anna' WHERE name = 'Ann'")
    settle(*pair)
    assert both(pair, ann) == [("Anna", marked, "noted")]
    pair[1].sql("UPDATE person SET email = 'free' WHERE name = 'Bob'")
    settle(*pair)
    assert both(pair, ann) == [("Anna", "taken", "noted")]


STRICTER = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, n INTEGER, v {})",
    "CREATE TABLE u (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, t INTEGER NOT NULL"
    " REFERENCES t)",
)


@pytest.mark.parametrize(
    ("loose", "strict", "bad", "good", "reason"),
    [
        ("TEXT", "TEXT NOT NULL", None, "x", "not null"),
        ("INTEGER", "INTEGER CHECK (v > 0)", -1, 1, "check constraint"),
        ("INTEGER", "INTEGER NOT NULL UNIQUE", 7, 9, "unique clash"),
    ],
)
def test_one_bad_row_in_a_thousand_is_parked_and_the_others_arrive(
    tmp_path: Path, loose: str, strict: str, bad: object, good: object, reason: str
) -> None:
    here = make_site(tmp_path, "here", [STRICTER[0].format(loose), STRICTER[1]])
    there = make_site(tmp_path, "there", [STRICTER[0].format(strict), STRICTER[1]])
    one_network(here, there)
    if reason == "unique clash":
        there.sql("INSERT INTO t VALUES (1, 'x', 0, ?)", bad)
        sync(here, there)
    with here.transaction():
        for n in range(1_000):
            value = bad if n == 500 else f"{good}{n}" if reason == "unique clash" else good
            here.sql("INSERT INTO t (uuid, n, v) VALUES (?, ?, ?)", f"row {n}", n, value)
            here.sql("INSERT INTO u (uuid, t) VALUES (?, last_insert_rowid())", f"child {n}")
    sync(here, there)
    assert there.sql("SELECT count(*) FROM t WHERE uuid <> 'x'") == [(999,)]
    assert there.parked() == [("t", reason), ("u", "missing parent")]
    here.sql("UPDATE t SET v = ? WHERE n = 500 AND uuid <> 'x'", good)
    settle(here, there)
    assert there.parked() == []
    found = both((here, there), "SELECT count(*) FROM t JOIN u ON u.t = t.id WHERE n = 500")
    assert found == [(1,)]


def test_a_type_that_does_not_fit_a_strict_table_is_parked(tmp_path: Path) -> None:
    ddl = "CREATE TABLE t (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, v INTEGER)"
    here = make_site(tmp_path, "here", [ddl])
    there = make_site(tmp_path, "there", [f"{ddl} STRICT"])
    one_network(here, there)
    here.sql("INSERT INTO t VALUES (1, 'a', 'text'), (2, 'b', 7)")
    settle(here, there)
    assert there.sql("SELECT uuid, v FROM t") == [("b", 7)]
    assert there.parked() == [("t", "type does not fit")]
    here.sql("UPDATE t SET v = 8 WHERE uuid = 'a'")
    settle(here, there)
    assert there.parked() == []
    assert both((here, there), "SELECT uuid, v FROM t ORDER BY uuid") == [("a", 8), ("b", 7)]


def test_a_trigger_that_raises_parks_the_row_until_it_agrees(tmp_path: Path) -> None:
    ddl = (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, v TEXT)",
        "CREATE TABLE allowed (uuid TEXT PRIMARY KEY, v TEXT)",
    )
    guard = (
        "CREATE TRIGGER guard BEFORE INSERT ON t WHEN NEW.v NOT IN (SELECT v FROM allowed)"
        " BEGIN SELECT RAISE(ABORT, 'not allowed'); END"
    )
    here = make_site(tmp_path, "here", ddl)
    there = make_site(tmp_path, "there", [*ddl, guard])
    one_network(here, there)
    here.sql("INSERT INTO t (uuid, v) VALUES ('a', 'x')")
    settle(here, there)
    assert there.parked() == [("t", "trigger")]
    assert "not allowed" in str(there.look("SELECT detail FROM syncnode_row"))
    there.sql("INSERT INTO allowed VALUES ('1', 'x')")
    settle(here, there)
    assert there.parked() == []
    assert both((here, there), "SELECT uuid, v FROM t") == [("a", "x")]


def test_the_applications_triggers_run_on_applied_rows_and_their_writes_replicate(
    tmp_path: Path,
) -> None:
    ddl = (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, v TEXT)",
        "CREATE TABLE audit (id INTEGER PRIMARY KEY, what TEXT)",
        "CREATE TABLE counted (name TEXT PRIMARY KEY, n INTEGER)",
    )
    watch = (
        "CREATE TRIGGER watch AFTER INSERT ON t BEGIN INSERT INTO audit (what) VALUES (NEW.uuid);"
        " UPDATE counted SET n = n + 1 WHERE name = 't'; END",
        "CREATE TRIGGER watch_changes AFTER UPDATE ON t BEGIN"
        " INSERT INTO audit (what) VALUES ('changed ' || NEW.uuid); END",
    )
    here = make_site(tmp_path, "here", ddl)
    there = make_site(tmp_path, "there", [*ddl, *watch])
    one_network(here, there)
    there.sql("INSERT INTO counted VALUES ('t', 0)")
    here.sql("INSERT INTO t (uuid, v) VALUES ('a', '1'), ('b', '2')")
    settle(here, there)
    assert both((here, there), "SELECT what FROM audit ORDER BY what") == [("a",), ("b",)]
    assert both((here, there), "SELECT n FROM counted") == [(2,)]
    here.sql("UPDATE t SET v = '3' WHERE uuid = 'a'")
    settle(here, there)
    assert both((here, there), "SELECT what FROM audit ORDER BY what") == [
        ("a",),
        ("b",),
        ("changed a",),
    ]


# Clocks


def test_a_stamp_of_the_future_is_kept_aside_passed_on_and_merged_when_due(
    tmp_path: Path,
) -> None:
    now = {"ms": 0}

    def wall() -> int:
        return (
            int(here.sql("SELECT CAST((julianday() - 2440587.5) * 86400000 AS INTEGER)")[0][0])
            + now["ms"]
        )

    here = make_site(tmp_path, "here", CLINIC)
    relay = make_site(tmp_path, "relay", CLINIC, wall_ms=wall)
    there = make_site(tmp_path, "there", CLINIC, wall_ms=wall)
    here.reopen(wall_ms=wall)
    one_network(here, relay, there)
    person(here, ANN, "Ann", note="n")
    settle(here, relay, there)
    here.sql("UPDATE person SET name = 'of the future'")
    person(here, BOB, "Bob")
    later(here, 3_600_000)
    sync(here, relay)
    sync(relay, there)
    for site in (relay, there):
        assert site.sql("SELECT name FROM person ORDER BY name") == [("Ann",)], site.name
        assert site.look("SELECT count(*) FROM syncnode_row WHERE place = 'aside'") == [(2,)]
    there.sql("UPDATE person SET note = 'meanwhile', name = 'loses'")
    settle(relay, there)
    assert both((relay, there), "SELECT name, note FROM person") == [("loses", "meanwhile")]
    now["ms"] = 3_600_000
    settle(here, relay, there)
    for site in (here, relay, there):
        assert site.look("SELECT count(*) FROM syncnode_row WHERE place = 'aside'") == [(0,)]
        assert site.sql("SELECT name, note FROM person ORDER BY name") == [
            ("Bob", None),
            ("of the future", "meanwhile"),
        ]
        assert site.conflicts() == [("person", "name", "of the future", "loses")]


# A catch-up in steps


def test_a_catch_up_in_steps_is_resumed_after_a_kill_and_serves_nothing_meanwhile(
    tmp_path: Path,
) -> None:
    here, there = two_sites(tmp_path, CLINIC)
    third = make_site(tmp_path, "third", CLINIC)
    one_network(here, third)
    here.reopen(chunk_bytes_max=600, rows_first=3)
    with here.transaction():
        for n in range(40):
            person(here, f"person {n}", f"name {n}")
            here.sql("INSERT INTO visit (uuid, person_id) VALUES (?, last_insert_rowid())", f"v{n}")
    there.reopen(apply_rows_max=5)
    steps = 0
    real = there.replica._take_step

    class Killed(Exception):
        pass

    def killed_between_steps(*arguments: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 4:
            raise Killed
        real(*arguments)

    there.replica.__dict__["_take_step"] = killed_between_steps
    with pytest.raises(Killed):
        sync(here, there, check=False)
    shown = there.sql("SELECT count(*) FROM person")[0][0]
    assert 0 < int(shown) < 40
    there.sql("INSERT INTO tag VALUES ('own', 'row')")
    with pytest.raises(StoreError) as caught:
        sync(third, there, check=False)
    assert caught.value.transient
    assert not there.replica.standing(there.id).settled
    there.reopen()
    assert there.sql("SELECT count(*) FROM person") == [(40,)]
    settle(here, there, third)
    assert both((there, third), "SELECT count(*) FROM visit") == [(40,)]


def test_a_delta_that_breaks_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    here, there = two_sites(tmp_path, CLINIC)
    here.reopen(chunk_bytes_max=500, rows_first=3)
    with here.transaction():
        for n in range(30):
            person(here, f"person {n}", f"name {n}")
    sent = []
    for _ in range(30):
        done = sync(here, there, break_at=4, check=False)
        sent.append(done.sent)
        there.reopen()
        if done.finish is not None:
            break
    assert len(sent) > 2, "the delta was cut"
    assert sum(sent) < 60, "what had arrived was not sent again"
    settle(here, there)
    assert both((here, there), "SELECT count(*) FROM person") == [(30,)]


# Identity


def _copy(path: Path) -> bytes:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.read_bytes()


def _put_back(site: Site, copied: bytes) -> None:
    site.close()
    for suffix in ("-wal", "-shm"):
        Path(f"{site.path}{suffix}").unlink(missing_ok=True)
    site.path.write_bytes(copied)
    site.connection = sqlite3.connect(site.path, isolation_level=None)
    site.connection.execute("PRAGMA foreign_keys = ON")
    site.reopen()


def test_a_restored_older_database_is_noticed_by_its_anchor_and_gets_its_changes_back(
    pair: tuple[Site, Site],
) -> None:
    here, there = pair
    person(here, ANN, "Ann")
    sync(here, there)
    copied = _copy(here.path)
    person(here, BOB, "lost with the backup")
    here.sql("UPDATE person SET note = 'lost too' WHERE uuid = ?", ANN)
    sync(here, there)
    _put_back(here, copied)
    assert here.replica.restored
    assert here.origin.incarnation == 2
    person(here, CAT, "after the restore")
    settle(here, there)
    assert both(pair, "SELECT name, note FROM person ORDER BY name") == [
        ("Ann", "lost too"),
        ("after the restore", None),
        ("lost with the backup", None),
    ]
    assert here.conflicts() == []


def test_a_machine_rolled_back_with_its_anchor_is_told_by_a_peer(
    pair: tuple[Site, Site],
) -> None:
    here, there = pair
    person(here, ANN, "Ann")
    sync(here, there)
    copied, anchor = _copy(here.path), here.settings.anchor.read_bytes()
    person(here, BOB, "lost with the snapshot")
    sync(here, there)
    here.settings.anchor.write_bytes(anchor)
    _put_back(here, copied)
    assert here.origin.incarnation == 1, "nothing at this site can tell"
    person(here, CAT, "sealed on a fork")
    here.sql("UPDATE person SET note = 'on a fork' WHERE uuid = ?", ANN)
    settle(here, there)
    assert here.origin.incarnation == 2
    assert both(pair, "SELECT name, note FROM person ORDER BY name") == [
        ("Ann", "on a fork"),
        ("lost with the snapshot", None),
        ("sealed on a fork", None),
    ]


def test_a_machine_rolled_back_that_has_passed_the_lost_numbers_is_told_by_a_peer(
    pair: tuple[Site, Site],
) -> None:
    """The copy says what the peer held then. A delta cut above that would be taken: the peer
    cannot tell by the last number alone that another changeset bears the one before."""
    here, there = pair
    with here.replica.database.write() as tx:
        put_peer(tx, Peer(there.id, "there", "peer", "", bytes(32)))
    person(here, ANN, "Ann")
    sync(here, there)
    here.replica.flush()
    assert here.look("SELECT 1 FROM syncnode_peer WHERE frontier IS NOT NULL") == [(1,)]
    copied, anchor = _copy(here.path), here.settings.anchor.read_bytes()
    person(here, BOB, "lost with the snapshot")
    sync(here, there)
    here.settings.anchor.write_bytes(anchor)
    _put_back(here, copied)
    for uuid in (CAT, DAN):
        person(here, uuid, "sealed on a fork")
        here.replica.seal()
    settle(here, there)
    assert here.origin.incarnation == 2
    assert both(pair, "SELECT name FROM person ORDER BY name") == [
        ("Ann",),
        ("lost with the snapshot",),
        ("sealed on a fork",),
        ("sealed on a fork",),
    ]


def test_a_fork_that_was_told_to_another_site_converges_everywhere(tmp_path: Path) -> None:
    here, there = two_sites(tmp_path, CLINIC)
    third = make_site(tmp_path, "third", CLINIC)
    one_network(here, third)
    person(here, ANN, "Ann")
    here.sql("INSERT INTO tag VALUES ('a', 'b')")
    settle(here, there, third)
    copied, anchor = _copy(here.path), here.settings.anchor.read_bytes()
    person(here, BOB, "first branch")
    here.sql("INSERT INTO tag VALUES ('first', 'branch')")
    sync(here, there)
    here.settings.anchor.write_bytes(anchor)
    _put_back(here, copied)
    person(here, CAT, "second branch")
    here.sql("INSERT INTO tag VALUES ('second', 'branch')")
    here.sql("DELETE FROM tag WHERE a = 'a'")
    sync(here, there)  # told by `there` at once: renews before anything of it is offered
    settle(here, there, third)
    assert here.origin.incarnation == 2
    for site in (here, there, third):
        assert site.sql("SELECT name FROM person ORDER BY name") == [
            ("Ann",),
            ("first branch",),
            ("second branch",),
        ]
        assert site.sql("SELECT a FROM tag ORDER BY a") == [("first",), ("second",)]


def test_a_copied_directory_goes_on_as_another_incarnation(tmp_path: Path) -> None:
    here, there = two_sites(tmp_path, CLINIC)
    person(here, ANN, "Ann")
    sync(here, there)
    here.close()
    shutil.copytree(tmp_path / "here", tmp_path / "copy")
    moved = tmp_path / "copy"
    settings = replace(
        here.settings,
        path=moved / here.settings.path.name,
        key=moved / here.settings.key.name,
        anchor=moved / here.settings.anchor.name,
        database=f"sqlite:///{moved / 'site.db'}",
    )
    copy = open_replica(settings)
    assert copy.restored
    assert copy.standing(there.id).origin.incarnation == 2
    copy.close()
    there.close()


# Watching


def test_a_row_changed_behind_our_back_raises_the_alarm(pair: tuple[Site, Site]) -> None:
    person(pair[0], ANN, "Ann")
    person(pair[0], BOB, "Bob")
    settle(*pair)
    with pair[1].replica.database.write() as tx:
        tx.execute("UPDATE syncnode_table SET total = '12345' WHERE name = 'person'")
    person(pair[0], CAT, "Cat")
    sync(pair[1], pair[0], alarms=("person",), check=False)


def test_the_ledger_says_who_sent_what(pair: tuple[Site, Site]) -> None:
    here, there = pair
    person(here, ANN)
    person(here, BOB)
    here.sql("INSERT INTO tag VALUES ('a', 'b')")
    sync(here, there)
    lines = "SELECT seq, row_count, tables, sender FROM syncnode_changeset"
    assert here.look(lines) == [(1, 3, '{"person": 2, "tag": 1}', None)]
    assert there.look(lines) == [(1, 3, '{"person": 2, "tag": 1}', bytes(here.id))]


def test_uninstall_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    plain = make_site(tmp_path, "plain", CLINIC)
    schema = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 1, 2"
    before = [
        row
        for row in plain.sql(schema)
        if not str(row[1]).startswith("syncnode_")
        and not str(row[1]).startswith("sqlite_autoindex_syncnode_")
    ]
    other = make_site(tmp_path, "other", CLINIC)
    one_network(plain, other)
    person(plain, ANN)
    plain.sql("INSERT INTO tag VALUES ('a', 'b')")
    settle(plain, other)
    same(plain, other)
    rows = plain.sql("SELECT * FROM person")
    plain.uninstall()
    assert plain.sql(schema) == before
    assert plain.sql("SELECT * FROM person") == rows
    plain.connection.close()
    other.close()


# What random runs have taught (`test_random_schemas.py`)


def test_copies_are_counted_across_a_gap_that_a_delete_has_left(pair: tuple[Site, Site]) -> None:
    here, there = pair
    here.sql("INSERT INTO tag VALUES ('a', 'b'), ('a', 'b')")
    settle(*pair)
    here.sql("DELETE FROM tag WHERE rowid = 2")
    there.sql("INSERT INTO tag VALUES ('a', 'b')")
    settle(*pair)
    assert both(pair, "SELECT count(*) FROM tag") == [(2,)]
    here.sql("DELETE FROM tag")
    settle(*pair)
    assert both(pair, "SELECT * FROM tag") == []


LINKED = (
    "CREATE TABLE p (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " parent INTEGER REFERENCES p ON DELETE CASCADE)",
    "CREATE TABLE link (p INTEGER REFERENCES p ON DELETE CASCADE, v TEXT)",
)


def test_a_copy_refers_to_the_row_that_has_the_number_now(tmp_path: Path) -> None:
    sites = here, _ = two_sites(tmp_path, LINKED)
    here.sql("INSERT INTO p VALUES (1, 'one', NULL)")
    here.sql("INSERT INTO link VALUES (1, 'to one')")
    settle(*sites)
    here.sql("DELETE FROM p")
    here.sql("INSERT INTO p VALUES (1, 'two', NULL)")
    here.sql("INSERT INTO link VALUES (1, 'to two')")
    settle(*sites)
    assert both(sites, "SELECT v, uuid FROM link JOIN p ON p.id = link.p") == [("to two", "two")]


def test_a_copy_that_was_changed_and_then_went_with_its_parent_is_gone(tmp_path: Path) -> None:
    sites = here, _ = two_sites(tmp_path, LINKED)
    here.sql("INSERT INTO p VALUES (1, 'one', NULL)")
    here.sql("INSERT INTO link VALUES (1, 'x')")
    settle(*sites)
    here.sql("UPDATE link SET v = 'y'")
    here.sql("DELETE FROM p")
    settle(*sites)
    assert both(sites, "SELECT * FROM link") == []


def test_a_row_that_went_with_its_parent_still_refers_to_it_when_both_numbers_are_used_again(
    tmp_path: Path,
) -> None:
    sites = here, there = two_sites(tmp_path, LINKED)
    here.sql("INSERT INTO p VALUES (5, 'parent', NULL), (6, 'child', 5)")
    settle(*sites)
    here.sql("DELETE FROM p WHERE id = 5")
    here.sql("INSERT INTO p VALUES (5, 'other', NULL), (6, 'another', 5)")
    settle(*sites)
    there.sql("INSERT INTO p VALUES (9, 'parent', NULL)")
    there.sql("INSERT INTO p VALUES (10, 'child', 9)")
    settle(*sites)
    assert both(sites, "SELECT c.uuid, p.uuid FROM p c JOIN p ON p.id = c.parent ORDER BY 1") == [
        ("another", "other"),
        ("child", "parent"),
    ]


def test_a_new_row_with_two_stamps_of_one_changeset_counts_once(pair: tuple[Site, Site]) -> None:
    ann = person(pair[0], ANN)
    settle(*pair)
    person(pair[0], BOB, boss=ann)
    pair[0].sql("UPDATE person SET uuid = ? WHERE id = ?", CAT, ann)
    settle(*pair)
    assert both(pair, "SELECT c.uuid, p.uuid FROM person c JOIN person p ON p.id = c.boss") == [
        (BOB, CAT)
    ]


def test_a_row_deleted_twice_while_a_delta_is_cut_is_deleted_once(tmp_path: Path) -> None:
    here, there = two_sites(tmp_path, CLINIC)
    for uuid in UUIDS:
        person(here, uuid)
    settle(here, there)
    here.reopen(chunk_bytes_max=300, rows_first=2)
    here.sql("DELETE FROM person")
    again = 0

    def between(turn: int, _: object) -> None:
        nonlocal again
        if turn == 2:
            again += 1
            person(here, ANN, "back for a moment")
            here.sql("DELETE FROM person")

    sync(here, there, each=between)
    assert again == 1
    settle(here, there)
    assert both((here, there), "SELECT * FROM person") == []


def test_a_parked_copy_that_is_deleted_where_it_was_written_is_parked_no_more(
    tmp_path: Path,
) -> None:
    here = make_site(tmp_path, "here", ["CREATE TABLE t (v TEXT)"])
    there = make_site(tmp_path, "there", ["CREATE TABLE t (v TEXT CHECK (v <> 'bad'))"])
    one_network(here, there)
    here.sql("INSERT INTO t VALUES ('bad'), ('good')")
    settle(here, there)
    assert there.parked() == [("t", "check constraint")]
    here.sql("DELETE FROM t WHERE v = 'bad'")
    settle(here, there)
    assert there.parked() == []
    assert both((here, there), "SELECT v FROM t") == [("good",)]
