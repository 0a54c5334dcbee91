"""Frames: the envelope of a message, the pieces of its body, and strict reading of CBOR items.

A frame is a preamble (what it is, protocol version, compression, dictionary) and one CBOR byte
string, the body. The body, once inflated, is a sequence of CBOR byte strings, the *pieces*;
each holds one CBOR item, or the bytes of one large value. So the length of each item is known
and checked before it is decoded. See "Wire format" in protocol/README.md.
"""

from io import BytesIO
from typing import Any, NoReturn

import cbor2

from syncproto.compression import NO_DICTIONARY, deflated, inflated
from syncproto.errors import IncompatiblePeerError, LimitExceededError, MalformedMessageError
from syncproto.limits import LIMITS, Limits
from syncproto.messages import PROTOCOL_VERSION

TURN, CHUNK = b"ST", b"SC"
PREAMBLE_BYTES = 5
UINT64_MAX = (1 << 64) - 1
INT64_MIN, INT64_MAX = -1 << 63, (1 << 63) - 1

# Every tag that cbor2 would act on: it compiles regular expressions, makes decimals that fill
# the memory, and copies "shared" texts without end. Our items hold no tags at all.
_TAGS = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 100, 256, 258, 260, 261, 1004, 43000)


def _refuse(*_: object) -> NoReturn:
    raise MalformedMessageError("a message of this protocol holds no CBOR tags")


_DENIED: dict[int, Any] = dict.fromkeys(_TAGS, _refuse)


def frame(kind: bytes, pieces: list[bytes]) -> bytes:
    """The pieces as one frame, compressed where that pays.

    Raises:
        LimitExceededError: More than a peer would take.
    """
    body = b"".join(map(_enclosed, pieces))
    if len(body) > LIMITS.inflated_bytes:
        raise LimitExceededError(
            f"a message of {len(body)} bytes: at most {LIMITS.inflated_bytes} may be sent at once"
        )
    compression, packed = deflated(body)
    preamble = kind + bytes((PROTOCOL_VERSION, compression, NO_DICTIONARY))
    return preamble + _enclosed(packed)


def item(value: object) -> bytes:
    """One piece that holds one CBOR item.

    Raises:
        LimitExceededError: A peer would not take an item of this length.
    """
    piece = dumped(value)
    if len(piece) > LIMITS.item_bytes:
        raise LimitExceededError(f"an item of {len(piece)} bytes: {LIMITS.item_bytes} at most")
    return piece


def dumped(value: object) -> bytes:
    """A CBOR item, however long."""
    return cbor2.dumps(value)


def opened(kind: bytes, data: bytes, limits: Limits) -> tuple["Pieces", bytes]:
    """The pieces of the frame at the start of `data`, and what follows the frame.

    Raises:
        IncompatiblePeerError: The frame is of another version of the protocol.
        MalformedMessageError: It is no frame of that kind, or over a limit.
    """
    if len(data) > limits.body_bytes:
        raise LimitExceededError(f"{len(data)} bytes: a message has {limits.body_bytes} at most")
    if len(data) < PREAMBLE_BYTES or data[:2] != kind:
        raise MalformedMessageError(f"the bytes do not start with {kind!r}")
    if data[2] != PROTOCOL_VERSION:
        raise IncompatiblePeerError(
            f"the peer speaks version {data[2]} of the protocol, this node speaks version "
            f"{PROTOCOL_VERSION}: upgrade the older of the two"
        )
    start, end = _bounds(data, PREAMBLE_BYTES)
    body = inflated(data[3], data[4], data[start:end], bytes_max=limits.inflated_bytes)
    return Pieces(body, limits), data[end:]


