"""Which rows would clash in a unique value if two databases were joined: told before they are.

Only rows that are on one side alone, or differ, can clash: what is the same on both sides stands
beside all that either side has. Told for the first rows of each kind, since each must be fetched.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from syncnode.apply.ladder import Ladder, Step
from syncnode.clash_report import MARKED, MERGED_INTO, WAITING, ForetoldClashes
from syncnode.operations.comparing import EXAMPLES, Asking, Differing
from syncnode.store.references import Referrers, comparable, inbound_keys
from syncnode.store.row_names import row_name
from syncnode.texts import value_text
from syncproto.comparing import Comparison, TableDifference
from syncproto.row import Row
from syncproto.uniqueness import claim, precedence

if TYPE_CHECKING:
    from syncnode.replica import DatabaseReplica
    from syncnode.store.table import Table

ROWS_MAX = 1_000  # of a table and kind; the report says where there are more


def foretold(
    replica: "DatabaseReplica", asking: Asking, comparison: Comparison, *, values: bool
) -> Iterator[ForetoldClashes]:
    """The clashes of each unique key of each table; `values`: the values of the examples, too."""
    with replica.database.read() as tx:
        inbound = inbound_keys(tx, tx.dialect, replica.plan)
    ladder = Ladder(Referrers(replica.plan, replica.tables, inbound))
    for table in sorted(replica.tables.values(), key=lambda one: one.name):
        found = comparison.tables[table.name]
        steps = [] if table.plan.key_kind == "none" else ladder.steps(table)
        here, there = found.only_here + found.different, found.only_there + found.different
        if found.unknown or not (steps and here and there):
            continue
        looked = TableDifference(
            different=found.different[:ROWS_MAX],
            only_here=found.only_here[:ROWS_MAX],
            only_there=found.only_there[:ROWS_MAX],
        )
        whole = looked.named == found.named and not any(found.uncounted)
        rows = list(asking.differing({table.name: looked}))
        for step in steps:
            clash = _of(table, step, rows, whole=whole, values=values)
            if clash is not None:
                yield clash


def _of(
    table: "Table", step: Step, rows: Sequence[Differing], *, whole: bool, values: bool
) -> ForetoldClashes | None:
    columns = step.unique.columns
    here: dict[Any, Differing] = {}
    for one in rows:
        if (name := _value(table, columns, one.here)) is not None:
            here[name] = one
    pairs = [
        _in_order(here[name], one, columns)
        for one in rows
        if (name := _value(table, columns, one.there)) is not None
        and name in here
        and here[name].key != one.key
    ]
    if not pairs:
        return None
    examples = []
    for first, second in pairs[:EXAMPLES]:
        row = second[1]
        shown = ", ".join(value_text(row.cells[name].value) or "NULL" for name in columns)
        examples.append((_name(table, first), _name(table, second), shown if values else None))
    done = MERGED_INTO if step.merges else WAITING if step.holds else MARKED
    return ForetoldClashes(table.name, columns, done, len(pairs), whole, tuple(examples))


_Side = tuple[Differing, Row]


def _in_order(mine: Differing, theirs: Differing, columns: Sequence[str]) -> tuple[_Side, _Side]:
    """Who keeps the value, by what is known of the two now, and who gives way."""
    one, other = (mine, mine.here), (theirs, theirs.there)
    first, _ = precedence(claim(side[0].key, side[1], columns) for side in (one, other))
    return (one, other) if first.key == mine.key else (other, one)


def _name(table: "Table", side: _Side) -> str:
    return row_name(table.plan, side[0].key, side[1])


def _value(table: "Table", columns: Sequence[str], row: Row) -> tuple[Any, ...] | None:
    """What must be unique of a row, in a form in which those are equal that the engine may take
    for one; None where nothing must."""
    if not row.alive or not row.cells.keys() >= set(columns):
        return None
    found = [row.cells[name].value for name in columns]
    return None if None in found else comparable(table, columns, found)
