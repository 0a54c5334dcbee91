"""W1 to W6 and the small commands: what is done, and what is measured of it."""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from benchmarks import rows
from benchmarks.engines import Engine, Meter, Store, flush_disks
from benchmarks.pair import PROGRAM, Pair, Site, pair
from benchmarks.processes import Spent, cpu_s, memory_mib, reset_peak, run
from benchmarks.rows import Edit, Row
from benchmarks.spread import hops, hub
from benchmarks.starting import first_load, install, join_populated
from benchmarks.thin import cut_often, day, nothing_new, records

MIB = 1024 * 1024
EMPTY_SYNCS_MAX = 3  # their median is what starting a `sync` and finding nothing costs
TRICKLE_GAP_S = 0.05
TRICKLE_S_MAX = 10.0  # after the last row
POLL_S = 0.0005
IDLE_S = 20.0
REST_S = 5.0  # after some quiet the watcher looks less often


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done; what is not given follows from the rows of W1, as 100,000 has them."""

    rows: int = 100_000
    idle_s: float = IDLE_S

    @property
    def persons(self) -> int:
        return self.rows // 2

    @property
    def edits(self) -> int:
        return self.rows // 10

    @property
    def conflicts(self) -> int:
        return self.rows // 20

    @property
    def trickle(self) -> int:
        return min(200, max(2, self.rows // 500))

    @property
    def empty_syncs(self) -> int:
        return min(EMPTY_SYNCS_MAX, max(1, self.rows // 1_000))

    @property
    def singles(self) -> int:
        return self.rows // 5


@dataclass(slots=True)
class Line:
    """One line of the table: a figure of each run, and what it should be.

    Attributes:
        aim: The most it should be; None for what is only told.
    """

    workload: str
    what: str
    unit: str
    aim: float | None = None
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)


class Table:
    """The figures of all runs, in the order in which they first came."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], Line] = {}

    def put(
        self, workload: str, what: str, value: float, unit: str, aim: float | None = None
    ) -> None:
        line = self.lines.setdefault((workload, what), Line(workload, what, unit, aim))
        line.values.append(value)

    def ratio(
        self, workload: str, what: str, of: float, to: float, aim: float | None = None
    ) -> None:
        """`of` as so many times `to`; infinite where `to` was too short for the clock."""
        self.put(workload, what, of / to if to else inf, "x", aim)


Workload = Callable[[Engine, Path, Sizes, Table], None]


# W1 and W6


def catch_up(engine: Engine, folder: Path, sizes: Sizes, table: Table) -> None:
    """A wrote rows while off line; then one `sync` on B fetches them."""
    people = rows.persons(sizes.persons)
    findings = rows.observations(people, sizes.rows - sizes.persons)
    raw_s, raw_bytes = _raw_load(engine, people, findings)
    with pair(engine, folder) as sites:
        moved = _exchange(sites, sizes, lambda: sites.a.store.load(people, findings))
        for name in rows.COLUMNS:
            assert sites.b.store.rows(name) == sites.a.store.rows(name), f"{name} differs"
        put = table.put
        put("W1", "raw insert, CPU", raw_s, "s")
        put("W1", "exchange, CPU of A", moved.a_s, "s")
        put("W1", "exchange, CPU of B", moved.b_s, "s")
        if engine.name != "sqlite":
            put("W1", "exchange, CPU of the server", moved.server_s, "s")
        put("W1", "exchange, CPU", moved.cpu_s, "s")
        table.ratio("W1", "exchange / raw", moved.cpu_s, raw_s, _w1_aim(engine))
        put("W1", "wall", moved.wall_s, "s")
        put("W1", "on the wire", moved.link_bytes / 1e6, "MB", 5 * sizes.rows / 1e5)
        put("W1", "peak memory above idle, A", moved.a_peak_mib, "MiB", 150)
        put("W1", "peak memory above idle, B", moved.b_peak_mib, "MiB", 150)
        put("W6", "plain", raw_bytes / 1e6, "MB")
        for site, name in ((sites.a, "A"), (sites.b, "B")):
            size = site.store.bytes()
            put("W6", f"{name} / plain", size / raw_bytes, "x", 1.4)


