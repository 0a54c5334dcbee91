"""What syncnode has put into a database, by the database's own catalogue.

A plan says what should be there. An `init` or `uninstall` that was killed half-way leaves some of
it and perhaps no plan, since MariaDB commits each statement that makes or drops something. So
whoever takes away asks what is there. The setting `format` is the last thing that `init` writes
and the first that `uninstall` removes: without it nothing opens the sidecar, so nothing in it was
ever offered to another site.
"""

import contextlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from syncnode.store.database import Database, Transaction
from syncnode.store.sidecar import FORMAT, SIDECAR_TABLES

_OTHER_TABLES = r"journal|flag|deferrable|(clock|trash)_\d+"
_TABLE = re.compile(rf"syncnode_({'|'.join(SIDECAR_TABLES)}|{_OTHER_TABLES})")
_TRIGGER = re.compile(r"syncnode_t\d+_[a-z_]+")
SETTINGS = "syncnode_setting"

_NAMES = {
    ("sqlite", "table"): "SELECT name FROM sqlite_master WHERE type='table' ORDER BY name",
    ("sqlite", "trigger"): "SELECT name FROM sqlite_master WHERE type='trigger' ORDER BY name",
    ("mysql", "table"): "SELECT TABLE_NAME FROM information_schema.TABLES "
    "WHERE TABLE_SCHEMA=DATABASE() ORDER BY 1",
    ("mysql", "trigger"): "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS "
    "WHERE TRIGGER_SCHEMA=DATABASE() ORDER BY 1",
    ("postgresql", "table"): "SELECT relname FROM pg_class WHERE relkind='r' "
    "AND relnamespace=quote_ident(current_schema())::regnamespace ORDER BY 1",
    ("postgresql", "trigger"): "SELECT t.tgname FROM pg_trigger t "
    "JOIN pg_class c ON c.oid=t.tgrelid WHERE NOT t.tgisinternal AND t.tgenabled<>'D' "
    "AND c.relnamespace=quote_ident(current_schema())::regnamespace ORDER BY 1",
}


@dataclass(frozen=True, slots=True)
class Remains:
    """Triggers and tables of ours in a database.

    Attributes:
        functions: With the types of their arguments; where there are any, triggers go with them.
        undo: Statements that give foreign keys back as they were.
        settings: What `syncnode_setting` holds.
    """

    triggers: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.triggers or self.tables or self.functions)

    @property
    def finished(self) -> bool:
        """This is a site; otherwise an `init` or `uninstall` was interrupted."""
        return "format" in self.settings

    @property
    def drops(self) -> list[str]:
        """The statements that take all of it away, the settings last."""
        tables = sorted(self.tables, key=lambda name: (name == SETTINGS, name))
        return [
            *self.undo,
            *(f"DROP TRIGGER IF EXISTS {name}" for name in self.triggers if not self.functions),
            *(f"DROP FUNCTION IF EXISTS {name} CASCADE" for name in self.functions),
            *(f"DROP TABLE IF EXISTS {name}" for name in tables),
        ]


def remains(tx: Transaction) -> Remains:
    """What of ours is in the database."""
    tables = tuple(name for name in _names(tx, "table") if _TABLE.fullmatch(name))
    settings: dict[str, str] = {}
    if SETTINGS in tables:
        settings = dict(tx.rows(f"SELECT name, value FROM {SETTINGS} WHERE name<>'plan'"))
    if tx.dialect.name == "postgresql":
        from syncnode.capture import postgresql

        functions, undo = postgresql.functions(tx), postgresql.undo(tx)
        return Remains(tuple(existing_triggers(tx)), tables, functions, undo, settings)
    return Remains(tuple(existing_triggers(tx)), tables, settings=settings)


def existing_triggers(tx: Transaction) -> list[str]:
    """Names of the triggers in the database that are ours, and not switched off."""
    return [name for name in _names(tx, "trigger") if _TRIGGER.fullmatch(name)]


def missing_text(missing: Collection[str]) -> str:
    """A sentence on triggers of ours that are not there, or switched off."""
    names = sorted(missing)
    return (
        f"triggers of syncnode are missing ({', '.join(names[:3])}{', …' if names[3:] else ''}): "
        "they were dropped or switched off, or their tables were made anew, so changes are not "
        "captured; `syncnode verify --repair` makes them again, and changes of what was missed"
    )


def _names(tx: Transaction, kind: str) -> list[str]:
    return [name for (name,) in tx.rows(_NAMES[tx.dialect.name, kind])]


def finish(database: Database) -> None:
    """Make a site of what `init` has put there."""
    with database.write() as tx:
        tx.execute(f"INSERT INTO {SETTINGS} (name, value) VALUES ('format', {tx.mark})", (FORMAT,))


def take_away(database: Database, found: Remains) -> None:
    """Drop all of it; whoever interrupts that may begin again.

    Raises:
        StoreError: It cannot be dropped. On SQLite nothing was changed then.
    """
    with database.write() as tx:
        if found.finished:
            tx.execute(f"DELETE FROM {SETTINGS} WHERE name='format'")
        tx.script(found.drops)


def take_away_what_can_be(database: Database) -> None:
    """Drop each thing for itself: a user who may make no triggers may not drop any either."""
    with database.write() as tx:
        for statement in remains(tx).drops:
            # A server whose statements of this kind commit by themselves knows no savepoint
            # afterwards; what was dropped is dropped.
            with contextlib.suppress(*database.dialect.errors), tx.savepoint():
                tx.script([statement])
