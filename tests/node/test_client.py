"""The client, against real servers: it talks only to who it means, once, and never gets stuck."""

import random
import secrets
from contextlib import asynccontextmanager

import pytest
import trio
from wire import HOST, free_port, new_key, serving

from syncnode.links.client import REQUESTS_PER_PEER_MAX, PeerAddress, PeerClient
from syncnode.links.gateway import Gateway
from syncproto.errors import (
    ConfigError,
    ExchangeInterruptedError,
    LimitExceededError,
    MalformedMessageError,
    PeerUnreachableError,
    RefusedError,
)

SERVER, CLINIC, IMPOSTER = new_key(), new_key(), new_key()
TIMEOUT_S = 5


class Site:
    """A server with a gateway that knows the clinic, and the requests it saw."""

    def __init__(self, answer=None):
        self.answer = answer
        self.bodies = []
        self.statuses = []
        self.start_anew()

    def start_anew(self):
        """What a restart of the process does: another boot nonce, all counters forgotten."""
        self.gateway = Gateway(
            site=SERVER.site,
            boot_nonce=secrets.token_bytes(8),
            known_sites=self.known,
            exchange=self.exchange,
            join=self.join,
            body_bytes_max=1_000_000,
        )

    async def known(self, site):
        return CLINIC.public if site == CLINIC.site else None

    async def exchange(self, _site, body):
        self.bodies.append(body)
        return body if self.answer is None else await self.answer(body)

    async def join(self, body):
        return b"welcome " + body

    async def __call__(self, scope, receive, send):
        async def noted(message):
            if message["type"] == "http.response.start":
                self.statuses.append(message["status"])
            await send(message)

        await self.gateway(scope, receive, noted)


@asynccontextmanager
async def calling(app, *, key=CLINIC, **client):
    """A client and the address of a server of `app`."""
    async with (
        serving(app, key=SERVER, body_bytes_max=2_000_000) as server,
        PeerClient(key, **client) as caller,
    ):
        yield caller, server.address_of(SERVER)


# --- Once ---


async def test_a_body_travels_there_and_back():
    site = Site()
    async with calling(site) as (client, peer):
        for body in (b"", b"small", secrets.token_bytes(500_000)):
            assert await client.post(peer, "/exchange", body, timeout_s=TIMEOUT_S) == body
    # The first request learns the session; after it, one request is one request.
    assert site.statuses == [401, 200, 200, 200]


async def test_a_large_first_body_is_not_sent_twice():
    site = Site()
    uploaded = 0

    async def counting(scope, receive, send):
        async def counted():
            nonlocal uploaded
            message = await receive()
            uploaded += len(message.get("body", b""))
            return message

        await site(scope, counted, send)

    async with calling(counting) as (client, peer):
        await client.post(peer, "/exchange", bytes(100_000), timeout_s=TIMEOUT_S)
    assert uploaded == 100_000
    assert site.statuses == [401, 200]


async def test_after_a_restart_of_the_server_the_client_signs_anew_and_goes_on():
    site = Site()
    async with calling(site) as (client, peer):
        await client.post(peer, "/exchange", b"one", timeout_s=TIMEOUT_S)
        site.start_anew()
        assert await client.post(peer, "/exchange", b"two", timeout_s=TIMEOUT_S) == b"two"
    assert site.bodies == [b"one", b"two"]
    assert site.statuses == [401, 200, 401, 200]


async def test_a_client_that_starts_anew_continues_above_its_earlier_counters():
    site = Site()
    async with calling(site) as (first, peer):
        for _ in range(5):
            await first.post(peer, "/exchange", b"first", timeout_s=TIMEOUT_S)
        async with PeerClient(CLINIC) as second:
            await second.post(peer, "/exchange", b"second", timeout_s=TIMEOUT_S)
            await second.post(peer, "/exchange", b"second", timeout_s=TIMEOUT_S)
        # Both processes of one site may go on beside each other.
        await first.post(peer, "/exchange", b"first", timeout_s=TIMEOUT_S)
    assert site.bodies == [b"first"] * 5 + [b"second"] * 2 + [b"first"]


