"""Runs what was asked for and prints one table."""

import argparse
import os
import platform
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.engines import ENGINES, opened
from benchmarks.workloads import IDLE_S, WORKLOADS, Line, Sizes, Table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    usual = [name for name in WORKLOADS if name != "W2L" and name[0] not in "SL"]
    parser.add_argument(
        "--only",
        metavar="W1,W2,...",
        default=",".join(usual),
        help=f"of {', '.join(WORKLOADS)} (default: W and the commands; the others take minutes)",
    )
    parser.add_argument("--engine", choices=ENGINES, default="sqlite")
    parser.add_argument("--rows", type=int, default=100_000, help="of W1; the others follow")
    parser.add_argument("--repeat", type=int, default=3, help="runs; the median is printed")
    parser.add_argument("--idle-s", type=float, default=IDLE_S, help="how long idleness is watched")
    parser.add_argument("--folder", type=Path, help="where the databases are made (default: /tmp)")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(WORKLOADS):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    table = Table()
    sizes = Sizes(arguments.rows, arguments.idle_s)
    folder = Path(tempfile.mkdtemp(prefix="syncnode-benchmark-", dir=arguments.folder))
    try:
        with opened(arguments.engine, folder) as engine:
            for name in chosen:
                for number in range(arguments.repeat):
                    WORKLOADS[name](engine, folder / f"{name}-{number}", sizes, table)
            print(_heading(engine.version, arguments.rows, arguments.repeat))
        for line in table.lines.values():
            print(_row(line))
    finally:
        shutil.rmtree(folder)


def _heading(version: str, count: int, repeat: int) -> str:
    runs = "1 run" if repeat == 1 else f"{repeat} runs"
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {version}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, {count:,} rows, median of {runs}\n\n"
        "| | what | median | least to most | aim |\n| --- | --- | ---: | ---: | ---: |"
    )


def _row(line: Line) -> str:
    least, most = min(line.values), max(line.values)
    aim = "" if line.aim is None else f"≤ {_number(line.aim)}"
    met = "" if line.aim is None or line.median <= line.aim else " (missed)"
    return (
        f"| {line.workload} | {line.what} | {_number(line.median)} {line.unit} "
        f"| {_number(least)} to {_number(most)} | {aim}{met} |"
    )


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    if value == int(value):
        return f"{int(value)}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
