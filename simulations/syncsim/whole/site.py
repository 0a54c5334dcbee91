"""One whole node on a simulated machine: the shipped `Node` with other ports below it.

What is simulated is the machine: its clock, its chance, its network, how long its disk takes, and
its end. A process may end wherever a task waits, or right after any piece of work on the database,
before anybody has heard of it.

Not covered: TLS (`http.py`), the polling of the database's file (`Site._watch` is told), and an
end in the middle of one piece of work, which `tests/node/test_kill.py` has.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import trio

from syncnode.identity.credentials import SiteKey
from syncnode.links.exchange import Exchanger
from syncnode.links.watcher import PULSE, OnPulse, pulse_of
from syncnode.machine import Machine
from syncnode.operations.site import open_replica
from syncnode.ports import Ports
from syncnode.replica import DatabaseReplica
from syncnode.run import Node
from syncnode.settings.config import Settings
from syncnode.store.database import Database
from syncproto.identity import Origin, SiteId
from syncproto.keys import uuid_text
from syncproto.row import Reference, Value
from syncsim.events import Statement
from syncsim.history import History
from syncsim.scenario import generator
from syncsim.schema import SimTable
from syncsim.subject import Place, RefusedWrite
from syncsim.whole.birth import database_path
from syncsim.whole.clock import now_ms
from syncsim.whole.http import sim_transport
from syncsim.whole.links import Links
from syncsim.whole.record import Record, Tally, TracedExchanger
from syncsim.whole.streams import SimListener
from syncsim.whole.subject import UUID, SqliteSubject

DISK_MS = 3.0  # the mean of what a piece of work on the database takes
# The shipped watcher looks every 5 ms while something happens, every 100 ms while nothing does.
NOTICE_MS = (5.0, 100.0)
BUSY_S = 0.1  # until a watcher that could not be served asks again

T = TypeVar("T")


class Killed(BaseException):
    """The process ends here: nothing catches it, and no cleaning up reaches the outside."""


class Site:
    """One machine of a run: a database, its people's application, and its node when it runs.

    Args:
        clock: What the machine's clock shows.
        tally: What is counted of it.
        known: The machine of the site with an id.
        committed_ms: When each write of the run was committed, by its number.

    Attributes:
        record: The replica, with everything that happens to it on record.
        running: Its process is there.
        ended: Set while it is not.
        burnt: Its fuse reached its end.
        notices: What its node told people, since the run began.
    """

    def __init__(
        self,
        settings: Settings,
        key: SiteKey,
        *,
        tally: Tally,
        seed: int,
        schema: Mapping[str, SimTable],
        clock: Callable[[], int],
        links: Links,
        history: History,
        known: Callable[[SiteId], int],
        committed_ms: dict[int, int],
    ) -> None:
        self.host = host = tally.host
        self.settings = settings
        self.key = key
        self.tally = tally
        self.running = self.burnt = False
        self.ended = trio.Event()
        self.ended.set()
        self.notices: list[str] = []
        self._links = links
        self._known = known
        self._committed_ms = committed_ms
        self._chance = generator(seed, "chance", host, key.site.hex())
        self._disk = generator(seed, "disk", host, key.site.hex())
        self._scope = trio.CancelScope()
        self._dead = False
        self._fuse = 0
        self._changed = trio.Event()
        self.machine = Machine(
            wall_ms=clock,
            entropy=self._chance.randbytes,
            chance=self._chance.random,
            pause=self._no_pause,
        )
        self._ports = Ports(
            machine=self.machine,
            run_blocking=self._run_in_place,
            lock_check_s=math.inf,  # nobody takes it away
            watch=self._watch,
            exchanger=self._exchanger,
            transport=lambda _site: sim_transport(links, host),
            listen=self._listen,
            server_context=lambda _key: None,
        )
        self.subject = SqliteSubject(
            database_path(settings), schema, clock, self._opened_by_a_command
        )
        origin = Origin(key.site, 1)
        self.record = Record(self.subject, origin, history, self.tally, committed_ms)

    def _opened_by_a_command(self, _path: Path) -> DatabaseReplica:
        return self._opened(open_replica(self.settings, machine=self.machine))

    def _opened(self, replica: DatabaseReplica) -> DatabaseReplica:
        if replica.restored:
            self.tally.note("found-out", self.host)
        return replica

    # The node

    def start(self, nursery: trio.Nursery) -> None:
        """Run the node until its process is killed."""
        assert not self.running, "one process at a time"
        self.running, self.burnt, self._dead, self._fuse = True, False, False, 0
        self.ended = trio.Event()
        self.tally.boots += 1
        self._scope = trio.CancelScope()
        nursery.start_soon(self._live)

    async def _live(self) -> None:
        with self._scope:
            try:
                async with Node(self.settings, ports=self._ports, notice=self.notices.append):
                    await trio.sleep_forever()
            except* Killed:
                pass
        assert self._dead, "a node runs until it is killed"
        self.subject.detach()
        self.running = False
        self.ended.set()

    def kill(self) -> None:
        """End its process now: what is committed stays, and nothing else."""
        if self.running and not self._dead:
            self._dead = True
            self._links.end_process(self.host)
            self._scope.cancel()

    def light_fuse(self, length: int) -> None:
        """End its process right after so many more pieces of work on the database."""
        self._fuse = length

    # Its ports

    async def _run_in_place(
        self, work: Callable[[], T], /, *, limiter: trio.CapacityLimiter | None = None
    ) -> T:
        if limiter is None:
            return await self._run(work)
        async with limiter:
            return await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._dead:
            raise Killed
        found = work()
        if self._fuse:
            self._fuse -= 1
            if not self._fuse:
                self.burnt = True
                self.tally.note("burnt", self.host)
                self.kill()
                raise Killed
        # What a thread has begun it ends, whether the task that waits for it is cancelled or not.
        ends_s = trio.current_time() + self._disk.expovariate(1000 / DISK_MS)
        with trio.CancelScope(shield=True, deadline=ends_s):
            await trio.sleep_forever()
        if self._dead:
            raise Killed
        return found

    async def _watch(self, _database: Database, on_pulse: OnPulse) -> None:
        """Told of a change instead of looking for it, and late by what looking takes."""
        connection = self.subject.application.connection
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            await trio.sleep(self._chance.uniform(*NOTICE_MS) / 1000)
            while not await on_pulse(pulse_of(connection.execute(PULSE).fetchone())):
                await trio.sleep(BUSY_S)

    async def _listen(self, _host: str, _port: int) -> list[SimListener]:
        return [self._links.listen(self.host)]

    def _exchanger(self, replica: DatabaseReplica, **options: Any) -> Exchanger:
        self.subject.attach(self._opened(replica))
        return TracedExchanger(self.record, self.tally, self._known, **options)

    @staticmethod
    def _no_pause(_seconds: float) -> None:
        raise AssertionError("work on a database that nobody else uses never pauses")

    # Its people

    def execute(self, statements: tuple[Statement, ...]) -> int:
        """People commit a transaction; how many rows that changed.

        Each row once: two writes of one row in one transaction, or in one journal, are sealed
        as one, and the record would have two. So a journal that holds such a row is sealed
        before, as by a command beside the node.
        """
        record, wall_ms = self.record, self.machine.wall_ms()
        first: dict[Place, Statement] = {}
        for statement in statements:
            if statement.table in self.subject.application.tables:
                first.setdefault((statement.table, statement.key), statement)
        if any(write.place in first for write in record.pending):
            record.seal()
        before = len(record.history.writes)
        # Who asks in the transaction what is kept aside could not begin another one there.
        self.subject.open_if_aside()
        with self.subject.application.transaction():
            for place, statement in first.items():
                try:
                    self._execute(place, statement, wall_ms)
                except RefusedWrite:
                    self.tally.note("refused-write", self.host)
        written = len(record.history.writes) - before
        for number in range(before, before + written):
            self._committed_ms[number] = now_ms()
        self.tally.writes += written
        self._changed.set()
        return written

    def _execute(self, place: Place, statement: Statement, wall_ms: int) -> None:
        values = statement.values
        if values is None:
            self.record.delete(place, wall_ms)
        elif self.subject.application.read(*place) is None:
            whole: dict[str, Value] = {UUID: uuid_text(place[1]), **values}
            self.record.write(place, self._here(whole), wall_ms)
        elif statement.changed:
            changed = {name: values[name] for name in statement.changed}
            self.record.write(place, self._here(changed), wall_ms)

    def _here(self, values: dict[str, Value]) -> dict[str, Value]:
        """People choose from what they see: of a row that is not here nobody can say that it is
        meant. (Level (a) lets them, since a replica in memory checks no foreign keys.)"""
        read = self.subject.application.read
        return {
            name: None
            if isinstance(value, Reference) and read(value.table, value.key) is None
            else value
            for name, value in values.items()
        }

    def changed_by_hand(self) -> None:
        """Something beside the application changed the database: the watcher will see it."""
        self._changed.set()

    def put_back(self, content: bytes) -> None:
        """Another database stands in the place of this one; no node runs."""
        assert not self.running, "the node was ended before"
        self.subject = self.record.subject = self.subject.replaced(content)

    # What the world asks

    def count(self, sql: str) -> int:
        """The number that a query of the application's connection gives."""
        found: int = self.subject.application.connection.execute(sql).fetchone()[0]
        return found
