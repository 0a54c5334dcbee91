"""A link of the test's own: TCP from a port of ours to a port of a site, as bad as asked.

What crosses is counted. Each direction is a `Line` with a rate and a delay, shared by all
connections, as a modem's line is; a byte waits its turn on the line, then for the delay. Nothing
is read ahead of the line, so who sends faster is held back by TCP, with small buffers between.
"""

import contextlib
import queue
import socket
import threading
import time
from dataclasses import dataclass
from typing import Self

PIECE_BYTES = 256 * 1024
PIECE_S = 0.1  # of a line with a rate: fine enough to cut anywhere, coarse enough to cost nothing
# Of a socket, before a line with a rate: the kernel doubles it. With less it waits for itself.
BUFFER_BYTES, BUFFER_S = 4096, 0.5
IN_FLIGHT_MAX = 10_000
JOIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Line:
    """One direction.

    Attributes:
        bytes_a_s: None for as fast as it goes.
        delay_s: From one end to the other.
    """

    bytes_a_s: float | None = None
    delay_s: float = 0.0


FREE = Line()
KBIT_1 = Line(125, 0.3)  # 1 kbit/s with 600 ms there and back


class Relay:
    """Passes connections on, both ways; a context manager.

    Its threads belong to the benchmark's process, so they cost the sites nothing.

    Args:
        target_port: Of the site, on 127.0.0.1.
        up, down: From who calls to the site, and back.
        cut_every_s: All connections break after each such time.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        up_bytes, down_bytes: What has crossed so far, TLS included, headers of TCP and IP not.
        connections: That were made so far.
        cuts: How often connections were broken.
    """

    def __init__(
        self,
        target_port: int,
        *,
        up: Line = FREE,
        down: Line = FREE,
        cut_every_s: float | None = None,
    ) -> None:
        self.up_bytes = self.down_bytes = self.connections = self.cuts = 0
        self.target_port = target_port
        self._up, self._down = _Lane(self, "up_bytes", up), _Lane(self, "down_bytes", down)
        self._cut_every_s = cut_every_s
        self._cut_after: int | None = None
        self._cutting = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._shape(self._listener)
        self.port = int(self._listener.getsockname()[1])
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._open: set[_Pair] = set()
        self._threads: set[threading.Thread] = set()

    @property
    def bytes(self) -> int:
        """What has crossed, both ways."""
        return self.up_bytes + self.down_bytes

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        if self._cut_every_s is not None:
            self.cut_every(self._cut_every_s)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            pairs = list(self._open)
        for pair in pairs:
            pair.end()
            if pair.half_open:
                self._drop(pair)
        for thread in list(self._threads):
            thread.join(JOIN_S)

    # What befalls it

    def cut(self) -> None:
        """Break all connections now; what was under way is lost. New ones may be made."""
        with self._lock:
            pairs = list(self._open)
        self.cuts += bool(pairs)
        for pair in pairs:
            pair.end()

    def cut_after(self, count: int) -> None:
        """Break all connections as soon as so many more bytes have crossed, and let no more by."""
        self._cut_after = self.bytes + count

    def shape(self, *, up: Line | None = None, down: Line | None = None) -> None:
        """Go on with other lines; connections that are open keep their buffers."""
        self._up.line = up or self._up.line
        self._down.line = down or self._down.line
        self._shape(self._listener)

    def cut_every(self, every_s: float) -> None:
        """From now on break all connections after each such time."""
        self._cut_every_s = every_s
        threading.Thread(target=self._cut_often, daemon=True).start()

    def swallow(self, *, up: bool = False, down: bool = False) -> None:
        """From now on what goes that way vanishes, and nobody is told."""
        self._up.swallows, self._down.swallows = up, down

    def forget(self) -> None:
        """Leave all connections half open: the site's ends are closed, who called is not told."""
        with self._lock:
            pairs = list(self._open)
        for pair in pairs:
            pair.leave_half_open()

    def idle(self) -> bool:
        """Nothing is connected."""
        with self._lock:
            return not self._open

    # Inside

    def _cut_often(self) -> None:
        assert self._cut_every_s is not None, "asked before"
        while not self._ended.wait(self._cut_every_s):
            self.cut()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return  # closed by `__exit__`
            threading.Thread(target=self._connect, args=(caller,), daemon=True).start()

    def _connect(self, caller: socket.socket) -> None:
        # The kernel has shaken hands at once; over the link it takes there and back.
        time.sleep(self._up.line.delay_s + self._down.line.delay_s)
        try:
            callee = socket.create_connection(("127.0.0.1", self.target_port))
        except OSError:
            caller.close()
            return
        for end in (caller, callee):
            # As on a link without a relay: small pieces leave at once.
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._shape(callee)
        pair = _Pair(caller, callee)
        with self._lock:
            self.connections += 1
            self._open.add(pair)
        for lane, source, target in ((self._up, caller, callee), (self._down, callee, caller)):
            thread = threading.Thread(
                target=self._pass, args=(lane, pair, source, target), daemon=True
            )
            self._threads.add(thread)
            thread.start()

    def _shape(self, end: socket.socket) -> None:
        rates = [lane.line.bytes_a_s for lane in (self._up, self._down)]
        thin = [rate for rate in rates if rate is not None]
        if thin:
            size = max(BUFFER_BYTES, round(max(thin) * BUFFER_S))
            for kind in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                end.setsockopt(socket.SOL_SOCKET, kind, size)

    def _pass(
        self, lane: "_Lane", pair: "_Pair", source: socket.socket, target: socket.socket
    ) -> None:
        late: queue.Queue[tuple[float, bytes]] = queue.Queue(IN_FLIGHT_MAX)
        threading.Thread(target=_deliver, args=(late, target, pair), daemon=True).start()
        with contextlib.suppress(OSError):
            while piece := source.recv(lane.piece_bytes):
                piece = self._before_the_cut(piece)
                if not piece:
                    continue
                due_s = lane.carry(piece)
                if pair.ended:
                    break
                if lane.swallows:
                    continue
                if due_s is None:
                    target.sendall(piece)
                else:
                    late.put((due_s, piece))
                if self._is_time_to_cut():
                    time.sleep(0 if due_s is None else max(0.0, due_s - time.monotonic()) + 0.01)
                    self._cut_now()
        late.put((time.monotonic() + lane.line.delay_s, b""))
        late.join()
        if not pair.half_open:
            pair.end()
        if pair.lane_ends() and not pair.half_open:
            self._drop(pair)

    def _drop(self, pair: "_Pair") -> None:
        pair.close()
        with self._lock:
            self._open.discard(pair)

    def _is_time_to_cut(self) -> bool:
        """To one lane alone."""
        with self._lock:
            due = not self._cutting and self._cut_after is not None
            due = due and self.bytes >= (self._cut_after or 0)
            self._cutting = self._cutting or due
            return due

    def _cut_now(self) -> None:
        with self._lock:
            for pair in self._open:
                pair.ended = True  # nothing more passes, also before its ends are shut
            self._cut_after, self._cutting = None, False
        self.cut()

    def _before_the_cut(self, piece: bytes) -> bytes:
        until = self._cut_after
        return piece if until is None else piece[: max(0, until - self.bytes)]


