"""Which of several rows keeps a value that must be unique, and what the others show instead.

The database of a site refuses two rows with one unique value, but two sites that do not hear of
each other write them. Who keeps the value is read off the replicated rows alone, so every site
decides alike, whatever came first where; nothing of it is replicated, so it undoes itself when
its reason goes. Source of the order: rule B2 of the design (`design-rules.md`).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from syncproto.identity import RowKey
from syncproto.row import Row, Stamp

MARK_DIGITS = 6  # sixteen million marks beside one value
MARK_CHARS = MARK_DIGITS + 1
MARKED_CHARS_MIN = MARK_CHARS + 1  # a shorter column has no room for a letter and the mark


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that asks for a value.

    Attributes:
        key: The row's key.
        alive: It stands for itself; otherwise it is deleted, and others refer to it.
        stamp: The latest among the cells that make up the value.
    """

    key: RowKey
    alive: bool
    stamp: Stamp


def claim(key: RowKey, row: Row, columns: Iterable[str]) -> Claim:
    """What a row says for itself, by the cells of the unique key's columns."""
    return Claim(key, row.alive, max(row.cells[name].stamp for name in columns))


def precedence(claims: Iterable[Claim]) -> list[Claim]:
    """In the order in which they are served: the living first, then who wrote the value earlier,
    then by key. The first one keeps the value."""
    return sorted(claims, key=lambda one: (not one.alive, one.stamp, one.key))


def marked(value: str, key: RowKey, *, chars_max: int | None) -> str:
    """The value that is shown for one which another row keeps: 'Clinic~1f09ab'.

    As much of the value as fits `chars_max` beside the mark, which depends on the row alone. Of
    the key's own digits many may be alike: UUIDs of one hour, or of one machine.
    """
    mark = f"~{sha256(key).hexdigest()[:MARK_DIGITS]}"
    room = None if chars_max is None else chars_max - len(mark)
    assert room is None or room >= 1, "short columns are not marked"
    return value[:room] + mark
