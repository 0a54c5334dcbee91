"""The rows and edits of the workloads, drawn from one seed: alike in every run.

Clinical in shape: persons with a uuid, and observations that refer to them. Each table counts
its own local ids, so a site that gets the rows must translate the references.
"""

import random
import uuid
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

Row = tuple[Any, ...]
Edit = tuple[str, str, Any]
"""(uuid of a person, column, new value)."""

SEED = 4711
PERSON = (
    *("id", "uuid", "gender", "birthdate", "dead"),
    *("creator", "date_created", "date_changed", "voided"),
)
OBS = (
    *("id", "uuid", "person_id", "concept_id", "value_numeric", "value_text"),
    *("obs_datetime", "creator", "date_created", "voided"),
)
COLUMNS = {"person": PERSON, "obs": OBS}

FIRST_TIME = datetime(2014, 1, 1)
SPAN_S = 3650 * 24 * 3600
FIRST_BIRTHDAY = date(1931, 1, 1)
SPAN_DAYS = 32_000
STAFF, CONCEPTS = 60, 4_000
VITALS = 8  # measured of a patient at once
NOTES = (
    *("afebrile", "alert", "appetite", "blood", "chest", "clear", "cough", "diet", "dose"),
    *("fever", "given", "improved", "monthly", "negative", "normal", "oral", "pain", "pending"),
    *("poor", "positive", "pulse", "reduced", "refer", "repeat", "skin", "stable", "swelling"),
)


def persons(count: int, *, first: int = 1, seed: int = SEED) -> list[Row]:
    """Persons with ids from `first` on."""
    drawn = random.Random(f"persons {seed} {first}")
    return [
        (
            number,
            _uuid(drawn),
            drawn.choice("FMO"),
            _birthday(drawn),
            _seldom(drawn, 0.03),
            drawn.randint(1, STAFF),
            _time(drawn),
            _time(drawn) if drawn.random() < 0.4 else None,
            _seldom(drawn, 0.02),
        )
        for number in range(first, first + count)
    ]


def observations(people: Sequence[Row], count: int, *, seed: int = SEED) -> list[Row]:
    """Observations of these persons: seven in ten a number, the others a few words."""
    drawn = random.Random(f"observations {seed}")
    return [
        (number, _uuid(drawn), drawn.choice(people)[0], *_finding(drawn))
        for number in range(1, count + 1)
    ]


def vitals(findings: Sequence[Row]) -> list[Row]:
    """The same observations, eight at a time of one patient, made by one person at one time."""
    made: list[Row] = []
    for number, finding in enumerate(findings):
        first = findings[number - number % VITALS]
        shared = dict(zip(OBS, first, strict=True))
        row = dict(zip(OBS, finding, strict=True))
        same = ("person_id", "obs_datetime", "creator", "date_created")
        made.append(tuple((row | {name: shared[name] for name in same}).values()))
    return made


def edits(people: Sequence[Row], count: int, *, seed: int = SEED) -> list[Edit]:
    """One changed column in each of `count` persons, never to the value that it has."""
    drawn = random.Random(f"edits {seed}")
    return [_edit(drawn, person) for person in drawn.sample(people, count)]


def conflicts(
    people: Sequence[Row], count: int, *, seed: int = SEED
) -> tuple[list[Edit], list[Edit]]:
    """What two sites make of the same persons: the first half in one column, the others in two."""
    drawn = random.Random(f"conflicts {seed}")
    here: list[Edit] = []
    there: list[Edit] = []
    for number, person in enumerate(drawn.sample(people, count)):
        if number < count // 2:
            here.append((person[1], "creator", 100_000 + number))
            there.append((person[1], "creator", 200_000 + number))
        else:
            here.append((person[1], "gender", "X"))
            there.append((person[1], "birthdate", "1999-12-31"))
    return here, there


def _edit(drawn: random.Random, person: Row) -> Edit:
    column = drawn.choice(("gender", "birthdate", "dead", "creator", "date_changed", "voided"))
    old = person[PERSON.index(column)]
    if column in ("dead", "voided"):
        return person[1], column, 1 - old
    return person[1], column, next(new for new in _values(drawn, column) if new != old)


def _values(drawn: random.Random, column: str) -> Iterator[Any]:
    while True:
        if column == "gender":
            yield drawn.choice("FMOU")
        elif column == "birthdate":
            yield _birthday(drawn)
        elif column == "creator":
            yield drawn.randint(1, 6 * STAFF)
        else:
            yield _time(drawn)


def _finding(drawn: random.Random) -> Row:
    number, text = None, None
    concept = drawn.randint(1, CONCEPTS)
    if drawn.random() < 0.7:
        number = round(drawn.uniform(0, 300), 2)
    else:
        text = " ".join(drawn.choices(NOTES, k=drawn.randint(2, 11)))
    voided = _seldom(drawn, 0.02)
    return concept, number, text, _time(drawn), drawn.randint(1, STAFF), _time(drawn), voided


def _uuid(drawn: random.Random) -> str:
    return str(uuid.UUID(int=drawn.getrandbits(128), version=4))


def _time(drawn: random.Random) -> str:
    return (FIRST_TIME + timedelta(seconds=drawn.randrange(SPAN_S))).isoformat(sep=" ")


def _birthday(drawn: random.Random) -> str:
    return (FIRST_BIRTHDAY + timedelta(days=drawn.randrange(SPAN_DAYS))).isoformat()


def _seldom(drawn: random.Random, share: float) -> int:
    return int(drawn.random() < share)
