"""A site that was uninstalled is made again: under its own key, and no number names two changes."""

import json

import pytest
from processes import ProcessSite, eventually
from sites import Site, make_site, one_network, sync
from wire import new_key

from syncnode.identity import anchor
from syncnode.identity.anchor import SHARED, Anchor
from syncnode.identity.credentials import load_key, store_key
from syncnode.links.peers import Peer, put_peer, read_peers
from syncnode.operations import forget, parked, status
from syncnode.operations.removal import uninstall
from syncnode.operations.site import initialise, open_replica
from syncnode.settings.config import read_settings
from syncnode.settings.new_config import kept_settings
from syncproto.errors import ConfigError, StoreError

SCHEMA = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid VARCHAR(36) NOT NULL UNIQUE,"
    " name VARCHAR(40))",
)
ANN, BEN, CLEO, DAN = (f"0a8e1a54-1111-4222-8333-{number:012}" for number in range(4))


def add(site, uuid, name):
    site.sql("INSERT INTO patient (uuid, name) VALUES (?, ?)", uuid, name)


def patients(site):
    return dict(site.sql("SELECT uuid, name FROM patient"))


def made_again(site):
    """Uninstalled, and `init` at the same place."""
    site.replica.close()
    uninstall(site.settings, force=True)
    report = initialise(read_settings(site.settings.path), dry_run=False, progress=lambda _: None)
    site.replica = open_replica(site.settings)
    return report


@pytest.fixture
def site(tmp_path):
    made = []

    def make(name):
        made.append(make_site(tmp_path, name, SCHEMA))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_site_made_again_keeps_its_key_and_begins_another_incarnation(site):
    one = site("butaro")
    before, network = one.id, status(one.settings).network
    key = one.settings.key.read_bytes()
    for incarnation in (2, 3):
        report = made_again(one)
        assert f"begins incarnation {incarnation}" in report.warnings[0]
        assert (one.id, one.origin.incarnation) == (before, incarnation)
        assert status(one.settings).network == network
    assert one.settings.key.read_bytes() == key
    assert not one.replica.restored
    assert Anchor(one.settings.anchor).read().retired == ""


def test_no_number_of_a_changeset_names_two(site):
    """What a peer has seen of the site before, and what it sees of it now, stand side by side."""
    parent, child = site("kigali"), site("butaro")
    one_network(parent, child)
    add(child, ANN, "Ann")
    sync(child, parent)
    add(child, BEN, "Ben")
    sync(child, parent)
    made_again(child)
    one_network(parent, child)
    add(child, CLEO, "Cleo")
    sync(child, parent)
    told = parent.look(
        "SELECT o.incarnation, c.seq FROM syncnode_changeset c JOIN syncnode_origin o "
        "ON o.id = c.origin WHERE o.site = ? ORDER BY 1, 2",
        child.id,
    )
    assert told == [(1, 1), (1, 2), (2, 2)]  # the baseline and Cleo arrive as one step
    assert child.origin.incarnation == 2, "nobody took it for a restored one"
    assert patients(parent) == patients(child) == {ANN: "Ann", BEN: "Ben", CLEO: "Cleo"}


def test_what_had_reached_nobody_takes_part_as_the_refusal_says(site):
    parent, child = site("kigali"), site("butaro")
    one_network(parent, child)
    for uuid, name in ((ANN, "Ann"), (BEN, "Ben")):
        add(child, uuid, name)
    sync(child, parent)
    with child.replica.database.write() as tx:
        put_peer(tx, Peer(parent.id, "kigali", "parent", "https://k:1", bytes(32)))
    parent.sql("UPDATE patient SET name = 'Anna' WHERE uuid = ?", ANN)
    sync(child, parent)
    add(child, CLEO, "Cleo")
    child.sql("UPDATE patient SET name = 'Anne' WHERE uuid = ?", ANN)
    child.sql("DELETE FROM patient WHERE uuid = ?", BEN)
    with pytest.raises(StoreError) as refusal:
        uninstall(child.settings, force=False)
    for part in ("new rows go out", "a changed value may give way", "a deleted row comes back"):
        assert part in str(refusal.value)
    made_again(child)
    one_network(parent, child)
    sync(child, parent)
    expected = {ANN: "Anna", BEN: "Ben", CLEO: "Cleo"}
    assert patients(parent) == patients(child) == expected
    assert ("patient", "name", "Anna", "Anne") in parent.conflicts()


# --- When the same key would not do ---


