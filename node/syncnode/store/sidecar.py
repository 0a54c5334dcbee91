"""The sidecar: our tables beside the application's, and what stands in them.

All of them are named `syncnode_…` and live in the database of the data, since capture and
apply must commit together with it. Journal, trash and triggers belong to `capture`; this file
has the rest: settings, origins, the frontier, the ledger, clocks, hidden rows, conflicts.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from syncnode.dialects.base import Dialect
from syncnode.schema.plan import SchemaPlan, TablePlan
from syncnode.store.database import Transaction
from syncproto.clock import BASELINE_HLC
from syncproto.codec import decode_row, encode_row
from syncproto.delta import LedgerLine, RecordedConflict
from syncproto.errors import StoreError
from syncproto.frontier import Entry, Frontier, VersionVector
from syncproto.identity import Dot, Origin, RowKey, SiteId
from syncproto.merge import Conflict
from syncproto.messages import Known
from syncproto.replica import LINEAGES_KEPT
from syncproto.row import Cell, Row, Stamp
from syncproto.sums import SUM_MASK

FORMAT = "1"  # of the sidecar's tables; a later version reads and raises it
RENEWAL_DUE = "renewal_due"
"""The setting that says: a new incarnation before anything is offered."""
SIDECAR_TABLES = (
    "setting",
    "origin",
    "table",
    "frontier",
    "changeset",
    "row",
    "conflict",
    "dismissed",
    "stage",
    "staged",
    "bundle",
    "peer",
    "invite",
    "hook",
    "revoked",
    "lan",
)
"""What follows `syncnode_` in the names of the tables made here, but for those of clocks."""
DROPPED = "schema_dropped"
"""The setting with the tables of which a column went, as JSON: their sums are no other site's."""
ADOPTED = "adopted"
"""The setting with what the frontier must cover before rows that another site's stamps were taken
over for are like others, as JSON: for each table the highest seq by number of the origin."""
EDITION = "edition"
"""The setting that counts how often the plan was changed since `init`."""
KEPT_FROM = 1_000_000
"""From here on are the numbers of tables that are not here and whose rows are kept (`keeping.py`);
those of the plan lie below."""
LEDGER_LINES_KEPT = 1_000  # by origin; older neighbours are merged into one line
USERS_SHOWN = 5  # database users named with one changeset; more of them name nobody
NONCES_SHOWN = 64  # recent changesets whose nonces tell where a fork began
_WINNING = {False: "winning", True: "deleted"}  # what won in a conflict: a value, or a delete


def clock_table(table: TablePlan) -> str:
    """The table with a line for each row of `table`, keyed by that table's own primary key."""
    return f"syncnode_clock_{table.number}"


