"""Where sites stand in a drawing: pure functions, the same picture for the same network.

A network with parents is a balloon tree: the children of a site lie around it, leaves in a
sunflower's spiral (Vogel 1979), which packs thousands of them evenly; larger subtrees on rings.
In a deep tree balloons would shrink to nothing: there each level has a ring of its own.
A network without parents is a circle, in the order of its links where it is a ring or a line.
"""

import math
from collections.abc import Mapping, Sequence

Point = tuple[float, float]

_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_LEAF_RADIUS = 1.0
_CIRCLE_MAX = 12  # leaves that one circle takes well
_GAP = 1.15  # between neighbours, in radii
_BALLOON_LEVELS = 4  # each costs a factor of three or so of the size of a site


def positions(parents: Sequence[int | None], links: Sequence[tuple[int, int]]) -> list[Point]:
    """A place for each site, with x and y from -1 to 1.

    Args:
        parents: For each site the index of the site one level up.
        links: Pairs of indices; they order a network without parents.
    """
    count = len(parents)
    children: dict[int, list[int]] = {}
    roots = sorted(_tops(parents))
    for site, parent in enumerate(parents):
        if parent is not None and site not in roots:
            children.setdefault(parent, []).append(site)
    if not children:
        placed = _circle(_order(count, links))
    else:
        # Several trees lie around a centre where no site is.
        tree = children if len(roots) == 1 else {**children, -1: roots}
        placed = _tree(roots[0] if len(roots) == 1 else -1, tree)
    return _fitted([placed[site] for site in range(count)])


def _tops(parents: Sequence[int | None]) -> set[int]:
    """The sites without a parent, and of each circle of parents the first."""
    tops: set[int] = set()
    known: set[int] = set()
    for site in range(len(parents)):
        path: list[int] = []
        here: int | None = site
        while here is not None and here not in known:
            known.add(here)
            path.append(here)
            here = parents[here]
        if here is None and path:
            tops.add(path[-1])
        elif here in path:
            tops.add(min(path[path.index(here) :]))
    return tops


def _circle(order: Sequence[int]) -> dict[int, Point]:
    step = 2 * math.pi / max(1, len(order))
    return {
        site: (math.sin(step * place), -math.cos(step * place)) for place, site in enumerate(order)
    }


def _order(count: int, links: Sequence[tuple[int, int]]) -> list[int]:
    """Along the links where each site has two at most; otherwise as the sites come."""
    beside: dict[int, list[int]] = {site: [] for site in range(count)}
    for one, other in links:
        beside[one].append(other)
        beside[other].append(one)
    if any(len(others) > 2 for others in beside.values()):
        return list(range(count))
    order: list[int] = []
    seen: set[int] = set()
    # Lines are walked from an end, what is left are rings.
    for begin in sorted(range(count), key=lambda site: (len(beside[site]) == 2, site)):
        here: int | None = begin
        while here is not None and here not in seen:
            seen.add(here)
            order.append(here)
            here = next((other for other in sorted(beside[here]) if other not in seen), None)
    return order


def _tree(root: int, children: Mapping[int, Sequence[int]]) -> dict[int, Point]:
    """The tree below `root`, without recursion: a chain may be as long as the network."""
    level = {root: 0}
    below = [root]
    for site in below:  # grows while it is walked: every site before those below it
        for child in children.get(site, ()):
            level[child] = level[site] + 1
            below.append(child)
    if max(level.values()) < _BALLOON_LEVELS:
        return _balloon(below, children)
    return _rings(below, children, level)


def _balloon(below: Sequence[int], children: Mapping[int, Sequence[int]]) -> dict[int, Point]:
    radius: dict[int, float] = {}
    offsets: dict[int, list[tuple[int, Point]]] = {}
    for site in reversed(below):
        radius[site], offsets[site] = _around(children.get(site, ()), radius)
    placed = {below[0]: (0.0, 0.0)}
    turned = {below[0]: 0.0}
    for site in below:
        (x, y), angle = placed[site], turned[site]
        for child, (dx, dy) in offsets[site]:
            # Each subtree is turned to look away from the site above it.
            sine, cosine = math.sin(angle), math.cos(angle)
            placed[child] = (x + dx * cosine - dy * sine, y + dx * sine + dy * cosine)
            turned[child] = angle + math.atan2(dy, dx)
    return placed


