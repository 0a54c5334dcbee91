"""Range fingerprints: which rows differ, at a cost that grows with the difference.

Each row has a place on a line of 64 bits, a hash of its key, and a hash of its key and values. A
range is all rows of one table whose places begin with the same bits; its content is their number
and the sum of their hashes modulo 2**64. Two sites whose contents of a range agree hold the same
rows there but for a chance of 2**-48 (the bits that are told); where they differ, the range is
cut into smaller ones, down to single rows (`comparing.py`).

Places are hashes and no prefixes of the key itself, since many applications make their keys by
counting: those would all lie in one range.

After Minsky and Trachtenberg, "Practical Set Reconciliation", Allerton 2002, and Meyer,
"Range-Based Set Reconciliation", SRDS 2023, without their tree: a site reads its rows once and
keeps the contents of up to 2**`DEPTH_MAX` ranges of each table (`Summary`).
"""

from array import array
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol

from syncproto.frames import dumped
from syncproto.identity import RowKey
from syncproto.row import Reference, Value
from syncproto.shapes import Shape

PLACE_BITS = 64
HASH_MASK = (1 << 64) - 1
CHECK_BYTES = 6  # of a content, as it is told
CHECK_MASK = (1 << 8 * CHECK_BYTES) - 1
# 262,144 ranges take 4 MB a table; of a million rows each of them holds four.
DEPTH_MAX = 18
# What one side cannot cut into smaller ranges the other one cannot either, so that a small table
# is cut further than it needs, lest a large one meet it.
DEPTH_MIN = 12
ROWS_A_RANGE = 4
RANGES_MAX = 1 << 22  # of all tables together: 64 MB
_COUNTED = 0x9E3779B97F4A7C15  # odd, its bits well mixed
PATTERNS_KEPT = 4_096  # sets of columns that are not NULL; tables of a schema have a few each

Hashed = tuple[RowKey, int]
"""A row: its key, and the hash of key and values."""


class Content(NamedTuple):
    """The rows of a range: how many, and the sum of their hashes modulo 2**64."""

    rows: int
    total: int

    @property
    def check(self) -> int:
        """What is told of it; the number, too, so that no rows are nothing."""
        return (self.total + self.rows * _COUNTED) & CHECK_MASK


class Range(NamedTuple):
    """The rows of a table whose places begin with the `depth` bits of `prefix`."""

    table: str
    depth: int
    prefix: int

    def holds(self, place: int) -> bool:
        return place >> (PLACE_BITS - self.depth) == self.prefix

    def parts(self, bits: int) -> list["Range"]:
        """The ranges that it falls into, `bits` further down."""
        first = self.prefix << bits
        return [Range(self.table, self.depth + bits, first + n) for n in range(1 << bits)]


class Source(Protocol):
    """What one side says of its rows; as of the moment when it was read, but for `rows`."""

    totals: Mapping[str, Content]
    """Each table whole."""
    shapes: Mapping[str, Shape]
    """What rows are named by, and the columns."""

    def leave_out(self, columns: Mapping[str, tuple[str, ...]]) -> None:
        """From now on these columns of these tables do not count; other tables stay as they
        are."""
        ...

    def depth(self, table: str) -> int:
        """How far down contents are kept."""
        ...

    def content(self, where: Range) -> Content:
        """Of a range that is not deeper than `depth`."""
        ...

    def rows(self, ranges: Sequence[Range]) -> Mapping[Range, Sequence[Hashed]]:
        """The rows of these ranges as they stand now."""
        ...


def place_of(key: bytes) -> int:
    """Where on the line of 64 bits a row lies."""
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")


def depth_for(count: int, depth_max: int = DEPTH_MAX) -> int:
    """How many bits cut so many rows into ranges of about `ROWS_A_RANGE`."""
    return min(max((count // ROWS_A_RANGE).bit_length(), DEPTH_MIN), depth_max)


def depth_bound(counts: Sequence[int], ranges_max: int = RANGES_MAX) -> int:
    """The depth to which all these tables can be kept within `ranges_max` ranges."""
    bound = DEPTH_MAX
    while bound > 0 and sum(1 << depth_for(count, bound) for count in counts) > ranges_max:
        bound -= 1
    return bound


class Summary:
    """Contents of all ranges of one table down to `depth`, in memory that `depth` bounds."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._counts = array("Q", bytes(8 << depth))
        self._totals = array("Q", bytes(8 << depth))

    def add(self, key: bytes, row: int) -> None:
        """Count a row by its key and hash."""
        at = place_of(key) >> (PLACE_BITS - self.depth)
        self._counts[at] += 1
        self._totals[at] = (self._totals[at] + row) & HASH_MASK

    def content(self, depth: int, prefix: int) -> Content:
        """Of the range at `depth`, which is at most ours."""
        width = 1 << (self.depth - depth)
        part = slice(prefix * width, (prefix + 1) * width)
        return Content(sum(self._counts[part]), sum(self._totals[part]) & HASH_MASK)


class RowHasher:
    """Hashes the rows of one table.

    The hash covers the names of the columns that are not NULL, the key, and their values: a
    column that only one of two sites has makes no difference while it is empty.

    Args:
        columns: Names, in the order of the values that are given.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self._order = sorted(range(len(columns)), key=lambda at: columns[at])
        self._columns = columns
        self._in_order = self._order == list(range(len(columns)))
        self._started: dict[tuple[int, ...] | None, blake2b] = {}

    def hash(self, key: bytes, values: Sequence[Value]) -> int:
        """Of a row by its key and canonical values (`canonical`)."""
        if not self._in_order:
            values = [values[at] for at in self._order]
        present = None
        if None in values:
            present = tuple([at for at, value in enumerate(values) if value is not None])
            values = [values[at] for at in present]
        started = self._started.get(present)
        if started is None:
            started = self._start(present)
        hasher = started.copy()
        hasher.update(key)
        hasher.update(_encoded(values))
        return int.from_bytes(hasher.digest(), "big")

    def _start(self, present: tuple[int, ...] | None) -> blake2b:
        names = [self._columns[at] for at in self._order]
        if present is not None:
            names = [names[at] for at in present]
        started = blake2b(dumped(names), digest_size=8)
        if len(self._started) < PATTERNS_KEPT:
            self._started[present] = started
        return started


def canonical(value: Value) -> Value:
    """A cell's value in the one form in which it is hashed: numbers that are whole are integers,
    references are the keys of their rows."""
    if isinstance(value, Reference):
        return value.key
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _encoded(values: Sequence[Value]) -> bytes:
    try:
        return dumped(list(values))
    except UnicodeEncodeError:
        # Half a surrogate pair, which some engines keep: told apart from what is sound text.
        return dumped(
            [
                [value.encode("utf-8", "surrogatepass")] if isinstance(value, str) else value
                for value in values
            ]
        )