def sidecar_ddl(plan: SchemaPlan, dialect: Dialect) -> list[str]:
    """The statements that make the sidecar, but for what `capture` makes."""
    blob, big, word, options = dialect.blob, dialect.big, dialect.word, dialect.table_options
    key, short, text = dialect.key, dialect.short, dialect.text
    tables = {
        "syncnode_setting": f"name {word} NOT NULL PRIMARY KEY, value {text} NOT NULL",
        "syncnode_origin": f"id {big} NOT NULL PRIMARY KEY, site {key} NOT NULL, "
        f"incarnation {big} NOT NULL",
        "syncnode_table": f"id {big} NOT NULL PRIMARY KEY, name {word} NOT NULL, "
        f"plan {text} NOT NULL, total {word} NOT NULL",
        "syncnode_frontier": f"scope {word} NOT NULL, origin {big} NOT NULL, seq {big} NOT NULL, "
        f"nonce {big} NOT NULL, PRIMARY KEY (scope, origin)",
        "syncnode_changeset": f"id {big} NOT NULL PRIMARY KEY, origin {big} NOT NULL, "
        f"seq {big} NOT NULL, nonce {big} NOT NULL, hlc {big} NOT NULL, lsn {big} NOT NULL, "
        f"row_count {big} NOT NULL, tables {text} NOT NULL, received_ms {big} NOT NULL, "
        f"sender {key}, users {text}",
        "syncnode_row": f"tbl {big} NOT NULL, row_key {key} NOT NULL, aside {big} NOT NULL, "
        f"place {word} NOT NULL, lsn {big} NOT NULL, state {blob}, reason {word}, "
        f"detail {text}, waits_tbl {big}, waits_key {key}, since_ms {big} NOT NULL, "
        f"local_key {big}, "
        "PRIMARY KEY (tbl, row_key, aside)",
        "syncnode_conflict": f"name {key} NOT NULL PRIMARY KEY, tbl {word} NOT NULL, "
        f"row_key {key} NOT NULL, col {word} NOT NULL, body {blob} NOT NULL, "
        f"hlc {big} NOT NULL, origin {big} NOT NULL, seq {big} NOT NULL, lsn {big} NOT NULL, "
        f"decided {word}",
        "syncnode_dismissed": f"tbl {big} NOT NULL, row_key {key} NOT NULL, "
        f"since_ms {big} NOT NULL, PRIMARY KEY (tbl, row_key)",
        "syncnode_hook": f"hook {word} NOT NULL, tbl {big} NOT NULL, row_key {key} NOT NULL, "
        f"op {word} NOT NULL, lsn {big} NOT NULL, pk {text}, since_ms {big} NOT NULL, "
        "PRIMARY KEY (hook, tbl, row_key)",
        "syncnode_stage": f"sender {key} NOT NULL PRIMARY KEY, incarnation {big} NOT NULL, "
        f"lsn {big} NOT NULL, claim {blob}, applied {big} NOT NULL, first_lsn {big} NOT NULL, "
        f"row_count {big} NOT NULL, scopes {text}",
        "syncnode_staged": f"sender {key} NOT NULL, position {big} NOT NULL, "
        f"body {blob} NOT NULL, PRIMARY KEY (sender, position)",
        "syncnode_bundle": f"id {key} NOT NULL PRIMARY KEY, exporter {key} NOT NULL, "
        f"name {word} NOT NULL, made_ms {big} NOT NULL, letter {blob} NOT NULL, "
        f"scopes {text} NOT NULL, spans {text} NOT NULL, readers {text}",
        "syncnode_peer": f"site {key} NOT NULL PRIMARY KEY, name {word} NOT NULL, "
        f"role {word} NOT NULL, url {text} NOT NULL, public_key {short} NOT NULL, "
        f"certificate {blob}, frontier {blob}, session_nonce {word}, counter {big} NOT NULL, "
        f"contact_ms {big}, trouble {text} NOT NULL, skew_ms {big} NOT NULL, kept {text}, "
        f"directions {text}, unwanted {text}",
        "syncnode_invite": f"secret {key} NOT NULL PRIMARY KEY, name {word} NOT NULL, "
        f"role {word} NOT NULL, expires_ms {big} NOT NULL, used_ms {big}",
        "syncnode_revoked": f"site {key} NOT NULL, signer {key} NOT NULL, "
        f"body {blob} NOT NULL, PRIMARY KEY (site, signer)",
        "syncnode_lan": f"site {key} NOT NULL PRIMARY KEY, url {text} NOT NULL, "
        f"standing {text} NOT NULL, seen_ms {big} NOT NULL",
    }
    statements = [f"CREATE TABLE {name} ({body}){options}" for name, body in tables.items()]
    statements += [
        "CREATE INDEX syncnode_row_lsn ON syncnode_row (lsn)",
        "CREATE INDEX syncnode_row_place ON syncnode_row (place, tbl)",
        "CREATE INDEX syncnode_row_waits ON syncnode_row (waits_tbl, waits_key)",
        "CREATE INDEX syncnode_conflict_lsn ON syncnode_conflict (lsn)",
        "CREATE INDEX syncnode_hook_lsn ON syncnode_hook (hook, lsn)",
        "CREATE INDEX syncnode_changeset_origin ON syncnode_changeset (origin, seq)",
    ]
    for table in plan.tables:
        if table.key_kind != "none":
            statements += _clock_ddl(table, dialect)
    return statements


