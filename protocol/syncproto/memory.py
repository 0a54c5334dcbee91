"""A replica in memory that keeps every promise of the one beside a database.

It serves tests, as the plain version of what the database does with SQL, and simulations. It
keeps rows as values, so nothing here is parked for what an engine refuses; what a row needs to
be *shown* (its parents) is derived by `visible`.
"""

import copy
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from syncproto.clock import SKEW_MS_MAX, latest_acceptable, milliseconds, stamped_after
from syncproto.delta import (
    Chunk,
    Cursor,
    RecordedConflict,
    RowBlocks,
    uncovered,
)
from syncproto.directions import EVERY_WAY, Directions
from syncproto.frontier import Entry, Frontier, VersionVector
from syncproto.identity import Dot, Origin, RowKey, SiteId
from syncproto.merge import Conflict, Covers, lost, merged, outlived
from syncproto.messages import Known
from syncproto.replica import LINEAGES_KEPT, Receipt, Standing
from syncproto.row import EMPTY, Cell, Delete, Reference, Row, Stamp, Value, deletion, written
from syncproto.sums import SUM_MASK, sum_of

ROWS_MAX = 1_000  # rows a chunk; small enough that tests cut deltas often
NONCES_KEPT = 64  # own changesets whose nonce is remembered to find where a fork began

Place = tuple[str, RowKey]
ConflictName = tuple[str, RowKey, str, Stamp, Stamp]


@dataclass(frozen=True, slots=True)
class Line:
    """What a trigger writes: one row written or deleted at a wall time."""

    wall_ms: int
    table: str
    key: RowKey
    values: Mapping[str, Value] | None  # None: deleted


@dataclass(slots=True)
class Stage:
    """Chunks of one sender's delta that is not complete yet."""

    cursor: Cursor
    chunks: list[Chunk] = field(default_factory=list)


class Ledger:
    """For each origin when its changesets arrived: those up to a seq, with rows from an lsn on."""

    def __init__(self) -> None:
        self._seqs: dict[Origin, list[int]] = {}
        self._lsns: dict[Origin, list[int]] = {}

    def __copy__(self) -> "Ledger":
        twin = Ledger()
        twin._seqs = {origin: list(seqs) for origin, seqs in self._seqs.items()}
        twin._lsns = {origin: list(lsns) for origin, lsns in self._lsns.items()}
        return twin

    def add(self, dot: Dot, lsn: int) -> None:
        seqs = self._seqs.setdefault(dot.origin, [])
        lsns = self._lsns.setdefault(dot.origin, [])
        place = bisect_left(seqs, dot.seq)  # at the end, but for what was forgotten after a fork
        seqs.insert(place, dot.seq)
        lsns.insert(place, lsn)

    def start(self, base: Iterable[VersionVector]) -> int | None:
        """The lsn below which all of `base` cover everything; None if they cover all."""
        start: int | None = None
        for vector in base:
            known = vector.entries.get
            for origin, seqs in self._seqs.items():
                entry = known(origin)
                seq = entry[0] if entry is not None else 0
                if seq < seqs[-1]:
                    # Not ascending where rows came again after a fork: so all that follow count.
                    lsn = min(self._lsns[origin][bisect_right(seqs, seq) :])
                    start = lsn if start is None or lsn < start else start
        return start


