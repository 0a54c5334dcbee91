"""A fleet whose sites also send each other bundles, by couriers who lose, double and mix them up.

The files are the real ones but for sealing, and are opened by the protocol's own rules; what a site
has of bundles that wait lives and dies with its database. What each site has seen is on record, so
the judges of a fleet know at every moment what it must show.
"""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

from fleet import COLUMNS, TABLES, Faults, Fleet, row_key

from syncproto.bundle import (
    Head,
    PartReader,
    missing,
    opening,
    sealed_section,
    signed_part,
    tail,
    verified,
)
from syncproto.bundle_rules import (
    Fate,
    Span,
    base_for,
    better_hint,
    check_branch,
    fate,
    in_line,
    since,
    span_of,
)
from syncproto.codec import decode_chunk, encode_chunk
from syncproto.delta import Chunk
from syncproto.directions import EVERY_WAY, admitted
from syncproto.errors import PeerError, UnexpectedMessageError
from syncproto.frontier import Frontier
from syncproto.identity import Origin, SiteId
from syncproto.letter import Acquaintance, Letter, decode_letter, encode_letter
from syncproto.messages import Turn
from syncproto.session import Finish, restored
from syncsim.history import Writes
from syncsim.subject import NETWORK, MemorySubject, memory_subject

CHUNKS_A_PART = 2


@dataclass
class Waiting:
    """A bundle that came, as far as it came."""

    letter: Letter
    scopes: frozenset[str]
    chunks: dict[int, list[Chunk]] = field(default_factory=dict)
    spans: dict[int, Span] = field(default_factory=dict)

    @property
    def base(self) -> Frontier:
        return self.letter.base.within(self.scopes)

    @property
    def claim(self) -> Frontier:
        return self.letter.claim.within(self.scopes)

    @property
    def whole(self) -> bool:
        return not missing([*self.spans], self.letter.parts) and in_line(self.spans)


@dataclass
class Shelf:
    """What a site's database holds of bundles."""

    waiting: dict[bytes, Waiting] = field(default_factory=dict)
    hints: dict[SiteId, Frontier] = field(default_factory=dict)
    last: dict[SiteId, Frontier] = field(default_factory=dict)  # claims of what was exported


class CourierSubject(MemorySubject):
    """A replica in memory with a shelf."""

    shelf: Shelf

    def restarted(self) -> "CourierSubject":
        return _shelved(MemorySubject.restarted(self), self.shelf)

    def backup(self) -> Callable[[], "CourierSubject"]:
        put_back, kept = MemorySubject.backup(self), copy.deepcopy(self.shelf)
        return lambda: _shelved(put_back(), copy.deepcopy(kept))


def _shelved(subject: MemorySubject, shelf: Shelf) -> CourierSubject:
    found = CourierSubject(subject.replica)
    found.shelf = shelf
    return found


def courier_subject(
    site: Origin,
    tables: tuple[str, ...],
    clock: Callable[[], int],
    nonce: Callable[[], int],
    rows_max: int,
) -> CourierSubject:
    return _shelved(memory_subject(site, tables, clock, nonce, rows_max), Shelf())


@dataclass(frozen=True)
class Carried:
    """One file in somebody's pocket."""

    readers: tuple[int, ...]
    part: bytes
    bundle: bytes