def _clock_ddl(table: TablePlan, dialect: Dialect) -> Iterator[str]:
    name = clock_table(table)
    columns = {column.name: column for column in table.columns}
    primary = ", ".join(_plain_quoted(dialect, key) for key in table.primary_key)
    keys = "".join(
        f"{_plain_quoted(dialect, key)} {dialect.key_type(columns[key])} NOT NULL, "
        for key in table.primary_key
    )
    big, blob, row_key = dialect.big, dialect.blob, dialect.key
    # A table keyed by one integer is SQLite's own row number: no second tree.
    if dialect.name == "sqlite" and _counted(table):
        keys = keys.replace(" NOT NULL, ", " PRIMARY KEY, ")
        primary_clause, without = "", ""
    else:
        primary_clause = f", PRIMARY KEY ({primary})"
        without = dialect.clock_options
    yield (
        f"CREATE TABLE {name} ({keys}syncnode_lsn {big} NOT NULL, syncnode_hlc {big} NOT NULL, "
        f"syncnode_origin {big} NOT NULL, syncnode_seq {big} NOT NULL, "
        f"syncnode_key {row_key} NOT NULL, syncnode_odd {row_key}, syncnode_cells {blob}"
        f"{primary_clause}){without}{dialect.table_options}"
    )
    yield f"CREATE INDEX {name}_lsn ON {name} (syncnode_lsn)"
    where = " WHERE syncnode_odd IS NOT NULL" if dialect.partial_indexes else ""
    yield f"CREATE INDEX {name}_odd ON {name} (syncnode_odd){where}"


def _counted(table: TablePlan) -> bool:
    columns = {column.name: column for column in table.columns}
    return len(table.primary_key) == 1 and columns[table.primary_key[0]].kind == "integer"


def _plain_quoted(dialect: Dialect, name: str) -> str:
    """Quoted for a statement that is run without parameters."""
    quoted = dialect.quote(name)
    return quoted.replace("%%", "%") if dialect.mark == "%s" else quoted


