"""`serve`, `sync` and `demo`: the daemon, one exchange, three sites to look at."""

import argparse
from typing import TYPE_CHECKING

from syncnode.cli.arguments import Commands, add_command, add_json, settings_of
from syncnode.cli.progress import Progress
from syncnode.cli.terminal import (
    EXIT_DONE,
    EXIT_NOT_DONE,
    counted,
    json_result,
    notice,
    result,
    table,
)

if TYPE_CHECKING:
    from syncnode.reports import SyncReport


def add_commands(commands: Commands) -> None:
    serve = add_command(commands, "serve", help="run the daemon until SIGTERM")
    serve.set_defaults(run=_serve)

    sync = add_command(commands, "sync", help="exchange changes now, with one peer or with all")
    sync.add_argument("peer", metavar="PEER", nargs="?", help="its name (default: every peer)")
    add_json(sync)
    sync.set_defaults(run=_sync)

    text = "show three sites on this machine, with settings of their own"
    demo = commands.add_parser("demo", help=text, description=f"{text.capitalize()}.")
    demo.set_defaults(run=_demo)


def _serve(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    operations.serve(settings, notice=notice)
    return EXIT_DONE


def _sync(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    with Progress() as progress:
        report: SyncReport = operations.sync(settings, arguments.peer, progress=progress)
    if arguments.json:
        json_result(report)
    else:
        table(
            ("peer", "rows sent", "rows received", "bytes sent", "bytes received", "equal"),
            [
                (
                    exchange.peer,
                    exchange.rows_sent,
                    exchange.rows_received,
                    exchange.bytes_sent,
                    exchange.bytes_received,
                    exchange.equal,
                )
                for exchange in report.exchanges
            ],
        )
    for exchange in report.exchanges:
        if exchange.reason and exchange.reason != report.reason:
            notice(f"{exchange.peer}: {exchange.reason}")
    for note in report.notes:
        notice(note)
    if report.done:
        notice(f"done, equal with {counted(len(report.exchanges), 'peer')}")
        return EXIT_DONE
    notice(f"not done: {report.reason}")
    return EXIT_NOT_DONE


def _demo(_: argparse.Namespace) -> int:
    from syncnode import operations

    return EXIT_DONE if operations.demo(say=result) else EXIT_NOT_DONE
