"""What a schema looks like without saying so: columns that may hold another table's numbers.

Nothing is translated on suspicion. `init` names what it suspects, and `init --propose` writes it
into a file in which people say what is true.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from syncnode.schema.catalogue import Table
from syncnode.schema.plan import SchemaPlan, Suspected, TablePlan
from syncnode.schema.rowkeys import INTEGERS, RowKeys
from syncnode.schema.rules import NO_RULES, TableRules
from syncnode.settings.toml_reader import key_text

LIKEWISE_MIN = 2  # tables in which a column of that name refers to the same table
_CHANGED = ("date_changed", "changed_at", "date_modified", "modified_at", "modified", "updated_at")
_CREATED = ("date_created", "created_at", "created")


def suspected(
    tables: Sequence[Table], row_keys: RowKeys, rules: Mapping[str, TableRules]
) -> Iterator[Suspected]:
    """Integer columns that look like numbers of another table and have no foreign key."""
    by_number = _by_name_of_number(tables, row_keys)
    likewise = _likewise(tables)
    for table in tables:
        rule = rules.get(table.name, NO_RULES)
        said = {*rule.references, *rule.conditional}
        foreign = {name for one in table.foreign_keys for name in one.columns}
        for column in table.columns:
            if column.kind not in INTEGERS or column.generated:
                continue
            if column.name in foreign or column.name in said:
                continue
            name = column.name.casefold()
            target = by_number.get(name)
            if table.primary_key != (column.name,):
                target = target or likewise.get(name)
            if target is not None and target != table.name:
                yield Suspected(table.name, column.name, target)
            elif target is None and (by := _told_by(table, name)) is not None:
                yield Suspected(table.name, column.name, "", by)


def suspicion_text(found: Collection[Suspected]) -> Iterator[str]:
    """A sentence for each table in which something is suspected."""
    for table in sorted({one.table for one in found}):
        columns = [f"{one.column} > {_shown(one)}" for one in found if one.table == table]
        yield (
            f"suspected reference{'s' if len(columns) > 1 else ''} of {table}, not translated: "
            f"{', '.join(columns)}; declare what is true in [tables.{table}] references, and"
            " false for what is none"
        )


def _shown(one: Suspected) -> str:
    return one.target or f"what {one.by} says"


def proposal(plan: SchemaPlan) -> str:
    """A preset for this schema, to be edited: all that is only suspected stands behind a #."""
    lines = [
        'about = "what syncnode found in this schema; take the # away from what is true"',
        "",
        *_modified_lines(plan),
        "# What never should leave a site:",
        "# [tables.audit_log]",
        '# exclude = "why"',
    ]
    if any(one.by for one in plan.suspected):
        lines += ["", "# What a column may say, with the table that it means then:"]
        lines += ["# [maps.kinds]", '# "Place" = "place"']
    for table in sorted(plan.tables, key=lambda table: table.name):
        said = list(_table_lines(plan, table))
        if said:
            lines += ["", f"[{key_text(('tables', table.name))}]", *said]
    return "\n".join([*lines, ""])


def _by_name_of_number(tables: Sequence[Table], row_keys: RowKeys) -> dict[str, str]:
    """Tables by the names under which others would hold their local numbers."""
    own: dict[str, str] = {}
    singular: dict[str, str] = {}
    several: dict[str, list[str]] = {}
    for table in tables:
        local = row_keys.plan(table).local_key
        if local is not None:
            own[f"{table.name}_id".casefold()] = table.name
            singular |= {f"{name}_id": table.name for name in _singular(table.name.casefold())}
            several.setdefault(local.casefold(), []).append(table.name)
    alone = {name: found[0] for name, found in several.items() if len(found) == 1}
    return {**singular, **{name: table for name, table in alone.items() if name != "id"}, **own}


def _singular(name: str) -> Iterator[str]:
    """What one row of a table of that name may be called: users, addresses, categories."""
    for ending, instead in (("s", ""), ("es", ""), ("ies", "y")):
        if name.endswith(ending):
            yield name.removesuffix(ending) + instead


def _told_by(table: Table, name: str) -> str | None:
    """The column that seems to say which table's number stands in the column of that name."""
    columns = {column.name.casefold(): column for column in table.columns}
    kind = columns.get(name.removesuffix("_id") + "_type")
    if name.endswith("_id") and kind is not None and kind.kind == "text":
        return kind.name
    content = columns.get("content_type_id")  # as Django calls it
    return content.name if name == "object_id" and content is not None else None


def _likewise(tables: Sequence[Table]) -> dict[str, str]:
    """The table that columns of a name refer to in every table that says so."""
    targets: dict[str, list[str]] = {}
    for table in tables:
        for key in table.foreign_keys:
            if len(key.columns) == 1 and not key.declared:
                targets.setdefault(key.columns[0].casefold(), []).append(key.table)
    return {
        name: found[0]
        for name, found in targets.items()
        if len(set(found)) == 1 and len(found) >= LIKEWISE_MIN
    }


def _modified_lines(plan: SchemaPlan) -> list[str]:
    there = {column.name for table in plan.tables for column in table.columns}
    names = [name for name in (*_CHANGED, *_CREATED) if name in there]
    if not names:
        return []
    shown = ", ".join(f'"{name}"' for name in names)
    return [
        "# When the application last changed a row, the surest column first:",
        f"# modified = [{shown}]",
        "",
    ]


def _table_lines(plan: SchemaPlan, table: TablePlan) -> Iterator[str]:
    for one in plan.suspected:
        if one.table == table.name:
            yield f"# {_declaration(table, one)}"
    # Of columns that have two indexes one line is enough, and two would be no TOML.
    names = list(
        dict.fromkeys(
            key.columns for key in table.unique_keys if key.plain and _is_words(table, key.columns)
        )
    )
    if table.key_kind == "random":
        led = [key.columns for key in table.unique_keys if key.plain and _leads(table, key.columns)]
        for columns in names or led or [("…",)]:
            yield f"# key = [{', '.join(map(_text, columns))}]  # nothing but a counter names a row"
    elif table.key_kind == "uuid":
        for columns in names:
            yield f'# {key_text(("unique", ", ".join(columns)))} = "merge"  # or rename, hold'


def _is_words(table: TablePlan, columns: Sequence[str]) -> bool:
    return tuple(columns) != table.key_columns and all(
        not table.column(name).nullable and table.column(name).kind == "text" for name in columns
    )


def _leads(table: TablePlan, columns: Sequence[str]) -> bool:
    """All of them are words or refer to rows, which mean the same everywhere."""
    foreign = {name for key in table.foreign_keys for name in key.columns}
    kinds = [table.column(name) for name in columns if name not in foreign]
    return all(not table.column(name).nullable for name in columns) and all(
        column.kind == "text" for column in kinds
    )


def _declaration(table: TablePlan, one: Suspected) -> str:
    if one.by is None:
        return f"{key_text(('references', one.column))} = {_text(one.target)}"
    by = _text(one.by)
    leads = any(one.by in key.columns for key in table.foreign_keys)
    told = f'by = {by}, column = "…"' if leads else f"column = {by}"
    return f'{key_text(("conditional", one.column))} = {{ {told}, tables = "kinds" }}'


def _text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
