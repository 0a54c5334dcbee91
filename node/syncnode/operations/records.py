"""Conflicts and parked rows as people decide them: each under a number that they can type.

A number is the start of a hash, alike at every site, so that people at two sites can talk of one
record. What was decided here is a mark of this site. What was decided elsewhere is read off the
rows: a cell that was written again, by somebody who had seen what stood, needs no decision more
(the decision is in protocol/README.md).
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from syncnode.links.site_names import SiteNames
from syncnode.operations.rivals import Rivals
from syncnode.reports import ConflictReport, ParkedReport
from syncnode.schema.plan import SchemaPlan
from syncnode.store.carried import Carried, carried
from syncnode.store.database import Transaction
from syncnode.store.dismissals import DISMISSED as WAS_DISMISSED
from syncnode.store.dismissals import OPEN
from syncnode.store.hidden import PARKED
from syncnode.store.row_names import RowNames
from syncnode.store.sidecar import Sidecar
from syncnode.store.undone import is_undone
from syncnode.texts import key_text, utc_text, written_text
from syncproto.codec import decode_row
from syncproto.errors import ConfigError, UsageError
from syncproto.identity import RowKey, SiteId
from syncproto.merge import Conflict
from syncproto.row import Reference, Row, Stamp

TAKEN, DISMISSED, OVERWRITTEN = "taken", "dismissed", "written again"
_DECISIONS = {
    TAKEN: "the value that had lost was taken here",
    DISMISSED: "dismissed here",
    OVERWRITTEN: "decided by a later write",
}
DELETE_STAYS = "the row stays deleted: in this table a delete wins over edits unknown to it"
LATER_STAYS = "the later write stays, the other one is kept here"
CHANGED_LATER_STAYS = (
    "the row that the application changed later stays, the other row's value is kept here"
)
ONE_STAYS = (
    "neither row was changed later, as far as the application says, so one was chosen, alike at "
    "every site; the other row's value is kept here"
)
GONE_SINCE = "the later write stayed until the row was deleted, the other one is kept here"
EDITED_STAYS = "the row stays, since it was edited by somebody who had not seen the delete"
REFERRED_STAYS = (
    "the row stays, since a row that refers to it was written by somebody who had not seen the "
    "delete"
)
UNDONE_STAYS = (
    "the table is only received at the site where this was written, so it was taken back there: "
    "write it at a site that may change the table"
)
CLASH = "unique clash"
DIGITS_MIN = 4  # of a number that is typed
DERIVED_MAX = 20_000  # open conflicts whose cells a report looks at; it must not take minutes


@dataclass(frozen=True, slots=True)
class Recorded:
    """One conflict on record.

    Attributes:
        name: 16 bytes.
        decision: TAKEN, DISMISSED, OVERWRITTEN; None while it is open.
        gone: The row is deleted, and nothing of it stands any more.
    """

    name: bytes
    conflict: Conflict
    decision: str | None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """One parked row.

    Attributes:
        name: 16 bytes, alike at every site.
    """

    name: bytes
    number: int
    key: RowKey
    since_ms: int
    dismissed: bool


class Records:
    """Reads them in one transaction."""

    def __init__(self, tx: Transaction, book: Sidecar, plan: SchemaPlan, names: SiteNames) -> None:
        self._tx = tx
        self._book = book
        self._plan = plan
        self._names = names
        self._tables = {table.number: table.name for table in plan.tables}
        self._rows = RowNames(book, plan)
        self._rivals = Rivals(book, plan)

    # Conflicts

    def recorded(self) -> list[Recorded]:
        """Every conflict, the oldest first, and whether it was decided."""
        lines = list(self._book.on_record())
        winners = {(*_cell(conflict), conflict.winner) for _, conflict, _ in lines}
        undecided = [conflict for _, conflict, decided in lines if decided is None]
        asked: dict[str, list[RowKey]] = {}
        for conflict in undecided[-DERIVED_MAX:]:
            asked.setdefault(conflict.table, []).append(conflict.key)
        now = carried(self._book, self._plan, asked)
        return [
            Recorded(
                name, conflict, decided or _derived(conflict, now, winners), _is_gone(conflict, now)
            )
            for name, conflict, decided in lines
        ]

    def conflicts(self, *, decided: bool) -> Iterator[ConflictReport]:
        """Those that are open; with `decided` the others, too."""
        chosen = [one for one in self.recorded() if decided or one.decision is None]
        keys: dict[str, list[RowKey]] = {}
        for one in chosen:
            keys.setdefault(one.conflict.table, []).append(one.conflict.key)
        self._rows.learn(keys)
        for one in chosen:
            yield self.conflict_report(one)

    def open_conflicts(self) -> int:
        """How many nobody has decided."""
        return sum(one.decision is None for one in self.recorded())

    def undone(self, site: SiteId) -> int:
        """How many of the open ones were taken back at a site, since their table is only received
        there."""
        return sum(
            one.decision is None
            and one.conflict.loser.origin.site == site
            and is_undone(one.conflict)
            for one in self.recorded()
        )

    def conflict_report(self, recorded: Recorded) -> ConflictReport:
        conflict = recorded.conflict
        whole = conflict.column == ""
        kept, done = self._rows.value(conflict.winning), _done(recorded)
        if whole:
            kept = f"(the row, for {kept})" if kept is not None else "(the edited row)"
        elif conflict.deleted:
            kept = "(its delete)" if not is_undone(conflict) else "(no such row)"
        return ConflictReport(
            table=conflict.table,
            row=key_text(conflict.key),
            column=None if whole else conflict.column,
            kept=kept,
            kept_by=self._by(conflict.winner),
            kept_written=written_text(conflict.winner.hlc),
            lost="(its delete)" if whole else self._rows.value(conflict.losing),
            lost_by=self._by(conflict.loser),
            lost_written=written_text(conflict.loser.hlc),
            done=done,
            id=recorded.name.hex(),
            kept_user=self._book.users_of(conflict.winner.dot),
            lost_user=self._book.users_of(conflict.loser.dot),
            decision=_DECISIONS[recorded.decision] if recorded.decision else None,
            row_name=self._rows.of(conflict.table, conflict.key),
        )

    # Parked rows

    def parked(self, limit: int | None, *, dismissed: bool = False) -> Iterator[ParkedReport]:
        """Those that nobody has dismissed, the oldest first; with `dismissed` the others, too."""
        bound = "" if limit is None else f" LIMIT {limit}"
        where = f"place='{PARKED}'" if dismissed else OPEN
        for (
            number,
            key,
            state,
            reason,
            detail,
            waits_number,
            waits_key,
            since_ms,
            left,
        ) in self._tx.rows(
            "SELECT tbl, row_key, state, reason, detail, waits_tbl, waits_key, since_ms, "
            f"{WAS_DISMISSED} FROM syncnode_row r WHERE {where} ORDER BY lsn{bound}"
        ):
            row = decode_row(bytes(state), self._book.origin_of)
            latest = max(row.stamps())
            waits = None
            if waits_number is not None:
                waits = self._tables.get(waits_number, "?")
                if waits_key is not None:
                    waits += f" {self._rows.of(waits, RowKey(bytes(waits_key)))}"
            table = self._tables.get(number, "?")
            yield ParkedReport(
                table=table,
                row=key_text(bytes(key)),
                reason=reason or "",
                detail=detail or "",
                waits_for=waits,
                values={name: self._rows.value(cell.value) for name, cell in row.cells.items()},
                written_by=self._by(latest),
                written=written_text(latest.hlc),
                id=parked_name(table, bytes(key)).hex(),
                written_user=self._book.users_of(latest.dot),
                since=utc_text(since_ms),
                dismissed=bool(left),
                row_name=self._rows.of(table, RowKey(bytes(key)), row),
                rival=self._rival(table, RowKey(bytes(key)), row) if reason == CLASH else None,
            )

    def parked_rows(self) -> list[ParkedRow]:
        """All that are parked, without their values."""
        return [
            ParkedRow(
                parked_name(self._tables.get(number, "?"), bytes(key)),
                number,
                RowKey(bytes(key)),
                since_ms,
                bool(dismissed),
            )
            for number, key, since_ms, dismissed in self._tx.rows(
                f"SELECT tbl, row_key, since_ms, {WAS_DISMISSED} FROM syncnode_row r "
                f"WHERE place='{PARKED}' ORDER BY lsn"
            )
        ]

    def parked_count(self) -> int:
        """How many nobody has dismissed."""
        return int(self._tx.value(f"SELECT count(*) FROM syncnode_row r WHERE {OPEN}"))

    def dismissed_count(self) -> int:
        all_parked = self._tx.value(f"SELECT count(*) FROM syncnode_row WHERE place='{PARKED}'")
        return int(all_parked) - self.parked_count()

    def name_of(self, table: str, key: RowKey) -> str:
        """What people call a row."""
        return self._rows.of(table, key)

    # Inside

    def _rival(self, name: str, key: RowKey, row: Row) -> str | None:
        """The row that has the value for which this one waits."""
        if name not in self._plan.by_name:
            return None
        found = next(self._rivals.of(self._rivals.table(name), key, row), None)
        return f"{name} {self._rows.of(name, found[1])}" if found is not None else None

    def _by(self, stamp: Stamp) -> str:
        return self._names.of(stamp.origin.site)


def parked_name(table: str, key: bytes) -> bytes:
    """16 bytes that name a row alike at every site."""
    return hashlib.sha256(f"{table}\0".encode() + key).digest()[:16]


def chosen(numbers: Sequence[str], names: Iterable[bytes], noun: str) -> list[bytes]:
    """The names that begin as people have typed them.

    Raises:
        UsageError: One is too short, or begins several names.
        ConfigError: One begins no name.
    """
    texts = sorted(name.hex() for name in names)
    found = []
    for number in numbers:
        digits = number.lower()
        if len(digits) < DIGITS_MIN or not set(digits) <= set("0123456789abcdef"):
            raise UsageError(
                f"{number!r} is no number of a {noun}: it has at least {DIGITS_MIN} of the digits "
                "0 to 9 and a to f"
            )
        matching = [text for text in texts if text.startswith(digits)]
        if not matching:
            raise ConfigError(f"there is no {noun} {number} here")
        if len(matching) > 1:
            raise UsageError(
                f"{len(matching)} {noun}s begin with {number}: write more digits "
                f"({', '.join(text[: len(digits) + 6] for text in matching[:5])})"
            )
        found.append(bytes.fromhex(matching[0]))
    return list(dict.fromkeys(found))


def _cell(conflict: Conflict) -> tuple[str, RowKey, str]:
    return conflict.table, conflict.key, conflict.column


def _is_gone(conflict: Conflict, now: dict[tuple[str, RowKey], Carried]) -> bool:
    row = now.get((conflict.table, conflict.key))
    return row is not None and not row.alive and not row.held


def _done(recorded: Recorded) -> str:
    """What was done about a conflict, in a sentence."""
    conflict = recorded.conflict
    if is_undone(conflict):
        return UNDONE_STAYS
    if conflict.column == "":
        return EDITED_STAYS if conflict.winning is None else REFERRED_STAYS
    if conflict.deleted:
        return DELETE_STAYS
    if recorded.gone:
        return GONE_SINCE
    if conflict.winner.hlc == conflict.loser.hlc:
        return ONE_STAYS
    # The first changeset of a site has the rows that stood there before, with the times that the
    # application gives them.
    before = conflict.winner.seq == conflict.loser.seq == 1
    return CHANGED_LATER_STAYS if before else LATER_STAYS


def _derived(
    conflict: Conflict,
    now: dict[tuple[str, RowKey], Carried],
    winners: set[tuple[str, RowKey, str, Stamp]],
) -> str | None:
    """OVERWRITTEN, if somebody who had seen what stood has written since."""
    row = now.get((conflict.table, conflict.key))
    if row is None:
        return None
    if conflict.deleted:
        return OVERWRITTEN if row.alive else None
    if conflict.column:
        stamp = row.stamp_of(conflict.column)
        # Readings, not stamps: a restored site gives its cells other dots, and writes nothing.
        if stamp is None or stamp.hlc <= conflict.winner.hlc:
            return None
        return None if (*_cell(conflict), stamp) in winners else OVERWRITTEN
    if isinstance(conflict.winning, Reference):
        return OVERWRITTEN if row.alive or not row.held else None
    return None if row.alive else OVERWRITTEN
