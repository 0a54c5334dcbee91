"""`syncnode demo`, as a user runs it first: it ends by itself and tells what the files hold."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from processes import END_S_MAX, INTERRUPTED, eventually

from syncnode.operations.demo import _as_typed

SITES = ("hospital", "butaro", "rwinkwavu")
DEMO_S_MAX = 90.0  # usually seven; a machine under load may be slow


def demo(folder, **options):
    environment = {"SYNCNODE_CONFIG": "elsewhere.toml", "SYNCNODE_DATABASE": "sqlite:///no.db"}
    return subprocess.Popen(
        [sys.executable, "-m", "syncnode", "demo"],
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_what_to_try_next_is_typed_as_the_demo_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = tmp_path / ".venv" / "bin" / "syncnode"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert _as_typed() == ".venv/bin/syncnode"
    monkeypatch.setenv("PATH", str(program.parent))
    assert _as_typed() == "syncnode"
    monkeypatch.setattr(sys, "argv", ["/usr/lib/syncnode/__main__.py"])
    assert _as_typed() == "syncnode"


def serving(folder):
    """Process ids of the daemons whose databases lie below the folder."""
    return [
        int(path.read_text())
        for path in folder.rglob("*-syncnode.lock")
        if path.exists() and path.read_text().strip()
    ]


def asked(folder, site, command):
    done = subprocess.run(
        [sys.executable, "-m", "syncnode", command, "--json"],
        env={**os.environ, "SYNCNODE_CONFIG": str(folder / site / "syncnode.toml")},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def rows(folder, site, sql):
    with closing(sqlite3.connect(folder / site / f"{site}.db")) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A folder in which the demo ran, and what it said."""
    folder = tmp_path_factory.mktemp("demo")
    with demo(folder) as process:
        out, err = process.communicate(timeout=DEMO_S_MAX)
    assert process.returncode == 0, out + err
    return folder / "syncnode-demo-1", out, err


def test_all_sites_hold_the_same_people_visits_and_observations(ran):
    folder, out, _ = ran
    people, observations = [], []
    for site in SITES:
        people.append(
            rows(folder, site, "SELECT uuid, name, village, phone FROM person ORDER BY 1")
        )
        observations.append(
            rows(
                folder,
                site,
                "SELECT p.uuid, e.uuid, o.uuid, o.answer FROM obs o JOIN encounter e USING "
                "(encounter_id) JOIN person p USING (person_id) ORDER BY 3",
            )
        )
        assert rows(folder, site, "PRAGMA integrity_check") == [("ok",)]
        assert rows(folder, site, "PRAGMA foreign_key_check") == []
    assert people[0] == people[1] == people[2]
    assert observations[0] == observations[1] == observations[2]
    assert len(people[0]) == len(observations[0]) == 5
    assert "All three databases hold the same rows (5 person, 5 encounter, 5 obs)" in out


def test_what_it_tells_is_what_the_files_hold(ran):
    folder, out, err = ran
    assert err == ""
    phones = dict(rows(folder, "rwinkwavu", "SELECT name, phone FROM person"))
    assert f"Grace's phone = {phones['Grace Uwase']} stands" in out
    (conflict,) = [
        found for found in asked(folder, "hospital", "conflicts") if found["column"] == "phone"
    ]
    assert conflict["kept"] == phones["Jean Bosco"]
    assert (conflict["kept_by"], conflict["lost_by"]) == ("rwinkwavu", "butaro")
    assert f"gave way to {conflict['kept']} (rwinkwavu, later) and is kept on record" in out
    assert rows(folder, "hospital", "SELECT answer FROM obs WHERE answer = '62.4'")
    assert "the delete of Claire's weight is on record and did not win" in out
    for name in ("Alice Mukamana", "Eric Habimana"):
        numbers = [
            rows(folder, site, f"SELECT person_id FROM person WHERE name = '{name}'")[0][0]
            for site in SITES
        ]
        assert len(set(numbers)) > 1, "their numbers clashed"
        said = ", ".join(
            f"number {number} at {site} (1 visit)"
            for number, site in zip(numbers, SITES, strict=True)
        )
        assert f"{name}: {said}" in out


def test_its_processes_are_gone_and_the_commands_it_names_work(ran):
    folder, out, _ = ran
    assert serving(folder) == []
    assert f"The files stay in {folder}" in out
    commands = re.findall(r"^  syncnode (\w+) --config (\S+)$", out, re.MULTILINE)
    assert [name for name, _ in commands] == ["conflicts", "log", "status", "sync"]
    for name, config in commands:
        done = subprocess.run(
            [sys.executable, "-m", "syncnode", name, "--config", config],
            cwd=folder.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        # Nobody serves at the hospital, which is what `sync` says.
        assert done.returncode == (1 if name == "sync" else 0), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_broken_off_it_ends_its_processes_and_overwrites_nothing(tmp_path, how):
    mine = tmp_path / "syncnode-demo-1"
    mine.mkdir()
    (mine / "kept").write_text("mine")
    with demo(tmp_path) as process:
        folder = tmp_path / "syncnode-demo-2"
        daemons = eventually(lambda: serving(folder), within_s=DEMO_S_MAX)
        process.send_signal(how)
        _, err = process.communicate(timeout=3 * END_S_MAX)
    assert process.returncode in (INTERRUPTED if how == signal.SIGINT else (1,))
    assert "Traceback" not in err
    assert err.startswith("syncnode: ")
    for pid in daemons:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert [path.name for path in mine.iterdir()] == ["kept"]
