"""Which tables take part, at run time: listed, taken up, let go of.

A table that is taken up begins with nothing: its rows are sealed as those that stood here before,
and its scope of the frontier is empty, so that peers send all that they have of it. One that is
let go of keeps its rows and loses triggers, clocks and everything else of ours; what is written to
it then has no dots. So a site that takes such a table up again goes on under a new incarnation,
under which it claims nothing of it (rule A15).
"""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, cast

from syncnode.capture import (
    Engine,
    capture_ddl,
    drop_ddl,
    key_count,
    mask_count,
    trigger_names,
)
from syncnode.capture.seal import Sealer
from syncnode.identity.renewals import TABLES
from syncnode.machine import THIS_MACHINE
from syncnode.operations.site import open_replica
from syncnode.reports import TableReport
from syncnode.schema.plan import DISABLED, SchemaPlan
from syncnode.schema.renamed import called, names_here
from syncnode.schema.replan import added, removed, with_tables, without_tables
from syncnode.schema.text import key_text
from syncnode.settings.said_where import said_where
from syncnode.store.hidden import HiddenRows
from syncnode.store.keeping import number_tables, show_kept
from syncnode.store.sidecar import EDITION, Sidecar, clock_table, load_plan, sidecar_ddl
from syncnode.store.table import Origins, Table
from syncproto.codec import decode_cells
from syncproto.errors import ConfigError

if TYPE_CHECKING:
    from syncnode.replica import DatabaseReplica
    from syncnode.settings.config import Settings
    from syncnode.store.database import Database, Transaction

Progress = Callable[[str], None]


def list_tables(settings: "Settings") -> list[TableReport]:
    """Every table of the database that `init` saw, with what names its rows or why it is out."""
    from syncnode.store.database import Database

    database = Database(settings.database, light=True)
    with database.read() as tx:
        plan = load_plan(tx)
    found = [TableReport(table.name, key_text(table), None) for table in plan.tables]
    found += [TableReport(one.table, None, one.reason) for one in plan.excluded]
    return sorted(found, key=lambda one: one.name)


def enable_tables(settings: "Settings", names: Sequence[str], *, progress: Progress) -> int:
    """Take tables up; returns how many rows stood in them.

    Raises:
        ConfigError: One cannot take part, takes part already, is left out by the settings, or
            refers to a table that does not take part; nothing was changed.
    """
    _check_settings(settings, names, settings.tables.exclude, "exclude")
    only = settings.tables.only
    for name in names:
        if only is not None and name not in only:
            where = said_where(settings, "only")
            raise ConfigError(f"{where}[tables] only does not name {name}: add it there first")
    replica = open_replica(settings)
    try:
        before = replica.plan
        if there := [name for name in names if name in before.by_name]:
            raise ConfigError(f"{there[0]} takes part already")
        progress("reading the schema")
        after = with_tables(before, _whole(replica.database, settings, before), names)
        again = {one.table for one in before.excluded if one.reason == DISABLED}
        replica.seal()
        if again & set(names):
            with replica.database.read() as tx:
                book = Sidecar.load(tx, before)
            seq = book.frontier.seq(book.origin)
            replica.renew(book.origin.incarnation + 1, seq, why=TABLES)
        progress("making triggers, and clocks for the rows that are there")
        _change(replica.database, before, after)
        return _take_up(replica, after, set(names))
    finally:
        replica.close()


def disable_tables(settings: "Settings", names: Sequence[str], *, progress: Progress) -> None:
    """Let go of tables: their rows stay, and are no longer replicated.

    Raises:
        ConfigError: One does not take part, is wanted by the settings, or a table that stays
            refers to it; nothing was changed.
    """
    _check_settings(settings, names, settings.tables.only or (), "only")
    replica = open_replica(settings)
    try:
        before = replica.plan
        after = without_tables(before, names)
        replica.seal()
        progress("taking triggers and clocks away")
        with replica.database.snapshot() as tx:
            _let_go(tx, before, after)
        # Last, since a server commits each of these by itself; a line too many is no harm.
        _change(replica.database, before, after)
    finally:
        replica.close()


def _check_settings(
    settings: "Settings", names: Sequence[str], said: Collection[str], key: str
) -> None:
    for name in names:
        if name in said:
            where = said_where(settings, key, name)
            raise ConfigError(f"{where}[tables] {key} names {name}: take it out there first")


def _whole(database: "Database", settings: "Settings", plan: SchemaPlan) -> SchemaPlan:
    """The plan of all tables that could take part."""
    from dataclasses import replace

    from syncnode.schema.inspect import inspect

    layers = [
        replace(
            layer,
            tables={name: replace(rules, exclude=None) for name, rules in layer.tables.items()},
        )
        for layer in settings.tables.rules
    ]
    return called(inspect(database.engine, rules=layers), names_here(plan))


