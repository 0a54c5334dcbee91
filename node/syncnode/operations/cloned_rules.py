"""What a clone takes over of its original's choice of tables, and what only people can bring.

The plan in the copied sidecar goes on as it was. Settings stand in files of the original's own: its
choice of tables and the name of its preset can be read off the sidecar; rules of its own, filters
and hooks cannot.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from syncnode.schema.plan import LISTED, UNLISTED, SchemaPlan
from syncnode.schema.rule_files import preset_fault, preset_path, read_preset
from syncnode.schema.rules import SETTING as RULES
from syncnode.schema.rules import digest

if TYPE_CHECKING:
    from syncnode.settings.config import Settings

PRESET = "preset"
"""The setting with the name of the preset by which a site was made, of those that come with
syncnode; "" for none."""


def named_preset(settings: "Settings") -> str:
    """What `PRESET` is to hold."""
    name = settings.tables.preset or ""
    shipped = name and preset_path(name, settings.path.parent) != settings.path.parent / name
    return name if shipped else ""


def as_original(settings: "Settings", plan: SchemaPlan, sidecar: Mapping[str, str]) -> "Settings":
    """The settings of a clone whose file is yet to be written, with its original's choice of
    tables where they say nothing."""
    choice, name = settings.tables, sidecar.get(PRESET)
    reasons = {one.table: one.reason for one in plan.excluded}
    if choice.only is None and UNLISTED in reasons.values():
        taken = [one for one in sorted(plan.by_name) if one not in plan.taken_along]
        choice = replace(choice, only=tuple(taken))
    if not choice.exclude:
        listed = sorted(one for one, reason in reasons.items() if reason == LISTED)
        choice = replace(choice, exclude=tuple(listed))
    if name and not choice.preset and not preset_fault(name, Path.cwd()):
        layers = (read_preset(name, Path.cwd()), *choice.rules)
        choice = replace(choice, preset=name, rules=layers)
    return replace(settings, tables=choice)


def lacking(settings: "Settings", sidecar: Mapping[str, str], original: str) -> str | None:
    """A sentence on rules of the original's that these settings have not; None if they are the
    same, as far as that is known."""
    if sidecar.get(RULES, digest(())) == digest(settings.tables.rules):
        return None
    return (
        f"the tables go on by the rules with which {original} was made, and {settings.path} says "
        f"others, or none: copy [tables] and [maps] from the settings of {original}, so that "
        "tables that come later are taken by the same"
    )


def beside(settings: "Settings", original: str) -> str:
    """What no sidecar holds."""
    return (
        f"[filters], [hooks] and [limits] of {original} are in its own settings, not in its "
        f"database: copy into {settings.path} what this site needs of them"
    )
