"""A populated site joins: what both hold alike takes over the inviter's stamps and does not travel,
and every site ends equal, whoever writes what and when."""

import sqlite3
from contextlib import closing
from random import Random

import pytest
from joins import Inviting
from mariadb_sites import maker, run, say
from sites import Site, connect, make_site, one_network, same, settle, sync

from syncnode.comparing import pages
from syncnode.identity.anchor import Anchor
from syncnode.identity.credentials import Token, encode_token
from syncnode.machine import THIS_MACHINE
from syncnode.operations import adopting, initialise_clone
from syncnode.replica import DatabaseReplica
from syncnode.settings.config import read_settings
from syncnode.settings.link_rules import Said, SiteRules
from syncnode.settings.new_config import new_settings
from syncnode.store.database import Database
from syncnode.store.link_words import LinkWords
from syncproto.clock import SKEW_MS_MAX, milliseconds
from syncproto.errors import PeerUnreachableError
from syncproto.joining import COMPARE, JOIN
from syncproto.question_bytes import decode_question

SCHEMA = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " name VARCHAR(50), village VARCHAR(50), date_changed DATETIME)",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " person_id INTEGER, note VARCHAR(50), FOREIGN KEY (person_id) REFERENCES person (id))",
    "CREATE TABLE member (person_id INTEGER NOT NULL, team VARCHAR(20) NOT NULL, role VARCHAR(20),"
    " PRIMARY KEY (person_id, team), FOREIGN KEY (person_id) REFERENCES person (id))",
    "CREATE TABLE tag (label VARCHAR(20), colour VARCHAR(20))",
)
PICTURE = (
    "SELECT uuid, name, village, date_changed FROM person",
    "SELECT v.uuid, p.uuid, v.note FROM visit v LEFT JOIN person p ON p.id = v.person_id",
    "SELECT p.uuid, m.team, m.role FROM member m JOIN person p ON p.id = m.person_id",
    "SELECT label, colour FROM tag",
)
SECOND = 1_000
MIDDAY_MS = 1_577_880_000_000  # 2020-01-01 12:00:00
EARLIER, LATER = "2020-01-01 12:00:00", "2021-01-01 12:00:00"
SEEDS = 12


def uuid(number: int) -> str:
    return f"0a8e1a54-1111-4222-8333-{number:012}"


def picture(site: Site):
    """What the tables show, by plain SQL, without local numbers."""
    return [sorted(map(repr, site.sql(text))) for text in PICTURE]


def all_equal(*sites: Site) -> None:
    """Rows as shown, and whole replicated states."""
    for other in sites[1:]:
        assert picture(other) == picture(sites[0])
    same(*sites)


@pytest.fixture
def make(tmp_path):
    """Makes sites on SQLite whose tables hold rows when `init` comes."""
    made = []

    def one(name, rows, **options):
        def before(connection):
            for text, *values in rows:
                connection.execute(text, values)

        schema = [statement.format(auto="") for statement in SCHEMA]
        made.append(make_site(tmp_path, name, schema, before=before, **options))
        return made[-1]

    yield one
    for site in made:
        site.close()


def person(number, name, *, local=0, changed=None, village="Gisenyi"):
    return (
        "INSERT INTO person (id, uuid, name, village, date_changed) VALUES (?, ?, ?, ?, ?)",
        number + local, uuid(number), name, village, changed,
    )  # fmt: skip


def people(count, *, local=0, changed=EARLIER):
    return [person(n, f"name {n}", local=local, changed=changed) for n in range(1, count + 1)]


def stamps(site, table="person"):
    """The stamps of a row's cells, by key; each row must have one for all."""
    found = {}
    for (name, key), row in site.state().items():
        if name == table:
            (found[key],) = {cell.stamp for cell in row.cells.values()}
    return found


def kinds(inviting):
    """Of which parts the questions of an adoption were made."""
    found = []
    for request, _, _ in inviting.asked:
        if request.kind == COMPARE and (question := decode_question(request.question)).reading:
            found.append("pages" if question.pages else "rest" if question.rest else "rows")
    return found


