"""OpenMRS on three engines in one network: its schema as SQLAlchemy says it in their words."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from converted import converted
from mariadb_sites import Maker, details, maker, run
from openmrs_desk import OpenmrsDesk
from openmrs_sites import beyond, openmrs_site
from servers import MariaDB, PostgreSQL
from sites import Site, one_network, settle
from walked import Beyond, differences, walked
from years import lived

from syncnode.schema.naming import shape_of


@dataclass
class Three:
    """One network over three engines, and how to look at what they hold."""

    sites: tuple[Site, ...]
    known: Beyond

    def alike(self) -> None:
        """All show the same, and nothing waits anywhere."""
        first, *others = (walked(site.connection, self.known) for site in self.sites)
        for picture in others:
            assert differences(first, picture) == {}
        assert [details(site) for site in self.sites] == [[]] * len(self.sites)


@pytest.fixture(scope="module")
def make(
    tmp_path_factory: pytest.TempPathFactory, mariadb: MariaDB, postgresql: PostgreSQL
) -> Iterator[Maker]:
    yield from maker(tmp_path_factory.mktemp("vendors"), mariadb, postgresql)


@pytest.fixture(scope="module")
def three(make: Maker, openmrs: Path, mariadb: MariaDB) -> Three:
    """They take long to make; each test leaves them equal, or lets the next one see to it."""
    one = openmrs_site(make, openmrs, "data-2.x.sql")
    url = one.settings.database
    mariadb.create_database("bare", "utf8mb3")
    mariadb.load("bare", openmrs / "schema-2.x.sql")
    bare = url.rpartition("/")[0] + "/bare"
    others = [
        make(converted(bare, engine), engine, preset="openmrs")[0]
        for engine in ("postgresql", "sqlite")
    ]
    mariadb.execute("DROP DATABASE bare")
    sites = (one, *others)
    one_network(*sites)
    settle(*sites)
    return Three(sites, beyond(mariadb, url.rpartition("/")[2]))


def test_all_three_name_the_rows_of_every_table_alike(three):
    """Or `join` would refuse them."""
    first, *others = (
        {plan.name: shape_of(plan).naming for plan in site.replica.plan} for site in three.sites
    )
    assert others == [first, first]


def test_mariadb_postgresql_and_sqlite_hold_the_same_openmrs(three, openmrs, mariadb):
    """All rows come from the one; then a day of work there while another one writes, too."""
    three.alike()
    one, *others = three.sites
    mariadb.load(one.settings.database.rpartition("/")[2], openmrs / "workload-2.x.sql")
    for number, site in enumerate(others):
        run(
            site,
            "INSERT INTO obs (person_id, concept_id, obs_datetime, value_text, creator,"
            " date_created, voided, uuid, status) SELECT min(person_id), min(concept_id),"
            " '2024-03-04 10:00:00', 'written meanwhile', min(creator), '2024-03-04 10:00:00', 0,"
            f" '0a8e1a54-1111-4222-8333-00000000000{number}', 'FINAL' FROM obs",
        )
        run(site, "UPDATE person SET gender = 'F' WHERE gender = 'M'")
    settle(*three.sites)
    three.alike()
    assert run(one, "SELECT count(*) FROM obs WHERE value_text = 'written meanwhile'")[0][0] == 2
    # The judge sees a single cell.
    first = walked(one.connection, three.known)
    for site in others:
        last = "(SELECT max(person_id) FROM obs)"
        run(site, f"UPDATE person SET gender = 'M' WHERE person_id = {last}")
        assert list(differences(first, walked(site.connection, three.known))) == ["person"]


def test_a_year_of_three_health_centres_on_three_engines(three, seeds):
    settle(*three.sites)
    lived(OpenmrsDesk, three.sites, seeds)
    three.alike()
