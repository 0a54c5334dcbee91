"""One exchange between two sites as a value machine: messages in, effects out.

Both sides say turns, the caller first. A side's state is what its replica holds; a session
only remembers what this exchange is for. The answering side keeps nothing between turns, so a
server may be restarted, or be several processes, in the middle of an exchange.

The driver performs effects in order and feeds each outcome back: `Look` to `looked`, `Take` to
`took`, `Cut` to `cut`. It owns the clock, the link and the database.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from syncproto.delta import Chunk
from syncproto.directions import EVERY_WAY, Directions, admitted, link_digest
from syncproto.errors import ForkError, UnexpectedMessageError
from syncproto.frontier import UNKNOWN, Entry, Frontier
from syncproto.identity import Origin, SiteId, site_text
from syncproto.messages import Turn
from syncproto.replica import Receipt, Standing

TELL_LINEAGE: Mapping[int, int] = {}  # asks for the speaker's own lineage as the listener has it
NOTHING_COMMON: Mapping[int, int] = {0: 0}  # answers that nothing of it is known; no seq is 0
FORKED_SITES_NAMED = 5  # in one sentence; a fork of more sites than that is hardly an accident
IDLE_TURNS_MAX = 3  # turns without progress before the exchange is given up
PUSH_ROWS_BLIND = 2_000  # a longer delta first asks where the peer stands


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the replica where it stands."""


@dataclass(frozen=True, slots=True)
class Take:
    """Give the replica a chunk."""

    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Cut:
    """Ask the replica for a chunk above `base`, after `after`."""

    base: Frontier
    after: int


@dataclass(frozen=True, slots=True)
class Hear:
    """Tell the replica what the peer said it holds, and its rules for this link."""

    frontier: Frontier
    directions: Directions


@dataclass(frozen=True, slots=True)
class Renew:
    """Tell the replica that it was restored; then look again."""

    incarnation: int
    common_seq: int


@dataclass(frozen=True, slots=True)
class Send:
    """Say this turn."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Await:
    """Nothing to say yet: look again when the replica changed, or after `wait_ms`."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The exchange is over.

    Attributes:
        complete: Each side covers what the other had when the exchange began.
        reason: Why not, in a sentence; "" when complete.
        alarms: Tables that the two may hold differently although both claim the same changes:
            by their sums, or because a number of a third site names two changesets.
        trouble: What the peer had to say to our operator. Of such a number both say the same.
        unshown: How many rows the peer holds and does not show, as it said last.
    """

    complete: bool
    reason: str
    alarms: tuple[str, ...]
    trouble: str
    unshown: int = 0


Effect = Look | Take | Cut | Hear | Renew | Send | Await | Finish


@dataclass(slots=True)
class Progress:
    """What has crossed the link in this exchange, for people to see."""

    rows_sent: int = 0
    rows_received: int = 0
    rows_to_send: int = 0
    rows_to_receive: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """What crosses between us and a peer, from where both stand.

    Attributes:
        told: What the peer holds, as far as is known.
        directions: What of the link stays back by the peer's rules, as far as is known.
    """

    standing: Standing
    peer: SiteId
    told: Frontier | None
    directions: Directions

    @classmethod
    def of(cls, standing: Standing, peer: SiteId) -> "Link":
        """By what the peer last told."""
        return cls(standing, peer, standing.peer_frontier, standing.peer_directions)

    @property
    def agreed(self) -> Directions:
        """What stays back by the rules of both."""
        return self.standing.directions.agreed(self.directions)

    @property
    def spoken(self) -> Frontier:
        """What of ours the peer may hear of."""
        return self.standing.frontier.without(self.agreed.closed)

    @property
    def behind(self) -> bool:
        """The peer, as far as is known, lacks something of ours that it is to hold."""
        owed = self.standing.frontier.without(self.agreed.unsent)
        return self.told is None or not self.told.includes(owed)

    def cut(self, after: int) -> Cut:
        """Asks for what the peer lacks of what it is to hold."""
        assert self.told is not None, "a delta has a base"
        return Cut(self.told.without(self.agreed.unsent), after)

    @property
    def common(self) -> Frontier:
        """What both should hold alike when nothing is left to exchange: ours, of the scopes that
        both keep; of what only comes, the peer's, once we hold all of that."""
        spoken = self.spoken
        if self.told is None:
            return spoken
        within = spoken.within(self.told.scopes)
        if self.agreed is EVERY_WAY:
            return within
        theirs = {
            scope: vector
            for scope in self.agreed.only_received & within.scopes
            if within.vector(scope).includes(vector := self.told.vector(scope))
        }
        return Frontier({**within.vectors, **theirs}) if theirs else within

    def digest(self, frontier: Frontier | None = None) -> bytes:
        """What a turn says of us; of another frontier: what it would say."""
        digest = (self.common if frontier is None else frontier).digest()
        own = self.standing.origin.site
        return link_digest(digest, {own: self.standing.directions, self.peer: self.directions})

    def heard(self, told: Frontier, claim: Frontier | None) -> Frontier:
        """What the peer told, and that of what only comes it holds what it claimed for it."""
        only = self.agreed.only_received
        return told.joined(claim.within(only)) if claim is not None and only else told


