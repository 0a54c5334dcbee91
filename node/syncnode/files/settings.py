"""`[files]` of `syncnode.toml`: directories whose files take part.

[files.complex_obs]                       # the name is the network's, the path each site's own
path = "/var/lib/openmrs/complex_obs"
wanted = true                             # default; false: give what is here, fetch nothing
size_max = "50 MB"                        # default; larger files stay where they are
pattern = ["*.jpg", "scans/*"]            # default: every file
trash_days = 30                           # default; how long replaced and deleted files are kept
"""

import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from syncnode.settings.toml_reader import Table, shown

SIZE_MAX = 50_000_000
SIZE_LIMIT = 1 << 40
TRASH_DAYS = 30
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


@dataclass(frozen=True, slots=True)
class Directory:
    """One declared directory.

    Attributes:
        name: What the network calls it.
        path: Where it is here; absolute.
        wanted: Whether content that others have is fetched.
        size_max: Bytes of the largest file that takes part here.
        patterns: Of the names that take part; empty for all.
        trash_days: How long what was replaced or deleted is kept.
    """

    name: str
    path: Path
    wanted: bool = True
    size_max: int = SIZE_MAX
    patterns: tuple[str, ...] = ()
    trash_days: int = TRASH_DAYS

    @property
    def table(self) -> str:
        """The table of its manifest."""
        return f"{PREFIX}{self.name}"

    def takes(self, name: str) -> bool:
        """Whether a file of this relative name takes part; `*` stands for `/`, too."""
        return not self.patterns or any(fnmatchcase(name, one) for one in self.patterns)


PREFIX = "files:"
"""What the tables of manifests begin with; a table of a database has no colon in its name here."""


def is_manifest(table: str) -> bool:
    """Whether the table is a manifest, which no database has."""
    return table.startswith(PREFIX)


def read_files(table: Table, folder: Path) -> tuple[Directory, ...]:
    """The directories; what is wrong is noted in the table's document."""
    found: list[Directory] = []
    for name, one in table.tables():
        directory = _directory(name, one, folder)
        if not _NAME.fullmatch(name):
            table.fault(name, f"{shown(name)} is no name: use a-z, 0-9, _ . -, 63 at most")
        elif not _POSSIBLE:
            table.fault(name, "directories need a system with POSIX file names, such as Linux")
        elif directory is not None:
            if any(_overlap(directory.path, other.path) for other in found):
                one.fault("path", "is another directory's, or inside it; give each its own")
            found.append(directory)
    table.refuse_unknown()
    return tuple(found)


_POSSIBLE = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")


def _directory(name: str, one: Table, folder: Path) -> Directory | None:
    path = one.text("path", example=f"/var/lib/{name}")
    if path is None and "path" not in one:
        one.fault("path", f'is missing; write, say, path = "/var/lib/{name}"')
    patterns = one.texts("pattern", example="*.jpg")
    directory = Directory(
        name,
        Path(os.path.abspath(folder / (path or "."))),
        one.flag("wanted", default=True),
        one.size_bytes("size_max", default=SIZE_MAX, least=1, most=SIZE_LIMIT),
        patterns or (),
        one.integer("trash_days", default=TRASH_DAYS, least=1, most=3_650),
    )
    one.refuse_unknown()
    return directory if path else None


def _overlap(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents
