"""Filters of a site: what it shows instead of what arrives; others get what was written."""

import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from sites import Site, make_site, one_network, settle, sync

from syncnode.apply.filters import Filters
from syncnode.operations import initialise, status
from syncnode.operations.site import open_replica
from syncnode.settings.config import read_settings
from syncproto.errors import ConfigError

SCHEMA = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, name TEXT,"
    " phone TEXT, card TEXT UNIQUE)",
    "CREATE TABLE tag (label TEXT)",
)
ANN, BEN = (f"0a8e1a54-1111-4222-8333-{number:012}" for number in (1, 2))
MODULE = """
from syncnode.apply.filters import Refused

def without_phone(row):
    return {"phone": None}

def initials(row):
    return {"name": row.values["name"][:1] + "."}

def nobody_called_ben(row):
    if row.values["name"] == "Ben":
        raise Refused("Ben has asked for it")
    return {}

def renames_the_row(row):
    return {"uuid": "x"}

def takes_the_card(row):
    return {"card": "1"}

def fails(row):
    raise ValueError(row.values["name"])
"""
NAMES = (
    *("without_phone", "initials", "nobody_called_ben"),
    *("renames_the_row", "takes_the_card", "fails"),
)
PEOPLE = "SELECT name, phone FROM person ORDER BY name"


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with filters, as pip installs one."""
    folder = tmp_path / "packages"
    facts = folder / "clinic_filters-1.dist-info"
    facts.mkdir(parents=True)
    (folder / "clinic_filters.py").write_text(MODULE)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: clinic-filters\nVersion: 1\n")
    points = "\n".join(f"{name} = clinic_filters:{name}" for name in NAMES)
    (facts / "entry_points.txt").write_text(f"[syncnode.filters]\n{points}\n")
    monkeypatch.syspath_prepend(folder)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[tuple[Site, Site, Site]]:
    """One that writes, one with filters, and one behind it."""
    there, here, behind = (make_site(tmp_path, n, SCHEMA) for n in ("there", "here", "behind"))
    one_network(there, here, behind)
    yield there, here, behind
    for site in (there, here, behind):
        site.close()


def filtered(site: Site, *names: str) -> None:
    site.reopen(filters=Filters({"person": names}))


def pass_on(*sites: Site) -> None:
    for one, other in pairwise(sites):
        sync(one, other)


def test_what_is_shown_otherwise_travels_on_as_it_came(chain: tuple[Site, Site, Site]) -> None:
    there, here, behind = chain
    filtered(here, "without_phone", "initials")
    there.sql("INSERT INTO person (uuid, name, phone) VALUES (?, 'Ann', '1')", ANN)
    pass_on(there, here, behind)
    assert here.sql(PEOPLE) == [("A.", None)]
    assert behind.sql(PEOPLE) == [("Ann", "1")]
    settle(there, here, behind)
    there.sql("UPDATE person SET phone = '2'")
    settle(there, here, behind)
    assert here.sql(PEOPLE) == [("A.", None)]
    assert behind.sql(PEOPLE) == [("Ann", "2")]


def test_edits_beside_a_filtered_value_leave_it_and_edits_of_it_count(
    chain: tuple[Site, Site, Site],
) -> None:
    there, here, behind = chain
    filtered(here, "without_phone")
    there.sql("INSERT INTO person (uuid, name, phone) VALUES (?, 'Ann', '1')", ANN)
    pass_on(there, here)
    here.sql("UPDATE person SET name = 'Anna'")
    settle(there, here, behind)
    assert there.sql(PEOPLE) == behind.sql(PEOPLE) == [("Anna", "1")]
    assert here.sql(PEOPLE) == [("Anna", None)]
    here.sql("UPDATE person SET phone = '9'")
    settle(there, here, behind)
    assert there.sql(PEOPLE) == behind.sql(PEOPLE) == [("Anna", "9")]


def test_a_refused_row_is_parked_and_travels_on(chain: tuple[Site, Site, Site]) -> None:
    there, here, behind = chain
    filtered(here, "nobody_called_ben")
    there.sql("INSERT INTO person (uuid, name) VALUES (?, 'Ann'), (?, 'Ben')", ANN, BEN)
    pass_on(there, here, behind)
    assert here.sql(PEOPLE) == [("Ann", None)]
    assert here.parked() == [("person", "filtered")]
    assert behind.sql(PEOPLE) == [("Ann", None), ("Ben", None)]
    there.sql("UPDATE person SET name = 'Benedict' WHERE name = 'Ben'")
    settle(there, here, behind)
    assert here.parked() == []
    assert here.sql(PEOPLE) == [("Ann", None), ("Benedict", None)]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("renames_the_row", "person: the filter renames_the_row may not change uuid"),
        ("takes_the_card", "person: the filter takes_the_card may not change card"),
        ("fails", "person: the filter fails failed (ValueError)"),
    ],
)
def test_a_filter_that_does_what_it_may_not_parks_the_row_and_is_named(
    chain: tuple[Site, Site, Site], name: str, why: str
) -> None:
    there, here, _ = chain
    filtered(here, name)
    there.sql("INSERT INTO person (uuid, name) VALUES (?, 'Ann')", ANN)
    pass_on(there, here)
    assert here.sql(PEOPLE) == []
    assert here.look("SELECT reason, detail FROM syncnode_row") == [("filtered", why)]


def test_an_update_goes_through_the_filter_too(chain: tuple[Site, Site, Site]) -> None:
    there, here, behind = chain
    there.sql("INSERT INTO person (uuid, name, phone) VALUES (?, 'Ann', '1')", ANN)
    settle(there, here, behind)
    filtered(here, "without_phone")
    there.sql("UPDATE person SET phone = '2'")
    settle(there, here, behind)
    assert here.sql(PEOPLE) == [("Ann", None)]


# Settings


def test_the_settings_name_filters_by_table(chain: tuple[Site, Site, Site]) -> None:
    there, here, _ = chain
    with here.settings.path.open("a") as file:
        file.write('\n[filters]\nperson = ["initials"]\n')
    there.sql("INSERT INTO person (uuid, name) VALUES (?, 'Ann')", ANN)
    here.replica.close()
    here.replica = open_replica(read_settings(here.settings.path))
    sync(there, here)
    assert here.sql("SELECT name FROM person") == [("A.",)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('persons = ["initials"]', "did you mean person"),
        ('person = ["initial"]', "did you mean initials"),
        ('tag = ["initials"]', "no primary key"),
        ('person = "initials"', "list"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(
    chain: tuple[Site, Site, Site], line: str, says: str
) -> None:
    _, here, _ = chain
    with here.settings.path.open("a") as file:
        file.write(f"\n[filters]\n{line}\n")
    with pytest.raises(ConfigError, match=says):
        open_replica(read_settings(here.settings.path))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('person = ["no_such"]', "no_such"),
        ('persn = ["without_phone"]', "filters.persn"),
        ('tag = ["without_phone"]', "no primary key"),
    ],
)
def test_init_refuses_what_serve_would_and_status_names_it(
    tmp_path: Path, line: str, says: str
) -> None:
    with sqlite3.connect(tmp_path / "a.db") as database:
        for statement in SCHEMA:
            database.execute(statement)
    path = tmp_path / "syncnode.toml"
    path.write_text(f'name = "a"\ndatabase = "sqlite:///a.db"\n[filters]\n{line}\n')
    with pytest.raises(ConfigError, match=says):
        initialise(read_settings(path, {}), dry_run=False, progress=print)
    assert not (tmp_path / "site.key").exists()
    path.write_text('name = "a"\ndatabase = "sqlite:///a.db"\n')
    initialise(read_settings(path, {}), dry_run=False, progress=print)
    path.write_text(f'name = "a"\ndatabase = "sqlite:///a.db"\n[filters]\n{line}\n')
    notes = [note for note in status(read_settings(path, {})).notes if says in note]
    assert len(notes) == (says != "no_such")  # nothing of a package is loaded to tell the status
