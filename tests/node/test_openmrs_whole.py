"""All of OpenMRS 2.7 under its preset: the plan, and two sites that number their rows otherwise.

The judge follows foreign keys by itself (`walked`), and is told the references that no catalogue
shows by this side of the fence alone (`openmrs_sites`).
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from mariadb_sites import Maker, details, maker, run
from openmrs_sites import beyond, openmrs_site
from servers import MariaDB
from sites import Site, one_network, settle
from sqlalchemy import create_engine
from walked import Beyond, differences, walked

from syncnode.schema.inspect import inspect
from syncnode.schema.rule_files import read_preset
from syncnode.schema.suspicion import proposal


@pytest.fixture
def make(tmp_path: Path, mariadb: MariaDB) -> Iterator[Maker]:
    yield from maker(tmp_path, mariadb)


OUT = {
    "global_property",
    *("hl7_in_archive", "hl7_in_error", "hl7_in_queue", "hl7_source"),
    *("liquibasechangelog", "liquibasechangeloglock"),
    *("notification_alert", "notification_alert_recipient"),
    *("report_object", "report_schema_xml"),
    *("scheduler_task_config", "scheduler_task_config_property"),
}
NOT_BY_UUID = {
    "composite": {
        *("user_role", "role_privilege", "role_role", "location_tag_map"),
        *("order_type_class_map", "user_property", "drug_ingredient", "field_answer"),
    },
    "natural": {"role", "privilege"},
    "none": {"concept_name_tag_map", "concept_proposal_tag_map"},
    "shared": {
        *("patient", "concept_numeric", "concept_complex"),
        *("drug_order", "test_order", "referral_order"),
    },
}
NOT_SHOWN = {
    ("orders", "concept_id", "concept"),
    ("concept_set", "concept_id", "concept"),
    ("person_name", "changed_by", "users"),
    ("concept_name_tag", "creator", "users"),
    ("concept_name_tag", "voided_by", "users"),
    ("cohort_member", "voided_by", "users"),
    ("provider_role", "creator", "users"),
    ("provider_role", "changed_by", "users"),
    ("provider_role", "retired_by", "users"),
}


def test_the_preset_sets_up_every_table_without_a_hand(openmrs, mariadb, mariadb_url):
    mariadb.load(mariadb_url.rpartition("/")[2], openmrs / "schema-2.x.sql")
    engine = create_engine(mariadb_url)
    plan = inspect(engine, rules=[read_preset("openmrs", Path("/"))])
    bare = inspect(engine)
    engine.dispose()
    assert {one.table for one in plan.excluded} == OUT
    assert len(plan.tables) == 119 - len(OUT)
    kinds: dict[str, set[str]] = {}
    for table in plan.tables:
        kinds.setdefault(table.key_kind, set()).add(table.name)
    by_uuid = kinds.pop("uuid")
    assert kinds == NOT_BY_UUID
    assert {"users", "allergy", "concept_stop_word", "serialized_object"} <= by_uuid
    declared = {
        (table.name, key.columns[0], key.table)
        for table in plan.tables
        for key in table.foreign_keys
        if key.declared
    }
    assert declared == NOT_SHOWN
    assert plan.suspected == ()
    believed = tomllib.loads(proposal(bare).replace("# unique", "unique"))
    assert believed["tables"]["location_tag"]["unique"] == {"name": "merge"}  # of two indexes
    found = {(one.table, one.column, one.target) for one in bare.suspected}
    assert found >= NOT_SHOWN
    assert plan.by_name["encounter"].modified == ("date_changed", "date_voided", "date_created")
    assert plan.by_name["role"].modified == ()


LOSER = 8  # whom the sample day merges into another patient


def test_three_sites_with_other_numbers_end_equal_after_a_day_apart(make, openmrs, mariadb):
    """The same rows under other numbers, and two of the sites with the same numbers; then a day of
    work at both of these while nobody speaks to anybody."""
    one, other, third = sites = [
        openmrs_site(make, openmrs, "data-2.x.sql"),
        openmrs_site(make, openmrs, "data-2.x-merged.sql"),
        openmrs_site(make, openmrs, "data-2.x.sql"),
    ]
    one_network(*sites)
    known = beyond(mariadb, "site0")
    settle(*sites)
    alike(known, *sites)

    (name,) = (str(uuid) for (uuid,) in run(one, "SELECT uuid FROM person WHERE person_id = 8"))
    ((there,),) = run(other, "SELECT person_id FROM person WHERE uuid = ?", name)
    assert there != LOSER, "the numbers differ"
    for site in (one, third):
        mariadb.load(site.settings.database.rpartition("/")[2], openmrs / "workload-2.x.sql")
    run(
        other,
        "INSERT INTO obs (person_id, concept_id, obs_datetime, value_text, creator, date_created,"
        " voided, uuid, status) SELECT ?, min(concept_id), '2024-03-04', 'written meanwhile',"
        " min(creator), '2024-03-04', 0, UUID(), 'FINAL' FROM concept",
        there,
    )
    settle(*sites)
    alike(known, *sites)
    shown = run(one, "SELECT person_id FROM obs WHERE value_text = 'written meanwhile'")
    assert list(shown) == [(LOSER,)]
    assert run(one, "SELECT voided FROM person WHERE person_id = 8")[0][0] == 1
    days = run(other, "SELECT count(*) FROM person_merge_log")
    assert days[0][0] == 2
    attempts = "SELECT property_value FROM user_property WHERE property = 'loginAttempts'"
    assert [list(run(site, attempts)) for site in sites] == [[("1",)], [("0",)], [("1",)]]


def alike(known: Beyond, *sites: Site) -> None:
    """All sites show the same and nothing waits anywhere."""
    first, *others = (walked(site.connection, known) for site in sites)
    for picture in others:
        assert differences(first, picture) == {}
    assert [details(site) for site in sites] == [[]] * len(sites)
