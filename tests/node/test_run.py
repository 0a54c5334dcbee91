"""Real nodes in processes of their own, on loopback: changes travel, and ends are clean."""

import signal
import time

import pytest
from processes import END_S_MAX, ProcessSite, eventually

TRAVEL_S_MAX = 2.0  # the promise is one second; a machine under load gets another


@pytest.fixture
def site(tmp_path):
    """Makes sites that end with the test."""
    made = []

    def make(name, **options):
        made.append(ProcessSite(tmp_path, name, **options).init())
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def pair(site):
    """A parent that serves, and its child that calls it; both run."""
    parent, child = site("kigali"), site("rwinkwavu", listens=False)
    parent.start()
    parent.admit(child)
    child.start()
    return parent, child


def travels(one, other, name):
    """Write at `one`; the seconds until `other` shows it."""
    key = one.add_patient(name)
    began_s = time.monotonic()
    eventually(lambda: other.patients().get(key) == name)
    return time.monotonic() - began_s


def test_a_change_travels_within_a_second_both_ways(pair):
    parent, child = pair
    travels(child, parent, "first, after both have found each other")
    for number in range(3):
        assert travels(child, parent, f"up {number}") < TRAVEL_S_MAX
        assert travels(parent, child, f"down {number}") < TRAVEL_S_MAX
    time.sleep(3)  # both have eased their polling by now
    assert travels(parent, child, "after a quiet time") < TRAVEL_S_MAX


def test_sigterm_ends_both_within_five_seconds_with_status_0(pair):
    for one in pair:
        began_s = time.monotonic()
        assert one.stop() == 0
        assert time.monotonic() - began_s < END_S_MAX
        assert "Traceback" not in one.log()


def test_sigint_ends_it_too(site):
    alone = site("kigali")
    alone.start()
    assert alone.stop(signal.SIGINT) == 0
    assert alone.log().rstrip().endswith("ended")


def test_a_second_serve_on_the_same_database_is_refused_and_names_the_first(pair, tmp_path):
    parent, _ = pair
    other = tmp_path / "other.toml"
    port = parent.listen.rpartition(":")[2]
    text = parent.config.read_text().replace(port, str(int(port) - 1))
    # Another configuration of the same database, in another folder.
    for name in ("site.key", "site.anchor"):
        text = text.replace(f'"{name}"', f'"{parent.folder / name}"')
    other.write_text(text)
    parent.config, config = other, parent.config
    refused = parent.command("serve")
    parent.config = config
    assert refused.returncode == 1
    assert str(parent.process.pid) in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert parent.report("status")["serving"]


def test_a_database_with_a_second_name_is_not_served(site):
    """SQLite keeps its journal by the name: two programs with two names damage the database."""
    one, other = site("kigali"), site("rwinkwavu")
    link = other.folder / "linked.db"
    link.hardlink_to(one.database)
    text = one.config.read_text().replace(str(one.database), str(link))
    other.config.write_text(text.replace(one.listen, other.listen))
    for each in (one, other):
        refused = each.command("serve")
        assert refused.returncode == 1
        (said,) = refused.stderr.splitlines()
        assert "has 2 names (hard links)" in said
        assert "keep one" in said
    link.unlink()
    one.start()


def test_a_killed_node_starts_again_and_goes_on(pair):
    parent, child = pair
    travels(child, parent, "before")
    parent.kill()
    assert not parent.report("status")["serving"]
    key = child.add_patient("while the parent is dead")
    own = parent.add_patient("written there while its daemon is dead")
    parent.start()
    eventually(lambda: key in parent.patients())
    eventually(lambda: own in child.patients())


def test_sync_works_beside_a_running_serve(pair):
    parent, child = pair
    key = child.add_patient("Ann")
    report = child.report("sync")
    assert report["done"], report
    assert [exchange["peer"] for exchange in report["exchanges"]] == ["kigali"]
    assert parent.patients()[key] == "Ann"
    travels(parent, child, "still in touch")


def test_what_sync_brought_is_passed_on_by_the_serve_beside_it(site):
    parent, middle, below = site("kigali"), site("rwinkwavu"), site("kirehe", listens=False)
    for one in (parent, middle):
        one.start()
    parent.admit(middle)
    middle.admit(below)
    below.start()
    travels(middle, below, "in touch")
    # The one above is not called by anyone but this command.
    parent.stop()
    key = parent.add_patient("Ann")
    parent.start()
    middle.run("sync", "kigali")
    eventually(lambda: key in below.patients())


def test_three_levels_and_a_ring_converge(site):
    top, left, right = site("kigali"), site("rwinkwavu"), site("butaro")
    below = site("kirehe", listens=False)
    for one in (top, left, right):
        one.start()
    top.admit(left)
    top.admit(right)
    left.admit(right, "--peer")
    left.admit(below)
    below.start()
    sites = (top, left, right, below)
    for one in sites:
        one.add_patient(f"of {one.name}")
    eventually(lambda: all(len(one.patients()) == 4 for one in sites), within_s=40)
    # Without the top, the ring still carries what is written below to the right.
    top.kill()
    key = below.add_patient("around the ring")
    eventually(lambda: key in right.patients(), within_s=40)


def test_a_listening_site_with_a_port_in_use_says_so(site):
    one, other = site("kigali"), site("rwinkwavu")
    one.start()
    text = other.config.read_text().replace(other.listen, one.listen)
    other.config.write_text(text)
    refused = other.command("serve")
    assert refused.returncode == 1
    assert one.listen in refused.stderr
    assert "another program uses that port" in refused.stderr


def test_a_replaced_database_file_ends_the_node_with_a_sentence(site):
    alone = site("kigali")
    alone.start()
    copy = alone.folder / "copy.db"
    alone.sql(f"VACUUM INTO '{copy}'")
    copy.replace(alone.database)
    eventually(lambda: alone.ended)
    assert "was replaced while" in alone.log()
    assert alone.process.returncode == 1
    alone.process = None


def test_triggers_that_go_while_it_runs_are_said_once_and_stand_in_the_status(site):
    alone = site("kigali")
    alone.start()
    alone.sql("DROP TRIGGER syncnode_t1_insert")
    eventually(lambda: "triggers of syncnode are missing (syncnode_t1_insert)" in alone.log())
    (said,) = [note for note in alone.report("status")["notes"] if "triggers of syncnode" in note]
    assert "dropped or switched off" in said
    assert "`syncnode verify --repair` makes them again" in said
    assert alone.command("verify", "--repair", "--yes").returncode == 0
    assert not [note for note in alone.report("status")["notes"] if "triggers" in note]
    assert alone.log().count("triggers of syncnode are missing") == 1
