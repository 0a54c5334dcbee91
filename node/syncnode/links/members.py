"""The peers as the database has them, and the addresses to call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from syncnode.links.client import PeerAddress, PeerClient
from syncnode.links.peers import Peer, read_peers
from syncnode.links.vouched import network_id
from syncnode.store.database import Transaction
from syncproto.errors import PeerUnreachableError
from syncproto.identity import SiteId


@dataclass(frozen=True, slots=True)
class Membership:
    """What the database says of it.

    Attributes:
        revocations: How many are known.
    """

    peers: tuple[Peer, ...]
    network: bytes
    revocations: int


def read_membership(tx: Transaction) -> Membership:
    revocations = tx.value("SELECT count(*) FROM syncnode_revoked")
    return Membership(tuple(read_peers(tx)), network_id(tx), revocations)


class Members:
    """The same in memory, for a node that runs.

    Attributes:
        nearby: Where peers have proven to be on the LAN.
        lost: Called when one could not be reached there.
    """

    def __init__(self) -> None:
        self.by_site: Mapping[SiteId, Peer] = {}
        self.network = b""
        self.revocations = 0
        self.nearby: Mapping[SiteId, str] = {}
        self.lost: Callable[[SiteId], None] = _nobody_minds

    def replace(self, found: Membership) -> None:
        self.by_site = {peer.site: peer for peer in found.peers}
        self.network, self.revocations = found.network, found.revocations

    def address(self, site: SiteId) -> PeerAddress:
        """Where a peer was declared to be."""
        return PeerAddress(site, self.by_site[site].url)

    async def public_key(self, site: SiteId) -> bytes | None:
        peer = self.by_site.get(site)
        return peer.public_key if peer else None

    def called(self) -> list[SiteId]:
        """Those that have an address of their own."""
        return [site for site, peer in self.by_site.items() if peer.url]

    async def post(
        self,
        client: PeerClient,
        site: SiteId,
        body: bytes,
        *,
        timeout_s: float,
        path: str = "/exchange",
    ) -> bytes:
        """A peer's answer, from the LAN if it is there, else from where it was declared to be.

        Raises:
            As `PeerClient.post`.
        """
        peer = self.by_site.get(site)
        if peer is None:
            raise PeerUnreachableError("this site is no peer any more; nothing was sent")
        near = self.nearby.get(site)
        if near is not None:
            try:
                return await client.post(PeerAddress(site, near), path, body, timeout_s=timeout_s)
            except PeerUnreachableError:  # so nothing has left
                self.lost(site)
                if not peer.url:
                    raise
        return await client.post(self.address(site), path, body, timeout_s=timeout_s)


def _nobody_minds(_: SiteId) -> None:
    """Without a LAN nothing is lost there."""
