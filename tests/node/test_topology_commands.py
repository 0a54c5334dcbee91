"""`topology check` and `topology draw`: what cannot work is named with its line, and pictures show
every site and link."""

import json
import sqlite3
import xml.etree.ElementTree as ET

import pytest

from syncnode.__main__ import main

COUNTRY = """
[network]
name = "rwanda"

[sites.kigali]
url = "https://sync.kigali.example:8470"

[sites.butaro]
parent = "kigali"
every = "15m"
url = "https://10.0.0.2:8470"

[sites.kirehe]
parent = "kigali"
peers = ["butaro"]

[sites.post-1]
parent = "butaro"
"""


@pytest.fixture
def country(tmp_path):
    path = tmp_path / "topology.toml"
    path.write_text(COUNTRY)
    return path


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main([*map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_network_in_which_all_sites_meet_is_fine(capsys, country):
    assert run(capsys, "topology", "check", country) == (
        0,
        "",
        "syncnode: 4 sites and 4 links: every change reaches every site\n",
    )


def test_sites_that_nobody_meets_and_links_that_nobody_can_begin_are_named(capsys, tmp_path):
    path = tmp_path / "topology.toml"
    path.write_text(
        "[sites.top]\n"
        "[sites.left]\n"
        'parent = "top"\n'
        "[sites.ship]\n"
        'url = "https://ship.example:8470"\n'
        "[sites.boat]\n"
        'peers = ["ship"]\n'
        "[sites.right]\n"
        'parent = "top"\n'
        'peers = ["left"]\n'
    )
    status, out, _ = run(capsys, "topology", "check", path)
    assert status == 1
    assert [line.removeprefix(f"{path}:") for line in out.splitlines()] == [
        "3: sites.left.parent: neither left nor top has an address, so neither can call the other; "
        'give top one, such as url = "https://sync.top.example:8470"',
        "4: sites.ship: ship, boat are linked to nobody else, so what is written there reaches no "
        "other site and what others write never comes; give ship a parent, or peers, such as "
        'peers = ["top"]',
        "9: sites.right.parent: neither right nor top has an address, so neither can call the "
        'other; give top one, such as url = "https://sync.top.example:8470"',
        "10: sites.right.peers: neither right nor left has an address, so neither can call the "
        'other; give left one, such as url = "https://sync.left.example:8470"',
    ]
    status, out, _ = run(capsys, "topology", "check", path, "--json")
    assert (status, [finding["line"] for finding in json.loads(out)]) == (1, [3, 4, 9, 10])


def test_a_broken_file_is_refused_by_its_lines(capsys, tmp_path):
    path = tmp_path / "topology.toml"
    path.write_text('[sites.a]\nparent = "b"\n[sites.b]\nparent = "a"\n')
    status, _, err = run(capsys, "topology", "check", path)
    assert status == 1
    assert f"{path}:2: sites.a.parent: makes a circle of parents" in err
    status, _, err = run(capsys, "topology", "check", tmp_path / "other.toml")
    assert (status, "no such file" in err) == (1, True)


def test_without_a_file_the_one_of_this_site_is_meant(capsys, country, tmp_path):
    settings = tmp_path / "syncnode.toml"
    settings.write_text('name = "butaro"\ndatabase = "sqlite:///clinic.db"\n')
    status, _, err = run(capsys, "topology", "check", "--config", settings)
    assert (status, "names no topology" in err) == (1, True)
    with settings.open("a") as file:
        file.write('topology = "topology.toml"\n')
    status, _, err = run(capsys, "topology", "check", "--config", settings)
    assert (status, "4 sites and 4 links" in err) == (0, True)


def test_the_text_is_a_tree_with_peers(capsys, country):
    assert run(capsys, "topology", "draw", country)[1].splitlines() == [
        "kigali  (https://sync.kigali.example:8470)",
        "├── butaro  (https://10.0.0.2:8470, every 15m)  <-> kirehe",
        "│   └── post-1  (calls others)",
        "└── kirehe  (calls others)  <-> butaro",
    ]


def test_mermaid_names_sites_by_numbers(capsys, country):
    assert run(capsys, "topology", "draw", country, "--format", "mermaid")[1].splitlines() == [
        "flowchart TD",
        '    s0["kigali<br/>https://sync.kigali.example:8470"]',
        '    s1["butaro<br/>https://10.0.0.2:8470, every 15m"]',
        '    s2["kirehe<br/>calls others"]',
        '    s3["post-1<br/>calls others"]',
        "    s0 --- s1",
        "    s0 --- s2",
        "    s1 --- s3",
        "    s2 -.- s1",
    ]


def test_svg_has_a_box_for_each_site_apart_from_the_others(capsys, country):
    status, out, _ = run(capsys, "topology", "draw", country, "--format", "svg")
    picture = ET.fromstring(out)
    space = {"svg": "http://www.w3.org/2000/svg"}
    texts = [text.text for text in picture.findall("svg:text", space)]
    assert status == 0
    assert texts[::2] == ["kigali", "butaro", "kirehe", "post-1"]
    assert len(picture.findall("svg:path", space)) == 4
    boxes = [
        tuple(float(box.get(name)) for name in ("x", "y", "width", "height"))
        for box in picture.findall("svg:rect", space)[1:]
    ]
    for place, (x, y, width, height) in enumerate(boxes):
        assert 0 <= x <= x + width <= float(picture.get("width"))
        assert y + height <= float(picture.get("height"))
        for left, top, wide, _ in boxes[place + 1 :]:
            assert top != y or left >= x + width or left + wide <= x


# What rules of tables keep from sites

RULED = """[network.tables]
report = "send"
reference = "receive"
[sites.top]
url = "https://top.example:1"
[sites.mid]
parent = "top"
url = "https://mid.example:1"
[sites.low]
parent = "mid"
[sites.side]
parent = "top"
"""


def told(capsys, path, text: str) -> list[str]:
    path.write_text(text)
    _, out, _ = run(capsys, "topology", "check", path)
    return [line.rpartition("/topology.toml:")[2] for line in out.splitlines()]


def test_rules_of_one_way_say_what_they_mean(capsys, tmp_path):
    path = tmp_path / "topology.toml"
    path.write_text(RULED)
    status, out, err = run(capsys, "topology", "check", path)
    assert (status, out) == (0, "")
    assert "every table comes where it is to be" in err
    assert "that takes the database of a site" in err


def test_a_relay_that_keeps_a_table_back_is_named_with_those_it_keeps_it_from(capsys, tmp_path):
    path = tmp_path / "topology.toml"
    assert told(capsys, path, RULED + '[sites.mid.tables]\nvisit = "none"\n') == [
        "14: sites.mid.tables.visit: what top, low and side write of visit does not all come to "
        "low, top and side, since mid does not pass it on; change this word, give them another "
        "way, or say of them that they do not send or receive it"
    ]
    # By another way it comes after all.
    assert (
        told(
            capsys,
            path,
            RULED.replace('parent = "mid"', 'parent = "mid"\npeers = ["side"]').replace(
                "[sites.side]", '[sites.side]\nurl = "https://side.example:1"'
            )
            + '[sites.mid.tables]\nvisit = "none"\n',
        )
        == []
    )
    # And who does not want it misses nothing.
    assert (
        told(capsys, path, RULED + '[groups.none]\nsites = ["mid", "low"]\ntables.visit = "none"\n')
        == []
    )


def test_one_way_by_a_third_sites_rule_is_named(capsys, tmp_path):
    path = tmp_path / "topology.toml"
    (fault,) = told(capsys, path, RULED + '[sites.mid.tables]\nvisit = "send"\n')
    assert fault.startswith(
        "14: sites.mid.tables.visit: what top and side write of visit does not all"
    )
    (fault,) = told(capsys, path, RULED + '[sites.top.with.children.tables]\n"*" = "receive"\n')
    assert "14: sites.top.with.children.tables.*: what" in fault


def test_a_table_without_what_it_refers_to_is_named(capsys, tmp_path):
    site = tmp_path / "site.db"
    connection = sqlite3.connect(site)
    connection.executescript(
        "CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE);"
        "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE,"
        " patient INTEGER NOT NULL REFERENCES patient (id), seen INTEGER REFERENCES patient (id))"
    )
    connection.close()
    topology, config = tmp_path / "topology.toml", tmp_path / "syncnode.toml"
    topology.write_text(RULED)
    place = ("--config", config)
    init = ("init", "--database", f"sqlite:///{site}", "--name", "low", *place)
    assert main([*map(str, init)]) == 0
    config.write_text(f"topology = 'topology.toml'\n{config.read_text()}")
    capsys.readouterr()

    def check(text: str) -> tuple[int, list[str]]:
        topology.write_text(text)
        status, out, _ = run(capsys, "topology", "check", *place)
        return status, [line.rpartition("/topology.toml:")[2] for line in out.splitlines()]

    assert check(RULED) == (0, [])
    assert check(RULED + '[sites.low.tables]\npatient = "none"\n') == (
        1,
        [
            "14: sites.low.tables.patient: visit comes to top, mid, low and side from sites whose "
            "patient does not, and refers to it (patient): such rows would wait there for ever; "
            "let patient come too, or keep visit away",
        ],
    )
    assert check(RULED + '[sites.low.tables]\npatient = "none"\nvisit = "none"\n') == (0, [])
    # Reference data come from above, and what refers to them goes up as well.
    assert check(RULED + '[sites.low.tables]\npatient = "receive"\nvisit = "both"\n') == (0, [])
    status, faults = check(RULED + '[sites.low.tables]\npatient = "receive"\nvisit = "send"\n')
    assert (status, faults) == (0, [])
    status, faults = check(RULED + '[sites.low.tables]\npatient = "send"\n')
    assert (status, [fault.partition(" and refers")[0] for fault in faults]) == (
        1,
        ["14: sites.low.tables.patient: visit comes to low from sites whose patient does not,"],
    )
