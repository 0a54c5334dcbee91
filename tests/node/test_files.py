"""Files of declared directories: found, fetched behind all rows, never lost, never elsewhere."""

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from file_desks import FileDesk, talk
from hypothesis import given
from hypothesis import strategies as st
from sites import one_network, settle, sync

from syncnode.files.manifest import Change, Content, write_changes
from syncnode.files.names import OWN, beside, name_fault
from syncnode.operations.reporting import conflicts, status
from syncproto.directions import Directions
from syncproto.file_turns import FileTurn, Piece
from syncproto.keys import composite_key

TABLE = "files:obs"
MakeDesk = Callable[..., FileDesk]


@pytest.fixture
def desk(tmp_path) -> Iterator[MakeDesk]:
    made: list[FileDesk] = []

    def make(name: str, **options: object) -> FileDesk:
        made.append(FileDesk(tmp_path, name, **options))
        one_network(made[0].site, made[-1].site)
        return made[-1]

    yield make
    for one in made:
        one.close()


def exchange(*desks: FileDesk, **how: int) -> None:
    """Rows first, then files, between all."""
    settle(*(one.site for one in desks))
    for one in desks:
        for other in desks:
            if one is not other:
                talk(one, other, **how)


def test_files_arrive_change_and_go(desk):
    a, b = desk("a"), desk("b")
    a.write("scans/one.jpg", b"1" * 100_000)
    a.write("two.txt", b"")
    a.look()
    exchange(a, b)
    assert b.held() == a.held() == {"scans/one.jpg": b"1" * 100_000, "two.txt": b""}

    b.write("scans/one.jpg", b"corrected")
    (b.root / "two.txt").unlink()
    b.look()
    exchange(a, b)
    assert a.held() == b.held() == {"scans/one.jpg": b"corrected"}
    assert a.trash() == [b"", b"1" * 100_000]
    assert a.site.conflicts() == []
    # What came from others is no change of ours.
    before = a.site.state()
    a.look()
    b.look()
    settle(a.site, b.site)
    assert a.site.state() == before


def test_content_that_is_here_is_copied_and_not_fetched(desk):
    a, b = desk("a"), desk("b")
    content = os.urandom(50_000)
    a.write("one.jpg", content)
    a.look()
    exchange(a, b)
    assert b.received == 50_000
    a.write("again/two.jpg", content)
    (a.root / "one.jpg").rename(a.root / "renamed.jpg")
    a.look()
    exchange(a, b)
    assert b.held() == {"again/two.jpg": content, "renamed.jpg": content}
    assert b.received == 50_000


@pytest.mark.parametrize("seed", range(4))
def test_a_fetch_that_is_cut_anywhere_goes_on_from_there(desk, seed):
    chance = random.Random(seed)
    a, b = desk("a"), desk("b")
    content = chance.randbytes(30_000)
    a.write("one.jpg", content)
    a.look()
    settle(a.site, b.site)
    cuts, lost, reached = 0, 0, 0
    while b.held() != {"one.jpg": content}:
        room = chance.randrange(1, 4_000)
        caller, callee = (a, b) if chance.random() < 0.5 else (b, a)
        if not talk(caller, callee, room=room, cut_at=chance.randrange(2, 12)):
            cuts, lost = cuts + 1, lost + room
        size = b.folder.part_size(_digest(content))
        assert size >= reached or b.held(), "what has come is kept"
        reached = size
        if chance.random() < 0.3:
            b.restart()
            sync(b.site, a.site)
        assert cuts < 100, "it comes no nearer to its end"
    assert cuts > 2
    assert b.received <= len(content)  # a turn that is lost brings nothing, and nothing came twice


def test_files_wait_until_all_rows_are_exchanged(desk):
    a, b = desk("a"), desk("b")
    a.write("one.jpg", b"one")
    a.look()
    assert not talk(a, b)
    assert b.held() == {}
    settle(a.site, b.site)
    a.site.sql("INSERT INTO patient (uuid, name) VALUES ('u1', 'x')")
    assert not talk(a, b)
    assert b.held() == {}
    exchange(a, b)
    assert b.held() == {"one.jpg": b"one"}


