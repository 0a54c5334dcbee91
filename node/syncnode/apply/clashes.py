"""Unique clashes: who keeps the value, and what becomes of the others (rules A4 and B2).

The engine refuses a row whose unique value another one has, and so the row is parked for that.
Here all rows that ask for the value are looked at together, and who keeps it is decided from
their replicated state alone (`syncproto.uniqueness`), so alike at every site. The others are
shown with a mark, or wait, as `ladder.py` says of the key. Decided again whenever a row of the
table has changed: nothing of it is replicated, so it undoes itself.

Rows that were only refused because of one that waits go on asking for what they had: their going
must not bring the other back, or the two would take turns for ever (rule A4).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from syncnode.apply.claims import Claimant, classes, decide, line_of
from syncnode.apply.knots import exchange, placeholders
from syncnode.apply.ladder import Step
from syncnode.apply.merging import Merging
from syncnode.apply.writing import Wanted
from syncnode.store.copies import line_of as line_as
from syncnode.store.hidden import ALTERED, DEAD, MERGED, PARKED, HiddenRow
from syncnode.store.table import Key, Table
from syncproto.errors import StoreError
from syncproto.identity import RowKey
from syncproto.row import Reference, Row

CONTESTED_ROWS_MAX = 5_000  # of a table decided at once; the latest beyond it wait


class Clashes(Merging):
    """Decides unique clashes; see `Writer` for what it is made of."""

    def _decide_clashes(self) -> bool:
        """Decide for every table whose rows have changed; True if something is shown otherwise."""
        stirred, self._stirred = self._stirred, set()
        progress = False
        for number in sorted(stirred):
            table = self._tables[number]
            if table.plan.key_kind != "none" and self._hidden.some(number):
                progress = self._decide(table) or progress
        return progress

    def _decide(self, table: Table) -> bool:
        steps = self._ladder.steps(table)
        claimants = self._claimants(table, steps)
        if not claimants:
            return False
        shown = [one.wanted.shown.pk for one in claimants.values() if one.wanted.shown]
        self._tx.dialect.lock_rows(self._tx, table.plan, shown)
        if self._tx.dialect.name != "sqlite" and self._sealer.seal(single_read=True):
            # The application wrote before the rows were locked.
            claimants = self._claimants(table, steps)
        taken_out = False
        while self._take_out_all(table, steps, claimants):
            # Others of these may have gone with them. The first is shown before anything else is
            # tried: what was taken out must not come back into its place.
            taken_out = True
            claimants = self._claimants(table, steps)
        return self._bring_about(table, list(claimants.values())) or taken_out

    def _take_out_all(
        self, table: Table, steps: Sequence[Step], claimants: Mapping[RowKey, Claimant]
    ) -> bool:
        """Decide, and take those out that wait; True if a row was shown until now."""
        decide(table, steps, claimants)
        taken_out, merges = False, any(step.merges for step in steps)
        for one in claimants.values():
            if one.into is not None:
                winner = one.into.wanted
                winner.instead = one.into.instead
                merged = self._merge_into(table, one.wanted, winner, named=one.named)
                taken_out = merged or taken_out
                if merged:
                    break
            elif one.outcome is not None:
                gone = self._take_out(table, one.wanted, one.outcome)
                taken_out = gone > 0 or taken_out
                if gone > 1 or (gone and merges):
                    break  # others of these may have gone with it, or stand for themselves now
        return taken_out

    # Who asks for what

    def _claimants(self, table: Table, steps: Sequence[Step]) -> dict[RowKey, Claimant]:
        """The contested rows, those that show what they ask for, and those that went with one."""
        found = {}
        keys = self._hidden.contested(table.number, limit=CONTESTED_ROWS_MAX)
        for key, wanted in self._ours(table, keys).items():
            found[key] = self._claimant(table, wanted)
        for key, wanted in self._ghosts(table, steps).items():
            if key not in found:
                found[key] = self._claimant(table, wanted)
                found[key].ghost = True
        shown = self._holders(table, list(found.values()), steps)
        for stored in table.by_pk(self._tx, shown, self._origins):
            if stored.clock is None:
                raise StoreError("a row that has just been written is sealed first", transient=True)
            key = stored.clock.key
            if key not in found:
                wanted = self._ours(table, [key])[key]
                parked = wanted.hidden is not None and wanted.hidden.place == PARKED
                state = table.row_of(stored) if parked else wanted.row
                found[key] = self._claimant(table, wanted, state)
                found[key].fixed = parked
        if any(step.merges for step in steps):
            for claimant in found.values():
                wanted = claimant.wanted
                claimant.idle = not wanted.row.alive and not self._wanted_by_some(table, wanted)
        return found

    def _claimant(self, table: Table, wanted: Wanted, state: Row | None = None) -> Claimant:
        """What a row asks for; `state`: what the table shows of it, where that is something
        else for another reason."""
        row = state if state is not None else wanted.row
        keys = {
            name: cell.value
            for name, cell in row.cells.items()
            if isinstance(cell.value, Reference)
        }
        own = frozenset(name for name, reference in keys.items() if reference.table == table.name)
        there = self._stand_ins(table, row)
        keys |= {name: reference for name, reference in there.items() if name not in own}
        line = line_of(row, {name: reference.key for name, reference in keys.items()})
        return Claimant(wanted, line, own)

    def _holders(
        self, table: Table, claimants: Sequence[Claimant], steps: Sequence[Step]
    ) -> list[Key]:
        """Primary keys of the rows that show a value for which one of these asks."""
        quote, mark = self._tx.dialect.quote, self._tx.mark
        columns = ", ".join(quote(name) for name in table.plan.primary_key)
        found: dict[Key, None] = {}
        for claimant in claimants:
            row = claimant.wanted.row
            row = line_as(row, self._stand_ins(table, row))
            for unique in [step.unique for step in steps]:
                values: dict[str, Any] = {}
                if (
                    not row.cells.keys() >= set(unique.columns)
                    or self._local_values(table, row, unique.columns, values) is not None
                    or None in values.values()
                ):
                    continue
                where = " AND ".join(f"{quote(name)}={mark}" for name in values)
                for pk in self._tx.rows(
                    f"SELECT {columns} FROM {table.quoted} WHERE {where}", list(values.values())
                ):
                    found[tuple(pk)] = None
        return list(found)

    def _ghosts(self, table: Table, steps: Sequence[Step]) -> dict[RowKey, Wanted]:
        """Rows that are parked for want of a row that waits for a unique value, also by way of
        others."""
        if not any(step.holds for step in steps):
            return {}  # no row of this table keeps another one waiting
        orphans = self._hidden.orphaned(table.number, limit=CONTESTED_ROWS_MAX)
        return {
            key: Wanted(key, hidden.row, hidden.row, None, hidden)
            for key, hidden in orphans.items()
            if hidden.row.alive and self._waits_for_a_clash(hidden)
        }

    def _asked_for(self, table: Table, key: RowKey, row: Row) -> bool:
        steps = [step for step in self._ladder.steps(table) if step.holds]
        waiting = [
            *self._ghosts(table, steps).values(),
            *self._ours(
                table, self._hidden.contested(table.number, limit=CONTESTED_ROWS_MAX)
            ).values(),
        ]
        claimants = {
            one.key: self._claimant(table, one)
            for one in waiting
            if one.row.alive and one.shown is None and one.key != key
        }
        if not claimants:
            return False
        mine = claimants[key] = self._claimant(table, Wanted(key, row, row))
        return any(
            mine in rivals for step in steps for rivals in classes(table, step.unique, claimants)
        )

    def _waits_for_a_clash(self, hidden: HiddenRow) -> bool:
        seen = set()
        while hidden.waits is not None and hidden.waits not in seen:
            seen.add(hidden.waits)
            number, key = hidden.waits
            above = self._hidden.get(number, [key]).get(key) if key is not None else None
            if above is None or above.place not in (PARKED, DEAD):
                return False
            if above.place == DEAD or above.reason == "unique clash":
                return True  # a deleted row comes back for others unless its values are taken
            hidden = above
        return False

    # What is shown then

    def _bring_about(self, table: Table, claimants: Sequence[Claimant]) -> bool:
        staying = [
            one for one in claimants if not (one.fixed or one.ghost or one.outcome or one.into)
        ]
        for one in staying:
            one.wanted.instead = one.instead
        shown = [one.wanted for one in staying if one.wanted.shown is not None]
        progress = self._alter_shown(table, shown)
        for one in staying:
            hidden = one.wanted.hidden
            if hidden is not None and hidden.place == MERGED:
                progress = self._part(table, one.wanted) or progress
            elif one.wanted.shown is None:
                progress = self._show_contested(table, one.wanted) or progress
        return progress

    def _alter_shown(self, table: Table, rows: Sequence[Wanted]) -> bool:
        """Change what is shown of rows; those go first that give a value up."""
        changes = []
        for wanted in sorted(rows, key=lambda one: not one.instead):
            refusal, changed = self._difference(table, wanted)
            hidden = wanted.hidden
            altered = hidden is not None and hidden.place == ALTERED
            if refusal is not None:
                self._park(table, wanted, refusal)
            elif changed or (hidden is not None and altered != self._is_altered(table, wanted)):
                changes.append((wanted, changed))
        if not changes:
            return False
        if len(changes) > 1 and all(placeholders(table, w.key, c) is not None for w, c in changes):
            self._lock(table, changes)
            if exchange(self, table, changes):
                return True
        progress = False
        for wanted, changed in changes:
            progress = self._alter_one(table, wanted, changed) or progress
        return progress

    def _lock(self, table: Table, changes: Sequence[tuple[Wanted, dict[str, Any]]]) -> None:
        pks = [self._pk_of(wanted) for wanted, _ in changes]
        self._tx.dialect.lock_rows(self._tx, table.plan, pks)

    def _alter_one(self, table: Table, wanted: Wanted, changed: dict[str, Any]) -> bool:
        self._lock(table, [(wanted, changed)])
        self._write_to(table.number)
        try:
            with self._tx.savepoint():
                if changed:
                    line = (*changed.values(), *self._pk_of(wanted))
                    self._tx.execute(table.update_sql(tuple(changed)), line)
        except self._row_errors as error:
            refusal = self._refusal(table, error)
            if refusal is None:
                raise
            self._park(table, wanted, refusal)
            return False
        self._updated(table, [(wanted, changed)])
        self._vacated.add(table.number)
        return True

    def _show_contested(self, table: Table, wanted: Wanted) -> bool:
        if not wanted.row.alive:
            self._put_hidden(table, wanted, HiddenRow(DEAD, wanted.row))
            return False
        refusal = self._show(table, wanted)
        if refusal is not None:
            self._park(table, wanted, refusal)
            return False
        return True
