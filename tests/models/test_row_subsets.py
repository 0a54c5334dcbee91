"""Sites that take part of the rows: the rule holds, and each reading that was rejected fails."""

import pytest
from row_sites import Rule, Site, Vector, members, pull
from row_subsets import ACCEPTED, RULES, play

SEEDS = 25
RED = {
    "table scopes": 1,
    "joined": 110,
    "own cells": 1,
    "any sender": 0,
    "moves stay": 7,
    "made keys": 13,
    "untouched": 31,
    "own claimed": 32,
    "drop at once": 12,
    "no floor": 17,
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_subset_is_held_as_claimed_and_comes_whole(name, seeds):
    for seed in range(SEEDS * seeds):
        fault, _ = play(seed, RULES[name])
        assert not fault, f"seed {seed}: {fault}"


@pytest.mark.parametrize("name", RED)
def test_a_rejected_reading_fails_where_the_rule_does_not(name):
    assert play(RED[name], RULES[name])[0]
    assert not play(RED[name], Rule())[0]


# The same in small, by hand

RULE = Rule()


def site(name: str, *areas: str, keeps: bool = True) -> Site:
    """A site that takes these areas; all, if none is named."""
    vectors: dict[str | None, Vector] = {area: {} for area in areas}
    return Site(name, whole=not areas, keeps=keeps, areas=vectors)


def write(at: Site, key: str, **values: str) -> None:
    at.write(key, values, now=0, rule=RULE)


def patient(at: Site, area: str, *, key: str = "p1") -> None:
    """A person with an encounter and an observation."""
    write(at, key, value="v", area=area)
    write(at, key.replace("p", "e"), value="v", patient=key)
    write(at, key.replace("p", "o"), value="v", encounter=key.replace("p", "e"))


def tell(*ways: tuple[Site, Site], rule: Rule = RULE) -> None:
    for frm, to in ways:
        while not pull(frm, to, rule, collects=to.whole, rows_max=1):
            pass


def held(at: Site) -> set[str]:
    return {key for key, row in at.rows.items() if "value" in row}


def test_a_row_that_moves_arrives_with_all_that_hangs_on_it_and_leaves_by_policy():
    hub, one, two = site("hub"), site("one", "1", keeps=False), site("two", "2")
    patient(one, "1")
    tell((one, hub), (hub, one), (hub, two))
    assert (held(one), held(two)) == ({"p1", "e1", "o1"}, set())
    write(hub, "p1", area="2")
    tell((hub, two), (hub, one))
    assert (held(one), held(two)) == (set(), {"p1", "e1", "o1"})
    assert one.rows == {"p1": {"area": hub.rows["p1"]["area"]}}
    write(two, "p1", area="1")
    tell((two, hub), (hub, one))
    assert (held(one), held(two)) == ({"p1", "e1", "o1"},) * 2
    assert members(two.rows, "2") == set()


def test_an_edit_of_a_row_that_has_just_left_is_told_before_the_row_goes():
    hub, one = site("hub"), site("one", "1", keeps=False)
    patient(hub, "1")
    tell((hub, one))
    write(hub, "p1", area="2")
    write(one, "o1", value="w")
    tell((hub, one))
    assert held(one) == {"p1", "e1", "o1"}
    tell((one, hub), (hub, one))
    assert held(one) == set()
    assert hub.rows["o1"]["value"].value == "w"


@pytest.mark.parametrize("middle", [(), ("2",), ("1", "2", "3")])
def test_overlapping_sites_meet_through_one_that_takes_more_the_same_or_less(middle):
    one, two, third = site("one", "1", "2"), site("two", "2", "3"), site("third", *middle)
    patient(one, "1", key="p1")
    patient(one, "2", key="p2")
    patient(two, "2", key="p3")
    tell((one, third), (two, third), (third, one), (third, two))
    assert held(one) == {"p1", "e1", "o1", "p2", "e2", "o2", "p3", "e3", "o3"}
    assert held(two) == {"p2", "e2", "o2", "p3", "e3", "o3"}


def test_overlapping_sites_get_nothing_through_one_that_takes_nothing_of_theirs():
    one, two, third = site("one", "1", "2"), site("two", "2", "3"), site("third", "4")
    patient(one, "2")
    tell((one, third), (third, two))
    assert (held(third), held(two), two.areas["2"]) == (set(), set(), {})
    tell((one, two))
    assert held(two) == {"p1", "e1", "o1"}


def test_what_hangs_on_a_row_that_has_not_come_waits_and_comes_with_it():
    hub, one, two, three = site("hub"), site("one", "1"), site("two", "1"), site("three", "1")
    write(hub, "p1", value="v", area="1")
    tell((hub, one))
    write(one, "e1", value="v", patient="p1")
    tell((one, two))
    write(two, "o1", value="v", encounter="e1")
    hub.take({"o1": two.rows["o1"]}, RULE)
    hub.every["two"] = 1
    tell((hub, three))
    assert held(three) == {"p1"}
    tell((one, hub), (hub, three))
    assert held(three) == {"p1", "e1", "o1"}


def test_a_parent_that_a_row_needs_comes_alone_and_goes_when_it_is_not_needed():
    hub, one = site("hub"), site("one", "1", keeps=False)
    patient(hub, "2", key="p2")
    patient(hub, "1", key="p1")
    write(hub, "p1", mother="p2")
    tell((hub, one))
    assert held(one) == {"p1", "e1", "o1", "p2"}
    write(hub, "p1", mother="p1")
    tell((hub, one))
    assert held(one) == {"p1", "e1", "o1"}


def test_a_clerk_who_brings_a_patient_in_gets_what_hangs_on_him():
    """He has the patient from before, and nothing that was written since."""
    hub, one = site("hub"), site("one", "1")
    patient(hub, "1")
    tell((hub, one))
    write(hub, "p1", area="2")
    tell((hub, one))
    write(hub, "o2", value="v", encounter="e1")
    tell((hub, one))
    write(one, "p1", area="1")
    assert held(one) == {"p1", "e1", "o1"}
    tell((one, hub), (hub, one))
    assert held(one) == {"p1", "e1", "o1", "o2"}


@pytest.mark.parametrize("every_path", [True, False])
def test_a_new_way_into_an_area_counts_although_an_older_one_leads_there_too(every_path):
    """The site has heard from another hub that the older one has ended, and dropped the rows."""
    rule = Rule(every_path=every_path)
    hub, other, one = site("hub"), site("other"), site("one", "1", keeps=False)
    patient(hub, "1")
    tell((hub, other), (hub, one), rule=rule)
    write(other, "p1", area="2")
    tell((other, one), rule=rule)
    assert held(one) == set()
    write(hub, "p1", other="1")
    tell((hub, one), rule=rule)
    assert members(one.rows, "1") == {"p1"} | ({"e1", "o1"} if every_path else set())
    assert one.areas["1"] == hub.every
