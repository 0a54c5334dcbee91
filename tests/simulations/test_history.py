"""The record of a run: who had seen what when he wrote, however changes came to him."""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from random import Random

import fleet
import pytest
from database_runs import run
from exchanges import exchange
from row_examples import KEY, NOON_MS, OTHER_KEY, A, B, C, Clock

from syncproto.codec import decode_chunk, encode_chunk
from syncproto.delta import Chunk
from syncproto.frontier import Entry, Frontier, VersionVector
from syncproto.identity import Dot, Origin
from syncproto.memory import MemoryReplica
from syncproto.replica import Receipt
from syncproto.row import Cell, Row, Stamp
from syncsim import history as history_module
from syncsim.checkers import CHECKERS, Ending
from syncsim.history import FEW, History, OfferedChunk, RecordedSite
from syncsim.subject import MemorySubject, Place, memory_subject

PLACE: Place = ("patient", KEY)
OTHER: Place = ("patient", OTHER_KEY)
NOTE: Place = ("note", KEY)
YEAR_MS = 365 * 24 * 3_600_000

Carry = Callable[[Chunk], Chunk]


def recorded(
    origin: Origin,
    history: History,
    *,
    tables: tuple[str, ...] = ("note", "patient"),
    rows_max: int = 1_000,
    clock: Callable[[], int] | None = None,
    encoded: bool = False,
) -> RecordedSite:
    nonces = count(1_000 * origin.site[0])
    subject = memory_subject(origin, tables, clock or Clock(), lambda: next(nonces), rows_max)
    return RecordedSite(subject, origin, history, encoded=encoded)


def meet(one: RecordedSite, other: RecordedSite) -> None:
    assert exchange(one, other, caller_site=one.site, callee_site=other.site).complete


@pytest.fixture(params=["in one process", "encoded"])
def way(request: pytest.FixtureRequest) -> tuple[bool, Carry]:
    """Whether chunks cross a codec, and what carries them."""
    if request.param == "encoded":
        return True, lambda chunk: decode_chunk(encode_chunk(chunk))
    return False, lambda chunk: chunk


def test_an_author_saw_of_a_row_what_was_here_and_nothing_else():
    history = History()
    a, b, c = (recorded(origin, history) for origin in (A, B, C))
    a.write(OTHER, {"a": 0}, NOON_MS)
    a.write(PLACE, {"a": 1}, NOON_MS)
    meet(a, b)
    b.write(PLACE, {"a": 2}, NOON_MS)
    c.write(PLACE, {"a": 3}, NOON_MS)
    meet(b, c)
    c.write(PLACE, {"a": 4}, NOON_MS)
    c.delete(PLACE, NOON_MS)
    assert [write.saw for write in history.of_row[PLACE]] == [0, 0b1, 0, 0b111, 0b1111]
    assert [write.number for write in history.of_row[PLACE]] == [1, 2, 3, 4, 5]
    assert [write.site for write in history.of_site[C.site]] == [C.site] * 3


def test_what_changes_nothing_is_no_write():
    history = History()
    a = recorded(A, history)
    a.write(PLACE, {"a": 1, "b": 2}, NOON_MS)
    a.write(PLACE, {"a": 1, "b": 3}, NOON_MS)
    a.write(PLACE, {"a": 1}, NOON_MS)
    a.delete(OTHER, NOON_MS)
    assert [write.values for write in history.writes] == [{"a": 1, "b": 2}, {"b": 3}]


def test_the_record_of_a_long_row_is_what_a_look_through_all_its_writes_finds():
    """Also where a site is put back and has seen less than before, and clocks run wild."""
    rng = Random(7)
    history = History()
    sites = [recorded(origin, history) for origin in (A, B, C)]
    kept = dict.fromkeys((A.site, B.site, C.site), 0)
    for step in range(12 * FEW):
        one, other = rng.sample(sites, 2)
        here = [w for w in history.of_row.get(PLACE, ()) if one.seen >> w.number & 1]
        one.write(PLACE, {"a": step}, NOON_MS + rng.choice([0, 1, 60_000]))
        assert history.writes[-1].saw == sum(1 << write.nth for write in here)
        if rng.random() < 0.4:
            meet(one, other)
        if rng.random() < 0.1:
            one.seal()
            one.seen, kept[one.site] = kept[one.site], one.seen
    for site in sites:
        site.seal()
    for write in history.writes:
        floor = max((w.hlc for w in history.writes if write.saw >> w.nth & 1), default=0)
        assert write.hlc == max(write.wall_ms << 16, floor + 1)


