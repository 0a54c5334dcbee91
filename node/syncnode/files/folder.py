"""One directory on the disk: every way in which its files are read, put there and taken away.

Nothing here follows a symbolic link or leaves the directory: each part of a name is opened below
the one before it. What stands at a name is never overwritten: it is moved away first, and looked
at only then, so what the application wrote in between is kept, too.
"""

import errno
import hashlib
import os
import re
import stat
import time
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from syncnode.files.manifest import Content
from syncnode.files.names import OWN, beside
from syncnode.files.notes import GONE, Known, Notes, Stat
from syncnode.files.settings import Directory

READ_BYTES = 1 << 20
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_FILE = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_NEW = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
_PART = re.compile("[0-9a-f]{64}")
PARTS, TRASH = f"{OWN}/parts", f"{OWN}/trash"
DAY_S = 86_400


class FolderError(Exception):
    """The directory, or a name in it, cannot be used; the text says why."""


def stat_of(found: os.stat_result) -> Stat:
    return Stat(found.st_size, found.st_mtime_ns, found.st_ino)


class Folder:
    """A directory of this site.

    Raises:
        FolderError: It is not there, or is no directory.
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self._root = directory.path
        if not self._root.is_dir():
            raise FolderError(f"{self._root}: there is no such directory")
        try:
            for one in (OWN, PARTS, TRASH):
                with suppress(FileExistsError):
                    os.mkdir(self._root / one, 0o700)
                if not stat.S_ISDIR(os.lstat(self._root / one).st_mode):
                    raise FolderError(f"{self._root / one}: must be a folder of its own")
        except OSError as error:
            raise FolderError(f"{self._root}: cannot be written ({error.strerror})") from error
        self.notes = Notes(notes_path(directory))

    def close(self) -> None:
        self.notes.close()

    # Looking

    def stat(self, name: str) -> os.stat_result | None:
        """What stands at a name, links not followed; None for nothing.

        Raises:
            FolderError: This file system cannot hold the name.
        """
        try:
            with self._parent(name) as (parent, base):
                return os.stat(base, dir_fd=parent, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise FolderError(f"{name}: {error.strerror}") from error

    def is_as_known(self, known: Known) -> bool:
        """The file has not changed since it was looked at."""
        found = self.stat(known.name)
        return found is not None and stat_of(found) == known.stat

    def digest(self, name: str, expected: Stat) -> bytes | None:
        """Of the file's content; None if it is not, or does not stay, as expected."""
        hasher = hashlib.sha256()
        try:
            with self._opened(name) as file:
                while piece := os.read(file, READ_BYTES):
                    hasher.update(piece)
                if stat_of(os.fstat(file)) != expected:
                    return None
        except OSError:
            return None
        return hasher.digest()

    def read(self, known: Known, offset: int, length: int) -> bytes | None:
        """A piece of a file; None if it has changed."""
        try:
            with self._opened(known.name) as file:
                if stat_of(os.fstat(file)) != known.stat:
                    return None
                return os.pread(file, length, offset)
        except OSError:
            return None

    # Parts

    def part_size(self, digest: bytes) -> int:
        """How much of this content has come."""
        found = self.stat(f"{PARTS}/{digest.hex()}")
        return found.st_size if found is not None else 0

    def append(self, digest: bytes, offset: int, content: bytes) -> bool:
        """Put a piece behind what has come; False if it does not belong there."""
        with self._parent(f"{PARTS}/{digest.hex()}") as (parent, base):
            file = os.open(base, _NEW, 0o666, dir_fd=parent)
            try:
                if os.fstat(file).st_size != offset:
                    return False
                os.lseek(file, offset, os.SEEK_SET)
                while content:
                    content = content[os.write(file, content) :]
                return True
            finally:
                os.close(file)

    def copy(self, known: Known, digest: bytes) -> bool:
        """Make the part of content that a file here holds already."""
        self.drop_part(digest)
        offset = 0
        while piece := self.read(known, offset, READ_BYTES):
            self.append(digest, offset, piece)
            offset += len(piece)
        return offset == known.stat.size

    def is_whole(self, content: Content) -> bool:
        """The part that has come is this content."""
        found = self.stat(f"{PARTS}/{content.digest.hex()}")
        if found is None or found.st_size != content.size:
            return False
        return self.digest(f"{PARTS}/{content.digest.hex()}", stat_of(found)) == content.digest

    def drop_part(self, digest: bytes) -> None:
        with suppress(FileNotFoundError), self._parent(f"{PARTS}/{digest.hex()}") as (at, base):
            os.unlink(base, dir_fd=at)

    def drop_parts(self, wanted: Container[bytes]) -> None:
        """Drop the parts of contents that are not wanted any more."""
        for name in os.listdir(self._root / PARTS):
            if _PART.fullmatch(name) and bytes.fromhex(name) not in wanted:
                self.drop_part(bytes.fromhex(name))

    # Putting and taking away

    def put(self, name: str, digest: bytes, modified_ms: int, *, keep: bool) -> None:
        """Put the part of this content, which is whole, at a name. What stood there goes into the
        trash; `keep`: it stays beside.

        Raises:
            FolderError: It cannot stand there.
        """
        part = f"{PARTS}/{digest.hex()}"
        known = self.notes.known(name)
        self._refuse_twin(name)
        try:
            with self._opened(part) as file:
                if modified_ms:
                    os.utime(file, ns=(modified_ms * 1_000_000, modified_ms * 1_000_000))
                os.fsync(file)
            self.notes.announce(name, digest)
            self._move_away(name, known, keep=keep)
            with self._parent(part) as source, self._parent(name, make=True) as target:
                _move_to_free(source, target)
                os.fsync(target[0])
                found = os.stat(target[1], dir_fd=target[0], follow_symlinks=False)
        except OSError as error:
            raise FolderError(f"{name}: cannot be written here ({error.strerror})") from error
        self.notes.put(Known(name, stat_of(found), digest))

    def take_away(self, known: Known) -> None:
        """Move a file into the trash.

        Raises:
            FolderError: It cannot be moved.
        """
        try:
            self.notes.announce(known.name, GONE)
            self._move_away(known.name, known, keep=False)
        except OSError as error:
            raise FolderError(f"{known.name}: cannot be moved ({error.strerror})") from error
        self.notes.forget(known.name)

    def empty_trash(self, now_s: float) -> None:
        """Delete for good what has been there for longer than the settings say."""
        for day in os.scandir(self._root / TRASH):
            old = now_s - day.stat(follow_symlinks=False).st_mtime
            if old > (self.directory.trash_days + 1) * DAY_S:
                _delete(Path(day.path))

    def _move_away(self, name: str, known: Known | None, *, keep: bool) -> None:
        """What stands at the name goes into the trash, if it is what is known; else beside."""
        found = self.stat(name)
        if found is None:
            return
        if not stat.S_ISREG(found.st_mode):
            raise FolderError(f"{name}: something else than a file stands there")
        place = f"{PARTS}/{os.urandom(8).hex()}.old"
        self._rename(name, place)
        moved = self.stat(place)
        assert moved is not None, "moved there just now"
        unknown = known is None or stat_of(moved) != known.stat
        if not (keep or unknown):
            self._rename(place, self._free(f"{TRASH}/{time.strftime('%Y-%m-%d')}/{name}"))
            return
        digest = self.digest(place, stat_of(moved)) or bytes(32)
        aside = beside(name, digest)
        if self.stat(aside) is not None:
            aside = self._free(f"{TRASH}/{time.strftime('%Y-%m-%d')}/{aside}")
        self._rename(place, aside)

    def _free(self, name: str) -> str:
        found, number = name, 1
        while self.stat(found) is not None:
            number += 1
            found = f"{name}~{number}"
        return found

    def _rename(self, one: str, other: str) -> None:
        with self._parent(one) as source, self._parent(other, make=True) as target:
            os.rename(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0])

    def _refuse_twin(self, name: str) -> None:
        """Where the file system takes two names for one, only one can stand."""
        if self.stat(name) is None:
            return
        with self._parent(name) as (parent, base):
            if base not in os.listdir(parent):
                raise FolderError(f"{name}: this file system takes it for another file's name")

    # Ways in

    @contextmanager
    def _parent(self, name: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The opened folder in which a name stands, and the last part of the name."""
        *folders, base = name.split("/")
        at = os.open(self._root, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            for part in folders:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o777, dir_fd=at)
                below = os.open(part, _FOLDER, dir_fd=at)
                os.close(at)
                at = below
            yield at, base
        finally:
            os.close(at)

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        """A regular file, to read."""
        with self._parent(name) as (parent, base):
            file = os.open(base, _FILE, dir_fd=parent)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(0, "is no file")
            yield file
        finally:
            os.close(file)


def _move_to_free(source: tuple[int, str], target: tuple[int, str]) -> None:
    """Rename a file; unlike a rename it fails where something stands by now, if the file system
    knows links."""
    try:
        os.link(
            source[1],
            target[1],
            src_dir_fd=source[0],
            dst_dir_fd=target[0],
            follow_symlinks=False,
        )
        os.unlink(source[1], dir_fd=source[0])
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        os.rename(source[1], target[1], src_dir_fd=source[0], dst_dir_fd=target[0])


def notes_path(directory: Directory) -> Path:
    return directory.path / OWN / "files.db"


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for one in path.iterdir():
            _delete(one)
        path.rmdir()
    else:
        path.unlink()
