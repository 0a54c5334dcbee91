"""Decimals longer than the 28 digits at which Python's own context rounds."""

from decimal import Decimal
from pathlib import Path

import pytest
from sites import settle, two_sites

from syncnode.store.decimals import decimals, plain_text, with_decimals

LONG = "12345678901234567890123456789.25"


@pytest.mark.parametrize(
    ("written", "text", "count"),
    [
        (LONG + "00", LONG, 2),
        ("1.2500", "1.25", 2),
        ("1E+3", "1000", -3),
        ("1E-40", "0." + "0" * 39 + "1", 40),
        ("-0.00", "0", 0),
    ],
)
def test_a_number_has_one_text_and_keeps_all_its_digits(written: str, text: str, count: int):
    assert plain_text(Decimal(written)) == text
    assert decimals(Decimal(written)) == count


def test_a_number_gets_decimals_without_rounding_or_refusal():
    assert str(with_decimals(Decimal("1e9"), 30)) == "1000000000." + "0" * 30


def test_numbers_travel_whatever_scale_sqlite_declares(tmp_path: Path) -> None:
    """The scale makes texts of 40 digits; other rows must not wait for that."""
    schema = [
        "CREATE TABLE t (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, v DECIMAL(50,30))"
    ]
    numbers = (1e9, 0, 1e-8, -2.5)
    one, other = two_sites(tmp_path, schema)
    for place, number in enumerate(numbers):
        uuid = f"{place:08}-0000-4000-8000-000000000000"
        one.sql("INSERT INTO t (uuid, v) VALUES (?, ?)", uuid, number)
    settle(one, other)
    rows = [(number,) for number in numbers]
    assert one.sql("SELECT v FROM t ORDER BY uuid") == rows
    assert other.sql("SELECT v FROM t ORDER BY uuid") == rows