class Pieces:
    """The pieces of a body, one after another."""

    def __init__(self, body: bytes, limits: Limits) -> None:
        self.limits = limits
        self._body = body
        self._at = 0

    def large_value(self) -> bytes:
        """The next piece as it is."""
        start, end = _bounds(self._body, self._at)
        if end - start > self.limits.value_bytes:
            raise LimitExceededError(
                f"a value of {end - start} bytes: at most {self.limits.value_bytes} may be sent"
            )
        self._at = end
        return self._body[start:end]

    def item(self) -> Any:
        """The item in the next piece."""
        start, end = _bounds(self._body, self._at)
        if end - start > self.limits.item_bytes:
            raise LimitExceededError(
                f"an item of {end - start} bytes: at most {self.limits.item_bytes}"
            )
        self._at = end
        return loaded(self._body[start:end], self.limits)

    @property
    def at_end(self) -> bool:
        """All pieces were read."""
        return self._at == len(self._body)

    def finish(self) -> None:
        """
        Raises:
            MalformedMessageError: There are more bytes than the message has parts.
        """
        if self._at != len(self._body):
            raise MalformedMessageError(f"{len(self._body) - self._at} bytes after the message")


def loaded(piece: bytes, limits: Limits) -> Any:
    """The one CBOR item that `piece` holds, read strictly: no tags, nothing indefinite.

    Raises:
        MalformedMessageError: The piece is not exactly one such item.
    """
    stream = BytesIO(piece)
    decoder = cbor2.CBORDecoder(
        stream,
        semantic_decoders=_DENIED,
        tag_hook=_refuse,
        max_depth=limits.depth,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
    )
    try:
        value = decoder.decode()
    except cbor2.CBORDecodeError as error:
        raise MalformedMessageError(f"no CBOR item of this protocol: {error}") from error
    if stream.tell() != len(piece):
        raise MalformedMessageError(f"{len(piece) - stream.tell()} bytes after a CBOR item")
    return value


def as_list(value: Any, lengths: range) -> list[Any]:
    """`value`, if it is an array with one of these lengths."""
    if type(value) is not list or len(value) not in lengths:
        raise MalformedMessageError(f"expected an array of {lengths.start} or more items")
    return value


def as_int(value: Any, low: int, high: int) -> int:
    """`value`, if it is an integer from `low` to `high`."""
    if type(value) is not int or not low <= value <= high:
        raise MalformedMessageError(f"expected an integer from {low} to {high}")
    return value


def as_bytes(value: Any, length: int) -> bytes:
    """`value`, if it is a byte string of exactly this length."""
    if type(value) is not bytes or len(value) != length:
        raise MalformedMessageError(f"expected {length} bytes")
    return value


def as_text(value: Any, length_max: int) -> str:
    """`value`, if it is a text of at most `length_max` characters."""
    if type(value) is not str:
        raise MalformedMessageError("expected a text")
    if len(value) > length_max:
        raise LimitExceededError(f"a text of {len(value)} characters: {length_max} at most")
    return value


def as_name(value: Any, length_max: int) -> str:
    """`value`, if it can name a table, a column or a scope."""
    name = as_text(value, length_max)
    if not name or "\0" in name:
        raise MalformedMessageError("expected a name: not empty, without NUL")
    return name


def _enclosed(piece: bytes) -> bytes:
    """A CBOR byte string around the piece (RFC 8949, 3.1, major type 2)."""
    length = len(piece)
    if length < 24:
        return bytes((0x40 | length,)) + piece
    if length < 1 << 8:
        return b"\x58" + length.to_bytes(1, "big") + piece
    if length < 1 << 16:
        return b"\x59" + length.to_bytes(2, "big") + piece
    return b"\x5a" + length.to_bytes(4, "big") + piece


def _bounds(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of the CBOR byte string at `at` starts and ends."""
    if at >= len(data) or not 0x40 <= data[at] <= 0x5A:
        raise MalformedMessageError("expected a CBOR byte string")
    length, start = data[at] & 0x1F, at + 1
    if length >= 24:
        width = 1 << (length - 24)
        length, start = int.from_bytes(data[start : start + width], "big"), start + width
    if length > len(data) - start:
        raise MalformedMessageError("the message is cut off")
    return start, start + length
