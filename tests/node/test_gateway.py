"""The gateway: only proven, fresh requests of known sites reach a handler; a no is one sentence."""

import logging

import pytest
from wire import new_key

from syncnode.identity.credentials import NO_SESSION, WINDOW_WIDTH, signed_headers
from syncnode.links.gateway import JOIN_BODY_BYTES_MAX, JOINS_PER_WINDOW_MAX, Gateway
from syncproto.errors import (
    ForkError,
    IncompatiblePeerError,
    MalformedMessageError,
    StoreError,
    UnexpectedMessageError,
)

SERVER, CLINIC, STRANGER = new_key(), new_key(), new_key()
NONCE = b"nonce000"
SECRET = b"a patient's name"


class Door:
    """A gateway in a room without a network: what was asked, what it said."""

    def __init__(self, error=None, body_bytes_max=1000):
        self.error = error
        self.exchanged, self.joined = [], []
        self.now_s = 0.0
        self.gateway = Gateway(
            site=SERVER.site,
            boot_nonce=NONCE,
            known_sites=self.known,
            exchange=self.exchange,
            join=self.join,
            body_bytes_max=body_bytes_max,
            monotonic=lambda: self.now_s,
        )

    async def known(self, site):
        return {CLINIC.site: CLINIC.public}.get(site)

    async def exchange(self, site, body):
        self.exchanged.append((site, body))
        if self.error is not None:
            raise self.error
        return b"answer to " + body

    async def join(self, body):
        self.joined.append(body)
        if self.error is not None:
            raise self.error
        return b"welcome"

    async def ask(self, path, body=b"", headers=(), method="POST", query=b"", client="10.0.0.1"):
        """Status, headers and body of the answer, or None without one."""
        pieces = [body[:3], body[3:]]
        sent = []
        self.body_was_read = False

        async def receive():
            self.body_was_read = True
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": list(headers),
            "client": (client, 1234),
        }
        await self.gateway(scope, receive, send)
        if not sent:
            return None
        start, end = sent
        return start["status"], dict(start["headers"]), end["body"]


def signed(counter, body=b"changes", key=CLINIC, session=NONCE, peer=SERVER, path="/exchange"):
    return signed_headers(
        key,
        method="POST",
        path=path,
        body=body,
        peer=peer.site,
        session=session,
        counter=counter,
    )


async def refused(door, status, **ask):
    said_status, headers, text = await door.ask("/exchange", **{"body": b"changes", **ask})
    assert said_status == status, text
    assert door.exchanged == []
    assert headers[b"content-type"] == b"text/plain; charset=utf-8"
    assert text.count(b"\n") == 1
    return headers, text


async def test_a_proven_request_reaches_the_handler():
    door = Door()
    status, _, body = await door.ask("/exchange", b"changes", signed(1))
    assert (status, body) == (200, b"answer to changes")
    assert door.exchanged == [(CLINIC.site, b"changes")]


async def test_an_unknown_site_is_refused_before_its_body_is_read():
    door = Door()
    headers, text = await refused(door, 401, headers=signed(1, key=STRANGER))
    assert b"not known here" in text
    assert b"syncnode-session" not in headers
    assert not door.body_was_read


async def test_a_tampered_body_or_a_foreign_signature_is_refused_and_uses_up_no_counter():
    door = Door()
    headers, _ = await refused(door, 401, headers=signed(1, body=b"other"))
    assert b"syncnode-session" not in headers
    ((name, mine),), ((_, theirs),) = signed(1), signed(1, key=STRANGER)
    forged = [(name, mine[:32] + theirs[32:])]  # 24 bytes of who and when, then the signature
    await refused(door, 401, headers=forged)
    assert (await door.ask("/exchange", b"changes", signed(1)))[0] == 200


async def test_a_request_meant_for_another_server_is_refused():
    await refused(Door(), 401, headers=signed(1, peer=STRANGER))
    await refused(Door(), 401, headers=signed(1, path="/join"))


async def test_a_replayed_request_is_refused_and_told_which_counters_were_seen():
    door = Door()
    assert (await door.ask("/exchange", b"changes", signed(9)))[0] == 200
    door.exchanged.clear()
    headers, text = await refused(door, 401, headers=signed(9))
    assert headers[b"syncnode-counter"] == b"9"
    assert b"sent before" in text
    assert (await door.ask("/exchange", b"changes", signed(8)))[0] == 200
    assert (await door.ask("/exchange", b"changes", signed(9 + WINDOW_WIDTH)))[0] == 200
    door.exchanged.clear()
    await refused(door, 401, headers=signed(7))


