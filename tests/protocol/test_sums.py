"""Sums over (row key, dots, delete): equal for equal rows, different for likely accidents."""

from row_examples import KEY, OTHER_KEY, A, B, at, cell

from syncproto.row import Row
from syncproto.sums import row_sum, sum_of


def test_cells_of_one_changeset_count_once():
    one = Row({"a": cell(at(5), 1), "b": cell(at(5), 2)})
    assert sum_of(KEY, one) == row_sum(KEY, [at(5)])


def test_the_same_changeset_in_another_row_counts_differently():
    assert row_sum(KEY, [at(5)]) != row_sum(b"\1" * 8 + b"\2" * 8, [at(5)])
    assert row_sum(b"\0" * 15 + b"\1", [at(5)]) != row_sum(b"\0" * 15 + b"\2", [at(5)])


def test_a_delete_and_a_cell_of_one_changeset_count_differently():
    assert row_sum(OTHER_KEY, [at(5)]) != row_sum(OTHER_KEY, [], [at(5)])


def test_the_reading_of_a_stamp_does_not_count_but_its_dot_does():
    assert row_sum(KEY, [at(5)]) == row_sum(KEY, [at(6)])
    assert row_sum(KEY, [at(5, A)]) != row_sum(KEY, [at(5, B)])
    assert row_sum(KEY, [at(5, A, 1)]) != row_sum(KEY, [at(5, A, 2)])
