"""Triggers, images and clocks of a plan that has followed the application's schema.

The statements are the difference of what both plans want. SQLite and PostgreSQL take them within
one transaction; on MariaDB each commits by itself, and may be repeated.
"""

import contextlib
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from syncnode.capture import Engine, capture_ddl, drop_ddl, trash_name
from syncnode.capture.postgresql import literal, quoted
from syncnode.operations.tables import wider_journal
from syncnode.schema.follow import Followed
from syncnode.schema.replan import added
from syncnode.store.remains import existing_triggers
from syncnode.store.sidecar import sidecar_ddl
from syncproto.errors import StoreError

if TYPE_CHECKING:
    from syncnode.schema.plan import SchemaPlan
    from syncnode.store.database import Database, Transaction

_MAKES = re.compile(r'CREATE (TABLE|TRIGGER|FUNCTION) (?:"(?:[^"]|"")*"\.)?(\w+)')
LOCK_ATTEMPT_MS = 500
"""Half of PostgreSQL's deadlock_timeout: it is never the application that is killed."""
LOCK_WAIT_S = 5.0  # for the application's open transactions, in all
LOCK_PAUSE_S = 0.2  # in which those who wait behind us get on


@contextlib.contextmanager
def quiet(database: "Database", followed: Followed) -> "Iterator[Transaction]":
    """A transaction in which nobody else writes to the tables that change or come.

    SQLite has one writer anyway. On PostgreSQL the tables are locked before anything is read, so
    that what is sealed under the old triggers is all that they have written. On MariaDB the new
    triggers are there already.
    """
    if database.dialect.name != "postgresql":
        with database.snapshot() as tx:
            yield tx
        return
    deadline_s = time.monotonic() + LOCK_WAIT_S
    while True:
        with contextlib.ExitStack() as stack:
            tx = stack.enter_context(database.snapshot())
            if _locked(tx, followed, last=time.monotonic() > deadline_s):
                yield tx
                return
        time.sleep(LOCK_PAUSE_S)


def _locked(tx: "Transaction", followed: Followed, *, last: bool) -> bool:
    """Lock the tables against writers; False if somebody has one of them for long.

    Raises:
        StoreError: The same, where this was the `last` attempt.
    """
    by_name = followed.plan.by_name
    names = sorted(by_name[name].here for name in {*followed.changed, *followed.tables})
    if not names:
        return True
    tables = ", ".join(tx.dialect.quote(name) for name in names)
    try:
        with tx.savepoint():
            tx.execute(f"SET LOCAL lock_timeout={LOCK_ATTEMPT_MS}")
            tx.execute(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE")
    except tx.dialect.errors as error:
        said = tx.dialect.explained(error)
        if not said.transient:
            raise said from error
        if last:
            raise StoreError(
                f"{', '.join(names)}: the application's transactions keep what has changed busy; "
                "it is tried again",
                transient=True,
            ) from error
        return False
    return True


def own_statements(tx: "Transaction", before: "SchemaPlan", followed: Followed) -> list[str]:
    """What makes triggers, images and clocks those of the plan."""
    after = followed.plan
    engine: Engine = before.dialect  # type: ignore[assignment]
    once = _once if engine != "postgresql" else str
    images = {trash_name(table) for table in after if table.name in followed.changed}
    there = existing_triggers(tx)
    statements = wider_journal(tx, after)
    old, new = capture_ddl(before, engine), capture_ddl(after, engine)
    stale = {_made(one) for one in old if one not in new}
    for statement in new:
        kind, name = _made(statement)
        if statement in old and not statement.startswith(("SET @", "SET SESSION ")):
            continue
        if name == "syncnode_journal":
            continue
        if kind == "TABLE" and name in images:
            statements += _image_table(tx, name, statement, followed)
        elif kind == "FUNCTION":
            statements += _function(name, statement) if (kind, name) in stale else [statement]
        elif kind == "TRIGGER" and (kind, name) in stale:
            # A table that was made anew has lost them; what was written since, `verify` finds.
            if name in there:
                statements += [_drop_trigger(after, name), statement]
        else:
            statements.append(once(statement))
    if engine == "postgresql":
        statements += _deferrable_renamed(before, after)
    gone = set(drop_ddl(before, engine)) - set(drop_ddl(after, engine))
    made = added(sidecar_ddl(before, tx.dialect), sidecar_ddl(after, tx.dialect))
    return [*sorted(gone), *map(once, made), *statements]


def _made(statement: str) -> tuple[str, str]:
    """What a statement makes: TABLE, TRIGGER or FUNCTION, and its name without its schema."""
    found = _MAKES.match(statement)
    return (found[1], found[2]) if found else ("", statement)


def _drop_trigger(plan: "SchemaPlan", name: str) -> str:
    if plan.dialect != "postgresql":
        return f"DROP TRIGGER IF EXISTS {name}"
    table = plan.by_number[int(name.removeprefix("syncnode_t").partition("_")[0])]
    return f"DROP TRIGGER IF EXISTS {name} ON {quoted(table.here)}"


def _deferrable_renamed(before: "SchemaPlan", after: "SchemaPlan") -> list[str]:
    """What lists the foreign keys that `uninstall` gives back, under the new names of tables."""
    old = before.by_name
    return [
        f"UPDATE syncnode_deferrable SET tbl={literal(table.here)} "
        f"WHERE tbl={literal(old[table.name].here)}"
        for table in after
        if table.name in old and table.here != old[table.name].here
    ]


def _once(statement: str) -> str:
    """The statement, so that it may be repeated where it was interrupted."""
    for kind in ("TABLE", "INDEX", "TRIGGER"):
        if statement.startswith(f"CREATE {kind} "):
            return statement.replace(f"CREATE {kind} ", f"CREATE {kind} IF NOT EXISTS ", 1)
    return statement


def _function(name: str, statement: str) -> list[str]:
    """A function of PostgreSQL in the place of the one that has its name; the triggers stay."""
    if name.startswith("syncnode_exact_"):  # it returns another type, and no trigger calls it
        return [f"DROP FUNCTION IF EXISTS {name}(text)", statement]
    return [statement.replace("CREATE FUNCTION ", "CREATE OR REPLACE FUNCTION ", 1)]


def _image_table(tx: "Transaction", name: str, statement: str, followed: Followed) -> Iterator[str]:
    """The table of last images: anew where it is empty and nobody writes to it meanwhile; on
    MariaDB wider, under triggers that name its columns."""
    if tx.dialect.name != "mysql":
        yield f"DROP TABLE {name}"
        yield statement
        return
    from syncnode.capture.mysql import column_type

    table = next(one for one in followed.plan if trash_name(one) == name)
    there = {
        column
        for (column,) in tx.rows(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS "
            "WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME=%s",
            (name,),
        )
    }
    for column in table.stored:
        verb = "MODIFY" if column.name in there else "ADD"
        quoted = tx.dialect.quote(column.name).replace("%%", "%")
        yield f"ALTER TABLE {name} {verb} COLUMN {quoted} {column_type(column)} NULL"
