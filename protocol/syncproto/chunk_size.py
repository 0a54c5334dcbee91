"""How many bytes of rows a link is given at once: what it carries in a minute, as far as is known.

What was said of a chunk that never arrived whole is said again, at the worst after both ends were
switched off in between; so a chunk is what a site may lose. It grows while chunks arrive quickly,
is halved when one breaks off, and goes down to a row; rows that are larger than that travel
alone. Pure: times come from outside.
"""

from dataclasses import dataclass

FIRST_BYTES = 64 << 10  # a LAN is at the most in two steps; 1 kbit/s takes nine minutes, once
LEAST_BYTES = 512  # about what a request costs besides
MOST_BYTES = 1 << 20
GOAL_S = 60.0
GROWTH_MAX = 4


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """What the next chunk should have at most, encoded."""

    bytes_max: int = FIRST_BYTES

    def crossed(self, size: int, took_s: float) -> "ChunkSize":
        """After a message of that size arrived. One much smaller than a chunk shows a slow link,
        but not a quick one."""
        carried = size * GOAL_S / took_s if took_s > 0 else MOST_BYTES
        if carried < self.bytes_max and size >= LEAST_BYTES:
            return _bounded(carried)
        if 2 * size < self.bytes_max:
            return self
        return _bounded(min(carried, GROWTH_MAX * self.bytes_max))

    def broke(self) -> "ChunkSize":
        """After one did not."""
        return _bounded(self.bytes_max / 2)


def _bounded(size: float) -> ChunkSize:
    return ChunkSize(round(max(LEAST_BYTES, min(size, MOST_BYTES))))
