"""The codec: what is sent arrives exactly, and no bytes whatever harm who reads them."""

import io
import random
import struct
import subprocess
import sys
import textwrap
from dataclasses import fields, replace

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import any_floats, any_ints, chunks, deletes, names, rows, stamps, turns

from syncproto import compression
from syncproto.codec import (
    LIMITS,
    decode_cells,
    decode_chunk,
    decode_row,
    decode_turn,
    encode_cells,
    encode_chunk,
    encode_row,
    encode_turn,
    split_turn,
)
from syncproto.columns import ColumnReader, ColumnWriter, KeyPool
from syncproto.delta import Block, Chunk, Cursor, RecordedConflict
from syncproto.errors import IncompatiblePeerError, LimitExceededError, MalformedMessageError
from syncproto.frames import CHUNK, Pieces, frame, item
from syncproto.frames import TURN as TURN_FRAME
from syncproto.frontier import UNKNOWN, Entry, Frontier, VersionVector
from syncproto.identity import Origin, RowKey, SiteId
from syncproto.integers import ints, packed_ints
from syncproto.keys import uuid_text
from syncproto.merge import Conflict
from syncproto.messages import Known, Turn
from syncproto.row import Cell, Delete, Reference, Row, Stamp

CLINIC = Origin(SiteId(b"clinic".ljust(16, b"\0")), 1)
HOSPITAL = Origin(SiteId(b"hospital".ljust(16, b"\0")), 2)
NOW = Stamp(1_795_000_000_000 << 16, CLINIC, 3)
LATER = Stamp(NOW.hlc + 1, HOSPITAL, 9)
OURS = (MalformedMessageError, IncompatiblePeerError)

FRONTIER = Frontier(
    {
        "obs": VersionVector({CLINIC: Entry(3, 1 << 60), HOSPITAL: Entry(9, 77)}),
        "person": VersionVector({CLINIC: Entry(2, 5)}),
    }
)
QUIET = Turn(
    network=b"networks",
    origin=CLINIC,
    latest=Entry(70_000, (1 << 64) - 1),
    known=Known(1, Entry(80_000, (1 << 64) - 2)),
    digest=b"\xf5digest\xf5",
    wall_ms=1_795_000_000_000,
    wait_ms=30_000,
)


def key(number: int) -> RowKey:
    return RowKey(number.to_bytes(16, "big"))


def people(count: int, *columns: tuple[str, object]) -> Block:
    """Rows whose columns hold one value each."""
    block = Block("person", tuple(name for name, _ in columns))
    block.keys = [key(number) for number in range(count)]
    block.stamps = [NOW] * count
    block.values = [tuple(value for _, value in columns)] * count
    return block


def chunk(*blocks: Block, records: tuple[RecordedConflict, ...] = ()) -> Chunk:
    return Chunk(CLINIC, UNKNOWN, 0, 9, records, blocks, FRONTIER, 12)


