"""What errors of PostgreSQL mean: for the operator, or for the one row that was refused.

They are known by their SQLSTATE, since a server may speak any language; its message is shown, and
never its details, which may hold values.
"""

import re

import psycopg

from syncnode.dialects.base import EngineError
from syncproto.errors import StoreError

TRANSIENT_CLASSES = ("08", "40", "53", "57P")
TRANSIENT = {
    "55P03",  # a lock was not to be had
    "55006",  # the object is in use
    "57014",  # cancelled
    "0A000",  # "cached plan must not change result type": the application altered the table
}

_SENTENCES = {
    "28": "the database server refuses the user or the password: check the database URL",
    "3D000": "the database does not exist on the server: check the database URL",
    "42501": "the database user lacks a right: it must own the tables, and have CREATE on their "
    "schema",
    "55P03": "rows are locked by the application's transaction",
    "40": "rows are locked by the application's transaction",
    "53100": "the disk is full: nothing was changed; free some space",
    "53300": "the database server takes no more connections",
    "57P": "the database server is being shut down or started",
    "25006": "the server is read-only: nothing can be written there",
    "08": "the database server cannot be reached: is it running, and is the URL right?",
}

_REFUSED = {
    "23505": "unique clash",
    "23P01": "unique clash",  # EXCLUDE
    "23502": "not null",
    "23503": "missing parent",
    "23001": "missing parent",
    "23514": "check constraint",
    "23": "constraint",
    "22": "type does not fit",
    "42804": "type does not fit",
    "42846": "type does not fit",
    "428C9": "type does not fit",
    "54000": "type does not fit",  # too large for an index
    "44": "check constraint",
    "P0001": "trigger",
    "P0": "trigger",
}


def explained(error: Exception) -> StoreError:
    """See `Dialect.explained`."""
    state = getattr(error, "sqlstate", None) or ""
    text = _first_line(error)
    transient = state.startswith(TRANSIENT_CLASSES) or state in TRANSIENT
    for start, sentence in _SENTENCES.items():
        if state.startswith(start):
            return StoreError(f"{sentence} ({text})", transient=transient)
    if not state and isinstance(error, psycopg.OperationalError):
        return _unconnected(text)
    return EngineError(f"the database says: {text} ({state or '-'})", transient=transient)


def refusal(error: Exception) -> tuple[str, str] | None:
    """See `Dialect.refusal`."""
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate
    if state is None:
        # Refused by the driver, before the server saw it.
        unfit = isinstance(error, psycopg.DataError)
        return ("type does not fit", _first_line(error)) if unfit else None
    reason = next((_REFUSED[s] for s in (state, state[:2]) if s in _REFUSED), None)
    if reason == "missing parent" and _still_referred(error):
        reason = "still referred to"
    if reason is None:
        return None
    if reason == "unique clash" and (columns := clashing_columns(error)):
        return reason, f"another row has the same {columns}"
    return reason, _first_line(error)


def _first_line(error: Exception) -> str:
    """The server's message without its details, which may hold values."""
    diagnosis = getattr(error, "diag", None)
    text = (diagnosis.message_primary if diagnosis else None) or str(error)
    return text.strip().partition("\n")[0]


def clashing_columns(error: psycopg.Error) -> str:
    """ "phone, name" of "Key (phone, name)=(0788, Ann) already exists.", in any language."""
    found = re.search(r"\((.*?)\)=\(", error.diag.message_detail or "")
    return found[1].replace('"', "") if found else ""


def _still_referred(error: psycopg.Error) -> bool:
    """Of a broken foreign key: the row that was to go is referred to (and no parent missing)."""
    if error.sqlstate == "23001":
        return True
    detail, child = error.diag.message_detail or "", error.diag.table_name or ""
    said = f"{error.diag.message_primary or ''} {detail}"
    if "still referenced" in said or "update or delete on" in said:
        return True
    # In other languages: the detail names the table of the child, not that of the parent.
    return "not present" not in said and f'"{child}"' in detail


def _unconnected(text: str) -> StoreError:
    said = text.casefold()
    if "password" in said or "authentication" in said or "no pg_hba.conf entry" in said:
        return StoreError(
            f"the database server refuses the user or the password: check the database URL ({text})"
        )
    if "does not exist" in said:
        return StoreError(
            f"the database does not exist on the server: check the database URL ({text})"
        )
    return StoreError(
        f"the database server cannot be reached: is it running, and is the URL right? ({text})",
        transient=True,
    )
