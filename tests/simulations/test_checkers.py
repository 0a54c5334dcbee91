"""The judges themselves: each lets good runs pass and refuses runs made by hand to break it.

The runs have two or three sites and mostly one row. `run_of` writes their history, `sites` says
what the sites hold at the end, and a test changes one thing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from row_examples import KEY, NOON_MS, OTHER_KEY, A, B, C, at

from syncproto.clock import hlc_at
from syncproto.frontier import Entry, Frontier, VersionVector
from syncproto.identity import Dot, Origin
from syncproto.row import Cell, Delete, Row, Stamp
from syncsim.checkers import CHECKERS, CheckError, Ending, check_all, consistent
from syncsim.checkers.lost_writes import lost
from syncsim.history import History, SiteState, Write
from syncsim.subject import Place

PLACE: Place = ("patient", KEY)
OTHER: Place = ("patient", OTHER_KEY)
NOTE: Place = ("note", KEY)
ROW = f"patient {KEY.hex()}"

FIRST, SECOND, THIRD, FOURTH = (hlc_at(NOON_MS + ms) for ms in range(4))
NAMES = {A.site: "Kigali", B.site: "Butare", C.site: "Rwinkwavu"}


def run_of(
    *writes: tuple[Origin, Mapping[str, Any] | None, int], delete_wins: Sequence[str] = ()
) -> History:
    """Writes of one row, a millisecond apart: by whom, what, and which of the row they saw."""
    history = History(delete_wins=delete_wins)
    history.names.update(NAMES)
    for ms, (origin, values, saw) in enumerate(writes):
        add(history, origin, PLACE, values, saw, NOON_MS + ms)
    return history


def add(
    history: History,
    origin: Origin,
    place: Place,
    values: Mapping[str, Any] | None,
    saw: int,
    wall_ms: int,
) -> Write:
    """One write, which is a changeset of its own; its nonce is a thousand and its number."""
    write = history.wrote(origin.site, place, values, saw, wall_ms)
    seq = sum(dot.origin == origin for dot in history.seals) + 1
    history.sealed([write], Dot(origin, seq), 1_000 + write.number)
    return write


def sites(
    history: History,
    rows: Mapping[Place, Row],
    *conflicts: Any,
    who: Sequence[Origin] = (A, B),
    tables: Sequence[str] = ("patient",),
) -> list[SiteState]:
    """Sites that have seen everything and hold the same."""
    entries: dict[Origin, Entry] = {}
    for dot, nonces in history.seals.items():
        entries[dot.origin] = Entry(dot.seq, nonces[0])
    return [
        SiteState(
            site=origin.site,
            tables=frozenset(tables),
            seen=(1 << len(history.writes)) - 1,
            rows=dict(rows),
            visible={
                p: {n: cell.value for n, cell in row.cells.items()} for p, row in rows.items()
            },
            conflicts=frozenset(conflicts),
            frontier=Frontier(dict.fromkeys(tables, VersionVector(entries))),
            nonces={dot: nonces[0] for dot, nonces in history.seals.items()},
        )
        for origin in who
    ]


def row(*cells: tuple[str, int, Origin, int, Any], delete: Delete | None = None) -> Row:
    """A row of cells: name, reading, origin, number, value."""
    return Row(
        {name: Cell(Stamp(hlc, o, seq), value) for name, hlc, o, seq, value in cells}, delete
    )


def changed(states: Sequence[SiteState], which: int, **parts: Any) -> list[SiteState]:
    return [
        replace(site, **parts) if number == which else site for number, site in enumerate(states)
    ]


def refused(checker: str, ending: Ending) -> str:
    """What the judge has to say."""
    with pytest.raises(CheckError) as caught:
        CHECKERS[checker](ending)
    return str(caught.value)


# Runs that are good: A writes 1, then B writes 2 having seen it, or not.

SEEN = run_of((A, {"a": 1}, 0), (B, {"a": 2}, 0b1))
UNSEEN = run_of((A, {"a": 1}, 0), (B, {"a": 2}, 0))
FIRST_STANDS = row(("a", FIRST, A, 1, 1))
SECOND_STANDS = row(("a", SECOND, B, 1, 2))
RECORD = (*PLACE, "a", at(FIRST, A), at(SECOND, B))

SEEN_STATES = sites(SEEN, {PLACE: SECOND_STANDS})
UNSEEN_STATES = sites(UNSEEN, {PLACE: SECOND_STANDS}, RECORD)

# B edits a row, A deletes it without having seen the edit: it lives, and that is on record.
UNDONE = run_of((A, {"a": 1}, 0), (B, {"a": 2}, 0b1), (A, None, 0b1))
UNDONE_RECORD = (*PLACE, "", at(SECOND, B), at(THIRD, A, 2))
UNDONE_ROW = Row(SECOND_STANDS.cells, Delete((at(THIRD, A, 2),), {A: 1}))
UNDONE_STATES = sites(UNDONE, {PLACE: UNDONE_ROW}, UNDONE_RECORD)

# A deletes a row after it has seen B's edit.
DELETED = run_of((A, {"a": 1}, 0), (B, {"a": 2}, 0b1), (A, None, 0b11))
DELETED_ROW = Row(SECOND_STANDS.cells, Delete((at(THIRD, A, 2),), {A: 1, B: 1}))
DELETED_STATES = sites(DELETED, {PLACE: DELETED_ROW})

# The same where deletes win: the row is dead, and the value that died is on record.
KILLED_WRITES = ((A, {"a": 1}, 0), (B, {"a": 2}, 0b1), (A, None, 0b1))
KILLED = run_of(*KILLED_WRITES, delete_wins=("patient",))
KILLED_RECORD = (*PLACE, "a", at(SECOND, B), at(THIRD, A, 2))
KILLED_ROW = Row(
    SECOND_STANDS.cells, Delete((at(THIRD, A, 2),), {A: 1}, frozenset([at(THIRD, A, 2)]))
)
KILLED_STATES = sites(KILLED, {PLACE: KILLED_ROW}, KILLED_RECORD)

# And A wrote it again, of which B's edit knows nothing: both live.
AGAIN = run_of(*KILLED_WRITES, (A, {"b": 3}, 0b101), delete_wins=("patient",))
AGAIN_ROW = row(
    ("a", SECOND, B, 1, 2), ("b", FOURTH, A, 3, 3), delete=Delete((at(FOURTH, A, 3),), {A: 2})
)
AGAIN_STATES = sites(AGAIN, {PLACE: AGAIN_ROW}, KILLED_RECORD)

GOOD = {
    "an edit of a value that was seen": Ending(SEEN, SEEN_STATES),
    "two edits unknown to each other": Ending(UNSEEN, UNSEEN_STATES),
    "an edit that survives a delete": Ending(UNDONE, UNDONE_STATES),
    "a delete that had seen all": Ending(DELETED, DELETED_STATES),
    "an edit that a delete kills": Ending(KILLED, KILLED_STATES),
    "a row written again over a delete that wins": Ending(AGAIN, AGAIN_STATES),
    "equal at the last moment": Ending(SEEN, SEEN_STATES, converged_ms=9, bound_ms=9),
    "equal in a network of which nothing is promised": Ending(SEEN, SEEN_STATES, None, None),
    "nobody": Ending(SEEN, []),
    "nothing": Ending(History(), sites(History(), {})),
}


@pytest.mark.parametrize("good", GOOD)
def test_all_judges_let_a_good_run_pass(good):
    check_all(GOOD[good])


# State


def test_state_refuses_another_value():
    states = changed(SEEN_STATES, 1, rows={PLACE: row(("a", SECOND, B, 1, 3))})
    text = refused("state", Ending(SEEN, states))
    assert f"{ROW}, column a" in text
    assert "2 (1700000000001.0 Butare:1:1) at Kigali, 3 (1700000000001.0 Butare:1:1) at B" in text


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"rows": {}}, "there at Kigali, missing at Butare"),
        ({"rows": {PLACE: row(("a", FIRST, B, 1, 2))}}, "column a"),  # the stamp alone
        ({"rows": {PLACE: row(("a", SECOND, B, 1, 2), ("b", FIRST, A, 1, 1))}}, "column b"),
        ({"rows": {PLACE: SECOND_STANDS, OTHER: FIRST_STANDS}}, OTHER_KEY.hex()),
        ({"visible": {}}, "is shown as {'a': 2} at Kigali and as None at Butare"),
        ({"conflicts": frozenset({RECORD})}, "at Butare and not at Kigali"),
        ({"aside": 0b1}, "Butare still keeps changes aside"),
    ],
)
def test_state_refuses_sites_that_hold_different_things(wrong, told):
    text = refused("state", Ending(SEEN, changed(SEEN_STATES, 1, **wrong)))
    assert told in text
    assert "patient" in text


def test_state_refuses_deletes_that_had_seen_different_things():
    """Alike to whoever looks, until an old edit comes along."""
    less = Row(DELETED_ROW.cells, Delete((at(THIRD, A, 2),), {B: 1}))
    text = refused("state", Ending(DELETED, changed(DELETED_STATES, 1, rows={PLACE: less})))
    assert ROW in text


def test_state_refuses_the_last_of_many_that_differs():
    states = sites(SEEN, {PLACE: SECOND_STANDS}, who=(A, B, C))
    text = refused("state", Ending(SEEN, changed(states, 2, rows={PLACE: FIRST_STANDS})))
    assert "at Kigali" in text
    assert "at Rwinkwavu" in text


def test_state_asks_sites_with_other_tables_for_what_they_share():
    both = sites(SEEN, {PLACE: SECOND_STANDS, NOTE: FIRST_STANDS}, tables=("note", "patient"))
    [few] = sites(SEEN, {PLACE: SECOND_STANDS}, who=[C])
    CHECKERS["state"](Ending(SEEN, [*both, few]))
    text = refused("state", Ending(SEEN, [*both, replace(few, rows={PLACE: FIRST_STANDS})]))
    assert f"{ROW}, column a" in text
    text = refused("state", Ending(SEEN, [*both, replace(few, conflicts=frozenset({RECORD}))]))
    assert "at Rwinkwavu and not at Kigali" in text


def test_state_asks_each_table_of_the_first_that_keeps_it():
    [one] = sites(SEEN, {PLACE: SECOND_STANDS}, who=[A])
    [other] = sites(SEEN, {NOTE: SECOND_STANDS}, who=[B], tables=("note",))
    [third] = sites(SEEN, {NOTE: FIRST_STANDS}, who=[C], tables=("note", "visit"))
    CHECKERS["state"](Ending(SEEN, [one, other]))
    assert "note" in refused("state", Ending(SEEN, [one, other, third]))


# Log


def test_log_refuses_a_number_that_names_two_changesets():
    states = changed(SEEN_STATES, 1, nonces={Dot(A, 1): 9})
    text = refused("log", Ending(SEEN, states))
    assert text == "Kigali:1:1 names two changesets: nonce 1000 at Kigali, 9 at Butare"


def test_log_refuses_a_claim_of_another_changeset_than_the_ledgers_name():
    """No ledger remembers the number any more; only what one site claims differs."""
    vector = VersionVector({A: Entry(1, 9), B: Entry(1, 1_001)})
    states = [replace(site, nonces={}) for site in SEEN_STATES]
    states = changed(states, 1, frontier=Frontier({"patient": vector}))
    assert "Kigali:1:1 names two changesets" in refused("log", Ending(SEEN, states))


def test_log_refuses_a_number_sealed_twice_but_by_a_site_that_could_not_know():
    history = run_of((A, {"a": 1}, 0), (B, {"a": 2}, 0b1))
    history.sealed([], Dot(A, 1), 9)
    assert "Kigali:1:1 was sealed twice" in refused("log", Ending(history, SEEN_STATES))
    history.rolled_back.add(A.site)
    CHECKERS["log"](Ending(history, SEEN_STATES))


def test_log_refuses_a_nonce_that_nobody_drew():
    states = [replace(site, nonces={Dot(A, 1): 9}, frontier=Frontier({})) for site in SEEN_STATES]
    text = refused("log", Ending(SEEN, states))
    assert text == "Kigali:1:1 bears nonce 9, which nobody drew for it"


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({A: Entry(1, 1_000)}, "of Butare:1 Kigali has 1 and Butare 0"),
        ({A: Entry(1, 1_000), B: Entry(2, 7)}, "of Butare:1 Kigali has 1 and Butare 2"),
        (
            {A: Entry(1, 1_000), B: Entry(1, 1_001), C: Entry(1, 7)},
            "of Rwinkwavu:1 Kigali has 0 and Butare 1",
        ),
    ],
)
def test_log_refuses_frontiers_that_differ_after_the_quiet(entries, told):
    states = changed(SEEN_STATES, 1, frontier=Frontier({"patient": VersionVector(entries)}))
    text = refused("log", Ending(SEEN, states))
    assert text.startswith("frontiers of patient differ after the quiet")
    assert told in text


def test_log_compares_frontiers_table_by_table():
    states = sites(SEEN, {}, tables=("note", "patient"))
    full = states[0].frontier.vector("note")
    frontier = Frontier({"note": VersionVector({A: Entry(1, 1_000)}), "patient": full})
    text = refused("log", Ending(SEEN, changed(states, 1, frontier=frontier)))
    assert "frontiers of note differ" in text
    alone = replace(states[1], frontier=Frontier({"patient": full}), tables=frozenset({"patient"}))
    CHECKERS["log"](Ending(SEEN, [states[0], alone]))


# Oracle


def test_oracle_refuses_a_lesser_stamp_that_stands_everywhere():
    text = refused("oracle", Ending(UNSEEN, sites(UNSEEN, {PLACE: FIRST_STANDS}, RECORD)))
    assert text.startswith(f"{ROW} at Kigali, column a, is 1 of Kigali")
    assert "must be 2 of Butare" in text


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (row(("a", SECOND, B, 1, 3)), "must be 2 of Butare"),  # the right stamp, another value
        (row(("a", SECOND, A, 1, 2)), "must be 2 of Butare"),  # the right value, another stamp
        (row(("b", SECOND, B, 1, 2)), "column a, is missing"),
        (row(("a", SECOND, B, 1, 2), ("b", SECOND, B, 1, 2)), "column b, comes from nowhere"),
        (Row(SECOND_STANDS.cells, Delete((at(THIRD, A, 2),), {B: 1})), "is deleted"),
        (Row({}), "column a, is missing"),
    ],
)
def test_oracle_refuses_a_row_that_nobody_wrote_so(wrong, told):
    text = refused("oracle", Ending(SEEN, sites(SEEN, {PLACE: wrong})))
    assert text.startswith(f"{ROW} at Kigali")
    assert told in text


def test_oracle_refuses_one_site_of_many_whose_row_is_wrong():
    states = sites(SEEN, {PLACE: SECOND_STANDS}, who=(A, B, C))
    states = changed(states, 1, rows={PLACE: FIRST_STANDS})
    assert f"{ROW} at Butare, column a" in refused("oracle", Ending(SEEN, states))


def test_oracle_refuses_a_row_that_is_missing_and_one_from_nowhere():
    assert f"{ROW} at Kigali is missing" in refused("oracle", Ending(SEEN, sites(SEEN, {})))
    rows = {PLACE: SECOND_STANDS, OTHER: FIRST_STANDS}
    text = refused("oracle", Ending(SEEN, sites(SEEN, rows)))
    assert text == f"patient {OTHER_KEY.hex()} at Kigali comes from nowhere"


def test_oracle_refuses_a_site_that_has_not_seen_what_survives():
    text = refused("oracle", Ending(SEEN, changed(SEEN_STATES, 1, seen=0b10)))
    assert f"{ROW}: Butare has not seen the write of {{'a': 1}} by Kigali" in text
    other = replace(SEEN_STATES[1], tables=frozenset({"note"}), seen=0, rows={})
    CHECKERS["oracle"](Ending(SEEN, [SEEN_STATES[0], other]))  # it keeps other tables


def test_where_deletes_win_oracle_refuses_a_row_that_lives_and_one_that_nobody_brought_back():
    text = refused("oracle", Ending(KILLED, sites(KILLED, {PLACE: UNDONE_ROW}, KILLED_RECORD)))
    assert text == f"{ROW} at Kigali is alive; alive must be: False"
    dead = Row(AGAIN_ROW.cells, KILLED_ROW.delete)
    text = refused("oracle", Ending(AGAIN, sites(AGAIN, {PLACE: dead}, KILLED_RECORD)))
    assert text == f"{ROW} at Kigali is deleted; alive must be: True"


def test_where_deletes_win_lost_writes_refuses_an_edit_that_died_in_silence():
    text = refused("lost-writes", Ending(KILLED, sites(KILLED, {PLACE: KILLED_ROW})))
    assert text.startswith(f"{ROW}, column a: 2 was lost in silence")


def test_oracle_refuses_that_an_unseen_edit_is_dead_and_that_what_was_seen_lives():
    """Rule B1, both ways: the stamps and values are all as they must be."""
    text = refused("oracle", Ending(UNDONE, sites(UNDONE, {PLACE: DELETED_ROW}, UNDONE_RECORD)))
    assert text == f"{ROW} at Kigali is deleted; alive must be: True"
    text = refused("oracle", Ending(DELETED, sites(DELETED, {PLACE: UNDONE_ROW})))
    assert text == f"{ROW} at Kigali is alive; alive must be: False"


@pytest.mark.parametrize("order", [(A, B), (B, A)])
def test_oracle_decides_a_tie_of_readings_by_origin_whoever_wrote_first(order):
    history = History()
    for origin in order:
        add(history, origin, PLACE, {"a": 1 if origin == A else 2}, 0, NOON_MS)
    CHECKERS["oracle"](Ending(history, sites(history, {PLACE: row(("a", FIRST, B, 1, 2))})))
    text = refused("oracle", Ending(history, sites(history, {PLACE: FIRST_STANDS})))
    assert "must be 2" in text


def test_oracle_refuses_half_a_changeset():
    """B's changeset wrote two rows, and only one of them is anywhere."""
    history = History()
    both = [history.wrote(B.site, place, {"a": 2}, 0, NOON_MS) for place in (PLACE, OTHER)]
    history.sealed(both, Dot(B, 1), 7)
    stands = row(("a", FIRST, B, 1, 2))
    CHECKERS["oracle"](Ending(history, sites(history, {PLACE: stands, OTHER: stands})))
    text = refused("oracle", Ending(history, sites(history, {PLACE: stands})))
    assert f"patient {OTHER_KEY.hex()} at {A.site[:4].hex()} is missing" in text


