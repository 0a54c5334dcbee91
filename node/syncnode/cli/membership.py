"""`invite`, `join`, `forget`, `revoke`: a site enters a network by a token, and is let go."""

import argparse
import sys
from typing import TYPE_CHECKING

from syncnode.cli.arguments import Commands, add_command, settings_of
from syncnode.cli.progress import Progress
from syncnode.cli.terminal import (
    EXIT_DONE,
    EXIT_NOT_DONE,
    counted,
    notice,
    printable,
    result,
)

if TYPE_CHECKING:
    from syncnode.clash_report import ForetoldClashes
    from syncnode.reports import Forgotten, Invitation, JoinPreview, JoinReport, RevokedReport


_FORETOLD = {
    "marked": "shown with a mark, or no value",
    "merged": "not shown, the other row stands for it",
    "waits": "not shown until one of the two has another value",
}


def add_commands(commands: Commands) -> None:
    invite = add_command(
        commands, "invite", help="print a one-time token that lets a site join here"
    )
    invite.add_argument("name", metavar="NAME", help="the name of the site that is to join")
    invite.add_argument("--peer", action="store_true", help="beside this site, not below it")
    invite.add_argument("--url", help="https://host:port that goes into the token, if not ours")
    invite.set_defaults(run=_invite)

    join = add_command(commands, "join", help="enter the network of whoever made the token")
    join.add_argument("token", metavar="TOKEN", help="what `syncnode invite` printed")
    join.add_argument("--yes", action="store_true", help="ask nothing, also when rows differ")
    join.add_argument(
        "--dry-run", action="store_true", help="only compare the rows of both sides, do not join"
    )
    join.add_argument("--values", action="store_true", help="show values of rows that differ")
    join.set_defaults(run=_join)

    forget = add_command(
        commands, "forget", help="exchange nothing more with a peer; what came from it stays"
    )
    forget.add_argument("name", metavar="NAME", help="its name, as `syncnode peers` shows it")
    forget.set_defaults(run=_forget)

    revoke = add_command(
        commands, "revoke", help="end the membership of a site, such as a stolen one, for good"
    )
    revoke.add_argument(
        "name", metavar="NAME", help="its name, as `syncnode peers` shows it, or id"
    )
    revoke.set_defaults(run=_revoke)


def _invite(arguments: argparse.Namespace) -> int:
    from syncnode.settings.topology import name_fault, url_fault
    from syncproto.errors import UsageError

    if fault := name_fault(arguments.name):
        raise UsageError(f"NAME: {fault}")
    if arguments.url and (fault := url_fault(arguments.url)):
        raise UsageError(f"--url: {fault}")
    settings = settings_of(arguments)
    from syncnode import operations

    invitation: Invitation = operations.invite(
        settings,
        arguments.name,
        role="peer" if arguments.peer else "child",
        url=arguments.url,
    )
    print(invitation.token)
    notice(
        f"with this token {invitation.name} joins as {invitation.role} at {invitation.url}, "
        f"once, until {invitation.valid_until}"
    )
    return EXIT_DONE


def _join(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    with Progress() as progress:

        def confirm(preview: "JoinPreview") -> bool:
            progress.clear()
            _show(preview)
            return arguments.yes or _confirmed(preview)

        report: JoinReport = operations.join(
            settings,
            arguments.token,
            confirm=confirm,
            progress=progress,
            dry_run=arguments.dry_run,
            values=arguments.values,
        )
    if arguments.dry_run:
        assert report.preview is not None, "it was compared"
        _show(report.preview)
        notice("compared only: nothing was changed, and the token is as good as before")
        return EXIT_DONE
    if not report.joined:
        notice("not joined; nothing was changed")
        return EXIT_NOT_DONE
    network = f" of {report.network}" if report.network else ""
    notice(f"{settings.name} is a {report.role}{network} at {report.inviter} ({report.url}) now")
    return EXIT_DONE


def _forget(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    forgotten: Forgotten = operations.forget(settings, arguments.name)
    last = forgotten.last_exchange or "never"
    notice(
        f"{forgotten.name} is no {forgotten.role} of {settings.name} any more; it had not "
        f"confirmed {counted(forgotten.pending, 'row')}, last exchange: {last}. What it wrote and "
        "has not sent is known there only"
    )
    return EXIT_DONE


def _revoke(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    report: RevokedReport = operations.revoke(settings, arguments.name)
    others = [name for name in report.peers if name != report.name]
    below = f", and so are {', '.join(others)}, which it had let in" if others else ""
    notice(
        f"{report.name} ({report.site}) is no member of the network any more{below}. Nothing is "
        "exchanged with it from here, and members that meet on a LAN tell each other; where else "
        f"it is a peer, run `syncnode forget {report.name}` there. What it wrote stays"
    )
    return EXIT_DONE


def _show(preview: "JoinPreview") -> None:
    """What both sides hold, before anything is written."""
    from syncnode.cli.verifying import print_comparison

    print_comparison(preview.tables, there=preview.inviter)
    for pairs in preview.near_pairs:
        rows = "1 row holds" if pairs.count == 1 else f"{pairs.count} rows hold"
        result(f"{pairs.table}: {rows} the same on both sides under another name, such as")
        for here, there in pairs.examples:
            result(f"    {here} here and {there} there")
    for clash in preview.clashes:
        _show_clashes(clash)
    result(f"cost       {preview.bytes_sent:,} bytes sent, {preview.bytes_received:,} received")


def _show_clashes(clash: "ForetoldClashes") -> None:
    """What would become of rows that ask for one unique value."""
    rows = counted(clash.count, "row")
    columns = ", ".join(f"{clash.table}.{name}" for name in clash.columns)
    part = "" if clash.whole else " of those looked at (there are too many to fetch all)"
    result(
        f"{clash.table}: {rows}{part} would clash in {columns}: {_FORETOLD[clash.done]}, such as"
    )
    for keeps, gives_way, value in clash.examples:
        said = f" ({value})" if value is not None else ""
        result(f"    {gives_way}{said}, since {keeps} has the value")


def _confirmed(preview: "JoinPreview") -> bool:
    """Ask whether to go on; without a terminal the answer is no."""
    differ = "row differs" if preview.different == 1 else "rows differ"
    are = "is" if preview.same == 1 else "are"
    notice(
        f"{preview.different} {differ} from those of {preview.inviter}; "
        f"{preview.same} {are} the same, {preview.only_here} only here, "
        f"{preview.only_there} only there. After joining both sides have all of them. Of two "
        "values the later one stays, the other one goes on record"
    )
    if preview.unnamed:
        notice(
            f"the rows of {', '.join(preview.unnamed)} have no names that are the same at two "
            "sites: those that both hold now will stand twice. If there are such, empty these "
            f"tables here first, or begin with a copy of the database of {preview.inviter}"
        )
    if not sys.stdin.isatty():
        notice("there is no terminal to ask; join with --yes to go on. Nothing was changed")
        return False
    print(f"Join {printable(preview.inviter)}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
