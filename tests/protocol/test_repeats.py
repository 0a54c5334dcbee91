"""The same again: turns by name are short, come back whole, and bytes from outside do no harm."""

import contextlib
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncproto.codec import decode_turn, encode_turn
from syncproto.errors import MalformedMessageError, PeerError
from syncproto.frontier import Entry
from syncproto.identity import Origin, SiteId
from syncproto.messages import Known as KnownTo
from syncproto.messages import Turn
from syncproto.repeats import (
    KNOWN_MAX,
    NO_NAME,
    REPEAT,
    Known,
    Repeat,
    decode_repeat,
    encode_repeat,
    encode_unknown,
    is_repeat,
    is_unknown,
    named,
    whole,
)

NOW_MS = 1_790_000_000_000
TURN = Turn(
    network=b"network!",
    origin=Origin(SiteId(b"clinic".ljust(16, b"\0")), 1),
    latest=Entry(7, 99),
    known=KnownTo(1, Entry(3, 5)),
    digest=b"digest!!",
    wall_ms=NOW_MS,
)
LONG = "".join(sha256(bytes((number,))).hexdigest() for number in range(7))
names = st.binary(min_size=8, max_size=8)


def test_the_name_is_of_all_but_the_time():
    name, turn = named(encode_turn(TURN))
    assert turn == TURN
    assert named(encode_turn(replace(TURN, wall_ms=5))).name == name
    for other in (
        replace(TURN, digest=b"another!"),
        replace(TURN, wait_ms=1),
        replace(TURN, latest=Entry(8, 99)),
    ):
        assert named(encode_turn(other)).name != name


def test_a_long_turn_has_no_name():
    assert named(encode_turn(replace(TURN, trouble=LONG))) is None
    assert named(b"SQ and a question") is None


def test_a_turn_comes_back_whole_with_the_time_of_now():
    repeat = decode_repeat(encode_repeat(Repeat(named(encode_turn(TURN)).name, NOW_MS + 9)))
    assert decode_turn(whole(TURN, repeat)) == replace(TURN, wall_ms=NOW_MS + 9)


def test_both_directions_take_less_than_a_hundred_bytes():
    asked = encode_repeat(Repeat(b"name 1 !", NOW_MS, b"name 2 !"))
    answered = encode_repeat(Repeat(b"name 2 !", NOW_MS))
    assert len(asked) + len(answered) < 60


@given(name=names, wall_ms=st.integers(-(2**40), 2**45), held=names)
def test_a_repeat_comes_back(name, wall_ms, held):
    repeat = Repeat(name, wall_ms, held)
    assert decode_repeat(encode_repeat(repeat)) == repeat
    assert is_repeat(encode_repeat(repeat))
    assert is_unknown(encode_unknown())


@given(st.binary(max_size=300))
def test_bytes_are_a_repeat_or_malformed(data):
    with contextlib.suppress(PeerError):  # nothing else
        decode_repeat(REPEAT + data)
    with pytest.raises(MalformedMessageError):
        decode_repeat(REPEAT + b"\1" + data[:5])


def test_only_the_last_few_are_remembered():
    known = Known()
    for number in range(KNOWN_MAX + 1):
        known.note(b"%d" % number, number)
    assert [known.get(b"%d" % number) for number in range(KNOWN_MAX + 1)] == [None, 1, 2, 3, 4]
    assert known.get(NO_NAME) is None
