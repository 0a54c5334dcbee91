"""The record of a run: what was written where, by an author who had seen what.

The record is kept beside the code under test and asks it for little: that a changeset was
sealed, and under which number. Everything else, such as the stamp that a write must have got
and what a site has seen, is worked out here a second time, in the plainest way.

A set of writes is one integer with a bit for each write.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from subjects import Place, Subject

from syncproto.delta import Chunk
from syncproto.frontier import Frontier
from syncproto.identity import Dot, Origin, RowKey, SiteId
from syncproto.memory import ConflictName
from syncproto.replica import Receipt, Standing
from syncproto.row import Row, Value

Writes = int  # bit n: write number n


@dataclass(slots=True)
class Write:
    """One row written or deleted by one statement.

    Attributes:
        number: Its bit.
        site: Where it was made.
        values: The columns that it changed; None for a delete.
        saw: The writes that its author had seen.
        wall_ms: The author's clock.
        hlc: The reading that the seal must have given it; 0 until sealed.
        dot: The changeset; None until sealed.
    """

    number: int
    site: SiteId
    table: str
    key: RowKey
    values: Mapping[str, Value] | None
    saw: Writes
    wall_ms: int
    hlc: int = 0
    dot: Dot | None = None

    @property
    def place(self) -> Place:
        return (self.table, self.key)

    @property
    def name(self) -> tuple[int, SiteId]:
        """What a stamp of this write shows whatever the incarnation it travels under."""
        return (self.hlc, self.site)


@dataclass(frozen=True, slots=True)
class SiteState:
    """What a site holds at one moment, for the checkers.

    Attributes:
        aside: Numbers of the writes that are received and wait for their time to come.
    """

    site: SiteId
    tables: frozenset[str]
    seen: Writes
    rows: Mapping[Place, Row]
    visible: Mapping[Place, Mapping[str, Value]]
    conflicts: frozenset[ConflictName]
    frontier: Frontier
    nonces: Mapping[Dot, int]
    aside: Writes = 0


@dataclass
class History:
    """All that happened in one run, in order.

    Attributes:
        writes: Every write that a database acknowledged.
        seals: For each dot the nonces under which it was sealed; more than one only where a
            restored site did not know that it was.
        events: What happened, a word and the sites, for people who read a failing run.
        counts: How often each kind of thing happened.
        rolled_back: Sites that were put back together with their anchor, so that they may
            have used a number twice before a peer told them.
        replaced: Writes in whose place their own site, which was put back, holds twins.
    """

    writes: list[Write] = field(default_factory=list)
    seals: dict[Dot, set[int]] = field(default_factory=dict)
    events: list[tuple[object, ...]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    rolled_back: set[SiteId] = field(default_factory=set)
    replaced: Writes = 0
    # Scoped to a table so that a delta of some tables spreads only their writes.
    of_table: dict[str, Writes] = field(default_factory=dict)
    of_row: dict[Place, Writes] = field(default_factory=dict)
    offers: dict[tuple[Origin, bytes], Writes] = field(default_factory=dict)

    def note(self, what: str, *detail: object) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        self.events.append((what, *detail))

    def wrote(
        self,
        site: SiteId,
        place: Place,
        values: Mapping[str, Value] | None,
        saw: Writes,
        wall_ms: int,
    ) -> Write:
        write = Write(len(self.writes), site, *place, values, saw, wall_ms)
        self.writes.append(write)
        bit = 1 << write.number
        self.of_table[place[0]] = self.of_table.get(place[0], 0) | bit
        self.of_row[place] = self.of_row.get(place, 0) | bit
        self.note("delete" if values is None else "write", site[:1], place, values)
        return write

    def sealed(self, writes: Iterable[Write], dot: Dot, nonce: int) -> None:
        """The journal became a changeset: each line's stamp is above all its row had borne."""
        for write in writes:
            seen = self.within(write.saw & self.of_row[write.place])
            floor = max((earlier.hlc for earlier in seen), default=0)
            write.hlc = max(write.wall_ms << 16, floor + 1)
            write.dot = dot
        self.seals.setdefault(dot, set()).add(nonce)

    def within(self, numbers: Writes) -> Iterator[Write]:
        while numbers:
            low = numbers & -numbers
            yield self.writes[low.bit_length() - 1]
            numbers ^= low

    def of_tables(self, tables: Iterable[str]) -> Writes:
        numbers = 0
        for table in tables:
            numbers |= self.of_table.get(table, 0)
        return numbers


