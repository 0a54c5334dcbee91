"""Tables that this database calls otherwise than the network does.

The network's name of a table is the one under which it was first replicated: it stands in
messages, in names of rows, in scopes and in the sidecar, and stays when an application renames the
table. `TablePlan.here` is the name for statements. That one table goes on under another name is
declared, in `[renamed]`, and never guessed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from syncnode.schema.plan import ColumnPlan, Conditional, SchemaPlan, TablePlan

Renamings = Sequence[tuple[str, str]]
"""(old name, new name), as declared."""


def names_here(plan: SchemaPlan) -> dict[str, str]:
    """The network's name by the name in this database, where the two differ."""
    return {table.here: table.name for table in plan.tables if table.here != table.name}


def called(plan: SchemaPlan, names: Mapping[str, str]) -> SchemaPlan:
    """A plan as it was read from a database, under the network's names."""
    if not names:
        return plan
    return replace(
        plan,
        tables=tuple(_called(table, names) for table in plan.tables),
        taken_along=tuple(names.get(name, name) for name in plan.taken_along),
        suspected=tuple(
            replace(
                one,
                table=names.get(one.table, one.table),
                target=names.get(one.target, one.target),
            )
            for one in plan.suspected
        ),
    )


def newly_called(
    tables: Sequence[TablePlan], declared: Renamings, there: Collection[str]
) -> dict[str, str]:
    """The network's names of tables that this database has under a new name only, by that name.

    `tables`: of this site so far; `there`: every table of the database.
    """
    found = {table.here: table.name for table in tables if table.here != table.name}
    mine = {table.here for table in tables}
    for old, new in declared:
        before = next((table.name for table in tables if table.here == old), old)
        if new in there and old not in there and new not in mine:
            found.pop(old, None)
            found[new] = before
    return found


def moved(plan: SchemaPlan, names: Mapping[str, str]) -> SchemaPlan:
    """A site's plan with these names in its database, and otherwise as it was."""
    here = {name: new for new, name in names.items()}
    if all(table.here == here.get(table.name, table.name) for table in plan.tables):
        return plan
    return replace(plan, tables=tuple(_moved(table, here) for table in plan.tables))


def _called(table: TablePlan, names: Mapping[str, str]) -> TablePlan:
    name = names.get(table.name, table.name)
    return replace(
        table,
        name=name,
        here_as=table.name if name != table.name else "",
        columns=tuple(_column(column, names) for column in table.columns),
        foreign_keys=tuple(
            replace(key, table=names.get(key.table, key.table)) for key in table.foreign_keys
        ),
    )


def _column(column: ColumnPlan, names: Mapping[str, str]) -> ColumnPlan:
    reference = column.reference and names.get(column.reference, column.reference)
    condition = column.conditional and _condition(column.conditional, names)
    return replace(column, reference=reference, conditional=condition)


def _condition(condition: Conditional, names: Mapping[str, str]) -> Conditional:
    decider = names.get(condition.decider, condition.decider)
    return replace(
        condition,
        decider=decider,
        decider_here=condition.decider if decider != condition.decider else "",
        tables=tuple((said, names.get(table, table)) for said, table in condition.tables),
    )


def _moved(table: TablePlan, here: Mapping[str, str]) -> TablePlan:
    new = here.get(table.name, "")
    return replace(
        table,
        here_as=new if new != table.name else "",
        columns=tuple(
            replace(
                column,
                conditional=replace(
                    column.conditional, decider_here=here.get(column.conditional.decider, "")
                ),
            )
            if column.conditional
            else column
            for column in table.columns
        ),
    )
