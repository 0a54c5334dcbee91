"""What the commands' arguments have in common."""

import argparse
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from syncnode.cli.terminal import printable

if TYPE_CHECKING:  # the settings are not needed to print the help
    from syncnode.settings.config import Settings

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


class Parser(argparse.ArgumentParser):
    """argparse, which takes no abbreviations here and escapes what it repeats."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **options})  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


def add_command(commands: Commands, name: str, *, help: str) -> Parser:
    """A command with `--config`; the caller adds the rest and sets `run`."""
    command = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    command.add_argument(
        "--config",
        metavar="PATH",
        help="this site's settings (default: $SYNCNODE_CONFIG, else ./syncnode.toml)",
    )
    return command


def add_json(command: argparse.ArgumentParser) -> None:
    """`--json`, for what reports."""
    command.add_argument("--json", action="store_true", help="print JSON for programs")


def settings_of(arguments: argparse.Namespace) -> "Settings":
    """The settings that the command line names."""
    from syncnode.settings.config import config_path, read_settings

    return read_settings(config_path(arguments.config))
