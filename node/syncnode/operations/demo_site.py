"""The sites of `demo`: each a folder with a SQLite file, an application and a daemon."""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from syncproto.errors import StoreError, SyncError

Rows = Mapping[str, list[tuple[Any, ...]]]

START_S_MAX = 10.0  # until a process listens: usually one second
END_S_MAX = 5.0
POLL_S = 0.05

SCHEMA = """
PRAGMA journal_mode=WAL;
CREATE TABLE person (
    person_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    village TEXT,
    phone TEXT,
    uuid CHAR(36) NOT NULL UNIQUE
);
CREATE TABLE encounter (
    encounter_id INTEGER PRIMARY KEY AUTOINCREMENT,
    person_id INTEGER NOT NULL REFERENCES person (person_id),
    day DATE NOT NULL,
    reason TEXT,
    uuid CHAR(36) NOT NULL UNIQUE
);
CREATE TABLE obs (
    obs_id INTEGER PRIMARY KEY AUTOINCREMENT,
    encounter_id INTEGER NOT NULL REFERENCES encounter (encounter_id),
    question TEXT NOT NULL,
    answer TEXT,
    uuid CHAR(36) NOT NULL UNIQUE
);
"""

# A row is shown by its uuid and what it refers to by that one's: local numbers differ by site.
ROWS = {
    "person": "SELECT uuid, name, village, phone FROM person ORDER BY uuid",
    "encounter": (
        "SELECT e.uuid, p.uuid, e.day, e.reason FROM encounter e "
        "LEFT JOIN person p ON p.person_id = e.person_id ORDER BY e.uuid"
    ),
    "obs": (
        "SELECT o.uuid, e.uuid, o.question, o.answer FROM obs o "
        "LEFT JOIN encounter e ON e.encounter_id = o.encounter_id ORDER BY o.uuid"
    ),
}


class Place:
    """A site of the demo: its folder, its database, its process."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir()
        self.database = self.folder / f"{name}.db"
        self.config = self.folder / "syncnode.toml"
        self.log = self.folder / "serve.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = sqlite3.connect(self.database, timeout=10, isolation_level=None)
        self._reader.executescript(SCHEMA)

    @contextlib.contextmanager
    def application(self) -> Iterator[sqlite3.Connection]:
        """What an application does: one transaction in plain SQL."""
        connection = sqlite3.connect(self.database, timeout=10)
        try:
            connection.execute("PRAGMA foreign_keys=ON")
            with connection:
                yield connection
        finally:
            connection.close()

    def rows(self) -> Rows:
        """All that the application sees, without local numbers."""
        self._reader.execute("BEGIN")  # one moment for all tables
        found = {table: self._reader.execute(sql).fetchall() for table, sql in ROWS.items()}
        self._reader.execute("COMMIT")
        return found

    def value(self, table: str, column: str, key: str) -> Any:
        """A column of the row with that uuid; None also if there is no such row."""
        sql = f"SELECT {column} FROM {table} WHERE uuid = ?"
        found = self._reader.execute(sql, (key,)).fetchone()
        return found[0] if found else None

    def start(self) -> None:
        """Run `syncnode serve` in a process of its own."""
        kept = {key: text for key, text in os.environ.items() if not key.startswith("SYNCNODE_")}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "syncnode", "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=kept,
            )

    def wait_until_it_listens(self, host: str, port: int) -> None:
        """
        Raises:
            StoreError: It does not, within `START_S_MAX`.
        """
        ends_s = time.monotonic() + START_S_MAX
        while True:
            self.check_running()
            with contextlib.suppress(OSError), socket.create_connection((host, port), 1.0):
                return
            if time.monotonic() > ends_s:
                raise StoreError(
                    f"`syncnode serve` of {self.name} does not listen on {host}:{port} after "
                    f"{START_S_MAX:.0f} s; its log is {self.log}"
                )
            time.sleep(POLL_S)

    def check_running(self) -> None:
        """
        Raises:
            StoreError: The process has ended by itself.
        """
        if self._process is not None and self._process.poll() is not None:
            log = self.log.read_text(errors="replace").strip()
            last = log.splitlines()[-1] if log else "it said nothing"
            raise StoreError(f"`syncnode serve` of {self.name} ended by itself: {last}")

    def close(self) -> None:
        self._reader.close()

    def tell_to_end(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def end(self) -> None:
        """End the process, by force if it does not go in time."""
        self.tell_to_end()
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(END_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port of this machine that nobody uses just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def all_ended(places: Sequence[Place]) -> Iterator[None]:
    """End all processes when the block ends: done, failed, by Ctrl-C or by SIGTERM."""

    def give_up(_: int, __: object) -> None:
        raise SyncError("ended by SIGTERM; the demo's processes are ended, its files stay")

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, give_up) if in_main else None
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGTERM, before)
        for place in places:
            place.tell_to_end()
        for place in places:
            place.end()
