"""What a scenario says: sites, links, people, misfortunes and time, as checked values.

`scenario_file.py` makes it from TOML; programs may build or vary one with `dataclasses.replace`.
All times are integer milliseconds of virtual time, counted from the beginning of the run unless
the name says otherwise. A scenario holds no randomness: what is drawn is drawn from it and a
seed (`people.py`, `misfortunes.py`, `network.py`), each concern from a generator of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Delay:
    """How long a message is under way, apart from its length.

    Attributes:
        kind: "fixed", "uniform" (`middle_ms` plus or minus `spread` of it), "exponential"
            (mean `middle_ms`) or "lognormal" (median `middle_ms`, sigma `spread`).
    """

    kind: str = "fixed"
    middle_ms: float = 50.0
    spread: float = 0.0


@dataclass(frozen=True, slots=True)
class Meetings:
    """Two sites that meet by chance: exponential gaps and lengths, by their means."""

    gap_ms: int
    length_ms: int


@dataclass(frozen=True, slots=True)
class LinkClass:
    """What a kind of link does to messages.

    Attributes:
        source: Where the figures are from, for reports; "" if the author made them up.
        loss: Share of packets that are lost and sent again.
        duplication: Share of requests that arrive twice.
        reordering: Share of requests of which a copy arrives late, after others.
        up_bytes_s: From the lower site (`Link.one`) to the upper; 0 for no bound.
        down_bytes_s: The other way.
        open_ms: Times of day at which it works, as (from, to) since midnight; empty for always.
        meetings: Works only while the two meet.
    """

    name: str
    source: str = ""
    delay: Delay = Delay()
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    up_bytes_s: float = 0.0
    down_bytes_s: float = 0.0
    open_ms: tuple[tuple[int, int], ...] = ()
    meetings: Meetings | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """What people at a site write.

    Attributes:
        kind: "clinic" (the events of a clinic's day) or "random" (single rows of a small
            pool, for hard tests).
        visits_a_day, patients_a_day: Of a clinic; `Scenario.scale` of them is simulated.
        hours_ms: The working day, as (from, to) since midnight; the morning is busier.
        weekend: How busy Saturdays and Sundays are, by the other days.
        shared: Share of events that edit a row which people at every site edit.
        writes_an_hour, rows, deletes: Of "random": how many transactions, over how many rows
            of each table, and which share of them are deletes.
    """

    name: str
    kind: str = "clinic"
    visits_a_day: float = 50.0
    patients_a_day: float = 8.0
    hours_ms: tuple[int, int] = (8 * HOUR_MS, 17 * HOUR_MS)
    weekend: float = 1.0
    shared: float = 0.01
    writes_an_hour: float = 60.0
    rows: int = 12
    deletes: float = 0.1


@dataclass(frozen=True, slots=True)
class Site:
    """One site.

    Attributes:
        parent: The site one level up; None at the top.
        peers: Sites beside it that it calls, too.
        every_ms: How often it calls; None for the scenario's.
        people: A name of `Scenario.profiles`; None where nobody writes.
        offset_ms, drift_ppm: How wrong its clock is at the start, and how fast it gets worse.
        tables: The tables that it keeps; None for all.
    """

    name: str
    parent: str | None = None
    peers: tuple[str, ...] = ()
    every_ms: int | None = None
    people: str | None = None
    offset_ms: int = 0
    drift_ppm: float = 0.0
    tables: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Two sites that can reach each other.

    Attributes:
        one, other: Names; `one` is the lower, and the one that calls where only one does.
        link_class: A name of `Scenario.link_classes`.
    """

    one: str
    other: str
    link_class: str


MISFORTUNES = (
    "partition",  # messages between groups of sites do not arrive
    "crash",  # the process ends and starts again: open exchanges are lost
    "power-cut",  # the site is dark for a while
    "clock",  # its clock jumps by `offset_ms`, and is right again afterwards
    "restore",  # its database is put back to what it was `age_ms` ago
    "clone",  # a second machine starts from a copy of it, and is found out
    "wipe",  # its database is lost; it is built anew from its peers under a new identity
)
SHAPES = ("isolate", "halves", "ring", "bridge", "one-way", "levels")
"""Of partitions: the named sites alone; two halves; each with two neighbours; two halves that
share one site; requests of the named sites arrive and answers do not; below from above."""


