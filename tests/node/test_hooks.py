"""Hooks are told which rows were applied: all of them, their keys alone, and in nobody's way."""

import json
import re
import sqlite3
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from mariadb_sites import ALL_PAIRS, maker, run, servers_of
from processes import ProcessSite, eventually
from sites import settle, sync
from trio.testing import MockClock

from syncnode.hooks import queue as hook_queue
from syncnode.hooks.calls import call
from syncnode.hooks.queue import done_with, next_batch, note_applied, put_state, read_states
from syncnode.hooks.telling import HookRunner
from syncnode.machine import Machine
from syncnode.operations import initialise, status
from syncnode.settings.config import read_settings
from syncnode.settings.hook_settings import Hook, check_hooks
from syncproto.errors import ConfigError

SCHEMA = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " name VARCHAR(50))",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " patient_id INTEGER, note VARCHAR(50), FOREIGN KEY (patient_id) REFERENCES patient (id))",
    "CREATE TABLE role (role VARCHAR(20) PRIMARY KEY, description VARCHAR(20))",
    "CREATE TABLE tag (label VARCHAR(20), colour VARCHAR(20))",
)
UUIDS = [f"0a8e1a54-1111-4222-8333-{number:012}" for number in range(40)]
SEARCH = Hook("search", command=("reindex",))
ENGINES = [param for param in ALL_PAIRS if len(set(param.values[0])) == 1]


@pytest.fixture
def make(tmp_path, request):
    params = getattr(request.node, "callspec", None)
    engines = params.params.get("engines", ()) if params is not None else ()
    yield from maker(tmp_path, *servers_of(request, engines))


def pair_of(make, engines=("sqlite", "sqlite"), hooks=(SEARCH,), **options):
    """One that writes, and one that is told what arrives."""
    (there,) = make(SCHEMA, engines[0])
    (here,) = make(SCHEMA, engines[1], hooks=hooks, **options)
    return here, there


def batch_of(site, hook=SEARCH):
    with site.replica.database.read() as tx:
        return next_batch(tx, hook, site.replica.tables)


def told(site, hook=SEARCH):
    """What is queued, and done with now: (table, key, local key, operation)."""
    found = []
    while (batch := batch_of(site, hook)) is not None:
        document = json.loads(batch.document(site="x", hook="y"))
        found += [(one["table"], one["key"], one["local"], one["operation"])
                  for one in document["changes"]]  # fmt: skip
        found += [(table, "*") for table in document["everything"]]
        with site.replica.database.write() as tx:
            done_with(tx, hook, batch)
    return sorted(found, key=str)


# What is queued


@pytest.mark.parametrize("engines", ENGINES)
def test_every_applied_row_is_told_once_with_its_local_key_and_no_value(make, engines):
    here, there = pair_of(make, engines)
    run(here, "INSERT INTO patient (uuid, name) VALUES (?, 'to shift the numbers')", UUIDS[0])
    settle(here, there)
    assert told(here) == []
    run(there, "INSERT INTO patient (uuid, name) VALUES (?, 'SECRET'), (?, 'Ben')",
        UUIDS[1], UUIDS[2])  # fmt: skip
    run(there, "INSERT INTO visit (uuid, patient_id, note) SELECT uuid, id, 'SECRET' FROM patient "
        "WHERE uuid = ?", UUIDS[1])  # fmt: skip
    run(there, "INSERT INTO role VALUES ('clerk', 'SECRET')")
    there.replica.seal()
    run(there, "UPDATE patient SET name = 'SECRET too' WHERE uuid = ?", UUIDS[1])
    settle(here, there)
    run(there, "UPDATE patient SET name = 'SECRET three' WHERE uuid = ?", UUIDS[1])
    run(here, "UPDATE patient SET name = 'mine' WHERE uuid = ?", UUIDS[2])
    settle(here, there)
    batch = batch_of(here)
    assert b"SECRET" not in batch.document(site="x", hook="y")
    local = {key: {"id": pk} for pk, key in run(here, "SELECT id, uuid FROM patient")}
    ((visit,),) = run(here, "SELECT id FROM visit")
    (role,) = [one["key"] for one in batch.changes if one["table"] == "role"]
    assert told(here) == sorted(
        [
            ("patient", UUIDS[1], local[UUIDS[1]], "shown"),
            ("patient", UUIDS[2], local[UUIDS[2]], "shown"),
            ("visit", UUIDS[1], {"id": visit}, "shown"),
            ("role", role, {"role": "clerk"}, "shown"),
        ],
        key=str,
    )
    assert told(here) == []


