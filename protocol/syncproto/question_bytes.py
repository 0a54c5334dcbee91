"""Questions and findings to bytes and back, with every limit checked.

The format is specified in protocol/README.md. Arbitrary bytes raise `MalformedMessageError` or
`IncompatiblePeerError`, and nothing else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from syncproto.directory import Directory, Names
from syncproto.errors import MalformedMessageError
from syncproto.fingerprints import CHECK_BYTES, PLACE_BITS
from syncproto.frames import (
    INT64_MAX,
    PREAMBLE_BYTES,
    UINT64_MAX,
    as_bytes,
    as_int,
    as_list,
    as_name,
    frame,
    item,
    opened,
)
from syncproto.identity import ROW_KEY_BYTES, RowKey
from syncproto.integers import ints, packed_ints
from syncproto.limits import LIMITS, Limits, within
from syncproto.page_bytes import (
    NOTHING,
    pages_asked,
    pages_told,
    read_pages_asked,
    read_pages_told,
    read_rest_asked,
    reading_of,
    rest_asked,
)
from syncproto.questions import (
    FINDING,
    GROUPS,
    QUESTION,
    RUN_BYTES,
    SPLIT_BITS_MAX,
    TABLE_HASH_BYTES,
    Finding,
    Leaf,
    LeafFound,
    Question,
    Split,
    TableHash,
    Told,
)
from syncproto.shape_bytes import (
    read_shapes_asked,
    read_shapes_told,
    shapes_asked,
    shapes_told,
)

# --- Questions as bytes ------------------------------------------------------------------------


def encode_question(question: Question) -> bytes:
    """
    Raises:
        LimitExceededError: More than a peer would take: ask less at once.
    """
    tables = question.tables or {}
    wanted = question.wanted or {}
    hashes: dict[TableHash, int] = {}
    for table in [*(s.table for s in question.splits), *(one.table for one in question.leaves)]:
        hashes.setdefault(table, len(hashes))
    rest = question.rest
    more = [*rest.paged, *rest.passed_over] if rest is not None else []
    for table in [*wanted, *(page.table for page in question.pages), *more]:
        hashes.setdefault(table, len(hashes))
    keys = [key for some in wanted.values() for key in some]
    pieces = [
        item([question.run, _checks(question.groups), question.asked_groups, b"".join(hashes)]),
        item([b"".join(tables), _checks([*tables.values()])]),
        item(
            [
                len(question.splits),
                *_where(question.splits, hashes),
                packed_ints([one.bits for one in question.splits]),
                _checks([check for one in question.splits for check in one.checks]),
            ]
        ),
        item(
            [
                len(question.leaves),
                *_where(question.leaves, hashes),
                packed_ints([len(one.rows) for one in question.leaves]),
                _checks([check for one in question.leaves for check in one.rows]),
            ]
        ),
        item(
            [
                len(wanted),
                packed_ints([hashes[table] for table in wanted]),
                packed_ints([len(some) for some in wanted.values()]),
                b"".join(keys),
            ]
        ),
        pages_asked(question, hashes),
        rest_asked(question, hashes),
        shapes_asked(question),
    ]
    while len(pieces) > 1 and pieces[-1] in _NOTHING:
        pieces.pop()
    return frame(QUESTION, pieces)


# Parts that say nothing, at the end, are left out.
_NOTHING = (
    item([b"", b""]),
    item([0, 0, 0, 0, 0, b""]),
    item([0, 0, 0, b""]),
    NOTHING,
)


def decode_question(data: bytes, limits: Limits = LIMITS) -> Question:
    """The inverse of `encode_question`.

    Raises:
        MalformedMessageError: The bytes are no question, or over a limit.
        IncompatiblePeerError: The peer speaks another version of the protocol.
    """
    pieces, behind = opened(QUESTION, data, limits)
    if behind:
        raise MalformedMessageError(f"{len(behind)} bytes after the question")
    run, groups, asked, joined = as_list(pieces.item(), range(4, 5))
    hashes = _cut(joined, TABLE_HASH_BYTES)
    tables = None
    if not pieces.at_end:
        names, checks = as_list(pieces.item(), range(2, 3))
        named = _cut(names, TABLE_HASH_BYTES)
        within(len(named), limits.scopes, "tables")
        tables = dict(zip(named, _read_checks(checks, len(named)), strict=True))
        if len(tables) != len(named):
            raise MalformedMessageError("a table is listed twice")
    splits = _splits(pieces.item(), hashes, limits) if not pieces.at_end else ()
    leaves = _leaves(pieces.item(), hashes, limits) if not pieces.at_end else ()
    wanted = _wanted(pieces.item(), hashes, limits) if not pieces.at_end else None
    asked_pages = pieces.item() if not pieces.at_end else []
    reading, pages = read_pages_asked(asked_pages, hashes, limits)
    rest = read_rest_asked(pieces.item(), hashes, limits) if not pieces.at_end else None
    shapes, left_out = read_shapes_asked([] if pieces.at_end else pieces.item(), limits)
    pieces.finish()
    if type(groups) is not bytes or len(groups) not in (0, GROUPS * CHECK_BYTES):
        raise MalformedMessageError("expected checks of groups")
    return Question(
        run=as_bytes(run, RUN_BYTES),
        groups=tuple(_read_checks(groups, len(groups) // CHECK_BYTES)),
        tables=tables or None,
        asked_groups=as_int(asked, 0, (1 << GROUPS) - 1),
        splits=splits,
        leaves=leaves,
        wanted=wanted or None,
        reading=reading,
        pages=pages,
        rest=rest,
        shapes=shapes or None,
        left_out=left_out or None,
    )


def _splits(part: Any, hashes: list[bytes], limits: Limits) -> tuple[Split, ...]:
    count, *where, bits, checks = as_list(part, range(6, 7))
    within(as_int(count, 0, INT64_MAX), limits.rows, "ranges")
    widths = ints(bits, count, 1, SPLIT_BITS_MAX)
    total = sum(1 << width for width in widths)
    found = iter(_read_checks(checks, total))
    return tuple(
        Split(table, depth, prefix, width, tuple(next(found) for _ in range(1 << width)))
        for (table, depth, prefix), width in zip(_ranges(where, count, hashes), widths, strict=True)
    )


def _leaves(part: Any, hashes: list[bytes], limits: Limits) -> tuple[Leaf, ...]:
    count, *where, counts, joined = as_list(part, range(6, 7))
    within(as_int(count, 0, INT64_MAX), limits.rows, "ranges")
    numbers = ints(counts, count, 0, limits.rows)
    rows = iter(_read_checks(joined, within(sum(numbers), limits.rows, "rows")))
    return tuple(
        Leaf(table, depth, prefix, tuple(next(rows) for _ in range(number)))
        for (table, depth, prefix), number in zip(
            _ranges(where, count, hashes), numbers, strict=True
        )
    )


def _wanted(part: Any, hashes: list[bytes], limits: Limits) -> dict[TableHash, tuple[RowKey, ...]]:
    count, tables, counts, joined = as_list(part, range(4, 5))
    within(as_int(count, 0, INT64_MAX), limits.scopes, "tables")
    numbers = ints(counts, count, 0, limits.rows)
    keys = iter(_cut(joined, ROW_KEY_BYTES, within(sum(numbers), limits.rows, "rows")))
    named = [_at(hashes, at) for at in ints(tables, count, 0)]
    if len(set(named)) != len(named):
        raise MalformedMessageError("a table is listed twice")
    return {
        table: tuple(RowKey(next(keys)) for _ in range(number))
        for table, number in zip(named, numbers, strict=True)
    }


# --- Findings as bytes -------------------------------------------------------------------------


def encode_finding(finding: Finding) -> bytes:
    """
    Raises:
        LimitExceededError: More than a peer would take.
    """
    directory = Directory()
    unshown, others = finding.unshown or {}, finding.others or {}
    tables = finding.tables or {}
    parts = [sorted(split.items()) for split in finding.splits]
    head = [
        finding.run,
        [directory.names[name] for name in unshown],
        [*unshown.values()],
        [directory.names[name] for name in others],
        [*others.values()],
        finding.groups,
        b"".join(tables),
        packed_ints([told.rows for told in tables.values()]),
        packed_ints([told.depth for told in tables.values()]),
        b"".join(sorted(finding.unknown)),
        list(finding.reading or ()),
    ]
    ranges = [
        len(parts),
        packed_ints([sum(1 << at for at, _ in part) for part in parts]),
        packed_ints([count for part in parts for _, count in part]),
    ]
    leaves = [
        len(finding.leaves),
        packed_ints([len(one.missing) for one in finding.leaves]),
        packed_ints([at for one in finding.leaves for at in one.missing]),
        packed_ints([len(one.more) for one in finding.leaves]),
        b"".join(key for one in finding.leaves for key in one.more),
        packed_ints([one.beyond for one in finding.leaves]),
    ]
    pieces = [item(ranges), item(leaves), *pages_told(finding.pages, directory)]
    pieces.append(shapes_told(finding.shapes or {}, directory))
    while pieces and pieces[-1] in _FOUND_NOTHING:
        pieces.pop()
    pieces = [item(head), *pieces]
    return frame(FINDING, [*directory.pieces(), *pieces]) + finding.rows


_FOUND_NOTHING = (item([0, 0, 0]), item([0, 0, 0, 0, b"", 0]), item([0]), NOTHING)


def decode_finding(data: bytes, limits: Limits = LIMITS) -> Finding:
    """The inverse of `encode_finding`; the chunk of rows has yet to be decoded.

    Raises:
        MalformedMessageError: The bytes are no finding, or over a limit.
        IncompatiblePeerError: The peer speaks another version of the protocol.
    """
    if data[:2] != FINDING and len(data) >= PREAMBLE_BYTES:
        raise MalformedMessageError("the answer is no finding of a comparison")
    pieces, rows = opened(FINDING, data, limits)
    directory = Names(pieces)
    head = as_list(pieces.item(), range(11, 12))
    run, named, unshown, others, counts, groups, tables, rows_there, depths, lost, when = head
    splits = _found_splits(pieces.item(), limits) if not pieces.at_end else ()
    leaves = _found_leaves(pieces.item(), limits) if not pieces.at_end else ()
    pages = read_pages_told(pieces, directory, limits) if not pieces.at_end else ()
    shapes = read_shapes_told([] if pieces.at_end else pieces.item(), directory, limits)
    pieces.finish()
    hashes = _cut(tables, TABLE_HASH_BYTES)
    within(len(hashes), limits.scopes, "tables")
    numbers = ints(rows_there, len(hashes), 0, INT64_MAX)
    found = {
        table: Told(count, depth)
        for table, count, depth in zip(
            hashes, numbers, ints(depths, len(hashes), 0, PLACE_BITS), strict=True
        )
    }
    return Finding(
        run=as_bytes(run, RUN_BYTES),
        unshown=_by_name(directory, named, unshown, limits),
        groups=as_int(groups, 0, (1 << GROUPS) - 1),
        tables=found,
        unknown=frozenset(_cut(lost, TABLE_HASH_BYTES)),
        others=_by_name(directory, others, counts, limits),
        splits=splits,
        leaves=leaves,
        rows=rows,
        reading=reading_of(*as_list(when, range(2, 3))) if when != [] else None,
        pages=pages,
        shapes=shapes or None,
    )


def _by_name(directory: Names, names: Any, counts: Any, limits: Limits) -> dict[str, int]:
    named = as_list(names, range(limits.scopes + 1))
    numbers = as_list(counts, range(len(named), len(named) + 1))
    return {
        as_name(directory.name(as_int(name, 0, INT64_MAX)), limits.name_length): as_int(
            count, 0, INT64_MAX
        )
        for name, count in zip(named, numbers, strict=True)
    }


def _found_splits(part: Any, limits: Limits) -> tuple[Mapping[int, int], ...]:
    count, marks, counts = as_list(part, range(3, 4))
    within(as_int(count, 0, INT64_MAX), limits.rows, "ranges")
    bits = ints(marks, count, 0, (1 << (1 << SPLIT_BITS_MAX)) - 1)
    numbers = iter(ints(counts, sum(map(int.bit_count, bits)), 0, INT64_MAX))
    return tuple(
        {at: next(numbers) for at in range(1 << SPLIT_BITS_MAX) if mark >> at & 1} for mark in bits
    )


def _found_leaves(part: Any, limits: Limits) -> tuple[LeafFound, ...]:
    count, lacks, missing, exceed, more, beyond = as_list(part, range(6, 7))
    within(as_int(count, 0, INT64_MAX), limits.rows, "ranges")
    lacking = _counted(lacks, count, limits)
    extra = _counted(exceed, count, limits)
    gone = iter(ints(missing, sum(lacking), 0, limits.rows))
    added = iter(_cut(more, ROW_KEY_BYTES, sum(extra)))
    return tuple(
        LeafFound(
            tuple(next(gone) for _ in range(one)),
            tuple(RowKey(next(added)) for _ in range(two)),
            rest,
        )
        for one, two, rest in zip(lacking, extra, ints(beyond, count, 0, INT64_MAX), strict=True)
    )


def _counted(part: Any, count: int, limits: Limits) -> list[int]:
    numbers = ints(part, count, 0, limits.rows)
    within(sum(numbers), limits.rows, "rows")
    return numbers


# --- Both --------------------------------------------------------------------------------------


def _where(
    ranges: Sequence[Split] | Sequence[Leaf], hashes: Mapping[TableHash, int]
) -> tuple[Any, Any, Any]:
    return (
        packed_ints([hashes[one.table] for one in ranges]),
        packed_ints([one.depth for one in ranges]),
        packed_ints([one.prefix for one in ranges]),
    )


def _ranges(where: list[Any], count: int, hashes: list[bytes]) -> list[tuple[TableHash, int, int]]:
    tables, depths, prefixes = where
    found = list(
        zip(
            [_at(hashes, at) for at in ints(tables, count, 0)],
            ints(depths, count, 0, PLACE_BITS),
            ints(prefixes, count, 0, UINT64_MAX),
            strict=True,
        )
    )
    if any(prefix >> depth for _, depth, prefix in found):
        raise MalformedMessageError("a range beyond the line of places")
    return found


def _checks(checks: Sequence[int]) -> bytes:
    return b"".join([check.to_bytes(CHECK_BYTES, "big") for check in checks])


def _read_checks(joined: Any, count: int) -> list[int]:
    return [int.from_bytes(one, "big") for one in _cut(joined, CHECK_BYTES, count)]


def _cut(joined: Any, width: int, count: int | None = None) -> list[bytes]:
    """A byte string as pieces of one width."""
    if type(joined) is not bytes or len(joined) % width:
        raise MalformedMessageError(f"expected pieces of {width} bytes")
    if count is not None and len(joined) != width * count:
        raise MalformedMessageError(f"expected {count} pieces of {width} bytes")
    return [joined[at : at + width] for at in range(0, len(joined), width)]


def _at(hashes: list[bytes], number: int) -> bytes:
    if number >= len(hashes):
        raise MalformedMessageError(f"there is no table {number}")
    return hashes[number]
