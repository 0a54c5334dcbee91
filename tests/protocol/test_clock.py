"""The hybrid logical clock: above what a row had borne, near wall time, bounded ahead."""

from hypothesis import given
from hypothesis import strategies as st

from syncproto.clock import (
    BASELINE_HLC,
    SKEW_MS_MAX,
    hlc_at,
    latest_acceptable,
    milliseconds,
    stamped_after,
)

wall_times_ms = st.integers(0, 1 << 44)
readings = st.integers(0, 1 << 60)


def test_a_write_over_an_older_row_bears_the_time_of_its_journal_line():
    assert stamped_after(hlc_at(1_000), wall_ms=2_000) == hlc_at(2_000)


def test_a_write_over_a_row_of_a_fast_clock_comes_just_after_it():
    seen = hlc_at(5_000)
    assert stamped_after(seen, wall_ms=2_000) == seen + 1


def test_a_wall_clock_set_back_does_not_turn_time_back():
    assert stamped_after(hlc_at(1_000), wall_ms=400) == hlc_at(1_000) + 1


def test_a_full_counter_carries_into_the_next_millisecond():
    assert stamped_after(hlc_at(1_001) - 1, wall_ms=1_000) == hlc_at(1_001)


def test_no_real_write_is_below_the_rows_that_were_there_before():
    assert hlc_at(0) == hlc_at(-5) == BASELINE_HLC + 1


def test_a_peer_may_be_ahead_of_us_but_only_up_to_the_limit():
    limit = latest_acceptable(1_000)
    assert hlc_at(1_000 + SKEW_MS_MAX) <= limit < hlc_at(1_000 + SKEW_MS_MAX + 1)


@given(readings, wall_times_ms)
def test_a_stamp_is_above_what_was_seen_and_not_before_its_time(seen, wall_ms):
    hlc = stamped_after(seen, wall_ms=wall_ms)
    assert hlc > seen
    assert milliseconds(hlc) >= wall_ms
