"""kill -9 in the middle of seal, send and apply: nothing is lost, nothing is there twice.

Real `serve` processes beside real databases, and beside them applications that go on writing.
A process is killed while its own trace (`syncnode.trace`) shows the phase as begun and not
ended; only such kills count. `--seeds N` kills N times as often.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import application
import pytest
from mariadb_sites import COUNTERS, say
from processes import ProcessSite, eventually
from servers import MariaDB, PostgreSQL
from sites import Site, connect
from tables import dialect_of

from syncnode.operations.site import open_replica
from syncnode.settings.config import read_settings

PHASES = ("seal", "send", "apply")
KILLS = 10  # in each phase
KILLS_SERVER = 3
BURST_ROWS = 800  # so that a phase lasts for tens of milliseconds
PATIENCE_S = 3.0  # for a phase to come; then another burst is written
LATEST_S = 0.03  # the latest kill after a phase was seen; most have ended by then
CONVERGED_S_MAX = 90.0
SHARED = 20

SCHEMA = (
    "CREATE TABLE patient (id INT PRIMARY KEY AUTO_INCREMENT, uuid CHAR(36) NOT NULL UNIQUE, "
    "name VARCHAR(99), village VARCHAR(99))",
    "CREATE TABLE visit (id INT PRIMARY KEY AUTO_INCREMENT, uuid CHAR(36) NOT NULL UNIQUE, "
    "patient_id INT, note VARCHAR(99), FOREIGN KEY (patient_id) REFERENCES patient (id))",
)
PATIENTS = "SELECT uuid, name, village FROM patient"
VISITS = "SELECT v.uuid, p.uuid, v.note FROM visit v LEFT JOIN patient p ON p.id = v.patient_id"
LEDGER = (
    "SELECT o.site, o.incarnation, c.seq, c.nonce FROM syncnode_changeset c "
    "JOIN syncnode_origin o ON o.id = c.origin"
)


class TracedSite(ProcessSite):
    """A site whose process writes down its phases, and whose application is one of ours."""

    writer: "subprocess.Popen[str] | None" = None

    def __init__(self, folder: Path, name: str, *, url: str = "", **options: bool) -> None:
        super().__init__(folder, name, **options)
        self.trace = self.folder / "trace"
        self.database_url = url or f"sqlite:///{self.database}"
        if url:
            self.connection = connect(url)
            for statement in SCHEMA:
                counter = COUNTERS[dialect_of(self.connection)]
                self.sql(statement.replace("AUTO_INCREMENT", counter))

    def sql(self, text: str, *parameters: object) -> list[tuple[object, ...]]:
        return say(self.connection, text, *parameters)

    def init(self, limits: str = "") -> "TracedSite":
        listen = ["--listen", self.listen] if self.listen else []
        self.run("init", "--database", self.database_url, "--name", self.name, *listen)
        with self.config.open("a") as file:
            file.write(limits)
        return self

    def start(self, **environment: str) -> None:
        self.trace.unlink(missing_ok=True)
        super().start(SYNCNODE_TRACE=str(self.trace), **environment)

    def phases(self) -> list[str]:
        """The phases that are begun and not ended, the outermost first."""
        open_phases: list[str] = []
        written = self.trace.read_text() if self.trace.exists() else ""
        # The last line may be half written just now.
        for line in written[: written.rfind("\n") + 1].splitlines():
            what, _, name = line.partition(" ")
            if what == "begin":
                open_phases.append(name)
            else:
                assert open_phases.pop() == name, "phases are nested"
        return open_phases

    # The application

    def write_on(self) -> None:
        here = self.folder.parent
        self.writer = subprocess.Popen(
            [sys.executable, application.__file__, self.database_url, self.name, here],
            stdin=subprocess.PIPE,
            text=True,
        )

    def order(self, line: str) -> None:
        assert self.writer is not None
        assert self.writer.stdin is not None
        assert self.writer.poll() is None, "the application still writes"
        self.writer.stdin.write(f"{line}\n")
        self.writer.stdin.flush()

    def rest(self) -> dict[str, dict[str, list[str]]]:
        """End the application; what it alone has written, as it knows it."""
        self.order("end")
        assert self.writer is not None
        assert self.writer.wait(60) == 0
        self.writer.stdin.close()
        return json.loads((self.folder.parent / f"{self.name}.json").read_text())

    def close(self) -> None:
        if self.writer is not None and self.writer.poll() is None:
            self.writer.kill()
            self.writer.wait()
        super().close()


@contextmanager
def two_sites(folder: Path, url: str = "") -> Iterator[tuple[TracedSite, TracedSite]]:
    """A parent, and a child that takes a catch-up in steps of a few hundred rows."""
    parent = TracedSite(folder, "parent", url=url)
    child = TracedSite(folder, "child", listens=False)
    shared = [parent.add_patient("shared") for _ in range(SHARED)]
    (folder / "shared.json").write_text(json.dumps(shared))
    parent.init()
    child.init("\n[limits]\napply_rows_max = 500\nchunk_bytes_max = 16384\n")
    try:
        parent.start()
        parent.admit(child)
        child.run("sync")
        for site in (parent, child):
            site.write_on()
        yield parent, child
    finally:
        parent.close()
        child.close()


def kill_in(phase: str, target: TracedSite, other: TracedSite, draw: random.Random) -> int:
    """Kill the target's process once within the phase; how many kills came too late."""
    late = 0
    source = other if phase == "apply" else target
    while True:
        for site in (other, target):
            if site.process is None:
                if site is target and draw.random() < 0.5:
                    source.order(f"burst {BURST_ROWS}")  # it finds the rows when it starts
                site.start()
        if _killed_in(phase, target, source, draw):
            return late
        late += 1
        assert late < 50, f"{phase} is too short to be hit"


