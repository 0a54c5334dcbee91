"""Whom to call, and when: one task for each peer that has an address.

After a first exchange two things go on at once: a request that the peer keeps waiting until it
has news for us, and a push as soon as there is news here. When either fails, both end, and after
a pause (`backoff.py`) it begins again with a whole exchange; a peer that calls us meanwhile is
there, so then the pause is over at once. A link that does not stay is called every so often
instead, and one with windows of the day only within them.
"""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection
from math import inf

import trio

from syncnode.links.exchange import Exchanger, News
from syncnode.settings.link_keys import LinkKeys
from syncproto.backoff import LAST_MS, retry_after_ms
from syncproto.errors import ConfigError, PeerError, StoreError, SyncError, TransportError
from syncproto.identity import SiteId
from syncproto.windows import closes_in_ms, opens_in_ms

logger = logging.getLogger(__name__)

JITTER = 0.2  # of the time between two calls: sites that began together do not stay together
OPENING_S = 30.0  # within which sites begin to call once their window has opened
QUIET_S = 30.0  # beside the longest wait: a peer that has not called for so long is called
EMPTY_WAITS_MAX = 3  # waiting requests that return at once, with nothing, before we slow down


async def nothing_to_say(_: SiteId) -> None:
    """Peers are told nothing but rows."""


class Gossip:
    """Keeps in touch with every peer that can be called.

    Args:
        exchanger: Does the exchanges.
        news: What the replica holds that it did not hold before.
        wait_ms: How long a request asks to be kept waiting.
        link: How a peer is called; every key of it has a value.
        chance: A number from 0 to 1, anew at each call.
        time_of_day_ms: Since midnight, by the clock of this machine.
        first: Of two sites that can each call the other, whether we are the one that does. The
            other calls only while it is not called: two calls would carry each change twice.
        greet: What is said to a peer besides, once all rows have crossed.
    """

    def __init__(
        self,
        exchanger: Exchanger,
        *,
        news: News,
        wait_ms: int,
        link: Callable[[SiteId], LinkKeys],
        chance: Callable[[], float],
        time_of_day_ms: Callable[[], int],
        first: Callable[[SiteId], bool] = lambda _: True,
        greet: Callable[[SiteId], Awaitable[None]] = nothing_to_say,
    ) -> None:
        self._exchanger = exchanger
        self._news = news
        self._wait_ms = wait_ms
        self._link = link
        self._chance = chance
        self._time_of_day_ms = time_of_day_ms
        self._first = first
        self._greet = greet
        self._called_s: dict[SiteId, float] = {}  # when each peer last called us
        self._scopes: dict[SiteId, trio.CancelScope] = {}
        self._calls: dict[SiteId, trio.CancelScope] = {}
        self._met: dict[SiteId, trio.Event] = defaultdict(trio.Event)

    def follow(self, nursery: trio.Nursery, peers: Collection[SiteId]) -> None:
        """From now on keep in touch with exactly these."""
        for gone in self._scopes.keys() - set(peers):
            self._scopes.pop(gone).cancel()
        for peer in peers:  # in their order, so that equal runs start equal tasks in turn
            if peer not in self._scopes:
                scope = self._scopes[peer] = trio.CancelScope()
                nursery.start_soon(self._follow_one, peer, scope)

    def begin_anew(self) -> None:
        """The settings have changed: each peer is called at once, since what crosses the links may
        be other than it was."""
        for scope in self._calls.values():
            scope.cancel()

    def answered(self, peer: SiteId) -> None:
        """The peer calls us: then what is new goes to it as answers, and we need not call."""
        if not self._first(peer):
            began = peer not in self._called_s or self._called_for_s(peer) <= 0
            self._called_s[peer] = trio.current_time()
            if began and peer in self._calls:
                self._calls[peer].cancel()
        self.called_by(peer)

    def called_by(self, peer: SiteId) -> None:
        """The peer is there, so it can be reached again."""
        self._met[peer].set()
        self._met[peer] = trio.Event()

    async def _follow_one(self, peer: SiteId, scope: trio.CancelScope) -> None:
        with scope:
            while True:
                with trio.CancelScope() as self._calls[peer]:
                    await self._call_and_call(peer)

    async def _call_and_call(self, peer: SiteId) -> None:
        """Never return."""
        failures = 0
        while True:
            await self._until_open(peer)
            await self._until_not_called(peer)
            link = self._link(peer)
            try:
                with trio.move_on_after(self._open_for_s(link)):
                    await self._catch_up(peer)
                    failures = 0
                    await self._stay_in_touch(peer, link)
                continue
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
            with trio.move_on_after(self._pause_s(failures, link)):
                await met.wait()

    async def _until_open(self, peer: SiteId) -> None:
        """Wait for the window of the day in which calls are made; not all sites begin at once."""
        opens_ms = opens_in_ms(self._link(peer).open or (), self._time_of_day_ms())
        if opens_ms:
            await trio.sleep(opens_ms / 1000 + OPENING_S * self._chance())

    async def _until_not_called(self, peer: SiteId) -> None:
        while (left_s := self._called_for_s(peer)) > 0:
            await trio.sleep(left_s)

    def _called_for_s(self, peer: SiteId) -> float:
        """How long the last call of the peer lets us wait for its next one."""
        if peer not in self._called_s:
            return 0.0
        return self._called_s[peer] + self._wait_ms / 1000 + QUIET_S - trio.current_time()

    def _open_for_s(self, link: LinkKeys) -> float:
        closes_ms = closes_in_ms(link.open or (), self._time_of_day_ms())
        return inf if closes_ms is None else closes_ms / 1000

    async def _catch_up(self, peer: SiteId) -> None:
        outcome = await self._exchanger.call(peer)
        if not outcome.complete:
            raise _IncompleteError(outcome.reason)
        await self._greet(peer)

    async def _stay_in_touch(self, peer: SiteId, link: LinkKeys) -> None:
        """Return when it is time for the next call, if the link does not stay; raise what breaks
        it."""
        if not link.stay:
            await trio.sleep(_every_s(link) * (1 + JITTER * (self._chance() - 0.5)))
            return
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
            await self._greet(peer)
            waited = trio.current_time() - began_s >= 1.0
            empty = 0 if waited or outcome.moved else empty + 1
            if empty >= EMPTY_WAITS_MAX:
                await trio.sleep(self._pause_s(empty - EMPTY_WAITS_MAX + 1, self._link(peer)))

    async def _push(self, peer: SiteId) -> None:
        # From before the catch-up: what came in between is pushed, too.
        count = self._news.count
        if await self._exchanger.lacks(peer):
            await self._catch_up(peer)
        while True:
            await self._news.later_than(count)
            count = self._news.count
            if await self._exchanger.lacks(peer):
                await self._catch_up(peer)

    def _pause_s(self, failures: int, link: LinkKeys) -> float:
        if link.tries is not None and failures > link.tries:
            return _every_s(link) * (0.5 + 0.5 * self._chance())
        longest_ms = min(round(_every_s(link) * 1000), LAST_MS)
        return retry_after_ms(failures, self._chance(), longest_ms=longest_ms) / 1000


def _every_s(link: LinkKeys) -> float:
    assert link.every_ms is not None, "the link's keys are complete"
    return link.every_ms / 1000


class _IncompleteError(SyncError):
    """An exchange that ended before both sides were equal."""


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, Exception)
    return error
