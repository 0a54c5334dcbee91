"""The row with the later wall clock wins: last-writer-wins as it is mostly built.

Each row bears the time that its writer's clock showed, and the writer's name for equal times. Of
two versions the one with the greater stamp stays, whole; the other is gone. A delete leaves a
tombstone with a stamp like any other, for ever. No logical clock: a write under a clock that is
behind the row's stamp loses at once, at its own site, as it does in Cassandra.

What sites exchange: each keeps a log of all writes that it has, by author and number, and a
version vector that says how far it goes for each author. The caller sends a digest of its vector;
where that is not the same, both send their vectors, and then what the other lacks,
`gossip.rows_max` rows at a time, as long as there is any (the anti-entropy of Demers et al. 1987
with the vectors of Parker et al. 1983, over logs as in Petersen et al., "Flexible Update
Propagation for Weakly Consistent Replication", SOSP 1997). This is the simplest form that works
over any network. The log is never cut short: a site that is built anew replays it from a neighbour.

A site that was restored does not notice: it gives the numbers after its backup to new writes, and
peers that have others under these numbers never ask for them.

Sources: Johnson and Thomas, "The Maintenance of Duplicate Databases", RFC 677, 1975 (the rule);
https://docs.datastax.com/en/datastax-drivers/developing/query-timestamps.html (a product that has
it, there for cells).

Bytes are those of JSON, deflated; a vector takes 20 bytes for each author, a digest 32.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from syncproto.identity import SiteId
from syncproto.row import Reference
from syncsim.events import Transaction
from syncsim.member import Member, Message, Place
from syncsim.rules.port import Setting
from syncsim.rules.rival import Rival, RivalMember
from syncsim.rules.rows import Image, Ledger, Rows
from syncsim.rules.weight import Weight
from syncsim.schema import TABLES, all_columns

FIXED_BYTES = 32  # of a message with nothing in it: its kind, the sender, a digest
ENTRY_BYTES = 20  # of a vector: 16 for the author, 4 for the number

_seq = attrgetter("seq")

Vector = Mapping[SiteId, int]
"""For each author the last of its writes that is here."""


@dataclass(frozen=True, slots=True)
class Version:
    """One write: the row as its author left it; None where it was deleted.

    Attributes:
        author, seq: Its name.
        stamp: What the author's clock showed, and the author.
        number: Of the write, for the figures.
    """

    author: SiteId
    seq: int
    place: Place
    stamp: tuple[int, SiteId]
    image: Image | None
    number: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What one site says to another.

    Attributes:
        vector: How far its logs go.
        first: Only a digest of the vector is sent.
        same: The answer to that, if the digests are equal.
        versions: What the other lacks, or a part of it, by author in ascending numbers.
        spans: For each author of those, after and up to which number they go.
    """

    vector: Vector
    first: bool = False
    same: bool = False
    versions: tuple[Version, ...] = ()
    spans: Mapping[SiteId, tuple[int, int]] = field(default_factory=dict)


@dataclass
class LwwDatabase:
    """What a site remembers.

    Attributes:
        standing: Of each row that was ever here the version that won.
        logs: For each author its writes, in order; without those of tables not kept.
        vector: How far they go.
    """

    rows: Rows
    standing: dict[Place, Version] = field(default_factory=dict)
    logs: dict[SiteId, list[Version]] = field(default_factory=dict)
    vector: dict[SiteId, int] = field(default_factory=dict)

    def copied(self) -> "LwwDatabase":
        logs = {author: list(log) for author, log in self.logs.items()}
        return LwwDatabase(self.rows.copied(), dict(self.standing), logs, dict(self.vector))


class RowLww(Rival):
    """The rule of this name; see `port.Rule`."""

    name = "row-lww"
    summary = "the row with the later wall clock wins, whole; nothing is put on record"
    source = "Johnson and Thomas, RFC 677, 1975; Cassandra drivers: Query timestamps"

    def __init__(self) -> None:
        super().__init__()
        self._weight = Weight()

    def member(self, number: int, setting: Setting) -> "LwwMember":
        return LwwMember(number, setting, self.ledger, self._weight)

    def is_over(self, members: Sequence[Member]) -> bool:
        sites = [member for member in members if isinstance(member, LwwMember)]
        return all(site.database.vector == sites[0].database.vector for site in sites)