@dataclass(slots=True)
class Sidecar:
    """What the sidecar holds, read at the start of a transaction and saved before its end.

    Attributes:
        users: The database users who wrote what is being sealed, as far as the vendor tells.
        gone: The local keys of rows that were deleted since others had deleted them, by number of
            the table and row key.
        kept: Numbers of the tables that are not here and whose rows are kept, by name.
    """

    tx: Transaction
    plan: SchemaPlan
    settings: dict[str, str]
    sums: dict[str, int]
    frontier: Frontier
    lsn: int
    hlc: int
    origin: Origin
    changeset: Dot | None = None
    changeset_nonce: int = 0
    touched_rows: int = 0
    users: set[str] = field(default_factory=set)
    gone: dict[tuple[int, RowKey], tuple[Any, ...]] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)

    _origins: list[Origin] | None = None
    _numbers: dict[Origin, int] | None = None
    _saved_frontier: Frontier | None = None
    _saved_sums: dict[str, int] | None = None
    _rows_by_table: dict[str, int] | None = None
    _first_lsn: int = 0
    _ledgered: bool = False

    # Reading and saving

    @classmethod
    def load(cls, tx: Transaction, plan: SchemaPlan) -> "Sidecar":
        # The plan is here already, and long.
        settings = dict(tx.rows("SELECT name, value FROM syncnode_setting WHERE name<>'plan'"))
        origins = [
            Origin(SiteId(bytes(site)), incarnation)
            for _, site, incarnation in tx.rows(
                "SELECT id, site, incarnation FROM syncnode_origin ORDER BY id"
            )
        ]
        totals = tx.rows("SELECT id, name, total FROM syncnode_table")
        sums = {name: int(total) for _, name, total in totals}
        kept = {name: number for number, name, _ in totals if number >= KEPT_FROM}
        site = SiteId(bytes.fromhex(settings["site"]))
        loaded = cls(
            tx=tx,
            plan=plan,
            settings=settings,
            sums=sums,
            frontier=_frontier(
                tx, origins, [*(table.name for table in plan), *kept], settings.get("groups")
            ),
            lsn=int(settings["lsn"]),
            hlc=int(settings["hlc"]),
            origin=Origin(site, int(settings["incarnation"])),
            kept=kept,
        )
        loaded._origins = origins
        loaded._numbers = {origin: number for number, origin in enumerate(origins)}
        loaded._saved_frontier = loaded.frontier
        loaded._saved_sums = dict(sums)
        loaded._rows_by_table = {}
        # Rows that bear stamps above the frontier have the lsn that they had: who lacks what is
        # claimed from now on begins at the first.
        loaded._first_lsn = 1 if settings.get(ADOPTED) else loaded.lsn + 1
        return loaded

    def save(self) -> None:
        """Write back what changed."""
        if self.lsn != int(self.settings["lsn"]):
            self.set("lsn", str(self.lsn))
        if self.hlc != int(self.settings["hlc"]):
            self.set("hlc", str(self.hlc))
        if self.frontier is not self._saved_frontier:
            self.save_frontier()
        mark = self.tx.mark
        for name, total in self.sums.items():
            assert self._saved_sums is not None, "loaded"
            if self._saved_sums.get(name) != total:
                self.tx.execute(
                    f"UPDATE syncnode_table SET total={mark} WHERE name={mark}", (str(total), name)
                )
        self._saved_sums = dict(self.sums)

    def set(self, name: str, value: str) -> None:
        mark = self.tx.mark
        if name in self.settings:
            if self.settings[name] != value:
                self.tx.execute(
                    f"UPDATE syncnode_setting SET value={mark} WHERE name={mark}", (value, name)
                )
        else:
            self.tx.execute(
                f"INSERT INTO syncnode_setting (name, value) VALUES ({mark}, {mark})", (name, value)
            )
        self.settings[name] = value

    def save_frontier(self) -> None:
        """One copy of each vector, under the first table of its group, and the groups."""
        groups = self.frontier.groups()
        self.tx.execute("DELETE FROM syncnode_frontier")
        rows = [
            (scopes[0], self.number(origin), entry.seq, entry.nonce)
            for scopes, vector in groups
            for origin, entry in vector.entries.items()
        ]
        mark = self.tx.mark
        self.tx.executemany(
            "INSERT INTO syncnode_frontier (scope, origin, seq, nonce) "
            f"VALUES ({mark}, {mark}, {mark}, {mark})",
            rows,
        )
        import json

        self.set("groups", json.dumps([list(scopes) for scopes, _ in groups]))
        self._saved_frontier = self.frontier

    # Origins

    def number(self, origin: Origin) -> int:
        """The small local number of an origin; a new one is written down."""
        assert self._numbers is not None, "loaded"
        assert self._origins is not None, "loaded"
        found = self._numbers.get(origin)
        if found is None:
            found = len(self._origins)
            mark = self.tx.mark
            self.tx.execute(
                "INSERT INTO syncnode_origin (id, site, incarnation) "
                f"VALUES ({mark}, {mark}, {mark})",
                (found, origin.site, origin.incarnation),
            )
            self._origins.append(origin)
            self._numbers[origin] = found
        return found

    def origin_of(self, number: int) -> Origin:
        assert self._origins is not None, "loaded"
        return self._origins[number]

    @property
    def origin_count(self) -> int:
        assert self._origins is not None, "loaded"
        return len(self._origins)

    @property
    def too_large(self) -> dict[str, int]:
        """Encoded bytes by "table key" of the rows that no message can carry."""
        import json

        found: dict[str, int] = json.loads(self.settings.get("too_large", "{}"))
        return found

    @too_large.setter
    def too_large(self, kept: dict[str, int]) -> None:
        import json

        self.set("too_large", json.dumps(kept, sort_keys=True))

    @property
    def told_sums(self) -> dict[str, int]:
        """The sums by which other sites can tell whether they hold the same."""
        import json

        dropped = json.loads(self.settings.get(DROPPED, "{}"))
        return {name: total for name, total in self.sums.items() if name not in dropped}

    @property
    def touched_tables(self) -> frozenset[str]:
        """Names of the tables of which rows have got numbers in this transaction."""
        return frozenset(self._rows_by_table or ())

    # What a transaction does to rows

    def next_lsn(self, table: str) -> int:
        """The lsn of a row that changes now; counts it for the ledger."""
        assert self._rows_by_table is not None, "loaded"
        self._rows_by_table[table] = self._rows_by_table.get(table, 0) + 1
        self.lsn += 1
        return self.lsn

    def reserve_lsns(self, table: str, count: int) -> int:
        """The first of `count` numbers in a row, for rows of one table."""
        assert self._rows_by_table is not None, "loaded"
        self._rows_by_table[table] = self._rows_by_table.get(table, 0) + count
        first = self.lsn + 1
        self.lsn += count
        return first

    def add_sum(self, table: str, change: int) -> None:
        self.sums[table] = (self.sums[table] + change) & SUM_MASK

    def open_changeset(self, nonce: int) -> Dot:
        """A changeset of our own; the frontier moves with `close_changeset`."""
        if self.changeset is None:
            self.changeset = Dot(self.origin, self.frontier.seq(self.origin) + 1)
            self.changeset_nonce = nonce
        return self.changeset

    def close_changeset(self, wall_ms: int) -> None:
        """The changeset is in the frontier and in the ledger from here on."""
        if self.changeset is None:
            return
        entry = Entry(self.changeset.seq, self.changeset_nonce)
        self.advance(
            self.frontier.advanced(self.origin, entry),
            wall_ms,
            sender=None,
            users=_users_text(self.users),
        )
        self.users.clear()
        self.changeset = None

    def advance(
        self,
        frontier: Frontier,
        wall_ms: int,
        *,
        sender: SiteId | None,
        users: str | None = None,
    ) -> None:
        """Move the frontier; a ledger line for each origin that moved."""
        mark = self.tx.mark
        line = self.tx.value("SELECT max(id) FROM syncnode_changeset") or 0
        import json

        tables = json.dumps(self._rows_by_table, sort_keys=True)
        rows = []
        for origin in sorted(frontier.origins()):
            if not _moved(frontier, self.frontier, origin):
                continue
            entry = frontier.entry(origin)
            line += 1
            rows.append(
                (
                    line,
                    self.number(origin),
                    entry.seq,
                    entry.nonce,
                    self.hlc,
                    self._first_lsn,
                    sum(self._rows_by_table.values()) if self._rows_by_table else 0,
                    tables,
                    wall_ms,
                    sender,
                    users,
                )
            )
        self.tx.executemany(
            "INSERT INTO syncnode_changeset (id, origin, seq, nonce, hlc, lsn, row_count, tables, "
            f"received_ms, sender, users) VALUES ({', '.join([mark] * 11)})",
            rows,
        )
        self.frontier = frontier
        self._leave_adopted()
        if line % LEDGER_LINES_KEPT < len(rows):
            self._merge_old_lines()

    def note_adopted(self, table: str, seqs: Mapping[int, int]) -> None:
        """Rows of a table bear stamps of these origins, by number, up to these seqs, before the
        frontier covers them."""
        import json

        noted = json.loads(self.settings.get(ADOPTED) or "{}")
        of_table = noted.setdefault(table, {})
        for number, seq in seqs.items():
            of_table[str(number)] = max(seq, of_table.get(str(number), 0))
        self.set(ADOPTED, json.dumps(noted, sort_keys=True))
        self._first_lsn = 1

    def _leave_adopted(self) -> None:
        """Once the frontier covers what was adopted, its rows are like any others."""
        import json

        noted = json.loads(self.settings.get(ADOPTED) or "{}")
        if noted and all(
            self.frontier.vector(table).seq(self.origin_of(int(number))) >= seq
            for table, seqs in noted.items()
            if table in self.frontier.vectors
            for number, seq in seqs.items()
        ):
            self.set(ADOPTED, "")

    def _merge_old_lines(self) -> None:
        """Of the lines of one origin older than the newest thousand, keep the last, with the
        lowest lsn: a peer that lacks any of them begins there."""
        mark = self.tx.mark
        for (number,) in self.tx.rows("SELECT DISTINCT origin FROM syncnode_changeset"):
            bound = self.tx.value(
                f"SELECT id FROM syncnode_changeset WHERE origin={mark} ORDER BY id DESC "
                f"LIMIT 1 OFFSET {LEDGER_LINES_KEPT}",
                (number,),
            )
            if bound is None:
                continue
            lowest = self.tx.value(
                f"SELECT min(lsn) FROM syncnode_changeset WHERE origin={mark} AND id<={mark}",
                (number, bound),
            )
            self.tx.execute(
                f"DELETE FROM syncnode_changeset WHERE origin={mark} AND id<{mark}",
                (number, bound),
            )
            self.tx.execute(
                f"UPDATE syncnode_changeset SET lsn={mark} WHERE id={mark}", (lowest, bound)
            )

    def users_of(self, dot: Dot) -> str | None:
        """Who of the database wrote a changeset of ours; None where nobody can tell any more."""
        assert self._numbers is not None, "loaded"
        number, mark = self._numbers.get(dot.origin), self.tx.mark
        found: str | None = self.tx.value(
            f"SELECT users FROM syncnode_changeset WHERE origin={mark} AND seq={mark}",
            (number, dot.seq),
        )
        return found

    # What a session asks

    def ledger(self) -> Iterator[LedgerLine]:
        for number, seq, lsn in self.tx.rows("SELECT origin, seq, lsn FROM syncnode_changeset"):
            yield LedgerLine(Dot(self.origin_of(number), seq), lsn)

    def ledger_above(self, base: Frontier) -> Iterator[LedgerLine]:
        """The lines of origins that `base` does not cover whole."""
        for number, origin in enumerate(self._origins or ()):
            covered = min((vector.seq(origin) for vector in base.vectors.values()), default=0)
            if self.frontier.seq(origin) <= covered:
                continue
            mark = self.tx.mark
            lowest = self.tx.value(
                f"SELECT min(lsn) FROM syncnode_changeset WHERE origin={mark} AND seq>{mark}",
                (number, covered),
            )
            if lowest is not None:
                yield LedgerLine(Dot(origin, self.frontier.seq(origin)), lowest)

    def recent_nonces(self, origin: Origin) -> dict[int, int]:
        assert self._numbers is not None, "loaded"
        number = self._numbers.get(origin)
        if number is None:
            return {}
        mark = self.tx.mark
        rows = self.tx.rows(
            f"SELECT seq, nonce FROM syncnode_changeset WHERE origin={mark} "
            f"ORDER BY seq DESC LIMIT {NONCES_SHOWN}",
            (number,),
        )
        return dict(rows)

    def recent_nonces_of(self, site: SiteId) -> dict[int, dict[int, int]]:
        """Those of the latest origins of a site, by incarnation."""
        assert self._numbers is not None, "loaded"
        origins = sorted(origin for origin in self._numbers if origin.site == site)
        return {
            origin.incarnation: self.recent_nonces(origin) for origin in origins[-LINEAGES_KEPT:]
        }

    def known(self, site: SiteId) -> Known | None:
        """The latest origin of a site that the frontier holds."""
        latest = max((o for o in self.frontier.origins() if o.site == site), default=None)
        if latest is None:
            return None
        return Known(latest.incarnation, self.frontier.entry(latest))

    # Conflicts

    def has_conflict(self, conflict: Conflict) -> bool:
        mark = self.tx.mark
        name = conflict_name(conflict)
        return (
            self.tx.value(f"SELECT 1 FROM syncnode_conflict WHERE name={mark}", (name,)) is not None
        )

    def put_conflicts(self, records: Iterable[RecordedConflict]) -> int:
        """Write those that are not on record yet; returns how many were new."""
        mark = self.tx.mark
        rows = []
        seen = set()
        for conflict, stamp in records:
            name = conflict_name(conflict)
            if name in seen or self.has_conflict(conflict):
                continue
            seen.add(name)
            both = Row(
                {
                    _WINNING[conflict.deleted]: Cell(conflict.winner, conflict.winning),
                    "losing": Cell(conflict.loser, conflict.losing),
                }
            )
            rows.append(
                (
                    name,
                    conflict.table,
                    conflict.key,
                    conflict.column,
                    encode_row(both, self.number),
                    stamp.hlc,
                    self.number(stamp.origin),
                    stamp.seq,
                    self.next_lsn("syncnode_conflict"),
                )
            )
        self.tx.executemany(
            "INSERT INTO syncnode_conflict (name, tbl, row_key, col, body, hlc, origin, seq, lsn) "
            f"VALUES ({', '.join([mark] * 9)})",
            rows,
        )
        return len(rows)

    def conflicts(self, after: int = 0, upto: int | None = None) -> Iterator[RecordedConflict]:
        """Conflicts on record with an lsn in (`after`, `upto`], in its order."""
        mark = self.tx.mark
        limit = self.lsn if upto is None else upto
        for table, key, column, body, hlc, number, seq in self.tx.rows(
            "SELECT tbl, row_key, col, body, hlc, origin, seq FROM syncnode_conflict "
            f"WHERE lsn>{mark} AND lsn<={mark} ORDER BY lsn",
            (after, limit),
        ):
            conflict = self._conflict(table, key, column, body)
            yield RecordedConflict(conflict, Stamp(hlc, self.origin_of(number), seq))

    def on_record(self) -> Iterator[tuple[bytes, Conflict, str | None]]:
        """Every conflict, the oldest first: its name, and how it was decided here, if it was."""
        for name, table, key, column, body, decided in self.tx.rows(
            "SELECT name, tbl, row_key, col, body, decided FROM syncnode_conflict ORDER BY lsn"
        ):
            yield bytes(name), self._conflict(table, key, column, body), decided

    def decide(self, names: Iterable[bytes], how: str) -> None:
        """Note how these conflicts were decided here; it does not travel."""
        mark = self.tx.mark
        self.tx.executemany(
            f"UPDATE syncnode_conflict SET decided={mark} WHERE name={mark}",
            [(how, name) for name in names],
        )

    def _conflict(self, table: str, key: bytes, column: str, body: bytes) -> Conflict:
        both = decode_row(bytes(body), self.origin_of)
        deleted = _WINNING[True] in both.cells
        winner, loser = both.cells[_WINNING[deleted]], both.cells["losing"]
        return Conflict(
            table,
            RowKey(bytes(key)),
            column,
            winner.stamp,
            loser.stamp,
            winner.value,
            loser.value,
            deleted,
        )