@dataclass(frozen=True, slots=True)
class Misfortune:
    """Something that happens once at `at_ms`, or again and again every `every_ms` on average.

    Attributes:
        sites: To whom; empty for a site drawn anew each time.
        lasts_ms: How long, of those that last.
        shape: Of a partition, one of `SHAPES`.
        offset_ms: Of a clock.
        age_ms: Of a restore: the age of the backup.
        anchor: Of a restore: the identity anchor, outside the database, was kept.
    """

    kind: str
    at_ms: int | None = None
    every_ms: int | None = None
    lasts_ms: int = 0
    sites: tuple[str, ...] = ()
    shape: str = "isolate"
    offset_ms: int = 0
    age_ms: int = 0
    anchor: bool = True


@dataclass(frozen=True, slots=True)
class Gossip:
    """Who calls whom, and when.

    Attributes:
        every_ms: The pause between a site's calls.
        choice: Whom to call: a name of `strategies.CHOICES`.
        rule: Who wins: a name of `rules.RULES`; "ours" is the shipped protocol.
        push: A site with news calls at once, too.
        rows_max: Rows a chunk.
    """

    every_ms: int = 60_000
    choice: str = "parent-first"
    rule: str = "ours"
    push: bool = False
    rows_max: int = 1_000


@dataclass(frozen=True, slots=True)
class Measure:
    """What to record.

    Attributes:
        points: Samples of every curve.
        checkers: Names of `checkers.CHECKERS`.
        bytes_by: "codec": every message is encoded as on the wire; "model": large deltas are
            reckoned from the encoded size of some of them.
    """

    points: int = 200
    checkers: tuple[str, ...] = ("state", "log", "oracle", "lost-writes", "causality", "bound")
    bytes_by: str = "codec"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole network and what befalls it.

    Attributes:
        title, story: For people.
        start_unix_ms: What right clocks show at the beginning.
        faults_ms: First people write and misfortunes happen.
        quiet_ms: Then nobody writes and every link works, for so long at most.
        sites: In a fixed order; names are unique.
        links: Between sites; at most one for a pair.
        link_classes, profiles: By name.
        shared_rows: Rows of each table that every site holds from the start.
        delete_wins: Tables in which a delete wins over edits that its author had not seen; in
            all others such an edit brings the row back.
        scale: The share of the clinics' work that is simulated; reports scale bytes back.
        text, path: The file it came from, if any.
    """

    title: str
    sites: tuple[Site, ...]
    links: tuple[Link, ...]
    link_classes: Mapping[str, LinkClass]
    profiles: Mapping[str, Profile]
    misfortunes: tuple[Misfortune, ...] = ()
    gossip: Gossip = Gossip()
    measure: Measure = Measure()
    story: str = ""
    start_unix_ms: int = 1_767_600_000_000  # 2026-01-05, a Monday, 08:00 UTC
    faults_ms: int = DAY_MS
    quiet_ms: int = DAY_MS
    shared_rows: int = 8
    delete_wins: tuple[str, ...] = ()
    scale: float = 1.0
    text: str = field(default="", compare=False, repr=False)
    path: Path | None = field(default=None, compare=False)

    @classmethod
    def load(cls, path: "str | Path") -> "Scenario":
        """The scenario in a TOML file.

        Raises:
            ConfigError: The file is missing or broken; the text has a line for every fault.
        """
        from syncsim.scenario_file import read_scenario

        return read_scenario(Path(path))

    @property
    def ends_ms(self) -> int:
        return self.faults_ms + self.quiet_ms

    def names(self) -> tuple[str, ...]:
        return tuple(site.name for site in self.sites)


def generator(seed: int, *concern: object) -> Random:
    """A generator of its own for each concern: a draw more in one shifts no other.

    Texts seed `Random` through SHA-512, whatever the hash seed of the process.
    """
    return Random(":".join(map(str, (seed, *concern))))
