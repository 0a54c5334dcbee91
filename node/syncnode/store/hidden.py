"""Replicated rows that the application's table does not show, or not as they are replicated.

One place for the deleted (their last image, so that a revival brings back the whole row), the
parked (rows that cannot be written here now), the rows of tables without a primary key (whose
copies in the table cannot be told apart, see `copies.py`), and cells stamped in the future. They
have lsn and dots as all others and are part of every delta. A deleted row that stays in its table
because a shown row refers to it is marked `held`; its state stays in table and clock. Of an
`altered` row the table shows something else than is replicated, a mark in a unique value for
example; the replicated state stands here (rule A6). A `merged` row is not shown, since another one
stands for it (`waits`).
A `kept` row is of a table that is not here (`keeping.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from syncnode.store.sidecar import Sidecar
from syncnode.store.table import KEYS_PER_QUERY
from syncproto.codec import decode_row, encode_row
from syncproto.identity import RowKey
from syncproto.row import Row

DEAD = "dead"
PARKED = "parked"
SHOWN = "shown"
HELD = "held"
ASIDE = "aside"
ALTERED = "altered"
MERGED = "merged"
KEPT = "kept"

UNKNOWN_COLUMN = "unknown column"
"""The reason of a row that has cells for which its table has no column here."""

STATE_HERE = frozenset({PARKED, ALTERED})
"""Rows that their table may show as something else than what is replicated."""


@dataclass(slots=True)
class HiddenRow:
    """A row that stands in `syncnode_row`.

    Attributes:
        place: DEAD, PARKED, SHOWN, HELD, ALTERED, MERGED or KEPT.
        row: Its replicated state; empty for HELD.
        reason, detail: Why it is parked, in a word and in a sentence.
        waits: Number of the table, and the key, of the row that it waits for.
        local: The local key under which the table showed the row last, if it has such a key.
    """

    place: str
    row: Row
    lsn: int = 0
    reason: str | None = None
    detail: str | None = None
    waits: tuple[int, RowKey | None] | None = None
    since_ms: int = 0
    local: int | None = None


class HiddenRows:
    """Reads and writes `syncnode_row` within one transaction."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._tx = sidecar.tx
        self._mark = sidecar.tx.mark
        self._some: dict[int, bool] = {}
        self._some_aside: dict[int, bool] = {}
        self._some_merged: dict[int, bool] = {}
        self._held: set[int] | None = None

    def some(self, table: int) -> bool:
        """Whether the table has any such row; asked once a transaction."""
        found = self._some.get(table)
        if found is None:
            found = (
                self._tx.value(
                    f"SELECT 1 FROM syncnode_row WHERE tbl={self._mark} AND aside=0 LIMIT 1",
                    (table,),
                )
                is not None
            )
            self._some[table] = found
        return found

    def get(self, table: int, keys: Sequence[RowKey]) -> dict[RowKey, HiddenRow]:
        found: dict[RowKey, HiddenRow] = {}
        if not keys or not self.some(table):
            return found
        for start in range(0, len(keys), KEYS_PER_QUERY):
            part = keys[start : start + KEYS_PER_QUERY]
            marks = ", ".join([self._mark] * len(part))
            for line in self._tx.rows(
                "SELECT row_key, place, lsn, state, reason, detail, waits_tbl, waits_key, "
                f"since_ms, local_key FROM syncnode_row WHERE tbl={self._mark} AND aside=0 "
                f"AND row_key IN ({marks})",
                [table, *part],
            ):
                found[RowKey(bytes(line[0]))] = self._hidden(line[1:])
        return found

    def put(self, table: int, key: RowKey, hidden: HiddenRow) -> None:
        """Write the row whole; `hidden.lsn` is given by the caller."""
        self._some[table] = True
        if hidden.place == MERGED:
            self._some_merged[table] = True
        self._remove(table, key, 0)
        state = encode_row(hidden.row, self._sidecar.number)
        self._insert(table, key, 0, hidden, state)

    def put_new(self, table: int, rows: Sequence[tuple[RowKey, HiddenRow]]) -> None:
        """Write rows of which nothing stands here yet, all at once."""
        if rows:
            self._some[table] = True
        self._tx.executemany(
            self._insert_sql,
            [
                self._line(table, key, 0, row, encode_row(row.row, self._sidecar.number))
                for key, row in rows
            ],
        )

    def remove(self, table: int, key: RowKey) -> None:
        self._remove(table, key, 0)

    def parked(
        self, *, limit: int, tables: Iterable[int] = (), reason: str | None = None
    ) -> list[tuple[int, RowKey]]:
        """Parked rows, oldest first; only of `tables`, only for `reason`, if these are given."""
        values: list[object] = list(tables)
        chosen = ""
        if values:
            chosen = f" AND tbl IN ({', '.join([self._mark] * len(values))})"
        if reason is not None:
            chosen += f" AND reason={self._mark}"
            values.append(reason)
        return [
            (table, RowKey(bytes(key)))
            for table, key in self._tx.rows(
                f"SELECT tbl, row_key FROM syncnode_row WHERE place='parked'{chosen} "
                f"ORDER BY lsn LIMIT {limit}",
                values,
            )
        ]

    def some_held(self, table: int) -> bool:
        """Whether any deleted row of the table is held, as far as was known when first asked."""
        if self._held is None:
            self._held = {number for number, _ in self.held()}
        return table in self._held

    def dead(self, table: int) -> Iterator[tuple[RowKey, Row]]:
        """The deleted rows of a table, with their last values."""
        for key, state in self._tx.rows(
            f"SELECT row_key, state FROM syncnode_row WHERE tbl={self._mark} AND place='dead'",
            (table,),
        ):
            yield RowKey(bytes(key)), decode_row(bytes(state), self._sidecar.origin_of)

    def waiting_in(self, tables: Iterable[int], *, limit: int) -> list[tuple[int, RowKey]]:
        """Parked rows that wait for a deleted row of these tables which could not be shown."""
        numbers = list(tables)
        return [
            (table, RowKey(bytes(key)))
            for table, key in self._tx.rows(
                "SELECT r.tbl, r.row_key FROM syncnode_row r WHERE r.place='parked' "
                f"AND r.waits_tbl IN ({', '.join([self._mark] * len(numbers))}) AND EXISTS "
                "(SELECT 1 FROM syncnode_row p WHERE p.tbl=r.waits_tbl AND p.place='dead' "
                "AND (r.waits_key IS NULL OR p.row_key=r.waits_key)) "
                f"ORDER BY r.lsn LIMIT {limit}",
                numbers,
            )
        ]

    def waiting(self, *, limit: int) -> dict[tuple[int, RowKey], HiddenRow]:
        """Rows parked for want of a parent that may be parked itself, oldest first."""
        return {
            (line[0], RowKey(bytes(line[1]))): self._hidden(line[2:])
            for line in self._tx.rows(
                "SELECT r.tbl, r.row_key, r.place, r.lsn, r.state, r.reason, r.detail, "
                "r.waits_tbl, r.waits_key, r.since_ms, r.local_key FROM syncnode_row r "
                "WHERE r.place='parked' AND r.reason='missing parent' AND EXISTS "
                "(SELECT 1 FROM syncnode_row p WHERE p.place='parked' AND p.tbl=r.waits_tbl "
                f"AND (r.waits_key IS NULL OR p.row_key=r.waits_key)) ORDER BY r.lsn LIMIT {limit}"
            )
        }

    def contested(self, table: int, *, limit: int) -> list[RowKey]:
        """Rows of a table whose unique values are, or were, another row's too, oldest first."""
        return [
            RowKey(bytes(key))
            for (key,) in self._tx.rows(
                f"SELECT row_key FROM syncnode_row WHERE tbl={self._mark} AND aside=0 AND "
                "(place='merged' OR (place='altered' AND reason IN ('unique clash', 'held')) "
                f"OR (place='parked' AND reason='unique clash')) ORDER BY lsn LIMIT {limit}",
                (table,),
            )
        ]

    def in_place(self, table: int, place: str) -> list[RowKey]:
        """Keys of a table's rows in one place."""
        return [
            RowKey(bytes(key))
            for (key,) in self._tx.rows(
                f"SELECT row_key FROM syncnode_row WHERE tbl={self._mark} AND place={self._mark} "
                "ORDER BY lsn",
                (table, place),
            )
        ]

    def some_merged(self, table: int) -> bool:
        """Whether another row stands for some row of the table."""
        found = self._some_merged.get(table)
        if found is None:
            found = self._some_merged[table] = (
                self._tx.value(
                    f"SELECT 1 FROM syncnode_row WHERE tbl={self._mark} AND place='merged' LIMIT 1",
                    (table,),
                )
                is not None
            )
        return found

    def stand_in(self, table: int, key: RowKey) -> RowKey:
        """The row that stands for this one, also by way of others: itself if none does."""
        seen = {key}
        while (hidden := self.get(table, [key]).get(key)) is not None:
            if hidden.place != MERGED or hidden.waits is None or hidden.waits[1] is None:
                break
            key = hidden.waits[1]
            if key in seen:
                break
            seen.add(key)
        return key

    def waiting_for_merged(self, *, limit: int) -> list[tuple[int, RowKey]]:
        """Parked rows that wait for a row for which another one stands."""
        return [
            (table, RowKey(bytes(key)))
            for table, key in self._tx.rows(
                "SELECT r.tbl, r.row_key FROM syncnode_row r JOIN syncnode_row p "
                "ON p.tbl=r.waits_tbl AND p.row_key=r.waits_key AND p.place='merged' "
                f"WHERE r.place='parked' AND r.aside=0 ORDER BY r.lsn LIMIT {limit}"
            )
        ]

    def orphaned(self, table: int, *, limit: int) -> dict[RowKey, HiddenRow]:
        """Rows of a table that are parked for want of a parent."""
        return {
            RowKey(bytes(line[0])): self._hidden(line[1:])
            for line in self._tx.rows(
                "SELECT row_key, place, lsn, state, reason, detail, waits_tbl, waits_key, "
                f"since_ms, local_key FROM syncnode_row WHERE tbl={self._mark} AND place='parked' "
                f"AND reason='missing parent' ORDER BY lsn LIMIT {limit}",
                (table,),
            )
        }

    def waiting_for(self, table: int, keys: Sequence[RowKey]) -> list[tuple[int, RowKey]]:
        """Parked rows that wait for one of these rows, or for any row of the table."""
        found = []
        for start in range(0, max(len(keys), 1), KEYS_PER_QUERY):
            part = keys[start : start + KEYS_PER_QUERY]
            marks = ", ".join([self._mark] * len(part))
            named = f"waits_key IN ({marks}) OR " if part else ""
            found += [
                (number, RowKey(bytes(key)))
                for number, key in self._tx.rows(
                    f"SELECT tbl, row_key FROM syncnode_row WHERE waits_tbl={self._mark} "
                    f"AND ({named}waits_key IS NULL)",
                    [table, *part],
                )
            ]
        return found

    def waits_for_any(self) -> set[int]:
        """Numbers of the tables that some parked row waits for."""
        return {
            number
            for (number,) in self._tx.rows(
                "SELECT DISTINCT waits_tbl FROM syncnode_row WHERE waits_tbl IS NOT NULL"
            )
        }

    def held(self) -> list[tuple[int, RowKey]]:
        """Deleted rows that stand in their tables since others refer to them."""
        return [
            (table, RowKey(bytes(key)))
            for table, key in self._tx.rows(
                "SELECT tbl, row_key FROM syncnode_row WHERE (place='held' AND reason IS NULL) "
                "OR (place='altered' AND reason='held') ORDER BY tbl, row_key"
            )
        ]

    # Cells stamped in the future

    def some_aside(self, table: int) -> bool:
        """Whether any row of the table has cells aside; asked once a transaction."""
        found = self._some_aside.get(table)
        if found is None:
            found = (
                self._tx.value(
                    f"SELECT 1 FROM syncnode_row WHERE tbl={self._mark} AND aside>0 LIMIT 1",
                    (table,),
                )
                is not None
            )
            self._some_aside[table] = found
        return found

    def put_aside(self, table: int, key: RowKey, row: Row, lsn: int, due_ms: int) -> None:
        """Keep a part of a row beside what stands; several parts are kept one after another."""
        state = encode_row(row, self._sidecar.number)
        slot = self._tx.value(
            f"SELECT max(aside) FROM syncnode_row WHERE tbl={self._mark} AND row_key={self._mark}",
            (table, key),
        )
        hidden = HiddenRow(ASIDE, row, lsn, "future", None, None, due_ms)
        self._some_aside[table] = True
        self._insert(table, key, (slot or 0) + 1, hidden, state)

    def asides(self, table: int, key: RowKey) -> list[Row]:
        return [
            decode_row(bytes(state), self._sidecar.origin_of)
            for (state,) in self._tx.rows(
                f"SELECT state FROM syncnode_row WHERE tbl={self._mark} AND row_key={self._mark} "
                "AND aside>0",
                (table, key),
            )
        ]

    def take_due(self, now_ms: int) -> list[tuple[int, RowKey, Row]]:
        """Parts whose time has come; they are removed here and to be merged by the caller."""
        lines = self._tx.rows(
            "SELECT tbl, row_key, aside, state FROM syncnode_row "
            f"WHERE place='aside' AND since_ms<={self._mark} ORDER BY lsn",
            (now_ms,),
        )
        for table, key, slot, _ in lines:
            self._remove(table, RowKey(bytes(key)), slot)
        return [
            (table, RowKey(bytes(key)), decode_row(bytes(state), self._sidecar.origin_of))
            for table, key, _, state in lines
        ]

    # For deltas

    def changed(self, first: int, upto: int) -> Iterator[tuple[int, int, RowKey, Row]]:
        """(lsn, table, key, row) of rows and parts with an lsn in [first, upto]."""
        for lsn, table, key, state in self._tx.rows(
            "SELECT lsn, tbl, row_key, state FROM syncnode_row "
            f"WHERE lsn BETWEEN {self._mark} AND {self._mark} AND place<>'held' ORDER BY lsn",
            (first, upto),
        ):
            yield lsn, table, RowKey(bytes(key)), decode_row(bytes(state), self._sidecar.origin_of)

    # Inside

    def _hidden(self, line: Sequence[object]) -> HiddenRow:
        place, lsn, state, reason, detail, waits_table, waits_key, since, local = line
        row = Row()
        if place != HELD:
            assert isinstance(state, bytes | bytearray | memoryview), "a state is bytes"
            row = decode_row(bytes(state), self._sidecar.origin_of)
        waits = None
        if isinstance(waits_table, int):
            key = bytes(waits_key) if isinstance(waits_key, bytes | bytearray) else None
            waits = (waits_table, RowKey(key) if key is not None else None)
        return HiddenRow(
            str(place),
            row,
            int(str(lsn)),
            str(reason) if reason is not None else None,
            str(detail) if detail is not None else None,
            waits,
            int(str(since)),
            local if isinstance(local, int) else None,
        )

    def _insert(self, table: int, key: RowKey, slot: int, hidden: HiddenRow, state: bytes) -> None:
        self._tx.execute(self._insert_sql, self._line(table, key, slot, hidden, state))

    @property
    def _insert_sql(self) -> str:
        return (
            "INSERT INTO syncnode_row (tbl, row_key, aside, place, lsn, state, reason, detail, "
            f"waits_tbl, waits_key, since_ms, local_key) VALUES ({', '.join([self._mark] * 12)})"
        )

    def _line(
        self, table: int, key: RowKey, slot: int, hidden: HiddenRow, state: bytes
    ) -> tuple[object, ...]:
        waits_table, waits_key = hidden.waits or (None, None)
        return (
            table,
            key,
            slot,
            hidden.place,
            hidden.lsn,
            state,
            hidden.reason,
            hidden.detail,
            waits_table,
            waits_key,
            hidden.since_ms,
            hidden.local,
        )

    def _remove(self, table: int, key: RowKey, slot: int) -> None:
        self._tx.execute(
            f"DELETE FROM syncnode_row WHERE tbl={self._mark} AND row_key={self._mark} "
            f"AND aside={self._mark}",
            (table, key, slot),
        )