def sample() -> Chunk:
    """A chunk with some of everything."""
    block = people(40, ("uuid", ""), ("note", "fever"), ("of", key(3)), ("weight", 1.25))
    block.references = {"of": "person"}
    block.values = [
        (uuid_text(block.keys[n]), f"note {n}", key(n // 2), (n / 4, None, n, "x")[n % 4])
        for n in range(40)
    ]
    block.odd = {3: {1: LATER}, 7: {0: LATER, 2: NOW}}
    block.deletes = {5: Delete((NOW, LATER), {HOSPITAL: 4, CLINIC: 1})}
    gone = Block("obs", (), {}, [key(1)], [LATER], [()], {}, {0: Delete((LATER,), {})})
    lost = Conflict("person", key(2), "of", NOW, LATER, Reference("person", key(1)), "17")
    edit = Conflict("person", key(2), "", NOW, LATER, None, None)
    records = (RecordedConflict(lost, LATER), RecordedConflict(edit, NOW))
    return chunk(block, gone, records=records)


def exactly(value: object) -> object:
    """Something that is equal only for values of equal types and bits."""
    if isinstance(value, float):
        return ("float", struct.pack("<d", value))
    if isinstance(value, list | tuple):
        return (type(value).__name__, [exactly(part) for part in value])
    return (type(value).__name__, value)


def through_column(values: list[object], keys: list[bytes], *, references: bool = False) -> object:
    writer = ColumnWriter(KeyPool())
    column = cbor2.loads(cbor2.dumps(writer.column(values, keys, references=references)))
    pieces = Pieces(b"".join(map(cbor2.dumps, writer.large)), LIMITS)
    reader = ColumnReader(KeyPool(), pieces)
    found = reader.column(column, keys, references=references)
    reader.restore_large()
    pieces.finish()
    return found


# What is sent arrives


def test_a_chunk_with_some_of_everything_arrives_as_it_was_sent():
    assert decode_chunk(encode_chunk(sample())) == sample()


@given(chunks)
@settings(max_examples=200, deadline=None)
def test_every_chunk_arrives_exactly(sent):
    arrived = decode_chunk(encode_chunk(sent))
    for block, found in zip(sent.blocks, arrived.blocks, strict=True):
        assert exactly(found.values) == exactly(block.values)
        assert replace(found, values=[]) == replace(block, values=[])
    for record, found in zip(sent.records, arrived.records, strict=True):
        assert exactly(found.conflict.winning) == exactly(record.conflict.winning)
        assert exactly(found.conflict.losing) == exactly(record.conflict.losing)
        assert found.conflict.name == record.conflict.name
        assert (found.conflict.winner, found.stamp) == (record.conflict.winner, record.stamp)
    bare = {"blocks": (), "records": ()}
    assert replace(arrived, **bare) == replace(sent, **bare)


@given(turns)
@settings(max_examples=200, deadline=None)
def test_every_turn_arrives_and_so_does_its_chunk_as_bytes(sent):
    data = encode_turn(sent)
    arrived, staged = split_turn(data)
    assert arrived == replace(sent, chunk=None)
    assert (staged is None) == (sent.chunk is None)
    assert encode_turn(arrived, staged) == data
    assert encode_turn(decode_turn(data)) == data
    if sent.chunk is not None:
        assert staged == encode_chunk(sent.chunk)


@given(rows)
@settings(deadline=None)
def test_every_row_returns_from_its_blob_exactly(row):
    numbers: dict[Origin, int] = {}
    blob = encode_row(row, lambda origin: numbers.setdefault(origin, len(numbers) + 1))
    found = decode_row(blob, {number: origin for origin, number in numbers.items()}.__getitem__)
    assert found.delete == row.delete
    assert {name: cell.stamp for name, cell in found.cells.items()} == {
        name: cell.stamp for name, cell in row.cells.items()
    }
    for name, cell in row.cells.items():
        assert exactly(found.cells[name].value) == exactly(cell.value)


@given(
    st.dictionaries(names, stamps, max_size=3),
    st.none() | deletes,
    st.frozensets(names, max_size=3),
)
@settings(deadline=None)
def test_every_clock_returns_from_its_blob(odd, delete, absent):
    numbers: dict[Origin, int] = {}
    number = lambda origin: numbers.setdefault(origin, len(numbers) + 1)  # noqa: E731
    blob = encode_cells(odd, delete, number, sorted(absent))
    origin_of = {number: origin for origin, number in numbers.items()}.__getitem__
    assert decode_cells(blob, origin_of) == (odd, delete, absent)


@given(st.lists(any_ints) | st.lists(st.integers(0, 300)) | st.lists(st.integers(-40_000, 40_000)))
def test_every_integer_list_returns(numbers):
    assert ints(cbor2.loads(cbor2.dumps(packed_ints(numbers))), len(numbers)) == numbers


@given(st.lists(any_floats, max_size=20))
def test_floats_return_with_every_bit(numbers):
    assert exactly(through_column(numbers, [b""] * len(numbers))) == exactly(numbers)


@pytest.mark.parametrize(
    "values",
    [
        [1, 1.0, "1", b"1", None],
        [0.0, -0.0, float("nan"), float("inf"), float("-inf"), 5e-324],
        [-(1 << 63), (1 << 63) - 1, (1 << 64) - 1],
        [None, None],
        ["2015-01-02 03:04:05", "2024-02-29 23:59:59"],
        ["2015-01-02 03:04:05", "2015-01-02 24:00:00"],
        ["0000-00-00", "2015-01-02"],
        ["20150102  ", "2015-W01-5"],
        ["2015-01-02", None, "9999-12-31", "0001-01-01"],
        ["x" * 40_000, None, b"y" * 40_000, "é" * 40_000, "short"],
        ["5C1F0E6B-9c2b-4f3a-8e0d-7a4651c3b2d9", "5c1f0e6b-9c2b-4f3a-8e0d-7a4651c3b2d9"],
        ["5c1f0e6b 9c2b-4f3a-8e0d-7a4651c3b2d9-"[:36], "5c1f0e6b-9c2b-4f3a-8e0d-7a4651c3b2d9"],
    ],
)
def test_a_column_keeps_each_value_and_its_type(values):
    assert exactly(through_column(values, [b""] * len(values))) == exactly(values)


def test_the_text_of_the_rows_own_key_costs_nothing():
    block = people(200, ("uuid", ""), ("void", 0))
    block.keys = [RowKey(random.Random(n).randbytes(16)) for n in range(200)]
    without = len(encode_chunk(chunk(replace(block, columns=("void",), values=[(0,)] * 200))))
    block.values = [(uuid_text(each), 0) for each in block.keys]
    data = encode_chunk(chunk(block))
    assert len(data) < without + 20
    assert decode_chunk(data).blocks[0].values == block.values


def test_a_reference_to_a_row_of_the_same_chunk_costs_less_than_its_key():
    draw = random.Random(1)
    persons = people(1_000)
    persons.keys = [RowKey(draw.randbytes(16)) for _ in range(1_000)]
    persons.values = [()] * 1_000
    obs = Block("obs", ("person",), {"person": "person"}, [key(n) for n in range(1_000)])
    obs.stamps = [NOW] * 1_000
    obs.values = [(draw.choice(persons.keys),) for _ in range(1_000)]
    both, alone = encode_chunk(chunk(persons, obs)), encode_chunk(chunk(persons))
    assert len(both) - len(alone) < 6_000  # of 16,000, and the keys of the rows themselves
    assert decode_chunk(both).blocks[1] == obs


def test_long_values_and_rows_too_long_for_one_item_arrive():
    wide = people(2, *((f"column {n}", "x" * 9_000) for n in range(60)))
    long = people(3, ("note", "y" * 700_000), ("scan", b"\0" * 300_000))
    many = people(3_000, ("note", "z" * 1_000))
    many.values = [(f"{n}" * 200,) for n in range(3_000)]
    many.references, refer = {}, replace(many, columns=("note", "of"), references={"of": "person"})
    refer.values = [(f"{n}" * 200, key(n % 7 + 9_000)) for n in range(3_000)]
    sent = chunk(wide, long, many, refer)
    assert decode_chunk(encode_chunk(sent)) == sent


def test_a_round_with_nothing_new_is_small():
    assert len(encode_turn(QUIET)) < 100
    assert len(encode_turn(replace(QUIET, unshown=70_000))) < 100
    assert len(encode_turn(replace(QUIET, known=None, wait_ms=0))) < 80
    assert decode_turn(encode_turn(QUIET)) == QUIET


def test_scopes_with_one_vector_write_it_once():
    vector = VersionVector({Origin(SiteId(bytes([n]) * 16), 1): Entry(n, n) for n in range(200)})
    one = encode_turn(replace(QUIET, frontier=Frontier({"a": vector})))
    hundred = Frontier({f"table {n}": vector for n in range(100)})
    assert len(encode_turn(replace(QUIET, frontier=hundred))) < len(one) + 600


@pytest.mark.parametrize("value", [1 << 64, -(1 << 63) - 1, True, object(), "\ud800", {1: 2}])
def test_what_no_cell_can_hold_is_refused_where_it_is_sent(value):
    with pytest.raises((TypeError, ValueError)):
        encode_chunk(chunk(people(2, ("column", value))))
    with pytest.raises((TypeError, ValueError)):
        encode_row(Row({"column": Cell(NOW, value)}), lambda _: 1)


# No bytes whatever harm who reads them


def refused(data: bytes) -> bool:
    try:
        decode_turn(data)
    except OURS:
        return True
    return False


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data):
    assert refused(data)
    with pytest.raises(OURS):
        decode_chunk(b"SC\x01\x00\x00" + data)


def mutated(draw: random.Random, data: bytes) -> bytes:
    at, length = draw.randrange(len(data)), draw.randrange(1, 20)
    way = draw.randrange(5)
    if way == 0:
        return data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]
    if way == 1:
        return data[:at]
    if way == 2:
        return data[:at] + draw.randbytes(length) + data[at:]
    if way == 3:
        return data[: at + length] + data[at:]
    return data[:at] + data[at + length :]


