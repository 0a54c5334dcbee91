"""Repairs: rows written again as ordinary changes, and marked as repairs in the ledger.

A repair is a change like any other: it has a stamp above all that the row carries at either side,
travels, and wins. It is made where the command runs, whichever side's values it takes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from syncproto.clock import stamped_after
from syncproto.identity import Dot, RowKey
from syncproto.merge import merged
from syncproto.row import Row, Stamp, Value, deletion, written

if TYPE_CHECKING:
    from syncnode.apply.batches import Applier
    from syncnode.capture.seal import Sealer
    from syncnode.replica import DatabaseReplica
    from syncnode.store.hidden import HiddenRows
    from syncnode.store.sidecar import Sidecar

SETTING = "repairs"
REPAIRS_KEPT = 64  # changesets that `log` marks; a site is seldom repaired
REPAIR_ROWS_MAX = 5_000  # in one transaction


@dataclass(frozen=True, slots=True)
class Rewriting:
    """One transaction in which rows are written again; see `DatabaseReplica.write_again`.

    Attributes:
        dot: Of the changeset that is open.
    """

    applier: "Applier"
    sealer: "Sealer"
    book: "Sidecar"
    hidden: "HiddenRows"
    dot: Dot
    wall_ms: int


@dataclass(frozen=True, slots=True)
class Repair:
    """One row that is to be written again.

    Attributes:
        known: What another site says of the row; its stamps are outdone.
        values: The cells to write; None deletes the row.
    """

    table: str
    key: RowKey
    known: Row
    values: Mapping[str, Value] | None


def repair(replica: "DatabaseReplica", repairs: Sequence[Repair]) -> int:
    """Carry repairs out; returns how many rows were written.

    Raises:
        StoreError: The database could not take them now; what was done before is kept.
    """
    order = {table.name: place for place, table in enumerate(replica.plan.tables)}
    # Parents come before their children.
    todo = sorted(repairs, key=lambda one: (order[one.table], one.key))
    for start in range(0, len(todo), REPAIR_ROWS_MAX):
        part = todo[start : start + REPAIR_ROWS_MAX]
        replica.write_again(partial(_carry_out, repairs=part))
    return len(todo)


def _carry_out(step: Rewriting, repairs: Sequence[Repair]) -> None:
    by_table: dict[str, dict[RowKey, Repair]] = {}
    for one in repairs:
        by_table.setdefault(one.table, {})[one.key] = one
    for name, rows in by_table.items():
        step.applier.rewrite(name, list(rows), partial(_repaired_in, rows, step))


def _repaired_in(rows: Mapping[RowKey, Repair], step: Rewriting, key: RowKey, row: Row) -> Row:
    return _repaired(rows[key], row, step)


def _repaired(one: Repair, row: Row, step: Rewriting) -> Row:
    before = merged(row, one.known)
    hlc = stamped_after(before.hlc, wall_ms=step.wall_ms)
    stamp = Stamp(hlc, step.dot.origin, step.dot.seq)
    if one.values is None:
        return deletion(before, stamp)
    return written(before, one.values, stamp)


def with_repair(settings: Mapping[str, str], dot: Dot) -> str:
    """The setting with one more changeset marked as a repair."""
    kept = json.loads(settings.get(SETTING, "[]"))
    return json.dumps([*kept, [dot.origin.incarnation, dot.seq]][-REPAIRS_KEPT:])


def read_repairs(settings: Mapping[str, str]) -> frozenset[tuple[int, int]]:
    """(incarnation, seq) of the changesets of this site that are repairs."""
    return frozenset((one[0], one[1]) for one in json.loads(settings.get(SETTING, "[]")))
