"""Thousands of small hard worlds, a large one, and the same world twice.

A seed that fails here is replayed with

    python -c "from syncsim import run; from syncsim.swarm import swarm; \\
               print(run(swarm(SEED), SEED).results.verdicts)"
"""

import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from played_worlds import played

from syncsim import Scenario, run
from syncsim.scenario import HOUR_MS, Delay, Gossip, Link, LinkClass, Measure, Profile, Site

SEEDS = 600
NODE_SEEDS = 10
AT_ONCE = 10  # seeds handed to a process at a time
FAULTS = {
    "crash", "power-cut", "clock", "restore", "clone", "wipe", "partition",
    "messages lost", "messages twice", "messages late",
}  # fmt: skip
FAULTS_OF_NODES = ("partition", "crash", "power-cut", "clock", "restore", "clone", "wipe")
SCENARIOS = Path(__file__).parents[2] / "simulations" / "scenarios"


def test_every_world_of_the_swarm_converges_and_every_checker_holds(seeds):
    faults = _all_hold("sites", SEEDS * seeds)
    assert all(faults[fault] > SEEDS // 100 for fault in FAULTS), faults


def test_whole_nodes_survive_everything_too(seeds):
    faults = _all_hold("nodes", NODE_SEEDS * seeds)
    assert all(faults[fault] > 0 for fault in FAULTS_OF_NODES), faults


def _all_hold(level: str, count: int) -> Counter[str]:
    """Play so many worlds on all cores; the faults that took place."""
    faults: Counter[str] = Counter()
    failures: list[str] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=context) as processes:
        parts = [(level, at, min(at + AT_ONCE, count)) for at in range(0, count, AT_ONCE)]
        for found, broken in processes.map(played, parts):
            faults.update(found)
            failures += broken
    assert not failures, "\n".join(failures[:20])
    return faults


def test_a_thousand_sites_converge_after_an_hour_of_changes():
    """A tree of three levels, ten sites to a parent, and about seven hundred changes."""
    sites = tuple(
        Site(f"s{number}", f"s{(number - 1) // 10}" if number else None, people="people")
        for number in range(1_000)
    )
    scenario = Scenario(
        title="a thousand sites",
        sites=sites,
        links=tuple(Link(site.name, site.parent, "link") for site in sites if site.parent),
        link_classes={
            "link": LinkClass("link", delay=Delay("exponential", 100), loss=0.05, duplication=0.02)
        },
        profiles={"people": Profile("people", kind="random", writes_an_hour=0.7, rows=50)},
        gossip=Gossip(every_ms=60_000),
        measure=Measure(points=10, bytes_by="model"),
        faults_ms=HOUR_MS,
        quiet_ms=HOUR_MS,
    )
    finished = run(scenario, 1)
    assert finished.results.verdicts == dict.fromkeys(scenario.measure.checkers, "held")
    assert finished.results.converged
    assert finished.results.transactions > 500
    assert finished.results.faults["messages twice"] > 0


@pytest.mark.parametrize("level", ["sites", "nodes"])
def test_a_run_is_the_same_to_the_byte_in_another_process(level):
    """Trace and results, whatever the hash seed of the process."""
    outputs = {_in_a_process_of_its_own(level, hash_seed) for hash_seed in ("0", "4242")}
    assert len(outputs) == 1
    assert len(outputs.pop()) > 1_000


def _in_a_process_of_its_own(level: str, hash_seed: str) -> str:
    script = (
        "import json, sys, io; from syncsim import Scenario, run; from syncsim.swarm import swarm\n"
        f"level = {level!r}\n"
        f"worlds = [Scenario.load({str(SCENARIOS / 'small-clinics.toml')!r})]\n"
        "worlds += [swarm(seed) for seed in ((3, 7, 21) if level == 'sites' else ())]\n"
        "for seed, world in enumerate(worlds):\n"
        "    trace = io.StringIO()\n"
        "    finished = run(world, seed, level=level, trace=trace)\n"
        "    print(json.dumps(finished.results.plain(), sort_keys=True))\n"
        "    print(trace.getvalue())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
