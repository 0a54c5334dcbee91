"""One `serve` for each database: a lock that the system releases when its holder dies.

It names the database, not the configuration, so that two configurations of one database meet in
it. On SQLite it is a lock on a file beside the database, on MariaDB and PostgreSQL a lock
of the server.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from syncnode.dialects.sqlite import path_of
from syncnode.store.database import Database
from syncproto.errors import StoreError

SUFFIX = "-syncnode.lock"
# `status` looks by taking the lock for an instant; a node that starts just then tries again.
ATTEMPTS = 10
ATTEMPT_PAUSE_S = 0.05


class TakenError(StoreError):
    """Another process holds the lock.

    Attributes:
        holder: That process, as far as it is known.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(
            f"another `syncnode serve` ({holder}) runs on this database already; end it first, "
            "or leave it to its work: commands such as `syncnode sync` run beside it"
        )
        self.holder = holder


class ServeLock(Protocol):
    """Held from `take` to `release`, or to the end of the process."""

    def take(self) -> None:
        """
        Raises:
            TakenError: Another process holds it.
            StoreError: The server cannot be reached.
        """
        ...

    def held(self) -> bool:
        """Ours still."""
        ...

    def release(self) -> None: ...

    def taken(self) -> bool:
        """Whether some process holds it."""
        ...


class FileLock:
    """A lock on a file beside the database."""

    def __init__(self, database_path: Path) -> None:
        self._database_path = database_path.resolve()
        self.path = Path(f"{self._database_path}{SUFFIX}")
        self._file: int | None = None

    def take(self) -> None:
        self._refuse_second_name()
        for _ in range(ATTEMPTS):
            file = self._opened()
            if _locked(file, fcntl.LOCK_EX) and _is(file, self.path):
                os.truncate(file, 0)
                os.write(file, f"{os.getpid()}\n".encode("ascii"))
                self._file = file
                return
            os.close(file)
            time.sleep(ATTEMPT_PAUSE_S)
        raise TakenError(self._holder())

    def _refuse_second_name(self) -> None:
        """SQLite names journals after the file as it was opened: who opens it by another hard
        link does not see them, and whatever he writes damages the database (sqlite.org,
        "How To Corrupt An SQLite Database File": multiple links to the same file)."""
        with contextlib.suppress(OSError):
            if (links := self._database_path.stat().st_nlink) > 1:
                raise StoreError(
                    f"{self._database_path} has {links} names (hard links), and programs that use "
                    "different ones damage the database: keep one, and copy the file for a backup"
                )

    def _opened(self) -> int:
        try:
            return os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if not self.path.parent.is_dir():
                raise StoreError(
                    f"{self.path.parent}: the folder of the database does not exist: check its path"
                ) from error
            raise StoreError(
                f"{self.path.parent}: the folder of the database is read-only for this user "
                f"({error.strerror}): give it the right to write there"
            ) from error

    def held(self) -> bool:
        """Ours still: the file was not taken away."""
        return self._file is not None and _is(self._file, self.path)

    def release(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self._file)
            self._file = None

    def taken(self) -> bool:
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not _locked(file, fcntl.LOCK_SH)
        finally:
            os.close(file)

    def _holder(self) -> str:
        with contextlib.suppress(OSError):
            pid = self.path.read_text().strip()
            if pid:
                return f"process {pid}"
        return "another process"


class ServerLock:
    """A named lock of the database's server, by a connection of its own."""

    def __init__(self, database: Database) -> None:
        assert database.dialect.serve_lock is not None, "it is a server"
        self._database = database
        self._statements = database.dialect.serve_lock
        self._connection: Any = None

    def take(self) -> None:
        with self._translated():
            self._connection = self._database.connect()
            if self._value(self._statements.take) == 1:
                return
            holder = self._value(self._statements.holder)
        self.release()
        raise TakenError(f"connection {holder} of the database server")

    def held(self) -> bool:
        """Ours still; taken again if only the connection was lost."""
        try:
            if self._value(self._statements.held) == 1:
                return True
        except self._database.dialect.errors:
            pass
        self.release()
        with self._translated():
            self._connection = self._database.connect()
            return bool(self._value(self._statements.take) == 1)

    def release(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(*self._database.dialect.errors):
                self._connection.close()
            self._connection = None

    def taken(self) -> bool:
        with self._database.read() as tx:
            return tx.value(self._statements.holder) is not None

    def _value(self, sql: str) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(sql)
        found = cursor.fetchone()
        cursor.close()
        return found[0]

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._database.dialect.errors as error:
            raise self._database.dialect.explained(error) from error


def serve_lock(database: Database) -> ServeLock:
    """The lock of this database; not taken yet."""
    if database.dialect.serve_lock is None:
        return FileLock(Path(path_of(database.url)))
    return ServerLock(database)


@contextlib.contextmanager
def alone(database: Database) -> Iterator[None]:
    """Keep daemons, and whoever else installs or uninstalls, from the database.

    Raises:
        StoreError: One of them is at work there.
    """
    lock = serve_lock(database)
    try:
        lock.take()
    except TakenError as error:
        raise StoreError(
            f"`syncnode serve` ({error.holder}) runs on this database: end it first"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _locked(file: int, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is(file: int, path: Path) -> bool:
    """The open file is the one at `path`, not one that was removed meanwhile."""
    try:
        there = path.stat()
    except OSError:
        return False
    here = os.fstat(file)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
