"""`--set key=value` and `--vary key=v1,v2`: values put into a scenario file as it is read.

A key is a dotted TOML path, such as `gossip.every`, `links.vsat.loss` or `patterns.0.fanout`; a
part with a dot in it is quoted. A value is written as in TOML, where the quotes of a text may be
left out: `1m`, `0.05`, `true`, `["a", "b"]`.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from syncproto.errors import ConfigError

Path = tuple[str, ...]
Overrides = Mapping[Path, Any]

_PART = re.compile(r'[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"')
_CLOSING = {"[": "]", "{": "}"}


def parse_override(text: str) -> tuple[Path, Any]:
    """Path and value of `key=value`.

    Raises:
        ConfigError: It is no such pair.
    """
    path, value = _pair(text, "--set")
    return path, parse_value(value)


def parse_variation(text: str) -> tuple[Path, tuple[Any, ...]]:
    """Path and values of `key=v1,v2,…`.

    Raises:
        ConfigError: It is none, or a value stands there twice.
    """
    path, listed = _pair(text, "--vary")
    values = tuple(parse_value(part) for part in _split(listed))
    for place, value in enumerate(values):
        if value in values[:place]:
            raise ConfigError(f"--vary {text}: {value_text(value)} stands there twice; keep one")
    return path, values


def parse_value(text: str) -> Any:
    """A TOML value; what is none is a text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def applied(values: Mapping[str, Any], overrides: Overrides, *, file: str) -> dict[str, Any]:
    """A copy of a parsed TOML file with `overrides` in it; tables that are missing are made.

    Raises:
        ConfigError: A path leads through something that is no table, or past the end of a list.
    """
    changed = _copy(values)
    for path, value in overrides.items():
        place: Any = changed
        for depth, part in enumerate(path):
            last = depth == len(path) - 1
            if isinstance(place, list):
                place = _put(place, _index(place, path, depth, file), value, last)
            elif isinstance(place, dict):
                if not last:
                    place.setdefault(part, {})
                place = _put(place, part, value, last)
            else:
                above = path_text(path[:depth])
                raise ConfigError(f"{file}: {path_text(path)}: {above} is a value, not a table")
    assert isinstance(changed, dict)
    return changed


def path_text(path: Path) -> str:
    """A path as it is written after `--set`."""
    return ".".join(
        part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part) for part in path
    )


def value_text(value: Any) -> str:
    """A value as tables show it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(value, default=str)
    return str(value)


def plain_overrides(overrides: Overrides) -> dict[str, Any]:
    """As JSON keeps them; dates become texts."""
    plain = {path_text(path): value for path, value in overrides.items()}
    kept: dict[str, Any] = json.loads(json.dumps(plain, default=str))
    return kept


def _pair(text: str, option: str) -> tuple[Path, str]:
    path: list[str] = []
    place = 0
    while part := _PART.match(text, place):
        quoted = part.group().startswith('"')
        path.append(json.loads(part.group()) if quoted else part.group())
        place = part.end()
        if not text.startswith(".", place):
            break
        place += 1
    if not path or not text.startswith("=", place) or not text[place + 1 :].strip():
        example = "gossip.every=1m" if option == "--set" else "gossip.every=1m,15m"
        raise ConfigError(f"{option} {text}: write a key and what it is to be, such as {example}")
    return tuple(path), text[place + 1 :].strip()


def _split(text: str) -> Sequence[str]:
    """The parts between commas that stand in no quotes, list or table."""
    parts, start, closing, quote = [], 0, [], ""
    for place, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in _CLOSING:
            closing.append(_CLOSING[char])
        elif closing and char == closing[-1]:
            closing.pop()
        elif char == "," and not closing:
            parts.append(text[start:place].strip())
            start = place + 1
    return [part for part in (*parts, text[start:].strip()) if part]


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _put(place: Any, key: str | int, value: Any, last: bool) -> Any:
    if last:
        place[key] = value
    return place[key]


def _index(place: Sequence[Any], path: Path, depth: int, file: str) -> int:
    part = path[depth]
    above = path_text(path[:depth])
    if not part.isdecimal() or int(part) >= len(place):
        raise ConfigError(
            f"{file}: {path_text(path)}: {above} is a list of {len(place)}, counted from 0; "
            f"{part} names none of it"
        )
    return int(part)
