"""A database becomes a site, is opened as one, and stops being one."""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from syncnode.anchor import Anchor
from syncnode.capture import capture_ddl, drop_ddl, explain, key_count, mask_count, trigger_names
from syncnode.database import Database, Transaction
from syncnode.hidden import HiddenRows
from syncnode.machine import THIS_MACHINE, Machine
from syncnode.reports import InitReport, UninstallReport
from syncnode.sidecar import FORMAT, Sidecar, load_plan, sidecar_ddl, sidecar_drop
from syncnode.table import Origins, Table
from syncproto.codec import decode_cells
from syncproto.errors import ConfigError, StoreError
from syncproto.identity import SiteId, site_text

if TYPE_CHECKING:
    from syncnode.config import Settings
    from syncnode.replica import DatabaseReplica
    from syncnode.schema.plan import SchemaPlan

Progress = Callable[[str], None]

MESSAGE_BYTES_BESIDE_ROWS = 16 << 10  # frontier, sums and the rest of a turn


def initialise(settings: "Settings", *, dry_run: bool, progress: Progress) -> InitReport:
    """Inspect the database, and make a site of it unless `dry_run`.

    Everything is made or nothing: keys, sidecar, triggers, settings.

    Raises:
        ConfigError: The settings do not fit the database.
        StoreError: The database cannot be used, or is a site already.
    """
    from syncnode.config import check_tables
    from syncnode.schema.inspect import inspect
    from syncnode.schema.text import plan_text

    database = Database(settings.database)
    try:
        _check_ready(database, settings)
        progress("reading the schema")
        with database.engine.connect() as connection:
            from sqlalchemy import inspect as catalogue_of

            check_tables(settings, catalogue_of(connection).get_table_names())
            plan = inspect(connection, settings.tables.only, settings.tables.exclude)
        if not plan.tables:
            if not plan.excluded:
                raise ConfigError(
                    f"{settings.shown_database} holds no table yet: let the application make its "
                    "tables first, then run `syncnode init` again"
                )
            raise ConfigError(
                "the database has no table that can be replicated:\n" + plan_text(plan)
            )
        statements = (*sidecar_ddl(plan, database.dialect), *_capture(plan))
        warnings = (*plan.warnings, *_advice(database))
        if dry_run:
            return InitReport(plan_text(plan), statements, warnings)
        site = _install(database, settings, plan, statements, progress)
        return InitReport(plan_text(plan), statements, warnings, site_text(site))
    finally:
        database.close()


def _capture(plan: "SchemaPlan") -> list[str]:
    return capture_ddl(plan, "sqlite" if plan.dialect == "sqlite" else "mysql")


def _check_ready(database: Database, settings: "Settings") -> None:
    """The database can be reached, keeps what it commits, and is no site yet."""
    with database.read() as tx:
        weak = database.dialect.durability(tx)
        if weak is not None:
            raise StoreError(weak)
        try:
            tx.value("SELECT value FROM syncnode_setting WHERE name='format'")
        except database.dialect.errors:
            return
    raise StoreError(
        f"{settings.shown_database} is a site already: its sidecar is there; "
        "`syncnode uninstall` removes it"
    )


def _advice(database: Database) -> list[str]:
    if database.dialect.name != "sqlite":
        return []
    with database.read() as tx:
        mode = tx.value("PRAGMA journal_mode")
    if mode == "wal":
        return []
    return [
        f"the database's journal_mode is {mode}: with `PRAGMA journal_mode=WAL` (once, by any "
        "SQLite client) the application and syncnode would not wait for each other's reads"
    ]


def _install(
    database: Database,
    settings: "Settings",
    plan: "SchemaPlan",
    statements: tuple[str, ...],
    progress: Progress,
) -> SiteId:
    from syncnode.identity import create_key
    from syncnode.new_config import write_settings

    settings.path.parent.mkdir(parents=True, exist_ok=True)
    made: list[Any] = []
    try:
        key = create_key(settings.key)
        made.append(settings.key)
        with database.snapshot() as tx:
            progress("making the sidecar and the triggers")
            try:
                if plan.dialect != "sqlite":
                    # Who may not drop could not take back what fails half way.
                    tx.script(["DROP TABLE IF EXISTS syncnode_setting"])
                tx.script(statements)
            except database.dialect.errors as error:
                raise explain(error) or database.dialect.explained(error) from error
        with database.snapshot() as tx:
            progress("giving clocks to the rows that are there")
            rows = _fill(tx, settings, plan, key.site)
            lsn = rows
        anchor = Anchor(settings.anchor)
        anchor.begin(site=key.site.hex(), incarnation=1, seq=1 if rows else 0, lsn=lsn, hlc=1)
        made.append(settings.anchor)
        write_settings(settings.path, settings)
    except BaseException:
        _undo(database, plan)
        for path in made:
            path.unlink(missing_ok=True)
        raise
    return key.site


def _undo(database: Database, plan: "SchemaPlan") -> None:
    """Take away what a failed `init` has made; DDL of MariaDB cannot be rolled back."""
    with contextlib.suppress(StoreError), database.write() as tx:
        for statement in _drops(plan):
            # Each for itself: a user who may make no triggers may not drop any either.
            with contextlib.suppress(*database.dialect.errors):
                tx.script([statement])


def _drops(plan: "SchemaPlan") -> list[str]:
    return [
        *drop_ddl(plan, "sqlite" if plan.dialect == "sqlite" else "mysql"),
        *sidecar_drop(plan),
    ]


