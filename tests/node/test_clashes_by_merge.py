"""Rows below merged rows: re-pointed where they have no key, and decided where they clash by it.

`expected` says what every site must show, from the replicated state alone and in a few lines of
its own: first which kinds are one, then which rows below are, one level after another (rule A4).
"""

import contextlib
import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from joins import URL, Inviting
from sites import Site, make_site, one_network, set_rule, settle, sync

from syncnode.identity.credentials import decode_token
from syncnode.operations.membership import invite, join_by
from syncnode.operations.verifying import check as verify
from syncnode.reports import CheckReport
from syncproto.identity import RowKey
from syncproto.row import Reference, Row

SCHEMA = (
    "CREATE TABLE kind (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " name VARCHAR(20) NOT NULL UNIQUE)",
    # No primary key, of one and of two references.
    "CREATE TABLE note (words TEXT, kind_id INTEGER REFERENCES kind (id),"
    " other_id INTEGER REFERENCES kind (id))",
    # Keys made of references alone, and shared with the parent.
    "CREATE TABLE pair (kind_id INTEGER NOT NULL REFERENCES kind (id),"
    " other_id INTEGER NOT NULL REFERENCES kind (id), words TEXT,"
    " PRIMARY KEY (kind_id, other_id))",
    # Below those, by the values of their keys.
    "CREATE TABLE tie (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " kind_id INTEGER NOT NULL, other_id INTEGER NOT NULL,"
    " FOREIGN KEY (kind_id, other_id) REFERENCES pair (kind_id, other_id))",
    "CREATE TABLE detail (kind_id INTEGER PRIMARY KEY REFERENCES kind (id), words TEXT)",
    # Unique keys that contain a reference: a mark, NULL, and waiting.
    "CREATE TABLE lab (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " kind_id INTEGER NOT NULL REFERENCES kind (id), w VARCHAR(20) NOT NULL, code INTEGER,"
    " bed INTEGER NOT NULL, UNIQUE (kind_id, w), UNIQUE (kind_id, code), UNIQUE (kind_id, bed))",
    "CREATE TABLE slip (lab_id INTEGER NOT NULL REFERENCES lab (id), words TEXT)",
    "CREATE TABLE seat (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " kind_id INTEGER REFERENCES kind (id), n INTEGER NOT NULL, UNIQUE (kind_id, n))",
    # Two levels: parts of one kind and name are one thing, and so are leaves of one part.
    "CREATE TABLE part (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " kind_id INTEGER NOT NULL REFERENCES kind (id), name VARCHAR(20) NOT NULL,"
    " UNIQUE (kind_id, name))",
    "CREATE TABLE leaf (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " part_id INTEGER NOT NULL REFERENCES part (id), w VARCHAR(20) NOT NULL,"
    " UNIQUE (part_id, w))",
    "CREATE TABLE scrap (part_id INTEGER NOT NULL REFERENCES part (id), words TEXT)",
)
UUIDS = [f"{digit * 8}-{digit * 4}-4{digit * 3}-8{digit * 3}-{digit * 12}" for digit in "abcdef"]
ONE, OTHER, THIRD, FOURTH, FIFTH, SIXTH = UUIDS


def made(folder: Path, count: int = 3) -> tuple[Site, ...]:
    sites = tuple(make_site(folder, name, SCHEMA) for name in ("here", "there", "third")[:count])
    one_network(*sites)
    for site in sites:
        set_rule(site, "kind", ["name"], "merge")
        set_rule(site, "part", ["kind_id", "name"], "merge")
    return sites


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[tuple[Site, ...]]:
    found = made(tmp_path)
    yield found
    for site in found:
        site.close()


def said(site: Site, sql: str, *values: object) -> None:
    site.sql(sql.replace("?", site.replica.database.dialect.mark), *values)


def kind(site: Site, uuid: str, name: str) -> None:
    said(site, "INSERT INTO kind (uuid, name) VALUES (?, ?)", uuid, name)
    time.sleep(0.002)  # what is written next is later


