"""The ports of a node: all that it has of the world around it, in one value.

Each port has the real thing as its default, so `Ports()` is what the daemon runs with. Whoever
hands in others, as the simulator does, runs everything above them as it is shipped.
"""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import httpx
import trio

from syncnode.identity.credentials import SiteKey
from syncnode.links.client import pinned_transport
from syncnode.links.exchange import Exchanger
from syncnode.links.lan import Discover, discover
from syncnode.links.server import Listen, listen_tcp, listen_together, server_context
from syncnode.links.watcher import OnPulse, watch
from syncnode.machine import THIS_MACHINE, Machine
from syncnode.serve_lock import ServeLock, serve_lock
from syncnode.store.database import Database
from syncproto.identity import SiteId

T = TypeVar("T")


class RunBlocking(Protocol):
    """Runs work that blocks, so that the event loop goes on, one piece at a time a limiter."""

    async def __call__(
        self, work: Callable[[], T], /, *, limiter: trio.CapacityLimiter | None = None
    ) -> T: ...


async def in_thread(work: Callable[[], T], /, *, limiter: trio.CapacityLimiter | None = None) -> T:
    """Runs the work in a thread."""
    return await trio.to_thread.run_sync(work, limiter=limiter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What a node is run with.

    Attributes:
        machine: Clock and chance.
        run_blocking: Runs all work on the database and its files.
        lock: The lock that keeps a second daemon from this database.
        lock_check_s: Between two looks whether it is still ours.
        watch: Tells what others did to the database.
        exchanger: Makes the exchanger of a replica; takes what `Exchanger` takes.
        transport: Makes the connections to a site.
        listen: Opens listeners.
        listen_together: The same, beside other processes of this site.
        server_context: How what listens proves who it is; None for not at all.
        discover: Announces a site on its LANs and tells who else is there.
    """

    machine: Machine = THIS_MACHINE
    run_blocking: RunBlocking = in_thread
    lock: Callable[[Database], ServeLock] = serve_lock
    lock_check_s: float = 5.0
    watch: Callable[[Database, OnPulse], Awaitable[None]] = watch
    exchanger: Callable[..., Exchanger] = Exchanger
    transport: Callable[[SiteId], httpx.AsyncBaseTransport] = pinned_transport
    listen: Listen = listen_tcp
    listen_together: Listen = listen_together
    server_context: Callable[[SiteKey], ssl.SSLContext | None] = server_context
    discover: Discover = discover


REAL = Ports()
