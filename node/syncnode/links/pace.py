"""How large the chunks of one link are, by what it has shown to carry (`chunk_size.py`).

The side that calls keeps this, for both directions: it alone sees what a request takes. So the
answering side needs no memory; it is told with each turn how much is wanted.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from syncproto.chunk_size import MOST_BYTES, ChunkSize
from syncproto.errors import TransportError
from syncproto.messages import Turn
from syncproto.session import Call


class Pace:
    """The sizes of chunks to a peer and from it, for as long as the process lives."""

    def __init__(self) -> None:
        self.sent = ChunkSize()
        self.received = ChunkSize()

    def set(self, call: Call, batch_bytes: int | None) -> None:
        """What the next turn may bring, and ask for; `batch_bytes` by the settings."""
        most = MOST_BYTES if batch_bytes is None else batch_bytes
        call.chunk_bytes = min(self.sent.bytes_max, most)
        room = min(self.received.bytes_max, most)
        call.room = room if room < MOST_BYTES else 0

    @contextmanager
    def taken(
        self, turn: Turn, clock_s: Callable[[], float]
    ) -> Iterator[Callable[[int, int], None]]:
        """Around a request: what is entered gets the bytes of both bodies when it is answered."""
        began_s = clock_s()

        def note(sent: int, received: int) -> None:
            took_s = clock_s() - began_s
            if sent > received:  # what is small beside the other did not take that long
                self.sent = self.sent.crossed(sent, took_s)
            else:
                self.received = self.received.crossed(received, took_s)

        try:
            yield note
        except TransportError:
            if turn.chunk is not None:
                self.sent = self.sent.broke()
            else:
                self.received = self.received.broke()
            raise
