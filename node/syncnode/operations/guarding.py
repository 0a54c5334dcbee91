"""Which tables are only received here, by the rules of links, and the triggers that go with it.

It stands in the plan, so that every process of the site goes by the same, and changes with the
triggers: what was written before is sealed under the rule that held then.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from syncnode.capture.seal import Sealer
from syncnode.machine import THIS_MACHINE
from syncnode.operations.recapturing import own_statements, quiet
from syncnode.operations.tables import save_plan
from syncnode.schema.follow import Followed
from syncnode.store.hidden import HiddenRows
from syncnode.store.sidecar import Sidecar, load_plan
from syncnode.store.table import Origins, Table
from syncproto.codec import decode_cells
from syncproto.errors import StoreError

if TYPE_CHECKING:
    from syncnode.replica import DatabaseReplica
    from syncnode.schema.plan import SchemaPlan
    from syncnode.store.database import Database, Transaction
    from syncnode.store.link_words import LinkWords

logger = logging.getLogger(__name__)


def guard(replica: "DatabaseReplica") -> tuple[str, ...]:
    """Let the plan say which tables are only received here; those that are so from now on, and
    those that are not any more.

    Raises:
        StoreError: The database cannot be used; transient if the application keeps a table busy.
    """
    with replica.database.read() as tx:
        only = replica.words.only_received(tx, replica.plan.by_name)
    if only == {table.name for table in replica.plan if table.received_only}:
        return ()
    return _guard(replica.database, replica.words)


def guard_if_possible(replica: "DatabaseReplica") -> tuple[str, ...]:
    """The same, but for another time where the application keeps a table busy."""
    try:
        return guard(replica)
    except StoreError as error:
        if not error.transient:
            raise
        logger.warning("which tables are only received could not be taken up now: %s", error)
        return ()


def told(replica: "DatabaseReplica", changed: Iterable[str]) -> str:
    """A sentence on tables of which something else holds now."""
    with replica.database.read() as tx:
        only = {table.name for table in load_plan(tx) if table.received_only}
    shut, opened = (sorted(n for n in changed if (n in only) is held) for held in (True, False))
    parts = []
    if shut:
        parts.append(
            f"{', '.join(shut)}: only received here from now on; what is written here is taken back"
        )
    if opened:
        parts.append(f"{', '.join(opened)}: may be written here again")
    return "; ".join(parts)


def _guard(database: "Database", words: "LinkWords") -> tuple[str, ...]:
    with database.read() as tx:
        before = load_plan(tx)
        only = words.only_received(tx, before.by_name)
    now = {table.name for table in before if table.received_only}
    changed = tuple(sorted(only ^ now))
    if changed:
        tables = tuple(replace(one, received_only=one.name in only) for one in before)
        _change(database, before, replace(before, tables=tables), frozenset(changed))
    return changed


def _change(
    database: "Database", before: "SchemaPlan", after: "SchemaPlan", names: frozenset[str]
) -> None:
    followed = Followed(after, changed=names)
    if database.dialect.name == "mysql":  # commits by itself; a trigger too many is harmless
        with database.snapshot() as tx:
            tx.script(own_statements(tx, before, followed))
    with quiet(database, followed) as tx:
        if load_plan(tx) != before:
            raise StoreError("the plan has just changed; it is tried again", transient=True)
        book = Sidecar.load(tx, before)
        _sealer(tx, book, before).seal()
        book.save()
        if database.dialect.name != "mysql":
            tx.script(own_statements(tx, before, followed))
        book = Sidecar.load(tx, after)
        save_plan(book, after)
        book.save()


def _sealer(tx: "Transaction", book: Sidecar, plan: "SchemaPlan") -> Sealer:
    return Sealer(
        book,
        HiddenRows(book),
        {table.number: Table(table, plan, tx.dialect) for table in plan},
        Origins(book.origin_of, decode_cells),
        wall_ms=THIS_MACHINE.wall_ms(),
        nonce=THIS_MACHINE.nonce(),
    )
