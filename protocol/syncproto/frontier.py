"""Version vectors: which changesets a site has seen, table by table, and what another lacks.

Source: Parker et al., "Detection of Mutual Inconsistency in Distributed Systems", 1983. An
entry also holds the nonce that its changeset drew when it was sealed, so that one sequence
number used twice (a restored or cloned database) shows when two sites compare (rule A11).

A frontier is kept per scope, so that rules which keep a table from a peer stay exact: a table
that a peer does not take does not advance there. Today a scope is a table's name; tables with
equal vectors share one vector in memory, on disk and on the wire.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from syncproto.identity import Origin
from syncproto.row import Stamp

DIGEST_BYTES = 8  # an accident in 2^64; sums (rule B11) watch behind it


class Entry(NamedTuple):
    """The highest changeset of an origin that is claimed, and that changeset's nonce."""

    seq: int
    nonce: int


@dataclass(frozen=True, slots=True)
class VersionVector:
    """For each origin everything up to `seq` that is still live has been seen."""

    entries: Mapping[Origin, Entry]

    def seq(self, origin: Origin) -> int:
        entry = self.entries.get(origin)
        return entry.seq if entry else 0

    def covers(self, stamp: Stamp) -> bool:
        entry = self.entries.get(stamp.origin)
        return entry is not None and entry.seq >= stamp.seq

    def includes(self, other: "VersionVector") -> bool:
        return all(self.seq(origin) >= entry.seq for origin, entry in other.entries.items())

    def joined(self, other: "VersionVector") -> "VersionVector":
        if not other.entries or self.entries == other.entries:
            return self
        joined = dict(self.entries)
        for origin, entry in other.entries.items():
            mine = joined.get(origin)
            if mine is None or mine.seq < entry.seq:
                joined[origin] = entry
        return VersionVector(joined)

    def advanced(self, origin: Origin, entry: Entry) -> "VersionVector":
        return self.joined(VersionVector({origin: entry}))

    def forks(self, other: "VersionVector") -> Iterator[Origin]:
        """Origins whose same seq bears two nonces."""
        for origin, entry in other.entries.items():
            mine = self.entries.get(origin)
            if mine is not None and mine.seq == entry.seq and mine.nonce != entry.nonce:
                yield origin


NOTHING = VersionVector({})


@dataclass(frozen=True, slots=True)
class Frontier:
    """A version vector for each scope that a site keeps."""

    vectors: Mapping[str, VersionVector]

    def vector(self, scope: str) -> VersionVector:
        return self.vectors.get(scope, NOTHING)

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(self.vectors)

    def within(self, scopes: Iterable[str]) -> "Frontier":
        """The part that speaks of `scopes`; a scope that this site lacks stays away."""
        return Frontier({s: self.vectors[s] for s in scopes if s in self.vectors})

    def includes(self, other: "Frontier") -> bool:
        """Whether all that `other` claims is claimed here, of the scopes that both keep."""
        return all(
            self.vectors[scope].includes(vector)
            for scope, vector in other.vectors.items()
            if scope in self.vectors
        )

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
        hasher = hashlib.sha256()
        for scopes, vector in self.groups():
            hasher.update(len(scopes).to_bytes(4, "big"))
            for scope in scopes:
                encoded = scope.encode()
                hasher.update(len(encoded).to_bytes(4, "big") + encoded)
            hasher.update(len(vector.entries).to_bytes(4, "big"))
            for origin in sorted(vector.entries):
                entry = vector.entries[origin]
                hasher.update(origin.site)
                for number in (origin.incarnation, entry.seq, entry.nonce):
                    hasher.update(number.to_bytes(8, "big"))
        return hasher.digest()[:DIGEST_BYTES]

    def origins(self) -> set[Origin]:
        return {origin for vector in self.vectors.values() for origin in vector.entries}

    def seq(self, origin: Origin) -> int:
        """The highest seq of `origin` that any scope claims."""
        return max((vector.seq(origin) for vector in self.vectors.values()), default=0)

    def entry(self, origin: Origin) -> Entry:
        """The highest entry of `origin` in any scope; (0, 0) where there is none."""
        return max(
            (vector.entries.get(origin, Entry(0, 0)) for vector in self.vectors.values()),
            default=Entry(0, 0),
        )


UNKNOWN = Frontier({})
