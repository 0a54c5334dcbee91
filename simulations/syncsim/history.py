"""The record of a run: what was written where, by an author who had seen what.

The record is kept beside the code under test and asks it for little: that a changeset was
sealed, and under which number. Everything else, such as the stamp that a write must have got
and what a site has seen, is worked out here a second time, in the plainest way.

A set of writes is one whole number with a bit for each (`bits.py`). There are two kinds:
`Writes` counts all writes of the run, and says what a site has seen; `RowWrites` counts the
writes of one row, and says what an author had seen of it. So a write takes little room however
long the run is, and an exchange that brings nothing takes no time.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field

from syncproto.delta import Chunk
from syncproto.directions import Directions
from syncproto.frontier import Frontier
from syncproto.identity import Dot, Origin, SiteId
from syncproto.memory import ConflictName
from syncproto.replica import Receipt, Standing
from syncproto.row import Row, Value
from syncsim.bits import bits_of, members
from syncsim.subject import Place, Subject

Writes = int  # bit n: write number n of the run
RowWrites = int  # bit n: the row's write number n

FEW = 8  # writes of a row that are looked through each time; of others it is remembered
OFFERS_KEPT = 1_024  # of one sender, where messages are encoded; later than that nothing arrives


@dataclass(slots=True)
class Write:
    """One row written or deleted by one statement.

    Attributes:
        number: Its bit among all writes of the run.
        nth: Its bit among the writes of its row.
        site: Where it was made.
        values: The columns that it changed; None for a delete.
        saw: The writes of its row that its author had seen.
        wall_ms: The author's clock.
        wins: A delete, of a table in which deletes win over edits that they had not seen.
        hlc: The reading that the seal must have given it; 0 until sealed.
        dot: The changeset; None until sealed.
    """

    number: int
    nth: int
    site: SiteId
    place: Place
    values: Mapping[str, Value] | None
    saw: RowWrites
    wall_ms: int
    hlc: int = 0
    dot: Dot | None = None
    wins: bool = False

    @property
    def table(self) -> str:
        return self.place[0]

    @property
    def name(self) -> tuple[int, SiteId]:
        """What a stamp of this write shows whatever the incarnation it travels under."""
        return (self.hlc, self.site)


@dataclass(frozen=True, slots=True)
class SiteState:
    """What a site holds at one moment, for the checkers; to be read before the site goes on.

    Attributes:
        visible: What its application's queries show; None where that is worked out from
            `rows` and nothing else.
        aside: The writes that are received and wait for their time to come.
    """

    site: SiteId
    tables: frozenset[str]
    seen: Writes
    rows: Mapping[Place, Row]
    visible: Mapping[Place, Mapping[str, Value]] | None
    conflicts: Set[ConflictName]
    frontier: Frontier
    nonces: Mapping[Dot, int]
    aside: Writes = 0


class History:
    """All that happened in one run, in order.

    Args:
        events: Keep a list of what happened, for people who read a failing run.
        delete_wins: Tables in which a delete wins over edits that its author had not seen.

    Attributes:
        writes: Every write that a database acknowledged.
        of_row: The same by row, in order.
        of_site: The same by author, in order.
        seals: For each dot the nonces under which it was sealed; more than one only where a
            restored site did not know that it was.
        counts: How often each kind of thing happened.
        events: What happened, a word and details; empty unless asked for.
        names: What people call a site; a part of its id where it has no name here.
        rolled_back: Sites that were put back together with their anchor, so that they may
            have used a number twice before a peer told them.
        replaced: Writes in whose place their own site, which was put back, holds twins.
        tables: In which anything was written.
        offers: Where chunks cross a codec, what senders had seen, by the digest of what they
            claimed; the latest `OFFERS_KEPT` of each.
    """

    def __init__(self, *, events: bool = False, delete_wins: Iterable[str] = ()) -> None:
        self.delete_wins = frozenset(delete_wins)
        self.writes: list[Write] = []
        self.of_row: dict[Place, list[Write]] = {}
        self.of_site: dict[SiteId, list[Write]] = {}
        self.seals: dict[Dot, tuple[int, ...]] = {}
        self.counts: dict[str, int] = {}
        self.events: list[tuple[object, ...]] = []
        self.names: dict[SiteId, str] = {}
        self.rolled_back: set[SiteId] = set()
        self.replaced: Writes = 0
        self.tables: set[str] = set()
        self.offers: dict[Origin, dict[bytes, Writes]] = {}
        self._keeps_events = events
        # For each choice of tables: the writes up to a number that are of them.
        self._of_tables: dict[frozenset[str], tuple[int, Writes]] = {}

    def note(self, what: str, *detail: object) -> None:
        """Something happened."""
        self.counts[what] = self.counts.get(what, 0) + 1
        if self._keeps_events:
            self.events.append((what, *detail))

    def name_of(self, site: SiteId) -> str:
        """A site as people call it."""
        return self.names.get(site) or site[:4].hex()

    def wrote(
        self,
        site: SiteId,
        place: Place,
        values: Mapping[str, Value] | None,
        saw: RowWrites,
        wall_ms: int,
    ) -> Write:
        """A row was written, or deleted (`values` is None)."""
        of_row = self.of_row.setdefault(place, [])
        wins = values is None and place[0] in self.delete_wins
        write = Write(len(self.writes), len(of_row), site, place, values, saw, wall_ms, wins=wins)
        self.writes.append(write)
        of_row.append(write)
        self.of_site.setdefault(site, []).append(write)
        self.tables.add(place[0])
        self.note("delete" if values is None else "write", self.name_of(site), place, values)
        return write

    def sealed(self, writes: Iterable[Write], dot: Dot, nonce: int) -> None:
        """The journal became a changeset: each line's stamp is above all its row had borne."""
        for write in writes:
            write.hlc = max(write.wall_ms << 16, self._floor(write) + 1)
            write.dot = dot
        known = self.seals.get(dot, ())
        if nonce not in known:
            self.seals[dot] = (*known, nonce)

    def _floor(self, write: Write) -> int:
        """The greatest reading that its author had seen in the row; 0 for none."""
        of_row = self.of_row[write.place]
        floor, left = 0, write.saw
        while left:
            latest = of_row[left.bit_length() - 1]
            left &= ~(1 << latest.nth)
            if latest.hlc:
                floor = max(floor, latest.hlc)
                left &= ~latest.saw  # all that lies below it
        return floor

    def offered(self, sender: Origin, claim: Frontier, seen: Writes) -> None:
        """A delta that ends with this claim was cut by a site that had seen so much."""
        offers = self.offers.setdefault(sender, {})
        digest = claim.digest()
        offers.pop(digest, None)
        offers[digest] = seen
        if len(offers) > OFFERS_KEPT:
            del offers[next(iter(offers))]

    def offer(self, sender: Origin, claim: Frontier) -> Writes:
        """What the sender of a delta with this claim had seen."""
        offers = self.offers.get(sender, {})
        digest = claim.digest()
        assert digest in offers, (
            f"a delta of {self.name_of(sender.site)} arrives that is not among its last "
            f"{OFFERS_KEPT}: the record knows no more what was in it"
        )
        return offers[digest]

    def within(self, writes: Writes) -> Iterator[Write]:
        """These writes, in order."""
        return (self.writes[number] for number in members(writes))

    def of_tables(self, tables: Iterable[str]) -> Writes:
        """All writes so far of these tables."""
        wanted = frozenset(tables)
        count = len(self.writes)
        if wanted >= self.tables:
            return (1 << count) - 1
        upto, found = self._of_tables.get(wanted, (0, 0))
        if upto < count:
            new = (n - upto for n in range(upto, count) if self.writes[n].place[0] in wanted)
            found |= bits_of(new) << upto
            self._of_tables[wanted] = (count, found)
        return found


