"""Log: a number names one changeset everywhere, and all have seen the same of them."""

from collections.abc import Iterator

from syncproto.frontier import VersionVector
from syncproto.identity import Dot
from syncsim.checkers.ending import CheckError, Ending
from syncsim.history import SiteState


def check(ending: Ending) -> None:
    """No dot bears two nonces, every known nonce was drawn, and frontiers are equal.

    A site that was put back together with its anchor cannot know that it uses a number twice;
    there the frontiers must agree on one of both in the end.

    Raises:
        CheckError: A number names two changesets, or frontiers differ.
    """
    nonces: dict[Dot, int] = {}
    for site in ending.states:
        for dot, nonce in _told(site):
            if nonces.setdefault(dot, nonce) != nonce:
                [first, *_] = [s for s in ending.states if (dot, nonces[dot]) in set(_told(s))]
                raise CheckError(
                    f"{_name(ending, dot)} names two changesets: nonce {nonces[dot]} at "
                    f"{ending.name(first.site)}, {nonce} at {ending.name(site.site)}"
                )
    for dot, sealed in ending.history.seals.items():
        if dot.origin.site in ending.history.rolled_back:
            continue
        if len(sealed) > 1:
            raise CheckError(f"{_name(ending, dot)} was sealed twice, with nonces {sealed}")
        if nonces.get(dot, sealed[0]) != sealed[0]:
            raise CheckError(
                f"{_name(ending, dot)} bears nonce {nonces[dot]}, which nobody drew for it"
            )
    _compare_frontiers(ending)


def _told(site: SiteState) -> Iterator[tuple[Dot, int]]:
    """Every changeset of which the site knows the nonce."""
    yield from site.nonces.items()
    done: list[VersionVector] = []
    for vector in site.frontier.vectors.values():
        if not any(vector is known for known in done):  # tables mostly share one
            done.append(vector)
            for origin, entry in vector.entries.items():
                yield Dot(origin, entry.seq), entry.nonce


def _compare_frontiers(ending: Ending) -> None:
    first: dict[str, SiteState] = {}
    for site in ending.states:
        for table in sorted(site.tables):
            keeper = first.setdefault(table, site)
            mine, theirs = keeper.frontier.vector(table), site.frontier.vector(table)
            if mine.entries != theirs.entries:
                origin = min(
                    origin
                    for origin in {**mine.entries, **theirs.entries}
                    if mine.entries.get(origin) != theirs.entries.get(origin)
                )
                raise CheckError(
                    f"frontiers of {table} differ after the quiet: of "
                    f"{ending.name(origin.site)}:{origin.incarnation} {ending.name(keeper.site)} "
                    f"has {mine.seq(origin)} and {ending.name(site.site)} {theirs.seq(origin)}"
                )


def _name(ending: Ending, dot: Dot) -> str:
    return f"{ending.name(dot.origin.site)}:{dot.origin.incarnation}:{dot.seq}"
