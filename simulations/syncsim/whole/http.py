"""httpx over simulated connections: the client's own transport with another network below it.

Not covered: TLS. It draws entropy that cannot be handed in, so the handshake's bytes cross the
link (`links.HANDSHAKE_BYTES`), but nobody proves who answers; requests are signed as always.
"""

# ruff: noqa: ARG002  (httpcore hands in more than is needed here)

import math
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx
import trio

from syncnode.links.client import KEEP_ALIVE_S, POOL_LIMITS, WRITE_BYTES
from syncsim.whole.links import Links, Unreachable
from syncsim.whole.streams import SimStream, host_number

# httpcore wants one before it opens an https:// address; nothing is ever asked of it here.
_NO_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def sim_transport(links: Links, here: int) -> httpx.AsyncBaseTransport:
    """The transport of `syncnode.links.client` for one peer of the machine of that index."""
    transport = httpx.AsyncHTTPTransport(verify=_NO_CONTEXT, limits=POOL_LIMITS)
    assert isinstance(transport._pool, httpcore.AsyncConnectionPool), "as httpx 0.28 has it"
    # httpx lets nobody choose the network below it, httpcore does.
    transport._pool = httpcore.AsyncConnectionPool(
        ssl_context=_NO_CONTEXT,
        max_connections=POOL_LIMITS.max_connections,
        max_keepalive_connections=POOL_LIMITS.max_keepalive_connections,
        keepalive_expiry=None,  # reckoned in real time: see `_Stream.get_extra_info`
        network_backend=_Network(links, here),
    )
    return transport


class _Network(httpcore.AsyncNetworkBackend):
    """The network as httpcore asks for it."""

    def __init__(self, links: Links, here: int) -> None:
        self._links = links
        self._here = here

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                return _Stream(await self._links.connect(self._here, host_number(host)))
        except trio.TooSlowError as error:
            raise httpcore.ConnectTimeout(error) from error
        except Unreachable as error:
            raise httpcore.ConnectError(error) from error

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection as httpcore wants it. Head and body of a small request leave as one message,
    when the client begins to wait for the answer."""

    def __init__(self, stream: SimStream) -> None:
        self._stream = stream
        self._held = bytearray()
        self._torn = False  # a part of this request has left alone

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                if self._held:
                    await self._send()
                self._torn = False
                return await self._stream.receive_some(max_bytes)
        except trio.TooSlowError as error:
            raise httpcore.ReadTimeout(error) from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError(error) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._held += buffer
        if len(self._held) < WRITE_BYTES:
            return
        try:
            with trio.fail_after(math.inf if timeout is None else timeout):
                self._torn = True
                await self._send()
        except trio.TooSlowError as error:
            raise httpcore.WriteTimeout(error) from error
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(error) from error

    async def _send(self) -> None:
        held = bytes(self._held)
        self._held.clear()
        await self._stream.send_message(held, request=not self._torn)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        return self

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            # Of an idle connection httpcore asks this, and closes one that is readable. It would
            # ask the real clock how long one is idle, so that is answered here, too.
            return self._stream.readable or self._stream.idle_s > KEEP_ALIVE_S
        return None
