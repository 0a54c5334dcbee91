"""What the commands do, as functions: `operations.sync(settings, None, progress=print)`.

Each is found when it is first asked for, so that `status` on an old laptop does not wait for
modules that only `serve` needs.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncnode.operations.cloning import initialise_clone
    from syncnode.operations.contested import clashes
    from syncnode.operations.deciding import dismiss_conflicts, dismiss_parked, retry, take
    from syncnode.operations.demo import demo
    from syncnode.operations.discarding import discard
    from syncnode.operations.exporting import export
    from syncnode.operations.forgetting import forget
    from syncnode.operations.importing import import_files
    from syncnode.operations.membership import invite, join
    from syncnode.operations.removal import remove, uninstall
    from syncnode.operations.reporting import (
        conflicts,
        lan,
        log,
        parked,
        peers,
        show_conflict,
        show_parked,
        status,
    )
    from syncnode.operations.running import serve, sync
    from syncnode.operations.site import initialise, open_replica, propose
    from syncnode.operations.tables import disable_tables, enable_tables, list_tables
    from syncnode.operations.verifying import check, verify
    from syncnode.operations.vouching import revoke

__all__ = [
    "check",
    "clashes",
    "conflicts",
    "demo",
    "disable_tables",
    "discard",
    "dismiss_conflicts",
    "dismiss_parked",
    "enable_tables",
    "export",
    "forget",
    "import_files",
    "initialise",
    "initialise_clone",
    "invite",
    "join",
    "lan",
    "list_tables",
    "log",
    "open_replica",
    "parked",
    "peers",
    "propose",
    "remove",
    "retry",
    "revoke",
    "serve",
    "show_conflict",
    "show_parked",
    "status",
    "sync",
    "take",
    "uninstall",
    "verify",
]

_MODULES = {
    "check": "verifying",
    "clashes": "contested",
    "conflicts": "reporting",
    "demo": "demo",
    "disable_tables": "tables",
    "discard": "discarding",
    "dismiss_conflicts": "deciding",
    "dismiss_parked": "deciding",
    "enable_tables": "tables",
    "export": "exporting",
    "forget": "forgetting",
    "import_files": "importing",
    "initialise": "site",
    "initialise_clone": "cloning",
    "invite": "membership",
    "join": "membership",
    "lan": "reporting",
    "list_tables": "tables",
    "log": "reporting",
    "open_replica": "site",
    "parked": "reporting",
    "peers": "reporting",
    "propose": "site",
    "remove": "removal",
    "retry": "deciding",
    "revoke": "vouching",
    "serve": "running",
    "show_conflict": "reporting",
    "show_parked": "reporting",
    "status": "reporting",
    "sync": "running",
    "take": "deciding",
    "uninstall": "removal",
    "verify": "verifying",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(name)
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = found  # `demo` is a module of that name otherwise, from now on
    return found
