"""Rules per table and link: each site comes to hold exactly what its rules let through, and no
frontier claims more, whatever broke or changed in between."""

from collections.abc import Iterable
from random import Random

import pytest
from exchanges import LinkBroken, exchange
from row_examples import KEY, OTHER_KEY, A, B, C, Clock, replica

from syncproto.codec import decode_turn, encode_turn
from syncproto.delta import uncovered
from syncproto.directions import EVERY_WAY, Directions, admitted
from syncproto.identity import Origin, RowKey, SiteId
from syncproto.memory import MemoryReplica
from syncproto.messages import Turn
from syncproto.row import Row
from syncproto.session import Finish

TABLES = ("notes", "patients", "users")
SEEDS = 60
STEPS = 40


def meet(one: MemoryReplica, other: MemoryReplica, link=lambda turn: turn) -> Finish:
    return exchange(
        one, other, caller_site=one.origin.site, callee_site=other.origin.site, link=link
    )


def tell(
    one: MemoryReplica, other: MemoryReplica, *, unsent: str = "", unreceived: str = ""
) -> None:
    """The rules of `one` for its link to `other`."""
    one.directions[other.origin.site] = Directions(
        frozenset(unsent.split()), frozenset(unreceived.split())
    )


def pair() -> tuple[MemoryReplica, MemoryReplica]:
    return replica(A, tables=TABLES), replica(B, tables=TABLES)


def held(site: MemoryReplica) -> set[tuple[str, RowKey]]:
    return {place for place, row in site.rows.items() if row.alive}


def counted(one: MemoryReplica, other: MemoryReplica) -> tuple[int, int, Finish]:
    """Turns and bytes of an exchange, encoded as they travel."""
    sizes: list[int] = []

    def link(turn: Turn) -> Turn:
        body = encode_turn(turn)
        sizes.append(len(body))
        return decode_turn(body)

    finish = meet(one, other, link)
    return len(sizes), sum(sizes), finish


# One link


@pytest.mark.parametrize("calls", ["sender", "receiver"])
@pytest.mark.parametrize("whose", ["sender", "receiver"])
def test_a_table_stays_where_either_side_keeps_it_back(whose, calls):
    one, other = pair()
    if whose == "sender":
        tell(one, other, unsent="users")
    else:
        tell(other, one, unreceived="users")
    one.write("users", KEY, {"a": 1})
    one.write("notes", KEY, {"a": 1})
    other.write("users", OTHER_KEY, {"a": 2})
    first, second = (one, other) if calls == "sender" else (other, one)
    assert meet(first, second).complete
    assert held(other) == {("notes", KEY), ("users", OTHER_KEY)}
    assert held(one) == {("users", KEY), ("notes", KEY), ("users", OTHER_KEY)}
    assert other.frontier.vector("users").seq(A) == 0
    assert other.frontier.vector("notes").seq(A) == 1


def test_a_table_that_neither_direction_takes_does_not_cross():
    one, other = pair()
    tell(one, other, unsent="users", unreceived="users")
    one.write("users", KEY, {"a": 1})
    other.write("users", OTHER_KEY, {"a": 2})
    assert meet(other, one).complete
    assert (held(one), held(other)) == ({("users", KEY)}, {("users", OTHER_KEY)})


@pytest.mark.parametrize("unsent", ["", "users"])
def test_a_rule_that_goes_fetches_what_it_kept_back_and_nothing_else(unsent):
    one, other = pair()
    tell(one, other, unsent="users")
    tell(other, one, unsent=unsent)
    one.write("users", KEY, {"a": 1})
    one.write("notes", KEY, {"a": 1})
    assert meet(one, other).complete
    one.directions.clear()
    sent: list[tuple[str, RowKey]] = []

    def link(turn: Turn) -> Turn:
        if turn.chunk is not None:
            sent.extend((table, key) for table, key, _ in turn.chunk.rows())
        return turn

    assert meet(one, other, link).complete
    assert sent == [("users", KEY)]
    assert held(other) == {("users", KEY), ("notes", KEY)}


def test_a_rule_that_comes_stops_what_is_new_and_takes_nothing_away():
    one, other = pair()
    one.write("users", KEY, {"a": 1})
    assert meet(one, other).complete
    tell(other, one, unreceived="users")
    one.write("users", OTHER_KEY, {"a": 1})
    one.write("notes", KEY, {"a": 1})
    assert meet(one, other).complete
    assert held(other) == {("users", KEY), ("notes", KEY)}


