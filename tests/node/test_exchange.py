"""Exchanges driven over a link: rows move, waiting requests wake, a busy peer is asked again."""

from dataclasses import replace

import pytest
import trio
from linked import KEYS, START_MS, TABLE, Site

from syncnode.links.exchange import decoded, encoded
from syncnode.replica import EncodedChunk
from syncproto.codec import encode_chunk
from syncproto.errors import (
    MalformedMessageError,
    PeerUnreachableError,
    RefusedError,
    StoreError,
    UnexpectedMessageError,
)
from syncproto.frontier import Frontier
from syncproto.identity import Origin, SiteId
from syncproto.memory import MemoryReplica
from syncproto.messages import Turn
from syncsim.subject import NETWORK


@pytest.fixture
def sites():
    return {}


async def test_one_exchange_moves_rows_both_ways_in_chunks(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    for number in range(35):
        clinic.write(number)
        hospital.write(100 + number)
    outcome = await clinic.exchanger.call(hospital.site)
    assert outcome.complete
    assert (outcome.rows_sent, outcome.rows_received) == (35, 35)
    assert outcome.bytes_sent > 35 * 16
    assert outcome.bytes_received > 35 * 16
    assert clinic.names() == hospital.names()
    assert len(clinic.names()) == 70


async def test_of_an_exchange_that_breaks_off_only_what_arrived_is_counted(
    sites, autojump_clock, monkeypatch
):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    for number in range(35):
        hospital.write(number)
    real, taken = clinic.replica.receive, []

    def full(chunk):
        if taken:
            raise StoreError("the disk is full", transient=True)
        taken.append(chunk.row_count)
        return real(chunk)

    monkeypatch.setattr(clinic.replica, "receive", full)
    with pytest.raises(StoreError, match="disk is full"):
        await clinic.exchanger.call(hospital.site)
    crossed = clinic.exchanger.crossed[hospital.site]
    assert (crossed.rows_sent, crossed.rows_received) == (0, taken[0])
    assert crossed.bytes_received > taken[0] * 16
    monkeypatch.undo()
    clinic.write(50)
    posts = len(clinic.requests)

    async def cut(site, body, *, timeout_s):
        if len(clinic.requests) > posts + 1:
            hospital.cut = True
        return await Site.post(clinic, site, body, timeout_s=timeout_s)

    monkeypatch.setattr(clinic.exchanger, "_post", cut)
    with pytest.raises(PeerUnreachableError):
        await clinic.exchanger.call(hospital.site)
    crossed = clinic.exchanger.crossed[hospital.site]
    sent = sum(turn.chunk.row_count for turn in clinic.requests[posts:-1] if turn.chunk)
    assert crossed.rows_sent == sent
    assert not clinic.exchanger.waiting_since_s


async def test_an_exchange_with_nothing_new_is_one_small_turn_each_way(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    clinic.write(1)
    await clinic.exchanger.call(hospital.site)
    clinic.requests.clear()
    outcome = await clinic.exchanger.call(hospital.site)
    assert outcome.complete
    assert len(clinic.requests) == 1
    assert outcome.bytes_sent < 150
    assert outcome.bytes_received < 150


async def test_a_waiting_request_wakes_at_a_change_of_the_peer(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    await clinic.exchanger.call(hospital.site)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def listening():
            await clinic.exchanger.call(hospital.site, wait_ms=20_000)

        await trio.sleep(5)
        assert clinic.names() == {}
        hospital.write(1, "Ann")
        hospital.seal()
        await trio.sleep(0.01)
        assert clinic.names() == {1: "Ann"}


async def test_a_waiting_request_ends_after_its_time(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    await clinic.exchanger.call(hospital.site)
    began_s = trio.current_time()
    outcome = await clinic.exchanger.call(hospital.site, wait_ms=20_000)
    assert outcome.complete
    assert not outcome.moved
    assert trio.current_time() - began_s == pytest.approx(20, abs=0.1)


async def test_the_answering_site_bounds_the_wait(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites, wait_ms_max=3_000)
    await clinic.exchanger.call(hospital.site)
    began_s = trio.current_time()
    await clinic.exchanger.call(hospital.site, wait_ms=20_000)
    assert trio.current_time() - began_s == pytest.approx(3, abs=0.1)


async def test_a_push_beside_it_neither_waits_for_nor_wakes_a_waiting_request(
    sites, autojump_clock
):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    await clinic.exchanger.call(hospital.site)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def listening():
            await clinic.exchanger.call(hospital.site, wait_ms=20_000)

        await trio.sleep(1)
        clinic.write(1, "Ann")
        clinic.seal()
        await clinic.exchanger.call(hospital.site)
        assert hospital.names() == {1: "Ann"}
        waiting = len(clinic.requests)
        await trio.sleep(1)
        assert len(clinic.requests) == waiting
        # Although it was told before that push, what comes next takes one round trip.
        hospital.write(2, "Ben")
        hospital.seal()
        await trio.sleep(0.001)
        assert clinic.names() == {1: "Ann", 2: "Ben"}
        assert len(clinic.requests) == waiting + 1  # only the next waiting request


async def test_a_node_that_ends_answers_who_waits(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    await clinic.exchanger.call(hospital.site)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: clinic.exchanger.call(hospital.site, wait_ms=20_000))
        await trio.sleep(1)
        hospital.exchanger.end()
        with trio.fail_after(0.1):
            while nursery.child_tasks:
                await trio.sleep(0.01)


async def test_lacks_tells_whether_a_push_is_worth_it(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    assert await clinic.exchanger.lacks(hospital.site)
    await clinic.exchanger.call(hospital.site)
    assert not await clinic.exchanger.lacks(hospital.site)
    clinic.write(1)
    assert await clinic.exchanger.lacks(hospital.site)


async def test_a_busy_peer_is_asked_again(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    clinic.write(1)
    hospital.busy = 3
    assert (await clinic.exchanger.call(hospital.site)).complete
    assert hospital.names() == {1: "x"}


async def test_a_peer_that_stays_busy_ends_the_exchange(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    hospital.busy = 1_000
    with pytest.raises(RefusedError):
        await clinic.exchanger.call(hospital.site)
    assert clinic.exchanger.contacts[hospital.site].met_ms is None
    assert clinic.exchanger.contacts[hospital.site].trouble == "busy"


async def test_an_exchange_that_broke_off_goes_on_where_it_stopped(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    await clinic.exchanger.call(hospital.site)
    for number in range(95):
        hospital.write(number)

    def cut_at_the_fourth(_):
        hospital.cut = len(clinic.requests) >= 4

    with pytest.raises(PeerUnreachableError):
        await clinic.exchanger.call(hospital.site, watch=cut_at_the_fourth)
    assert hospital.cut
    staged = clinic.replica.stages[hospital.site].cursor.lsn
    assert staged
    hospital.cut = False
    outcome = await clinic.exchanger.call(hospital.site)
    assert outcome.complete
    assert outcome.rows_received == 95 - staged
    assert len(clinic.names()) == 95


async def test_clocks_far_apart_are_noted_on_both_sides_with_the_size(sites, autojump_clock):
    clinic = Site("clinic", sites, skew_ms=3 * 3_600_000 + 1)
    hospital = Site("hospital", sites)
    await clinic.exchanger.call(hospital.site)
    at_hospital = hospital.exchanger.contacts[clinic.site]
    assert at_hospital.skew_ms == pytest.approx(3 * 3_600_000, abs=100)
    at_clinic = clinic.exchanger.contacts[hospital.site]
    assert at_clinic.skew_ms == pytest.approx(-3 * 3_600_000, abs=100)
    assert at_clinic.trouble == "it says: the clock here is 3 h ahead of that of hospital"


async def test_clocks_that_differ_a_little_are_no_trouble(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites, skew_ms=299_000), Site("hospital", sites)
    await clinic.exchanger.call(hospital.site)
    assert hospital.exchanger.contacts[clinic.site].skew_ms == 0
    assert clinic.exchanger.contacts[hospital.site].trouble == ""


async def test_rows_that_the_other_side_does_not_show_are_noted_until_it_does(
    sites, autojump_clock
):
    """Both sides are equal, and neither may say that it is in sync."""
    clinic, hospital = Site("clinic", sites, skew_ms=3_600_000), Site("hospital", sites)
    clinic.exchanger._skew_ms_max = hospital.exchanger._skew_ms_max = 10**12  # no word on clocks
    clinic.write(1)
    clinic.write(2)
    there = "2 rows are parked or kept aside there: see `syncnode parked` and `syncnode status`"
    for caller, callee in ((clinic, hospital), (hospital, clinic)):
        outcome = await caller.exchanger.call(callee.site)
        assert outcome.complete
        assert outcome.unshown == (2 if caller is clinic else 0)
        assert clinic.exchanger.contacts[hospital.site].trouble == f"{there} there"
        assert hospital.exchanger.contacts[clinic.site].trouble == ""
    await trio.sleep(4_000)
    assert (await clinic.exchanger.call(hospital.site)).unshown == 0
    assert clinic.exchanger.contacts[hospital.site].trouble == ""


async def test_unequal_sums_under_equal_frontiers_stay_noted_until_they_agree(
    sites, autojump_clock
):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    clinic.write(1)
    await clinic.exchanger.call(hospital.site)
    hospital.replica.sums[TABLE] += 1
    # Sums are told where frontiers differ in some other table.
    other = Frontier({**hospital.replica.frontier.vectors, "visit": _vector(hospital)})
    hospital.replica.frontier = other
    hospital.replica.sums["visit"] = 0
    hospital.replica.peers.clear()
    clinic.replica.peers.clear()
    await clinic.exchanger.call(hospital.site)
    trouble = clinic.exchanger.contacts[hospital.site].trouble
    assert trouble.startswith("both claim the same changes but hold different rows of patient:")
    assert "`syncnode verify`" in trouble


def _vector(site):
    return site.replica.frontier.vector(TABLE).advanced(*_entry(site))


def _entry(site):
    entry = site.replica.frontier.entry(site.replica.origin)
    return site.replica.origin, entry


async def test_a_turn_of_another_network_is_refused_and_noted(sites, autojump_clock):
    clinic = Site("clinic", sites, network=b"network?")
    hospital = Site("hospital", sites)
    clinic.write(1)
    with pytest.raises(UnexpectedMessageError, match="another network"):
        await clinic.exchanger.call(hospital.site)
    assert hospital.names() == {}
    assert "another network" in hospital.exchanger.contacts[clinic.site].trouble


async def test_garbage_is_refused_and_changes_nothing(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)
    with pytest.raises(MalformedMessageError):
        await hospital.exchanger.answer(clinic.site, b"garbage")
    assert hospital.names() == {}


async def test_a_database_that_fails_here_is_not_the_peers_trouble(sites, autojump_clock):
    clinic, hospital = Site("clinic", sites), Site("hospital", sites)

    def locked(_):
        raise StoreError("locked", transient=True)

    hospital.replica.standing = locked
    with pytest.raises(StoreError):
        await hospital.exchanger.answer(clinic.site, encoded(await _turn(clinic, hospital)))
    assert clinic.site not in hospital.exchanger.contacts


async def _turn(clinic, hospital):
    hospital.cut = True
    with pytest.raises(PeerUnreachableError):
        await clinic.exchanger.call(hospital.site)
    return clinic.requests[-1]


def test_a_chunk_travels_and_is_staged_as_the_bytes_that_came():
    replica = MemoryReplica(
        Origin(SiteId(b"clinic".ljust(16, b"\0")), 1),
        [TABLE],
        network=NETWORK,
        wall_ms=lambda: START_MS,
        nonce=lambda: 7,
    )
    replica.write(TABLE, KEYS[1], {"name": "Ann"})
    chunk = replica.chunk(Frontier({TABLE: replica.frontier.vector("none")}), 0)
    standing = replica.standing(SiteId(bytes(16)))
    turn = Turn(NETWORK, replica.origin, standing.latest, None, bytes(8), START_MS, chunk=chunk)
    arrived = decoded(encoded(turn))
    assert isinstance(arrived.chunk, EncodedChunk)
    assert arrived.chunk.encoded == encode_chunk(chunk)
    assert encoded(arrived) == encoded(turn)
    assert replace(arrived, chunk=None) == replace(turn, chunk=None)
