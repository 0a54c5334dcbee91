"""Whether the values of a column are all such as it takes them: asked of many at once.

`Dialect.from_wire` looks at one value, and for bulk that costs more than the row. What is said
here follows from the same rules: a column is plain if that function would leave each value as it
is. In doubt it is not, and each value is looked at.
"""

import re
from collections.abc import Callable, Sequence
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any

from syncnode.dialects.base import DAMAGED
from syncnode.dialects.postgresql_values import has_zone, is_odd, is_padded
from syncproto.keys import canonical_uuids

if TYPE_CHECKING:
    from syncnode.schema.plan import ColumnPlan

# One line for each value: its length, and what all lines must be.
_MOMENTS = {
    "date": (10, re.compile(r"(?:\d{4}-\d\d-\d\d\n)*+")),
    "time": (8, re.compile(r"(?:\d\d:\d\d:\d\d\n)*+")),
    "datetime": (19, re.compile(r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n)*+")),
}


def mysql_plain(column: "ColumnPlan", values: Sequence[Any]) -> bool:
    """Of what `_Fitting` of MariaDB and MySQL says."""
    kind, kinds, present = column.kind, *_present(values)
    if kind in ("integer", "unsigned", "bit"):
        return kinds <= {int}
    if kind == "float":
        return kinds <= {int, float} and all(map(isfinite, present))
    if kind == "bytes":
        return kinds <= {bytes} and not column.declared.startswith("binary")
    if kind == "text":
        return kinds <= {str} and _sound(present)
    if kind in _MOMENTS:
        return kinds <= {str} and _sound(present) and "." not in "".join(present)
    return False


def postgresql_plain(column: "ColumnPlan", values: Sequence[Any]) -> bool:
    """Of what `Fitting` of PostgreSQL says."""
    kind, kinds, present = column.kind, *_present(values)
    wanted = _POSTGRESQL.get(kind)
    if wanted is None:
        return False
    of_type, is_plain = wanted
    return kinds <= {of_type} and (is_plain is None or is_plain(column, present))


def _text(column: "ColumnPlan", present: Sequence[str]) -> bool:
    if column.declared == "uuid":
        return canonical_uuids(present) is not None
    if not present:
        return True
    joined = "".join(present)
    if DAMAGED in joined or "\0" in joined:
        return False
    if column.size is not None and not is_odd(column) and max(map(len, present)) > column.size:
        return False
    return not is_padded(column) or " " not in joined


def _moment(column: "ColumnPlan", present: Sequence[str]) -> bool:
    if has_zone(column):
        return False
    length, pattern = _MOMENTS[column.kind]
    lines = "".join([f"{text}\n" for text in present])
    return set(map(len, present)) <= {length} and pattern.fullmatch(lines) is not None


# By kind of column the type that its values have on the wire, and what else must hold.
_POSTGRESQL: dict[str, tuple[type, Callable[["ColumnPlan", Sequence[Any]], bool] | None]] = {
    "integer": (int, None),
    "unsigned": (int, None),
    "float": (float, None),
    "bytes": (bytes, None),
    "text": (str, _text),
    "date": (str, _moment),
    "time": (str, _moment),
    "datetime": (str, _moment),
}


def _present(values: Sequence[Any]) -> tuple[set[type], Sequence[Any]]:
    """The types of the values that are there, and these."""
    kinds = set(map(type, values))
    if NoneType not in kinds:
        return kinds, values
    kinds.discard(NoneType)
    return kinds, [value for value in values if value is not None]


def _sound(texts: Sequence[str]) -> bool:
    return DAMAGED not in "".join(texts)
