"""Sites with a directory each, in this process: their looks and turns one by one."""

import os
from dataclasses import replace
from pathlib import Path

from sites import Site, make_site

from syncnode.files.catalogue import Catalogue
from syncnode.files.folder import Folder
from syncnode.files.manifest import begin_manifests
from syncnode.files.names import OWN
from syncnode.files.scanning import look
from syncnode.files.settings import Directory
from syncnode.files.supply import Supply
from syncproto.file_turns import (
    ROOM_BYTES_MAX,
    FileTurn,
    decode_file_turn,
    encode_file_turn,
)
from syncproto.identity import SiteId

PATIENT = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, name VARCHAR(9))"
)
TURNS_MAX = 2_000


class FileDesk:
    """A site and its directory.

    Attributes:
        now_s: Its clock for what waits.
        received: Bytes of content that came from others.
    """

    def __init__(self, folder: Path, name: str, *, directory: str = "obs", **options: object):
        self.site: Site = make_site(folder, name, [PATIENT])
        self.name = name
        self.root = folder / name / directory
        self.root.mkdir()
        self.directory = replace(Directory("obs", self.root), **options)  # type: ignore[arg-type]
        self.names: dict[SiteId, str] = {}
        self.now_s = 0.0
        self.received = 0
        self.open()

    def open(self) -> None:
        """As a process that starts."""
        replica = self.site.replica
        begin_manifests(replica.database, replica.plan, [self.directory.table])
        self.folder = Folder(self.directory)
        self.catalogue = Catalogue(replica, self.folder)
        self.supply = Supply(
            replica,
            [self.catalogue],
            name_of=lambda site: self.names.get(site, "?"),
            now_s=lambda: self.now_s,
        )
        self.catalogue.follow()

    def restart(self) -> None:
        """The process was killed."""
        self.folder.close()
        self.site.reopen()
        self.open()

    def close(self) -> None:
        self.folder.close()
        self.site.close()

    def write(self, name: str, content: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def look(self, *, only_received: bool = False) -> None:
        """Two looks: what stands still is taken up."""
        before: dict = {}
        for _ in range(2):
            found = look(self.folder, self.catalogue.stats(), before)
            before = found.present
        self.catalogue.take_up(found, only_received=only_received)

    def held(self) -> dict[str, bytes]:
        """Every file that people see, by its name."""
        found = {}
        for root, folders, names in os.walk(self.root):
            folders[:] = [one for one in folders if one != OWN]
            for name in names:
                path = Path(root, name)
                found[str(path.relative_to(self.root))] = path.read_bytes()
        return found

    def trash(self) -> list[bytes]:
        return sorted(
            path.read_bytes() for path in (self.root / OWN / "trash").rglob("*") if path.is_file()
        )


def say(desk: FileDesk, peer: FileDesk, heard: FileTurn, room: int) -> FileTurn | None:
    """A turn as it crosses the wire."""
    turn = desk.supply.turn(peer.site.id, heard.asks, min(heard.room, room), room)
    return None if turn is None else decode_file_turn(encode_file_turn(turn))


def talk(caller: FileDesk, callee: FileDesk, *, room: int = 1 << 16, cut_at: int = -1) -> bool:
    """Turns until neither has anything to say; `cut_at`: the turn of that number is lost. Whether
    rows were no hindrance."""
    for one, other in ((caller, callee), (callee, caller)):
        one.names[other.site.id] = other.name
        one.catalogue.follow()
    heard = FileTurn()
    for number in range(TURNS_MAX):
        speaker, listener = (caller, callee) if number % 2 == 0 else (callee, caller)
        bound = room if speaker is caller else ROOM_BYTES_MAX
        turn = say(speaker, listener, heard, bound)
        if turn is None or number == cut_at:
            break
        if turn.is_idle and number and speaker is caller:
            caller.supply.end(callee.site.id)
            return True
        listener.received += sum(len(piece.content) for piece in turn.pieces)
        listener.supply.take(speaker.site.id, turn)
        heard = turn
    caller.supply.end(callee.site.id)
    callee.supply.end(caller.site.id)
    return False
