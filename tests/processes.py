"""Sites as a user has them: a database, a configuration, and commands in their own processes."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wire import free_port

START_S_MAX = 20.0  # a machine under load may be slow
END_S_MAX = 5.0  # what the issue promises for SIGTERM

# Both are 130 to a shell. `python -m` ends by the signal itself where Ctrl-C came while a library
# compiled a text (CPython: unhandled_keyboard_interrupt), whatever became of the exception since.
INTERRUPTED = (130, -signal.SIGINT)

SCHEMA = """
    PRAGMA journal_mode=WAL;
    CREATE TABLE patient (
        id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT, village TEXT
    );
    CREATE TABLE visit (
        id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,
        patient_id INTEGER REFERENCES patient (id), note TEXT
    );
"""


def eventually(ask: Callable[[], Any], *, within_s: float = 40.0) -> Any:
    """The first true answer; fails when there is none in time."""
    ends_s = time.monotonic() + within_s
    while not (found := ask()):
        assert time.monotonic() < ends_s, "it did not happen in time"
        time.sleep(0.005)
    return found


class ProcessSite:
    """One site in a folder of its own.

    Attributes:
        url: Where it listens; None for a site that only calls.
        prefix: What a command that runs elsewhere begins with, as in `namespaces.Machine.inside`.
    """

    prefix: tuple[str, ...] = ()

    def __init__(self, folder: Path, name: str, *, listens: bool = True) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.name = name
        self.database = self.folder / "site.db"
        self.config = self.folder / "syncnode.toml"
        self.listen = f"127.0.0.1:{free_port()}" if listens else None
        self.url = f"https://{self.listen}" if self.listen else None
        self.connection = sqlite3.connect(self.database, isolation_level=None)
        self.connection.executescript(SCHEMA)
        self.process: subprocess.Popen[str] | None = None

    # Commands

    def command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._program, *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            input=stdin,
            check=False,
            env=_environment(),
            timeout=120,
        )

    @property
    def _program(self) -> tuple[str, ...]:
        return (*self.prefix, sys.executable, "-m", "syncnode")

    def run(self, *arguments: str) -> str:
        """Standard output of a command that must be done."""
        done = self.command(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def init(self) -> "ProcessSite":
        listen = ["--listen", self.listen] if self.listen else []
        self.run("init", "--database", f"sqlite:///{self.database}", "--name", self.name, *listen)
        return self

    def report(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def admit(self, other: "ProcessSite", *options: str) -> None:
        """Invite another site and let it join; `serve` runs here."""
        token = self.run("invite", other.name, *options).strip()
        other.run("join", token, "--yes")

    # The daemon

    def start(self, **environment: str) -> None:
        self.launch(**environment)
        self.await_start()

    def launch(self, **environment: str) -> None:
        """Begin to start."""
        self._begun = self.log().count("peers:")
        with (self.folder / "serve.log").open("a") as log:
            self.process = subprocess.Popen(
                [*self._program, "serve", "--config", str(self.config)],
                stdout=log,
                stderr=log,
                text=True,
                env={**_environment(), **environment},
            )

    def await_start(self) -> None:
        begun = self._begun
        eventually(lambda: self.log().count("peers:") > begun or self.ended, within_s=START_S_MAX)
        assert not self.ended, self.log()

    @property
    def ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """End the daemon; its exit status."""
        process, self.process = self.process, None
        assert process is not None, "it runs"
        process.send_signal(with_signal)
        return process.wait(END_S_MAX)

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def log(self) -> str:
        path = self.folder / "serve.log"
        return path.read_text() if path.exists() else ""

    @contextmanager
    def serving(self) -> Iterator["ProcessSite"]:
        self.start()
        try:
            yield self
        finally:
            self.kill()

    def close(self) -> None:
        self.kill()
        self.connection.close()

    # The application

    def sql(self, text: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(text, parameters).fetchall()

    def add_patient(self, name: str) -> str:
        key = str(uuid.uuid4())
        self.sql("INSERT INTO patient (uuid, name) VALUES (?, ?)", key, name)
        return key

    def patients(self) -> dict[str, str]:
        return dict(self.sql("SELECT uuid, name FROM patient"))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNCNODE_")}
    return {**kept, "PYTHONUNBUFFERED": "1"}
