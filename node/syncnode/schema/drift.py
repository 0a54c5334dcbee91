"""What the application has changed about its schema since `init`.

Triggers, clocks and rows follow the plan that `init` made. A column that has gone since makes
them fail with the engine's bare words, and what came since is not captured; so both are asked
for by name, in one look at the catalogue.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from syncnode.database import Transaction
from syncnode.schema.plan import LISTED, UNLISTED, SchemaPlan

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
}


@dataclass(frozen=True, slots=True)
class Drift:
    """How a database differs from the plan of its site, by names.

    Attributes:
        gone: Columns of the plan that the database lacks, by table; None: it lacks the table.
        came: Columns of replicated tables that the plan lacks, by table.
        tables: Tables that the plan knows nothing of.
        known: Every table that is there, or was when `init` came.
    """

    gone: Mapping[str, tuple[str, ...] | None]
    came: Mapping[str, tuple[str, ...]]
    tables: tuple[str, ...]
    known: frozenset[str]

    @property
    def fault(self) -> str | None:
        """Why nothing can be sealed or applied any more, and what to do; None if all is there."""
        parts = []
        for table, columns in self.gone.items():
            if columns is None:
                parts.append(f"there is no table {table} any more")
                continue
            came = self.came.get(table, ())
            new = f" (new there: {_some(came)})" if came else ""
            parts.append(f"{table} has no column {_some(columns)} any more{new}")
        if not parts:
            return None
        return (
            f"the application's schema was changed after `syncnode init`: {_some(parts)}; change "
            f"it back and run `syncnode sync` to bring out what was written since, or {AGAIN}"
        )

    def notes(self, unasked: Collection[str]) -> list[str]:
        """Sentences on what is not replicated since it came after `init`.

        `unasked`: tables that are to be left alone.
        """
        found = [
            f"{table} has a column {_some(columns)} that came after `init` and is not replicated: "
            f"{AGAIN}"
            for table, columns in self.came.items()
        ]
        tables = [name for name in self.tables if name not in unasked]
        if tables:
            one = len(tables) == 1
            found.append(
                f"{'a table' if one else f'{len(tables)} tables'} came after `init` and "
                f"{'is' if one else 'are'} not replicated ({_some(tables)}): {AGAIN}"
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
        columns = there.get(planned.name)
        if columns is None:
            gone[planned.name] = None
            continue
        names = [column.name for column in planned.columns]
        if lost := tuple(name for name in names if name not in columns):
            gone[planned.name] = lost
        if new := tuple(name for name in columns if name not in names):
            came[planned.name] = new
    planned_for = {*plan.by_name, *(excluded.table for excluded in plan.excluded)}
    tables = tuple(name for name in there if name not in planned_for)
    return Drift(gone, came, tables, frozenset({*there, *planned_for}))


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
    return f"[tables] was changed after `init`, which goes on as it was ({_some(names)}): {AGAIN}"


def _some(names: Collection[str]) -> str:
    shown = list(names)[:NAMED]
    return ", ".join(shown) + (", …" if len(names) > NAMED else "")
