"""`[tables]` and `[sites.NAME.tables]`: which tables of the simulated clinic sites keep."""

from collections.abc import Iterable

from syncnode.settings.link_rules import DIRECTIONS
from syncnode.settings.toml_reader import meant, shown
from syncnode.settings.topology import TableChoice, table_choice
from syncsim.grammar.keys import Keys
from syncsim.grammar.later import refuse_later
from syncsim.schema import TABLES


def tables_of_all(root: Keys) -> tuple[str, ...] | None:
    """What `[tables]` leaves of the tables; None for all of them."""
    table = root.table("tables")
    choice = table_choice(table)
    refuse_later(table, "preset")
    for _, rules in table.tables():
        refuse_later(rules, "priority")
        rules.refuse_unknown()
    table.refuse_unknown()
    return chosen(table, choice)


def where_deletes_win(root: Keys) -> tuple[str, ...]:
    """The tables of `[tables.NAME] deletes = "delete-wins"`, by name."""
    rules_by_name = sorted(root.table("tables").tables())
    return tuple(
        name for name, rules in rules_by_name if rules.text("deletes", example="") == "delete-wins"
    )


def chosen(table: Keys, choice: TableChoice) -> tuple[str, ...] | None:
    """The tables that `only` and `exclude` leave, with what they refer to; None for all."""
    for key, names in (("only", choice.only or ()), ("exclude", choice.exclude)):
        for index, name in enumerate(names):
            if name not in TABLES:
                table.fault((key, index), _no_table(name))
    if choice.only is None and not choice.exclude:
        return None
    wanted = set(TABLES if choice.only is None else choice.only) - set(choice.exclude)
    if choice.only is not None:
        for name in reversed(list(TABLES)):  # those that refer come after what they refer to
            if name in wanted:
                wanted |= set(TABLES[name].references.values()) - set(choice.exclude)
    kept = tuple(name for name in TABLES if name in wanted)
    _refuse_dangling(table, kept)
    return kept


def tables_of_site(site: Keys, of_all: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What `[sites.NAME.tables]` leaves: `obs = "none"` keeps a table away from the site."""
    directions = site.table("tables")
    away: set[str] = set()
    for name in directions.remaining():
        direction = directions.one_of(name, DIRECTIONS, default="both")
        if name not in TABLES:
            directions.fault(name, _no_table(name))
        elif direction == "none":
            away.add(name)
        elif direction != "both":
            directions.fault(name, 'one direction only comes later; write "none" or "both"')
    if not away:
        return of_all
    kept = tuple(name for name in of_all or TABLES if name not in away)
    _refuse_dangling(directions, kept)
    return kept


def _refuse_dangling(table: Keys, kept: Iterable[str]) -> None:
    kept = tuple(kept)
    for name in kept:
        for other in TABLES[name].references.values():
            if other not in kept:
                table.document.fault(
                    table.path,
                    f"{name} is kept and refers to {other}, which is not; keep both or neither",
                )


def _no_table(name: str) -> str:
    return f"{shown(name)} is no table of the simulated clinic; {meant(name, TABLES)}"
