"""A run of one scenario with whole nodes: what people do and what goes wrong, in virtual time.

The scenario and what is drawn from it are those of `syncsim.world`; here each site is a shipped
node (`site.py`) with a SQLite file, whose client and server speak HTTP over simulated
connections. Virtual time passes only while every node waits, so a run is the same on any
machine, and an hour of it takes seconds.
"""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from heapq import heappop, heappush
from pathlib import Path
from typing import Any, TextIO

import trio

from syncnode.identity.credentials import SiteKey
from syncnode.links.peers import Peer, put_peer, read_peers
from syncnode.settings.config import Address, Limits, Settings
from syncnode.store.database import Database
from syncproto.errors import ConfigError
from syncproto.identity import SiteId
from syncsim.events import Transaction
from syncsim.history import History
from syncsim.misfortunes import mishaps
from syncsim.network import Network
from syncsim.people import script, shared_statements
from syncsim.scenario import Scenario, generator
from syncsim.schema import TABLES
from syncsim.whole import birth, figures
from syncsim.whole.clock import VirtualClock, collect, deterministic, now_ms
from syncsim.whole.fates import Fates
from syncsim.whole.links import Links
from syncsim.whole.record import Tally
from syncsim.whole.site import Site
from syncsim.whole.streams import PORT, host_name
from syncsim.world import Progress, Run, neighbourhoods

ROW_BYTES = 120  # of an encoded row, about: a scenario counts a chunk in rows, a node in bytes
CHUNK_BYTES_LEAST = 400
START_MS = 2_000  # machines are switched on one after the other
COLLECT_S = 300.0
REST_CHECK_S = 0.5  # in the quiet: between two looks whether all sites hold the same
PROGRESS_S = 0.5


