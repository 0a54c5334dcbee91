"""The merge: the greater stamp by cell, deletes by what they saw, conflicts named once."""

from hypothesis import given
from row_examples import KEY, A, B, C, at, cell, histories

from syncproto.identity import RowKey
from syncproto.merge import Conflict, lost, merged, outlived, same_value
from syncproto.row import EMPTY, Delete, Reference, Row, Stamp, deletion, written

NEVER = lambda _stamp: False  # noqa: E731
ALWAYS = lambda _stamp: True  # noqa: E731


def conflicts(ours: Row, theirs: Row, we_saw=NEVER, they_saw=NEVER) -> list[Conflict]:
    return list(lost("t", KEY, ours, theirs, we_saw=we_saw, they_saw=they_saw))


# The merge itself


def test_each_cell_goes_to_its_greater_stamp():
    ours = Row({"a": cell(at(5, A), 1), "b": cell(at(5, A), 2)})
    theirs = Row({"a": cell(at(6, B), 3), "c": cell(at(4, B), 4)})
    both = {"a": cell(at(6, B), 3), "b": cell(at(5, A), 2), "c": cell(at(4, B), 4)}
    assert merged(ours, theirs) == merged(theirs, ours) == Row(both)


def test_equal_readings_are_ordered_by_origin_then_by_number():
    low, high = Row({"a": cell(at(5, A, 9), 1)}), Row({"a": cell(at(5, B, 1), 2)})
    assert merged(low, high) == merged(high, low) == high


