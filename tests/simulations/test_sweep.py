"""Sweeps: every combination, on all cores or a cluster, resumable; what their means are worth."""

import contextlib
import csv
import json
import math
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from handmade_runs import CODE, MINI, handmade, made_cell, stand_in, tree_scenario
from hypothesis import given
from hypothesis import strategies as st
from processes import INTERRUPTED

import syncsim
from syncproto.errors import ConfigError
from syncsim import cells as cells_module
from syncsim import intervals, versions
from syncsim.__main__ import main
from syncsim.cells import Cell, Done, Failed, execute, failures_text, parse_seeds
from syncsim.estimates import METRICS, runs_table, summary_table
from syncsim.overrides import applied, parse_override, parse_variation
from syncsim.sweep import sweep_cells

TREE = tree_scenario(3)


@pytest.fixture
def same_sources(monkeypatch):
    """What `made_cell` says of the sources holds here, too."""
    monkeypatch.setattr(versions, "code_digest", lambda: CODE)


def some_cells(count: int = 4) -> list[Cell]:
    return [Cell({"gossip.every": "1m"}, TREE, seed) for seed in range(1, count + 1)]


def seeds_of(ended: list) -> list[int]:
    return sorted(done.cell.seed for done in ended if isinstance(done, Done))


def dies(cell: Cell) -> dict:
    os._exit(9)


def breaks_on_two(cell: Cell) -> dict:
    if cell.seed == 2:
        raise ZeroDivisionError("a world without sites")
    return made_cell(cell)


# Keys and values


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("gossip.every=1m,15m", ("gossip", "every"), ("1m", "15m")),
        ("links.vsat.loss=0,0.05", ("links", "vsat", "loss"), (0, 0.05)),
        ("gossip.push=true,false", ("gossip", "push"), (True, False)),
        ('sites."a.b".every=1m', ("sites", "a.b", "every"), ("1m",)),
        ('measure.checkers=["state","log"],[]', ("measure", "checkers"), (["state", "log"], [])),
        ('title="one, two",three', ("title",), ("one, two", "three")),
        ("patterns.0.count=3", ("patterns", "0", "count"), (3,)),
    ],
)
def test_keys_and_values_are_read(text, path, values):
    assert parse_variation(text) == (path, values)


@pytest.mark.parametrize(
    "text", ["gossip.every", "=1m", "gossip.every=", "gossip every=1m", ".a=1"]
)
def test_what_is_no_key_and_value_is_refused(text):
    for parse in (parse_override, parse_variation):
        with pytest.raises(ConfigError, match="write a key and what it is to be"):
            parse(text)


def test_one_value_twice_is_refused():
    with pytest.raises(ConfigError, match="stands there twice"):
        parse_variation("gossip.every=1m,1m")


def test_values_are_put_into_a_copy_and_missing_tables_are_made():
    values = {"patterns": [{"count": 3}], "gossip": {"push": False}}
    before = json.dumps(values)
    changed = applied(
        values,
        {("patterns", "0", "count"): 9, ("gossip", "every"): "5m", ("time", "quiet"): "2h"},
        file="a.toml",
    )
    assert changed == {
        "patterns": [{"count": 9}],
        "gossip": {"push": False, "every": "5m"},
        "time": {"quiet": "2h"},
    }
    assert json.dumps(values) == before


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1-4", (1, 2, 3, 4)), ("3", (3,)), ("7,1-2,2", (1, 2, 7)), ("0-0", (0,))],
)
def test_seeds_are_read(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "4-1", "a-b", "1-", "-3", "1,,2", "1-99999999"])
def test_senseless_seeds_are_refused(text):
    with pytest.raises(ConfigError):
        parse_seeds(text)


# Cells


