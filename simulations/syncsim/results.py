"""What a run came to: values that are a pure function of scenario, seed and version."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

PERCENTILES = (50, 90, 99)
AGE_BOUNDS_MS = (
    1_000,
    10_000,
    60_000,
    600_000,
    3_600_000,
    6 * 3_600_000,
    86_400_000,
    3 * 86_400_000,
    7 * 86_400_000,
    30 * 86_400_000,
    365 * 86_400_000,
)
"""Row ages at which it is asked which share of (row, site) had arrived."""


@dataclass(frozen=True, slots=True)
class SiteResult:
    """One site.

    Attributes:
        writes: Rows written there.
        arrived: Rows of others that arrived there (each write once).
        staleness_ms: From commit elsewhere to arrival here: p50, p90, p99 and the greatest.
        rounds: Exchanges that it began and that came to their end.
        failures: Exchanges that it began and that broke off.
    """

    name: str
    parent: str | None
    writes: int
    arrived: int
    staleness_ms: tuple[int, int, int, int]
    rounds: int
    failures: int


@dataclass(frozen=True, slots=True)
class LinkResult:
    """One link; bytes are those of message bodies, scaled back (`scale`)."""

    one: str
    other: str
    link_class: str
    rounds: int
    messages: int
    lost: int
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True, slots=True)
class Results:
    """One run.

    Attributes:
        level: "sites" (memory replicas in one event queue) or "nodes" (whole nodes).
        converged_ms: From the beginning of the quiet until all held the same; None if never.
        bound_ms: Computed from the scenario: by when they must have; None where the scenario
            gives no bound (links that open by chance).
        times_ms: When the samples were taken.
        series: Curves, each as long as `times_ms`: "writes", "behind" (writes that a site
            lacks, mean over sites), "current" (share of sites that lack nothing), "bytes",
            "rounds", "conflicts", "parked", "cut" (share of links that do not work).
        behind: For each sample, for each site, the writes that it lacks.
        links_down: For each sample, indices of `links` that do not work.
        ages: For each of `AGE_BOUNDS_MS`, the share of (write, other site) arrived by that age.
        staleness_ms: Over all sites: p50, p90, p99, greatest.
        lost_updates: Values that gave way without a record, and writes that are nowhere. A value
            that stands at some sites only counts, too.
        faults: How often each kind of fault took place.
        verdicts: For each checker "held", or what it found.
        trace: SHA-256 of the trace, hex.
        scaled: `scale` of the scenario; bytes of row data were divided by it.
    """

    title: str
    seed: int
    version: str
    level: str
    rule: str
    choice: str
    scaled: float
    faults_ms: int
    quiet_ms: int
    converged_ms: int | None
    bound_ms: int | None
    writes: int
    transactions: int
    conflicts: int
    parked: int
    lost_updates: int
    bytes: int
    rounds: int
    failures: int
    staleness_ms: tuple[int, int, int, int]
    ages: tuple[float, ...]
    sites: tuple[SiteResult, ...]
    links: tuple[LinkResult, ...]
    times_ms: tuple[int, ...]
    series: Mapping[str, Sequence[float]]
    behind: Sequence[Sequence[int]] = field(repr=False)
    links_down: Sequence[Sequence[int]] = field(repr=False)
    faults: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, str] = field(default_factory=dict)
    trace: str = ""

    @property
    def converged(self) -> bool:
        return self.converged_ms is not None

    @property
    def held(self) -> bool:
        """Every checker that was asked held."""
        return all(verdict == "held" for verdict in self.verdicts.values())

    def plain(self) -> dict[str, Any]:
        """As dictionaries, lists and numbers, for JSON; keys in a fixed order."""
        return asdict(self)


def results_of(plain: Mapping[str, Any]) -> Results:
    """The inverse of `Results.plain`, after a way through JSON."""
    parts = dict(plain)
    parts["sites"] = tuple(
        SiteResult(**{**site, "staleness_ms": tuple(site["staleness_ms"])})
        for site in parts["sites"]
    )
    parts["links"] = tuple(LinkResult(**link) for link in parts["links"])
    for name in ("staleness_ms", "ages", "times_ms"):
        parts[name] = tuple(parts[name])
    return Results(**parts)
