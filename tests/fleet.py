"""A run of several sites over links and disks that fail, on record from the first write.

`Fleet` has one method for each thing that can happen. What happens is chosen by others:
Hypothesis in `protocol/test_machine.py`, a seeded generator in `protocol/test_seeds.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from exchanges import LinkBroken, exchange, perform

from syncproto.identity import Origin, RowKey, SiteId
from syncproto.messages import Turn
from syncproto.replica import Standing
from syncproto.row import Reference, Value
from syncproto.session import Answer, Finish
from syncsim.checkers import Ending, check_all, consistent
from syncsim.history import History, RecordedSite, Write, Writes
from syncsim.subject import MakeReplica, Place, RefusedWrite, Subject

COLUMNS = ("a", "b", "c")  # of every table; `visit` also has `patient`
PATIENT, VISIT, NOTE = "patient", "visit", "note"
TABLES = (PATIENT, VISIT, NOTE)
PARENT_COLUMN = "patient"  # of `visit`: a reference to a patient, or None

START_MS = 1_700_000_000_000
YEAR_MS = 365 * 24 * 3600 * 1000
HEAL_ROUNDS_MAX = 8  # each round lets every pair meet both ways; two suffice without forks
FEW_TABLES = (PATIENT, VISIT)  # closed under references (rule A15)


def row_key(number: int) -> RowKey:
    return RowKey(bytes([number]) * 16)


@dataclass(frozen=True, slots=True)
class Faults:
    """What befalls one exchange; turns are counted from 0, requests are even.

    Attributes:
        break_at: The turn that never arrives.
        twice: Requests that arrive twice; their first answer is lost.
        late: Requests of which a copy stays in the network, to arrive some time later.
        write_at: The turn during which both applications write.
        restart_at: The turn during which the answering node is killed and started again.
    """

    break_at: int | None = None
    twice: frozenset[int] = frozenset()
    late: frozenset[int] = frozenset()
    write_at: int | None = None
    restart_at: int | None = None


NO_FAULTS = Faults()


@dataclass(slots=True)
class Backup:
    put_back: Callable[[], Subject]
    seen: Writes
    pending: list[Write]


@dataclass
class Fleet:
    """The sites of one run.

    Args:
        make_replica: Makes the replica under test.
        rng: Draws nonces and the values of writes in the middle of an exchange.
        tables: For each site the tables that it keeps.
        rows_max: For each site how many rows it puts in a chunk.
        strict: Ask after each exchange whether both sites hold whole changesets only.
    """

    make_replica: MakeReplica
    rng: Random
    tables: Sequence[tuple[str, ...]]
    rows_max: Sequence[int]
    strict: bool = True
    history: History = field(default_factory=lambda: History(events=True))
    now_ms: int = START_MS
    sites: list[RecordedSite] = field(default_factory=list)
    offsets_ms: list[int] = field(default_factory=list)
    dead: set[int] = field(default_factory=set)
    backups: dict[int, Backup] = field(default_factory=dict)
    confidants: dict[int, int] = field(default_factory=dict)
    rolled_back_from: dict[int, int] = field(default_factory=dict)
    late: list[tuple[int, int, Turn]] = field(default_factory=list)
    values: int = 0

    def __post_init__(self) -> None:
        for number, (tables, rows_max) in enumerate(zip(self.tables, self.rows_max, strict=True)):
            origin = Origin(SiteId(bytes([number + 65]) * 16), 1)
            self.history.names[origin.site] = chr(number + 65)
            self.offsets_ms.append(0)
            clock = self._clock(number)
            nonce = lambda: self.rng.getrandbits(32)  # noqa: E731
            subject = self.make_replica(origin, tables, clock, nonce, rows_max)
            self.sites.append(RecordedSite(subject, origin, self.history))

    def _clock(self, number: int) -> Callable[[], int]:
        return lambda: self.now_ms + self.offsets_ms[number]

    @property
    def living(self) -> list[int]:
        return [number for number in range(len(self.sites)) if number not in self.dead]

    # The applications

    def write(self, number: int, places: Sequence[Place], columns: Sequence[str]) -> None:
        """One transaction that inserts or updates rows; an insert gives all columns."""
        site = self.sites[number]
        application = site.subject.application
        try:
            with application.transaction():
                for place in places:
                    if place[0] in application.tables:
                        inserts = application.read(*place) is None
                        values = self._values(number, place, COLUMNS if inserts else columns)
                        site.write(place, values, self._clock(number)())
        except RefusedWrite:
            self.history.note("refused")
        if site.subject.seal_each:
            site.seal()

    def _values(self, number: int, place: Place, columns: Sequence[str]) -> Mapping[str, Value]:
        values: dict[str, Value] = {}
        for column in columns:
            self.values += 1
            values[column] = self.values  # each value once, so that none passes for another
        application = self.sites[number].subject.application
        if place[0] == VISIT and len(columns) == len(COLUMNS):
            parents = [row_key(n) for n in range(3) if application.read(PATIENT, row_key(n))]
            patient = self.rng.choice([None, *parents])
            values[PARENT_COLUMN] = Reference(PATIENT, patient) if patient else None
        return values

    def delete(self, number: int, place: Place) -> None:
        site = self.sites[number]
        if place[0] not in site.tables:
            return
        try:
            with site.subject.application.transaction():
                site.delete(place, self._clock(number)())
        except RefusedWrite:
            self.history.note("refused")
        if site.subject.seal_each:
            site.seal()

    def seal(self, number: int) -> None:
        self.sites[number].seal()

    # The links

    def exchange(self, caller: int, callee: int, faults: Faults = NO_FAULTS) -> Finish | None:
        """One exchange; None if the link broke."""
        one, other = self.sites[caller], self.sites[callee]
        if self.confidants.get(caller, callee) != callee:
            return None
        if self.confidants.get(callee, caller) != caller:
            return None
        shared = one.tables & other.tables
        one.seal()
        other.seal()
        before = (one.seen | other.seen) & self.history.of_tables(shared)
        turns = -1

        def link(turn: Turn) -> Turn:
            nonlocal turns
            turns += 1
            if turns == faults.write_at:
                for number in (caller, callee):
                    self.history.note("write during exchange")
                    table = self.rng.choice(TABLES)
                    self.write(number, [(table, row_key(self.rng.randrange(3)))], COLUMNS[:1])
            if turns == faults.restart_at:
                self.restart(callee)
            if turns % 2 == 0 and turns in faults.late:
                self.late.append((caller, callee, turn))
            if turns == faults.break_at:
                raise LinkBroken
            if turns % 2 == 0 and turns in faults.twice:
                self._answer(caller, callee, turn)
                self.history.note("twice")
            return turn

        self.history.note("exchange", caller, callee, faults)
        try:
            finish = exchange(one, other, caller_site=one.site, callee_site=other.site, link=link)
        except LinkBroken:
            self.history.note("break")
            return None
        finally:
            self._settle(caller)
            self._settle(callee)
            self._look_at(caller, callee)
        self.history.note("complete" if finish.complete else "incomplete", finish.reason)
        assert not finish.alarms, f"alarm: {finish}"
        if finish.complete:
            missing = before & ~(one.seen & other.seen) & ~self.history.replaced
            assert not missing, f"complete, but {list(self.history.within(missing))} is missing"
        return finish

    def _settle(self, number: int) -> None:
        """A site that was rolled back meets everybody again once it has heard of it."""
        if number in self.confidants:
            site = self.sites[number]
            origin = site.subject.replica.standing(site.site).origin
            if origin.incarnation > self.rolled_back_from[number]:
                del self.confidants[number]

    def deliver_late(self, which: int) -> None:
        """A copy of an old turn arrives; whoever sent it is not listening any more."""
        caller, callee, turn = self.late.pop(which % len(self.late))
        if callee not in self.dead and callee not in self.confidants:
            self.history.note("late", caller, callee)
            self._answer(caller, callee, turn)
            self._look_at(callee)

    def _answer(self, caller: int, callee: int, turn: Turn) -> None:
        answer = Answer(self.sites[caller].site)
        perform(answer, self.sites[callee], answer.receive(turn))

    def _look_at(self, *numbers: int) -> None:
        if self.strict:
            for number in numbers:
                consistent(self.history, self.sites[number].state())

    # The machines

    def advance(self, ms: int) -> None:
        self.now_ms += ms

    def set_clock(self, number: int, offset_ms: int) -> None:
        self.history.note("clock" if abs(offset_ms) < YEAR_MS else "wild clock", number, offset_ms)
        self.offsets_ms[number] = offset_ms

    def restart(self, number: int) -> None:
        """The process is killed and started again; nothing but the open exchange is lost."""
        self.history.note("restart", number)
        site = self.sites[number]
        site.subject = site.subject.restarted()

    def back_up(self, number: int) -> None:
        self.history.note("backup", number)
        site = self.sites[number]
        self.backups[number] = Backup(site.subject.backup(), site.seen, list(site.pending))

    def restore(self, number: int, *, anchor_kept: bool) -> None:
        """An older copy of the database is put in place.

        With the anchor, which lies outside, the node knows at its start. Where the anchor went
        back too (a snapshot of the whole machine) only a peer can tell it.
        """
        backup, site = self.backups[number], self.sites[number]
        if number in self.confidants.values():
            return
        site.seal()
        was = site.subject.replica.standing(site.site)
        subject = backup.put_back()
        copied = subject.replica.standing(site.site) if not backup.pending else None
        if not anchor_kept:
            confidant = self._who_knows_more(number, was, copied)
            if confidant is None:
                return
            self.confidants[number] = confidant
            self.rolled_back_from[number] = was.origin.incarnation
            self.history.rolled_back.add(site.site)
            self.late = [mail for mail in self.late if mail[0] != number]
        self.history.note("restore" if anchor_kept else "rollback", number)
        site.subject = subject
        site.seen = backup.seen
        self._journal_again(site, backup)
        if anchor_kept:
            # As a node does at its start: nothing is sealed before the anchor is compared.
            frontier = subject.frontier()
            copied_origin = max(
                (o for o in frontier.origins() if o.site == site.site), default=was.origin
            )
            subject.replica.renew(was.origin.incarnation + 1, frontier.seq(copied_origin))

    def _who_knows_more(self, number: int, was: Standing, copied: Standing | None) -> int | None:
        """A peer that can tell a site which was rolled back with its anchor that it was.

        A site that meets others first, who do not know, forks for good: their numbers name
        two changesets, and nothing that travels shows it. That is what anchors are for.
        """
        if copied is None or was.origin != copied.origin:
            return None
        knowing = [
            (self.sites[other].subject.frontier().seq(was.origin), other)
            for other in self.living
            if other != number and other not in self.confidants
        ]
        best, other = max(knowing, default=(0, number))
        return other if best > copied.latest.seq else None

    def _journal_again(self, site: RecordedSite, backup: Backup) -> None:
        """Lines that the copy holds unsealed are sealed a second time: writes of their own."""
        site.pending = site.written_again(backup.pending)

    def die(self, number: int) -> None:
        if number in self.confidants.values():
            return
        self.history.note("death", number)
        self.dead.add(number)

    # The end

    def heal(self) -> None:
        """Everything works again: late turns arrive, clocks are right, every pair meets."""
        while self.late:
            self.deliver_late(0)
        for number in self.living:
            self.offsets_ms[number] = 0
            self.sites[number].seal()
        latest = max((write.hlc for write in self.history.writes), default=0)
        self.now_ms = max(self.now_ms, latest >> 16) + 1_000  # no stamp is of the future now
        for number, confidant in list(self.confidants.items()):
            self.exchange(number, confidant)
        for _ in range(HEAL_ROUNDS_MAX):
            finishes = [
                self.exchange(caller, callee)
                for caller in self.living
                for callee in self.living
                if caller != callee
            ]
            if self._quiet() and all(finish and finish.complete for finish in finishes):
                return
        raise AssertionError("the sites do not come to rest")

    def _quiet(self) -> bool:
        frontiers = [self.sites[number].subject.frontier() for number in self.living]
        return all(
            one.within(other.scopes).digest() == other.within(one.scopes).digest()
            for one in frontiers
            for other in frontiers
        )

    def check(self) -> None:
        check_all(Ending(self.history, [self.sites[number].state() for number in self.living]))


def tables_of(few: bool) -> tuple[str, ...]:
    return FEW_TABLES if few else (NOTE, PATIENT, VISIT)
