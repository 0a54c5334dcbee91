"""How many bytes a rival's messages have: the rows in the modelled product's own text form,
deflated as it deflates them. What is encoded is the simulated row, as in our messages."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

from syncsim.sizes import SAMPLE_EVERY, SAMPLES_FIRST


@dataclass
class Weight:
    """Reckons messages of one kind."""

    _items: int = 0
    _bytes: int = 0
    _told: int = 0

    def of(self, by: str, items: int, text: Callable[[], str]) -> int:
        """The bytes of a message with so many items, whose text is made when it is asked for.

        With `by` "model" every so many of them is encoded, and the others reckoned from those.
        """
        self._told += 1
        sampled = self._told <= SAMPLES_FIRST or self._told % SAMPLE_EVERY == 0
        if by == "model" and not sampled and self._items:
            return round(items * self._bytes / self._items)
        size = deflated(text())
        self._items += items
        self._bytes += size
        return size


def deflated(text: str) -> int:
    return len(zlib.compress(text.encode()))
