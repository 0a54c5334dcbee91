"""A run of one scenario in one queue of events: thousands of sites in virtual time.

What people do and what goes wrong was drawn before (`people.py`, `misfortunes.py`); here it
happens. Sites call each other when their time has come, messages cross the network and arrive,
later or never, and a site does at once what a message asks for: computing takes no time.

An exchange in which neither side has anything new is played once with the real sessions and
remembered: as long as neither side's state changes, the same messages cross the link again.
"""

import functools
import hashlib
import operator
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, TextIO

from syncproto.errors import SyncError
from syncproto.identity import SITE_ID_BYTES, SiteId
from syncsim.bound import bound_ms
from syncsim.checkers import CHECKERS, CheckError, Ending
from syncsim.checkers.lost_writes import lost
from syncsim.events import Mishap, Transaction
from syncsim.history import History, SiteState
from syncsim.measures import Delays, ages, joined, lacking
from syncsim.member import Conversation, Member, Message, Refused
from syncsim.misfortunes import mishaps
from syncsim.network import Network
from syncsim.people import script, shared_statements
from syncsim.results import LinkResult, Results, SiteResult
from syncsim.rules import RULES, Setting
from syncsim.rules.ours import OurMember
from syncsim.scenario import Scenario, generator
from syncsim.sizes import Sizes
from syncsim.strategies import CHOICES, Neighbourhood
from syncsim.versions import version

SILENCE_MS = 30_000  # after which a caller gives up a request that was lost
SETUP_ROUNDS_MAX = 4
PROGRESS_EVENTS = 2_048  # between two looks at the real clock
PROGRESS_S = 0.5

NO_MESSAGE = Message(None, 0)

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class SimSite:
    """One site as the world knows it.

    Attributes:
        epoch: Counts starts of its process: what began before the last one is void.
        dark: How many power cuts last.
        confidant: After a restore without its anchor, the only one whom it meets.
        away_from: The incarnation that it must leave behind before it meets others.
        calling: Whom it is calling now.
    """

    number: int
    member: Member
    neighbourhood: Neighbourhood
    every_ms: int
    offset_ms: int
    drift_ppm: float
    epoch: int = 0
    dark: int = 0
    confidant: int | None = None
    away_from: int = 0
    calling: set[int] = field(default_factory=set)
    delays: Delays = field(default_factory=Delays)
    writes: int = 0
    rounds: int = 0
    failures: int = 0


@dataclass(slots=True)
class Exchange:
    """One exchange under way; `conversation` is None for one played from memory."""

    caller: int
    callee: int
    epochs: tuple[int, int]
    conversation: Conversation | None
    versions: tuple[int, int]
    request: Message
    turns: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Remembered:
    """The messages of an exchange in which nothing was new."""

    versions: tuple[int, int]
    request: Message
    answer: Message


