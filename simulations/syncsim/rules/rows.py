"""What a site of a rival rule holds: plain rows, and beside them whose write each cell is.

Rivals keep no trace of what gives way. To count it all the same, each cell remembers here the
number of the write that put it there, and a write notes which numbers it replaced at its site.
No rule may look at that: it is for the figures alone.

References are not checked: a real database would refuse a row that points nowhere, and some of
the modelled products would stop there until somebody helps.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from syncproto.row import Value
from syncsim.bits import flags
from syncsim.events import Statement, Transaction
from syncsim.history import History
from syncsim.member import Place
from syncsim.rules.port import Setting
from syncsim.schema import TABLES, all_columns

_ROW = ""  # in place of a column: the row itself, where it is deleted


@dataclass(frozen=True, slots=True)
class Image:
    """A row.

    Attributes:
        values: In the order of `all_columns`.
        by: For each of them the number of the write that put it there.
        mark: A digest of the row's name and its values; sums of them tell tables apart.
    """

    values: tuple[Value, ...]
    by: tuple[int, ...]
    mark: int


@dataclass(frozen=True, slots=True)
class Change:
    """One row written or deleted by people: how it was here, how it is, the write's number."""

    place: Place
    old: Image | None
    new: Image | None
    number: int


@dataclass(frozen=True, slots=True)
class Losses:
    """Values that gave way in silence: nobody who knew them wrote over them.

    Attributes:
        everywhere: They stand at no site.
        in_part: They stand at some sites and not at others.
    """

    everywhere: int
    in_part: int


@cache
def place_of(table: str) -> Mapping[str, int]:
    """For each column its place in `Image.values`."""
    return {column: number for number, column in enumerate(all_columns(table))}


def image(place: Place, values: Sequence[Value], by: Sequence[int]) -> Image:
    text = repr((place, tuple(values))).encode()
    mark = int.from_bytes(hashlib.blake2b(text, digest_size=16).digest())
    return Image(tuple(values), tuple(by), mark)


@dataclass
class Ledger:
    """What all sites of one run share: when each write was committed, and who knowingly wrote
    over whom.

    Attributes:
        committed_ms: By the number of the write.
        over: For (write, column) the writes of authors who had it before them and wrote over
            it; column "" for a delete, and who created the row anew.
    """

    committed_ms: list[int] = field(default_factory=list)
    over: dict[tuple[int, str], list[int]] = field(default_factory=dict)

    def lost(self, history: History, sites: Sequence["Rows"]) -> Losses:
        """What of all that reached a site which is still there has gone in silence.

        Counted is each value of each write that does not stand at every site that keeps its
        table, and each delete in spite of which a site shows the row. A write that died with its
        site, as one that a restored site had not sent, is not missed. (The question is that of
        the checker `lost_writes`; there is no record that could name them.)
        """
        survivors = 0
        for site in sites:
            survivors |= site.seen
        there = flags(survivors, len(history.writes))
        everywhere = in_part = 0
        kinds = {table: _kinds(table, sites) for table in sorted(history.tables)}
        for place, of_row in history.of_row.items():
            rows = [site.images.get(place) for site in kinds[place[0]]]
            writes = [write for write in of_row if there[write.number]]
            for write in writes:
                for name, value in _said(write.values):
                    standing = [_stands(row, place, name, value) for row in rows]
                    if all(standing):
                        continue
                    # A value written twice is one value: that either was seen is enough.
                    twins = (twin for twin in writes if (name, value) in _said(twin.values))
                    if any(self._was_seen(twin.number, name, there) for twin in twins):
                        continue
                    if any(standing):
                        in_part += 1
                    else:
                        everywhere += 1
        return Losses(everywhere, in_part)

    def _was_seen(self, number: int, name: str, there: bytes) -> bool:
        return any(there[later] for later in self.over.get((number, name), ()))


def _said(values: Mapping[str, Value] | None) -> list[tuple[str, Value]]:
    """What a write says: its columns, or that the row is not to be."""
    return list(values.items()) if values is not None else [(_ROW, None)]


def _stands(row: Image | None, place: Place, name: str, value: Value) -> bool:
    if name == _ROW or row is None:
        return name == _ROW and row is None
    return row.values[place_of(place[0])[name]] == value


def _kinds(table: str, sites: Sequence["Rows"]) -> list["Rows"]:
    """Of the sites that keep the table one for each content."""
    kinds: dict[int, Rows] = {}
    for site in sites:
        if table in site.tables:
            kinds.setdefault(site.sums[table], site)
    return list(kinds.values())


