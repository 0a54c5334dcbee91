"""Version vectors: what is covered, what is lacking, what two sites share."""

from hypothesis import given
from hypothesis import strategies as st
from row_examples import A, B, C, at

from syncproto.frontier import NOTHING, UNKNOWN, Entry, Frontier, VersionVector

vectors = st.dictionaries(
    st.sampled_from([A, B, C]), st.integers(1, 4).map(lambda seq: Entry(seq, seq * 7)), max_size=3
).map(VersionVector)
frontiers = st.dictionaries(st.sampled_from("tuv"), vectors, max_size=3).map(Frontier)


def vector(**seqs: int) -> VersionVector:
    origins = {"a": A, "b": B, "c": C}
    return VersionVector({origins[name]: Entry(seq, seq * 7) for name, seq in seqs.items()})


def test_a_vector_covers_up_to_its_number_and_nothing_of_strangers():
    known = vector(a=3)
    assert known.covers(at(9, A, 3))
    assert not known.covers(at(9, A, 4))
    assert not known.covers(at(9, B, 1))


@given(vectors, vectors)
def test_a_join_includes_both_and_nothing_more(one, other):
    both = one.joined(other)
    assert both.includes(one)
    assert both.includes(other)
    assert both == other.joined(one)
    assert all(both.seq(o) == max(one.seq(o), other.seq(o)) for o in (A, B, C))


def test_one_number_with_two_nonces_is_a_fork():
    ours, theirs = VersionVector({A: Entry(5, 1)}), VersionVector({A: Entry(5, 2)})
    assert list(ours.forks(theirs)) == [A]
    assert list(ours.forks(VersionVector({A: Entry(6, 2)}))) == []


def test_a_scope_that_a_site_does_not_keep_never_enters_its_frontier():
    ours = Frontier({"t": NOTHING})
    assert ours.joined(Frontier({"t": vector(a=1), "u": vector(b=1)})) == Frontier(
        {"t": vector(a=1)}
    )
    assert ours.includes(Frontier({"u": vector(b=1)}))


def test_an_own_changeset_advances_every_scope():
    before = Frontier({"t": vector(a=1), "u": NOTHING})
    entry = Entry(2, 14)
    assert before.advanced(A, entry) == Frontier({"t": vector(a=2), "u": vector(a=2)})


def test_groups_put_scopes_with_equal_vectors_together():
    frontier = Frontier({"v": vector(a=1), "t": vector(a=1), "u": NOTHING})
    assert frontier.groups() == [(("t", "v"), vector(a=1)), (("u",), NOTHING)]


@given(frontiers, frontiers)
def test_digests_agree_exactly_when_frontiers_do(one, other):
    assert (one.digest() == other.digest()) == (one == other)


def test_the_digest_covers_the_nonce():
    ours, theirs = (Frontier({"t": VersionVector({A: Entry(5, n)})}) for n in (1, 2))
    assert ours.digest() != theirs.digest()


@given(frontiers, frontiers)
def test_a_joined_frontier_includes_both(one, other):
    assert one.joined(other).includes(one)
    assert one.joined(other).includes(other)
    assert one.joined(UNKNOWN) == one


def test_the_highest_entry_of_an_origin_is_found_in_any_scope():
    frontier = Frontier({"t": vector(a=1), "u": vector(a=3, b=2)})
    assert (frontier.seq(A), frontier.entry(B), frontier.entry(C)) == (3, Entry(2, 14), (0, 0))
