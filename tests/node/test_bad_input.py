"""Bad input on SQLite: one clear sentence on standard error with what to do, and nothing changed.

Elsewhere: MariaDB in test_bad_database_mariadb, single settings in test_config, usage in test_cli,
a second `serve` and a port in use in test_run, clocks far off in test_reporting.
"""

import ctypes
import os
import re
import resource
import sqlite3
import subprocess
import sys
from contextlib import contextmanager

import pytest
import trio
from processes import ProcessSite, eventually
from sites import Site, make_site, same, sync, two_sites
from wire import serving

from syncnode.dialects.sqlite import SqliteDialect
from syncnode.identity.credentials import load_key
from syncnode.links.client import PeerAddress, PeerClient
from syncproto.errors import ExchangeInterruptedError, RefusedError, StoreError
from syncproto.messages import PROTOCOL_VERSION

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
SCHEMA = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT)",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, "
    "patient_id INTEGER REFERENCES patient (id))",
)


@pytest.fixture
def site(tmp_path):
    """A new site by its name; none of them outlives the test."""
    with closing_sites(tmp_path) as make:
        yield make


@contextmanager
def closing_sites(folder):
    made = []

    def make(name="kigali", *, listens=True, init=True):
        made.append(ProcessSite(folder, name, listens=listens))
        return made[-1].init() if init else made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.close()


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """A parent, and a child that has joined it."""
    with closing_sites(tmp_path_factory.mktemp("pair")) as make:
        parent, child = make("parent"), make("child", listens=False)
        parent.add_patient("Ann")
        with parent.serving():
            parent.admit(child)
            child.run("sync")
        yield parent, child


@pytest.fixture
def pair(joined):
    """The same for every test; no daemon runs at its beginning nor at its end."""
    yield joined
    for one in joined:
        one.kill()


