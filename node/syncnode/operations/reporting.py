"""`status`, `peers`, `log`, `conflicts`, `parked`: read from the sidecar, beside a running node.

Nothing here writes, and nothing heavy is imported: on SQLite not even SQLAlchemy.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from syncnode.capture import trigger_names
from syncnode.config import check_tables
from syncnode.database import Database, Transaction
from syncnode.hidden import ASIDE, HELD, PARKED
from syncnode.identity_files import anchor_fault, key_fault
from syncnode.machine import THIS_MACHINE
from syncnode.operations.pending import PENDING_MAX, Pending, known_to_all
from syncnode.peers import Peer, read_peers, shown_site
from syncnode.remains import existing_triggers
from syncnode.renewals import is_shared, read_renewals, told
from syncnode.reports import (
    ConflictReport,
    LogEntry,
    ParkedReport,
    PeerReport,
    StatusReport,
)
from syncnode.schema.drift import Drift, drift, unheeded
from syncnode.serve_lock import serve_lock
from syncnode.sidecar import Sidecar, left_out, load_plan
from syncnode.texts import key_text, skew_text, utc_text, value_text, written_text
from syncproto.clock import milliseconds
from syncproto.codec import decode_row
from syncproto.errors import ConfigError
from syncproto.frontier import Frontier
from syncproto.frontier_blob import decode_frontier
from syncproto.identity import SiteId, site_text
from syncproto.row import Row, Stamp

if TYPE_CHECKING:
    from syncnode.config import Settings
    from syncnode.schema.plan import SchemaPlan

LATER_STAYS = "the later write stays, the other one is kept here"
EDITED_STAYS = "the row stays, since it was edited by somebody who had not seen the delete"
REFERRED_STAYS = (
    "the row stays, since a row that refers to it was written by somebody who had not seen the "
    "delete"
)
PARKED_SHOWN = 5
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


def log(settings: "Settings", *, entries_max: int | None) -> list[LogEntry]:
    """The ledger, the newest entry first."""
    with _opened(settings) as look:
        return list(look.log(entries_max))


def conflicts(settings: "Settings") -> list[ConflictReport]:
    """The conflicts on record, the oldest first."""
    with _opened(settings) as look:
        return list(look.conflicts())


def parked(settings: "Settings") -> list[ParkedReport]:
    """The rows that cannot be written here, the oldest first."""
    with _opened(settings) as look:
        return list(look.parked(None))


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
        self._names = {peer.site: peer.name for peer in self._peers}
        self._names[self._book.origin.site] = settings.name
        self._tables = {table.number: table.name for table in self._plan.tables}
        self._pending = Pending(tx, self._book, self._plan)
        self._renewals = read_renewals(self._book.settings)
        self._now_ms = THIS_MACHINE.wall_ms()

    @cached_property
    def _drift(self) -> Drift:
        return drift(self._tx, self._plan)

    # Status and peers

    def status(self) -> StatusReport:
        book, settings = self._book, self._settings
        reports = self.peer_reports()
        pending = self._pending.lacking(known_to_all(self._told())) if self._peers else 0
        parked = self._count(PARKED)
        serving = serve_lock(self._database).taken()
        faults = list(self._faults())
        notes = [*faults, *self._notes(serving, pending, parked)]
        in_sync = (
            bool(reports)
            and not faults
            and all(peer.equal and not peer.problem for peer in reports)
            and not (pending or parked or self._count(ASIDE) or self._catching_up())
            and left_out(self._tx) is None
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
            conflicts=self._tx.value("SELECT count(*) FROM syncnode_conflict"),
            parked_rows=tuple(self.parked(PARKED_SHOWN)),
            notes=tuple(notes),
            held=self._count(HELD),
        )

    def peer_reports(self) -> list[PeerReport]:
        return [self._peer_report(peer) for peer in self._peers]

    def _peer_report(self, peer: Peer) -> PeerReport:
        told = decode_frontier(peer.frontier) if peer.frontier is not None else None
        frontier = self._book.frontier
        pending = self._pending.lacking(told or Frontier({}))
        equal = None
        if told is not None:
            equal = not pending and told.includes(frontier) and frontier.includes(told)
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

    def _told(self) -> list[Frontier]:
        return [
            decode_frontier(peer.frontier) if peer.frontier is not None else Frontier({})
            for peer in self._peers
        ]

    # Notes

    def _faults(self) -> Iterator[str]:
        """What keeps changes from being captured or exchanged until somebody acts."""
        if changed := self._drift.fault:
            yield changed
        try:
            check_tables(self._settings, self._drift.known)
        except ConfigError as error:
            yield from str(error).splitlines()
        missing = trigger_names(self._plan) - set(existing_triggers(self._tx))
        if missing:
            yield (
                f"{_counted(len(missing), 'trigger')} of syncnode {_is(len(missing))} missing "
                f"(such as {min(missing)}): changes of those tables are not captured; run "
                "`syncnode uninstall` and `syncnode init` again"
            )
        if fault := key_fault(self._settings.key):
            yield fault
        if is_shared(self._renewals, self._now_ms):
            yield told(self._renewals, self._now_ms) or ""

    def _notes(self, serving: bool, pending: int, parked: int) -> Iterator[str]:
        renewed = told(self._renewals, self._now_ms)
        if renewed and not is_shared(self._renewals, self._now_ms):
            yield renewed
        if fault := anchor_fault(self._settings.anchor):
            yield fault
        chosen = self._settings.tables
        if changed := unheeded(self._plan, chosen.only, chosen.exclude):
            yield changed
        unasked = self._drift.tables if chosen.only is not None else chosen.exclude
        yield from self._drift.notes(unasked)
        weak = self._database.dialect.durability(self._tx)
        if weak:
            yield weak
        talks = self._settings.listen is not None or any(peer.url for peer in self._peers)
        if talks and not serving:
            yield "`syncnode serve` is not running: changes wait until it is, or until a `sync`"
        yield from self._disk()
        yield from self._catching_up()
        if large := left_out(self._tx):
            yield large
        for peer in self._peers:
            if problem := _problem(peer):
                yield f"{peer.name}: {problem}"
        yield from self._aside()
        if parked:
            yield (f"{_counted(parked, 'row')} cannot be written here; `syncnode parked` says why")
        for number, count in self._tx.rows(
            f"SELECT tbl, count(*) FROM syncnode_row WHERE place='{HELD}' GROUP BY tbl ORDER BY tbl"
        ):
            rows = f"{_counted(count, 'row')} of {self._tables.get(number, '?')}"
            them = "it" if count == 1 else "them"
            yield f"{rows} {_is(count)} deleted, and held while other rows refer to {them}"
        if unsealed := self._pending.unsealed():
            yield f"{_counted(unsealed, 'row')} written here {_is(unsealed)} not sealed yet"
        if pending > PENDING_MAX:
            yield f"more than {PENDING_MAX:,} rows are pending; the number given is a lower bound"
        if not self._peers:
            yield "no peers yet: nothing is copied anywhere"

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
            lines.append(
                f"catching up with {shown_site(bytes(sender), self._names)}: about {done:,} of "
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
            name = self._name(site)
            yield (
                f"{_counted(count, 'row')} of {name} {_is(count)} kept aside, stamped up to "
                f"{skew_text(max(ahead_ms, 1000))} the clock here: set the clock of {name}"
            )

    # Log, conflicts, parked rows

    def log(self, entries_max: int | None) -> Iterator[LogEntry]:
        limit = "" if entries_max is None else f" LIMIT {int(entries_max)}"
        for number, seq, hlc, rows, tables, received_ms, sender in self._tx.rows(
            "SELECT origin, seq, hlc, row_count, tables, received_ms, sender "
            f"FROM syncnode_changeset ORDER BY id DESC{limit}"
        ):
            origin = self._book.origin_of(number)
            yield LogEntry(
                origin=self._name(origin.site),
                incarnation=origin.incarnation,
                seq=seq,
                written=written_text(hlc),
                arrived=utc_text(received_ms),
                sender=shown_site(bytes(sender), self._names) if sender is not None else None,
                rows=rows,
                rows_by_table=json.loads(tables),
            )

    def conflicts(self) -> Iterator[ConflictReport]:
        for conflict, _ in self._book.conflicts():
            whole = conflict.column == ""
            kept, done = value_text(conflict.winning), LATER_STAYS
            if whole and conflict.winning is not None:
                kept, done = f"(the row, for {kept})", REFERRED_STAYS
            elif whole:
                kept, done = "(the edited row)", EDITED_STAYS
            yield ConflictReport(
                table=conflict.table,
                row=key_text(conflict.key),
                column=None if whole else conflict.column,
                kept=kept,
                kept_by=self._by(conflict.winner),
                kept_written=written_text(conflict.winner.hlc),
                lost="(its delete)" if whole else value_text(conflict.losing),
                lost_by=self._by(conflict.loser),
                lost_written=written_text(conflict.loser.hlc),
                done=done,
            )

    def parked(self, limit: int | None) -> Iterator[ParkedReport]:
        bound = "" if limit is None else f" LIMIT {limit}"
        for number, key, state, reason, detail, waits_number, waits_key in self._tx.rows(
            "SELECT tbl, row_key, state, reason, detail, waits_tbl, waits_key FROM syncnode_row "
            f"WHERE place='{PARKED}' ORDER BY lsn{bound}"
        ):
            row = self._row(state)
            latest = max(row.stamps())
            waits = None
            if waits_number is not None:
                waits = self._tables.get(waits_number, "?")
                if waits_key is not None:
                    waits += f" {key_text(bytes(waits_key))}"
            yield ParkedReport(
                table=self._tables.get(number, "?"),
                row=key_text(bytes(key)),
                reason=reason or "",
                detail=detail or "",
                waits_for=waits,
                values={name: value_text(cell.value) for name, cell in row.cells.items()},
                written_by=self._by(latest),
                written=written_text(latest.hlc),
            )

    # Inside

    def _row(self, state: bytes) -> Row:
        return decode_row(bytes(state), self._book.origin_of)

    def _by(self, stamp: Stamp) -> str:
        return self._name(stamp.origin.site)

    def _name(self, site: SiteId) -> str:
        """The site's name; one that is no peer has none here, but who brought what it wrote has."""
        if site not in self._names:
            m = self._tx.mark
            sender = self._tx.value(
                "SELECT c.sender FROM syncnode_changeset c JOIN syncnode_origin o "
                f"ON o.id=c.origin WHERE o.site={m} AND c.sender IS NOT NULL "
                "ORDER BY c.id DESC LIMIT 1",
                (site,),
            )
            beyond = self._names.get(SiteId(bytes(sender))) if sender is not None else None
            short = shown_site(site, {})
            self._names[site] = f"a site beyond {beyond} ({short})" if beyond else short
        return self._names[site]

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
