"""What people call the sites that stand in stamps."""

import json
from collections.abc import Iterable

from syncnode.links.peers import Peer, shown_site
from syncnode.store.database import Transaction
from syncproto.identity import SiteId

KNOWN = "known_names"
"""The setting with names of sites that are no peers: of those that a clone's original knew."""


class SiteNames:
    """Names of sites, as far as they are known here.

    Args:
        own: The names of this very site.
    """

    def __init__(self, tx: Transaction, own: dict[SiteId, str], peers: Iterable[Peer]) -> None:
        self._tx = tx
        known = tx.value(f"SELECT value FROM syncnode_setting WHERE name='{KNOWN}'")
        told: dict[str, str] = json.loads(known) if known else {}
        self.by_site = {SiteId(bytes.fromhex(site)): name for site, name in told.items()}
        self.by_site |= {peer.site: peer.name for peer in peers} | own

    def of(self, site: SiteId) -> str:
        """The site's name; one that is no peer has none here, but who brought what it wrote has."""
        if site not in self.by_site:
            m = self._tx.mark
            sender = self._tx.value(
                "SELECT c.sender FROM syncnode_changeset c JOIN syncnode_origin o "
                f"ON o.id=c.origin WHERE o.site={m} AND c.sender IS NOT NULL "
                "ORDER BY c.id DESC LIMIT 1",
                (site,),
            )
            beyond = self.by_site.get(SiteId(bytes(sender))) if sender is not None else None
            short = shown_site(site, {})
            self.by_site[site] = f"a site beyond {beyond} ({short})" if beyond else short
        return self.by_site[site]
