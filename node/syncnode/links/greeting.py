"""Members tell each other on their links who was revoked: POST /members, in between exchanges.

Whoever calls shows its certificates and all revocations that it knows of, and hears the same
(`syncproto.meeting`): when a node has begun, when something new is known here, and some times a
day, since who is called cannot call back. So the word of a site that was stolen goes through the
whole network, also where there are neither bundles nor LANs. A site that nobody vouches for says
nothing: its word would count nowhere.
"""

import logging
from collections.abc import Awaitable, Callable

import trio

from syncnode.links.members import Members
from syncproto.errors import StoreError, SyncError, UnexpectedMessageError
from syncproto.identity import SiteId

AGAIN_S = 6 * 3_600.0  # some 700 bytes each time
TIMEOUT_S = 60.0

logger = logging.getLogger(__name__)


class Greeting:
    """Tells peers of revocations, and hears of them.

    Args:
        members: As they are known here.
        words: What we say to a site, as bytes; None if nobody vouches for us.
        take: Takes in what a site said; returns which it was.
        post: Sends a body to a peer and returns its answer.
        changed: Reads the members anew.
    """

    def __init__(
        self,
        members: Members,
        *,
        words: Callable[[SiteId], Awaitable[bytes | None]],
        take: Callable[[bytes], Awaitable[SiteId]],
        post: Callable[[SiteId, bytes], Awaitable[bytes]],
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._members = members
        self._words = words
        self._take = take
        self._post = post
        self._changed = changed
        self._told: dict[SiteId, tuple[float, int]] = {}

    async def answer(self, site: SiteId, body: bytes) -> bytes:
        """Our words, to a peer that has proven who it is and said its own.

        Raises:
            PeerError: They are malformed, or it is no member any more.
        """
        await self._heard(site, body)
        words = await self._words(site)
        if words is None:
            raise UnexpectedMessageError("nobody vouches for this site")
        return words

    async def greet(self, peer: SiteId) -> None:
        """Tell a peer, if it is time; that it cannot be told now breaks nothing."""
        when, known = self._told.get(peer, (-AGAIN_S, 0))
        if trio.current_time() < when + AGAIN_S and known == self._members.revocations:
            return
        words = await self._words(peer)
        if words is not None:
            try:
                await self._heard(peer, await self._post(peer, words))
            except StoreError:
                raise
            except SyncError as error:
                logger.info("a peer could not be told of members: %s", error)
        self._told[peer] = (trio.current_time(), self._members.revocations)

    async def _heard(self, site: SiteId, body: bytes) -> None:
        before = self._members.revocations
        try:
            if await self._take(body) != site:
                raise UnexpectedMessageError("these are the words of another site")
        finally:
            with trio.CancelScope(shield=True):
                await self._changed()
        if self._members.revocations != before:
            self._told.clear()
