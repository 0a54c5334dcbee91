"""Invitations and joins: a good token lets one site in, once; anything else changes nothing."""

from dataclasses import replace

import pytest
from sites import make_site, one_network, settle
from wire import new_key

from syncnode.identity.credentials import decode_token, encode_token, load_key
from syncnode.links.peers import read_peers
from syncnode.machine import THIS_MACHINE, Machine
from syncnode.operations import foretelling, membership
from syncnode.operations.membership import (
    INVITATION_MS,
    answer_join,
    invite,
    join,
    join_by,
)
from syncnode.settings.config import Address
from syncproto.errors import (
    ConfigError,
    IncompatiblePeerError,
    LimitExceededError,
    MalformedMessageError,
    PeerError,
    PeerUnreachableError,
    UnexpectedMessageError,
)
from syncproto.frames import dumped, loaded
from syncproto.joining import (
    COMPARE,
    JOIN,
    REQUEST_BYTES_MAX,
    JoinRequest,
    decode_answer,
    encode_request,
    signed_part,
)
from syncproto.limits import LIMITS
from syncproto.question_bytes import decode_finding, encode_question
from syncproto.questions import Question, table_hash

SCHEMA = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT)",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE,"
    " patient_id INTEGER REFERENCES patient (id), note TEXT)",
)
URL = "https://kigali.example:8470"
UUIDS = [f"0a8e1a54-1111-4222-8333-{number:012}" for number in range(9)]


@pytest.fixture
def sites(tmp_path):
    """Makes sites that are closed at the end."""
    made = []

    def make(name, rows=None):
        def before(connection):
            for number, text in (rows or {}).items():
                connection.execute(
                    "INSERT INTO patient (id, uuid, name) VALUES (?, ?, ?)",
                    (number + 10 * len(made) + 1, UUIDS[number], text),
                )

        made.append(make_site(tmp_path, name, SCHEMA, before=before))
        return made[-1]

    yield make
    for site in made:
        site.close()


class Inviter:
    """A site that invites, and what it was asked."""

    def __init__(self, site):
        self.site = site
        self.key = load_key(site.settings.key)
        self.machine = THIS_MACHINE
        self.bodies = []

    def token(self, name="rwinkwavu", role="child"):
        return decode_token(invite(self.site.settings, name, role=role, url=URL).token)

    def answer(self, body):
        self.bodies.append(body)
        return answer_join(
            self.site.replica, self.key, self.site.settings, body, machine=self.machine
        )

    def admit(self, site, token, confirm=lambda preview: pytest.fail(f"asked: {preview}")):
        return join_by(site.settings, token, self.answer, confirm=confirm, progress=lambda _: None)

    def invitations(self):
        return self.site.look("SELECT name, used_ms IS NOT NULL FROM syncnode_invite")


def peers(site):
    with site.replica.database.read() as tx:
        return [(peer.name, peer.role, peer.url) for peer in read_peers(tx)]


def network(site):
    ((found,),) = site.look("SELECT value FROM syncnode_setting WHERE name='network'")
    return found


def signed(key, request):
    return encode_request(request, key.signature(signed_part(request)))


def request(token, key, kind=JOIN, **fields):
    return replace(
        JoinRequest(kind, token.network, token.site, token.secret, key.public, "anyone", ""),
        **fields,
    )


def test_a_token_makes_parent_and_child_of_two_sites(sites):
    parent, child = Inviter(sites("kigali")), sites("rwinkwavu")
    report = parent.admit(child, parent.token())
    assert (report.joined, report.inviter, report.url) == (True, "kigali", URL)
    assert report.role == "child"
    assert peers(parent.site) == [("rwinkwavu", "child", "")]
    assert peers(child) == [("kigali", "parent", URL)]
    assert network(child) == network(parent.site)
    assert parent.invitations() == [("rwinkwavu", 1)]


def test_a_peer_is_a_peer_on_both_sides(sites):
    one, other = Inviter(sites("kigali")), sites("butaro")
    assert one.admit(other, one.token("butaro", "peer")).role == "peer"
    assert peers(one.site) == [("butaro", "peer", "")]
    assert peers(other) == [("kigali", "peer", URL)]


