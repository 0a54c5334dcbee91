"""The catalogue of a MariaDB or MySQL database, through information_schema."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from syncnode.schema.catalogue import Filling, Table
from syncnode.schema.plan import ColumnKind, ColumnPlan, Excluded, ForeignKey, UniqueKey
from syncproto.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

_INTEGER_BYTES = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 8}
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}
_SPATIAL = {
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
}
_KINDS: Mapping[str, ColumnKind] = {
    "float": "single",
    "double": "float",
    "decimal": "decimal",
    "date": "date",
    "time": "time",
    "datetime": "datetime",
    "timestamp": "datetime",
    "year": "integer",
    "bit": "bit",
}
_KIND_NAMES = {
    "VIEW": "a view: the tables under it are replicated",
    "SEQUENCE": "a sequence: its numbers are this database's own",
    "SYSTEM VERSIONED": "a system-versioned table: its history cannot be kept alike at two sites;"
    " ALTER TABLE … DROP SYSTEM VERSIONING lets it take part",
    "TEMPORARY": "a temporary table",
}


class MariadbCatalogue:
    """Reads the connection's default database once.

    Raises:
        ConfigError: The connection has no default database.
    """

    dialect = "mysql"
    namespace = ""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.tables: list[Table] = []
        self.refused: list[Excluded] = []
        self.warnings: tuple[str, ...] = ()
        ((self._database,),) = self._rows("SELECT DATABASE()")
        if self._database is None:
            raise ConfigError("The database URL names no database: …@host/NAME is needed.")
        self._read()

    def filling(self, table: str, columns: Sequence[str]) -> Filling:
        name = _escaped(table)
        null = " OR ".join(f"{_escaped(column)} IS NULL" for column in columns)
        # The weakest comparison, whatever the columns say.
        texts = [
            f"CONVERT({_escaped(column)} USING utf8mb4) COLLATE utf8mb4_general_ci"
            for column in columns
        ]
        ((rows, nulls, distinct),) = self._rows(
            f"SELECT COUNT(*), COALESCE(SUM({null}), 0), COUNT(DISTINCT {', '.join(texts)})"
            f" FROM {name}"
        )
        return Filling(int(rows), int(nulls), int(distinct))

    def _rows(self, sql: str, *parameters: Any) -> Sequence[Any]:
        return self._connection.exec_driver_sql(sql, parameters).fetchall()

    def _read(self) -> None:
        columns, foreign, indexes = self._columns(), self._foreign_keys(), self._indexes()
        for name, kind, engine, collation in self._rows(
            "SELECT table_name, table_type, engine, table_collation FROM information_schema.tables"
            " WHERE table_schema = %s ORDER BY table_name",
            self._database,
        ):
            if name.casefold().startswith("syncnode_"):
                continue
            foreign_keys = tuple(_foreign_key(key, rows) for key, rows in foreign[name].items())
            elsewhere = {rows[0][1] for rows in foreign[name].values()} - {self._database}
            if reason := _refusal(kind, engine, elsewhere):
                self.refused.append(Excluded(name, reason))
                continue
            read = {fields[0]: _column(fields) for fields in columns[name]}
            primary = indexes[name].pop("PRIMARY", [])
            self.tables.append(
                Table(
                    name=name,
                    columns=tuple(read.values()),
                    primary_key=tuple(column for column, *_ in primary),
                    foreign_keys=foreign_keys,
                    unique_keys=tuple(
                        _unique_key(index, rows, read) for index, rows in indexes[name].items()
                    ),
                    autoincrement=any(column.automatic for column in read.values()),
                    engine=engine,
                    charset=(collation or "").partition("_")[0] or None,
                    collation=collation,
                )
            )

    def _columns(self) -> Mapping[str, list[Any]]:
        found = defaultdict(list)
        for table, *fields in self._rows(
            "SELECT table_name, column_name, data_type, column_type, is_nullable, column_default,"
            " extra, generation_expression, character_maximum_length, character_octet_length,"
            " numeric_precision, numeric_scale, datetime_precision, character_set_name,"
            " collation_name FROM information_schema.columns"
            " WHERE table_schema = %s ORDER BY table_name, ordinal_position",
            self._database,
        ):
            found[table].append(fields)
        return found

    def _foreign_keys(self) -> Mapping[str, dict[str, list[Any]]]:
        found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for table, name, *fields in self._rows(
            "SELECT k.table_name, k.constraint_name, k.column_name, k.referenced_table_schema,"
            " k.referenced_table_name, k.referenced_column_name, r.delete_rule, r.update_rule"
            " FROM information_schema.key_column_usage k"
            " JOIN information_schema.referential_constraints r"
            " ON r.constraint_schema = k.constraint_schema AND r.table_name = k.table_name"
            " AND r.constraint_name = k.constraint_name"
            " WHERE k.table_schema = %s AND k.constraint_schema = %s"
            " AND r.constraint_schema = %s AND k.referenced_table_name IS NOT NULL"
            " ORDER BY k.table_name, k.constraint_name, k.ordinal_position",
            self._database,
            self._database,
            self._database,
        ):
            found[table][name].append(fields)
        return found

    def _indexes(self) -> Mapping[str, dict[str, list[Any]]]:
        found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for table, name, *fields in self._rows(
            "SELECT table_name, index_name, column_name, sub_part"
            " FROM information_schema.statistics WHERE table_schema = %s AND non_unique = 0"
            " ORDER BY table_name, index_name, seq_in_index",
            self._database,
        ):
            found[table][name].append(fields)
        return found


def _escaped(name: str) -> str:
    """The name for a statement that the driver formats with %."""
    return "`" + name.replace("`", "``").replace("%", "%%") + "`"


def _refusal(kind: str, engine: str | None, elsewhere: set[str]) -> str | None:
    if kind != "BASE TABLE":
        return _KIND_NAMES.get(kind, f"a {kind.lower()}, which syncnode does not know")
    if (engine or "").lower() != "innodb":
        return (
            f"kept by the engine {engine or 'none'}, which has no transactions;"
            " ALTER TABLE … ENGINE=InnoDB lets it take part"
        )
    if elsewhere:
        return f"refers to a table of another database ({', '.join(sorted(elsewhere))})"
    return None


def _column(fields: Sequence[Any]) -> ColumnPlan:
    (name, data_type, declared, nullable, default, extra, expression, size, octets) = fields[:9]
    (precision, scale, fraction, charset, collation) = fields[9:]
    data_type, extra = data_type.lower(), extra.lower()
    declared = declared.lower() if data_type not in ("enum", "set") else declared
    kind = _kind(data_type, declared)
    if data_type in _INTEGER_BYTES:
        size = _INTEGER_BYTES[data_type]
    elif kind == "bit":
        size = precision
    automatic = "auto_increment" in extra
    return ColumnPlan(
        name=name,
        kind=kind,
        nullable=nullable == "YES",
        size=size,
        octets=octets,
        precision=precision if kind == "decimal" else None,
        scale=scale if kind == "decimal" else None,
        fraction=fraction if kind in ("time", "datetime") else None,
        generated=bool(expression),
        automatic=automatic,
        collation_insensitive=_insensitive(collation),
        default_zero=(default or "").strip("'") == "0",
        # MariaDB writes NULL for "nullable, nothing declared", MySQL leaves the field empty.
        has_default=automatic or (default is not None and default != "NULL"),
        charset=charset,
        collation=collation,
        declared=declared,
    )


def _kind(data_type: str, declared: str) -> ColumnKind:
    if data_type in _INTEGER_BYTES:
        return "unsigned" if "unsigned" in declared else "integer"
    if data_type in _BYTES or data_type in _SPATIAL:
        return "bytes"
    return _KINDS.get(data_type, "text")


def _insensitive(collation: str | None) -> bool:
    return collation is not None and not collation.endswith(("_bin", "_cs", "_nopad_bin"))


def _foreign_key(name: str, rows: Sequence[Any]) -> ForeignKey:
    _, _, table, _, on_delete, on_update = rows[0]
    return ForeignKey(
        columns=tuple(row[0] for row in rows),
        table=table,
        target_columns=tuple(row[3] for row in rows),
        # InnoDB knows no difference between the two, and the servers report either.
        on_delete="NO ACTION" if on_delete == "RESTRICT" else on_delete,
        on_update="NO ACTION" if on_update == "RESTRICT" else on_update,
        name=name,
    )


def _unique_key(name: str, rows: Sequence[Any], columns: Mapping[str, ColumnPlan]) -> UniqueKey:
    plain = tuple(column for column, _ in rows if column is not None)
    return UniqueKey(
        name=name,
        columns=plain,
        insensitive=tuple(column for column in plain if columns[column].collation_insensitive),
        expression=len(plain) < len(rows),
        prefix=any(sub_part is not None for _, sub_part in rows),
    )
