"""The judges themselves: each lets a good run pass and fails on a run made by hand to break it."""

from dataclasses import replace

import pytest
from checkers import (
    check_all,
    check_causality,
    check_log,
    check_lost_writes,
    check_oracle,
    check_state,
)
from history import History, SiteState
from row_examples import KEY, NOON_MS, A, B, at

from syncproto.clock import hlc_at
from syncproto.frontier import Entry, Frontier, VersionVector
from syncproto.identity import Dot, SiteId
from syncproto.row import Cell, Delete, Row

PLACE = ("patient", KEY)
FIRST, SECOND = hlc_at(NOON_MS), hlc_at(NOON_MS + 1)


def two_writes(*, seen: bool) -> History:
    """A writes 1, then B writes 2 a millisecond later, having seen it or not."""
    history = History()
    one = history.wrote(A.site, PLACE, {"a": 1}, 0, NOON_MS)
    history.sealed([one], Dot(A, 1), 7)
    other = history.wrote(B.site, PLACE, {"a": 2}, 1 if seen else 0, NOON_MS + 1)
    history.sealed([other], Dot(B, 1), 8)
    return history


RECORD = ("patient", KEY, "a", at(FIRST, A), at(SECOND, B))
FRONTIER = Frontier({"patient": VersionVector({A: Entry(1, 7), B: Entry(1, 8)})})
SECOND_STANDS = Row({"a": Cell(at(SECOND, B), 2)})
FIRST_STANDS = Row({"a": Cell(at(FIRST, A), 1)})


def states(row: Row = SECOND_STANDS, *conflicts) -> list[SiteState]:
    """Two sites that hold the same."""
    return [
        SiteState(
            site=SiteId(letter * 16),
            tables=frozenset({"patient"}),
            seen=0b11,
            rows={PLACE: row},
            visible={PLACE: {name: cell.value for name, cell in row.cells.items()}},
            conflicts=frozenset(conflicts),
            frontier=FRONTIER,
            nonces={Dot(A, 1): 7, Dot(B, 1): 8},
        )
        for letter in (b"A", b"B")
    ]


def test_good_runs_pass_all_judges():
    check_all(two_writes(seen=True), states())
    check_all(two_writes(seen=False), states(SECOND_STANDS, RECORD))


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": {PLACE: FIRST_STANDS}},
        {"rows": {}},
        {"visible": {}},
        {"conflicts": frozenset({RECORD})},
        {"aside": 0b1},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_state_fails_when_two_sites_hold_different_things(wrong):
    good, other = states()
    with pytest.raises(AssertionError):
        check_state(History(), [good, replace(other, **wrong)])


def test_state_says_nothing_of_tables_that_only_one_site_keeps():
    good, other = states()
    check_state(History(), [good, replace(other, tables=frozenset({"note"}), rows={})])


def test_log_fails_when_a_number_names_two_changesets():
    good, other = states()
    with pytest.raises(AssertionError, match="names two changesets"):
        check_log(two_writes(seen=True), [good, replace(other, nonces={Dot(A, 1): 9})])
    history = two_writes(seen=True)
    history.seals[Dot(A, 1)].add(9)
    with pytest.raises(AssertionError, match="sealed twice"):
        check_log(history, [good, other])
    history.rolled_back.add(A.site)  # it could not know, and all agree on one in the end
    check_log(history, [good, other])


def test_log_fails_when_frontiers_differ_after_the_quiet():
    good, other = states()
    behind = Frontier({"patient": VersionVector({A: Entry(1, 7)})})
    with pytest.raises(AssertionError, match="differ after the quiet"):
        check_log(two_writes(seen=True), [good, replace(other, frontier=behind)])


def test_oracle_fails_when_a_lesser_stamp_stands_everywhere():
    with pytest.raises(AssertionError):
        check_oracle(two_writes(seen=False), states(FIRST_STANDS))


def test_oracle_fails_when_a_site_has_not_seen_what_survives():
    good, other = states()
    with pytest.raises(AssertionError, match="has not seen"):
        check_oracle(two_writes(seen=True), [good, replace(other, seen=0b10)])


def test_oracle_fails_when_an_unseen_edit_is_dead():
    """B edits, A deletes without having seen it: the row must be alive (rule B1)."""
    history = History()
    inserted = history.wrote(A.site, PLACE, {"a": 1}, 0, NOON_MS)
    history.sealed([inserted], Dot(A, 1), 7)
    edit = history.wrote(B.site, PLACE, {"a": 2}, 0b1, NOON_MS + 1)
    history.sealed([edit], Dot(B, 1), 8)
    delete = history.wrote(A.site, PLACE, None, 0b1, NOON_MS + 2)
    history.sealed([delete], Dot(A, 2), 9)
    alive = Row(SECOND_STANDS.cells, Delete((at(delete.hlc, A, 2),), {A: 1}))
    dead = Row(SECOND_STANDS.cells, Delete((at(delete.hlc, A, 2),), {A: 1, B: 1}))
    check_oracle(history, [replace(site, seen=0b111) for site in states(alive)])
    with pytest.raises(AssertionError, match="alive"):
        check_oracle(history, [replace(site, seen=0b111) for site in states(dead)])
    with pytest.raises(AssertionError, match="undone in silence"):
        check_lost_writes(history, [replace(site, seen=0b111) for site in states(alive)])


def test_lost_writes_fails_when_a_loser_is_on_record_nowhere_or_not_everywhere():
    with pytest.raises(AssertionError, match="lost in silence"):
        check_lost_writes(two_writes(seen=False), states())
    good, other = states(SECOND_STANDS, RECORD)
    with pytest.raises(AssertionError, match="lost in silence"):
        check_lost_writes(two_writes(seen=False), [good, replace(other, conflicts=frozenset())])


def test_a_write_that_died_with_its_site_is_not_missed():
    alone = [replace(site, seen=0b10) for site in states()]
    check_lost_writes(two_writes(seen=False), alone)


def test_causality_fails_when_a_value_beats_the_write_made_after_reading_it():
    with pytest.raises(AssertionError, match="wrote over"):
        check_causality(two_writes(seen=True), states(FIRST_STANDS))
    history = two_writes(seen=True)
    history.writes[1].hlc = FIRST - 1
    with pytest.raises(AssertionError, match="stamped before"):
        check_causality(history, states())
