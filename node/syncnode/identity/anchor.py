"""The identity anchor: what a site knows of itself outside its database.

A database can be restored, cloned or rolled back, and then believes that it has yet to make
changesets which peers have long seen. The anchor lies beside the configuration and holds what
was ever offered to anyone: the incarnation, the last sealed seq and the highest lsn told, with
the clock. It is synced to the disk before anything is offered (rule A11), so a database behind
its anchor was restored, and goes on under a new incarnation. So does a database whose anchor
is missing, or was made on another machine or in another place.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from syncproto.errors import ConfigError

MACHINE_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")
UNINSTALLED, SHARED = "uninstalled", "shared"


@dataclass(frozen=True, slots=True)
class Anchored:
    """What the anchor holds.

    Attributes:
        site: The site id in hexadecimal.
        seq: The last changeset of this incarnation that was, or was about to be, offered.
        lsn: The highest lsn told to a peer as a place in our delta.
        hlc: The clock then.
        machine, place: Where this anchor was made.
        retired: The site was uninstalled (`UNINSTALLED`), or it was while another machine used
            its identity as well (`SHARED`); "" while it is a site.
        network: The network that a retired site belonged to, in hexadecimal.
    """

    site: str
    incarnation: int
    seq: int
    lsn: int
    hlc: int
    machine: str
    place: str
    retired: str = ""
    network: str = ""


class Anchor:
    """The file at `path`; several processes of one node may raise it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: Anchored | None = None

    def read(self) -> Anchored | None:
        """What the file holds; None if there is no such file.

        Raises:
            ConfigError: The file is damaged.
        """
        try:
            fields = json.loads(self.path.read_text())
            self._known = Anchored(**fields)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"{self.path}: the identity anchor is damaged; delete it and start again: the "
                "site goes on under a new incarnation, and nothing is lost"
            ) from error
        return self._known

    @property
    def known_lsn(self) -> int:
        """The lsn last read or written here; the database holds at least that, unless it was
        restored since."""
        return self._known.lsn if self._known is not None else 0

    def begin(self, *, site: str, incarnation: int, seq: int, lsn: int, hlc: int) -> None:
        """Write the anchor anew, for this machine and place."""
        with self._locked():
            self._write(
                Anchored(site, incarnation, seq, lsn, hlc, machine_id(), str(self.path.resolve()))
            )

    def raise_to(
        self, *, incarnation: int, seq: int, lsn: int, hlc: int, committed_lsn: int = 0
    ) -> None:
        """Make sure that the file holds at least this, durably; it never goes back.

        `committed_lsn`: what the database holds durably. It is written along when something is
        written at all, so that what is offered next mostly needs no writing of its own.
        """
        if self._holds(incarnation, seq, lsn):
            return
        with self._locked():
            held = self.read()
            if held is None or self._holds(incarnation, seq, lsn):
                if held is None:
                    raise ConfigError(f"{self.path}: the identity anchor has vanished")
                return
            newer = incarnation > held.incarnation
            self._write(
                replace(
                    held,
                    incarnation=max(incarnation, held.incarnation),
                    seq=seq if newer else max(seq, held.seq),
                    lsn=max(lsn, committed_lsn, held.lsn),
                    hlc=max(hlc, held.hlc),
                )
            )

    def retire(self, why: str, *, network: str = "") -> None:
        """Note that the site is being uninstalled: what it was ever offered as ends here."""
        with self._locked():
            held = self.read()
            if held is not None:
                self._write(replace(held, retired=why, network=network))

    def put_back(self, held: Anchored | None) -> None:
        """Undo what was written here since `held` was read; None: there was no file."""
        with self._locked():
            if held is None:
                self.path.unlink(missing_ok=True)
                self._known = None
            elif held != self.read():
                self._write(held)

    def remove_lock(self) -> None:
        """Take away the file that processes of a node meet in; none of them runs any more."""
        self._lock_path.unlink(missing_ok=True)

    def is_ours(self, held: Anchored) -> bool:
        """Made on this machine, in this place."""
        return held.machine == machine_id() and held.place == str(self.path.resolve())

    def _holds(self, incarnation: int, seq: int, lsn: int) -> bool:
        held = self._known
        if held is None or held.lsn < lsn:
            return False
        return (held.incarnation, held.seq) >= (incarnation, seq)

    def _write(self, anchored: Anchored) -> None:
        draft = self.path.with_name(self.path.name + ".new")
        with draft.open("w") as file:
            json.dump(asdict(anchored), file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._known = anchored

    @property
    def _lock_path(self) -> Path:
        return self.path.with_name(self.path.name + ".lock")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = os.open(self._lock_path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def machine_id() -> str:
    """What tells this machine from others; the host's name where the system has no id."""
    for name in MACHINE_FILES:
        with contextlib.suppress(OSError):
            text = Path(name).read_text().strip()
            if text:
                return text
    return os.uname().nodename
