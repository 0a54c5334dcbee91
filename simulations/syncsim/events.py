"""What happens in a run and was drawn before it began: writes of people, and misfortunes.

Nothing here depends on what a site holds at that moment, so the same scenario and seed give the
same events on both levels and under every rule, and runs can be compared write by write.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from syncproto.identity import RowKey
from syncproto.row import Value


@dataclass(frozen=True, slots=True)
class Statement:
    """One row written or deleted.

    Attributes:
        values: Every column of the table, for the case that the row is not here (then it is
            inserted); None for a delete, which does nothing where the row is not here.
        changed: The columns to update where the row is here already.
    """

    table: str
    key: RowKey
    values: Mapping[str, Value] | None
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transaction:
    """What people at a site commit at once.

    Attributes:
        at_ms: Of virtual time; ascending in a script.
        site: Index in `Scenario.sites`.
    """

    at_ms: int
    site: int
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Mishap:
    """One misfortune that takes place.

    Attributes:
        kind: One of `scenario.MISFORTUNES`.
        until_ms: When it is over; `at_ms` for what takes no time.
        sites: Indices of those it befalls.
        cut: Of a partition: directed pairs (from, to) of indices that are linked and between
            which nothing arrives.
        offset_ms, age_ms, anchor: As of `Misfortune`.
    """

    at_ms: int
    kind: str
    until_ms: int
    sites: tuple[int, ...]
    cut: frozenset[tuple[int, int]] = frozenset()
    offset_ms: int = 0
    age_ms: int = 0
    anchor: bool = True
