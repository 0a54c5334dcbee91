"""Rows whose uuid names nobody: it is NULL, or another row of the table has it already."""

import contextlib
import random
import sqlite3

import pytest
from sites import make_site, one_network, settle, sync

from syncnode.operations.verifying import check

ALLERGY = ("CREATE TABLE allergy (id INTEGER PRIMARY KEY, uuid CHAR(38), what TEXT)",)
U1, U2 = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "12")
NAMES = (U1, U2, None, None)
SEEDS = 15


def pair(folder):
    sites = [make_site(folder, name, ALLERGY) for name in ("here", "there")]
    one_network(*sites)
    return sites


def at_both(sites, *expected):
    settle(*sites)
    for site in sites:
        found = site.sql("SELECT uuid, what FROM allergy")
        assert sorted(found, key=repr) == sorted(expected, key=repr), site.name
        assert not site.parked()
        assert not site.conflicts()
        assert check(site.settings, repair=False, confirm=None, progress=lambda _: None).sound


def test_rows_without_a_uuid_of_two_sites_are_not_one_row(tmp_path):
    sites = here, there = pair(tmp_path)
    here.sql("INSERT INTO allergy (what) VALUES ('nuts'), ('milk')")
    there.sql("INSERT INTO allergy (what) VALUES ('dust')")
    at_both(sites, (None, "nuts"), (None, "milk"), (None, "dust"))
    there.sql("UPDATE allergy SET what = 'peanuts' WHERE what = 'nuts'")
    here.sql("DELETE FROM allergy WHERE what = 'dust'")
    at_both(sites, (None, "peanuts"), (None, "milk"))


def test_a_row_without_a_uuid_goes_and_another_takes_its_number(tmp_path):
    sites = here, _ = pair(tmp_path)
    here.sql("INSERT INTO allergy VALUES (1, ?, 'nuts'), (2, NULL, 'milk')", U1)
    at_both(sites, (U1, "nuts"), (None, "milk"))
    for what in ("dust", "wool"):
        here.sql("DELETE FROM allergy WHERE id = 2")
        at_both(sites, (U1, "nuts"))
        here.sql("INSERT INTO allergy VALUES (2, NULL, ?)", what)
        at_both(sites, (U1, "nuts"), (None, what))


def test_a_second_row_of_one_uuid_goes_and_comes_again(tmp_path):
    sites = here, _ = pair(tmp_path)
    here.sql("INSERT INTO allergy VALUES (1, ?, 'nuts'), (2, ?, 'milk')", U1, U1)
    at_both(sites, (U1, "nuts"), (U1, "milk"))
    here.sql("DELETE FROM allergy WHERE id = 2")
    at_both(sites, (U1, "nuts"))
    here.sql("INSERT INTO allergy VALUES (2, ?, 'wool'), (3, ?, 'dust')", U1, U2)
    at_both(sites, (U1, "nuts"), (U1, "wool"), (U2, "dust"))
    with here.transaction():  # without anybody seeing it gone
        here.sql("DELETE FROM allergy WHERE id = 2")
        here.sql("INSERT INTO allergy VALUES (2, ?, 'silk')", U1)
    at_both(sites, (U1, "nuts"), (U1, "silk"), (U2, "dust"))


def test_a_row_that_is_given_a_uuid_is_named_by_it_from_then_on(tmp_path):
    sites = here, there = pair(tmp_path)
    here.sql("INSERT INTO allergy (what) VALUES ('nuts'), ('milk'), ('dust')")
    settle(*sites)
    here.sql("UPDATE allergy SET uuid = ? WHERE what = 'nuts'", U1)
    there.sql("UPDATE allergy SET uuid = ? WHERE what = 'milk'", U2)
    at_both(sites, (U1, "nuts"), (U2, "milk"), (None, "dust"))
    there.sql("UPDATE allergy SET what = 'peanuts' WHERE uuid = ?", U1)
    here.sql("UPDATE allergy SET uuid = NULL WHERE uuid = ?", U2)
    at_both(sites, (U1, "peanuts"), (None, "milk"), (None, "dust"))


def test_rows_without_a_key_follow_what_a_number_named_when_it_named_it(tmp_path):
    """SQLite gives a number again, and the rows below it went with the one that had it before."""
    site = make_site(
        tmp_path,
        "here",
        (
            "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE)",
            "CREATE TABLE note (text TEXT,"
            " visit INTEGER NOT NULL REFERENCES visit (id) ON DELETE CASCADE)",
        ),
    )
    site.sql("INSERT INTO visit VALUES (1, ?)", U1)
    site.sql("INSERT INTO note VALUES ('y', 1)")
    site.check()
    site.sql("DELETE FROM visit WHERE id = 1")
    site.sql("INSERT INTO visit VALUES (1, ?)", U2)
    site.sql("INSERT INTO note VALUES ('y', 1), ('z', 1)")
    site.sql("DELETE FROM note WHERE text = 'z'")
    site.check()
    alive = [key for (table, key), row in site.state().items() if table == "note" and row.alive]
    assert len(alive) == 1


WRITES = (
    "INSERT INTO allergy (uuid, what) VALUES (:name, :what)",
    "INSERT OR REPLACE INTO allergy VALUES (:number, :name, :what)",
    "UPDATE allergy SET uuid = :name WHERE id = :number",
    "UPDATE allergy SET what = :what WHERE id = :number",
    "DELETE FROM allergy WHERE id = :number",
)


@pytest.mark.parametrize("unique", ["", "UNIQUE"])
def test_rows_come_to_the_same_whatever_they_are_called(tmp_path, unique, seeds):
    schema = (f"CREATE TABLE allergy (id INTEGER PRIMARY KEY, uuid CHAR(38) {unique}, what TEXT)",)
    for seed in range(SEEDS * seeds):
        draw = random.Random(seed)
        sites = [make_site(tmp_path / str(seed), name, schema) for name in ("here", "there")]
        one_network(*sites)
        for _ in range(12):
            for _ in range(draw.randint(1, 4)):
                with contextlib.suppress(sqlite3.IntegrityError):
                    values = {"name": draw.choice(NAMES), "number": draw.randint(1, 5)}
                    values["what"] = draw.choice("abc")
                    draw.choice(sites).connection.execute(draw.choice(WRITES), values)
            if draw.random() < 0.4:
                sync(*draw.sample(sites, 2))
        settle(*sites)
        shown = [site.sql("SELECT uuid, what FROM allergy ORDER BY uuid, what") for site in sites]
        assert shown[0] == shown[1] or any(site.parked() for site in sites), seed
        for site in sites:
            site.close()
