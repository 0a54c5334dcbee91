"""Patterns of sites: who is whose parent and peer, and how they are called."""

from syncsim.patterns import Level, mesh, ring, tree


def sites(planned):
    return [(p.site.name, p.site.parent, p.site.peers) for p in planned]


def test_a_tree_hangs_each_level_below_the_one_above():
    planned = tree([Level(1, "capital"), Level(2, "district"), Level(2, "post")], None)
    assert sites(planned) == [
        ("capital", None, ()),
        ("district-1", "capital", ()),
        ("district-2", "capital", ()),
        ("post-1", "district-1", ()),
        ("post-2", "district-1", ()),
        ("post-3", "district-2", ()),
        ("post-4", "district-2", ()),
    ]


def test_a_tree_may_hang_below_a_site_that_is_there():
    assert sites(tree([Level(2, "clinic")], "kigali")) == [
        ("clinic-1", "kigali", ()),
        ("clinic-2", "kigali", ()),
    ]


def test_names_are_as_long_as_the_longest_number_so_that_they_sort():
    names = [planned.site.name for planned in tree([Level(100, "clinic")], "hub")]
    assert (names[0], names[-1]) == ("clinic-001", "clinic-100")
    assert names == sorted(names)


def test_in_a_ring_each_pair_of_neighbours_is_declared_once():
    assert sites(ring(Level(4, "school"), None)) == [
        ("school-1", None, ("school-2",)),
        ("school-2", None, ("school-3",)),
        ("school-3", None, ("school-4",)),
        ("school-4", None, ("school-1",)),
    ]


def test_a_ring_of_two_is_one_link_and_of_one_is_none():
    assert sites(ring(Level(2, "a"), None)) == [("a-1", None, ("a-2",)), ("a-2", None, ())]
    assert sites(ring(Level(1, "a"), None)) == [("a", None, ())]


def test_in_a_full_mesh_every_pair_is_linked_once():
    planned = mesh(Level(7, "ward"), "hub", neighbours=6)
    pairs = [frozenset((p.site.name, peer)) for p in planned for peer in p.site.peers]
    assert len(pairs) == len(set(pairs)) == 7 * 6 / 2
    assert all(len(pair) == 2 for pair in pairs)
    assert {planned.site.parent for planned in planned} == {"hub"}


def test_in_a_partial_mesh_everybody_has_as_many_peers():
    planned = mesh(Level(9, "team"), None, neighbours=4)
    pairs = [frozenset((p.site.name, peer)) for p in planned for peer in p.site.peers]
    assert len(pairs) == len(set(pairs)) == 9 * 4 / 2
    names = [p.site.name for p in planned]
    assert {sum(name in pair for pair in pairs) for name in names} == {4}


def test_clocks_are_wrong_on_both_sides_of_the_middle_and_never_beyond_the_spread():
    level = Level(50, "a", offset_ms=1_000, offset_spread_ms=600, drift_spread_ppm=40.0)
    made = [planned.site for planned in tree([level], None)]
    assert all(400 <= site.offset_ms <= 1_600 for site in made)
    assert all(-40 <= site.drift_ppm <= 40 for site in made)
    slow = sum(site.offset_ms < 1_000 for site in made)
    assert 20 <= slow <= 30
    assert len({site.offset_ms for site in made}) > 45


def test_a_link_upwards_may_be_of_another_class_than_those_beside():
    (planned, *_) = ring(Level(3, "ship", link="quay", uplink="sea"), "office")
    assert (planned.link, planned.link_beside) == ("sea", "quay")
    (planned, *_) = ring(Level(3, "ship", link="quay"), "office")
    assert (planned.link, planned.link_beside) == ("quay", "quay")
