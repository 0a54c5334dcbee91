"""What people write: the events of a clinic's day, or single rows of a small pool.

Nothing here asks what a site holds, so a script is the same under every merge rule and on both
levels. To that end people of kind "clinic" write only rows of their own site, and rows that stand
at every site from the start (`shared_statements`); they refer to such rows only, and delete only
their own. Those of kind "random" write and delete whatever is in the pool: for hard tests.

What befalls a site was drawn before, too, and its people live with it: without power they write
nothing; after a restored backup they go on with what was in it; after a lost database they begin
anew, and leave alone what the peers bring back at a moment that nobody knows beforehand.

Events come as a Poisson process whose rate follows the day, drawn by thinning (Lewis and Shedler,
"Simulation of Nonhomogeneous Poisson Processes by Thinning", 1979). `Scenario.scale` thins them
further: there are fewer events, none is smaller.
"""

import hashlib
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush, merge
from itertools import accumulate
from random import Random
from typing import TypeVar

from syncproto.identity import ROW_KEY_BYTES, RowKey
from syncproto.row import Reference, Value
from syncsim.events import Statement, Transaction
from syncsim.forms import (
    CONSULTATION,
    ENROLMENT,
    FAMILY_NAMES,
    GIVEN_NAMES,
    PRESCRIPTION,
    PROVIDERS,
    REASONS,
    REGISTRATION,
    RESULTS,
    TEMPERATURES,
    VILLAGES,
    VITALS,
    Question,
)
from syncsim.misfortunes import mishaps
from syncsim.scenario import DAY_MS, HOUR_MS, Profile, Scenario, generator
from syncsim.schema import TABLES, all_columns

MINUTE_MS = 60_000

# The mix of events is that of a clinic with OpenMRS: of a hundred, so many are
OPEN_A_VISIT = 35  # and take the vital signs
CONSULT = 30
RESULTS_COME = 10
PRESCRIBE = 8
END_A_VISIT = 4
CORRECT_A_NAME = 2
CORRECT_AN_OBS = 2
ENROL = 2
VOID_A_GROUP = 0.5
MERGE_PATIENTS = 0.1
PURGE_AN_ENCOUNTER = 0.1
# and registrations as many as the profile says. (An estimate from the load of the OpenMRS 3
# performance test and the sizes that AMPATH published. Of the list, metadata is left out: it is
# written at the parent by few.) A visit comes to about 35 obs, as AMPATH's did: 8 vital signs and
# a form of so many questions, of which some stay open.
CONSULTATION_OBS_LEAST = 24

MORNING = 1.5  # the rate at opening, by the day's mean; it falls steadily to 0.5 at closing
PATIENTS_KEPT = 256  # whom a clinic may see again: memory stays bounded over a year
ENCOUNTERS_KEPT = 6  # that may be corrected, voided or purged
SHARED_PATIENT = 0.05  # the share of visits by a patient whom every site knows
NOTHING_MS = -1  # before which nothing was written

_ANSWERS: Mapping[Value, tuple[Value, ...]] = {
    question.concept: question.answers
    for form in (VITALS, CONSULTATION, RESULTS, PRESCRIPTION, ENROLMENT, REGISTRATION)
    for question in form
}


def script(scenario: Scenario, seed: int) -> Iterator[Transaction]:
    """Everything that people write, in ascending time; nothing at or after `faults_ms`.

    Memory is bounded by the sites, not by the length of the run.
    """
    fates = _fates(scenario, seed)
    streams: list[Iterator[Transaction]] = []
    for number, site in enumerate(scenario.sites):
        if site.people is None:
            continue
        profile, fate = scenario.profiles[site.people], fates[number]
        if profile.kind == "random":
            stream = _random_rows(scenario, seed, number, profile, fate)
        else:
            stream = _Clinic(scenario, seed, number, profile, fate).transactions()
        streams.append(stream if site.tables is None else _kept(stream, frozenset(site.tables)))
    return merge(*streams, key=lambda transaction: (transaction.at_ms, transaction.site))


def shared_statements(scenario: Scenario) -> tuple[Statement, ...]:
    """The rows that every site holds from the start, those referred to first.

    They are the same for every seed: one network is born with them.
    """
    return tuple(
        Statement(table, shared_key(table, rank), _shared_values(table, rank))
        for table in TABLES
        for rank in range(scenario.shared_rows)
    )


def shared_key(table: str, rank: int) -> RowKey:
    """The key of a shared row."""
    return _named_key("shared", table, rank)


def pool_key(table: str, rank: int) -> RowKey:
    """The key of a row that people of kind "random" write."""
    return _named_key("pool", table, rank)


def _named_key(*parts: object) -> RowKey:
    text = ":".join(map(str, parts))
    return RowKey(hashlib.sha256(text.encode()).digest()[:ROW_KEY_BYTES])


def _shared_values(table: str, rank: int) -> dict[str, Value]:
    started = "2025-12-01 08:00:00"
    plain: dict[str, dict[str, Value]] = {
        "person": {
            "name": f"{FAMILY_NAMES[rank % len(FAMILY_NAMES)]} {GIVEN_NAMES[rank % 7]}",
            "village": VILLAGES[rank % len(VILLAGES)],
            "born": f"{1950 + rank % 60}-06-15",
            "voided": 0,
        },
        "visit": {"started": started, "stopped": None, "reason": REASONS[rank % len(REASONS)]},
        "encounter": {"happened": started, "form": "vitals", "provider": PROVIDERS[0]},
        "obs": {"concept": VITALS[0].concept, "value": "60.0", "voided": 0},
    }
    values = plain[table]
    for column, other in TABLES[table].references.items():
        values[column] = Reference(other, shared_key(other, rank))
    return values


def _kept(stream: Iterator[Transaction], tables: frozenset[str]) -> Iterator[Transaction]:
    """Of each transaction what concerns the tables that the site keeps."""
    for transaction in stream:
        statements = tuple(s for s in transaction.statements if s.table in tables)
        if statements:
            yield Transaction(transaction.at_ms, transaction.site, statements)


@dataclass(slots=True)
class _Fate:
    """What of a site's misfortunes its people notice.

    Attributes:
        dark: Spans without power, in ascending order.
        setbacks: (when, what is left is from before), in ascending order: restored backups, and
            lost databases, of which nothing is left.
    """

    dark: deque[tuple[int, int]] = field(default_factory=deque)
    setbacks: deque[tuple[int, int]] = field(default_factory=deque)

    def is_dark(self, at_ms: int) -> bool:
        """Whether there is no power; asked in ascending time."""
        while self.dark and self.dark[0][1] <= at_ms:
            self.dark.popleft()
        return bool(self.dark) and self.dark[0][0] <= at_ms


def _fates(scenario: Scenario, seed: int) -> list[_Fate]:
    fates = [_Fate() for _ in scenario.sites]
    for mishap in mishaps(scenario, seed):
        for site in mishap.sites:
            if mishap.kind == "power-cut":
                fates[site].dark.append((mishap.at_ms, mishap.until_ms))
            elif mishap.kind == "restore":
                left_ms = max(0, mishap.at_ms - mishap.age_ms)
                fates[site].setbacks.append((mishap.at_ms, left_ms))
            elif mishap.kind == "wipe":
                fates[site].setbacks.append((mishap.at_ms, NOTHING_MS))
    return fates


@dataclass(slots=True)
class _Entry:
    """A row that a clinic wrote at `at_ms` and may write again: its key and what it last said."""

    table: str
    key: RowKey
    values: dict[str, Value]
    at_ms: int

    def created(self) -> Statement:
        return Statement(self.table, self.key, self.values)

    def updated(self, **changes: Value) -> Statement:
        # A new dictionary: the statements made so far hold the old one.
        self.values = {**self.values, **changes}
        return Statement(self.table, self.key, self.values, tuple(changes))

    def deleted(self) -> Statement:
        return Statement(self.table, self.key, None)


