"""Follows the files of the settings while a node runs: what of them can change under way, and how.

Rules of links, intervals and other keys that speak of links hold at once; where the database lies
or the node listens holds from the next start, and that is said. A file that is broken, or gone,
changes nothing: the node goes on by what it has read last.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from syncnode.settings.config import Settings, read_settings
from syncproto.errors import ConfigError

AT_ONCE = ("rules", "every_ms", "topology")
"""Settings that a running node takes up."""
TABLES = "tables"  # `syncnode tables` and `init` carry these out; `status` says what is due


class Found(NamedTuple):
    """What became of the files since they were last looked at.

    Attributes:
        settings: As they hold from now on.
        changed: Something of them holds that did not.
        notice: What a person should know, in a sentence; "" for nothing.
    """

    settings: Settings
    changed: bool
    notice: str


class SettingsFiles:
    """The settings' own file and the topology that it names.

    Args:
        settings: As the node was started with.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen = self._state()

    def look(self) -> Found | None:
        """What changed; None if the files are as they were. Blocking, and short."""
        state = self._state()
        if state == self._seen:
            return None
        self._seen = state
        try:
            read = read_settings(self._settings.path)
        except ConfigError as error:
            return Found(self._settings, False, f"the settings are left as they were: {error}")
        old, kept = self._settings, {name: getattr(read, name) for name in AT_ONCE}
        self._settings = replace(old, **kept)
        later = sorted(
            name
            for name in Settings.__dataclass_fields__
            if name not in (*AT_ONCE, TABLES) and getattr(read, name) != getattr(old, name)
        )
        notice = f"{', '.join(later)}: changed, and taken up at the next start" if later else ""
        return Found(self._settings, self._settings != old, notice)

    def _state(self) -> list[tuple[int, int, int] | None]:
        paths = [self._settings.path]
        if self._settings.topology is not None:
            paths.append(self._settings.topology.path)
        return [_state_of(path) for path in paths]


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
