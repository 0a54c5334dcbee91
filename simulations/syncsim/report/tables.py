"""A run as tables: CSV always, Parquet and data frames where their packages are there."""

import csv
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from syncsim.results import AGE_BOUNDS_MS, Results

Table = Mapping[str, Sequence[Any]]
"""Columns by name, all of one length."""


def tables(results: Results) -> dict[str, Table]:
    """The tables of a run by name: series, sites, links, ages, behind.

    Units are in the names; bytes are scaled back. `behind` has a row per sample and a column
    per site: the writes that it lacks.
    """
    staleness = ("p50", "p90", "p99", "max")
    sites, links = results.sites, results.links
    return {
        "series": {"time_ms": results.times_ms, **results.series},
        "sites": {
            "site": [site.name for site in sites],
            "parent": [site.parent for site in sites],
            "writes": [site.writes for site in sites],
            "arrived": [site.arrived for site in sites],
            **{
                f"staleness_{name}_ms": [site.staleness_ms[place] for site in sites]
                for place, name in enumerate(staleness)
            },
            "rounds": [site.rounds for site in sites],
            "failures": [site.failures for site in sites],
        },
        "links": {
            "one": [link.one for link in links],
            "other": [link.other for link in links],
            "link_class": [link.link_class for link in links],
            "rounds": [link.rounds for link in links],
            "messages": [link.messages for link in links],
            "lost": [link.lost for link in links],
            "bytes_up": [link.bytes_up for link in links],
            "bytes_down": [link.bytes_down for link in links],
        },
        "ages": {
            "age_ms": AGE_BOUNDS_MS[: len(results.ages)],
            "arrived_share": results.ages,
        },
        "behind": {
            "time_ms": results.times_ms,
            **{
                site.name: [sample[place] for sample in results.behind]
                for place, site in enumerate(sites)
            },
        },
    }


def frames(results: Results) -> dict[str, Any]:
    """`tables` as pandas data frames; where pandas is not installed, as lists by column."""
    if find_spec("pandas") is None:
        return {
            name: {column: list(values) for column, values in table.items()}
            for name, table in tables(results).items()
        }
    import pandas

    return {
        name: pandas.DataFrame({column: list(values) for column, values in table.items()})
        for name, table in tables(results).items()
    }


def write_csv(path: Path, table: Table) -> None:
    """Write one table; None becomes an empty field."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))


def write_parquet(path: Path, table: Table) -> bool:
    """Write one table if pyarrow is there; whether it is."""
    if find_spec("pyarrow") is None:
        return False
    import pyarrow
    from pyarrow import parquet

    columns = {column: list(values) for column, values in table.items()}
    parquet.write_table(pyarrow.table(columns), path)
    return True


def write_tables(folder: Path, by_name: Mapping[str, Table]) -> bool:
    """Write each table as CSV and, where pyarrow is there, as Parquet; whether it is."""
    parquet = True
    for name, table in by_name.items():
        write_csv(folder / f"{name}.csv", table)
        parquet = write_parquet(folder / f"{name}.parquet", table)
    return parquet
