"""What hooks are still to be told, as `syncnode_hook` has it.

Lines are written in the transaction that writes the rows, so nothing is forgotten, and a row has
one line however often it changes. Too many of one table become one that says "everything", so the
queue of a hook that nobody answers stays small.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from syncnode.settings.hook_settings import Hook
from syncnode.store.database import Transaction
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import Key, Table
from syncnode.texts import key_text
from syncproto.identity import RowKey

TABLE_ROWS_MAX = 10_000  # lines of one table and hook; reindexing the whole table costs no more
CALL_ROWS_MAX = 1_000  # some 150 kB of JSON
SETTING = "hooks"
"""The setting with what became of the last calls, by hook."""
SHOWN, DELETED, EVERYTHING = "shown", "deleted", "everything"
_NO_ROW = bytes(16)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call tells.

    Attributes:
        changes: As JSON has them: table, key, local key, operation.
        everything: Tables of which any row may have changed.
        lines: What is done with when the call is: table, row key, lsn.
    """

    changes: tuple[Mapping[str, Any], ...]
    everything: tuple[str, ...]
    lines: tuple[tuple[int, bytes, int], ...]

    def document(self, *, site: str, hook: str) -> bytes:
        """The JSON that is sent: keys of rows, never their values."""
        told = {
            "site": site,
            "hook": hook,
            "changes": list(self.changes),
            "everything": list(self.everything),
        }
        return json.dumps(told).encode("ascii")


@dataclass(frozen=True, slots=True)
class HookState:
    """What became of a hook's last calls.

    Attributes:
        failures: In a row.
        failed_ms: When the first of them was.
        error: Of the last one, in a sentence.
    """

    failures: int = 0
    failed_ms: int = 0
    error: str = ""


# Writing, within an apply


def note_applied(
    book: Sidecar,
    hooks: Collection[Hook],
    tables: Mapping[int, Table],
    first_lsn: int,
    wall_ms: int,
) -> None:
    """Queue what was written since `first_lsn`, for every hook that wants it."""
    if book.lsn <= first_lsn and not book.gone:
        return
    for hook in hooks:
        for table in tables.values():
            if table.name in book.touched_tables and hook.takes(table.name):
                _Noting(book, hook, table, first_lsn, wall_ms).note()


@dataclass(frozen=True, slots=True)
class _Noting:
    book: Sidecar
    hook: Hook
    table: Table
    first_lsn: int
    wall_ms: int

    def note(self) -> None:
        gone = self._gone()
        rows = self._count(f"SELECT count(*) FROM {self._source}") + len(gone)
        if not rows:
            return
        m, mine = self.book.tx.mark, (self.hook.name, self.table.number)
        where = f"hook={m} AND tbl={m}"
        waiting = self._count(f"SELECT count(*) FROM syncnode_hook WHERE {where}", mine)
        collapsed = self._count(
            f"SELECT count(*) FROM syncnode_hook WHERE {where} AND op='{EVERYTHING}'", mine
        )
        if collapsed or waiting + rows > TABLE_ROWS_MAX:
            self.book.tx.execute(f"DELETE FROM syncnode_hook WHERE {where}", mine)
            self._insert([(_NO_ROW, EVERYTHING, None)])
            return
        # A key stands once, and the last that happened to its row counts.
        self.book.tx.execute(
            f"DELETE FROM syncnode_hook WHERE {where} AND row_key IN "
            f"(SELECT row_key FROM {self._source})",
            mine,
        )
        self.book.tx.execute(
            "INSERT INTO syncnode_hook (hook, tbl, row_key, op, lsn, pk, since_ms) "
            f"SELECT {m}, {m}, row_key, op, lsn, NULL, {m} FROM {self._source}",
            (*mine, self.wall_ms),
        )
        self.book.tx.executemany(
            f"DELETE FROM syncnode_hook WHERE {where} AND row_key={m}",
            [(*mine, key) for key in gone],
        )
        self._insert([(key, DELETED, _key_json(pk)) for key, pk in gone.items()])

    @property
    def _source(self) -> str:
        """The rows that stand now and were written since."""
        if self.table.plan.key_kind == "none":
            return (
                "(SELECT row_key, lsn, CASE place WHEN 'dead' THEN 'deleted' ELSE 'shown' END AS "
                f"op FROM syncnode_row WHERE tbl={self.table.number} AND lsn>{self.first_lsn} "
                "AND place IN ('shown', 'altered', 'dead')) AS written"
            )
        return (
            f"(SELECT syncnode_key AS row_key, syncnode_lsn AS lsn, '{SHOWN}' AS op "
            f"FROM {self.table.clock_name} WHERE syncnode_lsn>{self.first_lsn}) AS written"
        )

    def _gone(self) -> dict[RowKey, Key]:
        mine = {
            key: pk for (number, key), pk in self.book.gone.items() if number == self.table.number
        }
        back = self.table.find(self.book.tx, sorted(mine)) if mine else {}
        return {key: pk for key, pk in mine.items() if key not in back}

    def _count(self, sql: str, params: Sequence[object] = ()) -> int:
        return int(self.book.tx.value(sql, params))

    def _insert(self, lines: Sequence[tuple[bytes, str, str | None]]) -> None:
        m = self.book.tx.mark
        self.book.tx.executemany(
            "INSERT INTO syncnode_hook (hook, tbl, row_key, op, lsn, pk, since_ms) "
            f"VALUES ({', '.join([m] * 7)})",
            [
                (self.hook.name, self.table.number, key, op, self.book.lsn, pk, self.wall_ms)
                for key, op, pk in lines
            ],
        )


