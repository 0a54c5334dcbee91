"""What a site's tables hold, in hashes that two sites of different engines compute alike.

`join` compares them before it writes: the number of rows and the sum of their hashes by table,
and, where those differ, the hash of each row.
"""

import hashlib
import struct
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from syncnode.database import Transaction
from syncnode.hidden import PARKED, SHOWN
from syncnode.table import Table
from syncproto.identity import RowKey
from syncproto.joining import ROW_HASH_BYTES

ROWS_PER_READ = 5_000

Hashes = dict[RowKey, bytes]


def contents(tx: Transaction, tables: Collection[Table], lsn: int) -> dict[str, tuple[int, int]]:
    """Number of rows, and sum of their hashes modulo 2**64, by table."""
    found = {}
    for table in tables:
        count = total = 0
        first = _next_lsn(tx, table, 1)
        while first is not None and first <= lsn:
            upto = min(first + ROWS_PER_READ - 1, lsn)
            hashes = row_hashes(tx, table, first, upto)
            count += len(hashes)
            total += sum(int.from_bytes(one, "big") for one in hashes.values())
            first = _next_lsn(tx, table, upto + 1)
        found[table.name] = (count, total % (1 << 64))
    return found


def _next_lsn(tx: Transaction, table: Table, lsn: int) -> int | None:
    """The lowest lsn from `lsn` on that a row of the table bears."""
    column, source = "syncnode_lsn", table.clock_name
    if table.plan.key_kind == "none":
        column, source = "lsn", "syncnode_row"
    found: int | None = tx.value(
        f"SELECT min({column}) FROM {source} WHERE {column}>={tx.mark}", (lsn,)
    )
    return found


def row_count(tx: Transaction, table: Table) -> int:
    """How many rows the table has here."""
    return int(tx.value(f"SELECT count(*) FROM {table.quoted}"))


def row_hashes(tx: Transaction, table: Table, first: int, upto: int) -> Hashes:
    """The hash of each row that the table shows with an lsn in [first, upto], by row key.

    The journal is sealed, so that each row has a clock.
    """
    if table.plan.key_kind == "none":
        # Equal keys mean equal rows there: the key is made of the whole row.
        return {
            RowKey(bytes(key)): bytes(ROW_HASH_BYTES)
            for (key,) in tx.rows(
                f"SELECT row_key FROM syncnode_row WHERE tbl={tx.mark} AND place={tx.mark} "
                f"AND lsn BETWEEN {tx.mark} AND {tx.mark}",
                (table.number, SHOWN, first, upto),
            )
        }
    rows = table.changed(tx, first, upto)
    parked = _parked(tx, table) if rows else set()
    kinds = [column.kind for column in table.travelling]
    order = sorted(range(len(table.columns)), key=lambda place: table.columns[place])
    return {
        RowKey(bytes(row[4])): row_hash(
            bytes(row[4]), [(table.columns[at], kinds[at], values[at]) for at in order]
        )
        for row, values in zip(rows, table.wire_rows(rows), strict=True)
        if bytes(row[4]) not in parked
    }


def _parked(tx: Transaction, table: Table) -> set[bytes]:
    return {
        bytes(key)
        for (key,) in tx.rows(
            f"SELECT row_key FROM syncnode_row WHERE tbl={tx.mark} AND place={tx.mark}",
            (table.number, PARKED),
        )
    }


def row_hash(key: bytes, cells: Sequence[tuple[str, str, Any]]) -> bytes:
    """A hash of a row: its key, and (column, kind, wire value) in the order of the names."""
    hasher = hashlib.sha256(key)
    for name, kind, value in cells:
        for part in (name.encode(), canonical(kind, value)):
            hasher.update(len(part).to_bytes(8, "big") + part)
    return hasher.digest()[:ROW_HASH_BYTES]


def canonical(kind: str, value: Any) -> bytes:
    """A value as bytes that are the same on every engine.

    Fractions count to four bytes' precision, which the narrowest column keeps, so that a row
    does not count as different for the engine that it lies in.
    """
    if value is None:
        return b"n"
    if isinstance(value, bytes | bytearray | memoryview):
        return b"b" + bytes(value)
    if kind == "decimal" or isinstance(value, Decimal):
        return b"d" + _decimal_text(value).encode()
    if isinstance(value, bool | int):
        return b"i%d" % int(value)
    if isinstance(value, float):
        if value.is_integer():
            return b"i%d" % int(value)
        try:
            return b"f" + struct.pack(">f", value)
        except OverflowError:
            return b"f" + repr(value).encode()
    text = str(value)
    if kind in ("datetime", "time") and "." in text:
        text = text.rstrip("0").rstrip(".")
    return b"t" + text.encode("utf-8", "surrogatepass")


def _decimal_text(value: Any) -> str:
    try:
        number = Decimal(str(value))
        text = format(number, "f")
    except (InvalidOperation, ValueError):
        return str(value)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def compared(
    here: Mapping[RowKey, bytes], there: Mapping[RowKey, bytes]
) -> tuple[int, int, int, int]:
    """How many rows are the same, only here, only there, and different."""
    same = sum(1 for key, one in here.items() if there.get(key) == one)
    both = sum(1 for key in here if key in there)
    return same, len(here) - both, len(there) - both, both - same
