"""Undoes what is written here to a table that is only received here (rule A15).

Such an edit could never leave, and its newer stamps would beat the parent's for ever. So it gets no
stamps at all: the row keeps the state that it had, which is told by the image that a trigger kept,
and what was written goes on record as a value that lost. The table shows something else than is
replicated then, and `apply/restoring.py` writes it back, as it writes what arrives: quietly, and
without ever letting the engine act. In between the sidecar has the state, so nothing else is told
to anybody, and a process that is killed there has lost nothing.

- A changed row goes back to the first image of the journal, or to the state that the sidecar has.
- A deleted row is parked, and comes back under its local key.
- An inserted row has no state, and goes; where rows refer to it, it is held like a deleted one.
- Where no image was kept (a cascade of MariaDB's; triggers that were not there yet), what was
  written stands, with stamps like any other.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from syncnode.store.copies import altered_by_name, name_of
from syncnode.store.hidden import ALTERED, DEAD, HELD, PARKED, STATE_HERE, HiddenRow
from syncnode.store.table import Clock, Key, StoredRow, Table
from syncnode.store.undone import (
    DUE,
    UNDONE,
    bare_text,
    undone_delete,
    undone_edit,
    undone_insert,
    undone_lines,
)
from syncproto.clock import stamped_after
from syncproto.delta import RecordedConflict
from syncproto.identity import RowKey
from syncproto.keys import copy_key
from syncproto.merge import Conflict, same_value
from syncproto.row import EMPTY, Row, Stamp, Value, written

if TYPE_CHECKING:
    from syncnode.capture.seal import Sealer, Touched

DETAIL = "was written here, and is only received here"


@dataclass(slots=True)
class Undoing:
    """Undoes the writes to one table within one step of a seal.

    Attributes:
        images: By journal line, the rows as they were; references as row keys.
        conflicts: What lost, for the record.
        left: What cannot be undone, for the seal.
    """

    sealer: "Sealer"
    table: Table
    images: Mapping[int, tuple[Any, ...]]
    conflicts: list[Conflict] = field(default_factory=list)
    left: "dict[Key, Touched]" = field(default_factory=dict)
    _gone: "dict[RowKey, tuple[Key, Clock, Touched]]" = field(default_factory=dict)

    def undo(self, rows: "Mapping[Key, Touched]") -> None:
        """Undo what happened to these primary keys."""
        here = self._here(rows)
        clocks = self.table.clocks(self.sealer._tx, list(rows), self.sealer._origins)
        for pk, clock in clocks.items():
            if pk not in here:
                self._gone[clock.key] = (pk, clock, rows[pk])
        came = [stored for pk, stored in here.items() if pk not in clocks]
        placed = {stored.pk: self._came(stored, rows[stored.pk]) for stored in came}
        if placed:
            here = self._here(rows)  # these may refer to each other, by their names now
        for pk, clock in clocks.items():
            if pk in here:
                self._changed(here[pk], clock, rows[pk])
        for pk, (key, old) in placed.items():
            if old is not None:
                self._moved(here[pk], key, *old)
            else:
                self._inserted(here[pk], key, rows[pk])
        for pk, clock, touched in self._gone.values():
            self._deleted(pk, clock, touched)
        self.record()

    def _here(self, rows: "Mapping[Key, Touched]") -> dict[Key, StoredRow]:
        found = self.table.by_pk(self.sealer._tx, list(rows), self.sealer._origins)
        return {stored.pk: stored for stored in found}

    def _came(
        self, stored: StoredRow, touched: "Touched"
    ) -> "tuple[RowKey, tuple[Clock, Touched] | None]":
        """A clock for a row that stands where none did: its key, and what it was before, where it
        only got another primary key."""
        key = self.table.key_of(stored.values, stored.pk, touched.drawn)
        if key in self._gone and self._gone[key][2].image is not None:
            pk, clock, before = self._gone.pop(key)
            known = self._known(key)
            state = known.row if known is not None else self._row(clock, self._image(before))
            self.sealer.vacant.append((self.table, pk))
            self._place(stored, key, state, (clock.stamp, None))
            return key, (clock, before)
        (key,) = self.sealer._named(self.table, [(stored, touched.drawn)])
        state = self._state(key)
        self._place(stored, key, state, (self._stamp(state, touched.ms), None))
        return key, None

    # What happened to a row

    def _changed(self, stored: StoredRow, clock: Clock, touched: "Touched") -> None:
        """It stands under its primary key, whatever else it says."""
        known = self._known(clock.key)
        image = self._image(touched)
        if image is None and known is None:
            self.left[stored.pk] = touched
            return
        state = known.row if known is not None else self._row(clock, image)
        before = image if image is not None else stored.values
        values = self._different(stored.values, before)
        if not values:
            return
        self._lose(clock.key, state, values, touched.ms)
        if any(self.table.place[name] in self.table.key_places for name in values):
            # Its name does not lead to it: it is found by the clock.
            self._place(stored, clock.key, state, (clock.stamp, clock.key))
        self._put(clock.key, ALTERED, state, local=None, bare=self._bare(state, values, before))

    def _deleted(self, pk: Key, clock: Clock, touched: "Touched") -> None:
        known = self._known(clock.key)
        image = self._image(touched)
        if image is None and known is None:
            self.left[pk] = touched
            return
        state = known.row if known is not None else self._row(clock, image)
        self.sealer.vacant.append((self.table, pk))
        local = self.table.local_of(pk)
        if state.alive:
            self.conflicts.append(
                undone_delete(self.table.name, clock.key, state, self._stamp(state, touched.ms))
            )
            self._put(clock.key, PARKED, state, local=local)
        elif state == EMPTY:
            self.sealer._hidden.remove(self.table.number, clock.key)
        else:  # it was deleted before, and only held
            self._put(clock.key, DEAD, state, local=local)

    def _moved(self, stored: StoredRow, key: RowKey, clock: Clock, before: "Touched") -> None:
        """It got another primary key: that is nobody else's affair, and stays."""
        image, known = self._image(before), self._known(key)
        assert image is not None, "a row that went left its image"
        state = known.row if known is not None else self._row(clock, image)
        if values := self._different(stored.values, image):
            self._lose(key, state, values, before.ms)
            self._put(key, ALTERED, state, local=None, bare=self._bare(state, values, image))

    def _inserted(self, stored: StoredRow, key: RowKey, touched: "Touched") -> None:
        state, shown = self._state(key), self.table.shown(stored)
        if state.alive:
            self._lose(key, state, shown, touched.ms)
        else:
            stamp = self._stamp(state, touched.ms)
            self.conflicts += [
                undone_insert(self.table.name, key, name, stamp, value)
                for name, value in shown.items()
                if value is not None
            ]
        self._put(key, ALTERED, state, local=self.table.local_of(stored.pk))

    def copy_came(self, name: RowKey, image: Sequence[Any]) -> None:
        """Nothing is known of it; `name` is only by which its line is remembered until it goes."""
        sealer, table = self.sealer, self.table
        values = dict(zip(table.columns, table.values_of(image), strict=True))
        stamp = self._stamp(EMPTY, sealer._wall_ms)
        hidden = HiddenRow(HELD, written(EMPTY, values, stamp), 0, UNDONE)
        hidden.lsn = sealer._sidecar.next_lsn(table.name)
        sealer._hidden.put(table.number, name, hidden)
        sealer._sidecar.set(DUE, "1")
        self.conflicts += [
            undone_insert(table.name, name, column, stamp, value)
            for column, value in values.items()
            if value is not None
        ]

    def copy_went(self, key: RowKey) -> None:
        row = self.sealer._hidden.get(self.table.number, [key])[key].row
        self._put(key, PARKED, row, local=None)
        stamp = self._stamp(row, self.sealer._wall_ms)
        self.conflicts.append(undone_delete(self.table.name, key, row, stamp))

    # What is known of it

    def _known(self, key: RowKey) -> HiddenRow | None:
        """What the sidecar has, where its state stands there."""
        found = self.sealer._hidden.get(self.table.number, [key]).get(key)
        return found if found is not None and found.place in STATE_HERE else None

    def _state(self, key: RowKey) -> Row:
        """Of a row that was not shown."""
        known = self.sealer._hidden.get(self.table.number, [key]).get(key)
        return known.row if known is not None else EMPTY

    def _image(self, touched: "Touched") -> tuple[Any, ...] | None:
        return self.images.get(touched.image) if touched.image is not None else None

    def _row(self, clock: Clock, values: Sequence[Any] | None) -> Row:
        assert values is not None, "asked by the caller"
        return self.table.row_of(StoredRow((), clock, tuple(values)))

    def _different(self, now: Sequence[Any], before: Sequence[Any]) -> dict[str, Value]:
        """What stands now in the columns in which something else stood."""
        pairs = zip(
            self.table.columns,
            self.table.values_of(now),
            self.table.values_of(before),
            strict=True,
        )
        return {name: value for name, value, was in pairs if not same_value(value, was)}

    # What is put down

    def _stamp(self, row: Row, ms: int) -> Stamp:
        """Of what was written over a row."""
        dot = self.sealer._dot
        stamp = Stamp(stamped_after(row.hlc, wall_ms=ms), dot.origin, dot.seq)
        self.sealer._sidecar.hlc = max(self.sealer._sidecar.hlc, stamp.hlc)
        return stamp

    def _lose(self, key: RowKey, state: Row, values: Mapping[str, Value], ms: int) -> None:
        stamp = self._stamp(state, ms)
        for name, value in values.items():
            cell = state.cells.get(name)
            if cell is None or not same_value(cell.value, value):
                self.conflicts.append(undone_edit(self.table.name, key, name, state, stamp, value))

    def _bare(self, state: Row, names: Iterable[str], before: Sequence[Any]) -> dict[str, Value]:
        """What stood in columns that came after the row was written: its state has no cell there,
        for nobody had written one."""
        was = dict(zip(self.table.columns, self.table.values_of(before), strict=True))
        return {name: was[name] for name in names if name not in state.cells}

    def _put(
        self,
        key: RowKey,
        place: str,
        state: Row,
        *,
        local: int | None,
        bare: Mapping[str, Value] | None = None,
    ) -> None:
        detail = f"{self.table.name} {DETAIL}"
        if bare:
            detail = bare_text(self.sealer._sidecar, bare)
        hidden = HiddenRow(place, state, 0, UNDONE, detail, local=local)
        self.sealer.put_hidden(self.table, key, hidden, state)
        self.sealer._sidecar.set(DUE, "1")

    def _place(
        self, stored: StoredRow, key: RowKey, state: Row, by: tuple[Stamp, RowKey | None]
    ) -> None:
        """A clock for the row where it stands; `by`: a stamp where the state has none, and the key
        where the name does not say it."""
        from syncnode.capture.seal import clock_fields

        table, sidecar = self.table, self.sealer._sidecar
        stamp, odd = by
        lsn = sidecar.next_lsn(table.name)
        fields: tuple[Any, ...] = (lsn, stamp.hlc, sidecar.number(stamp.origin), stamp.seq, None)
        if state != EMPTY:
            fields = clock_fields(sidecar, table, state, lsn)
        odd = odd or table.odd_key(key, stored.values)
        table.delete_clocks(self.sealer._tx, [stored.pk])
        table.insert_clocks(self.sealer._tx, [(*stored.pk, *fields[:4], key, odd, fields[4])])

    def record(self) -> None:
        """Put on record what lost, under the changeset that is open."""
        stamp = self._stamp(EMPTY, self.sealer._wall_ms)
        records = [RecordedConflict(one, stamp) for one in self.conflicts]
        self.sealer._sidecar.put_conflicts(records)


def undo_copies(sealer: "Sealer", table: Table, lines: Iterable[int]) -> None:
    """Of a table whose rows have no key: as many rows of each content as there were."""
    first: dict[tuple[Value, ...], tuple[int, tuple[Any, ...]]] = {}
    for line, image in table.images(sealer._tx, list(lines)).items():
        first.setdefault(tuple(table.named(image)), (line, image))
    altered = altered_by_name(table, sealer._hidden)
    going = Counter(name_of(table, row) for _, row in undone_lines(sealer._sidecar, table.number))
    undoing = Undoing(sealer, table, {})
    for name, (line, image) in first.items():
        shown = sorted(sealer._copies(table, name).shown)
        known = len(shown) + len(altered.get(name, ())) + going[name]
        more = sealer._copies_standing(table, line) - known
        for number in range(more):
            undoing.copy_came(copy_key(table.name, (UNDONE, sealer._dot.seq, line), number), image)
        for ordinal in shown[more:] if more < 0 else ():
            undoing.copy_went(copy_key(table.name, name, ordinal))
    undoing.record()
