"""The files of a node that runs: looks through the directories, and moves content behind all rows.

Who can call a peer does so while something is missing here, or when something has changed that the
peer may want; what the peer wants comes with its answers, so one of the two need not call.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import trio

from syncnode.files.catalogue import Catalogue
from syncnode.files.folder import Folder, FolderError
from syncnode.files.notes import Stat
from syncnode.files.scanning import look
from syncnode.files.settings import Directory
from syncnode.files.supply import Supply
from syncproto.errors import PeerError, RefusedError, StoreError, TransportError
from syncproto.file_turns import (
    ROOM_BYTES_MAX,
    FileTurn,
    decode_file_turn,
    encode_file_turn,
)
from syncproto.identity import SiteId, site_text
from syncproto.windows import opens_in_ms

if TYPE_CHECKING:
    from syncnode.run import Parts

logger = logging.getLogger(__name__)

LOOK_S = 2.0  # between two looks at a directory
LOOK_TIMES = 20  # or so many times what a look takes: 5 % of one core for a large directory
TICK_S = 1.0  # between two looks whether there is something to ask or to offer
LATER_S = 2.0  # while rows are exchanged
OFFER_S = 900.0  # in which a peer is asked once whether it wants something, if nothing changes
NO_FILES_S = 900.0  # before a peer that has no directories is asked again
FAILED_S, FAILED_LAST_S = 2.0, 300.0
TRASH_S = 3_600.0
# Of one turn: little until a link has shown that it carries more, so that rows which come up
# meanwhile wait for seconds at most.
ROOM_FIRST, ROOM_LEAST = 16 << 10, 2 << 10
QUICK_S, SLOW_S = 1.0, 4.0


class Files:
    """The declared directories of one node.

    Args:
        notice: Told in a sentence what a person should know.
    """

    def __init__(self, parts: "Parts", notice: Callable[[str], None]) -> None:
        self._parts = parts
        self._notice = notice
        self._catalogues: list[Catalogue] = []
        clock = trio.lowlevel.current_clock()  # asked in threads, too
        self._supply = Supply(
            parts.replica, self._catalogues, name_of=self._name_of, now_s=clock.current_time
        )
        self._limiter = trio.CapacityLimiter(1)  # one look at a time
        self._leads = False
        self._calling: set[SiteId] = set()
        self._rooms: dict[SiteId, int] = {}
        self._not_before: dict[SiteId, float] = {}
        self._failures: dict[SiteId, int] = {}
        self._offered: dict[SiteId, tuple[int, bytes, int]] = {}

    async def run(self) -> None:
        """Keep the directories in step; never returns."""
        self._leads = True
        async with trio.open_nursery() as nursery:
            for directory in self._parts.settings.files:
                nursery.start_soon(self._follow, directory)
            nursery.start_soon(self._call_often, nursery)

    def close(self) -> None:
        """Blocking: close what is open."""
        for one in self._catalogues:
            one.folder.close()
        self._catalogues.clear()

    def open_to_answer(self) -> None:
        """Blocking: for a process that answers and does not lead."""
        for directory in self._parts.settings.files:
            try:
                self._catalogues.append(Catalogue(self._parts.replica, Folder(directory)))
            except FolderError as error:
                logger.warning("%s", error)

    # Looking

    async def _follow(self, directory: Directory) -> None:
        catalogue = await self._opened(directory)
        before: Mapping[str, Stat] = {}
        trash_s = -TRASH_S
        while True:
            began_s = trio.current_time()
            if began_s - trash_s >= TRASH_S:
                trash_s = began_s
                await self._tidy(catalogue)
            before, more = await self._look(catalogue, before)
            took_s = trio.current_time() - began_s
            await trio.sleep(0 if more else max(LOOK_S, LOOK_TIMES * took_s))

    async def _opened(self, directory: Directory) -> Catalogue:
        said = ""
        while True:
            try:
                folder = await self._parts.in_database(lambda: Folder(directory))
            except FolderError as error:
                if str(error) != said:
                    said = str(error)
                    self._notice(said)
                await trio.sleep(LOOK_S)
                continue
            catalogue = next((o for o in self._catalogues if o.directory == directory), None)
            if catalogue is None:
                catalogue = Catalogue(self._parts.replica, folder)
                self._catalogues.append(catalogue)
            else:
                folder.close()
            return catalogue

    async def _look(
        self, catalogue: Catalogue, before: Mapping[str, Stat]
    ) -> tuple[Mapping[str, Stat], bool]:
        """Look once and take up what is found; what is there, and whether there is more."""
        parts = self._parts
        try:
            known = await parts.in_database(catalogue.stats)
            found = await parts.ports.run_blocking(
                lambda: look(catalogue.folder, known, before), limiter=self._limiter
            )
            if catalogue.is_news(found, known):
                only = await parts.in_database(lambda: self._is_only_received(catalogue))
                changed = await parts.in_database(
                    lambda: catalogue.take_up(found, only_received=only)
                )
                if changed:
                    await parts.exchanger.look(parts.key.site)
        except StoreError as error:
            if not error.transient:
                raise
            logger.warning("changed files could not be taken up now: %s", error)
            return before, False
        except OSError as error:
            self._notice(f"{catalogue.directory.path}: cannot be read ({error.strerror})")
            return before, False
        return found.present, found.more

    def _is_only_received(self, catalogue: Catalogue) -> bool:
        replica, table = self._parts.replica, catalogue.table
        with replica.database.read() as tx:
            return table in replica.words.only_received(tx, [table])

    async def _tidy(self, catalogue: Catalogue) -> None:
        now_s = self._parts.ports.machine.wall_ms() / 1000

        def work() -> None:
            try:
                catalogue.tidy(now_s)
            except OSError as error:
                logger.warning("old files could not be deleted: %s", error.strerror)

        await self._parts.in_database(work)

    # Calling

    async def _call_often(self, nursery: trio.Nursery) -> None:
        parts = self._parts
        while True:
            try:
                await parts.in_database(self._follow_all)
            except StoreError as error:
                if not error.transient:
                    raise
            for site in (*parts.members.called(), *parts.members.nearby):
                if site not in self._calling and self._is_due(site):
                    self._calling.add(site)
                    nursery.start_soon(self._call, site)
            await trio.sleep(TICK_S)

    def _follow_all(self) -> None:
        for one in self._catalogues:
            one.follow()
        asked = self._supply.lacking()
        for one in self._catalogues:
            if one.folder.notes.asked() != asked:
                one.folder.notes.put_asked(asked)

    @property
    def _changes(self) -> int:
        return sum(one.changes for one in self._catalogues)

    def _is_due(self, site: SiteId) -> bool:
        if trio.current_time() < self._not_before.get(site, 0.0) or self._must_wait(site):
            return False
        return self._offered.get(site) != self._offer(site) or self._supply.can_ask(site)

    def _offer(self, site: SiteId) -> tuple[int, bytes, int]:
        """What a peer may want us to call for: changes here, another start there, time."""
        span = int(trio.current_time() / OFFER_S)
        return self._changes, self._parts.client.session(site), span

    def _must_wait(self, site: SiteId) -> bool:
        """For its window of the day, or for its budget."""
        parts, machine = self._parts, self._parts.ports.machine
        now_ms = machine.time_of_day_ms(machine.wall_ms())
        closed = opens_in_ms(parts.links.of(site).open or (), now_ms) > 0
        return closed or parts.exchanger.meter.wait_ms(site) > 0

    async def _call(self, site: SiteId) -> None:
        offer, pause_s = self._offer(site), LATER_S
        try:
            if await self._exchange(site):
                self._offered[site], pause_s = offer, 0.0
            self._failures[site] = 0
        except (TransportError, PeerError) as error:
            failures = self._failures[site] = self._failures.get(site, 0) + 1
            pause_s = min(FAILED_S * 2**failures, FAILED_LAST_S)
            if isinstance(error, RefusedError) and error.status == 404:
                pause_s = NO_FILES_S
            self._rooms[site] = max(self._room(site) // 2, ROOM_LEAST)
            logger.info("files could not be exchanged with a peer now: %s", error)
        except StoreError as error:
            if not error.transient:
                raise
        finally:
            self._supply.end(site)
            self._not_before[site] = trio.current_time() + pause_s
            self._calling.discard(site)

    async def _exchange(self, site: SiteId) -> bool:
        """Turns until neither has anything to say; False if rows go first, or nothing moves."""
        parts, supply = self._parts, self._supply
        if not await parts.in_database(lambda: supply.takes_part(site)):
            return False
        heard, first = FileTurn(), True
        while not self._must_wait(site):
            turn = await parts.in_database(partial(self._said, site, heard))
            if turn is None:
                return False
            if turn.is_idle and not first:
                return True
            heard, first = await self._say(site, turn), False
            await parts.in_database(partial(supply.take, site, heard))
            if heard.later:
                return False
        return False

    def _said(self, site: SiteId, heard: FileTurn) -> FileTurn | None:
        room = self._room(site)
        return self._supply.turn(site, heard.asks, min(heard.room, room), room)

    async def _say(self, site: SiteId, turn: FileTurn) -> FileTurn:
        parts, body, began_s = self._parts, encode_file_turn(turn), trio.current_time()
        encoded = await parts.members.post(
            parts.client, site, body, timeout_s=parts.links.timeout_s(site), path="/files"
        )
        moved = len(body) + len(encoded)
        parts.exchanger.meter.crossed(site, moved)
        self._adapt(site, moved, trio.current_time() - began_s)
        return decode_file_turn(encoded)

    def _room(self, site: SiteId) -> int:
        return min(self._rooms.get(site, ROOM_FIRST), self._room_max)

    @property
    def _room_max(self) -> int:
        return min(ROOM_BYTES_MAX, self._parts.settings.limits.body_bytes_max // 2)

    def _adapt(self, site: SiteId, moved: int, took_s: float) -> None:
        room = self._room(site)
        if took_s > SLOW_S:
            self._rooms[site] = max(room // 2, ROOM_LEAST)
        elif took_s < QUICK_S and moved >= room // 2:
            self._rooms[site] = min(room * 2, ROOM_BYTES_MAX)

    # Answering

    async def answer(self, site: SiteId, body: bytes) -> bytes:
        """Our turn in answer to one of a peer.

        Raises:
            PeerError: The turn is malformed; nothing was changed.
        """
        turn = decode_file_turn(body)
        if not self._parts.links.is_first(site):  # of two that can call, one does
            later_s = trio.current_time() + LATER_S
            self._not_before[site] = max(later_s, self._not_before.get(site, 0.0))

        def work() -> FileTurn:
            if self._leads:  # of what has just arrived the caller may have the content
                for one in self._catalogues:
                    one.follow()
            self._supply.take(site, turn)
            room = self._room_max if self._leads else 0
            said = self._supply.turn(site, turn.asks, min(turn.room, ROOM_BYTES_MAX), room)
            return said if said is not None else FileTurn(later=True)

        answer = encode_file_turn(await self._parts.in_database(work))
        self._parts.exchanger.meter.crossed(site, len(body) + len(answer))
        return answer

    def _name_of(self, site: SiteId) -> str:
        peer = self._parts.members.by_site.get(site)
        return peer.name if peer is not None else site_text(site)
