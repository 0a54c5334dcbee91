"""What may be done with a bundle: on which base one is made, and when one is taken.

A bundle that is whole waits, in the staging, until the frontier covers its base; then it is taken
in one go, and its claim with it (rule A9). So a claim never says more than is held, no row above
the frontier is ever served, and the order in which bundles arrive does not matter.
"""

import enum
from collections.abc import Mapping, Sequence

from syncproto.delta import Chunk
from syncproto.directions import Directions
from syncproto.errors import MalformedMessageError, UnexpectedMessageError
from syncproto.frontier import NOTHING, Entry, Frontier, VersionVector
from syncproto.identity import Origin, SiteId
from syncproto.letter import Letter
from syncproto.replica import Standing

Span = tuple[int, int]  # the lsn range of a part: (after, upto]


class Fate(enum.Enum):
    """What becomes of a bundle now."""

    NOT_NEEDED = "not needed"  # everything in it is here
    PARTS_MISSING = "parts missing"
    BASE_MISSING = "base missing"
    TAKE = "take"


def fate(held: Frontier, base: Frontier, claim: Frontier, *, whole: bool) -> Fate:
    """What becomes of a bundle at a site that holds `held`; `whole`: all its parts are here."""
    if held.includes(claim):
        return Fate.NOT_NEEDED
    if not whole:
        return Fate.PARTS_MISSING
    if not held.includes(base):
        return Fate.BASE_MISSING
    return Fate.TAKE


def base_for(held: Frontier, readers: Sequence[tuple[Frontier | None, Directions]]) -> Frontier:
    """The base of a bundle for these readers: what all of them have.

    Args:
        held: What the exporter holds.
        readers: For each what it last told, None for nothing, and what is agreed to stay back.
    """
    unsent = frozenset[str]().union(*(agreed.unsent for _, agreed in readers))
    told = [frontier for frontier, _ in readers]
    if None in told:
        return Frontier(dict.fromkeys(sorted(held.scopes - unsent), NOTHING))
    known = [frontier for frontier in told if frontier is not None]
    vectors = {}
    for scope in sorted(held.scopes - unsent):
        theirs = [frontier.vectors[scope] for frontier in known if scope in frontier.vectors]
        if theirs:  # what no reader keeps stays here
            vectors[scope] = _met(theirs)
    return Frontier(vectors)


def _met(vectors: Sequence[VersionVector]) -> VersionVector:
    """What all of these cover."""
    first, *others = vectors
    entries: dict[Origin, Entry] = {}
    for origin, entry in first.entries.items():
        lowest = min((entry, *(other.entries.get(origin, Entry(0, 0)) for other in others)))
        if lowest.seq:
            entries[origin] = lowest
    return VersionVector(entries)


def since(held: Frontier, base: Frontier, unsent: frozenset[str]) -> Frontier:
    """A base that somebody names, for all tables that may be sent."""
    return Frontier({scope: base.vector(scope) for scope in sorted(held.scopes - unsent)})


def span_of(chunks_seen: Span | None, chunk: Chunk, letter: Letter, *, last: bool) -> Span:
    """The range of a part up to and with this chunk; `last`: it ends the whole bundle.

    Raises:
        MalformedMessageError: The chunk does not belong there.
    """
    fits = (
        chunk.sender == letter.origin
        and chunk.base == letter.base
        and (chunks_seen is None or chunk.after == chunks_seen[1])
        and chunk.claim == (letter.claim if last else None)
    )
    if not fits:
        raise MalformedMessageError("it holds rows that do not belong to it")
    return (chunk.after if chunks_seen is None else chunks_seen[0], chunk.upto)


def in_line(spans: Mapping[int, Span]) -> bool:
    """Whether parts, by number from 1, follow each other from the start of a delta."""
    reached = 0
    for number in sorted(spans):
        after, reached_next = spans[number]
        if after != reached:
            return False
        reached = reached_next
    return True


def check_branch(letter: Letter, standing: Standing) -> None:
    """Refuse what was made on a branch of the exporter's history that is not ours: its claim would
    speak of changesets that bear the same numbers as others that are here (rule A11).

    Raises:
        UnexpectedMessageError: It was.
    """
    known = standing.peer_nonces.get(letter.origin.incarnation, {})
    told = {**letter.nonces, letter.latest.seq: letter.latest.nonce}
    if any(told.get(seq, nonce) != nonce for seq, nonce in known.items()):
        raise UnexpectedMessageError(
            "it was made by a database that went another way than the one known here, such as a "
            "copy or one that was put back: have it made anew"
        )


def better_hint(
    site: SiteId, known: Frontier | None, told: Frontier, origin: Origin | None
) -> bool:
    """Whether what a bundle says of a site is news; `origin` if the site itself says it.

    A site that was put back holds less than it once told, and says so under a new incarnation.
    """
    if known is None or told.includes(known):
        return True
    if origin is None:
        return False
    before = max((o.incarnation for o in known.origins() if o.site == site), default=0)
    return origin.incarnation > before
