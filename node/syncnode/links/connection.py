"""One connection of the server: HTTP/1.1 requests one after the other, over any trio stream.

h11 reads and writes HTTP. What h11 leaves open is decided here: a message with both kinds of
length is refused (request smuggling), `100 Continue` is sent when the application begins to
read, an error answer is followed by a short read of what the client still sends (otherwise the
kernel resets the connection and the client never sees the answer).

Everything that waits for the client has a deadline and every input a bound. Only the application
may take as long as it likes: a request that waits for changes is answered when there are some;
while it waits we watch the connection, and when the client hangs up its task is cancelled. A
client that closes only its sending half has hung up, too.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

import h11
import trio

from syncnode.links.pieces import piece_bytes

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

logger = logging.getLogger(__name__)

READ_BYTES = 64 * 1024
# What a client may send ahead while its request is answered; then we stop to watch it.
AHEAD_BYTES_MAX = 64 * 1024
LINGER_S = 1.0
LINGER_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Every bound of the server. Times are in seconds.

    The defaults suit a link of 1 kbit/s with 600 ms of delay, where a handshake takes 9 s, so
    they are generous; what a stranger can hold is bounded by the number of connections.

    Attributes:
        head_bytes_max: Request line and headers, and trailers.
        body_bytes_max: One request body.
        connections_max, connections_per_address_max: Open at once; more are closed unheard.
        handshake_s: The whole TLS handshake.
        head_s: From the first byte of a request to the end of its headers.
        body_read_s: The longest silence within a body.
        write_s: The longest stop while we write, beside what a piece takes at `write_rate_min`.
        write_rate_min: The slowest link we still write to, in bytes a second.
        first_s: The longest silence before a first request that is answered well.
        keep_alive_s: And after one: longer than sites wait between two calls, since a handshake
            takes 9 s on such a link. The system asks meanwhile whether the client is there.
        grace_s: How long requests under way may go on after the shutdown began.
    """

    head_bytes_max: int = 16 * 1024
    body_bytes_max: int = 16 * 1024 * 1024
    connections_max: int = 600  # two for each child of a large hub
    connections_per_address_max: int = 128  # sites of a country may share an address
    handshake_s: float = 30.0
    head_s: float = 30.0
    body_read_s: float = 30.0
    write_s: float = 30.0
    write_rate_min: float = 100.0
    first_s: float = 60.0
    keep_alive_s: float = 3600.0
    grace_s: float = 3.0


DEFAULT_LIMITS = ServerLimits()


class Shared:
    """What the connections of one server share.

    Attributes:
        draining: The server is ending: no connection takes another request.
    """

    def __init__(self, app: Application, limits: ServerLimits) -> None:
        self.app = app
        self.limits = limits
        self.draining = False
        self._idle: set[trio.CancelScope] = set()

    def drain(self) -> None:
        """From now on, end each connection as soon as no request is under way on it."""
        self.draining = True
        for scope in self._idle:
            scope.cancel()

    @contextmanager
    def idle(self, deadline_s: float) -> Iterator[trio.CancelScope]:
        """A wait that the draining ends: no request is lost by it."""
        with trio.move_on_after(deadline_s) as scope:
            self._idle.add(scope)
            if self.draining:
                scope.cancel()
            try:
                yield scope
            finally:
                self._idle.discard(scope)


class _HungUpError(Exception):
    """The client is gone or does not take what we write; nothing more can be said to it."""


@dataclass(slots=True)
class _Refusal:
    status: int
    text: str


@dataclass(slots=True)
class _Exchange:
    """One request and its response, as they stand.

    Attributes:
        body_read: Set when the application has received the whole body.
        refusal: What to answer in the application's place.
        hung_up: The client is gone.
        responded: The application has sent its response's start, not yet written.
        started: Something of a response was written.
        complete: The whole response was written.
    """

    request: h11.Request
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    body_bytes: int = 0
    body_read: trio.Event = field(default_factory=trio.Event)
    refusal: _Refusal | None = None
    hung_up: bool = False
    responded: Message | None = None
    started: bool = False
    complete: bool = False