def _key_json(pk: Key) -> str:
    return json.dumps([_plain(value) for value in pk])


def _plain(value: object) -> object:
    if isinstance(value, bytes | bytearray):
        return f"0x{value.hex()}"
    return value if isinstance(value, int | float | str) else str(value)


# Reading, for a call


def next_batch(tx: Transaction, hook: Hook, tables: Mapping[int, Table]) -> Batch | None:
    """The oldest lines; None if there are none."""
    lines = tx.rows(
        f"SELECT tbl, row_key, op, lsn, pk FROM syncnode_hook WHERE hook={tx.mark} "
        f"ORDER BY lsn, tbl, row_key LIMIT {CALL_ROWS_MAX}",
        (hook.name,),
    )
    if not lines:
        return None
    shown: dict[int, list[RowKey]] = {}
    for number, key, op, _, _ in lines:
        if op == SHOWN and number in tables:
            shown.setdefault(number, []).append(RowKey(bytes(key)))
    found = {
        number: tables[number].find(tx, keys)
        for number, keys in shown.items()
        if tables[number].plan.key_kind != "none"
    }
    changes, everything = [], []
    for number, raw, op, _, pk in lines:
        table, key = tables.get(number), RowKey(bytes(raw))
        if table is None:
            continue
        if op == EVERYTHING:
            everything.append(table.plan.here)
            continue
        here: Sequence[Any] | None = json.loads(pk) if pk is not None else None
        if op == SHOWN and number in found:
            here = found[number].get(key)
        changes.append(_change(table, key, op, here))
    done = tuple((number, bytes(key), lsn) for number, key, _, lsn, _ in lines)
    return Batch(tuple(changes), tuple(everything), done)


def _change(table: Table, key: RowKey, op: str, pk: Sequence[Any] | None) -> Mapping[str, Any]:
    keyed = table.plan.key_kind != "none"
    local = None
    if pk is not None:
        local = dict(zip(table.plan.primary_key, map(_plain, pk), strict=True))
    return {
        "table": table.plan.here,
        "key": key_text(key),
        "local": local,
        # It may have gone again since, by the application's own hand.
        "operation": DELETED if keyed and local is None else op,
    }


def done_with(tx: Transaction, hook: Hook, batch: Batch) -> None:
    """Forget what was told; a row that has changed since stays."""
    m = tx.mark
    tx.executemany(
        f"DELETE FROM syncnode_hook WHERE hook={m} AND tbl={m} AND row_key={m} AND lsn={m}",
        [(hook.name, *line) for line in batch.lines],
    )


def queued(tx: Transaction) -> set[str]:
    """Names of the hooks of which anything is written down."""
    names = {name for (name,) in tx.rows("SELECT DISTINCT hook FROM syncnode_hook")}
    return names | set(read_states(tx))


def forget_others(tx: Transaction, hooks: Collection[Hook]) -> None:
    """Forget what hooks were to be told that are in the settings no more."""
    names = [hook.name for hook in hooks]
    marks = ", ".join([tx.mark] * len(names))
    tx.execute(
        f"DELETE FROM syncnode_hook{f' WHERE hook NOT IN ({marks})' if names else ''}", names
    )
    kept = {name: state for name, state in read_states(tx).items() if name in names}
    _put_states(tx, kept)


# How it goes


def read_states(tx: Transaction) -> dict[str, HookState]:
    """What became of the last calls, by hook; those that went well are absent."""
    stored = tx.value(f"SELECT value FROM syncnode_setting WHERE name='{SETTING}'")
    return {name: HookState(**fields) for name, fields in json.loads(stored or "{}").items()}


def put_state(tx: Transaction, name: str, state: HookState | None) -> None:
    """Write down how the last call went; None: well."""
    states = read_states(tx)
    states.pop(name, None)
    if state is not None:
        states[name] = state
    _put_states(tx, states)


def _put_states(tx: Transaction, states: Mapping[str, HookState]) -> None:
    tx.execute(f"DELETE FROM syncnode_setting WHERE name='{SETTING}'")
    if states:
        text = json.dumps({name: asdict(state) for name, state in states.items()})
        tx.execute(
            f"INSERT INTO syncnode_setting (name, value) VALUES ('{SETTING}', {tx.mark})", (text,)
        )


def waiting(tx: Transaction, hook: Hook) -> tuple[int, int | None, list[int]]:
    """How many lines wait, since when the oldest does, and the tables that are to be told whole."""
    m = tx.mark
    row = tx.row(f"SELECT count(*), min(since_ms) FROM syncnode_hook WHERE hook={m}", (hook.name,))
    assert row is not None, "a count is a row"
    whole = tx.rows(
        f"SELECT tbl FROM syncnode_hook WHERE hook={m} AND op='{EVERYTHING}' ORDER BY tbl",
        (hook.name,),
    )
    return row[0], row[1], [number for (number,) in whole]
