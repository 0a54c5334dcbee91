"""By when a network must have converged once the quiet began, computed from the scenario."""

from collections import deque
from collections.abc import Sequence

from syncsim.network import RESEND_MS_LEAST
from syncsim.scenario import LinkClass, Scenario

SILENCE_MS = 60_000  # exchanges that broke off just before the quiet are given up by then
TURNS = 24  # messages of one exchange without rows, each of which takes the link's delay
TURN_BYTES = 120  # without frontier and rows
ENTRY_BYTES = 28  # of a frontier; a site that was restored has more than one
ROW_BYTES = 200  # a row alone in a chunk, with the frontier and the claim around it
EXACT_MAX = 400  # sites, up to which the diameter is found exactly


def bound_ms(scenario: Scenario, rows: int) -> int | None:
    """The longest time from the beginning of the quiet until all sites hold the same.

    News goes at most the diameter of the graph of calls, and what a site learns late goes as
    far back. Each step waits for a call (a site calls one after the other of its neighbours) and
    for one exchange, which may have to carry everything: `rows` rows. None where calls are drawn
    at random: then there is no certain bound.
    """
    if scenario.gossip.choice == "random":
        return None
    index = {name: number for number, name in enumerate(scenario.names())}
    neighbours: list[set[int]] = [set() for _ in scenario.sites]
    called: list[int] = [0] * len(scenario.sites)
    hubs_only = scenario.gossip.choice == "hub-polling"
    tops = {site.name for site in scenario.sites if site.parent is None}
    for number, site in enumerate(scenario.sites):
        above = [site.parent] if site.parent is not None else []
        peers = [p for p in site.peers if not hubs_only or tops & {site.name, p}]
        for name in (*above, *peers):
            neighbours[number].add(index[name])
            neighbours[index[name]].add(number)
        called[number] = len(site.peers)
    if scenario.gossip.choice == "round-robin":
        called = [len(near) for near in neighbours]
    every_ms = max(
        (site.every_ms or scenario.gossip.every_ms) * max(1, turns)
        for site, turns in zip(scenario.sites, called, strict=True)
    )
    delay_ms = max(
        (kind.delay.middle_ms * (1 + 4 * kind.delay.spread) for kind in _used(scenario)),
        default=RESEND_MS_LEAST,
    )
    slowest = min((b for kind in _used(scenario) for b in _bytes_s(kind) if b), default=0.0)
    turns = TURNS + 2 * -(-rows // scenario.gossip.rows_max)
    turn_bytes = TURN_BYTES + 2 * len(scenario.sites) * ENTRY_BYTES
    bytes_max = turns * turn_bytes + rows * ROW_BYTES / scenario.scale
    carrying_ms = 1000 * bytes_max / slowest if slowest else 0.0
    step_ms = every_ms + turns * delay_ms + carrying_ms
    return round(SILENCE_MS + 2 * (diameter(neighbours) + 1) * step_ms)


def diameter(neighbours: Sequence[set[int]]) -> int:
    """The longest way between two of them, in steps; no less than it, where they are many.

    Unreachable ones count for nothing: they never converge with the others.
    """
    if len(neighbours) <= EXACT_MAX:
        return max((_farthest(neighbours, start)[1] for start in range(len(neighbours))), default=0)
    # Twice the distance from a middle: the far ends of a tree lie on both sides of it.
    end, _ = _farthest(neighbours, 0)
    other, length = _farthest(neighbours, end)
    middle = _way(neighbours, end, other)[length // 2]
    return 2 * _farthest(neighbours, middle)[1]


def _farthest(neighbours: Sequence[set[int]], start: int) -> tuple[int, int]:
    steps = _steps(neighbours, start)
    end = max(steps, key=lambda number: (steps[number], -number))
    return end, steps[end]


def _steps(neighbours: Sequence[set[int]], start: int) -> dict[int, int]:
    steps, todo = {start: 0}, deque([start])
    while todo:
        number = todo.popleft()
        for other in sorted(neighbours[number]):
            if other not in steps:
                steps[other] = steps[number] + 1
                todo.append(other)
    return steps


def _way(neighbours: Sequence[set[int]], start: int, end: int) -> list[int]:
    steps = _steps(neighbours, start)
    way = [end]
    while way[-1] != start:
        way.append(next(n for n in sorted(neighbours[way[-1]]) if steps[n] < steps[way[-1]]))
    return way


def _used(scenario: Scenario) -> list[LinkClass]:
    return [scenario.link_classes[link.link_class] for link in scenario.links]


def _bytes_s(kind: LinkClass) -> tuple[float, float]:
    return kind.up_bytes_s, kind.down_bytes_s
