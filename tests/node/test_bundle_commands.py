"""`export` and `import` as people run them: in processes of their own, and beside servers."""

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from couriers import introduce, pack, unpack
from mariadb_sites import Maker, maker, run, servers_of
from processes import INTERRUPTED, ProcessSite, eventually
from sites import Site, make_site, one_network, same

from syncnode.__main__ import main

PERSON = (
    "CREATE TABLE person (id INTEGER PRIMARY KEY {auto}, uuid CHAR(38) NOT NULL UNIQUE, "
    "name VARCHAR(40), boss INTEGER REFERENCES person (id))",
)
ROWS = 4_000


SCHEMA = ("CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT)",)


def test_what_a_courier_brings_goes_on_to_those_below(tmp_path):
    """Three levels: the lowest is joined to the middle by a link, the middle to the top by keys."""
    top, middle, low = made = [ProcessSite(tmp_path, name) for name in ("kigali", "butaro", "low")]
    try:
        for site in made:
            site.init()
        with top.serving():
            top.admit(middle)
        _by_keys(top, middle, low, tmp_path)
    finally:
        for site in made:
            site.close()


def _by_keys(top: ProcessSite, middle: ProcessSite, low: ProcessSite, folder: Path) -> None:
    top.add_patient("Ana")
    key = folder / "key"
    done = top.command("export", str(key), "--for", "butaro")
    assert (done.returncode, done.stdout) == (0, f"{key}\n")
    assert "1 row, " in done.stderr
    assert "to be opened by butaro" in done.stderr
    with middle.serving():
        middle.admit(low)
        with low.serving():
            report = middle.report("import", str(key))
            assert (report["done"], report["taken"]) == (True, 1)
            (file,) = report["files"]
            assert (file["exporter"], file["part"], file["rows"]) == ("kigali", 1, 1)
            eventually(lambda: list(low.patients().values()) == ["Ana"])
            low.add_patient("Ben")
            eventually(lambda: "Ben" in middle.patients().values())
    back = middle.report("export", str(folder / "back"), "--for", "kigali")
    assert (back["rows"], back["readers"]) == (1, ["kigali"])
    assert "done, all of it is in the tables" in top.command("import", *back["files"]).stderr
    assert sorted(top.patients().values()) == ["Ana", "Ben"]
    assert top.report("status")["pending"] == 0


@pytest.fixture
def pair(tmp_path):
    """Two sites in this process that know each other, for commands of any kind."""
    made = [make_site(tmp_path, name, SCHEMA) for name in ("kigali", "butaro")]
    one_network(*made)
    introduce(*made)
    yield made
    for site in made:
        site.close()


def say(capsys, site: Site, *arguments: object) -> tuple[int, str]:
    """Exit status and standard error of a command."""
    capsys.readouterr()
    try:
        status = main([*map(str, arguments), "--config", str(site.settings.path)])
    except SystemExit as ended:
        status = int(str(ended.code))
    return status, capsys.readouterr().err


def fill(site: Site, count: int) -> None:
    with site.transaction():
        for number in range(count):
            site.sql("INSERT INTO patient (uuid, name) VALUES (?, ?)", str(uuid4()), f"{number}")


def patients(site: Site) -> list[tuple[object, ...]]:
    return site.sql("SELECT uuid, name FROM patient ORDER BY uuid")


def test_what_is_missing_is_told_and_when_it_comes_nothing_is(pair, tmp_path, capsys):
    kigali, butaro = pair
    fill(kigali, 3_000)
    status, told = say(
        capsys, kigali, "export", tmp_path / "key", "--for", "butaro", "--split", "64 kb"
    )
    assert status == 0, told
    first, *others = sorted(tmp_path.glob("key.*"))
    assert others
    status, told = say(capsys, butaro, "import", *others)
    assert status == 1
    assert "part 1 of 2 of the bundle of kigali, 20" in told
    assert "part 1 of 2" in say_out(capsys, butaro, "status")
    assert say(capsys, butaro, "import", first) == (
        0,
        "syncnode: done, all of it is in the tables\n",
    )
    assert patients(butaro) == patients(kigali)
    assert "part 1 of 2" not in say_out(capsys, butaro, "status")


def say_out(capsys, site: Site, *arguments: str) -> str:
    capsys.readouterr()
    assert main([*arguments, "--config", str(site.settings.path)]) == 0
    return str(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (("export", "key"), 2, "--for"),
        (("export", "key", "--for", "nobody"), 1, "no peer named 'nobody'"),
        (("export", "key", "--for", "anyone", "--for", "butaro"), 2, "stands alone"),
        (("export", "key", "--for", "butaro", "--split", "big"), 2, "write, say, 700MB"),
        (("export", "key", "--for", "butaro", "--split", "1KB"), 2, "at least 64 KB"),
        (("import",), 2, "name the files to import"),
        (("import", "key", "--discard", "12345678"), 2, "name the files to import"),
        (("import", "--discard", "12345678"), 1, "those that wait: none"),
        (("import", "gone"), 1, "No such file or directory"),
    ],
)
def test_wrong_usage_has_a_sentence(pair, capsys, arguments, status, text):
    ended, told = say(capsys, pair[0], *arguments)
    assert (ended, text in told) == (status, True), told


@pytest.mark.parametrize("with_signal", [signal.SIGKILL, signal.SIGINT])
def test_an_import_that_is_ended_in_the_middle_is_run_again(pair, tmp_path, with_signal):
    kigali, butaro = pair
    fill(kigali, ROWS)
    limits = replace(kigali.settings.limits, chunk_bytes_max=2_000)
    kigali.settings = replace(kigali.settings, limits=limits)
    pack(kigali, tmp_path / "key", "butaro")
    command = [sys.executable, "-m", "syncnode", "import", tmp_path / "key"]
    command += ["--config", butaro.settings.path]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    staged = "SELECT count(*) FROM syncnode_staged"
    eventually(lambda: butaro.sql(staged) > [(5,)])
    process.send_signal(with_signal)  # dozens of chunks are still to come
    _, told = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGKILL, *INTERRUPTED), told
    assert patients(butaro) == []
    assert butaro.sql(staged) > [(5,)]
    assert unpack(butaro, tmp_path / "key").done
    assert patients(butaro) == patients(kigali)
    assert butaro.sql(staged) == [(0,)]


@pytest.mark.mariadb
@pytest.mark.postgresql
def test_bundles_between_servers(request, tmp_path: Path) -> None:
    engines = ("mysql", "postgresql")
    for make in maker(tmp_path, *servers_of(request, engines)):
        _between(make, tmp_path, engines)


def _between(make: Maker, folder: Path, engines: tuple[str, str]) -> None:
    one, other = make(PERSON, *engines)
    introduce(one, other)
    for number in range(300):
        uuid = f"{number:08}-0000-4000-8000-000000000000"
        run(one, "INSERT INTO person VALUES (?, ?, ?, ?)", number + 1, uuid, "Ana", number or None)
    report = pack(one, folder / "1", other.name)
    assert not unpack(one, *report.files).done
    assert unpack(other, *report.files).done
    same(one, other)
    run(other, "UPDATE person SET name='Ben' WHERE uuid LIKE '0000029%'")
    assert pack(other, folder / "2", one.name).rows == 10
    pack(one, folder / "3", other.name)
    for site, file in ((one, "2"), (other, "3"), (one, "2")):
        assert unpack(site, folder / file).done
    same(one, other)
    assert run(one, "SELECT count(*) FROM person WHERE name='Ben'") == [(10,)]
    other.replica.take_bundles()
    assert other.look("SELECT * FROM syncnode_staged") == []
