"""Comparing by ranges: exactly the rows that differ are named, at a cost that grows with them."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncproto.comparing import (
    LISTED_ROWS_MAX,
    SENT_ROWS_MAX,
    Comparison,
    answered,
    wanted_in_parts,
)
from syncproto.errors import (
    IncompatiblePeerError,
    MalformedMessageError,
    UnexpectedMessageError,
)
from syncproto.fingerprints import (
    DEPTH_MAX,
    DEPTH_MIN,
    HASH_MASK,
    Content,
    Hashed,
    Range,
    RowHasher,
    Summary,
    canonical,
    depth_bound,
    depth_for,
    place_of,
)
from syncproto.frames import frame, item
from syncproto.identity import Origin, RowKey, SiteId
from syncproto.question_bytes import (
    decode_finding,
    decode_question,
    encode_finding,
    encode_question,
)
from syncproto.questions import (
    BY_RULE,
    FINDING,
    QUESTION,
    RUN_BYTES,
    Finding,
    Leaf,
    LeafFound,
    PageAsked,
    PageTold,
    Question,
    Reading,
    RestAsked,
    Split,
    Told,
    columns_check,
    group_checks,
    keys_check,
    table_hash,
)
from syncproto.row import Reference, Stamp
from syncproto.shapes import Shape, naming_of

RUN = b"\x07" * RUN_BYTES
Rows = Mapping[RowKey, int]


class Held:
    """A source over rows in memory: by key what stands for their values."""

    def __init__(self, values_by_table: Mapping[str, Rows], depth: int | None = None) -> None:
        # As of any real row, the hash covers the key.
        rows_by_table = {
            name: {key: (place_of(key) + value) & HASH_MASK for key, value in values.items()}
            for name, values in values_by_table.items()
        }
        self.rows_by_table = rows_by_table
        self.depths = {
            name: depth_for(len(rows)) if depth is None else depth
            for name, rows in rows_by_table.items()
        }
        self.summaries = {name: Summary(self.depths[name]) for name in rows_by_table}
        for name, rows in rows_by_table.items():
            for key, row in rows.items():
                self.summaries[name].add(key, row)
        self.totals = {name: summary.content(0, 0) for name, summary in self.summaries.items()}
        self.shapes = {name: Shape("the value of uuid") for name in self.totals}

    def leave_out(self, columns: Mapping[str, tuple[str, ...]]) -> None:
        raise AssertionError(f"none has dropped a column: {sorted(columns)}")

    def depth(self, table: str) -> int:
        return self.depths[table]

    def content(self, where: Range) -> Content:
        return self.summaries[where.table].content(where.depth, where.prefix)

    def rows(self, ranges: Sequence[Range]) -> Mapping[Range, Sequence[Hashed]]:
        found: dict[Range, list[Hashed]] = {where: [] for where in ranges}
        for name in {where.table for where in ranges}:
            depths = {where.depth for where in ranges if where.table == name}
            for key, row in self.rows_by_table[name].items():
                place = place_of(key)
                for depth in depths:
                    where = Range(name, depth, place >> (64 - depth))
                    if where in found:
                        found[where].append((key, row))
        return found


def key(number: int) -> RowKey:
    return RowKey(number.to_bytes(16, "big"))


def compare(here: Held, there: Held, **options: int) -> tuple[Comparison, int, int]:
    """Both sides over bytes; returns how many bytes and round trips it took."""
    comparison = Comparison(here, run=RUN, **options)
    total = trips = 0
    while (question := comparison.question()) is not None:
        asked = encode_question(question)
        told = encode_finding(answered(decode_question(asked), there, {}))
        total += len(asked) + len(told)
        trips += 1
        comparison.heard(decode_finding(told))
    return comparison, total, trips


def difference(here: Rows, there: Rows) -> tuple[set[RowKey], set[RowKey], set[RowKey]]:
    """What a look at all rows says: different, only here, only there."""
    both = here.keys() & there.keys()
    return {k for k in both if here[k] != there[k]}, here.keys() - both, there.keys() - both


# Where rows lie


def test_keys_that_were_counted_are_spread_over_the_line():
    first_bytes = {place_of(key(number)) >> 56 for number in range(4_096)}
    assert len(first_bytes) == 256


def test_a_row_s_hash_covers_its_key_its_columns_and_its_values_and_no_null():
    hasher = RowHasher(["b", "a"])
    assert hasher.hash(key(1), [1, "x"]) == RowHasher(["a", "b"]).hash(key(1), ["x", 1])
    assert hasher.hash(key(1), [None, "x"]) == RowHasher(["a"]).hash(key(1), ["x"])
    assert hasher.hash(key(1), [None, None]) == RowHasher([]).hash(key(1), [])
    different = [
        hasher.hash(key(1), [1, "x"]),
        hasher.hash(key(2), [1, "x"]),
        hasher.hash(key(1), [2, "x"]),
        hasher.hash(key(1), ["x", 1]),
        hasher.hash(key(1), ["1", "x"]),
        hasher.hash(key(1), [1, b"x"]),
        hasher.hash(key(1), [None, "x"]),
        hasher.hash(key(1), [1, "\ud800"]),
        RowHasher(["b", "c"]).hash(key(1), [1, "x"]),
    ]
    assert len(set(different)) == len(different)


def test_the_hash_of_a_row_is_part_of_the_protocol():
    """Sites of other versions compute the same."""
    values = [1, "Zoé", b"\0", 1.5, None, -7]
    names = b"\x85\x61a\x61b\x61c\x61d\x61f"
    cells = b"\x85\x01\x64Zo\xc3\xa9\x41\0\xfb\x3f\xf8\0\0\0\0\0\0\x26"
    expected = hashlib.blake2b(names + key(1) + cells, digest_size=8).digest()
    assert RowHasher(list("abcdef")).hash(key(1), values) == int.from_bytes(expected, "big")
    place = hashlib.blake2b(key(1), digest_size=8).digest()
    assert place_of(key(1)) == int.from_bytes(place, "big")


def test_values_have_one_form():
    assert canonical(Reference("person", key(7))) == key(7)
    assert canonical(2.0) == 2
    assert type(canonical(2.0)) is int
    assert [canonical(value) for value in (1.5, "2.0", None, b"x")] == [1.5, "2.0", None, b"x"]


def test_contents_of_ranges_are_those_of_their_rows():
    rows = {key(number): number * 12_345 for number in range(1_000)}
    held = Held({"t": rows}, depth=6)
    for depth in range(7):
        for where in Range("t", 0, 0).parts(depth) if depth else [Range("t", 0, 0)]:
            found = [row for _, row in held.rows([where])[where]]
            assert held.content(where) == Content(len(found), sum(found) & HASH_MASK)


def test_memory_is_bounded_whatever_the_number_of_tables_and_rows():
    assert depth_for(0) == DEPTH_MIN
    assert depth_for(1 << 40) == DEPTH_MAX
    counts = [1_000_000] * 500
    assert sum(1 << depth_for(count, depth_bound(counts)) for count in counts) <= 1 << 22
    assert depth_bound([1_000_000]) == DEPTH_MAX


# What is found

small = st.dictionaries(st.integers(0, 60).map(key), st.integers(0, 3), max_size=40)
tables = st.dictionaries(st.sampled_from("abcd"), small, max_size=4)


@given(here=tables, there=tables, depth=st.integers(0, 6), question_bytes=st.integers(1, 400))
def test_exactly_the_rows_that_differ_are_named(here, there, depth, question_bytes):
    found, _, _ = compare(Held(here, depth), Held(there, 6), question_bytes=question_bytes)
    for name in here.keys() | there.keys():
        table = found.tables[name]
        if name not in here or name not in there:
            # An unknown table without rows makes no difference to find.
            assert table.unknown or not here.get(name)
            continue
        different, only_here, only_there = difference(here[name], there[name])
        assert set(table.different) == different
        assert set(table.only_here) == only_here
        assert set(table.only_there) == only_there
        assert table.named == len(different) + len(only_here) + len(only_there)
        same = len(here[name]) - len(different) - len(only_here)
        assert table.counts == (same, len(different), len(only_here), len(only_there))


def test_equal_rows_take_one_round_trip_and_few_bytes():
    rows = {f"table_{number}": {key(n): n for n in range(50)} for number in range(200)}
    found, total, trips = compare(Held(rows), Held(rows))
    assert all(table.equal for table in found.tables.values())
    assert trips == 1
    assert total < 200


def _many(count: int) -> dict[RowKey, int]:
    random = Random(5)
    return {key(number): random.getrandbits(64) for number in range(count)}


def test_one_row_among_a_million_is_found_in_under_4_kb():
    rows = _many(1_000_000)
    others = {f"table_{number}": {key(1): number} for number in range(200)}
    other = {**rows, key(123_456): 1}
    here, there = Held({**others, "obs": rows}), Held({**others, "obs": other})
    found, total, trips = compare(here, there)
    assert found.tables["obs"].different == [key(123_456)]
    assert sum(table.named for table in found.tables.values()) == 1
    assert total < 2_500  # and the row itself is still to be told
    assert trips <= 8


def test_the_cost_grows_with_the_difference_and_not_with_the_rows():
    rows = _many(100_000)
    held = Held({"obs": rows})
    costs = []
    for changed in (1, 10, 100, 1_000):
        other = {**rows, **{key(97 * number): 0 for number in range(changed)}}
        found, total, trips = compare(held, Held({"obs": other}))
        assert len(found.tables["obs"].different) == changed
        assert trips <= 20
        costs.append(total)
    assert costs[0] < 1_500
    assert costs[3] < 250_000  # of 100,000 rows
    assert costs == sorted(costs)


def test_a_table_that_is_empty_on_one_side_is_counted_and_not_listed():
    rows = {key(number): number for number in range(20_000)}
    for here, there in (({}, rows), (rows, {})):
        found, total, _ = compare(Held({"obs": here}), Held({"obs": there}))
        assert found.tables["obs"].counts[1:] == ((0, len(rows), 0) if here else (0, 0, len(rows)))
        assert total < 400_000


def test_a_huge_table_against_a_small_one_is_not_sent_whole():
    many, few = _many(100_000), {key(number): 1 for number in range(10)}
    for here, there in ((many, few), (few, many)):
        found, total, _ = compare(Held({"obs": here}), Held({"obs": there}))
        same, different, only_here, only_there = found.tables["obs"].counts
        assert (same, different) == (0, 10)
        assert set(found.tables["obs"].different) == few.keys()
        assert only_here + only_there == 100_000 - 10
        # Of the large one only the keys are told that the other side lacks, not what they hold.
        assert total < (200_000 if here is many else 100_000 * 20)
    assert LISTED_ROWS_MAX < SENT_ROWS_MAX


def test_beyond_a_number_of_rows_the_rest_is_only_counted():
    here = {key(number): 1 for number in range(5_000)}
    there = {key(number): 2 for number in range(1_000, 6_000)}
    found, _, _ = compare(
        Held({"t": here}), Held({"t": there}), found_rows_max=100, question_bytes=4_000
    )
    table = found.tables["t"]
    assert 100 <= table.named < 4_000
    assert sum(table.uncounted) > 0
    assert table.here == table.there == 5_000


def test_a_table_of_one_side_alone_is_named():
    found, _, _ = compare(Held({"a": {key(1): 1}}), Held({"b": {key(1): 1, key(2): 1}}))
    assert found.tables["a"].unknown
    assert found.tables["b"].unknown
    assert found.tables["b"].counts == (0, 0, 0, 2)
    assert not found.tables["b"].equal


def test_rows_not_shown_there_are_told_at_the_beginning():
    comparison = Comparison(Held({"t": {}}), run=RUN)
    question = comparison.question()
    assert question is not None
    comparison.heard(answered(question, Held({"t": {}}), {"t": 3}))
    assert comparison.unshown == {"t": 3}
    assert comparison.question() is None


# What does not belong here


def test_a_finding_of_another_comparison_is_refused():
    comparison = Comparison(Held({}), run=RUN)
    comparison.question()
    with pytest.raises(UnexpectedMessageError, match="another comparison"):
        comparison.heard(Finding(bytes(RUN_BYTES)))


def test_findings_that_do_not_fit_the_question_are_refused():
    rows = {key(number): 1 for number in range(100)}
    there = Held({"t": {**rows, key(5): 2}})
    for broken in (
        Finding(RUN),
        Finding(RUN, splits=({31: 1},)),
        Finding(RUN, leaves=(LeafFound((0,), (key(1),)),)),
    ):
        comparison = Comparison(Held({"t": rows}), run=RUN)
        for _ in range(2):
            question = comparison.question()
            assert question is not None
            comparison.heard(answered(question, there, {}))
        asked = comparison.question()
        assert asked is not None
        assert asked.splits[0].bits == 5
        if broken.splits:
            comparison.heard(broken)  # the last of 32 parts
            continue
        with pytest.raises(UnexpectedMessageError, match="other ranges"):
            comparison.heard(broken)


def test_a_question_about_what_is_not_here_is_refused():
    held = Held({"t": {}})
    unknown, known = table_hash("other"), table_hash("t")
    for question in (
        Question(RUN, splits=(Split(unknown, 0, 0, 1, (0, 0)),)),
        Question(RUN, leaves=(Leaf(unknown, 0, 0, ()),)),
        Question(RUN, splits=(Split(known, DEPTH_MIN, 0, 1, (0, 0)),)),
    ):
        with pytest.raises(UnexpectedMessageError):
            answered(question, held, {})


# Bytes

hashes = st.binary(min_size=4, max_size=4)
checks = st.integers(0, (1 << 48) - 1)
keys = st.binary(min_size=16, max_size=16).map(RowKey)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[bytes, int, int]:
    depth = draw(st.integers(0, 20))
    return draw(hashes), depth, draw(st.integers(0, (1 << depth) - 1))


@st.composite
def splits(draw: st.DrawFn) -> Split:
    bits = draw(st.integers(1, 5))
    count = 1 << bits
    return Split(
        *draw(ranges()), bits, tuple(draw(st.lists(checks, min_size=count, max_size=count)))
    )


@st.composite
def leaves(draw: st.DrawFn) -> Leaf:
    return Leaf(*draw(ranges()), tuple(draw(st.lists(checks, max_size=4))))


readings = st.builds(Reading, st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 63) - 1))
bounds = st.one_of(st.just(b""), st.binary(min_size=16, max_size=16))
pages_asked = st.builds(
    PageAsked,
    hashes,
    st.binary(min_size=8, max_size=8),
    bounds,
    bounds,
    st.lists(keys, max_size=3).map(tuple),
)
table_hashes = st.lists(hashes, max_size=3).map(tuple)
asked_of_a_reading = st.one_of(
    st.just((None, ())), st.tuples(readings, st.lists(pages_asked, max_size=3).map(tuple))
)
columns = st.lists(st.text("abc", min_size=1, max_size=5), max_size=3, unique=True)
plain_questions = st.builds(
    Question,
    run=st.binary(min_size=8, max_size=8),
    groups=st.one_of(st.just(()), st.lists(checks, min_size=16, max_size=16).map(tuple)),
    tables=st.one_of(st.none(), st.dictionaries(hashes, checks, min_size=1, max_size=4)),
    asked_groups=st.integers(0, (1 << 16) - 1),
    splits=st.lists(splits(), max_size=3).map(tuple),
    leaves=st.lists(leaves(), max_size=3).map(tuple),
    wanted=st.one_of(
        st.none(),
        st.dictionaries(hashes, st.lists(keys, max_size=3).map(tuple), min_size=1, max_size=3),
    ),
    rest=st.one_of(
        st.none(), st.builds(RestAsked, st.integers(0, (1 << 63) - 1), table_hashes, table_hashes)
    ),
    shapes=st.one_of(
        st.none(),
        st.dictionaries(hashes, st.binary(min_size=4, max_size=4), min_size=1, max_size=3),
    ),
    left_out=st.one_of(
        st.none(), st.dictionaries(hashes, columns.map(tuple), min_size=1, max_size=3)
    ),
)
questions = st.builds(
    lambda question, asked: replace(question, reading=asked[0], pages=asked[1]),
    plain_questions,
    asked_of_a_reading,
)
counts = st.integers(0, (1 << 63) - 1)
names = st.text("abc", min_size=1, max_size=5)
places_in_leaf = st.integers(0, 131_072)
stamps = st.builds(
    Stamp,
    st.sampled_from((BY_RULE, 1, 5 << 16, (1 << 63) - 1)),
    st.builds(Origin, st.binary(min_size=16, max_size=16).map(SiteId), st.integers(0, 9)),
    st.integers(0, (1 << 63) - 1),
)
pages_told = st.builds(
    PageTold,
    bounds,
    st.one_of(st.just(b""), st.binary(min_size=16, max_size=16)),
    st.lists(keys, max_size=3).map(tuple),
    st.lists(names, max_size=2).map(tuple),
    st.lists(stamps, max_size=4).map(tuple),
)
findings = st.builds(
    Finding,
    run=st.binary(min_size=8, max_size=8),
    unshown=st.dictionaries(names, counts, max_size=3),
    groups=st.integers(0, (1 << 16) - 1),
    tables=st.dictionaries(hashes, st.builds(Told, counts, st.integers(0, 18)), max_size=3),
    unknown=st.frozensets(hashes, max_size=3),
    others=st.dictionaries(names, counts, max_size=3),
    splits=st.lists(st.dictionaries(st.integers(0, 31), counts, max_size=4), max_size=3).map(tuple),
    leaves=st.lists(
        st.builds(
            LeafFound,
            st.lists(places_in_leaf, max_size=3).map(tuple),
            st.lists(keys, max_size=3).map(tuple),
            counts,
        ),
        max_size=3,
    ).map(tuple),
    rows=st.sampled_from((b"", b"SC and what follows")),
    reading=st.one_of(st.none(), readings),
    pages=st.lists(pages_told, max_size=3).map(tuple),
    shapes=st.one_of(
        st.none(),
        st.dictionaries(
            hashes, st.builds(Shape, names, columns.map(tuple)), min_size=1, max_size=3
        ),
    ),
)


@given(questions)
def test_questions_come_out_as_they_went_in(question):
    assert decode_question(encode_question(question)) == question


@given(findings)
def test_findings_come_out_as_they_went_in(finding):
    assert decode_finding(encode_finding(finding)) == finding


@given(questions, st.data())
def test_arbitrary_bytes_are_refused_as_malformed(question, data):
    body = bytearray(encode_question(question))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    for decode in (decode_question, decode_finding):
        with suppress(MalformedMessageError, IncompatiblePeerError):
            decode(bytes(body))


MANY = 1 << 40


@pytest.mark.parametrize(
    "piece",
    [
        # Each says in few bytes that there is more of something than memory.
        (2, [MANY, 0, 0, 0, 1, b""]),
        (2, [131_073, 0, 0, 0, 1, b""]),
        (3, [1, 0, 0, 0, MANY, b""]),
        (3, [2, 0, 0, 0, 131_072, b""]),
        (4, [MANY, 0, 0, b""]),
        (4, [1, 0, MANY, b""]),
        (5, [1, 1, MANY, 0, b"", [], [], 0, b""]),
        (5, [1, 1, 1, 0, bytes(8), [b""], [b""], MANY, b""]),
        (6, [0, MANY, 0, 0, 0]),
        (6, [0, 0, 0, MANY, 0]),
    ],
)
def test_a_question_that_asks_for_too_much_is_refused_before_memory_is_taken(piece):
    at, item_there = piece
    empty = [0] * 5 + [b""]
    pieces = [[RUN, b"", 0, bytes(4)], [b"", b""], empty, [*empty], [0, 0, 0, b""], [], []]
    assert decode_question(frame(QUESTION, list(map(item, pieces)))) == Question(RUN)
    pieces[at] = item_there
    with pytest.raises(MalformedMessageError):
        decode_question(frame(QUESTION, list(map(item, pieces))))


@pytest.mark.parametrize(
    "piece",
    [
        (1, [MANY, 0, 0]),
        (1, [131_073, 1, 0]),
        (2, [1, MANY, 0, 0, b"", 0]),
        (2, [1, 0, 0, MANY, b"", 0]),
        (2, [2, 0, 0, 131_072, b"", 0]),
        (3, [MANY]),
        (4, [b"", b"", b"", [], MANY, 0]),
        (4, [b"", b"", b"", [], 131_073, 0]),
        (4, [b"", b"", b"", [], 0, 1]),
    ],
)
def test_a_finding_that_tells_too_much_is_refused_before_memory_is_taken(piece):
    at, item_there = piece
    head = [RUN, [], [], [], [], 0, b"", 0, 0, b"", []]
    page = [[b"", b"", b"", [], 0, 0], 0, 0, 0, 0]
    pieces = [head, [0, 0, 0], [0, 0, 0, 0, b"", 0], [1], *page]
    directory = item([0, b"", 0, 0])
    whole = frame(FINDING, [directory, *map(item, pieces)])
    told = (PageTold(b"", b""),)
    assert decode_finding(whole) == Finding(RUN, unshown={}, tables={}, others={}, pages=told)
    pieces[at] = item_there
    with pytest.raises(MalformedMessageError):
        decode_finding(frame(FINDING, [directory, *map(item, pieces)]))


@pytest.mark.parametrize(
    ("named", "places", "readings"),
    [(1, 2, 7), (2, 0, 7), (1, 0, 0), (1, 0, 1 << 63)],
    ids=["no such row", "a row twice", "the rule is none", "beyond the clock"],
)
def test_readings_that_no_page_can_have_are_refused(named, places, readings):
    page = [[b"", bytes(16), b"", [], 2, named], 0, 1, places, readings]
    head = [RUN, [], [], [], [], 0, b"", 0, 0, b"", []]
    leaves = [0, 0, 0, 0, b"", 0]
    pieces = [[1, bytes(16), 1, 0], head, [0, 0, 0], leaves, [1], *page]
    with pytest.raises(MalformedMessageError):
        decode_finding(frame(FINDING, list(map(item, pieces))))


def test_checks_of_a_page_say_which_keys_in_which_order_and_which_columns():
    assert keys_check([key(1), key(2)]) == keys_check([key(1), key(2)])
    others = [keys_check(some) for some in ([key(2), key(1)], [key(1)], [key(1), key(3)], [])]
    assert keys_check([key(1), key(2)]) not in others
    assert columns_check({"a": None, "b": "t"}) == columns_check({"b": "t", "a": None})
    different: list[dict[str, str | None]] = [
        {"a": None, "b": None}, {"a": "t", "b": None}, {"a": None}, {"ab": "t"},
    ]  # fmt: skip
    assert columns_check({"a": None, "b": "t"}) not in map(columns_check, different)


def test_group_checks_tell_tables_apart():
    shapes = {"a": Shape("the value of uuid"), "b": Shape("the value of uuid")}
    one = group_checks({"a": Content(1, 5)}, shapes)
    assert one != group_checks({"a": Content(2, 5)}, shapes)
    assert one != group_checks({"b": Content(1, 5)}, shapes)
    assert one != group_checks({"a": Content(1, 5)}, {"a": Shape("the value of name")})
    assert one == group_checks({"a": Content(1, 5)}, {"a": Shape("the value of uuid", ("name",))})


def test_a_table_whose_rows_are_named_otherwise_is_not_compared():
    here, there = Held({"a": {key(1): 1}, "b": {key(1): 1}}), Held({"a": {}, "b": {key(1): 1}})
    there.shapes["a"] = Shape("the value of name")
    comparison, _, _ = compare(here, there)
    assert comparison.tables["a"].namings == ("the value of uuid", "the value of name")
    assert comparison.tables["a"].counts == (0, 0, 1, 0)
    assert not comparison.tables["a"].equal
    assert comparison.tables["b"].equal


def test_long_words_of_a_naming_are_told_apart():
    one, other = naming_of("x" * 500), naming_of("x" * 499 + "y")
    assert one != other
    assert len(one) == len(other) == 200


def test_wanted_rows_are_asked_for_in_parts():
    wanted = {"a": [key(1), key(2), key(3)], "b": [key(4)], "c": []}
    parts = list(wanted_in_parts(wanted, rows_max=2))
    assert [sum(map(len, part.values())) for part in parts] == [2, 2]
    together: dict[str, list[RowKey]] = {}
    for part in parts:
        for table, some in part.items():
            together.setdefault(table, []).extend(some)
    assert together == {"a": wanted["a"], "b": wanted["b"]}
