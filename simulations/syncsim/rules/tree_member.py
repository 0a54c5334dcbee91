"""A site of a product that knows parents and children, and sends each of them, in order, what it
has not acknowledged yet.

What such products have in common: one queue for each neighbour; what came from one goes on to the
others; a server that was lost is set up anew under another identity and gets an initial load.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

from syncproto.identity import SiteId
from syncsim.member import Member, Place
from syncsim.rules.hierarchy import Routes, tree
from syncsim.rules.port import Setting
from syncsim.rules.rival import Rival, RivalMember
from syncsim.rules.rows import Image, Rows
from syncsim.scenario import Scenario
from syncsim.schema import TABLES

T = TypeVar("T")


@dataclass
class TreeDatabase(Generic[T]):
    """What the database of such a site remembers.

    Attributes:
        out: For each neighbour what it has not acknowledged yet.
        loaded: For each neighbour the last of its requests for an initial load that was granted.
        loaded_by: Where the own initial load comes from, until it is there.
        request: The number of the own request for that.
    """

    rows: Rows
    out: dict[int, deque[T]]
    loaded: dict[int, int] = field(default_factory=dict)
    loaded_by: int | None = None
    request: int = 0

    def copied(self) -> Self:
        raise NotImplementedError


DB = TypeVar("DB", bound=TreeDatabase[Any])


class TreeRival(Rival):
    """A rule of such sites.

    Attributes:
        members: The site of each index that is there now.
        requests: How many initial loads were asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.members: dict[int, TreeMember[Any]] = {}
        self.requests = 0
        self._routes: Routes | None = None

    def routes_of(self, scenario: Scenario) -> Routes:
        """Of each site with whom it exchanges, its parent first."""
        if self._routes is None:
            self._routes = self.routes(scenario)
        return self._routes

    def routes(self, scenario: Scenario) -> Routes:
        return tree(scenario)

    def is_over(self, members: Sequence[Member]) -> bool:
        return not any(isinstance(member, TreeMember) and member.waits for member in members)

    def set_up(self, member: "TreeMember[Any]") -> None:
        """The first servers are copies of each other. One that is set up later is loaded from its
        parent, or else from the first neighbour whose database is whole; where there is none, it
        begins with nothing."""
        if member.number in self.members:
            for other in member.neighbours:
                if self.members[other].database.loaded_by is None:
                    member.wait_for_load(other)
                    break
        self.members[member.number] = member


class TreeMember(RivalMember[DB]):
    """One site."""

    def __init__(self, number: int, setting: Setting, rule: TreeRival, database: DB) -> None:
        super().__init__(number, setting, database)
        self.neighbours = rule.routes_of(setting.scenario)[number]
        self._rule = rule
        rule.set_up(self)

    @property
    def site(self) -> SiteId:
        return self.rows.site

    def request_to(self, peer: int) -> int:
        """The number of the request for an initial load from there; 0 for none."""
        return self.database.request if self.database.loaded_by == peer else 0

    @property
    def waits(self) -> bool:
        return self.database.loaded_by is not None or any(self.database.out.values())

    def tables_of(self, peer: int) -> frozenset[str]:
        """Which tables go to a neighbour."""
        return frozenset(self._setting.tables(peer) or TABLES)

    def exchanges_with(self, peer: int) -> bool:
        """Whether anything passes between the two: a server that waits for its initial load
        speaks to nobody else."""
        return peer in self.database.out and self.database.loaded_by in (None, peer)

    def meets(self, peer: int, identity: SiteId, request: int) -> bool:
        """Whether to listen to a caller under that identity; grants its request for a load."""
        if not self.exchanges_with(peer) or identity != self._setting.site_ids[peer]:
            return False  # the last is a late message of a server that is no more
        if request > self.database.loaded.get(peer, 0) and self.database.loaded_by is None:
            self.database.loaded[peer] = request
            self.drop_queue(peer)
            self.database.out[peer].extend(self.load_for(peer))
            self._version += 1
        return True

    def drop_queue(self, peer: int) -> None:
        """Of what waits for a server that is no more."""
        self.database.out[peer].clear()

    def load_for(self, peer: int) -> Iterator[Any]:
        """All rows for a new server, as what is sent otherwise, and what marks their end."""
        raise NotImplementedError

    def pieces_for(self, peer: int, rows_max: int) -> Iterator[list[tuple[Place, Image]]]:
        """All rows that go to a neighbour, those that others refer to first; one piece at least."""
        tables = self.tables_of(peer)
        rows = [
            (place, row)
            for table in TABLES
            if table in tables
            for place, row in self.rows.images.items()
            if place[0] == table
        ]
        for at in range(0, max(1, len(rows)), rows_max):
            yield rows[at : at + rows_max]

    def wait_for_load(self, source: int) -> None:
        self._rule.requests += 1
        self.database.loaded_by, self.database.request = source, self._rule.requests

    def put_back(self, database: DB) -> None:
        super().put_back(database)
        if database.loaded_by is not None:
            # Set up again from the beginning: what came of the load is gone in part.
            self.wait_for_load(database.loaded_by)
