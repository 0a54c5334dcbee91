"""Members vouch for each other: certificates at a join, meetings of two that never met, `revoke`.

All of it is blocking work on the sidecar; who carries the words is not known here.
"""

from typing import TYPE_CHECKING

from syncnode.identity.credentials import SiteKey, fits, load_key, site_id_of_key
from syncnode.identity.vouching import check_chain, revocation, vouched_for
from syncnode.links.peers import no_such_peer, read_peers
from syncnode.links.vouched import (
    chain_of,
    network_id,
    own_chain,
    put_chain,
    put_member,
    put_own_chain,
    read_revocations,
    read_revoked,
    take_revocations,
)
from syncnode.reports import RevokedReport
from syncnode.store.database import Database, Transaction
from syncnode.store.sidecar import load_plan
from syncproto.certificates import NAME_LENGTH_MAX, Chain, decode_chain, encode_chain
from syncproto.errors import ConfigError, MalformedMessageError, UnexpectedMessageError
from syncproto.identity import SiteId, site_from_text, site_text
from syncproto.joining import JOIN, JoinAnswer, JoinRequest
from syncproto.meeting import (
    Meeting,
    decode_meeting,
    encode_meeting,
    refuse_other,
    signed_part,
)

if TYPE_CHECKING:
    from syncnode.settings.config import Settings

REVOKED_TEXT = "was revoked: it is no member of this network any more"


# --- Joining -------------------------------------------------------------------------------


def refuse_revoked(tx: Transaction, key: SiteKey, public: bytes) -> None:
    """
    Raises:
        UnexpectedMessageError: The key that asks to join was revoked; a new one may join.
    """
    own = own_chain(tx, key)
    if own is None:
        return
    site = site_id_of_key(public)
    above = {site_id_of_key(one) for one in own.keys}
    if any(word == (site, one) for word in read_revoked(tx, own).words for one in above):
        raise UnexpectedMessageError(
            f"site {site_text(site)} {REVOKED_TEXT}; begin anew there (`syncnode uninstall`, move "
            "the key away, `syncnode init`) to join under another key"
        )


def vouch(tx: Transaction, key: SiteKey, public: bytes) -> None:
    """Make the certificate of a site that was let in; none if nobody vouches for us."""
    own = own_chain(tx, key)
    if own is None:
        return
    site = site_id_of_key(public)
    name = next(peer.name for peer in read_peers(tx) if peer.site == site)
    put_chain(tx, site, vouched_for(key, own, network=network_id(tx), public=public, name=name))


def issued(database: Database, request: JoinRequest) -> bytes:
    """The certificates made for a request to join, encoded; empty for none."""
    if request.kind != JOIN:
        return b""
    with database.read() as tx:
        chain = chain_of(tx, site_id_of_key(request.public_key))
    return encode_chain(chain) if chain is not None else b""


def take_certificate(tx: Transaction, key: SiteKey, answer: JoinAnswer) -> None:
    """Keep what the inviter vouches.

    Raises:
        UnexpectedMessageError: It is not for us, or not by the inviter.
    """
    if not answer.chain:
        return
    chain = decode_chain(answer.chain)
    check_chain(chain, network=network_id(tx), site=key.site)
    if chain.above.keys[-1] != answer.public_key:
        raise UnexpectedMessageError("the certificate is not by the inviter")
    put_own_chain(tx, chain)
    put_chain(tx, site_id_of_key(answer.public_key), chain.above)


# --- Meeting -------------------------------------------------------------------------------


def vouched(database: Database, key: SiteKey) -> bool:
    """Somebody of the network vouches for this site."""
    with database.read() as tx:
        return own_chain(tx, key) is not None


def words_to(database: Database, key: SiteKey, name: str, to: SiteId) -> bytes:
    """What we say to a site that we meet."""
    with database.read() as tx:
        meeting = Meeting(
            network=network_id(tx),
            to=to,
            public_key=key.public,
            name=name[:NAME_LENGTH_MAX],
            chain=own_chain(tx, key),
            revocations=read_revocations(tx),
        )
    return encode_meeting(meeting, key.signature(signed_part(meeting)))


