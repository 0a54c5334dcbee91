"""MariaDB 10.5 and later, and MySQL 8 by its documentation, through PyMySQL."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pymysql
import pymysql.converters
import pymysql.cursors
from pymysql.constants import CLIENT, FIELD_TYPE, SERVER_STATUS

from syncnode.dialects.base import (
    EngineError,
    LockStatements,
    Mode,
    Unfit,
    check_sound,
    insert_sql,
)
from syncnode.dialects.bulk import BULK_ROWS_MIN, values_texts
from syncnode.dialects.exact import kind_of, shortest_single, six_digits
from syncnode.dialects.names import quote_mysql
from syncnode.dialects.plain import mysql_plain
from syncnode.settings.database_url import server_of
from syncproto.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from syncnode.schema.plan import ColumnPlan, TablePlan
    from syncnode.store.database import Transaction

LOCK_WAIT_S = 1.0  # for a row that the application has locked; then all is undone and waits
LOCK_POLL_S = 0.02  # a clerk who commits at once is noticed at once; each poll is a round trip
TABLE_WAIT_S = 30  # for an ALTER TABLE of the application, or, at `init`, for its transactions
EXCLUSIVE_WAIT_S = 30  # for another process of this node to finish its step
CONNECT_TIMEOUT_S = 10

NO_BACKSLASH_ESCAPES = SERVER_STATUS.SERVER_STATUS_NO_BACKSLASH_ESCAPES

SERVE_LOCK = "CONCAT('syncnode:', MD5(DATABASE()), ':serve')"

# Dates, times and decimals stay the texts that the server sends: exact, and the form in which
# they travel (a zero date has no Python value at all).
TEXT_TYPES = (
    FIELD_TYPE.DATE,
    FIELD_TYPE.DATETIME,
    FIELD_TYPE.TIMESTAMP,
    FIELD_TYPE.TIME,
    FIELD_TYPE.DECIMAL,
    FIELD_TYPE.NEWDECIMAL,
)

SESSION = (
    # Strict, so that nothing is cut or rounded in silence; zero dates allowed, since old data
    # hold them; 0 is a key like any other (OpenMRS's daemon user is 0).
    "sql_mode='STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION', "
    "time_zone='+00:00', "
    f"lock_wait_timeout={TABLE_WAIT_S}, "
    "foreign_key_checks=1"
)

REFUSED_ROWS = {
    1062: "unique clash",
    1586: "unique clash",
    1048: "not null",
    1364: "not null",
    4025: "check constraint",
    3819: "check constraint",
    1452: "missing parent",
    1216: "missing parent",
    1451: "still referred to",
    1217: "still referred to",
    1264: "type does not fit",
    1265: "type does not fit",
    1292: "type does not fit",
    1366: "type does not fit",
    1406: "type does not fit",
    1411: "type does not fit",
    1118: "type does not fit",
    1690: "type does not fit",
    3140: "type does not fit",
    1644: "trigger",
    1442: "trigger",
}

TRANSIENT = {1205, 1213, 1020, 2006, 2013, 2003, 1040, 1053, 1317, 1021, 1114, 3572}


class PatientCursor(pymysql.cursors.Cursor):  # type: ignore[misc]
    """Waits for rows that others have locked without the server's knowing.

    Whoever waits in the server's sight can be part of a deadlock, and then it is mostly the
    application that is killed (rule A12): it has changed less than an apply. So the server is
    told not to let us wait at all, and the statement is tried again, for `LOCK_WAIT_S`.
    """

    def _query(self, q: Any) -> Any:
        deadline_s = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                return super()._query(q)
            except pymysql.err.OperationalError as error:
                connection = self.connection
                unseen = getattr(connection, "syncnode_waits_unseen", False)
                if error.args[0] != 1205 or not unseen or time.monotonic() > deadline_s:
                    raise
            time.sleep(LOCK_POLL_S)


def _wait_unseen(connection: Any) -> None:
    """Let `PatientCursor` do the waiting, where a statement that may not wait leaves the
    transaction as it was; otherwise the server waits for as long."""
    server = connection.get_server_info().lower()
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@innodb_rollback_on_timeout")
        ((undoes_all,),) = cursor.fetchall()
        unseen = "mariadb" in server and not undoes_all  # MySQL waits a second at least
        wait_s = 0 if unseen else round(LOCK_WAIT_S)
        cursor.execute(f"SET SESSION innodb_lock_wait_timeout={wait_s}")
    connection.syncnode_waits_unseen = unseen


class MysqlDialect:
    """See `Dialect`."""

    name = "mysql"
    mark = "%s"
    errors: tuple[type[Exception], ...] = (pymysql.MySQLError,)
    blob = "LONGBLOB"
    big = "BIGINT"
    word = "VARCHAR(190)"
    key = "BINARY(16)"
    short = "VARBINARY(64)"
    text = "LONGTEXT"
    table_options = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
    clock_options = ""
    partial_indexes = False
    overriding = ""
    names_per_query = 500  # MariaDB makes a table of more than a thousand
    serve_lock: LockStatements | None = LockStatements(
        take=f"SELECT GET_LOCK({SERVE_LOCK}, 0)",
        holder=f"SELECT IS_USED_LOCK({SERVE_LOCK})",
        held=f"SELECT IS_USED_LOCK({SERVE_LOCK}) = CONNECTION_ID()",
    )

    def quote(self, name: str) -> str:
        return quote_mysql(name)

    def create_engine(self, url: str, *, pool_size: int) -> "Engine":
        import sqlalchemy

        return sqlalchemy.create_engine(
            "mysql+pymysql://",
            creator=lambda: self.connect(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=True,
            pool_recycle=1800,
        )

    def connect(self, url: str) -> Any:
        where = server_of(url)
        conversions = {
            kind: convert
            for kind, convert in pymysql.converters.conversions.items()
            if kind not in TEXT_TYPES
        }
        connection = pymysql.connect(
            host=where.host or "localhost",
            port=where.port or 3306,
            user=where.user,
            password=where.password or "",
            database=where.database,
            unix_socket=where.options.get("unix_socket"),
            charset="utf8mb4",
            conv=conversions,
            client_flag=CLIENT.FOUND_ROWS,
            connect_timeout=CONNECT_TIMEOUT_S,
            autocommit=True,
            init_command=f"SET SESSION {SESSION}",
            cursorclass=PatientCursor,
        )
        version = connection.get_server_info()
        if too_old(version):
            connection.close()
            raise StoreError(
                f"the server is version {version}: MariaDB 10.5 or MySQL 8.0 is needed"
            )
        _wait_unseen(connection)
        return connection

    def begin(self, tx: "Transaction", mode: Mode) -> None:
        if mode is Mode.WRITE:
            tx.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            tx.execute("START TRANSACTION")
            return
        tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        tx.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")

    def commit(self, tx: "Transaction") -> None:
        tx.execute("COMMIT")

    @contextlib.contextmanager
    def exclusive(self, tx: "Transaction", mode: Mode) -> Iterator[None]:
        if mode is Mode.READ:
            yield
            return
        # GET_LOCK is server-wide, so the lock bears the database's name, hashed to its limit
        # of 64 characters.
        name = "CONCAT('syncnode:', MD5(DATABASE()), ':step')"
        if tx.value(f"SELECT GET_LOCK({name}, {EXCLUSIVE_WAIT_S})") != 1:
            raise StoreError("another syncnode process is busy with this database", transient=True)
        try:
            yield
        finally:
            # Whatever happened, the connection goes back to the pool as it came. One that is
            # broken has none of this left.
            with contextlib.suppress(pymysql.MySQLError):
                tx.execute(
                    "SET @syncnode_applying=NULL, SESSION foreign_key_checks=1, "
                    f"@syncnode_released=RELEASE_LOCK({name})"
                )

    def explained(self, error: Exception) -> StoreError:
        code = error.args[0] if error.args else None
        text = str(error.args[1]) if len(error.args) > 1 else str(error)
        sentences = {
            1045: "the database server refuses the user or the password: check the database URL",
            1044: "the database user has no right to this database: GRANT it",
            1049: "the database does not exist on the server: check the database URL",
            1142: "the database user lacks a right: GRANT it (TRIGGER, CREATE, DROP, SELECT, "
            "INSERT, UPDATE, DELETE on the database)",
            1227: "the database user lacks a right: GRANT it",
            1419: "the server writes a binary log and lets only SUPER users make triggers: "
            "SET GLOBAL log_bin_trust_function_creators=1, then try again",
            2003: "the database server cannot be reached: is it running, and is the URL right?",
            1205: "rows are locked by the application's transaction",
            1213: "rows are locked by the application's transaction",
            1114: "the table space or disk is full: nothing was changed; free some space",
            1021: "the disk is full: nothing was changed; free some space",
            1290: "the server is read-only: nothing can be written there",
        }
        sentence = sentences.get(code) if isinstance(code, int) else None
        if sentence:
            return StoreError(f"{sentence} ({text})", transient=code in TRANSIENT)
        return EngineError(f"the database says: {text} ({code})", transient=code in TRANSIENT)

    def damaged_text_marked(
        self, connection: Any, error: Exception
    ) -> contextlib.AbstractContextManager[None]:
        raise error  # the server keeps no text that is not in its column's character set

    def refusal(self, error: Exception) -> tuple[str, str] | None:
        code = error.args[0] if error.args else None
        if not isinstance(code, int):
            if isinstance(error, pymysql.ProgrammingError | pymysql.DataError):
                return "type does not fit", str(error)
            return None
        text = str(error.args[1]) if len(error.args) > 1 else ""
        reason = REFUSED_ROWS.get(code)
        if reason is None and isinstance(error, pymysql.DataError | pymysql.IntegrityError):
            reason = "constraint"
        if reason is None and code >= 5000:
            reason = "trigger"  # SIGNAL with an error number of the application's own
        return (reason, text) if reason else None

    def local_number_taken(self, table: "TablePlan", error: Exception) -> bool:
        text = str(error.args[1]) if len(error.args) > 1 else ""
        return table.local_key is not None and text.endswith("PRIMARY'")

    def lock_rows(
        self, tx: "Transaction", table: "TablePlan", keys: Sequence[Sequence[Any]]
    ) -> None:
        columns = ", ".join(quote_mysql(name) for name in table.primary_key)
        mark = f"({', '.join(['%s'] * len(table.primary_key))})"
        for start in range(0, len(keys), 1000):
            part = sorted(map(tuple, keys[start : start + 1000]))
            tx.rows(
                f"SELECT {columns} FROM {quote_mysql(table.here)} WHERE ({columns}) IN "
                f"({', '.join([mark] * len(part))}) ORDER BY {columns} FOR UPDATE",
                [value for key in part for value in key],
            )

    def applying(self, tx: "Transaction", number: int) -> None:
        tx.execute("SET @syncnode_applying=%s", (number or None,))

    def capture_paused(
        self, tx: "Transaction", number: int
    ) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def catching_up(self, tx: "Transaction", on: bool) -> None:
        """The server keeps its pages by itself."""

    def checks_off(self, tx: "Transaction", off: bool) -> None:
        tx.execute("SET SESSION foreign_key_checks=%s", (0 if off else 1,))

    def next_local_key(self, tx: "Transaction", table: "TablePlan") -> int:
        assert table.local_key is not None, "only counted keys are given here"
        highest = tx.value(
            f"SELECT max({quote_mysql(table.local_key)}) FROM {quote_mysql(table.here)}"
        )
        counter = tx.value(
            "SELECT AUTO_INCREMENT FROM information_schema.TABLES "
            "WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME=%s",
            (table.here,),
        )
        return max(int(highest or 0) + 1, int(counter or 1), 1)

    def reserve(self, tx: "Transaction", table: "TablePlan", count: int, start: int | None) -> int:
        # The application draws from the same counter all the while.
        return max(start or 0, self.next_local_key(tx, table))

    def raise_counters(self, tx: "Transaction", table: "TablePlan") -> None:
        """The server does so by itself."""

    def reference(self, key: str, local: str) -> str:
        return f"COALESCE({key}, {local})"

    def write_mark(self, table: "TablePlan", column: "ColumnPlan") -> str:
        return "%s"

    def insert_many(
        self,
        tx: "Transaction",
        into: str,
        columns: Sequence[str],
        marks: Sequence[str],
        rows: Sequence[Sequence[Any]],
    ) -> None:
        escapes = not tx.driver_connection.server_status & NO_BACKSLASH_ESCAPES
        texts = values_texts(rows) if len(rows) >= BULK_ROWS_MIN and escapes else None
        if texts is None:
            tx.executemany(insert_sql(self, into, columns, marks), rows)
            return
        head = f"INSERT INTO {into} ({', '.join(columns)}) VALUES ".replace("%%", "%")
        tx.script(head + text for text in texts)

    def delete_one(self, table: "TablePlan", names: Sequence[str]) -> str:
        where = " AND ".join(f"{quote_mysql(name)} <=> %s" for name in names)
        return f"DELETE FROM {quote_mysql(table.here)} WHERE {where} LIMIT 1"

    def among(
        self, column: "ColumnPlan", expression: str, names: Sequence[str]
    ) -> tuple[str, Sequence[object]]:
        # In the statement itself: the driver would look at each for what it could be.
        listed = "', '".join(names)
        return f"{expression} IN ('{listed}')", ()

    def same_bytes(self, column: "ColumnPlan", one: str, other: str) -> str:
        if column.kind == "text":
            return f"BINARY {one} <=> BINARY {other}"
        return f"{one} <=> {other}"

    def key_type(self, column: "ColumnPlan") -> str:
        charset = f" CHARACTER SET {column.charset}" if column.charset else ""
        collation = f" COLLATE {column.collation}" if column.collation else ""
        return column.declared + charset + collation

    def read_expression(self, column: "ColumnPlan", expression: str) -> str:
        if column.kind == "single":
            # As text a FLOAT shows six digits; as DOUBLE it is exact.
            return f"CAST({expression} AS DOUBLE)"
        if column.kind == "bit":
            return f"CAST({expression} AS UNSIGNED)"
        return expression

    def to_wire(self, column: "ColumnPlan") -> Callable[[Any], Any] | None:
        if column.kind in ("datetime", "time") and column.fraction:
            return six_digits
        if column.kind == "single":
            return shortest_single
        return None

    def from_wire(self, column: "ColumnPlan") -> Callable[[Any], Any] | None:
        return _Fitting(column)

    def plain(self, column: "ColumnPlan", values: Sequence[Any]) -> bool:
        return mysql_plain(column, values)

    def durability(self, tx: "Transaction") -> str | None:
        value = tx.value("SELECT @@innodb_flush_log_at_trx_commit")
        if int(value) != 1:
            return (
                f"innodb_flush_log_at_trx_commit is {value}: a power cut forgets changes that "
                "other sites may know; SET GLOBAL innodb_flush_log_at_trx_commit=1 and put it "
                "into the server's configuration"
            )
        return None

    def listen(self, connection: Any) -> int | None:
        return None


def too_old(version: str) -> bool:
    """Whether a server's version text names one before MariaDB 10.5 or MySQL 8.0."""
    numbers = re.findall(r"\d+", version.removeprefix("5.5.5-"))
    release = tuple(int(number) for number in numbers[:2])
    return release < ((10, 5) if "mariadb" in version.lower() else (8, 0))