def checked(turn: Turn, standing: Standing, peer: SiteId) -> None:
    """Refuse a turn that does not belong to this network or this peer.

    Raises:
        UnexpectedMessageError: Another network's turn, or one that names another speaker.
    """
    if turn.network != standing.network:
        raise UnexpectedMessageError(
            f"site {site_text(peer)} belongs to another network: invite it to this one first"
        )
    if turn.origin.site != peer:
        raise UnexpectedMessageError(f"site {site_text(peer)} speaks as somebody else")


def restored(turn: Turn, standing: Standing) -> Renew | None:
    """Whether the peer knows more of us than we do: then we were restored or cloned.

    The common history ends at the highest seq to which both give the same nonce.

    Raises:
        ForkError: It cannot be told yet; the peer's next turn will bring its lineage.
    """
    known = turn.known
    if known is None or known.incarnation < standing.origin.incarnation:
        return None
    if known.incarnation == standing.origin.incarnation and _agrees(
        known.entry, standing.latest, standing.nonces
    ):
        return None
    common = 0
    if standing.latest.seq:
        # Also where the peer knows a later incarnation of ours: since this database was put back
        # it may have sealed under numbers that its lost past had used.
        if not turn.lineage:
            raise ForkError("the peer knows changes of ours that this database has not")
        common = _common(turn.lineage, standing.nonces)
    return Renew(known.incarnation + 1, common)


def _agrees(known: Entry, latest: Entry, nonces: Mapping[int, int]) -> bool:
    if known.seq > latest.seq:
        return False
    if known.seq == latest.seq:
        return known.seq == 0 or known.nonce == latest.nonce
    return nonces.get(known.seq, known.nonce) == known.nonce


def _common(lineage: Mapping[int, int], nonces: Mapping[int, int]) -> int:
    return max((seq for seq, nonce in lineage.items() if nonces.get(seq) == nonce), default=0)


def _lineage(turn: Turn, standing: Standing) -> Mapping[int, int] | None:
    """What we know of the recent changesets of the origin that the speaker says it is, if it asks
    or says something else."""
    known, incarnation = standing.peer, turn.origin.incarnation
    if known is None or known.incarnation < incarnation:
        return None
    restored = known.incarnation > incarnation
    if not restored and turn.lineage != TELL_LINEAGE and _agrees(known.entry, turn.latest, {}):
        return None
    return standing.peer_nonces.get(incarnation) or NOTHING_COMMON


