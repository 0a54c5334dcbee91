"""`[sites.NAME]`, `topology`, `[[patterns]]` and `[[connections]]`: who there is, linked to whom.

Sites are declared as in the nodes' topology file (`syncnode.settings.topology`), in place or in
such a file. A scenario adds to each what only a simulation knows: its people, its kind of link,
its wrong clock.
"""

import re
import tomllib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from syncnode.settings.link_keys import LinkKeys, every_ms
from syncnode.settings.link_rules import Said, SiteRules
from syncnode.settings.toml_reader import Document, meant, shown
from syncnode.settings.topology import (
    SiteEntry,
    name_fault,
    parents,
    read_topology,
    refuse_impossible_sites,
    url_fault,
)
from syncsim.grammar.keys import Keys
from syncsim.grammar.later import RULES_BY_LINK, refuse_later
from syncsim.grammar.links import LinkClasses
from syncsim.grammar.patterns import DRIFT_PPM_MAX, OFFSET_MS_MAX, SITES_MAX, pattern
from syncsim.grammar.people import Profiles
from syncsim.grammar.tables import chosen, tables_of_all, tables_of_site
from syncsim.patterns import Level, Planned
from syncsim.scenario import Link, Site
from syncsim.schema import TABLES

LINKS_MAX = 50_000  # all pairs of 300 sites; a link costs six kilobytes: a generator each way

_TOPOLOGY_LINE = re.compile(r"[ \t]*topology[ \t]*=.*")
_HEADER = re.compile(r"(?m)^([ \t]*\[+)[ \t]*")

_Pairs = dict[frozenset[str], tuple[str, str, str | None]]
"""By two sites: the lower one or the one that calls, the other, and their link class."""