class _Fitting:
    """A wire value as the column takes it, or `Unfit`: the server rounds some in silence."""

    def __init__(self, column: "ColumnPlan") -> None:
        self._column = column
        self._check = getattr(self, f"_{column.kind}")

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        check_sound(value)
        return self._check(value)

    def _integer(self, value: Any) -> Any:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if not isinstance(value, int):
            raise Unfit(f"the column takes integers, not {kind_of(value)}")
        return value

    _unsigned = _bit = _integer

    def _float(self, value: Any) -> Any:
        if not isinstance(value, int | float) or value != value or value in (_INF, -_INF):
            raise Unfit(f"the column takes finite numbers, not {kind_of(value)}")
        return value

    def _single(self, value: Any) -> Any:
        self._float(value)
        if shortest_single(value) != value:
            raise Unfit("a four-byte FLOAT would round the number")
        return value

    def _decimal(self, value: Any) -> Any:
        text = str(value)
        fraction = text.partition(".")[2].rstrip("0")
        if isinstance(value, bytes) or (not isinstance(value, str) and "e" in text):
            raise Unfit(f"the column takes decimals, not {kind_of(value)}")
        if len(fraction) > (self._column.scale or 0):
            raise Unfit(f"the column keeps {self._column.scale or 0} decimals")
        return text

    def _text(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise Unfit(f"the column takes text, not {kind_of(value)}")
        return value

    def _bytes(self, value: Any) -> Any:
        if not isinstance(value, bytes):
            raise Unfit(f"the column takes bytes, not {kind_of(value)}")
        size = self._column.size
        if size is not None and self._column.declared.startswith("binary") and len(value) < size:
            raise Unfit("the column would pad the bytes")
        return value

    def _datetime(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise Unfit(f"the column takes dates or times, not {kind_of(value)}")
        fraction = value.partition(".")[2].rstrip("0")
        if len(fraction) > (self._column.fraction or 0):
            raise Unfit(f"the column keeps {self._column.fraction or 0} digits of a second")
        return value

    _date = _time = _datetime

    def _any(self, value: Any) -> Any:
        return value


_INF = float("inf")
