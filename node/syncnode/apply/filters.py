"""Filters of a site: what it shows instead of what arrives, or that it does not show a row.

    [filters]
    person = ["without_phone"]       # entry points of the group "syncnode.filters", in this order

A filter is a Python function that takes an `Incoming` and returns the columns to be shown
otherwise, `{}` for none; it raises `Refused` for a row that is not to be shown here, which is then
parked. It changes only what this site shows. What is replicated stays beside the table and travels
on as it came, so that sites agree whatever their filters are (rule A6 of the design).

Limits, since a row is written again whenever anything about it changes:

- The result must follow from the `Incoming` alone: no clock, no chance, no question to a database.
- Not what names a row or others refer to, nor references, nor columns that must be unique.
- What the application writes over a value that a filter has put there is a change like any other.

A precedent is SymmetricDS's `IDatabaseWriterFilter`.
"""

from collections.abc import Callable, Collection, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NamedTuple

from syncnode.settings.toml_reader import meant, shown
from syncproto.errors import ConfigError

if TYPE_CHECKING:
    from syncnode.schema.plan import SchemaPlan, TablePlan
    from syncnode.settings.toml_reader import Table as TomlTable
    from syncnode.store.table import Table
    from syncproto.identity import RowKey
    from syncproto.row import Row, Value

GROUP = "syncnode.filters"
FILTERED = "filtered"  # the reason of rows that are altered or parked by a filter


class Refused(Exception):
    """This row is not to be shown here; the text, for the operator, says why."""


class Incoming(NamedTuple):
    """A row that is about to be written.

    Attributes:
        key: The row's key in hexadecimal digits.
        values: By column as they travel: None, int, float, str, bytes; a reference is the pair
            of the table and the key of the row referred to.
    """

    table: str
    key: str
    values: Mapping[str, object]


Filter = Callable[[Incoming], Mapping[str, "Value"]]
Names = Mapping[str, tuple[str, ...]]
"""Names of entry points by table."""


class Filters:
    """The filters of a site, by table.

    Raises:
        ConfigError: One is not installed, or cannot be loaded.
    """

    def __init__(self, names: Names) -> None:
        self._by_table = {
            table: [_loaded(name) for name in chosen] for table, chosen in names.items()
        }

    def __contains__(self, table: str) -> bool:
        return table in self._by_table

    def instead(self, table: "Table", key: "RowKey", row: "Row") -> dict[str, Any]:
        """By column what is shown instead of what is replicated.

        Raises:
            Refused: The row is not to be shown, or a filter failed.
        """
        found: dict[str, Any] = {}
        if not row.alive:
            return found
        values: dict[str, Any] = {name: cell.value for name, cell in row.cells.items()}
        for name, function in self._by_table.get(table.name, ()):
            told = {n: tuple(v) if isinstance(v, tuple) else v for n, v in values.items()}
            try:
                changed = dict(function(Incoming(table.name, key.hex(), told)))
            except Refused:
                raise
            except Exception as error:
                # Its own words may hold values of the row.
                raise Refused(f"the filter {name} failed ({type(error).__name__})") from error
            if wrong := sorted(changed.keys() - _free(table.plan)):
                raise Refused(f"the filter {name} may not change {', '.join(map(str, wrong))}")
            values.update(changed)
            found.update(changed)
        return {name: value for name, value in found.items() if value != row.cells[name].value}


def _loaded(name: str) -> tuple[str, Filter]:
    installed = {point.name: point for point in entry_points(group=GROUP)}
    if name not in installed:
        raise ConfigError(
            f"filters: {shown(name)} is no installed filter; {meant(name, list(installed))}"
        )
    try:
        function = installed[name].load()
    except Exception as error:
        raise ConfigError(f"filters: {name} cannot be loaded: {error}") from error
    if not callable(function):
        raise ConfigError(f"filters: {name} is no function")
    return name, function


def _free(plan: "TablePlan") -> set[str]:
    """Columns that a filter may change."""
    bound = {*plan.primary_key, *plan.key_columns, *plan.references}
    bound.update(name for unique in plan.unique_keys for name in unique.columns)
    return {column.name for column in plan.travelling} - bound


def read_filters(table: "TomlTable") -> dict[str, tuple[str, ...]]:
    """`[filters]` of a settings file; what is wrong is noted in its document."""
    found = {}
    for name in list(table.remaining()):
        chosen = table.texts(name, example="without_phone")
        if chosen:
            found[name] = tuple(chosen)
    return found


def check_filters(names: Names, plan: "SchemaPlan") -> None:
    """
    Raises:
        ConfigError: A table is not replicated, or has no key by which its rows could be altered.
    """
    tables: Collection[str] = [table.name for table in plan.tables]
    for name in sorted(names):
        if name not in tables:
            raise ConfigError(
                f"filters.{name}: {shown(name)} is no replicated table; {meant(name, tables)}"
            )
        if plan.by_name[name].key_kind == "none":
            raise ConfigError(
                f"filters.{name}: the table has no primary key; its rows cannot be filtered"
            )
