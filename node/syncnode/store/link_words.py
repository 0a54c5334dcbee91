"""Our words about each link: what our rules say, and which of the peer's tables we do not want.

The rules stand in the settings (`settings/link_rules.py`) and speak of names; who a peer is, and
what it has that is not to be here, stands in `syncnode_peer`. What was told once as unwanted stays
so while the table is not taken up: if it were said only while the peer speaks of it, both would go
by turns, since what does not cross is not spoken of.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass

from syncnode.settings.link_rules import SiteRules
from syncnode.store.database import Transaction
from syncproto.directions import EVERY_WAY, Directions
from syncproto.identity import SiteId

CHILD = "child"


@dataclass(frozen=True, slots=True)
class LinkWords:
    """What we say of links.

    Attributes:
        rules: Of our tables, by name of the peer.
    """

    rules: SiteRules

    def of(self, tx: Transaction, peer: SiteId, tables: Collection[str]) -> Directions:
        """What of the link to a peer stays back by our word. `tables`: those that are kept here."""
        line = tx.row(
            f"SELECT name, role, unwanted FROM syncnode_peer WHERE site={tx.mark}", (peer,)
        )
        if line is None:
            return EVERY_WAY
        name, role, stored = line
        ruled = self.by_rules(name, role, tables)
        unwanted = unwanted_of(stored).difference(tables)
        if not unwanted:
            return ruled
        return Directions(ruled.unsent | unwanted, ruled.unreceived | unwanted)

    def only_received(self, tx: Transaction, tables: Collection[str]) -> frozenset[str]:
        """The tables that come from some parent or peer and go to none, by both sites' words; what
        children get or send does not count."""
        sent, received = set[str](), set[str]()
        for site, said in tx.rows(
            f"SELECT site, directions FROM syncnode_peer WHERE role<>'{CHILD}'"
        ):
            agreed = self.of(tx, SiteId(bytes(site)), tables).agreed(directions_of(said))
            sent.update(set(tables) - agreed.unsent)
            received.update(set(tables) - agreed.unreceived)
        return frozenset(received - sent)

    def by_rules(self, name: str, role: str, tables: Collection[str]) -> Directions:
        """What the rules alone say of the link to a peer."""
        if not self.rules.speaks_of_tables:
            return EVERY_WAY
        found = self.rules.directions(name, tables, child=role == CHILD)
        return found if found != EVERY_WAY else EVERY_WAY


def unwanted_of(stored: str | None) -> frozenset[str]:
    """As the column `unwanted` has it."""
    return frozenset(json.loads(stored)) if stored else frozenset()


def note_unwanted(tx: Transaction, peer: SiteId, tables: Collection[str]) -> None:
    """Remember that a peer has these tables, which are not to be here."""
    m = tx.mark
    stored = tx.value(f"SELECT unwanted FROM syncnode_peer WHERE site={m}", (peer,))
    told = unwanted_of(stored).union(tables)
    tx.execute(
        f"UPDATE syncnode_peer SET unwanted={m} WHERE site={m}", (json.dumps(sorted(told)), peer)
    )


def directions_text(directions: Directions) -> str | None:
    """Words as a column has them; None for a link that all tables cross."""
    if not directions.unsent and not directions.unreceived:
        return None
    return json.dumps(
        {"unsent": sorted(directions.unsent), "unreceived": sorted(directions.unreceived)}
    )


def directions_of(stored: str | None) -> Directions:
    """As `directions_text` wrote them."""
    if not stored:
        return EVERY_WAY
    said = json.loads(stored)
    return Directions(frozenset(said["unsent"]), frozenset(said["unreceived"]))
