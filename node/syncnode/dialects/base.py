"""What the node asks of a database engine."""

import enum
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from syncproto.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from syncnode.database import Transaction
    from syncnode.schema.plan import ColumnPlan, TablePlan


class Mode(enum.Enum):
    """What a transaction is for, and so what it sees."""

    READ = "read"
    WRITE = "write"
    SNAPSHOT = "snapshot"


class Dialect(Protocol):
    """Where engines differ.

    Attributes:
        name: "sqlite" or "mysql".
        mark: The driver's mark for a parameter.
        errors: The driver's exceptions.
        blob, big, word: Types of sidecar columns: bytes, 64-bit integers, short texts.
        upsert_is_replace: REPLACE INTO is the engine's own way to write a row whole.
    """

    name: str
    mark: str
    errors: tuple[type[Exception], ...]
    blob: str
    big: str
    word: str
    table_options: str

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

    def checks_off(self, tx: "Transaction", off: bool) -> None:
        """Let rows come before the parents that come in the same transaction.

        Only for rows whose parents were checked by us. SQLite checks at the commit whatever
        is said here.
        """
        ...

    def next_local_key(self, tx: "Transaction", table: "TablePlan") -> int:
        """The lowest integer that the engine would give to the next row, or above."""
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


class EngineError(StoreError):
    """The engine's own words, of which nothing more is known here."""


class Unfit(Exception):
    """A value that a column cannot hold exactly; the text says why."""
