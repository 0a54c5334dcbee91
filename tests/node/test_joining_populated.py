"""Two populated databases as users have them: a report, no write unasked, then in step."""

import sqlite3

import pytest
from processes import ProcessSite

SCHEMA = """
    CREATE TABLE person (
        id INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, name TEXT,
        date_created DATETIME, date_changed DATETIME
    );
"""
OLD, MID, NEW = (f"{year}-01-01 00:00:00" for year in (2020, 2021, 2022))


def uuid(number):
    return f"0a8e1a54-1111-4222-8333-{number:012}"


def whole(site):
    """Every table of the database, ours too, but for what is said at each start."""
    connection = sqlite3.connect(site.database)
    names = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type='table' ORDER BY name"
        )
    ]
    found = {
        name: sorted(connection.execute(f"SELECT * FROM {name}").fetchall(), key=repr)
        for name in names
    }
    connection.close()
    return found


@pytest.fixture
def populated(tmp_path):
    sites = []
    for name, first, rows in (
        ("kigali", 1, {1: ("Ann", MID), 2: ("Ben", MID), 3: ("Cleo", MID)}),
        ("butaro", 70, {1: ("Ann", MID), 2: ("Benjamin", NEW), 3: ("Cloe", None), 4: ("Dan", MID)}),
    ):
        site = ProcessSite(tmp_path, name, listens=name == "kigali")
        site.connection.executescript(SCHEMA)
        for number, (person, changed) in rows.items():
            site.sql(
                "INSERT INTO person VALUES (?, ?, ?, ?, ?)",
                first + number, uuid(number), person, OLD, changed,
            )  # fmt: skip
        sites.append(site.init())
    kigali, butaro = sites
    # One row that kigali alone has.
    kigali.sql("INSERT INTO person VALUES (9, ?, 'Eve', ?, NULL)", uuid(5), OLD)
    kigali.start()
    yield kigali, butaro
    for site in sites:
        site.close()


def people(site):
    return dict(site.sql("SELECT uuid, name FROM person ORDER BY uuid"))


def test_from_two_databases_to_two_sites_in_step(populated):
    kigali, butaro = populated
    token = kigali.run("invite", "butaro").strip()
    kigali.report("status")  # whatever is written down at a first look is written
    before = whole(kigali), whole(butaro)

    looked = butaro.command("join", token, "--dry-run")
    assert looked.returncode == 0
    assert f"person {uuid(2)}: different: name, date_changed" in looked.stdout
    assert f"person {uuid(4)}: only here" in looked.stdout
    assert f"person {uuid(5)}: only there" in looked.stdout
    refused = butaro.command("join", token)
    assert refused.returncode == 1
    assert "2 rows differ from those of kigali; 1 is the same, 1 only here, 1 only there" in (
        refused.stderr
    )
    assert "there is no terminal to ask" in refused.stderr
    for said in (looked, refused):
        assert "Benjamin" not in said.stdout + said.stderr
    assert "Ben" not in kigali.log()
    # Here nothing but notes on the machine; there the row that came after `init` was sealed.
    after = whole(kigali), whole(butaro)
    changed = [
        {name for name in one if one[name] != other[name]}
        for one, other in zip(before, after, strict=True)
    ]
    assert changed[1] <= {"syncnode_setting"}
    assert not changed[0] & {"person", "syncnode_peer", "syncnode_invite", "syncnode_row"}
    for one, other in zip(before, after, strict=True):
        for name in ("network", "site", "incarnation"):
            assert dict(one["syncnode_setting"])[name] == dict(other["syncnode_setting"])[name]
    assert "here name = Benjamin" in butaro.command("join", token, "--dry-run", "--values").stdout

    butaro.run("join", token, "--yes")
    butaro.run("sync")
    expected = {
        uuid(1): "Ann", uuid(2): "Benjamin", uuid(3): "Cleo", uuid(4): "Dan", uuid(5): "Eve",
    }  # fmt: skip
    assert people(kigali) == people(butaro) == expected
    assert dict(butaro.sql("SELECT uuid, id FROM person WHERE id < 75 AND id > 70")) == {
        uuid(number): 70 + number for number in range(1, 5)
    }
    lost = {conflict["lost"] for conflict in butaro.report("conflicts")}
    assert {"Ben", "Cloe"} <= lost
    verified = butaro.report("verify", "kigali")
    assert verified["equal"]
    assert sum(table["same"] for table in verified["tables"]) == 5
