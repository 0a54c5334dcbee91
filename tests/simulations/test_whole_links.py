"""Simulated connections keep what TCP promises, and fail as links and machines do."""

from contextlib import asynccontextmanager

import pytest
import trio

from syncsim.events import Mishap
from syncsim.network import Network
from syncsim.scenario import Delay, Link, LinkClass, Scenario, Site
from syncsim.whole.clock import VirtualClock
from syncsim.whole.links import STRAY_S, Links, Unreachable
from syncsim.whole.streams import GIVE_UP_S, WINDOW_BYTES

DELAY_S = 0.1
HERE, THERE, OTHER = 0, 1, 2


def scenario(**link):
    kind = LinkClass("line", **{"delay": Delay("fixed", DELAY_S * 1000), **link})
    return Scenario(
        title="Two",
        sites=(Site("here"), Site("there"), Site("other")),
        links=(Link("here", "there", "line"), Link("other", "there", "line")),
        link_classes={"line": kind},
        profiles={},
    )


class Wires:
    """Links of three machines, of which `there` listens; `cut` ends all traffic."""

    def __init__(self, links, network):
        self.links = links
        self.network = network
        self.listener = links.listen(THERE)
        self.partition = Mishap(0, "partition", 0, (), frozenset({(0, 1), (1, 0)}))

    def cut(self):
        self.network.cut(self.partition)

    def heal(self):
        self.network.heal(self.partition)

    async def pair(self):
        caller = await self.links.connect(HERE, THERE)
        return caller, await self.listener.accept()


@asynccontextmanager
async def wires(seed=1, **link):
    drawn = scenario(**link)
    network = Network(drawn, seed)
    async with trio.open_nursery() as nursery:
        yield Wires(Links(drawn, network, seed, nursery), network)
        nursery.cancel_scope.cancel()


def simulated(test):
    """Run the test in virtual time."""

    def run():
        trio.run(test, clock=VirtualClock())

    run.__name__ = test.__name__
    return run


async def elapsed_s(wait):
    began_s = trio.current_time()
    await wait
    return trio.current_time() - began_s


@simulated
async def test_a_connection_takes_a_round_trip_and_a_message_half_of_one():
    async with wires() as world:
        assert await elapsed_s(world.links.connect(HERE, THERE)) == pytest.approx(2 * DELAY_S)
        callee = await world.listener.accept()
        caller = callee.peer
        await caller.send_all(b"hello")
        assert await elapsed_s(callee.receive_some()) == pytest.approx(DELAY_S)


@simulated
async def test_bytes_arrive_in_order_and_whole_however_they_are_read():
    async with wires(delay=Delay("exponential", 500)) as world:
        caller, callee = await world.pair()
        sent = [bytes([number]) * (number + 1) for number in range(40)]
        for piece in sent:
            await caller.send_all(piece)
        await caller.aclose()
        received = bytearray()
        while data := await callee.receive_some(7):
            assert len(data) <= 7
            received += data
        assert bytes(received) == b"".join(sent)


