"""Reports call rows as people do: by their uuid, or by the values that name them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sites import Site, make_site, one_network, settle

from syncnode.operations import conflicts

SCHEMA = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY, uuid CHAR(38) NOT NULL UNIQUE, note TEXT)",
    "CREATE TABLE patient (id INTEGER PRIMARY KEY REFERENCES person (id), note TEXT)",
    "CREATE TABLE role (role VARCHAR(50) PRIMARY KEY, note TEXT)",
    "CREATE TABLE member (person_id INTEGER REFERENCES person (id), role VARCHAR(50) NOT NULL"
    " REFERENCES role (role), note TEXT, PRIMARY KEY (person_id, role))",
)
ANN = "0a8e1a54-1111-4222-8333-000000000001"
ODD = "Provider"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    made = make_site(tmp_path, "here", SCHEMA), make_site(tmp_path, "there", SCHEMA)
    one_network(*made)
    yield made
    for site in made:
        site.close()


def test_a_row_is_called_by_its_uuid_or_by_the_values_that_name_it(
    pair: tuple[Site, Site],
) -> None:
    here, _ = pair
    here.sql("INSERT INTO person (id, uuid) VALUES (7, ?), (8, ?)", ANN, ODD)
    here.sql("INSERT INTO patient (id) VALUES (7)")
    here.sql("INSERT INTO role (role) VALUES ('Nurse')")
    here.sql("INSERT INTO member (person_id, role) VALUES (7, 'Nurse'), (8, 'Nurse')")
    settle(*pair)
    for number, site in enumerate(pair):
        for table in ("person", "patient", "role", "member"):
            site.sql(f"UPDATE {table} SET note = ?", f"note {number}")
        site.replica.seal()
        time.sleep(0.003)
    settle(*pair)
    for site in pair:
        assert sorted((one.table, one.row_name) for one in conflicts(site.settings)) == [
            ("member", f"person_id={ANN}, role=Nurse"),
            ("member", f"person_id={ODD}, role=Nurse"),
            ("patient", ANN),
            ("person", ANN),
            ("person", ODD),
            ("role", "Nurse"),
        ]