@dataclass(slots=True)
class Network:
    """What a file declares of sites and links.

    Attributes:
        text: That of the scenario, with the sites of its topology file in it.
    """

    root: Keys
    path: Path
    text: str
    link_classes: LinkClasses
    profiles: Profiles
    planned: dict[str, Planned] = field(default_factory=dict)
    links: tuple[Link, ...] = ()
    _defaults: Level = field(default_factory=lambda: Level(1, ""))

    @property
    def document(self) -> Document:
        return self.root.document

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(planned.site for planned in self.planned.values())

    def read(self) -> None:
        """Read all sites and links of the file."""
        _read_name(self.root)
        defaults = self.root.table("defaults")
        self._defaults = Level(
            1,
            "",
            self.link_classes.named(defaults, "link"),
            people=self.profiles.named(defaults, "people"),
            tables=tables_of_all(self.root),
        )
        defaults.refuse_unknown()
        self._read_sites()
        self._read_patterns()
        if not self.planned:
            self.document.fault(("sites",), "there is no site; declare some, or [[patterns]]")
        if len(self.planned) > SITES_MAX:
            self.document.fault(
                ("sites",), f"there are {len(self.planned)} sites; {SITES_MAX} are possible"
            )
        refuse_impossible_sites(
            self.root.table("sites"),
            {s.name: SiteEntry(s.name, None, _above(s), s.peers) for s in self.sites},
        )
        self._read_links()

    def _read_sites(self) -> None:
        included = self._included()
        for name, entry in included.items():
            self.planned[name] = self._planned(entry, None)
        sites = self.root.table("sites")
        for name, table in sites.tables():
            if fault := name_fault(name):
                sites.fault(name, fault)
            if name in included:
                for key in ("parent", "parents", "peers", "every", "url"):
                    if key in table:
                        table.any_value(key)
                        table.fault(key, "is for the topology to say, where the site is declared")
                entry = included[name]
            else:
                entry = _entry(name, table)
            self.planned[name] = self._planned(entry, table)
            table.refuse_unknown()
        for key in sites.remaining():
            sites.fault(key, f"must be a table, such as [sites.{key}]")

    def _planned(self, entry: SiteEntry, table: Keys | None) -> Planned:
        defaults = self._defaults
        # A second parent is called like a peer: strategies know one way up.
        site = Site(entry.name, entry.parent, (*entry.parents[1:], *entry.peers), entry.every_ms)
        if table is None:
            site = replace(site, people=defaults.people, tables=defaults.tables)
            return Planned(site, defaults.link, defaults.link)
        link = self.link_classes.named(table, "link") if "link" in table else defaults.link
        people = self.profiles.named(table, "people") if "people" in table else defaults.people
        site = replace(
            site,
            people=people,
            offset_ms=table.signed_ms("offset", default=0, most=OFFSET_MS_MAX),
            drift_ppm=table.number(
                "drift_ppm", default=0.0, least=-DRIFT_PPM_MAX, most=DRIFT_PPM_MAX
            ),
            tables=tables_of_site(table, defaults.tables),
        )
        return Planned(site, link, link)

    # The topology: a file, or a table that an earlier run has put in the place of one

    def _included(self) -> Mapping[str, SiteEntry]:
        if self.root.is_table("topology"):
            return self._included_table(self.root.table("topology"))
        name = self.root.text("topology", example="topology.toml")
        if name is None:
            return {}
        file = self.path.parent / name
        declared = read_topology(file)
        if declared.ruled:
            self.root.fault("topology", f"{RULES_BY_LINK}; take them out of {file.name}")
        self.text = self._with_topology(file)
        self._keep_tables(chosen(self.root, declared.tables))
        return declared.sites_by_name

    def _included_table(self, topology: Keys) -> Mapping[str, SiteEntry]:
        _read_name(topology)
        self._keep_tables(tables_of_all(topology))
        sites = topology.table("sites")
        entries: dict[str, SiteEntry] = {}
        for name, table in sites.tables():
            if fault := name_fault(name):
                sites.fault(name, fault)
            entries[name] = _entry(name, table)
            table.refuse_unknown()
        for key in sites.remaining():
            sites.fault(key, f"must be a table, such as [topology.sites.{key}]")
        topology.refuse_unknown()
        return entries

    def _keep_tables(self, tables: tuple[str, ...] | None) -> None:
        if tables is not None and self._defaults.tables is not None:
            self.root.fault("tables", "is for the topology to say, which has [tables], too")
        self._defaults = replace(self._defaults, tables=tables or self._defaults.tables)

    def _with_topology(self, file: Path) -> str:
        # The topology is checked: a line of it that begins with a bracket is a header.
        inside = _HEADER.sub(r"\1topology.", file.read_text(encoding="utf-8-sig"))
        lines = self.text.splitlines()
        for number, line in enumerate(lines):
            if _TOPOLOGY_LINE.fullmatch(line):
                rest = (*lines[:number], f"# {file.name} stands below.", *lines[number + 1 :])
                text = "\n".join((*rest, "", f"# {file.name}", "[topology]", inside))
                if self._same_but_topology(text):
                    return text
        self.root.fault("topology", f'must stand in one line: topology = "{file.name}"')
        return self.text

    def _same_but_topology(self, text: str) -> bool:
        """The line was the key, not one of a text that looks like it."""
        try:
            changed, before = tomllib.loads(text), tomllib.loads(self.text)
        except tomllib.TOMLDecodeError:
            return False
        return isinstance(changed.pop("topology", None), dict) and changed == {
            key: value for key, value in before.items() if key != "topology"
        }

    def _read_patterns(self) -> None:
        for table in self.root.list_of_tables("patterns"):
            under = table.text("under", example="kigali")
            if under is not None and under not in self.planned:
                table.fault(
                    "under",
                    f"{shown(under)} is not declared before; {meant(under, self.planned)}",
                )
                under = next(iter(self.planned), None)
            made = pattern(
                table, under, self.link_classes.named, self.profiles.named, self._defaults
            )
            table.refuse_unknown()
            for planned in made:
                if planned.site.name in self.planned:
                    table.fault(
                        "names",
                        f"makes a second site {planned.site.name}; choose another name",
                    )
                    break
                self.planned[planned.site.name] = planned

    # Links

    def _read_links(self) -> None:
        pairs: _Pairs = {}
        for planned in self.planned.values():
            site = planned.site
            declared = [(site.parent, planned.link)] if site.parent else []
            declared += [(peer, planned.link_beside) for peer in site.peers]
            for other, kind in declared:
                pairs.setdefault(frozenset((site.name, other)), (site.name, other, kind))
        for table in self.root.list_of_tables("connections"):
            self._connect(table, pairs)
        if len(pairs) > LINKS_MAX:
            self.document.fault(
                ("sites",), f"there are {len(pairs)} links; {LINKS_MAX} are possible"
            )
        for one, other, kind in pairs.values():
            if kind is None:
                self.document.fault(
                    ("sites", one),
                    f"the link from {one} to {other} has no class; write link = "
                    f'"{self.link_classes.example()}" at the site, or in [defaults]',
                )
        self.links = tuple(Link(*pair[:2], pair[2]) for pair in pairs.values() if pair[2])
        self._refuse_parted(pairs)

    def _connect(self, table: Keys, pairs: _Pairs) -> None:
        """All pairs of `between` are peers, or have another class of link than before."""
        between = table.texts("between", example="kigali") or ()
        if len(between) < 2:
            table.fault("between", 'must name two sites or more, such as ["kigali", "butaro"]')
        kind = self._defaults.link
        if "link" in table:
            kind = self.link_classes.named(table, "link")
        table.refuse_unknown()
        for index, name in enumerate(between):
            if name not in self.planned:
                fault = f"{shown(name)} is no site; {meant(name, self.planned)}"
                table.fault(("between", index), fault)
        known = [name for name in between if name in self.planned]
        for place, one in enumerate(known):
            for other in known[place + 1 :]:
                pair = frozenset((one, other))
                if pair in pairs:
                    pairs[pair] = (*pairs[pair][:2], kind)
                    continue
                pairs[pair] = (one, other, kind)
                planned = self.planned[one]
                peers = (*planned.site.peers, other)
                self.planned[one] = replace(planned, site=replace(planned.site, peers=peers))

    def _refuse_parted(self, pairs: _Pairs) -> None:
        """Sites without a way between them can never hold the same rows; and what a site does
        not keep does not travel through it."""
        near: dict[str, list[str]] = {name: [] for name in self.planned}
        if any(other not in near for _, other, _ in pairs.values()):
            return  # which has been told
        for one, other, _ in pairs.values():
            near[one].append(other)
            near[other].append(one)
        if lost := _parted(near, list(near)):
            self.document.fault(
                ("sites", lost[1]),
                f"there is no way from {lost[0]} to {lost[1]}; give one a parent or peers, "
                "or write [[connections]]",
            )
            return
        for table in TABLES:
            keepers = [s.name for s in self.sites if s.tables is None or table in s.tables]
            if lost := _parted(near, keepers):
                self.document.fault(
                    ("sites", lost[1], "tables"),
                    f"{lost[1]} keeps {table}, and so does {lost[0]}, but not the sites between "
                    "them; keep it there, too",
                )
                return


