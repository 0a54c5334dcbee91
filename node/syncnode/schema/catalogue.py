"""A schema as the engine describes it, before anything is decided.

`sqlite.py`, `mariadb.py` and `postgresql.py` fill these values. They ask the engine's own
catalogue in a few set-oriented queries and not SQLAlchemy's inspector table by table: that hides
what we need (generated and hidden columns, shadow tables, storage engines, partial indexes,
collations of an index, deferred constraints) and takes a query or more for each of hundreds of
tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from syncnode.schema.plan import ColumnPlan, Excluded, ForeignKey, UniqueKey


@dataclass(frozen=True, slots=True)
class Table:
    """One base table that can take part; field names as in `TablePlan`.

    Attributes:
        primary_key: As declared; empty when there is none.
    """

    name: str
    columns: tuple[ColumnPlan, ...]
    primary_key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    unique_keys: tuple[UniqueKey, ...] = ()
    autoincrement: bool = False
    rowid: str | None = None
    strict: bool = False
    engine: str | None = None
    charset: str | None = None
    collation: str | None = None

    def column(self, name: str) -> ColumnPlan:
        return next(column for column in self.columns if column.name == name)


@dataclass(frozen=True, slots=True)
class Filling:
    """How a column, or several together, stand as names of rows.

    Attributes:
        rows: Rows in the table.
        nulls: Rows in which some of the columns is NULL.
        distinct: Different combinations, folded as far as the engine can fold.
    """

    rows: int
    nulls: int
    distinct: int

    @property
    def duplicates(self) -> int:
        return self.rows - self.nulls - self.distinct


class Catalogue(Protocol):
    """What the readers have in common; fields as in `SchemaPlan`."""

    dialect: str
    namespace: str

    @property
    def tables(self) -> Sequence[Table]: ...

    @property
    def refused(self) -> Sequence[Excluded]: ...

    @property
    def warnings(self) -> Sequence[str]: ...

    def filling(self, table: str, columns: Sequence[str]) -> Filling:
        """Count the rows of a table and how far these columns tell them apart."""
        ...
