"""The URL of a database, before any engine sees it: its form, its path, its password.

SQLAlchemy is not imported: settings are read by commands that need no database, too.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from syncnode.settings.toml_reader import shown

DATABASE_EXAMPLES = (
    '"sqlite:///site.db", "mysql+pymysql://user:password@127.0.0.1/database" '
    'or "postgresql+psycopg://user:password@127.0.0.1/database"'
)
# SQLAlchemy's own grammar of a URL, so that what passes here is read alike there.
_DATABASE_URL = re.compile(
    r"(?P<scheme>[\w+]+)://"
    r"(?:(?P<user>[^:/]*)(?::(?P<password>[^@]*))?@)?"
    r"(?:(?P<host>\[[^/?]+\]|[^/:?]+)?(?::(?P<port>[^/?]*))?)?"
    r"(?:/(?P<database>[^?]*))?"
    r"(?:\?(?P<query>.*))?"
)
_MYSQL_SCHEMES = ("mysql+pymysql", "mariadb+pymysql")
_POSTGRESQL_SCHEMES = ("postgresql", "postgresql+psycopg")


def database_fault(url: str) -> str | None:
    """What is wrong with the form of a database URL, and what would do; shows no password."""
    match = _DATABASE_URL.fullmatch(url)
    scheme = match["scheme"] if match else ""
    if not match or not scheme:
        return f"is no database URL; write, say, {DATABASE_EXAMPLES}"
    if scheme == "sqlite":
        return _sqlite_fault(match)
    if scheme in _MYSQL_SCHEMES:
        return _server_fault(match, socket="unix_socket=", port="3306")
    if scheme in _POSTGRESQL_SCHEMES:
        return _server_fault(match, socket="host=", port="5432")
    if scheme in ("mysql", "mariadb"):
        return f'lacks the driver; write "{scheme}+pymysql://" in place of "{scheme}://"'
    if scheme.startswith("postgres"):
        return f'write "postgresql+psycopg://" in place of "{scheme}://"'
    return f"{shown(scheme)} is not supported; write, say, {DATABASE_EXAMPLES}"


def absolute_database(url: str, folder: Path) -> str:
    """`url`; the relative path of an SQLite database in it made absolute, from `folder`."""
    match = _DATABASE_URL.fullmatch(url)
    if not match or match["scheme"] != "sqlite" or not match["database"]:
        return url
    query = f"?{match['query']}" if match["query"] else ""
    return f"sqlite:///{folder / match['database']}{query}"


class Server(NamedTuple):
    """Where a database server is and who asks it.

    Attributes:
        options: What stands behind the question mark.
    """

    host: str | None
    port: int | None
    user: str | None
    password: str | None
    database: str | None
    options: Mapping[str, str]


def server_of(url: str) -> Server:
    """The parts of the URL of a database server in which `database_fault` finds no fault."""
    match = _DATABASE_URL.fullmatch(url)
    assert match, "checked before"
    user, password = match["user"], match["password"]
    return Server(
        host=match["host"].strip("[]") if match["host"] else None,
        port=int(match["port"]) if match["port"] else None,
        user=unquote(user) if user is not None else None,
        password=unquote(password) if password is not None else None,
        database=match["database"] or None,
        options=dict(parse_qsl(match["query"] or "")),
    )


def without_password(url: str) -> str:
    """`url` as it may be shown: `***` in place of a password; nothing of what is no URL."""
    match = _DATABASE_URL.fullmatch(url)
    if not match:
        return "***"
    if match["query"]:
        # PostgreSQL takes it there, too.
        shown_query = re.sub(r"(password=)[^&]*", r"\1***", match["query"])
        url = f"{url[: match.start('query')]}{shown_query}"
    if match["password"] is None:
        return url
    return f"{url[: match.start('password')]}***{url[match.end('password') :]}"


def _sqlite_fault(match: re.Match[str]) -> str | None:
    if match["host"] or match["user"]:
        return 'has two slashes where an SQLite URL has three; write "sqlite:///site.db"'
    database = match["database"] or ""
    if database in ("", ":memory:") or database.startswith("file:"):
        return 'names no file; write its path, such as "sqlite:///site.db"'
    if not database.isprintable():
        return "holds a control character; write the path of a file"
    return None


def _server_fault(match: re.Match[str], *, socket: str, port: str) -> str | None:
    """`socket`: the option that names the server's socket; `port`: where it listens else."""
    scheme = match["scheme"]
    if not match["host"] and socket not in (match["query"] or ""):
        return f'names no server; write, say, "{scheme}://user:password@127.0.0.1/database"'
    if not match["database"]:
        return "names no database; write its name behind the server, such as 127.0.0.1/openmrs"
    port = match["port"] or port
    if "@" in (match["host"] or "") or not (port.isascii() and port.isdigit()):
        return (
            "is cut in the wrong place; write : / ? # @ in a password with percent signs "
            "(%3A %2F %3F %23 %40)"
        )
    return None
