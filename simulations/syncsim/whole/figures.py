"""What a run of whole nodes came to, in the same terms as on level (a)."""

from dataclasses import replace
from typing import TYPE_CHECKING

from syncnode.links.exchange import ANSWER_S_MAX
from syncproto.backoff import LAST_MS
from syncsim.bound import bound_ms
from syncsim.checkers import CHECKERS, CheckError, Ending
from syncsim.checkers.lost_writes import lost
from syncsim.measures import ages, joined, lacking
from syncsim.results import LinkResult, Results, SiteResult
from syncsim.scenario import MISFORTUNES, Scenario
from syncsim.versions import version
from syncsim.whole.clock import now_ms
from syncsim.whole.streams import GIVE_UP_S
from syncsim.world import Run

if TYPE_CHECKING:
    from syncsim.whole.world import World

CONFLICTS = "SELECT count(*) FROM syncnode_conflict"
PARKED = "SELECT count(*) FROM syncnode_row WHERE place='parked'"


def nodes_bound_ms(scenario: Scenario, rows: int) -> int | None:
    """By when nodes must have converged in the quiet.

    To what any protocol needs (`bound.py`) comes what a node's patience may take: a request
    whose answer never comes, then the longest pause. Nodes call all of their peers.
    """
    gossip = replace(scenario.gossip, choice="parent-first")
    bound = bound_ms(replace(scenario, gossip=gossip), rows)
    if bound is None:
        return None
    return bound + round((ANSWER_S_MAX + GIVE_UP_S) * 1000) + LAST_MS


class Figures:
    """Samples while a run goes on, and its results."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._times_ms: list[int] = []
        names = ("writes", "behind", "current", "bytes", "rounds", "conflicts", "parked", "cut")
        self._series: dict[str, list[float]] = {name: [] for name in names}
        self._behind: list[list[int]] = []
        self._links_down: list[list[int]] = []

    def plan(self) -> None:
        scenario = self._world.scenario
        points = max(1, scenario.measure.points)
        self._every_ms = max(1, scenario.ends_ms // points)
        if scenario.quiet_ms > scenario.faults_ms:
            self._every_ms = max(1, 2 * scenario.faults_ms // points)
        self._world.at(0, self._sample_often)

    def _sample_often(self) -> None:
        self._sample()
        self._world.at(now_ms() + self._every_ms, self._sample_often)

    def _sample(self) -> None:
        world = self._world
        sites, counts = world.sites, world.links.counts
        behind = lacking([site.record.seen for site in sites])
        down = world.network.links_down(now_ms())
        sample = {
            "writes": sum(site.tally.writes for site in sites),
            "behind": round(sum(behind) / len(behind), 3),
            "current": round(sum(not lacks for lacks in behind) / len(behind), 6),
            "bytes": sum(count.up + count.down for count in counts),
            "rounds": sum(site.tally.rounds for site in sites),
            "conflicts": max(site.count(CONFLICTS) for site in sites),
            "parked": sum(site.count(PARKED) for site in sites),
            "cut": round(len(down) / max(1, len(counts)), 6),
        }
        self._times_ms.append(now_ms())
        for name, value in sample.items():
            self._series[name].append(value)
        self._behind.append(behind)
        self._links_down.append(down)

    def finished(self) -> Run:
        """What it came to; the databases are open still."""
        if not self._times_ms or self._times_ms[-1] != now_ms():
            self._sample()
        world = self._world
        scenario, sites, history = world.scenario, world.sites, world.history
        states = tuple(site.record.state() for site in sites)
        bound = nodes_bound_ms(scenario, len(history.writes))
        ending = Ending(history, states, world.converged_ms, bound)
        whole = joined(site.tally.delays for site in sites)
        results = Results(
            title=scenario.title,
            seed=world.seed,
            version=version(),
            level="nodes",
            rule=scenario.gossip.rule,
            choice=scenario.gossip.choice,
            scaled=scenario.scale,
            faults_ms=scenario.faults_ms,
            quiet_ms=scenario.quiet_ms,
            converged_ms=world.converged_ms,
            bound_ms=bound,
            writes=sum(site.tally.writes for site in sites),
            transactions=world.counts["write"],
            conflicts=max(site.count(CONFLICTS) for site in sites),
            parked=sum(site.count(PARKED) for site in sites),
            lost_updates=sum(1 for _ in lost(ending)),
            bytes=sum(count.up + count.down for count in world.links.counts),
            rounds=sum(site.tally.rounds for site in sites),
            failures=sum(site.tally.failures for site in sites),
            staleness_ms=whole.percentiles(),
            ages=ages(whole, sum(site.tally.writes for site in sites) * (len(sites) - 1)),
            sites=self._site_results(),
            links=self._link_results(),
            times_ms=tuple(self._times_ms),
            series=self._series,
            behind=self._behind,
            links_down=self._links_down,
            faults=self._faults(),
            verdicts=_verdicts(scenario, ending),
            trace=world.hasher.hexdigest(),
        )
        return Run(scenario, results, history, states, dict(world.counts))

    def _site_results(self) -> tuple[SiteResult, ...]:
        declared, sites = self._world.scenario.sites, self._world.sites
        return tuple(
            SiteResult(
                one.name,
                one.parent,
                site.tally.writes,
                site.tally.delays.count,
                site.tally.delays.percentiles(),
                site.tally.rounds,
                site.tally.failures,
            )
            for one, site in zip(declared, sites, strict=True)
        )

    def _link_results(self) -> tuple[LinkResult, ...]:
        scenario, found = self._world.scenario, []
        index = {name: number for number, name in enumerate(scenario.names())}
        for link, count in zip(scenario.links, self._world.links.counts, strict=True):
            one, other = index[link.one], index[link.other]
            tallies = [site.tally for site in self._world.sites]
            rounds = tallies[one].rounds_with[other] + tallies[other].rounds_with[one]
            found.append(
                LinkResult(
                    link.one,
                    link.other,
                    link.link_class,
                    rounds,
                    count.messages,
                    count.lost,
                    count.up,
                    count.down,
                )
            )
        return tuple(found)

    def _faults(self) -> dict[str, int]:
        world = self._world
        counts, network = world.counts, world.network
        found = {name: counts[name] for name in MISFORTUNES if counts[name]}
        others = {
            "messages lost": network.lost,
            "messages twice": network.twins,
            "messages late": network.late,
            "copies of requests": world.links.strays,
            "killed after work": counts["burnt"],
            "found out at start": counts["found-out"],
            "new incarnations": counts["renew"],
            "restores not done": counts["unrestored"],
        }
        return found | {name: count for name, count in others.items() if count}


def _verdicts(scenario: Scenario, ending: Ending) -> dict[str, str]:
    verdicts = {}
    for name in scenario.measure.checkers:
        try:
            CHECKERS[name](ending)
            verdicts[name] = "held"
        except CheckError as error:
            verdicts[name] = str(error)
    return verdicts
