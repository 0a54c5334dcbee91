"""Sites on MariaDB, and on SQLite beside them, for tests: see `sites` for what can be done."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pymysql
import pytest
from servers import MariaDB
from sites import Site, make_site, one_network
from tables import Schema, dialect_of

PAIRS = (("mysql", "mysql"), ("mysql", "sqlite"))
ALL_PAIRS = (
    pytest.param(("sqlite", "sqlite"), id="sqlite-sqlite"),
    *(pytest.param(pair, id="-".join(pair), marks=pytest.mark.mariadb) for pair in PAIRS),
)


class Maker:
    """Makes the sites of one test, all in one network, and closes them."""

    def __init__(self, folder: Path, server: MariaDB | None) -> None:
        self.folder = folder
        self.server = server
        self.made: list[Site] = []

    def __call__(
        self,
        schema: Schema | Sequence[str],
        *engines: str,
        before: Callable[[Any], object] = lambda _: None,
        charset: str = "utf8mb4",
        **options: Any,
    ) -> list[Site]:
        """A site for each engine. In the text of a schema, {auto} is what makes a counter."""
        found = []
        for engine in engines:
            name = f"site{len(self.made)}"
            url = None
            if engine == "mysql":
                assert self.server is not None, "the test asks for a server"
                url = self.server.create_database(name, charset)
            ddl: Any = schema
            if not isinstance(schema, Schema):
                auto = "AUTO_INCREMENT" if engine == "mysql" else ""
                ddl = [statement.replace("{auto}", auto) for statement in schema]
                if engine == "mysql":  # where statements are formatted, with no parameters too
                    ddl = [statement.replace("%", "%%") for statement in ddl]
            made = make_site(self.folder, name, ddl, url=url, before=before, **options)
            self.made.append(made)
            found.append(made)
        one_network(*self.made)
        return found

    def close(self) -> None:
        for site in self.made:
            with contextlib.suppress(pymysql.MySQLError):
                site.close()
        if self.server is not None:
            for number in range(len(self.made)):
                self.server.execute(f"DROP DATABASE IF EXISTS site{number}")


def maker(folder: Path, server: MariaDB | None) -> Iterator[Maker]:
    """The body of a fixture."""
    made = Maker(folder, server)
    try:
        yield made
    finally:
        made.close()


def run(site: Site, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """A statement of the application on either engine, with `?` for its parameters."""
    return say(site.connection, sql, *parameters)


def say(connection: Any, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
    """The same on any connection; also several statements, without parameters, in a script."""
    cursor = connection.cursor()
    try:
        if dialect_of(connection) == "sqlite":
            cursor.execute(sql, parameters)
        elif parameters:
            cursor.execute(sql.replace("%", "%%").replace("?", "%s"), parameters)
        else:
            cursor.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []
    finally:
        cursor.close()


def another(site: Site, **options: Any) -> Any:
    """One more connection of an application to a site's MariaDB database; commits by itself."""
    made = site.connection
    return pymysql.connect(
        host=made.host,
        port=made.port,
        user=made.user.decode(),
        password=made.password.decode(),
        database=made.db.decode(),
        charset="utf8mb4",
        **{"autocommit": True, **options},
    )


def details(site: Site) -> list[tuple[str, str]]:
    """(reason, detail) of every parked row."""
    return [
        (str(reason), str(detail))
        for reason, detail in site.look(
            "SELECT reason, detail FROM syncnode_row WHERE place='parked' ORDER BY lsn"
        )
    ]


def unsettled(sites: Iterable[Site]) -> bool:
    """Whether anything is parked or held: then tables may differ by design."""
    return any(site.parked() or site.held() for site in sites)
