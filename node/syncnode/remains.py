"""What syncnode has put into a database, by the database's own catalogue.

A plan says what should be there. An `init` or `uninstall` that was killed half-way leaves some of
it and perhaps no plan, since MariaDB commits each statement that makes or drops something. So
whoever takes away asks what is there. The setting `format` is the last thing that `init` writes
and the first that `uninstall` removes: without it nothing opens the sidecar, so nothing in it was
ever offered to another site.
"""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from syncnode.database import Database, Transaction
from syncnode.sidecar import FORMAT, SIDECAR_TABLES

_TABLE = re.compile(rf"syncnode_({'|'.join(SIDECAR_TABLES)}|journal|flag|(clock|trash)_\d+)")
_TRIGGER = re.compile(r"syncnode_t\d+_[a-z_]+")
SETTINGS = "syncnode_setting"


@dataclass(frozen=True, slots=True)
class Remains:
    """Triggers and tables of ours in a database.

    Attributes:
        settings: What `syncnode_setting` holds.
    """

    triggers: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.triggers or self.tables)

    @property
    def finished(self) -> bool:
        """This is a site; otherwise an `init` or `uninstall` was interrupted."""
        return "format" in self.settings

    @property
    def drops(self) -> list[str]:
        """The statements that take all of it away, the settings last."""
        tables = sorted(self.tables, key=lambda name: (name == SETTINGS, name))
        return [
            *(f"DROP TRIGGER IF EXISTS {name}" for name in self.triggers),
            *(f"DROP TABLE IF EXISTS {name}" for name in tables),
        ]


def remains(tx: Transaction) -> Remains:
    """What of ours is in the database."""
    tables = tuple(name for name in _names(tx, "table") if _TABLE.fullmatch(name))
    settings: dict[str, str] = {}
    if SETTINGS in tables:
        settings = dict(tx.rows(f"SELECT name, value FROM {SETTINGS} WHERE name<>'plan'"))
    return Remains(tuple(existing_triggers(tx)), tables, settings)


def existing_triggers(tx: Transaction) -> list[str]:
    """Names of the triggers in the database that are ours."""
    return [name for name in _names(tx, "trigger") if _TRIGGER.fullmatch(name)]


def _names(tx: Transaction, kind: str) -> list[str]:
    if tx.dialect.name == "sqlite":
        rows = tx.rows("SELECT name FROM sqlite_master WHERE type=? ORDER BY name", (kind,))
    else:
        rows = tx.rows(
            f"SELECT {kind}_NAME FROM information_schema.{kind}S "
            f"WHERE {kind}_SCHEMA=DATABASE() ORDER BY 1"
        )
    return [name for (name,) in rows]


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
            with contextlib.suppress(*database.dialect.errors):
                tx.script([statement])
