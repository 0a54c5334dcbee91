"""What commands print: results to standard output, sentences about them to standard error.

Values come from databases, peers and tokens, so every character that a terminal would act upon
is escaped before it is shown.
"""

import sys
from collections.abc import Iterable, Sequence

EXIT_DONE = 0
EXIT_NOT_DONE = 1
EXIT_USAGE = 2  # argparse's own
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

CELL_CHARS_MAX = 60  # a longer value is cut on terminals; a file, a pipe and --json get it whole


def printable(text: str) -> str:
    r"""`text` with every control, bidirectional or invisible character as an escape like `\x1b`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def result(text: str = "") -> None:
    """Print to standard output; lines stay lines."""
    for line in text.split("\n"):
        print(printable(line))


def notice(text: str) -> None:
    """Print sentences to standard error; lines stay lines."""
    for line in text.splitlines():
        print(f"syncnode: {printable(line)}", file=sys.stderr, flush=True)


def json_result(report: object) -> None:
    """Print a report, or a list of them, as one JSON document in ASCII."""
    import json
    from dataclasses import asdict, is_dataclass

    def plain(value: object) -> object:
        if is_dataclass(value) and not isinstance(value, type):
            return asdict(value)
        return value

    document = [plain(item) for item in report] if isinstance(report, list) else plain(report)
    print(json.dumps(document, indent=2))


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns: None as "-", numbers to the right, on a terminal long values cut."""
    chars_max = CELL_CHARS_MAX if sys.stdout.isatty() else None
    lines = [[_cell(value, chars_max) for value in row] for row in rows]
    numeric = [all(_is_number(line[index]) for line in lines) for index in range(len(headers))]
    widths = [
        max(len(header), *(len(line[index]) for line in lines)) if lines else len(header)
        for index, header in enumerate(headers)
    ]
    for line in [list(headers), *lines]:
        cells = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numeric, strict=True)
        ]
        print("  ".join(cells).rstrip())


def counted(number: int, noun: str) -> str:
    """ "1 row", "2 rows"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cell(value: object, chars_max: int | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = printable(str(value))
    if chars_max is None or len(text) <= chars_max:
        return text
    return f"{text[: chars_max - 3]}..."


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.lstrip("-").isdigit()
