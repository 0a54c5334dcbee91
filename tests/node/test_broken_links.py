"""Links that break: a large body goes on where it broke, and only for who can prove himself."""

import secrets
from contextlib import asynccontextmanager

import pytest
import trio
from benchmarks.relay import Line, Relay
from wire import new_key, serving

from syncnode.identity.credentials import SIGNATURE_BYTES, signed_headers
from syncnode.links.client import PeerAddress, PeerClient
from syncnode.links.gateway import Gateway
from syncnode.links.pieces import LARGE_BYTES, SMALL_BYTES, TRIED_BYTES, piece_bytes
from syncnode.links.unfinished import (
    FROM_HEADER,
    HAVE_OF_BODY,
    KEPT_BYTES_MAX,
    KEPT_PER_SITE,
    REST_PATH,
    RESUMED_BYTES_MIN,
    Request,
    Unfinished,
    decode_question,
    encode_question,
    encode_rest,
)
from syncproto.errors import ExchangeInterruptedError, MalformedMessageError

SERVER, CLINIC, OTHER = new_key(), new_key(), new_key()
NONCE = b"nonce000"
SIZE = 200_000
TIMEOUT_S = 20
THIN = Line(400_000)  # so that a cut finds something under way


class Site:
    """A server whose gateway knows two sites, and the bodies that reached its handler."""

    def __init__(self, answer=None):
        self.answer = answer
        self.bodies = []
        self.start_anew()

    def start_anew(self, nonce=NONCE):
        self.gateway = Gateway(
            site=SERVER.site,
            boot_nonce=nonce,
            known_sites=self.known,
            exchange=self.exchange,
            join=self.exchange,
            body_bytes_max=1_000_000,
        )

    async def known(self, site):
        return {CLINIC.site: CLINIC.public, OTHER.site: OTHER.public}.get(site)

    async def exchange(self, _site, body):
        self.bodies.append(body)
        return body if self.answer is None else self.answer

    async def __call__(self, scope, receive, send):
        await self.gateway(scope, receive, send)


@asynccontextmanager
async def through(site):
    """A client, and the address of the server behind a relay."""
    async with serving(site, key=SERVER) as server:
        with Relay(server.port, up=THIN, down=THIN) as link:
            async with PeerClient(CLINIC, chance=lambda: 0.0) as client:
                peer = PeerAddress(SERVER.site, f"https://127.0.0.1:{link.port}")
                await client.post(peer, "/exchange", b"hello", timeout_s=TIMEOUT_S)
                site.bodies.clear()
                yield client, peer, link


