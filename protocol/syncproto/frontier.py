"""Version vectors: which changesets a site has seen, table by table, and what another lacks.

Source: Parker et al., "Detection of Mutual Inconsistency in Distributed Systems", 1983. An
entry also holds the nonce that its changeset drew when it was sealed, so that one sequence
number used twice (a restored or cloned database) shows when two sites compare (rule A11).

A frontier is kept per scope, so that rules which keep a table from a peer stay exact: a table
that a peer does not take does not advance there. Today a scope is a table's name; tables with
equal vectors share one vector in memory, on disk and on the wire.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from syncproto.identity import Origin
from syncproto.row import Stamp

DIGEST_BYTES = 8  # an accident in 2^64; sums (rule B11) watch behind it
TOTAL_MASK = (1 << 64) - 1
_ENTRY = struct.Struct(">QQQ")  # incarnation, seq, nonce


class Entry(NamedTuple):
    """The highest changeset of an origin that is claimed, and that changeset's nonce."""

    seq: int
    nonce: int


NO_ENTRY = Entry(0, 0)


def entry_hash(origin: Origin, entry: Entry) -> int:
    """64 bits that stand for one entry of a vector."""
    hasher = hashlib.blake2b(origin.site, digest_size=8)
    hasher.update(_ENTRY.pack(origin.incarnation, *entry))
    return int.from_bytes(hasher.digest(), "big")


@dataclass(frozen=True, slots=True)
class VersionVector:
    """For each origin everything up to `seq` that is still live has been seen.

    Vectors of a large network have thousands of entries, and a site asks the same questions of
    the same vectors again and again: `is` comes before every comparison, and what a vector adds
    to digests is kept, and carried on to the vectors that are made from it.
    """

    entries: Mapping[Origin, Entry]
    _total: list[int] = field(default_factory=list, init=False, compare=False, repr=False)

    def seq(self, origin: Origin) -> int:
        entry = self.entries.get(origin)
        return entry.seq if entry else 0

    def covers(self, stamp: Stamp) -> bool:
        entry = self.entries.get(stamp.origin)
        return entry is not None and entry.seq >= stamp.seq

    def includes(self, other: "VersionVector") -> bool:
        return self.entries is other.entries or not any(self._news(other))

    def joined(self, other: "VersionVector") -> "VersionVector":
        if self.entries is other.entries:
            return self
        news = dict(self._news(other))
        if not news:
            return self
        result = VersionVector({**self.entries, **news})
        if self._total:
            total = self._total[0]
            for origin, entry in news.items():
                mine = self.entries.get(origin)
                total += entry_hash(origin, entry) - (entry_hash(origin, mine) if mine else 0)
            result._total.append(total & TOTAL_MASK)
        return result

    def news(self, other: "VersionVector") -> Iterator[tuple[Origin, Entry]]:
        """The entries of `other` that are above ours."""
        return iter(()) if self.entries is other.entries else self._news(other)

    def _news(self, other: "VersionVector") -> Iterator[tuple[Origin, Entry]]:
        known = self.entries.get
        for origin, entry in other.entries.items():
            mine = known(origin)
            if mine is not entry and (mine is None or mine[0] < entry[0]):
                yield origin, entry

    def total(self) -> int:
        """The sum of the hashes of all entries, modulo 2**64: what the digest says of them."""
        if not self._total:
            total = sum(entry_hash(origin, entry) for origin, entry in self.entries.items())
            self._total.append(total & TOTAL_MASK)
        return self._total[0]

    def advanced(self, origin: Origin, entry: Entry) -> "VersionVector":
        return self.joined(VersionVector({origin: entry}))

    def forks(self, other: "VersionVector") -> Iterator[Origin]:
        """Origins whose same seq bears two nonces."""
        if self.entries is other.entries:
            return
        known = self.entries.get
        for origin, entry in other.entries.items():
            mine = known(origin)
            if mine is not entry and mine is not None and mine[0] == entry[0] and mine != entry:
                yield origin


NOTHING = VersionVector({})


