"""Progress of one long piece of work, as one line on standard error.

Nothing is shown in the first two seconds. After that a terminal's line is rewritten; a file or a
pipe gets a line every five seconds.
"""

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from syncnode.cli.terminal import printable

QUIET_S = 2.0
REWRITE_S = 0.1  # more often only costs a slow terminal time
LINE_S = 5.0


class Progress:
    """Call it with what is being done; leave its `with` block to clear the line.

    It shows what it is told when it is told, and has no thread of its own.
    """

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._rewrites = self._stream.isatty()
        self._next_s = clock() + QUIET_S
        self._shown = False

    def __call__(self, text: str) -> None:
        now_s = self._clock()
        if now_s < self._next_s:
            return
        if self._rewrites:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\x1b[K{printable(text)[:width]}")
            self._next_s = now_s + REWRITE_S
            self._shown = True
        else:
            self._stream.write(f"syncnode: {printable(text)}\n")
            self._next_s = now_s + LINE_S
        self._stream.flush()

    def clear(self) -> None:
        """Wipe the line, so that what is printed next stands alone."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()
