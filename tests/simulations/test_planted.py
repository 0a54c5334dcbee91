"""The checkers find bugs: each of those in `planted/bugs.py`, planted in the protocol."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from planted.bugs import BUGS
from planted.plant import broken
from planted.run import played, table

from syncsim.checkers import CHECKERS

WORLDS = 50  # in which each bug must be found; the long run takes 200
AT_ONCE = 2  # processes
README = Path(__file__).with_name("planted") / "README.md"


def test_there_are_thirty_bugs_and_each_has_a_name_of_its_own():
    assert len(BUGS) >= 30
    assert len({bug.name for bug in BUGS}) == len(BUGS)


def test_each_checker_has_a_bug_that_it_finds():
    assert {bug.checker for bug in BUGS} == {*CHECKERS, "alarm"}


def test_the_readme_lists_the_bugs_as_they_are():
    assert table() in README.read_text(encoding="utf-8"), "run.py --table prints what it must list"


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_still_fits_its_place(bug):
    assert broken(bug)


def test_every_planted_bug_is_found_by_its_checker(seeds):
    def found(bug):
        worlds = played(bug.name, bug.checker, [bug.seed, *range(WORLDS * min(seeds, 4))])
        return bug.checker in worlds[-1].found

    with ThreadPoolExecutor(AT_ONCE) as processes:
        verdicts = list(processes.map(found, BUGS))
    missed = [bug.name for bug, verdict in zip(BUGS, verdicts, strict=True) if not verdict]
    assert not missed


def test_without_a_bug_nothing_is_found():
    worlds = played("", "", sorted({bug.seed for bug in BUGS}))
    assert [world.seed for world in worlds if world.found] == []
