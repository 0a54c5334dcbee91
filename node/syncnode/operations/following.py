"""The application's schema has changed: the site's plan follows by itself.

A column that came is taken up, and so is a table; a column that went is let go of; a column that
holds more than before takes what did not fit. What a row shows in a column that came after it was
written nobody wrote: it has no cell there, and nothing is replicated of it, until somebody writes
one. What was written to the new column before it was noticed is found by its difference from the
column's default; it bears the reading of the row's latest write, so that every later write wins.

On SQLite and PostgreSQL all of it is one transaction. MariaDB commits each statement that changes
a table by itself: these come first, and each may be repeated, so that what was interrupted is
simply done again. Numbers of columns stay as they were, so lines of the old and the new triggers
read alike.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from syncnode.capture.dropped import note_dropped
from syncnode.capture.seal import Sealer
from syncnode.machine import THIS_MACHINE
from syncnode.operations.recapturing import own_statements, quiet
from syncnode.operations.tables import save_plan
from syncnode.schema.drift import FOLLOWED, SEEN, UNFOLLOWED, Drift, drift, seen
from syncnode.schema.follow import Followed, follow_plan, without_gone
from syncnode.schema.renamed import called, moved, newly_called
from syncnode.settings.config import check_tables
from syncnode.store.hidden import ALTERED, STATE_HERE, UNKNOWN_COLUMN, HiddenRows
from syncnode.store.keeping import number_tables, show_kept
from syncnode.store.sidecar import Sidecar, load_plan
from syncnode.store.table import Key, Origins, Table
from syncproto.codec import decode_cells, encode_cells
from syncproto.identity import RowKey
from syncproto.row import Cell, Row, Stamp
from syncproto.sums import SUM_MASK, sum_of

if TYPE_CHECKING:
    from syncnode.apply.repairing import Rewriting
    from syncnode.replica import DatabaseReplica
    from syncnode.schema.plan import ColumnPlan, SchemaPlan, TablePlan
    from syncnode.settings.config import Settings
    from syncnode.store.database import Database, Transaction

ROWS = 5_000  # clocks read at once
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_CALL = re.compile(
    r"\b(?!(?:varchar|character varying|numeric|bit|char|character)\()[a-z_]\w*\(|"
    r"\bCURRENT_|\bLOCALTIME|\bSESSION_USER",
    re.IGNORECASE,
)
"""What PostgreSQL computes anew for each row, or once."""


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
        broken: The site cannot go on with it: see `Drift.fault`.
        problems: Sentences on what could not be followed, by table.
    """

    seen: str
    changed: bool
    broken: bool
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
        known = drift(tx, before).known
    from sqlalchemy import inspect as catalogue_of

    from syncnode.schema.inspect import inspect

    check_tables(settings, known)
    choice = settings.tables
    # What was chosen, or left out, at `init` and went since is no mistake of the settings.
    there = set(catalogue_of(database.engine).get_table_names())
    only = None if choice.only is None else [name for name in choice.only if name in there]
    exclude = [name for name in choice.exclude if name in there]
    whole = inspect(database.engine, only, exclude, choice.rules)
    names = newly_called(before.tables, choice.renamed, there)
    went = [old for old, new in choice.renamed if not new]
    standing = moved(before, names)
    with database.read() as tx:
        found = drift(tx, standing)
    found = replace(found, tables=tuple(names.get(name, name) for name in found.tables))
    followed = follow_plan(standing, called(whole, names), found, went)
    if followed.plan != before:
        _change(database, before, standing, followed, found)
    with database.read() as tx:
        broken = drift(tx, followed.plan).fault is not None
    return Following(now, followed.plan != before, broken, followed.problems)


def finish_following(replica: "DatabaseReplica", following: Following) -> None:
    """Write what waited for a column or a table, and remember the schema."""
    show_kept(replica)
    _show_unknown(replica)
    with replica.database.write() as tx:
        book = Sidecar.load(tx, load_plan(tx))
        # On SQLite our own triggers count, too.
        known = seen(tx) if tx.dialect.name == "sqlite" else following.seen
        book.set(SEEN, "" if following.broken else known)
        book.set(UNFOLLOWED, json.dumps(dict(following.problems)))
        book.save()


def _change(
    database: "Database",
    before: "SchemaPlan",
    standing: "SchemaPlan",
    followed: Followed,
    found: Drift,
) -> None:
    """`standing` is the plan from before with the names that tables have by now."""
    after = followed.plan
    if database.dialect.name == "mysql":
        with database.snapshot() as tx:
            tx.script(own_statements(tx, before, followed))
    with quiet(database, followed) as tx:
        if load_plan(tx) != before:
            return  # somebody else was faster
        sealer, book = _sealer(tx, without_gone(standing, found))
        sealer.seal()
        book.save()
        if tx.dialect.name != "mysql":
            tx.script(own_statements(tx, before, followed))
        number_tables(book, [one for one in after if one.name in followed.tables])
        for name, columns in followed.came.items():
            _mark_absent(tx, book, after.by_name[name], columns)
        sealer, book = _sealer(tx, after)
        save_plan(book, after)
        for name in followed.gone:
            _count_again(book, Table(after.by_name[name], after, tx.dialect))
        if followed.gone:
            note_dropped(book, followed.gone)
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
    if tx.dialect.name == "postgresql":
        return _written_in_postgresql(tx, table, column, name)
    if tx.dialect.name == "sqlite":
        default = tx.value(
            "SELECT dflt_value FROM pragma_table_info(?) WHERE name=?",
            (table.plan.here, column.name),
        )
        same = "IS"
    else:
        default = tx.value(
            "SELECT COLUMN_DEFAULT FROM information_schema.COLUMNS WHERE "
            "TABLE_SCHEMA=DATABASE() AND TABLE_NAME=%s AND COLUMN_NAME=%s",
            (table.plan.here, column.name),
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


def _written_in_postgresql(
    tx: "Transaction", table: Table, column: "ColumnPlan", name: str
) -> str | None:
    """As texts, since not every type can be compared. Where there is no default, every row that
    was there was given NULL."""
    default = tx.value(
        "SELECT pg_get_expr(f.adbin, f.adrelid) FROM pg_attrdef f JOIN pg_attribute a "
        "ON a.attrelid=f.adrelid AND a.attnum=f.adnum JOIN pg_class c ON c.oid=a.attrelid "
        "WHERE c.relnamespace=quote_ident(current_schema())::regnamespace "
        "AND c.relname=%s AND a.attname=%s",
        (table.plan.here, column.name),
    )
    if default is None or default.upper().startswith("NULL"):
        return f"{name} IS NOT NULL"
    if _CALL.search(_LITERAL.sub("''", default)):
        return None
    made = f"({default.replace('%', '%%')})::{column.declared}"
    return f'{name}::text COLLATE "C" IS DISTINCT FROM ({made})::text'


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
