"""Who is near: a site announces itself on its LANs, and hears of others, by multicast DNS.

The service is `_syncnode._tcp.local.`, the name of an instance is the SiteId, and its TXT holds
the version of the protocol and the network's id; nothing of this is secret, and nothing of it is
believed: an announcement is an address to try (`neighbours.py`), and whether a site is there is
for exchanges to find out. IPv4 only.

zeroconf runs in a thread of its own. Its callbacks only put down a name and wake us; a task takes
the names up, so that neither waits for the other. The set of names is bounded, since anybody on a
LAN can announce anything.

An interface with a public address is never used, and what comes from a public address is not heard
(`near_only.py`). When our addresses change, or the machine has
slept, all begins anew: others then hear of us at once.
"""

import asyncio
import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from syncnode.links.near_only import hear_near_only
from syncnode.settings.lan_settings import Lan
from syncproto.errors import MalformedMessageError
from syncproto.identity import SiteId, site_from_text, site_text

logger = logging.getLogger(__name__)

SERVICE = "_syncnode._tcp.local."
TTL_S = 120  # a machine that crashed is taken for gone after that
CHECK_S = 3.0  # between two looks at our own addresses
RETRY_S = 30.0  # after multicast could not be used
START_S_MAX = 5.0
CLOSE_S_MAX = 3.0  # of the five seconds that ending may take
RESOLVE_MS = 1_500
NAMES_MAX = 512  # announcements heard of at a time; a LAN of 200 sites, and some strangers
ADDRESSES_MAX = 4  # of one announcement
SLEPT_S = 2.0


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a site says of itself.

    Attributes:
        host, port: Where it listens; no port for a site that only calls, and so only looks.
    """

    site: SiteId
    network: bytes
    version: int
    host: str = ""
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Sighting:
    """What somebody says of a site: unproven.

    Attributes:
        network: Empty if it does not say.
        version: Of its protocol; None if it does not say.
        urls: Private addresses where it is said to listen.
    """

    site: SiteId
    network: bytes
    version: int | None
    urls: tuple[str, ...]


Heard = Callable[[SiteId, Sighting | None], None]
"""Told of a site that is announced, or announced otherwise; None when it is gone."""


class Discover(Protocol):
    """Announces a site and tells of others, until it is cancelled."""

    async def __call__(
        self, announcement: Announcement, lan: Lan, heard: Heard, notice: Callable[[str], None], /
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Own:
    """An IPv4 address of this machine."""

    interface: str
    address: str


def own_addresses() -> list[Own]:
    """All IPv4 addresses of this machine; blocking."""
    import ifaddr

    return [
        Own(str(adapter.nice_name), str(ip.ip))
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if ip.is_IPv4
    ]


def usable(lan: Lan, found: Iterable[Own]) -> list[str]:
    """The addresses on whose LANs this site shows itself: never one beside a public one."""
    found = list(found)
    public = {own.interface for own in found if not is_near(own.address)}
    chosen = set()
    for own in found:
        named = own.interface in lan.interfaces or own.address in lan.interfaces
        loopback = ipaddress.IPv4Address(own.address).is_loopback
        wanted = named if lan.interfaces else not loopback
        if wanted and own.interface not in public:
            chosen.add(own.address)
    return sorted(chosen)


def is_near(address: str) -> bool:
    """Whether an address is private: one that is not, nobody on a LAN has."""
    ip = ipaddress.ip_address(address)
    return ip.is_private and not ip.is_multicast and not ip.is_unspecified


def announced_addresses(host: str, addresses: list[str]) -> list[str]:
    """Those at which a site that listens at `host` can be called."""
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        everywhere = False  # a name: whatever it stands for
    return addresses if everywhere else [one for one in addresses if one == host]


async def discover(
    announcement: Announcement, lan: Lan, heard: Heard, notice: Callable[[str], None]
) -> None:
    """`Discover` by zeroconf."""
    told = ""
    while True:
        addresses = await _look(lan)
        trouble = (
            ""
            if addresses
            else "no interface with a private address"
            + (f" among {', '.join(lan.interfaces)}" if lan.interfaces else "")
        )
        if addresses:
            browsing = _Browsing(announcement, addresses, heard)
            try:
                await browsing.run(lan, notice)
                told = ""
                continue
            except OSError as error:
                trouble = f"multicast cannot be used: {error.strerror or error}"
        if trouble != told:
            notice(f"LAN discovery waits: {trouble}")
            told = trouble
        await trio.sleep(RETRY_S if addresses else CHECK_S)


async def _look(lan: Lan) -> list[str]:
    return await trio.to_thread.run_sync(lambda: usable(lan, own_addresses()))


class _Names:
    """Names put down by zeroconf's thread, taken up by a task."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._lock = threading.Lock()
        self._names: set[str] = set()
        self._event = trio.Event()

    def put(self, name: str) -> None:
        """Called in zeroconf's thread; never waits."""
        with self._lock:
            if len(self._names) >= NAMES_MAX:
                return
            self._names.add(name)
        try:
            self._token.run_sync_soon(self._wake, idempotent=True)
        except trio.RunFinishedError:
            logger.debug("an announcement came after the end")

    def _wake(self) -> None:
        self._event.set()

    async def take(self) -> set[str]:
        """All names since the last time; waits for one."""
        await self._event.wait()
        with self._lock:
            self._event = trio.Event()
            names, self._names = self._names, set()
        return names