def test_two_sites_that_write_one_name_both_keep_what_they_wrote(desk):
    a, b, c = desk("a"), desk("b"), desk("c")
    a.write("one.jpg", b"first")
    a.look()
    exchange(a, b, c)
    a.write("one.jpg", b"by a")
    b.write("one.jpg", b"by b, later")
    a.look()
    b.look()
    exchange(a, b, c)
    a.look()
    b.look()
    exchange(a, b, c)
    both = {"one.jpg": b"by b, later", beside("one.jpg", _digest(b"by a")): b"by a"}
    assert a.held() == b.held() == c.held() == both
    (conflict,) = a.site.conflicts()
    assert conflict[:2] == (TABLE, "content")
    assert conflict[3].startswith(_digest(b"by a").hex())
    (report,) = conflicts(a.site.settings)
    assert (report.table, report.column) == (TABLE, "content")


def test_status_names_what_is_missing_who_wrote_it_and_who_lacks_it_too(desk):
    a, relay, b = desk("a"), desk("relay", wanted=False), desk("b")
    a.write("one.jpg", b"one")
    a.look()
    for one, other in ((a, relay), (relay, b), (relay, b)):
        sync(one.site, other.site)

    def notes(of: FileDesk) -> list[str]:
        found = status(replace(of.site.settings, files=(of.directory,))).notes
        return [note for note in found if note.startswith("files of obs")]

    (note,) = notes(b)
    assert note.startswith("files of obs: 1 file (3 bytes) missing here, written at ")
    assert notes(relay) == notes(a) == []
    talk(b, relay)
    b.folder.notes.put_asked(b.supply.lacking())
    (note,) = notes(b)
    assert note.endswith("; relay lacks 1 of them, too")
    sync(a.site, b.site)
    talk(b, a)
    b.folder.notes.put_asked(b.supply.lacking())
    assert notes(b) == []
    b.folder.close()
    b.root.rename(b.root.with_name("away"))
    (note,) = notes(b)
    assert note == f"files of obs: there is no directory {b.root}"


def test_equal_files_of_two_sites_are_no_conflict(desk):
    a, b = desk("a"), desk("b")
    for number, one in enumerate((a, b)):
        one.write("one.jpg", b"the same")
        os.utime(one.root / "one.jpg", (1_000 + number, 1_000 + number))
        one.look()
    exchange(a, b)
    assert a.site.conflicts() == b.site.conflicts() == []
    assert (a.received, b.received) == (0, 0)


def test_wrong_content_is_refused_and_named_and_taken_from_another_site(desk):
    a, b, liar = desk("a"), desk("b"), desk("liar")
    a.write("one.jpg", b"the truth")
    a.look()
    exchange(a, liar)
    settle(a.site, b.site, liar.site)
    known = liar.folder.notes.known("one.jpg")
    (liar.root / "one.jpg").write_bytes(b"the trutH")
    found = liar.folder.stat("one.jpg")
    liar.folder.notes.put(
        known._replace(stat=known.stat._replace(mtime_ns=found.st_mtime_ns, inode=found.st_ino))
    )
    talk(b, liar)
    assert b.received == 9
    assert b.held() == {}
    assert b.folder.notes.faults() == {
        "one.jpg": "liar gave other content than its manifest names; it was refused"
    }
    talk(b, liar)
    assert b.received == 9
    talk(b, a)
    assert b.held() == {"one.jpg": b"the truth"}
    assert b.folder.notes.faults() == {}


def test_pieces_that_nobody_asked_for_are_left(desk):
    a, b = desk("a"), desk("b")
    a.write("one.jpg", b"the truth")
    a.look()
    settle(a.site, b.site)
    b.catalogue.follow()
    b.supply.take(a.site.id, FileTurn(pieces=(Piece(_digest(b"the truth"), 0, b"the t"),)))
    assert b.folder.part_size(_digest(b"the truth")) == 0


def test_who_was_killed_over_a_question_is_asked_again_at_once(desk):
    a, b = desk("a"), desk("b")
    a.write("one.jpg", b"one")
    a.look()
    settle(a.site, b.site)
    b.catalogue.follow()
    nothing = FileTurn()
    for _ in range(2):  # the second time it has started anew and knows of no question
        b.supply.take(a.site.id, nothing)
        assert len(b.supply.turn(a.site.id, (), 0, 100).asks) == 1


HOSTILE = (
    "../evil",
    "/tmp/evil",
    "a/../../evil",
    f"{OWN}/files.db",
    f"{OWN.upper()}/x",
    "a\\..\\evil",
    "nul\0",
    "",
    "x" * 300,
    "a//b",
)


