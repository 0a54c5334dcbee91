"""The replica in memory: each rule of the design that it keeps, as one claim."""

from exchanges import exchange
from row_examples import KEY, MINUTE_MS, NOON_MS, OTHER_KEY, A, B, C, Clock, replica

from syncproto.clock import hlc_at
from syncproto.frontier import Entry
from syncproto.identity import Origin
from syncproto.memory import MemoryReplica
from syncproto.row import Reference

YEARS_MS = 70 * 365 * 24 * 60 * MINUTE_MS


def pull(receiver: MemoryReplica, sender: MemoryReplica) -> None:
    """The whole delta, in one or more chunks."""
    base, after = receiver.standing(sender.origin.site).frontier, 0
    while not receiver.receive(chunk := sender.chunk(base, after)).applied:
        after = chunk.upto


def conflicts(one: MemoryReplica) -> list[tuple[str, object, object]]:
    found = (record.conflict for record in one.conflicts.values())
    return sorted((c.column, c.winning, c.losing) for c in found)


# Writing and sealing


def test_several_transactions_sealed_together_are_one_changeset():
    one = replica(A)
    one.write("t", KEY, {"a": 1})
    one.write("u", OTHER_KEY, {"a": 2})
    one.seal()
    assert {cell.stamp.dot for row in one.rows.values() for cell in row.cells.values()} == {(A, 1)}
    assert one.journal == []


def test_an_update_that_changes_nothing_is_no_change():
    one = replica(A)
    one.write("t", KEY, {"a": 1})
    one.seal()
    one.write("t", KEY, {"a": 1})
    one.delete("t", OTHER_KEY)
    one.seal()
    assert one.frontier.seq(A) == 1


def test_a_row_can_be_inserted_again_after_its_delete():
    one, other = replica(A), replica(B)
    one.write("t", KEY, {"a": 1})
    one.delete("t", KEY)
    one.write("t", KEY, {"a": 2})
    assert one.read("t", KEY) == {"a": 2}
    pull(other, one)
    assert other.read("t", KEY) == {"a": 2}


def test_a_write_beats_the_value_that_its_author_had_seen_whatever_the_clocks():
    """Rule A10, `seal_stamp_model.py`: the peer's clock is four minutes ahead."""
    ours, theirs = Clock(), Clock()
    theirs.ms += 4 * MINUTE_MS
    one, other = replica(A, clock=ours), replica(B, clock=theirs)
    other.write("t", KEY, {"a": "theirs"})
    pull(one, other)
    ours.ms += MINUTE_MS
    one.write("t", KEY, {"a": "ours"})
    pull(other, one)
    assert one.read("t", KEY) == other.read("t", KEY) == {"a": "ours"}
    assert one.conflicts == other.conflicts == {}


def test_a_delete_of_a_row_from_a_fast_clock_stays_deleted():
    """Rule A10 for deletes."""
    theirs = Clock()
    theirs.ms += 4 * MINUTE_MS
    one, other = replica(A), replica(B, clock=theirs)
    other.write("t", KEY, {"a": 1})
    pull(one, other)
    one.delete("t", KEY)
    pull(other, one)
    assert other.read("t", KEY) is None


def test_a_line_of_the_journal_is_not_raised_above_what_arrives_with_the_seal():
    """Rule A10: the journal is sealed before anything is merged into its rows."""
    theirs = Clock()
    theirs.ms += 4 * MINUTE_MS
    one, other = replica(A), replica(B, clock=theirs)
    other.write("t", KEY, {"a": "theirs, later"})
    one.write("t", KEY, {"a": "ours, unseen"})
    assert one.receive(other.chunk(one.frontier, 0)).applied
    assert one.read("t", KEY) == {"a": "theirs, later"}
    assert conflicts(one) == [("a", "theirs, later", "ours, unseen")]


# Deletes


