"""Where a site lives: which database on which machine, and where its identity anchor lies.

The sidecar keeps it, so that a copy of the database is told from the database itself.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from syncnode.identity.anchor import Anchor, machine_id
from syncnode.settings.database_url import without_password
from syncnode.store.database import Database, Transaction
from syncproto.errors import ConfigError

HOME = "home"
"""The setting."""


def home_text(tx: Transaction, database: Database, anchor: Path) -> str:
    """What to keep as `HOME`."""
    found = {
        "machine": machine_id(),
        "database": _place(tx, database),
        "anchor": str(anchor.resolve()),
    }
    return json.dumps(found, sort_keys=True)


def anchor_at_home(settings: Mapping[str, str], tx: Transaction, database: Database) -> Path | None:
    """The anchor of the site that lives in this very database, here; None for a copy of it."""
    kept = json.loads(settings.get(HOME, "{}"))
    if kept.get("machine") != machine_id() or kept.get("database") != _place(tx, database):
        return None
    anchor = Anchor(Path(kept["anchor"]))
    with contextlib.suppress(ConfigError):
        held = anchor.read()
        if held is None or held.site != settings["site"] or held.retired:
            return None
    return anchor.path


def _place(tx: Transaction, database: Database) -> str:
    if tx.dialect.name == "sqlite":
        from syncnode.dialects.sqlite import path_of

        return str(Path(path_of(database.url)).resolve())
    if tx.dialect.name == "mysql":
        # By any of a server's names it is the same database.
        return str(tx.value("SELECT CONCAT(@@hostname, ':', @@port, @@datadir, DATABASE())"))
    return without_password(database.url)
