"""PostgreSQL 13 and later, through psycopg 3.

Tables and sidecar stand in one schema: the first of the connection's search path that exists
(`current_schema()`), which a URL chooses with `?options=-csearch_path%3Dclinic`.

An error ends a transaction here, so whatever may be refused runs in a savepoint.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import TextLoader

from syncnode.dialects.base import LOCAL_NUMBER, LockStatements, Mode, insert_sql
from syncnode.dialects.bulk import BULK_ROWS_MIN, copy_texts
from syncnode.dialects.names import quote_postgresql
from syncnode.dialects.plain import postgresql_plain
from syncnode.dialects.postgresql_errors import clashing_columns, explained, refusal
from syncnode.dialects.postgresql_values import (
    Fitting,
    exact_function,
    is_boolean,
    is_odd,
    is_padded,
    to_wire,
)
from syncnode.settings.database_url import server_of
from syncproto.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from syncnode.schema.plan import ColumnPlan, TablePlan
    from syncnode.store.database import Transaction

# Whenever a row of many is refused the driver warns that it passes over "pipeline aborted"; the
# error itself comes here. Without this the warning goes to stderr where nobody set logging up.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

VERSION_MIN = 130_000
LOCK_WAIT_S = 1.0  # for a row that the application has locked; then all is undone and waits
LOCK_POLL_S = 0.02  # a clerk who commits at once is noticed at once; each poll is a round trip
# Of what cannot be asked for without waiting (a unique value that an open transaction has
# written). Below `deadlock_timeout`, a second, after which the server looks whom to kill.
STATEMENT_LOCK_WAIT_MS = 500
EXCLUSIVE_WAIT_S = 30.0  # for another process of this node to finish its step
CONNECT_TIMEOUT_S = 10
DRAWS_MAX = 5  # of numbers in a row, while the application draws between them

# What is read must not depend on settings of the user, the database or the server.
SESSION = {
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "client_min_messages": "warning",
    "lock_timeout": f"{STATEMENT_LOCK_WAIT_MS}ms",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "row_security": "off",  # rows that a policy hides from us are an error, not absent
}
_SETTINGS = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in SESSION.items())
# A node's commit must stand when it is told. The application's own may be asynchronous: those
# that we have read are older in the log, and safe with ours.
OPENING = (
    f"SELECT {_SETTINGS}, set_config('synchronous_commit', CASE"
    " current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, false), current_schema()"
)

# Advisory locks belong to the database; the second number names the schema.
STEP_LOCK = "1544490497, hashtext(current_schema())"
SERVE_LOCK_NUMBER = 1544490498
SERVE_LOCK = f"{SERVE_LOCK_NUMBER}, hashtext(current_schema())"
SERVE_LOCK_HOLDER = (
    "SELECT max(l.pid) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    " WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 2"
    f" AND l.granted AND l.classid::bigint = {SERVE_LOCK_NUMBER}"
    " AND l.objid::bigint = (hashtext(current_schema())::bigint & 4294967295)"
)
CHANNEL = "syncnode"  # of NOTIFY; see `capture/postgresql.py`

# The foreign keys that may be checked at the commit, and no unique keys: a clash must be known
# when the row is written. A name means all constraints of that name in the schema.
DEFER_FOREIGN_KEYS = """
DO $$ DECLARE names text; BEGIN
  SELECT string_agg(found.name, ', ') INTO names FROM (
    SELECT format('%I.%I', n.nspname, c.conname) AS name
    FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
    WHERE n.nspname = current_schema() GROUP BY n.nspname, c.conname
    HAVING bool_or(c.contype = 'f') AND bool_and(c.condeferrable)) AS found;
  IF names IS NOT NULL THEN EXECUTE 'SET CONSTRAINTS ' || names || ' DEFERRED'; END IF;