def put(site: Site, table: str, **values: object) -> None:
    """A row whose references are given by the uuids of the parents."""
    marks = [
        f"(SELECT id FROM {name[:-3].replace('other', 'kind')} WHERE uuid = ?)"
        if name.endswith("_id")
        else "?"
        for name in values
    ]
    said(
        site,
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(marks)})",
        *values.values(),
    )
    time.sleep(0.002)


KINDS = "SELECT uuid, name FROM kind ORDER BY uuid"
SQL = {
    "kind": KINDS,
    "note": "SELECT n.words, k.uuid, o.uuid FROM note n LEFT JOIN kind k ON k.id = n.kind_id"
    " LEFT JOIN kind o ON o.id = n.other_id",
    "pair": "SELECT k.uuid, o.uuid, p.words FROM pair p JOIN kind k ON k.id = p.kind_id"
    " JOIN kind o ON o.id = p.other_id",
    "tie": "SELECT t.uuid, k.uuid, o.uuid FROM tie t JOIN kind k ON k.id = t.kind_id"
    " JOIN kind o ON o.id = t.other_id",
    "detail": "SELECT k.uuid, d.words FROM detail d JOIN kind k ON k.id = d.kind_id",
    "lab": "SELECT l.uuid, k.uuid, l.w, l.code, l.bed FROM lab l JOIN kind k ON k.id = l.kind_id",
    "slip": "SELECT l.uuid, s.words FROM slip s JOIN lab l ON l.id = s.lab_id",
    "seat": "SELECT s.uuid, k.uuid, s.n FROM seat s LEFT JOIN kind k ON k.id = s.kind_id",
    "part": "SELECT p.uuid, k.uuid, p.name FROM part p JOIN kind k ON k.id = p.kind_id",
    "leaf": "SELECT l.uuid, p.uuid, l.w FROM leaf l JOIN part p ON p.id = l.part_id",
    "scrap": "SELECT p.uuid, s.words FROM scrap s JOIN part p ON p.id = s.part_id",
}


def shown(sites: tuple[Site, ...], table: str) -> list[tuple[Any, ...]]:
    """What every site shows of a table."""
    found = [sorted(site.sql(SQL[table]), key=repr) for site in sites]
    assert found == [found[0]] * len(sites), table
    return found[0]


def mark(uuid: str) -> str:
    return sha256(bytes.fromhex(uuid.replace("-", ""))).hexdigest()[:6]


def two_kinds(sites: tuple[Site, ...]) -> None:
    """Two of one name, entered at two sites; the first is the earlier."""
    kind(sites[0], ONE, "adult")
    kind(sites[1], OTHER, "adult")


# Tables without a primary key


def test_rows_without_a_key_are_shown_with_the_row_that_stands_for_theirs(
    sites: tuple[Site, ...],
) -> None:
    two_kinds(sites)
    put(sites[0], "note", words="a", kind_id=ONE)
    put(sites[1], "note", words="a", kind_id=OTHER)
    put(sites[1], "note", words="b", kind_id=OTHER, other_id=OTHER)
    settle(*sites)
    assert shown(sites, "kind") == [(ONE, "adult")]
    assert shown(sites, "note") == [("a", ONE, None), ("a", ONE, None), ("b", ONE, ONE)]
    assert all(site.parked() == [] for site in sites)


@pytest.mark.parametrize("at", range(3))
def test_a_line_that_is_shown_otherwise_is_deleted_and_edited_like_others(
    sites: tuple[Site, ...], at: int
) -> None:
    two_kinds(sites)
    for words in "abc":
        put(sites[0], "note", words=words, kind_id=ONE)
        put(sites[1], "note", words=words, kind_id=OTHER)
    settle(*sites)
    sites[at].sql("DELETE FROM note WHERE words = 'a'")
    sites[at].sql("UPDATE note SET words = 'd' WHERE words = 'b'")
    settle(*sites)
    assert shown(sites, "note") == [(words, ONE, None) for words in "ccdd"]
    sites[2].sql("UPDATE kind SET name = 'child'")
    settle(*sites)
    assert shown(sites, "kind") == [(ONE, "child"), (OTHER, "adult")]
    assert shown(sites, "note") == [
        *(("c", ONE, None), ("c", OTHER, None)),
        # What was written while one stood for both was written of that one.
        *(("d", ONE, None), ("d", ONE, None)),
    ]
    assert all(site.altered() == [] for site in sites)


