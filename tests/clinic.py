"""A small clinic with every trait that makes identity hard in OpenMRS, and rows for it.

What is here: person, users and concept refer to each other in a cycle; users.uuid is unique in
fact only and user 0 exists; a patient shares its person's key; user_role and "User Property" are
named by a user and a text, role by its text, visit_note by a counter alone, tag_map by nothing;
locations and observations refer to their own table; columns refer with DEFAULT 0; names hold
blanks, quotes, percent signs, reserved words and letters beyond ASCII.
"""

import random
import sqlite3
import uuid
from collections.abc import Iterator

from tables import Column, Foreign, Record, Schema, Table, create, fill

UUID = Column("uuid", "uuid", null=False)


def _to(column: str, table: str, target: str, action: str = "") -> Foreign:
    return Foreign((column,), table, (target,), action)


CLINIC = Schema(
    (
        Table(
            "person",
            (
                Column("person_id", "counter", null=False),
                Column("gender", "varchar(50)", default="''"),
                Column("birthdate", "date"),
                Column("birthtime", "time"),
                Column("dead", "bool", null=False, default="0"),
                Column("weight_kg", "decimal(6,2)"),
                Column("height_m", "double"),
                Column("temperature", "float"),
                Column("photo", "blob"),
                Column("consent", "bit"),
                Column("creator", "int"),
                Column("date_created", "datetime", null=False),
                Column("date_changed", "datetime(6)"),
                UUID,
            ),
            primary_key=("person_id",),
            identity=("uuid",),
            foreign=(_to("creator", "users", "user_id"),),
            unique=(("uuid",),),
        ),
        Table(
            "users",
            (
                Column("user_id", "counter", null=False),
                Column("system_id", "varchar(50)", null=False, default="''"),
                Column("username", "varchar(50)"),
                Column("email", "varchar(255)"),
                Column("person_id", "int", null=False),
                Column("creator", "int", null=False, default="0"),
                Column("changed_by", "int"),
                UUID,
            ),
            primary_key=("user_id",),
            identity=("uuid",),
            foreign=(
                _to("person_id", "person", "person_id"),
                _to("creator", "users", "user_id"),
                _to("changed_by", "users", "user_id"),
            ),
            unique=(("email",),),
        ),
        Table(
            "concept_class",
            (
                Column("concept_class_id", "counter", null=False),
                Column("name", "varchar(255)", null=False, default="''"),
                Column("creator", "int", null=False, default="0"),
                UUID,
            ),
            primary_key=("concept_class_id",),
            identity=("uuid",),
            foreign=(_to("creator", "users", "user_id"),),
            unique=(("uuid",),),
        ),
        Table(
            "concept",
            (
                Column("concept_id", "counter", null=False),
                Column("class_id", "int", null=False, default="0"),
                Column("creator", "int", null=False, default="0"),
                Column("short_name", "varchar(255)"),
                UUID,
            ),
            primary_key=("concept_id",),
            identity=("uuid",),
            foreign=(
                _to("class_id", "concept_class", "concept_class_id"),
                _to("creator", "users", "user_id"),
            ),
            unique=(("uuid",),),
        ),
        Table(
            "patient",
            (
                Column("patient_id", "int", null=False),
                Column("creator", "int", null=False, default="0"),
                Column("allergy_status", "varchar(50)", null=False, default="'Unknown'"),
            ),
            primary_key=("patient_id",),
            identity=("patient_id",),
            foreign=(
                _to("patient_id", "person", "person_id", "ON UPDATE CASCADE"),
                _to("creator", "users", "user_id"),
            ),
        ),
        Table(
            "person_attribute",
            (
                Column("person_attribute_id", "counter", null=False),
                Column("person_id", "int", null=False, default="0"),
                Column("type", "varchar(50)", null=False),
                Column("value", "text"),
                UUID,
            ),
            primary_key=("person_attribute_id",),
            identity=("uuid",),
            foreign=(_to("person_id", "person", "person_id", "ON DELETE CASCADE"),),
            unique=(("uuid",),),
        ),
        Table(
            "role",
            (
                Column("role", "varchar(50)", null=False),
                Column("description", "varchar(255)"),
                UUID,
            ),
            primary_key=("role",),
            identity=("role",),
            unique=(("uuid",),),
        ),
        Table(
            "user_role",
            (Column("user_id", "int", null=False), Column("role", "varchar(50)", null=False)),
            primary_key=("user_id", "role"),
            identity=("user_id", "role"),
            foreign=(
                _to("user_id", "users", "user_id", "ON DELETE CASCADE"),
                _to("role", "role", "role"),
            ),
        ),
        Table(
            "User Property",
            (
                Column("user_id", "int", null=False),
                Column("property", "varchar(100)", null=False),
                Column("the value", "varchar(255)"),
            ),
            primary_key=("user_id", "property"),
            identity=("user_id", "property"),
            foreign=(_to("user_id", "users", "user_id", "ON DELETE CASCADE"),),
        ),
        Table(
            "encounter_type",
            (
                Column("encounter_type_id", "counter", null=False),
                Column("name", "varchar(50)", null=False),
                UUID,
            ),
            primary_key=("encounter_type_id",),
            identity=("uuid",),
            unique=(("uuid",), ("name",)),
        ),
        Table(
            "location",
            (
                Column("location_id", "counter", null=False),
                Column("name", "varchar(255)", null=False, default="''"),
                Column("parent_location", "int"),
                UUID,
            ),
            primary_key=("location_id",),
            identity=("uuid",),
            foreign=(_to("parent_location", "location", "location_id"),),
            unique=(("uuid",),),
        ),
        Table(
            "encounter",
            (
                Column("encounter_id", "counter", null=False),
                Column("patient_id", "int", null=False, default="0"),
                Column("encounter_type", "int", null=False),
                Column("location_id", "int"),
                Column("encounter_datetime", "datetime", null=False),
                UUID,
            ),
            primary_key=("encounter_id",),
            identity=("uuid",),
            foreign=(
                _to("patient_id", "patient", "patient_id", "ON UPDATE CASCADE"),
                _to("encounter_type", "encounter_type", "encounter_type_id"),
                _to("location_id", "location", "location_id", "ON DELETE SET NULL"),
            ),
            unique=(("uuid",),),
        ),
        Table(
            "obs",
            (
                Column("obs_id", "counter", null=False),
                Column("person_id", "int", null=False),
                Column("concept_id", "int", null=False),
                Column("encounter_id", "int"),
                Column("obs_group_id", "int"),
                Column("value_numeric", "double"),
                Column("value_text", "text"),
                UUID,
            ),
            primary_key=("obs_id",),
            identity=("uuid",),
            foreign=(
                _to("person_id", "person", "person_id"),
                _to("concept_id", "concept", "concept_id"),
                _to("encounter_id", "encounter", "encounter_id", "ON DELETE CASCADE"),
                _to("obs_group_id", "obs", "obs_id"),
            ),
            unique=(("uuid",),),
        ),
        Table(
            "order",
            (
                Column("Order Id", "counter", null=False),
                Column("Group Name", "varchar(50)"),
                Column("what's up?", "varchar(50)"),
                Column("100%", "int"),
                Column('say "aah"', "varchar(50)"),
                Column("Größe", "varchar(50)"),
                Column("select", "int"),
                Column("encounter`s", "int"),
                Column("UUID", "uuid", null=False),
            ),
            primary_key=("Order Id",),
            identity=("UUID",),
            foreign=(_to("encounter`s", "encounter", "encounter_id", "ON DELETE CASCADE"),),
            unique=(("UUID",), ("Group Name", "100%")),
        ),
        Table(
            "visit_note",
            (
                Column("visit_note_id", "counter", null=False),
                Column("patient_id", "int", null=False),
                Column("note", "text"),
            ),
            primary_key=("visit_note_id",),
            foreign=(_to("patient_id", "patient", "patient_id", "ON DELETE CASCADE"),),
        ),
        Table(
            "tag_map",
            (Column("concept_id", "int", null=False), Column("tag", "varchar(50)")),
            foreign=(_to("concept_id", "concept", "concept_id"),),
        ),
    )
)