def conflict_name(conflict: Conflict) -> bytes:
    """16 bytes that name a conflict alike at every site."""
    hasher = hashlib.sha256()
    table, key, column, first, second = conflict.name
    for part in (table.encode(), key, column.encode()):
        hasher.update(len(part).to_bytes(4, "big") + part)
    for stamp in (first, second):
        hasher.update(stamp.origin.site)
        for number in (stamp.hlc, stamp.origin.incarnation, stamp.seq):
            hasher.update(number.to_bytes(8, "big"))
    return hasher.digest()[:16]


def _users_text(users: set[str]) -> str | None:
    """Database users in one text; of many, so that it says who it may have been, a few."""
    if not users:
        return None
    more = len(users) - USERS_SHOWN
    named = ", ".join(sorted(users)[:USERS_SHOWN])
    return f"{named} and {more} more" if more > 0 else named


def _moved(new: Frontier, old: Frontier, origin: Origin) -> bool:
    return any(
        vector.seq(origin) > old.vector(scope).seq(origin) for scope, vector in new.vectors.items()
    )


def _frontier(
    tx: Transaction, origins: list[Origin], tables: list[str], groups: str | None
) -> Frontier:
    import json

    entries: dict[str, dict[Origin, Entry]] = {}
    for scope, number, seq, nonce in tx.rows(
        "SELECT scope, origin, seq, nonce FROM syncnode_frontier"
    ):
        entries.setdefault(scope, {})[origins[number]] = Entry(seq, nonce)
    vectors: dict[str, VersionVector] = {}
    for scopes in json.loads(groups) if groups else []:
        vector = VersionVector(entries.get(scopes[0], {}))
        vectors.update(dict.fromkeys(scopes, vector))
    return Frontier({name: vectors.get(name, VersionVector({})) for name in tables})


