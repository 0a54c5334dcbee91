"""One run of a scenario, on either level."""

from collections.abc import Sequence
from typing import TextIO

from syncproto.errors import ConfigError
from syncsim.scenario import Scenario
from syncsim.world import Progress, Run, run_sites

LEVELS = ("sites", "nodes")


def run(
    scenario: Scenario,
    seed: int = 1,
    *,
    level: str = "sites",
    trace: TextIO | None = None,
    progress: Progress | None = None,
    moments_ms: Sequence[int] = (),
) -> Run:
    """Play a scenario to its end; the result is a pure function of scenario, seed and level.

    Args:
        level: "sites" for replicas in memory in one queue of events; "nodes" for whole nodes
            with SQLite files, real clients and servers, in virtual time.
        trace: Gets a line for each event.
        progress: Called about twice a second with the virtual time and where it ends, in ms.
        moments_ms: When samples are taken besides the usual ones; of level "sites".

    Raises:
        ConfigError: There is no such level.
    """
    if level == "sites":
        return run_sites(scenario, seed, trace=trace, progress=progress, moments_ms=moments_ms)
    if level == "nodes":
        from syncsim.whole import run_nodes

        return run_nodes(scenario, seed, trace=trace, progress=progress)
    raise ConfigError(f"{level!r} is no level; there are {' and '.join(LEVELS)}")
