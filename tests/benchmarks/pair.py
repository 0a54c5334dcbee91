"""Two sites in one network: real processes, real HTTPS over loopback, through a counted link."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.engines import Engine, Store
from benchmarks.processes import Spent, cpu_s, memory_mib, run
from benchmarks.relay import Relay

PROGRAM = (sys.executable, "-m", "syncnode")
START_S_MAX = 60.0
STOP_S_MAX = 10.0
QUIET_S = 0.5  # a process that used no CPU for so long has finished what it was doing
QUIET_S_MAX = 30.0


class Site:
    """One site: its database, its settings, perhaps its `serve`.

    Attributes:
        store: The application's side.
    """

    def __init__(self, store: Store, config: Path, port: int | None) -> None:
        self.store = store
        self.config = config
        self.port = port
        self._serve: subprocess.Popen[bytes] | None = None

    def command(self, *words: str, may_fail: bool = False) -> Spent:
        """A `syncnode` command of this site, in a process of its own, to its end."""
        return run([*PROGRAM, *words, "--config", str(self.config)], may_fail=may_fail)

    @property
    def running(self) -> bool:
        return self._serve is not None

    @property
    def pid(self) -> int:
        assert self._serve is not None, "it serves"
        return self._serve.pid

    def start(self, *, idle: bool = True) -> None:
        """Start `serve`, and wait until it is idle."""
        with self._log.open("ab") as log:
            self._serve = subprocess.Popen(
                [*PROGRAM, "serve", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline_s = time.monotonic() + START_S_MAX
        while b" is running" not in self._log.read_bytes():
            if self._serve.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"serve did not start: {self._log.read_text()}")
            time.sleep(0.05)
        if idle:
            self.wait_until_idle()

    def wait_until_idle(self) -> None:
        deadline_s = time.monotonic() + QUIET_S_MAX
        spent_s = -1.0
        # Idle, it looks at its database now and then: a hundredth of a second may pass.
        while (now_s := cpu_s(self.pid)) - spent_s > 0.011 and time.monotonic() < deadline_s:
            spent_s = now_s
            time.sleep(QUIET_S)

    def freeze(self) -> None:
        """Off line: the process stands still, with all that it holds."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def peak_mib(self) -> float:
        return memory_mib(self.pid, "VmHWM")

    def stop(self) -> None:
        if self._serve is None or self._serve.poll() is not None:
            return
        self.thaw()
        self._serve.terminate()
        try:
            self._serve.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._serve.kill()
            self._serve.wait()
        self._serve = None

    @property
    def _log(self) -> Path:
        return self.config.with_name("serve.log")


class Pair:
    """Site A, which serves, and site B, which joined it through the link.

    Attributes:
        engine: Of both databases.
        link: Everything between the two crosses it.
    """

    def __init__(self, engine: Engine, a: Site, b: Site, link: Relay) -> None:
        self.engine = engine
        self.a = a
        self.b = b
        self.link = link

    def serving_s(self) -> float:
        """CPU time so far of A's `serve` and of the database server."""
        return cpu_s(self.a.pid) + self.engine.server_s()

    def sync(self) -> Spent:
        """`syncnode sync` on B: returns when both are equal, durably."""
        return self.b.command("sync")


@contextmanager
def pair(
    engine: Engine, folder: Path, *, suffix: str = "", between: Callable[[int], Relay] = Relay
) -> Iterator[Pair]:
    """Two sites with empty tables that have met once; A serves and is idle."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with between(port) as link:
        a = _site(engine, folder, f"a{suffix}", port)
        b = _site(engine, folder, f"b{suffix}", None)
        try:
            a.start()
            url = f"https://127.0.0.1:{link.port}"
            token = a.command("invite", "b", "--url", url).out.strip()
            b.command("join", token, "--yes")
            b.command("sync")
            a.wait_until_idle()
            yield Pair(engine, a, b, link)
        finally:
            for site in (b, a):
                site.stop()
                site.store.close()


def _site(engine: Engine, folder: Path, name: str, port: int | None) -> Site:
    return beside(engine.create(name), folder, name, port)


def beside(
    store: Store, folder: Path, name: str, port: int | None, *, named: str | None = None
) -> Site:
    """A new site beside this database; it listens if it has a port."""
    site = Site(store, folder / name / "syncnode.toml", port)
    listen = [] if port is None else ["--listen", f"127.0.0.1:{port}"]
    site.command("init", "--database", store.url, "--name", named or name[0], *listen)
    return site


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
