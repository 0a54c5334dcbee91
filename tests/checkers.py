"""Five judges of a run: each a function of its history and of what the sites hold at the end.

None of them asks the code under test what is right. They raise `AssertionError` and name the
row, the column and the sites; they return nothing.

`consistent` may also be asked in the middle of a run, of one site: it holds at every moment.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from history import History, SiteState, Write, Writes
from subjects import Place

from syncproto.identity import Dot, RowKey, SiteId
from syncproto.row import Row, Value


@dataclass(frozen=True, slots=True)
class Expected:
    """A row as the rules make it, from the writes alone.

    Attributes:
        cells: For each column the reading, the site and the value of the greatest write.
        alive: Some of those writes was seen by no deleter of the row.
    """

    cells: Mapping[str, tuple[int, SiteId, Value]]
    alive: bool


def check_all(history: History, sites: Sequence[SiteState]) -> None:
    check_state(history, sites)
    check_log(history, sites)
    check_oracle(history, sites)
    check_lost_writes(history, sites)
    check_causality(history, sites)


# State


def check_state(_history: History, sites: Sequence[SiteState]) -> None:
    """The same rows, pictures and conflicts everywhere, of the tables that both sites keep."""
    for one, other in _pairs(sites):
        shared = one.tables & other.tables
        for place in sorted({*one.rows, *other.rows}):
            if place[0] in shared:
                mine, theirs = one.rows.get(place), other.rows.get(place)
                assert mine == theirs, f"{_name(place)} differs: {mine} and {theirs}"
        if one.tables == other.tables:
            differing = {
                p
                for p in {*one.visible, *other.visible}
                if one.visible.get(p) != other.visible.get(p)
            }
            assert not differing, f"shown differently: {sorted(differing)}"
        ours = {name for name in one.conflicts if name[0] in shared}
        yours = {name for name in other.conflicts if name[0] in shared}
        assert ours == yours, f"conflicts on record differ: {ours ^ yours}"
    for site in sites:
        assert not site.aside, f"{site.site[:1]!r} still keeps changes aside"


# Log


def check_log(history: History, sites: Sequence[SiteState]) -> None:
    """(origin, seq) names one changeset everywhere, and all have seen the same of them.

    A site that was put back together with its anchor cannot know that it uses a number twice;
    there the frontiers must agree on one of both in the end.
    """
    nonces: dict[Dot, int] = {}
    for site in sites:
        told = [(d, n) for d, n in site.nonces.items() if d.origin.site not in history.rolled_back]
        for vector in site.frontier.vectors.values():
            entries = vector.entries.items()
            told += [(Dot(origin, entry.seq), entry.nonce) for origin, entry in entries]
        for dot, nonce in told:
            known = nonces.setdefault(dot, nonce)
            assert known == nonce, f"{dot} names two changesets"
    for dot, sealed in history.seals.items():
        if dot.origin.site in history.rolled_back:
            continue
        assert len(sealed) == 1, f"{dot} was sealed twice"
        assert dot not in nonces or nonces[dot] in sealed, f"{dot} bears a nonce that nobody drew"
    for one, other in _pairs(sites):
        for table in one.tables & other.tables:
            mine, theirs = one.frontier.vector(table), other.frontier.vector(table)
            assert mine.entries == theirs.entries, f"frontiers of {table} differ after the quiet"


# Oracle


def expected_rows(history: History, seen: Writes) -> dict[Place, Expected]:
    """What the rows must be when exactly these writes have been seen, by brute force."""
    rows: dict[Place, Expected] = {}
    for place, numbers in history.of_row.items():
        writes = list(history.within(numbers & seen))
        cells: dict[str, Write] = {}
        for write in writes:
            for column in write.values or {}:
                best = cells.get(column)
                if best is None or _order(best) < _order(write):
                    cells[column] = write
        deleted: Writes = 0
        for write in writes:
            if write.values is None:
                deleted |= write.saw
        if writes:
            rows[place] = Expected(
                {c: (w.hlc, w.site, (w.values or {})[c]) for c, w in cells.items()},
                any(not deleted >> write.number & 1 for write in cells.values()),
            )
    return rows


def consistent(history: History, site: SiteState) -> None:
    """A site shows whole changesets only: all of what it has seen, nothing else.

    Rows of which something is kept aside are left out: what it wrote over need not be here.
    """
    expected = expected_rows(history, site.seen & history.of_tables(site.tables))
    waiting = {write.place for write in history.within(site.aside)}
    for place in sorted({*expected, *site.rows} - waiting):
        row = site.rows.get(place)
        assert row is not None, f"{site.site[:1]!r} lacks {_name(place)}"
        assert place in expected, f"{site.site[:1]!r} has {_name(place)} from nowhere"
        cells = {
            column: (cell.stamp.hlc, cell.stamp.origin.site, cell.value)
            for column, cell in row.cells.items()
        }
        wanted = expected[place]
        assert cells == wanted.cells, f"{site.site[:1]!r}: {_name(place)} {cells} {wanted.cells}"
        assert row.alive == wanted.alive, f"{site.site[:1]!r}: {_name(place)} alive: {row.alive}"


def check_oracle(history: History, sites: Sequence[SiteState]) -> None:
    """Every site's rows are what the greatest stamps of all surviving writes make."""
    seen = survivors(sites)
    for site in sites:
        missing = seen & ~site.seen & history.of_tables(site.tables)
        assert not missing, f"{site.site[:1]!r} has not seen {list(history.within(missing))}"
        consistent(history, site)