def test_a_site_on_its_way_shows_what_it_has_seen_and_nothing_else():
    behind = replace(SEEN_STATES[0], seen=0b01, rows={PLACE: FIRST_STANDS})
    consistent(SEEN, behind)
    with pytest.raises(CheckError, match="must be 2"):
        consistent(SEEN, replace(behind, seen=0b11))
    with pytest.raises(CheckError, match="must be 1"):
        consistent(SEEN, replace(behind, rows={PLACE: SECOND_STANDS}))
    # Of a row of which something waits it cannot be told.
    consistent(SEEN, replace(behind, seen=0b11, aside=0b10))


# Lost writes


def test_lost_writes_refuses_a_loser_that_is_on_no_record():
    text = refused("lost-writes", Ending(UNSEEN, sites(UNSEEN, {PLACE: SECOND_STANDS})))
    assert text.startswith(f"{ROW}, column a: 1 was lost in silence, write of {{'a': 1}} by Kigali")
    assert text.endswith(": Kigali shows 2")


def test_lost_writes_refuses_a_record_that_is_not_everywhere():
    states = changed(UNSEEN_STATES, 1, conflicts=frozenset())
    assert "lost in silence" in refused("lost-writes", Ending(UNSEEN, states))


@pytest.mark.parametrize(
    "record",
    [
        (*PLACE, "b", at(FIRST, A), at(SECOND, B)),
        (*OTHER, "a", at(FIRST, A), at(SECOND, B)),
        (*NOTE, "a", at(FIRST, A), at(SECOND, B)),
        (*PLACE, "a", at(SECOND, B), at(THIRD, C)),
    ],
    ids=["column", "row", "table", "writes"],
)
def test_lost_writes_refuses_a_record_of_something_else(record):
    states = sites(UNSEEN, {PLACE: SECOND_STANDS}, record)
    assert "1 was lost in silence" in refused("lost-writes", Ending(UNSEEN, states))


