"""Runs over databases, each wholly given by its seed: faults at any moment, quiet, and judges.

They differ from the runs over memory in what a database sees: of several writes of one row in one
transaction, or in one journal, it shows the last.
"""

from random import Random

from database_subjects import DatabaseFleet
from fleet import COLUMNS, TABLES, YEAR_MS, Faults, Fleet, row_key, tables_of

from syncsim.subject import MakeReplica

STEPS = 40


def run(
    seed: int,
    make_replica: MakeReplica,
    *,
    tables: tuple[str, ...] = TABLES,
    steps: int = STEPS,
    restores: bool = True,
) -> Fleet:
    """One run, wholly given by its seed."""
    rng = Random(seed)
    sites = rng.randint(2, 4)
    fleet = DatabaseFleet(
        make_replica,
        Random(f"{seed} nonces"),
        tables=[
            tables_of(rng.random() < 0.25) if tables == TABLES else tables for _ in range(sites)
        ],
        rows_max=[rng.randint(1, 5) for _ in range(sites)],
    )
    wild = rng.random() < 0.2
    for _ in range(steps):
        fleet.advance(rng.choice([1, 1, 1_000, 60_000]))
        step(fleet, rng, tables, wild=wild, restores=restores)
    fleet.heal()
    fleet.check()
    return fleet


def step(fleet: Fleet, rng: Random, tables: tuple[str, ...], *, wild: bool, restores: bool) -> None:
    site = rng.choice(fleet.living)
    kind = rng.random()
    places = [(rng.choice(tables), row_key(rng.randrange(3))) for _ in range(rng.choice([1, 1, 3]))]
    if kind < 0.40:
        # Each row once: a database seals two writes of one row in one transaction as one.
        fleet.write(site, list(dict.fromkeys(places)), rng.sample(COLUMNS, rng.randint(1, 2)))
    elif kind < 0.52:
        fleet.delete(site, places[0])
    elif kind < 0.84:
        if len(fleet.living) > 1:
            other = rng.choice([number for number in fleet.living if number != site])
            fleet.exchange(site, other, faults(rng))
    elif kind < 0.87:
        if fleet.late:
            fleet.deliver_late(rng.randrange(9))
    elif kind < 0.90:
        fleet.restart(site)
    elif kind < 0.93:
        years = wild and rng.random() < 0.3
        fleet.set_clock(site, rng.choice([-1, 1]) * (YEAR_MS if years else rng.randrange(400_000)))
    elif kind < 0.96:
        fleet.back_up(site)
    elif kind < 0.99:
        if restores and site in fleet.backups:
            fleet.restore(site, anchor_kept=rng.random() < 0.6)
    elif len(fleet.living) > 2:
        fleet.die(site)


def faults(rng: Random) -> Faults:
    def turn(chance: float) -> int | None:
        return rng.randrange(8) if rng.random() < chance else None

    return Faults(
        break_at=turn(0.3),
        twice=frozenset(n for n in (0, 2, 4) if rng.random() < 0.05),
        late=frozenset(n for n in (0, 2, 4) if rng.random() < 0.05),
        write_at=turn(0.15),
        restart_at=turn(0.1),
    )
