"""Small hard worlds, each wholly given by its seed: what every change of the protocol must
survive by the thousand.

Each kind of trouble is on or off for a whole world and has a rate drawn for it ("swarm testing",
Groce et al., "Swarm Testing", ISSTA 2012): a world with everything at once hides what a world
with only some of it shows.
"""

from dataclasses import replace
from random import Random

from syncsim.scenario import (
    DAY_MS,
    HOUR_MS,
    SHAPES,
    Delay,
    Gossip,
    Link,
    LinkClass,
    Measure,
    Misfortune,
    Profile,
    Scenario,
    Site,
    generator,
)
from syncsim.schema import TABLES

MINUTE_MS = 60_000
YEAR_MS = 365 * DAY_MS
QUIET_MS = 30 * DAY_MS  # at most: a run ends when all are equal, or when its bound is over
CLOSED_CHOICES = (("person",), ("person", "visit"), ("person", "visit", "encounter"))
"""Tables that a site may keep alone: closed under references (rule A15)."""


def swarm(seed: int, *, sites_max: int = 8, faults_ms: int = HOUR_MS) -> Scenario:
    """The world of that seed."""
    rng = generator(seed, "swarm")
    count = rng.randint(2, sites_max)
    every_ms = rng.choice([10_000, 30_000, 60_000])
    kinds = {f"link-{number}": _link_class(f"link-{number}", rng) for number in range(2)}
    wrong_clocks, wild_clocks = rng.random() < 0.5, rng.random() < 0.1
    choosy = rng.random() < 0.25
    sites: list[Site] = []
    links: list[Link] = []
    for number in range(count):
        name = f"s{number}"
        parent = f"s{rng.randrange(number)}" if number else None
        peers = [f"s{other}" for other in range(number) if rng.random() < 0.15]
        peers = [peer for peer in peers if peer != parent]
        offset_ms = rng.randrange(-200_000, 200_000) if wrong_clocks else 0
        if wild_clocks and rng.random() < 0.3:
            offset_ms = rng.choice([-1, 1]) * YEAR_MS
        sites.append(
            Site(
                name,
                parent,
                tuple(peers),
                people="people",
                offset_ms=offset_ms,
                drift_ppm=rng.uniform(-500, 500) if wrong_clocks else 0.0,
            )
        )
        links += [
            Link(name, other, rng.choice(sorted(kinds))) for other in (parent, *peers) if other
        ]
    if choosy:
        # Only at the edge: what a site does not keep does not travel through it either.
        inner = {link.other for link in links}
        sites = [
            replace(site, tables=rng.choice(CLOSED_CHOICES))
            if site.name not in inner and rng.random() < 0.5
            else site
            for site in sites
        ]
    profile, rows_max = _profile(rng), rng.choice([1, 3, 10, 100])
    if rows_max == 1:
        # A row, and a conflict, takes a round trip: few of them say as much as many.
        profile = replace(profile, writes_an_hour=10.0)
    misfortunes = tuple(_misfortunes(rng, faults_ms))
    if any(kind.kind == "restore" and not kind.anchor for kind in misfortunes):
        # A delete that a rolled-back site writes again under another number may be taken for two
        # by some sites: open, see "what stays open" in protocol/README.md.
        profile = replace(profile, deletes=0.0)
    return Scenario(
        title=f"swarm {seed}",
        sites=tuple(sites),
        links=tuple(links),
        link_classes=kinds,
        profiles={"people": profile},
        misfortunes=misfortunes,
        gossip=Gossip(
            every_ms=every_ms,
            choice=rng.choice(["parent-first", "round-robin"]),
            push=rng.random() < 0.3,
            rows_max=rows_max,
        ),
        measure=Measure(points=4, bytes_by="model"),
        faults_ms=faults_ms,
        quiet_ms=QUIET_MS,
        shared_rows=rng.choice([0, 2]),
        delete_wins=_delete_wins(seed),
    )


def _delete_wins(seed: int) -> tuple[str, ...]:
    """In one world of five deletes win over edits, in some of its tables."""
    rng = generator(seed, "swarm", "deletes")
    if rng.random() >= 0.2:
        return ()
    return tuple(name for name in TABLES if rng.random() < 0.7)


def _link_class(name: str, rng: Random) -> LinkClass:
    def rate(most: float) -> float:
        return rng.random() * most if rng.random() < 0.4 else 0.0

    return LinkClass(
        name,
        delay=Delay(
            rng.choice(["fixed", "uniform", "exponential", "lognormal"]),
            rng.choice([1.0, 50.0, 600.0]),
            rng.choice([0.0, 0.3, 1.0]),
        ),
        loss=rate(0.5),
        duplication=rate(0.3),
        reordering=rate(0.3),
        up_bytes_s=rng.choice([0.0, 0.0, 125.0, 8_000.0]),
        down_bytes_s=rng.choice([0.0, 0.0, 125.0, 8_000.0]),
    )


def _profile(rng: Random) -> Profile:
    return Profile(
        "people",
        kind="random",
        writes_an_hour=rng.choice([10.0, 30.0, 60.0]),
        rows=rng.choice([1, 3, 8]),
        deletes=rng.choice([0.0, 0.1, 0.3]),
    )


def _misfortunes(rng: Random, faults_ms: int) -> list[Misfortune]:
    found: list[Misfortune] = []

    def now_and_then(kind: str, chance: float, **options: object) -> None:
        if rng.random() < chance:
            every_ms = rng.randint(faults_ms // 12, faults_ms)
            found.append(Misfortune(kind, every_ms=every_ms, **options))  # type: ignore[arg-type]

    for shape in SHAPES:
        lasts_ms = rng.randint(MINUTE_MS, faults_ms // 4)
        now_and_then("partition", 0.2, shape=shape, lasts_ms=lasts_ms)
    now_and_then("crash", 0.4)
    now_and_then("power-cut", 0.25, lasts_ms=rng.randint(MINUTE_MS, faults_ms // 6))
    jump_ms = rng.choice([-1, 1]) * rng.choice([10_000, 250_000, 400_000, YEAR_MS])
    now_and_then("clock", 0.3, offset_ms=jump_ms, lasts_ms=rng.randint(MINUTE_MS, faults_ms // 3))
    age_ms = rng.randint(MINUTE_MS, faults_ms // 2)
    now_and_then("restore", 0.3, age_ms=age_ms, anchor=True)
    now_and_then("restore", 0.2, age_ms=age_ms, anchor=False)
    now_and_then("clone", 0.15, lasts_ms=rng.randint(MINUTE_MS, faults_ms // 4))
    now_and_then("wipe", 0.15)
    return found
