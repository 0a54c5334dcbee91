"""What is done about each unique key of a table: rows are merged, show a mark, or wait.

The ladder of rule B2: where the key's rule says `merge`, the rows are one thing; else a later row
shows its text with a mark, or NULL where the column may be NULL; where neither can be, or the rule
says `hold`, it waits, unshown.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from syncnode.schema.plan import UniqueKey
from syncproto.identity import RowKey
from syncproto.row import Row, Value
from syncproto.uniqueness import MARKED_CHARS_MIN, marked

if TYPE_CHECKING:
    from syncnode.schema.plan import ColumnPlan
    from syncnode.store.references import Referrers
    from syncnode.store.table import Table


NAMES = "PRIMARY"  # as no engine calls a unique key beside the primary one


class Step(NamedTuple):
    """What is done about one unique key.

    Attributes:
        column: Where the later rows show a mark, or NULL; None: they wait, or are merged.
    """

    unique: UniqueKey
    column: "ColumnPlan | None"

    @property
    def merges(self) -> bool:
        """The rows are one and the same thing."""
        return self.unique.rule == "merge"

    @property
    def names(self) -> bool:
        """It is the primary key: the rows are one, or the engine takes their names for one."""
        return self.merges and self.unique.name == NAMES

    @property
    def holds(self) -> bool:
        """The later rows wait."""
        return self.column is None and not self.merges

    def instead(self, key: RowKey, value: Value) -> Value:
        """What is shown for a value that another row keeps."""
        assert self.column is not None, "rows of this key wait"
        if self.column.kind == "text" and isinstance(value, str):
            return marked(value, key, chars_max=self.column.size)
        return None


class Ladder:
    """The steps of all tables, found once each."""

    def __init__(self, referrers: "Referrers") -> None:
        self._referrers = referrers
        self._steps: dict[int, Sequence[Step]] = {}

    def steps(self, table: "Table") -> Sequence[Step]:
        """One for each unique key that is decided here, those first that make one of several
        rows, then those for which rows wait."""
        steps = self._steps.get(table.number)
        if steps is None:
            found = [Step(unique, None) for unique in _primary_key(table)]
            found += [
                Step(unique, self._column(table, unique) if unique.rule == "rename" else None)
                for unique in table.plan.unique_keys
                if unique.plain and all(name in table.place for name in unique.columns)
            ]
            steps = sorted(
                found,
                key=lambda step: (not step.merges, step.column is not None, step.unique.name),
            )
            self._steps[table.number] = steps
        return steps

    def marks(self, table: "Table", key: RowKey, row: Row) -> dict[str, Value]:
        """What a row shows that gives way in all its unique values."""
        found: dict[str, Value] = {}
        for step in self.steps(table):
            column = step.column
            cell = row.cells.get(column.name) if column is not None else None
            if column is not None and cell is not None and cell.value is not None:
                found[column.name] = step.instead(key, cell.value)
        return found

    def _column(self, table: "Table", unique: UniqueKey) -> "ColumnPlan | None":
        """The column that can show a mark, or else NULL: none by which rows are found."""
        names = set(unique.columns) - {*table.plan.primary_key, *table.plan.key_columns}
        free = [
            table.plan.column(name)
            for name in unique.columns
            if name in names and not self._referrers.by_columns(table, [name])
        ]
        for column in free:
            room = column.size is None or column.size >= MARKED_CHARS_MIN
            if column.kind == "text" and column.reference is None and room:
                return column
        return next((column for column in free if column.nullable), None)


def _primary_key(table: "Table") -> list[UniqueKey]:
    """The primary key, where two rows with names of their own may come to have one.

    The engine may take several names of rows for one ('nurse', 'Nurse '): only one of them can
    stand in the table, and who refers to any refers to that. Or the key is made of references:
    where the rows referred to are one, so are those that are named by them (rule B2), or, where
    the rows have other names, one of them waits.
    """
    plan = table.plan
    by_content = plan.key_kind in ("natural", "composite")
    if plan.local_key is None and any(name in table.references for name in plan.primary_key):
        derived = set(plan.primary_key) == set(plan.key_columns)
        return [UniqueKey(NAMES, plan.primary_key, rule="merge" if derived else "hold")]
    if by_content and any(plan.column(name).collation_insensitive for name in plan.primary_key):
        return [UniqueKey(NAMES, plan.primary_key, rule="merge")]
    return []
