"""The command `syncnode`: reads the command line, runs one command, says how it ended.

Exit status: 0 done, 1 not done, 2 wrong usage, 130 interrupted. Whatever goes wrong is one
sentence on standard error; a traceback is shown only with SYNCNODE_DEBUG=1.
"""

import gc
import os
import sys
from collections.abc import Iterator, Sequence

from syncnode.cli import (
    bundles,
    clashes,
    deciding,
    membership,
    reports,
    running,
    site,
    tables,
    topology,
    verifying,
)
from syncnode.cli.arguments import Parser
from syncnode.cli.terminal import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NOT_DONE, EXIT_USAGE, notice
from syncproto.errors import SyncError, UsageError

DEBUG_VARIABLE = "SYNCNODE_DEBUG"
FAMILIES = (
    site, membership, running, tables, reports, deciding, clashes, verifying, bundles, topology
)  # fmt: skip
# Rows are values without cycles, made by the ten thousand. With Python's own thresholds a fifth of
# the CPU time of a first load goes into looking for cycles among them.
GC_THRESHOLDS = (50_000, 20, 20)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (by default the process's own arguments) names.

    Raises:
        SystemExit: As argparse does, after --help and wrong usage.
    """
    gc.set_threshold(*GC_THRESHOLDS)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a letter gets its code
            stream.reconfigure(errors="backslashreplace")
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.version:
        print(f"syncnode {_version()}")
        return EXIT_DONE
    if not hasattr(arguments, "run"):
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` perhaps, has what it wanted. Leave the interpreter nothing to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_NOT_DONE
    except BaseException as error:
        if os.environ.get(DEBUG_VARIABLE) == "1" or isinstance(error, SystemExit):
            raise
        return _report(error)
    return status


def _parser() -> Parser:
    parser = Parser(
        prog="syncnode",
        description="Keeps copies of a relational database in step across sites that are often "
        "offline.",
        epilog="Exit status: 0 done, 1 not done, 2 wrong usage.",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for family in FAMILIES:
        family.add_commands(commands)
    return parser


def _version() -> str:
    from importlib.metadata import version  # reads the installed package: only when asked

    return version("syncnode")


def _report(error: BaseException) -> int:
    """Say in a sentence what ended the command; the exit status."""
    causes = list(_causes(error))
    if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        notice("interrupted; what was done so far is kept, run it again to go on")
        return EXIT_INTERRUPTED
    for text in dict.fromkeys(_sentence(cause) for cause in causes):
        notice(text)
    wrong = any(isinstance(cause, UsageError) for cause in causes)
    return EXIT_USAGE if wrong else EXIT_NOT_DONE


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What trio's nurseries wrap in groups, one by one."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _causes(part)
    else:
        yield error


def _sentence(error: BaseException) -> str:
    if isinstance(error, SyncError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, MemoryError):
        return "out of memory; nothing half done was kept"
    return (
        f"stopped by a fault of its own ({type(error).__name__}: {error}); "
        f"run it again with {DEBUG_VARIABLE}=1 to see where, and report that"
    )


if __name__ == "__main__":
    sys.exit(main())
