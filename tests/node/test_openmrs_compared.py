"""Two OpenMRS databases that number their rows otherwise: compared, joined, and compared again."""

import pytest
from mariadb_sites import maker
from openmrs_sites import openmrs_site
from sites import one_network, settle

from syncnode.comparing.answers import Answers
from syncnode.operations.verifying import Verifying, check


@pytest.fixture
def make(tmp_path, mariadb):
    yield from maker(tmp_path, mariadb)


def compared(here, there):
    answers = Answers(there.replica)
    there.replica.seal()
    report = Verifying(here.replica, there.name, answers.answer, lambda _: None).run(
        False, pytest.fail
    )
    return report, {
        one.table: (one.same, one.different, one.only_here, one.only_there, one.on_the_way)
        for one in report.tables
        if not one.equal
    }


def test_what_differs_is_named_before_and_nothing_after(make, openmrs):
    here = openmrs_site(make, openmrs, "data-2.x.sql")
    there = openmrs_site(make, openmrs, "data-2.x-merged.sql")
    one_network(here, there)
    report, different = compared(here, there)
    # Neither has heard of the other yet, so nothing is a fault.
    assert not report.equal
    assert "not exchanged yet" in report.reason
    assert all(numbers[1:4] == (0, 0, 0) for numbers in different.values())
    assert 200 < sum(numbers[4] for numbers in different.values()) < 600
    assert report.bytes_sent + report.bytes_received < 60_000
    settle(here, there)
    after, left = compared(here, there)
    assert left == {}
    assert after.equal
    assert after.bytes_sent + after.bytes_received < 250
    assert sum(one.same for one in after.tables) > 800
    for site in (here, there):
        found = check(site.settings, repair=False, confirm=pytest.fail, progress=lambda _: None)
        assert found.sound, found.reason
