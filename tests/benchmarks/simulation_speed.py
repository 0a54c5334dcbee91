"""How fast virtual time runs: simulated seconds per CPU second, on both levels.

    python tests/benchmarks/simulation_speed.py [--sites 5,100,1000] [--nodes 5,100]

Networks as of the figures in `tests/benchmarks/README.md`: a tree of fan-out 10, 5 % loss and 2 %
duplication, clocks up to two minutes wrong, single rows written at random.
"""

import argparse
import resource
import time

from syncsim import Run, run
from syncsim.scenario import (
    HOUR_MS,
    Delay,
    Gossip,
    Link,
    LinkClass,
    Measure,
    Profile,
    Scenario,
    Site,
    generator,
)

FAN_OUT = 10


def network(
    count: int, *, every_ms: int, writes_an_hour: float, faults_ms: int = HOUR_MS, rows: int = 50
) -> Scenario:
    """A tree of so many sites, of which all together write so often."""
    rng = generator(1, "benchmark", count)
    sites = tuple(
        Site(
            f"s{number}",
            f"s{(number - 1) // FAN_OUT}" if number else None,
            people="people",
            offset_ms=rng.randrange(-120_000, 120_000),
        )
        for number in range(count)
    )
    return Scenario(
        title=f"{count} sites, {every_ms // 1000} s",
        sites=sites,
        links=tuple(Link(site.name, site.parent, "link") for site in sites if site.parent),
        link_classes={
            "link": LinkClass("link", delay=Delay("uniform", 50, 0.5), loss=0.05, duplication=0.02)
        },
        profiles={
            "people": Profile(
                "people", kind="random", writes_an_hour=writes_an_hour / count, rows=rows
            )
        },
        gossip=Gossip(every_ms=every_ms),
        measure=Measure(points=20, bytes_by="model"),
        faults_ms=faults_ms,
        quiet_ms=HOUR_MS,
    )


def measured(name: str, scenario: Scenario, level: str) -> Run:
    began_s = time.process_time()
    finished = run(scenario, 1, level=level)
    cpu_s = time.process_time() - began_s
    results = finished.results
    simulated_s = (results.faults_ms + (results.converged_ms or results.quiet_ms)) / 1000
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{name:34} {simulated_s / cpu_s:>10,.0f} x   {results.rounds:>8,} rounds   "
        f"{results.writes:>7,} rows   converged after {results.converged_ms} ms   "
        f"checks {'held' if results.held else 'FAILED'}   {cpu_s:.1f} s CPU   {memory_mib:.0f} MiB",
        flush=True,
    )
    return finished


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", default="5,100,1000")
    parser.add_argument("--nodes", default="5,100")
    options = parser.parse_args()
    sites = [int(count) for count in options.sites.split(",") if count]
    if 5 in sites:
        day = network(5, every_ms=5_000, writes_an_hour=60, faults_ms=24 * HOUR_MS)
        measured("5 sites, every 5 s", day, "sites")
        day = network(5, every_ms=60_000, writes_an_hour=60, faults_ms=7 * 24 * HOUR_MS)
        measured("5 sites, every 60 s", day, "sites")
    if 100 in sites:
        measured("100 sites, every 5 s", network(100, every_ms=5_000, writes_an_hour=60), "sites")
        measured("100 sites, every 30 s", network(100, every_ms=30_000, writes_an_hour=60), "sites")
    if 1000 in sites:
        few = network(1000, every_ms=30_000, writes_an_hour=713)
        measured("1,000 sites, every 30 s", few, "sites")
    for count in [int(count) for count in options.nodes.split(",") if count]:
        scenario = network(count, every_ms=60_000, writes_an_hour=60, faults_ms=HOUR_MS // 4)
        measured(f"{count} whole nodes", scenario, "nodes")


if __name__ == "__main__":
    main()
