"""What is said of bundles that wait: what is missing, and who can supply it."""

from collections.abc import Iterable

from syncnode.links.peers import Peer, read_peers
from syncnode.store.bundles import Bundle, read_bundles
from syncnode.store.database import Transaction
from syncnode.texts import utc_text
from syncproto.bundle_rules import Fate, fate
from syncproto.frontier import Frontier
from syncproto.frontier_blob import decode_frontier

PARTS_NAMED = 10


def waiting_texts(tx: Transaction, held: Frontier) -> tuple[str, ...]:
    """A sentence for each bundle that waits; `held` is what this site holds."""
    peers = read_peers(tx)
    found = (_waiting(bundle, held, peers) for bundle in read_bundles(tx))
    return tuple(text for text in found if text)


def _waiting(bundle: Bundle, held: Frontier, peers: Iterable[Peer]) -> str | None:
    peers = list(peers)
    exporter = next((one.name for one in peers if one.site == bundle.exporter), bundle.name)
    which = f"bundle of {exporter}, {utc_text(bundle.made_ms)[:10]}"
    what = fate(held, bundle.base, bundle.claim, whole=bundle.whole)
    if what is Fate.PARTS_MISSING and not bundle.missing:
        return (
            f"the parts of the {which}, do not fit together: ask {exporter} for another one"
            f"{_or_not(bundle)}"
        )
    if what is Fate.PARTS_MISSING:
        rows = sum(bundle.letter.rows[part - 1] for part in bundle.missing)
        is_or_are = "is" if len(bundle.missing) == 1 else "are"
        return (
            f"{_parts(bundle.missing)} of {bundle.letter.parts} of the {which}, {is_or_are} "
            f"missing ({rows:,} of {sum(bundle.letter.rows):,} rows): nothing of it is shown until "
            f"then; {_who(exporter, _who_hold(bundle.claim, peers))}{_or_not(bundle)}"
        )
    if what is Fate.BASE_MISSING:
        return (
            f"the {which}, waits for {_lacking(held, bundle.base):,} changesets that came before "
            f"it, by another bundle or an exchange; "
            f"{_who(exporter, _who_hold(bundle.base, peers))}{_or_not(bundle)}"
        )
    return f"the {which}, is here and not in the tables yet: run `syncnode import` of it again"


def _or_not(bundle: Bundle) -> str:
    return f"; `syncnode import --discard {short_id(bundle.id)}` gives it up"


def _parts(missing: list[int]) -> str:
    named = ", ".join(map(str, missing[:PARTS_NAMED]))
    more = " and more" if len(missing) > PARTS_NAMED else ""
    return f"part{'s' if len(missing) > 1 else ''} {named}{more}"


def _lacking(held: Frontier, base: Frontier) -> int:
    """How many changesets of the base are not here, of the table that lacks the most."""
    return max(
        (
            sum(theirs.seq - mine.seq(origin) for origin, theirs in mine.news(wanted))
            for mine, wanted in held.pairs(base)
        ),
        default=0,
    )


def _who_hold(wanted: Frontier, peers: Iterable[Peer]) -> list[str]:
    """The peers that have said that they hold all of it."""
    return [
        peer.name
        for peer in peers
        if peer.frontier is not None and decode_frontier(peer.frontier).includes(wanted)
    ]


def _who(exporter: str, others: list[str]) -> str:
    names = ", ".join(dict.fromkeys((exporter, *others)))
    return f"{names} can supply it"


def short_id(bundle: bytes) -> str:
    """Enough of a bundle's id to name it among those that wait."""
    return bundle.hex()[:8]
