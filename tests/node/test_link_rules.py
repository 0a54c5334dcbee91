"""Which tables cross which links: the words of a topology, and what the sites do about them."""

import itertools
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mariadb_sites import run
from processes import ProcessSite, eventually
from sites import Site, make_site, one_network, sync

from syncnode.comparing.answers import Answers
from syncnode.links.metering import BESIDE_BYTES, Meter
from syncnode.links.peers import Peer, put_peer, read_peers
from syncnode.operations import status
from syncnode.operations.comparing import Asking
from syncnode.operations.site import open_replica
from syncnode.operations.verifying import Verifying, one_sided
from syncnode.reports import RULES
from syncnode.settings.config import read_settings
from syncnode.settings.link_keys import LinkKeys
from syncnode.settings.link_rules import CHILDREN, DIRECTIONS, EVERY_TABLE, Said, SiteRules
from syncnode.settings.topology import read_topology
from syncnode.store.database import Database
from syncproto.budget import Allowance
from syncproto.errors import ConfigError
from syncproto.identity import RowKey, SiteId
from syncproto.windows import Window

U1, U2, U3 = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")
SCHEMA = tuple(
    f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, note VARCHAR(20))"
    for name in ("report", "reference", "shared")
)

# Words


def network(folder: Path, text: str):
    path = folder / "topology.toml"
    path.write_text(text)
    return read_topology(path)


def test_the_nearest_word_decides_and_a_table_of_its_own_before_all_tables(tmp_path):
    topology = network(
        tmp_path,
        """
        [network.tables]
        report = "send"
        "*" = "both"
        [groups.posts]
        sites = ["huye", "butare"]
        tables = {"*" = "receive", report = "none"}
        [sites.kigali]
        [sites.kigali.with.children.tables]
        audit = "receive"
        [sites.kigali.with.huye.tables]
        audit = "send"
        [sites.huye]
        parent = "kigali"
        [sites.huye.tables]
        shared = "both"
        [sites.butare]
        parent = "kigali"
        peers = ["huye"]
        """,
    )
    kigali, huye, butare = (topology.rules_of(name) for name in ("kigali", "huye", "butare"))
    assert huye.word("shared", "kigali", child=False) == "both"  # the site
    assert huye.word("person", "kigali", child=False) == "receive"  # the group, for all tables
    assert huye.word("report", "butare", child=False) == "none"  # the group
    assert butare.word("person", "somebody", child=True) == "both"  # below, children say it
    assert butare.word("report", "somebody", child=True) == "none"  # but for "none"
    assert kigali.word("report", "anybody", child=False) == "send"  # the network
    assert kigali.word("report", "huye", child=True) == "both"
    assert kigali.word("audit", "huye", child=True) == "send"  # the pair
    assert kigali.word("audit", "butare", child=True) == "receive"  # all children
    assert kigali.word("audit", "above", child=False) == "both"


NAMES = st.sampled_from(["report", "shared", EVERY_TABLE])
WORDS = st.dictionaries(NAMES, st.sampled_from(DIRECTIONS))


@given(
    st.dictionaries(st.sampled_from(["huye", "butare", CHILDREN]), st.tuples(WORDS)),
    st.tuples(WORDS, WORDS, WORDS),
    st.booleans(),
)
def test_words_are_heeded_by_their_nearness(pairs, levels, child):
    """Stated once more: of all that speaks of the table on this link, the nearest."""
    said: list[str] = []
    places: list[Mapping[str, str]] = [*pairs.get("huye", ())]
    if child:
        places += pairs.get(CHILDREN, ())
    for place in places:
        said += [place[name] for name in ("report", EVERY_TABLE) if name in place]
    general = [
        place[name] for place in levels for name in ("report", EVERY_TABLE) if name in place
    ][:1]
    said += general if not child or general == ["none"] else []
    word = said[0] if said else "both"
    words = SiteRules(
        {name: tuple(map(Said, said)) for name, said in pairs.items()}, tuple(map(Said, levels))
    )
    assert words.word("report", "huye", child=child) == word
    found = words.directions("huye", ["report"], child=child)
    assert (found.unsent, found.unreceived) == (
        {"report"} if word in ("receive", "none") else set(),
        {"report"} if word in ("send", "none") else set(),
    )


