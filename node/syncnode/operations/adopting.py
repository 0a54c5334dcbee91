"""Takes over from the inviter what both sites hold alike, when a populated site joins.

After the comparison it is known which rows differ. Of all others the inviter tells the stamps, page
by page; the rows that differ, and whatever is not plain, are fetched whole and kept on stage, as
the beginning of the inviter's delta. So the first exchange begins behind it. A table of which
anything does not line up is fetched whole with the rest.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from syncnode.comparing.adopting import OwnRows, may_adopt, own_rows, page_bounds, take_over
from syncnode.comparing.pages import columns_of
from syncnode.operations.comparing import Asking
from syncproto.codec import decode_chunk
from syncproto.comparing import Comparison, TableDifference, wanted_in_parts
from syncproto.delta import Chunk
from syncproto.errors import PeerError, RefusedError, UnexpectedMessageError
from syncproto.frontier import Frontier
from syncproto.identity import Origin, RowKey, SiteId
from syncproto.questions import (
    PAGE_KEYS_MAX,
    PageAsked,
    PageTold,
    Question,
    Reading,
    RestAsked,
    keys_check,
    table_hash,
)

if TYPE_CHECKING:
    from syncnode.comparing.contents import Progress
    from syncnode.replica import DatabaseReplica
    from syncnode.store.database import Transaction
    from syncnode.store.table import Table

SAME_ROWS_MIN = 8  # of a table: a page costs what so many rows cost
PAGE_ROWS = 20_000  # of a page, about
QUESTION_ROWS = 40_000  # of all pages of one question
QUESTION_PAGES = 256
WANTED_ROWS = 2_000  # whole rows asked for at once
NO_ROWS = OwnRows(frozenset(), frozenset())


class Taken(NamedTuple):
    """The inviter's delta up to `lsn` is on stage or taken over."""

    sender: Origin
    lsn: int

    def commit(self, tx: "Transaction") -> None:
        """From now on the inviter goes on behind it."""
        m = tx.mark
        tx.execute(
            f"UPDATE syncnode_stage SET lsn={m} WHERE sender={m} AND incarnation={m}",
            (self.lsn, self.sender.site, self.sender.incarnation),
        )


@dataclass(slots=True)
class _Table:
    """A table whose rows are taken over.

    Attributes:
        different, only_here, only_there: As the comparison found.
        wanted: Keys of other rows that are to be fetched whole.
    """

    table: "Table"
    different: frozenset[RowKey]
    only_here: frozenset[RowKey]
    only_there: frozenset[RowKey]
    wanted: list[RowKey] = field(default_factory=list)

    @classmethod
    def of(cls, table: "Table", found: TableDifference) -> "_Table":
        return cls(
            table,
            frozenset(found.different),
            frozenset(found.only_here),
            frozenset(found.only_there),
        )


@dataclass(slots=True)
class _Page:
    """A range of keys of a table, and what stands there."""

    of: _Table
    after: bytes
    upto: bytes
    own: OwnRows = NO_ROWS

    def expected(self, told: PageTold) -> list[RowKey]:
        """Whose stamps are told, if both sides speak of the same rows."""
        there = {key for key in self.of.only_there if self._has(key)}
        keys = (self.own.as_read - self.of.only_here) | there
        keys -= self.own.unsure | set(told.not_told)
        return sorted(key for key in keys if not told.upto or key <= told.upto)

    def _has(self, key: RowKey) -> bool:
        return key > self.after and (not self.upto or key <= self.upto)


