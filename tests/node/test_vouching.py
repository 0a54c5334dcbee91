"""Members that never met prove themselves by certificates; whoever was revoked does not."""

from dataclasses import replace

import pytest
from processes import ProcessSite, eventually
from sites import make_site
from wire import new_key

from syncnode.identity.credentials import decode_token, load_key
from syncnode.identity.vouching import (
    check_chain,
    check_revocation,
    is_revoked,
    network_of,
    revocation,
    vouched_for,
)
from syncnode.links.peers import read_peers
from syncnode.links.vouched import (
    own_chain,
    put_own_chain,
    read_revocations,
    read_revoked,
    take_revocations,
)
from syncnode.operations.forgetting import forget
from syncnode.operations.membership import answer_join, invite, join_by
from syncnode.operations.vouching import meet, revoke, take_certificate, words_to
from syncproto.certificates import (
    LINKS_MAX,
    Chain,
    decode_chain,
    decode_revocation,
    encode_chain,
    encode_revocation,
)
from syncproto.errors import (
    ConfigError,
    IncompatiblePeerError,
    MalformedMessageError,
    PeerError,
    UnexpectedMessageError,
)
from syncproto.frames import dumped, loaded
from syncproto.identity import site_text
from syncproto.joining import JoinAnswer
from syncproto.limits import LIMITS
from syncproto.meeting import (
    MEETING_BYTES_MAX,
    REVOCATIONS_MAX,
    decode_meeting,
    encode_meeting,
    signed_part,
)

SCHEMA = ("CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT)",)


class Member:
    """A site, its key, and what it says and hears."""

    def __init__(self, site):
        self.site = site
        self.name = site.name
        self.settings = site.settings
        self.database = site.replica.database
        self.key = load_key(site.settings.key)

    def let_in(self, other, role="child", name=None):
        token = invite(self.settings, name or other.name, role=role, url="https://x:1").token
        return join_by(
            other.settings,
            decode_token(token),
            lambda body: answer_join(self.site.replica, self.key, self.settings, body),
            confirm=lambda _: True,
            progress=lambda _: None,
        )

    def words_to(self, other):
        return words_to(self.database, self.key, self.name, other.key.site)

    def hears(self, body):
        return meet(self.database, self.key, self.name, body)

    def meets(self, other):
        """Both sides of a meeting that this one begins."""
        assert other.hears(self.words_to(other)) == self.key.site
        assert self.hears(other.words_to(self)) == other.key.site

    def peers(self):
        with self.database.read() as tx:
            return {peer.name: peer.role for peer in read_peers(tx)}

    def chain(self):
        with self.database.read() as tx:
            return own_chain(tx, self.key)

    @property
    def network(self):
        ((text,),) = self.site.look("SELECT value FROM syncnode_setting WHERE name='network'")
        return bytes.fromhex(text)

    def says(self, **changed):
        """A meeting with other fields, signed well."""
        meeting, _ = decode_meeting(self.words_to(self))
        meeting = replace(meeting, **changed)
        return encode_meeting(meeting, self.key.signature(signed_part(meeting)))


@pytest.fixture
def member(tmp_path):
    made = []

    def make(name):
        made.append(make_site(tmp_path, name, SCHEMA))
        return Member(made[-1])

    yield make
    for one in made:
        one.close()


@pytest.fixture
def family(member):
    """The root, its child, and the child of that; nobody else was introduced."""
    top, middle, below = member("kigali"), member("rwinkwavu"), member("kirehe")
    top.let_in(middle)
    middle.let_in(below)
    return top, middle, below


def test_a_network_begins_with_the_key_of_a_site(member):
    site = member("kigali")
    assert site.network == network_of(site.key.public)
    assert site.chain() == Chain(site.key.public)


def test_a_site_that_joins_is_vouched_for_by_its_inviter(family):
    top, middle, below = family
    assert [link.name for link in below.chain().links] == ["rwinkwavu", "kirehe"]
    assert below.chain().keys == (top.key.public, middle.key.public, below.key.public)
    check_chain(below.chain(), network=top.network, site=below.key.site)


