"""Capture on MariaDB and MySQL.

A foreign key's CASCADE and SET NULL fire no triggers, so the parent's BEFORE DELETE and BEFORE
UPDATE write down the children first, through as many tables as the engine itself follows. They
read the children with locks, since the engine will act on the newest committed rows whatever the
transaction's snapshot shows. A child that two ways lead to gets two lines.

The journal never is read here: under REPEATABLE READ that would lock it against other writers. So
an image gets its line's id from LAST_INSERT_ID(), row by row. The server gives applications back
the LAST_INSERT_ID() of their own statement.

Triggers run with the rights of the user who installs them, under the `sql_mode` set here, which
lets old values such as zero dates be copied as they are.

Not seen: TRUNCATE; children changed under `foreign_key_checks=0` are left alone by the engine too,
and lines about them are found untrue by the seal. A BEFORE UPDATE trigger of the application that
was made later than ours and changes a referenced column comes too late for ON UPDATE CASCADE. What
a SET NULL or ON UPDATE CASCADE replaces is not kept: of a table that is only received here such
an edit stands.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from syncnode.capture import FORMER, mask_count, masked_columns, naming_columns, trash_name
from syncnode.schema.local_rows import stays_sql, text_literal
from syncnode.schema.plan import ColumnPlan, ForeignKey, SchemaPlan, TablePlan
from syncproto.errors import StoreError

# Of the statement's start, and in UTC: the hour that daylight saving repeats is no trouble.
NOW_MS = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)"

# RANDOM_BYTES is MariaDB's from 10.10 on; before, its UUID() is unique but not random.
RANDOM_KEY = (
    "COALESCE(/*M!101000 RANDOM_BYTES(16), */ /*!80000 RANDOM_BYTES(16), */"
    " UNHEX(MD5(CONCAT(UUID(), RAND(), CONNECTION_ID(), SYSDATE(6), RAND()))))"
)

# Who wrote: the login of the application's connection. CURRENT_USER() would be the trigger's own.
USER_CHARS = 200
USER = f"LEFT(USER(), {USER_CHARS})"

SQL_MODE = "ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO"

CASCADE_DEPTH_MAX = 15  # InnoDB refuses to follow further (FK_MAX_CASCADE_DEL)
CASCADE_STEPS_MAX = 200  # of one trigger; cycles of several tables would grow without end

_VERSION_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)

# How a column of some row is written: OLD.`name`, an alias's, or a variable.
Row = Callable[[str], str]


def quoted(name: str) -> str:
    """The name as an identifier in a statement without parameters: percent signs stay."""
    return "`" + name.replace("`", "``") + "`"


def capture_ddl(plan: SchemaPlan) -> list[str]:
    """See `syncnode.capture.capture_ddl`."""
    masks = "".join(f" mask{index} BIGINT NULL," for index in range(mask_count(plan)))
    options = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
    statements = [
        "SET @syncnode_sql_mode = @@SESSION.sql_mode",
        f"SET SESSION sql_mode = '{SQL_MODE}'",
        "CREATE TABLE syncnode_journal (id BIGINT NOT NULL AUTO_INCREMENT, tbl INT NOT NULL,"
        f" op CHAR(1) NOT NULL, ms BIGINT NOT NULL, k1 BIGINT NULL, kx LONGTEXT NULL,{masks}"
        f" rk BINARY(16) NULL, usr VARCHAR({USER_CHARS}) NULL, PRIMARY KEY (id)) {options}",
    ]
    for table in plan:
        columns = "".join(
            f" {quoted(column.name)} {column_type(column)} NULL," for column in table.stored
        )
        statements.append(
            f"CREATE TABLE {trash_name(table)} (syncnode_journal_id BIGINT NOT NULL,{columns}"
            f" PRIMARY KEY (syncnode_journal_id)) {options}"
        )
    # When all they write to is there: an application may be at work meanwhile.
    for table in plan:
        statements += _triggers(plan, table).values()
    return [*statements, "SET SESSION sql_mode = @syncnode_sql_mode"]


def drop_ddl(plan: SchemaPlan) -> list[str]:
    """See `syncnode.capture.drop_ddl`."""
    return [
        *(f"DROP TRIGGER IF EXISTS {name}" for name in sorted(trigger_names(plan))),
        *(f"DROP TABLE IF EXISTS {trash_name(table)}" for table in plan),
        "DROP TABLE IF EXISTS syncnode_journal",
    ]


def trigger_names(plan: SchemaPlan) -> set[str]:
    """See `syncnode.capture.trigger_names`."""
    return {name for table in plan for name in _triggers(plan, table)}


def uncaptured(plan: SchemaPlan) -> list[str]:
    """See `syncnode.capture.uncaptured`."""
    return [
        f"Deleting or re-keying a row of {table.name} can cascade in more ways than a trigger can"
        f" follow ({CASCADE_STEPS_MAX}); what lies further is found by `syncnode verify` only."
        for table in plan
        if _Tree(plan, table, "DELETE").cut or _Tree(plan, table, "UPDATE").cut
    ]


def keyed_by_integer(table: TablePlan) -> bool:
    """The journal holds the key in `k1`, not in `kx`."""
    if len(table.primary_key) != 1:
        return False
    column = table.column(table.primary_key[0])
    return column.kind == "integer" or (column.kind == "unsigned" and (column.size or 8) < 8)


def parse_key(table: TablePlan, text: str | bytes) -> tuple[Any, ...]:
    """The primary key that the journal's `kx` holds, as Python values.

    Integers, bits and years are int, FLOAT and DOUBLE float, binary types bytes; everything else
    is the server's own text, TIMESTAMP in UTC.
    """
    found = json.loads(text)
    return tuple(
        _parsed(table.column(name), value)
        for name, value in zip(table.primary_key, found, strict=True)
    )


def explain(error: BaseException) -> StoreError | None:
    """See `syncnode.capture.explain`."""
    number = error.args[0] if error.args else None
    if type(error).__module__.split(".")[0] != "pymysql" or number not in _REMEDIES:
        return None
    detail = f" (the server: {error.args[1]})" if len(error.args) > 1 else ""
    return StoreError(f"{_REMEDIES[number]}{detail}")


_RIGHTS = (
    "The database user lacks a right that capture needs; as an administrator: GRANT SELECT,"
    " INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, REFERENCES, LOCK TABLES, TRIGGER"
    " ON this database TO this user"
)
_REMEDIES = {
    1419: "The server writes a binary log and lets only administrators create triggers; as an"
    " administrator: SET GLOBAL log_bin_trust_function_creators=1, and the same in the server's"
    " configuration",
    1044: _RIGHTS,
    1142: _RIGHTS,
    1143: _RIGHTS,
    1227: _RIGHTS,
    1370: _RIGHTS,
    1235: "The server allows only one trigger for each event of a table; MariaDB 10.5 or MySQL 8"
    " is needed",
    1118: "A table's columns fill the whole row that InnoDB allows, which leaves no room for the"
    " copy that keeps deleted rows; make a VARCHAR shorter or a TEXT, or leave the table out by"
    " [tables] exclude",
    1290: "The server is read-only; replicate with the server that takes writes",
    1836: "The server is read-only; replicate with the server that takes writes",
}


def _parsed(column: ColumnPlan, value: Any) -> Any:
    if column.kind == "bytes":
        return bytes.fromhex(value)
    if column.kind in ("float", "single"):
        return float(value)
    return value


def column_type(column: ColumnPlan) -> str:
    declared = _VERSION_COMMENT.sub("", column.declared).strip()
    if column.charset:
        declared += f" CHARACTER SET {column.charset}"
    if column.collation:
        declared += f" COLLATE {column.collation}"
    return declared


def _old(name: str) -> str:
    return f"OLD.{quoted(name)}"


def _new(name: str) -> str:
    return f"NEW.{quoted(name)}"


def _triggers(plan: SchemaPlan, table: TablePlan) -> dict[str, str]:
    """The statement of each trigger by its name."""
    bodies = {
        "insert": ("AFTER INSERT", _inserted(table, _new)),
        "update": ("AFTER UPDATE", _updated(table)),
        "delete": ("AFTER DELETE", _deleted(table, _old)),
    }
    if table.received_only:
        former = [_line(table, FORMER, _old), _image(table, _old)]
        bodies["former"] = ("BEFORE UPDATE", former)
    for event in ("DELETE", "UPDATE"):
        if below := _Tree(plan, table, event).statements():
            bodies[f"cascade_{event.lower()}"] = (f"BEFORE {event}", below)
    prefix = f"syncnode_t{table.number}"
    return {
        f"{prefix}_{name}": f"CREATE TRIGGER {prefix}_{name} {event} ON {quoted(table.here)}"
        f" FOR EACH ROW IF NOT (@syncnode_applying <=> {table.number})"
        f"{_travels(table, event)} THEN {' '.join(body)} END IF"
        for name, (event, body) in bodies.items()
    }


def _travels(table: TablePlan, event: str) -> str:
    """That the row of an event does not stay here, as a further condition; one that comes or goes
    by an edit is sorted out by the seal."""
    old, new = (stays_sql(table, row, partial(text_literal, "mysql")) for row in (_old, _new))
    if old is None or new is None or event.startswith("BEFORE"):
        return ""
    stays = {"AFTER INSERT": new, "AFTER DELETE": old}.get(event, f"({old}) AND ({new})")
    return f" AND NOT ({stays})"


def _inserted(table: TablePlan, row: Row, *, moved: bool = False) -> list[str]:
    """A line for a row that came; `moved`: its old self's line was written just before."""
    masks = {"mask0": "LAST_INSERT_ID()"} if moved else {}
    random = {"rk": RANDOM_KEY} if table.key_kind == "random" else {}
    line = _line(table, "I", row, masks | random)
    return [line, _image(table, row)] if table.key_kind == "none" else [line]


