"""S1 to S3: what it costs to begin, on databases that hold rows already."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import rows
from benchmarks.engines import Engine, Meter, Sqlite, Store, flush_disks
from benchmarks.pair import Site, beside, free_port
from benchmarks.relay import Relay
from benchmarks.rows import OBS, PERSON, STAFF, Row

if TYPE_CHECKING:
    from benchmarks.workloads import Sizes, Table

READ_GAP_S = 0.02
STRIDE = 7_919  # a prime, so that reads go all over the table
CHANGED = 0.01  # of the rows differ between two populated sites


def install(engine: Engine, folder: Path, sizes: "Sizes", table: "Table") -> None:
    """S1: `init` on a populated database."""
    people, findings = _made(sizes)
    store = engine.create("s1")
    store.load(people, findings)
    flush_disks()
    server_s = engine.server_s()
    site = Site(store, folder / "s1" / "syncnode.toml", None)
    with _reading(store, len(findings)) as longest_s:
        spent = site.command("init", "--database", store.url, "--name", "s")
    server_s = engine.server_s() - server_s
    table.put("S1", "init, wall", spent.wall_s, "s", 30 * sizes.rows / 1e6)
    table.put("S1", "init, CPU of init and the server", spent.cpu_s + server_s, "s")
    table.put("S1", "init, peak memory", spent.peak_mib, "MiB")
    table.put("S1", "longest read beside it", max(longest_s) * 1000, "ms")
    store.close()


@contextmanager
def _reading(store: Store, count: int) -> Iterator[list[float]]:
    """The application reads rows of the larger table all the while; how long each read took."""
    took_s: list[float] = []
    ended = threading.Event()

    def read() -> None:
        connection = store.another()
        cursor = connection.cursor()
        while not took_s or not ended.wait(READ_GAP_S):
            began_s = time.perf_counter()
            cursor.execute(f"SELECT uuid FROM obs WHERE id={len(took_s) * STRIDE % count + 1}")
            assert cursor.fetchall(), "a row of that id is there"
            took_s.append(time.perf_counter() - began_s)
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield took_s
    finally:
        ended.set()
        reader.join()


def first_load(engine: Engine, folder: Path, sizes: "Sizes", table: "Table") -> None:
    """S2: an empty site joins one that has all rows, which lies in SQLite."""
    people, findings = _made(sizes)
    raw_s, raw_wall_s = _raw(engine, people, findings)
    with ExitStack() as stack:
        a, b, link = _two(stack, Sqlite(folder), engine, folder, people, findings, None)
        token = a.command("invite", "b", "--url", f"https://127.0.0.1:{link.port}").out.strip()
        server_s, link_bytes = engine.server_s(), link.bytes
        spent = [b.command("join", token, "--yes"), b.command("sync")]
        cpu_s = sum(one.cpu_s for one in spent) + engine.server_s() - server_s
        wall_s = sum(one.wall_s for one in spent)
        assert b.store.count("obs") == len(findings)
        table.put("S2", "raw insert, CPU", raw_s, "s")
        table.put("S2", "first load, CPU of B and its server", cpu_s, "s")
        table.ratio("S2", "first load / raw, CPU", cpu_s, raw_s)
        table.ratio("S2", "first load / raw, wall", wall_s, raw_wall_s, 3)
        table.put("S2", "on the wire", (link.bytes - link_bytes) / 1e6, "MB")
        table.put("S2", "peak memory of B", max(one.peak_mib for one in spent), "MiB")


def join_populated(engine: Engine, folder: Path, sizes: "Sizes", table: "Table") -> None:
    """S3: two sites that hold the same rows but for a cell in one of a hundred are joined."""
    people, findings = _made(sizes)
    every = round(1 / CHANGED)
    words, creator = OBS.index("value_text"), PERSON.index("creator")
    other = (
        [_changed(row, creator, STAFF + 1, n % every) for n, row in enumerate(people)],
        [_changed(row, words, f"changed {n}", n % every) for n, row in enumerate(findings)],
    )
    with ExitStack() as stack:
        a, b, link = _two(stack, engine, engine, folder, people, findings, other)
        token = a.command("invite", "b", "--url", f"https://127.0.0.1:{link.port}").out.strip()
        began = link.bytes
        spent = [b.command("join", token, "--yes"), b.command("sync")]
        joined = link.bytes - began
        for name in rows.COLUMNS:
            assert b.store.rows(name) == a.store.rows(name), f"{name} differs"
    with ExitStack() as stack:
        full_folder = folder / "full"
        a, b, link = _two(stack, engine, engine, full_folder, people, findings, None, suffix="f")
        token = a.command("invite", "b", "--url", f"https://127.0.0.1:{link.port}").out.strip()
        began = link.bytes
        b.command("join", token, "--yes")
        b.command("sync")
        full = link.bytes - began
    table.put("S3", "full copy, on the wire", full / 1e6, "MB")
    table.put("S3", "join of 1 % difference, on the wire", joined / 1e6, "MB")
    table.put("S3", "join / full copy", 100 * joined / full, "%", 6)
    table.put("S3", "join, wall", sum(one.wall_s for one in spent), "s")


def _changed(row: Row, place: int, value: Any, unless: int) -> Row:
    return row if unless else (*row[:place], value, *row[place + 1 :])


def _made(sizes: "Sizes") -> tuple[list[Row], list[Row]]:
    people = list(rows.persons(sizes.persons))
    return people, list(rows.observations(people, sizes.rows - sizes.persons))


def _raw(engine: Engine, people: Sequence[Row], findings: Sequence[Row]) -> tuple[float, float]:
    store = engine.create("raw")
    flush_disks()
    meter, began_s = Meter(engine), time.perf_counter()
    store.load(people, findings)
    spent = meter.read_s(), time.perf_counter() - began_s
    store.close()
    return spent


def _two(
    stack: ExitStack,
    ours: Engine,
    theirs: Engine,
    folder: Path,
    people: Sequence[Row],
    findings: Sequence[Row],
    there: tuple[Sequence[Row], Sequence[Row]] | None,
    *,
    suffix: str = "",
) -> tuple[Site, Site, Relay]:
    """A site with all rows that serves, one beside it with `there`, and the link between."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    link = stack.enter_context(Relay(port))
    stores: list[Store] = [ours.create(f"a{suffix}"), theirs.create(f"b{suffix}")]
    stores[0].load(people, findings)
    if there is not None:
        stores[1].load(*there)
    a = beside(stores[0], folder, f"a{suffix}", port)
    b = beside(stores[1], folder, f"b{suffix}", None)
    for site in (a, b):
        stack.callback(site.store.close)
        stack.callback(site.stop)
    a.start()
    flush_disks()
    return a, b, link
