"""A small registry with what no catalogue shows, and the preset that says it.

References without a foreign key, one of them a shared key; values that are local numbers where
another column says so, in a text and in a number; rows that stay at each site; a table of words
with nothing but a counter; a log that is not replicated.
"""

from walked import Beyond, Walker

SCHEMA = (
    "CREATE TABLE person (person_id INTEGER PRIMARY KEY {auto}, name VARCHAR(50),"
    " creator INTEGER NOT NULL DEFAULT 0, uuid VARCHAR(38) NOT NULL)",
    "CREATE TABLE users (user_id INTEGER PRIMARY KEY {auto}, person_id INTEGER NOT NULL,"
    " uuid VARCHAR(38) NOT NULL UNIQUE, FOREIGN KEY (person_id) REFERENCES person (person_id))",
    "CREATE TABLE concept (concept_id INTEGER PRIMARY KEY {auto}, name VARCHAR(50),"
    " uuid VARCHAR(38) NOT NULL UNIQUE)",
    "CREATE TABLE place (place_id INTEGER PRIMARY KEY {auto}, name VARCHAR(50),"
    " uuid VARCHAR(38) NOT NULL UNIQUE)",
    "CREATE TABLE orders (order_id INTEGER PRIMARY KEY {auto}, concept_id INTEGER NOT NULL,"
    " place_id INTEGER DEFAULT 0, note VARCHAR(50), uuid VARCHAR(38) NOT NULL UNIQUE)",
    "CREATE TABLE attribute_type (type_id INTEGER PRIMARY KEY {auto}, format VARCHAR(50),"
    " foreign_number INTEGER, uuid VARCHAR(38) NOT NULL UNIQUE)",
    "CREATE TABLE attribute (attribute_id INTEGER PRIMARY KEY {auto}, person_id INTEGER NOT NULL,"
    " type_id INTEGER NOT NULL, value VARCHAR(50), uuid VARCHAR(38) NOT NULL UNIQUE,"
    " FOREIGN KEY (person_id) REFERENCES person (person_id),"
    " FOREIGN KEY (type_id) REFERENCES attribute_type (type_id))",
    "CREATE TABLE problem (problem_id INTEGER PRIMARY KEY {auto}, person_id INTEGER NOT NULL,"
    " uuid VARCHAR(38) NOT NULL UNIQUE, FOREIGN KEY (person_id) REFERENCES person (person_id))",
    "CREATE TABLE allergy (problem_id INTEGER NOT NULL PRIMARY KEY, severity VARCHAR(50))",
    "CREATE TABLE user_property (user_id INTEGER NOT NULL, property VARCHAR(50) NOT NULL,"
    " value VARCHAR(50), PRIMARY KEY (user_id, property),"
    " FOREIGN KEY (user_id) REFERENCES users (user_id))",
    "CREATE TABLE word (word_id INTEGER PRIMARY KEY {auto}, word VARCHAR(50) NOT NULL,"
    " meaning VARCHAR(50))",
    "CREATE TABLE word_use (use_id INTEGER PRIMARY KEY {auto}, word_id INTEGER NOT NULL,"
    " uuid VARCHAR(38) NOT NULL UNIQUE, FOREIGN KEY (word_id) REFERENCES word (word_id))",
    "CREATE TABLE audit_log (id INTEGER PRIMARY KEY {auto}, line VARCHAR(50))",
)

PRESET = """\
about = "the registry of the tests"
modified = ["date_changed"]

[maps.classes]
"Concept" = "concept"
"Place" = "place"

[tables."audit_*"]
exclude = "what happened at this site"

[tables.person]
references.creator = "users"

[tables.orders]
references.concept_id = "concept"
references.place_id = "place"

[tables.attribute_type]
conditional.foreign_number = { column = "format", tables = "classes" }

[tables.attribute]
conditional.value = { by = "type_id", column = "format", tables = "classes" }

[tables.allergy]
references.problem_id = "problem"

[tables.user_property]
local.property = ["lastLogin", "100% 'local'"]

[tables.word]
key = ["word"]
"""

_TABLES = {"Concept": "concept", "Place": "place"}


def _of_attribute(walker: Walker, row: dict[str, object]) -> str | None:
    kind = walker.row("attribute_type", row["type_id"])
    digits = str(row["value"]).isdigit()
    return _TABLES.get(str(kind["format"])) if kind is not None and digits else None


BEYOND = Beyond(
    references={
        "person.creator": "users",
        "orders.concept_id": "concept",
        "orders.place_id": "place",
        "allergy.problem_id": "problem",
    },
    conditional={
        "attribute_type.foreign_number": lambda _walker, row: _TABLES.get(str(row["format"])),
        "attribute.value": _of_attribute,
    },
    left_out=("audit_log",),
    local={"user_property": lambda row: row["property"] in ("lastLogin", "100% 'local'")},
    identities={"word": ("word",), "word_use": ("uuid",)},
)


def uuid(number: int) -> str:
    return f"{number:08}-0000-4000-8000-000000000000"
