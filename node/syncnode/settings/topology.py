"""`topology.toml`: the whole network in one file, the same for every site and for simulations.

It says who is whose parent, where sites are reached, how often they call and which tables take
part, under which preset and rules (`schema/rule_files.py`), and which tables cross which links
(`link_rules.py`); no secrets. What the grammar has but this version does not carry out (budgets,
priorities) is checked for its form and then refused: a rule that is silently ignored would be worse
than none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from syncnode.schema.rule_files import (
    Maps,
    preset_fault,
    preset_path,
    read_maps,
    read_preset,
    rules_by_table,
)
from syncnode.schema.rules import Layer, TableRules
from syncnode.settings.link_keys import NOTHING_SAID
from syncnode.settings.link_rules import (
    CHILDREN,
    NO_RULES,
    Group,
    Said,
    SiteRules,
    read_groups,
    read_rules,
    read_said,
    said_by_groups,
)
from syncnode.settings.toml_reader import Document, Table, meant, shown
from syncproto.errors import ConfigError

NAME_CHARS_MAX = 64  # fits a line of every report, and a label of a host name
TABLE_NAME_CHARS_MAX = 128  # MariaDB allows 64; SQLite anything

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?")
_LATER = "is not carried out by this version; remove the key"


@dataclass(frozen=True, slots=True)
class TableChoice:
    """Which tables take part.

    Attributes:
        only: These and what they refer to; None for every table.
        exclude: Not these.
        preset: The name of the preset that comes with syncnode, or the path of one's own.
        rules: What the preset says of tables, then what the file itself does.
        pass_on: Keep rows of tables that are not in this database, and pass them on.
        renamed: Old and new names of tables that the application has renamed; "table.column"
            with no new name for a column that is gone for good.
    """

    only: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    preset: str | None = None
    rules: tuple[Layer, ...] = ()
    pass_on: bool = True
    renamed: tuple[tuple[str, str], ...] = ()

    @property
    def keeps_unknown(self) -> bool:
        """Whether rows of tables that are not here are kept: not where tables were chosen."""
        return self.pass_on and self.only is None


EVERY_TABLE = TableChoice()
NOTHING = Said(keys=NOTHING_SAID)


@dataclass(frozen=True, slots=True)
class SiteEntry:
    """What the topology declares of one site.

    Attributes:
        url: Where others call it, `https://host:port`; None when nobody can.
        parents: The peers one level up, the first before the others; none at the top.
        peers: Sites beside it that it exchanges with, too.
        rules: What is said of its links where it is declared.
    """

    name: str
    url: str | None = None
    parents: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    rules: SiteRules = NO_RULES

    @property
    def parent(self) -> str | None:
        """The first of its parents."""
        return self.parents[0] if self.parents else None

    @property
    def every_ms(self) -> int | None:
        """How often it calls others, as it is said of the site itself."""
        return next((said.keys.every_ms for said in self.rules.levels), None)


@dataclass(frozen=True, slots=True)
class Topology:
    """A network as its file declares it, checked.

    Attributes:
        path: The file.
        network: Its name, if it has one.
        sites_by_name: In the order of the file.
        tables: The choice for the whole network.
        said: What is said of the links of every site.
        groups: What is said of some sites together.
    """

    path: Path
    network: str | None
    sites_by_name: Mapping[str, SiteEntry]
    tables: TableChoice
    said: Said = NOTHING
    groups: tuple[Group, ...] = ()

    @property
    def ruled(self) -> bool:
        """Whether something is said of tables on links."""
        return any(self.rules_of(name).speaks_of_tables for name in self.sites_by_name)

    def rules_of(self, name: str) -> SiteRules:
        """Everything that is said of a site's links."""
        levels = tuple(filter(None, (said_by_groups(self.groups, name), self.said)))
        return SiteRules(levels=levels).below(self.sites_by_name[name].rules)

    def children(self, name: str) -> tuple[str, ...]:
        """The sites one level below `name`."""
        return tuple(site.name for site in self.sites_by_name.values() if name in site.parents)

    def neighbours(self, name: str) -> tuple[str, ...]:
        """Whom `name` exchanges with: its parents, its peers (by either's word), its children."""
        site = self.sites_by_name[name]
        beside = [
            other.name
            for other in self.sites_by_name.values()
            if other.name in site.peers or name in other.peers
        ]
        return (*site.parents, *beside, *self.children(name))