class RecordedSite:
    """A replica under test whose every step is put on record; itself a replica."""

    def __init__(self, subject: Subject, origin: Origin, history: History) -> None:
        self.subject = subject
        self.history = history
        self.site = origin.site
        self.seen: Writes = 0
        self.pending: list[Write] = []

    # The application

    def write(self, place: Place, values: Mapping[str, Value], wall_ms: int) -> None:
        now = self.subject.application.read(*place)
        self.subject.application.write(*place, values)
        before = now or {}
        changed = {n: v for n, v in values.items() if n not in before or before[n] != v}
        if changed:
            self._wrote(place, changed, wall_ms)

    def delete(self, place: Place, wall_ms: int) -> None:
        if self.subject.application.read(*place) is not None:
            self.subject.application.delete(*place)
            self._wrote(place, None, wall_ms)

    def _wrote(self, place: Place, values: Mapping[str, Value] | None, wall_ms: int) -> None:
        write = self.history.wrote(self.site, place, values, self._saw(place), wall_ms)
        self.seen |= 1 << write.number
        self.pending.append(write)

    def _saw(self, place: Place) -> Writes:
        """What an author sees now: all that is here, but of a row that has changes kept aside
        only what stands in it; the rest may have come as those changes' past, unseen."""
        of_row = self.history.of_row.get(place, 0)
        if not self.aside() & of_row:
            return self.seen
        row = self.subject.rows().get(place)
        standing = {(s.hlc, s.origin.site) for s in row.stamps()} if row is not None else set()
        pending = {write.number for write in self.pending}
        saw: Writes = 0
        for write in self.history.within(self.seen & of_row):
            if write.name in standing or write.number in pending:
                saw |= 1 << write.number | write.saw
        return self.seen & (~of_row | saw)

    # The node

    def seal(self) -> None:
        """Whatever the replica does next would seal the journal; see under which number."""
        if self.pending:
            standing = self.subject.replica.standing(self.site)
            dot = Dot(standing.origin, standing.latest.seq)
            self.history.sealed(self.pending, dot, standing.latest.nonce)
            self.pending = []

    def standing(self, peer: SiteId) -> Standing:
        self.seal()
        return self.subject.replica.standing(peer)

    def chunk(self, base: Frontier, after: int) -> Chunk:
        self.seal()
        chunk = self.subject.replica.chunk(base, after)
        if chunk.claim is not None:
            self.history.offers[chunk.sender, chunk.claim.digest()] = self.seen
        return chunk

    def receive(self, chunk: Chunk) -> Receipt:
        self.seal()
        receipt = self.subject.replica.receive(chunk)
        if receipt.applied:
            assert chunk.claim is not None
            offered = self.history.offers[chunk.sender, chunk.claim.digest()]
            tables = chunk.claim.scopes & self.tables
            self.seen |= offered & self.history.of_tables(tables)
        return receipt

    def heard(self, peer: SiteId, frontier: Frontier) -> None:
        self.subject.replica.heard(peer, frontier)

    def renew(self, incarnation: int, common_seq: int) -> None:
        """What the site cannot prove to be shared it writes again: writes of their own.

        A peer remembers few nonces, so some of them may be shared after all; a delete that had
        seen the first of such twins has not seen the second.
        """
        self.history.note("renew", self.site[:1], incarnation, common_seq)
        old = self.standing(self.site).origin
        self.subject.replica.renew(incarnation, common_seq)
        branch = [
            write
            for write in self.history.within(self.seen)
            if write.dot is not None and write.dot.origin == old and write.dot.seq > common_seq
        ]
        if branch:
            standing = self.subject.replica.standing(self.site)
            dot = Dot(standing.origin, standing.latest.seq)
            for write, twin in zip(branch, self.written_again(branch), strict=True):
                twin.hlc, twin.dot = write.hlc, dot

    def written_again(self, writes: Iterable[Write]) -> list[Write]:
        """The site holds twins of these writes in their place, each of which saw the twins of
        what the first had seen."""
        bits: dict[int, int] = {}
        twins = []
        for write in writes:
            saw = write.saw
            for old, new in bits.items():
                if saw & old:
                    saw = saw & ~old | new
            twin = self.history.wrote(self.site, write.place, write.values, saw, write.wall_ms)
            old, new = 1 << write.number, 1 << twin.number
            bits[old] = new
            self.seen = self.seen & ~old | new
            self.history.replaced |= old
            twins.append(twin)
        return twins

    @property
    def tables(self) -> frozenset[str]:
        return frozenset(self.subject.application.tables)

    # What the checkers see

    def aside(self) -> Writes:
        """The writes that are here and wait until their stamps are not of the future."""
        numbers = 0
        for place, row in self.subject.aside():
            waiting = {(stamp.hlc, stamp.origin.site) for stamp in row.stamps()}
            for write in self.history.within(self.history.of_row.get(place, 0) & self.seen):
                if write.name in waiting:
                    numbers |= 1 << write.number
        return numbers

    def state(self) -> SiteState:
        self.seal()
        subject = self.subject
        return SiteState(
            site=self.site,
            tables=self.tables,
            seen=self.seen,
            rows=dict(subject.rows()),
            visible=dict(subject.visible()),
            conflicts=frozenset(subject.conflicts()),
            frontier=subject.frontier(),
            nonces=dict(subject.nonces()),
            aside=self.aside(),
        )
