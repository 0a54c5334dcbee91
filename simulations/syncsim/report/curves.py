"""Curves as inline SVG, without any package: what the page shows of a run.

Colours and fonts are CSS classes of the page, so one drawing serves light and dark. The plots
for papers are in `plots.py`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from syncsim.report.text import duration, number, share, size
from syncsim.results import AGE_BOUNDS_MS, Results

WIDTH, HEIGHT = 460, 210
LEFT, RIGHT, TOP, BOTTOM = 62, 448, 14, 182
_TICKS = 4
_WORD_WIDTH = 40
_STEPS_MS = (
    *(
        1_000,
        10_000,
        60_000,
        300_000,
        900_000,
        3_600_000,
        2 * 3_600_000,
        3 * 3_600_000,
        6 * 3_600_000,
    ),
    *(12 * 3_600_000, 86_400_000, 2 * 86_400_000, 5 * 86_400_000, 10 * 86_400_000),
    *(30 * 86_400_000, 60 * 86_400_000, 90 * 86_400_000, 365 * 86_400_000),
)


@dataclass(frozen=True, slots=True)
class Curve:
    """One drawing.

    Attributes:
        lines: Label and values; each as long as `xs`.
        y_text: How a value is written.
        top: The greatest y that is drawn; None for what the values need.
        log_x: Ages span seven powers of ten.
    """

    title: str
    xs: Sequence[float]
    lines: Sequence[tuple[str, Sequence[float]]]
    y_text: Callable[[float], str]
    top: float | None = None
    log_x: bool = False


def curves(results: Results) -> list[Curve]:
    """The curves of a run against time, then its staleness by age."""
    times, series = results.times_ms, results.series

    def curve(
        title: str,
        names: Sequence[tuple[str, str]],
        y_text: Callable[[float], str] = number,
        top: float | None = None,
    ) -> Curve:
        lines = [(label, series[name]) for label, name in names if name in series]
        return Curve(title, times, lines, y_text, top)

    ages = Curve(
        "Staleness: share of (write, other site) that had arrived, by age",
        AGE_BOUNDS_MS[: len(results.ages)],
        [("arrived", results.ages)],
        share,
        1.0,
        log_x=True,
    )
    drawn = [
        curve("Convergence: share of sites that lack nothing", [("", "current")], share, 1.0),
        curve("Writes that a site lacks, mean over the sites", [("", "behind")]),
        curve("Bytes sent so far", [("", "bytes")], size),
        curve("Writes so far", [("", "writes")]),
        curve("Exchanges that came to their end so far", [("", "rounds")]),
        curve(
            "Conflicts on record, parked rows", [("conflicts", "conflicts"), ("parked", "parked")]
        ),
        curve("Share of links that do not work", [("", "cut")], share, 1.0),
        ages,
    ]
    return [curve for curve in drawn if curve.lines and len(curve.xs) > 1]


def svg(curve: Curve, *, quiet_ms: float | None = None) -> str:
    """One curve as an `<svg>` element.

    Args:
        quiet_ms: When the quiet begins; it is shaded from there.
    """
    place = _Scale(curve)
    parts = [
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(curve.title)}"',
        f' data-x0="{_digits(curve.xs[0])}" data-x1="{_digits(curve.xs[-1])}"'
        if not curve.log_x
        else "",
        ">",
    ]
    if quiet_ms is not None and not curve.log_x and quiet_ms < curve.xs[-1]:
        left = place.x(max(quiet_ms, curve.xs[0]))
        parts.append(
            f'<rect class="quiet" x="{left:.1f}" y="{TOP}" width="{RIGHT - left:.1f}" '
            f'height="{BOTTOM - TOP}"/>'
        )
        if RIGHT - left > _WORD_WIDTH:
            parts.append(f'<text class="tick" x="{left + 4:.1f}" y="{TOP + 11}">quiet</text>')
    for value in place.y_ticks():
        y = place.y(value)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text class="tick" text-anchor="end" x="{LEFT - 6}" y="{y + 4:.1f}">'
            f"{escape(curve.y_text(value))}</text>"
        )
    for value in place.x_ticks():
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{place.x(value):.1f}" '
            f'y="{BOTTOM + 16}">{escape(duration(value))}</text>'
        )
    for index, (label, values) in enumerate(curve.lines):
        points = " ".join(
            f"{place.x(x):.1f},{place.y(y):.1f}" for x, y in zip(curve.xs, values, strict=True)
        )
        parts.append(f'<polyline class="line line{index}" points="{points}"/>')
        if label and len(curve.lines) > 1:
            x = LEFT + 10 + 110 * index
            parts.append(
                f'<text class="key key{index}" x="{x}" y="{TOP + 12}">{escape(label)}</text>'
            )
    if not curve.log_x:
        parts.append(f'<line class="cursor" y1="{TOP}" y2="{BOTTOM}" x1="{LEFT}" x2="{LEFT}"/>')
    parts.append("</svg>")
    return "".join(parts)


class _Scale:
    """From values to places in the drawing."""

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        greatest = max((max(values) for _, values in curve.lines), default=0)
        self.top = curve.top or _round_up(greatest) or 1.0
        self._begins, self._ends = (self._straight(x) for x in (curve.xs[0], curve.xs[-1]))

    def x(self, value: float) -> float:
        part = (self._straight(value) - self._begins) / ((self._ends - self._begins) or 1)
        return LEFT + part * (RIGHT - LEFT)

    def y(self, value: float) -> float:
        return BOTTOM - value / self.top * (BOTTOM - TOP)

    def y_ticks(self) -> list[float]:
        return [self.top * step / _TICKS for step in range(_TICKS + 1)]

    def x_ticks(self) -> list[float]:
        if self._curve.log_x:
            shown = (1_000, 60_000, 3_600_000, 86_400_000, 7 * 86_400_000, 365 * 86_400_000)
            return [age for age in shown if self._curve.xs[0] <= age <= self._curve.xs[-1]]
        first, last = self._curve.xs[0], self._curve.xs[-1]
        wanted = (last - first) / 6
        step = next((step for step in _STEPS_MS if step >= wanted), _STEPS_MS[-1])
        begins = math.ceil(first / step)
        return [step * tick for tick in range(begins, math.floor(last / step) + 1)]

    def _straight(self, value: float) -> float:
        return math.log(value) if self._curve.log_x else value


def _round_up(value: float) -> float:
    """The least of 1, 2, 4 or 8 times a power of ten that is not below `value`."""
    if value <= 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= value * (1 - 1e-9))


def _digits(value: float) -> str:
    return f"{value:.0f}"