class Rows:
    """The tables of one site.

    Attributes:
        tables: Those that it keeps.
        images: All rows.
        removed: Of rows that are gone, which delete took them away.
        sums: For each table the sum of its rows' marks.
    """

    def __init__(self, number: int, setting: Setting, ledger: Ledger) -> None:
        self.number = number
        self.site = setting.site_ids[number]
        self.tables = frozenset(setting.tables(number) or TABLES)
        self.images: dict[Place, Image] = {}
        self.removed: dict[Place, int] = {}
        self.sums = dict.fromkeys(sorted(self.tables), 0)
        self._setting = setting
        self._ledger = ledger
        self._seen = bytearray()

    def put(self, place: Place, row: Image) -> None:
        old = self.images.get(place)
        self.images[place] = row
        self.removed.pop(place, None)
        self.sums[place[0]] += row.mark - (old.mark if old is not None else 0)

    def remove(self, place: Place, number: int) -> None:
        """The row, if it is there, is deleted by that write."""
        old = self.images.pop(place, None)
        if old is not None:
            self.removed[place] = number
            self.sums[place[0]] -= old.mark

    def visible(self) -> Mapping[Place, Mapping[str, Value]]:
        return {
            place: dict(zip(all_columns(place[0]), row.values, strict=True))
            for place, row in self.images.items()
        }

    # People

    def changes(self, transaction: Transaction) -> Iterator[Change]:
        """What the transaction changes, statement by statement, each noted as a write.

        The caller carries out each change before it asks for the next one.
        """
        for statement in transaction.statements:
            if statement.table in self.tables:
                change = self._change(statement)
                if change is not None:
                    yield change

    def _change(self, statement: Statement) -> Change | None:
        place = (statement.table, statement.key)
        old = self.images.get(place)
        if statement.values is None:
            if old is None:
                return None
            number = self._write(place, None, old)
            self._replaced(number, zip(old.by, place_of(statement.table), strict=True))
            return Change(place, old, None, number)
        if old is None:
            values = {name: statement.values[name] for name in place_of(statement.table)}
            number = self._write(place, values, None)
            if place in self.removed:
                self._replaced(number, [(self.removed[place], _ROW)])
            new = image(place, [*values.values()], [number] * len(values))
            return Change(place, None, new, number)
        at = place_of(statement.table)
        values = {
            name: statement.values[name]
            for name in statement.changed
            if old.values[at[name]] != statement.values[name]
        }
        if not values:
            return None
        number = self._write(place, values, old)
        now, by = list(old.values), list(old.by)
        self._replaced(number, [(by[at[name]], name) for name in values])
        for name, value in values.items():
            now[at[name]], by[at[name]] = value, number
        return Change(place, old, image(place, now, by), number)

    def _write(self, place: Place, values: Mapping[str, Value] | None, old: Image | None) -> int:
        setting, history = self._setting, self._setting.history
        saw = 0
        for number in {*old.by} if old is not None else ():
            saw |= 1 << history.writes[number].nth | history.writes[number].saw
        write = history.wrote(self.site, place, values, saw, setting.wall_ms(self.number))
        self._ledger.committed_ms.append(setting.now_ms())
        assert len(self._ledger.committed_ms) == len(history.writes), "all writes are noted here"
        self._mark(write.number)
        return write.number

    def _replaced(self, number: int, cells: Iterable[tuple[int, str]]) -> None:
        for cell in cells:
            self._ledger.over.setdefault(cell, []).append(number)

    # What has come

    def see(self, numbers: Iterable[int]) -> None:
        """These writes have come to the site, whether they stand or not."""
        setting, committed_ms = self._setting, self._ledger.committed_ms
        for number in numbers:
            if self._mark(number) and setting.history.writes[number].site != self.site:
                setting.arrived(self.number, committed_ms[number], 1)

    def _mark(self, number: int) -> bool:
        """Whether it is new here."""
        if number >= len(self._seen):
            self._seen.extend(bytes(number + 1 - len(self._seen)))
        is_new = not self._seen[number]
        self._seen[number] = 1
        return is_new

    @property
    def seen(self) -> int:
        """All writes that have come, as bits."""
        return int(b"0" + self._seen[::-1].translate(_DIGITS), 2)

    # Misfortunes

    def copied(self) -> "Rows":
        """The same on a backup."""
        copy = Rows(self.number, self._setting, self._ledger)
        copy.site = self.site
        copy.images, copy.removed = dict(self.images), dict(self.removed)
        copy.sums, copy._seen = dict(self.sums), bytearray(self._seen)
        return copy


_DIGITS = bytes.maketrans(b"\0\1", b"01")
