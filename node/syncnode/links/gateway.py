"""The door of a node: who may ask what over HTTP, as a bare ASGI application.

Five requests exist, all with bytes in and bytes out; what the bytes mean is not known here:

- `POST /exchange`, signed by a known site (`identity/credentials.py`), and `POST /rest`, after a
  connection broke, for what is left of one (`unfinished.py`);
- `POST /files`, signed in the same way, for the content of files, where some are declared;
- `POST /members`, too, by which members tell each other who was revoked;
- `POST /join`, from a site that nobody knows yet; what it may do is proven inside its body, so
  here it is only small, and who cannot prove it may try only rarely;
- `POST /meet`, in the same way, from a site that found this one on a LAN, where discovery is on.

A stranger's body is never read, an unproven one never reaches a handler, and a refusal is one
plain sentence. Logs tell what happened and where in our code; they never hold bodies, tokens or
values, and so not the texts of foreign errors either, since a database's error quotes its rows.
"""

import logging
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from syncnode.identity.credentials import (
    COUNTER_HEADER,
    SESSION_HEADER,
    CounterWindow,
    Proof,
    read_proof,
)
from syncnode.links.unfinished import (
    FROM_HEADER,
    REST_PATH,
    RESUMED_BYTES_MIN,
    Request,
    Unfinished,
    decode_question,
    encode_rest,
)
from syncproto.errors import MalformedMessageError, PeerError, StoreError, SyncError
from syncproto.identity import SiteId, site_text
from syncproto.joining import REQUEST_BYTES_MAX

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

logger = logging.getLogger(__name__)

JOIN_BODY_BYTES_MAX = REQUEST_BYTES_MAX
# A person copies a token: ten tries a minute are plenty, and no burden on an old laptop. What was
# answered was no try: a site that compares its rows before it joins asks many times.
JOINS_PER_WINDOW_MAX = 10
JOIN_WINDOW_S = 60.0
# More addresses than this within a minute are no clinic; then all joins wait.
JOIN_ADDRESSES_MAX = 256
# What one site may keep us busy with at once; its own client sends four.
REQUESTS_PER_SITE_MAX = 8


@dataclass(frozen=True, slots=True)
class _Response:
    status: int
    body: bytes
    headers: tuple[Header, ...] = ()


class _RefusedError(Exception):
    def __init__(self, status: int, text: str, *headers: Header) -> None:
        super().__init__(text)
        plain = (b"content-type", b"text/plain; charset=utf-8")
        self.response = _Response(status, (text + "\n").encode("utf-8"), (plain, *headers))


class _HungUpError(Exception):
    """The client is gone in the middle of its body."""


