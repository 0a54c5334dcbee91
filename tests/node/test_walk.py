"""The commands as a user types them, in processes, between real databases."""

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from mariadb_sites import say
from processes import END_S_MAX, START_S_MAX, ProcessSite, eventually
from sites import connect
from tables import dialect_of
from wire import free_port

SCHEMA = {
    "sqlite": (
        "CREATE TABLE person (person_id INTEGER PRIMARY KEY AUTOINCREMENT, name VARCHAR(99), "
        "phone VARCHAR(99), uuid CHAR(38) NOT NULL UNIQUE)",
        "CREATE TABLE visit (visit_id INTEGER PRIMARY KEY AUTOINCREMENT, person_id INTEGER "
        "NOT NULL REFERENCES person (person_id), uuid CHAR(38) NOT NULL UNIQUE)",
        "CREATE TRIGGER named AFTER INSERT ON person WHEN new.name IS NULL "
        "BEGIN UPDATE person SET name = 'nobody' WHERE person_id = new.person_id; END",
    ),
    "mysql": (
        "CREATE TABLE person (person_id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(99), "
        "phone VARCHAR(99), uuid CHAR(38) NOT NULL UNIQUE)",
        "CREATE TABLE visit (visit_id INT AUTO_INCREMENT PRIMARY KEY, person_id INT NOT NULL, "
        "uuid CHAR(38) NOT NULL UNIQUE, FOREIGN KEY (person_id) REFERENCES person (person_id))",
        "CREATE TRIGGER named BEFORE INSERT ON person FOR EACH ROW "
        "SET NEW.name = COALESCE(NEW.name, 'nobody')",
    ),
    "postgresql": (
        "CREATE TABLE person (person_id SERIAL PRIMARY KEY, name VARCHAR(99), "
        "phone VARCHAR(99), uuid CHAR(38) NOT NULL UNIQUE)",
        "CREATE TABLE visit (visit_id SERIAL PRIMARY KEY, person_id INT NOT NULL "
        "REFERENCES person (person_id), uuid CHAR(38) NOT NULL UNIQUE)",
        "CREATE FUNCTION named() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.name := COALESCE(NEW.name, 'nobody'); RETURN NEW; END $$",
        "CREATE TRIGGER named BEFORE INSERT ON person FOR EACH ROW EXECUTE FUNCTION named()",
    ),
}
PEOPLE = "SELECT uuid, name, phone FROM person ORDER BY uuid"
VISITS = "SELECT v.uuid, p.uuid FROM visit v JOIN person p USING (person_id) ORDER BY v.uuid"
UUIDS = [f"{letter * 8}-1111-4111-8111-111111111111" for letter in "abcdef"]


class Terminal:
    """A folder in which a user types commands; `kigali.db` lies in it, and who knows what else.

    Attributes:
        connections: The applications' own, by site.
    """

    def __init__(self, folder, url_by_site):
        self.folder = folder
        self.url_by_site = url_by_site
        self.connections = {}
        for site, url in url_by_site.items():
            place = url.replace("sqlite:///", f"sqlite:///{folder}/")
            self.connections[site] = connect(place, new=True)
            for statement in SCHEMA[dialect_of(self.connections[site])]:
                self.sql(site, statement)

    def sql(self, site, text, *parameters):
        return say(self.connections[site], text, *parameters)

    def typed(self, line, status=0, **environment):
        """What a command prints on standard output; its last sentence is kept in `said`."""
        program, *arguments = shlex.split(line)
        assert program == "syncnode"
        done = subprocess.run(
            [sys.executable, "-m", "syncnode", *arguments],
            cwd=self.folder,
            env=environment_of(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == status, f"{line}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        self.said = done.stderr
        return done.stdout

    def report(self, line, **environment):
        return json.loads(self.typed(f"{line} --json", **environment))

    @contextmanager
    def running(self, line):
        """A command in the background, `line &`; ended by SIGTERM, which must be clean."""
        with (self.folder / "serve.log").open("w+") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "syncnode", *shlex.split(line)[1:]],
                cwd=self.folder,
                env=environment_of(),
                stdout=log,
                stderr=log,
            )
            try:
                path = self.folder / "serve.log"
                eventually(
                    lambda: "peers:" in path.read_text() or process.poll() is not None,
                    within_s=START_S_MAX,
                )
                yield process
                process.terminate()
                assert process.wait(END_S_MAX) == 0, path.read_text()
            finally:
                process.kill()
                process.wait()

    def close(self):
        for connection in self.connections.values():
            connection.close()


def environment_of(**environment):
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SYNCNODE_")}
    return {**kept, **environment}


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("mysql", marks=pytest.mark.mariadb),
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ]
)
def terminal(request, tmp_path):
    """Kigali on SQLite, Rwinkwavu on the engine of the parameter."""
    url = "sqlite:///rwinkwavu.db"
    if request.param == "mysql":
        url = request.getfixturevalue("mariadb_url")
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    made = Terminal(tmp_path, {"kigali": "sqlite:///kigali.db", "rwinkwavu": url})
    yield made
    made.close()


def schema_of(terminal, site, request):
    """The application's schema as the engine dumps it, without counters."""
    if terminal.url_by_site[site].startswith("sqlite"):
        return terminal.sql(site, "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 2")
    name = terminal.url_by_site[site].rpartition("/")[2]
    if terminal.url_by_site[site].startswith("postgresql"):
        return request.getfixturevalue("postgresql").dump(name)
    server = request.getfixturevalue("mariadb")
    text = server.dump(terminal.url_by_site[site].rpartition("/")[2])
    return re.sub(r" AUTO_INCREMENT=\d+", "", text)


def test_the_commands_of_the_readme_do_what_they_say(terminal, request):
    sites = ("kigali", "rwinkwavu")
    listen = f"127.0.0.1:{free_port()}"
    schemas = {site: schema_of(terminal, site, request) for site in sites}
    terminal.sql(
        "kigali", "INSERT INTO person (person_id, name, uuid) VALUES (7, 'Ann', ?)", UUIDS[0]
    )
    terminal.sql("kigali", "INSERT INTO visit (person_id, uuid) VALUES (7, ?)", UUIDS[0])

    init = (
        "syncnode init --database sqlite:///kigali.db --name kigali "
        f"--listen {listen} --config kigali/syncnode.toml"
    )
    before = list(terminal.connections["kigali"].iterdump())
    out = terminal.typed(f"{init} --dry-run")
    assert "person_id > person" in out
    assert "CREATE TABLE syncnode_journal" in out
    assert "nothing was changed" in terminal.said
    assert list(terminal.connections["kigali"].iterdump()) == before
    assert not (terminal.folder / "kigali").exists()

    assert "person_id > person" in terminal.typed(init)
    out = terminal.typed("syncnode invite rwinkwavu --config kigali/syncnode.toml")
    assert re.fullmatch(r"syncnode1-\S+\n", out), "the token alone"
    token = out.strip()
    url = terminal.url_by_site["rwinkwavu"]
    terminal.typed(
        f"syncnode init --database {url} --name rwinkwavu --config rwinkwavu/syncnode.toml"
    )
    terminal.typed(f"syncnode join {token} --config rwinkwavu/syncnode.toml", status=1)
    assert "cannot reach" in terminal.said

    with terminal.running("syncnode serve --config kigali/syncnode.toml"):
        terminal.typed(f"syncnode join {token} --config rwinkwavu/syncnode.toml")
        assert "rwinkwavu is a child" in terminal.said
        terminal.typed("syncnode sync kigali --config rwinkwavu/syncnode.toml")
        assert "done, equal with 1 peer" in terminal.said
        here = {"SYNCNODE_CONFIG": "rwinkwavu/syncnode.toml"}
        terminal.sql("rwinkwavu", "INSERT INTO person (uuid) VALUES (?)", UUIDS[1])
        terminal.sql("rwinkwavu", "UPDATE person SET phone = '1' WHERE uuid = ?", UUIDS[0])
        time.sleep(0.01)
        terminal.sql("kigali", "UPDATE person SET phone = '2' WHERE uuid = ?", UUIDS[0])
        status = terminal.report("syncnode status", **here)
        assert (status["pending"], status["in_sync"]) == (2, False)
        done = terminal.report("syncnode sync", **here)
        assert (done["done"], done["reason"]) == (True, None)
        status = terminal.report("syncnode status", **here)
        _check_status(status, listen)
        assert terminal.report("syncnode parked", **here) == []
        (peer,) = terminal.report("syncnode peers", **here)
        assert (peer["name"], peer["role"], peer["equal"]) == ("kigali", "parent", True)
        (conflict,) = terminal.report("syncnode conflicts", **here)
        assert (conflict["kept"], conflict["kept_by"]) == ("2", "kigali")
        assert (conflict["lost"], conflict["lost_by"]) == ("1", "rwinkwavu")
        origins = {entry["origin"] for entry in terminal.report("syncnode log", **here)}
        assert origins == set(sites)
        for name in ("status", "peers", "log", "conflicts"):
            assert terminal.typed(f"syncnode {name} --config kigali/syncnode.toml")

    for sql in (PEOPLE, VISITS):
        found = [[tuple(row) for row in terminal.sql(site, sql)] for site in sites]
        assert found[0] == found[1]
    assert [row[1:] for row in terminal.sql("kigali", PEOPLE)] == [("Ann", "2"), ("nobody", None)]
    for site in sites:
        terminal.typed(f"syncnode uninstall --config {site}/syncnode.toml")
        assert schema_of(terminal, site, request) == schemas[site]
        terminal.typed(f"syncnode status --config {site}/syncnode.toml", status=1)
        assert "is no site" in terminal.said or "init" in terminal.said
    assert len(terminal.sql("rwinkwavu", PEOPLE)) == 2