def test_two_members_that_never_met_become_peers(family):
    top, _, below = family
    below.meets(top)
    assert top.peers() == {"rwinkwavu": "child", "kirehe": "member"}
    assert below.peers() == {"rwinkwavu": "parent", "kigali": "member"}
    before = top.site.look("SELECT * FROM syncnode_peer ORDER BY name")
    top.meets(below)  # again, from the other side: nothing changes
    assert top.site.look("SELECT * FROM syncnode_peer ORDER BY name") == before


def test_a_member_has_the_name_under_which_it_was_let_in_unless_that_is_taken(family, member):
    top, _, below = family
    twin = member("twin")
    top.let_in(twin, name="kirehe")
    below.meets(top)
    assert set(top.peers()) == {"rwinkwavu", "kirehe", f"kirehe-{site_text(below.key.site)[:8]}"}


def test_a_stranger_is_no_member(family, member):
    top, stranger = family[0], member("lusaka")
    with pytest.raises(UnexpectedMessageError, match="another network"):
        top.hears(stranger.words_to(top))
    lies = stranger.says(network=top.network, to=top.key.site)
    with pytest.raises(UnexpectedMessageError, match="its certificate is of another network"):
        top.hears(lies)
    bare = stranger.says(network=top.network, to=top.key.site, chain=None)
    with pytest.raises(UnexpectedMessageError, match="nobody vouches"):
        top.hears(bare)
    assert top.peers() == {"rwinkwavu": "child"}


def test_a_chain_is_worth_nothing_without_its_key_or_with_a_link_of_ones_own(family, member):
    top, middle, below = family
    thief = member("lusaka")
    forged = vouched_for(
        thief.key, middle.chain(), network=top.network, public=thief.key.public, name="thief"
    )
    for chain, said in (
        (below.chain(), "that of another site"),
        (forged, "a signature in its certificate does not fit"),
    ):
        body = thief.says(network=top.network, to=top.key.site, chain=chain)
        with pytest.raises(UnexpectedMessageError, match=said):
            top.hears(body)
    assert set(top.peers()) == {"rwinkwavu"}


def test_another_root_with_the_same_short_id_is_another_network(family, member, monkeypatch):
    """The id is 8 bytes: who finds a key with the same id must get no further."""
    top, stranger = family[0], member("lusaka")
    chain = stranger.chain()
    ids = {stranger.key.public: top.network, top.key.public: top.network}
    for module in ("syncnode.identity.vouching", "syncnode.links.vouched"):
        monkeypatch.setattr(f"{module}.network_of", ids.get)
    body = stranger.says(network=top.network, to=top.key.site, chain=chain)
    with pytest.raises(UnexpectedMessageError, match="another network"):
        top.hears(body)


def test_a_revocation_by_a_root_with_the_same_short_id_does_not_count(family, member, monkeypatch):
    top, stranger = family[0], member("lusaka")
    ids = {stranger.key.public: top.network, top.key.public: top.network}
    monkeypatch.setattr("syncnode.identity.vouching.network_of", ids.get)
    by = Chain(stranger.key.public)
    word = revocation(stranger.key, by, network=top.network, site=new_key().site)
    with pytest.raises(UnexpectedMessageError, match="of another network"):
        check_revocation(word, network=top.network, root=top.key.public)
    assert check_revocation(word, network=top.network, root=stranger.key.public)


def test_a_root_is_one_of_its_own_network_alone(family, member):
    top, stranger = family[0], member("lusaka")
    check_chain(Chain(top.key.public), network=top.network, site=top.key.site)
    with pytest.raises(UnexpectedMessageError, match="of another network"):
        check_chain(Chain(stranger.key.public), network=top.network, site=stranger.key.site)


def test_a_certificate_that_is_not_by_the_inviter_is_not_taken(family):
    top, middle, below = family
    answer = JoinAnswer("kigali", "", "parent", top.key.public, chain=encode_chain(below.chain()))
    with below.database.write() as tx:
        with pytest.raises(UnexpectedMessageError, match="not by the inviter"):
            take_certificate(tx, below.key, answer)
        take_certificate(tx, below.key, replace(answer, public_key=middle.key.public))


