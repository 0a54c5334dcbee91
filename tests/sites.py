"""Sites beside real databases, made in one line, and what they hold compared whole.

A `Site` is an application's own connection and the node's replica beside it. `sync` runs one
exchange and asks afterwards what must hold after every one: no alarm, and for each table the
kept sum equals one added up anew from all rows (rule B11). `same` asks whether sites hold the
same state, conflicts and, by `tables.dump`, the same rows.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exchanges import LinkBroken, exchange
from tables import Schema, Statement, create, dump, execute

from syncnode.identity.anchor import Anchor
from syncnode.operations.removal import uninstall
from syncnode.operations.site import initialise
from syncnode.replica import DatabaseReplica
from syncnode.schema.plan import UniqueRule
from syncnode.settings.config import Settings
from syncnode.settings.new_config import new_settings
from syncnode.store.database import Database
from syncproto.frontier import Frontier, VersionVector
from syncproto.identity import Origin, RowKey, SiteId
from syncproto.merge import merged
from syncproto.messages import Turn
from syncproto.row import EMPTY, Row
from syncproto.session import Finish
from syncproto.sums import SUM_MASK, sum_of

ROUNDS_MAX = 6  # two rounds let every pair meet; the others are for rows that were waiting
CHUNKS_MAX = 100_000

Place = tuple[str, RowKey]


@dataclass
class Site:
    """A database with its application's connection and the replica beside it.

    Attributes:
        connection: The application's own; each statement commits by itself.
        options: What `DatabaseReplica` is made with: clock, sizes of chunks and steps.
    """

    settings: Settings
    connection: Any
    replica: DatabaseReplica
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return Path(self.settings.database.partition(":///")[2])

    @property
    def id(self) -> SiteId:
        with self.replica.database.read() as tx:
            return SiteId(
                bytes.fromhex(tx.value("SELECT value FROM syncnode_setting WHERE name='site'"))
            )

    @property
    def origin(self) -> Origin:
        return self.replica.standing(self.id).origin

    def sql(self, text: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What the application says to its database; returns the rows of a SELECT."""
        return execute(self.connection, Statement(text, parameters))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self.sql("BEGIN")
        yield
        self.sql("COMMIT")

    def look(self, text: str, *parameters: object) -> list[tuple[Any, ...]]:
        """A question to the sidecar, in the node's connection."""
        with self.replica.database.read() as tx:
            return tx.rows(text, parameters)

    def reopen(self, **options: Any) -> None:
        """The node's process was killed and started again; `options` replace earlier ones."""
        self.replica.database.close()
        self.options |= options
        self.replica = _open(self.settings, self.options)

    def close(self) -> None:
        self.replica.close()
        self.connection.close()

    def uninstall(self) -> None:
        self.replica.close()
        uninstall(self.settings, force=True)

    # What it holds

    def state(self) -> dict[Place, Row]:
        """Every replicated row, deleted, parked and kept aside too: the delta from nothing."""
        empty = Frontier(dict.fromkeys(self.replica.standing(self.id).sums, VersionVector({})))
        rows: dict[Place, Row] = {}
        after = 0
        for _ in range(CHUNKS_MAX):
            chunk = self.replica.chunk(empty, after)
            for block in chunk.blocks:
                for key, row in block.rows():
                    place = (block.table, key)
                    rows[place] = merged(rows.get(place, EMPTY), row)
            if chunk.claim is not None:
                return rows
            after = chunk.upto
        raise AssertionError("the delta does not end")

    def conflicts(self) -> list[tuple[str, str, Any, Any]]:
        """(table, column, value that stands, value that lost) of all conflicts on record."""
        with self.replica.database.read() as tx:
            book = self.replica._load(tx)
            found = [(c.table, c.column, c.winning, c.losing) for c, _ in book.conflicts()]
        return sorted(found, key=lambda c: (*c[:2], *((type(v).__name__, v) for v in c[2:])))

    def conflict_names(self) -> set[bytes]:
        return {bytes(name) for (name,) in self.look("SELECT name FROM syncnode_conflict")}

    def parked(self) -> list[tuple[str, str | None]]:
        """(table, reason) of every parked row."""
        return self._hidden("parked")

    def held(self) -> list[tuple[str, str | None]]:
        return self._hidden("held")

    def altered(self) -> list[tuple[str, str | None]]:
        """(table, reason) of every row that is shown otherwise than it is replicated."""
        return self._hidden("altered")

    def _hidden(self, place: str) -> list[tuple[str, str | None]]:
        return self.look(
            "SELECT t.name, r.reason FROM syncnode_row r JOIN syncnode_table t ON t.id = r.tbl "
            f"WHERE r.place = '{place}' ORDER BY t.name, r.reason"
        )

    def check(self) -> None:
        """The kept sums are those of the rows, clocks stand beside rows, no line is left over.

        Raises:
            AssertionError: They are not, in the name of this site.
        """
        sums = dict.fromkeys(self.replica.standing(self.id).sums, 0)
        aside = {
            (number, bytes(key))
            for number, key in self.look(
                "SELECT tbl, row_key FROM syncnode_row WHERE place = 'aside'"
            )
        }
        if not aside:
            for (table, key), row in self.state().items():
                sums[table] = (sums[table] + sum_of(key, row)) & SUM_MASK
            kept = self.replica.standing(self.id).sums
            wrong = sorted(table for table, total in sums.items() if kept[table] != total)
            assert not wrong, f"the sums of {wrong} at {self.name} are not kept"
        for kept_table in self.replica.tables.values():
            if kept_table.plan.key_kind != "none":
                on = " AND ".join(f"c.{name} = t.{name}" for name in kept_table._pk)
                for one, other in ((kept_table.quoted, "clock"), (kept_table.clock_name, "row")):
                    two = kept_table.clock_name if other == "clock" else kept_table.quoted
                    sql = f"SELECT count(*) FROM {one} t LEFT JOIN {two} c ON {on}"
                    first = kept_table._pk[0]
                    kept = "".join(
                        f" AND t.{name} NOT IN ({', '.join(['{0}'] * len(values))})".replace(
                            "{0}", self.replica.database.dialect.mark
                        )
                        for name, values in kept_table.plan.local_rows
                        if other == "clock"
                    )
                    local = [value for _, values in kept_table.plan.local_rows for value in values]
                    ((bare,),) = self.look(
                        f"{sql} WHERE c.{first} IS NULL{kept}", *(local if kept else ())
                    )
                    assert bare == 0, f"{self.name}.{kept_table.name}: {bare} without a {other}"
            else:
                ((rows,),) = self.look(f"SELECT count(*) FROM {kept_table.quoted}")
                ((copies,),) = self.look(
                    "SELECT count(*) FROM syncnode_row WHERE place IN ('shown', 'altered') "
                    f"AND tbl={kept_table.number}"
                )
                told = f"{self.name}.{kept_table.name}: {rows} rows, {copies} copies"
                assert rows == copies, told
        if self.replica.database.dialect.name == "sqlite":
            assert self.look("SELECT applying FROM syncnode_flag") == [(0,)]
            assert self.sql("PRAGMA foreign_key_check") == []


