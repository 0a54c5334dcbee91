"""The catalogue of one schema of a PostgreSQL database, through pg_catalog.

The schema is the first of the search path that exists; tables of others are not looked at.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncnode.dialects.postgresql import PostgresqlDialect
from syncnode.schema.catalogue import Filling, Table
from syncnode.schema.plan import ColumnKind, ColumnPlan, Excluded, ForeignKey, UniqueKey
from syncproto.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

NO_RIGHT = "42501"
_KINDS: Mapping[str, ColumnKind] = {
    "int2": "integer",
    "int4": "integer",
    "int8": "integer",
    "float4": "single",
    "float8": "float",
    "numeric": "decimal",
    "bool": "bit",
    "bit": "bit",
    "bytea": "bytes",
    "date": "date",
    "time": "time",
    "timestamp": "datetime",
    "timestamptz": "datetime",
}
_INTEGER_BYTES = {"int2": 2, "int4": 4, "int8": 8}
_UUID_CHARACTERS = 36
_FRACTION_MAX = 6
_BITS_MAX = 63  # of a bit(n) that is a number; longer ones travel as text
_VARIABLE_HEADER = 4  # what a type modifier counts beside the characters or digits
_ACTIONS = {
    "a": "NO ACTION",
    "r": "RESTRICT",
    "c": "CASCADE",
    "n": "SET NULL",
    "d": "SET DEFAULT",
}
_RELATION_KINDS = {
    "v": "a view: the tables under it are replicated",
    "m": "a materialized view: the tables under it are replicated",
    "f": "a foreign table: its rows are another server's",
    "p": "a partitioned table, which syncnode does not replicate yet",
}

# The column's type under all its domains.
_COLUMNS = """
WITH RECURSIVE typed AS (
  SELECT a.attrelid, a.attnum, a.atttypid AS type, a.atttypmod AS modifier
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r'
    AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT d.attrelid, d.attnum, t.typbasetype,
    CASE WHEN t.typtypmod <> -1 THEN t.typtypmod ELSE d.modifier END
  FROM typed d JOIN pg_type t ON t.oid = d.type AND t.typtype = 'd'
)
SELECT c.relname, a.attname, t.typname, format_type(d.type, d.modifier), d.modifier,
  a.attnotnull, a.attidentity::text, a.attgenerated::text, pg_get_expr(f.adbin, f.adrelid),
  CASE WHEN a.attcollation <> t.typcollation THEN format('%%I.%%I', l.nspname, o.collname) END,
  COALESCE(NOT o.collisdeterministic, false) OR t.typname = 'citext'
