"""The tree over which products that know no other networks are set up.

OpenMRS's Sync module and SymmetricDS over several tiers know parents and children, and each change
has one way to each site. Where a scenario links more than that, an administrator must choose: the
links between parent and child are all used; of those between peers only what joins parts that
would be strangers otherwise, breadth first from the first site. Over the others nothing passes.
"""

from collections import deque
from collections.abc import Sequence

from syncsim.scenario import Scenario

Routes = Sequence[Sequence[int]]
"""Of each site with whom it exchanges, its parent first."""


def tree(scenario: Scenario) -> Routes:
    """The tree of a scenario; several, where it is in several parts."""
    index = {name: number for number, name in enumerate(scenario.names())}
    parents = [None if s.parent is None else index[s.parent] for s in scenario.sites]
    routes: list[list[int]] = [[] if parent is None else [parent] for parent in parents]
    beside: list[list[int]] = [[] for _ in parents]
    for number, site in enumerate(scenario.sites):
        parent = parents[number]
        if parent is not None:
            routes[parent].append(number)
        for peer in site.peers:
            other = index[peer]
            beside[number].append(other)
            beside[other].append(number)
    tops = [_top(parents, number) for number in range(len(parents))]
    parts: dict[int, list[int]] = {}
    for number, top in enumerate(tops):
        parts.setdefault(top, []).append(number)
    joined: set[int] = set()
    for first in parts:
        waiting = deque(() if first in joined else parts[first])
        joined.add(first)
        while waiting:
            near = waiting.popleft()
            for far in sorted(beside[near]):
                if tops[far] not in joined:
                    joined.add(tops[far])
                    routes[near].append(far)
                    routes[far].append(near)
                    waiting.extend(parts[tops[far]])
    return routes


def full_mesh(scenario: Scenario) -> Routes | None:
    """Of each site all others, if every site is linked with every other; None otherwise."""
    count = len(scenario.sites)
    if 2 * len(scenario.links) < count * (count - 1):
        return None
    return [[other for other in range(count) if other != number] for number in range(count)]


def _top(parents: Sequence[int | None], number: int) -> int:
    while (parent := parents[number]) is not None:
        number = parent
    return number
