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
from dataclasses import dataclass, field

from syncnode.settings.toml_reader import Table, shown
from syncproto.directions import Directions

DIRECTIONS = ("both", "send", "receive", "none")
BOTH, NONE = DIRECTIONS[0], DIRECTIONS[-1]
EVERY_TABLE = "*"
CHILDREN = "children"  # `with.children`; no site has this name

Words = Mapping[str, str]
"""By table, or "*": one of `DIRECTIONS`."""


@dataclass(frozen=True, slots=True)
class SiteWords:
    """What is said of one site's tables, the nearest first.

    Attributes:
        pairs: By name of the other site, or `CHILDREN`.
        levels: Of the site, of its groups, of the network.
    """

    pairs: Mapping[str, tuple[Words, ...]] = field(default_factory=dict)
    levels: tuple[Words, ...] = ()

    def __bool__(self) -> bool:
        return any(self.levels) or any(any(words) for words in self.pairs.values())

    def below(self, nearer: "SiteWords") -> "SiteWords":
        """These words, where `nearer` says nothing."""
        names = dict.fromkeys((*nearer.pairs, *self.pairs))
        return SiteWords(
            {name: (*nearer.pairs.get(name, ()), *self.pairs.get(name, ())) for name in names},
            (*nearer.levels, *self.levels),
        )

    def word(self, table: str, peer: str, *, child: bool) -> str:
        """What the site says of a table on the link to a peer, who may be its child."""
        for words in self.pairs.get(peer, ()):
            if (said := _said(words, table)) is not None:
                return said
        if child:
            for words in self.pairs.get(CHILDREN, ()):
                if (said := _said(words, table)) is not None:
                    return said
        for words in self.levels:
            if (said := _said(words, table)) is not None:
                return said if said == NONE or not child else BOTH
        return BOTH

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
        said = [*self.levels, *(words for pair in self.pairs.values() for words in pair)]
        return iter(dict.fromkeys(name for words in said for name in words if name != EVERY_TABLE))


NO_WORDS = SiteWords()


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


def read_pairs(table: Table) -> Mapping[str, tuple[Words, ...]]:
    """What a `with` says: words by the name of the other site."""
    pairs: dict[str, tuple[Words, ...]] = {}
    for name, one in list(table.tables()):
        pairs[name] = (read_words(one.table("tables")),)
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
    words: Words


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
        groups.append(Group(name, sites, read_words(one.table("tables"))))
        one.refuse_unknown()
    for key in table.remaining():
        table.fault(key, f"must be a table, such as [groups.{key}]")
    _refuse_contradictions(table, groups)
    return tuple(groups)


def words_of_groups(groups: Iterable[Group], site: str) -> Words:
    """What all groups of a site say together."""
    return {t: word for group in groups if site in group.sites for t, word in group.words.items()}


def _refuse_contradictions(table: Table, groups: list[Group]) -> None:
    said: dict[tuple[str, str], Group] = {}
    for group in groups:
        for name, word in group.words.items():
            for site in group.sites:
                other = said.setdefault((site, name), group)
                if other.words[name] != word:
                    table.fault(
                        (group.name, "tables", name),
                        f"{shown(site)} is in group {other.name} too, which says "
                        f"{shown(other.words[name])}; say it of the site: [sites.{site}.tables]",
                    )
                    return


def _said(words: Words, table: str) -> str | None:
    return words.get(table) or words.get(EVERY_TABLE)
