"""What a database holds, with every local number replaced by the row that it leads to.

The judge of whole comparisons: it reads the engine's own catalogue, follows foreign keys by
itself, and uses nothing of the node. What no catalogue knows (references without a foreign key,
references by condition, rows that stay at a site) the test says itself. Two databases hold the
same rows exactly when their pictures are equal.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tables import dialect_of

Picture = Mapping[str, Sequence[tuple[Any, ...]]]
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Beyond:
    """What the catalogue does not show.

    Attributes:
        references: "table.column" to the table whose primary key it holds.
        conditional: "table.column" to how its table is told: from a row to a table, or None.
        left_out: Tables that are not looked at.
        local: Rows of a table that are not looked at.
        identities: Columns that name a row, where neither `uuid` nor the primary key does.
    """

    references: Mapping[str, str] = field(default_factory=dict)
    conditional: Mapping[str, Any] = field(default_factory=dict)
    left_out: Collection[str] = ()
    local: Mapping[str, Any] = field(default_factory=dict)
    identities: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Walker:
    """One database, read whole."""

    def __init__(self, connection: Any, beyond: Beyond) -> None:
        self._beyond = beyond
        self._connection = connection
        self._lite = dialect_of(connection) == "sqlite"
        self.primary: dict[str, list[str]] = {}
        self.foreign: dict[tuple[str, str], str] = {}
        self._catalogue()
        self.rows: dict[str, Rows] = {
            table: self._rows(table) for table in sorted(self.primary) if self._looked_at(table)
        }
        self._by_number: dict[str, dict[str, dict[str, Any]]] = {
            table: {str(row[keys[0]]): row for row in self.rows[table]}
            for table, keys in self.primary.items()
            if table in self.rows and len(keys) == 1
        }

    def picture(self) -> Picture:
        return {
            table: sorted((self._line(table, row) for row in rows), key=repr)
            for table, rows in self.rows.items()
        }

    # The catalogue

    def _looked_at(self, table: str) -> bool:
        return not table.startswith("syncnode_") and table not in self._beyond.left_out

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        cursor = self._connection.cursor()
        cursor.execute(sql)
        found = list(cursor.fetchall())
        cursor.close()
        return found

    def _catalogue(self) -> None:
        if self._lite:
            tables = self._ask("SELECT name FROM sqlite_master WHERE type = 'table'")
            for (table,) in tables:
                info = self._ask(f"SELECT name, pk FROM pragma_table_info('{table}')")
                self.primary[table] = [n for n, pk in sorted(info, key=lambda one: one[1]) if pk]
                listed = f"pragma_foreign_key_list('{table}')"
                for target, column in self._ask(f'SELECT "table", "from" FROM {listed}'):
                    self.foreign[table, column] = target
            return
        if dialect_of(self._connection) == "postgresql":
            self._catalogue_of_postgresql()
            return
        for (table,) in self._ask(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()"
        ):
            self.primary[table] = []
        for table, column, key, target in self._ask(
            "SELECT table_name, column_name, constraint_name, referenced_table_name"
            " FROM information_schema.key_column_usage WHERE table_schema = DATABASE()"
            " ORDER BY table_name, constraint_name, ordinal_position"
        ):
            if key == "PRIMARY":
                self.primary[table].append(column)
            elif target is not None:
                self.foreign[table, column] = target

    def _catalogue_of_postgresql(self) -> None:
        for (table,) in self._ask(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        ):
            self.primary[table] = []
        for table, column, kind, target in self._ask(
            "SELECT t.relname, a.attname, c.contype::text, p.relname FROM pg_constraint c"
            " JOIN pg_class t ON t.oid = c.conrelid LEFT JOIN pg_class p ON p.oid = c.confrelid"
            " CROSS JOIN unnest(c.conkey) WITH ORDINALITY AS u (attribute, place)"
            " JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = u.attribute"
            " WHERE c.connamespace = quote_ident(current_schema())::regnamespace"
            " AND c.contype IN ('p', 'f')"
            " ORDER BY t.relname, c.conname, u.place"
        ):
            if kind == "p":
                self.primary[table].append(column)
            else:
                self.foreign[table, column] = target

    # Rows

    def _rows(self, table: str) -> Rows:
        quote = "`" if dialect_of(self._connection) == "mysql" else '"'
        cursor = self._connection.cursor()
        cursor.execute(f"SELECT * FROM {quote}{table}{quote}")
        names = [one[0] for one in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        cursor.close()
        local = self._beyond.local.get(table)
        return [row for row in found if local is None or not local(row)]

    def _target(self, table: str, column: str, row: dict[str, Any]) -> str | None:
        place = f"{table}.{column}"
        if place in self._beyond.references:
            return self._beyond.references[place]
        if place in self._beyond.conditional:
            found: str | None = self._beyond.conditional[place](self, row)
            return found
        return self.foreign.get((table, column))

    def row(self, table: str, number: object) -> dict[str, Any] | None:
        return self._by_number.get(table, {}).get(str(number))

    def _line(self, table: str, row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(
            (name, self._value(table, name, row))
            for name in sorted(row)
            if not self._is_number(table, name)
        )

    def _is_number(self, table: str, column: str) -> bool:
        """The column is a number that means nothing elsewhere."""
        named = self._beyond.identities.get(table) or (["uuid"] if self._has_uuid(table) else None)
        return (
            self.primary[table] == [column]
            and named is not None
            and column not in named
            and f"{table}.{column}" not in self._beyond.references
            and (table, column) not in self.foreign
        )

    def _has_uuid(self, table: str) -> bool:
        return bool(self.rows[table]) and "uuid" in self.rows[table][0]

    def _value(self, table: str, column: str, row: dict[str, Any]) -> Any:
        value = row[column]
        target = self._target(table, column, row)
        if value is None or target is None or value == "":
            return self._bare(value)
        found = self.row(target, value)
        if found is None:
            assert target in self.rows, f"{table}.{column} leads to {target}, not looked at"
            return ("nobody", str(value))
        return ("the row", target, self._name(target, found))

    def _name(self, table: str, row: dict[str, Any]) -> Any:
        if table in self._beyond.identities:
            return tuple(self._value(table, name, row) for name in self._beyond.identities[table])
        if row.get("uuid") is not None:
            return str(row["uuid"]).lower()
        return tuple(self._value(table, name, row) for name in self.primary[table])

    def _bare(self, value: Any) -> Any:
        if isinstance(value, float):
            return repr(value)
        return value if value is None or isinstance(value, bytes) else str(value)


def walked(connection: Any, beyond: Beyond) -> Picture:
    """The picture of a database."""
    return Walker(connection, beyond).picture()


def differences(one: Picture, other: Picture) -> dict[str, tuple[list[Any], list[Any]]]:
    """By table what only the one shows and what only the other does."""
    found = {}
    for table in sorted({*one, *other}):
        here, there = list(one.get(table, ())), list(other.get(table, ()))
        for line in list(here):
            if line in there:
                here.remove(line)
                there.remove(line)
        if here or there:
            found[table] = (here, there)
    return found
