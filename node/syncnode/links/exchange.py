"""Drives exchanges: carries out what sessions ask for, on the replica and over the link.

All work of one turn (reading the body, the database, writing the answer) is one blocking step,
run through the port `InDatabase`: in a thread of the node, in place in simulations. So the event
loop never waits for a disk or a large body, and a turn costs one change of threads.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import trio

from syncnode.links.metering import UNMETERED, Meter
from syncnode.links.pace import Pace
from syncnode.links.peers import Contact
from syncnode.replica import EncodedChunk
from syncnode.texts import skew_text, unshown_text, utc_text
from syncproto.codec import decode_chunk, encode_turn, split_turn
from syncproto.errors import RefusedError, StoreError, SyncError, TransportError
from syncproto.frontier import Frontier
from syncproto.identity import SiteId
from syncproto.messages import Turn
from syncproto.replica import Replica, Standing
from syncproto.session import (
    Answer,
    Await,
    Call,
    Cut,
    Effect,
    Finish,
    Hear,
    Link,
    Look,
    Renew,
    Send,
    Take,
)

T = TypeVar("T")

BUSY_STATUS = 503
BUSY_ATTEMPTS_MAX = 6
BUSY_PAUSE_S = 0.2  # doubles; all attempts together take six seconds
# The longest silence of a peer that applies a large delta, on an old laptop.
ANSWER_S_MAX = 180.0
# What a waiting request may take above the time it asked for.
WAIT_MARGIN_S = 30.0
SKEW_MS_MIN = 1_000  # whatever the setting, less than this is the link's own delay


class InDatabase(Protocol):
    """Runs blocking work on the replica, one piece at a time."""

    async def __call__(self, work: Callable[[], T], /) -> T: ...


async def in_place(work: Callable[[], T], /) -> T:
    """Runs the work here and now: for simulations."""
    await trio.lowlevel.checkpoint()
    return work()


class Post(Protocol):
    """Sends a body to a site and returns its answer."""

    async def __call__(self, site: SiteId, body: bytes, *, timeout_s: float) -> bytes: ...


class News:
    """Tells tasks that the replica holds something new."""

    def __init__(self) -> None:
        self.count = 0
        self._frontier: Frontier | None = None
        self._event = trio.Event()

    def tell(self, frontier: Frontier) -> None:
        """Wake who waits, if this is news."""
        if frontier != self._frontier:
            self._frontier = frontier
            self.stir()

    def stir(self) -> None:
        """Wake who waits in any case."""
        self.count += 1
        self._event.set()
        self._event = trio.Event()

    async def later_than(self, count: int) -> None:
        """Return once there is news after the one of that count."""
        while self.count == count:
            await self._event.wait()


@dataclass(frozen=True, slots=True)
class Step:
    """What one side came to after carrying out effects.

    Attributes:
        effect: The `Send`, `Await` or `Finish` at the end.
        body: The turn to send as bytes.
        frontier: What the replica held at the last look.
        patient: The turn may be kept waiting, and nothing is under way.
    """

    effect: Send | Await | Finish
    body: bytes = b""
    frontier: Frontier | None = None
    patient: bool = False


def perform(
    session: Call | Answer,
    replica: Replica,
    effects: list[Effect],
    *,
    standing: Standing | None = None,
) -> tuple[Send | Await | Finish, Standing | None]:
    """Carry out effects until the session has something to say or is over.

    `standing` is used for the first look if it was taken just before.
    """
    todo, fresh = list(effects), standing is not None
    while True:
        effect = todo.pop(0)
        match effect:
            case Look():
                if standing is None or not fresh:
                    standing = replica.standing(session.peer)
                fresh = False
                todo += session.looked(standing)
            case Take(chunk):
                todo += session.took(replica.receive(chunk))
            case Cut(base, after):
                assert standing is not None, "a session looks before it cuts"
                todo += session.cut(replica.chunk(base, after, session.chunk_bytes), standing)
            case Hear(frontier, directions):
                replica.heard(session.peer, frontier, directions)
            case Renew(incarnation, common_seq):
                replica.renew(incarnation, common_seq)
                todo.append(Look())
            case Send() | Await() | Finish():
                return effect, standing


def encoded(turn: Turn) -> bytes:
    """A turn as bytes; a chunk that is encoded already is not encoded again."""
    chunk = turn.chunk
    if isinstance(chunk, EncodedChunk) and chunk.encoded:
        return encode_turn(replace(turn, chunk=None), chunk.encoded)
    return encode_turn(turn)


def decoded(body: bytes) -> Turn:
    """A turn whose chunk keeps its bytes, so that it is staged as it came.

    Raises:
        MalformedMessageError, IncompatiblePeerError: As `decode_turn`.
    """
    turn, chunk_bytes = split_turn(body)
    if chunk_bytes is None:
        return turn
    chunk = decode_chunk(chunk_bytes)
    kept = EncodedChunk(
        chunk.sender,
        chunk.base,
        chunk.after,
        chunk.upto,
        chunk.records,
        chunk.blocks,
        chunk.claim,
        chunk.total,
        chunk_bytes,
    )
    return replace(turn, chunk=kept)


@dataclass(slots=True)
class Crossed:
    """What of an exchange that we began has come to the other side, and will not come again.

    Attributes:
        rows_sent: Of turns that the peer has answered.
        rows_received: That our database has taken in.
    """

    rows_sent: int = 0
    rows_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0

    def count(self, step: "Step", answer: bytes) -> None:
        """A turn that was answered."""
        assert isinstance(step.effect, Send), "a turn was said"
        chunk = step.effect.turn.chunk
        self.rows_sent += chunk.row_count if chunk is not None else 0
        self.bytes_sent += len(step.body)
        self.bytes_received += len(answer)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an exchange that we began ended.

    Attributes:
        complete: Each side covers what the other had when it began.
        reason: Why not, in a sentence.
        unshown: Rows that the peer has and does not show: parked there, or kept aside.
    """

    complete: bool
    reason: str
    rows_sent: int
    rows_received: int
    bytes_sent: int
    bytes_received: int
    unshown: int = 0

    @property
    def moved(self) -> bool:
        return bool(self.rows_sent or self.rows_received)


