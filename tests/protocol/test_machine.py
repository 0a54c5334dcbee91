"""Hypothesis against the protocol: it looks for a run that breaks a promise and shrinks it.

`FleetMachine` is told by `make_replica` what to run over, so a test beside a database only
needs a subclass with another factory.
"""

from random import Random

import hypothesis.strategies as st
import pytest
from fleet import (
    COLUMNS,
    NOTE,
    PATIENT,
    TABLES,
    VISIT,
    YEAR_MS,
    Faults,
    Fleet,
    row_key,
    tables_of,
)
from hypothesis import Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from syncsim.subject import MakeReplica, memory_subject

EXAMPLES = 400
STEPS = 40
PHASES = (Phase.reuse, Phase.generate, Phase.shrink)  # to explain takes a tracer and minutes

SITES = st.integers(0, 3)  # taken modulo the sites that live
TURNS = st.integers(0, 7)
PLACES = st.tuples(st.sampled_from(TABLES), st.integers(0, 2).map(row_key))
FAULTS = st.builds(
    Faults,
    break_at=st.none() | TURNS,
    twice=st.frozensets(st.sampled_from([0, 2, 4]), max_size=2),
    late=st.frozensets(st.sampled_from([0, 2, 4]), max_size=2),
    write_at=st.none() | TURNS,
    restart_at=st.none() | TURNS,
)


class FleetMachine(RuleBasedStateMachine):
    """Sites, links and disks; after each run everything heals and the judges are asked."""

    make_replica: MakeReplica = staticmethod(memory_subject)

    fleet: Fleet

    @initialize(
        few=st.lists(st.booleans(), min_size=2, max_size=4),
        rows_max=st.integers(1, 5),
        seed=st.integers(0, 3),
    )
    def begin(self, few: list[bool], rows_max: int, seed: int) -> None:
        self.fleet = Fleet(
            type(self).make_replica,
            Random(seed),
            tables=[tables_of(one) for one in few],
            rows_max=[rows_max] * len(few),
        )

    def site(self, number: int) -> int:
        return self.fleet.living[number % len(self.fleet.living)]

    @rule(
        site=SITES,
        places=st.lists(PLACES, min_size=1, max_size=3),
        columns=st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=2, unique=True),
    )
    def write(self, site: int, places: list[tuple[str, bytes]], columns: list[str]) -> None:
        self.fleet.write(self.site(site), places, columns)  # type: ignore[arg-type]

    @rule(site=SITES, place=PLACES)
    def delete(self, site: int, place: tuple[str, bytes]) -> None:
        self.fleet.delete(self.site(site), place)  # type: ignore[arg-type]

    @rule(site=SITES)
    def seal(self, site: int) -> None:
        self.fleet.seal(self.site(site))

    @precondition(lambda self: len(self.fleet.living) > 1)
    @rule(site=SITES, other=st.integers(1, 3), faults=FAULTS)
    def exchange(self, site: int, other: int, faults: Faults) -> None:
        living = self.fleet.living
        caller = site % len(living)
        callee = (caller + 1 + other % (len(living) - 1)) % len(living)
        self.fleet.exchange(living[caller], living[callee], faults)

    @precondition(lambda self: self.fleet.late)
    @rule(which=st.integers(0, 5))
    def deliver_late(self, which: int) -> None:
        self.fleet.deliver_late(which)

    @rule(site=SITES)
    def restart(self, site: int) -> None:
        self.fleet.restart(self.site(site))

    @rule(site=SITES)
    def back_up(self, site: int) -> None:
        self.fleet.back_up(self.site(site))

    @precondition(lambda self: self.fleet.backups)
    @rule(site=SITES, anchor_kept=st.booleans())
    def restore(self, site: int, anchor_kept: bool) -> None:
        number = self.site(site)
        if number in self.fleet.backups:
            self.fleet.restore(number, anchor_kept=anchor_kept)

    @precondition(lambda self: len(self.fleet.living) > 2)
    @rule(site=SITES)
    def die(self, site: int) -> None:
        self.fleet.die(self.site(site))

    @rule(ms=st.sampled_from([1, 1_000, 60_000]))
    def advance(self, ms: int) -> None:
        self.fleet.advance(ms)

    @rule(site=SITES, minutes=st.integers(-8, 8))
    def set_clock(self, site: int, minutes: int) -> None:
        self.fleet.set_clock(self.site(site), minutes * 60_000)

    @rule(site=SITES, years=st.sampled_from([0, 0, 1, 70]))
    def set_clock_wildly(self, site: int, years: int) -> None:
        self.fleet.set_clock(self.site(site), years * YEAR_MS)

    def teardown(self) -> None:
        if hasattr(self, "fleet"):
            self.fleet.heal()
            self.fleet.check()


