"""Who refers to whom in this database: asked before a row is written, and before one goes."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from syncnode.dialects.base import Dialect
from syncnode.schema.plan import ColumnPlan, ForeignKey, SchemaPlan
from syncnode.store.conditional import refers_sql
from syncnode.store.database import Transaction
from syncnode.store.spellings import OtherSpellings, folded
from syncnode.store.table import KEYS_PER_QUERY, Key, Table
from syncproto.identity import RowKey
from syncproto.row import Reference, Row, Stamp

if TYPE_CHECKING:
    from syncnode.apply.writing import Refusal


@dataclass(frozen=True, slots=True)
class Inbound:
    """A foreign key that points to a replicated table, from any table of the database.

    Attributes:
        table: The table that it points to.
        by_content: The column, where it is a reference by condition.
    """

    child: str
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]
    table: str = ""
    by_content: ColumnPlan | None = None

    def joined(self, dialect: Dialect) -> str:
        """That the row `c` refers to the row `t`, in SQL."""
        quote = dialect.quote
        if self.by_content is not None:
            number = f"t.{quote(self.target_columns[0])}"
            return refers_sql(dialect, self.by_content, self.table, child="c", number=number)
        return " AND ".join(
            f"c.{quote(mine)} = t.{quote(theirs)}"
            for mine, theirs in zip(self.columns, self.target_columns, strict=True)
        )


class Absent(NamedTuple):
    """Parents that are not there: which foreign key, and rows by the values that they lack."""

    key: ForeignKey
    rows_by_values: Mapping[tuple[Any, ...], Sequence[int]]


class Referrers:
    """The foreign keys of a schema as questions to the database."""

    def __init__(
        self, schema: SchemaPlan, tables: Mapping[int, Table], inbound: Mapping[str, list[Inbound]]
    ) -> None:
        self._by_name = {table.name: table for table in tables.values()}
        self._inbound = inbound
        self._pointing = {
            name: [*inbound.get(name, ()), *_followed(table, tables.values(), inbound)]
            for name, table in self._by_name.items()
        }
        self._checked = {
            table.number: [
                key for key in table.foreign_keys if not _resolved(key, self._by_name, table.name)
            ]
            for table in schema.tables
        }

    def _in_sql(self, tx: Transaction, name: str) -> str:
        """A table, replicated or not, in a statement."""
        table = self._by_name.get(name)
        return table.quoted if table is not None else tx.dialect.quote(name)

    def refers(self, tx: Transaction, table: Table, pk: Key) -> bool:
        """Whether some other row refers to this one."""
        quote, mark = tx.dialect.quote, tx.mark
        here = " AND ".join(f"t.{quote(name)}={mark}" for name in table.plan.primary_key)
        for inbound in self._inbound.get(table.name, ()):
            joined = inbound.joined(tx.dialect)
            other = ""
            if inbound.child == table.name:
                same = " AND ".join(
                    f"c.{quote(name)} = t.{quote(name)}" for name in table.plan.primary_key
                )
                other = f" AND NOT ({same})"
            found = tx.value(
                f"SELECT 1 FROM {table.quoted} t "
                f"JOIN {self._in_sql(tx, inbound.child)} c ON {joined} WHERE {here}{other} LIMIT 1",
                pk,
            )
            if found is not None:
                return True
        return False

    def children(self, tx: Transaction, table: Table, pk: Key) -> list[tuple[Table, Key]]:
        """Rows of replicated tables with a primary key that refer to this one."""
        quote, mark = tx.dialect.quote, tx.mark
        here = " AND ".join(f"t.{quote(name)}={mark}" for name in table.plan.primary_key)
        found = []
        for inbound in self._inbound.get(table.name, ()):
            child = self._by_name.get(inbound.child)
            if child is None or not child.plan.primary_key:
                continue
            joined = inbound.joined(tx.dialect)
            keys = ", ".join(f"c.{quote(name)}" for name in child.plan.primary_key)
            for row in tx.rows(
                f"SELECT {keys} FROM {table.quoted} t JOIN {child.quoted} c ON {joined} "
                f"WHERE {here}",
                pk,
            ):
                found.append((child, tuple(row)))
        return found

    def named(self, tx: Transaction, table: Table, pk: Key, limit: int) -> list[tuple[int, Key]]:
        """Up to `limit` other rows that refer to this one, by number of table and primary key;
        () for one without (see `nameless`), and 0 for one of a table that is not replicated."""
        return self._named(tx, table, pk, limit, self._inbound.get(table.name, ()))

    def pointing(self, tx: Transaction, table: Table, pk: Key, limit: int) -> list[tuple[int, Key]]:
        """The same of all rows with its number, each once: also of those that refer to it only
        by way of a row that shares its key."""
        found = self._named(tx, table, pk, limit, self._pointing[table.name])
        return list(dict.fromkeys(found))

    def _named(
        self, tx: Transaction, table: Table, pk: Key, limit: int, inbounds: Iterable[Inbound]
    ) -> list[tuple[int, Key]]:
        quote, mark = tx.dialect.quote, tx.mark
        here = " AND ".join(f"t.{quote(name)}={mark}" for name in table.plan.primary_key)
        found: list[tuple[int, Key]] = []
        for inbound in inbounds:
            child = self._by_name.get(inbound.child)
            keys = child.plan.primary_key if child is not None else ()
            joined = inbound.joined(tx.dialect)
            named = ", ".join(f"c.{quote(name)}" for name in keys) or "1"
            rows = tx.rows(
                f"SELECT {named} FROM {table.quoted} t "
                f"JOIN {self._in_sql(tx, inbound.child)} c ON {joined} WHERE {here} "
                f"LIMIT {limit + 1}",
                pk,
            )
            number = child.number if child is not None else 0
            names = [(number, tuple(row) if keys else ()) for row in rows]
            found += [name for name in names if name != (table.number, pk)]
        return found[:limit]

    def nameless(self, table: Table) -> list[tuple[Inbound, Table]]:
        """What points to a table from those without a primary key."""
        return [
            (inbound, self._by_name[inbound.child])
            for inbound in self._pointing[table.name]
            if inbound.child in self._by_name and not self._by_name[inbound.child].plan.primary_key
        ]

    def by_columns(self, table: Table, columns: Collection[str]) -> list[Inbound]:
        """The foreign keys that point to some of these columns of a table."""
        return [
            inbound
            for inbound in self._inbound.get(table.name, ())
            if inbound.by_content is None
            and any(name in columns for name in inbound.target_columns)
        ]

    def named_so(
        self, tx: Transaction, table: Table, inbound: Inbound, pk: Key
    ) -> tuple[Any, ...] | None:
        """What this row says in the columns that a foreign key points to, if some row has that
        foreign key's columns so."""
        quote, mark = tx.dialect.quote, tx.mark
        here = " AND ".join(f"t.{quote(name)}={mark}" for name in table.plan.primary_key)
        joined = inbound.joined(tx.dialect)
        named = ", ".join(f"t.{quote(name)}" for name in inbound.target_columns)
        return tx.row(
            f"SELECT {named} FROM {table.quoted} t "
            f"JOIN {self._in_sql(tx, inbound.child)} c ON {joined} WHERE {here} LIMIT 1",
            pk,
        )

    def dangles(
        self, tx: Transaction, table: Table, inbound: Inbound, values: tuple[Any, ...]
    ) -> bool:
        """Whether some row refers to a row with these values, and there is none."""
        quote, mark = tx.dialect.quote, tx.mark
        child = " AND ".join(f"{quote(name)}={mark}" for name in inbound.columns)
        parent = " AND ".join(f"{quote(name)}={mark}" for name in inbound.target_columns)
        found = tx.value(
            f"SELECT 1 FROM {self._in_sql(tx, inbound.child)} WHERE {child} AND NOT EXISTS "
            f"(SELECT 1 FROM {table.quoted} WHERE {parent}) LIMIT 1",
            (*values, *values),
        )
        return found is not None

    def lacking(self, tx: Transaction, key: ForeignKey, values: tuple[Any, ...] | None) -> bool:
        """Whether the parent with these values is not there; None: they have no local form."""
        return values is None or not self._present(tx, key, [])(values)

    def by_value(self, table: Table) -> list[ForeignKey]:
        """The foreign keys of a table that compare values."""
        return self._checked[table.number]

    def absent(
        self,
        tx: Transaction,
        table: Table,
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...] | None],
    ) -> "list[Absent]":
        """The parents by value of these rows that are not there.

        References to local keys were resolved before; these foreign keys compare values.
        """
        found = []
        for key in self._checked[table.number]:
            if not all(name in columns for name in key.columns):
                continue
            places = [columns.index(name) for name in key.columns]
            asked: dict[tuple[Any, ...], list[int]] = {}
            for index, row in enumerate(rows):
                if row is None:
                    continue
                values = tuple(row[place] for place in places)
                if None not in values and not self._itself(table, key, columns, row, values):
                    asked.setdefault(values, []).append(index)
            present = self._present(tx, key, list(asked))
            lacking = {values: rows for values, rows in asked.items() if not present(values)}
            if lacking:
                found.append(Absent(key, lacking))
        return found

    def refusals(
        self, tx: Transaction, table: Table, absent: "Sequence[Absent]"
    ) -> "dict[int, Refusal]":
        """By index of the row, why it cannot be written."""
        from syncnode.apply.writing import Refusal

        refused = {}
        for key, rows_by_values in absent:
            target = self._by_name.get(key.table)
            waits = (target.number, None) if target is not None else None
            detail = (
                f"{table.name}.{', '.join(key.columns)} refers to a row of {key.table} that is "
                "not here"
            )
            others = OtherSpellings(tx, key, self._in_sql(tx, key.table), rows_by_values)
            for values, indices in rows_by_values.items():
                why = detail + self._spelled_otherwise(key, values, others.of(values))
                for index in indices:
                    refused[index] = Refusal("missing parent", why, waits)
        return refused

    def _spelled_otherwise(
        self, key: ForeignKey, values: tuple[Any, ...], here: tuple[Any, ...] | None
    ) -> str:
        """The rest of a sentence on a parent that is here under another spelling; values only
        where they are what its rows are called."""
        if here is None:
            return ""
        target = self._by_name.get(key.table)
        called = target.plan.key_columns if target is not None else ()
        told = " one here is spelled otherwise,"
        for name, said, spelled in zip(key.target_columns, values, here, strict=True):
            if name in called and said != spelled:
                told = f" it says {said!r}, the row here is called {spelled!r},"
        return (
            f":{told} and this database takes the two for different names, since capitals, "
            "accents and blanks at the end count in it: give both one spelling"
        )

    def in_part(self, table: Table, columns: Collection[str]) -> set[str]:
        """The other columns of the foreign keys of which only some columns are among these."""
        lacking: set[str] = set()
        for key in self._checked[table.number]:
            if any(name in columns for name in key.columns):
                lacking.update(name for name in key.columns if name not in columns)
        return lacking

    def _itself(
        self,
        table: Table,
        key: ForeignKey,
        columns: Sequence[str],
        row: tuple[Any, ...],
        values: tuple[Any, ...],
    ) -> bool:
        if key.table != table.name or not all(name in columns for name in key.target_columns):
            return False
        return values == tuple(row[columns.index(name)] for name in key.target_columns)

    def _present(self, tx: Transaction, key: ForeignKey, asked: list[tuple[Any, ...]]) -> Any:
        """A test for whether the parent of given values is there, as the engine compares."""
        quote, mark = tx.dialect.quote, tx.mark
        where = " AND ".join(f"{quote(name)}={mark}" for name in key.target_columns)
        found: set[Any] = set()
        single = len(key.target_columns) == 1
        name, parents = quote(key.target_columns[0]), self._in_sql(tx, key.table)
        if single:
            for start in range(0, len(asked), KEYS_PER_QUERY):
                part = asked[start : start + KEYS_PER_QUERY]
                marks = ", ".join([mark] * len(part))
                found.update(
                    row[0]
                    for row in tx.rows(
                        f"SELECT {name} FROM {parents} WHERE {name} IN ({marks})",
                        [values[0] for values in part],
                    )
                )

        def present(values: tuple[Any, ...]) -> bool:
            if single and values[0] in found:
                return True
            return tx.value(f"SELECT 1 FROM {parents} WHERE {where} LIMIT 1", values) is not None

        return present


def _followed(
    table: Table, tables: Iterable[Table], inbound: Mapping[str, list[Inbound]]
) -> Iterator[Inbound]:
    """Columns that hold a table's numbers, though their foreign keys point to others that share
    them: an order to the patient, whose number is that of the person."""
    direct = {(one.child, one.columns) for one in inbound.get(table.name, ())}
    local = table.plan.local_key or next(iter(table.plan.primary_key), "")
    for child in tables:
        for name, target in child.references.items():
            if target == table.name and (child.name, (name,)) not in direct:
                yield Inbound(child.name, (name,), (local,), target)


def _resolved(key: ForeignKey, by_name: Mapping[str, Table], table: str) -> bool:
    """Whether resolving the reference has shown that the parent is there."""
    if len(key.columns) != 1 or key.table not in by_name:
        return False
    child = by_name[table]
    return (
        child.references.get(key.columns[0]) == key.table
        and by_name[key.table].plan.local_key == key.target_columns[0]
    )


DeadByValues = Mapping[tuple[Any, ...], Sequence[RowKey]]
"""Keys of deleted rows by what stood in some columns, the last deleted first."""


def dead_by_values(
    table: Table, columns: Sequence[str], rows: Iterable[tuple[RowKey, Row]]
) -> DeadByValues:
    """Deleted rows by values in the form of `comparable`."""
    found: dict[tuple[Any, ...], list[tuple[Stamp, RowKey]]] = {}
    for key, row in rows:
        cells = [row.cells.get(name) for name in columns]
        values = [cell.value if cell is not None else None for cell in cells]
        if row.delete is not None and None not in values:
            name = comparable(table, columns, values)
            found.setdefault(name, []).append((row.delete.stamp, key))
    return {name: [key for _, key in sorted(keys, reverse=True)] for name, keys in found.items()}


def comparable(table: Table, columns: Sequence[str], wire: Sequence[Any]) -> tuple[Any, ...]:
    """Values in a form in which those are equal that the engine may take for one."""
    form = []
    for name, value in zip(columns, wire, strict=True):
        if isinstance(value, Reference):
            value = value.key
        elif isinstance(value, str) and table.plan.column(name).collation_insensitive:
            value = folded(value)
        form.append(value)
    return tuple(form)


def inbound_keys(
    tx: Transaction, dialect: Dialect, schema: SchemaPlan | None = None
) -> dict[str, list[Inbound]]:
    """Every foreign key of the database by the table it points to, replicated or not; with those
    that `schema` declares beside the catalogue, and its references by condition."""
    found: dict[str, list[Inbound]] = {}
    names = {table.here: table.name for table in schema.tables} if schema is not None else {}
    for in_child, columns, to_table, targets in _catalogue(tx, dialect):
        child, table = names.get(in_child, in_child), names.get(to_table, to_table)
        found.setdefault(table, []).append(Inbound(child, columns, targets, table))
    for inbound in _declared(schema) if schema is not None else ():
        found.setdefault(inbound.table, []).append(inbound)
    return found


def _declared(schema: SchemaPlan) -> Iterator[Inbound]:
    by_name = schema.by_name
    for table in schema.tables:
        for key in table.foreign_keys:
            if key.declared:
                yield Inbound(table.name, key.columns, key.target_columns, key.table)
        for column in table.travelling:
            for target in sorted(column.conditional.targets if column.conditional else ()):
                if target in by_name:
                    local = by_name[target].local_key or by_name[target].primary_key[0]
                    yield Inbound(table.name, (column.name,), (local,), target, column)


