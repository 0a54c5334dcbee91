"""The local check: rows and clocks that do not belong together, and how they are mended.

Found is what was written while no trigger looked on: rows without a clock (bulk loads, restored
tables), clocks without a row (TRUNCATE), and rows whose clock names another row. Not found is a
value that changed without a trigger in a row that kept its key: nothing here remembers the old
one. A comparison with a peer finds that.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from syncnode.apply.repairing import Rewriting
from syncnode.capture import capture_ddl, trigger_names
from syncnode.capture.seal import Touched
from syncnode.comparing.contents import silent
from syncnode.store.copies import altered_by_name
from syncnode.store.hidden import DEAD, HELD, SHOWN, HiddenRow, HiddenRows
from syncnode.store.remains import existing_triggers
from syncnode.store.row_names import is_made, is_uuid
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import KEYS_PER_QUERY, Clock, Key, Origins, Table
from syncproto.clock import stamped_after
from syncproto.codec import decode_cells, decode_row
from syncproto.identity import RowKey
from syncproto.keys import copy_key
from syncproto.row import EMPTY, Cell, Row, Stamp, Value, deletion

if TYPE_CHECKING:
    from syncnode.capture import Engine
    from syncnode.replica import DatabaseReplica
    from syncnode.store.database import Transaction

ROWS_PER_READ = 5_000
LSN_PER_READ = 100_000
ROWS_PER_STEP = 20_000  # taken in by one changeset

Progress = Callable[[str], None]

_CREATED = re.compile(r"CREATE TRIGGER (\w+)")
# PostgreSQL's triggers can be there and switched off; a second statement makes them fire always.
_ENABLED = re.compile(r"ALTER TABLE (.+) ENABLE ALWAYS TRIGGER (\w+)")


@dataclass(slots=True)
class Unseen:
    """What no trigger saw in one table.

    Attributes:
        rows: How many rows the table has.
        new: Primary keys of rows without a clock.
        gone: Primary keys of clocks without a row.
        renamed: Primary keys of rows whose clock names another row.
        moved: Rows that only got another primary key: of the clock, and of the row.
        copies: Of a table whose rows have no key: by content how many rows stand that are not
            known; below 0 where more are known than stand.
        samples: The values of a row of each such content.
    """

    rows: int = 0
    new: list[Key] = field(default_factory=list)
    gone: list[Key] = field(default_factory=list)
    renamed: list[Key] = field(default_factory=list)
    moved: list[tuple[Key, Key]] = field(default_factory=list)
    copies: dict[tuple[Value, ...], int] = field(default_factory=dict)
    samples: Mapping[tuple[Value, ...], Sequence[Any]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.renamed or self.moved or self.copies)

    @property
    def uncaptured(self) -> int:
        """Rows that stand and are not known."""
        return len(self.new) + sum(count for count in self.copies.values() if count > 0)

    @property
    def vanished(self) -> int:
        """Rows that are known and do not stand."""
        return len(self.gone) - sum(count for count in self.copies.values() if count < 0)


def missing_triggers(replica: "DatabaseReplica") -> list[str]:
    """Triggers of the capture that are not there."""
    with replica.database.read() as tx:
        return sorted(trigger_names(replica.plan) - set(existing_triggers(tx)))


def install_triggers(replica: "DatabaseReplica", names: Sequence[str]) -> None:
    """Make these triggers again.

    Raises:
        StoreError: The database does not let us.
    """
    wanted = set(names)
    statements = capture_ddl(replica.plan, cast("Engine", replica.plan.dialect))
    with replica.database.snapshot() as tx:
        for found in filter(None, map(_ENABLED.fullmatch, statements)):
            if found[2] in wanted:
                tx.script([f"DROP TRIGGER IF EXISTS {found[2]} ON {found[1]}"])
        for statement in statements:
            created, enabled = _CREATED.match(statement), _ENABLED.fullmatch(statement)
            name = created[1] if created else enabled[2] if enabled else None
            if name in wanted or statement.startswith("SET "):
                tx.script([statement])


def unseen(replica: "DatabaseReplica", progress: Progress = silent) -> dict[str, Unseen]:
    """What no trigger saw, by table, of the tables in which there is something, and how many rows
    all of them have."""
    replica.seal()
    found = {table.name: _Look(replica, table, progress) for table in replica.tables.values()}
    looked = {name: look.unseen() for name, look in found.items()}
    # What the application wrote meanwhile was captured: look at the suspects again.
    replica.seal()
    for name, one in looked.items():
        if one and not one.copies:
            found[name].confirm(one)
        elif one.copies:
            looked[name] = found[name].unseen()
    return looked


class _Look:
    """The look at one table."""

    def __init__(self, replica: "DatabaseReplica", table: Table, progress: Progress) -> None:
        self._replica = replica
        self._table = table
        self._progress = progress
        self._columns = [table.dialect.quote(name) for name in table.plan.primary_key]

    def unseen(self) -> Unseen:
        if self._table.plan.key_kind == "none":
            return self._unseen_copies()
        found = Unseen(gone=list(self._gone()))
        last: Key | None = None
        while True:
            with self._replica.database.read() as tx:
                rows = self._table.after_pk(tx, last, ROWS_PER_READ)
                clocks = self._clocks(tx, [row.pk for row in rows])
                renamed = self._renamed(tx, rows, clocks)
            if not rows:
                break
            found.rows += len(rows)
            found.new += [row.pk for row in rows if row.pk not in clocks]
            found.renamed += renamed
            last = rows[-1].pk
            self._progress(f"looking at {self._table.name}: {found.rows:,} rows")
        self._match(found)
        return found

    def confirm(self, found: Unseen) -> None:
        """Leave out what is in order by now."""
        with self._replica.database.read() as tx:
            suspects = [*found.new, *found.renamed]
            clocks = self._clocks(tx, [*suspects, *found.gone])
            stand = {one.pk: one for one in self._stored(tx, [*suspects, *found.gone])}
            found.new = [pk for pk in found.new if pk in stand and pk not in clocks]
            found.gone = [pk for pk in found.gone if pk in clocks and pk not in stand]
            rows = [stand[pk] for pk in found.renamed if pk in stand]
            found.renamed = self._renamed(tx, rows, clocks)

    def _origins(self, tx: "Transaction") -> Origins:
        return Origins(Sidecar.load(tx, self._replica.plan).origin_of, decode_cells)

    def _clocks(self, tx: "Transaction", pks: list[Key]) -> dict[Key, Clock]:
        return self._table.clocks(tx, pks, self._origins(tx)) if pks else {}

    def _stored(self, tx: "Transaction", pks: list[Key]) -> Iterator[Any]:
        for start in range(0, len(pks), KEYS_PER_QUERY):
            yield from self._table.by_pk(tx, pks[start : start + KEYS_PER_QUERY], self._origins(tx))

    def _gone(self) -> Iterator[Key]:
        table, after = self._table, 0
        columns = ", ".join(f"c.{name}" for name in self._columns)
        on = " AND ".join(f"t.{name} = c.{name}" for name in self._columns)
        while True:
            with self._replica.database.read() as tx:
                m = tx.mark
                first = tx.value(
                    f"SELECT min(syncnode_lsn) FROM {table.clock_name} WHERE syncnode_lsn>{m}",
                    (after,),
                )
                if first is None:
                    return
                after = first + LSN_PER_READ - 1
                lines = tx.rows(
                    f"SELECT {columns} FROM {table.clock_name} c LEFT JOIN {table.quoted} t "
                    f"ON {on} WHERE c.syncnode_lsn BETWEEN {m} AND {m} "
                    f"AND t.{self._columns[0]} IS NULL",
                    (first, after),
                )
            yield from map(tuple, lines)

    def _renamed(
        self, tx: "Transaction", rows: Sequence[Any], clocks: dict[Key, Clock]
    ) -> list[Key]:
        """Rows that are named by their own content, and by another one in their clock."""
        table = self._table
        if table.plan.key_kind not in ("uuid", "natural"):
            return []
        odd = {}
        book = Sidecar.load(tx, self._replica.plan)
        for row in rows:
            clock = clocks.get(row.pk)
            if clock is None or (key := table.key_of(row.values, row.pk, None)) == clock.key:
                continue
            if not (table.nameless([key], [row.values]) or self._of_its_own(book, row, clock.key)):
                odd[row.pk] = (clock.key, key)
        if not odd:
            return []
        hidden = HiddenRows(book)
        kept = hidden.get(table.number, [known for known, _ in odd.values()])
        # A second row of one uuid has a name of its own; what is kept may be shown otherwise.
        doubles = table.find(tx, [key for _, key in odd.values()])
        return [pk for pk, (known, key) in odd.items() if key not in doubles and known not in kept]

    def _of_its_own(self, book: Sidecar, row: Any, key: RowKey) -> bool:
        """The row may have been named while another had its uuid or value, which went since. What
        another site drew for such a row cannot be drawn again: of a row with a uuid, it is told
        by being no uuid that people gave."""
        table = self._table
        if key == table.double_key(row.values, row.pk, book.origin.site):
            return True
        (place,) = table.key_places
        return table.plan.key_kind == "uuid" and is_made(key) and is_uuid(row.values[place])

    def _match(self, found: Unseen) -> None:
        """A row that vanished and stands under another number only moved."""
        if not (found.new and found.gone) or self._table.plan.key_kind == "random":
            return
        with self._replica.database.read() as tx:
            gone = {clock.key: pk for pk, clock in self._clocks(tx, found.gone).items()}
            for row in self._stored(tx, found.new):
                old = gone.pop(self._table.key_of(row.values, row.pk, None), None)
                if old is not None:
                    found.moved.append((old, row.pk))
        gone_keys, new_keys = ({pair[at] for pair in found.moved} for at in (0, 1))
        found.gone = [pk for pk in found.gone if pk not in gone_keys]
        found.new = [pk for pk in found.new if pk not in new_keys]

    def _unseen_copies(self) -> Unseen:
        table = self._table
        with self._replica.database.read() as tx:
            book = Sidecar.load(tx, self._replica.plan)
            rows = tx.rows(f"SELECT {table._value_sql} FROM {table.quoted} t{table._join_sql}")
            lines = [table._wired(row) for row in rows]
            stand = Counter(tuple(table.named(line)) for line in lines)
            known = Counter(
                tuple(table.named([row.cells[name].value for name in table.columns]))
                for (state,) in tx.rows(
                    "SELECT state FROM syncnode_row "
                    f"WHERE tbl={tx.mark} AND aside=0 AND place='{SHOWN}'",
                    (table.number,),
                )
                for row in [decode_row(bytes(state), book.origin_of)]
            )
            for name, keys in altered_by_name(table, HiddenRows(book)).items():
                known[name] += len(keys)
        differ = {
            name: stand[name] - known[name]
            for name in stand.keys() | known.keys()
            if stand[name] != known[name]
        }
        samples = {tuple(table.named(line)): line for line in lines} if differ else {}
        return Unseen(len(lines), copies=differ, samples=samples)


# --- Mending -----------------------------------------------------------------------------------


def take_in(replica: "DatabaseReplica", found: dict[str, Unseen]) -> int:
    """Make ordinary changes of what no trigger saw; returns how many rows that were.

    Rows without a clock are sealed as new ones, clocks without a row as deletes. Of such a delete
    the row's last values are not known here any more. A row that only moved keeps its stamps.
    """
    tables = {table.name: table for table in replica.tables.values()}
    count = 0
    for name, one in found.items():
        for part in _parts(one):
            replica.write_again(partial(_take, tables[name], part))
            count += part.uncaptured + part.vanished + len(part.renamed) + len(part.moved)
    return count


def _parts(found: Unseen) -> Iterator[Unseen]:
    """First what went, then what came, in steps of bounded size."""
    if found.gone or found.renamed or found.moved or found.copies:
        yield Unseen(
            gone=found.gone,
            renamed=found.renamed,
            moved=found.moved,
            copies=found.copies,
            samples=found.samples,
        )
    for start in range(0, len(found.new), ROWS_PER_STEP):
        yield Unseen(new=found.new[start : start + ROWS_PER_STEP])


def _take(table: Table, found: Unseen, step: Rewriting) -> None:
    _Taker(step, table).take(found)


class _Taker:
    """Seals what no trigger saw of one table, under an open changeset."""

    def __init__(self, step: Rewriting, table: Table) -> None:
        self._step = step
        self._sealer = step.sealer
        self._table = table
        self._tx = step.book.tx

    def take(self, found: Unseen) -> None:
        for name, count in found.copies.items():
            self._copies(name, count, found.samples.get(name, ()))
        if self._table.plan.key_kind == "none":
            return
        for old, new in found.moved:
            self._move(old, new)
        origins = Origins(self._step.book.origin_of, decode_cells)
        gone = self._table.clocks(self._tx, [*found.gone, *found.renamed], origins)
        for pk, clock in gone.items():
            self._delete(pk, clock)
        fresh = {pk: Touched(ms=self._step.wall_ms) for pk in (*found.renamed, *found.new)}
        if fresh:
            self._sealer.seal_rows({self._table.number: fresh})

    def _move(self, old: Key, new: Key) -> None:
        columns = [self._table.dialect.quote(name) for name in self._table.plan.primary_key]
        m = self._tx.mark
        self._tx.execute(
            f"UPDATE {self._table.clock_name} SET {', '.join(f'{one}={m}' for one in columns)} "
            f"WHERE {' AND '.join(f'{one}={m}' for one in columns)}",
            (*new, *old),
        )

    def _delete(self, pk: Key, clock: Clock) -> None:
        kept = self._step.hidden.get(self._table.number, [clock.key]).get(clock.key)
        # The dots must be those that peers know; of the values nothing is left.
        stamps = {name: clock.stamp_of(name) for name in self._table.columns}
        row = Row(
            {name: Cell(stamp, None) for name, stamp in stamps.items() if stamp is not None},
            clock.delete,
        )
        if kept is not None and kept.place != HELD:
            row = kept.row
        self._put_dead(clock.key, row)
        self._table.delete_clocks(self._tx, [pk])

    def _put_dead(self, key: RowKey, row: Row) -> None:
        stamp = self._stamp(row)
        dead = deletion(row, stamp, wins=self._table.deletes_win)
        self._sealer.put_hidden(self._table, key, HiddenRow(DEAD, dead), row)

    def _stamp(self, row: Row) -> Stamp:
        hlc = stamped_after(row.hlc, wall_ms=self._step.wall_ms)
        return Stamp(hlc, self._step.dot.origin, self._step.dot.seq)

    def _copies(self, name: tuple[Value, ...], count: int, values: Sequence[Any]) -> None:
        """An insert takes the lowest free copy, a delete the highest that is there (A14)."""
        ordinal, shown = 0, list[tuple[RowKey, Row]]()
        while (kept := self._copy(name, ordinal)) is not None or count > 0:
            if kept is not None and kept.place == SHOWN:
                shown.append((copy_key(self._table.name, name, ordinal), kept.row))
            elif count > 0 and (kept is None or kept.place == DEAD):
                old = kept.row if kept is not None else EMPTY
                self._sealer._put_copy(self._table, values, ordinal, self._stamp(old), old)
                count -= 1
            ordinal += 1
        hidden = self._step.hidden
        others = altered_by_name(self._table, hidden).get(name, []) if count < 0 else []
        altered = hidden.get(self._table.number, others)
        shown = [(key, altered[key].row) for key in others] + shown
        for key, row in shown[count:] if count < 0 else ():
            self._put_dead(key, row)

    def _copy(self, name: tuple[Value, ...], ordinal: int) -> HiddenRow | None:
        key = copy_key(self._table.name, name, ordinal)
        return self._step.hidden.get(self._table.number, [key]).get(key)


__all__ = ["Unseen", "install_triggers", "missing_triggers", "take_in", "unseen"]
