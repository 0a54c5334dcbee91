"""Unique clashes: decided alike at every site from what is replicated, and undone with the reason.

`expected` says what a site must show, from the replicated state alone and in a few lines of its
own (rules A4 and B2 of the design); the random stories compare every site with it.
"""

import contextlib
import random
import sqlite3
import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sites import Site, make_site, one_network, set_rule, settle, sync

from syncnode.apply.clashes import Clashes
from syncnode.operations.reporting import status
from syncnode.schema.plan import UniqueRule
from syncproto.identity import RowKey
from syncproto.row import Reference, Row

SCHEMA = (
    "CREATE TABLE kind (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " name VARCHAR(20) NOT NULL UNIQUE, code INTEGER UNIQUE, note TEXT)",
    # Where nothing can show a mark, rows wait.
    "CREATE TABLE bed (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " place INTEGER NOT NULL UNIQUE, kind_id INTEGER REFERENCES kind (id),"
    " room INTEGER REFERENCES bed (id))",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " bed_id INTEGER NOT NULL REFERENCES bed (id), kind_id INTEGER REFERENCES kind (id))",
)
UUIDS = [f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "abcdef"]
ONE, OTHER, THIRD, FOURTH, *_ = UUIDS


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[tuple[Site, ...]]:
    made = tuple(make_site(tmp_path, name, SCHEMA) for name in ("here", "there", "third"))
    one_network(*made)
    yield made
    for site in made:
        site.close()


def kind(site: Site, uuid: str, name: str, code: int | None = None) -> None:
    site.sql("INSERT INTO kind (uuid, name, code) VALUES (?, ?, ?)", uuid, name, code)
    time.sleep(0.002)  # what is written next is later


def bed(site: Site, uuid: str, place: int, room: str | None = None) -> None:
    site.sql(
        "INSERT INTO bed (uuid, place, room) VALUES (?, ?, (SELECT id FROM bed WHERE uuid = ?))",
        uuid,
        place,
        room,
    )
    time.sleep(0.002)


def visit(site: Site, uuid: str, of: str) -> None:
    site.sql(
        "INSERT INTO visit (uuid, bed_id) VALUES (?, (SELECT id FROM bed WHERE uuid = ?))", uuid, of
    )


KINDS = "SELECT uuid, name, code FROM kind ORDER BY uuid"
BEDS = "SELECT uuid, place FROM bed ORDER BY uuid"
VISITS = "SELECT v.uuid, b.uuid FROM visit v JOIN bed b ON b.id = v.bed_id ORDER BY v.uuid"


def mark(uuid: str) -> str:
    """What is put behind a value that another row keeps."""
    return sha256(bytes.fromhex(uuid.replace("-", ""))).hexdigest()[:6]


def shown(sites: tuple[Site, ...], sql: str) -> list[tuple[object, ...]]:
    """What every site shows."""
    found = [site.sql(sql) for site in sites]
    assert found == [found[0]] * len(sites)
    return found[0]


# What is shown


def test_the_later_row_shows_a_mark_and_both_stay_at_every_site(sites: tuple[Site, ...]) -> None:
    kind(sites[0], OTHER, "adult")
    kind(sites[1], ONE, "adult")
    settle(*sites)
    assert shown(sites, KINDS) == [(ONE, f"adult~{mark(ONE)}", None), (OTHER, "adult", None)]
    assert all(site.parked() == [] for site in sites)
    assert all(site.altered() == [("kind", "unique clash")] for site in sites)


def test_a_number_that_may_be_missing_is_not_shown_for_the_later_row(
    sites: tuple[Site, ...],
) -> None:
    kind(sites[0], ONE, "adult", 7)
    kind(sites[1], OTHER, "child", 7)
    settle(*sites)
    assert shown(sites, KINDS) == [(ONE, "adult", 7), (OTHER, "child", None)]


def test_a_row_may_give_way_in_several_keys_to_several_rows(sites: tuple[Site, ...]) -> None:
    kind(sites[0], ONE, "adult", 1)
    kind(sites[1], OTHER, "child", 7)
    kind(sites[2], THIRD, "adult", 7)
    settle(*sites)
    assert shown(sites, KINDS) == [
        (ONE, "adult", 1),
        (OTHER, "child", 7),
        (THIRD, f"adult~{mark(THIRD)}", None),
    ]