async def test_a_request_for_an_earlier_process_is_refused_with_the_present_session():
    door = Door()
    for session in (NO_SESSION, b"earlier!"):
        headers, _ = await refused(door, 401, headers=signed(1, session=session))
        assert headers[b"syncnode-session"] == NONCE.hex().encode()


async def test_headers_that_are_not_well_formed_are_a_bad_request():
    door = Door()
    await refused(door, 400)
    ((name, proof),) = signed(1)
    for value in (b"", b"me", proof[:-4], proof + b"AA" * 6, b"!" + proof[1:]):
        await refused(door, 400, headers=[(name, value)])
    await refused(door, 400, headers=[*signed(1), *signed(2)])


async def test_a_body_over_the_limit_is_refused_announced_or_not():
    door = Door(body_bytes_max=10)
    await refused(door, 413, headers=signed(1), body=b"x" * 11)
    await refused(door, 413, headers=[*signed(1), (b"content-length", b"11")])
    assert not door.body_was_read


async def test_the_door_for_files_is_there_where_some_are_declared():
    door = Door()
    assert (await door.ask("/files", b"a turn", signed(1, b"a turn", path="/files")))[0] == 404

    async def files(site, body):
        return b"of " + body

    door.gateway._proven["/files"] = files
    status, _, body = await door.ask("/files", b"a turn", signed(1, b"a turn", path="/files"))
    assert (status, body, door.exchanged) == (200, b"of a turn", [])
    other = signed(2, b"a turn", key=CLINIC, path="/exchange")
    assert (await door.ask("/files", b"a turn", other))[0] == 401


async def test_everything_else_does_not_exist():
    door = Door()
    for path in ("/", "/exchange/", "/Exchange", "/status", "*"):
        assert (await door.ask(path))[0] == 404
    assert (await door.ask("/exchange", query=b"a=b"))[0] == 404
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        status, headers, _ = await door.ask("/join", method=method)
        assert (status, headers[b"allow"]) == (405, b"POST")
    assert (door.exchanged, door.joined) == ([], [])


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (MalformedMessageError("the row has no key"), 400, b"the row has no key\n"),
        (IncompatiblePeerError("speak version 2"), 400, b"speak version 2\n"),
        (ForkError("two changesets share 3"), 400, b"two changesets share 3\n"),
        (ExceptionGroup("", [ForkError("two share 3")]), 400, b"two share 3\n"),
        (StoreError("locked", transient=True), 503, b"the database of this site is busy"),
        (StoreError("no space on disk"), 500, b"this site failed on the request"),
        (ValueError(SECRET.decode()), 500, b"this site failed on the request"),
    ],
)
async def test_an_error_becomes_a_status_and_a_sentence(error, status, text, caplog):
    caplog.set_level(logging.DEBUG)
    door = Door(error)
    said_status, _, said = await door.ask("/exchange", SECRET, signed(1, body=SECRET))
    assert said_status == status
    assert said.startswith(text)
    assert SECRET.decode() not in caplog.text
    if status == 500:
        assert "in exchange" in caplog.text  # the traceback, for us
        assert type(error).__name__ in caplog.text


async def test_a_join_is_small_and_needs_no_signature():
    door = Door()
    status, _, body = await door.ask("/join", b"token")
    assert (status, body) == (200, b"welcome")
    assert (await door.ask("/join", bytes(JOIN_BODY_BYTES_MAX + 1)))[0] == 413
    assert door.joined == [b"token"]


async def test_too_many_joins_of_one_address_wait_a_minute_and_others_do_not():
    door = Door(UnexpectedMessageError("this token is not known here"))
    for _ in range(JOINS_PER_WINDOW_MAX):
        assert (await door.ask("/join"))[0] == 400
    assert (await door.ask("/join"))[0] == 429
    assert (await door.ask("/join", client="10.0.0.2"))[0] == 400
    door.now_s = 61
    assert (await door.ask("/join"))[0] == 400


async def test_who_proves_an_invitation_may_ask_as_often_as_it_takes():
    door = Door()
    for _ in range(3 * JOINS_PER_WINDOW_MAX):
        assert (await door.ask("/join"))[0] == 200
    assert len(door.joined) == 3 * JOINS_PER_WINDOW_MAX


async def test_joins_of_endlessly_many_addresses_take_bounded_memory():
    door = Door(UnexpectedMessageError("this token is not known here"))
    statuses = [(await door.ask("/join", client=f"a{n}"))[0] for n in range(300)]
    assert statuses.count(400) == 256
    assert set(statuses[256:]) == {429}


async def test_a_client_that_leaves_within_its_body_gets_no_answer():
    door, sent = Door(), []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/exchange",
        "query_string": b"",
        "headers": signed(1),
    }
    await door.gateway(scope, receive, send)
    assert (sent, door.exchanged) == ([], [])
