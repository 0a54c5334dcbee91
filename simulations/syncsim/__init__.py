"""Networks of sites simulated before they are built.

from syncsim import Scenario, run

finished = run(Scenario.load("simulations/scenarios/split-brain.toml"), seed=7)
print(finished.results.converged_ms, finished.results.staleness_ms)
"""

from syncsim.results import Results
from syncsim.runs import run
from syncsim.scenario import Scenario
from syncsim.world import Run

__all__ = ["Results", "Run", "Scenario", "run"]
