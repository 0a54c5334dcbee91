"""95 % confidence intervals over seeds: Student's t for means, Wilson's for shares.

Sources: Student (W. S. Gosset), "The Probable Error of a Mean", Biometrika 6, 1908; quantiles
beyond the table by the expansion in Abramowitz and Stegun, "Handbook of Mathematical Functions",
1964, 26.7.5. E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
Inference", JASA 22, 1927: unlike the textbook interval it is sound for few seeds and for shares
of 0 and 1, which is what convergence usually is.

The seeds are taken as independent. A mean of few seeds with one outlier is what it is: look at
the cells, too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

METHODS = "95 % confidence intervals: Student's t for means, Wilson for shares"

_Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution
# The 97.5 % quantiles of Student's t for 1 to 30 degrees of freedom.
_T = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate over seeds.

    Attributes:
        count: How many seeds it rests on.
        middle: The mean or share; None where no seed has a value.
        low, high: Of the interval; None where it cannot be told (a mean of one seed).
    """

    count: int
    middle: float | None
    low: float | None
    high: float | None


def mean(values: Sequence[float]) -> Interval:
    """The mean of `values`, with Student's t interval."""
    count = len(values)
    if not count:
        return Interval(0, None, None, None)
    middle = math.fsum(values) / count
    if count == 1:
        return Interval(1, middle, None, None)
    variance = math.fsum((value - middle) ** 2 for value in values) / (count - 1)
    half = t_quantile(count - 1) * math.sqrt(variance / count)
    return Interval(count, middle, middle - half, middle + half)


def share(successes: int, count: int) -> Interval:
    """The share of `successes` among `count`, with Wilson's interval."""
    if not count:
        return Interval(0, None, None, None)
    part = successes / count
    weight = 1 + _Z**2 / count
    centre = (part + _Z**2 / (2 * count)) / weight
    half = _Z / weight * math.sqrt(part * (1 - part) / count + _Z**2 / (4 * count**2))
    # At the ends the formula gives exactly 0 and 1; rounding must not leave the range.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == count else centre + half
    return Interval(count, part, low, high)


def t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t with `freedom` degrees, to four digits."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    cubed, fifth, seventh = _Z**3, _Z**5, _Z**7
    return (
        _Z
        + (cubed + _Z) / (4 * freedom)
        + (5 * fifth + 16 * cubed + 3 * _Z) / (96 * freedom**2)
        + (3 * seventh + 19 * fifth + 17 * cubed - 15 * _Z) / (384 * freedom**3)
    )
