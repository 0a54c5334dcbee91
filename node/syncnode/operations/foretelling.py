"""Which rows would clash in a unique value if two databases were joined: told before they are.

Only rows that are on one side alone, or differ, can clash: what is the same on both sides stands
beside all that either side has. Told for the first rows of each kind, since each must be fetched.
Parents come first: where two of them will be one, rows below may clash for that alone.
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
from syncproto.row import Reference, Row
from syncproto.uniqueness import claim, precedence

if TYPE_CHECKING:
    from syncnode.replica import DatabaseReplica
    from syncnode.store.table import Table

StandsFor = dict[Reference, Reference]
"""By row the one that will stand for it."""

ROWS_MAX = 1_000  # of a table and kind; the report says where there are more


def foretold(
    replica: "DatabaseReplica", asking: Asking, comparison: Comparison, *, values: bool
) -> Iterator[ForetoldClashes]:
    """The clashes of each unique key of each table; `values`: the values of the examples, too."""
    with replica.database.read() as tx:
        inbound = inbound_keys(tx, tx.dialect, replica.plan)
    ladder = Ladder(Referrers(replica.plan, replica.tables, inbound))
    told: list[ForetoldClashes] = []
    stands_for: StandsFor = {}
    for table in [replica.tables[plan.number] for plan in replica.plan.tables]:
        found = comparison.tables.get(table.name)
        if found is None:  # it does not cross the link
            continue
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
            pairs = _pairs(table, step, rows, stands_for)
            if not pairs:
                continue
            done = _done(step, pairs[0], stands_for)
            if done == MERGED_INTO:
                stands_for |= {
                    Reference(table.name, second[0].key): Reference(table.name, first[0].key)
                    for first, second in pairs
                }
            told.append(_told(table, step, pairs, done=done, whole=whole, values=values))
    yield from sorted(told, key=lambda one: one.table)


def _pairs(
    table: "Table", step: Step, rows: Sequence[Differing], stands_for: StandsFor
) -> list["_Pair"]:
    """Rows of one side and the other that ask for one value, who keeps it first."""
    columns = step.unique.columns
    here: dict[Any, Differing] = {}
    for one in rows:
        if (name := _value(table, columns, one.here, stands_for)) is not None:
            here[name] = one
    return [
        _in_order(here[name], one, columns)
        for one in rows
        if (name := _value(table, columns, one.there, stands_for)) is not None
        and name in here
        and here[name].key != one.key
    ]


def _told(
    table: "Table", step: Step, pairs: Sequence["_Pair"], *, done: str, whole: bool, values: bool
) -> ForetoldClashes:
    columns = step.unique.columns
    examples = []
    for first, second in pairs[:EXAMPLES]:
        row = second[1]
        shown = ", ".join(value_text(row.cells[name].value) or "NULL" for name in columns)
        examples.append((_name(table, first), _name(table, second), shown if values else None))
    return ForetoldClashes(table.name, columns, done, len(pairs), whole, tuple(examples))


def _done(step: Step, pair: "_Pair", stands_for: StandsFor) -> str:
    """What becomes of the row that gives way. In the primary key the two have names of their own:
    where they are made of rows that are one, so are the two; where this database takes the one
    for the other, the second is parked."""
    one, other = (_resolved(row, step.unique.columns, stands_for) for _, row in pair)
    if step.holds or (step.names and one != other):
        return WAITING
    return MERGED_INTO if step.merges else MARKED


_Side = tuple[Differing, Row]
_Pair = tuple[_Side, _Side]


def _in_order(mine: Differing, theirs: Differing, columns: Sequence[str]) -> _Pair:
    """Who keeps the value, by what is known of the two now, and who gives way."""
    one, other = (mine, mine.here), (theirs, theirs.there)
    first, _ = precedence(claim(side[0].key, side[1], columns) for side in (one, other))
    return (one, other) if first.key == mine.key else (other, one)


def _name(table: "Table", side: _Side) -> str:
    return row_name(table.plan, side[0].key, side[1])


def _value(
    table: "Table", columns: Sequence[str], row: Row, stands_for: StandsFor
) -> tuple[Any, ...] | None:
    """What must be unique of a row, in a form in which those are equal that the engine may take
    for one; None where nothing must."""
    if not row.alive or not row.cells.keys() >= set(columns):
        return None
    found = _resolved(row, columns, stands_for)
    return None if None in found else comparable(table, columns, found)


def _resolved(row: Row, columns: Sequence[str], stands_for: StandsFor) -> list[Any]:
    """Values with references to the rows that will stand for those referred to."""
    found: list[Any] = []
    for name in columns:
        value: Any = row.cells[name].value
        seen = set()
        while isinstance(value, Reference) and value in stands_for and value not in seen:
            seen.add(value)
            value = stands_for[value]
        found.append(value)
    return found