def test_a_line_goes_at_one_site_while_its_kind_is_merged_at_another(
    sites: tuple[Site, ...],
) -> None:
    two_kinds(sites)
    put(sites[1], "note", words="a", kind_id=OTHER)
    put(sites[1], "note", words="a", kind_id=OTHER)
    sync(sites[1], sites[2])
    sites[2].sql("DELETE FROM note WHERE rowid = (SELECT max(rowid) FROM note)")
    sync(sites[0], sites[1])
    sites[1].sql("INSERT INTO note SELECT 'b', kind_id, kind_id FROM note")
    sites[1].reopen()
    settle(*sites)
    assert shown(sites, "note") == [("a", ONE, None), *[("b", ONE, ONE)] * 2]


def test_verify_knows_a_line_that_is_shown_otherwise(sites: tuple[Site, ...]) -> None:
    two_kinds(sites)
    put(sites[1], "note", words="a", kind_id=OTHER)
    put(sites[1], "note", words="b", kind_id=OTHER)
    settle(*sites)
    for site in sites:
        assert verified(site).sound
    number = "SELECT id FROM syncnode_table WHERE name = 'note'"
    sites[2].sql(f"UPDATE syncnode_flag SET applying = ({number})")  # no trigger looks on
    sites[2].sql("DELETE FROM note WHERE words = 'a'")
    sites[2].sql("UPDATE syncnode_flag SET applying = 0")
    assert not verified(sites[2]).sound
    assert verified(sites[2], repair=True).repaired == 1
    settle(*sites)
    assert shown(sites, "note") == [("b", ONE, None)]


def verified(site: Site, *, repair: bool = False) -> CheckReport:
    return verify(site.settings, repair=repair, confirm=lambda _: True, progress=lambda _: None)


# Rows that clash only because their parents are one


def test_keys_that_meet_make_their_rows_one(sites: tuple[Site, ...]) -> None:
    two_kinds(sites)
    kind(sites[0], THIRD, "child")
    settle(*sites, check=False)
    # Two sites that do not hear of each other: each writes with the kinds that it had.
    put(sites[0], "pair", kind_id=ONE, other_id=THIRD, words="first")
    put(sites[1], "detail", kind_id=ONE, words="first")
    settle(*sites)
    assert shown(sites, "pair") == [(ONE, THIRD, "first")]


@pytest.fixture
def clashing(sites: tuple[Site, ...]) -> tuple[Site, ...]:
    """Below each of two kinds of one name, a row of every table."""
    two_kinds(sites)
    for site, of, own, letter in ((sites[0], ONE, THIRD, "a"), (sites[1], OTHER, FOURTH, "b")):
        put(site, "pair", kind_id=of, other_id=of, words=letter)
        put(site, "detail", kind_id=of, words=letter)
        put(site, "lab", uuid=own, kind_id=of, w="x", code=1, bed=ord(letter))
    settle(*sites)
    return sites


def test_rows_whose_keys_meet_are_one_and_others_give_way_as_their_keys_say(
    clashing: tuple[Site, ...],
) -> None:
    assert shown(clashing, "pair") == [(ONE, ONE, "a")]
    assert shown(clashing, "detail") == [(ONE, "a")]
    assert shown(clashing, "lab") == [
        (THIRD, ONE, "x", 1, ord("a")),
        (FOURTH, ONE, f"x~{mark(FOURTH)}", None, ord("b")),
    ]
    assert all(site.parked() == [] for site in clashing)


def test_what_clashed_by_a_merge_comes_apart_with_it(clashing: tuple[Site, ...]) -> None:
    clashing[2].sql("UPDATE kind SET name = 'child'")
    settle(*clashing)
    assert shown(clashing, "pair") == [(ONE, ONE, "a"), (OTHER, OTHER, "b")]
    assert shown(clashing, "detail") == [(ONE, "a"), (OTHER, "b")]
    assert shown(clashing, "lab") == [
        (THIRD, ONE, "x", 1, ord("a")),
        (FOURTH, OTHER, "x", 1, ord("b")),
    ]
    assert all(site.altered() == [] for site in clashing)


