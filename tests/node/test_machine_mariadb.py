"""The runs of `protocol/`, over MariaDB databases: the same faults, the same judges, fewer runs.

A database is made once for each place in a run, and emptied for the next run.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pymysql
import pytest
from database_runs import run
from database_subjects import plainly_cut
from fleet import COLUMNS, PARENT_COLUMN, PATIENT, VISIT, Fleet
from mariadb_sites import say
from servers import MariaDB
from sites import make_site

from syncnode.replica import DatabaseReplica
from syncnode.store.database import Database
from syncproto.identity import Origin, RowKey
from syncproto.keys import uuid_text
from syncproto.row import Reference, Value
from syncsim.subject import NETWORK, Place, RefusedWrite
from syncsim.whole.subject import DatabaseSubject, key_of

SEEDS = 5
STEPS = 30

Content = dict[str, list[tuple[Any, ...]]]


class Application:
    """An application's connection to a MariaDB database."""

    def __init__(self, connection: Any, tables: tuple[str, ...], clock: Callable[[], int]) -> None:
        self.tables = tables
        self.connection = connection
        self._clock = clock

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What was written before a refusal stays, as with an application that goes on."""
        say(self.connection, "BEGIN")
        try:
            yield
        finally:
            say(self.connection, "UPDATE syncnode_journal SET ms = ?", self._clock())
            say(self.connection, "COMMIT")

    def write(self, table: str, key: RowKey, values: Mapping[str, Value]) -> None:
        local = {name: self._local(value) for name, value in values.items()}
        if "uuid" in local:
            marks = ", ".join("?" * len(local))
            self._run(f"INSERT INTO {table} ({', '.join(local)}) VALUES ({marks})", *local.values())
        else:
            sets = ", ".join(f"{name} = ?" for name in local)
            sql = f"UPDATE {table} SET {sets} WHERE uuid = ?"
            self._run(sql, *local.values(), uuid_text(key))

    def delete(self, table: str, key: RowKey) -> None:
        self._run(f"DELETE FROM {table} WHERE uuid = ?", uuid_text(key))

    def read(self, table: str, key: RowKey) -> Mapping[str, Value] | None:
        return self.shown(table, " WHERE t.uuid = ?", uuid_text(key)).get((table, key))

    def shown(self, table: str, where: str = "", *parameters: object) -> dict[Place, Any]:
        names = ["t.uuid", *(f"t.{name}" for name in COLUMNS)]
        join = ""
        if table == VISIT:
            names.append("p.uuid")
            join = f" LEFT JOIN {PATIENT} p ON p.id = t.{PARENT_COLUMN}"
        found: dict[Place, Any] = {}
        for row in say(
            self.connection, f"SELECT {', '.join(names)} FROM {table} t{join}{where}", *parameters
        ):
            values: dict[str, Value] = dict(zip(COLUMNS, row[1:4], strict=True))
            values["uuid"] = row[0]
            if table == VISIT:
                key = row[4] and key_of(row[4])
                values[PARENT_COLUMN] = Reference(PATIENT, key) if key else None
            found[table, key_of(row[0])] = values
        return found

    def _local(self, value: Value) -> object:
        if not isinstance(value, Reference):
            return value
        found = say(
            self.connection, f"SELECT id FROM {value.table} WHERE uuid = ?", uuid_text(value.key)
        )
        return found[0][0] if found else -1

    def _run(self, sql: str, *parameters: object) -> None:
        try:
            say(self.connection, sql, *parameters)
        except pymysql.IntegrityError as error:
            raise RefusedWrite from error


class Subject(DatabaseSubject):
    """A `Subject` over a database of MariaDB; what is asked of the sidecar is asked alike."""

    def __init__(self, place: "PlaceOfDatabase", options: Mapping[str, Any]) -> None:
        self._place = place
        self._options = options
        self._replica = plainly_cut(DatabaseReplica(Database(place.url), None, **options))
        self._application = Application(place.connect(), place.tables, options["wall_ms"])

    @property
    def application(self) -> Application:
        return self._application

    @property
    def replica(self) -> DatabaseReplica:
        return self._replica

    def restarted(self) -> "Subject":
        self.close()
        return Subject(self._place, self._options)

    def backup(self) -> Callable[[], "Subject"]:
        kept = self._place.content()

        def put_back() -> Subject:
            self.close()
            self._place.put(kept)
            return Subject(self._place, self._options)

        return put_back

    def close(self) -> None:
        self.replica.database.close()
        self.application.connection.close()


class PlaceOfDatabase:
    """A database that serves one site of each run."""

    def __init__(self, server: MariaDB, folder: Path, tables: tuple[str, ...], name: str) -> None:
        self.tables = tables
        self.url = server.create_database(name)
        self._server = server
        self._name = name
        columns = (
            "id INTEGER PRIMARY KEY AUTO_INCREMENT, uuid CHAR(36) NOT NULL UNIQUE, a INT, b INT,"
            " c INT"
        )
        parent = f", {PARENT_COLUMN} INT, FOREIGN KEY ({PARENT_COLUMN}) REFERENCES {PATIENT} (id)"
        ordered = sorted(tables, key=lambda table: table == VISIT)
        ddl = [
            f"CREATE TABLE {table} ({columns}{parent if table == VISIT else ''})"
            for table in ordered
        ]
        site = make_site(folder, name, ddl, url=self.url)
        self._numbers = {table.name: table.number for table in site.replica.plan}
        site.close()
        self._empty = self.content()

    def connect(self) -> Any:
        return self._server.connect(self._name, autocommit=True, charset="utf8mb4")

    def content(self) -> Content:
        with self.connect() as connection:
            names = [name for (name,) in say(connection, "SHOW TABLES")]
            return {name: say(connection, f"SELECT * FROM {name}") for name in names}

    def put(self, content: Content) -> None:
        """Put these rows in place of what is there, unseen by the triggers."""
        with self.connect() as connection:
            say(connection, "SET foreign_key_checks = 0, sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
            say(connection, "BEGIN")
            for name, rows in content.items():
                number = self._numbers.get(name)
                say(connection, f"SET @syncnode_applying = {number or 'NULL'}")
                say(connection, f"DELETE FROM {name}")
                for row in rows:
                    marks = ", ".join("?" * len(row))
                    say(connection, f"INSERT INTO {name} VALUES ({marks})", *row)
            say(connection, "COMMIT")

    def subject(self, site: Origin, options: Mapping[str, Any]) -> Subject:
        self.put(self._empty)
        with self.connect() as connection:
            say(connection, "UPDATE syncnode_origin SET site = ?", site.site)
            for name, value in (("site", site.site.hex()), ("network", NETWORK.hex())):
                say(connection, "UPDATE syncnode_setting SET value = ? WHERE name = ?", value, name)
        return Subject(self, options)


class Places:
    """The databases of all runs; each run takes its own and gives them back."""

    def __init__(self, server: MariaDB, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._numbers = count(1)
        self._free: list[PlaceOfDatabase] = []
        self._made: list[PlaceOfDatabase] = []

    def __call__(
        self,
        site: Origin,
        tables: tuple[str, ...],
        clock: Callable[[], int],
        nonce: Callable[[], int],
        rows_max: int,
    ) -> Subject:
        place = next((one for one in self._free if one.tables == tables), None)
        if place is None:
            name = f"machine{next(self._numbers)}"
            self._server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
            place = PlaceOfDatabase(self._server, self._folder, tables, name)
            self._made.append(place)
            self._server.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
        else:
            self._free.remove(place)
        return place.subject(site, {"wall_ms": clock, "nonce": nonce, "rows_first": rows_max})

    def free(self, fleet: Fleet) -> None:
        """The run is over."""
        for site in fleet.sites:
            subject = site.subject
            assert isinstance(subject, Subject)
            subject.close()
        self._free = list(self._made)


@pytest.fixture
def places(mariadb: MariaDB, tmp_path: Path) -> Iterator[Places]:
    # The runs are about what is decided, not about the disk; the server outlives them.
    made = Places(mariadb, tmp_path)
    try:
        yield made
    finally:
        mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        for place in made._made:
            mariadb.execute(f"DROP DATABASE {place._name}")


def test_no_run_over_mariadb_breaks_a_promise(places: Places, seeds: int) -> None:
    for seed in range(SEEDS * seeds):
        try:
            places.free(run(seed, places, steps=STEPS))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
