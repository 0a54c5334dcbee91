"""What the node is doing, for tests that kill it in the middle: phases, a line each.

With `SYNCNODE_TRACE=FILE` in the environment each phase writes "begin NAME" and "end NAME" to
the file, unbuffered. Otherwise it costs a comparison.
"""

import contextlib
import os
from collections.abc import Iterator

_file: int | None = None
if "SYNCNODE_TRACE" in os.environ:
    _file = os.open(os.environ["SYNCNODE_TRACE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """Mark the block as a phase of the node's work."""
    if _file is None:
        yield
        return
    os.write(_file, f"begin {name}\n".encode())
    yield
    os.write(_file, f"end {name}\n".encode())
