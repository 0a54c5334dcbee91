"""What syncnode has decided about a schema: tables, row keys, references, and what stays out.

Frozen values, made by `inspect.py` and read by everything that touches the application's
tables. A table's plan is kept as JSON in `syncnode_table.plan`, so that triggers, clocks and
rows of one installation agree although the catalogue may have changed since.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

ColumnKind = Literal[
    "integer",
    "unsigned",
    "float",
    "single",
    "decimal",
    "text",
    "bytes",
    "date",
    "time",
    "datetime",
    "bit",
    "any",
]
"""How a column's values look on the wire: `single` is a four-byte float, `any` a SQLite column
without a usable declared type, whose values travel as they are."""

MODIFIED = ("date_changed", "updated_at", "modified_at", "date_created", "created_at")
"""Where nothing says otherwise, `TablePlan.modified`: columns of dates and times of these names."""

KeyKind = Literal["uuid", "shared", "composite", "natural", "random", "none"]
"""Where the row key comes from: a unique uuid column; the parent whose key is this table's
primary key; the translated columns of the primary key; a text or assigned number; drawn at
capture, since the table has a counter and nothing else; the whole row and a copy's ordinal."""

UniqueRule = Literal["merge", "rename", "hold"]
"""Of two rows that clash in a unique key: they are one and the same thing; the later one gets a
visible mark (or NULL); the later one waits, unshown."""

DeleteRule = Literal["update-revives", "delete-wins"]
"""Whether an edit that the deleting site had not seen brings the row back."""


@dataclass(frozen=True, slots=True)
class Conditional:
    """When a column that no foreign key holds is the local key of another row.

    As a number or as text; whatever is not all digits is a plain value.

    Attributes:
        by: The column of the same table that leads to the row that decides; None: each row
            decides for itself.
        decider: The table of the row that decides.
        decider_key: The column of `decider` that `by` holds.
        column: The column of that row that decides.
        tables: What may stand in it, with the table whose local key the digits are then.
        decider_here: What this database calls `decider`, where that is another name.
    """

    by: str | None
    decider: str
    decider_key: str
    column: str
    tables: tuple[tuple[str, str], ...]
    decider_here: str = ""

    @property
    def decided_in(self) -> str:
        """The name of `decider` in this database."""
        return self.decider_here or self.decider

    @property
    def targets(self) -> frozenset[str]:
        return frozenset(table for _, table in self.tables)


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column as the engine declares it.

    Attributes:
        reference: The table whose local integer key this column holds, after following foreign
            keys to the end (patient.patient_id refers to person); None: the value itself travels.
        conditional: When the value is a local key, and of which table.
        size: Characters of a CHAR or VARCHAR, bytes of an integer or binary type, bits of a bit
            type; None where the engine sets no limit.
        octets: Greatest length in bytes of a text or binary type on MariaDB.
        fraction: Digits of a second that a time or datetime keeps.
        generated: Computed by the engine: never read, written or sent.
        automatic: The engine draws the next number when an INSERT gives none (or, on MariaDB, 0).
        collation_insensitive: The engine compares without case, accents or trailing blanks.
        default_zero: A reference whose DEFAULT is 0: a row may hold 0 without such a parent.
        has_default: An INSERT may leave the column out although it is NOT NULL.
        declared: The type as written in the schema, in lower case.
    """

    name: str
    kind: ColumnKind
    nullable: bool
    reference: str | None = None
    size: int | None = None
    octets: int | None = None
    precision: int | None = None
    scale: int | None = None
    fraction: int | None = None
    generated: bool = False
    automatic: bool = False
    collation_insensitive: bool = False
    default_zero: bool = False
    has_default: bool = False
    charset: str | None = None
    collation: str | None = None
    declared: str = ""
    conditional: Conditional | None = None


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key of the catalogue, whether its columns are references or plain values.

    Attributes:
        on_delete, on_update: In upper case, "NO ACTION" where nothing is declared.
        deferrable: Checked at the end of the transaction without being asked (SQLite's DEFERRABLE
            INITIALLY DEFERRED).
        declared: Not the catalogue but `[tables.x] references` has it, and no engine checks it.
    """

    columns: tuple[str, ...]
    table: str
    target_columns: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    deferrable: bool = False
    name: str = ""
    declared: bool = False


@dataclass(frozen=True, slots=True)
class UniqueKey:
    """A unique index besides the primary key.

    Attributes:
        insensitive: Those of `columns` that the index compares without case or accents.
        partial: Has a WHERE clause: only some rows must be unique.
        expression: Holds an expression; `columns` names only the plain ones.
        prefix: Compares only the start of some column.
        rule: What becomes of two rows that clash.
    """

    name: str
    columns: tuple[str, ...]
    insensitive: tuple[str, ...] = ()
    partial: bool = False
    expression: bool = False
    prefix: bool = False
    rule: UniqueRule = "rename"

    @property
    def plain(self) -> bool:
        """Two rows clash exactly when they agree in all of `columns`."""
        return not (self.partial or self.expression or self.prefix)