def test_an_edit_that_the_deleter_had_not_seen_survives_a_later_delete():
    """Rule B1, `edit_delete_model.py`."""
    clock = Clock()
    one, other = replica(A, clock=clock), replica(B, clock=clock)
    one.write("t", KEY, {"a": 1, "b": 1})
    pull(other, one)
    other.write("t", KEY, {"a": 2})
    other.seal()
    clock.ms += 5 * MINUTE_MS
    one.delete("t", KEY)
    pull(one, other)
    pull(other, one)
    assert one.read("t", KEY) == other.read("t", KEY) == {"a": 2, "b": 1}
    assert ("", None, None) in conflicts(one)


def test_a_row_revives_whole_however_late_the_edit_comes():
    """Rule A3: what remains of a deleted row lets it come back with all its columns."""
    sites = one, other, late = replica(A), replica(B), replica(C)
    one.write("t", KEY, {"a": 1, "b": 2})
    for site in (other, late):
        pull(site, one)
    late.write("t", KEY, {"b": 3})
    one.delete("t", KEY)
    pull(other, one)
    pull(one, other)  # both have acknowledged the delete
    pull(one, late)
    pull(other, one)
    pull(late, other)
    assert [site.read("t", KEY) for site in sites] == [{"a": 1, "b": 3}] * 3


def test_a_row_deleted_at_two_sites_is_gone_at_all():
    sites = one, other, third = replica(A), replica(B), replica(C)
    one.write("t", KEY, {"a": 1})
    for site in (other, third):
        pull(site, one)
    one.delete("t", KEY)
    other.delete("t", KEY)
    for receiver, sender in ((third, one), (third, other), (one, third), (other, third)):
        pull(receiver, sender)
    assert all(site.read("t", KEY) is None for site in sites)
    assert one.rows == other.rows == third.rows
    assert one.sums == other.sums == third.sums


# Conflicts


def test_the_loser_is_on_record_where_it_was_lost_and_where_it_was_written():
    """Rule A13, `conflict_model.py`: the recorder may be gone before anybody asks it."""
    author, recorder, relay = replica(A), replica(B), replica(C)
    author.write("t", KEY, {"a": "lost"})
    author.seal()
    pull(recorder, author)
    recorder_only = replica(C, first_nonce=500)  # a fourth hand: C's write, unseen by B
    recorder_only.write("t", KEY, {"a": "stands"})
    pull(recorder, recorder_only)
    pull(relay, recorder)  # then the recorder dies
    pull(author, relay)
    expected = [("a", "stands", "lost")]
    assert conflicts(relay) == conflicts(author) == expected


def test_a_conflict_met_by_two_sites_is_one_conflict():
    one, other = replica(A), replica(B)
    one.write("t", KEY, {"a": 1})
    other.write("t", KEY, {"a": 2})
    theirs = other.chunk(one.frontier, 0)
    ours = one.chunk(other.frontier, 0)
    one.receive(theirs)
    other.receive(ours)
    pull(one, other)
    pull(other, one)
    assert conflicts(one) == conflicts(other) == [("a", 2, 1)]


def test_a_delete_that_gives_way_to_a_child_is_on_record_at_every_site():
    """Whoever hears of both first says so: here the deleter, there the child's author."""
    for deleter_first in (True, False):
        deleter, author, third = replica(A), replica(B), replica(C)
        deleter.write("t", KEY, {"a": "parent"})
        deleter.seal()
        pull(author, deleter)
        pull(third, deleter)
        deleter.delete("t", KEY)
        author.write("t", OTHER_KEY, {"a": Reference("t", KEY)})
        hearer, teller = (deleter, author) if deleter_first else (author, deleter)
        pull(hearer, teller)
        pull(teller, hearer)
        pull(third, teller)
        assert ("t", KEY) in third.visible()
        named = [("", Reference("t", OTHER_KEY), None)]
        assert conflicts(deleter) == conflicts(author) == conflicts(third) == named
        names = {name[3].origin for name in third.conflicts} | {
            n[4].origin for n in third.conflicts
        }
        assert names == {A, B}


def test_a_delete_of_a_row_with_a_child_that_the_deleter_knew_is_no_conflict():
    deleter, author = replica(A), replica(B)
    author.write("t", KEY, {"a": "parent"})
    author.write("t", OTHER_KEY, {"a": Reference("t", KEY)})
    author.seal()
    pull(deleter, author)
    deleter.delete("t", KEY)
    pull(author, deleter)
    pull(deleter, author)
    assert ("t", KEY) in author.visible()
    assert conflicts(deleter) == conflicts(author) == []


