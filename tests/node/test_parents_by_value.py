"""Parents that are named by values: a text key, several columns, another row's key.

A parent that is deleted here while a child is added elsewhere is held at every site until the
child goes, whatever names the parent; what cannot be had at all is parked.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mariadb_sites import ALL_PAIRS, Maker, maker, run, servers_of
from sites import Site, make_site, one_network, settle, sync
from tables import dialect_of

Engines = tuple[str, str]
U1, U2, U3 = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")

SCHEMA = (
    "CREATE TABLE n (code VARCHAR(20) NOT NULL PRIMARY KEY, l VARCHAR(20))",
    "CREATE TABLE nc (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " code VARCHAR(20), FOREIGN KEY (code) REFERENCES n (code))",
    "CREATE TABLE p (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " badge VARCHAR(20) UNIQUE)",
    "CREATE TABLE ck (p INTEGER NOT NULL, b VARCHAR(20) NOT NULL, l VARCHAR(20),"
    " PRIMARY KEY (p, b), FOREIGN KEY (p) REFERENCES p (id))",
    "CREATE TABLE ckc (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE, cp INTEGER,"
    " cb VARCHAR(20), FOREIGN KEY (cp, cb) REFERENCES ck (p, b))",
    "CREATE TABLE pt (id INTEGER NOT NULL PRIMARY KEY, l VARCHAR(20),"
    " FOREIGN KEY (id) REFERENCES p (id))",
    "CREATE TABLE o (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " pt INTEGER NOT NULL, FOREIGN KEY (pt) REFERENCES pt (id))",
    "CREATE TABLE door (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " badge VARCHAR(20), FOREIGN KEY (badge) REFERENCES p (badge))",
)
TABLES = ("n", "nc", "p", "ck", "ckc", "pt", "o", "door")


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path, engines: Engines) -> Iterator[list[Site]]:
    for make in maker(tmp_path, *servers_of(request, engines)):
        yield sites(make, engines)


def sites(make: Maker, engines: Engines) -> list[Site]:
    one, other = make(SCHEMA, *engines)
    # The local numbers are not the same at both.
    run(other, "INSERT INTO p (id, uuid) VALUES (40, ?)", U3)
    settle(one, other)
    return [one, other]


def p(site: Site, uuid: str = U1) -> int:
    ((number,),) = run(site, "SELECT id FROM p WHERE uuid = ?", uuid)
    return int(number)


def counts(site: Site) -> dict[str, int]:
    found = {name: run(site, f"SELECT count(*) FROM {name}")[0][0] for name in TABLES}
    return {name: count for name, count in found.items() if count and name != "p"}


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_a_parent_deleted_here_is_held_everywhere_for_a_child_added_there(
    pair: list[Site],
) -> None:
    one, other = pair
    for uuid in (U1, U2):
        run(one, "INSERT INTO p (uuid, badge) VALUES (?, ?)", uuid, uuid[:2])
        run(one, "INSERT INTO pt VALUES (?, 'kept')", p(one, uuid))
    run(one, "INSERT INTO n VALUES ('n1', 'kept')")
    run(one, "INSERT INTO ck VALUES (?, 'b', 'kept')", p(one, U1))
    settle(one, other)
    # Of U1 the patient goes, of U2 the person, too.
    for table in ("n", "ck", "pt"):
        run(one, f"DELETE FROM {table}")
    run(one, "DELETE FROM p WHERE uuid = ?", U2)
    run(other, "INSERT INTO nc (uuid, code) VALUES (?, 'n1')", U1)
    run(other, "INSERT INTO ckc (uuid, cp, cb) VALUES (?, ?, 'b')", U1, p(other, U1))
    run(other, "INSERT INTO o (uuid, pt) VALUES (?, ?), (?, ?)", U1, p(other, U1), U2, p(other, U2))
    settle(one, other)
    for site in pair:
        assert counts(site) == {"n": 1, "nc": 1, "ck": 1, "ckc": 1, "pt": 2, "o": 2}
        assert not site.parked()
        held = [("ck", None), ("n", None), ("p", None), ("pt", None), ("pt", None)]
        assert sorted(site.held()) == held
    for table in ("nc", "ckc", "o"):
        run(one, f"DELETE FROM {table}")
    settle(one, other)
    for site in pair:
        assert counts(site) == {}
        assert not site.held()
        assert run(site, "SELECT count(*) FROM p WHERE uuid = ?", U2) == [(0,)]


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_a_parent_named_by_another_unique_column_is_held_too(pair: list[Site]) -> None:
    one, other = pair
    run(one, "INSERT INTO p (uuid, badge) VALUES (?, 'x7')", U1)
    settle(one, other)
    run(one, "DELETE FROM p WHERE uuid = ?", U1)
    run(other, "INSERT INTO door (uuid, badge) VALUES (?, 'x7')", U1)
    settle(one, other)
    for site in pair:
        assert run(site, "SELECT uuid FROM p WHERE badge = 'x7'") == [(U1,)]
        assert list(site.held()) == [("p", None)]
        assert not site.parked()


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_a_child_that_moves_to_a_deleted_parent_brings_it_back(pair: list[Site]) -> None:
    """Also where only one of the columns that name the parent is written."""
    one, other = pair
    run(one, "INSERT INTO p (uuid) VALUES (?)", U1)
    for code in ("a", "b"):
        run(one, "INSERT INTO ck VALUES (?, ?, 'kept')", p(one), code)
        run(one, "INSERT INTO n VALUES (?, 'kept')", code)
    run(one, "INSERT INTO ckc (uuid, cp, cb) VALUES (?, ?, 'a')", U1, p(one))
    run(one, "INSERT INTO nc (uuid, code) VALUES (?, 'a')", U1)
    settle(one, other)
    run(one, "DELETE FROM ck WHERE b = 'b'")
    run(one, "DELETE FROM n WHERE code = 'b'")
    run(other, "UPDATE ckc SET cb = 'b'")
    run(other, "UPDATE nc SET code = 'b'")
    settle(one, other)
    for site in pair:
        assert run(site, "SELECT cb FROM ckc JOIN ck ON p = cp AND b = cb") == [("b",)]
        assert run(site, "SELECT n.code FROM nc JOIN n ON n.code = nc.code") == [("b",)]
        assert not site.parked()
        assert sorted(site.held()) == [("ck", None), ("n", None)]


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_of_several_deleted_parents_of_one_name_the_last_comes_back(pair: list[Site]) -> None:
    one, other = pair
    for uuid in (U1, U2):
        run(one, "INSERT INTO p (uuid, badge) VALUES (?, 'x7')", uuid)
        settle(one, other)
        if uuid == U1:
            run(one, "DELETE FROM p WHERE uuid = ?", U1)
            settle(one, other)
    run(one, "DELETE FROM p WHERE uuid = ?", U2)
    run(other, "INSERT INTO door (uuid, badge) VALUES (?, 'x7')", U1)
    settle(one, other)
    for site in pair:
        assert run(site, "SELECT uuid FROM p WHERE badge = 'x7'") == [(U2,)]
        assert not site.parked()


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_a_parent_that_cannot_come_back_yet_does_so_when_it_can(pair: list[Site]) -> None:
    """Its badge is another's; the child waits, and is shown when that one goes."""
    one, other = pair
    run(one, "INSERT INTO p (uuid, badge) VALUES (?, 'x7')", U1)
    run(one, "INSERT INTO pt VALUES (?, 'kept')", p(one))
    settle(one, other)
    run(one, "DELETE FROM pt")
    run(one, "DELETE FROM p WHERE uuid = ?", U1)
    run(one, "INSERT INTO p (uuid, badge) VALUES (?, 'x7')", U2)
    run(other, "INSERT INTO o (uuid, pt) VALUES (?, ?)", U1, p(other))
    sync(one, other)
    assert list(one.parked()) == [("o", "missing parent")]
    run(one, "UPDATE p SET badge = 'x8' WHERE uuid = ?", U2)
    settle(one, other)
    assert not one.parked()
    assert not other.parked()
    assert counts(one) == counts(other) == {"o": 1, "pt": 1}


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_a_child_whose_parent_nobody_ever_had_is_parked(pair: list[Site]) -> None:
    one, other = pair
    run(one, "INSERT INTO n VALUES ('other', 'x')")
    run(one, "DELETE FROM n")
    off = {
        "sqlite": "PRAGMA foreign_keys = OFF",
        "mysql": "SET foreign_key_checks = 0",
        "postgresql": "SET session_replication_role = replica",
    }
    run(other, off[dialect_of(other.connection)])
    run(other, "INSERT INTO nc (uuid, code) VALUES (?, 'nowhere')", U1)
    sync(one, other, check=False)
    assert list(one.parked()) == [("nc", "missing parent")]


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_a_value_that_children_refer_to_and_another_site_changes_holds_nothing_up(
    pair: list[Site],
) -> None:
    one, other = pair
    run(one, "INSERT INTO p (uuid, badge) VALUES (?, 'x7')", U1)
    settle(one, other)
    run(one, "INSERT INTO door (uuid, badge) VALUES (?, 'x7')", U1)
    run(other, "UPDATE p SET badge = 'x8' WHERE uuid = ?", U1)
    run(other, "INSERT INTO n VALUES ('n1', 'arrives')")
    settle(one, other)
    assert counts(one) == {"door": 1, "n": 1}
    assert run(one, "SELECT badge FROM p WHERE uuid = ?", U1) == [("x7",)]
    assert list(one.parked()) == [("p", "still referred to")]
    assert list(other.parked()) == [("door", "missing parent")]
    run(one, "DELETE FROM door")
    settle(one, other)
    for site in pair:
        assert run(site, "SELECT badge FROM p WHERE uuid = ?", U1) == [("x8",)]
        assert not site.parked()


