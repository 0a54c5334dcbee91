"""The calling end of the wire: signed requests to peers that prove who they are.

**Who answers.** A peer is known by its SiteId, the hash of its public key. In the TLS 1.3
handshake a server proves that it holds the key of its certificate, so we look at nothing but
that key (`_pinned_context`): no authority, no host name, no date, no store of certificates; a
server may renew its certificate, move and change its name. The check is part of the handshake,
so nothing of a request ever leaves for another server.

**Once.** Each request is signed for one process of one server, with a counter
(`identity/credentials.py`). When we do not know the server's process yet, or it started anew, it
says 401 with what we need, and we sign once more.

**The pool rule.** httpx 0.28 (httpcore #1093) loses a connection of its pool for ever when a
request is cancelled while it *waits* for the pool. So the pool is unbounded, and a limiter of
our own, one a peer, stands before it: no request ever waits inside httpx. `_using` mends two more
such losses. We use httpx's transports directly: there must be one for each peer, since each has
its own idea of who answers there, and a client above them would add redirects, cookies and
proxies, which we do not want.
"""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import httpx
import trio

from syncnode.identity.credentials import (
    COUNTER_HEADER,
    COUNTER_MAX,
    NO_SESSION,
    SESSION_HEADER,
    SiteKey,
    read_counter,
    read_proof,
    read_session,
    signed_headers,
    site_id_of_certificate,
)
from syncnode.links.pieces import BROKEN_BYTES, LARGE_BYTES, SMALL_BYTES, piece_bytes
from syncnode.links.sockets import KEEP_ALIVE_OPTIONS
from syncnode.links.unfinished import (
    FROM_HEADER,
    REST_OF_ANSWER,
    REST_PATH,
    RESUMED_BYTES_MIN,
    decode_have,
    encode_question,
)
from syncnode.machine import THIS_MACHINE
from syncproto.errors import (
    ConfigError,
    ExchangeInterruptedError,
    LimitExceededError,
    MalformedMessageError,
    PeerUnreachableError,
    RefusedError,
)
from syncproto.identity import SiteId, site_text

# One that waits for changes, one that carries ours, and room for two that are slow to end.
REQUESTS_PER_PEER_MAX = 4
# Below the hour after which the server closes an idle connection, so that we seldom send into one
# that is being closed; and longer than the 15 minutes that sites usually wait between two calls.
KEEP_ALIVE_S = 3300.0
POOL_LIMITS = httpx.Limits(
    max_connections=None,  # the pool rule
    max_keepalive_connections=REQUESTS_PER_PEER_MAX,
    keepalive_expiry=KEEP_ALIVE_S,
)
# For the connection, and again for the handshake: who does not answer that within this time is
# not busy but hangs. A 2G link takes ten seconds at its worst.
CONNECT_S_MAX = 30.0
# The longest wait on a write is for one piece, so it is what a slow link must carry in that time.
WRITE_BYTES = LARGE_BYTES
# Above this, a body is not sent just to be told the server's session; an empty one is.
UNSIGNED_BODY_BYTES_MAX = 512
# Two processes of one site count independently (`serve`, and a `sync` beside it). After a clash
# they go on at different distances, so that they seldom clash again.
COUNTER_LEAP = 64
REFUSAL_BYTES_MAX = 2048
REFUSAL_TEXT_MAX = 300


# Attempts to go on after a link broke that bring nothing more across; then it is for who called.
STALLED_MAX = 4
STALLED_PAUSE_S = 1.0  # doubles

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class PeerAddress:
    """Where we expect whom.

    Attributes:
        site: Whose key the server must hold.
        url: `https://host[:port]`, perhaps with a path in front of ours.
    """

    site: SiteId
    url: str


def pinned_transport(site: SiteId) -> httpx.AsyncBaseTransport:
    """Connections that only the holder of the site's key can answer on."""
    return httpx.AsyncHTTPTransport(
        verify=_pinned_context(site),
        trust_env=False,  # no proxy that the environment happens to name
        limits=POOL_LIMITS,
        socket_options=KEEP_ALIVE_OPTIONS,
    )


