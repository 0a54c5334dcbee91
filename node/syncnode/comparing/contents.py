"""What a site's tables hold, as fingerprints that sites of all engines compute alike.

Compared is what is replicated: of rows that the table shows as something else, or not at all, the
state that the sidecar keeps (rule A6). Deleted rows do not count, nor those that stand only because
others refer to them.

Tables are read in short steps, so that nobody has to wait for a long read to end. A row that is
written meanwhile may be counted in its old form, twice or not at all; it is told apart at the end,
when the rows that seem to differ are read again.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import TYPE_CHECKING, Any

from syncnode.capture.dropped import dropped_columns
from syncnode.schema.naming import shape_of
from syncnode.store.decimals import plain_text
from syncnode.store.hidden import HELD, MERGED, PARKED, SHOWN, STATE_HERE
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import KEYS_PER_QUERY, Origins, Table
from syncproto.codec import decode_cells, decode_row
from syncproto.fingerprints import (
    PLACE_BITS,
    Content,
    Hashed,
    Range,
    RowHasher,
    Summary,
    canonical,
    depth_bound,
    depth_for,
    place_of,
)
from syncproto.identity import Origin, RowKey, SiteId
from syncproto.keys import canonical_uuid, uuid_text
from syncproto.questions import Reading
from syncproto.row import Row, Value
from syncproto.shapes import Shape

if TYPE_CHECKING:
    from syncnode.replica import DatabaseReplica
    from syncnode.schema.plan import ColumnPlan
    from syncnode.store.database import Transaction

ROWS_PER_READ = 5_000
KEYS_PER_READ = 50_000
NO_KEY = RowKey(bytes(16))
CELLS_KEPT = 10_000  # of rows edited in one go the clocks mostly hold the same few texts
_NONE = frozenset[str]()
_ANYONE = Origin(SiteId(bytes(16)), 0)  # whose stamps these are does not matter here

KEPT = frozenset({*STATE_HERE, MERGED, SHOWN})
"""Where the sidecar keeps the state of rows that are not deleted."""

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """Progress that nobody follows."""


def canonical_forms(table: Table, names: Sequence[str]) -> list[Callable[[Any], Any]]:
    """For each of these columns what makes the form in which its values are compared."""
    forms = [_form_of(table.plan.column(name)) for name in names]
    return [partial(_in_form, form) for form in forms]


def _in_form(form: Callable[[Any], Any] | None, value: Any) -> Any:
    return _plain(form(value) if form is not None and value is not None else value)


def shapes_of(replica: "DatabaseReplica") -> dict[str, Shape]:
    """What the rows of each table are named by, and which columns it has let go of."""
    with replica.database.read() as tx:
        dropped = dropped_columns(Sidecar.load(tx, replica.plan))
    return {
        table.name: shape_of(table.plan, dropped.get(table.name, ()))
        for table in replica.tables.values()
    }


class Contents:
    """One reading of a site's tables; see `syncproto.fingerprints.Source`.

    Args:
        progress: Told what is being read.
        without: Tables that are not to be compared: they are not read, and not spoken of.

    Attributes:
        totals: Each table whole.
        shapes: What the rows of each are named by, and which columns it has let go of.
        unshown: Rows that are replicated and not shown, by table.
        reading: Of when it is.
        without: As it was given.
    """

    def __init__(
        self,
        replica: "DatabaseReplica",
        progress: Progress = silent,
        *,
        without: Collection[str] = (),
    ) -> None:
        self.without = frozenset(without)
        self._database = replica.database
        self._replica = replica
        self._progress = progress
        self._tables = {
            table.name: _Rows(replica, table)
            for table in replica.tables.values()
            if table.name not in without
        }
        with self._database.read() as tx:
            counts = {name: rows.count(tx) for name, rows in self._tables.items()}
            self.unshown = _unshown(tx, replica.tables)
            self.reading = _reading(tx)
        bound = depth_bound(list(counts.values()))
        self._counts = counts
        self._summaries = {name: Summary(depth_for(count, bound)) for name, count in counts.items()}
        for name in self._tables:
            self._read(name)
        self.totals: Mapping[str, Content] = {
            name: summary.content(0, 0) for name, summary in self._summaries.items()
        }
        shapes = shapes_of(replica)
        self.shapes: Mapping[str, Shape] = {name: shapes[name] for name in self._tables}

    def _read(self, name: str) -> None:
        done = 0
        for part in self._tables[name].all():
            for key, row in part:
                self._summaries[name].add(key, row)
            done += len(part)
            self._progress(f"reading {name}: {done:,} of {self._counts[name]:,} rows")

    def leave_out(self, columns: Mapping[str, tuple[str, ...]]) -> None:
        """From now on these columns of these tables do not count."""
        for name, without in columns.items():
            rows = self._tables[name]
            if rows.left_out == frozenset(without):
                continue
            rows.left_out = frozenset(without)
            self._summaries[name] = Summary(self._summaries[name].depth)
            self._read(name)
            self.totals = {**self.totals, name: self._summaries[name].content(0, 0)}

    def depth(self, table: str) -> int:
        return self._summaries[table].depth

    def content(self, where: Range) -> Content:
        return self._summaries[where.table].content(where.depth, where.prefix)

    def rows(self, ranges: Sequence[Range]) -> Mapping[Range, Sequence[Hashed]]:
        found: dict[Range, dict[RowKey, int]] = {where: {} for where in ranges}
        for name in dict.fromkeys(where.table for where in ranges):
            self._progress(f"reading single rows of {name}")
            where_of = _locator([where for where in ranges if where.table == name])
            for key, row in self._tables[name].chosen(where_of):
                where = where_of(key)
                assert where is not None, "it was chosen"
                found[where][key] = row
        return {where: list(rows.items()) for where, rows in found.items()}

    def content_hash(self, table: str, row: Row) -> int:
        """Of what a row holds, whatever its name."""
        return self._tables[table].state_hash(NO_KEY, row)

    def different_columns(self, table: str, one: Row, other: Row) -> tuple[str, ...]:
        """The columns in which two states of a row differ; one that only one of them has counts
        as NULL in the other."""
        return self._tables[table].different_columns(one, other)


def _locator(ranges: Sequence[Range]) -> Callable[[bytes], Range | None]:
    """A function that says in which of these ranges of one table a row lies; asked for each row
    of the table, so it makes nothing."""
    by_shift: dict[int, dict[int, Range]] = {}
    for where in ranges:
        by_shift.setdefault(PLACE_BITS - where.depth, {})[where.prefix] = where
    steps = sorted(by_shift.items())

    def where_of(key: bytes) -> Range | None:
        place = place_of(key)
        for shift, by_prefix in steps:
            where = by_prefix.get(place >> shift)
            if where is not None:
                return where
        return None

    return where_of


class _Rows:
    """The rows of one table and their hashes.

    Attributes:
        left_out: Columns that do not count.
    """

    def __init__(self, replica: "DatabaseReplica", table: Table) -> None:
        self._replica = replica
        self._table = table
        self._hasher = RowHasher(table.columns)
        self._hashers: dict[tuple[str, ...], RowHasher] = {}
        self._absent_by_cells: dict[bytes, frozenset[str]] = {}
        self.left_out = frozenset[str]()
        forms = {column.name: _form_of(column) for column in table.travelling}
        self._forms = {name: form for name, form in forms.items() if form is not None}
        self._placed = [(table.place[name], form) for name, form in self._forms.items()]

    def count(self, tx: "Transaction") -> int:
        """How many rows there are, about."""
        if self._table.plan.key_kind == "none":
            return int(
                tx.value(
                    f"SELECT count(*) FROM syncnode_row WHERE tbl={tx.mark} AND place={tx.mark}",
                    (self._table.number, SHOWN),
                )
            )
        return int(tx.value(f"SELECT count(*) FROM {self._table.clock_name}"))

    def all(self) -> Iterator[list[Hashed]]:
        """Every row, in parts."""
        if self._table.plan.key_kind != "none":
            elsewhere = self._elsewhere()
            upto = 0
            while span := self._span(upto):
                first, upto = span
                yield self._shown(first, upto, elsewhere)
        yield from self._kept()

    def chosen(self, wanted: Callable[[bytes], object]) -> Iterator[Hashed]:
        """The rows whose keys are wanted, as they stand now."""
        if self._table.plan.key_kind != "none":
            elsewhere = self._elsewhere()
            keys = [
                pk
                for part in self._keys()
                for pk, key in part
                if wanted(key) is not None and key not in elsewhere
            ]
            for start in range(0, len(keys), KEYS_PER_QUERY):
                yield from self._by_pk(keys[start : start + KEYS_PER_QUERY])
        for part in self._kept():
            yield from [(key, row) for key, row in part if wanted(key) is not None]

    # Rows that the table shows

    def _span(self, after: int) -> tuple[int, int] | None:
        """The next lsn that a row bears, and the end of the step that begins there."""
        with self._replica.database.read() as tx:
            first = tx.value(
                f"SELECT min(syncnode_lsn) FROM {self._table.clock_name} "
                f"WHERE syncnode_lsn>{tx.mark}",
                (after,),
            )
        return None if first is None else (first, first + ROWS_PER_READ - 1)

    def _shown(self, first: int, upto: int, elsewhere: set[bytes]) -> list[Hashed]:
        table, hasher = self._table, self._hasher
        with self._replica.database.read() as tx:
            lines = table.changed(tx, first, upto)
            values = table.wire_rows(lines)
        return [
            (key, hasher.hash(key, self._canonical(wire, self._absent(line[5]))))
            for line, wire in zip(lines, values, strict=True)
            if (key := RowKey(bytes(line[4]))) not in elsewhere
        ]

    def _absent(self, cells: bytes | None) -> frozenset[str]:
        """Columns for which the row has no cell: what stands there nobody wrote."""
        if cells is None:
            return _NONE
        found = self._absent_by_cells.get(cells)
        if found is None:
            if len(self._absent_by_cells) >= CELLS_KEPT:
                self._absent_by_cells.clear()
            found = decode_cells(bytes(cells), lambda _: _ANYONE)[2]
            self._absent_by_cells[cells] = found
        return found

    def _keys(self) -> Iterator[list[tuple[tuple[Any, ...], bytes]]]:
        """Primary key and row key of each row that has a clock."""
        table, last = self._table, 0
        columns = ", ".join(table.dialect.quote(name) for name in table.plan.primary_key)
        while True:
            with self._replica.database.read() as tx:
                lines = tx.rows(
                    f"SELECT syncnode_lsn, syncnode_key, {columns} FROM {table.clock_name} "
                    f"WHERE syncnode_lsn>{tx.mark} ORDER BY syncnode_lsn LIMIT {KEYS_PER_READ}",
                    (last,),
                )
            if not lines:
                return
            yield [(tuple(line[2:]), bytes(line[1])) for line in lines]
            last = lines[-1][0]

    def _by_pk(self, pks: list[tuple[Any, ...]]) -> list[Hashed]:
        with self._replica.database.read() as tx:
            book = Sidecar.load(tx, self._replica.plan)
            stored = list(self._table.by_pk(tx, pks, Origins(book.origin_of, decode_cells)))
        return [
            (
                one.clock.key,
                self._hasher.hash(one.clock.key, self._canonical(one.values, one.clock.absent)),
            )
            for one in stored
            if one.clock is not None
        ]

    def _canonical(self, wire: Sequence[Any], absent: frozenset[str]) -> Sequence[Any]:
        if nothing := absent | self.left_out:
            wire = [
                None if name in nothing else value
                for name, value in zip(self._table.columns, wire, strict=True)
            ]
        if self._placed:
            values = list(wire)
            for place, form in self._placed:
                if values[place] is not None:
                    values[place] = form(values[place])
            wire = values
        if set(map(type, wire)) <= _PLAIN:
            return wire
        return [value if type(value) in _PLAIN else _plain(value) for value in wire]

    # Rows whose state stands in the sidecar

    def _elsewhere(self) -> set[bytes]:
        """Keys of rows that the table does not show as they are replicated."""
        places = "', '".join(sorted({*KEPT, HELD}))
        with self._replica.database.read() as tx:
            return {
                bytes(key)
                for (key,) in tx.rows(
                    "SELECT row_key FROM syncnode_row "
                    f"WHERE place IN ('{places}') AND tbl={tx.mark}",
                    (self._table.number,),
                )
            }

    def _kept(self) -> Iterator[list[Hashed]]:
        places = "', '".join(sorted(KEPT))
        last = b""
        while True:
            with self._replica.database.read() as tx:
                book = Sidecar.load(tx, self._replica.plan)
                lines = tx.rows(
                    f"SELECT row_key, state FROM syncnode_row WHERE tbl={tx.mark} AND aside=0 "
                    f"AND row_key>{tx.mark} AND place IN ('{places}') "
                    f"ORDER BY row_key LIMIT {ROWS_PER_READ}",
                    (self._table.number, last),
                )
                rows = [
                    (RowKey(bytes(key)), decode_row(bytes(state), book.origin_of))
                    for key, state in lines
                ]
            if not rows:
                return
            yield [(key, self.state_hash(key, row)) for key, row in rows if row.alive]
            last = rows[-1][0]

    def state_hash(self, key: RowKey, row: Row) -> int:
        names = tuple(name for name in row.cells if name not in self.left_out)
        hasher = self._hashers.get(names)
        if hasher is None:
            hasher = self._hashers[names] = RowHasher(names)
        return hasher.hash(key, [self._cell(name, row.cells[name].value) for name in names])

    def different_columns(self, one: Row, other: Row) -> tuple[str, ...]:
        def value(row: Row, name: str) -> Any:
            return self._cell(name, row.cells[name].value) if name in row.cells else None

        every = dict.fromkeys([*one.cells, *other.cells])
        names = [name for name in every if name not in self.left_out]
        return tuple(name for name in names if not _same(value(one, name), value(other, name)))

    def _cell(self, name: str, value: Value) -> Any:
        form = self._forms.get(name)
        return _plain(form(value) if form is not None and value is not None else value)


def _reading(tx: "Transaction") -> Reading:
    """What changes from now on bears a higher lsn."""
    settings = dict(
        tx.rows("SELECT name, value FROM syncnode_setting WHERE name IN ('incarnation', 'lsn')")
    )
    return Reading(int(settings["incarnation"]), int(settings["lsn"]))


def _unshown(tx: "Transaction", tables: Mapping[int, Table]) -> dict[str, int]:
    return {
        tables[number].name: count
        for number, count in tx.rows(
            f"SELECT tbl, count(*) FROM syncnode_row WHERE place IN ('{PARKED}', 'aside') "
            "GROUP BY tbl ORDER BY tbl"
        )
        if number in tables
    }


# --- Values in one form ------------------------------------------------------------------------

_PLAIN = {type(None), int, str, bytes}


def _plain(value: Any) -> Any:
    """What drivers and states hold, as it is hashed."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Decimal):
        return _number(value)
    return canonical(value)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def _number(value: Any) -> Any:
    """A decimal however an engine keeps it: 12.30 is 12.3, and 12.00 is 12."""
    if isinstance(value, bytes | bytearray | memoryview):
        return value
    try:
        exact = Decimal(value if isinstance(value, str | Decimal) else repr(value))
    except InvalidOperation:
        return value
    if not exact.is_finite():
        return value
    if exact == exact.to_integral_value():
        return int(exact)
    double = float(exact)
    return double if Decimal(repr(double)) == exact else plain_text(exact)


def _second(value: Any) -> Any:
    """A time without zeros at the end of a fraction."""
    if isinstance(value, str) and "." in value:
        return value.rstrip("0").rstrip(".")
    return value


def _uuid_case(value: Any) -> Any:
    """A UUID in lower case, as PostgreSQL's uuid shows it: it is the same in any case."""
    if type(value) is str and len(value) == 36 and value[8] == "-":
        key = canonical_uuid(value)
        return uuid_text(key) if key is not None else value
    return value


def _form_of(column: "ColumnPlan") -> Callable[[Any], Any] | None:
    if column.kind == "text" and (column.size is None or column.size >= len(uuid_text(NO_KEY))):
        return _uuid_case
    return _FORMS.get(column.kind)


_FORMS: dict[str, Callable[[Any], Any]] = {
    "decimal": _number,
    "datetime": _second,
    "time": _second,
}