def test_damaged_messages_raise_only_our_errors():
    whole = encode_turn(replace(QUIET, frontier=FRONTIER, cursor=Cursor(HOSPITAL, 7)), b"")
    packed = encode_turn(replace(QUIET, chunk=sample(), sums={"obs": 5}, lineage={1: 2}))
    bodies = _plain(encode_chunk(sample()))
    draw, refusals = random.Random(20261121), 0
    for data in (whole, packed, bodies):
        for _ in range(3_000):
            damaged = mutated(draw, data)
            try:
                decode_chunk(damaged) if data is bodies else decode_turn(damaged)
            except OURS:
                refusals += 1
    assert refusals > 6_000


def test_damaged_items_raise_only_our_errors():
    """Whole items with a part replaced: damage that CBOR itself does not notice."""
    turn = replace(QUIET, frontier=FRONTIER, sums={"obs": 5, "person": 6}, lineage={1: 2})
    draw, refusals = random.Random(20261121), 0
    for kind, data, decode in (
        (CHUNK, _plain(encode_chunk(sample())), decode_chunk),
        (TURN_FRAME, encode_turn(turn), decode_turn),
    ):
        pieces = _pieces(data)
        for _ in range(6_000):
            damaged, at = list(pieces), draw.randrange(len(pieces))
            damaged[at] = cbor2.dumps(_replaced(draw, cbor2.loads(pieces[at])))
            try:
                decode(frame(kind, damaged))
            except OURS:
                refusals += 1
    assert refusals > 6_000


