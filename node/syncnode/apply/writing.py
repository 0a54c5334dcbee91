"""Writes single rows: shows them, changes them, or parks them with the reason.

Everything that puts a row into the application's table goes through here: local keys are given,
references resolved to them (a deleted parent is brought back and held), values fitted to their
columns, and what the engine refuses becomes a parked row instead of an error.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from syncnode.apply.filters import FILTERED, Filters, Refused
from syncnode.apply.knots import Ahead
from syncnode.apply.ladder import Ladder
from syncnode.capture.seal import Sealer, clock_fields
from syncnode.dialects.base import Unfit
from syncnode.schema.local_rows import stays
from syncnode.schema.plan import ForeignKey
from syncnode.store.conditional import leads_elsewhere
from syncnode.store.hidden import (
    ALTERED,
    DEAD,
    HELD,
    MERGED,
    PARKED,
    STATE_HERE,
    UNKNOWN_COLUMN,
    HiddenRow,
    HiddenRows,
)
from syncnode.store.keeping import Keeper
from syncnode.store.references import DeadByValues, Inbound, Referrers, comparable, dead_by_values
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import Key, Origins, StoredRow, Table
from syncproto.errors import StoreError
from syncproto.identity import RowKey
from syncproto.merge import Conflict
from syncproto.row import EMPTY, Reference, Row, Value
from syncproto.sums import sum_of

PARTS = 16
"""Into so many the rows are cut of which one is refused. With more, a single bad row costs more
statements; with fewer, many of them cost the good ones more attempts."""


@dataclass(slots=True)
class Refusal:
    """Why a row could not be written here."""

    reason: str
    detail: str
    waits: tuple[int, RowKey | None] | None = None


@dataclass(slots=True)
class Wanted:
    """A row whose replicated state is decided and which is yet to be shown, or not.

    Attributes:
        row: The state.
        old: The state before, for the table's sum.
        shown: What the table shows of it now; None if it shows nothing.
        hidden: What stands in `syncnode_row`, if anything.
        instead: By column what the table is to show instead of what is replicated.
    """

    key: RowKey
    row: Row
    old: Row
    shown: StoredRow | None = None
    hidden: HiddenRow | None = None
    instead: Mapping[str, Value] = field(default_factory=dict)

    @property
    def displayed(self) -> Row:
        """The row as the table is to show it."""
        if not self.instead:
            return self.row
        altered = {
            name: self.row.cells[name]._replace(value=value) for name, value in self.instead.items()
        }
        return Row({**self.row.cells, **altered}, self.row.delete)


def known_part(table: Table, row: Row) -> Row:
    """What of a row the table has columns for."""
    if not table.lacked(row):
        return row
    return Row({n: cell for n, cell in row.cells.items() if n in table.place}, row.delete)


class Renamed(NamedTuple):
    """A row that was referred to by the values which it had before."""

    table: Table
    key: RowKey
    inbound: Inbound
    values: tuple[Any, ...]


class Writer(ABC):
    """Applies rows within one writing transaction.

    Args:
        limit: The greatest HLC that is not of the future here; later stamps are kept aside.
        careful: Look at each row before it is written; otherwise bulk may raise `NotPlain`.
    """

    def __init__(
        self,
        sidecar: Sidecar,
        hidden: HiddenRows,
        tables: Mapping[int, Table],
        origins: Origins,
        sealer: Sealer,
        referrers: Referrers,
        *,
        wall_ms: int,
        nonce: int,
        limit: int,
        skew_ms_max: int,
        careful: bool = False,
        filters: Filters,
    ) -> None:
        self._filters = filters
        self._careful = careful
        self._sidecar = sidecar
        self._hidden = hidden
        self._tables = tables
        self._by_name = {table.name: table for table in tables.values()}
        self._order = [tables[plan.number] for plan in sidecar.plan.tables]
        self._origins = origins
        self._sealer = sealer
        self._referrers = referrers
        self._ladder = Ladder(referrers)
        self._tx = sidecar.tx
        self._wall_ms = wall_ms
        self._nonce = nonce
        self._limit = limit
        self._skew_ms_max = skew_ms_max
        self._locals: dict[str, dict[RowKey, Any]] = {}
        self._next: dict[str, int] = {}
        self._first: dict[str, int] = {}  # local keys from here on are given in this transaction
        self._returned: set[tuple[int, int]] = set()  # and these, to rows that had them before
        self._forward: list[tuple[Table, RowKey, Key, dict[str, Reference]]] = []
        self._conflicts: list[Conflict] = []
        self._keeper = Keeper(sidecar, hidden, limit=limit, wall_ms=wall_ms)
        self._deletes: dict[tuple[int, RowKey], tuple[Table, Wanted]] = {}
        self._appeared: dict[int, set[RowKey]] = {}
        self._vacated: set[int] = set()
        self._stirred: set[int] = set()  # tables whose rows changed: clashes are decided anew
        self._renamed: list[Renamed] = []
        self._taken_back: set[tuple[int, RowKey]] = set()
        self._rising: set[tuple[int, RowKey]] = set()
        self._dead_by_values: dict[tuple[int, tuple[str, ...]], DeadByValues] = {}
        self._applying = 0
        self._written: set[int] = set()
        self.parked = 0

    # What a row needs: local keys and parents

    def _find(self, table: Table, keys: Sequence[RowKey]) -> dict[RowKey, Key]:
        found = table.find(self._tx, keys)
        if table.local_place is not None:
            known = self._locals.setdefault(table.name, {})
            for key, pk in found.items():
                known[key] = pk[table.local_place]
        return found

    def _reserve(self, table: Table, count: int) -> int:
        given = self._next.get(table.name)
        start = self._tx.dialect.reserve(self._tx, table.plan, count, given)
        self._next[table.name] = start + count
        self._first.setdefault(table.name, start)
        return start

    def _local_key(self, table: Table, wanted: Wanted) -> int:
        """For a row that appears: the local key that it had before, where nobody has it."""
        local = wanted.hidden.local if wanted.hidden is not None else None
        if local is None or not self._is_free(table, local):
            return self._reserve(table, 1)
        self._returned.add((table.number, local))
        start = self._next.get(table.name)
        if start is None:
            start = self._tx.dialect.next_local_key(self._tx, table.plan)
        self._next[table.name] = max(start, local + 1)
        return local

    def _is_free(self, table: Table, local: int) -> bool:
        """No row of the table has this local key, nor will one in this transaction."""
        given = local >= self._first.get(table.name, local + 1)
        if given or (table.number, local) in self._returned or table.plan.local_key is None:
            return False
        column = table.dialect.quote(table.plan.local_key)
        sql = f"SELECT 1 FROM {table.quoted} WHERE {column}={self._tx.mark}"
        return self._tx.value(sql, (local,)) is None

    def _resolve(self, target: str, keys: Iterable[Any]) -> set[Any]:
        """Learn the local keys of these rows; returns those that are nowhere."""
        known = self._locals.setdefault(target, {})
        lacking = [key for key in keys if key not in known]
        if not lacking:
            return set()
        table = self._by_name[target]
        self._find(table, sorted(lacking))
        lacking = [key for key in lacking if key not in known]
        for key, hidden in self._hidden.get(table.number, lacking).items():
            if hidden.place == DEAD:
                self._hold(table, key, hidden)
        return {key for key in lacking if key not in known}

    def _is_nothing(self, table: Table, name: str, key: Any) -> bool:
        """Whether it is the 0 of a reference that nobody checks, and no row here has that number:
        then 0 is what stands there at every site."""
        if key is None or table.zeros.get(name) != key:
            return False
        parent = self._by_name[table.references[name]]
        local = parent.dialect.quote(parent.plan.local_key or parent.plan.primary_key[0])
        return self._tx.value(f"SELECT 1 FROM {parent.quoted} WHERE {local}=0") is None

    def _children_first(self, rows: Iterable[tuple[int, Key]]) -> list[tuple[int, Key]]:
        """Rows that are to go, so that only what is in a circle goes before what refers to it:
        not every engine leaves all of its foreign keys unchecked for so long."""
        places = {table.number: place for place, table in enumerate(self._order)}
        return sorted(rows, key=lambda row: places[row[0]], reverse=True)

    def _hold(self, table: Table, key: RowKey, hidden: HiddenRow) -> bool:
        """Show a deleted row again since a row that stands refers to it (rule A4)."""
        if self._asked_for(table, key, hidden.row):
            return False
        applying = self._applying
        wanted = Wanted(key, hidden.row, hidden.row, None, hidden)
        refusal = self._show(table, wanted)
        if refusal is not None and refusal.reason == "unique clash":
            # Whoever stands for himself keeps the value; which marks it needs is decided later.
            wanted.instead = self._ladder.marks(table, key, hidden.row)
            if wanted.instead:
                refusal = self._show(table, wanted)
            if refusal is not None and any(step.merges for step in self._ladder.steps(table)):
                wanted.instead = {}
                self._park(table, wanted, refusal)  # and merged, if it is that
        if refusal is None and not self._is_altered(table, wanted):
            self._hidden.put(table.number, key, HiddenRow(HELD, EMPTY, 0, since_ms=self._wall_ms))
        self._write_to(applying)
        return refusal is None

    @abstractmethod
    def _carry_out_copy(self, table: Table, wanted: Wanted) -> None:
        """Bring a table without a primary key to what the row's state says."""

    @abstractmethod
    def _asked_for(self, table: Table, key: RowKey, row: Row) -> bool:
        """Whether a living row asks for a unique value of this one, though it is not shown."""

    def _without_parents(
        self, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...] | None]
    ) -> dict[int, Refusal]:
        """By index the rows whose parents by value are nowhere; deleted ones are brought back."""
        absent = self._referrers.absent(self._tx, table, columns, rows)
        brought = [self._bring_back(table, key, list(lacking)) for key, lacking in absent]
        if any(brought):
            absent = self._referrers.absent(self._tx, table, columns, rows)
        return self._referrers.refusals(self._tx, table, absent)

    def _bring_back(self, child: Table, key: ForeignKey, asked: Sequence[tuple[Any, ...]]) -> bool:
        """Hold the deleted parents with these values, in the child's local form."""
        target = self._by_name.get(key.table)
        if target is None or target.plan.key_kind == "none" or not self._hidden.some(target.number):
            return False
        held = False
        for values in asked:
            wire = child.wire_of(self._tx, key.columns, values)
            if wire is None or not all(name in target.place for name in key.target_columns):
                continue
            for parent in self._dead(target, key.target_columns, wire):
                hidden = self._hidden.get(target.number, [parent]).get(parent)
                if (
                    hidden is None
                    or hidden.place != DEAD
                    or (target.number, parent) in self._rising
                ):
                    continue
                self._rising.add((target.number, parent))
                shown = self._hold(target, parent, hidden)
                self._rising.discard((target.number, parent))
                if shown:
                    held = True
                    break
        return held

    def _dead(
        self, table: Table, columns: tuple[str, ...], wire: Sequence[Any]
    ) -> Iterable[RowKey]:
        """Keys of deleted rows that may have had these values in these columns, best first."""
        if set(columns) == set(table.plan.key_columns):
            yield table.key_by(columns, wire)
            if not any(table.plan.column(name).collation_insensitive for name in columns):
                return
        index = self._dead_by_values.get((table.number, columns))
        if index is None:
            index = self._dead_by_values[table.number, columns] = dead_by_values(
                table, columns, self._hidden.dead(table.number)
            )
        yield from index.get(comparable(table, columns, wire), ())

    def _missing(self, table: Table, column: str, target: str, key: Any) -> Refusal:
        return Refusal(
            "missing parent",
            f"{table.name}{column and '.'}{column} refers to a row of {target} that is not here",
            (self._by_name[target].number, RowKey(bytes(key))),
        )

    def _ours(self, table: Table, keys: Sequence[RowKey]) -> dict[RowKey, Wanted]:
        hidden = self._hidden.get(table.number, keys)
        shown: dict[RowKey, StoredRow] = {}
        if table.plan.key_kind != "none":
            found = self._find(table, keys)
            for stored in table.by_pk(self._tx, list(found.values()), self._origins):
                assert stored.clock is not None, "rows are found by their clocks"
                shown[stored.clock.key] = stored
        result = {}
        for key in keys:
            here, stored_row = hidden.get(key), shown.get(key)
            row = EMPTY
            _, pending = self._deletes.get((table.number, key), (None, None))
            if pending is not None:
                # Decided by an earlier chunk of this delta, and not carried out yet.
                pending.shown, pending.hidden = stored_row, here
                result[key] = pending
                continue
            if here is not None and here.place != HELD:
                row = here.row
            elif stored_row is not None:
                row = table.row_of(stored_row)
            result[key] = Wanted(key, row, row, stored_row, here)
        return result

    # One row

    def _carry_out(self, table: Table, rows: Sequence[Wanted]) -> None:
        """Bring the table to what these rows' states say."""
        updates: list[Wanted] = []
        for wanted in rows:
            self._deletes.pop((table.number, wanted.key), None)
            if table.plan.key_kind == "none":
                self._carry_out_copy(table, wanted)
            elif not wanted.row.alive and not self._is_held(wanted):
                if wanted.shown is not None:
                    self._deletes[table.number, wanted.key] = (table, wanted)
                else:
                    merged_here = wanted.hidden is not None and wanted.hidden.place == MERGED
                    hidden = HiddenRow(DEAD, wanted.row)
                    if merged_here and wanted.hidden is not None:
                        # Its name goes on standing for the other row.
                        hidden = HiddenRow(MERGED, wanted.row, waits=wanted.hidden.waits)
                    self._put_hidden(table, wanted, hidden)
                    self._vacated.add(table.number)
                    # A row that waits for it can be shown now, and holds it.
                    self._appeared.setdefault(table.number, set()).add(wanted.key)
            elif wanted.shown is not None:
                updates.append(wanted)
            elif wanted.hidden is not None and wanted.hidden.place == MERGED:
                waits = wanted.hidden.waits
                self._put_hidden(table, wanted, HiddenRow(MERGED, wanted.row, waits=waits))
            else:
                refusal = self._show(table, wanted)
                if refusal is not None:
                    self._park(table, wanted, refusal)
        self._update_many(table, updates)

    def _is_held(self, wanted: Wanted) -> bool:
        hidden = wanted.hidden
        return hidden is not None and (hidden.place == HELD or hidden.reason == "held")

    def _show(
        self, table: Table, wanted: Wanted, ahead: list[Ahead] | None = None
    ) -> Refusal | None:
        """Insert one row by its state; returns why it could not be.

        With `ahead` its local key is given already, and its parents may come after it; the row
        is added to the list, and the caller asks whether they came.
        """
        refusal = self._dress(table, wanted)
        if refusal is not None:
            return refusal
        row = known_part(table, wanted.displayed)
        for name, _ in table.plan.local_rows:
            if name in row.cells and stays(table.plan, name, row.cells[name].value):
                return _not_taken(table, name)
        values: dict[str, Any] = {}
        local = table.plan.local_key
        known = self._locals.setdefault(table.name, {})
        if local is not None:
            if ahead is None:
                known[wanted.key] = self._local_key(table, wanted)
            values[local] = known[wanted.key]
        refusal = self._local_values(table, row, row.cells, values)
        if refusal is None:
            columns = list(values)
            line: list[tuple[Any, ...] | None] = [tuple(values.values())]
            if ahead is None:
                refusal = self._without_parents(table, columns, line).get(0)
            if refusal is None:
                self._write_to(table.number)
                deferred = table.plan.in_cycle or ahead is not None
                refused = self._insert_many(table, columns, line, deferred=deferred)
                refusal = refused.get(0)
        if refusal is not None:
            known.pop(wanted.key, None)
            return refusal
        pk = tuple(values[name] for name in table.plan.primary_key)
        self._stands(table, wanted, pk)
        if ahead is not None:
            ahead.append(Ahead(table, wanted, pk, columns, tuple(values.values())))
        return None

    def _dress(self, table: Table, wanted: Wanted) -> Refusal | None:
        """Let the row say what the filters of this site say, and refer to those rows that stand
        for the ones to which it refers; returns why it is not to be shown."""
        wanted.instead = {
            name: value
            for name, value in wanted.instead.items()
            if _is_unique(table, name) and not isinstance(value, Reference)
        }
        if table.name in self._filters:
            try:
                changed = self._filters.instead(table, wanted.key, wanted.row)
            except Refused as error:
                return Refusal(FILTERED, f"{table.name}: {error}")
            wanted.instead = {**wanted.instead, **changed}
        there = self._stand_ins(table, wanted.row)
        # A mark stays: where a reference is not shown at all, it leads to no other row, either.
        wanted.instead = {**there, **wanted.instead}
        return None

    def _stand_ins(self, table: Table, row: Row) -> dict[str, Reference]:
        """By column the rows that stand for those to which the row refers, where others do."""
        found = {}
        for name in table.may_hold_keys & row.cells.keys():
            value = row.cells[name].value
            if not isinstance(value, Reference) or not table.may_refer(name, value.table):
                continue
            parent = self._by_name.get(value.table)
            if parent is None or not self._hidden.some_merged(parent.number):
                continue
            other = self._hidden.stand_in(parent.number, value.key)
            if other != value.key:
                found[name] = Reference(value.table, other)
        return found

    def _stands(self, table: Table, wanted: Wanted, pk: Key) -> None:
        """A clock for a row that stands in its table now and did not before."""
        lsn = self._sidecar.next_lsn(table.name)
        fields = clock_fields(self._sidecar, table, wanted.row, lsn)
        odd_key = self._odd(table, wanted.key, wanted.row)
        table.insert_clocks(self._tx, [(*pk, *fields[:4], wanted.key, odd_key, fields[4])])
        self._count(table, wanted)
        if self._is_altered(table, wanted):
            self._alter(table, wanted)
        elif wanted.hidden is not None:
            self._hidden.remove(table.number, wanted.key)
        self._appeared.setdefault(table.number, set()).add(wanted.key)

    def _is_altered(self, table: Table, wanted: Wanted) -> bool:
        return bool(wanted.instead) or bool(table.lacked(wanted.row))

    def _alter(self, table: Table, wanted: Wanted) -> None:
        """The table shows something else of the row than is replicated: that stands here now."""
        since = wanted.hidden.since_ms if wanted.hidden is not None else self._wall_ms
        names = ", ".join(sorted(wanted.instead))
        if not wanted.instead:
            names = ", ".join(table.lacked(wanted.row))
            reason, why = UNKNOWN_COLUMN, "is no column here"
        elif any(
            _is_unique(table, name) and not isinstance(value, Reference)
            for name, value in wanted.instead.items()
        ):
            reason, why = "unique clash", "is shown with a mark, since another row has the same"
        elif table.name in self._filters:
            reason, why = FILTERED, "is shown as a filter of this site says"
        else:
            reason, why = "merged", "refers to a row for which another one stands"
        reason, detail = reason if wanted.row.alive else "held", f"{table.name}.{names} {why}"
        self._put_hidden(
            table, wanted, HiddenRow(ALTERED, wanted.row, 0, reason, detail, since_ms=since)
        )

    def _odd(self, table: Table, key: RowKey, row: Row) -> RowKey | None:
        if not table.uuid_indexed or table.uuid is None:
            return key
        cell = row.cells.get(table.uuid)
        values: list[Any] = [None] * len(table.columns)
        values[table.key_places[0]] = cell.value if cell is not None else None
        return table.odd_key(key, values)

    def _local_values(
        self, table: Table, row: Row, names: Iterable[str], values: dict[str, Any]
    ) -> Refusal | None:
        """Put the local form of these cells into `values`; returns why one has none."""
        for name in names:
            value = row.cells[name].value
            if isinstance(value, Reference):
                if not table.may_refer(name, value.table) or value.table not in self._by_name:
                    return Refusal("type does not fit", f"{table.name}.{name} is no reference here")
                if self._is_nothing(table, name, value.key):
                    values[name] = 0
                    continue
                if self._resolve(value.table, [value.key]):
                    return self._missing(table, name, value.table, value.key)
                values[name] = table.as_reference(name, self._locals[value.table][value.key])
                continue
            try:
                values[name] = table.fitting(table.place[name], value)
            except Unfit as error:
                return Refusal("type does not fit", f"{table.name}.{name}: {error}")
            if name in table.conditional and self._leads_elsewhere(table, row, name):
                return Refusal(
                    "number taken",
                    f"{table.name}.{name} leads to no row where it was written, and would lead to "
                    "one here: correct it there",
                )
        return None

    def _leads_elsewhere(self, table: Table, row: Row, name: str) -> bool:
        condition = table.conditional[name]
        deciding = row.cells.get(condition.column if condition.by is None else condition.by)
        if deciding is None or row.cells[name].value is None:
            return False
        said: Any = deciding.value
        if isinstance(said, Reference):
            if self._resolve(said.table, [said.key]):
                return False
            said = self._locals[said.table][said.key]
        value = row.cells[name].value
        return leads_elsewhere(self._tx, table, name, value, said, self._by_name)

    def _pk_of(self, wanted: Wanted) -> Key:
        assert wanted.shown is not None, "the row is shown"
        return wanted.shown.pk

    # Rows that change

    def _update_many(self, table: Table, rows: Sequence[Wanted]) -> None:
        """Updates by the set of columns that differ, whole sets at once."""
        groups: dict[tuple[str, ...], list[tuple[Wanted, tuple[Any, ...]]]] = {}
        unchanged: list[tuple[Wanted, Mapping[str, Any]]] = []
        for wanted in rows:
            refusal, changed = self._difference(table, wanted)
            if refusal is not None:
                self._park(table, wanted, refusal)
            elif not changed:
                unchanged.append((wanted, {}))
            else:
                line = (*changed.values(), *self._pk_of(wanted))
                groups.setdefault(tuple(changed), []).append((wanted, line))
        self._updated(table, unchanged)
        for columns, lines in groups.items():
            self._update_group(table, columns, lines)

    def _update_group(
        self,
        table: Table,
        columns: tuple[str, ...],
        lines: list[tuple[Wanted, tuple[Any, ...]]],
    ) -> None:
        lines = self._unbound(table, columns, lines)
        if not lines:
            return
        sql = table.update_sql(columns)
        self._write_to(table.number)
        self._vacated.add(table.number)
        free = any(renamed.table is table for renamed in self._renamed)
        try:
            with self._tx.savepoint(), self._deferred(free):
                self._tx.executemany(sql, [line for _, line in lines])
            self._updated(
                table,
                [(wanted, dict(zip(columns, line, strict=False))) for wanted, line in lines],
            )
            return
        except self._row_errors as error:
            if self._refusal(table, error) is None:
                raise
        for wanted, line in lines:
            try:
                with self._tx.savepoint(), self._deferred(free):
                    self._tx.execute(sql, line)
            except self._row_errors as error:
                refusal = self._refusal(table, error)
                if refusal is None:
                    raise
                self._park(table, wanted, refusal)
            else:
                self._updated(table, [(wanted, dict(zip(columns, line, strict=False)))])

    def _unbound(
        self,
        table: Table,
        columns: tuple[str, ...],
        lines: list[tuple[Wanted, tuple[Any, ...]]],
    ) -> list[tuple[Wanted, tuple[Any, ...]]]:
        """The lines that may be written, although rows refer to values that they change: those
        that refer may follow in this delta. Whether they did is asked at the end. Of a deleted
        row that is held just for them nothing follows, and it keeps those values."""
        inbounds = self._referrers.by_columns(table, columns)
        if not inbounds:
            return lines
        free = []
        for wanted, line in lines:
            pk = self._pk_of(wanted)
            found = [
                Renamed(table, wanted.key, inbound, values)
                for inbound in inbounds
                if (values := self._referrers.named_so(self._tx, table, inbound, pk)) is not None
            ]
            moves = any(name in columns for name in table.plan.primary_key)
            if found and (moves or not wanted.row.alive):
                self._park(table, wanted, self._referred_to(table, found[0].inbound))
                continue
            self._renamed += found
            free.append((wanted, line))
        return free

    def _referred_to(self, table: Table, inbound: Inbound) -> Refusal:
        return Refusal(
            "still referred to",
            f"{table.name}.{', '.join(inbound.target_columns)} is what rows of {inbound.child} "
            "refer to",
        )

    def _difference(self, table: Table, wanted: Wanted) -> tuple[Refusal | None, dict[str, Any]]:
        """The columns in which the table shows something else, in their local form."""
        shown = wanted.shown
        assert shown is not None, "an update is of a row that is shown"
        refusal = self._dress(table, wanted)
        if refusal is not None:
            return refusal, {}
        before = dict(zip(table.columns, table.values_of(shown.values), strict=True))
        row = known_part(table, wanted.displayed)
        names = [
            name
            for name, cell in row.cells.items()
            if before[name] != cell.value or type(before[name]) is not type(cell.value)
        ]
        values: dict[str, Any] = {}
        refusal = self._local_values(table, row, names, values)
        if refusal is None and values:
            refusal = self._missing_after(table, row, values)
        return refusal, values

    def _missing_after(self, table: Table, row: Row, values: Mapping[str, Any]) -> Refusal | None:
        """Why a row may not have these values: a parent that it would refer to is not here."""
        whole = dict(values)
        rest = [name for name in self._referrers.in_part(table, values) if name in row.cells]
        refusal = self._local_values(table, row, sorted(rest), whole)
        if refusal is not None:
            return refusal
        line: list[tuple[Any, ...] | None] = [tuple(whole.values())]
        return self._without_parents(table, list(whole), line).get(0)

    def _updated(self, table: Table, rows: Iterable[tuple[Wanted, Mapping[str, Any]]]) -> None:
        """The clocks of rows whose table shows their state now; with each row what was changed."""
        lines: list[tuple[Any, ...]] = []
        for wanted, changed in rows:
            pk = self._pk_of(wanted)
            moved = [name for name in table.plan.primary_key if name in changed]
            lsn = self._sidecar.next_lsn(table.name)
            fields = clock_fields(self._sidecar, table, wanted.row, lsn)
            if moved:
                table.delete_clocks(self._tx, [pk])
                places = dict(zip(table.plan.primary_key, pk, strict=True))
                pk = tuple(changed.get(name, old) for name, old in places.items())
                odd_key = self._odd(table, wanted.key, wanted.row)
                table.insert_clocks(self._tx, [(*pk, *fields[:4], wanted.key, odd_key, fields[4])])
            else:
                lines.append((*fields, *pk))
            self._count(table, wanted)
            hidden = wanted.hidden
            if self._is_altered(table, wanted):
                self._alter(table, wanted)
            elif hidden is not None and (hidden.place in STATE_HERE or wanted.row.alive):
                self._hidden.remove(table.number, wanted.key)
        table.update_clocks(self._tx, lines)

    # Statements, and what the engine refuses

    def _insert_many(
        self,
        table: Table,
        columns: Sequence[str],
        rows: list[tuple[Any, ...] | None],
        *,
        deferred: bool,
    ) -> dict[int, Refusal]:
        """Insert rows; in ever smaller parts where some row is refused. Returns those that were."""
        refused: dict[int, Refusal] = {}
        todo = [range(len(rows))] if rows else []
        while todo:
            part = todo.pop()
            written: list[Any] = rows[part.start : part.stop]
            try:
                with self._tx.savepoint(), self._deferred(deferred):
                    table.insert(self._tx, columns, written)
                continue
            except self._row_errors as error:
                refusal = self._refusal(table, error)
                if refusal is None:
                    raise
            if len(part) == 1:
                refused[part.start] = refusal
                continue
            # In their order: of two rows that clash, the first is written.
            step = -(-len(part) // PARTS)
            todo += reversed([part[start : start + step] for start in range(0, len(part), step)])
        return refused

    def _deferred(self, deferred: bool) -> "_Deferred":
        return _Deferred(self._tx, deferred)

    @property
    def _row_errors(self) -> tuple[type[Exception], ...]:
        return (*self._tx.dialect.errors, OverflowError)

    def _refusal(self, table: Table, error: Exception) -> Refusal | None:
        if isinstance(error, OverflowError):
            return Refusal("type does not fit", f"{table.name}: {error}")
        found = self._tx.dialect.refusal(error)
        if found is None:
            return None
        reason, detail = found
        if self._tx.dialect.local_number_taken(table.plan, error):
            # No clash of rows: the number means nothing, and the next attempt takes another.
            raise StoreError(
                f"{table.name}: the application took the local numbers that were to be used",
                transient=True,
            ) from error
        return Refusal(reason, f"{table.name}: {detail}")

    def _write_to(self, number: int) -> None:
        if number != self._applying:
            self._tx.dialect.applying(self._tx, number)
            self._applying = number
            self._written.add(number)

    # Bookkeeping

    def _park(self, table: Table, wanted: Wanted, refusal: Refusal) -> None:
        """Keep the row's state beside the table, with the reason; hold up nothing else."""
        hidden = wanted.hidden
        if hidden is not None and hidden.place == PARKED and hidden.row == wanted.row:
            same = (refusal.reason, refusal.detail, refusal.waits)
            if (hidden.reason, hidden.detail, hidden.waits) == same:
                return
        if hidden is not None and hidden.row != wanted.row:
            self._vacated.add(table.number)  # for what it asked before it asks no more
        self.parked += 1
        since = hidden.since_ms if hidden and hidden.place == PARKED else self._wall_ms
        self._put_hidden(
            table,
            wanted,
            HiddenRow(PARKED, wanted.row, 0, refusal.reason, refusal.detail, refusal.waits, since),
        )

    def _put_hidden(self, table: Table, wanted: Wanted, hidden: HiddenRow) -> None:
        hidden.lsn = self._sidecar.next_lsn(table.name)
        hidden.since_ms = hidden.since_ms or self._wall_ms
        if wanted.shown is not None:
            hidden.local = table.local_of(wanted.shown.pk)
        elif wanted.hidden is not None:
            hidden.local = wanted.hidden.local
        self._count(table, wanted)
        self._dead_by_values.clear()
        self._hidden.put(table.number, wanted.key, hidden)

    def _count(self, table: Table, wanted: Wanted) -> None:
        self._sidecar.hlc = max(self._sidecar.hlc, wanted.row.hlc)
        self._stirred.add(table.number)
        if wanted.row is not wanted.old:
            change = sum_of(wanted.key, wanted.row) - sum_of(wanted.key, wanted.old)
            self._sidecar.add_sum(table.name, change)
            wanted.old = wanted.row

    def _forget_local(self, table: Table, key: RowKey) -> None:
        self._locals.get(table.name, {}).pop(key, None)

    def _someone_waits(self) -> bool:
        """Whether any row is parked or hidden, so that what appears may matter to it."""
        return any(self._hidden.some(one) for one in self._tables)


def unknown_columns(table: Table, row: Row) -> Refusal | None:
    """Why a row that is its own key cannot be written: it is all of its cells or nothing."""
    names = table.lacked(row)
    if not names:
        return None
    return Refusal(
        UNKNOWN_COLUMN,
        f"{table.name} has no column {', '.join(names)} here, and its rows have no key: upgrade "
        "the application as where the row was written, then run `syncnode uninstall` and "
        "`syncnode init`",
    )


def _not_taken(table: Table, name: str) -> Refusal:
    return Refusal(
        "stays local",
        f"here each site keeps its own rows of {table.name} with this {name}: give all sites the "
        "same rule, [tables] local",
    )


def _is_unique(table: Table, column: str) -> bool:
    return any(column in unique.columns for unique in table.plan.unique_keys)


class _Deferred:
    """Foreign keys unchecked for statements whose rows we have checked ourselves."""

    def __init__(self, tx: Any, deferred: bool) -> None:
        self._tx = tx
        self._deferred = deferred

    def __enter__(self) -> None:
        if self._deferred:
            self._tx.dialect.checks_off(self._tx, True)

    def __exit__(self, *_: object) -> None:
        if self._deferred:
            self._tx.dialect.checks_off(self._tx, False)
