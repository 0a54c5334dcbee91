"""The rows of a chunk: which are new here, which stand already, and the short way for bulk.

Rows that are new here are the common case. They are written in blocks; everything else goes row
by row through the protocol's own merge.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from syncnode.apply.revivals import Revivals
from syncnode.apply.writing import Refusal, Wanted
from syncnode.capture.seal import NotPlain
from syncnode.dialects.base import Unfit
from syncnode.schema.plan import Conditional
from syncnode.store.conditional import deciders, numbered, written
from syncnode.store.hidden import HiddenRow
from syncnode.store.table import Clock, Key, StoredRow, Table, all_canonical
from syncproto.clock import milliseconds
from syncproto.codec import encode_cells
from syncproto.delta import Block
from syncproto.frontier import Frontier, VersionVector
from syncproto.identity import Dot, RowKey
from syncproto.memory import parted
from syncproto.merge import lost, merged
from syncproto.row import EMPTY, Reference, Row, Stamp
from syncproto.sums import key_hash, row_sum, same_stamp_sum, stamp_hash

# Of stamps, for thousands at once: their properties would cost more than the rows.
_hlc_of, _dot_of = itemgetter(0), itemgetter(1, 2)
SAMPLED_ROWS_MIN = 200  # below it, asking for each row costs less than being wrong
SAMPLE_ROWS = 16


@dataclass(slots=True)
class _Arrivals:
    """The rows of one table in one chunk."""

    blocks: list[Block] = field(default_factory=list)
    unseen: bool = False  # a sample of the rows is not here, so probably none is
    found: dict[RowKey, Key] = field(default_factory=dict)
    hidden: dict[RowKey, HiddenRow] = field(default_factory=dict)

    @property
    def keys(self) -> list[RowKey]:
        return [key for block in self.blocks for key in block.keys]


@dataclass(slots=True)
class Edit:
    """A plain edit of a row that stands here.

    Attributes:
        values: As the table takes them.
    """

    key: RowKey
    row: Row
    pk: Key
    clock: Clock
    values: tuple[Any, ...]


class Arrivals(Revivals):
    """Takes chunks in; see `Writer` for what it is made of."""

    def _apply_blocks(self, blocks: Sequence[Block], claim: Frontier) -> None:
        arrivals: dict[int, _Arrivals] = {}
        for block in blocks:
            table = self._by_name.get(block.table)
            if table is None:  # kept for others, or disabled since the peer was told
                self._conflicts += self._keeper.take(block, claim.vector(block.table))
                continue
            arrivals.setdefault(table.number, _Arrivals()).blocks.append(block)
        self._look(arrivals)
        for number, here in arrivals.items():
            self._tx.dialect.lock_rows(
                self._tx, self._tables[number].plan, list(here.found.values())
            )
        if self._tx.dialect.name != "sqlite" and self._sealer.seal(single_read=True):
            self._look(arrivals)
        fresh: dict[int, list[Block]] = {}
        known: dict[int, list[tuple[RowKey, Row]]] = {}
        for number, here in arrivals.items():
            table = self._tables[number]
            short, known[number] = self._sorted_out(table, here)
            if short:
                fresh[number] = short
                self._assign(table, short)
                for block in short:
                    self._note_block(table, block)
        for table in self._order:
            for block in fresh.get(table.number, ()):
                if arrivals[table.number].unseen:
                    self._insert_unseen(table, block, claim.vector(table.name))
                else:
                    self._insert_block(table, block)
        self._withdraw_orphans()
        # After the new rows, since these may refer to them.
        for table in self._order:
            if rows := known.get(table.number):
                self._merge_slowly(table, rows, claim.vector(table.name))

    def _look(self, arrivals: Mapping[int, _Arrivals]) -> None:
        for number, here in arrivals.items():
            table, keys = self._tables[number], here.keys
            here.hidden = self._hidden.get(number, keys)
            if table.plan.key_kind == "none":
                continue
            here.unseen = self._probably_new(table, keys)
            here.found = {} if here.unseen else self._find(table, keys)

    def _probably_new(self, table: Table, keys: Sequence[RowKey]) -> bool:
        """Whether asking for each row can be left to the table's unique index: it refuses a
        block that holds a known row, and then each is asked for."""
        if (
            self._careful
            or table.conditional
            or len(keys) < SAMPLED_ROWS_MIN
            or not table.uuid_indexed
            or table.plan.in_cycle
            or table.name in table.references.values()
            or self._hidden.some(table.number)
            or self._hidden.some_aside(table.number)
            or table.has_odd(self._tx)
        ):
            return False
        sample = keys[:: len(keys) // SAMPLE_ROWS]
        return not table.find(self._tx, sample, odd=False)

    def _sorted_out(
        self, table: Table, here: _Arrivals
    ) -> tuple[list[Block], list[tuple[RowKey, Row]]]:
        """Blocks of rows that are simply new here, and all other rows one by one."""
        short: list[Block] = []
        slow: list[tuple[RowKey, Row]] = []
        seen: set[RowKey] = set()
        keys = here.keys
        doubled = len(set(keys)) != len(keys)
        for block in here.blocks:
            by_content = [name for name in table.conditional if name in block.references]
            plain = (
                table.plan.key_kind != "none"
                and not doubled
                and not self._hidden.some_aside(table.number)
                and bool(block.columns)
                and not table.plan.local_rows
                and table.name not in self._filters
                and all(name in table.place for name in block.columns)
                and all(table.may_refer(name, block.references[name]) for name in by_content)
                and dict(block.references)
                == {n: t for n, t in table.references.items() if n in block.columns}
                | {n: t for n, t in block.references.items() if n not in table.references}
            )
            odd_one_out = set(block.deletes)
            odd_one_out |= self._may_lead_elsewhere(table, block)
            unknown = plain and not (odd_one_out or block.odd or here.found or here.hidden)
            if unknown and max(map(_hlc_of, block.stamps)) <= self._limit:
                short.append(block)
                continue
            rest = Block(block.table, block.columns, block.references)
            for index, (key, row) in enumerate(block.rows()):
                if (
                    plain
                    and index not in odd_one_out
                    and key not in here.found
                    and key not in here.hidden
                    and key not in seen
                    and row.hlc <= self._limit
                ):
                    if index in block.odd:
                        rest.odd[len(rest.keys)] = block.odd[index]
                    rest.keys.append(key)
                    rest.stamps.append(block.stamps[index])
                    rest.values.append(block.values[index])
                else:
                    slow.append((key, row))
                seen.add(key)
            if rest.keys:
                short.append(rest)
        return short, slow

    def _may_lead_elsewhere(self, table: Table, block: Block) -> set[int]:
        """Rows with a number that came as none, though here it may be one of some row."""
        doubtful: set[int] = set()
        for name, condition in table.conditional.items():
            if name not in block.columns or name in block.references:
                continue
            rows = numbered(block.values, block.columns.index(name))
            deciding = condition.by or condition.column
            if rows and deciding in block.columns:
                place = block.columns.index(deciding)
                said = {block.values[index][place] for index in rows}
                plain = said - deciders(said, condition, self._said_here(condition, said))
                rows = {index for index in rows if block.values[index][place] not in plain}
            doubtful |= rows
        return doubtful

    def _said_here(self, condition: Conditional, keys: Collection[Any]) -> Mapping[Any, Any]:
        """What the rows that decide say, by their keys; nothing of those that are not here yet."""
        if condition.by is None:
            return {said: said for said in keys}
        table = self._by_name.get(condition.decider)
        if table is None or condition.column not in table.place:
            return {}
        found = self._find(table, [RowKey(bytes(key)) for key in keys if key is not None])
        place = table.place[condition.column]
        return {
            one.clock.key: one.values[place]
            for one in table.by_pk(self._tx, list(found.values()), self._origins)
            if one.clock is not None
        }

    # Blocks of rows that are new here

    def _assign(self, table: Table, blocks: list[Block]) -> None:
        """Give local keys before anything is written, so that rows may refer to each other in
        any order and in circles."""
        if table.local_place is None:
            return
        known = self._locals.setdefault(table.name, {})
        for block in blocks:
            start = self._reserve(table, len(block.keys))
            known.update(zip(block.keys, range(start, start + len(block.keys)), strict=True))

    def _insert_unseen(self, table: Table, block: Block, theirs: VersionVector) -> None:
        """Insert a block of which a sample was new; if it was not so new, look at each row."""
        if self._insert_plainly(table, block):
            return
        for key in block.keys:
            self._forget_local(table, key)
        here = _Arrivals([block], hidden=self._hidden.get(table.number, block.keys))
        here.found = self._find(table, block.keys)
        self._tx.dialect.lock_rows(self._tx, table.plan, list(here.found.values()))
        short, slow = self._sorted_out(table, here)
        if slow:
            self._merge_slowly(table, slow, theirs)
        if short:
            self._assign(table, short)
            for part in short:
                self._insert_block(table, part)

    def _insert_plainly(self, table: Table, block: Block) -> bool:
        """Insert a block in which nothing is unusual; False, and nothing done, if anything is."""
        if block.columns != table.columns or block.odd or table.uuid is None:
            return False
        names = [row[table.key_places[0]] for row in block.values]
        if not all_canonical(names, block.keys) or self._unresolved(table, block):
            return False
        unresolved: dict[int, Refusal] = {}
        columns, rows, _ = self._local_rows(table, block, unresolved)
        if unresolved or self._without_parents(table, columns, rows):
            return False
        whole = [row for row in rows if row is not None]
        self._write_to(table.number)
        try:
            # No savepoint: it would copy each page that the rows touch, at the price of the
            # rows themselves. The whole transaction is begun anew instead, row by row.
            with self._tx.dialect.capture_paused(self._tx, table.number):
                table.insert(self._tx, columns, whole)
        except self._row_errors as error:
            if self._refusal(table, error) is None:
                raise
            raise NotPlain from error
        sidecar = self._sidecar
        first = sidecar.reserve_lsns(table.name, len(rows))
        dots = set(map(_dot_of, block.stamps))
        places = [columns.index(name) for name in table.plan.primary_key]
        if len(dots) == 1 and len(places) == 1:
            (dot,) = [Dot(*one) for one in dots]
            lsns = range(first, first + len(rows))
            pks = map(itemgetter(places[0]), whole)
            hlcs = map(_hlc_of, block.stamps)
            table.insert_new_clocks(
                self._tx,
                list(zip(pks, lsns, hlcs, block.keys, strict=True)),
                sidecar.number(dot.origin),
                dot.seq,
            )
            total = same_stamp_sum(block.keys, block.stamps[0])
        else:
            stamps = set(block.stamps)
            numbered = zip(rows, block.stamps, block.keys, strict=True)
            fields = {
                stamp: (stamp.hlc, sidecar.number(stamp.origin), stamp.seq) for stamp in stamps
            }
            table.insert_clocks(
                self._tx,
                [
                    (*[row[place] for place in places], lsn, *fields[stamp], key, None, None)
                    for lsn, (row, stamp, key) in enumerate(numbered, start=first)
                    if row is not None
                ],
            )
            hashes = {stamp: stamp_hash(stamp) for stamp in stamps}
            total = sum(
                key_hash(key) ^ hashes[stamp]
                for key, stamp in zip(block.keys, block.stamps, strict=True)
            )
        sidecar.add_sum(table.name, total)
        sidecar.hlc = max(sidecar.hlc, *map(_hlc_of, block.stamps))
        if self._someone_waits():
            self._appeared.setdefault(table.number, set()).update(block.keys)
        return True

    def _insert_block(self, table: Table, block: Block) -> None:
        keys, values = block.keys, block.values
        unresolved = self._unresolved(table, block)
        columns, rows, forward = self._local_rows(table, block, unresolved)
        good = [index for index in range(len(keys)) if rows[index] is not None]
        missing = self._without_parents(table, columns, rows)
        good = [index for index in good if index not in missing]
        written = [rows[index] for index in good]
        self._write_to(table.number)
        refused = self._insert_many(table, columns, written, deferred=bool(forward))
        failed = {good[place]: refusal for place, refusal in refused.items()}
        for index, refusal in missing.items():
            failed[index] = refusal
        lines = []
        number_of, total = self._sidecar.number, 0
        pk_places = [columns.index(name) for name in table.plan.primary_key]
        highest = self._sidecar.hlc
        complete = block.columns == table.columns
        absent = [name for name in table.columns if name not in block.columns]
        for index in good:
            if index in failed:
                continue
            row = rows[index]
            assert row is not None, "good rows are resolved"
            key, stamp = keys[index], block.stamps[index]
            cells = None
            name = key_hash(key)
            odd = block.odd.get(index)
            if odd or absent:
                stamps = {block.columns[place]: other for place, other in (odd or {}).items()}
                cells = encode_cells(stamps, None, number_of, absent)
            if odd:
                used = set(odd.values())
                if len(odd) < len(block.columns):
                    used.add(stamp)
                total += row_sum(key, used)
                highest = max(highest, *(one.hlc for one in used))
            else:
                total += name ^ stamp_hash(stamp)
                if stamp.hlc > highest:
                    highest = stamp.hlc
            pk = tuple([row[place] for place in pk_places])
            if table.uuid_indexed:
                wire = values[index]
                odd_key = (
                    table.odd_key(key, wire)
                    if complete
                    else _odd_of(table, key, block.columns, wire)
                )
            else:
                odd_key = key
            lines.append(
                (
                    *pk,
                    self._sidecar.next_lsn(table.name),
                    stamp.hlc,
                    number_of(stamp.origin),
                    stamp.seq,
                    key,
                    odd_key,
                    cells,
                )
            )
            if index in forward:
                self._forward.append((table, key, pk, forward[index]))
        table.insert_clocks(self._tx, lines)
        self._sidecar.hlc = highest
        self._sidecar.add_sum(table.name, total)
        if self._someone_waits():
            self._appeared.setdefault(table.number, set()).update(
                keys[index] for index in good if index not in failed
            )
        bad = sorted({*failed, *(i for i in range(len(keys)) if rows[i] is None)})
        if bad:
            whole = list(block.rows())
            for index in bad:
                key, row_state = whole[index]
                self._forget_local(table, key)
                reason = failed.get(index) or unresolved.get(index)
                assert reason is not None, "a row is left out for a reason"
                self._park(table, Wanted(key, row_state, EMPTY), reason)

    def _local_rows(
        self, table: Table, block: Block, unresolved: dict[int, Refusal]
    ) -> tuple[list[str], list[tuple[Any, ...] | None], dict[int, dict[str, Reference]]]:
        """Rows as the table takes them: local key first, local integers for references.

        Returns the columns; the rows (None for one that does not fit, with its reason in
        `unresolved`); and for rows that refer to rows not written yet: to which.
        """
        forward: dict[int, dict[str, Reference]] = {}
        columns = list(block.columns)
        series: list[Any] = list(zip(*block.values, strict=True))
        for place, name in enumerate(columns):
            target = block.references.get(name) if name in table.may_hold_keys else None
            convert = table.from_wire[table.place[name]]
            if target is not None:
                known = self._locals.get(target, {})
                if name in table.zeros:
                    known = {table.zeros[name]: 0, **known}
                series[place] = [None if key is None else known.get(key) for key in series[place]]
                if name in table.conditional:
                    column = table.travelling[table.place[name]]
                    series[place] = [written(column, number) for number in series[place]]
                self._note_forward(table, target, block, place, forward)
            elif convert is not None and not table.dialect.plain(
                table.travelling[table.place[name]], series[place]
            ):
                series[place] = self._fitted(table, name, series[place], unresolved)
        local = table.plan.local_key
        if local is not None:
            known = self._locals[table.name]
            columns.insert(0, local)
            series.insert(0, [known[key] for key in block.keys])
        rows: list[tuple[Any, ...] | None] = list(zip(*series, strict=True))
        for index in unresolved:
            rows[index] = None
        return columns, rows, forward

    def _fitted(
        self, table: Table, name: str, values: Sequence[Any], unresolved: dict[int, Refusal]
    ) -> list[Any]:
        place, fitted = table.place[name], []
        for index, value in enumerate(values):
            try:
                fitted.append(table.fitting(place, value))
            except Unfit as error:
                fitted.append(None)
                unresolved[index] = Refusal("type does not fit", f"{table.name}.{name}: {error}")
        return fitted

    def _note_forward(
        self,
        table: Table,
        target: str,
        block: Block,
        place: int,
        forward: dict[int, dict[str, Reference]],
    ) -> None:
        """References to rows of this chunk that are written later (circles, self-references)."""
        name = block.columns[place]
        if target != table.name and not table.plan.in_cycle and name not in table.conditional:
            return
        for index, row in enumerate(block.values):
            key = row[place]
            if key is not None and key != table.zeros.get(block.columns[place]):
                assert isinstance(key, bytes), "references travel as keys"
                forward.setdefault(index, {})[block.columns[place]] = Reference(target, RowKey(key))

    def _unresolved(self, table: Table, block: Block) -> dict[int, Refusal]:
        """Rows whose parents are nowhere; parents that are deleted are brought back, held."""
        refused: dict[int, Refusal] = {}
        for name, target in block.references.items():
            if name not in block.columns or name not in table.may_hold_keys:
                continue
            place = block.columns.index(name)
            wanted = {row[place] for row in block.values}
            wanted.discard(None)
            zero = table.zeros.get(name)
            if zero in wanted and self._is_nothing(table, name, zero):
                wanted.discard(zero)
            lacking = self._resolve(target, wanted)
            if not lacking:
                continue
            for index, row in enumerate(block.values):
                if row[place] in lacking:
                    refused[index] = self._missing(table, name, target, row[place])
        return refused

    def _withdraw_orphans(self) -> None:
        """Take back rows that were written ahead of a parent which was then refused, and those
        that were written under them since."""
        todo = [
            (table, key, pk, references, lost_parent)
            for table, key, pk, references in self._forward
            if (lost_parent := self._nowhere(references)) is not None
        ]
        self._forward.clear()
        gone: dict[tuple[int, Key], tuple[RowKey, Row, Refusal]] = {}
        while todo:
            table, key, pk, references, lost_parent = todo.pop()
            stored = next(table.by_pk(self._tx, [pk], self._origins), None)
            if stored is None or (table.number, pk) in gone:
                continue
            row = self._as_received(table, stored, references)
            column = next((n for n, r in references.items() if r is lost_parent), "")
            refusal = self._missing(table, column, lost_parent.table, lost_parent.key)
            gone[table.number, pk] = (key, row, refusal)
            for child, child_pk in self._referrers.children(self._tx, table, pk):
                stored = next(child.by_pk(self._tx, [child_pk], self._origins), None)
                if stored is not None and stored.clock is not None:
                    above = Reference(table.name, key)
                    todo.append((child, stored.clock.key, child_pk, {}, above))
        with self._deferred(bool(gone)):
            for number, pk in self._children_first(gone):
                key, table = gone[number, pk][0], self._tables[number]
                self._write_to(number)
                self._tx.execute(table.delete_sql(), pk)
                table.delete_clocks(self._tx, [pk])
                self._forget_local(table, key)
        for (number, _), (key, row, refusal) in gone.items():
            self._park(self._tables[number], Wanted(key, row, row), refusal)

    def _nowhere(self, references: Mapping[str, Reference]) -> Reference | None:
        """The first of these that leads to a row which is not here after all."""
        for reference in references.values():
            if reference.key not in self._locals.get(reference.table, {}):
                return reference
        return None

    def _as_received(
        self, table: Table, stored: StoredRow, references: Mapping[str, Reference]
    ) -> Row:
        """The row's state with the references it came with: their local integers lead nowhere."""
        row = table.row_of(stored)
        arrived = {
            name: row.cells[name]._replace(value=reference)
            for name, reference in references.items()
        }
        return Row({**row.cells, **arrived}, row.delete)

    # Rows that stand here already, or were deleted, or are parked

    def _merge_slowly(
        self,
        table: Table,
        rows: list[tuple[RowKey, Row]],
        theirs: VersionVector,
    ) -> None:
        rows = self._merge_edits(table, rows, theirs)
        ours = self._ours(table, sorted({key for key, _ in rows}))
        updates: list[Wanted] = []
        mine = self._sidecar.frontier.vector(table.name)
        asides = self._hidden.some_aside(table.number)
        for key, row in rows:
            wanted = ours[key]
            # Also what is kept aside: who wins when its time comes is known already, and
            # nobody may be there any more to say it.
            rivals = [wanted.row, *(self._hidden.asides(table.number, key) if asides else ())]
            for rival in rivals:
                self._conflicts += lost(
                    table.name, key, rival, row, we_saw=mine.covers, they_saw=theirs.covers
                )
            now, later = parted(row, self._limit)
            if later is not None:
                self._keep_aside(table, key, later)
                asides = True
            if now is not None:
                wanted.row = merged(wanted.row, now)
        self._note_merged(table, ours.values(), (key for key, _ in rows))
        for wanted in ours.values():
            if wanted.row != wanted.old:
                updates.append(wanted)
        self._carry_out(table, updates)

    def _merge_edits(
        self, table: Table, rows: list[tuple[RowKey, Row]], theirs: VersionVector
    ) -> list[tuple[RowKey, Row]]:
        """Write the plain edits among the rows: newer cells for a row that stands here whole
        and under one stamp, which their author had seen. Returns all others.

        They need no merge of rows: nothing can be lost, and each cell's stamp is the greater.
        """
        if (
            table.plan.key_kind == "none"
            or table.name in self._filters
            or self._hidden.some(table.number)
            or self._hidden.some_aside(table.number)
            or self._parents_held(table)
            or self._deletes
            or len({key for key, _ in rows}) < len(rows)
        ):
            return rows
        found = self._find(table, [key for key, _ in rows])
        clocks = table.clocks(self._tx, list(found.values()), self._origins)
        groups: dict[tuple[str, ...], list[Edit]] = {}
        left = []
        for key, row in rows:
            pk = found.get(key)
            clock = clocks.get(pk) if pk is not None else None
            values: dict[str, Any] = {}
            if (
                pk is not None
                and clock is not None
                and self._is_plain_edit(table, clock, row, theirs)
                and self._local_values(table, row, row.cells, values) is None
            ):
                edit = Edit(key, row, pk, clock, tuple(values.values()))
                groups.setdefault(tuple(values), []).append(edit)
            else:
                left.append((key, row))
        for columns, edits in groups.items():
            left += self._write_edits(table, columns, edits)
        return left

    def _is_plain_edit(self, table: Table, clock: Clock, row: Row, theirs: VersionVector) -> bool:
        base = clock.stamp
        if clock.odd or clock.absent or clock.delete is not None or row.delete is not None:
            return False
        if not row.cells or len(row.cells) >= len(table.columns) or not theirs.covers(base):
            return False
        return all(
            name in table.place
            and name not in table.plan.primary_key
            and name not in table.plan.key_columns
            and base < cell.stamp
            and cell.stamp.hlc <= self._limit
            for name, cell in row.cells.items()
        )

    def _write_edits(
        self, table: Table, columns: tuple[str, ...], edits: list["Edit"]
    ) -> list[tuple[RowKey, Row]]:
        """Write edits of the same columns; returns all of them if one cannot be written."""
        lines: list[tuple[Any, ...] | None] = [edit.values for edit in edits]
        asked_for = self._referrers.in_part(table, columns)
        if asked_for or self._referrers.by_columns(table, columns):
            return [(edit.key, edit.row) for edit in edits]
        if self._without_parents(table, columns, lines):
            return [(edit.key, edit.row) for edit in edits]
        self._write_to(table.number)
        try:
            with self._tx.savepoint():
                self._tx.executemany(
                    table.update_sql(columns), [(*edit.values, *edit.pk) for edit in edits]
                )
        except self._row_errors as error:
            if self._refusal(table, error) is None:
                raise
            return [(edit.key, edit.row) for edit in edits]
        self._vacated.add(table.number)
        sidecar, blobs = self._sidecar, dict[tuple[Stamp, ...], bytes]()
        clocks, total = [], 0
        for edit in edits:
            base = edit.clock.stamp
            stamps = tuple([edit.row.cells[name].stamp for name in columns])
            blob = blobs.get(stamps)
            if blob is None:
                odd = dict(zip(columns, stamps, strict=True))
                blob = blobs[stamps] = encode_cells(odd, None, sidecar.number)
                sidecar.hlc = max(sidecar.hlc, *(stamp.hlc for stamp in stamps))
            total += row_sum(edit.key, (base, *stamps)) - row_sum(edit.key, (base,))
            number = sidecar.number(base.origin)
            lsn = sidecar.next_lsn(table.name)
            clocks.append((lsn, base.hlc, number, base.seq, blob, *edit.pk))
        table.update_clocks(self._tx, clocks)
        sidecar.add_sum(table.name, total)
        return []

    def _keep_aside(self, table: Table, key: RowKey, later: Row) -> None:
        if later in self._hidden.asides(table.number, key):
            return
        lsn = self._sidecar.next_lsn(table.name)
        self._hidden.put_aside(table.number, key, later, lsn, milliseconds(later.hlc))


def _odd_of(
    table: Table, key: RowKey, columns: Sequence[str], wire: Sequence[Any]
) -> RowKey | None:
    """`Table.odd_key` for a row that carries only some columns."""
    values: list[Any] = [None] * len(table.columns)
    for name, value in zip(columns, wire, strict=True):
        values[table.place[name]] = value
    return table.odd_key(key, values)
