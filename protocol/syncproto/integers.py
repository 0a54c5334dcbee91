"""Integer lists: plain, over a base, or as steps, whichever is smaller.

Lengths, row numbers, stamps and integer columns all travel this way; see "Integer lists" in
protocol/README.md.
"""

import struct
from collections.abc import Sequence
from itertools import accumulate, chain
from operator import sub
from typing import Any

from syncproto.errors import MalformedMessageError
from syncproto.frames import INT64_MIN, UINT64_MAX, as_bytes, as_int, as_list
from syncproto.identity import ROW_KEY_BYTES

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_WIDTHS_MAX = {width: (1 << 8 * width) - 1 for width in _CODES}


def packed_ints(numbers: Sequence[int]) -> Any:
    """Integers of 64 bits (signed or unsigned) as a CBOR value.

    Raises:
        ValueError: A number that has more bits.
    """
    if not numbers:
        return 0
    low, high = min(numbers), max(numbers)
    if low < INT64_MIN or high > UINT64_MAX:
        raise ValueError(f"integers of 64 bits only, not {low} to {high}")
    if low == high:
        return low
    width = _width(high - low)
    if width is None:
        return [list(numbers)]
    if width > 1 and len(numbers) > 2:
        steps = list(map(sub, numbers[1:], numbers))
        step_low, step_high = min(steps), max(steps)
        step_width = 0 if step_low == step_high else _width(step_high - step_low)
        if step_width is not None and step_width < width and step_low >= INT64_MIN:
            step_base, packed = _packed(steps, step_width, step_low, step_high)
            return [step_width, step_base, packed, numbers[0]]
    base, packed = _packed(numbers, width, low, high)
    return [width, base, packed]


def ints(column: Any, count: int, low: int = INT64_MIN, high: int = UINT64_MAX) -> list[int]:
    """The inverse of `packed_ints`: `count` integers from `low` to `high`.

    The caller has checked `count` against its limit; a constant makes any number of them.

    Raises:
        MalformedMessageError: They are not that many, or not in that range.
    """
    if count == 0:
        return [0] * as_int(column, 0, 0)
    if type(column) is int:
        return [as_int(column, low, high)] * count
    if type(column) is list and len(column) == 1:
        return _ranged(list_of((int,), column[0], count), low, high)
    as_list(column, range(3, 5))
    delta = len(column) == 4
    width = as_int(column[0], 0 if delta else 1, 8)
    base = as_int(column[1], INT64_MIN, UINT64_MAX)
    steps = count - 1 if delta else count
    if steps < 1 or width not in (0, 1, 2, 4, 8):
        raise MalformedMessageError("no form of an integer list")
    packed = as_bytes(column[2], width * steps)
    if width == 0:
        numbers = [base] * steps
    else:
        numbers = list(struct.unpack(f"<{steps}{_CODES[width]}", packed))
        if base:
            numbers = [number + base for number in numbers]
        elif not delta and low <= 0 and high == UINT64_MAX:
            return numbers
    if delta:
        first = as_int(column[3], INT64_MIN, UINT64_MAX)
        numbers = list(accumulate(chain((first,), numbers)))
    return _ranged(numbers, low, high)


def split_keys(joined: Any, count: int) -> list[bytes]:
    """Row keys that were joined to one byte string."""
    as_bytes(joined, ROW_KEY_BYTES * count)
    ends = range(ROW_KEY_BYTES, len(joined) + 1, ROW_KEY_BYTES)
    return [joined[end - ROW_KEY_BYTES : end] for end in ends]


def _width(span: int) -> int | None:
    """Bytes of an unsigned integer up to `span`; None if it takes more than eight."""
    for width, width_max in _WIDTHS_MAX.items():
        if span <= width_max:
            return width
    return None


def _packed(numbers: Sequence[int], width: int, low: int, high: int) -> tuple[int, bytes]:
    """A base and the numbers above it, little-endian."""
    if width == 0:
        return low, b""
    base = 0 if low >= 0 and high <= _WIDTHS_MAX[width] else low
    if base:
        numbers = [number - base for number in numbers]
    return base, struct.pack(f"<{len(numbers)}{_CODES[width]}", *numbers)


def _ranged(numbers: list[int], low: int, high: int) -> list[int]:
    if numbers and not (low <= min(numbers) and max(numbers) <= high):
        raise MalformedMessageError(f"expected integers from {low} to {high}")
    return numbers


def list_of(kinds: tuple[type, ...], part: Any, count: int) -> list[Any]:
    """`part`, if it is a list of `count` values, all of one of these types."""
    if type(part) is not list or len(part) != count:
        raise MalformedMessageError(f"expected a list of {count} values")
    found = set(map(type, part))
    if len(found) > 1 or not found.issubset(kinds):
        raise MalformedMessageError("a value is not of the type of its column")
    return part
