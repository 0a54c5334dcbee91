"""What the sidecar keeps of membership: our own certificates, those of peers, revocations.

Our chain stands in a setting, since there is one; a peer's in its line of `syncnode_peer`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from syncnode.identity.credentials import SiteKey, site_id_of_key
from syncnode.identity.vouching import (
    Word,
    check_chain,
    check_revocation,
    is_revoked,
    network_of,
)
from syncnode.links.peers import MEMBER, Peer, put_peer, read_peers, remove_peer
from syncnode.store.database import Transaction
from syncproto.certificates import (
    Chain,
    Revocation,
    decode_chain,
    decode_revocation,
    encode_chain,
    encode_revocation,
)
from syncproto.errors import PeerError
from syncproto.identity import SiteId, site_text
from syncproto.meeting import REVOCATIONS_MAX

CHAIN = "chain"
"""The setting with our certificates, in hexadecimal."""


def network_id(tx: Transaction) -> bytes:
    return bytes.fromhex(tx.value("SELECT value FROM syncnode_setting WHERE name='network'"))


def own_chain(tx: Transaction, key: SiteKey) -> Chain | None:
    """Who vouches for this site; None if nobody of its network does."""
    network = network_id(tx)
    if network_of(key.public) == network:
        return Chain(key.public)
    kept = tx.value(f"SELECT value FROM syncnode_setting WHERE name='{CHAIN}'")
    if kept is None:
        return None
    try:
        chain = decode_chain(bytes.fromhex(kept))
        check_chain(chain, network=network, site=key.site)
    except PeerError:
        return None  # it was for an earlier key, or for the network that the site was in before
    return chain


def put_own_chain(tx: Transaction, chain: Chain) -> None:
    m, text = tx.mark, encode_chain(chain).hex()
    tx.execute(f"DELETE FROM syncnode_setting WHERE name='{CHAIN}'")
    tx.execute(f"INSERT INTO syncnode_setting (name, value) VALUES ('{CHAIN}', {m})", (text,))


def chain_of(tx: Transaction, site: SiteId) -> Chain | None:
    """Who vouches for a peer, as far as it is known here."""
    m = tx.mark
    kept = tx.value(f"SELECT certificate FROM syncnode_peer WHERE site={m}", (site,))
    return decode_chain(bytes(kept)) if kept is not None else None


def put_chain(tx: Transaction, site: SiteId, chain: Chain) -> None:
    m = tx.mark
    tx.execute(
        f"UPDATE syncnode_peer SET certificate={m} WHERE site={m}", (encode_chain(chain), site)
    )


def put_member(tx: Transaction, chain: Chain, own: str, said: str = "") -> None:
    """Write down a member that was met: by the name under which it was let in, so that nobody
    takes another's; for the root, which nobody let in, by what it said."""
    public = chain.keys[-1]
    site = site_id_of_key(public)
    name = chain.links[-1].name if chain.links else said
    taken = {own, "", *(peer.name for peer in read_peers(tx))}
    if name in taken:
        name = f"{name or 'site'}-{site_text(site)[:8]}"
    put_peer(tx, Peer(site=site, name=name, role=MEMBER, url="", public_key=public))
    put_chain(tx, site, chain)


# --- Revocations ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Revoked:
    """The revocations known here.

    Attributes:
        words: What they say.
        root: The site with which the network began.
    """

    words: frozenset[Word]
    root: SiteId | None

    def ends(self, site: SiteId, chain: Chain | None) -> bool:
        """Whether a site is no member any more; of whom nobody vouches, the root may say so."""
        if chain is None:
            return (site, self.root) in self.words
        return is_revoked(chain, self.words)


def read_revoked(tx: Transaction, own: Chain | None) -> Revoked:
    """What revocations say here; `own` is our chain."""
    words = frozenset(
        (SiteId(bytes(site)), SiteId(bytes(signer)))
        for site, signer in tx.rows("SELECT site, signer FROM syncnode_revoked")
    )
    return Revoked(words, site_id_of_key(own.root) if own is not None else None)


def read_revocations(tx: Transaction) -> tuple[Revocation, ...]:
    """All of them, to be told."""
    rows = tx.rows(f"SELECT body FROM syncnode_revoked ORDER BY site LIMIT {REVOCATIONS_MAX}")
    return tuple(decode_revocation(bytes(body)) for (body,) in rows)


def take_revocations(
    tx: Transaction, revocations: Iterable[Revocation], *, own: Chain
) -> list[Peer]:
    """Keep the revocations that are new and hold; the peers that are none any more, by them.

    One that does not hold is passed over: whoever told it may have taken it in good faith.
    """
    fresh = list(_new(tx, revocations, own))
    if not fresh:
        return []
    m = tx.mark
    tx.executemany(
        f"INSERT INTO syncnode_revoked (site, signer, body) VALUES ({m}, {m}, {m})",
        [(site, signer, body) for (site, signer), body in fresh],
    )
    revoked = read_revoked(tx, own)
    gone = [peer for peer in read_peers(tx) if revoked.ends(peer.site, chain_of(tx, peer.site))]
    for peer in gone:
        remove_peer(tx, peer)
    return gone


def _new(
    tx: Transaction, revocations: Iterable[Revocation], own: Chain
) -> Iterator[tuple[Word, bytes]]:
    known = set(read_revoked(tx, own).words)
    network = network_id(tx)
    for revocation in revocations:
        if len(known) >= REVOCATIONS_MAX:
            return
        try:
            word = check_revocation(revocation, network=network, root=own.root)
        except PeerError:
            continue
        if word not in known:
            known.add(word)
            yield word, encode_revocation(revocation)