def _check_status(status, listen):
    assert status["name"] == "rwinkwavu"
    assert status["url"] is None, "only the parent needs an address"
    assert (status["pending"], status["parked"], status["conflicts"]) == (0, 0, 1)
    assert status["in_sync"]
    (peer,) = status["peers"]
    assert (peer["name"], peer["url"]) == ("kigali", f"https://{listen}")
    assert (peer["pending"], peer["equal"], peer["problem"]) == (0, True, None)


def test_what_was_written_and_reached_nobody_is_not_given_up_by_uninstall(tmp_path):
    with network(tmp_path, "kigali", "rwinkwavu") as (kigali, rwinkwavu):
        kigali.start()
        kigali.admit(rwinkwavu)
        rwinkwavu.run("sync")
        rwinkwavu.add_patient("Ann")
        done = rwinkwavu.command("uninstall")
        assert done.returncode == 1
        assert "syncnode sync" in done.stderr
        rwinkwavu.run("status")
        rwinkwavu.run("sync")
        rwinkwavu.run("uninstall")
        assert kigali.patients() == rwinkwavu.patients() != {}


@pytest.mark.parametrize(
    "line",
    [
        "syncnode",
        "syncnode sing",
        "syncnode status --verbose",
        "syncnode init",
        "syncnode invite",
        "syncnode join",
    ],
)
def test_wrong_usage_has_its_own_status(tmp_path, line):
    Terminal(tmp_path, {}).typed(line, status=2)


# --- More than two ---


@contextmanager
def network(folder, *names, listening=()):
    """Sites that know nobody yet; the first listens, as do those that are named."""
    sites = [
        ProcessSite(folder, name, listens=name == names[0] or name in listening).init()
        for name in names
    ]
    try:
        yield sites
    finally:
        for site in sites:
            site.close()


def everything(site):
    return (
        site.sql("SELECT uuid, name, village FROM patient ORDER BY uuid"),
        site.sql(
            "SELECT v.uuid, p.uuid, v.note FROM visit v LEFT JOIN patient p "
            "ON p.id = v.patient_id ORDER BY v.uuid"
        ),
    )


def converged(sites, patients):
    pictures = [everything(site) for site in sites]
    return all(found == pictures[0] for found in pictures) and len(pictures[0][0]) == patients


def write_on_all(sites):
    """Each site adds a patient of its own, and edits the one that all know."""
    for number, site in enumerate(sites):
        site.add_patient(f"of {site.name}")
        site.sql("UPDATE patient SET village = ? WHERE name = 'everybody''s'", f"v{number}")


def check_counts(sites):
    for site in sites:
        assert (site.report("status")["pending"], site.report("status")["parked"]) == (0, 0)
        assert site.sql("PRAGMA foreign_key_check") == []
        assert site.stop() == 0


