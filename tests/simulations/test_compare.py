"""Comparisons: rules, strategies and scenarios side by side on the same seeds."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from handmade_runs import MINI, handmade, stand_in, tree_scenario

import syncsim
from syncproto.errors import ConfigError
from syncsim.__main__ import main
from syncsim.cells import Cell, Done
from syncsim.compare import compared_cells
from syncsim.estimates import differences_text, summary_text
from syncsim.report import plots
from syncsim.rules import RULES
from syncsim.strategies import CHOICES

TREE = tree_scenario(3)


@pytest.fixture
def mini(tmp_path) -> Path:
    path = tmp_path / "mini.toml"
    path.write_text(MINI)
    return path


def done(label: dict, seed: int, **changes: object) -> Done:
    return Done(Cell(label, TREE, seed), {**handmade(TREE, seed).plain(), **changes})


def pairs_of(cells: list[Cell]) -> list[tuple[str, str]]:
    return list(
        dict.fromkeys((cell.scenario.gossip.rule, cell.scenario.gossip.choice) for cell in cells)
    )


def test_rivals_are_every_rule_and_every_choice_with_ours_first(mini, monkeypatch):
    rules = {"rival": RULES["ours"], **RULES}
    monkeypatch.setattr("syncsim.rules.RULES", rules)
    cells = compared_cells([mini], (1, 2), rivals=True, fixed={})
    pairs = pairs_of(cells)
    assert pairs[0] == ("ours", "parent-first")
    assert {rule for rule, _ in pairs} == set(rules)
    assert {choice for _, choice in pairs} == set(CHOICES)
    assert len(pairs) == len(rules) + len(CHOICES) - 1
    assert len(cells) == 2 * len(pairs)


def test_all_variants_meet_the_same_world_on_the_same_seeds(mini):
    cells = compared_cells([mini], (1, 2, 3), rivals=True, fixed={("gossip", "every"): "5m"})
    for cell in cells:
        gossip = replace(cell.scenario.gossip, rule="ours", choice="parent-first")
        assert replace(cell.scenario, gossip=gossip) == cells[0].scenario
        assert gossip.every_ms == 300_000
    seeds = {pair: [] for pair in pairs_of(cells)}
    for cell in cells:
        seeds[cell.scenario.gossip.rule, cell.scenario.gossip.choice].append(cell.seed)
    assert set(map(tuple, seeds.values())) == {(1, 2, 3)}


def test_rules_times_choices_times_files(mini, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(MINI.replace('every = "1m"', 'every = "5m"'))
    cells = compared_cells(
        [mini, other], (1,), rules=("ours",), choices=("random", "hub-polling"), fixed={}
    )
    assert [cell.label for cell in cells] == [
        {"scenario": name, "rule": "ours", "choice": choice}
        for name in ("mini", "other")
        for choice in ("random", "hub-polling")
    ]


def test_a_run_folder_stands_for_its_scenario(mini, tmp_path, monkeypatch):
    monkeypatch.setattr(syncsim, "run", stand_in)
    monkeypatch.setattr(plots, "find_spec", lambda _: None)
    out = tmp_path / "slow"
    assert main(["run", str(mini), "--set", "gossip.every=15m", "--out", str(out)]) == 0
    cells = compared_cells([mini, out], (1,), fixed={})
    assert [cell.label["scenario"] for cell in cells] == ["mini", "slow"]
    assert [cell.scenario.gossip.every_ms for cell in cells] == [60_000, 900_000]
    with pytest.raises(ConfigError, match="which --set cannot change"):
        compared_cells([out], (1,), rivals=True, fixed={("gossip", "every"): "1m"})


def test_files_of_one_name_are_told_apart_by_their_folder(mini, tmp_path):
    twin = tmp_path / "other" / "mini.toml"
    twin.parent.mkdir()
    twin.write_text(MINI)
    cells = compared_cells([mini, twin], (1,), fixed={})
    names = [cell.label["scenario"] for cell in cells]
    assert names == [f"{tmp_path.name}/mini", "other/mini"]
    with pytest.raises(ConfigError, match="have one name, or are one"):
        compared_cells([mini, mini], (1,), fixed={})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rules", "our"], "--rules: our is unknown; did you mean ours?"),
        (["--choices", "nobody"], "--choices: nobody is unknown"),
        ([], "there is nothing to compare"),
        (["--rivals", "--seeds", "9-1"], "no range from less to more"),
    ],
)
def test_what_cannot_be_compared_is_refused(mini, monkeypatch, capsys, arguments, words):
    monkeypatch.setattr(syncsim, "run", lambda *_, **__: pytest.fail("it ran"))
    assert main(["compare", str(mini), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_one_command_prints_the_table_of_all_rivals(mini, tmp_path, capsys):
    choices = ",".join(CHOICES)
    arguments = ["compare", str(mini), "--rules", "ours", "--choices", choices, "--seeds", "1-2"]
    assert main([*arguments, "--jobs", "1", "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    first = out.splitlines()[0]
    for words in (
        "converged",
        "time to converge",
        "lost updates",
        "conflicts",
        "bytes",
        "staleness",
    ):
        assert words in first
    for choice in CHOICES:
        assert re.search(rf"(?m)^ours +{choice} +2 +\d+ % \[", out)
    assert "against the first, seed by seed" in out
    assert "Student's t for means, Wilson for shares" in out
    with (tmp_path / "out" / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(CHOICES)
    # The same writes for all of them.
    assert len({(row["seed"], row["writes"]) for row in rows}) == 2


def test_json_of_a_comparison_is_a_pure_function_of_its_arguments(mini, monkeypatch, capsys):
    monkeypatch.setattr(syncsim, "run", stand_in)
    printed = []
    for _ in range(2):
        arguments = ["--rivals", "--seeds", "1-3", "--jobs", "1", "--json"]
        main(["compare", str(mini), *arguments])
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert set(json.loads(printed[0])) == {"method", "runs", "summary"}


@pytest.mark.parametrize(("rule", "status"), [("ours", 1), ("rival", 0)])
def test_only_ours_must_converge_for_a_comparison_to_be_done(mini, monkeypatch, rule, status):
    def run(scenario, seed=1, **options):
        finished = stand_in(scenario, seed, **options)
        if scenario.gossip.rule == rule:
            finished.results = handmade(scenario, seed, converged_ms=None)
        return finished

    monkeypatch.setattr(syncsim, "run", run)
    monkeypatch.setattr("syncsim.rules.RULES", {**RULES, "rival": RULES["ours"]})
    arguments = ["--rules", "ours,rival", "--seeds", "1-2", "--jobs", "1"]
    assert main(["compare", str(mini), *arguments]) == status


def test_differences_are_paired_by_seed():
    # Between the seeds there is a thousandfold; within each, the second takes 100 bytes more.
    runs = [
        done({"rule": rule}, seed, bytes=10**seed + extra + noise)
        for rule, extra in (("first", 0), ("second", 100))
        for seed, noise in ((3, 0), (4, 1), (5, 2), (6, 3))
    ]
    line = differences_text(runs).splitlines()[1]
    assert re.search(r"second +4 .* \+100 B \*", line)
    assert "±" in summary_text(runs).splitlines()[1]


def test_a_run_that_never_converged_has_no_part_in_the_times():
    runs = [
        done({"rule": "first"}, 1, converged_ms=1_000),
        done({"rule": "first"}, 2, converged_ms=3_000),
        done({"rule": "second"}, 1, converged_ms=2_000),
        done({"rule": "second"}, 2, converged_ms=None),
    ]
    table = summary_text(runs).splitlines()
    assert re.search(r"first +2 +100 % \[34, 100\] +2s", table[1])
    assert re.search(r"second +2 +50 % \[9, 91\] +2s", table[2])
    assert re.search(r"second +2 +\+1s", differences_text(runs).splitlines()[1])