@pytest.mark.parametrize("engines", ALL_PAIRS)
def test_a_row_renamed_and_then_deleted_stays_for_who_refers_to_its_old_name(
    pair: list[Site],
) -> None:
    one, other = pair
    run(one, "INSERT INTO p (uuid, badge) VALUES (?, 'x7')", U1)
    settle(one, other)
    run(one, "INSERT INTO door (uuid, badge) VALUES (?, 'x7')", U1)
    run(other, "UPDATE p SET badge = 'x8' WHERE uuid = ?", U1)
    run(other, "DELETE FROM p WHERE uuid = ?", U1)
    settle(one, other)
    assert run(one, "SELECT badge FROM p WHERE uuid = ?", U1) == [("x7",)]
    assert list(one.parked()) == [("p", "still referred to")]
    assert list(other.parked()) == [("door", "missing parent")]
    run(one, "DELETE FROM door")
    settle(one, other)
    for site in pair:
        assert run(site, "SELECT * FROM p WHERE uuid = ?", U1) == []
        assert not site.parked()


def test_a_parent_that_is_spelled_otherwise_here_is_named(tmp_path: Path) -> None:
    """What the database of one site takes for one name is two in that of the other."""

    def site(name: str, collation: str) -> Site:
        n, nc, p, ck, ckc = (SCHEMA[at] for at in (0, 1, 2, 3, 4))
        tables = (n, nc, p, ck, ckc, SCHEMA[7])
        text = ("code VARCHAR(20)", "badge VARCHAR(20)", " b VARCHAR(20)", "cb VARCHAR(20)")
        made = []
        for statement in tables:
            for one in text:
                statement = statement.replace(one, f"{one} COLLATE {collation}")
            made.append(statement.format(auto=""))
        return make_site(tmp_path, name, made)

    one, other = site("one", "NOCASE"), site("other", "BINARY")
    one_network(one, other)
    run(one, "INSERT INTO n VALUES ('provider', 'x')")
    run(one, "INSERT INTO nc (uuid, code) VALUES (?, 'Provider')", U1)
    run(one, "INSERT INTO p (uuid, badge) VALUES (?, 'secret-7')", U1)
    run(one, "INSERT INTO door (uuid, badge) VALUES (?, 'SECRET-7')", U1)
    run(one, "INSERT INTO ck VALUES (?, 'ward', 'x')", p(one))
    run(one, "INSERT INTO ckc (uuid, cp, cb) VALUES (?, ?, 'Ward')", U1, p(one))
    run(other, "INSERT INTO nc (uuid, code) VALUES (?, NULL)", U2)
    settle(one, other)
    reasons = dict(
        other.look(
            "SELECT t.name, r.detail FROM syncnode_row r JOIN syncnode_table t ON t.id = r.tbl"
            " WHERE r.place = 'parked'"
        )
    )
    assert set(reasons) == {"nc", "ckc", "door"}
    assert "nc.code refers to a row of n that is not here: it says 'Provider', the row here is"
    assert "the row here is called 'provider', and this database takes the two" in reasons["nc"]
    assert "it says 'Ward', the row here is called 'ward'" in reasons["ckc"]
    # What no row is called by is not told.
    assert "one here is spelled otherwise" in reasons["door"]
    assert "secret" not in reasons["door"].casefold()
    run(one, "UPDATE nc SET code = 'provider'")
    run(one, "DELETE FROM ckc")
    run(one, "UPDATE door SET badge = 'secret-7'")
    settle(one, other)
    assert other.parked() == []
    for made in (one, other):
        made.close()