@dataclass(frozen=True, slots=True)
class TablePlan:
    """One replicated table.

    Attributes:
        name: What the network calls it.
        number: From 1, in the order of sorted names; stable while the choice of tables is.
        key_columns: What the row key is made of: the uuid column; the primary key for shared,
            composite and natural keys; nothing for random; all travelling columns for none.
        primary_key: The columns that name a row in this database. Where a table declares none, a
            unique key over NOT NULL columns serves; empty only for key kind none.
        local_key: The integer column that means nothing elsewhere and never travels, if any.
        autoincrement: SQLite's AUTOINCREMENT, MariaDB's AUTO_INCREMENT, or an identity or serial
            column of PostgreSQL is declared.
        in_cycle: Parents and children cannot be put in an order (self-references do not count).
        rowid: SQLite: a name of the hidden row number that no column takes; None without rowid.
        deletes: What an edit elsewhere does to a row deleted here.
        modified: Columns in which the application says when it last changed a row, the surest
            first; of a row the first that is not NULL counts.
        local_rows: Columns of the row key, with the values whose rows stay at this site.
        received_only: The rules of links let it come here and not go: what is written to it here
            is undone.
        engine, charset, collation: MariaDB only.
        here_as: What this database calls it, where that is another name.
    """

    name: str
    number: int
    key_kind: KeyKind
    primary_key: tuple[str, ...]
    key_columns: tuple[str, ...]
    columns: tuple[ColumnPlan, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    unique_keys: tuple[UniqueKey, ...] = ()
    local_key: str | None = None
    autoincrement: bool = False
    in_cycle: bool = False
    rowid: str | None = None
    strict: bool = False
    engine: str | None = None
    charset: str | None = None
    collation: str | None = None
    deletes: DeleteRule = "update-revives"
    modified: tuple[str, ...] = ()
    local_rows: tuple[tuple[str, tuple[str, ...]], ...] = ()
    received_only: bool = False
    here_as: str = ""

    @property
    def here(self) -> str:
        """Its name in this database."""
        return self.here_as or self.name

    def column(self, name: str) -> ColumnPlan:
        """The column of that name.

        Raises:
            KeyError: There is none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    @property
    def stored(self) -> tuple[ColumnPlan, ...]:
        """Columns that hold something of their own: all but the generated."""
        return tuple(column for column in self.columns if not column.generated)

    @property
    def travelling(self) -> tuple[ColumnPlan, ...]:
        """Columns that have cells: stored, and not the local key."""
        return tuple(column for column in self.stored if column.name != self.local_key)

    @property
    def references(self) -> Mapping[str, str]:
        """Table referred to by column, for the columns that hold a local key."""
        return {column.name: column.reference for column in self.columns if column.reference}

    @property
    def automatic(self) -> str | None:
        """The column whose next number the engine draws, if any."""
        return next((column.name for column in self.columns if column.automatic), None)

    def to_json(self) -> str:
        return _dumped(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "TablePlan":
        return _table(json.loads(text))


# Of tables that were left out by choice.
DISABLED = "disabled by `syncnode tables disable`"
LISTED = "listed in [tables] exclude"
UNLISTED = "not among the tables of [tables] only, nor referred to by them"


@dataclass(frozen=True, slots=True)
class Excluded:
    """A table that is not replicated, and why, with what would change that."""

    table: str
    reason: str


@dataclass(frozen=True, slots=True)
class Suspected:
    """A column that looks like a local number of another table, and is not translated.

    Attributes:
        target: That table; "" where another column says which.
        by: That column.
    """

    table: str
    column: str
    target: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class SchemaPlan:
    """All replicated tables, parents before children as far as cycles allow.

    Attributes:
        dialect: "sqlite", "mysql" (MariaDB and MySQL) or "postgresql".
        taken_along: Tables that the choice did not name but that those named refer to.
        warnings: Sentences for the operator: what is guessed, what cannot work.
        suspected: References that nobody has declared.
        namespace: PostgreSQL: the schema in which tables and sidecar stand; "" elsewhere.
    """

    dialect: str
    tables: tuple[TablePlan, ...]
    excluded: tuple[Excluded, ...] = ()
    taken_along: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    suspected: tuple[Suspected, ...] = ()
    namespace: str = ""

    def __iter__(self) -> Iterator[TablePlan]:
        return iter(self.tables)

    def __len__(self) -> int:
        return len(self.tables)

    @property
    def by_name(self) -> Mapping[str, TablePlan]:
        return {table.name: table for table in self.tables}

    @property
    def by_number(self) -> Mapping[int, TablePlan]:
        return {table.number: table for table in self.tables}

    def children(self, name: str) -> tuple[tuple[TablePlan, ForeignKey], ...]:
        """Every foreign key that points to that table, with the table that has it."""
        return tuple(
            (table, key) for table in self.tables for key in table.foreign_keys if key.table == name
        )

    def to_json(self) -> str:
        return _dumped(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "SchemaPlan":
        fields = json.loads(text)
        return cls(
            dialect=fields["dialect"],
            tables=tuple(_table(table) for table in fields["tables"]),
            excluded=tuple(Excluded(**excluded) for excluded in fields["excluded"]),
            taken_along=tuple(fields["taken_along"]),
            warnings=tuple(fields["warnings"]),
            suspected=tuple(Suspected(**one) for one in fields.get("suspected", ())),
            namespace=fields.get("namespace", ""),
        )


def _dumped(fields: Mapping[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def _table(fields: Mapping[str, Any]) -> TablePlan:
    plain: dict[str, Any] = _tuples(fields)
    plain["columns"] = tuple(_column(column) for column in fields["columns"])
    plain["foreign_keys"] = tuple(ForeignKey(**_tuples(key)) for key in fields["foreign_keys"])
    plain["unique_keys"] = tuple(UniqueKey(**_tuples(key)) for key in fields["unique_keys"])
    local_rows = fields.get("local_rows", ())
    plain["local_rows"] = tuple((name, tuple(values)) for name, values in local_rows)
    return TablePlan(**plain)


def _column(fields: Mapping[str, Any]) -> ColumnPlan:
    plain = dict(fields)
    if condition := fields.get("conditional"):
        tables = tuple((said, table) for said, table in condition["tables"])
        plain["conditional"] = Conditional(**{**condition, "tables": tables})
    return ColumnPlan(**plain)


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows only lists; our values hold tuples."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