def test_a_reference_gives_way_where_no_other_column_can(sites: tuple[Site, ...]) -> None:
    two_kinds(sites)
    put(sites[0], "seat", uuid=THIRD, kind_id=ONE, n=1)
    put(sites[1], "seat", uuid=FOURTH, kind_id=OTHER, n=1)
    settle(*sites)
    assert shown(sites, "seat") == [(THIRD, ONE, 1), (FOURTH, None, 1)]
    sites[2].sql("UPDATE kind SET name = 'child'")
    settle(*sites)
    assert shown(sites, "seat") == [(THIRD, ONE, 1), (FOURTH, OTHER, 1)]


def test_a_row_that_waits_takes_the_lines_along_that_refer_to_it(sites: tuple[Site, ...]) -> None:
    two_kinds(sites)
    for site, of, own in ((sites[0], ONE, THIRD), (sites[1], OTHER, FOURTH)):
        put(site, "lab", uuid=own, kind_id=of, w=own[0], bed=1)
        put(site, "slip", lab_id=own, words="a")
    settle(*sites)
    assert shown(sites, "lab") == [(THIRD, ONE, "c", None, 1)]
    assert shown(sites, "slip") == [(THIRD, "a")]
    sites[0].sql("UPDATE lab SET bed = 2")
    settle(*sites)
    assert shown(sites, "slip") == [(THIRD, "a"), (FOURTH, "a")]


def test_who_refers_by_way_of_a_row_with_the_same_key_keeps_the_replicated_reference(
    sites: tuple[Site, ...],
) -> None:
    two_kinds(sites)
    for site, of, own in ((sites[0], ONE, THIRD), (sites[1], OTHER, FOURTH)):
        put(site, "pair", kind_id=of, other_id=of)
        put(site, "tie", uuid=own, kind_id=of, other_id=of)
    settle(*sites)
    assert shown(sites, "tie") == [(THIRD, ONE, ONE), (FOURTH, ONE, ONE)]
    sites[2].sql("UPDATE kind SET name = 'child'")
    settle(*sites)
    assert shown(sites, "tie") == [(THIRD, ONE, ONE), (FOURTH, OTHER, OTHER)]


# Rows that refer to rows of their own table

TREE = (
    "CREATE TABLE place (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE,"
    " code INTEGER UNIQUE, above INTEGER REFERENCES place (id), name VARCHAR(20) NOT NULL,"
    " UNIQUE (above, name))",
)
PLACES = "SELECT p.uuid, a.uuid FROM place p LEFT JOIN place a ON a.id = p.above ORDER BY p.uuid"


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[tuple[Site, ...]]:
    """Two sites with two trees, of which the tops have one code."""
    sites = tuple(make_site(tmp_path, name, TREE) for name in ("here", "there", "third"))
    one_network(*sites)
    for site in sites:
        set_rule(site, "place", ["code"], "merge")
        set_rule(site, "place", ["above", "name"], "merge")
    for site, uuids in ((sites[0], UUIDS[::2]), (sites[1], UUIDS[1::2])):
        above = None
        for number, uuid in enumerate(uuids, start=1):
            code = 1 if above is None else None
            site.sql(
                "INSERT INTO place VALUES (?, ?, ?, ?, ?)",
                number,
                uuid,
                code,
                above,
                f"level {number}",
            )
            above = number
            time.sleep(0.002)
    yield sites
    for site in sites:
        site.close()


def test_one_level_after_another_becomes_one_and_comes_apart(trees: tuple[Site, ...]) -> None:
    settle(*trees)
    for site in trees:
        assert site.sql(PLACES) == [(ONE, None), (THIRD, ONE), (FIFTH, THIRD)]
    trees[2].sql("UPDATE place SET code = 2 WHERE uuid = ?", ONE)
    settle(*trees)
    for site in trees:
        assert site.sql(PLACES) == [
            *((ONE, None), (OTHER, None), (THIRD, ONE)),
            *((FOURTH, OTHER), (FIFTH, THIRD), (SIXTH, FOURTH)),
        ]
        assert site.altered() == []


