"""What rows carry now, asked for many at once: the stamps of their cells, and their deletes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from syncnode.schema.plan import SchemaPlan
from syncnode.store.hidden import HELD, HiddenRows
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import Clock, Origins, Table
from syncproto.codec import decode_cells
from syncproto.identity import RowKey
from syncproto.row import Row, Stamp


@dataclass(frozen=True, slots=True)
class Carried:
    """One row, by what is replicated of it.

    Attributes:
        place: Where its state stands, as in `hidden.py`; None for the table and its clock.
        row: The state, where it is not in the table.
        clock: The row's clock, where the table shows it.
        columns: How many columns travel.
    """

    place: str | None
    row: Row | None
    clock: Clock | None
    columns: int

    def stamp_of(self, column: str) -> Stamp | None:
        """Of the cell's latest write; None if the row has no such cell."""
        if self.row is not None:
            cell = self.row.cells.get(column)
            return cell.stamp if cell is not None else None
        return self.clock.stamp_of(column) if self.clock is not None else None

    @property
    def alive(self) -> bool:
        if self.row is not None:
            return self.row.alive
        if self.clock is None:
            return False
        delete, stamps = self.clock.delete, list(self.clock.odd.values())
        if delete is None:
            return True
        if delete.wins:
            return False
        if len(stamps) < self.columns - len(self.clock.absent):
            stamps.append(self.clock.stamp)
        return any(not delete.saw(stamp) for stamp in stamps)

    @property
    def hlc(self) -> int:
        """Of the latest write of any cell."""
        stamps: list[Stamp] = []
        if self.row is not None:
            stamps = [cell.stamp for cell in self.row.cells.values()]
        elif self.clock is not None:
            stamps = [self.clock.stamp, *self.clock.odd.values()]
        return max((stamp.hlc for stamp in stamps), default=0)

    @property
    def held(self) -> bool:
        """Deleted, and in its table since others refer to it."""
        return self.clock is not None and not self.alive


def carried(
    book: Sidecar, plan: SchemaPlan, keys_by_table: Mapping[str, Iterable[RowKey]]
) -> dict[tuple[str, RowKey], Carried]:
    """What these rows carry; those that are not here, or of unknown tables, are absent."""
    found: dict[tuple[str, RowKey], Carried] = {}
    hidden, origins = HiddenRows(book), Origins(book.origin_of, decode_cells)
    for name, asked in keys_by_table.items():
        table_plan = plan.by_name.get(name)
        if table_plan is None:
            continue
        table = Table(table_plan, plan, book.tx.dialect)
        keys = sorted(set(asked))
        clocks: dict[RowKey, Clock] = {}
        if table_plan.key_kind != "none":
            by_key = table.find(book.tx, keys)
            by_pk = table.clocks(book.tx, list(by_key.values()), origins)
            clocks = {key: by_pk[pk] for key, pk in by_key.items() if pk in by_pk}
        aside = hidden.get(table.number, keys)
        for key in keys:
            here, clock = aside.get(key), clocks.get(key)
            if here is None and clock is None:
                continue
            state = here.row if here is not None and here.place != HELD else None
            place = here.place if here is not None else None
            found[name, key] = Carried(place, state, clock, len(table.columns))
    return found
