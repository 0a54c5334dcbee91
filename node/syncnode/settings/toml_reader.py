"""Reads a TOML file key by key, and remembers every fault to report them all together.

The readers in `config.py` and `topology.py` ask a `Table` for the keys they know, each in its
type. What is wrong is noted, the default is handed back, and reading goes on; what nobody asked
for is an unknown key. `Document.refuse_faults` then raises one `ConfigError` with a line for
each fault: `file:line: key: what is wrong, and what would do`.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from syncnode.settings import toml_lines
from syncproto.errors import ConfigError

FILE_BYTES_MAX = 4 << 20  # a topology of ten thousand sites is a quarter of that
SHOWN_CHARS_MAX = 60  # of a wrong value in a message

_MS_BY_UNIT = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_BYTES_BY_UNIT = {"": 1, "B": 1, "kB": 1_000, "KB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,6})?) ?(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?) ?(B|kB|KB|MB|GB|)")
_SYNTAX_PLACE = re.compile(r" \(at line (\d+), column \d+\)$")

T = TypeVar("T")
Check = Callable[[T], str | None]
"""What is wrong with a value and what would do; None when nothing is."""


class Document:
    """One TOML file and the faults found in it so far.

    Raises:
        ConfigError: The file cannot be read or is no TOML.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = _text(path)
        try:
            values = tomllib.loads(text)
            self._lines = toml_lines.lines_by_path(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(_syntax_fault(path, text, error)) from error
        except RecursionError as error:
            raise ConfigError(f"{path}: is nested too deeply; write plain tables") from error
        self._faults: list[tuple[int, str]] = []
        self.root = Table(self, (), values)

    def fault(self, path: toml_lines.Path, text: str) -> None:
        """Note that the value at `path` is wrong."""
        line = toml_lines.line_of(self._lines, path)
        self._faults.append((line, f"{self.path}:{line}: {key_text(path)}: {text}"))

    def refer(self, texts: str) -> None:
        """Note faults of another file that this one names; they stand behind its own."""
        self._faults.append((FILE_BYTES_MAX + 1, texts))

    def refuse_faults(self) -> None:
        """Raise what has been noted, in the order of the lines.

        Raises:
            ConfigError: There was a fault.
        """
        if self._faults:
            raise ConfigError(
                "\n".join(text for _, text in sorted(self._faults, key=lambda fault: fault[0]))
            )


class Table:
    """One table of a document, read key by key."""

    def __init__(
        self, document: Document, path: toml_lines.Path, values: Mapping[str, object]
    ) -> None:
        self.document = document
        self.path = path
        self._values = values
        self._known: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def fault(self, key: str | tuple[str | int, ...], text: str) -> None:
        """Note that the value of `key` is wrong."""
        self.document.fault((*self.path, *((key,) if isinstance(key, str) else key)), text)

    def value(self, key: str) -> object:
        """Whatever stands at `key`; None when it is missing."""
        return self._get(key)

    def text(self, key: str, *, example: str, check: Check[str] = lambda _: None) -> str | None:
        """The text at `key`; None when it is missing or wrong."""
        value = self._get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            self.fault(key, f'must be a text, such as "{example}", not {shown(value)}')
            return None
        fault = f'is empty; write, say, "{example}"' if not value.strip() else check(value)
        if fault:
            self.fault(key, fault)
            return None
        return value

    def texts(self, key: str, *, example: str) -> tuple[str, ...] | None:
        """The list of different texts at `key`; None when it is missing or wrong."""
        values = self._get(key)
        if values is None:
            return None
        if not isinstance(values, list):
            self.fault(key, f'must be a list, such as ["{example}"], not {shown(values)}')
            return None
        texts: list[str] = []
        for index, value in enumerate(values):
            if not isinstance(value, str) or not value.strip():
                self.fault((key, index), f'must be a text, such as "{example}", not {shown(value)}')
            elif value in texts:
                self.fault((key, index), f"{shown(value)} stands here twice; keep one")
            else:
                texts.append(value)
        return tuple(texts)

    def integer(self, key: str, *, default: T, least: int, most: int) -> int | T:
        """The whole number at `key`, from `least` to `most`."""
        value = self._get(key)
        if value is None:
            return default
        would_do = least if default is None else default
        if not isinstance(value, int) or isinstance(value, bool):
            self.fault(key, f"must be a whole number, such as {would_do}, not {shown(value)}")
            return default
        if not least <= value <= most:
            self.fault(key, f"{value} is not between {least} and {most}; {would_do} would do")
            return default
        return value

    def size_bytes(self, key: str, *, default: int, least: int, most: int) -> int:
        """The size at `key` in bytes, written as a number or as text such as "256 kB"."""
        value = self._get(key)
        if value is None:
            return default
        size = value if isinstance(value, int) and not isinstance(value, bool) else None
        if isinstance(value, str):
            size = parse_size_bytes(value)
        if size is None:
            self.fault(key, f'{shown(value)} is no size; write, say, {default} or "256 kB"')
        elif not least <= size <= most:
            self.fault(key, f"{size} bytes is not between {least} and {most}; {default} would do")
        else:
            return size
        return default

    def duration_ms(self, key: str, *, default: T, least: int, most: int) -> int | T:
        """The duration at `key`, such as "15m", in milliseconds."""
        value = self._get(key)
        if value is None:
            return default
        duration = parse_duration_ms(value) if isinstance(value, str) else None
        if duration is None:
            self.fault(
                key, f'{shown(value)} is no duration; write, say, "90s", "15m", "1h" or "1d"'
            )
            return default
        if not least <= duration <= most:
            bounds = f'"{duration_text(least)}" and "{duration_text(most)}"'
            self.fault(key, f"{shown(value)} is not between {bounds}")
            return default
        return duration

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false at `key`."""
        value = self._get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.fault(key, f"is {shown(value)}; write true or false")
        return default

    def choice(self, key: str, *, among: tuple[str, ...]) -> str | None:
        """The text at `key`, one of `among`; None when it is missing or wrong."""
        value = self._get(key)
        if value is None:
            return None
        if not isinstance(value, str) or value not in among:
            self.fault(key, f"{shown(value)} is not one of {', '.join(among)}")
            return None
        return value

    def table(self, key: str) -> "Table":
        """The table at `key`; an empty one when it is missing or no table."""
        value = self._get(key)
        if value is not None and not isinstance(value, dict):
            name = key_text((*self.path, key))
            self.fault(key, f"must be a table, such as [{name}], not {shown(value)}")
            value = None
        return Table(self.document, (*self.path, key), value or {})

    def tables(self) -> Iterator[tuple[str, "Table"]]:
        """The remaining keys whose values are tables, in the order of the file."""
        for key, value in self._values.items():
            if key not in self._known and isinstance(value, dict):
                yield key, self.table(key)

    def remaining(self) -> Iterator[str]:
        """The remaining keys, in the order of the file."""
        return iter([key for key in self._values if key not in self._known])

    def refuse_unknown(self) -> None:
        """Note a fault for every key that nobody has asked for."""
        for key in self._values:
            if key not in self._known:
                self.fault(key, f"is no key here; {meant(key, self._known)}")

    def _get(self, key: str) -> object:
        self._known.add(key)
        return self._values.get(key)


def meant(wrong: str, known: Iterable[str]) -> str:
    """A remedy for a name that is not among `known`: the one that is like it, or all of them."""
    names = sorted(known)
    close = get_close_matches(wrong.lower(), {name.lower(): name for name in names}, n=1)
    if close:
        return f"did you mean {next(name for name in names if name.lower() == close[0])}?"
    if not names:
        return "remove it"
    more = " and others" if len(names) > 12 else ""
    return f"known are {', '.join(names[:12])}{more}"


def shown(value: object) -> str:
    """A wrong value as a message shows it, never longer than a line."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f'{text[: SHOWN_CHARS_MAX - 4]}..."'


def key_text(path: toml_lines.Path) -> str:
    """A path as people write it: `sites.kigali.peers[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            quoted = part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"'
            text += f".{quoted}" if text else quoted
    return text


def parse_duration_ms(text: str) -> int | None:
    """Milliseconds of a duration such as "500ms", "90s", "15m", "1.5h", "1d"."""
    match = _DURATION.fullmatch(text)
    return round(float(match[1]) * _MS_BY_UNIT[match[2]]) if match else None


def duration_text(duration_ms: int) -> str:
    """A duration as it is written in a file, in the greatest unit that divides it."""
    for unit in ("d", "h", "m", "s"):
        if duration_ms and duration_ms % _MS_BY_UNIT[unit] == 0:
            return f"{duration_ms // _MS_BY_UNIT[unit]}{unit}"
    return f"{duration_ms}ms"


def parse_size_bytes(text: str) -> int | None:
    """Bytes of a size such as "300 B", "256 kB", "2 MB", "1 GB" (powers of ten)."""
    match = _SIZE.fullmatch(text)
    return round(float(match[1]) * _BYTES_BY_UNIT[match[2]]) if match else None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: is a folder; name the file in it") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path}: cannot be read ({reason})") from error
    if len(content) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: is larger than {FILE_BYTES_MAX} bytes; is it the right file?")
    try:
        # Line ends as tomllib counts them, and the mark that some editors put in front.
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text; save the file as UTF-8") from error


def _syntax_fault(path: Path, text: str, error: tomllib.TOMLDecodeError) -> str:
    # The place stands in the text of the error alone before Python 3.14.
    place = _SYNTAX_PLACE.search(str(error))
    line = int(place[1]) if place else text.rstrip("\n").count("\n") + 1
    reason = _SYNTAX_PLACE.sub("", str(error)).replace(" (at end of document)", "")
    return f"{path}:{line}: is no TOML: {reason[:1].lower()}{reason[1:]}"
