"""Reads what scenario files have and the nodes' files have not: shares, rates, times of day,
signed durations, lists of tables, values by level.

Built on `syncnode.settings.toml_reader`: what is wrong is noted with its line, the default is
handed back and reading goes on.
"""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time
from typing import Any, TypeVar

from syncnode.settings.toml_reader import Table, duration_text, meant, parse_duration_ms, shown
from syncsim.scenario import DAY_MS

_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?) ?%")
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?) ?(bit|kbit|Mbit|Gbit|B|kB|MB|GB)/s")
_BYTES_BY_UNIT = {
    "bit": 1 / 8,
    "kbit": 1e3 / 8,
    "Mbit": 1e6 / 8,
    "Gbit": 1e9 / 8,
    "B": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
}
_SPAN = re.compile(r"(\d{1,2}):(\d{2}) ?- ?(\d{1,2}):(\d{2})")
_MINUTE_MS = 60_000

T = TypeVar("T")


class Keys(Table):
    """A `Table` that reads more kinds of values."""

    def table(self, key: str) -> "Keys":
        return _keys(super().table(key))

    def tables(self) -> Iterator[tuple[str, "Keys"]]:
        for name, table in super().tables():
            yield name, _keys(table)

    def is_table(self, key: str) -> bool:
        return isinstance(self._values.get(key), dict)

    def list_of_tables(self, key: str) -> list["Keys"]:
        """The tables of `[[key]]`."""
        values = self._get(key)
        if values is None:
            return []
        if not isinstance(values, list):
            self.fault(key, f"must be a list of tables, each begun with [[{key}]]")
            return []
        result: list[Keys] = []
        for index, value in enumerate(values):
            if isinstance(value, dict):
                result.append(Keys(self.document, (*self.path, key, index), value))
            else:
                self.fault((key, index), f"must be a table, not {shown(value)}; write [[{key}]]")
        return result

    def one_of(self, key: str, among: tuple[str, ...], *, default: str) -> str:
        """The text at `key`, one of `among`."""
        value = self._get(key)
        if value is None:
            return default
        if value not in among:
            wrong = value if isinstance(value, str) else ""
            self.fault(key, f"{shown(value)} is none of them; {meant(wrong, among)}")
            return default
        return str(value)

    def flag(self, key: str, *, default: bool) -> bool:
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fault(key, f"must be true or false, not {shown(value)}")
            return default
        return value

    def number(self, key: str, *, default: float, least: float, most: float) -> float:
        """The number at `key`, from `least` to `most`."""
        value = self._get(key)
        if value is None:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.fault(key, f"must be a number, such as {default:g}, not {shown(value)}")
            return default
        if not least <= value <= most:  # which NaN is not, either
            self.fault(key, f"{value} is not between {least:g} and {most:g}; {default:g} would do")
            return default
        return float(value)

    def share(self, key: str, *, default: float, least: float = 0.0, most: float = 1.0) -> float:
        """The share at `key`: a number, or a text such as "2 %"."""
        value = self._get(key)
        if isinstance(value, str):
            match = _SHARE.fullmatch(value)
            if match is None:
                self.fault(key, f'{shown(value)} is no share; write, say, 0.02 or "2 %"')
                return default
            value = float(match[1]) / 100
            if not least <= value <= most:
                bounds = f'"{least * 100:g} %" and "{most * 100:g} %"'
                self.fault(key, f"{shown(self._get(key))} is not between {bounds}")
                return default
            return value
        return self.number(key, default=default, least=least, most=most)

    def rate_bytes_s(self, key: str, *, default: float) -> float:
        """The rate at `key`, such as "64 kbit/s", in bytes a second; "unbounded" is 0."""
        value = self._get(key)
        if value is None:
            return default
        if value == "unbounded":
            return 0.0
        match = _RATE.fullmatch(value) if isinstance(value, str) else None
        if match is None or not float(match[1]):
            self.fault(
                key, f'{shown(value)} is no rate; write, say, "64 kbit/s", "8 kB/s" or "unbounded"'
            )
            return default
        return float(match[1]) * _BYTES_BY_UNIT[match[2]]

    def signed_ms(self, key: str, *, default: int, most: int) -> int:
        """The duration at `key`, which may be negative: "-3m"."""
        value = self._get(key)
        if value is None:
            return default
        unsigned = re.sub(r"^[+-]", "", value) if isinstance(value, str) else ""
        duration = parse_duration_ms(unsigned)
        if duration is None:
            self.fault(key, f'{shown(value)} is no duration; write, say, "90s", "-3m" or "1h"')
            return default
        if duration > most:
            limit = duration_text(most)
            self.fault(key, f'{shown(value)} is not between "-{limit}" and "{limit}"')
            return default
        return -duration if isinstance(value, str) and value.startswith("-") else duration

    def spans_ms(
        self, key: str, *, default: tuple[tuple[int, int], ...]
    ) -> tuple[tuple[int, int], ...]:
        """Times of day, such as ["08:00-12:00", "22:00-02:00"]; one over midnight is two."""
        texts = self.texts(key, example="08:00-17:00")
        if texts is None:
            return default
        spans: list[tuple[int, int]] = []
        for index, text in enumerate(texts):
            span = parse_span_ms(text)
            if span is None:
                self.fault((key, index), f'{shown(text)} is no time of day; write "08:00-17:00"')
            elif span[0] < span[1]:
                spans.append(span)
            else:
                spans += [part for part in ((span[0], DAY_MS), (0, span[1])) if part[0] < part[1]]
        return tuple(sorted(spans)) if spans else default

    def moment_unix_ms(self, key: str, *, default: int) -> int:
        """The moment at `key`, a TOML date or time or a text; UTC where it names no offset."""
        value = self._get(key)
        if value is None:
            return default
        moment: object = value
        if isinstance(value, str):
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                moment = None
        if isinstance(moment, date) and not isinstance(moment, datetime):
            moment = datetime.combine(moment, time())
        if not isinstance(moment, datetime) or not 2000 <= moment.year <= 2100:
            self.fault(
                key, f'{shown(value)} is no moment of our days; write "2026-01-05 08:00" (UTC)'
            )
            return default
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1000)

    def by_level(self, key: str, depth: int, read: Callable[["Keys", str], T]) -> tuple[T, ...]:
        """The value at `key` for each level: one for all of them, or a list of one for each."""
        values = self._values.get(key)
        if not isinstance(values, list):
            return (read(self, key),) * depth
        self._get(key)
        if len(values) != depth:
            self.fault(key, f"has {len(values)} values for {depth} levels; write one for each")
            values = [*values, *values[-1:] * depth][:depth]
        elements = _Elements(
            self.document,
            (*self.path, key),
            {str(index): value for index, value in enumerate(values)},
        )
        return tuple(read(elements, str(index)) for index in range(depth))

    def length(self, key: str) -> int | None:
        """How long the list at `key` is; None when it is none."""
        value = self._values.get(key)
        return len(value) if isinstance(value, list) else None

    def any_value(self, key: str) -> Any:
        """Whatever stands at `key`, which is thereby known."""
        return self._get(key)


class _Elements(Keys):
    """The elements of a list, read like keys."""

    def fault(self, key: str | tuple[str | int, ...], text: str) -> None:
        assert isinstance(key, str), "an element of an element is not read"
        self.document.fault((*self.path, int(key)), text)


def parse_span_ms(text: str) -> tuple[int, int] | None:
    """The two ends of "08:00-17:00" in milliseconds since midnight; None if it is none."""
    match = _SPAN.fullmatch(text)
    if match is None:
        return None
    begins, ends = (
        (60 * int(match[place]) + int(match[place + 1])) * _MINUTE_MS for place in (1, 3)
    )
    sound = int(match[2]) < 60 and int(match[4]) < 60 and max(begins, ends) <= DAY_MS
    return (begins, ends) if sound and begins != ends else None


def _keys(table: Table) -> Keys:
    return table if isinstance(table, Keys) else Keys(table.document, table.path, table._values)
