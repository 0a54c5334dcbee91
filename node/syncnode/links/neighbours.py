"""The sites on the LAN: who of them is a member of our network, and with whom to keep in touch.

An announcement (`lan.py`) proves nothing. One of another network is listed, and no more. One that
names our network is *met*: TLS shows whether the site is there at all, and both sides show who
vouches for them (`operations/vouching.py`). Only then is the address used, beside the one where
the peer was declared to be, and a member that was not known becomes a peer.

A LAN may hold hundreds of sites. We make the acquaintance of a few of them (any member may make
ours), some at a time, and keep in touch with fewer, others in each round: `peer_choice.py`. Peers
that have an address of their own are called in any case.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

import trio

from syncnode.links.lan import Heard, Sighting
from syncnode.links.sightings import PEER_STANDING, Seen
from syncproto.backoff import retry_after_ms
from syncproto.errors import StoreError, SyncError
from syncproto.identity import SiteId
from syncproto.messages import PROTOCOL_VERSION
from syncproto.peer_choice import meeting_order, neighbours

logger = logging.getLogger(__name__)

SIGHTINGS_MAX = 512  # anybody on a LAN can announce anything
MEETINGS_MAX = 4  # at once
ACQUAINTANCES_MAX = 16  # strangers that we meet of our own accord, as long as so many are there
ROUND_S = 60.0  # between two choices whom to keep in touch with
AGAIN_S = 600.0  # between two meetings with one site: revocations are told, addresses looked at
STRANGER_LONGEST_MS = 300_000  # between two attempts at one that proves nothing
WRITE_S = 1.0  # what is seen is for people: not worth a disk's sync each time

Start = Callable[[Heard], Awaitable[None]]
"""Tells of announcements until it is cancelled."""


@dataclass(slots=True)
class _Neighbour:
    """
    Attributes:
        url: Where the site has proven to be; "" as long as it has not.
        due_s: When it is met next, by trio's clock.
    """

    sighting: Sighting
    seen_ms: int
    due_s: float
    standing: str = ""
    url: str = ""
    failures: int = 0
    busy: bool = False


class Neighbours:
    """Meets who is near, and says whom to call and where.

    Args:
        own: This site.
        network: The network of this site.
        meet: Meets a site; returns the url where it has proven to be.
        known: The sites that are peers already.
        changed: Called when `chosen` or `urls` may say something else, with the site that was
            met, if one was.
        write: Keeps what was seen, for `peers`.
        wall_ms, chance: Of this machine.
    """

    def __init__(
        self,
        own: SiteId,
        network: bytes,
        *,
        meet: Callable[[Sighting], Awaitable[str]],
        known: Callable[[], Collection[SiteId]],
        changed: Callable[[SiteId | None], None],
        write: Callable[[list[Seen]], Awaitable[None]],
        wall_ms: Callable[[], int],
        chance: Callable[[], float],
    ) -> None:
        self._own = own
        self._network = network
        self._meet = meet
        self._known = known
        self._changed = changed
        self._write = write
        self._wall_ms = wall_ms
        self._chance = chance
        self._by_site: dict[SiteId, _Neighbour] = {}
        self._round = 0
        self._news = trio.Event()
        self._unwritten = trio.Event()

    @property
    def urls(self) -> Mapping[SiteId, str]:
        """Where sites nearby have proven to be."""
        return {site: one.url for site, one in self._by_site.items() if one.url}

    def chosen(self, declared: Collection[SiteId]) -> list[SiteId]:
        """Whom to keep in touch with now, beside those that have an address of their own."""
        there = set(self.urls) & set(self._known()) - set(declared)
        return neighbours(self._own, there, round_number=self._round)

    # What is heard

    def heard(self, site: SiteId, sighting: Sighting | None) -> None:
        """Of an announcement, or of its end."""
        if sighting is None:
            if self._by_site.pop(site, None) is not None:
                self._tell(None)
            return
        known = self._by_site.get(site)
        if known is None and len(self._by_site) >= SIGHTINGS_MAX:
            return
        if known is not None and known.sighting == sighting:
            known.seen_ms = self._wall_ms()
            return
        fresh = _Neighbour(sighting, self._wall_ms(), trio.current_time())
        fresh.standing = self._first_standing(sighting)
        if known is not None and known.url in sighting.urls:
            fresh.url, fresh.standing = known.url, known.standing
        self._by_site[site] = fresh
        self._tell(None)

    def lost(self, site: SiteId) -> None:
        """The address was used, and the site could not be reached there."""
        known = self._by_site.get(site)
        if known is not None and known.url:
            known.url, known.standing, known.failures = "", "cannot be reached just now", 1
            known.due_s = trio.current_time() + self._pause_s(1)
            self._tell(None)

    def meet_all(self) -> None:
        """Members have changed here: tell everybody who is there."""
        now_s = trio.current_time()
        for one in self._by_site.values():
            if one.url or one.failures:
                one.due_s = now_s
        self._tell(None)

    def _first_standing(self, sighting: Sighting) -> str:
        if sighting.network != self._network:
            return "another network"
        if sighting.version != PROTOCOL_VERSION:
            return "another version of syncnode: upgrade the older of the two"
        if not sighting.urls:
            return "no private address to call it at"
        return "not met yet"

    def _tell(self, met: SiteId | None) -> None:
        self._news.set()
        self._unwritten.set()
        self._changed(met)

    # What is done

    async def run(self, discover: Start) -> None:
        """Until cancelled; then what was seen is forgotten."""
        try:
            await self._write([])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(discover, self.heard)
                for _ in range(MEETINGS_MAX):
                    nursery.start_soon(self._meet_in_turn)
                nursery.start_soon(self._go_round)
                nursery.start_soon(self._write_often)
        finally:
            self._by_site.clear()
            with trio.CancelScope(shield=True):
                await self._write([])

    async def _go_round(self) -> None:
        while True:
            await trio.sleep(ROUND_S)
            self._round += 1
            self._changed(None)

    async def _write_often(self) -> None:
        while True:
            await self._unwritten.wait()
            self._unwritten = trio.Event()
            await self._write(self._seen())
            await trio.sleep(WRITE_S)

    def _seen(self) -> list[Seen]:
        return [
            Seen(site, one.url or " ".join(one.sighting.urls), one.standing, one.seen_ms)
            for site, one in self._by_site.items()
        ]

    # Meeting

    async def _meet_in_turn(self) -> None:
        while True:
            news = self._news
            now_s = trio.current_time()
            site = next(iter(self._due(now_s)), None)
            if site is not None:
                await self._meet_one(self._by_site[site])
                continue
            with trio.move_on_at(self._next_due_s()):
                await news.wait()
            if self._news is news and news.is_set():
                self._news = trio.Event()

    def _due(self, now_s: float) -> list[SiteId]:
        """Whom to meet now, in order."""
        known = self._known()
        enough = len(self.urls) >= ACQUAINTANCES_MAX
        return [
            site
            for site in meeting_order(self._own, [*self._waiting()])
            if self._by_site[site].due_s <= now_s and (site in known or not enough)
        ]

    def _waiting(self) -> Mapping[SiteId, _Neighbour]:
        """Who may be met at all: of our network, and with an address."""
        return {
            site: one
            for site, one in self._by_site.items()
            if not one.busy
            and one.sighting.network == self._network
            and one.sighting.version == PROTOCOL_VERSION
            and one.sighting.urls
        }

    def _next_due_s(self) -> float:
        now_s = trio.current_time()
        later = [one.due_s for one in self._waiting().values() if one.due_s > now_s]
        return min(later, default=now_s + AGAIN_S)

    async def _meet_one(self, one: _Neighbour) -> None:
        one.busy = True
        url = ""
        try:
            url = await self._meet(one.sighting)
            standing = PEER_STANDING
        except StoreError as error:
            if not error.transient:
                raise
            standing = "not met yet"
        except SyncError as error:
            standing = str(error)
        finally:
            one.busy = False
        one.failures = 0 if url else one.failures + 1
        wait_s = AGAIN_S if url else self._pause_s(one.failures)
        one.due_s = trio.current_time() + wait_s
        changed = (one.url, one.standing) != (url, standing)
        one.url, one.standing = url, standing
        current = self._by_site.get(one.sighting.site) is one
        if current and changed:
            self._tell(one.sighting.site if url else None)

    def _pause_s(self, failures: int) -> float:
        longest_ms = STRANGER_LONGEST_MS
        return retry_after_ms(failures, self._chance(), longest_ms=longest_ms) / 1000


__all__ = ["Heard", "Neighbours"]
