"""Compares this site's rows with another's, over whatever carries questions to it."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncnode.comparing.answers import states
from syncnode.comparing.contents import Contents, Progress, shapes_of
from syncnode.reports import RULES, NearPairs, RowDifference, TableComparison
from syncnode.schema.plan import SchemaPlan, TablePlan
from syncnode.store.row_names import row_name
from syncnode.store.sidecar import Sidecar
from syncnode.texts import key_text, value_text
from syncproto.codec import decode_chunk
from syncproto.comparing import Comparison, TableDifference, wanted_in_parts
from syncproto.delta import Chunk
from syncproto.errors import LimitExceededError, RefusedError
from syncproto.frontier import Frontier
from syncproto.identity import RowKey
from syncproto.question_bytes import decode_finding, encode_question
from syncproto.questions import RUN_BYTES, Finding, Question, Reading, table_hash
from syncproto.row import EMPTY, Row

if TYPE_CHECKING:
    from syncnode.replica import DatabaseReplica

WANTED_ROWS = 200  # whole rows asked for at once
EXAMPLES = 3  # of each table and kind
NEAR_ROWS_MAX = 1_000  # of a table and side; a hint need not be complete
DIFFERENT, ONLY_HERE, ONLY_THERE = "different", "only here", "only there"

Ask = Callable[[bytes], bytes]
"""Carries an encoded question to the other site, and brings its finding."""


@dataclass(frozen=True, slots=True)
class Differing:
    """A row that is not the same at both sites, as both replicate it.

    Attributes:
        columns: The columns that differ; empty unless both have the row.
    """

    table: str
    key: RowKey
    where: str
    here: Row
    there: Row
    columns: tuple[str, ...] = ()


class Asking:
    """One comparison with another site, of the moment when it begins.

    Attributes:
        run: What names the comparison.
        ours: What this site holds.
        bytes_sent, bytes_received: Of the questions and findings.
    """

    def __init__(
        self,
        replica: "DatabaseReplica",
        ask: Ask,
        *,
        entropy: Callable[[int], bytes],
        progress: Progress,
        without: Collection[str] = (),
    ) -> None:
        self._replica = replica
        self._ask = ask
        self.without = without
        self.run = entropy(RUN_BYTES)
        self._progress = progress
        self.bytes_sent = self.bytes_received = 0
        replica.seal()
        with replica.database.read() as tx:
            own = Sidecar.load(tx, replica.plan).origin.site
        self._stays = {table.name: own for table in replica.plan if table.received_only}
        self.ours = Contents(replica, progress, without=without)
        self.here = self.there = Frontier({})  # what both had seen when rows were looked at

    def compare(self) -> Comparison:
        """Which rows differ.

        Raises:
            PeerError: The other site answers what was not asked.
            TransportError: It cannot be asked.
        """
        comparison = Comparison(self.ours, run=self.run)
        while (question := comparison.question()) is not None:
            found = sum(table.named for table in comparison.tables.values())
            self._progress(f"comparing: {found:,} rows differ so far")
            comparison.heard(self.asked(question))
        return comparison

    def differing(
        self, found: Mapping[str, TableDifference], *, examples: int | None = None
    ) -> Iterator[Differing]:
        """The rows that were named, whole, read anew on both sides; those that are equal by now
        are left out. `examples`: only so many of each table and kind."""
        wanted = {
            name: keys for name, table in found.items() if (keys := list(_named(table, examples)))
        }
        done = 0
        for part in wanted_in_parts(wanted, rows_max=WANTED_ROWS):
            self._progress(f"looking at rows that differ: {done:,}")
            yield from self._of(part)
            done += sum(map(len, part.values()))

    def _of(self, wanted: Mapping[str, Sequence[RowKey]]) -> Iterator[Differing]:
        theirs = self._wanted(wanted)
        self._replica.seal()
        with self._replica.database.read() as tx:
            book = Sidecar.load(tx, self._replica.plan)
            ours = states(tx, book, self._replica.tables.values(), wanted)
            self.here = book.frontier
        for table, keys in wanted.items():
            for key in keys:
                one = _differing(
                    table,
                    key,
                    ours.get((table, key), EMPTY),
                    theirs.get((table, key), EMPTY),
                    self.ours,
                )
                if one is not None:
                    yield one

    def on_the_way(self, one: Differing) -> bool:
        """Whether the row differs only because one side has not seen a change of the other. What
        was written here before its table was only received never leaves."""
        there, here = self.there.vector(one.table), self.here.vector(one.table)
        stays = self._stays.get(one.table)
        leaving = [stamp for stamp in one.here.stamps() if stamp.origin.site != stays]
        return any(not there.covers(stamp) for stamp in leaving) or any(
            not here.covers(stamp) for stamp in one.there.stamps()
        )

    def _wanted(self, wanted: Mapping[str, Sequence[RowKey]]) -> dict[tuple[str, RowKey], Row]:
        """The rows as the other site has them; half of them at a time where they are large."""
        found: dict[tuple[str, RowKey], Row] = {}
        for chunk in self.whole(wanted):
            self.there = Frontier({**self.there.vectors, **chunk.base.vectors})
            for block in chunk.blocks:
                found.update(((block.table, key), row) for key, row in block.rows())
        return found

    def whole(
        self, wanted: Mapping[str, Sequence[RowKey]], reading: Reading | None = None
    ) -> Iterator[Chunk]:
        """Rows as the other site has them, as it told them; half of them at a time where they are
        large. `reading`: they are to be taken in."""
        keys = {table_hash(name): tuple(some) for name, some in wanted.items()}
        try:
            finding = self.asked(Question(self.run, wanted=keys, reading=reading))
        except (RefusedError, LimitExceededError):
            halves = list(_halves(wanted))
            if len(halves) < 2:
                raise
            for half in halves:
                yield from self.whole(half, reading)
            return
        yield decode_chunk(finding.rows)

    def asked(self, question: Question) -> Finding:
        """What the other site finds.

        Raises:
            PeerError: It answers what was not asked.
            TransportError: It cannot be asked.
        """
        body = encode_question(question)
        answer = self._ask(body)
        self.bytes_sent += len(body)
        self.bytes_received += len(answer)
        return decode_finding(answer)


def other_namings(
    replica: "DatabaseReplica", ask: Ask, entropy: Callable[[int], bytes]
) -> dict[str, tuple[str, str]]:
    """By table what its rows are named by here and there, where that is not the same; asked
    without reading a row."""
    ours = {table_hash(name): (name, shape) for name, shape in shapes_of(replica).items()}
    checks = {hashed: shape.check for hashed, (_, shape) in ours.items()}
    question = Question(entropy(RUN_BYTES), shapes=checks)
    told = decode_finding(ask(encode_question(question))).shapes or {}
    found = {}
    for hashed, theirs in told.items():
        name, mine = ours[hashed]
        if theirs.naming != mine.naming:
            found[name] = (mine.naming, theirs.naming)
    return found


def compared_tables(
    comparison: Comparison,
    ours: Contents,
    plans: SchemaPlan,
    differing: Iterable[Differing],
    *,
    on_the_way: Callable[[Differing], bool] = lambda _: False,
    examined: bool,
    values: bool,
) -> tuple[TableComparison, ...]:
    """The comparison as a report.

    Args:
        differing: Rows that were looked at.
        examined: They are all that were named, and so count in the place of those.
    """
    examples: dict[str, list[RowDifference]] = {}
    counts: dict[str, dict[str, int]] = {}
    for one in differing:
        if on_the_way(one):
            kinds = counts.setdefault(one.table, {})
            kinds["on the way"] = kinds.get("on the way", 0) + 1
            continue
        kinds = counts.setdefault(one.table, {})
        kinds[one.where] = kinds.get(one.where, 0) + 1
        if kinds[one.where] <= EXAMPLES:
            plan = plans.by_name.get(one.table)
            examples.setdefault(one.table, []).append(row_difference(one, plan, values=values))
    found = []
    for name, table in sorted(comparison.tables.items()):
        same, different, only_here, only_there = table.counts
        more = table.uncounted
        if examined and not (table.unknown or table.namings):
            kinds = counts.get(name, {})
            different = kinds.get(DIFFERENT, 0) + more[0]
            only_here = kinds.get(ONLY_HERE, 0) + more[1]
            only_there = kinds.get(ONLY_THERE, 0) + more[2]
        if name in ours.without:
            continue
        unknown_to = ("there" if name in ours.totals else "here") if table.unknown else None
        found.append(
            TableComparison(
                table=name,
                same=same,
                different=different,
                only_here=only_here,
                only_there=only_there,
                on_the_way=counts.get(name, {}).get("on the way", 0),
                hidden_here=ours.unshown.get(name, 0),
                hidden_there=comparison.unshown.get(name, 0),
                rough=any(more),
                unknown_to=unknown_to,
                examples=tuple(examples.get(name, ())),
                missing_here=table.lacks_here,
                missing_there=table.lacks_there,
                namings=table.namings,
            )
        )
    ruled = [TableComparison(name, 0, 0, 0, 0, unknown_to=RULES) for name in sorted(ours.without)]
    return (*found, *ruled)


def row_difference(one: Differing, plan: TablePlan | None, *, values: bool) -> RowDifference:
    """A row for a report; values only where they were asked for."""
    names = one.columns or tuple((one.here if one.where == ONLY_HERE else one.there).cells)
    return RowDifference(
        table=one.table,
        row=key_text(one.key),
        where=one.where,
        columns=one.columns,
        here=_shown(one.here, names) if values and one.where != ONLY_THERE else None,
        there=_shown(one.there, names) if values and one.where != ONLY_HERE else None,
        row_name=row_name(plan, one.key, one.there if one.where == ONLY_THERE else one.here),
    )


def _shown(row: Row, names: Iterable[str]) -> dict[str, str | None]:
    return {name: value_text(row.cells[name].value) for name in names if name in row.cells}


def _named(table: TableDifference, examples: int | None) -> Iterator[RowKey]:
    for keys in (table.different, table.only_here, table.only_there):
        yield from keys[:examples]


def _differing(table: str, key: RowKey, here: Row, there: Row, ours: Contents) -> Differing | None:
    if not (here.alive or there.alive):
        return None
    if here.alive and there.alive:
        columns = ours.different_columns(table, here, there)
        if not columns:
            return None
        return Differing(table, key, DIFFERENT, here, there, columns)
    return Differing(table, key, ONLY_HERE if here.alive else ONLY_THERE, here, there)


def _halves(wanted: Mapping[str, Sequence[RowKey]]) -> Iterator[dict[str, list[RowKey]]]:
    rows = [(table, key) for table, keys in wanted.items() for key in keys]
    middle = (len(rows) + 1) // 2
    for part in (rows[:middle], rows[middle:]):
        half: dict[str, list[RowKey]] = {}
        for table, key in part:
            half.setdefault(table, []).append(key)
        if half:
            yield half


def near_pairs(
    asking: Asking, comparison: Comparison, tables: Iterable[str]
) -> Iterator[NearPairs]:
    """Rows that hold the same at both sites under two names; of each table the first
    `NEAR_ROWS_MAX` of either side are looked at."""
    for name in tables:
        found = comparison.tables[name]
        alone = TableDifference(
            only_here=found.only_here[:NEAR_ROWS_MAX], only_there=found.only_there[:NEAR_ROWS_MAX]
        )
        here: dict[int, list[RowKey]] = {}
        there: dict[int, list[RowKey]] = {}
        for one in asking.differing({name: alone}):
            side, row = (here, one.here) if one.where == ONLY_HERE else (there, one.there)
            side.setdefault(asking.ours.content_hash(name, row), []).append(one.key)
        pairs = [
            (key_text(mine), key_text(yours))
            for content, keys in here.items()
            for mine, yours in zip(keys, there.get(content, ()), strict=False)
        ]
        if pairs:
            yield NearPairs(name, len(pairs), tuple(pairs[:EXAMPLES]))
