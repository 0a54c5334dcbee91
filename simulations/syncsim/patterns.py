"""Sites by the dozen: trees, stars, rings and meshes, with their names and whom they call."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from syncsim.scenario import Site

GOLDEN = 0.6180339887498949  # multiples of it, without their whole parts, spread evenly


@dataclass(frozen=True, slots=True)
class Level:
    """What the sites of one level of a pattern have in common.

    Attributes:
        fan_out: How many stand below each site of the level above.
        name: The beginning of their names; a number follows unless there is one only.
        uplink: The class of the links to the level above, where it is not `link`.
        offset_spread_ms, drift_spread_ppm: Their clocks are that wrong at most, more or less
            evenly on both sides of `offset_ms` and `drift_ppm`.
    """

    fan_out: int
    name: str
    link: str | None = None
    uplink: str | None = None
    people: str | None = None
    every_ms: int | None = None
    offset_ms: int = 0
    offset_spread_ms: int = 0
    drift_ppm: float = 0.0
    drift_spread_ppm: float = 0.0
    tables: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Planned:
    """A site, and the classes of the links that it declares: to its parent, and to its peers."""

    site: Site
    link: str | None
    link_beside: str | None


def tree(levels: Sequence[Level], under: str | None) -> list[Planned]:
    """Level by level from the top, each site with `fan_out` children."""
    result: list[Planned] = []
    above: list[str | None] = [under]
    for level in levels:
        sites = list(_sites(level, len(above) * level.fan_out))
        for number, planned in enumerate(sites):
            parent = above[number // level.fan_out]
            result.append(replace(planned, site=replace(planned.site, parent=parent)))
        above = [planned.site.name for planned in sites]
    return result


def ring(level: Level, under: str | None) -> list[Planned]:
    """Each site calls the next; the last one calls the first."""
    return mesh(level, under, neighbours=2)


def mesh(level: Level, under: str | None, *, neighbours: int) -> list[Planned]:
    """Each site has so many peers: those nearest in a circle; with one less than there are
    sites, all of them."""
    sites = list(_sites(level, level.fan_out))
    names = [planned.site.name for planned in sites]
    count = len(names)
    pairs: set[tuple[int, int]] = set()
    result: list[Planned] = []
    for number, planned in enumerate(sites):
        peers: list[str] = []
        for step in range(1, -(-neighbours // 2) + 1):
            other = (number + step) % count
            pair = (min(number, other), max(number, other))
            if other != number and pair not in pairs:
                pairs.add(pair)
                peers.append(names[other])
        result.append(
            replace(planned, site=replace(planned.site, parent=under, peers=tuple(peers)))
        )
    return result


def _sites(level: Level, count: int) -> Iterator[Planned]:
    digits = len(str(count))
    for number in range(1, count + 1):
        name = level.name if count == 1 else f"{level.name}-{number:0{digits}}"
        place = 2 * (number * GOLDEN % 1) - 1 if count > 1 else 1.0
        site = Site(
            name,
            every_ms=level.every_ms,
            people=level.people,
            offset_ms=level.offset_ms + round(place * level.offset_spread_ms),
            drift_ppm=level.drift_ppm + place * level.drift_spread_ppm,
            tables=level.tables,
        )
        yield Planned(site, level.uplink or level.link, level.link)
