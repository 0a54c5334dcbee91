"""Budgets are kept in every stretch of their period; windows open and close as they say."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from syncproto.budget import SLOTS, Allowance, Budget
from syncproto.windows import DAY_MS, Window, closes_in_ms, opens_in_ms

ALLOWANCES = st.builds(Allowance, st.integers(1, 5_000), st.integers(60, 100_000))
STEPS = st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 3_000)), max_size=60)


@given(ALLOWANCES, STEPS)
def test_no_stretch_of_a_period_holds_more_than_is_allowed(allowance, steps):
    budget, now, sent = Budget(allowance), 1_000_000, []
    for pause, wanted in steps:
        now += pause
        room = budget.room(now)
        assert 0 <= room <= allowance.bytes_max
        if count := min(wanted, room):
            budget.spend(now, count)
            sent.append((now, count))
    for began, _ in sent:
        within = sum(n for at, n in sent if began <= at < began + allowance.period_ms)
        assert within <= allowance.bytes_max


@given(ALLOWANCES, STEPS, st.integers(1, 6_000))
def test_after_the_wait_there_is_room_and_not_before(allowance, steps, needed):
    budget, now = Budget(allowance), 1_000_000
    for pause, count in steps:
        now += pause
        budget.spend(now, count)  # a message is not cut short: it may be too much
    wait = budget.wait_ms(now, needed)
    assert wait <= allowance.period_ms * (SLOTS + 1) // SLOTS + 1
    least = min(needed, allowance.bytes_max)
    assert Budget(allowance, deque(budget.spent)).room(now + wait) >= least
    if wait:
        assert Budget(allowance, deque(budget.spent)).room(now + wait - 1) < least


@given(ALLOWANCES, STEPS, st.integers(1, 10**9))
def test_a_clock_put_back_gives_nothing_for_free_and_holds_nothing_up_for_long(
    allowance, steps, back
):
    budget, now = Budget(allowance), 10**10
    for pause, count in steps:
        now += pause
        budget.spend(now, count)
    before = budget.room(now)
    assert budget.room(now - back) <= before + 0
    assert budget.wait_ms(now - back, 1) <= 2 * allowance.period_ms * (SLOTS + 1) // SLOTS + 1


MINUTES = 20
TIMES = st.integers(0, 1440 // MINUTES - 1).map(lambda one: one * MINUTES * 60_000)
WINDOWS = st.lists(
    st.tuples(TIMES, TIMES).filter(lambda w: w[0] != w[1]).map(lambda w: Window(*w)), max_size=4
)


def open_at(windows, time_ms: int) -> bool:
    """By walking from the window's beginning, step by step."""
    for window in windows:
        minute = window.begins_ms
        while minute != window.ends_ms:
            if minute == time_ms % DAY_MS:
                return True
            minute = (minute + MINUTES * 60_000) % DAY_MS
    return not windows


@given(WINDOWS, TIMES)
def test_windows_open_and_close_when_they_say(windows, now):
    opens, closes = opens_in_ms(windows, now), closes_in_ms(windows, now)
    assert (opens == 0) == open_at(windows, now)
    assert open_at(windows, now + opens)
    assert not any(open_at(windows, now + m) for m in range(0, opens, MINUTES * 60_000))
    if closes is None:
        assert all(open_at(windows, m) for m in range(0, DAY_MS, MINUTES * 60_000))
    else:
        assert not open_at(windows, now + closes)
        assert all(open_at(windows, now + m) for m in range(0, closes, MINUTES * 60_000))
