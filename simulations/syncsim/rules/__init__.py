"""Ways to keep databases in step: the shipped protocol and its rivals, by name."""

from collections.abc import Callable, Mapping

from syncsim.rules.ours import Ours
from syncsim.rules.port import Rule, Setting

__all__ = ["RULES", "Rule", "Setting"]

RULES: Mapping[str, Callable[[], Rule]] = {"ours": Ours}
