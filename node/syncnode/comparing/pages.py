"""Pages of stamps: tells a site that joins what it may take over, instead of the rows themselves.

Rows that both sites hold with equal values need not travel when a populated site joins: it takes
over the stamps that they have here (`adopting.py`). Told are rows that have not changed since the
tables were read for the comparison, so what was found equal then is equal still. Everything else
that a delta from nothing would bring, the *rest*, is cut here, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from syncnode.capture.modified import stated
from syncnode.comparing.contents import canonical_forms
from syncnode.store.hidden import DEAD, HELD, HiddenRows
from syncnode.store.reading import Reader
from syncproto.codec import encode_chunk
from syncproto.errors import LimitExceededError, UnexpectedMessageError
from syncproto.frontier import NOTHING, Frontier
from syncproto.identity import RowKey
from syncproto.questions import (
    BY_RULE,
    PAGE_KEYS_MAX,
    PAGE_ROWS_MAX,
    PageAsked,
    PageTold,
    Reading,
    RestAsked,
    columns_check,
    keys_check,
    table_hash,
)
from syncproto.row import Stamp

if TYPE_CHECKING:
    from syncnode.store.database import Transaction
    from syncnode.store.sidecar import Sidecar
    from syncnode.store.table import Key, Table

REST_ROWS = 20_000  # of a chunk; a chunk that comes out too large is halved
REST_BYTES_MAX = 1 << 20


class Line(NamedTuple):
    """A row's clock.

    Attributes:
        said: The reading that the row's own times say.
    """

    pk: "Key"
    key: RowKey
    lsn: int
    hlc: int
    origin: int
    seq: int
    cells: bytes | None
    said: int


def lines_of(
    tx: "Transaction", table: "Table", after: bytes, upto: bytes, modified: Sequence[str]
) -> list[Line]:
    """Rows whose keys are above `after` and up to `upto` (b"": no bound), in the order of keys.

    `modified`: the columns that say when a row was last changed, surest first.
    """
    width = len(table.plan.primary_key)
    forms = canonical_forms(table, modified)
    found = []
    for row in table.lines(tx, after, upto, modified):
        times = [form(value) for form, value in zip(forms, row[width + 6 :], strict=True)]
        key, lsn, hlc, origin, seq, cells = row[width : width + 6]
        said = stated(times)
        found.append(Line(row[:width], RowKey(bytes(key)), lsn, hlc, origin, seq, cells, said))
    found.sort(key=lambda line: line.key)
    return found


def kept_beside(
    tx: "Transaction", table: "Table", after: bytes, upto: bytes, lsn: int
) -> dict[RowKey, bool]:
    """The rows of a range of keys of which the sidecar keeps a state; False: it was deleted, and
    that no later than `lsn`."""
    m = tx.mark
    bounds = [(">", after)] * bool(after) + [("<=", upto)] * bool(upto)
    where = "".join(f" AND row_key{sign}{m}" for sign, _ in bounds)
    return {
        RowKey(bytes(key)): place not in (DEAD, HELD) or row_lsn > lsn
        for key, place, row_lsn in tx.rows(
            f"SELECT row_key, place, lsn FROM syncnode_row WHERE tbl={m}{where} ORDER BY aside",
            (table.number, *(bound for _, bound in bounds)),
        )
    }


def columns_of(table: "Table") -> bytes:
    """`columns_check` of a table here."""
    return columns_check(
        {
            name: "by condition" if name in table.conditional else table.references.get(name)
            for name in table.columns
        }
    )


def page_told(book: "Sidecar", table: "Table", asked: PageAsked, reading: Reading) -> PageTold:
    """The stamps of the rows that may be taken over."""
    if asked.columns != columns_of(table):
        return PageTold(asked.upto, b"")
    tx, left_out = book.tx, set(asked.left_out)
    modified = tuple(
        name
        for name in table.plan.modified
        if name in table.place and name not in table.may_hold_keys
    )
    beside = kept_beside(tx, table, asked.after, asked.upto, reading.lsn)
    told: dict[RowKey, Line] = {}
    not_told = {key for key, counts in beside.items() if counts}
    for line in lines_of(tx, table, asked.after, asked.upto, modified):
        if line.lsn <= reading.lsn and line.cells is None and line.key not in beside:
            told[line.key] = line
        else:
            not_told.add(line.key)
    keys, other, upto = _within_a_page(told.keys() - left_out, not_told - left_out, asked.upto)
    return PageTold(
        upto,
        keys_check(keys),
        tuple(other),
        modified,
        tuple(_stamp(book, told[key]) for key in keys),
    )


def _stamp(book: "Sidecar", line: Line) -> Stamp:
    hlc = BY_RULE if line.hlc == line.said else line.hlc
    return Stamp(hlc, book.origin_of(line.origin), line.seq)


def _within_a_page(
    told: Iterable[RowKey], not_told: Iterable[RowKey], upto: bytes
) -> tuple[list[RowKey], list[RowKey], bytes]:
    """As many as a page takes, in the order of keys, and the last key that it speaks of."""
    keys, others = sorted(told), sorted(not_told)
    ends = [
        some[most] for some, most in ((keys, PAGE_ROWS_MAX), (others, PAGE_KEYS_MAX))
        if len(some) > most
    ]  # fmt: skip
    if not ends:
        return keys, others, upto
    end = min(ends)
    keys, others = [k for k in keys if k < end], [k for k in others if k < end]
    return keys, others, max(keys[-1:] + others[-1:])


class _RestReader(Reader):
    """Cuts what is not plain; of tables that are not paged, all."""

    def __init__(
        self, book: "Sidecar", hidden: HiddenRows, tables: Mapping[int, "Table"], paged: set[str]
    ) -> None:
        super().__init__(book, hidden, tables)
        self._paged = paged

    def _rows(self, table: "Table", first: int, upto: int) -> list[tuple[Any, ...]]:
        return table.changed(self._tx, first, upto, plain=table.name not in self._paged)


def rest_told(
    book: "Sidecar",
    hidden: HiddenRows,
    tables: Mapping[int, "Table"],
    asked: RestAsked,
    reading: Reading,
    unsent: frozenset[str],
) -> bytes:
    """The next part of the rest, as a chunk."""
    by_hash = {table_hash(name): name for name in book.frontier.scopes}
    passed_over = {*unsent, *(by_hash.get(table) for table in asked.passed_over)}
    base = Frontier({name: NOTHING for name in book.frontier.scopes if name not in passed_over})
    paged = {by_hash[table] for table in asked.paged if table in by_hash}
    reader, rows = _RestReader(book, hidden, tables, paged), REST_ROWS
    while True:
        # Everything later comes with the first exchange.
        chunk = reader.chunk(base, asked.after, rows, last=reading.lsn)
        chunk = replace(chunk, claim=None, total=0)
        try:
            encoded = encode_chunk(chunk)
        except LimitExceededError:
            if rows == 1:
                raise
            encoded = b""
        if encoded and (len(encoded) <= REST_BYTES_MAX or rows == 1):
            return encoded
        rows = max(1, rows // 2)


def checked(reading: Reading, asked: Reading | None) -> Reading:
    """
    Raises:
        UnexpectedMessageError: The tables were read anew since the asker was told of a reading.
    """
    if asked is None or reading != asked:
        raise UnexpectedMessageError("the rows of this site were read anew since; compare again")
    return asked
