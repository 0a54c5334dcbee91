"""Scenario files: what they say, and the lines of what is wrong in them."""

from dataclasses import replace
from pathlib import Path

import pytest

import syncsim
from syncproto.errors import ConfigError
from syncsim import Scenario, presets
from syncsim.grammar.later import LATER_KEYS, LATER_MISFORTUNES
from syncsim.misfortunes import mishaps
from syncsim.scenario import (
    DAY_MS,
    HOUR_MS,
    MISFORTUNES,
    SHAPES,
    Delay,
    Gossip,
    Link,
    LinkClass,
    Measure,
    Meetings,
    Misfortune,
    Profile,
    Site,
)
from syncsim.scenario_file import read_scenario

READY = sorted((Path(syncsim.__file__).parents[1] / "scenarios").glob("*.toml"))
MINUTE_MS = 60_000


@pytest.fixture
def write(tmp_path):
    """Writes a scenario, beside it other files, and gives its path."""

    def written(text: str, **others: str) -> Path:
        for name, content in others.items():
            (tmp_path / f"{name}.toml").write_text(content)
        path = tmp_path / "scenario.toml"
        path.write_text(text)
        return path

    return written


def faults(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        Scenario.load(path)
    return [line.replace(f"{path.parent}/", "") for line in str(caught.value).splitlines()]


def test_a_whole_scenario_is_read(write):
    path = write(
        """
        title = "A district"
        story = '''
        Line one
        goes on.

        Another paragraph.
        '''
        scale = "5 %"
        shared_rows = 3

        [tables.person]
        deletes = "delete-wins"

        [time]
        start = 2026-03-01T06:30:00+02:00
        faults = "3d"
        quiet = "12h"

        [links.hill]
        preset = "vsat"
        loss = 0.1
        open = ["06:00-12:00", "22:00-02:00"]

        [links.foot]
        source = "walked in May"
        delay = { kind = "uniform", middle = "2s", spread = 0.5 }
        duplication = "1 %"
        reordering = 0.02
        up = "8 kB/s"
        down = "1.2 Mbit/s"
        meetings = { every = "1d", lasts = "20m" }

        [people.many]
        preset = "district hospital"
        shared = 0.2
        hours = ["07:00-19:00"]
        weekend = "30 %"

        [people.test]
        kind = "random"
        writes_an_hour = 9.5
        rows = 4
        deletes = 0.25

        [sites.kigali]
        people = "many"
        offset = "-3m"
        drift_ppm = 40

        [sites.butaro]
        parent = "kigali"
        link = "hill"
        every = "15m"
        people = "small health centre"
        tables.obs = "none"

        [sites.kivuye]
        parent = "butaro"
        peers = ["kigali"]
        link = "foot"

        [[connections]]
        between = ["kivuye", "kigali"]
        link = "lan"

        [[misfortunes]]
        kind = "clock"
        every = "1d"
        lasts = "2h"
        offset = "-1h"
        sites = ["butaro", "kivuye"]

        [gossip]
        every = "10m"
        choice = "round-robin"
        push = true
        rows_max = 50

        [measure]
        points = 30
        checkers = ["state"]
        bytes_by = "model"
        """
    )
    hill = replace(
        presets.LINKS["vsat"],
        name="hill",
        loss=0.1,
        open_ms=((0, 2 * HOUR_MS), (6 * HOUR_MS, 12 * HOUR_MS), (22 * HOUR_MS, DAY_MS)),
    )
    foot = LinkClass(
        "foot",
        "walked in May",
        Delay("uniform", 2_000.0, 0.5),
        duplication=0.01,
        reordering=0.02,
        up_bytes_s=8_000.0,
        down_bytes_s=150_000.0,
        meetings=Meetings(DAY_MS, 20 * MINUTE_MS),
    )
    assert Scenario.load(path) == Scenario(
        title="A district",
        story="Line one goes on.\n\nAnother paragraph.",
        sites=(
            Site("kigali", people="many", offset_ms=-3 * MINUTE_MS, drift_ppm=40.0),
            Site(
                "butaro",
                "kigali",
                every_ms=15 * MINUTE_MS,
                people="small health centre",
                tables=("person", "visit", "encounter"),
            ),
            Site("kivuye", "butaro", peers=("kigali",)),
        ),
        links=(
            Link("butaro", "kigali", "hill"),
            Link("kivuye", "butaro", "foot"),
            Link("kivuye", "kigali", "lan"),
        ),
        link_classes={"hill": hill, "foot": foot, "lan": presets.LINKS["lan"]},
        profiles={
            "many": replace(
                presets.PEOPLE["district hospital"],
                name="many",
                shared=0.2,
                hours_ms=(7 * HOUR_MS, 19 * HOUR_MS),
                weekend=0.3,
            ),
            "test": Profile("test", kind="random", writes_an_hour=9.5, rows=4, deletes=0.25),
            "small health centre": presets.PEOPLE["small health centre"],
        },
        misfortunes=(
            Misfortune(
                "clock",
                every_ms=DAY_MS,
                lasts_ms=2 * HOUR_MS,
                sites=("butaro", "kivuye"),
                offset_ms=-HOUR_MS,
            ),
        ),
        gossip=Gossip(10 * MINUTE_MS, "round-robin", "ours", True, 50),
        measure=Measure(30, ("state",), "model"),
        start_unix_ms=1_772_339_400_000,
        faults_ms=3 * DAY_MS,
        quiet_ms=DAY_MS // 2,
        shared_rows=3,
        delete_wins=("person",),
        scale=0.05,
    )


def test_the_shortest_scenario_is_one_site(write):
    scenario = Scenario.load(write("[sites.kigali]"))
    assert scenario.title == "scenario"
    assert scenario.sites == (Site("kigali"),)
    assert scenario == Scenario("scenario", (Site("kigali"),), (), {}, {})
    assert scenario.text == "[sites.kigali]"


def test_patterns_grow_below_sites_and_below_each_other(write):
    scenario = Scenario.load(
        write(
            """
            [defaults]
            link = "adsl"
            people = "small health centre"

            [sites.kigali]
            people = "none"

            [[patterns]]
            shape = "tree"
            under = "kigali"
            depth = 2
            fan_out = 2
            names = ["district", "post"]
            link = ["cable", "gsm-3g"]
            people = ["district hospital", "none"]
            every = ["5m", "1h"]

            [[patterns]]
            shape = "ring"
            under = "district-2"
            count = 3
            names = "school"
            uplink = "vsat"
            offset = "10s"

            [[patterns]]
            shape = "star"
            under = "school-1"
            count = 1
            names = "kiosk"

            [sites.late]
            parent = "post-4"
            """
        )
    )
    by_name = {site.name: site for site in scenario.sites}
    assert list(by_name) == [
        *("kigali", "late", "district-1", "district-2", "post-1", "post-2", "post-3", "post-4"),
        *("school-1", "school-2", "school-3", "kiosk"),
    ]
    assert by_name["kigali"].people is None
    assert by_name["post-3"] == Site("post-3", "district-2", every_ms=HOUR_MS)
    assert by_name["district-1"] == Site(
        "district-1", "kigali", every_ms=5 * MINUTE_MS, people="district hospital"
    )
    assert by_name["school-2"] == Site(
        "school-2",
        "district-2",
        peers=("school-3",),
        people="small health centre",
        offset_ms=10_000,
    )
    classes = {(link.one, link.other): link.link_class for link in scenario.links}
    assert classes["late", "post-4"] == "adsl"
    assert classes["post-1", "district-1"] == "gsm-3g"
    assert classes["district-1", "kigali"] == "cable"
    assert classes["school-1", "district-2"] == "vsat"
    assert classes["school-3", "school-1"] == "adsl"
    assert classes["kiosk", "school-1"] == "adsl"
    assert len(classes) == 2 + 4 + 3 + 3 + 1 + 1


def test_patterns_of_their_own_need_nobody_above(write):
    star = Scenario.load(
        write(
            'defaults.link = "lan"\n[[patterns]]\nshape = "star"\ncount = 4\nnames = ["hub", "a"]'
        )
    )
    assert [site.parent for site in star.sites] == [None, "hub", "hub", "hub", "hub"]
    text = 'defaults.link = "lan"\n[[patterns]]\nshape = "mesh"\ncount = 6\nneighbours = 4'
    mesh = Scenario.load(write(text))
    assert [site.name for site in mesh.sites][:2] == ["site-1", "site-2"]
    assert len(mesh.links) == 12


TOPOLOGY = """
[network]
name = "kirehe"
[sites.kirehe]
url = "https://sync.kirehe.example:8470"
[sites.nasho]
parent = "kirehe"
every = "30m"
[ sites.rusumo ]
peers = ["nasho"]
[tables]
only = ["visit"]
"""
INCLUDING = """
title = "Kirehe"
story = '''
It is no key that stands in the next line:
topology = "net.toml"
'''
topology = "net.toml" # as it stands
[defaults]
link = "adsl"
[sites.nasho]
people = "health centre"
[sites.extra]
parent = "rusumo"
"""


def test_sites_come_from_a_topology_file_and_the_scenario_adds_to_them(write):
    scenario = Scenario.load(write(INCLUDING, net=TOPOLOGY))
    tables = ("person", "visit")  # a visit refers to a person
    assert scenario.sites == (
        Site("kirehe", tables=tables),
        Site("nasho", "kirehe", every_ms=30 * MINUTE_MS, people="health centre", tables=tables),
        Site("rusumo", peers=("nasho",), tables=tables),
        Site("extra", "rusumo", tables=tables),
    )


def test_the_text_of_a_scenario_needs_no_other_file(write, tmp_path):
    scenario = Scenario.load(write(INCLUDING, net=TOPOLOGY))
    alone = tmp_path / "elsewhere"
    alone.mkdir()
    (alone / "scenario.toml").write_text(scenario.text)
    again = Scenario.load(alone / "scenario.toml")
    assert again == scenario
    assert again.text == scenario.text
    assert "[topology.sites.nasho]" in scenario.text


def test_a_topology_must_stand_where_its_line_can_be_found(write):
    text = 'defaults.link = "lan"\ntopology = """\\\n  net.toml"""'
    assert faults(write(text, net=TOPOLOGY)) == [
        'scenario.toml:2: topology: must stand in one line: topology = "net.toml"'
    ]


def test_faults_of_the_topology_are_its_own(write):
    broken = '[sites.kirehe]\nparent = "nobody"'
    assert faults(write('topology = "net.toml"', net=broken)) == [
        'net.toml:2: sites.kirehe.parent: "nobody" is not declared under [sites]; remove it'
    ]
    assert faults(write('topology = "missing.toml"')) == ["missing.toml: there is no such file"]


def test_values_may_be_put_into_a_file_as_it_is_read(write):
    path = write('[sites.a]\n[[misfortunes]]\nkind = "crash"\nat = "1h"')
    scenario = read_scenario(
        path,
        overrides={
            ("gossip", "every"): "7m",
            ("misfortunes", "0", "at"): "2h",
            ("links", "new", "loss"): 0.5,
        },
    )
    assert scenario.gossip.every_ms == 7 * MINUTE_MS
    assert scenario.misfortunes[0].at_ms == 2 * HOUR_MS
    assert scenario.link_classes == {"new": LinkClass("new", loss=0.5)}
    with pytest.raises(ConfigError, match=r"scenario.toml:1: gossip.evry: is no key here; did you"):
        read_scenario(path, overrides={("gossip", "evry"): "7m"})


@pytest.mark.parametrize("moment", ['"2026-03-01 04:30"', "2026-03-01T04:30:00", "2026-03-01"])
def test_a_beginning_may_be_written_in_many_ways(write, moment):
    scenario = Scenario.load(write(f"[sites.a]\n[time]\nstart = {moment}"))
    midnight_unix_ms = 1_772_323_200_000
    expected = midnight_unix_ms + (0 if len(moment) == 10 else 4 * HOUR_MS + 30 * MINUTE_MS)
    assert scenario.start_unix_ms == expected


@pytest.mark.parametrize("name", presets.LINKS)
def test_every_link_preset_can_be_used_and_names_its_source(write, name):
    scenario = Scenario.load(write(f'[sites.a]\n[sites.b]\nparent = "a"\nlink = "{name}"'))
    kind = scenario.link_classes[name]
    assert kind == presets.LINKS[name]
    assert len(kind.source) > 30
    assert kind.delay.middle_ms > 0
    assert 0 < kind.up_bytes_s <= kind.down_bytes_s
    assert 0 <= kind.loss < 0.1


def test_people_of_three_sizes_are_ready(write):
    for name, visits, patients in (
        ("small health centre", 20, 3),
        ("health centre", 50, 8),
        ("district hospital", 300, 50),
    ):
        scenario = Scenario.load(write(f'[sites.a]\npeople = "{name}"'))
        profile = scenario.profiles[name]
        assert (profile.visits_a_day, profile.patients_a_day) == (visits, patients)


TWO = '[sites.a]\n[sites.b]\nparent = "a"\nlink = "lan"\n'  # four lines

FAULTS = {
    "an unknown key": ('titel = "x"\n[sites.a]', "1: titel: is no key here; did you mean title?"),
    "a wrong table": (
        "[sites.a]\n[gosip]\nevery = '1m'",
        "2: gosip: is no key here; did you mean gossip?",
    ),
    "no site": ("title = 'x'", "1: sites: there is no site; declare some, or [[patterns]]"),
    "an unknown parent": (
        '[sites.a]\n[sites.b]\nparent = "c"\nlink = "lan"',
        '3: sites.b.parent: "c" is not declared under [sites]; known are a',
    ),
    "a circle": (
        'defaults.link = "lan"\n[sites.a]\nparent = "b"\n[sites.b]\nparent = "a"',
        "3: sites.a.parent: makes a circle of parents (a -> b -> a); one of them must be without "
        "a parent: use peers for what lies beside",
    ),
    "a site apart": (
        TWO + "[sites.c]",
        "5: sites.c: there is no way from a to c; give one a parent or peers, or write "
        "[[connections]]",
    ),
    "a link without a class": (
        '[sites.a]\n[sites.b]\nparent = "a"',
        '2: sites.b: the link from b to a has no class; write link = "adsl" at the site, '
        "or in [defaults]",
    ),
    "an unknown link class": (
        '[sites.a]\n[sites.b]\nparent = "a"\nlink = "gsm-4g"',
        '4: sites.b.link: "gsm-4g" is no link class; did you mean gsm-3g?',
    ),
    "unknown people": (
        '[sites.a]\npeople = "health center"',
        '2: sites.a.people: "health center" are no people; did you mean health centre?',
    ),
    "an unknown preset": (
        '[links.x]\npreset = "vast"\n[sites.a]',
        '2: links.x.preset: "vast" is no preset; did you mean vsat?',
    ),
    "a preset's name taken": (
        "[links.vsat]\nloss = 0.5\n[sites.a]",
        '1: links.vsat: is the name of a preset; write preset = "vsat" in it, or rename it',
    ),
    "a share that is none": (
        '[links.x]\nloss = "two %"\n[sites.a]',
        '2: links.x.loss: "two %" is no share; write, say, 0.02 or "2 %"',
    ),
    "a share beyond": (
        '[links.x]\nloss = "95 %"\n[sites.a]',
        '2: links.x.loss: "95 %" is not between "0 %" and "90 %"',
    ),
    "a number that is none": (
        "[links.x]\nloss = nan\n[sites.a]",
        "2: links.x.loss: nan is not between 0 and 0.9; 0 would do",
    ),
    "a rate that is none": (
        '[links.x]\nup = "64 kb"\n[sites.a]',
        '2: links.x.up: "64 kb" is no rate; write, say, "64 kbit/s", "8 kB/s" or "unbounded"',
    ),
    "a time of day that is none": (
        '[links.x]\nopen = ["08:00-12:00", "25:00-26:00"]\n[sites.a]',
        '2: links.x.open[1]: "25:00-26:00" is no time of day; write "08:00-17:00"',
    ),
    "a delay without a middle": (
        '[links.x]\ndelay = { kind = "uniform" }\n[sites.a]',
        '2: links.x.delay.middle: is missing; write, say, middle = "300ms"',
    ),
    "a spread that means nothing": (
        '[links.x]\ndelay = { kind = "exponential", middle = "1s", spread = 0.5 }\n[sites.a]',
        "2: links.x.delay.spread: 0.5 is not between 0 and 0; 0 would do",
    ),
    "meetings without a length": (
        '[links.x]\nmeetings = { every = "1d" }\n[sites.a]',
        '2: links.x.meetings.lasts: is missing; write, say, lasts = "1h"',
    ),
    "keys of other people": (
        '[people.x]\nkind = "random"\nvisits_a_day = 5\n[sites.a]',
        "3: people.x.visits_a_day: has no meaning for people of kind random; remove it",
    ),
    "a working day over midnight": (
        '[people.x]\nhours = ["20:00-06:00"]\n[sites.a]',
        '2: people.x.hours: must be one span within a day, such as ["08:00-17:00"]',
    ),
    "a beginning that is none": (
        '[sites.a]\n[time]\nstart = "tomorrow"',
        '3: time.start: "tomorrow" is no moment of our days; write "2026-01-05 08:00" (UTC)',
    ),
    "an offset that is none": (
        '[sites.a]\noffset = "--3m"',
        '2: sites.a.offset: "--3m" is no duration; write, say, "90s", "-3m" or "1h"',
    ),
    "a pattern without a shape": (
        '[sites.a]\n[[patterns]]\nunder = "a"\ncount = 2\nlink = "lan"',
        "2: patterns[0].shape: is missing; write one of tree, star, ring, mesh",
    ),
    "a pattern below nobody": (
        '[sites.ab]\n[[patterns]]\nshape = "star"\nunder = "abc"\ncount = 2\nlink = "lan"',
        '4: patterns[0].under: "abc" is not declared before; did you mean ab?',
    ),
    "a level too few": (
        'defaults.link = "lan"\n[[patterns]]\nshape = "tree"\nfan_out = [1, 2, 3]\n'
        'names = ["x", "y"]',
        "5: patterns[0].names: has 2 values for 3 levels; write one for each",
    ),
    "a wrong value of one level": (
        'defaults.link = "lan"\n[[patterns]]\nshape = "tree"\nfan_out = [1, 2]\n'
        'names = ["x", "y"]\nevery = ["1m", "often"]',
        '6: patterns[0].every[1]: "often" is no duration; write, say, "90s", "15m", "1h" or "1d"',
    ),
    "too many sites": (
        'defaults.link = "lan"\n[[patterns]]\nshape = "tree"\nfan_out = [100, 100]',
        "4: patterns[0].fan_out: makes 10100 sites; 5000 are possible",
    ),
    "a name twice": (
        '[sites.a]\n[[patterns]]\nshape = "star"\ncount = 1\nunder = "a"\nnames = "a"\n'
        'link = "lan"',
        "6: patterns[0].names: makes a second site a; choose another name",
    ),
    "a key of another shape": (
        '[sites.a]\n[[patterns]]\nshape = "star"\nunder = "a"\ncount = 2\nneighbours = 2\n'
        'link = "lan"',
        "6: patterns[0].neighbours: is no key here; known are count, drift_ppm, drift_spread_ppm, "
        "every, link, names, offset, offset_spread, people, shape, under",
    ),
    "a connection to nobody": (
        TWO + '[[connections]]\nbetween = ["a", "c"]\nlink = "lan"',
        '6: connections[0].between[1]: "c" is no site; known are a, b',
    ),
    "an unknown misfortune": (
        '[sites.a]\n[[misfortunes]]\nkind = "crush"\nat = "1h"',
        '3: misfortunes[0].kind: "crush" is no misfortune; did you mean crash?',
    ),
    "a misfortune of the future": (
        '[sites.a]\n[[misfortunes]]\nkind = "courier"\nevery = "1d"',
        "3: misfortunes[0].kind: bundles that couriers carry come with a later version; "
        "remove this misfortune",
    ),
    "couriers": (
        "[sites.a]\n[couriers]\nevery = '1d'",
        "2: couriers: bundles that couriers carry come with a later version; remove it",
    ),
    "neither once nor often": (
        '[sites.a]\n[[misfortunes]]\nkind = "crash"',
        '2: misfortunes[0].at: write either at = "2h" for once, or every = "1d" for now and then',
    ),
    "a misfortune in the quiet": (
        '[sites.a]\n[time]\nfaults = "2h"\n[[misfortunes]]\nkind = "crash"\nat = "3h"',
        '6: misfortunes[0].at: "3h" is not between "0ms" and "2h"',
    ),
    "a key of another misfortune": (
        '[sites.a]\n[[misfortunes]]\nkind = "crash"\nat = "1h"\nlasts = "1h"',
        "5: misfortunes[0].lasts: has no meaning for a crash; remove it",
    ),
    "a partition without an end": (
        '[sites.a]\n[[misfortunes]]\nkind = "partition"\nat = "1h"',
        '2: misfortunes[0].lasts: is missing; write, say, lasts = "1h"',
    ),
    "an unknown shape": (
        '[sites.a]\n[[misfortunes]]\nkind = "partition"\nat = "1h"\nlasts = "1h"\nshape = "half"',
        '6: misfortunes[0].shape: "half" is none of them; did you mean halves?',
    ),
    "a backup older than the run": (
        '[sites.a]\n[[misfortunes]]\nkind = "restore"\nat = "1h"\nage = "2h"',
        "5: misfortunes[0].age: is more than 1h, how old the run is then",
    ),
    "a misfortune for nobody": (
        '[sites.kigali]\n[[misfortunes]]\nkind = "crash"\nat = "1h"\nsites = ["kigale"]',
        '5: misfortunes[0].sites[0]: "kigale" is no site; did you mean kigali?',
    ),
    "an unknown choice": (
        "[sites.a]\n[gossip]\nchoice = 'parents-first'",
        '3: gossip.choice: "parents-first" is none of them; did you mean parent-first?',
    ),
    "an unknown checker": (
        "[sites.a]\n[measure]\ncheckers = ['stat']",
        '3: measure.checkers[0]: "stat" is none; did you mean state?',
    ),
    "a truth that is none": (
        "[sites.a]\n[gossip]\npush = 'yes'",
        '3: gossip.push: must be true or false, not "yes"',
    ),
    "a table that refers to none": (
        '[sites.a]\ntables.visit = "none"',
        "2: sites.a.tables: encounter is kept and refers to visit, which is not; keep both or "
        "neither",
    ),
    "a table that does not get through": (
        'defaults.link = "lan"\n[sites.a]\n[sites.b]\nparent = "a"\ntables.obs = "none"\n'
        '[sites.c]\nparent = "b"',
        "6: sites.c.tables: c keeps obs, and so does a, but not the sites between them; keep it "
        "there, too",
    ),
    "an unknown table": (
        '[sites.a]\n[tables]\nexclude = ["ob"]',
        '3: tables.exclude[0]: "ob" is no table of the simulated clinic; did you mean obs?',
    ),
    "a list that is none": (
        "misfortunes = 3\n[sites.a]",
        "1: misfortunes: must be a list of tables, each begun with [[misfortunes]]",
    ),
    "a budget": (
        '[sites.a]\nbudget = "2 MB/h"',
        "2: sites.a.budget: budgets are not simulated by this version; remove it",
    ),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_line_and_a_remedy(write, text, fault):
    assert faults(write(text)) == [f"scenario.toml:{fault}"]


def test_all_faults_are_told_at_once_in_the_order_of_the_lines(write):
    path = write(
        'scale = 2\n[sites.a]\npeople = "x"\n[sites.b]\nparent = "c"\n[gossip]\nevry = "1m"'
    )
    assert [fault.split(": ")[0] for fault in faults(path)] == [
        "scenario.toml:1",
        "scenario.toml:3",
        "scenario.toml:4",
        "scenario.toml:5",
        "scenario.toml:7",
    ]


def test_a_topology_declares_its_sites_alone(write):
    text = 'topology = "net.toml"\n[defaults]\nlink = "lan"\n[sites.nasho]\nparent = "rusumo"'
    assert faults(write(text, net=TOPOLOGY)) == [
        "scenario.toml:5: sites.nasho.parent: is for the topology to say, where the site is "
        "declared"
    ]


def test_what_comes_later_is_refused_and_never_taken_for_something_else():
    assert not set(LATER_MISFORTUNES) & set(MISFORTUNES)
    for sentence in (*LATER_MISFORTUNES.values(), *LATER_KEYS.values()):
        assert "later version" in sentence or "not simulated" in sentence


def test_a_file_that_is_no_toml_is_named_with_its_line(write):
    assert faults(write("[sites.a]\ntitle =")) == ["scenario.toml:2: is no TOML: invalid value"]


# The scenarios that come with the package


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_every_ready_scenario_loads_and_tells_its_story(path):
    scenario = Scenario.load(path)
    assert len(scenario.title) > 5
    assert len(scenario.story) > 150
    assert scenario.misfortunes
    assert mishaps(scenario, 1)
    assert any(site.people for site in scenario.sites)
    used = {link.link_class for link in scenario.links}
    assert used == set(scenario.link_classes), "a link class is declared and not used"
    assert {site.people for site in scenario.sites} - {None} == set(scenario.profiles)


def test_the_ready_scenarios_are_those_that_were_promised():
    names = {path.stem for path in READY}
    assert len(names) >= 10
    assert names >= {
        *("pih-rwanda", "ship-fleet", "disaster-area", "country", "split-brain"),
        *("restored-hub", "slow-radio", "wrong-clocks", "cloned-laptop", "power-cuts"),
        *("small-clinics", "ring-of-peers", "lan-campus"),
    }


def test_together_they_have_every_misfortune_and_every_shape_of_a_partition():
    all_of_them = [m for path in READY for m in Scenario.load(path).misfortunes]
    assert {m.kind for m in all_of_them} == set(MISFORTUNES)
    assert {m.shape for m in all_of_them if m.kind == "partition"} == set(SHAPES)


def test_their_sizes_are_those_of_their_stories():
    sizes = {path.stem: len(Scenario.load(path).sites) for path in READY}
    assert sizes["pih-rwanda"] == 45
    assert sizes["country"] == 2_300
    assert sizes["ship-fleet"] == 13
    year = Scenario.load(next(path for path in READY if path.stem == "pih-rwanda"))
    assert (year.faults_ms, year.scale, year.gossip.every_ms) == (
        365 * DAY_MS,
        0.01,
        15 * MINUTE_MS,
    )
