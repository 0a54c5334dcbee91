"""What a topology declares and cannot do: sites that no change reaches, links nobody can begin.

`read_topology` refuses what is wrong in itself (circles of parents, unknown names); here is what is
well formed and still does not work.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from syncnode.settings.toml_lines import Path as TomlPath
from syncnode.settings.toml_lines import line_of, lines_by_path
from syncnode.settings.topology import SiteEntry, Topology
from syncnode.settings.topology_tables import Needed, unclosed, unreached

NAMED = 8  # sites named in one sentence


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not work as declared.

    Attributes:
        line: In the topology's file.
        key: What stands there, as people write it.
        text: What is wrong, and what would do.
    """

    line: int
    key: str
    text: str


def check(topology: Topology, needed: Iterable[Needed] = ()) -> tuple[Finding, ...]:
    """Everything that does not work, in the order of the lines. `needed`: what tables refer to."""
    lines = lines_by_path(topology.path.read_text("utf-8-sig").replace("\r\n", "\n"))
    found = [
        *_apart(topology),
        *_unbegun(topology),
        *unreached(topology),
        *unclosed(topology, needed),
    ]
    return tuple(
        sorted(
            (Finding(line_of(lines, path), ".".join(map(str, path)), text) for path, text in found),
            key=lambda finding: (finding.line, finding.key),
        )
    )


def islands(topology: Topology) -> list[list[str]]:
    """The sites that changes can go between, together; the largest first."""
    beside: dict[str, list[str]] = {name: [] for name in topology.sites_by_name}
    for one, other in links(topology):
        beside[one].append(other)
        beside[other].append(one)
    left = dict.fromkeys(topology.sites_by_name)
    found: list[list[str]] = []
    while left:
        island = [next(iter(left))]
        del left[island[0]]
        for name in island:  # grows while it is walked
            for other in beside[name]:
                if other in left:
                    del left[other]
                    island.append(other)
        found.append(island)
    return sorted(found, key=len, reverse=True)


def links(topology: Topology) -> Iterator[tuple[str, str]]:
    """Each two sites that exchange, once: child and parent, or two peers."""
    for site in topology.sites_by_name.values():
        for parent in site.parents:
            yield site.name, parent
    yield from beside(topology)


def beside(topology: Topology) -> list[tuple[str, str]]:
    """Each two peers, once, in the order of the file."""
    found: dict[frozenset[str], tuple[str, str]] = {}
    for site in topology.sites_by_name.values():
        for peer in site.peers:
            found.setdefault(frozenset((site.name, peer)), (site.name, peer))
    return list(found.values())


def _apart(topology: Topology) -> Iterator[tuple[TomlPath, str]]:
    main, *others = islands(topology) or [[]]
    for island in others:
        tops = [name for name in island if not topology.sites_by_name[name].parents]
        top = tops[0] if tops else island[0]
        which = f"{_named(island)} are" if len(island) > 1 else "is"
        yield (
            ("sites", top),
            f"{which} linked to nobody else, so what is written there reaches no other site and "
            f"what others write never comes; give {top} a parent, or peers, such as "
            f'peers = ["{main[0]}"]',
        )


def _unbegun(topology: Topology) -> Iterator[tuple[TomlPath, str]]:
    """Links of which neither site has an address: nobody can call."""
    sites = topology.sites_by_name
    for one, other in links(topology):
        if sites[one].url or sites[other].url:
            continue
        yield (
            ("sites", one, _key_of(sites[one], other)),
            f"neither {one} nor {other} has an address, so neither can call the other; give "
            f'{other} one, such as url = "https://sync.{other}.example:8470"',
        )


def _key_of(site: SiteEntry, other: str) -> str:
    """Where a site's table names the other."""
    if other not in site.parents:
        return "peers"
    return "parent" if len(site.parents) == 1 else "parents"


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown
