"""How far a long piece of work is, on standard error.

Nothing is shown in the first two seconds. After that a terminal has a bar that is drawn anew;
a file or a pipe gets a line every ten seconds.
"""

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from syncsim.report.text import duration

QUIET_S = 2.0
REDRAW_S = 0.2  # more often only costs a slow terminal time
LINE_S = 10.0
BAR_CHARS = 30


class Progress:
    """Call it with what is done, the whole, and words; leave its `with` block to clear the bar."""

    def __init__(
        self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._draws = self._stream.isatty()
        self._began_s = clock()
        self._next_s = self._began_s + QUIET_S
        self._drawn = False

    def __call__(self, done: float, whole: float, words: str) -> None:
        now_s = self._clock()
        if now_s < self._next_s:
            return
        part = min(1.0, done / whole) if whole else 1.0
        text = f"{100 * part:3.0f} %  {words}"
        if part:
            left_s = (now_s - self._began_s) * (1 - part) / part
            text += f", about {duration(round(left_s) * 1000)} left"
        if self._draws:
            filled = round(part * BAR_CHARS)
            bar = f"[{'#' * filled}{'-' * (BAR_CHARS - filled)}] {text}"
            self._stream.write(f"\r\x1b[K{bar[: shutil.get_terminal_size().columns - 1]}")
            self._next_s = now_s + REDRAW_S
            self._drawn = True
        else:
            self._stream.write(f"syncsim: {text}\n")
            self._next_s = now_s + LINE_S
        self._stream.flush()

    def of_run(self, now_ms: int, ends_ms: int) -> None:
        """What `syncsim.run` calls: virtual time now, and when it ends at the latest."""
        self(now_ms, ends_ms, f"{duration(now_ms)} of {duration(ends_ms)} simulated")

    def clear(self) -> None:
        """Wipe the bar, so that what is printed next stands alone."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._drawn = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.clear()
