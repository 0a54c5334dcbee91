"""The page of node/README.md from two dumps to two sites in step, its commands as they stand."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from openmrs_sites import beyond
from processes import eventually
from servers import program
from walked import differences, walked
from wire import free_port

PAGE = Path(__file__).parents[2] / "node/README.md"
DUMPS = {"kigali": "data-2.x.sql", "butaro": "data-2.x-merged.sql"}
END_S_MAX = 300  # a machine under load may be slow
LOG_SHOWN = 2_000  # letters from its end: a plan is long


@pytest.fixture
def folder(tmp_path, mariadb, openmrs):
    """Where the dumps are, and how an administrator reaches the server."""
    for name, rows in DUMPS.items():
        texts = [(openmrs / part).read_text() for part in ("schema-2.x.sql", rows)]
        (tmp_path / f"{name}.sql").write_text("".join(texts))
    (tmp_path / ".my.cnf").write_text(
        f"[client]\nhost=127.0.0.1\nport={mariadb.port}\nuser=root\npassword={mariadb.password}\n"
    )
    yield tmp_path
    for name in DUMPS:
        mariadb.execute(f"DROP DATABASE IF EXISTS {name}")
    mariadb.execute("DROP USER IF EXISTS syncnode@127.0.0.1")


@pytest.mark.skipif(program("mariadb") is None, reason="the client `mariadb` is not here")
def test_the_page_leads_from_two_dumps_to_two_sites_in_step(folder, mariadb):
    _, _, rest = PAGE.read_text().partition("<!-- commands: two dumps -->\n```sh\n")
    commands = rest.partition("```")[0]
    assert commands.count("syncnode init") == 2
    commands = commands.replace("@127.0.0.1/", f"@127.0.0.1:{mariadb.port}/")
    commands = re.sub(r"\b8470\b", str(free_port()), commands)
    log = folder / "log"
    with log.open("w") as out:
        typed = subprocess.Popen(
            ["bash", "-euc", commands],
            cwd=folder,
            env=_environment(folder),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        assert typed.wait(END_S_MAX) == 0, log.read_text()[-LOG_SHOWN:]
        assert "equal with kigali" in log.read_text()
        kigali, butaro = (mariadb.connect(name, autocommit=True) for name in DUMPS)
        known = beyond(mariadb, "kigali")
        assert differences(walked(kigali, known), walked(butaro, known)) == {}
        kigali.cursor().execute("UPDATE person SET gender = 'U' WHERE gender = 'M'")
        eventually(
            lambda: differences(walked(kigali, known), walked(butaro, known)) == {}, within_s=60
        )
        kigali.close()
        butaro.close()
    finally:
        os.killpg(typed.pid, signal.SIGTERM)  # both `serve`, which the shell has left behind
        eventually(lambda: not _alive(typed.pid), within_s=60)


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SYNCNODE_")}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
    return {**kept, "HOME": str(folder), "PATH": path}


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
