"""Large tables of small whole numbers as short texts, for a page that must be one file.

A stream of variable-length integers (seven bits a byte, the lowest first, as LEB128), in base64.
`page.js` reads it.
"""

import base64
from collections.abc import Iterable, Sequence


def packed_columns(samples: Sequence[Sequence[int]]) -> str:
    """A matrix, column by column as differences along it; runs of no change take two bytes.

    A difference d is written as 2d for d > 0 and as -2d - 1 for d < 0; a run of n zeros as 0, n.
    """
    stream = bytearray()
    for place in range(len(samples[0]) if samples else 0):
        before, zeros = 0, 0
        for sample in samples:
            difference = sample[place] - before
            before = sample[place]
            if difference == 0:
                zeros += 1
                continue
            if zeros:
                _append(stream, (0, zeros))
                zeros = 0
            _append(stream, (2 * difference if difference > 0 else -2 * difference - 1,))
        if zeros:
            _append(stream, (0, zeros))
    return base64.b64encode(stream).decode("ascii")


def packed_sets(sets: Sequence[Iterable[int]]) -> str:
    """A row of sets, each as what entered or left since the one before: how many, then gaps."""
    stream = bytearray()
    before: frozenset[int] = frozenset()
    for members in sets:
        now = frozenset(members)
        changed = sorted(before ^ now)
        _append(stream, (len(changed),))
        last = 0
        for member in changed:
            _append(stream, (member - last,))
            last = member
        before = now
    return base64.b64encode(stream).decode("ascii")


def _append(stream: bytearray, numbers: Iterable[int]) -> None:
    for number in numbers:
        while number > 0x7F:
            stream.append(number & 0x7F | 0x80)
            number >>= 7
        stream.append(number)
