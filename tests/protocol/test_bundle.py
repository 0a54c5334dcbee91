"""Parts of bundles: what is written is read, anything else is refused, and the rules in small."""

import hashlib
from dataclasses import replace
from io import BytesIO

import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings
from row_examples import A, B, C
from strategies import entries, frontiers, nonces, origins, seqs, sites

from syncproto.bundle import (
    PARTS_MAX,
    Head,
    PartReader,
    missing,
    opening,
    sealed_section,
    signed_part,
    tail,
    verified,
)
from syncproto.bundle_rules import (
    Fate,
    base_for,
    better_hint,
    check_branch,
    fate,
    in_line,
    since,
    span_of,
)
from syncproto.delta import Chunk
from syncproto.directions import EVERY_WAY, Directions
from syncproto.errors import (
    IncompatiblePeerError,
    LimitExceededError,
    MalformedMessageError,
    PeerError,
    UnexpectedMessageError,
)
from syncproto.frontier import Entry, Frontier, VersionVector
from syncproto.identity import Origin, SiteId
from syncproto.letter import Acquaintance, Letter, decode_letter, encode_letter
from syncproto.messages import Known
from syncproto.replica import Standing

lineages = st.dictionaries(seqs, nonces, max_size=3)
acquaintances = st.builds(
    Acquaintance,
    st.none() | st.builds(Known, st.integers(0, 3), entries),
    st.dictionaries(st.integers(0, 3), lineages, max_size=2),
)
heads = st.builds(
    Head,
    network=st.binary(min_size=8, max_size=8),
    bundle=st.binary(min_size=16, max_size=16),
    exporter=sites,
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    made_ms=st.integers(-5, 1 << 47),
    part=st.integers(1, PARTS_MAX),
    readers=st.dictionaries(sites, st.sampled_from(["butaro", "é"]), max_size=3),
    public_key=st.binary(min_size=32, max_size=32),
    certificate=st.binary(max_size=40),
)
letters = st.builds(
    lambda base, claim, **rest: Letter(
        base=base, claim=Frontier({s: claim.vector(s) for s in base.scopes}), **rest
    ),
    base=frontiers,
    claim=frontiers,
    origin=origins,
    latest=entries,
    rows=st.lists(st.integers(0, 1 << 40), min_size=1, max_size=4).map(tuple),
    frontier=frontiers,
    nonces=lineages,
    told=st.dictionaries(sites, frontiers, max_size=2),
    readers=st.dictionaries(sites, acquaintances, max_size=2),
    revocations=st.lists(st.binary(max_size=30), max_size=2).map(tuple),
)
HEAD = Head(
    network=b"network!",
    bundle=b"b" * 16,
    exporter=A.site,
    name="kigali",
    made_ms=1_700_000_000_000,
    part=2,
    readers={B.site: "butaro"},
    public_key=b"k" * 32,
)


def signature(head: Head, message: bytes) -> bytes:
    return hashlib.sha512(head.public_key + message).digest()


def fits(head: Head, given_signature: bytes, message: bytes) -> bool:
    return given_signature == signature(head, message)


def part(head: Head, sections: list[bytes], parts: int) -> bytes:
    data = opening(head) + b"".join(map(sealed_section, sections)) + tail(parts)
    return data + signature(head, signed_part(hashlib.sha512(data).digest()))


SMALL = part(HEAD, [b"rows", b"letter"], 3)


@given(heads, st.lists(st.binary(max_size=50), min_size=1, max_size=3))
def test_a_part_is_read_as_it_was_written(head, sections):
    data = part(head, sections, PARTS_MAX)
    envelope = verified(BytesIO(data).read, fits)
    assert (envelope.head, envelope.parts) == (head, PARTS_MAX)
    assert (envelope.letter, envelope.sealed) == (sections[-1], len(sections) - 1)
    reader = PartReader(BytesIO(data).read)
    assert [*reader.sealed()] == sections
    assert (reader.digest, reader.size + 64) == (envelope.digest, len(data))


