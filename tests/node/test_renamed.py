"""An application renames a table: rows keep their names in the network, and go on flowing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mariadb_sites import Maker, maker, run, servers_of
from sites import Site, make_site, one_network, settle, sync

from syncnode.operations import status
from syncnode.operations.following import follow
from syncnode.operations.site import initialise, open_replica
from syncnode.settings.config import read_settings
from syncproto.errors import ConfigError, StoreError

U1, U2, U3 = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")
PAIRS = [("sqlite", "sqlite"), ("mysql", "sqlite"), ("postgresql", "sqlite")]
SCHEMA = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " name VARCHAR(20), boss INTEGER, FOREIGN KEY (boss) REFERENCES person (id))",
    "CREATE TABLE role (name VARCHAR(20) PRIMARY KEY, note VARCHAR(20))",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY {auto}, uuid CHAR(36) NOT NULL UNIQUE,"
    " person INTEGER NOT NULL, role VARCHAR(20), FOREIGN KEY (person) REFERENCES person (id)"
    " ON DELETE CASCADE, FOREIGN KEY (role) REFERENCES role (name))",
)
RENAMED = {"person": "people", "role": "job", "visit": "encounter"}
DECLARED = "\n[renamed]\n" + "".join(f'{old} = "{new}"\n' for old, new in RENAMED.items())


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Maker]:
    engines = request.node.callspec.params["engines"] if hasattr(request.node, "callspec") else ()
    yield from maker(tmp_path, *servers_of(request, engines))


def declare(site: Site, text: str = DECLARED) -> None:
    site.settings.path.write_text(site.settings.path.read_text() + text)
    site.settings = read_settings(site.settings.path)


def rename(site: Site) -> None:
    for old, new in RENAMED.items():
        run(site, f"ALTER TABLE {old} RENAME TO {new}")


def add(site: Site, uuid: str, name: str, *, new: bool) -> None:
    people, job, encounter = RENAMED.values() if new else RENAMED.keys()
    run(site, f"INSERT INTO {people} (uuid, name) VALUES (?, ?)", uuid, name)
    run(site, f"UPDATE {people} SET boss = id WHERE uuid = ?", uuid)
    run(site, f"INSERT INTO {job} (name, note) VALUES (?, 'new')", name)
    run(
        site,
        f"INSERT INTO {encounter} (uuid, person, role) SELECT ?, id, ? FROM {people} WHERE uuid=?",
        *(uuid, name, uuid),
    )


def shown(site: Site, *, new: bool) -> list[tuple[Any, ...]]:
    people, job, encounter = RENAMED.values() if new else RENAMED.keys()
    return run(
        site,
        f"SELECT v.uuid, p.uuid, p.name, b.uuid, j.name, j.note FROM {encounter} v"
        f" JOIN {people} p ON p.id = v.person LEFT JOIN {people} b ON b.id = p.boss"
        f" LEFT JOIN {job} j ON j.name = v.role ORDER BY v.uuid",
    )


@pytest.mark.parametrize("engines", PAIRS)
def test_values_flow_between_the_old_and_the_new_name(make: Maker, engines: tuple[str, ...]):
    one, other = make(SCHEMA, *engines)
    add(one, U1, "Ada", new=False)
    add(other, U2, "Bob", new=False)
    settle(one, other)
    before = one.state()
    declare(one)
    assert not follow(one.replica, one.settings)
    rename(one)
    # What is written before the node has noticed is captured, too.
    add(one, U3, "Cy", new=True)
    run(one, "UPDATE people SET name = 'Eve' WHERE uuid = ?", U1)
    assert follow(one.replica, one.settings)
    assert not follow(one.replica, one.settings)
    run(other, "UPDATE person SET name = 'Bea' WHERE uuid = ?", U2)
    run(other, "UPDATE role SET note = 'old' WHERE name = 'Ada'")
    settle(one, other)
    assert shown(one, new=True) == shown(other, new=False) == [
        (U1, U1, "Eve", U1, "Ada", "old"),
        (U2, U2, "Bea", U2, "Bob", "new"),
        (U3, U3, "Cy", U3, "Cy", "new"),
    ]  # fmt: skip
    assert one.state().keys() > before.keys()
    # Deletes, and what the engine does to children by itself.
    run(one, "UPDATE people SET boss = NULL")
    run(one, "DELETE FROM people WHERE uuid = ?", U1)
    settle(one, other)
    run(other, "DELETE FROM visit WHERE uuid = ?", U2)
    run(other, "DELETE FROM role WHERE name = 'Bob'")
    settle(one, other)
    assert shown(one, new=True) == shown(other, new=False) == [(U3, U3, "Cy", None, "Cy", "new")]
    assert one.conflicts() == other.conflicts() == []
    # The other follows, too; then a new site that never had the old names.
    declare(other)
    rename(other)
    assert follow(other.replica, other.settings)
    add(other, U1, "Ann", new=True)
    settle(one, other)
    assert shown(one, new=True) == shown(other, new=True)
    assert one.state() == other.state()


def test_a_new_site_with_the_new_names_names_its_rows_as_the_others_do(tmp_path: Path) -> None:
    schema = [statement.replace(" {auto}", "") for statement in SCHEMA]
    one = make_site(tmp_path, "one", schema)
    other = make_site(tmp_path, "other", schema)
    other.uninstall()
    add(other, U2, "Bob", new=False)
    rename(other)
    declare(other)
    initialise(other.settings, dry_run=False, progress=lambda _: None)
    other.replica = open_replica(other.settings)
    one_network(one, other)
    add(one, U1, "Ada", new=False)
    add(one, U2, "Bob", new=False)
    settle(one, other)
    assert shown(one, new=False) == shown(other, new=True)
    assert len(shown(one, new=False)) == 2
    assert one.state() == other.state()
    for site in (one, other):
        site.close()


def test_a_rename_that_nobody_declared_is_named_with_what_to_do(tmp_path: Path) -> None:
    schema = [statement.replace(" {auto}", "") for statement in SCHEMA]
    one, other = make_site(tmp_path, "one", schema), make_site(tmp_path, "other", schema)
    one_network(one, other)
    add(one, U1, "Ada", new=False)
    settle(one, other)
    run(one, "ALTER TABLE person RENAME TO people")
    run(one, "UPDATE people SET name = 'Eve'")
    with pytest.raises(StoreError, match='`person = "people"` under `\\[renamed\\]`'):
        open_replica(one.settings)
    assert 'person = "people"' in status(one.settings).notes[0]
    # Nothing was taken for a drop, and nothing is lost once it is declared.
    declare(one, '\n[renamed]\nperson = "people"\n')
    one.replica.database.close()
    one.replica = open_replica(one.settings)
    sync(one, other)
    assert run(other, "SELECT uuid, name FROM person") == [(U1, "Eve")]
    for site in (one, other):
        site.close()


def test_rows_that_were_kept_under_the_old_name_are_written_under_the_new(tmp_path: Path) -> None:
    schema = [statement.replace(" {auto}", "") for statement in SCHEMA]
    one = make_site(tmp_path, "one", schema)
    other = make_site(tmp_path, "other", schema[:2])
    one_network(one, other)
    add(one, U1, "Ada", new=False)
    settle(one, other)
    declare(other)
    run(other, schema[2].replace("visit", "encounter").replace("{auto}", ""))
    assert follow(other.replica, other.settings)
    assert run(other, "SELECT uuid FROM encounter") == [(U1,)]
    settle(one, other)
    assert one.state() == other.state()
    for site in (one, other):
        site.close()


def test_a_column_that_went_while_another_came_is_let_go_of_when_somebody_says_so(
    tmp_path: Path,
) -> None:
    schema = ["CREATE TABLE person (id INTEGER PRIMARY KEY, uuid CHAR(36) UNIQUE, name, note)"]
    one, other = make_site(tmp_path, "one", schema), make_site(tmp_path, "other", schema)
    one_network(one, other)
    run(one, "INSERT INTO person (uuid, name, note) VALUES (?, 'Ada', 'first')", U1)
    settle(one, other)
    run(one, "ALTER TABLE person RENAME COLUMN note TO remark")
    run(one, "UPDATE person SET remark = 'second'")
    run(one, "CREATE TABLE role (name VARCHAR(20) PRIMARY KEY)")  # nor is this followed meanwhile
    assert not follow(one.replica, one.settings)
    with pytest.raises(StoreError, match=r'`"person.note" = false` under `\[renamed\]`'):
        open_replica(one.settings)
    # Changed back: what was written under the other name is there.
    run(one, "ALTER TABLE person RENAME COLUMN remark TO note")
    follow(one.replica, one.settings)
    (row,) = one.state().values()
    assert row.cells["note"].value == "second"
    settle(one, other)
    run(one, "ALTER TABLE person RENAME COLUMN note TO remark")
    declare(one, '\n[renamed]\n"person.note" = false\n')
    assert follow(one.replica, one.settings)
    run(one, "UPDATE person SET remark = 'third'")
    sync(one, other)
    assert run(other, "SELECT uuid, name, note FROM person") == [(U1, "Ada", "second")]
    run(other, "ALTER TABLE person ADD COLUMN remark")
    assert follow(other.replica, other.settings)
    assert run(other, "SELECT uuid, note, remark FROM person") == [(U1, "second", "third")]
    for site in (one, other):
        site.close()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('person = "person"', "its own new name"),
        ('person = "a"\nvisit = "a"', "the new name of two tables"),
        ('person = "syncnode_row"', "the node's own"),
        ("person = 7", "must be a text"),
        ("person = false", "must be a text"),
    ],
)
def test_a_declaration_that_says_nothing_is_refused(tmp_path: Path, text: str, said: str) -> None:
    site = make_site(tmp_path, "one", ["CREATE TABLE person (id INTEGER PRIMARY KEY)"])
    with pytest.raises(ConfigError, match=said):
        declare(site, f"\n[renamed]\n{text}\n")
    site.close()


def test_the_network_may_declare_it_for_all_and_a_site_for_itself(tmp_path: Path) -> None:
    site = make_site(tmp_path, "one", ["CREATE TABLE person (id INTEGER PRIMARY KEY)"])
    (tmp_path / "topology.toml").write_text(
        '[network]\nname = "x"\n[sites.one]\n[tables]\npass_on = false\n'
        '[renamed]\nperson = "people"\nrole = "job"\n'
    )
    written = site.settings.path.read_text()
    path = str(tmp_path / "topology.toml")
    site.settings.path.write_text(f'topology = "{path}"\n{written}\n[renamed]\nrole = "task"\n')
    tables = read_settings(site.settings.path).tables
    assert dict(tables.renamed) == {"person": "people", "role": "task"}
    assert not tables.keeps_unknown
    site.close()
