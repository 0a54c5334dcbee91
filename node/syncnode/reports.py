"""What commands report: plain values, made by `operations.py`, printed by `cli/`.

Each is JSON as it stands (`dataclasses.asdict`): text, numbers, lists, mappings, null. Times are
UTC text such as "2026-01-02T03:04:05.678Z"; values of cells are text as people read them.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InitReport:
    """What `init` found and did, or with --dry-run would do.

    Attributes:
        plan: The tables, their row keys, what is left out and why: text of several lines.
        statements: The SQL that installs sidecar and triggers.
        warnings: One sentence each, with what would do.
        site: The new site's id; None when nothing was installed.
    """

    plan: str
    statements: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    site: str | None = None


@dataclass(frozen=True, slots=True)
class UninstallReport:
    """What `uninstall` removed, and the files it left (configuration, key)."""

    triggers: int
    tables: int
    files_kept: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Invitation:
    """A one-time token for one site."""

    token: str
    name: str
    role: str
    url: str
    valid_until: str


@dataclass(frozen=True, slots=True)
class JoinPreview:
    """What `join` found on both sides before it writes.

    Attributes:
        same: Rows equal on both sides.
        only_here: Rows that the network lacks.
        only_there: Rows that this site lacks.
        different: Rows on both sides with other values.
        unnamed: Tables whose rows have nothing but a drawn name, with rows on either side that
            the other does not know: those that are meant to be one row will be two.
    """

    network: str | None
    inviter: str
    same: int
    only_here: int
    only_there: int
    different: int
    unnamed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JoinReport:
    """Whether this site is a member now, and of whom it learned."""

    joined: bool
    inviter: str
    url: str
    role: str
    network: str | None


@dataclass(frozen=True, slots=True)
class Forgotten:
    """A peer that is one no more.

    Attributes:
        last_exchange: When the last exchange with it ended; None if there was none.
        pending: Rows here that it had not confirmed.
    """

    name: str
    role: str
    last_exchange: str | None
    pending: int


@dataclass(frozen=True, slots=True)
class ExchangeReport:
    """One exchange with one peer.

    Attributes:
        equal: Each side covers what the other had when the exchange began.
        reason: Why not, in a sentence; None when equal.
        unshown: Rows that the peer has and does not show: parked there, or kept aside.
    """

    peer: str
    rows_sent: int
    rows_received: int
    bytes_sent: int
    bytes_received: int
    equal: bool
    reason: str | None = None
    unshown: int = 0


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What `sync` did.

    Attributes:
        done: Every exchange ended equal, and nothing is parked or kept aside at any of the sites.
        reason: Why not, in one sentence; None when done.
        notes: Sentences on what came to light, such as that this site was restored.
    """

    exchanges: tuple[ExchangeReport, ...]
    done: bool
    reason: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PeerReport:
    """One site that this one exchanges with.

    Attributes:
        role: What it is to us: "parent", "child" or "peer".
        url: Where we call it; None when it calls us.
        last_exchange: When the last exchange with it ended; None before the first.
        pending: Rows here that it has not confirmed.
        equal: Whether both sides were equal then; None when that is not known.
        problem: Why the last attempt failed, in a sentence; None when it did not.
    """

    name: str
    site: str
    role: str
    url: str | None
    last_exchange: str | None
    pending: int
    equal: bool | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ParkedReport:
    """A replicated row, or cells of one, that this database does not show.

    Attributes:
        row: The row's key as text.
        reason: The kind of obstacle in a word, such as "missing parent" or "unique".
        detail: The obstacle in a sentence, with what would do.
        waits_for: The missing row, as "table key"; None when it waits for something else.
        values: The values by column.
        written_by: Name of the site that wrote it last.
    """

    table: str
    row: str
    reason: str
    detail: str
    waits_for: str | None
    values: Mapping[str, str | None]
    written_by: str
    written: str


@dataclass(frozen=True, slots=True)
class ConflictReport:
    """Two concurrent writes of one cell, or an edit against a delete.

    Attributes:
        column: None when the whole row is meant.
        kept, lost: The value that stands and the one that gave way; None is SQL's NULL.
        done: What was done, in a sentence.
    """

    table: str
    row: str
    column: str | None
    kept: str | None
    kept_by: str
    kept_written: str
    lost: str | None
    lost_by: str
    lost_written: str
    done: str


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The truth about this site.

    Attributes:
        database: Its URL without the password.
        in_sync: Nothing is pending, parked or different, here or at a peer, as far as is known.
        pending: Rows here that some peer has not confirmed.
        parked: Rows that cannot be written here; `parked_rows` has the first of them.
        conflicts: Conflicts on record.
        held: Deleted rows that stand here as long as other rows refer to them.
        notes: Sentences on what is behind, wrong or worth a look, the gravest first.
    """

    name: str
    site: str
    incarnation: int
    network: str | None
    url: str | None
    database: str
    serving: bool
    in_sync: bool
    tables: int
    peers: tuple[PeerReport, ...]
    pending: int
    parked: int
    conflicts: int
    parked_rows: tuple[ParkedReport, ...] = ()
    notes: tuple[str, ...] = ()
    held: int = 0


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One changeset of the ledger.

    Attributes:
        origin: Name of the site that wrote it.
        sender: Name of the peer it came from; None for this site's own.
        rows_by_table: How many rows of which table.
    """

    origin: str
    incarnation: int
    seq: int
    written: str
    arrived: str
    sender: str | None
    rows: int
    rows_by_table: Mapping[str, int]
