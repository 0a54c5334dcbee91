"""Tells hooks what was applied: beside the exchange, never in its way, and until they have it.

A call that fails is made again, later and later; what was told is forgotten only then, so a crash
between the two tells it twice.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import trio

from syncnode.hooks.calls import call
from syncnode.hooks.queue import (
    Batch,
    HookState,
    done_with,
    forget_others,
    next_batch,
    put_state,
    queued,
    read_states,
)
from syncnode.machine import Machine
from syncnode.settings.hook_settings import Hook
from syncnode.store.database import Database
from syncnode.store.table import Table
from syncproto.backoff import retry_after_ms
from syncproto.errors import StoreError

T = TypeVar("T")
Call = Callable[[Hook, bytes, Path], Awaitable[str | None]]

DRAIN_S = 60.0  # what a `sync` by hand spends on hooks at its end
LOCKED_PAUSE_S = 1.0

logger = logging.getLogger(__name__)


class InDatabase(Protocol):
    """Runs work that blocks."""

    async def __call__(self, work: Callable[[], T], /) -> T: ...


class HookRunner:
    """Calls the hooks of one site.

    Args:
        tables: The replicated tables, by number.
        site: The site's name.
        folder: Where programs run.
        called: Makes one call.
    """

    def __init__(
        self,
        hooks: Sequence[Hook],
        database: Database,
        tables: Mapping[int, Table],
        *,
        site: str,
        folder: Path,
        in_database: InDatabase,
        machine: Machine,
        called: Call = call,
    ) -> None:
        self._hooks = hooks
        self._database = database
        self._tables = tables
        self._site = site
        self._folder = folder
        self._in_database = in_database
        self._machine = machine
        self._call = called
        self._wake = {hook.name: trio.Event() for hook in hooks}

    def poke(self) -> None:
        """Something may have been applied."""
        for event in self._wake.values():
            event.set()

    async def run(self) -> None:
        """Tell all hooks what is queued, now and whenever there is more; never returns."""
        await self._patiently(self._forget_others)
        async with trio.open_nursery() as nursery:
            for hook in self._hooks:
                nursery.start_soon(self._run, hook)

    async def _run(self, hook: Hook) -> None:
        failures = 0
        while True:
            wake = self._wake[hook.name] = trio.Event()
            told = await self._tell(hook)
            if told is None:
                await wake.wait()
                continue
            failures = 0 if told else failures + 1
            if failures:
                pause_ms = retry_after_ms(failures, self._machine.chance())
                await trio.sleep(pause_ms / 1000)

    async def drain(self) -> dict[str, str]:
        """Tell all that is queued, once; returns what failed, by hook."""
        failed: dict[str, str] = {}
        with trio.move_on_after(DRAIN_S):
            for hook in self._hooks:
                while told := await self._tell(hook):
                    pass
                if told is False:
                    failed[hook.name] = "the call failed; it is made again by `syncnode serve`"
        return failed

    async def _tell(self, hook: Hook) -> bool | None:
        """One call; whether it went well, or None if there was nothing to tell."""
        batch = await self._patiently(lambda: self._next(hook))
        if batch is None:
            return None
        body = batch.document(site=self._site, hook=hook.name)
        error = await self._call(hook, body, self._folder)
        if error is not None:
            logger.warning("hook %s: %s", hook.name, error)

        def write() -> None:
            now_ms = self._machine.wall_ms()
            with self._database.write() as tx:
                if error is None:
                    done_with(tx, hook, batch)
                    put_state(tx, hook.name, None)
                else:
                    before = read_states(tx).get(hook.name, HookState(0, now_ms))
                    state = HookState(before.failures + 1, before.failed_ms, error)
                    put_state(tx, hook.name, state)

        await self._patiently(write)
        return error is None

    def _next(self, hook: Hook) -> Batch | None:
        with self._database.read() as tx:
            return next_batch(tx, hook, self._tables)

    def _forget_others(self) -> None:
        with self._database.read() as tx:
            if queued(tx) <= set(self._wake):
                return
        with self._database.write() as tx:
            forget_others(tx, self._hooks)

    async def _patiently(self, work: Callable[[], T]) -> T:
        """Try again while the database is busy."""
        while True:
            try:
                return await self._in_database(work)
            except StoreError as error:
                if not error.transient:
                    raise
            await trio.sleep(LOCKED_PAUSE_S)
