"""Two spellings of one text: equal where the engine compares without case, accents or blanks at
the end, and two where it does not."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncnode.schema.plan import ForeignKey
    from syncnode.store.database import Transaction

PARENTS_MAX = 2_000  # looked at for another spelling; tables that texts name are mostly small


def folded(text: str) -> str:
    """The form in which texts are equal that some engine may take for one."""
    bare = unicodedata.normalize("NFKD", text).casefold()
    return "".join(c for c in bare if not unicodedata.combining(c)).rstrip(" ")


class OtherSpellings:
    """Parents by value that are here under another spelling, of those of one foreign key that
    were not found; of a large table the first rows are looked at."""

    def __init__(
        self,
        tx: "Transaction",
        key: "ForeignKey",
        parents_sql: str,
        wanted: Iterable[Sequence[Any]],
    ) -> None:
        self._found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        if not any(type(value) is str for values in wanted for value in values):
            return
        columns = ", ".join(tx.dialect.quote(name) for name in key.target_columns)
        for row in tx.rows(f"SELECT {columns} FROM {parents_sql} LIMIT {PARENTS_MAX}"):
            self._found.setdefault(_folded(row), tuple(row))

    def of(self, values: Sequence[Any]) -> tuple[Any, ...] | None:
        """How the parent with these values is spelled here, if one is."""
        return self._found.get(_folded(values))


def _folded(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(folded(value) if type(value) is str else value for value in values)
