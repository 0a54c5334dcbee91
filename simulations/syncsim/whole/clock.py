"""Virtual time and a fixed order for trio: what makes a run of whole nodes the same each time.

Trio wakes tasks that are due together in a random order. It can be told to draw that order from
a seed instead, by two names of its own that it does not promise to keep; `deterministic` looks
for them first. Nothing may run in a thread: the clock would not wait for it.
"""

import gc
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import trio
import trio._core._run
import trio._threads

from syncsim.scenario import generator

# (module, name): they are not part of trio's interface, so each is looked for.
_SWITCH = (trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING")
_ORDER = (trio._core._run, "_r")
_THREADS = (trio._threads, "start_thread_soon")


class VirtualClock(trio.abc.Clock):
    """A clock that stands still while there is something to do, and then jumps.

    Trio asks how long it may sleep only when no task can run, so that is the moment to jump.
    Of its own `MockClock` this one differs by not looking at the real time before each jump.
    """

    def __init__(self) -> None:
        self._now_s = 0.0

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self._now_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if deadline == math.inf:
            return deadline  # at the end trio wakes itself through a socket
        self._now_s = max(self._now_s, deadline)
        return 0.0


def now_ms() -> int:
    """Virtual time since the beginning of the run."""
    return round(trio.current_time() * 1000)


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Within the block a run of trio takes the same course each time, whatever else differs.

    Garbage is freed by counting only: a collection at an odd moment would end generators that
    hang in cycles, and so put tasks between others. `collect` is for set moments in between, and
    looks only at what the run has made.

    Raises:
        AssertionError: This trio has other names than are needed, or a thread is started.
    """
    for module, name in (_SWITCH, _ORDER, _THREADS):
        assert hasattr(module, name), f"trio {trio.__version__} has no {module.__name__}.{name}"
    order = getattr(*_ORDER)
    before = order.getstate()
    order.setstate(generator(seed, "scheduler").getstate())
    collected = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        with _instead(_SWITCH, True), _instead(_THREADS, _no_thread):
            yield
    finally:
        gc.collect()
        gc.unfreeze()
        if collected:
            gc.enable()
        order.setstate(before)


def collect() -> None:
    """Free what hangs in cycles; to be called at set moments of virtual time."""
    gc.collect()


@contextmanager
def _instead(place: tuple[Any, str], value: object) -> Iterator[None]:
    module, name = place
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _no_thread(*_arguments: object, **_options: object) -> NoReturn:
    raise AssertionError("a simulated node started a thread: virtual time would not wait for it")