# What could stand in the place of a part: numbers at the bounds, and columns of other forms.
_PARTS = [
    *(None, 0, 1, -1, 1 << 63, (1 << 64) - 1, -1 << 64, 1_000_000, True, 1.5, {}),
    *([], [[]], [1], b"", bytes(16), "", "x", [1, 0, b"\1\2"], [0, 1, b"", 3], [2, 0, b"\1\0", 1]),
    *([5, ["a"], 0], [4, b"", 0], [6], [10, b"\xff", [0, 1]], [11, b"\5\6\1", 1], [9, 0], [8, 0]),
]


def _replaced(draw: random.Random, value: object) -> object:
    if not isinstance(value, list) or not value or draw.random() < 0.15:
        return draw.choice(_PARTS)
    parts, at = list(value), draw.randrange(len(value))
    way = draw.randrange(10)
    if way == 0:
        del parts[at]
    elif way == 1:
        parts.insert(at, parts[at])
    elif isinstance(parts[at], int) and draw.random() < 0.5:
        parts[at] += draw.choice((-1, 1, 2, 100))
    else:
        parts[at] = _replaced(draw, parts[at])
    return parts


def _pieces(data: bytes) -> list[bytes]:
    """The pieces of a message that is not compressed and has one frame."""
    body, found = io.BytesIO(cbor2.loads(data[5:])), []
    while body.tell() < len(body.getvalue()):
        found.append(cbor2.load(body))
    return found


def _plain(data: bytes) -> bytes:
    """The chunk without compression, so that damage reaches the items."""
    body = compression.inflated(1, 0, data[8:], bytes_max=1 << 20)
    assert data[5] == 0x59
    return data[:3] + b"\x00\x00" + cbor2.dumps(body)


