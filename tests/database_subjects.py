"""A replica beside a SQLite file, as the runs of `fleet.py` want it."""

import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

from fleet import COLUMNS, NOTE, PARENT_COLUMN, PATIENT, VISIT, Fleet
from sites import make_site

from syncnode.replica import DatabaseReplica
from syncnode.store.database import Database
from syncproto.identity import Origin
from syncproto.keys import uuid_text
from syncproto.row import Value
from syncsim.schema import SimTable
from syncsim.subject import NETWORK, Place
from syncsim.whole.birth import new_folder
from syncsim.whole.subject import SqliteSubject, put_file

SCHEMA = {
    PATIENT: SimTable(COLUMNS, {}),
    VISIT: SimTable(COLUMNS, {PARENT_COLUMN: PATIENT}),
    NOTE: SimTable(COLUMNS, {}),
}

_numbers = count(1)


class DatabaseFleet(Fleet):
    """A run over databases, where a new row says its uuid in a column like others."""

    def _values(self, number: int, place: Place, columns: Any) -> Mapping[str, Value]:
        values = super()._values(number, place, columns)
        if len(columns) == len(COLUMNS):
            return {**values, "uuid": uuid_text(place[1])}
        return values


def sqlite_subject(
    site: Origin,
    tables: tuple[str, ...],
    clock: Callable[[], int],
    nonce: Callable[[], int],
    rows_max: int,
) -> SqliteSubject:
    """The factory of replicas beside SQLite files."""
    path = _folder() / f"{next(_numbers)}.db"
    put_file(path, _template(tables))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE syncnode_origin SET site = ?", (site.site,))
        for name, value in (("site", site.site.hex()), ("network", NETWORK.hex())):
            sql = "UPDATE syncnode_setting SET value = ? WHERE name = ?"
            connection.execute(sql, (value, name))
    connection.close()

    def opened(path: Path) -> DatabaseReplica:
        database = Database(f"sqlite:///{path}")
        return plainly_cut(
            # The replica in memory passes on nothing of tables that it lacks, nor does this one.
            DatabaseReplica(
                database, None, wall_ms=clock, nonce=nonce, rows_first=rows_max, pass_on=False
            )
        )

    return SqliteSubject(path, {name: SCHEMA[name] for name in tables}, clock, opened)


def plainly_cut(replica: DatabaseReplica) -> DatabaseReplica:
    """With so many rows a chunk as it was told, whatever their size."""
    replica._tune = lambda *_: None  # type: ignore[method-assign]
    return replica


@lru_cache
def _folder() -> Path:
    kept = new_folder()
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
