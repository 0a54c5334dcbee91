"""Files of declared directories between daemons in processes of their own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import ProcessSite, eventually

OWN = ".syncnode"


class Desk(ProcessSite):
    """A site with a directory."""

    def __init__(self, folder: Path, name: str, *, more: str = "", listens: bool = True) -> None:
        super().__init__(folder, name, listens=listens)
        self.files = self.folder / "obs"
        self.files.mkdir()
        self.init()
        with self.config.open("a") as file:
            file.write(f'\n[files.obs]\npath = "obs"\n{more}')

    def held(self) -> dict[str, bytes]:
        """Every file that people see, by its name."""
        found = {}
        for root, folders, names in os.walk(self.files):
            folders[:] = [one for one in folders if one != OWN]
            for name in names:
                path = Path(root, name)
                found[str(path.relative_to(self.files))] = path.read_bytes()
        return found

    def notes(self) -> str:
        return " ".join(self.report("status")["notes"])


@pytest.fixture
def sites(tmp_path) -> Iterator[list[Desk]]:
    made: list[Desk] = []
    yield made
    for site in made:
        site.close()


def three(tmp_path: Path, sites: list[Desk], *, hub: str = "") -> list[Desk]:
    """A hub and two sites below it that only call."""
    top = Desk(tmp_path, "hub", more=hub)
    sites.append(top)
    top.start()
    for name in ("north", "south"):
        sites.append(Desk(tmp_path, name, listens=False))
        top.admit(sites[-1])
    return sites


def test_files_arrive_change_move_and_go_at_every_site(tmp_path, sites):
    hub, north, south = three(tmp_path, sites)
    north.start()
    south.start()
    picture, text = os.urandom(300_000), b"a text" * 1_000
    (north.files / "scans").mkdir()
    (north.files / "scans/one.jpg").write_bytes(picture)
    (south.files / "two.txt").write_bytes(text)
    (south.files / "empty").write_bytes(b"")
    first = {"scans/one.jpg": picture, "two.txt": text, "empty": b""}
    eventually(lambda: all(site.held() == first for site in sites))

    (south.files / "scans/one.jpg").write_bytes(b"corrected")
    (hub.files / "two.txt").rename(hub.files / "three.txt")
    (north.files / "empty").unlink()
    second = {"scans/one.jpg": b"corrected", "three.txt": text}
    eventually(lambda: all(site.held() == second for site in sites))

    # What was replaced or deleted elsewhere waits in the trash.
    trashed = sorted(path.read_bytes() for path in _files(north.files / OWN / "trash"))
    assert trashed == sorted([picture, text])
    for site in sites:
        eventually(lambda site=site: site.report("status")["in_sync"])
        assert site.report("status")["conflicts"] == 0


def test_a_fetch_goes_on_after_either_side_was_killed(tmp_path, sites):
    hub, north = Desk(tmp_path, "hub"), Desk(tmp_path, "north", listens=False)
    sites += [hub, north]
    hub.start()
    hub.admit(north)
    content = os.urandom(45_000_000)
    (north.files / "scan.tif").write_bytes(content)
    parts = hub.files / OWN / "parts"
    north.start()
    reached = 0
    for victim in (hub, north):
        eventually(lambda reached=reached: _size(parts) > reached)
        victim.kill()
        reached = _size(parts)
        assert 0 < reached < len(content), "it was under way"
        victim.start()
    eventually(lambda: _is_done(hub, parts, reached))
    assert hub.held() == {"scan.tif": content}


def test_a_relay_that_wants_no_files_says_so_and_another_way_brings_them(tmp_path, sites):
    hub, north, south = three(tmp_path, sites, hub="wanted = false\n")
    north.start()
    south.start()
    (north.files / "one.jpg").write_bytes(b"one")
    eventually(lambda: "hub lacks 1 of them, too" in south.notes())
    assert not south.report("status")["in_sync"]
    assert "1 file (3 bytes) missing here" in south.notes()
    assert hub.held() == south.held() == {}
    assert hub.report("status")["in_sync"]
    hub.kill()
    hub.config.write_text(hub.config.read_text().replace("wanted = false", "wanted = true"))
    hub.start()
    eventually(lambda: south.held() == {"one.jpg": b"one"})
    eventually(lambda: south.report("status")["in_sync"])


def _size(parts: Path) -> int:
    return sum(path.stat().st_size for path in parts.glob("*") if len(path.name) == 64)


def _is_done(hub: Desk, parts: Path, reached: int) -> bool:
    size = _size(parts)
    done = bool(hub.held())
    assert done or size >= reached, "it began anew"
    return done


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
