"""The rows that a peer lacks, in the order of their arrival, and what may be claimed for them.

A delta is every row with a cell or a delete that the peer's frontier (the *base*) does not
cover, in the order of the sender's local sequence numbers (lsn). It is cut into chunks, each
from a fresh snapshot of the sender. A receiver keeps the chunks of one sender aside, durably,
and applies them together when that sender's tail is empty; only then its frontier moves, to
the sender's frontier *of that last snapshot* (the *claim*), and only if it covers the base of
every chunk (rules A1, A7 and A9 of the design).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

from syncproto.frontier import Frontier, VersionVector
from syncproto.identity import Dot, Origin, RowKey
from syncproto.merge import Conflict
from syncproto.row import Cell, Delete, Reference, Row, Stamp, Value


@dataclass(slots=True)
class Block:
    """Rows of one table that carry the same columns.

    Attributes:
        table: The table's name.
        columns: The columns carried; empty for rows that carry only a delete.
        references: For each column that holds references: the table it refers to. Values of
            such a column are row keys (or None).
        keys: The rows' keys.
        stamps: The stamp of each row's cells, but for those in `odd`. For a row that carries
            no cell: its delete's.
        values: A tuple for each row, in the order of `columns`.
        odd: Row index to column index to the stamp of that one cell.
        deletes: Row index to that row's delete.
    """

    table: str
    columns: tuple[str, ...]
    references: Mapping[str, str] = field(default_factory=dict)
    keys: list[RowKey] = field(default_factory=list)
    stamps: list[Stamp] = field(default_factory=list)
    values: list[Sequence[int | float | str | bytes | None]] = field(default_factory=list)
    odd: dict[int, dict[int, Stamp]] = field(default_factory=dict)
    deletes: dict[int, Delete] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self) -> Iterator[tuple[RowKey, Row]]:
        """Each row as a value of its own; slow, for few rows and for memory replicas."""
        for index, key in enumerate(self.keys):
            odd = self.odd.get(index, {})
            stamp = self.stamps[index]
            cells = {}
            for place, name in enumerate(self.columns):
                value: Value = self.values[index][place]
                if value is not None and name in self.references:
                    assert isinstance(value, bytes)
                    value = Reference(self.references[name], RowKey(value))
                cells[name] = Cell(odd.get(place, stamp), value)
            yield key, Row(cells, self.deletes.get(index))


class RowBlocks(Sequence[Block]):
    """Rows as values, gathered into blocks when somebody asks for blocks: whoever encodes them
    does, another replica in memory does not.

    Args:
        rows: Table, key and row, in the order of their arrival.
    """

    def __init__(self, rows: Sequence[tuple[str, RowKey, Row]]) -> None:
        self.rows = rows
        self._made: tuple[Block, ...] | None = None

    def _blocks(self) -> tuple[Block, ...]:
        if self._made is None:
            self._made = blocks_of(self.rows)
        return self._made

    def __len__(self) -> int:
        return len(self._blocks())

    @overload
    def __getitem__(self, index: int) -> Block: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Block]: ...

    def __getitem__(self, index: int | slice) -> Block | Sequence[Block]:
        return self._blocks()[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._blocks() == tuple(other)

    def __hash__(self) -> int:
        return hash(self._blocks())


class RecordedConflict(NamedTuple):
    """A conflict and who put it on record: the record's own dot travels like a cell's."""

    conflict: Conflict
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a delta: what changed in the sender's lsn range (`after`, `upto`].

    Attributes:
        sender: The origin whose lsn these are.
        base: The frontier that the chunk leaves out: what the receiver was believed to have.
        after: The lsn that the receiver must have reached with this sender; 0 to begin.
        upto: The lsn reached with this chunk.
        records: Conflict records; they come before the rows.
        blocks: The rows.
        claim: The sender's frontier of this chunk's snapshot if the tail is empty now,
            otherwise None.
        total: Rows still to come after this chunk, at most; for progress only.
    """

    sender: Origin
    base: Frontier
    after: int
    upto: int
    records: tuple[RecordedConflict, ...]
    blocks: Sequence[Block]
    claim: Frontier | None
    total: int = 0

    @property
    def row_count(self) -> int:
        if isinstance(self.blocks, RowBlocks):
            return len(self.blocks.rows)
        return sum(len(block) for block in self.blocks)

    def rows(self) -> Iterator[tuple[str, RowKey, Row]]:
        """Each row as a value of its own, with its table and key."""
        if isinstance(self.blocks, RowBlocks):
            yield from self.blocks.rows
            return
        for block in self.blocks:
            for key, row in block.rows():
                yield block.table, key, row


