"""Names that outlive a process: sites, origins, row keys, dots."""

import base64
from typing import NamedTuple, NewType

from syncproto.errors import MalformedMessageError

SITE_ID_BYTES = 16
ROW_KEY_BYTES = 16

SiteId = NewType("SiteId", bytes)
"""16 bytes: the start of the SHA-256 of the site's Ed25519 public key."""

RowKey = NewType("RowKey", bytes)
"""16 bytes that name one row of one table at every site; made in `keys.py`."""


class Origin(NamedTuple):
    """A site under one incarnation: what changesets are numbered by.

    A site that finds itself restored or cloned goes on under a new incarnation, so that no
    (origin, seq) ever names two changesets.
    """

    site: SiteId
    incarnation: int


class Dot(NamedTuple):
    """The changeset that wrote a cell (Almeida et al., "Scalable and Accurate Causality
    Tracking for Eventually Consistent Stores", 2014)."""

    origin: Origin
    seq: int


def site_text(site: bytes) -> str:
    """A site id as people read it: 26 lower-case letters and digits."""
    return base64.b32encode(site).decode("ascii").rstrip("=").lower()


def site_from_text(text: str) -> SiteId:
    """The inverse of `site_text`.

    Raises:
        MalformedMessageError: The text is no site id.
    """
    try:
        site = base64.b32decode(text.upper() + "======")
    except ValueError as error:
        raise MalformedMessageError(f"{text[:40]!r} is no site id") from error
    if len(site) != SITE_ID_BYTES or site_text(site) != text:
        raise MalformedMessageError(f"{text[:40]!r} is no site id")
    return SiteId(site)
