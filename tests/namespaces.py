"""Network namespaces for tests: machines on a LAN of their own, on this machine, as root.

    with Lan() as lan:
        clinic, hospital = lan.machine("clinic"), lan.machine("hospital")
        clinic.slow_down("64kbit")
        clinic.lose(0.05)
        process = subprocess.Popen(clinic.inside("ping", hospital.address), ...)

A machine is a namespace with one end of a veth pair, `eth0`; the other ends are ports of a bridge
in a namespace of the LAN's own, so nothing of it is seen by the machine of the test. Multicast
passes. Rate is shaped by `tbf`, loss is made by nftables at random, by the packet.

Names hold the process id of the test and a number, so runs beside each other do not meet, and what
a test that was killed has left is removed by the next one: `remove_left`. Whatever still runs in a
namespace is ended with it.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

PREFIX = "syncnode-"
END_S_MAX = 5.0
_PROGRAMS = ("ip", "tc", "nft")
_numbers = count(1)


@cache
def lacking() -> str | None:
    """Why there can be no namespaces here, in a few words; None if there can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "network namespaces need root"
    missing = [name for name in _PROGRAMS if _program(name) is None]
    if missing:
        return f"network namespaces need {', '.join(missing)}"
    name = f"{PREFIX}{os.getpid()}-0"
    made = _tried("ip", "netns", "add", name)
    # Some containers make namespaces and have no right to make interfaces in them.
    linked = made or _tried("ip", "-n", name, "link", "add", "eth0", "type", "veth")
    bridged = linked or _tried("ip", "-n", name, "link", "add", "bridge", "type", "bridge")
    _tried("ip", "netns", "delete", name)
    return f"network namespaces cannot be made here ({bridged})" if bridged else None


@dataclass
class Machine:
    """One namespace on a LAN.

    Attributes:
        name: Of the namespace.
        address: The IPv4 address of its `eth0`; None while it has none.
    """

    name: str
    lan: "Lan" = field(repr=False)
    address: str | None = None

    def inside(self, *command: str) -> list[str]:
        """The command, to be run on this machine."""
        return [_named("ip"), "netns", "exec", self.name, *command]

    def run(self, *command: str) -> str:
        """The standard output of a command that must be done on this machine."""
        return _run(*self.inside(*command))

    def move(self, address: str) -> None:
        """Take another address on the same LAN, as a machine does that was given a new lease."""
        if self.address is not None:
            _run("ip", "-n", self.name, "address", "delete", f"{self.address}/24", "dev", "eth0")
        _run("ip", "-n", self.name, "address", "add", f"{address}/24", "dev", "eth0")
        # An interface that loses its last address loses its routes with it.
        _run("ip", "-n", self.name, "route", "replace", "default", "dev", "eth0")
        self.address = address

    def join_to(self, other: "Machine", address: str, its_address: str) -> None:
        """A cable from this machine to another, beside the LAN."""
        link = ("link", "add", "eth1", "type", "veth", "peer", "name", "eth1")
        _run("ip", "-n", self.name, *link, "netns", other.name)
        for machine, own in ((self, address), (other, its_address)):
            _run("ip", "-n", machine.name, "link", "set", "eth1", "up")
            _run("ip", "-n", machine.name, "address", "add", f"{own}/24", "dev", "eth1")

    def plug(self, *, connected: bool) -> None:
        """Pull the cable out, or plug it in."""
        state = "up" if connected else "down"
        _run("ip", "-n", self.lan.name, "link", "set", self._port, state)

    def slow_down(self, rate: str, *, burst_bytes: int = 5_000, wait: str = "2s") -> None:
        """Both ways at most so much, as `tc` writes rates: "64kbit", "1mbit"."""
        for namespace, device in ((self.name, "eth0"), (self.lan.name, self._port)):
            _run(
                *("tc", "-n", namespace, "qdisc", "replace", "dev", device, "root", "tbf"),
                *("rate", rate, "burst", str(burst_bytes), "latency", wait),
            )

    def lose(self, share: float) -> None:
        """Drop this share of the packets that arrive here, and of those that leave."""
        drop = f"!= lo numgen random mod 10000 < {round(share * 10_000)} drop"
        chains = "".join(
            f"chain {hook} {{ type filter hook {hook} priority 0; {device} {drop}; }}\n"
            for hook, device in (("input", "iifname"), ("output", "oifname"))
        )
        # Made before it is deleted, so that it need not be there.
        anew = "table inet loss {}\ndelete table inet loss\n"
        _run(*self.inside("nft", "-f", "-"), said=f"{anew}table inet loss {{\n{chains}}}\n")

    def count_calls(self, port: int) -> None:
        """From now on count the TCP packets that arrive for a port."""
        rule = f"chain input {{ type filter hook input priority -1; tcp dport {port} counter\n}}"
        _run(*self.inside("nft", "-f", "-"), said=f"table inet calls {{\n{rule}\n}}\n")

    def calls(self) -> int:
        """How many did, since `count_calls`."""
        listed = self.run("nft", "list", "table", "inet", "calls")
        return int(listed.partition("counter packets ")[2].split()[0])

    def bytes_carried(self) -> tuple[int, int]:
        """Bytes that have arrived here, and that have left, all headers included."""
        folder = "/sys/class/net/eth0/statistics"
        received, sent = self.run("cat", f"{folder}/rx_bytes", f"{folder}/tx_bytes").split()
        return int(received), int(sent)

    @property
    def _port(self) -> str:
        return "p" + self.name.rpartition("-")[2]


