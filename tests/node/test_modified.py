"""Rows older than syncnode: at the join of two populated databases the later edit stands."""

import sqlite3

import pytest
from mariadb_sites import maker, say, servers_of
from sites import make_site, one_network, same, settle, sync

from syncnode.capture.modified import milliseconds_of, stamper
from syncnode.operations import conflicts
from syncnode.schema.plan import MODIFIED, ColumnPlan, TablePlan
from syncproto.clock import BASELINE_HLC, hlc_at

SCHEMA = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT,"
    " date_created DATETIME NOT NULL, date_changed DATETIME)",
    "CREATE TABLE tag (name TEXT PRIMARY KEY NOT NULL, value TEXT)",
)
UUIDS = [f"0a8e1a54-1111-4222-8333-{number:012}" for number in range(9)]
NOW_MS = 1_700_000_000_000


def plan(*modified):
    columns = tuple(
        ColumnPlan(name, "datetime", nullable=True) for name in ("changed", "created", "other")
    )
    return TablePlan("t", 1, "uuid", ("id",), ("uuid",), columns, modified=modified)


def stamp_of(*values):
    stamped = stamper(plan("changed", "created"), ["changed", "created"], now_ms=NOW_MS)
    return stamped(values)


# Times


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01 00:00:01", 1_000),
        ("2015-01-02", 1_420_156_800_000),
        ("2015-01-02 03:04:05", 1_420_167_845_000),
        ("2015-01-02T03:04:05", 1_420_167_845_000),
        ("2015-01-02 03:04:05.500000", 1_420_167_845_500),
        ("2015-01-02 05:04:05+02:00", 1_420_167_845_000),
        ("1969-12-31 00:00:00", -86_400_000),
    ],
)
def test_times_without_a_zone_are_taken_as_utc(text, ms):
    assert milliseconds_of(text) == ms


@pytest.mark.parametrize(
    "value",
    ["0000-00-00", "0000-00-00 00:00:00", "2015-02-30", "2015-01-02 25:00:00",
     "2015-01-02 03:04:60", "yesterday", "", "2015-01-02 0a:04:05", 1_420_167_845,
     b"2015-01-02", None],
)  # fmt: skip
def test_what_is_no_time_tells_none(value):
    assert milliseconds_of(value) is None


# Stamps


def test_the_first_column_that_is_not_null_counts():
    changed, created = "2015-01-02 03:04:05", "2014-01-01 00:00:00"
    assert stamp_of(changed, created) == hlc_at(1_420_167_845_000)
    assert stamp_of(None, created) == hlc_at(1_388_534_400_000)
    assert stamp_of(None, None) == BASELINE_HLC
    assert stamp_of("0000-00-00", created) == BASELINE_HLC
    assert stamp_of("1960-01-01", None) == BASELINE_HLC


def test_no_stamp_is_later_than_the_installation():
    assert stamp_of("2099-01-01", None) == hlc_at(NOW_MS)


def test_a_table_that_tells_no_times_has_none():
    assert stamper(plan(), ["changed"], now_ms=NOW_MS) is None
    assert stamper(plan("never"), ["changed"], now_ms=NOW_MS) is None


# Whole sites


def holding(*rows):
    def before(connection: sqlite3.Connection) -> None:
        connection.executemany(
            "INSERT INTO patient (id, uuid, name, date_created, date_changed)"
            " VALUES (?, ?, ?, ?, ?)",
            rows,
        )

    return before


def names(site):
    return dict(site.sql("SELECT uuid, name FROM patient ORDER BY uuid"))


@pytest.fixture
def populated(tmp_path):
    """Two databases of which each has a later edit of some row."""
    old, mid, new = "2020-01-01 00:00:00", "2021-01-01 00:00:00", "2022-01-01 00:00:00"
    here = make_site(
        tmp_path, "here", SCHEMA,
        before=holding(
            (1, UUIDS[1], "same", old, mid), (2, UUIDS[2], "later here", old, new),
            (3, UUIDS[3], "earlier here", old, None), (4, UUIDS[4], "only here", old, None),
        ),
    )  # fmt: skip
    there = make_site(
        tmp_path, "there", SCHEMA,
        before=holding(
            (11, UUIDS[3], "later there", old, mid), (12, UUIDS[2], "earlier there", old, mid),
            (13, UUIDS[1], "same", old, mid), (14, UUIDS[5], "only there", old, None),
        ),
    )  # fmt: skip
    one_network(here, there)
    yield here, there
    here.close()
    there.close()


def test_the_plan_names_the_columns_by_default(populated):
    tables = populated[0].replica.plan.by_name
    assert tables["patient"].modified == ("date_changed", "date_created")
    assert tables["tag"].modified == ()
    assert set(tables["patient"].modified) <= set(MODIFIED)


