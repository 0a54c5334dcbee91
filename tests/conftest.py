"""What every test may ask for: private servers, real schemas, how long to search.

Fixtures:
    mariadb: A private server for the whole run (`servers.MariaDB`).
    mariadb_url: The URL of an empty database on it, dropped after the test.
    postgresql, postgresql_url: The same of PostgreSQL (`servers.PostgreSQL`).
    openmrs: The folder of the OpenMRS schema and rows, beside the repository.
    lan: A LAN of network namespaces (`namespaces.Lan`).
    seeds: How many times the usual effort a search for faults is worth.

A test that cannot run says so at the end of the run, never in silence; where CI is set, a missing
server is a failure. Where pytest-xdist shares the tests among processes (`-n 2`), each has servers
of its own, and what they ran on is told once for all of them.
"""

import os
import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import namespaces
import pytest
from servers import MariaDB, PostgreSQL, mariadb_programs, postgresql_programs

OPENMRS = "../shared/openmrs"  # from the root of the repository
SERVER_NAMES = {"mariadb": "MariaDB", "postgresql": "PostgreSQL"}  # by fixture and marker
SERVERS = pytest.StashKey[dict[str, str]]()
NOT_RUN = pytest.StashKey[Counter[str]]()

_database_numbers = count(1)

hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2_000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seeds",
        metavar="N",
        type=int,
        default=int(os.environ.get("SYNCNODE_SEEDS", "1")),
        help="search N times as long for faults (default: $SYNCNODE_SEEDS, else 1)",
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As it is for what a shell runs in the background, and for the processes of the tests.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[SERVERS] = {"SQLite": sqlite3.sqlite_version}
    config.stash[NOT_RUN] = Counter()
    config.addinivalue_line("markers", "mariadb: needs a MariaDB server (tests/install-servers)")
    config.addinivalue_line(
        "markers", "postgresql: needs a PostgreSQL server (tests/install-servers)"
    )
    config.addinivalue_line(
        "markers", "lan: needs network namespaces: root, and tests/install-servers"
    )
    config.addinivalue_line("markers", f"openmrs: needs {OPENMRS} beside the repository")


def pytest_itemcollected(item: pytest.Item) -> None:
    fixtures = getattr(item, "fixturenames", ())
    for name in (*SERVER_NAMES, "openmrs", "lan"):
        if name in fixtures:
            item.add_marker(name)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    lacks = {
        "mariadb": mariadb_programs() is None and "MariaDB not found",
        "postgresql": postgresql_programs() is None and "PostgreSQL not found",
        "openmrs": not _openmrs(item.config).is_dir() and f"{OPENMRS} is absent",
        "lan": item.get_closest_marker("lan") is not None and namespaces.lacking(),
    }
    for name, reason in lacks.items():
        if reason and item.get_closest_marker(name):
            item.config.stash[NOT_RUN][name] += 1
            pytest.skip(reason)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    not_run = config.stash[NOT_RUN]
    if hasattr(config, "workeroutput"):  # this is one of several processes
        config.workeroutput |= {"servers": config.stash[SERVERS], "not_run": dict(not_run)}
    if os.environ.get("CI") and any(not_run.get(name) for name in SERVER_NAMES):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """One of several processes has ended; it may have died before it could tell."""
    told = getattr(node, "workeroutput", {})
    node.config.stash[SERVERS] |= told.get("servers", {})
    node.config.stash[NOT_RUN].update(told.get("not_run", {}))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    versions = ", ".join(f"{name} {text}" for name, text in config.stash[SERVERS].items())
    not_run = config.stash[NOT_RUN]
    terminalreporter.section("what the tests ran on")
    terminalreporter.write_line(f"databases: {versions}")
    for fixture, name in SERVER_NAMES.items():
        if fixture in not_run:
            remedy = "sh tests/install-servers gets it"
            grave = "; a failure, since CI is set" if os.environ.get("CI") else ""
            terminalreporter.write_line(
                f"databases: {name} not found, {_tests(not_run[fixture])} did not run "
                f"({remedy}){grave}",
                yellow=True,
            )
    if "lan" in not_run:
        terminalreporter.write_line(
            f"lan: {namespaces.lacking()}, {_tests(not_run['lan'])} did not run "
            "(as root, sh tests/install-servers gets the programs)",
            yellow=True,
        )
    elif not namespaces.lacking():
        terminalreporter.write_line("lan: network namespaces, with multicast")
    if "openmrs" in not_run:
        terminalreporter.write_line(
            f"openmrs: {_tests(not_run['openmrs'])} did not run, {OPENMRS} is absent", yellow=True
        )
    elif _openmrs(config).is_dir():
        terminalreporter.write_line(f"openmrs: {OPENMRS} is present")
    else:
        terminalreporter.write_line(f"openmrs: {OPENMRS} is absent, no test asked for it")


@pytest.fixture(scope="session")
def mariadb(pytestconfig: pytest.Config) -> Iterator[MariaDB]:
    if mariadb_programs() is None:
        pytest.skip("MariaDB not found")
    with MariaDB() as server:
        pytestconfig.stash[SERVERS]["MariaDB"] = server.version
        yield server


@pytest.fixture
def mariadb_url(mariadb: MariaDB) -> Iterator[str]:
    name = f"test_{next(_database_numbers)}"
    yield mariadb.create_database(name)
    mariadb.execute(f"DROP DATABASE IF EXISTS `{name}`")


@pytest.fixture(scope="session")
def postgresql(pytestconfig: pytest.Config) -> Iterator[PostgreSQL]:
    if postgresql_programs() is None:
        pytest.skip("PostgreSQL not found")
    with PostgreSQL() as server:
        pytestconfig.stash[SERVERS]["PostgreSQL"] = server.version.partition(" ")[0]
        yield server


@pytest.fixture
def postgresql_url(postgresql: PostgreSQL) -> str:
    return postgresql.create_database("test")


@pytest.fixture(scope="session")
def openmrs(pytestconfig: pytest.Config) -> Path:
    folder = _openmrs(pytestconfig)
    if not folder.is_dir():
        pytest.skip(f"{OPENMRS} is absent")
    return folder


@pytest.fixture
def lan() -> Iterator[namespaces.Lan]:
    with namespaces.Lan() as made:
        yield made


@pytest.fixture(scope="session")
def seeds(pytestconfig: pytest.Config) -> int:
    return max(1, int(pytestconfig.getoption("seeds")))


def _openmrs(config: pytest.Config) -> Path:
    return (config.rootpath / OPENMRS).resolve()


def _tests(number: int) -> str:
    return "1 test" if number == 1 else f"{number} tests"
