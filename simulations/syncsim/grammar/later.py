"""What scenario files will be able to say: names that are taken, and refused until then.

A misfortune that is silently left out would be worse than none.
"""

from collections.abc import Mapping

from syncsim.grammar.keys import Keys

RULES_BY_LINK = "rules of tables by link are not simulated by this version"
_UPGRADES = "waves of schema upgrades come with a later version"
_COURIERS = "bundles that couriers carry come with a later version"
_REVOCATION = "the revocation of sites comes with a later version"

LATER_MISFORTUNES: Mapping[str, str] = {
    "schema-upgrade": _UPGRADES,
    "courier": _COURIERS,
    "bundle": _COURIERS,
    "revocation": _REVOCATION,
}
"""Kinds of misfortunes."""

LATER_KEYS: Mapping[str, str] = {
    "upgrades": _UPGRADES,
    "couriers": _COURIERS,
    "bundles": _COURIERS,
    "revocations": _REVOCATION,
    "with": RULES_BY_LINK,
    "groups": "groups of sites are not simulated by this version",
    "budget": "budgets are not simulated by this version",
    "priority": "priorities of tables are not simulated by this version",
    "preset": "presets of tables are not simulated: every site has the simulated clinic's tables",
}
"""Keys of the file, of a site and of `[tables]`."""


def refuse_later(table: Keys, *keys: str) -> None:
    """Note a fault for each of these keys that is there."""
    for key in keys:
        if key in table:
            table.any_value(key)
            table.fault(key, f"{LATER_KEYS[key]}; remove it")