@pytest.mark.parametrize("swapped", [False, True])
def test_the_later_edit_stands_wherever_it_was_made(populated, swapped):
    one, other = reversed(populated) if swapped else populated
    sync(one, other)
    expected = {
        UUIDS[1]: "same", UUIDS[2]: "later here", UUIDS[3]: "later there",
        UUIDS[4]: "only here", UUIDS[5]: "only there",
    }  # fmt: skip
    for site in populated:
        assert names(site) == expected
    sync(other, one)
    same(*populated)
    # What gave way is on record at both, what was equal is not.
    found = [(column, losing) for _, column, _, losing in one.conflicts()]
    assert ("name", "earlier here") in found
    assert ("name", "earlier there") in found
    assert {column for column, _ in found} == {"name", "date_changed"}
    assert one.conflicts() == other.conflicts()


def test_a_write_after_the_installation_wins_over_any_older_row(tmp_path):
    """Even over one that says it was changed in the future."""
    old, future = "2020-01-01 00:00:00", "2099-01-01 00:00:00"
    here, there = (
        make_site(tmp_path, name, SCHEMA, before=holding((1, UUIDS[1], "before", old, changed)))
        for name, changed in (("here", future), ("there", old))
    )
    one_network(here, there)
    there.sql("UPDATE patient SET name = 'written now'")
    sync(here, there)
    assert names(here) == names(there) == {UUIDS[1]: "written now"}
    assert there.look("SELECT count(*) FROM syncnode_row WHERE place='aside'") == [(0,)]
    for site in (here, there):
        site.close()


def test_rows_without_a_time_give_way_to_those_that_have_one(tmp_path):
    dated, zero = "2020-01-01 00:00:00", "0000-00-00 00:00:00"
    here = make_site(tmp_path, "here", SCHEMA, before=holding((1, UUIDS[1], "no time", zero, None)))
    there = make_site(
        tmp_path, "there", SCHEMA, before=holding((1, UUIDS[1], "dated", dated, None))
    )
    one_network(here, there)
    sync(here, there)
    assert names(here) == names(there) == {UUIDS[1]: "dated"}
    for site in (here, there):
        site.close()


def test_the_anchor_knows_the_latest_stamp(populated):
    here, _ = populated
    ((hlc,),) = here.look("SELECT value FROM syncnode_setting WHERE name='hlc'")
    assert int(hlc) == hlc_at(1_640_995_200_000)
    assert here.replica._anchor.read().hlc == int(hlc)


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param("mysql", marks=pytest.mark.mariadb),
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ],
)
def test_the_servers_tell_the_same_times(request, tmp_path, engine):
    schema = (
        "CREATE TABLE patient (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
        " name VARCHAR(50), date_created DATETIME NOT NULL, date_changed DATETIME)",
    )
    insert = (
        "INSERT INTO patient (uuid, name, date_created, date_changed)"
        " VALUES (?, ?, '2020-01-01 00:00:00', ?)"
    )
    for make in maker(tmp_path, *servers_of(request, [engine])):
        (server,) = make(
            schema, engine,
            before=lambda c: say(c, insert, UUIDS[1], "later", "2022-01-01 00:00:00"),
        )  # fmt: skip
        (lite,) = make(
            schema, "sqlite",
            before=lambda c: say(c, insert, UUIDS[1], "earlier", "2021-01-01 00:00:00"),
        )  # fmt: skip
        one_network(server, lite)
        sync(server, lite)
        assert names(lite) == {UUIDS[1]: "later"}


def test_a_record_says_that_the_application_s_time_decided_or_that_there_was_none(tmp_path):
    old, new = "2020-01-01 00:00:00", "2022-01-01 00:00:00"

    def both(name, changed):
        def before(connection):
            holding((1, UUIDS[1], name, old, changed))(connection)
            connection.execute("INSERT INTO tag VALUES ('colour', ?)", (name,))

        return before

    here = make_site(tmp_path, "here", SCHEMA, before=both("first", new))
    there = make_site(tmp_path, "there", SCHEMA, before=both("second", old))
    one_network(here, there)
    settle(here, there)
    for site in (here, there):
        done = {(one.table, one.column): one.done for one in conflicts(site.settings)}
        assert done["patient", "name"].startswith("the row that the application changed later")
        assert done["tag", "value"].startswith("neither row was changed later")
    # What is written from now on is an ordinary conflict.
    here.sql("UPDATE patient SET name = 'third'")
    there.sql("UPDATE patient SET name = 'fourth'")
    settle(here, there)
    done = [one.done for one in conflicts(here.settings) if one.kept in ("third", "fourth")]
    assert done == ["the later write stays, the other one is kept here"]
    here.close()
    there.close()
