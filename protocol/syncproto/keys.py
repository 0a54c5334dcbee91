"""Row keys: 16 bytes that name one row of one table at every site.

A key is made of what a row *is*, never of its local number: a canonical UUID is its own key, and
everything else is hashed together with the table's name (UUID version 5: RFC 9562, with a
namespace of ours). So two sites that know the same row under other local numbers find the same
key without asking each other.

Text is compared exactly: 'mg', 'Mg' and 'MG' are three rows, as most engines have it. Only a UUID
is the same in any case, being a number. Where an engine takes two texts for one (MariaDB's
general_ci: 'Provider', 'provider', 'Provider ', 'Próvider'), both rows are replicated, and that
engine's unique index lets one of them be shown; the other is parked and said so.

Parts of a key are hashed as typed, length-prefixed fields, so ('ab', 'c') and ('a', 'bc') differ.
Numbers and text share one type: an engine that declares no type may hold '1' where another holds
1, and a key column that holds both of them means one row. A row that finds its key taken all the
same (a UUID in other capitals, 1 beside '1') gets a `variant_key`.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha1
from typing import TYPE_CHECKING

from syncproto.identity import RowKey
from syncproto.row import Reference, Value

if TYPE_CHECKING:
    from hashlib import _Hash

NAMESPACE = bytes.fromhex("5c1f0e6b9c2b4f3a8e0d7a4651c3b2d9")  # drawn once, for ever
TABLES_CACHED = 4096  # hash states by table and kind; far above the tables of one schema

_TEXT, _DERIVED, _COMPOSITE, _COPY, _BASELINE, _VARIANT_OF = b"t", b"d", b"c", b"r", b"b", b"v"
_VERSION = tuple(bytes([0x50 | byte & 0x0F]) for byte in range(256))
_VARIANT = tuple(bytes([0x80 | byte & 0x3F]) for byte in range(256))

_fromhex = bytes.fromhex


def canonical_uuid(text: str) -> RowKey | None:
    """The 16 bytes of a UUID written as 8-4-4-4-12 hexadecimal digits; None for other text.

    Any case, and trailing blanks as a CHAR(38) column may return them.
    """
    if len(text) != 36:
        text = text.rstrip(" ")
        if len(text) != 36:
            return None
    if text[8:24:5] != "----":
        return None
    try:
        key = _fromhex(text.replace("-", ""))
    except ValueError:
        return None
    # `fromhex` skips blanks, and `replace` further dashes: either leaves too few bytes.
    return RowKey(key) if len(key) == 16 else None


def uuid_text(key: bytes) -> str:
    """The canonical text of a key, in lower case."""
    digits = key.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def canonical_uuids(texts: Sequence[str]) -> list[RowKey] | None:
    """The keys of texts that are all canonical, lower-case UUIDs; None if any is something else.

    The same as `canonical_uuid` of each and a comparison with `uuid_text`, at a fifth of the
    cost: the texts are checked and decoded as one.
    """
    count = len(texts)
    joined = "".join(texts)
    if len(joined) != 36 * count or set(map(len, texts)) - {36}:
        return None
    dashes = "-" * count
    if any(joined[place::36] != dashes for place in (8, 13, 18, 23)):
        return None
    digits = joined.replace("-", "")
    try:
        both = _fromhex(digits)
    except ValueError:
        return None
    if both.hex() != digits:
        return None
    return [RowKey(both[start : start + 16]) for start in range(0, 16 * count, 16)]


def text_key(table: str, text: str) -> RowKey:
    """The key of the row that this text names: a canonical UUID itself, or a hash of the text."""
    return canonical_uuid(text) or _hashed(_TEXT, table, text.encode("utf-8", _ODD))


def content_key(table: str, value: Value) -> RowKey:
    """The key of a row by the one column that names it, whatever its type.

    Sixteen bytes are a UUID in binary form and agree with the same UUID as text.
    """
    if isinstance(value, str):
        return text_key(table, value)
    if isinstance(value, bytes) and len(value) == 16:
        return RowKey(value)
    if isinstance(value, int | float):
        return _hashed(_TEXT, table, _number_text(value).encode())
    return composite_key(table, (value,))


def derived_key(table: str, parent_key: bytes) -> RowKey:
    """The key of a row whose primary key is its parent's (patient for a person)."""
    return _hashed(_DERIVED, table, parent_key)


def composite_key(table: str, parts: Sequence[Value]) -> RowKey:
    """The key of a row by several columns, in the order of the plan's `key_columns`."""
    return _hashed(_COMPOSITE, table, b"".join([_part(part) for part in parts]))


def copy_key(table: str, values: Sequence[Value], ordinal: int) -> RowKey:
    """The key of one of several equal rows of a table without primary key, from 0 (rule A14)."""
    content = b"".join([_part(value) for value in values])
    return _hashed(_COPY, table, ordinal.to_bytes(8, "big") + content)


def baseline_key(table: str, local_key: int, values: Sequence[Value]) -> RowKey:
    """The key of a row that has a counter for its only name and is older than the installation.

    Two sites that were loaded from one dump give such a row one key (rule B5).
    """
    content = b"".join([_part(value) for value in values])
    return _hashed(_BASELINE, table, local_key.to_bytes(8, "big", signed=True) + content)


def variant_key(table: str, parts: Sequence[Value]) -> RowKey:
    """The key of a row whose own key another row has taken: of what tells the two apart.

    Nothing falls together here, not even 1 and '1', nor a UUID in two spellings.
    """
    kinds = b"".join([_KINDS.get(type(part), b"") for part in parts])
    return _hashed(_VARIANT_OF, table, kinds + b":" + b"".join([_part(part) for part in parts]))


_KINDS = {int: b"i", float: b"f", str: b"s"}  # all else is told apart by its field


_ODD = "surrogatepass"  # SQLite may hand out text that is no valid Unicode


def _part(value: Value) -> bytes:
    """One field: its type, its length, its bytes."""
    if value is None:
        return b"N"
    if isinstance(value, str):
        content = value.encode("utf-8", _ODD)
        return b"T%d:%b" % (len(content), content)
    if isinstance(value, Reference):
        table = value.table.encode("utf-8", _ODD)
        return b"R%d:%b%b" % (len(table), table, value.key)
    if isinstance(value, bytes):
        return b"B%d:%b" % (len(value), value)
    content = _number_text(value).encode()
    return b"T%d:%b" % (len(content), content)


def _number_text(value: int | float) -> str:
    """The shortest decimal text; whole numbers alike whether an engine keeps them as float."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(int(value)) if isinstance(value, bool) else repr(value)


@lru_cache(maxsize=TABLES_CACHED)
def _started(kind: bytes, table: str) -> "_Hash":
    name = table.encode("utf-8", _ODD)
    return sha1(NAMESPACE + kind + len(name).to_bytes(4, "big") + name, usedforsecurity=False)


def _hashed(kind: bytes, table: str, content: bytes) -> RowKey:
    """UUIDv5 of the table's name and the content, by way of a hash begun once for each table."""
    state = _started(kind, table).copy()
    state.update(content)
    digest = state.digest()
    return RowKey(
        digest[:6] + _VERSION[digest[6]] + digest[7:8] + _VARIANT[digest[8]] + digest[9:16]
    )
