"""A real server on a real port of this machine, and raw connections to it."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from syncnode.identity.credentials import SiteKey, site_id_of_key
from syncnode.links.client import PeerAddress
from syncnode.links.server import ServerLimits, serve, server_context

HOST = "127.0.0.1"


def new_key() -> SiteKey:
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    return SiteKey(private, public, site_id_of_key(public))


@dataclass
class Running:
    """A server under test.

    Attributes:
        ended: Set when `serve` has returned.
    """

    port: int
    shutdown: trio.Event
    cancel_scope: trio.CancelScope
    ended: trio.Event = field(default_factory=trio.Event)

    def address_of(self, key: SiteKey) -> PeerAddress:
        return PeerAddress(key.site, f"https://{HOST}:{self.port}")


@asynccontextmanager
async def serving(
    app: Any, *, key: SiteKey | None = None, port: int = 0, **limits: Any
) -> AsyncIterator[Running]:
    """Serve `app`, over TLS when there is a key; cut everything at the end."""
    context = None if key is None else server_context(key)
    async with trio.open_nursery() as nursery:
        shutdown = trio.Event()
        run = partial(
            serve,
            app,
            host=HOST,
            port=port,
            ssl_context=context,
            limits=ServerLimits(**limits),
            shutdown=shutdown,
        )

        async def run_to_its_end(
            task_status: trio.TaskStatus[list[tuple[str, int]]] = trio.TASK_STATUS_IGNORED,
        ) -> None:
            with trio.CancelScope() as scope:
                running.append(Running(0, shutdown, scope))
                await run(task_status=task_status)
            running[0].ended.set()

        running: list[Running] = []
        [(_, bound)] = await nursery.start(run_to_its_end)
        running[0].port = bound
        yield running[0]
        nursery.cancel_scope.cancel()


async def connect(server: Running) -> trio.SocketStream:
    return await trio.open_tcp_stream(HOST, server.port)


async def connect_tls(server: Running) -> trio.SSLStream[trio.SocketStream]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    transport = await connect(server)
    stream = trio.SSLStream(transport, context, https_compatible=True)
    await stream.do_handshake()
    return stream


async def read_to_end(stream: trio.abc.ReceiveStream) -> bytes:
    data = bytearray()
    with trio.fail_after(5):
        try:
            while chunk := await stream.receive_some(65536):
                data += chunk
        except trio.BrokenResourceError:
            data += b"<reset>"
    return bytes(data)


async def spoken(server: Running, *sent: bytes) -> bytes:
    """What the server says to these bytes before it closes the connection."""
    async with await connect(server) as stream:
        for piece in sent:
            try:
                await stream.send_all(piece)
            except trio.BrokenResourceError:
                break
        return await read_to_end(stream)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
