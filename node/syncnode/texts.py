"""Values as people read them."""

from datetime import UTC, datetime, timedelta

from syncnode.dialects.base import DAMAGED
from syncproto.clock import BASELINE_HLC, milliseconds
from syncproto.keys import uuid_text
from syncproto.row import Reference, Value

BEFORE = "before syncnode"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = 253_402_300_799_999  # the end of the year 9999, where calendars of programs end


def utc_text(ms: int) -> str:
    """ "2026-01-02T03:04:05.678Z"."""
    moment = _EPOCH + timedelta(milliseconds=max(0, min(ms, _LAST_MS)))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def written_text(hlc: int) -> str:
    """When a stamp was drawn; rows older than the installation have none of their own."""
    return BEFORE if hlc <= BASELINE_HLC else utc_text(milliseconds(hlc))


def key_text(key: bytes) -> str:
    """A row key."""
    return uuid_text(key)


def value_text(value: Value) -> str | None:
    """A cell's value; None is SQL's NULL."""
    if value is None:
        return None
    if isinstance(value, Reference):
        return f"{value.table}:{uuid_text(value.key)}"
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, str) and value.startswith(DAMAGED):
        return f"0x{value.removeprefix(DAMAGED).encode('latin-1', 'replace').hex()}"
    return str(value)


def unshown_text(count: int) -> str:
    """What a peer says of rows that it holds and does not show."""
    rows = "1 row is" if count == 1 else f"{count:,} rows are"
    return f"{rows} parked or kept aside there: see `syncnode parked` and `syncnode status` there"


def skew_text(skew_ms: int) -> str:
    """ "3 h 20 min ahead of", "2 min behind"."""
    seconds = abs(skew_ms) // 1000
    size = f"{seconds} s"
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            size = f"{seconds // length} {unit}"
            break
    return f"{size} {'ahead of' if skew_ms > 0 else 'behind'}"
