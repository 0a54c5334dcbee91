"""A peer that takes a call and says nothing: one is told so, and it ends in a sentence."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import trio
from processes import INTERRUPTED, ProcessSite
from wire import serving

from syncnode.identity.credentials import load_key

# The bounds, shortened: as they are shipped a test would take half a minute.
SHORT = """
import sys
import syncnode.links.client, syncnode.operations.running
syncnode.links.client.CONNECT_S_MAX = float(sys.argv[1])
syncnode.operations.running.SYNC_ANSWER_S_MAX = float(sys.argv[1])
from syncnode.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def pair(tmp_path):
    """A parent, and a child that joined it."""
    parent, child = ProcessSite(tmp_path, "kigali"), ProcessSite(tmp_path, "butaro", listens=False)
    for one in (parent, child):
        one.init()
    parent.start()
    parent.admit(child)
    yield parent, child
    for one in (parent, child):
        one.close()


@contextmanager
def stopped(site):
    site.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        site.process.send_signal(signal.SIGCONT)


def begun(site, *arguments, limit_s):
    return subprocess.Popen(
        [sys.executable, "-c", SHORT, str(limit_s), *arguments, "--config", str(site.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said_at_the_end(process):
    out, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    return out, said.splitlines()


def test_sync_with_a_stopped_parent_tells_that_it_waits_and_gives_up(pair):
    parent, child = pair
    child.add_patient("Ann")
    with stopped(parent):
        process = begun(child, "sync", limit_s=5)
        out, lines = said_at_the_end(process)
    assert process.returncode == 1
    assert any(line.startswith("syncnode: waiting for kigali … not a word") for line in lines)
    assert "kigali: " in lines[-1]
    assert f"{parent.listen} takes the call and gives no answer in time" in lines[-1]
    assert "hangs or is stopped" in lines[-1]
    assert out.splitlines()[1].split() == ["kigali", "0", "0", "0", "0", "no"]
    child.run("sync")


def test_a_sync_that_waits_is_ended_by_ctrl_c(pair):
    parent, child = pair
    with stopped(parent):
        process = begun(child, "sync", limit_s=60)
        while "waiting for kigali" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        began_s = time.monotonic()
        _, lines = said_at_the_end(process)
        assert time.monotonic() - began_s < 5
    assert process.returncode in INTERRUPTED
    assert lines[-1].startswith("syncnode: interrupted")


def test_join_with_a_stopped_inviter_gives_up_too(pair, tmp_path):
    parent, _ = pair
    late = ProcessSite(tmp_path, "late", listens=False).init()
    token = parent.run("invite", "late").strip()
    with stopped(parent):
        process = begun(late, "join", token, limit_s=4)
        _, lines = said_at_the_end(process)
    assert process.returncode == 1
    assert any(f"waiting for {parent.url} …" in line for line in lines)
    assert "takes the call and gives no answer in time" in lines[-1]
    late.close()


async def test_a_parent_that_hears_a_turn_and_says_nothing_is_given_up(pair):
    parent, child = pair
    assert parent.stop() == 0

    async def app(_scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await trio.sleep_forever()

    port = int(parent.listen.rpartition(":")[2])
    async with serving(app, key=load_key(parent.folder / "site.key"), port=port):
        process = begun(child, "sync", limit_s=3)
        _, lines = await trio.to_thread.run_sync(said_at_the_end, process)
    assert process.returncode == 1
    assert f"the exchange with {parent.listen} broke off" in lines[-1]
    assert "not a byte for 3 s" in lines[-1]
