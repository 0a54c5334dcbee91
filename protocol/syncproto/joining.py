"""What a site and its inviter say to each other before they are peers: POST /join.

Three requests exist: `PREVIEW` asks what the inviter holds, `ROWS` asks for the hashes of its
rows a page at a time, and `JOIN` makes the two sites peers and uses the invitation up. Each
proves the invitation by its secret, which only TLS to the inviter's own key carries, and is
signed by the key of the site that wants to join, with the inviter's name in what is signed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syncproto.errors import IncompatiblePeerError, LimitExceededError, MalformedMessageError
from syncproto.frames import (
    INT64_MAX,
    UINT64_MAX,
    as_bytes,
    as_int,
    as_list,
    as_text,
    dumped,
    loaded,
)
from syncproto.identity import SITE_ID_BYTES, RowKey, SiteId
from syncproto.limits import LIMITS, Limits
from syncproto.messages import NETWORK_ID_BYTES, PROTOCOL_VERSION

PREVIEW, ROWS, JOIN = "preview", "rows", "join"
REQUEST_BYTES_MAX = 4096
TABLE_HASH_BYTES = 4  # tells the tables of one schema apart
ROW_HASH_BYTES = 8
SECRET_BYTES = 16
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
TEXT_LENGTH_MAX = 512
PAGE_ROWS_MAX = 25_000  # 0.6 MB of keys and hashes
_DOMAIN = b"syncnode join 1"


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """
    Attributes:
        kind: `PREVIEW`, `ROWS` or `JOIN`.
        network: The network that the token names.
        inviter: Whom this is for.
        secret: The token's.
        public_key: Of the site that wants to join.
        name, url: How that site calls itself, and where it can be called; "" for nowhere.
        tables: For `PREVIEW` and `ROWS`: `table_hash` of each table that is asked about.
        after: For `ROWS`: where the page before ended; 0 to begin.
    """

    kind: str
    network: bytes
    inviter: SiteId
    secret: bytes
    public_key: bytes
    name: str
    url: str
    tables: frozenset[bytes] = frozenset()
    after: int = 0


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """
    Attributes:
        name: The inviter's.
        network: What people call the network; "" if nothing.
        role: What the inviter is to the site now: "parent" or "peer".
        contents: For `PREVIEW`: number of rows and sum of their hashes, by table.
        rows: For `ROWS`: the hash of each row of this page, by table and key.
        upto: For `ROWS`: where this page ends; 0 if it is the last.
    """

    name: str
    network: str
    role: str
    public_key: bytes
    contents: Mapping[str, tuple[int, int]]
    rows: Mapping[str, Mapping[RowKey, bytes]]
    upto: int


def table_hash(name: str) -> bytes:
    """What stands for a table in a request."""
    return hashlib.sha256(name.encode()).digest()[:TABLE_HASH_BYTES]


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
    _, kind, network, inviter, secret, public, name, url, tables, after, signature = as_list(
        fields, range(11, 12)
    )
    if kind not in (PREVIEW, ROWS, JOIN):
        raise MalformedMessageError("expected a kind of request")
    if type(tables) is not bytes or len(tables) % TABLE_HASH_BYTES:
        raise MalformedMessageError("expected hashes of tables")
    request = JoinRequest(
        kind=kind,
        network=as_bytes(network, NETWORK_ID_BYTES),
        inviter=SiteId(as_bytes(inviter, SITE_ID_BYTES)),
        secret=as_bytes(secret, SECRET_BYTES),
        public_key=as_bytes(public, PUBLIC_KEY_BYTES),
        name=as_text(name, TEXT_LENGTH_MAX),
        url=as_text(url, TEXT_LENGTH_MAX),
        tables=frozenset(
            tables[at : at + TABLE_HASH_BYTES] for at in range(0, len(tables), TABLE_HASH_BYTES)
        ),
        after=as_int(after, 0, INT64_MAX),
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
            [[name, count, total] for name, (count, total) in answer.contents.items()],
            [
                [name, b"".join(hashes), b"".join(hashes.values())]
                for name, hashes in answer.rows.items()
            ],
            answer.upto,
        ]
    )


def decode_answer(body: bytes, limits: Limits = LIMITS) -> JoinAnswer:
    """The inverse of `encode_answer`.

    Raises:
        MalformedMessageError: The bytes are no answer.
    """
    if len(body) > 4 * limits.item_bytes:
        raise LimitExceededError(f"{len(body)} bytes: an answer to a join is shorter")
    fields = as_list(loaded(body, limits), range(8, 9))
    version, name, network, role, public, contents, rows, upto = fields
    if version != PROTOCOL_VERSION:
        raise MalformedMessageError("the answer is of another version of the protocol")
    if role not in ("parent", "peer"):
        raise MalformedMessageError("expected a role")
    return JoinAnswer(
        name=as_text(name, TEXT_LENGTH_MAX),
        network=as_text(network, TEXT_LENGTH_MAX),
        role=role,
        public_key=as_bytes(public, PUBLIC_KEY_BYTES),
        contents=dict(_content(entry, limits) for entry in _some(contents, limits)),
        rows=dict(_rows(entry, limits) for entry in _some(rows, limits)),
        upto=as_int(upto, 0, INT64_MAX),
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
        b"".join(sorted(request.tables)),
        request.after,
    ]


def _some(entries: Any, limits: Limits) -> list[Any]:
    return as_list(entries, range(limits.scopes + 1))


def _content(entry: Any, limits: Limits) -> tuple[str, tuple[int, int]]:
    name, count, total = as_list(entry, range(3, 4))
    return as_text(name, limits.name_length), (
        as_int(count, 0, UINT64_MAX),
        as_int(total, 0, UINT64_MAX),
    )


def _rows(entry: Any, limits: Limits) -> tuple[str, dict[RowKey, bytes]]:
    name, keys, hashes = as_list(entry, range(3, 4))
    if type(keys) is not bytes or type(hashes) is not bytes:
        raise MalformedMessageError("expected keys and hashes")
    count = len(keys) // 16
    if len(keys) != 16 * count or len(hashes) != ROW_HASH_BYTES * count:
        raise MalformedMessageError("expected a hash for each key")
    return as_text(name, limits.name_length), {
        RowKey(keys[16 * at : 16 * at + 16]): hashes[
            ROW_HASH_BYTES * at : ROW_HASH_BYTES * (at + 1)
        ]
        for at in range(count)
    }
