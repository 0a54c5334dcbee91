"""SQLite: one writer at a time, so a writing transaction is the lock."""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from syncnode.dialects.base import (
    DAMAGED,
    EngineError,
    LockStatements,
    Mode,
    Unfit,
    check_sound,
    insert_sql,
    marked,
)
from syncnode.dialects.names import quote_sqlite
from syncnode.store.decimals import with_decimals
from syncproto.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from syncnode.schema.plan import ColumnPlan, TablePlan
    from syncnode.store.database import Transaction

BUSY_MS = 5_000  # how long to wait for the application's own writing transaction
CACHE_KIB = 16_384  # measured: below this, large batches spill; above, memory grows for nothing
CATCH_UP_CACHE_KIB = 65_536  # while steps follow each other; given back at the end
EXACT_INTEGERS = 1 << 53  # from here on a float does not tell neighbours apart
VERSION_MIN = (3, 35, 0)  # RETURNING, upsert, window functions


class KeyedConnection(sqlite3.Connection):
    """A connection with the function `syncnode_key(text)`: the row key of a canonical UUID.

    Clocks of a bulk are then written by one INSERT ... SELECT, at less than half of what it
    costs to carry each row through Python and back. The function does not check its texts; it
    keeps them in `keyed`, for the caller to check them all at once.
    """

    keyed: list[str]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        keyed: list[str] = []
        self.keyed = keyed
        keep, bytes_of = keyed.append, bytes.fromhex

        def key(text: str) -> bytes:
            keep(text)
            return bytes_of(text.replace("-", ""))

        self.create_function("syncnode_key", 1, key)