class Gateway:
    """Lets proven requests through to the handlers.

    Args:
        site: Who we are.
        boot_nonce: 8 random bytes, new for each process: what was signed for an earlier one
            is refused.
        known_sites: The raw public key of a site that may exchange with us, or None.
        exchange: Answers a body from a proven site.
        join: Answers a body from anyone.
        meet: The same for who found us on a LAN; None if nobody should.
        files: Answers a proven site about files; None where none are declared.
        members: Answers a proven site about members that were revoked.
        body_bytes_max: The longest body of an exchange.
        monotonic: A clock that only moves forward, in seconds; for the rate of joins.
    """

    def __init__(
        self,
        *,
        site: SiteId,
        boot_nonce: bytes,
        known_sites: Callable[[SiteId], Awaitable[bytes | None]],
        exchange: Callable[[SiteId, bytes], Awaitable[bytes]],
        join: Callable[[bytes], Awaitable[bytes]],
        body_bytes_max: int,
        meet: Callable[[bytes], Awaitable[bytes]] | None = None,
        files: Callable[[SiteId, bytes], Awaitable[bytes]] | None = None,
        members: Callable[[SiteId, bytes], Awaitable[bytes]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._boot_nonce = boot_nonce
        self._known_sites = known_sites
        self._proven = {"/exchange": exchange}
        if files is not None:
            self._proven["/files"] = files
        if members is not None:
            self._proven["/members"] = members
        self._unproven = {"/join": join}
        if meet is not None:
            self._unproven["/meet"] = meet
        self._body_bytes_max = body_bytes_max
        self._join_rate = _Rate(monotonic)
        # One line for each known site at most, since only proven requests make one.
        self._windows_by_site: dict[SiteId, CounterWindow] = {}
        self._unfinished = Unfinished()
        self._requests_by_site: Counter[SiteId] = Counter()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        assert scope["type"] == "http", "this application speaks HTTP only"
        try:
            response = await self._response(scope, receive)
        except _RefusedError as error:
            logger.info("refused a request to %s: %s", ascii(scope["path"][:40]), error)
            response = error.response
        except _HungUpError:
            return
        length = (b"content-length", b"%d" % len(response.body))
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": [*response.headers, length],
            }
        )
        await send({"type": "http.response.body", "body": response.body})

    async def _response(self, scope: dict[str, Any], receive: Receive) -> _Response:
        path = scope["path"]
        if path not in (REST_PATH, *self._proven, *self._unproven) or scope["query_string"]:
            raise _RefusedError(404, "there is nothing here")
        if scope["method"] != "POST":
            raise _RefusedError(405, "only POST is answered here", (b"allow", b"POST"))
        if path in self._unproven:
            return await self._answer_unproven(scope, receive, self._unproven[path])
        return await self._answer_exchange(scope, receive)

    # --- Exchanges ---

    async def _answer_exchange(self, scope: dict[str, Any], receive: Receive) -> _Response:
        try:
            proof = read_proof(scope["headers"])
        except MalformedMessageError as error:
            raise _RefusedError(400, str(error)) from error
        public = await self._known_sites(proof.site)
        if public is None:
            stranger = site_text(proof.site)
            raise _RefusedError(401, f"the site {stranger} is not known here: invite it first")
        with self._counted(proof.site):
            request = self._begun(proof, scope)
            await _read_body(scope, receive, self._body_bytes_max, request.body)
            body, said = bytes(request.body), {"method": "POST", "path": scope["path"]}
            if not proof.signed_by(public, **said, body=body, peer=self._site):
                self._unfinished.drop(proof)
                raise _RefusedError(401, "the signature does not fit this request to this site")
            if not request.accepted:
                self._accept_once(proof)
                request.accepted = True
            if scope["path"] == REST_PATH:
                return self._rest(proof.site, body)
            response = await self._handled(self._proven[scope["path"]](proof.site, body))
            self._keep_answer(proof, request, response.body)
            return response

    def _begun(self, proof: Proof, scope: dict[str, Any]) -> Request:
        """The request with what has come of its body on earlier connections."""
        request = Request()
        if scope["path"] == REST_PATH:
            return request
        said = [value for name, value in scope["headers"] if name == FROM_HEADER]
        if said:
            known = self._unfinished.find(proof.site, proof.signature)
            if known is None or not said[0].isdigit() or int(said[0][:19]) > len(known.body):
                raise _RefusedError(409, "of this request nothing is known here: send it whole")
            # A copy: what still arrives on the connection that broke must not mix with this.
            request = Request(known.body[: int(said[0][:19])], known.accepted)
        if said or _announced(scope) >= RESUMED_BYTES_MIN:
            self._keep(proof, request)
        return request

    def _keep(self, proof: Proof, request: Request) -> None:
        # Only who has proven himself knows the nonce: of others nothing is kept.
        if proof.session == self._boot_nonce:
            self._unfinished.keep(proof, request)
            self._unfinished.bound()

    def _keep_answer(self, proof: Proof, request: Request, answer: bytes) -> None:
        if len(answer) >= RESUMED_BYTES_MIN or len(request.body) >= RESUMED_BYTES_MIN:
            request.answer = answer
            request.body.clear()
            self._keep(proof, request)

    def _rest(self, site: SiteId, body: bytes) -> _Response:
        try:
            signature, got = decode_question(body)
        except MalformedMessageError as error:
            raise _RefusedError(400, str(error)) from error
        return _Response(200, encode_rest(self._unfinished.find(site, signature), got))

    def _accept_once(self, proof: Proof) -> None:
        """Let a well-signed request through if it is fresh; else tell what would be.

        Only here is anything told, and only to who signed.
        """
        window = self._windows_by_site.get(proof.site)
        if proof.session == self._boot_nonce:
            if window is None:
                window = self._windows_by_site[proof.site] = CounterWindow()
            if window.accept(proof.counter):
                return
            text = "this request was sent before"
        else:
            text = "this request was signed for an earlier start of this server"
        raise _RefusedError(
            401,
            text,
            (SESSION_HEADER, self._boot_nonce.hex().encode("ascii")),
            (COUNTER_HEADER, b"%d" % (window.highest if window else 0)),
        )

    @contextmanager
    def _counted(self, site: SiteId) -> Iterator[None]:
        counts = self._requests_by_site
        if counts[site] >= REQUESTS_PER_SITE_MAX:
            raise _RefusedError(503, "too many requests of this site are under way; try later")
        counts[site] += 1
        try:
            yield
        finally:
            counts[site] -= 1
            if not counts[site]:
                del counts[site]

    # --- Joins and meetings ---

    async def _answer_unproven(
        self, scope: dict[str, Any], receive: Receive, handle: Callable[[bytes], Awaitable[bytes]]
    ) -> _Response:
        client = scope.get("client")
        address = str(client[0]) if client else ""
        if not self._join_rate.admits(address):
            raise _RefusedError(
                429,
                "too many attempts from there; try again in a minute",
                (b"retry-after", b"%d" % JOIN_WINDOW_S),
            )
        body = await _read_body(scope, receive, JOIN_BODY_BYTES_MAX)
        response = await self._handled(handle(body))
        self._join_rate.forget(address)
        return response

    # --- Both ---

    async def _handled(self, answer: Awaitable[bytes]) -> _Response:
        """The handler's answer; its errors as refusals."""
        try:
            body = await answer
        except Exception as error:
            raise _refusal(_single(error)) from error
        return _Response(200, body)  # what it is both know: a header would cost a thin link 0.3 s


