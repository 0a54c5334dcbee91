"""The shipped protocol: sessions of `syncproto` between replicas in memory.

Everything that decides is the code that nodes run (`session`, `merge`, `delta`, `frontier`);
what is here is the way in and out, and the record for the checkers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from syncnode.links.exchange import perform
from syncproto.delta import Chunk
from syncproto.directions import Directions
from syncproto.frontier import Frontier
from syncproto.identity import Dot, Origin, SiteId
from syncproto.memory import MemoryReplica
from syncproto.replica import Receipt, Standing
from syncproto.row import Value
from syncproto.session import Answer, Call, Effect, Finish, Send
from syncsim.checkers.ending import Ending
from syncsim.checkers.lost_writes import lost
from syncsim.events import Transaction
from syncsim.history import History, RecordedSite, SiteState
from syncsim.member import Member, Message, Place
from syncsim.rules.port import Setting
from syncsim.schema import TABLES
from syncsim.subject import MemorySubject

NETWORK = b"syncsim!"


@dataclass
class Commits:
    """When the writes of each changeset were committed, for the staleness of what arrives."""

    by_dot: dict[Dot, list[int]] = field(default_factory=dict)


class Ours:
    """The rule of this name; see `port.Rule`."""

    name = "ours"
    summary = "each cell goes to the greater stamp; what gives way is put on record"
    source = "protocol/README.md"
    anchored = True

    def __init__(self) -> None:
        self._commits = Commits()

    def member(self, number: int, setting: Setting) -> "OurMember":
        return OurMember(number, setting, self._commits)

    def is_over(self, _members: Sequence[Member]) -> bool:
        return False

    def lost_updates(self, members: Sequence[Member], history: History) -> int:
        states = [member.state() for member in members if isinstance(member, OurMember)]
        return sum(1 for _ in lost(Ending(history, states)))


class OurMember:
    """One site of the shipped protocol.

    Attributes:
        record: The replica, with everything that happens to it on record.
    """

    def __init__(
        self, number: int, setting: Setting, commits: Commits, copy: MemoryReplica | None = None
    ) -> None:
        self.number = number
        self._setting = setting
        self._commits = commits
        self._pending_ms: list[int] = []
        self._version = 0
        origin = Origin(self.site, 1)
        replica = copy or MemoryReplica(
            origin,
            setting.tables(number) or tuple(TABLES),
            network=NETWORK,
            wall_ms=lambda: setting.wall_ms(number),
            nonce=lambda: setting.nonce(number),
            rows_max=setting.scenario.gossip.rows_max,
            delete_wins=setting.scenario.delete_wins,
        )
        self.record = RecordedSite(MemorySubject(replica), origin, setting.history)

    @property
    def site(self) -> SiteId:
        return self._setting.site_ids[self.number]

    @property
    def replica(self) -> MemoryReplica:
        subject = self.record.subject
        assert isinstance(subject, MemorySubject), "made above"
        return subject.replica

    # The application

    def execute(self, transaction: Transaction) -> int:
        setting, record = self._setting, self.record
        wall_ms, now_ms = setting.wall_ms(self.number), setting.now_ms()
        before = len(setting.history.writes)
        for statement in transaction.statements:
            if statement.table not in record.tables:
                continue
            place = (statement.table, statement.key)
            if statement.values is None:
                record.delete(place, wall_ms)
                continue
            here = self.replica.read(*place) is not None
            names = statement.changed if here else statement.values
            record.write(place, {name: statement.values[name] for name in names}, wall_ms)
        written = len(setting.history.writes) - before
        self._pending_ms += [now_ms] * written
        self._version += 1
        return written

    # Exchanges

    def call(self, peer: int) -> "OurConversation":
        return OurConversation(self, Call(self._setting.site_ids[peer]))

    def answer(self, peer: int, message: Message) -> Message:
        answer = Answer(self._setting.site_ids[peer])
        effect, _ = perform(answer, self, answer.receive(message.body))
        assert isinstance(effect, Send), "only a turn that waits is awaited"
        return self.said(effect)

    def said(self, effect: Send) -> Message:
        fixed_bytes, row_bytes = self._setting.sizes.of(effect.turn)
        chunk = effect.turn.chunk
        return Message(effect.turn, fixed_bytes, row_bytes, chunk.row_count if chunk else 0)

    # The replica, as sessions see it

    def standing(self, peer: SiteId) -> Standing:
        standing = self.record.standing(peer)
        if self._pending_ms:
            dot = Dot(standing.origin, standing.latest.seq)
            self._commits.by_dot[dot] = self._pending_ms
            self._pending_ms = []
        return standing

    def chunk(self, base: Frontier, after: int, bytes_max: int = 0) -> Chunk:
        return self.record.chunk(base, after, bytes_max)

    def receive(self, chunk: Chunk) -> Receipt:
        before = self.replica.frontier
        receipt = self.record.receive(chunk)
        self._version += receipt.taken
        if receipt.applied:
            self._tell_arrivals(before, self.replica.frontier)
        return receipt

    def heard(self, peer: SiteId, frontier: Frontier, directions: Directions) -> None:
        self._version += self.replica.peers.get(peer) != frontier
        self.record.heard(peer, frontier, directions)

    def renew(self, incarnation: int, common_seq: int) -> None:
        self._version += 1
        self.record.renew(incarnation, common_seq)

    def _tell_arrivals(self, before: Frontier, after: Frontier) -> None:
        told: set[Dot] = set()
        arrived, by_dot = self._setting.arrived, self._commits.by_dot
        for old, new in before.pairs(after):
            for origin, entry in old.news(new):
                for seq in range(old.seq(origin) + 1, entry.seq + 1):
                    dot = Dot(origin, seq)
                    if dot not in told and origin.site != self.site:
                        told.add(dot)
                        for committed_ms in by_dot.get(dot, ()):
                            arrived(self.number, committed_ms, 1)

    # What the world asks

    @property
    def version(self) -> int:
        return self._version

    @property
    def idle(self) -> bool:
        return not (self.replica.aside or self.replica.stages or self.replica.journal)

    @property
    def conflicts(self) -> int:
        return len(self.replica.conflicts)

    def holds(self) -> Mapping[str, object]:
        self.standing(self.site)
        frontier = self.replica.frontier
        return {
            table: (len(vector.entries), vector.total(), bool(self.replica.aside))
            for table, vector in frontier.vectors.items()
        }

    def latest_ms(self) -> int:
        """The latest time that any stamp here bears, of what is kept aside too."""
        self.standing(self.site)  # what people wrote just now is stamped as well
        rows = [row for kept in self.replica.aside.values() for row in kept]
        return max([self.replica.hlc, *(row.hlc for row in rows)]) >> 16

    def visible(self) -> Mapping[Place, Mapping[str, Value]]:
        return self.replica.visible()

    def parked(self) -> int:
        alive = sum(row.alive for row in self.replica.rows.values())
        return max(0, alive - len(self.replica.visible()))

    def state(self) -> SiteState:
        return self.record.state()

    # Misfortunes

    def restarted(self) -> None:
        """The process is killed and started again: what a replica in memory holds stands for
        what is durable, so all of it stays."""
        self._version += 1

    def backup(self) -> Callable[[bool], None]:
        self.standing(self.site)  # the journal is sealed, so no write is copied half done
        put_back, seen = self.record.subject.backup(), self.record.seen

        def restore(anchor: bool) -> None:
            self.standing(self.site)
            was = self.replica.origin
            self.record.subject = put_back()
            self.record.seen = seen
            self._version += 1
            if anchor:
                # As a node does at its start, before anything is sealed.
                replica = self.replica
                replica.renew(was.incarnation + 1, replica.frontier.seq(replica.origin))
            else:
                self._setting.history.rolled_back.add(self.site)

        return restore

    def lacks_own(self, other: "OurMember") -> bool:
        """Whether `other` knows changesets of this site that this site has not."""
        own = self.replica.origin
        return other.replica.frontier.seq(own) > self.replica.frontier.seq(own)

    def twin(self, number: int) -> "OurMember":
        self.standing(self.site)
        twin = OurMember(number, self._setting, self._commits, self.replica.copied())
        twin.record.seen = self.record.seen
        replica = twin.replica
        # Its node finds an anchor that was written on another machine.
        replica.renew(replica.origin.incarnation + 1, replica.frontier.seq(replica.origin))
        return twin

    @property
    def seen(self) -> int:
        return self.record.seen

    @property
    def incarnation(self) -> int:
        return self.replica.origin.incarnation


class OurConversation:
    """The calling side of one exchange."""

    def __init__(self, member: OurMember, session: Call) -> None:
        self._member = member
        self._session = session
        self.complete = False
        self.alarms: tuple[str, ...] = ()

    def start(self) -> Message | None:
        return self._on(self._session.start())

    def receive(self, answer: Message) -> Message | None:
        return self._on(self._session.receive(answer.body))

    def _on(self, effects: list[Effect]) -> Message | None:
        effect, _ = perform(self._session, self._member, effects)
        if isinstance(effect, Send):
            return self._member.said(effect)
        assert isinstance(effect, Finish), "a caller never awaits"
        self.complete = effect.complete
        self.alarms = effect.alarms
        return None