def test_a_long_run_leaves_the_record_of_a_write_short():
    history = History()
    a = recorded(A, history)
    for number in range(300):
        a.write(("note", KEY[:-2] + number.to_bytes(2, "big")), {"a": number}, NOON_MS)  # type: ignore[arg-type]
    a.write(NOTE, {"a": 1}, NOON_MS)
    a.write(NOTE, {"a": 2}, NOON_MS)
    assert history.writes[-1].saw == 0b1
    assert a.seen == (1 << 302) - 1


def test_a_chunk_that_comes_late_or_twice_brings_what_was_in_it_and_no_more(way):
    encoded, carry = way
    history = History()
    a, b = (recorded(origin, history, encoded=encoded) for origin in (A, B))
    base = b.standing(A.site).frontier
    chunks = []
    for number in range(3):
        a.write(PLACE, {"a": number}, NOON_MS)
        chunks.append(carry(a.chunk(base, 0)))
    for number, seen in ((1, 0b11), (0, 0b11), (2, 0b111), (2, 0b111), (1, 0b111)):
        assert b.receive(chunks[number]).applied
        assert b.seen == seen


def test_of_a_delta_in_parts_nothing_is_seen_before_the_last_part(way):
    encoded, carry = way
    history = History()
    a, b = (recorded(origin, history, rows_max=1, encoded=encoded) for origin in (A, B))
    base = b.standing(A.site).frontier
    a.write(PLACE, {"a": 1}, NOON_MS)
    a.write(OTHER, {"a": 2}, NOON_MS)
    first = a.chunk(base, 0)
    a.write(NOTE, {"a": 3}, NOON_MS)
    second = a.chunk(base, first.upto)
    third = a.chunk(base, second.upto)
    for part, seen in ((first, 0), (second, 0), (third, 0b111)):
        assert (part.claim is None) == (seen == 0)
        b.receive(carry(part))
        assert b.seen == seen


def test_a_chunk_that_is_refused_brings_nothing():
    history = History()
    a, b = recorded(A, history), recorded(B, history)
    a.write(PLACE, {"a": 1}, NOON_MS)
    late = a.chunk(a.standing(B.site).frontier, 0)
    assert not b.receive(late).taken
    assert b.seen == 0


def test_a_site_has_seen_nothing_of_tables_that_it_does_not_keep(way):
    encoded, carry = way
    history = History()
    a = recorded(A, history, encoded=encoded)
    b = recorded(B, history, tables=("patient",), encoded=encoded)
    for place in (PLACE, NOTE, OTHER):
        a.write(place, {"a": 1}, NOON_MS)
    b.receive(carry(a.chunk(b.standing(A.site).frontier, 0)))
    assert b.seen == 0b101
    a.write(NOTE, {"a": 2}, NOON_MS)
    a.write(PLACE, {"a": 2}, NOON_MS)
    b.receive(carry(a.chunk(b.standing(A.site).frontier, 0)))
    assert b.seen == 0b10101


def test_offers_travel_with_their_message_and_are_kept_only_where_it_is_encoded():
    history = History()
    a, b = recorded(A, history), recorded(B, history)
    a.write(PLACE, {"a": 1}, NOON_MS)
    chunk = a.chunk(b.standing(A.site).frontier, 0)
    assert isinstance(chunk, OfferedChunk)
    assert chunk.offered == 0b1
    assert not history.offers


