"""Plays many worlds in a process of its own: what `simulations/test_swarm.py` hands out."""

from collections import Counter

from whole_runs import five_sites

from syncsim import run
from syncsim.swarm import swarm


def played(part: tuple[str, int, int]) -> tuple[Counter[str], list[str]]:
    """The faults that took place in these worlds, and a line for each world that failed."""
    level, first, last = part
    faults: Counter[str] = Counter()
    failures = []
    for seed in range(first, last):
        scenario = swarm(seed) if level == "sites" else five_sites()
        try:
            finished = run(scenario, seed, level=level)
        except Exception as error:
            failures.append(f"seed {seed}: {type(error).__name__}: {error}")
            continue
        faults.update(finished.results.faults)
        broken = {n: v for n, v in finished.results.verdicts.items() if v != "held"}
        if broken or not finished.results.converged:
            failures.append(f"seed {seed}: {broken or 'not converged'}")
        elif finished.counts.get("alarm"):
            failures.append(f"seed {seed}: sums differed where frontiers were equal")
    return faults, failures