async def test_requests_side_by_side_all_arrive_once():
    site = Site()
    async with calling(site) as (client, peer), trio.open_nursery() as nursery:

        async def one(body):
            assert await client.post(peer, "/exchange", body, timeout_s=TIMEOUT_S) == body

        for number in range(20):
            nursery.start_soon(one, b"%d" % number)
    assert sorted(site.bodies) == sorted(b"%d" % number for number in range(20))


async def test_a_newcomer_joins_without_a_signature():
    async with calling(Site(), key=new_key()) as (client, peer):
        assert await client.join(peer, "/join", b"me", timeout_s=TIMEOUT_S) == b"welcome me"


# --- Refused ---


async def test_an_unknown_site_is_told_so_and_does_not_try_again():
    site, stranger = Site(), new_key()
    async with calling(site, key=stranger) as (client, peer):
        for body in (b"let me in", bytes(100_000)):
            with pytest.raises(RefusedError, match="not known here") as caught:
                await client.post(peer, "/exchange", body, timeout_s=TIMEOUT_S)
            assert caught.value.status == 401
    assert (site.statuses, site.bodies) == ([401, 401], [])


async def test_a_refusal_carries_the_status_and_what_the_server_said():
    async def answer(_body):
        raise MalformedMessageError("row 3 \x1b[31mhas no key\nat all")

    async with calling(Site(answer)) as (client, peer):
        with pytest.raises(RefusedError) as caught:
            await client.post(peer, "/exchange", b"x", timeout_s=TIMEOUT_S)
    assert caught.value.status == 400
    assert str(caught.value) == f"{peer.url} refused (400): row 3 [31mhas no key at all"


async def test_a_server_that_always_asks_to_sign_anew_is_asked_twice_only():
    requests = 0

    async def moody(_scope, receive, send):
        nonlocal requests
        requests += 1
        await receive()
        session = (b"syncnode-session", secrets.token_hex(8).encode())
        await send({"type": "http.response.start", "status": 401, "headers": [session]})
        await send({"type": "http.response.body"})

    async with calling(moody) as (client, peer):
        with pytest.raises(RefusedError, match="without a reason"):
            await client.post(peer, "/exchange", b"x", timeout_s=TIMEOUT_S)
    assert requests == 2


async def test_an_endless_answer_is_cut_at_the_limit():
    for status, error in [(200, LimitExceededError), (500, RefusedError)]:

        async def endless(_scope, receive, send, status=status):
            await receive()
            await send({"type": "http.response.start", "status": status, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"x" * 4096, "more_body": True})

        async with calling(endless, response_bytes_max=100_000) as (client, peer):
            with trio.fail_after(2), pytest.raises(error):
                await client.post(peer, "/exchange", b"x", timeout_s=TIMEOUT_S)


# --- Who answers ---


async def test_an_imposter_gets_no_byte_of_the_request():
    heard = []

    async def listening(_scope, receive, _send):
        heard.append(await receive())

    async with serving(listening, key=IMPOSTER) as server, PeerClient(CLINIC) as client:
        with pytest.raises(PeerUnreachableError, match="who answers there is") as caught:
            await client.post(server.address_of(SERVER), "/exchange", b"x", timeout_s=TIMEOUT_S)
        # Under its own name it is reached, so the silence above was our refusal.
        with pytest.raises(RefusedError, match="500"):
            await client.join(server.address_of(IMPOSTER), "/join", b"x", timeout_s=TIMEOUT_S)
    assert caught.value.definite
    assert len(heard) == 1


async def test_an_imposter_at_an_address_that_was_right_before_is_noticed():
    site, port = Site(), free_port()
    async with PeerClient(CLINIC) as client:
        peer = PeerAddress(SERVER.site, f"https://{HOST}:{port}")
        async with serving(site, key=SERVER, port=port):
            await client.post(peer, "/exchange", b"one", timeout_s=TIMEOUT_S)
        async with serving(site, key=IMPOSTER, port=port):
            with pytest.raises(PeerUnreachableError, match="nothing was sent"):
                await client.post(peer, "/exchange", b"two", timeout_s=TIMEOUT_S)
        # A renewed certificate of the same key is the same site.
        async with serving(site, key=SERVER, port=port):
            await client.post(peer, "/exchange", b"three", timeout_s=TIMEOUT_S)
    assert site.bodies == [b"one", b"three"]


