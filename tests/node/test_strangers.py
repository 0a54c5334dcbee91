"""Two populated databases of applications that nobody here has written for become one."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from mariadb_sites import Maker, details, maker, servers_of
from sites import settle
from strangers import stranger

from syncnode.comparing.answers import Answers
from syncnode.operations.verifying import Verifying, check
from syncnode.schema.suspicion import proposal

MARKS = {
    "mysql": [pytest.mark.mariadb],
    "postgresql": [pytest.mark.postgresql],
    "sqlite": [],
    "mixed": [pytest.mark.mariadb, pytest.mark.postgresql],
}
ENGINES = {"mixed": ("mysql", "postgresql")}
STORIES = [
    pytest.param(name, ENGINES.get(on, (on, on)), id=f"{name}-{on}", marks=MARKS[on])
    for name, engines in {
        "django": ("sqlite", "mixed"),
        "rails": ("sqlite", "mixed"),
        "ship": ("mysql", "postgresql", "sqlite"),
        "shop": ("mysql", "postgresql", "sqlite"),
        "museum": ("mysql", "postgresql", "sqlite"),
    }.items()
    for on in engines
]


@pytest.fixture
def make(
    request: pytest.FixtureRequest, tmp_path: Path, engines: tuple[str, str]
) -> Iterator[Maker]:
    yield from maker(tmp_path, *servers_of(request, engines))


@pytest.mark.parametrize(("name", "engines"), STORIES)
def test_two_databases_of_a_stranger_become_one(make, name, engines, tmp_path):
    known = stranger(name)
    preset = tmp_path / "preset.toml"
    preset.write_text(known.preset)
    here, there = (
        make((), engine, before=partial(known.fill, side=side), preset=str(preset))[0]
        for engine, side in zip(engines, ("here", "there"), strict=True)
    )
    settle(here, there)
    alike(known, here, there)
    known.run(here.connection, "here writes")
    known.run(there.connection, "there writes")
    settle(here, there)
    alike(known, here, there)
    answers = Answers(there.replica)
    compared = Verifying(here.replica, there.name, answers.answer, lambda _: None)
    assert compared.run(False, pytest.fail).equal
    for site in (here, there):
        found = check(site.settings, repair=False, confirm=pytest.fail, progress=lambda _: None)
        assert found.sound, found.reason


def alike(known, here, there):
    shown = known.shown(here.connection)
    assert any(shown.values())
    assert known.shown(there.connection) == shown
    assert details(here) == details(there) == []


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Maker]:
    yield from maker(tmp_path, None)


def planned(lite, name):
    """The plan of a stranger's first database, without a preset."""
    (site,) = lite((), "sqlite", before=partial(stranger(name).fill, side="here"))
    return site.replica.plan


def test_the_plan_says_in_which_indexes_clashes_are_not_decided(lite):
    (said,) = (text for text in planned(lite, "shop").warnings if "parks the other" in text)
    assert "the unique index one_email of customer is over an expression" in said


def test_what_a_stranger_should_declare_is_proposed_to_him(lite):
    rails, django = (proposal(planned(lite, name)).splitlines() for name in ("rails", "django"))
    # Tables are called by many, columns by one; and what some column says decides.
    assert '# references.user_id = "users"' in rails
    assert '# conditional.about_id = { column = "about_type", tables = "kinds" }' in rails
    assert "# [maps.kinds]" in rails
    assert '# key = ["user_id", "group_id"]  # nothing but a counter names a row' in django
    assert (
        '# conditional.object_id = { by = "content_type_id", column = "…", tables = "kinds" }'
        in django
    )