def read_topology(path: Path) -> Topology:
    """The network that the file declares.

    Raises:
        ConfigError: The file is missing or broken; the text has a line for every fault.
    """
    document = Document(path)
    root = document.root
    network_table = root.table("network")
    network = network_table.text("name", example="rwinkwavu", check=name_fault)
    said = read_said(network_table)
    network_table.refuse_unknown()
    sites_table = root.table("sites")
    sites_by_name = _sites(sites_table)
    refuse_impossible_sites(sites_table, sites_by_name)
    groups = read_groups(root.table("groups"), sites_by_name, "is not declared under [sites]")
    tables_table = root.table("tables")
    tables = table_choice(tables_table, read_maps(root.table("maps")))
    tables = replace(tables, renamed=renamings(root.table("renamed")))
    tables_table.refuse_unknown()
    root.refuse_unknown()
    document.refuse_faults()
    topology = Topology(path, network, sites_by_name, tables, said, groups)
    _refuse_words_of_strangers(sites_table, topology)
    document.refuse_faults()
    return topology


def table_choice(table: Table, maps: Maps | None = None) -> TableChoice:
    """What a `[tables]` says; unknown keys are for the caller to refuse. `maps`: of its file."""
    only = table.texts("only", example="person")
    exclude = table.texts("exclude", example="audit_log") or ()
    if only is not None and not only and "only" in table:
        table.fault("only", "names no table; name one, or remove the key to take every table")
    for key, names in (("only", only or ()), ("exclude", exclude)):
        for index, name in enumerate(names):
            if fault := table_name_fault(name):
                table.fault((key, index), fault)
    for index, name in enumerate(exclude):
        if only and name in only:
            table.fault(
                ("exclude", index), f'{shown(name)} stands in "only" too; keep one of the two'
            )
    pass_on = table.flag("pass_on", default=True)
    preset, rules = _preset(table)
    path = table.document.path
    modified = table.texts("modified", example="date") or ()
    own = Layer(str(path), _own_rules(table, maps), modified, path)
    return TableChoice(only, exclude, preset, (*rules, own) if own else rules, pass_on)


def _preset(table: Table) -> tuple[str | None, tuple[Layer, ...]]:
    folder = table.document.path.parent
    name = table.text("preset", example="openmrs", check=lambda name: preset_fault(name, folder))
    if name is None:
        return None, ()
    try:
        return preset_name(name, folder), (read_preset(name, folder),)
    except ConfigError as error:
        # Its faults carry the preset's own lines; they are reported with ours.
        table.document.refer(str(error))
        return None, ()


def preset_name(name: str, folder: Path) -> str:
    """The preset's name, or the absolute path of one's own."""
    path = preset_path(name, folder)
    return str(path) if path == folder / name else name


def renamings(table: Table) -> tuple[tuple[str, str], ...]:
    """What a `[renamed]` says: `old = "new"`, and `"table.column" = false` of what went."""
    found: dict[str, str] = {}
    for old in list(table.remaining()):
        if table.value(old) is False and "." in old:
            found[old] = ""
            continue
        new = table.text(old, example="the new name", check=table_name_fault)
        if fault := table_name_fault(old):
            table.fault(old, fault)
        if new == old:
            table.fault(old, "is its own new name; remove the line")
        elif new in found.values():
            table.fault(old, f"{shown(new)} is the new name of two tables; keep one")
        elif new:
            found[old] = new
    return tuple(found.items())


def _own_rules(table: Table, maps: Maps | None) -> Mapping[str, TableRules]:
    rules = rules_by_table(table, maps)
    for name in rules:
        if fault := table_name_fault(name):
            table.fault(name, fault)
    return rules


def name_fault(name: str) -> str | None:
    """What is wrong with the name of a site or network, and what would do."""
    if name == CHILDREN:
        return f"{shown(name)} stands for all children of a site; give the site another name"
    if len(name) > NAME_CHARS_MAX:
        return f"is longer than {NAME_CHARS_MAX} characters; shorten it"
    if not _NAME.fullmatch(name):
        return (
            f"{shown(name)} is no name; use letters, digits, and . _ - within, "
            'such as "kigali" or "site-7"'
        )
    return None


def url_fault(url: str) -> str | None:
    """What is wrong with the address of a site, and what would do."""
    would_do = 'write "https://host:port", such as "https://sync.kigali.example:8470"'
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return f"{shown(url)} is no address; {would_do}"
    if parts.scheme == "http":
        return f'{shown(url)} is not encrypted; write "https://", the node serves nothing else'
    if parts.scheme != "https" or not host or re.search(r"[\s\x00-\x1f\x7f]", url):
        return f"{shown(url)} is no address; {would_do}"
    if parts.username is not None or parts.password is not None:
        return f"has a user name or password in it; remove them: {would_do}"
    if not port:
        return f"{shown(url)} lacks the port; {would_do}"
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        return f"{shown(url)} has more than host and port; {would_do}"
    return None