@given(histories())
def test_merging_is_commutative_associative_and_idempotent(parts):
    one, other, third = parts[0], parts[len(parts) // 2], parts[-1]
    assert merged(one, other) == merged(other, one)
    assert merged(merged(one, other), third) == merged(one, merged(other, third))
    assert merged(one, one) == one
    whole = EMPTY
    for part in parts:
        whole = merged(whole, part)
    backwards = EMPTY
    for part in reversed(parts):
        backwards = merged(part, backwards)
    assert whole == backwards
    assert all(merged(whole, part) == whole for part in parts)


# Deletes


def test_a_row_is_dead_when_its_deleter_had_seen_every_cell():
    row = Row({"a": cell(at(5, A), 1)})
    assert row.alive
    assert not deletion(row, at(6, B)).alive


def test_an_edit_that_no_deleter_had_seen_survives_an_earlier_and_a_later_delete():
    """Rule B1: stamps do not decide between an edit and a delete."""
    row = Row({"a": cell(at(5, A), 1), "b": cell(at(5, A), 2)})
    edit = Row({"a": cell(at(7, C), 3)})
    for delete_hlc in (6, 8):
        assert merged(deletion(row, at(delete_hlc, B)), edit).alive


def test_of_two_deletes_that_had_not_seen_each_other_both_stamps_stay():
    row = Row({"a": cell(at(5, A), 1)})
    both = merged(deletion(row, at(6, B)), deletion(row, at(7, C)))
    assert both.delete == Delete((at(6, B), at(7, C)), {A: 1})


def test_what_either_of_two_deleters_had_seen_is_dead():
    row = Row({"a": cell(at(5, A), 1)})
    edited = merged(row, Row({"a": cell(at(6, C), 2)}))
    seen_edit, unseen_edit = deletion(edited, at(7, A, 2)), deletion(row, at(8, B))
    both = merged(seen_edit, unseen_edit)
    assert both == merged(unseen_edit, seen_edit)
    assert not both.alive


def test_a_delete_that_had_seen_another_takes_its_place():
    row = Row({"a": cell(at(5, A), 1)})
    first = deletion(row, at(6, B))
    inserted = merged(first, Row({"a": cell(at(7, C), 2)}))
    second = deletion(inserted, at(8, A, 2))
    assert second.delete == Delete((at(8, A, 2),), {A: 1, B: 1, C: 1})
    assert merged(first, second) == merged(second, first) == second


def test_delete_and_insert_of_one_row_in_one_changeset_end_as_they_were_written():
    row = deletion(Row({"a": cell(at(5, A, 1), 1)}), at(6, A, 2))
    assert not row.alive
    assert merged(row, Row({"a": cell(at(7, A, 2), 2)})).alive
    written = Row({"a": cell(at(7, A, 2), 2)})
    assert not deletion(written, at(8, A, 2)).alive


def test_an_origin_surely_saw_what_it_wrote_before_its_own_delete():
    delete = Delete((at(9, A, 5),), {})
    assert delete.saw(at(3, A, 4))
    assert not delete.saw(at(3, A, 6))
    assert not delete.saw(at(3, B, 1))


# Deletes that win


ROW = Row({"a": cell(at(5, A), 1), "b": cell(at(5, A), 2)})
GONE = deletion(ROW, at(7, B), wins=True)


def test_a_delete_that_wins_kills_edits_that_it_had_not_seen_earlier_and_later():
    for hlc in (6, 8):
        edited = merged(ROW, Row({"a": cell(at(hlc, C), 3)}))
        both = merged(GONE, edited)
        assert both == merged(edited, GONE)
        assert not both.alive
        assert both.delete == Delete((at(7, B),), {A: 1}, frozenset([at(7, B)]))


def test_beside_a_delete_that_wins_one_that_does_not_makes_no_row_alive():
    edited = merged(ROW, Row({"a": cell(at(6, C), 3)}))
    both = merged(merged(GONE, deletion(ROW, at(8, A, 2))), edited)
    assert both.delete == Delete((at(7, B), at(8, A, 2)), {A: 1}, frozenset([at(7, B)]))
    assert not both.alive


def test_who_writes_a_row_again_after_seeing_it_deleted_takes_that_back():
    again = written(GONE, {"a": 4}, at(8, C))
    assert again.cells == {"a": cell(at(8, C), 4), "b": cell(at(5, A), 2)}
    assert again.delete == Delete((at(8, C),), {A: 1, B: 1})
    assert again.alive
    # Whoever hears of it has the row back, and what nobody had seen of it, too.
    edited = merged(ROW, Row({"b": cell(at(6, A, 2), 5)}))
    for heard in (GONE, merged(GONE, edited)):
        assert merged(heard, again).alive
        assert merged(heard, again) == merged(again, heard)


def test_a_row_may_be_deleted_and_written_again_any_number_of_times():
    row = ROW
    for seq in range(2, 6):
        row = deletion(row, at(10 * seq, B, seq), wins=True)
        assert not row.alive
        row = written(row, {"a": seq}, at(10 * seq + 1, C, seq))
        assert row.alive
        assert row.delete == Delete((at(10 * seq + 1, C, seq),), row.delete.seen)


def test_delete_and_insert_in_one_changeset_take_the_delete_back_too():
    row = deletion(ROW, at(7, B), wins=True)
    row = written(row, {"a": 4}, at(8, B))
    assert row.alive
    assert row.delete == Delete((at(8, B),), {A: 1})
    assert merged(GONE, row) == row


def test_a_delete_that_wins_and_had_not_seen_the_row_written_again_kills_it():
    again = written(GONE, {"a": 4}, at(8, C))
    unaware = deletion(ROW, at(6, A, 2), wins=True)
    assert not merged(again, unaware).alive


@given(histories())
def test_a_row_under_a_standing_mark_is_dead_whatever_else_arrives(parts):
    whole = EMPTY
    for part in parts:
        whole = merged(whole, part)
    marked = {stamp for part in parts if part.delete for stamp in part.delete.wins}
    standing = {stamp for stamp in marked if not whole.delete.saw(stamp)}
    assert whole.delete is None or whole.delete.wins == standing
    assert not (standing and whole.alive)


# Conflicts


def test_each_cell_that_a_delete_kills_is_a_conflict_from_either_side():
    edited = Row({"a": cell(at(6, C), 3), "b": cell(at(9, C, 2), 4)})
    expected = [
        Conflict("t", KEY, "a", at(7, B), at(6, C), None, 3, True),
        Conflict("t", KEY, "b", at(7, B), at(9, C, 2), None, 4, True),
    ]
    alone = Row({}, GONE.delete)
    assert conflicts(alone, edited) == conflicts(edited, alone) == expected
    assert len({conflict.name for conflict in expected}) == 2
    # Nothing of it is said again where both are already, and nothing to who knew.
    both = merged(alone, edited)
    assert conflicts(both, edited) == conflicts(both, alone) == conflicts(both, both) == []
    assert conflicts(alone, edited, they_saw=ALWAYS) == []


def test_a_delete_kills_no_cell_that_says_what_its_author_saw():
    edited = merged(ROW, Row({"a": cell(at(6, C), 1)}))
    assert conflicts(GONE, edited) == []


def test_what_a_second_deleter_had_seen_is_no_conflict_with_the_first():
    edited = merged(ROW, Row({"a": cell(at(6, C), 3)}))
    knowing = deletion(edited, at(8, C, 2))
    assert [c for c in conflicts(GONE, knowing) if c.deleted] == []


def test_a_delete_that_was_taken_back_kills_nothing():
    again = written(GONE, {"a": 4}, at(8, C))
    edited = merged(ROW, Row({"b": cell(at(6, A, 2), 5)}))
    for ours, theirs in ((again, edited), (edited, again)):
        assert [c for c in conflicts(ours, theirs) if c.deleted or not c.column] == []


def test_a_pair_that_had_not_seen_each_other_is_one_conflict_from_either_side():
    ours, theirs = Row({"a": cell(at(5, A), 1)}), Row({"a": cell(at(6, B), 2)})
    expected = Conflict("t", KEY, "a", at(6, B), at(5, A), 2, 1)
    assert conflicts(ours, theirs) == conflicts(theirs, ours) == [expected]
    assert conflicts(ours, theirs)[0].name == conflicts(theirs, ours)[0].name


def test_what_one_author_had_seen_is_no_conflict():
    ours, theirs = Row({"a": cell(at(5, A), 1)}), Row({"a": cell(at(6, B), 2)})
    assert conflicts(ours, theirs, they_saw=ALWAYS) == []
    assert conflicts(ours, theirs, we_saw=ALWAYS) == []


def test_equal_values_and_two_writes_of_one_origin_are_no_conflict():
    ours = Row({"a": cell(at(5, A), 1)})
    assert conflicts(ours, Row({"a": cell(at(6, B), 1)})) == []
    assert conflicts(ours, Row({"a": cell(at(6, A, 2), 2)})) == []


def test_values_are_equal_only_within_a_kind():
    assert same_value(1, 1.0)
    assert not same_value("1", 1)
    assert not same_value(b"1", "1")
    assert not same_value(None, "")


def test_an_undone_delete_is_a_conflict_with_the_edit_that_undid_it():
    row = Row({"a": cell(at(5, A), 1)})
    deleted, edited = deletion(row, at(7, B)), merged(row, Row({"a": cell(at(6, C), 2)}))
    expected = Conflict("t", KEY, "", at(6, C), at(7, B), None, None)
    for ours, theirs in ((deleted, edited), (edited, deleted)):
        assert [c for c in conflicts(ours, theirs) if not c.column] == [expected]


def test_every_delete_that_an_edit_undoes_is_named():
    """Found by seed 656: the later of two deletes was the editor's own, and hid the other."""
    row = Row({"a": cell(at(5, C), 1)})
    own = deletion(row, at(7, B, 1))
    again = merged(own, Row({"a": cell(at(8, B, 2), 2)}))
    both = merged(own, deletion(row, at(6, A)))
    named = [c for c in conflicts(again, both, we_saw=lambda s: s.origin != A) if not c.column]
    assert named == [Conflict("t", KEY, "", at(8, B, 2), at(6, A), None, None)]


def test_a_delete_that_gives_way_to_rows_that_refer_names_the_latest_of_them():
    deleted = merged(
        deletion(Row({"a": cell(at(5, A), 1)}), at(7, A, 2)),
        deletion(Row({"a": cell(at(5, A), 1)}), at(8, C)),
    )
    children = [
        (Reference("child", RowKey(bytes([number]) * 16)), Row({"a": cell(stamp, 1)}))
        for number, stamp in enumerate([at(6, B, 1), at(9, B, 2), at(4, C)])
    ]

    def found(we_saw: object, they_saw: object) -> list[Conflict]:
        saw = {"we_saw": lambda _table: we_saw, "they_saw": lambda _table: they_saw}
        return list(outlived("t", KEY, deleted, children, **saw))

    def deletes(stamp: Stamp) -> bool:
        return stamp in deleted.delete.stamps

    def written(stamp: Stamp) -> bool:
        return not deletes(stamp)

    by_the_second = children[1][0]
    of_both = [
        Conflict("t", KEY, "", at(9, B, 2), at(7, A, 2), by_the_second, None),
        Conflict("t", KEY, "", at(9, B, 2), at(8, C), by_the_second, None),
    ]
    # Here the deletes, there the children; and the other way round.
    assert found(deletes, written) == of_both
    assert found(written, deletes) == of_both
    # Whoever had both before has said it before; and nobody contradicts himself.
    assert found(ALWAYS, ALWAYS) == found(deletes, ALWAYS) == found(written, ALWAYS) == []
    assert [
        c.loser
        for c in outlived(
            "t", KEY, deleted, children[2:], we_saw=lambda _: deletes, they_saw=lambda _: written
        )
    ] == [at(7, A, 2)]


def test_a_killed_edit_did_not_give_way_to_what_the_deleter_wrote_before():
    """The deleter's own value, later by the clock, is gone with the row."""
    own = merged(ROW, Row({"a": cell(at(7, B), 4)}))
    edited = merged(ROW, Row({"a": cell(at(6, C), 3)}))
    killed = Conflict("t", KEY, "a", at(8, B, 2), at(6, C), None, 3, True)
    gone = deletion(own, at(8, B, 2), wins=True)
    assert conflicts(gone, edited) == conflicts(edited, gone) == [killed]
    # So, too, where the edit is the later write.
    late = merged(ROW, Row({"a": cell(at(9, C), 3)}))
    killed = Conflict("t", KEY, "a", at(8, B, 2), at(9, C), None, 3, True)
    assert conflicts(gone, late) == conflicts(late, gone) == [killed]


def test_an_edit_that_gives_way_to_a_value_undoes_no_delete_that_saw_it():
    own = merged(ROW, Row({"a": cell(at(7, B), 4)}))
    edited = merged(ROW, Row({"a": cell(at(6, C), 3)}))
    gone = deletion(own, at(8, B, 2))
    assert not merged(gone, edited).alive
    gave_way = Conflict("t", KEY, "a", at(7, B), at(6, C), 4, 3)
    assert conflicts(gone, edited) == conflicts(edited, gone) == [gave_way]