class SqliteDialect:
    """See `Dialect`."""

    name = "sqlite"
    mark = "?"
    errors: tuple[type[Exception], ...] = (sqlite3.Error, sqlite3.Warning)
    blob = "BLOB"
    big = "INTEGER"
    word = "TEXT"
    key = "BLOB"
    short = "BLOB"
    text = "TEXT"
    table_options = ""
    clock_options = " WITHOUT ROWID"
    partial_indexes = True
    overriding = ""
    serve_lock: LockStatements | None = None
    names_per_query = 500  # of one statement, which stays prepared; longer gains nothing

    def quote(self, name: str) -> str:
        return quote_sqlite(name)

    def create_engine(self, url: str, *, pool_size: int) -> "Engine":
        import sqlalchemy
        from sqlalchemy.pool import QueuePool

        return sqlalchemy.create_engine(
            "sqlite://",
            creator=lambda: self.connect(url),
            poolclass=QueuePool,
            pool_size=pool_size,
            max_overflow=0,
            pool_reset_on_return="rollback",
        )

    def connect(self, url: str) -> sqlite3.Connection:
        path = path_of(url)
        if sqlite3.sqlite_version_info < VERSION_MIN:
            raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: 3.35 is needed")
        try:
            # mode=rw: a mistyped path must not make an empty database.
            connection = sqlite3.connect(
                f"file:{_escaped(path)}?mode=rw",
                uri=True,
                timeout=BUSY_MS / 1000,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=512,
                factory=KeyedConnection,
            )
        except sqlite3.OperationalError as error:
            if "unable to open" not in str(error):
                raise
            what = "cannot be opened" if os.path.lexists(path) else "does not exist"
            raise StoreError(f"{path}: the database file {what}: check its path") from error
        cursor = connection.cursor()
        cursor.execute("PRAGMA foreign_keys=ON")
        # EXTRA is FULL in WAL mode, and in the other modes also syncs the directory, without
        # which a power cut can bring a finished rollback journal back (SQLite's documentation
        # of PRAGMA synchronous).
        cursor.execute("PRAGMA synchronous=EXTRA")
        cursor.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        return connection

    def begin(self, tx: "Transaction", mode: Mode) -> None:
        if mode is Mode.READ:
            tx.execute("BEGIN")
            return
        tx.execute("BEGIN IMMEDIATE")
        tx.execute("PRAGMA defer_foreign_keys=ON")

    def commit(self, tx: "Transaction") -> None:
        tx.execute("COMMIT")

    @contextlib.contextmanager
    def exclusive(self, tx: "Transaction", mode: Mode) -> Iterator[None]:
        yield

    def explained(self, error: Exception) -> StoreError:
        text = str(error)
        if "locked" in text or "busy" in text:
            return StoreError(
                "the database is locked by another program's long transaction; trying again "
                "will do once that has ended",
                transient=True,
            )
        if "disk is full" in text:
            return StoreError(
                "the disk is full: nothing was changed; free some space and it goes on by itself",
                transient=True,
            )
        if "unable to open" in text:
            return StoreError("the database file or its journal cannot be opened: check its path")
        if "readonly" in text:
            return StoreError(
                "the database file is read-only for this user: give it the right to write the "
                "file and its folder"
            )
        if "not a database" in text:
            return StoreError("the file is not a SQLite database: check its path")
        return EngineError(f"SQLite says: {text}")

    @contextlib.contextmanager
    def damaged_text_marked(self, connection: Any, error: Exception) -> Iterator[None]:
        # SQLite keeps whatever bytes it is given as text, also such as are no UTF-8.
        if "Could not decode to UTF-8" not in str(error):
            raise error
        usual = connection.text_factory
        connection.text_factory = _text_or_marked
        try:
            yield
        finally:
            connection.text_factory = usual

    def refusal(self, error: Exception) -> tuple[str, str] | None:
        text = str(error)
        if isinstance(error, sqlite3.IntegrityError):
            for start, reason, says in (
                ("UNIQUE constraint failed: ", "unique clash", "another row has the same {}"),
                ("NOT NULL constraint failed: ", "not null", "{} may not be NULL"),
                ("CHECK constraint failed: ", "check constraint", "the check {} does not hold"),
                ("FOREIGN KEY constraint failed", "missing parent", "a row referred to is missing"),
                ("datatype mismatch", "type does not fit", text),
                ("cannot store ", "type does not fit", text),
            ):
                if text.startswith(start):
                    return reason, says.replace("{}", _columns(text.removeprefix(start)))
            # RAISE(ABORT, ...) of a trigger: the application's own words.
            return "trigger", text
        if isinstance(error, sqlite3.DataError | OverflowError):
            return "type does not fit", text
        return None

    def local_number_taken(self, table: "TablePlan", error: Exception) -> bool:
        return False  # nobody else writes meanwhile

    def lock_rows(
        self, tx: "Transaction", table: "TablePlan", keys: Sequence[Sequence[Any]]
    ) -> None:
        """The writing transaction holds them all."""

    def applying(self, tx: "Transaction", number: int) -> None:
        tx.execute("UPDATE syncnode_flag SET applying=?", (number,))

    @contextlib.contextmanager
    def capture_paused(self, tx: "Transaction", number: int) -> Iterator[None]:
        # A quiet trigger costs a fifth of the row it is quiet about. DDL is part of the
        # transaction, which nobody else can write beside or see into; if it does not commit,
        # the triggers were never gone.
        paused = tx.rows(
            "SELECT name, sql FROM sqlite_master WHERE type='trigger' AND name IN (?, ?)",
            (f"syncnode_t{number}_insert", f"syncnode_t{number}_replace"),
        )
        for name, _ in paused:
            tx.execute(f"DROP TRIGGER {name}")
        yield
        for _, sql in paused:
            tx.execute(sql)

    def catching_up(self, tx: "Transaction", on: bool) -> None:
        # Random keys dirty pages all over their index, which the next step dirties again.
        tx.execute(f"PRAGMA cache_size=-{CATCH_UP_CACHE_KIB if on else CACHE_KIB}")

    def checks_off(self, tx: "Transaction", off: bool) -> None:
        """Foreign keys are deferred to the commit."""

    def next_local_key(self, tx: "Transaction", table: "TablePlan") -> int:
        assert table.local_key is not None, "only counted keys are given here"
        column, name = quote_sqlite(table.local_key), quote_sqlite(table.here)
        highest = tx.value(f"SELECT max({column}) FROM {name}") or 0
        if table.autoincrement:
            used = tx.value("SELECT seq FROM sqlite_sequence WHERE name=?", (table.here,))
            highest = max(highest, used or 0)
        return max(int(highest), 0) + 1

    def reserve(self, tx: "Transaction", table: "TablePlan", count: int, start: int | None) -> int:
        return start if start is not None else self.next_local_key(tx, table)

    def raise_counters(self, tx: "Transaction", table: "TablePlan") -> None:
        """The engine does so by itself."""

    def reference(self, key: str, local: str) -> str:
        return f"COALESCE({key}, {local})"

    def write_mark(self, table: "TablePlan", column: "ColumnPlan") -> str:
        return "?"

    def insert_many(
        self,
        tx: "Transaction",
        into: str,
        columns: Sequence[str],
        marks: Sequence[str],
        rows: Sequence[Sequence[Any]],
    ) -> None:
        tx.executemany(insert_sql(self, into, columns, marks), rows)

    def delete_one(self, table: "TablePlan", names: Sequence[str]) -> str:
        where = " AND ".join(f"{quote_sqlite(name)} IS ?" for name in names)
        name = quote_sqlite(table.here)
        return (
            f"DELETE FROM {name} WHERE {table.rowid} = "
            f"(SELECT {table.rowid} FROM {name} WHERE {where} LIMIT 1)"
        )

    def among(
        self, column: "ColumnPlan", expression: str, names: Sequence[str]
    ) -> tuple[str, Sequence[object]]:
        return f"{expression} IN ({', '.join(['?'] * len(names))})", names

    def same_bytes(self, column: "ColumnPlan", one: str, other: str) -> str:
        return f"{one} COLLATE BINARY IS {other}"

    def key_type(self, column: "ColumnPlan") -> str:
        named = "INTEGER" if column.kind == "integer" else column.declared
        if named.upper() == "ANY":
            named = ""  # a STRICT table tells 1 from '1'; a column of this type elsewhere does not
        return f"{named} COLLATE {column.collation}" if column.collation else named

    def read_expression(self, column: "ColumnPlan", expression: str) -> str:
        return expression

    def to_wire(self, column: "ColumnPlan") -> Callable[[Any], Any] | None:
        if column.kind == "decimal" and column.scale is not None:
            return _Decimals(column.scale)
        return None

    def from_wire(self, column: "ColumnPlan") -> Callable[[Any], Any] | None:
        # An integer over 64 bits is refused by the driver itself, with an OverflowError.
        return _exact_decimal if column.kind == "decimal" else _sound

    def plain(self, column: "ColumnPlan", values: Sequence[Any]) -> bool:
        if column.kind == "decimal":
            return False
        kinds = set(map(type, values))
        if str not in kinds:
            return True
        texts = values if kinds == {str} else [value for value in values if type(value) is str]
        return DAMAGED not in "".join(texts)

    def durability(self, tx: "Transaction") -> str | None:
        mode = tx.value("PRAGMA journal_mode")
        if mode in ("off", "memory"):
            return (
                f"journal_mode is {mode}: a power cut can destroy the database; run "
                "PRAGMA journal_mode=WAL once"
            )
        return None

    def listen(self, connection: Any) -> int | None:
        return None