def test_lost_writes_refuses_a_value_that_is_nowhere_and_one_that_one_site_lacks():
    states = sites(SEEN, {})
    assert "2 was lost in silence" in refused("lost-writes", Ending(SEEN, states))
    states = sites(SEEN, {PLACE: SECOND_STANDS}, who=(A, B, C))
    states = changed(states, 2, rows={PLACE: FIRST_STANDS})
    assert "2 was lost in silence" in refused("lost-writes", Ending(SEEN, states))


def test_lost_writes_refuses_that_another_column_was_overwritten():
    """B saw the row and wrote a; b is gone although nobody wrote over it."""
    history = run_of((A, {"a": 1, "b": 5}, 0), (B, {"a": 2}, 0b1))
    kept = row(("a", SECOND, B, 1, 2), ("b", FIRST, A, 1, 5))
    CHECKERS["lost-writes"](Ending(history, sites(history, {PLACE: kept})))
    text = refused("lost-writes", Ending(history, sites(history, {PLACE: SECOND_STANDS})))
    assert f"{ROW}, column b: 5 was lost in silence" in text


def test_lost_writes_refuses_a_delete_undone_in_silence():
    states = sites(UNDONE, {PLACE: UNDONE_ROW})
    text = refused("lost-writes", Ending(UNDONE, states))
    assert text == (
        f"{ROW}: the delete by Kigali at {NOON_MS + 2} was undone in silence: Kigali shows the row"
    )


