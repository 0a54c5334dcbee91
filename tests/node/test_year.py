"""A year of three clinics (see `years`): at its end all hold the same; OpenMRS's is beside this in
`test_openmrs_vendors`."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from clinic import CLINIC, clinic_rows
from clinic_desk import ClinicDesk
from mariadb_sites import Maker, maker
from servers import MariaDB, PostgreSQL
from sites import Site, one_network, same_rows, settle
from tables import fill
from years import lived


@pytest.fixture
def make(tmp_path: Path, mariadb: MariaDB, postgresql: PostgreSQL) -> Iterator[Maker]:
    yield from maker(tmp_path, mariadb, postgresql)


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[Maker]:
    yield from maker(tmp_path, None)


def clinics(make: Maker, *engines: str) -> list[Site]:
    rows = list(clinic_rows(1, 5))
    (one,) = make(CLINIC, engines[0], before=lambda connection: fill(connection, rows))
    sites = [one, *(make(CLINIC, engine)[0] for engine in engines[1:])]
    one_network(*sites)
    settle(*sites)
    return sites


def test_a_year_of_three_clinics_on_sqlite(lite, seeds):
    sites = clinics(lite, "sqlite", "sqlite", "sqlite")
    lived(ClinicDesk, sites, seeds)
    for other in sites[1:]:
        same_rows(sites[0], other, CLINIC)


def test_a_year_of_three_clinics_on_three_engines(make, seeds):
    sites = clinics(make, "mysql", "postgresql", "sqlite")
    lived(ClinicDesk, sites, seeds)
    for other in sites[1:]:
        same_rows(sites[0], other, CLINIC)
