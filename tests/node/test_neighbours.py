"""Who on a LAN is met, when and how often: fake announcements and meetings, virtual time."""

import pytest
import trio

from syncnode.links.lan import Sighting
from syncnode.links.neighbours import ACQUAINTANCES_MAX, AGAIN_S, MEETINGS_MAX, SIGHTINGS_MAX
from syncnode.links.neighbours import Neighbours as Shipped
from syncproto.errors import PeerUnreachableError, UnexpectedMessageError
from syncproto.identity import SiteId
from syncproto.messages import PROTOCOL_VERSION
from syncproto.peer_choice import FANOUT

NETWORK, OTHER = b"network1", b"network2"


def site(number):
    return SiteId(number.to_bytes(16, "big"))


def sighting(number, network=NETWORK, version=PROTOCOL_VERSION, host=None):
    urls = (f"https://10.0.0.{host or number}:8470",)
    return Sighting(site(number), network, version, urls)


class Neighbours(Shipped):
    """Site 0, with meetings that the test decides.

    Attributes:
        refuse: Errors of meetings, by site.
        met: Sites that were met, in turn.
        most: Meetings at one time, at most.
        members: The peers that site 0 has.
    """

    def __init__(self):
        self.refuse, self.met, self.members, self.told = {}, [], set(), []
        self.most = self.under_way = 0
        self.written = []
        super().__init__(
            site(0),
            NETWORK,
            meet=self._play,
            known=lambda: self.members,
            changed=self.told.append,
            write=self._keep,
            wall_ms=lambda: 1_000,
            chance=lambda: 1.0,
        )

    async def _play(self, sighting):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.met.append(sighting.site)
        await trio.sleep(0.1)
        self.under_way -= 1
        if (error := self.refuse.get(sighting.site)) is not None:
            raise error
        self.members.add(sighting.site)
        return sighting.urls[0]

    async def _keep(self, seen):
        self.written.append({one.site: one.standing for one in seen})


@pytest.fixture
async def around(nursery):
    neighbours = Neighbours()

    async def nobody(heard):
        await trio.sleep_forever()

    nursery.start_soon(neighbours.run, nobody)
    await trio.sleep(1)
    return neighbours


async def test_a_site_of_the_network_is_met_once_and_then_called_where_it_proved_to_be(
    around, autojump_clock
):
    around.heard(site(1), sighting(1))
    assert around.chosen([]) == []
    await trio.sleep(5)
    assert around.met == [site(1)]
    assert around.urls == {site(1): "https://10.0.0.1:8470"}
    assert around.chosen([]) == [site(1)]
    assert around.told[-1] == site(1)
    assert around.written[-1] == {site(1): "peer"}


async def test_a_site_of_another_network_or_version_is_listed_and_never_met(around, autojump_clock):
    around.heard(site(1), sighting(1, network=OTHER))
    around.heard(site(2), sighting(2, version=PROTOCOL_VERSION + 1))
    around.heard(site(3), Sighting(site(3), NETWORK, PROTOCOL_VERSION, ()))
    around.meet_all()
    await trio.sleep(10_000)
    assert around.met == []
    assert around.chosen([]) == []
    standings = around.written[-1]
    assert standings[site(1)] == "another network"
    assert "another version" in standings[site(2)]
    assert "no private address" in standings[site(3)]


async def test_who_proves_nothing_is_not_called_and_asked_ever_more_seldom(around, autojump_clock):
    around.refuse[site(1)] = UnexpectedMessageError("nobody vouches for it")
    around.heard(site(1), sighting(1))
    await trio.sleep(3_600)
    assert around.urls == {}
    assert around.chosen([]) == []
    assert around.written[-1] == {site(1): "nobody vouches for it"}
    assert 50 <= len(around.met) <= 70


async def test_a_new_address_is_proven_before_it_is_used(around, autojump_clock):
    around.heard(site(1), sighting(1))
    await trio.sleep(1)
    around.heard(site(1), sighting(1, host=99))
    assert around.urls == {}
    await trio.sleep(1)
    assert around.urls == {site(1): "https://10.0.0.99:8470"}


async def test_an_address_more_leaves_the_proven_one_in_use(around, autojump_clock):
    around.heard(site(1), sighting(1))
    await trio.sleep(1)
    both = ("https://10.0.0.1:8470", "https://10.0.0.66:8470")
    around.heard(site(1), Sighting(site(1), NETWORK, PROTOCOL_VERSION, both))
    assert around.urls == {site(1): "https://10.0.0.1:8470"}


async def test_what_is_gone_is_called_no_more_and_comes_back(around, autojump_clock):
    around.heard(site(1), sighting(1))
    await trio.sleep(1)
    around.heard(site(1), None)
    assert (around.urls, around.chosen([])) == ({}, [])
    await trio.sleep(2)
    assert around.written[-1] == {}
    around.heard(site(1), sighting(1))
    await trio.sleep(1)
    assert around.chosen([]) == [site(1)]


async def test_an_address_that_fails_is_given_up_and_proven_anew(around, autojump_clock):
    around.heard(site(1), sighting(1))
    await trio.sleep(1)
    around.refuse[site(1)] = PeerUnreachableError("gone")
    around.lost(site(1))
    assert around.urls == {}
    await trio.sleep(20)
    del around.refuse[site(1)]
    await trio.sleep(60)
    assert around.urls == {site(1): "https://10.0.0.1:8470"}


async def test_everybody_is_met_again_now_and_then_and_when_members_change(around, autojump_clock):
    around.heard(site(1), sighting(1))
    await trio.sleep(AGAIN_S + 5)
    assert around.met == [site(1)] * 2
    around.meet_all()
    await trio.sleep(1)
    assert around.met == [site(1)] * 3


async def test_one_that_is_a_peer_no_more_is_not_called(around, autojump_clock):
    around.heard(site(1), sighting(1))
    await trio.sleep(1)
    around.members.clear()
    assert around.chosen([]) == []


async def test_a_peer_with_an_address_of_its_own_takes_no_place(around, autojump_clock):
    for number in range(1, 6):
        around.heard(site(number), sighting(number))
    await trio.sleep(1)
    declared = [site(1), site(2)]
    assert set(around.chosen(declared)) == {site(3), site(4), site(5)}


async def test_of_200_sites_few_are_met_and_fewer_are_called_at_once(around, autojump_clock):
    for number in range(1, 200):
        around.heard(site(number), sighting(number))
    await trio.sleep(500)
    assert ACQUAINTANCES_MAX <= len(around.met) < ACQUAINTANCES_MAX + MEETINGS_MAX
    assert around.most == MEETINGS_MAX
    assert len(around.chosen([])) == FANOUT
    called = set()
    for _ in range(20):
        called |= set(around.chosen([]))
        await trio.sleep(60)
    assert called == around.members


async def test_announcements_without_end_are_bounded(around, autojump_clock):
    for number in range(1, SIGHTINGS_MAX + 100):
        around.heard(site(number), sighting(number, network=OTHER, host=1))
    await trio.sleep(5)
    assert len(around.written[-1]) == SIGHTINGS_MAX


async def test_at_the_end_nothing_is_left_to_be_seen(autojump_clock):
    neighbours = Neighbours()

    async def announced(heard):
        heard(site(1), sighting(1))
        await trio.sleep_forever()

    with trio.move_on_after(5):
        await neighbours.run(announced)
    assert neighbours.written[0] == neighbours.written[-1] == {}
    assert {site(1): "peer"} in neighbours.written
