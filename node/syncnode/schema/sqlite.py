"""The catalogue of an SQLite database, through its pragmas."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from syncnode.schema.catalogue import Filling, Table
from syncnode.schema.plan import ColumnKind, ColumnPlan, Excluded, ForeignKey, UniqueKey
from syncproto.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Connection

VERSION_MIN = (3, 37, 0)  # the first with PRAGMA table_list, which tells shadow tables apart

_GENERATED = (2, 3)  # table_xinfo.hidden of virtual and stored generated columns
_ROWID_NAMES = ("rowid", "_rowid_", "oid")

# In this order: the first word found in the declared type decides, as in SQLite's own rules.
_KINDS: tuple[tuple[str, ColumnKind], ...] = (
    ("INTERVAL", "any"),
    ("POINT", "any"),  # both would pass for INT
    ("INT", "integer"),
    ("BOOL", "integer"),
    ("DATETIME", "datetime"),
    ("TIMESTAMP", "datetime"),
    ("DATE", "date"),
    ("TIME", "time"),
    ("CHAR", "text"),
    ("CLOB", "text"),
    ("TEXT", "text"),
    ("JSON", "text"),
    ("UUID", "text"),
    ("BLOB", "bytes"),
    ("BINARY", "bytes"),
    ("REAL", "float"),
    ("FLOA", "float"),
    ("DOUB", "float"),
    ("DECIMAL", "decimal"),
    ("NUMERIC", "decimal"),
    ("NUMBER", "decimal"),
    ("BIT", "bit"),
)

_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|\w+|[(),]""",
    re.DOTALL,
)
_SIZES = re.compile(r"\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")