# What travels


def test_of_rows_that_are_the_same_nothing_travels_and_the_inviter_s_stamps_stand(make):
    kigali, butaro = make("kigali", people(300)), make("butaro", people(300, local=1_000))
    before = stamps(kigali)
    inviting = Inviting(kigali)
    inviting.admit(butaro)
    assert kinds(inviting) == ["pages", "rest"]
    assert inviting.bytes_told < 1_000
    butaro.reopen()
    done = sync(butaro, kigali)
    assert (done.sent, done.received) == (0, 0)
    all_equal(kigali, butaro)
    assert stamps(butaro) == before
    assert butaro.sql("SELECT min(id), max(id) FROM person") == [(1_001, 1_300)]


def test_only_rows_that_differ_travel_and_end_as_they_always_did(make):
    def rows(local, changes, more):
        found = {n: person(n, f"name {n}", local=local, changed=EARLIER) for n in range(1, 101)}
        found |= {n: person(n, *change, local=local) for n, change in ()}
        found |= {n: person(n, name, local=local, changed=when) for n, (name, when) in changes}
        found |= {n: person(n, f"only {n}", local=local) for n in more}
        return list(found.values())

    here = rows(0, [(5, ("Ann", LATER)), (6, ("Ben", EARLIER))], [201, 202])
    there = rows(1_000, [(5, ("Anna", EARLIER)), (6, ("Benjamin", LATER))], [301])
    kigali, butaro = make("kigali", here), make("butaro", there)
    inviting = Inviting(kigali)
    inviting.admit(butaro)
    assert kinds(inviting) == ["pages", "rest", "rows"]
    butaro.reopen()
    done = sync(butaro, kigali)
    assert done.sent == 3  # two that differ, and what butaro alone has
    settle(kigali, butaro)
    all_equal(kigali, butaro)
    names = dict(kigali.sql("SELECT uuid, name FROM person WHERE id IN (5, 6)"))
    assert names == {uuid(5): "Ann", uuid(6): "Benjamin"}
    assert kigali.conflicts() == [
        ("person", "date_changed", LATER, EARLIER),
        ("person", "date_changed", LATER, EARLIER),
        ("person", "name", "Ann", "Anna"),
        ("person", "name", "Benjamin", "Ben"),
    ]
    # What is written afterwards goes both ways as ever.
    kigali.sql("UPDATE person SET village='Butare' WHERE uuid=?", uuid(7))
    butaro.sql("UPDATE person SET name='Cleo' WHERE uuid=?", uuid(7))
    butaro.sql("DELETE FROM person WHERE uuid=?", uuid(8))
    settle(kigali, butaro)
    all_equal(kigali, butaro)
    assert kigali.sql("SELECT name, village FROM person WHERE uuid=?", uuid(7)) == [
        ("Cleo", "Butare")
    ]
    assert len(kigali.conflicts()) == 4


def test_a_join_that_takes_nothing_over_ends_with_the_same_rows(make, monkeypatch):
    """The rows that differ are decided alike, with and without."""
    ends = []
    for number, least in enumerate((adopting.SAME_ROWS_MIN, 10**9)):
        monkeypatch.setattr(adopting, "SAME_ROWS_MIN", least)
        drawn = Random(5)
        sites = []
        for name, local in (("kigali", 0), ("butaro", 1_000)):
            rows = []
            for n in range(1, 61):
                odd = drawn.random() < 0.2
                when = drawn.choice((EARLIER, LATER)) if odd else EARLIER
                rows.append(person(n, f"{name} {n}" if odd else "same", local=local, changed=when))
            sites.append(make(f"{name}{number}", rows))
        Inviting(sites[0]).admit(sites[1])
        sites[1].reopen()
        settle(*sites)
        ends.append(picture(sites[0])[0])
    # Rows without a later time are decided by the site's number, which is drawn.
    assert [[line for line in end if LATER in line] for end in ends[:1]] == [
        [line for line in end if LATER in line] for end in ends[1:]
    ]
    assert len(ends[0]) == len(ends[1]) == 60


