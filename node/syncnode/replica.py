"""The replica beside a database: seals, cuts deltas, takes deltas in.

It keeps the promises of `syncproto.replica.Replica`. Every step is one transaction; no state
that matters lives in the process, so several processes may use one database (they take turns),
and a process may be killed at any instruction.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from syncnode.apply.batches import Applier
from syncnode.apply.filters import Filters
from syncnode.apply.repairing import SETTING as REPAIRS
from syncnode.apply.repairing import Rewriting, with_repair
from syncnode.apply.taking import Taking
from syncnode.capture.dropped import CLAIMED, repeat_deletes
from syncnode.capture.renewing import begin_incarnation
from syncnode.capture.seal import NotPlain, Sealer
from syncnode.dialects.base import Mode
from syncnode.hooks.queue import note_applied
from syncnode.identity.anchor import Anchor, Anchored
from syncnode.identity.home import HOME, home_text
from syncnode.identity.renewals import (
    MOVED,
    OLDER,
    PEER,
    RETIRED,
    SETTING,
    UNANCHORED,
    Renewal,
    read_renewals,
    with_one_more,
)
from syncnode.machine import THIS_MACHINE
from syncnode.schema.plan import SchemaPlan
from syncnode.settings.hook_settings import Hook
from syncnode.settings.link_rules import NO_RULES
from syncnode.store.bundles import (
    any_bundle,
    begin_steps,
    drop_bundle,
    exporter_of,
    find_bundle,
    positions,
    read_bundles,
)
from syncnode.store.database import Database, Transaction
from syncnode.store.dismissals import OPEN
from syncnode.store.hidden import PARKED, HiddenRows
from syncnode.store.keeping import begin, lacking
from syncnode.store.link_words import LinkWords, directions_text, note_unwanted
from syncnode.store.reading import Reader
from syncnode.store.references import Referrers, inbound_keys
from syncnode.store.sidecar import EDITION, RENEWAL_DUE, Sidecar, load_plan
from syncnode.store.staging import (
    EncodedChunk,
    in_steps,
    positions_left,
    scopes_text,
    stage_chunk,
    staged,
    with_staged,
)
from syncnode.store.table import Origins, Table
from syncnode.store.undone import DUE
from syncnode.trace import phase
from syncproto.bundle_rules import Fate, fate
from syncproto.clock import SKEW_MS_MAX, latest_acceptable, milliseconds
from syncproto.codec import decode_cells, encode_chunk
from syncproto.delta import Chunk, Cursor
from syncproto.directions import EVERY_WAY, Directions
from syncproto.errors import LimitExceededError, StoreError
from syncproto.frontier import Frontier
from syncproto.frontier_blob import decode_frontier, encode_frontier
from syncproto.identity import Dot, Origin, RowKey, SiteId
from syncproto.merge import Conflict
from syncproto.replica import Receipt, Standing

Result = TypeVar("Result")

CHUNK_BYTES_MAX = 1 << 20  # encoded; what a link loses when it breaks
ROW_BYTES_MAX = 7 << 20
APPLY_ROWS_MAX = 50_000  # rows in one transaction; beyond it a catch-up goes in steps
ROWS_FIRST = 4_000  # rows of a first chunk, before their size is known
ROWS_MAX = 40_000
ATTEMPTS_MAX = 5  # of a step that meets a long journal or a locked row
ATTEMPT_PAUSE_S = 0.2
EVERY_TABLE_CROSSES = LinkWords(NO_RULES)


class DatabaseReplica:
    """A replica whose rows stand in an application's database.

    Args:
        database: Where.
        anchor: The identity anchor; None only for tests of single steps.
        wall_ms, nonce, pause: As `Machine` has them.
        chunk_bytes_max: Bytes of an encoded chunk; a row that is larger travels alone.
        apply_rows_max: Rows applied in one transaction.
        row_bytes_max: Encoded, above which a row stays here: peers refuse a longer message.
        skew_ms_max: How far in the future a stamp may be.
        hooks: Whom to tell what was applied.
        filters: What is shown instead of what arrives.
        pass_on: Keep rows of tables that are not here, for others and for later.
        words: What we say of the links to peers.
    """

    def __init__(
        self,
        database: Database,
        anchor: Anchor | None,
        *,
        wall_ms: Callable[[], int] = THIS_MACHINE.wall_ms,
        nonce: Callable[[], int] = THIS_MACHINE.nonce,
        pause: Callable[[float], None] = THIS_MACHINE.pause,
        chunk_bytes_max: int = CHUNK_BYTES_MAX,
        apply_rows_max: int = APPLY_ROWS_MAX,
        row_bytes_max: int = ROW_BYTES_MAX,
        skew_ms_max: int = SKEW_MS_MAX,
        rows_first: int = ROWS_FIRST,
        hooks: Sequence[Hook] = (),
        filters: Filters | None = None,
        pass_on: bool = True,
        words: LinkWords = EVERY_TABLE_CROSSES,
    ) -> None:
        self.database = database
        self._anchor = anchor
        self._wall_ms = wall_ms
        self._nonce = nonce
        self._pause = pause
        self._chunk_bytes_max = chunk_bytes_max
        self._apply_rows_max = apply_rows_max
        self._row_bytes_max = row_bytes_max
        self._skew_ms_max = skew_ms_max
        self._hooks = hooks
        self._filters = filters or Filters({})
        self._pass_on = pass_on
        self.words = words
        self._rows_next = rows_first
        self._rows_known = False  # how many make a chunk
        # What peers told this process. What an earlier one was told is not asked again: if the
        # whole machine was put back meanwhile, they know numbers of ours that we use once more,
        # and only an exchange that begins without a guess tells (`session.restored`).
        self._told: dict[SiteId, Frontier] = {}
        self._peer_directions: dict[SiteId, Directions] = {}
        self._heard: dict[SiteId, tuple[Frontier, int]] = {}  # of that, what is not written down
        with database.read() as tx:
            self._take_plan(tx)
        self._check_anchor()
        self.resume()
        self.take_bundles()

    def _take_plan(self, tx: Transaction) -> None:
        """The plan as it is now: `syncnode tables` may have changed it while we run."""
        sql = f"SELECT value FROM syncnode_setting WHERE name='{EDITION}'"
        self._edition = tx.value(sql)
        self.plan: SchemaPlan = load_plan(tx)
        inbound = inbound_keys(tx, tx.dialect, self.plan)
        self.tables: Mapping[int, Table] = {
            plan.number: Table(plan, self.plan, tx.dialect) for plan in self.plan.tables
        }
        self._referrers = Referrers(self.plan, self.tables, inbound)
        self._kept: set[str] = set()  # of which this process knows that they are
        self._unwanted: dict[SiteId, frozenset[str]] = {}  # of which it has written that they are

    def close(self) -> None:
        """Write down what was heard, and close the database."""
        self.flush()
        self.database.close()

    # The port

    def seal(self) -> bool:
        """Turn what the application has committed into a changeset; False if it was nothing."""
        with self.database.read() as tx:
            empty, due = self._empty(tx), self._due(tx)
            lsn = int(tx.value("SELECT value FROM syncnode_setting WHERE name='lsn'"))
        if self._anchor is not None and self._anchor.known_lsn > lsn:
            # The database was exchanged for an older one while we run.
            self._check_anchor()
        if empty and not due:
            return False
        with phase("seal"):
            touched, unsettled = self._with_care(self._seal_once)
        if unsettled or due:
            self._settle(touched)
        return True

    def _seal_once(self, careful: bool) -> tuple[dict[int, list[RowKey]], bool]:
        with self.database.snapshot() as tx:
            book = self._load(tx)
            sealer = self._sealer(book, HiddenRows(book), bulk=not careful)
            sealer.seal()
            book.save()
            return sealer.sealed_keys, self._unsettled(tx)

    def rested(self, own: SiteId) -> Standing | None:
        """Where we stand, if all is sealed; None while another process has yet to do it."""
        found = self._standing(own, sealed=False)
        return found[0] if found is not None else None

    def standing(self, peer: SiteId) -> Standing:
        # Mostly there is nothing to seal, and one look is enough.
        found = self._standing(peer, sealed=False)
        if found is None:
            self._renew_adopted()
            self.seal()
            found = self._standing(peer, sealed=True)
            assert found is not None, "sealed just now"
        standing, hlc, committed_lsn = found
        # The seq that this tells is offered with it.
        self._raise_anchor(standing.origin.incarnation, standing.latest.seq, 0, hlc, committed_lsn)
        return standing

    def _standing(self, peer: SiteId, *, sealed: bool) -> tuple[Standing, int, int] | None:
        """Where we stand, the clock and the lsn; None if there is something to seal."""
        with self.database.read() as tx:
            if not sealed and not (self._empty(tx) and not self._due(tx)):
                return None
            book = self._load(tx)
            if not sealed and self._anchor is not None and self._anchor.known_lsn > book.lsn:
                return None
            if not sealed and book.settings.get(RENEWAL_DUE):
                return None
            stage = tx.row(
                "SELECT incarnation, lsn FROM syncnode_stage "
                f"WHERE sender={tx.mark} AND claim IS NULL",
                (peer,),
            )
            known = book.known(peer)
            latest = book.frontier.entry(book.origin)
            standing = Standing(
                network=bytes.fromhex(book.settings["network"]),
                origin=book.origin,
                latest=latest,
                frontier=book.frontier,
                sums=book.told_sums,
                settled=not self._unsettled(tx) and not in_steps(tx),
                unshown=self._unshown(tx),
                kept=frozenset(book.kept),
                directions=self.words.of(tx, peer, book.frontier.scopes),
                peer_directions=self._peer_directions.get(peer, EVERY_WAY),
                peer=known,
                peer_frontier=self._told.get(peer),
                cursor=Cursor(Origin(peer, stage[0]), stage[1]) if stage else None,
                nonces=book.recent_nonces(book.origin),
                peer_nonces=book.recent_nonces_of(peer),
                wall_ms=self._wall_ms(),
            )
            return standing, book.hlc, book.lsn

    def chunk(self, base: Frontier, after: int, bytes_max: int = 0) -> Chunk:
        wanted = min(bytes_max or self._chunk_bytes_max, self._chunk_bytes_max)
        with phase("send"), self.database.snapshot() as tx:
            book = self._load(tx)
            hidden = HiddenRows(book)
            if in_steps(tx):
                raise StoreError("this site is between the steps of a catch-up", transient=True)
            sealer = self._sealer(book, hidden)
            if sealer.seal():
                book.save()
            reader = Reader(book, hidden, self.tables)
            rows = self._rows_next
            if self._rows_known:
                rows = max(1, rows * wanted // self._chunk_bytes_max)
            while True:
                chunk = reader.chunk(base, after, rows)
                encoded, size = _encoded(chunk)
                if size <= wanted:
                    break
                if rows <= 1 or chunk.row_count + len(chunk.records) <= 1:
                    if size > self._row_bytes_max:
                        self._leave_out(book, chunk, size)
                        chunk = replace(chunk, blocks=(), records=())
                        encoded, _ = _encoded(chunk)
                    break
                rows = max(1, min(rows, chunk.row_count) // 2)
            latest, hlc = book.frontier.entry(book.origin), book.hlc
            lsn = book.lsn
        self._tune(rows, chunk.row_count, len(encoded))
        self._raise_anchor(chunk.sender.incarnation, latest.seq, chunk.upto, hlc, lsn)
        return EncodedChunk(**_fields(chunk), encoded=encoded)

    def _leave_out(self, book: Sidecar, chunk: Chunk, size: int) -> None:
        """A row that no message can carry stays here and is named; all others go on.

        Peers will claim its dots without having them, so the row's next edit writes all of it
        anew (`Sealer`).
        """
        kept = book.too_large
        for block in chunk.blocks:
            for key in block.keys:
                kept[f"{block.table} {key.hex()}"] = size
        book.too_large = kept
        book.save()

    def receive(self, chunk: Chunk) -> Receipt:
        for attempt in range(ATTEMPTS_MAX):
            try:
                with phase("apply"):
                    receipt = self._with_care(lambda careful: self._receive(chunk, careful))
                break
            except StoreError as error:
                if not error.transient or attempt == ATTEMPTS_MAX - 1:
                    raise
            self._pause(ATTEMPT_PAUSE_S)
            self.seal()
        if receipt.taken and chunk.claim is not None and not receipt.applied:
            with phase("apply"):
                self.resume()
            receipt = Receipt(taken=True, applied=True)
        if receipt.applied:
            self.take_bundles()
        return receipt

    def heard(self, peer: SiteId, frontier: Frontier, directions: Directions) -> None:
        """Written down by `flush` later: it is a hint, and not worth a sync of the disk."""
        self.keep_scopes(frontier)
        self._note_unwanted(peer, frontier.scopes)
        self._told[peer] = frontier
        self._peer_directions[peer] = directions
        self._heard[peer] = (frontier, self._wall_ms())

    def keep_scopes(self, frontier: Frontier) -> None:
        """Keep rows of tables that a peer has and this database has not, if the settings say so."""
        unknown = lacking(self.plan, frontier.scopes - self._kept) if self._pass_on else ()
        if not unknown:
            return
        with self.database.write() as tx:
            book = self._load(tx)
            begin(book, lacking(self.plan, unknown))
            book.save()
        self._kept |= set(unknown)

    def _note_unwanted(self, peer: SiteId, scopes: frozenset[str]) -> None:
        """A peer has tables that are not to be here: it is told so, and told again after a restart,
        and then they are not pending for ever."""
        unknown = scopes.difference(self.plan.by_name, self._kept, self._unwanted.get(peer, ()))
        if not unknown:
            return
        with self.database.write() as tx:
            unwanted = unknown - self._load(tx).frontier.scopes
            if unwanted:
                note_unwanted(tx, peer, unwanted)
        self._unwanted[peer] = self._unwanted.get(peer, frozenset()) | unwanted

    def flush(self) -> None:
        """Write down what peers said they hold, for reports."""
        if self._heard:
            with self.database.write() as tx:
                self.put_heard(tx)

    @property
    def has_heard(self) -> bool:
        """There is something for `flush` to write."""
        return bool(self._heard)

    def put_heard(self, tx: Transaction) -> None:
        """`flush`, in a transaction that writes other things, too."""
        heard, self._heard = self._heard, {}
        m = tx.mark
        for peer, (frontier, wall_ms) in heard.items():
            said = directions_text(self._peer_directions[peer])
            tx.execute(
                f"UPDATE syncnode_peer SET frontier={m}, contact_ms={m}, directions={m} "
                f"WHERE site={m}",
                (encode_frontier(frontier), wall_ms, said, peer),
            )

    def _renew_adopted(self) -> None:
        """After stamps of another site were taken over, and before anything is said to anybody:
        what is left under the dots that these rows had is ours under a new incarnation, since a
        copy of this database may hold the rows under the old one."""
        with self.database.read() as tx:
            due = tx.value(f"SELECT value FROM syncnode_setting WHERE name='{RENEWAL_DUE}'")
        if due:
            self.renew(0, 0, why=None)

    def renew(self, incarnation: int, common_seq: int, *, why: str | None = PEER) -> None:
        """See the port. `why`: for people; None if it is nothing that they need to know."""
        with self.database.write() as tx:
            book = self._load(tx)
            before = book.origin.incarnation
            hidden = HiddenRows(book)
            begin_incarnation(
                *(book, hidden, self.tables, self._sealer(book, hidden), incarnation, common_seq),
                nonce=self._nonce,
                wall_ms=self._wall_ms(),
            )
            if why is not None:
                renewal = Renewal(self._wall_ms(), before, book.origin.incarnation, why)
                book.set(SETTING, with_one_more(book.settings, renewal))
            book.set(RENEWAL_DUE, "")
            book.save()
            seq, lsn, hlc = book.frontier.seq(book.origin), book.lsn, book.hlc
            if self._anchor is not None:
                book.set(HOME, home_text(tx, self.database, self._anchor.path))
                # Before the commit: a database behind its anchor only renews once more.
                self._anchor.begin(
                    site=book.settings["site"],
                    incarnation=book.origin.incarnation,
                    seq=seq,
                    lsn=lsn,
                    hlc=hlc,
                )
        self.renewals = read_renewals(book.settings)

    def resume(self) -> None:
        """Finish the steps of a catch-up that a crash broke off; nothing else begins before."""
        while True:
            with self.database.read() as tx:
                stage = tx.row(
                    "SELECT sender, incarnation, applied, claim, first_lsn FROM syncnode_stage "
                    "WHERE claim IS NOT NULL ORDER BY sender LIMIT 1"
                )
            if stage is None:
                return
            sender, _, applied, claim, first_lsn = stage
            site, goal = SiteId(bytes(sender)), decode_frontier(bytes(claim))
            place, first = applied, first_lsn
            self._with_care(
                lambda careful, site=site, place=place, goal=goal, first=first: self._take_step(  # type: ignore[misc]
                    site, place, goal, first, careful
                )
            )

    # Rows that another site told

    def offering(self, read: Callable[[Sidecar, HiddenRows], Result]) -> Result:
        """What `read` finds in a snapshot in which the journal is sealed; it may be told to others
        as what we hold.

        Raises:
            StoreError: Transient: this site is between the steps of a catch-up.
        """
        with self.database.snapshot() as tx:
            book = self._load(tx)
            hidden = HiddenRows(book)
            if in_steps(tx):
                raise StoreError("this site is between the steps of a catch-up", transient=True)
            if self._sealer(book, hidden).seal():
                book.save()
            found = read(book, hidden)
            book.save()
            origin, hlc, lsn = book.origin, book.hlc, book.lsn
            seq = book.frontier.seq(origin)
        self._raise_anchor(origin.incarnation, seq, lsn, hlc, lsn)
        return found

    def stays_back(self, peer: SiteId) -> Directions:
        """What of the link to a peer stays back by our rules."""
        with self.database.read() as tx:
            return self.words.of(tx, peer, self.plan.by_name)

    def filters_of(self, table: str) -> bool:
        """Whether rows of the table may be shown as something else."""
        return table in self._filters

    @property
    def latest_hlc(self) -> int:
        """The greatest reading that is no stamp of the future."""
        return latest_acceptable(self._wall_ms(), skew_ms_max=self._skew_ms_max)

    @property
    def passes_on(self) -> bool:
        """Whether rows of tables that are not here are kept."""
        return self._pass_on

    def put_on_stage(self, chunk: Chunk, *, new: bool) -> None:
        """Keep a part of a delta that came outside of any exchange; `new`: it is the first."""
        with self.database.write() as tx:
            book = self._load(tx)
            if new:
                self._drop_stage(tx, chunk.sender.site)
            waiting = tx.value(
                f"SELECT row_count FROM syncnode_stage WHERE sender={tx.mark}",
                (chunk.sender.site,),
            )
            stage_chunk(tx, chunk, waiting or 0, new=new, first_lsn=book.lsn + 1)

    # Taking a delta in

    def _with_care(self, step: Callable[[bool], Result]) -> Result:
        """Try the fast way; if some row is not as it seemed, the whole step again, with care."""
        try:
            return step(False)
        except NotPlain:
            return step(True)

    def _receive(self, chunk: Chunk, careful: bool) -> Receipt:
        sender = chunk.sender.site
        with self.database.write() as tx:
            book = self._load(tx)
            hidden = HiddenRows(book)
            sealer = self._sealer(book, hidden)
            sealer.seal(single_read=tx.dialect.name != "sqlite")
            stage = tx.row(
                "SELECT incarnation, lsn, row_count, scopes FROM syncnode_stage "
                f"WHERE sender={tx.mark}",
                (sender,),
            )
            if in_steps(tx):
                raise StoreError("this site is between the steps of a catch-up", transient=True)
            if stage is not None and stage[0] != chunk.sender.incarnation:
                stage = None
            reached = stage[1] if stage else 0
            # An earlier part that arrives late has an older claim than what is staged.
            if not book.frontier.includes(chunk.base) or chunk.after not in (0, reached):
                book.save()
                return Receipt(taken=False, applied=False)
            if stage is None or chunk.after == 0:
                self._drop_stage(tx, sender)
                stage = None
            elif stage[3] not in (None, scopes_text(chunk)):
                # A rule has changed: of a table that came in half way the parts before lack rows,
                # and the end would claim them.
                self._drop_stage(tx, sender)
                book.save()
                return Receipt(taken=False, applied=False)
            waiting = stage[2] if stage else 0
            if chunk.claim is not None and waiting + chunk.row_count <= self._apply_rows_max:
                before = book.lsn
                applier = self._applier(book, hidden, sealer, careful=careful)
                try:
                    applier.apply(with_staged(tx, sender, chunk), chunk.claim)
                    self._drop_stage(tx, sender)
                    joined = book.frontier.joined(chunk.claim)
                    book.advance(joined, self._wall_ms(), sender=sender)
                finally:
                    applier.finish()
                self._repeat_deletes(book, before)
                self._queue_hooks(book, before)
                book.save()
                return Receipt(taken=True, applied=True)
            stage_chunk(tx, chunk, waiting, new=stage is None, first_lsn=book.lsn + 1)
            book.save()
            return Receipt(taken=True, applied=False)

    def _take_step(
        self, sender: SiteId, applied: int, claim: Frontier, first_lsn: int, careful: bool
    ) -> None:
        """The next chunks of a catch-up that is too large for one transaction; or its end."""
        self.seal()
        with self.database.write() as tx:
            book = self._load(tx)
            hidden = HiddenRows(book)
            sealer = self._sealer(book, hidden)
            sealer.seal(single_read=tx.dialect.name != "sqlite")
            m = tx.mark
            left = positions_left(tx, sender, applied)
            tx.dialect.catching_up(tx, bool(left))
            if not left:
                book._first_lsn = min(first_lsn, book._first_lsn)
                came_from = exporter_of(tx, sender)
                book.advance(book.frontier.joined(claim), self._wall_ms(), sender=came_from)
                self._drop_stage(tx, sender)
            else:
                before = book.lsn
                applier = self._applier(book, hidden, sealer, careful=careful)
                taken: list[int] = []
                try:
                    applier.apply(self._step_of(tx, sender, left, taken), claim)
                finally:
                    applier.finish()
                self._queue_hooks(book, before)
                tx.execute(
                    f"UPDATE syncnode_stage SET applied={m} WHERE sender={m}", (taken[-1], sender)
                )
                self._repeat_deletes(book, before)
            book.save()

    def _step_of(
        self, tx: Transaction, sender: SiteId, left: Sequence[int], taken: list[int]
    ) -> Iterator[Chunk]:
        """The chunks of one step, each read when the one before it is applied; their positions
        come into `taken`.

        New rows dirty pages all over the index of their random keys, so a step costs by the size
        of what stands there, too, and few long steps are cheaper. The chunks of a catch-up are
        about equally long: the last one tells whether another fits.
        """
        rows = 0
        for position in left:
            chunk = staged(tx, sender, position)
            taken.append(position)
            rows += chunk.row_count
            yield chunk
            if rows + chunk.row_count > self._apply_rows_max:
                return

    def _drop_stage(self, tx: Transaction, sender: SiteId) -> None:
        drop_bundle(tx, sender)  # or what an exchange has staged: no site has the id of a bundle

    # Bundles

    def take_bundles(self) -> int:
        """Take the bundles that are whole and whose base is covered by now; how many it was.

        What is here already by another way is let go of, whole or not.
        """
        with self.database.read() as tx:
            if not any_bundle(tx):
                return 0
        taken = found = self._take_each()
        while found:  # one may be what another waits for
            found = self._take_each()
            taken += found
        return taken

    def _take_each(self) -> int:
        with self.database.read() as tx:
            waiting = [bundle.id for bundle in read_bundles(tx)]
        return sum(map(self._take_bundle, waiting))

    def _take_bundle(self, name: bytes) -> bool:
        """Whether it was taken now. Where rows are locked for long it is left for another time:
        nothing is lost, and whoever brought something else has it."""
        done = False
        for attempt in range(ATTEMPTS_MAX):
            try:
                with phase("apply"):
                    done |= self._with_care(lambda careful: self._take_whole(name, careful))
                    self.resume()
                break
            except StoreError as error:
                if not error.transient:
                    raise
            if attempt < ATTEMPTS_MAX - 1:
                self._pause(ATTEMPT_PAUSE_S)
                self.seal()
        return done

    def _take_whole(self, name: bytes, careful: bool) -> bool:
        with self.database.write() as tx:
            book = self._load(tx)
            bundle = find_bundle(tx, name)  # in this transaction: another process may have it
            if bundle is None or in_steps(tx):
                return False
            what = fate(book.frontier, bundle.base, bundle.claim, whole=bundle.whole)
            if what is Fate.NOT_NEEDED:
                drop_bundle(tx, bundle.id)
            if what is not Fate.TAKE:
                return False
            if sum(bundle.letter.rows) > self._apply_rows_max:
                begin_steps(tx, bundle, encode_frontier(bundle.claim), book.lsn + 1)
                return True
            hidden, before = HiddenRows(book), book.lsn
            sealer = self._sealer(book, hidden)
            sealer.seal(single_read=tx.dialect.name != "sqlite")
            applier = self._applier(book, hidden, sealer, careful=careful)
            stage = SiteId(bundle.id)
            try:
                parts = (staged(tx, stage, one) for one in list(positions(tx, bundle.id)))
                applier.apply(parts, bundle.claim)
                drop_bundle(tx, bundle.id)
                joined = book.frontier.joined(bundle.claim)
                book.advance(joined, self._wall_ms(), sender=bundle.exporter)
            finally:
                applier.finish()
            self._queue_hooks(book, before)
            book.save()
            return True

    # Coming to rest after local changes

    def _unsettled(self, tx: Transaction) -> bool:
        """Rows are parked, held, altered, merged or kept aside."""
        return (
            tx.value(
                "SELECT 1 FROM syncnode_row "
                "WHERE place IN ('parked', 'held', 'altered', 'merged', 'aside') LIMIT 1"
            )
            is not None
        )

    def _unshown(self, tx: Transaction) -> int:
        """How many rows are parked, and not dismissed, or kept aside."""
        count = f"SELECT count(*) FROM syncnode_row r WHERE r.place='aside' OR {OPEN}"
        return int(tx.value(count))

    def _empty(self, tx: Transaction) -> bool:
        """The application has committed nothing that is not sealed."""
        return tx.value("SELECT 1 FROM syncnode_journal LIMIT 1") is None

    def _due(self, tx: Transaction) -> bool:
        bound = self._wall_ms() + self._skew_ms_max
        return (
            tx.value(
                f"SELECT 1 FROM syncnode_row WHERE place='aside' AND since_ms<={tx.mark} UNION ALL "
                f"SELECT 1 FROM syncnode_setting WHERE name='{DUE}' AND value<>'' LIMIT 1",
                (bound,),
            )
            is not None
        )

    def _settle(self, touched: Mapping[int, list[RowKey]]) -> None:
        with phase("apply"), self.database.write() as tx:
            book = self._load(tx)
            hidden = HiddenRows(book)
            sealer = self._sealer(book, hidden)
            sealer.seal(single_read=tx.dialect.name != "sqlite")
            before = book.lsn
            applier = self._applier(book, hidden, sealer)
            try:
                applier.take_due()
                applier.settle(touched)
            finally:
                applier.finish()
            self._queue_hooks(book, before)
            self._repeat_deletes(book, before)
            book.save()

    def _repeat_deletes(self, book: Sidecar, first_lsn: int) -> None:
        if CLAIMED in book.settings:
            sealer, wall_ms = self._sealer(book, HiddenRows(book)), self._wall_ms()
            tables = self.tables.values()
            repeat_deletes(book, sealer, tables, first_lsn, wall_ms=wall_ms, nonce=self._nonce)

    def _queue_hooks(self, book: Sidecar, first_lsn: int) -> None:
        if self._hooks:
            note_applied(book, self._hooks, self.tables, first_lsn, self._wall_ms())

    # What people decide

    def take(
        self, conflict: Conflict, *, force: bool, and_then: Callable[[Sidecar], object]
    ) -> str | None:
        """Write the value that lost, as the application would; `and_then` is done in the same
        transaction. Returns what else should be known, in a sentence.

        Raises:
            NotTaken: It cannot be taken, and nothing was changed.
        """
        self.seal()
        with self.database.write() as tx:
            book = self._load(tx)
            hidden = HiddenRows(book)
            sealer = self._sealer(book, hidden)
            sealer.seal(single_read=tx.dialect.name != "sqlite")
            taking = Taking(book, hidden, sealer, self.tables, self._referrers)
            note = taking.take(conflict, force=force)
            and_then(book)
            book.save()
        self.seal()
        return note

    def retry(self, rows: Mapping[int, list[RowKey]]) -> None:
        """Try once more to write these parked rows, by number of their table."""
        self.seal()
        self._settle(rows)

    def write_again(self, rewrite: Callable[[Rewriting], object], *, repair: bool = True) -> None:
        """Changes of our own that no trigger saw, as one changeset that is marked as a `repair`:
        `rewrite` gives rows their new states, or seals what stands in the tables."""
        self.seal()
        with self.database.write() as tx:
            book = self._load(tx)
            hidden = HiddenRows(book)
            sealer = self._sealer(book, hidden)
            sealer.seal(single_read=tx.dialect.name != "sqlite")
            applier = self._applier(book, hidden, sealer)
            dot, wall_ms, before = book.open_changeset(self._nonce()), self._wall_ms(), book.lsn
            try:
                rewrite(Rewriting(applier, sealer, book, hidden, dot, wall_ms))
                applier.settle(sealer.sealed_keys)
            finally:
                applier.finish()
            book.close_changeset(wall_ms)
            self._queue_hooks(book, before)
            if repair:
                book.set(REPAIRS, with_repair(book.settings, dot))
            book.save()

    # The anchor

    def _check_anchor(self) -> None:
        """A database behind its anchor, or with none of this place, was restored or cloned."""
        anchor = self._anchor
        if anchor is None:
            return
        # The anchor first: a node that works beside us raises it after each of its commits, and
        # read in the other order a newer anchor would be held against an older database.
        held = anchor.read()
        with self.database.read() as tx:
            book = self._load(tx)
            seq = book.frontier.seq(book.origin)
        why = _why_behind(anchor, held, book, seq)
        if why is not None:
            highest = max(book.origin.incarnation, held.incarnation if held else 0)
            self.renew(highest + 1, seq, why=why)
            self.restored = True

    restored = False
    renewals: Sequence[Renewal] = ()
    """All that are kept, once this process has made one."""

    def _raise_anchor(
        self, incarnation: int, seq: int, lsn: int, hlc: int, committed_lsn: int
    ) -> None:
        if self._anchor is not None:
            self._anchor.raise_to(
                incarnation=incarnation, seq=seq, lsn=lsn, hlc=hlc, committed_lsn=committed_lsn
            )

    # Inside

    def _load(self, tx: Transaction) -> Sidecar:
        book = Sidecar.load(tx, self.plan)
        if book.settings.get(EDITION) == self._edition:
            return book
        self._take_plan(tx)
        self._told.clear()  # scopes of which we said nothing; what peers know of ours is old, too
        return Sidecar.load(tx, self.plan)

    def _sealer(self, book: Sidecar, hidden: HiddenRows, *, bulk: bool = False) -> Sealer:
        return Sealer(
            book,
            hidden,
            self.tables,
            Origins(book.origin_of, decode_cells),
            wall_ms=self._wall_ms(),
            nonce=self._nonce(),
            bulk=bulk,
        )

    def _applier(
        self, book: Sidecar, hidden: HiddenRows, sealer: Sealer, *, careful: bool = True
    ) -> Applier:
        reference_ms = max(self._wall_ms(), milliseconds(book.hlc))
        return Applier(
            book,
            hidden,
            self.tables,
            Origins(book.origin_of, decode_cells),
            sealer,
            self._referrers,
            wall_ms=self._wall_ms(),
            nonce=self._nonce(),
            limit=latest_acceptable(reference_ms, skew_ms_max=self._skew_ms_max),
            skew_ms_max=self._skew_ms_max,
            careful=careful,
            filters=self._filters,
        )

    def _tune(self, tried: int, rows: int, encoded: int) -> None:
        """Aim the next chunk somewhat below what a chunk may be: rows differ, and a chunk that
        came out too large is read and encoded twice."""
        if rows >= tried // 2 and encoded:
            goal = int(rows * self._chunk_bytes_max * 0.6 / encoded)
            self._rows_next = max(1, min(goal, ROWS_MAX, 4 * max(rows, self._rows_next)))
            self._rows_known = True


def _why_behind(anchor: Anchor, held: Anchored | None, book: Sidecar, seq: int) -> str | None:
    """Why the database is not the one that its anchor speaks of; None if it is."""
    if held is None:
        return UNANCHORED
    if not anchor.is_ours(held) or held.site != book.settings["site"]:
        return MOVED
    if held.retired:
        return RETIRED
    ahead = (held.incarnation, held.seq) > (book.origin.incarnation, seq) or held.lsn > book.lsn
    return OLDER if ahead else None


def _encoded(chunk: Chunk) -> tuple[bytes, int]:
    """A chunk's bytes and their number; no bytes and a number beyond all limits for a chunk
    that no limits allow."""
    try:
        encoded = encode_chunk(chunk)
    except LimitExceededError:
        return b"", sys.maxsize
    return encoded, len(encoded)


def _fields(chunk: Chunk) -> dict[str, Any]:
    return {
        "sender": chunk.sender,
        "base": chunk.base,
        "after": chunk.after,
        "upto": chunk.upto,
        "records": chunk.records,
        "blocks": chunk.blocks,
        "claim": chunk.claim,
        "total": chunk.total,
    }


__all__ = ["PARKED", "DatabaseReplica", "Dot", "EncodedChunk", "Mode"]
