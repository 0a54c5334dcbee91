"""What is asked of a peer and answered to it: content of files, behind all rows.

All of it blocks, and runs after what else runs on the replica.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from syncnode.files.catalogue import Catalogue
from syncnode.files.manifest import Content
from syncproto.file_turns import ASKS_MAX, Ask, FileTurn, Piece, shared_out
from syncproto.identity import SiteId
from syncproto.session import Link

if TYPE_CHECKING:
    from syncnode.replica import DatabaseReplica

ASKED_S = 180.0  # after which what a peer was asked for may be asked of another one
LACKING_FIRST_S, LACKING_LAST_S = 5.0, 1_800.0  # before a peer that lacks content is asked again
REFUSED_S = 3_600.0  # before one that gave wrong content is


class Supply:
    """The content that moves between this site and its peers.

    Args:
        name_of: What people call a peer.
        now_s: A clock that only moves forward.
    """

    def __init__(
        self,
        replica: "DatabaseReplica",
        catalogues: Sequence[Catalogue],
        *,
        name_of: Callable[[SiteId], str],
        now_s: Callable[[], float],
    ) -> None:
        self.catalogues = catalogues
        self._replica = replica
        self._name_of = name_of
        self._now_s = now_s
        self._asked: dict[bytes, tuple[SiteId, float]] = {}
        self._not_before: dict[tuple[SiteId, bytes], float] = {}
        self._pause_s: dict[tuple[SiteId, bytes], float] = {}
        # Who gave pieces of a part, as far as this process knows; and the contents of which only
        # one peer may, since of several nobody could tell who gave a wrong one.
        self._givers: dict[bytes, set[SiteId]] = {}
        self._alone: set[bytes] = set()

    # Speaking

    def turn(self, peer: SiteId, asks: Sequence[Ask], room: int, own_room: int) -> FileTurn | None:
        """What to say to a peer that has asked for this; None while rows are to be exchanged.

        Args:
            room: Bytes of pieces that may go.
            own_room: Bytes of pieces that may come.
        """
        link = self._link(peer)
        if link is None:
            return None
        pieces, lacking = self._given(shared_out(asks, room), link.agreed.unsent)
        wanted = tuple(shared_out(self._wanted(peer, link), own_room))
        for ask in wanted:
            self._asked[ask.digest] = (peer, self._now_s() + ASKED_S)
        return FileTurn(wanted, own_room, tuple(lacking), tuple(pieces))

    def can_ask(self, peer: SiteId) -> bool:
        """There is something that the peer may be asked for now."""
        return any(self._may_ask(peer, content) for _, content in self._contents())

    def takes_part(self, peer: SiteId) -> bool:
        """The peer has some of the manifests, as far as is known."""
        told = self._replica.standing(peer).peer_frontier
        return told is not None and any(one.table in told.scopes for one in self.catalogues)

    def _link(self, peer: SiteId) -> Link | None:
        """The link to a peer with which all rows are exchanged; else None."""
        standing = self._replica.standing(peer)
        link = Link.of(standing, peer)
        if link.told is None or link.behind:
            return None
        owed = link.told.without(link.agreed.unreceived)
        return link if standing.frontier.includes(owed) else None

    def _given(
        self, asks: Sequence[Ask], unsent: frozenset[str]
    ) -> tuple[list[Piece], list[bytes]]:
        """`unsent`: the tables that stay back on this link, and so their files."""
        pieces, lacking = [], []
        open_ones = [one for one in self.catalogues if one.table not in unsent]
        for ask in asks:
            content = _read(open_ones, ask)
            if content:
                pieces.append(Piece(ask.digest, ask.offset, content))
            else:
                lacking.append(ask.digest)
        return pieces, lacking

    def _wanted(self, peer: SiteId, link: Link) -> Iterator[Ask]:
        told, closed = link.told, link.agreed.unreceived
        assert told is not None, "a link on which nothing waits"
        asked: set[bytes] = set()
        for one, content in self._contents():
            if one.table in closed or one.table not in told.scopes:
                continue
            if content.digest in asked or not self._may_ask(peer, content):
                continue
            asked.add(content.digest)
            offset = one.folder.part_size(content.digest)
            if self._is_anothers(peer, content.digest, offset):
                continue
            if offset >= content.size or self._must_begin_anew(content.digest):
                one.folder.drop_part(content.digest)
                offset = 0
            yield Ask(content.digest, offset, content.size - offset)
            if len(asked) >= ASKS_MAX:
                return

    def _contents(self) -> Iterator[tuple[Catalogue, Content]]:
        for one in self.catalogues:
            for entry in one.missing.values():
                if entry.content is not None:
                    yield one, entry.content

    def _may_ask(self, peer: SiteId, content: Content) -> bool:
        now_s, digest = self._now_s(), content.digest
        if digest in self._asked and self._asked[digest][1] > now_s:
            return False
        return self._not_before.get((peer, digest), 0.0) <= now_s

    def _is_anothers(self, peer: SiteId, digest: bytes, offset: int) -> bool:
        """Content that one peer alone is to give, and another one is giving."""
        givers = self._givers.get(digest, set())
        return digest in self._alone and offset > 0 and len(givers) == 1 and peer not in givers

    def _must_begin_anew(self, digest: bytes) -> bool:
        return digest in self._alone and len(self._givers.get(digest, ())) != 1

    # Listening

    def take(self, peer: SiteId, turn: FileTurn) -> None:
        """What a peer has said: pieces that were asked for, and what it lacks."""
        for digest in turn.lacking:
            if self._is_awaited(peer, digest):
                self._put_off(peer, digest)
        for piece in turn.pieces:
            if self._is_awaited(peer, piece.digest):
                self._take_piece(peer, piece)
        self.end(peer)  # whatever else it was asked for: it was killed since, or has rows first

    def end(self, peer: SiteId) -> None:
        """What the peer was asked for does not come any more."""
        self._asked = {d: asked for d, asked in self._asked.items() if asked[0] != peer}

    def lacking(self) -> dict[str, int]:
        """How much of what is missing each peer has said that it lacks."""
        missing = {content.digest for _, content in self._contents()}
        found = Counter(peer for peer, digest in self._pause_s if digest in missing)
        return {self._name_of(peer): count for peer, count in found.items()}

    def _is_awaited(self, peer: SiteId, digest: bytes) -> bool:
        """It is the answer to what the peer was asked; nobody else is heard."""
        asked, _ = self._asked.get(digest, (None, 0.0))
        if asked != peer:
            return False
        del self._asked[digest]
        return True

    def _put_off(self, peer: SiteId, digest: bytes) -> None:
        pause_s = self._pause_s.get((peer, digest), LACKING_FIRST_S / 2) * 2
        self._pause_s[peer, digest] = min(pause_s, LACKING_LAST_S)
        self._not_before[peer, digest] = self._now_s() + self._pause_s[peer, digest]

    def _take_piece(self, peer: SiteId, piece: Piece) -> None:
        one = next((one for one in self.catalogues if one.sizes(piece.digest)), None)
        if one is None:
            return
        sizes, digest = one.sizes(piece.digest), piece.digest
        end = piece.offset + len(piece.content)
        if end > max(sizes) or not one.folder.append(digest, piece.offset, piece.content):
            return
        givers = self._givers.setdefault(digest, set() if piece.offset == 0 else {_UNKNOWN})
        givers.add(peer)
        if end not in sizes:
            return
        if one.folder.is_whole(Content(digest, end)):
            self._forget(digest)
            one.came(digest)
        elif end == max(sizes):
            self._refuse(one, digest)

    def _refuse(self, one: Catalogue, digest: bytes) -> None:
        """What has come is not what the manifest names: nothing of it is kept."""
        one.folder.drop_part(digest)
        givers = self._givers.pop(digest, set())
        if len(givers) > 1:
            self._alone.add(digest)
            return
        for peer in givers:
            self._not_before[peer, digest] = self._now_s() + REFUSED_S
            name, whose = one.name_of(digest), self._name_of(peer)
            one.folder.notes.put_fault(
                name, f"{whose} gave other content than its manifest names; it was refused"
            )

    def _forget(self, digest: bytes) -> None:
        self._givers.pop(digest, None)
        self._alone.discard(digest)
        for key in [key for key in self._pause_s if key[1] == digest]:
            del self._pause_s[key]
            self._not_before.pop(key, None)


def _read(catalogues: Sequence[Catalogue], ask: Ask) -> bytes | None:
    for one in catalogues:
        for known in one.folder.notes.with_digest(ask.digest):
            if content := one.folder.read(known, ask.offset, ask.length):
                return content
    return None


_UNKNOWN = SiteId(bytes(16))
"""Who gave what was there before this process began."""
