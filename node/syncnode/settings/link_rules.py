"""Which tables cross which links: the words of the network, of groups, of sites and of pairs.

    [network.tables]
    form_log = "send"                   # every site reports it upward, and gets nobody's

    [groups.posts]
    sites = ["gitarama", "huye"]
    tables."*" = "receive"

    [sites.huye.tables]
    global_property = "none"            # both | send | receive | none

    [sites.kigali.with.huye.tables]     # this link alone; `with.children`: those to all children
    person = "both"

A word stands for the site that it is said of: "send" means that the site sends the table and does
not receive it. Of a pair it holds for that link. Of a site, a group or the network it holds for the
links to parents and peers: below, each child has words of its own; only "none", which says that the
site does not take part in the table, holds for every link. The nearest word decides: pair, then
`with.children`, site, group, network; at each of them a table's own word before that of "*".
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

from syncnode.settings.link_keys import KEYS, NOTHING_SAID, LinkKeys, read_link_keys
from syncnode.settings.toml_reader import Table, shown
from syncproto.budget import Allowance
from syncproto.directions import Directions

DIRECTIONS = ("both", "send", "receive", "none")
BOTH, NONE = DIRECTIONS[0], DIRECTIONS[-1]
EVERY_TABLE = "*"
CHILDREN = "children"  # `with.children`; no site has this name

Words = Mapping[str, str]
"""By table, or "*": one of `DIRECTIONS`."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one place says of links: of tables, and of calls."""

    words: Words = field(default_factory=dict)
    keys: LinkKeys = NOTHING_SAID

    def __bool__(self) -> bool:
        return bool(self.words) or self.keys != NOTHING_SAID


@dataclass(frozen=True, slots=True)
class SiteRules:
    """What is said of one site's links, the nearest first.

    Attributes:
        pairs: By name of the other site, or `CHILDREN`.
        levels: Of the site, of its groups, of the network.
    """

    pairs: Mapping[str, tuple[Said, ...]] = field(default_factory=dict)
    levels: tuple[Said, ...] = ()

    @property
    def speaks_of_tables(self) -> bool:
        """Some table has a word."""
        return any(said.words for said in self._all())

    def below(self, nearer: "SiteRules") -> "SiteRules":
        """These rules, where `nearer` says nothing."""
        names = dict.fromkeys((*nearer.pairs, *self.pairs))
        return SiteRules(
            {name: (*nearer.pairs.get(name, ()), *self.pairs.get(name, ())) for name in names},
            (*nearer.levels, *self.levels),
        )

    def word(self, table: str, peer: str, *, child: bool) -> str:
        """What the site says of a table on the link to a peer, who may be its child."""
        for said in self._of_link(peer, child=child):
            if (word := _word(said.words, table)) is not None:
                return word
        for said in self.levels:
            if (word := _word(said.words, table)) is not None:
                return word if word == NONE or not child else BOTH
        return BOTH

    def keys(self, peer: str, *, child: bool) -> LinkKeys:
        """What is said of calls to a peer; of budgets only that for this link alone."""
        keys = self._keys_of(self._of_link(peer, child=child))
        return replace(keys.over(self._keys_of(self.levels)), budget=keys.budget)

    @property
    def budget(self) -> Allowance | None:
        """That for all links of the site together."""
        return self._keys_of(self.levels).budget

    def _keys_of(self, places: Iterable[Said]) -> LinkKeys:
        return reduce(lambda nearer, said: nearer.over(said.keys), places, NOTHING_SAID)

    def _of_link(self, peer: str, *, child: bool) -> tuple[Said, ...]:
        """What is said of this link, or of those to all children."""
        of_children = self.pairs.get(CHILDREN, ()) if child else ()
        return (*self.pairs.get(peer, ()), *of_children)

    def _all(self) -> Iterator[Said]:
        yield from self.levels
        for pair in self.pairs.values():
            yield from pair

    def directions(self, peer: str, tables: Iterable[str], *, child: bool) -> Directions:
        """What of the link to a peer stays back by these words."""
        unsent, unreceived = set(), set()
        for table in tables:
            word = self.word(table, peer, child=child)
            if word in ("receive", NONE):
                unsent.add(table)
            if word in ("send", NONE):
                unreceived.add(table)
        return Directions(frozenset(unsent), frozenset(unreceived))

    def named(self) -> Iterator[str]:
        """The tables that some word names, each once."""
        names = (name for said in self._all() for name in said.words)
        return iter(dict.fromkeys(name for name in names if name != EVERY_TABLE))

    @property
    def speaks_of_every_table(self) -> bool:
        """Some word is about "*"."""
        return any(EVERY_TABLE in said.words for said in self._all())


NO_RULES = SiteRules()


def read_words(table: Table) -> Words:
    """What a `tables` says: a word for each table."""
    found: dict[str, str] = {}
    for name in list(table.remaining()):
        word = table.choice(name, among=DIRECTIONS)
        if not name.strip():
            table.fault(name, 'is no name of a table; write the table\'s name, or "*" for all')
        elif word is not None:
            found[name] = word
    return found


def read_said(table: Table) -> Said:
    """What a table says of links: its own keys, and its `tables`."""
    return Said(read_words(table.table("tables")), read_link_keys(table))


def read_rules(table: Table) -> SiteRules:
    """What a site's table says of its links: itself, and its `with`."""
    said, pairs = read_said(table), read_pairs(table.table("with"))
    return SiteRules(pairs, (said,) if said else ()) if said or pairs else NO_RULES


def read_pairs(table: Table) -> Mapping[str, tuple[Said, ...]]:
    """What a `with` says, by the name of the other site."""
    pairs: dict[str, tuple[Said, ...]] = {}
    for name, one in list(table.tables()):
        pairs[name] = (read_said(one),)
        one.refuse_unknown()
    for key in table.remaining():
        table.fault(
            key, f"must be a table, such as [{'.'.join(map(str, table.path))}.{key}.tables]"
        )
    return pairs


@dataclass(frozen=True, slots=True)
class Group:
    """Sites of which something is said together."""

    name: str
    sites: tuple[str, ...]
    said: Said


def read_groups(table: Table, known: Iterable[str], undeclared: str) -> tuple[Group, ...]:
    """What a `[groups]` says. `undeclared`: what to say of a site that is not among `known`."""
    names, groups = set(known), []
    for name, one in list(table.tables()):
        sites = one.texts("sites", example="kigali") or ()
        for index, site in enumerate(sites):
            if site not in names:
                one.fault(("sites", index), f"{shown(site)} {undeclared}")
        if not sites:
            one.fault("sites", 'names no site; write, say, sites = ["kigali", "huye"]')
        groups.append(Group(name, sites, read_said(one)))
        one.refuse_unknown()
    for key in table.remaining():
        table.fault(key, f"must be a table, such as [groups.{key}]")
    _refuse_contradictions(table, groups)
    return tuple(groups)


def said_by_groups(groups: Iterable[Group], site: str) -> Said:
    """What all groups of a site say together."""
    of_site = [group.said for group in groups if site in group.sites]
    words = {table: word for said in of_site for table, word in said.words.items()}
    return Said(words, reduce(lambda keys, said: keys.over(said.keys), of_site, NOTHING_SAID))


def _refuse_contradictions(table: Table, groups: list[Group]) -> None:
    """Note where two groups of one site say different things."""
    first: dict[tuple[str, str], tuple[Group, object]] = {}
    for group in groups:
        for key, value in _values(group.said):
            for site in group.sites:
                other, before = first.setdefault((site, key), (group, value))
                if before != value:
                    table.fault(
                        (group.name, *key.split("/")),
                        f"{shown(site)} is in group {other.name} too, which says otherwise; say it "
                        f"of the site: [sites.{site}]",
                    )
                    return


def _values(said: Said) -> Iterator[tuple[str, object]]:
    for table, word in said.words.items():
        yield f"tables/{table}", word
    for name, key in KEYS.items():
        if (value := getattr(said.keys, key)) is not None:
            yield name, value


def _word(words: Words, table: str) -> str | None:
    return words.get(table) or words.get(EVERY_TABLE)