def test_lost_writes_finds_what_one_of_two_sites_has_lost_and_names_that_site():
    """Where the row lives a delete is gone, and where it does not an edit."""
    mixed = changed(sites(UNDONE, {PLACE: UNDONE_ROW}), 0, rows={PLACE: DELETED_ROW})
    edit, delete = lost(Ending(UNDONE, mixed))
    assert "2 was lost in silence" in edit
    assert edit.endswith("Kigali has deleted the row")
    assert delete.endswith("was undone in silence: Butare shows the row")


def test_lost_writes_refuses_an_edit_that_a_delete_took_along_unseen():
    text = refused("lost-writes", Ending(UNDONE, sites(UNDONE, {PLACE: DELETED_ROW})))
    assert f"{ROW}, column a: 2 was lost in silence" in text
    assert "Kigali has deleted the row" in text


def test_lost_writes_lets_a_delete_rest_over_which_somebody_wrote_knowingly():
    history = run_of((A, {"a": 1}, 0), (A, None, 0b1), (B, {"a": 2}, 0b11))
    again = row(("a", THIRD, B, 1, 2), delete=Delete((at(SECOND, A, 2),), {A: 1}))
    CHECKERS["lost-writes"](Ending(history, sites(history, {PLACE: again})))
    ignorant = run_of((A, {"a": 1}, 0), (A, None, 0b1), (B, {"a": 2}, 0b1))
    text = refused("lost-writes", Ending(ignorant, sites(ignorant, {PLACE: again})))
    assert "the delete by Kigali" in text


