"""One replicated table as the node reads and writes it: its SQL, and values to and from the wire.

A row is read together with its clock, and with the row keys of the rows it refers to in place
of their local integers, in one statement.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import repeat
from typing import Any

from syncnode.dialects.base import LOCAL_NUMBER, Dialect, Unfit, insert_sql
from syncnode.schema.local_rows import stays_sql
from syncnode.schema.plan import SchemaPlan, TablePlan
from syncnode.store.conditional import ByContent, literal, written
from syncnode.store.database import Transaction
from syncnode.store.decimals import plain_text
from syncnode.store.sidecar import clock_table
from syncproto.clock import BASELINE_HLC, COUNTER_BITS
from syncproto.identity import Origin, RowKey
from syncproto.keys import (
    baseline_key,
    canonical_uuids,
    composite_key,
    content_key,
    derived_key,
    text_key,
    uuid_text,
    variant_key,
)
from syncproto.row import Cell, Delete, Reference, Row, Stamp, Value

Key = tuple[Any, ...]
"""A row's primary key in this database."""

_CLOCK_COLUMNS = (
    *("syncnode_lsn", "syncnode_hlc", "syncnode_origin", "syncnode_seq"),
    *("syncnode_key", "syncnode_odd", "syncnode_cells"),
)
_LINE = (
    "c.syncnode_key, c.syncnode_lsn, c.syncnode_hlc, c.syncnode_origin, c.syncnode_seq, "
    "c.syncnode_cells"
)
KEYS_PER_QUERY = 500  # parameters of one IN list; every engine takes it, longer gains nothing


@dataclass(slots=True)
class Clock:
    """A row's clock line.

    Attributes:
        key: The row's key.
        stamp: The stamp of every cell that is not in `odd`.
        odd: Stamps of cells by column, where they differ.
        delete: The last delete, if the row ever had one.
        absent: Columns that the row has no cell for: they came after it was written, and what
            stands there nobody wrote.
    """

    key: RowKey
    stamp: Stamp
    odd: dict[str, Stamp] = field(default_factory=dict)
    delete: Delete | None = None
    absent: frozenset[str] = frozenset()

    def stamp_of(self, column: str) -> Stamp | None:
        """Of the cell's latest write; None if the row has no such cell."""
        return None if column in self.absent else self.odd.get(column, self.stamp)


@dataclass(slots=True)
class StoredRow:
    """A row of the application's table with its clock; values as they travel."""

    pk: Key
    clock: Clock | None
    values: tuple[Any, ...]


