"""What commands report: plain values, made by `operations/`, printed by `cli/`.

Each is JSON as it stands (`dataclasses.asdict`): text, numbers, lists, mappings, null. Times are
UTC text such as "2026-01-02T03:04:05.678Z"; values of cells are text as people read them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from syncnode.clash_report import ForetoldClashes


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
class TableReport:
    """A table of the application.

    Attributes:
        key: What names its rows at every site; None for one that is left out.
        left_out: Why; None for one that takes part.
    """

    name: str
    key: str | None
    left_out: str | None


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
        tables: The same by table, with examples.
        near_pairs: Rows of such tables that hold the same under two names.
        clashes: Rows that would clash in a unique value, if that was to be foretold.
        bytes_sent, bytes_received: Of the questions and findings.
    """

    network: str | None
    inviter: str
    same: int
    only_here: int
    only_there: int
    different: int
    unnamed: tuple[str, ...] = ()
    tables: tuple["TableComparison", ...] = ()
    near_pairs: tuple["NearPairs", ...] = ()
    clashes: tuple[ForetoldClashes, ...] = ()
    bytes_sent: int = 0
    bytes_received: int = 0

    @property
    def doubtful(self) -> bool:
        """Both sides hold rows that the other does not hold so: somebody should look first."""
        return bool(self.different or self.unnamed or (self.only_here and self.only_there))


@dataclass(frozen=True, slots=True)
class NearPairs:
    """Rows of one table that hold the same values at both sites, under two names.

    Attributes:
        count: How many, of the rows that were looked at.
        examples: Keys of the first, here and there.
    """

    table: str
    count: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class JoinReport:
    """Whether this site is a member now, and of whom it learned.

    Attributes:
        preview: What was compared before; None if there was nothing to compare here.
    """

    joined: bool
    inviter: str
    url: str
    role: str
    network: str | None
    preview: JoinPreview | None = None


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
        role: What it is to us: "parent", "child", "peer", or "member" if it was met on the LAN.
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
class LanReport:
    """One site that was seen on the LAN.

    Attributes:
        name: What a peer is called here; None for a site that is none.
        url: Where it says that it listens.
        standing: What came of it: "peer", or why nothing is exchanged with it.
        seen: When it was last heard of.
    """

    site: str
    name: str | None
    url: str
    standing: str
    seen: str


@dataclass(frozen=True, slots=True)
class RevokedReport:
    """A site that is no member any more.

    Attributes:
        peers: Which peers of this site that ended: the site itself, and whom it had let in.
    """

    name: str
    site: str
    peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ParkedReport:
    """A replicated row, or cells of one, that this database does not show.

    Attributes:
        row: The row's key as text.
        row_name: What people call the row: the values that name it, or its uuid.
        reason: The kind of obstacle in a word, such as "missing parent" or "unique".
        detail: The obstacle in a sentence, with what would do.
        waits_for: The missing row, as "table key"; None when it waits for something else.
        values: The values by column.
        written_by: Name of the site that wrote it last.
        written_user: Who of the database did, if that was here and the vendor tells.
        id: Names the row alike at every site; the commands take its beginning.
        since: Since when it is parked here.
        dismissed: Somebody has decided that it may stay so.
        rival: What people call the row that has the unique value for which this one waits.
    """

    table: str
    row: str
    reason: str
    detail: str
    waits_for: str | None
    values: Mapping[str, str | None]
    written_by: str
    written: str
    id: str = ""
    written_user: str | None = None
    since: str = ""
    dismissed: bool = False
    row_name: str = ""
    rival: str | None = None


