"""The directory of a frame: origins and names once, everything else by their numbers.

Frontiers and stamps are made of origins and names, so they are written and read here.
"""

from collections.abc import Hashable, Iterable, Iterator
from itertools import repeat
from typing import Any, TypeVar

from syncproto.clock import HLC_MAX
from syncproto.errors import LimitExceededError, MalformedMessageError
from syncproto.frames import INT64_MAX, Pieces, as_int, as_list, as_name, item
from syncproto.frontier import Entry, Frontier, VersionVector
from syncproto.identity import Origin, SiteId
from syncproto.integers import ints, packed_ints, split_keys
from syncproto.limits import LIMITS, Limits, within
from syncproto.row import Stamp, stamp_of

NAMES_AN_ITEM = 256  # 256 names of 200 characters of four bytes fit an item

Named = TypeVar("Named", bound=Hashable)
Held = TypeVar("Held")


class Numbering(dict[Named, int]):
    """Numbers from 0 in the order of first use."""

    def __missing__(self, named: Named) -> int:
        self[named] = number = len(self)
        return number


class Directory:
    """The origins and names of a frame; everything else says their numbers."""

    def __init__(self) -> None:
        self.origins: Numbering[Origin] = Numbering()
        self.names: Numbering[str] = Numbering()
        self._entries = 0

    def pieces(self) -> Iterator[bytes]:
        within(len(self.origins), LIMITS.origins, "origins")
        within(len(self.names), LIMITS.names, "names")
        names = list(self.names)
        for name in names:
            if len(name) > LIMITS.name_length:
                raise LimitExceededError(
                    f"{name[:40]!r}… has {len(name)} characters: rename it, a table or column "
                    f"may have {LIMITS.name_length}"
                )
        sites = b"".join(origin.site for origin in self.origins)
        incarnations = packed_ints([origin.incarnation for origin in self.origins])
        yield item([len(self.origins), sites, incarnations, len(names)])
        for start in range(0, len(names), NAMES_AN_ITEM):
            yield item(names[start : start + NAMES_AN_ITEM])

    def frontier(self, frontier: Frontier) -> Iterator[bytes]:
        """The pieces of a frontier: scopes that share one vector say it once."""
        within(len(frontier.vectors), LIMITS.scopes, "scopes")
        groups = frontier.groups()
        yield item([len(groups)])
        for scopes, vector in groups:
            self._entries += len(vector.entries)
            within(self._entries, LIMITS.frontier_entries, "entries of frontiers")
            yield item(
                [
                    len(scopes),
                    packed_ints([self.names[scope] for scope in scopes]),
                    len(vector.entries),
                    packed_ints([self.origins[origin] for origin in vector.entries]),
                    packed_ints([entry.seq for entry in vector.entries.values()]),
                    packed_ints([entry.nonce for entry in vector.entries.values()]),
                ]
            )

    def listed(self, names: Iterable[str]) -> list[Any]:
        """Different names, for `Names.listed`."""
        numbers = [self.names[name] for name in sorted(names)]
        within(len(numbers), LIMITS.scopes, "tables")
        return [len(numbers), packed_ints(numbers)]

    def stamps(self, stamps: Iterable[Stamp]) -> list[Any]:
        """Distinct stamps, for `Names.stamps`."""
        listed = list(stamps)
        return [
            len(listed),
            packed_ints([stamp.hlc for stamp in listed]),
            packed_ints([self.origins[stamp.origin] for stamp in listed]),
            packed_ints([stamp.seq for stamp in listed]),
        ]


class Names:
    """The inverse of `Directory`; with what it takes to read what refers to it."""

    def __init__(self, pieces: Pieces) -> None:
        limits = pieces.limits
        origin_count, sites, incarnations, name_count = as_list(pieces.item(), range(4, 5))
        within(as_int(origin_count, 0, INT64_MAX), limits.origins, "origins")
        within(as_int(name_count, 0, INT64_MAX), limits.names, "names")
        numbers = ints(incarnations, origin_count, 0)
        sites = split_keys(sites, origin_count)
        self._origins = [Origin(SiteId(site), n) for site, n in zip(sites, numbers, strict=True)]
        self._names: list[str] = []
        while len(self._names) < name_count:
            left = min(name_count - len(self._names), NAMES_AN_ITEM)
            part = as_list(pieces.item(), range(left, left + 1))
            self._names += [as_name(name, limits.name_length) for name in part]
        if len(set(self._names)) != name_count or len(set(self._origins)) != origin_count:
            raise MalformedMessageError("a name or an origin is listed twice")
        self._entries_left = limits.frontier_entries

    def origin(self, number: int) -> Origin:
        if not 0 <= number < len(self._origins):
            raise MalformedMessageError(f"there is no origin {number}")
        return self._origins[number]

    def name(self, number: int) -> str:
        if not 0 <= number < len(self._names):
            raise MalformedMessageError(f"there is no name {number}")
        return self._names[number]

    def listed(self, names: Any, limits: Limits) -> frozenset[str]:
        count, numbers = as_list(names, range(2, 3))
        within(as_int(count, 0, INT64_MAX), limits.scopes, "tables")
        found = frozenset(map(self.name, ints(numbers, count)))
        if len(found) != count:
            raise MalformedMessageError("a table is listed twice")
        return found

    def frontier(self, pieces: Pieces) -> Frontier:
        limits = pieces.limits
        vectors: dict[str, VersionVector] = {}
        groups = as_int(as_list(pieces.item(), range(1, 2))[0], 0, INT64_MAX)
        within(groups, limits.scopes, "vectors")
        for _ in range(groups):
            scope_count, scopes, *columns = as_list(pieces.item(), range(6, 7))
            within(len(vectors) + as_int(scope_count, 1, INT64_MAX), limits.scopes, "scopes")
            vector = self._vector(*columns)
            for number in ints(scopes, scope_count):
                if vectors.setdefault(self.name(number), vector) is not vector:
                    raise MalformedMessageError(f"scope {self.name(number)!r} has two vectors")
        return Frontier(vectors)

    def _vector(self, count: Any, origins: Any, seqs: Any, nonces: Any) -> VersionVector:
        within(as_int(count, 0, INT64_MAX), self._entries_left, "entries of frontiers")
        self._entries_left -= count
        entries = map(Entry, ints(seqs, count, 0, INT64_MAX), ints(nonces, count, 0))
        return VersionVector(unique(map(self.origin, ints(origins, count)), entries))

    def stamps(self, table: Any, count_max: int) -> list[Stamp]:
        """The stamps of one segment, at most as many as it can use."""
        count, hlcs, origins, seqs = as_list(table, range(4, 5))
        if as_int(count, 0, INT64_MAX) > count_max:
            raise MalformedMessageError("a segment lists more stamps than it can use")
        times = ints(hlcs, count, 0, HLC_MAX)
        seqs = ints(seqs, count, 0, INT64_MAX)
        named: Iterable[Origin] = map(self.origin, ints(origins, count))
        if count and type(origins) is int:  # as after one big import
            named = repeat(self.origin(origins), count)
        return list(map(stamp_of, zip(times, named, seqs, strict=True)))


def unique(names: Iterable[Named], values: Iterable[Held]) -> dict[Named, Held]:
    """A mapping of as many entries as there are names.

    Raises:
        MalformedMessageError: A name comes twice.
    """
    pairs = list(zip(names, values, strict=True))
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise MalformedMessageError("an entry is listed twice")
    return mapping