@dataclass(frozen=True, slots=True)
class Frontier:
    """A version vector for each scope that a site keeps."""

    vectors: Mapping[str, VersionVector]
    _digest: list[bytes] = field(default_factory=list, init=False, compare=False, repr=False)
    _distinct: list[VersionVector] = field(
        default_factory=list, init=False, compare=False, repr=False
    )

    def vector(self, scope: str) -> VersionVector:
        return self.vectors.get(scope, NOTHING)

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(self.vectors)

    def within(self, scopes: Iterable[str]) -> "Frontier":
        """The part that speaks of `scopes`; a scope that this site lacks stays away."""
        scopes = frozenset(scopes)
        if self.vectors.keys() <= scopes:
            return self
        return Frontier({s: vector for s, vector in self.vectors.items() if s in scopes})

    def without(self, scopes: frozenset[str]) -> "Frontier":
        """The part that does not speak of `scopes`."""
        if not scopes:
            return self
        left = self.vectors.keys() - scopes
        return self if len(left) == len(self.vectors) else self.within(left)

    def includes(self, other: "Frontier") -> bool:
        """Whether all that `other` claims is claimed here, of the scopes that both keep."""
        if self is other:
            return True
        return all(mine.includes(theirs) for mine, theirs in self.pairs(other))

    def pairs(self, other: "Frontier") -> Iterator[tuple[VersionVector, VersionVector]]:
        """Each two vectors that meet in a scope which both keep; vectors shared by several
        scopes meet once."""
        ones, others = self.distinct(), other.distinct()
        if len(ones) == len(others) == 1 and not self.vectors.keys().isdisjoint(other.vectors):
            yield ones[0], others[0]
            return
        found: set[tuple[int, int]] = set()
        for scope, theirs in other.vectors.items():
            mine = self.vectors.get(scope)
            if mine is not None and (pair := (id(mine), id(theirs))) not in found:
                found.add(pair)
                yield mine, theirs

    def joined(self, other: "Frontier") -> "Frontier":
        """The greater of both in each scope kept here."""
        joined: dict[str, VersionVector] = {}
        shared: dict[tuple[int, int], VersionVector] = {}  # equal vectors stay one object
        for scope, vector in self.vectors.items():
            theirs = other.vectors.get(scope, NOTHING)
            pair = (id(vector), id(theirs))
            if pair not in shared:
                shared[pair] = vector.joined(theirs)
            joined[scope] = shared[pair]
        return Frontier(joined)

    def advanced(self, origin: Origin, entry: Entry) -> "Frontier":
        """After a changeset of `origin` in every scope."""
        step = VersionVector({origin: entry})
        return self.joined(Frontier(dict.fromkeys(self.vectors, step)))

    def groups(self) -> list[tuple[tuple[str, ...], VersionVector]]:
        """Scopes that have equal vectors, together, in the order of their names."""
        found: list[tuple[list[str], VersionVector]] = []
        for scope in sorted(self.vectors):
            vector = self.vectors[scope]
            for scopes, known in found:
                if known is vector or known.entries == vector.entries:
                    scopes.append(scope)
                    break
            else:
                found.append(([scope], vector))
        return [(tuple(scopes), vector) for scopes, vector in found]

    def digest(self) -> bytes:
        """`DIGEST_BYTES` that two sites share exactly when their frontiers are equal."""
        if not self._digest:
            hasher = hashlib.sha256()
            for scopes, vector in self.groups():
                hasher.update(len(scopes).to_bytes(4, "big"))
                for scope in scopes:
                    encoded = scope.encode()
                    hasher.update(len(encoded).to_bytes(4, "big") + encoded)
                hasher.update(len(vector.entries).to_bytes(4, "big"))
                hasher.update(vector.total().to_bytes(8, "big"))
            self._digest.append(hasher.digest()[:DIGEST_BYTES])
        return self._digest[0]

    def distinct(self) -> Sequence[VersionVector]:
        """The vectors, those that several scopes share once."""
        if not self._distinct:
            self._distinct.extend({id(vector): vector for vector in self.vectors.values()}.values())
        return self._distinct

    def origins(self) -> set[Origin]:
        return {origin for vector in self.distinct() for origin in vector.entries}

    def seq(self, origin: Origin) -> int:
        """The highest seq of `origin` that any scope claims."""
        return self.entry(origin).seq

    def entry(self, origin: Origin) -> Entry:
        """The highest entry of `origin` in any scope; (0, 0) where there is none."""
        found = NO_ENTRY
        for vector in self.distinct():
            entry = vector.entries.get(origin)
            if entry is not None and entry > found:
                found = entry
        return found


UNKNOWN = Frontier({})