def test_an_encoded_chunk_older_than_all_kept_offers_is_an_error_and_no_guess(monkeypatch):
    monkeypatch.setattr(history_module, "OFFERS_KEPT", 2)
    history = History()
    a, b = (recorded(origin, history, encoded=True) for origin in (A, B))
    base = b.standing(A.site).frontier
    chunks = []
    for number in range(3):
        a.write(PLACE, {"a": number}, NOON_MS)
        chunks.append(a.chunk(base, 0))
    assert len(history.offers[A]) == 2
    chunks.append(a.chunk(base, 0))  # the same claim once more
    assert len(history.offers[A]) == 2
    b.receive(chunks[1])
    with pytest.raises(AssertionError, match="not among its last 2"):
        recorded(C, history, encoded=True).receive(chunks[0])


def test_an_offer_made_again_counts_as_new(monkeypatch):
    monkeypatch.setattr(history_module, "OFFERS_KEPT", 2)
    history = History()
    first, second, third = (
        Frontier({"note": VersionVector({A: Entry(seq, 7)})}) for seq in (1, 2, 3)
    )
    for claim in (first, second, first, third):
        history.offered(A, claim, 0b1)
    assert history.offer(A, first) == 0b1
    with pytest.raises(AssertionError):
        history.offer(A, second)


class Watched(MemorySubject):
    """Remembers what its replica was given."""

    def __init__(self, replica: MemoryReplica) -> None:
        super().__init__(replica)
        self.cut: list[Chunk] = []
        self.taken: list[Chunk] = []
        cut, take = replica.chunk, replica.receive

        def chunk(*parts: object) -> Chunk:
            self.cut.append(cut(*parts))  # type: ignore[arg-type]
            return self.cut[-1]

        def receive(chunk: Chunk) -> Receipt:
            self.taken.append(chunk)
            return take(chunk)

        replica.chunk = chunk  # type: ignore[method-assign]
        replica.receive = receive  # type: ignore[method-assign]


def test_a_replica_gets_the_very_chunk_that_another_cut():
    """A replica may return a kind of chunk of its own, with more in it."""
    history = History()
    a, b = recorded(A, history), recorded(B, history)
    a.subject, b.subject = (Watched(site.subject.replica) for site in (a, b))  # type: ignore[arg-type]
    a.write(PLACE, {"a": 1}, NOON_MS)
    b.receive(a.chunk(b.standing(A.site).frontier, 0))
    assert b.subject.taken[0] is a.subject.cut[0]


def test_sites_that_have_seen_the_same_share_one_number():
    history = History()
    a, b = recorded(A, history), recorded(B, history)
    for number in range(100):
        a.write(PLACE, {"a": number}, NOON_MS)
    meet(a, b)
    assert a.seen is b.seen


def test_what_waits_was_not_seen_by_who_writes_over_the_row():
    clock = Clock()
    history = History()
    a, b = recorded(A, history), recorded(B, history, clock=clock)
    a.write(PLACE, {"a": 0}, NOON_MS)
    a.write(PLACE, {"a": 1}, NOON_MS)
    meet(a, b)
    ahead = recorded(C, history, clock=lambda: NOON_MS + YEAR_MS)
    meet(b, ahead)
    ahead.write(PLACE, {"a": 2}, NOON_MS + YEAR_MS)
    meet(ahead, b)
    assert b.seen == 0b111
    assert b.state().aside == 0b100
    b.write(PLACE, {"a": 3}, NOON_MS)
    b.write(PLACE, {"a": 4}, NOON_MS)  # in one changeset with the one before
    assert [write.saw for write in history.writes[-2:]] == [0b0011, 0b1011]
    b.seal()
    b.write(PLACE, {"a": 5}, NOON_MS)
    assert history.writes[-1].saw == 0b11011
    clock.ms += YEAR_MS
    assert b.state().aside == 0
    b.write(PLACE, {"a": 6}, clock.ms)
    assert history.writes[-1].saw == 0b111111


def test_twins_saw_the_twins_of_what_the_first_writes_had_seen():
    history = History()
    a = recorded(A, history)
    for value in (1, 2):
        a.write(PLACE, {"a": value}, NOON_MS)
        a.write(OTHER, {"a": value}, NOON_MS)
    a.seal()
    a.renew(2, 0)
    twins = history.of_row[PLACE][2:]
    assert [twin.saw for twin in twins] == [0, 0b100]
    assert [twin.hlc for twin in twins] == [write.hlc for write in history.of_row[PLACE][:2]]
    assert {twin.dot for twin in twins} == {Dot(Origin(A.site, 2), 1)}
    assert (a.seen, history.replaced) == (0b11110000, 0b00001111)