def table_name_fault(name: str) -> str | None:
    """What is wrong with the name of a table, and what would do."""
    if len(name) > TABLE_NAME_CHARS_MAX:
        return f"{shown(name)} is longer than {TABLE_NAME_CHARS_MAX} characters; shorten it"
    if not name.isprintable():
        return "holds a control character; write the name of a table"
    if name.lower().startswith("syncnode_"):
        return f"{shown(name)} is the node's own; only the application's tables can be named"
    return None


def _sites(sites_table: Table) -> dict[str, SiteEntry]:
    sites_by_name: dict[str, SiteEntry] = {}
    for name, table in sites_table.tables():
        if fault := name_fault(name):
            sites_table.fault(name, fault)
        sites_by_name[name] = SiteEntry(
            name,
            url=table.text("url", example="https://sync.kigali.example:8470", check=url_fault),
            parents=parents(table),
            peers=table.texts("peers", example="kigali") or (),
            rules=read_rules(table),
        )
        table.refuse_unknown()
    for key in sites_table.remaining():
        sites_table.fault(key, f"must be a table, such as [sites.{key}]")
    return sites_by_name


def parents(table: Table) -> tuple[str, ...]:
    """The sites one level up: `parent`, or `parents` where there are several."""
    one = table.text("parent", example="kigali")
    several = table.texts("parents", example="kigali")
    if one is not None and several is not None:
        table.fault("parents", 'stands beside "parent"; keep one of the two')
    return (one,) if one is not None else several or ()


def refuse_impossible_sites(sites_table: Table, sites_by_name: dict[str, SiteEntry]) -> None:
    """Note what contradicts itself between the sites: parents and peers that are not there, circles
    of parents, one address for two."""
    site_by_url: dict[str, str] = {}
    for name, site in sites_by_name.items():
        if site.url:
            other = site_by_url.setdefault(site.url.rstrip("/").lower(), name)
            if other != name:
                sites_table.fault(
                    (name, "url"), f"is the address of {other} too; give each its own"
                )
        for index, parent in enumerate(site.parents):
            key = ("parent",) if len(site.parents) == 1 else ("parents", index)
            if parent == name:
                sites_table.fault((name, *key), "is the site itself; name another or remove it")
            elif parent not in sites_by_name:
                sites_table.fault((name, *key), _undeclared(parent, name, sites_by_name))
        for index, peer in enumerate(site.peers):
            place = (name, "peers", index)
            if peer == name:
                sites_table.fault(place, "is the site itself; remove it")
            elif peer not in sites_by_name:
                sites_table.fault(place, _undeclared(peer, name, sites_by_name))
            elif peer in site.parents or name in sites_by_name[peer].parents:
                sites_table.fault(place, f"{shown(peer)} is its parent or child already; remove it")
    for cycle in _cycles(sites_by_name):
        several = len(sites_by_name[cycle[0]].parents) > 1
        sites_table.fault(
            (cycle[0], "parents" if several else "parent"),
            f"makes a circle of parents ({' -> '.join((*cycle, cycle[0]))}); "
            "one of them must be without a parent: use peers for what lies beside",
        )


def _undeclared(wrong: str, name: str, sites_by_name: dict[str, SiteEntry]) -> str:
    others = [other for other in sites_by_name if other != name]
    return f"{shown(wrong)} is not declared under [sites]; {meant(wrong, others)}"


def _cycles(sites_by_name: dict[str, SiteEntry]) -> list[list[str]]:
    """Circles of parents, each from its first site in the file; every site that is in one is in
    one of these."""
    cycles: list[list[str]] = []
    done: set[str] = set()
    for name in sites_by_name:
        circle = _way_back(name, sites_by_name)
        if circle and name not in done:
            cycles.append(circle)
            done.update(circle)
    return cycles


def _way_back(name: str, sites_by_name: dict[str, SiteEntry]) -> list[str]:
    """From a site over parents to itself, by other sites; empty if no way leads back."""
    ways, seen = [[name]], {name}
    for way in ways:  # grows while it is walked
        for parent in sites_by_name[way[-1]].parents:
            if parent == name and len(way) > 1:
                return way
            if parent in sites_by_name and parent not in seen:
                seen.add(parent)
                ways.append([*way, parent])
    return []


def _refuse_words_of_strangers(sites_table: Table, topology: Topology) -> None:
    """Words of a link that the two sites do not have."""
    for name, site in topology.sites_by_name.items():
        neighbours = topology.neighbours(name)
        for other in site.rules.pairs:
            if other != CHILDREN and other not in neighbours:
                sites_table.fault(
                    (name, "with", other),
                    f"{name} exchanges with no site {shown(other)}; {meant(other, neighbours)}",
                )
