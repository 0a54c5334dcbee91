"""The command line: usage, exit statuses, what is printed where. The work itself is faked."""

# ruff: noqa: ARG005 (fixtures that only prepare; fakes with the real signatures)

import io
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from syncnode.__main__ import main
from syncnode.clash_report import ForetoldClashes
from syncnode.cli.progress import Progress
from syncnode.cli.terminal import CELL_CHARS_MAX, printable, table
from syncnode.reports import (
    ConflictReport,
    ExchangeReport,
    Forgotten,
    InitReport,
    Invitation,
    JoinPreview,
    JoinReport,
    LanReport,
    LogEntry,
    NearPairs,
    ParkedReport,
    PeerReport,
    RevokedReport,
    RowDifference,
    StatusReport,
    SyncReport,
    TableComparison,
    UninstallReport,
)
from syncproto.errors import ConfigError, SyncError

COMMANDS = (
    "init",
    "invite",
    "join",
    "forget",
    "serve",
    "sync",
    "status",
    "peers",
    "log",
    "conflicts",
    "parked",
    "clashes",
    "verify",
    "uninstall",
    "demo",
)
HEAVY = {"trio", "httpx", "sqlalchemy", "pymysql", "cryptography", "cbor2", "h11", "tomllib"}
PARKED = ParkedReport(
    table="person",
    row="6f2c",
    reason="unique",
    detail="username 'ann' is taken; rename one of the two",
    waits_for=None,
    values={"name": "Ann\x1b[2J", "age": None},
    written_by="butaro",
    written="2026-01-02T03:04:05.678Z",
)
PEER = PeerReport(
    name="kigali",
    site="abc",
    role="parent",
    url="https://k.example:8470",
    last_exchange=None,
    pending=3,
    equal=None,
)


