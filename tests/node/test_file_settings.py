"""`[files]` of the settings, and rules for its manifests."""

from pathlib import Path

import pytest

from syncnode.files.settings import Directory
from syncnode.settings.config import read_settings
from syncproto.errors import ConfigError

LEAST = 'name = "kigali"\ndatabase = "sqlite:///site.db"\n'


def read(folder: Path, text: str):
    path = folder / "syncnode.toml"
    path.write_text(LEAST + text)
    return read_settings(path, {})


def test_a_directory_has_a_path_and_every_default(tmp_path):
    assert read(tmp_path, "").files == ()
    (obs,) = read(tmp_path, '[files.complex_obs]\npath = "obs/../obs"\n').files
    assert obs == Directory("complex_obs", tmp_path / "obs")
    assert obs.table == "files:complex_obs"
    text = '[files.x]\npath = "/y"\nwanted = false\nsize_max = "2 MB"\npattern = ["*.jpg"]\n'
    assert read(tmp_path, f"{text}trash_days = 3\n").files == (
        Directory("x", Path("/y"), False, 2_000_000, ("*.jpg",), 3),
    )


def test_each_fault_has_its_line_and_what_would_do(tmp_path):
    text = (
        "[files.a]\n"
        "wants = true\n"
        '[files."no/name"]\npath = "/n"\n'
        '[files.b]\npath = "/x"\nsize_max = "much"\n'
        '[files.c]\npath = "/x/below"\n'
    )
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    lines = [line.rpartition("/syncnode.toml:")[2] for line in str(caught.value).splitlines()]
    assert len(lines) == 5
    for line, begins in zip(lines, ("3", "4: files.a.wants", "5", "9", "11"), strict=True):
        assert line.startswith(begins), lines
    assert "another directory's, or inside it" in lines[-1]


def test_rules_name_a_manifest_as_they_name_tables(tmp_path):
    rules = '[site.with.butaro.tables]\n"files:obs" = "none"\n'
    said = read(tmp_path, rules).rules.directions("butaro", ["files:obs", "person"], child=False)
    assert (said.unsent, said.unreceived) == (frozenset({"files:obs"}),) * 2
