"""What the sidecar keeps of bundles: those that came and wait, and the last that were made.

The chunks of one that came stand in `syncnode_staged` under the bundle's own id, so that an
exchange with its exporter meanwhile does not touch them. They are in the order of the parts,
whatever the order in which these came.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from syncnode.store.database import Transaction
from syncproto.bundle import missing
from syncproto.bundle_rules import Span, in_line
from syncproto.frontier import Frontier
from syncproto.identity import SiteId
from syncproto.letter import Letter, decode_letter

PIECES_MAX = 1_000_000  # of one part; the place of a piece is this times its part, plus its number


@dataclass(frozen=True)
class Bundle:
    """One that came, and is not in the tables yet.

    Attributes:
        exporter: Who made it.
        name: What the exporter calls itself.
        made_ms: When, by the exporter's clock.
        scopes: The tables that are taken from it; decided when its first part came.
        spans: The lsn ranges of the parts that are here, by number.
    """

    id: bytes
    exporter: SiteId
    name: str
    made_ms: int
    encoded_letter: bytes
    scopes: frozenset[str]
    spans: Mapping[int, Span]

    @cached_property
    def letter(self) -> Letter:
        return decode_letter(self.encoded_letter)

    @property
    def base(self) -> Frontier:
        return self.letter.base.within(self.scopes)

    @property
    def claim(self) -> Frontier:
        return self.letter.claim.within(self.scopes)

    @property
    def missing(self) -> list[int]:
        """The parts that are not here."""
        return missing([*self.spans], self.letter.parts)

    @property
    def whole(self) -> bool:
        return not self.missing and in_line(self.spans)


def any_bundle(tx: Transaction) -> bool:
    """Whether one waits."""
    return tx.value("SELECT 1 FROM syncnode_bundle WHERE readers IS NULL LIMIT 1") is not None


def read_bundles(tx: Transaction) -> list[Bundle]:
    """Those that wait, in the order in which they were made."""
    return [
        Bundle(
            id=bytes(name),
            exporter=SiteId(bytes(exporter)),
            name=called,
            made_ms=made_ms,
            encoded_letter=bytes(letter),
            scopes=frozenset(json.loads(scopes)),
            spans={int(part): (span[0], span[1]) for part, span in json.loads(spans).items()},
        )
        for name, exporter, called, made_ms, letter, scopes, spans in tx.rows(
            "SELECT id, exporter, name, made_ms, letter, scopes, spans FROM syncnode_bundle "
            "WHERE readers IS NULL ORDER BY made_ms, id"
        )
    ]


def find_bundle(tx: Transaction, bundle: bytes) -> Bundle | None:
    return next((one for one in read_bundles(tx) if one.id == bundle), None)


def begin_bundle(tx: Transaction, bundle: Bundle) -> None:
    """Write down one of which the first part comes."""
    m = tx.mark
    tx.execute(
        "INSERT INTO syncnode_bundle (id, exporter, name, made_ms, letter, scopes, spans, readers) "
        f"VALUES ({m}, {m}, {m}, {m}, {m}, {m}, {m}, NULL)",
        (
            bundle.id,
            bundle.exporter,
            bundle.name,
            bundle.made_ms,
            bundle.encoded_letter,
            json.dumps(sorted(bundle.scopes)),
            "{}",
        ),
    )


def put_piece(tx: Transaction, bundle: bytes, part: int, number: int, body: bytes) -> None:
    """Stage a chunk; again if it was staged before."""
    m, place = tx.mark, (bundle, part * PIECES_MAX + number)
    tx.execute(f"DELETE FROM syncnode_staged WHERE sender={m} AND position={m}", place)
    tx.execute(
        f"INSERT INTO syncnode_staged (sender, position, body) VALUES ({m}, {m}, {m})",
        (*place, body),
    )


def end_part(tx: Transaction, bundle: Bundle, part: int, pieces: int, span: Span) -> bool:
    """The part is here with all its pieces; False if they are not, since another process took
    them away."""
    m, first = tx.mark, part * PIECES_MAX
    staged = tx.value(
        f"SELECT count(*) FROM syncnode_staged WHERE sender={m} AND position>={m} AND position<{m}",
        (bundle.id, first, first + PIECES_MAX),
    )
    if staged != pieces:
        return False
    spans = {str(number): list(one) for number, one in {**bundle.spans, part: span}.items()}
    tx.execute(f"UPDATE syncnode_bundle SET spans={m} WHERE id={m}", (json.dumps(spans), bundle.id))
    return True


def drop_bundle(tx: Transaction, bundle: bytes) -> None:
    """Forget one that came, with what is staged of it."""
    for table, column in (("bundle", "id"), ("staged", "sender"), ("stage", "sender")):
        tx.execute(f"DELETE FROM syncnode_{table} WHERE {column}={tx.mark}", (bundle,))


def is_begun(tx: Transaction, bundle: bytes) -> bool:
    """Whether it is being applied in steps."""
    sql = f"SELECT 1 FROM syncnode_stage WHERE sender={tx.mark}"
    return tx.value(sql, (bundle,)) is not None


def drop_bundles_of(tx: Transaction, exporter: SiteId) -> None:
    """Forget those of one site, but for one that is being applied in steps."""
    m = tx.mark
    for (bundle,) in tx.rows(
        f"SELECT id FROM syncnode_bundle WHERE readers IS NULL AND exporter={m} AND id NOT IN "
        "(SELECT sender FROM syncnode_stage)",
        (exporter,),
    ):
        drop_bundle(tx, bytes(bundle))


def exporter_of(tx: Transaction, sender: SiteId) -> SiteId:
    """Who made what is staged under this id; the sender itself if that is no bundle's."""
    found = tx.value(f"SELECT exporter FROM syncnode_bundle WHERE id={tx.mark}", (sender,))
    return sender if found is None else SiteId(bytes(found))


