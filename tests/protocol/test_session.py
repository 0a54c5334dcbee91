"""One exchange, turn by turn: what is said, when it ends, and what survives a broken link."""

from dataclasses import replace

import pytest
from exchanges import LinkBroken, exchange, perform
from row_examples import KEY, OTHER_KEY, A, B, C, Clock, replica

from syncproto.errors import UnexpectedMessageError
from syncproto.frontier import Entry
from syncproto.identity import Origin, RowKey, site_text
from syncproto.memory import MemoryReplica
from syncproto.messages import Turn
from syncproto.session import Answer, Await, Call, Finish, Send
from syncsim.subject import memory_subject


def key(number: int) -> RowKey:
    return RowKey(bytes([number]) * 16)


def meet(one: MemoryReplica, other: MemoryReplica, break_at: int = -1) -> tuple[Finish, list[Turn]]:
    """An exchange that `one` begins; the turn numbered `break_at` does not arrive."""
    turns: list[Turn] = []

    def link(turn: Turn) -> Turn:
        turns.append(turn)
        if len(turns) - 1 == break_at:
            raise LinkBroken
        return turn

    sites = {"caller_site": one.origin.site, "callee_site": other.origin.site}
    return exchange(one, other, **sites, link=link), turns


def written(origin: Origin, *numbers: int, **options) -> MemoryReplica:
    one = replica(origin, **options)
    for number in numbers:
        one.write("t", key(number), {"a": number})
        one.seal()
    return one


DONE = Finish(complete=True, reason="", alarms=(), trouble="")


# The way of an exchange


def test_nothing_new_takes_two_turns():
    one, other = written(A, 1), written(B, 2)
    meet(one, other)
    finish, turns = meet(one, other)
    assert finish == DONE
    assert len(turns) == 2
    assert all(turn.frontier is turn.chunk is turn.sums is None for turn in turns)


def test_one_exchange_moves_both_directions():
    one, other = written(A, 1, 2), written(B, 3)
    finish, _ = meet(one, other)
    assert finish == DONE
    assert one.rows == other.rows
    assert one.frontier == other.frontier
    assert len(one.rows) == 3


def test_what_is_new_is_pushed_with_the_first_turn():
    """From the frontier that the peer last told: two turns for a small change."""
    one, other = written(A, 1), written(B, 2)
    meet(one, other)
    one.write("t", key(3), {"a": 3})
    finish, turns = meet(one, other)
    assert finish == DONE
    assert turns[0].chunk is not None
    assert len(turns) == 2
    assert one.rows == other.rows


def test_a_long_delta_first_asks_where_the_peer_stands():
    one, other = written(A, 1, rows_max=1), written(B)
    meet(one, other)
    for number in range(2, 6):
        one.write("t", key(number), {"a": number})
    _, turns = meet(one, other)
    assert turns[0].chunk is None
    assert one.rows == other.rows


@pytest.mark.parametrize("rows_max", [1, 2, 5])
def test_every_exchange_ends_and_is_complete(rows_max):
    one = written(A, *range(7), rows_max=rows_max)
    other = written(B, *range(7, 12), rows_max=rows_max)
    finish, turns = meet(one, other)
    assert finish == DONE
    assert len(turns) <= 2 * (7 + 5) // rows_max + 8
    assert one.rows == other.rows


def test_sites_that_share_no_table_have_nothing_to_say():
    one, other = written(A, 1, tables=("t",)), written(B, tables=("u",))
    finish, turns = meet(one, other)
    assert finish.complete
    assert len(turns) <= 6
    assert other.rows == {}


def test_a_caller_may_wait_for_news():
    one, other = written(A, 1), written(B, 2)
    meet(one, other)
    call = Call(B.site, wait_ms=30_000)
    turn = perform(call, one, call.start())
    assert isinstance(turn, Turn)
    assert turn.wait_ms == 30_000
    answer = Answer(A.site)
    [look] = answer.receive(turn)
    effects = answer.looked(other.standing(A.site))
    assert look
    assert effects == [Await(30_000)]
    other.write("t", key(3), {"a": 3})
    reply = perform(answer, other, answer.awaited())
    assert isinstance(reply, Turn)
    assert reply.chunk is not None
    assert reply.chunk.row_count == 1


# Broken links


@pytest.mark.parametrize("break_at", range(8))
def test_what_was_staged_before_a_break_is_not_sent_again(break_at):
    one, other = written(A, *range(4), rows_max=1), written(B, rows_max=1)
    sent = 0
    try:
        _, turns = meet(one, other, break_at)
    except LinkBroken:
        sent = other.stages[A.site].cursor.lsn if A.site in other.stages else 0
    _, turns = meet(one, other)
    carried = [turn.chunk for turn in turns[::2] if turn.chunk is not None]
    assert sum(chunk.row_count for chunk in carried) == 4 - sent or sent == 0
    assert one.rows == other.rows


