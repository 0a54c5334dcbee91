"""A database becomes a site, and is opened as one."""

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, cast

from syncnode.apply.filters import Filters, check_filters
from syncnode.capture import capture_ddl, explain, key_count, mask_count, trigger_names
from syncnode.dialects.base import Mode
from syncnode.identity.anchor import SHARED, Anchor
from syncnode.identity.files import exposed
from syncnode.identity.home import HOME, home_text
from syncnode.machine import THIS_MACHINE, Machine
from syncnode.reports import InitReport
from syncnode.schema.drift import FOLLOWED, SEEN, Drift, drift, seen
from syncnode.serve_lock import alone
from syncnode.settings.config import check_tables
from syncnode.settings.hook_settings import check_hooks
from syncnode.store.database import Database, Transaction
from syncnode.store.hidden import HiddenRows
from syncnode.store.link_words import LinkWords
from syncnode.store.remains import (
    Remains,
    existing_triggers,
    finish,
    missing_text,
    remains,
    take_away,
    take_away_what_can_be,
)
from syncnode.store.sidecar import Sidecar, load_plan, sidecar_ddl
from syncnode.store.table import Origins, Table
from syncproto.codec import decode_cells
from syncproto.errors import ConfigError, StoreError
from syncproto.identity import Origin, site_text

if TYPE_CHECKING:
    from pathlib import Path

    from syncnode.capture import Engine
    from syncnode.identity.credentials import SiteKey
    from syncnode.replica import DatabaseReplica
    from syncnode.schema.plan import SchemaPlan
    from syncnode.settings.config import Settings

Progress = Callable[[str], None]

# An application that waits for SQLite gives up after some seconds, Python's after five.
TURN_S = 0.5
TURN_PAUSE_S = 0.11
MESSAGE_BYTES_BESIDE_ROWS = 16 << 10  # frontier, sums and the rest of a turn


def initialise(settings: "Settings", *, dry_run: bool, progress: Progress) -> InitReport:
    """Inspect the database, and make a site of it unless `dry_run`.

    Everything is made or nothing: keys, sidecar, triggers, settings; what an `init` that was
    killed has left is taken away first. Settings that stand in their file stay as they are, and
    so does the key of a site that was uninstalled.

    Raises:
        ConfigError: The settings do not fit the database, or the key is another site's.
        StoreError: The database cannot be used, or is a site already.
    """
    database = Database(settings.database)
    try:
        found = _check_ready(database, settings)
        if dry_run:
            return _made(database, settings, found, progress, dry_run=True)
        with alone(database):
            return _made(database, settings, found, progress)
    finally:
        database.close()


def propose(settings: "Settings", path: "Path", *, progress: Progress) -> None:
    """Write a preset for the schema of this database, to be edited; changes nothing there.

    Raises:
        ConfigError: There is such a file already, or the settings do not fit the database.
    """
    from syncnode.schema.inspect import inspect
    from syncnode.schema.suspicion import proposal
    from syncnode.settings.new_config import write_text

    database = Database(settings.database)
    try:
        progress("reading the schema")
        with database.engine.connect() as connection:
            tables = settings.tables
            plan = inspect(connection, tables.only, tables.exclude, tables.rules)
    finally:
        database.close()
    write_text(path, proposal(plan))


