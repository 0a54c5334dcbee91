"""Runs that no simulator made: scenarios and results of any size, for what shows them.

`stand_in` has the signature of `syncsim.run` and is as deterministic, in no time.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, TextIO

from syncsim import versions
from syncsim.results import AGE_BOUNDS_MS, LinkResult, Results, SiteResult
from syncsim.scenario import (
    DAY_MS,
    HOUR_MS,
    Delay,
    Gossip,
    Link,
    LinkClass,
    Misfortune,
    Profile,
    Scenario,
    Site,
    generator,
)

MINI = """title = "Three clinics"
story = "Three clinics share a hospital's line."

[time]
faults = "1h"
quiet = "1h"

[links.line]
delay = "200ms"
loss = 0.02

[people.few]
kind = "random"
writes_an_hour = 20
rows = 5

[defaults]
link = "line"
people = "few"

[sites.hospital]

[[patterns]]
shape = "star"
names = "clinic"
under = "hospital"
count = 3

[gossip]
every = "1m"

[[misfortunes]]
kind = "partition"
every = "20m"
lasts = "5m"
"""
"""A scenario that the simulator plays in a tenth of a second."""

CODE = "c0de" * 4
"""Of cells that no simulator made: the sources may be edited while tests run in processes."""

VSAT = LinkClass("vsat", "made up for a test", Delay("lognormal", 620.0, 0.2), loss=0.01)


def tree_scenario(*fanout: int, title: str = "A tree", **changes: Any) -> Scenario:
    """Sites in a tree: so many below the top, so many below each of those, and so on."""
    sites, above = [Site("hub")], ["hub"]
    for depth, count in enumerate(fanout):
        below = []
        for parent in above:
            for place in range(count):
                name = f"{'abcdef'[depth]}{len(below)}" if depth == 0 else f"{parent}-{place}"
                below.append(name)
                sites.append(Site(name, parent, people="clinic"))
        above = below
    links = tuple(Link(site.name, site.parent, "vsat") for site in sites if site.parent)
    values: dict[str, Any] = {
        "title": title,
        "sites": tuple(sites),
        "links": links,
        "link_classes": {"vsat": VSAT},
        "profiles": {"clinic": Profile("clinic")},
        "misfortunes": (Misfortune("partition", every_ms=6 * HOUR_MS, lasts_ms=HOUR_MS),),
        "gossip": Gossip(every_ms=15 * 60_000),
        "story": "Clinics below a hub.\n\nA satellite is all they have.",
        "faults_ms": 2 * DAY_MS,
        "quiet_ms": DAY_MS,
    }
    return Scenario(**{**values, **changes})


def handmade(scenario: Scenario, seed: int = 1, *, points: int = 40, **changes: Any) -> Results:
    """Results that look like those of a run, a pure function of the arguments."""
    rng = generator(seed, "handmade", scenario.gossip.rule, scenario.gossip.choice)
    pace = scenario.gossip.every_ms / 60_000
    ends_ms = scenario.ends_ms
    times = tuple(round(ends_ms * point / (points - 1)) for point in range(points))
    lag = [rng.uniform(0.2, 3.0) * pace for _ in scenario.sites]
    behind = []
    for time_ms in times:
        busy = (
            max(0.0, math.sin(time_ms / DAY_MS * 2 * math.pi))
            if time_ms < scenario.faults_ms
            else 0
        )
        behind.append([round(busy * far * 40) for far in lag])
    links_down = [
        [link for link in range(len(scenario.links)) if (link + sample) % 9 == 0]
        if time_ms < scenario.faults_ms
        else []
        for sample, time_ms in enumerate(times)
    ]
    grown = [min(1.0, time_ms / scenario.faults_ms) for time_ms in times]
    writes = len(scenario.sites) * 30 + rng.randrange(20)
    size = round(writes * len(scenario.sites) * 200 * (1 + 5 / pace) * rng.uniform(0.9, 1.1))
    staleness = tuple(round(pace * 60_000 * factor) for factor in (1, 4, 12, 40))
    trace = f"{scenario.title} {scenario.gossip} {seed} {versions.version()}"
    values: dict[str, Any] = {
        "title": scenario.title,
        "seed": seed,
        "version": versions.version(),
        "level": "sites",
        "rule": scenario.gossip.rule,
        "choice": scenario.gossip.choice,
        "scaled": scenario.scale,
        "faults_ms": scenario.faults_ms,
        "quiet_ms": scenario.quiet_ms,
        "converged_ms": round(pace * 60_000 * rng.uniform(1, 3)),
        "bound_ms": round(pace * 600_000),
        "writes": writes,
        "transactions": writes // 2,
        "conflicts": rng.randrange(9, 15),
        "parked": 0,
        "lost_updates": 0,
        "bytes": size,
        "rounds": 4_000,
        "failures": 120,
        "staleness_ms": staleness,
        "ages": tuple(1 - math.exp(-age / staleness[1]) for age in AGE_BOUNDS_MS),
        "sites": tuple(
            SiteResult(
                site.name,
                site.parent,
                30,
                writes - 30,
                tuple(round(value * far) for value in staleness),
                90,
                3,  # type: ignore[arg-type]
            )
            for site, far in zip(scenario.sites, lag, strict=True)
        ),
        "links": tuple(
            LinkResult(link.one, link.other, link.link_class, 180, 700, 9, 120_000, 90_000)
            for link in scenario.links
        ),
        "times_ms": times,
        "series": {
            "writes": [round(writes * part) for part in grown],
            "behind": [sum(sample) / len(sample) for sample in behind],
            "current": [sample.count(0) / len(sample) for sample in behind],
            "bytes": [round(size * part) for part in grown],
            "rounds": [round(4_000 * part) for part in grown],
            "conflicts": [round(12 * part) for part in grown],
            "parked": [sample % 3 for sample in range(points)],
            "cut": [len(down) / max(1, len(scenario.links)) for down in links_down],
        },
        "behind": behind,
        "links_down": links_down,
        "faults": {"partition": 8, "loss": 120, "clone": 0},
        "verdicts": {"state": "held", "log": "held"},
        "trace": hashlib.sha256(trace.encode()).hexdigest(),
    }
    return Results(**{**values, **changes})


def stand_in(
    scenario: Scenario,
    seed: int = 1,
    *,
    level: str = "sites",
    progress: Callable[[int, int], None] | None = None,
    trace: TextIO | None = None,
    moments_ms: Sequence[int] = (),
) -> SimpleNamespace:
    """What `syncsim.run` returns, as far as commands and reports ask for it."""
    results = handmade(scenario, seed, level=level)
    for time_ms in results.times_ms:
        if progress:
            progress(time_ms, scenario.ends_ms)
        if trace:
            trace.write(f"{time_ms} hub calls a0\n")
    return SimpleNamespace(results=results)


def made_cell(cell: Any) -> dict[str, Any]:
    """`cells.run_cell` with the stand-in: a function of a module, so that processes find it."""
    import json

    results = stand_in(cell.scenario, cell.seed, level=cell.level).results.plain()
    for name in ("behind", "links_down", "sites", "links"):
        del results[name]
    identity = {**cell.identity(), "code": CODE}
    plain: dict[str, Any] = json.loads(json.dumps({"cell": identity, "results": results}))
    return plain