def test_names_that_lead_elsewhere_are_followed_by_nobody(desk, tmp_path):
    a, b = desk("a"), desk("b")
    content = Content(_digest(b"evil"), 4)
    a.write("good", b"evil")
    a.look()
    write_changes(a.site.replica, TABLE, [Change(name, content, 1) for name in HOSTILE])
    before = _tree(tmp_path, b)
    exchange(a, b)
    assert b.held() == {"good": b"evil"}
    assert _tree(tmp_path, b) == before
    assert len(b.folder.notes.faults()) == len(HOSTILE)


def test_a_link_in_the_way_is_not_followed(desk, tmp_path):
    a, b = desk("a"), desk("b")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (b.root / "scans").symlink_to(outside)
    (b.root / "leak").symlink_to(outside / "secret")
    a.write("scans/one.jpg", b"one")
    a.write("leak", b"two")
    a.look()
    b.look()
    exchange(a, b)
    assert sorted(os.listdir(outside)) == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"
    assert set(b.folder.notes.faults()) == {"scans/one.jpg", "leak"}
    assert a.held() == {"scans/one.jpg": b"one", "leak": b"two"}
    # Once the way is free it comes.
    (b.root / "scans").unlink()
    b.catalogue.tidy(0.0)
    exchange(a, b)
    assert b.held()["scans/one.jpg"] == b"one"


def test_a_relay_that_does_not_want_files_passes_their_manifest_on(desk):
    a, relay, c = desk("a"), desk("relay", wanted=False), desk("c")
    a.write("one.jpg", b"one")
    a.look()
    sync(a.site, relay.site)
    sync(relay.site, c.site)
    sync(relay.site, c.site)
    talk(a, relay)
    talk(c, relay)
    assert relay.held() == c.held() == {}
    assert len(c.catalogue.missing) == 1
    assert c.supply.lacking() == {"relay": 1}
    sync(a.site, c.site)
    talk(c, a)
    assert c.held() == {"one.jpg": b"one"}
    assert c.supply.lacking() == {}


def test_content_is_not_given_where_a_rule_keeps_the_manifest_back(desk):
    a, b = desk("a"), desk("b")
    a.write("one.jpg", b"one")
    a.look()
    settle(a.site, b.site)
    b.catalogue.follow()
    keeps_back = Directions(frozenset([TABLE]), frozenset())
    asked = b.supply.turn(a.site.id, (), 0, 100)
    given = a.supply.turn(b.site.id, asked.asks, 100, 0)
    assert len(given.pieces) == 1
    a.site.replica.words = _Words(keeps_back)
    given = a.supply.turn(b.site.id, asked.asks, 100, 0)
    assert (given.pieces, given.lacking) == ((), (_digest(b"one"),))


def test_a_file_that_is_still_being_written_waits(desk):
    from syncnode.files.scanning import look

    a = desk("a")
    a.write("one.jpg", b"half")
    first = look(a.folder, a.catalogue.stats(), {})
    assert first.read == []
    a.write("one.jpg", b"half and more")
    second = look(a.folder, a.catalogue.stats(), first.present)
    assert second.read == []
    third = look(a.folder, a.catalogue.stats(), second.present)
    assert [(name, digest) for name, _, digest in third.read] == [
        ("one.jpg", _digest(b"half and more"))
    ]


def test_an_empty_disk_deletes_nothing_and_is_filled_again(desk):
    a, b = desk("a"), desk("b")
    a.write("one.jpg", b"one")
    a.look()
    exchange(a, b)
    b.folder.close()
    b.root.rename(b.root.with_name("unmounted"))
    b.root.mkdir()
    b.open()
    b.look()
    exchange(a, b)
    assert a.held() == b.held() == {"one.jpg": b"one"}


def test_what_was_written_between_look_and_arrival_stays(desk):
    a, b = desk("a"), desk("b")
    a.write("one.jpg", b"one")
    a.look()
    exchange(a, b)
    a.write("one.jpg", b"two")
    a.look()
    b.write("one.jpg", b"edited, and nobody has looked")
    exchange(a, b)
    assert b.held() == {"one.jpg": b"edited, and nobody has looked"}
    b.look()
    exchange(a, b)
    a.look()
    exchange(a, b)
    assert sorted(a.held().values()) == sorted(b.held().values())
    assert set(b.held().values()) == {b"two", b"edited, and nobody has looked"}
    (conflict,) = b.site.conflicts()
    assert b.site.conflicts() == a.site.conflicts()
    assert conflict[3].startswith(_digest(b"two").hex())


