"""The plan of a site to which a table is added, or from which one is taken away.

Tables that stay keep their plans and numbers, for triggers, clocks and rows of the site follow
them. What the plan so made needs in the database is told as the difference of two lists of
statements.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from syncnode.schema.plan import DISABLED, Excluded, SchemaPlan, TablePlan
from syncproto.errors import ConfigError

_TRIGGER = re.compile(r"CREATE TRIGGER (\S+) ")


def with_tables(plan: SchemaPlan, whole: SchemaPlan, names: Collection[str]) -> SchemaPlan:
    """The plan with these tables, as they stand in `whole`, the plan of all that could take part.

    Raises:
        ConfigError: One cannot take part, or refers to a table that does not.
    """
    reasons = {one.table: one.reason for one in whole.excluded}
    numbers = {table.name: table.number for table in plan.tables}
    following = max(numbers.values(), default=0) + 1
    for name in names:
        if name not in whole.by_name:
            why = reasons.get(name, "there is no such table")
            raise ConfigError(f"{name} cannot take part: {why}")
        numbers.setdefault(name, following)
        following = max(numbers.values()) + 1
    for name in names:
        _check_parents(whole.by_name[name], numbers)
    return replace(
        plan,
        tables=tuple(_in_order(plan, whole, numbers)),
        excluded=tuple(one for one in plan.excluded if one.table not in names),
        suspected=tuple(one for one in whole.suspected if one.table in numbers),
    )


def without_tables(plan: SchemaPlan, names: Collection[str]) -> SchemaPlan:
    """The plan without these tables.

    Raises:
        ConfigError: One does not take part, or a table that stays refers to it; or none is left.
    """
    for name in names:
        if name not in plan.by_name:
            raise ConfigError(f"{name} does not take part: `syncnode tables` lists those that do")
    staying = tuple(table for table in plan.tables if table.name not in names)
    if not staying:
        raise ConfigError("no table would be left: `syncnode uninstall` ends the site")
    for table in staying:
        for key in table.foreign_keys:
            if key.table in names:
                raise ConfigError(
                    f"{key.table} cannot be left out while {table.name} "
                    f"({', '.join(key.columns)}) refers to it: disable {table.name} too, or keep "
                    f"{key.table}"
                )
    out = [Excluded(name, DISABLED) for name in names]
    kept = [one for one in plan.excluded if one.table not in names]
    return replace(
        plan,
        tables=staying,
        excluded=tuple(sorted([*kept, *out], key=lambda one: one.table)),
        taken_along=tuple(name for name in plan.taken_along if name not in names),
        suspected=tuple(one for one in plan.suspected if one.table not in names),
    )


def _check_parents(table: TablePlan, numbers: Collection[str]) -> None:
    for key in table.foreign_keys:
        if key.table not in numbers:
            raise ConfigError(
                f"{table.name} ({', '.join(key.columns)}) refers to {key.table}, which does not "
                f"take part: enable {key.table} too, in the same command"
            )


def _in_order(plan: SchemaPlan, whole: SchemaPlan, numbers: dict[str, int]) -> list[TablePlan]:
    """Parents first, as the whole plan has them; those that stay with their own plans."""
    kept = plan.by_name
    fresh = [table for table in whole.tables if table.name in numbers]
    gone = [table for table in plan.tables if table.name not in whole.by_name]
    return [
        *gone,
        *(
            replace(kept[table.name], in_cycle=table.in_cycle)
            if table.name in kept
            else replace(table, number=numbers[table.name])
            for table in fresh
        ),
    ]


def added(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The statements that `after` has beyond `before`; a trigger that there was is made anew."""
    there = set(before)
    names = {found[1] for statement in before if (found := _TRIGGER.match(statement))}
    statements = []
    for statement in after:
        if statement in there and not statement.startswith("SET "):
            continue
        if re.match(r"CREATE TABLE \S*syncnode_journal ", statement):
            continue  # it is there, and perhaps narrower: see the caller
        found = _TRIGGER.match(statement)
        if found and found[1] in names:
            statements.append(f"DROP TRIGGER IF EXISTS {found[1]}")
        statements.append(statement)
    return statements


def removed(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Of the statements that take things away, those that only `before` has."""
    staying = set(after)
    return [statement for statement in before if statement not in staying]