def test_a_site_of_the_network_may_join_others_of_it(sites):
    top, left, right = Inviter(sites("kigali")), sites("rwinkwavu"), sites("butaro")
    top.admit(left, top.token("rwinkwavu"))
    top.admit(right, top.token("butaro"))
    beside = Inviter(left)
    beside.admit(right, beside.token("butaro", "peer"))
    assert peers(right) == [("kigali", "parent", URL), ("rwinkwavu", "peer", URL)]


def test_a_token_works_once(sites):
    parent, child, other = Inviter(sites("kigali")), sites("rwinkwavu"), sites("butaro")
    token = parent.token()
    parent.admit(child, token)
    with pytest.raises(UnexpectedMessageError, match="was used already; ask for a new one"):
        parent.admit(other, token)
    with pytest.raises(ConfigError, match="has joined kigali already"):
        parent.admit(child, token)
    assert peers(parent.site) == [("rwinkwavu", "child", "")]
    assert peers(other) == []


def test_a_site_whose_answer_was_lost_may_ask_again(sites):
    parent, child = Inviter(sites("kigali")), sites("rwinkwavu")
    token = parent.token()

    def lost(body):
        parent.answer(body)
        raise PeerUnreachableError("the answer was lost")

    with pytest.raises(PeerUnreachableError):
        join_by(child.settings, token, lost, confirm=lambda _: True, progress=lambda _: None)
    assert peers(child) == []
    assert parent.admit(child, token).joined
    assert peers(parent.site) == [("rwinkwavu", "child", "")]


def test_a_request_replayed_changes_nothing(sites):
    parent, child = Inviter(sites("kigali")), sites("rwinkwavu")
    parent.admit(child, parent.token())
    before = parent.site.look("SELECT * FROM syncnode_peer"), parent.invitations()
    parent.answer(parent.bodies[-1])
    assert (parent.site.look("SELECT * FROM syncnode_peer"), parent.invitations()) == before


def test_an_expired_token_is_refused_by_the_inviters_clock(sites):
    parent, child = Inviter(sites("kigali")), sites("rwinkwavu")
    token = parent.token()
    late_ms = THIS_MACHINE.wall_ms() + INVITATION_MS + 1
    parent.machine = Machine(wall_ms=lambda: late_ms)
    with pytest.raises(UnexpectedMessageError, match=r"expired on 20\d\d-.*; ask for a new one"):
        parent.admit(child, token)
    assert parent.invitations() == [("rwinkwavu", 0)]
    assert peers(parent.site) == peers(child) == []


def test_a_site_of_another_network_says_so_before_it_asks(sites):
    one, other = Inviter(sites("kigali")), Inviter(sites("lusaka"))
    child = sites("rwinkwavu")
    one.admit(child, one.token())
    with pytest.raises(ConfigError, match=r"belongs to .* already; a site can be in one network"):
        other.admit(child, other.token())
    with pytest.raises(ConfigError, match="in one network"):
        other.admit(one.site, other.token("kigali"))
    assert other.bodies == []


def test_a_site_that_has_invited_is_no_longer_pristine(sites):
    one, other = Inviter(sites("kigali")), Inviter(sites("lusaka"))
    one.token()
    with pytest.raises(ConfigError, match="in one network"):
        other.admit(one.site, other.token("kigali"))


def test_a_site_does_not_join_itself(sites):
    one = Inviter(sites("kigali"))
    with pytest.raises(ConfigError, match="made that token itself"):
        one.admit(one.site, one.token())


def test_names_are_unique(sites):
    parent, child, other = Inviter(sites("kigali")), sites("rwinkwavu"), sites("butaro")
    early = parent.token("rwinkwavu")
    parent.admit(child, parent.token("rwinkwavu"))
    with pytest.raises(UnexpectedMessageError, match="a child named rwinkwavu already"):
        parent.admit(other, early)
    with pytest.raises(ConfigError, match="a child named rwinkwavu already"):
        parent.token("rwinkwavu")
    with pytest.raises(ConfigError, match="is the name of this site"):
        parent.token("kigali")


