"""What a session asks of a replica: the port between the protocol and where rows are kept.

`memory.py` is one replica; the node's, beside a database, is another. Both pass the same
tests. Every method is one durable step: when it returns, a crash does not undo it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from syncproto.delta import Chunk, Cursor
from syncproto.directions import EVERY_WAY, Directions
from syncproto.frontier import Entry, Frontier
from syncproto.identity import Origin, SiteId
from syncproto.messages import Known

LINEAGES_KEPT = 4  # incarnations of a peer that are told apart; a site is seldom restored twice


@dataclass(frozen=True, slots=True)
class Standing:
    """What a replica holds, sealed, at one moment, as seen by one peer.

    Attributes:
        network: The network's id.
        origin: Who we are now.
        latest: Our last changeset under this origin, (0, 0) for none.
        frontier: What we have.
        sums: The sum of each table.
        settled: Nothing is kept aside, parked or between the steps of a catch-up, so sums
            may be compared.
        peer: The peer's latest origin and entry known here; None if never heard of.
        peer_frontier: The frontier that the peer last told; a hint, never a proof.
        cursor: How far we have staged the peer's delta.
        nonces: Seq to nonce of our own recent changesets of this incarnation.
        peer_nonces: The same for the peer's latest origins, as far as known here, by incarnation.
        wall_ms: Our clock.
        unshown: How many rows we hold and do not show: parked, or kept aside.
        kept: Tables that are not here and whose rows we only pass on.
        directions: What of this link stays back by our rules.
        peer_directions: And by the peer's, as it last told.
    """

    network: bytes
    origin: Origin
    latest: Entry
    frontier: Frontier
    sums: Mapping[str, int]
    settled: bool
    peer: Known | None
    peer_frontier: Frontier | None
    cursor: Cursor | None
    nonces: Mapping[int, int]
    peer_nonces: Mapping[int, Mapping[int, int]]
    wall_ms: int
    unshown: int = 0
    kept: frozenset[str] = frozenset()
    directions: Directions = EVERY_WAY
    peer_directions: Directions = EVERY_WAY


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a chunk.

    Attributes:
        taken: It was staged or applied; False if its base or its place did not fit, and the
            frontier and cursor in the answer say where to go on.
        applied: The delta was complete and is in the tables now.
    """

    taken: bool
    applied: bool


class Replica(Protocol):
    """Rows with their clocks, a frontier, and a ledger."""

    def standing(self, peer: SiteId) -> Standing:
        """Seal what was written, and say what we hold."""
        ...

    def chunk(self, base: Frontier, after: int, bytes_max: int = 0) -> Chunk:
        """The next part of the delta above `base`, from a fresh sealed snapshot.

        `after` is the lsn that the receiver has reached; an lsn this replica never gave
        counts as 0. The link carries `bytes_max` at once, or anything if that is 0; a larger row
        comes alone.
        """
        ...

    def receive(self, chunk: Chunk) -> Receipt:
        """Keep a chunk durably, and apply the whole delta if this was its end."""
        ...

    def heard(self, peer: SiteId, frontier: Frontier, directions: Directions) -> None:
        """Remember what a peer said it holds, and what of the link stays back by its rules."""
        ...

    def renew(self, incarnation: int, common_seq: int) -> None:
        """Go on under a new incarnation, at least `incarnation`: we were restored or cloned.

        Own changesets above `common_seq` were sealed on a branch that peers do not share;
        their rows are written again under the new origin.
        """
        ...
