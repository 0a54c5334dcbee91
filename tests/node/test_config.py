"""`syncnode.toml`: what it says, and how it says what is wrong."""

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from syncnode.identity.files import exposed
from syncnode.settings.config import (
    Address,
    Limits,
    Settings,
    check_tables,
    config_path,
    read_settings,
)
from syncnode.settings.database_url import absolute_database, database_fault, without_password
from syncnode.settings.new_config import new_settings, write_settings
from syncnode.settings.topology import TableChoice
from syncproto.errors import ConfigError

LEAST = 'name = "kigali"\ndatabase = "sqlite:///site.db"\nkey = "k"\nanchor = "a"\n'
NETWORK = """
[network]
name = "rwanda"
[sites.kigali]
url = "https://sync.kigali.example:8470"
[sites.butaro]
parent = "kigali"
every = "15m"
[tables]
exclude = ["audit_log"]
"""


@pytest.fixture
def site(tmp_path):
    """Writes a settings file and reads it."""

    def read(text: str, environment: dict[str, str] | None = None) -> Settings:
        path = tmp_path / "syncnode.toml"
        path.write_text(text)
        return read_settings(path, environment or {})

    return read


def faults(read, *arguments) -> list[str]:
    """The faults, without the name of the folder."""
    with pytest.raises(ConfigError) as caught:
        read(*arguments)
    return [line.rpartition("/syncnode.toml:")[2] for line in str(caught.value).splitlines()]


def test_the_least_file_gives_absolute_paths_and_every_default(site, tmp_path):
    assert site(LEAST) == Settings(
        path=tmp_path / "syncnode.toml",
        name="kigali",
        database=f"sqlite:///{tmp_path}/site.db",
        key=tmp_path / "k",
        anchor=tmp_path / "a",
    )
    assert site(LEAST).url is None


def test_the_fullest_file_is_read(site, tmp_path):
    (tmp_path / "topology.toml").write_text(NETWORK)
    settings = site(
        LEAST.replace("kigali", "butaro").replace("sqlite:///", "sqlite:////var/")
        + 'listen = "[::1]:8470"\nurl = "https://butaro.example:443/"\ntopology = "topology.toml"\n'
        '[limits]\nchunk_bytes_max = "64 kB"\nbody_bytes_max = 2000000\napply_rows_max = 500\n'
        'skew_max = "10m"\nwait_max = "40s"\n'
        '[tables]\nonly = ["person", "Odd Name"]\n'
    )
    assert settings.listen == Address("::1", 8470)
    assert str(settings.listen) == "[::1]:8470"
    assert settings.url == "https://butaro.example:443"
    assert settings.database == "sqlite:////var/site.db"
    assert settings.limits == Limits(64_000, 2_000_000, 500, 600_000, 40_000)
    assert settings.tables == TableChoice(("person", "Odd Name"), ("audit_log",))
    assert settings.every_ms == 900_000
    assert settings.topology is not None
    assert settings.topology.network == "rwanda"


def test_all_faults_are_reported_at_once_with_line_key_and_remedy(site):
    assert faults(
        site,
        'name = "ki gali"\n'
        'databse = "sqlite:///site.db"\n'
        "listen = 8470\n"
        'url = "http://kigali:8470"\n'
        'key = "same"\n'
        'anchor = "same"\n'
        "[limits]\n"
        'skew_max = "soon"\n'
        "apply_rows_max = 5\n"
        "[tables]\n"
        'only = ["person"]\n'
        "exclude = [\n"
        '  "obs",\n'
        '  "person",\n'
        "]\n",
    ) == [
        '1: name: "ki gali" is no name; use letters, digits, and . _ - within, such as "kigali" '
        'or "site-7"',
        '1: database: is missing; write, say, "sqlite:///site.db", '
        '"mysql+pymysql://user:password@127.0.0.1/database" or '
        '"postgresql+psycopg://user:password@127.0.0.1/database", or set SYNCNODE_DATABASE',
        "2: databse: is no key here; did you mean database?",
        '3: listen: must be a text, such as "127.0.0.1:8470", not 8470',
        '4: url: "http://kigali:8470" is not encrypted; write "https://", the node serves nothing '
        "else",
        "6: anchor: is the file of the key; give each its own",
        '8: limits.skew_max: "soon" is no duration; write, say, "90s", "15m", "1h" or "1d"',
        "9: limits.apply_rows_max: 5 is not between 100 and 10000000; 50000 would do",
        '14: tables.exclude[1]: "person" stands in "only" too; keep one of the two',
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name = \n", "1: is no TOML: invalid value"),
        ("x = 1\nname = [1,\n\n", "2: is no TOML: "),
        ("[limits]\n[limits]\n", "2: is no TOML: cannot declare ('limits',) twice"),
    ],
)
def test_what_is_no_toml_is_named_by_its_line(site, text, fault):
    (line,) = faults(site, text)
    assert line.startswith(fault)


