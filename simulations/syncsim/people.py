"""What people write: the events of clinics' days, or single rows of a small pool.

Nothing here asks what a site holds, so a script is the same under every merge rule and on both
levels. People of kind "clinic" (`clinic.py`) keep to rows that are theirs or everybody's, so what
they write does not depend on when something arrives. Those of kind "random" write and delete
whatever is in the pool: for hard tests.

What befalls a site was drawn before, too, and its people live with it: without power they write
nothing; after a restored backup they go on with what was in it; after a lost database they begin
anew, and leave alone what the peers bring back at a moment that nobody knows beforehand.
"""

from collections.abc import Iterator, Mapping
from heapq import merge
from random import Random

from syncproto.identity import RowKey
from syncproto.row import Reference, Value
from syncsim.clinic import Clinic
from syncsim.events import Statement, Transaction
from syncsim.fates import Fate, fates
from syncsim.scenario import HOUR_MS, Profile, Scenario, generator
from syncsim.schema import TABLES, all_columns
from syncsim.shared_rows import pool_key, shared_key, shared_statements

__all__ = ["pool_key", "script", "shared_key", "shared_statements"]


def script(scenario: Scenario, seed: int) -> Iterator[Transaction]:
    """Everything that people write, in ascending time; nothing at or after `faults_ms`.

    Memory is bounded by the sites, not by the length of the run.
    """
    fate_by_site = fates(scenario, seed)
    streams: list[Iterator[Transaction]] = []
    for number, site in enumerate(scenario.sites):
        if site.people is None:
            continue
        profile, fate = scenario.profiles[site.people], fate_by_site[number]
        if profile.kind == "random":
            stream = _random_rows(scenario, seed, number, profile, fate)
        else:
            stream = Clinic(scenario, seed, number, profile, fate).transactions()
        streams.append(stream if site.tables is None else _kept(stream, frozenset(site.tables)))
    return merge(*streams, key=lambda transaction: (transaction.at_ms, transaction.site))


def _kept(stream: Iterator[Transaction], tables: frozenset[str]) -> Iterator[Transaction]:
    """Of each transaction what concerns the tables that the site keeps."""
    for transaction in stream:
        statements = tuple(s for s in transaction.statements if s.table in tables)
        if statements:
            yield Transaction(transaction.at_ms, transaction.site, statements)


def _random_rows(
    scenario: Scenario, seed: int, number: int, profile: Profile, fate: Fate
) -> Iterator[Transaction]:
    """Writes and deletes of rows of the pool; every value is written once only."""
    name = scenario.sites[number].name
    rng = generator(seed, "random rows", name)
    keys = {table: [pool_key(table, rank) for rank in range(profile.rows)] for table in TABLES}
    tables = tuple(TABLES)
    written, at = 0, 0.0
    if profile.writes_an_hour <= 0 or profile.rows <= 0:
        return
    while True:
        at += rng.expovariate(profile.writes_an_hour / HOUR_MS)
        if at >= scenario.faults_ms:
            return
        if fate.is_dark(int(at)):
            continue
        statements = []
        for _ in range(1 + int(rng.random() * rng.random() * 4)):  # mostly one, at most four
            table = rng.choice(tables)
            key = rng.choice(keys[table])
            if rng.random() < profile.deletes:
                statements.append(Statement(table, key, None))
                continue
            written += 1
            values = _random_values(table, f"{name} {written}", keys, rng)
            columns = all_columns(table)
            changed = tuple(column for column in columns if rng.random() < 0.5)
            statements.append(Statement(table, key, values, changed or columns[:1]))
        yield Transaction(int(at), number, tuple(statements))


def _random_values(
    table: str, text: str, keys: Mapping[str, list[RowKey]], rng: Random
) -> dict[str, Value]:
    values: dict[str, Value] = dict.fromkeys(TABLES[table].columns, text)
    for column, other in TABLES[table].references.items():
        values[column] = None if rng.random() < 0.2 else Reference(other, rng.choice(keys[other]))
    return values