@given(letters)
def test_a_letter_is_read_as_it_was_written(letter):
    assert decode_letter(encode_letter(letter)) == letter


def test_no_byte_of_a_part_can_be_changed_added_or_taken_away():
    verified(BytesIO(SMALL).read, fits)
    for place in range(len(SMALL)):
        for bit in range(8):
            spoiled = SMALL[:place] + bytes((SMALL[place] ^ 1 << bit,)) + SMALL[place + 1 :]
            with pytest.raises(PeerError):
                verified(BytesIO(spoiled).read, fits)
        for spoiled in (SMALL[:place], SMALL[:place] + SMALL[place + 1 :]):
            with pytest.raises(PeerError):
                verified(BytesIO(spoiled).read, fits)
    with pytest.raises(MalformedMessageError, match="after its end"):
        verified(BytesIO(SMALL + b"\0").read, fits)


def test_sections_of_one_part_in_another_order_are_noticed():
    swapped = part(HEAD, [b"rows", b"more", b"letter"], 3).replace(
        sealed_section(b"rows") + sealed_section(b"more"),
        sealed_section(b"more") + sealed_section(b"rows"),
    )
    with pytest.raises(UnexpectedMessageError, match="does not fit"):
        verified(BytesIO(swapped).read, fits)


@given(st.binary(max_size=200))
@example(SMALL[:40])
@example(b"SB\1H\xff\xff\xff\xff")
def test_arbitrary_bytes_are_refused_in_words(data):
    with pytest.raises(PeerError):
        verified(BytesIO(data).read, fits)


@given(st.binary(max_size=80))
@settings(max_examples=200)
def test_arbitrary_bytes_are_no_letter(data):
    for letter in (data, b"SL\1\0\0" + bytes((0x58, len(data))) + data):
        with pytest.raises(PeerError):
            decode_letter(letter)


@given(letters, st.data())
def test_a_damaged_letter_raises_nothing_but_what_it_says(letter, data):
    encoded = bytearray(encode_letter(letter))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decode_letter(bytes(encoded))
    except PeerError:
        return
    assert decode_letter(encode_letter(found)) == found  # another letter, and a whole one


def test_a_section_that_promises_too_much_is_refused_before_it_is_read():
    asked: list[int] = []

    def read(count: int) -> bytes:
        asked.append(count)
        return stream.read(count)

    stream = BytesIO(opening(HEAD) + b"S" + (1 << 31).to_bytes(4, "big") + bytes(99))
    with pytest.raises(MalformedMessageError, match="a length that none has"):
        verified(read, fits)
    assert max(asked) < 1000
    many = {SiteId(n.to_bytes(16, "big")): "x" for n in range(1_001)}
    with pytest.raises(LimitExceededError):
        opening(replace(HEAD, readers=many))


def test_another_version_is_named():
    with pytest.raises(IncompatiblePeerError, match="version 9, this node reads version 1"):
        verified(BytesIO(b"SB\x09" + SMALL[3:]).read, fits)


# --- The rules -----------------------------------------------------------------------------


def at(**seqs_by_scope: dict[Origin, int]) -> Frontier:
    return Frontier(
        {
            scope: VersionVector({o: Entry(seq, seq) for o, seq in known.items()})
            for scope, known in seqs_by_scope.items()
        }
    )


@pytest.mark.parametrize(
    ("held", "whole", "expected"),
    [
        (at(t={A: 3}), True, Fate.TAKE),
        (at(t={A: 3}), False, Fate.PARTS_MISSING),
        (at(t={A: 2}), True, Fate.BASE_MISSING),
        (at(t={A: 2}), False, Fate.PARTS_MISSING),
        (at(t={B: 9}), True, Fate.BASE_MISSING),
        (at(t={A: 5}), False, Fate.NOT_NEEDED),
        (at(t={A: 4}), True, Fate.TAKE),
        (at(t={A: 3, B: 2}, u={}), True, Fate.TAKE),
    ],
)
def test_a_bundle_is_taken_only_on_its_base(held, whole, expected):
    assert fate(held, at(t={A: 3}), at(t={A: 5}), whole=whole) is expected


