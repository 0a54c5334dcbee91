"""`verify`: are all rows captured here, and does a peer hold the same?

Without a peer the tables are compared with their clocks (`local_check.py`), with one the rows of
both sites by fingerprints. A repair is shown before it is written, and writes ordinary changes.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from syncnode.apply.repairing import Repair, repair
from syncnode.capture.local_check import Unseen, install_triggers, missing_triggers, take_in, unseen
from syncnode.machine import THIS_MACHINE
from syncnode.operations.comparing import (
    DIFFERENT,
    ONLY_HERE,
    ONLY_THERE,
    Asking,
    Differing,
    compared_tables,
)
from syncnode.operations.running import chosen
from syncnode.operations.site import open_replica
from syncnode.reports import CheckReport, TableCheck, TableComparison, VerifyReport
from syncnode.run import Parts, open_parts
from syncnode.schema.naming import how_to_mend
from syncproto.errors import RefusedError

if TYPE_CHECKING:
    from syncnode.links.peers import Peer
    from syncnode.replica import DatabaseReplica
    from syncnode.settings.config import Settings

Progress = Callable[[str], None]

ANSWER_S_MAX = 600.0  # the peer may have to read all of its tables first
BUSY_STATUS = 503
BUSY_ATTEMPTS_MAX = 6
BUSY_PAUSE_S = 0.5  # doubles


# --- Here --------------------------------------------------------------------------------------


def check(
    settings: "Settings",
    *,
    repair: bool,
    confirm: Callable[[CheckReport], bool],
    progress: Progress,
) -> CheckReport:
    """Compare rows with clocks, and with `repair` make changes of what no trigger saw.

    `confirm` is shown the plan; False changes nothing.

    Raises:
        StoreError: The database cannot be read, or is no site.
    """
    replica = open_replica(settings, captured=False)
    try:
        report, found = _checked(replica, progress)
        if report.sound or not repair or not confirm(report):
            return report
        if missing := missing_triggers(replica):
            progress("making triggers")
            install_triggers(replica, missing)
            # What was written up to now is found; from now on the triggers see it.
            report, found = _checked(replica, progress)
        progress("writing changes")
        written = take_in(replica, found)
        after, _ = _checked(replica, progress)
        return CheckReport(after.sound, after.tables, report.plan, written, after.reason)
    finally:
        replica.close()


def _checked(
    replica: "DatabaseReplica", progress: Progress
) -> tuple[CheckReport, dict[str, Unseen]]:
    triggers = missing_triggers(replica)
    found = unseen(replica, progress)
    tables = tuple(
        TableCheck(
            table=plan.name,
            rows=found[plan.name].rows,
            uncaptured=found[plan.name].uncaptured,
            vanished=found[plan.name].vanished,
            renamed=len(found[plan.name].renamed),
            moved=len(found[plan.name].moved),
            triggers=tuple(
                name for name in triggers if name.startswith(f"syncnode_t{plan.number}_")
            ),
        )
        for plan in sorted(replica.plan.tables, key=lambda plan: plan.name)
    )
    sound = all(table.sound for table in tables) and not triggers
    reason = None if sound else _unsound(tables)
    return CheckReport(sound, tables, tuple(_check_plan(tables)), 0, reason), found


def _unsound(tables: Sequence[TableCheck]) -> str:
    wrong = [table.table for table in tables if not table.sound]
    named = ", ".join(wrong[:5]) + (", …" if len(wrong) > 5 else "")
    return (
        f"{named}: written while no trigger of syncnode looked on, so that no other site hears of "
        "it; `syncnode verify --repair` makes changes of it"
    )


def _check_plan(tables: Iterable[TableCheck]) -> Iterable[str]:
    for table in tables:
        name = table.table
        if table.triggers:
            yield f"{name}: {_counted(len(table.triggers), 'trigger')} made again"
        if table.uncaptured:
            yield f"{name}: {_counted(table.uncaptured, 'row')} sent to all sites as new"
        if table.vanished:
            yield (
                f"{name}: {_counted(table.vanished, 'row')} that went from here deleted at all "
                "sites"
            )
        if table.renamed:
            yield (
                f"{name}: {_counted(table.renamed, 'row')} under another uuid or name: the old "
                "one deleted and the new one sent to all sites"
            )
        if table.moved:
            yield f"{name}: {_counted(table.moved, 'row')} known by the number that it has now"


# --- With a peer -------------------------------------------------------------------------------


def verify(
    settings: "Settings",
    name: str,
    *,
    repair: bool,
    ours: bool,
    values: bool,
    confirm: Callable[[VerifyReport], bool],
    progress: Progress,
) -> VerifyReport:
    """Compare all rows with those of a peer, and with `repair` write those again that differ.

    Args:
        ours: Of two values this site's stands; otherwise the peer's.
        values: Examples in the report show values.
        confirm: Is shown the report with the plan; False changes nothing.

    Raises:
        ConfigError: There is no such peer, or it has no address to call.
        SyncError: The peer cannot be reached, or the database cannot be read.
    """
    return trio.run(_verify, settings, name, repair, ours, values, confirm, progress)


async def _verify(
    settings: "Settings",
    name: str,
    repair: bool,
    ours: bool,
    values: bool,
    confirm: Callable[[VerifyReport], bool],
    progress: Progress,
) -> VerifyReport:
    async with AsyncExitStack() as stack:
        parts = await open_parts(settings, stack)
        (peer,) = chosen(parts, name)

        def ask(body: bytes) -> bytes:
            progress(f"waiting for {peer.name}")
            return trio.from_thread.run(_asked, parts, peer, body)

        without = await parts.in_database(lambda: one_sided(parts.replica, peer))
        verifying = Verifying(
            parts.replica, peer.name, ask, progress, ours=ours, values=values, without=without
        )
        # Whoever interrupts it need not wait for the tables to be read.
        return await trio.to_thread.run_sync(
            lambda: verifying.run(repair, confirm), abandon_on_cancel=True
        )
    raise AssertionError("the block returns")


def one_sided(replica: "DatabaseReplica", peer: "Peer") -> frozenset[str]:
    """Tables that do not come from the peer, or come from many and do not go to it: of these the
    two sites need not hold the same. What is only received here should be what the peer has."""
    agreed = replica.stays_back(peer.site).agreed(peer.directions)
    only_received = {table.name for table in replica.plan if table.received_only}
    return agreed.unreceived | (agreed.only_received - only_received)


async def _asked(parts: Parts, peer: "Peer", body: bytes) -> bytes:
    """The peer's finding; one whose database is busy is asked again for some seconds."""
    for attempt in range(BUSY_ATTEMPTS_MAX):
        try:
            return await parts.client.post(
                parts.members.address(peer.site), "/exchange", body, timeout_s=ANSWER_S_MAX
            )
        except RefusedError as error:
            if error.status != BUSY_STATUS or attempt == BUSY_ATTEMPTS_MAX - 1:
                raise
        await trio.sleep(BUSY_PAUSE_S * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


class Verifying:
    """A comparison with one peer, and the repair that follows from it; blocking."""

    def __init__(
        self,
        replica: "DatabaseReplica",
        peer: str,
        ask: Callable[[bytes], bytes],
        progress: Progress,
        *,
        ours: bool = False,
        values: bool = False,
        without: Collection[str] = (),
    ) -> None:
        self._replica = replica
        self._without = without
        self._peer = peer
        self._ask = ask
        self._progress = progress
        self._ours = ours
        self._values = values

    def run(self, mend: bool, confirm: Callable[[VerifyReport], bool]) -> VerifyReport:
        report, repairs = self._compared()
        if not (mend and repairs) or not confirm(report):
            return report
        self._progress(f"writing {len(repairs):,} rows again")
        written = repair(self._replica, repairs)
        return VerifyReport(
            report.peer,
            False,
            report.tables,
            report.bytes_sent,
            report.bytes_received,
            report.plan,
            written,
            f"{_counted(written, 'row')} written again: run `syncnode sync {self._peer}`, then "
            f"`syncnode verify {self._peer}` once more",
        )

    def _compared(self) -> tuple[VerifyReport, list[Repair]]:
        asking = Asking(
            self._replica,
            self._ask,
            entropy=THIS_MACHINE.entropy,
            progress=self._progress,
            without=self._without,
        )
        comparison = asking.compare()
        rows = list(asking.differing(comparison.tables))
        tables = compared_tables(
            comparison,
            asking.ours,
            self._replica.plan,
            rows,
            on_the_way=asking.on_the_way,
            examined=True,
            values=self._values,
        )
        settled = [one for one in rows if not asking.on_the_way(one)]
        equal = all(table.equal for table in tables if table.unknown_to is None)
        report = VerifyReport(
            peer=self._peer,
            equal=equal,
            tables=tables,
            bytes_sent=asking.bytes_sent,
            bytes_received=asking.bytes_received,
            plan=tuple(self._plan(settled)),
            reason=None if equal else _reason(tables, self._peer),
        )
        return report, [self._repair(one) for one in settled]

    def _repair(self, one: Differing) -> Repair:
        """The side whose values stand decides; what it has not is deleted."""
        stands = one.here if self._ours else one.there
        if not stands.alive:
            return Repair(one.table, one.key, one.there, None)
        names = one.columns or tuple(stands.cells)
        known = {name: stands.cells[name].value for name in names if name in stands.cells}
        return Repair(one.table, one.key, one.there, known)

    def _plan(self, rows: Iterable[Differing]) -> Iterable[str]:
        texts = {
            (DIFFERENT, False): f"written here as {self._peer} has them",
            (DIFFERENT, True): "written again as they are here",
            (ONLY_HERE, False): f"deleted, since {self._peer} has none",
            (ONLY_HERE, True): "written again as they are here",
            (ONLY_THERE, False): f"written here as {self._peer} has them",
            (ONLY_THERE, True): "deleted, since this site has none",
        }
        counts = Counter((one.table, one.where) for one in rows)
        for (table, where), count in sorted(counts.items()):
            yield f"{table}: {_counted(count, 'row')} {texts[where, self._ours]}"


def _reason(tables: Sequence[TableComparison], peer: str) -> str:
    otherwise = {table.table: table.namings for table in tables if table.namings is not None}
    if otherwise:
        return how_to_mend(otherwise, peer)
    waiting = sum(table.on_the_way for table in tables)
    wrong = [
        table.table for table in tables if table.different or table.only_here or table.only_there
    ]
    if not wrong:
        return (
            f"{_counted(waiting, 'row')} differ only by changes that were not exchanged yet: run "
            f"`syncnode sync {peer}`, then verify again"
        )
    named = ", ".join(wrong[:5]) + (", …" if len(wrong) > 5 else "")
    return (
        f"rows of {named} differ although both sites claim the same changes: `syncnode verify "
        f"{peer} --repair` shows what it would write, and asks"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
