"""What one message may ask for: every bound that the codec checks, each with its reason.

A bound is checked before the memory it guards is taken. Columns can say much in few bytes (a
constant is written once), so what the decoder *makes* is bounded by counts, not only by the
bytes that arrive. A message that keeps every bound takes under 256 MiB to decode.
"""

from dataclasses import dataclass

from syncproto.errors import LimitExceededError

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one message; "chunk" ones hold for the chunk inside a turn as well.

    Attributes:
        body_bytes: A message as it arrives. Two values of the greatest length fit.
        inflated_bytes: The body of a frame after decompression.
        item_bytes: One CBOR item. The decoder holds the interpreter's lock throughout, so this
            is what one message can stop the event loop for (some 6 ms); and an item has at
            most as many nodes as bytes, 16 MB of empty lists.
        depth: Nesting of an item; the deepest that this protocol writes is 6.
        value_bytes: One text or blob: MySQL's MEDIUMBLOB, and its usual max_allowed_packet.
        name_length: Characters of a table, column or scope; databases allow 63 to 128.
        names: Distinct names in a frame: 500 tables of 30 columns.
        origins: Distinct origins in a frame: far above the sites of one network.
        scopes: Scopes of a frontier, and tables of the sums: far above one schema.
        frontier_entries: Entries of all vectors of a frame. Scopes with equal vectors count once.
        lineage: Recent changesets named to find a fork.
        trouble_length: Characters of the sentence for the operator.
        rows: Rows of a chunk.
        cells: Cells of a chunk: its rows times their columns, each a new object at worst.
        blocks: Blocks of a chunk: sets of columns that were edited together.
        columns: Columns of a block: MySQL allows 4,096, the most of the three.
        records: Conflict records of a chunk.
        entries: Odd stamps, stamps of deletes and what deleters had seen, in a chunk.
    """

    body_bytes: int = 32 * MIB
    inflated_bytes: int = 32 * MIB
    item_bytes: int = 256 * KIB
    depth: int = 8
    value_bytes: int = 16 * MIB - 1
    name_length: int = 200
    names: int = 16_384
    origins: int = 8_192
    scopes: int = 8_192
    frontier_entries: int = 262_144
    lineage: int = 8_192
    trouble_length: int = 500
    rows: int = 131_072
    cells: int = 1_048_576
    blocks: int = 16_384
    columns: int = 4_096
    records: int = 65_536
    entries: int = 524_288


LIMITS = Limits()


def within(count: int, limit: int, what: str) -> int:
    """`count`, if it keeps the limit.

    Raises:
        LimitExceededError: It does not.
    """
    if count > limit:
        raise LimitExceededError(f"{count} {what}: at most {limit} may be in one message")
    return count
