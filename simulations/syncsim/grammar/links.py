"""`[links.NAME]`: link classes, and the names that sites call them by."""

from syncnode.settings.toml_reader import meant, shown
from syncnode.settings.topology import name_fault
from syncsim import presets
from syncsim.grammar.keys import Keys
from syncsim.scenario import DAY_MS, HOUR_MS, Delay, LinkClass, Meetings

LASTS_MS_MAX = 20 * 366 * DAY_MS
LOSS_MOST = 0.9  # of nine packets in ten: beyond that no message of two packets ever arrives

_DELAYS = ("fixed", "uniform", "exponential", "lognormal")
_SPREAD_MOST = {"fixed": 0.0, "uniform": 1.0, "exponential": 0.0, "lognormal": 3.0}


class LinkClasses:
    """The link classes of a file, and the presets that it uses.

    Attributes:
        by_name: In the order of the file, then of their first use.
    """

    def __init__(self, root: Keys) -> None:
        self.by_name: dict[str, LinkClass] = {}
        links = root.table("links")
        for name, table in links.tables():
            if fault := name_fault(name):
                links.fault(name, fault)
            self.by_name[name] = _link_class(name, table, links)
        for name in links.remaining():
            links.fault(name, f"must be a table, such as [links.{name}]")

    def named(self, table: Keys, key: str) -> str | None:
        """The link class that `key` names, one of the file's or a preset; None if it is not there.

        What names none is a fault, and handed back as it is: the fault is told once.
        """
        name = table.text(key, example=self.example())
        if name is None:
            return self.example() if key in table else None
        if name in self.by_name:
            return name
        if name in presets.LINKS:
            self.by_name[name] = presets.LINKS[name]
            return name
        table.fault(
            key, f"{shown(name)} is no link class; {meant(name, {*self.by_name, *presets.LINKS})}"
        )
        return name

    def example(self) -> str:
        return next(iter(self.by_name), "adsl")


def _link_class(name: str, table: Keys, links: Keys) -> LinkClass:
    preset = table.text("preset", example="vsat")
    if "preset" not in table and name in presets.LINKS:
        links.fault(name, f'is the name of a preset; write preset = "{name}" in it, or rename it')
    if preset is not None and preset not in presets.LINKS:
        table.fault("preset", f"{shown(preset)} is no preset; {meant(preset, presets.LINKS)}")
    base = presets.LINKS.get(preset or "", LinkClass(name))
    kind = LinkClass(
        name,
        source=table.text("source", example="measured in May 2026") or base.source,
        delay=_delay(table, base.delay),
        loss=table.share("loss", default=base.loss, most=LOSS_MOST),
        duplication=table.share("duplication", default=base.duplication),
        reordering=table.share("reordering", default=base.reordering),
        up_bytes_s=table.rate_bytes_s("up", default=base.up_bytes_s),
        down_bytes_s=table.rate_bytes_s("down", default=base.down_bytes_s),
        open_ms=table.spans_ms("open", default=base.open_ms),
        meetings=_meetings(table, base.meetings),
    )
    table.refuse_unknown()
    return kind


def _delay(link: Keys, base: Delay) -> Delay:
    """`delay = "50ms"`, or a table with its distribution."""
    if not link.is_table("delay"):
        fixed = link.duration_ms("delay", default=None, least=0, most=DAY_MS)
        return base if fixed is None else Delay("fixed", float(fixed))
    table = link.table("delay")
    kind = table.one_of("kind", _DELAYS, default="lognormal")
    middle = table.duration_ms("middle", default=None, least=0, most=DAY_MS)
    if "middle" not in table:
        table.fault("middle", 'is missing; write, say, middle = "300ms"')
    most = _SPREAD_MOST[kind]
    spread = table.number("spread", default=min(0.3, most), least=0.0, most=most)
    table.refuse_unknown()
    return Delay(kind, float(middle or 0), spread)


def _meetings(link: Keys, base: Meetings | None) -> Meetings | None:
    if "meetings" not in link:
        return base
    table = link.table("meetings")
    gap_ms = table.duration_ms("every", default=DAY_MS, least=1_000, most=LASTS_MS_MAX)
    length_ms = table.duration_ms("lasts", default=HOUR_MS, least=1_000, most=LASTS_MS_MAX)
    for key, example in (("every", "1d"), ("lasts", "1h")):
        if key not in table:
            table.fault(key, f'is missing; write, say, {key} = "{example}"')
    table.refuse_unknown()
    return Meetings(gap_ms, length_ms)
