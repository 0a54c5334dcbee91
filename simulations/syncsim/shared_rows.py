"""Rows that no single site owns: those that every site holds from the start, and the pool that
people of kind "random" write.

Their keys are digests of their names: the same in every run of every scenario.
"""

import hashlib

from syncproto.identity import ROW_KEY_BYTES, RowKey
from syncproto.row import Reference, Value
from syncsim.events import Statement
from syncsim.forms import FAMILY_NAMES, GIVEN_NAMES, PROVIDERS, REASONS, VILLAGES, VITALS
from syncsim.scenario import Scenario
from syncsim.schema import TABLES


def shared_statements(scenario: Scenario) -> tuple[Statement, ...]:
    """The rows that every site holds from the start, those referred to first.

    They are the same for every seed: one network is born with them.
    """
    return tuple(
        Statement(table, shared_key(table, rank), shared_values(table, rank))
        for table in TABLES
        for rank in range(scenario.shared_rows)
    )


def shared_key(table: str, rank: int) -> RowKey:
    """The key of a shared row."""
    return _named_key("shared", table, rank)


def pool_key(table: str, rank: int) -> RowKey:
    """The key of a row that people of kind "random" write."""
    return _named_key("pool", table, rank)


def _named_key(*parts: object) -> RowKey:
    text = ":".join(map(str, parts))
    return RowKey(hashlib.sha256(text.encode()).digest()[:ROW_KEY_BYTES])


def shared_values(table: str, rank: int) -> dict[str, Value]:
    """What stands in a shared row at the start."""
    started = "2025-12-01 08:00:00"
    plain: dict[str, dict[str, Value]] = {
        "person": {
            "name": f"{FAMILY_NAMES[rank % len(FAMILY_NAMES)]} {GIVEN_NAMES[rank % 7]}",
            "village": VILLAGES[rank % len(VILLAGES)],
            "born": f"{1950 + rank % 60}-06-15",
            "voided": 0,
        },
        "visit": {"started": started, "stopped": None, "reason": REASONS[rank % len(REASONS)]},
        "encounter": {"happened": started, "form": "vitals", "provider": PROVIDERS[0]},
        "obs": {"concept": VITALS[0].concept, "value": "60.0", "voided": 0},
    }
    values = plain[table]
    for column, other in TABLES[table].references.items():
        values[column] = Reference(other, shared_key(other, rank))
    return values
