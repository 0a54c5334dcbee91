"""`syncsim sweep`: every combination of values for some keys of a scenario, over many seeds."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from syncproto.errors import ConfigError
from syncsim.cells import Cell, Done
from syncsim.estimates import METRICS, grouped, runs_table, summary_table
from syncsim.overrides import Overrides, path_text, value_text
from syncsim.report import plots
from syncsim.report.tables import write_tables
from syncsim.scenario import Scenario

Variations = Mapping[tuple[str, ...], Sequence[Any]]

CELLS_MAX = 1_000_000  # more is a slip of the pen
LINES_MAX = 60  # combinations that one plot can show; the tables have all


def sweep_cells(
    path: Path,
    variations: Variations,
    seeds: Sequence[int],
    *,
    fixed: Overrides,
    level: str = "sites",
) -> list[Cell]:
    """One cell for each combination and seed; seeds vary fastest.

    Args:
        fixed: Values that are set in every cell.

    Raises:
        ConfigError: The scenario is broken under one of the combinations.
    """
    from syncsim.scenario_file import read_scenario

    combinations = list(itertools.product(*variations.values()))
    if len(combinations) * len(seeds) > CELLS_MAX:
        raise ConfigError(
            f"{len(combinations)} combinations over {len(seeds)} seeds are more than "
            f"{CELLS_MAX} runs; vary less"
        )
    cells = []
    for values in combinations:
        varied = dict(zip(variations, values, strict=True))
        scenario: Scenario = read_scenario(path, overrides={**fixed, **varied})
        label = {path_text(key): value_text(value) for key, value in varied.items()}
        cells += [Cell(label, scenario, seed, level) for seed in seeds]
    return cells


def write_sweep(folder: Path, runs: Sequence[Done], name: str = "sweep") -> bool:
    """Write `NAME.csv`, a row per run, and `summary.csv`, a row per combination.

    Returns:
        Whether pyarrow is there, which writes them as Parquet, too.
    """
    return write_tables(folder, {name: runs_table(runs), "summary": summary_table(runs)})


def plot_sweep(folder: Path, runs: Sequence[Done]) -> list[str]:
    """Write a plot of each figure that tables show, as PNG and SVG; the names of the files.

    Raises:
        ImportError: matplotlib is not there (see `plots.installed`).
    """
    groups = list(grouped(runs).items())[:LINES_MAX]
    names: list[str] = []
    for metric in METRICS:
        if not metric.shown:
            continue
        estimates = []
        for label, group in groups:
            found = metric.over([run.results for run in group])
            words = ", ".join(f"{name} {value}" for name, value in label) or "all seeds"
            estimates.append(plots.Estimate(words, found.middle, found.low, found.high))
        stem = metric.name.removesuffix("_ms").replace("_", "-")
        names += plots.write_comparison(folder, stem, metric.words, metric.unit, estimates)
    return names
