"""Two sites that name the rows of a table differently: told, never joined."""

import pytest
from joins import URL, Inviting
from sites import make_site, one_network, sync

from syncnode.comparing.answers import Answers
from syncnode.identity.credentials import decode_token
from syncnode.operations import membership
from syncnode.operations.following import follow
from syncnode.operations.membership import invite, join_by
from syncnode.operations.verifying import Verifying, check
from syncnode.schema.naming import shape_of
from syncnode.settings.config import read_settings
from syncproto.errors import ConfigError

SCHEMA = (
    "CREATE TABLE place (id INTEGER PRIMARY KEY, uuid CHAR(36) UNIQUE, name TEXT)",
    "CREATE TABLE person (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, name TEXT,"
    " note TEXT)",
)
UUIDS = [f"{number:08}-0000-4000-8000-000000000000" for number in range(4)]


def fill(connection, *, missing=False):
    for number, uuid in enumerate(UUIDS):
        connection.execute("INSERT INTO place (uuid, name) VALUES (?, ?)", (uuid, f"p{number}"))
    if missing:
        connection.execute("INSERT INTO place (name) VALUES ('new')")


@pytest.fixture
def pair(tmp_path):
    made = [
        make_site(tmp_path, name, SCHEMA, before=lambda c, m=missing: fill(c, missing=m))
        for name, missing in (("kigali", False), ("butaro", True))
    ]
    yield made
    for site in made:
        site.close()


def join(inviting, joining, **options):
    token = decode_token(invite(inviting.site.settings, joining.name, role="child", url=URL).token)
    return join_by(
        joining.settings,
        token,
        inviting.answer,
        confirm=lambda _: True,
        progress=lambda _: None,
        **options,
    )


def verified(here, there, *, repair=False, confirm=lambda _: True):
    answers = Answers(there.replica)

    def ask(body):
        there.replica.seal()
        return answers.answer(body)

    return Verifying(here.replica, there.name, ask, lambda _: None).run(repair, confirm)


def checked(site):
    return check(site.settings, repair=False, confirm=pytest.fail, progress=lambda _: None)


def rows_of(site):
    return site.sql("SELECT uuid, name FROM place ORDER BY id")


@pytest.mark.parametrize("dry_run", [True, False])
def test_join_refuses_a_table_whose_rows_have_other_names(pair, dry_run):
    """One NULL at one site alone: its uuids do not name its rows, those of the other do."""
    kigali, butaro = pair
    before = rows_of(kigali), rows_of(butaro)
    with pytest.raises(ConfigError) as caught:
        join(Inviting(kigali), butaro, dry_run=dry_run)
    said = str(caught.value)
    assert "place: its rows are named by a name drawn when it is written here" in said
    assert "and by the value of uuid at kigali" in said
    assert "not joined, nothing was changed" in said
    assert 'key = ["..."]` under [tables.NAME]' in said
    assert "person" not in said
    assert (rows_of(kigali), rows_of(butaro)) == before
    assert butaro.look("SELECT count(*) FROM syncnode_peer") == [(0,)]
    assert kigali.look("SELECT used_ms FROM syncnode_invite") == [(None,)]


def test_an_empty_site_is_refused_all_the_same(tmp_path, pair):
    _, butaro = pair
    empty = make_site(tmp_path, "empty", SCHEMA)
    with pytest.raises(ConfigError, match="place: its rows are named by the value of uuid here"):
        join(Inviting(butaro), empty)
    empty.close()


def test_members_that_name_rows_otherwise_are_told_so_by_verify(pair):
    one_network(*pair)
    report = verified(*pair, repair=True, confirm=pytest.fail)
    assert not report.equal
    assert report.plan == ()
    assert "place: its rows are named by the value of uuid here" in report.reason
    assert {one.table: one.namings for one in report.tables if one.namings} == {
        "place": ("the value of uuid", "a name drawn when it is written")
    }


NAMED = (
    "CREATE TABLE role (role TEXT PRIMARY KEY NOT NULL, uuid CHAR(36))",
    "CREATE TABLE patient (person_id INTEGER PRIMARY KEY REFERENCES person (id))",
    "CREATE TABLE visit (person_id INTEGER REFERENCES person (id), role TEXT, day TEXT,"
    " PRIMARY KEY (person_id, role))",
    "CREATE TABLE line (text TEXT, person_id INTEGER REFERENCES person (id))",
)


def test_every_kind_of_name_is_said_in_words(tmp_path):
    site = make_site(tmp_path, "here", (*SCHEMA, *NAMED))
    assert {one.name: shape_of(one).naming for one in site.replica.plan} == {
        "place": "the value of uuid",
        "person": "the value of uuid",
        "role": "the value of role",
        "patient": "the person in person_id",
        "visit": "person_id (a row of person), role together",
        "line": "all of its columns: person_id (a row of person), text",
    }
    site.close()


