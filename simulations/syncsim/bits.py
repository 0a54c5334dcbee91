"""Sets of small numbers as whole numbers: bit n stands for n.

A set of 400,000 writes is 50 kB, a snapshot of it costs nothing, and union and difference are
one pass of the machine over it. What takes a step for each member is here.
"""

from collections.abc import Iterable, Iterator

_TRUTH = bytes.maketrans(b"01", b"\0\1")


def members(bits: int) -> Iterator[int]:
    """Each member, ascending; the cost grows with their number and with how far apart they are."""
    if not bits:
        return
    first = (bits & -bits).bit_length() - 1
    text = f"{bits >> first:b}"[::-1]
    at = 0
    while at >= 0:
        yield first + at
        at = text.find("1", at + 1)


def flags(bits: int, count: int) -> bytes:
    """For each number below `count`, 1 if it is a member and 0 if not."""
    return f"{bits & ((1 << count) - 1):0{count}b}"[::-1].encode().translate(_TRUTH)


def bits_of(numbers: Iterable[int]) -> int:
    """The set of these numbers, given in ascending order."""
    bits = 0
    first: int | None = None
    for number in numbers:
        if first is None:
            first = number
        bits |= 1 << (number - first)
    return bits << first if first is not None else 0