def refused(site: Site, *parts: str) -> None:
    before = site.settings.anchor.read_bytes() if site.settings.anchor.exists() else None
    with pytest.raises(ConfigError) as caught:
        initialise(site.settings, dry_run=False, progress=lambda _: None)
    for part in (str(site.settings.key), "move it away", *parts):
        assert part in str(caught.value)
    after = site.settings.anchor.read_bytes() if site.settings.anchor.exists() else None
    assert after == before
    assert site.sql("SELECT name FROM sqlite_master WHERE name LIKE 'syncnode%'") == []
    # The remedy of the sentence.
    site.settings.key.rename(site.settings.key.with_name("old.key"))
    initialise(site.settings, dry_run=False, progress=lambda _: None)
    site.replica = open_replica(site.settings)
    assert site.origin.incarnation == 1


def uninstalled(site: Site) -> Site:
    site.replica.close()
    uninstall(site.settings, force=True)
    return site


def test_a_key_without_its_anchor_is_not_used_again(site):
    one = uninstalled(site("butaro"))
    one.settings.anchor.unlink()
    refused(one, "was not uninstalled here")


def test_a_key_that_came_from_another_machine_is_not_used_again(site, monkeypatch):
    one = uninstalled(site("butaro"))
    monkeypatch.setattr(anchor, "machine_id", lambda: "another")
    refused(one, "was not uninstalled here")


def test_the_key_of_a_site_that_lives_is_not_used_for_another_database(site):
    one = uninstalled(site("butaro"))
    anchored = json.loads(one.settings.anchor.read_text())
    one.settings.anchor.write_text(json.dumps({**anchored, "retired": ""}))
    refused(one, "was not uninstalled here")


def test_a_key_that_another_machine_uses_too_is_put_aside_for_a_new_one(site, monkeypatch):
    one = uninstalled(site("butaro"))
    old = load_key(one.settings.key).site
    Anchor(one.settings.anchor).retire(SHARED)

    def fail(*_):
        raise StoreError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr("syncnode.operations.site.finish", fail)
        with pytest.raises(StoreError, match="power"):
            initialise(one.settings, dry_run=False, progress=lambda _: None)
    assert load_key(one.settings.key).site == old
    report = initialise(one.settings, dry_run=False, progress=lambda _: None)
    assert "the site has a new one" in report.warnings[0]
    one.replica = open_replica(one.settings)
    assert one.id != old
    assert one.origin.incarnation == 1
    aside = one.settings.key.with_name("site.key.old1")
    assert load_key(aside).site == old


def test_another_key_beside_the_anchor_is_not_used(site):
    one = uninstalled(site("butaro"))
    one.settings.key.unlink()
    store_key(one.settings.key, new_key().private)
    refused(one, "was not uninstalled here")


def test_a_failed_uninstall_leaves_the_site_as_it_was(site, monkeypatch):
    one = site("butaro")
    before = one.settings.anchor.read_bytes()

    def fail(*_):
        raise StoreError("the disk is full")

    monkeypatch.setattr("syncnode.operations.removal.take_away", fail)
    with pytest.raises(StoreError, match="disk is full"):
        uninstall(one.settings, force=True)
    assert one.settings.anchor.read_bytes() == before
    assert load_key(one.settings.key).site == one.id


# --- The settings that are there ---


def test_init_takes_the_settings_that_are_there_and_refuses_others(site):
    one = site("butaro")
    path = one.settings.path
    database = one.settings.database
    assert kept_settings(path, environment={}) == one.settings
    assert kept_settings(path, name="butaro", database=database, environment={}) == one.settings
    with pytest.raises(ConfigError) as caught:
        kept_settings(path, name="b", listen="127.0.0.1:1", only=("visit",), environment={})
    for line, part in zip(
        str(caught.value).splitlines(),
        ("--name: {} is there already and says butaro", "--listen: {}", "--only: {}"),
        strict=True,
    ):
        assert line.startswith(part.format(path))


# --- As a user does it ---


def test_one_site_made_anew_comes_back_to_where_it_was(tmp_path):
    parent, child = ProcessSite(tmp_path, "kigali"), ProcessSite(tmp_path, "butaro", listens=False)
    try:
        for one in (parent, child):
            one.init()
        parent.start()
        parent.admit(child)
        child.add_patient("Ann")
        child.run("sync")
        refused = parent.command("uninstall", "--force")
        assert "`syncnode serve`" in refused.stderr
        assert "end it first" in refused.stderr
        child.run("uninstall")
        child.run("init")
        refused = parent.command("invite", "butaro")
        assert "`syncnode forget butaro`" in refused.stderr
        assert child.command("sync").returncode == 1
        assert not child.report("status")["in_sync"]
        said = parent.command("forget", "butaro").stderr
        assert "butaro is no child of kigali any more; it had not confirmed 0 rows" in said
        assert not parent.report("status")["in_sync"]
        parent.admit(child)
        child.run("sync")
        child.add_patient("Ben")
        child.run("sync")
        eventually(lambda: parent.report("status")["in_sync"])
        assert child.report("status")["in_sync"]
        assert set(parent.patients().values()) == {"Ann", "Ben"}
    finally:
        for one in (parent, child):
            one.close()


