"""Columns: many values of one kind in few bytes, exactly.

A column is an integer list, or a value column: the values of one column of a block. The encoder
looks at all values and picks the form; the decoder restores each value bit by bit and type by
type (1 is not 1.0 is not "1"). All work on whole columns runs in C: types through `set(map(type,
...))`, numbers through `struct`, and UUIDs by slices with a stride over all rows at once.

The forms and their numbers are the wire format; see protocol/README.md.
"""

import struct
from collections.abc import Callable, Sequence
from datetime import date
from itertools import compress
from typing import Any

from syncproto.errors import MalformedMessageError
from syncproto.frames import Pieces, as_bytes, as_int, as_list
from syncproto.identity import ROW_KEY_BYTES
from syncproto.integers import ints, list_of, packed_ints, split_keys
from syncproto.limits import LIMITS, within

Plain = None | int | float | str | bytes

INTS, FLOATS, TEXTS, BLOBS, KEYS, CHOICES = 0, 1, 2, 3, 4, 5
OWN_KEY, UUIDS, DAYS, SECONDS, PLANES, NULLABLE, MIXED = 6, 7, 8, 9, 10, 11, 12

# The marks of a mixed column: one byte for each value.
_MARK_NULL, _MARK_INT, _MARK_FLOAT, _MARK_TEXT, _MARK_BLOB = 0, 1, 2, 3, 4
_MARK_LARGE_TEXT, _MARK_LARGE_BLOB = 5, 6
_MARKS = {type(None): 0, int: 1, float: 2, str: 3, bytes: 4}

LARGE_BYTES = 16 << 10  # longer values get a piece of their own; a dozen still fit one item
CHOICES_MAX = 255  # of a column's values, so that a choice is one byte

# Texts of one length (dates above all) are cut into planes, the first characters of all rows,
# then the second ones: slices with a stride, which zstd then packs as tightly as numbers. Under
# 64 rows it has too little to go by, and numbers are smaller.
PLANES_ROWS_MIN = 64
PLANES_LENGTH_MAX = 64

_SCALES = (1, 10, 100, 1000, 10_000)
_SCALED_MAX = float(1 << 53)
_DIGITS = bytes.maketrans(b"\0\1", b"01")

_DAY_SECONDS = 86_400
_DAYS_MAX = date.max.toordinal()
_DAYS_CACHED = 40_000  # a century of days
_MINUTE_TEXTS = [f" {hour:02}:{minute:02}" for hour in range(24) for minute in range(60)]
_SECOND_TEXTS = [f":{second:02}" for second in range(60)]
_MINUTES = {text: 60 * number for number, text in enumerate(_MINUTE_TEXTS)}
_SECONDS = {text: number for number, text in enumerate(_SECOND_TEXTS)}

# Where the 32 digits of a UUID stand in its text of 36.
_DIGIT_PLACES = [place for place in range(36) if place not in (8, 13, 18, 23)]


class KeyPool:
    """The row keys that a chunk has named so far, numbered from 1 in the order of naming.

    A reference to one of them costs its number instead of 16 bytes. Both sides keep the list
    alike; only the encoder looks keys up, and builds the index once there is a reference.
    """

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._indexed = 0

    def placed(self, keys: Sequence[bytes]) -> tuple[list[int], list[bytes]]:
        """The number of each key, 0 for one not named before; and those, now named."""
        start = len(self.keys)
        if self._indexed < start:
            news = self.keys[self._indexed :]
            self._numbers.update(zip(news, range(self._indexed + 1, start + 1), strict=True))
        numbers = self._numbers
        places = []
        for key in keys:
            number = numbers.get(key, 0)
            if not number:
                self.keys.append(key)
                numbers[key] = len(self.keys)
            places.append(number)
        self._indexed = len(self.keys)
        return places, self.keys[start:]

    def cut(self, length: int) -> None:
        """Forget all but the first `length` keys."""
        del self.keys[length:]
        if self._indexed > length:
            self._numbers, self._indexed = {}, 0


