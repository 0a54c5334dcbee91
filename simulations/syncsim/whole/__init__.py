"""Whole nodes in virtual time: level (b).

Everything above the ports of `syncnode.ports` is shipped code: node, gossip, exchanges, client
(httpx and httpcore), server and gateway, the replica, and SQLite files with their triggers.

Not covered: TLS (it draws entropy that cannot be handed in, so nobody proves who answers; requests
are signed as always), the polling of the database's file (`Site` tells the node instead), a
process that ends in the middle of one piece of work on the database (`tests/node/test_kill.py` has
that), MariaDB, and what a disk forgets in a power cut.
"""

from syncsim.whole.world import run_nodes

__all__ = ["run_nodes"]
