"""Runs worlds of the swarm with one bug planted in the code that is under test.

    python tests/simulations/planted/plant.py NAME SEED...

Without a name (an empty text) nothing is planted. For each seed a line of JSON goes to standard
output: which checkers caught something, and what they said. The source tree is left as it is:
the one module is compiled from the changed text as it is imported, so a process is broken for
good and serves one bug only.
"""

import importlib.abc
import importlib.machinery
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[3]
TREES = ("protocol", "node", "simulations")
sys.path[:0] = [str(ROOT / tree) for tree in TREES]
sys.path.insert(0, str(ROOT / "tests" / "simulations"))

from planted.bugs import BUGS, Bug  # noqa: E402

ALARM = "alarm"  # two sites with equal frontiers found that their sums differ
ASSERTION = "assertion"  # the code broke off by itself


class PlantError(Exception):
    """The text to be replaced does not stand in the module once, and once only."""


class Planter(importlib.abc.MetaPathFinder):
    """Finds the module of a bug, with the bug in it."""

    def __init__(self, bug: Bug) -> None:
        self._bug = bug
        path = Path(bug.module)
        self._name = ".".join(path.with_suffix("").parts[1:])

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        assert spec is not None, f"{self._bug.module} is there"
        spec.loader = Broken(fullname, str(ROOT / self._bug.module), self._bug)
        return spec


class Broken(importlib.machinery.SourceFileLoader):
    """Compiles a module from its text with the bug in it, past every cache."""

    def __init__(self, fullname: str, path: str, bug: Bug) -> None:
        super().__init__(fullname, path)
        self._bug = bug

    def get_code(self, fullname: str) -> CodeType:
        return compile(broken(self._bug), self.path, "exec")


def broken(bug: Bug) -> str:
    """The text of the module with the bug in it.

    Raises:
        PlantError: The module reads otherwise by now: write the bug anew.
    """
    text = (ROOT / bug.module).read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        raise PlantError(f"{bug.old!r} stands {text.count(bug.old)} times in {bug.module}")
    return text.replace(bug.old, bug.new)


def caught(seed: int) -> dict[str, str]:
    """What the world of that seed ends with: by checker, what it found."""
    from syncsim.swarm import swarm
    from syncsim.world import run_sites

    try:
        run = run_sites(swarm(seed), seed)
    except Exception as error:  # whatever a bug makes of it
        return {ASSERTION: f"{type(error).__name__}: {error}"}
    found = {name: said for name, said in run.results.verdicts.items() if said != "held"}
    if alarms := run.counts.get(ALARM):
        found[ALARM] = f"{alarms} exchanges ended with unequal sums of equal frontiers"
    return found


def main(name: str, seeds: Iterable[int]) -> None:
    if name:
        [bug] = [bug for bug in BUGS if bug.name == name]
        broken(bug)  # before anything runs: fails loudly where the text is not there
        sys.meta_path.insert(0, Planter(bug))
    for seed in seeds:
        began_s = time.process_time()
        found = caught(seed)
        line = {"seed": seed, "caught": found, "cpu_s": round(time.process_time() - began_s, 2)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], map(int, sys.argv[2:]))