def test_what_a_peer_sends_against_a_rule_is_neither_taken_nor_claimed():
    one, other = pair()
    one.write("users", KEY, {"a": 1})
    one.write("notes", KEY, {"a": 1})
    chunk = one.chunk(other.standing(A.site).frontier, 0)
    assert admitted(chunk, frozenset()) is chunk
    other.receive(admitted(chunk, frozenset({"users"})))
    assert held(other) == {("notes", KEY)}
    assert other.frontier.vector("users").entries == {}


def test_a_table_let_through_in_the_middle_of_a_delta_is_not_claimed_by_its_end():
    """Its rows in the part before were left out."""
    one = replica(A, tables=TABLES, rows_max=1)
    other = replica(B, tables=TABLES)
    for table, key in (("users", KEY), ("notes", KEY), ("notes", OTHER_KEY)):
        one.write(table, key, {"a": 1})
    base = other.standing(A.site).frontier
    first = one.chunk(base.without(frozenset({"users"})), 0)
    assert other.receive(first).taken
    assert not other.receive(one.chunk(base, first.upto)).taken
    assert other.standing(A.site).cursor is None
    assert other.frontier.vector("users").entries == {}
    assert meet(one, other).complete
    assert held(other) == held(one)


def test_a_quiet_round_is_as_small_with_rules_as_without():
    """Reports go up only, to a hub that has many others'."""
    hub = replica(A, tables=TABLES)
    sites = [replica(origin, tables=TABLES) for origin in (B, C)]
    for number, site in enumerate(sites):
        tell(hub, site, unsent="notes")
        site.write("notes", RowKey(bytes([number]) * 16), {"a": 1})
    for more in (KEY, OTHER_KEY):
        for site in (*sites, *sites):
            assert meet(site, hub).complete
        for site in sites:
            turns, size, finish = counted(site, hub)
            assert (turns, finish.complete) == (2, True)
            assert size < 200
        sites[0].write("notes", more, {"a": 1})
    assert held(sites[1]) == {("notes", RowKey(bytes([1]) * 16))}
    assert len(held(hub)) == 3


def test_rules_travel_with_the_frontier_as_bytes():
    one, other = pair()
    tell(one, other, unsent="users", unreceived="notes users")
    one.write("notes", KEY, {"a": 1})
    turns: list[Turn] = []

    def link(turn: Turn) -> Turn:
        turns.append(turn)
        arrived = decode_turn(encode_turn(turn))
        assert (arrived.directions, arrived.frontier) == (turn.directions, turn.frontier)
        return arrived

    assert meet(one, other, link).complete
    told = [turn.directions for turn in turns if turn.directions != EVERY_WAY]
    assert told
    assert set(told) == {one.directions[B.site]}


# Any network, any rules, any change of them


