"""`topology check` and `topology draw`: what cannot work is named with its line, and pictures show
every site and link."""

import json
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