class _Lane:
    """A line with the time at which it is free again."""

    def __init__(self, relay: Relay, counter: str, line: Line) -> None:
        self.line = line
        self.swallows = False
        self._relay, self._counter = relay, counter
        self._free_s = 0.0
        self._lock = threading.Lock()

    @property
    def piece_bytes(self) -> int:
        rate = self.line.bytes_a_s
        return PIECE_BYTES if rate is None else max(1, int(rate * PIECE_S))

    def carry(self, piece: bytes) -> float | None:
        """Wait until the piece is on the line; when it arrives, None for now."""
        with self._lock:
            setattr(self._relay, self._counter, getattr(self._relay, self._counter) + len(piece))
            line, now_s = self.line, time.monotonic()
            if line.bytes_a_s is None:
                return now_s + line.delay_s if line.delay_s else None
            self._free_s = max(self._free_s, now_s) + len(piece) / line.bytes_a_s
            free_s = self._free_s
        time.sleep(max(0.0, free_s - now_s))
        return free_s + line.delay_s


class _Pair:
    """Both ends of one connection."""

    def __init__(self, caller: socket.socket, callee: socket.socket) -> None:
        self._caller, self._callee = caller, callee
        self.ended = self.half_open = False
        self._lanes = 2
        self._lock = threading.Lock()

    def lane_ends(self) -> bool:
        """Whether it was the last."""
        with self._lock:
            self._lanes -= 1
            return not self._lanes

    def close(self) -> None:
        for one in (self._caller, self._callee):
            one.close()

    def end(self) -> None:
        self.ended = True
        for one in (self._caller, self._callee):
            _shut(one)

    def leave_half_open(self) -> None:
        self.half_open = True
        _shut(self._callee)


def _deliver(late: "queue.Queue[tuple[float, bytes]]", target: socket.socket, pair: _Pair) -> None:
    while True:
        due_s, piece = late.get()
        time.sleep(max(0.0, due_s - time.monotonic()))
        with contextlib.suppress(OSError):
            if piece and not pair.ended:
                target.sendall(piece)
        late.task_done()
        if not piece:
            return


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
