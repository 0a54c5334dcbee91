"""What the application has changed about its schema since `init`.

Triggers, clocks and rows follow the plan that `init` made. A column that has gone since makes
them fail with the engine's bare words, and what came since is not captured; so both are asked
for by name, in one look at the catalogue.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from syncnode.schema.plan import LISTED, UNLISTED, SchemaPlan
from syncnode.schema.rules import SETTING as RULES
from syncnode.schema.rules import Layers, digest
from syncnode.store.database import Transaction

FOLLOWED = ("sqlite", "mysql", "postgresql")
"""Engines whose changes the plan follows by itself (`operations/following.py`)."""
SEEN = "schema_seen"
"""The setting with what told the schema apart when the plan was last held against it (`seen`)."""
UNFOLLOWED = "schema_unfollowed"
"""The setting with sentences on what the plan could not follow, by table, as JSON."""
CLONED = "cloned"
"""The setting of a clone with the name of the site whose copy it is."""
FOLLOWS = "`syncnode sync` takes it up, and so does `serve` within a minute"
AGAIN = "run `syncnode uninstall` and `syncnode init` to take the schema up as it is now"
NAMED = 5  # in one sentence
_NOT_THE_APPLICATIONS = ("sqlite_", "syncnode_")

_COLUMNS = {
    "sqlite": "SELECT l.name, x.name FROM pragma_table_list l"
    " JOIN pragma_table_xinfo(l.name, 'main') x"
    " WHERE l.schema = 'main' AND l.type = 'table' ORDER BY l.name, x.cid",
    "mysql": "SELECT t.TABLE_NAME, c.COLUMN_NAME FROM information_schema.TABLES t"
    " JOIN information_schema.COLUMNS c"
    " ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME"
    " WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE = 'BASE TABLE'"
    " ORDER BY t.TABLE_NAME, c.ORDINAL_POSITION",
    "postgresql": "SELECT c.relname, a.attname FROM pg_class c"
    " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    " WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind = 'r'"
    " AND NOT c.relispartition ORDER BY c.relname, a.attnum",
}

_SEEN = {
    "mysql": "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, COLUMN_KEY,"
    " COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE()"
    " AND LEFT(TABLE_NAME, 9)<>'syncnode_' ORDER BY TABLE_NAME, ORDINAL_POSITION",
    "postgresql": "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
    " pg_get_expr(f.adbin, f.adrelid), a.attcollation::bigint,"
    " (SELECT string_agg(x.relname || i.indisunique::text, ',' ORDER BY x.relname) FROM pg_index i"
    " JOIN pg_class x ON x.oid = i.indexrelid"
    " WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey::int2[]))"
    " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
    " AND NOT a.attisdropped LEFT JOIN pg_attrdef f ON f.adrelid = c.oid AND f.adnum = a.attnum"
    " WHERE c.relnamespace = quote_ident(current_schema())::regnamespace AND c.relkind = 'r'"
    " AND left(c.relname, 9) <> 'syncnode_' ORDER BY c.relname, a.attnum",
}


@dataclass(frozen=True, slots=True)
class Drift:
    """How a database differs from the plan of its site, by names.

    Attributes:
        gone: Columns of the plan that the database lacks, by table; None: it lacks the table.
        came: Columns of replicated tables that the plan lacks, by table.
        tables: Tables that the plan knows nothing of.
        known: Every table that is there, or was when `init` came.
        follows: The plan follows by itself what came.
    """

    gone: Mapping[str, tuple[str, ...] | None]
    came: Mapping[str, tuple[str, ...]]
    tables: tuple[str, ...]
    known: frozenset[str]
    follows: bool = False

    @property
    def fault(self) -> str | None:
        """Why nothing can be sealed or applied any more, and what to do; None if all is there."""
        parts = []
        renamed = ""
        for table, columns in self.gone.items():
            if columns is None:
                parts.append(f"there is no table {table} any more")
                if self.tables:
                    new = self.tables[0] if len(self.tables) == 1 else "its new name"
                    renamed = (
                        f"; or, if the application calls {table} otherwise now, say so in the "
                        f'settings: `{table} = "{new}"` under `[renamed]`'
                    )
                continue
            came = self.came.get(table, ())
            new = f" (new there: {_some(came)})" if came else ""
            parts.append(f"{table} has no column {_some(columns)} any more{new}")
            if came:
                renamed = (
                    f"; or, if {columns[0]} is gone for good and {came[0]} is something else, say "
                    f'so in the settings: `"{table}.{columns[0]}" = false` under `[renamed]`'
                )
        if not parts:
            return None
        return (
            f"the application's schema was changed after `syncnode init`: {_some(parts)}; change "
            f"it back and run `syncnode sync` to bring out what was written since, or {AGAIN}"
            f"{renamed}"
        )

    def notes(self, unasked: Collection[str], problems: Mapping[str, str]) -> list[str]:
        """Sentences on what is not replicated since it came after `init`.

        `unasked`: tables that are to be left alone. `problems`: see `unfollowed`.
        """
        what = FOLLOWS if self.follows else AGAIN
        found = [
            f"{table} has a column {_some(columns)} that came after `init` and is not replicated: "
            f"{AGAIN if table in self.gone else what}"
            for table, columns in self.came.items()
            if table not in problems
        ]
        found += problems.values()
        tables = [name for name in self.tables if name not in unasked and name not in problems]
        if tables:
            one = len(tables) == 1
            found.append(
                f"{'a table' if one else f'{len(tables)} tables'} came after `init` and "
                f"{'is' if one else 'are'} not replicated ({_some(tables)}): {what}"
            )
        return found


def drift(tx: Transaction, plan: SchemaPlan) -> Drift:
    """Compare the plan with the database as it is."""
    there: dict[str, list[str]] = {}
    for table, column in tx.rows(_COLUMNS[tx.dialect.name]):
        if not table.casefold().startswith(_NOT_THE_APPLICATIONS):
            there.setdefault(table, []).append(column)
    gone: dict[str, tuple[str, ...] | None] = {}
    came: dict[str, tuple[str, ...]] = {}
    for planned in plan.tables:
        columns = there.get(planned.here)
        if columns is None:
            gone[planned.name] = None
            continue
        names = [column.name for column in planned.columns]
        if lost := tuple(name for name in names if name not in columns):
            gone[planned.name] = lost
        if new := tuple(name for name in columns if name not in names):
            came[planned.name] = new
    planned_for = {*(one.here for one in plan), *(one.table for one in plan.excluded)}
    tables = tuple(name for name in there if name not in planned_for)
    follows = tx.dialect.name in FOLLOWED
    known = frozenset({*there, *planned_for, *plan.by_name})
    return Drift(gone, came, tables, known, follows)


def seen(tx: Transaction) -> str:
    """What tells one schema of the application from the next, at the price of one look."""
    if tx.dialect.name == "sqlite":
        return str(tx.value("PRAGMA schema_version"))
    hasher = hashlib.sha256()
    for line in tx.rows(_SEEN[tx.dialect.name]):
        hasher.update(repr(line).encode())
    return hasher.hexdigest()


def unfollowed(settings: Mapping[str, str]) -> dict[str, str]:
    """Sentences on what the plan could not follow, by table."""
    found: dict[str, str] = json.loads(settings.get(UNFOLLOWED, "{}"))
    return found


def unheeded(plan: SchemaPlan, only: Sequence[str] | None, exclude: Sequence[str]) -> str | None:
    """A sentence on a choice of tables that was changed since `init`; None if it was not."""
    excluded = {one.table: one.reason for one in plan.excluded}
    if only is None:
        names = [name for name, reason in excluded.items() if reason == UNLISTED]
    else:
        chosen = {*only, *plan.taken_along}
        names = [name for name in only if name not in plan.by_name]
        names += [name for name in plan.by_name if name not in chosen]
    names += [name for name in exclude if name in plan.by_name]
    names += [name for name, why in excluded.items() if why == LISTED and name not in exclude]
    if not names:
        return None
    return (
        f"[tables] was changed after `init`, which goes on as it was ({_some(names)}): `syncnode "
        "tables enable` takes tables up, `syncnode tables disable` lets go of them"
    )


def ruled_otherwise(settings: Mapping[str, str], rules: Layers) -> str | None:
    """A sentence on rules that were changed since `init`; None if they were not."""
    made_by = settings.get(RULES)
    if made_by is None or made_by == digest(rules):
        return None
    if original := settings.get(CLONED):
        return (
            f"the tables go on by the rules with which {original} was made, whose copy this is, "
            "and the settings here say others: copy [tables] and [maps] from its settings, so "
            "that tables that come later are taken by the same"
        )
    return (
        "the preset or the rules of [tables.NAME] were changed after `init`; they hold for tables "
        f"that come later, and for the others as they were: {AGAIN}"
    )


def _some(names: Collection[str]) -> str:
    shown = list(names)[:NAMED]
    return ", ".join(shown) + (", …" if len(names) > NAMED else "")
