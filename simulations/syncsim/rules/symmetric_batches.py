"""What nodes of SymmetricDS send each other (`symmetric.py`): captured events in batches of CSV."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from syncproto.identity import RowKey
from syncproto.row import Reference, Value
from syncsim.member import Place
from syncsim.rules.rows import Image, image
from syncsim.schema import all_columns

OWN = -1  # in place of a neighbour: captured from what people wrote here
NOWHERE = ("", RowKey(b""))


class Kind(Enum):
    """What a captured event is."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"
    ASK = "bsh"  # a script: whoever has a newer capture of the row is to send it
    LOAD = "load"  # a row of an initial load
    LOADED = "loaded"  # the end of that


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a batch.

    Attributes:
        old, new: The images of the row.
        time_ms: When it was captured; of ASK, when the winner was.
        source: The neighbour that it was loaded from, or OWN; of ASK, who sent the winner.
        number: Of the write, for the figures.
        transaction: Events of one are not parted.
        seen: With LOADED what the node had seen, as bits.
    """

    kind: Kind
    place: Place
    old: Image | None = None
    new: Image | None = None
    time_ms: int = 0
    source: int = OWN
    number: int = 0
    transaction: int = 0
    seen: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    number: int
    events: tuple[Event, ...]


def fits(event: Event, here: Image | None) -> bool:
    """Whether the row is here as the source had it before, as far as it changed it."""
    if event.kind is Kind.INSERT or here is None:
        return event.kind is Kind.INSERT and here is None
    if event.old is None or event.new is None:
        return True  # a delete asks for the key alone
    return all(
        mine == old
        for mine, old, new in zip(here.values, event.old.values, event.new.values, strict=True)
        if old != new
    )


def applied(event: Event, here: Image | None) -> Image | None:
    """The row after a change that fits."""
    old, new = event.old, event.new
    if here is None or old is None or new is None or here == old:
        return new
    changed = [mine != theirs for mine, theirs in zip(old.values, new.values, strict=True)]
    return image(
        event.place,
        [n if c else h for c, n, h in zip(changed, new.values, here.values, strict=True)],
        [n if c else h for c, n, h in zip(changed, new.by, here.by, strict=True)],
    )


# What it looks like on the wire


def text(batch: Batch) -> str:
    lines = ["nodeid,00001", "binary,BASE64", "channel,default", f"batch,{batch.number}"]
    table, base_ms = "", batch.events[0].time_ms
    lines.append(f"basetime,{base_ms}")
    for event in batch.events:
        if event.kind is Kind.LOADED:
            continue
        if event.place[0] != table:
            table = event.place[0]
            columns = ",".join(("uuid", *all_columns(table)))
            lines += ["catalog,", "schema,", f"table,{table}", "keys,uuid", f"columns,{columns}"]
        lines += _lines(event, base_ms)
    return "\n".join([*lines, f"commit,{batch.number}"])


def _lines(event: Event, base_ms: int) -> Iterator[str]:
    key = f'"{event.place[1].hex()}"'
    if event.kind is Kind.ASK:
        yield (
            'bsh,"if (context != void && context != null) { engine.getDataService()'
            ".sendNewerDataToNode(context.findTransaction(), SOURCE_NODE_ID, "
            f'\\"{event.place[0]}\\", \\"{event.place[1].hex()}\\", new Date({event.time_ms}L), '
            f'\\"{event.source:05}\\"); }}"'
        )
        return
    if event.kind is not Kind.LOAD:
        yield f"ts,{event.time_ms - base_ms}"
    if event.old is not None:
        yield f"old,{key},{_csv(event.old.values)}"
    if event.new is None:
        yield f"delete,{key}"
    elif event.old is not None:
        yield f"update,{key},{_csv(event.new.values)},{key}"
    else:
        yield f"insert,{key},{_csv(event.new.values)}"


def _csv(values: Sequence[Value]) -> str:
    return ",".join(map(_field, values))


def _field(value: Value) -> str:
    if value is None:
        return ""
    text = value.key.hex() if isinstance(value, Reference) else str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
