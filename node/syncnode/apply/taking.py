"""Takes the value that lost a conflict: an ordinary write to the application's table.

The triggers capture it as they do any other, so it gets a stamp above all that the row carries,
wins, and goes to every site. What cannot be taken here is refused with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syncnode.capture.seal import Sealer
from syncnode.dialects.base import Unfit
from syncnode.files.settings import is_manifest
from syncnode.store.carried import carried
from syncnode.store.hidden import DEAD, PARKED, HiddenRow, HiddenRows
from syncnode.store.references import Referrers
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import Key, Table
from syncproto.merge import Conflict
from syncproto.row import Reference, Value


class NotTaken(Exception):
    """The value cannot be taken; the text says why, and what would do."""


@dataclass(slots=True)
class Taking:
    """Takes values within one writing transaction."""

    book: Sidecar
    hidden: HiddenRows
    sealer: Sealer
    tables: Mapping[int, Table]
    referrers: Referrers

    def take(self, conflict: Conflict, *, force: bool) -> str | None:
        """Write the losing value; a sentence on what else should be known, or None.

        `force`: also where the cell was written again since the conflict.

        Raises:
            NotTaken: It cannot be taken; nothing was changed.
        """
        table = self._table(conflict.table)
        if is_manifest(conflict.table):
            raise NotTaken(
                "this is about a file: what gave way stands in the directory beside what won, "
                "under a name with ~ in it; put the one you want in place"
            )
        if table is None or table.plan.key_kind == "none":
            raise NotTaken(
                f"{conflict.table} is not replicated here"
                if table is None
                else f"rows of {table.name} have no key to write them by: change the row in the "
                "application"
            )
        if table.plan.received_only:
            raise NotTaken(
                f"{table.name} is only received here, so nothing that is written to it here would "
                "stay: write the value at a site that may change the table"
            )
        pk = self._locked(table, conflict)
        if conflict.column:
            return self._take_value(table, pk, conflict, force)
        self._take_delete(table, pk, conflict, force)
        return None

    def _table(self, name: str) -> Table | None:
        return next((table for table in self.tables.values() if table.name == name), None)

    def _locked(self, table: Table, conflict: Conflict) -> Key | None:
        """The row's primary key here, with all sealed that the application has made of the row."""
        tx = self.book.tx
        pk = table.find(tx, [conflict.key]).get(conflict.key)
        if pk is not None:
            tx.dialect.lock_rows(tx, table.plan, [pk])
        if tx.dialect.name != "sqlite" and self.sealer.seal(single_read=True):
            pk = table.find(tx, [conflict.key]).get(conflict.key)
        here = self.hidden.get(table.number, [conflict.key]).get(conflict.key)
        if here is not None and here.place == PARKED:
            raise NotTaken(
                f"the row is parked here ({here.detail}): take the value at a site that shows "
                "it, or here once it can be written"
            )
        return pk

    # A cell

    def _take_value(
        self, table: Table, pk: Key | None, conflict: Conflict, force: bool
    ) -> str | None:
        column = conflict.column
        if column not in table.place:
            raise NotTaken(f"{table.name} has no column {column} here")
        if column in (*table.plan.primary_key, *table.plan.key_columns):
            raise NotTaken(f"{table.name}.{column} names the row: another value is another row")
        self._refuse_rewritten(table, conflict, force)
        value = self._local(table, column, conflict.losing)
        if pk is None:
            self._bring_back(table, conflict, value)
            return f"the row was deleted, and stands in {table.name} again"
        if not self._changed(table.update_sql([column]), [value, *pk], table):
            return "the table shows that value already"
        return None

    def _refuse_rewritten(self, table: Table, conflict: Conflict, force: bool) -> None:
        """
        Raises:
            NotTaken: What stands is not what won then.
        """
        now = carried(self.book, self.book.plan, {table.name: [conflict.key]})
        row = now.get((table.name, conflict.key))
        if row is None:
            raise NotTaken("nothing is kept of that row here any more")
        if conflict.deleted:
            rewritten = row.alive
        elif conflict.column:
            stamp = row.stamp_of(conflict.column)
            rewritten = stamp is not None and stamp.hlc > conflict.winner.hlc
        else:
            rewritten = row.hlc > conflict.winner.hlc
        if rewritten and not force:
            what = f"{table.name}.{conflict.column}" if conflict.column else "the row"
            raise NotTaken(
                f"{what} was written again since; --force takes the value all the same, and what "
                "stands now is overwritten"
            )

    def _local(self, table: Table, column: str, value: Value) -> Any:
        """The value as this database has it.

        Raises:
            NotTaken: It has none.
        """
        if not isinstance(value, Reference):
            try:
                return table.fitting(table.place[column], value)
            except Unfit as error:
                raise NotTaken(f"{table.name}.{column}: {error}") from error
        target = self._table(value.table)
        if target is None or table.references.get(column) != value.table:
            raise NotTaken(f"{table.name}.{column} is no reference to {value.table} here")
        pk = target.find(self.book.tx, [value.key]).get(value.key)
        if pk is None and table.zeros.get(column) == value.key:
            return 0  # a reference to nothing, which nobody checks
        if pk is None or target.local_place is None:
            raise NotTaken(
                f"{table.name}.{column} would refer to a row of {value.table} that is not in this "
                "database: it is deleted or parked"
            )
        return pk[target.local_place]

    def _bring_back(self, table: Table, conflict: Conflict, value: Any) -> None:
        """Insert a deleted row as it last was, with the value that is taken."""
        dead = self._dead(table, conflict)
        line = {
            name: value if name == conflict.column else self._local(table, name, cell.value)
            for name, cell in dead.row.cells.items()
            if name in table.place
        }
        line[conflict.column] = value
        local = table.plan.local_key
        if local is not None and dead.local is not None and self._is_free(table, dead.local):
            line[local] = dead.local
        self._changed(table.insert_sql(list(line)), list(line.values()), table)

    def _dead(self, table: Table, conflict: Conflict) -> HiddenRow:
        here = self.hidden.get(table.number, [conflict.key]).get(conflict.key)
        if here is None or not here.row.cells:
            raise NotTaken("the row was deleted, and its other values are not kept here any more")
        if here.place != DEAD:
            raise NotTaken(f"{table.name} does not show the row here, but another one in its place")
        return here

    def _is_free(self, table: Table, local: int) -> bool:
        assert table.plan.local_key is not None, "asked by the caller"
        name = table.dialect.quote(table.plan.local_key)
        sql = f"SELECT 1 FROM {table.quoted} WHERE {name}={self.book.tx.mark}"
        return self.book.tx.value(sql, (local,)) is None

    # A delete

    def _take_delete(self, table: Table, pk: Key | None, conflict: Conflict, force: bool) -> None:
        now = carried(self.book, self.book.plan, {table.name: [conflict.key]})
        row = now.get((table.name, conflict.key))
        if pk is None or row is None:
            raise NotTaken("the row is deleted already")
        tx = self.book.tx
        named = self.referrers.named(tx, table, pk, 1)
        by = f"rows of {self.tables[named[0][0]].name}" if named and named[0][0] else "other rows"
        if row.held:
            raise NotTaken(
                f"the row is deleted already, and stands only because {by} refer to it: delete or "
                "change these, and it goes by itself"
            )
        self._refuse_rewritten(table, conflict, force)
        if named or self.referrers.refers(tx, table, pk):
            raise NotTaken(f"{by} refer to this one: delete or change these first")
        self._changed(table.delete_sql(), pk, table)

    # The statement

    def _changed(self, sql: str, params: Sequence[Any], table: Table) -> bool:
        """Run it as the application would; whether it was captured as a change.

        Raises:
            NotTaken: The database refuses it.
        """
        tx = self.book.tx
        if tx.dialect.name == "sqlite":
            tx.execute("PRAGMA defer_foreign_keys=OFF")  # refused here, not at the commit
        errors: tuple[type[Exception], ...] = (*tx.dialect.errors, OverflowError)
        try:
            with tx.savepoint():
                tx.execute(sql, params)
        except errors as error:
            refusal = tx.dialect.refusal(error)
            if refusal is None:
                raise
            raise NotTaken(f"{table.name} does not take it: {refusal[1]}") from error
        return (
            tx.value(f"SELECT 1 FROM syncnode_journal WHERE tbl={tx.mark} LIMIT 1", (table.number,))
            is not None
        )
