"""Replays: a run comes out of its folder as it went in, and any moment of it can be looked at."""

import gzip
import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from handmade_runs import MINI, tree_scenario

from syncproto.errors import ConfigError
from syncsim import Scenario, run, versions
from syncsim.__main__ import main
from syncsim.plain import plain_scenario, scenario_of
from syncsim.replay import Window, links_down, replay, sample_at
from syncsim.report import plots
from syncsim.run_folder import read_record, read_results
from syncsim.scenario import (
    Gossip,
    LinkClass,
    Measure,
    Meetings,
    Misfortune,
    Profile,
    Site,
)

SEED = 5


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The folder of a real run."""
    folder = tmp_path_factory.mktemp("replay")
    (folder / "mini.toml").write_text(MINI)
    patch = pytest.MonkeyPatch()
    patch.setattr(plots, "find_spec", lambda _: None)
    arguments = ["--seed", str(SEED), "--set", "gossip.every=2m", "--out", str(folder / "out")]
    assert main(["run", str(folder / "mini.toml"), *arguments]) == 0
    patch.undo()
    (folder / "mini.toml").unlink()  # the folder stands for itself
    return folder / "out"


@pytest.fixture
def copy(made, tmp_path) -> Path:
    """A copy of it that may be damaged."""
    for file in made.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def changed(folder: Path, **values: object) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_run_is_played_again_from_its_folder_alone(made, capsys):
    assert main(["replay", str(made)]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"the same trace as then: SHA-256 {read_results(made).trace}" in err


def test_the_replay_comes_to_the_same_results(made):
    replayed = replay(made)
    assert replayed.results.plain() == read_results(made).plain()
    assert replayed.record.overrides == {"gossip.every": "2m"}
    assert replayed.results.faults["partition"] > 0


def test_another_trace_is_not_done_and_the_versions_are_named(copy, capsys):
    changed(copy, trace="0" * 64, version="0.0.1", python="2.7")
    assert main(["replay", str(copy)]) == 1
    err = capsys.readouterr().err
    assert f"the trace differs: {'0' * 64} then" in err
    assert "version 0.0.1 then" in err
    assert "Python 2.7 then" in err
    assert "sources" not in err


def test_another_trace_from_the_same_code_is_a_fault_to_report(copy, capsys):
    changed(copy, trace="0" * 64)
    assert main(["replay", str(copy)]) == 1
    assert "something here is not deterministic" in capsys.readouterr().err


def test_another_seed_is_another_trace(copy, capsys):
    changed(copy, seed=SEED + 1)
    assert main(["replay", str(copy)]) == 1
    assert "the trace differs" in capsys.readouterr().err


def test_a_moment_shows_what_sites_lacked_and_which_links_were_down(made, capsys):
    results, record = read_results(made), read_record(made)
    sample = max(range(len(results.times_ms)), key=lambda place: sum(results.behind[place]))
    at_ms = results.times_ms[sample]
    assert sum(results.behind[sample]) > 0
    assert main(["replay", str(made), "--at", f"{at_ms}ms"]) == 0
    out = capsys.readouterr().out
    lacking = {
        site.name: lacks
        for site, lacks in zip(results.sites, results.behind[sample], strict=True)
        if lacks
    }
    assert f"{len(lacking)} of 4 sites lacked writes then:" in out
    for name, lacks in lacking.items():
        assert [name, str(lacks)] in [line.split() for line in out.splitlines()]
    down = [results.links[link] for link in results.links_down[sample]]
    for link in down:
        assert f"{link.one} - {link.other}" in out
    assert ("every link worked" in out) == (not down)
    assert record.seed == SEED


def test_a_moment_between_two_samples_is_that_moment(made):
    results = read_results(made)
    sample = next(place for place, down in enumerate(results.links_down) if down)
    at_ms = results.times_ms[sample] + 7
    replayed = replay(made, at_ms=at_ms)
    assert at_ms not in results.times_ms
    assert at_ms in replayed.results.times_ms
    assert replayed.results.trace == results.trace


def test_links_that_were_down_are_found_again_for_every_sample(made):
    results, record = read_results(made), read_record(made)
    found = [links_down(record, time_ms) for time_ms in results.times_ms]
    assert found == [list(down) for down in results.links_down]
    assert any(found)


def test_a_link_is_down_from_the_first_to_the_last_millisecond_of_its_partition(made):
    partition = Misfortune("partition", at_ms=600_000, lasts_ms=300_000, sites=("clinic-1",))
    scenario = replace(read_record(made).scenario, misfortunes=(partition,))
    record = replace(read_record(made), scenario=scenario)
    moments_ms = (599_999, 600_000, 899_999, 900_000)
    assert [len(links_down(record, at_ms)) for at_ms in moments_ms] == [0, 1, 1, 0]


def test_the_trace_around_a_moment_is_that_of_the_file(made, capsys):
    lines = gzip.decompress((made / "trace.txt.gz").read_bytes()).decode().splitlines()
    place = len(lines) // 2
    from_ms, until_ms = (int(lines[at].split()[0]) for at in (place, place + 20))
    arguments = ["--at", f"{from_ms}ms", "--until", f"{until_ms}ms", "--lines", "3"]
    assert main(["replay", str(made), *arguments]) == 0
    shown = capsys.readouterr().out.splitlines()
    within = [line for line in lines if from_ms <= int(line.split()[0]) <= until_ms]
    assert len(within) >= 21
    assert [line[2:] for line in shown if line.startswith("> ")] == within
    first, last = lines.index(within[0]), lines.index(within[-1])
    around = [line.removeprefix("  ") for line in shown if line.startswith("  ")]
    assert around == lines[first - 3 : first] + lines[last + 1 : last + 4]


def test_a_moment_after_the_end_is_said_to_be_one(made, capsys):
    assert main(["replay", str(made), "--at", "30d"]) == 0
    out = capsys.readouterr().out
    assert "the run had ended by then" in out
    assert "no site lacked a write at the last sample before" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--until", "4h"], "--until needs an --at"),
        (["--at", "4h", "--until", "3h"], "--until needs an --at that is not after it"),
        (["--at", "noon"], "'noon' is no time"),
    ],
)
def test_senseless_moments_are_refused(made, capsys, arguments, words):
    try:
        status = main(["replay", str(made), *arguments])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no run"),
        ("{", "is no JSON"),
        ("[]", "holds no JSON object"),
        ("{}", "is damaged"),
        ('{"format": 99}', "is of another version"),
    ],
)
def test_a_folder_without_a_sound_run_is_refused(tmp_path, capsys, content, words):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    assert main(["replay", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


def test_a_run_of_a_version_with_other_keys_is_refused(copy, capsys):
    plain = json.loads((copy / "run.json").read_text())
    changed(copy, scenario={**plain["scenario"], "weather": "rain"})
    assert main(["replay", str(copy)]) == 2
    assert "has weather, which this version does not know" in capsys.readouterr().err


# A scenario as values


def test_every_value_of_a_scenario_survives_the_way_through_json():
    scenario = tree_scenario(
        2,
        sites=(
            Site("top", peers=("b",), every_ms=60_000, offset_ms=-5, drift_ppm=1.5),
            Site("b", "top", people="random", tables=("person", "obs")),
        ),
        links=(),
        link_classes={
            "chance": LinkClass("chance", meetings=Meetings(1_000, 10), open_ms=((0, 5), (7, 9)))
        },
        profiles={"random": Profile("random", kind="random", writes_an_hour=3.5)},
        misfortunes=(
            Misfortune("restore", at_ms=7, sites=("b",), age_ms=3, anchor=False),
            Misfortune("clock", every_ms=9, offset_ms=-4),
        ),
        gossip=Gossip(every_ms=1, choice="random", rule="other", push=True, rows_max=7),
        measure=Measure(points=9, checkers=("state",), bytes_by="model"),
        scale=0.5,
        text="title = 'x'",
    )
    again = scenario_of(json.loads(json.dumps(plain_scenario(scenario))))
    assert again == scenario
    assert again.text == scenario.text
    assert hash(again.sites) == hash(scenario.sites)  # tuples are tuples again


def test_a_scenario_from_a_file_plays_alike_after_the_way_through_json(tmp_path):
    path = tmp_path / "mini.toml"
    path.write_text(MINI)
    scenario = Scenario.load(path)
    again = scenario_of(json.loads(json.dumps(plain_scenario(scenario))))
    assert again == replace(scenario, path=None)
    assert run(again, 2).results == run(scenario, 2).results


def test_where_a_file_lay_is_not_kept(tmp_path):
    scenario = replace(tree_scenario(2), path=tmp_path / "secret" / "a.toml")
    assert "secret" not in json.dumps(plain_scenario(scenario))
    kept = {field.name for field in fields(Scenario)} - {"path"}
    assert is_dataclass(scenario)
    assert set(plain_scenario(scenario)) == kept


# Windows


def test_a_window_keeps_its_lines_and_a_few_around_however_they_are_written():
    window = Window(30, 50, around=2)
    text = "".join(f"{at_ms} a{at_ms}\n" for at_ms in range(0, 100, 10))
    for place in range(0, len(text), 7):
        window.write(text[place : place + 7])
    assert list(window.before) == ["10 a10", "20 a20"]
    assert window.within == ["30 a30", "40 a40", "50 a50"]
    assert window.after == ["60 a60", "70 a70"]


def test_samples_are_found_by_time():
    assert [sample_at((0, 10, 20), at_ms) for at_ms in (0, 9, 10, 25)] == [0, 0, 1, 2]
    assert sample_at((5,), 1) is None
    with pytest.raises(ConfigError):
        read_results(Path("/nonexistent"))


# Versions


def test_the_digest_of_the_sources_follows_what_has_a_say_in_a_run(tmp_path, monkeypatch):
    package = SimpleNamespace(__name__="syncsim", __file__=str(tmp_path / "__init__.py"))
    for name in ("syncproto", "syncnode", "syncsim"):
        monkeypatch.setattr(versions, name, package)
    (tmp_path / "report").mkdir()
    (tmp_path / "rules").mkdir()

    def digest_with(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        versions.code_digest.cache_clear()
        return versions.code_digest()

    first = digest_with("world.py", "pass")
    assert digest_with("report/page.py", "pass") == first
    assert digest_with("cli.py", "pass") == first
    second = digest_with("rules/ours.py", "pass")
    third = digest_with("world.py", "...")
    assert len({first, second, third}) == 3
    monkeypatch.undo()
    versions.code_digest.cache_clear()
