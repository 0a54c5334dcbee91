"""Notices what others did to the database: the application's commits, and our own commands'.

SQLite tells of any commit by `PRAGMA data_version`, which takes microseconds, so it is asked in
the event loop itself. A server is asked in a thread, and less often. Both are asked often while
something happens and seldom while nothing does (`backoff.polling_ms`). PostgreSQL tells at once
(NOTIFY) of what the triggers have written; it is asked beside that, as the other servers are, for
what our own commands did, and for what was told while it was being asked.
"""

import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import trio

from syncnode.dialects.sqlite import path_of
from syncnode.links.peers import MEMBERS
from syncnode.store.database import Database
from syncproto.backoff import polling_ms
from syncproto.errors import StoreError

SQLITE_BUSY_MS, SQLITE_IDLE_MS = 5, 100
SERVER_BUSY_MS, SERVER_IDLE_MS = 20, 250
FILE_CHECK_S = 1.0  # is the database still the file that we opened?
LOST_PAUSE_S = 1.0  # before a database server that is gone is asked again

PULSE = (
    "SELECT (SELECT 1 FROM syncnode_journal LIMIT 1), "
    "(SELECT value FROM syncnode_setting WHERE name='lsn'), "
    f"(SELECT value FROM syncnode_setting WHERE name='{MEMBERS}')"
)


class Pulse(NamedTuple):
    """What tells one state of the database from the next.

    Attributes:
        unsealed: The application has committed something that is not sealed yet.
        schema: SQLite: changes with every table, column or trigger.
    """

    unsealed: bool
    lsn: str
    members: str
    schema: int = 0


OnPulse = Callable[[Pulse], Awaitable[bool]]
"""Deals with a pulse; False if it could not now and wants to be told again."""


async def watch(database: Database, on_pulse: OnPulse) -> None:
    """Call `on_pulse` at the start and whenever the database has changed; never returns.

    Raises:
        StoreError: The database's file was replaced or removed.
    """
    if database.dialect.name == "sqlite":
        await _watch_file(database, on_pulse)
    else:
        await _watch_server(database, on_pulse)


async def _watch_file(database: Database, on_pulse: OnPulse) -> None:
    path = Path(path_of(database.url))
    with contextlib.closing(database.connect()) as connection:
        connection.execute("PRAGMA busy_timeout=0")  # this is the event loop
        opened = path.stat()
        version, last = None, None
        changed_s = checked_s = trio.current_time()
        while True:
            now_s = trio.current_time()
            if now_s - checked_s >= FILE_CHECK_S:
                checked_s = now_s
                _check_file(path, opened)
            pulse = None
            with contextlib.suppress(*database.dialect.errors):  # locked: look again soon
                (found,) = connection.execute("PRAGMA data_version").fetchone()
                if found != version:
                    (schema,) = connection.execute("PRAGMA schema_version").fetchone()
                    pulse = pulse_of(connection.execute(PULSE).fetchone())._replace(schema=schema)
                    version = found
            if pulse is not None and (pulse != last or pulse.unsealed):
                last, changed_s = pulse, now_s
                if not await on_pulse(pulse):
                    version = last = None
            quiet_ms = int((now_s - changed_s) * 1000)
            pause_ms = polling_ms(quiet_ms, busy_ms=SQLITE_BUSY_MS, idle_ms=SQLITE_IDLE_MS)
            await trio.sleep(pause_ms / 1000)


async def _watch_server(database: Database, on_pulse: OnPulse) -> None:
    last = None
    changed_s = trio.current_time()
    server = _Server(database)
    try:
        while True:
            now_s = trio.current_time()
            try:
                pulse = await trio.to_thread.run_sync(server.look)
            except StoreError as error:
                if not error.transient:
                    raise
                await trio.sleep(LOST_PAUSE_S)
                continue
            if pulse != last or pulse.unsealed:
                last, changed_s = pulse, now_s
                if not await on_pulse(pulse):
                    last = None
            quiet_ms = int((now_s - changed_s) * 1000)
            pause_ms = polling_ms(quiet_ms, busy_ms=SERVER_BUSY_MS, idle_ms=SERVER_IDLE_MS)
            await server.wait(pause_ms / 1000)
    finally:
        server.close()


class _Server:
    """A connection of our own: a statement each time, no transaction around it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Any = None
        self._news: int | None = None

    def look(self) -> Pulse:
        """
        Raises:
            StoreError: The server cannot be reached; it is asked anew next time.
        """
        errors = self._database.dialect.errors
        try:
            if self._connection is None:
                self._connection = self._database.connect()
                self._news = self._database.dialect.listen(self._connection)
            with self._connection.cursor() as cursor:
                cursor.execute(PULSE)
                return pulse_of(cursor.fetchone())
        except errors as error:
            self.close()
            raise self._database.dialect.explained(error) from error

    async def wait(self, seconds: float) -> None:
        """Until the server tells of a commit, where it does, or for so long."""
        if self._news is None:
            await trio.sleep(seconds)
            return
        with trio.move_on_after(seconds):
            await trio.lowlevel.wait_readable(self._news)

    def close(self) -> None:
        self._news = None
        if self._connection is not None:
            with contextlib.suppress(*self._database.dialect.errors):
                self._connection.close()
            self._connection = None


def pulse_of(row: Any) -> Pulse:
    unsealed, lsn, members = row
    return Pulse(unsealed is not None, lsn or "", members or "")


def _check_file(path: Path, opened: os.stat_result) -> None:
    try:
        there = path.stat()
    except FileNotFoundError:
        there = None
    if there is None or (there.st_dev, there.st_ino) != (opened.st_dev, opened.st_ino):
        raise StoreError(
            f"{path} was {'removed' if there is None else 'replaced'} while `serve` was running; "
            "start it again: it notices a restored database and fetches what is missing"
        )
