"""LAN discovery within a node: what `links/neighbours.py` decides, done with the node's parts."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from syncnode.links.client import PeerAddress, PeerClient
from syncnode.links.lan import Announcement, Sighting
from syncnode.links.neighbours import Heard, Neighbours
from syncnode.links.sightings import Seen, put_seen
from syncnode.operations.vouching import meet, words_to
from syncproto.errors import PeerUnreachableError, StoreError, SyncError, UnexpectedMessageError
from syncproto.identity import SiteId
from syncproto.messages import PROTOCOL_VERSION

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from syncnode.run import Parts

MEET_S_MAX = 10.0  # on a LAN; who pretends to be there may take the call and say nothing


class Nearby:
    """The neighbourhood of one running node.

    Args:
        host, port: Where the node listens; no port if nowhere.
        follow: Called when other sites are to be called than before; with a site that has just
            proven to be there, if one has.
        members_changed: Reads the members anew.
    """

    def __init__(
        self,
        parts: "Parts",
        *,
        host: str,
        port: int | None,
        follow: Callable[[SiteId | None], None],
        members_changed: "Callable[[], Awaitable[None]]",
        notice: Callable[[str], None],
    ) -> None:
        self._parts = parts
        self._host, self._port = host, port
        self._follow = follow
        self._members_changed = members_changed
        self._notice = notice
        self._revocations = parts.members.revocations
        self._scope = trio.CancelScope()
        self._neighbours = self._new(parts.members.network)

    def _new(self, network: bytes) -> Neighbours:
        parts, machine = self._parts, self._parts.ports.machine
        self._network = network
        neighbours = Neighbours(
            parts.key.site,
            network,
            meet=self._meet,
            known=lambda: parts.members.by_site.keys(),
            changed=self._changed,
            write=self._write,
            wall_ms=machine.wall_ms,
            chance=machine.chance,
        )
        parts.members.lost = neighbours.lost
        return neighbours

    def chosen(self, declared: list[SiteId]) -> list[SiteId]:
        """Whom to call besides those that have an address of their own."""
        return self._neighbours.chosen(declared)

    def members_read(self) -> None:
        """The members are known anew: another network is announced, revocations are told."""
        members = self._parts.members
        if members.network != self._network:
            self._scope.cancel()
        elif members.revocations != self._revocations:
            self._neighbours.meet_all()
        self._revocations = members.revocations

    async def run(self) -> None:
        """Look and be seen, until cancelled."""
        while True:
            with trio.CancelScope() as self._scope:
                await self._neighbours.run(self._discover)
            self._neighbours = self._new(self._parts.members.network)
            self._changed(None)

    async def _discover(self, heard: Heard) -> None:
        parts = self._parts
        announcement = Announcement(
            parts.key.site, self._network, PROTOCOL_VERSION, self._host, self._port
        )
        await parts.ports.discover(announcement, parts.settings.lan, heard, self._notice)

    def _changed(self, met: SiteId | None) -> None:
        self._parts.members.nearby = dict(self._neighbours.urls)
        self._follow(met)

    async def _write(self, seen: list[Seen]) -> None:
        database = self._parts.replica.database

        def work() -> None:
            with database.write() as tx:
                put_seen(tx, seen)

        try:
            await self._parts.in_database(work)
        except StoreError as error:
            if not error.transient:  # otherwise the next write says it
                raise

    # Meeting

    async def answer(self, body: bytes) -> bytes:
        """Our words to a site that says who it is.

        Raises:
            PeerError: It is no member of this network.
        """
        return await self._words_to(await self._take(body))

    async def _words_to(self, site: SiteId) -> bytes:
        parts = self._parts
        return await parts.in_database(
            lambda: words_to(parts.replica.database, parts.key, parts.settings.name, site)
        )

    async def _take(self, body: bytes) -> SiteId:
        parts = self._parts
        try:
            return await parts.in_database(
                lambda: meet(parts.replica.database, parts.key, parts.settings.name, body)
            )
        finally:
            with trio.CancelScope(shield=True):
                await self._members_changed()

    async def _meet(self, sighting: Sighting) -> str:
        """Where the site has proven to be.

        Raises:
            SyncError: It has not, or is no member; the text is for people.
        """
        url, answer = await self._first_answer(sighting, await self._words_to(sighting.site))
        if await self._take(answer) != sighting.site:
            raise UnexpectedMessageError("these are the words of another site")
        return url

    async def _first_answer(self, sighting: Sighting, body: bytes) -> tuple[str, bytes]:
        """Of all addresses at once: that of the site, and what it said there.

        Raises:
            SyncError: At none of them is the site, or it says no.
        """
        answers: list[tuple[str, bytes]] = []
        errors: list[SyncError] = []
        parts = self._parts
        # A client for this alone: of strangers nothing is kept.
        async with PeerClient(
            parts.key, transport=parts.ports.transport, chance=parts.ports.machine.chance
        ) as client:

            async def ask(url: str, scope: trio.CancelScope) -> None:
                address = PeerAddress(sighting.site, url)
                try:
                    answer = await client.join(address, "/meet", body, timeout_s=MEET_S_MAX)
                except SyncError as error:
                    errors.append(error)
                else:
                    answers.append((url, answer))
                    scope.cancel()

            with trio.move_on_after(MEET_S_MAX):
                async with trio.open_nursery() as nursery:
                    for url in sighting.urls:
                        nursery.start_soon(ask, url, nursery.cancel_scope)
        if answers:
            return answers[0]
        raise (
            errors[0]
            if errors
            else PeerUnreachableError(
                f"no answer at {', '.join(sighting.urls)} within {MEET_S_MAX:.0f} s"
            )
        )
