"""Which tables take part: those chosen, with all that they refer to; and in which order."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from syncnode.schema.catalogue import Table
from syncnode.schema.plan import LISTED, UNLISTED, Excluded
from syncproto.errors import ConfigError

Parents = Mapping[str, Sequence[str]]
"""By table, the other tables that it refers to."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Names of the tables that take part, and what came of the others."""

    names: frozenset[str]
    taken_along: tuple[str, ...]
    excluded: tuple[Excluded, ...]


def parents(tables: Iterable[Table]) -> Parents:
    return {
        table.name: sorted({key.table for key in table.foreign_keys} - {table.name})
        for table in tables
    }


def chosen(
    tables: Sequence[Table],
    refused: Sequence[Excluded],
    *,
    only: Sequence[str] | None,
    exclude: Sequence[str],
    left_out: Mapping[str, str] | None = None,
) -> Chosen:
    """Apply `[tables] only` and `exclude`.

    Args:
        left_out: Reasons of rules by table: these stay out unless `only` names them or needs
            them, and so does what refers to them.

    Raises:
        ConfigError: A name is unknown or cannot take part, or a table that takes part refers to
            one that is excluded.
    """
    by_name = {table.name: table for table in tables}
    reasons = {excluded.table: excluded.reason for excluded in refused}
    _check_names("only", only or (), by_name, reasons, must_take_part=True)
    _check_names("exclude", exclude, by_name, reasons, must_take_part=False)
    out = _with_children(left_out or {}, parents(tables)) if only is None else {}
    wanted = set(only) if only is not None else set(by_name) - set(exclude) - set(out)
    names = _closure(wanted, parents(tables))
    _check_excluded(names, set(exclude), by_name, reasons)
    excluded = [Excluded(name, LISTED) for name in exclude if name in by_name]
    excluded += [
        Excluded(name, out.get(name, UNLISTED))
        for name in by_name
        if name not in names and name not in exclude
    ]
    return Chosen(
        names=frozenset(names),
        taken_along=tuple(sorted(names - wanted)),
        excluded=tuple(sorted(excluded, key=lambda excluded: excluded.table)),
    )


def without_orphans(
    tables: Sequence[Table], refused: Sequence[Excluded]
) -> tuple[list[Table], list[Excluded]]:
    """The tables without those that refer to a refused one, and all refusals."""
    kept, reasons = list(tables), {excluded.table: excluded.reason for excluded in refused}
    while True:
        orphan = next(
            (
                (table, key.table)
                for table in kept
                for key in table.foreign_keys
                if key.table in reasons
            ),
            None,
        )
        if orphan is None:
            return kept, [Excluded(name, reason) for name, reason in sorted(reasons.items())]
        table, parent = orphan
        reasons[table.name] = f"refers to {parent}, which cannot take part"
        kept.remove(table)


def groups_in_order(
    tables: Mapping[str, Table], parents: Parents
) -> tuple[list[str], frozenset[str]]:
    """Names with parents first, and those names that stand in a cycle.

    Within a cycle, foreign keys that may be NULL are the first to be disregarded.
    """
    order: list[str] = []
    cyclic: set[str] = set()
    for group in _components(parents):
        if len(group) > 1:
            cyclic |= set(group)
            order += _cycle_order(group, tables)
        else:
            order += group
    return order, frozenset(cyclic)


def _check_names(
    setting: str,
    names: Sequence[str],
    tables: Mapping[str, Table],
    reasons: Mapping[str, str],
    *,
    must_take_part: bool,
) -> None:
    for name in names:
        if name in tables or (name in reasons and not must_take_part):
            continue
        if name in reasons:
            raise ConfigError(f"[tables] {setting}: {name} cannot take part: {reasons[name]}.")
        raise ConfigError(f"[tables] {setting}: there is no table {name!r}{_near(name, tables)}.")


def _near(name: str, tables: Iterable[str]) -> str:
    by_folded = {table.casefold(): table for table in tables}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=3, cutoff=0.6)
    if not near:
        return ""
    return "; did you mean " + " or ".join(repr(by_folded[folded]) for folded in near) + "?"


def _check_excluded(
    names: set[str], exclude: set[str], tables: Mapping[str, Table], reasons: Mapping[str, str]
) -> None:
    for name in sorted(names):
        for key in tables[name].foreign_keys:
            if key.table not in exclude or key.table in reasons:
                continue
            columns = ", ".join(key.columns)
            raise ConfigError(
                f"[tables] exclude: {key.table} cannot be left out while {name} ({columns}) refers"
                f" to it; exclude {name} too, or keep {key.table}."
            )


def _with_children(left_out: Mapping[str, str], parents: Parents) -> dict[str, str]:
    """Those tables and what refers to them, each with its reason."""
    found = {name: reason for name, reason in left_out.items() if name in parents}
    while True:
        child = next(
            (
                (name, parent)
                for name, above in parents.items()
                for parent in above
                if name not in found and parent in found
            ),
            None,
        )
        if child is None:
            return found
        found[child[0]] = f"refers to {child[1]}, which is left out"


def _closure(wanted: set[str], parents: Parents) -> set[str]:
    found, open_ = set(wanted), list(wanted)
    while open_:
        for parent in parents[open_.pop()]:
            if parent not in found:
                found.add(parent)
                open_.append(parent)
    return found


def _components(parents: Parents) -> list[list[str]]:
    """Strongly connected groups, each after the groups that it refers to.

    Tarjan, "Depth-first search and linear graph algorithms", 1972; with a stack of our own, since
    schemas can be deeper than Python's.
    """
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    groups: list[list[str]] = []
    for root in sorted(parents):
        if root in index:
            continue
        work = [(root, iter(parents[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            name, rest = work[-1]
            parent = next(rest, None)
            if parent is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    group = stack[stack.index(name) :]
                    del stack[-len(group) :]
                    on_stack -= set(group)
                    groups.append(sorted(group))
            elif parent not in index:
                index[parent] = low[parent] = len(index)
                stack.append(parent)
                on_stack.add(parent)
                work.append((parent, iter(parents[parent])))
            elif parent in on_stack:
                low[name] = min(low[name], index[parent])
    return groups


def _cycle_order(group: Sequence[str], tables: Mapping[str, Table]) -> list[str]:
    """Take again and again the table with the fewest parents still to come, required ones first."""
    left = set(group)
    order = []
    while left:
        best = min(left, key=lambda name: (*_waits(tables[name], left - {name}), name))
        left.remove(best)
        order.append(best)
    return order


def _waits(table: Table, left: set[str]) -> tuple[int, int]:
    required = optional = 0
    for key in table.foreign_keys:
        if key.table in left:
            nullable = any(table.column(name).nullable for name in key.columns)
            required, optional = required + (not nullable), optional + nullable
    return required, optional
