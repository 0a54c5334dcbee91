"""What a site and its inviter say to each other before they are peers: POST /join.

Two requests exist: `COMPARE` brings a question about the inviter's rows (`questions.py`) and
changes nothing, `JOIN` makes the two sites peers and uses the invitation up. Each proves the
invitation by its secret, which only TLS to the inviter's own key carries, and is signed by the key
of the site that wants to join, with the inviter's name in what is signed.
"""

from dataclasses import dataclass
from typing import Any

from syncproto.errors import IncompatiblePeerError, LimitExceededError, MalformedMessageError
from syncproto.frames import (
    as_bytes,
    as_int,
    as_list,
    as_text,
    dumped,
    loaded,
)
from syncproto.identity import SITE_ID_BYTES, SiteId
from syncproto.limits import LIMITS, Limits
from syncproto.messages import NETWORK_ID_BYTES, PROTOCOL_VERSION

COMPARE, JOIN = "compare", "join"
REQUEST_BYTES_MAX = 256 << 10  # a question, and little enough from a stranger
SECRET_BYTES = 16
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
TEXT_LENGTH_MAX = 512
_DOMAIN = b"syncnode join 1"


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """
    Attributes:
        kind: `COMPARE` or `JOIN`.
        network: The network that the token names.
        inviter: Whom this is for.
        secret: The token's.
        public_key: Of the site that wants to join.
        name, url: How that site calls itself, and where it can be called; "" for nowhere.
        question: For `COMPARE`: an encoded question.
    """

    kind: str
    network: bytes
    inviter: SiteId
    secret: bytes
    public_key: bytes
    name: str
    url: str
    question: bytes = b""


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """
    Attributes:
        name: The inviter's.
        network: What people call the network; "" if nothing.
        role: What the inviter is to the site now: "parent" or "peer".
        finding: For `COMPARE`: an encoded finding.
        chain: For `JOIN`: the certificates of the site that joins, encoded; empty if nobody
            vouches for the inviter itself.
    """

    name: str
    network: str
    role: str
    public_key: bytes
    finding: bytes = b""
    chain: bytes = b""


def signed_part(request: JoinRequest) -> bytes:
    """What the joining site signs: all of the request, for this one end."""
    return _DOMAIN + dumped(_fields(request))


def encode_request(request: JoinRequest, signature: bytes) -> bytes:
    """
    Raises:
        LimitExceededError: More than the inviter takes.
    """
    body = dumped([*_fields(request), signature])
    if len(body) > REQUEST_BYTES_MAX:
        raise LimitExceededError(f"a request to join of {len(body)} bytes is too long")
    return body


def decode_request(body: bytes) -> tuple[JoinRequest, bytes]:
    """A request and its signature, which is yet to be verified.

    Raises:
        MalformedMessageError: The bytes are no request.
        IncompatiblePeerError: Of another version of the protocol.
    """
    if len(body) > REQUEST_BYTES_MAX:
        raise LimitExceededError(f"{len(body)} bytes: a request to join is shorter")
    fields = loaded(body, LIMITS)
    if type(fields) is not list or not fields:
        raise MalformedMessageError("expected an array")
    version = as_int(fields[0], 0, 1 << 32)
    if version != PROTOCOL_VERSION:
        raise IncompatiblePeerError(
            f"the joining site speaks version {version} of the protocol, this one speaks version "
            f"{PROTOCOL_VERSION}: upgrade the older of the two"
        )
    _, kind, network, inviter, secret, public, name, url, question, signature = as_list(
        fields, range(10, 11)
    )
    if kind not in (COMPARE, JOIN):
        raise MalformedMessageError("expected a kind of request")
    if type(question) is not bytes:
        raise MalformedMessageError("expected a question")
    request = JoinRequest(
        kind=kind,
        network=as_bytes(network, NETWORK_ID_BYTES),
        inviter=SiteId(as_bytes(inviter, SITE_ID_BYTES)),
        secret=as_bytes(secret, SECRET_BYTES),
        public_key=as_bytes(public, PUBLIC_KEY_BYTES),
        name=as_text(name, TEXT_LENGTH_MAX),
        url=as_text(url, TEXT_LENGTH_MAX),
        question=question,
    )
    return request, as_bytes(signature, SIGNATURE_BYTES)


def encode_answer(answer: JoinAnswer) -> bytes:
    return dumped(
        [
            PROTOCOL_VERSION,
            answer.name,
            answer.network,
            answer.role,
            answer.public_key,
            answer.finding,
            answer.chain,
        ]
    )


def decode_answer(body: bytes, limits: Limits = LIMITS) -> JoinAnswer:
    """The inverse of `encode_answer`.

    Raises:
        MalformedMessageError: The bytes are no answer.
    """
    if len(body) > limits.body_bytes:
        raise LimitExceededError(f"{len(body)} bytes: an answer to a join is shorter")
    fields = as_list(loaded(body, limits), range(7, 8))
    version, name, network, role, public, finding, chain = fields
    if version != PROTOCOL_VERSION:
        raise MalformedMessageError("the answer is of another version of the protocol")
    if role not in ("parent", "peer"):
        raise MalformedMessageError("expected a role")
    if type(finding) is not bytes:
        raise MalformedMessageError("expected a finding")
    if type(chain) is not bytes:
        raise MalformedMessageError("expected certificates")
    return JoinAnswer(
        name=as_text(name, TEXT_LENGTH_MAX),
        network=as_text(network, TEXT_LENGTH_MAX),
        role=role,
        public_key=as_bytes(public, PUBLIC_KEY_BYTES),
        finding=finding,
        chain=chain,
    )


def _fields(request: JoinRequest) -> list[Any]:
    return [
        PROTOCOL_VERSION,
        request.kind,
        request.network,
        request.inviter,
        request.secret,
        request.public_key,
        request.name,
        request.url,
        request.question,
    ]