def ordinary_user():
    """In the child process: file modes hold for root as for anybody else."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def command(site, *arguments, **options):
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SYNCNODE_")}
    return subprocess.run(
        [sys.executable, "-m", "syncnode", *arguments, "--config", str(site.config)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=kept,
        timeout=60,
        **options,
    )


def held(site):
    """All that the database holds, but for what is known of peers, and the files beside it."""
    connection = site.connection
    lines = [line for line in connection.iterdump() if '"syncnode_peer"' not in line]
    files = {
        path.name: path.read_bytes()
        for path in sorted(site.folder.iterdir())
        if path.suffix in (".toml", ".key", ".anchor")
    }
    return lines, files


def said(done):
    """Lines on standard error, without the progress that a slow machine gets to see."""
    progress = tuple(
        f"syncnode: {what}" for what in ("waiting", "calling", "counting", "comparing")
    )
    return [line for line in done.stderr.strip().splitlines() if not line.startswith(progress)]


def refuses(site, *arguments, says, status=1, **options):
    """The command does not do it, says why in one sentence, and changes nothing."""
    before = held(site)
    done = command(site, *arguments, **options)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout == "" or arguments == ("sync",)
    sentence = "\n".join(said(done))
    assert "Traceback" not in sentence
    assert sentence.count("syncnode: ") == 1, sentence
    assert sentence.startswith("syncnode: ")
    assert "fault of its own" not in sentence, sentence
    for part in (says,) if isinstance(says, str) else says:
        assert part in sentence
    assert held(site) == before
    return sentence


# --- The database ---

INIT = ("init", "--name", "kigali", "--database")
OPENING = (("status",), ("sync",), ("serve",), ("conflicts",), ("invite", "other"), ("uninstall",))


@pytest.mark.parametrize("arguments", OPENING, ids=lambda arguments: arguments[0])
def test_a_missing_database_is_named_and_not_made(site, arguments):
    one = site()
    gone = one.database.with_name("gone.db")
    one.config.write_text(one.config.read_text().replace("site.db", "gone.db"))
    refuses(one, *arguments, says=f"{gone}: the database file does not exist")
    assert not gone.exists()
    assert not list(one.folder.glob("gone.db*"))


@pytest.mark.parametrize("arguments", OPENING, ids=lambda arguments: arguments[0])
def test_a_database_that_is_no_site_is_told_to_be_made_one(site, arguments):
    one, other = site(), site("other", init=False)
    text = one.config.read_text().replace(str(one.database), str(other.database))
    other.config.write_text(text)
    refuses(other, *arguments, says="`syncnode init`")


def test_init_names_a_database_that_is_missing_no_database_or_a_site(site, tmp_path):
    one = site(init=False)
    refuses(one, *INIT, f"sqlite:///{tmp_path}/gone.db", says="does not exist")
    (tmp_path / "letter.db").write_text("Dear Sir or Madam, " * 100)
    refuses(one, *INIT, f"sqlite:///{tmp_path}/letter.db", says="not a SQLite database")
    refuses(one, *INIT, f"sqlite:///{tmp_path}", says="cannot be opened")
    refuses(one, *INIT, "postgres://a/b", says='write "postgresql+psycopg://"', status=2)
    sqlite3.connect(tmp_path / "empty.db").close()
    (tmp_path / "empty.db").touch()
    refuses(one, *INIT, f"sqlite:///{tmp_path}/empty.db", says=("holds no table yet", "init"))
    assert not one.config.exists()
    one.init()
    one.config.rename(one.folder / "first.toml")
    refuses(one, *INIT, f"sqlite:///{one.database}", says=("is a site already", "uninstall"))


@pytest.mark.parametrize("arguments", [("sync",), ("serve",), ("invite", "other"), ("uninstall",)])
def test_a_read_only_file_or_folder_is_named(pair, arguments):
    _, child = pair
    child.sql("PRAGMA journal_mode=DELETE")
    child.add_patient("Ben")
    for path, mode in ((child.database, 0o444), (child.folder, 0o555)):
        before = path.stat().st_mode
        path.chmod(mode)
        try:
            refuses(
                child,
                *arguments,
                *(["--force"] if arguments == ("uninstall",) else []),
                *(["--url", "https://a:1"] if arguments[0] == "invite" else []),
                says="read-only",
                preexec_fn=ordinary_user,
            )
        finally:
            path.chmod(before)
    child.sql("PRAGMA journal_mode=WAL")


def test_init_of_a_read_only_database_makes_no_file(site):
    one = site(init=False)
    one.connection.execute("PRAGMA journal_mode=DELETE")
    one.database.chmod(0o444)
    url = f"sqlite:///{one.database}"
    refuses(one, *INIT, url, says="read-only", preexec_fn=ordinary_user)
    assert sorted(path.name for path in one.folder.iterdir()) == ["site.db"]


def test_a_trigger_that_was_dropped_stops_the_node_before_changes_are_missed(site):
    one = site()
    one.sql("DROP TRIGGER syncnode_t1_insert")
    refuses(one, "serve", says=("syncnode_t1_insert", "verify --repair"))


# --- Settings and key ---


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, ("syncnode.toml", "init")),
        ("name =", "syncnode.toml:1"),
        ('name = "kigali"\nlisen = "a:1"\n', ("syncnode.toml:2", "lisen", "listen")),
        ("name = 7\n", ("syncnode.toml:1", "name")),
    ],
)
def test_settings_that_are_missing_or_broken_are_named_with_file_and_line(site, text, says):
    one = site()
    if text is None:
        one.config.unlink()
    else:
        one.config.write_text(text + "\n" + "\n".join(_others(one.config.read_text())))
    refuses(one, "status", says=says)


def _others(text):
    return [line for line in text.splitlines() if line.startswith(("database", "key", "anchor"))]


def test_the_key_must_be_there_and_be_the_one_of_this_database(site):
    one, other = site("one"), site("other")
    key = one.folder / "site.key"
    own = key.read_bytes()
    key.write_bytes((other.folder / "site.key").read_bytes())
    refuses(one, "serve", says=("this key belongs to site", "site.key"))
    key.write_text("a key, honestly")
    refuses(one, "serve", says=("no readable key", "backup"))
    key.unlink()
    refuses(one, "serve", says=("there is no key at", "backup"))
    key.write_bytes(own)
    key.chmod(0o644)
    one.start()  # it is ours to close
    assert key.stat().st_mode & 0o077 == 0
    assert one.stop() == 0


# --- Tokens ---


def test_a_token_that_is_mistyped_used_or_for_another_network_is_refused(site):
    parent, child, late = site("parent"), site("child", listens=False), site("late")
    elsewhere = site("elsewhere")
    token = parent.run("invite", "child").strip()
    for wrong in ("", "hello", token[:-2], token[:-1] + ("A" if token[-1] != "A" else "B")):
        refuses(child, "join", wrong, says="token", status=2)
    refuses(parent, "join", token, says="made that token itself")
    refuses(child, "join", token, says=("cannot reach", parent.listen))
    with parent.serving():
        child.run("join", token)
        refuses(late, "join", token, says=("used already", "ask for a new one"))
        refuses(child, "join", token, says="joined parent already")
        with elsewhere.serving():
            elsewhere.admit(late)
            refuses(late, "join", parent.run("invite", "late").strip(), says="one network only")
    assert [peer["name"] for peer in parent.report("peers")] == ["child"]


def test_a_token_that_has_expired_is_refused_by_both(site):
    parent, child = site("parent"), site("child", listens=False)
    token = parent.run("invite", "child").strip()
    parent.sql("UPDATE syncnode_invite SET expires_ms = 1000")
    with parent.serving():
        refuses(child, "join", token, says=("expired", "ask for a new one"))
    assert parent.report("peers") == child.report("peers") == []


# --- What answers where the parent should be ---


def test_a_parent_that_is_not_there_is_named_with_its_address(pair):
    parent, child = pair
    child.add_patient("Ben")
    done = command(child, "sync")
    assert done.returncode == 1
    (sentence,) = said(done)
    assert "not done: parent: cannot reach" in sentence
    assert parent.listen in sentence
    status = child.report("status")
    assert status["pending"] > 0
    assert not status["in_sync"]
    (peer,) = status["peers"]
    assert "cannot reach" in peer["problem"]


async def _answered_by(parent, child, app):
    """What `sync` says when `app` answers in the parent's place, with the parent's key."""
    key = load_key(parent.folder / "site.key")
    port = int(parent.listen.rpartition(":")[2])
    before = child.patients()
    async with serving(app, key=key, port=port):
        done = await trio.to_thread.run_sync(lambda: command(child, "sync"))
    assert done.returncode == 1
    assert child.patients() == before
    assert "Traceback" not in done.stderr
    (sentence,) = said(done)
    assert sentence.startswith("syncnode: not done: parent: ")
    assert "fault of its own" not in sentence
    return sentence


def _says(body, status=200):
    async def app(_scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"<html>Please log in to the hotel's network</html>", 200, "do not start with"),
        (b"", 200, "do not start with"),
        (os.urandom(100_000), 200, "do not start with"),
        (b"Bad Gateway", 502, "502"),
    ],
    ids=["page", "nothing", "noise", "gateway"],
)
async def test_garbage_in_the_parents_place_is_refused(pair, body, status, says):
    assert says in await _answered_by(*pair, _says(body, status))


async def test_another_version_of_the_protocol_is_named(pair):
    parent, child = pair
    body = b"ST" + bytes((PROTOCOL_VERSION + 1,)) + b"whatever it then looks like"
    said = await _answered_by(parent, child, _says(body))
    assert f"speaks version {PROTOCOL_VERSION + 1}" in said
    assert "upgrade the older of the two" in said


async def test_an_endless_answer_is_cut_at_the_limit(pair):
    parent, child = pair
    sent_bytes = 0

    async def app(_scope, receive, send):
        nonlocal sent_bytes
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
            sent_bytes += 65536

    said = await _answered_by(parent, child, app)
    assert "longer than" in said or "at most" in said
    assert sent_bytes < 32 << 20


async def test_another_site_in_the_parents_place_gets_no_byte(pair, site):
    parent, child = pair
    stranger = site("stranger")
    text = stranger.config.read_text().replace(stranger.listen, parent.listen)
    stranger.config.write_text(text)
    with stranger.serving():
        done = await trio.to_thread.run_sync(lambda: command(child, "sync"))
    assert done.returncode == 1
    assert "parent" in done.stderr
    assert stranger.report("peers") == []


# --- What a known child may send ---


async def test_garbage_of_a_known_child_is_refused_and_the_daemon_goes_on(pair):
    parent, child = pair
    parent.start()
    before = [line for line in held(parent)[0] if "syncnode_setting" not in line]
    address = PeerAddress(load_key(parent.folder / "site.key").site, parent.url)
    async with PeerClient(load_key(child.folder / "site.key")) as client:
        for body in (b"", b"ST", os.urandom(5_000), b"ST" + bytes((PROTOCOL_VERSION + 1, 0, 0))):
            with pytest.raises(RefusedError) as caught:
                await client.post(address, "/exchange", body, timeout_s=20)
            assert caught.value.status == 400
        # It may be cut before it has read the answer, which is status 413.
        with pytest.raises((RefusedError, ExchangeInterruptedError)):
            await client.post(address, "/exchange", bytes(9 << 20), timeout_s=20)
    assert [line for line in held(parent)[0] if "syncnode_setting" not in line] == before
    assert "Traceback" not in parent.log()
    key = child.add_patient("Ben")
    await trio.to_thread.run_sync(lambda: child.run("sync"))
    eventually(lambda: key in parent.patients())
    assert parent.stop() == 0


# --- A full disk ---


def _fill(site: Site, rows: int) -> None:
    with site.transaction():
        for number in range(1, rows + 1):
            site.sql("INSERT INTO patient (uuid, name) VALUES (?, ?)", f"{number:032x}", "n" * 200)
            site.sql("INSERT INTO visit (uuid, patient_id) VALUES (?, ?)", f"{number:032x}", number)


def test_a_full_disk_rolls_the_apply_back_and_it_goes_on_afterwards(tmp_path, monkeypatch):
    here, there = two_sites(tmp_path, SCHEMA)
    _fill(here, 500)
    here.replica.seal()
    (pages,) = there.sql("PRAGMA page_count")[0]
    before = list(there.connection.iterdump())
    real = SqliteDialect.connect

    def nearly_full(self, url):
        connection = real(self, url)
        if str(there.path) in url:
            connection.execute(f"PRAGMA max_page_count={pages + 10}")
        return connection

    monkeypatch.setattr(SqliteDialect, "connect", nearly_full)
    there.reopen()
    with pytest.raises(StoreError, match="the disk is full: nothing was changed") as caught:
        sync(here, there)
    assert caught.value.transient
    assert list(there.connection.iterdump()) == before
    monkeypatch.undo()
    there.reopen()
    sync(here, there)
    same(here, there)
    assert there.sql("SELECT count(*) FROM visit") == [(500,)]
    for site in (here, there):
        site.close()


def test_init_on_a_full_disk_leaves_no_site_behind(tmp_path, monkeypatch):
    real = SqliteDialect.connect

    def nearly_full(self, url):
        connection = real(self, url)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages + 12}")
        return connection

    monkeypatch.setattr(SqliteDialect, "connect", nearly_full)
    with pytest.raises(StoreError, match="the disk is full"):
        make_site(tmp_path, "kigali", SCHEMA, before=_some_patients)
    with sqlite3.connect(tmp_path / "kigali" / "site.db") as connection:
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert not {name for name in names if name.startswith("syncnode_")}
    assert not list((tmp_path / "kigali").glob("site.*[ky]*"))
    connection.close()


def _some_patients(connection):
    connection.executemany(
        "INSERT INTO patient (uuid, name) VALUES (?, ?)",
        [(f"{number:032x}", "n" * 200) for number in range(500)],
    )


def test_a_sync_that_may_write_no_more_says_so_and_goes_on_when_it_may(pair):
    """A quota, as the system has it: the process may not make files larger than they are."""
    parent, child = pair
    with parent.serving():
        parent.sql("BEGIN")
        for _ in range(500):
            parent.add_patient("n" * 300)
        parent.sql("COMMIT")
        bytes_max = child.database.stat().st_size + 20_000

        def limited():
            resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_max, bytes_max))

        before = child.patients()
        done = command(child, "sync", preexec_fn=limited)
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "disk" in done.stderr
        assert child.patients() == before
        headers, values = (re.split("  +", line.strip()) for line in done.stdout.splitlines())
        shown = dict(zip(headers, values, strict=True))
        assert shown["rows received"] == "0", "they came and were not taken in"
        assert int(shown["bytes received"]) > 0
        assert child.sql("PRAGMA integrity_check") == [("ok",)]
        child.run("sync")
        assert child.patients() == parent.patients()
