"""How much is written at once: little, until a link has shown that it carries much.

What is written at once is one record of TLS, and a record counts only as a whole: of one that is
under way when a link breaks nothing is left.
"""

SMALL_BYTES = 1024  # 8 s at 1 kbit/s; a record adds 22 bytes
# Of a request that has broken once. About what loses least on 1 kbit/s that is cut every 30 s:
# half a record at each cut, against 22 bytes a record.
BROKEN_BYTES = 384
LARGE_BYTES = 16 * 1024
# More than what the system takes in at once before anything has left (Linux: 16 kB at first).
TRIED_BYTES = 32 * 1024
QUICK_BYTES_A_S = 32 * 1024


def piece_bytes(written: int, elapsed_s: float, *, small_bytes: int = SMALL_BYTES) -> int:
    """The size of the next piece, when so much was written in so long."""
    quick = written >= TRIED_BYTES and written >= QUICK_BYTES_A_S * elapsed_s
    return LARGE_BYTES if quick else small_bytes