def test_times_that_the_rule_does_not_say_are_told(make):
    """Rows that came after `init` have the time of their write, whatever they say themselves."""
    kigali, butaro = make("kigali", people(40)), make("butaro", people(60, local=100))
    for text, *values in people(60)[40:]:
        kigali.sql(text, *values)
    before = stamps(kigali)
    assert len({stamp.seq for stamp in before.values()}) == 2
    inviting = Inviting(kigali)
    inviting.admit(butaro)
    assert kinds(inviting) == ["pages", "rest"]
    butaro.reopen()
    done = sync(butaro, kigali)
    assert (done.sent, done.received) == (0, 0)
    assert stamps(butaro) == before
    all_equal(kigali, butaro)


def test_tables_of_which_little_is_the_same_come_with_the_rest(make):
    def visits(local, first):
        return [
            ("INSERT INTO visit (id, uuid, person_id, note) VALUES (?, ?, ?, 'x')",
             n + local, uuid(first + n), n + local)
            for n in range(1, 21)
        ]  # fmt: skip

    kigali = make("kigali", [*people(60), *visits(0, 1_000)])
    butaro = make("butaro", [*people(60, local=100), *visits(100, 2_000)])
    inviting = Inviting(kigali)
    inviting.admit(butaro)
    assert kinds(inviting) == ["pages", "rest"]
    butaro.reopen()
    done = sync(butaro, kigali)
    assert (done.sent, done.received) == (20, 0)
    all_equal(kigali, butaro)
    assert butaro.sql("SELECT count(*) FROM visit") == [(40,)]


def test_rows_that_are_the_same_and_not_plain_come_with_the_rest(make):
    """Rows of which single cells were written, and one of which something is kept aside."""
    kigali, butaro = make("kigali", people(40)[2:]), make("butaro", people(40, local=100))
    nyanza = make("nyanza", [])
    Inviting(kigali).admit(nyanza)
    nyanza.reopen()
    for text, *values in people(2):
        kigali.sql(text, *values)
    settle(kigali, nyanza)
    for name in ("other", "name 3"):
        kigali.sql("UPDATE person SET name=? WHERE uuid=?", name, uuid(3))
        kigali.replica.seal()
    future_ms = THIS_MACHINE.wall_ms() + 86_400_000
    at(nyanza, future_ms, "UPDATE person SET name='N' WHERE uuid=?", uuid(2))
    sync(nyanza, kigali)
    assert kigali.look("SELECT count(*) FROM syncnode_row WHERE place='aside'") == [(1,)]
    inviting = Inviting(kigali)
    inviting.admit(butaro)
    assert kinds(inviting) == ["pages", "rest"]
    butaro.reopen()
    sync(butaro, kigali)
    same(kigali, butaro)
    assert butaro.look("SELECT count(*) FROM syncnode_row WHERE place='aside'") == [(1,)]


# A third site


def at(site, ms, text, *values):
    """What the application writes at a time."""
    site.sql(text, *values)
    site.sql("UPDATE syncnode_journal SET ms=?", ms)
    site.replica.seal()


