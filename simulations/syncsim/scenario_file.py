"""Scenario files: TOML in, a checked `Scenario` out, every fault named with file and line.

The parts of the file have a module each in `grammar/`. Keys that no part asks for are refused.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from syncnode.settings.link_keys import EVERY_MS_LEAST, EVERY_MS_MOST
from syncnode.settings.toml_reader import Document, meant, shown
from syncsim.checkers import CHECKERS
from syncsim.grammar.keys import Keys
from syncsim.grammar.later import LATER_KEYS, refuse_later
from syncsim.grammar.links import LinkClasses
from syncsim.grammar.misfortunes import misfortunes
from syncsim.grammar.people import Profiles
from syncsim.grammar.sites import Network
from syncsim.grammar.tables import where_deletes_win
from syncsim.overrides import Overrides, applied
from syncsim.rules import RULES
from syncsim.scenario import DAY_MS, Gossip, Measure, Scenario
from syncsim.strategies import CHOICES

RUN_MS_MAX = 20 * 366 * DAY_MS
SHARED_ROWS_MAX = 100_000
SCALE_LEAST = 1e-6
ROWS_MAX = 1_000_000  # of a chunk
POINTS_MAX = 100_000  # of a curve

_DEFAULTS: Mapping[str, Any] = {field.name: field.default for field in fields(Scenario)}
_NO_OVERRIDES: Overrides = MappingProxyType({})


def read_scenario(path: Path, overrides: Overrides = _NO_OVERRIDES) -> Scenario:
    """The scenario that the file describes.

    Its `text` is complete: the sites of a topology file that it names are in it.

    Args:
        overrides: Values put into the file as it is read, as by `--set`; `text` lacks them.

    Raises:
        ConfigError: The file, or one that it names, is missing or broken; the text has a line
            for every fault.
    """
    document = Document(path)
    text = path.read_text(encoding="utf-8-sig")
    root = Keys(document, (), applied(tomllib.loads(text), overrides, file=str(path)))
    refuse_later(root, *LATER_KEYS)
    title = root.text("title", example="Three clinics") or path.stem
    story = root.text("story", example="Three clinics share the line of a hospital.") or ""
    start_unix_ms, faults_ms, quiet_ms = _time(root.table("time"))
    network = Network(root, path, text, LinkClasses(root), Profiles(root))
    network.read()
    scenario = Scenario(
        title=title,
        story="\n\n".join(" ".join(part.split()) for part in story.strip().split("\n\n")),
        sites=network.sites,
        links=network.links,
        link_classes=network.link_classes.by_name,
        profiles=network.profiles.by_name,
        misfortunes=misfortunes(root, network.planned, faults_ms),
        gossip=_gossip(root.table("gossip")),
        measure=_measure(root.table("measure")),
        start_unix_ms=start_unix_ms,
        faults_ms=faults_ms,
        quiet_ms=quiet_ms,
        shared_rows=root.integer(
            "shared_rows", default=_DEFAULTS["shared_rows"], least=0, most=SHARED_ROWS_MAX
        ),
        delete_wins=where_deletes_win(root),
        scale=root.share("scale", default=_DEFAULTS["scale"], least=SCALE_LEAST),
        text=network.text,
        path=path,
    )
    root.refuse_unknown()
    document.refuse_faults()
    return scenario


def _time(table: Keys) -> tuple[int, int, int]:
    start = table.moment_unix_ms("start", default=_DEFAULTS["start_unix_ms"])
    faults: int = table.duration_ms(
        "faults", default=_DEFAULTS["faults_ms"], least=1_000, most=RUN_MS_MAX
    )
    quiet: int = table.duration_ms(
        "quiet", default=_DEFAULTS["quiet_ms"], least=1_000, most=RUN_MS_MAX
    )
    table.refuse_unknown()
    return start, faults, quiet


def _gossip(table: Keys) -> Gossip:
    base = Gossip()
    gossip = Gossip(
        every_ms=table.duration_ms(
            "every", default=base.every_ms, least=EVERY_MS_LEAST, most=EVERY_MS_MOST
        ),
        choice=table.one_of("choice", tuple(CHOICES), default=base.choice),
        rule=table.one_of("rule", tuple(RULES), default=base.rule),
        push=table.flag("push", default=base.push),
        rows_max=table.integer("rows_max", default=base.rows_max, least=1, most=ROWS_MAX),
    )
    table.refuse_unknown()
    return gossip


def _measure(table: Keys) -> Measure:
    base = Measure()
    checkers = table.texts("checkers", example="state")
    for index, name in enumerate(checkers or ()):
        if name not in CHECKERS:
            table.fault(("checkers", index), f"{shown(name)} is none; {meant(name, CHECKERS)}")
    measure = Measure(
        points=table.integer("points", default=base.points, least=2, most=POINTS_MAX),
        checkers=base.checkers if checkers is None else checkers,
        bytes_by=table.one_of("bytes_by", ("codec", "model"), default=base.bytes_by),
    )
    table.refuse_unknown()
    return measure