class Network:
    """Replicas, links with rules at both ends, and a log of every write ever made."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.clock = Clock()
        origins = [Origin(SiteId(bytes([65 + n]) * 16), 1) for n in range(rng.randint(2, 5))]
        self.sites = [
            replica(origin, tables=TABLES, clock=self.clock, rows_max=rng.randint(1, 4))
            for origin in origins
        ]
        numbers = range(len(self.sites))
        self.links = [(n, rng.randrange(n)) for n in numbers if n]  # a tree, and some more
        others = [(n, m) for n in numbers for m in range(n) if (n, m) not in self.links]
        self.links += [link for link in others if rng.random() < 0.3]
        self.written: list[tuple[str, RowKey, Row]] = []
        for link in self.links:
            self.rule(link)

    def rule(self, link: tuple[int, int]) -> None:
        """New rules at both ends of a link."""
        for mine, theirs in (link, link[::-1]):
            some, more = (
                frozenset(table for table in TABLES if self.rng.random() < 0.2) for _ in range(2)
            )
            site = self.sites[theirs].origin.site
            self.sites[mine].directions[site] = Directions(some, more)

    def write(self) -> None:
        site = self.rng.choice(self.sites)
        table, key = self.rng.choice(TABLES), RowKey(bytes([self.rng.randrange(3)]) * 16)
        self.clock.ms += self.rng.choice([0, 1, 1_000])
        before = site.frontier
        if self.rng.random() < 0.2:
            site.delete(table, key)
        else:
            site.write(table, key, {self.rng.choice("ab"): self.rng.randrange(1_000)})
        site.seal()
        part = uncovered(site.rows.get((table, key), Row()), before.vector(table))
        if part is not None:
            self.written.append((table, key, part))

    def meet(self, link: tuple[int, int], *, breaks: bool) -> Finish | None:
        one, other = (self.sites[number] for number in self.rng.sample(link, 2))

        def carry(turn: Turn) -> Turn:
            if breaks and self.rng.random() < 0.25:
                raise LinkBroken
            return turn

        try:
            return meet(one, other, carry)
        except LinkBroken:
            return None

    def covered(self, site: MemoryReplica) -> set[int]:
        """The writes that the frontier claims, by their place in the log."""
        return {
            number
            for number, (table, _, part) in enumerate(self.written)
            if all(map(site.frontier.vector(table).covers, part.stamps()))
        }

    def refuse_false_claims(self) -> None:
        for site in self.sites:
            claimed = self.covered(site)
            for place, row in self.merged(claimed).items():
                mine = state(site.rows.get(place, Row()))
                for name, one in row[0].items():
                    assert mine[0].get(name, one) >= one, "a write is claimed and not held"
                    assert name in mine[0], "a write is claimed and not held"
                assert row[1] <= mine[1] | {s for s in row[1] if self.over(site, place, s)}

    def over(self, site: MemoryReplica, place: tuple[str, RowKey], stamp: object) -> bool:
        """A later delete, whose author had seen this one, stands in its place."""
        delete = site.rows.get(place, Row()).delete
        return delete is not None and delete.saw(stamp)  # type: ignore[arg-type]

    def merged(self, numbers: Iterable[int]) -> dict[tuple[str, RowKey], tuple[dict, set]]:
        """The rows that these writes make: of each cell the greatest stamp; all deletes."""
        rows: dict[tuple[str, RowKey], tuple[dict, set]] = {}
        for number in numbers:
            table, key, part = self.written[number]
            cells, deletes = rows.setdefault((table, key), ({}, set()))
            for name, (stamp, value) in part.cells.items():
                cells[name] = max(cells.get(name, (stamp, value)), (stamp, value))
            deletes |= set(part.delete.stamps) if part.delete is not None else set()
        return rows

    def passes(self, sender: int, receiver: int, table: str) -> bool:
        mine = self.sites[sender].directions.get(self.sites[receiver].origin.site, EVERY_WAY)
        theirs = self.sites[receiver].directions.get(self.sites[sender].origin.site, EVERY_WAY)
        return table not in mine.unsent and table not in theirs.unreceived

    def due(self) -> list[set[int]]:
        """The writes that each site must come to hold, as the rules stand: its own, and along
        every way that its table may go those of others."""
        holds = [self.covered(site) for site in self.sites]
        ways = [*self.links, *((there, here) for here, there in self.links)]
        while True:
            grown = [set(numbers) for numbers in holds]
            for sender, receiver in ways:
                grown[receiver] |= {
                    number
                    for number in grown[sender]
                    if self.passes(sender, receiver, self.written[number][0])
                }
            if grown == holds:
                return holds
            holds = grown

    def quiet(self) -> None:
        for _ in range(3 * len(self.sites)):
            for link in self.links:
                finish = self.meet(link, breaks=False)
                assert finish is not None
                assert finish.complete, finish.reason
                assert finish.alarms == ()


def state(row: Row) -> tuple[dict, set]:
    return (
        {name: tuple(cell) for name, cell in row.cells.items()},
        set(row.delete.stamps) if row.delete is not None else set(),
    )


def run(seed: int) -> None:
    rng = Random(seed)
    network = Network(rng)
    for _ in range(STEPS):
        kind = rng.random()
        if kind < 0.5:
            network.write()
        elif kind < 0.94:
            network.meet(rng.choice(network.links), breaks=rng.random() < 0.5)
            network.refuse_false_claims()
        else:
            network.rule(rng.choice(network.links))
    due = network.due()
    network.quiet()
    network.refuse_false_claims()
    for site, numbers in zip(network.sites, due, strict=True):
        assert network.covered(site) == numbers


def test_each_site_holds_exactly_what_its_rules_let_through(seeds):
    for seed in range(SEEDS * seeds):
        try:
            run(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