def test_every_combination_gets_every_seed(tmp_path):
    path = tmp_path / "mini.toml"
    path.write_text(MINI)
    cells = sweep_cells(
        path,
        {("gossip", "every"): ("1m", "15m"), ("links", "line", "loss"): (0, 0.5)},
        (1, 2, 3),
        fixed={("time", "quiet"): "2h"},
    )
    assert len(cells) == 12
    assert len({cell.name for cell in cells}) == 12
    assert {
        (cell.scenario.gossip.every_ms, cell.scenario.link_classes["line"].loss, cell.seed)
        for cell in cells
    } == {
        (every, loss, seed)
        for every in (60_000, 900_000)
        for loss in (0, 0.5)
        for seed in (1, 2, 3)
    }
    assert {cell.scenario.quiet_ms for cell in cells} == {7_200_000}
    assert cells[4].label == {"gossip.every": "1m", "links.line.loss": "0.5"}


def test_a_combination_that_breaks_the_file_is_named_before_anything_runs(tmp_path):
    path = tmp_path / "mini.toml"
    path.write_text(MINI)
    with pytest.raises(ConfigError, match=r"mini.toml:\d+: links.line.loss: "):
        sweep_cells(path, {("links", "line", "loss"): (0, 7)}, (1,), fixed={})


def test_processes_come_to_what_one_process_comes_to(tmp_path, same_sources):
    alone = {
        done.cell.seed: done.results for done in execute(some_cells(), None, jobs=1, work=made_cell)
    }
    spread = {
        done.cell.seed: done.results for done in execute(some_cells(), None, jobs=2, work=made_cell)
    }
    assert spread == alone
    assert set(alone) == {1, 2, 3, 4}
    assert alone[1] != alone[2]


def test_what_is_there_already_is_not_run_again(tmp_path, same_sources):
    ran = []

    def work(cell):
        ran.append(cell.seed)
        return made_cell(cell)

    first = list(execute(some_cells(2), tmp_path, jobs=1, work=work))
    second = list(execute(some_cells(4), tmp_path, jobs=1, work=work))
    assert ran == [1, 2, 3, 4]
    assert seeds_of(first) == [1, 2]
    assert seeds_of(second) == [1, 2, 3, 4]
    assert [dict(done.results) for done in second[:2]] == [dict(done.results) for done in first]


@pytest.mark.parametrize("what", ["scenario", "version", "code"])
def test_results_of_another_scenario_or_version_are_never_mixed_in(
    tmp_path, monkeypatch, what, same_sources
):
    list(execute(some_cells(1), tmp_path, jobs=1, work=made_cell))
    cells = some_cells(1)
    if what == "scenario":
        cells = [replace(cells[0], scenario=replace(TREE, faults_ms=TREE.faults_ms + 1))]
    elif what == "version":
        monkeypatch.setattr(versions, "version", lambda: "9.9")
    else:
        monkeypatch.setattr(versions, "code_digest", lambda: "0" * 16)
    with pytest.raises(ConfigError, match=rf"was made otherwise \({what} was"):
        list(execute(cells, tmp_path, jobs=1, work=made_cell))


def test_a_comment_in_the_file_makes_no_other_scenario(tmp_path, same_sources):
    list(execute(some_cells(1), tmp_path, jobs=1, work=made_cell))
    (cell,) = some_cells(1)
    commented = replace(cell, scenario=replace(TREE, text="# a comment"))
    ended = list(execute([commented], tmp_path, jobs=1, work=lambda _: pytest.fail("it ran")))
    assert seeds_of(ended) == [1]


def test_one_run_that_breaks_does_not_cost_the_others(tmp_path, same_sources):
    ended = list(execute(some_cells(3), tmp_path, jobs=2, work=breaks_on_two))
    assert seeds_of(ended) == [1, 3]
    (failed,) = [done for done in ended if isinstance(done, Failed)]
    assert (failed.cell.seed, failed.reason) == (2, "ZeroDivisionError: a world without sites")
    assert len(list((tmp_path / "cells").iterdir())) == 2


def test_results_of_a_worker_with_other_sources_are_not_kept(tmp_path, same_sources):
    def work(cell):
        made = made_cell(cell)
        return {**made, "cell": {**made["cell"], "code": "f" * 16}}

    (failed,) = execute(some_cells(1), tmp_path, jobs=1, work=work)
    assert isinstance(failed, Failed)
    assert "run by another version of syncsim (code was ffff" in failed.reason
    assert not (tmp_path / "cells").exists()


