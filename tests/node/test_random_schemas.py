"""Random schemas on random engines: random SQL on all sides, links that break, nodes that start
again, then the same rows.

`run` is one story from one seed. A seed that failed once stays below as a test of its own,
with what it taught.
"""

import random
from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from random_schemas import random_schema, write
from servers import MariaDB, PostgreSQL
from sites import Site, make_site, one_network, same_rows, settle, sync

SEEDS = 60
ROUNDS = (3, 9)
NAMES = ("here", "there", "third")
ENGINES = ("mysql", "postgresql", "sqlite")
PAIRS = [pair for pair in combinations_with_replacement(ENGINES, 2) if pair != ("sqlite",) * 2]
SEEDS_OF_PAIRS = 10


UrlOf = Callable[[str], str | None]


def in_a_file(_name: str) -> None:
    """No URL: the site has a SQLite file of its own."""


def run(seed: int, folder: Path, url_of: UrlOf = in_a_file) -> list[Site]:
    """Write, exchange, break off and restart at random, then heal. `url_of` says of a site by its
    name where its database is.

    Raises:
        AssertionError: The sites differ after the quiet.
    """
    draw = random.Random(seed)
    schema = random_schema(draw)
    sites = [
        make_site(
            folder,
            name,
            schema,
            url=url_of(name),
            before=lambda connection: write(connection, schema, draw, draw.choice([0, 5])),
            chunk_bytes_max=draw.choice([1, 300, 3_000, 1 << 20]),
            rows_first=draw.choice([1, 5, 4_000]),
            apply_rows_max=draw.choice([1, 5, 50_000, 50_000]),
        )
        for name in NAMES[: draw.choice([2, 2, 3])]
    ]
    one_network(*sites)
    try:
        for _ in range(draw.randint(*ROUNDS)):
            for site in draw.sample(sites, draw.randint(1, len(sites))):
                write(site.connection, schema, draw, draw.randint(1, 6))
            caller, callee = draw.sample(sites, 2)
            sync(caller, callee, break_at=draw.choice([None, None, 0, 1, 2, 3, 5]))
            if draw.random() < 0.1:
                draw.choice(sites).reopen()
        settle(*sites)
        if not any(site.parked() for site in sites):
            for other in sites[1:]:
                same_rows(sites[0], other, schema)
    finally:
        for site in sites:
            site.close()
    return sites


@pytest.mark.parametrize("part", range(4))
def test_sites_with_random_schemas_end_with_the_same_rows(
    part: int, seeds: int, tmp_path: Path
) -> None:
    count = SEEDS * seeds // 4
    for seed in range(part * count, (part + 1) * count):
        try:
            run(seed, tmp_path / str(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


def test_rows_without_a_key_below_a_number_that_is_given_again(tmp_path: Path) -> None:
    run(402, tmp_path)


@pytest.fixture
def place(mariadb: MariaDB, postgresql: PostgreSQL) -> Iterator[Callable[[int], UrlOf]]:
    """By seed, where the sites of a run are: every pair in turn, and a third on any engine."""
    made: set[str] = set()

    def of(seed: int) -> UrlOf:
        pair = list(PAIRS[seed % len(PAIRS)])
        random.Random(seed).shuffle(pair)
        engines = dict(zip(NAMES, (*pair, ENGINES[seed % len(ENGINES)]), strict=True))

        def url_of(name: str) -> str | None:
            if engines[name] == "mysql":
                made.add(name)
                return mariadb.create_database(name)
            return postgresql.create_database(name) if engines[name] == "postgresql" else None

        return url_of

    yield of
    for name in made:
        mariadb.execute(f"DROP DATABASE {name}")


def test_sites_on_random_engines_end_with_the_same_rows(
    place: Callable[[int], UrlOf], seeds: int, tmp_path: Path
) -> None:
    for seed in range(SEEDS_OF_PAIRS * seeds):
        try:
            run(seed, tmp_path / str(seed), place(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise


def main() -> None:
    """Search from a seed on, without pytest: `python test_random_schemas.py FROM COUNT`."""
    import sys
    import traceback

    first, count = (int(text) for text in sys.argv[1:3])
    for seed in range(first, first + count):
        with TemporaryDirectory(dir="/dev/shm") as folder:
            try:
                run(seed, Path(folder))
            except Exception as error:
                trace = traceback.extract_tb(error.__traceback__)
                where = " < ".join(f"{f.name}:{f.lineno}" for f in reversed(trace[-4:]))
                print(f"seed {seed}: {type(error).__name__} {str(error)[:300]} [{where}]")


if __name__ == "__main__":
    main()
