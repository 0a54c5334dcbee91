"""Pages of stamps to bytes and back: the parts of questions and findings that bring them.

The format is specified in protocol/README.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from syncproto.clock import HLC_MAX
from syncproto.directory import Directory, Names
from syncproto.errors import MalformedMessageError
from syncproto.frames import INT64_MAX, UINT64_MAX, Pieces, as_bytes, as_int, as_list, item
from syncproto.identity import ROW_KEY_BYTES, RowKey
from syncproto.integers import ints, packed_ints, split_keys
from syncproto.limits import Limits, within
from syncproto.questions import (
    BY_RULE,
    COLUMNS_CHECK_BYTES,
    KEYS_CHECK_BYTES,
    PageAsked,
    PageTold,
    Question,
    Reading,
    RestAsked,
    TableHash,
)
from syncproto.row import Stamp

NOTHING = item([])

# --- Asked -------------------------------------------------------------------------------------


def pages_asked(question: Question, hashes: Mapping[TableHash, int]) -> bytes:
    """The piece with the reading and the pages."""
    if question.reading is None:
        assert not question.pages, "pages are of a reading"
        return NOTHING
    pages = question.pages
    return item(
        [
            *question.reading,
            len(pages),
            packed_ints([hashes[page.table] for page in pages]),
            b"".join(page.columns for page in pages),
            [page.after for page in pages],
            [page.upto for page in pages],
            packed_ints([len(page.left_out) for page in pages]),
            b"".join(key for page in pages for key in page.left_out),
        ]
    )


def read_pages_asked(
    part: Any, hashes: Sequence[TableHash], limits: Limits
) -> tuple[Reading | None, tuple[PageAsked, ...]]:
    if part == []:
        return None, ()
    incarnation, lsn, count, tables, columns, after, upto, counts, joined = as_list(
        part, range(9, 10)
    )
    within(as_int(count, 0, INT64_MAX), limits.scopes, "pages")
    numbers = ints(counts, count, 0, limits.rows)
    keys = iter(split_keys(joined, within(sum(numbers), limits.rows, "rows")))
    if type(columns) is not bytes or len(columns) != COLUMNS_CHECK_BYTES * count:
        raise MalformedMessageError("expected a check of columns for each page")
    pages = tuple(
        PageAsked(
            _at(hashes, table),
            columns[COLUMNS_CHECK_BYTES * at : COLUMNS_CHECK_BYTES * (at + 1)],
            _bound(first),
            _bound(last),
            tuple(RowKey(next(keys)) for _ in range(number)),
        )
        for at, (table, first, last, number) in enumerate(
            zip(
                ints(tables, count, 0),
                as_list(after, range(count, count + 1)),
                as_list(upto, range(count, count + 1)),
                numbers,
                strict=True,
            )
        )
    )
    return reading_of(incarnation, lsn), pages


def rest_asked(question: Question, hashes: Mapping[TableHash, int]) -> bytes:
    """The piece that asks for the rest."""
    rest = question.rest
    if rest is None:
        return NOTHING
    return item(
        [
            rest.after,
            len(rest.paged),
            packed_ints([hashes[table] for table in rest.paged]),
            len(rest.passed_over),
            packed_ints([hashes[table] for table in rest.passed_over]),
        ]
    )


def read_rest_asked(part: Any, hashes: Sequence[TableHash], limits: Limits) -> RestAsked | None:
    if part == []:
        return None
    after, paged_count, paged, over_count, over = as_list(part, range(5, 6))
    for count in (paged_count, over_count):
        within(as_int(count, 0, INT64_MAX), limits.scopes, "tables")
    return RestAsked(
        as_int(after, 0, INT64_MAX),
        tuple(_at(hashes, at) for at in ints(paged, paged_count, 0)),
        tuple(_at(hashes, at) for at in ints(over, over_count, 0)),
    )


# --- Told --------------------------------------------------------------------------------------


def pages_told(pages: Sequence[PageTold], directory: Directory) -> list[bytes]:
    """The pieces of pages, with their number before them."""
    pieces = [item([len(pages)])]
    for page in pages:
        stamps = page.stamps
        named = [at for at, stamp in enumerate(stamps) if stamp.hlc != BY_RULE]
        head = [
            page.upto,
            page.check,
            b"".join(page.not_told),
            [directory.names[name] for name in page.modified],
            len(stamps),
            len(named),
        ]
        pieces += [
            item(head),
            item(packed_ints([directory.origins[stamp.origin] for stamp in stamps])),
            item(packed_ints([stamp.seq for stamp in stamps])),
            item(packed_ints(named)),
            item(packed_ints([stamps[at].hlc for at in named])),
        ]
    return pieces


def read_pages_told(pieces: Pieces, directory: Names, limits: Limits) -> tuple[PageTold, ...]:
    (count,) = as_list(pieces.item(), range(1, 2))
    left = limits.rows
    pages = []
    for _ in range(within(as_int(count, 0, INT64_MAX), limits.scopes, "pages")):
        page = _page_told(pieces, directory, left)
        left -= len(page.stamps)
        pages.append(page)
    return tuple(pages)


def _page_told(pieces: Pieces, directory: Names, rows_max: int) -> PageTold:
    upto, check, not_told, modified, count, named = as_list(pieces.item(), range(6, 7))
    within(as_int(count, 0, INT64_MAX), rows_max, "rows")
    if type(not_told) is not bytes:
        raise MalformedMessageError("expected keys")
    origins = ints(pieces.item(), count, 0)
    seqs = ints(pieces.item(), count, 0, INT64_MAX)
    places = ints(pieces.item(), as_int(named, 0, count), 0)
    readings = dict(zip(places, ints(pieces.item(), named, 1, HLC_MAX), strict=True))
    if len(readings) != named or any(place >= count for place in readings):
        raise MalformedMessageError("a reading of no row, or two of one")
    names = as_list(modified, range(pieces.limits.columns + 1))
    return PageTold(
        _bound(upto),
        b"" if check == b"" else as_bytes(check, KEYS_CHECK_BYTES),
        tuple(map(RowKey, split_keys(not_told, len(not_told) // ROW_KEY_BYTES))),
        tuple(directory.name(as_int(name, 0, INT64_MAX)) for name in names),
        tuple(
            Stamp(readings.get(at, BY_RULE), directory.origin(origin), seq)
            for at, (origin, seq) in enumerate(zip(origins, seqs, strict=True))
        ),
    )


# --- Both --------------------------------------------------------------------------------------


def reading_of(incarnation: Any, lsn: Any) -> Reading:
    return Reading(as_int(incarnation, 0, UINT64_MAX), as_int(lsn, 0, INT64_MAX))


def _bound(key: Any) -> bytes:
    return b"" if key == b"" else as_bytes(key, ROW_KEY_BYTES)


def _at(hashes: Sequence[TableHash], number: int) -> TableHash:
    if number >= len(hashes):
        raise MalformedMessageError(f"there is no table {number}")
    return hashes[number]
