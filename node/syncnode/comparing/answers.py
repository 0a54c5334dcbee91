"""Answers the questions of sites that compare their rows with ours; nothing is changed."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from syncnode.comparing.contents import Contents, shapes_of
from syncnode.comparing.pages import checked, page_told, rest_told
from syncnode.store.hidden import HELD, HiddenRows
from syncnode.store.sidecar import Sidecar
from syncnode.store.table import Origins, Table
from syncproto.codec import decode_cells, encode_chunk
from syncproto.comparing import answered
from syncproto.delta import Chunk, blocks_of
from syncproto.errors import StoreError
from syncproto.frontier import Frontier
from syncproto.identity import RowKey
from syncproto.question_bytes import decode_question, encode_finding
from syncproto.questions import Finding, PageTold, Question, Reading, TableHash, table_hash
from syncproto.row import Row
from syncproto.shapes import Shape, shapes_apart

if TYPE_CHECKING:
    from syncnode.replica import DatabaseReplica
    from syncnode.store.database import Transaction

RUNS_KEPT = 2  # comparisons of which the reading is kept; each takes up to 64 MB


def states(
    tx: "Transaction",
    book: Sidecar,
    tables: Iterable[Table],
    keys_by_table: Mapping[str, Sequence[RowKey]],
) -> dict[tuple[str, RowKey], Row]:
    """The replicated state of these rows, deleted ones too; unknown ones are absent."""
    hidden, origins = HiddenRows(book), Origins(book.origin_of, decode_cells)
    found: dict[tuple[str, RowKey], Row] = {}
    for table in tables:
        keys = list(keys_by_table.get(table.name, ()))
        for key, kept in hidden.get(table.number, keys).items():
            if kept.place != HELD:
                found[table.name, key] = kept.row
        if table.plan.key_kind == "none":
            continue
        rest = [key for key in keys if (table.name, key) not in found]
        pks = table.find(tx, rest)
        for stored in table.by_pk(tx, list(pks.values()), origins):
            if stored.clock is not None:
                found[table.name, stored.clock.key] = table.row_of(stored)
    return found


class Answers:
    """Answers the questions of comparisons; for each run the tables are read once."""

    def __init__(self, replica: "DatabaseReplica") -> None:
        self._replica = replica
        self._ending = False
        self._readings: OrderedDict[bytes, Contents] = OrderedDict()

    def end(self) -> None:
        """Break off what is being read: the node is about to end."""
        self._ending = True

    def _go_on(self, _: str) -> None:
        if self._ending:
            raise StoreError("this site is about to end; ask again later", transient=True)

    def answer(self, body: bytes, unsent: frozenset[str] = frozenset()) -> bytes:
        """The finding to a question, as bytes; blocking. The journal is sealed before.

        `unsent`: tables that by our rules are not for who asks; nothing is said of them.

        Raises:
            PeerError: The question is malformed or does not fit this site.
            StoreError: The database could not be read now.
        """
        question = decode_question(body)
        if question.shapes and question.tables is None:
            return encode_finding(Finding(question.run, shapes=self._shapes_apart(question)))
        contents = self._reading(question, unsent)
        finding = answered(question, contents, contents.unshown)
        if question.groups:
            finding = replace(finding, reading=contents.reading)
        if question.reading is not None:
            return self._replica.offering(
                partial(self._told, question, finding, contents.reading, unsent)
            )
        if question.wanted is None:
            return encode_finding(finding)
        return encode_finding(finding) + self._wanted(question, unsent)

    def _shapes_apart(self, question: Question) -> dict[TableHash, Shape]:
        """What differs in how tables are made; no row is read."""
        ours = {table_hash(name): shape for name, shape in shapes_of(self._replica).items()}
        return shapes_apart(question.shapes or {}, ours)

    def _told(
        self,
        question: Question,
        finding: Finding,
        ours: Reading,
        unsent: frozenset[str],
        book: Sidecar,
        hidden: HiddenRows,
    ) -> bytes:
        """What is asked of one reading: it is taken in as what we hold."""
        reading = checked(ours, question.reading)
        tables = {hashed: one for hashed, one in self._by_hash.items() if one.name not in unsent}
        pages = tuple(
            page_told(book, tables[page.table], page, reading)
            if page.table in tables
            else PageTold(page.upto, b"")
            for page in question.pages
        )
        rows = b""
        if question.rest is not None:
            rows = rest_told(book, hidden, self._replica.tables, question.rest, reading, unsent)
        elif question.wanted is not None:
            rows = self._wanted_in(book, question.wanted, tables)
        return encode_finding(replace(finding, reading=reading, pages=pages, rows=rows))

    def _reading(self, question: Question, unsent: frozenset[str]) -> Contents:
        kept = None if question.groups else self._readings.get(question.run)
        if kept is None:
            self._readings.pop(question.run, None)
            while len(self._readings) >= RUNS_KEPT:
                self._readings.popitem(last=False)
            kept = self._readings[question.run] = Contents(
                self._replica, self._go_on, without=unsent
            )
        self._readings.move_to_end(question.run)
        return kept

    def _wanted(self, question: Question, unsent: frozenset[str]) -> bytes:
        tables = {hashed: one for hashed, one in self._by_hash.items() if one.name not in unsent}
        with self._replica.database.read() as tx:
            book = Sidecar.load(tx, self._replica.plan)
            return self._wanted_in(book, question.wanted or {}, tables)

    @property
    def _by_hash(self) -> dict[TableHash, Table]:
        return {table_hash(table.name): table for table in self._replica.tables.values()}

    def _wanted_in(
        self,
        book: Sidecar,
        keys_by_table: Mapping[TableHash, Sequence[RowKey]],
        by_hash: Mapping[TableHash, Table],
    ) -> bytes:
        wanted = {
            by_hash[table].name: keys for table, keys in keys_by_table.items() if table in by_hash
        }
        rows = states(book.tx, book, self._replica.tables.values(), wanted)
        return rows_as_chunk(book, book.frontier.within(sorted(wanted)), rows)


def rows_as_chunk(book: Sidecar, seen: Frontier, rows: Mapping[tuple[str, RowKey], Row]) -> bytes:
    """Rows with their stamps, and what their holder has seen."""
    blocks = blocks_of((table, key, row) for (table, key), row in rows.items())
    return encode_chunk(Chunk(book.origin, seen, 0, 0, (), blocks, None, 0))
