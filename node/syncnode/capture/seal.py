"""The seal: the committed journal becomes one changeset of whole transactions.

Journal lines are hints. What happened to a row is read off by comparing the row as it stands,
its clock, and the last image that a trigger kept. Lines of one changeset share its dot; each
row's stamp is the time of its last line, raised above every stamp that the row carried (rule
A10), so who writes over a value that he saw wins over it.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

from syncnode.capture import FORMER, USERS_IN_JOURNAL, parse_key
from syncnode.capture.baseline import PlainRows, Step
from syncnode.capture.dropped import all_seen
from syncnode.capture.modified import Stamper, stamper
from syncnode.capture.undoing import Undoing, undo_copies
from syncnode.store.conditional import decided_by, referring
from syncnode.store.copies import altered_by_name
from syncnode.store.hidden import (
    ALTERED,
    DEAD,
    HELD,
    SHOWN,
    STATE_HERE,
    UNKNOWN_COLUMN,
    HiddenRow,
    HiddenRows,
)
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import Clock, Key, Origins, StoredRow, Table
from syncproto.clock import BASELINE_HLC, stamped_after
from syncproto.codec import encode_cells
from syncproto.delta import RecordedConflict
from syncproto.errors import StoreError
from syncproto.frontier import Entry
from syncproto.identity import Dot, RowKey
from syncproto.keys import canonical_uuids, copy_key
from syncproto.merge import lost, merged, same_value
from syncproto.row import EMPTY, Cell, Row, Stamp, Value, deletion, written
from syncproto.sums import key_hash, row_sum, same_stamp_sum, stamp_hash, sum_of

LINES_PER_STEP = 20_000  # journal lines held in memory at once
BULK_LINES_MIN = 2_000  # from here on the summary of a journal costs less than its lines
MASK_BITS = 62  # columns in one mask of the journal; see `capture`
BASELINE_ROWS = 5_000  # rows read at once when `init` seals what it finds


class NotPlain(Exception):
    """What looked like plain new rows was not: roll back, and look at each row."""


@dataclass(slots=True)
class Touched:
    """What the journal says of one primary key."""

    ms: int = 0
    columns: int = 0  # a bit for each changed column, over all masks
    inserted: bool = False
    image: int | None = None  # the first line that kept an image
    drawn: bytes | None = None


@dataclass(slots=True)
class _Step:
    """What one step of a seal knows across tables.

    Attributes:
        touched: What happened, by table and primary key.
        before: The last state of the rows that went.
        copies: Lines of tables without a primary key.
        left: By journal line the primary key that was given up.
    """

    touched: dict[int, dict[Key, Touched]] = field(default_factory=dict)
    before: dict[tuple[int, RowKey], Row] = field(default_factory=dict)
    copies: dict[int, list[tuple[int, str, int]]] = field(default_factory=dict)
    left: dict[int, Key] = field(default_factory=dict)


@dataclass(slots=True)
class _Copies:
    """Equal rows of a table without a primary key, by their ordinals.

    Attributes:
        shown: Those that stand in the table.
        altered: Rows of another content that are shown as these, since rows that they refer to
            were merged.
        free: Those that were deleted, with their states.
        count: How many ordinals were ever given; those that are parked, or shown as something
            else, are in none of the others.
    """

    shown: list[int] = field(default_factory=list)
    altered: list[RowKey] = field(default_factory=list)
    free: dict[int, Row] = field(default_factory=dict)
    count: int = 0


class Sealer:
    """Seals within one transaction.

    Args:
        sidecar: The sidecar, loaded in this transaction.
        hidden: The hidden rows of this transaction.
        tables: Every replicated table by number.
        wall_ms: Now.
        nonce: What this changeset's nonce would be, 32 random bits.
        bulk: Take large plain loads by the fast way, which may raise `NotPlain`.
    """

    def __init__(
        self,
        sidecar: Sidecar,
        hidden: HiddenRows,
        tables: Mapping[int, Table],
        origins: Origins,
        *,
        wall_ms: int,
        nonce: int,
        bulk: bool = False,
    ) -> None:
        self._bulk = bulk
        self._sidecar = sidecar
        self._hidden = hidden
        self._tables = tables
        self._order = [
            table.number for plan in sidecar.plan.tables for table in [tables[plan.number]]
        ]
        self._origins = origins
        self._tx = sidecar.tx
        self._wall_ms = wall_ms
        self._nonce = nonce
        self._masks = int(sidecar.settings["masks"])
        self._widest = int(sidecar.settings["widest_key"])
        self.sealed_keys: dict[int, list[RowKey]] = {}
        self._edits: dict[tuple[tuple[str, ...], int], bytes] = {}
        self.removed = False
        self._carried: dict[int, dict[Key, Touched]] = {}  # rows that a later step says are gone
        self._undone: dict[int, set[Key]] = {}  # their first image is what counts, of all steps
        # Clocks without rows that name these in images of later steps, too, until all are sealed.
        self.vacant: list[tuple[Table, Key]] = []
        self._images: dict[tuple[int, int], tuple[Any, ...]] = {}

    def seal(self, *, single_read: bool = False) -> bool:
        """Seal all that is committed; False if the journal was empty.

        `single_read`: the transaction does not see one snapshot, so the journal must be read
        in one statement or transactions would be sealed by half (rule A5).

        Raises:
            StoreError: With `single_read`, a journal longer than one step: transient; seal it
                in a snapshot of its own first.
        """
        last, any_line = 0, self._seal_bulk()
        while True:
            lines = self._lines(last)
            if not lines:
                break
            if single_read and len(lines) >= LINES_PER_STEP:
                raise StoreError("the journal is long and is sealed first", transient=True)
            any_line = True
            self._sidecar.open_changeset(self._nonce)
            self._step(lines, single_read=single_read)
            last = lines[-1][0]
            if single_read:
                break
        for table, pk in self.vacant:
            table.delete_clocks(self._tx, [pk])
        self.vacant.clear()
        if any_line:
            self._record_against_asides()
            self._sidecar.close_changeset(self._wall_ms)
        return any_line

    def _record_against_asides(self) -> None:
        """What was written here and will give way to a value kept aside, or the other way
        round, goes on record now: nobody may be there to do it when its time comes."""
        dot = self._dot
        found: list[RecordedConflict] = []
        for number, keys in self.sealed_keys.items():
            if not self._hidden.some_aside(number):
                continue
            table = self._tables[number]
            for key in dict.fromkeys(keys):
                asides = self._hidden.asides(number, key)
                row = self._state(table, key) if asides else EMPTY
                part = Row(
                    {n: c for n, c in row.cells.items() if c.stamp.dot == dot},
                    row.delete if row.delete and row.delete.stamp.dot == dot else None,
                )
                for kept in asides:
                    stamp = Stamp(max(part.hlc, 1), dot.origin, dot.seq)
                    found += [
                        RecordedConflict(conflict, stamp)
                        for conflict in lost(
                            table.name, key, kept, part, we_saw=_nothing, they_saw=_nothing
                        )
                    ]
        self._sidecar.put_conflicts(found)

    def _state(self, table: Table, key: RowKey) -> Row:
        hidden = self._hidden.get(table.number, [key]).get(key)
        if hidden is not None and hidden.place != HELD:
            return hidden.row
        pk = table.find(self._tx, [key]).get(key)
        for stored in table.by_pk(self._tx, [pk] if pk is not None else [], self._origins):
            return table.row_of(stored)
        return EMPTY

    def seal_baseline(
        self, numbers: Collection[int] | None = None, *, between: Callable[[], None] = lambda: None
    ) -> int:
        """Give clocks to the rows that stood here before, of all tables or of these; a changeset
        of their own (design 5a.1).

        The application may write meanwhile, also where `between` two steps the transaction is
        committed and another one begun: what the triggers have seen of a row is sealed after
        this, and changes nothing where the row got its clock from here.

        Their stamp is the time at which the application says that it last changed them, never a
        later one than now; without such a time it is below every real one. Any later write wins
        over them.
        """
        self._sidecar.open_changeset(self._nonce)
        dot = self._dot
        stamp = Stamp(BASELINE_HLC, dot.origin, dot.seq)
        count = 0
        for number in self._order:
            if numbers is not None and number not in numbers:
                continue
            table = self._tables[number]
            if table.plan.key_kind == "none":
                count += self._baseline_copies(table, stamp)
                continue
            last: Key | None = None
            stamped = stamper(table.plan, table.columns, now_ms=self._wall_ms)
            plain = PlainRows(table, now_ms=self._wall_ms)
            while True:
                step = plain.seal(self._tx, self._sidecar, dot, last, BASELINE_ROWS)
                if step is None:
                    step = self._baseline_rows(table, last, stamp, stamped)
                if step.last == last:
                    break
                count, last = count + step.rows, step.last
                between()
        if count:
            self._sidecar.close_changeset(self._wall_ms)
        else:
            self._sidecar.changeset = None
        return count

    def _baseline_rows(
        self, table: Table, after: Key | None, stamp: Stamp, stamped: Stamper | None
    ) -> Step:
        """The next rows, each by itself."""
        rows = table.after_pk(self._tx, after, BASELINE_ROWS)
        last = rows[-1].pk if rows else after
        if table.plan.key_kind == "random":
            # Those that were given a name when they were written are sealed under that one.
            sql = f"SELECT k1 FROM syncnode_journal WHERE tbl={self._tx.mark} AND op='I'"
            drawn = set(self._tx.rows(sql, (table.number,)))
            rows = [row for row in rows if row.pk not in drawn]
        stamps: Iterable[Stamp] = repeat(stamp)
        if stamped is not None:
            stamps = [Stamp(stamped(row.values), stamp.origin, stamp.seq) for row in rows]
        keys = self._named(table, [(row, None) for row in rows])
        self._insert_clocks(table, list(zip(rows, keys, stamps, strict=False)))
        return Step(len(rows), last)

    def seal_rows(self, touched: dict[int, dict[Key, Touched]]) -> None:
        """Seal rows that stand here and have no clock, by table's number and primary key, under
        the changeset that is open: no line of the journal names them."""
        step = _Step(touched=touched)
        self._images = {}
        while step.touched:
            for number in self._order:
                if rows := step.touched.pop(number, {}):
                    self._seal_table(self._tables[number], rows, step)

    # Reading the journal

    @property
    def _dot(self) -> Dot:
        assert self._sidecar.changeset is not None, "a changeset is open"
        return self._sidecar.changeset

    def _lines(self, last: int) -> list[tuple[Any, ...]]:
        """The lines of the next step; a row that moved to another number is not cut in two."""
        lines = self._some_lines(last, LINES_PER_STEP)
        if len(lines) == LINES_PER_STEP and lines[-1][2] == "D":
            after = self._some_lines(lines[-1][0], 1)
            lines += [line for line in after if line[2] == "I" and line[5] == lines[-1][0]]
        return lines

    def _some_lines(self, last: int, limit: int) -> list[tuple[Any, ...]]:
        masks = ", ".join(f"mask{index}" for index in range(self._masks))
        if self._tx.dialect.name == "sqlite":
            keys = ", ".join(f"k{index + 1}" for index in range(self._widest))
        else:
            keys = "k1, kx"
        if self._tx.dialect.name in USERS_IN_JOURNAL:
            keys += ", usr"
        return self._tx.rows(
            f"SELECT id, tbl, op, ms, rk, {masks}, {keys} FROM syncnode_journal "
            f"WHERE id>{self._tx.mark} ORDER BY id LIMIT {limit}",
            (last,),
        )

    def _key(self, table: Table, fields: Sequence[Any]) -> Key:
        if self._tx.dialect.name == "sqlite":
            return tuple(fields[: len(table.plan.primary_key)])
        if fields[0] is not None:
            return (fields[0],)
        return parse_key(table.plan, fields[1], self._tx.dialect.name)

    def _step(self, lines: list[tuple[Any, ...]], *, single_read: bool = False) -> None:
        step, self._carried = _Step(touched=self._carried), {}
        if self._tx.dialect.name in USERS_IN_JOURNAL:
            self._sidecar.users.update(line[-1] for line in lines if line[-1] is not None)
        # Reading the journal again shows the same lines only within one snapshot (rule A5).
        plain = set() if single_read else self._plain_inserts(lines)
        for line in lines:
            if line[1] in plain:
                continue
            identifier, number, op, ms, drawn = line[:5]
            table = self._tables.get(number)
            if table is None:
                continue
            if table.plan.key_kind == "none":
                step.copies.setdefault(number, []).append((identifier, op, ms))
                continue
            key = self._key(table, line[5 + self._masks :])
            rows = step.touched.setdefault(number, {})
            touched = rows.get(key)
            if touched is None:
                touched = rows[key] = Touched()
            touched.ms = max(touched.ms, ms)
            if op == FORMER:
                if touched.image is None and table.plan.received_only:
                    touched.image = identifier
            elif op == "D":
                step.left[identifier] = key
                if touched.image is None:
                    touched.image = identifier
            elif op == "I":
                touched.inserted = True
                touched.drawn = drawn if drawn is not None else touched.drawn
                left = step.left.get(line[5])
                if left is not None and table.plan.key_kind == "random":
                    touched.drawn = self._name_at(table, left, rows) or touched.drawn
            else:
                for index in range(self._masks):
                    mask = line[5 + index]
                    if mask:
                        touched.columns |= mask << (MASK_BITS * index)
        # While the clocks still name the rows to which the rows that went referred.
        self._images = {
            (number, line): image
            for number, rows in step.touched.items()
            for line, image in self._tables[number]
            .images(self._tx, [one.image for one in rows.values() if one.image is not None])
            .items()
        }
        images = {
            number: self._tables[number].images(
                self._tx, [identifier for identifier, _, _ in copies], resolved=True
            )
            for number, copies in step.copies.items()
        }
        self._undo(step)
        self._remove_gone(step)
        rounds = 0
        while plain or step.touched:
            rounds += 1
            assert rounds <= len(self._order) + 2, "re-pointed references come to rest"
            for number in self._order:
                if number in plain:
                    plain.discard(number)
                    self._seal_plain(self._tables[number], lines, step)
                rows = step.touched.pop(number, {})
                if rows:
                    self._seal_table(self._tables[number], rows, step)
        for number, copies in step.copies.items():
            self._seal_copies(self._tables[number], copies, images[number])
        self._delete_lines([line[0] for line in lines])

    def _undo(self, step: _Step) -> None:
        """What was written to tables that are only received here is no change."""
        for number in self._order:
            table = self._tables[number]
            if not table.plan.received_only:
                continue
            if rows := step.touched.pop(number, {}):
                seen = self._undone.setdefault(number, set())
                undoing = Undoing(self, table, self._images_of(number))
                undoing.undo({pk: one for pk, one in rows.items() if pk not in seen})
                seen |= rows.keys() - undoing.left.keys()
                if undoing.left:
                    step.touched[number] = undoing.left
            if lines := step.copies.pop(number, ()):
                undo_copies(self, table, [line for line, _, _ in lines])

    def _images_of(self, number: int) -> dict[int, tuple[Any, ...]]:
        return {line: image for (one, line), image in self._images.items() if one == number}

    def _seal_bulk(self) -> bool:
        """Large loads into SQLite: a journal of nothing but plain inserts is never fetched."""
        if self._tx.dialect.name != "sqlite":
            return False
        spans = self._tx.rows(
            "SELECT tbl, min(op), max(op), min(id), max(id), count(*) FROM syncnode_journal "
            "GROUP BY tbl ORDER BY tbl"
        )
        if sum(span[5] for span in spans) < BULK_LINES_MIN:
            return False
        by_number = {span[0]: span for span in spans}
        if any(span[1] != "I" or span[2] != "I" for span in spans) or any(
            number not in self._tables
            or not self._tables[number].uuid_indexed
            or self._tables[number].plan.received_only
            or self._hidden.some(number)
            for number in by_number
        ):
            return False
        if not self._bulk or any(self._tables[n].has_odd(self._tx) for n in by_number):
            return False
        dot = self._sidecar.open_changeset(self._nonce)
        try:
            for number in self._order:
                if number in by_number:
                    first, last = by_number[number][3:5]
                    self._seal_bulk_of(self._tables[number], first, last, dot)
        except self._tx.dialect.errors as error:
            raise NotPlain from error
        return True

    def _seal_bulk_of(self, table: Table, first: int, last: int, dot: Dot) -> None:
        sidecar = self._sidecar
        number = sidecar.number(dot.origin)
        for start in range(first, last + 1, LINES_PER_STEP):
            end = min(start + LINES_PER_STEP - 1, last)
            lsn = sidecar.reserve_lsns(table.name, end - start + 1)
            keys = table.clocks_from_journal(self._tx, (start, end), lsn, number, dot.seq)
            if keys is None:
                raise NotPlain
            sidecar.add_sum(table.name, same_stamp_sum(keys, Stamp(0, dot.origin, dot.seq)))
            self.sealed_keys.setdefault(table.number, []).extend(keys)
            # At once, so that the clocks of the next step take the pages of these lines.
            self._tx.execute(
                "DELETE FROM syncnode_journal WHERE id BETWEEN ? AND ? AND tbl=?",
                (start, end, table.number),
            )
        sidecar.hlc = max(sidecar.hlc, table.greatest_hlc(self._tx, sidecar.lsn))

    def _plain_inserts(self, lines: list[tuple[Any, ...]]) -> set[int]:
        """Tables into which rows were only inserted: the common bulk, read in one statement."""
        others = {line[1] for line in lines if line[2] != "I"}
        return {
            number
            for number in {line[1] for line in lines} - others
            if number in self._tables
            and self._tables[number].plan.key_kind != "none"
            and self._tables[number].joins_journal
            and not self._tables[number].plan.received_only
            and not self._hidden.some(number)
        }

    def _seal_plain(self, table: Table, lines: list[tuple[Any, ...]], step: _Step) -> None:
        width = len(table.plan.primary_key)
        rows = table.fresh(self._tx, lines[0][0], lines[-1][0])
        names = [row[width + 3] for row in rows] if table.uuid_indexed else []
        keys = None
        if names and not set(map(type, names)) - {str}:
            keys = canonical_uuids(names)
        if (
            keys is None
            or len(set(keys)) != len(keys)
            or any(row[width] is not None for row in rows)
            or table.has_odd(self._tx)
        ):
            # Something is not as usual: row by row, with all that may have happened to them.
            touched = step.touched.setdefault(table.number, {})
            for row in rows:
                touched[tuple(row[:width])] = Touched(
                    ms=row[width + 1], inserted=True, drawn=row[width + 2]
                )
            return
        sidecar, dot = self._sidecar, self._dot
        number, first = sidecar.number(dot.origin), sidecar.reserve_lsns(table.name, len(rows))
        readings = {ms: stamped_after(0, wall_ms=ms) for ms in {row[width + 1] for row in rows}}
        seq = dot.seq
        if width == 1:
            clocks = [
                (row[0], lsn, readings[row[2]], number, seq, key, None, None)
                for lsn, (row, key) in enumerate(zip(rows, keys, strict=True), start=first)
            ]
        else:
            clocks = [
                (*row[:width], lsn, readings[row[width + 1]], number, seq, key, None, None)
                for lsn, (row, key) in enumerate(zip(rows, keys, strict=True), start=first)
            ]
        table.insert_clocks(self._tx, clocks)
        sidecar.add_sum(table.name, same_stamp_sum(keys, Stamp(0, dot.origin, seq)))
        sidecar.hlc = max(sidecar.hlc, *readings.values())
        self.sealed_keys.setdefault(table.number, []).extend(keys)

    def _name_at(self, table: Table, key: Key, rows: Mapping[Key, Touched]) -> bytes | None:
        """The row key of the row that moved away from this primary key: only its number changed."""
        touched = rows.get(key)
        if touched is not None and touched.inserted:
            return touched.drawn
        clock = self._clocks(table, [key]).get(key)
        return clock.key if clock is not None else None

    def _delete_lines(self, identifiers: list[int]) -> None:
        """Exactly the lines that were read, never "all up to" (rule A5)."""
        mark = self._tx.mark
        names = ["syncnode_journal"]
        columns = {"syncnode_journal": "id"}
        for number in self._tables:
            name = f"syncnode_trash_{number}"
            names.append(name)
            columns[name] = "syncnode_journal_id"
        first, last = identifiers[0], identifiers[-1]
        dense = last - first + 1 == len(identifiers)
        for name in names:
            if name != "syncnode_journal" and not self._has_images(name):
                continue
            if dense and self._tx.dialect.name == "sqlite":
                self._tx.execute(
                    f"DELETE FROM {name} WHERE {columns[name]} BETWEEN {mark} AND {mark}",
                    (first, last),
                )
                continue
            for start in range(0, len(identifiers), 1_000):
                part = identifiers[start : start + 1_000]
                self._tx.execute(
                    f"DELETE FROM {name} WHERE {columns[name]} IN "
                    f"({', '.join([mark] * len(part))})",
                    part,
                )

    def _has_images(self, name: str) -> bool:
        return self._tx.value(f"SELECT 1 FROM {name} LIMIT 1") is not None

    # Rows that are gone

    def _remove_gone(self, step: _Step) -> None:
        """First all rows that are gone, while the clocks of their parents still name them."""
        gone: list[tuple[Table, Key, Clock, tuple[Row, Row], Touched]] = []
        for number, rows in step.touched.items():
            table = self._tables[number]
            asked = [key for key, touched in rows.items() if touched.image is not None]
            if not asked:
                continue
            present = {stored.pk for stored in table.by_pk(self._tx, asked, self._origins)}
            missing = [key for key in asked if key not in present]
            clocks = self._clocks(table, missing)
            for key, clock in clocks.items():
                touched = rows[key]
                assert touched.image is not None, "it was asked for"
                image = self._images[number, touched.image]
                rows_of = self._last(table, clock, image, touched)
                gone.append((table, key, clock, rows_of, touched))
            for key in missing:
                del rows[key]
        for table, key, clock, rows_of, touched in gone:
            self._put_dead(table, clock.key, key, rows_of, touched.ms, step)
            table.delete_clocks(self._tx, [key])

    def _clocks(self, table: Table, keys: list[Key]) -> dict[Key, Clock]:
        found = {}
        quoted = [table.dialect.quote(name) for name in table.plan.primary_key]
        where = " AND ".join(f"c.{name}={self._tx.mark}" for name in quoted)
        for key in keys:
            line = self._tx.row(
                f"SELECT {table.clock_sql} FROM {table.clock_name} c WHERE {where}", key
            )
            if line is not None:
                found[key] = self._origins.clock(*line[1:])
        return found

    def _last(
        self, table: Table, clock: Clock, image: Sequence[Any], touched: Touched
    ) -> tuple[Row, Row]:
        """The row as it was sealed last and as it last stood; what is replicated of it counts,
        not what the table showed.

        What was changed shortly before the row went is no value of an older dot.
        """
        stored = StoredRow((), clock, tuple(image))
        shown, row = table.shown(stored), table.row_of(stored)
        parked = self._hidden.get(table.number, [clock.key]).get(clock.key)
        if parked is not None and parked.place in STATE_HERE:
            row = parked.row
        dot = self._dot
        stamp = Stamp(stamped_after(row.hlc, wall_ms=touched.ms), dot.origin, dot.seq)
        changed = {name: Cell(stamp, shown[name]) for name in self._marked(table, touched)}
        return row, merged(row, Row(changed)) if changed else row

    def _marked(self, table: Table, touched: Touched) -> set[str]:
        """The columns whose bits are set, and those whose values mean something else by them."""
        found = {
            column.name
            for index, column in enumerate(table.plan.columns)
            if touched.columns >> index & 1 and column.name in table.place
        }
        for name, condition in table.conditional.items():
            deciding = condition.column if condition.by is None else condition.by
            if deciding in found:
                found.add(name)
        return found

    def _put_dead(
        self, table: Table, key: RowKey, pk: Key, rows: tuple[Row, Row], ms: int, step: _Step
    ) -> None:
        old, row = rows
        step.before[table.number, key] = row
        dot = self._dot
        stamp = Stamp(stamped_after(row.hlc, wall_ms=ms), dot.origin, dot.seq)
        dead = deletion(row, stamp, wins=table.deletes_win)
        dead = all_seen(self._sidecar, self._hidden, table, key, dead)
        self.removed = True
        self.put_hidden(table, key, HiddenRow(DEAD, dead, local=table.local_of(pk)), old)

    def put_hidden(self, table: Table, key: RowKey, hidden: HiddenRow, old: Row) -> None:
        hidden.lsn = self._sidecar.next_lsn(table.name)
        hidden.since_ms = self._wall_ms
        self._sidecar.hlc = max(self._sidecar.hlc, hidden.row.hlc)
        self._sidecar.add_sum(table.name, sum_of(key, hidden.row) - sum_of(key, old))
        self._hidden.put(table.number, key, hidden)
        self.sealed_keys.setdefault(table.number, []).append(key)

    # Rows that stand

    def _seal_table(self, table: Table, rows: dict[Key, Touched], step: _Step) -> None:
        self._redecide(table, rows, step)
        fresh: list[tuple[StoredRow, Touched]] = []
        lines: list[tuple[Any, ...]] = []
        absent = {key: touched for key, touched in rows.items() if touched.image is None}
        for stored in table.by_pk(self._tx, list(rows), self._origins):
            touched = rows[stored.pk]
            absent.pop(stored.pk, None)
            if stored.clock is None:
                fresh.append((stored, touched))
                continue
            changed_key = touched.inserted or touched.image is not None
            key = stored.clock.key
            if touched.inserted or (changed_key and table.plan.key_kind != "random"):
                key = table.key_of(stored.values, stored.pk, touched.drawn)
                if stored.clock.key == self._double_key(table, stored) and not (
                    table.plan.key_kind == "uuid" and self._free(table, key, stored)
                ):
                    key = stored.clock.key
            if key == stored.clock.key:
                line = self._update(table, stored, touched)
                if line is not None:
                    lines.append(line)
                continue
            self._split(table, stored, touched, step)
            fresh.append((stored, touched))
        table.update_clocks(self._tx, lines)
        keyed = [
            (stored, touched, table.key_of(stored.values, stored.pk, touched.drawn))
            for stored, touched in fresh
        ]
        standing = dict(self._hidden.get(table.number, [key for _, _, key in keyed]))
        unknown = []
        for stored, touched, key in keyed:
            if key in standing:  # for the first of them: another row of that name gets its own
                self._reinsert(table, stored, touched, key, standing.pop(key), step)
            else:
                unknown.append((stored, touched, key))
        self._insert(table, unknown, step)
        if absent:  # a line of a later step says where they went
            self._carried.setdefault(table.number, {}).update(absent)

    def _insert(
        self, table: Table, rows: Sequence[tuple[StoredRow, Touched, RowKey]], step: _Step
    ) -> None:
        """Rows whose names no hidden row has. One that gets a name of its own may come again."""
        keys = self._named(table, [(stored, touched.drawn) for stored, touched, _ in rows])
        own = [key for key, (_, _, said) in zip(keys, rows, strict=True) if key != said]
        standing = self._hidden.get(table.number, own)
        inserted = []
        for key, (stored, touched, _) in zip(keys, rows, strict=True):
            if key in standing:
                self._reinsert(table, stored, touched, key, standing[key], step)
            else:
                stamp = Stamp(stamped_after(0, wall_ms=touched.ms), self._dot.origin, self._dot.seq)
                inserted.append((stored, key, stamp))
        self._insert_clocks(table, inserted)

    def _insert_clocks(self, table: Table, rows: Sequence[tuple[StoredRow, RowKey, Stamp]]) -> None:
        """Clocks for rows that syncnode has never seen: the common case, and the fast one.

        Their stamps are all of the open changeset.
        """
        if not rows:
            return
        sidecar = self._sidecar
        number = sidecar.number(self._dot.origin)
        keys = self.sealed_keys.setdefault(table.number, [])
        total, highest, lines = 0, sidecar.hlc, []
        # What `row_sum` adds for each of them.
        dot = stamp_hash(Stamp(0, self._dot.origin, self._dot.seq))
        for stored, key, stamp in rows:
            total += key_hash(key) ^ dot
            highest = max(highest, stamp.hlc)
            keys.append(key)
            lines.append(
                (
                    *stored.pk,
                    sidecar.next_lsn(table.name),
                    stamp.hlc,
                    number,
                    stamp.seq,
                    key,
                    table.odd_key(key, stored.values),
                    None,
                )
            )
        table.insert_clocks(self._tx, lines)
        sidecar.add_sum(table.name, total)
        sidecar.hlc = highest

    def _named(self, table: Table, rows: Sequence[tuple[StoredRow, bytes | None]]) -> list[RowKey]:
        """The names of rows that have no clock yet, with what was drawn for them."""
        keys = [table.key_of(stored.values, stored.pk, drawn) for stored, drawn in rows]
        taken = self._doubles(table, [stored for stored, _ in rows], keys)
        for index, (stored, _) in enumerate(rows):
            if keys[index] in taken:
                keys[index] = self._double_key(table, stored)
            taken.add(keys[index])
        return keys

    def _doubles(
        self, table: Table, rows: Sequence[StoredRow], keys: Sequence[RowKey]
    ) -> set[RowKey]:
        """Keys among these rows that other rows of the table have already.

        A uuid that is unique in fact may be given twice tomorrow, and a few values compare as
        equal in a key and not in the engine (a UUID in other capitals). The second such row gets
        a key of its own, travels, and is parked where an index forbids it; nothing is held up. So
        does every row whose uuid is NULL: that of another site is no more the same row.
        """
        if table.plan.key_kind == "random":
            return set()
        nameless = table.nameless(keys, [stored.values for stored in rows])
        if table.uuid_indexed and not table.has_odd(self._tx):
            odd = [
                key
                for key, stored in zip(keys, rows, strict=True)
                if table.odd_key(key, stored.values) is not None
            ]
            return nameless | set(table.find(self._tx, odd))
        return nameless | set(table.find(self._tx, keys))

    def _free(self, table: Table, key: RowKey, stored: StoredRow) -> bool:
        """A row that had a name of its own may now have the one that its uuid says."""
        return not table.nameless([key], [stored.values]) and not table.find(self._tx, [key])

    def _double_key(self, table: Table, stored: StoredRow) -> RowKey:
        return table.double_key(stored.values, stored.pk, self._sidecar.origin.site)

    def _update(self, table: Table, stored: StoredRow, touched: Touched) -> tuple[Any, ...] | None:
        """The line for the clock of an edited row; None if its clock stays as it is."""
        clock = stored.clock
        assert clock is not None, "an update is of a known row"
        hidden = self._hidden.get(table.number, [clock.key]).get(clock.key)
        if hidden is not None and hidden.place in STATE_HERE:
            self._update_parked(table, stored, touched, hidden)
            return None
        if (
            hidden is None
            and touched.image is None
            and not clock.odd
            and not clock.absent
            and clock.delete is None
            and "too_large" not in self._sidecar.settings
        ):
            marked = self._marked(table, touched)
            if len(marked) < len(table.columns):
                return self._edit_line(table, stored.pk, clock, marked, touched.ms)
        shown, row = table.shown(stored), table.row_of(stored)
        changed = self._changed(table, touched, shown)
        if not changed:
            return None
        changed |= self._never_sent(table, clock.key) & row.cells.keys()
        dot = self._dot
        stamp = Stamp(stamped_after(row.hlc, wall_ms=touched.ms), dot.origin, dot.seq)
        values = {name: shown[name] for name in changed}
        if hidden is not None and hidden.place == HELD:
            # Written again by someone who saw it: it is alive now, and needs no holding.
            self._hidden.remove(table.number, clock.key)
        outcome = written(row, values, stamp)
        return self._clock_line(table, stored.pk, clock.key, outcome, row)

    def _edit_line(
        self, table: Table, pk: Key, clock: Clock, changed: set[str], ms: int
    ) -> tuple[Any, ...] | None:
        """The common edit, of a row whose cells all have one stamp: no row is made for it."""
        if not changed:
            return None
        sidecar, base, dot = self._sidecar, clock.stamp, self._dot
        hlc = stamped_after(base.hlc, wall_ms=ms)
        names = tuple(sorted(changed))
        blob = self._edits.get((names, hlc))
        if blob is None:
            stamp = Stamp(hlc, dot.origin, dot.seq)
            blob = encode_cells(dict.fromkeys(names, stamp), None, sidecar.number)
            self._edits[names, hlc] = blob
        if base.dot != dot:
            added = row_sum(clock.key, (base, Stamp(hlc, dot.origin, dot.seq)))
            sidecar.add_sum(table.name, added - row_sum(clock.key, (base,)))
        sidecar.hlc = max(sidecar.hlc, hlc)
        self.sealed_keys.setdefault(table.number, []).append(clock.key)
        number = sidecar.number(base.origin)
        return (sidecar.next_lsn(table.name), base.hlc, number, base.seq, blob, *pk)

    def _never_sent(self, table: Table, key: RowKey) -> set[str]:
        """All columns of a row that was too large to travel: peers claim its dots unseen."""
        if "too_large" not in self._sidecar.settings:
            return set()
        kept = self._sidecar.too_large
        if kept.pop(f"{table.name} {key.hex()}", None) is None:
            return set()
        self._sidecar.too_large = kept
        return set(table.columns)

    def _changed(self, table: Table, touched: Touched, shown: Mapping[str, Value]) -> set[str]:
        changed = self._marked(table, touched)
        if touched.image is not None:
            image = self._images.get((table.number, touched.image))
            if image is not None:
                before = table.values_of(image)
                changed |= {
                    name
                    for name, value in zip(table.columns, before, strict=True)
                    if not same_value(value, shown[name])
                }
        return changed

    def _update_parked(
        self, table: Table, stored: StoredRow, touched: Touched, hidden: HiddenRow
    ) -> None:
        """An edit of what the table shows, over a state that could not be written or is shown
        otherwise."""
        clock = stored.clock
        assert clock is not None, "an update is of a known row"
        shown = table.shown(stored)
        changed = self._changed(table, touched, shown)
        if not changed:
            return
        dot = self._dot
        stamp = Stamp(stamped_after(hidden.row.hlc, wall_ms=touched.ms), dot.origin, dot.seq)
        values = {name: shown[name] for name in changed}
        old, hidden.row = hidden.row, written(hidden.row, values, stamp)
        self.put_hidden(table, clock.key, hidden, old)

    def _split(self, table: Table, stored: StoredRow, touched: Touched, step: _Step) -> None:
        """One primary key, another row key: the old row is gone, and a new one stands there."""
        clock = stored.clock
        assert clock is not None, "a known row"
        values: Sequence[Any] = stored.values
        if touched.image is not None:
            values = self._images.get((table.number, touched.image), stored.values)
        rows_of = self._last(table, clock, values, touched)
        self._put_dead(table, clock.key, stored.pk, rows_of, touched.ms, step)
        table.delete_clocks(self._tx, [stored.pk])
        self._repoint(table, stored.pk, touched.ms, step)

    def _repoint(self, table: Table, pk: Key, ms: int, step: _Step) -> None:
        """Rows that refer to this local key refer to another row now: that is a change too."""
        if table.local_place is None:
            return
        local = pk[table.local_place]
        for child in self._tables.values():
            for column, target in child.references.items():
                if target != table.name or child.plan.key_kind == "none":
                    continue
                bit = next(
                    index for index, one in enumerate(child.plan.columns) if one.name == column
                )
                keys = ", ".join(child.dialect.quote(name) for name in child.plan.primary_key)
                for key in self._tx.rows(
                    f"SELECT {keys} FROM {child.quoted} "
                    f"WHERE {child.dialect.quote(column)}={self._tx.mark}",
                    (local,),
                ):
                    self._touch(step, child, tuple(key), bit, ms)
        for child in self._tables.values():
            for column, condition in child.conditional.items():
                if table.name in condition.targets:
                    says = referring(child, column, table.name)
                    self._touch_all(step, child, column, ms, says, (local,))

    def _touch_all(
        self, step: _Step, child: Table, column: str, ms: int, where: str, values: Key
    ) -> None:
        """A column of the rows of a table that fulfil a condition is changed now."""
        bit = [one.name for one in child.plan.columns].index(column)
        keys = ", ".join(f"c.{child.dialect.quote(name)}" for name in child.plan.primary_key)
        for key in self._tx.rows(f"SELECT {keys} FROM {child.quoted} c WHERE {where}", values):
            self._touch(step, child, tuple(key), bit, ms)

    def _touch(self, step: _Step, table: Table, key: Key, bit: int, ms: int) -> None:
        touched = step.touched.setdefault(table.number, {}).setdefault(key, Touched())
        touched.ms = max(touched.ms, ms)
        touched.columns |= 1 << bit

    def _redecide(self, table: Table, rows: Mapping[Key, Touched], step: _Step) -> None:
        """Rows of this table say what values of other tables mean; where they say something else
        now, those values are written anew."""
        deciding = decided_by(table, self._tables.values())
        if not deciding:
            return
        for index, one in enumerate(table.plan.columns):
            for child, column, by in deciding.get(one.name, ()):
                for key, touched in rows.items():
                    if touched.columns >> index & 1:
                        where = f"c.{child.dialect.quote(by)}={self._tx.mark}"
                        self._touch_all(step, child, column, touched.ms, where, key)

    def _reinsert(
        self,
        table: Table,
        stored: StoredRow,
        touched: Touched,
        key: RowKey,
        hidden: HiddenRow,
        step: _Step,
    ) -> None:
        """An insert of a key that had a row: a REPLACE, a revival, or what waits parked."""
        dot = self._dot
        before = step.before.get((table.number, key))
        values = dict(zip(table.columns, table.values_of(stored.values), strict=True))
        if before is not None:
            # Deleted and inserted in this very changeset: an edit of what differs.
            floor = hidden.row.hlc
            stamp = Stamp(stamped_after(floor, wall_ms=touched.ms), dot.origin, dot.seq)
            changed = {
                name: value
                for name, value in values.items()
                if name not in before.cells or not same_value(before.cells[name].value, value)
            }
            row = written(before, changed, stamp)
            if not row.alive:
                row = written(before, values, stamp)
        else:
            stamp = Stamp(stamped_after(hidden.row.hlc, wall_ms=touched.ms), dot.origin, dot.seq)
            row = written(hidden.row, values, stamp)
        self._hidden.remove(table.number, key)
        number = self._sidecar.number(dot.origin)
        table.insert_clocks(
            self._tx,
            [
                (
                    *stored.pk,
                    0,
                    stamp.hlc,
                    number,
                    stamp.seq,
                    key,
                    table.odd_key(key, stored.values),
                    None,
                )
            ],
        )
        self.write_clock(table, stored.pk, key, row, hidden.row)
        if names := table.lacked(row):
            # The table shows what it has columns for; the state stands here as before.
            detail = f"{table.name}.{', '.join(names)} is no column here"
            altered = HiddenRow(ALTERED, row, 0, UNKNOWN_COLUMN, detail)
            self.put_hidden(table, key, altered, row)

    def write_clock(self, table: Table, pk: Key, key: RowKey, row: Row, old: Row) -> None:
        """Put down the state of a row that stands in its table, with a fresh lsn."""
        table.update_clocks(self._tx, [self._clock_line(table, pk, key, row, old)])

    def _clock_line(
        self, table: Table, pk: Key, key: RowKey, row: Row, old: Row
    ) -> tuple[Any, ...]:
        """What `update_clocks` takes; sum and clock are kept up with it."""
        sidecar = self._sidecar
        sidecar.hlc = max(sidecar.hlc, row.hlc)
        sidecar.add_sum(table.name, sum_of(key, row) - sum_of(key, old))
        self.sealed_keys.setdefault(table.number, []).append(key)
        return (*clock_fields(sidecar, table, row, sidecar.next_lsn(table.name)), *pk)

    # Tables without a primary key

    def _baseline_copies(self, table: Table, stamp: Stamp) -> int:
        # Each of these lines tells of copies that are counted here already.
        sql = f"SELECT id FROM syncnode_journal WHERE tbl={self._tx.mark}"
        told = [line for (line,) in self._tx.rows(sql, (table.number,))]
        if told:
            self._delete_lines(told)
        rows = self._tx.rows(f"SELECT {table._value_sql} FROM {table.quoted} t{table._join_sql}")
        ordinals: dict[tuple[Value, ...], int] = {}
        for row in rows:
            values = table._wired(row)
            name = tuple(table.named(values))
            ordinal = ordinals.get(name, 0)
            ordinals[name] = ordinal + 1
            self._put_copy(table, values, ordinal, stamp, EMPTY)
        return len(rows)

    def _put_copy(
        self, table: Table, values: Sequence[Any], ordinal: int, stamp: Stamp, old: Row
    ) -> None:
        typed = table.values_of(values)
        key = copy_key(table.name, table.named(values), ordinal)
        row = written(old, dict(zip(table.columns, typed, strict=True)), stamp)
        self.put_hidden(table, key, HiddenRow(SHOWN, row), old)

    def _seal_copies(
        self,
        table: Table,
        lines: Iterable[tuple[int, str, int]],
        resolved: Mapping[int, tuple[Any, ...]],
    ) -> None:
        """An insert takes the lowest free copy, a delete the highest that is there (A14).

        Lines without a key may be false (an INSERT OR IGNORE that was ignored), so each is
        held against the number of equal rows that stand now.
        """
        found = list(lines)
        # A number may be another row's by now, and to that one those that came refer.
        came = table.images(self._tx, [line for line, op, _ in found if op == "I"], resolved=True)
        images = {**resolved, **came}
        nowhere = table.images(self._tx, [line for line, _, _ in found if line not in images])
        images |= nowhere
        dot = self._dot
        known: dict[tuple[Value, ...], _Copies] = {}
        names = {line: tuple(table.named(image)) for line, image in images.items()}
        # What went is found under the row that its number named before, or that it names now.
        went = table.images(self._tx, [line for line, op, _ in found if op == "D"])
        now = names | {line: tuple(table.named(image)) for line, image in went.items()}
        doubtful = {names[line] for line, op, _ in found if op == "D" or line in nowhere}
        doubtful |= {now[line] for line in went}
        altered = altered_by_name(table, self._hidden)
        for identifier, op, ms in found:
            for name in dict.fromkeys((names[identifier], now[identifier])):
                copies = known.get(name)
                if copies is None:
                    copies = known[name] = self._copies(table, name)
                    copies.altered = altered.get(name, [])
                standing = None
                if name in doubtful:
                    here = name == now[identifier]
                    standing = self._copies_standing(table, identifier) if here else 0
                rows = len(copies.shown) + len(copies.altered)
                if op == "I" and (standing is None or rows < standing):
                    ordinal = min(copies.free, default=copies.count)
                    old = copies.free.pop(ordinal, EMPTY)
                    copies.count = max(copies.count, ordinal + 1)
                    copies.shown.append(ordinal)
                    stamp = Stamp(stamped_after(old.hlc, wall_ms=ms), dot.origin, dot.seq)
                    self._put_copy(table, images[identifier], ordinal, stamp, old)
                elif op == "D" and rows > (standing or 0):
                    self._delete_copy(table, name, copies, ms)
                    break

    def _delete_copy(self, table: Table, name: tuple[Value, ...], copies: _Copies, ms: int) -> None:
        dot = self._dot
        ordinal = max(copies.shown, default=None)
        key = copies.altered.pop() if ordinal is None else copy_key(table.name, name, ordinal)
        row = self._hidden.get(table.number, [key])[key].row
        stamp = Stamp(stamped_after(row.hlc, wall_ms=ms), dot.origin, dot.seq)
        dead = deletion(row, stamp, wins=table.deletes_win)
        if ordinal is not None:
            copies.shown.remove(ordinal)
            copies.free[ordinal] = dead
        self.removed = True
        self.put_hidden(table, key, HiddenRow(DEAD, dead), row)

    def _copies(self, table: Table, name: tuple[Value, ...]) -> _Copies:
        """What is known of the equal rows of that content; deleted ones leave gaps between."""
        copies = _Copies()
        while True:
            key = copy_key(table.name, name, copies.count)
            hidden = self._hidden.get(table.number, [key]).get(key)
            if hidden is None:
                return copies
            if not hidden.row.alive:
                copies.free[copies.count] = hidden.row
            elif hidden.place == SHOWN:
                copies.shown.append(copies.count)
            copies.count += 1

    def _copies_standing(self, table: Table, identifier: int) -> int:
        """How many rows of the table equal the image of this journal line, byte by byte."""
        quote = table.dialect.quote
        same = [
            table.dialect.same_bytes(column, f"t.{quote(column.name)}", f"i.{quote(column.name)}")
            for column in table.plan.stored
        ]
        count: int = self._tx.value(
            f"SELECT COUNT(*) FROM syncnode_trash_{table.number} i JOIN {table.quoted} t "
            f"ON {' AND '.join(same)} WHERE i.syncnode_journal_id={self._tx.mark}",
            (identifier,),
        )
        return count


def _nothing(_stamp: Stamp) -> bool:
    """What an author had seen of what was kept from sight."""
    return False


def clock_fields(sidecar: Sidecar, table: Table, row: Row, lsn: int) -> tuple[Any, ...]:
    """lsn, hlc, origin number, seq, cells: a row's stamps as a clock line holds them.

    The stamp that most cells have stands in the line itself, so a row inserted in one go costs
    no blob, and an edited one names only what differs.
    """
    counts: dict[Stamp, int] = {}
    # Cells written together mostly share one object; only then are stamps compared.
    stamps = [cell[0] for cell in row.cells.values()]
    numbers = [id(stamp) for stamp in stamps]
    for number, stamp in dict(zip(numbers, stamps, strict=True)).items():
        counts[stamp] = counts.get(stamp, 0) + numbers.count(number)
    if not counts:
        # A table of nothing but its local key: the delete, or the changeset, stands for it.
        assert row.delete is not None, "a row has cells or a delete"
        counts[row.delete.stamp] = 1
    base = max(counts, key=lambda stamp: (counts[stamp], stamp))
    odd = {name: cell.stamp for name, cell in row.cells.items() if cell.stamp != base}
    absent = [name for name in table.columns if name not in row.cells]
    blob = None
    if odd or row.delete or absent:
        blob = encode_cells(odd, row.delete, sidecar.number, absent)
    return (lsn, base.hlc, sidecar.number(base.origin), base.seq, blob)


def first_entry(nonce: int) -> Entry:
    """The frontier's entry after the baseline."""
    return Entry(1, nonce)


def groups_text(tables: Iterable[str]) -> str:
    """All tables in one group: how a frontier begins."""
    return json.dumps([sorted(tables)])
