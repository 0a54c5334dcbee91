"""Misfortunes as they befall machines: crashes, power cuts, backups put back, copies, rebuilds.

A site whose database went back together with its anchor must first meet somebody who knows as
much of it as anybody does: otherwise one number names two changesets for good, which nothing that
travels can show. That is what anchors are for, and no promise covers it. Until it has been told
it can reach nobody else. Where nobody knows more of it than the copy does, its anchor is lost
instead, and the node goes on under a new incarnation by itself; where only somebody far away
does, nothing is put back, and that is counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from syncnode.identity.credentials import decode_token
from syncnode.links.peers import read_peers
from syncnode.operations.forgetting import forget
from syncnode.operations.membership import answer_join, invite, join_by
from syncnode.store.database import Database
from syncproto.identity import Origin
from syncsim.events import Mishap
from syncsim.history import Writes
from syncsim.scenario import generator
from syncsim.whole import birth
from syncsim.whole.clock import now_ms
from syncsim.whole.site import Site

if TYPE_CHECKING:
    from syncsim.whole.world import World

RESTART_MS = 3_000  # from the end of a process to its next start
FUSE_MAX = 6  # pieces of work on the database after which a crash comes, at most
FUSE_S = 20.0  # then it comes anyway
CLONE_MS = 120_000  # before somebody notices the copy and turns it off
POWER_CHECK_S = 1.0


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of a site's database, and what the record said of it then."""

    content: bytes
    anchor: str
    origin: Origin
    seq: int
    seen: Writes
    pending: tuple[int, ...]


