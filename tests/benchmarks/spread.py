"""L5 and L6: how fast a change spreads through a tree, and what it costs a hub of many."""

import random
import statistics
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from benchmarks import rows
from benchmarks.engines import Engine
from benchmarks.pair import Site, beside, free_port
from benchmarks.processes import cpu_s
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from syncnode.identity.credentials import SiteKey, load_key, site_id_of_key
from syncnode.links.client import PeerAddress, PeerClient
from syncnode.links.exchange import Exchanger, News, in_place
from syncnode.links.peers import Peer, put_peer
from syncnode.machine import THIS_MACHINE
from syncnode.settings.config import read_settings
from syncnode.store.database import Database
from syncproto.identity import Origin, RowKey
from syncproto.memory import MemoryReplica

if TYPE_CHECKING:
    from benchmarks.workloads import Sizes, Table

CHANGES = 100
GAP_S = 0.1
CHANGE_EVERY_S, CHANGES_SEEN = 0.5, 40  # one at a time: what a change takes, not a stream of them
ARRIVE_S_MAX = 60.0
CHILDREN = (10, 200)
CHILDREN_PER_ADDRESS = 20
WAIT_MS = 25_000


# L5


def hops(engine: Engine, folder: Path, sizes: "Sizes", table: "Table") -> None:
    """L5: a grandchild writes; until another grandchild shows it, three sites pass it on."""
    with ExitStack() as stack:
        made = [_site(stack, engine, folder, name) for name in ("root", "p1", "p2", "g1", "g2")]
        root, *parents, one, other = made
        for child, parent in zip((*parents, one, other), (root, root, *parents), strict=True):
            if parent.running:
                _join(parent, child)
            else:
                raise RuntimeError("parents run before their children join")
        from benchmarks.workloads import delays_ms

        count = min(CHANGES_SEEN, max(2, sizes.trickle))
        found = delays_ms(one.store, other.store, rows.persons(count), gap_s=CHANGE_EVERY_S)
        cuts = statistics.quantiles(found, n=100, method="inclusive")
        table.put("L5", "grandchild to grandchild, p50", cuts[49], "ms", 300)
        table.put("L5", "grandchild to grandchild, p99", cuts[98], "ms", 1000)


def _site(stack: ExitStack, engine: Engine, folder: Path, name: str) -> Site:
    folder.mkdir(parents=True, exist_ok=True)
    site = beside(engine.create(name), folder, name, free_port(), named=name)
    stack.callback(site.store.close)
    stack.callback(site.stop)
    if name == "root":
        site.start(idle=False)
    return site


def _join(parent: Site, child: Site) -> None:
    url = f"https://127.0.0.1:{parent.port}"
    token = parent.command("invite", child.config.parent.name, "--url", url).out.strip()
    child.command("join", token, "--yes")
    child.start(idle=False)


# L6


def hub(engine: Engine, folder: Path, sizes: "Sizes", table: "Table") -> None:
    """L6: ten changes a second, each from some child, to all others."""
    spent: dict[int, float] = {}
    for count in CHILDREN:
        children = count if sizes.rows >= 10_000 else min(count, 3)
        changes = min(CHANGES, max(2, sizes.trickle))
        hub_s, wall_s = _around_a_hub(engine, folder / str(count), children, changes)
        spent[count] = 1000 * hub_s / (changes * children)
        table.put("L6", f"{count} children, CPU a change and child", spent[count], "ms")
        table.put("L6", f"{count} children, CPU of the hub", 100 * hub_s / wall_s, "%")
        table.put("L6", f"{count} children, until all hold all", wall_s, "s")
    few, many = (spent[count] for count in CHILDREN)
    table.ratio("L6", f"a change and child, {CHILDREN[1]} / {CHILDREN[0]}", many, few)


def _around_a_hub(engine: Engine, folder: Path, children: int, changes: int) -> tuple[float, float]:
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    site = beside(engine.create(f"hub{children}"), folder, "hub", port, named="hub")
    keys = [_key() for _ in range(children)]
    settings = read_settings(site.config)
    database = Database(settings.database)
    with database.write() as tx:
        for number, key in enumerate(keys):
            put_peer(tx, Peer(key.site, f"c{number}", "child", "", key.public))
        network = bytes.fromhex(tx.value("SELECT value FROM syncnode_setting WHERE name='network'"))
    database.close()
    site.start()
    try:
        hub_site = load_key(settings.key).site
        address = PeerAddress(hub_site, f"https://127.0.0.1:{port}")
        return trio.run(_spread, site.pid, address, keys, network, changes)
    finally:
        site.stop()
        site.store.close()


def _key() -> SiteKey:
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes_raw()
    return SiteKey(private, public, site_id_of_key(public))


class _Child:
    """A child in this process: a replica in memory, and the requests of a real one."""

    def __init__(self, key: SiteKey, client: PeerClient, hub: PeerAddress, network: bytes) -> None:
        self.replica = MemoryReplica(
            Origin(key.site, 1),
            rows.COLUMNS,
            network=network,
            wall_ms=THIS_MACHINE.wall_ms,
            nonce=THIS_MACHINE.nonce,
        )
        self._hub = hub

        async def post(_: object, body: bytes, *, timeout_s: float) -> bytes:
            return await client.post(hub, "/exchange", body, timeout_s=timeout_s)

        self.exchanger = Exchanger(
            self.replica,
            name="child",
            in_database=in_place,
            post=post,
            news=News(),
            wall_ms=THIS_MACHINE.wall_ms,
            wait_ms_max=WAIT_MS,
            skew_ms_max=300_000,
        )

    async def listen(self) -> None:
        while True:
            await self.exchanger.call(self._hub.site, wait_ms=WAIT_MS)

    async def write(self, number: int) -> None:
        key = uuid.uuid4()
        values = {"uuid": str(key), "gender": "F", "creator": number, "dead": 0, "voided": 0}
        self.replica.write("person", RowKey(key.bytes), values)
        await self.exchanger.call(self._hub.site)


async def _spread(
    pid: int, hub: PeerAddress, keys: list[SiteKey], network: bytes, changes: int
) -> tuple[float, float]:
    draw = random.Random("children")
    async with AsyncExitStack() as stack:
        children = []
        for number, key in enumerate(keys):
            address = f"127.0.0.{2 + number // CHILDREN_PER_ADDRESS}"
            client = PeerClient(key, transport=_from(address))
            await stack.enter_async_context(client)
            children.append(_Child(key, client, hub, network))
        async with trio.open_nursery() as nursery:
            for child in children:
                await child.exchanger.call(hub.site)
                nursery.start_soon(child.listen)
            await trio.sleep(2.0)
            began_s, hub_s = trio.current_time(), cpu_s(pid)
            for number in range(changes):
                nursery.start_soon(draw.choice(children).write, number)
                await trio.sleep_until(began_s + GAP_S * (number + 1))
            with trio.fail_after(ARRIVE_S_MAX * 5):
                while not all(len(child.replica.rows) == changes for child in children):
                    await trio.sleep(0.05)
            found = cpu_s(pid) - hub_s, trio.current_time() - began_s
            nursery.cancel_scope.cancel()
    return found


def _from(address: str) -> Callable[..., object]:
    """Connections from another of this machine's addresses: a hub lets in only so many of one."""
    import httpx

    from syncnode.links.client import POOL_LIMITS, _pinned_context

    return lambda site: httpx.AsyncHTTPTransport(
        verify=_pinned_context(site), trust_env=False, limits=POOL_LIMITS, local_address=address
    )
