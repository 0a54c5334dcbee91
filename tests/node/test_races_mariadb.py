"""What the application commits between two steps of the node, on the servers, in transactions.

Each test is a race that some plausible rule loses (rules A5, A6, A10 and A12 of the design). The
application acts at an exact point: right after a statement of the node's (`after`), or some time
later, while the node waits for it (`soon`).
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from mariadb_sites import Maker, another, maker, run, say, servers_of
from sites import Site, settle, sync

from syncnode.store.database import Transaction
from syncproto.errors import StoreError

SCHEMA = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
    " name VARCHAR(40), note VARCHAR(40))",
    "CREATE TABLE visit (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE,"
    " person_id INTEGER NOT NULL, FOREIGN KEY (person_id) REFERENCES person (id)"
    " ON DELETE CASCADE)",
)
ALICE, BOB, CAROL, DAVE = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abcd")
READS_JOURNAL = "FROM syncnode_journal WHERE id>"
DELETES_LINES = "DELETE FROM syncnode_journal"
SOON_S = 0.3
HELD: Any = [("person", None)]  # (table, reason)


# How long the clerk waits for a lock, and what the node says at certain moments.
PATIENCE = {"mysql": "SET innodb_lock_wait_timeout = {}", "postgresql": "SET lock_timeout = '{}s'"}
INSERTS_PERSON = {"mysql": "INSERT INTO `person`", "postgresql": 'COPY "person"'}
APPLYING = {"mysql": "SET @syncnode_applying", "postgresql": "'syncnode.applying'"}
LOOKS_FOR_NUMBERS = {"mysql": "information_schema.TABLES", "postgresql": "nextval("}
AS_IT_CAME = {
    "mysql": "SELECT @syncnode_applying, @@foreign_key_checks",
    "postgresql": "SELECT nullif(current_setting('syncnode.applying', true), ''),"
    " (SELECT 1 - count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())",
}
TAKES_THE_STEP = {
    "mysql": "SELECT GET_LOCK(CONCAT('syncnode:', MD5(DATABASE()), ':step'), 5)",
    "postgresql": "SELECT pg_advisory_lock(1544490497, hashtext('public'))",
}


@pytest.fixture(
    params=[
        pytest.param("mysql", marks=pytest.mark.mariadb),
        pytest.param("postgresql", marks=pytest.mark.postgresql),
    ]
)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path, engine: str) -> Iterator[Maker]:
    yield from maker(tmp_path, *servers_of(request, [engine]))


@pytest.fixture
def pair(make: Maker, engine: str) -> tuple[Site, Site]:
    """Two sites that hold Alice and Bob."""
    one, other = make(SCHEMA, engine, engine)
    insert(one, ALICE, "Alice")
    insert(one, BOB, "Bob")
    settle(one, other)
    return one, other


@pytest.fixture
def clerk(pair: tuple[Site, Site]) -> Iterator[Any]:
    """The application's other connection at the second site: it commits when it says so."""
    connection = another(pair[1], autocommit=False)
    yield connection
    connection.close()


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The node gives up after one attempt, and soon."""
    monkeypatch.setattr("syncnode.replica.ATTEMPTS_MAX", 1)
    for dialect in ("mysql", "postgresql"):
        monkeypatch.setattr(f"syncnode.dialects.{dialect}.LOCK_WAIT_S", 0.3)


def insert(site: Site, uuid: str, name: str) -> None:
    run(site, "INSERT INTO person (uuid, name) VALUES (?, ?)", uuid, name)


def name_of(site: Site, uuid: str) -> object:
    return [name for (name,) in run(site, "SELECT name FROM person WHERE uuid = ?", uuid)]


@contextmanager
def after(
    monkeypatch: pytest.MonkeyPatch, part: str, act: Callable[[], object]
) -> Iterator[list[str]]:
    """Let the application act once, right after a statement of the node with `part` in it."""
    done: list[str] = []

    def interrupted(name: str) -> Callable[..., Any]:
        inner = getattr(Transaction, name)

        def call(self: Transaction, said: str | Iterable[str], *params: Any) -> Any:
            said = said if isinstance(said, str) else list(said)
            result = inner(self, said, *params)
            sql = said if isinstance(said, str) else "; ".join(said)
            if part in sql and not done:
                done.append(sql)
                act()
            return result

        return call

    with monkeypatch.context() as patched:
        for name in ("rows", "row", "execute", "executemany", "script", "copy"):
            patched.setattr(Transaction, name, interrupted(name))
        yield done
    assert done, f"the node said nothing like {part!r}"


@contextmanager
def soon(act: Callable[[], object]) -> Iterator[None]:
    """Let the application act in a moment, whatever the node is doing."""
    timer = threading.Timer(SOON_S, act)
    timer.start()
    try:
        yield
    finally:
        timer.join()


def test_a_line_committed_between_reading_and_deleting_the_journal_is_sealed_later(
    pair: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    insert(one, CAROL, "Carol")
    with after(monkeypatch, READS_JOURNAL, lambda: insert(one, DAVE, "Dave")):
        one.replica.seal()
    assert list(run(one, "SELECT count(*) FROM syncnode_journal")) == [(1,)]
    settle(one, other)
    assert name_of(other, CAROL) == ["Carol"]
    assert name_of(other, DAVE) == ["Dave"]


def test_an_open_transaction_holds_up_no_seal_and_its_lines_are_not_lost(
    pair: tuple[Site, Site], clerk: Any
) -> None:
    one, other = pair
    say(clerk, "INSERT INTO person (uuid, name) VALUES (?, 'Carol')", CAROL)
    for number in range(3):
        run(other, "UPDATE person SET note = ? WHERE uuid = ?", str(number), ALICE)
        began_s = time.monotonic()
        other.replica.seal()  # its lines have greater numbers than the open one
        assert time.monotonic() - began_s < 5
    settle(one, other, check=False)
    assert name_of(one, CAROL) == []
    clerk.commit()
    settle(one, other)
    assert name_of(one, CAROL) == ["Carol"]


def test_no_application_waits_for_a_seal(
    pair: tuple[Site, Site], clerk: Any, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """The node's locks in journal and trash are on the lines that it read, not between them."""
    _, other = pair
    say(clerk, PATIENCE[engine].format(1))
    insert(other, CAROL, "Carol")
    run(other, "DELETE FROM person WHERE uuid = ?", BOB)

    def write() -> None:
        say(clerk, "INSERT INTO person (uuid, name) VALUES (?, 'Dave')", DAVE)
        say(clerk, "UPDATE person SET note = 'x' WHERE uuid = ?", ALICE)
        clerk.commit()

    with after(monkeypatch, DELETES_LINES, write):
        other.replica.seal()
    assert name_of(other, DAVE) == ["Dave"]


