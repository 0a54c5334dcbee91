"""Sets of numbers as whole numbers do what sets do."""

import hypothesis.strategies as st
from hypothesis import given

from syncsim.bits import bits_of, flags, members

sets = st.sets(st.integers(0, 300))


@given(numbers=sets)
def test_members_come_out_as_they_went_in_and_ascending(numbers):
    assert list(members(bits_of(sorted(numbers)))) == sorted(numbers)


@given(one=sets, other=sets)
def test_union_and_difference_are_those_of_sets(one, other):
    mine, theirs = bits_of(sorted(one)), bits_of(sorted(other))
    assert set(members(mine | theirs)) == one | other
    assert set(members(mine & ~theirs)) == one - other


@given(numbers=sets, count=st.integers(1, 400))
def test_flags_say_of_each_number_whether_it_is_in(numbers, count):
    assert list(flags(bits_of(sorted(numbers)), count)) == [n in numbers for n in range(count)]


def test_a_member_far_out_costs_no_walk_from_zero():
    assert list(members(1 << 1_000_000 | 1 << 1_000_003)) == [1_000_000, 1_000_003]
