"""`topology.toml`: the network, and the lines of what is wrong in it."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncnode.settings.link_keys import LinkKeys
from syncnode.settings.link_rules import Said, SiteRules
from syncnode.settings.toml_lines import line_of, lines_by_path
from syncnode.settings.topology import SiteEntry, TableChoice, Topology, read_topology
from syncproto.errors import ConfigError


@pytest.fixture
def network(tmp_path):
    """Writes a topology and reads it."""

    def read(text: str) -> Topology:
        path = tmp_path / "topology.toml"
        path.write_text(text)
        return read_topology(path)

    return read


def faults(read, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [line.rpartition("/topology.toml:")[2] for line in str(caught.value).splitlines()]


def test_a_network_of_three_levels_and_a_peer_is_read(network):
    topology = network(
        """
        network.name = "rwanda"
        sites.kigali.url = "https://sync.kigali.example:8470"

        [sites.butaro]
        parent = "kigali"
        every = "15m"
        [sites.health-post]
        parent = "butaro"
        [sites."kirehe.2"]
        parent = "kigali"
        peers = ["butaro"]

        [tables]
        only = ["person"]
        exclude = ["audit_log"]
        """
    )
    assert topology.network == "rwanda"
    assert topology.tables == TableChoice(("person",), ("audit_log",))
    often = SiteRules(levels=(Said(keys=LinkKeys(900_000)),))
    assert list(topology.sites_by_name.values()) == [
        SiteEntry("kigali", url="https://sync.kigali.example:8470"),
        SiteEntry("butaro", parents=("kigali",), rules=often),
        SiteEntry("health-post", parents=("butaro",)),
        SiteEntry("kirehe.2", parents=("kigali",), peers=("butaro",)),
    ]
    assert topology.children("kigali") == ("butaro", "kirehe.2")
    assert topology.neighbours("butaro") == ("kigali", "kirehe.2", "health-post")


def test_impossible_relations_are_refused_each_on_its_line(network):
    assert faults(
        network,
        "[sites.a]\n"
        'parent = "b"\n'
        "[sites.b]\n"
        'parent = "c"\n'
        "[sites.c]\n"
        'parent = "b"\n'
        "[sites.d]\n"
        'parent = "d"\n'
        "[sites.e]\n"
        'parent = "bb"\n'
        'peers = ["e", "x", "f"]\n'
        "[sites.f]\n"
        'parent = "e"\n'
        'peers = ["e"]\n'
        'url = "https://h:1"\n'
        "[sites.g]\n"
        'url = "https://H:1/"\n',
    ) == [
        "4: sites.b.parent: makes a circle of parents (b -> c -> b); one of them must be without "
        "a parent: use peers for what lies beside",
        "8: sites.d.parent: is the site itself; name another or remove it",
        '10: sites.e.parent: "bb" is not declared under [sites]; did you mean b?',
        "11: sites.e.peers[0]: is the site itself; remove it",
        '11: sites.e.peers[1]: "x" is not declared under [sites]; known are a, b, c, d, f, g',
        '11: sites.e.peers[2]: "f" is its parent or child already; remove it',
        '14: sites.f.peers[0]: "e" is its parent or child already; remove it',
        "17: sites.g.url: is the address of f too; give each its own",
    ]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://h", "lacks the port"),
        ("http://h:1", "not encrypted"),
        ("h:1", "no address"),
        ("https://h:99999", "no address"),
        ("https://u:p@h:1", "password"),
        ("https://h:1/path", "more than host and port"),
        ("https://h h:1", "no address"),
    ],
)
def test_an_address_must_be_https_host_and_port(network, url, says):
    (fault,) = faults(network, f'[sites.a]\nurl = "{url}"\n')
    assert fault.startswith("2: sites.a.url: ")
    assert says in fault


@pytest.mark.parametrize("every", ['"often"', '"15"', '"15 min"', '"0s"', '"90d"', "15", '""'])
def test_an_interval_must_be_a_duration_within_bounds(network, every):
    (fault,) = faults(network, f"[sites.a]\nevery = {every}\n")
    assert fault.startswith("2: sites.a.every: ")


def test_what_a_later_version_carries_out_is_refused_and_not_ignored(network):
    assert faults(
        network,
        "[tables.users]\npriority = 1\n",
    ) == ["2: tables.users.priority: is not carried out by this version; remove the key"]


def test_what_a_later_version_carries_out_must_have_its_form_already(network):
    assert faults(
        network,
        "[sites.a]\n"
        'budget = "lots"\n'
        "[sites.a.tables]\n"
        'global_property = "never"\n'
        "[tables.users]\n"
        'unique.username = "win"\n'
        "priority = 0\n"
        "priorty = 1\n",
    ) == [
        '2: sites.a.budget: "lots" is no budget; write an amount by time, such as "2 MB/h"',
        '4: sites.a.tables.global_property: "never" is not one of both, send, receive, none',
        '6: tables.users.unique.username: "win" is not one of merge, rename, hold',
        "7: tables.users.priority: 0 is not between 1 and 9; 1 would do",
        "8: tables.users.priorty: is no key here; did you mean priority?",
    ]


def test_unknown_keys_and_wrong_types_are_refused_at_every_level(network):
    assert faults(
        network,
        'netwrok.name = "x"\n'
        "sites.stray = 3\n"
        "[sites.a]\n"
        "parent_s = []\n"
        'peers = "b"\n'
        "[tables]\n"
        'exlude = ["x"]\n'
        "only = []\n"
        "[network]\n"
        "name = true\n",
    ) == [
        "1: netwrok: is no key here; did you mean network?",
        "2: sites.stray: must be a table, such as [sites.stray]",
        "4: sites.a.parent_s: is no key here; did you mean parents?",
        '5: sites.a.peers: must be a list, such as ["kigali"], not "b"',
        "7: tables.exlude: is no key here; did you mean exclude?",
        "8: tables.only: names no table; name one, or remove the key to take every table",
        '10: network.name: must be a text, such as "rwinkwavu", not true',
    ]


def test_the_nodes_own_tables_cannot_be_chosen(network):
    (fault,) = faults(network, '[tables]\nonly = ["Syncnode_Journal"]\n')
    assert "is the node's own" in fault


LINES = r'''
top = 1                          # 2
"quoted \"key\"".'and.dot' = 2   # 3

many = """
[not.a.table]
key = 1
"""                              # begins on 5
[a.b]
  text = 'x # no comment'        # 10
  list = [1, [2,
    "]", """a
    b"""], {c = 4, d.e = 5}]
[[x]]
y = 1
[[x]]
y = { z = [
   1 ] }
[x.w]
v = 1979-05-27 07:32:00
[a]
later = true
'''


def test_every_key_and_element_has_its_line():
    lines = lines_by_path(LINES)
    assert {path: line for path, line in lines.items() if path} == {
        ("top",): 2,
        ('quoted "key"',): 3,
        ('quoted "key"', "and.dot"): 3,
        ("many",): 5,
        ("a", "b"): 9,
        ("a", "b", "text"): 10,
        ("a", "b", "list"): 11,
        ("a", "b", "list", 0): 11,
        ("a", "b", "list", 1): 11,
        ("a", "b", "list", 1, 0): 11,
        ("a", "b", "list", 1, 1): 12,
        ("a", "b", "list", 1, 2): 12,
        ("a", "b", "list", 2): 13,
        ("a", "b", "list", 2, "c"): 13,
        ("a", "b", "list", 2, "d"): 13,
        ("a", "b", "list", 2, "d", "e"): 13,
        ("x",): 14,
        ("x", 0): 14,
        ("x", 0, "y"): 15,
        ("x", 1): 16,
        ("x", 1, "y"): 17,
        ("x", 1, "y", "z"): 17,
        ("x", 1, "y", "z", 0): 18,
        ("x", 1, "w"): 19,
        ("x", 1, "w", "v"): 20,
        ("a",): 21,
        ("a", "later"): 22,
    }
    assert line_of(lines, ("x", 1, "missing")) == 16
    assert line_of(lines, ("nowhere",)) == 1


def paths(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Every path of a parsed document."""
    found = {path} if path else set()
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        found |= paths(inner, (*path, key))
    return found


