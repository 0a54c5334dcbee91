"""The letter in each part of a bundle: what the whole claims, and what its exporter knows.

See "Bundles" in protocol/README.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from syncproto.bundle import PARTS_MAX, READERS_MAX
from syncproto.directory import Directory, Names, unique
from syncproto.errors import MalformedMessageError
from syncproto.frames import (
    INT64_MAX,
    UINT64_MAX,
    Pieces,
    as_bytes,
    as_int,
    as_list,
    frame,
    item,
    opened,
)
from syncproto.frontier import Entry, Frontier
from syncproto.identity import SITE_ID_BYTES, Origin, SiteId
from syncproto.integers import ints, packed_ints, split_keys
from syncproto.limits import LIMITS, Limits, within
from syncproto.messages import Known

REVOCATIONS_MAX = 4_096
_LETTER = b"SL"


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
