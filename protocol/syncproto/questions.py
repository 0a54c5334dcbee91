"""What two sites say to each other when they compare their rows: a question, and the finding.

The asking side says what it holds, in ever smaller ranges; the answering side says where it holds
something else. Neither changes anything. See `fingerprints.py` for what is compared and
`comparing.py` for who asks what, and `question_bytes.py` for how both travel.

Tables are named by four bytes of a hash in questions, since most of them are equal.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from syncproto.fingerprints import CHECK_BYTES, Content
from syncproto.identity import RowKey
from syncproto.row import Stamp
from syncproto.shapes import Shape, ShapeCheck

QUESTION, FINDING = b"SQ", b"SF"
RUN_BYTES = 8
TABLE_HASH_BYTES = 4
SPLIT_BITS_MAX = 5  # 32 ranges: 192 bytes of checks
GROUPS = 16  # of tables, told first; a schema has some 200
KEYS_CHECK_BYTES = 16  # of the keys of a page: what it lets stand is not looked at again
COLUMNS_CHECK_BYTES = 8
PAGE_ROWS_MAX = 24_000  # the stamps of so many rows are items of 192 kB each at worst
PAGE_KEYS_MAX = 8_000  # keys told, or left out, of a page: 128 kB
BY_RULE = 0  # in the place of a reading: the row's own times say it (see protocol/README.md)

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
    """All rows of a range, by the low bits of their hashes."""

    table: TableHash
    depth: int
    prefix: int
    rows: tuple[int, ...]


class Reading(NamedTuple):
    """Of when a site's reading of its tables is: what bears a higher lsn may not be in it."""

    incarnation: int
    lsn: int


class PageAsked(NamedTuple):
    """Rows between two keys, of which the answering side is to tell the stamps.

    Attributes:
        table: `table_hash` of its name.
        columns: `columns_check` of the table here.
        after, upto: The page has the keys above `after`, up to `upto`; b"" for no bound.
        left_out: Keys that the answer is to pass over.
    """

    table: TableHash
    columns: bytes
    after: bytes
    upto: bytes
    left_out: tuple[RowKey, ...] = ()


class RestAsked(NamedTuple):
    """What a delta from nothing would bring besides the rows that pages tell.

    Attributes:
        after: The lsn that the asker has reached.
        paged: Tables of which plain rows are left out.
        passed_over: Tables that the asker does not want.
    """

    after: int
    paged: tuple[TableHash, ...]
    passed_over: tuple[TableHash, ...]


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
        reading: Of the answering side, as it told: what follows is asked of that reading only.
        pages: See there.
        rest: See there.
        shapes: `Shape.check` of tables, by hash.
        left_out: Columns, by table, that do not count in this comparison.
    """

    run: bytes
    groups: tuple[int, ...] = ()
    tables: Mapping[TableHash, int] | None = None
    asked_groups: int = 0
    splits: tuple[Split, ...] = ()
    leaves: tuple[Leaf, ...] = ()
    wanted: Mapping[TableHash, tuple[RowKey, ...]] | None = None
    reading: Reading | None = None
    pages: tuple[PageAsked, ...] = ()
    rest: RestAsked | None = None
    shapes: Mapping[TableHash, ShapeCheck] | None = None
    left_out: Mapping[TableHash, tuple[str, ...]] | None = None


class Told(NamedTuple):
    """A table that differs: its rows there, and how far down its ranges are kept."""

    rows: int
    depth: int


class LeafFound(NamedTuple):
    """What is otherwise in a leaf.

    Attributes:
        missing: Numbers of the rows that are not there, or not with these values.
        more: Keys of the rows that the leaf does not have, or not with these values.
        beyond: How many more of these there are than were named.
    """

    missing: tuple[int, ...]
    more: tuple[RowKey, ...]
    beyond: int = 0


class PageTold(NamedTuple):
    """The rows of a page that the asker may take for its own, by their stamps.

    Told are plain rows: shown as they are replicated, all cells with one stamp, never deleted,
    unchanged since the reading.

    Attributes:
        upto: The last key that the page speaks of; b"" for no bound.
        check: `keys_check` of the rows that are told; b"" if the table has other columns there,
            and nothing is told.
        not_told: Keys of the other rows, and of those that were deleted since the reading.
        modified: Columns of the rule that says readings.
        stamps: Of the rows that are told, in the order of their keys. `BY_RULE` in the place of
            a reading: the rule says it.
    """

    upto: bytes
    check: bytes
    not_told: tuple[RowKey, ...] = ()
    modified: tuple[str, ...] = ()
    stamps: tuple[Stamp, ...] = ()


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
            what the answering side has seen of their tables; b"" if none were wanted. Or the
            rest: a chunk without base and claim, up to the lsn that it says.
        reading: With groups: of when the answers are.
        pages: For each page.
        shapes: Of the tables that have another one there than the question says.
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
    reading: Reading | None = None
    pages: tuple[PageTold, ...] = ()
    shapes: Mapping[TableHash, Shape] | None = None


def table_hash(name: str) -> TableHash:
    """What stands for a table in a question."""
    return hashlib.sha256(name.encode()).digest()[:TABLE_HASH_BYTES]


def group_of(table: TableHash) -> int:
    return table[0] % GROUPS


def group_checks(totals: Mapping[str, Content], shapes: Mapping[str, Shape]) -> tuple[int, ...]:
    """A check of each group: of the names and contents of its tables, and of what their rows are
    named by."""
    hashers = [hashlib.blake2b(digest_size=CHECK_BYTES) for _ in range(GROUPS)]
    for name, content in sorted(totals.items()):
        hasher = hashers[group_of(table_hash(name))]
        told = f"{len(name.encode())}:{name}:{content.rows}:{content.total};"
        naming = shapes[name].naming
        hasher.update(f"{told}{len(naming.encode())}:{naming};".encode())
    return tuple(int.from_bytes(hasher.digest(), "big") for hasher in hashers)


def keys_check(keys: Sequence[bytes]) -> bytes:
    """What two sites share exactly when these are the same keys in the same order."""
    return hashlib.blake2b(b"".join(keys), digest_size=KEYS_CHECK_BYTES).digest()


def columns_check(references: Mapping[str, str | None]) -> bytes:
    """Of the columns of a table that travel, each with the table that it refers to."""
    told = "".join(
        f"{len(name.encode())}:{name}{len((table or '').encode())}:{table or ''};"
        for name, table in sorted(references.items())
    )
    return hashlib.blake2b(told.encode(), digest_size=COLUMNS_CHECK_BYTES).digest()


def is_question(body: bytes) -> bool:
    return body[:2] == QUESTION
