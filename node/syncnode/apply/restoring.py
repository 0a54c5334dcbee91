"""Writes back what was undone: rows of tables that are only received here (`capture/undoing.py`).

Their states are in the sidecar, and their tables show what somebody has written here. They are
brought to what they were as rows that arrive are: locked first, sealed once more, quietly, deletes
only where nothing refers to a row. What cannot be written is parked, as anything else.
"""

import contextlib
from typing import TYPE_CHECKING, Any

from syncnode.apply.writing import Wanted, known_part
from syncnode.store.database import Transaction
from syncnode.store.hidden import SHOWN, HiddenRow
from syncnode.store.table import Table
from syncnode.store.undone import DUE, UNDONE, bare_of, undone_lines
from syncproto.clock import stamped_after
from syncproto.identity import RowKey
from syncproto.merge import same_value
from syncproto.row import EMPTY, Delete, Reference, Row, Stamp

if TYPE_CHECKING:
    from syncnode.apply.settling import Settler


def restore(settler: "Settler") -> None:
    """Bring all of them back, parents first."""
    if not settler._sidecar.settings.get(DUE):
        return
    waiting = _undone(settler._tx)
    _lock(settler, waiting)
    waiting = _undone(settler._tx) if waiting else {}
    for table in settler._order:
        keys = waiting.get(table.number, [])
        if keys:
            rows = list(settler._ours(table, keys).values())
            _write_bare(settler, table, rows)
            _give_way(settler, table, rows)
            rows = list(settler._ours(table, keys).values())
            settler._carry_out(table, rows)
            settler._vacated.add(table.number)
        if table.plan.key_kind == "none":
            _take_out_lines(settler, table)
    settler._sidecar.set(DUE, "")


def _write_bare(settler: "Settler", table: Table, rows: list[Wanted]) -> None:
    """Columns that came later, and of which the row has no cells, are as they were, too."""
    for one in rows:
        bare = bare_of(settler._sidecar, one.hidden.detail if one.hidden is not None else None)
        values: dict[str, Any] = {}
        if one.shown is None or not bare.cells:
            continue
        if settler._local_values(table, bare, bare.cells, values) is None:
            settler._write_to(table.number)
            line = (*values.values(), *one.shown.pk)
            settler._tx.execute(table.update_sql(tuple(values)), line)


def _give_way(settler: "Settler", table: Table, rows: list[Wanted]) -> None:
    """Rows that stand take their own plain values first, as far as these are free: a row that went
    may need what they have, and they may refer to it."""
    for one in rows:
        if one.shown is None or not one.row.alive:
            continue
        row, shown = known_part(table, one.row), table.shown(one.shown)
        names = [
            name
            for name, cell in row.cells.items()
            if not isinstance(cell.value, Reference)
            and name not in table.plan.primary_key
            and not same_value(cell.value, shown[name])
        ]
        values: dict[str, Any] = {}
        if not names or settler._local_values(table, row, names, values) is not None:
            continue
        settler._write_to(table.number)
        line = (*values.values(), *one.shown.pk)
        # What is refused now is tried again with all the rest.
        with contextlib.suppress(*settler._row_errors), settler._tx.savepoint():
            settler._tx.execute(table.update_sql(tuple(values)), line)


def _take_out_lines(settler: "Settler", table: Table) -> None:
    for key, row in list(undone_lines(settler._sidecar, table.number)):
        settler._remove_copy(table, Wanted(key, EMPTY, EMPTY, None, HiddenRow(SHOWN, row)))
        settler._hidden.remove(table.number, key)


def _undone(tx: Transaction) -> dict[int, list[RowKey]]:
    found: dict[int, list[RowKey]] = {}
    for number, key in tx.rows(
        "SELECT tbl, row_key FROM syncnode_row WHERE place IN ('altered', 'parked') "
        f"AND reason={tx.mark} ORDER BY lsn",
        (UNDONE,),
    ):
        found.setdefault(number, []).append(RowKey(bytes(key)))
    return found


def _lock(settler: "Settler", waiting: dict[int, list[RowKey]]) -> None:
    """What the application has written to these rows meanwhile is undone with the rest."""
    for table in settler._order:
        rows = settler._ours(table, waiting.get(table.number, [])).values()
        pks = [one.shown.pk for one in rows if one.shown is not None]
        if pks:
            settler._tx.dialect.lock_rows(settler._tx, table.plan, pks)
    if waiting and settler._tx.dialect.name != "sqlite":
        settler._sealer.seal(single_read=True)


def give_state(settler: "Settler", wanted: "Wanted") -> None:
    """A row that was inserted here and that rows refer to stays, as one that is deleted: without
    cells, so that whoever may write it is not kept from it by what stands there."""
    if wanted.row != EMPTY:
        return
    dot = settler._sidecar.open_changeset(settler._nonce)
    stamp = Stamp(stamped_after(0, wall_ms=settler._wall_ms), dot.origin, dot.seq)
    wanted.row = Row({}, Delete((stamp,), {}))
    settler._sidecar.close_changeset(settler._wall_ms)
