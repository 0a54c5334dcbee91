"""A journal that is sealed in several steps comes to what it comes to in one."""

import random
from pathlib import Path

import pytest
from sites import Site, make_site, one_network, sync

from syncnode.capture import seal

U = "{:08d}-0000-4000-8000-000000000000"
SCHEMA = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, name TEXT)",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,"
    " person INTEGER REFERENCES person (id) ON UPDATE CASCADE, note TEXT)",
    "CREATE TABLE remark (id INTEGER PRIMARY KEY, note TEXT)",
)
SEEN = (
    "SELECT uuid, name FROM person ORDER BY uuid",
    "SELECT v.uuid, v.note, p.uuid FROM visit v LEFT JOIN person p ON p.id = v.person ORDER BY 1",
    "SELECT note FROM remark ORDER BY note",
)


@pytest.fixture
def pair(tmp_path: Path):
    sites = [make_site(tmp_path, name, SCHEMA) for name in ("here", "there")]
    one_network(*sites)
    yield sites
    for site in sites:
        site.close()


def begin(here: Site, there: Site) -> None:
    for n in range(1, 7):
        here.sql("INSERT INTO person (id, uuid, name) VALUES (?, ?, ?)", n, U.format(n), "old")
        here.sql("INSERT INTO visit (uuid, person, note) VALUES (?, ?, 'old')", U.format(n), n)
        here.sql("INSERT INTO remark (id, note) VALUES (?, ?)", n, f"old {n}")
    sync(here, there)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 100])
def test_an_edit_before_a_row_moves_to_another_number_travels(pair, monkeypatch, length):
    here, there = pair
    begin(here, there)
    monkeypatch.setattr(seal, "LINES_PER_STEP", length)
    here.sql("UPDATE person SET name = 'new' WHERE id = 1")
    here.sql("UPDATE remark SET note = 'new' WHERE id = 1")
    here.sql("UPDATE person SET id = 71 WHERE id = 1")
    here.sql("UPDATE remark SET id = 71 WHERE id = 1")
    here.sql("UPDATE person SET name = 'newer' WHERE id = 2")
    here.sql("DELETE FROM visit WHERE id = 2")
    here.sql("DELETE FROM person WHERE id = 2")
    sync(here, there)
    monkeypatch.undo()
    sync(here, there)
    assert [there.sql(sql) for sql in SEEN] == [here.sql(sql) for sql in SEEN]
    assert (U.format(1), "new") in there.sql(SEEN[0])
    here.check()
    there.check()


@pytest.mark.parametrize("seed", range(25))
def test_random_journals_in_steps_of_any_length(pair, monkeypatch, seed):
    here, there = pair
    begin(here, there)
    chance = random.Random(seed)
    for round_number in range(3):
        monkeypatch.setattr(seal, "LINES_PER_STEP", chance.choice((1, 2, 3, 5, 8)))
        for step in range(chance.randrange(4, 14)):
            table = chance.choice(("person", "visit", "remark"))
            column = "name" if table == "person" else "note"
            ids = [pk for (pk,) in here.sql(f"SELECT id FROM {table}")]
            if not ids or chance.random() < 0.2:
                text, number = f"{round_number} {step}", 1_000 + 100 * round_number + step
                if table == "remark":
                    here.sql("INSERT INTO remark (note) VALUES (?)", text)
                else:
                    here.sql(
                        f"INSERT INTO {table} (uuid, {column}) VALUES (?, ?)",
                        U.format(number),
                        text,
                    )
                continue
            pk, what = chance.choice(ids), chance.random()
            if what < 0.5:
                here.sql(f"UPDATE {table} SET {column} = ? WHERE id = ?", f"{seed} {step}", pk)
            elif what < 0.8:
                here.sql(f"UPDATE {table} SET id = ? WHERE id = ?", max(ids) + 7, pk)
            elif table != "person" or not here.sql("SELECT 1 FROM visit WHERE person = ?", pk):
                here.sql(f"DELETE FROM {table} WHERE id = ?", pk)
        sync(here, there)
        assert [there.sql(sql) for sql in SEEN] == [here.sql(sql) for sql in SEEN]
        here.check()
        there.check()
