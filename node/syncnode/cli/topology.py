"""`topology check` and `topology draw`: the network's file, looked at before it is used."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from syncnode.cli.arguments import Commands, add_command, add_json, settings_of
from syncnode.cli.terminal import EXIT_DONE, EXIT_NOT_DONE, counted, json_result, notice, result

_EVERY_CHANGE = "every change reaches every site"

if TYPE_CHECKING:
    from syncnode.settings.topology import Topology


def add_commands(commands: Commands) -> None:
    topology = add_command(commands, "topology", help="check or draw the file of the network")
    actions = topology.add_subparsers(title="actions", metavar="ACTION", required=True)
    check = add_command(actions, "check", help="find sites and links that cannot work")
    _add_file(check)
    add_json(check)
    check.set_defaults(run=_check)
    draw = add_command(actions, "draw", help="draw the network")
    _add_file(draw)
    draw.add_argument(
        "--format",
        choices=("text", "mermaid", "svg"),
        default="text",
        help="a tree of text (default), Mermaid for documents, or an SVG picture",
    )
    draw.set_defaults(run=_draw)


def _add_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="the topology (default: the one that this site's settings name)",
    )


def _topology(arguments: argparse.Namespace) -> "Topology":
    """The network that the command line names.

    Raises:
        ConfigError: There is none, or it is broken.
    """
    from syncnode.settings.topology import read_topology
    from syncproto.errors import ConfigError

    if arguments.file is not None:
        return read_topology(arguments.file)
    settings = settings_of(arguments)
    if settings.topology is None:
        raise ConfigError(
            f"{settings.path}: names no topology; write topology = "
            '"topology.toml", or name the file: syncnode topology check FILE'
        )
    return settings.topology


def _check(arguments: argparse.Namespace) -> int:
    topology = _topology(arguments)
    from syncnode.operations.topology import needed_tables
    from syncnode.settings.topology_check import check, links

    needed = needed_tables(settings_of(arguments)) if arguments.file is None else None
    found = check(topology, needed or ())
    if arguments.json:
        json_result(list(found))
    else:
        for finding in found:
            result(f"{topology.path}:{finding.line}: {finding.key}: {finding.text}")
    if found:
        return EXIT_NOT_DONE
    sites, ways = len(topology.sites_by_name), len(list(links(topology)))
    reach = "every table comes where it is to be" if topology.ruled else _EVERY_CHANGE
    notice(f"{counted(sites, 'site')} and {counted(ways, 'link')}: {reach}")
    if topology.ruled and needed is None:
        notice(
            "whether tables come without what they refer to was not looked at: that takes the "
            "database of a site; there, run `syncnode topology check` without FILE"
        )
    return EXIT_DONE


def _draw(arguments: argparse.Namespace) -> int:
    topology = _topology(arguments)
    from syncnode.settings import topology_drawing

    if not topology.sites_by_name:
        notice("the topology declares no sites yet")
        return EXIT_NOT_DONE
    result(getattr(topology_drawing, arguments.format)(topology))
    return EXIT_DONE
