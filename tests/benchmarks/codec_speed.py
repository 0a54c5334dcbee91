"""What the codec costs: CPU and bytes for 100,000 new rows, for edits, and for single rows.

    python tests/benchmarks/codec_speed.py

The rows have the shape of the catch-up benchmark W1: 50,000 persons, and 50,000 observations
that refer to them. They are encoded as one chunk and as chunks of 5,000 rows. Times are process
CPU, the least of five runs.
"""

import random
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from uuid import UUID

from syncproto.codec import decode_chunk, decode_row, encode_chunk, encode_row
from syncproto.delta import Block, Chunk, blocks_of
from syncproto.frontier import NOTHING, Entry, Frontier, VersionVector
from syncproto.identity import Origin, RowKey, SiteId
from syncproto.row import Cell, Row, Stamp

SITE = Origin(SiteId(b"clinic".ljust(16, b"\0")), 7_001)
STAMP = Stamp(1_795_000_000_000 << 16, SITE, 1)
CLAIM = Frontier(dict.fromkeys(("person", "obs"), VersionVector({SITE: Entry(1, 1 << 60)})))
BASE = Frontier(dict.fromkeys(("person", "obs"), NOTHING))
PERSON = (
    "uuid",
    "gender",
    "birthdate",
    "dead",
    "creator",
    "date_created",
    "date_changed",
    "voided",
)
OBS = ("uuid", "person_id", "concept_id", "value_numeric", "value_text", "obs_datetime")
OBS += ("creator", "date_created", "voided")
WORDS = (  # noqa: SIM905
    "stable improved fever cough follow-up negative positive review dose given referred normal "
    "elevated low weight height pulse clinic ward visit"
).split()


def moment(draw: random.Random) -> str:
    return str(datetime(2015, 1, 1) + timedelta(seconds=draw.randrange(10 * 365 * 86_400)))


def persons(draw: random.Random, count: int) -> Block:
    block = Block("person", PERSON, stamps=[STAMP] * count)
    for _ in range(count):
        uuid = UUID(int=draw.getrandbits(128), version=4)
        born = date(1930, 1, 1) + timedelta(days=draw.randrange(90 * 365))
        changed = moment(draw) if draw.random() < 0.4 else None
        block.keys.append(RowKey(uuid.bytes))
        block.values.append(
            (
                str(uuid),
                draw.choice("MFO"),
                str(born),
                int(draw.random() < 0.03),
                draw.randrange(1, 60),
                moment(draw),
                changed,
                int(draw.random() < 0.02),
            )
        )
    return block


def observations(draw: random.Random, people: list[RowKey], count: int) -> Block:
    block = Block("obs", OBS, {"person_id": "person"}, stamps=[STAMP] * count)
    for _ in range(count):
        uuid = UUID(int=draw.getrandbits(128), version=4)
        number = round(draw.uniform(0, 300), 2) if draw.random() < 0.7 else None
        words = " ".join(draw.choice(WORDS) for _ in range(draw.randrange(2, 12)))
        block.keys.append(RowKey(uuid.bytes))
        block.values.append(
            (
                str(uuid),
                draw.choice(people),
                draw.randrange(1, 4_000),
                number,
                None if number is not None else words,
                moment(draw),
                draw.randrange(1, 60),
                moment(draw),
                int(draw.random() < 0.02),
            )
        )
    return block


def part(block: Block, start: int, end: int) -> Block:
    keys, stamps = block.keys[start:end], block.stamps[start:end]
    return Block(
        block.table, block.columns, block.references, keys, stamps, block.values[start:end]
    )


def chunk(*blocks: Block) -> Chunk:
    return Chunk(SITE, BASE, 0, 100_000, (), blocks, CLAIM)


def edits(
    draw: random.Random, people: list[RowKey], count: int
) -> Iterator[tuple[str, RowKey, Row]]:
    for key in draw.sample(people, count):
        column, value = draw.choice(
            (("gender", "X"), ("creator", 99), ("date_changed", moment(draw)))
        )
        yield "person", key, Row({column: Cell(STAMP, value)})


def cpu_ms(work: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def report(name: str, chunks: list[Chunk]) -> None:
    encoded = [encode_chunk(each) for each in chunks]
    assert [decode_chunk(data) for data in encoded] == chunks
    encode_ms = cpu_ms(lambda: [encode_chunk(each) for each in chunks])
    decode_ms = cpu_ms(lambda: [decode_chunk(data) for data in encoded])
    size = sum(map(len, encoded))
    rows = sum(each.row_count for each in chunks)
    print(
        f"{name:28} {rows:7} rows {size:9} bytes {size / rows:6.1f} a row   "
        f"encode {encode_ms:6.1f} ms   decode {decode_ms:6.1f} ms"
    )


def main() -> None:
    draw = random.Random(20_261_121)
    people = persons(draw, 50_000)
    obs = observations(draw, people.keys, 50_000)
    report("W1, one chunk", [chunk(people, obs)])
    pieces = [
        part(block, start, start + 5_000)
        for block in (people, obs)
        for start in range(0, 50_000, 5_000)
    ]
    report("W1, chunks of 5,000 rows", [chunk(piece) for piece in pieces])
    changed = list(edits(draw, people.keys, 10_000))
    report("W2, edits of one column", [chunk(*blocks_of(changed))])
    report("one person", [chunk(part(people, 0, 1))])
    report("one observation", [chunk(part(obs, 0, 1))])
    rows = [row for _, row in part(people, 0, 10_000).rows()]
    blobs = [encode_row(row, {SITE: 1}.__getitem__) for row in rows]
    encode_ms = cpu_ms(lambda: [encode_row(row, {SITE: 1}.__getitem__) for row in rows])
    decode_ms = cpu_ms(lambda: [decode_row(blob, {1: SITE}.__getitem__) for blob in blobs])
    print(
        f"{'row blobs':28} {len(rows):7} rows {sum(map(len, blobs)):9} bytes "
        f"{sum(map(len, blobs)) / len(rows):6.1f} a row   encode {encode_ms:6.1f} ms   "
        f"decode {decode_ms:6.1f} ms"
    )


if __name__ == "__main__":
    main()