class MemoryReplica:
    """A replica that keeps its rows in dictionaries.

    Args:
        origin: Who this is.
        tables: The tables that it keeps.
        network: The network's id.
        wall_ms: Reads the clock.
        nonce: Draws 32 random bits.
        rows_max: Rows a chunk.
        delete_wins: The tables in which a delete made here wins over edits that it had not seen.
    """

    def __init__(
        self,
        origin: Origin,
        tables: Iterable[str],
        *,
        network: bytes,
        wall_ms: Callable[[], int],
        nonce: Callable[[], int],
        rows_max: int = ROWS_MAX,
        skew_ms_max: int = SKEW_MS_MAX,
        delete_wins: Iterable[str] = (),
    ) -> None:
        self.origin = origin
        self.network = network
        self.rows: dict[Place, Row] = {}
        self.aside: dict[Place, list[Row]] = {}
        self.conflicts: dict[ConflictName, RecordedConflict] = {}
        nothing = VersionVector({})
        self.frontier = Frontier(dict.fromkeys(sorted(tables), nothing))
        self.ledger = Ledger()
        self._nonces: dict[Origin, dict[int, int]] = {}
        self._origins_of: dict[SiteId, tuple[Origin, ...]] = {}
        self.stages: dict[SiteId, Stage] = {}
        self.peers: dict[SiteId, Frontier] = {}
        self.directions: dict[SiteId, Directions] = {}  # our rules, by peer
        self._peer_directions: dict[SiteId, Directions] = {}
        self.journal: list[Line] = []
        self._journal_rows: dict[Place, Mapping[str, Value] | None] = {}
        self.sums: dict[str, int] = dict.fromkeys(self.frontier.vectors, 0)
        self.lsn = 0
        self.hlc = 0
        self._aside_hlc = 0  # the least of what is kept aside
        # By table, who may refer to its rows; made when the first delete of one arrives, and
        # never made less. Tables of which no row was deleted cost nothing.
        self._referrers: dict[str, dict[RowKey, set[Place]]] = {}
        self._lsn_of: dict[Place | ConflictName, int] = {}
        # What was touched, in order, and under which lsn; what was touched again is skipped.
        self._order: list[Place | ConflictName] = []
        self._order_lsns = array("q")
        self._wall_ms = wall_ms
        self._nonce = nonce
        self._rows_max = rows_max
        self._skew_ms_max = skew_ms_max
        self._delete_wins = frozenset(delete_wins)

    # What an application does

    def write(self, table: str, key: RowKey, values: Mapping[str, Value]) -> None:
        """Insert the row or write some of its columns; real changes only, as triggers do."""
        now = self.read(table, key) or {}
        changed = {n: v for n, v in values.items() if n not in now or now[n] != v}
        if changed:
            self.journal.append(Line(self._wall_ms(), table, key, changed))
            self._journal_rows[table, key] = {**now, **changed}

    def delete(self, table: str, key: RowKey) -> None:
        if self.read(table, key) is not None:
            self.journal.append(Line(self._wall_ms(), table, key, None))
            self._journal_rows[table, key] = None

    def read(self, table: str, key: RowKey) -> Mapping[str, Value] | None:
        """The row as the application sees it: journal and all."""
        place = (table, key)
        if place in self._journal_rows:
            return self._journal_rows[place]
        row = self.rows.get(place, EMPTY)
        return {n: cell.value for n, cell in row.cells.items()} if row.alive else None

    @property
    def nonces(self) -> dict[Dot, int]:
        """Of recent changesets, `NONCES_KEPT` of each origin."""
        return {
            Dot(origin, seq): nonce
            for origin, nonces in self._nonces.items()
            for seq, nonce in nonces.items()
        }

    # What the node does

    def seal(self) -> None:
        """Turn the journal into one changeset of whole transactions.

        What was kept aside comes in afterwards: the authors of these lines had not seen it, so
        it must not raise their stamps (rule A10).
        """
        if self.journal:
            self._seal_journal()
        self._release_aside()

    def _seal_journal(self) -> None:
        found: list[Conflict] = []
        start = self.lsn + 1
        dot = self._next_dot()
        for line in self.journal:
            place = (line.table, line.key)
            row = self.rows.get(place, EMPTY)
            hlc = stamped_after(row.hlc, wall_ms=line.wall_ms)
            stamp = Stamp(hlc, self.origin, dot.seq)
            if line.values is None:
                row = deletion(row, stamp, wins=line.table in self._delete_wins)
                part = Row({}, row.delete)
            else:
                before, row = row.delete, written(row, line.values, stamp)
                part = Row(
                    {name: row.cells[name] for name in line.values},
                    row.delete if row.delete is not before else None,
                )
            found += self._lost_aside(place, part, _nothing, _nothing)
            self._put(place, row)
        self.journal.clear()
        self._journal_rows.clear()
        self._record(found, Stamp(hlc, self.origin, dot.seq))
        self._advance(self.frontier.advanced(self.origin, self._entry(dot)), start)

    def standing(self, peer: SiteId) -> Standing:
        self.seal()
        known = self._known(peer)
        stage = self.stages.get(peer)
        return Standing(
            network=self.network,
            origin=self.origin,
            latest=self.frontier.entry(self.origin),
            frontier=self.frontier,
            sums=dict(self.sums),
            settled=not self.aside,
            peer=known,
            peer_frontier=self.peers.get(peer),
            cursor=stage.cursor if stage else None,
            nonces=self._recent_nonces(self.origin),
            peer_nonces={
                origin.incarnation: self._recent_nonces(origin)
                for origin in self._origins_of.get(peer, ())[-LINEAGES_KEPT:]
            },
            wall_ms=self._wall_ms(),
            unshown=sum(map(len, self.aside.values())),
            directions=self.directions.get(peer, EVERY_WAY),
            peer_directions=self._peer_directions.get(peer, EVERY_WAY),
        )

    def chunk(self, base: Frontier, after: int, bytes_max: int = 0) -> Chunk:  # noqa: ARG002
        # Rows in memory have no bytes: a chunk has `rows_max` of them.
        self.seal()
        if after > self.lsn:
            after = 0
        # What the receiver does not keep stays here, and its claim does not speak of it.
        base = base.within(self.frontier.scopes)
        start = self.ledger.start(base.distinct())
        first = self.lsn + 1 if start is None else max(start, after + 1)
        rows: list[tuple[str, RowKey, Row]] = []
        records: list[RecordedConflict] = []
        upto, left = self.lsn, 0
        for place, lsn, name in self._since(first):
            vector = base.vectors.get(name[0])
            if vector is None:
                continue
            found: list[Row | RecordedConflict]
            if len(name) == 2 and name not in self.aside:
                part = uncovered(self.rows[name], vector)
                found = [part] if part is not None else []
            else:
                found = list(self._uncovered(name, vector))
            if found and len(rows) + len(records) >= self._rows_max:
                upto, left = lsn - 1, len(self._order) - place
                break
            for item in found:
                if isinstance(item, RecordedConflict):
                    records.append(item)
                else:
                    rows.append((name[0], RowKey(name[1]), item))
        return Chunk(
            sender=self.origin,
            base=base,
            after=after,
            upto=upto,
            records=tuple(records),
            blocks=RowBlocks(rows),
            claim=self.frontier.within(base.scopes) if not left else None,
            total=left,
        )

    def receive(self, chunk: Chunk) -> Receipt:
        self.seal()
        sender = chunk.sender.site
        stage = self.stages.get(sender)
        if stage is not None and stage.cursor.sender != chunk.sender:
            stage = None
        reached = stage.cursor.lsn if stage else 0
        # An earlier part of the delta that arrives late has an older claim than what is staged.
        if not self.frontier.includes(chunk.base) or chunk.after not in (0, reached):
            return Receipt(taken=False, applied=False)
        if stage is None or chunk.after == 0:
            stage = Stage(Cursor(chunk.sender, 0))
        if stage.chunks and stage.chunks[0].base.scopes != chunk.base.scopes:
            # A rule has changed: of a table that came in half way the parts before lack rows, and
            # the end would claim them.
            del self.stages[sender]
            return Receipt(taken=False, applied=False)
        stage.chunks.append(chunk)
        stage.cursor = Cursor(chunk.sender, chunk.upto)
        self.stages[sender] = stage
        if chunk.claim is None:
            return Receipt(taken=True, applied=False)
        del self.stages[sender]
        self._apply(stage.chunks, chunk.claim)
        return Receipt(taken=True, applied=True)

    def heard(self, peer: SiteId, frontier: Frontier, directions: Directions) -> None:
        self.peers[peer] = frontier
        self._peer_directions[peer] = directions

    def renew(self, incarnation: int, common_seq: int) -> None:
        old = self.origin
        self.origin = Origin(old.site, max(incarnation, old.incarnation + 1))
        if self.frontier.seq(old) > common_seq:
            self._write_again(old, common_seq)

    def copied(self) -> "MemoryReplica":
        """A replica that goes on from here by itself: a backup, a clone. Functions and values
        are shared, nothing that changes is."""
        twin = copy.copy(self)
        for name, part in vars(self).items():
            if isinstance(part, dict | list | array | Ledger):
                twin.__dict__[name] = copy.copy(part)
        twin.aside = {place: list(kept) for place, kept in self.aside.items()}
        twin.stages = {
            site: Stage(stage.cursor, list(stage.chunks)) for site, stage in self.stages.items()
        }
        twin._referrers = {}
        twin._nonces = {origin: dict(nonces) for origin, nonces in self._nonces.items()}
        return twin

    # The derived picture

    def visible(self) -> dict[Place, dict[str, Value]]:
        """What a database shows: rows that are alive, deleted ones that a shown row refers
        to, and none whose parent is nowhere (the layers of rule A4)."""
        shown = {place for place, row in self.rows.items() if row.alive}
        todo = list(shown)
        while todo:
            for reference in self.rows[todo.pop()].references():
                if reference in self.rows and reference not in shown:
                    shown.add((reference.table, reference.key))
                    todo.append((reference.table, reference.key))
        while orphans := {
            place
            for place in shown
            if any(tuple(ref) not in shown for ref in self.rows[place].references())
        }:
            shown -= orphans
        return {
            place: {name: cell.value for name, cell in self.rows[place].cells.items()}
            for place in shown
        }

    # Inside

    def _apply(self, chunks: list[Chunk], claim: Frontier) -> None:
        start = self.lsn + 1
        limit = latest_acceptable(
            max(self._wall_ms(), milliseconds(self.hlc)), skew_ms_max=self._skew_ms_max
        )
        for chunk in chunks:
            for record in chunk.records:
                if record.conflict.name not in self.conflicts:
                    self.conflicts[record.conflict.name] = record
                    self._touch(record.conflict.name)
        found: list[Conflict] = []
        arrived: list[Place] = []
        for chunk in chunks:
            for table, key, row in chunk.rows():
                place = (table, key)
                hlc = row.hlc
                now, later = (row, None) if hlc <= limit else parted(row, limit)
                if place in self.rows or place in self.aside:
                    found += self._lost(place, row, claim.vector(table))
                if later is not None:
                    self._put_aside(place, later)
                if now is not None:
                    self._merge(place, now)
                    arrived.append(place)
        found += self._outlived(arrived, claim)
        joined = self.frontier.joined(claim)
        if any(conflict.name not in self.conflicts for conflict in found):
            # Under a changeset of our own, in the transaction in which the losers go.
            dot = self._next_dot()
            stamp = Stamp(stamped_after(0, wall_ms=self._wall_ms()), self.origin, dot.seq)
            self._record(found, stamp)
            joined = joined.advanced(self.origin, self._entry(dot))
        self._advance(joined, start)

    def _merge(self, place: Place, row: Row) -> None:
        ours = self.rows.get(place)
        outcome = merged(ours, row) if ours is not None else row
        if ours is None or outcome != ours:
            self._put(place, outcome)

    def _lost(self, place: Place, row: Row, theirs: VersionVector) -> Iterator[Conflict]:
        """The conflicts of a row that arrives, also with what is kept aside here: who wins
        when its time comes is known already, and nobody may be there any more to say it."""
        mine = self.frontier.vector(place[0])
        ours = self.rows.get(place, EMPTY)
        yield from lost(*place, ours, row, we_saw=mine.covers, they_saw=theirs.covers)
        yield from self._lost_aside(place, row, mine.covers, theirs.covers)

    def _outlived(self, arrived: Iterable[Place], claim: Frontier) -> Iterator[Conflict]:
        """The deletes that give way to rows which refer to what was deleted, where one of the
        two has just arrived."""
        referrers: dict[Place, list[Place]] = {}
        for place in arrived:
            row = self.rows[place]
            if row.alive:
                for parent in self._dead_above(place):
                    referrers.setdefault(parent, []).append(place)
            elif row.delete is not None and not all(
                map(self.frontier.vector(place[0]).covers, row.delete.stamps)
            ):
                referrers.setdefault(place, []).extend(self._living_below(place))
        for (table, key), places in referrers.items():
            yield from outlived(
                table,
                key,
                self.rows[table, key],
                [(Reference(*place), self.rows[place]) for place in places],
                we_saw=lambda scope: self.frontier.vector(scope).covers,
                they_saw=lambda scope: claim.vector(scope).covers,
            )

    def _dead_above(self, place: Place) -> set[Place]:
        """The deleted rows that a row refers to, also by way of each other."""
        found: set[Place] = set()
        todo = [place]
        while todo:
            for reference in self.rows[todo.pop()].references():
                parent = self.rows.get(reference)
                if parent is not None and not parent.alive and reference not in found:
                    found.add((reference.table, reference.key))
                    todo.append((reference.table, reference.key))
        return found

    def _living_below(self, place: Place) -> list[Place]:
        """The living rows that refer to a deleted one, also by way of other deleted ones."""
        found: dict[Place, None] = {}
        todo, seen = [place], {place}
        while todo:
            parent = todo.pop()
            for other in self._referrers_of(parent[0]).get(parent[1], ()):
                row = self.rows[other]
                if other not in seen and any(tuple(r) == parent for r in row.references()):
                    seen.add(other)
                    if row.alive:
                        found[other] = None
                    else:
                        todo.append(other)
        return list(found)

    def _referrers_of(self, table: str) -> dict[RowKey, set[Place]]:
        known = self._referrers.get(table)
        if known is None:
            known = self._referrers[table] = {}
            for other, row in self.rows.items():
                for reference in row.references():
                    if reference.table == table:
                        known.setdefault(reference.key, set()).add(other)
        return known

    def _note_references(self, place: Place, row: Row) -> None:
        for reference in row.references():
            known = self._referrers.get(reference.table)
            if known is not None:
                known.setdefault(reference.key, set()).add(place)

    def _lost_aside(
        self, place: Place, row: Row, we_saw: Covers, they_saw: Covers
    ) -> Iterator[Conflict]:
        for kept in self.aside.get(place, ()):
            yield from lost(*place, kept, row, we_saw=we_saw, they_saw=they_saw)

    def _record(self, found: Iterable[Conflict], stamp: Stamp) -> None:
        """Put conflicts on record, before the losers are gone."""
        for conflict in found:
            if conflict.name not in self.conflicts:
                self.conflicts[conflict.name] = RecordedConflict(conflict, stamp)
                self._touch(conflict.name)

    def _put(self, place: Place, row: Row) -> None:
        table, key = place
        old = self.rows.get(place)
        change = sum_of(key, row) - (sum_of(key, old) if old is not None else 0)
        self.sums[table] = (self.sums[table] + change) & SUM_MASK
        self.rows[place] = row
        if self._referrers:
            self._note_references(place, row)
        if (hlc := row.hlc) > self.hlc:
            self.hlc = hlc
        self._touch(place)

    def _put_aside(self, place: Place, row: Row) -> None:
        kept = self.aside.setdefault(place, [])
        if row not in kept:
            kept.append(row)
            self._aside_hlc = min(self._aside_hlc, row.hlc) if self._aside_hlc else row.hlc
            self._touch(place)

    def _release_aside(self) -> None:
        """Take in what was stamped in the future and is not any more."""
        if not self.aside:
            return
        limit = latest_acceptable(self._wall_ms(), skew_ms_max=self._skew_ms_max)
        if limit < self._aside_hlc:
            return
        for place, kept in list(self.aside.items()):
            due = [row for row in kept if row.hlc <= limit]
            if not due:
                continue
            for row in due:
                self._merge(place, row)
            left = [row for row in kept if row.hlc > limit]
            if left:
                self.aside[place] = left
            else:
                del self.aside[place]
        self._aside_hlc = min((row.hlc for kept in self.aside.values() for row in kept), default=0)

    def _write_again(self, old: Origin, common_seq: int) -> None:
        """What stands of the branch goes on under a dot of the new origin; its own dots name
        somebody else's changesets and are forgotten."""

        def fork(stamp: Stamp) -> bool:
            return stamp.origin == old and stamp.seq > common_seq

        start = self.lsn + 1
        dot = self._next_dot()
        for place, row in list(self.rows.items()):
            if any(map(fork, row.stamps())):
                self._put(place, redotted(row, old, common_seq, dot))
        for name, record in list(self.conflicts.items()):
            if fork(record.stamp):
                stamp = Stamp(record.stamp.hlc, *dot)
                self.conflicts[name] = record._replace(stamp=stamp)
                self._touch(name)
        nonces = self._nonces.get(old, {})
        for seq in [seq for seq in nonces if seq > common_seq]:
            del nonces[seq]
        kept = forgotten(self.frontier, old, common_seq, nonces.get(common_seq))
        self._advance(kept.advanced(self.origin, self._entry(dot)), start)

    def _uncovered(
        self, name: Place | ConflictName, base: VersionVector
    ) -> Iterator[Row | RecordedConflict]:
        if len(name) != 2:
            record = self.conflicts[name]
            if not base.covers(record.stamp):
                yield record
            return
        for row in (self.rows.get(name, EMPTY), *self.aside.get(name, ())):
            part = uncovered(row, base)
            if part is not None:
                yield part

    def _touch(self, name: Place | ConflictName) -> None:
        self.lsn += 1
        self._lsn_of[name] = self.lsn
        self._order.append(name)
        self._order_lsns.append(self.lsn)
        if len(self._order) > 64 + 2 * len(self._lsn_of):
            kept = list(self._since(0))
            self._order = [name for _, _, name in kept]
            self._order_lsns = array("q", [lsn for _, lsn, _ in kept])

    def _since(self, lsn: int) -> Iterator[tuple[int, int, Place | ConflictName]]:
        """What was last touched at that lsn or later, in order, with its place in `_order`."""
        for place in range(bisect_left(self._order_lsns, lsn), len(self._order)):
            name, touched = self._order[place], self._order_lsns[place]
            if self._lsn_of[name] == touched:
                yield place, touched, name

    def _next_dot(self) -> Dot:
        dot = Dot(self.origin, self.frontier.seq(self.origin) + 1)
        self._remember(dot, self._nonce())
        return dot

    def _entry(self, dot: Dot) -> Entry:
        return Entry(dot.seq, self._nonces[dot.origin][dot.seq])

    def _remember(self, dot: Dot, nonce: int) -> None:
        nonces = self._nonces.setdefault(dot.origin, {})
        nonces[dot.seq] = nonce
        if len(nonces) > NONCES_KEPT:
            del nonces[min(nonces)]

    def _advance(self, frontier: Frontier, start: int) -> None:
        """Move the frontier; what moved it arrived with rows from lsn `start` on."""
        moved: dict[Origin, Entry] = {}
        for before, after in self.frontier.pairs(frontier):
            for origin, entry in before.news(after):
                if origin not in moved or moved[origin] < entry:
                    moved[origin] = entry
        for origin, entry in sorted(moved.items()):
            dot = Dot(origin, entry.seq)
            self.ledger.add(dot, start)
            self._remember(dot, entry.nonce)
            known = self._origins_of.get(origin.site, ())
            if origin not in known:
                self._origins_of[origin.site] = tuple(sorted((*known, origin)))
        self.frontier = frontier

    def _known(self, site: SiteId) -> Known | None:
        for origin in reversed(self._origins_of.get(site, ())):
            entry = self.frontier.entry(origin)
            if entry.seq:
                return Known(origin.incarnation, entry)
        return None

    def _recent_nonces(self, origin: Origin) -> dict[int, int]:
        return dict(self._nonces.get(origin, ()))


def _nothing(_stamp: Stamp) -> bool:
    """What an author had seen of what was kept from sight."""
    return False


def redotted(row: Row, old: Origin, common_seq: int, dot: Dot) -> Row:
    """The row with its cells and delete of a forked branch written anew under `dot`.

    The readings stay as they were, so that nothing is younger than what somebody wrote after
    seeing it. A delete that had seen cells of the branch goes with them: what it saw of them
    is said by a stamp of our own just above them.
    """

    def fork(candidate: Stamp) -> bool:
        return candidate.origin == old and candidate.seq > common_seq

    def renewed(candidate: Stamp) -> Stamp:
        return Stamp(candidate.hlc, *dot) if fork(candidate) else candidate

    cells = {name: Cell(renewed(cell.stamp), cell.value) for name, cell in row.cells.items()}
    delete = row.delete
    if delete is None:
        return Row(cells)
    stamps = {renewed(stamp) for stamp in delete.stamps}
    seen_hlc = max(
        (c.stamp.hlc for c in row.cells.values() if fork(c.stamp) and delete.saw(c.stamp)),
        default=0,
    )
    if seen_hlc:
        stamps.add(Stamp(seen_hlc + 1, *dot))
    seen = {origin: seq for origin, seq in delete.seen.items() if origin != old}
    seen_seq = common_seq if any(map(fork, delete.stamps)) else delete.seen.get(old, 0)
    if min(seen_seq, common_seq):
        seen[old] = min(seen_seq, common_seq)
    wins = {renewed(stamp) for stamp in delete.wins}
    own = max((stamp for stamp in stamps if stamp.origin == dot.origin), default=None)
    if own is not None:
        stamps = {s for s in stamps if s.origin != dot.origin} | {own}
        if any(stamp.origin == dot.origin for stamp in wins):
            wins = {stamp for stamp in wins if stamp.origin != dot.origin} | {own}
    return Row(cells, Delete(tuple(sorted(stamps)), seen, frozenset(wins)))


