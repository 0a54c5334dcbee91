"""`init --cloned`: a copy of a site's database, sidecar and all, becomes a site of its own.

It gets a new identity and keeps all else: frontier, clocks, ledger, what is parked, held and on
record. So it knows what its original knew when the copy was made, and the first exchange carries
what has changed since, and nothing else.

What stood unsealed in the copy's journal is sealed here under the new identity, as the original
seals it under its own. Both write the same values to the same rows (names are drawn in the
triggers), so these meet as equals: neither a conflict nor a second row.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncnode.capture import trigger_names
from syncnode.identity.anchor import Anchor
from syncnode.identity.credentials import load_key, new_key, store_key
from syncnode.identity.home import HOME, anchor_at_home, home_text
from syncnode.identity.renewals import SETTING as RENEWALS
from syncnode.links.peers import read_peers
from syncnode.links.site_names import KNOWN
from syncnode.operations.cloned_rules import as_original, beside, lacking
from syncnode.operations.site import capture_of, check_schema
from syncnode.reports import InitReport
from syncnode.schema.drift import CLONED, unheeded
from syncnode.schema.plan import SchemaPlan
from syncnode.schema.text import plan_text
from syncnode.serve_lock import alone
from syncnode.store.database import Database, Transaction
from syncnode.store.remains import Remains, existing_triggers, finish, remains
from syncnode.store.sidecar import Sidecar, load_plan
from syncproto.errors import ConfigError, StoreError
from syncproto.identity import Origin, SiteId, site_text

if TYPE_CHECKING:
    from syncnode.identity.credentials import SiteKey
    from syncnode.settings.config import Settings

Progress = Callable[[str], None]

CLONING = "cloning"
"""The setting with the original's site, while a copy is becoming a site of its own."""
_TRIGGER = re.compile(r"CREATE TRIGGER (\w+)")


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of a site's database.

    Attributes:
        original: The site that it is a copy of.
        begun: An earlier `init --cloned` was interrupted here.
        lacking: Our triggers that are not there, or run as somebody who may not be there.
        unsealed: The copy's journal is not empty.
        settings: What the sidecar holds by name, in `syncnode_setting`.
    """

    plan: SchemaPlan
    original: SiteId
    original_name: str
    begun: bool
    lacking: frozenset[str]
    unsealed: bool
    settings: Mapping[str, str]


def initialise_clone(settings: "Settings", *, dry_run: bool, progress: Progress) -> InitReport:
    """Make a site of its own of a restored copy, unless `dry_run`.

    Who is killed half-way runs it again.

    Raises:
        ConfigError: The settings do not fit: a name or a key that is another site's.
        StoreError: The database is no copy of a site's, or it is the site's very own.
    """
    database = Database(settings.database)
    try:
        if dry_run:
            copy = _look(database, settings)
            return _report(_completed(settings, copy), copy, None)
        with alone(database):
            copy = _look(database, settings)
            settings = _completed(settings, copy)
            key, instead = _key(settings, copy)
            _make_triggers(database, copy, progress)
            progress("taking on an identity of its own")
            site = _settled(database, settings, copy, key, instead)
            return _report(settings, copy, site, instead=instead)
    finally:
        database.close()


def _completed(settings: "Settings", copy: "_Copy") -> "Settings":
    """A file that stands is as its people want it."""
    return settings if settings.path.exists() else as_original(settings, copy.plan, copy.settings)


def _report(
    settings: "Settings", copy: _Copy, site: SiteId | None, *, instead: bool = False
) -> InitReport:
    statements = _statements(copy)
    warnings = [
        f"this is a copy of {copy.original_name}: let it be invited there (`syncnode invite`) and "
        "join; nothing but what has changed since the copy was made is transferred then"
    ]
    if copy.lacking:
        warnings.append(
            f"{len(copy.lacking)} triggers of syncnode were missing in the copy, or belonged to "
            "another database user, and are made again: what was written meanwhile is not captured"
        )
    if copy.unsealed:
        warnings.append(
            "the copy holds changes which its original had not sealed when it was made: both "
            "send them, and where they are the same nothing comes of that"
        )
    if instead:
        warnings.append(
            "the original's key lay here; it is kept beside the new one under another name, and "
            "belongs to the original alone"
        )
    if changed := unheeded(copy.plan, settings.tables.only, settings.tables.exclude):
        warnings.append(changed)
    if ruled := lacking(settings, copy.settings, copy.original_name):
        warnings.append(ruled)
    warnings.append(beside(settings, copy.original_name))
    shown = site_text(site) if site is not None else None
    return InitReport(plan_text(copy.plan), tuple(statements), tuple(warnings), shown)


# Looking


def _look(database: Database, settings: "Settings") -> _Copy:
    """
    Raises:
        ConfigError: The name is the original's.
        StoreError: It is no copy, or no mere copy.
    """
    with database.read() as tx:
        weak = database.dialect.durability(tx)
        if weak is not None:
            raise StoreError(weak)
        found = remains(tx)
        begun = CLONING in found.settings
        if not (found.finished or begun):
            raise StoreError(
                f"{settings.shown_database} is no copy of a site's database: there is no finished "
                "sidecar in it. Restore the copy with all tables named syncnode_…, or leave out "
                "--cloned to make a new site"
            )
        plan = _plan(tx, begun)
        check_schema(tx, plan)
        if not begun and (anchor := anchor_at_home(found.settings, tx, database)):
            raise StoreError(
                f"{settings.shown_database} is the database of {found.settings['name']} itself, "
                f"whose anchor is {anchor}, and no copy of it: name the copy. If this whole "
                "machine is the copy, move that file away first"
            )
        original, name = _original(found)
        if settings.name == name:
            raise ConfigError(
                f"{name} is the name of the site that this is a copy of; give the copy its own"
            )
        return _Copy(
            plan,
            original,
            name,
            begun,
            frozenset(_lacking(tx, plan)),
            tx.value("SELECT 1 FROM syncnode_journal LIMIT 1") is not None,
            found.settings,
        )


def _plan(tx: Transaction, begun: bool) -> SchemaPlan:
    if begun:
        return SchemaPlan.from_json(
            tx.value("SELECT value FROM syncnode_setting WHERE name='plan'")
        )
    return load_plan(tx)


def _original(found: Remains) -> tuple[SiteId, str]:
    if CLONING in found.settings:
        kept = json.loads(found.settings[CLONING])
        return SiteId(bytes.fromhex(kept["site"])), kept["name"]
    return SiteId(bytes.fromhex(found.settings["site"])), found.settings["name"]


def _lacking(tx: Transaction, plan: SchemaPlan) -> set[str]:
    names = trigger_names(plan)
    lacking = names - set(existing_triggers(tx))
    if tx.dialect.name == "mysql":
        lacking |= names & {
            name
            for (name,) in tx.rows(
                "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS "
                "WHERE TRIGGER_SCHEMA=DATABASE() AND DEFINER<>CURRENT_USER()"
            )
        }
    return lacking


# Triggers


def _statements(copy: _Copy) -> list[str]:
    """What makes the triggers that are lacking, in the session that it needs."""
    if not copy.lacking:
        return []
    statements = []
    for statement in capture_of(copy.plan):
        made = _TRIGGER.match(statement)
        if statement.startswith("SET "):
            statements.append(statement)
        elif made is not None and made[1] in copy.lacking:
            statements += [f"DROP TRIGGER IF EXISTS {made[1]}", statement]
    return statements


def _make_triggers(database: Database, copy: _Copy, progress: Progress) -> None:
    if not copy.lacking:
        return
    if copy.plan.dialect not in ("sqlite", "mysql"):
        raise StoreError(
            f"triggers of syncnode are missing in the copy (such as {min(copy.lacking)}): restore "
            "it with its triggers"
        )
    progress("making the triggers that are missing")
    with database.snapshot() as tx:
        tx.script(_statements(copy))


# The identity


def _key(settings: "Settings", copy: _Copy) -> tuple["SiteKey", bool]:
    """A new key, and whether the original's stands in its place.

    Raises:
        ConfigError: A key is there of which nothing is known, or the original lives here.
    """
    if not settings.key.exists():
        return new_key(), False
    held_key, anchor = load_key(settings.key), Anchor(settings.anchor)
    if held_key.site != copy.original:
        if copy.begun:
            return held_key, False
        raise ConfigError(
            f"{settings.key} is the key of site {site_text(held_key.site)}, not of the site that "
            "this is a copy of: move it away, or name another file as `key`"
        )
    held = anchor.read()
    if held is not None and held.site == copy.original.hex() and anchor.is_ours(held):
        raise ConfigError(
            f"{settings.key} and {settings.anchor} are those of {copy.original_name} itself, "
            "which lives here: give the copy a folder of its own with --config"
        )
    return new_key(), True


def _settled(
    database: Database, settings: "Settings", copy: _Copy, key: "SiteKey", instead: bool
) -> SiteId:
    """First the database, by which an interrupted `init` is known; then files; the end last."""
    from syncnode.operations.site import put_aside
    from syncnode.settings.new_config import write_settings

    settings.path.parent.mkdir(parents=True, exist_ok=True)
    with database.write() as tx:
        lsn, hlc = _adopt(tx, database, settings, copy, key.site)
    if instead:
        put_aside(settings.key)
    if not settings.key.exists():
        store_key(settings.key, key.private)
    Anchor(settings.anchor).begin(site=key.site.hex(), incarnation=1, seq=0, lsn=lsn, hlc=hlc)
    if not settings.path.exists():
        write_settings(settings.path, settings)
    finish(database)
    with database.write() as tx:
        tx.execute(f"DELETE FROM syncnode_setting WHERE name='{CLONING}'")
    return key.site


def _adopt(
    tx: Transaction, database: Database, settings: "Settings", copy: _Copy, site: SiteId
) -> tuple[int, int]:
    """Write the new identity over the original's; returns the lsn and the clock."""
    book, m = Sidecar.load(tx, copy.plan), tx.mark
    if not copy.begun:
        _keep_names(tx, book, copy)
        tx.execute("DELETE FROM syncnode_setting WHERE name='format'")
        book.set(CLONING, json.dumps({"site": copy.original.hex(), "name": copy.original_name}))
        # What the original had written came from there.
        tx.execute(
            f"UPDATE syncnode_changeset SET sender={m} WHERE sender IS NULL", (copy.original,)
        )
    for table in ("syncnode_peer", "syncnode_invite"):
        tx.execute(f"DELETE FROM {table}")
    # Of deltas that did not arrive whole; what did is applied to its end when the site is opened.
    tx.execute(
        "DELETE FROM syncnode_staged WHERE sender NOT IN "
        "(SELECT sender FROM syncnode_stage WHERE claim IS NOT NULL)"
    )
    tx.execute("DELETE FROM syncnode_stage WHERE claim IS NULL")
    tx.execute("DELETE FROM syncnode_bundle WHERE id NOT IN (SELECT sender FROM syncnode_stage)")
    tx.execute(f"DELETE FROM syncnode_setting WHERE name={m}", (RENEWALS,))
    book.origin = Origin(site, 1)
    book.number(book.origin)
    book.set("site", site.hex())
    book.set("incarnation", "1")
    book.set("name", settings.name)
    book.set(CLONED, copy.original_name)
    book.set(HOME, home_text(tx, database, settings.anchor))
    book.save()
    return book.lsn, book.hlc


def _keep_names(tx: Transaction, book: Sidecar, copy: _Copy) -> None:
    """How people call the sites that the original knew: none of them is a peer of the copy yet."""
    names = json.loads(book.settings.get(KNOWN, "{}"))
    names |= {peer.site.hex(): peer.name for peer in read_peers(tx)}
    book.set(KNOWN, json.dumps({**names, copy.original.hex(): copy.original_name}))