def test_rows_that_refer_to_each_other_are_one_only_if_that_follows_from_nothing(
    trees: tuple[Site, ...],
) -> None:
    """What was one may not be the reason that it is: others never saw it so."""
    here, there, third = trees
    sync(there, third)
    sync(here, third)
    assert [len(site.sql(PLACES)) for site in trees] == [3, 3, 3]
    assert there.sql(PLACES)[0] == (OTHER, None)
    here.sql("UPDATE place SET above = id WHERE uuid = ?", THIRD)
    there.sql("UPDATE place SET above = id WHERE uuid = ?", FOURTH)
    settle(*trees)
    for site in trees:
        assert site.sql(PLACES) == [
            *((ONE, None), (THIRD, THIRD), (FOURTH, FOURTH), (FIFTH, THIRD), (SIXTH, FOURTH)),
        ]


# Servers


def test_it_is_so_between_three_vendors(
    tmp_path: Path, mariadb_url: str, postgresql_url: str
) -> None:
    numbers = {mariadb_url: "INTEGER AUTO_INCREMENT", postgresql_url: "SERIAL"}
    schemas = {
        url: [sql.replace("(id INTEGER", f"(id {number}") for sql in SCHEMA]
        for url, number in numbers.items()
    }
    here = make_site(tmp_path, "here", SCHEMA)
    others = [
        make_site(tmp_path, url[:5], schemas[url], url=url) for url in (mariadb_url, postgresql_url)
    ]
    sites = (here, *others)
    one_network(*sites)
    for site in sites:
        set_rule(site, "kind", ["name"], "merge")
    for site, of, own, letter in zip(sites, UUIDS, UUIDS[3:], "abc", strict=False):
        kind(site, of, "adult")
        put(site, "note", words="a", kind_id=of, other_id=of)
        put(site, "pair", kind_id=of, other_id=of, words=letter)
        put(site, "tie", uuid=own, kind_id=of, other_id=of)
        put(site, "detail", kind_id=of, words=letter)
        put(site, "lab", uuid=own, kind_id=of, w="x", code=1, bed=ord(letter))
    settle(*sites)
    check(sites)
    assert shown(sites, "note") == [("a", ONE, ONE)] * 3
    assert shown(sites, "pair") == [(ONE, ONE, "a")]
    others[0].sql("DELETE FROM note LIMIT 2")
    others[1].sql("UPDATE lab SET bed = 7 WHERE w = 'x'")
    settle(*sites)
    check(sites)
    assert shown(sites, "note") == [("a", ONE, ONE)]
    others[1].sql("UPDATE kind SET name = 'child'")
    settle(*sites)
    check(sites)
    assert shown(sites, "pair") == [(ONE, ONE, "a"), (OTHER, OTHER, "b")]
    for site in sites:
        site.close()


# What must be shown, said again

Rows = Mapping[RowKey, Row]
Shown = dict[str, list[tuple[Any, ...]]]


