"""Whom to keep in touch with on a LAN: few at a time, all in turn, and everybody joined."""

import math

from hypothesis import given
from hypothesis import strategies as st

from syncproto.identity import SiteId
from syncproto.peer_choice import FANOUT, meeting_order, neighbours

sites = st.integers(0, 400).map(lambda number: SiteId(number.to_bytes(2, "big") * 8))
lans = st.sets(sites, min_size=1, max_size=60).map(sorted)
rounds = st.integers(0, 10_000)
fanouts = st.integers(1, 5)


def lan(size):
    return [SiteId(number.to_bytes(16, "big")) for number in range(size)]


def reached_from(start, choices):
    """Every site that what `start` learns comes to."""
    reached, todo = {start}, [start]
    while todo:
        fresh = set(choices[todo.pop()]) - reached
        reached |= fresh
        todo += fresh
    return reached


def test_of_few_all_are_chosen():
    own, *others = lan(4)
    assert neighbours(own, others, round_number=7) == others


def test_a_site_of_a_large_lan_keeps_in_touch_with_a_few():
    own, *others = lan(200)
    assert [len(neighbours(own, others, round_number=one)) for one in range(100)] == [FANOUT] * 100


@given(present=lans, round_number=rounds, fanout=fanouts)
def test_the_choice_is_of_those_present_and_never_oneself(present, round_number, fanout):
    own = present[0]
    chosen = neighbours(own, present, round_number=round_number, fanout=fanout)
    assert len(chosen) == len(set(chosen)) == min(fanout, len(present) - 1)
    assert set(chosen) <= set(present) - {own}


@given(present=lans, start=rounds, fanout=st.integers(2, 5))
def test_everybody_has_a_turn(present, start, fanout):
    own, *others = present
    turns = max(1, math.ceil((len(others) - 1) / (fanout - 1)))
    met = set()
    for one in range(start, start + turns):
        met |= set(neighbours(own, present, round_number=one, fanout=fanout))
    assert met == set(others)


@given(present=lans, data=st.data(), fanout=fanouts)
def test_what_one_site_learns_comes_to_all_whatever_rounds_they_are_in(present, data, fanout):
    choices = {
        own: neighbours(own, present, round_number=data.draw(rounds), fanout=fanout)
        for own in present
    }
    assert reached_from(present[0], choices) == set(present)


def test_the_way_between_two_sites_of_200_is_short():
    present = lan(200)
    choices = {own: neighbours(own, present, round_number=0) for own in present}
    reached, hops = {present[0]}, 0
    while len(reached) < len(present):
        reached |= {other for own in reached for other in choices[own]}
        hops += 1
    assert hops <= 10


@given(present=lans)
def test_all_are_met_the_next_on_the_ring_first(present):
    for own in present[:3]:
        order = meeting_order(own, present)
        assert sorted(order) == [site for site in present if site != own]
        assert order[:1] == neighbours(own, present, round_number=0, fanout=1)