class ColumnWriter:
    """Value columns to CBOR values. `large` gathers the values that need their own pieces."""

    def __init__(self, pool: KeyPool, *, large_bytes: int = LARGE_BYTES) -> None:
        self._pool = pool
        self._large_bytes = large_bytes
        self.large: list[bytes] = []

    def column(self, values: Sequence[Plain], keys: Sequence[bytes], *, references: bool) -> Any:
        """
        Args:
            values: The column; with `references`, row keys and None only.
            keys: The key of the row of each value.
            references: The column holds references.

        Raises:
            TypeError, ValueError: A value that no cell can hold.
        """
        kinds = set(map(type, values))
        if kinds == {type(None)} or not kinds:
            return None
        if len(kinds) == 2 and type(None) in kinds:
            present = bytes([value is not None for value in values])
            bitmap = int(present.translate(_DIGITS), 2).to_bytes((len(values) + 7) // 8, "big")
            kinds.discard(type(None))
            inner, inner_keys = list(compress(values, present)), list(compress(keys, present))
            large_before = len(self.large)
            column = self._typed(kinds.pop(), inner, inner_keys, references)
            if column[0] != MIXED:
                return [NULLABLE, bitmap, column]
            del self.large[large_before:]
        elif len(kinds) == 1:
            return self._typed(kinds.pop(), values, keys, references)
        return self._mixed(values)

    def _typed(
        self, kind: type, values: Sequence[Any], keys: Sequence[bytes], references: bool
    ) -> list[Any]:
        if references:
            return self._references(kind, values)
        if kind is int:
            return [INTS, packed_ints(values)]
        if kind is float:
            return [FLOATS, _packed_floats(values)]
        if kind is str:
            return self._texts(values, keys)
        if kind is bytes:
            return self._blobs(values)
        raise TypeError(f"a cell cannot hold a {kind.__name__}")

    def _texts(self, values: Sequence[str], keys: Sequence[bytes]) -> list[Any]:
        lengths = set(map(len, values))
        if max(lengths) > self._large_bytes:
            return self._mixed(values)
        if len(lengths) == 1:
            length = lengths.pop()
            if len(values) >= PLANES_ROWS_MIN and length not in (0, 36):
                return _chosen(values) or _planes(length, values) or [TEXTS, list(values)]
            column = _regular_texts(length, values, keys)
            if column is not None:
                return column
        return _chosen(values) or [TEXTS, list(values)]

    def _blobs(self, values: Sequence[bytes]) -> list[Any]:
        if max(map(len, values)) > self._large_bytes:
            return self._mixed(values)
        return _chosen(values) or [BLOBS, list(values)]

    def _references(self, kind: type, keys: Sequence[bytes]) -> list[Any]:
        if kind is not bytes or set(map(len, keys)) != {ROW_KEY_BYTES}:
            raise TypeError("a column of references holds row keys only")
        places, news = self._pool.placed(keys)
        return [KEYS, b"".join(news), packed_ints(places)]

    def _mixed(self, values: Sequence[Plain]) -> list[Any]:
        marks = bytes(map(self._mark, values))
        column: list[Any] = [MIXED, marks]
        for mark, kind in ((_MARK_INT, int), (_MARK_FLOAT, float)):
            if mark in marks:
                column.append(self._typed(kind, _marked(values, marks, mark), (), False)[1])
        for mark in (_MARK_TEXT, _MARK_BLOB):
            if mark in marks:
                column.append(_marked(values, marks, mark))
        for value, mark in zip(values, marks, strict=True):
            if mark >= _MARK_LARGE_TEXT:
                assert isinstance(value, str | bytes)
                large = value.encode() if isinstance(value, str) else value
                within(len(large), LIMITS.value_bytes, "bytes in a value")
                self.large.append(large)
        return column

    def _mark(self, value: Plain) -> int:
        mark = _MARKS.get(type(value))
        if mark is None:
            raise TypeError(f"a cell cannot hold a {type(value).__name__}")
        if isinstance(value, str | bytes) and len(value) > self._large_bytes:
            return mark + _MARK_LARGE_TEXT - _MARK_TEXT
        return mark


class ColumnReader:
    """The inverse of `ColumnWriter`; large values are read by `restore_large` afterwards."""

    def __init__(self, pool: KeyPool, pieces: Pieces) -> None:
        self._pool = pool
        self._pieces = pieces
        self._large: list[tuple[list[Any], int, int]] = []

    def column(self, column: Any, keys: Sequence[bytes], *, references: bool) -> list[Any]:
        """The values, one for each key.

        Raises:
            MalformedMessageError: They are not that many, or not of the form that they claim.
        """
        if column is None:
            return [None] * len(keys)
        form = as_int(as_list(column, range(1, 8))[0], INTS, MIXED)
        if form == NULLABLE:
            return self._nullable(column, keys, references)
        if form == MIXED and not references:
            return self._mixed(column, len(keys))
        return self._typed(form, column, keys, references)

    def restore_large(self) -> None:
        """Put the large values, which follow their item, where they belong."""
        for values, index, mark in self._large:
            value = self._pieces.large_value()
            try:
                values[index] = value.decode() if mark == _MARK_LARGE_TEXT else value
            except UnicodeDecodeError as error:
                raise MalformedMessageError("a text is not UTF-8") from error
        self._large.clear()

    def _nullable(self, column: list[Any], keys: Sequence[bytes], references: bool) -> list[Any]:
        _, bitmap, inner = as_list(column, range(3, 4))
        count = len(keys)
        bits = int.from_bytes(as_bytes(bitmap, (count + 7) // 8), "big")
        if bits >> count:
            raise MalformedMessageError("a bitmap has more bits than its block has rows")
        present = [digit == "1" for digit in bin(bits | 1 << count)[3:]]
        form = as_int(as_list(inner, range(1, 4))[0], INTS, PLANES)
        found = iter(self._typed(form, inner, list(compress(keys, present)), references))
        return [next(found) if there else None for there in present]

    def _typed(
        self, form: int, column: list[Any], keys: Sequence[bytes], references: bool
    ) -> list[Any]:
        if references != (form == KEYS):
            raise MalformedMessageError("references and other values do not mix in a column")
        if form == KEYS:
            return self._references(column, len(keys))
        if form == CHOICES:
            _, part, numbers = as_list(column, range(3, 4))
            choices = _choices(part, CHOICES_MAX)
            places = ints(numbers, len(keys), 0, len(choices) - 1)
            return [choices[place] for place in places]
        if form == OWN_KEY:
            as_list(column, range(1, 2))
            return _uuid_texts(b"".join(keys))
        return _READERS[form](as_list(column, range(2, 3))[1], len(keys))

    def _references(self, column: list[Any], count: int) -> list[bytes]:
        _, joined, numbers = as_list(column, range(3, 4))
        named = self._pool.keys
        places = ints(numbers, count, 0)
        start = len(named)
        named += split_keys(joined, places.count(0))
        if max(places, default=0) > len(named):
            raise MalformedMessageError("a reference to a key that was not named")
        fresh = iter(range(start, len(named)))
        return [named[place - 1] if place else named[next(fresh)] for place in places]

    def _mixed(self, column: list[Any], count: int) -> list[Any]:
        marks = as_bytes(as_list(column, range(2, 8))[1], count)
        if marks.translate(None, bytes(range(_MARK_LARGE_BLOB + 1))):
            raise MalformedMessageError("a mark that no kind of value has")
        parts = iter(column[2:])
        sources: dict[int, Any] = {}
        for mark in (_MARK_INT, _MARK_FLOAT, _MARK_TEXT, _MARK_BLOB):
            if mark in marks:
                part = next(parts, None)
                sources[mark] = iter(_READERS[mark - _MARK_INT](part, marks.count(mark)))
        if next(parts, None) is not None:
            raise MalformedMessageError("a mixed column with a part that no value uses")
        values = [next(sources[mark]) if mark in sources else None for mark in marks]
        for index, mark in enumerate(marks):
            if mark >= _MARK_LARGE_TEXT:
                self._large.append((values, index, mark))
        return values


def _packed_floats(values: Sequence[float]) -> Any:
    """Doubles as they are, or as integers over a power of ten where that restores each bit."""
    packed = struct.pack(f"<{len(values)}d", *values)
    for scale in _SCALES:
        if all(_scales(value, scale) for value in values[:8]):
            try:
                numbers = [round(value * scale) for value in values]
            except (OverflowError, ValueError):  # infinite, or not a number
                return packed
            if max(map(abs, numbers)) > _SCALED_MAX:
                return packed
            if struct.pack(f"<{len(values)}d", *[n / scale for n in numbers]) == packed:
                return [scale, packed_ints(numbers)]
    return packed


def _scales(value: float, scale: int) -> bool:
    return abs(value) * scale < _SCALED_MAX and round(value * scale) / scale == value


def _floats(part: Any, count: int) -> list[float]:
    if type(part) is bytes:
        return list(struct.unpack(f"<{count}d", as_bytes(part, 8 * count)))
    scale, numbers = as_list(part, range(2, 3))
    if type(scale) is not int or scale not in _SCALES:
        raise MalformedMessageError("no scale of decimal numbers")
    return [number / scale for number in ints(numbers, count)]


def _texts(part: Any, count: int) -> list[str]:
    return list_of((str,), part, count)


def _blobs(part: Any, count: int) -> list[bytes]:
    return list_of((bytes,), part, count)


def _chosen(values: Sequence[str] | Sequence[bytes]) -> list[Any] | None:
    """The column as choices among few values, if it has few."""
    choices = list(dict.fromkeys(values))
    if len(choices) > CHOICES_MAX or 2 * len(choices) > len(values):
        return None
    numbers = {choice: number for number, choice in enumerate(choices)}
    places = packed_ints([numbers[value] for value in values])
    return [CHOICES, _regular_choices(choices) or choices, places]


def _regular_choices(choices: Sequence[Any]) -> list[Any] | None:
    """The choices as a column of their own, where that is smaller: times, above all."""
    first = choices[0]
    if type(first) is not str or any(len(choice) != len(first) for choice in choices[1:]):
        return None
    column = _regular_texts(len(first), choices, ())
    return [*column, len(choices)] if column is not None else None


def _choices(part: Any, count_max: int) -> list[Any]:
    """The inverse: a list of values, or a column that is known by the number it begins with."""
    if type(part) is list and part and type(part[0]) is int:
        form, inner, count = as_list(part, range(3, 4))
        if form not in (UUIDS, DAYS, SECONDS):
            raise MalformedMessageError("choices of a form that has no choices")
        return _READERS[form](inner, as_int(count, 1, count_max))
    return list_of((str, bytes), part, len(as_list(part, range(1, count_max + 1))))


def _marked(values: Sequence[Any], marks: bytes, mark: int) -> list[Any]:
    return [value for value, its in zip(values, marks, strict=True) if its == mark]


def _regular_texts(length: int, values: Sequence[str], keys: Sequence[bytes]) -> list[Any] | None:
    """Texts of one length as UUIDs, days or seconds, if all of them are that exactly."""
    if length == 36:
        packed = _packed_uuids(values)
        if packed is None:
            return None
        return [OWN_KEY] if packed == b"".join(keys) else [UUIDS, packed]
    try:
        if length == 10:
            return [DAYS, packed_ints([_DAYS[text] for text in values])]
        if length == 19:
            return [SECONDS, packed_ints(_second_numbers(values))]
    except (KeyError, ValueError):
        return None
    return None


def _planes(length: int, texts: Sequence[str]) -> list[Any] | None:
    """ASCII texts of one length as planes; None for others."""
    joined = "".join(texts)
    if length > PLANES_LENGTH_MAX or not joined.isascii():
        return None
    data = joined.encode()
    return [PLANES, b"".join([data[place::length] for place in range(length)])]


def _planed(part: Any, count: int) -> list[str]:
    planes: bytes = part if type(part) is bytes else b""
    length = len(planes) // max(count, 1)
    if length * count != len(planes) or not 1 <= length <= PLANES_LENGTH_MAX:
        raise MalformedMessageError("planes that do not fit the number of rows")
    if not planes.isascii():
        raise MalformedMessageError("planes hold ASCII only")
    joined = bytearray(len(planes))
    for place in range(length):
        joined[place::length] = planes[place * count : (place + 1) * count]
    text = joined.decode("ascii")
    return [text[start : start + length] for start in range(0, len(text), length)]


def _packed_uuids(texts: Sequence[str]) -> bytes | None:
    """Canonical UUID texts of 36 characters as 16 bytes each; None if one is not canonical."""
    joined = "".join(texts)
    dashes = "-" * len(texts)
    if any(joined[place::36] != dashes for place in (8, 13, 18, 23)):
        return None
    digits = joined.replace("-", "")
    if len(digits) != 32 * len(texts):
        return None
    try:
        packed = bytes.fromhex(digits)
    except ValueError:
        return None
    return packed if packed.hex() == digits else None  # capitals and blanks are not canonical


def _uuid_texts(packed: bytes) -> list[str]:
    """The texts of joined keys (`uuid_text` of each): digit by digit, for all rows at once."""
    digits = packed.hex().encode()
    joined = bytearray(b"-") * (len(packed) // 16 * 36)
    for number, place in enumerate(_DIGIT_PLACES):
        joined[place::36] = digits[number::32]
    text = joined.decode("ascii")
    return [text[start : start + 36] for start in range(0, len(text), 36)]


def _uuids(part: Any, count: int) -> list[str]:
    return _uuid_texts(as_bytes(part, 16 * count))


class _DayNumbers(dict[str, int]):
    """Day numbers by canonical text: `KeyError` or `ValueError` for any other text."""

    def __missing__(self, text: str) -> int:
        day = date.fromisoformat(text)
        if day.isoformat() != text:  # fromisoformat takes "20150102" and "2015-W01-5" too
            raise KeyError(text)
        if len(self) >= _DAYS_CACHED:
            self.clear()
        self[text] = number = day.toordinal()
        return number


class _DayTexts(dict[int, str]):
    """The inverse of `_DayNumbers`, for numbers in range."""

    def __missing__(self, number: int) -> str:
        if len(self) >= _DAYS_CACHED:
            self.clear()
        self[number] = text = date.fromordinal(number).isoformat()
        return text


_DAYS = _DayNumbers()
_DAY_TEXTS = _DayTexts()


def _second_numbers(texts: Sequence[str]) -> list[int]:
    days, minutes, seconds = _DAYS, _MINUTES, _SECONDS
    return [days[text[:10]] * 86_400 + minutes[text[10:16]] + seconds[text[16:]] for text in texts]


def _days(part: Any, count: int) -> list[str]:
    return [_DAY_TEXTS[number] for number in ints(part, count, 1, _DAYS_MAX)]


def _seconds(part: Any, count: int) -> list[str]:
    numbers = ints(part, count, _DAY_SECONDS, (_DAYS_MAX + 1) * _DAY_SECONDS - 1)
    days, minutes, seconds = _DAY_TEXTS, _MINUTE_TEXTS, _SECOND_TEXTS
    return [
        f"{days[number // 86_400]}{minutes[number // 60 % 1_440]}{seconds[number % 60]}"
        for number in numbers
    ]


_READERS: dict[int, Callable[[Any, int], list[Any]]] = {
    INTS: ints,
    FLOATS: _floats,
    TEXTS: _texts,
    BLOBS: _blobs,
    UUIDS: _uuids,
    DAYS: _days,
    SECONDS: _seconds,
    PLANES: _planed,
}
