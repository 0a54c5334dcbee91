"""A frontier as a blob in a node's own database: trusted storage, read strictly all the same."""

import cbor2

from syncproto.errors import MalformedMessageError
from syncproto.frontier import Entry, Frontier, VersionVector
from syncproto.identity import Origin, SiteId


def encode_frontier(frontier: Frontier) -> bytes:
    """Groups of scopes, each with its vector's entries."""
    return cbor2.dumps(
        [
            [
                list(scopes),
                [
                    [origin.site, origin.incarnation, entry.seq, entry.nonce]
                    for origin, entry in sorted(vector.entries.items())
                ],
            ]
            for scopes, vector in frontier.groups()
        ]
    )


def decode_frontier(data: bytes) -> Frontier:
    """The inverse of `encode_frontier`.

    Raises:
        MalformedMessageError: The blob is damaged.
    """
    try:
        vectors = {}
        for scopes, entries in cbor2.loads(data):
            vector = VersionVector(
                {
                    Origin(SiteId(bytes(site)), int(incarnation)): Entry(int(seq), int(nonce))
                    for site, incarnation, seq, nonce in entries
                }
            )
            vectors.update(dict.fromkeys(map(str, scopes), vector))
    except (cbor2.CBORDecodeError, ValueError, TypeError) as error:
        raise MalformedMessageError("a stored frontier is damaged") from error
    return Frontier(vectors)
