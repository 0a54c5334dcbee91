"""Oracle: rows are what the greatest stamps of the writes make, worked out by brute force."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from syncproto.row import Row
from syncsim.bits import flags
from syncsim.checkers.ending import CheckError, Ending, row_name, write_name
from syncsim.history import History, RowWrites, SiteState, Write, Writes
from syncsim.subject import Place


@dataclass(frozen=True, slots=True)
class Expected:
    """A row as the rules make it, from the writes alone.

    Attributes:
        cells: For each column the greatest write.
        alive: Some of those writes was seen by no deleter of the row; and of the deletes that win
            each was seen by somebody who wrote the row again, or deleted it once more.
    """

    cells: Mapping[str, Write]
    alive: bool


def expected(writes: Sequence[Write]) -> Expected:
    """A row of which exactly these writes have been seen."""
    cells: dict[str, Write] = {}
    deleted: RowWrites = 0
    over: RowWrites = 0  # what somebody had seen who wrote later
    winning = {write.nth: write for write in writes if write.wins}
    for write in writes:
        over |= write.saw
        if write.values is None:
            deleted |= write.saw
            continue
        if winning and _takes_back(write, winning, writes):
            deleted |= write.saw
        for column in write.values:
            best = cells.get(column)
            if best is None or _order(best) < _order(write):
                cells[column] = write
    killed = any(not over >> nth & 1 for nth in winning)
    unseen = any(not deleted >> write.nth & 1 for write in cells.values())
    return Expected(cells, unseen and not killed)


def _takes_back(write: Write, winning: Mapping[int, Write], writes: Sequence[Write]) -> bool:
    """It was written over a delete that wins, which stood for its author: then what he had seen
    of the row is gone with that delete."""
    seen = [other for other in writes if write.saw >> other.nth & 1]
    return any(
        write.saw >> nth & 1 and not any(other.saw >> nth & 1 for other in seen) for nth in winning
    )


def check(ending: Ending) -> None:
    """Every site has seen all writes that survive, and its rows are what they make.

    Raises:
        CheckError: A write is missing somewhere, or a row is another than it must be.
    """
    history = ending.history
    for site in ending.states:
        missing = ending.survivors & ~site.seen & history.of_tables(site.tables)
        if missing:
            write = next(history.within(missing))
            raise CheckError(
                f"{row_name(write.place)}: {ending.name(site.site)} has not seen the "
                f"{write_name(history, write)} ({missing.bit_count()} writes are missing)"
            )
    _judge(history, ending.survivors, ending.kinds)


def consistent(history: History, site: SiteState) -> None:
    """A site shows whole changesets only: all of what it has seen, nothing else.

    This holds at every moment of a run, not only at its end.

    Raises:
        CheckError: A row is another than it must be.
    """
    _judge(history, site.seen & history.of_tables(site.tables), [site])


def _judge(history: History, seen: Writes, sites: Sequence[SiteState]) -> None:
    """Rows of which something is kept aside are left out: what it wrote over need not be here."""
    there = flags(seen, len(history.writes))
    judged = [(site, {write.place for write in history.within(site.aside)}) for site in sites]
    for place, of_row in history.of_row.items():
        writes = [write for write in of_row if there[write.number]]
        if not writes:
            continue
        wanted = expected(writes)
        for site, waiting in judged:
            if place[0] in site.tables and place not in waiting:
                wrong = _wrong(history, site.rows.get(place), wanted)
                if wrong:
                    raise CheckError(f"{row_name(place)} at {history.name_of(site.site)}{wrong}")
    for site, waiting in judged:
        for place in site.rows:
            if place not in waiting and not _written(history, place, there):
                raise CheckError(
                    f"{row_name(place)} at {history.name_of(site.site)} comes from nowhere"
                )


def _written(history: History, place: Place, there: bytes) -> bool:
    return any(there[write.number] for write in history.of_row.get(place, ()))


def _wrong(history: History, row: Row | None, wanted: Expected) -> str:
    """What of a row is not as it must be; "" if it is."""
    if row is None:
        return " is missing"
    for column, write in wanted.cells.items():
        cell = row.cells.get(column)
        assert write.values is not None, "a delete writes no column"
        value = write.values[column]
        if cell is None:
            return f", column {column}, is missing"
        if (cell.stamp.hlc, cell.stamp.origin.site) != write.name or cell.value != value:
            standing = f"{cell.value!r} of {history.name_of(cell.stamp.origin.site)}"
            return (
                f", column {column}, is {standing} at {cell.stamp.hlc} and must be {value!r} of "
                f"{history.name_of(write.site)} at {write.hlc}"
            )
    if len(row.cells) != len(wanted.cells):
        return f", column {min(row.cells.keys() - wanted.cells.keys())}, comes from nowhere"
    if row.alive != wanted.alive:
        return f" is {'alive' if row.alive else 'deleted'}; alive must be: {wanted.alive}"
    return ""


def _order(write: Write) -> tuple[object, ...]:
    assert write.dot is not None, "a write that others have seen is sealed"
    return (write.hlc, write.dot.origin, write.dot.seq)
