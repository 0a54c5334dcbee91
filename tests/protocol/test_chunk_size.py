"""The size of chunks: fits what a link carries, comes down as far as it must, and up again."""

from hypothesis import given
from hypothesis import strategies as st

from syncproto.chunk_size import (
    FIRST_BYTES,
    GOAL_S,
    LEAST_BYTES,
    MOST_BYTES,
    ChunkSize,
)

sizes = st.integers(0, 40 << 20)
times_s = st.floats(0, 10_000)
events = st.lists(st.none() | st.tuples(sizes, times_s), max_size=30)
rates = st.floats(5, 1e8)  # bytes a second


def test_a_quick_link_is_given_all_in_a_few_steps():
    size, steps = ChunkSize(), 0
    while size.bytes_max < MOST_BYTES:
        size, steps = size.crossed(size.bytes_max, 0.01), steps + 1
    assert steps == 2


def test_one_kilobit_a_second_is_known_after_one_chunk():
    found = ChunkSize().crossed(FIRST_BYTES, FIRST_BYTES / 125)
    assert found == ChunkSize(7_500)


def test_a_small_message_shows_nothing_quick():
    assert ChunkSize().crossed(100, 0.001) == ChunkSize()
    assert ChunkSize().crossed(100, 60.0) == ChunkSize()


def test_each_break_halves_it_down_to_where_a_row_travels_alone():
    found = [size := ChunkSize()]
    for _ in range(10):
        found.append(size := size.broke())
    assert [one.bytes_max for one in found[:3]] == [65_536, 32_768, 16_384]
    assert found[-1].bytes_max == LEAST_BYTES


@given(events)
def test_it_stays_within_its_bounds(happened):
    size = ChunkSize()
    for event in happened:
        size = size.broke() if event is None else size.crossed(*event)
        assert LEAST_BYTES <= size.bytes_max <= MOST_BYTES


@given(happened=events, rate=rates)
def test_whatever_happened_it_comes_to_what_the_link_carries(happened, rate):
    size = ChunkSize()
    for event in happened:
        size = size.broke() if event is None else size.crossed(*event)
    for _ in range(12):
        size = size.crossed(size.bytes_max, size.bytes_max / rate)
    fits = max(LEAST_BYTES, min(MOST_BYTES, rate * GOAL_S))
    assert abs(size.bytes_max - fits) <= 1


@given(rate=st.floats(100, 10_000), cut_s=st.floats(10, 300))
def test_over_a_link_that_is_always_cut_chunks_come_across_all_the_same(rate, cut_s):
    """Without anything kept of a chunk that broke off: what is left of each stretch is lost."""
    size, crossed = ChunkSize(), 0
    for _ in range(60):
        left_s = cut_s
        while (took_s := size.bytes_max / rate) <= left_s:
            left_s, crossed = left_s - took_s, crossed + 1
            size = size.crossed(size.bytes_max, took_s)
        size = size.broke()
    assert crossed >= 25