class _Pool:
    """The connections to one peer.

    Attributes:
        users: Requests under way.
        spoiled: A connection in it is lost, so it is closed after its last user.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        self.users = 0
        self.spoiled = False
        self.transport = transport


@dataclass(slots=True)
class _Peer:
    new_pool: Callable[[], _Pool]
    pool: _Pool
    limiter: trio.CapacityLimiter = field(
        default_factory=lambda: trio.CapacityLimiter(REQUESTS_PER_PEER_MAX)
    )
    session: bytes = NO_SESSION
    counter: int = 0

    def next_counter(self) -> int:
        self.counter = min(self.counter + 1, COUNTER_MAX)
        return self.counter


@dataclass(slots=True)
class _Answer:
    status: int
    headers: httpx.Headers
    body: bytes


@dataclass(slots=True)
class _Sent:
    """A request that was sent, and how far it and its answer have come.

    Attributes:
        have: What the server had of the body when it was last asked.
        got: What has come of the answer.
    """

    url: httpx.URL
    headers: Headers
    body: bytes
    have: int = 0
    got: bytearray = field(default_factory=bytearray)

    @property
    def signature(self) -> bytes:
        return read_proof(self.headers).signature

    @property
    def progress(self) -> tuple[int, int]:
        return self.have, len(self.got)


class PeerClient:
    """Sends requests to peers, for the whole process; an async context manager.

    Args:
        key: Signs our requests.
        response_bytes_max: The longest answer that is read.
        transport: Makes the connections to a site.
        chance: A number from 0 to 1, anew at each call.
    """

    def __init__(
        self,
        key: SiteKey,
        *,
        response_bytes_max: int = 16 * 1024 * 1024,
        transport: Callable[[SiteId], httpx.AsyncBaseTransport] = pinned_transport,
        chance: Callable[[], float] = THIS_MACHINE.chance,
    ) -> None:
        self._key = key
        self._response_bytes_max = response_bytes_max
        self._transport = transport
        self._chance = chance
        self._peers_by_site: dict[SiteId, _Peer] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        for peer in self._peers_by_site.values():
            await peer.pool.transport.aclose()
        self._peers_by_site.clear()

    async def post(
        self, address: PeerAddress, path: str, body: bytes, *, timeout_s: float
    ) -> bytes:
        """The peer's answer to a signed request.

        Args:
            path: Absolute, such as `/exchange`.
            timeout_s: The longest wait in which nothing moves: for the connection and the
                handshake (`CONNECT_S_MAX` at most), a piece of either body, and for the answer
                to begin. It is no bound on the whole, so that large bodies cross slow links;
                for one, cancel.

        Raises:
            PeerUnreachableError: The request did not leave: no connection, or who answered
                there is not this peer.
            ExchangeInterruptedError: The link failed later, so the peer may have acted.
            RefusedError: The peer said no; the text is what it said.
            LimitExceededError: The answer is longer than `response_bytes_max`.
            ConfigError: The address is not one of HTTPS.
        """
        url = _url(address, path)
        peer = self._peer(address.site)
        async with peer.limiter:
            if peer.session == NO_SESSION and len(body) > UNSIGNED_BODY_BYTES_MAX:
                probe = await self._signed(peer, address.site, url, b"", timeout_s)
                if not self._learn(peer, probe):
                    _accepted(probe, address)  # raises what the peer said
            answer = await self._signed(peer, address.site, url, body, timeout_s)
            if answer.status == 401 and self._learn(peer, answer):
                answer = await self._signed(peer, address.site, url, body, timeout_s)
        return _accepted(answer, address)

    async def _signed(
        self, peer: _Peer, site: SiteId, url: httpx.URL, body: bytes, timeout_s: float
    ) -> _Answer:
        """A signed request. When the link breaks in a large body, either way, it goes on from
        there, for as long as something comes across."""
        sent = _Sent(url, self._proof(peer, site, url, body), body)
        try:
            return await self._exchange(peer, url, sent.headers, body, timeout_s, sent.got)
        except ExchangeInterruptedError:
            if len(body) + len(sent.got) < RESUMED_BYTES_MIN:
                raise
            return await self._resumed(peer, site, sent, timeout_s)

    async def _resumed(self, peer: _Peer, site: SiteId, sent: "_Sent", timeout_s: float) -> _Answer:
        stalled, before = 0, sent.progress
        while True:
            try:
                answer = await self._go_on(peer, site, sent, timeout_s)
            except (ExchangeInterruptedError, PeerUnreachableError):
                stalled = 0 if sent.progress > before else stalled + 1
                before = max(before, sent.progress)
                if stalled > STALLED_MAX:
                    raise
                if stalled:
                    await trio.sleep(STALLED_PAUSE_S * 2**stalled * (0.5 + 0.5 * self._chance()))
                continue
            if answer is None:
                raise ExchangeInterruptedError(
                    f"the exchange with {sent.url.host} broke off, and it does not know of it any "
                    "more"
                )
            return answer

    async def _go_on(
        self, peer: _Peer, site: SiteId, sent: "_Sent", timeout_s: float
    ) -> _Answer | None:
        """The rest, on another connection; None if the server does not know the request."""
        url = sent.url.copy_with(path=_beside(sent.url.path))
        question, rest = encode_question(sent.signature, len(sent.got)), bytearray()
        headers = self._proof(peer, site, url, question)
        try:
            asked = await self._exchange(peer, url, headers, question, timeout_s, rest)
        except ExchangeInterruptedError:
            if rest[:1] == REST_OF_ANSWER:
                sent.got += rest[1:]
            raise
        if asked.status != 200:
            return None
        if asked.body[:1] == REST_OF_ANSWER:
            return _Answer(200, asked.headers, bytes(sent.got) + asked.body[1:])
        sent.have = decode_have(asked.body)
        if not sent.have:
            return None
        sent.got.clear()
        headers = [*sent.headers, (FROM_HEADER, b"%d" % sent.have)]
        rest_of_body = sent.body[sent.have :]
        answer = await self._exchange(peer, sent.url, headers, rest_of_body, timeout_s, sent.got)
        return None if answer.status == 409 else answer

    async def join(
        self, address: PeerAddress, path: str, body: bytes, *, timeout_s: float
    ) -> bytes:
        """The peer's answer to a request without a signature, by a site it does not know yet.

        The peer proves itself all the same. Everything else is as with `post`.
        """
        url = _url(address, path)
        peer = self._peer(address.site)
        async with peer.limiter:
            answer = await self._exchange(peer, url, [], body, timeout_s, bytearray())
        return _accepted(answer, address)

    def session(self, site: SiteId) -> bytes:
        """What names the process that answered for a peer last."""
        peer = self._peers_by_site.get(site)
        return peer.session if peer is not None else NO_SESSION

    def _peer(self, site: SiteId) -> _Peer:
        peer = self._peers_by_site.get(site)
        if peer is None:
            new_pool = partial(self._new_pool, site)
            peer = self._peers_by_site[site] = _Peer(new_pool, new_pool())
        return peer

    def _new_pool(self, site: SiteId) -> _Pool:
        return _Pool(self._transport(site))

    def _proof(self, peer: _Peer, site: SiteId, url: httpx.URL, body: bytes) -> Headers:
        return signed_headers(
            self._key,
            method="POST",
            path=url.raw_path.decode("ascii"),
            body=body,
            peer=site,
            session=peer.session,
            counter=peer.next_counter(),
        )

    def _learn(self, peer: _Peer, answer: _Answer) -> bool:
        """Take over the server's session and the counters it has seen from us.

        Returns whether signing anew makes sense.
        """
        session = answer.headers.get(SESSION_HEADER.decode("ascii"))
        if session is None:
            return False
        counter = answer.headers.get(COUNTER_HEADER.decode("ascii"), "0")
        highest = read_counter(counter.encode("latin-1"))
        peer.session = read_session(session.encode("latin-1"))
        if highest >= peer.counter:
            leap = int(self._chance() * COUNTER_LEAP)
            peer.counter = min(highest + leap, COUNTER_MAX)
        return True

    async def _exchange(
        self,
        peer: _Peer,
        url: httpx.URL,
        headers: Headers,
        body: bytes,
        timeout_s: float,
        got: bytearray,
    ) -> _Answer:
        """One request and its answer, with foreign errors turned into ours; `got` is what has come
        of the answer's body, also when it breaks off."""
        progress = _Progress()
        goes_on = any(name == FROM_HEADER for name, _ in headers)
        request = httpx.Request(
            "POST",
            url,
            headers=[
                (b"host", url.netloc),
                # No more than this: a thin link pays for every header, with every request. Nothing
                # says that we would unpack an answer, and none is unpacked: that has no bound.
                (b"content-length", b"%d" % len(body)),
                *headers,
            ],
            stream=_Pieces(body, BROKEN_BYTES if goes_on else SMALL_BYTES),
            extensions={
                "trace": progress.note,
                "timeout": httpx.Timeout(
                    timeout_s, connect=min(timeout_s, CONNECT_S_MAX), pool=None
                ).as_dict(),
            },
        )
        try:
            async with _using(peer, progress) as transport:
                response = await transport.handle_async_request(request)
                try:
                    return await self._read(response, got)
                finally:
                    with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                        await response.aclose()
        except httpx.TransportError as error:
            where = f"{url.host}:{url.port or 443}"
            wrong_key = _wrong_key(error)
            if wrong_key is not None:
                raise PeerUnreachableError(f"{where}: {wrong_key}; nothing was sent") from error
            late = isinstance(error, httpx.TimeoutException)
            if late and progress.stream is not None and not progress.secured:
                raise PeerUnreachableError(
                    f"{where} takes the call and gives no answer in time: what runs there hangs or "
                    "is stopped"
                ) from error
            if not progress.sent:
                raise PeerUnreachableError(f"cannot reach {where}: {_reason(error)}") from error
            raise ExchangeInterruptedError(
                f"the exchange with {where} broke off: {_reason(error)}"
                + (f", not a byte for {timeout_s:.0f} s" if late else "")
            ) from error

    async def _read(self, response: httpx.Response, got: bytearray) -> _Answer:
        refused = response.status_code != 200
        # Of a refusal only the first sentences matter.
        wanted = REFUSAL_BYTES_MAX if refused else self._response_bytes_max
        body = bytearray() if refused else got
        # Too long a body is left by cancelling: only so do httpx's nested generators end.
        with trio.CancelScope() as scope:
            async for chunk in response.aiter_raw():
                if len(body) <= wanted:
                    body += chunk
                if len(body) > wanted:
                    scope.cancel()
        if len(body) > wanted and not refused:
            raise LimitExceededError(
                f"the peer's answer is longer than {self._response_bytes_max} bytes"
            )
        return _Answer(response.status_code, response.headers, bytes(body))