def _made(
    database: Database,
    settings: "Settings",
    found: Remains,
    progress: Progress,
    *,
    dry_run: bool = False,
) -> InitReport:
    from syncnode.schema.inspect import inspect
    from syncnode.schema.renamed import called, newly_called
    from syncnode.schema.text import plan_text

    identity = None if dry_run else _identity(settings, found)
    progress("reading the schema")
    with database.engine.connect() as connection:
        from sqlalchemy import inspect as catalogue_of

        there = catalogue_of(connection).get_table_names()
        check_tables(settings, there)
        tables = settings.tables
        plan = inspect(connection, tables.only, tables.exclude, tables.rules)
        plan = called(plan, newly_called((), tables.renamed, there))
    if not plan.tables:
        if not plan.excluded:
            raise ConfigError(
                f"{settings.shown_database} holds no table yet: let the application make its "
                "tables first, then run `syncnode init` again"
            )
        raise ConfigError("the database has no table that can be replicated:\n" + plan_text(plan))
    check_hooks(settings.hooks, [table.name for table in plan.tables])
    check_filters(settings.filters, plan)
    Filters(settings.filters)  # refuses what is not installed
    statements = (*sidecar_ddl(plan, database.dialect), *capture_of(plan))
    warnings = [*plan.warnings, *_advice(database)]
    if open_to_others := exposed(settings):
        warnings.append(open_to_others)
    if identity is None:
        return InitReport(plan_text(plan), statements, tuple(warnings))
    if found:
        progress("taking away what an interrupted `init` or `uninstall` has left")
        take_away(database, found)
        warnings.insert(0, "an earlier `init` or `uninstall` was interrupted; what it left is gone")
    _install(database, settings, plan, identity, statements, progress)
    if identity.instead:
        warnings.insert(
            0,
            "another machine uses the key that was here: the site has a new one, and the old one "
            "lies beside it; it knows no peers: have it invited under a name of its own",
        )
    if identity.incarnation > 1:
        warnings.insert(
            0,
            f"the site keeps its key, {settings.key}, and begins incarnation "
            f"{identity.incarnation}; it knows no peers any more: `syncnode forget "
            f"{settings.name}` and `syncnode invite {settings.name}` there, then `syncnode join`",
        )
    return InitReport(plan_text(plan), statements, tuple(warnings), site_text(identity.key.site))


class _Identity(NamedTuple):
    """Who the new site is.

    Attributes:
        incarnation: One under which nothing was ever offered to any site.
        kept: The key is in its file already.
        instead: There is another key in that file, which is to be kept beside it.
        network: The one it belongs to, in hexadecimal; "" for a new one.
    """

    key: "SiteKey"
    incarnation: int
    kept: bool
    instead: bool = False
    network: str = ""


def _identity(settings: "Settings", found: Remains) -> _Identity:
    """The key that an uninstalled site has left, with its next incarnation; else a new one.

    No number of a changeset may ever name two. What a site was offered as stands in its anchor,
    and the anchor says when the site ended, so only then, and only where it was written, may
    another begin under the same key; and not if a clone goes on under it.

    Raises:
        ConfigError: There is a key of which that is not known.
    """
    from syncnode.identity.credentials import load_key, new_key

    if not settings.key.exists():
        return _Identity(new_key(), 1, kept=False)
    key, anchor = load_key(settings.key), Anchor(settings.anchor)
    site, held = key.site.hex(), anchor.read()
    last = held.incarnation if held is not None and held.site == site else 0
    if not found.finished and found.settings.get("site") == site:
        # Of an interrupted `init`: nothing was offered under its incarnation.
        begun, network = int(found.settings["incarnation"]), found.settings["network"]
        return _Identity(key, begun if last <= begun else last + 1, kept=True, network=network)
    if held is not None and held.site == site and held.retired and anchor.is_ours(held):
        if held.retired == SHARED:
            return _Identity(new_key(), 1, kept=False, instead=True)
        return _Identity(key, last + 1, kept=True, network=held.network)
    raise ConfigError(
        f"{settings.key} is the key of site {site_text(key.site)}, which was not uninstalled "
        "here and may live elsewhere: move it away, and a new one is made; or name another file "
        "as `key`"
    )


def capture_of(plan: "SchemaPlan") -> list[str]:
    """The statements that make journal, images and triggers."""
    return capture_ddl(plan, cast("Engine", plan.dialect))


