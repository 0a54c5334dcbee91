"""Capture on SQLite.

REPLACE removes rows without firing their delete triggers (unless `recursive_triggers` is on), so a
trigger before each INSERT, and before an UPDATE of unique columns, looks for the rows that stand
in the way. It cannot tell which conflict clause is at work: an upsert or OR IGNORE gets a false
'D' line, which the seal finds untrue. Foreign key actions do fire triggers.

Not seen: rows that REPLACE removes for the sake of a unique index with a WHERE clause or an
expression (no plan holds their text), or one with a collation other than NOCASE and BINARY where
the values differ; nor those that UPDATE OR REPLACE removes by setting the rowid by that name.
A false 'D' line of a table without key can only be told by counting equal rows.

Each trigger is as narrow as it can be: tests/benchmarks/capture_cost.py has the figures.
"""

import sqlite3
from collections.abc import Iterable
from functools import partial

from syncnode.capture import (
    FORMER,
    key_count,
    mask_count,
    masked_columns,
    naming_columns,
    trash_name,
)
from syncnode.dialects.names import quote_sqlite
from syncnode.schema.local_rows import stays_sql, text_literal
from syncnode.schema.plan import ColumnPlan, SchemaPlan, TablePlan, UniqueKey
from syncproto.errors import StoreError

# julianday() is the cheapest clock with milliseconds before 3.42's unixepoch('subsec'); the half
# undoes the double's rounding, which is under a twentieth of a millisecond.
NOW_MS = "CAST((julianday() - 2440587.5) * 86400000 + 0.5 AS INTEGER)"

# SQLite allows an expression a depth of 1,000: long chains are joined from short ones.
TERMS_PER_CHAIN = 100

# Typeless and blob columns keep 1 and 1.0 apart, which compare as equal.
_EXACT_KINDS = ("any", "bytes")


def capture_ddl(plan: SchemaPlan) -> list[str]:
    """See `syncnode.capture.capture_ddl`."""
    keys = "".join(f", k{index + 1}" for index in range(key_count(plan)))
    masks = "".join(f", mask{index} INTEGER" for index in range(mask_count(plan)))
    statements = [
        # As a rowid, `applying` is read without decoding a record.
        "CREATE TABLE syncnode_flag (applying INTEGER PRIMARY KEY)",
        "INSERT INTO syncnode_flag (applying) VALUES (0)",
        # Key columns without a type keep values exactly as they are in the table.
        "CREATE TABLE syncnode_journal (id INTEGER PRIMARY KEY, tbl INTEGER NOT NULL,"
        f" op TEXT NOT NULL, ms INTEGER NOT NULL{keys}{masks}, rk BLOB)",
    ]
    for table in plan:
        names = "".join(f", {quote_sqlite(column.name)}" for column in table.stored)
        statements.append(
            f"CREATE TABLE {trash_name(table)} (syncnode_journal_id INTEGER PRIMARY KEY{names})"
        )
        statements += _triggers(table).values()
    return statements


def drop_ddl(plan: SchemaPlan) -> list[str]:
    """See `syncnode.capture.drop_ddl`."""
    tables = [*(trash_name(table) for table in plan), "syncnode_journal", "syncnode_flag"]
    return [
        *(f"DROP TRIGGER IF EXISTS {name}" for name in sorted(trigger_names(plan))),
        *(f"DROP TABLE IF EXISTS {name}" for name in tables),
    ]


def trigger_names(plan: SchemaPlan) -> set[str]:
    """See `syncnode.capture.trigger_names`."""
    return {name for table in plan for name in _triggers(table)}


def uncaptured(plan: SchemaPlan) -> list[str]:
    """See `syncnode.capture.uncaptured`."""
    return [
        f"A row of {table.name} that REPLACE removes because of the unique index {key.name} is not"
        " seen, since the index has a WHERE clause or an expression; DELETE and INSERT, or an"
        " upsert, are."
        for table in plan
        for key in table.unique_keys
        if not key.plain
    ]


def explain(error: BaseException) -> StoreError | None:
    """See `syncnode.capture.explain`."""
    if not isinstance(error, sqlite3.DatabaseError):
        return None
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF  # without the extended part
    if code == sqlite3.SQLITE_READONLY:
        return StoreError(
            "The database file is read-only, so no triggers can be installed; give this user the"
            " right to write the file and its folder."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            "Another program holds a lock on the database file, so no triggers can be installed"
            " now; try again when its transaction has ended.",
            transient=True,
        )
    return None


