"""Why a site went on under a new incarnation: kept in the sidecar, told in sentences.

A database that was restored, moved or cloned is survived by beginning a new incarnation. Nobody
would notice; but who restored a backup wants to know that it was seen, and a clone that runs
beside its original makes both begin again with every exchange, for as long as nobody acts.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from syncnode.texts import utc_text

SETTING = "renewals"
KEPT = 20  # the latest; a clone makes one with every exchange
TOLD_MS = 30 * 86_400_000  # so long `status` tells of one
# One restored backup makes one leap at most, however many peers there are.
LEAPS_MIN = 2
LEAPS_FRESH_MS = 2 * 86_400_000  # without another one for so long, the second machine is gone
SHARED_TOLD_MS = 3_600_000  # between two lines in the log of a daemon

OLDER, MOVED, UNANCHORED, RETIRED, PEER = "older", "moved", "unanchored", "retired", "peer"
TABLES = "tables"

_REASONS = {
    OLDER: "was restored from an older copy: its database is behind its identity anchor",
    MOVED: "was copied or moved from another machine or folder",
    UNANCHORED: "lost its identity anchor",
    RETIRED: "was uninstalled by half, or put back since",
    PEER: "was restored from an older copy, or another machine uses its identity: a peer knew more "
    "of it than its database",
    TABLES: "took up again tables that had been disabled",
}


@dataclass(frozen=True, slots=True)
class Renewal:
    """One new incarnation.

    Attributes:
        ms: When, by our clock.
        before, after: Incarnations.
        why: One of the reasons above.
    """

    ms: int
    before: int
    after: int
    why: str

    @property
    def leap(self) -> bool:
        """A peer knew an incarnation that this database never had."""
        return self.why == PEER and self.after > self.before + 1


def with_one_more(settings: Mapping[str, str], renewal: Renewal) -> str:
    """What to keep as `SETTING`."""
    kept = [*read_renewals(settings), renewal][-KEPT:]
    return json.dumps([asdict(one) for one in kept])


def read_renewals(settings: Mapping[str, str]) -> list[Renewal]:
    """Those that are kept, the oldest first."""
    return [Renewal(**fields) for fields in json.loads(settings.get(SETTING, "[]"))]


def is_shared(renewals: Sequence[Renewal], now_ms: int) -> bool:
    """Whether another machine uses the identity of this site at this time."""
    leaps = [one for one in renewals if one.leap and one.ms > now_ms - TOLD_MS]
    return len(leaps) >= LEAPS_MIN and leaps[-1].ms > now_ms - LEAPS_FRESH_MS


def told(renewals: Sequence[Renewal], now_ms: int) -> str | None:
    """What an operator should know of them, in a sentence; None if there is nothing new."""
    if not renewals or renewals[-1].ms <= now_ms - TOLD_MS:
        return None
    last = renewals[-1]
    if is_shared(renewals, now_ms):
        first = next(one for one in renewals if one.leap and one.ms > now_ms - TOLD_MS)
        return (
            "another machine uses the identity of this site, which was cloned: since "
            f"{utc_text(first.ms)} either begins a new incarnation with every exchange, now "
            f"{last.after}; nothing is lost, but leave only one as it is: on the other run "
            "`syncnode uninstall`, `init` and `join`, and it gets an identity of its own"
        )
    return (
        f"this site {_REASONS[last.why]}; on {utc_text(last.ms)} it went on as incarnation "
        f"{last.after}, and it fetches from its peers what they have of its changes"
    )


class Herald:
    """Tells of renewals as they come.

    Args:
        notice: Told a sentence.
        wall_ms: Our clock.
    """

    def __init__(self, notice: Callable[[str], None], wall_ms: Callable[[], int]) -> None:
        self._notice = notice
        self._wall_ms = wall_ms
        self._last: Renewal | None = None
        self._shared_ms: int | None = None

    def look(self, renewals: Sequence[Renewal]) -> None:
        """Tell of the latest of them, if that is news; of a clone once an hour."""
        if not renewals or renewals[-1] == self._last:
            return
        self._last, now_ms = renewals[-1], self._wall_ms()
        if is_shared(renewals, now_ms):
            if self._shared_ms is not None and now_ms < self._shared_ms + SHARED_TOLD_MS:
                return
            self._shared_ms = now_ms
        if text := told(renewals, now_ms):
            self._notice(text)