class World:
    """One run.

    Args:
        trace: Gets a line for each event of the run.
        progress: Called about twice a second with the virtual time and where it ends.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        *,
        trace: TextIO | None = None,
        progress: Progress | None = None,
    ) -> None:
        if scenario.gossip.rule != "ours":
            raise ConfigError(
                f"whole nodes run the shipped protocol; the rule {scenario.gossip.rule!r} is for "
                "level sites"
            )
        self.scenario = scenario
        self.seed = seed
        self.history = History(delete_wins=scenario.delete_wins)
        self.network = Network(scenario, seed)
        self.counts: Counter[str] = Counter()
        self.sites: list[Site] = []
        self.links: Links
        self.nursery: trio.Nursery
        self.offsets_ms: list[int] = [site.offset_ms for site in scenario.sites]
        self.converged_ms: int | None = None
        self.hasher = hashlib.sha256()
        self._hoods = neighbourhoods(scenario, seed)
        self._places: list[int] = [*range(len(scenario.sites))]  # the site of each machine
        self._hosts: dict[SiteId, int] = {}
        self._committed_ms: dict[int, int] = {}
        self._secrets = generator(seed, "site keys")
        self._folder = Path()
        self._passed_ms = 0
        self._clocks_right = False
        self._trace_file = trace
        self._progress = progress
        self._told_s = time.monotonic()
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._lines = 0  # of the trace, so far
        self._muted = True

    # The whole run

    def run(self) -> Run:
        """Play the scenario to its end."""
        log = _ErrorLog()
        logger = logging.getLogger("syncnode")
        logger.addHandler(log)
        try:
            with birth.new_folder() as folder, deterministic(self.seed):
                self._folder = Path(folder)
                run = trio.run(self._main, clock=VirtualClock())
        finally:
            logger.removeHandler(log)
        assert not log.texts, f"a node failed: {log.texts[0]}"
        return run

    async def _main(self) -> Run:
        async with trio.open_nursery() as self.nursery:
            self.links = Links(self.scenario, self.network, self.seed, self.nursery)
            self._found()
            self._muted = False
            self.figures = figures.Figures(self)
            self.fates = Fates(self)
            self._plan()
            self.nursery.start_soon(self._collect)
            await self._play(self.scenario.faults_ms)
            await self._rest()
            run = self.figures.finished()
            for site in [*self.sites, *self.fates.clones]:
                site.kill()
                await site.ended.wait()
                site.subject.close()
            self.nursery.cancel_scope.cancel()
        return run

    def _plan(self) -> None:
        scenario, seed = self.scenario, self.seed
        starts = generator(seed, "starts")
        for site in self.sites:
            self.fates.start_first(site, starts.randrange(START_MS))
        self._script = script(scenario, seed)
        self._next_transaction()
        for number, mishap in enumerate(mishaps(scenario, seed)):
            self.fates.announce(number, mishap)
        self.figures.plan()

    async def _play(self, until_ms: int) -> None:
        """What is planned happens at its time, up to and with that time."""
        while self._queue and self._queue[0][0] <= until_ms:
            at_ms, _, action, arguments = heappop(self._queue)
            await trio.sleep_until(at_ms / 1000)
            action(*arguments)
            if self._progress is not None and time.monotonic() - self._told_s >= PROGRESS_S:
                self._told_s = time.monotonic()
                self._progress(at_ms, self.scenario.ends_ms)
        await trio.sleep_until(until_ms / 1000)

    async def _collect(self) -> None:
        while True:
            await trio.sleep(COLLECT_S)
            collect()

    # For those who make things happen

    def at(self, at_ms: int, action: Callable[..., None], *arguments: Any) -> None:
        """Plan something; not before now."""
        self._order += 1
        heappush(self._queue, (max(at_ms, 0), self._order, action, arguments))

    def note(self, what: str, *detail: object) -> None:
        """A line of the trace, and a count."""
        if self._muted:
            return
        self.counts[what] += 1
        self._lines += 1
        line = f"{now_ms()} {what} {' '.join(map(str, detail))}\n"
        self.hasher.update(line.encode())
        if self._trace_file is not None:
            self._trace_file.write(line)
        if what == "renew":
            self.fates.renewed(int(str(detail[0])))

    def start(self, site: Site) -> None:
        """Switch its node on."""
        self.note("start", site.host)
        site.start(self.nursery)

    def wall_ms(self, host: int) -> int:
        """What the clock of a machine shows."""
        elapsed_ms, scenario = now_ms(), self.scenario
        right_ms = scenario.start_unix_ms + self._passed_ms + elapsed_ms
        if self._clocks_right:
            return right_ms
        place = self._places[host]
        drift_ms = elapsed_ms * scenario.sites[place].drift_ppm / 1e6
        return right_ms + self.offsets_ms[place] + round(drift_ms)

    def host_of(self, site: SiteId) -> int:
        return self._hosts[site]

    # How it begins

    def _found(self) -> None:
        """Make every site, with the rows that all of them hold from the start."""
        scenario = self.scenario
        first = self._born(0, birth.empty_database(scenario.sites[0].tables, scenario.delete_wins))
        self.sites.append(first)
        first.execute(shared_statements(scenario))
        first.tally.writes = 0
        self._committed_ms.clear()
        first.record.seal()
        contents: dict[birth.Tables, bytes] = {}
        for number, declared in enumerate(scenario.sites[1:], 1):
            tables = declared.tables
            if tables not in contents:
                chunks = birth.whole_delta(
                    first.subject.replica, [*(tables if tables is not None else TABLES)]
                )
                contents[tables] = birth.filled_database(
                    tables, scenario.delete_wins, self._folder, chunks, first.machine.wall_ms
                )
            site = self._born(number, contents[tables])
            self.sites.append(site)
            site.record.seen = first.record.seen & self.history.of_tables(site.record.tables)
        first.subject.detach()
        for site in self.sites:
            self.acquaint(site)

    def _born(self, number: int, content: bytes) -> Site:
        declared = self.scenario.sites[number]
        return self.new_site(
            self.settings(number, declared.name, str(number)),
            content,
            Tally(number, self.note),
        )

    def settings(self, number: int, name: str, folder: str) -> Settings:
        """The settings of the site of that index; its files lie in a folder of their own."""
        scenario = self.scenario
        declared, place = scenario.sites[number], self._folder / folder
        called = any(self.calls(other, number) for other in range(len(scenario.sites)))
        chunk_bytes = max(CHUNK_BYTES_LEAST, scenario.gossip.rows_max * ROW_BYTES)
        return Settings(
            path=place / "syncnode.toml",
            name=name,
            database=f"sqlite:///{place / 'site.db'}",
            key=place / "site.key",
            anchor=place / "site.anchor",
            listen=Address(host_name(number), PORT) if called else None,
            limits=replace(Limits(), chunk_bytes_max=min(Limits().chunk_bytes_max, chunk_bytes)),
            every_ms=declared.every_ms or scenario.gossip.every_ms,
        )

    def new_site(self, settings: Settings, content: bytes, tally: Tally) -> Site:
        """A machine with a database of its own, and no node running yet."""
        key = birth.make_site(settings, content, self._secrets.randbytes(32))
        self._hosts[key.site] = tally.host
        self.history.names[key.site] = settings.name
        return self._site(settings, key, tally)

    def cloned(self, site: Site) -> Site:
        """A second machine at the place of the first, with a copy of all its files."""
        host = self.links.add_host(site.host)
        self._places.append(site.host)
        settings = self.settings(site.host, site.settings.name, f"clone{host}")
        birth.copy_site(site.settings, settings, site.subject.application.copy())
        clone = self._site(settings, site.key, Tally(host, self.note))
        clone.record.seen = site.record.seen
        return clone

    def _site(self, settings: Settings, key: SiteKey, tally: Tally) -> Site:
        kept = self.scenario.sites[self._places[tally.host]].tables
        return Site(
            settings,
            key,
            tally=tally,
            seed=self.seed,
            schema={name: TABLES[name] for name in TABLES if kept is None or name in kept},
            clock=lambda: self.wall_ms(tally.host),
            links=self.links,
            history=self.history,
            known=self.host_of,
            committed_ms=self._committed_ms,
        )

    def calls(self, one: int, other: int) -> bool:
        """Whether a site has the address of another: of its parent, or of a peer beside it."""
        hood = self._hoods[one]
        return other == hood.parent or other in hood.beside

    def neighbours(self, number: int) -> list[int]:
        """The parent, peers and children of a site."""
        return self._hoods[number].everybody()

    def role(self, one: int, other: int) -> str:
        """What the second site is to the first."""
        hood = self._hoods[one]
        if other == hood.parent:
            return "parent"
        return "child" if other in hood.children else "peer"

    def url(self, number: int) -> str:
        return f"https://{host_name(number)}:{PORT}"

    def acquaint(self, site: Site) -> None:
        """Its neighbours are members in its database, as `join` leaves it."""
        with Database(site.settings.database, light=True).write() as tx:
            known = {peer.site for peer in read_peers(tx)}
            for there in self.neighbours(site.host):
                peer = self.sites[there]
                if peer.key.site not in known:
                    url = self.url(there) if self.calls(site.host, there) else ""
                    role, public = self.role(site.host, there), peer.key.public
                    put_peer(tx, Peer(peer.key.site, peer.settings.name, role, url, public))

    def are_acquainted(self, one: Site, other: Site) -> bool:
        """Each is a member in the other's database."""
        for here, there in ((one, other), (other, one)):
            with Database(here.settings.database, light=True).read() as tx:
                if there.key.site not in {peer.site for peer in read_peers(tx)}:
                    return False
        return True

    # People

    def _next_transaction(self) -> None:
        transaction = next(self._script, None)
        if transaction is not None:
            self.at(transaction.at_ms, self._execute, transaction)

    def _execute(self, transaction: Transaction) -> None:
        site = self.sites[transaction.site]
        if self.links.is_dark(site.host):
            self.note("unwritten", site.host)  # without power nobody writes
        else:
            self.note("write", site.host, site.execute(transaction.statements))
        self._next_transaction()

    # The quiet

    async def _rest(self) -> None:
        """Wait until all sites hold the same, or the time is over."""
        self._clocks_right = True
        latest_ms = max(
            (write.hlc >> 16 or write.wall_ms for write in self.history.writes), default=0
        )
        # Stamps of the future: nobody waits for them in virtual time.
        self._passed_ms = max(0, latest_ms + 1_000 - self.wall_ms(0))
        self.note("quiet", self._passed_ms)
        ends_s = self.scenario.ends_ms / 1000
        looked = -1
        while True:
            if looked != self._lines:
                looked = self._lines
                if self._at_rest():
                    self.converged_ms = now_ms() - self.scenario.faults_ms
                    self.note("converged", self.converged_ms)
                    return
            if trio.current_time() >= ends_s:
                return
            await self._play(round(min(trio.current_time() + REST_CHECK_S, ends_s) * 1000))

    def _at_rest(self) -> bool:
        if self.fates.unfinished or not all(site.running for site in self.sites):
            return False
        # What the record says costs nothing to compare; what the databases say, some time.
        seen = {
            tables: {site.record.seen for site in self.sites if site.record.tables == tables}
            for tables in {site.record.tables for site in self.sites}
        }
        if any(len(found) > 1 for found in seen.values()):
            return False
        if any(site.record.pending for site in self.sites):
            return False
        held: dict[str, bytes] = {}
        for site in self.sites:
            frontier = site.subject.frontier()
            for table in frontier.scopes:
                digest = frontier.within([table]).digest()
                if held.setdefault(table, digest) != digest:
                    return False
        return not any(site.subject.application.keeps_aside() for site in self.sites)


class _ErrorLog(logging.Handler):
    """Keeps what nodes log as an error of ours: in a simulation none is expected."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {record.exc_info[1]!r}"
        self.texts.append(text)


def run_nodes(
    scenario: Scenario,
    seed: int = 1,
    *,
    trace: TextIO | None = None,
    progress: Progress | None = None,
) -> Run:
    """Play a scenario on level (b)."""
    return World(scenario, seed, trace=trace, progress=progress).run()
