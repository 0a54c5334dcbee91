"""The benchmark programs run to their end, with tiny sizes; no time is asserted."""

import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.py")
TINY = ("--rows", "200", "--repeat", "1", "--idle-s", "0.1")


def table_of(*options: str) -> dict[tuple[str, str], str]:
    """What the program prints: the median of each line by workload and name."""
    done = subprocess.run(
        [sys.executable, str(RUN), *TINY, *options],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(("| W", "| S", "| L"))]
    cells = [line.split("|") for line in lines]
    return {(cell[1].strip(), cell[2].strip()): cell[3].strip() for cell in cells}


def test_each_workload_on_sqlite_gives_its_lines():
    table = table_of("--only", "W1,W3,W4,W5")  # W2 is W3 with edits on one side
    assert table["W3", "losers on record, A"] == "5 rows"
    assert table["W3", "losers on record, B"] == "5 rows"
    assert table["W3", "rows that kept both columns"] == "5 rows"
    assert {name for name, _ in table} == {"W1", "W3", "W4", "W5", "W6"}


@pytest.mark.mariadb
def test_a_conflict_on_mariadb_gives_its_lines():
    table = table_of("--only", "W3", "--engine", "mariadb")
    assert table["W3", "losers on record, B"] == "5 rows"


@pytest.mark.postgresql
def test_beginning_on_postgresql_gives_its_lines():
    table = table_of("--only", "S1,S2", "--engine", "postgresql")
    assert {name for name, _ in table} == {"S1", "S2"}


def test_an_unknown_workload_is_refused():
    done = subprocess.run(
        [sys.executable, str(RUN), "--only", "W9"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no W9" in done.stderr


def test_a_call_that_finds_nothing_new_takes_few_bytes():
    table = table_of("--only", "L1")  # no times, so they hold on any machine
    assert float(table["L1", "nothing new, bodies"].split()[0]) < 100
    assert float(table["L1", "nothing new, all"].split()[0]) < 400
