"""Last in wins, by arrival: OpenMRS's Sync module 1.x, as its documentation describes it.

Each transaction becomes one record with the full image of every object in it. A child asks its
parent for records, ingests them, confirms each and sends its own, which the parent ingests and
confirms: fifty each way at most (`sync.max_records.web`), strictly in order. Whoever ingests a
record hands it on to all neighbours but the one that it came from, under the uuid that it had
first; a record whose uuid is known is confirmed and not ingested again. There is "no means for
conflict handling or resolution": what arrives replaces the whole object. So two sites that edit one
object unknown to each other end with each other's image, or with one that a third site overwrote.

Source: https://github.com/openmrs/openmrs-module-sync (README, "Conflict Handling/Resolution";
`SyncUtilTransmission`, `SyncIngestServiceImpl`).

What is kinder here than there: after five transmissions a record stops the module until an
administrator has acted, here it is sent again for ever; an object that refers to one that is
missing stops it too, here it is written; whoever calls, the exchange is the one that a child
begins, and its second half is left out where nobody has anything. The module knows trees only
(`hierarchy.py`). A new child starts from a dump of its parent's database.

Bytes are those of the records as XML, deflated, as `sync.enable_compression` does.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import islice
from xml.sax.saxutils import escape

from syncproto.identity import SiteId
from syncproto.row import Reference, Value
from syncsim.bits import members
from syncsim.events import Transaction
from syncsim.member import Message, Place
from syncsim.rules.port import Setting
from syncsim.rules.rows import Image, Rows
from syncsim.rules.tree_member import TreeDatabase, TreeMember, TreeRival
from syncsim.rules.weight import Weight, deflated
from syncsim.schema import all_columns

RECORDS_MAX = 50  # `sync.max_records.web`
ROWS_OF_A_DUMP = 1_000  # sent as one record here
NO_WRITE = -1  # in place of a write's number, in a dump


@dataclass(frozen=True, slots=True)
class Item:
    """One object of a record: its image, None where it was deleted, and the write's number."""

    place: Place
    image: Image | None
    number: int


@dataclass(frozen=True, slots=True)
class Record:
    """One transaction, or a part of a dump.

    Attributes:
        uuid: The original one, kept through the network.
        dumped: Of the last part of a dump what its server had seen, as bits; None otherwise.
    """

    uuid: int
    items: tuple[Item, ...]
    dumped: int | None = None


@dataclass(frozen=True, slots=True)
class Transmission:
    """What one server says to another.

    Attributes:
        sender: Its uuid.
        request: The number of its request for a dump; 0 if it has its data.
        asks: The first message of an exchange.
        confirmed: The uuids of the records that it has ingested in this exchange.
    """

    sender: SiteId
    request: int
    asks: bool = False
    records: tuple[Record, ...] = ()
    confirmed: tuple[int, ...] = ()


@dataclass
class ArrivalDatabase(TreeDatabase[Record]):
    """What a server remembers.

    Attributes:
        known: The uuids of its own records and of those that it has ingested, a byte for each.
    """

    known: bytearray = field(default_factory=bytearray)

    def copied(self) -> "ArrivalDatabase":
        return ArrivalDatabase(
            self.rows.copied(),
            {peer: deque(records) for peer, records in self.out.items()},
            dict(self.loaded),
            self.loaded_by,
            self.request,
            bytearray(self.known),
        )


class Arrival(TreeRival):
    """The rule of this name; see `port.Rule`."""

    name = "arrival"
    summary = "the last to arrive wins, with the whole object; nothing is put on record"
    source = "OpenMRS Sync module 1.x, README: Conflict Handling/Resolution"

    def __init__(self) -> None:
        super().__init__()
        self.uuids = 0
        self.weighing_records = Weight()
        self.weighing_confirmations = Weight()

    def member(self, number: int, setting: Setting) -> "ArrivalMember":
        return ArrivalMember(number, setting, self)

    def uuid(self) -> int:
        """A new one."""
        self.uuids += 1
        return self.uuids