async def test_a_body_goes_on_where_the_link_broke():
    site, body = Site(answer=b"taken"), secrets.token_bytes(SIZE)
    async with through(site) as (client, peer, link):
        before = link.up_bytes
        link.cut_after(SIZE // 2)
        assert await client.post(peer, "/exchange", body, timeout_s=TIMEOUT_S) == b"taken"
        assert link.cuts == 1
        assert link.up_bytes - before < 1.3 * SIZE
    assert site.bodies == [body]


async def test_an_answer_goes_on_where_the_link_broke_and_is_made_once():
    site = Site(answer=secrets.token_bytes(SIZE))
    async with through(site) as (client, peer, link):
        before = link.down_bytes
        link.cut_after(SIZE // 2)
        answer = await client.post(peer, "/exchange", b"give me", timeout_s=TIMEOUT_S)
        assert answer == site.answer
        assert link.cuts == 1
        assert link.down_bytes - before < 1.3 * SIZE
    assert site.bodies == [b"give me"]


async def test_a_server_that_started_anew_knows_nothing_of_it_and_the_exchange_ends():
    site = Site()
    async with through(site) as (client, peer, link), trio.open_nursery() as nursery:

        async def restart():
            while link.cuts == 0:
                await trio.sleep(0.001)
            site.start_anew(b"another!")

        nursery.start_soon(restart)
        link.cut_after(SIZE // 2)
        with pytest.raises(ExchangeInterruptedError):
            await client.post(peer, "/exchange", bytes(SIZE), timeout_s=TIMEOUT_S)
        assert await client.post(peer, "/exchange", b"anew", timeout_s=TIMEOUT_S) == b"anew"
    assert site.bodies == [b"anew"]


async def ask(site, path, body, headers):
    """Status and body of an answer."""
    sent, parts = [], [body]

    async def receive():
        if not parts:
            return {"type": "http.disconnect"}
        more = parts[0] is not body or b"breaks" in body[-6:]
        return {"type": "http.request", "body": parts.pop(), "more_body": more}

    async def send(message):
        sent.append(message)

    length = (b"content-length", b"%d" % max(len(body), RESUMED_BYTES_MIN))
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b""}
    await site.gateway({**scope, "headers": [*headers, length]}, receive, send)
    return (sent[0]["status"], sent[1]["body"]) if sent else None


def signed(counter, body, key=CLINIC, path="/exchange", session=NONCE):
    return signed_headers(
        key,
        method="POST",
        path=path,
        body=body,
        peer=SERVER.site,
        session=session,
        counter=counter,
    )


def named(headers):
    from syncnode.identity.credentials import read_proof

    return read_proof(headers).signature


async def rest(site, headers, got=0, key=CLINIC, counter=50):
    question = encode_question(named(headers), got)
    return await ask(site, REST_PATH, question, signed(counter, question, key, REST_PATH))


BODY = b"x" * 1000 + b"and the rest"
PART = b"x" * 700 + b"breaks"


async def test_what_came_of_a_body_is_told_to_its_sender_alone():
    site, headers = Site(), signed(1, BODY)
    assert await ask(site, "/exchange", PART, headers) is None
    assert await rest(site, headers) == (200, HAVE_OF_BODY + len(PART).to_bytes(8, "big"))
    assert await rest(site, headers, key=OTHER) == (200, HAVE_OF_BODY + bytes(8))


async def test_the_rest_must_fit_what_was_signed():
    site, headers = Site(), signed(1, BODY)
    await ask(site, "/exchange", PART, headers)
    status, _ = await ask(site, "/exchange", BODY[706:], [*headers, (FROM_HEADER, b"706")])
    assert (status, site.bodies) == (401, [])  # of the part, six bytes are others
    await ask(site, "/exchange", PART, headers)
    status, answer = await ask(site, "/exchange", BODY[700:], [*headers, (FROM_HEADER, b"700")])
    assert (status, answer, site.bodies) == (200, BODY, [BODY])


async def test_a_request_goes_on_from_what_is_here_only():
    site, headers = Site(), signed(1, BODY)
    for place in (b"0", b"700"):
        assert (await ask(site, "/exchange", BODY, [*headers, (FROM_HEADER, place)]))[0] == 409
    await ask(site, "/exchange", PART, headers)
    for place in (b"707", b"-1", b"", b"x", b"9" * 5000):
        assert (await ask(site, "/exchange", BODY, [*headers, (FROM_HEADER, place)]))[0] == 409
    assert site.bodies == []


async def test_of_who_does_not_know_the_process_nothing_is_kept():
    site, headers = Site(), signed(1, BODY, session=b"guessed!")
    await ask(site, "/exchange", PART, headers)
    assert await rest(site, headers) == (200, HAVE_OF_BODY + bytes(8))


async def test_the_rest_of_an_answer_is_given_again_without_a_second_handling():
    site, headers = Site(), signed(1, BODY)
    assert await ask(site, "/exchange", BODY, headers) == (200, BODY)
    assert await rest(site, headers, got=900) == (200, b"A" + BODY[900:])
    assert await rest(site, headers, got=2000, counter=51) == (200, b"A")
    assert (await rest(site, headers, counter=51))[0] == 401, "a question is asked once"
    assert site.bodies == [BODY]


def test_a_question_for_the_rest_is_exact():
    assert decode_question(encode_question(b"s" * SIGNATURE_BYTES, 7)) == (b"s" * 8, 7)
    for body in (b"", b"s" * 15, b"s" * 17):
        with pytest.raises(MalformedMessageError):
            decode_question(body)
    assert encode_rest(Request(bytearray(b"abc")), 0) == HAVE_OF_BODY + (3).to_bytes(8, "big")


def test_what_is_kept_is_bounded():
    unfinished = Unfinished()
    proofs = [
        read_of(signed(counter, b"", key=key)) for key in (CLINIC, OTHER) for counter in range(1, 6)
    ]
    for proof in proofs:
        unfinished.keep(proof, Request(bytearray(KEPT_BYTES_MAX // 3)))
        unfinished.bound()
    kept = [proof for proof in proofs if unfinished.find(proof.site, proof.signature)]
    assert kept == proofs[-KEPT_PER_SITE:]


def read_of(headers):
    from syncnode.identity.credentials import read_proof

    return read_proof(headers)


def test_pieces_are_small_until_a_link_has_shown_what_it_carries():
    assert piece_bytes(0, 0.0) == piece_bytes(TRIED_BYTES - 1, 0.0) == SMALL_BYTES
    assert piece_bytes(TRIED_BYTES, 0.5) == LARGE_BYTES
    assert piece_bytes(TRIED_BYTES, 2.0) == piece_bytes(10 * TRIED_BYTES, 99.0) == SMALL_BYTES
