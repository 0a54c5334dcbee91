"""Whole nodes in virtual time: the same run each time, through every kind of fault."""

import math
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import trio
import trio._core._run
import whole_runs
from whole_runs import CALM, POOR, SITES, five_sites

from syncproto.errors import ConfigError
from syncsim import run
from syncsim.scenario import Delay, Gossip, LinkClass, Misfortune, Profile
from syncsim.whole import run_nodes
from syncsim.whole.clock import VirtualClock, deterministic, now_ms

SEEDS = 5
GOOD = LinkClass("poor", delay=Delay("fixed", 20))
FAULTS = (
    "partition", "crash", "power-cut", "clock", "restore", "clone", "wipe", "messages lost",
    "copies of requests", "killed after work", "found out at start", "new incarnations",
)  # fmt: skip


def held(finished):
    """The run, of which every checker held; the text names its seed."""
    results = finished.results
    broken = {name: said for name, said in results.verdicts.items() if said != "held"}
    assert not broken, f"seed {results.seed}: {broken}"
    assert results.converged, f"seed {results.seed}: never equal in the quiet"
    assert not results.lost_updates
    return finished


# Runs


def test_five_sites_converge_through_loss_a_partition_a_crash_and_a_restore():
    misfortunes = (
        Misfortune("partition", at_ms=30_000, lasts_ms=60_000, sites=("north",)),
        Misfortune("crash", at_ms=110_000, sites=("south",)),
        Misfortune("restore", at_ms=130_000, age_ms=50_000, sites=("lake",)),
    )
    finished = held(run_nodes(five_sites(minutes=3, misfortunes=misfortunes), seed=1))
    results = finished.results
    assert {results.faults[name] for name in ("partition", "crash", "restore")} == {1}
    assert results.faults["messages lost"] > 0
    assert results.faults["found out at start"] == 1
    assert finished.counts["seal"] > 5
    assert results.writes > 10
    assert {site.rounds > 0 for site in results.sites} == {False, True}, "the hospital only answers"
    assert all(site.arrived for site in results.sites)
    # They hold the same rows, and show them.
    assert len(finished.states) == len(SITES)
    first = finished.states[0]
    assert first.visible
    assert all(state.visible == first.visible for state in finished.states)


def test_everything_befalls_five_sites_and_every_promise_holds(seeds):
    faults, unlike, conflicts = Counter(), set(), 0
    for seed in range(1, 1 + SEEDS * seeds):
        results = held(run_nodes(five_sites(), seed)).results
        faults.update(results.faults)
        unlike.add(results.trace)
        conflicts += results.conflicts
    silent = [fault for fault in FAULTS if not faults[fault]]
    assert not silent, f"these faults never took place: {silent}"
    assert len(unlike) == SEEDS * seeds
    assert conflicts


def test_one_seed_gives_the_same_trace_byte_for_byte_in_two_processes():
    traces = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, Path(whole_runs.__file__), "3"],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        traces.append(done.stdout)
    assert traces[0] == traces[1]
    told = Counter(line.split()[1] for line in traces[0].decode().splitlines())
    assert told["seal"] > 5
    assert told["apply"] > 20
    assert told["restore"] + told["crash"] > 0


def test_an_hour_goes_by_in_virtual_time():
    people = Profile("people", kind="random", writes_an_hour=3, rows=20)
    scenario = five_sites(minutes=60, people=people, misfortunes=(), link=GOOD)
    results = held(run_nodes(scenario, seed=1)).results
    # Each of the five links carries a request at least every 25 seconds.
    assert results.rounds > 5 * 3600 / 26


def test_news_reaches_every_site_within_seconds_while_links_work():
    """Nodes push what is new, and answer requests that wait: nobody waits for the next round."""
    scenario = five_sites(minutes=10, people=CALM, misfortunes=(), link=GOOD)
    results = held(run_nodes(scenario, seed=1)).results
    assert results.writes > 30
    p50, _, p99, _ = results.staleness_ms
    assert 0 < p50 < 1_000
    assert p99 < 5_000
    assert not results.failures


def test_a_scenario_of_another_rule_is_refused():
    from dataclasses import replace

    rival = replace(five_sites(), gossip=Gossip(rule="last-arrival"))
    with pytest.raises(ConfigError, match="last-arrival"):
        run(rival, level="nodes")


def test_both_levels_end_with_the_same_rows():
    """What people wrote where nothing clashes within a millisecond ends alike, whatever carried
    it; a database knows one column more, the uuid."""
    scenario = five_sites(minutes=8, people=CALM, misfortunes=(), link=POOR)
    whole, small = (held(run(scenario, 2, level=level)) for level in ("nodes", "sites"))
    here, there = (
        {
            place: {name: cell.value for name, cell in row.cells.items() if name != "uuid"}
            for place, row in finished.states[0].rows.items()
            if row.alive
        }
        for finished in (whole, small)
    )
    assert whole.results.writes == small.results.writes > 30
    assert here == there


# What they stand on


def test_the_clock_jumps_to_the_next_deadline_and_stands_still_otherwise():
    told = []

    async def sleeper(after_s):
        await trio.sleep(after_s)
        told.append((after_s, now_ms()))

    async def main():
        async with trio.open_nursery() as nursery:
            for after_s in (3600, 0.25, 86_400):
                nursery.start_soon(sleeper, after_s)
            for _ in range(100):
                await trio.lowlevel.checkpoint()
            assert trio.current_time() == 0

    trio.run(main, clock=VirtualClock())
    assert told == [(0.25, 250), (3600, 3_600_000), (86_400, 86_400_000)]


def order_of_waking(seed):
    woken = []

    async def sleeper(number):
        for _ in range(3):
            await trio.sleep(1)
            woken.append(number)

    async def main():
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(sleeper, number)

    with deterministic(seed):
        trio.run(main, clock=VirtualClock())
    return woken


def test_tasks_that_are_due_together_run_in_an_order_that_the_seed_gives():
    assert order_of_waking(1) == order_of_waking(1)
    assert order_of_waking(1) != order_of_waking(2)


def test_a_thread_in_a_simulated_run_is_an_error():
    async def main():
        await trio.to_thread.run_sync(time.time)

    with (
        pytest.raises(AssertionError, match="started a thread"),
        deterministic(1),
    ):
        trio.run(main, clock=VirtualClock())


def test_trio_is_left_as_it_was_found():
    # Others may have turned the switch already, as Hypothesis does.
    inside = trio._core._run
    before = inside._ALLOW_DETERMINISTIC_SCHEDULING, inside._r.getstate()
    order_of_waking(1)
    assert (inside._ALLOW_DETERMINISTIC_SCHEDULING, inside._r.getstate()) == before
    assert trio.run(trio.to_thread.run_sync, math.sqrt, 4.0) == 2.0


def test_a_trio_without_the_switch_is_refused(monkeypatch):
    monkeypatch.delattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING")
    with pytest.raises(AssertionError, match="_ALLOW_DETERMINISTIC_SCHEDULING"), deterministic(1):
        pass