def _w1_aim(engine: Engine) -> float:
    return 4.0 if engine.name == "sqlite" else 2.5


def _raw_load(engine: Engine, people: Sequence[Row], findings: Sequence[Row]) -> tuple[float, int]:
    store = engine.create("raw")
    flush_disks()
    meter = Meter(engine)
    store.load(people, findings)
    spent_s = meter.read_s()
    size = store.bytes()
    store.close()
    return spent_s, size


@dataclass(frozen=True, slots=True)
class Moved:
    """What one exchange cost: the same `sync` with nothing to do is taken off.

    Attributes:
        a_s, b_s, server_s: CPU time of A's `serve`, of B's `sync`, of the database server.
        a_peak_mib, b_peak_mib: Most memory, above what an idle one holds.
    """

    a_s: float
    b_s: float
    server_s: float
    wall_s: float
    link_bytes: int
    a_peak_mib: float
    b_peak_mib: float

    @property
    def cpu_s(self) -> float:
        return self.a_s + self.b_s + self.server_s


def _exchange(sites: Pair, sizes: Sizes, write: Callable[[], None]) -> Moved:
    """Let the application write while A stands still, then let A go on, and B ask.

    So what A must do about the writes is in the figures, and what the application and the
    triggers do is not.
    """
    empty = _empty_sync(sites, sizes)
    a = sites.a
    a.freeze()
    write()
    flush_disks()
    held_mib = memory_mib(a.pid, "VmRSS")
    reset_peak(a.pid)
    a_s, server_s, link_bytes = cpu_s(a.pid), sites.engine.server_s(), sites.link.bytes
    a.thaw()
    spent = sites.sync()
    a.wait_until_idle()
    return Moved(
        a_s=cpu_s(a.pid) - a_s,
        b_s=spent.cpu_s - empty.cpu_s,
        server_s=sites.engine.server_s() - server_s,
        wall_s=spent.wall_s - empty.wall_s,
        link_bytes=sites.link.bytes - link_bytes,
        a_peak_mib=a.peak_mib() - held_mib,
        b_peak_mib=spent.peak_mib - empty.peak_mib,
    )


def _empty_sync(sites: Pair, sizes: Sizes) -> Spent:
    empty = [sites.sync() for _ in range(sizes.empty_syncs)]
    return Spent(
        statistics.median(one.cpu_s for one in empty),
        statistics.median(one.wall_s for one in empty),
        statistics.median(one.peak_mib for one in empty),
        "",
    )


# W2 and W3


def edits(engine: Engine, folder: Path, sizes: Sizes, table: Table) -> None:
    """Both hold the persons; A changes one column in some of them."""
    _edits(engine, folder, sizes, table, "W2", sizes.persons)


def edits_large(engine: Engine, folder: Path, sizes: Sizes, table: Table) -> None:
    """The same edits in a table ten times as long."""
    _edits(engine, folder, sizes, table, "W2L", 10 * sizes.persons)


def _edits(
    engine: Engine, folder: Path, sizes: Sizes, table: Table, label: str, persons: int
) -> None:
    people = rows.persons(persons)
    changes = rows.edits(people, sizes.edits)
    raw_s = _raw_edit(engine, people, changes)
    with pair(engine, folder) as sites:
        _both_hold(sites, people)
        moved = _exchange(sites, sizes, lambda: sites.a.store.edit(changes))
        assert sites.b.store.rows("person") == sites.a.store.rows("person"), "persons differ"
        table.put(label, "raw updates, CPU", raw_s, "s")
        table.put(label, "exchange, CPU of A", moved.a_s, "s")
        table.put(label, "exchange, CPU of B", moved.b_s, "s")
        if engine.name != "sqlite":
            table.put(label, "exchange, CPU of the server", moved.server_s, "s")
        table.put(label, "exchange, CPU", moved.cpu_s, "s", 0.5)
        table.ratio(label, "exchange / raw", moved.cpu_s, raw_s)
        table.put(label, "wall", moved.wall_s, "s")
        table.put(label, "on the wire", moved.link_bytes / 1e6, "MB", 0.3)


def _raw_edit(engine: Engine, people: Sequence[Row], changes: Sequence[Edit]) -> float:
    store = engine.create("raw")
    store.load(people)
    flush_disks()
    meter = Meter(engine)
    store.edit(changes)
    spent_s = meter.read_s()
    store.close()
    return spent_s


