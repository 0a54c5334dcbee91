"""What two members of a network say when they find each other: POST /meet.

Each shows who it is, who vouches for it, and which members were revoked. Who asks signs the
request for this one server; who answers is proven by TLS. Rows are not spoken of here.
"""

from dataclasses import dataclass
from typing import Any

from syncproto.certificates import (
    NAME_LENGTH_MAX,
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    Chain,
    Revocation,
    encode_chain,
    read_chain,
    read_revocation,
    revocation_fields,
)
from syncproto.errors import (
    IncompatiblePeerError,
    LimitExceededError,
    MalformedMessageError,
    UnexpectedMessageError,
)
from syncproto.frames import as_bytes, as_int, as_list, as_text, dumped, loaded
from syncproto.identity import SITE_ID_BYTES, SiteId
from syncproto.limits import LIMITS
from syncproto.messages import NETWORK_ID_BYTES, PROTOCOL_VERSION

REVOCATIONS_MAX = 256  # of a network; more stolen machines than a country has in years
MEETING_BYTES_MAX = 256 << 10
_DOMAIN = b"syncnode meeting 1"


@dataclass(frozen=True, slots=True)
class Meeting:
    """What one side says of itself.

    Attributes:
        to: The other side.
        public_key: The sender's.
        name: How the sender calls itself.
        chain: Who vouches for the sender; None if nobody does.
        revocations: All that it knows of.
    """

    network: bytes
    to: SiteId
    public_key: bytes
    name: str
    chain: Chain | None
    revocations: tuple[Revocation, ...] = ()


def signed_part(meeting: Meeting) -> bytes:
    """What the asking side signs."""
    return _DOMAIN + dumped(_fields(meeting))


def encode_meeting(meeting: Meeting, signature: bytes) -> bytes:
    """
    Raises:
        LimitExceededError: More than the other side takes.
    """
    body = dumped([*_fields(meeting), signature])
    if len(body) > MEETING_BYTES_MAX:
        raise LimitExceededError(f"{len(body)} bytes are too much for a meeting")
    return body


def decode_meeting(body: bytes) -> tuple[Meeting, bytes]:
    """A side's word and its signature, which is yet to be verified.

    Raises:
        MalformedMessageError: The bytes are none.
        IncompatiblePeerError: Of another version of the protocol.
    """
    if len(body) > MEETING_BYTES_MAX:
        raise LimitExceededError(f"{len(body)} bytes are too much for a meeting")
    fields = loaded(body, LIMITS)
    if type(fields) is not list or not fields:
        raise MalformedMessageError("expected an array")
    version = as_int(fields[0], 0, 1 << 32)
    if version != PROTOCOL_VERSION:
        raise IncompatiblePeerError(
            f"the other site speaks version {version} of the protocol, this one speaks version "
            f"{PROTOCOL_VERSION}: upgrade the older of the two"
        )
    _, network, to, public, name, chain, revocations, signature = as_list(fields, range(8, 9))
    meeting = Meeting(
        network=as_bytes(network, NETWORK_ID_BYTES),
        to=SiteId(as_bytes(to, SITE_ID_BYTES)),
        public_key=as_bytes(public, PUBLIC_KEY_BYTES),
        name=as_text(name, NAME_LENGTH_MAX),
        chain=read_chain(chain) if chain is not None else None,
        revocations=tuple(map(read_revocation, as_list(revocations, range(REVOCATIONS_MAX + 1)))),
    )
    return meeting, as_bytes(signature, SIGNATURE_BYTES)


def refuse_other(meeting: Meeting, *, network: bytes, site: SiteId) -> None:
    """
    Raises:
        UnexpectedMessageError: It is not for this site of this network.
    """
    if meeting.network != network:
        raise UnexpectedMessageError("this site belongs to another network")
    if meeting.to != site:
        raise UnexpectedMessageError("these words are meant for another site")


def _fields(meeting: Meeting) -> list[Any]:
    chain = meeting.chain
    return [
        PROTOCOL_VERSION,
        meeting.network,
        meeting.to,
        meeting.public_key,
        meeting.name,
        loaded(encode_chain(chain), LIMITS) if chain is not None else None,
        [revocation_fields(one) for one in meeting.revocations],
    ]
