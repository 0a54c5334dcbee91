"""Two sites find which rows differ: who asks what, as values.

The asking side (`Comparison`) goes down from groups of tables to tables, ranges and rows, many of
them in each question, so the number of round trips grows with the depth and not with the number of
differences. The answering side (`answered`) keeps nothing but what it has read.

Rows that change meanwhile cost a few bytes and may be named as different; whoever needs to know
looks at the stamps of the rows that were named.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from syncproto.errors import UnexpectedMessageError
from syncproto.fingerprints import CHECK_MASK, Content, Range, Source
from syncproto.identity import RowKey
from syncproto.questions import (
    GROUPS,
    SPLIT_BITS_MAX,
    Finding,
    Leaf,
    LeafFound,
    Question,
    Reading,
    Split,
    TableHash,
    Told,
    group_checks,
    group_of,
    table_hash,
)
from syncproto.shapes import Shape, shapes_apart

LEAF_ROWS_MAX = 8  # a row in a leaf costs 6 bytes, and so does a range
# While few ranges differ they are cut in 32: that saves round trips. Of many, each with few
# differences, most of 32 parts would be told for nothing.
FEW_RANGES, MANY_BITS = 32, 3
LISTED_ROWS_MAX = 256  # rows of one range that are only there are named; beyond, counted
SENT_ROWS_MAX = 1_024  # rows of one range that are told; beyond, they are only counted
FOUND_ROWS_MAX = 100_000  # rows named as different, of all tables; beyond, they are only counted
# Aimed at: each question for rows makes both sides look at all keys of a table, and an item has
# 256 KiB at most.
QUESTION_BYTES = 192 << 10
# What parts of a question take besides checks and rows, at most.
_SPLIT_BYTES, _LEAF_BYTES, _CHECK, _LEAF_ROW, _KEY = 14, 14, 6, 6, 16


@dataclass(slots=True)
class TableDifference:
    """What was found of one table.

    Attributes:
        here, there: Rows on either side.
        different: Rows of both sides with other values.
        only_here, only_there: Rows of one side.
        uncounted: Rows of `different`, `only_here` and `only_there` beyond those named, as far
            as numbers tell: rows of both sides count as different there.
        unknown: The other side does not replicate the table, or this one does not.
        namings: What its rows are named by here and there, if that is not the same: then no row
            can be compared.
        lacks_here, lacks_there: Columns that one side has dropped; they were left out.
    """

    here: int = 0
    there: int = 0
    different: list[RowKey] = field(default_factory=list)
    only_here: list[RowKey] = field(default_factory=list)
    only_there: list[RowKey] = field(default_factory=list)
    uncounted: tuple[int, int, int] = (0, 0, 0)
    unknown: bool = False
    namings: tuple[str, str] | None = None
    lacks_here: tuple[str, ...] = ()
    lacks_there: tuple[str, ...] = ()

    @property
    def named(self) -> int:
        return len(self.different) + len(self.only_here) + len(self.only_there)

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Rows that are the same, different, only here, only there."""
        if self.unknown or self.namings:
            return 0, 0, self.here, self.there
        more = self.uncounted
        different = len(self.different) + more[0]
        only_here = len(self.only_here) + more[1]
        only_there = len(self.only_there) + more[2]
        return max(0, self.here - different - only_here), different, only_here, only_there

    @property
    def equal(self) -> bool:
        return not (self.unknown or self.namings or any(self.counts[1:]))


@dataclass(slots=True)
class _Pending:
    """A range that differs, and how many rows it has there."""

    where: Range
    there: int