def _both_hold(sites: Pair, people: Sequence[Row]) -> None:
    sites.a.store.load(people)
    sites.a.wait_until_idle()
    sites.sync()
    sites.a.wait_until_idle()


def conflict(engine: Engine, folder: Path, sizes: Sizes, table: Table) -> None:
    """Both change the same rows off line, half of them in the same column."""
    people = rows.persons(sizes.persons)
    here, there = rows.conflicts(people, sizes.conflicts)
    with pair(engine, folder) as sites:
        _both_hold(sites, people)

        def write() -> None:
            sites.a.store.edit(here)
            sites.b.store.edit(there)

        moved = _exchange(sites, sizes, write)
        table.put("W3", "exchange, CPU", moved.cpu_s, "s", 0.6)
        table.put("W3", "exchange, CPU of A", moved.a_s, "s")
        table.put("W3", "exchange, CPU of B", moved.b_s, "s")
        table.put("W3", "wall", moved.wall_s, "s")
        table.put("W3", "on the wire", moved.link_bytes / 1e6, "MB")
        _judge(sites, here, there, table)


def _judge(sites: Pair, here: Sequence[Edit], there: Sequence[Edit], table: Table) -> None:
    """What the two sites made of it; the judge knows only what was written."""
    at_a, at_b = sites.a.store.rows("person"), sites.b.store.rows("person")
    assert at_a == at_b, "the sites differ"
    names = [name for name in rows.PERSON if name != "id"]
    lost, both_kept = set(), 0
    for (person, column, mine), (_, other_column, theirs) in zip(here, there, strict=True):
        row = dict(zip(names, at_a[person], strict=True))
        if column != other_column:
            both_kept += str(row[column]) == str(mine) and str(row[other_column]) == str(theirs)
        else:
            assert row[column] in (mine, theirs), f"{person}: nobody wrote {row[column]}"
            lost.add(str(theirs if row[column] == mine else mine))
    separate = len(here) - len(lost)
    assert both_kept == separate, f"both columns kept in {both_kept} of {separate} rows"
    table.put("W3", "rows that kept both columns", both_kept, "rows")
    for site, name in ((sites.a, "A"), (sites.b, "B")):
        on_record = {conflict["lost"] for conflict in json.loads(_conflicts(site))}
        assert on_record == lost, f"{len(on_record & lost)} of {len(lost)} on record at {name}"
        table.put("W3", f"losers on record, {name}", len(on_record), "rows")


def _conflicts(site: Site) -> str:
    return site.command("conflicts", "--json").out


# W4 and what an idle daemon takes


def trickle(engine: Engine, folder: Path, sizes: Sizes, table: Table) -> None:
    """Two daemons; one row after the other, and how long until the other side shows it."""
    with pair(engine, folder) as sites:
        sites.b.start()
        first = 0
        for label, source, target in (
            ("A to B (B calls)", sites.a, sites.b),
            ("B to A", sites.b, sites.a),
        ):
            first += 1_000_000
            people = rows.persons(sizes.trickle, first=first)
            before = {site.pid: cpu_s(site.pid) for site in (source, target)}
            found_ms = delays_ms(source.store, target.store, people)
            spent_s = sum(cpu_s(pid) - was for pid, was in before.items())
            cuts = statistics.quantiles(found_ms, n=100, method="inclusive")
            table.put("W4", f"{label}, p50", cuts[49], "ms", 20)
            table.put("W4", f"{label}, p99", cuts[98], "ms")
            table.put("W4", f"{label}, CPU a row", spent_s * 1000 / len(people), "ms")
        time.sleep(min(REST_S, sizes.idle_s))
        before = {site.pid: cpu_s(site.pid) for site in (sites.a, sites.b)}
        server_s = engine.server_s()
        time.sleep(sizes.idle_s)
        for site, label in ((sites.a, "A"), (sites.b, "B")):
            share = 100 * (cpu_s(site.pid) - before[site.pid]) / sizes.idle_s
            table.put("idle", f"serve of {label}, CPU", share, "%", 1)
            table.put("idle", f"serve of {label}, memory", memory_mib(site.pid, "VmRSS"), "MiB")
        if engine.name != "sqlite":
            share = 100 * (engine.server_s() - server_s) / sizes.idle_s
            table.put("idle", "database server, CPU", share, "%")


