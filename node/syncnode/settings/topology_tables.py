"""What the rules of tables in a topology cannot do: tables that do not arrive where a site is to
have them, sites that would hold rows without what these refer to.

A site that says itself that it does not send, or does not receive, has what it asked for; what is
named here is what *other* sites' rules keep from it without saying so.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from syncnode.settings.link_rules import CHILDREN, EVERY_TABLE
from syncnode.settings.toml_lines import Path as TomlPath
from syncnode.settings.topology import Topology
from syncproto.directions import Directions

NAMED = 4  # sites named in one sentence
OTHER_TABLES = "every other table"


@dataclass(frozen=True, slots=True)
class Needed:
    """A table whose rows cannot be written without rows of another.

    Attributes:
        column: By which it refers to it; never NULL.
    """

    table: str
    column: str
    parent: str


def unreached(topology: Topology) -> Iterator[tuple[TomlPath, str]]:
    """Tables that a third site's rule keeps from a site that is to have them."""
    for table in _tables(topology):
        yield from _Flow(topology, table).faults()


def unclosed(topology: Topology, needed: Iterable[Needed]) -> Iterator[tuple[TomlPath, str]]:
    """Sites that receive rows of a table and not the rows to which these refer (rule A15)."""
    ruled = frozenset(_tables(topology))
    flows: dict[str, _Flow] = {}
    for one in needed:
        if EVERY_TABLE not in ruled and ruled.isdisjoint((one.table, one.parent)):
            continue
        for name in (one.table, one.parent):
            flows.setdefault(name, _Flow(topology, name))
        yield from _waiting(one, flows[one.table], flows[one.parent])


def _waiting(one: Needed, rows: "_Flow", parents: "_Flow") -> Iterator[tuple[TomlPath, str]]:
    found: dict[TomlPath, dict[str, None]] = {}
    for writer in rows.writers:
        # Whoever wrote what stands there: the writer itself, and all whose rows come to it.
        authors = [one for one in parents.authors if writer in parents.reached(one)]
        for reader in rows.sites:
            if reader == writer or reader not in rows.reached(writer):
                continue
            for author in authors:
                if reader not in parents.reached(author):
                    found.setdefault(parents.keeping_out(author, reader), {})[reader] = None
    for place, readers in found.items():
        there = _named([site for site in rows.sites if site in readers])
        yield (
            place,
            f"{one.table} comes to {there} from sites whose {one.parent} does not, "
            f"and refers to it ({one.column}): such rows would wait there for ever; let "
            f"{one.parent} come too, or keep {one.table} away",
        )


def place_of(topology: Topology, site: str, table: str, peer: str) -> TomlPath:
    """Where the word stands that decides of a table on the link from a site to a peer; the site
    itself where nothing is said."""
    entry, child = topology.sites_by_name[site], peer in topology.children(site)
    pairs = entry.rules.pairs
    for name in (peer, CHILDREN) if child else (peer,):
        for said in pairs.get(name, ()):
            if (key := _key(said.words, table)) is not None:
                return ("sites", site, "with", name, "tables", key)
    for said in entry.rules.levels:
        if (key := _key(said.words, table)) is not None:
            return ("sites", site, "tables", key)
    for key in (table, EVERY_TABLE):
        for group in topology.groups:
            if site in group.sites and key in group.said.words:
                return ("groups", group.name, "tables", key)
    if (key := _key(topology.said.words, table)) is not None:
        return ("network", "tables", key)
    return ("sites", site)


