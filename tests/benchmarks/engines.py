"""Databases for the workloads, and the application's own writes to them."""

import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pymysql
from benchmarks.processes import cpu_s
from benchmarks.rows import COLUMNS, Edit, Row
from servers import MariaDB

SQLITE_SCHEMA = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, uuid CHAR(38) NOT NULL UNIQUE,"
    " gender CHAR(1), birthdate DATE, dead BOOLEAN NOT NULL DEFAULT 0, creator INT,"
    " date_created DATETIME, date_changed DATETIME, voided BOOLEAN NOT NULL DEFAULT 0)",
    "CREATE TABLE obs (id INTEGER PRIMARY KEY AUTOINCREMENT, uuid CHAR(38) NOT NULL UNIQUE,"
    " person_id INT NOT NULL REFERENCES person (id), concept_id INT, value_numeric DOUBLE,"
    " value_text VARCHAR(255), obs_datetime DATETIME, creator INT, date_created DATETIME,"
    " voided BOOLEAN NOT NULL DEFAULT 0)",
)
MARIADB_SCHEMA = (
    "CREATE TABLE person (id INT PRIMARY KEY AUTO_INCREMENT, uuid CHAR(38) NOT NULL UNIQUE,"
    " gender CHAR(1), birthdate DATE, dead TINYINT(1) NOT NULL DEFAULT 0, creator INT,"
    " date_created DATETIME, date_changed DATETIME, voided TINYINT(1) NOT NULL DEFAULT 0)",
    "CREATE TABLE obs (id INT PRIMARY KEY AUTO_INCREMENT, uuid CHAR(38) NOT NULL UNIQUE,"
    " person_id INT NOT NULL, concept_id INT, value_numeric DOUBLE, value_text VARCHAR(255),"
    " obs_datetime DATETIME, creator INT, date_created DATETIME,"
    " voided TINYINT(1) NOT NULL DEFAULT 0,"
    " KEY (person_id), FOREIGN KEY (person_id) REFERENCES person (id))",
)
SQLITE_BARE = (
    "CREATE TABLE bare (id INTEGER PRIMARY KEY, ms)",
    "CREATE TRIGGER bare_insert AFTER INSERT ON person BEGIN INSERT INTO bare (ms)"
    " VALUES (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)); END",
)
MARIADB_BARE = (
    "CREATE TABLE bare (id BIGINT PRIMARY KEY AUTO_INCREMENT, ms BIGINT)",
    "CREATE TRIGGER bare_insert AFTER INSERT ON person FOR EACH ROW INSERT INTO bare (ms)"
    " VALUES (CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED))",
)


