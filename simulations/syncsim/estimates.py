"""What many runs say together: means and shares over seeds, with confidence intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from syncsim.cells import Done
from syncsim.intervals import METHODS, Interval, mean, share
from syncsim.report.text import columns, duration, number, size
from syncsim.report.text import share as share_text

Results = Mapping[str, Any]
"""`Results.plain()`, as far as a cell keeps it."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a run.

    Attributes:
        name: Of its column in files, with the unit.
        words: Of its column on the screen.
        unit: "ms", "bytes", "count", or "share" for what is true or false of one run.
        shown: On the screen, too.
    """

    name: str
    words: str
    unit: str
    shown: bool = True

    def of(self, results: Results) -> float | None:
        """The figure of one run; None where it has none (never converged, not checked)."""
        if self.name == "converged":
            return float(results["converged_ms"] is not None)
        if self.name == "checks_held":
            verdicts = results["verdicts"].values()
            return float(all(verdict == "held" for verdict in verdicts)) if verdicts else None
        if self.name.startswith("staleness_"):
            place = ("p50", "p90", "p99", "max").index(self.name.split("_")[1])
            return float(results["staleness_ms"][place])
        value = results[self.name]
        return None if value is None else float(value)

    def over(self, runs: Sequence[Results]) -> Interval:
        """The estimate over the runs that have the figure."""
        values = [value for results in runs if (value := self.of(results)) is not None]
        if self.unit == "share":
            return share(round(sum(values)), len(values))
        return mean(values)

    def text(self, interval: Interval) -> str:
        """An estimate as tables show it: `12m ± 3m`, or `95 % [76, 99]` for a share."""
        if interval.middle is None:
            return "-"
        middle = self._written(interval.middle)
        if interval.low is None or interval.high is None:
            return middle
        if self.unit == "share":
            return f"{middle} [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"
        if interval.high == interval.low:
            return middle
        return f"{middle} ± {self._written((interval.high - interval.low) / 2)}"

    def difference(self, interval: Interval) -> str:
        """A mean of differences: `+12m ± 3m`; with `*` where the interval leaves out nothing."""
        if interval.middle is None:
            return "-"
        sign = "+" if interval.middle > 0 else "-" if interval.middle < 0 else ""
        text = f"{sign}{self._written(abs(interval.middle))}"
        if interval.low is None or interval.high is None:
            return text
        if interval.high > interval.low:
            text += f" ± {self._written((interval.high - interval.low) / 2)}"
        return f"{text} *" if interval.low > 0 or interval.high < 0 else text

    def _written(self, value: float) -> str:
        if self.unit == "ms":
            return duration(value)
        if self.unit == "bytes":
            return size(value)
        return share_text(value) if self.unit == "share" else number(value)


METRICS = (
    Metric("converged", "converged", "share"),
    Metric("converged_ms", "time to converge", "ms"),
    Metric("lost_updates", "lost updates", "count"),
    Metric("conflicts", "conflicts", "count"),
    Metric("bytes", "bytes", "bytes"),
    Metric("staleness_p50_ms", "staleness p50", "ms"),
    Metric("staleness_p90_ms", "staleness p90", "ms"),
    Metric("staleness_p99_ms", "p99", "ms", shown=False),
    Metric("staleness_max_ms", "greatest", "ms", shown=False),
    Metric("rounds", "exchanges", "count", shown=False),
    Metric("failures", "broken off", "count", shown=False),
    Metric("parked", "parked", "count", shown=False),
    Metric("writes", "writes", "count", shown=False),
    Metric("checks_held", "checks held", "share"),
)
NOTE = (
    f"{METHODS}, over the seeds; time to converge from the beginning of the quiet, over those "
    "that converged."
)
_PAIRED = [metric for metric in METRICS if metric.unit != "share" and metric.shown]


def runs_table(runs: Sequence[Done]) -> dict[str, list[Any]]:
    """A row per run: its label, its seed, its figures."""
    names = list(dict.fromkeys(name for run in runs for name in run.cell.label))
    table: dict[str, list[Any]] = {
        name: [run.cell.label.get(name) for run in runs] for name in names
    }
    table["seed"] = [run.cell.seed for run in runs]
    for metric in METRICS:
        table[metric.name] = [_exact(metric.of(run.results)) for run in runs]
    table["trace"] = [run.results["trace"] for run in runs]
    return table


def summary_table(runs: Sequence[Done]) -> dict[str, list[Any]]:
    """A row per label: how many seeds, and each figure with its interval."""
    groups = grouped(runs)
    labels = [dict(label) for label in groups]
    table: dict[str, list[Any]] = {
        name: [label[name] for label in labels] for name in (labels[0] if labels else ())
    }
    table["seeds"] = [len(group) for group in groups.values()]
    for metric in METRICS:
        estimates = [metric.over(_results(group)) for group in groups.values()]
        table[metric.name] = [estimate.middle for estimate in estimates]
        table[f"{metric.name}_low"] = [estimate.low for estimate in estimates]
        table[f"{metric.name}_high"] = [estimate.high for estimate in estimates]
    return table


def summary_text(runs: Sequence[Done]) -> str:
    """`summary_table` for a screen."""
    groups = grouped(runs)
    if not groups:
        return "no run came to its end"
    names = [name for name, _ in next(iter(groups))]
    shown = [metric for metric in METRICS if metric.shown]
    rows = [
        (
            *(str(value) for _, value in label),
            str(len(group)),
            *(metric.text(metric.over(_results(group))) for metric in shown),
        )
        for label, group in groups.items()
    ]
    headers = (*names, "seeds", *(metric.words for metric in shown))
    return columns(headers, rows, left=len(names))


def differences_text(runs: Sequence[Done]) -> str:
    """Each label against the first one, seed by seed; "" where there is only one.

    Differences of the same seed leave out what the seeds have in common, so they tell apart what
    the intervals of the means cannot.
    """
    groups = list(grouped(runs).items())
    if len(groups) < 2:
        return ""
    (_, first), *others = groups
    base = {run.cell.seed: run.results for run in first}
    names = [name for name, _ in groups[0][0]]
    rows = []
    for label, group in others:
        pairs = [(run.results, base[run.cell.seed]) for run in group if run.cell.seed in base]
        cells = []
        for metric in _PAIRED:
            values = [(metric.of(one), metric.of(other)) for one, other in pairs]
            differences = [
                one - other for one, other in values if one is not None and other is not None
            ]
            cells.append(metric.difference(mean(differences)))
        rows.append((*(str(value) for _, value in label), str(len(pairs)), *cells))
    headers = (*names, "seeds", *(metric.words for metric in _PAIRED))
    return columns(headers, rows, left=len(names))


def plain_summary(runs: Sequence[Done]) -> dict[str, Any]:
    """`summary_table` and `runs_table` for JSON."""
    return {"method": NOTE, "summary": summary_table(runs), "runs": runs_table(runs)}


def grouped(runs: Sequence[Done]) -> dict[tuple[tuple[str, Any], ...], list[Done]]:
    """The runs by label, in the order in which the labels first appear."""
    groups: dict[tuple[tuple[str, Any], ...], list[Done]] = {}
    for run in runs:
        label = tuple((name, _hashable(value)) for name, value in run.cell.label.items())
        groups.setdefault(label, []).append(run)
    return groups


def _results(group: Sequence[Done]) -> list[Results]:
    return [run.results for run in group]


def _hashable(value: Any) -> Any:
    return str(value) if isinstance(value, list | dict) else value


def _exact(value: float | None) -> float | int | None:
    """Counts and lengths of time are whole numbers in files."""
    return int(value) if value is not None and value == int(value) else value
