"""Pauses grow with failures, stay within bounds, and differ by chance."""

from hypothesis import given
from hypothesis import strategies as st

from syncproto.backoff import LAST_MS, polling_ms, retry_after_ms


def test_a_pause_doubles_from_one_second_to_a_minute():
    pauses_ms = [retry_after_ms(failures, 1.0) for failures in range(1, 9)]
    assert pauses_ms == [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]


def test_half_of_a_pause_is_left_to_chance():
    assert [retry_after_ms(3, chance) for chance in (0.0, 0.5, 1.0)] == [2_000, 3_000, 4_000]


def test_a_setting_bounds_the_pause():
    assert retry_after_ms(20, 1.0, longest_ms=5_000) == 5_000


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1), longest_ms=st.integers(1, 10**9))
def test_no_pause_is_longer_than_a_minute_or_the_setting(failures, chance, longest_ms):
    pause_ms = retry_after_ms(failures, chance, longest_ms=longest_ms)
    assert 0 <= pause_ms <= min(LAST_MS, longest_ms)


def test_polling_is_busy_for_two_seconds_and_then_eases():
    asked = [polling_ms(quiet, busy_ms=5, idle_ms=100) for quiet in (0, 1_999, 2_000, 3_000, 9_000)]
    assert asked == [5, 5, 5, 52, 100]
