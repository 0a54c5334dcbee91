"""A replica beside a SQLite file, as the runs of `fleet.py` want it.

Virtual time reaches the triggers by a trick: before it commits, each of the application's
transactions puts the run's clock in place of the machine's in the lines that it has written.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

from fleet import COLUMNS, PARENT_COLUMN, PATIENT, VISIT, Fleet
from sites import connect, make_site

from syncnode.database import Database
from syncnode.hidden import HELD, HiddenRows
from syncnode.replica import DatabaseReplica
from syncnode.table import Origins
from syncproto.codec import decode_cells
from syncproto.frontier import Frontier
from syncproto.identity import Dot, Origin, RowKey
from syncproto.keys import uuid_text
from syncproto.memory import ConflictName
from syncproto.row import Reference, Row, Value
from syncsim.subject import NETWORK, Place, RefusedWrite

# A run of hundreds of little files is about what they hold, not about the disk.
MEMORY_FOLDER = Path("/dev/shm")

_numbers = count(1)


class DatabaseFleet(Fleet):
    """A run over databases, where a new row says its uuid in a column like others."""

    def _values(self, number: int, place: Place, columns: Any) -> Mapping[str, Value]:
        values = super()._values(number, place, columns)
        if len(columns) == len(COLUMNS):
            return {**values, "uuid": uuid_text(place[1])}
        return values


class SqliteApplication:
    """An application's connection to the file."""

    def __init__(self, path: Path, tables: tuple[str, ...], clock: Callable[[], int]) -> None:
        self.tables = tables
        self._clock = clock
        self.connection = connect(f"sqlite:///{path}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What was written before a refusal stays, as with an application that goes on."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self.connection.execute("UPDATE syncnode_journal SET ms = ?", (self._clock(),))
            self.connection.execute("COMMIT")

    def write(self, table: str, key: RowKey, values: Mapping[str, Value]) -> None:
        local = {name: self._local(value) for name, value in values.items()}
        if "uuid" in local:
            marks = ", ".join("?" * len(local))
            sql = f"INSERT INTO {table} ({', '.join(local)}) VALUES ({marks})"
            self._run(sql, tuple(local.values()))
        else:
            sets = ", ".join(f"{name} = ?" for name in local)
            sql = f"UPDATE {table} SET {sets} WHERE uuid = ?"
            self._run(sql, (*local.values(), uuid_text(key)))

    def delete(self, table: str, key: RowKey) -> None:
        self._run(f"DELETE FROM {table} WHERE uuid = ?", (uuid_text(key),))

    def read(self, table: str, key: RowKey) -> Mapping[str, Value] | None:
        return self.shown(table, " WHERE t.uuid = ?", (uuid_text(key),)).get((table, key))

    def shown(
        self, table: str, where: str = "", parameters: tuple[object, ...] = ()
    ) -> dict[Place, dict[str, Value]]:
        names = ["t.uuid", *(f"t.{name}" for name in COLUMNS)]
        join = ""
        if table == VISIT:
            names.append("p.uuid")
            join = f" LEFT JOIN {PATIENT} p ON p.id = t.{PARENT_COLUMN}"
        found: dict[Place, dict[str, Value]] = {}
        for row in self.connection.execute(
            f"SELECT {', '.join(names)} FROM {table} t{join}{where}", parameters
        ):
            values: dict[str, Value] = dict(zip(COLUMNS, row[1:4], strict=True))
            values["uuid"] = row[0]
            if table == VISIT:
                key = row[4] and _key(row[4])
                values[PARENT_COLUMN] = Reference(PATIENT, key) if key else None
            found[table, _key(row[0])] = values
        return found

    def _local(self, value: Value) -> object:
        if not isinstance(value, Reference):
            return value
        sql = f"SELECT id FROM {value.table} WHERE uuid = ?"
        found = self.connection.execute(sql, (uuid_text(value.key),)).fetchone()
        return found[0] if found else -1

    def _run(self, sql: str, parameters: tuple[object, ...]) -> None:
        try:
            self.connection.execute(sql, parameters)
        except sqlite3.IntegrityError as error:
            raise RefusedWrite from error


class SqliteSubject:
    """A `Subject` over a file of its own."""

    seal_each = True
    shows_rows = False

    def __init__(self, path: Path, tables: tuple[str, ...], options: Mapping[str, Any]) -> None:
        self._path = path
        self._tables = tables
        self._options = options
        self.replica = DatabaseReplica(Database(f"sqlite:///{path}"), None, **options)
        # So many rows a chunk as the run says, whatever their size.
        self.replica._tune = lambda *_: None  # type: ignore[method-assign]
        self.application = SqliteApplication(path, tables, options["wall_ms"])

    def rows(self) -> Mapping[Place, Row]:
        found: dict[Place, Row] = {}
        with self.replica.database.read() as tx:
            book = self.replica._load(tx)
            hidden = HiddenRows(book)
            origins = Origins(book.origin_of, decode_cells)
            for table in self.replica.tables.values():
                keys = [tuple(key) for key in tx.rows(f"SELECT id FROM {table.clock_name}")]
                for stored in table.by_pk(tx, keys, origins):
                    assert stored.clock is not None
                    found[table.name, stored.clock.key] = table.row_of(stored)
                all_keys = tx.rows(
                    f"SELECT DISTINCT row_key FROM syncnode_row WHERE aside=0 AND tbl={tx.mark}",
                    (table.number,),
                )
                for key, here in hidden.get(table.number, [RowKey(k) for (k,) in all_keys]).items():
                    if here.place != HELD:
                        found[table.name, key] = here.row
        return found

    def aside(self) -> Mapping[Place, Sequence[Row]]:
        with self.replica.database.read() as tx:
            hidden = HiddenRows(self.replica._load(tx))
            return {
                (self.replica.tables[number].name, RowKey(key)): hidden.asides(number, RowKey(key))
                for number, key in tx.rows(
                    "SELECT DISTINCT tbl, row_key FROM syncnode_row WHERE aside>0"
                )
            }

    def visible(self) -> Mapping[Place, Mapping[str, Value]]:
        shown: dict[Place, Mapping[str, Value]] = {}
        for table in self._tables:
            shown |= self.application.shown(table)
        return shown

    def conflicts(self) -> Set[ConflictName]:
        with self.replica.database.read() as tx:
            return {record.conflict.name for record in self.replica._load(tx).conflicts()}

    def frontier(self) -> Frontier:
        with self.replica.database.read() as tx:
            return self.replica._load(tx).frontier

    def nonces(self) -> Mapping[Dot, int]:
        with self.replica.database.read() as tx:
            book = self.replica._load(tx)
            return {
                Dot(book.origin_of(number), seq): nonce
                for number, seq, nonce in tx.rows(
                    "SELECT origin, seq, nonce FROM syncnode_changeset"
                )
            }

    def restarted(self) -> "SqliteSubject":
        self._close()
        return SqliteSubject(self._path, self._tables, self._options)

    def backup(self) -> Callable[[], "SqliteSubject"]:
        kept = self.application.connection.serialize()

        def put_back() -> SqliteSubject:
            return SqliteSubject(_file(kept), self._tables, self._options)

        return put_back

    def _close(self) -> None:
        self.replica.database.close()
        self.application.connection.close()


def sqlite_subject(
    site: Origin,
    tables: tuple[str, ...],
    clock: Callable[[], int],
    nonce: Callable[[], int],
    rows_max: int,
) -> SqliteSubject:
    """The factory of replicas beside SQLite files."""
    path = _file(_template(tables))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE syncnode_origin SET site = ?", (site.site,))
        for name, value in (("site", site.site.hex()), ("network", NETWORK.hex())):
            sql = "UPDATE syncnode_setting SET value = ? WHERE name = ?"
            connection.execute(sql, (value, name))
    connection.close()
    options = {"wall_ms": clock, "nonce": nonce, "rows_first": rows_max}
    return SqliteSubject(path, tables, options)


@lru_cache
def _folder() -> Path:
    kept = tempfile.TemporaryDirectory(dir=MEMORY_FOLDER if MEMORY_FOLDER.is_dir() else None)
    _kept.append(kept)
    return Path(kept.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


@lru_cache
def _template(tables: tuple[str, ...]) -> bytes:
    """The file of a new site with these tables, without rows."""
    columns = "id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, a INTEGER, b INTEGER, c INTEGER"
    ddl = [
        f"CREATE TABLE {table} ({columns}"
        + (f", {PARENT_COLUMN} INTEGER REFERENCES {PATIENT}(id)" if table == VISIT else "")
        + ")"
        for table in tables
    ]
    site = make_site(_folder(), f"template{next(_numbers)}", ddl)
    content: bytes = site.connection.serialize()
    site.close()
    return content


def _file(content: bytes) -> Path:
    path = _folder() / f"{next(_numbers)}.db"
    path.write_bytes(content)
    return path


def _key(text: str) -> RowKey:
    return RowKey(bytes.fromhex(text.replace("-", "")))