def test_lost_writes_counts_two_writes_of_one_value_as_one():
    """A and C both wrote 1; B saw C's when it wrote 2, and nobody saw A's."""
    history = run_of((A, {"a": 1}, 0), (C, {"a": 1}, 0), (B, {"a": 2}, 0b10))
    states = sites(history, {PLACE: row(("a", THIRD, B, 1, 2))})
    CHECKERS["lost-writes"](Ending(history, states))


def test_lost_writes_does_not_miss_what_died_with_its_site():
    alone = [replace(site, seen=0b10) for site in sites(UNSEEN, {PLACE: SECOND_STANDS})]
    CHECKERS["lost-writes"](Ending(UNSEEN, alone))


def test_lost_writes_asks_only_the_sites_that_keep_the_table():
    [other] = sites(SEEN, {}, who=[C], tables=("note",))
    CHECKERS["lost-writes"](Ending(SEEN, [*SEEN_STATES, other]))
    CHECKERS["lost-writes"](Ending(SEEN, [other]))


# Causality


def test_causality_refuses_a_value_that_beats_the_write_made_after_reading_it():
    text = refused("causality", Ending(SEEN, sites(SEEN, {PLACE: FIRST_STANDS})))
    assert text.startswith(f"{ROW}, column a: Kigali still shows 1, which Butare had read")
    CHECKERS["causality"](Ending(UNSEEN, sites(UNSEEN, {PLACE: FIRST_STANDS})))