def make_site(
    folder: Path,
    name: str,
    schema: Schema | Sequence[str],
    *,
    url: str | None = None,
    before: Callable[[Any], object] = lambda _connection: None,
    only: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    preset: str | None = None,
    **options: Any,
) -> Site:
    """A new site in a folder of its own; a SQLite file there unless `url` names a database.

    `before` writes what stands in the tables when `init` comes. `options` go to the replica.
    """
    place = folder / name
    place.mkdir(parents=True)
    address = url or f"sqlite:///{place / 'site.db'}"
    connection = connect(address, new=url is None)
    if isinstance(schema, Schema):
        create(connection, schema)
    else:
        for statement in schema:
            execute(connection, Statement(statement))
    before(connection)
    settings = new_settings(
        place / "syncnode.toml",
        name=name,
        database=address,
        only=only,
        exclude=exclude,
        preset=preset,
        environment={},
    )
    initialise(settings, dry_run=False, progress=lambda _text: None)
    return Site(settings, connection, _open(settings, options), options)


def _open(settings: Settings, options: Mapping[str, Any]) -> DatabaseReplica:
    return DatabaseReplica(Database(settings.database), Anchor(settings.anchor), **options)


def connect(url: str, *, new: bool = False) -> Any:
    """An application's connection that commits each statement by itself."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(
            url.partition(":///")[2], isolation_level=None, check_same_thread=False
        )
        if new:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")
        # The application may lose its last second in a power cut; tests gain most of theirs.
        connection.execute("PRAGMA synchronous = OFF")
        return connection
    if url.startswith("postgresql"):
        return _postgresql(url)
    import pymysql
    from sqlalchemy.engine import make_url

    parts = make_url(url)
    return pymysql.connect(
        host=parts.host or "127.0.0.1",
        port=parts.port or 3306,
        user=parts.username or "root",
        password=parts.password or "",
        database=parts.database,
        charset="utf8mb4",
        autocommit=True,
    )


def _postgresql(url: str) -> Any:
    import psycopg
    from psycopg.adapt import Dumper
    from psycopg.types.string import TextLoader

    class Number(Dumper):
        """Of no type, so that the same program can say 1 to a boolean column, too."""

        def dump(self, obj: Any) -> bytes:
            return str(obj).encode()

    class Padded(TextLoader):
        """A CHAR as the other engines show it: without the blanks that fill it."""

        def load(self, data: Any) -> Any:
            return str(super().load(data)).rstrip(" ")

    connection = psycopg.connect(url.replace("+psycopg", "", 1), autocommit=True)
    connection.adapters.register_dumper(int, Number)
    connection.adapters.register_loader("bpchar", Padded)
    return connection


def set_rule(site: Site, table: str, columns: Sequence[str], rule: UniqueRule) -> None:
    """What becomes of clashes in a unique key, as a preset would have said."""
    plan = site.replica.plan
    keys = tuple(
        replace(key, rule=rule) if key.columns == tuple(columns) else key
        for key in plan.by_name[table].unique_keys
    )
    assert keys != plan.by_name[table].unique_keys, f"no such key, or it has that rule: {columns}"
    tables = tuple(
        replace(one, unique_keys=keys) if one.name == table else one for one in plan.tables
    )
    with site.replica.database.write() as tx:
        tx.execute(
            f"UPDATE syncnode_setting SET value={tx.mark} WHERE name='plan'",
            (replace(plan, tables=tables).to_json(),),
        )
    site.reopen()


def one_network(*sites: Site) -> None:
    """Put all sites into the network of the first."""
    ((network,),) = sites[0].look("SELECT value FROM syncnode_setting WHERE name = 'network'")
    for site in sites[1:]:
        with site.replica.database.write() as tx:
            tx.execute(
                f"UPDATE syncnode_setting SET value={tx.mark} WHERE name='network'", (network,)
            )


def two_sites(folder: Path, schema: Schema | Sequence[str], **options: Any) -> tuple[Site, Site]:
    """Two empty sites in one network."""
    one = make_site(folder, "here", schema, **options)
    other = make_site(folder, "there", schema, **options)
    one_network(one, other)
    return one, other


@dataclass
class Exchanged:
    """What one exchange did: its end, and how many rows went each way."""

    finish: Finish | None
    sent: int = 0
    received: int = 0
    turns: int = 0


def sync(
    caller: Site,
    callee: Site,
    *,
    break_at: int | None = None,
    check: bool = True,
    alarms: tuple[str, ...] = (),
    each: Callable[[int, Turn], object] = lambda _number, _turn: None,
) -> Exchanged:
    """One exchange; with `break_at` the turn of that number, from 0, is lost and it ends.

    Raises:
        AssertionError: Sums are not kept, there are other alarms than expected, or an unbroken
            exchange is not complete.
    """
    done = Exchanged(None)

    def link(turn: Turn) -> Turn:
        number, done.turns = done.turns, done.turns + 1
        each(number, turn)
        if number == break_at:
            raise LinkBroken
        if turn.chunk is not None:
            if number % 2:
                done.received += turn.chunk.row_count
            else:
                done.sent += turn.chunk.row_count
        return turn

    try:
        done.finish = exchange(
            caller.replica,
            callee.replica,
            caller_site=caller.id,
            callee_site=callee.id,
            link=link,
        )
    except LinkBroken:
        done.finish = None
    if done.finish is not None:
        assert done.finish.complete, done.finish
        assert done.finish.alarms == alarms, done.finish
    if check:
        caller.check()
        callee.check()
    return done


def settle(*sites: Site, check: bool = True) -> None:
    """Exchange between all pairs, both ways, until a whole round moves nothing.

    Raises:
        AssertionError: They do not come to rest, or do not hold the same.
    """
    for _ in range(ROUNDS_MAX):
        moved = 0
        for caller in sites:
            for callee in sites:
                if caller is not callee:
                    done = sync(caller, callee, check=False)
                    moved += done.sent + done.received
        if not moved:
            break
    else:
        raise AssertionError("the sites do not come to rest")
    for site in sites:
        if check:
            site.check()
    same(*sites)


def same(*sites: Site, schema: Schema | None = None) -> None:
    """The sites hold the same of the tables that they share.

    Compared are the state of each row, cell by cell; frontiers, sums and conflicts; and with
    `schema` whole databases as queries show them.

    Raises:
        AssertionError: They do not, and what differs.
    """
    first, *others = sites
    here = first.replica.standing(first.id)
    state, names = first.state(), first.conflict_names()
    for other in others:
        there = other.replica.standing(other.id)
        shared = set(here.sums) & set(there.sums)
        theirs = other.state()
        for place in sorted({*state, *theirs}):
            if place[0] in shared:
                mine, yours = state.get(place), theirs.get(place)
                assert mine == yours, f"{place} is {mine} here and {yours} at {other.name}"
        for table in sorted(shared):
            ours, yours_too = here.frontier.vector(table), there.frontier.vector(table)
            assert ours.entries == yours_too.entries, f"the frontiers of {table} differ"
            if not (first.look(_ASIDE) or other.look(_ASIDE)):
                assert here.sums[table] == there.sums[table], f"the sums of {table} differ"
        if set(here.sums) == set(there.sums):
            assert other.conflict_names() == names, "other conflicts are on record"
        if schema is not None:
            same_rows(first, other, schema)


_ASIDE = "SELECT 1 FROM syncnode_row WHERE place = 'aside'"


def same_rows(one: Site, other: Site, schema: Schema, tables: Iterable[str] | None = None) -> None:
    """Both databases show the same, row by row, compared by identity and without our clocks."""
    names = list(tables) if tables is not None else None
    here, there = (dump(site.connection, schema, names) for site in (one, other))
    for table, lines in here.items():
        assert lines == there[table], (
            f"{table}: only {one.name}: {_only(lines, there[table])}; "
            f"only {other.name}: {_only(there[table], lines)}"
        )


def _only(lines: list[str], others: list[str]) -> list[str]:
    left = list(others)
    found = []
    for line in lines:
        if line in left:
            left.remove(line)
        else:
            found.append(line)
    return found
