"""Shows rows of tables without a primary key, and re-points their lines when rows are merged.

See `store/copies.py` for how a row and its line are told to belong together.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from syncnode.apply.revivals import Revivals
from syncnode.apply.writing import Refusal, Wanted, unknown_columns
from syncnode.store.copies import (
    IN_TABLE,
    altered_by_name,
    instead_of,
    line_of,
    lines_below,
    shown_as,
    shown_by,
)
from syncnode.store.hidden import ALTERED, DEAD, HiddenRow
from syncnode.store.table import Key, Table
from syncproto.row import Row


class Line(NamedTuple):
    """A row of a table without a primary key, and how its line stands there.

    Attributes:
        values: By column, in their local form.
    """

    table: Table
    wanted: Wanted
    values: dict[str, Any]


class Copies(Revivals):
    """Rows that are shown by equal lines; see `Writer` for what it is made of."""

    def _carry_out_copy(self, table: Table, wanted: Wanted) -> None:
        hidden = wanted.hidden
        if hidden is not None and hidden.place in IN_TABLE:
            if wanted.row.alive:
                self._put_hidden(table, wanted, shown_as(wanted.row, instead_of(hidden)))
            else:
                self._remove_copy(table, wanted)
                self._put_hidden(table, wanted, HiddenRow(DEAD, wanted.row))
        elif not wanted.row.alive:
            self._put_hidden(table, wanted, HiddenRow(DEAD, wanted.row))
        elif (refusal := self._show_copy(table, wanted)) is not None:
            self._park(table, wanted, refusal)

    def _show_copy(self, table: Table, wanted: Wanted) -> Refusal | None:
        refusal = unknown_columns(table, wanted.row)
        if refusal is not None:
            return refusal
        instead = self._stand_ins(table, wanted.row)
        refusal, values = self._local_line(table, line_of(wanted.row, instead))
        refusal = refusal or self._insert_line(table, values)
        if refusal is None:
            self._put_hidden(table, wanted, shown_as(wanted.row, instead))
        return refusal

    def _local_line(self, table: Table, row: Row) -> tuple[Refusal | None, dict[str, Any]]:
        values: dict[str, Any] = {}
        return self._local_values(table, row, row.cells, values), values

    def _insert_line(self, table: Table, values: dict[str, Any]) -> Refusal | None:
        columns = list(values)
        line: list[tuple[Any, ...] | None] = [tuple(values.values())]
        refusal = self._without_parents(table, columns, line).get(0)
        if refusal is None:
            self._write_to(table.number)
            refusal = self._insert_many(table, columns, line, deferred=False).get(0)
        return refusal

    def _remove_copy(self, table: Table, wanted: Wanted) -> None:
        """Take the line of a row out of the table."""
        line = self._standing(table, wanted)
        if line is not None:
            self._remove_line(line)

    def _standing(self, table: Table, wanted: Wanted) -> Line | None:
        """The line that shows a row; None if what it refers to is nowhere."""
        assert wanted.hidden is not None, "a row without a primary key is kept beside the table"
        row = line_of(wanted.hidden.row, instead_of(wanted.hidden))
        refusal, values = self._local_line(table, row)
        return Line(table, wanted, values) if refusal is None else None

    def _remove_line(self, line: Line) -> bool:
        """False if the application has deleted it and that is not sealed yet."""
        self._write_to(line.table.number)
        sql = line.table.dialect.delete_one(line.table.plan, list(line.values))
        gone = self._tx.execute(sql, list(line.values.values())) > 0
        self._vacated.add(line.table.number)
        return gone

    # What refers to rows for which another one stands

    def _copies_of(self, table: Table, pk: Key) -> list[Line]:
        """The rows without a primary key whose lines refer to this row."""
        nameless = self._referrers.nameless(table)
        if not nameless:
            return []
        found: list[Line] = []
        altered = {child.number: altered_by_name(child, self._hidden) for _, child in nameless}
        for child, name in lines_below(self._tx, table, pk, nameless):
            keys = [
                *shown_by(child, self._hidden, name),
                *altered[child.number].get(name, ()),
            ]
            lines = [self._standing(child, one) for one in self._ours(child, keys).values()]
            found += [line for line in lines if line is not None]
        return found

    def _show_copies_again(self, lines: Sequence[Line]) -> None:
        """Let lines that stood so refer to the rows that stand for theirs now."""
        for line in lines:
            table, wanted, before = line
            instead = self._stand_ins(table, wanted.row)
            refusal, values = self._local_line(table, line_of(wanted.row, instead))
            if refusal is not None or values != before:
                if not self._remove_line(line):
                    continue  # its row is deleted when that is sealed, by the name that it has
                with self._deferred(True):
                    refusal = refusal or self._insert_line(table, values)
            if refusal is not None:
                self._park(table, wanted, refusal)
            elif wanted.hidden is None or instead != instead_of(wanted.hidden):
                self._put_hidden(table, wanted, shown_as(wanted.row, instead))

    def _redress_copies(self, table: Table) -> None:
        """Look again at the rows whose lines do not say what they do."""
        rows = self._ours(table, self._hidden.in_place(table.number, ALTERED)).values()
        for wanted in rows:
            assert wanted.hidden is not None, "it stands there"
            if self._stand_ins(table, wanted.row) != instead_of(wanted.hidden):
                line = self._standing(table, wanted)
                self._show_copies_again([line] if line is not None else [])
