"""Turns and chunks to bytes and back, with every limit checked.

A turn is a frame, and the chunk it brings is a second frame behind it, the same bytes as a
chunk alone: what a node has staged as bytes travels on as it is. Within a chunk, rows are
written by columns (`columns.py`), in segments that each fit one CBOR item.

Arbitrary bytes raise `MalformedMessageError` (`LimitExceededError` is one) or
`IncompatiblePeerError`, and nothing else, within the memory that `limits.py` promises. The wire
format is specified in protocol/README.md.
"""

from dataclasses import replace
from typing import Any

from syncproto.blobs import decode_cells, decode_row, encode_cells, encode_row
from syncproto.clock import COUNTER_BITS, HLC_MAX
from syncproto.delta import Chunk, Cursor
from syncproto.directions import EVERY_WAY, Directions
from syncproto.directory import Directory, Names, unique
from syncproto.errors import MalformedMessageError
from syncproto.frames import (
    CHUNK,
    INT64_MAX,
    TURN,
    UINT64_MAX,
    as_bytes,
    as_int,
    as_list,
    as_text,
    frame,
    item,
    opened,
)
from syncproto.frontier import DIGEST_BYTES, Entry
from syncproto.identity import SITE_ID_BYTES, Origin, SiteId
from syncproto.integers import ints, packed_ints
from syncproto.limits import LIMITS, Limits, within
from syncproto.messages import NETWORK_ID_BYTES, Known, Turn
from syncproto.segments import SegmentReader, SegmentWriter

__all__ = [
    "LIMITS",
    "Limits",
    "decode_cells",
    "decode_chunk",
    "decode_row",
    "decode_turn",
    "encode_cells",
    "encode_chunk",
    "encode_row",
    "encode_turn",
    "split_turn",
]

WALL_MS_MAX = HLC_MAX >> COUNTER_BITS
WAIT_MS_MAX = 3_600_000  # an hour; no proxy lets a request wait that long

_HEAD_MIN = 8  # fields of a turn that are always there
_HEAD_REST = (None, 0, None, "", 0, 0)  # what the others have where they are left out
# What a turn has, as bits.
_MORE, _FRONTIER, _SUMS, _LINEAGE, _DIRECTIONS, _KEPT = 1, 2, 4, 8, 16, 32
_NAMING = _FRONTIER | _SUMS | _DIRECTIONS | _KEPT  # needs a directory


def encode_turn(turn: Turn, chunk: bytes | None = None) -> bytes:
    """A turn as bytes; `chunk` is one that is encoded already, in the place of `turn.chunk`.

    Raises:
        LimitExceededError: The turn is more than a peer would take.
        TypeError, ValueError: A value in the chunk that no cell can hold.
    """
    assert chunk is None or turn.chunk is None, "a turn brings one chunk"
    if chunk is None:
        chunk = b"" if turn.chunk is None else encode_chunk(turn.chunk)
    flags = _MORE if turn.more else 0
    directory = Directory()
    pieces: list[bytes] = []
    if turn.frontier is not None:
        flags |= _FRONTIER
        pieces += directory.frontier(turn.frontier)
    if turn.sums is not None:
        flags |= _SUMS
        within(len(turn.sums), LIMITS.scopes, "sums")
        tables = [directory.names[table] for table in turn.sums]
        pieces.append(item([len(tables), packed_ints(tables), packed_ints([*turn.sums.values()])]))
    if turn.directions != EVERY_WAY:
        flags |= _DIRECTIONS
        ways = (turn.directions.unsent, turn.directions.unreceived)
        pieces.append(item([directory.listed(tables) for tables in ways]))
    if turn.kept:
        flags |= _KEPT
        pieces.append(item(directory.listed(turn.kept)))
    if turn.lineage is not None:
        flags |= _LINEAGE
        within(len(turn.lineage), LIMITS.lineage, "changesets of a lineage")
        seqs, nonces = [*turn.lineage], [*turn.lineage.values()]
        pieces.append(item([len(seqs), packed_ints(seqs), packed_ints(nonces)]))
    head: list[Any] = [
        turn.network,
        turn.origin.site,
        turn.origin.incarnation,
        *turn.latest,
        turn.digest,
        turn.wall_ms,
        flags,
        None if turn.known is None else [turn.known.incarnation, *turn.known.entry],
        turn.wait_ms,
        None if turn.cursor is None else [*turn.cursor.sender, turn.cursor.lsn],
        turn.trouble[: LIMITS.trouble_length],
        turn.unshown,
        turn.room,
    ]
    while len(head) > _HEAD_MIN and head[-1] == _HEAD_REST[len(head) - _HEAD_MIN - 1]:
        head.pop()  # what has its usual value at the end is left out
    if flags & _NAMING:
        pieces = [*directory.pieces(), *pieces]
    data = frame(TURN, [item(head), *pieces]) + chunk
    within(len(data), LIMITS.body_bytes, "bytes")
    return data


def decode_turn(data: bytes, limits: Limits = LIMITS) -> Turn:
    """The inverse of `encode_turn`.

    Raises:
        MalformedMessageError: The bytes are no turn, or over a limit.
        IncompatiblePeerError: The peer speaks another version of the protocol.
    """
    turn, chunk = split_turn(data, limits)
    return turn if chunk is None else replace(turn, chunk=decode_chunk(chunk, limits))


