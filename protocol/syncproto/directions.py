"""Which tables cross a link, and which way.

Each of two sites has its own word on every table: it may not send it to this peer, and may not
receive it from this peer. A table goes from one to the other where neither stands in the way.
Frontiers are kept by table, so this stays exact: what does not cross does not advance, and comes
by itself once it may. A rule says what crosses *one link*; a table that two sites keep from each
other may well reach both through a third.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from syncproto.delta import Chunk
from syncproto.frontier import DIGEST_BYTES
from syncproto.identity import SiteId


@dataclass(frozen=True, slots=True)
class Directions:
    """What of one link stays back, in the words of one of its two sites.

    Attributes:
        unsent: Tables that this site does not send to the other.
        unreceived: Tables that it does not receive from it.
    """

    unsent: frozenset[str] = frozenset()
    unreceived: frozenset[str] = frozenset()

    def agreed(self, peers: "Directions") -> "Directions":
        """What both words together leave, as this site sees it."""
        if self is EVERY_WAY and peers is EVERY_WAY:
            return EVERY_WAY
        return Directions(self.unsent | peers.unreceived, self.unreceived | peers.unsent)

    @property
    def closed(self) -> frozenset[str]:
        """Tables that cross in neither direction."""
        return self.unsent & self.unreceived

    @property
    def only_received(self) -> frozenset[str]:
        """Tables that come and do not go."""
        return self.unsent - self.unreceived


EVERY_WAY = Directions()


def link_digest(frontier_digest: bytes, words: Mapping[SiteId, Directions]) -> bytes:
    """The digest of a frontier and of what both sites of a link say of it.

    It holds the words and not what is agreed, so that who has changed his is heard, also where
    the other, going by an older word, agrees to the same.
    """
    if not any(one.unsent or one.unreceived for one in words.values()):
        return frontier_digest
    hasher = hashlib.sha256(frontier_digest)
    for _, one in sorted(words.items()):
        for tables in (one.unsent, one.unreceived):
            hasher.update(len(tables).to_bytes(4, "big"))
            for table in sorted(tables):
                encoded = table.encode()
                hasher.update(len(encoded).to_bytes(4, "big") + encoded)
    return hasher.digest()[:DIGEST_BYTES]


def admitted(chunk: Chunk, refused: frozenset[str]) -> Chunk:
    """The chunk without these tables, of which it brings and claims nothing then; a peer that has
    not heard of a rule may send what is not received."""
    if not refused:
        return chunk
    return Chunk(
        sender=chunk.sender,
        base=chunk.base.without(refused),
        after=chunk.after,
        upto=chunk.upto,
        records=tuple(one for one in chunk.records if one.conflict.table not in refused),
        blocks=tuple(block for block in chunk.blocks if block.table not in refused),
        claim=None if chunk.claim is None else chunk.claim.without(refused),
        total=chunk.total,
    )
