"""Rules of tables against a catalogue: what holds, what its names lack, what is refused."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import NamedTuple

from syncnode.schema.catalogue import Catalogue, Filling, Table
from syncnode.schema.plan import (
    MODIFIED,
    ColumnPlan,
    Conditional,
    Excluded,
    ForeignKey,
    UniqueKey,
)
from syncnode.schema.rowkeys import INTEGERS, RowKeys
from syncnode.schema.rules import Condition, Layers, TableRules, is_pattern, over
from syncproto.errors import ConfigError

NAMES_SHOWN = 12  # of one note
_DATES = ("date", "datetime", "text", "any")


@dataclass(frozen=True, slots=True)
class Ruled:
    """A catalogue with what the rules add to it.

    Attributes:
        tables: Those of the catalogue, with declared references among their foreign keys.
        left_out: Reasons of rules by table.
        rules: What holds in the end, by table; every name in it is there.
        conditions: By table and column.
        modified: Columns of modification times by table.
        notes: Sentences for the operator.
    """

    tables: Sequence[Table]
    row_keys: RowKeys
    left_out: Mapping[str, str]
    rules: Mapping[str, TableRules]
    conditions: Mapping[str, Mapping[str, Conditional]]
    modified: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


class _Fault(NamedTuple):
    """A rule that cannot hold.

    Attributes:
        lacks: What the schema lacks for it; "" where it is wrong in another way.
    """

    place: tuple[str | int, ...]
    text: str
    lacks: str = ""


class _WithDeclared:
    """A catalogue whose tables have declared references, too."""

    def __init__(self, catalogue: Catalogue, tables: Sequence[Table]) -> None:
        self.dialect = catalogue.dialect
        self.namespace = catalogue.namespace
        self.tables = tables
        self.refused: Sequence[Excluded] = catalogue.refused
        self.warnings: Sequence[str] = catalogue.warnings
        self._catalogue = catalogue

    def filling(self, table: str, columns: Sequence[str]) -> Filling:
        return self._catalogue.filling(table, columns)


def ruled(catalogue: Catalogue, layers: Layers) -> Ruled:
    """The catalogue under these rules.

    Raises:
        ConfigError: A site's or network's own file names what is not there or cannot be: file and
            line, with a remedy.
    """
    found = _Rules(catalogue, layers)
    found.declare()
    row_keys = RowKeys(_WithDeclared(catalogue, list(found.by_name.values())), found.keys())
    found.check_rest(row_keys)
    found.refuse()
    holding = {name: over(rules) for name, rules in found.holding.items()}
    return Ruled(
        tables=list(found.by_name.values()),
        row_keys=row_keys,
        left_out=found.left_out(),
        rules=holding,
        conditions=found.conditions(holding, row_keys),
        modified=found.modified(holding),
        notes=tuple(found.notes()),
    )


class _Rules:
    """All layers, rule by rule."""

    def __init__(self, catalogue: Catalogue, layers: Layers) -> None:
        self._catalogue = catalogue
        self._layers = layers
        self.by_name = {table.name: table for table in catalogue.tables}
        self._refused = {excluded.table for excluded in catalogue.refused}
        self.holding: dict[str, list[TableRules]] = {}
        self._faults: list[list[_Fault]] = [[] for _ in layers]

    # References first, since what names rows hangs on them

    def declare(self) -> None:
        for layer, faults in zip(self._layers, self._faults, strict=True):
            for name, rules in layer.tables.items():
                if is_pattern(name):
                    continue
                if name not in self.by_name:
                    only_out = rules == TableRules(exclude=rules.exclude)
                    if name not in self._refused and not (only_out and layer.path is None):
                        faults.append(_no_table((name,), name, name))
                    continue
                kept = {}
                for column, target in rules.references.items():
                    fault = self._reference_fault(name, column, target)
                    if fault is not None:
                        faults.append(fault)
                    else:
                        kept[column] = target
                self.holding.setdefault(name, []).append(replace(rules, references=kept))
        for name, several in self.holding.items():
            self._declare(name, over(several).references)

    def _declare(self, name: str, references: Mapping[str, str]) -> None:
        table = self.by_name[name]
        declared = tuple(
            ForeignKey((column,), target, self.by_name[target].primary_key, declared=True)
            for column, target in references.items()
            if target and not any(key.columns == (column,) for key in table.foreign_keys)
        )
        keys = (*table.foreign_keys, *declared)
        self.by_name[name] = replace(table, foreign_keys=keys)

    def _reference_fault(self, name: str, column: str, target: str) -> _Fault | None:
        place = (name, "references", column)
        here = _column_of(self.by_name[name], column)
        if here is None:
            return _no_column(place, name, column)
        if not target:
            return None
        parent = self.by_name.get(target)
        if parent is None:
            return _no_table(place, f"{name}.{column}", target)
        if len(parent.primary_key) != 1:
            return _Fault(place, f"{target} has no primary key of one column to refer to")
        there = parent.column(parent.primary_key[0])
        if (here.kind in INTEGERS) != (there.kind in INTEGERS):
            text = (
                f"{name}.{column} is a {here.kind} and {target}.{there.name} a {there.kind}: no"
                " reference"
            )
            return _Fault(place, text)
        for key in self.by_name[name].foreign_keys:
            if key.columns == (column,) and key.table != target:
                return _Fault(place, f"{name}.{column} has a foreign key to {key.table}; remove it")
        return None

    def keys(self) -> dict[str, tuple[str, ...]]:
        """Declared row keys, as far as they can hold."""
        found = {}
        for index, layer in enumerate(self._layers):
            for name, rules in layer.tables.items():
                if rules.key is None or name not in self.by_name:
                    continue
                fault = self._key_fault(self.by_name[name], rules.key)
                if fault is not None:
                    self._faults[index].append(fault)
                else:
                    found[name] = rules.key
        return found

    def _key_fault(self, table: Table, key: tuple[str, ...]) -> _Fault | None:
        place = (table.name, "key")
        for index, name in enumerate(key):
            column = _column_of(table, name)
            if column is None:
                return _no_column((*place, index), table.name, name)
            if column.generated:
                return _Fault((*place, index), f"{table.name}.{name} is computed by the engine")
        if not table.primary_key:
            return _Fault(place, f"{table.name} has no primary key, so its rows cannot be followed")
        filling = self._catalogue.filling(table.name, key)
        if filling.nulls:
            return _Fault(place, f"{filling.nulls} rows of {table.name} have NULL there; fill them")
        if filling.duplicates:
            text = (
                f"{filling.duplicates} rows of {table.name} have what another row has there (case"
                " and trailing blanks do not count); change them, or take more columns"
            )
            return _Fault(place, text)
        return None

    # Everything else

    def check_rest(self, row_keys: RowKeys) -> None:
        for layer, faults in zip(self._layers, self._faults, strict=True):
            for name, rules in layer.tables.items():
                if name in self.by_name:
                    faults += self._rest(self.by_name[name], rules, row_keys)
        for name, several in self.holding.items():
            table = self.by_name[name]
            self.holding[name] = [self._as_holds(table, rules, row_keys) for rules in several]

    def _rest(self, table: Table, rules: TableRules, row_keys: RowKeys) -> Iterator[_Fault]:
        for column, condition in rules.conditional.items():
            yield from self._condition_faults(table, column, condition, row_keys)
        for column in rules.local:
            if fault := _local_fault(table, column, row_keys):
                yield fault
        for name in rules.unique:
            if _unique_of(table, name) is None:
                text = f"{table.name} has no unique key {name}; write its columns, or its name"
                lacks = f"unique key {table.name} ({name})"
                yield _Fault((table.name, "unique", name), text, lacks)
        for index, name in enumerate(rules.modified or ()):
            if fault := _modified_fault(table, name, (table.name, "modified", index)):
                yield fault

    def _as_holds(self, table: Table, rules: TableRules, row_keys: RowKeys) -> TableRules:
        """The rules without those that cannot hold."""
        modified = rules.modified
        if modified is not None:
            modified = tuple(name for name in modified if not _modified_fault(table, name, ()))
        return replace(
            rules,
            conditional={
                column: condition
                for column, condition in rules.conditional.items()
                if not any(
                    not fault.lacks or fault.place[-1] != "tables"
                    for fault in self._condition_faults(table, column, condition, row_keys)
                )
            },
            local={
                column: values
                for column, values in rules.local.items()
                if not _local_fault(table, column, row_keys)
            },
            unique={
                name: rule
                for name, rule in rules.unique.items()
                if _unique_of(table, name) is not None
            },
            modified=modified,
        )

    def _condition_faults(
        self, table: Table, column: str, condition: Condition, row_keys: RowKeys
    ) -> Iterator[_Fault]:
        place = (table.name, "conditional", column)
        here = _column_of(table, column)
        if here is None:
            yield _no_column(place, table.name, column)
            return
        if here.kind not in ("text", "any", *INTEGERS):
            yield _Fault(place, f"{table.name}.{column} is a {here.kind} and holds no local number")
        if any(column in key.columns for key in table.foreign_keys):
            yield _Fault(place, f"{table.name}.{column} is a reference whatever else is said")
        if column in row_keys.plan(table).key_columns or column in table.primary_key:
            yield _Fault(place, f"{table.name}.{column} names the row, so it cannot be a reference")
        if not table.primary_key:
            yield _Fault(place, f"{table.name} has no primary key, so its rows cannot be followed")
        decider = self._decider(table, condition)
        if decider is None:
            by = f"{table.name}.{condition.by}"
            if _column_of(table, condition.by or "") is None:
                yield _no_column((*place, "by"), table.name, str(condition.by))
            else:
                yield _Fault((*place, "by"), f"{by} is no reference; declare it as one first")
        elif _column_of(decider, condition.column) is None:
            yield _no_column((*place, "column"), decider.name, condition.column)
        for target in sorted({*condition.tables.values()}):
            if target not in self.by_name:
                yield _no_table((*place, "tables"), f"{table.name}.{column}", target)
            elif _numbers_of(self.by_name[target], row_keys) is None:
                yield _Fault((*place, "tables"), f"{target} has no local numbers to refer to")

    def _decider(self, table: Table, condition: Condition) -> Table | None:
        if condition.by is None:
            return table
        for key in table.foreign_keys:
            if key.columns == (condition.by,):
                return self.by_name.get(key.table)
        return None

    def conditions(
        self, holding: Mapping[str, TableRules], row_keys: RowKeys
    ) -> dict[str, dict[str, Conditional]]:
        found: dict[str, dict[str, Conditional]] = {}
        for name, rules in holding.items():
            for column, condition in rules.conditional.items():
                decider = self._decider(self.by_name[name], condition)
                assert decider is not None, "it was checked"
                tables = {
                    said: numbers
                    for said, target in sorted(condition.tables.items())
                    if target in self.by_name
                    and (numbers := _numbers_of(self.by_name[target], row_keys)) is not None
                }
                key = next(
                    (
                        key.target_columns[0]
                        for key in self.by_name[name].foreign_keys
                        if key.columns == (condition.by,)
                    ),
                    "",
                )
                found.setdefault(name, {})[column] = Conditional(
                    condition.by, decider.name, key, condition.column, tuple(tables.items())
                )
        return found

    def modified(self, holding: Mapping[str, TableRules]) -> dict[str, tuple[str, ...]]:
        said_of_all = (layer.modified for layer in reversed(self._layers) if layer.modified)
        default = next(said_of_all, MODIFIED)
        found = {}
        for name, table in self.by_name.items():
            said = holding[name].modified if name in holding else None
            names = default if said is None else said
            found[name] = tuple(one for one in names if not _modified_fault(table, one, ()))
        return found

    def left_out(self) -> dict[str, str]:
        """Reasons by table; a later layer's word counts, and a name more than a pattern."""
        found: dict[str, str] = {}
        for layer in self._layers:
            for name in self.by_name:
                said = layer.tables.get(name)
                fitting = [
                    rules.exclude
                    for pattern, rules in layer.tables.items()
                    if is_pattern(pattern) and fnmatchcase(name, pattern)
                ]
                reasons = [*fitting, said.exclude if said is not None else None]
                reason = next((one for one in reversed(reasons) if one is not None), None)
                if reason is not None:
                    found[name] = reason
        return {name: reason for name, reason in found.items() if reason}

    # What cannot hold

    def refuse(self) -> None:
        from syncnode.settings.toml_reader import Document

        texts = []
        for layer, faults in zip(self._layers, self._faults, strict=True):
            if layer.path is None or not faults:
                continue
            document = Document(layer.path)
            for fault in faults:
                document.fault(("tables", *fault.place), fault.text)
            try:
                document.refuse_faults()
            except ConfigError as error:
                texts.append(str(error))
        if texts:
            raise ConfigError("\n".join(texts))

    def notes(self) -> Iterator[str]:
        for layer, faults in zip(self._layers, self._faults, strict=True):
            if layer.path is not None:
                continue
            lacks = sorted({fault.lacks for fault in faults if fault.lacks})
            if lacks:
                more = f" and {len(lacks) - NAMES_SHOWN} more" if len(lacks) > NAMES_SHOWN else ""
                yield (
                    f"{layer.title} also speaks of what this database has not: "
                    f"{', '.join(lacks[:NAMES_SHOWN])}{more}; it serves several versions of the"
                    " schema"
                )
            for fault in faults:
                if not fault.lacks:
                    yield f"{layer.title} is passed over in one thing: {fault.text}"


