"""Plays worlds of the swarm with one bug in the code.

    python tests/simulations/planted/plant.py BUG CHECKER SEED...

Each seed gives a line of JSON: what each checker found, and the CPU seconds. It ends where CHECKER
has found something. Without a bug ("") the code runs as it is; without a checker ("") all seeds
are played.

The source tree stays as it is: the module is compiled from its changed text when it is imported,
so this process serves one bug and ends.
"""

import importlib.machinery
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).resolve().parents[3]
TREES = ("protocol", "node", "simulations", "tests/simulations")
sys.path[:0] = [str(ROOT / tree) for tree in TREES]

from planted.bugs import BUGS, Bug  # noqa: E402

ALARM = "alarm"  # not a checker: two sites found that their sums differ, and said so
ASSERTION = "assertion"  # nor is this: the code broke off by itself


class PlantError(Exception):
    """The text that a bug replaces does not stand in its module once."""


class Planter(MetaPathFinder):
    """Finds the module of a bug, with the bug in it."""

    def __init__(self, bug: Bug) -> None:
        self._bug = bug
        self._code = compile(broken(bug), str(ROOT / bug.module), "exec")
        self._name = ".".join(Path(bug.module).with_suffix("").parts[1:])

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        assert spec is not None, f"{self._bug.module} was read already"
        spec.loader = Broken(fullname, str(ROOT / self._bug.module), self._code)
        return spec


class Broken(importlib.machinery.SourceFileLoader):
    """Loads a module from code that is not that of its file."""

    def __init__(self, fullname: str, path: str, code: CodeType) -> None:
        super().__init__(fullname, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        assert fullname == self.name, "one module is broken"
        return self._code


def broken(bug: Bug) -> str:
    """The text of the module with the bug in it.

    Raises:
        PlantError: The module reads otherwise by now: plant the bug anew.
    """
    text = (ROOT / bug.module).read_text(encoding="utf-8")
    if text.count(bug.old) != 1:
        raise PlantError(f"{bug.old!r} stands {text.count(bug.old)} times in {bug.module}")
    return text.replace(bug.old, bug.new)


def findings(seed: int) -> Mapping[str, str]:
    """By checker, what it found at the end of the world of that seed."""
    from syncsim import run
    from syncsim.swarm import swarm

    try:
        finished = run(swarm(seed), seed)
    except AssertionError as error:
        return {ASSERTION: str(error)}
    found = {name: said for name, said in finished.results.verdicts.items() if said != "held"}
    if alarms := finished.counts.get("alarm"):
        found[ALARM] = f"{alarms} exchanges found unequal sums of equal frontiers"
    return found


def play(name: str, checker: str, seeds: Iterable[int]) -> None:
    if name:
        [bug] = [bug for bug in BUGS if bug.name == name]
        sys.meta_path.insert(0, Planter(bug))
    for seed in seeds:
        began_s = time.process_time()
        found = findings(seed)
        spent_s = round(time.process_time() - began_s, 2)
        print(json.dumps({"seed": seed, "found": found, "cpu_s": spent_s}), flush=True)
        if checker in found:
            break


if __name__ == "__main__":
    play(sys.argv[1], sys.argv[2], map(int, sys.argv[3:]))
