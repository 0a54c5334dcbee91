"""Hybrid logical clock: stamps that follow causality row by row and stay near wall time.

Source: Kulkarni, Demirbas, Madappa, Avva and Leone, "Logical Physical Clocks", OPODIS 2014.
We depart from it in one way. A write is stamped with the time that its journal line bears,
raised only above the stamps that its own row had carried, and not above everything that the
site has seen: a transaction opened at 10:00 and committed at 10:30 must not beat an edit made
elsewhere at 10:20 that it had not seen (rule A10 of the design).

An HLC reading is one integer: milliseconds since the Unix epoch, shifted left by 16 bits, plus
a counter. A full counter carries into the milliseconds, as seconds carry into minutes.

Nothing here reads a clock.
"""

COUNTER_BITS = 16
SKEW_MS_MAX = 300_000  # five minutes: well above NTP error, well below a wrong time zone
HLC_MAX = (1 << 63) - 1  # must fit a signed 64-bit column; the year 6429
BASELINE_HLC = 1  # below every real stamp: rows that stood in the database before syncnode


def hlc_at(wall_ms: int) -> int:
    """The first HLC reading of a millisecond; a time before 1970 counts as 1970."""
    return max(wall_ms << COUNTER_BITS, BASELINE_HLC + 1)


def milliseconds(hlc: int) -> int:
    """The wall time in an HLC reading, in milliseconds since the Unix epoch."""
    return hlc >> COUNTER_BITS


def stamped_after(seen_hlc: int, *, wall_ms: int) -> int:
    """The reading for a write at `wall_ms` over a row whose greatest stamp is `seen_hlc`."""
    return max(hlc_at(wall_ms), seen_hlc + 1)


def latest_acceptable(reference_ms: int, *, skew_ms_max: int = SKEW_MS_MAX) -> int:
    """The greatest HLC reading that is not called a stamp of the future.

    `reference_ms` is the greatest of the wall clock and the times that the site has good
    reason to believe, so that a site whose clock stands in 1970 does not refuse everybody.
    """
    return ((reference_ms + skew_ms_max + 1) << COUNTER_BITS) - 1
