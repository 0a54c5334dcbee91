"""L1 to L4: thin links. What a link carries, and how long it takes where it carries little."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from benchmarks import rows
from benchmarks.engines import Engine, Sqlite, SqliteStore, Store
from benchmarks.pair import Pair, pair
from benchmarks.relay import KBIT_1, Line, Relay
from clinic import CLINIC, clinic_rows
from clinic_desk import ClinicDesk
from desks import Lost
from tables import create, fill
from years import MIX

if TYPE_CHECKING:
    from benchmarks.workloads import Sizes, Table

PATIENTS = 500  # that a health centre has before the day
RECORDS = 200
CUT_EVERY_S = 30.0
DAY_ROWS = 2_100
DAY = datetime(2026, 1, 5, 8)
GIVE_UP_S = 1800.0


def nothing_new(engine: Engine, folder: Path, sizes: "Sizes", table: "Table") -> None:
    """L1: an exchange on a connection that is open, where both sides hold the same."""
    with pair(engine, folder) as sites:
        sites.a.store.load(rows.persons(2))
        sites.a.wait_until_idle()
        bodies, all_bytes = trio.run(_third_exchange, sites)
    table.put("L1", "nothing new, bodies", bodies, "B", 100)
    table.put("L1", "nothing new, all", all_bytes, "B", 400)


async def _third_exchange(sites: Pair) -> tuple[int, int]:
    from contextlib import AsyncExitStack

    from syncnode.run import open_parts
    from syncnode.settings.config import read_settings

    async with AsyncExitStack() as stack:
        parts = await open_parts(read_settings(sites.b.config), stack)
        (peer,) = parts.members.called()
        for _ in range(2):
            assert (await parts.exchanger.call(peer)).complete
        before, bodies, post = sites.link.bytes, 0, parts.client.post

        async def counted(address: Any, path: str, body: bytes, *, timeout_s: float) -> bytes:
            nonlocal bodies
            answer = await post(address, path, body, timeout_s=timeout_s)
            bodies += len(body) + len(answer)
            return answer

        parts.client.post = counted  # type: ignore[method-assign]
        outcome = await parts.exchanger.call(peer)
        assert outcome.complete
        assert not outcome.moved
        return bodies, sites.link.bytes - before


def records(engine: Engine, folder: Path, sizes: "Sizes", table: "Table") -> None:
    """L2: observations go up 1 kbit/s with 600 ms, the start of `sync` and the handshake included:
    eight of each of 25 patients, and each of another patient and at another time."""
    for label, grouped, aim in (("of 25 patients", True, 60), ("scattered", False, None)):
        with _centre(engine, folder / label, min(RECORDS, sizes.rows), grouped=grouped) as sites:
            link = sites.link
            link.shape(up=KBIT_1, down=KBIT_1)
            up, down = link.up_bytes, link.down_bytes
            spent = sites.sync()
            link.shape(up=Line(), down=Line())
            table.put("L2", f"200 observations {label}, 1 kbit/s", spent.wall_s, "s", aim)
            table.put("L2", f"{label}, up", link.up_bytes - up, "B")
            table.put("L2", f"{label}, down", link.down_bytes - down, "B")
            assert sites.a.store.rows("obs") == sites.b.store.rows("obs")


@contextmanager
def _centre(engine: Engine, folder: Path, count: int, *, grouped: bool = True) -> Iterator[Pair]:
    """B is a centre whose patients A knows, with so many observations that A has not."""
    people = rows.persons(min(PATIENTS, 5 * count))
    with pair(engine, folder) as sites:
        sites.a.store.load(people)
        sites.a.wait_until_idle()
        sites.sync()
        held = [sites.b.store.look("SELECT id FROM person WHERE uuid=?", p[1])[0] for p in people]
        found = rows.observations(held, count)
        sites.b.store.load([], rows.vitals(found) if grouped else found)
        yield sites


# A day


class _Clinic(Sqlite):
    """Makes clinics: the first with patients, the second empty."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.stores: list[Store] = []
        self._folder = folder

    def create(self, name: str) -> Store:
        store = SqliteStore(self._folder / f"{name}-{len(self.stores)}.db")
        create(store.connection, CLINIC)
        if not self.stores:
            fill(store.connection, clinic_rows(1, 60))
        self.stores.append(store)
        return store


