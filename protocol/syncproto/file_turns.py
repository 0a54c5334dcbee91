"""What two sites say to each other about the content of files: who asks for what, and pieces of it.

Both sides say the same kind of turn, so that a site which only ever answers gets content, too:
what it asks for in an answer comes with the caller's next turn. Content is named by its SHA-256,
and any piece of it may be asked for, so nothing is lost when a link dies at any byte.

    turn  = version, flags, compression, room, body
    body  = number of asks, lacking, pieces; asks; digests; pieces
    ask   = digest, offset, length;  piece = digest, offset, length, bytes

All numbers are big-endian. The body is compressed unless that makes it longer.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from syncproto.compression import NO_DICTIONARY, deflated, inflated
from syncproto.errors import IncompatiblePeerError, LimitExceededError, MalformedMessageError

VERSION = 1
DIGEST_BYTES = 32
ASKS_MAX = 64  # small files asked for at once: a question and its answer cost 450 bytes of headers
ROOM_BYTES_MAX = 1 << 20  # of pieces in one turn: what a link that breaks may lose
_LATER = 1
_HEAD, _COUNTS = struct.Struct(">BBBI"), struct.Struct(">HHH")
_ASK = struct.Struct(">32sQI")
BODY_BYTES_MAX = _COUNTS.size + ASKS_MAX * (2 * _ASK.size + DIGEST_BYTES) + ROOM_BYTES_MAX


class Ask(NamedTuple):
    """A piece of some content that the speaker wants."""

    digest: bytes
    offset: int
    length: int


class Piece(NamedTuple):
    """A piece of some content."""

    digest: bytes
    offset: int
    content: bytes


@dataclass(frozen=True, slots=True)
class FileTurn:
    """What one side says.

    Attributes:
        asks: What it wants, in the order in which it wants it.
        room: Bytes of pieces that the next turn to it may bring.
        lacking: Of what it was asked for, what it has not got.
        pieces: Of what it was asked for, what it has got.
        later: Rows are to be exchanged first: it was asked too early.
    """

    asks: tuple[Ask, ...] = ()
    room: int = 0
    lacking: tuple[bytes, ...] = ()
    pieces: tuple[Piece, ...] = ()
    later: bool = False

    @property
    def is_idle(self) -> bool:
        """Nothing is asked for, and nothing answered."""
        return not (self.asks or self.lacking or self.pieces)


def shared_out(asks: Iterable[Ask], room: int) -> list[Ask]:
    """The asks that fit into `room`, the last of them shortened to what is left."""
    fitting = []
    for ask in asks:
        if room <= 0:
            break
        fitting.append(ask._replace(length=min(ask.length, room)))
        room -= fitting[-1].length
    return fitting


def encode_file_turn(turn: FileTurn) -> bytes:
    parts = [_COUNTS.pack(len(turn.asks), len(turn.lacking), len(turn.pieces))]
    parts += [_ASK.pack(*ask) for ask in turn.asks]
    parts += turn.lacking
    for piece in turn.pieces:
        parts += [_ASK.pack(piece.digest, piece.offset, len(piece.content)), piece.content]
    compression, body = deflated(b"".join(parts))
    return _HEAD.pack(VERSION, _LATER if turn.later else 0, compression, turn.room) + body


def decode_file_turn(encoded: bytes) -> FileTurn:
    """The inverse of `encode_file_turn`.

    Raises:
        MalformedMessageError: The bytes are no turn, or go beyond a limit.
        IncompatiblePeerError: They are of another version.
    """
    if len(encoded) < _HEAD.size:
        raise MalformedMessageError("the message about files ends too early")
    version, flags, compression, room = _HEAD.unpack_from(encoded)
    if version != VERSION:
        raise IncompatiblePeerError(
            f"the peer speaks of files in version {version}, this node in {VERSION}: upgrade the "
            "older of the two"
        )
    packed = encoded[_HEAD.size :]
    body = _Body(inflated(compression, NO_DICTIONARY, packed, bytes_max=BODY_BYTES_MAX))
    asks, lacking, pieces = _COUNTS.unpack(body.take(_COUNTS.size))
    if max(asks, lacking, pieces) > ASKS_MAX or room > ROOM_BYTES_MAX:
        raise LimitExceededError("the message about files asks for too much at once")
    turn = FileTurn(
        tuple(Ask(*_ASK.unpack(body.take(_ASK.size))) for _ in range(asks)),
        room,
        tuple(body.take(DIGEST_BYTES) for _ in range(lacking)),
        tuple(body.piece() for _ in range(pieces)),
        later=bool(flags & _LATER),
    )
    body.end()
    return turn


class _Body:
    """Bytes that are read from the front."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def take(self, count: int) -> bytes:
        taken = self._content[self._at : self._at + count]
        if len(taken) < count:
            raise MalformedMessageError("the message about files ends too early")
        self._at += count
        return taken

    def piece(self) -> Piece:
        digest, offset, length = _ASK.unpack(self.take(_ASK.size))
        return Piece(digest, offset, self.take(length))

    def end(self) -> None:
        if self._at < len(self._content):
            raise MalformedMessageError("the message about files goes on after its end")
