"""Requests whose connection broke: what has come of their bodies, and what was answered to them.

A link that breaks all the time carries a large body in parts: who sent it asks what has arrived
and sends the rest; who waits for an answer asks for the rest of it. This is in memory only and may
be let go of at any time; then a request is made anew.

A request goes by its signature, which nobody else can make. Kept is only what names the present
process of the server: its nonce is known to those alone who have proven who they are.
"""

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field

from syncnode.identity.credentials import Proof
from syncproto.errors import MalformedMessageError
from syncproto.identity import SiteId

REST_PATH = "/rest"
FROM_HEADER = b"syncnode-from"
RESUMED_BYTES_MIN = 512  # what is smaller is as cheap to send again
KEPT_PER_SITE = 2  # a site moves rows in one exchange at a time
KEPT_BYTES_MAX = 32 << 20
_LENGTH_BYTES = 8
_NAME_BYTES = 8  # of a signature, among the few requests of one site


@dataclass(slots=True)
class Request:
    """One request of a site, as far as it has come.

    Attributes:
        accepted: It was whole and proven, and its counter is used up.
        answer: None as long as there is none.
    """

    body: bytearray = field(default_factory=bytearray)
    accepted: bool = False
    answer: bytes | None = None

    @property
    def size(self) -> int:
        return len(self.body) + len(self.answer or b"")


class Unfinished:
    """The last requests of each site."""

    def __init__(self) -> None:
        self._by_site: dict[SiteId, OrderedDict[bytes, Request]] = defaultdict(OrderedDict)

    def find(self, site: SiteId, signature: bytes) -> Request | None:
        """The request whose signature begins with this."""
        for known, request in self._by_site[site].items() if site in self._by_site else ():
            if known.startswith(signature):
                return request
        return None

    def keep(self, proof: Proof, request: Request) -> None:
        """From now on this is that request; the oldest are let go of."""
        requests = self._by_site[proof.site]
        requests[proof.signature] = request
        requests.move_to_end(proof.signature)
        while len(requests) > KEPT_PER_SITE:
            requests.popitem(last=False)

    def drop(self, proof: Proof) -> None:
        if proof.site in self._by_site:
            self._by_site[proof.site].pop(proof.signature, None)

    def bound(self) -> None:
        """Let go of what is too much, of those who have not been heard of for longest."""
        over = sum(one.size for kept in self._by_site.values() for one in kept.values())
        over -= KEPT_BYTES_MAX
        for site in list(self._by_site):
            if over <= 0:
                return
            over -= sum(one.size for one in self._by_site.pop(site).values())


# What is asked of `REST_PATH`, and what is said to it.


def encode_question(signature: bytes, got: int) -> bytes:
    """Asks for the rest of an answer of which so many bytes have come."""
    return signature[:_NAME_BYTES] + got.to_bytes(_LENGTH_BYTES, "big")


def decode_question(body: bytes) -> tuple[bytes, int]:
    """The beginning of a signature, and how much has come.

    Raises:
        MalformedMessageError: It is none.
    """
    if len(body) != _NAME_BYTES + _LENGTH_BYTES:
        raise MalformedMessageError("a question for the rest names one request and a length")
    return body[:_NAME_BYTES], int.from_bytes(body[_NAME_BYTES:], "big")


REST_OF_ANSWER, HAVE_OF_BODY = b"A", b"B"


def encode_rest(request: Request | None, got: int) -> bytes:
    """The rest of the answer if there is one; else how much of the body has come."""
    if request is None:
        return HAVE_OF_BODY + bytes(_LENGTH_BYTES)
    if request.answer is None:
        return HAVE_OF_BODY + len(request.body).to_bytes(_LENGTH_BYTES, "big")
    return REST_OF_ANSWER + request.answer[got:]


def decode_have(body: bytes) -> int:
    """How much of the body the server has; 0 if it does not know the request.

    Raises:
        MalformedMessageError: It says something else.
    """
    if body[:1] != HAVE_OF_BODY or len(body) != 1 + _LENGTH_BYTES:
        raise MalformedMessageError("the peer does not say what it has")
    return int.from_bytes(body[1:], "big")