def _rings(
    below: Sequence[int], children: Mapping[int, Sequence[int]], level: Mapping[int, int]
) -> dict[int, Point]:
    """Each site in the middle of the slice that its leaves take, on the ring of its level."""
    leaves: dict[int, int] = {}
    for site in reversed(below):
        leaves[site] = sum(leaves[child] for child in children.get(site, ())) or 1
    begins = {below[0]: 0}
    placed = {}
    for site in below:
        begin = begins[site]
        angle = 2 * math.pi * (begin + leaves[site] / 2) / leaves[below[0]]
        placed[site] = (level[site] * math.sin(angle), -level[site] * math.cos(angle))
        for child in children.get(site, ()):
            begins[child] = begin
            begin += leaves[child]
    return placed


def _around(
    group: Sequence[int], radius: Mapping[int, float]
) -> tuple[float, list[tuple[int, Point]]]:
    """The radius of a site with its children around it, and where they lie."""
    leaves = [child for child in group if radius[child] == _LEAF_RADIUS]
    trees = [child for child in group if radius[child] > _LEAF_RADIUS]
    offsets: list[tuple[int, Point]] = []
    reach = _LEAF_RADIUS
    if 0 < len(leaves) <= _CIRCLE_MAX:
        reach = max(3 * _LEAF_RADIUS, len(leaves) * _LEAF_RADIUS * _GAP / math.pi)
        # None lies towards the site above, where the link to it runs.
        turn = 0.5 if len(leaves) % 2 == 0 else 0.0
        for place, child in enumerate(leaves):
            angle = 2 * math.pi * (place + turn) / len(leaves)
            offsets.append((child, (reach * math.cos(angle), reach * math.sin(angle))))
        reach, leaves = reach + _LEAF_RADIUS, []
    for place, child in enumerate(leaves):
        # The site itself has the middle, hence the sites start a little out.
        distance = 1.9 * _LEAF_RADIUS * math.sqrt(place + 2)
        angle = place * _GOLDEN_ANGLE
        offsets.append((child, (distance * math.cos(angle), distance * math.sin(angle))))
        reach = distance + _LEAF_RADIUS
    while trees:
        ring, trees, middle = _ring(trees, radius, reach)
        angle = 0.0
        spare = 2 * math.pi - sum(_angle(radius[child], middle) for child in ring)
        for child in ring:
            half = (_angle(radius[child], middle) + spare / len(ring)) / 2
            angle += half
            offsets.append((child, (middle * math.cos(angle), middle * math.sin(angle))))
            angle += half
        reach = middle + max(radius[child] for child in ring)
    return (reach * _GAP if group else _LEAF_RADIUS), offsets


def _ring(
    trees: Sequence[int], radius: Mapping[int, float], reach: float
) -> tuple[list[int], list[int], float]:
    """Those of `trees` that stand in the next ring, the others, and its radius.

    One ring if it does not leave much of its inside empty; otherwise as many as fit around what
    is there already.
    """
    largest = max(radius[child] for child in trees)
    tight = reach + largest * _GAP
    if sum(_angle(radius[child], tight) for child in trees) <= 2 * math.pi:
        return list(trees), [], tight
    wide = sum(radius[child] for child in trees) * _GAP / math.pi
    if wide <= 2.5 * tight:
        while sum(_angle(radius[child], wide) for child in trees) > 2 * math.pi:
            wide *= 1.02
        return list(trees), [], wide
    filled, taken = 0.0, 0
    for child in trees:
        filled += _angle(radius[child], tight)
        if filled > 2 * math.pi:
            break
        taken += 1
    taken = max(1, taken)
    return list(trees[:taken]), list(trees[taken:]), tight


def _angle(radius: float, distance: float) -> float:
    """What a disc takes of the circle on which its middle lies."""
    return 2 * math.asin(min(1.0, radius * _GAP / distance))


def _fitted(points: Sequence[Point]) -> list[Point]:
    if not points:
        return []
    xs, ys = [x for x, _ in points], [y for _, y in points]
    middle_x, middle_y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    half = max(max(xs) - min(xs), max(ys) - min(ys)) / 2 or 1.0
    # Four digits are a tenth of a pixel; the last bits of a sine differ between machines.
    return [(round((x - middle_x) / half, 4), round((y - middle_y) / half, 4)) for x, y in points]