def test_all_sites_follow_a_change_of_the_schema(tmp_path):
    """As node/README.md has it: in sync, uninstalled, upgraded, made again from the top down."""
    parent, child = ProcessSite(tmp_path, "kigali"), ProcessSite(tmp_path, "butaro", listens=False)
    try:
        for one in (parent, child):
            one.init()
        parent.start()
        parent.admit(child)
        key = child.add_patient("Ann")
        child.run("sync")
        eventually(lambda: parent.report("status")["in_sync"])
        assert parent.stop() == 0
        for one in (parent, child):
            one.run("uninstall")
            one.sql("ALTER TABLE patient RENAME COLUMN village TO place")
            one.sql("ALTER TABLE patient ADD COLUMN phone TEXT")
            one.run("init")
        parent.start()
        parent.admit(child)
        child.sql("UPDATE patient SET phone = '1', place = 'Butaro'")
        child.run("sync")
        found = parent.sql("SELECT uuid, name, place, phone FROM patient")
        assert found == [(key, "Ann", "Butaro", "1")]
        assert child.report("status")["in_sync"]
    finally:
        for one in (parent, child):
            one.close()


def test_a_peer_that_is_forgotten_is_refused_until_it_joins_again(tmp_path):
    parent, child = ProcessSite(tmp_path, "kigali"), ProcessSite(tmp_path, "butaro", listens=False)
    try:
        for one in (parent, child):
            one.init()
        parent.start()
        parent.admit(child)
        child.run("sync")
        assert "known peers: butaro" in parent.command("forget", "nobody").stderr
        parent.run("forget", "butaro")
        assert parent.report("peers") == []
        refused = eventually(lambda: child.command("sync").stderr)
        assert "is not known here: invite it first" in refused
        token = parent.run("invite", "butaro").strip()
        assert "`syncnode forget kigali` here first" in child.command("join", token).stderr
        child.run("forget", "kigali")
        child.run("join", token)
        child.run("sync")
    finally:
        for one in (parent, child):
            one.close()


def test_a_column_that_only_the_others_have_is_taken_in_after_the_upgrade_here(tmp_path):
    """Until then its rows are shown without it."""
    old, new = (make_site(tmp_path, name, SCHEMA) for name in ("kigali", "butaro"))
    new.sql("ALTER TABLE patient ADD COLUMN phone TEXT")
    made_again(new)
    one_network(old, new)
    new.sql("INSERT INTO patient (uuid, name, phone) VALUES (?, 'Ann', '1')", ANN)
    sync(new, old)
    assert old.sql("SELECT uuid, name FROM patient") == [(ANN, "Ann")]
    assert [table for table, _ in old.altered()] == ["patient"]
    old.sql("ALTER TABLE patient ADD COLUMN phone TEXT")
    made_again(old)
    one_network(old, new)
    sync(new, old)
    assert old.sql("SELECT uuid, phone FROM patient") == [(ANN, "1")]
    assert parked(old.settings) == []
    for one in (old, new):
        one.close()


def test_forgetting_a_peer_takes_its_invitations_and_unfinished_deltas_along(site):
    one, other = site("kigali"), site("butaro")
    one_network(one, other)
    with one.replica.database.write() as tx:
        put_peer(tx, Peer(other.id, "butaro", "child", "", bytes(32)))
        tx.execute("INSERT INTO syncnode_invite VALUES (?, 'butaro', 'child', 9, NULL)", (b"s",))
        tx.execute("INSERT INTO syncnode_stage VALUES (?, 1, 9, NULL, 0, 0, 1, NULL)", (other.id,))
        tx.execute("INSERT INTO syncnode_staged VALUES (?, 1, X'00')", (other.id,))
    add(one, ANN, "Ann")
    assert status(one.settings).pending == 1
    forgotten = forget(one.settings, "butaro")
    assert (forgotten.role, forgotten.pending, forgotten.last_exchange) == ("child", 1, None)
    with one.replica.database.read() as tx:
        assert read_peers(tx) == []
        for table in ("invite", "stage", "staged"):
            assert tx.value(f"SELECT count(*) FROM syncnode_{table}") == 0