def test_nobody_is_in_sync_while_the_other_side_cannot_show_a_row(tmp_path):
    with network(tmp_path, "ministry", "clinic") as (ministry, clinic):
        ministry.sql("CREATE UNIQUE INDEX one_name ON patient (name)")
        ministry.add_patient("Ann")
        ministry.start()
        ministry.admit(clinic)
        clinic.add_patient("Ann")
        done = clinic.command("sync")
        assert done.returncode == 1
        there = "ministry: 1 row is parked or kept aside there: see `syncnode parked`"
        assert f"not done: {there}" in done.stderr
        # The row that the clinic wrote stands here, and what the ministry wrote, too.
        report = clinic.report("status")
        assert (report["parked"], report["pending"], report["in_sync"]) == (0, 0, False)
        assert any(note.startswith(there) for note in report["notes"])
        assert ministry.report("status")["in_sync"] is False
        clinic.sql("UPDATE patient SET name = 'Anna' WHERE id = 1")
        assert clinic.command("sync").returncode == 0
        assert clinic.report("status")["in_sync"] is True
        eventually(lambda: ministry.report("status")["in_sync"])
        assert ministry.stop() == 0


def test_three_levels_converge_in_both_directions(tmp_path):
    names = ("ministry", "hospital", "clinic", "outpost")
    with network(tmp_path, *names, listening=("hospital",)) as sites:
        ministry, hospital, clinic, outpost = sites
        ministry.add_patient("everybody's")
        ministry.start()
        ministry.admit(hospital)
        hospital.start()
        hospital.admit(clinic)
        hospital.admit(outpost)
        clinic.start()
        outpost.start()
        eventually(lambda: converged(sites, 1), within_s=40)
        write_on_all(sites)
        eventually(lambda: converged(sites, 5), within_s=40)
        # Without the hospital nobody else hears anything; afterwards everybody does.
        assert hospital.stop() == 0
        write_on_all(sites)
        hospital.start()
        eventually(lambda: converged(sites, 9), within_s=60)
        eventually(
            lambda: all(site.report("status")["pending"] == 0 for site in sites), within_s=30
        )
        check_counts(sites)


def test_a_ring_of_peers_converges_and_outlives_one_of_them(tmp_path):
    names = ("north", "east", "south")
    with network(tmp_path, *names, listening=names) as sites:
        north, east, south = sites
        north.add_patient("everybody's")
        for site in sites:
            site.start()
        north.admit(east, "--peer")
        east.admit(south, "--peer")
        south.admit(north, "--peer")
        eventually(lambda: converged(sites, 1), within_s=40)
        write_on_all(sites)
        eventually(lambda: converged(sites, 4), within_s=40)
        assert {peer["role"] for peer in south.report("peers")} == {"peer"}
        east.kill()
        north.add_patient("past the dead one")
        eventually(lambda: converged([north, south], 5), within_s=40)
        east.start()
        eventually(lambda: converged(sites, 5), within_s=40)
        eventually(
            lambda: all(site.report("status")["pending"] == 0 for site in sites), within_s=30
        )
        check_counts(sites)


def test_a_change_arrives_within_a_second_where_only_the_parent_has_an_address(tmp_path):
    with network(tmp_path, "parent", "child") as (parent, child):
        parent.start()
        parent.admit(child)
        child.start()
        first = parent.add_patient("down")
        eventually(lambda: first in child.patients(), within_s=40)
        times_s = []
        for source, target in ((parent, child), (child, parent)) * 3:
            began_s = time.monotonic()
            key = source.add_patient("up or down")
            eventually(lambda key=key, target=target: key in target.patients(), within_s=40)
            times_s.append(time.monotonic() - began_s)
        assert sorted(times_s)[len(times_s) // 2] < 1.0, times_s


def test_a_reader_that_stays_in_its_transaction_is_no_obstacle(tmp_path):
    """A reader of the application that stays in its transaction keeps nobody from writing."""
    with network(tmp_path, "parent", "child") as (parent, child):
        parent.start()
        parent.admit(child)
        reader = sqlite3.connect(child.database, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM patient").fetchall()
        key = parent.add_patient("Ann")
        child.run("sync")
        assert key in child.patients()
        assert reader.execute("SELECT * FROM patient").fetchall() == []
        reader.close()
