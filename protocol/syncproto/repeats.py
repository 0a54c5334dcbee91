"""The same again: a turn that says what an earlier one said, in a few bytes.

Most exchanges find nothing new, and then both say the turns that they said before, but for the
time. Over a thin link these are said by name: a hash over the turn without its time. A name is a
hint and no memory that anything rests on: who does not know it says so, and hears the whole turn.

    "SR", version, CBOR [name, wall_ms]            an answer: what I said before
    "SR", version, CBOR [name, wall_ms, held]      a request; `held` names the answer that is known
    "SU", version                                  I do not know what you name: say it whole
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

from syncproto.codec import WALL_MS_MAX, encode_turn, split_turn
from syncproto.errors import IncompatiblePeerError, MalformedMessageError
from syncproto.frames import TURN, as_bytes, as_int, as_list, dumped, loaded
from syncproto.limits import LIMITS
from syncproto.messages import PROTOCOL_VERSION, Turn

T = TypeVar("T")

REPEAT, UNKNOWN = b"SR", b"SU"
NAME_BYTES = 8
NO_NAME = b"\0" * NAME_BYTES
# A turn with a frontier or rows is seldom said twice, and would take memory for nothing.
REPEATED_BYTES_MAX = 256
KNOWN_MAX = 4  # by peer and side: the waiting request and the other, before and after a change


@dataclass(frozen=True, slots=True)
class Repeat:
    """A turn by its name.

    Attributes:
        held: Of a request: the name of the answer that it would not need again; or `NO_NAME`.
    """

    name: bytes
    wall_ms: int
    held: bytes = NO_NAME


def encode_repeat(repeat: Repeat) -> bytes:
    """As bytes."""
    parts: list[object] = [repeat.name, repeat.wall_ms]
    if repeat.held != NO_NAME:
        parts.append(repeat.held)
    return REPEAT + bytes((PROTOCOL_VERSION,)) + dumped(parts)


def encode_unknown() -> bytes:
    """What is said to a name that is not known here."""
    return UNKNOWN + bytes((PROTOCOL_VERSION,))


def is_repeat(body: bytes) -> bool:
    return body[:2] == REPEAT


def is_unknown(body: bytes) -> bool:
    return body[:2] == UNKNOWN


def decode_repeat(body: bytes) -> Repeat:
    """The inverse of `encode_repeat`.

    Raises:
        MalformedMessageError: The bytes are no such message.
        IncompatiblePeerError: The peer speaks another version of the protocol.
    """
    if body[2:3] != bytes((PROTOCOL_VERSION,)):
        raise IncompatiblePeerError(
            "the peer speaks another version of the protocol: upgrade the older of the two"
        )
    if len(body) > REPEATED_BYTES_MAX:
        raise MalformedMessageError("a repeat is short")
    name, wall_ms, *held = as_list(loaded(body[3:], LIMITS), range(2, 4))
    return Repeat(
        as_bytes(name, NAME_BYTES),
        as_int(wall_ms, -WALL_MS_MAX, WALL_MS_MAX),
        as_bytes(held[0], NAME_BYTES) if held else NO_NAME,
    )


class Named(NamedTuple):
    """A turn and its name."""

    name: bytes
    turn: Turn


def named(body: bytes) -> Named | None:
    """The name of a turn that may be said again, and the turn; None for one that is not worth it.

    Raises:
        MalformedMessageError, IncompatiblePeerError: As `split_turn`.
    """
    if len(body) > REPEATED_BYTES_MAX or body[:2] != TURN:
        return None
    turn, chunk = split_turn(body)
    if chunk is not None:
        return None
    timeless = encode_turn(replace(turn, wall_ms=0))
    return Named(hashlib.sha256(timeless).digest()[:NAME_BYTES], turn)


def whole(turn: Turn, repeat: Repeat) -> bytes:
    """The turn as it would be said now."""
    return encode_turn(replace(turn, wall_ms=repeat.wall_ms))


class Known(Generic[T]):
    """Something for each of the last few names."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, T] = OrderedDict()

    def note(self, name: bytes, what: T) -> None:
        self._kept[name] = what
        self._kept.move_to_end(name)
        if len(self._kept) > KNOWN_MAX:
            self._kept.popitem(last=False)

    def get(self, name: bytes) -> T | None:
        return self._kept.get(name)
