"""Merge rules: each rival does what the modelled product documents, and what gives way is counted.

Sites are made by hand and meet when a test says so; whole runs follow at the end.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

import pytest
from handmade_runs import MINI, VSAT

from syncproto.identity import SITE_ID_BYTES, RowKey, SiteId
from syncproto.row import Value
from syncsim import run
from syncsim.events import Statement, Transaction
from syncsim.history import History
from syncsim.member import Member, Message, Refused
from syncsim.rules import RULES, Setting
from syncsim.rules.hierarchy import full_mesh, tree
from syncsim.rules.rival import Rival
from syncsim.rules.rows import Losses
from syncsim.rules.symmetric import MESH_NODES_MAX
from syncsim.rules.weight import Weight
from syncsim.scenario import Gossip, Link, Measure, Misfortune, Profile, Scenario, Site
from syncsim.scenario_file import read_scenario
from syncsim.sizes import SAMPLES_FIRST, Sizes
from syncsim.swarm import swarm

RIVALS = [name for name in RULES if name != "ours"]
ANNA = RowKey(b"anna".ljust(16, b"\0"))
BERN = RowKey(b"bern".ljust(16, b"\0"))
BLANK: dict[str, Value] = {"name": "-", "village": "-", "born": "-", "voided": 0}


class Sites:
    """Sites of one rule, with clocks that a test sets and meetings that it calls for.

    Args:
        edges: Pairs (child, parent) of indices, or (peer, peer) with `peers`.
    """

    def __init__(
        self,
        rule: str,
        count: int,
        edges: Sequence[tuple[int, int]] = (),
        *,
        peers: Sequence[tuple[int, int]] = (),
        **changes: object,
    ) -> None:
        parents = dict(edges)
        self.scenario = Scenario(
            "by hand",
            tuple(
                Site(
                    f"s{n}",
                    f"s{parents[n]}" if n in parents else None,
                    tuple(f"s{other}" for one, other in peers if one == n),
                )
                for n in range(count)
            ),
            tuple(Link(f"s{one}", f"s{other}", "vsat") for one, other in (*edges, *peers)),
            {"vsat": VSAT},
            {},
            **changes,  # type: ignore[arg-type]
        )
        self.history = History()
        self.clocks_ms = [0] * count
        self.arrivals: list[tuple[int, int]] = []
        self.ids = [SiteId(bytes([n + 1]) * SITE_ID_BYTES) for n in range(count)]
        self.setting = Setting(
            scenario=self.scenario,
            site_ids=self.ids,
            wall_ms=lambda number: self.clocks_ms[number],
            now_ms=lambda: 0,
            nonce=lambda _: 0,
            arrived=lambda number, _, count: self.arrivals.append((number, count)),
            sizes=Sizes("codec"),
            history=self.history,
        )
        self.rule = RULES[rule]()
        self.members: list[Member] = [
            self.rule.member(number, self.setting) for number in range(count)
        ]

    def write(self, site: int, at_ms: int, key: RowKey = ANNA, **values: Value) -> None:
        """Insert the row, or update these columns of it, under a clock that shows `at_ms`."""
        self.clocks_ms[site] = at_ms
        statement = Statement("person", key, {**BLANK, **values}, tuple(values))
        assert self.members[site].execute(Transaction(0, site, (statement,))) == 1

    def delete(self, site: int, at_ms: int, key: RowKey = ANNA) -> None:
        self.clocks_ms[site] = at_ms
        transaction = Transaction(0, site, (Statement("person", key, None),))
        assert self.members[site].execute(transaction) == 1

    def meet(
        self, caller: int, callee: int, *, lose: Callable[[int], bool] = lambda _: False
    ) -> list[Message]:
        """One exchange; it breaks off at the first message of which `lose` says so."""
        said: list[Message] = []
        conversation = self.members[caller].call(callee)
        message = conversation.start()
        while message is not None:
            said.append(message)
            if lose(len(said)):
                return said
            answer = self.members[callee].answer(caller, message)
            said.append(answer)
            if lose(len(said)):
                return said
            message = conversation.receive(answer)
        assert conversation.complete
        return said

    def meet_all(self, *pairs: tuple[int, int], times: int = 3) -> None:
        for _ in range(times):
            for caller, callee in pairs:
                self.meet(caller, callee)

    def row(self, site: int, key: RowKey = ANNA) -> Mapping[str, Value] | None:
        return self.members[site].visible().get(("person", key))

    def cells(self, site: int, key: RowKey = ANNA) -> tuple[Value, ...] | None:
        """Name, village and birth of the row."""
        row = self.row(site, key)
        return None if row is None else (row["name"], row["village"], row["born"])

    def losses(self) -> Losses:
        assert isinstance(self.rule, Rival)
        return self.rule.losses(self.members, self.history)

    def rebuild(self, site: int) -> None:
        self.ids[site] = SiteId(bytes([100 + site]) * SITE_ID_BYTES)
        self.members[site] = self.rule.member(site, self.setting)


HUB, EAST, WEST = 0, 1, 2
STAR = ((EAST, HUB), (WEST, HUB))


def star(rule: str, **changes: object) -> Sites:
    """A hub and two children, all of which have the row, blank."""
    sites = Sites(rule, 3, STAR, **changes)
    sites.write(HUB, 0)
    sites.meet_all(*STAR)
    assert [sites.cells(site) for site in range(3)] == [("-", "-", "-")] * 3
    return sites


# Whatever the rule


@pytest.mark.parametrize("rule", RIVALS)
def test_what_one_writes_comes_to_all_in_few_exchanges(rule):
    sites = star(rule)
    sites.write(EAST, 10, name="east")
    sites.write(EAST, 11, BERN, name="bern")
    sites.meet(EAST, HUB)
    sites.meet(WEST, HUB)
    assert [sites.cells(site) for site in range(3)] == [("east", "-", "-")] * 3
    assert [sites.cells(site, BERN) for site in range(3)] == [("bern", "-", "-")] * 3
    assert len({tuple(member.holds().items()) for member in sites.members}) == 1
    assert {member.seen for member in sites.members} == {0b111}
    assert sorted(sites.arrivals) == [
        (HUB, 1),
        (HUB, 1),
        (EAST, 1),
        (WEST, 1),
        (WEST, 1),
        (WEST, 1),
    ]
    assert sites.losses() == Losses(0, 0)


@pytest.mark.parametrize("rule", RIVALS)
def test_a_delete_comes_to_all(rule):
    sites = star(rule)
    sites.delete(EAST, 10)
    sites.meet_all(*STAR)
    assert [sites.cells(site) for site in range(3)] == [None] * 3
    assert sites.losses() == Losses(0, 0)


@pytest.mark.parametrize("rule", RIVALS)
def test_an_exchange_with_nothing_new_has_no_rows_and_changes_nothing(rule):
    sites = star(rule)
    versions = [member.version for member in sites.members]
    said = sites.meet(EAST, HUB)
    assert len(said) == 2
    assert all(message.rows == message.row_bytes == 0 for message in said)
    assert all(0 < message.fixed_bytes < 400 for message in said)
    assert [member.version for member in sites.members] == versions


@pytest.mark.parametrize("rule", RIVALS)
@pytest.mark.parametrize("lost", [1, 2, 3, 4])
def test_what_was_not_acknowledged_is_sent_again_and_taken_once(rule, lost):
    sites = star(rule)
    sites.write(EAST, 10, name="east")
    sites.write(HUB, 10, BERN, name="bern")
    sites.meet(EAST, HUB, lose=lambda count: count == lost)
    sites.write(HUB, 20, BERN, village="hill")
    sites.meet_all(*STAR)
    assert [sites.cells(site) for site in range(3)] == [("east", "-", "-")] * 3
    assert [sites.cells(site, BERN) for site in range(3)] == [("bern", "hill", "-")] * 3
    assert len(sites.arrivals) == 2 + 2 + 2 + 2  # four writes, two others each


@pytest.mark.parametrize("rule", RIVALS)
def test_a_copy_of_a_request_that_is_late_does_nothing(rule):
    sites = star(rule)
    sites.write(EAST, 10, name="east")
    said = sites.meet(EAST, HUB)
    sites.write(HUB, 20, name="hub")
    for request in said[::2]:
        sites.members[HUB].answer(EAST, request)
    assert sites.cells(HUB) == ("hub", "-", "-")
    sites.meet_all(*STAR)
    assert [sites.cells(site) for site in range(3)] == [("hub", "-", "-")] * 3


@pytest.mark.parametrize("rule", RIVALS)
def test_a_site_that_keeps_some_tables_gets_no_others(rule):
    sites = star(rule)
    everything = sites.scenario.sites
    sites = Sites(rule, 3, STAR)
    object.__setattr__(
        sites.scenario, "sites", (*everything[:2], replace(everything[WEST], tables=("visit",)))
    )
    sites.members = [sites.rule.member(number, sites.setting) for number in range(3)]
    sites.write(EAST, 10, name="east")
    sites.meet_all(*STAR)
    assert sites.cells(HUB) == ("east", "-", "-")
    assert sites.cells(WEST) is None
    assert [*sites.members[WEST].holds()] == ["visit"]
    assert sites.losses() == Losses(0, 0)


@pytest.mark.parametrize("rule", RIVALS)
def test_bytes_by_the_model_are_near_those_that_are_encoded(rule):
    sizes = []
    for by in ("codec", "model"):
        sites, rng, said = star(rule, measure=Measure(bytes_by=by)), Random(1), []
        for number in range(300):
            values = {"name": f"name {number}", "village": rng.choice(["hill", "dale"])}
            sites.write(EAST, number, RowKey(rng.randbytes(16)), **values)
            said += sites.meet(EAST, HUB)
        sizes.append(sum(message.row_bytes for message in said))
    assert sizes[0] != sizes[1] == pytest.approx(sizes[0], rel=0.05)


def test_the_model_encodes_the_first_messages_and_then_few():
    weight, encoded = Weight(), []
    for number in range(1, 201):
        weight.of("model", 1, lambda number=number: encoded.append(number) or "x" * number)
    assert encoded == [*range(1, SAMPLES_FIRST + 1), 64, 128, 192]


# Last in wins by arrival


def test_last_arrival_wins_with_the_whole_object_and_both_sides_swap_theirs():
    sites = star("arrival")
    sites.write(HUB, 10, name="hub", born="1950")
    sites.write(EAST, 99, village="east")
    sites.meet(EAST, HUB)
    # Each has what the other wrote, with the columns that the other did not touch.
    assert sites.cells(HUB) == ("-", "east", "-")
    assert sites.cells(EAST) == ("hub", "-", "1950")
    sites.meet_all(*STAR)
    assert [sites.cells(site) for site in range(3)] == [
        ("-", "east", "-"),
        ("hub", "-", "1950"),
        ("-", "east", "-"),
    ]
    assert sites.losses() == Losses(everywhere=0, in_part=3)
    assert [member.conflicts for member in sites.members] == [0, 0, 0]


def test_of_two_children_the_one_that_calls_last_wins_at_the_parent():
    sites = star("arrival")
    sites.write(EAST, 99, name="east")
    sites.write(WEST, 1, name="west")
    sites.meet(EAST, HUB)
    sites.meet(WEST, HUB)
    assert sites.cells(HUB)[0] == "west"
    sites.meet(EAST, HUB)
    # East got west's record, and west had east's before it gave its own.
    assert [sites.cells(site)[0] for site in range(3)] == ["west", "west", "east"]


def test_a_record_goes_on_to_others_and_not_back():
    sites = star("arrival")
    sites.write(EAST, 10, name="east")
    assert [message.rows for message in sites.meet(EAST, HUB)] == [0, 0, 1, 0]
    assert [message.rows for message in sites.meet(EAST, HUB)] == [0, 0]
    assert [message.rows for message in sites.meet(WEST, HUB)] == [0, 1, 0, 0]


def test_a_transmission_takes_fifty_records_in_order():
    sites = star("arrival")
    for number in range(120):
        sites.write(EAST, number, name=f"name {number}")
    names = []
    for _ in range(3):
        sites.meet(EAST, HUB)
        names.append(sites.cells(HUB)[0])
    assert names == ["name 49", "name 99", "name 119"]


def test_a_record_that_is_known_is_confirmed_and_not_ingested_again():
    sites = star("arrival")
    sites.write(EAST, 10, name="east")
    sites.meet(EAST, HUB, lose=lambda count: count == 4)  # the confirmation
    sites.write(HUB, 20, village="hub")
    sites.meet(EAST, HUB)
    assert sites.cells(HUB) == sites.cells(EAST) == ("east", "hub", "-")
    assert [message.rows for message in sites.meet(EAST, HUB)] == [0, 0]


# The row with the later wall clock


def test_the_older_wall_clock_loses_its_whole_row():
    sites = star("row-lww")
    sites.write(EAST, 10, name="east", born="1950")
    sites.write(WEST, 11, village="west")
    sites.meet_all(*STAR)
    assert [sites.cells(site) for site in range(3)] == [("-", "west", "-")] * 3
    assert sites.losses() == Losses(everywhere=2, in_part=0)


def test_a_clock_that_is_behind_loses_at_its_own_site():
    sites = star("row-lww")
    sites.write(HUB, 1_000, name="hub")
    sites.meet_all(*STAR)
    sites.write(EAST, 500, name="east")
    assert sites.cells(EAST) == ("hub", "-", "-")
    sites.meet_all(*STAR)
    assert [sites.cells(site) for site in range(3)] == [("hub", "-", "-")] * 3
    assert sites.losses() == Losses(everywhere=1, in_part=0)


def test_the_site_decides_between_equal_clocks():
    sites = star("row-lww")
    sites.write(EAST, 10, name="east")
    sites.write(WEST, 10, name="west")
    sites.meet_all(*STAR)
    assert [sites.cells(site)[0] for site in range(3)] == ["west"] * 3


def test_a_tombstone_beats_what_is_older_and_gives_way_to_what_is_newer():
    sites = star("row-lww")
    sites.delete(EAST, 20)
    sites.write(WEST, 10, name="west")
    sites.meet_all(*STAR)
    assert [sites.cells(site) for site in range(3)] == [None] * 3
    assert sites.losses() == Losses(everywhere=1, in_part=0)
    sites.write(HUB, 30, name="again")
    sites.meet_all(*STAR)
    assert [sites.cells(site) for site in range(3)] == [("again", "-", "-")] * 3


def test_a_delete_that_a_later_clock_undoes_is_counted_as_lost():
    sites = star("row-lww")
    sites.delete(EAST, 10)
    sites.write(WEST, 20, name="west")
    sites.meet_all(*STAR)
    assert [sites.cells(site) for site in range(3)] == [("west", "-", "-")] * 3
    assert sites.losses() == Losses(everywhere=1, in_part=0)


def test_logs_travel_by_any_way_and_once_to_each():
    count = 6
    ring = [(number, (number + 1) % count) for number in range(count)]
    sites = Sites("row-lww", count, peers=ring)
    for number in range(count):
        sites.write(number, number, RowKey(bytes([number]) * 16), name=f"name {number}")
    said = [message for _ in range(3) for pair in ring for message in sites.meet(*pair)]
    assert len({tuple(member.holds().items()) for member in sites.members}) == 1
    assert sum(message.rows for message in said) == count * (count - 1)


def test_a_long_log_goes_in_parts_and_on_where_it_was_broken_off():
    sites = star("row-lww", gossip=Gossip(rows_max=10))
    for number in range(35):
        sites.write(EAST, 1 + number, RowKey(number.to_bytes(16)), name=f"name {number}")
    said = sites.meet(EAST, HUB, lose=lambda count: count == 6)
    assert [message.rows for message in said] == [0, 0, 10, 0, 10, 0]
    said = sites.meet(EAST, HUB)
    assert sum(message.rows for message in said) == 15
    assert sites.members[EAST].visible() == sites.members[HUB].visible()


# SymmetricDS

MESH = ((1, 0), (2, 0), (2, 1))


def mesh(count: int) -> Sites:
    """Nodes that are all linked with each other and have the row, blank."""
    pairs = [pair for pair in MESH if max(pair) < count]
    sites = Sites("symmetricds", count, peers=pairs)
    sites.write(0, 0)
    sites.meet_all(*pairs)
    assert [sites.cells(site) for site in range(count)] == [("-", "-", "-")] * count
    return sites


def test_columns_merge_where_the_old_values_agree():
    sites = mesh(2)
    sites.write(0, 10, name="zero")
    sites.write(1, 20, village="one")
    sites.meet(1, 0)
    assert sites.cells(0) == sites.cells(1) == ("zero", "one", "-")
    assert sites.losses() == Losses(0, 0)


def test_in_a_conflict_the_newer_capture_writes_its_whole_row():
    sites = mesh(2)
    sites.write(0, 10, name="zero", born="1950")
    sites.write(1, 20, name="one")
    sites.meet(1, 0)
    assert sites.cells(0) == sites.cells(1) == ("one", "-", "-")
    assert sites.losses() == Losses(everywhere=2, in_part=0)


def test_a_delete_asks_for_the_key_alone_and_an_update_puts_the_row_back():
    sites = mesh(2)
    sites.delete(0, 10)
    sites.write(1, 20, name="one")
    sites.meet(1, 0)
    # Node 0 had no such row: a conflict, which the newer update won; node 1 deleted what was there.
    assert sites.cells(0) == ("one", "-", "-")
    assert sites.cells(1) is None
    assert sites.losses() == Losses(everywhere=0, in_part=2)


def test_two_inserts_of_one_row_are_a_conflict():
    sites = Sites("symmetricds", 2, peers=[(1, 0)])
    sites.write(0, 10, name="zero", village="z")
    sites.write(1, 20, name="one")
    sites.meet(1, 0)
    assert sites.cells(0) == sites.cells(1) == ("one", "-", "-")


def test_three_nodes_and_three_edits_diverge():
    """The least example: two edits do not touch the same columns, the third touches one of each."""
    sites = mesh(3)
    sites.write(1, 1, born="1")
    sites.write(2, 2, village="2")
    sites.write(0, 3, name="3", village="3")
    sites.meet_all((1, 0), (2, 1), (2, 0))
    assert sites.rule.is_over(sites.members)
    assert [sites.cells(site) for site in range(3)] == [
        ("3", "3", "1"),
        ("3", "3", "-"),
        ("3", "3", "-"),
    ]


def test_a_loser_at_a_third_node_is_made_good_by_asking():
    """Node 2 gets the older edit without a conflict from node 1, after node 0 had the newer one; it
    is asked by node 1, which saw the conflict, and the newer row comes to it."""
    sites = mesh(3)
    sites.write(0, 20, name="zero")
    sites.write(1, 10, name="one")
    sites.meet(2, 1)
    sites.meet(1, 0)
    assert [sites.cells(site)[0] for site in range(3)] == ["zero", "zero", "one"]
    said = sites.meet(2, 1)
    assert sum(message.rows for message in said) == 1  # the question; node 2 has nothing newer
    sites.meet(2, 0)
    assert [sites.cells(site)[0] for site in range(3)] == ["zero"] * 3


def test_nodes_that_ask_each_other_come_to_an_end():
    count = MESH_NODES_MAX
    pairs = [(one, other) for one in range(count) for other in range(one)]
    for seed in range(20):
        rng = Random(seed)
        sites = Sites("symmetricds", count, peers=pairs)
        for number in range(3 * count):
            node = rng.randrange(count)
            sites.write(node, 10 + number // 3, name=f"{number}")
            sites.meet(*rng.choice(pairs))
        rows = 0
        for _ in range(10):
            for pair in rng.sample(pairs, len(pairs)):
                rows += sum(message.rows for message in sites.meet(*pair))
        assert sites.rule.is_over(sites.members)
        assert rows < count**4


def test_more_nodes_than_a_small_mesh_are_set_up_in_tiers():
    count = MESH_NODES_MAX + 1
    sites = Sites("symmetricds", count, peers=[(n, m) for n in range(count) for m in range(n)])
    assert sites.meet(2, 1) == []
    assert len(sites.meet(2, 0)) == 2


def test_in_tiers_the_hub_captures_again_and_hands_on():
    sites = star("symmetricds")
    sites.write(EAST, 10, name="east")
    assert [message.rows for message in sites.meet(EAST, HUB)] == [1, 0]
    assert [message.rows for message in sites.meet(EAST, HUB)] == [0, 0]
    assert [message.rows for message in sites.meet(WEST, HUB)] == [0, 1, 0, 0]
    assert sites.cells(WEST) == ("east", "-", "-")


def test_in_tiers_the_first_to_arrive_wins_because_the_hub_captures_it_later():
    sites = star("symmetricds")
    sites.write(EAST, 10, name="east")
    sites.write(WEST, 20, name="west")
    sites.clocks_ms[HUB] = 30
    sites.meet(EAST, HUB)
    sites.meet(WEST, HUB)
    sites.meet_all(*STAR)
    assert [sites.cells(site)[0] for site in range(3)] == ["east"] * 3
    assert sites.losses() == Losses(everywhere=1, in_part=0)


def test_what_the_giver_itself_gave_before_does_not_count_against_it():
    sites = star("symmetricds")
    sites.write(EAST, 10, name="first")
    sites.clocks_ms[HUB] = 1_000
    sites.meet(EAST, HUB)  # captured again at 1,000, from east
    sites.write(HUB, 15, name="hub")
    sites.write(EAST, 20, name="second")
    sites.meet(EAST, HUB)
    assert sites.cells(HUB)[0] == "second"


def test_a_batch_keeps_transactions_whole_and_is_acknowledged_by_its_number():
    sites = star("symmetricds")
    for first in (0, 900):
        keys = [RowKey(number.to_bytes(16)) for number in range(first, first + 900)]
        statements = tuple(Statement("person", key, {**BLANK}) for key in keys)
        sites.members[EAST].execute(Transaction(0, EAST, statements))
    sites.write(EAST, 10, name="east")
    said = sites.meet(EAST, HUB)
    assert [message.rows for message in said] == [1_800, 0, 1, 0]


Edits = list[tuple[int, int, dict[int, str]]]
Meetings = list[tuple[int, int]]


def offline_histories(count: int, edits_each: int, trials: int) -> Iterator[tuple[Edits, Meetings]]:
    """Edits of one or two of three columns, all made before anybody meets, in any order; then all
    pairs meet in any order until nothing is left to say."""
    rng = Random(3)
    for _ in range(trials):
        authors = [node for node in range(count) for _ in range(edits_each)]
        rng.shuffle(authors)
        edits = [
            (node, time, dict.fromkeys(rng.sample(range(3), rng.randint(1, 2)), f"{time}"))
            for time, node in enumerate(authors, 1)
        ]
        pairs = [(one, other) for one in range(count) for other in range(count) if one != other]
        yield edits, [pair for _ in range(6) for pair in rng.sample(pairs, len(pairs))]


def modelled(count: int, edits: Edits, meetings: Meetings) -> list[tuple[str, ...]]:
    """The documented rules once more, in the plainest way: one row on each of some nodes."""
    rows = [["-"] * 3 for _ in range(count)]
    kept: list[list[tuple[int, int, list[str], list[str]]]] = [[] for _ in range(count)]
    waiting: dict[tuple[int, int], list[tuple]] = {}

    def tell(giver: int, taker: int, *what: object) -> None:
        waiting.setdefault((giver, taker), []).append(what)

    for node, time, values in edits:
        old = rows[node]
        rows[node] = [values.get(column, old[column]) for column in range(3)]
        kept[node].append((time, node, old, rows[node]))
        for other in range(count):
            if other != node:
                tell(node, other, "change", time, old, rows[node])

    def load(node: int, giver: int, what: str, time: int, *rest) -> None:
        if what == "ask":
            newest = max((k for k in kept[node] if k[0] >= time), default=(0, 0))
            if newest[:2] > (time, rest[0]):
                tell(node, giver, "change", newest[0], *newest[2:])
            return
        old, new = rest
        changed = [column for column in range(3) if old[column] != new[column]]
        if all(rows[node][column] == old[column] for column in changed):
            rows[node] = [new[c] if c in changed else rows[node][c] for c in range(3)]
        elif not any(k[0] >= time and k[1] != giver for k in kept[node]):
            rows[node] = new
            kept[node].append((time, giver, old, new))
            for other in {*range(count)} - {node, giver}:
                tell(node, other, "ask", time, giver)

    for one, other in meetings:
        while waiting.get((one, other)) or waiting.get((other, one)):
            for giver, taker in ((one, other), (other, one)):
                for event in waiting.pop((giver, taker), []):
                    load(taker, giver, *event)
    assert not any(waiting.values())
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    ("count", "edits_each", "least", "most"),
    [(2, 1, 0.0, 0.0), (2, 2, 0.19, 0.4), (3, 1, 0.19, 0.4), (3, 2, 0.19, 0.4)],
)
def test_of_offline_histories_as_many_diverge_as_the_documented_rules_let(
    count, edits_each, least, most
):
    """Over 3,000 histories the model below has 0, 19, 40 and 36 percent of them diverge."""
    trials, diverged = 250, 0
    for edits, meetings in offline_histories(count, edits_each, trials):
        sites = mesh(count)
        for node, time, values in edits:
            names = {("name", "village", "born")[column]: text for column, text in values.items()}
            sites.write(node, time, **names)
        sites.meet_all(*meetings, times=1)
        found = [sites.cells(site) for site in range(count)]
        assert found == modelled(count, edits, meetings), (edits, meetings)
        assert sites.rule.is_over(sites.members)
        diverged += len(set(found)) > 1
    assert least <= diverged / trials <= most


# Over which links


def test_the_tree_takes_all_parents_and_joins_tops_breadth_first():
    two_hubs = Sites("arrival", 5, [(1, 0), (2, 0), (4, 3)], peers=[(3, 0), (4, 2), (2, 1)])
    assert tree(two_hubs.scenario) == [[1, 2, 3], [0], [0], [4, 0], [3]]
    ring = Sites("arrival", 6, peers=[(n, (n + 1) % 6) for n in range(6)])
    assert tree(ring.scenario) == [[1, 5], [0, 2], [1, 3], [2], [5], [0, 4]]
    apart = Sites("arrival", 4, [(1, 0), (3, 2)])
    assert tree(apart.scenario) == [[1], [0], [3], [2]]


def test_a_mesh_is_whole_or_none():
    assert full_mesh(Sites("arrival", 3, peers=MESH).scenario) == [[1, 2], [0, 2], [0, 1]]
    assert full_mesh(Sites("arrival", 3, peers=MESH[:2]).scenario) is None


@pytest.mark.parametrize("rule", ["arrival", "symmetricds"])
def test_over_links_beside_the_tree_nothing_passes(rule):
    sites = Sites(rule, 4, [*STAR, (3, HUB)], peers=[(WEST, EAST)])
    sites.write(WEST, 10)
    assert sites.meet(WEST, EAST) == []
    answer = sites.members[EAST].answer(WEST, sites.meet(WEST, HUB)[0])
    assert answer.rows == 0
    assert (sites.cells(EAST), sites.cells(HUB)) == (None, ("-", "-", "-"))


# Misfortunes


@pytest.mark.parametrize("rule", ["arrival", "symmetricds"])
def test_a_restored_child_lacks_for_ever_what_it_had_acknowledged(rule):
    sites = star(rule)
    put_back = sites.members[EAST].backup()
    sites.write(HUB, 10, BERN, name="bern")
    sites.meet_all(*STAR)
    assert sites.cells(EAST, BERN) is not None
    put_back(False)
    sites.meet_all(*STAR)
    assert sites.cells(EAST, BERN) is None
    assert sites.cells(WEST, BERN) == ("bern", "-", "-")
    assert [member.seen for member in sites.members] == [0b11, 0b01, 0b11]
    assert sites.rule.is_over(sites.members)
    assert sites.losses() == Losses(everywhere=0, in_part=4)


def test_a_restored_node_gives_its_batches_numbers_that_are_loaded_already():
    sites = star("symmetricds")
    put_back = sites.members[EAST].backup()
    sites.write(EAST, 10, name="before")
    sites.meet_all(*STAR)
    put_back(True)
    sites.write(EAST, 20, BERN, name="after")
    sites.meet_all(*STAR)
    assert sites.cells(HUB) == ("before", "-", "-")
    assert sites.cells(HUB, BERN) is None
    sites.write(EAST, 30, BERN, village="hill")  # the next number is new again
    sites.meet_all(*STAR)
    assert sites.cells(HUB, BERN) == ("after", "hill", "-")


def test_a_restored_site_uses_numbers_again_and_peers_never_ask():
    sites = star("row-lww")
    put_back = sites.members[EAST].backup()
    sites.write(EAST, 10, name="before")
    sites.meet_all(*STAR)
    put_back(True)
    sites.write(EAST, 20, BERN, name="after")  # under the number of the other write
    sites.meet_all(*STAR)
    assert sites.cells(HUB, BERN) is None
    assert sites.cells(EAST, BERN) == ("after", "-", "-")
    assert sites.rule.is_over(sites.members)
    assert len({tuple(member.holds().items()) for member in sites.members}) == 2


def test_a_restored_site_takes_no_late_message_that_begins_after_what_it_has():
    sites = star("row-lww")
    put_back = sites.members[HUB].backup()
    sites.write(WEST, 10, BERN)
    sites.meet(WEST, HUB)
    sites.write(WEST, 20, name="west")
    late = next(message for message in sites.meet(WEST, HUB) if message.rows)
    put_back(True)
    sites.members[HUB].answer(WEST, late)
    assert (sites.cells(HUB), sites.cells(HUB, BERN)) == (("-", "-", "-"), None)
    sites.meet(WEST, HUB)
    assert (sites.cells(HUB), sites.cells(HUB, BERN)) == (("west", "-", "-"), ("-", "-", "-"))


def test_what_a_restored_site_gets_back_of_its_own_is_no_arrival():
    sites = star("row-lww")
    put_back = sites.members[EAST].backup()
    sites.write(EAST, 10, name="east")
    sites.meet_all(*STAR)
    before = list(sites.arrivals)
    put_back(True)
    assert sites.cells(EAST) == ("-", "-", "-")
    sites.meet_all(*STAR)
    assert sites.cells(EAST) == ("east", "-", "-")
    assert sites.arrivals == before


@pytest.mark.parametrize("rule", RIVALS)
@pytest.mark.parametrize("lost", [EAST, HUB])
def test_a_server_that_was_lost_gets_everything_that_others_have(rule, lost):
    sites = star(rule)
    for number in range(5):
        sites.write(EAST, 10 + number, RowKey(number.to_bytes(16)), name=f"name {number}")
    sites.meet_all(*STAR)
    sites.write(lost, 20, BERN, name="never sent")
    sites.rebuild(lost)
    assert sites.members[lost].visible() == {}
    sites.write(WEST, 30, name="meanwhile")
    sites.meet_all(*STAR)
    sites.write(EAST, 40, village="later")
    sites.meet_all(*STAR)
    assert len(sites.members[lost].visible()) == 6
    assert [sites.cells(site) for site in range(3)] == [("meanwhile", "later", "-")] * 3
    assert len({tuple(member.holds().items()) for member in sites.members}) == 1
    assert len({member.seen for member in sites.members}) == 1
    # What was never sent died with its server, and is not missed.
    assert sites.losses() == Losses(0, 0)


@pytest.mark.parametrize("rule", ["arrival", "symmetricds"])
def test_a_new_server_speaks_to_nobody_before_it_is_loaded(rule):
    sites = star(rule)
    sites.rebuild(HUB)  # loaded from east, the first child
    sites.write(WEST, 10, name="west")
    sites.meet(WEST, HUB)
    assert sites.cells(HUB) is None
    sites.meet(EAST, HUB)
    sites.meet_all(*STAR)
    assert [sites.cells(site) for site in range(3)] == [("west", "-", "-")] * 3


@pytest.mark.parametrize("rule", ["arrival", "symmetricds"])
def test_a_new_server_gets_all_rows_once_and_nothing_that_waited_for_the_old_one(rule):
    sites = star(rule)
    sites.write(HUB, 10, BERN)  # waits for east
    sites.rebuild(EAST)
    said = [message for _ in range(3) for message in sites.meet(EAST, HUB)]
    rows = sum(message.rows for message in said)
    assert rows == 2 if rule == "arrival" else rows == 2 + 1  # with a line that marks the end


@pytest.mark.parametrize("rule", ["arrival", "symmetricds"])
def test_a_late_message_of_a_server_that_is_no_more_does_nothing(rule):
    sites = star(rule)
    sites.write(EAST, 10, name="east")
    *_, late = sites.meet(EAST, HUB, lose=lambda count: count == {"arrival": 3}.get(rule, 1))
    assert late.rows == 1
    sites.rebuild(EAST)
    answer = sites.members[HUB].answer(EAST, late)
    assert answer.rows == answer.row_bytes == 0
    assert sites.cells(HUB) == ("-", "-", "-")


@pytest.mark.parametrize("rule", ["arrival", "symmetricds"])
def test_a_server_that_was_restored_while_it_waited_is_loaded_again(rule):
    sites = star(rule)
    sites.rebuild(EAST)
    put_back = sites.members[EAST].backup()
    sites.meet_all(*STAR)
    assert sites.cells(EAST) == ("-", "-", "-")
    put_back(True)
    assert sites.cells(EAST) is None
    sites.meet_all(*STAR)
    assert sites.cells(EAST) == ("-", "-", "-")
    assert sites.rule.is_over(sites.members)


@pytest.mark.parametrize("rule", ["arrival", "symmetricds"])
def test_where_nobody_has_data_a_new_server_begins_with_nothing(rule):
    sites = Sites(rule, 2, [(1, 0)])
    sites.write(1, 10)
    sites.rebuild(1)
    sites.rebuild(0)
    sites.write(1, 20, name="new")
    sites.meet_all((1, 0))
    assert sites.cells(0) == sites.cells(1) == ("new", "-", "-")


@pytest.mark.parametrize("rule", RIVALS)
def test_no_rival_knows_of_copied_machines(rule):
    with pytest.raises(Refused):
        star(rule).members[EAST].twin(3)


# What is counted as lost


def test_what_somebody_knew_and_wrote_over_is_not_lost():
    sites = star("arrival")
    sites.write(EAST, 10, name="first", village="hill")
    sites.meet_all(*STAR)
    sites.write(WEST, 20, name="second")
    sites.meet_all(*STAR)
    sites.delete(HUB, 30)
    sites.meet_all(*STAR)
    sites.write(EAST, 40, name="third")
    sites.meet_all(*STAR)
    assert [sites.cells(site) for site in range(3)] == [("third", "-", "-")] * 3
    assert sites.losses() == Losses(0, 0)


def test_who_wrote_over_a_value_and_died_with_it_does_not_count():
    sites = star("row-lww")
    sites.write(EAST, 10, name="east")
    sites.write(WEST, 15, name="west")
    sites.meet(EAST, HUB)
    sites.write(HUB, 20, name="hub")  # over east's
    sites.rebuild(HUB)
    sites.meet_all(*STAR)
    assert [sites.cells(site)[0] for site in range(3)] == ["west"] * 3
    assert sites.losses() == Losses(everywhere=1, in_part=0)


def test_a_value_that_was_written_twice_is_lost_once_or_not_at_all():
    sites = star("row-lww")
    sites.write(EAST, 10, name="same")
    sites.write(WEST, 20, name="same")
    sites.meet_all(*STAR)
    assert sites.losses() == Losses(0, 0)
    sites.write(HUB, 30, name="other")  # over one of them, knowingly
    sites.meet_all(*STAR)
    assert sites.losses() == Losses(0, 0)


# Whole runs


@pytest.fixture
def mini(tmp_path) -> Scenario:
    path = tmp_path / "mini.toml"
    path.write_text(MINI)
    return read_scenario(path)


def under(scenario: Scenario, rule: str) -> Scenario:
    return replace(scenario, gossip=replace(scenario.gossip, rule=rule))


@pytest.mark.parametrize("rule", RULES)
def test_without_conflicts_every_rule_converges_and_loses_nothing(mini, rule):
    alone = {"few": Profile("few", visits_a_day=60, shared=0.0)}
    results = run(under(replace(mini, profiles=alone), rule)).results
    assert results.rule == rule
    assert results.writes > 100
    assert results.faults["partition"]
    assert results.converged
    assert (results.lost_updates, results.conflicts) == (0, 0)
    assert results.staleness_ms[0] > 0
    assert results.series["behind"][-1] == 0


def test_ours_loses_nothing_where_the_rivals_do(mini):
    found = {rule: run(under(mini, rule)).results for rule in RULES}
    assert len({results.writes for results in found.values()}) <= 4
    assert found["ours"].converged
    assert found["ours"].conflicts
    assert {rule: results.lost_updates > 0 for rule, results in found.items()} == {
        "ours": False,
        "arrival": True,
        "row-lww": True,
        "symmetricds": True,
    }
    assert found["row-lww"].converged
    assert not found["arrival"].converged


@pytest.mark.parametrize("seed", range(8))
def test_every_rival_survives_worlds_with_every_misfortune(seed):
    misfortunes = tuple(
        Misfortune(kind, every_ms=300_000, lasts_ms=100_000, age_ms=600_000, anchor=seed % 2 == 0)
        for kind in ("partition", "crash", "power-cut", "restore", "clone", "wipe")
    )
    for rule in RIVALS:
        world = replace(swarm(seed), misfortunes=misfortunes)
        results = run(under(world, rule), seed).results
        for kind in ("crash", "power-cut", "restore", "wipe", "clones not made"):
            assert results.faults[kind], kind
        assert "restores not done" not in results.faults
        assert results.verdicts == {}


def test_a_run_of_a_rival_is_the_same_in_every_process():
    code = (
        "from dataclasses import replace\n"
        "from syncsim import run\n"
        "from syncsim.swarm import swarm\n"
        f"for rule in {RIVALS}:\n"
        "    for seed in (3, 4):\n"
        "        world = swarm(seed)\n"
        "        gossip = replace(world.gossip, rule=rule)\n"
        "        results = run(replace(world, gossip=gossip), seed).results\n"
        "        print(results.trace, results.lost_updates, results.bytes, results.staleness_ms)\n"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(printed) == 1
    assert len(set(printed.pop().splitlines())) == 2 * len(RIVALS)