def test_a_file_that_is_missing_a_folder_or_no_text_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"no such file; make one with `syncnode init`"):
        read_settings(tmp_path / "none.toml", {})
    with pytest.raises(ConfigError, match="is a folder"):
        read_settings(tmp_path, {})
    (tmp_path / "latin.toml").write_bytes(b"a = 1\nname = '\xe9'\n")
    with pytest.raises(ConfigError, match=r"latin\.toml:2: is not UTF-8"):
        read_settings(tmp_path / "latin.toml", {})


def test_a_mark_in_front_and_windows_line_ends_are_no_matter(tmp_path):
    path = tmp_path / "syncnode.toml"
    path.write_bytes(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode())
    assert read_settings(path, {}).name == "kigali"


def test_the_environment_replaces_the_database_and_is_checked_alike(site):
    settings = site(LEAST, {"SYNCNODE_DATABASE": "mysql+pymysql://u:p@h/d"})
    assert (settings.database, settings.database_given) == ("mysql+pymysql://u:p@h/d", False)
    (fault,) = faults(site, LEAST, {"SYNCNODE_DATABASE": "mysql://u:secret@h/d"})
    assert "the environment's SYNCNODE_DATABASE lacks the driver" in fault
    assert "secret" not in fault


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:///site.db", None),
        ("sqlite:////var/lib/site.db?timeout=5", None),
        ("mysql+pymysql://u:p%40w@127.0.0.1:3306/openmrs?charset=utf8mb4", None),
        ("mariadb+pymysql://u@[::1]/openmrs", None),
        ("mysql+pymysql:///openmrs?unix_socket=/run/mysqld/mysqld.sock", None),
        ("site.db", "is no database URL"),
        ("sqlite://site.db", "three"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("mysql://u:secret@h/d", 'write "mysql+pymysql://"'),
        ("mysql+pymysql://u:secret@h", "names no database"),
        ("mysql+pymysql:///d", "names no server"),
        ("mysql+pymysql://u:secret@part@h/d", "percent"),
        ("mysql+pymysql://u:secret@h:33x/d", "percent"),
        ("postgresql://u:secret@h/d", None),
        ("postgresql+psycopg://u:secret@h:5433/d?options=-csearch_path%3Dclinic", None),
        ("postgresql+psycopg:///d?host=/run/postgresql", None),
        ("postgresql+psycopg:///d", "names no server"),
        ("postgresql://u:secret@h", "names no database"),
        ("postgres://u:secret@h/d", 'write "postgresql+psycopg://"'),
        ("postgresql+psycopg2://u:secret@h/d", 'write "postgresql+psycopg://"'),
        ("oracle://u:secret@h/d", '"oracle" is not supported'),
    ],
)
def test_a_database_url_is_taken_or_refused_with_what_would_do(url, says):
    fault = database_fault(url)
    assert (fault is None) if says is None else (fault is not None and says in fault)
    assert "secret" not in (fault or "")


def test_a_shown_url_has_no_password():
    assert without_password("mysql+pymysql://u:p:w@h:1/d") == "mysql+pymysql://u:***@h:1/d"
    assert without_password("mysql+pymysql://u@h/d") == "mysql+pymysql://u@h/d"
    assert without_password("no url: secret") == "***"
    hidden = without_password("postgresql://u:p@h/d?sslmode=require&password=p")
    assert hidden == "postgresql://u:***@h/d?sslmode=require&password=***"
    assert "hidden" not in repr(_settings(Path("/x"), database="mysql+pymysql://u:hidden@h/d"))


