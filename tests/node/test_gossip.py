"""Gossip over fake links in virtual time: who is called when, and what a cut link costs."""

from dataclasses import replace

import pytest
import trio
from linked import Site

from syncnode.links.gossip import Gossip
from syncnode.links.metering import BESIDE_BYTES, Meter
from syncnode.settings.config import DEFAULT_LINK
from syncnode.settings.link_keys import LinkKeys
from syncproto.backoff import LAST_MS
from syncproto.budget import Allowance
from syncproto.windows import DAY_MS, Window


class Talking(Site):
    """A site whose node gossips."""

    def __init__(
        self, name, sites, nursery, calls=(), link=DEFAULT_LINK, first=lambda _: True, **options
    ):
        super().__init__(name, sites, **options)
        self.gossip = Gossip(
            self.exchanger,
            news=self.news,
            wait_ms=25_000,
            link=lambda _: link,
            chance=lambda: 1.0,
            time_of_day_ms=lambda: self.wall_ms() % DAY_MS,
            first=first,
        )
        self.gossip.follow(nursery, [peer.site for peer in calls])

    async def post(self, site, body, *, timeout_s):
        if not self.sites[site].cut and isinstance(self.sites[site], Talking):
            self.sites[site].gossip.answered(self.site)
        return await super().post(site, body, timeout_s=timeout_s)

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


async def test_of_two_that_can_call_each_other_one_does_while_it_can(
    sites, nursery, autojump_clock
):
    hospital = Talking("hospital", sites, nursery, first=lambda _: False)
    clinic = Talking("clinic", sites, nursery, [hospital])
    hospital.gossip.follow(nursery, [clinic.site])
    await trio.sleep(60)
    for site in (hospital, clinic):
        site.requests.clear()
    rows = []
    take = hospital.replica.receive
    hospital.replica.receive = lambda chunk: (rows.append(chunk.row_count), take(chunk))[1]
    clinic.write(1, "Ann")
    await trio.sleep(1)
    hospital.write(2, "Ben")
    await trio.sleep(1)
    assert clinic.names() == hospital.names() == {1: "Ann", 2: "Ben"}
    assert rows == [1]
    assert hospital.requests == []
    hospital.cut = True  # from there nobody comes through; the other way is open
    await trio.sleep(120)
    hospital.write(3, "Cid")
    await trio.sleep(1)
    assert clinic.names() == {1: "Ann", 2: "Ben", 3: "Cid"}


# What the settings of a link say


def link(**keys: object) -> LinkKeys:
    return replace(DEFAULT_LINK, **keys)


HOUR_MS = 3_600_000


async def test_a_link_that_does_not_stay_is_called_every_so_often(sites, nursery, autojump_clock):
    hospital = Talking("hospital", sites, nursery)
    clinic = Talking(
        "clinic", sites, nursery, [hospital], link=link(stay=False, every_ms=15 * 60_000)
    )
    await trio.sleep(1)
    clinic.requests.clear()
    clinic.write(1, "Ann")
    await trio.sleep(12 * 60)
    assert clinic.requests == []
    await trio.sleep(6 * 60)
    assert hospital.names() == {1: "Ann"}
    clinic.requests.clear()
    await trio.sleep(24 * 3_600)
    assert 86 <= len(clinic.requests) <= 107  # one a call, every 15 minutes or up to a tenth more


async def test_after_so_many_tries_a_link_is_called_as_seldom_as_ever(
    sites, nursery, autojump_clock
):
    hospital = Talking("hospital", sites, nursery)
    hospital.cut = True
    clinic = Talking("clinic", sites, nursery, [hospital], link=link(tries=4, every_ms=HOUR_MS))
    await trio.sleep(24 * 3_600)
    assert 25 <= len(clinic.requests) <= 30


async def test_calls_are_made_in_the_windows_of_the_day_alone(sites, nursery, autojump_clock):
    hospital = Talking("hospital", sites, nursery)
    clinic = Talking(
        "clinic",
        sites,
        nursery,
        [hospital],
        link=link(open=(Window(22 * HOUR_MS, 2 * HOUR_MS), Window(12 * HOUR_MS, 13 * HOUR_MS))),
    )
    hours: set[int] = set()
    post = clinic.post

    async def noted(*arguments, **options):
        hours.add(clinic.wall_ms() % DAY_MS // HOUR_MS)
        return await post(*arguments, **options)

    clinic.exchanger._post = noted
    for number in range(48):
        clinic.write(number)
        await trio.sleep(3_600)
    assert hours == {22, 23, 0, 1, 12}
    assert len(hospital.names()) >= 40


async def test_no_hour_takes_more_than_its_budget(sites, nursery, autojump_clock):
    hospital = Talking("hospital", sites, nursery)
    clinic = Talking("clinic", sites, nursery, [hospital])
    budget = Allowance(20_000, HOUR_MS)
    meter = Meter(lambda: budget, lambda _: None, clinic.wall_ms)
    clinic.exchanger.meter = meter
    spent: list[tuple[float, int]] = []
    crossed = meter.crossed

    def noted(peer, count):
        spent.append((trio.current_time(), count + BESIDE_BYTES))
        crossed(peer, count)

    meter.crossed = noted
    for number in range(60):
        clinic.write(number, "x" * 150)
        await trio.sleep(60)
    assert len(hospital.names()) < 60
    assert (
        "its budget of bytes is used up until" in clinic.exchanger.contacts[hospital.site].trouble
    )
    await trio.sleep(3 * 3_600)
    assert len(hospital.names()) == 60
    for began, _ in spent:
        within = sum(count for at, count in spent if began <= at < began + 3_600)
        assert within <= budget.bytes_max + 4_000  # a message is not cut short
    meter.crossed(hospital.site, budget.bytes_max)
    with trio.move_on_after(60) as scope:
        await clinic.exchanger.call(hospital.site)
    assert scope.cancelled_caught
    meter.obey = False  # as where a person asks
    assert (await clinic.exchanger.call(hospital.site)).complete
