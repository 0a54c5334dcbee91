"""A few mutants in every run; `run.py` beside this file tries all of them."""

import runpy
from pathlib import Path

import pytest

RUN = runpy.run_path(str(Path(__file__).with_name("run.py")))
MUTANTS, verdict = RUN["MUTANTS"], RUN["verdict"]
FEW = (
    "the last arrival wins",
    "apply: a claim is taken without its base (A9)",
    "seal: what comes due comes in before the journal (A10)",
)


def test_every_mutant_has_a_name_of_its_own_and_still_fits() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
    root = Path(__file__).parents[2]
    for mutant in MUTANTS:
        assert (root / mutant.module).read_text().count(mutant.old) == 1, mutant.name


@pytest.mark.parametrize("name", FEW)
def test_a_break_on_purpose_is_caught(name: str) -> None:
    [mutant] = [mutant for mutant in MUTANTS if mutant.name == name]
    assert verdict(mutant) == ""
