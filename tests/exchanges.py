"""Drives sessions between replicas in one process: the smallest driver there can be."""

from collections.abc import Callable

from syncproto.identity import SiteId
from syncproto.messages import Turn
from syncproto.replica import Replica, Standing
from syncproto.session import (
    Answer,
    Await,
    Call,
    Cut,
    Effect,
    Finish,
    Hear,
    Look,
    Renew,
    Send,
    Take,
)

TURNS_MAX = 10_000


def perform(session: Call | Answer, replica: Replica, effects: list[Effect]) -> Turn | Finish:
    """Carry out effects until the session has something to say or is over."""
    todo = list(effects)
    standing: Standing | None = None
    while True:
        effect = todo.pop(0)
        match effect:
            case Look():
                standing = replica.standing(session.peer)
                todo += session.looked(standing)
            case Take(chunk):
                todo += session.took(replica.receive(chunk))
            case Cut(base, after):
                assert standing is not None
                todo += session.cut(replica.chunk(base, after), standing)
            case Hear(frontier, directions):
                replica.heard(session.peer, frontier, directions)
            case Renew(incarnation, common_seq):
                replica.renew(incarnation, common_seq)
                todo.append(Look())
            case Await():
                assert isinstance(session, Answer)
                todo += session.awaited()
            case Send(turn):
                return turn
            case Finish():
                return effect


class LinkBroken(Exception):
    """The link broke before or after a turn arrived."""


def exchange(
    caller: Replica,
    callee: Replica,
    *,
    caller_site: SiteId,
    callee_site: SiteId,
    link: Callable[[Turn], Turn] = lambda turn: turn,
) -> Finish:
    """One whole exchange; `link` carries each turn and may raise `LinkBroken`."""
    call = Call(callee_site)
    outcome = perform(call, caller, call.start())
    for _ in range(TURNS_MAX):
        if isinstance(outcome, Finish):
            return outcome
        arrived = link(outcome)
        answer = Answer(caller_site)
        reply = perform(answer, callee, answer.receive(arrived))
        assert isinstance(reply, Turn)
        outcome = perform(call, caller, call.receive(link(reply)))
    raise AssertionError("the exchange does not end")
