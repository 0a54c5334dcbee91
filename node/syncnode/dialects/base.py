"""What the node asks of a database engine."""

import enum
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from syncproto.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from syncnode.schema.plan import ColumnPlan, TablePlan
    from syncnode.store.database import Transaction


class Mode(enum.Enum):
    """What a transaction is for, and so what it sees."""

    READ = "read"
    WRITE = "write"
    SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class LockStatements:
    """How a named lock of a server is asked for, by statements with one value each.

    Attributes:
        take: True if it is ours now.
        holder: The connection that holds it; NULL if none does.
        held: True if this connection does.
    """

    take: str
    holder: str
    held: str


class Dialect(Protocol):
    """Where engines differ.

    Attributes:
        name: "sqlite", "mysql" or "postgresql".
        mark: The driver's mark for a parameter.
        errors: The driver's exceptions.
        blob, key, short, big, word, text: Types of sidecar columns: bytes, 16 bytes, up to 64
            bytes, 64-bit integers, short texts, texts.
        clock_options: What follows the columns of a clock table that is keyed by anything but
            one integer.
        partial_indexes: An index may leave rows out.
        overriding: What an INSERT says before VALUES so that every column takes its value.
        serve_lock: The lock of `serve`; None where it is a file.
        names_per_query: How many texts `among` takes at once.
    """

    name: str
    mark: str
    errors: tuple[type[Exception], ...]
    blob: str
    key: str
    short: str
    big: str
    word: str
    text: str
    table_options: str
    clock_options: str
    partial_indexes: bool
    overriding: str
    serve_lock: LockStatements | None
    names_per_query: int

    def quote(self, name: str) -> str:
        """A name as an identifier in statements that take parameters."""
        ...

    def create_engine(self, url: str, *, pool_size: int) -> "Engine": ...

    def connect(self, url: str) -> Any: ...

    def begin(self, tx: "Transaction", mode: Mode) -> None: ...

    def commit(self, tx: "Transaction") -> None: ...

    def exclusive(self, tx: "Transaction", mode: Mode) -> AbstractContextManager[None]:
        """Keep other processes of the node from sealing or applying meanwhile."""
        ...

    def explained(self, error: Exception) -> StoreError:
        """The error in words for the database's operator."""
        ...

    def damaged_text_marked(
        self, connection: Any, error: Exception
    ) -> AbstractContextManager[None]:
        """Read again what `error` says cannot be read as text, damaged texts as `marked` has
        them; raises `error` if it is another one."""
        ...

    def refusal(self, error: Exception) -> tuple[str, str] | None:
        """Why the engine refused one row, as (reason, detail); None if it was not the row."""
        ...

    def local_number_taken(self, table: "TablePlan", error: Exception) -> bool:
        """Whether a row was refused only since its local number, which means nothing, is another
        row's by now."""
        ...

    def lock_rows(
        self, tx: "Transaction", table: "TablePlan", keys: Sequence[Sequence[Any]]
    ) -> None:
        """Lock rows by primary key, in key order, or raise a transient error soon."""
        ...

    def applying(self, tx: "Transaction", number: int) -> None:
        """Tell capture that the node writes table `number` now; 0 when it is done."""
        ...

    def capture_paused(self, tx: "Transaction", number: int) -> AbstractContextManager[None]:
        """Bulk goes into table `number` without even asking its capture triggers to keep quiet,
        where the engine lets nobody else write meanwhile."""
        ...

    def catching_up(self, tx: "Transaction", on: bool) -> None:
        """Tell the engine that a catch-up goes in steps on this connection, or that it is over."""
        ...

    def checks_off(self, tx: "Transaction", off: bool) -> None:
        """Let rows come before the parents that come in the same transaction.

        Only for rows whose parents were checked by us. SQLite checks at the commit whatever
        is said here, PostgreSQL from here on.
        """
        ...

    def next_local_key(self, tx: "Transaction", table: "TablePlan") -> int:
        """The lowest integer that the engine would give to the next row, or above."""
        ...

    def reserve(self, tx: "Transaction", table: "TablePlan", count: int, start: int | None) -> int:
        """The first of `count` local numbers in a row for rows that are to be written; `start`
        is where those given in this transaction end, if any were."""
        ...

    def raise_counters(self, tx: "Transaction", table: "TablePlan") -> None:
        """Rows were written with numbers of their own: the engine's next one lies above."""
        ...

    def reference(self, key: str, local: str) -> str:
        """SQL for a row's key; where there is none, the local number that leads nowhere, in a
        form that is no key."""
        ...

    def write_mark(self, table: "TablePlan", column: "ColumnPlan") -> str:
        """The mark for a value that is written into a column."""
        ...

    def insert_many(
        self,
        tx: "Transaction",
        into: str,
        columns: Sequence[str],
        marks: Sequence[str],
        rows: Sequence[Sequence[Any]],
    ) -> None:
        """Insert rows into a table by whatever way is the fastest; all of them, or the error of
        one that the engine refuses. Names are quoted, marks as `write_mark` has them."""
        ...

    def delete_one(self, table: "TablePlan", names: Sequence[str]) -> str:
        """The statement that deletes one of the rows with these values in these columns."""
        ...

    def among(
        self, column: "ColumnPlan", expression: str, names: Sequence[str]
    ) -> tuple[str, Sequence[object]]:
        """SQL for whether the text in a column is one of these, which are hexadecimal digits and
        dashes only; and its parameters."""
        ...

    def same_bytes(self, column: "ColumnPlan", one: str, other: str) -> str:
        """SQL for whether two values of a column are the same, byte by byte, NULL included."""
        ...

    def key_type(self, column: "ColumnPlan") -> str:
        """The type of a column of the application where the sidecar holds its values."""
        ...

    def read_expression(self, column: "ColumnPlan", expression: str) -> str:
        """SQL that reads a column exactly."""
        ...

    def to_wire(self, column: "ColumnPlan") -> Any:
        """A function from what the driver reads to a wire value; None for identity."""
        ...

    def from_wire(self, column: "ColumnPlan") -> Any:
        """A function from a wire value to what the driver writes; None for identity.

        The function raises `Unfit` for a value that the column cannot hold exactly.
        """
        ...

    def plain(self, column: "ColumnPlan", values: Sequence[Any]) -> bool:
        """Whether what `from_wire` gives would leave all of these as they are; asked at once,
        since one by one that costs more than the rows."""
        ...

    def durability(self, tx: "Transaction") -> str | None:
        """Why a commit here may be forgotten in a power cut; None if it is durable."""
        ...

    def listen(self, connection: Any) -> int | None:
        """Have the server tell this connection of commits: a file that becomes readable then;
        None where it cannot."""
        ...


def insert_sql(dialect: Dialect, into: str, columns: Sequence[str], marks: Sequence[str]) -> str:
    """The statement that inserts one row."""
    return (
        f"INSERT INTO {into} ({', '.join(columns)}){dialect.overriding} VALUES ({', '.join(marks)})"
    )


DAMAGED = "\ufffe\ufffe"  # no characters, so no text of people begins with them
"""Stands before a text that is no UTF-8, which SQLite keeps and no message can carry as text. Its
bytes follow as the characters of the same numbers."""


def marked(raw: bytes) -> str:
    """A damaged text as it travels."""
    return DAMAGED + raw.decode("latin-1")


def check_sound(value: object) -> None:
    """
    Raises:
        Unfit: The value is a damaged text: no driver writes one.
    """
    if isinstance(value, str) and value.startswith(DAMAGED):
        shown = value.removeprefix(DAMAGED)[:20].encode("latin-1", "replace").hex()
        raise Unfit(f"the text is no UTF-8 (its bytes: {shown}…): mend it where it was written")


LOCAL_NUMBER = "the local number "
"""Stands before a local number that leads to no row, where the engine gives keys and numbers in
one column as bytes: no key is so long."""


class EngineError(StoreError):
    """The engine's own words, of which nothing more is known here."""


class Unfit(Exception):
    """A value that a column cannot hold exactly; the text says why."""
