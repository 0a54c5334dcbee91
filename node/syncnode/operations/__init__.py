"""What the commands do, as functions: `operations.sync(settings, None, progress=print)`.

Each is found when it is first asked for, so that `status` on an old laptop does not wait for
modules that only `serve` needs.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncnode.operations.demo import demo
    from syncnode.operations.forgetting import forget
    from syncnode.operations.membership import invite, join
    from syncnode.operations.removal import remove, uninstall
    from syncnode.operations.reporting import conflicts, log, parked, peers, status
    from syncnode.operations.running import serve, sync
    from syncnode.operations.site import initialise, open_replica

__all__ = [
    "conflicts",
    "demo",
    "forget",
    "initialise",
    "invite",
    "join",
    "log",
    "open_replica",
    "parked",
    "peers",
    "remove",
    "serve",
    "status",
    "sync",
    "uninstall",
]

_MODULES = {
    "conflicts": "reporting",
    "demo": "demo",
    "forget": "forgetting",
    "initialise": "site",
    "invite": "membership",
    "join": "membership",
    "log": "reporting",
    "open_replica": "site",
    "parked": "reporting",
    "peers": "reporting",
    "remove": "removal",
    "serve": "running",
    "status": "reporting",
    "sync": "running",
    "uninstall": "removal",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(name)
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = found  # `demo` is a module of that name otherwise, from now on
    return found
