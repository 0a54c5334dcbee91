"""Connections between simulated machines, under the network's model.

What an end of a connection writes becomes messages of `Network`, which says when each arrives, or
that it never does. Then either both ends hear of it soon, as when a modem hangs up, or the sender
gives up in the end and the receiver never hears of it, as when a router dies; which of the two is
drawn.

A copy of a request (`Delivery.twin_ms`) comes on a connection of its own, from nobody who reads
the answer.
"""

from dataclasses import dataclass, field

import trio

from syncsim.network import Network
from syncsim.scenario import Scenario, generator
from syncsim.whole.clock import now_ms
from syncsim.whole.streams import GIVE_UP_S, SimListener, SimStream

# A TLS 1.3 handshake with a certificate of ours has 867 bytes (`syncnode.links.server`), half
# of them each way.
HANDSHAKE_BYTES = 434
STRAY_S = 30.0  # after which the connection that a copy came on is closed


class Unreachable(Exception):
    """No connection came about."""


@dataclass(slots=True)
class LinkCount:
    """What crossed one link, in messages and bytes."""

    messages: int = 0
    lost: int = 0
    up: int = 0
    down: int = 0


@dataclass(slots=True)
class _Host:
    """A machine on the network.

    Attributes:
        place: The site of the scenario where it stands.
        dark: Without power nothing answers, not even with a refusal.
        confidant: The only machine that it may meet, if there is one.
        streams: Its ends of connections, in the order in which they came about.
    """

    place: int
    dark: bool = False
    confidant: int | None = None
    listener: SimListener | None = None
    streams: dict[SimStream, None] = field(default_factory=dict)


class Links:
    """All machines and the connections between them.

    Args:
        nursery: For copies of requests.

    Attributes:
        counts: By link of the scenario.
        strays: How many copies of requests arrived.
    """

    def __init__(
        self, scenario: Scenario, network: Network, seed: int, nursery: trio.Nursery
    ) -> None:
        self.counts = [LinkCount() for _ in scenario.links]
        self.strays = 0
        self._network = network
        self._nursery = nursery
        self._hosts = [_Host(place) for place in range(len(scenario.sites))]
        self._names = scenario.names()
        self._rng = generator(seed, "hang-ups")

    # Machines

    def add_host(self, place: int) -> int:
        """One more machine at a site; its index."""
        self._hosts.append(_Host(place))
        return len(self._hosts) - 1

    def listen(self, host: int) -> SimListener:
        listener = self._hosts[host].listener = SimListener(host)
        return listener

    def end_process(self, host: int) -> None:
        """The process ends without a word; its machine, if it has power, closes what is open."""
        machine = self._hosts[host]
        if machine.listener is not None:
            machine.listener.refuse()
            machine.listener = None
        for stream in list(machine.streams):
            stream.cut_off(told=not machine.dark)

    def set_dark(self, host: int, dark: bool) -> None:
        self._hosts[host].dark = dark

    def is_dark(self, host: int) -> bool:
        return self._hosts[host].dark

    def confide(self, host: int, confidant: int | None) -> None:
        """From now on the machine meets only that other one; None: everybody."""
        machine = self._hosts[host]
        machine.confidant = confidant
        if confidant is not None:
            for stream in list(machine.streams):
                if stream.there != confidant:
                    stream.cut_off(told=True)

    def may_meet(self, one: int, other: int) -> bool:
        hosts = self._hosts
        return hosts[one].confidant in (None, other) and hosts[other].confidant in (None, one)

    # Connections

    async def connect(self, here: int, there: int) -> SimStream:
        """A connection; it takes a round trip.

        Raises:
            Unreachable: Nobody listens there, or no answer came for long.
        """
        await self._across(here, there)
        machine = self._hosts[there]
        if machine.dark or not self.may_meet(here, there):
            await self._silence()
        if machine.listener is None:
            await self._across(there, here)
            raise Unreachable("connection refused")
        stream = self._joined(here, there, machine.listener)
        self._hosts[here].streams[stream] = None
        try:
            await self._across(there, here)
        except BaseException:
            stream.cut_off(told=True)
            raise
        return stream

    def _joined(self, here: int, there: int, listener: SimListener) -> SimStream:
        """The caller's end of a new connection, whose other end the listener has."""
        caller, callee = SimStream(self, here, there), SimStream(self, there, here)
        caller.peer, callee.peer = callee, caller
        self._hosts[there].streams[callee] = None
        listener.arrive(callee)
        return caller

    async def _across(self, here: int, there: int) -> None:
        arrives_s = self.packet(here, there, HANDSHAKE_BYTES)
        if arrives_s is None:
            await self._silence()
        else:
            await trio.sleep_until(arrives_s)

    async def _silence(self) -> None:
        await trio.sleep(GIVE_UP_S)
        raise Unreachable("no answer")

    def packet(self, here: int, there: int, size: int) -> float | None:
        """When a packet that is sent now arrives; None if it does not."""
        one, other = self._hosts[here].place, self._hosts[there].place
        delivery = self._network.send(one, other, size, now_ms())
        self._count(one, other, size, lost=delivery.arrives_ms is None)
        return None if delivery.arrives_ms is None else delivery.arrives_ms / 1000

    def carry(self, stream: SimStream, data: bytes, *, request: bool) -> None:
        """Send what one end of a connection has written."""
        one, other = self._hosts[stream.here].place, self._hosts[stream.there].place
        delivery = self._network.send(one, other, len(data), now_ms(), twins=request)
        self._count(one, other, len(data), lost=delivery.arrives_ms is None)
        if delivery.arrives_ms is not None:
            stream.is_under_way(data, delivery.arrives_ms / 1000)
            if delivery.twin_ms is not None:
                self._nursery.start_soon(self._stray, stream, data, delivery.twin_ms / 1000)
        elif self._rng.random() < 0.5:
            stream.hang_up(delivery.breaks_ms / 1000)
        else:
            stream.fall_silent()

    def _count(self, one: int, other: int, size: int, *, lost: bool) -> None:
        number = self._network.link_of(one, other)
        if number is None:
            return
        count = self.counts[number]
        count.messages += 1
        count.lost += lost
        if self._network.links[number].one == self._names[one]:
            count.up += size
        else:
            count.down += size

    async def _stray(self, stream: SimStream, request: bytes, arrives_s: float) -> None:
        """A copy of a request arrives; whoever sent it does not listen for its answer."""
        await trio.sleep_until(arrives_s)
        here, there = stream.here, stream.there
        machine = self._hosts[there]
        if machine.listener is None or machine.dark or not self.may_meet(here, there):
            return
        self.strays += 1
        copy = self._joined(here, there, machine.listener)
        copy.is_under_way(request, arrives_s)
        await trio.sleep(STRAY_S)
        copy.cut_off(told=True)

    def forget(self, stream: SimStream) -> None:
        self._hosts[stream.here].streams.pop(stream, None)
