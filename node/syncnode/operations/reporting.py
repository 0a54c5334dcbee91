"""`status`, `peers`, `log`, `conflicts`, `parked`: read from the sidecar, beside a running node.

Nothing here writes, and nothing heavy is imported: on SQLite not even SQLAlchemy.
"""

import contextlib
import json
import os
from collections.abc import Collection, Iterator
from functools import cached_property
from itertools import filterfalse
from typing import TYPE_CHECKING, TypeVar

from syncnode.apply.filters import FILTERED, check_filters
from syncnode.apply.repairing import read_repairs
from syncnode.capture import trigger_names
from syncnode.files.reporting import file_notes
from syncnode.files.settings import is_manifest
from syncnode.hooks.queue import read_states, waiting
from syncnode.identity.files import anchor_fault, exposed, key_fault
from syncnode.identity.renewals import is_shared, read_renewals, told
from syncnode.links.peers import MEMBER, Peer, read_peers
from syncnode.links.sightings import PEER_STANDING, read_seen
from syncnode.links.site_names import SiteNames
from syncnode.machine import THIS_MACHINE
from syncnode.operations.bundle_notes import waiting_texts
from syncnode.operations.pending import PENDING_MAX, Pending, known_to_all
from syncnode.operations.received import received_notes
from syncnode.operations.records import Records, chosen
from syncnode.reports import (
    ConflictReport,
    HookReport,
    LanReport,
    LogEntry,
    ParkedReport,
    PeerReport,
    StatusReport,
)
from syncnode.schema.drift import NAMED, Drift, drift, ruled_otherwise, unfollowed, unheeded
from syncnode.serve_lock import serve_lock
from syncnode.settings.config import check_tables
from syncnode.settings.hook_settings import check_hooks
from syncnode.store.bundles import exporter_of
from syncnode.store.database import Database, Transaction
from syncnode.store.hidden import ALTERED, ASIDE, HELD, MERGED, UNKNOWN_COLUMN
from syncnode.store.keeping import count_kept
from syncnode.store.link_words import LinkWords
from syncnode.store.remains import existing_triggers, missing_text
from syncnode.store.sidecar import EDITION, Sidecar, left_out, load_plan
from syncnode.store.undone import DUE
from syncnode.texts import skew_text, utc_text, written_text
from syncproto.clock import milliseconds
from syncproto.codec import decode_row
from syncproto.directions import Directions
from syncproto.errors import ConfigError
from syncproto.frontier import Frontier
from syncproto.frontier_blob import decode_frontier
from syncproto.identity import RowKey, SiteId, site_text
from syncproto.row import Row

if TYPE_CHECKING:
    from syncnode.schema.plan import SchemaPlan
    from syncnode.settings.config import Settings

Shown = TypeVar("Shown", ConflictReport, ParkedReport)

PARKED_SHOWN = 5
HOOK_LATE_MS = 60_000
DISK_FREE_MIN = 0.05
DISK_FREE_BYTES_MIN = 200 << 20  # a catch-up in steps needs room of its own


def status(settings: "Settings") -> StatusReport:
    """The truth about this site.

    Raises:
        StoreError: The database cannot be read, or is no site.
    """
    with _opened(settings) as look:
        return look.status()


def peers(settings: "Settings") -> list[PeerReport]:
    """The sites that this one exchanges with."""
    with _opened(settings) as look:
        return look.peer_reports()


def lan(settings: "Settings") -> list[LanReport]:
    """The sites that `serve` sees on the LAN now."""
    with _opened(settings) as look:
        return look.lan_reports()


def log(settings: "Settings", *, entries_max: int | None) -> list[LogEntry]:
    """The ledger, the newest entry first."""
    with _opened(settings) as look:
        return list(look.log(entries_max))


def conflicts(settings: "Settings", *, decided: bool = False) -> list[ConflictReport]:
    """The conflicts that are open, the oldest first; with `decided` all that are on record."""
    with _opened(settings) as look:
        return list(look.records.conflicts(decided=decided))


def parked(settings: "Settings", *, dismissed: bool = False) -> list[ParkedReport]:
    """The rows that cannot be written here, the oldest first; with `dismissed` also those that
    somebody has dismissed."""
    with _opened(settings) as look:
        return list(look.records.parked(None, dismissed=dismissed))


