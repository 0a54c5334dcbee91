"""`serve` and `sync`: the daemon, and one exchange now."""

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import trio

from syncnode.dialects.base import EngineError
from syncnode.identity.renewals import told
from syncnode.links.exchange import Crossed, Outcome
from syncnode.links.peers import Peer, no_such_peer
from syncnode.operations.site import fault_of
from syncnode.reports import ExchangeReport, SyncReport
from syncnode.run import Node, Parts, hook_runner, open_parts
from syncnode.store.dismissals import OPEN
from syncnode.store.hidden import ASIDE
from syncnode.store.sidecar import left_out
from syncnode.texts import unshown_text
from syncproto.errors import ConfigError, SyncError
from syncproto.session import Call

if TYPE_CHECKING:
    from syncnode.settings.config import Settings

Progress = Callable[[str], None]

# Somebody looks on, and may try again; a peer that takes rows in has longer (`ANSWER_S_MAX`).
SYNC_ANSWER_S_MAX = 30.0
TELL_S = 1.0  # how often it is told that one still waits


def serve(settings: "Settings", *, notice: Callable[[str], None]) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Raises:
        SyncError: It could not start, or cannot go on.
    """
    with _named_faults(settings):
        trio.run(_serve, settings, notice)


@contextlib.contextmanager
def _named_faults(settings: "Settings") -> Iterator[None]:
    """Whoever works on a database that was changed under it meets the engine's bare words; say
    what was changed instead."""
    try:
        yield
    except (EngineError, BaseExceptionGroup) as error:
        if isinstance(error, BaseExceptionGroup) and error.subgroup(EngineError) is None:
            raise
        if (fault := fault_of(settings)) is None:
            raise
        raise fault from error


async def _serve(settings: "Settings", notice: Callable[[str], None]) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with Node(settings, notice=notice):
            async for _ in signals:
                break
        notice("ended")


def sync(settings: "Settings", peer: str | None, *, progress: Progress) -> SyncReport:
    """Exchange now with the peer of that name, or with every peer that has an address.

    Raises:
        ConfigError: There is no such peer, or it has no address.
        SyncError: The site cannot be opened.
    """
    with _named_faults(settings):
        return trio.run(_sync, settings, peer, progress)


async def _sync(settings: "Settings", name: str | None, progress: Progress) -> SyncReport:
    async with AsyncExitStack() as stack:
        parts = await open_parts(settings, stack, answer_s_max=SYNC_ANSWER_S_MAX)
        peers = chosen(parts, name)
        if not peers:
            return SyncReport((), False, _nobody(parts), _renewed(parts))
        reports = []
        for peer in peers:
            progress(f"calling {peer.name}")
            reports.append(await _exchange(parts, peer, progress))
        await parts.flush()
        notes = (*_renewed(parts), *await _told_hooks(parts))
        reason = next((report.reason for report in reports if report.reason), None)
        reason = reason or await parts.in_database(lambda: not_shown(parts))
        reason = reason or _not_shown_there(reports)
        return SyncReport(tuple(reports), reason is None, reason, notes)


async def _told_hooks(parts: Parts) -> tuple[str, ...]:
    """Tell the hooks, unless the daemon does; a sentence for each that could not be told."""
    lock = parts.ports.lock(parts.replica.database)
    if not parts.settings.hooks or await parts.in_database(lock.taken):
        return ()
    failed = await hook_runner(parts).drain()
    return tuple(f"hook {name}: {error}" for name, error in failed.items())


def _renewed(parts: Parts) -> tuple[str, ...]:
    """What this process found out about its database and its identity."""
    text = told(parts.replica.renewals, parts.ports.machine.wall_ms())
    return (text,) if text else ()


def chosen(parts: Parts, name: str | None) -> list[Peer]:
    """The peers that can be called, or the one of that name.

    Raises:
        ConfigError: There is none of that name, or it has no address.
    """
    peers = list(parts.members.by_site.values())
    if name is None:
        return [peer for peer in peers if peer.url]
    for peer in peers:
        if peer.name == name:
            if not peer.url:
                raise ConfigError(
                    f"{name} has no address to call; run `syncnode sync` there: it calls this site"
                )
            return [peer]
    raise ConfigError(no_such_peer(name, peers))


def _nobody(parts: Parts) -> str:
    if parts.members.by_site:
        return (
            "no peer has an address that this site could call; the peers call this one, while "
            "`syncnode serve` runs here"
        )
    return "this site has no peers yet; `syncnode invite` or `syncnode join` makes one"


async def _exchange(parts: Parts, peer: Peer, progress: Progress) -> ExchangeReport:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell_waiting, parts, peer, progress)
        try:
            outcome = await parts.exchanger.call(
                peer.site, watch=lambda call: progress(f"{peer.name}: {_shown(call)}")
            )
            report = _report(peer, outcome)
        except SyncError as error:
            report = _broken(peer, parts.exchanger.crossed[peer.site], error)
        nursery.cancel_scope.cancel()
    return report


async def _tell_waiting(parts: Parts, peer: Peer, progress: Progress) -> None:
    """Show that one waits, and for whom: the other side may hang."""
    while True:
        await trio.sleep(TELL_S)
        since_s = parts.exchanger.waiting_since_s.get(peer.site)
        if since_s is not None and (silent_s := trio.current_time() - since_s) >= TELL_S:
            progress(f"waiting for {peer.name} … not a word for {silent_s:.0f} s")


def _broken(peer: Peer, crossed: Crossed, error: SyncError) -> ExchangeReport:
    return ExchangeReport(
        peer=peer.name,
        rows_sent=crossed.rows_sent,
        rows_received=crossed.rows_received,
        bytes_sent=crossed.bytes_sent,
        bytes_received=crossed.bytes_received,
        equal=False,
        reason=f"{peer.name}: {error}",
    )


def _report(peer: Peer, outcome: Outcome) -> ExchangeReport:
    reason = None
    if not outcome.complete:
        reason = f"{peer.name}: {outcome.reason or 'the exchange is not complete'}"
    return ExchangeReport(
        peer=peer.name,
        rows_sent=outcome.rows_sent,
        rows_received=outcome.rows_received,
        bytes_sent=outcome.bytes_sent,
        bytes_received=outcome.bytes_received,
        equal=outcome.complete,
        reason=reason,
        unshown=outcome.unshown,
    )


def _not_shown_there(reports: Sequence[ExchangeReport]) -> str | None:
    """What the peers said of rows that they do not show; None if they show all."""
    texts = (f"{one.peer}: {unshown_text(one.unshown)}" for one in reports if one.unshown)
    return next(texts, None)


def _shown(call: Call) -> str:
    done = call.progress
    parts = [f"{done.rows_sent:,} rows sent", f"{done.rows_received:,} received"]
    if to_come := done.rows_to_send + done.rows_to_receive:
        parts.append(f"up to {to_come:,} to come")
    return ", ".join(parts)


def not_shown(parts: Parts) -> str | None:
    """Why this database does not show all that is replicated; None if it does. Blocking."""
    with parts.replica.database.read() as tx:
        count = tx.value(f"SELECT count(*) FROM syncnode_row r WHERE {OPEN}")
        if count:
            first = tx.row(
                f"SELECT tbl, reason FROM syncnode_row r WHERE {OPEN} ORDER BY lsn LIMIT 1"
            )
            assert first is not None, "counted just now"
            table = parts.replica.tables[first[0]].name
            rows = "1 row is" if count == 1 else f"{count} rows are"
            return f"{rows} parked, the first in {table} ({first[1]}): see `syncnode parked`"
        if large := left_out(tx):
            return large
        sql = f"SELECT count(*) FROM syncnode_row WHERE place={tx.mark}"
        count = tx.value(sql, (ASIDE,))
    if count:
        rows = "1 row is" if count == 1 else f"{count} rows are"
        return f"{rows} stamped in the future and kept aside: see `syncnode status`"
    return None
