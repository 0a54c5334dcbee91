"""Bound: the sites were equal within the time that the scenario allows."""

from syncsim.checkers.ending import CheckError, Ending


def check(ending: Ending) -> None:
    """All sites held the same at most `bound_ms` after the quiet began. Where nothing is
    promised (`bound_ms` is None), nothing is asked.

    Raises:
        CheckError: They did later, or never.
    """
    if ending.bound_ms is None:
        return
    if ending.converged_ms is None:
        raise CheckError(
            f"the {len(ending.states)} sites were never equal in the quiet; they must be after "
            f"{ending.bound_ms} ms"
        )
    if ending.converged_ms > ending.bound_ms:
        raise CheckError(
            f"the {len(ending.states)} sites were equal {ending.converged_ms} ms after the quiet "
            f"began, {ending.converged_ms - ending.bound_ms} ms later than they must"
        )