def test_a_site_that_joins_anew_has_not_said_yet_what_it_holds(sites):
    """What it said before may have been said by a database that is gone."""
    parent, child = Inviter(sites("kigali")), sites("rwinkwavu")
    early = parent.token()
    parent.admit(child, parent.token())
    with parent.site.replica.database.write() as tx:
        tx.execute("UPDATE syncnode_peer SET frontier = X'00'")
    with child.replica.database.write() as tx:  # as after `uninstall` and `init`
        tx.execute("DELETE FROM syncnode_peer")
    parent.admit(child, early)
    assert parent.site.look("SELECT name, frontier FROM syncnode_peer") == [("rwinkwavu", None)]


def test_an_invitation_needs_an_address(sites):
    site = sites("kigali")
    with pytest.raises(ConfigError, match="--url https://host:port"):
        invite(site.settings, "rwinkwavu", role="child", url=None)
    listening = replace(site.settings, listen=Address("127.0.0.1", 8470))
    invitation = invite(listening, "rwinkwavu", role="child", url=None)
    assert invitation.url == "https://127.0.0.1:8470"
    assert decode_token(invitation.token).url == invitation.url


def test_the_database_does_not_hold_the_secret(sites):
    parent = Inviter(sites("kigali"))
    token = parent.token()
    ((kept,),) = parent.site.look("SELECT secret FROM syncnode_invite")
    assert kept != token.secret


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("syncnode1-AAAA", "mistyped"),
        ("hello", "this is no token"),
        ("syncnode2-AAAA", "another version"),
    ],
)
def test_a_text_that_is_no_token_changes_nothing(sites, text, said):
    child = sites("rwinkwavu")
    with pytest.raises(ConfigError, match=said):
        join(child.settings, text, confirm=lambda _: True, progress=lambda _: None)
    assert peers(child) == []


def test_an_inviter_that_cannot_be_reached_changes_nothing(sites):
    parent, child = Inviter(sites("kigali")), sites("rwinkwavu")
    token = encode_token(replace(parent.token(), url="https://127.0.0.1:1"))
    with pytest.raises(PeerUnreachableError, match=r"cannot reach 127\.0\.0\.1:1"):
        join(child.settings, token, confirm=lambda _: True, progress=lambda _: None)
    assert peers(child) == []
    assert network(child) != network(parent.site)


# What a stranger may try


def _tampered(token, key, good):
    other = new_key()
    fields = loaded(good, LIMITS)
    return {
        "garbage": (b"garbage", MalformedMessageError),
        "nothing": (b"", MalformedMessageError),
        "an empty array": (dumped([]), MalformedMessageError),
        "a number": (dumped(7), MalformedMessageError),
        "too long": (good + bytes(REQUEST_BYTES_MAX), LimitExceededError),
        "bytes behind it": (good + b"\0", MalformedMessageError),
        "one field less": (dumped(fields[:-1]), MalformedMessageError),
        "another version": (dumped([99, *fields[1:]]), IncompatiblePeerError),
        "another name": (dumped([*fields[:6], "eve", *fields[7:]]), UnexpectedMessageError),
        "a key that did not sign": (
            dumped([*fields[:5], other.public, *fields[6:]]),
            UnexpectedMessageError,
        ),
        "another kind": (dumped([fields[0], COMPARE, *fields[2:]]), UnexpectedMessageError),
        "an unknown kind": (dumped([fields[0], "leave", *fields[2:]]), MalformedMessageError),
        "an unknown secret": (
            signed(key, request(token, key, secret=bytes(16))),
            UnexpectedMessageError,
        ),
        "an unknown secret for a look": (
            signed(key, request(token, key, COMPARE, secret=bytes(16))),
            UnexpectedMessageError,
        ),
        "another network": (
            signed(key, request(token, key, network=bytes(8))),
            UnexpectedMessageError,
        ),
        "another inviter": (
            signed(key, request(token, key, inviter=other.site)),
            UnexpectedMessageError,
        ),
    }


CASES = (
    "garbage",
    "nothing",
    "an empty array",
    "a number",
    "too long",
    "bytes behind it",
    "one field less",
    "another version",
    "another name",
    "a key that did not sign",
    "another kind",
    "an unknown kind",
    "an unknown secret",
    "an unknown secret for a look",
    "another network",
    "another inviter",
)