@pytest.mark.parametrize("way_out", ["changed", "deleted"])
def test_the_mark_goes_when_the_first_gives_the_value_up(
    sites: tuple[Site, ...], way_out: str
) -> None:
    kind(sites[0], ONE, "adult")
    kind(sites[1], OTHER, "adult")
    settle(*sites)
    what = {
        "changed": "UPDATE kind SET name = 'child' WHERE uuid = ?",
        "deleted": "DELETE FROM kind WHERE uuid = ?",
    }
    sites[2].sql(what[way_out], ONE)
    settle(*sites)
    assert shown(sites, "SELECT name FROM kind WHERE uuid = '" + OTHER + "'") == [("adult",)]
    assert all(site.altered() == [] for site in sites)


def test_who_changes_the_marked_value_changes_the_replicated_one(sites: tuple[Site, ...]) -> None:
    kind(sites[0], ONE, "adult")
    kind(sites[1], OTHER, "adult")
    settle(*sites)
    sites[2].sql("UPDATE kind SET name = 'child' WHERE uuid = ?", OTHER)
    settle(*sites)
    assert shown(sites, KINDS) == [(ONE, "adult", None), (OTHER, "child", None)]


def test_an_edit_of_another_column_leaves_the_replicated_value(sites: tuple[Site, ...]) -> None:
    kind(sites[0], ONE, "adult")
    kind(sites[1], OTHER, "adult")
    settle(*sites)
    sites[2].sql("UPDATE kind SET note = 'noted' WHERE uuid = ?", OTHER)
    settle(*sites)
    assert shown(sites, "SELECT uuid, name, note FROM kind ORDER BY uuid") == [
        (ONE, "adult", None),
        (OTHER, f"adult~{mark(OTHER)}", "noted"),
    ]
    sites[0].sql("DELETE FROM kind WHERE uuid = ?", ONE)
    settle(*sites)
    assert shown(sites, "SELECT name, note FROM kind") == [("adult", "noted")]


def test_a_value_taken_up_again_is_the_later_one_then(sites: tuple[Site, ...]) -> None:
    """Nobody sees a clash happen: between two exchanges the first let go and took it again."""
    kind(sites[0], ONE, "adult")
    kind(sites[1], OTHER, "adult")
    settle(*sites)
    sites[0].sql("UPDATE kind SET name = 'child' WHERE uuid = ?", ONE)
    sites[0].replica.seal()
    sites[0].sql("UPDATE syncnode_row SET place = place")  # the mark is still on the other
    sites[0].sql("UPDATE kind SET name = 'senior' WHERE uuid = ?", ONE)
    sites[1].sql("UPDATE kind SET name = 'senior' WHERE uuid = ?", OTHER)
    settle(*sites)
    names = {name for (name,) in shown(sites, "SELECT name FROM kind")}
    assert names in ({"senior", f"senior~{mark(ONE)}"}, {"senior", f"senior~{mark(OTHER)}"})
    assert shown(sites, "SELECT uuid, name FROM kind ORDER BY uuid") == expected_kinds(sites[0])


def test_a_row_whose_key_can_show_no_mark_waits_at_every_site(sites: tuple[Site, ...]) -> None:
    bed(sites[0], ONE, 1)
    bed(sites[1], OTHER, 1)
    visit(sites[1], THIRD, OTHER)
    settle(*sites)
    assert shown(sites, BEDS) == [(ONE, 1)]
    assert shown(sites, VISITS) == []
    for site in sites:
        assert site.parked() == [("bed", "unique clash"), ("visit", "missing parent")]
    sites[2].sql("UPDATE bed SET place = 2 WHERE uuid = ?", ONE)
    settle(*sites)
    assert shown(sites, BEDS) == [(ONE, 2), (OTHER, 1)]
    assert shown(sites, VISITS) == [(THIRD, OTHER)]
    assert all(site.parked() == [] for site in sites)