# Lost writes


def check_lost_writes(history: History, sites: Sequence[SiteState]) -> None:
    """Every write stands, was overwritten knowingly, or is on record as a conflict at every
    site that keeps its table (rule A13)."""
    for table in sorted(history.of_table):
        keepers = [site for site in sites if table in site.tables]
        if not keepers:
            continue
        surviving = survivors(keepers) & history.of_table[table]
        named = frozenset.intersection(*(_named(site) for site in keepers))
        overwritten = _overwritten(history, surviving)
        for write in history.within(surviving):
            if write.values is None:
                fate = _fate_of_delete(write, keepers, overwritten, named)
                assert fate, f"a delete of {_name(write.place)} was undone in silence: {write}"
            for column, value in (write.values or {}).items():
                twins = [
                    other
                    for other in history.within(surviving & history.of_row[write.place])
                    if other.values is not None
                    and column in other.values
                    and other.values[column] == value
                ]
                assert any(
                    (*write.place, column, *twin.name) in named
                    or (write.place, column, twin.number) in overwritten
                    or _stands(keepers, twin, column)
                    for twin in twins
                ), f"{_name(write.place)}.{column} was lost in silence: {write}"


def _stands(sites: Iterable[SiteState], write: Write, column: str) -> bool:
    for site in sites:
        row = site.rows.get(write.place)
        cell = row.cells.get(column) if row is not None and row.alive else None
        if cell is None or (cell.stamp.hlc, cell.stamp.origin.site) != write.name:
            return False
    return True


def _overwritten(history: History, surviving: Writes) -> set[tuple[Place, str, int]]:
    """(row, column, number) of the writes that somebody who had seen them wrote over."""
    found: set[tuple[Place, str, int]] = set()
    for later in history.within(surviving):
        for earlier in history.within(later.saw & history.of_row[later.place]):
            if later.values is None:
                found |= {(later.place, c, earlier.number) for c in earlier.values or {"": 0}}
            else:
                columns = later.values.keys() & earlier.values if earlier.values else {""}
                found |= {(later.place, column, earlier.number) for column in columns}
    return found


def _fate_of_delete(
    delete: Write,
    sites: Iterable[SiteState],
    overwritten: set[tuple[Place, str, int]],
    named: frozenset[tuple[object, ...]],
) -> bool:
    if (delete.place, "", delete.number) in overwritten:
        return True
    if all(not _alive(site.rows.get(delete.place)) for site in sites):
        return True
    return (*delete.place, "", *delete.name) in named


def _alive(row: Row | None) -> bool:
    return row is not None and row.alive


def _named(site: SiteState) -> frozenset[tuple[object, ...]]:
    """(table, key, column, hlc, site) of both writes of each conflict on record."""
    return frozenset(
        (table, key, column, stamp.hlc, stamp.origin.site)
        for table, key, column, *stamps in site.conflicts
        for stamp in stamps
    )


# Causality


def check_causality(history: History, sites: Sequence[SiteState]) -> None:
    """A write made after reading a value beats it, everywhere and for good (rule A10)."""
    surviving = survivors(sites)
    for later in history.within(surviving):
        for earlier in history.within(later.saw & history.of_row[later.place]):
            assert earlier.hlc < later.hlc, f"{later} is stamped before {earlier}"
            for site in sites:
                row = site.rows.get(later.place)
                for column in later.values or {}:
                    cell = row.cells.get(column) if row is not None else None
                    standing = cell and (cell.stamp.hlc, cell.stamp.origin.site)
                    assert standing != earlier.name, (
                        f"{site.site[:1]!r}: {_name(later.place)}.{column} stands at a value that "
                        f"its author's reader wrote over: {later}"
                    )


def false_conflicts(history: History, sites: Sequence[SiteState]) -> int:
    """Records of pairs of which one author had seen the other's write."""
    by_name = {(w.place, w.name): w for w in history.writes if w.dot is not None}
    false = 0
    for table, key, _column, *stamps in frozenset().union(*(s.conflicts for s in sites)):
        pair = [by_name.get(((table, key), (s.hlc, s.origin.site))) for s in stamps]
        first, second = pair
        if first is not None and second is not None:
            false += bool(first.saw >> second.number & 1 or second.saw >> first.number & 1)
    return false


def survivors(sites: Iterable[SiteState]) -> Writes:
    """The writes that some site which is still there has seen."""
    seen: Writes = 0
    for site in sites:
        seen |= site.seen
    return seen


def _order(write: Write) -> tuple[object, ...]:
    assert write.dot is not None, "a write that others have seen is sealed"
    return (write.hlc, write.dot.origin, write.dot.seq)


def _pairs(sites: Sequence[SiteState]) -> Iterable[tuple[SiteState, SiteState]]:
    return ((sites[i], sites[j]) for i in range(len(sites)) for j in range(i))


def _name(place: tuple[str, RowKey]) -> str:
    return f"{place[0]} {place[1][:1].hex()}"
