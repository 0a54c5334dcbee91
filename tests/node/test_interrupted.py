"""kill -9 in the middle of `init` and `uninstall`: run again, either comes to its end.

The process kills itself at an exact moment: at the nth statement of a script, or just before or
after a step. MariaDB has committed by then whatever was made.
"""

import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest
from mariadb_sites import say
from sites import connect
from tables import dialect_of

from syncnode.__main__ import main
from syncnode.operations.site import open_replica
from syncnode.settings.config import read_settings

SCHEMA = {
    "sqlite": (
        "CREATE TABLE person (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, name TEXT)",
        "CREATE TABLE visit (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, "
        "person_id INTEGER REFERENCES person (id))",
    ),
    "mysql": (
        "CREATE TABLE person (id INT PRIMARY KEY AUTO_INCREMENT, uuid CHAR(36) NOT NULL UNIQUE, "
        "name TEXT)",
        "CREATE TABLE visit (id INT PRIMARY KEY AUTO_INCREMENT, uuid CHAR(36) NOT NULL UNIQUE, "
        "person_id INT, FOREIGN KEY (person_id) REFERENCES person (id))",
    ),
    "postgresql": (
        "CREATE TABLE person (id SERIAL PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, name TEXT)",
        "CREATE TABLE visit (id SERIAL PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE, "
        "person_id INT REFERENCES person (id), boss INT REFERENCES visit (id))",
    ),
}
KILLED = """
import os, signal, sys
import syncnode.identity.anchor, syncnode.identity.credentials
import syncnode.operations.site, syncnode.settings.new_config, syncnode.store.database
from syncnode.__main__ import main

def end(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

moment, name, count = sys.argv[1].split()
holder, _, name = name.rpartition(".")
place = sys.modules[holder] if holder in sys.modules else eval("syncnode." + holder)
real, calls = getattr(place, name), 0

def script(self, statements):
    global calls
    for statement in statements:
        real(self, [statement])
        calls += 1
        if calls == int(count):
            end()

def counted(*arguments, **options):
    global calls
    calls += 1
    if moment == "before" and calls == int(count):
        end()
    found = real(*arguments, **options)
    if moment == "after" and calls == int(count):
        end()
    return found

setattr(place, name, script if moment == "statement" else counted)
sys.exit(main(sys.argv[2:]))
"""
SITE = "syncnode.operations.site"
STEPS = (
    f"before {SITE}._fill 1",
    f"after {SITE}._fill 1",  # in its transaction
    "before syncnode.identity.credentials.store_key 1",
    "after syncnode.identity.credentials.store_key 1",
    "after identity.anchor.Anchor.begin 1",
    "after syncnode.settings.new_config.write_settings 1",
)
STATEMENTS = (2, 15, 24, 29)  # the first drops what cannot be there; 30 in all


class Place:
    """A database of an application, and commands about it.

    Attributes:
        before: Its schema, and that no other thing is there.
    """

    def __init__(self, folder, url, dump):
        self.folder, self.url, self._dump = folder, url, dump
        self.connection = connect(url, new=True)
        self.engine = dialect_of(self.connection)
        for statement in SCHEMA[self.engine]:
            say(self.connection, statement)
        say(self.connection, "INSERT INTO person (uuid, name) VALUES ('a', 'Ann')")
        self.config = folder / "site" / "syncnode.toml"
        self.init = ("init", "--database", url, "--name", "kigali", "--config", str(self.config))
        self.before = self.schema()

    def schema(self):
        return re.sub(r" AUTO_INCREMENT=\d+", "", self._dump(self))

    def killed(self, moment, *arguments):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, moment, *arguments],
            capture_output=True,
            text=True,
            env=environment(),
            check=False,
        )
        assert done.returncode == -9, f"{moment}: it came to its end: {done.stdout}{done.stderr}"

    def typed(self, *arguments, status=0):
        """What a command says on standard error; in this process, which is faster."""
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as said:
            assert main(arguments) == status, said.getvalue()
        return said.getvalue()

    def check_site(self):
        """It captures, and knows who it is."""
        say(self.connection, "INSERT INTO person (uuid, name) VALUES ('b', 'Ben')")
        replica = open_replica(read_settings(self.config))
        assert replica.seal()
        assert not replica.restored, "the site was made in one piece"
        with replica.database.read() as tx:
            rows = tx.value("SELECT count(*) FROM syncnode_clock_1")
        replica.close()
        assert rows == 2


