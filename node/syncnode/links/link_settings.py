"""How each peer is called, by the settings as they are now and by what the peer is to us."""

from typing import TYPE_CHECKING

from syncnode.links.members import Members
from syncnode.settings.link_keys import LinkKeys
from syncproto.budget import Allowance
from syncproto.identity import SiteId

if TYPE_CHECKING:
    from syncnode.settings.config import Settings


class LinkSettings:
    """The links of a running node.

    Attributes:
        settings: As they are now: an admin may change them while the node runs.
    """

    def __init__(self, settings: "Settings", members: Members, own: SiteId) -> None:
        self.settings = settings
        self._own = own
        self._members = members

    def of(self, site: SiteId) -> LinkKeys:
        """How a peer is called; complete but for what need not have a bound."""
        peer = self._members.by_site.get(site)
        if peer is None:
            return self.settings.link("", child=False)
        return self.settings.link(peer.name, child=peer.role == "child")

    def is_first(self, site: SiteId) -> bool:
        """Of us and a peer who can both call, whether we are the one that does: the child, or of
        two beside each other the one whose id is the smaller."""
        peer = self._members.by_site.get(site)
        if peer is None or peer.role == "parent":
            return True
        return peer.role != "child" and self._own < site

    def timeout_s(self, site: SiteId) -> float:
        """How long a peer may be silent."""
        timeout_ms = self.of(site).timeout_ms
        assert timeout_ms is not None, "the settings have a value for it"
        return timeout_ms / 1000

    def batch_bytes(self, site: SiteId) -> int | None:
        """What rows in one message may have at most; None where nothing is said."""
        return self.of(site).batch_bytes

    def budget(self) -> Allowance | None:
        """That of all links together."""
        return self.settings.rules.budget

    def budget_of(self, site: SiteId) -> Allowance | None:
        """That of one link alone."""
        return self.of(site).budget