def positions(tx: Transaction, bundle: bytes) -> Iterator[int]:
    """Where its pieces stand, in order."""
    sql = f"SELECT position FROM syncnode_staged WHERE sender={tx.mark} ORDER BY position"
    for (position,) in tx.rows(sql, (bundle,)):
        yield position


def begin_steps(tx: Transaction, bundle: Bundle, claim: bytes, first_lsn: int) -> None:
    """From now on it is applied chunk by chunk, and nothing else begins before its end."""
    m = tx.mark
    for number, position in enumerate(list(positions(tx, bundle.id)), start=1):
        tx.execute(
            f"UPDATE syncnode_staged SET position={m} WHERE sender={m} AND position={m}",
            (number, bundle.id, position),
        )
    tx.execute(
        "INSERT INTO syncnode_stage (sender, incarnation, lsn, claim, applied, first_lsn, "
        f"row_count) VALUES ({m}, {m}, 0, {m}, 0, {m}, {m})",
        (bundle.id, bundle.letter.origin.incarnation, claim, first_lsn, sum(bundle.letter.rows)),
    )


# --- Those that were made here -------------------------------------------------------------


def note_made(
    tx: Transaction, bundle: bytes, own: SiteId, name: str, made_ms: int, letter: bytes, to: str
) -> None:
    """Remember the last bundle that was made for these readers."""
    m = tx.mark
    tx.execute(f"DELETE FROM syncnode_bundle WHERE readers={m}", (to,))
    tx.execute(
        "INSERT INTO syncnode_bundle (id, exporter, name, made_ms, letter, scopes, spans, readers) "
        f"VALUES ({m}, {m}, {m}, {m}, {m}, '', '', {m})",
        (bundle, own, name, made_ms, letter, to),
    )


def last_made(tx: Transaction, to: str) -> tuple[int, Letter] | None:
    """When that was, and its letter."""
    sql = f"SELECT made_ms, letter FROM syncnode_bundle WHERE readers={tx.mark}"
    found = tx.row(sql, (to,))
    return None if found is None else (found[0], decode_letter(bytes(found[1])))
