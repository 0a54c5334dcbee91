"""Where a peer is called: on the LAN if it has proven to be there, else where it was declared."""

import pytest

from syncnode.links.client import PeerAddress
from syncnode.links.members import Members, Membership
from syncnode.links.peers import Peer
from syncproto.errors import ExchangeInterruptedError, PeerUnreachableError
from syncproto.identity import SiteId

SITE = SiteId(b"1" * 16)
DECLARED, NEAR = "https://kigali.example:8470", "https://10.0.0.5:8470"


class Client:
    """Answers, but at the addresses that fail."""

    def __init__(self, **failing):
        self.failing = failing
        self.called = []

    async def post(self, address, path, body, *, timeout_s):
        assert (path, body, timeout_s) == ("/exchange", b"turn", 7)
        self.called.append(address)
        error = self.failing.get("near" if address.url == NEAR else "declared")
        if error is not None:
            raise error
        return b"answer"


@pytest.fixture
def members():
    def make(url=DECLARED, nearby=True):
        made = Members()
        peer = Peer(site=SITE, name="kigali", role="peer", url=url, public_key=bytes(32))
        made.replace(Membership((peer,), b"network1", 0))
        made.nearby = {SITE: NEAR} if nearby else {}
        made.gone = []
        made.lost = made.gone.append
        return made

    return make


def post(members, client, site=SITE):
    return members.post(client, site, b"turn", timeout_s=7)


async def test_a_peer_nearby_is_called_there(members):
    made, client = members(), Client()
    assert await post(made, client) == b"answer"
    assert client.called == [PeerAddress(SITE, NEAR)]
    assert made.gone == []


async def test_a_peer_that_is_not_nearby_is_called_where_it_was_declared_to_be(members):
    client = Client()
    assert await post(members(nearby=False), client) == b"answer"
    assert client.called == [PeerAddress(SITE, DECLARED)]


async def test_where_the_lan_fails_the_declared_address_is_used(members):
    made, client = members(), Client(near=PeerUnreachableError("gone"))
    assert await post(made, client) == b"answer"
    assert client.called == [PeerAddress(SITE, NEAR), PeerAddress(SITE, DECLARED)]
    assert made.gone == [SITE]


async def test_a_member_that_was_only_met_has_no_other_address(members):
    made, client = members(url=""), Client(near=PeerUnreachableError("gone"))
    with pytest.raises(PeerUnreachableError, match="gone"):
        await post(made, client)
    assert client.called == [PeerAddress(SITE, NEAR)]
    assert made.gone == [SITE]


async def test_what_may_have_arrived_is_not_sent_again_elsewhere(members):
    made, client = members(), Client(near=ExchangeInterruptedError("broke off"))
    with pytest.raises(ExchangeInterruptedError):
        await post(made, client)
    assert client.called == [PeerAddress(SITE, NEAR)]


async def test_who_is_no_peer_any_more_is_not_called(members):
    client = Client()
    with pytest.raises(PeerUnreachableError, match="no peer any more"):
        await post(members(), client, SiteId(b"2" * 16))
    assert client.called == []
