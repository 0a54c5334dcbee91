"""Breaks the code on purpose, one break at a time, and requires the named test to fail.

    python tests/mutants/run.py            all mutants; status 1 if one survives
    python tests/mutants/run.py aside      those with this word in their name

The source tree is copied, so the tree that you work in stays as it is.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from mutants.list import MUTANTS, Mutant  # noqa: E402

TREES = ("protocol", "node", "simulations", "tests")
TEST_S_MAX = 300
PYTEST = ("-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider")
TESTS_FAILED = 1  # pytest's status; any other failure is no catch


def copied(where: Path) -> Path:
    """A copy of what a test needs."""
    for tree in TREES:
        ignored = shutil.ignore_patterns("__pycache__", ".hypothesis")
        shutil.copytree(ROOT / tree, where / tree, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", where)
    return where


def status(root: Path, tests: str) -> int:
    """What pytest says of these tests in that tree."""
    path = os.pathsep.join(str(root / tree) for tree in TREES)
    done = subprocess.run(
        [sys.executable, *PYTEST, *tests.split()],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        timeout=TEST_S_MAX,
        check=False,
    )
    return done.returncode


def verdict(mutant: Mutant) -> str:
    """ "" if the mutant is caught, otherwise what is wrong."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = copied(Path(folder))
        module = root / mutant.module
        text = module.read_text()
        if text.count(mutant.old) != 1:
            return f"{mutant.old!r} stands {text.count(mutant.old)} times in {mutant.module}"
        module.write_text(text.replace(mutant.old, mutant.new))
        found = status(root, mutant.test)
    return "" if found == TESTS_FAILED else f"not caught by {mutant.test} (pytest says {found})"


def healthy(mutants: Sequence[Mutant]) -> bool:
    """Whether the tests pass as long as nothing is broken."""
    tests = " ".join(sorted({test for mutant in mutants for test in mutant.test.split()}))
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        return status(copied(Path(folder)), tests) == 0


def main(words: Sequence[str]) -> int:
    chosen = [m for m in MUTANTS if all(word in m.name for word in words)]
    if not healthy(chosen):
        print("the tests fail without any break: mend that first", file=sys.stderr)
        return 1
    with ThreadPoolExecutor(max_workers=2) as pool:
        verdicts = list(pool.map(verdict, chosen))
    for mutant, wrong in zip(chosen, verdicts, strict=True):
        print(f"{'SURVIVES' if wrong else 'caught  '}  {mutant.name}{wrong and ': ' + wrong}")
    survivors = sum(map(bool, verdicts))
    print(f"{len(chosen) - survivors} of {len(chosen)} caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