def _deleted(table: TablePlan, row: Row) -> list[str]:
    return [_line(table, "D", row), _image(table, row)]


def _updated(table: TablePlan) -> list[str]:
    moved = _any(_differs(column) for column in naming_columns(table))
    other = [*_deleted(table, _old), *_inserted(table, _new, moved=True)]
    masked = masked_columns(table)
    if not masked:
        return [f"IF {moved} THEN {' '.join(other)} END IF;"]
    changed = _any(_differs(column) for bits in masked.values() for _, column in bits)
    masks = {
        f"mask{index}": " | ".join(f"(({_differs(column)}) << {bit})" for bit, column in bits)
        for index, bits in masked.items()
    }
    line = _line(table, "U", _new, masks)
    return [f"IF {moved} THEN {' '.join(other)} ELSEIF {changed} THEN {line} END IF;"]


def _line(table: TablePlan, op: str, row: Row, more: Mapping[str, str] | None = None) -> str:
    fields = {**_fields(table, op, row), **(more or {})}
    names, values = ", ".join(fields), ", ".join(fields.values())
    return f"INSERT INTO syncnode_journal ({names}) VALUES ({values});"


def _fields(table: TablePlan, op: str, row: Row) -> dict[str, str]:
    fields = {"tbl": str(table.number), "op": f"'{op}'", "ms": NOW_MS, "usr": USER}
    if keyed_by_integer(table):
        fields["k1"] = row(table.primary_key[0])
    elif table.primary_key:
        parts = (_key_part(table.column(name), row(name)) for name in table.primary_key)
        fields["kx"] = f"JSON_ARRAY({', '.join(parts)})"
    return fields