def _change(database: "Database", before: SchemaPlan, after: SchemaPlan) -> None:
    """Triggers, images and clocks as the plan wants them. On a server each of these statements
    commits by itself; what an interrupted one has left is made anew."""
    engine = cast("Engine", before.dialect)
    gone = removed(drop_ddl(before, engine), drop_ddl(after, engine))
    came = removed(drop_ddl(after, engine), drop_ddl(before, engine))
    old, new = before.by_name, after.by_name
    clocks = [
        f"DROP TABLE IF EXISTS {clock_table(table)}"
        for name, table in {**old, **new}.items()
        if name not in old or name not in new
    ]
    statements = [
        *_triggers_away(before, after),
        *gone,
        *came,
        *clocks,
        *added(sidecar_ddl(before, database.dialect), sidecar_ddl(after, database.dialect)),
        *added(capture_ddl(before, engine), capture_ddl(after, engine)),
        # Its number may be given again.
        *(
            f"DELETE FROM syncnode_journal WHERE tbl={table.number}"
            for name, table in old.items()
            if name not in new
        ),
    ]
    with database.snapshot() as tx:
        tx.script([*wider_journal(tx, after), *statements])


def _triggers_away(before: SchemaPlan, after: SchemaPlan) -> list[str]:
    """PostgreSQL: triggers of tables that go, and of those that come what an interrupted enable
    has left; for not all of them go with functions of their own."""
    if before.dialect != "postgresql":
        return []
    from syncnode.capture.postgresql import quoted

    return [
        f"DROP TRIGGER IF EXISTS {name} ON {quoted(before.namespace)}.{quoted(table.here)}"
        for plan, staying in ((before, after), (after, before))
        for table in plan.tables
        if table.name not in staying.by_name
        for name in sorted(trigger_names(plan))
        if name.startswith(f"syncnode_t{table.number}_")
    ]


def wider_journal(tx: "Transaction", plan: SchemaPlan) -> list[str]:
    """Columns that the journal lacks for a wider table or key."""
    settings = dict(tx.rows("SELECT name, value FROM syncnode_setting WHERE name<>'plan'"))
    kind = {"sqlite": "INTEGER"}.get(plan.dialect, "BIGINT")
    statements = [
        f"ALTER TABLE syncnode_journal ADD COLUMN mask{number} {kind}"
        for number in range(int(settings["masks"]), mask_count(plan))
    ]
    if plan.dialect == "sqlite":
        statements += [
            f"ALTER TABLE syncnode_journal ADD COLUMN k{number + 1}"
            for number in range(int(settings["widest_key"]), key_count(plan))
        ]
    there = set(_journal_columns(tx))
    return [statement for statement in statements if statement.split()[5] not in there]


def _journal_columns(tx: "Transaction") -> list[str]:
    if tx.dialect.name == "sqlite":
        return [
            name for (name,) in tx.rows("SELECT name FROM pragma_table_info('syncnode_journal')")
        ]
    schema = "DATABASE()" if tx.dialect.name == "mysql" else "current_schema()"
    return [
        name
        for (name,) in tx.rows(
            "SELECT column_name FROM information_schema.columns "
            f"WHERE table_schema = {schema} AND table_name = 'syncnode_journal'"
        )
    ]


def _take_up(replica: "DatabaseReplica", plan: SchemaPlan, names: Collection[str]) -> int:
    """Seal what stands in these tables, and make the plan the site's."""
    with replica.database.snapshot() as tx:
        before = Sidecar.load(tx, replica.plan)
        number_tables(before, [one for one in plan.tables if one.name in names])
        book = Sidecar.load(tx, plan)
        tables = {table.number: Table(table, plan, tx.dialect) for table in plan.tables}
        sealer = Sealer(
            book,
            HiddenRows(book),
            tables,
            Origins(book.origin_of, decode_cells),
            wall_ms=THIS_MACHINE.wall_ms(),
            nonce=THIS_MACHINE.nonce(),
        )
        rows = sealer.seal_baseline({plan.by_name[name].number for name in names})
        save_plan(book, plan)
    show_kept(replica)
    return rows


def _let_go(tx: "Transaction", before: SchemaPlan, after: SchemaPlan) -> None:
    gone = [table for table in before.tables if table.name not in after.by_name]
    for table in gone:
        tx.execute(f"DELETE FROM syncnode_row WHERE tbl={tx.mark}", (table.number,))
        tx.execute(f"DELETE FROM syncnode_table WHERE id={tx.mark}", (table.number,))
    save_plan(Sidecar.load(tx, after), after)


def save_plan(book: Sidecar, plan: SchemaPlan) -> None:
    """Write plan and frontier, and tell processes that are at work that there is another plan."""
    book.set(EDITION, str(int(book.settings.get(EDITION, "0")) + 1))
    masks = max(mask_count(plan), int(book.settings["masks"]))
    book.set("masks", str(masks))
    book.set("widest_key", str(max(key_count(plan), int(book.settings["widest_key"]))))
    book.tx.execute(
        f"UPDATE syncnode_setting SET value={book.tx.mark} WHERE name='plan'", (plan.to_json(),)
    )
    book.save_frontier()
    book.save()