def left_out(tx: Transaction) -> str | None:
    """A sentence on rows too large for any message, which stay here; None if there are none."""
    import json

    stored = tx.value("SELECT value FROM syncnode_setting WHERE name='too_large'")
    kept = json.loads(stored) if stored else {}
    if not kept:
        return None
    first = next(iter(kept))
    rows = "1 row is" if len(kept) == 1 else f"{len(kept)} rows are"
    return (
        f"{rows} too large to travel and known here only (such as {first}): raise "
        "limits.body_bytes_max at all sites, or write less into the row"
    )


def load_plan(tx: Transaction) -> SchemaPlan:
    """The plan that `init` installed.

    Raises:
        StoreError: There is no sidecar here, it is unfinished, or it is of another version.
    """
    try:
        stored = dict(tx.rows("SELECT name, value FROM syncnode_setting"))
    except tx.dialect.errors as error:
        raise StoreError("this database has no syncnode yet: run `syncnode init` first") from error
    if "format" not in stored:
        raise StoreError(
            "this database is no site: a `syncnode init` or `syncnode uninstall` was interrupted "
            "here; run it again"
        )
    if stored["format"] != FORMAT:
        raise StoreError(
            f"the sidecar in this database has format {stored['format']}, this syncnode "
            f"reads format {FORMAT}: use the version that wrote it"
        )
    return SchemaPlan.from_json(stored["plan"])


BASELINE = BASELINE_HLC
