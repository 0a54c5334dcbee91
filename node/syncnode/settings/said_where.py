"""In which file and line `[tables]` says something, so that a sentence can point there."""

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from syncnode.settings.toml_lines import line_of, lines_by_path

if TYPE_CHECKING:
    from syncnode.settings.config import Settings


def said_where(settings: "Settings", key: str, name: str | None = None) -> str:
    """`file:line: ` of that key of `[tables]`, or of one of its names, in the site's file or in
    the topology; nothing where neither says it."""
    files = [settings.path]
    if settings.topology is not None:
        files.append(settings.topology.path)
    for file in files:
        line = _line(file, key, name)
        if line is not None:
            return f"{file}:{line}: "
    return ""


def _line(file: Path, key: str, name: str | None) -> int | None:
    try:
        text = file.read_text(encoding="utf-8")
        said = tomllib.loads(text).get("tables", {}).get(key)
    except (OSError, ValueError):
        return None  # it was read when the command began, and may be written just now
    if said is None or (name is not None and name not in said):
        return None
    path = ("tables", key) if name is None else ("tables", key, said.index(name))
    return line_of(lines_by_path(text), path)