def _triggers(table: TablePlan) -> dict[str, str]:
    """The statement of each trigger by its name."""
    prefix = f"syncnode_t{table.number}"
    quoted = quote_sqlite(table.here)
    heard = f"(SELECT applying FROM syncnode_flag) IS NOT {table.number}"
    moved = _any(_differs(column) for column in naming_columns(table))
    deleted = [*_line(table, "D", "OLD"), _image(table, "OLD")]
    inserted = _line(table, "I", "NEW")
    moved_in = _line(table, "I", "NEW", mask="last_insert_rowid()")
    if table.key_kind == "none":
        inserted.append(_image(table, "NEW"))
        moved_in.append(_image(table, "NEW"))
    parts = {
        "insert": ("AFTER INSERT", heard, inserted),
        "delete": ("AFTER DELETE", heard, deleted),
        "rekey": ("AFTER UPDATE", f"{heard} AND ({moved})", [*deleted, *moved_in]),
    }
    masked = masked_columns(table)
    if masked:
        changed = _any(_differs(column) for bits in masked.values() for _, column in bits)
        masks = {
            f"mask{index}": " | ".join(f"(({_differs(column)}) << {bit})" for bit, column in bits)
            for index, bits in masked.items()
        }
        condition = f"{heard} AND ({changed}) AND NOT ({moved})"
        parts["update"] = ("AFTER UPDATE", condition, _line(table, "U", "NEW", **masks))
    if table.received_only:
        parts["former"] = ("BEFORE UPDATE", heard, [*_line(table, FORMER, "OLD"), deleted[-1]])
    parts |= _displacing(table, heard)
    parts = {
        name: (event, f"{condition}{_travels(table, event)}", body)
        for name, (event, condition, body) in parts.items()
    }
    return {
        f"{prefix}_{name}": f"CREATE TRIGGER {prefix}_{name} {event} ON {quoted} FOR EACH ROW"
        f" WHEN {condition} BEGIN {' '.join(f'{statement};' for statement in body)} END"
        for name, (event, condition, body) in parts.items()
    }


def _travels(table: TablePlan, event: str) -> str:
    """That the row of an event does not stay here, as a further condition; one that comes or goes
    by an edit is sorted out by the seal."""
    text = partial(text_literal, "sqlite")
    old = stays_sql(table, lambda name: f"OLD.{quote_sqlite(name)}", text)
    new = stays_sql(table, lambda name: f"NEW.{quote_sqlite(name)}", text)
    if old is None or new is None or event.startswith("BEFORE"):
        return ""
    stays = {"AFTER INSERT": new, "AFTER DELETE": old}.get(event, f"({old}) AND ({new})")
    return f" AND NOT ({stays})"


def _displacing(table: TablePlan, heard: str) -> dict[str, tuple[str, str, list[str]]]:
    """Triggers that write down the rows which a REPLACE would remove."""
    ways = _ways_to_clash(table)
    if not ways:
        return {}
    on_insert = " OR ".join(f"{guard}EXISTS ({_rows('1', table, same)})" for guard, same, _ in ways)
    body_insert: list[str] = []
    on_update: list[str] = []
    body_update: list[str] = []
    other, seen = _is_other(table), ""
    for guard, same, columns in ways:
        body_insert += _displaced(table, f"{guard}{same}{seen}")
        if not columns:
            continue
        changed = _any(_differs(column) for column in columns)
        on_update.append(f"(({changed}) AND EXISTS ({_rows('1', table, f'{same} AND {other}')}))")
        body_update += _displaced(table, f"({changed}) AND {same} AND {other}")
        seen += f" AND ({same}) IS NOT TRUE"  # one line is enough for a row in the way twice
    found = {"replace": ("BEFORE INSERT", f"({on_insert}) AND {heard}", body_insert)}
    if on_update:
        unique = {column.name: None for _, _, columns in ways for column in columns}
        event = f"BEFORE UPDATE OF {', '.join(quote_sqlite(name) for name in unique)}"
        condition = f"{heard} AND ({' OR '.join(on_update)})"
        found["update_replace"] = (event, condition, body_update)
    return found