def _column_of(table: Table, name: str) -> ColumnPlan | None:
    return next((column for column in table.columns if column.name == name), None)


def _unique_of(table: Table, name: str) -> UniqueKey | None:
    """The unique key of that name, or over these columns."""
    columns = {part.strip() for part in name.split(",")}
    for key in table.unique_keys:
        if key.name == name or set(key.columns) == columns:
            return key
    return None


def unique_ruled(keys: Iterable[UniqueKey], table: Table, rules: TableRules) -> Iterator[UniqueKey]:
    """The unique keys with the rules that are said of them."""
    said = [(_unique_of(table, name), rule) for name, rule in rules.unique.items()]
    for key in keys:
        rule = next((rule for one, rule in said if one and one.columns == key.columns), key.rule)
        yield replace(key, rule=rule)


def _modified_fault(table: Table, name: str, place: tuple[str | int, ...]) -> _Fault | None:
    column = _column_of(table, name)
    if column is None:
        return _no_column(place, table.name, name)
    if column.kind not in _DATES:
        return _Fault(place, f"{table.name}.{name} is a {column.kind} and tells no time")
    return None


def _local_fault(table: Table, column: str, row_keys: RowKeys) -> _Fault | None:
    place = (table.name, "local", column)
    here = _column_of(table, column)
    if here is None:
        return _no_column(place, table.name, column)
    key = row_keys.plan(table)
    named = column in key.key_columns and key.kind != "none"
    if not named or here.kind not in ("text", "any"):
        text = (
            f"{table.name}.{column} is no text that names the row: only such a column can keep rows"
            " local, since a row must not come and go by an edit"
        )
        return _Fault(place, text)
    return None


def _numbers_of(table: Table, row_keys: RowKeys) -> str | None:
    """The table whose local numbers are this one's primary key."""
    return row_keys.reference(table.name, table.primary_key[0]) if table.primary_key else None


def _no_column(place: tuple[str | int, ...], table: str, column: str) -> _Fault:
    text = f"{table} has no column {column}; correct the name, or remove the line"
    return _Fault(place, text, f"{table}.{column}")


def _no_table(place: tuple[str | int, ...], what: str, table: str) -> _Fault:
    said = "" if what == table else f"{what}: "
    text = f"{said}there is no table {table}; correct the name, or remove the line"
    return _Fault(place, text, table)