def test_words_to_one_site_are_not_for_another(family):
    top, middle, below = family
    with pytest.raises(UnexpectedMessageError, match="meant for another site"):
        middle.hears(below.words_to(top))
    body = below.words_to(top)
    fields = loaded(body, LIMITS)
    for index, value in ((4, "another name"), (6, []), (5, None)):
        changed = [*fields[:index], value, *fields[index + 1 :]]
        if changed == fields:
            continue
        with pytest.raises(UnexpectedMessageError, match="the signature does not fit"):
            top.hears(dumped(changed))


def test_bytes_that_are_no_meeting_change_nothing(family):
    top, _, below = family
    good = below.words_to(top)
    fields = loaded(good, LIMITS)
    for body, error in (
        (b"", MalformedMessageError),
        (b"garbage", MalformedMessageError),
        (dumped([]), MalformedMessageError),
        (dumped(fields[:-1]), MalformedMessageError),
        (dumped([99, *fields[1:]]), IncompatiblePeerError),
        (good + bytes(MEETING_BYTES_MAX), MalformedMessageError),
    ):
        with pytest.raises(error):
            top.hears(body)
    assert top.peers() == {"rwinkwavu": "child"}


def test_a_network_set_by_hand_has_no_certificates_and_says_so(member):
    one, other, third = member("kigali"), member("butaro"), member("gisenyi")
    one.site.connection.execute(
        "UPDATE syncnode_setting SET value='0102030405060708' WHERE name='network'"
    )
    one.let_in(other)
    one.let_in(third)
    assert (one.chain(), other.chain()) == (None, None)
    one.meets(other)  # who knows each other needs none
    with pytest.raises(UnexpectedMessageError, match="nobody vouches"):
        other.hears(third.words_to(other))


def test_a_chain_of_an_earlier_key_does_not_count(family):
    top, middle, _ = family
    with middle.database.write() as tx:
        put_own_chain(
            tx,
            vouched_for(
                top.key, top.chain(), network=top.network, public=new_key().public, name="x"
            ),
        )
    assert middle.chain() is None


def test_levels_are_bounded(member):
    top = member("kigali")
    chain, key = top.chain(), top.key
    for _ in range(LINKS_MAX):
        below = new_key()
        chain = vouched_for(key, chain, network=top.network, public=below.public, name="n" * 128)
        key = below
    assert decode_chain(encode_chain(chain)) == chain
    with pytest.raises(UnexpectedMessageError, match="levels of sites above already"):
        vouched_for(key, chain, network=top.network, public=key.public, name="x")


# Revocations


def test_a_revoked_site_is_no_peer_and_no_member_anywhere_where_it_is_heard(family, member):
    top, middle, below = family
    beside = member("butaro")
    top.let_in(beside)
    beside.meets(below)
    assert revoke(top.settings, "rwinkwavu").peers == ("rwinkwavu",)
    assert top.peers() == {"butaro": "child"}
    with pytest.raises(UnexpectedMessageError, match="was revoked"):
        top.hears(middle.words_to(top))
    # The word goes on from member to member, and ends whom the revoked site had let in.
    assert beside.peers() == {"kigali": "parent", "kirehe": "member"}
    top.meets(beside)
    assert beside.peers() == {"kigali": "parent"}
    for gone in (middle, below):
        with pytest.raises(UnexpectedMessageError, match="was revoked"):
            beside.hears(gone.words_to(beside))


def test_what_a_revoked_site_says_of_others_first_is_kept_or_not_but_it_gets_nothing(family):
    top, middle, below = family
    revoke(middle.settings, "kirehe")
    with pytest.raises(UnexpectedMessageError, match="was revoked"):
        middle.hears(below.words_to(middle))
    middle.meets(top)
    with pytest.raises(UnexpectedMessageError, match="was revoked"):
        top.hears(below.words_to(top))


