"""Whom a site calls when its time has come: peer choice as plug-ins.

A choice is a function of what the site knows; the shipped node calls all of its peers that it
can reach ("parent-first" calls its parent each time and one of the others in turn).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random


@dataclass(slots=True)
class Neighbourhood:
    """Whom a site may call.

    Attributes:
        parent: The site one level up, if any.
        beside: Its peers.
        children: The sites one level down.
        turn: How often it has chosen.
        rng: Its own generator.
    """

    parent: int | None
    beside: Sequence[int]
    children: Sequence[int]
    rng: Random
    turn: int = 0

    def everybody(self) -> list[int]:
        """The parent, then peers, then children."""
        above = [self.parent] if self.parent is not None else []
        return [*above, *self.beside, *self.children]

    def copied(self) -> "Neighbourhood":
        return replace(self)


Choice = Callable[[Neighbourhood], Sequence[int]]


def parent_first(site: Neighbourhood) -> Sequence[int]:
    """The parent each time, and one of the peers beside in turn."""
    chosen = [site.parent] if site.parent is not None else []
    if site.beside:
        chosen.append(site.beside[site.turn % len(site.beside)])
    return chosen


def round_robin(site: Neighbourhood) -> Sequence[int]:
    """One of all neighbours, in turn."""
    everybody = site.everybody()
    return [everybody[site.turn % len(everybody)]] if everybody else []


def uniform(site: Neighbourhood) -> Sequence[int]:
    """One of all neighbours, drawn anew each time (Demers et al. 1987)."""
    everybody = site.everybody()
    return [site.rng.choice(everybody)] if everybody else []


def hub_polling(site: Neighbourhood) -> Sequence[int]:
    """The parent only, as children of a hub did in OpenMRS's Sync module. Peers below a hub never
    talk; those at the top do, one in turn, or two hubs would stay strangers."""
    if site.parent is not None:
        return [site.parent]
    return [site.beside[site.turn % len(site.beside)]] if site.beside else []


CHOICES: Mapping[str, Choice] = {
    "parent-first": parent_first,
    "round-robin": round_robin,
    "random": uniform,
    "hub-polling": hub_polling,
}