def meet(database: Database, key: SiteKey, name: str, body: bytes) -> SiteId:
    """Take in what another site said when we met: who is a member is a peer from now on.

    Returns the site, which has proven by its signature that these are its words.

    Raises:
        PeerError: It is no member of this network, or not one any more.
    """
    meeting, signature = decode_meeting(body)
    site = site_id_of_key(meeting.public_key)
    if not fits(signature, signed_part(meeting), meeting.public_key):
        raise UnexpectedMessageError("the signature does not fit these words")
    with database.write() as tx:
        revoked = _met(tx, key, name, site, meeting)
    if revoked:  # raised only here: what it told of others is kept
        raise UnexpectedMessageError(f"site {site_text(site)} {REVOKED_TEXT}")
    return site


def _met(tx: Transaction, key: SiteKey, name: str, site: SiteId, meeting: Meeting) -> bool:
    """Whether the site was revoked; if not, it is a peer now.

    Raises:
        UnexpectedMessageError: It is no member of this network.
    """
    refuse_other(meeting, network=network_id(tx), site=key.site)
    own, chain = own_chain(tx, key), meeting.chain
    known = any(peer.site == site for peer in read_peers(tx))
    if chain is not None:
        _check_same_root(own, chain)
        check_chain(chain, network=meeting.network, site=site)
    elif not known:
        raise UnexpectedMessageError("nobody vouches for that site: it has no certificate")
    if own is None and not known:
        raise UnexpectedMessageError(
            "nobody vouches for this site: it has no certificate of its network"
        )
    if own is not None:
        take_revocations(tx, meeting.revocations, own=own)
    if read_revoked(tx, own).ends(site, chain or chain_of(tx, site)):
        return True
    if chain is None:
        return False
    if known:
        put_chain(tx, site, chain)
    else:
        put_member(tx, chain, name, meeting.name)
    return False


def _check_same_root(own: Chain | None, chain: Chain) -> None:
    # The id of a network is short: in full there is only one root.
    if own is not None and own.root != chain.root:
        raise UnexpectedMessageError("its certificate is of another network")


# --- Revoking ------------------------------------------------------------------------------


def revoke(settings: "Settings", name: str) -> RevokedReport:
    """Take back the word for a site, here and, as they hear of it, at all members.

    Args:
        name: As `peers` shows it; for a site that is no peer here its id.

    Raises:
        ConfigError: There is no such site, or it is for others to revoke.
    """
    key, database = load_key(settings.key), Database(settings.database, light=True)
    try:
        with database.write() as tx:
            load_plan(tx)
            own = own_chain(tx, key)
            if own is None:
                raise ConfigError(
                    "nobody vouches for this site, so its word ends nobody's membership; "
                    f"`syncnode forget {name}` ends the exchange with it here"
                )
            site, shown = _meant(tx, name)
            _check_below(tx, key, site, shown)
            word = revocation(key, own, network=network_id(tx), site=site)
            gone = take_revocations(tx, [word], own=own)
    finally:
        database.close()
    return RevokedReport(shown, site_text(site), tuple(peer.name for peer in gone))


def _meant(tx: Transaction, name: str) -> tuple[SiteId, str]:
    peers = read_peers(tx)
    for peer in peers:
        if peer.name == name:
            return peer.site, name
    try:
        return site_from_text(name), name
    except MalformedMessageError as error:
        raise ConfigError(
            f"{no_such_peer(name, peers)}; a site that is no peer here is named by its id, as "
            "`syncnode status` shows it there"
        ) from error


def _check_below(tx: Transaction, key: SiteKey, site: SiteId, name: str) -> None:
    """
    Raises:
        ConfigError: As far as is known here, we do not vouch for the site.
    """
    if site == key.site:
        raise ConfigError("this site cannot revoke itself; `syncnode uninstall` ends it")
    chain = chain_of(tx, site)
    if chain is None or key.public in chain.keys[:-1]:
        return
    above = [link.name for link in chain.links[:-1]]
    who = f"{above[-1]}, which let it in" if above else "the site with which the network began"
    raise ConfigError(
        f"this site did not let {name} in, so it is not for it to revoke: run `syncnode revoke "
        f"{name}` at {who}, or at a site above that; `syncnode forget {name}` ends the exchange "
        "with it here"
    )
