"""What people say of tables that no catalogue shows: the values of presets and `[tables.<name>]`.

Rules come in layers, each over the one before: a preset, the network's topology, this site's own
file. Of a preset, which serves several versions of a schema, what the schema lacks is passed over
with a note; what a site's or network's own file names must be there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from syncnode.schema.plan import DeleteRule, UniqueRule


@dataclass(frozen=True, slots=True)
class Condition:
    """A reference by condition as it is written.

    Attributes:
        by: The column that leads to the row that decides; None: the row itself.
        column: The column that decides.
        tables: The table referred to, by what stands in that column.
    """

    column: str
    tables: Mapping[str, str]
    by: str | None = None


@dataclass(frozen=True, slots=True)
class TableRules:
    """What is said of one table; None and empty: nothing.

    Attributes:
        exclude: Why it is left out; "" takes it in although an earlier layer leaves it out.
        key: The columns that name a row at every site.
        references: The table referred to by column; "" for none.
        conditional: By column.
        local: By column the values whose rows stay at each site.
        unique: By the name of an index, or its columns joined by ", ".
        modified: Columns of modification times.
    """

    exclude: str | None = None
    key: tuple[str, ...] | None = None
    references: Mapping[str, str] = field(default_factory=dict)
    conditional: Mapping[str, Condition] = field(default_factory=dict)
    local: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unique: Mapping[str, UniqueRule] = field(default_factory=dict)
    deletes: DeleteRule | None = None
    modified: tuple[str, ...] | None = None


NO_RULES = TableRules()


@dataclass(frozen=True, slots=True)
class Layer:
    """All that one file says of tables.

    Attributes:
        title: How messages call it: `the preset openmrs`, or the file.
        tables: By name of the table; a name with `*` stands for all that fit, to be left out.
        modified: Columns of modification times of every table that has them.
        path: The file whose names must all be there; None for a preset.
    """

    title: str
    tables: Mapping[str, TableRules] = field(default_factory=dict)
    modified: tuple[str, ...] = ()
    path: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.tables or self.modified)


Layers = Sequence[Layer]

SETTING = "rules"
"""The setting that holds `digest` of the rules by which the site was made."""


def digest(layers: Layers) -> str:
    """A name for what these rules say, wherever they stand."""
    said = [
        (sorted((name, repr(rules)) for name, rules in layer.tables.items()), layer.modified)
        for layer in layers
    ]
    return sha256(repr(said).encode()).hexdigest()[:16]


def is_pattern(name: str) -> bool:
    return "*" in name


def over(rules: Iterable[TableRules]) -> TableRules:
    """What holds in the end, of rules from the first layer to the last."""
    result = NO_RULES
    for one in rules:
        result = TableRules(
            exclude=result.exclude if one.exclude is None else one.exclude,
            key=result.key if one.key is None else one.key,
            references={**result.references, **one.references},
            conditional={**result.conditional, **one.conditional},
            local={**result.local, **one.local},
            unique={**result.unique, **one.unique},
            deletes=one.deletes or result.deletes,
            modified=result.modified if one.modified is None else one.modified,
        )
    return result