def test_a_third_site_s_write_between_both_stamps_wins_or_loses_alike_everywhere(make):
    """The counterexample to keeping one's own stamps: equal values, other times."""
    kigali, butaro = make("kigali", people(20)[1:]), make("butaro", people(20, local=100))
    nyanza = make("nyanza", [])
    Inviting(kigali).admit(nyanza)
    nyanza.reopen()
    settle(kigali, nyanza)
    # butaro's row says midday by its own time. nyanza wrote it a minute later, and kigali two
    # minutes later, with the values that butaro has.
    text, *values = person(1, "N", local=900)
    at(nyanza, MIDDAY_MS + 60 * SECOND, text, *values)
    text, *values = people(20)[0]
    at(kigali, MIDDAY_MS + 120 * SECOND, text, *values)
    Inviting(kigali).admit(butaro)
    butaro.reopen()
    assert sync(butaro, kigali).sent == 0
    sync(nyanza, butaro)
    settle(kigali, butaro, nyanza)
    all_equal(kigali, butaro, nyanza)
    assert butaro.sql("SELECT name FROM person WHERE uuid=?", uuid(1)) == [("name 1",)]
    at(nyanza, MIDDAY_MS + 600 * SECOND, "UPDATE person SET name='M' WHERE uuid=?", uuid(1))
    settle(kigali, butaro, nyanza)
    assert butaro.sql("SELECT name FROM person WHERE uuid=?", uuid(1)) == [("M",)]


def test_a_copy_of_the_joining_site_that_comes_later_ends_equal(make, tmp_path):
    """It holds the rows under the stamps that were given up."""
    kigali, butaro = make("kigali", people(30)), make("butaro", people(30, local=100))
    butaro.sql("UPDATE person SET village='Kibuye' WHERE uuid=?", uuid(9))
    butaro.replica.seal()
    (tmp_path / "copy").mkdir()
    with closing(sqlite3.connect(tmp_path / "copy" / "site.db")) as file:
        butaro.connection.backup(file)
    url = f"sqlite:///{tmp_path / 'copy' / 'site.db'}"
    settings = new_settings(
        tmp_path / "copy" / "syncnode.toml", name="copy", database=url, environment={}
    )
    initialise_clone(settings, dry_run=False, progress=lambda _: None)
    settings = read_settings(settings.path)
    replica = DatabaseReplica(Database(settings.database), Anchor(settings.anchor))
    copy = Site(settings, connect(url), replica)
    Inviting(kigali).admit(butaro)
    butaro.reopen()
    sync(butaro, kigali)
    Inviting(kigali).admit(copy)
    copy.reopen()
    settle(kigali, butaro, copy)
    all_equal(kigali, butaro, copy)
    copy.close()


# What happens in between


