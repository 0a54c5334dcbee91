"""What is known of the files of one directory: `.syncnode/files.db` inside it.

It stands with the files and not with the database, so that it goes where they go: an empty disk in
place of the directory knows of no file, and so nothing is taken for deleted.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

GONE = b"gone"
"""What is about to stand at a name whose file is being taken away."""
BUSY_S = 10.0


class Stat(NamedTuple):
    """What changes when a file is written."""

    size: int
    mtime_ns: int
    inode: int


class Known(NamedTuple):
    """A file as it was when it was last looked at.

    Attributes:
        digest: Of its content.
        coming: Content of others that is being put there, or GONE; what is found to be that was
            written by us.
    """

    name: str
    stat: Stat
    digest: bytes
    coming: bytes | None = None


class Notes:
    """Reads and writes the notes; each step is durable by itself."""

    def __init__(self, path: Path, *, make: bool = True) -> None:
        if make:
            self._connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=BUSY_S
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.executescript(
                "CREATE TABLE IF NOT EXISTS file (name TEXT PRIMARY KEY, size INT, mtime_ns INT,"
                " inode INT, digest BLOB, coming BLOB);"
                "CREATE INDEX IF NOT EXISTS file_digest ON file (digest);"
                "CREATE TABLE IF NOT EXISTS fault (name TEXT PRIMARY KEY, why TEXT NOT NULL);"
                "CREATE TABLE IF NOT EXISTS asked (peer TEXT PRIMARY KEY, lacking INT NOT NULL);"
            )
        else:
            self._connection = sqlite3.connect(
                f"file:{path}?mode=ro", uri=True, isolation_level=None, timeout=BUSY_S
            )

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Several steps with one sync of the disk."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def known(self, name: str) -> Known | None:
        found = list(self._select("WHERE name=?", name))
        return found[0] if found else None

    def with_digest(self, digest: bytes) -> list[Known]:
        """The files that hold this content."""
        return list(self._select("WHERE digest=? ORDER BY name", digest))

    def all(self) -> dict[str, Known]:
        return {known.name: known for known in self._select("")}

    def put(self, known: Known) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?, ?, ?)",
            (known.name, *known.stat, known.digest, known.coming),
        )

    def announce(self, name: str, coming: bytes) -> None:
        """Something is about to be put there, or taken away."""
        self._connection.execute(
            "INSERT INTO file VALUES (?, -1, -1, -1, x'', ?) "
            "ON CONFLICT (name) DO UPDATE SET coming=excluded.coming",
            (name, coming),
        )

    def forget(self, name: str) -> None:
        self._connection.execute("DELETE FROM file WHERE name=?", (name,))

    def _select(self, where: str, *values: object) -> Iterator[Known]:
        for name, size, mtime_ns, inode, digest, coming in self._connection.execute(
            f"SELECT name, size, mtime_ns, inode, digest, coming FROM file {where}", values
        ).fetchall():
            yield Known(name, Stat(size, mtime_ns, inode), digest, coming)

    # For reports

    def faults(self) -> dict[str, str]:
        """Why names cannot be followed here."""
        return dict(self._connection.execute("SELECT name, why FROM fault ORDER BY name"))

    def put_fault(self, name: str, why: str | None) -> None:
        if why is None:
            self._connection.execute("DELETE FROM fault WHERE name=?", (name,))
        else:
            self._connection.execute("INSERT OR REPLACE INTO fault VALUES (?, ?)", (name, why))

    def asked(self) -> dict[str, int]:
        """How much of what is missing here each peer has said that it lacks, too."""
        return dict(self._connection.execute("SELECT peer, lacking FROM asked ORDER BY peer"))

    def put_asked(self, lacking: Mapping[str, int]) -> None:
        with self.together():
            self._connection.execute("DELETE FROM asked")
            self._connection.executemany("INSERT INTO asked VALUES (?, ?)", lacking.items())