def test_what_is_shared_is_not_written_again():
    history = History()
    a = recorded(A, history)
    for value in (1, 2):
        a.write(PLACE, {"a": value}, NOON_MS)
        a.seal()
    a.renew(2, 1)
    assert [write.values for write in history.writes] == [{"a": 1}, {"a": 2}, {"a": 2}]
    assert (a.seen, history.replaced) == (0b101, 0b010)


def test_a_site_that_was_put_back_wrote_again_only_what_it_had_seen():
    """Two machines under one name: each writes its own branch again."""
    history = History()
    a = recorded(A, history)
    a.write(PLACE, {"a": 1}, NOON_MS)
    a.seal()
    kept, seen = a.subject.backup(), a.seen
    a.write(PLACE, {"a": 2}, NOON_MS)
    a.seal()
    a.subject, a.seen = kept(), seen
    a.renew(2, 0)
    assert [write.values for write in history.writes] == [{"a": 1}, {"a": 2}, {"a": 1}]
    assert a.seen == 0b100


def test_counts_are_always_kept_and_events_if_asked_for():
    quiet, told = History(), History(events=True)
    told.names[A.site] = "Kigali"
    for history in (quiet, told):
        a = recorded(A, history)
        a.write(PLACE, {"a": 1}, NOON_MS)
        a.delete(PLACE, NOON_MS)
        assert history.counts == {"write": 1, "delete": 1}
    assert quiet.events == []
    assert told.events == [
        ("write", "Kigali", PLACE, {"a": 1}),
        ("delete", "Kigali", PLACE, None),
    ]


def record_of(seed: int) -> list[tuple[object, ...]]:
    """What one run with every fault left on record."""
    run_of_seed = run(seed, memory_subject)
    history = run_of_seed.history
    return [
        *((w.site, w.place, w.saw, w.hlc, w.dot) for w in history.writes),
        *((site.site, site.seen) for site in run_of_seed.sites),
        (history.replaced, sorted(history.counts.items())),
    ]


def test_a_record_is_the_same_whether_it_travels_or_is_looked_up_and_remembers_or_not(monkeypatch):
    seeds = range(12)
    plain = [record_of(seed) for seed in seeds]
    monkeypatch.setattr(fleet, "RecordedSite", partial(RecordedSite, encoded=True))
    assert [record_of(seed) for seed in seeds] == plain
    monkeypatch.setattr(history_module, "FEW", 0)
    assert [record_of(seed) for seed in seeds] == plain


class Stampless(MemorySubject):
    """A rival of which nobody can see when a cell was written."""

    def rows(self) -> Mapping[Place, Row]:
        nothing = Stamp(0, Origin(A.site, 0), 0)
        return {
            place: Row({name: Cell(nothing, cell.value) for name, cell in row.cells.items()})
            for place, row in self.replica.rows.items()
        }


def test_a_rival_whose_stamps_say_nothing_is_on_record_and_judged_by_its_values():
    history = History()
    a, b = recorded(A, history), recorded(B, history)
    for site in (a, b):
        site.subject = Stampless(site.subject.replica)  # type: ignore[arg-type]
    a.write(PLACE, {"a": 1, "b": 1}, NOON_MS)
    meet(a, b)
    b.write(PLACE, {"a": 2}, NOON_MS)
    meet(a, b)
    assert [write.saw for write in history.writes] == [0, 0b1]
    ending = Ending(history, [a.state(), b.state()])
    for name in ("state", "log", "lost-writes", "causality"):
        CHECKERS[name](ending)
    for site in (a, b):  # the old value came back, everywhere
        site.subject.replica.rows[PLACE] = Row(  # type: ignore[attr-defined]
            {name: Cell(Stamp(1, A, 1), 1) for name in ("a", "b")}
        )
    with pytest.raises(AssertionError, match="2 was lost in silence"):
        CHECKERS["lost-writes"](Ending(history, [a.state(), b.state()]))
