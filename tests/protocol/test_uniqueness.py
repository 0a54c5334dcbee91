"""Who keeps a value that must be unique: the same row at every site, and the others are told."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncproto.identity import Origin, RowKey, SiteId
from syncproto.row import Cell, Delete, Row, Stamp
from syncproto.uniqueness import MARKED_CHARS_MIN, Claim, claim, marked, precedence

HERE = Origin(SiteId(b"here".ljust(16, b"\0")), 1)
THERE = Origin(SiteId(b"there".ljust(16, b"\0")), 1)


def key(number):
    return RowKey(bytes([number]) * 16)


def test_who_wrote_the_value_earlier_keeps_it():
    earlier = Claim(key(2), True, Stamp(10, HERE, 1))
    later = Claim(key(1), True, Stamp(11, HERE, 1))
    assert precedence([later, earlier]) == [earlier, later]


def test_the_living_go_before_the_deleted_that_are_only_referred_to():
    deleted = Claim(key(1), False, Stamp(10, HERE, 1))
    living = Claim(key(2), True, Stamp(99, HERE, 1))
    assert precedence([deleted, living]) == [living, deleted]


def test_one_stamp_for_both_is_decided_by_the_key():
    one, other = (Claim(key(number), True, Stamp(10, HERE, 1)) for number in (1, 2))
    assert precedence([other, one]) == [one, other]


def test_a_claim_is_as_old_as_the_latest_cell_of_its_value():
    cells = {
        "word": Cell(Stamp(10, HERE, 1), "a"),
        "locale": Cell(Stamp(12, THERE, 1), "en"),
        "note": Cell(Stamp(99, THERE, 2), "x"),
    }
    assert claim(key(1), Row(cells), ["word", "locale"]) == Claim(key(1), True, Stamp(12, THERE, 1))
    dead = Row(cells, Delete((Stamp(100, HERE, 2),), {THERE: 2}))
    assert not claim(key(1), dead, ["word"]).alive


claims = st.builds(
    Claim,
    st.integers(0, 9).map(key),
    st.booleans(),
    st.builds(Stamp, st.integers(1, 3), st.sampled_from([HERE, THERE]), st.integers(1, 2)),
)


@given(st.lists(claims, unique_by=lambda one: one.key), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(found, random):
    shuffled = random.sample(found, len(found))
    assert precedence(shuffled) == precedence(found)


def test_a_mark_is_made_of_the_row_and_keeps_what_fits():
    row = RowKey(bytes.fromhex("000102030405060708090a0b0c0d0e0f"))  # its SHA-256 is be45cb...
    assert marked("Clinic", row, chars_max=None) == "Clinic~be45cb"
    assert marked("Clinic", row, chars_max=10) == "Cli~be45cb"


def test_keys_that_begin_alike_have_marks_of_their_own():
    keys = [RowKey(bytes.fromhex("019371a00001700080000000000000") + bytes([n])) for n in range(9)]
    assert len({marked("x", row, chars_max=None) for row in keys}) == len(keys)


@given(st.text(), st.binary(min_size=16, max_size=16), st.integers(MARKED_CHARS_MIN, 300))
def test_a_mark_always_fits_and_shows(value, raw, chars_max):
    shown = marked(value, RowKey(raw), chars_max=chars_max)
    assert len(shown) <= chars_max
    assert shown.endswith(f"~{sha256(raw).hexdigest()[:6]}")


def test_a_column_without_room_is_not_marked():
    with pytest.raises(AssertionError):
        marked("Clinic", key(1), chars_max=MARKED_CHARS_MIN - 1)
