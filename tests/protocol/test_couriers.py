"""Bundles by seed, among exchanges, faults and couriers of all kinds; then quiet, then judges."""

from random import Random

import pytest
from courier_fleet import CourierFleet, courier_subject
from fleet import COLUMNS, TABLES, Faults, row_key, tables_of

SEEDS = 150
STEPS = 60
HAPPENED = (
    "base missing", "break", "carried", "death", "export", "not needed", "refused part", "restore",
    "rollback", "spoiled", "taken", "write during export",
)  # fmt: skip


def fleet_of(seed: int, sites: int, *, rows_max: int | None = None) -> CourierFleet:
    rng = Random(f"{seed} sites")
    return CourierFleet(
        courier_subject,
        Random(f"{seed} nonces"),
        tables=[tables_of(rng.random() < 0.2) for _ in range(sites)],
        rows_max=[rows_max or rng.randint(1, 5) for _ in range(sites)],
    )


def run(seed: int) -> CourierFleet:
    """One run, wholly given by its seed."""
    rng = Random(seed)
    fleet = fleet_of(seed, rng.randint(2, 4))
    for _ in range(STEPS):
        fleet.advance(rng.choice([0, 1, 1_000, 60_000]))
        step(fleet, rng)
    fleet.heal()
    fleet.check()
    return fleet


def step(fleet: CourierFleet, rng: Random) -> None:
    site, kind = rng.choice(fleet.living), rng.random()
    others = [number for number in range(len(fleet.sites)) if number != site]
    if kind < 0.32:
        places = [(rng.choice(TABLES), row_key(rng.randrange(3)))
                  for _ in range(rng.choice([1, 1, 2, 3]))]  # fmt: skip
        fleet.write(site, places, rng.sample(COLUMNS, rng.randint(1, 2)))
    elif kind < 0.38:
        fleet.delete(site, (rng.choice(TABLES), row_key(rng.randrange(3))))
    elif kind < 0.60:
        readers = tuple(rng.sample(others, rng.randint(1, len(others))))
        fleet.export(site, readers, rng.choice(["told", "told", "last", "last", "anyone"]))
    elif kind < 0.85:
        if fleet.bag:
            spoil = rng.randrange(1 << 20) if rng.random() < 0.2 else None
            keep = rng.random() < 0.5 or spoil is not None
            fleet.carry(rng.randrange(1 << 20), rng.randrange(9), keep=keep, spoil=spoil)
    elif kind < 0.92:
        other = rng.choice(others)
        if other in fleet.living:
            faults = rng.choice([None, 1, 2, 3])
            fleet.exchange(site, other, Faults(break_at=faults))
    elif kind < 0.95:
        fleet.back_up(site)
    elif kind < 0.98:
        if site in fleet.backups:
            fleet.restore(site, anchor_kept=rng.random() < 0.7)
    elif len(fleet.living) > 2:
        fleet.die(site)


def test_whatever_couriers_do_all_converge_and_no_claim_says_more_than_is_held(seeds: int) -> None:
    counts: dict[str, int] = {}
    for seed in range(SEEDS * seeds):
        try:
            fleet = run(seed)
        except BaseException as error:
            error.add_note(f"seed {seed}: `run({seed})` in {__file__} shows it again")
            raise
        for what, count in fleet.history.counts.items():
            counts[what] = counts.get(what, 0) + count
    silent = [what for what in HAPPENED if not counts.get(what)]
    assert not silent, f"these never took place: {silent}"


@pytest.mark.parametrize("seed", range(30))
def test_a_site_that_only_gets_bundles_is_complete_once_all_have_come(seed: int) -> None:
    """In whatever order; each but the first builds on the one before (rule A9)."""
    rng, fleet = Random(seed), fleet_of(seed, 2, rows_max=2)
    for _ in range(5):
        for _ in range(3):
            fleet.write(0, [(rng.choice(TABLES), row_key(rng.randrange(8)))], COLUMNS)
        fleet.export(0, (1,), "last")
    rng.shuffle(fleet.bag)
    for place in range(len(fleet.bag)):
        fleet.carry(place, 0, keep=True)
    one, other = (site.subject for site in fleet.sites)
    shared = other.frontier().scopes & one.frontier().scopes
    assert one.frontier().within(shared) == other.frontier().within(shared)
    assert {p: r for p, r in one.rows().items() if p[0] in shared} == {
        p: r for p, r in other.rows().items() if p[0] in shared
    }
    assert not fleet.shelf(1).waiting