def delays_ms(
    source: Store, target: Store, people: Sequence[Row], *, gap_s: float = TRICKLE_GAP_S
) -> list[float]:
    """From each row's commit until the other database shows it."""
    sql = f"SELECT 1 FROM person WHERE uuid={target.mark}"
    waiting: dict[str, float] = {}
    delays: list[float] = []

    def look_until(end_s: float, *, all_seen_ends: bool) -> None:
        while (now_s := time.perf_counter()) < end_s:
            for person, written_s in list(waiting.items()):
                if target.look(sql, person):
                    delays.append((time.perf_counter() - written_s) * 1000)
                    del waiting[person]
            if all_seen_ends and not waiting:
                return
            time.sleep(min(POLL_S, max(0.0, end_s - now_s)))

    due_s = time.perf_counter()
    for person in people:
        source.add(person)
        waiting[person[1]] = time.perf_counter()
        due_s += gap_s
        look_until(due_s, all_seen_ends=False)
    look_until(time.perf_counter() + TRICKLE_S_MAX, all_seen_ends=True)
    assert not waiting, f"{len(waiting)} rows never arrived"
    return delays


# W5


def capture(engine: Engine, folder: Path, sizes: Sizes, table: Table) -> None:
    """What the triggers cost the application, against none and against the least there could be."""
    singles, bulk = rows.persons(sizes.singles), rows.persons(sizes.rows)
    for label, one_by_one, people in (("one-row", True, singles), ("bulk", False, bulk)):
        spent = {
            kind: _written_s(engine, folder, kind, people, one_by_one=one_by_one)
            for kind in ("none", "bare", "capture")
        }
        aim = 1.3 if one_by_one else 1.4
        table.put("W5", f"{label}, no trigger, CPU", spent["none"], "s")
        table.put("W5", f"{label}, bare / no trigger", spent["bare"] / spent["none"], "x")
        table.put("W5", f"{label}, capture / no trigger", spent["capture"] / spent["none"], "x")
        table.put("W5", f"{label}, capture / bare", spent["capture"] / spent["bare"], "x", aim)


def _written_s(
    engine: Engine, folder: Path, kind: str, people: Sequence[Row], *, one_by_one: bool
) -> float:
    store = engine.create(f"capture_{kind}")
    if kind == "bare":
        store.run(*engine.bare)
    elif kind == "capture":
        config = folder / f"capture-{time.monotonic_ns()}" / "syncnode.toml"
        run([*PROGRAM, "init", "--database", store.url, "--name", "c", "--config", str(config)])
    flush_disks()
    meter = Meter(engine)
    if one_by_one:
        for person in people:
            store.add(person)
    else:
        store.load(people)
    spent_s = meter.read_s()
    store.close()
    return spent_s


# The small commands


def commands(engine: Engine, folder: Path, sizes: Sizes, table: Table) -> None:
    """What a person waits for who only asks."""
    with pair(engine, folder) as sites:
        sites.a.store.load(rows.persons(sizes.persons))
        sites.a.wait_until_idle()
        for _ in range(sizes.empty_syncs):
            table.put("commands", "--help, CPU", run([*PROGRAM, "--help"]).cpu_s, "s", 0.1)
            aim = 0.4 if engine.name == "sqlite" else 0.7
            table.put("commands", "status, CPU", sites.a.command("status").cpu_s, "s", aim)
            spent = sites.b.command("status", "--json")
            table.put("commands", "status --json, CPU", spent.cpu_s, "s", aim)


WORKLOADS: dict[str, Workload] = {
    "W1": catch_up,  # and W6
    "W2": edits,
    "W2L": edits_large,
    "W3": conflict,
    "W4": trickle,  # and idle
    "W5": capture,
    "commands": commands,
    "S1": install,
    "S2": first_load,
    "S3": join_populated,
    "L1": nothing_new,
    "L2": records,
    "L3": day,
    "L4": cut_often,
    "L5": hops,
    "L6": hub,
}
