"""Windows of the day in which a link may be used: pure, by the time of day where the site is."""

from collections.abc import Sequence
from dataclasses import dataclass

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Window:
    """From one time of the day up to another, in milliseconds after midnight; over midnight where
    it ends before it begins."""

    begins_ms: int
    ends_ms: int

    def __contains__(self, time_of_day_ms: int) -> bool:
        if self.begins_ms < self.ends_ms:
            return self.begins_ms <= time_of_day_ms < self.ends_ms
        return time_of_day_ms >= self.begins_ms or time_of_day_ms < self.ends_ms


def opens_in_ms(windows: Sequence[Window], time_of_day_ms: int) -> int:
    """How long until one of them is open; 0 if one is, or if there are none, which means always."""
    if not windows or any(time_of_day_ms in window for window in windows):
        return 0
    return min((window.begins_ms - time_of_day_ms) % DAY_MS for window in windows)


def closes_in_ms(windows: Sequence[Window], time_of_day_ms: int) -> int | None:
    """How long some window stays open from now; None for ever. 0 if none is open."""
    if not windows:
        return None
    open_ms = 0
    for _ in range(len(windows) + 1):  # one may begin before another ends
        now = (time_of_day_ms + open_ms) % DAY_MS
        longest = max(
            ((window.ends_ms - now) % DAY_MS or DAY_MS for window in windows if now in window),
            default=0,
        )
        open_ms += longest
        if not longest or open_ms >= DAY_MS:
            break
    return None if open_ms >= DAY_MS else open_ms