@simulated
async def test_a_writer_far_ahead_of_a_slow_link_waits():
    async with wires(up_bytes_s=10_000) as world:
        caller, callee = await world.pair()
        piece = bytes(16_384)
        for _ in range(WINDOW_BYTES // len(piece)):
            assert await elapsed_s(caller.send_all(piece)) == 0
        waited_s = await elapsed_s(caller.send_all(piece))
        assert waited_s == pytest.approx(len(piece) / 10_000 + DELAY_S, rel=0.1)
        assert callee.readable


@simulated
async def test_nobody_listening_is_a_refusal_after_a_round_trip():
    async with wires() as world:
        world.links.end_process(THERE)
        began_s = trio.current_time()
        with pytest.raises(Unreachable, match="refused"):
            await world.links.connect(HERE, THERE)
        assert trio.current_time() - began_s == pytest.approx(2 * DELAY_S)


@simulated
async def test_a_cut_link_and_a_machine_without_power_do_not_answer():
    async with wires() as world:
        world.cut()
        began_s = trio.current_time()
        with pytest.raises(Unreachable, match="no answer"):
            await world.links.connect(HERE, THERE)
        assert trio.current_time() - began_s == pytest.approx(GIVE_UP_S)
        world.heal()
        world.links.set_dark(THERE, True)
        with pytest.raises(Unreachable, match="no answer"):
            await world.links.connect(HERE, THERE)


@simulated
async def test_a_process_that_ends_breaks_its_connections_and_one_without_power_says_nothing():
    async with wires() as world:
        caller, _ = await world.pair()
        world.links.end_process(THERE)
        with pytest.raises(trio.BrokenResourceError):
            await caller.receive_some()
        assert trio.current_time() == pytest.approx(3 * DELAY_S)

        world.listener = world.links.listen(THERE)
        caller, _ = await world.pair()
        world.links.set_dark(THERE, True)
        world.links.end_process(THERE)
        with trio.move_on_after(10 * GIVE_UP_S) as scope:
            await caller.receive_some()
        assert scope.cancelled_caught, "who only listens hears nothing"
        await caller.send_all(b"anybody?")
        began_s = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await caller.receive_some()
        assert trio.current_time() - began_s == pytest.approx(GIVE_UP_S)


@simulated
async def test_what_is_sent_to_a_process_that_is_gone_is_answered_by_its_machine():
    async with wires() as world:
        caller, callee = await world.pair()
        world.cut()
        world.links.end_process(THERE)  # its farewell is lost
        world.heal()
        await caller.send_all(b"hello")
        began_s = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await caller.receive_some()
        assert trio.current_time() - began_s == pytest.approx(2 * DELAY_S)
        with pytest.raises(trio.ClosedResourceError):
            await callee.receive_some()


@simulated
async def test_a_lost_message_breaks_its_connection_soon_for_both_or_late_for_its_sender():
    told = set()
    for seed in range(12):
        async with wires(seed) as world:
            caller, callee = await world.pair()
            world.cut()
            await caller.send_all(b"lost")
            world.heal()
            began_s = trio.current_time()
            with pytest.raises(trio.BrokenResourceError):
                await caller.receive_some()
            sender_s = trio.current_time() - began_s
            with (
                trio.move_on_after(10 * GIVE_UP_S) as scope,
                pytest.raises(trio.BrokenResourceError),
            ):
                await callee.receive_some()
            told.add((round(sender_s), scope.cancelled_caught))
    assert told == {(0, False), (round(GIVE_UP_S), True)}


@simulated
async def test_a_copy_of_a_request_comes_on_a_connection_of_its_own():
    async with wires(duplication=1.0) as world:
        caller, callee = await world.pair()
        await caller.send_message(b"POST", request=True)
        assert await callee.receive_some() == b"POST"
        copy = await world.listener.accept()
        assert await copy.receive_some() == b"POST"
        await copy.send_all(b"an answer that nobody reads")
        with pytest.raises(trio.BrokenResourceError):
            await copy.receive_some()
        assert trio.current_time() < 2 * STRAY_S
        assert world.links.strays == 1
        with trio.move_on_after(1) as scope:
            await caller.receive_some()
        assert scope.cancelled_caught


@simulated
async def test_who_has_a_confidant_meets_nobody_else():
    async with wires() as world:
        stranger, _ = await world.pair()
        world.links.confide(THERE, OTHER)
        with pytest.raises(trio.BrokenResourceError):
            await stranger.receive_some()
        with trio.move_on_after(1) as scope:
            await world.links.connect(HERE, THERE)
        assert scope.cancelled_caught
        await world.links.connect(OTHER, THERE)
        world.links.confide(THERE, None)
        await world.links.connect(HERE, THERE)


@simulated
async def test_what_crosses_a_link_is_counted_by_direction():
    async with wires() as world:
        caller, callee = await world.pair()
        count = world.links.counts[0]
        before = count.up, count.down
        await caller.send_all(bytes(1_000))
        await callee.send_all(bytes(300))
        assert (count.up - before[0], count.down - before[1]) == (1_000, 300)
        world.cut()
        await caller.send_all(b"lost")
        assert count.lost == 1
        assert world.links.counts[1].messages == 0
