"""What two sites must agree on before rows of a table can be compared: how rows are named, and
of which columns one of them has let go.

Two sites that name the rows of a table differently hold each row under two keys, and joined they
hold each row twice. A column that came is compared, since whoever lacks it keeps its values beside
the table; the values of one that was dropped are gone there.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

SHAPE_BYTES = 4
NAMING_LENGTH_MAX = 200  # as any name in a directory
_DIGEST_DIGITS = 8

ShapeCheck = bytes


@dataclass(frozen=True, slots=True)
class Shape:
    """
    Attributes:
        naming: What the row keys are made of, in words that are the same at two sites exactly
            when both give a row one key.
        dropped: Columns whose values the site has let go of, in ascending order.
    """

    naming: str
    dropped: tuple[str, ...] = ()

    @property
    def check(self) -> ShapeCheck:
        parts = "".join(f"{len(one.encode())}:{one};" for one in (self.naming, *self.dropped))
        return hashlib.blake2b(parts.encode(), digest_size=SHAPE_BYTES).digest()


def naming_of(words: str) -> str:
    """Words for `Shape.naming`; the end of long ones stands as a digest."""
    if len(words) <= NAMING_LENGTH_MAX:
        return words
    digest = hashlib.sha256(words.encode()).hexdigest()[:_DIGEST_DIGITS]
    return f"{words[: NAMING_LENGTH_MAX - _DIGEST_DIGITS - 2]}… {digest}"


def shapes_apart(
    asked: Mapping[bytes, ShapeCheck], ours: Mapping[bytes, Shape]
) -> dict[bytes, Shape]:
    """Our shapes of the tables that have another one there; by `table_hash`."""
    return {
        table: ours[table]
        for table, check in asked.items()
        if table in ours and ours[table].check != check
    }