@dataclass(slots=True)
class _Patient:
    person: _Entry
    visit: _Entry | None = None  # the latest


@dataclass(slots=True)
class _Encounter:
    entry: _Entry
    obs: list[_Entry] = field(default_factory=list)


_Later = Callable[[int], Iterable[Statement]]
"""What happens later in a visit, asked for at its time."""


class _Clinic:
    """The people of one site of kind "clinic"."""

    def __init__(
        self, scenario: Scenario, seed: int, number: int, profile: Profile, fate: _Fate
    ) -> None:
        self._scenario = scenario
        self._number = number
        self._name = scenario.sites[number].name
        self._profile = profile
        self._fate = fate
        self._knows_shared = scenario.shared_rows > 0
        self._arrivals = generator(seed, "arrivals", self._name)
        self._rng = generator(seed, "people", self._name)
        self._began = datetime.fromtimestamp(scenario.start_unix_ms // 1000, UTC)
        self._patients: list[_Patient] = []
        self._encounters: deque[_Encounter] = deque(maxlen=ENCOUNTERS_KEPT)
        self._later: list[tuple[int, int, _Later]] = []
        self._planned = 0
        self._edits = 0
        self._hot = list(accumulate(1 / (rank + 1) for rank in range(scenario.shared_rows)))
        self._acts, self._weights = self._mix()

    def transactions(self) -> Iterator[Transaction]:
        ends_ms, later = self._scenario.faults_ms, self._later
        for at_ms in self._times():
            while later and later[0][0] <= at_ms:
                yield from self._committed(*_due(later))
            act = self._acts[bisect_right(self._weights, self._rng.random() * self._weights[-1])]
            yield from self._committed(at_ms, act)
        while later and later[0][0] < ends_ms:
            yield from self._committed(*_due(later))

    def _committed(self, at_ms: int, act: _Later) -> Iterator[Transaction]:
        setbacks = self._fate.setbacks
        while setbacks and setbacks[0][0] <= at_ms:
            self._forget(setbacks.popleft()[1])
            if act not in self._acts:
                return  # it belonged to a visit that nobody remembers
        if self._fate.is_dark(at_ms):
            return
        statements = tuple(act(at_ms))
        if statements:
            yield Transaction(at_ms, self._number, statements)

    def _forget(self, left_ms: int) -> None:
        """Of what was written only what is from before `left_ms` stands on the screens."""
        self._later.clear()
        self._patients = [p for p in self._patients if p.person.at_ms < left_ms]
        for patient in self._patients:
            if patient.visit is not None and patient.visit.at_ms >= left_ms:
                patient.visit = None
        kept = [e for e in self._encounters if e.entry.at_ms < left_ms]
        for encounter in kept:
            encounter.obs = [obs for obs in encounter.obs if obs.at_ms < left_ms]
        self._encounters = deque((e for e in kept if e.obs), maxlen=ENCOUNTERS_KEPT)
        if left_ms == NOTHING_MS:
            self._knows_shared = False

    def _mix(self) -> tuple[list[_Later], list[float]]:
        """What may happen next, and the running sums of how often it does, a day."""
        visits, patients = self._profile.visits_a_day, self._profile.patients_a_day
        a_visit = visits / OPEN_A_VISIT
        rates: list[tuple[_Later, float]] = [
            (self._open_visit, visits),
            (self._register, patients),
            (self._correct_name, CORRECT_A_NAME * a_visit),
            (self._correct_obs, CORRECT_AN_OBS * a_visit),
            (self._enrol, ENROL * a_visit),
            (self._void_group, VOID_A_GROUP * a_visit),
            (self._merge_patients, MERGE_PATIENTS * a_visit),
            (self._purge_encounter, PURGE_AN_ENCOUNTER * a_visit),
        ]
        if self._knows_shared and self._profile.shared:
            follow = (CONSULT + RESULTS_COME + PRESCRIBE + END_A_VISIT) * a_visit
            own = sum(rate for _, rate in rates) + follow
            share = self._profile.shared
            rates.append((self._edit_shared, own * share / (1 - share)))
        return [act for act, _ in rates], list(accumulate(rate for _, rate in rates))

    def _times(self) -> Iterator[int]:
        """When something happens that does not follow from what went before."""
        rng, profile = self._arrivals, self._profile
        opens_ms, closes_ms = profile.hours_ms
        length_ms = closes_ms - opens_ms
        a_day = self._weights[-1] * self._scenario.scale
        if a_day <= 0 or length_ms <= 0:
            return
        peak = MORNING * a_day / length_ms
        midnight_ms = self._scenario.start_unix_ms % DAY_MS
        weekday = self._began.weekday()
        at = 0.0
        while True:
            day, time_of_day = divmod(midnight_ms + at, DAY_MS)
            if time_of_day < opens_ms:
                at += opens_ms - time_of_day
                continue
            at += rng.expovariate(peak)
            if at >= self._scenario.faults_ms:
                return
            since_opening = midnight_ms + at - day * DAY_MS - opens_ms
            if since_opening >= length_ms:
                # The process has no memory: it may begin anew tomorrow.
                at = (day + 1) * DAY_MS - midnight_ms
                continue
            share = 1 - (2 - 2 / MORNING) * since_opening / length_ms
            if (weekday + day) % 7 >= 5:
                share *= profile.weekend
            if rng.random() < share:
                yield int(at)

    # What happens

    def _register(self, at_ms: int) -> list[Statement]:
        """A new patient: eight rows, as many as OpenMRS writes for one."""
        rng = self._rng
        name = f"{_one(FAMILY_NAMES, rng)} {_one(GIVEN_NAMES, rng)}"
        born = f"{1935 + int(rng.random() * 91)}-{1 + int(rng.random() * 12):02d}-15"
        person = self._entry(
            at_ms, "person", name=name, village=_one(VILLAGES, rng), born=born, voided=0
        )
        when = self._when(at_ms)
        visit = self._entry(
            at_ms,
            "visit",
            started=when,
            stopped=when,
            reason="registration",
            person=Reference("person", person.key),
        )
        patient = _Patient(person, visit)
        if len(self._patients) < PATIENTS_KEPT:
            self._patients.append(patient)
        else:
            self._patients[int(rng.random() * PATIENTS_KEPT)] = patient
        filled = self._filled(at_ms, visit.key, "registration", REGISTRATION)
        return [person.created(), visit.created(), *filled]

    def _open_visit(self, at_ms: int) -> list[Statement]:
        rng = self._rng
        statements: list[Statement] = []
        patient = None
        if self._knows_shared and rng.random() < SHARED_PATIENT:
            key = shared_key("person", self._hot_rank())
        else:
            if not self._patients:
                statements += self._register(at_ms)
            patient = _one(self._patients, rng)
            key = patient.person.key
        visit = self._entry(
            at_ms,
            "visit",
            started=self._when(at_ms),
            stopped=None,
            reason=_one(REASONS, rng),
            person=Reference("person", key),
        )
        if patient is not None:
            patient.visit = visit
        statements.append(visit.created())
        statements += self._filled(at_ms, visit.key, "vitals", VITALS)
        self._plan_visit(at_ms, visit)
        return statements

    def _plan_visit(self, at_ms: int, visit: _Entry) -> None:
        rng = self._rng
        if rng.random() < CONSULT / OPEN_A_VISIT:
            asked = CONSULTATION_OBS_LEAST
            asked += int(rng.random() * (len(CONSULTATION) - CONSULTATION_OBS_LEAST + 1))
            questions = CONSULTATION[:asked]
            self._plan(at_ms, 10, 60, self._filling(visit.key, "consultation", questions))
        if rng.random() < RESULTS_COME / OPEN_A_VISIT:
            questions = RESULTS[: 2 + int(rng.random() * 5)]
            self._plan(at_ms, 30, 240, self._filling(visit.key, "laboratory", questions))
        if rng.random() < PRESCRIBE / OPEN_A_VISIT:
            self._plan(at_ms, 20, 90, self._filling(visit.key, "prescription", PRESCRIPTION))
        if rng.random() < END_A_VISIT / OPEN_A_VISIT:
            self._plan(at_ms, 60, 300, lambda now_ms: [visit.updated(stopped=self._when(now_ms))])

    def _filling(self, visit: RowKey, form: str, questions: tuple[Question, ...]) -> _Later:
        return lambda at_ms: self._filled(at_ms, visit, form, questions)

    def _enrol(self, at_ms: int) -> list[Statement]:
        visited = [patient for patient in self._patients[-8:] if patient.visit is not None]
        if not visited:
            return []
        visit = _one(visited, self._rng).visit
        assert visit is not None
        return self._filled(at_ms, visit.key, "enrolment", ENROLMENT)

    def _correct_name(self, _at_ms: int) -> list[Statement]:
        if not self._patients:
            return []
        person = _one(self._patients, self._rng).person
        name = f"{_one(FAMILY_NAMES, self._rng)} {_one(GIVEN_NAMES, self._rng)}"
        return [person.updated(name=name)] if name != person.values["name"] else []

    def _correct_obs(self, at_ms: int) -> list[Statement]:
        """As OpenMRS does: a new row, and the old one voided."""
        encounter = self._recent_encounter()
        if encounter is None:
            return []
        place = int(self._rng.random() * len(encounter.obs))
        old = encounter.obs[place]
        if old.values["voided"]:
            return []
        answer = _one(_ANSWERS[old.values["concept"]], self._rng)
        new = self._entry(at_ms, "obs", **{**old.values, "value": answer})
        encounter.obs[place] = new
        return [new.created(), old.updated(voided=1)]

    def _void_group(self, _at_ms: int) -> list[Statement]:
        encounter = self._recent_encounter()
        if encounter is None:
            return []
        group = [obs for obs in encounter.obs[:3] if not obs.values["voided"]]
        return [obs.updated(voided=1) for obs in group]

    def _merge_patients(self, _at_ms: int) -> list[Statement]:
        """Two records of one patient: the visit moves to one, the other is voided."""
        if len(self._patients) < 2:
            return []
        loser = self._patients.pop(int(self._rng.random() * len(self._patients)))
        winner = _one(self._patients, self._rng)
        statements = []
        if loser.visit is not None:
            person = Reference("person", winner.person.key)
            statements.append(loser.visit.updated(person=person))
            winner.visit = loser.visit
        return [*statements, loser.person.updated(voided=1)]

    def _purge_encounter(self, _at_ms: int) -> list[Statement]:
        """A real delete: all obs of an encounter, then the encounter."""
        encounter = self._recent_encounter()
        if encounter is None:
            return []
        self._encounters.remove(encounter)
        return [*(obs.deleted() for obs in encounter.obs), encounter.entry.deleted()]

    def _edit_shared(self, at_ms: int) -> list[Statement]:
        """Somebody edits a row that others may be editing, too. What is written is unique, so
        that it can be seen later whose edit stands."""
        if not self._knows_shared:
            return []
        rng, rank = self._rng, self._hot_rank()
        self._edits += 1
        mark = f"{self._name} {self._edits}"
        table, column, value = _one(
            (
                ("person", "name", f"{_one(FAMILY_NAMES, rng)} {_one(GIVEN_NAMES, rng)} ({mark})"),
                ("person", "village", f"{_one(VILLAGES, rng)}, house {mark}"),
                ("visit", "stopped", f"{self._when(at_ms)} {mark}"),
                ("visit", "reason", f"{_one(REASONS, rng)} ({mark})"),
                ("encounter", "provider", f"{_one(PROVIDERS, rng)} ({mark})"),
                ("obs", "value", f"{_one(TEMPERATURES, rng)} ({mark})"),
            ),
            rng,
        )
        values = {**_shared_values(table, rank), column: value}
        return [Statement(table, shared_key(table, rank), values, (column,))]

    # How it is written

    def _filled(
        self, at_ms: int, visit: RowKey, form: str, questions: tuple[Question, ...]
    ) -> list[Statement]:
        """A form: an encounter and an obs for each question."""
        rng, random = self._rng, self._rng.random
        entry = self._entry(
            at_ms,
            "encounter",
            happened=self._when(at_ms),
            form=form,
            provider=_one(PROVIDERS, rng),
            visit=Reference("visit", visit),
        )
        reference = Reference("encounter", entry.key)
        keys = rng.randbytes(ROW_KEY_BYTES * len(questions))
        encounter = _Encounter(entry)
        statements = [entry.created()]
        for number, question in enumerate(questions):
            answers = question.answers
            obs = _Entry(
                "obs",
                RowKey(keys[ROW_KEY_BYTES * number : ROW_KEY_BYTES * (number + 1)]),
                {
                    "concept": question.concept,
                    "value": answers[int(random() * len(answers))],
                    "voided": 0,
                    "encounter": reference,
                },
                at_ms,
            )
            encounter.obs.append(obs)
            statements.append(obs.created())
        self._encounters.append(encounter)
        return statements

    def _entry(self, at_ms: int, table: str, **values: Value) -> _Entry:
        return _Entry(table, RowKey(self._rng.randbytes(ROW_KEY_BYTES)), values, at_ms)

    def _plan(self, at_ms: int, least: int, most: int, act: _Later) -> None:
        """Something follows, so many minutes later."""
        after_ms = int((least + self._rng.random() * (most - least)) * MINUTE_MS)
        self._planned += 1
        heappush(self._later, (at_ms + after_ms, self._planned, act))

    def _recent_encounter(self) -> _Encounter | None:
        return _one(self._encounters, self._rng) if self._encounters else None

    def _hot_rank(self) -> int:
        """A shared row: the second half as often as the first, the third a third as often."""
        return bisect_right(self._hot, self._rng.random() * self._hot[-1])

    def _when(self, at_ms: int) -> str:
        """As the people at the site see the time: their watches are right."""
        return (self._began + timedelta(seconds=at_ms // 1000)).isoformat(" ", "seconds")[:19]


_T = TypeVar("_T")


def _one(things: Sequence[_T], rng: Random) -> _T:
    """One of them; `Random.choice` takes four times as long."""
    return things[int(rng.random() * len(things))]


def _due(later: list[tuple[int, int, _Later]]) -> tuple[int, _Later]:
    at_ms, _, act = heappop(later)
    return at_ms, act


def _random_rows(
    scenario: Scenario, seed: int, number: int, profile: Profile, fate: _Fate
) -> Iterator[Transaction]:
    """Writes and deletes of rows of the pool; every value is written once only."""
    name = scenario.sites[number].name
    rng = generator(seed, "random rows", name)
    keys = {table: [pool_key(table, rank) for rank in range(profile.rows)] for table in TABLES}
    tables = tuple(TABLES)
    written, at = 0, 0.0
    if profile.writes_an_hour <= 0 or profile.rows <= 0:
        return
    while True:
        at += rng.expovariate(profile.writes_an_hour / HOUR_MS)
        if at >= scenario.faults_ms:
            return
        if fate.is_dark(int(at)):
            continue
        statements = []
        for _ in range(1 + int(rng.random() * rng.random() * 4)):  # mostly one, at most four
            table = _one(tables, rng)
            key = _one(keys[table], rng)
            if rng.random() < profile.deletes:
                statements.append(Statement(table, key, None))
                continue
            written += 1
            values = _random_values(table, f"{name} {written}", keys, rng)
            columns = all_columns(table)
            changed = tuple(column for column in columns if rng.random() < 0.5)
            statements.append(Statement(table, key, values, changed or columns[:1]))
        yield Transaction(int(at), number, tuple(statements))


def _random_values(
    table: str, text: str, keys: Mapping[str, list[RowKey]], rng: Random
) -> dict[str, Value]:
    values: dict[str, Value] = dict.fromkeys(TABLES[table].columns, text)
    for column, other in TABLES[table].references.items():
        values[column] = None if rng.random() < 0.2 else Reference(other, _one(keys[other], rng))
    return values