# Child, name of the key, parent, column, target column.
_FOREIGN_KEYS = {
    "mysql": "SELECT TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_NAME, COLUMN_NAME, "
    "REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE "
    "WHERE TABLE_SCHEMA=DATABASE() AND REFERENCED_TABLE_SCHEMA=DATABASE() "
    "ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
    "postgresql": "SELECT c.relname, k.conname, p.relname, a.attname, b.attname "
    "FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid "
    "JOIN pg_class p ON p.oid = k.confrelid "
    "CROSS JOIN unnest(k.conkey, k.confkey) WITH ORDINALITY AS u (mine, theirs, place) "
    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.mine "
    "JOIN pg_attribute b ON b.attrelid = p.oid AND b.attnum = u.theirs "
    "WHERE k.contype = 'f' AND c.relnamespace = quote_ident(current_schema())::regnamespace "
    "AND p.relnamespace = c.relnamespace ORDER BY c.relname, k.conname, u.place",
}


def _catalogue(
    tx: Transaction, dialect: Dialect
) -> list[tuple[str, tuple[str, ...], str, tuple[str, ...]]]:
    keys: dict[tuple[str, object], tuple[str, list[str], list[str]]] = {}
    if dialect.name == "sqlite":
        names = {
            name.lower(): name
            for (name,) in tx.rows("SELECT name FROM sqlite_master WHERE type='table'")
        }
        for child, number, table, column, target in tx.rows(
            'SELECT m.name, f.id, f."table", f."from", f."to" FROM sqlite_master m '
            "JOIN pragma_foreign_key_list(m.name) f WHERE m.type='table' "
            "ORDER BY m.name, f.id, f.seq"
        ):
            parent = names.get(table.lower(), table)
            if target is None:
                primary = [
                    name
                    for (name,) in tx.rows(
                        "SELECT name FROM pragma_table_info(?) WHERE pk>0 ORDER BY pk", (parent,)
                    )
                ]
                have = keys.get((child, number), (parent, [], []))[2]
                target = primary[len(have)] if len(have) < len(primary) else primary[-1]
            _, columns, targets = keys.setdefault((child, number), (parent, [], []))
            columns.append(column)
            targets.append(target)
    else:
        for child, name, table, column, target in tx.rows(_FOREIGN_KEYS[dialect.name]):
            _, columns, targets = keys.setdefault((child, name), (table, [], []))
            columns.append(column)
            targets.append(target)
    return [
        (child, tuple(columns), table, tuple(targets))
        for (child, _), (table, columns, targets) in keys.items()
    ]