class _Browsing:
    """zeroconf on one set of our addresses."""

    def __init__(self, announcement: Announcement, addresses: list[str], heard: Heard) -> None:
        self._announcement = announcement
        self._addresses = addresses
        self._heard = heard
        self._names = _Names()
        self._seen: dict[str, SiteId] = {}
        self._zeroconf: Any = None
        self._browser: Any = None
        self._instance = f"{site_text(announcement.site)}.{SERVICE}"

    async def run(self, lan: Lan, notice: Callable[[str], None]) -> None:
        """Until our addresses change, or the machine has slept.

        Raises:
            OSError: Multicast cannot be used.
        """
        try:
            await trio.to_thread.run_sync(self._open)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._announce, notice)
                nursery.start_soon(self._tell)
                await self._until_changed(lan)
                nursery.cancel_scope.cancel()
        finally:
            for site in self._seen.values():
                self._heard(site, None)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S_MAX):
                await trio.to_thread.run_sync(self._close, abandon_on_cancel=True)

    def _open(self) -> None:
        from zeroconf import Error, IPVersion, ServiceBrowser, Zeroconf

        def on_change(name: str = "", **_: object) -> None:
            self._names.put(name)

        self._zeroconf = Zeroconf(interfaces=self._addresses, ip_version=IPVersion.V4Only)
        started = self._zeroconf.async_wait_for_start()
        try:
            asyncio.run_coroutine_threadsafe(started, self._zeroconf.loop).result(START_S_MAX)
        except Error as error:
            raise OSError(f"it does not start ({type(error).__name__})") from error
        for reader in self._zeroconf.engine.readers:
            hear_near_only(reader.sock)
        self._browser = ServiceBrowser(self._zeroconf, SERVICE, handlers=[on_change])

    def _close(self) -> None:
        if self._zeroconf is None:
            return
        try:
            if self._browser is not None:
                self._browser.cancel()  # its thread is not ended with the rest
            self._zeroconf.close()  # says goodbye for what is registered
        except Exception as error:
            # Its own kinds, and those of sockets whose address is gone: nothing is left to do.
            logger.info("LAN discovery did not end well: %s", error)

    async def _until_changed(self, lan: Lan) -> None:
        asleep_s = _asleep_s()
        while True:
            await trio.sleep(CHECK_S)
            if await _look(lan) != self._addresses:
                return
            if _asleep_s() - asleep_s > SLEPT_S:
                return

    # Announcing

    async def _announce(self, notice: Callable[[str], None]) -> None:
        told = ""
        while trouble := await trio.to_thread.run_sync(self._register):
            if trouble != told:
                notice(trouble)
                told = trouble
            await trio.sleep(RETRY_S)

    def _register(self) -> str:
        """Announce this site; a sentence if it cannot be now."""
        from zeroconf import Error, NonUniqueNameException, ServiceInfo

        mine = self._announcement
        addresses = announced_addresses(mine.host, self._addresses)
        if mine.port is None or not addresses:
            return ""
        info = ServiceInfo(
            SERVICE,
            self._instance,
            port=mine.port,
            properties={"v": str(mine.version), "network": mine.network.hex()},
            server=f"{site_text(mine.site)}.local.",
            parsed_addresses=addresses,
            host_ttl=TTL_S,
            other_ttl=TTL_S,
        )
        try:
            self._zeroconf.register_service(info)
        except NonUniqueNameException:
            return (
                "another machine on the LAN announces itself as this site: a copy of it, or "
                "somebody who pretends; this one is not announced meanwhile"
            )
        except (Error, OSError) as error:
            return f"this site cannot be announced on the LAN now: {error or type(error).__name__}"
        return ""

    # Hearing

    async def _tell(self) -> None:
        while True:
            for name in await self._names.take():
                site = _site_of(name)
                if site is None or site == self._announcement.site:
                    continue
                sighting = await trio.to_thread.run_sync(
                    self._resolved, name, site, abandon_on_cancel=True
                )
                if sighting is None:
                    self._seen.pop(name, None)
                else:
                    self._seen[name] = site
                self._heard(site, sighting)

    def _resolved(self, name: str, site: SiteId) -> Sighting | None:
        """What is announced under a name now; None for nothing any more."""
        from zeroconf import IPVersion, ServiceInfo

        info = ServiceInfo(SERVICE, name)
        if not info.request(self._zeroconf, RESOLVE_MS) or not info.port:
            return None
        said = info.decoded_properties
        loopback = any(ipaddress.ip_address(one).is_loopback for one in self._addresses)
        addresses = [
            address
            for address in info.parsed_addresses(IPVersion.V4Only)
            if is_near(address) and (loopback or not ipaddress.ip_address(address).is_loopback)
        ]
        urls = tuple(f"https://{address}:{info.port}" for address in addresses[:ADDRESSES_MAX])
        return Sighting(site, _hex(said.get("network")), _number(said.get("v")), urls)


def _site_of(name: str) -> SiteId | None:
    """The site that an instance is named after."""
    try:
        return site_from_text(name.removesuffix("." + SERVICE))
    except MalformedMessageError:
        return None


def _hex(text: str | None) -> bytes:
    try:
        return bytes.fromhex(text or "")[:64]
    except ValueError:
        return b""


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 6 else None


def _asleep_s() -> float:
    """For how long this machine has slept since it began, where the system tells."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(clock) - time.monotonic() if clock is not None else 0.0
