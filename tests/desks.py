"""The application at one site, as it writes a day's work: plain SQL, a transaction an event.

A `Desk` knows its database by its own connection alone. Rows are picked by uuid, never by a local
number, so that the same draws write the same on every engine. `Lost` keeps, beside the databases,
which values somebody saw when he wrote over them: the others that do not stand must be on record.
"""

import random
import sqlite3
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

import psycopg
import pymysql
from mariadb_sites import run
from sites import Site
from tables import Record, Statement, change, deletion, dialect_of, execute, insertion

REFUSED = (sqlite3.IntegrityError, pymysql.err.IntegrityError, psycopg.IntegrityError)

Event = Callable[[str], object]
Cell = tuple[str, str, str]  # table, uuid, column


class Desk:
    """What every application does; what a certain one does, by name, says `events`.

    Attributes:
        done: Events that are committed.
        refused: Events that the engine refused, which leaves everything as it was.
    """

    def __init__(self, site: Site, draw: random.Random, lost: "Lost") -> None:
        self.site = site
        self.draw = draw
        self.lost = lost
        self.done = self.refused = 0
        self._dialect = dialect_of(site.connection)
        self._count = 0

    def events(self) -> Mapping[str, Event]:
        raise NotImplementedError

    def do(self, event: Event, now: str) -> None:
        """One event, whole or not at all."""
        self.site.sql("BEGIN")
        try:
            event(now)
        except REFUSED:
            self.site.sql("ROLLBACK")
            self.refused += 1
        else:
            self.site.sql("COMMIT")
            self.done += 1

    def insert(self, table: str, **record: Any) -> int:
        """A new row; the number that the engine gave it, for a table whose first column has one."""
        statement = insertion(table, record, self._dialect)
        if self._dialect == "postgresql":
            # `lastval` would be the number of some other sequence: triggers have theirs.
            returning = Statement(statement.sql + " RETURNING *", statement.parameters)
            number = execute(self.site.connection, returning)[0][0]
            return int(number) if str(number).isdigit() else 0
        cursor = self.site.connection.cursor()
        cursor.execute(*statement)
        number = cursor.lastrowid
        cursor.close()
        return int(number)

    def change(self, table: str, where: Record, **record: Any) -> None:
        execute(self.site.connection, change(table, record, where, self._dialect))

    def delete(self, table: str, **where: Any) -> None:
        execute(self.site.connection, deletion(table, where, self._dialect))

    def ask(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return run(self.site, sql, *parameters)

    def one(self, sql: str, *parameters: object) -> Any:
        """The first value, or None where there is no row."""
        found = self.ask(sql, *parameters)
        return found[0][0] if found else None

    def uuid(self) -> str:
        return str(uuid.UUID(int=self.draw.getrandbits(128), version=4))

    def text(self, what: str) -> str:
        """A text that nobody else writes."""
        self._count += 1
        return f"{what} {self.site.name}-{self._count}"

    def number_of(self, table: str, key: str, name: str) -> Any:
        return self.one(f"SELECT {key} FROM {table} WHERE uuid = ?", name)

    def rewrite(self, cell: Cell) -> None:
        """Write a text of its own to a cell that other sites write, too."""
        table, name, column = cell
        over = self.one(f"SELECT {column} FROM {table} WHERE uuid = ?", name)
        text = self.text("said")
        self.change(table, {"uuid": name}, **{column: text})
        self.lost.written(cell, text, over=str(over))


class Lost:
    """Which values gave way unseen: those that nobody replaced while he saw them."""

    def __init__(self) -> None:
        self._written: dict[Cell, set[str]] = {}
        self._replaced: dict[Cell, set[str]] = {}

    def written(self, cell: Cell, text: str, *, over: str) -> None:
        self._written.setdefault(cell, set()).add(text)
        self._replaced.setdefault(cell, set()).add(over)

    def of(self, cell: Cell, stands: str) -> set[str]:
        """The values of a cell that neither stand nor were replaced."""
        written = self._written[cell]
        assert stands in written, f"{cell} shows what nobody wrote: {stands}"
        return written - self._replaced[cell] - {stands}

    def cells(self) -> Collection[Cell]:
        return self._written.keys()
