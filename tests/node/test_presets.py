"""What no catalogue shows is declared, and then holds as if the catalogue showed it.

Two sites number their rows otherwise throughout. What they hold is compared by `walked`, which
follows references by itself.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mariadb_sites import ALL_PAIRS, Maker, details, maker, run, servers_of
from registry import BEYOND, PRESET, SCHEMA, uuid
from sites import Site, settle, sync
from walked import differences, walked

from syncnode.comparing.answers import Answers
from syncnode.operations.verifying import Verifying, check

Engines = tuple[str, str]
PAIRS = (ALL_PAIRS[0], ALL_PAIRS[2], ALL_PAIRS[5])  # each engine beside another


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path, engines: Engines) -> Iterator[Maker]:
    yield from maker(tmp_path, *servers_of(request, engines))


@pytest.fixture
def pair(make: Maker, tmp_path: Path, engines: Engines) -> list[Site]:
    one, other = make(SCHEMA, *engines, preset=preset(tmp_path))
    # The local numbers are not the same at both.
    for table, names in NUMBERED.items():
        columns = ", ".join(("uuid", *names))
        key = KEYS[table]
        values = ", ".join("?" * (len(names) + 1))
        run(
            other,
            f"INSERT INTO {table} ({key}, {columns}) VALUES (50, {values})",
            uuid(9),
            *names.values(),
        )
    settle(one, other)
    return [one, other]


KEYS = {
    "person": "person_id",
    "users": "user_id",
    "concept": "concept_id",
    "place": "place_id",
    "attribute_type": "type_id",
}
NUMBERED = {
    "person": {},
    "users": {"person_id": 50},
    "concept": {},
    "place": {},
    "attribute_type": {"format": "Text"},
}


def preset(folder: Path, text: str = PRESET) -> str:
    path = folder / "registry.toml"
    path.write_text(text)
    return str(path)


def alike(*sites: Site) -> None:
    """All sites show the same, by what their own catalogues and the registry say."""
    first, *others = (walked(site.connection, BEYOND) for site in sites)
    for other in others:
        assert differences(first, other) == {}


def number(site: Site, table: str, which: int) -> int:
    ((found,),) = run(site, f"SELECT {KEYS[table]} FROM {table} WHERE uuid = ?", uuid(which))
    return int(found)


def add(site: Site, table: str, which: int, **columns: object) -> None:
    names = ", ".join(("uuid", *columns))
    marks = ", ".join("?" * (len(columns) + 1))
    run(site, f"INSERT INTO {table} ({names}) VALUES ({marks})", uuid(which), *columns.values())


@pytest.mark.parametrize("engines", PAIRS)
class TestDeclaredReferences:
    def test_travel_as_the_rows_that_they_lead_to(self, pair):
        one, other = pair
        add(one, "concept", 1, name="aspirin")
        add(one, "place", 1, name="ward")
        here = number(one, "concept", 1)
        add(one, "orders", 1, concept_id=here, place_id=number(one, "place", 1))
        settle(one, other)
        assert number(other, "concept", 1) != here
        alike(one, other)
        run(other, "UPDATE orders SET concept_id = ?", number(other, "concept", 9))
        settle(one, other)
        alike(one, other)

    def test_without_their_parent_wait_and_come_with_it(self, pair):
        one, other = pair
        add(one, "orders", 1, concept_id=777)
        settle(one, other)
        assert details(other) == [
            ("missing parent", "orders.concept_id refers to a row of concept that is not here")
        ]
        assert run(other, "SELECT * FROM orders") == []
        run(one, "INSERT INTO concept (concept_id, uuid) VALUES (777, ?)", uuid(1))
        run(one, "UPDATE orders SET concept_id = 50")
        run(one, "UPDATE orders SET concept_id = 777")
        settle(one, other)
        assert details(other) == []
        alike(one, other)

    def test_hold_a_deleted_parent_that_only_they_refer_to(self, pair):
        one, other = pair
        add(one, "concept", 1, name="aspirin")
        settle(one, other)
        run(one, "DELETE FROM concept WHERE uuid = ?", uuid(1))
        add(other, "orders", 1, concept_id=number(other, "concept", 1))
        settle(one, other)
        assert number(one, "concept", 1)
        assert number(other, "concept", 1)
        alike(one, other)
        run(one, "DELETE FROM orders")
        settle(one, other)
        assert run(other, "SELECT uuid FROM concept") == [(uuid(9),)]
        alike(one, other)

    def test_of_0_stay_0_where_no_row_has_that_number(self, pair):
        one, other = pair
        add(one, "orders", 1, concept_id=number(one, "concept", 9))
        assert run(one, "SELECT place_id FROM orders") == [(0,)]
        settle(one, other)
        assert details(other) == []
        assert run(other, "SELECT place_id FROM orders") == [(0,)]
        run(other, "UPDATE orders SET note = 'seen'")
        settle(one, other)
        alike(one, other)

    def test_of_0_lead_to_the_row_of_that_number_where_there_is_one(self, pair):
        one, other = pair
        run(one, "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'") if is_mysql(one) else None
        run(one, "INSERT INTO place (place_id, uuid) VALUES (0, ?)", uuid(1))
        add(one, "orders", 1, concept_id=number(one, "concept", 9))
        settle(one, other)
        assert run(other, "SELECT place_id FROM orders") == [(number(other, "place", 1),)]
        alike(one, other)

    def test_make_a_key_shared_that_the_catalogue_shows_as_a_number(self, pair):
        one, other = pair
        add(one, "person", 1)
        add(other, "person", 2)
        add(other, "problem", 2, person_id=number(other, "person", 2))
        settle(one, other)
        add(one, "problem", 1, person_id=number(one, "person", 1))
        ((problem,),) = run(one, "SELECT problem_id FROM problem WHERE uuid = ?", uuid(1))
        run(one, "INSERT INTO allergy VALUES (?, 'severe')", problem)
        settle(one, other)
        alike(one, other)
        ((shared,),) = run(other, "SELECT problem_id FROM problem WHERE uuid = ?", uuid(1))
        assert run(other, "SELECT * FROM allergy") == [(shared, "severe")]


def refuse(site: Site) -> None:
    """The application at this site takes no concept of that name."""
    engine = site.replica.database.dialect.name
    if engine == "postgresql":
        run(
            site,
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF NEW.name = 'refused' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$",
        )
    body = {
        "mysql": "FOR EACH ROW BEGIN IF NEW.name = 'refused' THEN"
        " SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF; END",
        "sqlite": "WHEN NEW.name = 'refused' BEGIN SELECT RAISE(ABORT, 'no'); END",
        "postgresql": "FOR EACH ROW EXECUTE FUNCTION refuse()",
    }
    run(site, f"CREATE TRIGGER refuse BEFORE INSERT ON concept {body[engine]}")


def is_mysql(site: Site) -> bool:
    return site.replica.database.dialect.name == "mysql"


@pytest.mark.parametrize("engines", PAIRS)
class TestReferencesByCondition:
    def attribute(self, site: Site, which: int, value: object, kind: str = "Concept") -> None:
        found = run(site, "SELECT type_id FROM attribute_type WHERE format = ?", kind)
        if not found:
            add(site, "attribute_type", 100 + which, format=kind)
            found = run(site, "SELECT type_id FROM attribute_type WHERE format = ?", kind)
        person = number(site, "person", 9)
        add(site, "attribute", which, person_id=person, type_id=found[0][0], value=value)

    def test_travel_as_rows_where_their_type_says_so_and_as_text_elsewhere(self, pair):
        one, other = pair
        add(one, "concept", 1, name="married")
        here = number(one, "concept", 1)
        self.attribute(one, 1, str(here))
        self.attribute(one, 2, str(here), "Text")
        for which, value in enumerate(("", "07", "none", None, " 5", "-1", "9" * 40), start=3):
            self.attribute(one, which, value)
        settle(one, other)
        there = number(other, "concept", 1)
        assert there != here
        shown = run(other, "SELECT value FROM attribute ORDER BY uuid")
        assert [value for (value,) in shown[:9]] == [
            str(there), str(here), "", "07", "none", None, " 5", "-1", "9" * 40
        ]  # fmt: skip
        alike(one, other)
        run(other, "UPDATE attribute SET value = '50' WHERE uuid = ?", uuid(1))
        settle(one, other)
        assert run(one, "SELECT value FROM attribute WHERE uuid = ?", uuid(1)) == [
            (str(number(one, "concept", 9)),)
        ]
        alike(one, other)

    def test_decided_in_their_own_row_may_be_numbers(self, pair):
        one, other = pair
        add(one, "place", 1)
        add(one, "attribute_type", 1, format="Place", foreign_number=number(one, "place", 1))
        settle(one, other)
        alike(one, other)
        assert run(other, "SELECT foreign_number FROM attribute_type WHERE uuid = ?", uuid(1)) == [
            (number(other, "place", 1),)
        ]
        run(one, "UPDATE attribute_type SET format = 'Text' WHERE uuid = ?", uuid(1))
        settle(one, other)
        number_here = number(one, "place", 1)
        assert run(other, "SELECT foreign_number FROM attribute_type WHERE uuid = ?", uuid(1)) == [
            (number_here,)
        ]

    def test_without_their_parent_wait_and_come_with_it(self, pair):
        one, other = pair
        refuse(other)
        add(one, "concept", 1, name="refused")
        self.attribute(one, 1, str(number(one, "concept", 1)))
        settle(one, other)
        waiting = ("missing parent", "attribute.value refers to a row of concept that is not here")
        assert waiting in details(other)
        assert run(other, "SELECT * FROM attribute") == []
        on = " ON concept" if other.replica.database.dialect.name == "postgresql" else ""
        run(other, f"DROP TRIGGER refuse{on}")
        add(other, "place", 2)
        settle(one, other)
        assert details(other) == []
        alike(one, other)

    def test_that_lead_nowhere_stay_as_they_are_where_they_lead_nowhere_too(self, pair):
        one, other = pair
        self.attribute(one, 1, "777")
        self.attribute(one, 2, "0")
        settle(one, other)
        assert run(other, "SELECT value FROM attribute ORDER BY uuid") == [("777",), ("0",)]
        run(other, "INSERT INTO concept (concept_id, uuid) VALUES (778, ?)", uuid(1))
        self.attribute(one, 3, "778")
        sync(one, other)
        assert details(other) == [
            (
                "number taken",
                "attribute.value leads to no row where it was written, and would lead to one here:"
                " correct it there",
            )
        ]
        run(one, "UPDATE attribute SET value = '' WHERE uuid = ?", uuid(3))
        settle(one, other)
        assert details(other) == []
        alike(one, other)

    def test_hold_a_deleted_parent_that_only_they_refer_to(self, pair):
        one, other = pair
        add(one, "concept", 1)
        settle(one, other)
        run(one, "DELETE FROM concept WHERE uuid = ?", uuid(1))
        self.attribute(other, 1, str(number(other, "concept", 1)))
        settle(one, other)
        assert number(one, "concept", 1)
        alike(one, other)
        run(one, "UPDATE attribute SET value = ''")
        settle(one, other)
        assert run(other, "SELECT uuid FROM concept") == [(uuid(9),)]
        alike(one, other)

    def test_follow_when_their_type_changes_its_mind(self, pair):
        one, other = pair
        add(one, "concept", 1)
        self.attribute(one, 1, str(number(one, "concept", 1)), "Text")
        settle(one, other)
        run(one, "UPDATE attribute_type SET format = 'Concept'")
        settle(one, other)
        assert run(other, "SELECT value FROM attribute") == [(str(number(other, "concept", 1)),)]
        alike(one, other)

    def test_follow_when_the_row_that_they_lead_to_is_another(self, pair):
        one, other = pair
        add(one, "concept", 1)
        self.attribute(one, 1, str(number(one, "concept", 1)))
        settle(one, other)
        run(one, "UPDATE concept SET uuid = ? WHERE uuid = ?", uuid(2), uuid(1))
        settle(one, other)
        assert run(other, "SELECT value FROM attribute") == [(str(number(other, "concept", 2)),)]
        alike(one, other)

    def test_in_bulk_are_read_with_their_own_stamps(self, pair):
        one, other = pair
        add(one, "concept", 1)
        add(one, "concept", 2)
        first, second = number(one, "concept", 1), number(one, "concept", 2)
        for which in range(1, 40):
            self.attribute(one, which, str(first if which % 3 else second))
        sync(one, other)
        run(other, "UPDATE attribute SET person_id = person_id, value = 'plain' WHERE uuid < ?",
            uuid(10))  # fmt: skip
        run(one, "UPDATE attribute SET value = ? WHERE uuid > ?", str(second), uuid(30))
        settle(one, other)
        alike(one, other)


@pytest.mark.parametrize("engines", PAIRS)
class TestRowsThatStay:
    def test_are_neither_sent_nor_counted_as_changes(self, pair):
        one, other = pair
        user = number(one, "users", 9)
        settle(one, other)
        before = one.replica.standing(one.id).latest
        run(one, "INSERT INTO user_property VALUES (?, 'lastLogin', 'now')", user)
        run(one, "INSERT INTO user_property VALUES (?, ?, 'x')", user, "100% 'local'")
        run(one, "UPDATE user_property SET value = 'later'")
        assert list(one.look("SELECT count(*) FROM syncnode_journal")) == [(0,)]
        assert one.replica.seal() is False
        assert one.replica.standing(one.id).latest == before
        run(one, "INSERT INTO user_property VALUES (?, 'theme', 'dark')", user)
        settle(one, other)
        assert run(other, "SELECT property, value FROM user_property") == [("theme", "dark")]
        assert len(run(one, "SELECT * FROM user_property")) == 3

    def test_that_stood_there_before_are_not_sealed(self, make, tmp_path, engines):
        def before(connection: object) -> None:
            from mariadb_sites import say

            say(connection, "INSERT INTO person (person_id, uuid) VALUES (1, ?)", uuid(1))
            say(connection, "INSERT INTO users VALUES (1, 1, ?)", uuid(1))
            say(connection, "INSERT INTO user_property VALUES (1, 'lastLogin', 'x')")
            say(connection, "INSERT INTO user_property VALUES (1, 'theme', 'dark')")

        (one,) = make(SCHEMA, engines[0], preset=preset(tmp_path), before=before)
        assert [table for table, _ in one.state()].count("user_property") == 1

    def test_may_become_rows_that_travel_and_back(self, pair):
        one, other = pair
        user = number(one, "users", 9)
        run(one, "INSERT INTO user_property VALUES (?, 'lastLogin', 'x')", user)
        run(one, "UPDATE user_property SET property = 'theme'")
        settle(one, other)
        assert run(other, "SELECT property FROM user_property") == [("theme",)]
        run(one, "UPDATE user_property SET property = 'lastLogin'")
        settle(one, other)
        assert run(other, "SELECT property FROM user_property") == []
        assert run(one, "SELECT property FROM user_property") == [("lastLogin",)]

    def test_of_a_peer_without_the_rule_wait_and_hurt_nobody(self, make, tmp_path, engines):
        (one,) = make(SCHEMA, engines[0], preset=preset(tmp_path))
        without = PRESET.replace("local.property", "# local.property")
        (other,) = make(SCHEMA, engines[1], preset=preset(tmp_path, without))
        from sites import one_network

        one_network(one, other)
        for site in (one, other):
            run(site, "INSERT INTO person (person_id, uuid) VALUES (1, ?)", uuid(1))
            run(site, "INSERT INTO users VALUES (1, 1, ?)", uuid(1))
            run(site, "INSERT INTO user_property VALUES (1, 'lastLogin', ?)", site.name)
        run(other, "INSERT INTO users VALUES (2, 1, ?)", uuid(2))
        run(other, "INSERT INTO user_property VALUES (2, 'lastLogin', 'also')")
        sync(one, other)
        assert run(one, "SELECT value FROM user_property") == [(one.name,)]
        assert run(other, "SELECT value FROM user_property ORDER BY 1") == [
            ("also",),
            (other.name,),
        ]
        assert [reason for reason, _ in details(one)] == ["stays local"] * 2


@pytest.mark.parametrize("engines", PAIRS)
class TestDeclaredKeys:
    def test_make_one_row_of_what_two_sites_number_each(self, pair):
        one, other = pair
        run(one, "INSERT INTO word VALUES (1, 'fever', NULL)")
        run(other, "INSERT INTO word VALUES (70, 'cough', NULL)")
        run(other, "INSERT INTO word VALUES (71, 'fever', NULL)")
        run(other, "INSERT INTO word_use (word_id, uuid) VALUES (71, ?)", uuid(1))
        settle(one, other)
        assert run(one, "SELECT word FROM word ORDER BY word") == [("cough",), ("fever",)]
        alike(one, other)
        run(one, "UPDATE word SET meaning = 'hot' WHERE word_id = 1")
        settle(one, other)
        assert run(other, "SELECT meaning FROM word WHERE word_id = 71") == [("hot",)]

    def test_take_along_those_who_refer_to_a_row_that_is_renamed(self, pair):
        one, other = pair
        run(one, "INSERT INTO word VALUES (1, 'fever', NULL)")
        run(one, "INSERT INTO word_use (word_id, uuid) VALUES (1, ?)", uuid(1))
        settle(one, other)
        run(one, "UPDATE word SET word = 'pyrexia'")
        settle(one, other)
        assert run(other, "SELECT word FROM word") == [("pyrexia",)]
        alike(one, other)

    def test_given_twice_at_a_site_name_both_rows(self, pair):
        one, other = pair
        for count in range(1, 4):
            run(one, "INSERT INTO word VALUES (?, 'fever', NULL)", count)
        settle(one, other)
        assert len(run(other, "SELECT * FROM word")) == 3


@pytest.mark.parametrize("engines", PAIRS)
def test_sites_under_a_preset_are_found_sound_and_equal(pair):
    """A comparison of contents takes references for what they lead to, and no row that stays."""
    one, other = pair
    add(one, "concept", 1)
    here = number(one, "concept", 1)
    add(one, "orders", 1, concept_id=here)
    add(one, "attribute_type", 1, format="Concept", foreign_number=here)
    person, kind = number(one, "person", 9), number(one, "attribute_type", 1)
    add(one, "attribute", 1, person_id=person, type_id=kind, value=str(here))
    add(one, "attribute", 2, person_id=person, type_id=kind, value="4711")
    for site in pair:
        user = number(site, "users", 9)
        run(site, "INSERT INTO user_property VALUES (?, 'lastLogin', ?)", user, site.name)
    settle(one, other)
    assert number(other, "concept", 1) != here
    answers = Answers(other.replica)
    verifying = Verifying(
        one.replica, other.name, answers.answer, lambda _text: None, ours=False, values=True
    )
    report = verifying.run(False, lambda _text: True)
    assert [table for table in report.tables if not table.equal] == []
    for site in pair:
        found = check(
            site.settings, repair=False, confirm=lambda _: True, progress=lambda _text: None
        )
        assert found.sound
    run(other, "UPDATE attribute SET value = '50' WHERE uuid = ?", uuid(1))
    other.replica.seal()
    differing = Verifying(
        one.replica, other.name, Answers(other.replica).answer, lambda _text: None, ours=False,
        values=True,
    ).run(False, lambda _text: True)  # fmt: skip
    assert [table.table for table in differing.tables if not table.equal] == ["attribute"]
