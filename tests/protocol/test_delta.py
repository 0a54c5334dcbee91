"""Deltas: what a base leaves out, where a delta starts, blocks, and claims (A1, A7, A9)."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from row_examples import KEY, OTHER_KEY, A, B, C, at, cell, replica

from syncproto.delta import Block, Cursor, LedgerLine, blocks_of, start_lsn, uncovered
from syncproto.frontier import NOTHING, Entry, Frontier, VersionVector
from syncproto.identity import Dot, RowKey
from syncproto.replica import Receipt
from syncproto.row import Delete, Reference, Row, deletion

KNOWS_A1 = VersionVector({A: Entry(1, 7)})


def test_only_cells_and_deletes_above_the_base_travel():
    row = Row({"a": cell(at(5, A, 1), 1), "b": cell(at(6, A, 2), 2)})
    assert uncovered(row, KNOWS_A1) == Row({"b": cell(at(6, A, 2), 2)})
    assert uncovered(row, VersionVector({A: Entry(2, 7)})) is None
    assert uncovered(deletion(row, at(7, B)), VersionVector({A: Entry(2, 7)})) == Row(
        {}, Delete((at(7, B),), {A: 2})
    )


def test_two_deletes_in_one_travel_until_both_are_known():
    both = Row({}, Delete((at(6, A, 1), at(7, B, 1)), {}))
    assert uncovered(both, KNOWS_A1) == both
    assert uncovered(both, VersionVector({A: Entry(1, 7), B: Entry(1, 7)})) is None


def test_a_delta_starts_at_the_first_arrival_that_the_base_lacks():
    ledger = [LedgerLine(Dot(A, 1), 1), LedgerLine(Dot(B, 1), 4), LedgerLine(Dot(A, 2), 9)]
    assert start_lsn(ledger, Frontier({"t": NOTHING}), ["t"]) == 1
    assert start_lsn(ledger, Frontier({"t": KNOWS_A1}), ["t"]) == 4
    everything = VersionVector({A: Entry(2, 7), B: Entry(1, 7)})
    assert start_lsn(ledger, Frontier({"t": everything}), ["t"]) is None
    # The table of which the base knows least decides.
    assert start_lsn(ledger, Frontier({"t": everything, "u": NOTHING}), ["t", "u"]) == 1


keys = st.sampled_from([KEY, OTHER_KEY])
stamps = st.builds(at, st.integers(1, 4), st.sampled_from([A, B]), st.integers(1, 3))
values = st.none() | st.integers(0, 3) | st.just("x") | st.builds(Reference, st.just("u"), keys)
cells = st.dictionaries(st.sampled_from("abc"), st.builds(cell, stamps, values), max_size=3)
deletes = st.builds(lambda stamp: Delete((stamp,), {A: 1}), stamps)
rows = st.builds(Row, cells, st.none() | deletes).filter(lambda row: row.cells or row.delete)


@given(st.lists(st.tuples(st.sampled_from("tu"), keys, rows), max_size=6))
def test_rows_come_out_of_blocks_as_they_went_in(given_rows):
    found = [(b.table, key, row) for b in blocks_of(given_rows) for key, row in b.rows()]
    assert len(found) == len(given_rows)
    assert all(found.count(item) == given_rows.count(item) for item in given_rows)


def test_rows_with_the_same_columns_share_a_block_and_mostly_a_stamp():
    row = Row({"a": cell(at(5), 1), "b": cell(at(5), 2)})
    odd = Row({"a": cell(at(5), 3), "b": cell(at(6, B), 4)})
    expected = Block(
        "t", ("a", "b"), {}, [KEY, OTHER_KEY], [at(5), at(6, B)], [(1, 2), (3, 4)],
        odd={1: {0: at(5)}},
    )  # fmt: skip
    assert blocks_of([("t", KEY, row), ("t", OTHER_KEY, odd)]) == (expected,)


# Chunks, staging and claims


def three_rows(rows_max: int = 1):
    sender = replica(A, rows_max=rows_max)
    for number in range(3):
        sender.write("t", RowKey(bytes([number]) * 16), {"a": number})
    return sender


def test_nothing_is_applied_or_claimed_before_the_delta_is_complete():
    """Rule A1: a claim for part of a delta would cover what its sender alone could bring."""
    sender, receiver = three_rows(), replica(B)
    base, after, receipts = receiver.frontier, 0, []
    for _ in range(3):
        assert (receiver.rows, receiver.frontier.seq(A)) == ({}, 0)
        chunk = sender.chunk(base, after)
        receipts.append(receiver.receive(chunk))
        after = chunk.upto
    assert receipts == [Receipt(True, False), Receipt(True, False), Receipt(True, True)]
    assert (receiver.rows, receiver.frontier) == (sender.rows, sender.frontier)


def test_a_dead_relay_takes_nothing_with_it():
    """Rule A1, `dead_relay_model.py`: R overwrote B's value, broke off and died; B still has
    it, and C must not believe that it knows it."""
    author, relay, receiver = replica(B), replica(A, rows_max=1), replica(C)
    author.write("t", KEY, {"a": "Y"})
    relay.receive(author.chunk(relay.frontier, 0))
    relay.write("u", OTHER_KEY, {"a": "first on the way"})
    relay.seal()
    relay.write("t", KEY, {"a": "Z"})
    first = relay.chunk(receiver.frontier, 0)
    assert first.claim is None
    receiver.receive(first)  # and the relay is never heard of again
    receiver.receive(author.chunk(receiver.standing(B.site).frontier, 0))
    assert receiver.read("t", KEY) == {"a": "Y"}


def test_a_chunk_with_rows_changed_meanwhile_is_from_its_own_moment():
    """Rule A7: what changes between two chunks travels again, with the later one."""
    sender, receiver = three_rows(), replica(B)
    first = sender.chunk(receiver.frontier, 0)
    receiver.receive(first)
    sender.write("t", RowKey(bytes(16)), {"a": "changed"})
    after = first.upto
    while not receiver.receive(chunk := sender.chunk(receiver.frontier, after)).applied:
        after = chunk.upto
    assert receiver.rows == sender.rows
    assert receiver.read("t", RowKey(bytes(16))) == {"a": "changed"}


def test_a_claim_without_its_base_is_refused():
    """Rule A9, `bundle_base_model.py`: bundle 2 alone must not hide that bundle 1 is lost."""
    sender, receiver = replica(A), replica(B)
    sender.write("t", KEY, {"a": 1})
    first = sender.chunk(receiver.frontier, 0)
    sender.write("t", OTHER_KEY, {"a": 2})
    second = sender.chunk(sender_told(first), 0)
    assert receiver.receive(second) == Receipt(taken=False, applied=False)
    assert receiver.frontier.seq(A) == 0
    assert receiver.receive(first).applied
    assert receiver.receive(second).applied
    assert receiver.rows == sender.rows


def sender_told(chunk):
    assert chunk.claim is not None
    return chunk.claim


def test_a_delta_applied_twice_changes_nothing():
    sender, receiver = three_rows(rows_max=9), replica(B)
    chunk = sender.chunk(receiver.frontier, 0)
    receiver.receive(chunk)
    before = (dict(receiver.rows), receiver.frontier, dict(receiver.sums), receiver.lsn)
    assert receiver.receive(chunk).applied
    assert (dict(receiver.rows), receiver.frontier, dict(receiver.sums), receiver.lsn) == before


def test_a_late_part_of_an_older_delta_does_not_end_a_newer_one():
    """Found by seed 895: the older claim did not cover what was staged by then."""
    sender, receiver = three_rows(), replica(B)
    first = sender.chunk(receiver.frontier, 0)
    receiver.receive(first)
    late = sender.chunk(receiver.frontier, first.upto)
    receiver.receive(late)
    last = sender.chunk(receiver.frontier, late.upto)
    assert last.claim is not None
    assert receiver.receive(replace(late, claim=last.claim)) == Receipt(False, False)
    assert receiver.stages[A.site].cursor == Cursor(A, late.upto)


def test_a_sender_under_a_new_origin_starts_its_delta_again():
    sender, receiver = three_rows(), replica(B)
    first = sender.chunk(receiver.frontier, 0)
    receiver.receive(first)
    sender.renew(2, 1)
    assert not receiver.receive(sender.chunk(receiver.frontier, first.upto)).taken
    assert receiver.receive(sender.chunk(receiver.frontier, 0)).taken


def test_only_tables_that_both_keep_travel_and_are_claimed():
    sender, receiver = replica(A), replica(B, tables=("t",))
    sender.write("t", KEY, {"a": 1})
    sender.write("u", KEY, {"a": 2})
    chunk = sender.chunk(receiver.frontier, 0)
    assert [block.table for block in chunk.blocks] == ["t"]
    assert chunk.claim is not None
    assert chunk.claim.scopes == {"t"}
    receiver.receive(chunk)
    assert set(receiver.rows) == {("t", KEY)}


def test_conflict_records_travel_before_rows():
    """Rule A13: whoever hears of the winner has heard of the loser."""
    one, other, third = replica(A), replica(B), replica(C)
    one.write("t", KEY, {"a": 1})
    other.write("t", KEY, {"a": 2})
    one.receive(other.chunk(one.frontier, 0))
    chunk = one.chunk(third.frontier, 0)
    third.receive(chunk)
    assert [record.conflict.losing for record in chunk.records] == [1]
    assert set(third.conflicts) == set(one.conflicts)


def test_a_chunk_is_cut_to_size_and_says_what_is_left():
    sender = replica(A, rows_max=2)
    for number in range(5):
        sender.write("t", RowKey(bytes([number]) * 16), {"a": number})
    sizes, after = [], 0
    for _ in range(3):
        chunk = sender.chunk(Frontier({"t": NOTHING}), after)
        sizes.append((chunk.row_count, chunk.total))
        after = chunk.upto
    assert sizes == [(2, 3), (2, 1), (1, 0)]