def test_a_row_whose_uuid_stood_twice_keeps_its_own_name_and_is_no_fault(tmp_path):
    """The other row of that uuid has gone since."""
    schema = ("CREATE TABLE p (id INTEGER PRIMARY KEY, uuid CHAR(36), name TEXT)",)
    here, there = (make_site(tmp_path, name, schema) for name in ("here", "there"))
    one_network(here, there)
    for name in ("first", "second"):
        here.sql("INSERT INTO p (uuid, name) VALUES (?, ?)", UUIDS[0], name)
    sync(here, there)
    here.sql("DELETE FROM p WHERE name = 'first'")
    sync(here, there)
    for site in (here, there):
        assert site.sql("SELECT uuid, name FROM p") == [(UUIDS[0], "second")]
        assert checked(site).sound
    triggers = here.look("SELECT name, sql FROM sqlite_master WHERE type='trigger'")
    for name, _ in triggers:
        here.sql(f"DROP TRIGGER {name}")
    here.sql("INSERT INTO p (uuid, name) VALUES (?, 'new')", UUIDS[1])
    for _, sql in triggers:
        here.sql(sql)
    (table,) = checked(here).tables
    assert (table.uncaptured, table.renamed) == (1, 0)
    here.close()
    there.close()


def test_a_column_that_one_site_dropped_is_not_compared(tmp_path):
    here, there = (make_site(tmp_path, name, SCHEMA) for name in ("here", "there"))
    one_network(here, there)
    for number, uuid in enumerate(UUIDS):
        values = (uuid, f"name {number}", "noted")
        here.sql("INSERT INTO person (uuid, name, note) VALUES (?, ?, ?)", *values)
    sync(here, there)
    declared = '\n[renamed]\n"person.note" = false\n'
    here.settings.path.write_text(here.settings.path.read_text() + declared)
    here.settings = read_settings(here.settings.path)
    here.sql("PRAGMA legacy_alter_table = ON")
    here.sql("ALTER TABLE person DROP COLUMN note")
    assert follow(here.replica, here.settings)
    here.sql("SELECT 1 FROM person LIMIT 1")
    there.sql("UPDATE person SET note = 'later' WHERE uuid = ?", UUIDS[0])
    sync(here, there)
    for site, other in ((here, there), (there, here)):
        report = verified(site, other, repair=True, confirm=pytest.fail)
        assert report.equal
        (person,) = (one for one in report.tables if one.table == "person")
        assert (person.same, person.different) == (4, 0)
        where = ("note",), ()
        assert (person.missing_here, person.missing_there) == (
            where if site is here else where[::-1]
        )
    # What else differs is found all the same.
    there.sql("UPDATE person SET name = 'other' WHERE uuid = ?", UUIDS[1])
    (person,) = (one for one in verified(here, there).tables if one.table == "person")
    assert person.on_the_way == 1
    sync(here, there)
    assert verified(here, there).equal
    here.close()
    there.close()


def test_a_dry_run_foretells_that_rows_are_parked_whose_names_are_one_to_the_engine(tmp_path):
    schema = ("CREATE TABLE role (role TEXT COLLATE NOCASE PRIMARY KEY NOT NULL, title TEXT)",)
    here = make_site(
        tmp_path,
        "here",
        schema,
        before=lambda c: c.execute("INSERT INTO role VALUES ('Nurse', 'a')"),
    )
    there = make_site(
        tmp_path,
        "there",
        schema,
        before=lambda c: c.execute("INSERT INTO role VALUES ('nurse', 'b')"),
    )
    (foretold,) = join(Inviting(here), there, dry_run=True).preview.clashes
    assert (foretold.done, foretold.count) == ("waits", 1)
    assert join(Inviting(here), there).joined
    sync(here, there)
    for site in (here, there):
        assert site.parked() == [("role", "unique clash")]
        site.close()


def test_all_requests_to_join_go_over_one_connection(tmp_path, monkeypatch):
    kigali, butaro = (
        make_site(tmp_path, name, SCHEMA, before=fill) for name in ("kigali", "butaro")
    )
    inviting, opened = Inviting(kigali), []

    class Client:
        def __init__(self, _key):
            opened.append(self)

        async def __aenter__(self):
            return self

        async def __aexit__(self, *_):
            """Nothing is open."""

        async def join(self, _address, _path, body, *, timeout_s):
            assert timeout_s > 0
            return inviting.answer(body)

    monkeypatch.setattr("syncnode.operations.join_link.PeerClient", Client)
    token = invite(kigali.settings, "butaro", role="child", url=URL).token
    joined = membership.join(
        butaro.settings, token, confirm=lambda _: True, progress=lambda _: None
    )
    assert joined.joined
    assert len(inviting.asked) > 2
    assert len(opened) == 1
    for site in (kigali, butaro):
        site.close()
