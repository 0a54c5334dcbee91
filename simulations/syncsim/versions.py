"""Which version of the code made a run: its number, and a digest of the sources that decide it."""

import hashlib
import platform
from functools import cache
from importlib import metadata
from pathlib import Path

import syncnode
import syncproto
import syncsim

# Of `syncsim`: what shows, repeats or spreads runs and has no say in how one goes.
_NO_SAY = {
    *("__main__.py", "cells.py", "cli.py", "compare.py", "estimates.py", "intervals.py"),
    *("overrides.py", "plain.py", "progress.py", "replay.py", "report", "run_folder.py"),
    *("sweep.py", "versions.py"),
}


def version() -> str:
    """The number of the installed package."""
    return metadata.version("syncnode")


def python_version() -> str:
    """Of the interpreter: its generators and floats have a say, too."""
    return platform.python_version()


@cache
def code_digest() -> str:
    """Sixteen hex digits of SHA-256 over the sources that have a say in a run.

    Between releases the number stays while the code changes; this tells the two apart.
    """
    digest = hashlib.sha256()
    for package in (syncproto, syncnode, syncsim):
        folder = Path(package.__file__ or "").parent
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).parts
            if package is syncsim and parts[0] in _NO_SAY:
                continue
            for part in (package.__name__, *parts):
                digest.update(part.encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