def test_a_key_whose_rule_says_hold_holds(sites: tuple[Site, ...]) -> None:
    for site in sites:
        set_rule(site, "kind", ["name"], "hold")
    kind(sites[0], ONE, "adult", 1)
    kind(sites[1], OTHER, "adult", 1)
    settle(*sites)
    assert shown(sites, KINDS) == [(ONE, "adult", 1)]
    assert all(site.parked() == [("kind", "unique clash")] for site in sites)


def test_a_row_that_waits_since_its_parent_waits_does_not_let_the_parent_in(
    sites: tuple[Site, ...],
) -> None:
    """Rule A4 (i): the two would take turns for ever."""
    bed(sites[0], ONE, 1)
    settle(*sites)
    bed(sites[0], OTHER, 2, room=ONE)
    settle(*sites)
    sites[1].sql("UPDATE bed SET place = 3 WHERE uuid = ?", OTHER)
    time.sleep(0.002)
    sites[2].sql("UPDATE bed SET place = 3 WHERE uuid = ?", ONE)
    settle(*sites)
    assert shown(sites, BEDS) == []
    for site in sites:
        assert site.parked() == [("bed", "missing parent"), ("bed", "unique clash")]
    # Nobody takes the place of who only asks for it, either.
    bed(sites[0], THIRD, 3)
    settle(*sites)
    assert shown(sites, BEDS) == []


def test_a_deleted_row_that_others_refer_to_gives_way(sites: tuple[Site, ...]) -> None:
    kind(sites[0], ONE, "adult")
    bed(sites[0], THIRD, 1)
    settle(*sites)
    sites[0].sql("UPDATE bed SET kind_id = (SELECT id FROM kind WHERE uuid = ?)", ONE)
    sites[1].sql("DELETE FROM kind WHERE uuid = ?", ONE)
    kind(sites[1], OTHER, "adult")
    settle(*sites)
    assert shown(sites, "SELECT uuid, name FROM kind ORDER BY uuid") == [
        (ONE, f"adult~{mark(ONE)}"),
        (OTHER, "adult"),
    ]
    assert all(site.altered() == [("kind", "held")] for site in sites)
    sites[2].sql("UPDATE bed SET kind_id = NULL")
    settle(*sites)
    assert shown(sites, "SELECT uuid, name FROM kind") == [(OTHER, "adult")]


def test_rows_may_take_each_others_values(sites: tuple[Site, ...]) -> None:
    kind(sites[0], ONE, "adult", 1)
    kind(sites[0], OTHER, "child", 2)
    settle(*sites)
    with sites[0].transaction():
        sites[0].sql("UPDATE kind SET name = 'x', code = NULL WHERE uuid = ?", ONE)
        sites[0].sql("UPDATE kind SET name = 'adult', code = 1 WHERE uuid = ?", OTHER)
        sites[0].sql("UPDATE kind SET name = 'child', code = 2 WHERE uuid = ?", ONE)
    settle(*sites)
    assert shown(sites, KINDS) == [(ONE, "child", 2), (OTHER, "adult", 1)]


def test_a_value_too_long_for_its_mark_is_shortened(sites: tuple[Site, ...]) -> None:
    name = "twenty characters ok"
    kind(sites[0], ONE, name)
    kind(sites[1], OTHER, name)
    settle(*sites)
    assert shown(sites, KINDS) == [(ONE, name, None), (OTHER, f"twenty charac~{mark(OTHER)}", None)]


# Rows that are one and the same thing

WARDS = "SELECT b.uuid, k.uuid FROM bed b LEFT JOIN kind k ON k.id = b.kind_id ORDER BY b.uuid"


@pytest.fixture
def merging(sites: tuple[Site, ...]) -> tuple[Site, ...]:
    for site in sites:
        set_rule(site, "kind", ["name"], "merge")
    return sites


def of_kind(site: Site, uuid: str, place: int, kind_uuid: str) -> None:
    bed(site, uuid, place)
    site.sql(
        "UPDATE bed SET kind_id = (SELECT id FROM kind WHERE uuid = ?) WHERE uuid = ?",
        kind_uuid,
        uuid,
    )