END $$"""

# Types whose values Python knows by the same name; all others are read as the server's text.
NATIVE_TYPES = ("bool", "int2", "int4", "int8", "oid", "float4", "float8", "bytea")


class BlankPaddedLoader(TextLoader):
    """CHAR(n) without the blanks that fill it."""

    def load(self, data: Any) -> Any:
        text = super().load(data)
        return text.rstrip(" ") if isinstance(text, str) else text


class PostgresqlDialect:
    """See `Dialect`."""

    name = "postgresql"
    mark = "%s"
    errors: tuple[type[Exception], ...] = (psycopg.Error,)
    blob = "BYTEA"
    key = "BYTEA"
    short = "BYTEA"
    text = "TEXT"
    big = "BIGINT"
    word = "TEXT"
    table_options = ""
    clock_options = ""
    partial_indexes = True
    names_per_query = 10_000  # an array is one value; the plan is made once for all
    # Also a number that is GENERATED ALWAYS comes with the row.
    overriding = " OVERRIDING SYSTEM VALUE"
    serve_lock: LockStatements | None = LockStatements(
        take=f"SELECT pg_try_advisory_lock({SERVE_LOCK})",
        holder=SERVE_LOCK_HOLDER,
        held=f"SELECT ({SERVE_LOCK_HOLDER}) = pg_backend_pid()",
    )

    def __init__(self) -> None:
        self._sequences: dict[tuple[str, str], str | None] = {}

    def quote(self, name: str) -> str:
        return quote_postgresql(name)

    def create_engine(self, url: str, *, pool_size: int) -> "Engine":
        import sqlalchemy

        return sqlalchemy.create_engine(
            "postgresql+psycopg://",
            creator=lambda: self.connect(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=True,
            pool_recycle=1800,
        )

    def connect(self, url: str) -> Any:
        where = server_of(url)
        parts: dict[str, Any] = {
            "host": where.host,
            "port": where.port,
            "user": where.user,
            "password": where.password,
            "dbname": where.database,
        }
        given = {name: value for name, value in parts.items() if value is not None}
        usual: dict[str, Any] = {
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "syncnode",
        }
        connection = psycopg.connect(
            **{**usual, **given, **where.options, "client_encoding": "utf8"}, autocommit=True
        )
        try:
            _check_server(connection)
            _read_as_text(connection)
            found = connection.execute(OPENING).fetchone()
            if found is None or found[-1] is None:
                raise StoreError(
                    "the database has no schema of the search path: make it, or name another one "
                    "in the database URL (?options=-csearch_path%3DNAME)"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def begin(self, tx: "Transaction", mode: Mode) -> None:
        if mode is Mode.WRITE:
            # What the application defers to its commits is ours to know row by row.
            tx.script(
                ["BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET CONSTRAINTS ALL IMMEDIATE"]
            )
        elif mode is Mode.SNAPSHOT:
            tx.script(["BEGIN ISOLATION LEVEL REPEATABLE READ READ WRITE"])
        else:
            tx.script(["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"])

    def commit(self, tx: "Transaction") -> None:
        tx.script(["COMMIT"])

    @contextlib.contextmanager
    def exclusive(self, tx: "Transaction", mode: Mode) -> Iterator[None]:
        if mode is Mode.READ:
            yield
            return
        deadline_s = time.monotonic() + EXCLUSIVE_WAIT_S
        while not tx.value(f"SELECT pg_try_advisory_lock({STEP_LOCK})"):
            if time.monotonic() > deadline_s:
                raise StoreError(
                    "another syncnode process is busy with this database", transient=True
                )
            time.sleep(LOCK_POLL_S)
        try:
            yield
        finally:
            # One that is broken has no lock left.
            with contextlib.suppress(psycopg.Error):
                tx.execute(f"SELECT pg_advisory_unlock({STEP_LOCK})")

    def explained(self, error: Exception) -> StoreError:
        return explained(error)

    def damaged_text_marked(
        self, connection: Any, error: Exception
    ) -> contextlib.AbstractContextManager[None]:
        raise error  # the server keeps no text that is not in its database's encoding

    def refusal(self, error: Exception) -> tuple[str, str] | None:
        return refusal(error)

    def local_number_taken(self, table: "TablePlan", error: Exception) -> bool:
        return (
            isinstance(error, psycopg.errors.UniqueViolation)
            and table.local_key is not None
            and clashing_columns(error) == table.local_key
        )

    def lock_rows(
        self, tx: "Transaction", table: "TablePlan", keys: Sequence[Sequence[Any]]
    ) -> None:
        columns = ", ".join(quote_postgresql(name) for name in table.primary_key)
        mark = f"({', '.join(['%s'] * len(table.primary_key))})"
        for start in range(0, len(keys), 1000):
            part = sorted(map(tuple, keys[start : start + 1000]))
            _lock_patiently(
                tx,
                f"SELECT 1 FROM {quote_postgresql(table.here)} WHERE ({columns}) IN "
                f"({', '.join([mark] * len(part))}) ORDER BY {columns} FOR UPDATE NOWAIT",
                [value for key in part for value in key],
            )

    def applying(self, tx: "Transaction", number: int) -> None:
        if tx.driver_connection.info.transaction_status is TransactionStatus.INERROR:
            return  # it is undone, and the setting with it
        tx.execute("SELECT set_config('syncnode.applying', %s, true)", (str(number or ""),))

    def capture_paused(
        self, tx: "Transaction", number: int
    ) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def catching_up(self, tx: "Transaction", on: bool) -> None:
        """The server keeps its pages by itself."""

    def checks_off(self, tx: "Transaction", off: bool) -> None:
        # Never unchecked: until the commit, those that `init` has made deferrable.
        if off:
            tx.script([DEFER_FOREIGN_KEYS])

    def next_local_key(self, tx: "Transaction", table: "TablePlan") -> int:
        assert table.local_key is not None, "only counted keys are given here"
        highest = tx.value(
            f"SELECT max({quote_postgresql(table.local_key)}) FROM {quote_postgresql(table.here)}"
        )
        return max(int(highest or 0) + 1, 1)

    def reserve(self, tx: "Transaction", table: "TablePlan", count: int, start: int | None) -> int:
        assert table.local_key is not None, "only counted keys are given here"
        sequence = self._sequence(tx, table.here, table.local_key)
        if sequence is None:
            return max(start or 0, self.next_local_key(tx, table))
        # Drawn as the application draws: nobody is ever given one of them twice.
        name, key = quote_postgresql(table.here), quote_postgresql(table.local_key)
        for _ in range(DRAWS_MAX):
            first, last, step = tx.rows(
                "SELECT min(n), max(n), (SELECT seqincrement FROM pg_sequence "
                "WHERE seqrelid = %s::regclass) FROM (SELECT nextval(%s::regclass) AS n "
                "FROM generate_series(1, %s)) AS drawn",
                (sequence, sequence, count),
            )[0]
            if last - first != abs(step) * (count - 1):
                continue  # the application drew between
            taken = tx.value(
                f"SELECT 1 FROM {name} WHERE {key} BETWEEN %s AND %s LIMIT 1", (first, last)
            )
            if taken is None:
                return int(first)
            self._raise_sequence(tx, table.here, table.local_key, sequence)
        raise StoreError(
            f"{table.name}: the application draws local numbers all the while", transient=True
        )

    def raise_counters(self, tx: "Transaction", table: "TablePlan") -> None:
        for column in table.stored:
            if column.automatic and column.name != table.local_key:
                sequence = self._sequence(tx, table.here, column.name)
                if sequence is not None:
                    self._raise_sequence(tx, table.here, column.name, sequence)

    def _raise_sequence(self, tx: "Transaction", table: str, column: str, sequence: str) -> None:
        """No lower than the table's highest number; never lowered."""
        tx.execute(
            "SELECT setval(%s::regclass, highest) FROM (SELECT max("
            f"{quote_postgresql(column)}) AS highest FROM {quote_postgresql(table)}) AS rows_there "
            "WHERE highest > COALESCE(pg_sequence_last_value(%s::regclass), 0)",
            (sequence, sequence),
        )

    def _sequence(self, tx: "Transaction", table: str, column: str) -> str | None:
        """What the column draws its numbers from, as text that names it."""
        if (table, column) not in self._sequences:
            self._sequences[table, column] = tx.value(
                _SEQUENCE_OF, (quote_plainly(table), column) * 2
            )
        return self._sequences[table, column]

    def reference(self, key: str, local: str) -> str:
        return f"COALESCE({key}, convert_to('{LOCAL_NUMBER}' || {local}, 'UTF8'))"

    def write_mark(self, table: "TablePlan", column: "ColumnPlan") -> str:
        return f"{exact_function(table, column)}(%s)" if is_odd(column) else "%s"

    def insert_many(
        self,
        tx: "Transaction",
        into: str,
        columns: Sequence[str],
        marks: Sequence[str],
        rows: Sequence[Sequence[Any]],
    ) -> None:
        texts = None
        if len(rows) >= BULK_ROWS_MIN and set(marks) == {"%s"} and not _minds_copy(tx, into):
            texts = copy_texts(rows)
        if texts is None:
            tx.executemany(insert_sql(self, into, columns, marks), rows)
            return
        tx.copy(f"COPY {into} ({', '.join(columns)}) FROM STDIN".replace("%%", "%"), texts)

    def delete_one(self, table: "TablePlan", names: Sequence[str]) -> str:
        where = " AND ".join(
            f"{quote_postgresql(name)} IS NOT DISTINCT FROM %s"
            if table.column(name).declared != "json"
            else f"{quote_postgresql(name)}::text IS NOT DISTINCT FROM %s"
            for name in names
        )
        name = quote_postgresql(table.here)
        return f"DELETE FROM {name} WHERE ctid = (SELECT ctid FROM {name} WHERE {where} LIMIT 1)"

    def among(
        self, column: "ColumnPlan", expression: str, names: Sequence[str]
    ) -> tuple[str, Sequence[object]]:
        # One value of the column's own type: a thousand parameters cost more than the rows. An
        # array's type has no length, which would cut the texts.
        kind = column.declared.partition("(")[0]
        array = "bpchar" if is_padded(column) else kind
        if array not in _ARRAYS:
            return f"{expression} IN ({', '.join(['%s'] * len(names))})", names
        return f"{expression} = ANY(%s::{array}[])", [f"{{{','.join(names)}}}"]

    def same_bytes(self, column: "ColumnPlan", one: str, other: str) -> str:
        if column.kind in ("integer", "bytes", "date") or is_boolean(column):
            return f"{one} IS NOT DISTINCT FROM {other}"
        return f'{one}::text COLLATE "C" IS NOT DISTINCT FROM {other}::text'

    def key_type(self, column: "ColumnPlan") -> str:
        return column.declared + (f" COLLATE {column.collation}" if column.collation else "")

    def read_expression(self, column: "ColumnPlan", expression: str) -> str:
        return f"CAST({expression} AS text)" if is_odd(column) else expression

    def to_wire(self, column: "ColumnPlan") -> Callable[[Any], Any] | None:
        return to_wire(column)

    def from_wire(self, column: "ColumnPlan") -> Callable[[Any], Any] | None:
        return Fitting(column)

    def plain(self, column: "ColumnPlan", values: Sequence[Any]) -> bool:
        return postgresql_plain(column, values)

    def durability(self, tx: "Transaction") -> str | None:
        # `synchronous_commit` is set by every connection of ours.
        if tx.value("SELECT current_setting('fsync')") != "on":
            return (
                "fsync is off: a power cut destroys the database, or forgets changes that other "
                "sites may know; put fsync=on into the server's configuration and reload it"
            )
        return None

    def listen(self, connection: Any) -> int:
        connection.execute(f"LISTEN {CHANNEL}")
        return int(connection.fileno())