@pytest.fixture
def operations(monkeypatch):
    """Stands in for the functions that do the work."""
    fake = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "syncnode.operations", fake)
    monkeypatch.setattr("syncnode.operations", fake, raising=False)
    return fake


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A settings file, named by the environment."""
    path = tmp_path / "syncnode.toml"
    path.write_text('name = "kigali"\ndatabase = "sqlite:///a.db"\nkey = "k"\nanchor = "a"\n')
    monkeypatch.setenv("SYNCNODE_CONFIG", str(path))
    monkeypatch.delenv("SYNCNODE_DATABASE", raising=False)
    monkeypatch.delenv("SYNCNODE_DEBUG", raising=False)
    return path


def run_python(code: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, **options
    )


def test_help_imports_nothing_heavy_and_names_every_command():
    done = run_python(
        "import sys\nfrom syncnode.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit as end: assert end.code == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    assert done.returncode == 0
    imported = {name.partition(".")[0] for name in done.stderr.split()}
    assert not imported & HEAVY
    for command in COMMANDS:
        assert f"\n    {command}" in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_takes_a_configuration(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    made_by_itself = command == "demo"
    assert ("--config PATH" in capsys.readouterr().out) != made_by_itself


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"],
        ["status", "--nonsense"],
        ["status", "--js"],
        ["init"],
        ["invite"],
        ["join"],
        ["forget"],
        ["log", "--limit", "-1"],
        ["sync", "one", "two"],
        ["status", "--config"],
    ],
)
def test_wrong_usage_is_status_2_with_nothing_on_standard_output(argv, capsys):
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "usage: syncnode" in printed.err


def test_no_command_at_all_is_wrong_usage(capsys):
    assert main([]) == 2
    assert "usage: syncnode" in capsys.readouterr().err


def test_what_the_user_typed_is_repeated_without_its_control_characters(capsys):
    with pytest.raises(SystemExit):
        main(["status", "\x1b[2J"])
    assert "\x1b" not in capsys.readouterr().err


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("syncnode ")


def test_every_fault_of_the_settings_is_a_line_and_the_status_is_1(config, capsys):
    config.write_text('nmae = "kigali"\n')
    assert main(["status"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert f"syncnode: {config}:1: nmae: is no key here; did you mean name?" in lines
    assert all(line.startswith(f"syncnode: {config}:1: ") for line in lines)


@pytest.mark.parametrize(
    ("error", "status", "says"),
    [
        (SyncError("the database is gone\x1b[2J"), 1, r"the database is gone\x1b[2J"),
        (ExceptionGroup("nursery", [SyncError("one"), SyncError("one")]), 1, "one"),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (MemoryError(), 1, "out of memory; nothing half done was kept"),
        (KeyboardInterrupt(), 130, "interrupted; what was done so far is kept, run it again"),
        (BaseExceptionGroup("nursery", [KeyboardInterrupt()]), 130, "interrupted; "),
        (KeyError("x"), 1, "stopped by a fault of its own (KeyError: 'x'); run it again with"),
    ],
)
def test_whatever_goes_wrong_is_one_line_and_no_traceback(
    config, operations, capsys, error, status, says
):
    def fail(_):
        raise error

    operations.status = fail
    assert main(["status"]) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"syncnode: {says}")


def test_a_traceback_is_shown_to_who_asks_for_it(config, operations, monkeypatch):
    def fail(_):
        raise SyncError("gone")

    operations.status = fail
    monkeypatch.setenv("SYNCNODE_DEBUG", "1")
    with pytest.raises(SyncError):
        main(["status"])


def test_an_interrupted_process_ends_with_130_and_one_line(config):
    code = (
        "import sys, time, types\n"
        "import syncnode\n"
        "fake = types.ModuleType('syncnode.operations')\n"
        "def serve(settings, notice):\n"
        "    notice('ready')\n"
        "    time.sleep(30)\n"
        "fake.serve = serve\n"
        "sys.modules['syncnode.operations'] = syncnode.operations = fake\n"
        "from syncnode.__main__ import main\n"
        "sys.exit(main(['serve']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        assert process.stderr.readline() == "syncnode: ready\n"
        process.send_signal(signal.SIGINT)
        assert len(process.stderr.read().splitlines()) == 1
    assert process.returncode == 130


def test_a_reader_that_goes_away_is_no_traceback(config):
    code = (
        "import sys, types\n"
        "import syncnode\n"
        "fake = types.ModuleType('syncnode.operations')\n"
        "fake.demo = lambda say: [say('x' * 1000) for _ in range(1000)]\n"
        "sys.modules['syncnode.operations'] = syncnode.operations = fake\n"
        "from syncnode.__main__ import main\n"
        "sys.exit(main(['demo']))\n"
    )
    read_end, write_end = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=write_end, stderr=subprocess.PIPE, text=True
    ) as process:
        os.close(write_end)
        os.read(read_end, 10)
        os.close(read_end)
        assert process.stderr
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_init_hands_over_settings_and_prints_the_plan(operations, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = {}

    def initialise(settings, *, dry_run, progress):
        progress("looking")
        seen.update(settings=settings, dry_run=dry_run)
        return InitReport("person: uuid", ("CREATE TABLE a", "CREATE TABLE b"), ("use WAL",))

    operations.initialise = initialise
    init = ["init", "--database", "sqlite:///a.db", "--name", "kigali", "--only", "a b"]
    init += ["--only", "c", "--exclude", "d", "--config", "new/s.toml"]
    assert main([*init, "--dry-run"]) == 0
    assert seen["dry_run"]
    assert seen["settings"].tables.only == ("a b", "c")
    assert seen["settings"].database == f"sqlite:///{tmp_path}/a.db"
    printed = capsys.readouterr()
    assert printed.out == "person: uuid\n\nCREATE TABLE a;\nCREATE TABLE b;\n"
    assert printed.err == "syncnode: use WAL\nsyncnode: nothing was changed\n"
    assert main(init) == 0
    assert not seen["dry_run"]
    assert capsys.readouterr().out == "person: uuid\n"


def test_init_does_nothing_where_there_are_settings_already(config, operations, capsys):
    init = ["init", "--database", "sqlite:///a.db", "--name", "kigali"]
    assert main(init) == 2
    assert "is there already" in capsys.readouterr().err
    assert not vars(operations)


def test_the_token_stands_alone_on_standard_output(config, operations, capsys):
    def invite(settings, name, *, role, url):
        return Invitation(f"T-{settings.name}-{role}", name, role, url or "https://k:1", "noon")

    operations.invite = invite
    assert main(["invite", "butaro"]) == 0
    assert capsys.readouterr().out == "T-kigali-child\n"
    assert main(["invite", "butaro", "--peer", "--url", "https://other:2"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "T-kigali-peer\n"
    assert "https://other:2" in printed.err
    for wrong in (["invite", "no name"], ["invite", "a", "--url", "http://x"]):
        assert main(wrong) == 2
        assert capsys.readouterr().out == ""


def test_join_asks_only_a_terminal_and_without_one_only_yes_goes_on(
    config, operations, capsys, monkeypatch
):
    preview = JoinPreview(
        "rwanda", "kigali", same=5, only_here=1, only_there=2, different=1, unnamed=("note",)
    )

    def join(settings, token, *, confirm, progress, dry_run, values):
        assert (dry_run, values) == (False, False)
        progress("comparing")
        return JoinReport(confirm(preview), "kigali", "https://k:1", "child", "rwanda", preview)

    operations.join = join
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["join", "TOKEN"]) == 1
    printed = capsys.readouterr().err
    assert "1 row differs from those of kigali; 5 are the same" in printed
    assert "the rows of note have no names that are the same at two sites" in printed
    assert "--yes" in printed
    assert main(["join", "TOKEN", "--yes"]) == 0
    assert "differ" not in capsys.readouterr().err
    for answer, status in (("y\n", 0), ("n\n", 1), ("", 1)):
        stdin = io.StringIO(answer)
        stdin.isatty = lambda: True
        monkeypatch.setattr("sys.stdin", stdin)
        assert main(["join", "TOKEN"]) == status


def test_join_shows_what_both_sides_hold_and_a_dry_run_does_no_more(config, operations, capsys):
    row = RowDifference("person", "6f2c", "different", ("name",))
    preview = JoinPreview(
        "rwanda", "kigali", 5, 0, 0, 1,
        tables=(TableComparison("person", 5, 1, 0, 0, examples=(row,)),),
        near_pairs=(NearPairs("note", 2, (("aa", "bb"),)),),
        clashes=(ForetoldClashes("kind", ("name",), "marked", 2, False, (("aa", "bb", "x"),)),),
    )  # fmt: skip

    def join(settings, token, *, confirm, progress, dry_run, values):
        assert dry_run
        assert values
        return JoinReport(False, "kigali", "https://k:1", "", "rwanda", preview)

    operations.join = join
    assert main(["join", "TOKEN", "--dry-run", "--values"]) == 0
    printed = capsys.readouterr()
    assert "person 6f2c: different: name" in printed.out
    assert (
        "kind: 2 rows of those looked at (there are too many to fetch all) would clash in "
        "kind.name: shown with a mark, or no value, such as\n    bb (x), since aa has the value\n"
    ) in printed.out
    assert "note: 2 rows hold the same on both sides under another name" in printed.out
    assert "aa here and bb there" in printed.out
    assert "nothing was changed" in printed.err


def test_sync_ends_with_1_and_the_reason_unless_everything_is_done(config, operations, capsys):
    exchange = ExchangeReport("butaro", 12, 3, 400, 90, equal=True)
    operations.sync = lambda settings, peer, *, progress: SyncReport((exchange,), True)
    assert main(["sync"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "peer    rows sent  rows received  bytes sent  bytes received  equal",
        "butaro         12              3         400              90  yes",
    ]
    assert printed.err == "syncnode: done, equal with 1 peer\n"
    operations.sync = lambda settings, peer, *, progress: SyncReport((), False, f"{peer} is away")
    assert main(["sync", "butaro", "--json"]) == 1
    printed = capsys.readouterr()
    expected = {"exchanges": [], "done": False, "reason": "butaro is away", "notes": []}
    assert json.loads(printed.out) == expected
    assert printed.err == "syncnode: not done: butaro is away\n"


def test_status_says_it_to_people_and_to_programs(config, operations, capsys):
    operations.status = lambda settings: StatusReport(
        name="kigali",
        site="abc",
        incarnation=1,
        network=None,
        url="https://k:1",
        database=settings.shown_database,
        serving=True,
        in_sync=False,
        tables=4,
        peers=(PEER,),
        pending=3,
        parked=2,
        conflicts=1,
        parked_rows=(PARKED,),
        notes=("butaro is 3 rows behind",),
    )
    assert main(["status", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["peers"][0]["name"] == "kigali"
    expected = {"url": "https://k:1", "pending": 3, "parked": 2, "conflicts": 1}
    assert expected.items() <= document.items()
    assert main(["status"]) == 0
    text = capsys.readouterr().out
    for part in (
        "in sync    no",
        "parked     2 rows",
        "person 6f2c: unique",
        "and 1 more",
        PEER.url,
    ):
        assert part in text
    assert "\x1b" not in text


def test_lists_are_json_lists_and_tables_for_people(config, operations, capsys):
    conflict = ConflictReport(
        table="person",
        row="6f2c",
        column="name",
        kept="Ann",
        kept_by="kigali",
        kept_written="2026-01-02T03:04:05.678Z",
        lost=None,
        lost_by="butaro",
        lost_written="2026-01-02T03:04:04.678Z",
        done="the later stamp stays",
    )
    entries = [
        LogEntry("butaro", 2, seq, "t", "t", "butaro", 3, {"person": 2, "obs": 1}) for seq in (8, 7)
    ]
    operations.peers = lambda settings: [PEER]
    operations.lan = lambda settings: []
    operations.parked = lambda settings, *, dismissed: [PARKED]
    operations.conflicts = lambda settings, *, decided: [conflict]
    operations.log = lambda settings, *, entries_max: entries[:entries_max]
    for command, part in (
        ("peers", "kigali  parent"),
        ("parked", r"name = Ann\x1b[2J"),
        ("conflicts", "NULL"),
        ("log", "person 2, obs 1"),
    ):
        assert main([command]) == 0
        assert part in capsys.readouterr().out
        assert main([command, "--json"]) == 0
        assert isinstance(json.loads(capsys.readouterr().out), list)
    assert main(["log", "--limit", "1", "--json"]) == 0
    assert [entry["seq"] for entry in json.loads(capsys.readouterr().out)] == [8]
    assert main(["log", "--limit", "0", "--json"]) == 0
    assert [entry["seq"] for entry in json.loads(capsys.readouterr().out)] == [7, 8]


def test_peers_lists_who_is_seen_on_the_lan_too(config, operations, capsys):
    seen = [
        LanReport("aaaa", "butaro", "https://10.0.0.2:8470", "peer", "t"),
        LanReport("bbbb", None, "https://10.0.0.3:8470", "another network", "t"),
    ]
    operations.peers, operations.lan = lambda settings: [PEER], lambda settings: seen
    assert main(["peers"]) == 0
    said = capsys.readouterr().out
    assert "kigali  parent" in said
    assert "-                bbbb  https://10.0.0.3:8470  another network  t" in said
    assert main(["peers", "--lan"]) == 0
    assert "kigali" not in capsys.readouterr().out
    assert main(["peers", "--lan", "--json"]) == 0
    assert [one["name"] for one in json.loads(capsys.readouterr().out)] == ["butaro", None]
    operations.lan = lambda settings: []
    assert main(["peers", "--lan"]) == 0
    assert "discover = true under [lan]" in capsys.readouterr().err


def test_revoke_names_who_ends_with_the_site(config, operations, capsys):
    operations.revoke = lambda settings, name: RevokedReport(name, "aaaa", (name, "kirehe"))
    assert main(["revoke", "butaro"]) == 0
    said = capsys.readouterr().err
    assert said.startswith(
        "syncnode: butaro (aaaa) is no member of the network any more, and so are kirehe, which "
        "it had let in. "
    )
    assert "syncnode forget butaro" in said


def test_forget_says_what_is_given_up(config, operations, capsys):
    operations.forget = lambda settings, name: Forgotten(name, "child", None, 3)
    assert main(["forget", "butaro"]) == 0
    said = capsys.readouterr().err
    assert said.startswith(
        "syncnode: butaro is no child of kigali any more; it had not confirmed 3 rows, "
        "last exchange: never. "
    )


def test_uninstall_without_settings_takes_a_database(tmp_path, operations, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    seen = []

    def remove(url, *, force):
        seen.append((url, force))
        return UninstallReport(6, 9, ())

    operations.remove = remove
    assert main(["uninstall", "--database", "sqlite:///a.db"]) == 0
    assert main(["uninstall", "--database", "mysql+pymysql://u:secret@h/d", "--force"]) == 0
    assert seen == [
        (f"sqlite:///{tmp_path}/a.db", False),
        ("mysql+pymysql://u:secret@h/d", True),
    ]
    said = capsys.readouterr().err
    assert "kept no file" in said
    assert "secret" not in said
    assert main(["uninstall", "--database", "nonsense"]) == 2
    assert "--database: is no database URL" in capsys.readouterr().err


def test_uninstall_and_demo_pass_on_what_was_asked(config, operations, capsys):
    operations.uninstall = lambda settings, *, force: UninstallReport(6, 9, (f"force={force}",))
    assert main(["uninstall", "--force"]) == 0
    assert "removed 6 triggers and 9 tables" in capsys.readouterr().err
    operations.demo = lambda *, say: say("clinic\x07") or False
    assert main(["demo"]) == 1
    assert capsys.readouterr().out == "clinic\\x07\n"


def test_a_flag_names_the_settings_before_the_environment_does(config, operations, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(config.read_text().replace("kigali", "butaro"))
    names = []
    operations.serve = lambda settings, *, notice: names.append(settings.name)
    assert main(["serve"]) == 0
    assert main(["serve", "--config", str(other)]) == 0
    assert names == ["kigali", "butaro"]


def test_invisible_and_bidirectional_characters_are_shown_as_escapes():
    assert printable("café 患者\x1b\n\u202e\x9b") == "café 患者\\x1b\\n\\u202e\\x9b"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_silent_for_two_seconds_then_a_line_every_five_or_rewritten():
    for stream, expected in (
        (io.StringIO(), ["syncnode: 2.0", "syncnode: 7.0", ""]),
        (Terminal(), ["\r\x1b[K2.0\r\x1b[K3.0\r\x1b[K6.9\r\x1b[K7.0\r\x1b[K"]),
    ):
        times_s = iter((0.0, 0.0, 1.9, 2.0, 3.0, 6.9, 7.0))
        with Progress(stream, clock=times_s.__next__) as progress:
            for text in ("0.0", "1.9", "2.0", "3.0", "6.9", "7.0"):
                progress(text)
        assert stream.getvalue().split("\n") == expected


def test_help_takes_under_a_tenth_of_a_second_of_cpu():
    before = os.times()
    done = run_python("from syncnode.__main__ import main; main(['--help'])")
    after = os.times()
    assert done.returncode == 0
    used_s = after.children_user + after.children_system
    used_s -= before.children_user + before.children_system
    assert used_s < 0.1 * max(1.0, _slowness())


def _slowness() -> float:
    """How many times slower this machine is just now than the one the limit was set on."""
    start_s = time.process_time()
    sum(range(2_000_000))
    return (time.process_time() - start_s) / 0.025


def test_a_missing_settings_file_names_the_remedy(tmp_path, capsys):
    assert main(["status", "--config", str(tmp_path / "none.toml")]) == 1
    assert "syncnode init" in capsys.readouterr().err
    assert issubclass(ConfigError, SyncError)


# verify


def _compared(**fields):
    from syncnode.reports import RowDifference, TableComparison, VerifyReport

    row = RowDifference("person", "6f2c", "different", ("name",), None, None)
    table = TableComparison("person", 9, 1, 0, 0, examples=(row,))
    found = {"equal": False, "tables": (table,), "plan": ("person: 1 row",), "reason": "it differs"}
    return VerifyReport("kigali", **{**found, **fields}, bytes_sent=10, bytes_received=20)


def test_verify_says_what_was_not_compared_and_how_much_is_the_same(config, operations, capsys):
    from syncnode.reports import TableComparison

    tables = (
        TableComparison("person", 9, 0, 0, 0, missing_here=("note",)),
        TableComparison("place", 0, 0, 4, 5, namings=("the value of uuid", "the value of name")),
        TableComparison("visit", 7, 0, 0, 0),
    )
    operations.verify = lambda *_, **__: _compared(tables=tables, plan=(), reason="otherwise")
    assert main(["verify", "kigali"]) == 1
    printed = capsys.readouterr().out
    assert "person: column note dropped here, and not compared\n" in printed
    assert (
        "place: its rows are named by the value of uuid here, and by the value of name at kigali; "
        "not compared\n"
    ) in printed
    assert "same       16 rows\n           2 of 3 tables the same in full\n" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--yes"], "--yes goes with --repair"),
        (["--ours", "--repair"], "--ours goes with --repair and a PEER"),
        (["kigali", "--ours"], "--ours goes with --repair and a PEER"),
        (["--values"], "--values goes with a PEER"),
    ],
)
def test_verify_refuses_what_makes_no_sense(arguments, said, operations, config, capsys):
    with pytest.raises(SystemExit) as end:
        main(["verify", *arguments])
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_verify_is_done_only_when_equal(operations, config, capsys):
    operations.verify = lambda settings, peer, **options: _compared()
    assert main(["verify", "kigali"]) == 1
    shown = capsys.readouterr()
    assert "person 6f2c: different: name" in shown.out
    assert "10 bytes sent, 20 received" in shown.out
    assert "it differs" in shown.err
    operations.verify = lambda settings, peer, **options: _compared(
        equal=True, tables=(), plan=(), reason=None
    )
    assert main(["verify", "kigali", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["equal"] is True


@pytest.mark.parametrize(("arguments", "written"), [([], False), (["--yes"], True)])
def test_a_repair_is_shown_before_it_is_written(
    arguments, written, operations, config, capsys, monkeypatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # no terminal: nobody answers
    answers = []

    def verify(settings, peer, *, repair, ours, values, confirm, progress):
        assert (repair, ours, values) == (True, False, False)
        report = _compared()
        answers.append(confirm(report))
        return report

    operations.verify = verify
    assert main(["verify", "kigali", "--repair", *arguments]) == 1
    assert answers == [written]
    shown = capsys.readouterr()
    assert "plan: person: 1 row" in shown.err
    assert ("no terminal to ask" in shown.err) == (not written)
    assert shown.out.count("person 6f2c") == 1


def test_the_local_check_names_what_was_not_captured(operations, config, capsys):
    from syncnode.reports import CheckReport, TableCheck

    unsound = TableCheck("person", 9, uncaptured=2)
    operations.check = lambda settings, *, repair, confirm, progress: CheckReport(
        False, (unsound,), ("person: 2 rows",), 0, "person: not captured"
    )
    assert main(["verify"]) == 1
    assert "person: not captured" in capsys.readouterr().err
    operations.check = lambda settings, *, repair, confirm, progress: CheckReport(
        True, (TableCheck("person", 9),), (), 2
    )
    assert main(["verify", "--repair", "--yes"]) == 0
    assert "made changes of 2 rows" in capsys.readouterr().err


def test_long_values_are_cut_on_terminals_only(capsys, monkeypatch):
    reason = "since " * 20
    table(("table", "why"), [("person", reason)])
    assert reason.strip() in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    table(("table", "why"), [("person", reason)])
    assert capsys.readouterr().out.splitlines()[1] == f"person  {reason[: CELL_CHARS_MAX - 3]}..."