class Fates:
    """Carries misfortunes out.

    Attributes:
        clones: The second machines.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rng = generator(world.seed, "fates")
        self._starts: dict[int, int] = {}  # the latest start planned, by machine
        self._dark: dict[int, int] = {}  # how many power cuts last, by machine
        self._backups: dict[tuple[int, int], Backup] = {}
        self._confided: dict[int, int] = {}  # who may meet whom only
        self._doubled: set[bytes] = set()  # whose keys two machines have now
        self._under_way = 0
        self.clones: list[Site] = []

    @property
    def unfinished(self) -> bool:
        """Something that has begun goes on still."""
        return bool(self._under_way or self._confided)

    def announce(self, number: int, mishap: Mishap) -> None:
        """Plan a misfortune, the one of that number."""
        world = self._world
        if mishap.kind == "restore":
            for site in mishap.sites:
                world.at(mishap.at_ms - mishap.age_ms, self._back_up, number, site)
        world.at(mishap.at_ms, self._begin, number, mishap)
        if mishap.kind in ("partition", "power-cut", "clock"):
            world.at(mishap.until_ms, self._over, mishap)

    def _begin(self, number: int, mishap: Mishap) -> None:
        world = self._world
        world.note(mishap.kind, *mishap.sites)
        if mishap.kind == "partition":
            world.network.cut(mishap)
            return
        for place in mishap.sites:
            site = world.sites[place]
            match mishap.kind:
                case "crash":
                    self._spawn(self._crash, site)
                case "power-cut":
                    self._cut_power(site)
                case "clock":
                    world.offsets_ms[place] += mishap.offset_ms
                case "restore":
                    self._spawn(self._restore, site, self._backups[number, place], mishap.anchor)
                case "wipe":
                    self._spawn(self._wipe, site)
                case "clone":
                    self._spawn(self._clone, site)

    def _over(self, mishap: Mishap) -> None:
        world = self._world
        world.note("over", mishap.kind, *mishap.sites)
        if mishap.kind == "partition":
            world.network.heal(mishap)
        for place in mishap.sites:
            if mishap.kind == "clock":
                world.offsets_ms[place] -= mishap.offset_ms
            elif mishap.kind == "power-cut":
                self._return_power(world.sites[place])

    def _spawn(self, work: Callable[..., object], *arguments: object) -> None:
        """Do something that takes time."""

        async def doing() -> None:
            try:
                await work(*arguments)  # type: ignore[misc]
            finally:
                self._under_way -= 1

        self._under_way += 1
        self._world.nursery.start_soon(doing)

    # Processes and power

    def start_first(self, site: Site, after_ms: int) -> None:
        """Somebody switches the machine on."""
        self._spawn(self._start_again, site.host, after_ms)

    async def _crash(self, site: Site) -> None:
        """Half of the crashes come right after a piece of work that was begun by then."""
        if self._rng.random() < 0.5 and site.running:
            site.light_fuse(1 + self._rng.randrange(FUSE_MAX))
            with trio.move_on_after(FUSE_S):
                await site.ended.wait()
            if site.ended.is_set() and not site.burnt:
                return  # something else ended it, and sees to its start
        await self._end(site)
        await self._start_again(site.host)

    async def _end(self, site: Site) -> None:
        self._starts[site.host] = self._starts.get(site.host, 0) + 1
        site.kill()
        await site.ended.wait()

    async def _start_again(self, host: int, after_ms: int = RESTART_MS) -> None:
        """Unless something else befalls it before."""
        planned = self._starts[host] = self._starts.get(host, 0) + 1
        await trio.sleep(after_ms / 1000)
        if self._starts[host] == planned and not self._dark.get(host):
            self._world.start(self._world.sites[host])

    def _cut_power(self, site: Site) -> None:
        self._dark[site.host] = self._dark.get(site.host, 0) + 1
        self._starts[site.host] = self._starts.get(site.host, 0) + 1
        self._world.links.set_dark(site.host, True)
        site.kill()

    def _return_power(self, site: Site) -> None:
        self._dark[site.host] -= 1
        if not self._dark[site.host]:
            self._world.links.set_dark(site.host, False)
            self._spawn(self._start_again, site.host)

    # Backups

    def _back_up(self, number: int, place: int) -> None:
        world = self._world
        site = world.sites[place]
        world.note("backup", site.host)
        self._backups[number, place] = Backup(
            site.subject.application.copy(),
            site.settings.anchor.read_text(),
            *_known(site, site),
            site.record.seen,
            tuple(write.number for write in site.record.pending),
        )

    async def _restore(self, site: Site, backup: Backup, anchor_kept: bool) -> None:
        world = self._world
        if self._is_tied(site) or backup.origin.site != site.key.site:
            world.note("unrestored", site.host)
            return
        await self._end(site)
        if site is not world.sites[site.host]:
            world.note("unrestored", site.host)  # built anew in this moment
            return
        known = [] if anchor_kept else self._known_beyond(site, backup)
        confidant = self._confidant(site, backup, known) if known else None
        if known and confidant is None:
            world.note("unrestored", site.host)
        else:
            self._put_back(site, backup, confidant, anchor_kept=anchor_kept)
        await self._start_again(site.host)

    def _put_back(
        self, site: Site, backup: Backup, confidant: int | None, *, anchor_kept: bool
    ) -> None:
        world, record = self._world, site.record
        latest, _ = _known(site, site)
        site.put_back(backup.content)
        record.seen = backup.seen
        # Lines that the copy holds unsealed are sealed a second time: writes of their own.
        writes = world.history.writes
        record.pending = record.written_again(writes[number] for number in backup.pending)
        if confidant is not None:
            world.note("rollback", site.host, confidant)
            world.history.rolled_back.add(site.key.site)
            site.settings.anchor.write_text(backup.anchor)
            self._confided[site.host] = confidant
            world.links.confide(site.host, confidant)
        elif not anchor_kept:
            world.note("anchor-lost", site.host)
            site.settings.anchor.unlink()
            if latest != backup.origin:
                # The incarnation that it draws now it had before; of that one nobody knows.
                world.history.rolled_back.add(site.key.site)
        # Whoever joined since is not known any more; its operator sees to that.
        world.acquaint(site)

    def _is_tied(self, site: Site) -> bool:
        """It is to tell, or to be told, what no copy says; or a second machine goes on as it."""
        confided = self._confided
        tied = site.host in confided or site.host in confided.values()
        return tied or site.key.site in self._doubled

    def _known_beyond(self, site: Site, backup: Backup) -> list[tuple[Origin, int, Site]]:
        """Of each other site that knows more of this one than the copy does: how much."""
        found = []
        for other in self._world.sites:
            known = _known(site, other)
            if other is not site and known > (backup.origin, backup.seq):
                found.append((*known, other))
        return found

    def _confidant(
        self, site: Site, backup: Backup, known: list[tuple[Origin, int, Site]]
    ) -> int | None:
        """A neighbour who knows as much of the site as anybody does."""
        most = max((origin, seq) for origin, seq, _ in known)
        if most[0] != backup.origin:
            return None  # it was restored since: under the older name nobody can tell it all
        for origin, seq, other in known:
            if (origin, seq) == most and not self._is_tied(other) and self._near(site, other):
                return other.host
        return None

    def _near(self, one: Site, other: Site) -> bool:
        world = self._world
        return world.calls(one.host, other.host) or world.calls(other.host, one.host)

    def renewed(self, host: int) -> None:
        """A site has been told that it was put back: it meets everybody again."""
        if self._confided.pop(host, None) is not None:
            self._world.links.confide(host, None)
            self._world.note("settled", host)

    # Machines

    async def _wipe(self, site: Site) -> None:
        """The database is lost. The site is built anew, as one that nobody knows, and joins."""
        world = self._world
        if self._is_tied(site):
            world.note("unwiped", site.host)
            return
        await self._end(site)
        if site is not world.sites[site.host] or self._is_tied(site):
            world.note("unwiped", site.host)  # in this moment something else befell it
            await self._start_again(site.host)
            return
        site.subject.close()
        name = f"{world.scenario.sites[site.host].name}-{site.tally.boots + 1}"
        settings = world.settings(site.host, name, name)
        content = birth.empty_database(world.scenario.sites[site.host].tables)
        new = world.new_site(settings, content, site.tally)
        world.sites[site.host] = new
        for other in world.neighbours(new.host):
            await self._power_at(other)
            neighbour = world.sites[other]
            self._forget(neighbour, site)
            if world.calls(new.host, other):
                self._joined(new, neighbour, world.role(other, new.host))
            else:
                self._joined(neighbour, new, world.role(new.host, other))
        await self._start_again(new.host)

    def _forget(self, site: Site, gone: Site) -> None:
        """`forget`, of a peer that is lost."""
        with Database(site.settings.database, light=True).read() as tx:
            known = {peer.site for peer in read_peers(tx)}
        if gone.key.site in known:
            forget(site.settings, gone.settings.name)
            site.changed_by_hand()

    async def _power_at(self, host: int) -> None:
        while self._dark.get(host):
            await trio.sleep(POWER_CHECK_S)

    def _joined(self, guest: Site, inviter: Site, role: str) -> None:
        """`invite` and `join`, as people run these commands beside the nodes."""
        world = self._world
        url = world.url(inviter.host)
        if world.are_acquainted(guest, inviter):
            return  # both were built anew at once, and the other one was first
        for site in (guest, inviter):
            site.record.seal()  # the commands would, unseen by the record
        made = invite(
            inviter.settings,
            guest.settings.name,
            role="child" if role == "child" else "peer",
            url=url,
            machine=inviter.machine,
        )

        def send(body: bytes) -> bytes:
            return answer_join(
                inviter.subject.replica,
                inviter.key,
                inviter.settings,
                body,
                machine=inviter.machine,
            )

        joined = join_by(
            guest.settings,
            decode_token(made.token),
            send,
            confirm=lambda _: True,
            progress=lambda _: None,
            machine=guest.machine,
        )
        assert joined.joined, "nothing stands in the way"
        world.note("join", guest.host, inviter.host)
        guest.changed_by_hand()
        inviter.changed_by_hand()

    async def _clone(self, site: Site) -> None:
        """A second machine starts from a copy, with the same key, and is turned off some time
        later. Nobody writes there."""
        world = self._world
        if self._is_tied(site) or not any(
            world.calls(site.host, other.host) for other in world.sites
        ):
            world.note("uncloned", site.host)  # who calls nobody is met by nobody
            return
        self._doubled.add(site.key.site)
        site.record.seal()
        clone = world.cloned(site)
        self.clones.append(clone)
        world.start(clone)
        ends_ms = min(now_ms() + CLONE_MS, world.scenario.faults_ms)
        await trio.sleep_until(ends_ms / 1000)
        clone.kill()
        await clone.ended.wait()
        self._doubled.remove(site.key.site)
        world.note("turned-off", clone.host)


def _known(site: Site, other: Site) -> tuple[Origin, int]:
    """The latest origin of a site that another one knows, and the last number under it."""
    frontier = other.subject.frontier()
    own = [origin for origin in frontier.origins() if origin.site == site.key.site]
    latest = max(own, default=Origin(site.key.site, 1))
    return latest, frontier.seq(latest)