def expected(site: Site) -> Shown:
    """By table what must be shown, from the replicated state: parents first."""
    state = site.state()
    rows: dict[str, Rows] = {
        table: {key: row for (name, key), row in state.items() if name == table} for table in SQL
    }
    alive = {table: {k: r for k, r in rows[table].items() if r.alive} for table in SQL}
    parts = alive["part"] | _asked_for(rows["part"], "part_id", alive["leaf"], alive["scrap"])
    labs = alive["lab"] | _asked_for(rows["lab"], "lab_id", alive["slip"])
    pairs = alive["pair"] | {
        key: row
        for key, row in rows["pair"].items()
        if _ends(row) in [_ends(tie) for tie in alive["tie"].values()]
    }
    below = [alive[table] for table in ("note", "detail", "seat")] + [pairs, labs, parts]
    kinds = alive["kind"] | _asked_for(rows["kind"], "kind_id", *below)
    kinds |= _asked_for(rows["kind"], "other_id", *below)
    kind_of = _firsts(kinds, lambda row: [_value(row, "name")], ["name"])

    def at(row: Row, column: str = "kind_id") -> object:
        return kind_of.get(_value(row, column))

    named = ["kind_id", "name"]
    part_of = _firsts(parts, lambda row: [at(row), _value(row, "name")], named)
    pair_of = _firsts(pairs, lambda row: [at(row), at(row, "other_id")], ["kind_id", "other_id"])
    detail_of = _firsts(alive["detail"], lambda row: [at(row)], ["kind_id"])
    seat_of = _firsts(alive["seat"], lambda row: [at(row), _value(row, "n")], ["kind_id", "n"])
    shown_labs = _labs(labs, at)
    part_in = lambda row: part_of.get(_value(row, "part_id"))  # noqa: E731
    uuid = lambda table, key: _value(rows[table][key], "uuid") if key else None  # noqa: E731
    found: Shown = {
        "kind": [(uuid("kind", key), _value(kinds[key], "name")) for key in set(kind_of.values())],
        "note": [
            (_value(row, "words"), uuid("kind", at(row)), uuid("kind", at(row, "other_id")))
            for row in alive["note"].values()
        ],
        "pair": [
            (uuid("kind", at(row)), uuid("kind", at(row, "other_id")), _value(row, "words"))
            for key, row in pairs.items()
            if pair_of[key] == key
        ],
        "tie": [
            (_value(row, "uuid"), uuid("kind", at(row)), uuid("kind", at(row, "other_id")))
            for row in alive["tie"].values()
        ],
        "detail": [
            (uuid("kind", at(row)), _value(row, "words"))
            for key, row in alive["detail"].items()
            if detail_of[key] == key
        ],
        "lab": [(line[0], uuid("kind", line[1]), *line[2:]) for line in shown_labs.values()],
        "slip": [
            (shown_labs[_value(row, "lab_id")][0], _value(row, "words"))
            for row in alive["slip"].values()
            if _value(row, "lab_id") in shown_labs
        ],
        "seat": [
            (
                _value(row, "uuid"),
                uuid("kind", at(row)) if seat_of[key] == key else None,
                _value(row, "n"),
            )
            for key, row in alive["seat"].items()
        ],
        "part": [
            (_value(row, "uuid"), uuid("kind", at(row)), _value(row, "name"))
            for key, row in parts.items()
            if part_of[key] == key
        ],
        "leaf": [
            (line[0], uuid("part", part_in(alive["leaf"][key])), line[1])
            for key, line in _leaves(alive["leaf"], part_in).items()
        ],
        "scrap": [
            (uuid("part", part_in(row)), _value(row, "words")) for row in alive["scrap"].values()
        ],
    }
    return {table: sorted(lines, key=repr) for table, lines in found.items()}


def _ends(row: Row) -> tuple[object, object]:
    return _value(row, "kind_id"), _value(row, "other_id")


def _asked_for(rows: Rows, column: str, *below: Rows) -> dict[RowKey, Row]:
    keys = {_value(row, column) for some in below for row in some.values()}
    return {key: row for key, row in rows.items() if key in keys}


def _firsts(
    rows: Rows, asked: Callable[[Row], Sequence[object]], columns: Sequence[str]
) -> dict[RowKey, RowKey]:
    """By row the one that comes first among those that ask for the same; itself, for nothing."""
    first: dict[tuple[object, ...], RowKey] = {}
    order = sorted(
        rows,
        key=lambda key: (
            not rows[key].alive,
            max(rows[key].cells[name].stamp for name in columns),
            key,
        ),
    )
    found = {}
    for key in order:
        values = tuple(asked(rows[key]))
        found[key] = key if None in values else first.setdefault(values, key)
    return found


