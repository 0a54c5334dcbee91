"""Lost writes: nothing that people wrote is gone in silence (rule A13)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from syncproto.row import Row, Value
from syncsim.bits import flags
from syncsim.checkers.ending import CheckError, Ending, row_name, write_name
from syncsim.history import RowWrites, SiteState, Write

Named = frozenset[tuple[object, ...]]
"""(table, key, column, hlc, site) of both writes of each conflict on record."""


def check(ending: Ending) -> None:
    """Every write stands, was overwritten knowingly, or is on record as a conflict, at every
    site that keeps its table. A write that died with its site is not missed.

    Raises:
        CheckError: A value or a delete has gone in silence.
    """
    for finding in lost(ending):
        raise CheckError(finding)


def lost(ending: Ending) -> Iterator[str]:
    """A sentence for each value, and for each delete, that has gone in silence."""
    history = ending.history
    there = flags(ending.survivors, len(history.writes))
    keepers = {table: _Keepers.of(ending, table) for table in sorted(history.tables)}
    for place, of_row in history.of_row.items():
        writes = [write for write in of_row if there[write.number]]
        if writes and keepers[place[0]].kinds:
            yield from _Fates(ending, writes, keepers[place[0]]).findings()


@dataclass(frozen=True, slots=True)
class _Keepers:
    """The sites that keep a table.

    Attributes:
        kinds: One of each kind.
        named: The writes that are on record at each of them.
    """

    kinds: Sequence[SiteState]
    named: Named

    @classmethod
    def of(cls, ending: Ending, table: str) -> "_Keepers":
        named: Named | None = None
        last: SiteState | None = None
        for site in ending.states:
            if table in site.tables:
                if last is None or last.conflicts != site.conflicts:
                    here = _named(site, table)
                    named = here if named is None else named & here
                last = site
        return cls([site for site in ending.kinds if table in site.tables], named or frozenset())


def _named(site: SiteState, table: str) -> Named:
    return frozenset(
        (table, key, column, stamp.hlc, stamp.origin.site)
        for of, key, column, *stamps in site.conflicts
        if of == table
        for stamp in stamps
    )


class _Fates:
    """What became of the writes of one row."""

    def __init__(self, ending: Ending, writes: Sequence[Write], keepers: _Keepers) -> None:
        self._ending = ending
        self._writes = writes
        self._place = writes[0].place
        self._named = keepers.named
        self._rows = [(site, site.rows.get(self._place)) for site in keepers.kinds]
        # Writes over which somebody who had seen them wrote.
        self._over: RowWrites = 0
        self._over_by_delete: RowWrites = 0
        self._over_by_column: dict[str, RowWrites] = {}
        for write in writes:
            if write.saw:
                self._note_over(write)

    def _note_over(self, write: Write) -> None:
        self._over |= write.saw
        if write.values is None:
            self._over_by_delete |= write.saw
        for column in write.values or ():
            self._over_by_column[column] = self._over_by_column.get(column, 0) | write.saw

    def findings(self) -> Iterator[str]:
        where = row_name(self._place)
        for write in self._writes:
            if write.values is None:
                if site := self._undoing(write):
                    what = f"{where}: the {write_name(self._ending.history, write)}"
                    yield f"{what} was undone in silence: {site}"
                continue
            for column, value in write.values.items():
                if site := self._losing(write, column, value):
                    what = f"{where}, column {column}: {value!r} was lost in silence"
                    yield f"{what}, {write_name(self._ending.history, write)}: {site}"

    def _undoing(self, delete: Write) -> str:
        """A site where the row lives in spite of a delete, unknown to people; "" if none."""
        alive = [(site, row) for site, row in self._rows if row is not None and row.alive]
        if not alive or self._over >> delete.nth & 1 or self._on_record(delete, ""):
            return ""
        return f"{self._ending.name(alive[0][0].site)} shows the row"

    def _losing(self, write: Write, column: str, value: Value) -> str:
        """A site where a value does not stand, unknown to people; "" if none."""
        lacking = [(site, row) for site, row in self._rows if not _stands(row, column, value)]
        if not lacking or self._gave_way(write, column):
            return ""
        # A value written twice is one value: it is enough that either write is accounted for.
        twins = (
            twin
            for twin in self._writes
            if twin.values and column in twin.values and twin.values[column] == value
        )
        if any(self._gave_way(twin, column) for twin in twins):
            return ""
        site, row = lacking[0]
        return f"{self._ending.name(site.site)} {_shown(row, column)}"

    def _gave_way(self, write: Write, column: str) -> bool:
        """It was overwritten knowingly, or is on record."""
        over = self._over_by_delete | self._over_by_column.get(column, 0)
        return bool(over >> write.nth & 1) or self._on_record(write, column)

    def _on_record(self, write: Write, column: str) -> bool:
        return (*self._place, column, *write.name) in self._named


def _stands(row: Row | None, column: str, value: Value) -> bool:
    cell = row.cells.get(column) if row is not None and row.alive else None
    return cell is not None and cell.value == value


def _shown(row: Row | None, column: str) -> str:
    if row is None:
        return "has no such row"
    if not row.alive:
        return "has deleted the row"
    cell = row.cells.get(column)
    return f"shows {cell.value!r}" if cell is not None else "has nothing there"
