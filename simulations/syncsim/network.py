"""Links between sites: what becomes of each message, drawn from the scenario and the seed.

One model serves both levels. It sees messages, not packets: a link's loss and length make a
message later (lost packets are sent again, as TCP does) and, when one packet is lost too often,
end its connection. Bandwidth is shared by all messages of one direction, in the order in which
they were sent.

Not modelled: congestion between links, TCP's slow start, handshakes, packet headers.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from syncsim.events import Mishap
from syncsim.scenario import DAY_MS, Delay, Link, LinkClass, Scenario, generator

PACKET_BYTES = 1_200  # a payload that crosses VSAT and GSM tunnels unbroken
# After so many losses of one packet TCP or its user gives up: six tries with doubling pauses
# are a minute of silence.
TRIES_MAX = 6
RESEND_MS_LEAST = 200.0  # Linux's least retransmission timeout (RFC 6298 asks for a second)
LATE_FACTOR = 20.0  # a copy that is late is so many delays late


@dataclass(frozen=True, slots=True)
class Delivery:
    """What becomes of one message.

    Attributes:
        arrives_ms: When it is there; None if its connection broke.
        breaks_ms: When the sender may know that, at the earliest.
        twin_ms: When a second copy arrives, if one does.
    """

    arrives_ms: int | None
    breaks_ms: int = 0
    twin_ms: int | None = None


class _Direction:
    """One way of one link."""

    __slots__ = ("bytes_ms", "cut", "delay", "free_ms", "kind", "link", "outages", "rng")

    def __init__(
        self, link: int, kind: LinkClass, bytes_s: float, rng: Random, outages: "_Outages"
    ) -> None:
        self.link = link
        self.kind = kind
        self.bytes_ms = bytes_s / 1000
        self.rng = rng
        self.outages = outages
        self.free_ms = 0.0
        self.cut = 0
        self.delay = kind.delay


class Network:
    """All links of a scenario.

    Partitions are mishaps: the driver says when one begins and ends, by `cut` and `heal`.

    Attributes:
        lost, twins, late: How many messages broke their connection, arrived twice, or left a
            copy behind that arrived late.
    """

    def __init__(self, scenario: Scenario, seed: int) -> None:
        index = {name: number for number, name in enumerate(scenario.names())}
        self.links: Sequence[Link] = scenario.links
        self._quiet_ms = scenario.faults_ms
        self._ways: dict[tuple[int, int], _Direction] = {}
        self.lost = self.twins = self.late = 0
        for number, link in enumerate(scenario.links):
            kind = scenario.link_classes[link.link_class]
            outages = _Outages(scenario, seed, number, kind)
            one, other = index[link.one], index[link.other]
            for pair, bytes_s in (
                ((one, other), kind.up_bytes_s),
                ((other, one), kind.down_bytes_s),
            ):
                rng = generator(seed, "link", *pair)
                self._ways[pair] = _Direction(number, kind, bytes_s, rng, outages)

    def link_of(self, sender: int, receiver: int) -> int | None:
        """The index of the link between two sites; None where there is none."""
        way = self._ways.get((sender, receiver))
        return way.link if way is not None else None

    def cut(self, mishap: Mishap) -> None:
        for pair in mishap.cut:
            self._ways[pair].cut += 1

    def heal(self, mishap: Mishap) -> None:
        for pair in mishap.cut:
            self._ways[pair].cut -= 1

    def works(self, sender: int, receiver: int, now_ms: int) -> bool:
        """Whether a message from `sender` that leaves now can arrive at all."""
        way = self._ways.get((sender, receiver))
        return way is not None and not way.cut and not way.outages.at(now_ms)

    def links_down(self, now_ms: int) -> list[int]:
        """Indices of links of which a direction does not work."""
        down = {way.link for way in self._ways.values() if way.cut or way.outages.at(now_ms)}
        return sorted(down)

    def send(
        self, sender: int, receiver: int, size: int, now_ms: int, *, twins: bool = False
    ) -> Delivery:
        """What becomes of a message of `size` bytes that is sent now.

        Args:
            twins: It is a request, of which the link may deliver a second copy.
        """
        way = self._ways.get((sender, receiver))
        if way is None or way.cut or way.outages.at(now_ms):
            self.lost += 1
            return Delivery(None, now_ms)
        kind, rng = way.kind, way.rng
        delay_ms = drawn(way.delay, rng)
        starts_ms = max(float(now_ms), way.free_ms)
        takes_ms = size / way.bytes_ms if way.bytes_ms else 0.0
        if kind.loss and now_ms < self._quiet_ms:
            packets = max(1, -(-size // PACKET_BYTES))
            resent, broken = _losses(packets, kind.loss, rng)
            if broken:
                self.lost += 1
                return Delivery(None, now_ms + round(delay_ms))
            takes_ms *= 1 + resent / packets
            # Losses in a row wait twice as long each; a window of packets waits together.
            delay_ms += max(2 * delay_ms, RESEND_MS_LEAST) * math.log2(1 + resent)
        if way.bytes_ms:
            way.free_ms = starts_ms + takes_ms
        arrives_ms = round(starts_ms + takes_ms + delay_ms)
        if way.outages.at(arrives_ms):
            # Only both ends are looked at: an outage shorter than one message is not seen.
            self.lost += 1
            return Delivery(None, arrives_ms)
        twin_ms = None
        if twins and now_ms < self._quiet_ms:
            if kind.duplication and rng.random() < kind.duplication:
                twin_ms = arrives_ms + round(drawn(way.delay, rng))
                self.twins += 1
            elif kind.reordering and rng.random() < kind.reordering:
                twin_ms = arrives_ms + round(LATE_FACTOR * drawn(way.delay, rng))
                self.late += 1
        return Delivery(arrives_ms, twin_ms=twin_ms)


def drawn(delay: Delay, rng: Random) -> float:
    """One delay in milliseconds, at least 0."""
    if delay.kind == "fixed":
        return delay.middle_ms
    if delay.kind == "uniform":
        return max(0.0, delay.middle_ms * (1 + delay.spread * (2 * rng.random() - 1)))
    if delay.kind == "exponential":
        return rng.expovariate(1 / delay.middle_ms) if delay.middle_ms else 0.0
    return delay.middle_ms * math.exp(rng.gauss(0.0, delay.spread))


def _losses(packets: int, loss: float, rng: Random) -> tuple[int, bool]:
    """How many packets had to be sent again, and whether one was lost too often."""
    resent = 0
    for _ in range(packets):
        tries = 0
        while rng.random() < loss:
            tries += 1
            if tries == TRIES_MAX:
                return resent, True
        resent += tries
    return resent, False


class _Outages:
    """When a link does not work by its schedule or by chance, apart from partitions.

    In the quiet everything works.
    """

    def __init__(self, scenario: Scenario, seed: int, link: int, kind: LinkClass) -> None:
        self._open_ms = kind.open_ms
        self._day_ms = scenario.start_unix_ms % DAY_MS
        self._quiet_ms = scenario.faults_ms
        self._meetings: list[int] | None = None  # beginnings and ends of meetings, in turn
        if kind.meetings is not None:
            rng, at_ms = generator(seed, "meetings", link), 0.0
            self._meetings = []
            while at_ms < self._quiet_ms:
                begins = at_ms + rng.expovariate(1 / kind.meetings.gap_ms)
                at_ms = begins + 1 + rng.expovariate(1 / kind.meetings.length_ms)
                self._meetings += [round(begins), round(at_ms)]

    def at(self, now_ms: int) -> bool:
        """Whether it is out of order now."""
        if now_ms >= self._quiet_ms:
            return False
        if self._meetings is not None and bisect_right(self._meetings, now_ms) % 2 == 0:
            return True
        if not self._open_ms:
            return False
        time_of_day = (self._day_ms + now_ms) % DAY_MS
        return not any(begins <= time_of_day < ends for begins, ends in self._open_ms)