class _Rate:
    """Admits a number of attempts in each window of time, by address."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._window_ends_s = 0.0
        self._attempts_by_address: Counter[str] = Counter()

    def admits(self, address: str) -> bool:
        now_s = self._monotonic()
        if now_s >= self._window_ends_s:
            self._window_ends_s = now_s + JOIN_WINDOW_S
            self._attempts_by_address.clear()
        attempts = self._attempts_by_address
        if address not in attempts and len(attempts) >= JOIN_ADDRESSES_MAX:
            return False
        if attempts[address] >= JOINS_PER_WINDOW_MAX:
            return False
        attempts[address] += 1
        return True

    def forget(self, address: str) -> None:
        """An attempt was none."""
        attempts = self._attempts_by_address
        if attempts[address] <= 1:
            del attempts[address]
        else:
            attempts[address] -= 1


def _announced(scope: dict[str, Any]) -> int:
    """How long the body is to be; 0 if that is not said."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return 0


async def _read_body(
    scope: dict[str, Any], receive: Receive, bytes_max: int, body: bytearray | None = None
) -> bytes:
    """The body, or the rest of it behind what `body` holds; that has at any time what came."""
    refusal = _RefusedError(413, f"a body may have {bytes_max} bytes at most here")
    body = bytearray() if body is None else body
    if _announced(scope) + len(body) > bytes_max:
        raise refusal
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _HungUpError
        body += message.get("body", b"")
        if len(body) > bytes_max:
            raise refusal
        if not message.get("more_body", False):
            return bytes(body)


def _single(error: Exception) -> Exception:
    """The one error inside the groups that nurseries make, if it is one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _refusal(error: Exception) -> _RefusedError:
    if isinstance(error, PeerError):
        return _RefusedError(400, str(error))
    if isinstance(error, StoreError) and error.transient:
        logger.warning("the database could not answer a request now: %s", error)
        return _RefusedError(503, "the database of this site is busy; try again")
    logger.error("a request failed by an error of ours\n%s", _places(error))
    return _RefusedError(500, "this site failed on the request; its log says where")


def _places(error: BaseException | None) -> str:
    """A traceback with the texts of our own errors only, never those of foreign ones."""
    lines: list[str] = []
    while error is not None and len(lines) < 100:
        text = f": {error}" if isinstance(error, SyncError) else ""
        lines += traceback.format_tb(error.__traceback__)
        lines.append(f"{type(error).__module__}.{type(error).__qualname__}{text}\n")
        error = error.__cause__ or error.__context__
    return "".join(lines)