def test_many_runs_that_break_are_not_all_listed():
    lines = failures_text([Failed(cell, "it broke") for cell in some_cells(12)]).splitlines()
    assert lines[0] == "not run: gossip.every=1m seed 1: it broke"
    assert lines[10:] == ["and 2 more runs were not made"]


def test_a_process_that_dies_is_said_with_a_remedy(tmp_path):
    with pytest.raises(Exception, match="fewer --jobs"):
        list(execute(some_cells(2), tmp_path, jobs=2, work=dies))


# The command


def test_a_sweep_of_the_simulator_ends_in_tables_and_goes_on_where_it_stopped(tmp_path, capsys):
    path = tmp_path / "mini.toml"
    path.write_text(MINI)
    arguments = ["sweep", str(path), "--vary", "gossip.every=1m,5m", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--seeds", "1-2", "--jobs", "2"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"(?m)^gossip.every +seeds +converged +time to converge", out)
    assert re.search(r"(?m)^5m +2 +100 % \[34, 100\]", out)
    assert "Student's t for means, Wilson for shares" in out
    times = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out" / "cells").iterdir()}
    assert len(times) == 4
    assert main([*arguments, "--seeds", "1-3", "--jobs", "1"]) == 0
    later = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out" / "cells").iterdir()}
    assert len(later) == 6
    assert times.items() <= later.items()
    with (tmp_path / "out" / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["gossip.every"], row["seed"]) for row in rows] == [
        (every, seed) for every in ("1m", "5m") for seed in ("1", "2", "3")
    ]
    with (tmp_path / "out" / "summary.csv").open() as file:
        summary = list(csv.DictReader(file))
    for row in summary:
        values = [float(run["bytes"]) for run in rows if run["gossip.every"] == row["gossip.every"]]
        assert float(row["bytes"]) == pytest.approx(statistics.mean(values))
        half = 4.3027 * statistics.stdev(values) / math.sqrt(3)
        assert float(row["bytes_high"]) == pytest.approx(statistics.mean(values) + half)


def test_a_sweep_in_which_a_run_diverged_is_not_done(tmp_path, monkeypatch, capsys):
    def run(scenario, seed=1, **options):
        finished = stand_in(scenario, seed, **options)
        if seed == 2:
            finished.results = handmade(scenario, seed, converged_ms=None)
        return finished

    monkeypatch.setattr(syncsim, "run", run)
    path = tmp_path / "mini.toml"
    path.write_text(MINI)
    arguments = ["sweep", str(path), "--jobs", "1", "--out", str(tmp_path / "out"), "--seeds"]
    assert main([*arguments, "1"]) == 0
    assert main([*arguments, "1-4"]) == 1
    assert "75 % [30, 95]" in capsys.readouterr().out


def test_an_interrupted_sweep_ends_its_processes_at_once(tmp_path):
    path = tmp_path / "mini.toml"
    path.write_text(MINI.replace('faults = "1h"', 'faults = "400d"'))
    command = ["sweep", str(path), "--seeds", "1-9", "--jobs", "2", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "syncsim", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that nothing is left of it if this test fails
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        ends_s = time.monotonic() + 30
        while len(children.read_text().split()) < 3:  # two that run, and one that tidies up
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < ends_s, "it did not begin"
            time.sleep(0.02)
        time.sleep(1)
        began_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)  # which waits for all that hold its pipes
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode in INTERRUPTED
    assert "a sweep goes on where it stopped" in err
    assert "Traceback" not in err
    assert time.monotonic() - began_s < 10


def test_a_file_of_results_is_whole_or_not_there(tmp_path, monkeypatch, same_sources):
    def broken(path, target):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", broken)
        with pytest.raises(OSError, match="No space"):
            list(execute(some_cells(1), tmp_path, jobs=1, work=made_cell))
    assert list((tmp_path / "cells").glob("*.json")) == []
    assert seeds_of(list(execute(some_cells(1), tmp_path, jobs=1, work=made_cell))) == [1]


# A cluster


