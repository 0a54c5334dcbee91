"""Sites that take part of the rows, and what one tells another; `row_subsets.py` plays them.

Small on purpose: rows in dictionaries, no session, no bytes. What is kept is what the rule is
about: cells with stamps, links between rows, vectors, arrival numbers, chunks.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

AREAS: tuple[str | None, ...] = ("1", "2", "3", None)
BELONGS = ("area", "other")  # columns of a person; a null `area` is an area, a null `other` none
HANGS = {"e": "patient", "o": "encounter"}  # table and its link, from the persons outwards
LINKS = {*BELONGS, *HANGS.values()}
NEEDS = "mother"  # a person's reference to another one, who must be there and brings nothing along
MADE = "pm"  # keys of persons that are made of what they are called; two sites may make one each
SHARED = "c"  # a table that everybody takes whole

Stamp = tuple[int, str, int]  # reading, origin, seq
Vector = dict[str, int]


class Cell(NamedTuple):
    """`moved`: a link that its author wrote over an earlier one."""

    stamp: Stamp
    value: str | None
    moved: bool = False


Row = dict[str, Cell]
Rows = dict[str, Row]  # by key; its first letter is the table
Wanted = Callable[[str, str, Cell], bool]


@dataclass(frozen=True)
class Rule:
    """The accepted rule; each reading that was rejected changes one of these, or some."""

    replaced: bool = True  # the sender's vector takes the place of the receiver's
    entering_whole: bool = True  # a row that a peer may lack by a newer link goes whole
    every_path: bool = True  # also where an older way leads to it
    holders_only: bool = True  # only a sender that takes the area claims for it
    moves_to_all: bool = True  # links that were written over go to every site
    made_keys_move: bool = True  # so do those of rows whose key two sites may make independently
    touches: bool = True  # a link that comes puts what hangs on it behind every cursor
    own_claimed: bool = False  # a site claims for its areas what it writes itself
    drop_when_told: bool = True  # a row that left goes once a whole site has told that it has it
    floor: bool = True  # who has dropped rows claims by table to sites that have what he dropped
    one_scope: bool = False  # all areas of a site together are one scope
    links_to_all: bool = False  # all links go to every site, also those never written over


def covers(vector: Vector, cell: Cell) -> bool:
    return vector.get(cell.stamp[1], 0) >= cell.stamp[2]


def joined(*vectors: Vector) -> Vector:
    result: Vector = {}
    for vector in vectors:
        for origin, seq in vector.items():
            result[origin] = max(seq, result.get(origin, 0))
    return result


def seen(vector: Vector) -> Wanted:
    return lambda *at: covers(vector, at[2])


def unseen(vector: Vector) -> Wanted:
    return lambda *at: not covers(vector, at[2])


def includes(one: Vector, other: Vector) -> bool:
    return all(one.get(origin, 0) >= seq for origin, seq in other.items())


def merge(into: Rows, rows: Rows) -> set[tuple[str, str]]:
    """For each cell the greater stamp; what of `into` changed."""
    changed = set()
    for key, row in rows.items():
        mine = into.setdefault(key, {})
        for column, cell in row.items():
            if column not in mine or mine[column].stamp < cell.stamp:
                mine[column] = cell
                changed.add((key, column))
    return changed


def part(rows: Rows, wanted: Wanted) -> Rows:
    found = {k: {c: v for c, v in row.items() if wanted(k, c, v)} for k, row in rows.items()}
    return {key: row for key, row in found.items() if row}


def always(_key: str, _column: str, _cell: Cell) -> bool:
    return True


def members(
    rows: Rows, area: str | None, usable: Wanted = always, *, needed: bool = True
) -> set[str]:
    """The rows of an area, by those links that are usable: persons, what hangs on them, and the
    persons whom any of all these needs."""
    persons = {
        key
        for key in rows
        if key[0] == "p" and any(usable(key, c, cell) for c, cell in places(rows[key], area))
    }
    found = hanging(rows, persons, usable)
    return found | parents(rows, found, usable) if needed else found


def places(row: Row, area: str | None) -> Iterator[tuple[str, Cell]]:
    """The links of a person by which he belongs to an area."""
    for column in BELONGS:
        cell = row.get(column)
        if cell is not None and cell.value == area and (column == "area" or area is not None):
            yield column, cell


def hanging(rows: Rows, found: set[str], usable: Wanted = always) -> set[str]:
    """These rows and what hangs on them."""
    for table, column in HANGS.items():
        found = found | {
            key
            for key, row in rows.items()
            if key[0] == table and column in row and row[column].value in found
            if usable(key, column, row[column])
        }
    return found


def parents(rows: Rows, found: set[str], usable: Wanted = always) -> set[str]:
    """The persons whom these rows need, and whom those need."""
    needed: set[str] = set()
    todo = list(found)
    while todo:
        key = todo.pop()
        cell = rows[key].get(NEEDS)
        if cell is not None and cell.value in rows and usable(key, NEEDS, cell):
            parent = cell.value or ""
            if parent not in needed:
                needed.add(parent)
                todo.append(parent)
    return needed


def entering(rows: Rows, area: str | None, base: Vector) -> set[str]:
    """The rows of an area to which a link leads that a vector does not cover, or that hang on such
    a row: whoever claims the vector may hold nothing of them, also where another way is old."""
    here = members(rows, area)
    linked: set[str] = set()
    needed: set[str] = set()
    for key in here:
        links = dict(places(rows[key], area)) if key[0] == "p" else rows[key]
        if any(c in LINKS and not covers(base, cell) for c, cell in links.items()):
            linked.add(key)
        mother = rows[key].get(NEEDS)
        if mother is not None and not covers(base, mother):
            needed.add(mother.value or "")
    found = hanging(rows, linked) | (needed & rows.keys())
    return here & (found | parents(rows, found))


@dataclass
class Stage:
    """Chunks of one sender, whose last one has not come, and what each of them spoke of."""

    after: int
    rows: Rows = field(default_factory=dict)
    scopes: list[frozenset[str | None]] = field(default_factory=list)


@dataclass
class Site:
    """A replica.

    Attributes:
        whole: It takes all rows.
        keeps: Rows that have left stay, as stale copies.
        lsn: When rows arrived or were touched here, by key.
        every: Of these origins it has all that still stands: of all at a whole site; at another
            of itself, and of the children that it collects from.
        areas: For each area taken, the vector of a state whose rows of the area it has.
        floor: Rows with writes up to these were dropped here, so that claims by table are only for
            sites that have these.
        dropped: The rows that were dropped; only for who judges.
        done: Of each sender how far it was heard out, and on which scopes.
        received: Cells that came; `outside`: those of rows that do not belong here.
    """

    origin: str
    whole: bool
    keeps: bool
    rows: Rows = field(default_factory=dict)
    lsn: dict[str, int] = field(default_factory=dict)
    count: int = 0
    seq: int = 0
    every: Vector = field(default_factory=dict)
    shared: Vector = field(default_factory=dict)
    areas: dict[str | None, Vector] = field(default_factory=dict)
    floor: Vector = field(default_factory=dict)
    dropped: Rows = field(default_factory=dict)
    done: dict[str, tuple[int, frozenset[str | None]]] = field(default_factory=dict)
    stages: dict[str, Stage] = field(default_factory=dict)
    received: int = 0
    outside: int = 0

    def shown(self, table: str) -> list[str]:
        return sorted(
            key
            for key, row in self.rows.items()
            if key[0] == table and "value" in row and "gone" not in row
        )

    def taken(self, rows: Rows) -> set[str]:
        """Rows that belong here, as far as these rows tell."""
        return {key for area in self.areas for key in members(rows, area)}

    def begin_anew(self) -> None:
        """The rules have changed: who was heard out before was heard on other scopes."""
        self.done.clear()
        self.stages.clear()

    def write(self, key: str, values: Mapping[str, str | None], *, now: int, rule: Rule) -> Row:
        row = self.rows.get(key, {})
        moved = bool(row) or (rule.made_keys_move and key.startswith(MADE))
        self.seq += 1
        stamp = (max([now, *(cell.stamp[0] + 1 for cell in row.values())]), self.origin, self.seq)
        cells = {c: Cell(stamp, value, moved and c in LINKS) for c, value in values.items()}
        self.take({key: cells}, rule)
        self.every[self.origin] = self.shared[self.origin] = self.seq
        for vector in self.areas.values() if rule.own_claimed else ():
            vector[self.origin] = self.seq
        return cells

    def take(self, rows: Rows, rule: Rule) -> None:
        changed = merge(self.rows, rows)
        touched = {key for key, _ in changed}
        if rule.touches:
            linked = {key for key, column in changed if column in LINKS or column == NEEDS}
            linked = hanging(self.rows, linked)
            touched |= linked | parents(self.rows, linked)
        self.count += 1
        self.lsn.update(dict.fromkeys(touched, self.count))

    def drop(self, told: Vector, rule: Rule) -> None:
        """Rows that left go, but for the links by which they left."""
        if rule.drop_when_told and not includes(told, self.every):
            return
        here = self.taken(self.rows)
        for key in [k for k in self.rows if k not in here and k[0] != SHARED]:
            row = self.rows[key]
            safe = all(covers(told, cell) for cell in row.values())
            if "value" in row and (safe or not rule.drop_when_told):
                dots = {cell.stamp[1]: 0 for cell in row.values()}
                for cell in row.values():
                    dots[cell.stamp[1]] = max(dots[cell.stamp[1]], cell.stamp[2])
                self.floor = joined(self.floor, self.every, dots)
                merge(self.dropped, {key: row})
                self.rows[key] = {column: cell for column, cell in row.items() if cell.moved}
                if not self.rows[key]:
                    del self.rows[key], self.lsn[key]


def claimed(frm: Site, to: Site, area: str | None, rule: Rule) -> Vector | None:
    """What a sender claims of an area; nothing if it does not take it."""
    if frm.whole:
        return frm.every
    if rule.one_scope and not to.areas.keys() <= frm.areas.keys():
        return None
    if area in frm.areas:
        return frm.areas[area]
    return None if rule.holders_only else joined(*frm.areas.values())


def lacking(frm: Site, to: Site, rule: Rule, *, collects: bool) -> Rows:
    """What a site has for another; whether it may claim anything or not."""
    found: Rows = {}

    def add(keys: Iterable[str], wanted: Wanted) -> None:
        merge(found, part({key: frm.rows[key] for key in keys}, wanted))

    shared = {key for key in frm.rows if key[0] == SHARED}
    add(shared, unseen(to.shared))
    if collects:
        add(frm.rows.keys() - shared, unseen(to.every))
    if to.whole:
        return found
    known = joined(*to.areas.values())

    def told_to_all(_: str, column: str, cell: Cell) -> bool:
        if rule.links_to_all and column in LINKS:
            return not covers(known, cell)
        return rule.moves_to_all and cell.moved and not covers(known, cell)

    def news(base: Vector) -> Wanted:
        return lambda *at: not covers(base, at[2]) and at[2].stamp[1] != to.origin

    add(frm.rows.keys() - shared, told_to_all)
    for area, base in to.areas.items():
        here = members(frm.rows, area)
        whole: set[str] = set()
        if rule.entering_whole:
            whole = here - members(frm.rows, area, seen(base))
            if rule.every_path:
                whole = entering(frm.rows, area, base)
        add(whole, always)
        add(here - whole, news(base))
    return found


def pull(frm: Site, to: Site, rule: Rule, *, collects: bool, rows_max: int) -> bool:
    """One chunk; whether it was the last."""
    spoken = frozenset(to.areas) | ({"every"} if collects else set())
    heard, on = to.done.get(frm.origin, (0, frozenset()))
    stage = to.stages.setdefault(frm.origin, Stage(heard if spoken <= on else 0))
    rows = {
        key: row
        for key, row in lacking(frm, to, rule, collects=collects).items()
        if frm.lsn[key] > stage.after
    }
    order = sorted(rows, key=lambda key: frm.lsn[key])
    last = len(order) <= rows_max
    if not last:
        # Rows of one arrival stay together: the cursor says how far, not which of them.
        reached = frm.lsn[order[rows_max - 1]]
        order = [key for key in order if frm.lsn[key] <= reached]
        last = len(order) == len(rows)
        stage.after = reached
    stage.scopes.append(spoken)
    merge(stage.rows, {key: rows[key] for key in order})
    to.received += sum(len(rows[key]) for key in order)
    if last:
        del to.stages[frm.origin]
        finish(frm, to, stage, rule)
    return last


def finish(frm: Site, to: Site, stage: Stage, rule: Rule) -> None:
    """All that was staged is taken, and the frontier goes to that of the last snapshot."""
    told = frozenset.intersection(*stage.scopes)
    to.take(stage.rows, rule)
    if not to.whole:
        here = to.taken(to.rows)
        outside = [row for k, row in stage.rows.items() if k not in here and k[0] != SHARED]
        to.outside += sum(map(len, outside))
    to.shared = joined(to.shared, frm.shared)
    if "every" in told and (frm.whole or not rule.floor or includes(to.every, frm.floor)):
        to.every = joined(to.every, frm.every)
    for area, mine in to.areas.items():
        theirs = claimed(frm, to, area, rule)
        if theirs is not None and area in told and not includes(mine, theirs):
            to.areas[area] = dict(theirs) if rule.replaced else joined(mine, theirs)
    to.done[frm.origin] = (frm.count, told)
    if not to.whole and not to.keeps and (frm.whole or not rule.drop_when_told):
        to.drop(frm.every, rule)