class ArrivalMember(TreeMember[ArrivalDatabase]):
    """One server."""

    def __init__(self, number: int, setting: Setting, rule: Arrival) -> None:
        out = {other: deque[Record]() for other in rule.routes_of(setting.scenario)[number]}
        rows = Rows(number, setting, rule.ledger)
        super().__init__(number, setting, rule, ArrivalDatabase(rows, out))
        self._uuid = rule.uuid
        self._weighing_records = rule.weighing_records
        self._weighing_confirmations = rule.weighing_confirmations

    def execute(self, transaction: Transaction) -> int:
        items = []
        for change in self.rows.changes(transaction):
            if change.new is not None:
                self.rows.put(change.place, change.new)
            else:
                self.rows.remove(change.place, change.number)
            items.append(Item(change.place, change.new, change.number))
        if items:
            record = Record(self._uuid(), tuple(items))
            self._note_known(record)
            self._hand_on(record, None)
        return len(items)

    def _hand_on(self, record: Record, giver: int | None) -> None:
        self._version += 1
        for peer, queue in self.database.out.items():
            if peer != giver:
                tables = self.tables_of(peer)
                items = tuple(item for item in record.items if item.place[0] in tables)
                if len(items) == len(record.items):
                    queue.append(record)
                elif items:
                    queue.append(replace(record, items=items))

    def _note_known(self, record: Record) -> bool:
        """Whether its uuid is new here."""
        known = self.database.known
        if record.uuid >= len(known):
            known.extend(bytes(record.uuid + 1 - len(known)))
        is_new = not known[record.uuid]
        known[record.uuid] = 1
        return is_new

    def load_for(self, peer: int) -> Iterator[Record]:
        pieces = [*self.pieces_for(peer, ROWS_OF_A_DUMP)]
        for number, piece in enumerate(pieces, 1):
            items = tuple(Item(place, row, NO_WRITE) for place, row in piece)
            yield Record(self._uuid(), items, self.seen if number == len(pieces) else None)

    def ingest(self, record: Record, giver: int) -> None:
        """Whatever is here, the record's images replace it."""
        if not self._note_known(record):
            return
        for item in record.items:
            if item.image is not None:
                self.rows.put(item.place, item.image)
            else:
                self.rows.remove(item.place, item.number)
        self._version += 1
        if record.dumped is not None:
            self.rows.see(members(record.dumped))
            self.database.loaded_by = None
        elif record.items[0].number != NO_WRITE:
            self.rows.see(item.number for item in record.items)
            self._hand_on(record, giver)

    # Exchanges

    def call(self, peer: int) -> "ArrivalConversation":
        return ArrivalConversation(self, peer)

    def answer(self, peer: int, message: Message) -> Message:
        heard: Transmission = message.body
        if not self.meets(peer, heard.sender, heard.request):
            return self.said(peer)
        if heard.asks:
            return self.said(peer, records=self.waiting_for(peer))
        self.confirmed_by(peer, heard.confirmed)
        return self.said(peer, confirmed=self.ingested(heard.records, peer))

    def waiting_for(self, peer: int) -> tuple[Record, ...]:
        return tuple(islice(self.database.out[peer], RECORDS_MAX))

    def ingested(self, records: Sequence[Record], giver: int) -> tuple[int, ...]:
        for record in records:
            self.ingest(record, giver)
        return tuple(record.uuid for record in records)

    def confirmed_by(self, peer: int, uuids: Sequence[int]) -> None:
        queue, confirmed = self.database.out[peer], frozenset(uuids)
        while queue and queue[0].uuid in confirmed:
            queue.popleft()
            self._version += 1

    def said(
        self,
        peer: int,
        *,
        asks: bool = False,
        records: tuple[Record, ...] = (),
        confirmed: tuple[int, ...] = (),
    ) -> Message:
        by = self._setting.scenario.measure.bytes_by
        rows = sum(len(record.items) for record in records)
        size = 0
        if records:
            size += self._weighing_records.of(by, rows, lambda: _records_text(records))
        if confirmed:
            size += self._weighing_confirmations.of(
                by, len(confirmed), lambda: _confirmations_text(confirmed)
            )
        body = Transmission(self.site, self.request_to(peer), asks, records, confirmed)
        return Message(body, ENVELOPE_BYTES, size, rows)


class ArrivalConversation:
    """The child's side of one exchange."""

    def __init__(self, member: ArrivalMember, peer: int) -> None:
        self._member = member
        self._peer = peer
        self._gave = False
        self.complete = False
        self.alarms: tuple[str, ...] = ()

    def start(self) -> Message | None:
        if not self._member.exchanges_with(self._peer):
            self.complete = True
            return None
        return self._member.said(self._peer, asks=True)

    def receive(self, answer: Message) -> Message | None:
        member, peer = self._member, self._peer
        heard: Transmission = answer.body
        if member.meets(peer, heard.sender, heard.request):
            if not self._gave:
                self._gave = True
                confirmed = member.ingested(heard.records, peer)
                records = member.waiting_for(peer)
                if confirmed or records:
                    return member.said(peer, records=records, confirmed=confirmed)
            member.confirmed_by(peer, heard.confirmed)
        self.complete = True
        return None


# What it looks like on the wire


def _uuid_text(number: int) -> str:
    digest = blake2b(number.to_bytes(8), digest_size=16).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:]}"


def _records_text(records: Iterable[Record]) -> str:
    return "".join(
        f'<SyncRecord containedClasses="{_classes(record)}" uuid="{_uuid_text(record.uuid)}" '
        f'originalUuid="{_uuid_text(record.uuid)}" state="NEW" retryCount="0" '
        f'timestamp="2026-01-05T08:00:00.000+0200"><items>'
        + "".join(map(_item_text, record.items))
        + "</items></SyncRecord>"
        for record in records
    )


def _classes(record: Record) -> str:
    return ",".join(dict.fromkeys(f"org.openmrs.{item.place[0]}" for item in record.items))


def _item_text(item: Item) -> str:
    table, key = item.place
    state = "DELETED" if item.image is None else "NEW"
    values = item.image.values if item.image is not None else ()
    content = "".join(
        f'<{name} type="{type(value).__name__}">{_value_text(value)}</{name}>'
        for name, value in zip(all_columns(table), values, strict=False)
        if value is not None
    )
    return (
        f'<SyncItem containedType="org.openmrs.{table}" key="{key.hex()}" state="{state}"><content>'
        f"<![CDATA[<org.openmrs.{table}>{content}</org.openmrs.{table}>]]></content></SyncItem>"
    )


def _value_text(value: Value) -> str:
    return value.key.hex() if isinstance(value, Reference) else escape(str(value))


def _confirmations_text(uuids: Iterable[int]) -> str:
    return "".join(
        f'<SyncImportRecord uuid="{_uuid_text(uuid)}" state="COMMITTED" retryCount="0" '
        f'timestamp="2026-01-05T08:00:00.000+0200"/>'
        for uuid in uuids
    )


ENVELOPE_BYTES = deflated(
    f'<?xml version="1.0" encoding="UTF-8"?><SyncTransmission uuid="{_uuid_text(1)}" '
    f'fileName="sync_tx_2026_01_05_08_00_00_000" syncSourceUuid="{_uuid_text(2)}" '
    f'syncTargetUuid="{_uuid_text(3)}" timestamp="2026-01-05T08:00:00.000+0200" '
    'isRequestingTransmission="true" isMaxRetryReached="false"><records/></SyncTransmission>'
)