@dataclass(frozen=True, slots=True)
class OfferedChunk(Chunk):
    """A chunk that ends a delta, with what its sender had seen when it was cut.

    The record travels with the message: however late or often it arrives, and whoever takes
    it, nothing has to be looked up, and nothing is kept longer than the message.

    Attributes:
        cut: The chunk as the sender's replica gave it; the receiver's gets the same.
        offered: What the sender had seen.
    """

    cut: Chunk | None = field(default=None, repr=False, compare=False)
    offered: Writes = field(default=0, repr=False, compare=False)


def offered(chunk: Chunk, seen: Writes) -> OfferedChunk:
    """The chunk, from a sender who had seen so much."""
    return OfferedChunk(
        chunk.sender,
        chunk.base,
        chunk.after,
        chunk.upto,
        chunk.records,
        chunk.blocks,
        chunk.claim,
        chunk.total,
        chunk,
        seen,
    )


class RecordedSite:
    """A replica under test whose every step is put on record; itself a replica.

    A local write costs as much as its row has writes that are not here yet; an exchange that
    brings nothing costs nothing; one that brings something, one pass over a set of writes.

    Args:
        encoded: Chunks cross a codec between the sites, so nothing can travel with them.
            What was offered is then looked up by what a chunk claims, at some cost.

    Attributes:
        pending: What is written and not sealed yet.
    """

    def __init__(
        self, subject: Subject, origin: Origin, history: History, *, encoded: bool = False
    ) -> None:
        self.subject = subject
        self.history = history
        self.site = origin.site
        self.tables = frozenset(subject.application.tables)
        self.pending: list[Write] = []
        self._encoded = encoded
        self._seen: Writes = 0
        self._own: list[int] = []  # written here and not in `_seen` yet, ascending
        # Of rows with many writes: how many were looked through, and which of those are seen.
        self._of_row: dict[Place, tuple[int, RowWrites]] = {}

    @property
    def seen(self) -> Writes:
        """All writes that are here. It may be set where the database was put back."""
        if self._own:
            self._seen |= bits_of(self._own)
            self._own = []
        return self._seen

    @seen.setter
    def seen(self, writes: Writes) -> None:
        self._seen = writes
        self._own = []
        self._of_row.clear()

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
        self._own.append(write.number)
        self.pending.append(write)

    def _saw(self, place: Place) -> RowWrites:
        """What an author sees now: all that is here, but of a row that has changes kept aside
        only what stands in it; the rest may have come as those changes' past, unseen."""
        here = self._here(place)
        if not here or not self._waiting(place, self.subject.aside().get(place, ())):
            return here
        of_row = self.history.of_row[place]
        row = self.subject.rows().get(place)
        standing = {(s.hlc, s.origin.site) for s in row.stamps()} if row is not None else set()
        pending = {write.number for write in self.pending}
        saw: RowWrites = 0
        for nth in members(here):
            write = of_row[nth]
            if write.name in standing or write.number in pending:
                saw |= 1 << nth | write.saw
        return here & saw

    def _here(self, place: Place) -> RowWrites:
        """The writes of a row that are here."""
        of_row = self.history.of_row.get(place, ())
        if len(of_row) <= FEW:
            return self._look_through(of_row)
        count, here = self._of_row.get(place, (0, 0))
        missing = members(~here & ((1 << count) - 1))
        here |= self._look_through([of_row[nth] for nth in missing])
        here |= self._look_through(of_row[count:])
        self._of_row[place] = (len(of_row), here)
        return here

    def _look_through(self, writes: Iterable[Write]) -> RowWrites:
        here: RowWrites = 0
        for write in writes:
            if self._seen >> write.number & 1 or self._is_own(write):
                here |= 1 << write.nth
        return here

    def _is_own(self, write: Write) -> bool:
        at = bisect_left(self._own, write.number)
        return at < len(self._own) and self._own[at] == write.number

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

    def chunk(self, base: Frontier, after: int, bytes_max: int = 0) -> Chunk:
        self.seal()
        chunk = self.subject.replica.chunk(base, after, bytes_max)
        if chunk.claim is None:
            return chunk
        if self._encoded:
            self.history.offered(chunk.sender, chunk.claim, self.seen)
            return chunk
        return offered(chunk, self.seen)

    def receive(self, chunk: Chunk) -> Receipt:
        self.seal()
        cut = chunk.cut if isinstance(chunk, OfferedChunk) else None
        receipt = self.subject.replica.receive(cut or chunk)
        if receipt.applied:
            assert chunk.claim is not None, "the end of a delta claims what it brings"
            if isinstance(chunk, OfferedChunk):
                seen = chunk.offered
            else:
                seen = self.history.offer(chunk.sender, chunk.claim)
            tables = chunk.claim.scopes & self.tables
            if not tables >= self.history.tables:
                seen &= self.history.of_tables(tables)
            self._learn(seen)
        return receipt

    def _learn(self, offered: Writes) -> None:
        """Sites that have seen the same share one number, which saves their memory."""
        seen = self.seen
        joined = seen | offered
        if joined != seen:
            self._seen = offered if joined == offered else joined

    def heard(self, peer: SiteId, frontier: Frontier, directions: Directions) -> None:
        self.subject.replica.heard(peer, frontier, directions)

    def renew(self, incarnation: int, common_seq: int) -> None:
        """What the site cannot prove to be shared it writes again: writes of their own.

        A peer remembers few nonces, so some of them may be shared after all; a delete that had
        seen the first of such twins has not seen the second.
        """
        self.history.note("renew", self.history.name_of(self.site), incarnation, common_seq)
        old = self.standing(self.site).origin
        self.subject.replica.renew(incarnation, common_seq)
        seen = self.seen
        branch = [
            write
            for write in self.history.of_site.get(self.site, ())
            if write.dot is not None
            and write.dot.origin == old
            and write.dot.seq > common_seq
            and seen >> write.number & 1
        ]
        if branch:
            standing = self.subject.replica.standing(self.site)
            dot = Dot(standing.origin, standing.latest.seq)
            for write, twin in zip(branch, self.written_again(branch), strict=True):
                twin.hlc, twin.dot = write.hlc, dot

    def written_again(self, writes: Iterable[Write]) -> list[Write]:
        """The site holds twins of these writes in their place, each of which saw the twins of
        what the first had seen."""
        # By row: what the first saw of it, and what the twin saw instead.
        twins_of: dict[Place, list[tuple[RowWrites, RowWrites]]] = {}
        olds: Writes = 0
        twins: list[Write] = []
        for write in writes:
            saw = write.saw
            before = twins_of.setdefault(write.place, [])
            for old, new in before:
                if saw & old:
                    saw = saw & ~old | new
            twin = self.history.wrote(self.site, write.place, write.values, saw, write.wall_ms)
            before.append((1 << write.nth, 1 << twin.nth))
            olds |= 1 << write.number
            twins.append(twin)
        self.history.replaced |= olds
        self.seen = self.seen & ~olds | bits_of(twin.number for twin in twins)
        return twins

    # What the checkers see

    def aside(self) -> Writes:
        """The writes that are here and wait until their stamps are not of the future."""
        numbers: Writes = 0
        for place, kept in self.subject.aside().items():
            for write in self._waiting(place, kept):
                numbers |= 1 << write.number
        return numbers

    def _waiting(self, place: Place, kept: Iterable[Row]) -> list[Write]:
        """The writes that are here and stand in rows kept aside."""
        names = {(stamp.hlc, stamp.origin.site) for row in kept for stamp in row.stamps()}
        if not names:
            return []
        of_row = self.history.of_row.get(place, ())
        return [of_row[n] for n in members(self._here(place)) if of_row[n].name in names]

    def state(self) -> SiteState:
        self.seal()
        subject = self.subject
        return SiteState(
            site=self.site,
            tables=self.tables,
            seen=self.seen,
            rows=subject.rows(),
            visible=None if subject.shows_rows else subject.visible(),
            conflicts=subject.conflicts(),
            frontier=subject.frontier(),
            nonces=subject.nonces(),
            aside=self.aside(),
        )
