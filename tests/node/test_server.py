"""The server: answers well-formed requests, outlives every bad client, and ends in time."""

import logging

import pytest
import trio
import trio.testing
from wire import HOST, connect, connect_tls, new_key, read_to_end, serving, spoken

from syncnode.links.connection import Connection
from syncnode.links.server import serve, serve_stream
from syncproto.errors import ConfigError

GET = b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n"


async def reply(send, body=b"", status=200):
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def echo(scope, receive, send):
    """Answers with the path and the body."""
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    await reply(send, scope["path"].encode() + b" " + body)


async def never(_scope, receive, _send):
    await receive()
    await trio.sleep_forever()


class Endless:
    """Answers with more than any buffer holds, and says when it was stopped."""

    def __init__(self):
        self.sent_bytes = 0
        self.stopped = trio.Event()

    async def __call__(self, _scope, receive, send):
        try:
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                piece = b"x" * 65536
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                self.sent_bytes += len(piece)
        finally:
            self.stopped.set()


async def one_reply(stream):
    """The body of the next response on a connection that stays open."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += await stream.receive_some(65536)
    return body


# --- Answers ---


async def test_requests_follow_each_other_on_one_tls_connection():
    async with serving(echo, key=new_key()) as server, await connect_tls(server) as stream:
        await stream.send_all(GET)
        assert await one_reply(stream) == b"/hello "
        await stream.send_all(b"POST /a%20b?q HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nbo")
        await stream.send_all(b"dy")
        assert await one_reply(stream) == b"/a b body"


async def test_a_request_sent_ahead_is_answered_after_the_first():
    async with serving(echo) as server:
        last = b"GET /last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        said = await spoken(server, GET + last)
    assert said.count(b"HTTP/1.1 200") == 2
    assert said.index(b"/hello ") < said.index(b"/last ")


async def test_one_stream_can_be_served_without_a_socket():
    client, served = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stream, echo, served)
        await client.send_all(GET)
        assert await one_reply(client) == b"/hello "
        await client.aclose()


async def test_a_client_that_asks_is_told_to_continue_only_when_the_body_is_read():
    reading = trio.Event()

    async def slow(scope, receive, send):
        await reading.wait()
        await echo(scope, receive, send)

    async with serving(slow) as server, await connect(server) as stream:
        await stream.send_all(
            b"POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        )
        with trio.move_on_after(0.1) as waited:
            await stream.receive_some(1)
        assert waited.cancelled_caught
        reading.set()
        assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 100")
        await stream.send_all(b"ok")
        assert await one_reply(stream) == b"/ ok"


async def test_a_request_that_waits_long_outlives_every_deadline():
    async def waiting(_scope, receive, send):
        await receive()
        await trio.sleep(0.5)
        await reply(send, b"at last")

    short = {"head_s": 0.1, "body_read_s": 0.1, "write_s": 0.1, "keep_alive_s": 0.1}
    async with (
        serving(waiting, key=new_key(), **short) as server,
        await connect_tls(server) as stream,
    ):
        await stream.send_all(GET)
        assert await one_reply(stream) == b"at last"


async def test_a_large_response_arrives_whole():
    large = bytes(range(256)) * 8192

    async def app(_scope, receive, send):
        await receive()
        await reply(send, large)

    async with serving(app, key=new_key()) as server, await connect_tls(server) as stream:
        await stream.send_all(GET)
        assert await one_reply(stream) == large


# --- Bad clients ---


async def test_the_server_outlives_a_client_that_leaves_at_any_point():
    request = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nabcde"
    async with serving(echo) as server:
        for length in range(len(request)):
            async with await connect(server) as stream:
                await stream.send_all(request[:length])
        assert b"/a abcde" in await spoken(
            server, request.replace(b"host: x", b"connection: close\r\nhost: x")
        )


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x00\xff not http\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nfill: " + b"x" * 200_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 101\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n", 413),
        (
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n"
            b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
    ],
)
async def test_what_is_no_proper_request_gets_a_clear_answer(sent, status):
    async with serving(echo, body_bytes_max=100) as server:
        said = await spoken(server, sent)
        assert said.startswith(b"HTTP/1.1 %d" % status), said[:100]
        assert said.endswith(b"\n")
        assert b"<reset>" not in said


async def test_an_endless_body_is_cut_at_the_limit_and_the_client_told_so():
    received = []

    async def counting(_scope, receive, _send):
        while (message := await receive())["more_body"]:
            received.append(len(message["body"]))

    async with serving(counting, body_bytes_max=100_000) as server, await connect(server) as stream:
        await stream.send_all(b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        said = bytearray()
        async with trio.open_nursery() as nursery:

            async def pour():
                with trio.fail_after(5):
                    try:
                        while True:
                            await stream.send_all(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                    except trio.BrokenResourceError:
                        return

            nursery.start_soon(pour)
            said += await read_to_end(stream)
    assert said.startswith(b"HTTP/1.1 413")
    assert sum(received) <= 100_000


async def test_silence_in_head_body_or_handshake_ends_the_connection():
    limits = {"handshake_s": 0.1, "head_s": 0.1, "body_read_s": 0.1, "keep_alive_s": 0.1}
    async with serving(echo, **limits) as server:
        assert await spoken(server, b"") == b""
        assert await spoken(server, b"GET / HT") == b""
        said = await spoken(server, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\nabc")
        assert said.startswith(b"HTTP/1.1 408")
        answered = await spoken(server, GET)
        assert answered.endswith(b"/hello ")
    async with serving(echo, key=new_key(), **limits) as server:
        assert await spoken(server, b"") == b""


async def test_a_client_that_stops_reading_is_given_up():
    app = Endless()
    async with (
        serving(app, key=new_key(), write_s=0.2, write_rate_min=1e9) as server,
        await connect_tls(server) as stream,
    ):
        await stream.send_all(GET)
        with trio.fail_after(5):
            await app.stopped.wait()
    assert app.sent_bytes > 0


async def test_a_client_that_hangs_up_ends_the_work_for_it():
    started, cancelled = trio.Event(), trio.Event()

    async def working(_scope, receive, _send):
        await receive()
        started.set()
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    async with serving(working, key=new_key()) as server:
        stream = await connect_tls(server)
        await stream.send_all(GET)
        await started.wait()
        await stream.aclose()
        with trio.fail_after(2):
            await cancelled.wait()


async def test_an_application_that_fails_costs_one_request_and_no_more(caplog):
    async def failing(scope, receive, send):
        if scope["path"] == "/fail":
            raise ValueError("broken")
        await echo(scope, receive, send)

    async with serving(failing) as server:
        said = await spoken(server, GET.replace(b"hello", b"fail"))
        assert said.startswith(b"HTTP/1.1 500")
        assert b"broken" not in said
        async with await connect(server) as stream:
            await stream.send_all(GET)
            assert await one_reply(stream) == b"/hello "
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_an_answer_before_the_body_was_read_reaches_a_client_that_still_sends():
    async def refusing(_scope, _receive, send):
        await reply(send, b"no", status=401)

    large = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 300000\r\n\r\n" + bytes(300_000)
    async with serving(refusing) as server:
        said = await spoken(server, large)
    assert said.startswith(b"HTTP/1.1 401")
    assert said.endswith(b"\r\n\r\nno")


async def test_a_head_request_is_told_the_length_and_sent_no_body():
    async with serving(echo) as server:
        said = await spoken(server, b"HEAD /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert b"content-length: 3\r\n" in said
    assert said.endswith(b"\r\n\r\n")


async def test_an_error_of_ours_costs_one_connection_and_not_the_server(monkeypatch, caplog):
    async with serving(echo) as server:
        with monkeypatch.context() as broken:
            broken.setattr(Connection, "run", lambda _self: 1 / 0)
            assert await spoken(server, b"") == b""
        async with await connect(server) as stream:
            await stream.send_all(GET)
            assert await one_reply(stream) == b"/hello "
    assert "the server goes on" in caplog.text


async def test_connections_are_limited_for_each_address_and_in_all():
    for limit in ("connections_max", "connections_per_address_max"):
        async with serving(echo, **{limit: 2}) as server:
            async with await connect(server) as first, await connect(server) as second:
                for stream in (first, second):
                    await stream.send_all(GET)
                    assert await one_reply(stream) == b"/hello "
                assert await spoken(server, GET) in (b"", b"<reset>")
            # Those two are gone, so there is room again, soon.
            with trio.fail_after(2):
                while not (
                    await spoken(server, GET.replace(b"host", b"connection: close\r\nhost"))
                ):
                    await trio.sleep(0.01)


# --- The end ---


async def test_at_shutdown_idle_and_silent_connections_close_at_once():
    async with serving(echo, key=new_key(), grace_s=3) as server:
        silent = await connect(server)
        half = await connect_tls(server)
        await half.send_all(GET[:10])
        idle = await connect_tls(server)
        await idle.send_all(GET)
        await one_reply(idle)
        server.shutdown.set()
        with trio.fail_after(1):
            await server.ended.wait()
            for stream in (silent, half, idle):
                assert await stream.receive_some(1) == b""
                await stream.aclose()
        with pytest.raises(OSError, match="connect"):
            await connect(server)


async def test_at_shutdown_a_request_under_way_is_answered_and_its_connection_closed():
    proceed, started = trio.Event(), trio.Event()

    async def app(_scope, receive, send):
        await receive()
        started.set()
        await proceed.wait()
        await reply(send, b"done")

    async with serving(app) as server, await connect(server) as stream:
        await stream.send_all(GET)
        await started.wait()
        server.shutdown.set()
        await trio.testing.wait_all_tasks_blocked()
        assert not server.ended.is_set()
        proceed.set()
        said = await read_to_end(stream)
        assert said.endswith(b"done")
        assert b"connection: close" in said.lower()
        with trio.fail_after(1):
            await server.ended.wait()


async def test_at_shutdown_a_stalled_reader_and_a_waiting_request_are_cut_after_the_grace():
    for app in (Endless(), never):
        async with (
            serving(app, key=new_key(), grace_s=0.3) as server,
            await connect_tls(server) as stream,
        ):
            await stream.send_all(GET)
            await trio.sleep(0.2)  # let the buffers fill
            server.shutdown.set()
            with trio.fail_after(1):
                await server.ended.wait()


async def test_cancelling_the_server_cuts_everything_at_once():
    async with (
        serving(Endless(), key=new_key(), grace_s=60) as server,
        await connect_tls(server) as stream,
    ):
        await stream.send_all(GET)
        server.cancel_scope.cancel()
        with trio.fail_after(1):
            await server.ended.wait()


# --- Addresses ---


async def test_a_port_in_use_is_named_with_what_to_do():
    async with serving(echo) as server:
        with pytest.raises(ConfigError, match=f"{HOST}:{server.port}.*set another port"):
            await serve(echo, host=HOST, port=server.port, ssl_context=None)


async def test_an_address_of_another_machine_is_named_with_what_to_do():
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:0.*of this machine"):
        await serve(echo, host="192.0.2.1", port=0, ssl_context=None)
