"""Gossip over fake links in virtual time: who is called when, and what a cut link costs."""

import pytest
import trio
from linked import Site

from syncnode.links.gossip import Gossip
from syncproto.backoff import LAST_MS


class Talking(Site):
    """A site whose node gossips."""

    def __init__(self, name, sites, nursery, calls=(), **options):
        super().__init__(name, sites, **options)
        self.gossip = Gossip(
            self.exchanger,
            news=self.news,
            wait_ms=25_000,
            every_ms=60_000,
            chance=lambda: 1.0,
        )
        self.gossip.follow(nursery, [peer.site for peer in calls])

    def write(self, number, value="x"):
        super().write(number, value)
        self.seal()


@pytest.fixture
def sites():
    return {}


async def test_changes_of_both_sides_travel_at_once(sites, nursery, autojump_clock):
    hospital = Talking("hospital", sites, nursery)
    clinic = Talking("clinic", sites, nursery, [hospital])
    await trio.sleep(1)
    clinic.write(1, "Ann")
    hospital.write(2, "Ben")
    await trio.sleep(0.01)
    assert clinic.names() == hospital.names() == {1: "Ann", 2: "Ben"}


async def test_changes_go_on_through_a_site_in_the_middle(sites, nursery, autojump_clock):
    top = Talking("top", sites, nursery)
    middle = Talking("middle", sites, nursery, [top])
    below = Talking("below", sites, nursery, [middle])
    await trio.sleep(1)
    below.write(1, "up")
    top.write(2, "down")
    await trio.sleep(0.01)
    assert top.names() == middle.names() == below.names() == {1: "up", 2: "down"}


async def test_an_idle_link_carries_one_request_a_wait(sites, nursery, autojump_clock):
    hospital = Talking("hospital", sites, nursery)
    clinic = Talking("clinic", sites, nursery, [hospital])
    await trio.sleep(1)
    clinic.requests.clear()
    await trio.sleep(250)
    assert 9 <= len(clinic.requests) <= 11


async def test_a_cut_link_is_tried_again_ever_more_seldom(sites, nursery, autojump_clock):
    hospital = Talking("hospital", sites, nursery)
    hospital.cut = True
    clinic = Talking("clinic", sites, nursery, [hospital])
    await trio.sleep(3_600)
    tries = len(clinic.requests)
    assert 60 <= tries <= 70
    hospital.cut = False
    hospital.write(1, "Ann")
    await trio.sleep(LAST_MS / 1000 + 0.1)
    assert clinic.names() == {1: "Ann"}


async def test_a_peer_that_calls_again_is_called_at_once(sites, nursery, autojump_clock):
    hospital = Talking("hospital", sites, nursery)
    hospital.cut = True
    clinic = Talking("clinic", sites, nursery, [hospital])
    await trio.sleep(3_600)
    hospital.cut = False
    hospital.write(1, "Ann")
    clinic.gossip.called_by(hospital.site)
    await trio.sleep(0.1)
    assert clinic.names() == {1: "Ann"}


async def test_a_link_that_breaks_while_a_request_waits_is_taken_up_again(
    sites, nursery, autojump_clock
):
    hospital = Talking("hospital", sites, nursery)
    clinic = Talking("clinic", sites, nursery, [hospital])
    await trio.sleep(1)
    hospital.cut = True
    clinic.write(1, "Ann")  # the push fails, which ends the waiting request too
    await trio.sleep(1)
    hospital.cut = False
    await trio.sleep(5)
    assert hospital.names() == {1: "Ann"}
    hospital.write(2, "Ben")
    await trio.sleep(0.01)
    assert clinic.names() == {1: "Ann", 2: "Ben"}


async def test_a_peer_that_is_no_longer_wanted_is_left_alone(sites, nursery, autojump_clock):
    hospital = Talking("hospital", sites, nursery)
    clinic = Talking("clinic", sites, nursery, [hospital])
    await trio.sleep(1)
    clinic.gossip.follow(nursery, [])
    clinic.requests.clear()
    await trio.sleep(1_000)
    assert clinic.requests == []


async def test_a_peer_that_answers_at_once_with_nothing_is_not_asked_without_end(
    sites, nursery, autojump_clock
):
    hospital = Talking("hospital", sites, nursery, wait_ms_max=0)
    clinic = Talking("clinic", sites, nursery, [hospital])
    await trio.sleep(600)
    assert len(clinic.requests) < 60


@pytest.mark.parametrize("first", [True, False])
async def test_changes_made_during_the_first_exchange_are_not_forgotten(
    sites, nursery, autojump_clock, first
):
    hospital = Talking("hospital", sites, nursery)
    clinic = Talking("clinic", sites, nursery, [hospital])
    for number in range(5):
        (clinic if first else hospital).write(number)
        await trio.lowlevel.checkpoint()
    await trio.sleep(0.1)
    assert clinic.names() == hospital.names()
    assert len(clinic.names()) == 5