@pytest.mark.parametrize("engines", ENGINES)
def test_a_deleted_row_is_told_by_the_key_that_it_had(make, engines):
    here, there = pair_of(make, engines)
    for number in (1, 2):
        run(there, "INSERT INTO patient (uuid, name) VALUES (?, 'Ann')", UUIDS[number])
    settle(here, there)
    local = {key: {"id": pk} for pk, key in run(here, "SELECT id, uuid FROM patient")}
    told(here)
    run(there, "DELETE FROM patient WHERE uuid = ?", UUIDS[1])
    settle(here, there)
    assert told(here) == [("patient", UUIDS[1], local[UUIDS[1]], "deleted")]
    run(here, "DELETE FROM patient WHERE uuid = ?", UUIDS[2])
    settle(here, there)
    assert told(here) == []  # the application's own doing


def test_rows_without_a_key_are_told_by_their_row_key(make):
    here, there = pair_of(make)
    run(there, "INSERT INTO tag VALUES ('a', 'red'), ('a', 'red')")
    settle(here, there)
    first, second = told(here)
    assert {first[2], second[2]} == {None}
    assert {first[3], second[3]} == {"shown"}
    run(there, "DELETE FROM tag")
    settle(here, there)
    assert [one[3] for one in told(here)] == ["deleted", "deleted"]


def test_what_comes_to_rest_after_an_edit_of_ones_own_is_told(make):
    here, there = pair_of(make)
    run(here, "CREATE TRIGGER no BEFORE INSERT ON patient WHEN NEW.name = 'bad' AND NOT EXISTS "
        "(SELECT 1 FROM role) BEGIN SELECT RAISE(ABORT, 'not yet'); END")  # fmt: skip
    here.reopen()
    run(there, "INSERT INTO patient (uuid, name) VALUES (?, 'bad')", UUIDS[1])
    settle(here, there)
    assert told(here) == []  # parked: it does not stand in the table
    run(here, "INSERT INTO role VALUES ('clerk', '')")
    here.replica.seal()
    ((number,),) = run(here, "SELECT id FROM patient")
    assert told(here) == [("patient", UUIDS[1], {"id": number}, "shown")]


def test_each_hook_is_told_its_tables_alone(make):
    visits = Hook("visits", url="http://127.0.0.1:1/", tables=frozenset({"visit"}))
    here, there = pair_of(make, hooks=(SEARCH, visits))
    run(there, "INSERT INTO patient (uuid) VALUES (?)", UUIDS[1])
    run(there, "INSERT INTO visit (uuid) VALUES (?)", UUIDS[2])
    settle(here, there)
    assert [one[:2] for one in told(here, visits)] == [("visit", UUIDS[2])]
    assert len(told(here)) == 2


def test_a_row_that_changes_while_it_is_told_is_told_again(make):
    here, there = pair_of(make)
    run(there, "INSERT INTO patient (uuid) VALUES (?)", UUIDS[1])
    settle(here, there)
    batch = batch_of(here)
    run(there, "UPDATE patient SET name = 'Ann'")
    settle(here, there)
    with here.replica.database.write() as tx:
        done_with(tx, SEARCH, batch)
    assert [one[1] for one in told(here)] == [UUIDS[1]]


def test_too_many_rows_become_the_whole_table_until_it_is_told(make, monkeypatch):
    monkeypatch.setattr(hook_queue, "TABLE_ROWS_MAX", 5)
    here, there = pair_of(make)
    for number in range(1, 5):
        run(there, "INSERT INTO patient (uuid) VALUES (?)", UUIDS[number])
    run(there, "INSERT INTO visit (uuid) VALUES (?)", UUIDS[1])
    settle(here, there)
    for number in range(5, 8):
        run(there, "INSERT INTO patient (uuid) VALUES (?)", UUIDS[number])
    settle(here, there)
    assert here.look("SELECT count(*) FROM syncnode_hook") == [(2,)]
    batch = batch_of(here)
    assert batch.everything == ("patient",)
    run(there, "UPDATE patient SET name = 'Ann' WHERE uuid = ?", UUIDS[1])
    settle(here, there)
    with here.replica.database.write() as tx:
        done_with(tx, SEARCH, batch)
    assert told(here) == [("patient", "*")]  # again: the row may have come after the call
    run(there, "UPDATE patient SET name = 'Anna' WHERE uuid = ?", UUIDS[1])
    settle(here, there)
    assert [one[1] for one in told(here)] == [UUIDS[1]]


