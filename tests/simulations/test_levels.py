"""One scenario, two levels: memory replicas in one queue of events, whole nodes with databases.

People write only what does not depend on what has arrived, and clocks are right, so however
differently the levels call and wait, the same rows must stand at every site in the end.
"""

from dataclasses import replace

import pytest

from syncproto.identity import RowKey
from syncproto.row import Value
from syncsim import Run, Scenario, run
from syncsim.scenario import (
    HOUR_MS,
    Delay,
    Gossip,
    Link,
    LinkClass,
    Misfortune,
    Profile,
    Site,
)

CLINICS = Scenario(
    title="four clinics for a working day",
    sites=(
        Site("hub", people="clinic"),
        Site("north", "hub", people="clinic"),
        Site("south", "hub", ("north",), people="clinic"),
        Site("far", "north", people="clinic"),
    ),
    links=(
        Link("north", "hub", "link"),
        Link("south", "hub", "link"),
        Link("south", "north", "link"),
        Link("far", "north", "link"),
    ),
    link_classes={"link": LinkClass("link", delay=Delay("uniform", 300, 0.5), loss=0.05)},
    profiles={"clinic": Profile("clinic", visits_a_day=16, patients_a_day=4, shared=0.6)},
    gossip=Gossip(every_ms=60_000),
    faults_ms=2 * HOUR_MS,
    quiet_ms=12 * HOUR_MS,
    shared_rows=2,
)
MISFORTUNES = {
    "none": (),
    "partition": (
        Misfortune("partition", at_ms=HOUR_MS // 4, lasts_ms=HOUR_MS, sites=("north", "far")),
    ),
    "crash and power cut": (
        Misfortune("crash", every_ms=HOUR_MS // 4),
        Misfortune("power-cut", at_ms=HOUR_MS, lasts_ms=HOUR_MS // 2, sites=("far",)),
    ),
}


@pytest.mark.parametrize("misfortune", MISFORTUNES)
def test_both_levels_end_with_the_same_rows(misfortune):
    seed = 1
    scenario = replace(CLINICS, misfortunes=MISFORTUNES[misfortune])
    sites = run(scenario, seed)
    nodes = run(scenario, seed, level="nodes")
    assert sites.results.held, sites.results.verdicts
    assert nodes.results.held, nodes.results.verdicts
    if misfortune == "partition":
        assert sites.results.conflicts > 0
        assert nodes.results.conflicts > 0
    shown = _rows(sites)
    assert len(shown) > 100
    assert shown == _rows(nodes)


def _rows(finished: Run) -> dict[tuple[str, RowKey], dict[str, Value]]:
    """The rows that are alive; every site holds the same."""
    first, *others = [
        {
            # A database also has a column for the key.
            place: {name: cell.value for name, cell in row.cells.items() if name != "uuid"}
            for place, row in state.rows.items()
            if row.alive
        }
        for state in finished.states
    ]
    assert all(other == first for other in others)
    return first
