"""Judges of a run: each a function of its history and of what the sites hold at the end.

None of them asks the code under test what is right. They return nothing and raise `CheckError`.
"""

from collections.abc import Callable, Mapping

from syncsim.checkers import bound, causality, log, lost_writes, oracle, state
from syncsim.checkers.ending import CheckError, Ending
from syncsim.checkers.oracle import consistent

Checker = Callable[[Ending], None]

CHECKERS: Mapping[str, Checker] = {
    "state": state.check,
    "log": log.check,
    "oracle": oracle.check,
    "lost-writes": lost_writes.check,
    "causality": causality.check,
    "bound": bound.check,
}

__all__ = ["CHECKERS", "CheckError", "Checker", "Ending", "check_all", "consistent"]


def check_all(ending: Ending) -> None:
    """Ask every judge."""
    for check in CHECKERS.values():
        check(ending)
