"""`forget`: a peer is one no more."""

from typing import TYPE_CHECKING

from syncnode.links.peers import no_such_peer, read_peers, remove_peer
from syncnode.operations.reporting import peers as peer_reports
from syncnode.reports import Forgotten
from syncnode.store.database import Database
from syncnode.store.sidecar import load_plan
from syncproto.errors import ConfigError

if TYPE_CHECKING:
    from syncnode.settings.config import Settings


def forget(settings: "Settings", name: str) -> Forgotten:
    """From now on no exchange takes place with that peer; what came from it stays.

    Raises:
        ConfigError: There is no such peer.
        StoreError: The database cannot be written, or is no site.
    """
    database = Database(settings.database, light=True)
    try:
        report = next((one for one in peer_reports(settings) if one.name == name), None)
        with database.write() as tx:
            load_plan(tx)
            known = read_peers(tx)
            peer = next((one for one in known if one.name == name), None)
            if peer is None or report is None:
                raise ConfigError(no_such_peer(name, known))
            remove_peer(tx, peer)
    finally:
        database.close()
    return Forgotten(peer.name, peer.role, report.last_exchange, report.pending)
