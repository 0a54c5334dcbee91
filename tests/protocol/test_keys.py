"""Row keys: the same row has the same key everywhere, and no two rows share one."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncproto.keys import (
    NAMESPACE,
    baseline_key,
    canonical_uuid,
    composite_key,
    content_key,
    copy_key,
    derived_key,
    text_key,
    uuid_text,
    variant_key,
)
from syncproto.row import Reference

UUID = "5946f880-b197-400b-9caa-a3c661d23041"
KEY = bytes.fromhex("5946f880b197400b9caaa3c661d23041")

parts = st.one_of(
    st.none(),
    st.integers(-2, 12),
    st.text("ab1:", max_size=3),
    st.binary(max_size=3),
    st.builds(Reference, st.sampled_from(["t", "t1"]), st.just(KEY)),
)


def test_a_canonical_uuid_is_its_own_key_in_any_case_and_padding():
    assert canonical_uuid(UUID) == KEY
    assert canonical_uuid(UUID.upper()) == KEY
    assert canonical_uuid(UUID + "  ") == KEY
    assert uuid_text(KEY) == UUID


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SNOMED CT-2332523",
        UUID[:-1],
        UUID + "0",
        " " + UUID[:-1],
        UUID.replace("-", ""),
        "{" + UUID + "}",
        UUID.replace("-", "_"),
        "5946f880-b197-400b-9caa-a3c661d2304g",
        "5946f880-b197-400b-9caa-a3c661d230 1",
        "5946f880-b197-400b-9caa-a3c661d2 304",
        "5946f880-b197-400b-9caa--3c661d23041",
        "5946f880-b197-400b-9caa-a3c661d2304１",
    ],
)
def test_anything_else_is_no_uuid(text):
    assert canonical_uuid(text) is None


@given(st.uuids())
def test_a_key_and_its_text_name_each_other(drawn):
    assert uuid_text(drawn.bytes) == str(drawn)
    assert canonical_uuid(str(drawn)) == drawn.bytes


@given(st.text("0123456789abcdefABCDEF- gé", min_size=34, max_size=40))
def test_what_passes_for_a_uuid_is_one(text):
    key = canonical_uuid(text)
    assert key is None or uuid_text(key) == text.rstrip(" ").lower()


def test_text_is_compared_exactly():
    texts = ["mg", "Mg", "MG", "mg ", " mg", "m\u0301g", "", " "]
    assert len({text_key("unit", text) for text in texts}) == len(texts)
    assert len({composite_key("dose", (text, 1)) for text in texts}) == len(texts)


def test_a_row_whose_key_is_taken_is_named_by_what_tells_the_two_apart():
    values = [UUID, UUID.upper(), UUID + " ", "1", 1, 1.0, 1.5, "1.5", KEY, None]
    keys = {variant_key("t", (value,)) for value in values}
    assert len(keys) == len(values)
    assert keys.isdisjoint({KEY, *(content_key("t", v) for v in values), variant_key("u", (1,))})
    assert variant_key("t", ("a", 1)) == variant_key("t", ("a", 1))


def test_hashed_keys_are_uuids_of_version_5():
    by_the_library = uuid.uuid5(uuid.UUID(bytes=NAMESPACE), "t\0\0\0\4roleProvider")
    assert text_key("role", "Provider") == by_the_library.bytes


def test_keys_stay_what_they_were_in_earlier_releases():
    grant = (Reference("users", KEY), "Provider", 7, None)
    assert uuid_text(text_key("role", "Provider")) == "3a717fda-112c-5c92-827e-b2fff3097cca"
    assert uuid_text(derived_key("patient", KEY)) == "1f8de33e-8f67-50b1-b1c6-e382476fa8a6"
    assert uuid_text(composite_key("user_role", grant)) == "18055e74-4148-55f4-92cc-25ca6a70f89e"
    assert uuid_text(copy_key("tag_map", (1, "a"), 0)) == "329b7083-16a3-5abb-80d3-926337c3f03d"


def test_the_table_is_part_of_every_key_but_a_uuid():
    assert text_key("a", "x") != text_key("b", "x")
    assert derived_key("a", KEY) != derived_key("b", KEY)
    assert composite_key("a", (1,)) != composite_key("b", (1,))
    assert text_key("a", UUID) == text_key("b", UUID) == KEY


def test_a_uuid_in_binary_form_agrees_with_its_text():
    assert content_key("t", KEY) == content_key("t", UUID) == KEY
    assert content_key("t", KEY[:15]) not in (KEY, content_key("t", KEY[:14]))


@pytest.mark.parametrize(("one", "other"), [(1, "1"), (1, 1.0), (-7, "-7"), (2.5, "2.5")])
def test_a_number_is_the_same_key_in_whatever_type_an_engine_keeps_it(one, other):
    assert composite_key("t", (one, "x")) == composite_key("t", (other, "x"))
    assert content_key("t", one) == content_key("t", other)


@given(st.lists(parts, max_size=3), st.lists(parts, max_size=3))
def test_different_parts_give_different_keys(one, other):
    def shown(values):
        return [str(value) if isinstance(value, int) else value for value in values]

    same = composite_key("t", one) == composite_key("t", other)
    assert same == (shown(one) == shown(other))


def test_copies_of_a_row_are_numbered_and_compared_exactly():
    keys = [copy_key("tag_map", ("a", 1), ordinal) for ordinal in range(3)]
    assert len({*keys, copy_key("tag_map", ("A", 1), 0), copy_key("tag_map", ("a", None), 0)}) == 5


def test_rows_of_one_dump_have_one_key_at_both_sites():
    assert baseline_key("log", 7, ("text", 1)) == baseline_key("log", 7, ("text", 1))
    assert baseline_key("log", 7, ("text", 1)) != baseline_key("log", 8, ("text", 1))
    assert baseline_key("log", 7, ("text", 1)) != baseline_key("log", 7, ("Text", 1))


def test_text_that_is_no_unicode_has_a_key_too():
    assert text_key("t", "\udcff") != text_key("t", "\udcfe")
