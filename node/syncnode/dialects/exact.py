"""What the database servers have in common about values: forms that every engine reads alike."""

import math
import struct
from typing import Any


def six_digits(value: Any) -> Any:
    """A fraction of a second as six digits or none, which every program reads alike."""
    if isinstance(value, str) and "." in value:
        whole, _, digits = value.partition(".")
        return f"{whole}.{digits:0<6}" if digits.strip("0") else whole
    return value


def shortest_single(value: Any) -> float | None:
    """The shortest decimal that a four-byte FLOAT tells from its neighbours, as people wrote it.

    The column that was given 36.6 holds 36.599998474121094; every other engine shows 36.6, and
    36.6 is what makes the same four bytes again. None for a number beyond their range.
    """
    try:
        held = struct.pack("<f", value)
    except OverflowError:
        return None
    for digits in range(6, 9):
        short = float(f"{value:.{digits}g}")
        try:
            if struct.pack("<f", short) == held:
                return short
        except OverflowError:
            continue  # rounded up, beyond the range
    return float(f"{struct.unpack('<f', held)[0]:.9g}")  # nine digits always tell


def kind_of(value: Any) -> str:
    """What a value is, in words for an operator."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinity"
    return {str: "text", bytes: "bytes", float: "a fraction", int: "an integer"}.get(
        type(value), type(value).__name__
    )