class CourierFleet(Fleet):
    """A fleet with couriers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.bag: list[Carried] = []
        self.brought: dict[bytes, Writes] = {}  # by bundle: what its exporter had seen

    def shelf(self, number: int) -> Shelf:
        subject = self.sites[number].subject
        assert isinstance(subject, CourierSubject)
        return subject.shelf

    # Sending

    def export(self, number: int, readers: tuple[int, ...], how: str) -> list[Carried]:
        """Put a bundle into the bag. `how`: "told", "last" (what was exported before is believed to
        have come) or "anyone" (from nothing)."""
        if number in self.confidants:
            return []  # numbers that it gives away now may name two changesets
        site, shelf = self.sites[number], self.shelf(number)
        standings = {self.sites[r].site: site.standing(self.sites[r].site) for r in readers}
        held = next(iter(standings.values())).frontier
        if how == "last" and len(readers) == 1:
            last = shelf.last.get(next(iter(standings)), Frontier({}))
            base = since(held, last, frozenset())
        else:
            told = [None if how == "anyone" else shelf.hints.get(one) for one in standings]
            base = base_for(held, [(one, EVERY_WAY) for one in told])
        chunks = self._chunks(number, base)
        bundle = self.rng.randbytes(16)
        self.brought[bundle] = site.seen
        own = site.standing(site.site)
        groups = [chunks[n : n + CHUNKS_A_PART] for n in range(0, len(chunks), CHUNKS_A_PART)]
        claim = chunks[-1].claim
        assert claim is not None, "the last chunk of a delta claims"
        letter = Letter(
            origin=own.origin,
            latest=own.latest,
            rows=tuple(sum(chunk.row_count for chunk in group) for group in groups),
            base=chunks[-1].base,
            claim=claim,
            frontier=own.frontier,
            nonces=own.nonces,
            told=dict(shelf.hints),
            readers={one: Acquaintance(s.peer, s.peer_nonces) for one, s in standings.items()},
        )
        for one in standings:
            shelf.last[one] = claim
        made = [
            Carried(readers, self._part(site.site, bundle, place, group, letter), bundle)
            for place, group in enumerate(groups, start=1)
        ]
        self.history.note("export", number, readers, how, len(made))
        self.bag += made
        return made

    def _chunks(self, number: int, base: Frontier) -> list[Chunk]:
        """The delta; the application writes while it is cut, so each chunk is of another moment."""
        chunks: list[Chunk] = []
        while not chunks or chunks[-1].claim is None:
            if chunks and self.rng.random() < 0.3:
                self.history.note("write during export")
                table = self.rng.choice(TABLES)
                self.write(number, [(table, row_key(self.rng.randrange(3)))], COLUMNS[:1])
            self.seal(number)
            after = chunks[-1].upto if chunks else 0
            chunks.append(self.sites[number].subject.replica.chunk(base, after))
        return chunks

    def _part(
        self, site: SiteId, bundle: bytes, part: int, chunks: list[Chunk], letter: Letter
    ) -> bytes:
        head = Head(
            network=NETWORK,
            bundle=bundle,
            exporter=site,
            name=self.history.names[site],
            made_ms=self.now_ms,
            part=part,
            readers=dict.fromkeys(letter.readers, "a reader"),
            public_key=bytes(32),
        )
        data = opening(head)
        data += b"".join(sealed_section(encode_chunk(chunk)) for chunk in chunks)
        data += sealed_section(encode_letter(letter)) + tail(letter.parts)
        return data + _signature(site, signed_part(hashlib.sha512(data).digest()))

    # Receiving

    def carry(self, which: int, reader: int, *, keep: bool, spoil: int | None = None) -> None:
        """A reader gets a file of the bag; `keep`: a copy of it comes again. `spoil`: one byte of
        it was changed on the way."""
        carried = self.bag[which % len(self.bag)]
        number = carried.readers[reader % len(carried.readers)]
        if not keep:
            self.bag.remove(carried)
            self.history.note("lost" if number in self.dead else "carried", number)
        if number in self.dead or number in self.confidants:
            return
        part = carried.part
        if spoil is not None:
            place = spoil % len(part)
            part = part[:place] + bytes((part[place] ^ 1,)) + part[place + 1 :]
            self.history.note("spoiled")
        before = set(self.shelf(number).waiting)
        refusal = self._refusal(number, part)
        if refusal is None:
            assert spoil is None, "a changed byte was not noticed"
        else:
            assert spoil is not None or isinstance(refusal, UnexpectedMessageError), refusal
            assert set(self.shelf(number).waiting) == before
            self.history.note("refused part", number)
        self.take_waiting(number)
        self._look_at(number)

    def _refusal(self, number: int, part: bytes) -> PeerError | None:
        """Import a file; why it was not taken."""
        try:
            self._take_part(number, part)
        except PeerError as error:
            return error
        return None

    def _take_part(self, number: int, part: bytes) -> None:
        site, shelf = self.sites[number], self.shelf(number)
        envelope = verified(BytesIO(part).read, _fits)
        head, letter = envelope.head, decode_letter(envelope.letter)
        self._look_at_itself(number, head, letter)
        check_branch(letter, site.standing(head.exporter))
        for one, frontier in {**letter.told, head.exporter: letter.frontier}.items():
            itself = letter.origin if one == head.exporter else None
            if one != site.site and better_hint(one, shelf.hints.get(one), frontier, itself):
                shelf.hints[one] = frontier
        held = site.subject.frontier()
        waiting = shelf.waiting.get(head.bundle)
        if waiting is None:
            waiting = Waiting(letter, letter.base.scopes & held.scopes)
            if fate(held, waiting.base, waiting.claim, whole=False) is Fate.NOT_NEEDED:
                self.history.note("not needed")
                return
            shelf.waiting[head.bundle] = waiting
        self._stage(waiting, head.part, part)

    def _stage(self, waiting: Waiting, number: int, part: bytes) -> None:
        *sections, _letter = PartReader(BytesIO(part).read).sealed()
        chunks, span = [decode_chunk(section) for section in sections], None
        for chunk in chunks:
            last = number == waiting.letter.parts and chunk is chunks[-1]
            span = span_of(span, chunk, waiting.letter, last=last)
        assert span is not None, "a part has a chunk"
        refused = waiting.letter.base.scopes - waiting.scopes
        waiting.chunks[number] = [admitted(chunk, refused) for chunk in chunks]
        waiting.spans[number] = span

    def _look_at_itself(self, number: int, head: Head, letter: Letter) -> None:
        site, told = self.sites[number], letter.readers[self.sites[number].site]
        standing = site.standing(head.exporter)
        turn = Turn(
            network=head.network,
            origin=letter.origin,
            latest=letter.latest,
            known=told.known,
            digest=b"",
            wall_ms=head.made_ms,
            lineage=told.lineages.get(standing.origin.incarnation, {}) or {0: 0},
        )
        renew = restored(turn, standing)
        if renew is not None:
            self.history.note("renew by bundle", number)
            site.renew(renew.incarnation, renew.common_seq)

    def take_waiting(self, number: int) -> None:
        """What a node does after each delta it has applied."""
        shelf, again = self.shelf(number), True
        while again:
            again = False
            for name, waiting in list(shelf.waiting.items()):
                again |= self._take(number, name, waiting)

    def _take(self, number: int, name: bytes, waiting: Waiting) -> bool:
        site, shelf = self.sites[number], self.shelf(number)
        site.seal()
        held = site.subject.frontier()
        what = fate(held, waiting.base, waiting.claim, whole=waiting.whole)
        if what in (Fate.NOT_NEEDED, Fate.TAKE):
            del shelf.waiting[name]
        if what is not Fate.TAKE:
            if what is Fate.BASE_MISSING:
                self.history.note("base missing", number)
            return False
        replica = site.subject.replica
        replica.seal()
        chunks = [chunk for part in sorted(waiting.chunks) for chunk in waiting.chunks[part]]
        replica._apply(chunks, waiting.claim)
        seen = self.brought[name] & self.history.of_tables(waiting.claim.scopes & site.tables)
        site._learn(seen)
        self.history.note("taken", number)
        return True

    def exchange(self, caller: int, callee: int, faults: Faults = Faults()) -> Finish | None:  # noqa: B008
        finish = super().exchange(caller, callee, faults)
        for number, other in ((caller, callee), (callee, caller)):
            told = self.sites[number].subject.replica.peers.get(self.sites[other].site)
            if told is not None:
                self.shelf(number).hints[self.sites[other].site] = told
            if number not in self.confidants:
                self.take_waiting(number)
        self._look_at(caller, callee)
        return finish


def _signature(site: SiteId, message: bytes) -> bytes:
    return hashlib.sha512(site + message).digest()


def _fits(head: Head, signature: bytes, message: bytes) -> bool:
    return signature == _signature(head.exporter, message)