@pytest.mark.parametrize("case", CASES)
def test_a_tampered_request_is_refused_and_changes_nothing(sites, case):
    parent, key = Inviter(sites("kigali")), new_key()
    token = parent.token()
    good = signed(key, request(token, key))
    body, error = _tampered(token, key, good)[case]
    with pytest.raises(error) as caught:
        parent.answer(body)
    assert isinstance(caught.value, PeerError)
    assert token.secret.hex() not in str(caught.value)
    assert peers(parent.site) == []
    assert parent.invitations() == [("rwinkwavu", 0)]
    parent.answer(good)
    assert peers(parent.site) == [("rwinkwavu", "child", "")]


# Two sites that hold rows


def test_rows_on_one_side_alone_are_joined_without_a_question(sites):
    parent, child = Inviter(sites("kigali", {1: "Ann"})), sites("rwinkwavu")
    assert parent.admit(child, parent.token()).joined
    below, more = Inviter(child), sites("butaro", {1: "Ann", 2: "Ben"})
    assert below.admit(more, below.token("butaro")).joined


def test_where_each_side_has_rows_of_its_own_somebody_is_asked(sites):
    parent, child = Inviter(sites("kigali", {1: "Ann"})), sites("rwinkwavu", {2: "Ben"})
    asked = []
    assert not parent.admit(child, parent.token(), lambda found: asked.append(found)).joined
    assert (asked[0].only_here, asked[0].only_there, asked[0].different) == (1, 1, 0)
    assert peers(parent.site) == peers(child) == []


def test_equal_rows_with_other_local_ids_are_no_difference(sites):
    rows = {1: "Ann", 2: "Ben"}
    parent, child = Inviter(sites("kigali", rows)), sites("rwinkwavu", rows)
    for site in (parent.site, child):
        ((local,),) = site.sql("SELECT id FROM patient WHERE name='Ann'")
        site.sql("INSERT INTO visit (uuid, patient_id, note) VALUES (?, ?, 'x')", UUIDS[5], local)
    parent.admit(child, parent.token())


def test_differing_rows_are_counted_and_a_no_changes_nothing(sites):
    parent = Inviter(sites("kigali", {1: "Ann", 2: "Ben", 3: "Cleo"}))
    child = sites("rwinkwavu", {1: "Ann", 2: "Benjamin", 4: "Dan", 5: "Eve"})
    token, asked = parent.token(), []

    def answering(answer):
        def confirm(preview):
            asked.append((preview.same, preview.only_here, preview.only_there, preview.different))
            assert preview.inviter == "kigali"
            return answer

        return confirm

    report = parent.admit(child, token, answering(False))
    assert not report.joined
    assert asked == [(1, 2, 1, 1)]
    assert peers(parent.site) == peers(child) == []
    assert parent.invitations() == [("rwinkwavu", 0)]
    assert parent.admit(child, token, answering(True)).joined


def test_the_report_names_rows_and_columns_and_values_only_if_asked_for(sites):
    parent = Inviter(sites("kigali", {1: "Ann", 2: "Ben", 3: "Cleo"}))
    child = sites("rwinkwavu", {1: "Ann", 2: "Benjamin", 4: "Dan"})
    found = []
    for values in (False, True):
        join_by(
            child.settings, parent.token(f"r{values}"), parent.answer, values=values,
            confirm=found.append, progress=lambda _: None,
        )  # fmt: skip
    for preview, shown in zip(found, (None, {"name": "Benjamin"}), strict=True):
        (table,) = [one for one in preview.tables if one.examples]
        examples = {one.row: one for one in table.examples}
        assert {row: one.where for row, one in examples.items()} == {
            UUIDS[2]: "different", UUIDS[4]: "only here", UUIDS[3]: "only there",
        }  # fmt: skip
        assert examples[UUIDS[2]].columns == ("name",)
        assert examples[UUIDS[2]].here == shown
    assert "Benjamin" not in str(found[0])
    assert found[0].bytes_sent + found[0].bytes_received < 2_000


def test_a_dry_run_compares_and_changes_nothing(sites):
    parent = Inviter(sites("kigali", {1: "Ann"}))
    child = sites("rwinkwavu", {1: "Anna"})
    token = parent.token()
    before = parent.site.look("SELECT * FROM syncnode_setting ORDER BY name")
    report = join_by(
        child.settings, token, parent.answer,
        confirm=pytest.fail, progress=lambda _: None, dry_run=True,
    )  # fmt: skip
    assert not report.joined
    assert report.preview.different == 1
    assert parent.site.look("SELECT * FROM syncnode_setting ORDER BY name") == before
    assert network(child) != network(parent.site)
    assert peers(parent.site) == peers(child) == []
    assert parent.invitations() == [("rwinkwavu", 0)]
    assert parent.admit(child, token, lambda _: True).joined


