"""Capture: triggers that write down, in the application's own transaction, which rows it touched.

A line of `syncnode_journal` says: table, operation ('I', 'U', 'D'), time, primary key, and for 'U'
a mask of the columns that changed. Beside a 'D' line, `syncnode_trash_<number>` keeps the row as
it was. Lines are hints: the seal compares them with the rows as they stand, so a line too many is
harmless and a line too few loses a change.

- An update that changes no byte writes nothing. One that changes the primary key or a column of
  the row key writes 'D' of the old key with its image, then 'I' of the new; that 'I' carries the
  id of its 'D' in `mask0`, so that a row may keep its identity when only its local key moved.
- Tables with neither primary key nor row key (key kind none) have no key in their lines: 'I' lines
  keep the new row in the trash as well, and an update is 'D' and 'I'.
- A line of a row that is still there may be false, or double: REPLACE on SQLite and cascades on
  MariaDB fire no triggers, so what they would remove is written down before.
- Of a table that is only received here, a further trigger writes an 'O' line with the image of the
  row before any update of it: before the other lines, for what comes first is what counts.
- Triggers keep quiet about table `number` while the node writes it (`Dialect.applying`).

The engines' own files say what cannot be seen (TRUNCATE only on PostgreSQL). What is written while
triggers are dropped never can: `trigger_names` is for looking whether all are still there.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

from syncnode.schema.plan import ColumnPlan, SchemaPlan, TablePlan
from syncproto.errors import StoreError

Engine = Literal["sqlite", "mysql", "postgresql"]

USERS_IN_JOURNAL = frozenset({"mysql", "postgresql"})
"""Engines whose lines say in `usr` which database user wrote; SQLite knows none."""

FORMER = "O"
"""The operation of a line that keeps what a row was before an update, in the trash as well; only of
tables whose edits are undone (`undoing.py`)."""

MASK_BITS = 62  # a mask stays positive in 64 bits, with one bit to spare


class _Capture(Protocol):
    """What the engines' files have in common."""

    def capture_ddl(self, plan: SchemaPlan, /) -> list[str]: ...
    def drop_ddl(self, plan: SchemaPlan, /) -> list[str]: ...
    def trigger_names(self, plan: SchemaPlan, /) -> set[str]: ...
    def uncaptured(self, plan: SchemaPlan, /) -> list[str]: ...
    def explain(self, error: BaseException, /) -> StoreError | None: ...


def _capture(engine: str) -> _Capture:
    from syncnode.capture import mysql, postgresql, sqlite

    captures: dict[str, _Capture] = {"sqlite": sqlite, "mysql": mysql, "postgresql": postgresql}
    return captures[engine]


def capture_ddl(plan: SchemaPlan, engine: Engine) -> list[str]:
    """Statements that install journal, trash and triggers, to be run without parameters."""
    return _capture(engine).capture_ddl(plan)


def drop_ddl(plan: SchemaPlan, engine: Engine) -> list[str]:
    """Statements that remove all of `capture_ddl`, as far as it is there."""
    return _capture(engine).drop_ddl(plan)


def trigger_names(plan: SchemaPlan) -> set[str]:
    """Every trigger that must exist for the journal to be complete."""
    return _capture(plan.dialect).trigger_names(plan)


def uncaptured(plan: SchemaPlan) -> list[str]:
    """Sentences for the operator: which writes of an application the triggers cannot see."""
    return _capture(plan.dialect).uncaptured(plan)


def explain(error: BaseException) -> StoreError | None:
    """The server's refusal of `capture_ddl` in words, with the remedy; None if it is not known.

    Takes the driver's error or one of SQLAlchemy around it.
    """
    driver_error = getattr(error, "orig", None) or error
    for engine in ("mysql", "postgresql", "sqlite"):
        found = _capture(engine).explain(driver_error)
        if found is not None:
            return found
    return None


def parse_key(table: TablePlan, text: str | bytes, engine: str) -> tuple[Any, ...]:
    """The primary key that a server's journal holds in `kx`, as the driver reads it."""
    from syncnode.capture import mysql, postgresql

    parse = postgresql.parse_key if engine == "postgresql" else mysql.parse_key
    return parse(table, text)


def mask_count(plan: SchemaPlan) -> int:
    """How many mask columns the journal has: enough for the widest table."""
    widest = max((len(table.columns) for table in plan), default=1)
    return max(1, -(-widest // MASK_BITS))


def key_count(plan: SchemaPlan) -> int:
    """How many key columns the journal has on SQLite: enough for the widest primary key."""
    return max([1, *(len(table.primary_key) for table in plan)])


def changed_columns(table: TablePlan, masks: Sequence[int | None]) -> tuple[str, ...]:
    """The columns that a 'U' line names."""
    return tuple(
        column.name
        for index, column in enumerate(table.columns)
        if (masks[index // MASK_BITS] or 0) >> index % MASK_BITS & 1
    )


def trash_name(table: TablePlan) -> str:
    return f"syncnode_trash_{table.number}"


def naming_columns(table: TablePlan) -> tuple[ColumnPlan, ...]:
    """Columns whose change makes another row of it: primary key and row key."""
    if table.key_kind == "none":
        return table.stored
    named = {*table.primary_key, *table.key_columns}
    return tuple(column for column in table.stored if column.name in named)


def masked_columns(table: TablePlan) -> dict[int, list[tuple[int, ColumnPlan]]]:
    """By mask: bit and column, of the columns whose change makes a 'U' line."""
    naming = {column.name for column in naming_columns(table)}
    found: dict[int, list[tuple[int, ColumnPlan]]] = {}
    for index, column in enumerate(table.columns):
        if not column.generated and column.name not in naming:
            found.setdefault(index // MASK_BITS, []).append((index % MASK_BITS, column))
    return found
