"""The folder of one run: made whole or not at all, and enough to replay it.

    run.json        scenario as values and as text, seed, level, overrides, versions
    results.json    `Results`, all of it
    trace.txt.gz    one line per protocol event
    *.csv, *.parquet, *.png, *.svg, report.html

The same scenario, seed and version give the same bytes in every file.
"""

import gzip
import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from syncproto.errors import ConfigError, SyncError
from syncsim import versions
from syncsim.plain import plain_scenario, scenario_of
from syncsim.results import Results, results_of
from syncsim.scenario import Scenario

RUN_FILE = "run.json"
RESULTS_FILE = "results.json"
TRACE_FILE = "trace.txt.gz"

_FORMAT = 1
_GZIP_LEVEL = 3  # half the time of the default, and a tenth more bytes


@dataclass(frozen=True, slots=True)
class Record:
    """What is needed to replay a run.

    Attributes:
        overrides: What `--set` changed, by key; the scenario has it in it already.
        version, code, python: Of what made the run (`versions.py`).
        trace: SHA-256 of its trace.
    """

    scenario: Scenario
    seed: int
    level: str
    overrides: Mapping[str, Any]
    version: str
    code: str
    python: str
    trace: str

    @classmethod
    def of(cls, scenario: Scenario, results: Results, overrides: Mapping[str, Any]) -> "Record":
        """The record of a run that this process has made."""
        return cls(
            scenario,
            results.seed,
            results.level,
            overrides,
            versions.version(),
            versions.code_digest(),
            versions.python_version(),
            results.trace,
        )


def json_text(plain: object) -> str:
    """One JSON document, the same bytes for the same values: keys sorted, ASCII, no NaN."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n"


def refuse_other_folder(folder: Path, *, force: bool, mark: str = RUN_FILE) -> None:
    """Refuse to write over what is there, unless it is a run and `force` says so.

    Raises:
        ConfigError: The folder is taken.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / mark).is_file():
        raise ConfigError(f"{folder}: is there already and holds no run; name another folder")
    if not force:
        raise ConfigError(f"{folder}: holds another run; name another folder, or add --force")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `folder` at the end, or vanishes after an error.

    What `folder` was before stays until then (see `refuse_other_folder`).
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        made = staging / "made"
        made.mkdir()
        yield made
        if folder.exists():
            folder.rename(staging / "replaced")
        made.rename(folder)
    finally:
        shutil.rmtree(staging)


@contextmanager
def trace_file(folder: Path) -> Iterator[TextIO]:
    """The compressed trace of a run, to write to; without a name or a time in it."""
    with (
        (folder / TRACE_FILE).open("wb") as file,
        gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
    ):
        yield text


def write_record(folder: Path, record: Record, results: Results) -> None:
    """Write `run.json` and `results.json`."""
    plain = {
        "format": _FORMAT,
        "scenario": plain_scenario(record.scenario),
        "seed": record.seed,
        "level": record.level,
        "overrides": dict(record.overrides),
        "version": record.version,
        "code": record.code,
        "python": record.python,
        "trace": record.trace,
    }
    (folder / RUN_FILE).write_text(json.dumps(plain, sort_keys=True, indent=1) + "\n")
    (folder / RESULTS_FILE).write_text(json_text(results.plain()))


def is_run_folder(path: Path) -> bool:
    return (path / RUN_FILE).is_file()


def read_record(folder: Path) -> Record:
    """The record of the run in `folder`.

    Raises:
        ConfigError: It holds no run, or one that this version cannot read.
    """
    path = folder / RUN_FILE
    if not path.is_file():
        raise ConfigError(f"{folder}: holds no run; name a folder that `syncsim run --out` made")
    plain = read_json(path)
    try:
        if plain.pop("format") != _FORMAT:
            raise ConfigError(f"{path}: is of another version; replay it with that one")
        return Record(**{**plain, "scenario": scenario_of(plain["scenario"])})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: is damaged ({error})") from error


def read_results(folder: Path) -> Results:
    """The results of the run in `folder`.

    Raises:
        ConfigError: They are missing or damaged.
    """
    path = folder / RESULTS_FILE
    try:
        return results_of(read_json(path))
    except (KeyError, TypeError) as error:
        raise ConfigError(f"{path}: is damaged ({error})") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ConfigError: The file is missing, or holds no object.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is no JSON ({error})") from error
    if not isinstance(plain, dict):
        raise ConfigError(f"{path}: holds no JSON object")
    return plain


class NotInstalledError(SyncError):
    """An optional package is asked for and not there: the text says how to get it."""


def lacks(package: str, extra: str, what: str) -> str:
    """Why `what` is left out, and how to get it."""
    return f"{what}: left out, {package} is not installed (pip install 'syncnode[{extra}]' gets it)"
