"""Streams between simulated machines, for everything that speaks over a connection.

As TCP does, a connection keeps the order, stops a writer who is far ahead of what has arrived,
and loses no part alone: where a message is lost, all that follows is lost with it.
"""

import math
from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from syncsim.whole.links import Links

PORT = 8470
CONTROL_BYTES = 40  # a packet that ends a connection: headers only
WINDOW_BYTES = 64 * 1024  # under way at most; then a writer waits, as without window scaling
# Six tries, each after twice the pause before: then TCP or its user gives up (`syncsim.network`).
GIVE_UP_S = 63.0


def host_name(number: int) -> str:
    """The name under which the machine of that index is called."""
    return f"site{number}"


def host_number(name: str) -> int:
    """The inverse of `host_name`."""
    return int(name.removeprefix("site"))


class Ends:
    """Who is where, as sockets say it."""

    def __init__(self, here: int, there: int) -> None:
        self._here = here
        self._there = there

    def getsockname(self) -> tuple[str, int]:
        return host_name(self._here), PORT

    def getpeername(self) -> tuple[str, int]:
        return host_name(self._there), PORT

    def setsockopt(self, level: int, option: int, value: int) -> None:
        """Nothing: no router forgets a connection here, and its end is heard of."""


class SimListener(trio.abc.Listener["SimStream"]):
    """Where connections to a machine arrive."""

    def __init__(self, host: int) -> None:
        self.socket = Ends(host, host)
        self._waiting: deque[SimStream] = deque()
        self._closed = False
        self._accepting = trio.lowlevel.ParkingLot()

    def arrive(self, stream: "SimStream") -> None:
        self._waiting.append(stream)
        self._accepting.unpark_all()

    def refuse(self) -> None:
        """From now on nobody accepts what arrives."""
        self._closed = True
        while self._waiting:
            self._waiting.popleft().cut_off(told=True)
        self._accepting.unpark_all()

    async def accept(self) -> "SimStream":
        await trio.lowlevel.checkpoint()
        while not self._waiting and not self._closed:
            await self._accepting.park()
        if self._closed:
            raise trio.ClosedResourceError
        return self._waiting.popleft()

    async def aclose(self) -> None:
        self.refuse()
        await trio.lowlevel.checkpoint()


