"""Whether the files that make a site's identity are there, whole and private: for reports.

Nothing here computes with a key, so nothing heavy is imported; whether it is the key of this
database is asked by whoever opens the site (`open_replica`).
"""

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING

from syncnode.identity.anchor import Anchor
from syncproto.errors import ConfigError

if TYPE_CHECKING:
    from syncnode.settings.config import Settings

OTHERS = 0o077  # what a file's mode gives to the group and to everybody
_PEM = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----")
# PKCS #8 (RFC 8410, section 7): version, the algorithm Ed25519, and 32 bytes.
_DER = bytes.fromhex("302e020100300506032b657004220420")
_SECRET_BYTES = 32


def key_fault(path: Path) -> str | None:
    """What is wrong with a key file, and what to do; None if it holds a key."""
    try:
        lines = path.read_text("ascii", "replace").split("\n")
    except FileNotFoundError:
        return f"there is no key at {path}, so nothing can be exchanged; put it back from a backup"
    except OSError as error:
        return f"the key at {path} cannot be read ({error.strerror}): nothing can be exchanged"
    lines = [line.strip() for line in lines if line.strip()]
    try:
        der = base64.b64decode("".join(lines[1:-1]), validate=True)
    except (binascii.Error, ValueError):
        der = b""
    framed = len(lines) > 2 and (lines[0], lines[-1]) == _PEM
    if framed and der.startswith(_DER) and len(der) == len(_DER) + _SECRET_BYTES:
        return None
    return f"{path} holds no readable key, so nothing can be exchanged; put it back from a backup"


def anchor_fault(path: Path) -> str | None:
    """What is wrong with an identity anchor, and what comes of it; None if nothing is."""
    try:
        held = Anchor(path).read()
    except ConfigError as error:
        return str(error)
    except OSError as error:
        return f"the identity anchor at {path} cannot be read ({error.strerror})"
    if held is None:
        return (
            f"there is no identity anchor at {path}: the site will go on under a new incarnation, "
            "and nothing is lost"
        )
    return None


def exposed(settings: "Settings") -> str | None:
    """A sentence on settings with a password that others can read; None if nobody can."""
    if not settings.database_given or settings.database == settings.shown_database:
        return None
    try:
        mode = settings.path.stat().st_mode
    except OSError:
        return None  # of `init`, which writes them for their owner alone
    if not mode & OTHERS:
        return None
    return (
        f"{settings.path} holds the password of the database, and others on this machine can read "
        f"it: run `chmod 600 {settings.path}`"
    )