def test_only_who_stands_above_may_revoke(family):
    top, middle, below = family
    with pytest.raises(ConfigError, match="is not for it to revoke: run `syncnode revoke"):
        revoke(below.settings, "rwinkwavu")
    with pytest.raises(ConfigError, match="cannot revoke itself"):
        revoke(below.settings, site_text(below.key.site))
    with pytest.raises(ConfigError, match="no peer named 'nobody'"):
        revoke(top.settings, "nobody")
    # Whoever signs it all the same is not heeded.
    word = revocation(below.key, below.chain(), network=top.network, site=middle.key.site)
    body = below.says(to=top.key.site, revocations=(word,))
    top.hears(body)
    assert top.peers() == {"rwinkwavu": "child", "kirehe": "member"}
    middle.meets(top)


def test_a_site_that_is_no_peer_here_is_revoked_by_its_id(family):
    top, _, below = family
    assert revoke(top.settings, site_text(below.key.site)).peers == ()
    with pytest.raises(UnexpectedMessageError, match="was revoked"):
        top.hears(below.words_to(top))


def test_a_revoked_key_is_not_let_in_again(family):
    top, middle, _ = family
    revoke(top.settings, "rwinkwavu")
    forget(middle.settings, "kigali")
    with pytest.raises(UnexpectedMessageError, match=r"was revoked: .*under another key"):
        top.let_in(middle)
    assert top.peers() == {}


def test_a_forgotten_member_may_come_back(family):
    """`forget` is no judgement: who is a member still proves it."""
    top, _, below = family
    below.meets(top)
    forget(top.settings, "kirehe")
    assert top.peers() == {"rwinkwavu": "child"}
    below.meets(top)
    assert top.peers() == {"rwinkwavu": "child", "kirehe": "member"}


def test_revocations_of_others_roots_and_forged_ones_are_not_kept(family, member):
    top, middle, below = family
    stranger = member("lusaka")
    good = revocation(top.key, top.chain(), network=top.network, site=below.key.site)
    bad = [
        replace(good, site=middle.key.site),
        replace(good, by=middle.chain()),
        revocation(stranger.key, stranger.chain(), network=stranger.network, site=below.key.site),
    ]
    for one in bad:
        with pytest.raises(PeerError):
            check_revocation(one, network=top.network, root=top.key.public)
    with top.database.write() as tx:
        take_revocations(tx, [*bad, good, good], own=top.chain())
        assert read_revocations(tx) == (good,)
        words = read_revoked(tx, top.chain()).words
    assert words == {(below.key.site, top.key.site)}
    assert decode_revocation(encode_revocation(good)) == good
    assert is_revoked(below.chain(), words)
    assert not is_revoked(middle.chain(), words)


def test_revocations_are_bounded(family):
    """A member that has gone bad cannot fill the database."""
    top, middle, _ = family
    words = [
        revocation(middle.key, middle.chain(), network=top.network, site=new_key().site)
        for _ in range(REVOCATIONS_MAX + 5)
    ]
    with top.database.write() as tx:
        take_revocations(tx, words, own=top.chain())
    assert top.site.look("SELECT count(*) FROM syncnode_revoked") == [(REVOCATIONS_MAX,)]
    assert len(top.words_to(middle)) < MEETING_BYTES_MAX


def test_a_revocation_goes_over_ordinary_links(tmp_path):
    """Up at once, since who calls tells it; down when the next one calls."""
    top, mid = (ProcessSite(tmp_path, name).init() for name in ("top", "mid"))
    low, side = (ProcessSite(tmp_path, name, listens=False).init() for name in ("low", "side"))

    def revoked(site):
        return site.connection.execute("SELECT count(*) FROM syncnode_revoked").fetchone()[0]

    with top.serving():
        top.admit(mid)
        top.admit(side)
        with mid.serving():
            mid.admit(low)
            low.run("sync")
            mid.run("revoke", "low")
            eventually(lambda: revoked(top) == 1)
            assert low.command("sync").returncode == 1
        assert revoked(side) == 0
        with side.serving():
            eventually(lambda: revoked(side) == 1)
