"""What of their site's misfortunes people notice, and therefore write or do not write."""

from collections import deque
from dataclasses import dataclass, field

from syncsim.misfortunes import mishaps
from syncsim.scenario import Scenario

NOTHING_MS = -1  # before which nothing was written


@dataclass(slots=True)
class Fate:
    """What of one site's misfortunes its people notice.

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


def fates(scenario: Scenario, seed: int) -> list[Fate]:
    """Of each site, by index."""
    result = [Fate() for _ in scenario.sites]
    for mishap in mishaps(scenario, seed):
        for site in mishap.sites:
            if mishap.kind == "power-cut":
                result[site].dark.append((mishap.at_ms, mishap.until_ms))
            elif mishap.kind == "restore":
                left_ms = max(0, mishap.at_ms - mishap.age_ms)
                result[site].setbacks.append((mishap.at_ms, left_ms))
            elif mishap.kind == "wipe":
                result[site].setbacks.append((mishap.at_ms, NOTHING_MS))
    return result