def test_causality_refuses_it_at_one_site_of_three_and_in_one_column_of_two():
    history = run_of((A, {"a": 1, "b": 1}, 0), (B, {"b": 2}, 0b1))
    good = row(("a", FIRST, A, 1, 1), ("b", SECOND, B, 1, 2))
    states = sites(history, {PLACE: good}, who=(A, B, C))
    CHECKERS["causality"](Ending(history, states))
    old = row(("a", FIRST, A, 1, 1), ("b", FIRST, A, 1, 1))
    text = refused("causality", Ending(history, changed(states, 2, rows={PLACE: old})))
    assert f"{ROW}, column b: Rwinkwavu still shows 1" in text


@pytest.mark.parametrize("hlc", [FIRST - 1, FIRST], ids=["before", "at once"])
def test_causality_refuses_an_effect_that_is_not_stamped_after_its_cause(hlc):
    history = run_of((A, {"a": 1}, 0), (B, {"a": 2}, 0b1))
    history.writes[1].hlc = hlc
    text = refused("causality", Ending(history, SEEN_STATES))
    assert text.startswith(f"{ROW}: the write of {{'a': 2}} by Butare")
    assert f"is stamped {hlc}, not after what its author had seen: the write of {{'a': 1}}" in text


def test_causality_refuses_a_delete_stamped_before_what_it_deletes():
    history = run_of((A, {"a": 1}, 0), (B, {"a": 2}, 0b1), (A, None, 0b11))
    history.writes[2].hlc = SECOND - 1
    text = refused("causality", Ending(history, DELETED_STATES))
    assert "the delete by Kigali" in text