def _check_ready(database: Database, settings: "Settings") -> Remains:
    """The database can be reached, keeps what it commits, and is no site yet; what is in it of
    an interrupted `init`."""
    with database.read() as tx:
        weak = database.dialect.durability(tx)
        if weak is not None:
            raise StoreError(weak)
        found = remains(tx)
    if found.finished:
        raise StoreError(
            f"{settings.shown_database} is a site already: its sidecar is there; `syncnode "
            "uninstall` removes it, with --database URL where its settings are lost"
        )
    return found


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
    identity: _Identity,
    statements: tuple[str, ...],
    progress: Progress,
) -> None:
    from syncnode.identity.credentials import store_key
    from syncnode.settings.new_config import write_settings

    settings.path.parent.mkdir(parents=True, exist_ok=True)
    key, anchor = identity.key, Anchor(settings.anchor)
    held = anchor.read() if identity.kept or identity.instead else None
    made: list[Path] = []
    aside: Path | None = None
    try:
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
            home = home_text(tx, database, settings.anchor)
            rows, hlc = _fill(tx, settings, plan, identity, home)
        # The files after the name of the site, by which a second `init` knows them as ours.
        if identity.instead:
            aside = put_aside(settings.key)
        if not identity.kept:
            store_key(settings.key, key.private)
            made.append(settings.key)
        anchor.begin(
            site=key.site.hex(),
            incarnation=identity.incarnation,
            seq=1 if rows else 0,
            lsn=rows,
            hlc=hlc,
        )
        if not settings.path.exists():
            write_settings(settings.path, settings)
            made.append(settings.path)
        finish(database)
    except BaseException:
        with contextlib.suppress(StoreError):
            take_away_what_can_be(database)
        with contextlib.suppress(OSError):
            anchor.put_back(held)
        anchor.remove_lock()
        for path in made:
            path.unlink(missing_ok=True)
        if aside is not None:
            aside.rename(settings.key)
        raise


def put_aside(path: "Path") -> "Path":
    """Give a file another name that is free."""
    number = 1
    while (aside := path.with_name(f"{path.name}.old{number}")).exists():
        number += 1
    path.rename(aside)
    return aside


def _fill(
    tx: Transaction, settings: "Settings", plan: "SchemaPlan", identity: _Identity, home: str
) -> tuple[int, int]:
    """The sidecar's first content; returns how many rows stood there before, and the greatest
    reading that they bear."""
    from syncnode.capture.seal import Sealer, groups_text
    from syncnode.identity.vouching import network_of
    from syncnode.operations.cloned_rules import PRESET, named_preset
    from syncnode.schema.rules import SETTING as RULES
    from syncnode.schema.rules import digest

    m, origin = tx.mark, Origin(identity.key.site, identity.incarnation)
    tx.executemany(
        f"INSERT INTO syncnode_setting (name, value) VALUES ({m}, {m})",
        [
            ("plan", plan.to_json()),
            ("site", origin.site.hex()),
            ("name", settings.name),
            ("network", identity.network or network_of(identity.key.public).hex()),
            ("incarnation", str(origin.incarnation)),
            ("lsn", "0"),
            ("hlc", "1"),
            ("groups", groups_text(table.name for table in plan.tables)),
            ("masks", str(mask_count(plan))),
            ("widest_key", str(key_count(plan))),
            (RULES, digest(settings.tables.rules)),
            (PRESET, named_preset(settings)),
            (HOME, home),
            *([(SEEN, seen(tx))] if tx.dialect.name in FOLLOWED else ()),
        ],
    )
    tx.execute(
        f"INSERT INTO syncnode_origin (id, site, incarnation) VALUES (0, {m}, {m})",
        (origin.site, origin.incarnation),
    )
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
    rows = sealer.seal_baseline(between=_Turns(tx).give)
    book.save()
    return rows, book.hlc


class _Turns:
    """Lets the application write while its rows get clocks: SQLite has one writer at a time, and
    who waits for it looks again every tenth of a second. The other engines let it anyway.

    Nothing reads what is committed on the way: the sidecar has no format before it is finished.
    """

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._began_s = time.monotonic()

    def give(self) -> None:
        tx = self._tx
        if tx.dialect.name != "sqlite" or time.monotonic() - self._began_s < TURN_S:
            return
        tx.dialect.commit(tx)
        THIS_MACHINE.pause(TURN_PAUSE_S)
        tx.dialect.begin(tx, Mode.SNAPSHOT)
        self._began_s = time.monotonic()