def _ways_to_clash(table: TablePlan) -> list[tuple[str, str, tuple[ColumnPlan, ...]]]:
    """For each unique key: a cheap condition first, how `t` clashes with NEW, the key's columns."""
    ways: list[tuple[str, str, tuple[ColumnPlan, ...]]] = []
    if table.rowid and not table.automatic:
        # A rowid that the engine will draw shows as -1 before the insert.
        rowid = table.rowid
        ways.append((f"NEW.{rowid} <> -1 AND ", f"t.{rowid} = NEW.{rowid}", ()))
    if table.primary_key:
        # The key's own index compares as its columns are declared, so no collation is named.
        same = (f"t.{quote_sqlite(name)} = NEW.{quote_sqlite(name)}" for name in table.primary_key)
        columns = tuple(table.column(name) for name in table.primary_key)
        ways.append(("", " AND ".join(same), columns))
    for key in table.unique_keys:
        columns = tuple(table.column(name) for name in key.columns)
        if key.plain and key.columns != table.primary_key:
            ways.append(("", " AND ".join(_clashes(key, name) for name in key.columns), columns))
    return ways


def _clashes(key: UniqueKey, name: str) -> str:
    collation = "NOCASE" if name in key.insensitive else "BINARY"
    return f"t.{quote_sqlite(name)} = NEW.{quote_sqlite(name)} COLLATE {collation}"


def _is_other(table: TablePlan) -> str:
    """`t` is not the row that is being updated."""
    names = table.primary_key
    if table.rowid:
        return f"t.{table.rowid} <> OLD.{table.rowid}"
    same = (f"t.{quote_sqlite(name)} IS OLD.{quote_sqlite(name)}" for name in names)
    return f"NOT ({' AND '.join(same)})" if names else "1"


def _rows(what: str, table: TablePlan, condition: str) -> str:
    return f"SELECT {what} FROM {quote_sqlite(table.here)} AS t WHERE {condition}"


def _displaced(table: TablePlan, condition: str) -> list[str]:
    """Line and image of the one row that agrees in a unique key, if it is there."""
    keys = "".join(f", k{index + 1}" for index in range(len(table.primary_key)))
    values = "".join(f", t.{quote_sqlite(name)}" for name in table.primary_key)
    images = "".join(f", t.{quote_sqlite(column.name)}" for column in table.stored)
    line = _rows(f"{table.number}, 'D', {NOW_MS}{values}", table, condition)
    image = _rows(f"last_insert_rowid(){images}", table, condition)
    return [
        f"INSERT INTO syncnode_journal (tbl, op, ms{keys}) {line}",
        f"INSERT INTO {trash_name(table)} {image}",
    ]


def _line(table: TablePlan, op: str, row: str, mask: str | None = None, **masks: str) -> list[str]:
    """The statement that writes one line of the journal, in a list.

    Args:
        row: NEW or OLD.
        mask: What stands in `mask0`; the masks of an update come by name.
    """
    fields = {"tbl": str(table.number), "op": f"'{op}'", "ms": NOW_MS}
    for index, name in enumerate(table.primary_key):
        fields[f"k{index + 1}"] = f"{row}.{quote_sqlite(name)}"
    if mask is not None:
        fields["mask0"] = mask
    fields |= masks
    if op == "I" and table.key_kind == "random":
        fields["rk"] = "randomblob(16)"
    return [
        f"INSERT INTO syncnode_journal ({', '.join(fields)}) VALUES ({', '.join(fields.values())})"
    ]


def _image(table: TablePlan, row: str) -> str:
    # Right after its line: the trash's id is a rowid too, so another line may still refer to it.
    values = "".join(f", {row}.{quote_sqlite(column.name)}" for column in table.stored)
    return f"INSERT INTO {trash_name(table)} VALUES (last_insert_rowid(){values})"


def _differs(column: ColumnPlan) -> str:
    name = quote_sqlite(column.name)
    differs = f"NEW.{name} IS NOT OLD.{name} COLLATE BINARY"
    if column.kind in _EXACT_KINDS:
        differs += f" OR typeof(NEW.{name}) <> typeof(OLD.{name})"
    return differs


def _any(conditions: Iterable[str]) -> str:
    terms = [f"({condition})" for condition in conditions]
    chains = [
        " OR ".join(terms[start : start + TERMS_PER_CHAIN])
        for start in range(0, len(terms), TERMS_PER_CHAIN)
    ]
    return chains[0] if len(chains) == 1 else " OR ".join(f"({chain})" for chain in chains) or "0"
