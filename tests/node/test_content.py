"""What tables hold, in hashes that do not depend on the engine."""

import pytest
from mariadb_sites import run
from sites import make_site

from syncnode.operations.content import canonical, compared, contents, row_hash
from syncproto.identity import RowKey

KEY = bytes(16)
UUIDS = [f"0a8e1a54-1111-4222-8333-{number:012}" for number in range(3)]


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("decimal", "12.30", 12.3),
        ("decimal", "12.00", 12),
        ("decimal", "-0.00", 0),
        ("float", 1.0, 1),
        ("single", 36.599998474121094, 36.6),
        ("datetime", "2015-01-02 03:04:05.500000", "2015-01-02 03:04:05.5"),
        ("bytes", b"a", bytearray(b"a")),
    ],
)
def test_values_that_engines_keep_differently_are_the_same(kind, one, other):
    assert canonical(kind, one) == canonical(kind, other)


@pytest.mark.parametrize(
    ("one", "other"), [(None, ""), ("1", 1), ("a", b"a"), ("a", "A"), (0, None), (1.5, 1.25)]
)
def test_other_values_are_not(one, other):
    assert canonical("any", one) != canonical("any", other)


def test_neither_columns_nor_keys_can_be_shifted():
    rows = {
        row_hash(KEY, [("a", "text", "x"), ("b", "text", "")]),
        row_hash(KEY, [("a", "text", ""), ("b", "text", "x")]),
        row_hash(KEY, [("ab", "text", "x")]),
        row_hash(bytes(15) + b"\1", [("ab", "text", "x")]),
    }
    assert len(rows) == 4


def test_rows_are_counted_by_where_they_are():
    a, b, c = (RowKey(bytes((number,)) * 16) for number in range(3))
    assert compared({a: b"1", b: b"2"}, {a: b"1", b: b"x", c: b"3"}) == (1, 0, 1, 1)
    assert compared({a: b"1", b: b"2"}, {}) == (0, 2, 0, 0)


def _held(site):
    site.replica.seal()
    with site.replica.database.read() as tx:
        lsn = int(tx.value("SELECT value FROM syncnode_setting WHERE name='lsn'"))
        return contents(tx, list(site.replica.tables.values()), lsn)


def test_mariadb_and_sqlite_agree_on_equal_rows(tmp_path, mariadb_url):
    columns = (
        "weight DECIMAL(6,2), height DOUBLE, born DATE, seen DATETIME, photo BLOB, name VARCHAR(50)"
    )
    sites = [
        make_site(
            tmp_path,
            "lite",
            [
                f"CREATE TABLE person (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,"
                f" boss INTEGER REFERENCES person (id), {columns})"
            ],
        ),
        make_site(
            tmp_path,
            "maria",
            [
                f"CREATE TABLE person (id INT AUTO_INCREMENT PRIMARY KEY, uuid CHAR(36) NOT NULL"
                f" UNIQUE, boss INT, {columns}, FOREIGN KEY (boss) REFERENCES person (id))"
                " DEFAULT CHARSET=utf8mb4"
            ],
            url=mariadb_url,
        ),
    ]
    for site, first in zip(sites, (10, 70), strict=True):
        sql = f"INSERT INTO person VALUES ({', '.join('?' * 9)})"
        seen = "2015-01-02 03:04:05"
        run(site, sql, first, UUIDS[0], None, "60.50", 1.5, "2015-01-02", seen, b"\0\xff", "Ann")
        run(site, sql, first + 1, UUIDS[1], first, None, None, None, None, None, "Zoé")
    lite, maria = map(_held, sites)
    assert lite == maria
    assert lite["person"][0] == 2
    run(sites[0], "UPDATE person SET name='Ben' WHERE id=11")
    assert _held(sites[0]) != maria
    for site in sites:
        site.close()