def test_a_turn_that_arrives_twice_changes_nothing_the_second_time():
    one, other = written(A, 1, 2), written(B, 3)
    turns = meet(one, replica(C))[1] and meet(one, other)[1]
    rows, frontier = dict(other.rows), other.frontier
    for turn in turns[::2]:
        answer = Answer(A.site)
        assert isinstance(perform(answer, other, answer.receive(turn)), Turn)
    assert (other.rows, other.frontier) == (rows, frontier)


def test_a_push_above_what_the_peer_has_is_refused_and_the_exchange_recovers():
    """Rule A9: the peer's database was put back to before it told what it holds."""
    one = written(A, 1)
    other = memory_subject(B, ("t", "u"), Clock(), lambda: 7, 9)
    put_back = other.backup()
    meet(one, other.replica)
    one.write("t", key(2), {"a": 2})
    restored = put_back().replica
    finish, turns = meet(one, restored)
    assert turns[0].chunk is not None
    assert turns[1].frontier is not None
    assert turns[1].frontier.seq(A) == 0
    assert finish == DONE
    assert restored.rows == one.rows


# Who is who


def test_a_site_of_another_network_is_refused():
    one, stranger = written(A, 1), written(B, 2, network=b"another!")
    with pytest.raises(UnexpectedMessageError, match="another network"):
        meet(one, stranger)
    assert stranger.rows.keys() == {("t", key(2))}


def test_a_site_that_speaks_as_somebody_else_is_refused():
    one, other = written(A, 1), written(B, 2)
    call = Call(B.site)
    turn = perform(call, one, call.start())
    answer = Answer(C.site)
    with pytest.raises(UnexpectedMessageError, match="somebody else"):
        perform(answer, other, answer.receive(turn))


# Databases put back


def rolled_back(first: int = 2):
    """A site that is put back to its first change, after a peer has heard of more."""
    subject = memory_subject(A, ("t", "u"), Clock(), iter(range(1, 99)).__next__, 9)
    peer = written(B, rows_max=9)
    subject.replica.write("t", key(1), {"a": 1})
    meet(subject.replica, peer)
    put_back = subject.backup()
    for number in range(2, 2 + first):
        subject.replica.write("t", key(number), {"a": number})
        meet(subject.replica, peer)
    return put_back().replica, peer


@pytest.mark.parametrize("caller", ["restored", "peer"])
def test_a_restored_site_takes_a_new_incarnation_and_fetches_its_own_changes(caller):
    one, peer = rolled_back()
    finish, _ = meet(one, peer) if caller == "restored" else meet(peer, one)
    if not finish.complete:
        finish, _ = meet(one, peer)
    assert finish == DONE
    assert one.origin == Origin(A.site, 2)
    assert one.rows == peer.rows
    assert len(one.rows) == 3


@pytest.mark.parametrize("caller", ["restored", "peer"])
@pytest.mark.parametrize("ours", [1, 2, 3])
def test_a_branch_written_before_the_site_knew_goes_on_beside_the_shared_one(caller, ours):
    """One number, two nonces (rule A11): the branch is shorter, as long, or longer."""
    one, peer = rolled_back(first=2)
    for number in range(10, 10 + ours):
        one.write("t", key(number), {"a": number})
        one.seal()
    meet(one, peer) if caller == "restored" else meet(peer, one)
    finish, _ = meet(one, peer)
    assert finish == DONE
    assert one.origin == Origin(A.site, 2)
    assert one.rows == peer.rows
    assert {place[1] for place in one.rows} == {
        *map(key, (1, 2, 3)), *map(key, range(10, 10 + ours))
    }  # fmt: skip
    assert one.frontier == peer.frontier


@pytest.mark.parametrize("caller", ["restored", "peer"])
@pytest.mark.parametrize("shared", [0, 1, 2])
def test_a_branch_below_a_later_incarnation_goes_on_beside_the_shared_one(caller, shared):
    """Found with a simulated world: the site had been restored before, so the peer knew it under
    a later incarnation, and what it had sealed since this time passed for the shared past."""
    one, peer = written(A, *range(1, shared + 1)), written(B, 7)
    if shared:
        meet(one, peer)
    old = one.copied()
    for number in (4, 5):
        one.write("t", key(number), {"a": number})
        one.seal()
    meet(one, peer)
    one.renew(2, one.frontier.seq(one.origin))
    one.write("t", key(6), {"a": 6})
    meet(one, peer)

    old.write("t", key(4), {"a": 40})
    old.write("t", key(9), {"a": 9})
    old.seal()
    for _ in range(2):
        meet(old, peer) if caller == "restored" else meet(peer, old)
    finish, _ = meet(old, peer)
    assert finish == DONE
    assert old.origin == Origin(A.site, 3)
    assert old.rows == peer.rows
    assert {place[1] for place in old.rows} == set(map(key, (*range(1, shared + 1), 4, 5, 6, 7, 9)))
    assert old.frontier == peer.frontier