class _Flow:
    """Where one table goes."""

    def __init__(self, topology: Topology, table: str) -> None:
        self._topology = topology
        self.table = table
        self.sites = tuple(topology.sites_by_name)
        self._reach: dict[str, frozenset[str]] = {}
        self._apart: dict[str, dict[str, str]] = {}
        self._links: dict[str, dict[str, Directions]] = {}
        for name in topology.sites_by_name:
            rules = topology.rules_of(name)
            children = frozenset(topology.children(name))
            self._links[name] = {
                peer: rules.directions(peer, [table], child=peer in children)
                for peer in topology.neighbours(name)
            }

    @cached_property
    def writers(self) -> list[str]:
        """Sites whose rows of it leave them."""
        return [site for site in self._links if self._sends(site)]

    @cached_property
    def authors(self) -> list[str]:
        """Sites where rows of it may be written: elsewhere what is written is undone, since it
        comes there and does not leave."""
        return [site for site in self._links if self._sends(site) or not self._receives(site)]

    def reached(self, writer: str) -> frozenset[str]:
        """The sites to which rows of a site come, and the site itself."""
        if writer not in self._reach:
            self._reach[writer] = frozenset(self._walked(writer))
        return self._reach[writer]

    def keeping_out(self, writer: str, reader: str) -> TomlPath:
        """Where it stands that rows of the one do not come to the other."""
        return next(iter(self._ends(writer, reader)), ("sites", reader))

    def faults(self) -> Iterator[tuple[TomlPath, str]]:
        """One for each rule that keeps the table from sites beyond its own."""
        found: dict[TomlPath, tuple[str, dict[str, None], dict[str, None]]] = {}
        for writer in self.writers:
            reached = self.reached(writer)
            for reader in self._links:
                if reader in reached or not self._receives(reader):
                    continue
                for place, keeper in self._keepers(writer, reader).items():
                    _, writers, readers = found.setdefault(place, (keeper, {}, {}))
                    writers[writer], readers[reader] = None, None
        for place, (keeper, writers, readers) in found.items():
            yield place, self._text(keeper, list(writers), list(readers))

    def _text(self, keeper: str, writers: list[str], readers: list[str]) -> str:
        table = self.table if self.table != EVERY_TABLE else OTHER_TABLES
        return (
            f"what {_named(writers)} {_verb(writers, 'writes', 'write')} of {table} does not all "
            f"come to {_named(readers)}, since {keeper} does not pass it on; change this word, "
            f"give them another way, or say of them that they do not send or receive it"
        )

    def _sends(self, site: str) -> bool:
        return any(not words.unsent for words in self._links[site].values())

    def _receives(self, site: str) -> bool:
        return any(not words.unreceived for words in self._links[site].values())

    def _crosses(self, sender: str, receiver: str) -> bool:
        return (
            not self._links[sender][receiver].unsent
            and not self._links[receiver][sender].unreceived
        )

    def _walked(self, writer: str) -> set[str]:
        reached, ways = {writer}, [writer]
        for site in ways:  # grows while it is walked
            for peer in self._links[site]:
                if peer not in reached and self._crosses(site, peer):
                    reached.add(peer)
                    ways.append(peer)
        return reached

    def _keepers(self, writer: str, reader: str) -> Mapping[TomlPath, str]:
        """The rules of third sites at which the table ends on its way; none where the writer or
        the reader has it so by a word of its own."""
        ends = self._ends(writer, reader)
        if any(site in (writer, reader) for sites in ends.values() for site in sites):
            return {}
        return {place: sites[0] for place, sites in ends.items()}

    def _ends(self, writer: str, reader: str) -> Mapping[TomlPath, list[str]]:
        """The words at which the table ends on all its ways from one site to another, and whose
        words these are."""
        reached, found = self.reached(writer), dict[TomlPath, list[str]]()
        island = self._islands(writer).get(reader)
        for site in self._links:
            for peer in self._links[site] if site in reached else ():
                if peer in reached or self._islands(writer)[peer] != island:
                    continue
                if self._links[site][peer].unsent:
                    found.setdefault(self._place(site, peer), []).append(site)
                if self._links[peer][site].unreceived:
                    found.setdefault(self._place(peer, site), []).append(peer)
        return found

    def _place(self, site: str, peer: str) -> TomlPath:
        return place_of(self._topology, site, self.table, peer)

    def _islands(self, writer: str) -> Mapping[str, str]:
        """The sites that the writer's rows do not reach, each with the first of those that are
        linked with it without the reached ones."""
        if writer in self._apart:
            return self._apart[writer]
        reached = self.reached(writer)
        found = self._apart[writer] = dict[str, str]()
        for first in self._links:
            if first in reached or first in found:
                continue
            found[first], ways = first, [first]
            for site in ways:  # grows while it is walked
                for peer in self._links[site]:
                    if peer not in reached and peer not in found:
                        found[peer] = first
                        ways.append(peer)
        return found


def _tables(topology: Topology) -> list[str]:
    """Each table that a word names, and one that stands for all others where "*" has a word."""
    rules = [topology.rules_of(name) for name in topology.sites_by_name]
    named = dict.fromkeys(name for one in rules for name in one.named())
    every = any(one.speaks_of_every_table for one in rules)
    return [*named, *([EVERY_TABLE] if every else [])]


def _key(words: Mapping[str, str], table: str) -> str | None:
    return next((key for key in (table, EVERY_TABLE) if key in words), None)


def _named(names: list[str]) -> str:
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _verb(names: list[str], one: str, several: str) -> str:
    return one if len(names) == 1 else several
