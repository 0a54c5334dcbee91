"""What `status` says of files: what is missing here, who wrote it, who has not got it either."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from syncnode.files.folder import notes_path
from syncnode.files.manifest import Entry, read_entries
from syncnode.files.notes import Notes
from syncnode.files.settings import Directory

if TYPE_CHECKING:
    from syncnode.links.site_names import SiteNames
    from syncnode.settings.config import Settings
    from syncnode.store.database import Transaction
    from syncnode.store.sidecar import Sidecar

NAMED = 5


def file_notes(
    settings: "Settings", tx: "Transaction", book: "Sidecar", names: "SiteNames"
) -> Iterator[str]:
    """A sentence for all that is not as it should be; none where all wanted files are here."""
    for directory in settings.files:
        if not directory.path.is_dir():
            yield f"files of {directory.name}: there is no directory {directory.path}"
            continue
        entries = read_entries(tx, book, directory.table, -1)
        try:
            yield from _notes_of(directory, entries, names)
        except sqlite3.Error as error:
            yield f"files of {directory.name}: {notes_path(directory)} cannot be read ({error})"


def _notes_of(directory: Directory, entries: list[Entry], names: "SiteNames") -> Iterator[str]:
    known: dict[str, bytes] = {}
    faults: dict[str, str] = {}
    asked: dict[str, int] = {}
    if notes_path(directory).exists():
        with closing(Notes(notes_path(directory), make=False)) as notes:
            known = {name: one.digest for name, one in notes.all().items()}
            faults, asked = notes.faults(), notes.asked()
    missing = [
        entry
        for entry in entries
        if entry.content is not None
        and not entry.fault
        and directory.wanted
        and directory.takes(entry.name)
        and entry.content.size <= directory.size_max
        and known.get(entry.name) != entry.content.digest
    ]
    if missing:
        yield _missing_text(directory, missing, asked, names)
    for name, why in list(faults.items())[:NAMED]:
        yield f"files of {directory.name}: {name}: {why}"
    if len(faults) > NAMED:
        yield f"files of {directory.name}: {len(faults) - NAMED:,} more cannot be here"


def _missing_text(
    directory: Directory, missing: list[Entry], asked: dict[str, int], names: "SiteNames"
) -> str:
    size = sum(entry.content.size for entry in missing if entry.content is not None)
    authors = sorted({names.of(entry.author) for entry in missing if entry.author is not None})
    count = "1 file" if len(missing) == 1 else f"{len(missing):,} files"
    text = (
        f"files of {directory.name}: {count} ({size:,} bytes) missing here, written at "
        f"{', '.join(authors)}"
    )
    lacking = [f"{name} lacks {number:,} of them, too" for name, number in asked.items()]
    return "; ".join([text, *lacking])
