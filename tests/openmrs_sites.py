"""OpenMRS databases for tests, and what their catalogue does not show, said by the tests alone."""

from pathlib import Path
from typing import Any

from mariadb_sites import Maker
from servers import MariaDB
from sites import Site
from walked import Beyond, Walker

PREFIXES = ("hl7_", "scheduler_", "notification_alert", "liquibase", "report_", "global_property")
TABLES = {
    "org.openmrs.Concept": "concept",
    "org.openmrs.Location": "location",
    "org.openmrs.Person": "person",
    "org.openmrs.User": "users",
}


def _of_attribute(walker: Walker, row: dict[str, Any]) -> str | None:
    kind = walker.row("person_attribute_type", row["person_attribute_type_id"])
    return TABLES.get(kind["format"]) if kind and str(row["value"]).isdigit() else None


def beyond(server: MariaDB, database: str) -> Beyond:
    """What to know of the database beside its catalogue."""
    tables = [
        name
        for (name,) in server.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (database,)
        )
    ]
    return Beyond(
        references={
            "orders.concept_id": "concept",
            "concept_set.concept_id": "concept",
            "person_name.changed_by": "users",
            "concept_name_tag.creator": "users",
            "concept_name_tag.voided_by": "users",
            "cohort_member.voided_by": "users",
            "provider_role.creator": "users",
            "provider_role.changed_by": "users",
            "provider_role.retired_by": "users",
        },
        conditional={
            "person_attribute.value": _of_attribute,
            "person_attribute_type.foreign_key": lambda _w, row: TABLES.get(row["format"]),
        },
        left_out=[name for name in tables if name.startswith(PREFIXES)],
        local={
            "user_property": lambda row: row["property"] in ("loginAttempts", "lockoutTimestamp")
        },
        identities={"role": ("role",), "privilege": ("privilege",)},
    )


def openmrs_site(make: Maker, folder: Path, *files: str, **options: Any) -> Site:
    """A site whose database holds the schema and these files of `folder`."""
    assert make.server is not None, "OpenMRS is for MariaDB"
    server = make.server

    def before(connection: Any) -> None:
        database = connection.db.decode()
        for name in ("schema-2.x.sql", *files):
            server.load(database, folder / name)

    (site,) = make((), "mysql", before=before, preset="openmrs", charset="utf8mb3", **options)
    return site
