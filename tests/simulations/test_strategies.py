"""Peer choice: whom a site calls when its time has come, and that every choice gets news around."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from handmade_runs import VSAT

from syncsim import run
from syncsim.bound import bound_ms
from syncsim.scenario import Link, Profile, Scenario, Site
from syncsim.strategies import CHOICES, Neighbourhood

HOUR_MS = 3_600_000


def called(choice: str, site: Neighbourhood, times: int) -> list[list[int]]:
    rounds = []
    for _ in range(times):
        rounds.append([*CHOICES[choice](site)])
        site.turn += 1
    return rounds


def middle() -> Neighbourhood:
    """A site with a parent, two peers and a child."""
    return Neighbourhood(0, [1, 2], [3], Random(1))


def test_parent_first_calls_the_parent_each_time_and_the_peers_in_turn():
    assert called("parent-first", middle(), 3) == [[0, 1], [0, 2], [0, 1]]


def test_round_robin_calls_all_in_turn():
    assert called("round-robin", middle(), 5) == [[0], [1], [2], [3], [0]]


def test_random_calls_each_about_as_often():
    counts = Counter(peer for chosen in called("random", middle(), 4_000) for peer in chosen)
    assert sorted(counts) == [0, 1, 2, 3]
    assert all(900 < count < 1_100 for count in counts.values())


def test_hub_polling_calls_the_parent_and_at_the_top_the_peers():
    assert called("hub-polling", middle(), 2) == [[0], [0]]
    top = Neighbourhood(None, [1, 2], [3], Random(1))
    assert called("hub-polling", top, 3) == [[1], [2], [1]]


@pytest.mark.parametrize("choice", CHOICES)
def test_who_knows_nobody_calls_nobody(choice):
    assert called(choice, Neighbourhood(None, [], [], Random(1)), 2) == [[], []]


def two_hubs() -> Scenario:
    """Two hubs that are peers, two clinics below each; the clinics of each are peers, too."""
    sites = (
        Site("east"),
        Site("west", peers=("east",)),
        *(Site(f"east-{n}", "east", ("east-1",) * (n - 1), people="few") for n in (1, 2)),
        *(Site(f"west-{n}", "west", ("west-1",) * (n - 1), people="few") for n in (1, 2)),
    )
    links = [Link(s.name, other, "vsat") for s in sites for other in (s.parent, *s.peers) if other]
    return Scenario(
        "two hubs",
        sites,
        tuple(links),
        {"vsat": VSAT},
        {"few": Profile("few", visits_a_day=20, shared=0.1)},
        faults_ms=4 * HOUR_MS,
        quiet_ms=4 * HOUR_MS,
    )


@pytest.mark.parametrize("choice", CHOICES)
def test_ours_converges_with_every_choice(choice):
    scenario = two_hubs()
    results = run(replace(scenario, gossip=replace(scenario.gossip, choice=choice))).results
    assert results.writes
    assert results.converged
    assert results.held
    assert results.lost_updates == 0
    used = {(link.one, link.other) for link in results.links if link.messages}
    beside = {("east-2", "east-1"), ("west-2", "west-1")}
    assert bool(used & beside) == (choice != "hub-polling")


def test_the_bound_counts_only_the_links_that_hub_polling_uses():
    chain = [Site("s0"), *(Site(f"s{n}", f"s{n - 1}") for n in range(1, 8))]
    shortcut = [*chain[:-1], replace(chain[-1], peers=("s1",))]

    def bound(sites: list[Site], choice: str) -> int:
        scenario = Scenario("a chain", tuple(sites), (), {}, {})
        found = bound_ms(replace(scenario, gossip=replace(scenario.gossip, choice=choice)), 0)
        assert found is not None
        return found

    assert bound(shortcut, "parent-first") < bound(chain, "parent-first")
    assert bound(shortcut, "hub-polling") == bound(chain, "parent-first")
    # What stands at the top talks to peers.
    to_the_top = [*chain[:-1], replace(chain[-1], peers=("s0",))]
    assert bound(to_the_top, "hub-polling") == bound(to_the_top, "parent-first")
