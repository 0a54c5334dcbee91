"""Opens everything real and runs it in one nursery: the daemon, and a node inside a program.

    async with Node(settings) as node:
        print(node.listening)

Nothing that matters lives in this process: it may end at any instruction.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import trio

from syncnode.comparing.answers import Answers
from syncnode.files.running import Files
from syncnode.hooks.telling import HookRunner
from syncnode.identity.credentials import BOOT_NONCE_BYTES, SiteKey, load_key
from syncnode.identity.renewals import Herald
from syncnode.links.client import PeerClient
from syncnode.links.connection import DEFAULT_LIMITS
from syncnode.links.exchange import Exchanger, News
from syncnode.links.gateway import Gateway
from syncnode.links.gossip import Gossip
from syncnode.links.greeting import TIMEOUT_S, Greeting
from syncnode.links.link_settings import LinkSettings
from syncnode.links.members import Members, Membership, read_membership
from syncnode.links.metering import Meter
from syncnode.links.peers import Peer, put_contacts
from syncnode.links.repeating import Repeating
from syncnode.links.server import serve
from syncnode.links.watcher import Pulse
from syncnode.nearby import Nearby
from syncnode.ports import REAL, Ports
from syncnode.replica import DatabaseReplica
from syncnode.serve_lock import ServeLock, TakenError
from syncnode.settings.following import SettingsFiles
from syncnode.store.database import Database
from syncnode.store.link_words import LinkWords
from syncnode.store.remains import missing_text
from syncproto.errors import ConfigError, StoreError, UnexpectedMessageError
from syncproto.identity import SiteId, site_text
from syncproto.joining import COMPARE, encode_answer
from syncproto.questions import is_question

if TYPE_CHECKING:
    from syncnode.settings.config import Settings

T = TypeVar("T")

FLUSH_S = 2.0  # what peers said they hold is only a hint: not worth a disk's sync each time
TRIGGERS_S = 300.0  # between two looks whether all triggers are there; servers are slow to tell
STAND_BY_S = 1.0  # between two looks whether the process that leads is gone
SETTINGS_S = 2.0  # between two looks at the files of the settings
SETTLE_S = 30.0  # between two looks whether stamps of the future have come due
GRACE_S = 2.0  # of the five seconds that ending may take

logger = logging.getLogger(__name__)


def silent(_: str) -> None:
    """A notice that nobody reads."""


@dataclass(slots=True)
class Parts:
    """What `serve`, `sync` and tests need of a node that is open.

    Attributes:
        limiter: One token: the replica does one thing at a time.
    """

    settings: "Settings"
    ports: Ports
    replica: DatabaseReplica
    key: SiteKey
    members: Members
    links: LinkSettings
    client: PeerClient
    news: News
    exchanger: Exchanger
    limiter: trio.CapacityLimiter
    repeating: Repeating

    async def in_database(self, work: Callable[[], T], /) -> T:
        """Run blocking work on the replica, after what runs there now."""
        return await self.ports.run_blocking(work, limiter=self.limiter)

    async def read_members(self) -> Mapping[SiteId, Peer]:
        """Read the peers anew; what was known of them before."""

        def work() -> Membership:
            with self.replica.database.read() as tx:
                return read_membership(tx)

        found = await self.in_database(work)
        # Two tasks may read at once: only one of them finds a newcomer new.
        before = self.members.by_site
        self.members.replace(found)
        return before

    def read_spent(self) -> None:
        """Blocking: what earlier processes spent of the budgets."""
        with self.replica.database.read() as tx:
            self.exchanger.meter.read(tx)

    def check_writable(self) -> None:
        """Blocking: a daemon that may not write must not look as if it ran.

        Raises:
            StoreError: The database cannot be written.
        """
        try:
            with self.replica.database.write() as tx:
                tx.execute("UPDATE syncnode_setting SET value=value WHERE name='format'")
        except StoreError as error:
            if not error.transient:
                raise

    async def flush(self) -> None:
        """Write down what was learned of peers."""
        contacts = self.exchanger.take_contacts()

        meter = self.exchanger.meter

        def work() -> None:
            if contacts or self.replica.has_heard or meter.has_changed:
                with self.replica.database.write() as tx:  # one sync of the disk for all
                    self.replica.put_heard(tx)
                    put_contacts(tx, contacts)
                    if meter.has_changed:
                        meter.put(tx)

        await self.in_database(work)


async def open_parts(
    settings: "Settings", stack: AsyncExitStack, ports: Ports = REAL, **patience: float
) -> Parts:
    """Open a node; the stack closes it. `patience` goes to the exchanger."""
    from syncnode.operations.site import open_replica

    limiter, machine = trio.CapacityLimiter(1), ports.machine

    async def in_database(work: Callable[[], T], /) -> T:
        return await ports.run_blocking(work, limiter=limiter)

    replica = await in_database(lambda: open_replica(settings, machine=machine))

    async def close() -> None:
        with trio.CancelScope(shield=True):
            await in_database(replica.close)

    stack.push_async_callback(close)
    key = load_key(settings.key)
    members, news = Members(), News()
    links = LinkSettings(settings, members, key.site)
    client = await stack.enter_async_context(
        PeerClient(
            key,
            response_bytes_max=settings.limits.body_bytes_max,
            transport=ports.transport,
            chance=machine.chance,
        )
    )

    repeating = Repeating()

    async def post(site: SiteId, body: bytes, *, timeout_s: float) -> bytes:
        async def say(said: bytes) -> bytes:
            return await members.post(client, site, said, timeout_s=timeout_s)

        return await repeating.ask(site, body, say)

    exchanger = ports.exchanger(
        replica,
        name=settings.name,
        in_database=in_database,
        post=post,
        news=news,
        wall_ms=machine.wall_ms,
        wait_ms_max=settings.limits.wait_ms_max,
        skew_ms_max=settings.limits.skew_ms_max,
        timeout_s=links.timeout_s,
        batch_bytes=links.batch_bytes,
        meter=Meter(links.budget, links.budget_of, machine.wall_ms),
        **patience,
    )
    parts = Parts(
        settings, ports, replica, key, members, links, client, news, exchanger, limiter, repeating
    )
    await parts.read_members()
    await in_database(parts.read_spent)
    return parts


def hook_runner(parts: Parts) -> HookRunner:
    """What tells the hooks of a node."""
    return HookRunner(
        parts.settings.hooks,
        parts.replica.database,
        parts.replica.tables,
        site=parts.settings.name,
        folder=parts.settings.path.parent,
        in_database=parts.in_database,
        machine=parts.ports.machine,
    )


class Node:
    """A site's daemon, for as long as the `async with` block lasts.

    Args:
        settings: Of a site that `init` made.
        notice: Told in a sentence what a person should know.
        ports: What it has of the world around it.

    Attributes:
        listening: The addresses that it answers on; empty for a site that only calls.
    """

    def __init__(
        self,
        settings: "Settings",
        *,
        notice: Callable[[str], None] = silent,
        ports: Ports = REAL,
    ) -> None:
        self.settings = settings
        self.ports = ports
        self.listening: list[tuple[str, int]] = []
        self._notice = notice
        self._stack = AsyncExitStack()
        self._shutdown = trio.Event()
        self._schema = 0  # what pulses said of the schema when last followed
        self._missing: list[str] = []  # triggers of the capture, when last looked for
        self._followed: str | None = None  # what pulses said of the members when last read
        self._nearby: Nearby | None = None
        self._leads = False

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    async def _open(self) -> None:
        settings, ports, stack = self.settings, self.ports, self._stack
        lock = ports.lock(Database(settings.database))
        self._leads = await self._taken(lock)
        stack.callback(lock.release)
        self._parts = parts = await open_parts(settings, stack, ports)
        await parts.in_database(parts.check_writable)
        self._answers = Answers(parts.replica)
        self._comparing = trio.CapacityLimiter(1)
        self._files = await self._open_files()
        machine = ports.machine
        self._greeting = self._new_greeting()
        self._gossip = Gossip(
            parts.exchanger,
            news=parts.news,
            wait_ms=settings.limits.wait_ms_max,
            link=parts.links.of,
            chance=machine.chance,
            time_of_day_ms=lambda: machine.time_of_day_ms(machine.wall_ms()),
            first=parts.links.is_first,
            greet=self._greeting.greet,
        )
        self._herald = Herald(self._notice, ports.machine.wall_ms)
        self._herald.look(parts.replica.renewals)
        stack.push_async_callback(self._flush)
        servers = await stack.enter_async_context(trio.open_nursery())
        stack.callback(self._shutdown.set)
        workers = await stack.enter_async_context(trio.open_nursery())
        stack.callback(workers.cancel_scope.cancel)
        stack.callback(parts.exchanger.end)
        stack.callback(self._answers.end)
        if settings.listen is not None:
            self.listening = await servers.start(self._serve)
        self._workers = workers
        self._hooks = hook_runner(parts)
        workers.start_soon(ports.watch, parts.replica.database, self._on_pulse)
        workers.start_soon(self._flush_often)
        if settings.path.exists():
            workers.start_soon(self._follow_settings, SettingsFiles(settings))
        if self._leads:
            self._lead(lock)
        else:
            workers.start_soon(self._stand_by, lock)
        self._say_hello()

    async def _open_files(self) -> Files | None:
        """The declared directories, if there are any."""
        if not self.settings.files:
            return None
        files = Files(self._parts, self._notice)
        self._stack.callback(files.close)
        if not self._leads:
            await self._parts.in_database(files.open_to_answer)
        return files

    async def _taken(self, lock: ServeLock) -> bool:
        """Whether the duties of the one process are ours; if they may be shared, another's.

        Raises:
            TakenError: Another process serves this database, and does so alone.
        """
        try:
            await self.ports.run_blocking(lock.take)
        except TakenError:
            if not self.settings.share:
                raise
            return False
        return True

    def _lead(self, lock: ServeLock) -> None:
        """Take on what one process alone does: notice and seal what the application writes, call
        others, tell hooks, look after schema and triggers."""
        workers = self._workers
        workers.start_soon(self._hooks.run)
        workers.start_soon(self._settle_often)
        workers.start_soon(self._look_often)
        workers.start_soon(self._keep_lock, lock)
        if self._files is not None:
            workers.start_soon(self._files.run)
        self._nearby = self._look_around(workers)
        self._follow(None)

    async def _stand_by(self, lock: ServeLock) -> None:
        """Answer others, until the process that leads is gone; then lead."""
        while not await self._taken(lock):
            await trio.sleep(STAND_BY_S)
        self._leads = True
        self._notice("the process that led is gone: this one takes over")
        self._lead(lock)
        await self._look()

    def _say_hello(self) -> None:
        parts = self._parts
        self._notice(f"{self.settings.name} ({site_text(parts.key.site)}) is running")
        if self.listening:
            where = ", ".join(f"https://{host}:{port}" for host, port in self.listening)
            self._notice(f"listening on {where}")
        else:
            self._notice("listening nowhere: it calls others")
        if not self._leads:
            self._notice("another process leads; this one answers, and takes over when it ends")
        peers = [
            f"{peer.name} ({peer.role}{', ' + peer.url if peer.url else ''})"
            for peer in parts.members.by_site.values()
        ]
        self._notice(f"peers: {', '.join(peers) or 'none yet'}")

    # Answering

    async def _serve(
        self, task_status: "trio.TaskStatus[list[tuple[str, int]]]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        parts, settings, ports = self._parts, self.settings, self.ports
        assert settings.listen is not None, "asked before"
        gateway = Gateway(
            site=parts.key.site,
            boot_nonce=ports.machine.entropy(BOOT_NONCE_BYTES),
            known_sites=parts.members.public_key,
            exchange=self._answer,
            join=self._join,
            meet=self._meet if settings.lan.discover else None,
            files=self._files.answer if self._files is not None else None,
            members=self._greeting.answer,
            body_bytes_max=settings.limits.body_bytes_max,
            monotonic=trio.current_time,
        )
        await serve(
            gateway,
            host=settings.listen.host,
            port=settings.listen.port,
            ssl_context=ports.server_context(parts.key),
            limits=replace(
                DEFAULT_LIMITS, body_bytes_max=settings.limits.body_bytes_max, grace_s=GRACE_S
            ),
            listen=ports.listen_together if settings.share else ports.listen,
            shutdown=self._shutdown,
            task_status=task_status,
        )

    async def _answer(self, site: SiteId, body: bytes) -> bytes:
        if is_question(body):
            stays = await self._parts.in_database(lambda: self._parts.replica.stays_back(site))
            return await self._compare(body, stays.unsent)
        self._gossip.answered(site)
        answer = await self._parts.repeating.answer(
            site, body, lambda turn: self._parts.exchanger.answer(site, turn)
        )
        if site not in self._parts.members.by_site:  # it may have waited for this for long
            raise UnexpectedMessageError("this site is not known here any more")
        return answer

    async def _compare(self, body: bytes, unsent: frozenset[str]) -> bytes:
        """Beside the exchanges, since it only reads, and for long."""
        parts = self._parts
        await parts.in_database(parts.replica.seal)
        return await self.ports.run_blocking(
            lambda: self._answers.answer(body, unsent), limiter=self._comparing
        )

    async def _join(self, body: bytes) -> bytes:
        from syncnode.operations.membership import heard_join, join_answer, kept_back
        from syncnode.operations.vouching import issued

        parts, finding, chain = self._parts, b"", b""
        request, role = await parts.in_database(
            lambda: heard_join(
                parts.replica, parts.key, self.settings, body, machine=self.ports.machine
            )
        )
        if request.kind == COMPARE:
            finding = await self._compare(request.question, kept_back(parts.replica, request, role))
        else:
            await self._follow_members()
            chain = await parts.in_database(lambda: issued(parts.replica.database, request))
        return encode_answer(join_answer(self.settings, parts.key, role, finding, chain))

    def _new_greeting(self) -> Greeting:
        from syncnode.operations.vouching import meet, vouched, words_to

        parts = self._parts
        database, name = parts.replica.database, self.settings.name

        def said(to: SiteId) -> bytes | None:
            if not vouched(database, parts.key):
                return None
            return words_to(database, parts.key, name, to)

        async def post(site: SiteId, body: bytes) -> bytes:
            return await parts.client.post(
                parts.members.address(site), "/members", body, timeout_s=TIMEOUT_S
            )

        return Greeting(
            parts.members,
            words=lambda site: parts.in_database(lambda: said(site)),
            take=lambda body: parts.in_database(lambda: meet(database, parts.key, name, body)),
            post=post,
            changed=self._follow_members,
        )

    async def _meet(self, body: bytes) -> bytes:
        nearby = self._nearby
        if nearby is None:
            raise StoreError("this site is about to begin; try again", transient=True)
        return await nearby.answer(body)

    # Beside it

    def _look_around(self, workers: trio.Nursery) -> Nearby | None:
        """Find who is on the LAN, if that is wanted."""
        if not self.settings.lan.discover:
            return None
        where = next(iter(self.listening), None)
        nearby = Nearby(
            self._parts,
            host=where[0] if where else "",
            port=where[1] if where else None,
            follow=self._follow,
            members_changed=self._follow_members,
            notice=self._notice,
        )
        workers.start_soon(nearby.run)
        return nearby

    def _follow(self, met: SiteId | None) -> None:
        """Keep in touch with whom there is to call; one has just proven to be there, if named."""
        called = self._parts.members.called()
        near = self._nearby.chosen(called) if self._nearby is not None else []
        wanted = [*called, *near]
        if met is not None:
            # What waits for an answer at an address that is gone would wait for minutes.
            self._gossip.follow(self._workers, [site for site in wanted if site != met])
        self._gossip.follow(self._workers, wanted)

    async def _on_pulse(self, pulse: Pulse) -> bool:
        if not self._leads:
            return await self._on_others_pulse(pulse)
        if pulse.schema != self._schema:
            await self._follow_schema()
            await self._look_for_triggers()
            self._schema = pulse.schema
        if not await self._look():
            return False
        self._hooks.poke()
        # Every changed row comes by here; who the members are seldom changes.
        if pulse.members != self._followed:
            await self._follow_members()
            self._followed = pulse.members
        return True

    async def _on_others_pulse(self, pulse: Pulse) -> bool:
        """Another process seals: once it has, tell who waits here."""
        parts = self._parts
        if pulse.members != self._followed:
            await parts.read_members()
            self._followed = pulse.members
        standing = await parts.in_database(lambda: parts.replica.rested(parts.key.site))
        if standing is not None:
            parts.news.tell(standing.frontier)
        return standing is not None

    async def _look(self) -> bool:
        """Seal what is there to be sealed, and tell who waits; False if it cannot be now."""
        try:
            await self._parts.exchanger.look(self._parts.key.site)
        except StoreError as error:
            if not error.transient and not await self._follow_schema():
                raise
            logger.warning("changes could not be sealed now: %s", error)
            return False
        return True

    async def _follow_schema(self) -> bool:
        """Take up what the application has changed about its schema; whether there was anything."""
        from syncnode.operations.following import follow

        parts = self._parts
        try:
            followed = await parts.in_database(lambda: follow(parts.replica, self.settings))
        except (ConfigError, StoreError) as error:
            logger.warning("the application's new schema could not be taken up now: %s", error)
            return False
        if followed:
            self._notice("the application has changed its schema; what is replicated follows")
        return followed

    async def _follow_members(self) -> None:
        parts = self._parts
        known = parts.members.revocations
        before = await parts.read_members()
        for site, peer in parts.members.by_site.items():
            if site not in before:
                self._notice(f"{peer.name} is a {peer.role} now")
        if self._nearby is not None:
            self._nearby.members_read()
        if self._leads:
            self._follow(None)
            if parts.members.revocations != known:
                self._gossip.begin_anew()  # they are told to whom we call

    async def _flush_often(self) -> None:
        while True:
            await self._parts.exchanger.until_contact()
            await trio.sleep(FLUSH_S)
            await self._flush()
            await self._guard()

    async def _guard(self) -> None:
        """Take up which tables are only received, by our rules and by what peers have said."""
        from syncnode.operations.guarding import guard_if_possible, told

        replica, in_database = self._parts.replica, self._parts.in_database
        if not self._leads:
            return
        try:
            changed = await in_database(lambda: guard_if_possible(replica))
        except StoreError as error:
            logger.warning("which tables are only received could not be taken up: %s", error)
            return
        if changed:
            self._notice(await in_database(lambda: told(replica, changed)))
            await self._look()

    async def _settle_often(self) -> None:
        while True:
            await trio.sleep(SETTLE_S)
            await self._follow_schema()
            await self._look()

    async def _follow_settings(self, files: SettingsFiles) -> None:
        """Take up what an admin has changed in the files, as far as that can be."""
        parts = self._parts
        while True:
            await trio.sleep(SETTINGS_S)
            found = await self.ports.run_blocking(files.look)
            if found is None:
                continue
            if found.notice:
                self._notice(found.notice)
            if found.changed:
                self.settings = parts.settings = parts.links.settings = found.settings
                parts.replica.words = LinkWords(found.settings.rules)
                parts.news.stir()
                self._gossip.begin_anew()
                self._notice("the settings have changed; from now on the new ones hold")
                await self._guard()

    async def _look_often(self) -> None:
        while True:
            await trio.sleep(TRIGGERS_S)
            await self._look_for_triggers()

    async def _look_for_triggers(self) -> None:
        """Say it once when triggers are gone, or switched off: what is written goes unseen."""
        from syncnode.capture.local_check import missing_triggers

        parts = self._parts
        try:
            missing = await parts.in_database(lambda: missing_triggers(parts.replica))
        except StoreError as error:
            logger.warning("whether all triggers are there could not be seen now: %s", error)
            return
        if missing and missing != self._missing:
            self._notice(missing_text(missing))
        self._missing = missing

    async def _flush(self) -> None:
        with trio.CancelScope(shield=True):
            try:
                await self._parts.flush()
            except StoreError as error:
                logger.warning("what peers said could not be written down: %s", error)
        # An exchange may have shown that this is not the only site with its identity.
        self._herald.look(self._parts.replica.renewals)

    async def _keep_lock(self, lock: ServeLock) -> None:
        while True:
            await trio.sleep(self.ports.lock_check_s)
            if not await self.ports.run_blocking(lock.held):
                raise StoreError(
                    "another `syncnode serve` has taken over this database; this one ends"
                )
