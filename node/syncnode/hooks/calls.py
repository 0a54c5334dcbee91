"""Calls a hook once: a program that gets JSON on its standard input, or a POST of it."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import httpx
import trio

from syncnode.settings.hook_settings import Hook

ERROR_CHARS_MAX = 200
TAIL_BYTES = 2_048  # of what a program says of its failure
END_S = 2.0  # after SIGTERM, before SIGKILL
TAIL_S = 0.2  # for the last words of a program that has ended


async def call(hook: Hook, body: bytes, folder: Path) -> str | None:
    """Tell the hook; None if it has taken it, else why not, in a sentence.

    Whoever does not end in time is ended. `folder`: where programs run.
    """
    with trio.move_on_after(hook.timeout_ms / 1000):
        error = await (_run(hook, body, folder) if hook.command else _post(hook, body))
        return error[:ERROR_CHARS_MAX] if error is not None else None
    return f"it did not end within {hook.timeout_ms / 1000:g} s"


async def _post(hook: Hook, body: bytes) -> str | None:
    headers = {"Content-Type": "application/json"}
    try:
        async with (
            httpx.AsyncClient(trust_env=False, timeout=None) as client,
            client.stream("POST", hook.url, content=body, headers=headers) as response,
        ):
            status = response.status_code
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return f"{hook.shown} cannot be reached ({type(error).__name__}: {error})"
    return None if 200 <= status < 300 else f"{hook.shown} answered with status {status}"


async def _run(hook: Hook, body: bytes, folder: Path) -> str | None:
    try:
        process = await trio.lowlevel.open_process(
            list(hook.command),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=folder,
            start_new_session=True,  # so that what it starts ends with it
        )
    except OSError as error:
        return f"{hook.shown} cannot be run ({error.strerror})"
    tail, read = bytearray(), trio.Event()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_feed, process, body)
            nursery.start_soon(_listen, process, tail, read)
            status = await process.wait()
            with trio.move_on_after(TAIL_S):  # what it started may hold its standard error
                await read.wait()
            nursery.cancel_scope.cancel()
    finally:
        await _end(process)
    if status == 0:
        return None
    said = bytes(tail).decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"{hook.shown} ended with status {status}{': ' if said else ''}{said}"


async def _feed(process: trio.Process, body: bytes) -> None:
    assert process.stdin is not None, "a pipe"
    # Who has read enough may close it; its exit status says whether all is well.
    with contextlib.suppress(trio.BrokenResourceError):
        async with process.stdin as stdin:
            await stdin.send_all(body)


async def _listen(process: trio.Process, tail: bytearray, read: trio.Event) -> None:
    assert process.stderr is not None, "a pipe"
    async with process.stderr as stderr:
        async for piece in stderr:
            tail += piece
            del tail[:-TAIL_BYTES]
    read.set()


async def _end(process: trio.Process) -> None:
    """Leave nothing of it behind."""
    if process.returncode is not None:
        return
    with trio.CancelScope(shield=True):
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with trio.move_on_after(END_S):
                await process.wait()
                return