def _key_part(column: ColumnPlan, expression: str) -> str:
    if column.kind == "integer":
        return f"CAST({expression} AS SIGNED)"
    if column.kind in ("unsigned", "bit"):
        return f"CAST({expression} AS UNSIGNED)"
    if column.kind in ("float", "single"):
        return f"CAST({expression} AS DOUBLE)"
    if column.kind == "bytes":
        return f"HEX({expression})"
    if _is_timestamp(column):
        # The session's time zone must not show, nor the hour that daylight saving repeats.
        expression = (
            "DATE_ADD(CAST('1970-01-01' AS DATETIME(6)), INTERVAL"
            f" CAST(UNIX_TIMESTAMP({expression}) * 1000000 AS SIGNED) MICROSECOND)"
        )
        expression = f"CAST({expression} AS DATETIME({column.fraction or 0}))"
    return f"CAST({expression} AS CHAR CHARACTER SET utf8mb4)"


def _image(table: TablePlan, row: Row) -> str:
    # By name: the table is made wider before the triggers know of a new column.
    names = "".join(f", {quoted(column.name)}" for column in table.stored)
    values = "".join(f", {row(column.name)}" for column in table.stored)
    into = f"{trash_name(table)} (syncnode_journal_id{names})"
    return f"INSERT INTO {into} VALUES (LAST_INSERT_ID(){values});"


