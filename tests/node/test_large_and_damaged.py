"""Rows that no message can carry, and texts that are no UTF-8: neither holds up anything."""

from pathlib import Path
from typing import Any

import pytest
from sites import same, sync, two_sites

from syncnode.dialects.base import Unfit, marked
from syncnode.dialects.mysql import MysqlDialect
from syncnode.operations import parked
from syncnode.schema.plan import ColumnKind, ColumnPlan

SCHEMA = ("CREATE TABLE note (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, body TEXT)",)
FIRST = "11111111-1111-1111-1111-111111111111"
SECOND = "22222222-2222-2222-2222-222222222222"
ROW_BYTES_MAX = 100_000


def test_a_row_that_is_too_large_stays_home_and_is_named_until_it_shrinks(tmp_path: Path) -> None:
    here, there = two_sites(tmp_path, SCHEMA, row_bytes_max=ROW_BYTES_MAX, chunk_bytes_max=20_000)
    body = "".join(chr(33 + (place * place) % 89) for place in range(3 * ROW_BYTES_MAX))
    here.sql("INSERT INTO note (uuid, body) VALUES (?, hex(randomblob(?)))", FIRST, len(body))
    here.sql("INSERT INTO note (uuid, body) VALUES (?, 'small')", SECOND)
    # The sites do differ, and the sums say so.
    sync(here, there, check=False, alarms=("note",))
    assert there.sql("SELECT uuid, body FROM note") == [(SECOND, "small")]
    ((named,),) = here.look("SELECT value FROM syncnode_setting WHERE name='too_large'")
    assert FIRST.replace("-", "") in str(named)
    here.sql("UPDATE note SET body='shorter' WHERE uuid=?", FIRST)
    sync(here, there, check=False)
    assert there.sql("SELECT body FROM note ORDER BY uuid") == [("shorter",), ("small",)]
    ((named,),) = here.look("SELECT value FROM syncnode_setting WHERE name='too_large'")
    assert named == "{}"


def test_a_text_that_is_no_utf8_is_parked_until_it_is_mended(tmp_path: Path) -> None:
    """No driver writes such a text, and in its place a BLOB would be something else."""
    here, there = two_sites(tmp_path, SCHEMA)
    here.sql("INSERT INTO note (uuid, body) VALUES (?, CAST(x'ff41fe' AS TEXT))", FIRST)
    here.sql("INSERT INTO note (uuid, body) VALUES (?, 'sound')", SECOND)
    sync(here, there)
    assert there.sql("SELECT body FROM note") == [("sound",)]
    (row,) = parked(there.settings)
    assert (row.reason, row.values["body"]) == ("type does not fit", "0xff41fe")
    assert "note.body: the text is no UTF-8 (its bytes: ff41fe…): mend it where" in row.detail
    here.sql("UPDATE note SET body='mended' WHERE uuid=?", FIRST)
    sync(here, there)
    same(here, there)
    assert parked(there.settings) == []
    here.sql("UPDATE note SET body=CAST(x'e9' AS TEXT) WHERE uuid=?", FIRST)
    sync(here, there)
    assert [row.values["body"] for row in parked(there.settings)] == ["0xe9"]


def test_bytes_in_a_column_for_text_travel_as_bytes(tmp_path: Path) -> None:
    here, there = two_sites(tmp_path, SCHEMA)
    here.sql("INSERT INTO note (uuid, body) VALUES (?, x'ff41fe')", FIRST)
    sync(here, there)
    assert there.sql("SELECT typeof(body), body FROM note") == [("blob", b"\xffA\xfe")]


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("text", marked(b"\xe9t\xe9"), "the text is no UTF-8 (its bytes: e974e9…)"),
        ("float", float("inf"), "the column takes finite numbers, not infinity"),
        ("float", float("nan"), "the column takes finite numbers, not NaN"),
        ("integer", 1.5, "the column takes integers, not a fraction"),
    ],
)
def test_mariadb_says_what_it_does_not_take(kind: ColumnKind, value: Any, says: str) -> None:
    fitting = MysqlDialect().from_wire(ColumnPlan("body", kind, nullable=True))
    assert fitting is not None
    with pytest.raises(Unfit) as caught:
        fitting(value)
    assert says in str(caught.value)


def test_rows_that_differ_behind_equal_frontiers_are_named_also_by_a_push(tmp_path: Path) -> None:
    here, there = two_sites(tmp_path, SCHEMA)
    here.sql("INSERT INTO note (uuid, body) VALUES (?, 'one')", FIRST)
    sync(here, there)
    there.sql("UPDATE syncnode_table SET total='7' WHERE name='note'")
    here.sql("INSERT INTO note (uuid, body) VALUES (?, 'two')", SECOND)
    sync(here, there, check=False, alarms=("note",))
