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
from typing import Any, NamedTuple

from syncproto.directory import Directory, Names, unique
from syncproto.errors import (
    IncompatiblePeerError,
    LimitExceededError,
    MalformedMessageError,
    UnexpectedMessageError,
)
from syncproto.frames import (
    INT64_MAX,
    UINT64_MAX,
    Pieces,
    as_bytes,
    as_int,
    as_list,
    as_text,
    dumped,
    frame,
    item,
    loaded,
    opened,
)
from syncproto.frontier import Entry, Frontier
from syncproto.identity import SITE_ID_BYTES, Origin, SiteId
from syncproto.integers import ints, packed_ints, split_keys
from syncproto.limits import KIB, LIMITS, MIB, Limits, within
from syncproto.messages import NETWORK_ID_BYTES, Known

BUNDLE_VERSION = 1
BUNDLE_ID_BYTES = 16
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
REVOCATIONS_MAX = 4_096
READERS_MAX = 1_000  # each costs 110 bytes in every sealed section
PARTS_MAX = 999
NAME_LENGTH_MAX = 200
HEAD_BYTES_MAX = 256 * KIB  # a thousand readers with names of usual length
TAIL_BYTES_MAX = 64
SEALED_BYTES_MAX = LIMITS.body_bytes + MIB  # the largest chunk, and its readers
WALL_MS_MAX = 1 << 47

