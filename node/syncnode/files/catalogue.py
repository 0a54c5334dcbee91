"""What one directory should hold by its manifest, what it does hold, and what is to be done.

All of it blocks, and runs after what else runs on the replica.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from syncnode.files.folder import Folder, FolderError
from syncnode.files.manifest import (
    Change,
    Content,
    Entry,
    gave_way,
    key_of,
    read_entries,
    write_changes,
)
from syncnode.files.notes import GONE, Known, Stat
from syncnode.files.scanning import Look
from syncnode.store.sidecar import Sidecar
from syncproto.identity import RowKey

if TYPE_CHECKING:
    from syncnode.replica import DatabaseReplica

logger = logging.getLogger(__name__)


class Catalogue:
    """One directory of a running node.

    Attributes:
        missing: What is wanted here and not here, in the order in which it became known.
        changes: Counts what became known and what came to stand here.
    """

    def __init__(self, replica: "DatabaseReplica", folder: Folder) -> None:
        self.folder = folder
        self.directory = folder.directory
        self.missing: dict[RowKey, Entry] = {}
        self.changes = 0
        self._replica = replica
        self._notes = folder.notes
        self._entries: dict[RowKey, Entry] = {}
        self._wanting: dict[bytes, set[RowKey]] = {}
        self._losers: set[tuple[RowKey, bytes]] = set()
        self._todo: set[RowKey] = set()
        self._parked: set[RowKey] = set()
        self._unclear: dict[str, Stat] = {}  # files of which nobody knows whence they are
        self._faults: dict[str, str] = {}  # by the last look
        self._lsn = -1

    @property
    def table(self) -> str:
        return self.directory.table

    def entry(self, name: str) -> Entry | None:
        return self._entries.get(key_of(self.table, name))

    def sizes(self, digest: bytes) -> set[int]:
        """The sizes that missing entries give for a content."""
        entries = (self.missing[key] for key in self._wanting.get(digest, ()))
        return {entry.content.size for entry in entries if entry.content is not None}

    def name_of(self, digest: bytes) -> str:
        """A missing file with this content."""
        return min((self.missing[key].name for key in self._wanting.get(digest, ())), default="?")

    # The manifest

    def follow(self) -> None:
        """Take up what the manifest says by now, and do what can be done without others."""
        with self._replica.database.read() as tx:
            lsn = int(tx.value("SELECT value FROM syncnode_setting WHERE name='lsn'"))
            entries: list[Entry] = []
            if lsn != self._lsn:
                book = Sidecar.load(tx, self._replica.plan)
                entries = read_entries(tx, book, self.table, self._lsn)
                if entries:
                    self._losers = gave_way(tx, book, self.table)
        self._lsn = lsn
        self._entries |= {entry.key: entry for entry in entries}
        self._todo |= {entry.key for entry in entries}
        self._settle()

    def tidy(self, now_s: float) -> None:
        """Delete what nobody wants any more; what could not stand here may have become possible."""
        self.folder.empty_trash(now_s)
        self.folder.drop_parts(self._wanting.keys())
        self._todo |= self._parked

    def came(self, digest: bytes) -> None:
        """The part of this content is whole: put it where it belongs."""
        self._todo |= self._wanting.get(digest, set())
        self._settle()

    def _settle(self) -> None:
        while self._todo:
            # Files before deletes: a renamed file is copied from its old name.
            todo, self._todo = self._todo, set()
            for key in sorted(todo, key=lambda one: self._entries[one].content is None):
                self._do(self._entries[key])

    def _do(self, entry: Entry) -> None:
        self._drop_missing(entry.key)
        self._parked.discard(entry.key)
        self.changes += 1
        try:
            why = self._done(entry)
        except FolderError as error:
            why = str(error)
        except OSError as error:
            why = f"{entry.name}: {error.strerror}"
        if why:
            self._parked.add(entry.key)
            logger.warning("a file of %s waits: %s", self.directory.name, ascii(why))
        self._notes.put_fault(ascii(entry.name)[1:-1] or entry.key.hex(), why or None)

    def _done(self, entry: Entry) -> str:
        """Do what the entry asks for, as far as that can be done; why it cannot be."""
        if entry.fault:
            return entry.fault if entry.content is not None else ""
        if not self.directory.takes(entry.name):
            return ""
        known = self._notes.known(entry.name)
        if entry.content is None:
            self._take_away(known)
            return ""
        if (known is not None and known.digest == entry.content.digest) or (
            not self.directory.wanted
        ):
            return ""
        if entry.content.size > self.directory.size_max:
            return f"{entry.name} is larger than {self.directory.size_max:,} bytes"
        self.missing[entry.key] = entry
        self._wanting.setdefault(entry.content.digest, set()).add(entry.key)
        if self._is_settled(known) and self._is_at_hand(entry.content):
            self._put(entry, known)
        return ""

    def _is_settled(self, known: Known | None) -> bool:
        """What stands there is what is known: the next look makes an edit of it otherwise."""
        if known is None or not known.digest or self.folder.stat(known.name) is None:
            return True
        return self.folder.is_as_known(known)

    def _take_away(self, known: Known | None) -> None:
        if known is None:
            return
        if known.digest and known.coming != GONE:
            if self.folder.is_as_known(known):
                self.folder.take_away(known)
        elif self.folder.stat(known.name) is None:
            self._notes.forget(known.name)

    def _is_at_hand(self, content: Content) -> bool:
        folder, digest = self.folder, content.digest
        if not content.size:
            folder.append(digest, 0, b"")
        if folder.is_whole(content):
            return True
        for known in self._notes.with_digest(digest):
            if known.stat.size == content.size and folder.is_as_known(known):
                if folder.copy(known, digest) and folder.is_whole(content):
                    return True
                folder.drop_part(digest)
        return False

    def _put(self, entry: Entry, known: Known | None) -> None:
        assert entry.content is not None, "a file that is to be here"
        digest = entry.content.digest
        keep = known is not None and (entry.key, known.digest) in self._losers
        try:
            self.folder.put(entry.name, digest, entry.modified_ms, keep=keep)
        finally:  # what cannot stand here is not asked for again
            self._drop_missing(entry.key)
        self._unclear.pop(entry.name, None)
        self._todo |= self._wanting.get(digest, set())

    def _drop_missing(self, key: RowKey) -> None:
        entry = self.missing.pop(key, None)
        if entry is not None and entry.content is not None:
            wanting = self._wanting[entry.content.digest]
            wanting.discard(key)
            if not wanting:
                del self._wanting[entry.content.digest]

    # What was done here

    def stats(self) -> dict[str, Stat]:
        """The files as they are noted, for the next look."""
        return self._unclear | {name: one.stat for name, one in self._notes.all().items()}

    def take_up(self, look: Look, *, only_received: bool) -> bool:
        """Write into the manifest what a look has found; whether that was anything.

        Raises:
            StoreError: The database could not take it now: the next look finds it again.
        """
        self.follow()
        known = self._notes.all()
        changes, noted = self._written(look, known, only_received)
        gone = list(self._gone(look, known))
        if not only_received:
            changes += [Change(one.name, None) for one in gone if self._is_deleted(one)]
        if changes:
            write_changes(self._replica, self.table, changes)
        with self._notes.together():
            for one in noted:
                self._notes.put(one)
            for one in gone:
                self._notes.forget(one.name)
        self._unclear = {n: s for n, s in self._unclear.items() if look.present.get(n) == s}
        self._look_again(one.name for one in (*gone, *noted))
        for one in noted:
            self._todo |= self._wanting.get(one.digest, set())
        self._note_faults(look)
        if changes or noted or gone:
            self.changes += 1
            self.follow()
        return bool(changes)

    def is_news(self, look: Look, known: Mapping[str, Stat]) -> bool:
        """Whether a look has found something to be taken up; `known`: what it began with."""
        gone = look.whole and not known.keys() <= look.present.keys()
        return bool(look.read) or gone or look.faults != self._faults

    def _note_faults(self, look: Look) -> None:
        for name in self._faults.keys() - look.faults.keys():
            self._notes.put_fault(name, None)
        for name, why in look.faults.items():
            self._notes.put_fault(name, why)
        self._faults = look.faults

    def _written(
        self, look: Look, known: dict[str, Known], only_received: bool
    ) -> tuple[list[Change], list[Known]]:
        changes, noted = [], []
        for name, stat, digest in look.read:
            if not self.folder.is_as_known(Known(name, stat, digest)):
                continue
            before, entry = known.get(name), self.entry(name)
            ours = before is not None and digest in (before.digest, before.coming)
            stands = entry is not None and entry.content is not None
            if ours or (stands and _content(entry) == digest):
                noted.append(Known(name, stat, digest))
            elif only_received or (stands and not (before and before.digest)):
                # Content of unknown origin gives way visibly, and is no change of ours.
                self._unclear[name] = stat
                self._notes.forget(name)
                self._look_again([name])
            else:
                modified_ms = max(stat.mtime_ns // 1_000_000, 0)
                base = before.digest if before is not None and before.digest else None
                changes.append(Change(name, Content(digest, stat.size), modified_ms, base))
                noted.append(Known(name, stat, digest))
        return changes, noted

    def _gone(self, look: Look, known: dict[str, Known]) -> Iterable[Known]:
        if not look.whole:
            return
        for name, one in known.items():
            left = name not in look.present and self.directory.takes(name)
            if left and self.folder.stat(name) is None:
                yield one

    def _is_deleted(self, known: Known) -> bool:
        """The file that the manifest speaks of was deleted here, and is not about to come."""
        entry = self.entry(known.name)
        return known.coming is None and bool(known.digest) and _content(entry) == known.digest

    def _look_again(self, names: Iterable[str]) -> None:
        keys = (key_of(self.table, name) for name in names)
        self._todo |= {key for key in keys if key in self._entries}


def _content(entry: Entry | None) -> bytes | None:
    return entry.content.digest if entry is not None and entry.content is not None else None
