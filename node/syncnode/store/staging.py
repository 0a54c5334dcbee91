"""Deltas on their way in: chunks that wait in `syncnode_staged` until the whole delta is here."""

from collections.abc import Iterator
from dataclasses import dataclass

from syncnode.store.database import Transaction
from syncproto.codec import decode_chunk, encode_chunk
from syncproto.delta import Chunk
from syncproto.frontier_blob import encode_frontier
from syncproto.identity import SiteId


@dataclass(frozen=True, slots=True)
class EncodedChunk(Chunk):
    """A chunk with its bytes, so that it is encoded once and staged as it came."""

    encoded: bytes = b""


def in_steps(tx: Transaction) -> bool:
    """A delta that arrived whole is being applied in steps."""
    return tx.value("SELECT 1 FROM syncnode_stage WHERE claim IS NOT NULL LIMIT 1") is not None


def stage_chunk(tx: Transaction, chunk: Chunk, waiting: int, *, new: bool, first_lsn: int) -> None:
    sender, m = chunk.sender.site, tx.mark
    encoded = chunk.encoded if isinstance(chunk, EncodedChunk) else b""
    position = tx.value(f"SELECT max(position) FROM syncnode_staged WHERE sender={m}", (sender,))
    tx.execute(
        f"INSERT INTO syncnode_staged (sender, position, body) VALUES ({m}, {m}, {m})",
        (sender, (position or 0) + 1, encoded or encode_chunk(chunk)),
    )
    if new:
        tx.execute(
            "INSERT INTO syncnode_stage (sender, incarnation, lsn, claim, applied, first_lsn, "
            f"row_count) VALUES ({m}, {m}, 0, NULL, 0, 0, 0)",
            (sender, chunk.sender.incarnation),
        )
    claim = encode_frontier(chunk.claim) if chunk.claim is not None else None
    tx.execute(
        f"UPDATE syncnode_stage SET lsn={m}, row_count={m}, claim={m}, first_lsn={m}, "
        f"scopes={m} WHERE sender={m}",
        (chunk.upto, waiting + chunk.row_count, claim, first_lsn, scopes_text(chunk), sender),
    )


def with_staged(tx: Transaction, sender: SiteId, last: Chunk) -> Iterator[Chunk]:
    for (position,) in tx.rows(
        f"SELECT position FROM syncnode_staged WHERE sender={tx.mark} ORDER BY position",
        (sender,),
    ):
        yield staged(tx, sender, position)
    yield last


def staged(tx: Transaction, sender: SiteId, position: int) -> Chunk:
    body = tx.value(
        f"SELECT body FROM syncnode_staged WHERE sender={tx.mark} AND position={tx.mark}",
        (sender, position),
    )
    # Gone in the same transaction: its pages serve the rows that come out of it.
    tx.execute(
        f"DELETE FROM syncnode_staged WHERE sender={tx.mark} AND position={tx.mark}",
        (sender, position),
    )
    return decode_chunk(bytes(body))


def positions_left(tx: Transaction, sender: SiteId, applied: int) -> list[int]:
    """Of the staged chunks that have yet to be applied."""
    found = tx.rows(
        f"SELECT position FROM syncnode_staged WHERE sender={tx.mark} "
        f"AND position>{tx.mark} ORDER BY position",
        (sender, applied),
    )
    return [position for (position,) in found]


def scopes_text(chunk: Chunk) -> str | None:
    """The scopes that a part of a delta speaks of, as they stand with the stage; None for what was
    not asked for in an exchange."""
    return "\n".join(sorted(chunk.base.scopes)) or None
