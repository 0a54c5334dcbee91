"""Five sites that everything befalls, for whole nodes. As a program it writes a run's trace:

python whole_runs.py SEED
"""

import sys

from syncsim.scenario import Delay, Link, LinkClass, Misfortune, Profile, Scenario, Site
from syncsim.whole import run_nodes

MINUTE_MS = 60_000

SITES = (
    Site("hospital"),
    Site("north", parent="hospital", people="people"),
    Site("south", parent="hospital", people="people"),
    Site("hill", parent="north", people="people"),
    Site("lake", parent="north", peers=("south",), people="people"),
)
LINKS = tuple(
    Link(one, other, "poor")
    for one, other in (
        ("north", "hospital"),
        ("south", "hospital"),
        ("hill", "north"),
        ("lake", "north"),
        ("lake", "south"),
    )
)
POOR = LinkClass(
    "poor",
    delay=Delay("lognormal", 120, 0.5),
    loss=0.05,
    duplication=0.03,
    reordering=0.02,
    up_bytes_s=20_000,
    down_bytes_s=50_000,
)
PEOPLE = Profile("people", kind="random", writes_an_hour=150, rows=6, deletes=0.1)
CALM = Profile("people", kind="clinic", visits_a_day=400, patients_a_day=60, shared=0.05)

EVERYTHING = (
    Misfortune("partition", every_ms=3 * MINUTE_MS, lasts_ms=MINUTE_MS, shape="halves"),
    Misfortune("partition", every_ms=5 * MINUTE_MS, lasts_ms=MINUTE_MS, shape="one-way"),
    Misfortune("crash", every_ms=2 * MINUTE_MS),
    Misfortune("power-cut", every_ms=4 * MINUTE_MS, lasts_ms=40_000),
    Misfortune("clock", every_ms=4 * MINUTE_MS, lasts_ms=MINUTE_MS, offset_ms=400_000),
    Misfortune("restore", every_ms=4 * MINUTE_MS, age_ms=MINUTE_MS),
    Misfortune("restore", every_ms=4 * MINUTE_MS, age_ms=MINUTE_MS, anchor=False),
    Misfortune("clone", every_ms=6 * MINUTE_MS),
    Misfortune("wipe", every_ms=6 * MINUTE_MS),
)


def five_sites(
    *,
    minutes: float = 4,
    people: Profile = PEOPLE,
    link: LinkClass = POOR,
    misfortunes: tuple[Misfortune, ...] = EVERYTHING,
    shared_rows: int = 4,
) -> Scenario:
    """A tree of three levels with a peer across, and an hour of quiet at most."""
    return Scenario(
        title="Five sites",
        sites=SITES,
        links=LINKS,
        link_classes={"poor": link},
        profiles={"people": people},
        misfortunes=misfortunes,
        faults_ms=round(minutes * MINUTE_MS),
        quiet_ms=60 * MINUTE_MS,
        shared_rows=shared_rows,
    )


if __name__ == "__main__":
    run_nodes(five_sites(), int(sys.argv[1]), trace=sys.stdout)