class Comparison:
    """The asking side: `question`, then `heard` with its finding, until there is no question.

    Args:
        ours: What we hold, of the tables that are to be compared.
        run: `RUN_BYTES` random bytes.
        question_bytes: How long a question may be, about.
        found_rows_max: How many rows are named.

    Attributes:
        tables: What was found, by table.
        unshown: Rows that the other side has and does not show, by table.
        reading: Of when the other side's answers are, once it has said so.
    """

    def __init__(
        self,
        ours: Source,
        *,
        run: bytes,
        question_bytes: int = QUESTION_BYTES,
        found_rows_max: int = FOUND_ROWS_MAX,
    ) -> None:
        self._ours = ours
        self._run = run
        self._question_bytes = question_bytes
        self._found_rows_max = found_rows_max
        self._names = {table_hash(name): name for name in ours.totals}
        assert len(self._names) == len(ours.totals), "hashes tell tables apart"
        self._depths: dict[str, int] = {}
        self._begun = False
        self._groups = 0  # whose tables are to be asked
        self._tables_to_ask: list[str] = []
        self._left_out: dict[str, tuple[str, ...]] = {}
        self._pending: list[_Pending] = []
        self._asked: list[tuple[_Pending, int]] = []  # splits of the question that is out
        self._asked_rows: list[tuple[Range, list[tuple[RowKey, int]]]] = []
        self._found = 0
        self.tables: dict[str, TableDifference] = {
            name: TableDifference(here=content.rows, there=content.rows)
            for name, content in ours.totals.items()
        }
        self.unshown: Mapping[str, int] = {}
        self.reading: Reading | None = None

    def question(self) -> Question | None:
        """What to ask next; None at the end."""
        if not self._begun:
            return Question(self._run, groups=group_checks(self._ours.totals, self._ours.shapes))
        if self._groups or self._tables_to_ask:
            return self._ask_tables()
        if self._found >= self._found_rows_max:
            self._only_count()
        return self._descend() if self._pending else None

    def heard(self, finding: Finding) -> None:
        """Take in the finding of the last question.

        Raises:
            UnexpectedMessageError: It answers something else.
        """
        if finding.run != self._run:
            raise UnexpectedMessageError("the finding is of another comparison")
        if not self._begun:
            self._begun = True
            self.unshown = finding.unshown or {}
            self.reading = finding.reading
            self._groups = finding.groups
            self._tables_to_ask = [
                name
                for name in self._ours.totals
                if finding.groups >> group_of(table_hash(name)) & 1
            ]
        elif self._groups or self._tables_to_ask:
            if self._groups:
                self._note_others(finding)
            self._groups = 0
            self._heard_tables(finding)
        else:
            self._heard_ranges(finding)

    # Tables

    def _ask_tables(self) -> Question:
        """First of all tables of a group; then again of those without the columns that one side
        dropped."""
        named = {table_hash(name): name for name in self._tables_to_ask}
        shapes = {table: self._ours.shapes[name].check for table, name in named.items()}
        return Question(
            self._run,
            tables={table: self._ours.totals[name].check for table, name in named.items()},
            asked_groups=self._groups,
            shapes=shapes if self._groups else None,
            left_out=self._told_left_out,
        )

    @property
    def _told_left_out(self) -> dict[TableHash, tuple[str, ...]] | None:
        return {table_hash(name): columns for name, columns in self._left_out.items()} or None

    def _note_others(self, finding: Finding) -> None:
        for name, count in (finding.others or {}).items():
            if name not in self._ours.totals:
                self.tables[name] = TableDifference(there=count, unknown=True)

    def _heard_tables(self, finding: Finding) -> None:
        asked, self._tables_to_ask = self._tables_to_ask, []
        for name in asked:
            hashed = table_hash(name)
            here = self._ours.totals[name].rows
            if hashed in finding.unknown:
                self.tables[name] = TableDifference(here=here, unknown=True)
                continue
            told = (finding.tables or {}).get(hashed)
            shape = (finding.shapes or {}).get(hashed)
            if self._set_apart(name, shape, told) or told is None:
                continue
            table = self.tables[name]
            table.there = told.rows
            self._depths[name] = min(self._ours.depth(name), told.depth)
            self._pending.append(_Pending(Range(name, 0, 0), told.rows))
        if self._tables_to_ask:
            self._ours.leave_out(self._left_out)

    def _set_apart(self, name: str, shape: Shape | None, told: Told | None) -> bool:
        """Whether the ranges of the table are not to be asked about, or not yet."""
        ours, table = self._ours.shapes[name], self.tables[name]
        theirs = shape or ours
        if told is not None:
            table.there = told.rows
        if theirs.naming != ours.naming:
            table.namings = ours.naming, theirs.naming
            return True
        dropped = tuple(sorted({*ours.dropped, *theirs.dropped}))
        if told is None or not dropped or name in self._left_out:
            return False
        table.lacks_here, table.lacks_there = ours.dropped, theirs.dropped
        self._left_out[name] = dropped
        self._tables_to_ask.append(name)
        return True

    # Ranges and rows

    def _descend(self) -> Question | None:
        splits: list[Split] = []
        leaves: list[Range] = []
        alone: list[Range] = []  # nothing of them is there
        room = self._question_bytes
        self._asked = []
        bits_max = SPLIT_BITS_MAX if len(self._pending) <= FEW_RANGES else MANY_BITS
        while self._pending and room > 0:
            pending = self._pending.pop()
            here = self._ours.content(pending.where).rows
            bits = min(bits_max, self._bits(pending, here))
            if not pending.there and here <= LISTED_ROWS_MAX:
                alone.append(pending.where)
                continue
            if not bits and _too_many(here, pending.there):
                self._count(pending.where.table, here, pending.there)
                continue
            if bits:
                splits.append(self._split(pending.where, bits))
                self._asked.append((pending, bits))
                room -= _SPLIT_BYTES + (_CHECK << bits)
            else:
                leaves.append(pending.where)
                # The finding may name each row that is only there.
                room -= _LEAF_BYTES + _LEAF_ROW * here + _KEY * max(0, pending.there - here)
        rows = self._ours.rows([*leaves, *alone]) if leaves or alone else {}
        for where in alone:
            self.tables[where.table].only_here += [key for key, _ in rows[where]]
            self._found += len(rows[where])
        if not splits and not leaves:
            return self.question()
        self._asked_rows = [(where, list(rows[where])) for where in leaves]
        return Question(
            self._run,
            left_out=self._told_left_out,
            splits=tuple(splits),
            leaves=tuple(
                Leaf(
                    table_hash(where.table),
                    where.depth,
                    where.prefix,
                    tuple(row & CHECK_MASK for _, row in found),
                )
                for where, found in self._asked_rows
            ),
        )

    def _bits(self, pending: _Pending, here: int) -> int:
        """How far down to cut the range; 0 to compare its rows."""
        most = max(here, pending.there)
        left = self._depths[pending.where.table] - pending.where.depth
        if most <= LEAF_ROWS_MAX or not (here and pending.there) or left <= 0:
            return 0
        return min(SPLIT_BITS_MAX, left, max(1, (most // (LEAF_ROWS_MAX // 2)).bit_length()))

    def _split(self, where: Range, bits: int) -> Split:
        checks = tuple(self._ours.content(part).check for part in where.parts(bits))
        return Split(table_hash(where.table), where.depth, where.prefix, bits, checks)

    def _heard_ranges(self, finding: Finding) -> None:
        if len(finding.splits) != len(self._asked) or len(finding.leaves) != len(self._asked_rows):
            raise UnexpectedMessageError("the finding has other ranges than the question")
        for (pending, bits), found in zip(self._asked, finding.splits, strict=True):
            self._heard_split(pending.where.parts(bits), found)
        for (where, rows), leaf in zip(self._asked_rows, finding.leaves, strict=True):
            self._heard_leaf(where.table, rows, leaf)
        self._asked, self._asked_rows = [], []

    def _heard_split(self, parts: Sequence[Range], found: Mapping[int, int]) -> None:
        for at, there in found.items():
            if at >= len(parts):
                raise UnexpectedMessageError("the finding has more ranges than the question")
            self._pending.append(_Pending(parts[at], there))

    def _heard_leaf(self, name: str, rows: Sequence[tuple[RowKey, int]], leaf: LeafFound) -> None:
        if any(at >= len(rows) for at in leaf.missing):
            raise UnexpectedMessageError("the finding has more rows than the question")
        keys, more = {key for key, _ in rows}, set(leaf.more)
        alone = [rows[at][0] for at in leaf.missing if rows[at][0] not in more]
        table = self.tables[name]
        table.different += [key for key in leaf.more if key in keys]
        table.only_there += [key for key in leaf.more if key not in keys]
        if leaf.beyond:
            # Of rows that were not named nobody can say which are there with other values.
            self._count(name, len(alone), leaf.beyond)
        else:
            table.only_here += alone
        self._found += len(leaf.missing) + len(leaf.more)

    def _only_count(self) -> None:
        pending, self._pending = self._pending, []
        for one in pending:
            self._count(one.where.table, self._ours.content(one.where).rows, one.there)

    def _count(self, name: str, here: int, there: int) -> None:
        table = self.tables[name]
        both = min(here, there)
        different, only_here, only_there = table.uncounted
        table.uncounted = (different + both, only_here + here - both, only_there + there - both)


def _too_many(here: int, there: int) -> bool:
    """To name, or to tell, the rows of a range that is not cut further."""
    return (
        here > SENT_ROWS_MAX
        or (not there and here > LISTED_ROWS_MAX)
        or (not here and there > LISTED_ROWS_MAX)
    )


def answered(question: Question, ours: Source, unshown: Mapping[str, int]) -> Finding:
    """What the answering side finds; the caller adds the rows that are wanted.

    Raises:
        UnexpectedMessageError: The question names a table that is not here, or a range deeper
            than was told.
    """
    names = {table_hash(name): name for name in ours.totals}
    if question.left_out:
        ours.leave_out(
            {names[table]: out for table, out in question.left_out.items() if table in names}
        )
    tables, unknown, others = _tables(question, ours, names)
    shapes = {table: ours.shapes[name] for table, name in names.items()}
    ranges = [_range(leaf, names) for leaf in question.leaves]
    rows = ours.rows(ranges) if ranges else {}
    return Finding(
        question.run,
        unshown=unshown if question.groups else None,
        groups=_groups(question, ours),
        tables=tables,
        unknown=unknown,
        others=others,
        splits=tuple(_split_found(split, ours, names) for split in question.splits),
        leaves=tuple(
            _leaf_found(leaf, rows[where])
            for leaf, where in zip(question.leaves, ranges, strict=True)
        ),
        shapes=shapes_apart(question.shapes or {}, shapes) or None,
    )


def _groups(question: Question, ours: Source) -> int:
    if not question.groups:
        return 0
    found = group_checks(ours.totals, ours.shapes)
    return sum(1 << at for at in range(GROUPS) if found[at] != question.groups[at])


def _tables(
    question: Question, ours: Source, names: Mapping[TableHash, str]
) -> tuple[dict[TableHash, Told], frozenset[TableHash], dict[str, int]]:
    asked = question.tables or {}
    different = {
        table: Told(ours.totals[names[table]].rows, ours.depth(names[table]))
        for table, check in asked.items()
        if table in names and _differs(ours.totals[names[table]], check)
    }
    others = {
        name: content.rows
        for name, content in ours.totals.items()
        if question.asked_groups >> group_of(table_hash(name)) & 1 and table_hash(name) not in asked
    }
    return different, frozenset(asked.keys() - names.keys()), others


def _differs(content: Content, check: int) -> bool:
    return content.check != check


def _range(part: Split | Leaf, names: Mapping[TableHash, str]) -> Range:
    name = names.get(part.table)
    if name is None:
        raise UnexpectedMessageError("the question names a table that is not replicated here")
    return Range(name, part.depth, part.prefix)


def _split_found(split: Split, ours: Source, names: Mapping[TableHash, str]) -> dict[int, int]:
    where = _range(split, names)
    if split.depth + split.bits > ours.depth(where.table):
        raise UnexpectedMessageError("the question names a range deeper than was told")
    found = {}
    for at, (part, check) in enumerate(zip(where.parts(split.bits), split.checks, strict=True)):
        content = ours.content(part)
        if content.check != check:
            found[at] = content.rows
    return found


def _leaf_found(leaf: Leaf, rows: Sequence[tuple[RowKey, int]]) -> LeafFound:
    here, there = {row & CHECK_MASK for _, row in rows}, set(leaf.rows)
    missing = tuple(at for at, check in enumerate(leaf.rows) if check not in here)
    more = tuple(key for key, row in rows if row & CHECK_MASK not in there)
    listed = more[:LISTED_ROWS_MAX]
    return LeafFound(missing, listed, len(more) - len(listed))


def wanted_in_parts(
    keys_by_table: Mapping[str, Sequence[RowKey]], *, rows_max: int
) -> Iterator[dict[str, tuple[RowKey, ...]]]:
    """Keys of rows that are to be told whole, so many a question."""
    part: dict[str, tuple[RowKey, ...]] = {}
    room = rows_max
    for table, keys in keys_by_table.items():
        for start in range(0, len(keys), rows_max):
            some = tuple(keys[start : start + rows_max])
            if len(some) > room:
                yield part
                part, room = {}, rows_max
            part[table] = (*part.get(table, ()), *some)
            room -= len(some)
    if part:
        yield part