def split_turn(data: bytes, limits: Limits = LIMITS) -> tuple[Turn, bytes | None]:
    """A turn without its chunk, and the chunk as bytes, which `decode_chunk` has yet to check.

    Raises:
        As `decode_turn`.
    """
    pieces, chunk = opened(TURN, data, limits)
    head = as_list(pieces.item(), range(_HEAD_MIN, _HEAD_MIN + len(_HEAD_REST) + 1))
    head += _HEAD_REST[len(head) - _HEAD_MIN :]
    network, site, incarnation, seq, nonce, digest, wall_ms, flags = head[:_HEAD_MIN]
    known, wait_ms, cursor, trouble, unshown, room = head[_HEAD_MIN:]
    flags = as_int(flags, 0, 2 * _KEPT - 1)
    if known is not None:
        at, *entry = as_list(known, range(3, 4))
        known = Known(as_int(at, 0, UINT64_MAX), _entry(*entry))
    if cursor is not None:
        sender_site, sender_incarnation, lsn = as_list(cursor, range(3, 4))
        cursor = Cursor(_origin(sender_site, sender_incarnation), as_int(lsn, 0, INT64_MAX))
    frontier = sums = lineage = None
    directions, kept = EVERY_WAY, frozenset[str]()
    directory = Names(pieces) if flags & _NAMING else None
    if directory is not None and flags & _FRONTIER:
        frontier = directory.frontier(pieces)
    if directory is not None and flags & _SUMS:
        count, tables, totals = as_list(pieces.item(), range(3, 4))
        within(as_int(count, 0, INT64_MAX), limits.scopes, "sums")
        named = [directory.name(table) for table in ints(tables, count)]
        sums = unique(named, ints(totals, count, 0))
    if directory is not None and flags & _DIRECTIONS:
        ways = as_list(pieces.item(), range(2, 3))
        directions = Directions(*(directory.listed(tables, limits) for tables in ways))
    if directory is not None and flags & _KEPT:
        kept = directory.listed(pieces.item(), limits)
    if flags & _LINEAGE:
        count, seqs, nonces = as_list(pieces.item(), range(3, 4))
        within(as_int(count, 0, INT64_MAX), limits.lineage, "changesets of a lineage")
        lineage = unique(ints(seqs, count, 0, INT64_MAX), ints(nonces, count, 0))
    pieces.finish()
    turn = Turn(
        network=as_bytes(network, NETWORK_ID_BYTES),
        origin=_origin(site, incarnation),
        latest=_entry(seq, nonce),
        known=known,
        digest=as_bytes(digest, DIGEST_BYTES),
        wall_ms=as_int(wall_ms, -WALL_MS_MAX, WALL_MS_MAX),
        frontier=frontier,
        cursor=cursor,
        sums=sums,
        lineage=lineage,
        wait_ms=as_int(wait_ms, 0, WAIT_MS_MAX),
        more=bool(flags & _MORE),
        trouble=as_text(trouble, limits.trouble_length),
        unshown=as_int(unshown, 0, INT64_MAX),
        room=as_int(room, 0, INT64_MAX),
        directions=directions,
        kept=kept,
    )
    return turn, chunk or None


def encode_chunk(chunk: Chunk) -> bytes:
    """A chunk as bytes.

    Raises:
        LimitExceededError: The chunk is more than a peer would take: cut it smaller.
        TypeError, ValueError: A value that no cell can hold.
    """
    within(len(chunk.blocks), LIMITS.blocks, "blocks")
    within(len(chunk.records), LIMITS.records, "conflict records")
    within(chunk.row_count, LIMITS.rows, "rows")
    cells = sum(len(block) * len(block.columns) for block in chunk.blocks)
    within(cells, LIMITS.cells, "cells")
    writer = SegmentWriter()
    pieces = list(writer.directory.frontier(chunk.base))
    if chunk.claim is not None:
        pieces += writer.directory.frontier(chunk.claim)
    pieces += writer.records(chunk.records)
    for block in chunk.blocks:
        pieces += writer.block(block)
    head = [
        writer.directory.origins[chunk.sender],
        chunk.after,
        chunk.upto,
        chunk.total,
        int(chunk.claim is not None),
        len(chunk.records),
        len(chunk.blocks),
    ]
    data = frame(CHUNK, [item(head), *writer.directory.pieces(), *pieces])
    within(len(data), LIMITS.body_bytes, "bytes")
    return data


def decode_chunk(data: bytes, limits: Limits = LIMITS) -> Chunk:
    """The inverse of `encode_chunk`.

    Raises:
        MalformedMessageError: The bytes are no chunk, or over a limit.
        IncompatiblePeerError: The chunk was written by another version of the protocol.
    """
    pieces, rest = opened(CHUNK, data, limits)
    if rest:
        raise MalformedMessageError(f"{len(rest)} bytes after the chunk")
    head = as_list(pieces.item(), range(7, 8))
    sender, after, upto, total = (as_int(number, 0, INT64_MAX) for number in head[:4])
    claimed = as_int(head[4], 0, 1)
    record_count = within(as_int(head[5], 0, INT64_MAX), limits.records, "conflict records")
    block_count = within(as_int(head[6], 0, INT64_MAX), limits.blocks, "blocks")
    reader = SegmentReader(pieces)
    base = reader.directory.frontier(pieces)
    claim = reader.directory.frontier(pieces) if claimed else None
    records = tuple(reader.records(record_count))
    blocks = tuple(reader.block() for _ in range(block_count))
    pieces.finish()
    origin = reader.directory.origin(sender)
    return Chunk(origin, base, after, upto, records, blocks, claim, total)


def _origin(site: Any, incarnation: Any) -> Origin:
    return Origin(SiteId(as_bytes(site, SITE_ID_BYTES)), as_int(incarnation, 0, UINT64_MAX))


def _entry(seq: Any, nonce: Any) -> Entry:
    return Entry(as_int(seq, 0, INT64_MAX), as_int(nonce, 0, UINT64_MAX))
