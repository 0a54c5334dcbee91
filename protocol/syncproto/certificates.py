"""Who vouches for whom: what a member shows to a member that it was never introduced to.

A network begins with one site, its *root*. Whoever invites a site signs a certificate for its
key, and hands it over with its own certificates above it: the *chain*, from the root down to the
site. Two members that never met show each other their chains; that each holds the key at the end
of its chain is proven elsewhere (TLS, and a signature).

A *revocation* says that a site is no member any more. It counts where the signer stands above
that site in the site's own chain: who vouched for it, directly or not, may take that back. It ends
the chains of all that the site has vouched for, too, since nothing says which came first.

Values and their bytes only: signatures are made and checked in `syncnode.identity.vouching`.
"""

from dataclasses import dataclass
from typing import Any

from syncproto.errors import MalformedMessageError
from syncproto.frames import as_bytes, as_list, as_text, dumped, loaded
from syncproto.identity import SITE_ID_BYTES, SiteId
from syncproto.limits import LIMITS

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
NAME_LENGTH_MAX = 128
LINKS_MAX = 32  # levels of sites; a country has four
CHAIN_BYTES_MAX = 8192
_CERTIFICATE_DOMAIN = b"syncnode certificate 1"
_REVOCATION_DOMAIN = b"syncnode revocation 1"


@dataclass(frozen=True, slots=True)
class Link:
    """One certificate: the holder of the key above it vouches for this one.

    Attributes:
        name: What the site is called by who vouches for it.
    """

    public: bytes
    name: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class Chain:
    """The certificates from the root's key down to one site's; none for the root itself."""

    root: bytes
    links: tuple[Link, ...] = ()

    @property
    def keys(self) -> tuple[bytes, ...]:
        """Public keys, the root's first, the site's own last."""
        return (self.root, *(link.public for link in self.links))

    @property
    def above(self) -> "Chain":
        """The chain of who vouches for the site; for the root its own."""
        return Chain(self.root, self.links[:-1])


@dataclass(frozen=True, slots=True)
class Revocation:
    """That `site` is no member any more, says the site at the end of `by`."""

    site: SiteId
    by: Chain
    signature: bytes


def certificate_part(network: bytes, above: bytes, public: bytes, name: str) -> bytes:
    """What the holder of the key `above` signs to vouch for the key `public`."""
    return _CERTIFICATE_DOMAIN + dumped([network, above, public, name])


def revocation_part(network: bytes, site: SiteId) -> bytes:
    """What a site signs to take back its word for another, or for whom that one vouched for."""
    return _REVOCATION_DOMAIN + dumped([network, site])


def encode_chain(chain: Chain) -> bytes:
    return dumped(_chain_fields(chain))


def decode_chain(body: bytes) -> Chain:
    """The inverse of `encode_chain`; nothing in it is verified.

    Raises:
        MalformedMessageError: The bytes are no chain.
    """
    if len(body) > CHAIN_BYTES_MAX:
        raise MalformedMessageError(f"{len(body)} bytes: certificates are shorter")
    return read_chain(loaded(body, LIMITS))


def read_chain(fields: Any) -> Chain:
    """A chain out of a decoded message.

    Raises:
        MalformedMessageError: It is none.
    """
    root, links = as_list(fields, range(2, 3))
    return Chain(
        as_bytes(root, PUBLIC_KEY_BYTES),
        tuple(_read_link(link) for link in as_list(links, range(LINKS_MAX + 1))),
    )


def encode_revocation(revocation: Revocation) -> bytes:
    return dumped(revocation_fields(revocation))


def decode_revocation(body: bytes) -> Revocation:
    """The inverse of `encode_revocation`; nothing in it is verified.

    Raises:
        MalformedMessageError: The bytes are no revocation.
    """
    if len(body) > CHAIN_BYTES_MAX:
        raise MalformedMessageError(f"{len(body)} bytes: a revocation is shorter")
    return read_revocation(loaded(body, LIMITS))


def revocation_fields(revocation: Revocation) -> list[Any]:
    return [revocation.site, _chain_fields(revocation.by), revocation.signature]


def read_revocation(fields: Any) -> Revocation:
    """A revocation out of a decoded message.

    Raises:
        MalformedMessageError: It is none.
    """
    site, by, signature = as_list(fields, range(3, 4))
    return Revocation(
        SiteId(as_bytes(site, SITE_ID_BYTES)), read_chain(by), as_bytes(signature, SIGNATURE_BYTES)
    )


def _chain_fields(chain: Chain) -> list[Any]:
    return [chain.root, [[link.public, link.name, link.signature] for link in chain.links]]


def _read_link(fields: Any) -> Link:
    public, name, signature = as_list(fields, range(3, 4))
    return Link(
        as_bytes(public, PUBLIC_KEY_BYTES),
        as_text(name, NAME_LENGTH_MAX),
        as_bytes(signature, SIGNATURE_BYTES),
    )
