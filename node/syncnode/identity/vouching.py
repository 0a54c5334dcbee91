"""Certificates and revocations of members: signed and checked here, kept by `links/vouched.py`.

What they mean is said in `syncproto.certificates`. A network's id is the hash of its root's key,
so a chain that fits the id begins where the network began. The id is no secret. It is short, and
so the root's key is compared in full wherever both are known.
"""

import hashlib
from collections.abc import Collection

from syncnode.identity.credentials import NETWORK_BYTES, SiteKey, fits, site_id_of_key
from syncproto.certificates import (
    LINKS_MAX,
    NAME_LENGTH_MAX,
    Chain,
    Link,
    Revocation,
    certificate_part,
    revocation_part,
)
from syncproto.errors import UnexpectedMessageError
from syncproto.identity import SiteId

Word = tuple[SiteId, SiteId]
"""A site that was revoked, and by whom."""


def network_of(root: bytes) -> bytes:
    """The id of the network that begins with the holder of this public key, 8 bytes."""
    return hashlib.sha256(b"syncnode network 1" + root).digest()[:NETWORK_BYTES]


def vouched_for(key: SiteKey, chain: Chain, *, network: bytes, public: bytes, name: str) -> Chain:
    """The chain of a site that we let in.

    Raises:
        UnexpectedMessageError: There would be more levels than a chain may have.
    """
    if len(chain.links) >= LINKS_MAX:
        raise UnexpectedMessageError(
            f"there are {LINKS_MAX} levels of sites above already: join a site nearer to the "
            "first one"
        )
    name = name[:NAME_LENGTH_MAX]
    signature = key.signature(certificate_part(network, key.public, public, name))
    return Chain(chain.root, (*chain.links, Link(public, name, signature)))


def check_chain(chain: Chain, *, network: bytes, site: SiteId) -> None:
    """
    Raises:
        UnexpectedMessageError: It does not say that this site is a member of this network.
    """
    if network_of(chain.root) != network:
        raise UnexpectedMessageError("its certificate is of another network")
    if site_id_of_key(chain.keys[-1]) != site:
        raise UnexpectedMessageError("its certificate is that of another site")
    for above, link in zip(chain.keys, chain.links, strict=False):
        part = certificate_part(network, above, link.public, link.name)
        if not fits(link.signature, part, above):
            raise UnexpectedMessageError("a signature in its certificate does not fit")


def revocation(key: SiteKey, chain: Chain, *, network: bytes, site: SiteId) -> Revocation:
    """Our word that a site is no member any more; `chain` is ours."""
    return Revocation(site, chain, key.signature(revocation_part(network, site)))


def check_revocation(revocation: Revocation, *, network: bytes, root: bytes) -> Word:
    """What a revocation says, if a member of the network signed it.

    Raises:
        UnexpectedMessageError: None did.
    """
    by = revocation.by
    signer = site_id_of_key(by.keys[-1])
    if by.root != root:
        raise UnexpectedMessageError("a revocation is of another network")
    check_chain(by, network=network, site=signer)
    part = revocation_part(network, revocation.site)
    if not fits(revocation.signature, part, by.keys[-1]):
        raise UnexpectedMessageError("the signature of a revocation does not fit")
    return revocation.site, signer


def is_revoked(chain: Chain, words: Collection[Word]) -> bool:
    """Whether somebody above it took back the word for the site, or for one above it."""
    sites = [site_id_of_key(public) for public in chain.keys]
    return any(
        (site, above) in words for number, site in enumerate(sites) for above in sites[:number]
    )