class Store:
    """One database with the workloads' tables, and the application's connection to it.

    Attributes:
        connection: Each statement commits by itself, durably.
        mark: The driver's mark for a parameter.
    """

    def __init__(self, url: str, connection: Any, mark: str) -> None:
        self.url = url
        self.connection = connection
        self.mark = mark

    def close(self) -> None:
        self.connection.close()

    def load(self, people: Sequence[Row], findings: Sequence[Row] = ()) -> None:
        """All rows in one transaction, by the driver's `executemany`."""
        with self._transaction() as cursor:
            cursor.executemany(self._insert("person"), people)
            if findings:
                cursor.executemany(self._insert("obs"), findings)

    def add(self, person: Row) -> None:
        """One row in a transaction of its own."""
        with self._transaction() as cursor:
            cursor.execute(self._insert("person"), person)

    def edit(self, edits: Sequence[Edit]) -> None:
        """All edits in one transaction, a prepared statement for each column."""
        by_column: dict[str, list[tuple[Any, str]]] = defaultdict(list)
        for person, column, value in edits:
            by_column[column].append((value, person))
        with self._transaction() as cursor:
            for column, changes in by_column.items():
                sql = f"UPDATE person SET {column}={self.mark} WHERE uuid={self.mark}"
                cursor.executemany(sql, changes)

    def run(self, *statements: str) -> None:
        cursor = self.connection.cursor()
        for statement in statements:
            cursor.execute(statement)
        cursor.close()

    def look(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = self.connection.cursor()
        cursor.execute(sql, values)
        found = list(cursor.fetchall())
        cursor.close()
        return found

    def count(self, table: str) -> int:
        return int(self.look(f"SELECT count(*) FROM {table}")[0][0])

    def rows(self, table: str) -> dict[str, Row]:
        """All rows by uuid without local ids; observations name their person by uuid."""
        names = [name for name in COLUMNS[table] if name not in ("id", "person_id")]
        columns = ", ".join(f"t.{name}" for name in names)
        if table == "person":
            sql = f"SELECT t.uuid, {columns} FROM person t"
        else:
            sql = f"SELECT t.uuid, p.uuid, {columns} FROM obs t JOIN person p ON p.id=t.person_id"
        return {row[0]: row[1:] for row in self.look(sql)}

    def bytes(self) -> int:
        """What it takes on the disk, nothing compacted."""
        raise NotImplementedError

    def _insert(self, table: str) -> str:
        columns = COLUMNS[table]
        marks = ", ".join([self.mark] * len(columns))
        return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        cursor = self.connection.cursor()
        cursor.execute("BEGIN")
        yield cursor
        cursor.execute("COMMIT")
        cursor.close()


class SqliteStore(Store):
    def __init__(self, path: Path) -> None:
        connection = sqlite3.connect(path, isolation_level=None, timeout=60)
        for name, value in (("journal_mode", "WAL"), ("synchronous", "FULL"), ("foreign_keys", 1)):
            connection.execute(f"PRAGMA {name}={value}")
        super().__init__(f"sqlite:///{path}", connection, "?")
        self._path = path

    def bytes(self) -> int:
        self.look("PRAGMA wal_checkpoint(TRUNCATE)")
        return self._path.stat().st_size


class MariadbStore(Store):
    def __init__(self, server: MariaDB, name: str) -> None:
        super().__init__(server.create_database(name), server.connect(name, autocommit=True), "%s")
        self._folder = server.folder / "rows" / name

    def bytes(self) -> int:
        return sum(path.stat().st_size for path in self._folder.glob("*.ibd"))


class Engine(Protocol):
    """A kind of database.

    Attributes:
        name: As `--engine` names it.
        version: What ran, for the table.
        bare: Statements that make a trigger which only writes a line with the time.
    """

    name: str
    version: str
    bare: tuple[str, ...]

    def create(self, name: str) -> Store:
        """An empty database of that name with the workloads' tables, in place of an older one."""
        ...

    def server_s(self) -> float:
        """CPU time so far of the database's own process, if it has one."""
        ...


class Sqlite:
    name = "sqlite"
    bare: tuple[str, ...] = SQLITE_BARE

    def __init__(self, folder: Path) -> None:
        self.version = f"SQLite {sqlite3.sqlite_version}"
        self._folder = folder

    def create(self, name: str) -> Store:
        for leftover in self._folder.glob(f"{name}.db*"):
            leftover.unlink()
        store = SqliteStore(self._folder / f"{name}.db")
        store.run(*SQLITE_SCHEMA)
        return store

    def server_s(self) -> float:
        return 0.0


class Mariadb:
    name = "mariadb"
    bare: tuple[str, ...] = MARIADB_BARE

    def __init__(self, server: MariaDB) -> None:
        self.version = f"MariaDB {server.version.partition('-')[0]}, PyMySQL {pymysql.__version__}"
        self._server = server

    def create(self, name: str) -> Store:
        store = MariadbStore(self._server, name)
        store.run(*MARIADB_SCHEMA)
        return store

    def server_s(self) -> float:
        return cpu_s(self._server.pid)


@contextmanager
def opened(name: str, folder: Path) -> Iterator[Engine]:
    """The engine of that name; a server, if it needs one, is private and ends with the block."""
    if name == "sqlite":
        yield Sqlite(folder)
    else:
        with MariaDB() as server:
            yield Mariadb(server)


class Meter:
    """CPU time of this thread and of the database's server since it was made."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._server_s = engine.server_s()
        self._thread_s = time.thread_time()

    def read_s(self) -> float:
        return time.thread_time() - self._thread_s + self._engine.server_s() - self._server_s


def flush_disks() -> None:
    """So that no workload pays for what the one before it left to be written."""
    os.sync()
