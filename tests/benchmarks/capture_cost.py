"""What capture costs the application on SQLite (W5): CPU time, as ratios.

    python tests/benchmarks/capture_cost.py [--rounds 5] [--singles 20000] [--bulk 100000]

Three databases of one shape: no trigger, a bare trigger that writes one line with the time, and
capture. One-row transactions run under WAL with synchronous FULL and NORMAL, the bulk in one
transaction. The least CPU time of the rounds counts, since other work of the machine only adds.
"""

import argparse
import random
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy

from syncnode.capture import capture_ddl
from syncnode.capture.sqlite import NOW_MS
from syncnode.schema.inspect import inspect

SCHEMA = """CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT,
 uuid CHAR(38) NOT NULL UNIQUE, gender CHAR(1), birthdate DATE, dead BOOLEAN NOT NULL DEFAULT 0,
 creator INT, date_created DATETIME, date_changed DATETIME, voided BOOLEAN NOT NULL DEFAULT 0)"""
BARE = (
    "CREATE TABLE bare (id INTEGER PRIMARY KEY, ms)",
    f"CREATE TRIGGER bare_insert AFTER INSERT ON person BEGIN"
    f" INSERT INTO bare (ms) VALUES ({NOW_MS}); END",
)
WRITE = "INSERT INTO person VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
KINDS = ("no trigger", "bare trigger", "capture")

Rows = Sequence[tuple[Any, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--singles", type=int, default=20_000)
    parser.add_argument("--bulk", type=int, default=100_000)
    arguments = parser.parse_args()
    bulk, singles = persons(arguments.bulk), persons(arguments.singles)
    report("one-row, synchronous FULL", one_by_one, singles, "FULL", arguments.rounds)
    report("one-row, synchronous NORMAL", one_by_one, singles, "NORMAL", arguments.rounds)
    report("bulk", at_once, bulk, "FULL", arguments.rounds)


def persons(count: int) -> Rows:
    drawn = random.Random(20261121)
    return [
        (
            number,
            str(uuid.UUID(int=drawn.getrandbits(128), version=4)),
            drawn.choice("MFO"),
            f"{drawn.randrange(1930, 2020)}-0{drawn.randrange(1, 10)}-11",
            int(drawn.random() < 0.03),
            drawn.randrange(1, 60),
            f"20{drawn.randrange(15, 25)}-03-04 05:06:07",
            "2024-01-02 03:04:05" if drawn.random() < 0.4 else None,
            int(drawn.random() < 0.02),
        )
        for number in range(1, count + 1)
    ]


def report(
    what: str,
    write: Callable[[sqlite3.Connection, Rows], None],
    rows: Rows,
    synchronous: str,
    rounds: int,
) -> None:
    least = dict.fromkeys(KINDS, float("inf"))
    for _ in range(rounds):
        for kind in KINDS:  # in turn, so that a busy minute of the machine hits all alike
            least[kind] = min(least[kind], cpu_s(kind, write, rows, synchronous))
    for kind in KINDS:
        print(
            f"{what:28} {kind:13} {least[kind]:6.3f} s"
            f"  {least[kind] / least['no trigger']:5.2f} of none"
            f"  {least[kind] / least['bare trigger']:5.2f} of bare"
        )


def cpu_s(
    kind: str,
    write: Callable[[sqlite3.Connection, Rows], None],
    rows: Rows,
    synchronous: str,
) -> float:
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "person.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(SCHEMA)
        if kind == "bare trigger":
            statements = list(BARE)
        elif kind == "capture":
            engine = sqlalchemy.create_engine(f"sqlite:///{folder}/person.db")
            statements = capture_ddl(inspect(engine), "sqlite")
            engine.dispose()
        else:
            statements = []
        for statement in statements:
            connection.execute(statement)
        start = time.process_time()
        write(connection, rows)
        spent = time.process_time() - start
        connection.close()
    return spent


def one_by_one(connection: sqlite3.Connection, rows: Rows) -> None:
    for row in rows:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(WRITE, row)
        connection.execute("COMMIT")


def at_once(connection: sqlite3.Connection, rows: Rows) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(WRITE, rows)
    connection.execute("COMMIT")


if __name__ == "__main__":
    main()
