"""Hypothesis strategies for the protocol's values.

Ranges are narrow, so that origins, keys, stamps and columns meet: collisions are where the
rules are.
"""

import struct
from dataclasses import replace

from hypothesis import strategies as st

from syncproto.delta import Block, Chunk, Cursor, RecordedConflict, blocks_of
from syncproto.frontier import Entry, Frontier, VersionVector
from syncproto.identity import Origin, RowKey, SiteId
from syncproto.keys import uuid_text
from syncproto.merge import Conflict
from syncproto.messages import Known, Turn
from syncproto.row import Cell, Delete, Reference, Row, Stamp

UINT64 = (1 << 64) - 1
INT64 = (1 << 63) - 1

sites = st.sampled_from([SiteId(bytes([n]) * 16) for n in range(1, 5)])
origins = st.builds(Origin, sites, st.sampled_from([0, 1, UINT64]))
seqs = st.one_of(st.integers(1, 5), st.just(INT64))
nonces = st.one_of(st.integers(0, 3), st.just(UINT64))
hlcs = st.one_of(st.integers(1, 6), st.integers(0, 3).map(lambda n: (1_795_000_000_000 + n) << 16))
stamps = st.builds(Stamp, hlcs, origins, seqs)
keys = st.one_of(
    st.integers(0, 6).map(lambda n: RowKey(n.to_bytes(16, "big"))),
    st.binary(min_size=16, max_size=16).map(RowKey),
)
names = st.one_of(
    st.sampled_from(["person", "obs", "uuid", "gender", "é", "a b"]),
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=4
    ),
)
references = st.builds(Reference, st.sampled_from(["person", "concept"]), keys)

any_floats = st.one_of(
    st.floats(),
    st.integers(0, UINT64).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0]),
    st.integers(-999, 999).map(lambda n: n / 100),
    st.sampled_from([0.0, -0.0]),
)
any_ints = st.one_of(
    st.integers(-2, 3), st.integers(-1 << 63, UINT64), st.sampled_from([-1 << 63, INT64, UINT64])
)
date_texts = st.one_of(
    st.dates().map(str),
    st.datetimes().map(lambda when: str(when.replace(microsecond=0))),
    st.datetimes().map(str),
    st.sampled_from(["0000-00-00", "2015-13-01", "20150102  ", "2015-01-02T03:04:05", "24:00:00"]),
)
uuid_texts = st.one_of(keys.map(uuid_text), keys.map(uuid_text).map(str.upper))
texts = st.one_of(
    st.sampled_from(["", "M", "F", "1", "1.0"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    date_texts,
    uuid_texts,
)
blobs = st.one_of(st.binary(max_size=20), st.sampled_from([b"", b"1"]))
plain_values = st.one_of(st.none(), any_ints, any_floats, texts, blobs)
values = st.one_of(plain_values, references)
typed_columns = st.sampled_from([any_ints, any_floats, texts, blobs, date_texts, uuid_texts])

seen = st.dictionaries(origins, seqs, max_size=3)
deletes = st.builds(
    lambda found, marked, seen: Delete(
        tuple(sorted(found)), seen, frozenset(sorted(found)[:marked])
    ),
    st.sets(stamps, min_size=1, max_size=3),
    st.integers(0, 3),
    seen,
)
cells = st.builds(Cell, stamps, values)
rows = st.one_of(
    st.builds(Row, st.dictionaries(names, cells, min_size=1, max_size=4), st.none() | deletes),
    st.builds(Row, st.just({}), deletes),
)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """A block, with columns of one type as in most tables, and of all types at once."""
    row_keys = draw(st.lists(keys, max_size=12))
    columns = draw(st.lists(names, max_size=4, unique=True))
    referring = draw(st.lists(st.sampled_from(columns), unique=True)) if columns else []
    block = Block(draw(names), tuple(columns), {name: draw(names) for name in referring}, row_keys)
    block.stamps = (
        [draw(stamps)] * len(row_keys)
        if draw(st.booleans())
        else draw(st.lists(stamps, min_size=len(row_keys), max_size=len(row_keys)))
    )
    drawn = []
    for name in columns:
        source = (
            keys
            if name in block.references
            else draw(st.one_of(typed_columns, st.just(plain_values)))
        )
        if draw(st.booleans()):
            source = st.none() | source
        drawn.append([draw(source) for _ in row_keys])
        if name not in block.references and draw(st.integers(0, 3)) == 0:
            drawn[-1] = [uuid_text(key) for key in row_keys]
    block.values = [tuple(column[n] for column in drawn) for n in range(len(row_keys))]
    for index in range(len(row_keys)):
        if columns and draw(st.integers(0, 3)) == 0:
            places = st.integers(0, len(columns) - 1)
            block.odd[index] = draw(st.dictionaries(places, stamps, min_size=1))
        if draw(st.integers(0, 3)) == 0:
            block.deletes[index] = draw(deletes)
    return block


entries = st.builds(Entry, seqs, nonces)
vectors = st.builds(VersionVector, st.dictionaries(origins, entries, max_size=4))
frontiers = st.one_of(
    st.builds(Frontier, st.dictionaries(names, vectors, max_size=4)),
    st.builds(
        lambda scopes, vector: Frontier(dict.fromkeys(scopes, vector)), st.sets(names), vectors
    ),
)
conflicts = st.one_of(
    st.builds(Conflict, names, keys, st.just("") | names, stamps, stamps, values, values),
    st.builds(Conflict, names, keys, names, stamps, stamps, st.none(), values, st.just(True)),
)
records = st.builds(RecordedConflict, conflicts, stamps)
lsns = st.one_of(st.integers(0, 5), st.just(INT64))
chunks = st.builds(
    Chunk,
    sender=origins,
    base=frontiers,
    after=lsns,
    upto=lsns,
    records=st.lists(records, max_size=3).map(tuple),
    blocks=st.one_of(
        st.lists(blocks(), max_size=3).map(tuple),
        st.lists(st.tuples(names, keys, rows), max_size=6).map(blocks_of),
    ),
    claim=st.none() | frontiers,
    total=lsns,
)
turns_without_chunk = st.builds(
    Turn,
    network=st.binary(min_size=8, max_size=8),
    origin=origins,
    latest=entries,
    known=st.none() | st.builds(Known, st.integers(0, UINT64), entries),
    digest=st.binary(min_size=8, max_size=8),
    wall_ms=st.integers(-5, 1 << 46),
    frontier=st.none() | frontiers,
    cursor=st.none() | st.builds(Cursor, origins, lsns),
    sums=st.none() | st.dictionaries(names, st.integers(0, UINT64), max_size=4),
    lineage=st.none() | st.dictionaries(seqs, nonces, max_size=4),
    wait_ms=st.integers(0, 60_000),
    more=st.booleans(),
    trouble=st.sampled_from(["", "your clock is ahead"]),
    unshown=st.sampled_from([0, 3]),
    kept=st.frozensets(names, max_size=3),
)
turns = st.builds(
    lambda turn, chunk: replace(turn, chunk=chunk), turns_without_chunk, st.none() | chunks
)
