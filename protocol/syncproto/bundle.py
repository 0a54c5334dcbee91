"""A delta in files: what a courier carries between sites that no link joins.

A bundle is one delta, cut into parts that each fit a medium; a part is one file. Who finds the
file can read whose it is, for whom and which part (`Head`). Its rows are sealed for the readers,
and so is the `Letter` that says what the whole bundle claims, on which base, and what the exporter
knows of other sites. Sealing and signing are the caller's; here is what the bytes look like, every
length checked before memory is taken. See "Bundles" in protocol/README.md.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from syncproto.directory import unique
from syncproto.errors import (
    IncompatiblePeerError,
    MalformedMessageError,
    UnexpectedMessageError,
)
from syncproto.frames import (
    as_bytes,
    as_int,
    as_list,
    as_text,
    dumped,
    loaded,
)
from syncproto.identity import SITE_ID_BYTES, SiteId
from syncproto.integers import split_keys
from syncproto.limits import KIB, LIMITS, MIB, within
from syncproto.messages import NETWORK_ID_BYTES

BUNDLE_VERSION = 1
BUNDLE_ID_BYTES = 16
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
READERS_MAX = 1_000  # each costs 110 bytes in every sealed section
PARTS_MAX = 999
NAME_LENGTH_MAX = 200
HEAD_BYTES_MAX = 256 * KIB  # a thousand readers with names of usual length
TAIL_BYTES_MAX = 64
SEALED_BYTES_MAX = LIMITS.body_bytes + MIB  # the largest chunk, and its readers
WALL_MS_MAX = 1 << 47

_MAGIC = b"SB"
_HEAD, _SEALED, _TAIL = b"H", b"S", b"T"
_BYTES_MAX = {_HEAD: HEAD_BYTES_MAX, _SEALED: SEALED_BYTES_MAX, _TAIL: TAIL_BYTES_MAX}
# What is signed begins with this, so that no signature made for another end is taken for this one.
_DOMAIN = b"syncnode bundle 1"

Read = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Head:
    """What a part says to everybody who finds it.

    Attributes:
        network: The network's id.
        bundle: Names the bundle; drawn by the exporter.
        exporter: Who made it, and signed each part.
        name: What people call the exporter.
        made_ms: When, by the exporter's clock.
        part: Which part this is, from 1.
        readers: Who can open it, with the names that the exporter has for them.
        public_key: The exporter's, raw.
        certificate: Who vouches for the exporter, encoded (`certificates.py`); b"" for nobody.
    """

    network: bytes
    bundle: bytes
    exporter: SiteId
    name: str
    made_ms: int
    part: int
    readers: Mapping[SiteId, str]
    public_key: bytes
    certificate: bytes = b""


class Envelope(NamedTuple):
    """A part that was read to its end and whose signature fits.

    Attributes:
        head: What it says to everybody.
        parts: How many parts the bundle has.
        letter: The sealed letter.
        sealed: How many sealed sections stand before it, each a chunk.
        digest: Of all bytes that are signed; two readings of one file give the same.
        size: Bytes of the file.
    """

    head: Head
    parts: int
    letter: bytes
    sealed: int
    digest: bytes
    size: int


# --- Writing -------------------------------------------------------------------------------


def opening(head: Head) -> bytes:
    """The start of a part.

    Raises:
        LimitExceededError: There are more readers than a part may have.
    """
    within(len(head.readers), READERS_MAX, "readers")
    content = dumped(
        [
            head.network,
            head.bundle,
            head.exporter,
            head.name[:NAME_LENGTH_MAX],
            head.made_ms,
            head.part,
            b"".join(head.readers),
            [name[:NAME_LENGTH_MAX] for name in head.readers.values()],
            head.public_key,
            head.certificate,
        ]
    )
    return _MAGIC + bytes((BUNDLE_VERSION,)) + _section(_HEAD, content)


def sealed_section(content: bytes) -> bytes:
    """A sealed chunk, or at the end of the part the sealed letter."""
    return _section(_SEALED, content)


def tail(parts: int) -> bytes:
    """What stands before the signature."""
    return _section(_TAIL, dumped([parts]))


def signed_part(digest: bytes) -> bytes:
    """What the exporter signs: the SHA-512 of all that stands before the signature."""
    return _DOMAIN + digest


def _section(kind: bytes, content: bytes) -> bytes:
    within(len(content), _BYTES_MAX[kind], "bytes of a section")
    return kind + len(content).to_bytes(4, "big") + content


# --- Reading -------------------------------------------------------------------------------


class PartReader:
    """Reads a part from its start; `read` gives as many bytes as asked for, fewer at the end.

    Attributes:
        head: Read at once.
        parts: Known once all sections were read.
        digest: Of what is signed, known then.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._hasher = hashlib.sha512()
        self.size = 0
        self.parts = 0
        self.digest = b""
        magic = self._take(len(_MAGIC) + 1, "no bundle of syncnode")
        if magic[:-1] != _MAGIC:
            raise MalformedMessageError("no bundle of syncnode")
        if magic[-1] != BUNDLE_VERSION:
            raise IncompatiblePeerError(
                f"a bundle of version {magic[-1]}, this node reads version {BUNDLE_VERSION}: "
                "upgrade the older of the two sites"
            )
        kind, content = self._section()
        if kind != _HEAD:
            raise MalformedMessageError("a bundle begins with its head")
        self.head = _read_head(content)

    def sealed(self) -> Iterator[bytes]:
        """The sealed sections, the last of which is the letter.

        Raises:
            MalformedMessageError: The part is cut off, or damaged.
        """
        while True:
            kind, content = self._section()
            if kind == _TAIL:
                break
            if kind != _SEALED:
                raise MalformedMessageError("a section that is not known")
            yield content
        (parts,) = as_list(loaded(content, LIMITS), range(1, 2))
        self.parts = as_int(parts, self.head.part, PARTS_MAX)
        self.digest = self._hasher.digest()

    def signature(self) -> bytes:
        """What stands behind all sections.

        Raises:
            MalformedMessageError: It is not there, or more is.
        """
        found = self._take(SIGNATURE_BYTES, _CUT)
        if self._read(1):
            raise MalformedMessageError("bytes after its end")
        return found

    def _section(self) -> tuple[bytes, bytes]:
        start = self._take(5, _CUT)
        kind, length = start[:1], int.from_bytes(start[1:], "big")
        if length > _BYTES_MAX.get(kind, 0):
            raise MalformedMessageError("it is damaged: a section has a length that none has")
        return kind, self._take(length, _CUT)

    def _take(self, count: int, otherwise: str) -> bytes:
        found = self._read(count)
        if len(found) != count:
            raise MalformedMessageError(otherwise)
        self._hasher.update(found)
        self.size += count
        return found


