"""The commands: usage, exit statuses, what is printed and written; real runs in processes."""

import gzip
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from handmade_runs import MINI, handmade, stand_in
from processes import INTERRUPTED

import syncsim
from syncproto.errors import SyncError
from syncsim.__main__ import _parser, main
from syncsim.progress import Progress
from syncsim.report import plots, tables
from syncsim.versions import version

WRITTEN = {
    *("run.json", "results.json", "trace.txt.gz", "report.html"),
    *("series.csv", "sites.csv", "links.csv", "ages.csv", "behind.csv"),
}


@pytest.fixture
def mini(tmp_path) -> Path:
    path = tmp_path / "mini.toml"
    path.write_text(MINI)
    return path


@pytest.fixture
def faked(monkeypatch):
    """Results that no simulator made, and no plots, which take long."""
    monkeypatch.setattr(syncsim, "run", stand_in)
    monkeypatch.setattr(plots, "find_spec", lambda _: None)


def syncsim_process(*arguments: object, hash_seed: int = 0, cwd: Path | None = None):
    return subprocess.run(
        [sys.executable, "-m", "syncsim", *map(str, arguments)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


def files_of(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


# Real runs, in processes of their own


def test_json_is_a_pure_function_of_file_seed_and_version(mini, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "other-name.toml"
    elsewhere.parent.mkdir()
    elsewhere.write_text(MINI)
    one = syncsim_process("run", mini, "--seed", 3, "--json", hash_seed=1)
    other = syncsim_process(
        "run", elsewhere.name, "--seed", 3, "--json", hash_seed=2, cwd=elsewhere.parent
    )
    assert (one.returncode, one.stderr) == (0, "")
    assert one.stdout == other.stdout
    assert str(tmp_path) not in one.stdout
    results = json.loads(one.stdout)
    assert list(results) == sorted(results)
    assert (results["seed"], results["version"], results["title"]) == (
        3,
        version(),
        "Three clinics",
    )
    assert results["faults"]["partition"] > 0
    assert syncsim_process("run", mini, "--seed", 4, "--json").stdout != one.stdout


def test_the_folder_of_a_run_has_the_same_bytes_whoever_makes_it(mini, tmp_path):
    for hash_seed, name in ((1, "one"), (2, "other")):
        done = syncsim_process("run", mini, "--out", tmp_path / name, hash_seed=hash_seed)
        assert done.returncode == 0, done.stderr
    written, other = files_of(tmp_path / "one"), files_of(tmp_path / "other")
    assert set(written) >= WRITTEN
    # The digest of the sources in it changes when somebody edits them between the two runs.
    del written["run.json"], other["run.json"]
    assert written == other
    records = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("one", "other")]
    assert {**records[0], "code": ""} == {**records[1], "code": ""}
    trace = gzip.decompress((tmp_path / "one" / "trace.txt.gz").read_bytes())
    results = json.loads((tmp_path / "one" / "results.json").read_text())
    assert hashlib.sha256(trace).hexdigest() == results["trace"]
    assert str(tmp_path) not in (tmp_path / "one" / "run.json").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_cleanly_and_leaves_nothing(mini, tmp_path, number):
    mini.write_text(MINI.replace('faults = "1h"', 'faults = "400d"'))
    process = subprocess.Popen(
        [sys.executable, "-m", "syncsim", "run", str(mini), "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        ends_s = time.monotonic() + 60
        # It has begun when the folder for its files is there.
        while not list(tmp_path.glob(".out.*/made/trace.txt.gz")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < ends_s, "it did not begin"
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode in INTERRUPTED
    assert stdout == ""
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == [mini]


# What is said, and with which status


def test_a_run_is_summed_up_on_one_screen(mini, faked, capsys):
    assert main(["run", str(mini), "--seed", "7"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith(
        "Three clinics\n4 sites, 3 links; 1h of writes and faults, then at most 1h"
    )
    for words in ("seed 7", "converged", "partitions", "lost updates  0", "state: held"):
        assert words in out
    assert len(out.splitlines()) < 40


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"converged_ms": None}, "did NOT converge"),
        (
            {"verdicts": {"state": "held", "log": "two changes have one name"}},
            "1 of 2 checks FAILED",
        ),
    ],
)
def test_a_run_that_diverged_or_broke_a_property_is_not_done(
    mini, monkeypatch, capsys, changes, words
):
    def run(scenario, seed=1, **options):
        finished = stand_in(scenario, seed, **options)
        finished.results = handmade(scenario, seed, **changes)
        return finished

    monkeypatch.setattr(syncsim, "run", run)
    assert main(["run", str(mini)]) == 1
    assert words in capsys.readouterr().out


def test_a_fault_in_the_file_is_wrong_usage_and_named_with_its_line(mini, capsys):
    mini.write_text(MINI.replace('every = "1m"', 'every = "soon"'))
    assert main(["run", str(mini)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    line = MINI.splitlines().index('every = "1m"') + 1
    assert f"{mini}:{line}: gossip.every: " in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "gossip.every=soon"], "gossip.every: "),
        (["--set", "gossip.pace=1m"], "gossip.pace: is no key here"),
        (["--set", "gossip"], "write a key and what it is to be"),
        (["--set", "patterns.3.count=1"], "is a list of 1, counted from 0; 3 names none"),
        (["--set", "title.more=1"], "title is a value, not a table"),
        (["--seed", "-1"], "'-1' is no whole number"),
        (["--level", "cities"], "invalid choice"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(
    mini, monkeypatch, capsys, arguments, words
):
    monkeypatch.setattr(syncsim, "run", lambda *_, **__: pytest.fail("it ran"))
    try:
        status = main(["run", str(mini), *arguments])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert words in capsys.readouterr().err


def test_set_puts_values_into_the_file_as_it_is_read(mini, faked, tmp_path, monkeypatch):
    seen = []

    def run(scenario, seed=1, **options):
        seen.append(scenario)
        return stand_in(scenario, seed, **options)

    monkeypatch.setattr(syncsim, "run", run)
    changes = ["gossip.every=15m", "links.line.loss=0.25", "patterns.0.count=5", "scale=0.5"]
    arguments = [part for change in changes for part in ("--set", change)]
    assert main(["run", str(mini), "--out", str(tmp_path / "out"), *arguments]) == 0
    (scenario,) = seen
    assert scenario.gossip.every_ms == 15 * 60_000
    assert scenario.link_classes["line"].loss == 0.25
    assert len(scenario.sites) == 6
    assert scenario.scale == 0.5
    kept = json.loads((tmp_path / "out" / "run.json").read_text())
    assert kept["overrides"] == {
        "gossip.every": "15m",
        "links.line.loss": 0.25,
        "patterns.0.count": 5,
        "scale": 0.5,
    }


def test_scaled_bytes_are_said_to_be_scaled(mini, faked, capsys):
    main(["run", str(mini), "--set", "scale=0.01"])
    assert "multiplied by 1/scale = 100" in capsys.readouterr().out
    main(["run", str(mini)])
    assert "scale" not in capsys.readouterr().out


# Folders


def test_another_runs_folder_is_replaced_only_by_force(mini, faked, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", str(mini), "--seed", "1", "--out", str(out)]) == 0
    before = files_of(out)
    assert main(["run", str(mini), "--seed", "2", "--out", str(out)]) == 2
    assert "holds another run" in capsys.readouterr().err
    assert files_of(out) == before
    assert main(["run", str(mini), "--seed", "2", "--out", str(out), "--force"]) == 0
    assert json.loads((out / "run.json").read_text())["seed"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mini.toml", "out"]


def test_a_folder_that_holds_no_run_is_never_touched(mini, faked, tmp_path, capsys):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.tex").write_text("years of work")
    assert main(["run", str(mini), "--out", str(home), "--force"]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert (home / "thesis.tex").read_text() == "years of work"


def test_a_run_that_breaks_leaves_neither_folder_nor_pieces(mini, tmp_path, monkeypatch, capsys):
    def run(scenario, seed=1, *, trace=None, **options):
        trace.write("0 a line\n")
        raise SyncError("the simulated world broke")

    monkeypatch.setattr(syncsim, "run", run)
    assert main(["run", str(mini), "--out", str(tmp_path / "out")]) == 1
    assert "the simulated world broke" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [mini]


def test_the_trace_can_be_left_out(mini, faked, tmp_path):
    assert main(["run", str(mini), "--out", str(tmp_path / "out"), "--no-trace"]) == 0
    assert set(files_of(tmp_path / "out")) >= WRITTEN - {"trace.txt.gz"}
    assert not (tmp_path / "out" / "trace.txt.gz").exists()


def test_what_is_left_out_for_want_of_a_package_is_said(mini, faked, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables, "find_spec", lambda _: None)
    assert main(["run", str(mini), "--out", str(tmp_path / "out")]) == 0
    err = capsys.readouterr().err
    assert "Parquet: left out, pyarrow is not installed" in err
    assert "PNG and SVG: left out, matplotlib is not installed" in err
    assert set(files_of(tmp_path / "out")) == WRITTEN


def test_a_fault_of_our_own_is_a_sentence_not_a_traceback(mini, monkeypatch, capsys):
    def run(*arguments, **options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(syncsim, "run", run)
    monkeypatch.delenv("SYNCSIM_DEBUG", raising=False)
    assert main(["run", str(mini)]) == 1
    assert "stopped by a fault of its own (ZeroDivisionError" in capsys.readouterr().err


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"syncsim {version()} (sources ")
    assert main([]) == 2
    assert "COMMAND" in capsys.readouterr().err
    for command in ("run", "sweep", "compare", "replay"):
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
        assert "usage: syncsim " in capsys.readouterr().out


# Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_shown_of_short_work():
    now_s, stream = [0.0], Terminal()
    with Progress(stream, lambda: now_s[0]) as progress:
        for _ in range(19):
            now_s[0] += 0.1
            progress.of_run(1, 2)
    assert stream.getvalue() == ""


def test_a_terminal_has_a_bar_that_goes_away():
    now_s, stream = [0.0], Terminal()
    with Progress(stream, lambda: now_s[0]) as progress:
        now_s[0] = 3.0
        progress.of_run(6 * 3_600_000, 24 * 3_600_000)
    drawn = stream.getvalue()
    assert f"[{'#' * 8}{'-' * 22}]  25 %  6h of 1d simulated, about 9s left" in drawn
    assert drawn.endswith("\r\x1b[K")


def test_a_pipe_gets_a_line_every_ten_seconds():
    now_s, stream = [0.0], io.StringIO()
    with Progress(stream, lambda: now_s[0]) as progress:
        for _ in range(350):
            now_s[0] += 0.1
            progress(now_s[0], 70, "runs")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 4  # after 2, 12, 22 and 32 seconds
    assert lines[0].startswith("syncsim:   3 %  runs, about ")


# The documentation


README = Path(syncsim.__file__).parents[1] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_every_command_of_the_readme_is_one(monkeypatch):
    monkeypatch.chdir(README.parents[1])
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [line.split()[1:] for line in lines if line.startswith("syncsim ")]
    assert {command[0] for command in commands} == {"run", "sweep", "compare", "replay"}
    for command in commands:
        parsed = _parser().parse_args(command)
        for path in [getattr(parsed, "file", None), *getattr(parsed, "files", ())]:
            assert path is None or path.is_file(), command


def test_the_program_of_the_readme_runs(mini, capsys):
    (program,) = blocks("python")
    ready = "simulations/scenarios/small-clinics.toml"
    assert (README.parents[1] / ready).is_file()
    program = program.replace(ready, str(mini))  # a smaller one
    exec(compile(program, str(README), "exec"), {})
    printed = capsys.readouterr().out
    paces = re.findall(r"(?m)^ *(\d+) min  p90 +([\d.]+) min  ([\d.]+) MB$", printed)
    assert [int(pace) for pace, _, _ in paces] == [1, 5, 15]
    # The slower, the staler and the cheaper.
    assert float(paces[0][1]) < float(paces[2][1])
    assert float(paces[0][2]) > float(paces[2][2])


def test_every_ready_scenario_is_in_the_readme_and_is_sound():
    folder = README.parent / "scenarios"
    names = {path.name for path in folder.glob("*.toml")}
    assert len(names) >= 10
    assert names == set(re.findall(r"(?m)^\| `([a-z-]+\.toml)` \|", README.read_text()))
    for name in sorted(names):
        assert syncsim.Scenario.load(folder / name).story, name
