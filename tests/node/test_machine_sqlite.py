"""The runs of `protocol/`, over SQLite files: the same faults, the same judges.

And the same steps over memory and over SQLite: the same rows, conflicts and frontiers.
"""

from collections.abc import Callable
from random import Random
from unittest.mock import patch

import pytest
from database_runs import run
from database_subjects import sqlite_subject

from syncproto.identity import Origin
from syncsim.subject import MakeReplica, MemorySubject, Subject, memory_subject

SEEDS = 40
TWIN_SEEDS = 30


@pytest.mark.parametrize("part", range(4))
def test_no_run_over_sqlite_breaks_a_promise(part: int, seeds: int) -> None:
    count = SEEDS * seeds // 4
    for seed in range(part * count, (part + 1) * count):
        try:
            run(seed, sqlite_subject)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


def plain(make_replica: MakeReplica) -> MakeReplica:
    """Whole deltas in one chunk, and nonces that leave the run's own dice alone."""

    def made(
        site: Origin,
        tables: tuple[str, ...],
        clock: Callable[[], int],
        nonce: Callable[[], int],
        rows_max: int,
    ) -> Subject:
        draw = Random(site.site)
        return make_replica(site, tables, clock, lambda: draw.getrandbits(32), 1_000)

    return made


def forgetful(subject: MemorySubject) -> MemorySubject:
    """Restarted, without the hints of what peers hold: a killed node has not written them down."""
    again = MemorySubject(subject.replica.copied())
    again.replica.peers.clear()
    return again


def twins(seed: int) -> None:
    """Memory and SQLite end a run alike. Without references: a database refuses what would
    leave a child without its parent, memory does not."""
    tables = ("note", "patient")
    with (
        patch.object(MemorySubject, "seal_each", True),
        patch.object(MemorySubject, "restarted", forgetful),
        patch.object(MemorySubject, "shows_rows", False),
    ):
        ends = [
            [fleet.sites[number].state() for number in fleet.living]
            for fleet in (
                run(seed, plain(make), tables=tables) for make in (memory_subject, sqlite_subject)
            )
        ]
    for one, other in zip(*ends, strict=True):
        assert one.rows == other.rows
        assert one.visible == other.visible
        assert one.conflicts == other.conflicts
        for table, vector in one.frontier.vectors.items():
            there = other.frontier.vector(table)
            assert {o: vector.seq(o) for o in vector.entries} == {
                o: there.seq(o) for o in there.entries
            }


def test_memory_and_sqlite_end_the_same_run_alike(seeds: int) -> None:
    for seed in range(TWIN_SEEDS * seeds):
        try:
            twins(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


def main() -> None:
    """Search without pytest: `python test_machine_sqlite.py runs|twins FROM COUNT`."""
    import sys
    import traceback

    what, first, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    for seed in range(first, first + number):
        try:
            twins(seed) if what == "twins" else run(seed, sqlite_subject)
        except Exception as error:
            trace = traceback.extract_tb(error.__traceback__)
            where = " < ".join(f"{f.name}:{f.lineno}" for f in reversed(trace[-4:]))
            print(f"seed {seed}: {type(error).__name__} {str(error)[:300]} [{where}]")


if __name__ == "__main__":
    main()
