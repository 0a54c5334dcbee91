"""The record of a whole node: between the exchanges and the database, and around exchanges."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from syncnode.links.exchange import Exchanger, Outcome, Watch
from syncproto.delta import Chunk
from syncproto.errors import SyncError
from syncproto.identity import Origin, SiteId
from syncproto.replica import Receipt, Replica
from syncsim.bits import members
from syncsim.history import History, RecordedSite
from syncsim.measures import Delays
from syncsim.subject import Subject
from syncsim.whole.clock import now_ms

Note = Callable[..., None]
"""Puts a line in the trace: what happened, to whom, and details."""


class Tally:
    """What is counted of one site.

    Attributes:
        host: Its machine.
        note: Puts a line in the trace.
        delays: How old the writes of others were when they came.
        writes: Rows written here.
        rounds_with: Exchanges begun here that came to their end, by the machine called.
        failures: Exchanges begun here that broke off.
        boots: How often its node was started.
    """

    def __init__(self, host: int, note: Note) -> None:
        self.host = host
        self.note = note
        self.delays = Delays()
        self.rounds_with: Counter[int] = Counter()
        self.writes = self.failures = self.boots = 0

    @property
    def rounds(self) -> int:
        return self.rounds_with.total()


class Record(RecordedSite):
    """A replica beside a database, on record; each of its steps is a line of the trace.

    Args:
        committed_ms: When each write of the run was committed, by its number.
    """

    def __init__(
        self,
        subject: Subject,
        origin: Origin,
        history: History,
        tally: Tally,
        committed_ms: dict[int, int],
    ) -> None:
        super().__init__(subject, origin, history, encoded=True)
        self._tally = tally
        self._committed_ms = committed_ms

    def seal(self) -> None:
        sealed = self.pending
        super().seal()
        if sealed:
            dot = sealed[0].dot
            assert dot is not None, "sealed just now"
            tally = self._tally
            tally.note("seal", tally.host, dot.origin.incarnation, dot.seq, len(sealed))

    def receive(self, chunk: Chunk) -> Receipt:
        before, tally = self.seen, self._tally
        receipt = super().receive(chunk)
        what = "apply" if receipt.applied else "stage" if receipt.taken else "leave"
        tally.note(what, tally.host, chunk.row_count, len(chunk.records))
        for number in members(self.seen & ~before):
            committed_ms = self._committed_ms.get(number)
            if committed_ms is not None:
                tally.delays.add(now_ms() - committed_ms, 1)
        return receipt

    def renew(self, incarnation: int, common_seq: int) -> None:
        super().renew(incarnation, common_seq)
        self._tally.note("renew", self._tally.host, incarnation, common_seq)


class TracedExchanger(Exchanger):
    """An exchanger whose exchanges are lines of the trace.

    Args:
        known: The machine of the site with an id.
    """

    def __init__(
        self, replica: Replica, tally: Tally, known: Callable[[SiteId], int], **options: Any
    ) -> None:
        super().__init__(replica, **options)
        self._tally = tally
        self._known = known

    async def call(
        self, peer: SiteId, *, wait_ms: int = 0, watch: Watch = lambda _: None
    ) -> Outcome:
        tally, who = self._tally, self._known(peer)
        tally.note("call", tally.host, who, wait_ms)
        try:
            outcome = await super().call(peer, wait_ms=wait_ms, watch=watch)
        except SyncError as error:
            tally.failures += 1
            tally.note("broken", tally.host, who, type(error).__name__)
            raise
        tally.rounds_with[who] += 1
        tally.note(
            "done" if outcome.complete else "undone",
            tally.host,
            who,
            outcome.rows_sent,
            outcome.rows_received,
            outcome.bytes_sent,
            outcome.bytes_received,
        )
        return outcome

    def _heed_sums(self, peer: SiteId, tables: tuple[str, ...]) -> None:
        super()._heed_sums(peer, tables)
        if tables:
            self._tally.note("alarm", self._tally.host, self._known(peer), *tables)