def _differing_sums(turn: Turn, standing: Standing) -> tuple[str, ...]:
    """Tables with equal vectors and unequal sums (rule B11)."""
    if turn.sums is None or turn.frontier is None or not standing.settled:
        return ()
    return tuple(
        sorted(
            table
            for table, total in turn.sums.items()
            if table in standing.sums
            and table in turn.frontier.vectors
            and standing.sums[table] != total
            and standing.frontier.vector(table).entries == turn.frontier.vector(table).entries
        )
    )


def _forked(turn: Turn, standing: Standing) -> Mapping[str, set[Origin]]:
    """By table the origins of which each side holds another changeset under one number.

    Joining compares numbers only, so neither side will ever ask for the other's (rule A11).
    The two who speak now are left out: they tell each other their lineage.
    """
    if turn.frontier is None:
        return {}
    forked = {
        (id(mine), id(theirs)): origins
        for mine, theirs in standing.frontier.pairs(turn.frontier)
        if (origins := set(mine.forks(theirs)) - {turn.origin, standing.origin})
    }
    if not forked:
        return {}
    found = {
        scope: forked.get((id(standing.frontier.vector(scope)), id(theirs)))
        for scope, theirs in turn.frontier.vectors.items()
    }
    return {scope: origins for scope, origins in found.items() if origins}


def _alarming(turn: Turn, standing: Standing) -> tuple[str, ...]:
    """Tables that both claim to hold alike and do not, or cannot be trusted to."""
    return tuple(sorted({*_differing_sums(turn, standing), *_forked(turn, standing)}))


def _fork_trouble(turn: Turn | None, standing: Standing) -> str:
    """What to tell the peer's operator of changesets that share a number; "" if none do."""
    forks = _forked(turn, standing) if turn is not None else {}
    sites = sorted({site_text(origin.site) for origins in forks.values() for origin in origins})
    if not sites:
        return ""
    named = ", ".join(sites[:FORKED_SITES_NAMED])
    return f"a number names one change here and another there: a database of {named} was put back"


def _of_more_scopes(turn: Turn, standing: Standing) -> Frontier | None:
    """The frontier of a peer who keeps what we do not: our replica may begin to, so it hears of it
    and is looked at again before anything is said of what we hold."""
    told = turn.frontier
    if told is None or told == standing.peer_frontier:
        return None
    return told if told.scopes - standing.frontier.scopes else None


def _turn(standing: Standing, **parts: object) -> Turn:
    return Turn(
        network=standing.network,
        origin=standing.origin,
        latest=standing.latest,
        known=standing.peer,
        wall_ms=standing.wall_ms,
        cursor=standing.cursor,
        unshown=standing.unshown,
        kept=standing.kept if parts.get("frontier") is not None else frozenset(),
        **parts,  # type: ignore[arg-type]
    )


