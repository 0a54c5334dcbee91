"""Which row has the unique value that another one asks for, read for reports."""

from collections.abc import Iterator, Mapping
from typing import Any

from syncnode.dialects.base import Unfit
from syncnode.schema.plan import SchemaPlan, UniqueKey
from syncnode.store.database import Transaction
from syncnode.store.hidden import HiddenRows
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import Key, Origins, Table
from syncproto.codec import decode_cells
from syncproto.identity import RowKey
from syncproto.row import Reference, Row

PRIMARY = "PRIMARY"
"""The name that stands for a primary key which the engine takes for another row's."""


class Rivals:
    """Asks in one transaction."""

    def __init__(self, book: Sidecar, plan: SchemaPlan) -> None:
        self._book = book
        self._plan = plan
        self._tx: Transaction = book.tx
        self._hidden = HiddenRows(book)
        self._tables: dict[str, Table] = {}

    def table(self, name: str) -> Table:
        found = self._tables.get(name)
        if found is None:
            plan = self._plan.by_name[name]
            found = self._tables[name] = Table(plan, self._plan, self._tx.dialect)
        return found

    def of(self, table: Table, key: RowKey, row: Row) -> Iterator[tuple[UniqueKey, RowKey]]:
        """The unique keys in which the table shows a row's value for another row, and that row."""
        plan = table.plan
        if plan.key_kind == "none":
            return
        own = UniqueKey(PRIMARY, plan.primary_key)
        for unique in (*plan.unique_keys, own):
            pk = self._holder(table, unique, row)
            clock = self._clock_key(table, pk) if pk is not None else None
            if clock is not None and clock != key:
                yield unique, clock

    def agreeing(self, table: Table, row: Row, other: RowKey) -> UniqueKey:
        """The unique key that says that these are one thing, by what is replicated of both."""
        theirs = self.state(table, other)
        for unique in table.plan.unique_keys:
            values = [
                [one.cells[name].value if name in one.cells else None for name in unique.columns]
                for one in (row, theirs)
            ]
            if unique.rule == "merge" and values[0] == values[1]:
                return unique
        # What they refer to may be one; so may what their names are made of.
        own = UniqueKey(PRIMARY, table.plan.primary_key)
        return next((one for one in table.plan.unique_keys if one.rule == "merge"), own)

    def state(self, table: Table, key: RowKey) -> Row:
        """What is replicated of a row; empty if it is not known here."""
        hidden = self._hidden.get(table.number, [key]).get(key)
        if hidden is not None and hidden.row.cells:
            return hidden.row
        stored = self._stored(table, key)
        return table.row_of(stored) if stored is not None else Row()

    def shown(self, table: Table, key: RowKey) -> Mapping[str, Any]:
        """What the table shows of a row; empty where it shows nothing."""
        stored = self._stored(table, key)
        return table.shown(stored) if stored is not None else {}

    # Inside

    def _stored(self, table: Table, key: RowKey) -> Any:
        pk = table.find(self._tx, [key]).get(key)
        origins = Origins(self._book.origin_of, decode_cells)
        found = list(table.by_pk(self._tx, [pk], origins)) if pk is not None else []
        return found[0] if found and found[0].clock is not None else None

    def _clock_key(self, table: Table, pk: Key) -> RowKey | None:
        clocks = table.clocks(self._tx, [pk], Origins(self._book.origin_of, decode_cells))
        return clocks[pk].key if pk in clocks else None

    def _holder(self, table: Table, unique: UniqueKey, row: Row) -> Key | None:
        """The primary key of the row that shows this one's value."""
        values = self._local(table, unique, row)
        if values is None:
            return None
        quote, mark = self._tx.dialect.quote, self._tx.mark
        columns = ", ".join(quote(name) for name in table.plan.primary_key)
        where = " AND ".join(f"{quote(name)}={mark}" for name in unique.columns)
        sql = f"SELECT {columns} FROM {table.quoted} WHERE {where} LIMIT 1"
        found = self._tx.rows(sql, values)
        return tuple(found[0]) if found else None

    def _local(self, table: Table, unique: UniqueKey, row: Row) -> list[Any] | None:
        """The row's values in this database; None where they need not be unique, or have none."""
        if not unique.plain or not row.cells.keys() >= set(unique.columns):
            return None
        values: list[Any] = []
        for name in unique.columns:
            value: Any = row.cells[name].value
            if isinstance(value, Reference):
                value = self._local_number(value)
            elif name in table.place:
                try:
                    value = table.fitting(table.place[name], value)
                except Unfit:
                    return None
            values.append(value)
        return None if None in values else values

    def _local_number(self, reference: Reference) -> Any:
        if reference.table not in self._plan.by_name:
            return None
        target = self.table(reference.table)
        key = self._hidden.stand_in(target.number, reference.key)
        pk = target.find(self._tx, [key]).get(key)
        if pk is None or target.local_place is None:
            return None
        return pk[target.local_place]