def test_what_cannot_be_meant_is_refused_with_its_line(tmp_path):
    with pytest.raises(ConfigError) as caught:
        network(
            tmp_path,
            "[sites.a]\n[sites.a.tables]\nx = 'sent'\n[sites.b]\nparent = 'a'\n"
            "[groups.g]\nsites = ['a', 'c']\ntables.x = 'none'\n"
            "[groups.h]\nsites = ['a']\ntables.x = 'both'\n"
            "[groups.i]\n[sites.children]\n",
        )
    assert [line.rpartition("/topology.toml:")[2] for line in str(caught.value).splitlines()] == [
        '3: sites.a.tables.x: "sent" is not one of both, send, receive, none',
        '7: groups.g.sites[1]: "c" is not declared under [sites]',
        '11: groups.h.tables.x: "a" is in group g too, which says otherwise; say it of the site: '
        "[sites.a]",
        '12: groups.i.sites: names no site; write, say, sites = ["kigali", "huye"]',
        '13: sites.children: "children" stands for all children of a site; give the site another '
        "name",
    ]
    with pytest.raises(ConfigError, match=r"5: sites.b.with.c: b exchanges with no site .c.; kn"):
        network(
            tmp_path,
            "[sites.a]\n[sites.c]\n[sites.b]\nparent = 'a'\n[sites.b.with.c.tables]\nx = 'both'\n",
        )


def test_a_sites_own_file_says_more_than_the_network(tmp_path):
    network(
        tmp_path, "[sites.a]\n[sites.b]\nparent = 'a'\n[sites.b.tables]\nx = 'none'\ny = 'send'\n"
    )
    path = tmp_path / "syncnode.toml"
    path.write_text(
        "name = 'b'\ndatabase = 'sqlite:///b.db'\ntopology = 'topology.toml'\n"
        "[site.tables]\nx = 'receive'\n[site.with.a.tables]\nz = 'none'\n"
    )
    words = read_settings(path, {}).rules
    assert [words.word(table, "a", child=False) for table in "xyz"] == ["receive", "send", "none"]


# Sites


class Network:
    """Sites of one network in this process; each knows its neighbours by name and role."""

    def __init__(self, folder: Path, text: str):
        self.topology = network(folder, text)
        self.sites: dict[str, Site] = {}
        for name in self.topology.sites_by_name:
            self.sites[name] = make_site(folder, name, SCHEMA)
        one_network(*self.sites.values())
        for name, site in self.sites.items():
            with Database(site.settings.database).write() as tx:
                for other in self.topology.neighbours(name):
                    role = "child" if other in self.topology.children(name) else "parent"
                    there = self.sites[other]
                    put_peer(tx, Peer(there.id, other, role, "https://x:1", bytes(32)))
        self.rule(self.topology)

    def rule(self, topology) -> None:
        """Go on under other words, as after a restart."""
        self.topology = topology
        for name, site in self.sites.items():
            settings = replace(site.settings, rules=topology.rules_of(name))
            site.replica.close()
            site.settings, site.replica = settings, open_replica(settings)

    def rounds(self) -> None:
        """Everybody exchanges with each neighbour until nothing moves."""
        for _ in range(2 * len(self.sites)):
            for name, site in self.sites.items():
                for other in self.topology.neighbours(name):
                    sync(site, self.sites[other])

    def notes(self, name: str, table: str) -> set[str]:
        return {note for (note,) in self.sites[name].sql(f"SELECT note FROM {table}")}

    def write(self, name: str, table: str, note: str) -> None:
        number = sum(map(len, self.written(table)))
        uuid = f"{number:08d}-{len(note):04d}-4000-8000-{abs(hash((name, table))) % 10**12:012d}"
        run(self.sites[name], f"INSERT INTO {table} (uuid, note) VALUES (?, ?)", uuid, note)

    def written(self, table: str) -> list[set[str]]:
        return [self.notes(name, table) for name in self.sites]

    def close(self) -> None:
        for site in self.sites.values():
            site.close()


