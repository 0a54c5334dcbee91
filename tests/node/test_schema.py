"""Inspection: every kind of row key, references, and what stays out, on both engines."""

import sqlite3

import pytest
from clinic import CLINIC, clinic_rows
from hypothesis import HealthCheck, given, settings
from mariadb_sites import in_postgresql
from random_schemas import schemas
from sites import connect
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import StaticPool
from tables import Schema, create, dialect_of, fill, quoted

from syncnode.schema.inspect import inspect
from syncnode.schema.plan import ForeignKey, SchemaPlan, TablePlan
from syncnode.schema.text import plan_text
from syncproto.errors import ConfigError


class Site:
    """An empty database, and ways to fill and inspect it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.driver = engine.raw_connection().driver_connection

    @property
    def dialect(self) -> str:
        return dialect_of(self.driver)

    def run(self, *statements: str) -> None:
        cursor = self.driver.cursor()
        for sql in statements:
            cursor.execute(in_postgresql(sql) if self.dialect == "postgresql" else sql)
        self.driver.commit()

    def plan(self, only=None, exclude=()) -> SchemaPlan:
        return inspect(self.engine, only, exclude)

    def table(self, name: str) -> TablePlan:
        return self.plan().by_name[name]


def memory() -> Site:
    return Site(
        create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    )


@pytest.fixture
def lite():
    site = memory()
    yield site
    site.driver.close()


@pytest.fixture
def maria(mariadb_url):
    engine = create_engine(mariadb_url, poolclass=StaticPool)
    site = Site(engine)
    yield site
    site.driver.close()


@pytest.fixture
def postgres(postgresql_url):
    site = Site(
        create_engine(
            "postgresql+psycopg://", poolclass=StaticPool, creator=lambda: connect(postgresql_url)
        )
    )
    yield site
    site.driver.close()


@pytest.fixture(
    params=[
        "lite",
        pytest.param("maria", marks=pytest.mark.mariadb),
        pytest.param("postgres", marks=pytest.mark.postgresql),
    ]
)
def site(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def clinic(site):
    create(site.driver, CLINIC)
    fill(site.driver, clinic_rows(1, 3))
    return site


COUNTER = {
    "sqlite": "INTEGER PRIMARY KEY",
    "mysql": "INT PRIMARY KEY AUTO_INCREMENT",
    "postgresql": "SERIAL PRIMARY KEY",
}


def test_each_kind_of_row_key_is_recognised(clinic):
    plan = clinic.plan()
    assert {table.name: (table.key_kind, table.key_columns) for table in plan} == {
        "person": ("uuid", ("uuid",)),
        "users": ("uuid", ("uuid",)),
        "concept_class": ("uuid", ("uuid",)),
        "concept": ("uuid", ("uuid",)),
        "patient": ("shared", ("patient_id",)),
        "person_attribute": ("uuid", ("uuid",)),
        "role": ("natural", ("role",)),
        "user_role": ("composite", ("role", "user_id")),
        "User Property": ("composite", ("property", "user_id")),
        "encounter_type": ("uuid", ("uuid",)),
        "location": ("uuid", ("uuid",)),
        "encounter": ("uuid", ("uuid",)),
        "obs": ("uuid", ("uuid",)),
        "order": ("uuid", ("UUID",)),
        "visit_note": ("random", ()),
        "tag_map": ("none", ("concept_id", "tag")),
    }
    assert {t.name: t.local_key for t in plan if t.local_key != f"{t.name}_id"} == {
        "users": "user_id",
        "order": "Order Id",
        "patient": None,
        "role": None,
        "user_role": None,
        "User Property": None,
        "tag_map": None,
    }


def test_references_lead_to_the_table_that_owns_the_number(clinic):
    plan = clinic.plan().by_name
    assert plan["encounter"].references == {
        "patient_id": "person",
        "encounter_type": "encounter_type",
        "location_id": "location",
    }
    assert plan["patient"].references == {"patient_id": "person", "creator": "users"}
    assert plan["location"].references == {"parent_location": "location"}
    assert plan["users"].references == {
        "person_id": "person",
        "creator": "users",
        "changed_by": "users",
    }
    assert plan["person"].references == {"creator": "users"}
    # A foreign key to a text is checked, but the text travels.
    assert plan["user_role"].references == {"user_id": "users"}
    # In the order of their names, which each engine makes itself.
    assert {key.table for key in plan["user_role"].foreign_keys} == {"users", "role"}
    assert plan["order"].references == {"encounter`s": "encounter"}


def test_parents_come_first_and_cycles_are_named(clinic):
    plan = clinic.plan()
    order = [table.name for table in plan]
    cycle = {table.name for table in plan if table.in_cycle}
    assert cycle == {"person", "users"}
    for table in plan:
        for key in table.foreign_keys:
            if not {table.name, key.table} <= cycle and key.table != table.name:
                assert order.index(key.table) < order.index(table.name)
    # Of a cycle, the table whose references may be NULL comes first.
    assert order.index("person") < order.index("users")


def test_tables_are_numbered_by_sorted_name(clinic):
    plan = clinic.plan()
    assert [plan.by_number[number + 1].name for number in range(len(plan))] == sorted(plan.by_name)


def test_columns_are_described_as_the_engine_declares_them(clinic):
    person = clinic.plan().by_name["person"]
    kinds = {column.name: column.kind for column in person.columns}
    assert kinds == {
        "person_id": "integer",
        "gender": "text",
        "birthdate": "date",
        "birthtime": "time",
        "dead": "bit" if clinic.dialect == "postgresql" else "integer",
        "weight_kg": "decimal",
        "height_m": "float",
        "temperature": "float" if clinic.dialect == "sqlite" else "single",
        "photo": "bytes",
        "consent": "bit",
        "creator": "integer",
        "date_created": "datetime",
        "date_changed": "datetime",
        "uuid": "text",
    }
    weight = person.column("weight_kg")
    assert (weight.precision, weight.scale) == (6, 2)
    assert person.column("date_changed").fraction == 6
    assert person.column("gender").size == 50
    assert person.column("uuid").collation_insensitive == (clinic.dialect == "mysql")
    assert (person.column("uuid").nullable, person.column("gender").nullable) == (False, True)
    assert person.column("person_id").automatic
    assert person.automatic == "person_id"
    creator = clinic.table("users").column("creator")
    assert (creator.default_zero, creator.has_default) == (True, True)
    assert not person.column("dead").default_zero  # DEFAULT 0, but no reference


def test_actions_and_secondary_unique_keys_are_known(clinic):
    plan = clinic.plan()
    (cascade,) = plan.by_name["person_attribute"].foreign_keys
    assert (cascade.columns, cascade.table, cascade.on_delete) == (
        ("person_id",),
        "person",
        "CASCADE",
    )
    actions = {
        key.columns: (key.on_delete, key.on_update)
        for key in plan.by_name["encounter"].foreign_keys
    }
    assert actions == {
        ("patient_id",): ("NO ACTION", "CASCADE"),
        ("encounter_type",): ("NO ACTION", "NO ACTION"),
        ("location_id",): ("SET NULL", "NO ACTION"),
    }
    assert {unique.columns for unique in plan.by_name["order"].unique_keys} == {
        ("UUID",),
        ("Group Name", "100%"),
    }
    assert ("encounter", "patient_id") in {
        (table.name, key.columns[0]) for table, key in plan.children("patient")
    }


def test_a_plan_survives_its_json(clinic):
    plan = clinic.plan(only=["obs"])
    assert SchemaPlan.from_json(plan.to_json()) == plan
    for table in plan:
        assert TablePlan.from_json(table.to_json()) == table


def test_the_plan_reads_as_text(clinic):
    text = plan_text(clinic.plan(only=["users"]))
    assert "person  (taken along, since a chosen table refers to it; in a cycle of refer" in text
    assert "  row key     uuid column uuid\n" in text
    assert "  stays here  user_id (a local number)\n" in text
    assert "users.uuid names the rows and is unique in fact, but has no unique index" in text
    assert "Left out:" in text
    full = plan_text(clinic.plan())
    assert "drawn at capture" in full
    assert "that of person (patient_id)" in full


def test_the_text_names_what_each_foreign_key_points_to(lite):
    lite.run(
        "CREATE TABLE person (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE)",
        "CREATE TABLE patient (id INTEGER PRIMARY KEY REFERENCES person (id))",
        "CREATE TABLE drug (code TEXT PRIMARY KEY)",
        "CREATE TABLE dose (pt INTEGER REFERENCES patient (id), drug TEXT REFERENCES drug (code),"
        " PRIMARY KEY (pt, drug))",
        "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
        " person INTEGER REFERENCES person (id), pt INTEGER, drug TEXT,"
        " FOREIGN KEY (pt, drug) REFERENCES dose (pt, drug))",
    )
    text = plan_text(lite.plan())
    assert "  references  pt > patient (as person), drug > drug (by value)\n" in text
    assert "  references  person > person, (pt, drug) > dose\n" in text


def test_a_choice_takes_along_what_it_refers_to(clinic):
    plan = clinic.plan(only=["patient"])
    assert {table.name for table in plan} == {"patient", "person", "users"}
    assert plan.taken_along == ("person", "users")
    assert {"obs", "role"} <= {excluded.table for excluded in plan.excluded}


@pytest.mark.parametrize("child", ["encounter", "order"])
def test_a_table_that_others_need_cannot_be_left_out(clinic, child):
    parent = {"encounter": "encounter_type", "order": "encounter"}[child]
    children = ["obs"] if parent == "encounter" else []
    with pytest.raises(ConfigError, match=f"{parent} cannot be left out while {child} "):
        clinic.plan(exclude=[parent, *children])
    plan = clinic.plan(exclude=["encounter", "obs", "order"])
    assert "encounter" not in plan.by_name
    assert {excluded.table for excluded in plan.excluded} == {"encounter", "obs", "order"}


@pytest.mark.parametrize("setting", ["only", "exclude"])
def test_an_unknown_table_is_refused_with_the_nearest_names(clinic, setting):
    with pytest.raises(
        ConfigError, match=rf"\[tables\] {setting}: .*'persn'; did you mean 'person"
    ):
        clinic.plan(**{setting: ["persn"]})
    with pytest.raises(ConfigError, match=r"no table 'zzzzzz'\.$"):
        clinic.plan(**{setting: ["zzzzzz"]})


@pytest.mark.parametrize(
    ("values", "kind", "warning"),
    [
        (["'a'", "'b'"], "uuid", "has no unique index"),
        (["'a'", "'A '"], "random", "holds 1 values twice"),
        (["'a'", "NULL"], "random", "is NULL in 1 of 2 rows"),
        ([], "uuid", "has no unique index"),
    ],
)
def test_a_uuid_counts_only_where_it_is_unique_in_fact(site, values, kind, warning):
    site.run(f"CREATE TABLE t (id {COUNTER[site.dialect]}, uuid CHAR(38))")
    for value in values:
        site.run(f"INSERT INTO t (uuid) VALUES ({value})")
    plan = site.plan()
    assert plan.by_name["t"].key_kind == kind
    assert [warning in text for text in plan.warnings] == [True]


@pytest.mark.parametrize(
    ("columns", "kind", "key"),
    [
        ("id COUNTER, uuid CHAR(36) UNIQUE NOT NULL", "uuid", ("uuid",)),
        ("id COUNTER, GUID VARCHAR(38) UNIQUE", "uuid", ("GUID",)),
        ("id COUNTER, row_uuid CHAR(36) UNIQUE", "uuid", ("row_uuid",)),
        ("id COUNTER, row_uuid CHAR(36)", "random", ()),
        ("id COUNTER, a_uuid CHAR(36) UNIQUE, b_uuid CHAR(36) UNIQUE", "random", ()),
        ("id COUNTER, uuid CHAR(8) UNIQUE", "random", ()),
        ("id COUNTER, uuid INT UNIQUE", "random", ()),
        ("id COUNTER, uuid BINARY(16) UNIQUE", "uuid", ("uuid",)),
        ("uuid CHAR(36) NOT NULL PRIMARY KEY, x INT", "uuid", ("uuid",)),
        ("code VARCHAR(20) NOT NULL PRIMARY KEY, uuid CHAR(36) UNIQUE", "natural", ("code",)),
        ("n INT NOT NULL PRIMARY KEY, x INT", "natural", ("n",)),
        ("n INT NOT NULL PRIMARY KEY, uuid CHAR(36) UNIQUE", "uuid", ("uuid",)),
        ("n INT NOT NULL UNIQUE, x INT", "natural", ("n",)),
        ("b INT, a VARCHAR(9), PRIMARY KEY (b, a)", "composite", ("a", "b")),
        ("a INT, b INT", "none", ("a", "b")),
        ("d DATE NOT NULL PRIMARY KEY, x INT", "natural", ("d",)),
    ],
)
def test_what_names_a_row(site, columns, kind, key):
    site.run(f"CREATE TABLE t ({columns.replace('COUNTER', COUNTER[site.dialect])})")
    table = site.table("t")
    if site.dialect == "postgresql":  # which takes names without quotes in lower case
        key = tuple(name.lower() for name in key)
    assert (table.key_kind, table.key_columns) == (kind, key)
    assert (table.local_key is not None) == (
        kind in ("uuid", "random") and table.primary_key != table.key_columns
    )


def test_a_composite_reference_is_followed_column_by_column(site):
    site.run(
        f"CREATE TABLE a (id {COUNTER[site.dialect]})",
        "CREATE TABLE b (a_id INT NOT NULL, line INT NOT NULL, PRIMARY KEY (a_id, line),"
        " FOREIGN KEY (a_id) REFERENCES a (id))",
        f"CREATE TABLE c (id {COUNTER[site.dialect]}, a_id INT, line INT,"
        " FOREIGN KEY (a_id, line) REFERENCES b (a_id, line) ON DELETE CASCADE)",
    )
    table = site.table("c")
    assert table.references == {"a_id": "a"}
    (key,) = table.foreign_keys
    assert key == ForeignKey(
        ("a_id", "line"), "b", ("a_id", "line"), "CASCADE", "NO ACTION", name=key.name
    )


def test_a_reference_to_a_natural_number_is_a_value(site):
    site.run(
        "CREATE TABLE a (code INT NOT NULL PRIMARY KEY)",
        f"CREATE TABLE b (id {COUNTER[site.dialect]}, code INT REFERENCES a (code))",
        "CREATE TABLE c (code INTEGER NOT NULL PRIMARY KEY, uuid CHAR(36) UNIQUE,"
        " FOREIGN KEY (code) REFERENCES a (code))",
    )
    plan = site.plan()
    assert [(t.name, t.key_kind, dict(t.references)) for t in plan] == [
        ("a", "natural", {}),
        ("b", "random", {}),
        ("c", "natural", {}),
    ]


def test_tables_that_share_each_others_key_have_an_owner(site):
    site.run(
        f"CREATE TABLE a (id {COUNTER[site.dialect]})",
        "CREATE TABLE b (id INT NOT NULL PRIMARY KEY, FOREIGN KEY (id) REFERENCES a (id))",
    )
    if site.dialect != "sqlite":
        site.run("ALTER TABLE a ADD FOREIGN KEY (id) REFERENCES b (id)")
    else:
        site.run("DROP TABLE a", "CREATE TABLE a (id INTEGER PRIMARY KEY REFERENCES b (id))")
    plan = site.plan().by_name
    assert (plan["a"].key_kind, plan["a"].local_key) == ("random", "id")
    assert (plan["b"].key_kind, plan["b"].references) == ("shared", {"id": "a"})


def test_names_of_any_kind_work(site):
    odd = ['say "aah"', "what's up?", "100%", "select", "Grüße", "a`b", "%s", "[x]", "a--b", "x;y"]
    tables = [f"{name}T" for name in odd]
    for name in tables:
        columns = ", ".join(f"{quoted(column, site.dialect)} INT" for column in odd)
        # The uuid has no index, so that rows are counted under these names.
        uuid = "CHAR(36) NOT NULL"
        name = quoted(name, site.dialect)
        site.run(f"CREATE TABLE {name} (id {COUNTER[site.dialect]}, {columns}, uuid {uuid})")
    plan = site.plan()
    assert sorted(plan.by_name) == sorted(tables)
    assert all([c.name for c in table.columns[1:-1]] == odd for table in plan)
    assert {table.key_kind for table in plan} == {"uuid"}


def test_our_own_tables_and_views_stay_out(site):
    site.run(
        "CREATE TABLE t (a INT PRIMARY KEY)",
        "CREATE TABLE syncnode_setting (a INT)",
        "CREATE VIEW v AS SELECT a FROM t",
    )
    plan = site.plan()
    assert [table.name for table in plan] == ["t"]
    assert [(x.table, "view" in x.reason) for x in plan.excluded] == [("v", True)]
    with pytest.raises(ConfigError, match=r"\[tables\] only: v cannot take part: a view"):
        site.plan(only=["v"])


def test_generated_columns_do_not_travel(site):
    # PostgreSQL computes them ahead only.
    virtual = "STORED" if site.dialect == "postgresql" else "VIRTUAL"
    site.run(
        "CREATE TABLE t (a INT PRIMARY KEY, b INT GENERATED ALWAYS AS (a + 1) STORED,"
        f" c INT GENERATED ALWAYS AS (a + 2) {virtual}, d INT)"
    )
    table = site.table("t")
    assert [column.name for column in table.travelling] == ["a", "d"]
    assert [column.name for column in table.columns if column.generated] == ["b", "c"]


def test_an_engine_that_is_none_of_ours_is_refused():
    class Connection:
        class dialect:
            name = "oracle"

    with pytest.raises(ConfigError, match="oracle is no database that syncnode knows"):
        inspect(Connection())


# SQLite alone


def test_sqlite_rowids(lite):
    lite.run(
        "CREATE TABLE alias (id INTEGER PRIMARY KEY, x)",
        "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE TABLE descending (id INTEGER PRIMARY KEY DESC)",
        "CREATE TABLE bare (id INTEGER PRIMARY KEY, rowid TEXT, _ROWID_ TEXT) STRICT",
        "CREATE TABLE without (id INTEGER PRIMARY KEY, x) WITHOUT ROWID",
    )
    plan = lite.plan()
    assert {
        t.name: (t.key_kind, t.automatic, t.autoincrement, t.rowid, t.strict) for t in plan
    } == {
        "alias": ("random", "id", False, "rowid", False),
        "counted": ("random", "id", True, "rowid", False),
        "descending": ("natural", None, False, "rowid", False),
        "bare": ("random", "id", False, "oid", True),
        "without": ("natural", None, False, None, False),
    }
    assert [excluded.table for excluded in plan.excluded] == []  # no word on sqlite_sequence


def test_sqlite_virtual_tables_and_their_shadows_stay_out(lite):
    lite.run("CREATE VIRTUAL TABLE notes USING fts5(text)", "CREATE TABLE t (a)")
    plan = lite.plan()
    assert [table.name for table in plan] == ["t"]
    reasons = {excluded.table: excluded.reason for excluded in plan.excluded}
    assert "virtual" in reasons["notes"]
    assert "shadow" in reasons["notes_data"]


def test_sqlite_foreign_keys_as_they_are_written(lite):
    lite.run(
        "CREATE TABLE Parent (Id INTEGER PRIMARY KEY, Code TEXT UNIQUE)",
        """CREATE TABLE child (
            a INT REFERENCES PARENT DEFERRABLE INITIALLY DEFERRED, -- , REFERENCES x
            b INT REFERENCES parent(ID) ON DELETE SET NULL,
            c TEXT /* REFERENCES nobody DEFERRABLE INITIALLY DEFERRED */,
            d INT REFERENCES nowhere(id),
            e INT CHECK (e <> 'REFERENCES y DEFERRABLE INITIALLY DEFERRED'),
            FOREIGN KEY (c) REFERENCES parent (code) NOT DEFERRABLE INITIALLY DEFERRED)""",
    )
    plan = lite.plan()
    assert plan.by_name["child"].foreign_keys == (
        ForeignKey(("a",), "Parent", ("Id",), deferrable=True),
        ForeignKey(("b",), "Parent", ("Id",), on_delete="SET NULL"),
        ForeignKey(("c",), "Parent", ("Code",)),
    )
    assert plan.by_name["child"].references == {"a": "Parent", "b": "Parent"}
    assert [text for text in plan.warnings if "nowhere" in text]


def test_sqlite_unique_keys_with_conditions_expressions_and_collations(lite):
    lite.run(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, b TEXT COLLATE NOCASE UNIQUE)",
        "CREATE UNIQUE INDEX part ON t (a) WHERE b IS NULL",
        "CREATE UNIQUE INDEX computed ON t (a, lower(b))",
    )
    found = lite.table("t").unique_keys
    keys = {(*key.columns, key.partial, key.expression): key for key in found}
    assert set(keys) == {("a", True, False), ("a", False, True), ("b", False, False)}
    assert keys["b", False, False].insensitive == ("b",)
    assert [key.plain for key in keys.values()].count(True) == 1


def test_sqlite_rows_without_primary_key_values_keep_their_table_out(lite):
    lite.run(
        "CREATE TABLE t (code TEXT PRIMARY KEY)",
        "CREATE TABLE child (id INTEGER PRIMARY KEY, code TEXT REFERENCES t)",
    )
    assert len(lite.plan()) == 2
    lite.run("INSERT INTO t VALUES (NULL)")
    reasons = {excluded.table: excluded.reason for excluded in lite.plan().excluded}
    assert "primary key (code) is NULL" in reasons["t"]
    assert reasons["child"] == "refers to t, which cannot take part"


def test_sqlite_natural_keys_that_other_engines_may_take_for_one_are_reported(lite):
    lite.run("CREATE TABLE role (role TEXT PRIMARY KEY)", "INSERT INTO role VALUES ('a'), ('b')")
    assert lite.plan().warnings == ()
    lite.run("INSERT INTO role VALUES ('A ')")
    (warning,) = lite.plan().warnings
    assert "role has 1 rows whose key (role) differs from another row's in case" in warning


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("", "any"),
        ("BIGINT UNSIGNED", "integer"),
        ("BOOLEAN", "integer"),
        ("nvarchar(10)", "text"),
        ("TIMESTAMP", "datetime"),
        ("DECIMAL(5,2)", "decimal"),
        ("REAL", "float"),
        ("BLOB", "bytes"),
        ("whatever", "any"),
    ],
)
def test_sqlite_declared_types(lite, declared, kind):
    lite.run(f"CREATE TABLE t (a {declared})")
    assert lite.table("t").column("a").kind == kind


def test_an_old_sqlite_is_refused():
    class Old:
        class dialect:
            name = "sqlite"

        def exec_driver_sql(self, *_):
            return sqlite3.connect(":memory:").execute("SELECT '3.31.1'")

    with pytest.raises(ConfigError, match=r"3\.31\.1; syncnode needs 3\.37\.0"):
        inspect(Old())


# MariaDB alone


def test_mariadb_engines_without_transactions_and_foreign_databases_stay_out(maria, mariadb):
    mariadb.create_database("elsewhere")
    mariadb.execute("CREATE TABLE a (id INT PRIMARY KEY) ENGINE=InnoDB", database="elsewhere")
    try:
        maria.run(
            "CREATE TABLE old (id INT PRIMARY KEY) ENGINE=MyISAM",
            "CREATE TABLE history (id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
            "CREATE SEQUENCE numbers",
            "CREATE TABLE far (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES elsewhere.a (id))",
            "CREATE TABLE good (id INT PRIMARY KEY)",
        )
        plan = maria.plan()
    finally:
        maria.run("DROP TABLE IF EXISTS far", "DROP DATABASE elsewhere")
    assert [table.name for table in plan] == ["good"]
    reasons = {excluded.table: excluded.reason for excluded in plan.excluded}
    assert "ENGINE=InnoDB lets it take part" in reasons["old"]
    assert "DROP SYSTEM VERSIONING" in reasons["history"]
    assert "sequence" in reasons["numbers"]
    assert reasons["far"] == "refers to a table of another database (elsewhere)"


def test_mariadb_types(maria):
    maria.run(
        "CREATE TABLE t (a BIGINT UNSIGNED PRIMARY KEY, b TINYINT, c YEAR, d ENUM('X','y'),"
        " e JSON, f BIT(9), g TIME(3), h VARBINARY(20), i GEOMETRY, j TIMESTAMP NULL,"
        " k VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_bin, l FLOAT(5,2), m MEDIUMTEXT)"
    )
    shown = {c.name: (c.kind, c.size) for c in maria.table("t").columns}
    assert shown == {
        "a": ("unsigned", 8),
        "b": ("integer", 1),
        "c": ("integer", None),
        "d": ("text", 1),
        "e": ("text", 4294967295),
        "f": ("bit", 9),
        "g": ("time", None),
        "h": ("bytes", 20),
        "i": ("bytes", None),
        "j": ("datetime", None),
        "k": ("text", 9),
        "l": ("single", None),
        "m": ("text", 16777215),
    }
    table = maria.table("t")
    assert not table.column("k").collation_insensitive
    assert table.column("d").declared == "enum('X','y')"
    assert table.column("g").fraction == 3
    assert (table.engine, table.charset) == ("InnoDB", "utf8mb4")


def test_mariadb_unique_keys_over_the_start_of_a_column_name_no_row(maria):
    maria.run("CREATE TABLE t (a VARCHAR(50) NOT NULL, UNIQUE (a(10)))")
    table = maria.table("t")
    assert table.key_kind == "none"
    assert [(key.prefix, key.plain) for key in table.unique_keys] == [(True, False)]


def test_mariadb_needs_a_database_in_its_url(mariadb):
    engine = create_engine(mariadb.url(""))
    with pytest.raises(ConfigError, match="names no database"):
        inspect(engine)
    engine.dispose()


# OpenMRS


@pytest.mark.openmrs
def test_openmrs_person_takes_along_its_cycle(maria, mariadb, openmrs):
    database = maria.engine.url.database
    mariadb.load(database, openmrs / "schema-2.x.sql", openmrs / "data-2.x.sql")
    plan = maria.plan(only=["person"])
    assert {table.name for table in plan} == {
        "person",
        "users",
        "concept",
        "concept_class",
        "concept_datatype",
    }
    assert all(table.in_cycle and table.key_kind == "uuid" for table in plan)
    assert plan.by_name["users"].unique_keys[0].columns == ("email",)
    assert plan.by_name["concept"].column("creator").default_zero
    whole = maria.plan()
    assert len(whole) == 119
    kinds = {table.name: table.key_kind for table in whole if table.key_kind != "uuid"}
    assert {name for name, kind in kinds.items() if kind == "shared"} == {
        "patient",
        "concept_numeric",
        "concept_complex",
        "drug_order",
        "test_order",
        "referral_order",
    }
    assert {name for name, kind in kinds.items() if kind == "none"} == {
        "concept_name_tag_map",
        "concept_proposal_tag_map",
        "liquibasechangelog",
    }
    assert {"role", "privilege", "global_property"} <= {
        name for name, kind in kinds.items() if kind == "natural"
    }
    assert {"user_role", "role_privilege", "role_role", "location_tag_map"} <= {
        name for name, kind in kinds.items() if kind == "composite"
    }


# Random schemas


def _agrees(plan: SchemaPlan, schema: Schema) -> None:
    for table in schema.tables:
        found = plan.by_name[table.name]
        expected = {
            column.name: root[0]
            for column in table.columns
            if (root := schema.root(table.name, column.name)) and root != (table.name, column.name)
        }
        if table.primary_key == ("id",) and table.counter == "id":
            assert found.local_key == "id"
        assert found.references == expected
        if table.identity:
            assert found.key_columns == tuple(sorted(table.identity))
        else:
            assert found.key_kind == ("random" if table.primary_key else "none")


@settings(max_examples=40)
@given(schema=schemas())
def test_random_schemas_are_understood_on_sqlite(schema):
    site = memory()
    create(site.driver, schema)
    _agrees(site.plan(), schema)
    site.driver.close()


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schema=schemas())
def test_random_schemas_are_understood_on_mariadb(mariadb, schema):
    engine = create_engine(mariadb.create_database("random_schema"), poolclass=StaticPool)
    site = Site(engine)
    try:
        create(site.driver, schema)
        _agrees(site.plan(), schema)
    finally:
        site.driver.close()
        mariadb.execute("DROP DATABASE random_schema")
