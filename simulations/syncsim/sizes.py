"""How many bytes a turn has on the wire.

"codec" encodes every message as the node does. "model" encodes what is small and every so many
of the large deltas, and reckons the others from those: for long runs, where most of the time
would go into bytes that nobody reads.
"""

from dataclasses import replace

from syncproto.codec import encode_turn
from syncproto.delta import Chunk
from syncproto.messages import Turn

SAMPLE_EVERY = 64  # of the deltas with rows, beyond the first few
SAMPLES_FIRST = 32


class Sizes:
    """Reckons the encoded size of turns, as (without chunk, of the chunk)."""

    def __init__(self, by: str) -> None:
        self._model = by == "model"
        self._rows = self._row_bytes = self._seen = 0
        self._fixed_bytes: dict[tuple[int | bool, ...], int] = {}

    def of(self, turn: Turn) -> tuple[int, int]:
        fixed = self._fixed(turn)
        chunk = turn.chunk
        if chunk is None or not (chunk.row_count or chunk.records):
            return fixed, 0
        return fixed, self._chunk(turn, chunk)

    def _fixed(self, turn: Turn) -> int:
        if not self._model:
            return len(encode_turn(replace(turn, chunk=None)))
        # The length depends on how many of what there are, and hardly on what they say.
        entries = (
            sum(len(vector.entries) for vector in turn.frontier.distinct()) if turn.frontier else 0
        )
        shape = (
            entries,
            len(turn.sums or ()),
            len(turn.lineage or ()),
            len(turn.trouble),
            turn.known is None,
            turn.cursor is None,
        )
        known = self._fixed_bytes.get(shape)
        if known is None:
            known = self._fixed_bytes[shape] = len(encode_turn(replace(turn, chunk=None)))
        return known

    def _chunk(self, turn: Turn, chunk: Chunk) -> int:
        self._seen += 1
        rows = chunk.row_count + len(chunk.records)
        if not self._model or self._seen <= SAMPLES_FIRST or self._seen % SAMPLE_EVERY == 0:
            bare = replace(turn, frontier=None)
            size = len(encode_turn(bare)) - len(encode_turn(replace(bare, chunk=None)))
            self._rows += rows
            self._row_bytes += size
            return size
        return round(rows * self._row_bytes / self._rows)