@pytest.mark.parametrize("caller", [0, 1], ids=["the inviter calls", "the other calls"])
def test_writes_on_both_sides_at_every_step_of_a_join(make, caller):
    kigali, butaro = make("kigali", people(60)[30:]), make("butaro", people(60, local=100))
    for text, *values in people(30):
        kigali.sql(text, *values)  # under later stamps, which stand wherever nobody writes
    steps = iter(range(1_000))

    def write(_request):
        step = next(steps)
        for site, more in ((kigali, 0), (butaro, 100)):
            number = step % 6 + 1 + more // 10
            site.sql("UPDATE person SET village=? WHERE uuid=?", f"at {step}", uuid(number))
            site.sql("UPDATE person SET name=? WHERE uuid=?", f"new {step}", uuid(20 + more // 10))
            site.sql("DELETE FROM person WHERE uuid=?", uuid(40 + step + more // 20))
            text, *values = person(500 + step + more, "new")
            site.sql(text, *values)

    inviting = Inviting(kigali)
    inviting.admit(butaro, before=write)
    assert kinds(inviting) == ["pages", "rest", "rows"]
    butaro.reopen()
    sites = kigali, butaro
    sync(sites[caller], sites[1 - caller])
    settle(kigali, butaro)
    all_equal(kigali, butaro)
    ((adopted,),) = butaro.look("SELECT value FROM syncnode_setting WHERE name='adopted'")
    assert adopted == ""  # and rows are like any others from here on


@pytest.mark.parametrize(
    ("part", "again"),
    [
        *(("pages", True), ("pages", False), ("rest", True), ("rows", True), ("rows", False)),
        ("committed", True),
    ],
)
def test_a_site_that_is_killed_while_it_takes_over_ends_equal(make, part, again, monkeypatch):
    """Nothing is kept in a process: what is committed by then is what a kill leaves. The join is
    repeated, and takes over `again`, or does not."""
    monkeypatch.setattr(adopting, "PAGE_ROWS", 10)
    monkeypatch.setattr(adopting, "QUESTION_ROWS", 10)
    kigali = make("kigali", [*people(60), person(98, "kigali's")])
    butaro = make("butaro", [*people(60, local=100), person(99, "butaro's")])
    kigali.sql("UPDATE person SET name='other' WHERE id=7")
    inviting, seen = Inviting(kigali), []

    def broken(request):
        if request.kind == COMPARE and (question := decode_question(request.question)).reading:
            seen.append("pages" if question.pages else "rest" if question.rest else "rows")
            if seen.count(part) == (3 if part == "pages" else 1):
                raise PeerUnreachableError("the site is gone")

    if part == "committed":
        inviting.admit(butaro)
    else:
        with pytest.raises(PeerUnreachableError):
            inviting.admit(butaro, before=broken)
        table = next(one for one in butaro.replica.tables.values() if one.name == "person")
        sites = butaro.look(
            f"SELECT DISTINCT o.site FROM {table.clock_name} c "
            "JOIN syncnode_origin o ON o.id = c.syncnode_origin"
        )
        assert len(sites) == 2  # a part is taken over
    butaro.reopen()
    if part != "committed":
        butaro.check()
        # The answer to JOIN was lost as far as butaro knows; it asks again with the same token.
        token = next(request for request, _, _ in inviting.asked if request.kind == JOIN)
        if not again:
            monkeypatch.setattr(adopting, "SAME_ROWS_MIN", 10**9)
        _again(inviting, butaro, token)
        butaro.reopen()
    sync(butaro, kigali)
    settle(kigali, butaro)
    all_equal(kigali, butaro)
    third = make("nyanza", [])
    Inviting(butaro).admit(third)
    third.reopen()
    settle(butaro, third)
    settle(kigali, butaro, third)
    all_equal(kigali, butaro, third)


def _again(inviting, site, request):
    token = Token(request.network, inviting.site.id, "https://kigali.example:8470",
                  request.secret, 1 << 60)  # fmt: skip
    inviting.before = lambda _: None
    inviting.let_in(site, encode_token(token))


def test_who_meets_the_site_before_the_inviter_gets_everything(make):
    """What is claimed between the adoption and the inviter's first delta reaches back to it."""
    kigali, butaro = make("kigali", people(30)), make("butaro", people(30, local=100))
    far = make("nyanza", [])
    Inviting(kigali).admit(far)
    far.reopen()
    settle(kigali, far)
    early, late = make("early", []), make("late", [])
    Inviting(kigali).admit(butaro)
    butaro.reopen()
    Inviting(butaro).admit(early)
    early.reopen()
    sync(early, butaro, check=False)
    # butaro comes to know all of kigali's from somebody else.
    sync(butaro, far, check=False)
    early.sql("UPDATE person SET name='E' WHERE uuid=?", uuid(3))
    sync(early, butaro, check=False)
    Inviting(butaro).admit(late)
    late.reopen()
    sync(late, butaro)
    settle(kigali, butaro, far, early, late)
    all_equal(kigali, butaro, far, early, late)


def test_a_site_that_has_met_somebody_takes_nothing_over(make):
    kigali, butaro = make("kigali", people(30)), make("butaro", people(30, local=100))
    other = make("other", [])
    Inviting(butaro).admit(other)
    other.reopen()
    settle(butaro, other)
    with butaro.replica.database.read() as tx:
        assert tx.value("SELECT count(*) FROM syncnode_peer") == 1
    one_network(kigali, butaro, other)
    inviting = Inviting(kigali)
    inviting.admit(butaro)
    assert kinds(inviting) == []
    butaro.reopen()
    settle(kigali, butaro, other)
    all_equal(kigali, butaro, other)


def test_an_inviter_that_has_read_its_rows_anew_tells_nothing_and_the_rows_travel(make):
    kigali, butaro = make("kigali", people(30)), make("butaro", people(30, local=100))
    inviting = Inviting(kigali)

    def restarted(request):
        if request.kind == JOIN:
            kigali.sql("UPDATE person SET village='x' WHERE id=1")
            inviting.answers = type(inviting.answers)(kigali.replica)

    inviting.admit(butaro, before=restarted)
    butaro.reopen()
    done = sync(butaro, kigali)
    assert done.sent == 30
    all_equal(kigali, butaro)


def test_a_table_that_does_not_line_up_is_sent_whole(make, monkeypatch):
    kigali, butaro = make("kigali", people(30)), make("butaro", people(30, local=100))
    honest = pages.page_told
    monkeypatch.setattr(
        "syncnode.comparing.answers.page_told",
        lambda *given: honest(*given)._replace(check=bytes(16)),
    )
    inviting = Inviting(kigali)
    inviting.admit(butaro)
    assert kinds(inviting) == ["pages"]
    butaro.reopen()
    assert sync(butaro, kigali).sent == 30
    all_equal(kigali, butaro)


def test_parts_on_stage_of_other_tables_than_the_exchange_s_are_dropped(make):
    """What was cut without a table lacks its rows, and no later part would bring them."""
    kigali, butaro = make("kigali", people(30)), make("butaro", people(30, local=100))
    Inviting(kigali).admit(butaro)
    butaro.reopen()
    with butaro.replica.database.write() as tx:
        tx.execute("UPDATE syncnode_stage SET scopes='person'")
    assert sync(butaro, kigali).finish is not None
    assert butaro.look("SELECT count(*) FROM syncnode_stage") == [(0,)]
    all_equal(kigali, butaro)


def test_what_a_site_does_not_send_is_not_told_either(make):
    def visits(local, numbers):
        return [
            ("INSERT INTO visit (id, uuid, person_id, note) VALUES (?, ?, ?, 'x')",
             n + local, uuid(1_000 + n), n + local)
            for n in numbers
        ]  # fmt: skip

    kigali = make("kigali", [*people(30), *visits(0, range(1, 31))])
    butaro = make("butaro", [*people(30, local=100), *visits(100, range(1, 30))])
    kept = SiteRules({"butaro": (Said({"visit": "receive"}),)})
    kigali.reopen(words=LinkWords(kept))
    before = stamps(butaro, "visit").keys()
    inviting = Inviting(kigali)
    inviting.admit(butaro)
    assert kinds(inviting) == ["pages", "rest"]
    butaro.reopen()
    done = sync(butaro, kigali)
    assert (done.sent, done.received) == (29, 0)
    assert stamps(butaro, "visit").keys() == before
    assert {stamp.origin.site for stamp in stamps(butaro, "visit").values()} == {butaro.id}
    assert {stamp.origin.site for stamp in stamps(butaro).values()} == {kigali.id}


def test_a_stamp_of_the_future_is_not_taken_over(make):
    kigali, butaro = make("kigali", people(30)[1:]), make("butaro", people(30, local=100))
    text, *values = people(1)[0]
    at(kigali, THIS_MACHINE.wall_ms() + 86_400_000, text, *values)
    inviting = Inviting(kigali)
    inviting.admit(butaro)
    assert kinds(inviting) == ["pages", "rest", "rows"]
    butaro.reopen()
    sync(butaro, kigali)
    assert butaro.look("SELECT count(*) FROM syncnode_row WHERE place='aside'") == [(1,)]
    table = next(one for one in butaro.replica.tables.values() if one.name == "person")
    ((latest,),) = butaro.look(f"SELECT max(syncnode_hlc) FROM {table.clock_name}")
    assert milliseconds(latest) < THIS_MACHINE.wall_ms() + SKEW_MS_MAX


def test_what_is_told_is_never_told_under_that_number_again(make):
    """The anchor says so before: the inviter may be put back to before it told it."""
    kigali, butaro = make("kigali", people(30)), make("butaro", people(30, local=100))
    kigali.sql("UPDATE person SET village='x' WHERE id=1")
    Inviting(kigali).admit(butaro)
    held = Anchor(kigali.settings.anchor).read()
    ((latest,),) = kigali.look("SELECT max(seq) FROM syncnode_changeset")
    assert held is not None
    assert (held.seq, latest) == (2, 2)


# Everything at random


def _row(drawn, kind, number, local):
    when = drawn.choice((None, EARLIER, LATER))
    if kind == "person":
        return person(number, f"n{drawn.randrange(3)}", local=local, changed=when)
    owner = drawn.randrange(1, 13) + local
    if kind == "visit":
        return (
            "INSERT INTO visit (id, uuid, person_id, note) VALUES (?, ?, ?, ?)",
            number + local, uuid(1_000 + number), owner, f"o{drawn.randrange(3)}",
        )  # fmt: skip
    if kind == "member":
        return (
            "INSERT OR IGNORE INTO member (person_id, team, role) VALUES (?, ?, ?)",
            owner, f"t{drawn.randrange(9)}", f"r{drawn.randrange(3)}",
        )  # fmt: skip
    return ("INSERT INTO tag (label, colour) VALUES (?, 'red')", f"l{drawn.randrange(4)}")


def _rows(seed, share, local, own):
    """Rows that are drawn alike at each site, but for a share of them."""
    found = []
    for kind, count in (("person", 30), ("visit", 40), ("member", 30), ("tag", 6)):
        for number in range(1, count + 1):
            name = f"{seed} {kind} {number}"
            odd = own.random() < share
            if odd and number > 12 and own.random() < 0.4:
                continue
            found.append(_row(own if odd else Random(name), kind, number, local))
    return found


def _made(make, name, rows, drawn, **options):
    """A site with these rows; some of them come after `init`."""
    first = [row for row in rows if "INTO person" in row[0] or drawn.random() < 0.8]
    site = make(name, first, **options)
    for text, *values in rows:
        if (text, *values) not in first:
            site.sql(text, *values)
    return site


def _write(site, drawn, step):
    local = site.sql("SELECT min(id) FROM person")[0][0] or 1
    uuids = [uuid(drawn.randrange(1, 34)) for _ in range(3)]
    text, *values = [
        ("UPDATE person SET name=? WHERE uuid=?", f"w{step}", uuids[0]),
        ("UPDATE person SET name='n', village='v', date_changed=? WHERE uuid=?", LATER, uuids[1]),
        ("UPDATE visit SET note=? WHERE uuid=?", f"w{step}", uuid(1_000 + drawn.randrange(1, 41))),
        ("DELETE FROM visit WHERE uuid=?", uuid(1_000 + drawn.randrange(1, 41))),
        ("UPDATE member SET role=? WHERE team=?", f"w{step}", f"t{drawn.randrange(9)}"),
        ("INSERT INTO person (uuid, name) VALUES (?, 'new')", uuid(5_000 + drawn.randrange(10**6))),
        ("INSERT INTO visit (uuid, person_id, note) VALUES (?, ?, 'new')",
         uuid(6_000 + drawn.randrange(10**6)), local),
        ("DELETE FROM tag WHERE label=?", f"l{drawn.randrange(4)}"),
    ][drawn.randrange(8)]  # fmt: skip
    site.sql(text, *values)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_databases_end_equal(make, seed, monkeypatch):
    drawn = Random(f"adopting {seed}")
    rows = drawn.choice((3, 7, 1_000))
    monkeypatch.setattr(adopting, "PAGE_ROWS", rows)
    monkeypatch.setattr(adopting, "QUESTION_ROWS", drawn.choice((1, 50)))
    monkeypatch.setattr(adopting, "WANTED_ROWS", drawn.choice((2, 100)))
    monkeypatch.setattr(adopting, "SAME_ROWS_MIN", 1)
    monkeypatch.setattr(pages, "PAGE_ROWS_MAX", drawn.choice((2, 5, 1_000)))
    monkeypatch.setattr(pages, "PAGE_KEYS_MAX", drawn.choice((2, 1_000)))
    monkeypatch.setattr(pages, "REST_ROWS", drawn.choice((1, 7, 1_000)))
    share = drawn.choice((0, 0.05, 0.3))
    kigali = _made(make, "kigali", _rows(seed, share, 0, Random(f"k{seed}")), drawn)
    butaro = _made(
        make, "butaro", _rows(seed, share, 500, Random(f"b{seed}")), drawn, apply_rows_max=20
    )
    nyanza = make("nyanza", [])
    Inviting(kigali).admit(nyanza)
    nyanza.reopen()
    settle(kigali, nyanza, check=False)
    for step in range(drawn.randrange(6)):
        for site in (kigali, butaro, nyanza):
            _write(site, drawn, step)
            if drawn.random() < 0.5:
                site.replica.seal()

    def meanwhile(_request):
        for site in (kigali, butaro, nyanza):
            if drawn.random() < 0.4:
                _write(site, drawn, drawn.randrange(100))
        if drawn.random() < 0.1:
            sync(nyanza, kigali, check=False)

    Inviting(kigali).admit(butaro, before=meanwhile)
    butaro.reopen()
    meanwhile(None)
    sync(butaro, drawn.choice((kigali, nyanza)), check=False)
    settle(kigali, butaro, nyanza)
    for step in range(4):
        _write(drawn.choice((kigali, butaro, nyanza)), drawn, step)
    settle(kigali, butaro, nyanza)
    all_equal(kigali, butaro, nyanza)


# The servers


@pytest.fixture
def on_servers(tmp_path, mariadb, postgresql):
    yield from maker(tmp_path, mariadb, postgresql)


@pytest.mark.mariadb
@pytest.mark.postgresql
@pytest.mark.parametrize("engines", [("mysql", "postgresql"), ("postgresql", "mysql")])
def test_sites_on_servers_take_over_from_each_other(on_servers, engines, monkeypatch):
    monkeypatch.setattr(adopting, "PAGE_ROWS", 20)
    sites = []
    for engine, local in zip(engines, (0, 100), strict=True):
        rows = [*people(50, local=local), person(60 + local, f"only {local}", local=local)]
        rows += [
            ("INSERT INTO visit (id, uuid, person_id, note) VALUES (?, ?, ?, 'x')",
             n + local, uuid(1_000 + n), n + local)
            for n in range(1, 41)
        ]  # fmt: skip
        rows += [
            ("INSERT INTO member (person_id, team, role) VALUES (?, ?, 'r')", n + local, f"t{n}")
            for n in range(1, 21)
        ]

        def before(connection, rows=rows):
            for text, *values in rows:
                say(connection, text, *values)

        sites += on_servers(SCHEMA, engine, before=before)
    one, other = sites
    run(other, "UPDATE person SET name='changed' WHERE uuid=?", uuid(3))
    numbers = run(other, "SELECT uuid, id FROM person WHERE id <= 150 ORDER BY uuid")
    inviting = Inviting(one)
    inviting.admit(
        other,
        before=lambda _: run(one, "UPDATE visit SET note='meanwhile' WHERE uuid=?", uuid(1_005)),
    )
    assert kinds(inviting)[0] == "pages"
    other.reopen()
    done = sync(other, one)
    assert done.sent + done.received < 10
    run(one, "UPDATE person SET village='Butare' WHERE uuid=?", uuid(4))
    run(other, "DELETE FROM visit WHERE uuid=?", uuid(1_007))
    settle(one, other)
    same(one, other)
    assert dict(numbers).items() <= dict(run(other, "SELECT uuid, id FROM person")).items()
    found = [[sorted(map(tuple, run(site, text))) for text in PICTURE[:3]] for site in (one, other)]
    assert found[0] == found[1]
    assert len(found[0][0]) == 52
