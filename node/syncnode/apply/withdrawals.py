"""Takes rows out of their tables that were shown, with all that refers to them.

They are parked, and come back by themselves when what they wait for does (`settling.py`).
"""

from syncnode.apply.copies import Copies
from syncnode.apply.writing import Refusal, Wanted
from syncnode.store.hidden import DEAD, HiddenRow
from syncnode.store.table import Key, Table

WITHDRAWN_ROWS_MAX = 10_000  # that refer to a row, also by way of others; with more it stays

Node = tuple[int, Key]
"""A row by its table and primary key; by its row key where the table has no primary key."""


class Withdrawals(Copies):
    """Takes rows out; see `Writer` for what it is made of."""

    def _take_out(self, table: Table, wanted: Wanted, refusal: Refusal) -> int:
        """Park a row, and take it out of its table with all that refers to it; how many rows
        that were."""
        if wanted.shown is None:
            if wanted.row.alive:
                self._park(table, wanted, refusal)
            elif wanted.hidden is None or wanted.hidden.place != DEAD:
                self._put_hidden(table, wanted, HiddenRow(DEAD, wanted.row))
            return 0
        gone = self._with_referrers(table, wanted, refusal)
        if gone is None:
            # Rows refer to it that cannot be taken out: it stays, and its rivals wait.
            return 0
        with self._deferred(True):
            for node in reversed(list(gone)):
                below, row, _ = gone[node]
                if below.plan.key_kind == "none":
                    self._remove_copy(below, row)
                    continue
                self._write_to(below.number)
                self._tx.execute(below.delete_sql(), node[1])
                below.delete_clocks(self._tx, [node[1]])
                self._forget_local(below, row.key)
                self._deletes.pop((below.number, row.key), None)
        for below, row, why in gone.values():
            row.shown = None
            if row.row.alive:
                self._park(below, row, why)
            else:
                self._put_hidden(below, row, HiddenRow(DEAD, row.row))
            self._vacated.add(below.number)
        return len(gone)

    def _with_referrers(
        self, table: Table, wanted: Wanted, refusal: Refusal
    ) -> dict[Node, tuple[Table, Wanted, Refusal]] | None:
        """A shown row and all shown rows below it, parents first; None if one cannot go."""
        first = (table.number, self._pk_of(wanted))
        gone = {first: (table, wanted, refusal)}
        todo = [first]
        while todo:
            above = todo.pop()
            parent, row, _ = gone[above]
            for child, copy, _ in self._copies_of(parent, above[1]):
                why = self._missing(child, "", parent.name, row.key)
                gone.setdefault((child.number, (copy.key,)), (child, copy, why))
            for node in self._referrers.named(self._tx, parent, above[1], WITHDRAWN_ROWS_MAX):
                if not node[0] or len(gone) >= WITHDRAWN_ROWS_MAX:
                    return None
                if node in gone or not node[1]:
                    continue
                child = self._tables[node[0]]
                stored = next(child.by_pk(self._tx, [node[1]], self._origins), None)
                if stored is None or stored.clock is None:
                    return None
                key = stored.clock.key
                why = self._missing(child, "", parent.name, row.key)
                gone[node] = (child, self._ours(child, [key])[key], why)
                todo.append(node)
        return gone