@pytest.fixture
def rules(tmp_path):
    made: list[Network] = []

    def make(text: str) -> Network:
        made.append(Network(tmp_path, text))
        return made[0]

    yield make
    for one in made:
        one.close()


THREE = """
[network.tables]
report = "send"
reference = "receive"
[sites.top]
url = "https://top:1"
[sites.mid]
parent = "top"
url = "https://mid:1"
[sites.low]
parent = "mid"
[sites.side]
parent = "top"
"""


def test_reports_go_up_and_references_down_and_nothing_is_pending(rules):
    net = rules(THREE)
    for name, table in itertools.product(net.sites, ("report", "reference", "shared")):
        net.write(name, table, name)
    net.rounds()
    everybody = {"top", "mid", "low", "side"}
    assert net.written("shared") == [everybody] * 4
    assert {name: net.notes(name, "report") for name in net.sites} == {
        "top": everybody,
        "mid": {"mid", "low"},
        "low": {"low"},
        "side": {"side"},
    }
    # What is written to a table that is only received is undone (`test_receive_only.py`).
    assert net.written("reference") == [{"top"}] * 4
    for site in net.sites.values():
        site.replica.flush()
        report = status(site.settings)
        assert (report.pending, [peer.pending for peer in report.peers]) == (
            0,
            [0] * len(report.peers),
        ), report
        assert all(peer.equal for peer in report.peers), report


def test_a_rule_that_changes_lets_come_what_was_held_back_and_nothing_else_moves(rules, tmp_path):
    net = rules(THREE)
    for name, table in itertools.product(net.sites, ("report", "shared")):
        net.write(name, table, name)
    net.rounds()
    net.rule(network(tmp_path, THREE.replace('report = "send"', 'report = "both"')))
    net.rounds()
    assert {name: net.notes(name, "report") for name in net.sites} == {
        name: {"top", "mid", "low", "side"} for name in net.sites
    }
    net.rule(network(tmp_path, THREE.replace('report = "send"', 'report = "none"')))
    net.write("low", "report", "later")
    net.rounds()
    assert "later" not in net.notes("mid", "report")
    for site in net.sites.values():
        site.replica.flush()
        assert status(site.settings).pending == 0


def test_a_table_left_out_at_one_site_alone_is_not_pending_for_ever(tmp_path):
    one = make_site(tmp_path, "one", SCHEMA)
    other = make_site(tmp_path, "other", SCHEMA, exclude=("report",), pass_on=False)
    one_network(one, other)
    for site, there, role in ((one, other, "child"), (other, one, "parent")):
        with site.replica.database.write() as tx:
            put_peer(tx, Peer(there.id, there.name, role, "https://x:1", bytes(32)))
    run(one, "INSERT INTO report (uuid, note) VALUES (?, ?)", U1, "a")
    run(one, "INSERT INTO shared (uuid, note) VALUES (?, ?)", U2, "b")
    for _ in range(3):
        sync(one, other)
    one.replica.flush()
    report = status(one.settings)
    assert report.pending == 0
    assert report.peers[0].equal
    assert other.sql("SELECT note FROM shared") == [("b",)]
    assert other.sql("SELECT note FROM report") == []
    one.close()
    other.close()


def test_a_running_node_takes_up_rules_that_change(tmp_path):
    topology = tmp_path / "topology.toml"
    sites = "[sites.top]\n[sites.low]\nparent = 'top'\n"
    topology.write_text(sites)
    top = ProcessSite(tmp_path, "top").init()
    low = ProcessSite(tmp_path, "low", listens=False).init()
    for site in (top, low):
        site.config.write_text(f"topology = '{topology}'\n" + site.config.read_text())
    topology.write_text(f"{sites}[sites.low.tables]\nvisit = 'none'\n")

    def seen(site: ProcessSite, table: str, column: str):
        return {value for (value,) in site.connection.execute(f"SELECT {column} FROM {table}")}

    def write(site: ProcessSite, number: int) -> None:
        text = f"of {site.name} {number}"
        site.connection.execute("INSERT INTO patient (uuid, name) VALUES (?, ?)", (text, text))
        site.connection.execute("INSERT INTO visit (uuid, note) VALUES (?, ?)", (text, text))

    with top.serving():
        top.admit(low)
        with low.serving():
            write(top, 1)
            write(low, 1)
            both = {"of top 1", "of low 1"}
            eventually(lambda: seen(top, "patient", "name") == seen(low, "patient", "name") == both)
            assert seen(top, "visit", "note") == {"of top 1"}
            assert seen(low, "visit", "note") == {"of low 1"}
            topology.write_text(f"{sites}[sites.top.with.low.tables]\nvisit = 'receive'\n")
            eventually(lambda: seen(top, "visit", "note") == both)
            assert seen(low, "visit", "note") == {"of low 1"}
            topology.write_text("this is no TOML")
            eventually(lambda: "the settings are left as they were" in low.log())
            write(low, 2)
            eventually(lambda: seen(top, "visit", "note") == both | {"of low 2"})
            topology.write_text(sites)
            eventually(lambda: seen(low, "visit", "note") == both | {"of low 2"})
            eventually(lambda: low.report("status")["in_sync"])


# Calls


def test_the_nearest_key_of_a_link_counts_and_a_budget_of_all_links_is_apart(tmp_path):
    topology = network(
        tmp_path,
        """
        [network]
        every = "5m"
        budget = "2 MB/h"
        [groups.ships]
        sites = ["ship"]
        open = ["22:00-06:00", "12:30-13:00"]
        stay = false
        [sites.top]
        [sites.ship]
        parent = "top"
        peers = ["boat"]
        every = "1h"
        timeout = "1m"
        [sites.ship.with.top]
        budget = "64 kB/m"
        tries = 3
        batch = "8 kB"
        [sites.boat]
        """,
    )
    hour = 3_600_000
    windows = (Window(22 * hour, 6 * hour), Window(12 * hour + hour // 2, 13 * hour))
    ship = topology.rules_of("ship")
    assert ship.keys("top", child=False) == LinkKeys(
        hour, False, 3, 60_000, 8_000, Allowance(64_000, 60_000), windows
    )
    assert ship.keys("boat", child=False) == LinkKeys(hour, False, timeout_ms=60_000, open=windows)
    assert ship.budget == Allowance(2_000_000, hour)
    assert topology.rules_of("top").keys("ship", child=True) == LinkKeys(300_000)
    path = tmp_path / "syncnode.toml"
    path.write_text(
        "name = 'ship'\ndatabase = 'sqlite:///b.db'\ntopology = 'topology.toml'\nevery = '2m'\n"
        "[site.with.top]\nstay = true\n"
    )
    settings = read_settings(path, {})
    assert settings.link("top", child=False).every_ms == settings.every_ms == 120_000
    assert settings.link("top", child=False).stay
    assert settings.link("boat", child=False).tries == 10


def test_what_was_spent_of_a_budget_outlives_the_process(tmp_path):
    site = make_site(tmp_path, "one", SCHEMA)
    other, allowance, now = SiteId(bytes(16)), Allowance(10_000, 3_600_000), [10**12]

    def meter() -> Meter:
        return Meter(lambda: allowance, lambda _: Allowance(20_000, 60_000), lambda: now[0])

    first = meter()
    first.crossed(other, 7_000)
    with site.replica.database.write() as tx:
        first.put(tx)
    later = meter()
    with site.replica.database.read() as tx:
        later.read(tx)
    assert later.room(other) == first.room(other) == 10_000 - 7_000 - BESIDE_BYTES
    later.crossed(other, 2_000)
    assert later.wait_ms(other) > 3_500_000
    now[0] += 3_700_000
    assert later.wait_ms(other) == 0
    site.close()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            'budget = "lots"',
            'budget: "lots" is no budget; write an amount by time',
        ),
        ('budget = "1 kB/d"', 'budget: "1 kB/d" is less than one request takes; 4096 B would do'),
        ('open = ["25:00-6:00"]', 'open[0]: "25:00-6:00" is no time of the day'),
        ('open = ["06:00-06:00"]', 'open[0]: "06:00-06:00" is no time of the day'),
        ('open = "22:00-06:00"', "open: must be a list"),
        ("tries = 0", "tries: 0 is not between 1 and 1000"),
        ('timeout = "1s"', 'timeout: "1s" is not between "5s" and "1h"'),
        ('batch = "1 B"', "batch: 1 bytes is not between 512 and 67108864"),
        ("stay = 1", "stay: is 1; write true or false"),
    ],
)
@pytest.mark.parametrize("place", ["network", "groups.g", "sites.a", "sites.a.with.b"])
def test_a_wrong_key_of_a_link_is_named_wherever_it_stands(tmp_path, place, line, fault):
    lines = {
        "groups.g": ["sites = ['a']"],
        "sites.a": ["peers = ['b']"],
        "sites.b": [],
        "network": [],
        "sites.a.with.b": [],
    }
    lines[place].append(line)
    text = "\n".join(f"[{one}]\n" + "\n".join(said) for one, said in lines.items())
    with pytest.raises(ConfigError) as caught:
        network(tmp_path, text)
    (told,) = str(caught.value).splitlines()
    assert told.partition(": ")[2].startswith(f"{place}.{fault}"), told