def show_conflict(settings: "Settings", number: str) -> ConflictReport:
    """One conflict, decided or not.

    Raises:
        ConfigError: There is none with that number.
    """
    return _by_number(conflicts(settings, decided=True), number, "conflict")


def show_parked(settings: "Settings", number: str) -> ParkedReport:
    """One parked row, dismissed or not.

    Raises:
        ConfigError: There is none with that number.
    """
    return _by_number(parked(settings, dismissed=True), number, "parked row")


def _by_number(reports: list[Shown], number: str, noun: str) -> Shown:
    by_name = {bytes.fromhex(report.id): report for report in reports}
    (name,) = chosen([number], by_name, noun)
    return by_name[name]


@contextlib.contextmanager
def _opened(settings: "Settings") -> Iterator["_Look"]:
    database = Database(settings.database, light=True)
    try:
        with database.read() as tx:
            yield _Look(settings, database, tx)
    finally:
        database.close()


class _Look:
    """One snapshot of the sidecar."""

    def __init__(self, settings: "Settings", database: Database, tx: Transaction) -> None:
        self._settings = settings
        self._database = database
        self._tx = tx
        self._plan: SchemaPlan = load_plan(tx)
        self._book = Sidecar.load(tx, self._plan)
        self._peers = read_peers(tx)
        names = SiteNames(tx, {self._book.origin.site: settings.name}, self._peers)
        self._names = names
        self.records = Records(tx, self._book, self._plan, names)
        self._tables = {table.number: table.name for table in self._plan.tables}
        self._pending = Pending(tx, self._book, self._plan)
        self._renewals = read_renewals(self._book.settings)
        self._now_ms = THIS_MACHINE.wall_ms()

    @cached_property
    def _drift(self) -> Drift:
        return drift(self._tx, self._plan)

    @cached_property
    def _files(self) -> list[str]:
        return list(file_notes(self._settings, self._tx, self._book, self._names))

    # Status and peers

    def status(self) -> StatusReport:
        book, settings = self._book, self._settings
        reports = self.peer_reports()
        told = [self._covered(peer) for peer in self._peers if not self._away(peer)]
        pending = self._pending.lacking(known_to_all(told)) if told else 0
        parked = self.records.parked_count()
        serving = serve_lock(self._database).taken()
        faults = list(self._faults())
        notes = [*faults, *self._notes(serving, pending, parked)]
        in_sync = (
            bool(reports)
            and not faults
            and all(
                report.equal and not report.problem
                for peer, report in zip(self._peers, reports, strict=True)
                if not self._away(peer)
            )
            and not (pending or parked or self._count(ASIDE) or self._catching_up())
            and left_out(self._tx) is None
            and not book.settings.get(DUE)
            and not waiting_texts(self._tx, book.frontier)
            and not self._files
        )
        network = settings.topology.network if settings.topology else None
        return StatusReport(
            name=settings.name,
            site=site_text(book.origin.site),
            incarnation=book.origin.incarnation,
            network=network or book.settings.get("network"),
            url=settings.url,
            database=settings.shown_database,
            serving=serving,
            in_sync=in_sync,
            tables=len(self._plan.tables),
            peers=tuple(reports),
            pending=pending,
            parked=parked,
            conflicts=self.records.open_conflicts(),
            parked_rows=tuple(self.records.parked(PARKED_SHOWN)),
            notes=tuple(notes),
            held=self._count(HELD),
            hooks=tuple(self._hooks()),
        )

    def peer_reports(self) -> list[PeerReport]:
        return [self._peer_report(peer) for peer in self._peers]

    def _peer_report(self, peer: Peer) -> PeerReport:
        frontier, pending = self._book.frontier, self._pending.lacking(self._covered(peer))
        equal = None
        if peer.frontier is not None:
            told, agreed = decode_frontier(peer.frontier), self._agreed(peer)
            equal = (
                not pending
                and told.includes(frontier.without(agreed.unsent))
                and frontier.includes(told.without(agreed.unreceived))
            )
        return PeerReport(
            name=peer.name,
            site=site_text(peer.site),
            role=peer.role,
            url=peer.url or None,
            last_exchange=utc_text(peer.contact_ms) if peer.contact_ms is not None else None,
            pending=pending,
            equal=equal,
            problem=_problem(peer),
        )

    def lan_reports(self) -> list[LanReport]:
        if not serve_lock(self._database).taken():
            return []  # what a daemon that was killed has left
        names = {peer.site: peer.name for peer in self._peers}
        return [
            LanReport(
                site=site_text(seen.site),
                name=names.get(seen.site),
                url=seen.url,
                standing=seen.standing,
                seen=utc_text(seen.seen_ms),
            )
            for seen in read_seen(self._tx)
        ]

    @cached_property
    def _near(self) -> frozenset[SiteId]:
        seen = read_seen(self._tx)
        return frozenset(one.site for one in seen if one.standing == PEER_STANDING)

    def _away(self, peer: Peer) -> bool:
        """Met on a LAN and not there now: it may never be again, so nothing waits for it."""
        return peer.role == MEMBER and peer.site not in self._near

    def _agreed(self, peer: Peer) -> Directions:
        """What of the link to a peer stays back, by our word and by the peer's."""
        words = LinkWords(self._settings.rules)
        return words.of(self._tx, peer.site, self._book.frontier.scopes).agreed(peer.directions)

    def _covered(self, peer: Peer) -> Frontier:
        """What need not be sent to a peer: what it said it holds, and tables not for it."""
        told = decode_frontier(peer.frontier) if peer.frontier is not None else Frontier({})
        frontier, unsent = self._book.frontier, self._agreed(peer).unsent
        if not unsent:
            return told
        return Frontier({**told.vectors, **frontier.within(unsent).vectors})

    # Notes

    def _faults(self) -> Iterator[str]:
        """What keeps changes from being captured or exchanged until somebody acts."""
        if changed := self._drift.fault:
            yield changed
        try:
            check_tables(self._settings, self._drift.known)
            check_hooks(self._settings.hooks, list(self._plan.by_name))
            check_filters(self._settings.filters, self._plan)
        except ConfigError as error:
            yield from str(error).splitlines()
        missing = trigger_names(self._plan) - set(existing_triggers(self._tx))
        if missing:
            yield missing_text(missing)
        if fault := key_fault(self._settings.key):
            yield fault
        if is_shared(self._renewals, self._now_ms):
            yield told(self._renewals, self._now_ms) or ""

    def _unlike(self, unasked: Collection[str]) -> Iterator[str]:
        """Where the schemas of sites differ: who is behind."""
        for number, count in self._tx.rows(
            f"SELECT tbl, count(*) FROM syncnode_row WHERE reason='{UNKNOWN_COLUMN}' "
            "GROUP BY tbl ORDER BY tbl"
        ):
            rows = f"{_counted(count, 'row')} of {self._tables.get(number, '?')}"
            yield (
                f"{rows} {'has' if count == 1 else 'have'} values for columns that are not here; "
                "they are kept, and shown once the application here is upgraded"
            )
        for name, count in count_kept(self._tx).items():
            if is_manifest(name):
                continue  # no application ever makes such a table
            rows = f"{_counted(count, 'row')} of {name}"
            yield (
                f"{rows} {_is(count)} kept and passed on, for there is no such table here; shown "
                "once the application here is upgraded"
            )
        ours = {*self._plan.by_name, *(one.table for one in self._plan.excluded), *unasked}
        ours |= self._book.kept.keys()
        for peer in self._peers:
            theirs = decode_frontier(peer.frontier).scopes if peer.frontier is not None else None
            if theirs and (more := sorted(set(filterfalse(is_manifest, theirs - ours)))):
                yield f"{peer.name} has tables that are not here: {', '.join(more[:NAMED])}"
            if behind := sorted(self._plan.by_name.keys() & {*peer.kept}):
                yield (
                    f"{peer.name} has no table {', '.join(behind[:NAMED])} yet: it keeps and "
                    "passes on these rows until its application is upgraded"
                )
            fewer = sorted(self._plan.by_name.keys() - theirs) if theirs else []
            if fewer and EDITION in self._book.settings:
                yield f"{peer.name} does not keep {', '.join(fewer[:NAMED])}, or not yet"

    def _notes(self, serving: bool, pending: int, parked: int) -> Iterator[str]:
        renewed = told(self._renewals, self._now_ms)
        if renewed and not is_shared(self._renewals, self._now_ms):
            yield renewed
        if fault := anchor_fault(self._settings.anchor):
            yield fault
        if open_to_others := exposed(self._settings):
            yield open_to_others
        chosen = self._settings.tables
        if changed := unheeded(self._plan, chosen.only, chosen.exclude):
            yield changed
        if changed := ruled_otherwise(self._book.settings, chosen.rules):
            yield changed
        unasked = self._drift.tables if chosen.only is not None else chosen.exclude
        yield from self._drift.notes(unasked, unfollowed(self._book.settings))
        yield from self._unlike(unasked)
        weak = self._database.dialect.durability(self._tx)
        if weak:
            yield weak
        talks = self._settings.listen is not None or any(peer.url for peer in self._peers)
        if talks and not serving:
            yield "`syncnode serve` is not running: changes wait until it is, or until a `sync`"
        yield from self._hook_notes()
        yield from self._disk()
        yield from self._catching_up()
        yield from waiting_texts(self._tx, self._book.frontier)
        yield from self._files
        if large := left_out(self._tx):
            yield large
        for peer in self._peers:
            if (problem := _problem(peer)) and not self._away(peer):
                yield f"{peer.name}: {problem}"
        yield from self._aside()
        if parked:
            yield (f"{_counted(parked, 'row')} cannot be written here; `syncnode parked` says why")
        if dismissed := self.records.dismissed_count():
            yield (
                f"{_counted(dismissed, 'row')} that cannot be written here {_is(dismissed)} "
                "dismissed: replicated, and not shown (`syncnode parked --all`)"
            )
        for number, count in self._tx.rows(
            f"SELECT tbl, count(*) FROM syncnode_row WHERE place='{HELD}' GROUP BY tbl ORDER BY tbl"
        ):
            rows = f"{_counted(count, 'row')} of {self._tables.get(number, '?')}"
            them = "it" if count == 1 else "them"
            yield f"{rows} {_is(count)} deleted, and held while other rows refer to {them}"
        yield from self._clashes()
        yield from received_notes(self._book, self._plan, self.records)
        if unsealed := self._pending.unsealed():
            yield f"{_counted(unsealed, 'row')} written here {_is(unsealed)} not sealed yet"
        if pending > PENDING_MAX:
            yield f"more than {PENDING_MAX:,} rows are pending; the number given is a lower bound"
        if not self._peers:
            yield "no peers yet: nothing is copied anywhere"

    def _hooks(self) -> Iterator[HookReport]:
        states = read_states(self._tx)
        for hook in self._settings.hooks:
            count, since_ms, whole = waiting(self._tx, hook)
            state = states.get(hook.name)
            yield HookReport(
                name=hook.name,
                calls=hook.shown,
                waiting=count,
                since=utc_text(since_ms) if since_ms is not None else None,
                everything=tuple(self._tables.get(number, "?") for number in whole),
                failures=state.failures if state is not None else 0,
                failed=utc_text(state.failed_ms) if state is not None else None,
                error=state.error if state is not None else None,
            )

    def _clashes(self) -> Iterator[str]:
        """Rows that are not shown as they are replicated, and why."""
        for number, place, reason, count in self._tx.rows(
            "SELECT tbl, place, reason, count(*) FROM syncnode_row "
            f"WHERE place IN ('{ALTERED}', '{MERGED}') GROUP BY tbl, place, reason "
            "ORDER BY tbl, place, reason"
        ):
            rows = f"{_counted(count, 'row')} of {self._tables.get(number, '?')}"
            first = self._first_of(number, place, reason)
            if place == MERGED:
                one = "it" if count == 1 else "them"
                yield (
                    f"{rows} {_is(count)} the same as another, which stands for {one} ({first}); "
                    "`syncnode clashes` lists them"
                )
            elif reason == FILTERED:
                yield f"{rows} {_is(count)} shown as the filters of this site say"
            elif reason == "unique clash":
                has = "shows" if count == 1 else "show"
                yield (
                    f"{rows} {has} a mark (as in 'Clinic~1f09ab'), or no value, where the value "
                    f"must be unique and another row has it: give one of the two another ({first}; "
                    "`syncnode clashes` lists them)"
                )

    def _first_of(self, number: int, place: str, reason: str | None) -> str:
        """The first such row by its key, and the row that stands for it, if one does."""
        same = "reason IS NULL" if reason is None else f"reason={self._tx.mark}"
        key, stands = self._tx.rows(
            f"SELECT row_key, waits_key FROM syncnode_row WHERE tbl={self._tx.mark} AND "
            f"place={self._tx.mark} AND {same} ORDER BY lsn LIMIT 1",
            (number, place, *(() if reason is None else (reason,))),
        )[0]
        table = self._tables.get(number, "?")
        text = self.records.name_of(table, RowKey(bytes(key)))
        if stands is None:
            return text
        return f"{text}, as {self.records.name_of(table, RowKey(bytes(stands)))}"

    def _hook_notes(self) -> Iterator[str]:
        late = utc_text(self._now_ms - HOOK_LATE_MS)
        for hook in self._hooks():
            if hook.error:
                yield (
                    f"hook {hook.name} fails since {hook.failed} "
                    f"({_counted(hook.failures, 'call')}): {hook.error}; "
                    f"{_counted(hook.waiting, 'row')} wait to be told, and it is called again"
                )
            elif hook.since is not None and hook.since < late:
                yield (
                    f"hook {hook.name} was not told yet of {_counted(hook.waiting, 'row')}, the "
                    f"first of {hook.since}"
                )

    def _disk(self) -> Iterator[str]:
        if self._database.dialect.name != "sqlite":
            return
        from syncnode.dialects.sqlite import path_of

        room = os.statvfs(os.path.dirname(path_of(self._database.url)) or ".")
        free = room.f_bavail * room.f_frsize
        if free < DISK_FREE_BYTES_MIN and room.f_bavail < DISK_FREE_MIN * room.f_blocks:
            yield f"the disk of the database is nearly full: {free >> 20} MiB are left"

    def _catching_up(self) -> list[str]:
        """Deltas that arrived whole and are being applied in steps."""
        lines = []
        for sender, applied, rows in self._tx.rows(
            "SELECT sender, applied, row_count FROM syncnode_stage WHERE claim IS NOT NULL"
        ):
            m = self._tx.mark
            left = self._tx.value(
                f"SELECT count(*) FROM syncnode_staged WHERE sender={m}", (sender,)
            )
            done = rows * applied // (applied + left) if left else rows
            name = self._names.of(exporter_of(self._tx, SiteId(bytes(sender))))
            lines.append(
                f"catching up with {name}: about {done:,} of "
                f"{rows:,} rows are in the tables; until all are, they are not at one point in time"
            )
        return lines

    def _aside(self) -> Iterator[str]:
        """Who stamped rows in the future, how many, and how far."""
        now_ms = self._now_ms
        found: dict[SiteId, tuple[int, int]] = {}
        for (state,) in self._tx.rows("SELECT state FROM syncnode_row WHERE place='aside'"):
            latest = max(self._row(state).stamps())
            count, ahead_ms = found.get(latest.origin.site, (0, 0))
            ahead_ms = max(ahead_ms, milliseconds(latest.hlc) - now_ms)
            found[latest.origin.site] = (count + 1, ahead_ms)
        for site, (count, ahead_ms) in sorted(found.items()):
            name = self._names.of(site)
            yield (
                f"{_counted(count, 'row')} of {name} {_is(count)} kept aside, stamped up to "
                f"{skew_text(max(ahead_ms, 1000))} the clock here: set the clock of {name}"
            )

    # Log, conflicts, parked rows

    def log(self, entries_max: int | None) -> Iterator[LogEntry]:
        limit = "" if entries_max is None else f" LIMIT {int(entries_max)}"
        repairs, own = read_repairs(self._book.settings), self._book.origin.site
        for number, seq, hlc, rows, tables, received_ms, sender in self._tx.rows(
            "SELECT origin, seq, hlc, row_count, tables, received_ms, sender "
            f"FROM syncnode_changeset ORDER BY id DESC{limit}"
        ):
            origin = self._book.origin_of(number)
            yield LogEntry(
                origin=self._names.of(origin.site),
                incarnation=origin.incarnation,
                seq=seq,
                written=written_text(hlc),
                arrived=utc_text(received_ms),
                sender=self._names.of(SiteId(bytes(sender))) if sender is not None else None,
                rows=rows,
                rows_by_table=json.loads(tables),
                repair=origin.site == own and (origin.incarnation, seq) in repairs,
            )

    # Inside

    def _row(self, state: bytes) -> Row:
        return decode_row(bytes(state), self._book.origin_of)

    def _count(self, place: str) -> int:
        found: int = self._tx.value(
            f"SELECT count(*) FROM syncnode_row WHERE place={self._tx.mark}", (place,)
        )
        return found


def _problem(peer: Peer) -> str | None:
    texts = [peer.trouble] if peer.trouble else []
    if peer.skew_ms:
        texts.append(f"its clock is {skew_text(peer.skew_ms)} the clock here")
    return "; ".join(texts) or None


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