FROM typed d JOIN pg_type t ON t.oid = d.type AND t.typtype <> 'd'
JOIN pg_class c ON c.oid = d.attrelid
JOIN pg_attribute a ON a.attrelid = d.attrelid AND a.attnum = d.attnum
LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
LEFT JOIN pg_collation o ON o.oid = a.attcollation
LEFT JOIN pg_namespace l ON l.oid = o.collnamespace
ORDER BY c.relname, a.attnum"""

_FOREIGN_KEYS = """
SELECT c.relname, k.conname, a.attname, n.nspname, p.relname, b.attname,
  k.confdeltype::text, k.confupdtype::text, k.condeferred
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace n ON n.oid = p.relnamespace
CROSS JOIN unnest(k.conkey, k.confkey) WITH ORDINALITY AS u (mine, theirs, place)
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.mine
JOIN pg_attribute b ON b.attrelid = p.oid AND b.attnum = u.theirs
WHERE k.contype = 'f' AND c.relnamespace = %s::regnamespace
ORDER BY c.relname, k.conname, u.place"""

_INDEXES = """
SELECT c.relname, x.relname, i.indisprimary, i.indpred IS NOT NULL, a.attname,
  COALESCE(NOT o.collisdeterministic, false)
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
CROSS JOIN unnest(i.indkey::int2[], i.indcollation::oid[])
  WITH ORDINALITY AS u (attribute, ordered_by, place)
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.attribute AND u.attribute > 0
LEFT JOIN pg_collation o ON o.oid = u.ordered_by
WHERE i.indisunique AND u.place <= i.indnkeyatts AND c.relnamespace = %s::regnamespace
ORDER BY c.relname, x.relname, u.place"""


class PostgresqlCatalogue:
    """Reads the connection's current schema once.

    Raises:
        ConfigError: No schema of the search path exists.
        StoreError: The user may not read a table.
    """

    dialect = "postgresql"

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.tables: list[Table] = []
        self.refused: list[Excluded] = []
        self._warnings: list[str] = []
        ((self.namespace, self._named),) = self._rows(
            "SELECT current_schema()::text, quote_ident(current_schema())"
        )
        if self.namespace is None:
            raise ConfigError(
                "The search path of the database URL names no schema that exists:"
                " …/DATABASE?options=-csearch_path%3DNAME"
            )
        self._read()

    @property
    def warnings(self) -> Sequence[str]:
        return tuple(self._warnings)

    def filling(self, table: str, columns: Sequence[str]) -> Filling:
        null = " OR ".join(f"{_escaped(column)} IS NULL" for column in columns)
        # The weakest comparison, whatever the columns say.
        texts = ", ".join(f"rtrim(lower({_escaped(column)}::text))" for column in columns)
        ((rows, nulls, distinct),) = self._rows(
            f"SELECT count(*), count(*) FILTER (WHERE {null}), count(DISTINCT ROW({texts}))"
            f" FILTER (WHERE NOT ({null})) FROM {_escaped(table)}"
        )
        return Filling(int(rows), int(nulls), int(distinct))

    def _rows(self, sql: str, *parameters: Any) -> Sequence[Any]:
        from sqlalchemy.exc import DBAPIError

        try:
            return self._connection.exec_driver_sql(sql, parameters).fetchall()
        except DBAPIError as error:
            # The catalogue shows tables, too, that the user may not read.
            if error.orig is not None and getattr(error.orig, "sqlstate", "") == NO_RIGHT:
                raise PostgresqlDialect().explained(error.orig) from error
            raise

    def _read(self) -> None:
        columns, foreign, indexes = self._columns(), self._foreign_keys(), self._indexes()
        for name, kind, persistence, partition, inherits in self._rows(
            "SELECT c.relname, c.relkind::text, c.relpersistence::text, c.relispartition,"
            " EXISTS (SELECT 1 FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent))"
            " FROM pg_class c WHERE c.relnamespace = %s::regnamespace"
            " AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY c.relname",
            self._named,
        ):
            if name.casefold().startswith("syncnode_"):
                continue
            elsewhere = {rows[0][1] for rows in foreign[name].values()} - {self.namespace}
            if reason := _refusal(kind, persistence, partition, inherits, elsewhere):
                self.refused.append(Excluded(name, reason))
                continue
            read = {fields[0]: _column(fields) for fields in columns[name]}
            if not read:
                self.refused.append(Excluded(name, "has no columns: nothing to replicate"))
                continue
            self._warn_of_large_objects(name, read.values())
            found = indexes[name]
            primary = next((rows for rows in found.values() if rows[0][0]), [])
            self.tables.append(
                Table(
                    name=name,
                    columns=tuple(read.values()),
                    primary_key=tuple(row[2] for row in primary),
                    foreign_keys=tuple(
                        _foreign_key(key, rows) for key, rows in foreign[name].items()
                    ),
                    unique_keys=tuple(
                        _unique_key(index, rows) for index, rows in found.items() if not rows[0][0]
                    ),
                    autoincrement=any(column.automatic for column in read.values()),
                )
            )

    def _warn_of_large_objects(self, table: str, columns: Any) -> None:
        self._warnings += [
            f"{table}.{column.name} may hold numbers of large objects: the numbers travel, the"
            " large objects do not; a bytea column does"
            for column in columns
            if column.declared in ("oid", "lo")
        ]

    def _columns(self) -> Mapping[str, list[Any]]:
        found = defaultdict(list)
        for table, *fields in self._rows(_COLUMNS, self._named):
            found[table].append(fields)
        return found

    def _foreign_keys(self) -> Mapping[str, dict[str, list[Any]]]:
        found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for table, name, *fields in self._rows(_FOREIGN_KEYS, self._named):
            found[table][name].append(fields)
        return found

    def _indexes(self) -> Mapping[str, dict[str, list[Any]]]:
        found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for table, name, *fields in self._rows(_INDEXES, self._named):
            found[table][name].append(fields)
        return found


def _escaped(name: str) -> str:
    """The name for a statement that the driver formats with %."""
    return '"' + name.replace('"', '""').replace("%", "%%") + '"'


def _refusal(
    kind: str, persistence: str, partition: bool, inherits: bool, elsewhere: set[str]
) -> str | None:
    if partition:
        return "a partition: its rows are those of a partitioned table"
    if kind != "r":
        return _RELATION_KINDS[kind]
    if persistence == "u":
        return "unlogged, so a crash empties it; ALTER TABLE … SET LOGGED lets it take part"
    if persistence == "t":
        return "a temporary table"
    if inherits:
        return "part of an inheritance, in which a row stands in several tables at once"
    if elsewhere:
        return f"refers to a table of another schema ({', '.join(sorted(elsewhere))})"
    return None


def _column(fields: Sequence[Any]) -> ColumnPlan:
    (name, type_name, declared, modifier, not_null, identity, generated) = fields[:7]
    default, collation, insensitive = fields[7:]
    kind = _KINDS.get(type_name, "text")
    size = _size(type_name, modifier)
    if type_name == "bit" and (size or 0) > _BITS_MAX:
        kind = "text"
    precision, scale = _digits(modifier) if type_name == "numeric" else (None, None)
    automatic = bool(identity) or (not generated and (default or "").startswith("nextval("))
    return ColumnPlan(
        name=name,
        kind=kind,
        nullable=not not_null,
        size=size,
        precision=precision,
        scale=scale,
        fraction=_fraction(modifier) if kind in ("time", "datetime") else None,
        generated=bool(generated),
        automatic=automatic,
        collation_insensitive=insensitive,
        default_zero=(default or "").partition("::")[0].strip("'()") == "0",
        has_default=automatic or default is not None,
        collation=collation,
        declared=declared,
    )


def _size(type_name: str, modifier: int) -> int | None:
    if type_name in _INTEGER_BYTES:
        return _INTEGER_BYTES[type_name]
    if type_name == "bool":
        return 1
    if type_name == "uuid":
        return _UUID_CHARACTERS
    if modifier < 0:
        return None
    if type_name in ("varchar", "bpchar"):
        return modifier - _VARIABLE_HEADER
    return modifier if type_name == "bit" else None


def _digits(modifier: int) -> tuple[int | None, int | None]:
    """Precision and scale of a numeric, both None where it keeps any; a scale may be negative."""
    if modifier < 0:
        return None, None
    packed = modifier - _VARIABLE_HEADER
    return packed >> 16 & 0xFFFF, ((packed & 0x7FF) ^ 0x400) - 0x400


def _fraction(modifier: int) -> int:
    return modifier if modifier >= 0 else _FRACTION_MAX


def _foreign_key(name: str, rows: Sequence[Any]) -> ForeignKey:
    _, _, table, _, on_delete, on_update, deferred = rows[0]
    return ForeignKey(
        columns=tuple(row[0] for row in rows),
        table=table,
        target_columns=tuple(row[3] for row in rows),
        on_delete=_ACTIONS[on_delete],
        on_update=_ACTIONS[on_update],
        deferrable=deferred,
        name=name,
    )


def _unique_key(name: str, rows: Sequence[Any]) -> UniqueKey:
    plain = tuple(row[2] for row in rows if row[2] is not None)
    return UniqueKey(
        name=name,
        columns=plain,
        insensitive=tuple(row[2] for row in rows if row[2] is not None and row[3]),
        partial=rows[0][1],
        expression=len(plain) < len(rows),
    )
