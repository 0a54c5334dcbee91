"""Comes to rest: deletes, held rows, and parked rows whose reason may have gone.

Nothing that is shown is ever hidden for the sake of a parked row, so each round only adds rows or
removes deleted ones, and it ends.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from syncnode.apply.clashes import Clashes
from syncnode.apply.knots import (
    WAITING_ROWS_MAX,
    Ahead,
    ByValue,
    circle,
    free_to_go,
    parents_by_value,
)
from syncnode.apply.restoring import give_state, restore
from syncnode.apply.writing import Refusal, Wanted
from syncnode.store.hidden import ALTERED, DEAD, HELD, PARKED, HiddenRow
from syncnode.store.table import Key, Table
from syncproto.clock import stamped_after
from syncproto.delta import RecordedConflict
from syncproto.identity import RowKey
from syncproto.row import EMPTY, Reference, Row, Stamp

RETRIED_ROWS_MAX = 5_000  # parked rows of one reason tried again in one round
ROUNDS_MAX = 1_000  # rounds of releasing parked rows; each round writes at least one row


class Settler(Clashes):
    """Brings what was decided to rest; see `Writer` for what it is made of."""

    def settle(self, touched: Mapping[int, Iterable[RowKey]] | None = None) -> None:
        """Carry out deletes, release what waited, let go of what nothing refers to, until
        nothing changes any more.

        Nothing that is shown is ever hidden for the sake of a parked row, so each round only
        adds rows or removes deleted ones: it ends.
        """
        restore(self)
        for number, keys in (touched or {}).items():
            self._appeared.setdefault(number, set()).update(keys)
            self._vacated.add(number)
            self._stirred.add(number)
            # Parked rows that the application has edited may fit now.
            edited = self._hidden.get(number, list(keys))
            for key in sorted(key for key, row in edited.items() if row.place == PARKED):
                self.retry(number, key)
        for _ in range(ROUNDS_MAX):
            progress = self._delete_rows()
            progress = self._release_held() or progress
            progress = self._retry_parked() or progress
            if progress or self._untie() or self._decide_clashes() or self._hold_deletes():
                continue
            if not self._take_back_renamed():
                break
        else:
            # It goes on when the next rows come; what was deleted is said until then.
            self._hold_deletes()
        self._record_outlived()
        self.record_conflicts()

    # Deletes

    def _delete_rows(self) -> bool:
        """Delete the dead that nothing refers to; children go before their parents."""
        progress = False
        again = bool(self._deletes)
        while again:
            again = False
            for name in reversed(list(self._deletes)):
                if self._delete(*self._deletes[name]):
                    del self._deletes[name]
                    again = progress = True
        return progress

    def _delete(self, table: Table, wanted: Wanted, *, alone: bool = True) -> bool:
        """Delete a row; False if another one refers to it. `alone`: ask whether one does."""
        pk = self._pk_of(wanted)
        self._tx.dialect.lock_rows(self._tx, table.plan, [pk])
        if alone and self._referrers.refers(self._tx, table, pk):
            return False
        self._write_to(table.number)
        try:
            with self._tx.savepoint():
                self._tx.execute(table.delete_sql(), pk)
        except self._row_errors as error:
            refusal = self._refusal(table, error)
            if refusal is None:
                raise
            self._park(table, wanted, refusal)
            return True
        table.delete_clocks(self._tx, [pk])
        self._sidecar.gone[table.number, wanted.key] = pk
        self._forget_local(table, wanted.key)
        self._put_hidden(table, wanted, HiddenRow(DEAD, wanted.row))
        if wanted.row == EMPTY:  # it was inserted here, and undone: nobody knows of it
            self._hidden.remove(table.number, wanted.key)
        self._vacated.add(table.number)
        return True

    def _hold_deletes(self) -> bool:
        """Deleted rows to which a row that stands refers stay shown, and say so."""
        held, self._deletes = self._deletes, {}
        for table, wanted in held.values():
            self._hold_in_place(table, wanted)
        return bool(held)

    def _hold_in_place(self, table: Table, wanted: Wanted) -> None:
        """Show the row with its last values, since table and clock hold the state of the held."""
        give_state(self, wanted)
        self._update_many(table, [wanted])
        here = self._hidden.get(table.number, [wanted.key]).get(wanted.key)
        if here is not None and (here.place == PARKED or here.reason == "held"):
            return
        self._hidden.put(
            table.number, wanted.key, HiddenRow(HELD, EMPTY, 0, since_ms=self._wall_ms)
        )

    def _release_held(self) -> bool:
        progress = False
        if not self._vacated:
            return False
        for number, key in self._hidden.held():
            table = self._tables[number]
            wanted = self._ours(table, [key])[key]
            if wanted.shown is None or wanted.row.alive:
                if wanted.hidden is not None and wanted.hidden.place != ALTERED:
                    self._hidden.remove(number, key)
                continue
            if self._delete(table, wanted):
                progress = True
        return progress

    def _take_back_renamed(self) -> bool:
        """Give rows the values again by which others still refer to them, and park the new."""
        renamed, self._renamed = self._renamed, []
        taken = False
        for table, key, inbound, values in renamed:
            if not self._referrers.dangles(self._tx, table, inbound, values):
                continue
            wanted = self._ours(table, [key])[key]
            if wanted.shown is None:
                continue
            self._write_to(table.number)
            with self._deferred(True):
                line = (*values, *wanted.shown.pk)
                self._tx.execute(table.update_sql(inbound.target_columns), line)
            self._park(table, wanted, self._referred_to(table, inbound))
            self._taken_back.add((table.number, key))
            self._appeared.setdefault(table.number, set()).add(key)
            taken = True
        return taken

    # Parked rows

    def _retry_parked(self) -> bool:
        """Rows whose parents appeared, and those of tables in which something gave way."""
        again: set[tuple[int, RowKey]] = set()
        appeared, self._appeared = self._appeared, {}
        for number, keys in appeared.items():
            again.update(self._hidden.waiting_for(number, sorted(keys)))
        vacated, self._vacated = self._vacated, set()
        self._stirred |= vacated | appeared.keys()
        if vacated:
            tables, limit = sorted(vacated), RETRIED_ROWS_MAX
            again.update(self._hidden.waiting_in(tables, limit=limit))
            referred = self._hidden.parked(limit=limit, reason="still referred to")
            again.update(name for name in referred if name not in self._taken_back)
        if appeared or vacated:
            # What an application's trigger wants to see may stand in any table.
            again.update(self._hidden.parked(limit=RETRIED_ROWS_MAX, reason="trigger"))
        again.update(self._hidden.waiting_for_merged(limit=RETRIED_ROWS_MAX))
        progress = False
        for number, key in sorted(again):
            if self.retry(number, key):
                progress = True
        return progress

    def retry(self, number: int, key: RowKey) -> bool:
        """Try once more to write a parked row; True if it is written now."""
        table = self._tables[number]
        wanted = self._ours(table, [key])[key]
        if wanted.hidden is None or wanted.hidden.place != PARKED:
            return False
        self._carry_out(table, [wanted])
        here = self._hidden.get(number, [key]).get(key)
        return here is None or here.place != PARKED

    # Knots: rows that come to rest only together

    def _untie(self) -> bool:
        """What can only be done for several rows at once; see `knots.py`."""
        progress = self._delete_circles()
        return self._show_circles() or progress

    def _delete_circles(self) -> bool:
        """Delete the dead to which nothing but each other refers."""
        dead: dict[tuple[int, Key], tuple[Table, Wanted]] = {
            (table.number, self._pk_of(wanted)): (table, wanted)
            for table, wanted in self._deletes.values()
        }
        for number, key in self._hidden.held():
            wanted = self._ours(self._tables[number], [key])[key]
            if wanted.shown is not None and not wanted.row.alive:
                dead.setdefault((number, wanted.shown.pk), (self._tables[number], wanted))
        free = free_to_go(
            dead,
            lambda number, pk, limit: self._referrers.named(
                self._tx, self._tables[number], pk, limit
            ),
        )
        with self._deferred(bool(free)):
            for node in self._children_first(free):
                table, wanted = dead[node]
                self._delete(table, wanted, alone=False)
        gone = set(free)
        self._deletes = {
            name: (table, wanted)
            for name, (table, wanted) in self._deletes.items()
            if (table.number, self._pk_of(wanted)) not in gone
        }
        return bool(free)

    def _show_circles(self) -> bool:
        """Write the parked rows that need nothing but each other."""
        waiting = self._hidden.waiting(limit=WAITING_ROWS_MAX)
        if not waiting:
            return False
        nodes = circle(waiting, self._tables, self._resolve, self._lacking_by_value)
        ahead: list[Ahead] = []
        wanted_by_node = {}
        for number, key in nodes:
            table = self._tables[number]
            wanted = self._ours(table, [key])[key]
            if wanted.shown is None and table.plan.key_kind != "none" and wanted.row.alive:
                wanted_by_node[number, key] = (table, wanted)
                if table.local_place is not None:
                    self._locals.setdefault(table.name, {})[key] = self._reserve(table, 1)
        for table, wanted in wanted_by_node.values():
            refusal = self._show(table, wanted, ahead)
            if refusal is not None:
                self._park(table, wanted, refusal)
        shown = len(ahead)
        while orphan := next((one for one in ahead if self._orphaned(one) is not None), None):
            refusal = self._orphaned(orphan)
            assert refusal is not None, "it lacks a parent"
            ahead.remove(orphan)
            shown -= 1
            self._take_back(orphan, refusal)
        return shown > 0

    def _orphaned(self, ahead: Ahead) -> Refusal | None:
        for name, cell in ahead.wanted.row.cells.items():
            value = cell.value
            if isinstance(value, Reference) and value.key not in self._locals.get(value.table, {}):
                return self._missing(ahead.table, name, value.table, value.key)
        lines: list[tuple[Any, ...] | None] = [ahead.line]
        return self._without_parents(ahead.table, ahead.columns, lines).get(0)

    def _take_back(self, ahead: Ahead, refusal: Refusal) -> None:
        self._write_to(ahead.table.number)
        with self._deferred(True):
            self._tx.execute(ahead.table.delete_sql(), ahead.pk)
        ahead.table.delete_clocks(self._tx, [ahead.pk])
        self._forget_local(ahead.table, ahead.wanted.key)
        row = ahead.wanted.row
        self._park(ahead.table, Wanted(ahead.wanted.key, row, row), refusal)

    def _lacking_by_value(self, table: Table, row: Row) -> list[ByValue]:
        found = []
        for key in self._referrers.by_value(table):
            values = parents_by_value(row, key.columns)
            if None in values:
                continue
            local: dict[str, Any] = {}
            refusal = self._local_values(table, row, key.columns, local)
            here = tuple(local[name] for name in key.columns) if refusal is None else None
            if self._referrers.lacking(self._tx, key, here):
                target = self._by_name.get(key.table)
                number = target.number if target is not None else 0
                found.append((number, key.target_columns, values))
        return found

    # Conflicts

    def record_conflicts(self) -> None:
        """Put what was decided on record, under a changeset of our own."""
        fresh = [c for c in self._conflicts if not self._sidecar.has_conflict(c)]
        self._conflicts.clear()
        if not fresh:
            return
        dot = self._sidecar.open_changeset(self._nonce)
        stamp = Stamp(stamped_after(0, wall_ms=self._wall_ms), dot.origin, dot.seq)
        self._sidecar.put_conflicts(RecordedConflict(c, stamp) for c in fresh)
        self._sidecar.close_changeset(self._wall_ms)