def test_no_value_leaves_under_an_older_dot(
    pair: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The application commits in two rows after the seal and before the rows are read."""
    one, other = pair
    run(one, "UPDATE person SET name = 'sealed' WHERE uuid = ?", ALICE)

    def commit_two() -> None:
        run(one, "UPDATE person SET name = 'later'")

    base = other.replica.standing(other.id).frontier
    with after(monkeypatch, DELETES_LINES, commit_two):
        chunk = one.replica.chunk(base, 0)
    assert [value for block in chunk.blocks for row in block.values for value in row] == ["sealed"]
    later = one.replica.chunk(base, 0)
    assert [row for block in later.blocks for row in block.values] == [("later",), ("later",)]
    dots = {stamp.seq for block in chunk.blocks for stamp in block.stamps}
    assert not dots & {stamp.seq for block in later.blocks for stamp in block.stamps}
    settle(one, other)


@pytest.mark.parametrize("column", ["name", "note"])
def test_an_edit_committed_while_apply_waits_for_the_row_is_sealed_before_the_merge(
    pair: tuple[Site, Site], clerk: Any, column: str
) -> None:
    one, other = pair
    run(one, "UPDATE person SET name = 'from afar' WHERE uuid = ?", ALICE)
    one.replica.seal()
    time.sleep(0.01)  # the clerk writes later
    say(clerk, f"UPDATE person SET {column} = 'clerk' WHERE uuid = ?", ALICE)
    with soon(clerk.commit):
        sync(one, other)
    settle(one, other)
    if column == "name":
        assert name_of(one, ALICE) == name_of(other, ALICE) == ["clerk"]
        assert one.conflicts() == other.conflicts() == [("person", "name", "clerk", "from afar")]
    else:
        rows = run(one, "SELECT name, note FROM person WHERE uuid = ?", ALICE)
        assert list(rows) == [("from afar", "clerk")]
        assert one.conflicts() == []


def test_a_row_that_stays_locked_undoes_the_whole_apply_and_it_comes_later(
    pair: tuple[Site, Site], clerk: Any, hurry: None
) -> None:
    one, other = pair
    with one.transaction():
        insert(one, CAROL, "Carol")
        run(one, "UPDATE person SET name = 'from afar' WHERE uuid = ?", ALICE)
    say(clerk, "UPDATE person SET note = 'clerk' WHERE uuid = ?", ALICE)
    began_s = time.monotonic()
    with pytest.raises(StoreError, match="locked by the application") as caught:
        sync(one, other, check=False)
    assert caught.value.transient
    assert time.monotonic() - began_s < 5
    assert name_of(other, CAROL) == []
    clerk.commit()
    settle(one, other)
    assert name_of(other, CAROL) == ["Carol"]
    assert name_of(other, ALICE) == ["from afar"]
    assert list(run(one, "SELECT note FROM person WHERE uuid = ?", ALICE)) == [("clerk",)]


def test_in_a_deadlock_the_application_is_never_the_one_that_is_killed(
    pair: tuple[Site, Site], clerk: Any, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    """The node has written hundreds of rows and wants the clerk's, who wants one of the node's:
    the server would kill the clerk, whose work weighs less."""
    monkeypatch.setattr("syncnode.replica.ATTEMPTS_MAX", 1)
    for dialect in ("mysql", "postgresql"):
        monkeypatch.setattr(f"syncnode.dialects.{dialect}.LOCK_WAIT_S", 2.0)
    one, other = pair
    uuids = [f"{number:08}-0000-4000-8000-000000000000" for number in range(300)]
    with one.transaction():
        for uuid in uuids:
            insert(one, uuid, "from afar")
        run(one, "INSERT INTO visit (uuid, person_id) SELECT ?, min(id) FROM person", CAROL)
    say(clerk, PATIENCE[engine].format(20))
    if engine == "mysql":  # or so small a table would be read, and locked, whole
        say(clerk, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    if engine == "postgresql":  # where only this stands in the way of rows that refer to it
        say(clerk, "SELECT 1 FROM person WHERE uuid = ? FOR UPDATE", ALICE)
    say(clerk, "UPDATE person SET note = 'clerk' WHERE uuid = ?", ALICE)  # whom the visit names
    errors: list[Exception] = []

    def want_one_of_the_nodes() -> None:
        try:
            say(clerk, "INSERT INTO person (uuid, note) VALUES (?, 'clerk')", uuids[7])
            clerk.commit()
        except (pymysql.MySQLError, psycopg.Error) as error:
            errors.append(error)

    thread = threading.Thread(target=want_one_of_the_nodes)
    with (
        after(monkeypatch, INSERTS_PERSON[engine], thread.start),
        pytest.raises(StoreError, match="locked"),
    ):
        sync(one, other, check=False)
    thread.join()
    assert errors == []
    settle(one, other)
    assert list(run(one, "SELECT count(*) FROM person WHERE note = 'clerk'")) == [(2,)]
    assert list(run(other, "SELECT count(*) FROM person")) == [(302,)]


def test_a_child_inserted_while_its_parent_is_being_deleted_survives(
    pair: tuple[Site, Site], clerk: Any
) -> None:
    one, other = pair
    run(one, "DELETE FROM person WHERE uuid = ?", ALICE)
    say(
        clerk,
        "INSERT INTO visit (uuid, person_id) SELECT ?, id FROM person WHERE uuid = ?",
        CAROL,
        ALICE,
    )
    with soon(clerk.commit):
        sync(one, other)
    assert list(run(other, "SELECT uuid FROM visit")) == [(CAROL,)]
    assert name_of(other, ALICE) == ["Alice"]
    assert list(other.held()) == HELD
    settle(one, other)
    joined = "SELECT p.uuid FROM visit v JOIN person p ON p.id = v.person_id"
    assert list(run(one, joined)) == list(run(other, joined)) == [(ALICE,)]


@pytest.mark.parametrize("fails", [False, True])
def test_a_connection_goes_back_to_the_pool_as_it_came(
    pair: tuple[Site, Site], monkeypatch: pytest.MonkeyPatch, fails: bool, engine: str
) -> None:
    one, other = pair
    run(one, "UPDATE person SET name = 'from afar' WHERE uuid = ?", ALICE)
    insert(one, CAROL, "Carol")
    if fails:

        def stop() -> None:
            raise StoreError("stop here")

        with (
            after(monkeypatch, APPLYING[engine], stop),
            pytest.raises(StoreError, match="stop here"),
        ):
            sync(one, other, check=False)
    else:
        sync(one, other)
    seen = set()
    for _ in range(6):
        with other.replica.database.read() as tx:
            seen.add(tx.row(AS_IT_CAME[engine]))
    assert seen == {(None, 1)}
    settle(one, other)
    assert name_of(other, CAROL) == ["Carol"]


def test_two_processes_of_the_node_take_turns(pair: tuple[Site, Site], engine: str) -> None:
    one, _ = pair
    insert(one, CAROL, "Carol")
    holder = another(one)
    say(holder, TAKES_THE_STEP[engine])
    ended: list[float] = []

    def seal() -> None:
        one.replica.seal()
        ended.append(time.monotonic())

    thread = threading.Thread(target=seal)
    thread.start()
    time.sleep(SOON_S)
    assert not ended
    released_s = time.monotonic()
    holder.close()
    thread.join(10)
    assert ended[0] >= released_s
    assert list(run(one, "SELECT count(*) FROM syncnode_journal")) == [(0,)]


def test_two_processes_of_the_node_seal_each_line_once(make: Maker, engine: str) -> None:
    one, other = make(SCHEMA, engine, engine)
    stop = threading.Event()
    failures: list[BaseException] = []

    def work(site: Site) -> None:
        try:
            while not stop.is_set():
                site.replica.seal()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(one,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(60):
        insert(one, f"{number:08}-0000-4000-8000-000000000000", "new")
        run(one, "UPDATE person SET name = 'newer' WHERE id = ?", number + 1)
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    settle(one, other)
    assert list(run(other, "SELECT count(*) FROM person WHERE name = 'newer'")) == [(60,)]


def test_an_application_that_takes_local_numbers_meanwhile_loses_nothing(
    make: Maker, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    one, other = make(SCHEMA, engine, engine)
    for uuid in (ALICE, BOB):
        insert(one, uuid, "from afar")

    def take_numbers() -> None:
        insert(other, CAROL, "here")
        insert(other, DAVE, "here")

    with after(monkeypatch, LOOKS_FOR_NUMBERS[engine], take_numbers):
        sync(one, other)
    settle(one, other)
    for site in (one, other):
        assert list(site.parked()) == []
        assert list(run(site, "SELECT count(*) FROM person")) == [(4,)]