def test_rows_with_one_name_are_one_and_the_others_refer_to_it(merging: tuple[Site, ...]) -> None:
    kind(merging[0], ONE, "adult")
    of_kind(merging[0], THIRD, 1, ONE)
    kind(merging[1], OTHER, "adult", 7)
    of_kind(merging[1], FOURTH, 2, OTHER)
    numbers = merging[1].sql("SELECT id FROM bed")
    settle(*merging)
    assert shown(merging, KINDS) == [(ONE, "adult", None)]
    assert shown(merging, WARDS) == [(THIRD, ONE), (FOURTH, ONE)]
    assert all(site.parked() == [] for site in merging)
    # Nothing that refers to it has got another number.
    assert merging[1].sql("SELECT id FROM bed WHERE uuid = ?", FOURTH) == numbers


@pytest.mark.parametrize("way_out", ["changed", "deleted"])
def test_what_was_merged_parts_when_the_reason_goes(
    merging: tuple[Site, ...], way_out: str
) -> None:
    kind(merging[0], ONE, "adult")
    kind(merging[1], OTHER, "adult")
    of_kind(merging[1], FOURTH, 2, OTHER)
    settle(*merging)
    if way_out == "changed":
        merging[2].sql("UPDATE kind SET name = 'child' WHERE uuid = ?", ONE)
    else:
        merging[2].sql("UPDATE bed SET kind_id = NULL")
        merging[2].sql("DELETE FROM kind")
        merging[1].sql("UPDATE bed SET place = 9")
    settle(*merging)
    if way_out == "changed":
        assert shown(merging, WARDS) == [(FOURTH, OTHER)]
        assert all(site.altered() == [] for site in merging)
    assert (OTHER, "adult") in shown(merging, "SELECT uuid, name FROM kind")


def test_a_row_that_refers_to_itself_stands_for_others(tmp_path: Path) -> None:
    schema = (
        "CREATE TABLE kind (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
        " name VARCHAR(20) NOT NULL UNIQUE, above INTEGER REFERENCES kind (id))",
    )
    here, there = (make_site(tmp_path, name, schema) for name in ("here", "there"))
    one_network(here, there)
    for site in (here, there):
        set_rule(site, "kind", ["name"], "merge")
    here.sql("INSERT INTO kind VALUES (20, ?, 'adult', 20)", ONE)
    time.sleep(0.002)
    there.sql("INSERT INTO kind VALUES (7, ?, 'adult', NULL)", OTHER)
    settle(here, there)
    top = "SELECT k.uuid, a.uuid FROM kind k LEFT JOIN kind a ON a.id = k.above"
    assert shown((here, there), top) == [(ONE, ONE)]
    here.close()
    there.close()


@pytest.mark.parametrize("rule", ["rename", "merge"])
def test_a_row_with_a_column_that_is_not_here_is_decided_like_others(
    tmp_path: Path, rule: UniqueRule
) -> None:
    old = (
        "CREATE TABLE kind (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
        " name VARCHAR(20) NOT NULL UNIQUE)",
    )
    here = make_site(tmp_path, "here", old)
    there = make_site(tmp_path, "there", (old[0][:-1] + ", colour TEXT)",))
    one_network(here, there)
    if rule == "merge":
        for site in (here, there):
            set_rule(site, "kind", ["name"], rule)
    there.sql("INSERT INTO kind (uuid, name, colour) VALUES (?, 'adult', 'red')", ONE)
    time.sleep(0.002)
    here.sql("INSERT INTO kind (uuid, name) VALUES (?, 'adult')", OTHER)
    settle(here, there)
    left = [(ONE, "adult"), (OTHER, f"adult~{mark(OTHER)}")][: 2 if rule == "rename" else 1]
    assert shown((here, there), "SELECT uuid, name FROM kind ORDER BY uuid") == left
    assert there.sql("SELECT colour FROM kind WHERE uuid = ?", ONE) == [("red",)]
    assert here.parked() == []
    here.close()
    there.close()


