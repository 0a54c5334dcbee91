"""Random histories over parents of every kind of name: no exchange fails, and all end alike.

`random_schemas` draws schemas; here one schema has every way to refer to a row (its number, its
text, several columns, a shared key, another unique column), and people delete, add, move and
rename on two or three sites that meet in any order over links that break.
"""

import contextlib
import random
import sqlite3
from pathlib import Path

import pytest
from sites import Site, make_site, one_network, settle, sync

SEEDS = 40
SCHEMA = (
    "CREATE TABLE n (code TEXT NOT NULL PRIMARY KEY, l TEXT)",
    "CREATE TABLE p (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, badge TEXT UNIQUE)",
    "CREATE TABLE nc (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " code TEXT REFERENCES n (code))",
    "CREATE TABLE ck (p INTEGER NOT NULL REFERENCES p (id), b TEXT NOT NULL,"
    " n TEXT REFERENCES n (code), PRIMARY KEY (p, b))",
    "CREATE TABLE ckc (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, cp INTEGER, cb TEXT,"
    " FOREIGN KEY (cp, cb) REFERENCES ck (p, b))",
    "CREATE TABLE pt (id INTEGER NOT NULL PRIMARY KEY REFERENCES p (id))",
    "CREATE TABLE o (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " pt INTEGER REFERENCES pt (id))",
    "CREATE TABLE door (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " badge TEXT REFERENCES p (badge))",
)
TABLES = ("n", "p", "nc", "ck", "ckc", "pt", "o", "door")
PICTURES = (
    "SELECT * FROM n",
    "SELECT uuid, badge FROM p",
    "SELECT uuid, code FROM nc",
    "SELECT uuid, b, n FROM ck JOIN p ON id = p",
    "SELECT ckc.uuid, p.uuid, cb FROM ckc LEFT JOIN p ON p.id = cp",
    "SELECT uuid FROM pt JOIN p USING (id)",
    "SELECT o.uuid, p.uuid FROM o LEFT JOIN p ON p.id = pt",
    "SELECT uuid, badge FROM door",
)
# What people write: a statement, and a question for the values `one` and `two` in it.
WRITES = (
    ("INSERT INTO n VALUES (:code, :uuid)", None),
    ("INSERT INTO p (uuid) VALUES (:uuid)", None),
    ("INSERT INTO nc (uuid, code) VALUES (:uuid, :code)", None),
    ("INSERT INTO ck VALUES (:one, :code, NULL)", "SELECT id FROM p"),
    ("INSERT INTO ck VALUES (:one, :code, :code)", "SELECT id FROM p"),
    ("INSERT INTO ckc (uuid, cp, cb) VALUES (:uuid, :one, :two)", "SELECT p, b FROM ck"),
    ("INSERT INTO pt VALUES (:one)", "SELECT id FROM p"),
    ("INSERT INTO o (uuid, pt) VALUES (:uuid, :one)", "SELECT id FROM pt"),
    ("UPDATE ckc SET cb = :code WHERE id = :one", "SELECT id FROM ckc"),
    ("UPDATE nc SET code = :code WHERE id = :one", "SELECT id FROM nc"),
    *((f"DELETE FROM {name} WHERE rowid = :one", f"SELECT rowid FROM {name}") for name in TABLES),
)
BADGE_WRITES = (
    ("INSERT INTO p (uuid, badge) VALUES (:uuid, :code)", None),
    ("INSERT INTO door (uuid, badge) VALUES (:uuid, :one)", "SELECT badge FROM p WHERE badge > ''"),
    ("UPDATE p SET badge = :code WHERE id = :one", "SELECT id FROM p"),
)
Writes = tuple[tuple[str, str | None], ...]


def write(site: Site, draw: random.Random, writes: Writes) -> None:
    """One statement of an application that heeds its foreign keys."""
    statement, question = draw.choice(writes)
    values = {"uuid": f"{draw.getrandbits(32):08x}", "code": draw.choice("aAbB")}
    if question is not None:
        found = site.sql(question)
        if not found:
            return
        values |= dict(zip(("one", "two"), draw.choice(found), strict=False))
    with contextlib.suppress(sqlite3.IntegrityError):
        site.connection.execute(statement, values)


def run(seed: int, folder: Path, *, badges: bool) -> None:
    """Write, meet and break off at random, then heal.

    Raises:
        AssertionError: The sites differ after the quiet, or park what nothing keeps from sight.
    """
    draw = random.Random(seed)
    sites = [
        make_site(
            folder,
            name,
            SCHEMA,
            apply_rows_max=draw.choice([1, 5, 50_000]),
            rows_first=draw.choice([1, 5, 4_000]),
        )
        for name in ("here", "there", "third")[: draw.choice([2, 3])]
    ]
    one_network(*sites)
    writes = WRITES + BADGE_WRITES if badges else WRITES
    try:
        for _ in range(draw.randint(3, 10)):
            for site in draw.sample(sites, draw.randint(1, len(sites))):
                for _ in range(draw.randint(1, 5)):
                    write(site, draw, writes)
            sync(*draw.sample(sites, 2), break_at=draw.choice([None, None, 0, 1, 2]))
        settle(*sites)
        parked = [site.parked() for site in sites if site.parked()]
        assert badges or not parked, parked  # two may give one badge to different people
        for picture in PICTURES if not parked else ():
            shown = [sorted(site.sql(picture), key=repr) for site in sites]
            assert all(rows == shown[0] for rows in shown), (picture, shown)
    finally:
        for site in sites:
            site.close()


@pytest.mark.parametrize("badges", [False, True])
def test_parents_and_children_of_every_kind_end_alike(
    badges: bool, seeds: int, tmp_path: Path
) -> None:
    for seed in range(SEEDS * seeds):
        try:
            run(seed, tmp_path / str(seed), badges=badges)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