def _killed_in(phase: str, target: TracedSite, source: TracedSite, draw: random.Random) -> bool:
    source.order(f"burst {BURST_ROWS}")
    patience_s = time.monotonic() + PATIENCE_S
    wait_s = draw.random() * LATEST_S
    while True:
        assert not target.ended, target.log()[-2_000:]
        if phase in target.phases():
            time.sleep(wait_s)
            if phase in target.phases():
                break
            wait_s /= 2
        if time.monotonic() > patience_s:
            source.order(f"burst {BURST_ROWS}")
            patience_s = time.monotonic() + PATIENCE_S
        time.sleep(0.0005)
    target.kill()
    return phase in target.phases()


def converge(parent: TracedSite, child: TracedSite) -> dict[str, dict[str, list[str]]]:
    """Let both come to rest, end all processes; what the applications wrote."""
    for site in (parent, child):
        if site.process is None:
            site.start()
    told = {"patients": {}, "visits": {}}
    for site in (parent, child):
        for table, rows in site.rest().items():
            assert not told[table].keys() & rows.keys()
            told[table] |= rows
    eventually(lambda: child.command("sync").returncode == 0, within_s=CONVERGED_S_MAX)
    for site in (parent, child):
        # The child's own process may still be pausing after a call in vain, and what a peer said
        # that it holds is written down every two seconds only.
        eventually(lambda site=site: site.report("status")["in_sync"], within_s=CONVERGED_S_MAX)
        report = site.report("status")
        assert (report["pending"], report["parked"]) == (0, 0), report["notes"]
    for site in (parent, child):
        assert site.stop() == 0
    return told


def check_whole(
    parent: TracedSite, child: TracedSite, told: dict[str, dict[str, list[str]]]
) -> None:
    """Both databases hold exactly what was committed, and both sidecars agree about it."""
    shared = set(json.loads((parent.folder.parent / "shared.json").read_text()))
    pictures = []
    for site in (parent, child):
        patients, visits = sorted(site.sql(PATIENTS)), sorted(site.sql(VISITS))
        pictures.append((patients, visits))
        found = {key: values for key, *values in patients}
        assert len(found) == len(patients)
        assert found.keys() >= shared
        assert {key: found[key] for key in found if key not in shared} == told["patients"]
        assert {key: values for key, *values in visits} == told["visits"]
        assert len(visits) == len(told["visits"])
    assert pictures[0] == pictures[1]
    ledgers, sums, frontiers = [], [], []
    for site in (parent, child):
        lines = [(bytes(key), *rest) for key, *rest in site.sql(LEDGER)]
        ledger = {line[:3]: line[3] for line in lines}
        assert len(ledger) == len(lines), f"{site.name} has a changeset twice"
        assert {incarnation for _, incarnation, _ in ledger} == {1}, "a kill is no restore"
        ledgers.append(ledger)
        sums.append(sorted(site.sql("SELECT name, total FROM syncnode_table")))
        opened = Site(read_settings(site.config), site.connection, replica(site))
        opened.check()
        frontiers.append(opened.replica.standing(opened.id).frontier)
        opened.replica.close()
        if site.database_url.startswith("sqlite"):
            assert site.sql("PRAGMA integrity_check") == [("ok",)]
        for table in ("syncnode_journal", "syncnode_staged", "syncnode_stage"):
            assert site.sql(f"SELECT count(*) FROM {table}") == [(0,)], table
    assert sums[0] == sums[1]
    assert frontiers[0] == frontiers[1]
    common = ledgers[0].keys() & ledgers[1].keys()
    assert {dot: ledgers[0][dot] for dot in common} == {dot: ledgers[1][dot] for dot in common}


def replica(site: TracedSite):
    return open_replica(read_settings(site.config))


def kill_often(parent: TracedSite, child: TracedSite, kills: int, targets, seed: int) -> str:
    """Kill so often in each phase, in drawn order; says what was done."""
    draw = random.Random(seed)
    todo = [(phase, number) for phase in PHASES for number in range(kills)]
    draw.shuffle(todo)
    late = dict.fromkeys(PHASES, 0)
    for phase, number in todo:
        target = targets[number % len(targets)]
        late[phase] += kill_in(phase, target, child if target is parent else parent, draw)
    return f"seed {seed}: killed {kills} times in each of {PHASES}; too late: {late}"


def test_kills_in_every_phase_lose_and_double_nothing(tmp_path, seeds):
    seed = int(os.environ.get("SYNCNODE_KILL_SEED", "1"))
    with two_sites(tmp_path) as (parent, child):
        print(kill_often(parent, child, KILLS * seeds, (parent, child), seed))
        told = converge(parent, child)
        print(f"{len(told['patients'])} patients, {len(told['visits'])} visits")
        check_whole(parent, child, told)


@pytest.mark.parametrize(
    "server_class",
    [
        pytest.param(MariaDB, marks=pytest.mark.mariadb),
        pytest.param(PostgreSQL, marks=pytest.mark.postgresql),
    ],
)
def test_kills_beside_a_server_and_of_the_server_lose_and_double_nothing(
    tmp_path, seeds, server_class
):
    with server_class() as server:
        url = server.create_database("parent")
        with two_sites(tmp_path, url) as (parent, child):
            print(kill_often(parent, child, KILLS_SERVER * seeds, (parent,), 2))
            if parent.process is None:
                parent.start()
            parent.order(f"burst {BURST_ROWS}")
            server.kill()
            time.sleep(0.5)
            server.start()
            parent.connection.close()
            parent.connection = connect(url)
            assert not parent.ended, parent.log()[-2_000:]
            told = converge(parent, child)
            check_whole(parent, child, told)