def test_a_base_is_what_all_readers_have_of_what_any_of_them_keeps():
    held = at(t={A: 9}, u={A: 9}, v={A: 9}, w={A: 9})
    one = (at(t={A: 3, B: 1}, u={A: 7}, v={A: 1}), EVERY_WAY)
    other = (at(t={A: 5}, v={A: 2}), Directions(unsent=frozenset({"v"})))
    assert base_for(held, [one]) == at(t={A: 3, B: 1}, u={A: 7}, v={A: 1})
    assert base_for(held, [one, other]) == at(t={A: 3}, u={A: 7})
    assert base_for(held, [one, (None, EVERY_WAY)]) == at(t={}, u={}, v={}, w={})
    assert since(held, at(t={A: 3}), frozenset({"w"})) == at(t={A: 3}, u={}, v={})


def chunk(after: int, upto: int, claim: Frontier | None = None, sender: Origin = A) -> Chunk:
    return Chunk(sender, at(t={}), after, upto, (), (), claim)


def letter(**changes: object) -> Letter:
    plain = Letter(
        origin=A,
        latest=Entry(5, 55),
        rows=(1,),
        base=at(t={}),
        claim=at(t={A: 5}),
        frontier=at(t={A: 5}),
        nonces={4: 44},
        told={},
        readers={},
    )
    return replace(plain, **changes)


def test_chunks_of_a_part_follow_each_other_and_only_the_last_of_all_claims():
    one = letter()
    span = span_of(None, chunk(7, 9), one, last=False)
    assert span_of(span, chunk(9, 12, one.claim), one, last=True) == (7, 12)
    for seen, wrong, last in (
        (span, chunk(10, 12), False),
        (span, chunk(9, 12), True),
        (span, chunk(9, 12, one.claim), False),
        (span, chunk(9, 12, at(t={A: 6})), True),
        (None, chunk(7, 9, sender=B), False),
        (None, replace(chunk(7, 9), base=at(t={A: 1})), False),
    ):
        with pytest.raises(MalformedMessageError, match="do not belong"):
            span_of(seen, wrong, one, last=last)


def test_parts_are_in_line_from_the_start():
    assert in_line({1: (0, 4), 2: (4, 4), 3: (4, 9)})
    assert not in_line({1: (0, 4), 2: (5, 9)})
    assert not in_line({1: (1, 4)})
    assert missing([3, 1], 4) == [2, 4]


def standing(nonces_of_a: dict[int, int]) -> Standing:
    return Standing(
        network=b"network!",
        origin=B,
        latest=Entry(0, 0),
        frontier=at(t={}),
        sums={},
        settled=True,
        peer=None,
        peer_frontier=None,
        cursor=None,
        nonces={},
        peer_nonces={A.incarnation: nonces_of_a},
        wall_ms=0,
    )


def test_what_was_made_on_another_branch_of_history_is_refused():
    for known in ({}, {4: 44, 5: 55}, {9: 1}, {1: 1}):
        check_branch(letter(), standing(known))
    for known in ({4: 43}, {5: 54, 4: 44}):
        with pytest.raises(UnexpectedMessageError, match="went another way"):
            check_branch(letter(), standing(known))


def test_an_older_word_of_a_site_replaces_no_newer_one_unless_the_site_was_put_back():
    known, older, newer = at(t={A: 5}), at(t={A: 4}), at(t={A: 5, C: 1})
    again = Origin(A.site, A.incarnation + 1)
    assert better_hint(A.site, None, older, None)
    assert better_hint(A.site, known, newer, None)
    assert not better_hint(A.site, known, older, None)
    assert not better_hint(A.site, known, older, A)
    assert better_hint(A.site, known, older, again)
    assert not better_hint(A.site, known, older, None)
