"""Who asks for which unique values, and what follows from it for each (rules A4 and B2).

Values are compared as they travel. A reference counts as the row that stands for the one referred
to: for rows of other tables that is decided before, and for rows of the same table it is found
here from nothing, so that two rows are one only if that follows from what is replicated, and not
because they were one until now.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from syncnode.apply.ladder import Step
from syncnode.apply.writing import Refusal, Wanted
from syncnode.schema.plan import UniqueKey
from syncnode.store.references import comparable
from syncnode.store.table import Table
from syncproto.identity import RowKey
from syncproto.row import Row, Value
from syncproto.uniqueness import claim, precedence


@dataclass(slots=True)
class Claimant:
    """A row that asks for unique values.

    Attributes:
        line: Its values as they travel, by column, references as the keys of the rows that
            stand for those referred to.
        own: The columns that refer to rows of the same table; their keys are the replicated ones.
        fixed: The table shows something else of it for another reason; that is not changed here.
        ghost: It is not shown for want of a row that waits itself; it only asks.
        outcome: Why it waits, once that is decided.
        idle: It is deleted, and nothing that is shown refers to it.
        into: The row that stands for it, once that is decided.
        named: It is another row, and only the engine takes its name for that one's.
    """

    wanted: Wanted
    line: dict[str, Any]
    own: frozenset[str] = frozenset()
    fixed: bool = False
    ghost: bool = False
    instead: dict[str, Value] = field(default_factory=dict)
    outcome: Refusal | None = None
    idle: bool = False
    into: "Claimant | None" = None
    named: bool = False

    @property
    def settled(self) -> bool:
        """It asks for nothing any more."""
        return self.outcome is not None or self.into is not None


def decide(table: Table, steps: Sequence[Step], claimants: Mapping[RowKey, Claimant]) -> None:
    """Say of each what becomes of it."""
    merging = [step for step in steps if step.merges]
    # Rows that are one now may make those one that refer to them.
    while sum([_serve_all(table, step, claimants) for step in merging]):
        pass
    for step in steps:
        if not step.merges:
            _serve_all(table, step, claimants)


def _serve_all(table: Table, step: Step, claimants: Mapping[RowKey, Claimant]) -> int:
    found = classes(table, step.unique, claimants)
    return sum([_serve(table, step, rivals) for rivals in found])


def classes(
    table: Table, unique: UniqueKey, claimants: Mapping[RowKey, Claimant]
) -> list[list[Claimant]]:
    """The rows that ask for one value, for each value of a unique key."""
    found: dict[tuple[Any, ...], list[Claimant]] = {}
    for claimant in claimants.values():
        values = values_of(claimant, unique.columns, claimants)
        if not claimant.settled and None not in values:
            name = comparable(table, unique.columns, values)
            found.setdefault(name, []).append(claimant)
    return [rivals for rivals in found.values() if len(rivals) > 1]


def values_of(
    claimant: Claimant, columns: Iterable[str], claimants: Mapping[RowKey, Claimant]
) -> list[Any]:
    """What it asks for, with what is decided of rows of the table so far."""
    values: list[Any] = []
    for name in columns:
        value: Any = claimant.line.get(name)
        while name in claimant.own and (one := claimants.get(value)) and one.into is not None:
            if one.named:
                break
            value = one.into.wanted.key
        values.append(value)
    return values


def _serve(table: Table, step: Step, rivals: Sequence[Claimant]) -> int:
    """Decide for one value: all but the first get a mark, or wait. How many that were."""
    rivals = [rival for rival in rivals if step.holds or not rival.ghost]
    by_key = {rival.wanted.key: rival for rival in rivals}
    claims = [claim(rival.wanted.key, rival.wanted.row, step.unique.columns) for rival in rivals]
    order = [by_key[one.key] for one in precedence(claims)]
    order.sort(key=lambda rival: (not rival.fixed, rival.idle))
    giving_way = [one for one in order[1:] if not (one.fixed or one.ghost)]
    for one in giving_way:
        if step.merges:
            one.into, one.named = order[0], step.names and not _one_name(step, order[0], one)
        elif step.column is None:
            names = ", ".join(f"{table.name}.{name}" for name in step.unique.columns)
            one.outcome = Refusal("unique clash", f"another row has the same {names}")
        else:
            name = step.column.name
            one.instead[name] = step.instead(one.wanted.key, one.wanted.row.cells[name].value)
    return len(giving_way)


def _one_name(step: Step, one: Claimant, other: Claimant) -> bool:
    """Whether the names of the two are the same at every site, since the rows that they are made
    of are one; otherwise only this engine takes them for one."""
    texts = [name for name in step.unique.columns if isinstance(one.line[name], str)]
    return all(one.line[name] == other.line[name] for name in texts)


def line_of(row: Row, stands_for: Mapping[str, RowKey]) -> dict[str, Any]:
    """Values by column as they travel; `stands_for`: by column the key to which it refers."""
    return {name: stands_for.get(name, cell.value) for name, cell in row.cells.items()}
