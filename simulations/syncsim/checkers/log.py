"""Log: a number names one changeset everywhere, and all have seen the same of them."""

from collections.abc import Mapping

from syncproto.frontier import Entry
from syncproto.identity import Dot, Origin
from syncsim.checkers.ending import CheckError, Ending
from syncsim.history import SiteState


def check(ending: Ending) -> None:
    """No dot bears two nonces, every known nonce was drawn, and frontiers are equal.

    A site that was put back together with its anchor cannot know that it uses a number twice;
    there the frontiers must agree on one of both in the end.

    Raises:
        CheckError: A number names two changesets, or frontiers differ.
    """
    nonces = _agreed_nonces(ending)
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


def _agreed_nonces(ending: Ending) -> Mapping[Dot, int]:
    """The nonce of every changeset of which some site knows it, by its ledger or its claim.

    What a site knows as those before it did is passed over as a whole.
    """
    nonces: dict[Dot, int] = {}
    claimed: list[Mapping[Origin, Entry]] = []
    for site in ending.states:
        if not site.nonces.items() <= nonces.items():
            _join(ending, nonces, site, site.nonces)
        for vector in site.frontier.vectors.values():
            if not any(vector.entries == known for known in claimed):
                claimed = [*claimed[-1:], vector.entries]  # mostly all claim the same
                claims = {Dot(o, entry.seq): entry.nonce for o, entry in vector.entries.items()}
                _join(ending, nonces, site, claims)
    return nonces


def _join(ending: Ending, nonces: dict[Dot, int], site: SiteState, told: Mapping[Dot, int]) -> None:
    for dot, nonce in told.items():
        known = nonces.setdefault(dot, nonce)
        if known != nonce:
            first = next(other for other in ending.states if _tells(other, dot, known))
            raise CheckError(
                f"{_name(ending, dot)} names two changesets: nonce {known} at "
                f"{ending.name(first.site)}, {nonce} at {ending.name(site.site)}"
            )


def _tells(site: SiteState, dot: Dot, nonce: int) -> bool:
    claim = Entry(dot.seq, nonce)
    return site.nonces.get(dot) == nonce or any(
        vector.entries.get(dot.origin) == claim for vector in site.frontier.vectors.values()
    )


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