def path_of(url: str) -> str:
    """The file that a SQLite URL names."""
    path = url.partition("://")[2].removeprefix("/")
    return path.partition("?")[0]


def _escaped(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


class _Decimals:
    """A number as the text that the column's declared scale makes of it, if that loses nothing.

    SQLite makes the same number of it again.
    """

    def __init__(self, scale: int) -> None:
        self._scale = scale

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, int | float) or abs(value) >= EXACT_INTEGERS:
            return value
        exact = Decimal(repr(value))
        held = with_decimals(exact, self._scale)
        return format(held, "f") if held == exact else value


def _exact_decimal(value: Any) -> Any:
    """SQLite keeps a decimal as a float: only those that survive are written."""
    check_sound(value)
    if not isinstance(value, str):
        return value
    try:
        exact = Decimal(value)
        held = Decimal(repr(float(value)))
    except (InvalidOperation, ValueError, OverflowError):
        return value
    if exact != held and exact != exact.to_integral_value():
        raise Unfit(f"SQLite would round the decimal {value[:40]}")
    return value


def _columns(text: str) -> str:
    """ "phone, name" of "person.phone, person.name", with which SQLite names columns."""
    return ", ".join(part.rpartition(".")[2] for part in text.split(", "))


def _sound(value: Any) -> Any:
    check_sound(value)
    return value


def _text_or_marked(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return marked(raw)
