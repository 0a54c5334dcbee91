"""Imports point one way, and the protocol has no I/O, clock or randomness of its own."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import syncnode
import syncproto
import syncsim

PACKAGES = {
    package.__name__: Path(package.__file__ or "").parent
    for package in (syncproto, syncnode, syncsim)
}
# Of these only what is a constant or a value in memory; the rest of them is the process.
PURE_PARTS = {"sys": {"version_info", "maxsize", "byteorder"}, "io": {"BytesIO", "StringIO"}}
# What the protocol may use: values and functions of them. Anything else is a decision.
PURE = {
    *("__future__", "abc", "base64", "bisect", "collections", "contextlib", "dataclasses"),
    *("datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "hmac"),
    *("itertools", "json", "math", "operator", "re", "string", "struct", "types", "typing"),
    *("unicodedata", "uuid", "zlib", "binascii", "copy", "array", *PURE_PARTS),
    *("cbor2", "backports", "compression", "syncproto"),
}
# Doors to the outside world that stand in those modules or need no import at all.
IMPURE_NAMES = {"open", "print", "input", "exec", "eval", "breakpoint", "__import__"}
IMPURE_ATTRIBUTES = {"now", "utcnow", "today", "uuid1", "uuid4", "getnode"}
HEAVY = {
    *("trio", "httpx", "sqlalchemy", "pymysql", "psycopg", "syncnode", "socket", "ssl", "sqlite3")
}
# What the judges of a run may use of the code that they judge.
VALUES = {"syncproto.frontier", "syncproto.identity", "syncproto.row"}


def modules(package: str) -> list[Path]:
    return sorted(PACKAGES[package].rglob("*.py"))


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Each imported module with its line; a relative import stays within the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.lineno, node.module or ""


def parts(node: ast.AST) -> list[tuple[str, str]]:
    """Module and name where `node` takes a name from a module, as `sys.maxsize` does."""
    if isinstance(node, ast.ImportFrom) and node.module:
        return [(node.module, alias.name) for alias in node.names]
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return [(node.value.id, node.attr)]
    return []


def outside(path: Path, source: str) -> list[str]:
    """What in a module of the protocol reaches out of it."""
    tree = ast.parse(source)
    found = [
        f"{path.name}:{line}: imports {name}"
        for line, name in imports(tree)
        if name.partition(".")[0] not in PURE
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in IMPURE_NAMES:
            found.append(f"{path.name}:{node.lineno}: uses {node.id}")
        if isinstance(node, ast.Attribute) and node.attr in IMPURE_ATTRIBUTES:
            found.append(f"{path.name}:{node.lineno}: uses .{node.attr}")
        for module, name in parts(node):
            if name not in PURE_PARTS.get(module, {name}):
                found.append(f"{path.name}:{node.lineno}: uses {module}.{name}")
    return found


def test_the_protocol_reaches_nothing_outside():
    assert modules("syncproto")
    for path in modules("syncproto"):
        assert outside(path, path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "def f():\n    from random import Random",
        "import trio.abc",
        "from syncnode import config",
        "from datetime import datetime\ndatetime.now()",
        "import uuid\nuuid.uuid4()",
        "open('x')",
        "import sys\nsys.stdout.write('x')",
        "from sys import stdout",
        "import io\nio.open('x')",
    ],
)
def test_a_way_out_of_the_protocol_would_be_seen(source):
    assert outside(Path("module.py"), source)


@pytest.mark.parametrize(
    ("package", "above"),
    [("syncproto", {"syncnode", "syncsim"}), ("syncnode", {"syncsim"})],
)
def test_nothing_imports_a_layer_above_its_own(package, above):
    for path in modules(package):
        for line, name in imports(ast.parse(path.read_text())):
            assert name.partition(".")[0] not in above, f"{path}:{line}"


def test_the_checkers_know_of_the_code_under_test_only_its_values():
    paths = sorted((PACKAGES["syncsim"] / "checkers").glob("*.py"))
    assert len(paths) > len(VALUES)
    for path in paths:
        for line, name in imports(ast.parse(path.read_text())):
            under_test = name.partition(".")[0] in ("syncproto", "syncnode")
            assert not under_test or name in VALUES, f"{path}:{line}"


def test_the_protocol_can_be_imported_alone():
    names = [
        ".".join(path.relative_to(PACKAGES["syncproto"].parent).with_suffix("").parts)
        for path in modules("syncproto")
    ]
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {name.partition(".")[0] for name in done.stdout.split()} & HEAVY