class Table:
    """SQL and conversions of one table, made once.

    Attributes:
        columns: Names of the columns that travel, in the order of all value tuples here.
        references: Column to table referred to.
        deletes_win: A delete made here wins over edits that it had not seen.
    """

    def __init__(self, plan: TablePlan, schema: SchemaPlan, dialect: Dialect) -> None:
        self.plan = plan
        self.name = plan.name
        self.number = plan.number
        self.schema = schema
        self.dialect = dialect
        self.deletes_win = plan.deletes == "delete-wins"
        self.travelling = plan.travelling
        self.columns = tuple(column.name for column in self.travelling)
        self.place = {name: index for index, name in enumerate(self.columns)}
        # MariaDB and MySQL may move these by themselves (ON UPDATE CURRENT_TIMESTAMP), unless a
        # statement names them.
        self._moments = [
            name
            for name in self.columns
            if dialect.name == "mysql" and plan.column(name).declared.startswith(_MOMENTS)
        ]
        self.references = {
            name: table for name, table in plan.references.items() if name in self.place
        }
        self.clock_name = clock_table(plan)
        self.quoted = dialect.quote(plan.here)
        self.key_places = tuple(self.place[name] for name in plan.key_columns)
        self.uuid = plan.key_columns[0] if plan.key_kind == "uuid" else None
        self.uuid_indexed = self.uuid is not None and any(
            key.plain and key.columns == (self.uuid,) for key in plan.unique_keys
        )
        self._to_wire = tuple(
            (index, convert)
            for index, column in enumerate(self.travelling)
            if (convert := dialect.to_wire(column)) is not None
        )
        self.from_wire = tuple(dialect.from_wire(column) for column in self.travelling)
        self._forms = tuple(
            (index, form)
            for index, column in enumerate(self.travelling)
            if (form := _FORMS.get(column.kind)) is not None
        )
        self._reference_places = tuple(
            (self.place[name], target) for name, target in self.references.items()
        )
        self._pk = tuple(dialect.quote(name) for name in plan.primary_key)
        self._mark = dialect.mark
        self.conditional = {
            column.name: column.conditional for column in self.travelling if column.conditional
        }
        self.may_hold_keys = {*self.references, *self.conditional}
        self._by_content = (
            ByContent(plan, schema, dialect, clock_of=clock_table, missing=dangling_key)
            if self.conditional
            else None
        )
        stays = stays_sql(
            plan,
            lambda name: f"t.{dialect.quote(name)}",
            lambda text: literal(dialect, text),
        )
        self._travels = f" AND NOT ({stays})" if stays is not None else ""
        # Of a reference that nobody checks 0 is nothing, and 0 everywhere.
        self.zeros = {
            name: dangling_key(self.references[name], 0)
            for key in plan.foreign_keys
            for name in key.columns
            if key.declared and name in self.references
        }
        self._value_sql, self._join_sql = self._values("t")
        self.local_place = (
            plan.primary_key.index(plan.local_key) if plan.local_key is not None else None
        )

    def local_of(self, pk: Key) -> int | None:
        """The local key in a primary key; None for a table without one."""
        return int(pk[self.local_place]) if self.local_place is not None else None

    def lacked(self, row: Row) -> list[str]:
        """The cells of a row for which the table has no column here (yet, or any more)."""
        if row.cells.keys() <= self.place.keys():
            return []
        return sorted(row.cells.keys() - self.place.keys())

    # SQL in parts

    def _values(self, alias: str) -> tuple[str, str]:
        """The select list of the travelling columns, and the joins that it needs."""
        quote = self.dialect.quote
        values, joins = [], []
        by_name = self.schema.by_name
        for index, column in enumerate(self.travelling):
            expression = f"{alias}.{quote(column.name)}"
            target = self.references.get(column.name)
            if target is None:
                values.append(self.dialect.read_expression(column, expression))
                continue
            parent = by_name[target]
            local = parent.local_key or parent.primary_key[0]
            joins.append(
                f" LEFT JOIN {clock_table(parent)} p{index} "
                f"ON p{index}.{quote(local)} = {expression}"
            )
            values.append(self.dialect.reference(f"p{index}.syncnode_key", expression))
        if self._by_content is not None:
            extras, more = self._by_content.select(alias)
            values += extras
            joins.append(more)
        return ", ".join(values) or "NULL", "".join(joins)

    @property
    def clock_sql(self) -> str:
        return (
            "c.syncnode_lsn, c.syncnode_hlc, c.syncnode_origin, c.syncnode_seq, "
            "c.syncnode_key, c.syncnode_cells"
        )

    def _pk_list(self, alias: str) -> str:
        return ", ".join(f"{alias}.{name}" for name in self._pk)

    def _on(self, one: str, other: str) -> str:
        return " AND ".join(f"{one}.{name} = {other}.{name}" for name in self._pk)

    def _in(self, columns: str, count: int, width: int) -> str:
        if width == 1:
            return f"{columns} IN ({', '.join([self._mark] * count)})"
        group = f"({', '.join([self._mark] * width)})"
        if self.dialect.name == "sqlite":
            return f"({columns}) IN (VALUES {', '.join([group] * count)})"
        return f"({columns}) IN ({', '.join([group] * count)})"

    # Reading rows

    def by_pk(self, tx: Transaction, pks: Sequence[Key], origins: "Origins") -> Iterator[StoredRow]:
        """Rows of the table, with their clocks, that have these primary keys."""
        width = len(self._pk)
        for part in _parts(pks, KEYS_PER_QUERY // width):
            sql = (
                f"SELECT {self._pk_list('t')}, {self.clock_sql}, {self._value_sql} "
                f"FROM {self.quoted} t LEFT JOIN {self.clock_name} c ON {self._on('c', 't')}"
                f"{self._join_sql} WHERE {self._in(self._pk_list('t'), len(part), width)}"
                f"{self._travels}"
            )
            rows = tx.rows(sql, [value for pk in part for value in pk])
            yield from self._stored(rows, origins)

    def clocks(self, tx: Transaction, pks: Sequence[Key], origins: "Origins") -> dict[Key, Clock]:
        """Clocks by primary key, of the rows that have one."""
        width = len(self._pk)
        found = {}
        for part in _parts(pks, KEYS_PER_QUERY // width):
            for row in tx.rows(
                f"SELECT {self._pk_list('c')}, {self.clock_sql} FROM {self.clock_name} c "
                f"WHERE {self._in(self._pk_list('c'), len(part), width)}",
                [value for pk in part for value in pk],
            ):
                found[tuple(row[:width])] = origins.clock(*row[width + 1 : width + 6])
        return found

    def after_pk(self, tx: Transaction, pk: Key | None, limit: int) -> list[StoredRow]:
        """The next rows of the table in the order of the primary key; clocks are not read."""
        rows = self._after(tx, self._value_sql, self._join_sql, pk, limit)
        width = len(self._pk)
        return [StoredRow(tuple(row[:width]), None, self._wired(row[width:])) for row in rows]

    def columns_after(
        self, tx: Transaction, names: Sequence[str], pk: Key | None, limit: int
    ) -> list[tuple[Any, ...]]:
        """The same of some columns, none of which is a reference: the primary key's columns, then
        these as they travel."""
        places = [self.place[name] for name in names]
        reads = [
            self.dialect.read_expression(self.travelling[place], f"t.{self.dialect.quote(name)}")
            for place, name in zip(places, names, strict=True)
        ]
        rows = self._after(tx, ", ".join(reads), "", pk, limit)
        converts = {place: convert for place, convert in self._to_wire if place in places}
        if not converts:
            return rows
        width, found = len(self._pk), []
        for row in rows:
            line = list(row)
            for index, place in enumerate(places, start=width):
                if place in converts and line[index] is not None:
                    line[index] = converts[place](line[index])
            found.append(tuple(line))
        return found

    def _after(
        self, tx: Transaction, selected: str, joins: str, pk: Key | None, limit: int
    ) -> list[tuple[Any, ...]]:
        width = len(self._pk)
        columns = self._pk_list("t")
        where, params = "", list[Any]()
        if self._travels:
            where = f" WHERE TRUE{self._travels}"
        if pk is not None:
            marks = ", ".join([self._mark] * width)
            where = (
                f" WHERE ({columns}) > ({marks})"
                if width > 1
                else (f" WHERE {columns} > {self._mark}")
            ) + self._travels
            params += pk
        return tx.rows(
            f"SELECT {columns}, {selected} FROM {self.quoted} t{joins}"
            f"{where} ORDER BY {columns} LIMIT {limit}",
            params,
        )

    def changed(
        self, tx: Transaction, first: int, upto: int, *, plain: bool = True
    ) -> list[tuple[Any, ...]]:
        """Rows whose clock's lsn lies in [first, upto], in its order: lsn, hlc, origin number,
        seq, key, cells, then the values as the driver reads them (see `wire_rows`). Without
        `plain` only those with cells of several stamps, or of which the sidecar keeps a state."""
        only = "" if plain else f" AND {self._not_plain_sql}"
        return tx.rows(
            f"SELECT {self.clock_sql}, {self._value_sql} FROM {self.clock_name} c "
            f"JOIN {self.quoted} t ON {self._on('t', 'c')}{self._join_sql} "
            f"WHERE c.syncnode_lsn BETWEEN {self._mark} AND {self._mark}{only} "
            "ORDER BY c.syncnode_lsn",
            (first, upto),
        )

    @property
    def _not_plain_sql(self) -> str:
        return (
            "(c.syncnode_cells IS NOT NULL OR EXISTS (SELECT 1 FROM syncnode_row h "
            f"WHERE h.tbl={self.number} AND h.row_key=c.syncnode_key))"
        )

    def lines(
        self, tx: Transaction, after: bytes, upto: bytes, columns: Sequence[str]
    ) -> list[tuple[Any, ...]]:
        """Rows whose keys are above `after` and up to `upto` (b"": no bound), in no order: the
        primary key's columns, then key, lsn, hlc, origin number, seq, cells, and the values of
        `columns`, none of which refers to anything, as they travel."""
        converts = dict(self._to_wire)
        first = len(self._pk) + 6
        fixes = [
            (first + at, convert)
            for at, name in enumerate(columns)
            if (convert := converts.get(self.place[name])) is not None
        ]
        read = [
            self.dialect.read_expression(column, f"t.{self.dialect.quote(column.name)}")
            for column in map(self.plan.column, columns)
        ]
        bounds = [(">", after)] * bool(after) + [("<=", upto)] * bool(upto)
        where = " AND ".join(f"c.syncnode_key{sign}{self._mark}" for sign, _ in bounds)
        rows = tx.rows(
            f"SELECT {', '.join([self._pk_list('c'), _LINE, *read])} FROM {self.clock_name} c "
            f"JOIN {self.quoted} t ON {self._on('t', 'c')} WHERE {where or '1=1'}",
            [bound for _, bound in bounds],
        )
        return [_fixed(row, fixes) for row in rows] if fixes else rows

    def wire_rows(self, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The value tuples of `changed`, as they travel."""
        values = [row[6:] for row in rows]
        if self._by_content is not None:
            return [self._wired(row) for row in values]
        if self._to_wire or self._reference_places:
            mixed = self.dialect.name != "sqlite" or any(
                type(row[place]) is int for place, _ in self._reference_places for row in values
            )
            if self._to_wire or mixed:
                return [self._wired(row) for row in values]
        return values

    def images(
        self, tx: Transaction, lines: Sequence[int], *, resolved: bool = False
    ) -> dict[int, tuple[Any, ...]]:
        """Last images that triggers kept, by journal line; references as row keys.

        `resolved`: only those whose references all lead to rows with a clock.
        """
        values, joins = self._values("i")
        found = {}
        for part in _parts(list(lines), KEYS_PER_QUERY):
            for row in tx.rows(
                f"SELECT i.syncnode_journal_id, {values} FROM syncnode_trash_{self.number} i"
                f"{joins} WHERE i.syncnode_journal_id IN ({', '.join([self._mark] * len(part))})",
                part,
            ):
                if not resolved or all(
                    row[1 + place] is None or _is_key(row[1 + place])
                    for place, _ in self._reference_places
                ):
                    found[row[0]] = self._wired(row[1:])
        return found

    def _stored(self, rows: Iterable[tuple[Any, ...]], origins: "Origins") -> Iterator[StoredRow]:
        width = len(self._pk)
        for row in rows:
            clock = None
            if row[width + 4] is not None:
                clock = origins.clock(*row[width + 1 : width + 6])
            yield StoredRow(tuple(row[:width]), clock, self._wired(row[width + 6 :]))

    def _wired(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """Driver values to wire values; a dangling reference gets a key that no row has."""
        values = list(row)
        if self._by_content is not None:
            width = len(self.columns)
            extras = values[width:]
            del values[width:]
            self._by_content.resolve(values, extras)
        for index, convert in self._to_wire:
            if values[index] is not None and type(values[index]) is not Reference:
                values[index] = convert(values[index])
        for index, target in self._reference_places:
            value = values[index]
            if value is not None and not _is_key(value):
                values[index] = dangling_key(target, value)
        return tuple(values)

    def wire_of(
        self, tx: Transaction, columns: Sequence[str], values: Sequence[Any]
    ) -> list[Any] | None:
        """Local values of some columns as they travel; None if one refers to no row here."""
        wire = []
        converts = dict(self._to_wire)
        for name, value in zip(columns, values, strict=True):
            place = self.place.get(name)
            target = self.references.get(name)
            if place is None:
                return None
            if target is not None:
                parent = self.schema.by_name[target]
                local = self.dialect.quote(parent.local_key or parent.primary_key[0])
                value = tx.value(
                    f"SELECT syncnode_key FROM {clock_table(parent)} WHERE {local}={self._mark}",
                    (value,),
                )
                if value is None:
                    return None
                value = bytes(value)
            elif place in converts:
                value = converts[place](value)
            wire.append(value)
        return wire

    # Rows as values

    def row_of(self, stored: StoredRow) -> Row:
        """The replicated state of a row whose table shows all of it."""
        clock = stored.clock
        assert clock is not None, "rows without a clock are sealed first"
        stamps: Iterable[Stamp] = repeat(clock.stamp)
        if clock.odd:
            stamps = [clock.odd.get(name, clock.stamp) for name in self.columns]
        cells = dict(
            zip(self.columns, map(Cell, stamps, self.values_of(stored.values)), strict=True)
        )
        for name in clock.absent:
            cells.pop(name, None)
        return Row(cells, clock.delete)

    def shown(self, stored: StoredRow) -> dict[str, Value]:
        """What the table shows of a row, whether replicated or not."""
        return dict(zip(self.columns, self.values_of(stored.values), strict=True))

    def values_of(self, values: Sequence[Any]) -> list[Value]:
        """Wire values of a block as values of cells: keys in reference columns are references."""
        result: list[Value] = list(values)
        for index, target in self._reference_places:
            key = result[index]
            if isinstance(key, bytes):
                result[index] = Reference(target, RowKey(key))
        return result

    def named(self, values: Sequence[Any]) -> list[Value]:
        """`values_of` in one form for every engine, to make row keys of: 12.30 is 12.3, and a
        second without a fraction is one with zeros."""
        result = self.values_of(values)
        for index, form in self._forms:
            result[index] = form(result[index])
        return result

    def key_of(self, values: Sequence[Any], pk: Key, drawn: bytes | None) -> RowKey:
        """The row key of a row by its wire values.

        `drawn` is what the insert trigger drew for a table that has nothing else; a row older
        than the installation has none, and is named by its content.
        """
        kind = self.plan.key_kind
        if kind == "uuid":
            value = values[self.key_places[0]]
            return (
                text_key(self.name, value) if type(value) is str else content_key(self.name, value)
            )
        if kind == "random":
            if drawn is not None:
                return RowKey(bytes(drawn))
            assert self.local_place is not None, "a counted key"
            return baseline_key(self.name, int(pk[self.local_place]), self.named(values))
        typed = self.named(values)
        parts = [typed[place] for place in self.key_places]
        if kind == "shared":
            (parent,) = parts
            assert isinstance(parent, Reference), "a shared key refers to its parent"
            return derived_key(self.name, parent.key)
        if kind == "natural":
            return content_key(self.name, parts[0])
        return composite_key(self.name, parts)

    def key_by(self, columns: Sequence[str], wire: Sequence[Any]) -> RowKey:
        """The row key by the values, as they travel, of the columns that it is made of."""
        line: list[Any] = [None] * len(self.columns)
        for name, value in zip(columns, wire, strict=True):
            line[self.place[name]] = value
        return self.key_of(line, (), None)

    def double_key(self, values: Sequence[Any], pk: Key, site: bytes) -> RowKey:
        """The key of a row whose own key another row of the table has already.

        Where the primary key is content, it is the same at every site that has such a row.
        """
        by_content = self.plan.key_kind in ("natural", "composite")
        if by_content and set(self.plan.primary_key) == set(self.plan.key_columns):
            typed = self.values_of(values)
            return variant_key(self.name, [typed[place] for place in self.key_places])
        return variant_key(self.name, (site, *pk))

    def nameless(self, keys: Sequence[RowKey], lines: Sequence[Sequence[Any]]) -> set[RowKey]:
        """The keys of those lines of wire values whose uuid is NULL."""
        if self.plan.key_kind != "uuid":
            return set()
        place = self.key_places[0]
        return {key for key, line in zip(keys, lines, strict=True) if line[place] is None}

    def odd_key(self, key: RowKey, values: Sequence[Any]) -> RowKey | None:
        """What the clock's index holds: nothing where the table's own uuid index finds the row
        by its key."""
        if not self.uuid_indexed:
            return key
        return None if is_canonical(values[self.key_places[0]], key) else key

    # Rows that the journal calls new

    @property
    def joins_journal(self) -> bool:
        """Whether the journal's key columns can be joined with the table in SQL."""
        return self.dialect.name == "sqlite" or (
            len(self._pk) == 1 and self.travelling_kind(self.plan.primary_key[0]) == "integer"
        )

    def travelling_kind(self, name: str) -> str:
        return self.plan.column(name).kind

    def fresh(self, tx: Transaction, first: int, last: int) -> list[tuple[Any, ...]]:
        """Rows that journal lines `first` to `last` call inserted: primary key columns, the key
        in their clock (None for a row that has none yet), time, drawn key, and the wire values
        of the key columns."""
        quote = self.dialect.quote
        keys, joins = [], []
        for place in self.key_places:
            column = self.travelling[place]
            expression = f"t.{quote(column.name)}"
            target = self.references.get(column.name)
            if target is None:
                keys.append(self.dialect.read_expression(column, expression))
                continue
            parent = self.schema.by_name[target]
            local = parent.local_key or parent.primary_key[0]
            joins.append(
                f" LEFT JOIN {clock_table(parent)} p{place} "
                f"ON p{place}.{quote(local)} = {expression}"
            )
            keys.append(self.dialect.reference(f"p{place}.syncnode_key", expression))
        on = " AND ".join(f"t.{name} = j.k{index + 1}" for index, name in enumerate(self._pk))
        key_list = "".join(f", {key}" for key in keys)
        return tx.rows(
            f"SELECT {self._pk_list('t')}, c.syncnode_key, j.ms, j.rk{key_list} "
            f"FROM syncnode_journal j JOIN {self.quoted} t ON {on} "
            f"LEFT JOIN {self.clock_name} c ON {self._on('c', 't')}{''.join(joins)} "
            f"WHERE j.id BETWEEN {self._mark} AND {self._mark} AND j.tbl={self.number}"
            f"{self._travels} ORDER BY j.id",
            (first, last),
        )

    # Finding rows by their keys

    def find(
        self, tx: Transaction, keys: Sequence[RowKey], *, odd: bool = True
    ) -> dict[RowKey, Key]:
        """Primary keys, in this database, of the rows with these keys; missing ones are absent."""
        found: dict[RowKey, Key] = {}
        if not keys:
            return found
        columns = self._pk_list("c")
        if self.uuid_indexed:
            assert self.uuid is not None, "an index is over a uuid"
            column, name = self.plan.column(self.uuid), f"t.{self.dialect.quote(self.uuid)}"
            binary = column.kind == "bytes"
            for part in _parts(keys, KEYS_PER_QUERY if binary else self.dialect.names_per_query):
                where = f"{name} IN ({', '.join([self._mark] * len(part))})"
                params: Sequence[object] = part
                if not binary:
                    where, params = self.dialect.among(column, name, list(map(uuid_text, part)))
                for row in tx.rows(
                    f"SELECT c.syncnode_key, {columns} FROM {self.quoted} t "
                    f"JOIN {self.clock_name} c ON {self._on('c', 't')} WHERE {where}",
                    params,
                ):
                    found[RowKey(bytes(row[0]))] = tuple(row[1:])
            if not odd:
                return found
        for part in _parts([key for key in keys if key not in found], KEYS_PER_QUERY):
            for row in tx.rows(
                f"SELECT c.syncnode_key, {columns} FROM {self.clock_name} c "
                f"WHERE c.syncnode_odd IN ({', '.join([self._mark] * len(part))})",
                part,
            ):
                found[RowKey(bytes(row[0]))] = tuple(row[1:])
        return found

    def has_odd(self, tx: Transaction) -> bool:
        return (
            tx.value(f"SELECT 1 FROM {self.clock_name} WHERE syncnode_odd IS NOT NULL LIMIT 1")
            is not None
        )

    # Writing clocks

    def insert_clocks(self, tx: Transaction, rows: Sequence[Sequence[Any]]) -> None:
        """Rows of: primary key columns, lsn, hlc, origin number, seq, key, odd key, cells."""
        columns = (*self._pk, *_CLOCK_COLUMNS)
        marks = [self._mark] * len(columns)
        self.dialect.insert_many(tx, self.clock_name, columns, marks, rows)

    def clocks_from_journal(
        self, tx: Transaction, lines: tuple[int, int], lsn: int, origin: int, seq: int
    ) -> list[RowKey] | None:
        """SQLite: clocks for the rows that these journal lines call inserted, in one statement.

        A line's row gets lsn `lsn` plus its distance from the first line. Returns the keys, or
        None if some uuid is not canonical: then the transaction must be rolled back.
        """
        assert self.uuid is not None, "only tables with a uuid"
        first, last = lines
        (pk,) = self._pk
        keyed: list[str] = tx.driver_connection.keyed
        keyed.clear()
        tx.execute(
            f"INSERT INTO {self.clock_name} ({pk}, syncnode_lsn, syncnode_hlc, syncnode_origin, "
            f"syncnode_seq, syncnode_key) SELECT t.{pk}, j.id - ? + ?, "
            f"max(j.ms << {COUNTER_BITS}, {BASELINE_HLC + 1}), ?, ?, "
            f"syncnode_key(t.{self.dialect.quote(self.uuid)}) "
            f"FROM syncnode_journal j JOIN {self.quoted} t ON t.{pk} = j.k1 "
            "WHERE j.id BETWEEN ? AND ? AND j.tbl=? ORDER BY j.id",
            (first, lsn, origin, seq, first, last, self.number),
        )
        return canonical_uuids(keyed)

    def greatest_hlc(self, tx: Transaction, upto: int) -> int:
        """The stamp of the latest row up to this lsn: journal times hardly ever go back."""
        found = tx.value(
            f"SELECT syncnode_hlc FROM {self.clock_name} WHERE syncnode_lsn<={self._mark} "
            "ORDER BY syncnode_lsn DESC LIMIT 1",
            (upto,),
        )
        return int(found or 0)

    def insert_new_clocks(
        self, tx: Transaction, rows: Sequence[tuple[Any, ...]], origin: int, seq: int
    ) -> None:
        """Clocks of plain new rows of one changeset: primary key, lsn, hlc, key."""
        m, (pk,) = self._mark, self._pk
        columns, marks = [pk, "syncnode_lsn", "syncnode_hlc", "syncnode_key"], [m, m, m, m]
        if self.dialect.name == "sqlite":
            marks += [str(origin), str(seq)]
        else:  # there what is not a mark would go the slow way
            marks += [m, m]
            rows = [(*row, origin, seq) for row in rows]
        columns += ["syncnode_origin", "syncnode_seq"]
        self.dialect.insert_many(tx, self.clock_name, columns, marks, rows)

    def update_clocks(self, tx: Transaction, rows: Sequence[Sequence[Any]]) -> None:
        """Rows of: lsn, hlc, origin number, seq, cells, primary key columns."""
        where = " AND ".join(f"{name}={self._mark}" for name in self._pk)
        m = self._mark
        tx.executemany(
            f"UPDATE {self.clock_name} SET syncnode_lsn={m}, syncnode_hlc={m}, "
            f"syncnode_origin={m}, syncnode_seq={m}, syncnode_cells={m} WHERE {where}",
            rows,
        )

    def move_clocks(self, tx: Transaction, origin: int, seq: int, pks: Sequence[Key]) -> None:
        """Give these rows another dot; the reading of their stamp stays, and so does their lsn."""
        width, columns = len(self._pk), ", ".join(self._pk)
        for part in _parts(pks, KEYS_PER_QUERY // width):
            tx.execute(
                f"UPDATE {self.clock_name} SET syncnode_origin={self._mark}, "
                f"syncnode_seq={self._mark} WHERE {self._in(columns, len(part), width)}",
                (origin, seq, *(value for pk in part for value in pk)),
            )

    def restamp_clocks(self, tx: Transaction, rows: Sequence[Sequence[Any]]) -> None:
        """Rows of: hlc, origin number, seq, primary key columns; their lsn stays."""
        where = " AND ".join(f"{name}={self._mark}" for name in self._pk)
        m = self._mark
        tx.executemany(
            f"UPDATE {self.clock_name} SET syncnode_hlc={m}, syncnode_origin={m}, "
            f"syncnode_seq={m} WHERE {where}",
            rows,
        )

    def delete_clocks(self, tx: Transaction, pks: Sequence[Key]) -> None:
        where = " AND ".join(f"{name}={self._mark}" for name in self._pk)
        tx.executemany(f"DELETE FROM {self.clock_name} WHERE {where}", pks)

    # Writing the application's rows

    def fitting(self, column: int, value: Any) -> Any:
        """The wire value as this column takes it.

        Raises:
            Unfit: The column cannot hold it exactly.
        """
        convert: Callable[[Any], Any] | None = self.from_wire[column]
        return value if convert is None or value is None else convert(value)

    def may_refer(self, name: str, target: str) -> bool:
        """Whether values of the column may be references to rows of `target`."""
        if self.references.get(name) == target:
            return True
        condition = self.conditional.get(name)
        return condition is not None and target in condition.targets

    def as_reference(self, name: str, number: Any) -> Any:
        """The local number of the row referred to as the column holds it."""
        return number if name in self.references else written(self.plan.column(name), number)

    def insert_sql(self, columns: Sequence[str]) -> str:
        names = [self.dialect.quote(name) for name in columns]
        return insert_sql(self.dialect, self.quoted, names, self._write_marks(columns))

    def insert(
        self, tx: Transaction, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert rows, all or none."""
        names = [self.dialect.quote(name) for name in columns]
        self.dialect.insert_many(tx, self.quoted, names, self._write_marks(columns), rows)

    def _write_marks(self, columns: Sequence[str]) -> list[str]:
        return [self._write_mark(name) for name in columns]

    def update_sql(self, columns: Sequence[str]) -> str:
        quote = self.dialect.quote
        sets = ", ".join(
            [f"{quote(name)}={self._write_mark(name)}" for name in columns]
            + [f"{quote(name)}={quote(name)}" for name in self._moments if name not in columns]
        )
        where = " AND ".join(f"{name}={self._mark}" for name in self._pk)
        return f"UPDATE {self.quoted} SET {sets} WHERE {where}"

    def _write_mark(self, name: str) -> str:
        return self.dialect.write_mark(self.plan, self.plan.column(name))

    def delete_sql(self) -> str:
        where = " AND ".join(f"{name}={self._mark}" for name in self._pk)
        return f"DELETE FROM {self.quoted} WHERE {where}"


def all_canonical(values: Sequence[Any], keys: Sequence[RowKey]) -> bool:
    """`is_canonical` for each pair, at once; False also where only some are."""
    if set(map(type, values)) - {str}:
        return all(is_canonical(value, key) for value, key in zip(values, keys, strict=True))
    return (
        len("".join(values)) == 36 * len(keys)
        and "".join(values).replace("-", "") == b"".join(keys).hex()
    )


def is_canonical(value: Any, key: RowKey) -> bool:
    """Whether a uuid column holds just what the row key says, so that it is found by its key.

    `key` was made of `value`, so a text of 36 characters is hexadecimal: only case can differ,
    unless it is no UUID at all.
    """
    if type(value) is str:
        return (
            len(value) == 36
            and value[8] == "-"
            and value == value.lower()
            and (value[:8] == key[:4].hex())
        )
    return bool(value == key)


def _is_key(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == 16


def _decimal_form(value: Value) -> Value:
    if not isinstance(value, str | int | float):
        return value
    try:
        exact = Decimal(value if isinstance(value, str) else repr(value))
    except InvalidOperation:
        return value
    return plain_text(exact) if exact.is_finite() else value


def _time_form(value: Value) -> Value:
    return value.rstrip("0").rstrip(".") if isinstance(value, str) and "." in value else value


_MOMENTS = ("timestamp", "datetime")
_FORMS = {"decimal": _decimal_form, "time": _time_form, "datetime": _time_form}


def dangling_key(table: str, local: object) -> RowKey:
    """The key of a row that is referred to and does not exist here: no row has it, so peers
    hold the reference back as one to a missing parent."""
    shown = local.decode("ascii", "replace") if isinstance(local, bytes) else str(local)
    return text_key(f"{table} (missing)", shown.removeprefix(LOCAL_NUMBER))


Cells = tuple[dict[str, Stamp], Delete | None, frozenset[str]]
"""Odd stamps, delete and absent columns, as in `Clock`."""
DecodeCells = Callable[[bytes, Callable[[int], Origin]], Cells]


class Origins:
    """Reads clocks: the origins behind their numbers, and each stamp made only once."""

    def __init__(
        self,
        origin_of: Callable[[int], Origin],
        decode_cells: DecodeCells,
    ) -> None:
        self.origin_of = origin_of
        self._decode = decode_cells
        self._stamps: dict[tuple[int, int, int], Stamp] = {}
        self._decoded: dict[bytes, Cells] = {}

    def stamp(self, hlc: int, number: int, seq: int) -> Stamp:
        name = (hlc, number, seq)
        found = self._stamps.get(name)
        if found is None:
            if len(self._stamps) > 100_000:
                self._stamps.clear()
            found = self._stamps[name] = Stamp(hlc, self.origin_of(number), seq)
        return found

    def clock(self, hlc: int, number: int, seq: int, key: bytes, cells: bytes | None) -> Clock:
        stamp = self.stamp(hlc, number, seq)
        if cells is None:
            return Clock(RowKey(bytes(key)), stamp)
        # Rows edited in one go hold the same few texts.
        found = self._decoded.get(cells)
        if found is None:
            if len(self._decoded) > 10_000:
                self._decoded.clear()
            found = self._decoded[cells] = self._decode(bytes(cells), self.origin_of)
        return Clock(RowKey(bytes(key)), stamp, *found)


def _fixed(
    row: Sequence[Any], fixes: Iterable[tuple[int, Callable[[Any], Any]]]
) -> tuple[Any, ...]:
    values = list(row)
    for at, convert in fixes:
        if values[at] is not None:
            values[at] = convert(values[at])
    return tuple(values)


def _parts(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


__all__ = ["Clock", "Key", "Origins", "StoredRow", "Table", "Unfit", "dangling_key"]
