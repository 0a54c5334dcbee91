"""The application's schema has changed: the site's plan follows by itself.

A column that came is taken up, and so is a table; a column that went is let go of; a column that
holds more than before takes what did not fit. What a row shows in a column that came after it was
written nobody wrote: it has no cell there, and nothing is replicated of it, until somebody writes
one. What was written to the new column before it was noticed is found by its difference from the
column's default; it bears the reading of the row's latest write, so that every later write wins.

On SQLite all of it is one transaction. A server commits each statement that changes a table by
itself: these come first, and each may be repeated, so that what was interrupted is simply done
again. Numbers of columns stay as they were, so lines of the old and the new triggers read alike.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from syncnode.capture import Engine, capture_ddl, drop_ddl, trash_name
from syncnode.config import check_tables
from syncnode.hidden import ALTERED, STATE_HERE, UNKNOWN_COLUMN, HiddenRows
from syncnode.machine import THIS_MACHINE
from syncnode.operations.tables import save_plan, wider_journal
from syncnode.remains import existing_triggers
from syncnode.schema.drift import FOLLOWED, SEEN, UNFOLLOWED, Drift, drift, seen
from syncnode.schema.follow import Followed, follow_plan, without_gone
from syncnode.schema.replan import added
from syncnode.seal import Sealer
from syncnode.sidecar import DROPPED, Sidecar, load_plan, sidecar_ddl
from syncnode.table import Key, Origins, Table
from syncproto.codec import decode_cells, encode_cells
from syncproto.identity import RowKey
from syncproto.row import Cell, Row, Stamp
from syncproto.sums import SUM_MASK, sum_of

if TYPE_CHECKING:
    from syncnode.config import Settings
    from syncnode.database import Database, Transaction
    from syncnode.repairing import Rewriting
    from syncnode.replica import DatabaseReplica
    from syncnode.schema.plan import ColumnPlan, SchemaPlan, TablePlan

ROWS = 5_000  # clocks read at once


def behind(tx: "Transaction") -> bool:
    """Whether the schema may have changed since the plan was last held against it."""
    if tx.dialect.name not in FOLLOWED:
        return False
    known = tx.value(f"SELECT value FROM syncnode_setting WHERE name='{SEEN}'")
    return bool(known != seen(tx))


@dataclass(frozen=True, slots=True)
class Following:
    """A plan that was held against the schema, and what is left to do.

    Attributes:
        seen: What told the schema apart.
        changed: There is another plan now.
        problems: Sentences on what could not be followed, by table.
    """

    seen: str
    changed: bool
    problems: Mapping[str, str]


def follow(replica: "DatabaseReplica", settings: "Settings") -> bool:
    """Bring the plan of an open site to the schema as it is; whether it has another one now.

    Raises:
        StoreError: The database cannot be used, or refuses what has to be made.
    """
    following = follow_schema(replica.database, settings)
    if following is None:
        return False
    finish_following(replica, following)
    return following.changed


def follow_schema(database: "Database", settings: "Settings") -> Following | None:
    """Bring the plan to the schema as it is; None where it was held against this schema before.
    What waits for the new plan is for `finish_following`.

    Raises:
        StoreError: As `follow`, or the database is no site.
    """
    with database.read() as tx:
        before = load_plan(tx)
        if not behind(tx):
            return None
        now = seen(tx)
        found = drift(tx, before)
    from sqlalchemy import inspect as catalogue_of

    from syncnode.schema.inspect import inspect

    check_tables(settings, found.known)
    choice = settings.tables
    # What was chosen, or left out, at `init` and went since is no mistake of the settings.
    there = set(catalogue_of(database.engine).get_table_names())
    only = None if choice.only is None else [name for name in choice.only if name in there]
    exclude = [name for name in choice.exclude if name in there]
    whole = inspect(database.engine, only, exclude, choice.rules)
    followed = follow_plan(before, whole, found)
    if followed.plan != before:
        _change(database, before, followed, found)
    return Following(now, followed.plan != before, followed.problems)


def finish_following(replica: "DatabaseReplica", following: Following) -> None:
    """Write what waited for a column or a table, and remember the schema."""
    _show_unknown(replica)
    with replica.database.write() as tx:
        book = Sidecar.load(tx, load_plan(tx))
        # On SQLite our own triggers count, too.
        book.set(SEEN, seen(tx) if tx.dialect.name == "sqlite" else following.seen)
        book.set(UNFOLLOWED, json.dumps(dict(following.problems)))
        book.save()


def _change(database: "Database", before: "SchemaPlan", followed: Followed, found: Drift) -> None:
    after = followed.plan
    with database.snapshot() as tx:
        if tx.dialect.name != "sqlite":
            tx.script(_statements(tx, before, followed))
    with database.snapshot() as tx:
        if load_plan(tx) != before:
            return  # somebody else was faster
        sealer, book = _sealer(tx, without_gone(before, found))
        sealer.seal()
        book.save()
        if tx.dialect.name == "sqlite":
            tx.script(_statements(tx, before, followed))
        m = tx.mark
        tx.executemany(
            f"INSERT INTO syncnode_table (id, name, plan, total) VALUES ({m}, {m}, {m}, '0')",
            [(one.number, one.name, one.to_json()) for one in after if one.name in followed.tables],
        )
        for name, columns in followed.came.items():
            _mark_absent(tx, book, after.by_name[name], columns)
        sealer, book = _sealer(tx, after)
        save_plan(book, after)
        for name in followed.gone:
            _count_again(book, Table(after.by_name[name], after, tx.dialect))
        if followed.gone:
            dropped = {*json.loads(book.settings.get(DROPPED, "[]")), *followed.gone}
            book.set(DROPPED, json.dumps(sorted(dropped)))
        sealer.seal_baseline({after.by_name[name].number for name in followed.tables})
        for name, columns in followed.came.items():
            _take_written(tx, sealer, book, Table(after.by_name[name], after, tx.dialect), columns)
        book.save()


def _sealer(tx: "Transaction", plan: "SchemaPlan") -> tuple[Sealer, Sidecar]:
    book = Sidecar.load(tx, plan)
    sealer = Sealer(
        book,
        HiddenRows(book),
        {table.number: Table(table, plan, tx.dialect) for table in plan.tables},
        Origins(book.origin_of, decode_cells),
        wall_ms=THIS_MACHINE.wall_ms(),
        nonce=THIS_MACHINE.nonce(),
    )
    return sealer, book


# Triggers, images and clocks


def _statements(tx: "Transaction", before: "SchemaPlan", followed: Followed) -> list[str]:
    after = followed.plan
    engine: Engine = "sqlite" if tx.dialect.name == "sqlite" else "mysql"
    images = {trash_name(table) for table in after if table.name in followed.changed}
    there = existing_triggers(tx)
    statements = wider_journal(tx, after)
    old, new = capture_ddl(before, engine), capture_ddl(after, engine)
    stale = {_made(one) for one in old if one not in new}
    for statement in new:
        kind, name = _made(statement)
        if statement in old and not statement.startswith("SET "):
            continue
        if name == "syncnode_journal":
            continue
        if kind == "TABLE" and name in images:
            statements += _image_table(tx, name, statement, followed)
        elif kind == "TRIGGER" and (kind, name) in stale:
            # A table that was made anew has lost them; what was written since, `verify` finds.
            if name in there:
                statements += [f"DROP TRIGGER IF EXISTS {name}", statement]
        else:
            statements.append(_once(statement))
    gone = set(drop_ddl(before, engine)) - set(drop_ddl(after, engine))
    made = added(sidecar_ddl(before, tx.dialect), sidecar_ddl(after, tx.dialect))
    return [*sorted(gone), *map(_once, made), *statements]


def _made(statement: str) -> tuple[str, str]:
    """What a statement makes: TABLE or TRIGGER, and its name."""
    words = statement.split(None, 3)
    return (words[1], words[2]) if words[0] == "CREATE" else ("", statement)


def _once(statement: str) -> str:
    """The statement, so that it may be repeated where it was interrupted."""
    for kind in ("TABLE", "INDEX", "TRIGGER"):
        if statement.startswith(f"CREATE {kind} "):
            return statement.replace(f"CREATE {kind} ", f"CREATE {kind} IF NOT EXISTS ", 1)
    return statement


def _image_table(tx: "Transaction", name: str, statement: str, followed: Followed) -> Iterator[str]:
    """The table of last images: anew where it is empty and nobody writes to it meanwhile; on a
    server wider, under triggers that name its columns."""
    if tx.dialect.name == "sqlite":
        yield f"DROP TABLE {name}"
        yield statement
        return
    from syncnode.capture.mysql import column_type

    table = next(one for one in followed.plan if trash_name(one) == name)
    there = {
        column
        for (column,) in tx.rows(
            "SELECT COLUMN_NAME FROM information_schema.COLUMNS "
            "WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME=%s",
            (name,),
        )
    }
    for column in table.stored:
        verb = "MODIFY" if column.name in there else "ADD"
        quoted = tx.dialect.quote(column.name).replace("%%", "%")
        yield f"ALTER TABLE {name} {verb} COLUMN {quoted} {column_type(column)} NULL"


# Rows that were written before a column came


def _mark_absent(
    tx: "Transaction", book: Sidecar, table: "TablePlan", columns: Sequence[str]
) -> None:
    """The rows that stand here have no cell in these columns."""
    m, name = tx.mark, f"syncnode_clock_{table.number}"
    keys = ", ".join(tx.dialect.quote(one) for one in table.primary_key)
    same = " AND ".join(f"{tx.dialect.quote(one)}={m}" for one in table.primary_key)
    lines = tx.rows(f"SELECT {keys}, syncnode_cells FROM {name} WHERE syncnode_cells IS NOT NULL")
    known: dict[bytes, bytes] = {}
    rows = []
    for *key, cells in lines:
        blob = known.get(bytes(cells))
        if blob is None:
            odd, delete, absent = decode_cells(bytes(cells), book.origin_of)
            missing = sorted({*absent, *columns} - odd.keys())
            blob = known[bytes(cells)] = encode_cells(odd, delete, book.number, missing)
        rows.append((blob, *key))
    tx.executemany(f"UPDATE {name} SET syncnode_cells={m} WHERE {same}", rows)
    plain = encode_cells({}, None, book.number, sorted(columns))
    tx.execute(f"UPDATE {name} SET syncnode_cells={m} WHERE syncnode_cells IS NULL", (plain,))


def _take_written(
    tx: "Transaction", sealer: Sealer, book: Sidecar, table: Table, columns: Sequence[str]
) -> None:
    """Cells for what stands in these columns and is not what the column was made with."""
    keys = ", ".join(f"t.{tx.dialect.quote(one)}" for one in table.plan.primary_key)
    for name in columns:
        condition = None
        if name in table.place:
            condition = _written(tx, table, table.plan.column(name))
        if condition is None:
            continue
        sql = f"SELECT {keys} FROM {table.quoted} t WHERE {condition}"
        found: list[Key] = [tuple(key) for key in tx.rows(sql)]
        for start in range(0, len(found), ROWS):
            _take_cells(tx, sealer, book, table, name, found[start : start + ROWS])
    book.close_changeset(THIS_MACHINE.wall_ms())


def _take_cells(
    tx: "Transaction", sealer: Sealer, book: Sidecar, table: Table, name: str, pks: Sequence[Key]
) -> None:
    """A cell of that column for each of these rows that has none, with what the table shows."""
    hidden, origins = HiddenRows(book), Origins(book.origin_of, decode_cells)
    for stored in table.by_pk(tx, pks, origins):
        if stored.clock is None:
            continue
        key = stored.clock.key
        here = hidden.get(table.number, [key]).get(key)
        apart = here if here is not None and here.place in STATE_HERE else None
        row = apart.row if apart is not None else table.row_of(stored)
        if name in row.cells or not row.alive:
            continue
        dot = book.open_changeset(THIS_MACHINE.nonce())
        cell = Cell(Stamp(row.hlc, dot.origin, dot.seq), table.shown(stored)[name])
        whole = Row({**row.cells, name: cell}, row.delete)
        if apart is not None:
            sealer.put_hidden(table, key, replace(apart, row=whole), row)
        else:
            sealer.write_clock(table, stored.pk, key, whole, row)


def _written(tx: "Transaction", table: Table, column: "ColumnPlan") -> str | None:
    """A condition that a row holds something else there than every row was given; None where
    that cannot be told."""
    name = f"t.{tx.dialect.quote(column.name)}"
    if tx.dialect.name == "sqlite":
        default = tx.value(
            "SELECT dflt_value FROM pragma_table_info(?) WHERE name=?", (table.name, column.name)
        )
        same = "IS"
    else:
        default = tx.value(
            "SELECT COLUMN_DEFAULT FROM information_schema.COLUMNS WHERE "
            "TABLE_SCHEMA=DATABASE() AND TABLE_NAME=%s AND COLUMN_NAME=%s",
            (table.name, column.name),
        )
        same = "<=>"
    if default is None or str(default).upper() == "NULL":
        if column.nullable:
            return f"{name} IS NOT NULL"
        empty = {"integer": "0", "unsigned": "0", "decimal": "0", "text": "''", "bytes": "''"}
        return f"{name}<>{empty[column.kind]}" if column.kind in empty else None
    if "(" in str(default) or str(default).upper().startswith("CURRENT"):
        return None
    return f"NOT ({name} {same} ({str(default).replace('%', '%%')}))"


def _count_again(book: Sidecar, table: Table) -> None:
    """The table's sum, of rows that have fewer cells now."""
    hidden, origins = HiddenRows(book), Origins(book.origin_of, decode_cells)
    total = 0
    for _, number, key, row in hidden.changed(0, book.lsn):
        if number == table.number and hidden.get(number, [key])[key].row == row:
            total += sum_of(key, row)
    last: Key | None = None
    while rows := table.after_pk(book.tx, last, ROWS):
        last = rows[-1].pk
        for stored in table.by_pk(book.tx, [row.pk for row in rows], origins):
            if stored.clock is None:
                continue
            here = hidden.get(table.number, [stored.clock.key]).get(stored.clock.key)
            if here is None or here.place not in STATE_HERE:
                total += sum_of(stored.clock.key, table.row_of(stored))
    book.sums[table.name] = total & SUM_MASK


# Rows that came with cells for which there was no column


def _show_unknown(replica: "DatabaseReplica") -> None:
    """Write what waits for columns, or for longer ones, if they are there now."""
    with replica.database.read() as tx:
        waiting: dict[int, list[RowKey]] = {}
        for number, key in tx.rows(
            "SELECT tbl, row_key FROM syncnode_row "
            f"WHERE reason IN ('{UNKNOWN_COLUMN}', 'type does not fit') "
            f"OR (place='{ALTERED}' AND reason='held') ORDER BY lsn"
        ):
            waiting.setdefault(number, []).append(RowKey(bytes(key)))
    if not waiting:
        return

    def work(rewriting: "Rewriting") -> None:
        for number, keys in waiting.items():
            if number in replica.tables:
                rewriting.applier.rewrite(replica.tables[number].name, keys, _as_it_is)

    replica.write_again(work, repair=False)


def _as_it_is(_key: RowKey, row: Row, *_: Any) -> Row:
    return row
