"""How long to wait before trying again: pure, so that simulations and nodes pause alike.

Chance is an argument: a number from 0 to 1, drawn by the caller. Without it, sites that lost
the same parent would all come back in the same moment.
"""

FIRST_MS = 1_000  # a link that flickers is back at once
LAST_MS = 60_000  # a peer that was away for days is noticed within a minute


def retry_after_ms(failures: int, chance: float, *, longest_ms: int = LAST_MS) -> int:
    """The pause after so many failures in a row: doubling, and half of it up to chance.

    Args:
        failures: 1 for the first.
        chance: From 0 to 1.
        longest_ms: Never more than this.
    """
    assert failures > 0, "there was a failure"
    doubled = FIRST_MS << min(failures - 1, 30)
    pause_ms = min(doubled, LAST_MS, longest_ms)
    return round(pause_ms * (0.5 + 0.5 * chance))


def polling_ms(quiet_ms: int, *, busy_ms: int, idle_ms: int, patience_ms: int = 2_000) -> int:
    """How long to wait before looking for changes again, when there were none for `quiet_ms`.

    `busy_ms` for as long as `patience_ms`, then longer and longer, up to `idle_ms`: who writes
    is likely to write again soon, and a machine where nobody writes is left in peace.
    """
    if quiet_ms < patience_ms:
        return busy_ms
    return min(idle_ms, busy_ms + (quiet_ms - patience_ms) * (idle_ms - busy_ms) // patience_ms)