class Answer:
    """The answering side of one turn.

    Feed `receive` the caller's turn, then the outcome of each effect; it ends with one `Send`.
    """

    def __init__(self, peer: SiteId) -> None:
        self.peer = peer
        self._turn: Turn | None = None
        self._pending: Chunk | None = None
        self._frontier: Frontier | None = None
        self._claim: Frontier | None = None
        self._directions = EVERY_WAY
        self._waited = False
        self._unheard = True
        self.progress = Progress()
        self.alarms: tuple[str, ...] = ()
        self.unshown = 0

    @property
    def chunk_bytes(self) -> int:
        """What a chunk for the peer may have at most; 0 for any number."""
        return self._turn.room if self._turn is not None else 0

    def receive(self, turn: Turn) -> list[Effect]:
        self._turn = turn
        self._pending = turn.chunk
        self.unshown = turn.unshown
        return [Look()]

    def looked(self, standing: Standing) -> list[Effect]:
        """Decide from where we stand what to do with the turn.

        Raises:
            UnexpectedMessageError: See `checked`.
        """
        turn = self._turn
        assert turn is not None, "a turn was received"
        checked(turn, standing, self.peer)
        if self._unheard and (unknown := _of_more_scopes(turn, standing)) is not None:
            self._unheard = False
            return [Hear(unknown, turn.directions), Look()]
        try:
            renew = restored(turn, standing)
        except ForkError:
            # Nothing is taken and nothing offered until the caller has brought our lineage.
            digest = standing.frontier.digest()
            return [Send(_turn(standing, digest=digest, lineage=TELL_LINEAGE))]
        if renew is not None:
            return [renew]
        # What a turn says of its sender is old once it has waited; it was right when it came.
        lineage = None if self._waited else _lineage(turn, standing)
        if lineage is not None:
            digest = standing.frontier.digest()
            return [Send(_turn(standing, digest=digest, lineage=lineage))]
        if self._pending is not None:
            chunk, self._pending = self._pending, None
            self.progress.rows_received += chunk.row_count
            chunk = admitted(chunk, standing.directions.unreceived)
            self._claim = chunk.claim
            return [Take(chunk)]
        return self._said(turn, standing)

    def took(self, receipt: Receipt) -> list[Effect]:
        if not receipt.applied:
            self._claim = None
        return [Look()]

    def cut(self, chunk: Chunk, standing: Standing) -> list[Effect]:
        self.progress.rows_sent += chunk.row_count
        self.progress.rows_to_send = chunk.total
        return [self._reply(standing, chunk)]

    def awaited(self) -> list[Effect]:
        self._waited = True
        return [Look()]

    def _said(self, turn: Turn, standing: Standing) -> list[Effect]:
        known = standing.peer_frontier
        told, directions = turn.frontier, standing.peer_directions
        if told is not None:
            directions = turn.directions
            self.alarms = _alarming(turn, standing)
        self._directions = directions
        link = Link(standing, self.peer, known, directions)
        if told is not None:
            told = link.heard(told, self._claim)
        elif known is not None:
            known = link.heard(known, self._claim)
            link = replace(link, told=known)
            if link.digest() == turn.digest:
                told = _joined_over(known, link.common)
            elif link.digest(known.within(link.spoken.scopes)) == turn.digest:
                told = known
        elif link.digest() == turn.digest:
            told = link.common
        if told is None and self._waited:
            # While the turn waited its sender told more by another one; if that is wrong, it
            # refuses the chunk by its base, and says what it holds.
            told = known
        self._frontier = told
        if told is None:
            return [self._reply(standing, None)]
        effects: list[Effect] = []
        if (told, directions) != (standing.peer_frontier, standing.peer_directions):
            effects.append(Hear(told, directions))
        link = replace(link, told=told)
        if link.behind:
            cursor = turn.cursor
            after = cursor.lsn if cursor and cursor.sender == standing.origin else 0
            return [*effects, link.cut(after)]
        if turn.wait_ms and not self._waited and turn.chunk is None:
            return [*effects, Await(turn.wait_ms)]
        return [*effects, self._reply(standing, None)]

    def _reply(self, standing: Standing, chunk: Chunk | None) -> Send:
        turn = self._turn
        assert turn is not None, "a turn was received"
        link = Link(standing, self.peer, self._frontier, self._directions)
        digest = link.digest()
        equal = turn.digest == digest
        return Send(
            _turn(
                standing,
                digest=digest,
                frontier=None if equal else link.spoken,
                directions=EVERY_WAY if equal else standing.directions,
                sums=_told_sums(turn, standing, equal=equal),
                chunk=chunk,
                more=chunk is not None and chunk.claim is None,
                trouble=_fork_trouble(turn, standing),
            )
        )


def _told_sums(turn: Turn, standing: Standing, *, equal: bool) -> Mapping[str, int] | None:
    """Sums go with every answer to rows, and wherever the frontiers differ; a round in which
    nothing is new stays small."""
    if not standing.settled or (equal and turn.chunk is None):
        return None
    return standing.sums