def test_a_relative_sqlite_path_starts_from_the_folder_it_is_given():
    assert absolute_database("sqlite:///a/b.db?x=1", Path("/c")) == "sqlite:////c/a/b.db?x=1"
    assert absolute_database("sqlite:////a.db", Path("/c")) == "sqlite:////a.db"
    assert absolute_database("mysql+pymysql://h/d", Path("/c")) == "mysql+pymysql://h/d"


@pytest.mark.parametrize(
    ("listen", "says"),
    [("8470", "no address"), ("h:0", "no port"), ("h:70000", "no port"), ("[zz]:1", "no address")],
)
def test_an_impossible_listen_address_is_refused(site, listen, says):
    (fault,) = faults(site, f'{LEAST}listen = "{listen}"\n')
    assert says in fault


def test_the_url_follows_from_listen_unless_that_is_every_address(site):
    assert site(LEAST + 'listen = "10.0.0.1:8470"').url == "https://10.0.0.1:8470"
    assert site(LEAST + 'listen = "0.0.0.0:8470"').url is None
    assert site(LEAST + 'listen = "[::]:8470"').url is None
    assert site(LEAST + 'listen = "0.0.0.0:8470"\nurl = "https://k.example:1"').url == (
        "https://k.example:1"
    )


def test_a_body_must_hold_two_chunks(site):
    (fault,) = faults(site, LEAST + '[limits]\nchunk_bytes_max = "8 MB"\n')
    assert fault.startswith("6: limits.chunk_bytes_max: a body of 8388608 bytes does not hold")


def test_the_site_must_be_in_its_topology_and_agree_with_it(site, tmp_path):
    (tmp_path / "topology.toml").write_text(NETWORK)
    (fault,) = faults(site, LEAST.replace("kigali", "kigale") + 'topology = "topology.toml"')
    assert fault.startswith('1: name: "kigale" is no site of ')
    assert fault.endswith("did you mean kigali?")
    text = (
        LEAST + 'topology = "topology.toml"\nurl = "https://other:1"\n[tables]\nexclude = ["a"]\n'
    )
    first, second = faults(site, text)
    assert first.startswith("6: url: ")
    assert second.startswith("8: tables.exclude: ")


def test_the_faults_of_the_topology_come_with_its_own_lines(site, tmp_path):
    (tmp_path / "topology.toml").write_text('[sites.a]\nparent = "b"\n')
    with pytest.raises(ConfigError, match=r"topology\.toml:2: sites\.a\.parent: "):
        site(LEAST + 'topology = "topology.toml"')
    (fault,) = faults(site, LEAST + 'topology = "none.toml"')
    assert fault.startswith("5: topology: there is no file ")


def test_written_settings_are_read_back_alike_and_only_by_their_owner(tmp_path):
    (tmp_path / "topology.toml").write_text(NETWORK)
    path = tmp_path / "new" / "syncnode.toml"
    settings = new_settings(
        path,
        name="butaro",
        database='mysql+pymysql://u:p"w\\\x7f@h/d',
        listen="0.0.0.0:8470",
        url="https://butaro.example:8470",
        topology=str(tmp_path / "topology.toml"),
        only=("person", 'odd "table"'),
        environment={},
    )
    settings = replace(settings, limits=Limits(skew_ms_max=90_000, apply_rows_max=7_000))
    write_settings(path, settings)
    assert read_settings(path, {}) == settings
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_settings_file_is_never_overwritten(tmp_path):
    path = tmp_path / "syncnode.toml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        write_settings(path, _settings(path))
    assert path.read_text() == "mine"


def test_a_database_from_the_environment_is_not_written_down(tmp_path):
    path = tmp_path / "syncnode.toml"
    environment = {"SYNCNODE_DATABASE": "mysql+pymysql://u:secret@h/d"}
    settings = new_settings(path, name="a", database=None, environment=environment)
    write_settings(path, settings)
    assert "secret" not in path.read_text()
    assert read_settings(path, environment) == settings


def test_what_init_is_told_is_checked_by_flag(tmp_path):
    with pytest.raises(ConfigError) as caught:
        new_settings(
            tmp_path / "s.toml",
            name="-",
            database="mysql://h/d",
            listen="nowhere",
            url="ftp://x",
            only=("person", "syncnode_journal"),
            exclude=("person",),
            environment={},
        )
    flags = [line.partition(":")[0] for line in str(caught.value).splitlines()]
    assert flags == ["--name", "--listen", "--url", "--only", "--exclude", "--database"]


