"""Whom to call, and when: one task for each peer that has an address.

After a first exchange two things go on at once: a request that the peer keeps waiting until it
has news for us, and a push as soon as there is news here. When either fails, both end, and after
a pause (`backoff.py`) it begins again with a whole exchange; a peer that calls us meanwhile is
there, so then the pause is over at once.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection

import trio

from syncnode.links.exchange import Exchanger, News
from syncproto.backoff import LAST_MS, retry_after_ms
from syncproto.errors import ConfigError, PeerError, StoreError, SyncError, TransportError
from syncproto.identity import SiteId

logger = logging.getLogger(__name__)

EMPTY_WAITS_MAX = 3  # waiting requests that return at once, with nothing, before we slow down


class Gossip:
    """Keeps in touch with every peer that can be called.

    Args:
        exchanger: Does the exchanges.
        news: What the replica holds that it did not hold before.
        wait_ms: How long a request asks to be kept waiting.
        every_ms: The longest pause between two attempts.
        chance: A number from 0 to 1, anew at each call.
    """

    def __init__(
        self,
        exchanger: Exchanger,
        *,
        news: News,
        wait_ms: int,
        every_ms: int,
        chance: Callable[[], float],
    ) -> None:
        self._exchanger = exchanger
        self._news = news
        self._wait_ms = wait_ms
        self._longest_ms = min(every_ms, LAST_MS)
        self._chance = chance
        self._scopes: dict[SiteId, trio.CancelScope] = {}
        self._due: set[SiteId] = set()  # to be called whatever is known of them
        self._met: dict[SiteId, trio.Event] = defaultdict(trio.Event)

    def follow(self, nursery: trio.Nursery, peers: Collection[SiteId]) -> None:
        """From now on keep in touch with exactly these."""
        for gone in self._scopes.keys() - set(peers):
            self._scopes.pop(gone).cancel()
        for peer in peers:  # in their order, so that equal runs start equal tasks in turn
            if peer not in self._scopes:
                scope = self._scopes[peer] = trio.CancelScope()
                nursery.start_soon(self._follow_one, peer, scope)

    def go_by(self, *, every_ms: int) -> None:
        """Go on by other settings: each peer is called at once, since what crosses the links may be
        other than it was."""
        self._longest_ms = min(every_ms, LAST_MS)
        self._due = set(self._scopes)
        for peer in self._due:
            self.called_by(peer)

    def called_by(self, peer: SiteId) -> None:
        """The peer has just called us, so it can be reached again."""
        self._met[peer].set()
        self._met[peer] = trio.Event()

    async def _follow_one(self, peer: SiteId, scope: trio.CancelScope) -> None:
        with scope:
            failures = 0
            while True:
                try:
                    await self._catch_up(peer)
                    failures = 0
                    await self._stay_in_touch(peer)
                except* (PeerError, TransportError, ConfigError, _IncompleteError) as group:
                    error: Exception = _first(group)
                except* StoreError as group:
                    error = _first(group)
                    if not (isinstance(error, StoreError) and error.transient):
                        raise
                failures += 1
                if failures == 1:
                    logger.info("lost touch with a peer: %s", error)
                met = self._met[peer]
                with trio.move_on_after(self._pause_s(failures)):
                    await met.wait()

    async def _catch_up(self, peer: SiteId) -> None:
        outcome = await self._exchanger.call(peer)
        if not outcome.complete:
            raise _IncompleteError(outcome.reason)

    async def _stay_in_touch(self, peer: SiteId) -> None:
        """Return never; raise what breaks the link."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, peer)
            nursery.start_soon(self._push, peer)

    async def _listen(self, peer: SiteId) -> None:
        empty = 0
        while True:
            began_s = trio.current_time()
            outcome = await self._exchanger.call(peer, wait_ms=self._wait_ms)
            if not outcome.complete:
                raise _IncompleteError(outcome.reason)
            waited = trio.current_time() - began_s >= 1.0
            empty = 0 if waited or outcome.moved else empty + 1
            if empty >= EMPTY_WAITS_MAX:
                await trio.sleep(self._pause_s(empty - EMPTY_WAITS_MAX + 1))

    async def _push(self, peer: SiteId) -> None:
        # From before the catch-up: what came in between is pushed, too.
        count = self._news.count
        if await self._exchanger.lacks(peer):
            await self._catch_up(peer)
        while True:
            await self._news.later_than(count)
            count = self._news.count
            if peer in self._due or await self._exchanger.lacks(peer):
                self._due.discard(peer)
                await self._catch_up(peer)

    def _pause_s(self, failures: int) -> float:
        return retry_after_ms(failures, self._chance(), longest_ms=self._longest_ms) / 1000


class _IncompleteError(SyncError):
    """An exchange that ended before both sides were equal."""


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
