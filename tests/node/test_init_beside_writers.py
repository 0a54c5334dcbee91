"""`init` on a database that is in use: nobody who reads waits, and what is written is not lost."""

import dataclasses
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from mariadb_sites import Maker, maker, say, servers_of
from sites import Site, connect, settle

from syncnode.capture.baseline import PlainRows
from syncnode.machine import THIS_MACHINE
from syncnode.operations import site as site_module
from syncnode.store.database import Transaction

SCHEMA = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE, "
    "name VARCHAR(40))",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY {auto}, person_id INTEGER NOT NULL, "
    "note VARCHAR(40), FOREIGN KEY (person_id) REFERENCES person (id))",
    "CREATE TABLE tick (person_id INTEGER, note VARCHAR(40), "
    "FOREIGN KEY (person_id) REFERENCES person (id))",
)
ROWS = 30


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    drawn = getattr(request.node, "callspec", None)
    engines = {drawn.params["engine"]} if drawn else set()
    yield from maker(tmp_path, *servers_of(request, engines))


def uuid(number: int) -> str:
    return f"{number:08}-0000-4000-8000-000000000000"


def fill(connection: Any) -> None:
    for number in range(1, ROWS + 1):
        say(connection, "INSERT INTO person VALUES (?, ?, ?)", number, uuid(number), "old")
    for number in range(1, ROWS + 1):
        say(connection, "INSERT INTO visit VALUES (?, ?, ?)", number, number, "old")
        say(connection, "INSERT INTO tick VALUES (?, ?)", 1 + number % 3, "old")


def write(connection: Any) -> None:
    """Of each table rows that come, change and go, before and behind the place that the seal of
    the rows has reached."""
    for number in (1, ROWS):
        say(connection, "UPDATE person SET name = ? WHERE id = ?", "new", number)
        say(connection, "UPDATE visit SET note = ? WHERE id = ?", "new", number)
    for number in (2, ROWS - 1):
        say(connection, "DELETE FROM visit WHERE id = ?", number)
        say(connection, "INSERT INTO visit VALUES (?, 3, ?)", 1000 + number, "came")
        say(
            connection, "INSERT INTO person VALUES (?, ?, 'came')", 1000 + number, uuid(99 + number)
        )
        say(connection, "INSERT INTO tick VALUES (?, ?)", 1000 + number, "came")
    say(connection, "DELETE FROM tick WHERE person_id = 2")


def impatient(url: str) -> Any:
    """A connection of the application that does not wait for locks."""
    if url.startswith("sqlite"):
        return sqlite3.connect(url.partition(":///")[2], isolation_level=None, timeout=0)
    connection = connect(url)
    if url.startswith("postgresql"):
        connection.execute("SET lock_timeout = '100ms'")
    else:
        say(connection, "SET innodb_lock_wait_timeout = 1, lock_wait_timeout = 1")
    return connection


def shown(connection: Any) -> list[list[tuple[Any, ...]]]:
    """All rows, without local numbers."""
    return [
        say(connection, sql)
        for sql in (
            "SELECT uuid, name FROM person ORDER BY uuid",
            "SELECT p.uuid, v.note FROM visit v JOIN person p ON p.id = v.person_id "
            "ORDER BY p.uuid, v.note",
            "SELECT p.uuid, t.note FROM tick t LEFT JOIN person p ON p.id = t.person_id "
            "ORDER BY p.uuid, t.note",
        )
    ]


def after_the_first_step(monkeypatch: pytest.MonkeyPatch, act: Callable[[Any], object]) -> None:
    """`act` with the seal when the first rows have got their clocks, in its transaction."""
    monkeypatch.setattr("syncnode.capture.seal.BASELINE_ROWS", 10)
    seal, seen = PlainRows.seal, list[int]()

    def watched(self: PlainRows, tx: Any, *rest: Any) -> Any:
        seen.append(1)
        if len(seen) == 2:
            act(tx)
        return seal(self, tx, *rest)

    monkeypatch.setattr(PlainRows, "seal", watched)


def url_of(make: Maker, engine: str) -> str:
    """Where `make` makes its first site."""
    if engine == "sqlite":
        return f"sqlite:///{make.folder / 'site0' / 'site.db'}"
    server = make.server if engine == "mysql" else make.postgresql
    assert server is not None, "the test asks for a server"
    return server.url("site0")


def arrives_whole(make: Maker, site: Site, deletes: int) -> None:
    """All that the site holds, and nothing else, is shown by one that comes to know it; of so many
    rows it is known that they went."""
    application = site.connection
    (other,) = make(SCHEMA, "sqlite")
    settle(other, site)
    assert shown(other.connection) == shown(application)
    assert [len(one.parked()) for one in (site, other)] == [0, 0]
    for one in (site, other):
        assert one.look("SELECT count(*) FROM syncnode_row WHERE place = 'dead'")[0] == (deletes,)


SERVERS = [
    pytest.param("postgresql", marks=pytest.mark.postgresql),
    pytest.param("mysql", id="mariadb", marks=pytest.mark.mariadb),
]


@pytest.mark.parametrize("engine", [pytest.param("sqlite"), *SERVERS])
def test_while_triggers_are_made_nobody_who_reads_waits(
    make: Maker, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, said, script = url_of(make, engine), [], Transaction.script

    def watched(self: Transaction, statements: Iterable[str]) -> None:
        made = list(statements)
        script(self, made)
        if said or not any("CREATE TRIGGER" in statement for statement in made):
            return
        application = impatient(url)
        said.append(shown(application))
        if engine == "mysql":  # where each trigger is a transaction of its own
            write(application)
        else:
            with pytest.raises((sqlite3.OperationalError, psycopg.errors.LockNotAvailable)):
                write(application)
        application.close()

    monkeypatch.setattr(Transaction, "script", watched)
    (site,) = make(SCHEMA, engine, before=fill)
    assert len(said) == 1
    arrives_whole(make, site, deletes=0)


@pytest.mark.parametrize("engine", SERVERS)
def test_on_a_server_nobody_waits_while_rows_get_their_clocks(
    make: Maker, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, said = url_of(make, engine), []

    def meanwhile(_: object) -> None:
        application = impatient(url)
        said.append(shown(application))
        write(application)
        said.append(shown(application))
        application.close()

    after_the_first_step(monkeypatch, meanwhile)
    (site,) = make(SCHEMA, engine, before=fill)
    monkeypatch.undo()
    assert said[0] != said[1] == shown(site.connection)
    # Two visits and ten ticks that stood there at the moment that the seal sees.
    arrives_whole(make, site, deletes=12)


def test_on_sqlite_nobody_who_reads_waits_and_writers_have_their_turns(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, said = url_of(make, "sqlite"), []

    def meanwhile(_: object) -> None:
        application = impatient(url)
        said.append(shown(application))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            write(application)
        application.close()

    def turn(_: float) -> None:
        if len(said) == 1:
            application = impatient(url)
            write(application)
            said.append(shown(application))
            application.close()

    after_the_first_step(monkeypatch, meanwhile)
    monkeypatch.setattr(site_module, "TURN_S", 0.0)
    machine = dataclasses.replace(THIS_MACHINE, pause=turn)
    monkeypatch.setattr(site_module, "THIS_MACHINE", machine)
    (site,) = make(SCHEMA, "sqlite", before=fill)
    monkeypatch.undo()
    assert said[0] != said[1] == shown(site.connection)
    # What went did so before its clocks were given, and nobody ever heard of it.
    arrives_whole(make, site, deletes=0)