class Cursor(NamedTuple):
    """How far a receiver has come in a sender's delta: that origin's lsn."""

    sender: Origin
    lsn: int


class LedgerLine(NamedTuple):
    """When a frontier reached a changeset: everything older lies below `lsn`."""

    dot: Dot
    lsn: int


def start_lsn(ledger: Iterable[LedgerLine], base: Frontier, scopes: Iterable[str]) -> int | None:
    """The lsn below which `base` covers everything of `scopes`; None if it covers all.

    `ledger` holds, for each origin, the lines in any order; a line says that the changesets
    of its origin up to `dot.seq` arrived with rows from `lsn` on.
    """
    vectors = base.within(scopes).distinct()
    least: dict[Origin, int] = {}
    start: int | None = None
    for (origin, seq), lsn in ledger:
        if origin not in least:
            least[origin] = min((vector.seq(origin) for vector in vectors), default=0)
        if seq > least[origin] and (start is None or lsn < start):
            start = lsn
    return start


def uncovered(row: Row, base: VersionVector) -> Row | None:
    """What of a row a peer with this vector lacks; None if it has all."""
    entries, cells = base.entries, row.cells
    lacking: dict[str, Cell] = {}
    stamp: Stamp | None = None
    covered = False
    for name, cell in cells.items():
        # Cells written together mostly share one stamp.
        if cell[0] is not stamp:
            stamp = cell[0]
            entry = entries.get(stamp[1])
            covered = entry is not None and entry[0] >= stamp[2]
        if not covered:
            lacking[name] = cell
    delete = row.delete
    if delete is not None and all(map(base.covers, delete.stamps)):
        delete = None
    if not lacking and delete is None:
        return None
    if len(lacking) == len(cells) and delete is row.delete:
        return row
    return Row(lacking, delete)


def blocks_of(rows: Iterable[tuple[str, RowKey, Row]]) -> tuple[Block, ...]:
    """Rows gathered into blocks by table and columns, in the order in which they come."""
    blocks: dict[tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]], Block] = {}
    for table, key, row in rows:
        columns = tuple(sorted(row.cells))
        references = tuple(
            (name, value.table)
            for name in columns
            if isinstance(value := row.cells[name].value, Reference)
        )
        where = (table, columns, references)
        block = blocks.get(where)
        if block is None:
            block = blocks[where] = Block(table, columns, dict(references))
        _append(block, key, row)
    return tuple(blocks.values())


def _append(block: Block, key: RowKey, row: Row) -> None:
    index = len(block.keys)
    cells = [row.cells[name] for name in block.columns]
    if cells:
        base = cells[0][0]
        if any(cell[0] is not base for cell in cells):
            stamps = [cell[0] for cell in cells]
            base = max(set(stamps), key=lambda stamp: (stamps.count(stamp), stamp))
            odd = {place: stamp for place, stamp in enumerate(stamps) if stamp != base}
            if odd:
                block.odd[index] = odd
    else:
        assert row.delete is not None, "a row without cells carries a delete"
        base = row.delete.stamp
    block.keys.append(key)
    block.stamps.append(base)
    block.values.append(
        tuple([value.key if isinstance(value, Reference) else value for _, value in cells])
    )
    if row.delete is not None:
        block.deletes[index] = row.delete