def test_rows_that_hold_the_same_under_two_names_are_hinted_at(tmp_path):
    schema = ("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)",)

    def holding(*texts):
        return lambda connection: connection.executemany(
            "INSERT INTO note (text) VALUES (?)", [(text,) for text in texts]
        )

    parent = Inviter(make_site(tmp_path, "kigali", schema, before=holding("a", "b", "c")))
    child = make_site(tmp_path, "child", schema, before=holding("x", "a", "b"))
    asked = []
    parent.admit(child, parent.token(), asked.append)
    (pairs,) = asked[0].near_pairs
    assert (pairs.table, pairs.count) == ("note", 2)
    here, there = (
        {bytes(key): text for key, text in site.look(
            "SELECT c.syncnode_key, t.text FROM note t JOIN syncnode_clock_1 c ON c.id = t.id"
        )}
        for site in (child, parent.site)
    )  # fmt: skip
    for mine, yours in pairs.examples:
        mine, yours = (bytes.fromhex(one.replace("-", "")) for one in (mine, yours))
        assert here[mine] == there[yours]
    for site in (parent.site, child):
        site.close()


def test_rows_without_a_name_that_both_sites_hold_are_asked_about(tmp_path):
    """They have a counter and nothing else, so the same row of two sites is two rows."""
    schema = ("CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT)",)

    def holding(*texts):
        return lambda connection: connection.executemany(
            "INSERT INTO note (text) VALUES (?)", [(text,) for text in texts]
        )

    asked = []

    def confirm(preview):
        asked.append(preview)
        return False

    parent = Inviter(make_site(tmp_path, "kigali", schema, before=holding("Ann", "Ben")))
    token = parent.token()
    copy = make_site(tmp_path, "copy", schema, before=holding("Ann", "Ben"))
    more = make_site(tmp_path, "more", schema, before=holding("Ann", "Ben", "Cleo"))
    for site in (copy, more):  # their first two rows are those of a common copy
        assert parent.admit(site, parent.token(site.name)).joined
    other = make_site(tmp_path, "other", schema, before=holding("Ben", "Ann"))
    assert not parent.admit(other, token, confirm).joined
    assert [(preview.different, preview.unnamed) for preview in asked] == [(0, ("note",))]
    for site in (parent.site, copy, more, other):
        site.close()


def test_a_look_does_not_use_the_token_up(sites):
    parent, key = Inviter(sites("kigali", {1: "Ann"})), new_key()
    token = parent.token()
    question = Question(bytes(8), tables={table_hash("patient"): 0})
    body = encode_question(question)
    answer = parent.answer(signed(key, request(token, key, COMPARE, question=body)))
    finding = decode_finding(decode_answer(answer).finding)
    assert finding.tables[table_hash("patient")].rows == 1
    assert parent.invitations() == [("rwinkwavu", 0)]
    assert peers(parent.site) == []


@pytest.mark.parametrize("spoiled", ["unknown", "used", "expired"])
def test_without_an_invitation_that_holds_no_question_is_answered(sites, spoiled, monkeypatch):
    """P10: who has no token, or one that was used or is too old, reads not a byte."""
    parent, key = Inviter(sites("kigali", {1: "Ann"})), new_key()
    token = parent.token()
    if spoiled == "unknown":
        token = replace(token, secret=bytes(16))
    elif spoiled == "used":
        parent.admit(sites("rwinkwavu"), token)
    else:
        late_ms = THIS_MACHINE.wall_ms() + INVITATION_MS + 1
        parent.machine = Machine(wall_ms=lambda: late_ms)
    monkeypatch.setattr(membership, "Answers", lambda _: pytest.fail("its rows were read"))
    body = encode_question(Question(bytes(8), tables={table_hash("patient"): 0}))
    with pytest.raises(UnexpectedMessageError):
        parent.answer(signed(key, request(token, key, COMPARE, question=body)))


