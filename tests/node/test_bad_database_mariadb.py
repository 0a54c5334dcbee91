"""MariaDB servers and users that cannot serve a site: one clear sentence, and nothing changed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mariadb_sites import another
from servers import MariaDB
from sites import make_site

from syncnode.operations.removal import uninstall
from syncnode.operations.site import initialise, open_replica
from syncnode.settings.new_config import new_settings
from syncproto.errors import StoreError, SyncError

PERSON = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY AUTO_INCREMENT, uuid CHAR(38) NOT NULL UNIQUE,"
    " name VARCHAR(40))"
)


@pytest.fixture
def database(mariadb: MariaDB, mariadb_url: str) -> str:
    """The name of a database with one table and one row."""
    name = mariadb_url.rpartition("/")[2]
    mariadb.execute(PERSON, database=name)
    mariadb.execute("INSERT INTO person VALUES (1, UUID(), 'Alice')", database=name)
    return name


@pytest.fixture(scope="module")
def logging_server() -> Iterator[MariaDB]:
    """A server with a binary log, as most that have a replica."""
    with MariaDB("--log-bin", "--server-id=1", "--sync-binlog=0") as server:
        yield server


def settings_of(folder: Path, url: str, **choice: Any) -> Any:
    return new_settings(
        folder / "site" / "syncnode.toml", name="site", database=url, environment={}, **choice
    )


def refused(folder: Path, url: str, *parts: str) -> str:
    """The sentence with which `init` refuses; it left no file behind."""
    settings = settings_of(folder, url)
    with pytest.raises(SyncError) as caught:
        initialise(settings, dry_run=False, progress=lambda _: None)
    text = str(caught.value)
    for part in parts:
        assert re.search(part, text), text
    assert "\n" not in text
    assert not any(path.is_file() for path in folder.rglob("*"))
    return text


def user(server: MariaDB, database: str, name: str, rights: str) -> str:
    """The URL of a user who has these rights and no others."""
    server.execute(f"CREATE OR REPLACE USER {name}@'%%' IDENTIFIED BY 'word'")
    if rights:
        server.execute(f"GRANT {rights} ON `{database}`.* TO {name}@'%%'")
    return server.url(database, user=name, password="word")


def test_a_server_that_does_not_run(tmp_path: Path) -> None:
    text = refused(tmp_path, "mysql+pymysql://u:secret@127.0.0.1:1/x", "cannot be reached")
    assert "secret" not in text


def test_a_wrong_password(mariadb: MariaDB, database: str, tmp_path: Path) -> None:
    text = refused(tmp_path, mariadb.url(database, password="wrong"), "user or the password")
    assert "wrong" not in text.replace("wrongly", "")


def test_a_database_that_does_not_exist(mariadb: MariaDB, tmp_path: Path) -> None:
    refused(tmp_path, mariadb.url("nowhere"), "does not exist", "nowhere")


def test_a_url_without_a_database(mariadb: MariaDB, tmp_path: Path) -> None:
    with pytest.raises(SyncError, match="database"):
        initialise(
            settings_of(tmp_path, mariadb.url("").rstrip("/")), dry_run=False, progress=print
        )


@pytest.mark.parametrize(
    "rights",
    [
        "",
        "SELECT",
        "SELECT, INSERT, UPDATE, DELETE",
        "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES",
        "SELECT, CREATE, TRIGGER, DROP, INDEX",
    ],
)
def test_a_user_without_the_rights(
    mariadb: MariaDB, database: str, tmp_path: Path, rights: str
) -> None:
    before = mariadb.dump(database, rows=True)
    url = user(mariadb, database, "helper", rights)
    refused(tmp_path, url, "right", "GRANT")
    assert mariadb.dump(database, rows=True) == before


def test_a_user_with_the_rights_that_the_refusal_names(
    mariadb: MariaDB, database: str, tmp_path: Path
) -> None:
    refusal = refused(tmp_path, user(mariadb, database, "helper", "SELECT, CREATE"), "GRANT")
    found = re.search(r"GRANT (.*?) ON", refusal)
    assert found, refusal
    url = user(mariadb, database, "helper", found[1])
    settings = settings_of(tmp_path, url)
    initialise(settings, dry_run=False, progress=lambda _: None)
    open_replica(settings).close()
    uninstall(settings, force=True)


def test_a_binary_log_that_lets_only_administrators_make_triggers(
    logging_server: MariaDB, tmp_path: Path
) -> None:
    logging_server.create_database("logged")
    logging_server.execute(PERSON, database="logged")
    logging_server.execute("SET GLOBAL log_bin_trust_function_creators = 0")
    rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, ALTER, INDEX, REFERENCES, TRIGGER"
    url = user(logging_server, "logged", "helper", rights)
    before = logging_server.dump("logged")
    refused(tmp_path, url, "log_bin_trust_function_creators=1")
    assert logging_server.dump("logged") == before
    logging_server.execute("SET GLOBAL log_bin_trust_function_creators = 1")
    for style in ("ROW", "MIXED"):
        logging_server.execute(f"SET GLOBAL binlog_format = '{style}'")
        settings = settings_of(tmp_path / style, url)
        initialise(settings, dry_run=False, progress=lambda _: None)
        logging_server.execute("INSERT INTO person (uuid) VALUES (UUID())", database="logged")
        replica = open_replica(settings)
        assert replica.seal()
        replica.close()
        uninstall(settings, force=True)


def test_a_server_that_forgets_commits_in_a_power_cut(
    mariadb: MariaDB, database: str, tmp_path: Path
) -> None:
    mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    try:
        refused(tmp_path, mariadb.url(database), "innodb_flush_log_at_trx_commit=1")
    finally:
        mariadb.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")


def test_a_server_that_takes_no_writes(mariadb: MariaDB, database: str, tmp_path: Path) -> None:
    rights = "ALL PRIVILEGES"
    url = user(mariadb, database, "helper", rights)
    before = mariadb.dump(database, rows=True)
    mariadb.execute("SET GLOBAL read_only = 1")
    try:
        refused(tmp_path, url, "read-only")
    finally:
        mariadb.execute("SET GLOBAL read_only = 0")
    assert mariadb.dump(database, rows=True) == before


def test_a_database_that_is_a_site_already(mariadb: MariaDB, database: str, tmp_path: Path) -> None:
    url = mariadb.url(database)
    initialise(settings_of(tmp_path, url), dry_run=False, progress=lambda _: None)
    refusal = refused(tmp_path / "again", url, "is a site already", "uninstall")
    assert mariadb.password not in refusal
    open_replica(settings_of(tmp_path, url)).close()


def test_tables_without_transactions_stay_out_and_the_plan_says_why(
    mariadb: MariaDB, database: str, tmp_path: Path
) -> None:
    mariadb.execute(
        "CREATE TABLE archive (id INT PRIMARY KEY, uuid CHAR(38) UNIQUE) ENGINE=MyISAM",
        database=database,
    )
    report = initialise(
        settings_of(tmp_path, mariadb.url(database)), dry_run=True, progress=lambda _: None
    )
    assert re.search(r"archive.*MyISAM.*ENGINE=InnoDB", report.plan, re.DOTALL)


def test_an_init_that_fails_half_way_leaves_nothing_behind(
    mariadb: MariaDB, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What MariaDB's DDL has made cannot be rolled back."""
    before = mariadb.dump(database, rows=True)

    def fail(*_: object) -> int:
        raise StoreError("the power is gone")

    monkeypatch.setattr("syncnode.operations.site._fill", fail)
    refused(tmp_path, mariadb.url(database), "the power is gone")
    assert mariadb.dump(database, rows=True) == before


def test_a_server_that_is_restarted_between_two_steps(
    logging_server: MariaDB, tmp_path: Path
) -> None:
    """Connections of the pool are dead then, and nobody needs to know."""
    url = logging_server.create_database("restarted")
    site = make_site(tmp_path, "restarted", (PERSON,), url=url)
    site.sql("INSERT INTO person (uuid) VALUES (UUID())")
    assert site.replica.seal()
    logging_server.kill()
    with pytest.raises(StoreError, match=r"cannot be reached|Lost connection|gone away") as caught:
        site.replica.seal()
    assert caught.value.transient
    logging_server.start()
    site.connection = another(site)
    site.sql("INSERT INTO person (uuid) VALUES (UUID())")
    assert site.replica.seal()
    site.close()