def _joined_over(peer: Frontier, ours: Frontier) -> Frontier:
    """The peer's frontier, known to equal ours in the scopes that both keep."""
    if peer.vectors.keys() <= ours.vectors.keys():
        return ours
    return Frontier({**peer.vectors, **ours.vectors})


@dataclass(slots=True)
class Call:
    """The calling side of an exchange, from `start` to `Finish`.

    Attributes:
        peer: Whom we call.
        wait_ms: How long the peer may keep our last turn waiting for news; 0 for one plain
            exchange.
        room: The most bytes that a chunk from the peer should have; 0 for any number.
        chunk_bytes: The same of ours.
    """

    peer: SiteId
    wait_ms: int = 0
    progress: Progress = field(default_factory=Progress)
    room: int = 0
    chunk_bytes: int = 0
    _target: Frontier | None = None  # what we held when the exchange began
    _wanted: Frontier | None = None  # what the peer held when it first told
    _peer_frontier: Frontier | None = None
    _peer_cursor_lsn: int = 0
    _peer_origin: Origin | None = None
    _answer: Turn | None = None
    _pending: Chunk | None = None
    _claim: Frontier | None = None
    _directions: Directions = EVERY_WAY
    _told_lineage: bool = False
    _asked: bool = False
    _idle: int = 0
    _before: tuple[object, ...] = ()
    _equal: bool = False
    _trouble: str = ""
    _unshown: int = 0
    _alarms: tuple[str, ...] = ()
    _told: bytes = b""
    _unheard: bool = True

    def start(self) -> list[Effect]:
        return [Look()]

    def receive(self, turn: Turn) -> list[Effect]:
        self._answer = turn
        self._unheard = True
        self._pending = turn.chunk
        self._trouble = turn.trouble or self._trouble
        self._unshown = turn.unshown
        if turn.chunk is not None:
            self.progress.rows_received += turn.chunk.row_count
            self.progress.rows_to_receive = turn.chunk.total
        return [Look()]

    def looked(self, standing: Standing) -> list[Effect]:
        """Decide from where we stand what to say next.

        Raises:
            UnexpectedMessageError: See `checked`.
            ForkError: The peer knows changes of ours that we have not, and could not tell
                which.
        """
        if self._target is None:
            self._target = standing.frontier
            self._directions = standing.peer_directions
        answer = self._answer
        if answer is None:
            return self._first(standing)
        checked(answer, standing, self.peer)
        if self._unheard and (unknown := _of_more_scopes(answer, standing)) is not None:
            self._unheard = False
            return [Hear(unknown, answer.directions), Look()]
        try:
            renew = restored(answer, standing)
        except ForkError:
            if self._asked:
                raise
            self._asked = True
            self._pending = None
            return [self._say(standing, None, TELL_LINEAGE)]
        if renew is not None:
            self._answer = self._pending = self._target = None
            return [renew]
        lineage = _lineage(answer, standing)
        if lineage is not None and not self._told_lineage:
            self._told_lineage = True
            return [self._say(standing, None, lineage)]
        if self._pending is not None:
            chunk = admitted(self._pending, standing.directions.unreceived)
            self._pending = None
            self._claim = chunk.claim
            return [Take(chunk)]
        return self._next(answer, standing)

    def took(self, receipt: Receipt) -> list[Effect]:
        if not receipt.applied:
            self._claim = None
        return [Look()]

    def cut(self, chunk: Chunk, standing: Standing) -> list[Effect]:
        if self._answer is None and chunk.claim is None:
            # A long delta: first hear where the peer stands.
            return [self._say(standing, None)]
        self.progress.rows_sent += chunk.row_count
        self.progress.rows_to_send = chunk.total
        return [self._say(standing, chunk)]

    def _first(self, standing: Standing) -> list[Effect]:
        self._peer_frontier = standing.peer_frontier
        link = Link.of(standing, self.peer)
        if link.told is not None and link.behind:
            return [link.cut(0)]
        return [self._say(standing, None)]

    def _next(self, answer: Turn, standing: Standing) -> list[Effect]:
        effects: list[Effect] = []
        self._hear(answer, standing, effects)
        told = self._peer_frontier
        if told is None:
            return [*effects, self._say(standing, None)]
        if self._wanted is None:
            self._wanted = told
        assert self._target is not None, "the exchange has begun"
        link = Link(standing, self.peer, told, self._directions)
        now = (standing.frontier, standing.cursor, told, self._peer_cursor_lsn)
        self._idle = self._idle + 1 if now == self._before else 0
        self._before = now
        wanted = self._wanted.without(link.agreed.unreceived)
        pulled = standing.frontier.includes(wanted.within(standing.frontier.scopes))
        pushed = told.includes(self._target.without(link.agreed.unsent))
        if pushed and pulled and not answer.more:
            if link.digest() == self._told:
                return [*effects, self._finish(True, "")]
            if not link.behind:
                # The peer does not know yet that we have what it sent.
                self._idle += 1
                if self._idle >= 2:
                    return [*effects, self._finish(True, "")]
                return [*effects, self._say(standing, None)]
        if self._idle >= IDLE_TURNS_MAX:
            reason = "the peer has not taken all of ours" if pulled else "the peer has not sent all"
            return [*effects, self._finish(pushed and pulled, reason)]
        if link.behind:
            return [*effects, link.cut(self._peer_cursor_lsn)]
        return [*effects, self._say(standing, None)]

    def _hear(self, answer: Turn, standing: Standing, effects: list[Effect]) -> None:
        told, directions = answer.frontier, standing.peer_directions
        if told is not None:
            directions = answer.directions
        self._directions = directions
        link = Link(standing, self.peer, self._peer_frontier, directions)
        if told is not None:
            told = link.heard(told, self._claim)
        elif self._peer_frontier is not None:
            self._peer_frontier = link.heard(self._peer_frontier, self._claim)
            link = replace(link, told=self._peer_frontier)
        if told is None and answer.digest == link.digest():
            told = _joined_over(self._peer_frontier or UNKNOWN, link.common)
        self._claim = None
        if told is not None:
            if (told, directions) != (standing.peer_frontier, standing.peer_directions):
                effects.append(Hear(told, directions))
            self._peer_frontier = told
        if told is not None and (answer.frontier is not None or answer.sums is not None):
            if answer.frontier is None:
                # Of what crosses one way alone, an equal digest does not say that both are equal.
                both = told.without(link.agreed.unsent | link.agreed.unreceived)
                answer = replace(answer, frontier=both)
            self._alarms = _alarming(answer, standing)
            self._trouble = self._trouble or _fork_trouble(answer, standing)
        cursor = answer.cursor
        ours = cursor is not None and cursor.sender == standing.origin
        self._peer_cursor_lsn = cursor.lsn if cursor is not None and ours else 0
        self._peer_origin = answer.origin

    def _say(
        self, standing: Standing, chunk: Chunk | None, lineage: Mapping[int, int] | None = None
    ) -> Send:
        link = Link(standing, self.peer, self._peer_frontier, self._directions)
        digest = link.digest()
        self._told = digest
        answer = self._answer
        differ = answer is not None and answer.digest != digest
        return Send(
            _turn(
                standing,
                digest=digest,
                frontier=link.spoken if differ else None,
                directions=standing.directions if differ else EVERY_WAY,
                sums=standing.sums if differ and standing.settled else None,
                chunk=chunk,
                more=chunk is not None and chunk.claim is None,
                lineage=lineage,
                wait_ms=self.wait_ms if chunk is None else 0,
                room=self.room,
                trouble=_fork_trouble(answer, standing),
            )
        )

    def _finish(self, complete: bool, reason: str) -> Finish:
        reason = "" if complete else reason
        return Finish(complete, reason, self._alarms, self._trouble, self._unshown)