_ROLES = ("Provider", "System Developer", "Infirmière", "Clerk ", "100% of rights")
_NAMES = ("Vitals", "Admission", "Sortie d'hôpital", 'Initial "visit"', "Follow up")


def clinic_rows(seed: int, size: int, *, local_offset: int = 0) -> Iterator[tuple[str, Record]]:
    """(table, row) of a clinic with `size` patients, in an order for `tables.fill`.

    Equal for equal seeds but for local numbers, which begin after `local_offset`: two sites with
    other offsets hold the same rows under other numbers. Only user 0 is 0 everywhere.
    """
    draw = random.Random(seed)

    def drawn() -> str:
        return str(uuid.UUID(int=draw.getrandbits(128), version=4))

    def local(number: int) -> int:
        return local_offset + number

    users = [0, *(local(number) for number in range(1, 4))]
    for position, user in enumerate(users):
        yield "person", _person(draw, local(position + 1), users[0], drawn())
        yield (
            "users",
            {
                "user_id": user,
                "system_id": f"{position}-5",
                "username": f"user {position}" if position else None,
                "email": f"u{position}@clinic.example" if position > 1 else None,
                "person_id": local(position + 1),
                "creator": users[max(0, position - 1)],
                "changed_by": draw.choice([None, *users[:position]]),
                # The daemon's uuid is in capitals; one is none at all, as in OpenMRS's test data.
                "uuid": ("A4F30A1B-5EB9-11DF-A648-37A07F9C90FB", drawn(), "SNOMED CT-2", drawn())[
                    position
                ],
            },
        )
        yield (
            "User Property",
            {"user_id": user, "property": "Défaut %", "the value": f"it's {position}"},
        )
    for position, role in enumerate(_ROLES):
        yield "role", {"role": role, "description": f"what a {role} does", "uuid": drawn()}
        yield "user_role", {"user_id": users[position % len(users)], "role": role}
    for position in range(1, 4):
        yield (
            "concept_class",
            {
                "concept_class_id": local(position),
                "name": f"class {position}",
                "creator": draw.choice(users),
                "uuid": drawn(),
            },
        )
    for position in range(1, 9):
        yield (
            "concept",
            {
                "concept_id": local(position),
                "class_id": local(draw.randint(1, 3)),
                "creator": draw.choice(users),
                "short_name": f"c{position}",
                "uuid": drawn(),
            },
        )
        for _ in range(position % 3):  # the same tag twice is two rows
            yield "tag_map", {"concept_id": local(position), "tag": "preferred"}
    for position, name in enumerate(_NAMES, start=1):
        yield (
            "encounter_type",
            {"encounter_type_id": local(position), "name": name, "uuid": drawn()},
        )
        yield (
            "location",
            {
                "location_id": local(position),
                "name": f"ward of {name}",
                "parent_location": local(position // 2) if position > 1 else None,
                "uuid": drawn(),
            },
        )
    for position in range(1, size + 1):
        person = local(len(users) + position)
        yield "person", _person(draw, person, draw.choice(users), drawn())
        yield "patient", {"patient_id": person, "creator": draw.choice(users)}
        yield (
            "person_attribute",
            {
                "person_attribute_id": local(position),
                "person_id": person,
                "type": "telephone",
                "value": f"+250 {draw.randrange(10**9)}",
                "uuid": drawn(),
            },
        )
        yield (
            "encounter",
            {
                "encounter_id": local(position),
                "patient_id": person,
                "encounter_type": local(draw.randint(1, len(_NAMES))),
                "location_id": draw.choice([None, local(draw.randint(1, len(_NAMES)))]),
                "encounter_datetime": f"2026-01-{draw.randint(10, 28)} 08:30:00",
                "uuid": drawn(),
            },
        )
        for part in range(2):
            yield (
                "obs",
                {
                    "obs_id": local(2 * position + part),
                    "person_id": person,
                    "concept_id": local(draw.randint(1, 8)),
                    "encounter_id": local(position),
                    "obs_group_id": local(2 * position) if part else None,
                    "value_numeric": draw.choice([None, 36.6, 1e-300, 0.1 + 0.2, -5.0]),
                    "value_text": draw.choice([None, "", "fièvre légère", "a\nb\t'c'"]),
                    "uuid": drawn(),
                },
            )
        yield (
            "order",
            {
                "Order Id": local(position),
                "Group Name": f"group {position}",
                "what's up?": "nothing?",
                "100%": draw.randrange(100),
                'say "aah"': 'a"a',
                "Größe": "groß",
                "select": draw.randrange(5),
                "encounter`s": local(position),
                "UUID": drawn(),
            },
        )
        yield (
            "visit_note",
            {"visit_note_id": local(position), "patient_id": person, "note": f"note {position}"},
        )


def clinic_database(path: str, seed: int = 1, size: int = 5, **options: int) -> sqlite3.Connection:
    """A new SQLite file (or ":memory:") with the clinic and its rows."""
    connection = sqlite3.connect(path)
    create(connection, CLINIC)
    fill(connection, clinic_rows(seed, size, **options))
    return connection


def _person(draw: random.Random, number: int, creator: int, name: str) -> Record:
    return {
        "person_id": number,
        "gender": draw.choice("MF"),
        "birthdate": draw.choice([None, f"19{draw.randint(10, 99)}-0{draw.randint(1, 9)}-15"]),
        "birthtime": draw.choice([None, "23:59:01"]),
        "dead": draw.randrange(2),
        "weight_kg": draw.choice([None, "61.50", "0.07"]),
        "height_m": draw.choice([None, 1.75, 0.1]),
        "temperature": draw.choice([None, 36.6, 40.0]),
        "photo": draw.choice([None, b"", b"\x00\xff'\\"]),
        "consent": draw.choice([None, 0, 1]),
        "creator": creator,
        "date_created": "2026-01-02 03:04:05",
        "date_changed": draw.choice([None, "2026-01-02 03:04:05.250000"]),
        "uuid": name,
    }