def forgotten(frontier: Frontier, origin: Origin, seq: int, nonce: int | None) -> Frontier:
    """The frontier without what it claims of `origin` above `seq`.

    Where the nonce of `seq` is not known any more nothing of the origin is claimed: its rows
    are asked for once more, which is harmless.
    """
    vectors = {}
    for scope, vector in frontier.vectors.items():
        entries = dict(vector.entries)
        entry = entries.get(origin)
        if entry is not None and entry.seq > seq:
            del entries[origin]
            if seq and nonce is not None:
                entries[origin] = Entry(seq, nonce)
        vectors[scope] = VersionVector(entries)
    return Frontier(vectors)


def parted(row: Row, limit: int) -> tuple[Row | None, Row | None]:
    """What of a row may be merged now, and what is stamped in the future.

    A changeset is not torn apart: a wild clock may have sealed old lines and future ones of one
    row under one dot, and whoever deletes the row after seeing the old ones names that dot as
    seen.
    """
    if row.hlc <= limit:
        return row, None
    ahead = {stamp.dot for stamp in row.stamps() if stamp.hlc > limit}
    now = {n: c for n, c in row.cells.items() if c.stamp.dot not in ahead}
    later = {n: c for n, c in row.cells.items() if c.stamp.dot in ahead}
    waits = row.delete is not None and any(stamp.dot in ahead for stamp in row.delete.stamps)
    current = Row(now, None if waits else row.delete)
    future = Row(later, row.delete if waits else None)
    return (current if now or current.delete else None), future