def test_init_takes_a_relative_database_from_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = new_settings(Path("sub/s.toml"), name="a", database="sqlite:///a.db", environment={})
    assert settings.database == f"sqlite:///{tmp_path}/a.db"
    assert settings.key == tmp_path / "sub" / "site.key"


def test_a_table_that_the_database_lacks_is_named_where_it_was_written(site, tmp_path):
    (tmp_path / "topology.toml").write_text(NETWORK)
    settings = site(LEAST + 'topology = "topology.toml"\n[tables]\nonly = [\n "preson",\n]\n')
    with pytest.raises(ConfigError) as caught:
        check_tables(settings, ["person", "obs"])
    assert str(caught.value).splitlines() == [
        f'{tmp_path}/syncnode.toml:8: tables.only[0]: "preson" is no table of the database; '
        "did you mean person?",
        f'{tmp_path}/topology.toml:10: tables.exclude[0]: "audit_log" is no table of the '
        "database; known are obs, person",
    ]
    check_tables(settings, ["preson", "audit_log"])


def test_the_file_is_named_by_flag_then_environment_then_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_path("a.toml", {"SYNCNODE_CONFIG": "/b.toml"}) == tmp_path / "a.toml"
    assert config_path(None, {"SYNCNODE_CONFIG": "/b.toml"}) == Path("/b.toml")
    assert config_path(None, {}) == tmp_path / "syncnode.toml"


def test_a_file_that_cannot_be_written_is_one_sentence_about_what_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path, says in (
        (tmp_path / "file" / "s.toml", "file: is there already"),
        (tmp_path / "file" / "sub" / "s.toml", r"cannot be written \(Not a directory\)"),
        (tmp_path / ("x" * 300), r"cannot be written \(File name too long\)"),
    ):
        with pytest.raises(ConfigError, match=says):
            write_settings(path, _settings(path))
    assert (tmp_path / "file").read_text() == "mine"


def test_the_address_in_the_topology_is_the_sites_own(site, tmp_path):
    (tmp_path / "topology.toml").write_text(NETWORK)
    settings = site(LEAST + 'topology = "topology.toml"')
    assert settings.url == "https://sync.kigali.example:8470"


def _settings(path: Path, database: str = "sqlite:////d.db") -> Settings:
    return Settings(path=path, name="a", database=database, key=path, anchor=path)


def test_key_and_anchor_lie_beside_the_file_unless_it_says_otherwise(site, tmp_path):
    settings = site('name = "kigali"\ndatabase = "sqlite:///site.db"\n')
    assert (settings.key, settings.anchor) == (tmp_path / "site.key", tmp_path / "site.anchor")
    assert faults(site, 'name = "a"\ndatabase = "sqlite:///s.db"\nkey = "site.anchor"\n') == [
        "1: anchor: is the file of the key; give each its own"
    ]


def test_a_site_and_a_topology_name_maps_as_a_preset_does(site, tmp_path):
    rule = (
        '[tables.answer]\nconditional.value = { column = "kind", tables = "kinds" }\n'
        '[maps.kinds]\n"Place" = "place"\n'
    )
    (own,) = site(LEAST + rule).tables.rules
    assert own.tables["answer"].conditional["value"].tables == {"Place": "place"}
    (tmp_path / "topology.toml").write_text(NETWORK + rule)
    (there,) = site(LEAST + 'topology = "topology.toml"\n').tables.rules
    assert there.tables["answer"] == own.tables["answer"]
    (fault,) = faults(site, LEAST + rule.replace('"kinds"', '"kind"'))
    assert "'kind' is no map here" in fault or '"kind" is no map here' in fault


def test_settings_with_a_password_that_others_can_read_are_named(site, tmp_path):
    text = 'name = "a"\ndatabase = "mysql+pymysql://u:secret@h/d"\n'
    settings = site(text)
    settings.path.chmod(0o600)
    assert exposed(settings) is None
    settings.path.chmod(0o640)
    said = exposed(settings)
    assert f"chmod 600 {settings.path}" in said
    assert "secret" not in said
    # Without a password there is nothing to read.
    assert exposed(site('name = "a"\ndatabase = "sqlite:///a.db"\n')) is None
    url = "mysql+pymysql://u:secret@h/d"
    assert exposed(site('name = "a"\n', {"SYNCNODE_DATABASE": url})) is None
