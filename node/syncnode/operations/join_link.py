"""Carries requests to join to the inviter: before two sites are members of each other."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from syncnode.identity.credentials import SiteKey, Token
from syncnode.links.client import PeerAddress, PeerClient
from syncproto.errors import SyncError

if TYPE_CHECKING:
    from syncnode.reports import JoinReport

TELL_S = 1.0  # how often it is told that one still waits
JOIN_TIMEOUT_S = 600.0  # the inviter may have to read all of its tables first

Send = Callable[[bytes], bytes]


async def over_https(
    token: Token,
    key: SiteKey,
    progress: Callable[[str], None],
    joining: Callable[[Send], "JoinReport"],
) -> "JoinReport":
    """Join by requests over one connection, as long as it holds."""
    address = PeerAddress(token.site, token.url)

    async def tell_waiting() -> None:
        since_s = trio.current_time()
        while True:
            await trio.sleep(TELL_S)
            silent_s = trio.current_time() - since_s
            progress(f"waiting for {token.url} … not a word for {silent_s:.0f} s")

    async def post(body: bytes) -> bytes:
        answer: bytes | SyncError
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_waiting)
            try:
                answer = await client.join(address, "/join", body, timeout_s=JOIN_TIMEOUT_S)
            except SyncError as error:  # outside of the nursery it is alone, in no group
                answer = error
            nursery.cancel_scope.cancel()
        if isinstance(answer, SyncError):
            raise answer
        return answer

    async with PeerClient(key) as client:
        # Whoever interrupts it need not wait for what the database is doing.
        return await trio.to_thread.run_sync(
            lambda: joining(lambda body: trio.from_thread.run(post, body)), abandon_on_cancel=True
        )
    raise AssertionError("the block returns")
