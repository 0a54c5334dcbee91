"""`tables enable` and `disable`: a table is let go of and taken up while the site is at work."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mariadb_sites import ALL_PAIRS, maker, run, servers_of
from processes import ProcessSite, eventually
from registry import BEYOND, PRESET, SCHEMA, uuid
from sites import Site, make_site, settle
from walked import differences, walked

from syncnode.__main__ import main
from syncnode.operations import tables
from syncnode.operations.reporting import status
from syncnode.operations.tables import disable_tables, enable_tables, list_tables
from syncnode.settings.config import read_settings
from syncnode.settings.topology import TableChoice
from syncnode.store.remains import existing_triggers
from syncproto.errors import ConfigError

Engines = tuple[str, str]
PAIRS = (ALL_PAIRS[0], ALL_PAIRS[2], ALL_PAIRS[4])  # each engine, with SQLite


@pytest.fixture
def pair(request: pytest.FixtureRequest, tmp_path: Path, engines: Engines) -> Iterator[list[Site]]:
    (tmp_path / "registry.toml").write_text(PRESET)
    for make in maker(tmp_path, *servers_of(request, engines)):
        sites = make(SCHEMA, *engines, preset=str(tmp_path / "registry.toml"))
        run(sites[1], "INSERT INTO concept VALUES (50, 'far', ?)", uuid(9))
        settle(*sites)
        yield sites


def add(site: Site, which: int, note: str = "") -> None:
    ((concept,),) = run(site, "SELECT min(concept_id) FROM concept")
    run(
        site,
        "INSERT INTO orders (concept_id, note, uuid) VALUES (?, ?, ?)",
        concept,
        note,
        uuid(which),
    )


def disable(site: Site, *names: str) -> None:
    disable_tables(site.settings, names, progress=lambda _text: None)


def enable(site: Site, *names: str) -> int:
    return enable_tables(site.settings, names, progress=lambda _text: None)


def orders(site: Site) -> list[tuple[str, str]]:
    return [(str(a), str(b)) for a, b in run(site, "SELECT uuid, note FROM orders ORDER BY uuid")]


def alike(one: Site, other: Site) -> None:
    here, there = (walked(site.connection, BEYOND) for site in (one, other))
    assert differences(here, there) == {}


def ours(site: Site) -> list[str]:
    """Names of what is in the database for the table of orders."""
    number = site.replica.plan.by_name["orders"].number
    with site.replica.database.read() as tx:
        triggers = [n for n in existing_triggers(tx) if n.startswith(f"syncnode_t{number}_")]
    site.reopen()
    return triggers


@pytest.mark.parametrize("engines", PAIRS)
class TestATable:
    def test_that_is_disabled_is_neither_captured_nor_sent_nor_taken(self, pair):
        one, other = pair
        add(one, 1)
        settle(one, other)
        disable(one, "orders")
        add(one, 2)
        add(other, 3)
        run(one, "INSERT INTO concept VALUES (7, 'new', ?)", uuid(7))
        settle(one, other)
        assert [key for key, _ in orders(one)] == [uuid(1), uuid(2)]
        assert [key for key, _ in orders(other)] == [uuid(1), uuid(3)]
        assert len(run(other, "SELECT * FROM concept")) == 2
        assert "orders" not in one.replica.plan.by_name

    def test_that_is_enabled_again_gets_what_was_held_back_by_itself(self, pair):
        one, other = pair
        for which in range(1, 6):
            add(one, which, "first")
        settle(one, other)
        disable(one, "orders")
        add(one, 10, "here")
        add(other, 11, "there")
        run(other, "UPDATE orders SET note = 'edited there' WHERE uuid = ?", uuid(1))
        settle(one, other)
        assert enable(one, "orders") == 6
        settle(one, other)
        assert orders(one) == [
            (uuid(1), "edited there"),
            *((uuid(which), "first") for which in range(2, 6)),
            (uuid(10), "here"),
            (uuid(11), "there"),
        ]
        alike(one, other)
        run(one, "UPDATE orders SET note = 'later' WHERE uuid = ?", uuid(11))
        run(other, "DELETE FROM orders WHERE uuid = ?", uuid(10))
        settle(one, other)
        assert orders(other)[0] == (uuid(1), "edited there")
        assert orders(other)[-1] == (uuid(11), "later")
        alike(one, other)

    def test_edited_here_while_it_was_disabled_gives_way_and_that_is_on_record(self, pair):
        one, other = pair
        add(one, 1, "first")
        settle(one, other)
        disable(one, "orders")
        run(one, "UPDATE orders SET note = 'unseen'")
        enable(one, "orders")
        settle(one, other)
        assert orders(one) == orders(other) == [(uuid(1), "first")]
        assert ("orders", "note", "first", "unseen") in one.conflicts()

    def test_that_an_edit_here_came_from_is_known_as_ones_own_no_more(self, pair):
        """Peers hold what this site wrote in an earlier life of the table: it is sent again."""
        one, other = pair
        add(one, 1, "first")
        add(one, 2, "first")
        settle(one, other)
        run(one, "UPDATE orders SET note = 'mine'")
        settle(one, other)
        disable(one, "orders")
        run(one, "DELETE FROM orders WHERE uuid = ?", uuid(1))
        enable(one, "orders")
        settle(one, other)
        assert orders(one) == orders(other) == [(uuid(1), "mine"), (uuid(2), "mine")]

    def test_leaves_nothing_behind_while_it_is_disabled(self, pair):
        one, _ = pair
        before = ours(one)
        assert before
        number = one.replica.plan.by_name["orders"].number
        disable(one, "orders")
        with one.replica.database.read() as tx:
            assert not set(before) & set(existing_triggers(tx))
            assert not list(tx.rows("SELECT * FROM syncnode_table WHERE name = 'orders'"))
            with pytest.raises(tx.dialect.errors):
                tx.rows(f"SELECT * FROM syncnode_clock_{number}")

    def test_is_refused_while_others_refer_to_it(self, pair):
        one, _ = pair
        with pytest.raises(
            ConfigError, match=r"orders \(concept_id\) refers to it: disable orders"
        ):
            disable(one, "concept")
        disable(one, "concept", "orders")
        with pytest.raises(ConfigError, match="refers to concept, which does not take part"):
            enable(one, "orders")
        enable(one, "orders", "concept")
        with pytest.raises(ConfigError, match="orders takes part already"):
            enable(one, "orders")
        with pytest.raises(ConfigError, match="nobody does not take part"):
            disable(one, "nobody")
        with pytest.raises(ConfigError, match="nobody cannot take part: there is no such table"):
            enable(one, "nobody")

    def test_that_the_preset_leaves_out_can_be_taken_in(self, pair):
        one, other = pair
        run(one, "INSERT INTO audit_log VALUES (1, 'read')")
        for site in (one, other):
            enable(site, "audit_log")
        settle(one, other)
        assert run(other, "SELECT line FROM audit_log") == [("read",)]
        run(other, "INSERT INTO audit_log VALUES (9, 'written')")
        settle(one, other)
        assert sorted(run(one, "SELECT line FROM audit_log")) == [("read",), ("written",)]

    def test_waits_at_a_peer_until_that_one_takes_it_up_too(self, pair):
        one, other = pair
        for site in (one, other):
            disable(site, "orders")
        add(one, 1, "one")
        enable(one, "orders")
        add(one, 2, "two")
        settle(one, other)
        assert orders(other) == []
        enable(other, "orders")
        settle(one, other)
        assert orders(other) == [(uuid(1), "one"), (uuid(2), "two")]


def test_the_commands_say_what_they_did(tmp_path, capsys):
    (tmp_path / "registry.toml").write_text(PRESET)
    for make in maker(tmp_path, None):
        (site,) = make(SCHEMA, "sqlite", preset=str(tmp_path / "registry.toml"))
        path = ["--config", str(site.settings.path)]
        assert main(["tables", *path, "disable", "word_use"]) == 0
        assert "word_use: no longer replicated" in capsys.readouterr().err
        assert main(["tables", *path]) == 0
        shown = capsys.readouterr().out
        assert "audit_log" in shown
        assert "12 tables" not in shown
        assert "disabled by `syncnode tables disable`" in shown
        assert main(["tables", *path, "enable", "word_use"]) == 0
        assert "word_use: replicated from now on, with 0 rows" in capsys.readouterr().err
        assert main(["tables", *path, "disable", "word"]) == 1
        assert "word_use (word_id) refers to it" in capsys.readouterr().err
        found = {one.name: one.left_out for one in list_tables(site.settings)}
        assert found["audit_log"] == "what happened at this site"
        assert found["word"] is None


def test_what_the_settings_name_is_changed_there(tmp_path):
    (tmp_path / "registry.toml").write_text(PRESET)
    for make in maker(tmp_path, None):
        (site,) = make(
            SCHEMA, "sqlite", preset=str(tmp_path / "registry.toml"), exclude=("word_use",)
        )
        with pytest.raises(ConfigError, match=r"\[tables\] exclude names word_use: take it out"):
            enable(site, "word_use")


@pytest.mark.parametrize("in_topology", [True, False])
def test_the_file_and_line_to_change_are_named(tmp_path, capsys, in_topology):
    said = '[tables]\nexclude = [\n    "place",\n    "concept",\n]\n'
    topology = tmp_path / "network.toml"
    topology.write_text('[network]\nname = "hills"\n[sites.here]\n[sites.there]\nparent = "here"\n')
    site = make_site(tmp_path, "here", ("CREATE TABLE place (name TEXT PRIMARY KEY NOT NULL)",))
    own = f'topology = "{topology}"\n' + site.settings.path.read_text()
    site.settings.path.write_text(own if in_topology else own + said)
    if in_topology:
        topology.write_text(topology.read_text() + said)
    file = topology if in_topology else site.settings.path
    line = file.read_text().splitlines().index('    "place",') + 1
    assert main(["tables", "--config", str(site.settings.path), "enable", "place"]) == 1
    assert f"{file}:{line}: [tables] exclude names place: take it out" in capsys.readouterr().err
    site.close()


def test_what_only_does_not_name_is_added_there_first(tmp_path):
    for make in maker(tmp_path, None):
        (site,) = make(SCHEMA, "sqlite", only=("concept",))
        with pytest.raises(ConfigError, match=r"\[tables\] only does not name place: add it"):
            enable(site, "place")
        settings = replace(site.settings, tables=TableChoice(only=("concept", "place")))
        assert "(place): `syncnode tables enable` takes tables up" in " ".join(
            status(settings).notes
        )
        enable_tables(settings, ("place",), progress=lambda _text: None)
        assert not [note for note in status(settings).notes if "[tables]" in note]


def test_rules_that_were_changed_after_init_are_noted(tmp_path):
    path = tmp_path / "registry.toml"
    path.write_text(PRESET)
    for make in maker(tmp_path, None):
        (site,) = make(SCHEMA, "sqlite", preset=str(path))
        settings = read_settings(site.settings.path, {})
        assert not [note for note in status(settings).notes if "rules" in note]
        path.write_text(PRESET.replace('key = ["word"]', ""))
        (note,) = [
            note for note in status(read_settings(site.settings.path, {})).notes if "rules" in note
        ]
        assert note.startswith("the preset or the rules of [tables.NAME] were changed after `init`")


def test_init_takes_a_preset_by_its_path_and_proposes_one(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = sqlite3.connect("registry.db")
    for statement in SCHEMA:
        database.execute(statement.replace("{auto}", ""))
    database.close()
    url = ["--database", "sqlite:///registry.db"]
    assert main(["init", *url, "--propose", "own.toml"]) == 0
    assert "own.toml holds a preset for this schema: edit it" in capsys.readouterr().err
    text = Path("own.toml").read_text()
    Path("own.toml").write_text(text.replace("# references", "references"))
    assert main(["init", *url, "--propose", "own.toml"]) == 1
    assert "own.toml: is there already" in capsys.readouterr().err
    assert main(["init", *url, "--name", "a", "--preset", "nothing"]) == 2
    assert '--preset: "nothing" is no preset; did you mean' not in (
        error := capsys.readouterr().err
    )
    assert '--preset: "nothing" is no preset; known are openmrs' in error
    assert main(["init", *url, "--name", "a", "--preset", "own.toml"]) == 0
    assert "problem_id > problem (declared)" in capsys.readouterr().out
    settings = read_settings(tmp_path / "syncnode.toml", {})
    assert settings.tables.preset == str(tmp_path / "own.toml")
    assert main(["uninstall"]) == 0
    assert main(["init", "--preset", "openmrs"]) == 2
    assert "is there already and says" in capsys.readouterr().err
    assert main(["init", "--preset", "own.toml"]) == 0


WIDE = 70  # columns: one mask of the journal holds 62


@pytest.fixture
def wide(request: pytest.FixtureRequest, tmp_path: Path, engines: Engines) -> Iterator[list[Site]]:
    columns = "".join(f", c{number} VARCHAR(10)" for number in range(WIDE))
    schema = (
        "CREATE TABLE small (id INTEGER PRIMARY KEY {auto}, uuid VARCHAR(36) NOT NULL UNIQUE)",
        "CREATE TABLE wide (id INTEGER PRIMARY KEY {auto}, uuid VARCHAR(36) NOT NULL UNIQUE"
        f"{columns})",
        "CREATE TABLE three (a VARCHAR(5) NOT NULL, b VARCHAR(5) NOT NULL,"
        " c VARCHAR(5) NOT NULL, PRIMARY KEY (a, b, c))",
    )
    path = tmp_path / "own.toml"
    path.write_text('[tables.wide]\nexclude = "wide"\n[tables.three]\nexclude = "three"\n')
    for make in maker(tmp_path, *servers_of(request, engines)):
        yield make(schema, *engines, preset=str(path))


@pytest.mark.parametrize("engines", PAIRS)
def test_a_table_that_is_wider_than_all_others_is_captured_in_its_last_column(wide):
    one, other = wide
    for site in wide:
        enable(site, "wide", "three")
    run(one, "INSERT INTO wide (uuid, c1) VALUES (?, 'a')", uuid(1))
    run(one, "INSERT INTO three VALUES ('a', 'b', 'c')")
    settle(one, other)
    run(one, f"UPDATE wide SET c{WIDE - 1} = 'last'")
    run(other, "UPDATE three SET c = 'd'")
    settle(one, other)
    assert list(run(other, f"SELECT c1, c{WIDE - 1} FROM wide")) == [("a", "last")]
    assert list(run(one, "SELECT * FROM three")) == [("a", "b", "d")]


@pytest.mark.parametrize("engines", PAIRS)
@pytest.mark.parametrize("step", ["_change", "_take_up"])
def test_an_enable_that_is_interrupted_is_simply_done_again(pair, monkeypatch, step):
    one, other = pair
    disable(one, "orders")
    add(other, 1, "there")
    settle(one, other)
    add(one, 2, "here")
    whole = getattr(tables, step)

    def interrupted(*arguments: object) -> object:
        if step == "_change":
            whole(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tables, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            enable(one, "orders")
    add(one, 3, "between")
    run(one, "INSERT INTO concept VALUES (7, 'new', ?)", uuid(7))
    settle(one, other)
    assert orders(other) == [(uuid(1), "there")]
    enable(one, "orders")
    settle(one, other)
    assert orders(one) == [(uuid(1), "there"), (uuid(2), "here"), (uuid(3), "between")]
    alike(one, other)


def test_a_table_comes_and_goes_while_the_daemons_are_at_work(tmp_path):
    parent, child = ProcessSite(tmp_path, "kigali"), ProcessSite(tmp_path, "butaro", listens=False)
    visits = "SELECT note FROM visit ORDER BY note"
    try:
        for one in (parent, child):
            one.init()
        parent.start()
        parent.admit(child)
        child.start()
        child.sql("INSERT INTO visit (uuid, note) VALUES (?, 'first')", uuid(1))
        eventually(lambda: parent.sql(visits) == [("first",)])
        parent.run("tables", "disable", "visit")
        child.sql("INSERT INTO visit (uuid, note) VALUES (?, 'held back')", uuid(2))
        parent.sql("INSERT INTO visit (uuid, note) VALUES (?, 'held here')", uuid(3))
        ann = child.add_patient("Ann")
        eventually(lambda: ann in parent.patients())
        assert parent.sql(visits) == [("first",), ("held here",)]
        listed = {one["name"]: one["left_out"] for one in parent.report("tables")}
        assert listed == {"patient": None, "visit": "disabled by `syncnode tables disable`"}
        parent.run("tables", "enable", "visit")
        all_of_them = [("first",), ("held back",), ("held here",)]
        for one in (parent, child):
            eventually(lambda one=one: one.sql(visits) == all_of_them, within_s=30)
        child.sql("UPDATE visit SET note = 'later' WHERE uuid = ?", uuid(3))
        eventually(lambda: ("later",) in parent.sql(visits))
        eventually(lambda: child.report("status")["in_sync"])
        assert not parent.ended
        assert not child.ended
    finally:
        for one in (parent, child):
            one.close()