def test_patterns_and_sizes_bound_what_takes_part(desk):
    a, b = desk("a"), desk("b", patterns=("*.jpg",), size_max=10)
    a.write("scans/one.jpg", b"one")
    a.write("large.jpg", b"eleven bytes")
    a.write("two.txt", b"two")
    a.look()
    exchange(a, b)
    assert b.held() == {"scans/one.jpg": b"one"}
    assert b.folder.notes.faults() == {"large.jpg": "large.jpg is larger than 10 bytes"}


def test_edits_of_a_directory_that_is_only_received_give_way_and_stay_visible(desk):
    a, b = desk("a"), desk("b")
    a.write("one.jpg", b"one")
    a.look()
    exchange(a, b)
    before = a.site.state()
    b.write("one.jpg", b"mine")
    b.write("new.jpg", b"new")
    b.look(only_received=True)
    exchange(a, b)
    assert a.site.state() == before
    assert b.held() == {
        "one.jpg": b"one",
        "new.jpg": b"new",
        beside("one.jpg", _digest(b"mine")): b"mine",
    }
    (b.root / "one.jpg").unlink()
    b.look(only_received=True)
    exchange(a, b)
    assert b.held()["one.jpg"] == b"one"


def test_a_site_under_a_new_incarnation_goes_on_as_the_author_of_its_files(desk):
    a, b = desk("a"), desk("b")
    a.write("one.jpg", b"one")
    a.look()
    settle(a.site, b.site)
    a.write("two.jpg", b"two")
    a.look()
    a.site.replica.renew(2, 1)
    a.site.check()
    exchange(a, b)
    assert b.held() == {"one.jpg": b"one", "two.jpg": b"two"}


def test_the_trash_is_emptied_in_time_and_parts_that_nobody_wants_go(desk):
    a, b = desk("a"), desk("b")
    a.write("one.jpg", b"one" * 1_000)
    a.look()
    settle(a.site, b.site)
    talk(b, a, room=500, cut_at=2)
    assert b.folder.part_size(_digest(b"one" * 1_000)) == 500
    a.write("one.jpg", b"two")
    a.look()
    exchange(a, b)
    b.catalogue.tidy(0.0)
    assert os.listdir(b.root / OWN / "parts") == []
    (a.root / "one.jpg").unlink()
    a.look()
    exchange(a, b)
    now_s = (b.root / OWN).stat().st_mtime
    b.catalogue.tidy(now_s + 29 * 86_400)
    assert b.trash() == [b"two"]
    b.catalogue.tidy(now_s + 40 * 86_400)
    assert b.trash() == []


@pytest.mark.parametrize("step", ["announced", "moved away", "put"])
def test_a_process_that_is_killed_while_it_puts_a_file_repeats_nobodys_past(desk, step):
    a, b = desk("a"), desk("b")
    a.write("one.jpg", b"one")
    a.look()
    exchange(a, b)
    a.write("one.jpg", b"two")
    a.look()
    settle(a.site, b.site)
    b.folder.notes.announce("one.jpg", _digest(b"two"))
    if step != "announced":
        (b.root / "one.jpg").unlink()
    if step == "put":
        b.write("one.jpg", b"two")
    a.write("one.jpg", b"three")
    a.look()
    settle(a.site, b.site)
    b.restart()
    b.look()
    exchange(a, b)
    assert a.held() == b.held() == {"one.jpg": b"three"}
    assert a.site.conflicts() == []


names = st.text(st.sampled_from("ab./\\~\0é"), max_size=12)


@given(names)
def test_no_name_that_passes_leads_out_of_the_directory(name):
    if name_fault(name) is not None:
        return
    for one in (name, beside(name, bytes(32))):
        path = os.path.normpath(os.path.join("/root/obs", one))
        assert path == f"/root/obs/{one}"
        assert not path.startswith(f"/root/obs/{OWN}")


def test_names_are_told_apart_by_every_letter():
    upper, lower = "0A8E1F6B-1111-4111-8111-AAAAAAAAAAAA", "0a8e1f6b-1111-4111-8111-aaaaaaaaaaaa"
    assert composite_key(TABLE, (upper,)) != composite_key(TABLE, (lower,))


class _Words:
    def __init__(self, said: Directions) -> None:
        self._said = said

    def of(self, *_: object) -> Directions:
        return self._said


def _digest(content: bytes) -> bytes:
    from hashlib import sha256

    return sha256(content).digest()


def _tree(folder, without: FileDesk) -> set[str]:
    """Everything outside of one directory."""
    found = set()
    for root, _, files in os.walk(folder):
        if not root.startswith(str(without.root)):
            found |= {os.path.join(root, name) for name in files if "site.db" not in name}
    return found