def _is_timestamp(column: ColumnPlan) -> bool:
    return column.declared.startswith("timestamp")


def _differs(column: ColumnPlan) -> str:
    old, new = _old(column.name), _new(column.name)
    if column.kind == "text":
        # Case, accents and trailing blanks count, whatever the collation says.
        return f"NOT (CAST({new} AS BINARY) <=> CAST({old} AS BINARY))"
    if _is_timestamp(column):
        return f"NOT (UNIX_TIMESTAMP({new}) <=> UNIX_TIMESTAMP({old}))"
    return f"NOT ({new} <=> {old})"


def _any(conditions: Iterable[str]) -> str:
    return " OR ".join(f"({condition})" for condition in conditions) or "FALSE"


@dataclass(slots=True)
class _Node:
    """Rows that the engine will delete or change by itself, as a way from the trigger's row.

    Attributes:
        key: The foreign key by which they hang on the rows of `above`; None: the row itself.
        changed: What the engine will write, by column; None: it will delete the row.
    """

    table: TablePlan
    above: "_Node | None" = None
    key: ForeignKey | None = None
    changed: dict[str, str] | None = None
    below: "list[_Node]" = field(default_factory=list)

    @property
    def depth(self) -> int:
        return self.above.depth + 1 if self.above else 0

    def column(self, name: str) -> str:
        return f"s{self.depth}.{quoted(name)}" if self.above else _old(name)

    def rows(self) -> str:
        """FROM and WHERE: the rows, joined to those that they hang on."""
        joins: list[str] = []
        node, where = self, ""
        while node.above and node.key:
            same = " AND ".join(
                f"{node.column(name)} = {node.above.column(target)}"
                for name, target in zip(node.key.columns, node.key.target_columns, strict=True)
            )
            source = f"{quoted(node.table.here)} AS s{node.depth}"
            if node.above.above:
                joins.append(f"JOIN {source} ON {same}")
            else:
                joins.append(f"FROM {source}")
                where = f"WHERE {same}"
            node = node.above
        return f"{' '.join(reversed(joins))} {where}"

    def passes_through(self, name: str) -> bool:
        return self.table.name == name or bool(self.above and self.above.passes_through(name))


