"""What `serve` has seen on the LAN, kept in `syncnode_lan` for `peers` to show."""

from collections.abc import Iterable
from dataclasses import dataclass

from syncnode.store.database import Transaction
from syncproto.identity import SiteId

PEER_STANDING = "peer"
STANDING_LENGTH_MAX = 300


@dataclass(frozen=True, slots=True)
class Seen:
    """
    Attributes:
        url: Where the site has proven to be, else where it is said to be.
        standing: `PEER_STANDING`, or why nothing is exchanged with it.
    """

    site: SiteId
    url: str
    standing: str
    seen_ms: int


def put_seen(tx: Transaction, seen: Iterable[Seen]) -> None:
    """Write down all that is seen now, instead of what was."""
    m = tx.mark
    tx.execute("DELETE FROM syncnode_lan")
    tx.executemany(
        f"INSERT INTO syncnode_lan (site, url, standing, seen_ms) VALUES ({m}, {m}, {m}, {m})",
        [(one.site, one.url, one.standing[:STANDING_LENGTH_MAX], one.seen_ms) for one in seen],
    )


def read_seen(tx: Transaction) -> list[Seen]:
    return [
        Seen(SiteId(bytes(site)), url, standing, seen_ms)
        for site, url, standing, seen_ms in tx.rows(
            "SELECT site, url, standing, seen_ms FROM syncnode_lan ORDER BY standing, url"
        )
    ]
