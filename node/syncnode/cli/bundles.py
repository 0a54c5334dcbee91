"""`export` and `import`: changes in files, for sites that no link joins."""

import argparse
import re
from pathlib import Path
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
from syncproto.errors import UsageError

if TYPE_CHECKING:
    from syncnode.reports import ExportReport, ImportReport

_SIZE = re.compile(r"([0-9]{1,12})\s*(B|KB|MB|GB)?", re.IGNORECASE)
_UNITS = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3}


def add_commands(commands: Commands) -> None:
    export = add_command(commands, "export", help="write changes to a file that somebody carries")
    export.add_argument("file", metavar="FILE", type=Path)
    export.add_argument(
        "--for",
        dest="readers",
        metavar="NAME",
        action="append",
        required=True,
        help="a peer that can open it, may be repeated; `anyone`: every member known here",
    )
    export.add_argument(
        "--since",
        metavar="WHAT",
        help="leave out what the `last` export for the same readers held, or what a peer (its "
        "name) last said it holds (default: what the readers last said; for anyone: nothing)",
    )
    export.add_argument(
        "--split",
        metavar="SIZE",
        type=_size,
        help="write FILE.1, FILE.2 and so on, none larger than this (700MB, 64KB)",
    )
    add_json(export)
    export.set_defaults(run=_export)

    imported = add_command(
        commands, "import", help="take in what `export` has written at another site"
    )
    imported.add_argument("files", metavar="FILE", type=Path, nargs="*")
    imported.add_argument(
        "--discard", metavar="ID", help="give up a bundle that waits, instead; `status` names them"
    )
    add_json(imported)
    imported.set_defaults(run=_import)


def _export(arguments: argparse.Namespace) -> int:
    settings = settings_of(arguments)
    from syncnode import operations

    with Progress() as progress:
        report: ExportReport = operations.export(
            settings,
            arguments.file,
            readers=arguments.readers,
            since_what=arguments.since,
            split=arguments.split,
            progress=progress,
        )
    if arguments.json:
        json_result(report)
    else:
        for file in report.files:
            result(file)
    rows = counted(report.rows, "row") if report.rows else "no new rows, a receipt only"
    notice(f"{rows}, {report.bytes:,} bytes, to be opened by {', '.join(report.readers)}")
    if report.needs:
        notice(f"it builds on {report.needs}: who lacks that keeps it until that has come")
    if report.left_out:
        notice(f"left out, by the rules of the links: {', '.join(report.left_out)}")
    return EXIT_DONE


def _import(arguments: argparse.Namespace) -> int:
    if bool(arguments.files) == (arguments.discard is not None):
        raise UsageError("name the files to import, or a bundle to --discard")
    settings = settings_of(arguments)
    from syncnode import operations

    report: ImportReport
    if arguments.discard is not None:
        report = operations.discard(settings, arguments.discard)
        return _told(report, json=arguments.json)
    with Progress() as progress:
        report = operations.import_files(settings, arguments.files, progress=progress)
    return _told(report, json=arguments.json)


def _told(report: "ImportReport", *, json: bool) -> int:
    if json:
        json_result(report)
    elif report.files:
        table(
            ("file", "from", "made", "part", "of", "rows", "problem"),
            [
                (one.file, one.exporter, one.made, one.part, one.parts, one.rows, one.problem)
                for one in report.files
            ],
        )
    for note in report.notes:
        notice(note)
    for text in report.waiting:
        notice(text)
    if report.done:
        notice("done, all of it is in the tables" if report.files else "done")
        return EXIT_DONE
    if report.reason not in report.waiting:
        notice(f"not done: {report.reason}")
    return EXIT_NOT_DONE


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write, say, 700MB")
    return int(found[1]) * _UNITS[(found[2] or "B").lower()]
