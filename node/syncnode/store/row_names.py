"""What people call a row: the values that name it, where its key is made of them.

A key of 16 bytes is what sites call a row among each other. Where it is a uuid that stands in the
table, people know it. Where it is made of a text, a number or several columns, they know those, and
would look for the key in vain.
"""

from collections.abc import Callable, Iterable, Mapping

from syncnode.schema.plan import SchemaPlan, TablePlan
from syncnode.store.hidden import HELD, HiddenRows
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import Origins, Table
from syncnode.texts import key_text, value_text
from syncproto.codec import decode_cells
from syncproto.identity import RowKey
from syncproto.keys import canonical_uuid
from syncproto.row import EMPTY, Reference, Row, Value

DEPTH_MAX = 3  # of names that are made of other rows' names
_MADE = 5  # the version of a UUID that is a hash; those that applications draw are of others


def row_name(
    plan: TablePlan | None,
    key: RowKey,
    row: Row,
    of_reference: Callable[[Reference], str] = lambda reference: key_text(reference.key),
) -> str:
    """What names the row in its table, as text; the key, where there is nothing else or it is
    not known."""
    if plan is None or plan.key_kind in ("random", "none"):
        return key_text(key)
    columns = [column.name for column in plan.columns if column.name in plan.key_columns]
    if not row.cells.keys() >= set(columns):
        return key_text(key)
    values = {name: row.cells[name].value for name in columns}
    if plan.key_kind == "uuid" and (not is_made(key) or is_uuid(values[columns[0]])):
        return key_text(key)
    texts = {name: _text(value, of_reference) for name, value in values.items()}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return ", ".join(f"{name}={text}" for name, text in texts.items())


def is_made(key: RowKey) -> bool:
    """The key may be a hash of what names the row; if not, it is a uuid that people know."""
    return key[6] >> 4 == _MADE


def is_uuid(value: Value) -> bool:
    """Whether a uuid column holds one that is its own key."""
    return isinstance(value, bytes) or (
        isinstance(value, str) and canonical_uuid(value) is not None
    )


def _text(value: Value, of_reference: Callable[[Reference], str]) -> str:
    if isinstance(value, Reference):
        return of_reference(value)
    text = value_text(value)
    if text is None:
        return "NULL"
    return text if text and text == text.strip() else f"'{text}'"


class RowNames:
    """Names of rows that this site knows, read in one transaction."""

    def __init__(self, book: Sidecar, plan: SchemaPlan) -> None:
        self._book = book
        self._plan = plan
        self._hidden = HiddenRows(book)
        self._rows: dict[tuple[str, RowKey], Row] = {}
        self._tables: dict[str, Table] = {}

    def learn(self, keys_by_table: Mapping[str, Iterable[RowKey]]) -> None:
        """Read at once what `of` will be asked for."""
        for name, keys in keys_by_table.items():
            plan = self._plan.by_name.get(name)
            if plan is None or plan.key_kind in ("random", "none"):
                continue
            asked = [
                key
                for key in dict.fromkeys(keys)
                if (name, key) not in self._rows and (plan.key_kind != "uuid" or is_made(key))
            ]
            if asked:
                self._read(plan, asked)

    def of(self, table: str, key: RowKey, row: Row | None = None) -> str:
        """The row's name. `row`: its state, where that is known already."""
        return self._of(table, key, row, DEPTH_MAX)

    def value(self, value: Value) -> str | None:
        """A value as people read it; None is SQL's NULL."""
        if isinstance(value, Reference):
            return f"{value.table}:{self.of(value.table, value.key)}"
        return value_text(value)

    def _of(self, table: str, key: RowKey, row: Row | None, depth: int) -> str:
        if row is None:
            self.learn({table: [key]})
            row = self._rows.get((table, key), EMPTY)

        def of_reference(reference: Reference) -> str:
            if not depth:
                return key_text(reference.key)
            return self._of(reference.table, reference.key, None, depth - 1)

        return row_name(self._plan.by_name.get(table), key, row, of_reference)

    def _read(self, plan: TablePlan, keys: list[RowKey]) -> None:
        tx, table = self._book.tx, self._tables.get(plan.name)
        if table is None:
            table = self._tables[plan.name] = Table(plan, self._plan, tx.dialect)
        for key, hidden in self._hidden.get(plan.number, keys).items():
            if hidden.place != HELD:
                self._rows[plan.name, key] = hidden.row
        lacking = [key for key in keys if (plan.name, key) not in self._rows]
        found = table.find(tx, lacking)
        origins = Origins(self._book.origin_of, decode_cells)
        for stored in table.by_pk(tx, list(found.values()), origins):
            if stored.clock is not None:
                self._rows[plan.name, stored.clock.key] = table.row_of(stored)
        for key in lacking:
            self._rows.setdefault((plan.name, key), EMPTY)
