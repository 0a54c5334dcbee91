"""The people of a clinic: what happens there in a day, and what they write down.

They write only rows of their own site, and rows that stand at every site from the start
(`shared_rows.py`); they refer to such rows only, and delete only their own.

When something happens is drawn in `rhythm.py`; what follows from it, later in a visit, here.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import accumulate
from random import Random
from typing import TypeVar

from syncproto.identity import ROW_KEY_BYTES, RowKey
from syncproto.row import Reference, Value
from syncsim.events import Statement, Transaction
from syncsim.fates import NOTHING_MS, Fate
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
from syncsim.rhythm import arrivals
from syncsim.scenario import Profile, Scenario, generator
from syncsim.shared_rows import shared_key, shared_values

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

PATIENTS_KEPT = 256  # whom a clinic may see again: memory stays bounded over a year
ENCOUNTERS_KEPT = 6  # that may be corrected, voided or purged
SHARED_PATIENT = 0.05  # the share of visits by a patient whom every site knows

_ANSWERS: Mapping[Value, tuple[Value, ...]] = {
    question.concept: question.answers
    for form in (VITALS, CONSULTATION, RESULTS, PRESCRIPTION, ENROLMENT, REGISTRATION)
    for question in form
}


@dataclass(slots=True)
class _Entry:
    """A row that was inserted at `at_ms` and may be written again: its key, what it last said."""

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


class Clinic:
    """The people of one site of kind "clinic"."""

    def __init__(
        self, scenario: Scenario, seed: int, number: int, profile: Profile, fate: Fate
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
        for at_ms in arrivals(self._scenario, self._profile, self._weights[-1], self._arrivals):
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
        # To an encounter something may have been added that is gone from here and stands at the
        # peers: whoever purged it now would leave that behind.
        self._encounters.clear()
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
        old = _one(encounter.obs, self._rng)
        if old.values["voided"]:
            return []
        answer = _one(_ANSWERS[old.values["concept"]], self._rng)
        new = self._entry(at_ms, "obs", **{**old.values, "value": answer})
        encounter.obs.append(new)
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
        values = {**shared_values(table, rank), column: value}
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


def _due(later: list[tuple[int, int, _Later]]) -> tuple[int, _Later]:
    at_ms, _, act = heappop(later)
    return at_ms, act


_T = TypeVar("_T")


def _one(things: Sequence[_T], rng: Random) -> _T:
    """One of them; `Random.choice` takes four times as long."""
    return things[int(rng.random() * len(things))]
