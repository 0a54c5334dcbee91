"""`conflicts` and `parked`: what needs somebody's decision, and the decision."""

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from syncnode.cli.arguments import Commands, Parser, add_command, add_json, settings_of
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
    from syncnode.reports import ConflictReport, ParkedReport, RetryReport, TakeReport

DIGITS_SHOWN = 8  # of an id; enough for ten thousand records, and --json has all of it


def add_commands(commands: Commands) -> None:
    conflicts = add_command(commands, "conflicts", help="list the values that lost, and decide")
    add_json(conflicts)
    _add_list(conflicts, _conflicts, "also those that are decided")
    actions = _actions(conflicts)
    listing = _action(actions, "list", "list them")
    _add_list(listing, _conflicts, "also those that are decided", default=argparse.SUPPRESS)
    show = _action(actions, "show", "show one with all that is known of it")
    _add_number(show, "of the conflict, as the list shows it", run=_show_conflict)
    take = _action(actions, "take", "write the value that lost: it wins then, at every site")
    take.add_argument(
        "--force", action="store_true", help="also when the value was written again since"
    )
    _add_number(take, "of the conflict, as the list shows it", run=_take)
    dismiss = _action(actions, "dismiss", "decide, here, that what stands may stay")
    _add_dismiss(dismiss, "of the conflicts", run=_dismiss_conflicts)

    parked = add_command(commands, "parked", help="list the rows that cannot be written here yet")
    add_json(parked)
    _add_list(parked, _parked, "also those that were dismissed")
    actions = _actions(parked)
    listing = _action(actions, "list", "list them")
    _add_list(listing, _parked, "also those that were dismissed", default=argparse.SUPPRESS)
    show = _action(actions, "show", "show one with all its values")
    _add_number(show, "of the row, as the list shows it", run=_show_parked)
    retry = _action(actions, "retry", "try now to write rows, also such as were dismissed")
    retry.add_argument("number", metavar="N", nargs="*", help="of the rows (default: all)")
    retry.set_defaults(run=_retry)
    dismiss = _action(actions, "dismiss", "decide that rows may stay unwritten here")
    _add_dismiss(dismiss, "of the rows", run=_dismiss_parked)


# What the commands have in common

Run = Callable[[argparse.Namespace], int]


def _actions(command: Parser) -> Commands:
    return command.add_subparsers(title="actions", metavar="ACTION")


def _action(actions: Commands, name: str, help: str) -> Parser:
    action = actions.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    # What stands before the action counts, too, so there is no default here.
    none = argparse.SUPPRESS
    action.add_argument("--config", metavar="PATH", default=none, help="this site's settings")
    action.add_argument("--json", action="store_true", default=none, help="print JSON")
    return action


def _add_list(command: Parser, run: Run, all_help: str, *, default: object = False) -> None:
    command.add_argument("--all", action="store_true", default=default, help=all_help)
    command.set_defaults(run=run)


def _add_number(command: Parser, help: str, *, run: Run) -> None:
    command.add_argument("number", metavar="N", help=help)
    command.set_defaults(run=run)


def _add_dismiss(command: Parser, help: str, *, run: Run) -> None:
    command.add_argument("number", metavar="N", nargs="*", help=help)
    command.add_argument("--all", action="store_true", help="all of the list")
    command.add_argument("--yes", action="store_true", help="do not ask, with --all")
    command.set_defaults(run=run, usage=command.error)


def _asked(arguments: argparse.Namespace, what: str) -> tuple[bool, list[str] | None]:
    """Whether to go on, and the numbers; None for all."""
    if arguments.all == bool(arguments.number):
        arguments.usage("name them by their numbers, or all by --all")
    if not arguments.all:
        return True, list(arguments.number)
    if arguments.yes:
        return True, None
    if not sys.stdin.isatty():
        notice("there is no terminal to ask; go on with --yes")
        return False, None
    print(f"Dismiss all {what}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes"), None


# Conflicts


