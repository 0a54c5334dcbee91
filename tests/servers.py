"""Private database servers for tests: own data, own loopback port, gone at the end.

Nothing here touches a server that runs on the machine already, nor its configuration files.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pymysql

START_S_MAX = 60.0  # usually three; a machine under load may be slow
STOP_S_MAX = 20.0
SERVER_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/libexec")


def program(*names: str) -> Path | None:
    """The first of `names` that is found in PATH or where servers are installed."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SERVER_FOLDERS])
    for name in names:
        if found := shutil.which(name, path=path):
            return Path(found)
    return None


def mariadb_programs() -> tuple[Path, Path] | None:
    """The server and what makes its data folder; None when this machine lacks one of them."""
    server = program("mariadbd", "mysqld")
    installer = program("mariadb-install-db", "mysql_install_db")
    return (server, installer) if server and installer else None


class MariaDB:
    """A MariaDB server of our own, with durable commits and the strict default `sql_mode`.

    Use it as a context manager. Its `root` has a random password and reaches it over loopback
    TCP or by the socket in its folder.

    Attributes:
        version: As the server says, such as "10.11.19-MariaDB".
        port: On 127.0.0.1.
        pid: Of the server's process.
    """

    def __init__(self, *options: str) -> None:
        self.version = ""
        self.port = _free_port()
        self.password = secrets.token_hex(8)
        self._options = options
        # Not pytest's folder: the path of a socket must be shorter than 108 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="syncnode-mariadb-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "MariaDB":
        try:
            self._install()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self._process, "the server runs"
        return self._process.pid

    def url(self, database: str, *, user: str = "root", password: str | None = None) -> str:
        """What `syncnode init --database` takes."""
        secret = self.password if password is None else password
        return (
            f"mysql+pymysql://{quote(user, safe='')}:{quote(secret, safe='')}"
            f"@127.0.0.1:{self.port}/{database}"
        )

    def connect(self, database: str | None = None, **options: Any) -> pymysql.Connection:
        """A connection as root, with PyMySQL's options."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self.port,
            user="root",
            password=self.password,
            database=database,
            **options,
        )

    def execute(
        self, sql: str, parameters: Sequence[Any] = (), *, database: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement as root, commit, and return its rows."""
        with (
            self.connect(database, autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall())

    def create_database(self, name: str, charset: str = "utf8mb4") -> str:
        """An empty database, in place of one of that name; its URL."""
        self.execute(f"DROP DATABASE IF EXISTS `{name}`")
        self.execute(f"CREATE DATABASE `{name}` CHARACTER SET {charset}")
        return self.url(name)

    def load(self, database: str, *paths: Path) -> None:
        """Run files of SQL through the client program, stopping at the first error."""
        for path in paths:
            with path.open("rb") as file:
                self._client("mariadb", "mysql", database, stdin=file)

    def dump(self, database: str, *, rows: bool = False) -> str:
        """The schema (tables, triggers, routines), by request the rows; alike for alike."""
        options = ["--skip-comments", "--skip-dump-date", "--routines", "--triggers"]
        options.append("--order-by-primary" if rows else "--no-data")
        return self._client("mariadb-dump", "mysqldump", *options, database)

    def start(self) -> None:
        """Start the server on its data folder and wait until it answers."""
        programs = mariadb_programs()
        assert programs, "the caller has looked"
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    programs[0],
                    "--no-defaults",
                    *_as_root(),
                    f"--datadir={self.folder / 'rows'}",
                    f"--tmpdir={self.folder}",
                    f"--socket={self.folder / 'socket'}",
                    f"--pid-file={self.folder / 'pid'}",
                    # Once only: what a test has granted outlives a restart.
                    *([] if self.version else [f"--init-file={self._init_file()}"]),
                    f"--secure-file-priv={self.folder}",
                    "--bind-address=127.0.0.1",
                    f"--port={self.port}",
                    "--skip-name-resolve",
                    "--innodb-flush-log-at-trx-commit=1",
                    "--innodb-buffer-pool-size=64M",
                    "--innodb-log-file-size=32M",
                    "--performance-schema=OFF",
                    "--key-buffer-size=1M",
                    "--aria-pagecache-buffer-size=8M",
                    "--max-connections=100",
                    *(self._options or ("--skip-log-bin",)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """End the server, by its own process; by force when it does not go."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the server as a power cut would."""
        assert self._process, "the server runs"
        self._process.kill()
        self._process.wait()
        self._process = None

    def _install(self) -> None:
        programs = mariadb_programs()
        assert programs, "the caller has looked"
        subprocess.run(
            [
                programs[1],
                "--no-defaults",
                *_as_root(),
                f"--datadir={self.folder / 'rows'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                "--innodb-log-file-size=32M",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=START_S_MAX,
            cwd=self.folder,
        )

    def _init_file(self) -> Path:
        """What the server runs before it listens: root gets its password, nobody else enters."""
        path = self.folder / "init.sql"
        # One statement a line, as the server wants it.
        lines = ["DELETE FROM mysql.global_priv WHERE User <> 'mariadb.sys'", "FLUSH PRIVILEGES"]
        for host in ("localhost", "127.0.0.1"):
            lines.append(f"CREATE USER root@'{host}' IDENTIFIED BY '{self.password}'")
            lines.append(f"GRANT ALL ON *.* TO root@'{host}' WITH GRANT OPTION")
        path.write_text("".join(f"{line};\n" for line in lines))
        return path

    def _wait_until_it_answers(self) -> None:
        assert self._process, "it was started"
        deadline_s = time.monotonic() + START_S_MAX
        while True:
            try:
                self.version = str(self.execute("SELECT version()")[0][0])
                return
            except pymysql.err.OperationalError as error:
                gone = self._process.poll() is not None
                if gone or time.monotonic() > deadline_s:
                    log = (self.folder / "server.log").read_text(errors="replace")
                    raise RuntimeError(f"MariaDB did not start:\n{log[-4_000:]}") from error
                time.sleep(0.05)

    def _client(self, name: str, old_name: str, *arguments: str, stdin: Any = None) -> str:
        client = program(name, old_name)
        assert client, f"{name} is installed with the server"
        done = subprocess.run(
            [
                client,
                "--no-defaults",
                "--default-character-set=utf8mb4",
                "--user=root",
                f"--socket={self.folder / 'socket'}",
                *arguments,
            ],
            stdin=stdin or subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "MYSQL_PWD": self.password},
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr.decode(errors='replace')}")
        return done.stdout.decode()


def _as_root() -> list[str]:
    # The server refuses to run as root unless it is told to; anybody else is taken as he is.
    return ["--user=root"] if os.geteuid() == 0 else []


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def postgresql_programs() -> tuple[Path, Path] | None:
    """The server and what makes its data folder; None when this machine lacks one of them."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    path = os.pathsep.join([*map(str, reversed(folders)), os.environ.get("PATH", os.defpath)])
    server, installer = (shutil.which(name, path=path) for name in ("postgres", "initdb"))
    return (Path(server), Path(installer)) if server and installer else None


class PostgreSQL:
    """A PostgreSQL server of our own, with durable commits, for the user `postgres`.

    Use it as a context manager. The server refuses to run as root: then it is run as the system's
    user `postgres`, or `nobody`, to whom its folder belongs.

    Attributes:
        version: As the server says, such as "15.8 (Debian 15.8-0+deb12u1)".
        port: On 127.0.0.1.
        pid: Of the server's process.
    """

    def __init__(self, *options: str) -> None:
        self.version = ""
        self.port = _free_port()
        self.password = secrets.token_hex(8)
        self._options = options
        self.folder = Path(tempfile.mkdtemp(prefix="syncnode-postgresql-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "PostgreSQL":
        try:
            self._install()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        assert self._process, "the server runs"
        return self._process.pid

    def url(
        self,
        database: str,
        *,
        user: str = "postgres",
        password: str | None = None,
        schema: str | None = None,
    ) -> str:
        """What `syncnode init --database` takes."""
        secret = self.password if password is None else password
        path = f"?options=-csearch_path%3D%22{schema}%22" if schema else ""
        return (
            f"postgresql+psycopg://{quote(user, safe='')}:{quote(secret, safe='')}"
            f"@127.0.0.1:{self.port}/{database}{path}"
        )

    def connect(self, database: str | None = None, **options: Any) -> psycopg.Connection[Any]:
        """A connection as `postgres` that commits each statement by itself."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=options.pop("user", "postgres"),
            password=options.pop("password", self.password),
            dbname=database or "postgres",
            autocommit=options.pop("autocommit", True),
            **options,
        )

    def execute(
        self, sql: str, parameters: Sequence[Any] = (), *, database: str | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement as `postgres`, commit, and return its rows."""
        with self.connect(database) as connection:
            cursor = connection.execute(sql, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def create_database(self, name: str) -> str:
        """An empty database, in place of one of that name; its URL."""
        if self.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)):
            self._empty(name)
        else:
            self.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def _empty(self, name: str) -> None:
        """Take out what is in a database: dropping it would wait for a checkpoint."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        self.execute(f'ALTER DATABASE "{name}" RESET ALL')
        schemas = self.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$'",
            database=name,
        )
        for (schema,) in schemas:
            self.execute(f'DROP SCHEMA "{schema}" CASCADE', database=name)
        # As a new database has it, from PostgreSQL 15 on.
        self.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner", database=name)
        self.execute("GRANT USAGE ON SCHEMA public TO PUBLIC", database=name)

    def drop_database(self, name: str) -> None:
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def dump(self, database: str, *, rows: bool = False) -> str:
        """The schema (tables, triggers, functions), by request the rows; alike for alike."""
        programs = postgresql_programs()
        assert programs, "the caller has looked"
        done = subprocess.run(
            [
                programs[0].with_name("pg_dump"),
                *(() if rows else ("--schema-only",)),
                f"--dbname=postgresql://postgres@127.0.0.1:{self.port}/{database}",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "PGPASSWORD": self.password},
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"pg_dump: {done.stderr.decode(errors='replace')}")
        # Newer releases put a random word around what psql is to run.
        lines = done.stdout.decode().splitlines(keepends=True)
        return "".join(
            line for line in lines if not line.startswith(("\\restrict", "\\unrestrict", "--"))
        )

    def start(self) -> None:
        """Start the server on its data folder and wait until it answers."""
        programs = postgresql_programs()
        assert programs, "the caller has looked"
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    programs[0],
                    *("-D", self.folder / "rows"),
                    *("-p", str(self.port)),
                    *("-h", "127.0.0.1"),
                    *("-k", self.folder),
                    *("-c", "synchronous_commit=on"),
                    *("-c", "shared_buffers=64MB"),
                    *("-c", "max_connections=60"),
                    *("-c", "wal_level=minimal"),
                    *("-c", "max_wal_senders=0"),
                    *("-c", "autovacuum_naptime=10s"),
                    *("-c", "logging_collector=off"),
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **_as_nobody(),
            )
        self._wait_until_it_answers()

    def stop(self) -> None:
        """End the server, by its own process; by force when it does not go."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)  # a "fast shutdown": it waits for nobody
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the server at once, as a crash would; its own processes go with it."""
        assert self._process, "the server runs"
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _install(self) -> None:
        programs = postgresql_programs()
        assert programs, "the caller has looked"
        word = self.folder / "password"
        word.write_text(f"{self.password}\n")
        if identity := _as_nobody():
            for path in (self.folder, word):
                os.chown(path, identity["user"], identity["group"])
        subprocess.run(
            [
                programs[1],
                *("-D", self.folder / "rows"),
                "--username=postgres",
                f"--pwfile={word}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=START_S_MAX,
            cwd=self.folder,
            **_as_nobody(),
        )

    def _wait_until_it_answers(self) -> None:
        assert self._process, "it was started"
        deadline_s = time.monotonic() + START_S_MAX
        while True:
            try:
                self.version = str(self.execute("SHOW server_version")[0][0])
                return
            except psycopg.OperationalError as error:
                gone = self._process.poll() is not None
                if gone or time.monotonic() > deadline_s:
                    log = (self.folder / "server.log").read_text(errors="replace")
                    raise RuntimeError(f"PostgreSQL did not start:\n{log[-4_000:]}") from error
                time.sleep(0.05)


def _as_nobody() -> dict[str, Any]:
    """Whom a process is run as that must not be root; nothing to change for anybody else."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL does not run as root, and there is no user postgres or nobody")