class Connection:
    """One connection: requests one after the other, until either side is done with it."""

    def __init__(
        self,
        shared: Shared,
        stream: trio.abc.Stream,
        *,
        scheme: str,
        client: tuple[str, int] | None,
        local: tuple[str, int] | None,
    ) -> None:
        self._shared = shared
        self._limits = shared.limits
        self._stream = stream
        self._scheme = scheme
        self._client = client
        self._local = local
        self._welcome = False  # a request on it was answered well: no stranger holds it
        self._http = h11.Connection(
            h11.SERVER, max_incomplete_event_size=shared.limits.head_bytes_max
        )

    async def run(self) -> None:
        try:
            while await self._serve_one():
                self._http.start_next_cycle()
        except (_HungUpError, trio.BrokenResourceError, trio.ClosedResourceError):
            logger.debug("the client %s hung up", self._client)

    # --- One request ---

    async def _serve_one(self) -> bool:
        """Answer the next request; whether another one may follow."""
        try:
            request = await self._next_request()
        except h11.RemoteProtocolError as error:
            await self._refuse(_refusal_for(error))
            return False
        if request is None:
            return False
        refusal = self._refusal_of_head(request)
        if refusal is not None:
            await self._refuse(refusal)
            return False
        exchange = _Exchange(request)
        await self._run_application(exchange)
        if exchange.hung_up:
            return False
        if not exchange.complete:
            if not exchange.started:
                await self._refuse(
                    exchange.refusal or _Refusal(500, "the server failed on this request")
                )
            # Otherwise closing in the middle is how HTTP says that a response is incomplete.
            return False
        if not exchange.body_read.is_set():
            await self._linger()
            return False
        assert exchange.responded is not None, "it is complete"
        self._welcome = self._welcome or exchange.responded["status"] == 200
        # Otherwise MUST_CLOSE: either side asked for it.
        states = (self._http.our_state, self._http.their_state)
        return states == (h11.DONE, h11.DONE)

    async def _next_request(self) -> h11.Request | None:
        """The next request's head, or None at the end of the connection."""
        limits = self._limits
        fresh = self._http.trailing_data == (b"", False)
        silence_s = limits.keep_alive_s
        if not self._welcome:
            silence_s = min(silence_s, limits.first_s)
        with self._shared.idle(silence_s if fresh else limits.head_s) as scope:
            while True:
                event = self._http.next_event()
                if isinstance(event, h11.Request):
                    return event
                if event is not h11.NEED_DATA:
                    return None  # closed, or it wants to speak something that is not HTTP
                data = await self._read()
                if not data:
                    return None
                self._http.receive_data(data)
                if fresh:
                    fresh = False
                    scope.deadline = trio.current_time() + limits.head_s
        return None

    def _refusal_of_head(self, request: h11.Request) -> _Refusal | None:
        lengths = {name: value for name, value in request.headers if name in _LENGTH_HEADERS}
        if len(lengths) == 2:
            return _Refusal(400, "content-length and transfer-encoding exclude each other")
        if int(lengths.get(b"content-length", b"0")) > self._limits.body_bytes_max:
            return self._too_long()
        return None

    def _too_long(self) -> _Refusal:
        return _Refusal(413, f"a body may have {self._limits.body_bytes_max} bytes at most")

    # --- The application, and the watch beside it ---

    async def _run_application(self, exchange: _Exchange) -> None:
        async with trio.open_nursery() as nursery:
            exchange.scope = nursery.cancel_scope
            nursery.start_soon(self._watch, exchange)
            try:
                await self._shared.app(
                    self._scope(exchange.request),
                    partial(self._receive, exchange),
                    partial(self._send, exchange),
                )
            except Exception:
                logger.exception("the application failed on a request")
            nursery.cancel_scope.cancel()

    async def _watch(self, exchange: _Exchange) -> None:
        """End the application when the client hangs up while it is being answered."""
        await exchange.body_read.wait()
        ahead_bytes = 0
        while ahead_bytes < AHEAD_BYTES_MAX:
            try:
                data = await self._read()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            if not data:
                await self._give_up(exchange, None)
            self._http.receive_data(data)  # the next request, sent ahead
            ahead_bytes += len(data)

    async def _receive(self, exchange: _Exchange) -> Message:
        """ASGI's `receive`: the body as it arrives, then `http.disconnect`."""
        if exchange.body_read.is_set():
            # The watch cancels this when the client hangs up, so nobody returns from here.
            await trio.sleep_forever()
        if self._http.they_are_waiting_for_100_continue:
            try:
                await self._write(h11.InformationalResponse(status_code=100, headers=[]))
            except _HungUpError:
                await self._give_up(exchange, None)
        with trio.move_on_after(self._limits.body_read_s):
            try:
                return await self._next_body_message(exchange)
            except h11.RemoteProtocolError as error:
                await self._give_up(exchange, _refusal_for(error))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                await self._give_up(exchange, None)
        return await self._give_up(
            exchange, _Refusal(408, "the rest of the body did not come in time")
        )

    async def _next_body_message(self, exchange: _Exchange) -> Message:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                data = await self._read()
                if not data:
                    await self._give_up(exchange, None)
                self._http.receive_data(data)
            elif isinstance(event, h11.Data):
                exchange.body_bytes += len(event.data)
                if exchange.body_bytes > self._limits.body_bytes_max:
                    await self._give_up(exchange, self._too_long())
                return {"type": "http.request", "body": bytes(event.data), "more_body": True}
            else:
                assert isinstance(event, h11.EndOfMessage)
                exchange.body_read.set()
                return {"type": "http.request", "body": b"", "more_body": False}

    async def _give_up(self, exchange: _Exchange, refusal: _Refusal | None) -> NoReturn:
        """End the application, whatever it would make of an exception; None: the client is gone.

        It is cancelled, so nobody returns from here.
        """
        exchange.refusal = refusal
        exchange.hung_up = refusal is None
        exchange.scope.cancel()
        await trio.sleep_forever()

    async def _send(self, exchange: _Exchange, message: Message) -> None:
        """ASGI's `send`. The start waits for the first body, so that it can state the length."""
        if message["type"] == "http.response.start":
            assert exchange.responded is None, "a response starts once"
            exchange.responded = message
            return
        assert message["type"] == "http.response.body", message["type"]
        assert exchange.responded is not None, "a response starts before its body"
        assert not exchange.complete, "the response is complete"
        body = bytes(message.get("body", b""))
        more_body = bool(message.get("more_body", False))
        if not exchange.started:
            exchange.started = True
            headers = [(bytes(name), bytes(value)) for name, value in exchange.responded["headers"]]
            if not more_body and not any(name in _LENGTH_HEADERS for name, _ in headers):
                headers.append((b"content-length", b"%d" % len(body)))
            if self._shared.draining or not exchange.body_read.is_set():
                headers.append((b"connection", b"close"))
            head = self._http.send(
                h11.Response(status_code=exchange.responded["status"], headers=headers)
            )
            assert head is not None
            # Head and body leave in one piece: one TLS record, and mostly one packet.
            data = head + self._framed(exchange, body, more_body)
        else:
            data = self._framed(exchange, body, more_body)
        try:
            await self._write_bytes(data)
        except _HungUpError:
            await self._give_up(exchange, None)
        if not more_body:
            exchange.complete = True

    def _framed(self, exchange: _Exchange, body: bytes, more_body: bool) -> bytes:
        if exchange.request.method == b"HEAD":
            body = b""  # its answer only says how long it would be
        framed = self._http.send(h11.Data(data=body)) if body else b""
        if not more_body:
            framed = (framed or b"") + (self._http.send(h11.EndOfMessage()) or b"")
        return framed or b""

    def _scope(self, request: h11.Request) -> dict[str, Any]:
        target = request.target
        if not target.startswith((b"/", b"*")):
            # The form for proxies, `http://host/path`: what counts is the path.
            target = b"/" + b"/".join(target.split(b"/")[3:])
        raw_path, _, query = target.partition(b"?")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode("ascii"),
            "method": request.method.decode("ascii"),
            "scheme": self._scheme,
            "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": list(request.headers),
            "client": self._client,
            "server": self._local,
        }

    # --- Reading and writing ---

    async def _read(self) -> bytes:
        return bytes(await self._stream.receive_some(READ_BYTES))

    async def _refuse(self, refusal: _Refusal) -> None:
        """Say no on our own account, and read on a little, so that the answer arrives."""
        body = (refusal.text + "\n").encode("utf-8")
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        await self._write(h11.Response(status_code=refusal.status, headers=headers))
        await self._write(h11.Data(data=body))
        await self._write(h11.EndOfMessage())
        await self._linger()

    async def _linger(self) -> None:
        with trio.move_on_after(LINGER_S):
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            read_bytes = 0
            while read_bytes < LINGER_BYTES_MAX:
                data = await self._read()
                if not data:
                    return
                read_bytes += len(data)

    async def _write(self, event: h11.Event) -> None:
        await self._write_bytes(self._http.send(event) or b"")

    async def _write_bytes(self, data: bytes) -> None:
        view, began_s, start = memoryview(data), trio.current_time(), 0
        while start < len(view):
            piece = view[start : start + piece_bytes(start, trio.current_time() - began_s)]
            start += len(piece)
            allowed_s = self._limits.write_s + len(piece) / self._limits.write_rate_min
            with trio.move_on_after(allowed_s) as scope:
                try:
                    await self._stream.send_all(piece)
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    raise _HungUpError from error
            if scope.cancelled_caught:
                raise _HungUpError


_LENGTH_HEADERS = (b"content-length", b"transfer-encoding")


def _refusal_for(error: h11.RemoteProtocolError) -> _Refusal:
    return _Refusal(error.error_status_hint, "this is not a well-formed HTTP request")