class SqliteCatalogue:
    """Reads the main database of a connection once.

    Raises:
        ConfigError: The SQLite library is too old.
    """

    dialect = "sqlite"
    namespace = ""

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.tables: list[Table] = []
        self.refused: list[Excluded] = []
        self.warnings: list[str] = []
        self._check_version()
        self._read()

    def filling(self, table: str, columns: Sequence[str]) -> Filling:
        name = quoted(table)
        texts = [f"lower(rtrim({quoted(column)}, ' '))" for column in columns]
        null = " OR ".join(f"{quoted(column)} IS NULL" for column in columns)
        ((rows, nulls, distinct),) = self._rows(
            f"SELECT (SELECT count(*) FROM main.{name}),"
            f" (SELECT count(*) FROM main.{name} WHERE {null}),"
            f" (SELECT count(*) FROM (SELECT DISTINCT {', '.join(texts)} FROM main.{name}"
            f" WHERE NOT ({null})))"
        )
        return Filling(rows, nulls, distinct)

    def _rows(self, sql: str, *parameters: Any) -> Sequence[Any]:
        return self._connection.exec_driver_sql(sql, parameters).fetchall()

    def _check_version(self) -> None:
        ((version,),) = self._rows("SELECT sqlite_version()")
        if tuple(int(part) for part in version.split(".")) < VERSION_MIN:
            least = ".".join(str(part) for part in VERSION_MIN)
            raise ConfigError(
                f"The SQLite library of this Python is {version}; syncnode needs {least} or newer."
            )

    def _read(self) -> None:
        listed = self._rows(
            "SELECT l.name, l.type, l.wr, l.strict, m.sql FROM pragma_table_list l"
            " LEFT JOIN main.sqlite_master m ON m.name = l.name AND m.type IN ('table', 'view')"
            " WHERE l.schema = 'main' ORDER BY l.name"
        )
        columns, foreign, indexes = self._columns(), self._foreign_keys(), self._indexes()
        names = {name.casefold(): name for name, *_ in listed}
        for name, kind, without_rowid, strict, sql in listed:
            if name.casefold().startswith(("sqlite_", "syncnode_")):
                continue
            if reason := _REFUSED.get(kind):
                self.refused.append(Excluded(name, reason))
                continue
            self.tables.append(
                _table(
                    name,
                    _tokens(sql or ""),
                    columns[name],
                    foreign[name],
                    indexes[name],
                    without_rowid=bool(without_rowid),
                    strict=bool(strict),
                )
            )
        self._resolve_targets(names)

    def _resolve_targets(self, names: Mapping[str, str]) -> None:
        """Give foreign keys the names as their tables and columns are declared."""
        by_name = {table.name: table for table in self.tables}
        for position, table in enumerate(self.tables):
            keys = []
            for key in table.foreign_keys:
                target = by_name.get(names.get(key.table.casefold(), ""))
                if target is None:
                    self.warnings.append(
                        f"{table.name} ({', '.join(key.columns)}) refers to {key.table}, which is"
                        " no table of this database; the foreign key is left out of account."
                    )
                    continue
                targets = key.target_columns or target.primary_key
                real = {column.name.casefold(): column.name for column in target.columns}
                keys.append(
                    ForeignKey(
                        key.columns,
                        target.name,
                        tuple(real.get(column.casefold(), column) for column in targets),
                        key.on_delete,
                        key.on_update,
                        key.deferrable,
                    )
                )
            self.tables[position] = _with_foreign_keys(table, tuple(keys))

    def _columns(self) -> Mapping[str, list[Any]]:
        found = defaultdict(list)
        for table, *fields in self._rows(
            'SELECT l.name, x.name, x.type, x."notnull", x.dflt_value, x.pk, x.hidden'
            " FROM pragma_table_list l JOIN pragma_table_xinfo(l.name, 'main') x"
            " WHERE l.schema = 'main' AND l.type = 'table' ORDER BY l.name, x.cid"
        ):
            found[table].append(fields)
        return found

    def _foreign_keys(self) -> Mapping[str, dict[int, list[Any]]]:
        found: dict[str, dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for table, number, *fields in self._rows(
            'SELECT l.name, f.id, f."table", f."from", f."to", f.on_update, f.on_delete'
            " FROM pragma_table_list l JOIN pragma_foreign_key_list(l.name, 'main') f"
            " WHERE l.schema = 'main' AND l.type = 'table' ORDER BY l.name, f.id, f.seq"
        ):
            found[table][number].append(fields)
        return found

    def _indexes(self) -> Mapping[str, dict[str, list[Any]]]:
        found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        for table, index, *fields in self._rows(
            "SELECT l.name, i.name, i.origin, i.partial, x.cid, x.name, x.coll"
            " FROM pragma_table_list l JOIN pragma_index_list(l.name, 'main') i"
            " JOIN pragma_index_xinfo(i.name, 'main') x"
            " WHERE l.schema = 'main' AND l.type = 'table' AND i.\"unique\" AND x.key"
            " ORDER BY l.name, i.name, x.seqno"
        ):
            found[table][index].append(fields)
        return found


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_REFUSED = {
    "view": "a view: the tables under it are replicated",
    "virtual": "a virtual table: its content belongs to an extension",
    "shadow": "a shadow table of a virtual table, kept by an extension",
}


def _table(
    name: str,
    tokens: list[str],
    columns: list[Any],
    foreign_keys: Mapping[int, list[Any]],
    indexes: Mapping[str, list[Any]],
    *,
    without_rowid: bool,
    strict: bool,
) -> Table:
    key_columns = sorted((pk, column) for column, _, _, _, pk, _ in columns if pk)
    primary_key = tuple(column for _, column in key_columns)
    has_key_index = any(fields[0][0] == "pk" for fields in indexes.values())
    # An INTEGER PRIMARY KEY is the rowid itself and needs no index of its own.
    counter = primary_key[0] if len(primary_key) == 1 and not has_key_index else None
    if without_rowid:
        counter = None
    insensitive = {
        column
        for fields in indexes.values()
        for _, _, _, column, collation in fields
        if column is not None and collation != "BINARY"
    }
    taken = {column.casefold() for column, *_ in columns}
    return Table(
        name=name,
        columns=tuple(_column(fields, counter, insensitive, without_rowid) for fields in columns),
        primary_key=primary_key,
        foreign_keys=_keys(foreign_keys, tokens),
        unique_keys=tuple(
            _unique_key(index, fields) for index, fields in indexes.items() if fields[0][0] != "pk"
        ),
        autoincrement="AUTOINCREMENT" in tokens,
        rowid=None if without_rowid else next((x for x in _ROWID_NAMES if x not in taken), None),
        strict=strict,
    )


def _with_foreign_keys(table: Table, foreign_keys: tuple[ForeignKey, ...]) -> Table:
    return replace(table, foreign_keys=foreign_keys)


def _column(
    fields: Sequence[Any], counter: str | None, insensitive: set[str], without_rowid: bool
) -> ColumnPlan:
    name, declared, not_null, default, pk, hidden = fields
    kind = column_kind(declared)
    first, second = _sizes(declared)
    return ColumnPlan(
        name=name,
        kind=kind,
        # SQLite lets NULL into a primary key, but for the counter and tables without rowid.
        nullable=not not_null and name != counter and not (pk and without_rowid),
        size=first if kind in ("text", "bytes", "bit") else None,
        precision=first if kind == "decimal" else None,
        scale=(second or 0) if kind == "decimal" and first else None,
        fraction=first if kind in ("time", "datetime") else None,
        generated=hidden in _GENERATED,
        automatic=name == counter,
        collation_insensitive=name in insensitive,
        default_zero=(default or "").strip("'\"() ") == "0",
        has_default=default is not None,
        declared=declared.lower(),
    )


def column_kind(declared: str) -> ColumnKind:
    """How values of a column with that declared type travel."""
    name = declared.upper()
    return next((kind for word, kind in _KINDS if word in name), "any")


def _sizes(declared: str) -> tuple[int | None, int | None]:
    found = _SIZES.search(declared)
    if found is None:
        return None, None
    return int(found[1]), int(found[2]) if found[2] else None


def _keys(found: Mapping[int, list[Any]], tokens: list[str]) -> tuple[ForeignKey, ...]:
    # The pragma counts foreign keys from the last to the first.
    deferred = list(reversed(_deferred(tokens)))
    keys = []
    for number, rows in sorted(found.items(), reverse=True):
        table, _, to, on_update, on_delete = rows[0]
        keys.append(
            ForeignKey(
                columns=tuple(row[1] for row in rows),
                table=table,
                target_columns=() if to is None else tuple(row[2] for row in rows),
                on_delete=on_delete,
                on_update=on_update,
                deferrable=number < len(deferred) and deferred[number],
            )
        )
    return tuple(keys)


def _unique_key(name: str, fields: list[Any]) -> UniqueKey:
    plain = [(column, collation) for _, _, cid, column, collation in fields if cid >= 0]
    return UniqueKey(
        name=name,
        columns=tuple(column for column, _ in plain),
        insensitive=tuple(column for column, collation in plain if collation != "BINARY"),
        partial=bool(fields[0][1]),
        expression=len(plain) < len(fields),
    )


def _tokens(sql: str) -> list[str]:
    """Key words, names and brackets of a statement, without comments; bare words in capitals."""
    found = (match[0] for match in _TOKEN.finditer(sql))
    return [
        token.upper() if token[0].isalnum() or token[0] == "_" else token
        for token in found
        if not token.startswith(("--", "/*"))
    ]


def _deferred(tokens: list[str]) -> list[bool]:
    """For each REFERENCES clause in the order of writing: is it checked at the commit?

    No pragma tells. The clause ends at a comma or bracket of the level on which it began.
    """
    found = []
    for start, token in enumerate(tokens):
        if token != "REFERENCES":
            continue
        clause, depth = [], 0
        for part in tokens[start:]:
            depth += (part == "(") - (part == ")")
            if depth < 0 or (part == "," and depth == 0):
                break
            clause.append(part)
        text = " ".join(clause)
        found.append("DEFERRABLE INITIALLY DEFERRED" in text and "NOT DEFERRABLE" not in text)
    return found
