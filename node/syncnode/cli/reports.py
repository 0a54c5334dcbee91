"""`status`, `peers` and `log`: the truth, for people and for programs."""

import argparse
from typing import TYPE_CHECKING

from syncnode.cli.arguments import Commands, add_command, add_json, settings_of
from syncnode.cli.deciding import print_parked
from syncnode.cli.terminal import EXIT_DONE, counted, json_result, notice, result, table

if TYPE_CHECKING:
    from syncnode.reports import (
        LanReport,
        LogEntry,
        PeerReport,
        StatusReport,
    )

LOG_ENTRIES = 100  # the ledger has years of them; the latest are what one looks for


def add_commands(commands: Commands) -> None:
    status = add_command(commands, "status", help="say what is synchronised and what is not")
    peers = add_command(commands, "peers", help="list the sites that this one exchanges with")
    peers.add_argument(
        "--lan", action="store_true", help="only the sites seen on the LAN, peers or not"
    )
    log = add_command(commands, "log", help="list the changesets seen here, the latest last")
    log.add_argument(
        "--limit",
        metavar="N",
        type=_count,
        default=LOG_ENTRIES,
        help=f"the latest N (default {LOG_ENTRIES}; 0 for all)",
    )
    for command, run in (
        (status, _status),
        (peers, _peers),
        (log, _log),
    ):
        add_json(command)
        command.set_defaults(run=run)


def _status(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    report: StatusReport = operations.status(settings)
    if arguments.json:
        json_result(report)
        return EXIT_DONE
    result(f"site       {report.name} ({report.site}, incarnation {report.incarnation})")
    result(f"network    {report.network or '-'}")
    result(f"url        {report.url or 'none: it calls others'}")
    result(f"database   {report.database}, {counted(report.tables, 'table')}")
    result(f"serving    {'yes' if report.serving else 'no'}")
    result(f"in sync    {'yes' if report.in_sync else 'no'}")
    result(f"pending    {counted(report.pending, 'row')}")
    result(f"parked     {counted(report.parked, 'row')}")
    result(f"held       {counted(report.held, 'row')}")
    result(f"conflicts  {report.conflicts}")
    for note in report.notes:
        result(f"note       {note}")
    if report.parked_rows:
        result()
        print_parked(report.parked_rows)
        if report.parked > len(report.parked_rows):
            result(f"and {report.parked - len(report.parked_rows)} more: syncnode parked")
    if report.peers:
        result()
        _print_peers(report.peers)
    return EXIT_DONE


def _peers(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    if arguments.lan and arguments.json:
        json_result(list(operations.lan(settings)))
        return EXIT_DONE
    peers: tuple[PeerReport, ...] = tuple(operations.peers(settings))
    if arguments.json:
        json_result(list(peers))
        return EXIT_DONE
    if not arguments.lan:
        if peers:
            _print_peers(peers)
        else:
            notice("no peers yet; `syncnode invite` or `syncnode join` makes one")
    _print_lan(tuple(operations.lan(settings)), alone=arguments.lan)
    return EXIT_DONE


def _print_lan(seen: "tuple[LanReport, ...]", *, alone: bool) -> None:
    if not seen:
        if alone:
            notice(
                "nobody is seen on the LAN; `syncnode serve` looks where the settings say "
                "discover = true under [lan]"
            )
        return
    if not alone:
        result()
    table(
        ("seen on the LAN", "site", "address", "standing", "since"),
        [(one.name or "-", one.site, one.url, one.standing, one.seen) for one in seen],
    )


def _log(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    # Newest first from the ledger, so that a limit keeps the latest; shown as they came.
    entries: list[LogEntry] = list(operations.log(settings, entries_max=arguments.limit or None))
    entries.reverse()
    if arguments.json:
        json_result(entries)
        return EXIT_DONE
    table(
        ("arrived", "from", "origin", "seq", "written", "rows", "tables"),
        [
            (
                entry.arrived,
                entry.sender or "here",
                entry.origin if entry.incarnation <= 1 else f"{entry.origin}~{entry.incarnation}",
                entry.seq,
                entry.written,
                entry.rows,
                ", ".join(f"{name} {rows}" for name, rows in entry.rows_by_table.items())
                + (" (repair)" if entry.repair else ""),
            )
            for entry in entries
        ],
    )
    if arguments.limit and len(entries) == arguments.limit:
        notice(f"these are the latest {arguments.limit}; --limit 0 shows all")
    return EXIT_DONE


def _print_peers(peers: "tuple[PeerReport, ...]") -> None:
    table(
        ("peer", "role", "url", "last exchange", "pending", "equal", "problem"),
        [
            (
                peer.name,
                peer.role,
                peer.url or ("on the LAN" if peer.role == "member" else "calls us"),
                peer.last_exchange or "never",
                peer.pending,
                peer.equal,
                peer.problem,
            )
            for peer in peers
        ],
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of entries; write, say, 20")
    return int(text)
