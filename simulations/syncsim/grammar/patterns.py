"""`[[patterns]]`: trees, stars, rings and meshes of sites."""

from collections.abc import Callable
from dataclasses import replace

from syncnode.settings.link_keys import EVERY_MS_LEAST, EVERY_MS_MOST
from syncnode.settings.topology import name_fault
from syncsim.grammar.keys import Keys
from syncsim.patterns import Level, Planned, mesh, ring, tree
from syncsim.scenario import DAY_MS

SITES_MAX = 5_000  # twice the largest network planned for
DEPTH_MAX = 8  # levels of a tree
OFFSET_MS_MAX = 20 * 366 * DAY_MS  # a clock that has lost its battery shows 2000 or 1970
DRIFT_PPM_MAX = 100_000.0  # a tenth: far beyond any crystal

SHAPES = ("tree", "star", "ring", "mesh")

Named = Callable[[Keys, str], str | None]
"""What a key names."""


def pattern(
    table: Keys,
    under: str | None,
    link_name: Named,
    people_name: Named,
    defaults: Level,
) -> list[Planned]:
    """The sites of one pattern.

    Args:
        under: The site below which they stand, if any.
        defaults: What holds where the pattern does not say otherwise.
    """
    shape = table.one_of("shape", SHAPES, default="star")
    if "shape" not in table:
        table.fault("shape", f"is missing; write one of {', '.join(SHAPES)}")
    fan_outs = _fan_outs(table) if shape == "tree" else _counts(table, shape, under)
    levels = _levels(table, fan_outs, link_name, people_name, defaults)
    if shape in ("ring", "mesh") and "uplink" in table:
        if under is None:
            table.fault("uplink", "leads nowhere; write under, too, or remove it")
        levels[0] = replace(levels[0], uplink=link_name(table, "uplink"))
    if shape in ("tree", "star"):
        return tree(levels, under)
    if shape == "ring":
        return ring(levels[0], under)
    others = fan_outs[0] - 1
    neighbours = table.integer("neighbours", default=others, least=min(1, others), most=others)
    if neighbours % 2 and neighbours != others:
        table.fault("neighbours", f"must be even, or {others} for all others")
    return mesh(levels[0], under, neighbours=neighbours)


def _counts(table: Keys, shape: str, under: str | None) -> list[int]:
    if "count" not in table:
        table.fault("count", "is missing; write how many sites, such as count = 8")
    count = table.integer("count", default=3, least=1, most=SITES_MAX)
    return [1, count] if shape == "star" and under is None else [count]


def _fan_outs(table: Keys) -> list[int]:
    """How many sites stand below each, level by level from the top."""
    depth = table.integer("depth", default=None, least=1, most=DEPTH_MAX)
    if "fan_out" not in table:
        table.fault("fan_out", "is missing; write, say, fan_out = [1, 5, 8], from the top")
    listed = table.length("fan_out")
    if listed is not None and listed > DEPTH_MAX:
        table.fault("fan_out", f"has more than {DEPTH_MAX} levels; make the tree flatter")
        listed = DEPTH_MAX
    fan_outs = table.by_level(
        "fan_out",
        depth or listed or 1,
        lambda keys, key: keys.integer(key, default=1, least=1, most=SITES_MAX),
    )
    sites, width = 0, 1
    for fan_out in fan_outs:
        width *= fan_out
        sites += width
    if sites > SITES_MAX:
        table.fault("fan_out", f"makes {sites} sites; {SITES_MAX} are possible")
        return [1] * len(fan_outs)
    return list(fan_outs)


def _levels(
    table: Keys, fan_outs: list[int], link_name: Named, people_name: Named, defaults: Level
) -> list[Level]:
    depth = len(fan_outs)
    names = _names(table, depth)
    links = table.by_level("link", depth, link_name)
    people = table.by_level("people", depth, people_name)
    every = table.by_level("every", depth, _every_ms)
    offsets = table.by_level("offset", depth, _offset_ms)
    offset_spreads = table.by_level("offset_spread", depth, _offset_ms)
    drifts = table.by_level("drift_ppm", depth, _drift_ppm)
    drift_spreads = table.by_level("drift_spread_ppm", depth, _drift_ppm)
    return [
        Level(
            fan_outs[number],
            names[number],
            links[number] if "link" in table else defaults.link,
            people=people[number] if "people" in table else defaults.people,
            every_ms=every[number],
            offset_ms=offsets[number],
            offset_spread_ms=offset_spreads[number],
            drift_ppm=drifts[number],
            drift_spread_ppm=drift_spreads[number],
            tables=defaults.tables,
        )
        for number in range(depth)
    ]


def _names(table: Keys, depth: int) -> tuple[str, ...]:
    """How the names of each level begin: "hub" and "site-2", "site-3", … where none is given."""
    names = table.by_level("names", depth, _name)
    sound = tuple(name for name in names if name)
    if len(set(sound)) == depth:
        return sound
    if "names" in table and len(sound) == depth and table.length("names") in (None, depth):
        table.fault("names", f"must be a list of {depth} different names, from the top")
    if depth == 1:
        return ("site",)
    return ("hub", *(f"site-{number}" for number in range(2, depth + 1)))


def _name(keys: Keys, key: str) -> str | None:
    return keys.text(key, example="clinic", check=name_fault)


def _every_ms(keys: Keys, key: str) -> int | None:
    return keys.duration_ms(key, default=None, least=EVERY_MS_LEAST, most=EVERY_MS_MOST)


def _offset_ms(keys: Keys, key: str) -> int:
    return keys.signed_ms(key, default=0, most=OFFSET_MS_MAX)


def _drift_ppm(keys: Keys, key: str) -> float:
    return keys.number(key, default=0.0, least=-DRIFT_PPM_MAX, most=DRIFT_PPM_MAX)