# Stamps of the future


def test_a_stamp_of_the_future_displaces_nothing_until_its_time_comes():
    """Rule A8: received, covered, passed on."""
    clock, wrong = Clock(), Clock()
    wrong.ms += YEARS_MS
    one, other, third = replica(A, clock=clock), replica(B, clock=wrong), replica(C, clock=clock)
    one.write("t", KEY, {"a": 1})
    pull(other, one)
    other.write("t", KEY, {"a": "2093"})
    pull(one, other)
    pull(third, one)
    assert one.read("t", KEY) == third.read("t", KEY) == {"a": 1}
    assert one.frontier.seq(B) == third.frontier.seq(B) == 1
    clock.ms += YEARS_MS
    one.seal()
    third.seal()
    assert one.read("t", KEY) == third.read("t", KEY) == {"a": "2093"}
    assert one.conflicts == third.conflicts == {}


def test_a_write_over_a_row_with_a_hidden_future_is_a_conflict_on_record():
    """Found by seed 13: the future value won in silence when its time came."""
    clock, wrong = Clock(), Clock()
    wrong.ms += YEARS_MS
    one, other = replica(A, clock=clock), replica(B, clock=wrong)
    other.write("t", KEY, {"a": "2093"})
    pull(one, other)
    one.write("t", KEY, {"a": "now"})
    one.seal()
    assert conflicts(one) == [("a", "2093", "now")]
    clock.ms += YEARS_MS
    one.seal()
    assert one.read("t", KEY) == {"a": "2093"}


def test_a_future_value_that_meets_a_standing_one_is_on_record_at_once():
    wrong = Clock()
    wrong.ms += YEARS_MS
    one, other = replica(A), replica(B, clock=wrong)
    one.write("t", KEY, {"a": "now"})
    other.write("t", KEY, {"a": "2093"})
    pull(one, other)
    assert one.read("t", KEY) == {"a": "now"}
    assert conflicts(one) == [("a", "2093", "now")]


def test_what_comes_due_does_not_raise_the_stamps_of_lines_that_had_not_seen_it():
    """Found with seed 13: the seal let the future in before it stamped the journal."""
    clock, wrong = Clock(), Clock()
    wrong.ms += 10 * MINUTE_MS
    one, other = replica(A, clock=clock), replica(B, clock=wrong)
    other.write("t", KEY, {"a": "ten minutes ahead"})
    pull(one, other)
    one.write("t", KEY, {"a": "now"})
    clock.ms += 6 * MINUTE_MS
    one.seal()
    assert one.read("t", KEY) == {"a": "ten minutes ahead"}
    assert conflicts(one) == [("a", "ten minutes ahead", "now")]


# Going on under a new incarnation


def test_renew_writes_a_forked_branch_again_and_keeps_its_readings():
    """Seed 5: with readings of now the branch would beat what others wrote after seeing it."""
    one = replica(A)
    one.write("t", KEY, {"a": 1})
    one.seal()
    one.write("t", OTHER_KEY, {"a": 2})
    one.seal()
    one.renew(2, 1)
    kept, again = one.rows["t", KEY].cells["a"], one.rows["t", OTHER_KEY].cells["a"]
    renewed = A._replace(incarnation=2)
    assert kept.stamp == (hlc_at(NOON_MS), A, 1)
    assert again.stamp == (hlc_at(NOON_MS), renewed, 1)
    assert one.frontier.entry(A) == Entry(1, one.nonces[kept.stamp.dot])
    assert one.frontier.seq(renewed) == 1


def test_renew_leaves_a_row_dead_that_another_site_deleted_on_the_branch():
    one, other = replica(A), replica(B)
    one.write("t", KEY, {"a": 1})
    pull(other, one)
    other.delete("t", KEY)
    pull(one, other)
    one.renew(2, 0)
    assert one.read("t", KEY) is None
    third = replica(C)
    pull(third, one)
    assert third.read("t", KEY) is None


