"""Scenarios as plain values and back, so that a run can be replayed without its file.

A scenario file may name others (a topology) and be changed by `--set`; the values that came out
of it say it all. Works for any frozen dataclass of numbers, texts, tuples, mappings by text and
other such dataclasses; what it does not know how to rebuild it refuses.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from syncproto.errors import ConfigError
from syncsim.scenario import Scenario

T = TypeVar("T")

_NOT_KEPT = {"path"}  # where a file lay says nothing about the run


def plain_scenario(scenario: Scenario) -> dict[str, Any]:
    """The scenario as JSON has it: dictionaries, lists, texts and numbers."""
    plain: dict[str, Any] = _plain(scenario)
    return plain


def scenario_of(plain: Mapping[str, Any]) -> Scenario:
    """The inverse of `plain_scenario`, after a way through JSON.

    Raises:
        ConfigError: It is of another version, which has other keys.
    """
    return _built(Scenario, plain)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in fields(value)
            if field.name not in _NOT_KEPT
        }
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    assert value is None or isinstance(value, bool | int | float | str), type(value)
    return value


def _built(kind: type[T], plain: Mapping[str, Any]) -> T:
    hints = typing.get_type_hints(kind)
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if unknown := sorted(set(plain) - known):
        raise ConfigError(
            f"the run's scenario has {', '.join(unknown)}, which this version does not know; "
            "replay it with the version that made it"
        )
    return kind(**{name: _value(hints[name], item) for name, item in plain.items()})


def _value(hint: Any, plain: Any) -> Any:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if plain is None:
            return None
        (hint,) = [part for part in parts if part is not types.NoneType]
        return _value(hint, plain)
    if origin is tuple:
        if parts[-1] is Ellipsis:
            return tuple(_value(parts[0], item) for item in plain)
        return tuple(_value(part, item) for part, item in zip(parts, plain, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _value(parts[1], item) for key, item in plain.items()}
    if is_dataclass(hint) and isinstance(hint, type):
        return _built(hint, plain)
    return plain
