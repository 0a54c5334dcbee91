"""Compression of message bodies: zstd level 3, and none where it buys nothing.

Inflating is bounded three times: by a cap on the result, by the window that a frame may ask
for, and by a ratio that no honest body of ours has, since what compresses beyond it is sent as
it is. So a few kilobytes cannot make us write many megabytes.
"""

import sys

from syncproto.errors import IncompatiblePeerError, LimitExceededError, MalformedMessageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NONE, ZSTD = 0, 1
NO_DICTIONARY = 0  # trained dictionaries will be numbered from 1
LEVEL = 3  # level 1 is 8 % larger, level 9 three times slower for 3 %
# A small body takes so little time either way that the thinnest link decides: 3 % smaller, and at
# 16 kB some 2 ms instead of 0.1.
SMALL_LEVEL, SMALL_BYTES = 15, 16 << 10
WORTHWHILE_BYTES = 300  # below, zstd's own header eats the gain
WINDOW_LOG_MAX = 23  # 8 MiB, what every zstd decoder must support; level 3 uses 2 MiB
RATIO_MAX = 256  # row keys are random, so a body of rows reaches some 30 at most
RATIO_FREE_BYTES = 64 << 10  # a small body may have any ratio


def deflated(body: bytes) -> tuple[int, bytes]:
    """The compression chosen for a body, and the body under it."""
    if len(body) < WORTHWHILE_BYTES:
        return NONE, body
    packed = zstd.compress(body, level=SMALL_LEVEL if len(body) < SMALL_BYTES else LEVEL)
    if len(packed) >= len(body) or len(body) > _inflated_bytes_max(len(packed)):
        return NONE, body
    return ZSTD, packed


def inflated(compression: int, dictionary: int, packed: bytes, *, bytes_max: int) -> bytes:
    """The inverse of `deflated`.

    Raises:
        IncompatiblePeerError: A compression or dictionary that this node does not have.
        LimitExceededError: The body would be over `bytes_max`, or it is a bomb.
        MalformedMessageError: The bytes are damaged.
    """
    if compression not in (NONE, ZSTD) or dictionary != NO_DICTIONARY:
        raise IncompatiblePeerError(
            f"the peer sent compression {compression} with dictionary {dictionary}, this node "
            f"has {NONE} and {ZSTD} without a dictionary: upgrade the older of the two"
        )
    if compression == NONE:
        return _bounded(packed, bytes_max)
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG_MAX}
    decompressor = zstd.ZstdDecompressor(options=options)
    bytes_max = min(bytes_max, _inflated_bytes_max(len(packed)))
    try:
        body = _bounded(decompressor.decompress(packed, max_length=bytes_max + 1), bytes_max)
    except zstd.ZstdError as error:
        raise MalformedMessageError(f"the message does not inflate: {error}") from error
    if not decompressor.eof or decompressor.unused_data:
        raise MalformedMessageError("the message does not end where its compression ends")
    return body


def _bounded(body: bytes, bytes_max: int) -> bytes:
    if len(body) > bytes_max:
        raise LimitExceededError(f"a message body may inflate to {bytes_max} bytes, not more")
    return body


def _inflated_bytes_max(packed_bytes: int) -> int:
    return max(RATIO_FREE_BYTES, RATIO_MAX * packed_bytes)
