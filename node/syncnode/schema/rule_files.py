"""Reads the rules of tables: a preset's file, and `[tables.<name>]` of a site's or network's own.

    about = "what the preset is for"            # a preset only, all at its head optional
    modified = ["date_changed", "date_created"] # of every table that has them

    [maps.classes]                              # named by `conditional … tables`
    "org.example.Place" = "place"

    [tables."log_*"]                            # the name of a table, or * for part of several
    exclude = "why it is left out"

    [tables.visit]
    key = ["place", "day"]                      # what names a row at every site
    references.place_id = "place"               # holds the local key of that table's rows
    references.order_id = false                 # does not, though it looks so
    conditional.value = { by = "type_id", column = "format", tables = "classes" }
    local.property = ["lastLogin"]              # rows that stay at each site
    unique."place_id, day" = "merge"            # merge, rename or hold; or an index by its name
    deletes = "delete-wins"                     # or update-revives
    modified = ["changed_at"]

Whoever names columns and tables here is believed; `ruled.py` holds the names against the schema.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import cast, get_args

from syncnode.schema.plan import DeleteRule, UniqueRule
from syncnode.schema.rules import Condition, Layer, TableRules, is_pattern
from syncnode.settings.toml_reader import Document, Table, meant, shown
from syncproto.errors import ConfigError

PRESETS = Path(__file__).parent.parent / "presets"
UNIQUE_RULES: tuple[str, ...] = get_args(UniqueRule)
DELETE_RULES: tuple[str, ...] = get_args(DeleteRule)
REASON_CHARS_MAX = 300  # a sentence of the plan
COLUMN_EXAMPLE = "place_id"
_LATER = "is not carried out by this version; remove the key"

Maps = Mapping[str, Mapping[str, str]]


def preset_fault(name: str, folder: Path) -> str | None:
    """What is wrong with the name of a preset, and what would do."""
    if preset_path(name, folder).is_file():
        return None
    if _is_path(name):
        return f"there is no file {folder / name}; write its path, or the name of a preset"
    return f"{shown(name)} is no preset; {meant(name, shipped())}, or the path of a file of yours"


def preset_path(name: str, folder: Path) -> Path:
    """The file of a preset: one that comes with syncnode, or one's own relative to `folder`."""
    return folder / name if _is_path(name) else PRESETS / f"{name}.toml"


def shipped() -> list[str]:
    """The names of the presets that come with syncnode."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def read_preset(name: str, folder: Path) -> Layer:
    """A preset's rules.

    Raises:
        ConfigError: There is no such preset, or its file is broken; a line for every fault.
    """
    if fault := preset_fault(name, folder):
        raise ConfigError(f"preset: {fault}")
    document = Document(preset_path(name, folder))
    root = document.root
    root.text("about", example="what the preset is for")
    modified = root.texts("modified", example="date_changed") or ()
    maps = read_maps(root.table("maps"))
    tables = rules_by_table(root.table("tables"), maps)
    root.refuse_unknown()
    document.refuse_faults()
    return Layer(f"the preset {Path(name).stem}", tables, modified)


def rules_by_table(tables: Table, maps: Maps | None = None) -> dict[str, TableRules]:
    """What the tables at a `[tables]` say; other keys there are the caller's."""
    return {name: _table_rules(name, table, maps or {}) for name, table in tables.tables()}


def _table_rules(name: str, table: Table, maps: Maps) -> TableRules:
    if is_pattern(name):
        rules = TableRules(exclude=_exclude(table))
        table.refuse_unknown()
        return rules
    if table.integer("priority", default=None, least=1, most=9) is not None:
        table.fault("priority", _LATER)
    rules = TableRules(
        exclude=_exclude(table),
        key=_columns(table, "key"),
        references=_references(table.table("references")),
        conditional=_conditions(table.table("conditional"), maps),
        local=_local(table.table("local")),
        unique=_unique(table.table("unique")),
        deletes=cast("DeleteRule | None", table.choice("deletes", among=DELETE_RULES)),
        modified=_columns(table, "modified"),
    )
    table.refuse_unknown()
    return rules


def _exclude(table: Table) -> str | None:
    if table.value("exclude") is False:
        return ""
    return table.text("exclude", example="why it is left out", check=_reason_fault)


def _reason_fault(reason: str) -> str | None:
    if len(reason) > REASON_CHARS_MAX or not reason.isprintable():
        return f"must be a sentence of at most {REASON_CHARS_MAX} characters; shorten it"
    return None


def _columns(table: Table, key: str) -> tuple[str, ...] | None:
    names = table.texts(key, example="name")
    if names is not None and not names:
        table.fault(key, "names no column; name one, or remove the key")
        return None
    return names


def _names(table: Table, *, example: str) -> dict[str, str]:
    found = {name: table.text(name, example=example) for name in list(table.remaining())}
    return {name: text for name, text in found.items() if text}


def _references(table: Table) -> dict[str, str]:
    """Tables by column; "" for what is said to be none."""
    found = {}
    for name in list(table.remaining()):
        if table.value(name) is False:
            found[name] = ""
        elif target := table.text(name, example="place"):
            found[name] = target
    return found


def read_maps(table: Table) -> Maps:
    """What columns may say, with the tables that they mean, by the name of the map."""
    found = {name: _names(one, example="place") for name, one in table.tables()}
    for name in list(table.remaining()):
        table.fault(name, "must be a table of texts")
    return found


def _conditions(table: Table, maps: Maps) -> dict[str, Condition]:
    found = {}
    for name, one in table.tables():
        by = one.text("by", example="type_id")
        column = one.text("column", example="format")
        tables = _condition_tables(one, maps)
        one.refuse_unknown()
        if column is None and "column" not in one:
            one.fault("column", 'is missing; write, say, column = "format"')
        if column and tables:
            found[name] = Condition(column, tables, by)
    for name in list(table.remaining()):
        table.fault(name, 'must be a table, such as { column = "format", tables = { … } }')
    return found


def _condition_tables(table: Table, maps: Maps) -> Mapping[str, str]:
    value = table.value("tables")
    if isinstance(value, str):
        if value not in maps:
            table.fault("tables", f"{shown(value)} is no map here; {meant(value, maps)}")
        return maps.get(value, {})
    if not value:
        table.fault("tables", "is missing; say which table what stands in the column means")
        return {}
    return _names(table.table("tables"), example="place")


def _local(table: Table) -> dict[str, tuple[str, ...]]:
    found = {name: table.texts(name, example="lastLogin") for name in list(table.remaining())}
    return {name: values for name, values in found.items() if values}


def _unique(table: Table) -> dict[str, UniqueRule]:
    found = {name: table.choice(name, among=UNIQUE_RULES) for name in list(table.remaining())}
    return {name: cast("UniqueRule", rule) for name, rule in found.items() if rule}


def _is_path(name: str) -> bool:
    return name.endswith(".toml") or "/" in name or "\\" in name
