"""Turns said by name: nobody hears anything else than without them, whatever is forgotten."""

from dataclasses import replace
from hashlib import sha256

import pytest

from syncnode.links.repeating import Repeating
from syncproto.codec import decode_turn, encode_turn
from syncproto.errors import MalformedMessageError
from syncproto.frontier import Entry
from syncproto.identity import Origin, SiteId
from syncproto.messages import Known, Turn
from syncproto.repeats import Repeat, encode_repeat, is_repeat, is_unknown

HUB, CLINIC = SiteId(b"hub".ljust(16, b"\0")), SiteId(b"clinic".ljust(16, b"\0"))

TURN = Turn(
    network=b"network!",
    origin=Origin(CLINIC, 1),
    latest=Entry(7, 99),
    known=Known(1, Entry(3, 5)),
    digest=b"digest!!",
    wall_ms=1_790_000_000_000,
)
LONG = "".join(sha256(bytes((number,))).hexdigest() for number in range(7))


class Link:
    """Two sides, what crosses between them, and what the answering one heard and says."""

    def __init__(self):
        self.caller, self.server = Repeating(), Repeating()
        self.crossed = []
        self.heard = []
        self.answer = TURN
        self.now_ms = 1_790_000_000_000

    async def ask(self, turn=TURN):
        self.now_ms += 1
        asked = replace(turn, wall_ms=self.now_ms)
        answer = decode_turn(await self.caller.ask(HUB, encode_turn(asked), self.say))
        assert self.heard[-1] == asked
        assert answer == replace(self.answer, wall_ms=self.now_ms)

    async def say(self, body):
        answer = await self.server.answer(CLINIC, body, self.answered)
        self.crossed.append((body, answer))
        return answer

    async def answered(self, body):
        self.heard.append(decode_turn(body))
        return encode_turn(replace(self.answer, wall_ms=self.now_ms))

    def short(self):
        """By exchange which of its two bodies were repeats."""
        return [(is_repeat(asked), is_repeat(said)) for asked, said in self.crossed]


async def test_the_second_time_both_are_said_by_name():
    link = Link()
    for _ in range(3):
        await link.ask()
    assert link.short() == [(False, False), (True, True), (True, True)]


async def test_an_answer_that_changed_is_said_whole_once():
    link = Link()
    await link.ask()
    link.answer = replace(TURN, digest=b"changed!")
    await link.ask()
    await link.ask()
    assert link.short() == [(False, False), (True, False), (True, True)]


async def test_another_turn_is_said_whole():
    link = Link()
    await link.ask()
    await link.ask(replace(TURN, wait_ms=25_000))
    await link.ask()
    await link.ask(replace(TURN, wait_ms=25_000))
    assert link.short() == [(False, False)] * 2 + [(True, True)] * 2


@pytest.mark.parametrize("side", ["caller", "server"])
async def test_a_side_that_started_anew_hears_all_of_it(side):
    link = Link()
    await link.ask()
    await link.ask()
    setattr(link, side, Repeating())
    link.crossed.clear()
    await link.ask()
    await link.ask()
    assert not is_unknown(link.crossed[-1][1])
    assert link.short()[-1] == (True, True)


async def test_a_long_turn_is_never_named():
    link = Link()
    for _ in range(2):
        await link.ask(replace(TURN, trouble=LONG))
    assert link.short() == [(False, False)] * 2


async def test_an_answer_by_a_name_that_was_not_given_is_refused():
    link = Link()
    await link.ask()

    async def lie(_body):
        return encode_repeat(Repeat(b"invented", 1))

    with pytest.raises(MalformedMessageError, match="has not given"):
        await link.caller.ask(HUB, encode_turn(TURN), lie)
