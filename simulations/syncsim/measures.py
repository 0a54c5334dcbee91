"""What is counted while a run goes on, and the figures made of it."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from syncsim.results import AGE_BOUNDS_MS, PERCENTILES

BUCKETS_PER_OCTAVE = 16  # so a percentile is right within 4.5 percent


class Delays:
    """A histogram of durations with logarithmic buckets; the greatest is kept exactly."""

    __slots__ = ("count", "counts", "greatest_ms")

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.count = 0
        self.greatest_ms = 0

    def add(self, delay_ms: int, count: int) -> None:
        self.counts[int(math.log2(delay_ms + 1) * BUCKETS_PER_OCTAVE)] += count
        self.count += count
        if delay_ms > self.greatest_ms:
            self.greatest_ms = delay_ms

    def percentiles(self) -> tuple[int, int, int, int]:
        """p50, p90, p99 and the greatest; all 0 when nothing was added."""
        found, reached = [], 0
        todo = list(PERCENTILES)
        for bucket in sorted(self.counts):
            reached += self.counts[bucket]
            while todo and reached * 100 >= todo[0] * self.count:
                found.append(min(_upper_ms(bucket), self.greatest_ms))
                todo.pop(0)
        first, second, third = found or (0, 0, 0)
        return first, second, third, self.greatest_ms

    def within(self, age_ms: int) -> int:
        """How many were at most so long."""
        return sum(count for bucket, count in self.counts.items() if _upper_ms(bucket) <= age_ms)


def _upper_ms(bucket: int) -> int:
    return int(2 ** ((bucket + 1) / BUCKETS_PER_OCTAVE)) - 1


def joined(parts: Iterable[Delays]) -> Delays:
    """All of them in one."""
    whole = Delays()
    for part in parts:
        whole.counts.update(part.counts)
        whole.count += part.count
        whole.greatest_ms = max(whole.greatest_ms, part.greatest_ms)
    return whole


def ages(whole: Delays, expected: int) -> tuple[float, ...]:
    """For each of `AGE_BOUNDS_MS`, which share of the expected arrivals had come by that age."""
    if not expected:
        return (1.0,) * len(AGE_BOUNDS_MS)
    return tuple(round(min(1.0, whole.within(age) / expected), 6) for age in AGE_BOUNDS_MS)


def lacking(seen: Sequence[int]) -> list[int]:
    """For each site how many writes it lacks that some site has; sets are bits of integers."""
    everything = 0
    for mine in seen:
        everything |= mine
    return [(everything & ~mine).bit_count() for mine in seen]
