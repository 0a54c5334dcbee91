"""What two sites say to each other when they compare their rows: a question, and the finding.

The asking side says what it holds, in ever smaller ranges; the answering side says where it holds
something else. Neither changes anything. See `fingerprints.py` for what is compared and
`comparing.py` for who asks what, and `question_bytes.py` for how both travel.

Tables are named by four bytes of a hash in questions, since most of them are equal.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from syncproto.fingerprints import CHECK_BYTES, Content
from syncproto.identity import RowKey

QUESTION, FINDING = b"SQ", b"SF"
RUN_BYTES = 8
TABLE_HASH_BYTES = 4
PLACE_BYTES = 8
SPLIT_BITS_MAX = 5  # 32 ranges: 192 bytes of checks
GROUPS = 16  # of tables, told first; a schema has some 200

TableHash = bytes


class Split(NamedTuple):
    """A range in parts, `bits` further down, by their checks.

    Attributes:
        table: `table_hash` of its name.
    """

    table: TableHash
    depth: int
    prefix: int
    bits: int
    checks: tuple[int, ...]


class Leaf(NamedTuple):
    """All rows of a range, by their places and the low bits of their hashes."""

    table: TableHash
    depth: int
    prefix: int
    rows: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Question:
    """
    Attributes:
        run: Which comparison this belongs to, `RUN_BYTES` random bytes: what one side has read
            of its tables for the first question it keeps for the others.
        groups: To begin with: a check of each of `GROUPS` groups of tables (`group_checks`).
        tables: Checks of tables, by hash.
        asked_groups: With tables: whose groups these are all tables of, a bit for each.
        splits, leaves: See there.
        wanted: Keys of rows that are to be told whole, by table hash.
    """

    run: bytes
    groups: tuple[int, ...] = ()
    tables: Mapping[TableHash, int] | None = None
    asked_groups: int = 0
    splits: tuple[Split, ...] = ()
    leaves: tuple[Leaf, ...] = ()
    wanted: Mapping[TableHash, tuple[RowKey, ...]] | None = None


class Told(NamedTuple):
    """A table that differs: its rows there, and how far down its ranges are kept."""

    rows: int
    depth: int


class LeafFound(NamedTuple):
    """What is otherwise in a leaf, by the numbers of its rows.

    Attributes:
        different: Rows that have another hash there, with their keys.
        missing: Rows that are not there.
        more: Keys of rows that are only there.
        beyond: How many more of these there are than were named.
    """

    different: tuple[tuple[int, RowKey], ...]
    missing: tuple[int, ...]
    more: tuple[RowKey, ...]
    beyond: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer to a question, part by part.

    Attributes:
        unshown: With groups: rows that are replicated there and not shown, by table's name.
        groups: The groups that differ, a bit for each, the first in the lowest.
        tables: Those that differ, by hash.
        unknown: Tables of the question that are not replicated there, by hash.
        others: Tables of the groups asked about that the question does not name: rows by name.
        splits: For each split the number of rows there of the parts that differ, by part.
        leaves: For each leaf.
        rows: The rows wanted, as far as they are there: an encoded chunk of which the base is
            what the answering side has seen of their tables; b"" if none were wanted.
    """

    run: bytes
    unshown: Mapping[str, int] | None = None
    groups: int = 0
    tables: Mapping[TableHash, Told] | None = None
    unknown: frozenset[TableHash] = frozenset()
    others: Mapping[str, int] | None = None
    splits: tuple[Mapping[int, int], ...] = ()
    leaves: tuple[LeafFound, ...] = ()
    rows: bytes = b""


def table_hash(name: str) -> TableHash:
    """What stands for a table in a question."""
    return hashlib.sha256(name.encode()).digest()[:TABLE_HASH_BYTES]


def group_of(table: TableHash) -> int:
    return table[0] % GROUPS


def group_checks(totals: Mapping[str, Content]) -> tuple[int, ...]:
    """A check of each group: of the names and contents of its tables."""
    hashers = [hashlib.blake2b(digest_size=CHECK_BYTES) for _ in range(GROUPS)]
    for name, content in sorted(totals.items()):
        hasher = hashers[group_of(table_hash(name))]
        told = f"{len(name.encode())}:{name}:{content.rows}:{content.total};"
        hasher.update(told.encode())
    return tuple(int.from_bytes(hasher.digest(), "big") for hasher in hashers)


def is_question(body: bytes) -> bool:
    return body[:2] == QUESTION
