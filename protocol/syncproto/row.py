"""Cells, stamps, deletes, references: the replicated state of one row, as frozen values.

A row is its cells and the stamp of its last delete. Each cell is a last-writer-wins register.
A delete carries the dots that its author had seen in the row; the row is alive while some cell
has a dot that is not among them, so an edit that no deleter had seen survives the delete
whatever the clocks said (rule B1 of the design).

In a table where deletes win, a delete bears a mark that says so: then the row is dead, whatever
cells its deleter had not seen. Who writes the row again after seeing that takes the delete back,
by a delete of his own without a mark, which had seen the marked one (`written`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from syncproto.identity import Dot, Origin, RowKey


class Reference(NamedTuple):
    """The value of a column that points to another table's local key: the row it points to.

    Local integers never travel; the receiver puts its own integer for the same row.
    """

    table: str
    key: RowKey


Value = None | int | float | str | bytes | Reference
"""What a cell can hold. Dates, times and decimals are texts in their canonical form
("2015-01-02", "2015-01-02 03:04:05.5", "12.30"); truth values are 0 and 1."""


class Stamp(NamedTuple):
    """When and by which changeset a cell was written. Ordered by its fields; final."""

    hlc: int
    origin: Origin
    seq: int

    @property
    def dot(self) -> Dot:
        return Dot(self.origin, self.seq)


# A stamp of (hlc, origin, seq), for thousands at once: the constructor of a named tuple costs more.
stamp_of: Callable[[tuple[int, Origin, int]], Stamp] = partial(tuple.__new__, Stamp)


class Cell(NamedTuple):
    """One column of one row as a last-writer-wins register."""

    stamp: Stamp
    value: Value


Seen = Mapping[Origin, int]
"""Dots that a deleter had seen in a row: for each origin the highest seq."""


class Delete(NamedTuple):
    """The deletes of a row that nobody has deleted over, and the dots their authors had seen.

    Mostly there is one stamp. Two sites that delete a row unknown to each other leave two: the
    union of what they saw belongs to neither dot alone, so a peer that knows one of them still
    lacks it.

    What an origin wrote before its own delete needs no entry in `seen`: it surely saw that.

    Attributes:
        stamps: In ascending order; no author of one had seen another.
        seen: The dots of the cells, and of the earlier deletes, that the authors had seen.
        wins: Those of `stamps` whose deletes win over edits that their authors had not seen.
    """

    stamps: tuple[Stamp, ...]
    seen: Seen
    wins: frozenset[Stamp] = frozenset()

    @property
    def stamp(self) -> Stamp:
        """The latest."""
        return self.stamps[-1]

    def saw(self, stamp: Stamp) -> bool:
        """An author of this delete had seen the write of that stamp."""
        return self.seen.get(stamp.origin, 0) >= stamp.seq or any(
            mine.origin == stamp.origin and (mine.seq, mine.hlc) > (stamp.seq, stamp.hlc)
            for mine in self.stamps
        )


@dataclass(frozen=True, slots=True)
class Row:
    """The replicated state of one row, or a part of it on its way to a peer."""

    cells: Mapping[str, Cell] = field(default_factory=dict)
    delete: Delete | None = None

    @property
    def alive(self) -> bool:
        """Some cell was written by someone whose write no deleter had seen, and no delete wins
        over it all the same."""
        if self.delete is None:
            return bool(self.cells)
        if self.delete.wins:
            return False
        return any(not self.delete.saw(cell.stamp) for cell in self.cells.values())

    def stamps(self) -> Iterable[Stamp]:
        for cell in self.cells.values():
            yield cell.stamp
        if self.delete is not None:
            yield from self.delete.stamps

    @property
    def hlc(self) -> int:
        """The greatest reading that the row carries, deletes included; 0 for an empty row."""
        # No `stamps()`: every edited row asks several times. Cells written together mostly share
        # one stamp.
        greatest, last = 0, None
        for cell in self.cells.values():
            stamp = cell[0]
            if stamp is not last:
                last = stamp
                if stamp[0] > greatest:
                    greatest = stamp[0]
        if self.delete is not None:
            greatest = max([greatest, *[stamp.hlc for stamp in self.delete.stamps]])
        return greatest

    def references(self) -> Iterable[Reference]:
        return (cell.value for cell in self.cells.values() if isinstance(cell.value, Reference))


EMPTY = Row()


def deletion(row: Row, stamp: Stamp, *, wins: bool = False) -> Row:
    """The row after its author deleted it: all dots that stand in it were seen.

    `wins`: the delete wins over edits that its author had not seen.
    """
    seen: dict[Origin, int] = dict(row.delete.seen) if row.delete else {}
    for standing in row.stamps():
        if standing.dot != stamp.dot and standing.seq > seen.get(standing.origin, 0):
            seen[standing.origin] = standing.seq
    return Row(row.cells, Delete((stamp,), seen, frozenset((stamp,) if wins else ())))


def written(row: Row, values: Mapping[str, Value], stamp: Stamp) -> Row:
    """The row after its author wrote these cells, at a reading above all that the row bears.

    Over a delete that wins he writes knowingly, so he takes it back: a delete under the stamp
    of the cells had seen that one and all that the row bears, but not these cells.
    """
    delete = row.delete
    if delete is not None and delete.wins:
        delete = deletion(row, stamp).delete
    return Row(
        {**row.cells, **{name: Cell(stamp, value) for name, value in values.items()}}, delete
    )


def union_seen(one: Seen, other: Seen) -> Seen:
    """For each origin the highest of both."""
    seen = dict(one)
    for origin, seq in other.items():
        if seq > seen.get(origin, 0):
            seen[origin] = seq
    return seen
