"""How much may cross a link in a stretch of time, and when the link may be used: pure.

A budget is kept exactly, not on average: in no stretch of its period, wherever it begins, is more
spent than allowed (but for the message that came last, since a message is not cut short). For that
the period is divided into slots, and a slot's bytes count until a whole period after its end.
"""

from collections import deque
from dataclasses import dataclass, field

SLOTS = 60  # of a period: what is spent counts at most a sixtieth too long


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many bytes, both ways together, in any stretch of so many milliseconds."""

    bytes_max: int
    period_ms: int


@dataclass(slots=True)
class Budget:
    """What of an allowance is left.

    Attributes:
        spent: When a slot began, in milliseconds of the wall clock, and its bytes; the oldest
            first.
    """

    allowance: Allowance
    spent: deque[tuple[int, int]] = field(default_factory=deque)

    def spend(self, now_ms: int, count: int) -> None:
        """So many bytes have crossed."""
        self._let_go(now_ms)
        slot_ms = max(1, self.allowance.period_ms // SLOTS)
        began = now_ms - now_ms % slot_ms
        if self.spent and self.spent[-1][0] >= began:
            began, before = self.spent.pop()
            count += before
        self.spent.append((began, count))

    def room(self, now_ms: int) -> int:
        """Bytes that may cross now; 0 when it is used up."""
        self._let_go(now_ms)
        return max(0, self.allowance.bytes_max - sum(count for _, count in self.spent))

    def wait_ms(self, now_ms: int, needed: int) -> int:
        """How long until there is room for `needed` bytes, or for all that is ever allowed."""
        self._let_go(now_ms)
        needed = min(needed, self.allowance.bytes_max)
        left = self.allowance.bytes_max - sum(count for _, count in self.spent)
        wait = 0
        for began, count in self.spent:
            if left >= needed:
                break
            left += count
            wait = self._ends(began) - now_ms
        return wait

    def _let_go(self, now_ms: int) -> None:
        """Forget what was spent a period ago. A clock that was put back by more than a slot makes
        all of it count from now: never too little, and never for longer than a period."""
        slot_ms = max(1, self.allowance.period_ms // SLOTS)
        if self.spent and self.spent[-1][0] > now_ms + slot_ms:
            total = sum(count for _, count in self.spent)
            self.spent.clear()
            self.spent.append((now_ms, total))
        while self.spent and self._ends(self.spent[0][0]) <= now_ms:
            self.spent.popleft()

    def _ends(self, began: int) -> int:
        return began + max(1, self.allowance.period_ms // SLOTS) + self.allowance.period_ms