def test_damaged_blobs_raise_only_our_errors():
    row = Row(
        {"a": Cell(NOW, 1.5), "b": Cell(LATER, Reference("person", key(1))), "c": Cell(NOW, 9)},
        Delete((NOW,), {HOSPITAL: 4}),
    )
    number, origin_of = {CLINIC: 1, HOSPITAL: 2}.__getitem__, lambda _: CLINIC
    draw = random.Random(7)
    row_blob, clock_blob = encode_row(row, number), encode_cells({"a": LATER}, row.delete, number)
    for _ in range(2_000):
        for blob, decode in ((row_blob, decode_row), (clock_blob, decode_cells)):
            try:
                decode(mutated(draw, blob), origin_of)
            except MalformedMessageError:
                continue


def test_another_version_is_named_together_with_ours():
    data = encode_turn(QUIET)
    with pytest.raises(IncompatiblePeerError, match=r"version 9 .* version 1"):
        decode_turn(data[:2] + b"\x09" + data[3:])
    with pytest.raises(IncompatiblePeerError, match="compression 7"):
        decode_turn(data[:3] + b"\x07" + data[4:])


def test_bytes_after_a_message_are_refused():
    with pytest.raises(MalformedMessageError):
        decode_chunk(encode_chunk(sample()) + b"\0")
    with pytest.raises(MalformedMessageError):
        decode_turn(encode_turn(QUIET) + b"\0")


def packed_as(body: bytes) -> bytes:
    return b"SC\x01\x01\x00" + cbor2.dumps(compression.zstd.compress(body))


