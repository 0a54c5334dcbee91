"""Sites with replicas in memory and links between them that a test can cut, in virtual time."""

import trio

from syncnode.links.exchange import Exchanger, News, decoded, in_place
from syncproto.errors import PeerUnreachableError, RefusedError
from syncproto.identity import Origin, RowKey, SiteId
from syncproto.memory import MemoryReplica
from syncsim.subject import NETWORK

TABLE = "patient"
START_MS = 1_700_000_000_000
KEYS = [RowKey(bytes((number,)) * 16) for number in range(200)]


class Site:
    """A replica in memory, its exchanger, and a link to the others that can be cut."""

    def __init__(self, name, sites, network=NETWORK, skew_ms=0, **options):
        self.site = SiteId(name.encode().ljust(16, b"\0"))
        self.skew_ms = skew_ms
        self.sites = sites
        self.cut = False
        self.requests = []
        self.busy = 0
        sites[self.site] = self
        self.replica = MemoryReplica(
            Origin(self.site, 1),
            [TABLE],
            network=network,
            wall_ms=self.wall_ms,
            nonce=lambda: 7,
            rows_max=10,
        )
        self.news = News()
        self.exchanger = Exchanger(
            self.replica,
            name=name,
            in_database=in_place,
            post=self.post,
            news=self.news,
            wall_ms=self.wall_ms,
            **{"wait_ms_max": 25_000, "skew_ms_max": 300_000, **options},
        )

    def wall_ms(self):
        return START_MS + self.skew_ms + round(trio.current_time() * 1000)

    async def post(self, site, body, *, timeout_s):
        other = self.sites[site]
        self.requests.append(decoded(body))
        if other.cut:
            raise PeerUnreachableError("the link is cut")
        if other.busy:
            other.busy -= 1
            raise RefusedError("busy", status=503)
        with trio.fail_after(timeout_s):
            return await other.exchanger.answer(self.site, body)

    def write(self, number, value="x"):
        self.replica.write(TABLE, KEYS[number], {"name": value})

    def seal(self):
        """What the watcher does."""
        self.news.tell(self.replica.standing(self.site).frontier)

    def names(self):
        return {key[0]: row.cells["name"].value for (_, key), row in self.replica.rows.items()}