class _Tree:
    """All that the engine does by itself when a row of one table is deleted or updated.

    Attributes:
        cut: There is more than one trigger can write down.
    """

    def __init__(self, plan: SchemaPlan, table: TablePlan, event: str) -> None:
        self._plan = plan
        self._root = _Node(table)
        self.cut = False
        if event == "UPDATE":
            referred = {
                name: _new(name)
                for _, key in plan.children(table.name)
                for name in key.target_columns
            }
            self._root.changed = referred
        level, steps = [self._root], 0
        while level:
            for node in level:
                node.below = self._below(node)
                steps += len(node.below)
            level = [node for upper in level for node in upper.below]
            # Breadth first, so that what is cut is what lies deepest.
            if level and steps > CASCADE_STEPS_MAX:
                self.cut = True
                break
            if level and level[0].depth >= CASCADE_DEPTH_MAX:
                break

    def _below(self, node: _Node) -> list[_Node]:
        new = node.changed
        found = []
        for child, key in self._plan.children(node.table.name):
            # Where an update comes back to a table it has passed, InnoDB refuses.
            if new is not None and node.passes_through(child.name):
                continue
            if new is not None and not set(new) & set(key.target_columns):
                continue
            action = key.on_delete if new is None else key.on_update
            if action == "SET NULL":
                found.append(_Node(child, node, key, dict.fromkeys(key.columns, "NULL")))
            elif action == "CASCADE" and new is None:
                found.append(_Node(child, node, key))
            elif action == "CASCADE" and new is not None:
                pairs = zip(key.columns, key.target_columns, strict=True)
                values = {name: new[target] for name, target in pairs if target in new}
                found.append(_Node(child, node, key, values))
        return found

    def statements(self) -> list[str]:
        """The body of the trigger; nothing if the engine does nothing by itself."""
        found = []
        for node in self._root.below:
            body = " ".join(_captured(node))
            if self._root.changed is not None and node.key:
                columns = (self._root.table.column(name) for name in node.key.target_columns)
                body = f"IF {_any(_differs(column) for column in columns)} THEN {body} END IF;"
            found.append(body)
        return found


def _captured(node: _Node) -> list[str]:
    """Write down the rows of a node, then those that hang on them."""
    further = [statement for lower in node.below for statement in _captured(lower)]
    naming = {column.name for column in naming_columns(node.table)}
    if node.changed is not None and not naming & set(node.changed):
        return [_marked(node, node.changed), *further]
    return [_looped(node, further)]


def _marked(node: _Node, changed: Mapping[str, str]) -> str:
    """A 'U' line for each row."""
    fields = _fields(node.table, "U", node.column)
    for index, bits in masked_columns(node.table).items():
        if mask := sum(1 << bit for bit, column in bits if column.name in changed):
            fields[f"mask{index}"] = str(mask)
    values = ", ".join(fields.values())
    return f"INSERT INTO syncnode_journal ({', '.join(fields)}) SELECT {values} {node.rows()};"


def _looped(node: _Node, further: list[str]) -> str:
    """A line and an image for each row; what hangs on them only if there are any."""
    table = node.table
    variables = {column.name: f"syncnode_v{i}" for i, column in enumerate(table.stored)}
    declared = " ".join(
        f"DECLARE {variables[column.name]} {column_type(column)};" for column in table.stored
    )
    columns = ", ".join(node.column(name) for name in variables)
    body = _deleted(table, variables.__getitem__)
    if node.changed is not None:
        after = variables | node.changed
        body += _inserted(table, after.__getitem__, moved=True)
    deeper = f"IF syncnode_found THEN {' '.join(further)} END IF; " if further else ""
    return (
        "BEGIN DECLARE syncnode_end, syncnode_found BOOLEAN DEFAULT FALSE;"
        f" {declared} DECLARE syncnode_rows CURSOR FOR SELECT {columns} {node.rows()}"
        " LOCK IN SHARE MODE;"
        " DECLARE CONTINUE HANDLER FOR NOT FOUND SET syncnode_end = TRUE;"
        " OPEN syncnode_rows; syncnode_each: LOOP"
        f" FETCH syncnode_rows INTO {', '.join(variables.values())};"
        " IF syncnode_end THEN LEAVE syncnode_each; END IF; SET syncnode_found = TRUE;"
        f" {' '.join(body)} END LOOP; CLOSE syncnode_rows; {deeper}END;"
    )