@dataclass(slots=True)
class LinkCount:
    rounds: int = 0
    messages: int = 0
    lost: int = 0
    up: float = 0.0
    down: float = 0.0


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run.

    Attributes:
        results: What it came to.
        history: What was written, by whom, having seen what.
        states: What each site held at the end; empty for rules that keep no clocks.
        counts: How often each kind of thing happened.
    """

    scenario: Scenario
    results: Results
    history: History
    states: tuple[SiteState, ...]
    counts: Mapping[str, int]


class World:
    """One run of a scenario.

    Args:
        trace: Gets a line for each event of the run.
        progress: Called about twice a second with the virtual time and where it ends.
        moments_ms: When samples are taken besides the usual ones.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        *,
        trace: TextIO | None = None,
        progress: Progress | None = None,
        moments_ms: Sequence[int] = (),
    ) -> None:
        self.scenario = scenario
        self.seed = seed
        self.now_ms = 0
        self.history = History(delete_wins=scenario.delete_wins)
        self.network = Network(scenario, seed)
        self.counts: Counter[str] = Counter()
        self._trace_file = trace
        self._progress = progress
        self._moments_ms = moments_ms
        self._hasher = hashlib.sha256()
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0
        self._passed_ms = 0
        self._quiet = False
        self._clocks_right = False
        self._muted = True
        self._nonces = [generator(seed, "nonce", number) for number in range(len(scenario.sites))]
        self._ids = generator(seed, "site ids")
        setting = Setting(
            scenario=scenario,
            site_ids=[self._site_id() for _ in scenario.sites],
            wall_ms=self._wall_ms,
            now_ms=lambda: self.now_ms,
            nonce=lambda number: self._nonces[number].getrandbits(32),
            arrived=self._arrived,
            sizes=Sizes(scenario.measure.bytes_by),
            history=self.history,
        )
        self._setting = setting
        self._rule = RULES[scenario.gossip.rule]()
        self._choice = CHOICES[scenario.gossip.choice]
        self.sites: list[SimSite] = []
        hoods = neighbourhoods(scenario, seed)
        for number, site in enumerate(scenario.sites):
            every_ms = site.every_ms or scenario.gossip.every_ms
            self.sites.append(
                SimSite(number, None, hoods[number], every_ms, site.offset_ms, site.drift_ppm)  # type: ignore[arg-type]
            )
            self.sites[number].member = self._rule.member(number, setting)
            self.history.names[setting.site_ids[number]] = site.name
        self._alias = list(range(len(self.sites)))  # of a clone, the site that it is a copy of
        self._twins: list[tuple[int, SimSite]] = []
        self._links = [LinkCount() for _ in scenario.links]
        self._remembered: dict[tuple[int, int], Remembered] = {}
        self._backups: dict[tuple[int, int], Callable[[bool], None]] = {}
        self._converged_ms: int | None = None
        self._ends_ms = scenario.ends_ms
        self._final: Ending | None = None
        self._backlog = 0
        self._times_ms: list[int] = []
        self._series: dict[str, list[float]] = {
            name: []
            for name in (
                "writes",
                "behind",
                "current",
                "bytes",
                "rounds",
                "conflicts",
                "parked",
                "cut",
            )
        }
        self._behind: list[list[int]] = []
        self._links_down: list[list[int]] = []

    # The whole run

    def run(self) -> Run:
        """Play the scenario to its end."""
        self._share_rows()
        self._muted = False
        scenario = self.scenario
        self._script = script(scenario, self.seed)
        self._next_transaction()
        for mishap in mishaps(scenario, self.seed):
            self._announce(mishap)
        phases = generator(self.seed, "phase")
        for site in self.sites:
            self._at(phases.randrange(site.every_ms), self._tick, site)
        self._sample_every_ms = max(1, scenario.ends_ms // max(1, scenario.measure.points))
        if scenario.quiet_ms > scenario.faults_ms:
            self._sample_every_ms = max(1, 2 * scenario.faults_ms // scenario.measure.points)
        self._at(0, self._sample)
        for moment_ms in self._moments_ms:
            self._at(moment_ms, self._take_sample)
        self._at(scenario.faults_ms, self._begin_quiet)
        self._loop()
        if not self._times_ms or self._times_ms[-1] != self.now_ms:
            self._take_sample()
        return self._finished()

    def _loop(self) -> None:
        queue = self._queue
        told_s, events = time.monotonic(), 0
        while queue and self._converged_ms is None:
            at_ms, _, action, arguments = heappop(queue)
            if at_ms > self._ends_ms:
                self.now_ms = self._ends_ms
                break
            self.now_ms = at_ms
            action(*arguments)
            events += 1
            if self._progress is not None and events % PROGRESS_EVENTS == 0:
                now_s = time.monotonic()
                if now_s - told_s >= PROGRESS_S:
                    told_s = now_s
                    self._progress(at_ms, self._ends_ms)

    def _at(self, at_ms: int, action: Callable[..., None], *arguments: Any) -> None:
        self._order += 1
        heappush(self._queue, (at_ms, self._order, action, arguments))

    def _note(self, what: str, *detail: object) -> None:
        self.counts[what] += 1
        line = f"{self.now_ms} {what} {' '.join(map(str, detail))}\n"
        self._hasher.update(line.encode())
        if self._trace_file is not None:
            self._trace_file.write(line)

    def _site_id(self) -> SiteId:
        return SiteId(self._ids.randbytes(SITE_ID_BYTES))

    def _wall_ms(self, number: int) -> int:
        right_ms = self.scenario.start_unix_ms + self._passed_ms + self.now_ms
        if self._clocks_right:
            return right_ms
        site = self.sites[number]
        return right_ms + site.offset_ms + round(self.now_ms * site.drift_ppm / 1e6)

    def _arrived(self, number: int, committed_ms: int, count: int) -> None:
        if not self._muted:
            self.sites[number].delays.add(self.now_ms - committed_ms, count)

    @property
    def _lasting(self) -> list[SimSite]:
        """The sites without clones."""
        return self.sites[: len(self.scenario.sites)]

    # Before it begins

    def _share_rows(self) -> None:
        """Rows that every site holds from the start travel over perfect links."""
        statements = tuple(shared_statements(self.scenario))
        if not statements or len(self.sites) == 1:
            return
        self.sites[0].member.execute(Transaction(0, 0, statements))
        done, todo = {0}, [0]
        while todo:
            number = todo.pop(0)
            for other in self.sites[number].neighbourhood.everybody():
                if other not in done:
                    done.add(other)
                    todo.append(other)
                    self._meet(other, number)
        # A rule may have other ways than those by which the sites were found just now.
        before: list[int] = []
        while not self._at_rest() and before != (now := [s.member.version for s in self.sites]):
            before = now
            for site in self.sites:
                for other in site.neighbourhood.everybody():
                    self._meet(site.number, other)

    def _meet(self, caller: int, callee: int) -> None:
        """An exchange outside of time."""
        one, other = self.sites[caller].member, self.sites[callee].member
        for _ in range(SETUP_ROUNDS_MAX):
            conversation = one.call(callee)
            message = conversation.start()
            while message is not None:
                message = conversation.receive(other.answer(caller, message))
            if conversation.complete:
                return
        raise AssertionError("two sites with nothing in their way come to an end")

    # People

    def _next_transaction(self) -> None:
        transaction = next(self._script, None)
        if transaction is not None:
            self._at(transaction.at_ms, self._execute, transaction)

    def _execute(self, transaction: Transaction) -> None:
        site = self.sites[transaction.site]
        if site.dark:
            self._note("unwritten", site.number)  # without power nobody writes
        else:
            rows = site.member.execute(transaction)
            site.writes += rows
            self._note("write", site.number, rows)
            if self.scenario.gossip.push and rows:
                self._call_around(site)
        self._next_transaction()

    # Exchanges

    def _tick(self, site: SimSite) -> None:
        if not site.dark:
            self._call_around(site)
            site.neighbourhood.turn += 1
        self._at(self.now_ms + site.every_ms, self._tick, site)

    def _call_around(self, site: SimSite) -> None:
        if site.confidant is not None:
            self._call(site, site.confidant)
            return
        for peer in self._choice(site.neighbourhood):
            if self.sites[peer].confidant in (None, site.number):
                self._call(site, peer)

    def _call(self, site: SimSite, peer: int) -> None:
        if peer in site.calling:
            return
        other = self.sites[peer]
        if not self.network.works(self._alias[site.number], self._alias[peer], self.now_ms):
            self._call_in_vain(site, other)
            return
        versions = (site.member.version, other.member.version)
        known = self._remembered.get((site.number, peer))
        if known is not None and known.versions[0] == versions[0] and site.member.idle:
            exchange = Exchange(
                site.number, peer, (site.epoch, other.epoch), None, known.versions, known.request
            )
        else:
            conversation = site.member.call(peer)
            try:
                request = conversation.start()
            except SyncError as error:
                self._refused(site, peer, error)
                return
            if request is None:
                return  # by this rule nothing passes between the two
            versions = (site.member.version, other.member.version)
            exchange = Exchange(
                site.number, peer, (site.epoch, other.epoch), conversation, versions, request
            )
        site.calling.add(peer)
        self._ask(exchange)

    def _call_in_vain(self, site: SimSite, other: SimSite) -> None:
        """No message can leave, so none is made."""
        self.counts["lost"] += 1
        self.network.lost += 1
        number = self.network.link_of(self._alias[site.number], self._alias[other.number])
        if number is not None:
            self._links[number].lost += 1
        site.calling.add(other.number)
        exchange = Exchange(
            site.number, other.number, (site.epoch, other.epoch), None, (0, 0), NO_MESSAGE
        )
        self._break_later(exchange)

    def _ask(self, exchange: Exchange) -> None:
        request = exchange.request
        exchange.turns += 1
        exchange.rows += request.rows
        delivery = self._send(exchange.caller, exchange.callee, request, twins=True)
        if delivery is None:
            return self._break_later(exchange)
        self._at(delivery, self._asked, exchange, request)
        return None

    def _send(self, sender: int, receiver: int, message: Message, *, twins: bool) -> int | None:
        """When the message arrives; None if it does not."""
        size = message.fixed_bytes + message.row_bytes / self.scenario.scale
        one, other = self._alias[sender], self._alias[receiver]
        delivery = self.network.send(one, other, round(size), self.now_ms, twins=twins)
        number = self.network.link_of(one, other)
        if number is not None:
            count, link = self._links[number], self.scenario.links[number]
            count.messages += 1
            if link.one == self.scenario.sites[one].name:
                count.up += size
            else:
                count.down += size
            if delivery.arrives_ms is None:
                count.lost += 1
                self.counts["lost"] += 1
        if delivery.twin_ms is not None:
            self._at(delivery.twin_ms, self._stray, sender, receiver, message)
        return delivery.arrives_ms

    def _asked(self, exchange: Exchange, request: Message) -> None:
        callee = self.sites[exchange.callee]
        if self._void(exchange) or callee.dark:
            return self._break_later(exchange)
        answer = self._remembered_answer(exchange)
        if answer is None:
            try:
                answer = callee.member.answer(exchange.caller, request)
            except SyncError as error:
                self.counts["refused"] += 1
                self._note("refuse", exchange.callee, exchange.caller, type(error).__name__)
                return self._break_later(exchange)
        exchange.rows += answer.rows
        arrives_ms = self._send(exchange.callee, exchange.caller, answer, twins=False)
        if arrives_ms is None:
            return self._break_later(exchange)
        self._at(arrives_ms, self._answered, exchange, answer)
        return None

    def _remembered_answer(self, exchange: Exchange) -> Message | None:
        known = self._remembered.get((exchange.caller, exchange.callee))
        member = self.sites[exchange.callee].member
        if exchange.conversation is not None or known is None:
            return None
        if known.versions == exchange.versions and member.version == known.versions[1]:
            return known.answer if member.idle else None
        return None

    def _answered(self, exchange: Exchange, answer: Message) -> None:
        site = self.sites[exchange.caller]
        if self._void(exchange):
            return self._end(exchange, complete=False)
        conversation = exchange.conversation
        if conversation is None:
            known = self._remembered.get((exchange.caller, exchange.callee))
            if known is not None and known.answer is answer:
                return self._end(exchange, complete=True)
            # The callee had news: the same exchange, from where it stands, with a real session.
            conversation = exchange.conversation = site.member.call(exchange.callee)
            conversation.start()
        try:
            request = conversation.receive(answer)
        except SyncError as error:
            self._refused(site, exchange.callee, error)
            return self._end(exchange, complete=False)
        if request is None:
            if conversation.complete:
                self._learn(exchange, answer)
            if conversation.alarms:
                self._note("alarm", exchange.caller, exchange.callee, *conversation.alarms)
            return self._end(exchange, complete=conversation.complete)
        exchange.request = request
        return self._ask(exchange)

    def _learn(self, exchange: Exchange, answer: Message) -> None:
        """Remember an exchange of two messages that changed nothing on either side."""
        caller, callee = self.sites[exchange.caller].member, self.sites[exchange.callee].member
        versions = (caller.version, callee.version)
        if exchange.turns == 1 and not exchange.rows and versions == exchange.versions:
            pair = (exchange.caller, exchange.callee)
            self._remembered[pair] = Remembered(versions, exchange.request, answer)

    def _stray(self, caller: int, callee: int, request: Message) -> None:
        """A copy of a request arrives; whoever sent it does not listen for its answer."""
        site = self.sites[callee]
        if site.dark or site.confidant not in (None, caller):
            return
        if self.sites[caller].confidant is not None:
            return
        self._note("stray", caller, callee)
        try:
            site.member.answer(caller, request)
        except SyncError as error:
            self._note("refuse", callee, caller, type(error).__name__)

    def _void(self, exchange: Exchange) -> bool:
        """One of both was restarted, or must not be met any more."""
        caller, callee = self.sites[exchange.caller], self.sites[exchange.callee]
        return (
            (caller.epoch, callee.epoch) != exchange.epochs
            or caller.confidant not in (None, callee.number)
            or callee.confidant not in (None, caller.number)
        )

    def _break_later(self, exchange: Exchange) -> None:
        self._at(self.now_ms + SILENCE_MS, self._end, exchange, False)

    def _end(self, exchange: Exchange, complete: bool) -> None:
        site = self.sites[exchange.caller]
        if site.epoch == exchange.epochs[0]:
            site.calling.discard(exchange.callee)
        number = self.network.link_of(self._alias[exchange.caller], self._alias[exchange.callee])
        if complete:
            site.rounds += 1
            if number is not None:
                self._links[number].rounds += 1
        else:
            site.failures += 1
        self._settle(site)
        self._settle(self.sites[exchange.callee])
        what = "done" if complete else "broken"
        self._note(what, exchange.caller, exchange.callee, exchange.turns, exchange.rows)

    def _settle(self, site: SimSite) -> None:
        """A site whose anchor was lost meets everybody again once it has heard of it."""
        if site.confidant is not None and site.member.incarnation > site.away_from:
            site.confidant = None
            self._note("settled", site.number)

    def _refused(self, site: SimSite, peer: int, error: SyncError) -> None:
        self.counts["refused"] += 1
        site.failures += 1
        self._note("refuse", site.number, peer, type(error).__name__)

    # Misfortunes

    def _announce(self, mishap: Mishap) -> None:
        if mishap.kind == "restore":
            for number in mishap.sites:
                self._at(max(0, mishap.at_ms - mishap.age_ms), self._back_up, mishap, number)
        self._at(mishap.at_ms, self._begin, mishap)
        if mishap.kind in ("partition", "power-cut", "clock", "clone"):
            self._at(mishap.until_ms, self._over, mishap)

    def _begin(self, mishap: Mishap) -> None:
        self._note(mishap.kind, *mishap.sites)
        if mishap.kind == "partition":
            self.network.cut(mishap)
        for number in mishap.sites:
            site = self.sites[number]
            match mishap.kind:
                case "crash":
                    self._restart(site)
                case "power-cut":
                    self._restart(site)
                    site.dark += 1
                case "clock":
                    site.offset_ms += mishap.offset_ms
                case "restore":
                    self._restore(site, mishap)
                case "wipe":
                    self._wipe(site)
                case "clone":
                    self._clone(site, mishap.until_ms)

    def _over(self, mishap: Mishap) -> None:
        self._note("over", mishap.kind, *mishap.sites)
        if mishap.kind == "partition":
            self.network.heal(mishap)
        for number in mishap.sites:
            if mishap.kind == "power-cut":
                self.sites[number].dark -= 1
            elif mishap.kind == "clone":
                self._turn_off_twins()
            elif mishap.kind == "clock":
                self.sites[number].offset_ms -= mishap.offset_ms

    def _restart(self, site: SimSite) -> None:
        site.epoch += 1
        site.calling.clear()
        site.member.restarted()

    def _back_up(self, mishap: Mishap, number: int) -> None:
        site = self.sites[number]
        if site.confidant is not None:
            # It holds changes under numbers that others use too: a copy of that helps nobody.
            return
        self._note("backup", number)
        self._backups[id(mishap), number] = site.member.backup()

    def _restore(self, site: SimSite, mishap: Mishap) -> None:
        put_back = self._backups.pop((id(mishap), site.number), None)
        if put_back is None or site.confidant is not None or self._is_confidant(site.number):
            self._note("unrestored", site.number)
            return
        self._restart(site)
        member = site.member
        if mishap.anchor or not self._rule.anchored:
            put_back(True)
            return
        again, was = member.backup(), member.incarnation
        put_back(False)
        # A copy from before an incarnation that its confidant has not heard of cannot be told.
        confidant = self._who_knows_more(site) if member.incarnation == was else None
        if confidant is None:
            # Nobody could tell it: that is what anchors are for, and no promise covers it.
            again(False)
            self._note("unrestored", site.number)
            return
        site.confidant, site.away_from = confidant, member.incarnation

    def _who_knows_more(self, site: SimSite) -> int | None:
        for other in site.neighbourhood.everybody():
            sibling = self.sites[other]
            if sibling.confidant is None and site.member.lacks_own(sibling.member):
                return other
        return None

    def _is_confidant(self, number: int) -> bool:
        return any(site.confidant == number for site in self.sites)

    def _wipe(self, site: SimSite) -> None:
        if self._is_confidant(site.number):
            self._note("unwiped", site.number)
            return
        self._restart(site)
        site.confidant = None
        name = self.scenario.sites[site.number].name
        self._setting.site_ids[site.number] = self._site_id()
        self.history.names[self._setting.site_ids[site.number]] = f"{name} (rebuilt)"
        site.member = self._rule.member(site.number, self._setting)
        for pair in [pair for pair in self._remembered if site.number in pair]:
            del self._remembered[pair]

    def _clone(self, site: SimSite, until_ms: int) -> None:
        """A second machine starts from a copy of the site, with the same keys. Its node finds an
        anchor of another machine and goes on under an incarnation of its own; then the first one
        hears of that and does the same, and so on, until somebody turns the copy off."""
        number = len(self.sites)
        self._setting.site_ids.append(self._setting.site_ids[site.number])
        self._nonces.append(generator(self.seed, "nonce", "twin", number))
        self._alias.append(self._alias[site.number])
        twin = SimSite(
            number, site.member, site.neighbourhood.copied(), site.every_ms, site.offset_ms, 0.0
        )
        self.sites.append(twin)
        try:
            twin.member = site.member.twin(number)
        except Refused:
            # As if nobody had copied it.
            for made in (self._setting.site_ids, self._nonces, self._alias, self.sites):
                made.pop()
            self._note("uncloned", site.number)
            return
        self._twins.append((until_ms, twin))
        self._at(self.now_ms, self._tick, twin)

    def _turn_off_twins(self) -> None:
        for until_ms, twin in self._twins:
            if until_ms <= self.now_ms and not twin.dark:
                twin.epoch += 1
                twin.dark = 1

    # The quiet

    def _begin_quiet(self) -> None:
        self._quiet = self._clocks_right = True
        latest_ms = max(site.member.latest_ms() for site in self._lasting)
        ahead_ms = latest_ms + 1_000 - self._wall_ms(0)
        if ahead_ms > 0:
            # Stamps of the future: nobody waits for them in virtual time.
            self._passed_ms += ahead_ms
        self._note("quiet", self._passed_ms)
        self._backlog = self._backlog_now()
        bound = self._bound()
        if bound is not None:
            # Twice, since merging what is still apart may put more conflicts on record.
            self._ends_ms = min(self._ends_ms, self.now_ms + 2 * bound)
        self._quiet_check_ms = min(60_000, max(1_000, self.scenario.gossip.every_ms // 8))
        self._at(self.now_ms, self._check_quiet)

    def _backlog_now(self) -> int:
        """The writes and conflict records that some site has and another lacks, less all that
        there are: what is written and recorded from now on counts, too."""
        seen = [site.member.seen for site in self._lasting]
        everywhere = functools.reduce(operator.and_, seen)
        conflicts = min(site.member.conflicts for site in self._lasting)
        return -everywhere.bit_count() - conflicts

    def _bound(self) -> int | None:
        """By when all must be equal if every row and every conflict record that was not
        everywhere when the quiet began had to travel the whole way."""
        if not self._rule.anchored:
            return None  # a rival promises nothing
        conflicts = max(site.member.conflicts for site in self._lasting)
        rows = len(self.history.writes) + conflicts + self._backlog
        return bound_ms(self.scenario, max(0, rows))

    def _check_quiet(self) -> None:
        if self._at_rest():
            self._converged_ms = self.now_ms - self.scenario.faults_ms
            self._note("converged", self._converged_ms)
            return
        if self._rule.is_over([site.member for site in self._lasting]):
            self._note("diverged")
            self._ends_ms = self.now_ms
        self._at(self.now_ms + self._quiet_check_ms, self._check_quiet)

    def _at_rest(self) -> bool:
        held: dict[str, object] = {}
        for site in self._lasting:
            if site.confidant is not None:
                return False
            for table, what in site.member.holds().items():
                if held.setdefault(table, what) != what:
                    return False
        return True

    # Figures

    def _sample(self) -> None:
        self._take_sample()
        self._at(self.now_ms + self._sample_every_ms, self._sample)

    def _take_sample(self) -> None:
        sites, links = self._lasting, self._links
        behind = lacking([site.member.seen for site in sites])
        down = self.network.links_down(self.now_ms)
        series = {
            "writes": sum(site.writes for site in sites),
            "behind": round(sum(behind) / len(behind), 3),
            "current": round(sum(not lacks for lacks in behind) / len(behind), 6),
            "bytes": round(sum(link.up + link.down for link in links)),
            "rounds": sum(site.rounds for site in sites),
            "conflicts": max(site.member.conflicts for site in sites),
            "parked": 0,
            "cut": round(len(down) / max(1, len(links)), 6),
        }
        self._times_ms.append(self.now_ms)
        for name, value in series.items():
            self._series[name].append(value)
        self._behind.append(behind)
        self._links_down.append(down)

    def _finished(self) -> Run:
        scenario, sites = self.scenario, self._lasting
        states = self._states()
        verdicts = self._verdicts(states)
        whole = joined(site.delays for site in sites)
        expected = sum(site.writes for site in sites) * (len(sites) - 1)
        results = Results(
            title=scenario.title,
            seed=self.seed,
            version=version(),
            level="sites",
            rule=scenario.gossip.rule,
            choice=scenario.gossip.choice,
            scaled=scenario.scale,
            faults_ms=scenario.faults_ms,
            quiet_ms=scenario.quiet_ms,
            converged_ms=self._converged_ms,
            bound_ms=self._bound(),
            writes=sum(site.writes for site in sites),
            transactions=self.counts["write"],
            conflicts=max(site.member.conflicts for site in sites),
            parked=self._parked(),
            lost_updates=self._lost_updates(states),
            bytes=round(sum(link.up + link.down for link in self._links)),
            rounds=sum(site.rounds for site in sites),
            failures=sum(site.failures for site in sites),
            staleness_ms=whole.percentiles(),
            ages=ages(whole, expected),
            sites=tuple(self._site_result(site) for site in sites),
            links=tuple(
                LinkResult(
                    link.one, link.other, link.link_class,
                    count.rounds, count.messages, count.lost, round(count.up), round(count.down),
                )
                for link, count in zip(scenario.links, self._links, strict=True)
            ),
            times_ms=tuple(self._times_ms),
            series=self._series,
            behind=self._behind,
            links_down=self._links_down,
            faults=self._faults(),
            verdicts=verdicts,
            trace=self._hasher.hexdigest(),
        )  # fmt: skip
        return Run(scenario, results, self.history, states, dict(self.counts))

    def _parked(self) -> int:
        members = [site.member for site in self._lasting]
        alike = self._converged_ms is not None and not any(s.tables for s in self.scenario.sites)
        return len(members) * members[0].parked() if alike else sum(m.parked() for m in members)

    def _lost_updates(self, states: tuple[SiteState, ...]) -> int:
        if states:
            return sum(1 for _ in lost(self._ending(states)))
        return self._rule.lost_updates([site.member for site in self._lasting], self.history)

    def _site_result(self, site: SimSite) -> SiteResult:
        declared = self.scenario.sites[site.number]
        return SiteResult(
            declared.name,
            declared.parent,
            site.writes,
            site.delays.count,
            site.delays.percentiles(),
            site.rounds,
            site.failures,
        )

    def _faults(self) -> dict[str, int]:
        names = ("crash", "power-cut", "clock", "restore", "clone", "wipe", "partition")
        found = {name: self.counts[name] for name in names if self.counts[name]}
        network = {
            "messages lost": self.network.lost,
            "messages twice": self.network.twins,
            "messages late": self.network.late,
            "exchanges refused": self.counts["refused"],
            "restores not done": self.counts["unrestored"],
            "clones not made": self.counts["uncloned"],
        }
        return found | {name: count for name, count in network.items() if count}

    def _states(self) -> tuple[SiteState, ...]:
        members = [site.member for site in self._lasting]
        return tuple(member.state() for member in members if isinstance(member, OurMember))

    def _ending(self, states: tuple[SiteState, ...]) -> Ending:
        if self._final is None:
            self._final = Ending(self.history, states, self._converged_ms, self._bound())
        return self._final

    def _verdicts(self, states: tuple[SiteState, ...]) -> dict[str, str]:
        if not states:
            return {}
        ending = self._ending(states)
        verdicts = {}
        for name in self.scenario.measure.checkers:
            try:
                CHECKERS[name](ending)
                verdicts[name] = "held"
            except CheckError as error:
                verdicts[name] = str(error)
        return verdicts


def neighbourhoods(scenario: Scenario, seed: int) -> list[Neighbourhood]:
    """Whom each site may call, by index: parent, peers (by either's word), children."""
    index = {name: number for number, name in enumerate(scenario.names())}
    hoods = [
        Neighbourhood(
            index[site.parent] if site.parent is not None else None,
            [index[peer] for peer in site.peers],
            [],
            generator(seed, "choice", number),
        )
        for number, site in enumerate(scenario.sites)
    ]
    for number, site in enumerate(scenario.sites):
        if site.parent is not None:
            hoods[index[site.parent]].children = [*hoods[index[site.parent]].children, number]
        for peer in site.peers:
            beside = hoods[index[peer]].beside
            if number not in beside:
                hoods[index[peer]].beside = [*beside, number]
    return hoods


def run_sites(
    scenario: Scenario,
    seed: int = 1,
    *,
    trace: TextIO | None = None,
    progress: Progress | None = None,
    moments_ms: Sequence[int] = (),
) -> Run:
    """Play a scenario on level (a)."""
    world = World(scenario, seed, trace=trace, progress=progress, moments_ms=moments_ms)
    return world.run()