def test_causality_refuses_a_cause_far_back_in_a_long_row():
    """Each write saw the one before it; the last one only the second, and is stamped below."""
    writes = [(A, {"a": 0}, 0), *((B, {"b": n}, 1 << n) for n in range(40)), (C, {"a": 1}, 0b10)]
    history = run_of(*writes)
    stands = row(("a", hlc_at(NOON_MS + 41), C, 1, 1), ("b", hlc_at(NOON_MS + 40), B, 40, 39))
    CHECKERS["causality"](Ending(history, sites(history, {PLACE: stands})))
    history.writes[-1].hlc = FIRST - 1
    text = refused("causality", Ending(history, sites(history, {PLACE: stands})))
    assert "the write of {'a': 1} by Rwinkwavu" in text
    assert "the write of {'b': 0} by Butare" in text


def test_causality_does_not_ask_of_what_died_with_its_site():
    alone = [replace(site, seen=0b01) for site in sites(SEEN, {PLACE: FIRST_STANDS})]
    CHECKERS["causality"](Ending(SEEN, alone))
    history = run_of((A, {"a": 1}, 0), (B, {"a": 2}, 0b1), (C, {"a": 3}, 0b11))
    history.writes[2].hlc = FIRST
    states = sites(history, {PLACE: SECOND_STANDS})
    CHECKERS["causality"](Ending(history, [replace(site, seen=0b011) for site in states]))
    refused("causality", Ending(history, states))


# Bound


@pytest.mark.parametrize(
    ("converged_ms", "bound_ms", "told"),
    [
        (None, 60_000, "the 2 sites were never equal in the quiet; they must be after 60000 ms"),
        (60_001, 60_000, "60001 ms after the quiet began, 1 ms later than they must"),
        (1, 0, "1 ms after the quiet began"),
        (86_400_000, 60_000, "86340000 ms later than they must"),
    ],
)
def test_bound_refuses_what_comes_too_late(converged_ms, bound_ms, told):
    ending = Ending(SEEN, SEEN_STATES, converged_ms, bound_ms)
    assert told in refused("bound", ending)


@pytest.mark.parametrize(("converged_ms", "bound_ms"), [(0, 0), (59_999, 60_000), (10**9, None)])
def test_bound_lets_pass_what_comes_in_time(converged_ms, bound_ms):
    CHECKERS["bound"](Ending(SEEN, SEEN_STATES, converged_ms, bound_ms))


# All of them


class CountedRows(dict[Place, Row]):
    """Rows that count how often they are compared or gone through as a whole."""

    looks = 0

    def __eq__(self, other: object) -> bool:
        CountedRows.looks += 1
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        CountedRows.looks += 1
        return super().__ne__(other)

    def __iter__(self) -> Any:
        CountedRows.looks += 1
        return super().__iter__()

    def items(self) -> Any:
        CountedRows.looks += 1
        return super().items()

    __hash__ = None  # type: ignore[assignment]


def test_the_judges_look_at_a_site_a_few_times_and_never_at_each_pair_of_sites():
    who = [Origin(A.site[:15] + bytes((n,)), 1) for n in range(60)]
    states = sites(SEEN, {PLACE: SECOND_STANDS}, who=who)
    CountedRows.looks = 0
    check_all(Ending(SEEN, [replace(site, rows=CountedRows(site.rows)) for site in states]))
    assert len(states) - 1 <= CountedRows.looks <= 5 * len(states)


def test_a_judge_names_a_site_by_its_id_where_it_has_no_name():
    history = run_of((A, {"a": 1}, 0), (B, {"a": 2}, 0))
    history.names.clear()
    text = refused("lost-writes", Ending(history, sites(history, {PLACE: SECOND_STANDS})))
    assert "by 41414141 at" in text