def test_a_row_that_comes_to_stand_for_others_may_need_a_mark_in_another_key(
    merging: tuple[Site, ...],
) -> None:
    kind(merging[0], ONE, "adult", 1)
    kind(merging[1], OTHER, "adult", 1)
    of_kind(merging[1], FOURTH, 2, OTHER)
    settle(*merging)
    merging[1].sql("UPDATE kind SET name = 'senior' WHERE uuid = ?", ONE)
    kind(merging[1], THIRD, "adult")
    settle(*merging)
    assert shown(merging, KINDS) == [(ONE, "senior", 1), (OTHER, "adult", None)]
    assert shown(merging, WARDS) == [(FOURTH, OTHER)]


def test_an_edit_beside_a_merged_reference_leaves_the_reference(
    merging: tuple[Site, ...],
) -> None:
    kind(merging[0], ONE, "adult")
    kind(merging[1], OTHER, "adult")
    of_kind(merging[1], FOURTH, 2, OTHER)
    settle(*merging)
    merging[2].sql("UPDATE bed SET place = 5")
    settle(*merging)
    assert shown(merging, BEDS) == [(FOURTH, 5)]
    merging[0].sql("UPDATE kind SET name = 'child' WHERE uuid = ?", ONE)
    settle(*merging)
    assert shown(merging, WARDS) == [(FOURTH, OTHER)]


def test_who_refers_to_a_merged_row_later_is_shown_with_the_other(
    merging: tuple[Site, ...],
) -> None:
    kind(merging[0], ONE, "adult")
    kind(merging[1], OTHER, "adult")
    sync(merging[0], merging[2])
    sync(merging[0], merging[2])
    sync(merging[2], merging[0])
    of_kind(merging[1], FOURTH, 2, OTHER)
    settle(*merging)
    assert shown(merging, WARDS) == [(FOURTH, ONE)]


# What must be shown, said again


def expected_kinds(site: Site) -> list[tuple[str, str]]:
    return sorted((uuid, name) for uuid, name, _ in expected(site)["kind"])


def expected(site: Site, *, merge: bool = False) -> Mapping[str, set[tuple[object, ...]]]:
    """By table what must be shown, from the replicated state: kinds with their name and code,
    beds with their place, wards with their kind, visits with their bed."""
    rows = site.state()
    kinds, beds, visits = (
        {key: row for (name, key), row in rows.items() if name == table}
        for table in ("kind", "bed", "visit")
    )
    living = {key for key, row in beds.items() if row.alive}
    ahead = {key for key in living if key == _first(beds, living, key, "place")}
    asked_for = {_value(row, "bed_id") for row in visits.values() if row.alive}
    in_place, held = ahead, set[RowKey]()
    # Deleted beds stand while something shown refers to them and nobody living wants the place.
    places = {_value(beds[key], "place") for key in living}
    for _ in range(len(beds) + 2):
        held, before = _held_beds(beds, in_place, asked_for, places), in_place
        in_place = _with_rooms(beds, ahead, held)
        if in_place == before:
            break
    shown_beds = in_place | held
    shown_visits = {
        key for key, row in visits.items() if row.alive and _value(row, "bed_id") in shown_beds
    }
    of_beds = {_value(beds[key], "kind_id") for key in shown_beds}
    shown_kinds = {key for key, row in kinds.items() if row.alive or key in of_beds}
    stands_for = {
        key: _first(kinds, shown_kinds, key, "name") if merge else key for key in shown_kinds
    }
    shown_kinds = set(stands_for.values())
    return {
        "ward": {
            (_value(beds[key], "uuid"), _value(kinds[stands_for[of]], "uuid") if of else None)
            for key in shown_beds
            for of in [_value(beds[key], "kind_id")]
        },
        "kind": {_shown_kind(kinds, shown_kinds, key) for key in shown_kinds},
        "bed": {(_value(beds[key], "uuid"), _value(beds[key], "place")) for key in shown_beds},
        "visit": {
            (_value(visits[key], "uuid"), _value(beds[_value(visits[key], "bed_id")], "uuid"))
            for key in shown_visits
        },
    }


