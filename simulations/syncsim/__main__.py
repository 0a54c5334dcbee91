"""The command `syncsim`: reads the command line, runs one command, says how it ended.

Exit status: 0 done, 1 not done, 2 wrong usage, 130 interrupted. Whatever goes wrong is a sentence
on standard error; a traceback is shown only with SYNCSIM_DEBUG=1.
"""

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from syncnode.cli.arguments import Parser
from syncnode.cli.terminal import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NOT_DONE, EXIT_USAGE
from syncproto.errors import ConfigError, SyncError
from syncsim import cli
from syncsim.cli import notice

DEBUG_VARIABLE = "SYNCSIM_DEBUG"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (by default the process's own arguments) names.

    Raises:
        SystemExit: As argparse does, after --help and wrong usage.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a letter gets its code
            stream.reconfigure(errors="backslashreplace")
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.version:
        from syncsim.versions import code_digest, version

        print(f"syncsim {version()} (sources {code_digest()})")
        return EXIT_DONE
    if not hasattr(arguments, "run"):
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    try:
        with _ended_like_ctrl_c():
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


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """SIGTERM, which `timeout` and batch systems send, ends a command as Ctrl-C does."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> Parser:
    parser = Parser(
        prog="syncsim",
        description="Plays a network of sites in virtual time: its links, its people, its "
        "misfortunes.",
        epilog="Exit status: 0 done (converged, every checker held), 1 not done, 2 wrong usage.",
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    cli.add_commands(parser.add_subparsers(title="commands", metavar="COMMAND"))
    return parser


def _report(error: BaseException) -> int:
    """Say in a sentence what ended the command; the exit status."""
    if isinstance(error, KeyboardInterrupt):
        notice("interrupted; no run is written by half, and a sweep goes on where it stopped")
        return EXIT_INTERRUPTED
    if isinstance(error, SyncError):
        notice(str(error))
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_NOT_DONE
    if isinstance(error, OSError) and error.strerror:
        notice(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
    elif isinstance(error, MemoryError):
        notice("out of memory; simulate fewer sites, a shorter time or a smaller `scale`")
    else:
        notice(
            f"stopped by a fault of its own ({type(error).__name__}: {error}); "
            f"run it again with {DEBUG_VARIABLE}=1 to see where, and report that"
        )
    return EXIT_NOT_DONE


if __name__ == "__main__":
    sys.exit(main())
