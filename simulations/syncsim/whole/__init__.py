"""Whole nodes in virtual time: level (b).

Everything above the ports of `syncnode.ports` is shipped code: node, gossip, exchanges, client
(httpx and httpcore), server and its gateway, the replica and SQLite files with their triggers.
"""

from syncsim.whole.world import run_nodes

__all__ = ["run_nodes"]