@dataclass
class Lan:
    """A bridge, and machines on it.

    Args:
        network: The first three numbers of all addresses.
    """

    network: str = "10.77.7"
    machines: list[Machine] = field(default_factory=list)
    name: str = field(default_factory=lambda: _new_name())

    def __enter__(self) -> Self:
        remove_left()
        _run("ip", "netns", "add", self.name)
        try:
            _run("ip", "-n", self.name, "link", "add", "bridge", "type", "bridge")
            # Every port gets all multicast, as on a switch without IGMP snooping.
            _run(
                *("ip", "-n", self.name, "link", "set", "bridge", "type", "bridge"),
                *("mcast_snooping", "0"),
            )
            _run("ip", "-n", self.name, "link", "set", "bridge", "up")
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def machine(self, *, address: str | None = None) -> Machine:
        """One more machine; its address is the next one unless another is named."""
        made = Machine(_new_name(), self)
        self.machines.append(made)
        name, port = made.name, made._port
        _run("ip", "netns", "add", name)
        _run(
            *("ip", "-n", self.name, "link", "add", port, "type", "veth"),
            *("peer", "name", "eth0", "netns", name),
        )
        _run("ip", "-n", self.name, "link", "set", port, "master", "bridge", "up")
        for device in ("lo", "eth0"):
            _run("ip", "-n", name, "link", "set", device, "up")
        made.move(address or f"{self.network}.{len(self.machines)}")
        return made

    def remove(self) -> None:
        for namespace in (*(machine.name for machine in self.machines), self.name):
            _remove(namespace)
        self.machines.clear()


def remove_left() -> None:
    """Remove what runs that are over, or were killed, have left."""
    for name in _namespaces():
        owner = name.removeprefix(PREFIX).partition("-")[0]
        if name.startswith(PREFIX) and owner.isdigit() and not Path(f"/proc/{owner}").exists():
            _remove(name)


def _namespaces() -> list[str]:
    return [line.split()[0] for line in _run("ip", "netns", "list").splitlines() if line]


def _remove(namespace: str) -> None:
    """End what runs in a namespace, and it."""
    with contextlib.suppress(subprocess.CalledProcessError):  # it was never made
        began_s = time.monotonic()
        while pids := _processes(namespace):
            patient = time.monotonic() < began_s + END_S_MAX
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM if patient else signal.SIGKILL)
            time.sleep(0.02)
        _run("ip", "netns", "delete", namespace)


def _processes(namespace: str) -> list[int]:
    return [int(pid) for pid in _run("ip", "netns", "pids", namespace).split()]


def _new_name() -> str:
    return f"{PREFIX}{os.getpid()}-{next(_numbers)}"


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _named(name: str) -> str:
    return _program(name) or name


def _tried(*command: str) -> str:
    """What a command has complained of; empty if it was done."""
    program, *rest = command
    done = subprocess.run([_named(program), *rest], capture_output=True, text=True, check=False)
    return done.stderr.strip() or f"status {done.returncode}" if done.returncode else ""


def _run(*command: str, said: str = "") -> str:
    program, *rest = command
    try:
        return subprocess.run(
            [_named(program), *rest], input=said, capture_output=True, text=True, check=True
        ).stdout
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr)
        raise
