"""Plots for papers, as PNG and SVG, where matplotlib is there.

The same values give the same bytes with the same matplotlib: no dates, no random names in the
SVG, and no settings of the user's `matplotlibrc`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncsim.report.text import duration, scaled_words
from syncsim.results import AGE_BOUNDS_MS, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DOTS_PER_INCH = 200
WIDTH_INCHES, HEIGHT_INCHES = 5.0, 3.2  # a column of a paper

_UNITS_MS = {"days": 86_400_000, "hours": 3_600_000, "minutes": 60_000, "seconds": 1_000, "ms": 1}
_METADATA: Mapping[str, dict[str, Any]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "syncsim"},
}


def installed() -> bool:
    """Whether plots can be made here."""
    return find_spec("matplotlib") is not None


def write_plots(folder: Path, results: Results) -> list[str]:
    """Write each plot of a run as PNG and SVG; the names of the files.

    Raises:
        ImportError: matplotlib is not there (see `installed`).
    """
    written: list[str] = []
    for name, draw in _PLOTS.items():
        written += _write(folder, name, lambda axes, draw=draw: draw(axes, results))  # type: ignore[misc]
    return written


@dataclass(frozen=True, slots=True)
class Estimate:
    """One line of a comparison: a mean or share with its interval, None where there is none."""

    label: str
    middle: float | None
    low: float | None
    high: float | None


def write_comparison(
    folder: Path, name: str, words: str, unit: str, estimates: Sequence[Estimate]
) -> list[str]:
    """Write one figure of many runs, a line for each label, as PNG and SVG; the names.

    Args:
        words: What the figure is.
        unit: "ms", "bytes" or "count"; "share" is drawn as per cent.

    Raises:
        ImportError: matplotlib is not there (see `installed`).
    """
    factor, unit_words = _unit(unit, estimates)

    def draw(axes: "Axes") -> None:
        for place, estimate in enumerate(reversed(estimates)):
            if estimate.middle is None:
                continue
            if estimate.low is not None and estimate.high is not None:
                ends = [estimate.low * factor, estimate.high * factor]
                axes.plot(ends, [place, place], color="tab:blue", linewidth=2)
            axes.plot([estimate.middle * factor], [place], "o", color="tab:blue")
        axes.set_yticks(range(len(estimates)), [line.label for line in reversed(estimates)])
        axes.set_ylim(-0.5, len(estimates) - 0.5)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"{words}{unit_words}, 95 % CI")

    return _write(folder, name, draw, height=1.0 + 0.32 * len(estimates))


def _unit(unit: str, estimates: Sequence[Estimate]) -> tuple[float, str]:
    """What the values are multiplied by, and how the axis calls the outcome."""
    if unit == "share":
        return 100.0, " (%)"
    if unit == "bytes":
        return 1e-6, " (MB)"
    if unit != "ms":
        return 1.0, ""
    greatest = max((line.middle for line in estimates if line.middle is not None), default=0.0)
    name, length_ms = next(
        (name, length_ms)
        for name, length_ms in _UNITS_MS.items()
        if greatest >= 2 * length_ms or name == "ms"
    )
    return 1 / length_ms, f" ({name})"


def _write(
    folder: Path, name: str, draw: Callable[["Axes"], None], *, height: float = HEIGHT_INCHES
) -> list[str]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = []
    with _own_settings():
        figure = Figure(figsize=(WIDTH_INCHES, height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.grid(alpha=0.3)
        draw(axes)
        for kind, metadata in _METADATA.items():
            names.append(f"{name}.{kind}")
            figure.savefig(folder / names[-1], format=kind, dpi=DOTS_PER_INCH, metadata=metadata)
    return names


@contextmanager
def _own_settings() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {"svg.hashsalt": "syncsim", "font.size": 9, "axes.titlesize": 9, "legend.fontsize": 8}
        )
        yield


def _against_time(axes: "Axes", results: Results) -> list[float]:
    """The times in the unit that suits the run; the axis is named and the quiet is shaded."""
    ends_ms = results.times_ms[-1]
    unit_ms, unit = next(
        (length_ms, name)
        for name, length_ms in _UNITS_MS.items()
        if ends_ms >= 3 * length_ms or name == "ms"
    )
    times = [time_ms / unit_ms for time_ms in results.times_ms]
    if results.faults_ms < ends_ms:
        axes.axvspan(results.faults_ms / unit_ms, times[-1], color="tab:green", alpha=0.1, lw=0)
    axes.set_xlabel(f"{unit} of virtual time (shaded: the quiet)")
    axes.set_xlim(times[0], times[-1])
    return times


def _keyed(axes: "Axes") -> None:
    """A legend below the axes, where it hides nothing."""
    axes.figure.legend(loc="outside lower center", ncols=2)


def _convergence(axes: "Axes", results: Results) -> None:
    times = _against_time(axes, results)
    axes.plot(times, [100 * share for share in results.series["current"]], label="lack nothing")
    axes.plot(times, [100 * share for share in results.series["cut"]], "--", label="links down")
    axes.set_ylim(0, 102)
    axes.set_ylabel("% of sites, of links")
    axes.set_title(f"Convergence: {results.title}, seed {results.seed}")
    _keyed(axes)


def _behind(axes: "Axes", results: Results) -> None:
    times = _against_time(axes, results)
    axes.plot(times, results.series["behind"], label="mean over sites")
    axes.plot(
        times, [max(sample, default=0) for sample in results.behind], "--", label="worst site"
    )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("writes lacking")
    axes.set_title(f"Writes that sites lack: {results.title}, seed {results.seed}")
    _keyed(axes)


def _staleness(axes: "Axes", results: Results) -> None:
    ages = AGE_BOUNDS_MS[: len(results.ages)]
    axes.plot(ages, [100 * share for share in results.ages], "o-", markersize=3)
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(ages, [duration(age_ms) for age_ms in ages], rotation=45)
    axes.set_ylim(0, 102)
    axes.set_xlabel("age of the write")
    axes.set_ylabel("% of (write, other site) arrived")
    axes.set_title(f"Staleness: {results.title}, seed {results.seed}")


def _bytes(axes: "Axes", results: Results) -> None:
    times = _against_time(axes, results)
    axes.plot(times, [count / 1e6 for count in results.series["bytes"]])
    axes.set_ylim(bottom=0)
    scaled = ", scaled back" if scaled_words(results.scaled) else ""
    axes.set_ylabel(f"MB of message bodies{scaled}")
    axes.set_title(f"Bytes: {results.title}, seed {results.seed}")


def _conflicts(axes: "Axes", results: Results) -> None:
    times = _against_time(axes, results)
    axes.plot(times, results.series["conflicts"], label="conflicts on record")
    axes.plot(times, results.series["parked"], "--", label="parked rows")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("count")
    axes.set_title(f"Conflicts: {results.title}, seed {results.seed}")
    _keyed(axes)


_PLOTS: Mapping[str, Callable[["Axes", Results], None]] = {
    "convergence": _convergence,
    "behind": _behind,
    "staleness": _staleness,
    "bytes": _bytes,
    "conflicts": _conflicts,
}