def test_renew_without_a_branch_seals_nothing():
    one = replica(A)
    one.write("t", KEY, {"a": 1})
    one.seal()
    before = one.frontier
    one.renew(4, 1)
    assert one.origin == A._replace(incarnation=4)
    assert one.frontier == before


# Deletes that win


def winning(origin: Origin, clock: Clock | None = None) -> MemoryReplica:
    return replica(origin, clock=clock, delete_wins=("t",))


def test_a_delete_of_a_table_in_which_deletes_win_kills_an_unseen_edit_on_record():
    one, other, third = winning(A), winning(B), winning(C)
    for table in ("t", "u"):
        one.write(table, KEY, {"a": 1, "b": 1})
    pull(other, one)
    pull(third, one)
    for table in ("t", "u"):
        one.delete(table, KEY)
        other.write(table, KEY, {"b": 2})
    for receiver, sender in ((third, other), (third, one), (one, other), (other, one)):
        pull(receiver, sender)
    for receiver, sender in ((one, third), (other, third)):
        pull(receiver, sender)
    assert one.rows == other.rows == third.rows
    for site in (one, other, third):
        assert site.read("t", KEY) is None
        assert site.read("u", KEY) == {"a": 1, "b": 2}
        assert conflicts(site) == [("", None, None), ("b", None, 2)]


def test_a_row_written_again_after_its_delete_was_seen_lives():
    one, other = winning(A), winning(B)
    one.write("t", KEY, {"a": 1})
    one.delete("t", KEY)
    pull(other, one)
    other.write("t", KEY, {"a": 2})
    pull(one, other)
    assert one.read("t", KEY) == other.read("t", KEY) == {"a": 2}
    assert conflicts(one) == conflicts(other) == []


def test_a_renewed_delete_still_wins():
    one, other = winning(A), winning(B)
    one.write("t", KEY, {"a": 1})
    pull(other, one)
    common = one.frontier.seq(A)
    one.delete("t", KEY)
    one.seal()
    one.renew(2, common)
    other.write("t", KEY, {"a": 2})
    pull(one, other)
    pull(other, one)
    assert one.read("t", KEY) is other.read("t", KEY) is None
    assert one.rows == other.rows
    assert conflicts(one) == conflicts(other) == [("a", None, 2)]


def test_a_site_that_was_away_for_a_year_does_not_bring_the_dead_back():
    for make in (winning, replica):
        clock = Clock()
        one, other, away = (make(origin, clock=clock) for origin in (A, B, C))
        one.write("t", KEY, {"a": 1})
        pull(other, one)
        pull(away, other)
        one.delete("t", KEY)
        pull(other, one)
        clock.ms += 365 * 24 * 60 * MINUTE_MS
        away.write("t", OTHER_KEY, {"a": 1})
        pull(other, away)
        pull(away, other)
        pull(one, other)
        assert one.rows == other.rows == away.rows
        assert [site.read("t", KEY) for site in (one, other, away)] == [None] * 3
        assert away.read("t", OTHER_KEY) == {"a": 1}


# Tables, sums, pictures


def test_the_picture_shows_what_a_shown_row_refers_to_and_no_orphans():
    """Rule A4: two deleted rows that refer to each other hold nobody up."""
    one = replica(A)
    one.write("u", KEY, {"a": 1})
    one.write("t", KEY, {"parent": Reference("u", KEY)})
    one.write("t", OTHER_KEY, {"parent": Reference("u", OTHER_KEY)})
    one.delete("u", KEY)
    one.seal()
    assert set(one.visible()) == {("u", KEY), ("t", KEY)}
    one.delete("t", KEY)
    one.seal()
    assert one.visible() == {}


def test_equal_rows_have_equal_sums_in_whatever_order_they_came():
    one, other = replica(A), replica(B)
    one.write("t", KEY, {"a": 1, "b": 2})
    other.write("t", OTHER_KEY, {"a": 1})
    exchange(one, other, caller_site=A.site, callee_site=B.site)
    assert one.sums == other.sums != {"t": 0, "u": 0}
