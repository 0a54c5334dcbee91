"""Ways to keep databases in step: the shipped protocol and its rivals, by name."""

from collections.abc import Callable, Mapping

from syncsim.rules.arrival import Arrival
from syncsim.rules.ours import Ours
from syncsim.rules.port import Rule, Setting
from syncsim.rules.row_lww import RowLww
from syncsim.rules.symmetric import Symmetric

__all__ = ["RULES", "Rule", "Setting"]

RULES: Mapping[str, Callable[[], Rule]] = {
    rule.name: rule for rule in (Ours, Arrival, RowLww, Symmetric)
}