Watch = Callable[[Call], None]


class Exchanger:
    """Both sides of exchanges between one replica and its peers.

    Args:
        replica: What is kept in step.
        name: What people call this site; for sentences to peers.
        in_database: Runs work on the replica.
        post: Sends a body to a site.
        news: Told of what arrives; wakes the requests that wait.
        wall_ms: Our clock.
        wait_ms_max: How long a request is kept waiting at most.
        skew_ms_max: From where a peer's clock is worth a warning.
        answer_s_max: How long a peer may be silent over a turn that brings it no rows.
        timeout_s: How long a peer may be silent at most.
        meter: Says when a request must wait for its budget.
        batch_bytes: What rows sent or received at once may have at most, by the settings.

    Attributes:
        waiting_since_s: By peer that owes us an answer, since when by trio's clock.
        crossed: By peer what has crossed in the exchange with it that was begun last.
    """

    def __init__(
        self,
        replica: Replica,
        *,
        name: str,
        in_database: InDatabase,
        post: Post,
        news: News,
        wall_ms: Callable[[], int],
        wait_ms_max: int,
        skew_ms_max: int,
        answer_s_max: float = ANSWER_S_MAX,
        timeout_s: Callable[[SiteId], float] = lambda _: ANSWER_S_MAX,
        meter: Meter = UNMETERED,
        batch_bytes: Callable[[SiteId], int | None] = lambda _: None,
    ) -> None:
        self._batch_bytes = batch_bytes
        self._replica = replica
        self._timeout_s = timeout_s
        self.meter = meter
        self._answer_s_max = answer_s_max
        self.waiting_since_s: dict[SiteId, float] = {}
        self.crossed: dict[SiteId, Crossed] = {}
        self._name = name
        self._in_database = in_database
        self._post = post
        self._news = news
        self._wall_ms = wall_ms
        self._wait_ms_max = wait_ms_max
        self._skew_ms_max = max(skew_ms_max, SKEW_MS_MIN)
        self._calling: dict[SiteId, trio.Lock] = defaultdict(trio.Lock)
        self._answering: dict[SiteId, trio.Lock] = defaultdict(trio.Lock)
        self._paces: dict[SiteId, Pace] = defaultdict(Pace)
        self._skews_ms: dict[SiteId, int] = {}
        self._alarms: dict[SiteId, tuple[str, ...]] = {}
        self._unshown: dict[SiteId, int] = {}
        self._kept: dict[SiteId, frozenset[str]] = {}
        self._ending = False
        self.contacts: dict[SiteId, Contact] = {}
        """What is new about peers since it was last taken from here and written down."""
        self._noted = trio.Event()

    def take_contacts(self) -> dict[SiteId, Contact]:
        """What is new about peers, for the caller to write down."""
        taken, self.contacts, self._noted = self.contacts, {}, trio.Event()
        return taken

    async def until_contact(self) -> None:
        """Wait until something new is known of a peer."""
        await self._noted.wait()

    def end(self) -> None:
        """Answer the requests that wait: the node is about to end."""
        self._ending = True
        self._news.stir()

    # Calling

    async def call(
        self, peer: SiteId, *, wait_ms: int = 0, watch: Watch = lambda _: None
    ) -> Outcome:
        """One exchange with a peer, from our side.

        Args:
            wait_ms: How long the peer may keep us waiting for news when both are equal.
            watch: Called with the session after each turn, to show progress.

        Raises:
            SyncError: It did not take place, or broke off: what was done so far is kept.
        """
        call, crossed = Call(peer, wait_ms), Crossed()
        pace = self._paces[peer]
        self.crossed[peer] = crossed
        answer: bytes | None = None
        try:
            while True:
                # Only one exchange a peer moves rows at a time; a waiting one stands beside it.
                async with self._calling[peer]:
                    pace.set(call, self._batch_bytes(peer))
                    step = await self._called(call, answer)
                    while isinstance(step.effect, Send) and not step.patient:
                        brings_rows = step.effect.turn.chunk is not None
                        limit_s = self._timeout_s(peer)
                        if not brings_rows:
                            limit_s = min(limit_s, self._answer_s_max)
                        with pace.taken(step.effect.turn, trio.current_time) as note:
                            answer = await self._say(peer, step, limit_s)
                            note(len(step.body), len(answer))
                        pace.set(call, self._batch_bytes(peer))
                        crossed.count(step, answer)
                        step = await self._called(call, answer)
                        crossed.rows_received = call.progress.rows_received
                        watch(call)
                if isinstance(step.effect, Finish):
                    break
                try:
                    answer = await self._say(peer, step, wait_ms / 1000 + WAIT_MARGIN_S)
                except TransportError:
                    # Rows that are under way beside it go on where the link broke; who hears that
                    # this one failed would end them.
                    async with self._calling[peer]:
                        raise
                crossed.count(step, answer)
        except SyncError as error:
            if not isinstance(error, StoreError):
                self._note(peer, met=False, trouble=str(error))
            raise
        finish = step.effect
        self._heed_sums(peer, finish.alarms)
        self._note(peer, met=True, trouble=finish.reason, told=finish.trouble)
        return Outcome(
            complete=finish.complete,
            reason=finish.reason,
            rows_sent=crossed.rows_sent,
            rows_received=call.progress.rows_received,
            bytes_sent=crossed.bytes_sent,
            bytes_received=crossed.bytes_received,
            unshown=finish.unshown,
        )

    async def look(self, own: SiteId) -> None:
        """Seal what was written here, and tell who waits for news.

        Raises:
            StoreError: It could not be sealed now.
        """
        # Of ourselves as a peer nothing is known; what we hold is asked.
        standing = await self._in_database(lambda: self._replica.standing(own))
        self._news.tell(standing.frontier)

    async def lacks(self, peer: SiteId) -> bool:
        """Whether the peer, as far as is known here, lacks something that we hold."""

        def work() -> tuple[bool, Frontier]:
            standing = self._replica.standing(peer)
            return Link.of(standing, peer).behind, standing.frontier

        behind, frontier = await self._in_database(work)
        self._news.tell(frontier)
        return behind

    async def _called(self, call: Call, answer: bytes | None) -> Step:
        """Take the peer's answer in (None to begin), and come to what to say next."""

        def work() -> Step:
            turn = self._opened(call.peer, answer) if answer is not None else None
            effects = call.start() if turn is None else call.receive(turn)
            effect, standing = perform(call, self._replica, effects)
            step = self._step(call.peer, effect, standing)
            more = turn is not None and turn.more
            waits = isinstance(effect, Send) and effect.turn.wait_ms > 0
            return replace(step, patient=waits and not more)

        return await self._in_step(work)

    async def _say(self, peer: SiteId, step: Step, timeout_s: float) -> bytes:
        """The peer's answer; a peer whose database is busy is asked again for some seconds."""
        await self._until_room(peer)
        self.waiting_since_s[peer] = trio.current_time()
        try:
            for attempt in range(BUSY_ATTEMPTS_MAX):
                try:
                    answer = await self._post(peer, step.body, timeout_s=timeout_s)
                    self.meter.crossed(peer, len(step.body) + len(answer))
                    return answer
                except RefusedError as error:
                    if error.status != BUSY_STATUS or attempt == BUSY_ATTEMPTS_MAX - 1:
                        raise
                await trio.sleep(BUSY_PAUSE_S * 2**attempt)
        finally:
            self.waiting_since_s.pop(peer, None)
        raise AssertionError("the last attempt returns or raises")

    async def _until_room(self, peer: SiteId) -> None:
        """Wait until the budgets allow another request; reports say so meanwhile."""
        while wait_ms := self.meter.wait_ms(peer):
            until = utc_text(self._wall_ms() + wait_ms)
            self._note(peer, met=False, trouble=f"its budget of bytes is used up until {until}")
            await trio.sleep(wait_ms / 1000)

    # Answering

    async def answer(self, peer: SiteId, body: bytes) -> bytes:
        """Our turn in answer to one of a peer that has proven who it is.

        Raises:
            PeerError: The turn is malformed or does not belong here; nothing was changed.
            StoreError: Our database could not do its part.
        """
        answer = Answer(peer)
        try:
            said = await self._answered(peer, answer, body)
            self.meter.crossed(peer, len(body) + len(said))
            return said
        except SyncError as error:
            if not isinstance(error, StoreError):
                self._note(peer, met=False, trouble=str(error))
            raise

    async def _answered(self, peer: SiteId, answer: Answer, body: bytes) -> bytes:
        count = self._news.count

        def begin() -> Step:
            turn = self._opened(peer, body)
            return self._step(peer, *perform(answer, self._replica, answer.receive(turn)))

        async with self._answering[peer]:
            step = await self._in_step(begin)
        if isinstance(step.effect, Await):
            wait_ms = min(step.effect.wait_ms, self._wait_ms_max)
            with trio.move_on_after(wait_ms / 1000):
                while isinstance(step.effect, Await) and not self._ending:
                    await self._news.later_than(count)
                    count = self._news.count
                    async with self._answering[peer]:
                        step = await self._in_step(lambda: self._if_behind(answer))
        if isinstance(step.effect, Await):
            async with self._answering[peer]:
                step = await self._in_step(
                    lambda: self._step(peer, *perform(answer, self._replica, answer.awaited()))
                )
        self._heed_sums(peer, answer.alarms)
        self._note(peer, met=True)
        return step.body

    def _if_behind(self, answer: Answer) -> Step:
        """The answer if the peer lacks something; otherwise it waits on."""
        standing = self._replica.standing(answer.peer)
        if not Link.of(standing, answer.peer).behind:
            return Step(Await(0), frontier=standing.frontier)
        said = perform(answer, self._replica, answer.awaited(), standing=standing)
        return self._step(answer.peer, *said)

    # Both sides

    async def _in_step(self, work: Callable[[], Step]) -> Step:
        step = await self._in_database(work)
        if step.frontier is not None:
            self._news.tell(step.frontier)
        return step

    def _step(self, peer: SiteId, effect: Send | Await | Finish, standing: Standing | None) -> Step:
        frontier = standing.frontier if standing else None
        if not isinstance(effect, Send):
            return Step(effect, frontier=frontier)
        turn, skew_ms = effect.turn, self._skews_ms.get(peer, 0)
        if skew_ms and not turn.trouble:
            warning = f"the clock here is {skew_text(skew_ms)} that of {self._name}"
            turn = replace(turn, trouble=warning)
        return Step(effect, encoded(turn), frontier)

    def _opened(self, peer: SiteId, body: bytes) -> Turn:
        """The peer's turn; its clock is compared with ours."""
        turn = decoded(body)
        self._unshown[peer] = turn.unshown
        if turn.frontier is not None:
            self._kept[peer] = turn.kept
        skew_ms = turn.wall_ms - self._wall_ms()
        self._skews_ms[peer] = skew_ms if abs(skew_ms) > self._skew_ms_max else 0
        if turn.sums is not None:
            self._alarms.pop(peer, None)  # they are compared anew
        return turn

    def _heed_sums(self, peer: SiteId, tables: tuple[str, ...]) -> None:
        if tables:
            self._alarms[peer] = tables

    def _note(self, peer: SiteId, *, met: bool, trouble: str = "", told: str = "") -> None:
        texts = [trouble] if trouble else []
        if tables := self._alarms.get(peer):
            named = ", ".join(tables[:5])
            texts.insert(
                0,
                f"both claim the same changes but hold different rows of {named}: `syncnode "
                "verify` with the name of the peer says which, and repairs them",
            )
        if told:
            texts.append(f"it says: {told}")
        if unshown := self._unshown.get(peer):
            texts.append(unshown_text(unshown))
        now_ms, skew_ms = self._wall_ms(), self._skews_ms.get(peer, 0)
        self.contacts[peer] = Contact(
            now_ms if met else None,
            "; ".join(texts),
            skew_ms,
            None if met else now_ms,
            self._kept.get(peer),
        )
        self._noted.set()