def _parted(near: Mapping[str, Sequence[str]], names: Sequence[str]) -> tuple[str, str] | None:
    """Two of the sites between which there is no way through these sites alone."""
    left = dict.fromkeys(names)
    if not left:
        return None
    waiting = deque(names[:1])
    del left[names[0]]
    while waiting:
        for other in near[waiting.popleft()]:
            if other in left:
                del left[other]
                waiting.append(other)
    return (names[0], next(iter(left))) if left else None


def _entry(name: str, table: Keys) -> SiteEntry:
    refuse_later(table, "budget", "with")
    return SiteEntry(
        name,
        url=table.text("url", example="https://sync.kigali.example:8470", check=url_fault),
        parents=parents(table),
        peers=table.texts("peers", example="kigali") or (),
        rules=SiteRules(levels=(Said(keys=LinkKeys(every_ms=every_ms(table))),)),
    )


def _read_name(root: Keys) -> None:
    network = root.table("network")
    network.text("name", example="rwinkwavu", check=name_fault)
    if "tables" in network:
        network.any_value("tables")
        network.fault("tables", f"{RULES_BY_LINK}; remove it")
    network.refuse_unknown()
    refuse_later(root, "groups")


def _above(site: Site) -> tuple[str, ...]:
    return (site.parent,) if site.parent is not None else ()
