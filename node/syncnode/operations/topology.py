"""What a database tells about a topology: which of its tables need which others."""

from typing import TYPE_CHECKING

from syncnode.settings.topology_tables import Needed
from syncnode.store.database import Database
from syncnode.store.sidecar import load_plan
from syncproto.errors import StoreError

if TYPE_CHECKING:
    from syncnode.schema.plan import TablePlan
    from syncnode.settings.config import Settings


def needed_tables(settings: "Settings") -> list[Needed] | None:
    """Tables that refer to others by columns that are never NULL, as this database has them; None
    if it cannot be read, or is no site yet."""
    database = Database(settings.database, light=True)
    try:
        with database.read() as tx:
            plan = load_plan(tx)
    except StoreError:
        return None
    finally:
        database.close()
    found = {
        (table.name, parent): column
        for table in plan.tables
        for column, parent in _parents(table)
        if parent != table.name and parent in plan.by_name
    }
    return [Needed(table, column, parent) for (table, parent), column in found.items()]


def _parents(table: "TablePlan") -> list[tuple[str, str]]:
    """Columns that are never NULL, with the table to which each refers."""
    always = {column.name for column in table.columns if not column.nullable}
    by_key = [(key.columns[0], key.table) for key in table.foreign_keys if always >= {*key.columns}]
    return [*by_key, *((name, to) for name, to in table.references.items() if name in always)]
