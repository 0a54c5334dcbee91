"""Values of PostgreSQL to the wire and back; what a column cannot hold exactly is `Unfit`.

| type | travels as |
|---|---|
| boolean | 0 or 1, as a TINYINT(1) or BIT(1) of MariaDB does |
| smallint, integer, bigint; bit(n) | integer |
| numeric | its decimals as text; NaN and Infinity as these words |
| real, double precision | number; NaN as that word, since it equals nothing, not even itself |
| text, varchar, citext, json | text, as it stands |
| char(n) | text without the blanks at its end, which PostgreSQL itself takes for nothing |
| uuid | text in lower case |
| bytea | bytes |
| date, time, timestamp | text, as MariaDB writes it; BC and infinity as PostgreSQL does |
| timestamptz | the moment in UTC, without a zone: as a TIMESTAMP of MariaDB travels |
| all others (jsonb, arrays, enums, ranges, intervals, ...) | PostgreSQL's own text of the value |

A text for one of the last is compared with what PostgreSQL makes of it, by a function beside the
triggers (`capture/postgresql.py`): jsonb orders the keys of an object, drops blanks and doubled
keys, so a document that was written otherwise is parked there, and not quietly made another.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from syncnode.dialects.base import Unfit, check_sound
from syncnode.dialects.exact import kind_of, shortest_single, six_digits
from syncnode.store.decimals import decimals

if TYPE_CHECKING:
    from syncnode.schema.plan import ColumnPlan, TablePlan

EXACT_INTEGERS = 1 << 53  # from here on a float does not tell neighbours apart

_PLAIN_TEXT = re.compile(r"text|json|name|character varying(\(\d+\))?|(.+\.)?citext")
_DECIMAL = re.compile(r"-?(\d+\.?\d*|\.\d+)|NaN|-?Infinity")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DATE = r"\d{4,6}-\d\d-\d\d"
_CLOCK = r"\d\d:\d\d:\d\d(\.(?P<fraction>\d+))?"
_MOMENTS = {
    "date": re.compile(rf"{_DATE}( BC)?|-?infinity"),
    "time": re.compile(_CLOCK),
    "datetime": re.compile(rf"{_DATE} {_CLOCK}( BC)?|-?infinity"),
}


def is_boolean(column: "ColumnPlan") -> bool:
    return column.declared == "boolean"


def is_padded(column: "ColumnPlan") -> bool:
    return (
        column.declared == "bpchar"
        or re.fullmatch(r"character(\(\d+\))?", column.declared) is not None
    )


def has_zone(column: "ColumnPlan") -> bool:
    return column.kind == "datetime" and column.declared.endswith("with time zone")


def is_odd(column: "ColumnPlan") -> bool:
    """A type that only PostgreSQL can read and write; it travels as its text."""
    return (
        column.kind == "text"
        and not is_padded(column)
        and column.declared != "uuid"
        and not _PLAIN_TEXT.fullmatch(column.declared)
    )


def exact_function(table: "TablePlan", column: "ColumnPlan") -> str:
    """The function that makes a value of a text for such a column, or refuses the text."""
    return f"syncnode_exact_{table.number}_{table.columns.index(column)}"


def to_wire(column: "ColumnPlan") -> Callable[[Any], Any] | None:
    """See `Dialect.to_wire`."""
    if is_boolean(column):
        return int
    if column.kind == "bit":
        return _bits_number
    if column.kind in ("float", "single"):
        return _number_or_word
    if has_zone(column):
        return _without_zone
    if column.kind in ("time", "datetime") and column.fraction:
        return six_digits
    return None


def _bits_number(value: Any) -> int:
    return int(value, 2)


def _number_or_word(value: Any) -> Any:
    return value if value == value else "NaN"


def _without_zone(value: str) -> str:
    era = " BC" if value.endswith(" BC") else ""
    return f"{six_digits(value.removesuffix(' BC').removesuffix('+00'))}{era}"


class Fitting:
    """A wire value as the column takes it, or `Unfit`: the server rounds some in silence."""

    def __init__(self, column: "ColumnPlan") -> None:
        self._column = column
        self._check: Callable[[Any], Any] = getattr(self, f"_{column.kind}")

    def __call__(self, value: Any) -> Any:
        if value is None:
            return None
        check_sound(value)
        return self._check(value)

    def _integer(self, value: Any) -> Any:
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if not isinstance(value, int):
            raise Unfit(f"the column takes integers, not {kind_of(value)}")
        return value

    _unsigned = _integer

    def _bit(self, value: Any) -> Any:
        number, size = self._integer(value), self._column.size or 1
        if not 0 <= number < 1 << size:
            raise Unfit(f"the column takes numbers of {size} bits, from 0 to {(1 << size) - 1}")
        return bool(number) if is_boolean(self._column) else f"{number:0{size}b}"

    def _float(self, value: Any) -> Any:
        if value == "NaN":
            return float("nan")
        if not isinstance(value, int | float):
            raise Unfit(f"the column takes numbers, not {kind_of(value)}")
        if abs(value) >= EXACT_INTEGERS and isinstance(value, int) and float(value) != value:
            raise Unfit("a double would round the number")
        return float(value)

    def _single(self, value: Any) -> Any:
        number = self._float(value)
        if number == number and shortest_single(number) != number:
            raise Unfit("a four-byte real would round the number")
        return number

    def _decimal(self, value: Any) -> Any:
        text = str(value)
        if isinstance(value, bytes) or not _DECIMAL.fullmatch(text):
            raise Unfit(f"the column takes decimals, not {kind_of(value)}")
        scale = self._column.scale
        if scale is not None and text[-1].isdigit():
            number = Decimal(text)
            if number and decimals(number) > scale:
                raise Unfit(f"the column keeps {scale} decimals")
        return text

    def _text(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise Unfit(f"the column takes text, not {kind_of(value)}")
        if "\0" in value:
            raise Unfit("PostgreSQL keeps no text with a zero character in it")
        if self._column.declared == "uuid":
            return self._uuid(value)
        size = self._column.size
        if size is not None and len(value) > size and not is_odd(self._column):
            # What is too long by blanks alone, the server would cut in silence.
            raise Unfit(f"the column keeps {size} characters")
        if is_padded(self._column) and value.endswith(" "):
            raise Unfit("the column would lose the blanks at the end")
        return value

    def _uuid(self, value: str) -> str:
        if not _UUID.fullmatch(value):
            raise Unfit("the column takes UUIDs of 36 characters")
        return value.lower()

    def _bytes(self, value: Any) -> Any:
        if not isinstance(value, bytes):
            raise Unfit(f"the column takes bytes, not {kind_of(value)}")
        return value

    def _datetime(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise Unfit(f"the column takes dates or times, not {kind_of(value)}")
        # The server would read much more: 'tomorrow', 'Jan 8', a zone that it then forgets.
        found = _MOMENTS[self._column.kind].fullmatch(value)
        if not found:
            raise Unfit(f"the column takes a {self._column.kind} written as {self._example}")
        kept = self._column.fraction or 0
        if len((found.groupdict().get("fraction") or "").rstrip("0")) > kept:
            raise Unfit(f"the column keeps {kept} digits of a second")
        if not has_zone(self._column) or value.endswith("infinity"):
            return value
        era = " BC" if value.endswith(" BC") else ""
        return f"{value.removesuffix(' BC')}+00{era}"

    @property
    def _example(self) -> str:
        zone = ", in UTC and without a zone" if has_zone(self._column) else ""
        return {"date": "2026-02-28", "time": "23:59:59"}.get(
            self._column.kind, "2026-02-28 23:59:59"
        ) + zone

    _date = _time = _datetime