keys = st.sampled_from(["a", "b-1", '"c d"', "'e.f'", "a.b", 'g."h#"', '"\\u0041"'])
scalars = st.sampled_from(
    [
        *("1", "-0.5e3", "true", "1979-05-27T07:32:00Z"),
        *('"]#\\""', "'\\'", '""', "''"),
        *('"""\n"x\\""""', "'''\n]'''", '""""""', '"""""a"""""', "''''''"),
    ]
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: f"[ #]\n {', '.join(parts)} ]"),
        st.tuples(keys, inner).map(lambda pair: f"{{ {pair[0]} = {pair[1]} }}"),
    ),
    max_leaves=6,
)
statements = st.one_of(
    st.tuples(keys, values).map(lambda pair: f"{pair[0]} = {pair[1]} # [x]"),
    keys.map(lambda key: f"[ {key} ]"),
    keys.map(lambda key: f"[[{key}]]"),
    st.just("# a = ["),
)


@given(st.lists(statements, max_size=8).map("\n".join))
def test_the_scanner_finds_exactly_the_paths_that_the_parser_finds(text):
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return  # the scanner is only promised valid files
    lines = lines_by_path(text)
    assert set(lines) == paths(document)
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())


def test_several_parents_are_one_network(network):
    topology = network(
        "[sites.a]\n[sites.b]\n[sites.c]\nparents = ['b', 'a']\n[sites.d]\nparent = 'c'\n"
        "peers = ['a']\n"
    )
    assert topology.sites_by_name["c"].parents == ("b", "a")
    assert topology.sites_by_name["c"].parent == "b"
    assert topology.children("a") == topology.children("b") == ("c",)
    assert topology.neighbours("c") == ("b", "a", "d")
    assert topology.neighbours("a") == ("d", "c")


def test_a_circle_over_a_second_parent_is_a_circle(network):
    assert faults(
        network,
        "[sites.a]\nparents = ['b', 'c']\n[sites.b]\n[sites.c]\nparent = 'a'\nparents = ['b']\n"
        "[sites.d]\nparents = ['d', 'x']\n",
    ) == [
        "2: sites.a.parents: makes a circle of parents (a -> c -> a); one of them must be without "
        "a parent: use peers for what lies beside",
        '6: sites.c.parents: stands beside "parent"; keep one of the two',
        "8: sites.d.parents[0]: is the site itself; name another or remove it",
        '8: sites.d.parents[1]: "x" is not declared under [sites]; known are a, b, c',
    ]
