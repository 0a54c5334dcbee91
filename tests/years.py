"""A year of several health centres: who writes what when, and what befalls them meanwhile.

Drawn from one seed. A day has its rhythm (people are registered in the morning, results come in
the afternoon, hardly anything happens on a Sunday); centres are off line for days, links are cut,
exchanges break off, nodes are killed and started again; whoever can, exchanges now and then.

A usual run lives through some days with little work; `pytest --seeds 46` through the whole year,
with two thousand rows a day and site.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import combinations

from desks import Desk, Lost
from mariadb_sites import details
from sites import Site, settle, sync

YEAR_DAYS = 365
EVENTS_A_DAY = 240  # about 2,000 rows
DAYS, EVENTS = 8, 6  # of a run, for each of --seeds
FIRST_DAY = datetime(2026, 1, 1)
# Of a hundred events, by kind; the mix is an estimate for a health centre with OpenMRS.
MIX = {
    "vitals": 35,
    "consultation": 30,
    "test": 10,
    "prescription": 8,
    "registration": 6,
    "end of visit": 4,
    "shared edit": 3,
    "corrected value": 2,
    "corrected name": 2,
    "programme": 2,
    "log-in": 1,
    "voided group": 0.5,
    "administration": 0.3,
    "merge": 0.1,
    "delete": 0.1,
}
MORNING, AFTERNOON = ("registration", "vitals", "log-in"), ("test", "end of visit", "programme")
HOURS = (8, 10, 12, 14, 16)  # at each of them those exchange who can
SUNDAY = 0.1  # of the work of another day
OFF_LINE_EVERY_DAYS = 20
BREAK, CUT, KILL = 0.1, 0.15, 0.05  # by exchange, by link and day, by site and day


@dataclass
class Year:
    """What happened: for assertions that it did."""

    events: Counter[str] = field(default_factory=Counter)
    exchanges: int = 0
    broken: int = 0
    kept_apart: int = 0
    killed: int = 0
    off_line: Counter[str] = field(default_factory=Counter)


def lived(desk: type[Desk], sites: list[Site], seeds: int) -> Year:
    """A year of these sites, and that everything happened in it; they are settled afterwards.

    Raises:
        AssertionError: A value that gave way is not on record, or a row waits somewhere.
    """
    draw, lost = random.Random(f"a year of {desk.__name__}"), Lost()
    desks = [desk(site, random.Random(draw.random()), lost) for site in sites]
    days, events = min(YEAR_DAYS, DAYS * seeds), min(EVENTS_A_DAY, EVENTS * seeds)
    year = live(desks, draw, days=days, events_a_day=events)
    settle(*sites)
    assert year.events.keys() == desks[0].events().keys()
    assert all(year.off_line[site.name] >= 2 for site in sites), year
    assert year.broken, year
    assert year.killed, year
    assert on_record(lost, sites) > 0, "nobody wrote unseen by another"
    refused = sum(desk.refused for desk in desks)
    assert refused * 20 <= sum(desk.done for desk in desks), "the application is not itself"
    assert [details(site) for site in sites] == [[]] * len(sites)
    return year


def live(desks: Sequence[Desk], draw: random.Random, *, days: int, events_a_day: int) -> Year:
    """Let the centres work for so many days; all can speak again afterwards, and have not."""
    year = Year()
    off_line = _off_line(draw, len(desks), days)
    once = _once_each(draw, desks, days)
    for day in range(days):
        apart = {pair for pair in combinations(range(len(desks)), 2) if draw.random() < CUT}
        apart |= {pair for pair in combinations(range(len(desks)), 2) if {*pair} & off_line[day]}
        year.off_line.update(desks[number].site.name for number in off_line[day])
        work = [_day(draw, desk, day, events_a_day) for desk in desks]
        for number, kind in once[day]:
            work[number].append((draw.choice(HOURS), kind))
        for hour in HOURS:
            for desk, tasks in zip(desks, work, strict=True):
                _work(year, desk, [kind for at, kind in tasks if at == hour], day, hour)
            _speak(year, desks, draw, apart)
    return year


def _off_line(draw: random.Random, centres: int, days: int) -> list[set[int]]:
    """By day who cannot speak to anybody: each centre at least once, for days on end."""
    found: list[set[int]] = [set() for _ in range(days)]
    for centre in range(centres):
        for _ in range(max(1, days // OFF_LINE_EVERY_DAYS)):
            length = draw.randint(2, max(2, min(7, days // 3)))
            first = draw.randrange(max(1, days - length))
            for day in range(first, min(days, first + length)):
                found[day].add(centre)
    return found


def _once_each(
    draw: random.Random, desks: Sequence[Desk], days: int
) -> list[list[tuple[int, str]]]:
    """A short year, too, has every kind of event at every centre, and edits of what all share."""
    found: list[list[tuple[int, str]]] = [[] for _ in range(days)]
    for number, desk in enumerate(desks):
        for kind in [*desk.events(), *["shared edit"] * 5]:
            found[draw.randrange(days)].append((number, kind))
    return found


def _day(draw: random.Random, desk: Desk, day: int, count: int) -> list[tuple[int, str]]:
    """What a desk does in a day: (hour, kind)."""
    if (FIRST_DAY + timedelta(days=day)).weekday() == 6:
        count = round(count * SUNDAY)
    kinds = [kind for kind in desk.events() if kind in MIX]
    drawn = draw.choices(kinds, [MIX[kind] for kind in kinds], k=count)
    return [(_hour(draw, kind), kind) for kind in drawn]


def _hour(draw: random.Random, kind: str) -> int:
    weights = (5, 4, 2, 2, 1) if kind in MORNING else (1, 1, 2, 4, 5) if kind in AFTERNOON else None
    return draw.choices(HOURS, weights)[0]


def _work(year: Year, desk: Desk, kinds: list[str], day: int, hour: int) -> None:
    events = desk.events()
    for number, kind in enumerate(kinds):
        now = FIRST_DAY + timedelta(days=day, hours=hour, seconds=number * 7000 // len(kinds))
        desk.do(events[kind], str(now))
        year.events[kind] += 1


def _speak(
    year: Year,
    desks: Sequence[Desk],
    draw: random.Random,
    apart: set[tuple[int, int]],
) -> None:
    for pair in combinations(range(len(desks)), 2):
        one, other = (desks[number].site for number in draw.sample(pair, 2))
        if pair in apart:
            year.kept_apart += 1
            continue
        break_at = draw.choice([0, 1, 2, 3]) if draw.random() < BREAK else None
        done = sync(one, other, break_at=break_at, check=False)
        year.exchanges += 1
        year.broken += done.finish is None
        if done.finish is None or draw.random() < KILL:
            draw.choice((one, other)).reopen()
            year.killed += 1


def on_record(lost: Lost, sites: Sequence[Site]) -> int:
    """How many values gave way unseen, all of them on record at every site.

    Raises:
        AssertionError: One is not.
    """
    count = 0
    records = [
        {(table, column, losing) for table, column, _, losing in site.conflicts()} for site in sites
    ]
    for cell in lost.cells():
        table, name, column = cell
        ((stands,),) = sites[0].sql(f"SELECT {column} FROM {table} WHERE uuid = '{name}'")
        for text in lost.of(cell, stands):
            count += 1
            for site, record in zip(sites, records, strict=True):
                assert (table, column, text) in record, f"{text} is nowhere at {site.name}"
    return count
