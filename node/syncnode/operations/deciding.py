"""What people decide about conflicts and parked rows, beside a running node."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from syncnode.apply.taking import NotTaken
from syncnode.links.peers import read_peers
from syncnode.links.site_names import SiteNames
from syncnode.operations.records import DISMISSED, TAKEN, ParkedRow, Records, chosen
from syncnode.operations.site import open_replica
from syncnode.reports import RetryReport, TakeReport
from syncnode.store.database import Database, Transaction
from syncnode.store.dismissals import dismiss, restore
from syncnode.store.sidecar import Sidecar, load_plan
from syncproto.identity import RowKey

if TYPE_CHECKING:
    from syncnode.settings.config import Settings

RETRIED_ROWS = 1_000  # in one transaction: the application waits for no longer


def take(settings: "Settings", number: str, *, force: bool) -> TakeReport:
    """Write the value that lost conflict `number` into the application's table.

    Raises:
        ConfigError: There is no such conflict.
        SyncError: The site cannot be opened.
    """
    replica = open_replica(settings)
    try:
        with replica.database.read() as tx:
            recorded = {one.name: one for one in _records(settings, tx).recorded()}
        (name,) = chosen([number], recorded, "conflict")
        try:
            note = replica.take(
                recorded[name].conflict,
                force=force,
                and_then=lambda book: book.decide([name], TAKEN),
            )
        except NotTaken as error:
            return TakeReport(name.hex(), False, reason=str(error))
        return TakeReport(name.hex(), True, note=note)
    finally:
        replica.close()


def dismiss_conflicts(settings: "Settings", numbers: Sequence[str] | None) -> list[str]:
    """Mark these conflicts, or all that are open, as decided here; returns their ids.

    Raises:
        ConfigError: There is no such conflict.
    """
    with _writing(settings) as tx:
        records = _records(settings, tx)
        recorded = records.recorded()
        if numbers is None:
            names = [one.name for one in recorded if one.decision is None]
        else:
            names = chosen(numbers, [one.name for one in recorded], "conflict")
        Sidecar.load(tx, load_plan(tx)).decide(names, DISMISSED)
    return [name.hex() for name in names]


def dismiss_parked(settings: "Settings", numbers: Sequence[str] | None) -> list[str]:
    """Dismiss these parked rows, or all; returns their ids.

    Raises:
        ConfigError: There is no such row.
    """
    with _writing(settings) as tx:
        rows = _records(settings, tx).parked_rows()
        asked = [row for row in rows if not row.dismissed] if numbers is None else None
        if asked is None:
            asked = _chosen_rows(numbers or (), rows)
        dismiss(tx, [(row.number, row.key, row.since_ms) for row in asked])
    return [row.name.hex() for row in asked]


def retry(settings: "Settings", numbers: Sequence[str]) -> RetryReport:
    """Try now to write these parked rows, dismissed or not; without numbers all that nobody has
    dismissed.

    Raises:
        ConfigError: There is no such row.
        SyncError: The site cannot be opened.
    """
    replica = open_replica(settings)
    try:
        with replica.database.write() as tx:
            rows = _records(settings, tx).parked_rows()
            asked = _chosen_rows(numbers, rows)
            if not numbers:
                asked = [row for row in rows if not row.dismissed]
            restore(tx, [(row.number, row.key) for row in asked])
        for start in range(0, len(asked), RETRIED_ROWS):
            by_table: dict[int, list[RowKey]] = {}
            for row in asked[start : start + RETRIED_ROWS]:
                by_table.setdefault(row.number, []).append(row.key)
            replica.retry(by_table)
        ids = {row.name.hex() for row in asked}
        with replica.database.read() as tx:
            left = [one for one in _records(settings, tx).parked(None) if one.id in ids]
    finally:
        replica.close()
    return RetryReport(len(asked), len(asked) - len(left), tuple(left))


def _chosen_rows(numbers: Sequence[str], rows: Sequence[ParkedRow]) -> list[ParkedRow]:
    by_name = {row.name: row for row in rows}
    return [by_name[name] for name in chosen(numbers, by_name, "parked row")]


@contextlib.contextmanager
def _writing(settings: "Settings") -> Iterator[Transaction]:
    database = Database(settings.database, light=True)
    try:
        with database.write() as tx:
            yield tx
    finally:
        database.close()


def _records(settings: "Settings", tx: Transaction) -> Records:
    plan = load_plan(tx)
    book = Sidecar.load(tx, plan)
    names = SiteNames(tx, {book.origin.site: settings.name}, read_peers(tx))
    return Records(tx, book, plan, names)
