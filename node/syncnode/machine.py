"""What differs from one machine and moment to the next: the clock, and chance.

Nothing else in the node asks for the time of day or for randomness; who wants the same run twice
hands in another machine.
"""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


def time_of_day_ms(wall_ms: int) -> int:
    """Milliseconds since midnight, by the clock on this machine's wall."""
    here = datetime.fromtimestamp(wall_ms / 1000)
    return ((here.hour * 60 + here.minute) * 60 + here.second) * 1000


def wall_clock_ms() -> int:
    """Milliseconds since the Unix epoch, as this machine has them."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine, by default the one we run on.

    Attributes:
        wall_ms: The time of day.
        entropy: So many bytes that nobody can guess.
        chance: A number from 0 to 1, anew at each call; for what need not be secret.
        pause: Holds up the calling thread for so many seconds.
        time_of_day_ms: Of a reading of `wall_ms`: since midnight, in the zone of the machine.
    """

    wall_ms: Callable[[], int] = wall_clock_ms
    entropy: Callable[[int], bytes] = os.urandom
    chance: Callable[[], float] = random.random
    pause: Callable[[float], None] = time.sleep
    time_of_day_ms: Callable[[int], int] = time_of_day_ms

    def nonce(self) -> int:
        """32 random bits."""
        return int.from_bytes(self.entropy(4), "big")


THIS_MACHINE = Machine()