def _fill(tx: Transaction, settings: "Settings", plan: "SchemaPlan", site: SiteId) -> int:
    """The sidecar's first content; returns how many rows stood there before."""
    from syncnode.seal import Sealer, groups_text

    m = tx.mark
    tx.executemany(
        f"INSERT INTO syncnode_setting (name, value) VALUES ({m}, {m})",
        [
            ("format", FORMAT),
            ("plan", plan.to_json()),
            ("site", site.hex()),
            ("name", settings.name),
            ("network", THIS_MACHINE.entropy(8).hex()),
            ("incarnation", "1"),
            ("lsn", "0"),
            ("hlc", "1"),
            ("groups", groups_text(table.name for table in plan.tables)),
            ("masks", str(mask_count(plan))),
            ("widest_key", str(key_count(plan))),
        ],
    )
    tx.execute(f"INSERT INTO syncnode_origin (id, site, incarnation) VALUES (0, {m}, 1)", (site,))
    tx.executemany(
        f"INSERT INTO syncnode_table (id, name, plan, total) VALUES ({m}, {m}, {m}, '0')",
        [(table.number, table.name, table.to_json()) for table in plan.tables],
    )
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
    rows = sealer.seal_baseline()
    book.save()
    return rows


def open_replica(
    settings: "Settings", *, light: bool = False, machine: Machine = THIS_MACHINE
) -> "DatabaseReplica":
    """The site of these settings; the caller closes it.

    Raises:
        ConfigError: The key is not the one this database was made a site with.
        StoreError: The database is no site, or lost triggers.
    """
    from syncnode.identity import load_key
    from syncnode.replica import DatabaseReplica

    database = Database(settings.database, light=light)
    try:
        with database.read() as tx:
            plan = load_plan(tx)
            check_triggers(tx, plan)
            site = tx.value("SELECT value FROM syncnode_setting WHERE name='site'")
        key = load_key(settings.key)
        if key.site.hex() != site:
            raise ConfigError(
                f"{settings.key}: this key belongs to site {site_text(key.site)}, the database "
                f"to site {site_text(bytes.fromhex(site))}: use the key that `init` made for it"
            )
        return DatabaseReplica(
            database,
            Anchor(settings.anchor),
            wall_ms=machine.wall_ms,
            nonce=machine.nonce,
            pause=machine.pause,
            chunk_bytes_max=settings.limits.chunk_bytes_max,
            apply_rows_max=settings.limits.apply_rows_max,
            row_bytes_max=settings.limits.body_bytes_max - MESSAGE_BYTES_BESIDE_ROWS,
            skew_ms_max=settings.limits.skew_ms_max,
        )
    except BaseException:
        database.close()
        raise


def check_triggers(tx: Transaction, plan: "SchemaPlan") -> None:
    """Every trigger of the capture is there.

    Raises:
        StoreError: Some are missing, so changes may have gone unseen.
    """
    missing = sorted(trigger_names(plan) - existing_triggers(tx))
    if missing:
        raise StoreError(
            f"triggers of syncnode are missing ({', '.join(missing[:3])}"
            f"{', …' if len(missing) > 3 else ''}): the table was made anew, so changes were not "
            "captured; run `syncnode uninstall` and `syncnode init` again, and join again"
        )


def existing_triggers(tx: Transaction) -> set[str]:
    """Names of the triggers in the database that are ours."""
    if tx.dialect.name == "sqlite":
        sql = "SELECT name FROM sqlite_master WHERE type='trigger'"
    else:
        sql = "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()"
    return {name for (name,) in tx.rows(sql) if name.startswith("syncnode_")}


def uninstall(settings: "Settings", *, force: bool) -> UninstallReport:
    """Remove triggers and sidecar; the application's schema is what it was.

    Raises:
        StoreError: Changes made here have reached nobody, and `force` is not given.
    """
    database = Database(settings.database)
    try:
        with database.read() as tx:
            plan = load_plan(tx)
            if not force:
                _check_delivered(tx, plan)
            triggers = len(existing_triggers(tx))
        with database.write() as tx:
            tx.script(_drops(plan))
        kept = [path for path in (settings.path, settings.key) if path.exists()]
        lock = settings.anchor.with_name(settings.anchor.name + ".lock")
        for leftover in (settings.anchor, lock):
            leftover.unlink(missing_ok=True)
        tables = len(sidecar_drop(plan))
        return UninstallReport(triggers, tables, tuple(path.name for path in kept))
    finally:
        database.close()


def _check_delivered(tx: Transaction, plan: "SchemaPlan") -> None:
    from syncproto.frontier_blob import decode_frontier

    if tx.value("SELECT 1 FROM syncnode_peer LIMIT 1") is None:
        return
    book = Sidecar.load(tx, plan)
    own = book.frontier.entry(book.origin).seq
    unsealed = tx.value("SELECT 1 FROM syncnode_journal LIMIT 1") is not None
    reached = 0
    for (blob,) in tx.rows("SELECT frontier FROM syncnode_peer"):
        if blob is not None:
            reached = max(reached, decode_frontier(bytes(blob)).seq(book.origin))
    if unsealed or reached < own:
        raise StoreError(
            "changes made here have reached no other site yet: run `syncnode sync` first, or "
            "give them up with `syncnode uninstall --force`"
        )