_CUT = "it is cut off"


def verified(read: Read, fits: Callable[[Head, bytes, bytes], bool]) -> Envelope:
    """A part as it should be; `fits` tells whether a signature is the exporter's under a message.

    Raises:
        MalformedMessageError: It is cut off, damaged or no bundle.
        UnexpectedMessageError: The signature does not fit.
        IncompatiblePeerError: Of another version.
    """
    reader = PartReader(read)
    count, letter = 0, b""
    for section in reader.sealed():
        count, letter = count + 1, section
    if not count:
        raise MalformedMessageError("it has no letter")
    digest = reader.digest
    signature = reader.signature()
    if not fits(reader.head, signature, signed_part(digest)):
        raise UnexpectedMessageError(
            "its signature does not fit: it was changed on its way, or somebody else made it"
        )
    return Envelope(reader.head, reader.parts, letter, count - 1, digest, reader.size)


def _read_head(content: bytes) -> Head:
    network, bundle, exporter, name, made_ms, part, sites, names, public, certificate = as_list(
        loaded(content, LIMITS), range(10, 11)
    )
    if type(certificate) is not bytes:
        raise MalformedMessageError("expected a certificate")
    count = within(len(as_list(names, range(READERS_MAX + 1))), READERS_MAX, "readers")
    readers = unique(
        map(SiteId, split_keys(sites, count)), [as_text(one, NAME_LENGTH_MAX) for one in names]
    )
    return Head(
        network=as_bytes(network, NETWORK_ID_BYTES),
        bundle=as_bytes(bundle, BUNDLE_ID_BYTES),
        exporter=SiteId(as_bytes(exporter, SITE_ID_BYTES)),
        name=as_text(name, NAME_LENGTH_MAX),
        made_ms=as_int(made_ms, -WALL_MS_MAX, WALL_MS_MAX),
        part=as_int(part, 1, PARTS_MAX),
        readers=readers,
        public_key=as_bytes(public, PUBLIC_KEY_BYTES),
        certificate=certificate,
    )


def missing(arrived: Sequence[int], parts: int) -> list[int]:
    """The parts that are not here."""
    here = set(arrived)
    return [part for part in range(1, parts + 1) if part not in here]


__all__ = [
    "PARTS_MAX",
    "Envelope",
    "Head",
    "PartReader",
    "missing",
    "opening",
    "sealed_section",
    "signed_part",
    "tail",
    "verified",
]
