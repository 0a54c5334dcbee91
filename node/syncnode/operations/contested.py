"""`clashes`: rows that two sites gave one unique value, what is shown of them, and how it ends."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from syncnode.clash_report import MARKED, MERGED_INTO, WAITING, ClashReport
from syncnode.operations.records import parked_name
from syncnode.operations.rivals import PRIMARY, Rivals
from syncnode.schema.plan import UniqueKey
from syncnode.store.database import Database
from syncnode.store.hidden import ALTERED, MERGED, PARKED
from syncnode.store.row_names import RowNames
from syncnode.store.sidecar import Sidecar, load_plan
from syncnode.texts import key_text, utc_text, value_text
from syncproto.codec import decode_row
from syncproto.identity import RowKey
from syncproto.row import Reference, Row

if TYPE_CHECKING:
    from syncnode.settings.config import Settings
    from syncnode.store.table import Table

CLASHED = (
    f"(place='{MERGED}' OR (place='{ALTERED}' AND reason IN ('unique clash', 'held')) "
    f"OR (place='{PARKED}' AND reason='unique clash'))"
)
_DONE = {ALTERED: MARKED, MERGED: MERGED_INTO, PARKED: WAITING}


def clashes(settings: "Settings") -> list[ClashReport]:
    """The rows that are shown with a mark, by another row or not at all, since a value of theirs
    must be unique; by table, the oldest first."""
    database = Database(settings.database, light=True)
    try:
        with database.read() as tx:
            plan = load_plan(tx)
            return list(Listing(Sidecar.load(tx, plan)).rows())
    finally:
        database.close()


class Listing:
    """Reads the clashes of one snapshot."""

    def __init__(self, book: Sidecar) -> None:
        self._book = book
        self._names = RowNames(book, book.plan)
        self._rivals = Rivals(book, book.plan)

    def rows(self) -> Iterator[ClashReport]:
        by_number = self._book.plan.by_number
        for number, key, place, state, waits, since_ms in self._book.tx.rows(
            "SELECT tbl, row_key, place, state, waits_key, since_ms FROM syncnode_row "
            f"WHERE aside=0 AND {CLASHED} ORDER BY tbl, lsn"
        ):
            if number not in by_number:
                continue
            table = self._rivals.table(by_number[number].name)
            row = decode_row(bytes(state), self._book.origin_of)
            other = RowKey(bytes(waits)) if waits is not None and place == MERGED else None
            yield from self._of(table, RowKey(bytes(key)), place, row, other, since_ms)

    def _of(
        self,
        table: "Table",
        key: RowKey,
        place: str,
        row: Row,
        other: RowKey | None,
        since_ms: int,
    ) -> Iterator[ClashReport]:
        """A line for each value that clashes."""
        shown = self._rivals.shown(table, key) if place == ALTERED else {}
        if place == MERGED:
            unique = self._rivals.agreeing(table, row, other) if other is not None else None
            found: list[tuple[UniqueKey | None, RowKey | None]] = [(unique, other)]
        elif place == PARKED:
            found = list(self._rivals.of(table, key, row)) or [(None, None)]
        else:
            holders = {one.name: who for one, who in self._rivals.of(table, key, row)}
            marked = [one for one in table.plan.unique_keys if _differs(one, row, shown)]
            found = [(one, holders.get(one.name)) for one in marked]
        for unique, who in found:
            columns = unique.columns if unique is not None else ()
            if unique is not None and unique.name == PRIMARY:
                columns = table.plan.primary_key
            yield ClashReport(
                id=parked_name(table.name, key).hex(),
                table=table.name,
                row=key_text(key),
                row_name=self._names.of(table.name, key, row),
                done=_DONE[place],
                values={name: self._value(row, name) for name in columns},
                shown={name: value_text(shown[name]) for name in columns if name in shown} or None,
                other=key_text(who) if who is not None else None,
                other_name=self._names.of(table.name, who) if who is not None else None,
                since=utc_text(since_ms),
            )

    def _value(self, row: Row, name: str) -> str | None:
        cell = row.cells.get(name)
        return self._names.value(cell.value) if cell is not None else None


def _differs(unique: UniqueKey, row: Row, shown: Mapping[str, Any]) -> bool:
    """A mark, or nothing, is shown in one of its columns; not so where a reference leads to the
    row that stands for another."""
    return any(
        name in row.cells
        and name in shown
        and shown[name] != row.cells[name].value
        and not isinstance(shown[name], Reference)
        for name in unique.columns
    )
