"""Cuts chunks of a delta: reads what changed in lsn order and leaves out what a peer has."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, repeat
from operator import itemgetter
from typing import Any

from syncnode.store.hidden import STATE_HERE, HiddenRows
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import Cells, Clock, StoredRow, Table
from syncproto.codec import decode_cells
from syncproto.delta import Block, Chunk, blocks_of, start_lsn, uncovered
from syncproto.frontier import Frontier, VersionVector
from syncproto.identity import RowKey
from syncproto.row import Delete, Reference, Row, Stamp, stamp_of

# Of rows as `Table.changed` has them, for thousands at once.
_HLC, _NUMBER, _SEQ, _KEY, _CELLS = map(itemgetter, range(1, 6))

_Part = tuple[tuple[str, ...], Stamp, dict[int, Stamp], Delete | None]
"""The columns of a row that a peer lacks, their usual stamp, others by place, and its delete."""


class Reader:
    """Reads chunks within one snapshot in which the journal is sealed."""

    def __init__(self, sidecar: Sidecar, hidden: HiddenRows, tables: Mapping[int, Table]) -> None:
        self._sidecar = sidecar
        self._hidden = hidden
        self._tables = tables
        self._tx = sidecar.tx
        self._names = {number: table.name for number, table in tables.items()}
        self._names |= {number: name for name, number in sidecar.kept.items()}
        self._stamps: dict[tuple[int, int, int], Stamp] = {}
        self._edited: dict[bytes, Cells] = {}

    def chunk(self, base: Frontier, after: int, rows_max: int, *, last: int | None = None) -> Chunk:
        """The next part of the delta above `base`: up to `rows_max` changed rows, as if `last`
        were the highest lsn."""
        sidecar = self._sidecar
        last = sidecar.lsn if last is None else last
        if after > last:
            after = 0
        scopes = [scope for scope in sidecar.frontier.vectors if scope in base.vectors]
        within = base.within(scopes)
        start = start_lsn(sidecar.ledger_above(within), within, scopes)
        first = last + 1 if start is None else max(start, after + 1)
        blocks: list[Block] = []
        records = []
        wanted = [table for table in self._tables.values() if table.name in base.vectors]
        upto = max(after, first - 1)
        count = 0
        while first <= last and count < rows_max:
            # A range of lsn holds at most as many rows as numbers.
            upto = min(first + rows_max - count - 1, last)
            for table in wanted:
                vector = base.vector(table.name)
                if table.plan.key_kind != "none":
                    found = self._changed(table, vector, first, upto)
                    blocks += found
                    count += sum(len(block) for block in found)
            extra = self._hidden_rows(base, first, upto)
            blocks += extra
            count += sum(len(block) for block in extra)
            for record in sidecar.conflicts(first - 1, upto):
                table_vector = base.vectors.get(record.conflict.table)
                if table_vector is not None and not table_vector.covers(record.stamp):
                    records.append(record)
                    count += 1
            first = self._next_lsn(upto + 1)
        done = first > last
        return Chunk(
            sender=sidecar.origin,
            base=within,
            after=after,
            upto=max(last, after) if done else upto,
            records=tuple(records),
            blocks=tuple(blocks),
            claim=sidecar.frontier.within(scopes) if done else None,
            total=0 if done else last - upto,
        )

    def _next_lsn(self, lsn: int) -> int:
        """The lowest lsn from `lsn` on that any row bears; one past the end if none does."""
        m = self._tx.mark
        found = [
            self._tx.value(f"SELECT min(lsn) FROM syncnode_row WHERE lsn>={m}", (lsn,)),
            self._tx.value(f"SELECT min(lsn) FROM syncnode_conflict WHERE lsn>={m}", (lsn,)),
        ]
        for table in self._tables.values():
            if table.plan.key_kind != "none":
                found.append(
                    self._tx.value(
                        f"SELECT min(syncnode_lsn) FROM {table.clock_name} WHERE syncnode_lsn>={m}",
                        (lsn,),
                    )
                )
        return min((one for one in found if one is not None), default=self._sidecar.lsn + 1)

    def _changed(self, table: Table, base: VersionVector, first: int, upto: int) -> list[Block]:
        rows = self._rows(table, first, upto)
        if not rows:
            return []
        if self._hidden.some(table.number):
            # Of these the table shows something else than is replicated (rule A6).
            keys = [RowKey(bytes(row[4])) for row in rows]
            elsewhere = {
                key
                for key, hidden in self._hidden.get(table.number, keys).items()
                if hidden.place in STATE_HERE
            }
            rows = [row for row, key in zip(rows, keys, strict=True) if key not in elsewhere]
        values = table.wire_rows(rows)
        if not table.conditional:
            return self._blocks(table, base, rows, values)
        # A column of references holds nothing else in a block, so these rows go by themselves.
        referring = [any(type(value) is Reference for value in line) for line in values]
        plain = [not refers for refers in referring]
        found = self._referring(table, base, compress(rows, referring), compress(values, referring))
        rest, lines = list(compress(rows, plain)), list(compress(values, plain))
        return [*found, *(self._blocks(table, base, rest, lines) if rest else ())]

    def _rows(self, table: Table, first: int, upto: int) -> list[tuple[Any, ...]]:
        """`Table.changed`, of what is to be cut."""
        return table.changed(self._tx, first, upto)

    def _referring(
        self,
        table: Table,
        base: VersionVector,
        rows: Iterable[tuple[Any, ...]],
        values: Iterable[tuple[Any, ...]],
    ) -> Sequence[Block]:
        """Rows in which a value is a reference, since another column says so."""
        lacking = []
        for (_, hlc, number, seq, key, cells), wire in zip(
            (row[:6] for row in rows), values, strict=True
        ):
            edited: Cells = ({}, None, frozenset())
            if cells is not None:
                edited = decode_cells(bytes(cells), self._sidecar.origin_of)
            clock = Clock(RowKey(bytes(key)), self._stamp(hlc, number, seq), *edited)
            part = uncovered(table.row_of(StoredRow((), clock, wire)), base)
            if part is not None:
                lacking.append((table.name, clock.key, part))
        blocks = blocks_of(lacking)
        for block in blocks:
            # Also where all are NULL, so that the receiver knows the block for what it is.
            here = {n: t for n, t in table.references.items() if n in block.columns}
            block.references = {**here, **block.references}
        return blocks

    def _blocks(
        self,
        table: Table,
        base: VersionVector,
        rows: list[tuple[Any, ...]],
        values: Sequence[tuple[Any, ...]],
    ) -> list[Block]:
        whole = Block(table.name, table.columns, table.references)
        parts: dict[tuple[str, ...], Block] = {table.columns: whole}
        covered = self._covered(base)
        numbers = set(map(_NUMBER, rows))
        if len(numbers) == 1 and not any(map(_CELLS, rows)):
            # Rows of one origin written in one go: nothing to sort out.
            (number,) = numbers
            seqs = list(map(_SEQ, rows))
            if min(seqs) > covered[number]:
                whole.keys = list(map(_KEY, rows))
                origin = repeat(self._sidecar.origin_of(number))
                whole.stamps = list(map(stamp_of, zip(map(_HLC, rows), origin, seqs, strict=False)))
                whole.values = list(values)
                return [whole]
        for row, wire in zip(rows, values, strict=True):
            _, hlc, number, seq, key, cells = row[:6]
            if cells is None:
                if seq > covered[number]:
                    whole.keys.append(key)
                    whole.stamps.append(self._stamp(hlc, number, seq))
                    whole.values.append(wire)
                continue
            self._append_part(table, parts, base, row, wire)
        return [block for block in parts.values() if block.keys]

    def _covered(self, base: VersionVector) -> dict[int, int]:
        return {
            number: base.seq(self._sidecar.origin_of(number))
            for number in range(self._sidecar.origin_count)
        }

    def _append_part(
        self,
        table: Table,
        parts: dict[tuple[str, ...], Block],
        base: VersionVector,
        row: tuple[Any, ...],
        wire: tuple[Any, ...],
    ) -> None:
        """A row whose cells have several stamps, or that was once deleted."""
        _, hlc, number, seq, key, cells = row[:6]
        # Of rows edited in one go the clocks mostly hold the same few texts.
        edited = self._edited.get(cells)
        if edited is None:
            edited = decode_cells(bytes(cells), self._sidecar.origin_of)
            self._edited[cells] = edited
        columns, common, others, delete = _lacking(
            table.columns, base, self._stamp(hlc, number, seq), *edited
        )
        if not columns and delete is None:
            return
        block = parts.get(columns)
        if block is None:
            references = {n: t for n, t in table.references.items() if n in columns}
            block = parts[columns] = Block(table.name, columns, references)
        index = len(block.keys)
        block.keys.append(RowKey(bytes(key)))
        if others:
            block.odd[index] = others
        block.stamps.append(common)
        block.values.append(tuple([wire[table.place[name]] for name in columns]))
        if delete is not None:
            block.deletes[index] = delete

    def _hidden_rows(self, base: Frontier, first: int, upto: int) -> list[Block]:
        rows: list[tuple[str, RowKey, Row]] = []
        for _, number, key, row in self._hidden.changed(first, upto):
            name = self._names.get(number)
            if name is None or name not in base.vectors:
                continue
            part = uncovered(row, base.vector(name))
            if part is not None:
                rows.append((name, key, part))
        return list(blocks_of(rows))

    def _stamp(self, hlc: int, number: int, seq: int) -> Stamp:
        name = (hlc, number, seq)
        found = self._stamps.get(name)
        if found is None:
            found = self._stamps[name] = Stamp(hlc, self._sidecar.origin_of(number), seq)
        return found


def _lacking(
    names: Sequence[str],
    base: VersionVector,
    stamp: Stamp,
    odd: Mapping[str, Stamp],
    delete: Delete | None,
    absent: frozenset[str],
) -> _Part:
    """What `base` lacks of a row with these stamps."""
    if absent:
        names = [name for name in names if name not in absent]
    if delete is not None and all(map(base.covers, delete.stamps)):
        delete = None
    if base.covers(stamp):
        columns = tuple([n for n in names if n in odd and not base.covers(odd[n])])
    else:
        columns = tuple([n for n in names if n not in odd or not base.covers(odd[n])])
    if not columns:
        # Without cells it is only the delete; without that, nothing.
        return columns, delete.stamp if delete is not None else stamp, {}, delete
    if len(columns) == 1:
        return columns, odd.get(columns[0], stamp), {}, delete
    stamps = [odd.get(name, stamp) for name in columns]
    common = max(stamps, key=stamps.count)
    others = {place: one for place, one in enumerate(stamps) if one != common}
    return columns, common, others, delete