class LwwMember(RivalMember[LwwDatabase]):
    """One site."""

    def __init__(self, number: int, setting: Setting, ledger: Ledger, weight: Weight) -> None:
        super().__init__(number, setting, LwwDatabase(Rows(number, setting, ledger)))
        self._weight = weight

    def execute(self, transaction: Transaction) -> int:
        author = self.rows.site
        stamp = (self._setting.wall_ms(self.number), author)
        count = 0
        for change in self.rows.changes(transaction):
            seq = self.database.vector.get(author, 0) + 1
            self._take(Version(author, seq, change.place, stamp, change.new, change.number))
            self.database.vector[author] = seq
            count += 1
        self._version += bool(count)
        return count

    def _take(self, version: Version) -> None:
        """Log it; it stands if no later one is here."""
        database, place = self.database, version.place
        database.logs.setdefault(version.author, []).append(version)
        # Equal: the author wrote twice in a millisecond, and the second is the later one.
        if version.stamp >= database.standing.get(place, version).stamp:
            database.standing[place] = version
            if version.image is not None:
                self.rows.put(place, version.image)
            else:
                self.rows.remove(place, version.number)

    # Exchanges

    def call(self, peer: int) -> "LwwConversation":
        return LwwConversation(self, peer)

    def answer(self, peer: int, message: Message) -> Message:
        turn: Turn = message.body
        if turn.first:
            same = turn.vector == self.database.vector
            return self.said(Turn(dict(self.database.vector), same=same))
        self.take(turn)
        return self.said(self.turn_for(peer, turn.vector))

    def take(self, turn: Turn) -> None:
        vector = self.database.vector
        taken: list[int] = []
        for version in turn.versions:
            begins, _ = turn.spans[version.author]
            # A message that is late may begin after what a restored site has.
            if begins <= vector.get(version.author, 0) < version.seq:
                self._take(version)
                vector[version.author] = version.seq
                taken.append(version.number)
        for author, (begins, ends) in turn.spans.items():
            if begins <= vector.get(author, 0) < ends:
                vector[author] = ends
                self._version += 1
        self._version += bool(taken)
        self.rows.see(taken)

    def turn_for(self, peer: int, theirs: Vector) -> Turn:
        """What the peer lacks, as far as it goes into one message."""
        tables = frozenset(self._setting.tables(peer) or TABLES)
        left = self._setting.scenario.gossip.rows_max
        versions: list[Version] = []
        spans: dict[SiteId, tuple[int, int]] = {}
        for author, ends in self.database.vector.items():
            begins = theirs.get(author, 0)
            if begins >= ends or not left:
                continue
            log = self.database.logs.get(author, [])
            at = bisect_right(log, begins, key=_seq)
            lacking = [version for version in log[at:] if version.place[0] in tables]
            if len(lacking) > left:
                lacking = lacking[:left]
                ends = lacking[-1].seq
            left -= len(lacking)
            versions += lacking
            spans[author] = (begins, ends)
        return Turn(dict(self.database.vector), versions=tuple(versions), spans=spans)

    def said(self, turn: Turn) -> Message:
        fixed = FIXED_BYTES
        if not (turn.first or turn.same):
            fixed += ENTRY_BYTES * len(turn.vector)
        count = len(turn.versions)
        by = self._setting.scenario.measure.bytes_by
        size = self._weight.of(by, count, lambda: _text(turn.versions)) if count else 0
        return Message(turn, fixed, size, count)


class LwwConversation:
    """The caller's side of one exchange."""

    def __init__(self, member: LwwMember, peer: int) -> None:
        self._member = member
        self._peer = peer
        self.complete = False
        self.alarms: tuple[str, ...] = ()

    def start(self) -> Message | None:
        member = self._member
        return member.said(Turn(dict(member.database.vector), first=True))

    def receive(self, answer: Message) -> Message | None:
        turn: Turn = answer.body
        self._member.take(turn)
        if not turn.same:
            mine = self._member.turn_for(self._peer, turn.vector)
            if mine.spans or self._lacks(turn.vector):
                return self._member.said(mine)
        self.complete = True
        return None

    def _lacks(self, theirs: Vector) -> bool:
        mine = self._member.database.vector
        return any(mine.get(author, 0) < seq for author, seq in theirs.items())


def _text(versions: Sequence[Version]) -> str:
    return json.dumps([_plain(version) for version in versions], separators=(",", ":"))


def _plain(version: Version) -> list[object]:
    table, key = version.place
    row = None
    if version.image is not None:
        named = zip(all_columns(table), version.image.values, strict=True)
        row = {
            name: value.key.hex() if isinstance(value, Reference) else value
            for name, value in named
        }
    return [table, key.hex(), version.author.hex(), version.seq, version.stamp[0], row]
