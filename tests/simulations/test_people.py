"""People: what they write follows the day, its sizes are a clinic's, and it can be replayed."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
import tracemalloc
import zlib
from collections import Counter, deque
from dataclasses import replace

import pytest

from syncproto.row import Reference
from syncsim import clinic, presets
from syncsim.events import Mishap, Transaction
from syncsim.misfortunes import mishaps
from syncsim.people import pool_key, script, shared_key, shared_statements
from syncsim.scenario import DAY_MS, HOUR_MS, Misfortune, Profile, Scenario, Site
from syncsim.schema import TABLES, all_columns

MONDAY_UNIX_MS = 1_767_571_200_000  # 2026-01-05 00:00 UTC
CENTRE = presets.PEOPLE["health centre"]


def scenario(profile: Profile = CENTRE, sites: int = 3, **more: object) -> Scenario:
    first = Site("s0", people=profile.name)
    below = [Site(f"s{number}", "s0", people=profile.name) for number in range(1, sites)]
    given = {"start_unix_ms": MONDAY_UNIX_MS, "faults_ms": 2 * DAY_MS, **more}
    return Scenario("people", (first, *below), (), {}, {profile.name: profile}, **given)


def rows(transactions: list[Transaction]) -> int:
    return sum(len(transaction.statements) for transaction in transactions)


def obs_of_forms(transactions: list[Transaction]) -> list[int]:
    """How many obs each transaction inserts that inserts some."""
    counts = [
        sum(s.table == "obs" and s.values is not None and not s.changed for s in t.statements)
        for t in transactions
    ]
    return [count for count in counts if count]


def test_time_goes_on_and_stops_when_the_quiet_begins():
    transactions = list(script(scenario(sites=10), 1))
    times = [transaction.at_ms for transaction in transactions]
    assert times == sorted(times)
    assert times[-1] < 2 * DAY_MS
    assert {transaction.site for transaction in transactions} == set(range(10))
    assert all(transaction.statements for transaction in transactions)


@pytest.mark.parametrize(
    ("name", "sites", "rows_a_day"),
    [
        # The figures of a clinic with OpenMRS, of which the four tables hold 97 in 100: the
        # providers of an encounter are a column here.
        ("small health centre", 30, 850),
        ("health centre", 12, 2_100),
        ("district hospital", 4, 12_600),
    ],
)
def test_a_day_is_as_large_as_that_of_a_clinic(name, sites, rows_a_day):
    drawn = list(script(scenario(presets.PEOPLE[name], sites, faults_ms=DAY_MS), 1))
    assert rows(drawn) / sites == pytest.approx(0.97 * rows_a_day, rel=0.08)


def test_the_mix_of_events_is_that_of_a_clinic():
    drawn = list(script(scenario(sites=20), 1))
    kinds: Counter[str] = Counter()
    for transaction in drawn:
        for statement in transaction.statements:
            verb = "delete" if statement.values is None else "update"
            verb = verb if statement.changed or statement.values is None else "insert"
            kinds[f"{verb} {statement.table}"] += 1
    visits = 40 * CENTRE.visits_a_day
    patients = 40 * CENTRE.patients_a_day
    assert kinds["insert person"] == pytest.approx(patients, rel=0.15)
    assert kinds["insert visit"] == pytest.approx(visits + patients, rel=0.05)
    assert kinds["insert obs"] / visits == pytest.approx(36, rel=0.05)  # AMPATH had 31 to 36
    assert kinds["update person"] > 0.02 * visits  # names
    assert kinds["update obs"] > 0.02 * visits  # amended or voided
    assert kinds["update visit"] > 0.05 * visits  # ended
    assert 0 < kinds["delete encounter"] < 0.02 * visits
    assert kinds["delete obs"] > kinds["delete encounter"]
    assert not kinds["delete person"] + kinds["delete visit"]


def test_scale_thins_the_events_and_not_their_size():
    whole = list(script(scenario(sites=10, faults_ms=DAY_MS), 1))
    part = list(script(scenario(sites=10, faults_ms=10 * DAY_MS, scale=0.1), 1))
    assert len(part) == pytest.approx(len(whole), rel=0.15)
    sizes = [sum(counts) / len(counts) for counts in (obs_of_forms(whole), obs_of_forms(part))]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


def test_nobody_works_at_night_and_the_morning_is_busier():
    profile = replace(CENTRE, hours_ms=(8 * HOUR_MS, 18 * HOUR_MS))
    drawn = list(script(scenario(profile, 20), 1))
    by_hour = Counter(transaction.at_ms % DAY_MS // HOUR_MS for transaction in drawn)
    assert set(by_hour) <= set(range(8, 18 + 5))  # the last visit of the day takes its time
    assert sum(by_hour[hour] for hour in range(18, 23)) < 0.1 * len(drawn)
    opened = Counter(
        transaction.at_ms % DAY_MS // HOUR_MS
        for transaction in drawn
        if any(s.table == "visit" and not s.changed for s in transaction.statements)
    )
    assert min(opened) == 8
    assert max(opened) == 17
    assert 2 < opened[8] / opened[17] < 4  # from one and a half of the mean to a half of it


def test_hours_are_those_of_the_day_not_of_the_run():
    late = scenario(sites=5, start_unix_ms=MONDAY_UNIX_MS + 16 * HOUR_MS, faults_ms=30 * HOUR_MS)
    times = [t.at_ms for t in script(late, 1)]
    assert min(times) < HOUR_MS  # an hour is left of Monday's work
    assert not [at_ms for at_ms in times if 6 * HOUR_MS < at_ms < 16 * HOUR_MS]
    assert max(times) > 16 * HOUR_MS


def test_weekends_may_be_quiet():
    profile = replace(CENTRE, weekend=0.2)
    drawn = script(scenario(profile, 6, faults_ms=7 * DAY_MS), 1)
    by_day = Counter(transaction.at_ms // DAY_MS for transaction in drawn)
    working = sum(by_day[day] for day in range(5)) / 5
    assert by_day[5] + by_day[6] == pytest.approx(2 * 0.2 * working, rel=0.2)
    closed = script(scenario(replace(CENTRE, weekend=0.0), 1, faults_ms=14 * DAY_MS), 1)
    assert {t.at_ms // DAY_MS % 7 for t in closed} == set(range(5))


def test_the_script_is_drawn_step_by_step_in_bounded_memory():
    def peak_bytes(days: int) -> int:
        profile = replace(CENTRE, visits_a_day=10, patients_a_day=90)
        tracemalloc.start()
        try:
            for _ in script(scenario(profile, 1, faults_ms=days * DAY_MS), 1):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak_bytes(1)
    assert peak_bytes(16) < 1.3 * peak_bytes(4)


def test_values_are_as_compressible_as_real_ones():
    inserted = [
        statement
        for transaction in script(scenario(sites=1, faults_ms=3 * DAY_MS), 1)
        for statement in transaction.statements
        if statement.table == "obs" and statement.values is not None
    ]
    packed = 0
    for batch in range(0, 2_000, 200):
        plain = [
            [s.key.hex(), {n: v[1].hex() if n == "encounter" else v for n, v in s.values.items()}]
            for s in inserted[batch : batch + 200]
        ]
        packed += len(zlib.compress(json.dumps(plain).encode()))
    assert 25 < packed / 2_000 < 55  # 52 with more columns; a random key alone is 16


def test_shared_rows_are_the_same_for_everybody_and_point_to_each_other():
    statements = shared_statements(scenario(shared_rows=5))
    assert Counter(s.table for s in statements) == dict.fromkeys(TABLES, 5)
    known: set[tuple[str, bytes]] = set()
    for statement in statements:
        assert tuple(statement.values) == all_columns(statement.table)
        for value in statement.values.values():
            if isinstance(value, Reference):
                assert (value.table, value.key) in known
        known.add((statement.table, statement.key))
    assert len(known) == 20
    assert shared_statements(scenario(shared_rows=2)) == tuple(
        s for s in statements if s.key in {shared_key(s.table, 0), shared_key(s.table, 1)}
    )


def test_a_share_of_the_events_edits_shared_rows_and_the_first_are_the_hottest():
    profile = replace(CENTRE, shared=0.25)
    drawn = list(script(scenario(profile, 15, shared_rows=8), 1))
    hot = {shared_key(table, rank): rank for table in TABLES for rank in range(8)}
    edits = [t for t in drawn if t.statements[0].key in hot]
    assert len(edits) == pytest.approx(0.25 * len(drawn), rel=0.08)
    ranks = Counter(hot[t.statements[0].key] for t in edits)
    assert [rank for rank, _ in ranks.most_common(3)] == [0, 1, 2]
    assert 5 < ranks[0] / ranks[7] < 12
    written = [(t.statements[0].changed, t.statements[0].values) for t in edits]
    values = [values[column] for (column,), values in written]
    assert len(values) == len(set(values)), "whose edit stands must be seen later"


def test_without_shared_rows_nobody_edits_any():
    drawn = list(script(scenario(replace(CENTRE, shared=0.25), 3, shared_rows=0), 1))
    assert drawn
    assert shared_statements(scenario(shared_rows=0)) == ()
    assert not {shared_key("person", rank) for rank in range(9)} & {
        value.key
        for transaction in drawn
        for statement in transaction.statements
        for value in (statement.values or {}).values()
        if isinstance(value, Reference)
    }


MISFORTUNES = (
    Misfortune("power-cut", every_ms=6 * HOUR_MS, lasts_ms=2 * HOUR_MS),
    Misfortune("restore", every_ms=8 * HOUR_MS, age_ms=5 * HOUR_MS),
    Misfortune("wipe", every_ms=20 * HOUR_MS),
)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("misfortunes", [(), MISFORTUNES], ids=["calm", "misfortunes"])
def test_people_touch_only_rows_that_they_see_and_that_are_theirs_or_everybodys(
    seed, misfortunes, monkeypatch
):
    """Replayed without any exchange: each site holds what it wrote itself and what is shared, a
    restore puts it back, a wipe empties it. What is rare is made frequent."""
    for rare in ("MERGE_PATIENTS", "PURGE_AN_ENCOUNTER", "VOID_A_GROUP", "CORRECT_AN_OBS"):
        monkeypatch.setattr(clinic, rare, 10)
    profile = replace(presets.PEOPLE["small health centre"], shared=0.1)
    run = scenario(profile, 5, misfortunes=misfortunes, faults_ms=3 * DAY_MS)
    shared = {(s.table, s.key) for s in shared_statements(run)}
    writers: dict[tuple[str, bytes], int] = {}
    held = [Held(shared) for _ in run.sites]
    falls = mishaps(run, seed)
    waiting = deque(falls)
    updated = deleted = 0
    for transaction in script(run, seed):
        while waiting and waiting[0].at_ms <= transaction.at_ms:
            mishap = waiting.popleft()
            held[mishap.sites[0]].suffer(mishap)
        here = held[transaction.site]
        assert transaction.at_ms >= here.dark_until_ms
        for statement in transaction.statements:
            row = (statement.table, statement.key)
            if statement.values is None:
                assert row in here.rows - shared
                assert row not in {here.targets.get(other) for other in here.rows - {row}}
                here.log.append((transaction.at_ms, "delete", row))
                here.rows.discard(row)
                deleted += 1
                continue
            assert tuple(statement.values) == all_columns(statement.table)
            for value in statement.values.values():
                if isinstance(value, Reference):
                    here.targets[row] = (value.table, value.key)
                    assert here.targets[row] in here.rows
            assert (row in here.rows) == bool(statement.changed)
            updated += bool(statement.changed)
            if row not in shared:
                assert writers.setdefault(row, transaction.site) == transaction.site
            here.log.append((transaction.at_ms, "insert", row))
            here.rows.add(row)
    assert updated > 200
    assert deleted > 200
    assert len(falls) - len(waiting) > (10 if misfortunes else -1)


class Held:
    """The rows of one site that meets nobody."""

    def __init__(self, shared: set[tuple[str, bytes]]) -> None:
        self.rows = set(shared)
        self.dark_until_ms = 0
        self.targets: dict[tuple[str, bytes], tuple[str, bytes]] = {}
        self.log = [(-1, "insert", row) for row in shared]

    def suffer(self, mishap: Mishap) -> None:
        if mishap.kind == "power-cut":
            self.dark_until_ms = mishap.until_ms
            return
        assert mishap.kind in ("restore", "wipe")
        left_ms = max(0, mishap.at_ms - mishap.age_ms) if mishap.kind == "restore" else -2
        now = set(self.rows)
        self.rows.clear()
        for at_ms, verb, row in self.log:
            if at_ms < left_ms:
                (self.rows.add if verb == "insert" else self.rows.discard)(row)
        # What the fall took away and gave back is as if it had been written now.
        self.log += [(mishap.at_ms, "delete", row) for row in sorted(now - self.rows)]
        self.log += [(mishap.at_ms, "insert", row) for row in sorted(self.rows - now)]


RANDOM = Profile("monkeys", kind="random", writes_an_hour=120, rows=5, deletes=0.2)


def test_random_people_write_and_delete_the_same_few_rows_everywhere():
    drawn = list(script(scenario(RANDOM, 4, faults_ms=10 * HOUR_MS), 1))
    pool = {(table, pool_key(table, rank)) for table in TABLES for rank in range(5)}
    assert len(drawn) == pytest.approx(4 * 10 * 120, rel=0.06)
    statements = [(t.site, s) for t in drawn for s in t.statements]
    for site in range(4):
        assert {(s.table, s.key) for number, s in statements if number == site} == pool
    deletes = sum(s.values is None for _, s in statements)
    assert deletes / len(statements) == pytest.approx(0.2, abs=0.02)
    assert {len(t.statements) for t in drawn} == {1, 2, 3, 4}
    targets = {
        (value.table, value.key)
        for _, s in statements
        for value in (s.values or {}).values()
        if isinstance(value, Reference)
    }
    assert targets == {row for row in pool if row[0] != "obs"}


def test_random_people_write_every_value_once():
    texts = [
        {value for value in statement.values.values() if isinstance(value, str)}
        for transaction in script(scenario(RANDOM, 4), 1)
        for statement in transaction.statements
        if statement.values is not None
    ]
    assert {len(written) for written in texts} == {1}
    assert len(set().union(*texts)) == len(texts)


def test_random_people_without_power_write_nothing():
    cut = Misfortune("power-cut", at_ms=HOUR_MS, lasts_ms=HOUR_MS, sites=("s1",))
    drawn = list(script(scenario(RANDOM, 2, misfortunes=(cut,)), 1))
    dark = [t for t in drawn if HOUR_MS <= t.at_ms < 2 * HOUR_MS]
    assert {t.site for t in dark} == {0}
    assert {t.site for t in drawn} == {0, 1}


def test_a_site_writes_only_tables_that_it_keeps():
    run = scenario(sites=2)
    away = replace(run.sites[1], tables=("person", "visit"))
    drawn = list(script(replace(run, sites=(run.sites[0], away)), 1))
    assert {s.table for t in drawn if t.site == 1 for s in t.statements} == {"person", "visit"}
    assert {s.table for t in drawn if t.site == 0 for s in t.statements} == set(TABLES)
    assert all(t.statements for t in drawn)


def test_a_site_where_nobody_works_writes_nothing():
    run = scenario(sites=2)
    run = replace(run, sites=(replace(run.sites[0], people=None), run.sites[1]))
    assert {transaction.site for transaction in script(run, 1)} == {1}


@pytest.mark.parametrize("profile", [CENTRE, RANDOM], ids=["clinic", "random"])
def test_one_site_more_shifts_nothing_elsewhere(profile):
    few = list(script(scenario(profile, 2), 9))
    more = [t for t in script(scenario(profile, 3), 9) if t.site < 2]
    assert few == more


def test_seeds_differ():
    first, second = (list(itertools.islice(script(scenario(), seed), 50)) for seed in (1, 2))
    assert first != second


def test_the_same_seed_gives_the_same_script_whatever_the_hash_seed():
    program = (
        "from syncsim import Scenario\n"
        "from syncsim.people import script, shared_statements\n"
        "for name in ('bad-week', 'small-clinics', 'lost-server'):\n"
        "    scenario = Scenario.load(f'simulations/scenarios/{name}.toml')\n"
        "    print(shared_statements(scenario))\n"
        "    for transaction in script(scenario, 7):\n"
        "        print(transaction)\n"
    )
    digests = [
        hashlib.sha256(
            subprocess.run(
                [sys.executable, "-c", program],
                env={**os.environ, "PYTHONHASHSEED": hash_seed},
                capture_output=True,
                check=True,
            ).stdout
        ).hexdigest()
        for hash_seed in ("1", "2")
    ]
    assert digests[0] == digests[1]
    assert digests[0] != hashlib.sha256(b"").hexdigest()
