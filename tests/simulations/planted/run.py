"""Plants each bug and plays worlds of the swarm until its checker has found it.

    python tests/simulations/planted/run.py              all bugs; status 1 if one is not found
    python tests/simulations/planted/run.py --seeds 50   in so many worlds, 200 otherwise
    python tests/simulations/planted/run.py --only aside those with this word in their name
    python tests/simulations/planted/run.py --jobs 8     so many processes, 2 otherwise
    python tests/simulations/planted/run.py --table      the table of README.md, and nothing else

Worlds are played from seed 0 on. The source tree is left as it is.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from planted.bugs import BUGS, Bug

PLANT = Path(__file__).with_name("plant.py")
WORLD_S_MAX = 60  # on a busy machine; most take a tenth of a second


class Played(NamedTuple):
    """One world.

    Attributes:
        found: By checker, what it found.
        cpu_s: How long it took.
    """

    seed: int
    found: dict[str, str]
    cpu_s: float


def played(name: str, checker: str, seeds: Sequence[int]) -> list[Played]:
    """The worlds of these seeds with that bug, up to the first in which the checker finds it.

    Raises:
        RuntimeError: The bug could not be planted, or the code broke in another way than by an
            assertion.
    """
    done = subprocess.run(
        [sys.executable, str(PLANT), name, checker, *map(str, seeds)],
        capture_output=True,
        text=True,
        timeout=WORLD_S_MAX * len(seeds),
        check=False,
    )
    if done.returncode:
        what = f"{name or 'without a bug'}: status {done.returncode}"
        raise RuntimeError(f"{what}: {done.stderr.strip()[-1_000:]}")
    return [Played(**json.loads(line)) for line in done.stdout.splitlines()]


def row(bug: Bug, worlds: Sequence[Played]) -> str:
    """A line of the table that is printed."""
    last, cpu_s = worlds[-1], sum(world.cpu_s for world in worlds)
    caught = bug.checker in last.found
    by = ", ".join(sorted(last.found)) if caught else f"NOT CAUGHT by {bug.checker}"
    seed = str(last.seed) if caught else "-"
    return f"{bug.name:<84} {by:<56} {seed:>5} {len(worlds):>6} {cpu_s:>7.1f} s"


def table() -> str:
    """The table of README.md."""
    lines = ["| bug | rule | module | checker | seed |", "| --- | --- | --- | --- | --- |"]
    for bug in BUGS:
        module = f"`{Path(bug.module).name}`"
        lines.append(f"| {bug.name} | {bug.rule} | {module} | {bug.checker} | {bug.seed} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", metavar="NAME")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args(arguments)
    if options.table:
        print(table())
        return 0
    chosen = [bug for bug in BUGS if options.only in bug.name]
    print(f"{'bug':<84} {'caught by':<56} {'seed':>5} {'worlds':>6} {'CPU':>9}")
    survivors = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        tried = pool.map(lambda bug: played(bug.name, bug.checker, range(options.seeds)), chosen)
        for bug, worlds in zip(chosen, tried, strict=True):
            survivors += bug.checker not in worlds[-1].found
            print(row(bug, worlds), flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
