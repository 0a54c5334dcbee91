"""Who may make a bundle, what the rules leave of it, and imports killed at every commit."""

from dataclasses import replace
from pathlib import Path

import pytest
from couriers import introduce, pack, unpack
from sites import Site, make_site, one_network, same

from syncnode.dialects.sqlite import SqliteDialect
from syncnode.identity.credentials import decode_token, load_key
from syncnode.links.peers import Peer, put_peer, read_peers
from syncnode.operations.exporting import export
from syncnode.operations.importing import import_files
from syncnode.operations.membership import answer_join, invite, join_by
from syncnode.operations.vouching import revoke
from syncnode.settings.topology import read_topology
from syncproto.identity import site_text

SCHEMA = (
    "CREATE TABLE patient (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT)",
    "CREATE TABLE audit (id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, said TEXT)",
)


@pytest.fixture
def make(tmp_path):
    made: list[Site] = []

    def site(name):
        made.append(make_site(tmp_path, name, SCHEMA))
        return made[-1]

    yield site
    for one in made:
        one.close()


@pytest.fixture
def family(make):
    """The root, and two that it let in; these do not know each other."""
    sites = kigali, butaro, rwinkwavu = make("kigali"), make("butaro"), make("rwinkwavu")
    for other in (butaro, rwinkwavu):
        token = invite(kigali.settings, other.name, role="child", url="https://kigali:1").token
        key = load_key(kigali.settings.key)
        join_by(
            other.settings,
            decode_token(token),
            lambda body, key=key: answer_join(kigali.replica, key, kigali.settings, body),
            confirm=lambda _: True,
            progress=lambda _: None,
        )
    return sites


def add(site: Site, number: int, name: str = "Ana") -> None:
    site.sql("INSERT INTO patient (uuid, name) VALUES (?, ?)", f"u{number}", name)


def names(site: Site) -> list[str]:
    return [name for (name,) in site.sql("SELECT name FROM patient ORDER BY uuid")]


def peers(site: Site) -> list[str]:
    with site.replica.database.read() as tx:
        return [peer.name for peer in read_peers(tx)]


def acquaint(site: Site, other: Site) -> None:
    """`site` has met `other`, which has not met it."""
    key = load_key(other.settings.key)
    with site.replica.database.write() as tx:
        put_peer(tx, Peer(key.site, other.name, "peer", "", key.public))


def test_a_member_that_was_never_met_is_known_by_its_certificate(family, tmp_path):
    _, butaro, rwinkwavu = family
    acquaint(rwinkwavu, butaro)
    add(rwinkwavu, 1)
    pack(rwinkwavu, tmp_path / "key", "butaro")
    done = unpack(butaro, tmp_path / "key")
    assert done.done, done
    assert peers(butaro) == ["kigali", "rwinkwavu"]
    same(rwinkwavu, butaro)


def test_a_stranger_of_the_same_network_id_is_refused(family, make, tmp_path):
    _, butaro, _ = family
    stranger = make("stranger")
    one_network(butaro, stranger)
    acquaint(stranger, butaro)
    add(stranger, 1)
    pack(stranger, tmp_path / "key", "butaro")
    (file,) = unpack(butaro, tmp_path / "key").files
    assert f"stranger ({site_text(stranger.id)}) is not known at this site" in str(file.problem)
    assert names(butaro) == []


def test_a_revocation_travels_in_a_bundle_and_ends_what_the_site_sent(family, tmp_path):
    kigali, butaro, rwinkwavu = family
    acquaint(rwinkwavu, butaro)
    add(rwinkwavu, 1)
    pack(rwinkwavu, tmp_path / "first", "butaro")
    unpack(butaro, tmp_path / "first")
    revoke(kigali.settings, "rwinkwavu")
    add(kigali, 2, "Ben")
    pack(kigali, tmp_path / "key", "butaro")
    done = unpack(butaro, tmp_path / "key")
    assert done.notes == ("rwinkwavu was revoked, and is no peer any more",)
    assert peers(butaro) == ["kigali"]
    add(rwinkwavu, 3, "Eve")
    pack(rwinkwavu, tmp_path / "last", "butaro")
    (file,) = unpack(butaro, tmp_path / "last").files
    assert "rwinkwavu was revoked: it is no member any more" in str(file.problem)
    assert names(butaro) == ["Ana", "Ben"]


