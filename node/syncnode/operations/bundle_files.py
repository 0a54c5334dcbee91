"""The files of a bundle that is being written.

They are written beside their names first and get them at the end, so that a half written one is
never taken for a whole one. Each part says how many there are and what the whole claims, which is
known at the end only: that stands behind its rows, and is written when all rows are.
"""

import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from syncnode.identity.credentials import SiteKey
from syncnode.identity.sealing import Seal
from syncproto.bundle import PARTS_MAX, Head, opening, sealed_section, signed_part, tail
from syncproto.errors import ConfigError

SPLIT_MIN = 64_000
SPARE = 12 << 10  # bytes of a part that stand behind its rows, but for the letter
PARTIAL = ".partial"


@dataclass(slots=True)
class Part:
    """One file.

    Attributes:
        path: Where it stands in the end.
        size: Bytes so far.
        rows, sections: In it so far.
    """

    path: Path
    size: int = 0
    rows: int = 0
    sections: int = 0
    hasher: Any = field(default_factory=hashlib.sha512)

    @property
    def partial(self) -> Path:
        return self.path.with_name(self.path.name + PARTIAL)

    def add(self, data: bytes) -> None:
        with self.partial.open("ab") as file:
            file.write(data)
        self.hasher.update(data)
        self.size += len(data)


class BundleFiles:
    """The parts, one after another.

    Args:
        head: Of the first part.
        path: The file, or with `split` what stands before ".1", ".2" and so on.
        split: Bytes of a part, at most.
        letter_bytes: How long the sealed letter is expected to be.
    """

    def __init__(
        self,
        head: Head,
        path: Path,
        *,
        split: int | None,
        key: SiteKey,
        seal: Seal,
        letter_bytes: int,
    ) -> None:
        self._head = head
        self._path = path
        self._split = split
        self._key = key
        self._seal = seal
        self._room = None if split is None else split - SPARE - letter_bytes
        self.parts: list[Part] = []
        self._begin()

    @property
    def size(self) -> int:
        """Bytes of all parts so far."""
        return sum(part.size for part in self.parts)

    def add(self, chunk: bytes, rows: int) -> None:
        """Seal a chunk and write it, into a new part if this one is full.

        Raises:
            ConfigError: It does not even fit an empty one, or there would be too many parts.
        """
        section = sealed_section(self._seal(chunk))
        if self._full(section) and self.parts[-1].sections:
            self._begin()
        if self._full(section):
            raise ConfigError(
                f"a part of {self._split:,} bytes is too small for what stands in it (a row, or "
                "what the sites of the network hold): choose a larger --split"
            )
        part = self.parts[-1]
        part.add(section)
        part.rows += rows
        part.sections += 1

    def end(self, letter: bytes) -> None:
        """Write what stands behind the rows, and give the files their names."""
        for part in self.parts:
            part.add(sealed_section(self._seal(letter)))
            part.add(tail(len(self.parts)))
            part.add(self._key.signature(signed_part(part.hasher.digest())))
            _sync(part.partial)
        for part in self.parts:
            part.partial.rename(part.path)
        _sync(self._path.parent)

    def remove(self) -> None:
        """Take away what was begun."""
        for part in self.parts:
            with suppress(OSError):
                part.partial.unlink(missing_ok=True)

    def _begin(self) -> None:
        number = len(self.parts) + 1
        if number > PARTS_MAX:
            raise ConfigError(f"more than {PARTS_MAX} parts: choose a larger --split")
        name = self._path.name if self._split is None else f"{self._path.name}.{number}"
        part = Part(self._path.with_name(name))
        if part.path.exists():
            raise ConfigError(f"{part.path} exists already: name another file, or remove it")
        part.partial.unlink(missing_ok=True)  # of an export that was killed
        self.parts.append(part)
        part.add(opening(replace(self._head, part=number)))

    def _full(self, section: bytes) -> bool:
        return self._room is not None and self.parts[-1].size + len(section) > self._room


def _sync(path: Path) -> None:
    """Make it durable: the medium is pulled out next."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