class _Desktop:
    """What a desk needs of a site."""

    name = "b"

    def __init__(self, store: Store) -> None:
        self.connection = store.connection

    def sql(self, text: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(text, parameters).fetchall()  # type: ignore[no-any-return]


def day(engine: Engine, folder: Path, sizes: "Sizes", table: "Table") -> None:
    """L3: what a health centre writes in a day, exchanged once in the evening."""
    folder.mkdir(parents=True, exist_ok=True)
    clinic = _Clinic(folder)
    with pair(clinic, folder) as sites:
        changed = _work(clinic.stores[1], min(DAY_ROWS, sizes.rows))
        before = sites.link.bytes
        sites.sync()
        used = sites.link.bytes - before
        table.put("L3", "rows written", changed, "rows")
        table.put("L3", "a day of a health centre", used / 1000, "kB", 100 * changed / DAY_ROWS)
        table.put("L3", "bytes a row", used / changed, "B")


def _work(store: Store, rows_wanted: int) -> int:
    draw = random.Random("a day")
    store.run("PRAGMA foreign_keys=1")
    desk = ClinicDesk(_Desktop(store), draw, Lost())  # type: ignore[arg-type]
    events = desk.events()
    kinds = [kind for kind in events if kind in MIX]
    first = store.connection.total_changes
    count = 0
    while (count := _journal(store)) < rows_wanted:
        (kind,) = draw.choices(kinds, [MIX[kind] for kind in kinds])
        now = DAY + timedelta(seconds=draw.randrange(8 * 3600))
        desk.do(events[kind], str(now))
    assert store.connection.total_changes > first
    return count


def _journal(store: Store) -> int:
    return store.count("syncnode_journal")


# A link that breaks


def cut_often(engine: Engine, folder: Path, sizes: "Sizes", table: "Table") -> None:
    """L4: the same rows over a whole link and over one that is cut every 30 s."""
    count = min(2 * RECORDS, sizes.rows)
    whole_s, whole = _crossed(engine, folder / "whole", count, cut=False)
    cut_s, cut = _crossed(engine, folder / "cut", count, cut=True)
    table.put("L4", "uncut", whole_s, "s")
    table.put("L4", f"cut every {CUT_EVERY_S:.0f} s", cut_s, "s")
    table.ratio("L4", "cut / uncut", cut_s, whole_s, 2)
    table.put("L4", "uncut, up", whole["up"], "B")
    table.put("L4", "cut, up", cut["up"], "B")
    table.put("L4", "cut, down", cut["down"], "B")
    table.put("L4", "cut, connections", cut["connections"], "")
    table.put("L4", "cuts", cut["cuts"], "")


def _crossed(
    engine: Engine, folder: Path, count: int, *, cut: bool
) -> tuple[float, dict[str, int]]:
    """From the start of `serve` at the centre until A shows the last row."""
    with _centre(engine, folder, count) as sites:
        link: Relay = sites.link
        link.shape(up=KBIT_1, down=KBIT_1)
        if cut:
            link.cut_every(CUT_EVERY_S)
        began = (link.up_bytes, link.down_bytes, link.connections)
        sites.b.start(idle=False)
        began_s = time.monotonic()
        while sites.a.store.count("obs") < count:
            if time.monotonic() - began_s > GIVE_UP_S:
                raise RuntimeError(f"{sites.a.store.count('obs')} of {count} rows have arrived")
            time.sleep(0.1)
        spent_s = time.monotonic() - began_s
        crossed = {
            "up": link.up_bytes - began[0],
            "down": link.down_bytes - began[1],
            "connections": link.connections - began[2],
            "cuts": link.cuts,
        }
        link.shape(up=Line(), down=Line())
        return spent_s, crossed