def _conflicts(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    found: list[ConflictReport] = operations.conflicts(settings, decided=arguments.all)
    if arguments.json:
        json_result(found)
        return EXIT_DONE
    if not found:
        notice("no conflicts" if arguments.all else "no open conflicts; --all shows decided ones")
        return EXIT_DONE
    headers = ["number", "table", "row", "column", "kept", "by", "written", "lost", "by", "written"]
    last = "decided" if arguments.all else "done"
    table((*headers, last), [_conflict_line(one, decided=arguments.all) for one in found])
    return EXIT_DONE


def _conflict_line(conflict: "ConflictReport", *, decided: bool) -> tuple[object, ...]:
    return (
        conflict.id[:DIGITS_SHOWN],
        conflict.table,
        conflict.row_name or conflict.row,
        conflict.column,
        _shown(conflict.kept),
        conflict.kept_by,
        conflict.kept_written,
        _shown(conflict.lost),
        conflict.lost_by,
        conflict.lost_written,
        conflict.decision if decided else conflict.done,
    )


def _show_conflict(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    one: ConflictReport = operations.show_conflict(settings, arguments.number)
    if arguments.json:
        json_result(one)
        return EXIT_DONE
    result(f"number   {one.id}")
    result(f"table    {one.table}")
    named = f" ({one.row})" if one.row_name not in ("", one.row) else ""
    result(f"row      {one.row_name or one.row}{named}")
    result(f"column   {one.column or 'the whole row'}")
    result(f"kept     {_shown(one.kept)}")
    result(f"         written by {_author(one.kept_by, one.kept_user)}, {one.kept_written}")
    result(f"lost     {_shown(one.lost)}")
    result(f"         written by {_author(one.lost_by, one.lost_user)}, {one.lost_written}")
    result(f"done     {one.done}")
    result(f"decided  {one.decision or 'not yet'}")
    return EXIT_DONE


def _take(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    report: TakeReport = operations.take(settings, arguments.number, force=arguments.force)
    if arguments.json:
        json_result(report)
    if report.note:
        notice(report.note)
    if not report.taken:
        notice(f"not taken: {report.reason}")
        return EXIT_NOT_DONE
    notice(
        f"taken: the value that had lost conflict {report.id[:DIGITS_SHOWN]} stands here now, and "
        "goes to the other sites with the next exchange"
    )
    return EXIT_DONE


def _dismiss_conflicts(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    go_on, numbers = _asked(arguments, "open conflicts")
    if not go_on:
        return EXIT_NOT_DONE
    from syncnode import operations

    ids: list[str] = operations.dismiss_conflicts(settings, numbers)
    return _dismissed(
        arguments,
        ids,
        f"{counted(len(ids), 'conflict')} dismissed here: what stands stays, and the values that "
        "lost stay on record (`syncnode conflicts --all`); other sites are not told",
    )


# Parked rows


def _parked(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    found: list[ParkedReport] = operations.parked(settings, dismissed=arguments.all)
    if arguments.json:
        json_result(found)
    elif found:
        print_parked(found)
    else:
        notice("nothing is parked" if arguments.all else "nothing is parked that needs somebody")
    return EXIT_DONE


def _show_parked(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    row: ParkedReport = operations.show_parked(settings, arguments.number)
    if arguments.json:
        json_result(row)
    else:
        print_parked([row])
    return EXIT_DONE


def _retry(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    report: RetryReport = operations.retry(settings, list(arguments.number))
    if arguments.json:
        json_result(report)
    else:
        print_parked(report.parked)
    notice(f"{report.written} of {counted(report.tried, 'row')} could be written now")
    return EXIT_DONE if report.written == report.tried else EXIT_NOT_DONE


def _dismiss_parked(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    go_on, numbers = _asked(arguments, "parked rows")
    if not go_on:
        return EXIT_NOT_DONE
    from syncnode import operations

    ids: list[str] = operations.dismiss_parked(settings, numbers)
    return _dismissed(
        arguments,
        ids,
        f"{counted(len(ids), 'row')} dismissed: replicated and kept as before, passed on, but not "
        'shown here, and not counted against "in sync" any more; `syncnode parked retry N` '
        "takes that back, and if the obstacle goes the row is written all the same",
    )


def print_parked(rows: "Iterable[ParkedReport]") -> None:
    """Each row with its values: what a person needs in order to decide."""
    for row in rows:
        number = f"{row.id[:DIGITS_SHOWN]}  " if row.id else ""
        name = row.row_name or row.row
        result(f"{number}{row.table} {name}: {row.reason}: {row.detail}")
        if row.dismissed:
            result("    dismissed")
        if row.rival:
            result(f"    the value is that of {row.rival}")
        if row.waits_for:
            result(f"    waits for {row.waits_for}")
        result(f"    written by {_author(row.written_by, row.written_user)}, {row.written}")
        if row.since:
            result(f"    parked since {row.since}")
        for column, value in row.values.items():
            result(f"    {column} = {_shown(value)}")


# Inside


def _dismissed(arguments: argparse.Namespace, ids: list[str], text: str) -> int:
    if arguments.json:
        json_result({"dismissed": ids})
    notice(text)
    return EXIT_DONE


def _author(site: str, user: str | None) -> str:
    return f"{site} (database user {user})" if user else site


def _shown(value: str | None) -> str:
    return "NULL" if value is None else value
