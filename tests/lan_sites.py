"""Sites that find each other on a LAN: databases and members made in this process, daemons in
processes of their own, each on a machine of its own (`namespaces.py`)."""

import contextlib
import io
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from namespaces import Machine
from processes import SCHEMA, ProcessSite

from syncnode import operations
from syncnode.__main__ import main
from syncnode.identity.credentials import decode_token, load_key
from syncnode.links.peers import Peer, read_peers
from syncnode.operations.membership import answer_join, join_by
from syncnode.operations.site import open_replica
from syncnode.settings.config import Settings, read_settings
from syncnode.store.database import Database
from syncproto.identity import site_text

PORT = 8470


class LanSite(ProcessSite):
    """A site that listens on all addresses of its machine, with discovery on."""

    def __init__(self, folder: Path, name: str, machine: Machine, *, more: str = "") -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.name = name
        self.machine = machine
        self.database = self.folder / "site.db"
        self.config = self.folder / "syncnode.toml"
        self.listen = f"0.0.0.0:{PORT}"
        self.url = None
        self.prefix = tuple(machine.inside())
        self.connection = sqlite3.connect(self.database, isolation_level=None)
        self.connection.executescript(SCHEMA)
        self.process = None
        quiet = io.StringIO()
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            url = f"sqlite:///{self.database}"
            given = ["--database", url, "--name", name, "--listen", self.listen]
            main(["init", *given, "--config", str(self.config)])
        with self.config.open("a") as file:
            file.write(f"\n[lan]\ndiscover = true\n{more}")

    @property
    def settings(self) -> Settings:
        return read_settings(self.config)

    @property
    def id(self) -> str:
        found = bytes.fromhex(
            self.sql("SELECT value FROM syncnode_setting WHERE name='site'")[0][0]
        )
        return site_text(found)

    def let_in(self, other: "LanSite", *, role: str = "child", url: str | None = None) -> None:
        """Make the other site a member, as `invite` and `join` do; it then has no address of ours
        unless one is named."""
        token = decode_token(
            operations.invite(self.settings, other.name, role=role, url="https://nowhere:1").token
        )
        replica = open_replica(self.settings)
        try:
            join_by(
                other.settings,
                token,
                lambda body: answer_join(replica, load_key(self.settings.key), self.settings, body),
                confirm=lambda _: True,
                progress=lambda _: None,
            )
        finally:
            replica.close()
        other.sql("UPDATE syncnode_peer SET url=? WHERE name=?", url or "", self.name)

    def peers(self) -> dict[str, Peer]:
        with Database(self.settings.database, light=True).read() as tx:
            return {peer.name: peer for peer in read_peers(tx)}

    def seen(self) -> dict[str, tuple[str, str]]:
        """Address and standing of the sites it sees, by id, as it has written them down."""
        rows = self.sql("SELECT site, url, standing FROM syncnode_lan")
        return {site_text(site): (url, standing) for site, url, standing in rows}

    def sees(self, other: "LanSite", standing: str = "peer") -> bool:
        return standing in self.seen().get(other.id, ("", "nothing"))[1]


def all_hold(sites: list[LanSite], names: set[str]) -> Callable[[], Any]:
    return lambda: all({*site.patients().values()} == names for site in sites)
