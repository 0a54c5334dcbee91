"""Rows that are one and the same thing: the later one stands under another name, the earlier's.

Where a unique key's rule says `merge`, two rows with one value are the same thing that two sites
entered. The later one is not shown: its key becomes an alias, for ever, and who refers to it is
shown referring to the other. Nothing of that is replicated (rule A6): the state of the merged row,
and of each row that is shown referring to another, stands in the sidecar, so all of it undoes
itself when the two are not the same any more. Edits of the merged row go to its own hidden cells.
"""

from collections.abc import Sequence
from typing import Any

from syncnode.apply.withdrawals import Withdrawals
from syncnode.apply.writing import Refusal, Wanted, known_part
from syncnode.store.hidden import ALTERED, DEAD, MERGED, PARKED, HiddenRow
from syncnode.store.table import Key, Table
from syncproto.row import Reference

REFERRERS_MAX = 1_000_000  # of a merged row; each keeps its state beside the table from then on


class Merging(Withdrawals):
    """Gives rows the place of others; see `Writer` for what it is made of."""

    def _merge_into(self, table: Table, wanted: Wanted, winner: Wanted, *, named: bool) -> bool:
        """Let `winner` stand for this row too, or `named`: in its place, since the engine takes
        the names of the two for one; True if it did not before."""
        hidden = HiddenRow(MERGED, wanted.row, waits=(table.number, winner.key))
        if named:
            name = f"{table.name}: this database takes the name of the row for another one's"
            hidden = HiddenRow(PARKED, wanted.row, 0, "unique clash", name)
            if not wanted.row.alive:
                hidden = HiddenRow(DEAD, wanted.row)
        if wanted.shown is None:
            before = wanted.hidden
            if before is not None and _same(before, hidden):
                return False
            self._put_hidden(table, wanted, hidden)
            self._redress(table)
            return True
        children = self._children(table, wanted)
        if children is None or not self._ready(table, wanted, winner):
            return False
        pk = self._pk_of(wanted)
        copies = self._copies_of(table, pk)
        table.delete_clocks(self._tx, [pk])
        self._forget_local(table, wanted.key)
        self._deletes.pop((table.number, wanted.key), None)
        self._put_hidden(table, wanted, hidden)
        wanted.shown = None
        if winner.shown is None:
            self._stands(table, winner, self._place_of(table, winner, pk))
        self._show_again(children)
        self._show_copies_again(copies)
        if winner.shown is not None:
            self._withdraw_refused(children)
            self._write_to(table.number)
            with self._deferred(True):
                self._tx.execute(table.delete_sql(), pk)
        self._redress(table)
        self._vacated.add(table.number)
        return True

    def _place_of(self, table: Table, winner: Wanted, pk: Key) -> Key:
        """The primary key that a row has in the place of another: its own name, if it has one."""
        values: dict[str, Any] = dict(zip(table.plan.primary_key, pk, strict=True))
        named = [name for name in values if name in winner.row.cells]
        refusal = self._local_values(table, winner.displayed, named, values)
        assert refusal is None, "the row is ready"
        return tuple(values[name] for name in table.plan.primary_key)

    def _ready(self, table: Table, wanted: Wanted, winner: Wanted) -> bool:
        """Give the winner, if it is not shown yet, the place of this row; False if it cannot be."""
        if winner.shown is not None:
            return True
        if self._dress(table, winner) is not None:
            return False
        if table.local_place is not None:
            # It may refer to itself.
            pk = self._pk_of(wanted)
            self._locals.setdefault(table.name, {})[winner.key] = pk[table.local_place]
        if self._written_over(table, wanted, winner):
            return True
        self._forget_local(table, winner.key)
        return False

    def _written_over(self, table: Table, wanted: Wanted, winner: Wanted) -> bool:
        """Make of the line that shows the one row a line that shows the other."""
        row, values = known_part(table, winner.displayed), dict[str, Any]()
        if (
            self._local_values(table, row, row.cells, values) is not None
            or self._missing_after(table, row, values) is not None
        ):
            return False
        self._write_to(table.number)
        try:
            with self._tx.savepoint(), self._deferred(True):
                line = (*values.values(), *self._pk_of(wanted))
                self._tx.execute(table.update_sql(tuple(values)), line)
        except self._row_errors as error:
            if self._refusal(table, error) is None:
                raise
            return False
        return True

    def _children(self, table: Table, wanted: Wanted) -> list[tuple[Table, Wanted]] | None:
        """The rows with a primary key that are shown referring to this one; None if a row of a
        table that is not replicated does."""
        pk = self._pk_of(wanted)
        found = []
        for number, child_pk in self._referrers.pointing(self._tx, table, pk, REFERRERS_MAX):
            child = self._tables.get(number)
            if child is None:
                return None
            if not child_pk:
                continue
            stored = next(child.by_pk(self._tx, [child_pk], self._origins), None)
            if stored is None or stored.clock is None:
                return None
            key = stored.clock.key
            found.append((child, self._ours(child, [key])[key]))
        return found

    def _wanted_by_some(self, table: Table, wanted: Wanted) -> bool:
        """Whether a shown row refers to this one, by what is replicated."""
        me = Reference(table.name, wanted.key)
        below: list[Wanted] = []
        if wanted.shown is not None:
            below = [one for _, one in self._children(table, wanted) or ()]
            below += [line.wanted for line in self._copies_of(table, wanted.shown.pk)]
        for child in self._tables.values():
            if self._hidden.some(child.number) and refers_to(child, table):
                altered = self._ours(child, self._hidden.in_place(child.number, ALTERED)).values()
                nameless = child.plan.key_kind == "none"
                below += [one for one in altered if nameless or one.shown is not None]
        return any(me in one.row.references() for one in below if one.key != wanted.key)

    def _withdraw_refused(self, rows: Sequence[tuple[Table, Wanted]]) -> None:
        """Take out the rows that could not be shown as their aliases say now: what they show
        says that they refer to another row, or what another row says already."""
        for table, wanted in rows:
            refusal = self._refusal_of(table, wanted)
            if refusal is not None and table.find(self._tx, [wanted.key]):
                self._take_out(table, wanted, refusal)

    def _refusal_of(self, table: Table, wanted: Wanted) -> Refusal | None:
        """Why a row is parked though it is shown; None if it is not."""
        hidden = self._hidden.get(table.number, [wanted.key]).get(wanted.key)
        if hidden is None or hidden.place != PARKED:
            return None
        return Refusal(hidden.reason or "", hidden.detail or "", hidden.waits)

    def _show_again(self, rows: Sequence[tuple[Table, Wanted]]) -> None:
        """Show rows as their aliases say now."""
        for table in dict.fromkeys(table for table, _ in rows):
            of_table = [wanted for one, wanted in rows if one is table]
            for wanted in of_table:
                self._keep_marks(table, wanted)
            self._update_many(table, of_table)

    def _redress(self, table: Table) -> None:
        """Look again at the rows that are shown otherwise and may refer to rows of this table."""
        for child in self._tables.values():
            if not refers_to(child, table):
                continue
            self._vacated.add(child.number)  # deleted rows of it may come back with it
            if child.plan.key_kind == "none":
                self._redress_copies(child)
                continue
            altered = self._ours(child, self._hidden.in_place(child.number, ALTERED)).values()
            rows = [(child, wanted) for wanted in altered if wanted.shown is not None]
            self._show_again(rows)
            self._withdraw_refused(rows)

    def _keep_marks(self, table: Table, wanted: Wanted) -> None:
        """Marks in unique values stay as they are shown: they are decided elsewhere."""
        if wanted.hidden is None or wanted.hidden.place != ALTERED or wanted.shown is None:
            return
        shown = dict(zip(table.columns, table.values_of(wanted.shown.values), strict=True))
        wanted.instead = {
            step.column.name: shown[step.column.name]
            for step in self._ladder.steps(table)
            if step.column is not None
            and step.column.name in wanted.row.cells
            and shown[step.column.name] != wanted.row.cells[step.column.name].value
        }

    def _part(self, table: Table, wanted: Wanted) -> bool:
        """Let a row stand for itself again that was merged; True if it is shown now."""
        if not wanted.row.alive:
            self._put_hidden(table, wanted, HiddenRow(DEAD, wanted.row))
            self._redress(table)
            return False
        # From now on it is no other's name, also where it refers to itself.
        self._hidden.remove(table.number, wanted.key)
        refusal = self._show(table, wanted)
        if refusal is not None:
            self._park(table, wanted, refusal)
        self._redress(table)
        return True


def refers_to(child: Table, table: Table) -> bool:
    """Whether rows of the one may refer to rows of the other."""
    return any(child.may_refer(name, table.name) for name in child.may_hold_keys)


def _same(one: HiddenRow, other: HiddenRow) -> bool:
    return (one.place, one.row, one.waits, one.detail) == (
        other.place,
        other.row,
        other.waits,
        other.detail,
    )
