"""`init` and `uninstall`: a database becomes a site, and stops being one."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from syncnode.cli.arguments import Commands, add_command, settings_of
from syncnode.cli.progress import Progress
from syncnode.cli.terminal import EXIT_DONE, counted, notice, result

if TYPE_CHECKING:
    from syncnode.reports import InitReport, UninstallReport


def add_commands(commands: Commands) -> None:
    init = add_command(commands, "init", help="make a site of a database")
    init.add_argument(
        "--database",
        metavar="URL",
        help="sqlite:///FILE, mysql+pymysql://USER:PASSWORD@HOST/DATABASE or "
        "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE "
        "(or $SYNCNODE_DATABASE, which keeps a password out of the file)",
    )
    init.add_argument("--name", help="what people call this site")
    init.add_argument("--listen", metavar="HOST:PORT", help="where children and peers reach it")
    init.add_argument("--url", help="https://host:port that others call, if not --listen")
    init.add_argument("--topology", metavar="PATH", help="the file that declares the network")
    init.add_argument(
        "--preset",
        metavar="NAME",
        help="what is known of an application's tables: openmrs, or the path of your own file",
    )
    init.add_argument(
        "--only",
        metavar="TABLE",
        action="append",
        default=[],
        help="take this table and what it refers to, no others; may be repeated",
    )
    init.add_argument(
        "--exclude",
        metavar="TABLE",
        action="append",
        default=[],
        help="leave this table out; may be repeated",
    )
    init.add_argument(
        "--cloned",
        action="store_true",
        help="the database is a restored copy of a site's: take on an identity of its own",
    )
    init.add_argument(
        "--dry-run", action="store_true", help="print the plan and its SQL, change nothing"
    )
    init.add_argument(
        "--propose",
        metavar="FILE",
        help="write a preset for this schema, to be edited; change nothing else",
    )
    init.set_defaults(run=_init, usage=init.error)

    uninstall = add_command(
        commands, "uninstall", help="remove triggers and sidecar; keep the data and the files"
    )
    uninstall.add_argument(
        "--database",
        metavar="URL",
        help="of this database, whose settings are lost; --config is not read then",
    )
    uninstall.add_argument(
        "--force", action="store_true", help="also when changes made here have reached nobody"
    )
    uninstall.set_defaults(run=_uninstall)


def _init(arguments: argparse.Namespace) -> int:
    from syncnode.settings import new_config
    from syncnode.settings.config import config_path

    path = config_path(arguments.config)
    if arguments.propose and arguments.name is None and not path.exists():
        arguments.name = "proposal"  # of no site: it is written nowhere
    asked = {
        "database": arguments.database,
        "listen": arguments.listen,
        "url": arguments.url,
        "topology": arguments.topology,
        "only": tuple(arguments.only),
        "exclude": tuple(arguments.exclude),
        "preset": arguments.preset,
    }
    if path.exists():
        # Of a site that was uninstalled, or of an `init` that was interrupted.
        settings = new_config.kept_settings(path, name=arguments.name, **asked)
    elif arguments.name is None:
        arguments.usage("the following arguments are required: --name")
    else:
        settings = new_config.new_settings(path, name=arguments.name, **asked)
    from syncnode import operations

    if arguments.propose:
        with Progress() as progress:
            operations.propose(settings, Path(arguments.propose), progress=progress)
        notice(
            f"{arguments.propose} holds a preset for this schema: edit it, then `syncnode init "
            f"--preset {arguments.propose}`; nothing else was changed"
        )
        return EXIT_DONE
    with Progress() as progress:
        initialise = operations.initialise_clone if arguments.cloned else operations.initialise
        report: InitReport = initialise(settings, dry_run=arguments.dry_run, progress=progress)
    result(report.plan)
    if arguments.dry_run:
        result()
        result(";\n".join([*report.statements, ""]).rstrip("\n"))
    for warning in report.warnings:
        notice(warning)
    if arguments.dry_run:
        notice("nothing was changed")
    else:
        notice(f"{settings.name} is a site now; its settings are in {path}")
    return EXIT_DONE


def _uninstall(arguments: argparse.Namespace) -> int:
    report: UninstallReport
    if arguments.database:
        from syncnode.settings.database_url import (
            absolute_database,
            database_fault,
            without_password,
        )
        from syncproto.errors import UsageError

        if fault := database_fault(arguments.database):
            raise UsageError(f"--database: {fault}")
        url = absolute_database(arguments.database, Path.cwd())
        shown = without_password(url)
        from syncnode import operations

        report = operations.remove(url, force=arguments.force)
    else:
        settings = settings_of(arguments)
        shown = settings.shown_database
        from syncnode import operations

        report = operations.uninstall(settings, force=arguments.force)
    notice(
        f"removed {counted(report.triggers, 'trigger')} and {counted(report.tables, 'table')} "
        f"from {shown}; kept {', '.join(report.files_kept) or 'no file'}"
    )
    return EXIT_DONE
