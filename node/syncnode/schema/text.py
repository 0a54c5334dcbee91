"""The plan as text for people: what `init --dry-run` prints."""

from collections import defaultdict
from collections.abc import Iterator

from syncnode.schema.plan import ColumnPlan, SchemaPlan, TablePlan

WIDTH = 100  # of a terminal; long lists of names are wrapped to it
_ENGINES = {"sqlite": "SQLite", "mysql": "MariaDB or MySQL", "postgresql": "PostgreSQL"}


def plan_text(plan: SchemaPlan) -> str:
    """All of the plan, one table a paragraph, parents first."""
    return "\n".join(_lines(plan)) + "\n"


def key_text(table: TablePlan) -> str:
    """In a few words, what names a row of this table at every site."""
    columns = ", ".join(table.key_columns)
    match table.key_kind:
        case "uuid":
            return f"uuid column {columns}"
        case "shared":
            return f"that of {table.references[table.key_columns[0]]} ({columns})"
        case "composite":
            return f"the columns {columns} together"
        case "natural":
            return f"the value of {columns}"
        case "random":
            return "drawn at capture: the table has a counter and no other name for a row"
        case "none":
            return "the whole row: no primary key; equal rows are counted"


def _lines(plan: SchemaPlan) -> Iterator[str]:
    tables = _counted(len(plan.tables), "table")
    yield f"{tables} of {_ENGINES[plan.dialect]} replicated, {len(plan.excluded)} left out."
    for table in plan.tables:
        yield ""
        yield from _table_lines(table, taken_along=table.name in plan.taken_along)
    if plan.excluded:
        yield ""
        yield "Left out:"
        yield from _excluded_lines(plan)
    if plan.warnings:
        yield ""
        yield "To know:"
        for warning in plan.warnings:
            yield from _wrapped(warning, first="  - ", rest="    ")


def _table_lines(table: TablePlan, *, taken_along: bool) -> Iterator[str]:
    marks = [
        "taken along, since a chosen table refers to it" if taken_along else "",
        "in a cycle of references" if table.in_cycle else "",
    ]
    remarks = "; ".join(mark for mark in marks if mark)
    yield f"{table.name}" + (f"  ({remarks})" if remarks else "")
    yield from _wrapped(key_text(table), first="  row key     ", rest=" " * 14)
    if table.local_key:
        yield f"  stays here  {table.local_key} (a local number)"
    references = list(_references(table))
    if references:
        yield from _wrapped(", ".join(references), first="  references  ", rest=" " * 14)
    for column in table.columns:
        if column.conditional:
            yield from _wrapped(_conditional_text(column), first="  by content  ", rest=" " * 14)
    for name, kept in table.local_rows:
        yield from _wrapped(
            f"rows whose {name} is {', '.join(kept)}", first="  stay here   ", rest=" " * 14
        )
    values = [column.name for column in table.travelling if not column.reference]
    if values:
        yield from _wrapped(", ".join(values), first="  values      ", rest=" " * 14)
    for unique in table.unique_keys:
        if unique.columns != table.key_columns:
            yield (
                f"  unique      {', '.join(unique.columns) or unique.name}"
                + ("" if unique.plain else " (in part: only this database checks it)")
                + ("" if unique.rule == "rename" else f": {unique.rule}")
            )
    if table.deletes != "update-revives":
        yield f"  deletes     {table.deletes}"
    if table.modified:
        yield from _wrapped(", ".join(table.modified), first="  modified    ", rest=" " * 14)
    generated = [column.name for column in table.columns if column.generated]
    if generated:
        yield from _wrapped(", ".join(generated), first="  computed    ", rest=" " * 14)


def _references(table: TablePlan) -> Iterator[str]:
    """What each foreign key points to, and what travels for it if that is not its row's key."""
    for key in table.foreign_keys:
        columns = ", ".join(key.columns)
        shown = f"{columns if len(key.columns) == 1 else f'({columns})'} > {key.table}"
        owners = {table.references.get(name) for name in key.columns}
        if owners == {None}:
            remark = "by value"
        elif owners == {key.table} or None in owners:
            remark = ""
        else:
            remark = f"as {', '.join(sorted(map(str, owners)))}"
        remarks = [remark, "declared" if key.declared else ""]
        told = ", ".join(one for one in remarks if one)
        yield f"{shown} ({told})" if told else shown


def _conditional_text(column: ColumnPlan) -> str:
    condition = column.conditional
    assert condition is not None, "the caller asked"
    where = condition.column if condition.by is None else f"{condition.decider}.{condition.column}"
    means = ", ".join(sorted(condition.targets))
    return f"{column.name} is a local number of {means} where {where} says so"


def _excluded_lines(plan: SchemaPlan) -> Iterator[str]:
    names_by_reason: dict[str, list[str]] = defaultdict(list)
    for excluded in plan.excluded:
        names_by_reason[excluded.reason].append(excluded.table)
    for reason, names in names_by_reason.items():
        yield from _wrapped(f"{', '.join(names)}: {reason}", first="  ", rest="    ")


def _wrapped(text: str, *, first: str, rest: str) -> list[str]:
    import textwrap

    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
