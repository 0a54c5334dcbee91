"""Rows and conflict records of a chunk, by columns, in segments that each fit one CBOR item.

A segment is one item and, behind it, the pieces of its large values. Stamps are listed once a
segment; keys once a chunk (`KeyPool`); origins and names once a frame (`Directory`).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from syncproto.columns import LARGE_BYTES, ColumnReader, ColumnWriter, KeyPool, Plain
from syncproto.delta import Block, RecordedConflict
from syncproto.directory import Directory, Names, Numbering
from syncproto.errors import LimitExceededError, MalformedMessageError
from syncproto.frames import INT64_MAX, Pieces, as_int, as_list, dumped, item
from syncproto.identity import ROW_KEY_BYTES, RowKey
from syncproto.integers import ints, packed_ints, split_keys
from syncproto.limits import LIMITS, within
from syncproto.merge import Conflict
from syncproto.row import Delete, Reference, Stamp, Value

SEGMENT_ROWS = 2_048  # some 100 kB of usual rows; longer segments compress no better
SEGMENT_BYTES = 160 << 10  # to aim at: well under an item, so that few segments are redone
TINY_BYTES = 32  # one row too long for an item: all its longer values leave the item

Encode = Callable[[int, int, ColumnWriter], list[Any]]


class SegmentWriter:
    """The pieces of one chunk's records and rows; the directory and the pool grow on the way."""

    def __init__(self) -> None:
        self.directory = Directory()
        self._pool = KeyPool()
        self._entries = 0

    def records(self, records: Sequence[RecordedConflict]) -> Iterator[bytes]:
        return self._segments(
            len(records), lambda start, end, writer: self._records(records[start:end], writer)
        )

    def block(self, block: Block) -> Iterator[bytes]:
        names = self.directory.names
        assert block.references.keys() <= set(block.columns), "only columns hold references"
        within(len(block.columns), LIMITS.columns, "columns")
        places = [n for n, column in enumerate(block.columns) if column in block.references]
        yield item(
            [
                names[block.table],
                len(block.columns),
                packed_ints([names[column] for column in block.columns]),
                len(places),
                packed_ints(places),
                packed_ints([names[block.references[block.columns[n]]] for n in places]),
                len(block),
            ]
        )
        yield from self._segments(
            len(block), lambda start, end, writer: self._rows(block, start, end, writer)
        )

    def _segments(self, count: int, encode: Encode) -> Iterator[bytes]:
        """Items of as many rows as fit one, each followed by its large values."""
        start, rows, large_bytes = 0, SEGMENT_ROWS, LARGE_BYTES
        while start < count:
            end = min(start + rows, count)
            before = len(self._pool.keys), self._entries
            writer = ColumnWriter(self._pool, large_bytes=large_bytes)
            piece = dumped(encode(start, end, writer))
            if len(piece) > LIMITS.item_bytes:
                self._pool.cut(before[0])
                self._entries = before[1]
                if large_bytes == TINY_BYTES:
                    raise LimitExceededError(f"row {start} of a block does not fit one item")
                if end - start == 1:
                    large_bytes = TINY_BYTES
                rows = max(1, (end - start) * SEGMENT_BYTES // len(piece))
                continue
            yield piece
            yield from writer.large
            rows = min(SEGMENT_ROWS, max(1, (end - start) * SEGMENT_BYTES // len(piece)))
            start, large_bytes = end, LARGE_BYTES

    def _rows(self, block: Block, start: int, end: int, writer: ColumnWriter) -> list[Any]:
        keys, row_stamps = block.keys[start:end], block.stamps[start:end]
        stamps: Numbering[Stamp] = Numbering()
        if row_stamps.count(row_stamps[0]) == len(row_stamps):  # as after one big import
            numbers: Any = stamps[row_stamps[0]]
        else:
            numbers = packed_ints([stamps[stamp] for stamp in row_stamps])
        self._pool.keys += keys
        columns = [
            writer.column(values, keys, references=name in block.references)
            for name, values in zip(
                block.columns, zip(*block.values[start:end], strict=True), strict=True
            )
        ]
        odd = self._odd(block, start, end, stamps)
        deletes = self._deletes(block, start, end, stamps)
        within(self._entries, LIMITS.entries, "odd stamps and entries of deletes")
        table = self.directory.stamps(stamps)
        return [b"".join(keys), table, numbers, columns, odd, deletes]

    def _odd(
        self, block: Block, start: int, end: int, stamps: Numbering[Stamp]
    ) -> list[Any] | None:
        if not block.odd:
            return None
        found = [
            (row - start, place, stamps[stamp])
            for row in range(start, end)
            if row in block.odd
            for place, stamp in block.odd[row].items()
        ]
        self._entries += len(found)
        return [len(found), *_unzipped(found, 3)] if found else None

    def _deletes(
        self, block: Block, start: int, end: int, stamps: Numbering[Stamp]
    ) -> list[Any] | None:
        if not block.deletes:
            return None
        rows = [row for row in range(start, end) if row in block.deletes]
        if not rows:
            return None
        deletes = [block.deletes[row] for row in rows]
        numbers = [
            -1 - stamps[stamp] if stamp in delete.wins else stamps[stamp]
            for delete in deletes
            for stamp in delete.stamps
        ]
        seen = [
            (self.directory.origins[origin], seq)
            for delete in deletes
            for origin, seq in delete.seen.items()
        ]
        self._entries += len(numbers) + len(seen)
        return [
            len(rows),
            packed_ints([row - start for row in rows]),
            packed_ints([len(delete.stamps) for delete in deletes]),
            packed_ints(numbers),
            packed_ints([len(delete.seen) for delete in deletes]),
            *_unzipped(seen, 2),
        ]

    def _records(self, records: Sequence[RecordedConflict], writer: ColumnWriter) -> list[Any]:
        names, stamps = self.directory.names, Numbering[Stamp]()
        conflicts = [record.conflict for record in records]
        numbers = [
            [stamps[conflict.winner] for conflict in conflicts],
            [stamps[conflict.loser] for conflict in conflicts],
            [stamps[record.stamp] for record in records],
        ]
        keys = [conflict.key for conflict in conflicts]
        return [
            b"".join(keys),
            packed_ints([names[conflict.table] for conflict in conflicts]),
            packed_ints(
                [2 * names[c.column] + 1 + c.deleted if c.column else 0 for c in conflicts]
            ),
            self.directory.stamps(stamps),
            *map(packed_ints, numbers),
            *self._values([conflict.winning for conflict in conflicts], keys, writer),
            *self._values([conflict.losing for conflict in conflicts], keys, writer),
        ]

    def _values(
        self, values: Sequence[Value], keys: list[RowKey], writer: ColumnWriter
    ) -> list[Any]:
        """A column in which some values may be references; and the tables that these mean."""
        names = self.directory.names
        plain = [value.key if isinstance(value, Reference) else value for value in values]
        tables = [names[v.table] + 1 if isinstance(v, Reference) else 0 for v in values]
        return [writer.column(plain, keys, references=False), packed_ints(tables)]


class SegmentReader:
    """The inverse of `SegmentWriter`. What is left of each limit is counted down."""

    def __init__(self, pieces: Pieces) -> None:
        self.directory = Names(pieces)
        self._pieces = pieces
        self._pool = KeyPool()
        self._rows_left = pieces.limits.rows
        self._cells_left = pieces.limits.cells
        self._entries_left = pieces.limits.entries

    def records(self, count: int) -> Iterator[RecordedConflict]:
        while count:
            segment = as_list(self._pieces.item(), range(11, 12))
            keys = _keys(segment[0], count)
            yield from self._records(keys, segment[1:])
            count -= len(keys)

    def block(self) -> Block:
        head = as_list(self._pieces.item(), range(7, 8))
        table, column_count, columns, place_count, places, tables, row_count = head
        within(as_int(column_count, 0, INT64_MAX), self._pieces.limits.columns, "columns")
        within(as_int(row_count, 0, INT64_MAX), self._rows_left, "rows")
        within(row_count * column_count, self._cells_left, "cells")
        self._rows_left -= row_count
        self._cells_left -= row_count * column_count
        name = self.directory.name
        names = tuple(map(name, ints(columns, column_count)))
        as_int(place_count, 0, column_count)
        referring = [names[n] for n in ints(places, place_count, 0, column_count - 1)]
        references = dict(zip(referring, map(name, ints(tables, place_count)), strict=True))
        if len(set(names)) != column_count or len(references) != place_count:
            raise MalformedMessageError("a column is listed twice")
        block = Block(name(as_int(table, 0, INT64_MAX)), names, references)
        while len(block) < row_count:
            self._append_segment(block, row_count - len(block))
        return block

    def _append_segment(self, block: Block, rows_max: int) -> None:
        segment = as_list(self._pieces.item(), range(6, 7))
        joined, table, numbers, columns, odd, deletes = segment
        keys = _keys(joined, rows_max)
        as_list(columns, range(len(block.columns), len(block.columns) + 1))
        start = len(block)
        odd_numbers = self._odd_numbers(odd, len(keys), len(block.columns))
        delete_numbers = self._delete_numbers(deletes, len(keys))
        stamps_max = len(keys) + len(odd_numbers[0]) + len(delete_numbers[2])
        stamps = self.directory.stamps(table, stamps_max)
        last = len(stamps) - 1
        self._pool.keys += keys
        reader = ColumnReader(self._pool, self._pieces)
        values = [
            reader.column(column, keys, references=name in block.references)
            for name, column in zip(block.columns, columns, strict=True)
        ]
        reader.restore_large()
        block.keys += map(RowKey, keys)
        block.stamps += [stamps[number] for number in ints(numbers, len(keys), 0, last)]
        block.values += zip(*values, strict=True) if values else [()] * len(keys)
        for row, place, number in zip(*odd_numbers, strict=True):
            cells = block.odd.setdefault(start + row, {})
            if number > last or place in cells:
                raise MalformedMessageError("a cell with two odd stamps, or with none")
            cells[place] = stamps[number]
        self._put_deletes(block, start, delete_numbers, stamps)

    def _odd_numbers(self, odd: Any, rows: int, columns: int) -> list[list[int]]:
        if odd is None:
            return [[], [], []]
        count, *lists = as_list(odd, range(4, 5))
        self._take_entries(as_int(count, 1, rows * columns))
        highest = (rows - 1, columns - 1, INT64_MAX)
        return [ints(lists[n], count, 0, highest[n]) for n in range(3)]

    def _delete_numbers(self, deletes: Any, rows: int) -> list[list[int]]:
        """Rows, stamp counts, stamps, seen counts, seen origins, seen seqs."""
        if deletes is None:
            return [[], [], [], [], [], []]
        count, places, stamp_counts, stamps, seen_counts, origins, seqs = as_list(
            deletes, range(7, 8)
        )
        as_int(count, 1, rows)
        of_stamps = ints(stamp_counts, count, 1, INT64_MAX)
        stamp_count = self._take_entries(sum(of_stamps))
        of_seen = ints(seen_counts, count, 0, INT64_MAX)
        seen_count = self._take_entries(sum(of_seen))
        return [
            ints(places, count, 0, rows - 1),
            of_stamps,
            ints(stamps, stamp_count, -1 - INT64_MAX, INT64_MAX),
            of_seen,
            ints(origins, seen_count, 0, INT64_MAX),
            ints(seqs, seen_count, 0, INT64_MAX),
        ]

    def _put_deletes(
        self, block: Block, start: int, numbers: list[list[int]], stamps: list[Stamp]
    ) -> None:
        rows, stamp_counts, stamp_numbers, seen_counts, origins, seqs = numbers
        if stamp_numbers and not -1 - len(stamps) < min(stamp_numbers) <= max(stamp_numbers) < len(
            stamps
        ):
            raise MalformedMessageError("a delete without a stamp")
        stamp_at = seen_at = 0
        for row, stamp_count, seen_count in zip(rows, stamp_counts, seen_counts, strict=True):
            stamp_end, seen_end = stamp_at + stamp_count, seen_at + seen_count
            marked = stamp_numbers[stamp_at:stamp_end]
            its = tuple(stamps[number if number >= 0 else -1 - number] for number in marked)
            wins = frozenset(stamps[-1 - number] for number in marked if number < 0)
            named = map(self.directory.origin, origins[seen_at:seen_end])
            seen = dict(zip(named, seqs[seen_at:seen_end], strict=True))
            if start + row in block.deletes or len(seen) != seen_count or not _ascend(its):
                raise MalformedMessageError("a delete with an entry listed twice, or out of order")
            block.deletes[start + row] = Delete(its, seen, wins)
            stamp_at, seen_at = stamp_end, seen_end

    def _take_entries(self, count: int) -> int:
        within(count, self._entries_left, "odd stamps and entries of deletes")
        self._entries_left -= count
        return count

    def _records(self, keys: list[bytes], segment: list[Any]) -> Iterator[RecordedConflict]:
        count = len(keys)
        tables, columns, table, *numbers = segment[:6]
        stamps = self.directory.stamps(table, 3 * count)
        winners, losers, own = (ints(part, count, 0, len(stamps) - 1) for part in numbers)
        reader = ColumnReader(self._pool, self._pieces)
        winning = reader.column(segment[6], keys, references=False)
        losing = reader.column(segment[8], keys, references=False)
        reader.restore_large()
        name = self.directory.name
        rows = zip(
            map(name, ints(tables, count)),
            keys,
            ints(columns, count, 0, INT64_MAX),
            [stamps[number] for number in winners],
            [stamps[number] for number in losers],
            self._values(winning, segment[7]),
            self._values(losing, segment[9]),
            [stamps[number] for number in own],
            strict=True,
        )
        for table_name, key, number, winner, loser, won, lost, stamp in rows:
            column = name((number - 1) // 2) if number else ""
            deleted = number > 0 and number % 2 == 0
            conflict = Conflict(table_name, RowKey(key), column, winner, loser, won, lost, deleted)
            yield RecordedConflict(conflict, stamp)

    def _values(self, values: list[Plain], tables: Any) -> Iterator[Value]:
        for value, number in zip(values, ints(tables, len(values), 0), strict=True):
            if not number:
                yield value
                continue
            if type(value) is not bytes or len(value) != ROW_KEY_BYTES:
                raise MalformedMessageError("a reference that is no row key")
            yield Reference(self.directory.name(number - 1), RowKey(value))


def _unzipped(rows: Sequence[tuple[int, ...]], width: int) -> list[Any]:
    """The columns of the rows as integer lists."""
    return [packed_ints(list(column)) for column in zip(*rows, strict=True)] or [0] * width


def _keys(joined: Any, count_max: int) -> list[bytes]:
    """From 1 to `count_max` row keys."""
    if type(joined) is not bytes or not 1 <= len(joined) // ROW_KEY_BYTES <= count_max:
        raise MalformedMessageError(f"expected 1 to {count_max} row keys")
    return split_keys(joined, len(joined) // ROW_KEY_BYTES)


def _ascend(stamps: tuple[Stamp, ...]) -> bool:
    return all(one < other for one, other in pairwise(stamps))
