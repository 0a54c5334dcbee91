"""`export`: what peers lack, in files that somebody carries to them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from syncnode.identity.credentials import SiteKey, load_key
from syncnode.identity.sealing import Seal, sealing_for
from syncnode.links.peers import Peer, no_such_peer, read_peers
from syncnode.links.vouched import own_chain, read_revocations
from syncnode.machine import THIS_MACHINE, Machine
from syncnode.operations.bundle_files import SPARE, SPLIT_MIN, BundleFiles
from syncnode.reports import ExportReport
from syncnode.store.bundles import last_made, note_made
from syncnode.texts import utc_text
from syncproto.bundle import BUNDLE_ID_BYTES, Head
from syncproto.bundle_rules import base_for, since
from syncproto.certificates import encode_chain, encode_revocation
from syncproto.codec import encode_chunk
from syncproto.delta import Chunk
from syncproto.errors import ConfigError, StoreError, UsageError
from syncproto.frontier import Frontier
from syncproto.frontier_blob import decode_frontier
from syncproto.identity import SiteId
from syncproto.letter import Acquaintance, Letter, encode_letter
from syncproto.replica import Standing

if TYPE_CHECKING:
    from syncnode.replica import DatabaseReplica
    from syncnode.settings.config import Settings

Progress = Callable[[str], None]

ANYONE = "anyone"
LAST = "last"
BUSY_ATTEMPTS_MAX = 150
BUSY_PAUSE_S = 0.2  # half a minute in all for another process to end the steps of a catch-up


def export(
    settings: "Settings",
    path: Path,
    *,
    readers: Sequence[str],
    since_what: str | None = None,
    split: int | None = None,
    progress: Progress,
    machine: Machine = THIS_MACHINE,
) -> ExportReport:
    """Write what the readers lack, as far as is known here, to a file or several.

    Args:
        readers: Names of peers; or `ANYONE` alone: all members that are known here.
        since_what: `LAST`, or the name of a peer; None: what the readers last said, and for anyone
            everything.
        split: Bytes of a file, at most.

    Raises:
        UsageError: What was asked for cannot be meant.
        ConfigError: There is no such peer, or there are files of that name.
    """
    from syncnode.operations.site import open_replica

    if split is not None:
        if split < SPLIT_MIN:
            raise UsageError(f"--split: a part has at least {SPLIT_MIN // 1000} KB")
        bytes_max = min(settings.limits.chunk_bytes_max, (split - SPARE) // 4)
        limits = replace(settings.limits, chunk_bytes_max=bytes_max)
        settings = replace(settings, limits=limits)
    replica = open_replica(settings, machine=machine)
    try:
        peers = _chosen(replica, readers)
        return _Export(settings, replica, peers, progress, machine).run(
            path, split, since_what, anyone=ANYONE in readers
        )
    finally:
        replica.close()


def _chosen(replica: "DatabaseReplica", names: Sequence[str]) -> list[Peer]:
    with replica.database.read() as tx:
        peers = read_peers(tx)
    if not peers:
        raise ConfigError("this site has no peers yet; `syncnode invite` or `syncnode join` first")
    if ANYONE in names:
        if len(names) > 1:
            raise UsageError("--for anyone stands alone: it means every member that is known here")
        return peers
    by_name = {peer.name: peer for peer in peers}
    for name in names:
        if name not in by_name:
            raise ConfigError(no_such_peer(name, peers))
    return [by_name[name] for name in dict.fromkeys(names)]


class _Base(NamedTuple):
    """What an export leaves out.

    Attributes:
        frontier: What the readers are believed to have.
        text: For people; "" for nothing.
        unsent: Tables that may not be sent to one of them at least.
    """

    frontier: Frontier
    text: str
    unsent: frozenset[str]


class _Export:
    """One export."""

    def __init__(
        self,
        settings: "Settings",
        replica: "DatabaseReplica",
        peers: Sequence[Peer],
        progress: Progress,
        machine: Machine,
    ) -> None:
        self._settings = settings
        self._replica = replica
        self._peers = peers
        self._progress = progress
        self._machine = machine
        self._key: SiteKey = load_key(settings.key)
        self._seal: Seal = sealing_for(peer.public_key for peer in peers)
        self._to = json.dumps(sorted(peer.site.hex() for peer in peers))

    def run(
        self, path: Path, split: int | None, since_what: str | None, *, anyone: bool
    ) -> ExportReport:
        standings = {peer.site: self._replica.standing(peer.site) for peer in self._peers}
        base = self._base(standings, since_what, anyone=anyone)
        if not base.frontier.vectors:
            raise ConfigError("by the rules no table may be sent to these readers")
        head = self._head()
        draft = self._letter(standings, (0,), base.frontier, base.frontier)
        files = BundleFiles(
            head,
            path,
            split=split,
            key=self._key,
            seal=self._seal,
            letter_bytes=len(self._seal(encode_letter(draft))),
        )
        try:
            for chunk, content in self._chunks(base.frontier):
                files.add(content, chunk.row_count)
                self._tell(files, chunk)
            rows = tuple(part.rows for part in files.parts)
            letter = self._letter(standings, rows, chunk.base, chunk.claim or chunk.base)
            if letter.origin != chunk.sender:
                raise StoreError("this site went on under a new incarnation: export again")
            encoded = encode_letter(letter)
            files.end(encoded)
        except BaseException:
            files.remove()
            raise
        with self._replica.database.write() as tx:
            note_made(tx, head.bundle, self._key.site, head.name, head.made_ms, encoded, self._to)
        return self._report(head, files, letter, base)

    # What it begins with

    def _base(
        self, standings: Mapping[SiteId, Standing], since_what: str | None, *, anyone: bool
    ) -> _Base:
        held = next(iter(standings.values())).frontier
        agreed = [standings[one.site].directions.agreed(one.directions) for one in self._peers]
        unsent = frozenset[str]().union(*(one.unsent for one in agreed))
        if since_what is not None:
            named, text = self._named(since_what)
            return _Base(since(held, named, unsent), text, unsent)
        told = [None if anyone else _told(peer) for peer in self._peers]
        base = base_for(held, list(zip(told, agreed, strict=True)))
        names = ", ".join(peer.name for peer in self._peers)
        known = any(vector.entries for vector in base.distinct())
        return _Base(base, f"what {names} last said" if known else "", unsent)

    def _named(self, what: str) -> tuple[Frontier, str]:
        """The frontier that `--since` names, and in words.

        Raises:
            ConfigError: There is none.
        """
        with self._replica.database.read() as tx:
            made, peers = last_made(tx, self._to), read_peers(tx)
        if what == LAST:
            if made is None:
                raise ConfigError(
                    "nothing was exported for these readers yet: leave --since away the first time"
                )
            return made[1].claim, f"the bundle of {utc_text(made[0])}"
        peer = next((one for one in peers if one.name == what), None)
        if peer is None:
            raise ConfigError(f"--since: {no_such_peer(what, peers)}; or write --since {LAST}")
        told = _told(peer)
        if told is None:
            raise ConfigError(f"--since: {what} has not said yet what it holds")
        return told, f"what {what} last said"

    def _head(self) -> Head:
        with self._replica.database.read() as tx:
            network = tx.value("SELECT value FROM syncnode_setting WHERE name='network'")
            chain = own_chain(tx, self._key)
        return Head(
            network=bytes.fromhex(network),
            bundle=self._machine.entropy(BUNDLE_ID_BYTES),
            exporter=self._key.site,
            name=self._settings.name,
            made_ms=self._machine.wall_ms(),
            part=1,
            readers={peer.site: peer.name for peer in self._peers},
            public_key=self._key.public,
            certificate=encode_chain(chain) if chain is not None else b"",
        )

    def _letter(
        self,
        standings: Mapping[SiteId, Standing],
        rows: tuple[int, ...],
        base: Frontier,
        claim: Frontier,
    ) -> Letter:
        with self._replica.database.read() as tx:
            told = {peer.site: _told(peer) for peer in read_peers(tx)}
            revocations = tuple(map(encode_revocation, read_revocations(tx)))
        own = self._replica.standing(self._key.site)
        return Letter(
            origin=own.origin,
            latest=own.latest,
            rows=rows,
            base=base,
            claim=claim,
            frontier=own.frontier,
            nonces=own.nonces,
            told={site: frontier for site, frontier in told.items() if frontier is not None},
            readers={
                site: Acquaintance(standing.peer, standing.peer_nonces)
                for site, standing in standings.items()
            },
            revocations=revocations,
        )

    # Rows

    def _chunks(self, base: Frontier) -> Iterator[tuple[Chunk, bytes]]:
        """The delta above the base; each chunk is of a moment of its own, and the last one claims
        (rule A7)."""
        after = 0
        while True:
            chunk = self._cut(base, after)
            yield chunk, getattr(chunk, "encoded", b"") or encode_chunk(chunk)
            if chunk.claim is not None:
                return
            after = chunk.upto

    def _cut(self, base: Frontier, after: int) -> Chunk:
        for attempt in range(BUSY_ATTEMPTS_MAX):
            try:
                return self._replica.chunk(base, after)
            except StoreError as error:
                if not error.transient or attempt == BUSY_ATTEMPTS_MAX - 1:
                    raise
                self._progress(f"waiting: {error}")
                self._machine.pause(BUSY_PAUSE_S)
        raise AssertionError("the last attempt returns or raises")

    def _tell(self, files: BundleFiles, chunk: Chunk) -> None:
        rows = sum(part.rows for part in files.parts)
        more = f", up to {chunk.total:,} to come" if chunk.total else ""
        self._progress(f"{rows:,} rows, {files.size:,} bytes written{more}")

    def _report(self, head: Head, files: BundleFiles, letter: Letter, base: _Base) -> ExportReport:
        return ExportReport(
            bundle=head.bundle.hex(),
            files=tuple(str(part.path) for part in files.parts),
            readers=tuple(peer.name for peer in self._peers),
            rows=sum(letter.rows),
            bytes=files.size,
            needs=base.text or None,
            left_out=tuple(sorted(base.unsent & letter.frontier.scopes)),
        )


def _told(peer: Peer) -> Frontier | None:
    """What a peer last said it holds."""
    return decode_frontier(peer.frontier) if peer.frontier is not None else None