def _held_beds(
    beds: Mapping[RowKey, Row], living: set[RowKey], asked_for: set[object], places: set[object]
) -> set[RowKey]:
    asked_for = asked_for | {_value(beds[key], "room") for key in living}
    dead = {key for key, row in beds.items() if not row.alive}
    while more := {_value(beds[key], "room") for key in dead & asked_for} - asked_for:
        asked_for |= more
    free = {key for key in dead & asked_for if _value(beds[key], "place") not in places}
    first = {key for key in free if key == _first(beds, free, key, "place")}
    return _with_rooms(beds, first, living)


def _with_rooms(
    beds: Mapping[RowKey, Row], chosen: set[RowKey], others: set[RowKey]
) -> set[RowKey]:
    """Those of the chosen whose rooms are there, downwards."""
    left = set(chosen)
    while lost := {
        key
        for key in left
        if (room := _value(beds[key], "room")) is not None and room not in left | others
    }:
        left -= lost
    return left


def _shown_kind(
    kinds: Mapping[RowKey, Row], shown: set[RowKey], key: RowKey
) -> tuple[object, object, object]:
    name, code = _value(kinds[key], "name"), _value(kinds[key], "code")
    assert isinstance(name, str)
    if key != _first(kinds, shown, key, "name"):
        name = f"{name[:13]}~{sha256(key).hexdigest()[:6]}"
    if key != _first(kinds, shown, key, "code"):
        code = None
    return _value(kinds[key], "uuid"), name, code


def _first(rows: Mapping[RowKey, Row], among: set[RowKey], key: RowKey, column: str) -> RowKey:
    """Of the rows with the value that this one has: who keeps it."""
    value = _value(rows[key], column)
    return min(
        (one for one in among if _value(rows[one], column) == value),
        key=lambda one: (not rows[one].alive, rows[one].cells[column].stamp, one),
    )


def _value(row: Row, column: str) -> object:
    value = row.cells[column].value if column in row.cells else None
    return value.key if isinstance(value, Reference) else value


def check(sites: tuple[Site, ...], *, merge: bool = False) -> None:
    for sql in (KINDS, BEDS, WARDS, VISITS):
        shown(sites, sql)
    if _deleted_rivals(sites[0]):
        return  # which of two deleted beds stands for its visitors is said nowhere but in the code
    for site in sites:
        want = expected(site, merge=merge)
        assert set(site.sql(WARDS)) == want["ward"]
        assert set(site.sql(KINDS)) == want["kind"]
        assert set(site.sql(BEDS)) == want["bed"]
        assert set(site.sql(VISITS)) == want["visit"]


def _deleted_rivals(site: Site) -> bool:
    places = [
        _value(row, "place")
        for (table, _), row in site.state().items()
        if table == "bed" and not row.alive
    ]
    return len(set(places)) < len(places)


# Random stories


def story(seed: int, folder: Path) -> None:
    draw = random.Random(seed)
    sites = tuple(make_site(folder, name, SCHEMA) for name in ("here", "there", "third"))
    one_network(*sites)
    merge = draw.random() < 0.5
    if merge:
        for site in sites:
            set_rule(site, "kind", ["name"], "merge")
    try:
        for _ in range(draw.randint(4, 14)):
            site = draw.choice(sites)
            for _ in range(draw.randint(1, 4)):
                _write(site, draw)
            caller, callee = draw.sample(sites, 2)
            sync(caller, callee, break_at=draw.choice([None, None, None, 1, 2]))
        settle(*sites)
        check(sites, merge=merge)
    finally:
        for site in sites:
            site.close()


def _write(site: Site, draw: random.Random) -> None:
    uuid = f"{draw.getrandbits(32):08x}-0000-4000-8000-{draw.getrandbits(48):012x}"
    names = ("adult", "child")
    statements = (
        (
            "INSERT INTO kind (uuid, name, code) VALUES (?, ?, ?)",
            (uuid, draw.choice(names), draw.choice([None, 1, 2])),
        ),
        ("INSERT INTO bed (uuid, place) VALUES (?, ?)", (uuid, draw.randint(1, 3))),
        (
            f"INSERT INTO bed (uuid, place, room) VALUES (?, ?, {_drawn(site, 'bed', draw)})",
            (uuid, draw.randint(1, 3)),
        ),
        (f"INSERT INTO visit (uuid, bed_id) VALUES (?, {_drawn(site, 'bed', draw)})", (uuid,)),
        (
            f"UPDATE kind SET name = ? WHERE id = {_drawn(site, 'kind', draw)}",
            (draw.choice(names),),
        ),
        (
            f"UPDATE kind SET code = ? WHERE id = {_drawn(site, 'kind', draw)}",
            (draw.randint(1, 2),),
        ),
        (f"UPDATE bed SET place = ? WHERE id = {_drawn(site, 'bed', draw)}", (draw.randint(1, 3),)),
        (
            f"UPDATE bed SET kind_id = {_drawn(site, 'kind', draw)}"
            f" WHERE id = {_drawn(site, 'bed', draw)}",
            (),
        ),
        (f"DELETE FROM kind WHERE id = {_drawn(site, 'kind', draw)}", ()),
        (f"DELETE FROM visit WHERE id = {_drawn(site, 'visit', draw)}", ()),
        (f"DELETE FROM bed WHERE id = {_drawn(site, 'bed', draw)}", ()),
    )
    sql, values = draw.choice(statements)
    # What the engine refuses at one site is done at another: so clashes come about.
    with contextlib.suppress(sqlite3.IntegrityError):
        site.sql(sql, *values)


def _drawn(site: Site, table: str, draw: random.Random) -> str:
    """The local number of some row as SQL, drawn from the seed."""
    found = site.sql(f"SELECT id FROM {table} ORDER BY uuid")
    return str(draw.choice(found)[0]) if found else "NULL"


@pytest.mark.parametrize("part", range(4))
def test_random_clashes_end_as_the_replicated_state_says(
    part: int, seeds: int, tmp_path: Path
) -> None:
    count = 15 * seeds
    for seed in range(part * count, (part + 1) * count):
        try:
            story(seed, tmp_path / str(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


@pytest.mark.parametrize(
    ("seed", "what"),
    [
        (37, "a deleted row came back before the living one was shown in its place"),
        (166, "a row that went with a waiting one lost its place to others"),
        (215, "a deleted row that also gave way in another key was not merged"),
        (1101, "two rows kept each other out by turns"),
    ],
)
def test_stories_that_taught_something(seed: int, what: str, tmp_path: Path) -> None:
    story(seed, tmp_path)


# What the clerk is told


def test_status_says_which_rows_show_a_mark_and_which_are_one(sites: tuple[Site, ...]) -> None:
    kind(sites[0], ONE, "adult")
    kind(sites[1], OTHER, "adult")
    settle(*sites)
    marked = [note for note in status(sites[2].settings).notes if "mark" in note]
    assert [note[:27] for note in marked] == ["1 row of kind shows a mark "]
    for site in sites:
        set_rule(site, "kind", ["name"], "merge")
    sites[0].sql("UPDATE kind SET note = 'looked at again'")
    settle(*sites)
    note = (
        f"1 row of kind is the same as another, which stands for it ({OTHER}, as {ONE}); "
        "`syncnode clashes` lists them"
    )
    assert note in status(sites[2].settings).notes


def test_many_rows_that_wait_are_decided_together(
    sites: tuple[Site, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each for itself, who asks for what would be read anew as often as there are rows."""
    here, there, _ = sites
    for site, first in ((here, 0), (there, 100)):
        site.sql("BEGIN")
        for number in range(40):
            uuid = f"{first + number:08}-0000-4000-8000-000000000000"
            site.sql("INSERT INTO bed (uuid, place) VALUES (?, ?)", uuid, number)
        site.sql("COMMIT")
        site.replica.seal()
    asked = []
    claimants = Clashes._claimants

    def counted(self: Clashes, *arguments: Any) -> Any:
        asked.append(arguments)
        return claimants(self, *arguments)

    monkeypatch.setattr(Clashes, "_claimants", counted)
    sync(here, there)
    assert len(asked) < 20
    for site in (here, there):
        assert site.sql("SELECT count(*) FROM bed") == [(40,)]
        assert site.parked() == [("bed", "unique clash")] * 40
    assert here.sql(BEDS) == there.sql(BEDS)
