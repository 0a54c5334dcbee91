"""The merge: for each cell the greater stamp; of two deletes the union of what they saw.

Whether a delete wins over edits is a mark of the delete itself, given by its author's table.

It is associative, commutative and idempotent, knows no settings and reads no clock, so sites
that have seen the same changes hold the same rows whatever the order. What it throws away is
named by `lost`: the conflicts that must be on record before the loser is gone.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from syncproto.identity import RowKey
from syncproto.row import Cell, Delete, Reference, Row, Stamp, Value, union_seen

Covers = Callable[[Stamp], bool]
"""Whether a site had seen the changeset of a stamp: its frontier covers the dot."""


def merged(one: Row, other: Row) -> Row:
    """Both rows' cells by the greater stamp, and both deletes in one."""
    cells = dict(one.cells)
    for name, cell in other.cells.items():
        mine = cells.get(name)
        if mine is None or mine.stamp < cell.stamp:
            cells[name] = cell
    return Row(cells, merged_delete(one.delete, other.delete))


def merged_delete(one: Delete | None, other: Delete | None) -> Delete | None:
    if one is None or other is None:
        return one or other
    both = Delete(tuple(sorted({*one.stamps, *other.stamps})), union_seen(one.seen, other.seen))
    stamps = tuple(stamp for stamp in both.stamps if not both.saw(stamp))
    return Delete(stamps, both.seen, (one.wins | other.wins).intersection(stamps))


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two writes of one cell, or an edit and a delete of one row, neither of which had seen
    the other. Named by table, row, column and the two dots, so it is one conflict however
    many sites meet it.

    A delete also gives way to the write of another row that refers to the deleted one. Where
    deletes win, each cell of an edit gives way to the delete.

    Attributes:
        table: The table's name.
        key: The row's key.
        column: The column, or "" where a delete gave way.
        winner: Stamp of the value that stands; of the edit, where a delete gave way to one.
        loser: Stamp of the value, or of the delete, that gave way.
        winning: The value that stands (None where a delete gave way to an edit, and where a
            delete won; the row that refers to this one where that was written).
        losing: The value that gave way (None where that is a delete).
        deleted: The winner is a delete of the row.
    """

    table: str
    key: RowKey
    column: str
    winner: Stamp
    loser: Stamp
    winning: Value
    losing: Value
    deleted: bool = False

    @property
    def name(self) -> tuple[str, RowKey, str, Stamp, Stamp]:
        """What tells this conflict from every other, at every site."""
        first, second = sorted((self.winner, self.loser))
        return (self.table, self.key, self.column, first, second)


def lost(
    table: str, key: RowKey, ours: Row, theirs: Row, *, we_saw: Covers, they_saw: Covers
) -> Iterator[Conflict]:
    """The conflicts that merging `theirs` into `ours` decides.

    A pair is no conflict when one author had seen the other's write (the frontier of the side
    that holds the one covers the dot of the other), when both writes are of one origin, or
    when the values are equal (rule A13 of the design).
    """
    standing = merged_delete(ours.delete, theirs.delete)
    wins = standing is not None and bool(standing.wins)
    killed: list[Conflict] = []
    if standing is not None and wins:
        killed += _deleted_edits(table, key, standing, (ours, we_saw), (theirs, they_saw))
    # What the delete killed did not give way to a value that went with the same row.
    dead = {(conflict.column, conflict.loser) for conflict in killed}
    for name, cell in theirs.cells.items():
        mine = ours.cells.get(name)
        if mine is None or not _concurrent(mine.stamp, cell.stamp, we_saw, they_saw):
            continue
        if (name, mine.stamp) in dead or (name, cell.stamp) in dead:
            continue
        if not same_value(mine.value, cell.value):
            winner, loser = (mine, cell) if mine.stamp > cell.stamp else (cell, mine)
            yield Conflict(table, key, name, winner.stamp, loser.stamp, winner.value, loser.value)
    yield from killed
    if not wins:
        yield from _undone_deletes(table, key, ours, theirs, we_saw, they_saw)


def _deleted_edits(
    table: str,
    key: RowKey,
    standing: Delete,
    ours: tuple[Row, Covers],
    theirs: tuple[Row, Covers],
) -> Iterator[Conflict]:
    """A delete that wins on one side, and on the other cells that no deleter had seen."""
    for (deleted, _), (edited, had_seen) in ((ours, theirs), (theirs, ours)):
        known = edited.delete.wins if edited.delete is not None else frozenset[Stamp]()
        wins = deleted.delete.wins if deleted.delete is not None else frozenset[Stamp]()
        for stamp in sorted(wins & standing.wins - known):
            if had_seen(stamp):
                continue
            for name, cell in edited.cells.items():
                mine = deleted.cells.get(name)
                if cell.stamp.origin == stamp.origin or standing.saw(cell.stamp):
                    continue
                if mine is None or not same_value(mine.value, cell.value):
                    yield Conflict(table, key, name, stamp, cell.stamp, None, cell.value, True)


def _undone_deletes(
    table: str, key: RowKey, ours: Row, theirs: Row, we_saw: Covers, they_saw: Covers
) -> Iterator[Conflict]:
    """A delete on one side, and on the other an edit that the deleter had not seen."""
    for delete, edited, had_seen_delete in (
        (ours.delete, theirs, they_saw),
        (theirs.delete, ours, we_saw),
    ):
        if delete is None:
            continue
        deleted = theirs if delete is theirs.delete else ours
        if _newer_than_delete(deleted, delete):
            continue
        unseen = [
            cell.stamp
            for name, cell in edited.cells.items()
            if not delete.saw(cell.stamp) and not _outlasts(deleted, name, cell)
        ]
        for stamp in delete.stamps:
            edits = [edit for edit in unseen if edit.origin != stamp.origin]
            if edits and not had_seen_delete(stamp):
                yield Conflict(table, key, "", max(edits), stamp, None, None)


def outlived(
    table: str,
    key: RowKey,
    deleted: Row,
    referrers: Iterable[tuple[Reference, Row]],
    *,
    we_saw: Callable[[str], Covers],
    they_saw: Callable[[str], Covers],
) -> Iterator[Conflict]:
    """The deletes of a row that gives way since rows refer to it of which its deleter did not
    know: all that `referrers` names, living rows, merged with what has arrived.

    Whoever first has both the delete and such a row says so; who had seen both before has said
    it. Of several rows the latest write is named, so that a table of children makes one record.
    """
    stamps = deleted.delete.stamps if deleted.delete is not None else ()
    written = [
        (cell.stamp, reference) for reference, row in referrers for cell in row.cells.values()
    ]
    for delete in stamps:
        unseen = [
            (stamp, reference)
            for stamp, reference in written
            if _concurrent(delete, stamp, we_saw(reference.table), they_saw(table))
            or _concurrent(stamp, delete, we_saw(table), they_saw(reference.table))
        ]
        if unseen:
            stamp, reference = max(unseen)
            yield Conflict(table, key, "", stamp, delete, reference, None)


def _outlasts(row: Row, name: str, cell: Cell) -> bool:
    """The row holds that very write, or a later one: the cell brings nothing back."""
    mine = row.cells.get(name)
    return mine is not None and mine.stamp >= cell.stamp


def _newer_than_delete(row: Row, delete: Delete) -> bool:
    """The side that brings the delete has written the row again since."""
    return any(not delete.saw(cell.stamp) for cell in row.cells.values())


def _concurrent(mine: Stamp, yours: Stamp, we_saw: Covers, they_saw: Covers) -> bool:
    return mine.origin != yours.origin and not they_saw(mine) and not we_saw(yours)


def same_value(one: Value, other: Value) -> bool:
    """Equal values of equal kinds: the text "1" is not the number 1, but 1 is 1.0."""
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    return type(one) is type(other) and one == other