def environment():
    return {name: text for name, text in os.environ.items() if not name.startswith("SYNCNODE_")}


@pytest.fixture
def sqlite_place(tmp_path):
    def dump(place):
        return str(say(place.connection, "SELECT name, sql FROM sqlite_master ORDER BY name"))

    made = Place(tmp_path, f"sqlite:///{tmp_path}/site.db", dump)
    yield made
    made.connection.close()


@pytest.fixture
def mariadb_place(tmp_path, mariadb, mariadb_url):
    made = Place(tmp_path, mariadb_url, lambda _: mariadb.dump(mariadb_url.rpartition("/")[2]))
    yield made
    made.connection.close()


@pytest.fixture
def postgresql_place(tmp_path, postgresql, postgresql_url):
    name = postgresql_url.rpartition("/")[2]
    made = Place(tmp_path, postgresql_url, lambda _: postgresql.dump(name))
    yield made
    made.connection.close()


@pytest.fixture(
    params=[
        "sqlite_place",
        pytest.param("mariadb_place", marks=pytest.mark.mariadb),
        pytest.param("postgresql_place", marks=pytest.mark.postgresql),
    ]
)
def place(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("moment", STEPS)
def test_an_init_that_was_killed_is_run_again(place, moment):
    place.killed(moment, *place.init)
    if place.config.exists():
        said = place.typed("status", "--config", str(place.config), status=1)
        assert "`syncnode init`" in said
        assert "run it again" in said
    said = place.typed(*place.init)
    assert "kigali is a site now" in said
    place.check_site()
    place.typed("uninstall", "--config", str(place.config))
    assert place.schema() == place.before


@pytest.mark.parametrize("statement", STATEMENTS)
def test_an_init_that_was_killed_while_it_made_tables_and_triggers_is_run_again(
    mariadb_place, statement
):
    place = mariadb_place
    place.killed(f"statement store.database.Transaction.script {statement}", *place.init)
    assert place.schema() != place.before, "it was killed half-way"
    assert "what it left is gone" in place.typed(*place.init)
    place.check_site()


@pytest.mark.parametrize("statement", [2, 24])
def test_an_init_that_was_killed_is_taken_back_without_settings(mariadb_place, statement):
    place = mariadb_place
    place.killed(f"statement store.database.Transaction.script {statement}", *place.init)
    assert not place.config.exists()
    said = place.typed("uninstall", "--database", place.url)
    assert "removed" in said
    assert place.url not in said, "it holds the password"
    assert place.schema() == place.before
    said = place.typed("uninstall", "--database", place.url, status=1)
    assert "nothing of syncnode to remove" in said


@pytest.mark.parametrize("statement", [1, 8, 20])
def test_an_uninstall_that_was_killed_is_run_again(mariadb_place, statement):
    place = mariadb_place
    place.typed(*place.init)
    uninstall = ("uninstall", "--config", str(place.config))
    place.killed(f"statement store.database.Transaction.script {statement}", *uninstall)
    place.typed("status", "--config", str(place.config), status=1)
    place.typed(*uninstall)
    assert place.schema() == place.before


def test_an_uninstall_that_was_killed_may_be_followed_by_init(mariadb_place):
    place = mariadb_place
    place.typed(*place.init)
    place.killed(
        "statement store.database.Transaction.script 8", "uninstall", "--config", str(place.config)
    )
    place.typed(*place.init)
    place.check_site()


def test_a_site_that_is_whole_is_not_taken_for_an_unfinished_one(place):
    place.typed(*place.init)
    assert "is a site already" in place.typed(*place.init, status=1)
    place.config.unlink()
    said = place.typed(*place.init, status=1)
    assert "is a site already" in said
    assert "uninstall" in said
    assert "--database" in said
    place.typed("uninstall", "--database", place.url)
    assert place.schema() == place.before
    # Nobody knows whether the key is used elsewhere.
    said = place.typed(*place.init, status=1)
    assert "site.key" in said
    assert "move it away" in said
    (place.config.parent / "site.key").unlink()
    place.typed(*place.init)
    place.check_site()