def test_a_dask_cluster_comes_to_the_same_results(tmp_path):
    pytest.importorskip("distributed", reason="distributed is not installed: syncnode[cluster]")
    path = tmp_path / "mini.toml"
    path.write_text(MINI)
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        assert address.startswith("tcp://127.0.0.1:")
        command = ["sweep", str(path), "--vary", "gossip.every=1m,5m", "--seeds", "1-2"]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "syncsim", *command),
                *("--dask", address, "--out", str(tmp_path / "dask")),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    finally:
        cluster.communicate("\n", timeout=30)
    assert main([*command, "--jobs", "1", "--out", str(tmp_path / "here")]) == 0
    for file in (tmp_path / "here" / "cells").iterdir():
        there = json.loads((tmp_path / "dask" / "cells" / file.name).read_text())
        assert there["results"] == json.loads(file.read_text())["results"]
    assert len(list((tmp_path / "dask" / "cells").iterdir())) == 4


CLUSTER = """
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False,
        host="127.0.0.1", protocol="tcp", dashboard_address=None,
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        input()
"""


def test_dask_is_asked_for_by_name_where_it_is_not_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cells_module, "find_spec", lambda _: None)
    path = tmp_path / "mini.toml"
    path.write_text(MINI)
    arguments = ["sweep", str(path), "--out", str(tmp_path / "out"), "--dask", "tcp://127.0.0.1:1"]
    assert main(arguments) == 1
    assert "pip install 'syncnode[cluster]'" in capsys.readouterr().err


# Estimates


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [
        *((1, 12.7062), (2, 4.3027), (9, 2.2622), (19, 2.0930), (30, 2.0423)),
        *((40, 2.0211), (60, 2.0003), (120, 1.9799)),
    ],
)
def test_quantiles_of_students_t_are_those_of_the_tables(freedom, quantile):
    assert intervals.t_quantile(freedom) == pytest.approx(quantile, abs=1e-4)


def test_the_interval_of_a_mean_is_students():
    # Fisher's sleep data (Student 1908): ten differences, mean 1.58, 0.70 to 2.46.
    differences = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    found = intervals.mean(differences)
    assert (found.count, round(found.middle, 2)) == (10, 1.58)
    assert (round(found.low, 2), round(found.high, 2)) == (0.70, 2.46)
    assert intervals.mean([5.0]) == intervals.Interval(1, 5.0, None, None)
    assert intervals.mean([]) == intervals.Interval(0, None, None, None)


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (15, 20, 0.5313, 0.8881),
    ],
)
def test_the_interval_of_a_share_is_wilsons(successes, count, low, high):
    found = intervals.share(successes, count)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@given(st.integers(1, 200).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_a_share_lies_in_its_interval_and_the_interval_in_the_range(pair):
    found = intervals.share(*pair)
    assert 0 <= found.low <= found.middle <= found.high <= 1


def test_time_to_converge_is_that_of_the_runs_that_did():
    results = [handmade(TREE, seed).plain() for seed in (1, 2, 3)]
    results[1]["converged_ms"] = None
    runs = [Done(cell, values) for cell, values in zip(some_cells(3), results, strict=True)]
    table = summary_table(runs)
    assert table["converged"] == [pytest.approx(2 / 3)]
    assert table["converged_ms"] == [(results[0]["converged_ms"] + results[2]["converged_ms"]) / 2]
    assert runs_table(runs)["converged_ms"][1] is None


def test_what_nobody_checked_did_not_hold():
    checked = {**handmade(TREE, 1).plain(), "verdicts": {"state": "held", "log": "broken"}}
    unchecked = {**handmade(TREE, 2).plain(), "verdicts": {}}
    runs = [
        Done(cell, values) for cell, values in zip(some_cells(2), (checked, unchecked), strict=True)
    ]
    assert runs_table(runs)["checks_held"] == [0, None]
    assert summary_table(runs)["checks_held"] == [0.0]
    assert summary_table(runs[1:])["checks_held"] == [None]


def test_every_metric_is_found_in_the_results():
    results = handmade(TREE).plain()
    assert {metric.name: metric.of(results) is not None for metric in METRICS} == {
        metric.name: True for metric in METRICS
    }
    staleness = [metric.of(results) for metric in METRICS if metric.name.startswith("staleness")]
    assert staleness == list(results["staleness_ms"])
