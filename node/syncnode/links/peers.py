"""The sites that this one exchanges with, as `syncnode_peer` has them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from syncnode.store.bundles import drop_bundles_of
from syncnode.store.database import Transaction
from syncnode.store.link_words import directions_of
from syncproto.directions import EVERY_WAY, Directions
from syncproto.identity import SiteId, site_text

MEMBER = "member"
"""The role of a member that was met, not invited: neither parent nor child, and without a url."""
MEMBERS = "members"
"""The setting that is counted up with each change of membership, so that a running node sees it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One line of `syncnode_peer`.

    Attributes:
        role: What it is to us: "parent", "child", "peer", or "member" if it was met on the LAN.
        url: Where we call it; "" when it calls us.
        public_key: Raw, 32 bytes.
        frontier: What it last said it holds, encoded; None before the first exchange.
        contact_ms: When the last exchange with it ended; None before the first.
        trouble: Why the last attempt failed, or what was found wrong; "" for nothing.
        skew_ms: How far its clock was ahead of ours, where that was too much; else 0.
        kept: Tables that its database lacks, as it last said: it only passes their rows on.
        directions: What of the link stays back by its word, as it last said.
    """

    site: SiteId
    name: str
    role: str
    url: str
    public_key: bytes
    frontier: bytes | None = None
    contact_ms: int | None = None
    trouble: str = ""
    skew_ms: int = 0
    kept: tuple[str, ...] = ()
    directions: Directions = EVERY_WAY


def read_peers(tx: Transaction) -> list[Peer]:
    """Every peer, by name."""
    return [
        Peer(
            site=SiteId(bytes(site)),
            name=name,
            role=role,
            url=url,
            public_key=bytes(key),
            frontier=bytes(frontier) if frontier is not None else None,
            contact_ms=contact_ms,
            trouble=trouble,
            skew_ms=skew_ms,
            kept=tuple(json.loads(kept or "[]")),
            directions=directions_of(said),
        )
        for site, name, role, url, key, frontier, contact_ms, trouble, skew_ms, kept, said in (
            tx.rows(
                "SELECT site, name, role, url, public_key, frontier, contact_ms, trouble, skew_ms, "
                "kept, directions FROM syncnode_peer ORDER BY name, site"
            )
        )
    ]


def put_peer(tx: Transaction, peer: Peer) -> None:
    """Write a new peer down, or the new role and address of a known one."""
    m = tx.mark
    if tx.value(f"SELECT 1 FROM syncnode_peer WHERE site={m}", (peer.site,)) is None:
        tx.execute(
            "INSERT INTO syncnode_peer (site, name, role, url, public_key, counter, trouble, "
            f"skew_ms) VALUES ({m}, {m}, {m}, {m}, {m}, 0, '', 0)",
            (peer.site, peer.name, peer.role, peer.url, peer.public_key),
        )
    else:
        tx.execute(
            # What it said it holds may have been said by a database that is gone.
            f"UPDATE syncnode_peer SET name={m}, role={m}, url={m}, frontier=NULL WHERE site={m}",
            (peer.name, peer.role, peer.url, peer.site),
        )
    _count_change(tx)


def remove_peer(tx: Transaction, peer: Peer) -> None:
    """Forget a peer, the invitations of its name, and what it has sent of an unfinished delta."""
    m = tx.mark
    tx.execute(f"DELETE FROM syncnode_peer WHERE site={m}", (peer.site,))
    tx.execute(f"DELETE FROM syncnode_invite WHERE name={m}", (peer.name,))
    begun = tx.value(
        f"SELECT 1 FROM syncnode_stage WHERE sender={m} AND claim IS NOT NULL", (peer.site,)
    )
    if begun is None:  # otherwise its rows are being applied
        for table in ("syncnode_stage", "syncnode_staged"):
            tx.execute(f"DELETE FROM {table} WHERE sender={m}", (peer.site,))
    drop_bundles_of(tx, peer.site)
    _count_change(tx)


def _count_change(tx: Transaction) -> None:
    m = tx.mark
    members = tx.value(f"SELECT value FROM syncnode_setting WHERE name={m}", (MEMBERS,))
    if members is None:
        tx.execute(f"INSERT INTO syncnode_setting (name, value) VALUES ({m}, '1')", (MEMBERS,))
    else:
        tx.execute(
            f"UPDATE syncnode_setting SET value={m} WHERE name={m}",
            (str(int(members) + 1), MEMBERS),
        )


@dataclass(frozen=True, slots=True)
class Contact:
    """What the last attempt to exchange with a peer came to.

    Attributes:
        met_ms: When an exchange with it ended well; None if the last one did not.
        failed_ms: When the last one did not; another process may have met the peer since.
        trouble: As `Peer.trouble`.
        skew_ms: As `Peer.skew_ms`.
        kept: As `Peer.kept`; None if it has not said.
    """

    met_ms: int | None
    trouble: str = ""
    skew_ms: int = 0
    failed_ms: int | None = None
    kept: frozenset[str] | None = None


def put_contacts(tx: Transaction, contacts: Mapping[SiteId, Contact]) -> None:
    """Write down what became of exchanges, for `status`."""
    m = tx.mark
    for site, contact in contacts.items():
        tx.execute(
            f"UPDATE syncnode_peer SET contact_ms=COALESCE({m}, contact_ms), trouble={m}, "
            f"skew_ms={m} WHERE site={m} AND "
            f"COALESCE(contact_ms, 0) <= COALESCE({m}, contact_ms, 0)",
            (
                contact.met_ms,
                contact.trouble,
                contact.skew_ms,
                site,
                contact.failed_ms,
            ),
        )
        if contact.kept is not None:
            tx.execute(
                f"UPDATE syncnode_peer SET kept={m} WHERE site={m}",
                (json.dumps(sorted(contact.kept)), site),
            )


def no_such_peer(name: str, peers: Iterable[Peer]) -> str:
    """A sentence."""
    known = ", ".join(peer.name for peer in peers) or "there are none yet"
    return f"there is no peer named {name!r}; known peers: {known}"


def shown_site(site: bytes, names: Mapping[SiteId, str]) -> str:
    """The site's name where it has one here, else the start of its id."""
    return names.get(SiteId(site)) or site_text(site)[:8]
