"""The page of node/README.md on a network of three levels, its file and commands as they stand."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from processes import eventually
from wire import free_port

PAGE = Path(__file__).parents[2] / "node/README.md"
SITES = ("kigali", "butaro", "cyanika", "rutare")
TABLES = ("patient", "visit_log", "formulary", "archive")
END_S_MAX = 240  # a machine under load may be slow


def test_the_page_leads_from_a_file_to_three_levels_and_a_site_by_key(tmp_path):
    text = PAGE.read_text()
    topology = _block(text, "<!-- file: topology.toml -->\n```toml\n")
    commands = _block(text, "<!-- commands: three levels -->\n```sh\n")
    ports = {"8470": str(free_port()), "8471": str(free_port())}
    topology, commands = (
        re.sub(r"\b(8470|8471)\b", lambda found: ports[found[0]], one)
        for one in (topology, commands)
    )
    # Whatever the time of day: the windows are tried elsewhere.
    topology = re.sub(r"(?m)^open = .*$", 'open = ["00:00-24:00"]', topology)
    (tmp_path / "topology.toml").write_text(topology)
    (tmp_path / "usb").mkdir()
    connections = {name: _database(tmp_path, name) for name in SITES}
    log = tmp_path / "log"
    with log.open("w") as out:
        typed = subprocess.Popen(
            ["bash", "-euc", commands],
            cwd=tmp_path,
            env=_environment(),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        assert typed.wait(END_S_MAX) == 0, log.read_text()[-4_000:]

        def notes(table: str) -> dict[str, set[str]]:
            return {
                name: {note for (note,) in one.execute(f"SELECT note FROM {table}")}
                for name, one in connections.items()
            }

        below = {"butaro", "cyanika", "rutare"}
        # Rutare has what was at Butaro when the key left; what came since is for the next key.
        eventually(lambda: notes("patient")["kigali"] == {"kigali"} | below)
        eventually(lambda: notes("patient")["cyanika"] == {"kigali"} | below)
        assert notes("patient")["rutare"] == {"kigali"} | below
        assert notes("visit_log") == {
            "kigali": {"kigali"} | below,
            "butaro": below,
            "cyanika": {"cyanika"},
            "rutare": {"rutare"},
        }
        assert notes("archive") == {
            "kigali": {"kigali", "butaro"},
            "butaro": {"kigali", "butaro"},
            "cyanika": {"cyanika"},
            "rutare": {"rutare"},
        }
        formulary = notes("formulary")
        assert formulary["kigali"] == {"kigali"}
        assert {name: "kigali" in found for name, found in formulary.items()} == dict.fromkeys(
            SITES, True
        )
    finally:
        os.killpg(typed.pid, signal.SIGTERM)  # the `serve` that the shell has left behind
        eventually(lambda: not _alive(typed.pid), within_s=60)
        for connection in connections.values():
            connection.close()


def _block(text: str, begins: str) -> str:
    _, found, rest = text.partition(begins)
    assert found, f"the page has no {begins!r}"
    return rest.partition("```")[0]


def _database(folder: Path, name: str) -> sqlite3.Connection:
    """One row in each table, by the site's own name."""
    connection = sqlite3.connect(folder / f"{name}.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    for number, table in enumerate(TABLES):
        connection.execute(
            f"CREATE TABLE {table} "
            "(id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, note TEXT)"
        )
        uuid = f"{SITES.index(name):08d}-{number:04d}-4000-8000-000000000000"
        connection.execute(f"INSERT INTO {table} (uuid, note) VALUES (?, ?)", (uuid, name))
    return connection


def _environment() -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SYNCNODE_")}
    return {**kept, "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])}


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
