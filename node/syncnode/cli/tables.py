"""`tables`: which tables take part, and how that is changed while the site is at work."""

import argparse
from typing import TYPE_CHECKING

from syncnode.cli.arguments import Commands, add_command, add_json, settings_of
from syncnode.cli.progress import Progress
from syncnode.cli.terminal import EXIT_DONE, counted, json_result, notice, result, table

if TYPE_CHECKING:
    from syncnode.reports import TableReport


def add_commands(commands: Commands) -> None:
    tables = add_command(commands, "tables", help="list the tables that take part, and why not")
    add_json(tables)
    tables.set_defaults(run=_list)
    actions = tables.add_subparsers(title="actions", metavar="ACTION")
    for action, help, run in (
        ("list", "list them", _list),
        ("enable", "replicate these from now on; what peers have of them comes by itself", _enable),
        ("disable", "replicate these no more; their rows stay", _disable),
    ):
        one = actions.add_parser(action, help=help, description=help[0].upper() + help[1:] + ".")
        # What stands before the action counts, too, so there is no default here.
        none = argparse.SUPPRESS
        one.add_argument("--config", metavar="PATH", default=none, help="this site's settings")
        if action == "list":
            one.add_argument("--json", action="store_true", default=none, help="print JSON")
        else:
            one.add_argument("names", metavar="NAME", nargs="+", help="of a table")
        one.set_defaults(run=run)


def _list(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    found: list[TableReport] = operations.list_tables(settings)
    if arguments.json:
        json_result(found)
        return EXIT_DONE
    table(
        ("table", "takes part", "row key, or why it is left out"),
        [
            (one.name, "no" if one.left_out else "yes", one.left_out or one.key or "")
            for one in found
        ],
    )
    taking = sum(one.left_out is None for one in found)
    result()
    result(f"{counted(taking, 'table')} replicated, {len(found) - taking} left out")
    return EXIT_DONE


def _enable(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    names = list(dict.fromkeys(arguments.names))
    with Progress() as progress:
        rows: int = operations.enable_tables(settings, names, progress=progress)
    notice(
        f"{', '.join(names)}: replicated from now on, with {counted(rows, 'row')} that stood here; "
        "the others' rows come with the next exchange: `syncnode sync` makes one"
    )
    return EXIT_DONE


def _disable(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    names = list(dict.fromkeys(arguments.names))
    with Progress() as progress:
        operations.disable_tables(settings, names, progress=progress)
    notice(
        f"{', '.join(names)}: no longer replicated; the rows stay, and what is written to them "
        "here from now on gives way to the others' when `syncnode tables enable` takes them up"
    )
    return EXIT_DONE
