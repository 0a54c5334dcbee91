"""`[lan]` of `syncnode.toml`: whether sites nearby find each other.

[lan]
discover = true                        # default: false
interfaces = ["eth0", "192.168.7.2"]   # default: every one with a private address
"""

from dataclasses import dataclass

from syncnode.settings.toml_reader import Table


@dataclass(frozen=True, slots=True)
class Lan:
    """
    Attributes:
        discover: Whether this site announces itself and looks for others.
        interfaces: Names or addresses of those on which it does; empty for every one with a
            private address. An interface with a public address is never used, named or not.
    """

    discover: bool = False
    interfaces: tuple[str, ...] = ()


NO_LAN = Lan()


def read_lan(table: Table) -> Lan:
    """The settings; what is wrong is noted in the table's document."""
    interfaces = table.texts("interfaces", example="eth0")
    discover = table.flag("discover", default=False)
    if interfaces == ():
        table.fault("interfaces", 'is empty; name one, such as ["eth0"], or leave the key out')
    table.refuse_unknown()
    return Lan(discover, interfaces or ())
