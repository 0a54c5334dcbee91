"""The plan of a site whose application has changed its schema.

What names a row, here or everywhere, cannot change under rows that have names: such a table keeps
its plan, and a sentence says what to do.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from syncnode.schema.drift import AGAIN, Drift
from syncnode.schema.plan import ColumnPlan, SchemaPlan, TablePlan, UniqueKey
from syncnode.schema.replan import with_tables
from syncproto.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Followed:
    """What becomes of a plan.

    Attributes:
        tables: Names of the tables that are taken up.
        came, gone: Columns by table.
        changed: Tables that stay, with other columns than before.
        problems: Sentences on what could not be followed, by table.
    """

    plan: SchemaPlan
    tables: frozenset[str] = frozenset()
    came: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gone: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    changed: frozenset[str] = frozenset()
    problems: Mapping[str, str] = field(default_factory=dict)


def follow_plan(
    before: SchemaPlan, whole: SchemaPlan, found: Drift, went: Collection[str] = ()
) -> Followed:
    """`before`, brought to the schema of which `whole` is the plan.

    Nothing of it changes while a table or column may have been renamed: what was written to it
    since would be lost. `went`: columns ("table.column") that are said to be gone for good.
    """
    if any(_unclear(table, found, went) for table in before.tables):
        return Followed(before)
    problems: dict[str, str] = {}
    staying: list[TablePlan] = []
    for table in before.tables:
        now = whole.by_name.get(table.name)
        staying.append(table)
        if now is None or not _differs(table, now):
            continue
        problem = _problem(table, now, found)
        if problem is None:
            staying[-1] = _brought(table, now)
        else:
            problems[table.name] = problem
    plan = replace(before, tables=tuple(staying))
    taken: set[str] = set()
    for name in found.tables:
        if name in whole.by_name:
            try:
                plan = with_tables(plan, whole, [*taken, name])
            except ConfigError as error:
                problems[name] = f"{error}: {AGAIN}"
            else:
                taken.add(name)
    known = {one.table for one in plan.excluded}
    left = [one for one in whole.excluded if one.table in found.tables and one.table not in known]
    if left:
        excluded = sorted([*plan.excluded, *left], key=lambda one: one.table)
        plan = replace(plan, excluded=tuple(excluded))
    changed = {
        table.name
        for table in plan.tables
        if table.name in before.by_name and table.columns != before.by_name[table.name].columns
    }
    return Followed(
        plan,
        frozenset(taken),
        {name: found.came[name] for name in sorted(changed) if name in found.came},
        {name: tuple(found.gone[name] or ()) for name in sorted(changed) if name in found.gone},
        frozenset(changed),
        problems,
    )


def without_gone(plan: SchemaPlan, found: Drift) -> SchemaPlan:
    """The plan with columns that went as such that are never read: lines of the journal count
    columns by their places."""
    return replace(
        plan,
        tables=tuple(
            replace(
                table,
                columns=tuple(
                    replace(column, generated=True)
                    if column.name in (found.gone.get(table.name) or ())
                    else column
                    for column in table.columns
                ),
            )
            for table in plan.tables
        ),
    )


def _differs(before: TablePlan, now: TablePlan) -> bool:
    old = {column.name: _declared(column) for column in before.columns}
    return old != {column.name: _declared(column) for column in now.columns}


def _declared(column: ColumnPlan) -> ColumnPlan:
    """What the schema says of a column, without what was decided."""
    return replace(column, reference=None, conditional=None, default_zero=False)


def _unclear(table: TablePlan, found: Drift, went: Collection[str]) -> bool:
    """Whether it, or one of its columns, went and may only have another name: see `Drift.fault`."""
    columns = found.gone.get(table.name, ())
    if columns is None:
        return True
    known = {f"{name}.{column}" for name in (table.name, table.here) for column in columns} & {
        *went
    }
    return bool(columns) and table.name in found.came and len(known) < len(columns)


def _problem(before: TablePlan, now: TablePlan, found: Drift) -> str | None:
    """Why a table's plan cannot follow."""
    name = before.name
    if before.key_kind == "none" and (name in found.gone or name in found.came):
        return f"the rows of {name} are known by all of their columns, which have changed: {AGAIN}"
    identity = (now.key_kind, now.primary_key, set(now.key_columns), now.local_key)
    if identity != (
        before.key_kind,
        before.primary_key,
        set(before.key_columns),
        before.local_key,
    ):
        return f"the columns of {name} by which its rows are known have changed: {AGAIN}"
    named = {*before.primary_key, *before.key_columns}
    if any(_declared(before.column(one)) != _declared(now.column(one)) for one in named):
        return f"the columns of {name} by which its rows are known hold other values now: {AGAIN}"
    return None


def _brought(before: TablePlan, now: TablePlan) -> TablePlan:
    """The table as it is, under its number, with the old columns in their old order."""
    there = {column.name: column for column in now.columns}
    old = [there.pop(column.name) for column in before.columns if column.name in there]
    return replace(
        now,
        number=before.number,
        columns=(*old, *there.values()),
        unique_keys=tuple(_as_ruled(before, key) for key in now.unique_keys),
        deletes=before.deletes,
        modified=tuple(name for name in before.modified if name in {c.name for c in now.columns}),
        local_rows=before.local_rows,
        received_only=before.received_only,
    )


def _as_ruled(before: TablePlan, key: UniqueKey) -> UniqueKey:
    for old in before.unique_keys:
        if old.columns == key.columns:
            return replace(key, rule=old.rule)
    return key
