"""What a checker is asked about, and how it says what it found."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from syncproto.identity import SiteId
from syncproto.row import Row, Stamp
from syncsim.history import History, SiteState, Write, Writes
from syncsim.subject import Place


class CheckError(AssertionError):
    """A promise was broken; the text names the row, the column and the sites."""


@dataclass(frozen=True)
class Ending:
    """The end of a run, after the quiet.

    Attributes:
        states: What the sites hold that are still there.
        converged_ms: From the beginning of the quiet until all held the same; None if never.
        bound_ms: By when they must have; None where nothing is promised.
    """

    history: History
    states: Sequence[SiteState]
    converged_ms: int | None = 0
    bound_ms: int | None = None

    @cached_property
    def survivors(self) -> Writes:
        """The writes that some site which is still there has seen."""
        seen: Writes = 0
        for site in self.states:
            seen |= site.seen
        return seen

    @cached_property
    def kinds(self) -> Sequence[SiteState]:
        """One site of each kind: those that keep the same tables and hold the same rows as the
        first that keeps these tables are of its kind; every other is of its own."""
        first: dict[frozenset[str], SiteState] = {}
        return [
            site
            for site in self.states
            if (like := first.setdefault(site.tables, site)) is site or like.rows != site.rows
        ]

    def name(self, site: SiteId) -> str:
        return self.history.name_of(site)


def row_name(place: Place) -> str:
    return f"{place[0]} {place[1].hex()}"


def stamp_name(history: History, stamp: Stamp) -> str:
    """A stamp as people read it: the reading, the site and the number."""
    site, incarnation = stamp.origin
    return (
        f"{stamp.hlc >> 16}.{stamp.hlc & 0xFFFF} {history.name_of(site)}:{incarnation}:{stamp.seq}"
    )


def write_name(history: History, write: Write) -> str:
    """A write as people read it."""
    what = "delete" if write.values is None else f"write of {dict(write.values)}"
    return f"{what} by {history.name_of(write.site)} at {write.wall_ms}"


def difference(history: History, one: Row | None, other: Row | None) -> tuple[str, str, str]:
    """The column in which two versions of a row differ, "" for the row itself, and what it is
    in the one and in the other."""
    if one is None or other is None:
        return "", "missing" if one is None else "there", "missing" if other is None else "there"
    for column in sorted({*one.cells, *other.cells}):
        cells = (one.cells.get(column), other.cells.get(column))
        if cells[0] != cells[1]:
            first, second = (
                f"{cell.value!r} ({stamp_name(history, cell.stamp)})" if cell else "nothing"
                for cell in cells
            )
            return column, first, second
    return "", f"deleted by {one.delete}", f"deleted by {other.delete}"
