"""What sites say of files: bytes and back, limits, and shares that fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncproto.errors import LimitExceededError, MalformedMessageError, PeerError
from syncproto.file_turns import (
    ASKS_MAX,
    ROOM_BYTES_MAX,
    Ask,
    FileTurn,
    Piece,
    decode_file_turn,
    encode_file_turn,
    shared_out,
)

digests = st.binary(min_size=32, max_size=32)
asks = st.builds(Ask, digests, st.integers(0, 1 << 40), st.integers(0, 1 << 31))
pieces = st.builds(Piece, digests, st.integers(0, 1 << 40), st.binary(max_size=900))
turns = st.builds(
    FileTurn,
    st.lists(asks, max_size=4).map(tuple),
    st.integers(0, ROOM_BYTES_MAX),
    st.lists(digests, max_size=3).map(tuple),
    st.lists(pieces, max_size=3).map(tuple),
    st.booleans(),
)


@given(turns)
def test_a_turn_comes_back_as_it_was(turn):
    assert decode_file_turn(encode_file_turn(turn)) == turn


@given(st.binary(max_size=300), turns, st.integers(0, 400), st.integers(0, 255))
def test_other_bytes_are_refused_and_nothing_else_happens(noise, turn, place, byte):
    said = bytearray(encode_file_turn(turn))
    said[place % len(said)] = byte
    for encoded in (noise, bytes(said), bytes(said[:-1])):
        try:
            decode_file_turn(encoded)
        except PeerError:
            continue


def test_what_repeats_itself_crosses_compressed_and_noise_as_it_is():
    small = encode_file_turn(FileTurn(pieces=(Piece(bytes(32), 0, b"obs" * 10_000),)))
    assert len(small) < 200
    noise = bytes((number * number * 7919 >> 5) % 251 for number in range(3_000))
    said = encode_file_turn(FileTurn(pieces=(Piece(bytes(32), 0, noise),)))
    assert len(said) < len(noise) + 100


def test_a_turn_that_asks_for_too_much_is_refused():
    many = FileTurn(asks=(Ask(bytes(32), 0, 1),) * (ASKS_MAX + 1))
    with pytest.raises(LimitExceededError):
        decode_file_turn(encode_file_turn(many))
    with pytest.raises(LimitExceededError):
        decode_file_turn(encode_file_turn(FileTurn(room=ROOM_BYTES_MAX + 1)))
    with pytest.raises(MalformedMessageError):
        decode_file_turn(encode_file_turn(FileTurn()) + b"more")


@given(st.lists(asks, max_size=8), st.integers(0, 1 << 32))
def test_shares_fit_into_the_room_and_keep_their_order(wanted, room):
    shared = shared_out(wanted, room)
    assert sum(ask.length for ask in shared) <= room
    for one, asked in zip(shared, wanted, strict=False):
        assert (one.digest, one.offset) == (asked.digest, asked.offset)
        assert one.length <= asked.length
    assert [one.length for one in shared[:-1]] == [one.length for one in wanted[: len(shared)]][:-1]