_MAGIC = b"SB"
_LETTER = b"SL"
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


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """What the exporter knows of a reader, so that a restored reader finds out.

    Attributes:
        known: The reader's latest origin and entry seen anywhere; None if it never heard of it.
        lineages: Seq to nonce of recent changesets of the reader's origins, by incarnation.
    """

    known: Known | None
    lineages: Mapping[int, Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class Letter:
    """What stands sealed in each part, so that any one of them says what the bundle is.

    Attributes:
        origin: Who sends, as in the chunks.
        latest: The exporter's last changeset under that origin.
        rows: How many rows each part has, in order; their number is that of the parts.
        base, claim: Of the whole delta.
        frontier: All that the exporter holds: its receipt for what it was sent.
        nonces: Seq to nonce of the exporter's own recent changesets.
        told: What others last told the exporter that they hold; hints, never proofs.
        readers: What the exporter knows of each reader.
        revocations: Of members, encoded (`certificates.py`).
    """

    origin: Origin
    latest: Entry
    rows: tuple[int, ...]
    base: Frontier
    claim: Frontier
    frontier: Frontier
    nonces: Mapping[int, int]
    told: Mapping[SiteId, Frontier]
    readers: Mapping[SiteId, Acquaintance]
    revocations: tuple[bytes, ...] = ()

    @property
    def parts(self) -> int:
        return len(self.rows)


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


def encode_letter(letter: Letter) -> bytes:
    """
    Raises:
        LimitExceededError: It is more than a reader would take.
    """
    directory = Directory()
    pieces: list[bytes] = []
    for frontier in (letter.base, letter.claim, letter.frontier, *letter.told.values()):
        pieces += directory.frontier(frontier)
    pieces += [item(_acquaintance(reader, known)) for reader, known in letter.readers.items()]
    pieces += map(item, letter.revocations)
    head = [
        *letter.origin,
        *letter.latest,
        [len(letter.rows), packed_ints(letter.rows)],
        _lineage(letter.nonces),
        [len(letter.told), b"".join(letter.told)],
        len(letter.readers),
        len(letter.revocations),
    ]
    return frame(_LETTER, [item(head), *directory.pieces(), *pieces])


def _acquaintance(reader: SiteId, known: Acquaintance) -> list[Any]:
    lineages = [[number, *_lineage(nonces)] for number, nonces in known.lineages.items()]
    latest = None if known.known is None else [known.known.incarnation, *known.known.entry]
    return [reader, latest, lineages]


def _lineage(nonces: Mapping[int, int]) -> list[Any]:
    within(len(nonces), LIMITS.lineage, "changesets of a lineage")
    return [len(nonces), packed_ints([*nonces]), packed_ints([*nonces.values()])]


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


def decode_letter(data: bytes, limits: Limits = LIMITS) -> Letter:
    """The inverse of `encode_letter`.

    Raises:
        MalformedMessageError: The bytes are no letter, or over a limit.
        IncompatiblePeerError: Of another version of the protocol.
    """
    pieces, rest = opened(_LETTER, data, limits)
    if rest:
        raise MalformedMessageError(f"{len(rest)} bytes after the letter")
    head = as_list(pieces.item(), range(9, 10))
    site, incarnation, seq, nonce, rows, nonces, told, reader_count, revoked = head
    row_count, rows = as_list(rows, range(2, 3))
    within(as_int(row_count, 1, INT64_MAX), PARTS_MAX, "parts")
    told_count, sites = as_list(told, range(2, 3))
    within(as_int(told_count, 0, INT64_MAX), READERS_MAX, "sites")
    within(as_int(reader_count, 0, INT64_MAX), READERS_MAX, "readers")
    within(as_int(revoked, 0, INT64_MAX), REVOCATIONS_MAX, "revocations")
    names = Names(pieces)
    base, claim, frontier = (names.frontier(pieces) for _ in range(3))
    if claim.scopes != base.scopes:
        raise MalformedMessageError("a claim speaks of other tables than its base")
    frontiers = [names.frontier(pieces) for _ in range(told_count)]
    readers = [_read_acquaintance(pieces, limits) for _ in range(reader_count)]
    revocations = tuple(_revocation(pieces.item()) for _ in range(revoked))
    pieces.finish()
    return Letter(
        origin=Origin(SiteId(as_bytes(site, SITE_ID_BYTES)), as_int(incarnation, 0, UINT64_MAX)),
        latest=_entry(seq, nonce),
        rows=tuple(ints(rows, row_count, 0, INT64_MAX)),
        base=base,
        claim=claim,
        frontier=frontier,
        nonces=_read_lineage(nonces, limits),
        told=unique(map(SiteId, split_keys(sites, told_count)), frontiers),
        readers=unique([reader for reader, _ in readers], [known for _, known in readers]),
        revocations=revocations,
    )


def _revocation(found: Any) -> bytes:
    if type(found) is not bytes:
        raise MalformedMessageError("expected a revocation")
    return found


def _read_acquaintance(pieces: Pieces, limits: Limits) -> tuple[SiteId, Acquaintance]:
    site, known, lineages = as_list(pieces.item(), range(3, 4))
    if known is not None:
        incarnation, *entry = as_list(known, range(3, 4))
        known = Known(as_int(incarnation, 0, UINT64_MAX), _entry(*entry))
    listed = [as_list(one, range(4, 5)) for one in as_list(lineages, range(limits.lineage))]
    numbers = [as_int(number, 0, UINT64_MAX) for number, *_ in listed]
    found = unique(numbers, [_read_lineage(rest, limits) for _, *rest in listed])
    return SiteId(as_bytes(site, SITE_ID_BYTES)), Acquaintance(known, found)


def _read_lineage(lineage: Any, limits: Limits) -> dict[int, int]:
    count, seqs, nonces = as_list(lineage, range(3, 4))
    within(as_int(count, 0, INT64_MAX), limits.lineage, "changesets of a lineage")
    return unique(ints(seqs, count, 0, INT64_MAX), ints(nonces, count, 0))


def _entry(seq: Any, nonce: Any) -> Entry:
    return Entry(as_int(seq, 0, INT64_MAX), as_int(nonce, 0, UINT64_MAX))


def missing(arrived: Sequence[int], parts: int) -> list[int]:
    """The parts that are not here."""
    here = set(arrived)
    return [part for part in range(1, parts + 1) if part not in here]


__all__ = [
    "PARTS_MAX",
    "Acquaintance",
    "Envelope",
    "Head",
    "Letter",
    "LimitExceededError",
    "PartReader",
    "decode_letter",
    "encode_letter",
    "missing",
    "opening",
    "sealed_section",
    "signed_part",
    "tail",
    "verified",
]
