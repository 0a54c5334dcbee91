"""The URL of a database server is read as SQLAlchemy reads it."""

import pytest
from sqlalchemy.engine import make_url

from syncnode.settings.database_url import server_of


@pytest.mark.parametrize(
    "url",
    [
        "mysql+pymysql://root@127.0.0.1:3307/openmrs",
        "mysql+pymysql://o%40x:p%3Aw%2F%23@localhost/openmrs",
        "mariadb+pymysql://root:secret@[::1]:3306/d?unix_socket=/run/x%20y.sock",
        "mysql+pymysql://root:@db.example/d?charset=utf8mb4",
        "postgresql+psycopg://u:p%40w@h/d?options=-csearch_path%3Dclinic&sslmode=require",
    ],
)
def test_a_url_has_the_same_parts_as_in_sqlalchemy(url):
    theirs = make_url(url)
    assert server_of(url) == (
        theirs.host,
        theirs.port,
        theirs.username,
        theirs.password,
        theirs.database,
        dict(theirs.query),
    )