def test_the_rules_of_a_link_hold_for_its_bundles(make, tmp_path):
    kigali, butaro = make("kigali"), make("butaro")
    one_network(kigali, butaro)
    introduce(kigali, butaro)
    rule(kigali, tmp_path, '[sites.kigali.with.butaro.tables]\naudit = "none"\n')
    add(kigali, 1)
    kigali.sql("INSERT INTO audit (uuid, said) VALUES ('a1', 'secret')")
    report = pack(kigali, tmp_path / "key", "butaro")
    assert (report.rows, report.left_out) == (1, ("audit",))
    assert unpack(butaro, tmp_path / "key").done
    assert names(butaro) == ["Ana"]
    assert butaro.sql("SELECT * FROM audit") == []
    held = butaro.replica.standing(butaro.id).frontier
    assert held.vector("patient").seq(kigali.origin) == 1
    assert held.vector("audit").seq(kigali.origin) == 0  # and it claims nothing for it


def test_what_a_reader_does_not_receive_is_neither_shown_nor_claimed(make, tmp_path):
    kigali, butaro = make("kigali"), make("butaro")
    one_network(kigali, butaro)
    introduce(kigali, butaro)
    rule(butaro, tmp_path, '[sites.butaro.with.kigali.tables]\naudit = "send"\n')
    add(kigali, 1)
    kigali.sql("INSERT INTO audit (uuid, said) VALUES ('a1', 'secret')")
    assert pack(kigali, tmp_path / "key", "butaro").rows == 2
    assert unpack(butaro, tmp_path / "key").done
    assert butaro.sql("SELECT * FROM audit") == []
    held = butaro.replica.standing(butaro.id).frontier
    assert (held.vector("patient").seq(kigali.origin), held.vector("audit").entries) == (1, {})
    rule(butaro, tmp_path, "")
    pack(butaro, tmp_path / "receipt", "kigali")
    unpack(kigali, tmp_path / "receipt")
    pack(kigali, tmp_path / "again", "butaro")
    assert unpack(butaro, tmp_path / "again").done
    same(kigali, butaro)


def rule(site: Site, folder: Path, words: str) -> None:
    """Go on under other rules."""
    path = folder / "topology.toml"
    path.write_text(f'[sites.kigali]\n[sites.butaro]\npeers = ["kigali"]\n{words}')
    rules = read_topology(path).rules_of(site.name)
    site.settings = replace(site.settings, rules=rules)


def limit(site: Site, **limits: int) -> None:
    site.settings = replace(site.settings, limits=replace(site.settings.limits, **limits))


class Killed(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("steps", [False, True])
def test_an_import_killed_at_each_commit_is_run_again(make, tmp_path, monkeypatch, after, steps):
    kigali, butaro = make("kigali"), make("butaro")
    one_network(kigali, butaro)
    introduce(kigali, butaro)
    limit(kigali, chunk_bytes_max=2_000)
    if steps:
        limit(butaro, apply_rows_max=100)
    for number in range(400):
        add(kigali, number, f"{number}")
    pack(kigali, tmp_path / "key", "butaro")
    commit, state = SqliteDialect.commit, {"left": 0, "kills": 0}

    def killing(self, tx):
        state["left"] -= 1
        if state["left"] == 0 and not after:
            raise Killed
        commit(self, tx)
        if state["left"] == 0 and after:
            raise Killed

    monkeypatch.setattr(SqliteDialect, "commit", killing)
    seen = []
    while True:
        state["left"] = state["kills"] + 1
        try:
            done = unpack(butaro, tmp_path / "key")
        except Killed:
            state["kills"] += 1
            state["left"] = 0
            seen.append(len(names(butaro)))
            assert state["kills"] < 200
        else:
            break
    state["left"] = 0
    assert done.done, done
    assert state["kills"] > 10
    if not steps:
        assert set(seen) <= {0, 400}  # never half of it
    butaro.reopen()
    same(kigali, butaro)
    butaro.check()
    for table in ("bundle", "staged", "stage"):
        assert butaro.look(f"SELECT 1 FROM syncnode_{table}") == []


def test_an_export_that_fails_leaves_no_file(make, tmp_path, monkeypatch):
    kigali, butaro = make("kigali"), make("butaro")
    one_network(kigali, butaro)
    introduce(kigali, butaro)
    add(kigali, 1)

    def interrupted(_text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(kigali.settings, tmp_path / "key", readers=["butaro"], progress=interrupted)
    assert not list(tmp_path.glob("key*"))
    (tmp_path / "key.partial").write_bytes(b"of one that was killed")
    pack(kigali, tmp_path / "key", "butaro")
    assert [path.name for path in tmp_path.glob("key*")] == ["key"]
    told: list[str] = []
    done = import_files(butaro.settings, [tmp_path / "key"], progress=told.append)
    assert done.done
    assert told[0] == "key: reading"
    assert told[1].startswith("key: 1 rows, ")
