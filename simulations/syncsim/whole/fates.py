"""Misfortunes as they befall machines: crashes, power cuts, backups put back, copies, rebuilds.

A site whose database went back together with its anchor must meet somebody who knows more of it
before it meets anybody else (as in `tests/fleet.py`): otherwise one number names two changesets
for good, which nothing that travels can show. That is what anchors are for, and no promise
covers it. Until it has been told it can reach nobody else; where nobody could tell it, its anchor
is lost instead of put back, and the node goes on under a new incarnation by itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from syncnode.identity import decode_token
from syncnode.operations.membership import answer_join, invite, join_by
from syncproto.identity import Origin
from syncsim.events import Mishap
from syncsim.history import Writes
from syncsim.scenario import generator
from syncsim.whole import birth
from syncsim.whole.clock import now_ms
from syncsim.whole.site import Site
from syncsim.whole.subject import SqliteSubject

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

    put_back: Callable[[], SqliteSubject]
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

    async def _crash(self, site: Site) -> None:
        """Half of the crashes come right after a piece of work that was begun by then."""
        if self._rng.random() < 0.5 and site.running:
            site.light_fuse(1 + self._rng.randrange(FUSE_MAX))
            with trio.move_on_after(FUSE_S):
                await site.ended.wait()
        await self._end(site)
        await self._start_again(site)

    async def _end(self, site: Site) -> None:
        self._starts[site.host] = self._starts.get(site.host, 0) + 1
        site.kill()
        await site.ended.wait()

    async def _start_again(self, site: Site) -> None:
        """Unless something else befalls it before."""
        planned = self._starts[site.host] = self._starts.get(site.host, 0) + 1
        await trio.sleep(RESTART_MS / 1000)
        if self._starts[site.host] == planned and not self._dark.get(site.host):
            self._world.start(site)
            await trio.lowlevel.checkpoint()

    def _cut_power(self, site: Site) -> None:
        self._dark[site.host] = self._dark.get(site.host, 0) + 1
        self._starts[site.host] = self._starts.get(site.host, 0) + 1
        self._world.links.set_dark(site.host, True)
        site.kill()

    def _return_power(self, site: Site) -> None:
        self._dark[site.host] -= 1
        if not self._dark[site.host]:
            self._world.links.set_dark(site.host, False)
            self._spawn(self._start_again, site)

    # Backups

    def _back_up(self, number: int, place: int) -> None:
        world = self._world
        site = world.sites[place]
        world.note("backup", site.host)
        frontier = site.subject.frontier()
        origin = max(
            (origin for origin in frontier.origins() if origin.site == site.key.site),
            default=Origin(site.key.site, 1),
        )
        self._backups[number, place] = Backup(
            site.subject.backup(),
            site.settings.anchor.read_text(),
            origin,
            frontier.seq(origin),
            site.record.seen,
            tuple(write.number for write in site.record.pending),
        )

    async def _restore(self, site: Site, backup: Backup, anchor_kept: bool) -> None:
        world = self._world
        if self._meets_few(site) or backup.origin.site != site.key.site:
            # It is to tell, or to be told, what no copy says; or it was built anew meanwhile.
            world.note("unrestored", site.host)
            return
        await self._end(site)
        confidant = None if anchor_kept else self._who_knows_more(site, backup)
        site.put_back(backup.put_back)
        site.record.seen = backup.seen
        # Lines that the copy holds unsealed are sealed a second time: writes of their own.
        writes = world.history.writes
        site.record.pending = site.record.written_again(writes[n] for n in backup.pending)
        if confidant is not None:
            world.note("rollback", site.host, confidant)
            world.history.rolled_back.add(site.key.site)
            site.settings.anchor.write_text(backup.anchor)
            self._confided[site.host] = confidant
            world.links.confide(site.host, confidant)
        elif not anchor_kept:
            world.note("anchor-lost", site.host)
            site.settings.anchor.unlink()
        await self._start_again(site)

    def _meets_few(self, site: Site) -> bool:
        return site.host in self._confided or site.host in self._confided.values()

    def _who_knows_more(self, site: Site, backup: Backup) -> int | None:
        """A neighbour who can tell the site all that anybody could of what the copy lacks."""
        known: list[tuple[int, Site]] = []
        for other in self._world.sites:
            if other is not site:
                frontier = other.subject.frontier()
                own = [origin for origin in frontier.origins() if origin.site == site.key.site]
                if max(own, default=backup.origin) != backup.origin:
                    return None  # it was restored since, and told others under another number
                known.append((frontier.seq(backup.origin), other))
        most = max((seq for seq, _ in known), default=0)
        if most <= backup.seq:
            return None
        for seq, other in known:
            if seq == most and other.host not in self._confided and self._near(site, other):
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
        if self._meets_few(site):
            world.note("unwiped", site.host)
            return
        await self._end(site)
        site.subject.close()
        name = f"{world.scenario.sites[site.host].name}-{site.tally.boots + 1}"
        settings = world.settings(site.host, name, name)
        content = birth.empty_database(world.scenario.sites[site.host].tables)
        new = world.new_site(settings, content, site.tally)
        world.sites[site.host] = new
        for other in range(len(world.sites)):
            if world.calls(new.host, other):
                await self._join(new, other, world.role(other, new.host))
            elif world.calls(other, new.host):
                await self._admit(new, other, world.role(new.host, other))
        await self._start_again(new)

    async def _join(self, new: Site, other: int, role: str) -> None:
        await self._power_at(other)
        self._joined(new, self._world.sites[other], role)

    async def _admit(self, new: Site, other: int, role: str) -> None:
        await self._power_at(other)
        self._joined(self._world.sites[other], new, role)

    async def _power_at(self, host: int) -> None:
        while self._dark.get(host):
            await trio.sleep(POWER_CHECK_S)

    def _joined(self, guest: Site, inviter: Site, role: str) -> None:
        """`invite` and `join`, as people run these commands beside the nodes."""
        world = self._world
        url = world.url(inviter.host)
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
        if not any(world.calls(site.host, other.host) for other in world.sites):
            world.note("uncloned", site.host)  # it calls nobody, so nobody would meet it
            return
        site.record.seal()
        clone = world.cloned(site)
        self.clones.append(clone)
        world.start(clone)
        ends_ms = min(now_ms() + CLONE_MS, world.scenario.faults_ms)
        await trio.sleep_until(ends_ms / 1000)
        clone.kill()
        await clone.ended.wait()
        world.note("turned-off", clone.host)
