"""Rows and clocks as blobs in the sidecar: compact, quick to read, and of one row each.

Origins are written by the small numbers that the database gives them (`syncnode_origin`). The
storage is our own and trusted, and still read strictly: a damaged blob raises
`MalformedMessageError` and never becomes a row.

A row is [base, names, values, odd, delete], a clock [odd, delete, absent], where
    base is null or [hlc, origin, seq], the stamp of every cell that `odd` does not name;
    odd is null or [place or name, hlc, origin, seq, ... for each odd cell];
    delete is null or [n, hlc, origin, seq, ... n times, origin, seq, ... for all seen]; the
        origin of a stamp that wins over edits stands as -1 less its number;
    absent is null or the names of the columns that the row has no cell for.
Parts that are null at the end are left out. A value is a CBOR null, integer, text or byte
string, [table, key] for a reference, or [eight bytes] for a double that is not a number.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from syncproto.clock import HLC_MAX
from syncproto.errors import MalformedMessageError
from syncproto.frames import (
    INT64_MAX,
    INT64_MIN,
    UINT64_MAX,
    as_bytes,
    as_int,
    as_list,
    as_name,
    dumped,
    loaded,
)
from syncproto.identity import ROW_KEY_BYTES, Origin, RowKey
from syncproto.limits import LIMITS
from syncproto.row import Cell, Delete, Reference, Row, Stamp, Value

OriginNumber = Callable[[Origin], int]
OriginOf = Callable[[int], Origin]

_ANY_LENGTH = range(1 << 32)
_THREE, _ROW_PARTS = range(3, 4), range(3, 6)
_SIMPLE = frozenset((type(None), int, str, bytes))


def encode_row(row: Row, origin_number: OriginNumber) -> bytes:
    """A row as a blob; `origin_number` gives an origin's number in this database.

    Raises:
        TypeError, ValueError: A value that no cell can hold.
    """
    stamps = [cell.stamp for cell in row.cells.values()]
    base = stamps[0] if stamps else None
    if stamps and stamps.count(stamps[0]) < len(stamps):
        base = max(stamps, key=stamps.count)
    odd = [
        number
        for place, stamp in enumerate(stamps)
        if stamp != base
        for number in (place, stamp.hlc, origin_number(stamp.origin), stamp.seq)
    ]
    parts: list[Any] = [
        base and [base.hlc, origin_number(base.origin), base.seq],
        [*row.cells],
        _all_written([cell.value for cell in row.cells.values()]),
        odd or None,
        row.delete and _delete_numbers(row.delete, origin_number),
    ]
    return _dumped(parts)


def decode_row(data: bytes, origin_of: OriginOf) -> Row:
    """The inverse of `encode_row`.

    Raises:
        MalformedMessageError: The blob is damaged.
    """
    parts = as_list(loaded(data, LIMITS), _ROW_PARTS)
    base, names, written, odd, delete = parts + [None, None][len(parts) - 3 :]
    values = as_list(written, _ANY_LENGTH)
    names = _names(names)
    if len(names) != len(values) or (base is None) != (not names):
        raise MalformedMessageError("a row with as many values as names was expected")
    if base is None:
        return Row({}, _delete(delete, origin_of))
    stamp = _stamps(as_list(base, _THREE), origin_of)[0]
    if odd is None:
        cells = [Cell(stamp, value) for value in _all_read(values)]
        return Row(dict(zip(names, cells, strict=True)), _delete(delete, origin_of))
    stamps = [stamp] * len(names)
    numbers = _quads(odd)
    odd_stamps = _stamps([n for at, n in enumerate(numbers) if at % 4], origin_of)
    for place, other in zip(numbers[::4], odd_stamps, strict=True):
        stamps[as_int(place, 0, len(names) - 1)] = other
    cells = list(map(Cell, stamps, _all_read(values)))
    return Row(dict(zip(names, cells, strict=True)), _delete(delete, origin_of))


def encode_cells(
    odd: Mapping[str, Stamp],
    delete: Delete | None,
    origin_number: OriginNumber,
    absent: Sequence[str] = (),
) -> bytes:
    """What a row's clock holds beside its base stamp: odd stamps by column, its delete, and the
    columns that it has no cell for."""
    parts = [
        part
        for name, stamp in odd.items()
        for part in (name, stamp.hlc, origin_number(stamp.origin), stamp.seq)
    ]
    written = delete and _delete_numbers(delete, origin_number)
    return _dumped([parts or None, written, list(absent) or None])


def decode_cells(
    data: bytes, origin_of: OriginOf
) -> tuple[dict[str, Stamp], Delete | None, frozenset[str]]:
    """The inverse of `encode_cells`.

    Raises:
        MalformedMessageError: The blob is damaged.
    """
    parts = as_list(loaded(data, LIMITS), range(4))
    odd, delete, absent = parts + [None, None, None][len(parts) :]
    quads = _quads(odd)
    names = _names(quads[::4])
    stamps = _stamps([part for at, part in enumerate(quads) if at % 4], origin_of)
    missing = frozenset(_names(absent) if absent is not None else ())
    return dict(zip(names, stamps, strict=True)), _delete(delete, origin_of), missing


def _dumped(parts: list[Any]) -> bytes:
    while parts and parts[-1] is None:
        parts.pop()
    return dumped(parts)


def _all_written(values: list[Value]) -> list[Any]:
    if _exact(values):
        return values
    return [_written(value) for value in values]


def _all_read(values: list[Any]) -> list[Any]:
    if _exact(values):
        return values
    return [_read(value) for value in values]


def _exact(values: list[Any]) -> bool:
    """CBOR writes and reads these values as they are, as it does those of most rows."""
    kinds = set(map(type, values))
    if not kinds <= _SIMPLE:
        return False
    if int not in kinds:
        return True
    return all(INT64_MIN <= value <= UINT64_MAX for value in values if type(value) is int)


def _written(value: Value) -> Any:
    if isinstance(value, Reference):
        return [value.table, value.key]
    if isinstance(value, float):
        return value if value == value else [struct.pack("<d", value)]
    if type(value) is int:
        if not INT64_MIN <= value <= UINT64_MAX:
            raise ValueError(f"integers of 64 bits only, not {value}")
    elif type(value) not in _SIMPLE:
        raise TypeError(f"a cell cannot hold a {type(value).__name__}")
    return value


def _read(value: Any) -> Value:
    kind = type(value)
    if kind is str or kind is bytes or kind is float or value is None:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return as_int(value, INT64_MIN, UINT64_MAX)
    parts = as_list(value, range(1, 3))
    if len(parts) == 1:
        number: float = struct.unpack("<d", as_bytes(parts[0], 8))[0]
        return number
    table, key = parts
    return Reference(as_name(table, LIMITS.name_length), RowKey(as_bytes(key, ROW_KEY_BYTES)))


def _names(names: Any) -> list[str]:
    listed = as_list(names, _ANY_LENGTH)
    if set(map(type, listed)) - {str} or len(set(listed)) != len(listed) or "" in listed:
        raise MalformedMessageError("expected the names of columns, each once")
    return listed


def _quads(odd: Any) -> list[Any]:
    if odd is None:
        return []
    quads = as_list(odd, _ANY_LENGTH)
    if not quads or len(quads) % 4:
        raise MalformedMessageError("expected four parts for each odd stamp")
    return quads


def _stamps(numbers: list[Any], origin_of: OriginOf) -> list[Stamp]:
    """Stamps from three numbers each."""
    return [
        Stamp(
            as_int(numbers[at], 0, HLC_MAX),
            origin_of(as_int(numbers[at + 1], 0, INT64_MAX)),
            as_int(numbers[at + 2], 0, INT64_MAX),
        )
        for at in range(0, len(numbers), 3)
    ]


def _delete_numbers(delete: Delete, origin_number: OriginNumber) -> list[int]:
    numbers = [len(delete.stamps)]
    for stamp in delete.stamps:
        number = origin_number(stamp.origin)
        numbers += (stamp.hlc, -1 - number if stamp in delete.wins else number, stamp.seq)
    for origin, seq in delete.seen.items():
        numbers += (origin_number(origin), seq)
    return numbers


def _delete(numbers: Any, origin_of: OriginOf) -> Delete | None:
    if numbers is None:
        return None
    listed = as_list(numbers, range(1, 1 << 32))
    seen_at = 1 + 3 * as_int(listed[0], 1, len(listed))
    if seen_at > len(listed) or (len(listed) - seen_at) % 2:
        raise MalformedMessageError("expected three numbers a stamp and two for what it saw")
    seen = {
        origin_of(as_int(listed[at], 0, INT64_MAX)): as_int(listed[at + 1], 0, INT64_MAX)
        for at in range(seen_at, len(listed), 2)
    }
    marks = [as_int(listed[at], -1 - INT64_MAX, INT64_MAX) < 0 for at in range(2, seen_at, 3)]
    for at, wins in zip(range(2, seen_at, 3), marks, strict=True):
        if wins:
            listed[at] = -1 - listed[at]
    stamps = tuple(_stamps(listed[1:seen_at], origin_of))
    return Delete(stamps, seen, frozenset(s for s, w in zip(stamps, marks, strict=True) if w))
