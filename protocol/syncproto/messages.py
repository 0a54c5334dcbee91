"""What peers say to each other: one message, the turn, the same in both directions.

A turn says who speaks and what it holds, acknowledges what it took, and may bring a chunk. A
server needs no memory between turns: each one holds all that its answer depends on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from syncproto.delta import Chunk, Cursor
from syncproto.directions import EVERY_WAY, Directions
from syncproto.frontier import Entry, Frontier
from syncproto.identity import Origin

PROTOCOL_VERSION = 1
NETWORK_ID_BYTES = 8


class Known(NamedTuple):
    """What the speaker knows of the listener: its latest origin and entry seen anywhere."""

    incarnation: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's part of an exchange.

    Attributes:
        network: The network's id, `NETWORK_ID_BYTES` bytes.
        origin: Who speaks.
        latest: The speaker's own last changeset under this origin.
        known: What the speaker knows of the listener; None if it never heard of it.
        digest: Digest of the speaker's frontier within the scopes that both are known to
            keep and of what is agreed to cross the link; of its whole frontier while that is not
            known. Of a table that it only receives: what it has heard that the listener holds, if
            it holds all of that.
        frontier: The speaker's frontier, once it is known that the sides differ; without the
            tables that cross in neither direction.
        directions: What of the link stays back by the speaker's rules; told with the frontier.
        cursor: How far the speaker has staged the listener's delta.
        chunk: Rows for the listener.
        sums: For each table the sum over (row key, dots, delete) of rule B11; sent with the
            frontier, and in answer to rows. Compared where the vectors are equal and nothing is
            aside.
        lineage: Seq to nonce of recent changesets of the origin that the *listener* says it is,
            as the speaker knows them, sent when the two do not agree or when the speaker knows
            a later incarnation, so that a restored site finds where its history forked. Only
            {0: 0}: the speaker knows nothing of it. Empty: it asks the listener for this.
        wall_ms: The speaker's clock.
        wait_ms: How long the speaker would wait for news if there is none; 0 for an answer.
        more: The speaker has more to send than it has sent.
        trouble: A sentence for the listener's operator, such as "your clock is ahead".
        unshown: How many rows the speaker holds and does not show: parked, or kept aside.
        room: Of a caller: the most bytes of rows that it wants at once; 0 for any number.
        kept: Tables that the speaker's database lacks and whose rows it only passes on; told with
            the frontier.
    """

    network: bytes
    origin: Origin
    latest: Entry
    known: Known | None
    digest: bytes
    wall_ms: int
    frontier: Frontier | None = None
    cursor: Cursor | None = None
    chunk: Chunk | None = None
    sums: Mapping[str, int] | None = None
    lineage: Mapping[int, int] | None = None
    wait_ms: int = 0
    more: bool = False
    trouble: str = ""
    unshown: int = 0
    room: int = 0
    directions: Directions = EVERY_WAY
    kept: frozenset[str] = frozenset()