# Comparisons


def test_what_crosses_one_way_alone_is_no_difference(rules):
    net = rules(THREE)
    for name, table in itertools.product(net.sites, ("report", "reference", "shared")):
        net.write(name, table, name)
    net.rounds()

    def compared(here: str, there: str):
        asking, asked = net.sites[here], net.sites[there]
        peer = next(one for one in peers_of(asking) if one.name == there)
        known = next(one for one in peers_of(asked) if one.name == here)
        answers = Answers(asked.replica)

        def ask(body: bytes) -> bytes:
            return answers.answer(body, asked.replica.stays_back(known.site).unsent)

        without = one_sided(asking.replica, peer)
        report = Verifying(asking.replica, there, ask, lambda _: None, without=without).run(
            False, lambda _: False
        )
        return report.equal, {
            one.table: one.unknown_to for one in report.tables if one.unknown_to is not None
        }

    for site in net.sites.values():
        site.replica.flush()
    assert compared("top", "mid") == (True, {"report": RULES, "reference": RULES})
    assert compared("mid", "low") == (True, {"report": RULES, "reference": RULES})
    _, apart = compared("low", "mid")
    assert apart == {"report": RULES}
    run(net.sites["low"], "UPDATE shared SET note = 'other'")
    assert not compared("mid", "low")[0]


def peers_of(site: Site):
    with site.replica.database.read() as tx:
        return read_peers(tx)


def test_a_site_is_not_told_of_what_is_not_for_it(rules, tmp_path):
    """Also who asks for rows by their keys is not."""
    kept = THREE + '[sites.top.with.children.tables]\nshared = "receive"\n'
    net = rules(kept)
    for name in net.sites:
        net.write(name, "shared", name)
    top, mid = net.sites["top"], net.sites["mid"]
    unsent = top.replica.stays_back(mid.id).unsent
    assert unsent == {"shared"}
    answers = Answers(top.replica)
    entropy = os.urandom
    asking = Asking(
        mid.replica, lambda b: answers.answer(b, unsent), entropy=entropy, progress=lambda _: None
    )
    comparison = asking.compare()
    assert comparison.tables["shared"].unknown
    ((key,),) = top.sql("SELECT uuid FROM shared")
    rows = asking.whole({"shared": [RowKey(UUID(key).bytes)]})
    assert [block.table for chunk in rows for block in chunk.blocks] == []
