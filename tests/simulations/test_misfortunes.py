"""Misfortunes: when they come, to whom, and between whom nothing arrives."""

import itertools
import os
import statistics
import subprocess
import sys
from collections import Counter

import pytest

from syncsim.events import Mishap
from syncsim.misfortunes import mishaps
from syncsim.scenario import DAY_MS, HOUR_MS, SHAPES, Link, Misfortune, Scenario, Site

#        0 hub
#      /   \
#    1 a    2 b     a and b are peers
#    |      |
#    3 c    4 d
SITES = (
    Site("hub"),
    Site("a", "hub", peers=("b",)),
    Site("b", "hub"),
    Site("c", "a"),
    Site("d", "b"),
)
HUB, A, B, C, D = range(5)
PAIRS = ((A, HUB), (A, B), (B, HUB), (C, A), (D, B))


def scenario(*misfortunes: Misfortune, sites=SITES, faults_ms=DAY_MS) -> Scenario:
    links = [
        Link(site.name, other, "line")
        for site in sites
        for other in (*((site.parent,) if site.parent else ()), *site.peers)
    ]
    return Scenario(
        "drawn", tuple(sites), tuple(links), {}, {}, tuple(misfortunes), faults_ms=faults_ms
    )


def both_ways(*pairs: tuple[int, int]) -> frozenset[tuple[int, int]]:
    return frozenset(pairs) | {(other, one) for one, other in pairs}


def parted(shape: str, *sites: str, seed: int = 1) -> Mishap:
    once = Misfortune("partition", at_ms=0, lasts_ms=HOUR_MS, shape=shape, sites=sites)
    (mishap,) = mishaps(scenario(once), seed)
    return mishap


def islands(cut, count=5, pairs=PAIRS) -> list[set[int]]:
    """Who can still reach whom, both ways."""
    left = [pair for pair in pairs if pair not in cut and pair[::-1] not in cut]
    found: list[set[int]] = []
    for site in range(count):
        island = {site}
        for _ in range(count):
            island |= {o for pair in left for o in pair if island & set(pair)}
        if island not in found:
            found.append(island)
    return found


def test_what_is_named_happens_at_its_time_to_those_named():
    once = Misfortune("power-cut", at_ms=1_000, lasts_ms=500, sites=("a", "d"))
    assert mishaps(scenario(once), 1) == [
        Mishap(1_000, "power-cut", 1_500, (A,)),
        Mishap(1_000, "power-cut", 1_500, (D,)),
    ]