class _Progress:
    """How far a request has come, by what httpcore tells its `trace` extension.

    Attributes:
        stream: The connection that was opened for the request, if any.
        secured: The handshake on it is complete.
        sent: The first bytes of the request are about to leave.
    """

    def __init__(self) -> None:
        self.stream: Any = None
        self.secured = False
        self.sent = False

    async def note(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self.stream = info["return_value"]
        elif event == "connection.start_tls.complete":
            self.secured = True
        elif event == "http11.send_request_headers.started":
            self.sent = True


@asynccontextmanager
async def _using(peer: _Peer, progress: _Progress) -> AsyncIterator[httpx.AsyncBaseTransport]:
    """The peer's transport for one request, without what httpcore 1.0 loses when cancelled.

    Cancelled in the handshake, it leaves the socket to the garbage collector. Cancelled between
    handshake and request, it keeps the connection for ever as one that is about to be used. So
    we close the socket, and in the second case replace the pool once nobody uses it.
    """
    pool = peer.pool
    pool.users += 1
    try:
        yield pool.transport
    except BaseException:
        if progress.stream is not None and not progress.sent:
            with trio.CancelScope(shield=True):
                await progress.stream.aclose()
            pool.spoiled = pool.spoiled or progress.secured
        if pool.spoiled and peer.pool is pool:
            peer.pool = peer.new_pool()
        raise
    finally:
        pool.users -= 1
        if pool.spoiled and not pool.users:
            with trio.CancelScope(shield=True):
                await pool.transport.aclose()


class _Pieces(httpx.AsyncByteStream):
    """A body in pieces; no generator, since httpx does not close one when it is cancelled."""

    def __init__(self, body: bytes, small_bytes: int = SMALL_BYTES) -> None:
        self._body = body
        self._small_bytes = small_bytes
        self._sent_bytes = 0
        self._began_s = trio.current_time()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        took_s = trio.current_time() - self._began_s
        size = piece_bytes(self._sent_bytes, took_s, small_bytes=self._small_bytes)
        piece = self._body[self._sent_bytes : self._sent_bytes + size]
        if not piece:
            raise StopAsyncIteration
        self._sent_bytes += len(piece)
        return piece


def _url(address: PeerAddress, path: str) -> httpx.URL:
    try:
        url = httpx.URL(address.url.rstrip("/") + path)
    except httpx.InvalidURL as error:
        raise ConfigError(
            f"{address.url!r} is no address; one looks like https://example.org:8470"
        ) from error
    if url.scheme != "https" or not url.host:
        raise ConfigError(
            f"{address.url!r} is not an HTTPS address; one looks like https://example.org:8470"
        )
    return url


def _beside(path: str) -> str:
    """The path of the question for the rest, beside that of the request."""
    return path.rpartition("/")[0] + REST_PATH


def _accepted(answer: _Answer, address: PeerAddress) -> bytes:
    if answer.status == 200:
        return answer.body
    said = "".join(
        # The text comes from outside and ends on terminals and pages.
        character if character.isprintable() else " "
        for character in answer.body.decode("utf-8", "replace")
    )
    said = " ".join(said.split())[:REFUSAL_TEXT_MAX]
    raise RefusedError(
        f"{address.url} refused ({answer.status}): {said or 'without a reason'}",
        status=answer.status,
    )


# --- Who answers ---------------------------------------------------------------------------


class _WrongKeyError(ssl.SSLCertVerificationError):
    """The server proved that it is someone else."""


def _pinned_context(site: SiteId) -> ssl.SSLContext:
    """A TLS context whose handshakes succeed only with the holder of the site's key.

    OpenSSL is told to verify no certificate, since there is nothing to verify it against, and
    an object of ours looks at the key as the last step of the handshake. That the server holds
    this key OpenSSL checks in any case: in TLS 1.3 the server signs the handshake with it
    (RFC 8446, section 4.4.3), whatever `verify_mode` says; so nothing older is allowed.
    """

    class PinnedObject(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            der = self.getpeercert(binary_form=True)
            try:
                found = site_id_of_certificate(der or b"")
            except MalformedMessageError as error:
                raise _WrongKeyError(str(error)) from error
            if found != site:
                raise _WrongKeyError(
                    f"who answers there is {site_text(found)}, not {site_text(site)}"
                )

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.sslobject_class = PinnedObject
    return context


def _wrong_key(error: BaseException) -> _WrongKeyError | None:
    """The reason of ours behind the errors that trio and httpx made of it."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, _WrongKeyError):
        cause = cause.__cause__ or cause.__context__
    return cause


def _reason(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return "no answer in time"
    return str(error) or type(error).__name__