def open_replica(
    settings: "Settings",
    *,
    light: bool = False,
    captured: bool = True,
    machine: Machine = THIS_MACHINE,
) -> "DatabaseReplica":
    """The site of these settings; the caller closes it.

    `captured`: only if all triggers are there.

    Raises:
        ConfigError: The key is not the one this database was made a site with, or `[tables]`
            names what never was there.
        StoreError: The database is no site, or lost columns or triggers.
    """
    from syncnode.files.manifest import begin_manifests
    from syncnode.identity.credentials import load_key
    from syncnode.operations.following import finish_following, follow_schema
    from syncnode.operations.guarding import guard_if_possible
    from syncnode.replica import DatabaseReplica
    from syncnode.store.keeping import begin_with_peers, forget_all

    database = Database(settings.database, light=light)
    try:
        following = follow_schema(database, settings)
        with database.read() as tx:
            plan = load_plan(tx)
            check_tables(settings, check_schema(tx, plan).known)
            if captured:
                check_triggers(tx, plan)
            site = tx.value("SELECT value FROM syncnode_setting WHERE name='site'")
        check_hooks(settings.hooks, [table.name for table in plan.tables])
        check_filters(settings.filters, plan)
        key = load_key(settings.key)
        if key.site.hex() != site:
            raise ConfigError(
                f"{settings.key}: this key belongs to site {site_text(key.site)}, the database "
                f"to site {site_text(bytes.fromhex(site))}: use the key that `init` made for it"
            )
        if settings.tables.keeps_unknown:
            begin_with_peers(database, plan)
        else:
            forget_all(database, plan)
        begin_manifests(database, plan, [one.table for one in settings.files])
        replica = DatabaseReplica(
            database,
            Anchor(settings.anchor),
            wall_ms=machine.wall_ms,
            nonce=machine.nonce,
            pause=machine.pause,
            chunk_bytes_max=settings.limits.chunk_bytes_max,
            apply_rows_max=settings.limits.apply_rows_max,
            row_bytes_max=settings.limits.body_bytes_max - MESSAGE_BYTES_BESIDE_ROWS,
            skew_ms_max=settings.limits.skew_ms_max,
            hooks=settings.hooks,
            filters=Filters(settings.filters),
            pass_on=settings.tables.keeps_unknown,
            words=LinkWords(settings.rules),
        )
        if following is not None:
            finish_following(replica, following)
        guard_if_possible(replica)
        return replica
    except BaseException:
        database.close()
        raise


def fault_of(settings: "Settings") -> StoreError | None:
    """Why this database is not, or no longer, the site that `init` made; None if it is, or if
    that cannot be told."""
    database = Database(settings.database, light=True)
    with contextlib.suppress(StoreError), database.read() as tx:
        if not remains(tx).finished:
            return StoreError(
                f"{settings.shown_database} is no site any more: its sidecar is gone; "
                "`syncnode init` makes a new one"
            )
        try:
            plan = load_plan(tx)
            check_schema(tx, plan)
            check_triggers(tx, plan)
        except StoreError as error:
            return error
    return None


def check_schema(tx: Transaction, plan: "SchemaPlan") -> Drift:
    """Every table and column of the plan is there; what else there is.

    Raises:
        StoreError: Some are not: the application changed its schema.
    """
    found = drift(tx, plan)
    if found.fault:
        raise StoreError(found.fault)
    return found


def check_triggers(tx: Transaction, plan: "SchemaPlan") -> None:
    """Every trigger of the capture is there.

    Raises:
        StoreError: Some are missing, so changes may have gone unseen.
    """
    missing = trigger_names(plan) - set(existing_triggers(tx))
    if missing:
        raise StoreError(missing_text(missing))
