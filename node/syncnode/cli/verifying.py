"""`verify`: what is captured here, and what a peer holds; and the repair of either."""

import argparse
import sys
from collections.abc import Iterable, Sequence
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
    from syncnode.reports import CheckReport, RowDifference, TableComparison, VerifyReport


def add_commands(commands: Commands) -> None:
    verify = add_command(
        commands, "verify", help="look whether all is captured here, or is the same at a peer"
    )
    verify.add_argument("peer", metavar="PEER", nargs="?", help="compare all rows with this one's")
    verify.add_argument("--repair", action="store_true", help="show a plan, ask, and carry it out")
    verify.add_argument("--yes", action="store_true", help="with --repair: do not ask")
    verify.add_argument(
        "--ours", action="store_true", help="repair the peer's rows by this site's, not these"
    )
    verify.add_argument("--values", action="store_true", help="show values of rows that differ")
    add_json(verify)
    verify.set_defaults(run=_verify, usage=verify.error)


def _verify(arguments: argparse.Namespace) -> int:
    if arguments.yes and not arguments.repair:
        arguments.usage("--yes goes with --repair")
    if arguments.ours and not (arguments.repair and arguments.peer):
        arguments.usage("--ours goes with --repair and a PEER")
    if arguments.values and not arguments.peer:
        arguments.usage("--values goes with a PEER")
    if arguments.peer is None:
        return _check(arguments)
    settings = settings_of(arguments)
    from syncnode import operations

    with Progress() as progress:

        def confirm(report: "VerifyReport") -> bool:
            progress.clear()
            if not arguments.json:
                _print_verified(report)
            return _confirmed(report.plan, yes=arguments.yes)

        report: VerifyReport = operations.verify(
            settings,
            arguments.peer,
            repair=arguments.repair,
            ours=arguments.ours,
            values=arguments.values,
            confirm=confirm,
            progress=progress,
        )
    if arguments.json:
        json_result(report)
    elif not (arguments.repair and report.plan):
        _print_verified(report)
    if report.equal:
        notice(f"equal with {report.peer}")
        return EXIT_DONE
    notice(report.reason or f"not equal with {report.peer}")
    return EXIT_NOT_DONE


def _check(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    with Progress() as progress:

        def confirm(report: "CheckReport") -> bool:
            progress.clear()
            if not arguments.json:
                _print_checked(report)
            return _confirmed(report.plan, yes=arguments.yes)

        report: CheckReport = operations.check(
            settings, repair=arguments.repair, confirm=confirm, progress=progress
        )
    if arguments.json:
        json_result(report)
    elif not (arguments.repair and report.plan):
        _print_checked(report)
    if report.repaired:
        notice(f"made changes of {counted(report.repaired, 'row')}; they leave with the next sync")
    if report.sound:
        rows = counted(sum(one.rows for one in report.tables), "row")
        notice(f"all is captured: {rows}. `syncnode verify PEER` compares their values")
        return EXIT_DONE
    notice(report.reason or "not all is captured")
    return EXIT_NOT_DONE


def _confirmed(plan: Iterable[str], *, yes: bool) -> bool:
    """Show the plan and ask; without a terminal the answer is no."""
    for line in plan:
        notice(f"plan: {line}")
    if yes:
        return True
    if not sys.stdin.isatty():
        notice("there is no terminal to ask; nothing was written. --yes goes on without asking")
        return False
    print("Write this? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _print_checked(report: "CheckReport") -> None:
    wrong = [one for one in report.tables if not one.sound]
    if not wrong:
        return
    table(
        ("table", "rows", "not captured", "vanished", "renamed", "moved", "triggers missing"),
        [
            (
                one.table,
                one.rows,
                one.uncaptured,
                one.vanished,
                one.renamed,
                one.moved,
                len(one.triggers),
            )
            for one in wrong
        ],
    )


def _print_verified(report: "VerifyReport") -> None:
    print_comparison(report.tables, there=report.peer)
    result(f"cost       {report.bytes_sent:,} bytes sent, {report.bytes_received:,} received")


def print_comparison(tables: "Sequence[TableComparison]", *, there: str) -> None:
    """The tables that differ or hold rows that are not shown, and examples; of the others how
    many there are."""
    told = [one for one in tables if _worth_telling(one)]
    if told:
        table(
            (
                "table",
                "same",
                "different",
                "only here",
                "only there",
                "on the way",
                "not shown here",
                "not shown there",
            ),
            [
                (
                    one.table,
                    one.same,
                    one.different,
                    one.only_here,
                    one.only_there,
                    one.on_the_way,
                    one.hidden_here,
                    one.hidden_there,
                )
                for one in told
            ],
        )
    from syncnode.reports import RULES
    from syncnode.schema.naming import named_otherwise

    for one in told:
        if one.unknown_to == RULES:
            result(f"{one.table}: does not cross the link both ways, and not compared")
        elif one.unknown_to is not None:
            where = "here" if one.unknown_to == "here" else f"at {there}"
            result(f"{one.table}: not replicated {where}, and not compared")
        if one.namings is not None:
            result(f"{one.table}: {named_otherwise(one.namings, there)}; not compared")
        for columns, where in ((one.missing_here, "here"), (one.missing_there, f"at {there}")):
            if columns:
                noun = "column" if len(columns) == 1 else "columns"
                result(
                    f"{one.table}: {noun} {', '.join(columns)} dropped {where}, and not compared"
                )
        if one.rough:
            result(f"{one.table}: too many rows differ to look at each; numbers are rough")
        for row in one.examples:
            _print_row(row)
    whole = [one for one in tables if one.equal and one.unknown_to is None]
    result(f"same       {counted(sum(one.same for one in tables), 'row')}")
    result(f"           {len(whole)} of {counted(len(tables), 'table')} the same in full")


def _worth_telling(one: "TableComparison") -> bool:
    beside = one.hidden_here or one.hidden_there or one.missing_here or one.missing_there
    return bool(beside) or not one.equal or one.unknown_to is not None


def _print_row(row: "RowDifference") -> None:
    columns = f": {', '.join(row.columns)}" if row.columns else ""
    result(f"{row.table} {row.row_name or row.row}: {row.where}{columns}")
    for place, values in (("here", row.here), ("there", row.there)):
        for column, value in (values or {}).items():
            result(f"    {place} {column} = {'NULL' if value is None else value}")
