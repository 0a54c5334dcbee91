"""`syncsim compare`: scenarios, merge rules and strategies side by side on the same seeds.

What people write and what befalls the sites is drawn from scenario and seed alone, so two rules
meet the same writes and the same misfortunes, seed by seed.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from syncnode.settings.toml_reader import meant
from syncproto.errors import ConfigError
from syncsim.cells import Cell
from syncsim.overrides import Overrides
from syncsim.run_folder import is_run_folder, read_record
from syncsim.scenario import Scenario

OURS = "ours"


def compared_cells(
    paths: Sequence[Path],
    seeds: Sequence[int],
    *,
    rules: Sequence[str] = (),
    choices: Sequence[str] = (),
    rivals: bool = False,
    fixed: Overrides,
) -> list[Cell]:
    """The cells of a comparison: files times rules times choices, each over all seeds.

    Args:
        paths: Scenario files, or folders of runs, whose scenario is taken.
        rules, choices: Names; empty for the scenario's own.
        rivals: Every rule with the scenario's choice, then our rule with every other choice.

    Raises:
        ConfigError: A file is broken, a name is unknown, or there is nothing to compare.
    """
    _refuse_unknown("--rules", rules, _rules())
    _refuse_unknown("--choices", choices, _choices())
    names = _names(paths)
    variants: list[tuple[str, Scenario]] = []
    for path, name in zip(paths, names, strict=True):
        scenario = _scenario(path, fixed)
        for rule, choice in _pairs(scenario, rules, choices, rivals=rivals):
            gossip = replace(scenario.gossip, rule=rule, choice=choice)
            variants.append((name, replace(scenario, gossip=gossip)))
    if len(variants) < 2:
        raise ConfigError(
            "there is nothing to compare; name two files, or add --rules, --choices or --rivals"
        )
    several_files = len(paths) > 1
    return [
        Cell(
            {
                **({"scenario": name} if several_files else {}),
                "rule": scenario.gossip.rule,
                "choice": scenario.gossip.choice,
            },
            scenario,
            seed,
        )
        for name, scenario in variants
        for seed in seeds
    ]


def _pairs(
    scenario: Scenario, rules: Sequence[str], choices: Sequence[str], *, rivals: bool
) -> list[tuple[str, str]]:
    own = scenario.gossip
    if not rivals:
        pairs = [
            (rule, choice) for rule in rules or [own.rule] for choice in choices or [own.choice]
        ]
    else:
        # Ours comes first: the others are compared with it.
        pairs = [(OURS, own.choice)]
        pairs += [(rule, own.choice) for rule in rules or _rules()]
        pairs += [(OURS, choice) for choice in choices or _choices()]
    return list(dict.fromkeys(pairs))


def _scenario(path: Path, fixed: Overrides) -> Scenario:
    if is_run_folder(path):
        if fixed:
            raise ConfigError(f"{path}: is a run, which --set cannot change; name its file")
        return read_record(path).scenario
    from syncsim.scenario_file import read_scenario

    return read_scenario(path, overrides=fixed)


def _names(paths: Sequence[Path]) -> list[str]:
    """What the files are called in the table: as short as they stay apart."""
    names = [
        path.resolve().stem if path.suffix == ".toml" else path.resolve().name for path in paths
    ]
    if len(set(names)) < len(names):
        names = [
            f"{path.resolve().parent.name}/{name}" for path, name in zip(paths, names, strict=True)
        ]
    if len(set(names)) < len(names):
        raise ConfigError("two of the files have one name, or are one; compare different ones")
    return names


def _rules() -> list[str]:
    from syncsim.rules import RULES

    return list(RULES)


def _choices() -> list[str]:
    from syncsim.strategies import CHOICES

    return list(CHOICES)


def _refuse_unknown(option: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(f"{option}: {name} is unknown; {meant(name, known)}")
