"""A database under test: an application's connection to a SQLite file, and a look inside.

Virtual time reaches the triggers as real time does, by the engine's own clock: the application's
connection has another `julianday()`, the function that the triggers ask.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Protocol

from syncnode.replica import DatabaseReplica
from syncnode.store.hidden import HELD, HiddenRows
from syncnode.store.table import Origins
from syncproto.codec import decode_cells
from syncproto.frontier import Frontier
from syncproto.identity import Dot, RowKey
from syncproto.keys import uuid_text
from syncproto.memory import ConflictName
from syncproto.row import Reference, Row, Value
from syncsim.schema import SimTable
from syncsim.subject import Application, Place, RefusedWrite

UUID = "uuid"  # the column that says a row's key
UNIX_EPOCH_JULIAN_DAYS = 2_440_587.5
DAY_MS = 86_400_000
NOBODY = -1  # a local key that no row has

Tables = Mapping[str, SimTable]


class SqliteApplication:
    """An application's connection to the file.

    Args:
        schema: The tables that it knows.
        clock: What the machine's clock shows, in milliseconds since 1970.
    """

    def __init__(self, path: Path, schema: Tables, clock: Callable[[], int]) -> None:
        self.schema = schema
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.create_function(
            "julianday", 0, lambda: UNIX_EPOCH_JULIAN_DAYS + clock() / DAY_MS
        )
        self.connection.execute("PRAGMA foreign_keys = ON")
        # The application may lose its last second in a power cut; tests gain most of theirs.
        self.connection.execute("PRAGMA synchronous = OFF")
        self._reading = {name: _select(name, table) for name, table in schema.items()}

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(self.schema)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What was written before a refusal stays, as with an application that goes on."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self.connection.execute("COMMIT")

    def write(self, table: str, key: RowKey, values: Mapping[str, Value]) -> None:
        """Insert the row if it says its uuid, else update it."""
        local = {name: self._local(value) for name, value in values.items()}
        if UUID in local:
            marks = ", ".join("?" * len(local))
            sql = f"INSERT INTO {table} ({', '.join(local)}) VALUES ({marks})"
            self._run(sql, tuple(local.values()))
        else:
            sets = ", ".join(f"{name} = ?" for name in local)
            sql = f"UPDATE {table} SET {sets} WHERE {UUID} = ?"
            self._run(sql, (*local.values(), uuid_text(key)))

    def delete(self, table: str, key: RowKey) -> None:
        self._run(f"DELETE FROM {table} WHERE {UUID} = ?", (uuid_text(key),))

    def read(self, table: str, key: RowKey) -> Mapping[str, Value] | None:
        return self.shown(table, f" WHERE t.{UUID} = ?", (uuid_text(key),)).get((table, key))

    def shown(
        self, table: str, where: str = "", parameters: tuple[object, ...] = ()
    ) -> dict[Place, dict[str, Value]]:
        sim, found = self.schema[table], {}
        references = tuple(sim.references.items())
        for row in self.connection.execute(self._reading[table] + where, parameters):
            values: dict[str, Value] = {UUID: row[0]}
            values |= zip(sim.columns, row[1:], strict=False)
            for place, (column, other) in enumerate(references, 1 + len(sim.columns)):
                values[column] = Reference(other, key_of(row[place])) if row[place] else None
            found[table, key_of(row[0])] = values
        return found

    def keeps_aside(self) -> bool:
        """Whether anything stamped in the future waits; a short look."""
        sql = "SELECT 1 FROM syncnode_row WHERE aside > 0 LIMIT 1"
        return self.connection.execute(sql).fetchone() is not None

    def copy(self) -> bytes:
        """The file as it is now."""
        content: bytes = self.connection.serialize()
        return content

    def close(self) -> None:
        self.connection.close()

    def _local(self, value: Value) -> object:
        if not isinstance(value, Reference):
            return value
        sql = f"SELECT id FROM {value.table} WHERE {UUID} = ?"
        found = self.connection.execute(sql, (uuid_text(value.key),)).fetchone()
        return found[0] if found else NOBODY

    def _run(self, sql: str, parameters: tuple[object, ...]) -> None:
        try:
            self.connection.execute(sql, parameters)
        except sqlite3.IntegrityError as error:
            raise RefusedWrite from error


class DatabaseSubject:
    """The look inside a database, whatever its engine: what `Subject` asks of the sidecar.

    A subclass has an `application` and a `replica`.
    """

    seal_each = True
    shows_rows = False

    @property
    def application(self) -> "Pictured":
        raise NotImplementedError

    @property
    def replica(self) -> DatabaseReplica:
        raise NotImplementedError

    def rows(self) -> Mapping[Place, Row]:
        found: dict[Place, Row] = {}
        replica = self.replica
        with replica.database.read() as tx:
            book = replica._load(tx)
            hidden = HiddenRows(book)
            origins = Origins(book.origin_of, decode_cells)
            for table in replica.tables.values():
                keys = [tuple(key) for key in tx.rows(f"SELECT id FROM {table.clock_name}")]
                for stored in table.by_pk(tx, keys, origins):
                    assert stored.clock is not None, "its line was found just now"
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
        replica = self.replica
        with replica.database.read() as tx:
            hidden = HiddenRows(replica._load(tx))
            return {
                (replica.tables[number].name, RowKey(key)): hidden.asides(number, RowKey(key))
                for number, key in tx.rows(
                    "SELECT DISTINCT tbl, row_key FROM syncnode_row WHERE aside>0"
                )
            }

    def visible(self) -> Mapping[Place, Mapping[str, Value]]:
        shown: dict[Place, Mapping[str, Value]] = {}
        for table in self.application.tables:
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


class Pictured(Application, Protocol):
    """An application that can show whole tables."""

    def shown(self, table: str) -> dict[Place, dict[str, Value]]:
        """The rows of a table as queries show them, each reference by the key it leads to."""
        ...


class SqliteSubject(DatabaseSubject):
    """A `Subject` over a file of its own.

    Args:
        opened: Opens the replica; asked when one is needed and none is attached.
    """

    def __init__(
        self,
        path: Path,
        schema: Tables,
        clock: Callable[[], int],
        opened: Callable[[Path], DatabaseReplica],
    ) -> None:
        self.path = path
        self._application = SqliteApplication(path, schema, clock)
        self._schema = schema
        self._clock = clock
        self._opened = opened
        self._replica: DatabaseReplica | None = None

    @property
    def application(self) -> SqliteApplication:
        return self._application

    @property
    def replica(self) -> DatabaseReplica:
        if self._replica is None:
            self._replica = self._opened(self.path)
        return self._replica

    def attach(self, replica: DatabaseReplica) -> None:
        """From now on this one is asked: a node has opened it."""
        self.detach()
        self._replica = replica

    def open_if_aside(self) -> None:
        """Have the replica open where `aside` will need it."""
        if self.application.keeps_aside() and self._replica is None:
            self._replica = self._opened(self.path)

    def detach(self) -> None:
        """The process that had the replica open is gone."""
        if self._replica is not None:
            self._replica.database.close()
            self._replica = None

    def aside(self) -> Mapping[Place, Sequence[Row]]:
        return super().aside() if self.application.keeps_aside() else {}

    # Ends and beginnings

    def restarted(self) -> "SqliteSubject":
        self.close()
        return self._over(self.path)

    def backup(self) -> "Callable[[], SqliteSubject]":
        kept, copies = self.application.copy(), count(1)

        def put_back() -> SqliteSubject:
            # Beside the file, for whoever has that open now.
            path = self.path.with_name(f"{self.path.stem}-{next(copies)}{self.path.suffix}")
            put_file(path, kept)
            return self._over(path)

        return put_back

    def replaced(self, content: bytes) -> "SqliteSubject":
        """The same with another database in the place of this one."""
        self.close()
        put_file(self.path, content)
        return self._over(self.path)

    def close(self) -> None:
        self.detach()
        self.application.close()

    def _over(self, path: Path) -> "SqliteSubject":
        return SqliteSubject(path, self._schema, self._clock, self._opened)


def put_file(path: Path, content: bytes) -> None:
    """Put a database in the place of another; nobody has either of them open."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.write_bytes(content)


def _select(name: str, table: SimTable) -> str:
    names = [f"t.{UUID}", *(f"t.{column}" for column in table.columns)]
    joins = ""
    for number, (column, other) in enumerate(table.references.items()):
        names.append(f"r{number}.{UUID}")
        joins += f" LEFT JOIN {other} r{number} ON r{number}.id = t.{column}"
    return f"SELECT {', '.join(names)} FROM {name} t{joins}"


def key_of(text: str) -> RowKey:
    """The key that a column `uuid` says."""
    return RowKey(bytes.fromhex(text.replace("-", "")))