def _labs(rows: Rows, at: Callable[[Row], object]) -> dict[RowKey, tuple[object, ...]]:
    bed_of = _firsts(rows, lambda row: [at(row), _value(row, "bed")], ["kind_id", "bed"])
    rows = {key: row for key, row in rows.items() if bed_of[key] == key}
    w_of, code_of = (
        _firsts(rows, lambda row, name=name: [at(row), _value(row, name)], ["kind_id", name])
        for name in ("w", "code")
    )
    return {
        key: (
            _value(row, "uuid"),
            at(row),
            _marked(row, "w", key) if w_of[key] != key else _value(row, "w"),
            _value(row, "code") if code_of[key] == key else None,
            _value(row, "bed"),
        )
        for key, row in rows.items()
    }


def _leaves(rows: Rows, part_in: Callable[[Row], object]) -> dict[RowKey, tuple[object, object]]:
    w_of = _firsts(rows, lambda row: [part_in(row), _value(row, "w")], ["part_id", "w"])
    return {
        key: (
            _value(row, "uuid"),
            _marked(row, "w", key) if w_of[key] != key else _value(row, "w"),
        )
        for key, row in rows.items()
    }


def _marked(row: Row, column: str, key: RowKey) -> str:
    return f"{_value(row, column)}~{sha256(key).hexdigest()[:6]}"


def _value(row: Row, column: str) -> Any:
    value = row.cells[column].value if column in row.cells else None
    return value.key if isinstance(value, Reference) else value


def check(sites: tuple[Site, ...]) -> None:
    found = {table: shown(sites, table) for table in SQL}
    if not _deleted_rivals(sites[0]):
        # Which of two deleted rows stands for what refers to them is said nowhere but in the code.
        assert found == expected(sites[0])


def _deleted_rivals(site: Site) -> bool:
    names = [
        (table, _value(row, "bed" if table == "lab" else "name"))
        for (table, _), row in site.state().items()
        if table in ("kind", "part", "lab") and not row.alive
    ]
    return len(set(names)) < len(names)


# Random stories


def story(seed: int, folder: Path) -> None:
    draw = random.Random(seed)
    sites = made(folder, draw.choice([2, 3]))
    try:
        # Each site begins by itself, with kinds and parts of the same names.
        for site in sites:
            for sql in (*[INSERTS[0]] * 4, *[PART] * 2):
                _write(site, draw, sql)
            for _ in range(draw.randint(4, 14)):
                _write(site, draw, draw.choice(INSERTS))
        for _ in range(draw.randint(3, 9)):
            site = draw.choice(sites)
            for _ in range(draw.randint(1, 5)):
                _write(site, draw)
            if draw.random() < 0.05:
                site.reopen()
            caller, callee = draw.sample(sites, 2)
            sync(caller, callee, break_at=draw.choice([None, None, None, 1, 2]))
        settle(*sites)
        check(sites)
    finally:
        for site in sites:
            site.close()


