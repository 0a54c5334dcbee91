"""A node: the daemon beside a database, its commands, and what they stand on.

To run one inside a program: `async with syncnode.Node(settings) as node: ...` (under trio).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncnode.run import Node

__all__ = ["Node"]


def __getattr__(name: str) -> Any:
    if name != "Node":
        raise AttributeError(name)
    from syncnode.run import Node  # trio, httpx and SQLAlchemy: only for those who run a node

    return Node