BOMBS = {
    "zstd zeros": packed_as(b"\0" * (200 << 20)),
    "zstd just over the cap": packed_as(random.Random(3).randbytes(1 << 20) * 33),
    "zstd with a wide window": b"SC\x01\x01\x00"
    + cbor2.dumps(
        compression.zstd.compress(
            b"x" * 1000,
            options={
                compression.zstd.CompressionParameter.window_log: 27,
                compression.zstd.CompressionParameter.content_size_flag: 0,
            },
        )
    ),
    "nested arrays": frame(CHUNK, [b"\x81" * 100_000 + b"\x00"]),
    "nested tags": frame(CHUNK, [b"\xd8\x1c" * 50_000 + b"\x00"]),
    "array of 2^63": frame(CHUNK, [b"\x9b\x7f" + b"\xff" * 7]),
    "text of 2^32": frame(CHUNK, [b"\x7a\xff\xff\xff\xff"]),
    "indefinite array": frame(CHUNK, [b"\x9f\xff"]),
    "empty maps": frame(CHUNK, [b"\x9a\x00\x03\xff\x00" + b"\xa0" * 0x3FF00]),
    "shared references": frame(CHUNK, [bytes.fromhex("d81c82d81c82000001d81d00")]),
    "decimal": frame(CHUNK, [bytes.fromhex("c4821a3b9aca0001")]),
    "regular expression": frame(CHUNK, [b"\xd8\x23" + cbor2.dumps("(a+)+$")]),
    "string references": frame(CHUNK, [b"\xd9\x01\x00\x82\x61a\xd8\x19\x00"]),
    "body without end": b"SC\x01\x00\x00\x5b\x7f" + b"\xff" * 7,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused(name):
    with pytest.raises(MalformedMessageError):
        decode_chunk(BOMBS[name])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_no_message_takes_more_memory_than_promised():
    """Measured in a process of its own, over what it took before."""
    script = textwrap.dedent(
        """
        import sys
        from syncproto.codec import decode_chunk
        from syncproto.errors import MalformedMessageError

        def peak_kib():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

        data = sys.stdin.buffer.read()
        before = peak_kib()
        try:
            decode_chunk(data)
        except MalformedMessageError:
            pass
        print(peak_kib() - before)
        """
    )
    full = people(LIMITS.rows, *((f"c{n}", "") for n in range(8)))
    full.values = [(uuid_text(each),) * 8 for each in full.keys]
    heaviest = encode_chunk(chunk(full))  # a million texts out of 50 kB
    taken_kib = []
    for data in (heaviest, *(BOMBS[n] for n in ("zstd zeros", "empty maps", "nested arrays"))):
        done = subprocess.run(
            [sys.executable, "-c", script], input=data, capture_output=True, check=True
        )
        taken_kib.append(int(done.stdout))
    print("KiB taken:", taken_kib)
    assert taken_kib[0] > 50 << 10, "the heaviest message weighs nothing: is it measured?"
    assert max(taken_kib) < 256 << 10


# Each limit is enforced


def small(**limits: int) -> object:
    return replace(LIMITS, **limits)


LARGE = people(2, ("note", "x" * 50_000))
CROWD = Frontier(
    {
        "a": VersionVector({CLINIC: Entry(1, 1), HOSPITAL: Entry(2, 2)}),
        "b": VersionVector({CLINIC: Entry(9, 9)}),
    }
)
TURN = replace(QUIET, frontier=CROWD, sums={"a": 1, "b": 2}, lineage={1: 1, 2: 2}, trouble="late")
AT_LIMIT = {
    "body_bytes": len(encode_turn(TURN)),
    "inflated_bytes": None,
    "item_bytes": None,
    "depth": None,
    "value_bytes": 50_000,
    "name_length": 6,
    "names": 2,
    "origins": 2,
    "scopes": 2,
    "frontier_entries": 3,
    "lineage": 2,
    "trouble_length": 4,
    "rows": 40 + 1,
    "cells": 40 * 4,
    "blocks": 2,
    "columns": 4,
    "records": 2,
    "entries": 3 + 2 + 2 + 1,
}


def test_every_limit_has_a_test():
    assert set(AT_LIMIT) == {field.name for field in fields(LIMITS)}


@pytest.mark.parametrize("name", [name for name, limit in AT_LIMIT.items() if limit is not None])
def test_a_message_at_a_limit_is_taken_and_one_above_it_is_not(name):
    limit = AT_LIMIT[name]
    if name in ("rows", "cells", "blocks", "columns", "records", "entries", "name_length"):
        data, decode = encode_chunk(sample()), decode_chunk
    elif name == "value_bytes":
        data, decode = encode_chunk(chunk(LARGE)), decode_chunk
    else:
        data, decode = encode_turn(TURN), decode_turn
    decode(data, small(**{name: limit}))
    with pytest.raises(LimitExceededError):
        decode(data, small(**{name: limit - 1}))


def test_the_bytes_of_a_body_and_of_an_item_are_limited():
    data = _plain(encode_chunk(sample()))
    body = len(data) - 8
    decode_chunk(data, small(inflated_bytes=body))
    with pytest.raises(LimitExceededError):
        decode_chunk(data, small(inflated_bytes=body - 1))
    assert len(item("x" * 50)) == 52
    assert Pieces(cbor2.dumps(item("x" * 50)), small(item_bytes=52)).item() == "x" * 50
    with pytest.raises(LimitExceededError):
        Pieces(cbor2.dumps(item("x" * 50)), small(item_bytes=51)).item()


def test_the_depth_of_an_item_is_limited():
    nested = item([[["x"]]])
    assert Pieces(cbor2.dumps(nested), small(depth=3)).item() == [[["x"]]]
    with pytest.raises(MalformedMessageError):
        Pieces(cbor2.dumps(nested), small(depth=2)).item()


@pytest.mark.parametrize(
    "sent",
    [
        chunk(people(LIMITS.rows + 1)),
        chunk(*[people(0)] * (LIMITS.blocks + 1)),
        chunk(people(1, *((f"c{n}", 1) for n in range(LIMITS.columns + 1)))),
        chunk(people(1, ("n" * (LIMITS.name_length + 1), 1))),
        chunk(people(1, ("scan", bytes(LIMITS.value_bytes + 1)))),
        chunk(people(LIMITS.cells // 16 + 1, *((f"c{n}", 1) for n in range(16)))),
    ],
    ids=["rows", "blocks", "columns", "name", "value", "cells"],
)
def test_what_a_peer_would_refuse_is_not_sent(sent):
    with pytest.raises(LimitExceededError):
        encode_chunk(sent)
