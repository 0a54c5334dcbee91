"""A database stops being a site."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from syncnode.identity.anchor import SHARED, UNINSTALLED, Anchor
from syncnode.identity.renewals import is_shared, read_renewals
from syncnode.machine import THIS_MACHINE
from syncnode.reports import UninstallReport
from syncnode.serve_lock import alone
from syncnode.store.database import Database, Transaction
from syncnode.store.remains import Remains, remains, take_away
from syncnode.store.sidecar import Sidecar, load_plan
from syncproto.errors import StoreError

if TYPE_CHECKING:
    from syncnode.schema.plan import SchemaPlan
    from syncnode.settings.config import Settings


def uninstall(settings: "Settings", *, force: bool) -> UninstallReport:
    """Remove triggers and sidecar; the application's schema is what it was.

    Raises:
        StoreError: Changes made here have reached nobody, and `force` is not given; or `serve`
            runs.
    """
    anchor = Anchor(settings.anchor)
    with _about_to_remove(settings.database, force=force) as (database, found):
        held = anchor.read()
        # First: a site that is retired and still there goes on under its next incarnation.
        shared = is_shared(read_renewals(found.settings), THIS_MACHINE.wall_ms())
        why = SHARED if shared else UNINSTALLED
        anchor.retire(why, network=found.settings.get("network", ""))
        try:
            take_away(database, found)
        except BaseException:
            anchor.put_back(held)
            raise
        anchor.remove_lock()
    kept = [path for path in (settings.path, settings.key, settings.anchor) if path.exists()]
    return UninstallReport(
        len(found.triggers), len(found.tables), tuple(path.name for path in kept)
    )


def remove(database_url: str, *, force: bool) -> UninstallReport:
    """`uninstall` of a database whose settings are lost; a key that is left is no longer used.

    Raises:
        ConfigError, StoreError: As `uninstall`.
    """
    with _about_to_remove(database_url, force=force) as (database, found):
        take_away(database, found)
    return UninstallReport(len(found.triggers), len(found.tables), ())


@contextlib.contextmanager
def _about_to_remove(url: str, *, force: bool) -> Iterator[tuple[Database, Remains]]:
    database = Database(url)
    try:
        with database.read() as tx:
            found = remains(tx)
            if not found:
                raise StoreError(
                    "this database has nothing of syncnode to remove; `syncnode init` makes a "
                    "site of it"
                )
            if found.finished and not force:
                _check_delivered(tx, load_plan(tx))
        with alone(database):
            yield database, found
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
            "changes made here have reached no other site yet: run `syncnode sync` first; with "
            "`syncnode uninstall --force` they stay in the tables only, and after another `init` "
            "and `join` new rows go out, a changed value may give way to that of the others (on "
            "record), and a deleted row comes back"
        )
