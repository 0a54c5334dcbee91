"""Many rows as one text for a server, made column by column.

A driver looks at each value by itself, and that costs more than the rows cost the server. In bulk
the values of a column mostly have one type, so each column is written at once: as the lines of
PostgreSQL's COPY, or as the VALUES of an INSERT into MariaDB or MySQL.

A value of any other type than those named here, and a very long one, is left to the driver.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from types import NoneType
from typing import Any

BULK_ROWS_MIN = 16  # below, the driver's own way costs no more
STATEMENT_CHARACTERS = 1_000_000  # well under `max_allowed_packet`, as PyMySQL has it
COPY_ROWS = 2_000  # as one piece of text
VALUE_LENGTH_MAX = 1 << 16  # bytes are twice as long as hexadecimal digits

Texts = list[str]
Forms = Mapping[type, Callable[[Sequence[Any]], Texts]]
"""By type what makes texts of values."""

_COPY_SPECIAL = re.compile(r"[\\\n\r\t\x08\x0b\x0c]")
_COPY_ESCAPED = str.maketrans(
    {"\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\b": r"\b", "\v": r"\v", "\f": r"\f"}
)
_SQL_SPECIAL = re.compile(r"[\0\n\r\x1a\"'\\]")
_SQL_ESCAPED = str.maketrans(
    {"\0": r"\0", "\n": r"\n", "\r": r"\r", "\x1a": r"\Z", '"': r"\"", "'": r"\'", "\\": r"\\"}
)


def copy_texts(rows: Sequence[Sequence[Any]]) -> Iterator[str] | None:
    """The rows as text for COPY FROM STDIN, in pieces, each made when the one before it is on its
    way to the server; None if they are better left alone."""
    series = list(zip(*rows, strict=True))
    if not all(_fits(values, _COPY_FORMS) for values in series):
        return None
    return _copied(series, len(rows))


def _copied(series: Sequence[Sequence[Any]], count: int) -> Iterator[str]:
    for start in range(0, count, COPY_ROWS):
        parts = [values[start : start + COPY_ROWS] for values in series]
        columns = [_texts(part, _COPY_FORMS, "\\N") for part in parts]
        yield "\n".join(map("\t".join, zip(*columns, strict=True))) + "\n"


def values_texts(rows: Sequence[Sequence[Any]]) -> list[str] | None:
    """The rows as what follows VALUES, each text for one statement; None if they are better left
    alone. Backslashes must be escapes in the session's `sql_mode`."""
    series = list(zip(*rows, strict=True))
    if not all(_fits(values, _SQL_FORMS) for values in series):
        return None
    columns = [_texts(values, _SQL_FORMS, "NULL") for values in series]
    return list(_grouped([f"({line})" for line in map(",".join, zip(*columns, strict=True))]))


def _grouped(lines: Texts) -> Iterator[str]:
    ends = list(accumulate(map(len, lines)))
    start = size = 0
    while start < len(lines):
        end = max(bisect_right(ends, size + STATEMENT_CHARACTERS), start + 1)
        yield ",".join(lines[start:end])
        start, size = end, ends[end - 1]


def _fits(values: Sequence[Any], forms: Forms) -> bool:
    """Whether the values of a column can be made texts at once."""
    kinds = set(map(type, values)) - {NoneType}
    if not kinds <= forms.keys():
        return False
    if not kinds & _SIZED:
        return True
    return len(kinds) == 1 and max(len(value or "") for value in values) <= VALUE_LENGTH_MAX


def _texts(values: Sequence[Any], forms: Forms, null: str) -> Texts:
    """Of a column that fits, or of a part of one."""
    kinds = set(map(type, values))
    holes = NoneType in kinds
    kinds.discard(NoneType)
    if not kinds:
        return [null] * len(values)
    present = [value for value in values if value is not None] if holes else values
    texts: Iterable[str]
    if len(kinds) == 1:
        (kind,) = kinds
        texts = forms[kind](present)
    else:
        texts = (forms[type(value)]([value])[0] for value in present)
    if not holes:
        return list(texts)
    found = iter(texts)
    return [null if value is None else next(found) for value in values]


def _copied_texts(values: Sequence[str]) -> Texts:
    if _COPY_SPECIAL.search("".join(values)) is None:
        return list(values)
    return [value.translate(_COPY_ESCAPED) for value in values]


def _quoted_texts(values: Sequence[str]) -> Texts:
    if _SQL_SPECIAL.search("".join(values)) is None:
        return [f"'{value}'" for value in values]
    return [f"'{value.translate(_SQL_ESCAPED)}'" for value in values]


def _doubles(values: Sequence[float]) -> Texts:
    # Without an exponent it would be a DECIMAL.
    return [text if "e" in text else f"{text}e0" for text in map(repr, values)]


_SIZED = {str, bytes}
_COPY_FORMS: Forms = {
    int: lambda values: list(map(str, values)),
    float: lambda values: list(map(repr, values)),
    bool: lambda values: ["t" if value else "f" for value in values],
    str: _copied_texts,
    bytes: lambda values: [f"\\\\x{value.hex()}" for value in values],
}
_SQL_FORMS: Forms = {
    int: lambda values: list(map(str, values)),
    float: _doubles,
    str: _quoted_texts,
    bytes: lambda values: [f"x'{value.hex()}'" for value in values],
}
