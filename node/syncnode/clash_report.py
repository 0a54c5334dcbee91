"""What `clashes` reports: rows that two sites gave one unique value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MARKED, MERGED_INTO, WAITING = "marked", "merged", "waits"


@dataclass(frozen=True, slots=True)
class ClashReport:
    """A row whose value must be unique and is another row's, which keeps it.

    Attributes:
        id: Names the row alike at every site.
        row_name: What people call the row: the values that name it, or its uuid.
        done: "marked", the row is shown with a mark or no value; "merged", the other row stands
            for it; "waits", it is parked until the value is free.
        values: What the row asks for, by column of the unique key.
        shown: What its table shows there instead; None where it does not show the row.
        other, other_name: The row that keeps the value, by its key, and as people call it; None
            where that cannot be told.
        since: Since when it is so here.
        ends: What to do so that it ends.
    """

    id: str
    table: str
    row: str
    row_name: str
    done: str
    values: Mapping[str, str | None]
    shown: Mapping[str, str | None] | None
    other: str | None
    other_name: str | None
    since: str
    ends: str = field(init=False)

    def __post_init__(self) -> None:
        columns = ", ".join(f"{self.table}.{name}" for name in self.values) or "value"
        texts = {
            MARKED: f"give one of the two another {columns}, or delete one: the mark goes then",
            MERGED_INTO: "nothing, if both are the same thing; otherwise give the row that is "
            f"shown another {columns}, and this one is shown again",
            WAITING: f"give the other row another {columns}, or delete it: this one is written "
            "then",
        }
        object.__setattr__(self, "ends", texts[self.done])


@dataclass(frozen=True, slots=True)
class ForetoldClashes:
    """Rows of two databases that would clash in one unique key, were these joined.

    Attributes:
        done: What would become of the row that gives way, as in `ClashReport`.
        count: How many rows would give way, of those that were looked at.
        whole: All rows were looked at that could clash; otherwise the first of them.
        examples: Who keeps the value, who gives way, and, if asked for, the value.
    """

    table: str
    columns: tuple[str, ...]
    done: str
    count: int
    whole: bool
    examples: tuple[tuple[str, str, str | None], ...]