TABLES = tuple(SQL)
PART = "INSERT INTO part (uuid, kind_id, name) VALUES (:uuid, :kind, :name)"
INSERTS = (
    *(("INSERT INTO kind (uuid, name) VALUES (:uuid, :name)",) * 3),
    "INSERT INTO note VALUES (:name, :kind, :other)",
    "INSERT INTO note VALUES (:name, :kind, NULL)",
    "INSERT INTO pair VALUES (:kind, :other, :name)",
    "INSERT INTO tie (uuid, kind_id, other_id)"
    " SELECT :uuid, kind_id, other_id FROM pair WHERE rowid = :pair",
    "INSERT INTO detail VALUES (:kind, :name)",
    *(("INSERT INTO lab (uuid, kind_id, w, code, bed) VALUES (:uuid, :kind, :name, :n, :n)",) * 2),
    *((PART,) * 2),
    "INSERT INTO slip VALUES (:lab, :name)",
    "INSERT INTO seat (uuid, kind_id, n) VALUES (:uuid, :kind, :n)",
    "INSERT INTO leaf (uuid, part_id, w) VALUES (:uuid, :part, :name)",
    "INSERT INTO scrap VALUES (:part, :name)",
)
WRITES = (
    *INSERTS,
    *(("UPDATE kind SET name = :name WHERE id = :kind",) * 2),
    "UPDATE note SET words = :name WHERE rowid = :note",
    "UPDATE note SET kind_id = :kind WHERE rowid = :note",
    "UPDATE pair SET words = :name WHERE rowid = :pair",
    "UPDATE pair SET kind_id = :kind WHERE rowid = :pair",
    "UPDATE detail SET words = :name WHERE kind_id = :kind",
    "UPDATE lab SET kind_id = :kind WHERE id = :lab",
    "UPDATE lab SET w = :name, code = :n WHERE id = :lab",
    "UPDATE part SET name = :name WHERE id = :part",
    "UPDATE part SET kind_id = :kind WHERE id = :part",
    "UPDATE leaf SET part_id = :part WHERE id = :leaf",
    "UPDATE seat SET kind_id = :kind, n = :n WHERE id = :seat",
    "DELETE FROM tie WHERE id = :tie",
    "DELETE FROM seat WHERE id = :seat",
    "DELETE FROM slip WHERE rowid = :slip",
    "DELETE FROM kind WHERE id = :kind",
    "DELETE FROM note WHERE rowid = :note",
    "DELETE FROM pair WHERE rowid = :pair",
    "DELETE FROM detail WHERE kind_id = :kind",
    "DELETE FROM lab WHERE id = :lab",
    "DELETE FROM part WHERE id = :part",
    "DELETE FROM leaf WHERE id = :leaf",
    "DELETE FROM scrap WHERE rowid = (SELECT max(rowid) FROM scrap)",
)


def _write(site: Site, draw: random.Random, sql: str | None = None) -> None:
    values: dict[str, object] = {
        "uuid": f"{draw.getrandbits(32):08x}-0000-4000-8000-{draw.getrandbits(48):012x}",
        "name": draw.choice(("adult", "child", "senior")),
        "n": draw.randint(1, 2),
        "other": _drawn(site, "kind", draw),
        **{table: _drawn(site, table, draw) for table in TABLES},
    }
    # What the engine refuses at one site is done at another: so clashes come about.
    with contextlib.suppress(sqlite3.IntegrityError):
        site.connection.execute(sql or draw.choice(WRITES), values)


def _drawn(site: Site, table: str, draw: random.Random) -> object:
    """The local number of some row."""
    found = site.sql(f"SELECT rowid FROM {table} ORDER BY rowid")
    return draw.choice(found)[0] if found else None


@pytest.mark.parametrize("part", range(4))
def test_random_stories_end_as_the_replicated_state_says(
    part: int, seeds: int, tmp_path: Path
) -> None:
    count = 6 * seeds
    for seed in range(part * count, (part + 1) * count):
        try:
            story(seed, tmp_path / str(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


# Told before two databases are joined


def test_a_dry_run_foretells_what_clashes_by_a_merge(tmp_path: Path) -> None:
    def filled(uuid: str, own: str, letter: str) -> Callable[[Any], object]:
        return lambda connection: connection.executescript(
            f"INSERT INTO kind VALUES (1, '{uuid}', 'adult');"
            f"INSERT INTO pair VALUES (1, 1, '{letter}');"
            f"INSERT INTO lab VALUES (1, '{own}', 1, 'x', NULL, {ord(letter)});"
        )

    here = make_site(tmp_path, "here", SCHEMA, before=filled(ONE, THIRD, "a"))
    there = make_site(tmp_path, "there", SCHEMA, before=filled(OTHER, FOURTH, "b"))
    for site in (here, there):
        set_rule(site, "kind", ["name"], "merge")
    token = invite(here.settings, "there", role="child", url=URL).token
    told = join_by(
        there.settings,
        decode_token(token),
        Inviting(here).answer,
        confirm=pytest.fail,
        progress=lambda _: None,
        dry_run=True,
    ).preview.clashes
    assert [(one.table, one.columns, one.done, one.count) for one in told] == [
        ("kind", ("name",), "merged", 1),
        ("lab", ("kind_id", "w"), "marked", 1),
        ("pair", ("kind_id", "other_id"), "merged", 1),
    ]
    here.close()
    there.close()
