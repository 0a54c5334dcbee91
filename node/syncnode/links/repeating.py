"""Says turns by name where the peer knows them: below the exchanges, above the requests.

What this remembers may be lost at any time, on either side: then a turn is said whole.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from syncproto.errors import MalformedMessageError
from syncproto.identity import SiteId
from syncproto.messages import Turn
from syncproto.repeats import (
    NO_NAME,
    Known,
    Named,
    Repeat,
    decode_repeat,
    encode_repeat,
    encode_unknown,
    is_repeat,
    is_unknown,
    named,
    whole,
)

Say = Callable[[bytes], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class _Answered:
    """A turn that the peer has heard whole.

    Attributes:
        answer: What it said to it, if that may be said by name.
    """

    answer: Named | None


class Repeating:
    """Both sides of it, for all peers of a process."""

    def __init__(self) -> None:
        self._told: dict[SiteId, Known[_Answered]] = defaultdict(Known)
        self._heard: dict[SiteId, Known[Turn]] = defaultdict(Known)

    async def ask(self, peer: SiteId, body: bytes, say: Say) -> bytes:
        """The peer's answer to a turn, both whole; `say` sends a body there.

        Raises:
            MalformedMessageError, IncompatiblePeerError: The peer's words are none of ours.
        """
        mine = named(body)
        if mine is None:
            return await say(body)
        answer = await self._by_name(peer, mine, say)
        if answer is None:
            answer = await say(body)
        self._told[peer].note(mine.name, _Answered(named(answer)))
        return answer

    async def _by_name(self, peer: SiteId, mine: Named, say: Say) -> bytes | None:
        """The peer's answer, whole, to a turn said by name; None if it must be said whole."""
        before = self._told[peer].get(mine.name)
        if before is None:
            return None
        held = before.answer
        name = held.name if held is not None else NO_NAME
        answer = await say(encode_repeat(Repeat(mine.name, mine.turn.wall_ms, name)))
        if is_unknown(answer):
            return None
        if not is_repeat(answer):
            return answer
        repeat = decode_repeat(answer)
        if held is None or repeat.name != name:
            raise MalformedMessageError("the peer names an answer that it has not given")
        return whole(held.turn, repeat)

    async def answer(self, peer: SiteId, body: bytes, answer: Say) -> bytes:
        """What to say to a peer's request; `answer` answers whole turns.

        Raises:
            MalformedMessageError, IncompatiblePeerError: The peer's words are none of ours.
        """
        if not is_repeat(body):
            theirs = named(body)
            if theirs is not None:
                self._heard[peer].note(*theirs)
            return await answer(body)
        repeat = decode_repeat(body)
        turn = self._heard[peer].get(repeat.name)
        if turn is None:
            return encode_unknown()
        said = await answer(whole(turn, repeat))
        mine = named(said) if repeat.held != NO_NAME else None
        if mine is None or mine.name != repeat.held:
            return said
        return encode_repeat(Repeat(mine.name, mine.turn.wall_ms))
