"""Takes over the stamps that rows have at another site, where both hold them with equal values.

A populated site that joins a network has stamps of its own on every row. Where its row equals the
inviter's it gives them up and takes the inviter's (`pages.py` tells them), as if the row had come
from there; so neither side has to send it. That is right since what the own stamps say is nobody's
knowledge yet. A copy of this database may still hold it, so that what is left under the old dots is
written anew under the next incarnation before anything is offered (`RENEWAL_DUE`).

Rows bear stamps above the frontier until the first delta of the inviter is claimed. They keep their
lsn; `ADOPTED` says that whatever is claimed meanwhile reaches back to the first row.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from syncnode.comparing.pages import Line, kept_beside, lines_of
from syncnode.links.peers import read_peers
from syncnode.store.sidecar import RENEWAL_DUE
from syncproto.errors import UnexpectedMessageError
from syncproto.identity import RowKey
from syncproto.questions import PageTold
from syncproto.row import Stamp
from syncproto.sums import same_stamp_sum

if TYPE_CHECKING:
    from syncnode.store.database import Database
    from syncnode.store.sidecar import Sidecar
    from syncnode.store.table import Table

KEYS_PER_READ = 50_000
SAMPLED = 64  # one key of so many says where pages begin


class OwnRows(NamedTuple):
    """The rows here whose keys lie in a range.

    Attributes:
        as_read: Those that are as they were when the tables were read.
        unsure: Keys of the others, and of those that went since.
    """

    as_read: frozenset[RowKey]
    unsure: frozenset[RowKey]


def may_adopt(book: "Sidecar") -> bool:
    """Whether this site has met nobody yet."""
    return book.frontier.origins() == {book.origin} and not read_peers(book.tx)


def own_rows(book: "Sidecar", table: "Table", after: bytes, upto: bytes, lsn: int) -> OwnRows:
    """The rows between two keys; `lsn`: of when the tables were read."""
    beside = kept_beside(book.tx, table, after, upto, lsn)
    unsure = {key for key, counts in beside.items() if counts}
    as_read = set()
    width = len(table.plan.primary_key)
    for line in table.lines(book.tx, after, upto, ()):
        key = RowKey(bytes(line[width]))
        if line[width + 1] > lsn:
            unsure.add(key)
        elif key not in beside:
            as_read.add(key)
    return OwnRows(frozenset(as_read), frozenset(unsure))


def take_over(
    book: "Sidecar",
    table: "Table",
    after: bytes,
    told: PageTold,
    keys: Sequence[RowKey],
    *,
    passed_over: Collection[RowKey],
    lsn: int,
    hlc_max: int,
) -> list[RowKey]:
    """Give rows the stamps that they have at the other site.

    Args:
        after: Where the page begins.
        keys: Whose stamps are told, in their order.
        passed_over: Keys of rows that are not the same here.
        lsn: Of when the tables were read: what was written later stays as it is.
        hlc_max: The greatest reading that is no stamp of the future.

    Returns:
        The keys of rows that cannot be taken over.

    Raises:
        UnexpectedMessageError: The other site names columns that say no times here.
    """
    if not set(told.modified) <= table.place.keys() - table.may_hold_keys:
        raise UnexpectedMessageError("times of rows are said by columns that are not here")
    lines = {line.key: line for line in lines_of(book.tx, table, after, told.upto, told.modified)}
    beside = kept_beside(book.tx, table, after, told.upto, lsn)
    moves, left = _Moves(book, table), []
    for key, stamp in zip(keys, told.stamps, strict=True):
        if key in passed_over:
            continue
        line = lines.get(key)
        if line is None or line.lsn > lsn or line.cells is not None or key in beside:
            left.append(key)
            continue
        hlc = stamp.hlc or line.said
        if hlc > hlc_max:
            left.append(key)
        else:
            moves.add(line, Stamp(hlc, stamp.origin, stamp.seq))
    moves.write()
    return left


class _Moves:
    """Rows of a table that get other stamps; only the dot changes of most of them."""

    def __init__(self, book: "Sidecar", table: "Table") -> None:
        self._book = book
        self._table = table
        self._pks: dict[tuple[int, int], list[Any]] = {}  # by origin's number and seq
        self._lines: list[tuple[Any, ...]] = []
        self._keys: dict[tuple[int, int, int, int], list[RowKey]] = {}  # by old dot and new
        self._seqs: dict[int, int] = {}
        self._hlc = 0

    def add(self, line: Line, stamp: Stamp) -> None:
        number, seq = self._book.number(stamp.origin), stamp.seq
        if (line.hlc, line.origin, line.seq) == (stamp.hlc, number, seq):
            return
        if line.hlc == stamp.hlc:
            self._pks.setdefault((number, seq), []).append(line.pk)
        else:
            self._lines.append((stamp.hlc, number, seq, *line.pk))
        self._keys.setdefault((line.origin, line.seq, number, seq), []).append(line.key)
        self._seqs[number] = max(seq, self._seqs.get(number, 0))
        self._hlc = max(self._hlc, stamp.hlc)

    def write(self) -> None:
        book, table = self._book, self._table
        if not self._seqs:
            return
        for (number, seq), pks in self._pks.items():
            table.move_clocks(book.tx, number, seq, pks)
        table.restamp_clocks(book.tx, self._lines)
        for (origin, seq, number, new), keys in self._keys.items():
            before = same_stamp_sum(keys, Stamp(0, book.origin_of(origin), seq))
            after = same_stamp_sum(keys, Stamp(0, book.origin_of(number), new))
            book.add_sum(table.name, after - before)
        book.hlc = max(book.hlc, self._hlc)
        book.note_adopted(table.name, self._seqs)
        book.set(RENEWAL_DUE, "1")


def page_bounds(
    database: "Database", table: "Table", rows: int, rows_a_page: int
) -> list[tuple[bytes, bytes]]:
    """Where pages of about so many rows begin and end: from above the one key up to the other."""
    if rows <= rows_a_page:
        return [(b"", b"")]
    each = max(1, min(SAMPLED, rows_a_page // 2))
    sample = sorted(key for part in _keys(database, table) for key in part[::each])
    step = max(1, rows_a_page // each)
    ends = [*sample[step::step], b""]
    return list(zip([b"", *ends], ends, strict=False))


def _keys(database: "Database", table: "Table") -> Iterator[list[bytes]]:
    last = 0
    while True:
        with database.read() as tx:
            lines = tx.rows(
                f"SELECT syncnode_lsn, syncnode_key FROM {table.clock_name} "
                f"WHERE syncnode_lsn>{tx.mark} ORDER BY syncnode_lsn LIMIT {KEYS_PER_READ}",
                (last,),
            )
        if not lines:
            return
        yield [bytes(key) for _, key in lines]
        last = lines[-1][0]
