"""From a database to a plan: reads the catalogue, then decides what travels and how."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from syncnode.schema.catalogue import Catalogue, Table
from syncnode.schema.choice import chosen, groups_in_order, parents, without_orphans
from syncnode.schema.plan import Excluded, SchemaPlan, TablePlan
from syncnode.schema.rowkeys import RowKeyPlan
from syncnode.schema.ruled import Ruled, ruled, unique_ruled
from syncnode.schema.rules import NO_RULES, Layers
from syncnode.schema.suspicion import suspected, suspicion_text
from syncproto.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


def inspect(
    database: "Connection | Engine",
    only: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    rules: Layers = (),
) -> SchemaPlan:
    """What syncnode does with the schema of this database; writes nothing.

    `only` takes along whatever its tables refer to; None means all tables. Our own tables
    (`syncnode_…`) and SQLite's are passed over in silence. Where a decision rests on content (a
    uuid column without unique index), the rows are counted.

    Raises:
        ConfigError: A name in `only`, `exclude` or a rule is unknown, or an excluded table is
            needed; or the engine is none that we know.
    """
    from sqlalchemy import Engine

    if isinstance(database, Engine):
        with database.connect() as connection:
            return inspect(connection, only, exclude, rules)
    return planned(_catalogue(database), only, exclude, rules)


def planned(
    catalogue: Catalogue, only: Sequence[str] | None, exclude: Sequence[str], rules: Layers = ()
) -> SchemaPlan:
    """The plan for what the catalogue holds."""
    under = ruled(catalogue, rules)
    unfit = [*catalogue.refused, *_unfit(catalogue)]
    names = {excluded.table for excluded in unfit}
    fit, refused = without_orphans(
        [table for table in under.tables if table.name not in names], unfit
    )
    choice = chosen(fit, refused, only=only, exclude=exclude, left_out=under.left_out)
    tables = {table.name: table for table in fit if table.name in choice.names}
    order, cyclic = groups_in_order(tables, parents(tables.values()))
    numbers = {name: number for number, name in enumerate(sorted(tables), start=1)}
    row_keys = under.row_keys
    plans = []
    warnings = [*catalogue.warnings, *under.notes]
    for name in order:
        key = row_keys.plan(tables[name])
        plans.append(_table_plan(tables[name], key, under, numbers[name], name in cyclic))
        warnings += row_keys.warnings.get(name, [])
        warnings += _untranslated(under, name, frozenset(tables))
        warnings += _told_apart(catalogue, tables[name], key)
        warnings += _undecided(tables[name])
    suspicions = tuple(suspected([tables[name] for name in order], row_keys, under.rules))
    warnings += suspicion_text(suspicions)
    return SchemaPlan(
        dialect=catalogue.dialect,
        namespace=catalogue.namespace,
        tables=tuple(plans),
        excluded=tuple(sorted([*refused, *choice.excluded], key=lambda excluded: excluded.table)),
        taken_along=choice.taken_along,
        warnings=tuple(warnings),
        suspected=suspicions,
    )


def _catalogue(connection: "Connection") -> Catalogue:
    dialect = connection.dialect.name
    if dialect == "sqlite":
        from syncnode.schema.sqlite import SqliteCatalogue

        return SqliteCatalogue(connection)
    if dialect in ("mysql", "mariadb"):
        from syncnode.schema.mariadb import MariadbCatalogue

        return MariadbCatalogue(connection)
    if dialect == "postgresql":
        from syncnode.schema.postgresql import PostgresqlCatalogue

        return PostgresqlCatalogue(connection)
    raise ConfigError(
        f"{dialect} is no database that syncnode knows: SQLite, MariaDB, MySQL and PostgreSQL."
    )


def _unfit(catalogue: Catalogue) -> list[Excluded]:
    """Tables whose rows cannot be told apart or hold nothing of their own."""
    found = []
    for table in catalogue.tables:
        if all(column.generated for column in table.columns):
            found.append(Excluded(table.name, "has generated columns only: nothing to replicate"))
            continue
        nullable = [name for name in table.primary_key if table.column(name).nullable]
        if nullable and catalogue.filling(table.name, nullable).nulls:
            found.append(
                Excluded(
                    table.name,
                    f"has rows whose primary key ({', '.join(nullable)}) is NULL, which SQLite"
                    " allows and no other engine does; give them a key, or delete them",
                )
            )
    return found


def _table_plan(
    table: Table, key: RowKeyPlan, under: Ruled, number: int, in_cycle: bool
) -> TablePlan:
    columns = []
    rules = under.rules.get(table.name, NO_RULES)
    conditions = under.conditions.get(table.name, {})
    for column in table.columns:
        reference = under.row_keys.reference(table.name, column.name)
        if column.name == key.local_key:
            reference = None
        columns.append(
            replace(
                column,
                reference=reference,
                default_zero=column.default_zero and reference is not None,
                conditional=conditions.get(column.name),
            )
        )
    return TablePlan(
        name=table.name,
        number=number,
        key_kind=key.kind,
        primary_key=key.primary_key,
        key_columns=key.key_columns,
        columns=tuple(columns),
        foreign_keys=table.foreign_keys,
        unique_keys=tuple(
            unique
            for unique in unique_ruled(table.unique_keys, table, rules)
            if unique.columns != key.primary_key
        ),
        local_key=key.local_key,
        autoincrement=table.autoincrement,
        in_cycle=in_cycle,
        rowid=table.rowid,
        strict=table.strict,
        engine=table.engine,
        charset=table.charset,
        collation=table.collation,
        deletes=rules.deletes or "update-revives",
        modified=under.modified[table.name],
        local_rows=tuple(sorted(rules.local.items())),
    )


def _untranslated(under: Ruled, name: str, tables: Collection[str]) -> list[str]:
    """References by condition to tables that do not take part."""
    return [
        f"{name}.{column} may hold local numbers of {', '.join(left)}, which is not replicated:"
        " such a value is held back at other sites"
        for column, condition in under.conditions.get(name, {}).items()
        if (left := sorted(condition.targets - set(tables)))
    ]


def _undecided(table: Table) -> list[str]:
    """Unique indexes in which clashes cannot be told from the values that are replicated."""
    return [
        f"the unique index {key.name} of {table.name} is over an expression, the start of a value"
        " or some of the rows: where two sites write rows that clash in it, each shows its own and"
        " parks the other's, until somebody changes one of the two"
        for key in table.unique_keys
        if not key.plain
    ]


def _told_apart(catalogue: Catalogue, table: Table, key: RowKeyPlan) -> list[str]:
    """Rows that this engine tells apart and others may not."""
    texts = [name for name in key.key_columns if table.column(name).kind in ("text", "any")]
    if key.kind not in ("natural", "composite") or not texts:
        return []
    if all(table.column(name).collation_insensitive for name in texts):
        return []
    filling = catalogue.filling(table.name, key.key_columns)
    if not filling.duplicates:
        return []
    return [
        f"{table.name} has {filling.duplicates} rows whose key ({', '.join(key.key_columns)})"
        " differs from another row's in case or trailing blanks alone; a site whose database takes"
        " the two for one shows only one of them, and parks the other"
    ]
