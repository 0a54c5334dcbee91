"""The commands of `syncsim`: each parses, calls what does the work, prints.

Exit status: 0 done (converged and every checker held), 1 not done, 2 wrong usage, which a broken
scenario file is, too. Results go to standard output, everything else to standard error. Nothing
heavy is imported before a command runs.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from syncnode.cli.arguments import Parser, add_json
from syncnode.cli.terminal import EXIT_DONE, EXIT_NOT_DONE, printable, result
from syncproto.errors import ConfigError
from syncsim.overrides import Overrides, parse_override, parse_variation, path_text
from syncsim.progress import Progress

if TYPE_CHECKING:
    from syncsim.cells import Cell, Done, Failed
    from syncsim.results import Results
    from syncsim.scenario import Scenario

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

LEVELS = ("sites", "nodes")


def add_commands(commands: Commands) -> None:
    """Add `run`, `sweep`, `compare` and `replay`."""
    _add_run(commands)
    _add_sweep(commands)
    _add_compare(commands)
    _add_replay(commands)


def notice(text: str) -> None:
    """Print sentences to standard error; lines stay lines."""
    for line in text.splitlines():
        print(f"syncsim: {printable(line)}", file=sys.stderr, flush=True)


# run


def _add_run(commands: Commands) -> None:
    run = commands.add_parser(
        "run",
        help="play one scenario with one seed, and say how it went",
        description="Play one scenario with one seed, and say how it went.",
    )
    run.add_argument("file", metavar="FILE", type=Path, help="the scenario")
    run.add_argument("--seed", metavar="N", type=_whole, default=1, help="default 1")
    _add_level(run)
    add_json(run)
    _add_set(run)
    run.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        help="write results, trace, tables, plots, a page, and what a replay needs to this folder",
    )
    run.add_argument("--force", action="store_true", help="replace another run in DIR")
    run.add_argument(
        "--no-trace", action="store_true", help="leave the trace out of DIR: it is large"
    )
    run.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from syncsim import run
    from syncsim.report.text import summary
    from syncsim.run_folder import json_text, new_folder, refuse_other_folder, trace_file

    overrides = _overrides(arguments)
    scenario = _scenario(arguments.file, overrides)
    out: Path | None = arguments.out
    with ExitStack() as stack:
        folder = trace = None
        if out is not None:
            refuse_other_folder(out, force=arguments.force)
            folder = stack.enter_context(new_folder(out))
        with ExitStack() as while_running:
            if folder is not None and not arguments.no_trace:
                trace = while_running.enter_context(trace_file(folder))
            progress = while_running.enter_context(Progress())
            results = run(
                scenario,
                arguments.seed,
                level=arguments.level,
                progress=progress.of_run,
                trace=trace,
            ).results
        if folder is not None:
            _write_run(folder, scenario, results, overrides)
    if arguments.json:
        sys.stdout.write(json_text(results.plain()))
    else:
        result(summary(results))
    if out is not None:
        notice(f"everything is in {out}; look at {out / 'report.html'} first")
    return EXIT_DONE if results.converged and results.held else EXIT_NOT_DONE


def _write_run(
    folder: Path, scenario: "Scenario", results: "Results", overrides: Overrides
) -> None:
    from syncsim.misfortunes import mishaps
    from syncsim.overrides import plain_overrides
    from syncsim.report import plots
    from syncsim.report.page import page
    from syncsim.report.tables import tables, write_tables
    from syncsim.run_folder import Record, lacks, write_record

    record = Record.of(scenario, results, plain_overrides(overrides))
    write_record(folder, record, results)
    if not write_tables(folder, tables(results)):
        notice(lacks("pyarrow", "tables", "Parquet"))
    if plots.installed():
        plots.write_plots(folder, results)
    else:
        notice(lacks("matplotlib", "plots", "PNG and SVG"))
    text = page(results, scenario, mishaps(scenario, results.seed))
    (folder / "report.html").write_text(text, encoding="utf-8")


# sweep


def _add_sweep(commands: Commands) -> None:
    sweep = commands.add_parser(
        "sweep",
        help="vary keys of a scenario over many seeds, on all cores",
        description="Vary keys of a scenario over many seeds, on all cores. What is in DIR "
        "already is not run again, so an interrupted sweep goes on where it stopped.",
    )
    sweep.add_argument("file", metavar="FILE", type=Path, help="the scenario")
    sweep.add_argument(
        "--vary",
        metavar="KEY=V1,V2,…",
        action="append",
        default=[],
        help="a key of the file and its values, such as gossip.every=1m,15m; several --vary make "
        "every combination",
    )
    _add_set(sweep)
    _add_level(sweep)
    _add_many(sweep, seeds="1-20")
    sweep.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="where results are kept"
    )
    sweep.set_defaults(run=_sweep)


def _sweep(arguments: argparse.Namespace) -> int:
    from syncsim.cells import parse_seeds
    from syncsim.sweep import sweep_cells

    seeds = parse_seeds(arguments.seeds)
    variations: dict[tuple[str, ...], Sequence[Any]] = {}
    for text in arguments.vary:
        path, values = parse_variation(text)
        if path in variations:
            raise ConfigError(f"--vary {path_text(path)} stands there twice; join the values")
        variations[path] = values
    fixed = _overrides(arguments)
    cells = sweep_cells(arguments.file, variations, seeds, fixed=fixed, level=arguments.level)
    runs, failed = _executed(cells, arguments)
    _write_many(arguments.out, runs, "sweep")
    _print_many(runs, arguments, differences=False)
    notice(f"a row per run is in {arguments.out / 'sweep.csv'}, this table in summary.csv")
    return _status_of_many(runs, failed)


# compare


def _add_compare(commands: Commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="put scenarios, merge rules and strategies side by side on the same seeds",
        description="Put scenarios, merge rules and strategies side by side on the same seeds: "
        "the same writes and the same misfortunes for all of them. That a rival rule diverges is "
        "a finding, not a failure: the exit status asks only whether ours converged and held.",
    )
    compare.add_argument(
        "files", metavar="FILE", type=Path, nargs="+", help="a scenario, or the folder of a run"
    )
    compare.add_argument("--rules", metavar="A,B", type=_names, default=(), help="merge rules")
    compare.add_argument(
        "--choices", metavar="X,Y", type=_names, default=(), help="strategies of whom to call"
    )
    compare.add_argument(
        "--rivals",
        action="store_true",
        help="every rule with the scenario's choice, and ours with every choice",
    )
    _add_set(compare)
    add_json(compare)
    _add_many(compare, seeds="1-10")
    compare.add_argument("--out", metavar="DIR", type=Path, help="where results are kept")
    compare.set_defaults(run=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from syncsim.cells import parse_seeds
    from syncsim.compare import OURS, compared_cells

    cells = compared_cells(
        arguments.files,
        parse_seeds(arguments.seeds),
        rules=arguments.rules,
        choices=arguments.choices,
        rivals=arguments.rivals,
        fixed=_overrides(arguments),
    )
    runs, failed = _executed(cells, arguments)
    if arguments.out is not None:
        _write_many(arguments.out, runs, "compare")
    _print_many(runs, arguments, differences=True)
    ours = [run for run in runs if run.cell.scenario.gossip.rule == OURS]
    return _status_of_many(ours, failed)


# replay


def _add_replay(commands: Commands) -> None:
    replay = commands.add_parser(
        "replay",
        help="play a run once more from its folder, and look at a moment of it",
        description="Play a run once more from the folder that `run --out` made, and check that "
        "its trace is the same, byte for byte.",
    )
    replay.add_argument("folder", metavar="RUN", type=Path, help="the folder")
    replay.add_argument(
        "--at",
        metavar="TIME",
        type=_moment_ms,
        help="show what every site lacked then, which links were down, and the trace around it; "
        "counted from the beginning of the run, such as 3d4h",
    )
    replay.add_argument(
        "--until", metavar="TIME", type=_moment_ms, help="show the trace from --at to this time"
    )
    replay.add_argument(
        "--lines",
        metavar="N",
        type=_whole,
        default=10,
        help="lines of the trace before and after (default 10)",
    )
    replay.set_defaults(run=_replay)


def _replay(arguments: argparse.Namespace) -> int:
    from syncsim.replay import moment_text, replay

    if arguments.until is not None and (arguments.at is None or arguments.until < arguments.at):
        raise ConfigError("--until needs an --at that is not after it")
    with Progress() as progress:
        replayed = replay(
            arguments.folder,
            at_ms=arguments.at,
            until_ms=arguments.until,
            around=arguments.lines,
            progress=progress.of_run,
        )
    if arguments.at is not None:
        result(moment_text(replayed, arguments.at))
    notice(f"the same trace as then: SHA-256 {replayed.results.trace}")
    return EXIT_DONE


# What they have in common


def _add_set(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a key of the file, such as gossip.every=5m or patterns.0.fan_out=7",
    )


def _add_level(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--level",
        choices=LEVELS,
        default="sites",
        help="sites: replicas in memory, fast (default); nodes: whole nodes with databases",
    )


def _add_many(command: argparse.ArgumentParser, *, seeds: str) -> None:
    command.add_argument(
        "--seeds", metavar="1-20", default=seeds, help=f"which seeds (default {seeds})"
    )
    command.add_argument(
        "--jobs", metavar="N", type=_count, help="processes at once (default: one a core)"
    )
    command.add_argument(
        "--dask", metavar="ADDRESS", help="run on this Dask cluster instead, tcp://host:port"
    )


def _overrides(arguments: argparse.Namespace) -> Overrides:
    return dict(parse_override(text) for text in arguments.set)


def _scenario(path: Path, overrides: Overrides) -> "Scenario":
    from syncsim.scenario_file import read_scenario

    try:
        return read_scenario(path, overrides)
    except ConfigError as error:
        if not overrides:
            raise
        keys = ", ".join(path_text(key) for key in overrides)
        raise ConfigError(f"{error}\n(read with --set of {keys})") from error


def _executed(
    cells: "Sequence[Cell]", arguments: argparse.Namespace
) -> "tuple[list[Done], list[Failed]]":
    """All cells, in their own order, and those that could not be run."""
    from syncsim.cells import Done, Failed, execute, failures_text

    order = {id(cell): place for place, cell in enumerate(cells)}
    runs: list[Done] = []
    failed: list[Failed] = []
    with Progress() as progress:
        for ended in execute(
            cells, arguments.out, jobs=arguments.jobs, dask=arguments.dask, progress=progress
        ):
            if isinstance(ended, Failed):
                failed.append(ended)
            else:
                runs.append(ended)
    runs.sort(key=lambda run: order[id(run.cell)])
    notice(failures_text(failed))
    return runs, failed


def _write_many(folder: Path, runs: "Sequence[Done]", name: str) -> None:
    from syncsim.report import plots
    from syncsim.run_folder import lacks
    from syncsim.sweep import plot_sweep, write_sweep

    folder.mkdir(parents=True, exist_ok=True)
    if not write_sweep(folder, runs, name):
        notice(lacks("pyarrow", "tables", "Parquet"))
    if plots.installed():
        plot_sweep(folder, runs)
    else:
        notice(lacks("matplotlib", "plots", "PNG and SVG"))


def _print_many(
    runs: "Sequence[Done]", arguments: argparse.Namespace, *, differences: bool
) -> None:
    from syncsim.estimates import NOTE, differences_text, plain_summary, summary_text
    from syncsim.run_folder import json_text

    if getattr(arguments, "json", False):
        sys.stdout.write(json_text(plain_summary(runs)))
        return
    result(summary_text(runs))
    if differences and (text := differences_text(runs)):
        result()
        result("against the first, seed by seed (* where the interval leaves out no difference):")
        result(text)
    result()
    result(NOTE)


def _status_of_many(runs: "Sequence[Done]", failed: "Sequence[Failed]") -> int:
    done = not failed and all(
        run.results["converged_ms"] is not None
        and all(verdict == "held" for verdict in run.results["verdicts"].values())
        for run in runs
    )
    return EXIT_DONE if done else EXIT_NOT_DONE


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number; write, say, 7")
    return int(text)


def _count(text: str) -> int:
    count = _whole(text)
    if not 1 <= count <= 1_000:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 1000")
    return count


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _moment_ms(text: str) -> int:
    from syncsim.report.text import parse_moment_ms

    moment_ms = parse_moment_ms(text)
    if moment_ms is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; write, say, 90s, 4h or 3d4h")
    return moment_ms
