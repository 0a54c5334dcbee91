"""`import`: takes in what a courier brought, in any order, twice, or in part.

A file is read twice: once to its end, to know that it is whole and by whom it was made; then its
rows are staged, chunk by chunk. A part counts as here only when all of it is. So this may be ended
at any moment, and is run again. When all parts are here and their base is covered the bundle is
taken as one (`DatabaseReplica.take_bundles`), now or after some later exchange.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from syncnode.identity.credentials import SiteKey, fits, load_key, site_id_of_key
from syncnode.identity.sealing import Seal, opening_with
from syncnode.identity.vouching import check_chain
from syncnode.links.peers import Peer, read_peers
from syncnode.links.vouched import (
    chain_of,
    network_id,
    own_chain,
    put_member,
    read_revoked,
    take_revocations,
)
from syncnode.machine import THIS_MACHINE, Machine
from syncnode.operations.bundle_notes import waiting_texts
from syncnode.reports import ImportedFile, ImportReport
from syncnode.store.bundles import (
    PIECES_MAX,
    Bundle,
    begin_bundle,
    end_part,
    find_bundle,
    put_piece,
)
from syncnode.texts import utc_text
from syncproto.bundle import Envelope, Head, PartReader, verified
from syncproto.bundle_rules import Fate, Span, better_hint, check_branch, fate, span_of
from syncproto.certificates import Chain, decode_chain, decode_revocation
from syncproto.codec import decode_chunk, encode_chunk
from syncproto.directions import admitted
from syncproto.errors import (
    MalformedMessageError,
    PeerError,
    StoreError,
    UnexpectedMessageError,
)
from syncproto.frontier_blob import decode_frontier, encode_frontier
from syncproto.identity import SiteId, site_text
from syncproto.letter import Letter, decode_letter
from syncproto.messages import Turn
from syncproto.session import restored

if TYPE_CHECKING:
    from syncnode.replica import DatabaseReplica
    from syncnode.settings.config import Settings
    from syncnode.store.database import Transaction

Progress = Callable[[str], None]


def import_files(
    settings: "Settings",
    paths: Sequence[Path],
    *,
    progress: Progress,
    machine: Machine = THIS_MACHINE,
) -> ImportReport:
    """Take in these files, and what waited for them. A file that cannot be taken keeps none of the
    others.

    Raises:
        SyncError: The site cannot be opened, or its database cannot be written.
    """
    from syncnode.operations.site import open_replica

    replica = open_replica(settings, machine=machine)
    try:
        replica.seal()
        importing = _Import(settings, replica, progress, machine)
        files = [importing.file(path) for path in paths]
        taken = importing.taken + replica.take_bundles()
        return report_of(replica, settings, files, taken, importing.notes)
    finally:
        replica.close()


def report_of(
    replica: "DatabaseReplica",
    settings: "Settings",
    files: Sequence[ImportedFile],
    taken: int,
    notes: Sequence[str],
) -> ImportReport:
    """What was done, and what waits now."""
    with replica.database.read() as tx:
        held = replica.standing(load_key(settings.key).site).frontier
        waiting = waiting_texts(tx, held)
    problem = next((f"{one.file}: {one.problem}" for one in files if one.problem), None)
    reason = problem or next(iter(waiting), None)
    return ImportReport(tuple(files), reason is None, taken, waiting, reason, tuple(notes))


@dataclass(frozen=True, slots=True)
class _Opened:
    """A part that is whole, and by a member.

    Attributes:
        name: What the exporter is called here.
    """

    path: Path
    envelope: Envelope
    letter: Letter
    encoded_letter: bytes
    name: str

    @property
    def head(self) -> Head:
        return self.envelope.head


class _Import:
    """One run of `import`."""

    def __init__(
        self,
        settings: "Settings",
        replica: "DatabaseReplica",
        progress: Progress,
        machine: Machine,
    ) -> None:
        self._settings = settings
        self._replica = replica
        self._progress = progress
        self._machine = machine
        self._key: SiteKey = load_key(settings.key)
        self._open: Seal = opening_with(self._key)
        self.taken = 0
        self.notes: list[str] = []

    def file(self, path: Path) -> ImportedFile:
        """What became of a file; a fault of the file itself is told, not raised."""
        head: Head | None = None
        try:
            with path.open("rb") as file:
                head = self._head(file)
                opened = self._opened(path, file)
                rows = self._take(opened, file)
        except (PeerError, OSError) as error:
            text = f"{_named(head)}{_sentence(error)}" if head else _sentence(error)
            return _told(path, head, problem=text)
        return _told(path, head, parts=opened.envelope.parts, rows=rows, name=opened.name)

    def _head(self, file: BinaryIO) -> Head | None:
        """Whose file it is, as it says; nothing is proven yet."""
        try:
            return PartReader(file.read).head
        finally:
            file.seek(0)

    # Whose it is

    def _opened(self, path: Path, file: BinaryIO) -> _Opened:
        """
        Raises:
            PeerError: It is not whole, or not for this site, or not by a member.
        """
        self._progress(f"{path.name}: reading")
        envelope = verified(file.read, _signed_by)
        head = envelope.head
        with self._replica.database.read() as tx:
            if head.network != network_id(tx):
                raise UnexpectedMessageError("it belongs to another network")
        if head.exporter == self._key.site:
            raise UnexpectedMessageError("this site made it itself: it is for others")
        if self._key.site not in head.readers:
            names = ", ".join(head.readers.values())
            raise UnexpectedMessageError(
                f"it is not for this site: it can be opened by {names} alone; have it made again "
                f"with `--for {self._settings.name}`"
            )
        with self._replica.database.read() as tx:
            chain = self._member(tx, head)
        plain = self._open(envelope.letter)
        letter = decode_letter(plain)
        fits_head = letter.parts == envelope.parts and letter.origin.site == head.exporter
        if not fits_head or not 0 < envelope.sealed < PIECES_MAX:
            raise MalformedMessageError("its parts contradict each other")
        name = self._heed(head, letter, chain)
        return _Opened(path, envelope, letter, plain, name)

    def _member(self, tx: "Transaction", head: Head) -> Chain | None:
        """Who vouches for the exporter, if it is not known here.

        Raises:
            UnexpectedMessageError: It is no member, as far as is known here.
        """
        known = any(peer.site == head.exporter for peer in read_peers(tx))
        own = own_chain(tx, self._key)
        chain = decode_chain(head.certificate) if head.certificate else None
        if chain is not None and own is not None and chain.root == own.root:
            check_chain(chain, network=head.network, site=head.exporter)
        else:
            chain = None
        if read_revoked(tx, own).ends(head.exporter, chain or chain_of(tx, head.exporter)):
            raise UnexpectedMessageError(f"{head.name} was revoked: it is no member any more")
        if not known and chain is None:
            raise UnexpectedMessageError(
                f"{head.name} ({site_text(head.exporter)}) is not known at this site: it was never "
                "a peer, or is one no more"
            )
        return None if known else chain

    # What it says

    def _heed(self, head: Head, letter: Letter, chain: Chain | None) -> str:
        """Take in what a letter says of members, of us and of others; the exporter's name here.

        Raises:
            UnexpectedMessageError: The exporter was revoked, or its history is another.
        """
        with self._replica.database.write() as tx:
            own = own_chain(tx, self._key)
            if own is not None and letter.revocations:
                revoked = map(decode_revocation, letter.revocations)
                gone = take_revocations(tx, revoked, own=own)
                self.notes += [f"{peer.name} was revoked, and is no peer any more" for peer in gone]
            if chain is not None:
                put_member(tx, chain, self._settings.name, head.name)
            peers = {peer.site: peer for peer in read_peers(tx)}
        if head.exporter not in peers:
            raise UnexpectedMessageError(f"{head.name} was revoked: it is no member any more")
        self._look_at_ourselves(head, letter)
        check_branch(letter, self._replica.standing(head.exporter))
        self._replica.keep_scopes(letter.frontier)
        self._note_hints(head, letter, peers)
        return peers[head.exporter].name

    def _look_at_ourselves(self, head: Head, letter: Letter) -> None:
        """Whether the exporter knows more of us than we do: then this database was put back."""
        told = letter.readers.get(self._key.site)
        if told is None or told.known is None:
            return
        standing = self._replica.standing(head.exporter)
        lineage = told.lineages.get(standing.origin.incarnation, {}) or {0: 0}
        turn = Turn(
            network=head.network,
            origin=letter.origin,
            latest=letter.latest,
            known=told.known,
            digest=b"",
            wall_ms=head.made_ms,
            lineage=lineage,
        )
        renew = restored(turn, standing)
        if renew is not None:
            self._replica.renew(renew.incarnation, renew.common_seq)

    def _note_hints(self, head: Head, letter: Letter, peers: dict[SiteId, Peer]) -> None:
        """What sites hold, as a base for what they are sent next: a hint, never a proof."""
        told = {**letter.told, head.exporter: letter.frontier}
        now_ms = self._machine.wall_ms()
        with self._replica.database.write() as tx:
            m = tx.mark
            for site, frontier in told.items():
                peer = peers.get(site)
                if peer is None:
                    continue
                known = decode_frontier(peer.frontier) if peer.frontier is not None else None
                itself = letter.origin if site == head.exporter else None
                if better_hint(site, known, frontier, itself):
                    tx.execute(
                        f"UPDATE syncnode_peer SET frontier={m} WHERE site={m}",
                        (encode_frontier(frontier), site),
                    )
                if itself is not None:
                    tx.execute(
                        f"UPDATE syncnode_peer SET contact_ms={m} WHERE site={m}", (now_ms, site)
                    )

    # Its rows

    def _take(self, opened: _Opened, file: BinaryIO) -> int:
        """Stage the rows of a part, and take the bundle if it was the last one; how many rows."""
        head = opened.head
        bundle = self._begun(opened)
        if bundle is None or head.part in bundle.spans:
            self.taken += self._replica.take_bundles()
            return 0
        rows = self._stage(opened, bundle, file)
        self.taken += self._replica.take_bundles()
        return rows

    def _begun(self, opened: _Opened) -> Bundle | None:
        """The bundle as far as it is here; None if nothing of it is needed."""
        head, letter = opened.head, opened.letter
        held = self._replica.standing(self._key.site).frontier
        with self._replica.database.write() as tx:
            found = find_bundle(tx, head.bundle)
            if found is not None:
                if found.encoded_letter != opened.encoded_letter:
                    raise MalformedMessageError("its parts contradict each other")
                return found
            ways = self._replica.words.of(tx, head.exporter, held.scopes)
            scopes = (letter.base.scopes & held.scopes) - ways.unreceived
            bundle = Bundle(
                head.bundle,
                head.exporter,
                head.name,
                head.made_ms,
                opened.encoded_letter,
                scopes,
                {},
            )
            if fate(held, bundle.base, bundle.claim, whole=False) is Fate.NOT_NEEDED:
                return None
            begin_bundle(tx, bundle)
        return bundle

    def _stage(self, opened: _Opened, bundle: Bundle, file: BinaryIO) -> int:
        head, letter, envelope = opened.head, opened.letter, opened.envelope
        refused = letter.base.scopes - bundle.scopes
        file.seek(0)
        reader = PartReader(file.read)
        span: Span | None = None
        rows = 0
        for number, section in enumerate(reader.sealed()):
            if number >= envelope.sealed:
                continue  # the letter
            body = self._open(section)
            chunk = decode_chunk(body)
            last = head.part == letter.parts and number == envelope.sealed - 1
            span = span_of(span, chunk, letter, last=last)
            if refused:
                body = encode_chunk(admitted(chunk, refused))
            with self._replica.database.write() as tx:
                here = find_bundle(tx, bundle.id)
                if here is None or head.part in here.spans:
                    return 0  # another process has it, or an exchange has brought all of it
                put_piece(tx, bundle.id, head.part, number, body)
            rows += chunk.row_count
            self._progress(f"{opened.path.name}: {rows:,} rows, {reader.size:,} bytes read")
        if reader.digest != envelope.digest or span is None:
            raise MalformedMessageError("it changed while it was read")
        with self._replica.database.write() as tx:
            here = find_bundle(tx, bundle.id)
            if here is None or head.part in here.spans:
                return 0
            if not end_part(tx, here, head.part, envelope.sealed, span):
                raise StoreError("another `import` of this file runs: try again", transient=True)
        return rows


def _signed_by(head: Head, signature: bytes, message: bytes) -> bool:
    return site_id_of_key(head.public_key) == head.exporter and fits(
        signature, message, head.public_key
    )


def _named(head: Head) -> str:
    return f"part {head.part} of the bundle of {head.name}, {utc_text(head.made_ms)[:10]}: "


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)


def _told(
    path: Path,
    head: Head | None,
    *,
    parts: int | None = None,
    rows: int = 0,
    name: str | None = None,
    problem: str | None = None,
) -> ImportedFile:
    return ImportedFile(
        file=str(path),
        exporter=name or (head.name if head else None),
        made=utc_text(head.made_ms) if head else None,
        part=head.part if head else None,
        parts=parts,
        rows=rows,
        problem=problem,
    )