# Types of text that an array literal of digits and dashes can be of.
_ARRAYS = {"bpchar", "character varying", "text", "uuid", "varchar"}


def quote_plainly(name: str) -> str:
    """The name as an identifier in a text that no driver formats."""
    return '"' + name.replace('"', '""') + '"'


def _check_server(connection: Any) -> None:
    version = connection.info.server_version
    if version < VERSION_MIN:
        raise StoreError(f"the server is version {version // 10_000}: PostgreSQL 13 is needed")
    if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
        raise StoreError(
            "the database has the encoding SQL_ASCII, which does not say what its texts are: "
            "dump it and restore it into one with the encoding UTF8"
        )


def _read_as_text(connection: Any) -> None:
    """Have values read as the server writes them: exact, and in the form in which they travel."""
    adapters = connection.adapters
    for kind in adapters.types:
        if kind.name not in NATIVE_TYPES:
            adapters.register_loader(kind.oid, TextLoader)
        if kind.array_oid:
            adapters.register_loader(kind.array_oid, TextLoader)
    adapters.register_loader("bpchar", BlankPaddedLoader)
    # One type of integer: statements stay prepared, and the column's own limit counts.
    adapters.register_dumper(int, Int8Dumper)


def _minds_copy(tx: "Transaction", into: str) -> bool:
    """Whether COPY would do something else than INSERT: rules are not for it, and it refuses
    tables with policies."""
    sql = "SELECT relhasrules OR relrowsecurity FROM pg_class WHERE oid = %s::regclass"
    return bool(tx.value(sql, (into.replace("%%", "%"),)))


def _lock_patiently(tx: "Transaction", sql: str, parameters: Sequence[Any]) -> None:
    """Wait for rows that others have locked without the server's knowing.

    Whoever waits in the server's sight can be part of a deadlock, and then it may be the
    application that is killed (rule A12).
    """
    deadline_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            with tx.savepoint():
                tx.rows(sql, parameters)
            return
        except psycopg.errors.LockNotAvailable:
            if time.monotonic() > deadline_s:
                raise
        time.sleep(LOCK_POLL_S)


# Owned by the column (serial, identity), or named in its default.
_SEQUENCE_OF = """
SELECT s.oid::regclass::text FROM pg_class s
JOIN (
  SELECT d.objid AS sequence, 1 AS place FROM pg_depend d JOIN pg_attribute a
    ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
    AND d.deptype IN ('i', 'a') AND d.refobjid = %s::regclass AND a.attname = %s
  UNION ALL
  SELECT d.refobjid, 0 FROM pg_attrdef f
    JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
    JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
  WHERE d.refclassid = 'pg_class'::regclass AND f.adrelid = %s::regclass AND a.attname = %s
) found ON found.sequence = s.oid
WHERE s.relkind = 'S' ORDER BY place LIMIT 1"""
