"""One application's database: connections, transactions, and what an engine's errors mean.

Everything that reads or writes rows goes through a `Transaction`: driver-level statements over
a connection of the engine's pool, since a statement through SQLAlchemy's expression layer
costs more than the row it writes. Statements carry the driver's own mark for parameters.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from syncnode.dialects.base import Dialect, Mode
from syncproto.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

POOL_SIZE = 4  # a writer, a reader, a watcher and one to spare


class Transaction:
    """Statements that commit together or not at all."""

    __slots__ = ("_connection", "_cursor", "dialect", "mark")

    def __init__(self, connection: Any, dialect: Dialect) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self.dialect = dialect
        self.mark = dialect.mark

    @property
    def driver_connection(self) -> Any:
        """The driver's own connection, under the pool's."""
        return getattr(self._connection, "driver_connection", self._connection)

    def execute(self, sql: str, params: Sequence[object] = ()) -> int:
        """Run one statement; returns the number of rows it touched."""
        self._cursor.execute(sql, params)
        count: int = self._cursor.rowcount
        return count

    def executemany(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        if rows:
            self._cursor.executemany(sql, rows)

    def copy(self, sql: str, texts: Iterable[str]) -> None:
        """PostgreSQL: COPY ... FROM STDIN with these texts."""
        with self._cursor.copy(sql) as copying:
            for text in texts:
                copying.write(text)

    def rows(self, sql: str, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            self._cursor.execute(sql, params)
            found: list[tuple[Any, ...]] = self._cursor.fetchall()
        except self.dialect.errors as error:
            with self.dialect.damaged_text_marked(self.driver_connection, error):
                self._cursor.execute(sql, params)
                found = self._cursor.fetchall()
        return found

    def row(self, sql: str, params: Sequence[object] = ()) -> tuple[Any, ...] | None:
        try:
            self._cursor.execute(sql, params)
            found: tuple[Any, ...] | None = self._cursor.fetchone()
        except self.dialect.errors as error:
            with self.dialect.damaged_text_marked(self.driver_connection, error):
                self._cursor.execute(sql, params)
                found = self._cursor.fetchone()
        return found

    def value(self, sql: str, params: Sequence[object] = ()) -> Any:
        """The first column of the first row; None if there is no row."""
        found = self.row(sql, params)
        return found[0] if found else None

    def script(self, statements: Iterable[str]) -> None:
        """Run statements that take no parameters and are written for none."""
        for statement in statements:
            self._cursor.execute(statement)

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block did if it raises; the error goes on."""
        self._cursor.execute("SAVEPOINT syncnode_step")
        try:
            yield
        except BaseException:
            self._cursor.execute("ROLLBACK TO SAVEPOINT syncnode_step")
            self._cursor.execute("RELEASE SAVEPOINT syncnode_step")
            raise
        self._cursor.execute("RELEASE SAVEPOINT syncnode_step")


class Database:
    """The database at a URL. Opens no connection before the first transaction.

    Args:
        url: As SQLAlchemy reads it: `sqlite:///path`, `mysql+pymysql://user:word@host/name`,
            `postgresql+psycopg://user:word@host/name`.
        light: For short reports: no pool, and SQLAlchemy is not even imported.
    """

    def __init__(self, url: str, *, light: bool = False) -> None:
        self.url = url
        self.dialect = dialect_of(url)
        self._light = light
        self._engine: Engine | None = None

    @property
    def engine(self) -> "Engine":
        """SQLAlchemy's engine over the same pool, for inspection."""
        if self._engine is None:
            self._engine = self.dialect.create_engine(self.url, pool_size=POOL_SIZE)
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @contextlib.contextmanager
    def transaction(self, mode: Mode) -> Iterator[Transaction]:
        """One transaction; commits when the block ends, rolls back when it raises.

        Raises:
            StoreError: What the driver raised, in words for the database's operator.
        """
        connection = self._connect()
        try:
            transaction = Transaction(connection, self.dialect)
            with self._translated(), self.dialect.exclusive(transaction, mode):
                self.dialect.begin(transaction, mode)
                try:
                    yield transaction
                    self.dialect.commit(transaction)
                except BaseException:
                    with contextlib.suppress(*self.dialect.errors):
                        transaction.execute("ROLLBACK")
                    raise
        finally:
            self._release(connection)

    def read(self) -> contextlib.AbstractContextManager[Transaction]:
        """A short look: sees one snapshot, writes nothing."""
        return self.transaction(Mode.READ)

    def write(self) -> contextlib.AbstractContextManager[Transaction]:
        """Apply: each statement sees what is committed, rows are locked before they change."""
        return self.transaction(Mode.WRITE)

    def snapshot(self) -> contextlib.AbstractContextManager[Transaction]:
        """Seal and delta: everything read is of one moment, and may be written beside."""
        return self.transaction(Mode.SNAPSHOT)

    def connect(self) -> Any:
        """A driver connection of the caller's own, outside the pool."""
        return self.dialect.connect(self.url)

    def _connect(self) -> Any:
        with self._translated():
            if self._light:
                return self.dialect.connect(self.url)
            return self.engine.raw_connection()

    def _release(self, connection: Any) -> None:
        connection.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self.dialect.errors as error:
            raise self.dialect.explained(error) from error
        except Exception as error:
            if type(error).__module__.startswith("sqlalchemy."):
                original = getattr(error, "orig", None)
                if isinstance(original, self.dialect.errors):
                    raise self.dialect.explained(original) from error
                raise StoreError(f"the database could not be opened: {error}") from error
            raise


def dialect_of(url: str) -> Dialect:
    """The dialect that a URL names.

    Raises:
        ConfigError: No database that syncnode knows.
    """
    scheme = url.partition("://")[0]
    if scheme in ("sqlite", "sqlite+pysqlite"):
        from syncnode.dialects.sqlite import SqliteDialect

        return SqliteDialect()
    if scheme in ("mysql+pymysql", "mariadb+pymysql", "mysql", "mariadb"):
        from syncnode.dialects.mysql import MysqlDialect

        return MysqlDialect()
    if scheme in ("postgresql", "postgresql+psycopg"):
        from syncnode.dialects.postgresql import PostgresqlDialect

        return PostgresqlDialect()
    raise ConfigError(
        f"database: {scheme or url!r} is no kind of database that syncnode knows; "
        "sqlite:///file.db, mysql+pymysql://user:password@host/name and "
        "postgresql+psycopg://user:password@host/name are"
    )
