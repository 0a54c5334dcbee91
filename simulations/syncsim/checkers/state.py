"""State: all sites hold the same."""

from collections.abc import Iterable, Mapping

from syncproto.identity import RowKey
from syncproto.row import Row
from syncsim.checkers.ending import CheckError, Ending, difference, row_name
from syncsim.history import SiteState
from syncsim.subject import Place


def check(ending: Ending) -> None:
    """The same rows, pictures and conflicts everywhere, of the tables that sites share; and
    nothing waits.

    Each site is compared with the first that keeps the same tables, and the first of these for
    each table with the first that keeps it.

    Raises:
        CheckError: Two sites differ, or one keeps something aside.
    """
    for site in ending.states:
        if site.aside:
            write = next(ending.history.within(site.aside))
            raise CheckError(
                f"{row_name(write.place)}: {ending.name(site.site)} still keeps changes aside"
            )
    firsts: dict[frozenset[str], SiteState] = {}
    for site in ending.kinds:
        first = firsts.setdefault(site.tables, site)
        if first is not site:
            _compare_rows(ending, first, site, first.rows, site.rows)
    for site in ending.states:
        first = firsts[site.tables]
        if first is not site:
            _compare_pictures(ending, first, site)
            if first.conflicts != site.conflicts:
                _compare_conflicts(ending, first, site, site.tables)
    _compare_across(ending, list(firsts.values()))


def _compare_across(ending: Ending, firsts: Iterable[SiteState]) -> None:
    """Sites that keep different tables, in those that they share."""
    keepers: dict[str, SiteState] = {}
    for site in firsts:
        by_keeper: dict[bytes, list[str]] = {}
        for table in sorted(site.tables):
            keeper = keepers.setdefault(table, site)
            if keeper is not site:
                by_keeper.setdefault(keeper.site, []).append(table)
        for tables in by_keeper.values():
            keeper = keepers[tables[0]]
            _compare_rows(
                ending, keeper, site, _of_tables(keeper, tables), _of_tables(site, tables)
            )
            _compare_conflicts(ending, keeper, site, frozenset(tables))


def _of_tables(site: SiteState, tables: Iterable[str]) -> Mapping[Place, Row]:
    return {place: row for place, row in site.rows.items() if place[0] in tables}


def _compare_rows(
    ending: Ending,
    one: SiteState,
    other: SiteState,
    mine: Mapping[Place, Row],
    theirs: Mapping[Place, Row],
) -> None:
    if mine == theirs:
        return
    differing = [p for p in {**mine, **theirs} if mine.get(p) != theirs.get(p)]
    place = min(differing)
    column, here, there = difference(ending.history, mine.get(place), theirs.get(place))
    what = f"{row_name(place)}, column {column}" if column else row_name(place)
    raise CheckError(
        f"{what}: {here} at {ending.name(one.site)}, {there} at {ending.name(other.site)}"
        f" ({len(differing)} rows differ)"
    )


def _compare_pictures(ending: Ending, one: SiteState, other: SiteState) -> None:
    if one.visible is None or other.visible is None or one.visible == other.visible:
        return
    mine, theirs = one.visible, other.visible
    table, key = min(p for p in {**mine, **theirs} if mine.get(p) != theirs.get(p))
    place = (table, RowKey(key))
    raise CheckError(
        f"{row_name(place)} is shown as {mine.get(place)} at {ending.name(one.site)} and as "
        f"{theirs.get(place)} at {ending.name(other.site)}"
    )


def _compare_conflicts(
    ending: Ending, one: SiteState, other: SiteState, tables: frozenset[str]
) -> None:
    for site, fellow in ((one, other), (other, one)):
        lacking = [c for c in site.conflicts if c[0] in tables and c not in fellow.conflicts]
        if lacking:
            table, key, column, *_ = min(lacking)
            raise CheckError(
                f"{row_name((table, key))}, column {column}: a conflict is on record at "
                f"{ending.name(site.site)} and not at {ending.name(fellow.site)}"
            )
