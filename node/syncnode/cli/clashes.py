"""`clashes`: rows that two sites gave one unique value, and how that ends."""

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from syncnode.cli.arguments import Commands, add_command, add_json, settings_of
from syncnode.cli.terminal import EXIT_DONE, json_result, notice, result

if TYPE_CHECKING:
    from syncnode.clash_report import ClashReport

DIGITS_SHOWN = 8  # of an id, as `conflicts` and `parked` show it
_DONE = {
    "marked": "shown with a mark, or no value",
    "merged": "not shown: the other row stands for it",
    "waits": "not shown: it waits (`syncnode parked`)",
}


def add_commands(commands: Commands) -> None:
    clashes = add_command(
        commands, "clashes", help="list the rows whose unique value another row has"
    )
    add_json(clashes)
    clashes.set_defaults(run=_clashes)
    actions = clashes.add_subparsers(title="actions", metavar="ACTION")
    listing = actions.add_parser("list", help="list them", description="List them.")
    # What stands before the action counts, too, so there is no default here.
    none = argparse.SUPPRESS
    listing.add_argument("--config", metavar="PATH", default=none, help="this site's settings")
    listing.add_argument("--json", action="store_true", default=none, help="print JSON")


def _clashes(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    found: list[ClashReport] = operations.clashes(settings)
    if arguments.json:
        json_result(found)
        return EXIT_DONE
    if not found:
        notice("no row has a unique value of another one")
    for one in found:
        _print(one)
    return EXIT_DONE


def _print(clash: "ClashReport") -> None:
    result(f"{clash.id[:DIGITS_SHOWN]}  {clash.table} {clash.row_name}: {_DONE[clash.done]}")
    if clash.values:
        result(f"    asks for {_said(clash.values)}")
    if clash.other_name is not None:
        result(f"    which is that of {clash.table} {clash.other_name}")
    if clash.shown:
        result(f"    shows {_said(clash.shown)}")
    result(f"    so since {clash.since}")
    result(f"    to end it: {clash.ends}")


def _said(values: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} = {'NULL' if one is None else one}" for name, one in values.items())