class Adoption:
    """What a comparison found equal becomes the inviter's.

    Args:
        inviter: Whom we join.
        unreceived: Tables that by our rules do not come from it.
    """

    def __init__(
        self,
        replica: "DatabaseReplica",
        asking: Asking,
        comparison: Comparison,
        inviter: SiteId,
        *,
        unreceived: frozenset[str],
        progress: "Progress",
    ) -> None:
        self._replica = replica
        self._asking = asking
        self._found = comparison.tables
        self._reading = comparison.reading
        self._inviter = inviter
        self._progress = progress
        self._lsn = asking.ours.reading.lsn
        self._unreceived = unreceived
        self._done = 0

    def run(self) -> Taken | None:
        """Take over what is the same and fetch what is not; None if the first exchange is to
        bring everything, as it can at any time.

        Raises:
            TransportError: The inviter cannot be asked any more.
        """
        reading = self._reading
        tables = self._worthwhile() if reading is not None else {}
        if reading is None or not tables or not self._replica.offering(lambda b, _: may_adopt(b)):
            return None
        try:
            paged = self._take_over(tables, reading)
            return self._fetch(paged, reading) if paged else None
        except (PeerError, RefusedError):
            return None

    def _worthwhile(self) -> dict[str, _Table]:
        """Tables of which most rows are the same on both sides; none if that saves nothing: what
        is left is written anew."""
        found: dict[str, _Table] = {}
        for table in self._replica.tables.values():
            one = self._found.get(table.name)
            if one is None:  # it does not cross the link
                continue
            same, different, only_here, only_there = one.counts
            if (
                one.unknown
                or any(one.uncounted)
                or table.plan.key_kind == "none"
                or self._replica.filters_of(table.name)
                or table.name in self._unreceived
                or same < max(SAME_ROWS_MIN, different + only_here + only_there)
            ):
                continue
            found[table.name] = _Table.of(table, one)
        left = sum(one.here for one in self._found.values())
        taken = sum(self._found[name].counts[0] for name in found)
        return found if taken > left - taken else {}

    # Pages

    def _take_over(self, tables: dict[str, _Table], reading: Reading) -> dict[str, _Table]:
        """The tables that lined up."""
        paged = dict(tables)
        queue = deque(page for one in tables.values() for page in self._pages(one))
        while queue:
            pages, asked = self._next(queue, paged)
            if not pages:
                continue
            question = Question(self._asking.run, reading=reading, pages=tuple(asked))
            finding = self._asking.asked(question)
            if len(finding.pages) != len(pages):
                raise UnexpectedMessageError("the finding has other pages than the question")
            for page, told in zip(pages, finding.pages, strict=True):
                name = page.of.table.name
                if name not in paged:
                    continue
                if not self._taken(page, told):
                    del paged[name]
                elif told.upto != page.upto:
                    queue.appendleft(_Page(page.of, told.upto, page.upto))
            self._progress(f"taking over what is the same: {self._done:,} rows")
        return paged

    def _pages(self, one: _Table) -> Iterator[_Page]:
        rows = self._found[one.table.name].here
        for bounds in page_bounds(self._replica.database, one.table, rows, PAGE_ROWS):
            yield _Page(one, *bounds)

    def _next(
        self, queue: deque[_Page], paged: dict[str, _Table]
    ) -> tuple[list[_Page], list[PageAsked]]:
        """The pages of the next question."""
        pages: list[_Page] = []
        asked: list[PageAsked] = []
        rows, keys = QUESTION_ROWS, PAGE_KEYS_MAX
        while queue and rows > 0 and keys > 0 and len(pages) < QUESTION_PAGES:
            page = queue.popleft()
            table = page.of.table
            if table.name not in paged:
                continue
            page.own = self._own(page)
            if len(page.own.unsure) > keys:
                if pages:
                    queue.appendleft(page)
                    break
                del paged[table.name]
                continue
            rows -= len(page.own.as_read)
            keys -= len(page.own.unsure)
            pages.append(page)
            left_out = tuple(sorted(page.own.unsure))
            asked.append(
                PageAsked(
                    table_hash(table.name), columns_of(table), page.after, page.upto, left_out
                )
            )
        return pages, asked

    def _own(self, page: _Page) -> OwnRows:
        return self._replica.offering(
            lambda book, _: own_rows(book, page.of.table, page.after, page.upto, self._lsn)
        )

    def _taken(self, page: _Page, told: PageTold) -> bool:
        """Take a page over; False if the two sides do not speak of the same rows."""
        keys = page.expected(told)
        within = told.upto == page.upto or (bool(told.upto) and page._has(RowKey(told.upto)))
        if not within or keys_check(keys) != told.check or len(keys) != len(told.stamps):
            return False
        elsewhere = page.of.different | page.of.only_there
        left = self._replica.offering(
            lambda book, _: take_over(
                book,
                page.of.table,
                page.after,
                told,
                keys,
                passed_over=elsewhere,
                lsn=self._lsn,
                hlc_max=self._replica.latest_hlc,
            )
        )
        unsure = [key for key in page.own.unsure if not told.upto or key <= told.upto]
        page.of.wanted += [*left, *unsure]
        self._done += len(keys)
        return True

    # The rest

    def _fetch(self, paged: Mapping[str, _Table], reading: Reading) -> Taken:
        """Put on stage what else the inviter's delta would bring."""
        sender = Origin(self._inviter, reading.incarnation)
        base: Frontier | None = None
        for chunk in self._rest(paged, reading):
            new = base is None
            base = base or self._shared(chunk.base)
            self._put_on_stage(chunk, sender, base, new=new)
        assert base is not None, "the rest has one part at least"
        wanted = {
            name: [*dict.fromkeys([*one.different, *one.only_there, *one.wanted])]
            for name, one in paged.items()
        }
        count = 0
        for part in wanted_in_parts(wanted, rows_max=WANTED_ROWS):
            self._progress(f"fetching rows that differ: {count:,}")
            for chunk in self._asking.whole(part, reading):
                self._put_on_stage(chunk, sender, base, new=False)
            count += sum(map(len, part.values()))
        return Taken(sender, reading.lsn)

    def _rest(self, paged: Mapping[str, _Table], reading: Reading) -> Iterator[Chunk]:
        unwanted = {*self._unreceived, *(one.table for one in self._replica.plan.excluded)}
        if not self._replica.passes_on:
            here = {table.name for table in self._replica.tables.values()}
            unwanted |= self._found.keys() - here
        after = 0
        while True:
            rest = RestAsked(
                after,
                tuple(table_hash(name) for name in sorted(paged)),
                tuple(table_hash(name) for name in sorted(unwanted)),
            )
            question = Question(self._asking.run, reading=reading, rest=rest)
            chunk = decode_chunk(self._asking.asked(question).rows)
            yield chunk
            if chunk.upto >= reading.lsn:
                return
            if chunk.upto <= after:
                raise UnexpectedMessageError("the rest does not come to an end")
            after = chunk.upto

    def _shared(self, told: Frontier) -> Frontier:
        """Of the scopes that the inviter speaks of, those that both keep from now on."""
        self._replica.keep_scopes(told)
        return told.within(self._replica.offering(lambda book, _: book.frontier.scopes))

    def _put_on_stage(self, chunk: Chunk, sender: Origin, base: Frontier, *, new: bool) -> None:
        if chunk.sender != sender:
            raise UnexpectedMessageError("the inviter goes on under another name")
        # Only `Taken.commit` says how far it reaches; until then everything may come again.
        part = replace(chunk, base=base, after=0, upto=0, claim=None)
        self._replica.put_on_stage(part, new=new)
