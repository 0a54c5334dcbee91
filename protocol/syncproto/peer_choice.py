"""Which neighbours on a LAN to keep in touch with: a few at a time, all of them in turn.

On a LAN every site may see every other one. If each kept in touch with all, 200 sites would hold
40,000 connections; a few each are enough, for what one learns it tells the next at once. Two
clauses make that work: one choice is *the next site on the ring* of all site ids, so that the
choices of all together join every site to every other one, whatever else is chosen; the other
choices go round among the rest, in an order that differs from site to site, so that the ways
between sites are short (a few random choices each: Pittel, "On Spreading a Rumor", 1987) and a
site that fails to pass things on stands in the way for one round at most.

Pure: who is there, and the number of the round, are arguments.
"""

import hashlib
from collections.abc import Collection

from syncproto.identity import SiteId

FANOUT = 3


def neighbours(
    own: SiteId, present: Collection[SiteId], *, round_number: int, fanout: int = FANOUT
) -> list[SiteId]:
    """Whom `own` keeps in touch with in this round: at most `fanout` of those present.

    With `fanout` 2 or more each of `n` others is among them in any `ceil((n - 1) / (fanout - 1))`
    rounds that follow each other.
    """
    ring = sorted(set(present) - {own})
    if len(ring) <= fanout:
        return ring
    successor = next((site for site in ring if site > own), ring[0])
    rest = sorted(set(ring) - {successor}, key=lambda site: _place(own, site))
    others = fanout - 1
    start = round_number * others
    return [successor, *(rest[(start + step) % len(rest)] for step in range(others))]


def _place(own: SiteId, site: SiteId) -> bytes:
    return hashlib.sha256(own + site).digest()


def meeting_order(own: SiteId, present: Collection[SiteId]) -> list[SiteId]:
    """In which order `own` makes the acquaintance of those present: the next on the ring first."""
    others = set(present) - {own}
    order = sorted(others, key=lambda site: _place(own, site))
    for successor in neighbours(own, others, round_number=0, fanout=1)[:1]:
        order.remove(successor)
        order.insert(0, successor)
    return order
