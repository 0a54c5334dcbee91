"""What a rule gets to work with, and what it must provide."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from syncproto.identity import SiteId
from syncsim.history import History
from syncsim.member import Member
from syncsim.scenario import Scenario
from syncsim.sizes import Sizes


@dataclass(frozen=True, slots=True)
class Setting:
    """The world as a member sees it.

    Attributes:
        scenario: The whole of it.
        site_ids: Of every member by its index; a rebuilt site gets another one.
        wall_ms: What the clock of a member shows.
        nonce: 32 bits drawn for a member.
        arrived: To be told of each write of others that comes to a member: its index, when the
            write was committed, and how many such.
        sizes: Reckons messages.
        history: The record.
    """

    scenario: Scenario
    site_ids: list[SiteId]
    wall_ms: Callable[[int], int]
    now_ms: Callable[[], int]
    nonce: Callable[[int], int]
    arrived: Callable[[int, int, int], None]
    sizes: Sizes
    history: History

    def tables(self, number: int) -> Sequence[str] | None:
        """The tables that a site keeps; None for all."""
        return self.scenario.sites[number].tables


class Rule(Protocol):
    """A way to keep databases in step.

    Attributes:
        name: As scenarios and reports call it.
        summary: One sentence on what it does.
        source: Where it is documented.
        anchored: Its sites have an identity beside the database, so that one that was put back to
            an older state, or copied, is noticed; and all converge within `bound_ms`.
    """

    name: str
    summary: str
    source: str
    anchored: bool

    def member(self, number: int, setting: Setting) -> Member:
        """The site of that index, empty."""
        ...

    def is_over(self, members: Sequence[Member]) -> bool:
        """Whether nothing that they will still say to each other changes what any of them shows,
        when nobody writes; False where that cannot be told."""
        ...

    def lost_updates(self, members: Sequence[Member], history: History) -> int:
        """How many values gave way in silence: they stand nowhere, nobody who knew them wrote
        over them, and no record names them."""
        ...