async def test_the_address_must_be_one_of_https():
    async with PeerClient(CLINIC) as client:
        for url in ("http://127.0.0.1:1", "kigali:8470", "https://", "https://x:y", ""):
            with pytest.raises(ConfigError, match=r"https://example\.org:8470"):
                await client.post(PeerAddress(SERVER.site, url), "/", b"", timeout_s=TIMEOUT_S)


# --- Links that fail ---


async def test_nobody_there_is_a_definite_failure():
    peer = PeerAddress(SERVER.site, f"https://{HOST}:{free_port()}")
    async with PeerClient(CLINIC) as client:
        with pytest.raises(PeerUnreachableError, match="cannot reach") as caught:
            await client.post(peer, "/exchange", b"x", timeout_s=TIMEOUT_S)
    assert caught.value.definite


async def test_a_server_that_says_nothing_in_the_handshake_is_a_definite_failure():
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host=HOST)
        nursery.start_soon(trio.serve_listeners, lambda _stream: trio.sleep_forever(), [listener])
        peer = PeerAddress(SERVER.site, f"https://{HOST}:{listener.socket.getsockname()[1]}")
        async with PeerClient(CLINIC) as client:
            with pytest.raises(PeerUnreachableError, match="no answer in time"):
                await client.post(peer, "/exchange", b"x", timeout_s=0.2)
        nursery.cancel_scope.cancel()


async def test_an_answer_that_does_not_come_leaves_open_whether_the_peer_acted():
    async def answer(_body):
        await trio.sleep_forever()

    async with calling(Site(answer)) as (client, peer):
        with pytest.raises(ExchangeInterruptedError, match="no answer in time") as caught:
            await client.post(peer, "/exchange", b"x", timeout_s=0.3)
    assert not caught.value.definite


async def test_an_answer_that_breaks_off_leaves_open_whether_the_peer_acted():
    async def breaking(_scope, receive, send):
        await receive()
        headers = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async with calling(breaking) as (client, peer):
        with pytest.raises(ExchangeInterruptedError, match="broke off"):
            await client.post(peer, "/exchange", b"x", timeout_s=TIMEOUT_S)


async def test_cancelling_passes_through_and_hangs_up():
    started, ended = trio.Event(), trio.Event()

    async def answer(_body):
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    async with calling(Site(answer)) as (client, peer), trio.open_nursery() as nursery:

        async def ask():
            await client.post(peer, "/exchange", b"x", timeout_s=TIMEOUT_S)

        nursery.start_soon(ask)
        await started.wait()
        nursery.cancel_scope.cancel()
        with trio.fail_after(2), trio.CancelScope(shield=True):
            await ended.wait()


async def test_no_number_of_cancelled_requests_uses_up_the_pool():
    """The experiment that httpx's own pool fails (httpcore #1093): 25 tasks, 2 s of cancels."""
    rng, cancelled = random.Random(1), 0

    async def answer(body):
        await trio.sleep(rng.uniform(0, 0.02))
        return body

    async with calling(Site(answer)) as (client, peer):
        with trio.move_on_after(2):
            async with trio.open_nursery() as nursery:

                async def ask():
                    nonlocal cancelled
                    while True:
                        with trio.move_on_after(rng.uniform(0, 0.1)) as scope:
                            await client.post(peer, "/exchange", b"x", timeout_s=TIMEOUT_S)
                        cancelled += scope.cancelled_caught

                for _ in range(25):
                    nursery.start_soon(ask)
        assert cancelled > 100
        with trio.fail_after(2):
            await client.post(peer, "/exchange", b"plain", timeout_s=TIMEOUT_S)
        pool = client._peers_by_site[SERVER.site].pool.transport._pool
        assert len(pool.connections) <= REQUESTS_PER_PEER_MAX
