"""How the databases of a run begin: made by `init` once, then copied.

`init` is what takes time, so it runs once for each choice of tables; what differs from site to
site is put into the copy: its id, its name and the network. The rows that every site holds from
the start are written at the first site and travel to one other, of whose database all others get
a copy.
"""

import os
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from syncnode.identity.anchor import Anchor
from syncnode.identity.credentials import NETWORK_BYTES, SiteKey, store_key
from syncnode.operations.site import initialise
from syncnode.replica import DatabaseReplica
from syncnode.schema.plan import SchemaPlan
from syncnode.settings.config import Settings
from syncnode.settings.new_config import new_settings
from syncnode.store.database import Database
from syncproto.delta import Chunk
from syncproto.frontier import Frontier, VersionVector
from syncsim.schema import statements
from syncsim.whole.subject import put_file

NETWORK = b"syncsim!"
assert len(NETWORK) == NETWORK_BYTES, "as tokens name it"

# A run of hundreds of little files is about what they hold, not about the disk.
MEMORY_FOLDER = Path("/dev/shm")

Tables = tuple[str, ...] | None
"""The tables that a site keeps; None for all."""


def new_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for the files of a run, in memory where there is such a place."""
    usable = MEMORY_FOLDER.is_dir() and os.access(MEMORY_FOLDER, os.W_OK)
    return tempfile.TemporaryDirectory(prefix="syncsim-", dir=MEMORY_FOLDER if usable else None)


@lru_cache
def empty_database(tables: Tables, delete_wins: tuple[str, ...] = ()) -> bytes:
    """The file of a new site that keeps these tables, and holds no rows.

    `delete_wins`: Tables in which a delete wins over edits that its author had not seen.
    """
    with new_folder() as folder:
        path = Path(folder, "site.db")
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        for statement in statements():
            connection.execute(statement)
        settings = new_settings(
            Path(folder, "syncnode.toml"),
            name="template",
            database=f"sqlite:///{path}",
            only=tables or (),
            environment={},
        )
        initialise(settings, dry_run=False, progress=lambda _text: None)
        if delete_wins:
            _let_deletes_win(connection, delete_wins)
        content: bytes = connection.serialize()
        connection.close()
    return content


def _let_deletes_win(connection: sqlite3.Connection, tables: tuple[str, ...]) -> None:
    """As a preset would have said it to `init`."""
    (text,) = connection.execute(
        "SELECT value FROM syncnode_setting WHERE name = 'plan'"
    ).fetchone()
    plan = SchemaPlan.from_json(text)
    changed = tuple(
        replace(table, deletes="delete-wins") if table.name in tables else table
        for table in plan.tables
    )
    connection.execute(
        "UPDATE syncnode_setting SET value = ? WHERE name = 'plan'",
        (replace(plan, tables=changed).to_json(),),
    )


def make_site(settings: Settings, content: bytes, secret: bytes) -> SiteKey:
    """Key, anchor and database of a site, from a file that another one had.

    Args:
        secret: 32 bytes that the key is made of.
    """
    settings.path.parent.mkdir(parents=True, exist_ok=True)
    key = store_key(settings.key, Ed25519PrivateKey.from_private_bytes(secret))
    path = database_path(settings)
    put_file(path, content)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE syncnode_origin SET site = ? WHERE id = 0", (key.site,))
        for name, value in (
            ("site", key.site.hex()),
            ("name", settings.name),
            ("network", NETWORK.hex()),
        ):
            sql = "UPDATE syncnode_setting SET value = ? WHERE name = ?"
            connection.execute(sql, (value, name))
        found = dict(connection.execute("SELECT name, value FROM syncnode_setting"))
    connection.close()
    Anchor(settings.anchor).begin(
        site=key.site.hex(),
        incarnation=int(found["incarnation"]),
        seq=0,
        lsn=int(found["lsn"]),
        hlc=int(found["hlc"]),
    )
    return key


def copy_site(from_: Settings, to: Settings, content: bytes) -> None:
    """Key, anchor and database of one site in another folder, as a copied disk has them."""
    to.path.parent.mkdir(parents=True)
    to.key.write_bytes(from_.key.read_bytes())
    to.key.chmod(0o600)
    to.anchor.write_bytes(from_.anchor.read_bytes())
    put_file(database_path(to), content)


def database_path(settings: Settings) -> Path:
    return Path(settings.database.removeprefix("sqlite:///"))


def filled_database(
    tables: Tables,
    delete_wins: tuple[str, ...],
    folder: Path,
    chunks: Sequence[Chunk],
    wall_ms: Callable[[], int],
) -> bytes:
    """The file of a site that keeps these tables and has taken a delta in."""
    path = folder / "filled.db"
    put_file(path, empty_database(tables, delete_wins))
    replica = DatabaseReplica(Database(f"sqlite:///{path}"), None, wall_ms=wall_ms, nonce=_no_nonce)
    for chunk in chunks:
        replica.receive(chunk)
    replica.database.close()
    connection = sqlite3.connect(path)
    content: bytes = connection.serialize()
    connection.close()
    return content


def whole_delta(replica: DatabaseReplica, tables: Sequence[str]) -> list[Chunk]:
    """Everything that a replica holds of these tables."""
    base = Frontier(dict.fromkeys(tables, VersionVector({})))
    chunks: list[Chunk] = []
    after = 0
    while not chunks or chunks[-1].claim is None:
        chunks.append(replica.chunk(base, after))
        after = chunks[-1].upto
    return chunks


def _no_nonce() -> int:
    return 0
