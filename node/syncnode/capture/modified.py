"""Stamps of rows that are older than syncnode: when the application says it last changed them.

Two databases that were filled before they met have no common history; of two values of one cell
the one in the row that was changed later should stand. Applications mostly write down when they
changed a row, and that time becomes its stamp where the plan names the columns
(`TablePlan.modified`).

Times without a zone are taken as UTC at every site. In an application that writes local time they
are ahead or behind by its distance from UTC, alike at all sites of one zone. None is later than the
moment at which the row gets its stamp, so that whatever is written after that wins over it.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from syncnode.schema.plan import TablePlan
from syncproto.clock import BASELINE_HLC, hlc_at

_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_MS = 86_400_000
DAYS_CACHED = 40_000  # a century

Stamper = Callable[[Sequence[Any]], int]
"""The reading for a row, by its values."""


def stamper(plan: TablePlan, columns: Sequence[str], *, now_ms: int) -> Stamper | None:
    """Stamps for the rows of a table, with values in the order of `columns`; None where the table
    says nothing of times: then a row has the stamp below every real one."""
    places = tuple(columns.index(name) for name in plan.modified if name in columns)
    if not places:
        return None
    latest = hlc_at(now_ms)

    def stamp(values: Sequence[Any]) -> int:
        return min(stated([values[place] for place in places]), latest)

    return stamp


def stated(times: Iterable[object]) -> int:
    """The reading that these times say of a row, the surest first: of the first that is not
    NULL; below every real one if that is none."""
    for time in times:
        if time is not None:
            ms = milliseconds_of(time)
            return hlc_at(ms) if ms is not None and ms > 0 else BASELINE_HLC
    return BASELINE_HLC


def milliseconds_of(value: object) -> int | None:
    """Milliseconds since 1970 of a date or time as it travels; None for what is none, such as
    0000-00-00."""
    if not isinstance(value, str):
        return None
    try:
        day = _day_ms(value[:10])
        if len(value) == 10:
            return day
        if len(value) == 19 and value[13] == value[16] == ":" and value[10] in " T":
            hour, minute, second = int(value[11:13]), int(value[14:16]), int(value[17:])
            if hour < 24 and minute < 60 and second < 60:
                return day + (hour * 3_600 + minute * 60 + second) * 1_000
            return None
        moment = datetime.fromisoformat(value)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=DAYS_CACHED)
def _day_ms(text: str) -> int:
    if len(text) != 10 or text[4] != "-" or text[7] != "-":
        raise ValueError(text)
    return (date(int(text[:4]), int(text[5:7]), int(text[8:])).toordinal() - _EPOCH_DAY) * _DAY_MS
