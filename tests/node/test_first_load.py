"""A first load: its steps are as long as they may be, and its rows find each other at once."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from mariadb_sites import maker, run
from servers import PostgreSQL
from sites import settle, sync, two_sites

from syncproto.identity import RowKey

PERSON = "CREATE TABLE person (id INTEGER PRIMARY KEY, uuid CHAR(36) NOT NULL UNIQUE)"
CHUNK_ROWS, STEP_ROWS = 3, 10


def test_a_step_takes_as_many_chunks_as_it_may(tmp_path: Path) -> None:
    here, there = two_sites(tmp_path, (PERSON,))
    here.reopen(chunk_bytes_max=250, rows_first=CHUNK_ROWS)
    there.reopen(apply_rows_max=STEP_ROWS)
    for number in range(60):
        here.sql("INSERT INTO person (uuid) VALUES (?)", name(number))
    counts = [0]
    real = there.replica._take_step

    def counted(*arguments: Any) -> None:
        real(*arguments)
        counts.append(int(there.sql("SELECT count(*) FROM person")[0][0]))

    there.replica.__dict__["_take_step"] = counted
    done = sync(here, there)
    grown = [after - before for before, after in pairwise(counts)]
    assert counts[-1] == 60
    assert max(grown) <= STEP_ROWS + CHUNK_ROWS
    assert len(grown) < done.turns / 2, "several chunks in a step"
    settle(here, there)


TEXTS = ("CHAR(36)", "CHAR(38)", "VARCHAR(38)", "TEXT", "UUID")


@pytest.mark.postgresql
def test_postgresql_finds_rows_by_the_index_of_their_names(
    tmp_path: Path, postgresql: PostgreSQL
) -> None:
    columns = "(id INTEGER PRIMARY KEY {auto}, uuid %s NOT NULL UNIQUE)"
    schema = [f"CREATE TABLE t{n} {columns % text}" for n, text in enumerate(TEXTS)]
    names = [name(number) for number in range(100)]
    keys = [RowKey(bytes.fromhex(one.replace("-", ""))) for one in names]
    rows = ", ".join(f"('{one}')" for one in names)
    for make in maker(tmp_path, None, postgresql):
        (here,) = make(tuple(schema), "postgresql")
        for n in range(len(TEXTS)):
            run(here, f"INSERT INTO t{n} (uuid) VALUES {rows}")
        here.replica.seal()
        with here.replica.database.read() as tx:
            tx.execute("SET LOCAL enable_seqscan=off")
            for plan in here.replica.plan.tables:
                ids = dict(run(here, f"SELECT CAST(uuid AS text), id FROM {plan.name}"))
                wanted = {key: (ids[one],) for key, one in zip(keys[::2], names[::2], strict=True)}
                found = here.replica.tables[plan.number].find(tx, [*keys[::2], RowKey(bytes(16))])
                assert found == wanted, plan.name
                where, params = tx.dialect.among(plan.column("uuid"), "uuid", names[:2])
                how = tx.rows(f"EXPLAIN SELECT 1 FROM {plan.name} WHERE {where}", params)
                assert "Index Cond" in str(how), plan.name


def name(number: int) -> str:
    return f"{number:08}-0000-4000-8000-{number:012}"
