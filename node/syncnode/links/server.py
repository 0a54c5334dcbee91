"""The serving end of the wire: one bare ASGI application over TLS, on trio.

It exists because the trio-native servers there are cannot be stopped while a client stalls:
they write without a deadline in a shielded scope, so one dead peer holds a task, and what it
holds of the database, for ever. Here nothing is shielded and everything that waits for the
other side has a deadline (`connection.py`), so `serve` ends in time whatever clients do.

Not here: HTTP/2, WebSockets, lifespan.
"""

import errno
import logging
import ssl
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio
from cryptography.hazmat.primitives import serialization

from syncnode.identity.credentials import SiteKey, certificate_of
from syncnode.links.connection import DEFAULT_LIMITS, Application, Connection, ServerLimits, Shared
from syncnode.links.sockets import KEEP_ALIVE_OPTIONS
from syncproto.errors import ConfigError

__all__ = [
    "DEFAULT_LIMITS",
    "Application",
    "ServerLimits",
    "serve",
    "serve_stream",
    "server_context",
]

BACKLOG = 128  # connections that wait to be taken

logger = logging.getLogger(__name__)

Listen = Callable[[str, int], Awaitable[Sequence[Any]]]
"""Opens listeners at a host and port: `trio.SocketListener`, or what acts as one."""


