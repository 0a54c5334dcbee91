"""Rules of tables: what a file may say, what of it holds, what is refused and what is noted."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from registry import PRESET, SCHEMA
from sqlalchemy import create_engine

from syncnode.schema.inspect import inspect
from syncnode.schema.plan import Conditional, Excluded, SchemaPlan
from syncnode.schema.rule_files import PRESETS, read_preset, shipped
from syncnode.schema.rules import Layer
from syncnode.schema.suspicion import proposal
from syncnode.schema.text import plan_text
from syncnode.settings.config import read_settings
from syncnode.settings.topology import read_topology
from syncproto.errors import ConfigError

Planned = Callable[..., SchemaPlan]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    connection = sqlite3.connect(tmp_path / "registry.db")
    for statement in SCHEMA:
        connection.execute(statement.replace("{auto}", ""))
    connection.execute("INSERT INTO word (word) VALUES ('fever'), ('cough')")
    connection.commit()
    connection.close()

    def plan(
        *layers: Layer, only: Sequence[str] | None = None, exclude: Sequence[str] = ()
    ) -> SchemaPlan:
        engine = create_engine(f"sqlite:///{tmp_path / 'registry.db'}")
        try:
            return inspect(engine, only, exclude, layers)
        finally:
            engine.dispose()

    return plan


def preset(folder: Path, text: str = PRESET) -> Layer:
    (folder / "own.toml").write_text(text)
    return read_preset("own.toml", folder)


def own(folder: Path, text: str) -> Layer:
    """What a site's or network's own file says of tables."""
    (folder / "topology.toml").write_text(text)
    (layer,) = read_topology(folder / "topology.toml").tables.rules
    return layer


def test_a_preset_says_what_the_catalogue_does_not(planned, tmp_path):
    plan = planned(preset(tmp_path))
    tables = plan.by_name
    assert tables["orders"].references == {"concept_id": "concept", "place_id": "place"}
    assert (tables["allergy"].key_kind, tables["allergy"].references) == (
        "shared",
        {"problem_id": "problem"},
    )
    word = tables["word"]
    assert (word.key_kind, word.key_columns, word.local_key) == ("natural", ("word",), "word_id")
    said = (("Concept", "concept"), ("Place", "place"))
    assert tables["attribute"].column("value").conditional == Conditional(
        "type_id", "attribute_type", "type_id", "format", said
    )
    assert tables["attribute_type"].column("foreign_number").conditional == Conditional(
        None, "attribute_type", "", "format", said
    )
    assert tables["user_property"].local_rows == (("property", ("lastLogin", "100% 'local'")),)
    assert plan.excluded == (Excluded("audit_log", "what happened at this site"),)
    names = [table.name for table in plan.tables]
    assert names.index("concept") < names.index("orders")
    assert SchemaPlan.from_json(plan.to_json()) == plan


def test_declared_references_make_cycles_that_are_seen(planned, tmp_path):
    plan = planned(preset(tmp_path))
    assert [table.name for table in plan.tables if table.in_cycle] == ["person", "users"]


def test_the_plan_shows_what_is_declared(planned, tmp_path):
    text = plan_text(planned(preset(tmp_path)))
    assert "  references  concept_id > concept (declared), place_id > place (declared)\n" in text
    assert (
        "  by content  value is a local number of concept, place where attribute_type.format says"
        " so\n" in text
    )
    assert "  stay here   rows whose property is lastLogin, 100% 'local'\n" in text
    assert "  audit_log: what happened at this site\n" in text


def test_what_a_table_refers_to_comes_along_by_declared_references_too(planned, tmp_path):
    plan = planned(preset(tmp_path), only=["allergy"])
    assert {table.name for table in plan.tables} == {"allergy", "problem", "person", "users"}


def test_what_refers_to_a_table_that_a_preset_leaves_out_is_left_out_with_it(planned, tmp_path):
    plan = planned(preset(tmp_path, '[tables.word]\nexclude = "words"\n'))
    assert plan.excluded == (
        Excluded("word", "words"),
        Excluded("word_use", "refers to word, which is left out"),
    )


def test_a_later_layer_changes_single_rules(planned, tmp_path):
    base = preset(
        tmp_path,
        'modified = ["note"]\n'
        '[tables."w*"]\nexclude = "words"\n'
        '[tables.orders]\nreferences.concept_id = "concept"\ndeletes = "delete-wins"\n'
        'unique.uuid = "merge"\n',
    )
    site = own(
        tmp_path,
        "[tables.word]\nexclude = false\n"
        "[tables.word_use]\nexclude = false\n"
        '[tables.orders]\nreferences.place_id = "place"\ndeletes = "update-revives"\n'
        'unique."uuid" = "hold"\nmodified = ["uuid"]\n',
    )
    orders = planned(base).by_name["orders"]
    assert (orders.deletes, orders.modified) == ("delete-wins", ("note",))
    assert [key.rule for key in orders.unique_keys] == ["merge"]
    plan = planned(base, site)
    assert plan.excluded == ()
    orders = plan.by_name["orders"]
    assert orders.references == {"concept_id": "concept", "place_id": "place"}
    assert (orders.deletes, orders.modified) == ("update-revives", ("uuid",))
    assert [key.rule for key in orders.unique_keys] == ["hold"]


LACKING = """\
[tables.nobody]
references.a = "b"
[tables.orders]
references.nothing = "concept"
references.concept_id = "nobody"
references.note = "concept"
unique.note = "merge"
modified = ["never"]
[tables.attribute]
conditional.value = { by = "person_id", column = "no_format", tables = { Concept = "concept" } }
conditional.person_id = { column = "value", tables = { Concept = "concept" } }
[tables.users]
local.user_id = ["1"]
key = ["nickname"]
"""


def test_what_a_preset_names_and_the_schema_lacks_is_noted_and_passed_over(planned, tmp_path):
    plan = planned(preset(tmp_path, LACKING))
    assert plan.warnings[:5] == (
        "the preset own also speaks of what this database has not: nobody, orders.never,"
        " orders.nothing, person.no_format, unique key orders (note), users.nickname; it serves"
        " several versions of the schema",
        "the preset own is passed over in one thing: orders.note is a text and concept.concept_id"
        " a integer: no reference",
        "the preset own is passed over in one thing: attribute.person_id is a reference whatever"
        " else is said",
        "the preset own is passed over in one thing: users.user_id is no text that names the row:"
        " only such a column can keep rows local, since a row must not come and go by an edit",
        plan.warnings[4],
    )
    bare = planned()
    assert plan.tables == bare.tables


def test_what_a_file_of_ones_own_names_must_be_there(planned, tmp_path):
    with pytest.raises(ConfigError) as caught:
        planned(own(tmp_path, LACKING))
    path = tmp_path / "topology.toml"
    assert str(caught.value).splitlines() == [
        f"{path}:{line}: {text}"
        for line, text in (
            (1, "tables.nobody: there is no table nobody; correct the name, or remove the line"),
            (
                4,
                "tables.orders.references.nothing: orders has no column nothing; correct the name,"
                " or remove the line",
            ),
            (
                5,
                "tables.orders.references.concept_id: orders.concept_id: there is no table nobody;"
                " correct the name, or remove the line",
            ),
            (
                6,
                "tables.orders.references.note: orders.note is a text and concept.concept_id a"
                " integer: no reference",
            ),
            (
                7,
                "tables.orders.unique.note: orders has no unique key note; write its columns, or"
                " its name",
            ),
            (
                8,
                "tables.orders.modified[0]: orders has no column never; correct the name, or"
                " remove the line",
            ),
            (
                10,
                "tables.attribute.conditional.value.column: person has no column no_format;"
                " correct the name, or remove the line",
            ),
            (
                11,
                "tables.attribute.conditional.person_id: attribute.person_id is a reference"
                " whatever else is said",
            ),
            (
                13,
                "tables.users.local.user_id: users.user_id is no text that names the row: only"
                " such a column can keep rows local, since a row must not come and go by an edit",
            ),
            (
                14,
                "tables.users.key[0]: users has no column nickname; correct the name, or remove"
                " the line",
            ),
        )
    ]


def test_a_declared_key_must_tell_the_rows_apart(planned, tmp_path):
    connection = sqlite3.connect(tmp_path / "registry.db")
    connection.execute("INSERT INTO word (word) VALUES ('Fever ')")
    connection.commit()
    connection.close()
    with pytest.raises(ConfigError, match="1 rows of word have what another row has there"):
        planned(own(tmp_path, '[tables.word]\nkey = ["word"]\n'))
    with pytest.raises(ConfigError, match="3 rows of word have NULL there"):
        planned(own(tmp_path, '[tables.word]\nkey = ["meaning"]\n'))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("colour = 1\n", "1: colour: is no key here; known are about, maps, modified, tables"),
        ("[tables.a]\nexclud = 1\n", "2: tables.a.exclud: is no key here; did you mean exclude?"),
        ("[tables.a]\nexclude = true\n", '2: tables.a.exclude: must be a text, such as "why it'),
        ("[tables.a]\nkey = []\n", "2: tables.a.key: names no column; name one, or remove the key"),
        ('[tables.a]\nunique.b = "win"\n', '2: tables.a.unique.b: "win" is not one of merge,'),
        ('[tables.a]\ndeletes = "no"\n', '2: tables.a.deletes: "no" is not one of update-revives,'),
        ('[tables."a*"]\nkey = ["b"]\n', "2: tables.a*.key: is no key here; known are exclude"),
        ('[tables.a]\nconditional.b = "c"\n', "2: tables.a.conditional.b: must be a table, such"),
        (
            '[tables.a]\nconditional.b = { column = "c", tables = "x" }\n[maps.y]\nd = "e"\n',
            '2: tables.a.conditional.b.tables: "x" is no map here; known are y',
        ),
        (
            '[tables.a]\nconditional.b = { tables = { x = "y" } }\n',
            '2: tables.a.conditional.b.column: is missing; write, say, column = "format"',
        ),
        ("[tables.a]\npriority = 1\n", "2: tables.a.priority: is not carried out by this version"),
    ],
)
def test_a_preset_of_another_form_is_refused_with_its_line(tmp_path, text, fault):
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_preset("own.toml", tmp_path)
    assert fault in str(caught.value).replace('"a*"', "a*")


def test_every_preset_that_comes_along_can_be_read():
    assert shipped() == ["openmrs"]
    for name in shipped():
        assert read_preset(name, Path("/nowhere")).tables
        assert (PRESETS / f"{name}.toml").read_text().startswith('about = "')


def settings_of(folder: Path, site: str, network: str = "") -> Path:
    lines = 'name = "a"\ndatabase = "sqlite:///a.db"\nkey = "k"\nanchor = "n"\n'
    if network:
        (folder / "topology.toml").write_text(f"[sites.a]\n{network}")
        lines += 'topology = "topology.toml"\n'
    (folder / "syncnode.toml").write_text(lines + site)
    return folder / "syncnode.toml"


def test_the_preset_comes_first_then_the_network_then_the_site(tmp_path):
    path = settings_of(
        tmp_path,
        '[tables]\npreset = "openmrs"\n[tables.a]\nexclude = "here"\n',
        '[tables]\nmodified = ["then"]\n[tables.a]\nexclude = "there"\n',
    )
    tables = read_settings(path, {}).tables
    assert tables.preset == "openmrs"
    assert [(layer.title, layer.path) for layer in tables.rules] == [
        ("the preset openmrs", None),
        (str(tmp_path / "topology.toml"), tmp_path / "topology.toml"),
        (str(path), path),
    ]


def test_an_unknown_preset_and_two_of_them_are_refused(tmp_path):
    path = settings_of(tmp_path, '[tables]\npreset = "openmr"\n')
    with pytest.raises(ConfigError, match='"openmr" is no preset; did you mean openmrs'):
        read_settings(path, {})
    (tmp_path / "own.toml").write_text('about = "mine"\n')
    path = settings_of(
        tmp_path, '[tables]\npreset = "own.toml"\n', '[tables]\npreset = "openmrs"\n'
    )
    with pytest.raises(ConfigError, match="says another; keep one of the two"):
        read_settings(path, {})
    (tmp_path / "own.toml").write_text("abut = 1\n")
    path = settings_of(tmp_path, '[tables]\npreset = "own.toml"\n')
    with pytest.raises(ConfigError, match=r"own.toml:1: abut: is no key here"):
        read_settings(path, {})


def test_what_looks_like_a_reference_is_named_and_not_translated(planned):
    plan = planned()
    assert [(one.table, one.column, one.target) for one in plan.suspected] == [
        ("allergy", "problem_id", "problem"),
        ("orders", "concept_id", "concept"),
        ("orders", "place_id", "place"),
    ]
    assert (
        "suspected references of orders, not translated: concept_id > concept, place_id > place;"
        " declare what is true in [tables.orders] references, and false for what is none"
    ) in plan.warnings
    assert plan.by_name["orders"].references == {}


def test_what_is_declared_or_denied_is_suspected_no_more(planned, tmp_path):
    layer = own(
        tmp_path,
        '[tables.orders]\nreferences.concept_id = "concept"\nreferences.place_id = false\n'
        "[tables.allergy]\nreferences.problem_id = false\n",
    )
    plan = planned(layer)
    assert plan.suspected == ()
    assert plan.by_name["orders"].references == {"concept_id": "concept"}


def test_a_proposal_is_a_preset_that_says_nothing_yet_and_all_when_it_is_believed(
    planned, tmp_path
):
    text = proposal(planned())
    assert planned(preset(tmp_path, text)).tables == planned().tables
    assert '[tables.orders]\n# references.concept_id = "concept"\n' in text
    assert '[tables.word]\n# key = ["…"]  # nothing but a counter names a row\n' in text
    believed = text.replace("# references", "references")
    plan = planned(preset(tmp_path, believed))
    assert plan.suspected == ()
    assert plan.by_name["allergy"].key_kind == "shared"
