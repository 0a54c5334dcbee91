"""`clashes`: rows whose unique value another row has, with both rows, and how it ends."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sites import Site, make_site, one_network, set_rule, settle

from syncnode.__main__ import main
from syncnode.clash_report import ClashReport
from syncnode.operations import clashes, parked

SCHEMA = (
    "CREATE TABLE kind (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " name VARCHAR(20) NOT NULL UNIQUE, code INTEGER UNIQUE)",
    "CREATE TABLE bed (ward VARCHAR(20), number INTEGER, tag INTEGER NOT NULL UNIQUE,"
    " PRIMARY KEY (ward, number))",
)
ONE, OTHER = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "ab")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    made = make_site(tmp_path, "here", SCHEMA), make_site(tmp_path, "there", SCHEMA)
    one_network(*made)
    yield made
    for site in made:
        site.close()


def kinds(here: Site, there: Site) -> None:
    """Two rows of one name, the one of `here` the earlier."""
    here.sql("INSERT INTO kind (uuid, name, code) VALUES (?, 'adult', 7)", ONE)
    time.sleep(0.003)
    there.sql("INSERT INTO kind (uuid, name, code) VALUES (?, 'adult', 7)", OTHER)
    settle(here, there)


def beds(here: Site, there: Site) -> None:
    here.sql("INSERT INTO bed VALUES ('east', 1, 7)")
    time.sleep(0.003)
    there.sql("INSERT INTO bed VALUES ('west', 2, 7)")
    settle(here, there)


def test_a_marked_row_is_listed_for_each_value_with_the_row_that_keeps_it(
    pair: tuple[Site, Site],
) -> None:
    kinds(*pair)
    ((shown,),) = pair[0].sql("SELECT name FROM kind WHERE uuid = ?", OTHER)
    for site in pair:
        found = sorted(clashes(site.settings), key=lambda one: sorted(one.values))
        assert [(one.values, one.shown) for one in found] == [
            ({"code": "7"}, {"code": None}),
            ({"name": "adult"}, {"name": shown}),
        ]
        assert shown.startswith("adult~")
        for one in found:
            assert (one.table, one.row, one.row_name) == ("kind", OTHER, OTHER)
            assert (one.done, one.other, one.other_name) == ("marked", ONE, ONE)
            assert one.id == found[0].id
    assert "give one of the two another kind.code" in found[0].ends
    pair[0].sql("UPDATE kind SET name = 'child' WHERE uuid = ?", ONE)
    settle(*pair)
    assert [one.values for one in clashes(pair[1].settings)] == [{"code": "7"}]


def test_a_merged_row_is_listed_with_the_row_that_stands_for_it(pair: tuple[Site, Site]) -> None:
    for site in pair:
        set_rule(site, "kind", ["name"], "merge")
    kinds(*pair)
    for site in pair:
        (one,) = clashes(site.settings)
        assert (one.row, one.other, one.done) == (OTHER, ONE, "merged")
        assert (one.values, one.shown) == ({"name": "adult"}, None)
        assert one.ends.startswith("nothing, if both are the same thing")


def test_a_row_that_waits_is_listed_and_says_of_which_row_in_words_that_people_know(
    pair: tuple[Site, Site],
) -> None:
    beds(*pair)
    for site in pair:
        (one,) = clashes(site.settings)
        assert (one.done, one.row_name, one.other_name) == (
            "waits",
            "ward=west, number=2",
            "ward=east, number=1",
        )
        (row,) = parked(site.settings)
        assert (row.id, row.row_name) == (one.id, one.row_name)
        assert row.rival == "bed ward=east, number=1"


def test_the_list_is_printed_and_is_json(
    pair: tuple[Site, Site], capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(pair[0].settings.path)
    assert main(["clashes", "--config", config]) == 0
    assert capsys.readouterr().err == "syncnode: no row has a unique value of another one\n"
    beds(*pair)
    assert main(["clashes", "--config", config]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("bed ward=west, number=2: not shown: it waits (`syncnode parked`)")
    assert lines[1:3] == ["    asks for tag = 7", "    which is that of bed ward=east, number=1"]
    assert lines[-1].startswith("    to end it: give the other row another bed.tag")
    assert main(["clashes", "list", "--json", "--config", config]) == 0
    (printed,) = json.loads(capsys.readouterr().out)
    (one,) = clashes(pair[0].settings)
    assert isinstance(one, ClashReport)
    assert (printed["row_name"], printed["ends"]) == (one.row_name, one.ends)


def test_status_names_the_rows_and_the_command_that_lists_them(
    pair: tuple[Site, Site], capsys: pytest.CaptureFixture[str]
) -> None:
    kinds(*pair)
    main(["status", "--config", str(pair[0].settings.path)])
    (note,) = [line for line in capsys.readouterr().out.splitlines() if "shows a mark" in line]
    assert f"({OTHER}; `syncnode clashes` lists them)" in note
