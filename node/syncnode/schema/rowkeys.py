"""Decides for every table what names its rows, and which columns refer to other tables' rows.

A row is named by its primary key as far as that means the same at every site: a text, an assigned
number, another row. Where the primary key is a local number, a uuid column names the row if it is
unique in fact; where there is none either, the key is drawn at capture.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from syncnode.schema.catalogue import Catalogue, Table
from syncnode.schema.plan import ColumnPlan, KeyKind

UUID_NAMES = ("uuid", "guid")
UUID_CHARACTERS_MIN = 32  # hexadecimal digits without dashes
UUID_BYTES = 16
INTEGERS = ("integer", "unsigned")


@dataclass(frozen=True, slots=True)
class RowKeyPlan:
    """What names the rows of one table; fields as in `TablePlan`."""

    kind: KeyKind
    primary_key: tuple[str, ...]
    key_columns: tuple[str, ...]
    local_key: str | None = None


class RowKeys:
    """The decisions for all tables of a catalogue; `warnings` says what was passed over and why.

    Args:
        declared: Row keys that people have declared, by table.
    """

    def __init__(
        self, catalogue: Catalogue, declared: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self._catalogue = catalogue
        self._declared = declared or {}
        self._tables: Mapping[str, Table] = {table.name: table for table in catalogue.tables}
        self.warnings: dict[str, list[str]] = {}
        self._uuids: dict[str, str | None] = {}
        self._plans: dict[str, RowKeyPlan] = {}

    def reference(self, table: str, column: str) -> str | None:
        """The table whose local integer key the column holds, by following foreign keys."""
        return self._root(table, column, ())

    def plan(self, table: Table) -> RowKeyPlan:
        """What names the rows of the table; decided once."""
        found = self._plans.get(table.name)
        if found is None:
            found = self._plans[table.name] = self._plan(table)
        return found

    def _plan(self, table: Table) -> RowKeyPlan:
        primary_key = table.primary_key or _substitute(table)
        if declared := self._declared.get(table.name):
            return self._as_declared(table, primary_key, declared)
        if not primary_key:
            travelling = sorted(column.name for column in table.columns if not column.generated)
            return RowKeyPlan("none", (), tuple(travelling))
        if len(primary_key) > 1:
            return self._several(table, primary_key)
        (name,) = primary_key
        column = table.column(name)
        if column.kind in INTEGERS:
            if self._leads_away(table, name):
                shared = self.reference(table.name, name) is not None
                return RowKeyPlan("shared" if shared else "natural", primary_key, primary_key)
            uuid = self._uuid(table)
            if uuid is not None:
                return RowKeyPlan("uuid", primary_key, (uuid,), local_key=name)
            if column.automatic:
                return RowKeyPlan("random", primary_key, (), local_key=name)
        elif self.reference(table.name, name) is not None:
            return RowKeyPlan("shared", primary_key, primary_key)
        is_uuid = any(candidate.name == name for candidate in _uuid_candidates(table))
        return RowKeyPlan("uuid" if is_uuid else "natural", primary_key, primary_key)

    def _as_declared(
        self, table: Table, primary_key: tuple[str, ...], declared: tuple[str, ...]
    ) -> RowKeyPlan:
        local = primary_key[0] if self._is_local(table.name, primary_key[0]) else None
        if len(declared) > 1 or self.reference(table.name, declared[0]) is not None:
            return RowKeyPlan("composite", primary_key, tuple(sorted(declared)), local)
        is_uuid = any(column.name == declared[0] for column in _uuid_candidates(table))
        return RowKeyPlan("uuid" if is_uuid else "natural", primary_key, declared, local)

    def _several(self, table: Table, primary_key: tuple[str, ...]) -> RowKeyPlan:
        counter = next((name for name in primary_key if table.column(name).automatic), None)
        if counter is None:
            return RowKeyPlan("composite", primary_key, tuple(sorted(primary_key)))
        self._warn(
            table,
            f"the primary key of {table.name} joins the counter {counter} with other columns; its"
            " numbers travel as they are, so two sites that draw the same number clash",
        )
        uuid = self._uuid(table)
        if uuid is not None:
            return RowKeyPlan("uuid", primary_key, (uuid,))
        return RowKeyPlan("random", primary_key, ())

    def _leads_away(self, table: Table, column: str) -> bool:
        """The column takes its numbers from another table."""
        if self.reference(table.name, column) == table.name:
            return False
        return any(column in key.columns and key.table != table.name for key in table.foreign_keys)

    def _root(self, table: str, column: str, path: tuple[tuple[str, str], ...]) -> str | None:
        here = (table, column)
        if here in path:
            # One-to-one tables that share each other's key: the first by name owns the numbers.
            return min(path[path.index(here) :])[0]
        leads = False
        for key in self._tables[table].foreign_keys:
            for name, target in zip(key.columns, key.target_columns, strict=False):
                if name != column or key.table not in self._tables or (key.table, target) == here:
                    continue
                leads = True
                root = self._root(key.table, target, (*path, here))
                if root is not None:
                    return root
        return table if not leads and self._is_local(table, column) else None

    def _is_local(self, table: str, column: str) -> bool:
        """The column is a primary key whose numbers mean nothing elsewhere."""
        found = self._tables[table]
        primary_key = found.primary_key or _substitute(found)
        if primary_key != (column,) or found.column(column).kind not in INTEGERS:
            return False
        declared = self._declared.get(table)
        if declared is not None:
            # What is named otherwise has numbers that mean nothing elsewhere.
            return column not in declared and not any(
                column in key.columns and key.table != table for key in found.foreign_keys
            )
        return found.column(column).automatic or self._uuid(found) is not None

    def _uuid(self, table: Table) -> str | None:
        """The uuid column that names the rows, if one is unique in fact; counted once."""
        if table.name not in self._uuids:
            candidates = _uuid_candidates(table)
            self._uuids[table.name] = next(
                (column.name for column in candidates if self._is_unique(table, column)), None
            )
        return self._uuids[table.name]

    def _is_unique(self, table: Table, column: ColumnPlan) -> bool:
        key = next((key for key in table.unique_keys if key.columns == (column.name,)), None)
        indexed = key is not None and key.plain
        if indexed and key is not None and key.insensitive and not column.nullable:
            return True
        filling = self._catalogue.filling(table.name, (column.name,))
        name = f"{table.name}.{column.name}"
        if filling.nulls:
            self._warn(
                table,
                f"{name} is NULL in {filling.nulls} of {filling.rows} rows and so does not name"
                " them; fill it to let it: a site where it is filled names its rows otherwise, and"
                " both would hold each row twice",
            )
            return False
        if filling.duplicates:
            self._warn(
                table,
                f"{name} holds {filling.duplicates} values twice (case and trailing blanks do not"
                " count) and so does not name the rows; change them to let it",
            )
            return False
        if not indexed:
            self._warn(
                table,
                f"{name} names the rows and is unique in fact, but has no unique index: add one,"
                " or received rows are looked for in the whole table",
            )
        return True

    def _warn(self, table: Table, text: str) -> None:
        self.warnings.setdefault(table.name, []).append(text)


def _substitute(table: Table) -> tuple[str, ...]:
    """A unique key over NOT NULL columns, where no primary key is declared."""
    for key in sorted(table.unique_keys, key=lambda key: (len(key.columns), key.name)):
        if key.plain and not any(table.column(name).nullable for name in key.columns):
            return key.columns
    return ()


def _uuid_candidates(table: Table) -> list[ColumnPlan]:
    """Columns named uuid or guid; else the only one that ends so, has a unique key of its own
    and does not belong to a foreign key."""
    suited = [column for column in table.columns if _holds_uuids(column)]
    named = [column for column in suited if column.name.casefold() in UUID_NAMES]
    if named:
        return named
    foreign = {name for key in table.foreign_keys for name in key.columns}
    endings = tuple(f"_{name}" for name in UUID_NAMES)
    ending = [
        column
        for column in suited
        if column.name.casefold().endswith(endings) and column.name not in foreign
    ]
    unique = {key.columns for key in table.unique_keys if key.plain} | {table.primary_key}
    return ending if len(ending) == 1 and (ending[0].name,) in unique else []


def _holds_uuids(column: ColumnPlan) -> bool:
    if column.generated:
        return False
    if column.kind == "text":
        return column.size is None or column.size >= UUID_CHARACTERS_MIN
    return column.kind == "bytes" and column.size in (None, UUID_BYTES)