def test_a_catch_up_in_steps_is_told_whole(make):
    here, there = pair_of(make, apply_rows_max=4)
    for number in range(20):
        run(there, "INSERT INTO patient (uuid) VALUES (?)", UUIDS[number])
    there.reopen(chunk_bytes_max=300)
    settle(here, there)
    assert {one[1] for one in told(here)} == set(UUIDS[:20])


def test_an_apply_that_is_broken_off_queues_nothing(make, monkeypatch):
    here, there = pair_of(make)
    run(there, "INSERT INTO patient (uuid) VALUES (?)", UUIDS[1])

    class Killed(BaseException):
        pass

    def killed(*arguments):
        note_applied(*arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("syncnode.replica.note_applied", killed)
        with pytest.raises(Killed):
            sync(here, there)
    assert run(here, "SELECT * FROM patient") == []
    assert here.look("SELECT count(*) FROM syncnode_hook") == [(0,)]
    settle(here, there)
    assert len(told(here)) == 1


# Calls


@contextmanager
def server(statuses):
    """An application that answers with these, and the bodies that it was sent."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.end_headers()

        def log_message(self, *_):
            """Quietly."""

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/reindex?token=SECRET", bodies
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def called(hook, body=b'{"changes": []}', folder=Path("/")):
    return trio.run(call, hook, body, folder)


def test_an_address_is_posted_json_and_any_answer_but_success_is_a_failure():
    with server([204, 500, 302]) as (url, bodies):
        hook = Hook("search", url=url)
        assert called(hook, b'{"changes": [1]}') is None
        assert called(hook) == "127.0.0.1 answered with status 500"
        assert called(hook) == "127.0.0.1 answered with status 302"
        assert bodies == [{"changes": [1]}, {"changes": []}, {"changes": []}]
    assert called(hook).startswith("127.0.0.1 cannot be reached (ConnectError")
    assert "SECRET" not in called(hook) + repr(hook)


def python(code):
    return Hook("search", command=(sys.executable, "-c", code), timeout_ms=1_000)


def test_a_program_gets_json_and_its_status_and_last_words_count(tmp_path):
    assert called(python("import sys, json; json.load(sys.stdin); open('here', 'w')"), b"[]",
                  tmp_path) is None  # fmt: skip
    assert (tmp_path / "here").exists()
    failing = python("import sys; sys.stderr.write('one\\nno index\\n'); sys.exit(3)")
    assert called(failing, b"x" * 1_000_000).endswith("ended with status 3: no index")
    assert called(python("")) is None  # it may ignore what it is told
    assert "cannot be run (No such file" in called(Hook("x", command=("/no/such/program",)))


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "open('child', 'w').write(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    began_s = time.monotonic()
    assert called(python(code), b"{}", tmp_path) == "it did not end within 1 s"
    assert time.monotonic() - began_s < 10
    child = int((tmp_path / "child").read_text())
    eventually(lambda: not _runs(child))


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_the_runner_tries_again_later_and_later_and_status_is_kept(make):
    here, there = pair_of(make)
    run(there, "INSERT INTO patient (uuid) VALUES (?)", UUIDS[1])
    settle(here, there)
    times_s, states = [], []

    async def fails(hook, body, folder):
        times_s.append(round(trio.current_time()))
        with here.replica.database.read() as tx:
            states.append(read_states(tx).get(hook.name))
        return None if len(times_s) == 6 else f"failure {len(times_s)}"

    async def main():
        async def in_database(work):
            return work()

        runner = HookRunner(
            [SEARCH],
            here.replica.database,
            here.replica.tables,
            site="kigali",
            folder=Path("/"),
            in_database=in_database,
            machine=Machine(wall_ms=lambda: 1_000, chance=lambda: 1.0),
            called=fails,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runner.run)
            await trio.sleep(1_000)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    pauses = [later - earlier for earlier, later in pairwise(times_s)]
    assert pauses == [1, 2, 4, 8, 16]
    assert (states[5].failures, states[5].failed_ms, states[5].error) == (5, 1_000, "failure 5")
    with here.replica.database.read() as tx:
        assert read_states(tx) == {}
    assert told(here) == []


def test_hooks_that_are_in_the_settings_no_more_are_forgotten(make):
    here, there = pair_of(make)
    run(there, "INSERT INTO patient (uuid) VALUES (?)", UUIDS[1])
    settle(here, there)
    with here.replica.database.write() as tx:
        put_state(tx, "search", hook_queue.HookState(1, 1, "away"))
        hook_queue.forget_others(tx, [Hook("other", command=("x",))])
        assert hook_queue.queued(tx) == set()


# Settings


def settings_with(tmp_path, text):
    path = tmp_path / "syncnode.toml"
    head = 'name = "kigali"\ndatabase = "sqlite:///a.db"\nkey = "k"\nanchor = "a"\n'
    path.write_text(head + text)
    return read_settings(path, {})


def test_hooks_are_read_from_the_settings(tmp_path):
    found = settings_with(
        tmp_path,
        '[hooks.search]\nafter_apply = ["reindex", "-q"]\ntables = ["person"]\n'
        '[hooks.web]\nafter_apply = "https://127.0.0.1/x"\ntimeout = "5s"\n',
    ).hooks
    assert found == (
        Hook("search", ("reindex", "-q"), tables=frozenset({"person"})),
        Hook("web", url="https://127.0.0.1/x", timeout_ms=5_000),
    )
    assert settings_with(tmp_path, "").hooks == ()
    with pytest.raises(ConfigError, match=r"hooks.search.tables: .*person.* is no replicated tab"):
        check_hooks(found, ["patient"])


def test_a_table_that_a_hook_cannot_name_is_told_by_init_and_by_status(tmp_path):
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE)")
    hook = '[hooks.search]\nafter_apply = ["reindex"]\ntables = ["person"]\n'
    says = r"hooks.search.tables: .*person.* is no replicated table"
    with pytest.raises(ConfigError, match=says):
        initialise(settings_with(tmp_path, hook), dry_run=False, progress=print)
    assert not (tmp_path / "k").exists()
    initialise(settings_with(tmp_path, ""), dry_run=False, progress=print)
    report = status(settings_with(tmp_path, hook))
    assert [note for note in report.notes if re.match(says, note)]
    assert not report.in_sync


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[hooks.a]\n", "after_apply: is missing"),
        ("[hooks.a]\nafter_apply = 3\n", "must be a list of words or an address"),
        ("[hooks.a]\nafter_apply = []\n", "must be a list of words or an address"),
        ('[hooks.a]\nafter_apply = [" "]\n', "names no program"),
        ('[hooks.a]\nafter_apply = "ftp://x/"\n', "is no address"),
        ('[hooks.a]\nafter_apply = ["x"]\nretry = 1\n', "is no key here"),
        ('[hooks.a]\nafter_apply = ["x"]\ntimeout = "1ms"\n', "is not between"),
        ('[hooks]\nafter_apply = ["x"]\n', "must be a table, such as"),
    ],
)
def test_faults_of_hooks_are_told_with_file_and_line(tmp_path, text, says):
    with pytest.raises(ConfigError, match=says) as caught:
        settings_with(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/syncnode.toml:")


# As people have it

COLLECT = (
    "import json, sys, os, time\n"
    "if os.path.exists('away'): sys.exit('away just now')\n"
    "while os.path.exists('hangs'): time.sleep(0.05)\n"
    "told = json.load(sys.stdin)\n"
    "open('told', 'a').write(''.join(c['key'] + '\\n' for c in told['changes']))\n"
)


def test_a_hook_is_told_through_failures_kills_and_hangs_and_holds_up_nothing(tmp_path):
    here, there = (ProcessSite(tmp_path, name).init() for name in ("kigali", "butaro"))
    folder = there.folder
    command = json.dumps([sys.executable, "-c", COLLECT])
    there.config.write_text(there.config.read_text() + f"[hooks.search]\nafter_apply = {command}\n")

    def collected():
        path = folder / "told"
        return set(path.read_text().split()) if path.exists() else set()

    try:
        with here.serving():
            here.admit(there)
            keys = {here.add_patient("Ann")}
            assert there.report("sync")["notes"] == []
            assert collected() == keys  # without a daemon `sync` tells them
            (folder / "away").touch()
            with there.serving():
                keys.add(here.add_patient("Ben"))
                eventually(lambda: there.report("status")["hooks"][0]["failures"])
                report = there.report("status")
                assert "away just now" in report["hooks"][0]["error"]
                assert any("hook search fails since" in note for note in report["notes"])
                assert there.patients() == here.patients()
            # Killed just now; it is told after the next start.
            (folder / "away").unlink()
            (folder / "hangs").touch()
            with there.serving():
                keys.add(here.add_patient("Eve"))
                began_s = time.monotonic()
                eventually(lambda: there.patients() == here.patients())
                assert time.monotonic() - began_s < 5
                there.add_patient("local")
                (folder / "hangs").unlink()
                assert eventually(lambda: collected() == keys, within_s=40)
                assert eventually(lambda: not there.report("status")["hooks"][0]["waiting"])
                assert there.report("status")["hooks"][0]["failures"] == 0
    finally:
        here.close()
        there.close()