@pytest.mark.parametrize("machine", [FleetMachine])
def test_no_run_breaks_a_promise(machine: type[FleetMachine], seeds: int) -> None:
    effort = settings(
        max_examples=EXAMPLES * seeds,
        stateful_step_count=STEPS,
        deadline=None,
        report_multiple_bugs=False,
        phases=PHASES,
    )
    run_state_machine_as_test(machine, settings=effort)


def test_a_shared_change_whose_nonce_the_peer_forgot_is_written_again_unseen_by_deletes() -> None:
    """The peer remembers the last changeset of each delta, so the site cannot prove that it
    shares an earlier one. A delete that had seen the row gives way, and that is on record."""
    fleet = Fleet(memory_subject, Random(2), tables=[TABLES] * 2, rows_max=[3] * 2)
    place = (PATIENT, row_key(1))
    fleet.write(0, [place], COLUMNS)
    fleet.seal(0)
    fleet.back_up(0)
    fleet.delete(0, place)
    fleet.exchange(0, 1)
    fleet.restore(0, anchor_kept=False)
    fleet.heal()
    fleet.check()
    assert fleet.sites[1].subject.application.read(*place) is not None
    assert [name[2] for name in fleet.sites[1].subject.conflicts()] == [""]


def test_a_delete_has_not_seen_what_of_the_same_changeset_was_kept_aside() -> None:
    """The clock jumps ahead between two writes of one journal: one dot, two readings."""
    fleet = Fleet(memory_subject, Random(1), tables=[TABLES] * 2, rows_max=[2] * 2)
    place = (NOTE, row_key(1))
    fleet.write(1, [place], COLUMNS)
    fleet.set_clock(1, YEAR_MS)
    fleet.write(1, [place], COLUMNS[:1])
    fleet.set_clock(1, 0)
    fleet.exchange(1, 0)
    fleet.delete(0, place)
    fleet.exchange(0, 1)
    fleet.heal()
    fleet.check()
    assert fleet.sites[0].subject.application.read(*place) is not None


def test_a_rolled_back_site_writes_a_row_again_in_the_millisecond_of_the_lost_write() -> None:
    """Both writes bear one reading and one dot; the branch goes on under a new incarnation,
    which decides. The record kept the dot that the branch had lost."""
    fleet = Fleet(memory_subject, Random(2), tables=[TABLES] * 2, rows_max=[1] * 2)
    fleet.write(0, [(VISIT, row_key(0))], COLUMNS)
    fleet.seal(0)
    fleet.back_up(0)
    fleet.write(0, [(PATIENT, row_key(1))], COLUMNS)
    fleet.exchange(0, 1)
    fleet.restore(0, anchor_kept=False)
    fleet.write(0, [(PATIENT, row_key(1))], COLUMNS)
    fleet.heal()
    fleet.check()
    first, second, again = [write for write in fleet.history.writes if write.table == PATIENT]
    assert first.dot == second.dot != again.dot
    assert first.name == second.name == again.name
    assert fleet.sites[1].subject.application.read(PATIENT, row_key(1)) == second.values
