"""The private servers of the tests: that they are what the tests take them for."""

import psycopg
import pymysql
import pytest


def test_it_answers_on_its_own_port_with_durable_commits_and_a_strict_mode(mariadb):
    (row,) = mariadb.execute(
        "SELECT @@port, @@bind_address, @@innodb_flush_log_at_trx_commit, @@log_bin, @@sql_mode"
    )
    assert row[:4] == (mariadb.port, "127.0.0.1", 1, 0)
    assert "STRICT_TRANS_TABLES" in row[4]


def test_a_database_has_the_character_set_it_was_asked_for(mariadb):
    mariadb.create_database("latin", charset="latin1")
    mariadb.execute("CREATE TABLE t (a VARCHAR(10))", database="latin")
    assert "CHARSET=latin1" in mariadb.dump("latin")


def test_only_who_knows_the_password_enters(mariadb):
    for user, password in (("root", ""), ("root", "wrong"), ("stranger", "")):
        with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
            pymysql.connect(host="127.0.0.1", port=mariadb.port, user=user, password=password)


def test_each_test_gets_an_empty_database(mariadb, mariadb_url):
    name = mariadb_url.rpartition("/")[2]
    assert mariadb.execute("SHOW TABLES", database=name) == []


def test_files_of_sql_are_loaded_and_an_error_in_them_is_raised(mariadb, mariadb_url, tmp_path):
    name = mariadb_url.rpartition("/")[2]
    good, bad = tmp_path / "good.sql", tmp_path / "bad.sql"
    good.write_text("CREATE TABLE t (a INT); INSERT INTO t VALUES (1), (2);")
    bad.write_text("INSERT INTO nowhere VALUES (1);")
    mariadb.load(name, good)
    assert mariadb.execute("SELECT a FROM t", database=name) == [(1,), (2,)]
    with pytest.raises(RuntimeError, match="nowhere"):
        mariadb.load(name, bad)


def test_postgresql_answers_on_its_own_port_with_durable_commits(postgresql):
    settings = ("port", "listen_addresses", "synchronous_commit", "fsync", "server_encoding")
    (row,) = postgresql.execute(
        f"SELECT {', '.join(f'current_setting({name!r})' for name in settings)}"
    )
    assert row == (str(postgresql.port), "127.0.0.1", "on", "on", "UTF8")


def test_only_who_knows_the_password_enters_postgresql(postgresql):
    for user, password in (("postgres", "wrong"), ("stranger", "wrong")):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            postgresql.connect(user=user, password=password)


def test_each_test_gets_an_empty_database_of_postgresql(postgresql, postgresql_url):
    name = postgresql_url.rpartition("/")[2]
    tables = "SELECT * FROM pg_tables WHERE schemaname = 'public'"
    assert postgresql.execute(tables, database=name) == []


def test_the_folder_of_openmrs_holds_its_schema(openmrs):
    assert "CREATE TABLE" in (openmrs / "schema-2.x.sql").read_text()