def test_a_question_that_is_none_is_refused(sites):
    parent, key = Inviter(sites("kigali", {1: "Ann"})), new_key()
    token = parent.token()
    with pytest.raises(MalformedMessageError):
        parent.answer(signed(key, request(token, key, COMPARE, question=b"rows")))


CLASHING = (
    "CREATE TABLE kind (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT UNIQUE,"
    " changed_at DATETIME)",
    "CREATE TABLE bed (ward TEXT, number INTEGER, tag INTEGER NOT NULL UNIQUE,"
    " PRIMARY KEY (ward, number))",
)


@pytest.fixture
def clashing(tmp_path):
    def holding(kinds, beds):
        def before(connection):
            connection.executemany("INSERT INTO kind (uuid, name) VALUES (?, ?)", kinds)
            connection.executemany("INSERT INTO bed VALUES (?, ?, ?)", beds)

        return before

    first = holding(
        [(UUIDS[1], "adult"), (UUIDS[2], "child"), (UUIDS[3], None), (UUIDS[7], "same")],
        [("east", 1, 7), ("east", 2, 8)],
    )
    second = holding(
        [(UUIDS[4], "adult"), (UUIDS[5], "nurse"), (UUIDS[6], None), (UUIDS[7], "same")],
        [("west", 1, 7), ("east", 2, 8)],
    )
    parent = Inviter(make_site(tmp_path, "kigali", CLASHING, before=first))
    child = make_site(tmp_path, "rwinkwavu", CLASHING, before=second)
    yield parent, child
    for site in (parent.site, child):
        site.close()


def foretold(parent, child, **options):
    return join_by(
        child.settings, parent.token(), parent.answer,
        confirm=pytest.fail, progress=lambda _: None, dry_run=True, **options,
    ).preview.clashes  # fmt: skip


def test_a_dry_run_foretells_which_rows_clash_in_unique_values(clashing):
    parent, child = clashing
    bed, kind = foretold(parent, child)
    assert (bed.table, bed.columns, bed.done, bed.count, bed.whole) == (
        "bed", ("tag",), "waits", 1, True,
    )  # fmt: skip
    assert (kind.table, kind.columns, kind.done, kind.count, kind.whole) == (
        "kind", ("name",), "marked", 1, True,
    )  # fmt: skip
    assert "adult" not in str(kind)
    (_, (keeps, gives_way, value)) = (
        example for one in foretold(parent, child, values=True) for example in one.examples
    )
    assert {keeps, gives_way} == {UUIDS[1], UUIDS[4]}
    assert value == "adult"
    # And so it comes.
    parent.admit(child, parent.token(), lambda _: True)
    one_network(parent.site, child)
    settle(parent.site, child)
    for site in (parent.site, child):
        names = dict(site.sql("SELECT uuid, name FROM kind WHERE name LIKE 'adult%'"))
        assert names[keeps] == "adult"
        assert names[gives_way].startswith("adult~")
        assert site.sql("SELECT count(*) FROM bed") == [(2,)]
        assert [key for _, _, key in site.sql("SELECT * FROM bed ORDER BY tag")] == [7, 8]


def test_of_many_rows_the_first_are_looked_at_and_that_is_said(tmp_path, monkeypatch):
    def holding(numbers):
        rows = [(UUIDS[number], f"name {number % 3}") for number in numbers]
        return lambda connection: connection.executemany(
            "INSERT INTO kind (uuid, name) VALUES (?, ?)", rows
        )

    parent = Inviter(make_site(tmp_path, "kigali", CLASHING, before=holding((0, 1, 2))))
    child = make_site(tmp_path, "rwinkwavu", CLASHING, before=holding((3, 4, 5)))
    (found,) = foretold(parent, child)
    assert (found.count, found.whole) == (3, True)
    monkeypatch.setattr(foretelling, "ROWS_MAX", 2)  # of three, so that one pair is among them
    (found,) = foretold(parent, child)
    assert found.count in (1, 2)
    assert not found.whole
    for site in (parent.site, child):
        site.close()


def test_who_joins_at_once_need_not_fetch_rows_for_what_he_does_not_ask(clashing):
    parent, child = clashing
    asked = []
    parent.admit(child, parent.token(), asked.append)
    assert asked[0].clashes == ()