class SimStream(trio.abc.HalfCloseableStream):
    """One end of a connection.

    Attributes:
        here, there: The machines, by index.
        peer: The other end.
    """

    peer: "SimStream"

    def __init__(self, links: "Links", here: int, there: int) -> None:
        self.here = here
        self.there = there
        self.socket = Ends(here, there)
        self._links = links
        self._inbox: deque[tuple[float, bytes]] = deque()  # with times of arrival; b"" ends it
        self._flight: deque[tuple[float, int]] = deque()  # sizes of what is under way
        self._flight_bytes = 0
        self._latest_s = 0.0  # when the last of what was sent arrives
        self._silent = False  # what is sent from now on is lost
        self._gone = False  # this end is closed, or its process is dead
        self._breaks_s = math.inf
        self._used_s = trio.current_time()
        self._waiting = trio.lowlevel.ParkingLot()

    @property
    def idle_s(self) -> float:
        """For how long nothing was written or read here."""
        return trio.current_time() - self._used_s

    @property
    def readable(self) -> bool:
        """A read would not wait: something is there, or it would fail."""
        now_s = trio.current_time()
        if self._gone or self._breaks_s <= now_s:
            return True
        return bool(self._inbox) and self._inbox[0][0] <= now_s

    # Sending

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.send_message(bytes(data))

    async def send_message(self, data: bytes, *, request: bool = False) -> None:
        """Send it as one message; `request`: a whole one, of which a copy may arrive, too."""
        await trio.lowlevel.checkpoint()
        self._check()
        self._used_s = trio.current_time()
        if self._silent or self.peer._gone:
            self._into_the_void(len(data))
        else:
            self._links.carry(self, data, request=request)
        await self._wait_for_room()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()
        await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        while self._under_way() > WINDOW_BYTES:
            await self._rest(self._flight[0][0])
            self._check()

    def _under_way(self) -> int:
        now_s = trio.current_time()
        while self._flight and self._flight[0][0] <= now_s:
            self._flight_bytes -= self._flight.popleft()[1]
        return self._flight_bytes

    def is_under_way(self, data: bytes, arrives_s: float) -> None:
        """It will arrive, and not before what was sent before."""
        self._latest_s = max(self._latest_s, arrives_s)
        self._flight.append((self._latest_s, len(data)))
        self._flight_bytes += len(data)
        self.peer._arrive(self._latest_s, data)

    def hang_up(self, at_s: float) -> None:
        """Both ends hear that the connection is broken."""
        self._silent = self.peer._silent = True
        self._break(at_s)
        self.peer._break(max(at_s, self._latest_s))

    def fall_silent(self) -> None:
        """This end gives up in the end; the other one hears nothing."""
        self._silent = True
        self._into_the_void(0)

    def _into_the_void(self, size: int) -> None:
        self._flight.append((math.inf, size))
        self._flight_bytes += size
        if not self._silent and not self._links.is_dark(self.there):
            # Only the process is gone: its machine answers that it knows no such connection.
            there_s = self._links.packet(self.here, self.there, size)
            back_s = self._links.packet(self.there, self.here, CONTROL_BYTES)
            if there_s is not None and back_s is not None:
                self._break(there_s + back_s - trio.current_time())
                return
        self._break(trio.current_time() + GIVE_UP_S)

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check()
        self._say_end()

    def _say_end(self) -> None:
        if not self._silent and not self.peer._gone:
            arrives_s = self._links.packet(self.here, self.there, CONTROL_BYTES)
            if arrives_s is not None:
                self._latest_s = max(self._latest_s, arrives_s)
                self.peer._arrive(self._latest_s, b"")

    # Receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self.readable:
            await trio.lowlevel.checkpoint()
        while not self.readable:
            await self._rest(self._inbox[0][0] if self._inbox else math.inf)
        if self._gone:
            raise trio.ClosedResourceError
        now_s = self._used_s = trio.current_time()
        if not self._inbox or self._inbox[0][0] > now_s:
            raise trio.BrokenResourceError("the connection broke")
        at_s, data = self._inbox[0]
        if not data:
            return b""
        if max_bytes is not None and len(data) > max_bytes:
            self._inbox[0] = (at_s, data[max_bytes:])
            return data[:max_bytes]
        self._inbox.popleft()
        return data

    def _arrive(self, at_s: float, data: bytes) -> None:
        self._inbox.append((at_s, data))
        self._waiting.unpark_all()

    # The end

    async def aclose(self) -> None:
        if not self._gone:
            self._say_end()
            self._leave()
        await trio.lowlevel.checkpoint()

    def cut_off(self, *, told: bool) -> None:
        """The process at this end is gone; `told`: its machine says so to the other end."""
        if self._gone:
            return
        if told and not self._silent and not self.peer._gone:
            arrives_s = self._links.packet(self.here, self.there, CONTROL_BYTES)
            if arrives_s is not None:
                self.peer._break(max(arrives_s, self._latest_s))
        self._leave()

    def _leave(self) -> None:
        self._gone = True
        self._links.forget(self)
        self._waiting.unpark_all()

    def _break(self, at_s: float) -> None:
        if at_s < self._breaks_s:
            self._breaks_s = at_s
            self._waiting.unpark_all()

    def _check(self) -> None:
        if self._gone:
            raise trio.ClosedResourceError
        if self._breaks_s <= trio.current_time():
            raise trio.BrokenResourceError("the connection broke")

    async def _rest(self, until_s: float) -> None:
        """Until then, or until something becomes of this end."""
        with trio.move_on_at(min(until_s, self._breaks_s)):
            await self._waiting.park()