def test_what_takes_no_time_is_over_at_once():
    restore = Misfortune("restore", at_ms=DAY_MS // 2, age_ms=HOUR_MS, sites=("b",), anchor=False)
    crash = Misfortune("crash", at_ms=7, sites=("c",))
    assert mishaps(scenario(restore, crash), 1) == [
        Mishap(7, "crash", 7, (C,)),
        Mishap(DAY_MS // 2, "restore", DAY_MS // 2, (B,), age_ms=HOUR_MS, anchor=False),
    ]


def test_what_comes_now_and_then_has_exponential_gaps():
    often = Misfortune("crash", every_ms=HOUR_MS)
    found = mishaps(scenario(often, faults_ms=100 * DAY_MS), 1)
    gaps = [b.at_ms - a.at_ms for a, b in itertools.pairwise(found)]
    assert statistics.mean(gaps) == pytest.approx(HOUR_MS, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(HOUR_MS, rel=0.1)  # as of an exponential
    hit = Counter(site for mishap in found for site in mishap.sites)
    assert set(hit) == set(range(5))
    assert max(hit.values()) < 1.3 * min(hit.values())


def test_everything_is_over_when_the_quiet_begins():
    kinds = [
        Misfortune(kind, every_ms=HOUR_MS, lasts_ms=5 * HOUR_MS, offset_ms=5, age_ms=5)
        for kind in ("partition", "power-cut", "clock", "crash", "restore", "wipe", "clone")
    ]
    found = mishaps(scenario(*kinds), 3)
    assert found == sorted(found, key=lambda mishap: mishap.at_ms)
    assert all(mishap.at_ms < DAY_MS and mishap.until_ms <= DAY_MS for mishap in found)
    assert {m.kind for m in found if m.until_ms == DAY_MS} == {"partition", "power-cut", "clock"}


def test_a_site_loses_its_power_once_at_a_time():
    often = Misfortune("power-cut", every_ms=HOUR_MS // 4, lasts_ms=3 * HOUR_MS)
    found = mishaps(scenario(often, faults_ms=10 * DAY_MS), 1)
    dark_until: dict[int, int] = {}
    for mishap in found:
        (site,) = mishap.sites
        assert dark_until.get(site, 0) <= mishap.at_ms
        dark_until[site] = mishap.until_ms
    assert len(found) > 100


def test_what_befalls_a_dark_machine_waits_until_it_has_power():
    found = mishaps(
        scenario(
            Misfortune("power-cut", at_ms=1_000, lasts_ms=9_000, sites=("a",)),
            Misfortune("restore", at_ms=5_000, age_ms=2_000, sites=("a",)),
            Misfortune("crash", at_ms=6_000, sites=("a", "b")),
        ),
        1,
    )
    assert found == [
        Mishap(1_000, "power-cut", 10_000, (A,)),
        Mishap(6_000, "crash", 6_000, (B,)),
        Mishap(10_000, "restore", 10_000, (A,), age_ms=2_000),
        Mishap(10_000, "crash", 10_000, (A,)),
    ]


def test_isolated_sites_reach_each_other_and_nobody_else():
    assert parted("isolate", "a").cut == both_ways((A, HUB), (A, B), (A, C))
    mishap = parted("isolate", "a", "c")
    assert mishap.sites == (A, C)
    assert mishap.cut == both_ways((A, HUB), (A, B))


def test_one_way_requests_of_the_named_arrive_and_answers_do_not():
    assert parted("one-way", "a").cut == {(HUB, A), (B, A), (C, A)}


def test_levels_part_a_site_and_all_below_it_from_the_rest():
    assert parted("levels", "b").cut == both_ways((B, HUB), (A, B))
    assert parted("levels", "b").sites == (B, D)


def test_levels_without_a_name_part_below_from_above():
    cuts = {parted("levels", seed=seed).cut for seed in range(20)}
    assert cuts == {both_ways((A, HUB), (B, HUB)), both_ways((C, A), (D, B))}


def test_halves_are_as_large_as_each_other_and_hang_together():
    for seed in range(20):
        mishap = parted("halves", seed=seed)
        assert len(mishap.sites) == 2
        inside = [pair for pair in PAIRS if set(pair) <= set(mishap.sites)]
        assert len(inside) == 1, f"seed {seed}: the half {mishap.sites} is none"
        crossing = [p for p in PAIRS if (p[0] in mishap.sites) != (p[1] in mishap.sites)]
        assert mishap.cut == both_ways(*crossing)
    assert {parted("halves", "d", seed=seed).sites for seed in range(20)} == {(B, D)}


def test_in_a_ring_everybody_reaches_two_others_at_most():
    names = [f"s{number}" for number in range(6)]
    mesh = [Site(name, peers=tuple(names[number + 1 :])) for number, name in enumerate(names)]
    once = Misfortune("partition", at_ms=0, lasts_ms=1, shape="ring")
    for seed in range(10):
        (mishap,) = mishaps(scenario(once, sites=mesh), seed)
        left = set(itertools.permutations(range(6), 2)) - mishap.cut
        assert Counter(one for one, _ in left) == dict.fromkeys(range(6), 2)
        assert len(islands(mishap.cut, 6, list(itertools.combinations(range(6), 2)))) == 1


def test_a_bridge_stands_between_two_halves():
    names = [f"s{number}" for number in range(7)]
    mesh = [Site(name, peers=tuple(names[number + 1 :])) for number, name in enumerate(names)]
    once = Misfortune("partition", at_ms=0, lasts_ms=1, shape="bridge", sites=("s4",))
    pairs = list(itertools.combinations(range(7), 2))
    for seed in range(10):
        (mishap,) = mishaps(scenario(once, sites=mesh), seed)
        assert not any(4 in pair for pair in mishap.cut)
        without = [pair for pair in pairs if 4 not in pair]
        assert sorted(len(i) for i in islands(mishap.cut, 7, without)) == [1, 3, 3]


def test_only_what_is_linked_is_cut_and_always_something():
    linked = both_ways(*PAIRS)
    for shape, seed in itertools.product(SHAPES, range(20)):
        often = Misfortune("partition", every_ms=HOUR_MS, lasts_ms=1, shape=shape)
        found = mishaps(scenario(often), seed)
        assert found, (shape, seed)
        assert all(mishap.cut and mishap.cut <= linked for mishap in found), (shape, seed)


def test_one_misfortune_more_shifts_none_of_the_others():
    crash, cut = Misfortune("crash", every_ms=HOUR_MS), Misfortune("wipe", every_ms=HOUR_MS)
    alone = mishaps(scenario(crash), 5)
    together = [m for m in mishaps(scenario(crash, cut), 5) if m.kind == "crash"]
    assert alone == together


def test_the_same_seed_gives_the_same_mishaps_whatever_the_hash_seed():
    program = (
        "from syncsim import Scenario\n"
        "from syncsim.misfortunes import mishaps\n"
        "scenario = Scenario.load('simulations/scenarios/bad-week.toml')\n"
        "for mishap in mishaps(scenario, 7):\n"
        "    print(mishap.at_ms, mishap.kind, mishap.until_ms, mishap.sites, sorted(mishap.cut))\n"
    )
    texts = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert texts[0] == texts[1]
    assert texts[0].count("\n") > 20