@dataclass(frozen=True, slots=True)
class ConflictReport:
    """Two concurrent writes of one cell, or an edit against a delete.

    Attributes:
        row_name: What people call the row: the values that name it, or its uuid.
        column: None when the whole row is meant.
        kept, lost: The value that stands and the one that gave way; None is SQL's NULL.
        kept_user, lost_user: Who of the database wrote it, if that was here and the vendor tells.
        done: What was done, in a sentence.
        id: Names the conflict alike at every site; the commands take its beginning.
        decision: How it was decided, in a few words; None while it is open.
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
    id: str = ""
    kept_user: str | None = None
    lost_user: str | None = None
    decision: str | None = None
    row_name: str = ""


@dataclass(frozen=True, slots=True)
class TakeReport:
    """What became of the value that had lost.

    Attributes:
        taken: It stands in the table now, and goes to every site.
        reason: Why not, and what would do; None when it was taken.
        note: What else should be known; None for nothing.
    """

    id: str
    taken: bool
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class RetryReport:
    """What became of parked rows that were tried again.

    Attributes:
        tried, written: How many rows.
        parked: Those that still cannot be written, with their reasons.
    """

    tried: int
    written: int
    parked: tuple[ParkedReport, ...] = ()


@dataclass(frozen=True, slots=True)
class HookReport:
    """One hook, which is told what was applied.

    Attributes:
        calls: The program or the host, without arguments.
        waiting: Rows that it is yet to be told, since `since`; a table of `everything` is one.
        everything: Tables of which so much waits that it is told to look at all rows.
        failures: Calls in a row that failed, the first at `failed`, the last for `error`.
    """

    name: str
    calls: str
    waiting: int
    since: str | None
    everything: tuple[str, ...]
    failures: int
    failed: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """The truth about this site.

    Attributes:
        database: Its URL without the password.
        in_sync: Nothing is pending, parked or different, here or at a peer, as far as is known.
        pending: Rows here that some peer has not confirmed.
        parked: Rows that cannot be written here and that nobody has dismissed; `parked_rows` has
            the first of them.
        conflicts: Conflicts on record that nobody has decided.
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
    hooks: tuple[HookReport, ...] = ()


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One changeset of the ledger.

    Attributes:
        origin: Name of the site that wrote it.
        sender: Name of the peer it came from; None for this site's own.
        rows_by_table: How many rows of which table.
        repair: Written by a repair here; sites that receive it are not told.
    """

    origin: str
    incarnation: int
    seq: int
    written: str
    arrived: str
    sender: str | None
    rows: int
    rows_by_table: Mapping[str, int]
    repair: bool = False


@dataclass(frozen=True, slots=True)
class RowDifference:
    """One row that is not the same at two sites.

    Attributes:
        row: The row's key as text.
        row_name: What people call the row: the values that name it, or its uuid.
        where: "different", "only here" or "only there".
        columns: The columns that differ; empty for a row of one side alone.
        here, there: Their values, if these were asked for.
    """

    table: str
    row: str
    where: str
    columns: tuple[str, ...] = ()
    here: Mapping[str, str | None] | None = None
    there: Mapping[str, str | None] | None = None
    row_name: str = ""


RULES = "rules"


@dataclass(frozen=True, slots=True)
class TableComparison:
    """One table at two sites.

    Attributes:
        same, different, only_here, only_there: Rows.
        on_the_way: Rows that differ because a change was not exchanged yet; they are in none of
            the other numbers.
        hidden_here, hidden_there: Rows that are replicated and that the database does not show,
            parked or kept aside. What is replicated of them was compared.
        rough: There are too many differences to look at each: of the rest the numbers are such
            as the numbers of rows give.
        unknown_to: "here" or "there" if the table is replicated at one side only; `RULES` if it
            does not cross the link both ways.
        missing_here, missing_there: Columns that one side has dropped; they were not compared.
        namings: What rows are named by here and there, if that is not the same: nothing can be
            compared then.
        examples: The first rows that differ.
    """

    table: str
    same: int
    different: int
    only_here: int
    only_there: int
    on_the_way: int = 0
    hidden_here: int = 0
    hidden_there: int = 0
    rough: bool = False
    unknown_to: str | None = None
    examples: tuple[RowDifference, ...] = ()
    missing_here: tuple[str, ...] = ()
    missing_there: tuple[str, ...] = ()
    namings: tuple[str, str] | None = None

    @property
    def equal(self) -> bool:
        differs = self.different or self.only_here or self.only_there or self.on_the_way
        return not (differs or self.namings)


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify PEER` found.

    Attributes:
        equal: Both sites hold the same rows, of the tables that both replicate.
        bytes_sent, bytes_received: Of the questions and findings.
        plan: What `--repair` would write, a sentence for each table and kind.
        repaired: How many rows were written again.
        reason: Why it is not done, in a sentence; None when the two are equal.
    """

    peer: str
    equal: bool
    tables: tuple[TableComparison, ...]
    bytes_sent: int
    bytes_received: int
    plan: tuple[str, ...] = ()
    repaired: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class TableCheck:
    """What the local check found in one table.

    Attributes:
        rows: How many rows it has.
        uncaptured: Rows that were written while no trigger looked on.
        vanished: Rows that went while no trigger looked on.
        renamed: Rows whose uuid or name was changed so.
        moved: Rows that got another local number so.
        triggers: Triggers of the capture that are missing.
    """

    table: str
    rows: int
    uncaptured: int = 0
    vanished: int = 0
    renamed: int = 0
    moved: int = 0
    triggers: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        found = self.uncaptured or self.vanished or self.renamed or self.moved or self.triggers
        return not found


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `verify` found here.

    Attributes:
        sound: Every row is captured, and every trigger is there.
        plan: What `--repair` would do, in sentences.
        repaired: How many rows were made changes of.
        reason: What is wrong, in a sentence; None when all is sound.
    """

    sound: bool
    tables: tuple[TableCheck, ...]
    plan: tuple[str, ...] = ()
    repaired: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ExportReport:
    """A bundle that was written.

    Attributes:
        bundle: Its id.
        files: In order.
        readers: Names of the sites that can open it.
        needs: What readers must have before they can take it; None for nothing.
        left_out: Tables that stay back by the rules of one of the links to the readers.
    """

    bundle: str
    files: tuple[str, ...]
    readers: tuple[str, ...]
    rows: int
    bytes: int
    needs: str | None
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportedFile:
    """What became of one file.

    Attributes:
        exporter: Who made it, by the name it has here; None if that cannot be read.
        made: When, by the exporter's clock.
        part, parts: Which part, of how many.
        rows: Kept of it just now.
        problem: Why nothing of it was kept, in a sentence.
    """

    file: str
    exporter: str | None = None
    made: str | None = None
    part: int | None = None
    parts: int | None = None
    rows: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What `import` did.

    Attributes:
        done: All that was in the files is in the tables.
        taken: How many bundles went into the tables just now.
        waiting: For each bundle that waits what it lacks, and who can supply it, in a sentence.
        reason: Why it is not done, in a sentence; None when it is.
        notes: What else should be known.
    """

    files: tuple[ImportedFile, ...]
    done: bool
    taken: int
    waiting: tuple[str, ...] = ()
    reason: str | None = None
    notes: tuple[str, ...] = ()
