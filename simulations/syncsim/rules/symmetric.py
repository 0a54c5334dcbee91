"""SymmetricDS as it is set up when nobody configures conflicts.

A trigger captures each changed row: its old image, its new one, and the time. Changes wait for
each neighbour in batches, in order; a batch is loaded whole or not at all, and acknowledged by its
number. A load changes the columns that changed at the source, and asks that they have the old
values here (USE_CHANGED_DATA); an insert asks that there is no such row; a delete asks for the key
alone. If that is not so there is a conflict, and the newer capture wins (NEWER_WINS): unless this
node has captured the same row later (for equal times the greater node wins), the whole new image is
written, kept among the captures, and every other neighbour is asked for something newer; whoever
has that sends its capture. What loses is ignored. Nothing is recorded but counts.

So a change without a conflict touches its columns only, and one with a conflict the whole row: with
other orders of arrival rows become different and stay so.

Two ways to set it up are documented, and which one is taken follows from the scenario:
- four nodes at most, each linked with every other: each sends its changes to all, and what was
  loaded is not captured again (with more nodes one conflict makes each of them ask every other, the
  answers are conflicts again, and a hot row fills the network with questions);
- otherwise tiers (`hierarchy.py`): a site with several neighbours captures again what it loads
  (`sync_on_incoming_batch`), at that moment and by its own clock, and sends it on to all but the
  source.
A new node gets an initial load from its parent (or in reverse), which loads without conflicts and
is not sent on. A restored node begins again with batch numbers that its neighbours have loaded
already, so they acknowledge without looking.

Source: SymmetricDS User Guide, sections "Conflicts" ("Without any overriding configuration, the
system uses a detection of USE_CHANGED_DATA and a resolution of NEWER_WINS by default"), "Channels",
"Group Links", "Bi-Directional Synchronization", "Multi-Tiered Synchronization" and "Data Format"
(https://github.com/JumpMind/symmetric-ds, symmetric-assemble/src/asciidoc). What the guide leaves
open follows the code: which capture of a row counts (`isCaptureTimeNewer`), that other nodes are
asked (`handleWinnerForNewerCaptureWins`), and that a delete is looked up by its key.

Left out: references are not checked; captures are kept for ever, not five days. One channel carries
all, for "transactions will not be preserved across channels"; push and pull are one exchange.

Bytes are those of the documented CSV with old and new images, deflated.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from syncproto.identity import SiteId
from syncsim.bits import members
from syncsim.events import Transaction
from syncsim.member import Message, Place
from syncsim.rules.hierarchy import Routes, full_mesh, tree
from syncsim.rules.port import Setting
from syncsim.rules.rows import Image, Rows
from syncsim.rules.symmetric_batches import (
    NOWHERE,
    OWN,
    Batch,
    Event,
    Kind,
    applied,
    fits,
    text,
)
from syncsim.rules.tree_member import TreeDatabase, TreeMember, TreeRival
from syncsim.rules.weight import Weight
from syncsim.scenario import Scenario

BATCH_ROWS_MAX = 1_000  # `max_batch_size` of a channel
BATCHES_MAX = 60  # `max_batch_to_send`: of one push or pull
MESH_NODES_MAX = 4
ACK_BYTES = 120  # the outcome of a batch with its figures, as a form (estimated)
PULL_BYTES = 100  # the node's name and its token (estimated)


@dataclass(frozen=True, slots=True)
class Push:
    """What one node says to another.

    Attributes:
        sender: Its identity.
        request: The number of its request for an initial load; 0 if it has its data.
        batch: The next one for the other node.
        acknowledged: The batch of the other that was loaded just now; 0 for none.
    """

    sender: SiteId
    request: int
    batch: Batch | None = None
    acknowledged: int = 0


@dataclass
class SymmetricDatabase(TreeDatabase[Event]):
    """What a node remembers.

    Attributes:
        captured: For each row the latest capture from each source.
        batches: For each neighbour the number of the last batch made for it.
        sent: For each neighbour the batch that it has not acknowledged yet.
        received: For each identity of a neighbour the last batch that was loaded.
    """

    captured: dict[Place, dict[int, Event]] = field(default_factory=dict)
    batches: dict[int, int] = field(default_factory=dict)
    sent: dict[int, Batch] = field(default_factory=dict)
    received: dict[SiteId, int] = field(default_factory=dict)

    def copied(self) -> "SymmetricDatabase":
        return SymmetricDatabase(
            self.rows.copied(),
            {peer: deque(events) for peer, events in self.out.items()},
            dict(self.loaded),
            self.loaded_by,
            self.request,
            {place: dict(events) for place, events in self.captured.items()},
            dict(self.batches),
            dict(self.sent),
            dict(self.received),
        )


class Symmetric(TreeRival):
    """The rule of this name; see `port.Rule`."""

    name = "symmetricds"
    summary = (
        "columns merge where the old values agree, else the row captured later wins, whole; "
        "nothing is put on record"
    )
    source = "SymmetricDS User Guide: Conflicts, Channels, Bi-Directional Synchronization"

    def __init__(self) -> None:
        super().__init__()
        self.weight = Weight()
        self.is_mesh = False

    def routes(self, scenario: Scenario) -> Routes:
        mesh = full_mesh(scenario) if len(scenario.sites) <= MESH_NODES_MAX else None
        self.is_mesh = mesh is not None
        return mesh or tree(scenario)

    def member(self, number: int, setting: Setting) -> "SymmetricMember":
        return SymmetricMember(number, setting, self)


class SymmetricMember(TreeMember[SymmetricDatabase]):
    """One node."""

    def __init__(self, number: int, setting: Setting, rule: Symmetric) -> None:
        out = {other: deque[Event]() for other in rule.routes_of(setting.scenario)[number]}
        rows = Rows(number, setting, rule.ledger)
        super().__init__(number, setting, rule, SymmetricDatabase(rows, out))
        self._captures_again = not rule.is_mesh and len(self.neighbours) > 1
        self._weight = rule.weight
        self._transaction = 0

    @property
    def waits(self) -> bool:
        return super().waits or bool(self.database.sent)

    # Capture

    def execute(self, transaction: Transaction) -> int:
        self._transaction += 1
        time_ms, count = self._setting.wall_ms(self.number), 0
        for change in self.rows.changes(transaction):
            self._write(change.place, change.new, change.number)
            self._capture(change.place, change.old, change.new, time_ms, OWN, change.number)
            count += 1
        return count

    def _write(self, place: Place, row: Image | None, number: int) -> None:
        if row is not None:
            self.rows.put(place, row)
        else:
            self.rows.remove(place, number)

    def _capture(
        self,
        place: Place,
        old: Image | None,
        new: Image | None,
        time_ms: int,
        source: int,
        number: int,
    ) -> None:
        """What a trigger does: note the change for all neighbours but the source."""
        kind = Kind.INSERT if old is None else Kind.DELETE if new is None else Kind.UPDATE
        event = Event(kind, place, old, new, time_ms, source, number, self._transaction)
        self._keep(event)
        for peer in self.neighbours:
            if peer != source:
                self._queue(peer, event)

    def _keep(self, event: Event) -> None:
        """For later conflicts; of one source only the latest can matter."""
        captured = self.database.captured.setdefault(event.place, {})
        before = captured.get(event.source)
        if before is None or event.time_ms >= before.time_ms:
            captured[event.source] = event

    def _queue(self, peer: int, event: Event) -> None:
        if event.place[0] in self.tables_of(peer):
            self.database.out[peer].append(event)
            self._version += 1

    # Load

    def load(self, batch: Batch, giver: int, sender: SiteId) -> int:
        """Load a batch that was not loaded before; the number to acknowledge."""
        if batch.number > self.database.received.get(sender, 0):
            self.database.received[sender] = batch.number
            self._transaction += 1
            self._version += 1
            for event in batch.events:
                self._load(event, giver)
        return batch.number

    def _load(self, event: Event, giver: int) -> None:
        match event.kind:
            case Kind.LOAD:
                self._write(event.place, event.new, event.number)
            case Kind.LOADED:
                self.rows.see(members(event.seen))
                self.database.loaded_by = None
            case Kind.ASK:
                self._look_for_newer(event, giver)
            case _:
                self._load_change(event, giver)
                self.rows.see((event.number,))

    def _load_change(self, event: Event, giver: int) -> None:
        here = self.rows.images.get(event.place)
        if fits(event, here):
            self._write_loaded(event, here, applied(event, here), giver)
        elif event.new is not None and self._is_newest(event, giver):
            self._write_loaded(event, here, event.new, giver)
            self._keep(replace(event, source=giver))
            ask = Event(Kind.ASK, event.place, time_ms=event.time_ms, source=giver)
            for peer in self.neighbours:
                if peer != giver:
                    self._queue(peer, replace(ask, transaction=self._transaction))

    def _write_loaded(
        self, event: Event, here: Image | None, row: Image | None, giver: int
    ) -> None:
        self._write(event.place, row, event.number)
        if self._captures_again:
            now_ms = self._setting.wall_ms(self.number)
            self._capture(event.place, here, row, now_ms, giver, event.number)

    def _is_newest(self, event: Event, giver: int) -> bool:
        """Whether nobody but the giver made a later capture of the row, as far as is known here."""
        captured = self.database.captured.get(event.place, {}).items()
        others = [self._rank(capture) for source, capture in captured if source != giver]
        return all(rank < (event.time_ms, self._site_of(giver)) for rank in others)

    def _look_for_newer(self, ask: Event, asker: int) -> None:
        captured = self.database.captured.get(ask.place)
        if captured:
            latest = max(captured.values(), key=self._rank)
            if self._rank(latest) > self._rank(ask):
                self._queue(asker, replace(latest, transaction=self._transaction))

    def _rank(self, event: Event) -> tuple[int, SiteId]:
        """Captures of a row in order: by time, then by the node that they came from.

        Of equal times the product looks at any one; if that is not the last, nodes that have the
        same capture from different neighbours may ask each other for ever.
        """
        return event.time_ms, self._site_of(event.source)

    def _site_of(self, source: int) -> SiteId:
        return self._setting.site_ids[self.number if source == OWN else source]

    def load_for(self, peer: int) -> Iterator[Event]:
        for piece in self.pieces_for(peer, BATCH_ROWS_MAX):
            self._transaction += 1
            for place, row in piece:
                yield Event(Kind.LOAD, place, new=row, transaction=self._transaction)
        yield Event(Kind.LOADED, NOWHERE, transaction=self._transaction, seen=self.seen)

    def drop_queue(self, peer: int) -> None:
        super().drop_queue(peer)
        self.database.sent.pop(peer, None)

    # Exchanges

    def call(self, peer: int) -> "SymmetricConversation":
        return SymmetricConversation(self, peer)

    def answer(self, peer: int, message: Message) -> Message:
        push: Push = message.body
        if not self.meets(peer, push.sender, push.request):
            return self.said(Push(self.site, 0))
        return self.said(self.taken(push, peer))

    def taken(self, push: Push, peer: int) -> Push:
        """What to say to that."""
        self._acknowledged(peer, push.acknowledged)
        loaded = self.load(push.batch, peer, push.sender) if push.batch is not None else 0
        return Push(self.site, self.request_to(peer), self.next_batch(peer), loaded)

    def _acknowledged(self, peer: int, number: int) -> None:
        sent = self.database.sent.get(peer)
        if sent is not None and sent.number == number:
            del self.database.sent[peer]
            self._version += 1

    def next_batch(self, peer: int) -> Batch | None:
        """The one that waits for its acknowledgement, or a new one: whole transactions."""
        database = self.database
        queue = database.out[peer]
        if peer not in database.sent and queue:
            events = [queue.popleft()]
            while queue and (
                len(events) < BATCH_ROWS_MAX or queue[0].transaction == events[-1].transaction
            ):
                events.append(queue.popleft())
            number = database.batches.get(peer, 0) + 1
            database.batches[peer] = number
            database.sent[peer] = Batch(number, tuple(events))
        return database.sent.get(peer)

    def said(self, push: Push) -> Message:
        fixed = PULL_BYTES + (ACK_BYTES if push.acknowledged else 0)
        if push.batch is None:
            return Message(push, fixed)
        batch, by = push.batch, self._setting.scenario.measure.bytes_by
        size = self._weight.of(by, len(batch.events), lambda: text(batch))
        return Message(push, fixed, size, len(batch.events))


class SymmetricConversation:
    """The calling side of one exchange: it pushes a batch, loads one, and so on."""

    def __init__(self, member: SymmetricMember, peer: int) -> None:
        self._member = member
        self._peer = peer
        self._pushes = 0
        self.complete = False
        self.alarms: tuple[str, ...] = ()

    def start(self) -> Message | None:
        member, peer = self._member, self._peer
        if not member.exchanges_with(peer):
            self.complete = True
            return None
        return member.said(Push(member.site, member.request_to(peer), member.next_batch(peer)))

    def receive(self, answer: Message) -> Message | None:
        member, peer, push = self._member, self._peer, answer.body
        self._pushes += 1
        if member.meets(peer, push.sender, push.request):
            more = member.taken(push, peer)
            if self._pushes < BATCHES_MAX and (more.batch is not None or more.acknowledged):
                return member.said(more)
        self.complete = True
        return None