# The lookout


def test_equal_frontiers_with_unequal_sums_raise_the_alarm():
    """Rule B11."""
    one, other = written(A, 1), written(B, 2)
    meet(one, other)
    other.sums["t"] += 1
    one.write("u", OTHER_KEY, {"a": 1})
    other.write("u", KEY, {"a": 2})
    alarms = {meet(one, other)[0].alarms, meet(other, one)[0].alarms}
    answer = Answer(A.site)
    turn = replace(first_turn(one), frontier=one.frontier, digest=b"differs!", sums=dict(one.sums))
    perform(answer, other, answer.receive(turn))
    assert ("t",) in alarms | {answer.alarms}


@pytest.mark.parametrize("caller", [A, B])
def test_a_number_of_a_third_site_with_two_meanings_raises_the_alarm(caller):
    """Rule A11: a database went back with its anchor and met somebody who knew less of it."""
    stale = memory_subject(C, ("t", "u"), Clock(), iter(range(1, 99)).__next__, 9)
    one, other = written(A), written(B)
    put_back = stale.backup()
    stale.replica.write("t", key(1), {"a": 1})
    meet(stale.replica, one)
    branch = put_back().replica
    branch.write("t", key(2), {"a": 2})
    meet(branch, other)
    finish, _ = meet(one, other) if caller == A else meet(other, one)
    assert finish.complete
    assert finish.alarms == ("t", "u")
    assert site_text(C.site) in finish.trouble
    answer = Answer(A.site)
    reply = perform(answer, other, answer.receive(replace(first_turn(one), frontier=one.frontier)))
    assert answer.alarms == ("t", "u")
    assert isinstance(reply, Turn)
    assert site_text(C.site) in reply.trouble


def test_a_branch_that_went_on_under_a_new_incarnation_unseen_is_named():
    """Put back once more before anybody could tell it: its own start can no more tell."""
    one, peer = rolled_back(first=1)
    one.write("t", key(10), {"a": 10})
    one.seal()
    one.renew(2, one.frontier.seq(A))
    finish, _ = meet(peer, one)
    assert finish.alarms == ("t", "u")
    assert site_text(A.site) in finish.trouble


def first_turn(one: MemoryReplica) -> Turn:
    call = Call(B.site)
    turn = perform(call, one, call.start())
    assert isinstance(turn, Turn)
    return turn


def test_sums_are_not_compared_while_changes_are_kept_aside():
    ahead = Clock()
    ahead.ms += 3_600_000
    one, other = written(A, 1), written(B, 2, clock=ahead)
    assert meet(one, other)[0].alarms == ()
    assert meet(other, one)[0].alarms == ()
    assert one.aside


@pytest.mark.parametrize("caller", [0, 1])
def test_each_side_hears_how_many_rows_the_other_does_not_show(caller):
    """What a site keeps aside it says in the answer in which it acknowledges the rows."""
    ahead = Clock()
    ahead.ms += 3_600_000
    sites = written(A, 1), written(B, 2, 3, clock=ahead)
    finish, turns = meet(sites[caller], sites[1 - caller])
    assert [turn.unshown for turn in turns if turn.origin == A][-1] == 2
    assert {turn.unshown for turn in turns if turn.origin == B} == {0}
    assert finish.complete
    assert finish.unshown == (2 if caller == 1 else 0)
    answer = Answer(A.site)
    answer.receive(turns[-1 if turns[-1].origin == A else -2])
    assert answer.unshown == 2


def test_a_session_that_gets_nowhere_is_given_up():
    """A peer that takes nothing, without end: the exchange ends and says so."""
    one, other = written(A, 1), written(B, 2)
    call = Call(B.site)
    outcome = perform(call, one, call.start())
    turns = 0
    while isinstance(outcome, Turn):
        turns += 1
        assert turns < 20
        answer = Answer(A.site)
        reply = perform(answer, other, answer.receive(replace(outcome, chunk=None)))
        assert isinstance(reply, Turn)
        outcome = perform(call, one, call.receive(reply))
    assert outcome.complete is False
    assert outcome.reason == "the peer has not taken all of ours"
    assert other.frontier.entry(A) == Entry(0, 0)


def test_an_answer_begins_with_a_look_and_ends_with_one_turn():
    one, other = written(A, 1), written(B, 2)
    answer = Answer(A.site)
    answer.receive(first_turn(one))
    effects = answer.looked(other.standing(A.site))
    assert [type(effect) for effect in effects] == [Send]
