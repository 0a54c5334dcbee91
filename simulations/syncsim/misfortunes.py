"""What befalls the sites: every misfortune of a run, drawn before it begins.

Misfortunes that come `every` so often come as a Poisson process: the gaps between them are
exponential. All sites that are named are hit at once; where none is, one is drawn anew each time.
Everything is over when the quiet begins: what would last longer is cut short.
"""

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from random import Random

from syncsim.events import Mishap
from syncsim.scenario import Misfortune, Scenario, generator

LASTING = ("partition", "power-cut", "clock")
"""Kinds that take time; the others are done at once."""


def mishaps(scenario: Scenario, seed: int) -> list[Mishap]:
    """Everything that befalls the sites, in ascending order of time.

    What would befall a site without power waits until it has power again. A site whose clock is
    wrong already, or that has no power already, is not hit a second time meanwhile.
    """
    network = _Map(scenario)
    drawn: list[Mishap] = []
    for number, misfortune in enumerate(scenario.misfortunes):
        rng = generator(seed, "misfortune", number)
        for at_ms in _times(misfortune, scenario.faults_ms, rng):
            until_ms = at_ms
            if misfortune.kind in LASTING:
                until_ms = min(at_ms + misfortune.lasts_ms, scenario.faults_ms)
            if misfortune.kind == "partition":
                sites, cut = network.parted(misfortune, rng)
                if cut:  # where nobody is linked across there is nothing to keep apart
                    drawn.append(Mishap(at_ms, "partition", until_ms, sites, cut))
                continue
            drawn += [
                Mishap(
                    at_ms,
                    misfortune.kind,
                    until_ms,
                    (site,),
                    offset_ms=misfortune.offset_ms,
                    age_ms=misfortune.age_ms,
                    anchor=misfortune.anchor,
                )
                for site in network.named_or_drawn(misfortune, rng)
            ]
    return _without_overlaps(drawn, scenario.faults_ms)


def _times(misfortune: Misfortune, ends_ms: int, rng: Random) -> Iterator[int]:
    if misfortune.at_ms is not None and misfortune.at_ms < ends_ms:
        yield misfortune.at_ms
    if misfortune.every_ms is None:
        return
    at = rng.expovariate(1 / misfortune.every_ms)
    while at < ends_ms:
        yield int(at)
        at += rng.expovariate(1 / misfortune.every_ms)


def _without_overlaps(drawn: list[Mishap], ends_ms: int) -> list[Mishap]:
    # The number keeps the order of the scenario among those of one moment.
    waiting = [(mishap.at_ms, number, mishap) for number, mishap in enumerate(drawn)]
    heapify(waiting)
    over_ms: dict[tuple[str, int], int] = {}
    result: list[Mishap] = []
    while waiting:
        at_ms, number, mishap = heappop(waiting)
        if mishap.kind == "partition":
            result.append(mishap)
            continue
        (site,) = mishap.sites
        if mishap.kind in LASTING:
            if over_ms.get((mishap.kind, site), 0) > at_ms:
                continue
            over_ms[mishap.kind, site] = mishap.until_ms
        elif (power_ms := over_ms.get(("power-cut", site), 0)) > at_ms:
            if power_ms < ends_ms:
                later = Mishap(
                    power_ms,
                    mishap.kind,
                    power_ms,
                    mishap.sites,
                    age_ms=mishap.age_ms,
                    anchor=mishap.anchor,
                )
                heappush(waiting, (power_ms, number, later))
            continue
        result.append(mishap)
    return result


class _Map:
    """Who is linked to whom, by index."""

    def __init__(self, scenario: Scenario) -> None:
        self._index = {name: number for number, name in enumerate(scenario.names())}
        self._all = range(len(scenario.sites))
        self._neighbours: list[list[int]] = [[] for _ in scenario.sites]
        self._pairs: list[tuple[int, int]] = []
        for link in scenario.links:
            one, other = self._index[link.one], self._index[link.other]
            self._pairs.append((one, other))
            self._neighbours[one].append(other)
            self._neighbours[other].append(one)
        self._parents = [
            None if site.parent is None else self._index[site.parent] for site in scenario.sites
        ]

    def named_or_drawn(self, misfortune: Misfortune, rng: Random) -> list[int]:
        """Those whom it befalls: all that are named, or one site."""
        named = [self._index[name] for name in misfortune.sites]
        return named or [rng.choice(self._all)]

    def parted(
        self, misfortune: Misfortune, rng: Random
    ) -> tuple[tuple[int, ...], frozenset[tuple[int, int]]]:
        """One side of a partition, and the directed pairs that it keeps apart."""
        named = [self._index[name] for name in misfortune.sites]
        match misfortune.shape:
            case "isolate":
                return self._apart(set(self.named_or_drawn(misfortune, rng)))
            case "halves":
                return self._apart(self._half(named, rng))
            case "ring":
                return self._ring(named, rng)
            case "bridge":
                bridge = rng.choice(self.named_or_drawn(misfortune, rng))
                return self._apart(self._half([], rng, without=bridge), bridge)
            case "one-way":
                sites, cut = self._apart(set(self.named_or_drawn(misfortune, rng)))
                return sites, frozenset(pair for pair in cut if pair[1] in sites)
            case "levels":
                return self._apart(self._below(named, rng))
        raise AssertionError(f"no shape {misfortune.shape}")

    def _apart(
        self, group: set[int], bridge: int | None = None
    ) -> tuple[tuple[int, ...], frozenset[tuple[int, int]]]:
        """The group is cut off from all others, except from the bridge."""
        cut: list[tuple[int, int]] = []
        for one, other in self._pairs:
            if (one in group) != (other in group) and bridge not in (one, other):
                cut += [(one, other), (other, one)]
        return tuple(sorted(group)), frozenset(cut)

    def _half(self, named: Sequence[int], rng: Random, without: int | None = None) -> set[int]:
        """Half of the sites that hang together as far as possible: the named ones first."""
        half: set[int] = set()
        waiting = list(named)
        others = [site for site in self._all if site != without]
        rng.shuffle(others)
        size = max(len(self._all) // 2, 1)
        while len(half) < size and (waiting or others):
            site = waiting.pop(0) if waiting else others.pop()
            if site in half or site == without:
                continue
            half.add(site)
            near = [other for other in self._neighbours[site] if other not in half]
            rng.shuffle(near)
            waiting += near
        return half

    def _ring(
        self, named: Sequence[int], rng: Random
    ) -> tuple[tuple[int, ...], frozenset[tuple[int, int]]]:
        """In a circle of random order each site reaches only the two beside it."""
        circle = list(named or self._all)
        rng.shuffle(circle)
        place = {site: number for number, site in enumerate(circle)}
        cut: list[tuple[int, int]] = []
        for one, other in self._pairs:
            if one in place and other in place:
                steps = (place[one] - place[other]) % len(circle)
                if steps not in (1, len(circle) - 1):
                    cut += [(one, other), (other, one)]
        return tuple(sorted(circle)), frozenset(cut)

    def _below(self, named: Sequence[int], rng: Random) -> set[int]:
        """The named sites with all below them; without names all below a level drawn."""
        if named:
            return {site for site in self._all if not {site, *self._above(site)}.isdisjoint(named)}
        levels = [len(self._above(site)) for site in self._all]
        level = rng.randint(1, max(*levels, 1))
        return {site for site in self._all if levels[site] >= level}

    def _above(self, site: int) -> list[int]:
        result: list[int] = []
        parent = self._parents[site]
        while parent is not None:
            result.append(parent)
            parent = self._parents[parent]
        return result
