"""Looks through a directory for files that are new, changed or gone since they were noted.

A file is read only when two looks have found it with the same size, time and inode, so one that
is still being written waits; and what one look reads is bounded, so the first one of a large
directory is done in parts.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from syncnode.files.folder import Folder, stat_of
from syncnode.files.names import OWN, name_fault
from syncnode.files.notes import Stat

FILES_MAX = 500  # read in one look
BYTES_MAX = 256 << 20


@dataclass(slots=True)
class Look:
    """What one look has found.

    Attributes:
        present: Every file that takes part.
        read: Name, stat and digest of those that were read.
        faults: Why files do not take part although they are meant to.
        whole: All of the directory could be seen: what is not present is gone.
        more: There is more to be read, as it stands.
    """

    present: dict[str, Stat] = field(default_factory=dict)
    read: list[tuple[str, Stat, bytes]] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    whole: bool = True
    more: bool = False


def look(folder: Folder, known: Mapping[str, Stat], before: Mapping[str, Stat]) -> Look:
    """Look once.

    Args:
        known: The files as they are noted.
        before: What the look before has found present.
    """
    found = Look()
    for name, now in _files(folder, found):
        found.present[name] = now
    bytes_left = BYTES_MAX
    for name, now in found.present.items():
        if known.get(name) == now or before.get(name) != now or name in found.faults:
            continue
        if len(found.read) >= FILES_MAX or bytes_left <= 0:
            found.more = True
            break
        bytes_left -= now.size
        digest = folder.digest(name, now)
        if digest is not None:
            found.read.append((name, now, digest))
    return found


def _files(folder: Folder, found: Look) -> Iterator[tuple[str, Stat]]:
    """The regular files that take part."""
    directory = folder.directory

    def failed(_: OSError) -> None:
        found.whole = False

    for root, folders, names, at in os.fwalk(directory.path, onerror=failed):
        below = os.path.relpath(root, directory.path)
        if below == ".":
            folders[:] = [one for one in folders if one.casefold() != OWN]
        for base in names:
            name = base if below == "." else f"{below}/{base}".replace(os.sep, "/")
            if not directory.takes(name):
                continue
            try:
                now = os.stat(base, dir_fd=at, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if not stat.S_ISREG(now.st_mode):
                continue
            if fault := name_fault(name):
                found.faults[ascii(name)] = fault
            else:
                if now.st_size > directory.size_max:
                    found.faults[name] = f"is larger than {directory.size_max:,} bytes"
                yield name, stat_of(now)
