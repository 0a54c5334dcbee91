"""Causality: a write made after reading a value beats it, everywhere and for good (rule A10)."""

from collections.abc import Mapping, Sequence

from syncproto.identity import SiteId
from syncsim.bits import flags, members
from syncsim.checkers.ending import CheckError, Ending, row_name, write_name
from syncsim.history import History, RowWrites, SiteState, Write


def check(ending: Ending) -> None:
    """No effect is stamped before its cause, and no value stands that its reader wrote over.

    Raises:
        CheckError: One is, or does.
    """
    history = ending.history
    there = flags(ending.survivors, len(history.writes))
    for of_row in history.of_row.values():
        later = [write for write in of_row if write.saw and there[write.number]]
        if later:
            _check_order(history, of_row, later)
            for site in ending.kinds:
                _check_standing(history, site, of_row, later)


def _check_order(history: History, of_row: Sequence[Write], later: Sequence[Write]) -> None:
    """From the latest reading on down, of equal ones in the order in which they were made: no
    author had seen what comes before his own write here."""
    effects = {write.nth for write in later}
    not_below: RowWrites = 0
    for write in sorted(of_row, key=lambda write: write.hlc, reverse=True):
        wrong = write.saw & not_below
        if wrong and write.nth in effects:
            cause = of_row[next(members(wrong))]
            raise CheckError(
                f"{row_name(write.place)}: the {write_name(history, write)} is stamped "
                f"{write.hlc}, not after what its author had seen: the "
                f"{write_name(history, cause)}, stamped {cause.hlc}"
            )
        not_below |= 1 << write.nth


def _check_standing(
    history: History, site: SiteState, of_row: Sequence[Write], later: Sequence[Write]
) -> None:
    row = site.rows.get(of_row[0].place)
    if row is None:
        return
    names: Mapping[tuple[int, SiteId], RowWrites] = _by_name(of_row)
    for column, cell in row.cells.items():
        standing = names.get((cell.stamp.hlc, cell.stamp.origin.site), 0)
        for write in later:
            if write.values is not None and column in write.values and write.saw & standing:
                raise CheckError(
                    f"{row_name(write.place)}, column {column}: {history.name_of(site.site)} "
                    f"still shows {cell.value!r}, which {history.name_of(write.site)} had read "
                    f"and wrote over: {write_name(history, write)}"
                )


def _by_name(of_row: Sequence[Write]) -> dict[tuple[int, SiteId], RowWrites]:
    names: dict[tuple[int, SiteId], RowWrites] = {}
    for write in of_row:
        names[write.name] = names.get(write.name, 0) | 1 << write.nth
    return names