def server_context(key: SiteKey) -> ssl.SSLContext:
    """TLS 1.3 with a certificate made of the site's key, without session tickets.

    Without tickets a handshake costs 867 bytes; a resumed one would cost more (the key is
    small), and a ticket is sent with every connection.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    # OpenSSL takes the key only from a file. It is written encrypted under a password that
    # exists only here, so a crash right now leaves nothing behind that could be used.
    password = ssl.RAND_bytes(32).hex().encode("ascii")
    pem = key.private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )
    with tempfile.TemporaryDirectory(prefix="syncnode-") as folder:
        path = Path(folder, "site.pem")
        path.write_bytes(pem + certificate_of(key))
        context.load_cert_chain(path, password=password)
    return context


async def listen_tcp(host: str, port: int) -> list[trio.SocketListener]:
    """
    Raises:
        ConfigError: The address cannot be listened on.
    """
    with _listening(host, port):
        return await trio.open_tcp_listeners(port, host=host)


async def listen_together(host: str, port: int) -> list[trio.SocketListener]:
    """Listen beside other processes of this user at the same address; the system gives each
    connection to one of them.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    listeners: list[trio.SocketListener] = []
    with _listening(host, port):
        found = await trio.socket.getaddrinfo(
            host, port, type=trio.socket.SOCK_STREAM, flags=trio.socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in found:
            socket = trio.socket.socket(family, kind, protocol)
            try:
                if family == trio.socket.AF_INET6:
                    socket.setsockopt(trio.socket.IPPROTO_IPV6, trio.socket.IPV6_V6ONLY, 1)
                for option in (trio.socket.SO_REUSEADDR, trio.socket.SO_REUSEPORT):
                    socket.setsockopt(trio.socket.SOL_SOCKET, option, 1)
                await socket.bind(address)
                socket.listen(BACKLOG)
            except BaseException:
                socket.close()
                for listener in listeners:
                    listener.socket.close()
                raise
            listeners.append(trio.SocketListener(socket))
    return listeners


@contextmanager
def _listening(host: str, port: int) -> Iterator[None]:
    """Says what an address cannot be listened on for."""
    try:
        yield
    except OSError as error:
        where = f"{host}:{port}"
        if error.errno == errno.EADDRINUSE:
            text = (
                f"cannot listen on {where}: another program uses that port; end it, or set "
                "another port in `listen`"
            )
        elif error.errno == errno.EACCES:
            text = (
                f"cannot listen on {where}: the system does not let this user; set a port "
                "above 1023 in `listen`"
            )
        else:
            text = (
                f"cannot listen on {where}: {error.strerror or error}; set an address of this "
                "machine in `listen`, such as 127.0.0.1:8470"
            )
        raise ConfigError(text) from error


async def serve(
    app: Application,
    *,
    host: str,
    port: int,
    ssl_context: ssl.SSLContext | None,
    limits: ServerLimits = DEFAULT_LIMITS,
    listen: Listen = listen_tcp,
    shutdown: trio.Event | None = None,
    task_status: trio.TaskStatus[list[tuple[str, int]]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer requests with `app` until `shutdown` is set, or until cancelled.

    `task_status` reports the bound addresses once connections are accepted. After `shutdown`
    no new connection is accepted, idle ones are closed, requests under way may end within
    `limits.grace_s`; then all are cut and this returns. Being cancelled cuts all at once.

    Args:
        ssl_context: From `server_context`; None serves plain HTTP, which is for tests.
        listen: Opens the listeners.

    Raises:
        ConfigError: The address cannot be listened on.
    """
    shared = Shared(app, limits)
    server = _Server(shared, ssl_context)
    listeners = list(await listen(host, port))
    async with trio.open_nursery() as connections:
        async with trio.open_nursery() as accepting:
            accepting.start_soon(
                partial(
                    trio.serve_listeners,
                    server.handle,
                    listeners,
                    handler_nursery=connections,
                )
            )
            task_status.started([listener.socket.getsockname()[:2] for listener in listeners])
            if shutdown is None:
                await trio.sleep_forever()
            else:
                await shutdown.wait()
            accepting.cancel_scope.cancel()
        shared.drain()
        connections.cancel_scope.deadline = trio.current_time() + limits.grace_s


async def serve_stream(
    app: Application,
    stream: trio.abc.Stream,
    *,
    limits: ServerLimits = DEFAULT_LIMITS,
    client: tuple[str, int] | None = None,
) -> None:
    """Answer the requests that arrive on one connected stream, such as a simulated one."""
    shared = Shared(app, limits)
    await Connection(shared, stream, scheme="http", client=client, local=None).run()


class _Server:
    """Admits connections, secures them and guards the server against what happens on them."""

    def __init__(self, shared: Shared, ssl_context: ssl.SSLContext | None) -> None:
        self._shared = shared
        self._limits = shared.limits
        self._ssl_context = ssl_context
        self._connections_by_address: Counter[str] = Counter()

    async def handle(self, transport: trio.SocketStream) -> None:
        """Serve one connection. No exception leaves: it would end the server."""
        try:
            await self._handle(transport)
        except Exception:
            logger.exception("a connection ended by an error of ours; the server goes on")

    async def _handle(self, transport: trio.SocketStream) -> None:
        async with transport:
            try:
                client = transport.socket.getpeername()[:2]
                local = transport.socket.getsockname()[:2]
            except OSError:
                return  # gone already
            for option in KEEP_ALIVE_OPTIONS:
                transport.socket.setsockopt(*option)
            with self._counted(client[0]) as admitted:
                if not admitted:
                    logger.info("closed a connection from %s: too many are open", client[0])
                    return
                stream = await self._secured(transport)
                if stream is None:
                    return
                scheme = "http" if self._ssl_context is None else "https"
                async with stream:
                    await Connection(
                        self._shared, stream, scheme=scheme, client=client, local=local
                    ).run()

    @contextmanager
    def _counted(self, address: str) -> Iterator[bool]:
        counts = self._connections_by_address
        if (
            counts.total() >= self._limits.connections_max
            or counts[address] >= self._limits.connections_per_address_max
        ):
            yield False
            return
        counts[address] += 1
        try:
            yield True
        finally:
            counts[address] -= 1
            if not counts[address]:
                del counts[address]

    async def _secured(self, transport: trio.SocketStream) -> trio.abc.Stream | None:
        if self._ssl_context is None:
            return transport
        stream = trio.SSLStream(
            transport, self._ssl_context, server_side=True, https_compatible=True
        )
        with self._shared.idle(self._limits.handshake_s):
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError:
                return None  # not TLS, not TLS 1.3, or gone
            return stream
        return None
