"""Shapes of tables to bytes and back: the parts of questions and findings that bring them.

The format is specified in protocol/README.md.
"""

from collections.abc import Mapping
from typing import Any

from syncproto.directory import Directory, Names
from syncproto.errors import MalformedMessageError
from syncproto.frames import as_list, as_name, item
from syncproto.integers import ints, packed_ints
from syncproto.limits import Limits, within
from syncproto.page_bytes import NOTHING
from syncproto.questions import TABLE_HASH_BYTES, Question, TableHash
from syncproto.shapes import SHAPE_BYTES, Shape, ShapeCheck


def shapes_asked(question: Question) -> bytes:
    """The piece with the checks of shapes, and the columns that are left out."""
    shapes, left_out = question.shapes or {}, question.left_out or {}
    if not shapes and not left_out:
        return NOTHING
    return item(
        [
            b"".join(shapes),
            b"".join(shapes.values()),
            b"".join(left_out),
            [list(columns) for columns in left_out.values()],
        ]
    )


def read_shapes_asked(
    part: Any, limits: Limits
) -> tuple[dict[TableHash, ShapeCheck], dict[TableHash, tuple[str, ...]]]:
    if part == []:
        return {}, {}
    tables, checks, narrowed, columns = as_list(part, range(4, 5))
    named = _tables(tables, limits)
    shapes = dict(zip(named, _cut(checks, SHAPE_BYTES, len(named)), strict=True))
    narrow = _tables(narrowed, limits)
    lists = as_list(columns, range(len(narrow), len(narrow) + 1))
    return shapes, {
        table: tuple(
            as_name(name, limits.name_length) for name in as_list(names, range(limits.columns + 1))
        )
        for table, names in zip(narrow, lists, strict=True)
    }


def shapes_told(shapes: Mapping[TableHash, Shape], directory: Directory) -> bytes:
    """The piece with the shapes that are otherwise than was asked."""
    if not shapes:
        return NOTHING
    told = shapes.values()
    return item(
        [
            b"".join(shapes),
            packed_ints([directory.names[shape.naming] for shape in told]),
            packed_ints([len(shape.dropped) for shape in told]),
            packed_ints([directory.names[name] for shape in told for name in shape.dropped]),
        ]
    )


def read_shapes_told(part: Any, directory: Names, limits: Limits) -> dict[TableHash, Shape]:
    if part == []:
        return {}
    tables, namings, counts, columns = as_list(part, range(4, 5))
    named = _tables(tables, limits)
    widths = ints(counts, len(named), 0, limits.columns)
    names = iter(ints(columns, within(sum(widths), limits.names, "columns"), 0))
    return {
        table: Shape(
            directory.name(naming), tuple(directory.name(next(names)) for _ in range(width))
        )
        for table, naming, width in zip(named, ints(namings, len(named), 0), widths, strict=True)
    }


def _tables(joined: Any, limits: Limits) -> list[TableHash]:
    named = _cut(joined, TABLE_HASH_BYTES)
    within(len(named), limits.scopes, "tables")
    if len(set(named)) != len(named):
        raise MalformedMessageError("a table is listed twice")
    return named


def _cut(joined: Any, width: int, count: int | None = None) -> list[bytes]:
    if type(joined) is not bytes or len(joined) % width:
        raise MalformedMessageError(f"expected pieces of {width} bytes")
    if count is not None and len(joined) != width * count:
        raise MalformedMessageError(f"expected {count} pieces of {width} bytes")
    return [joined[at : at + width] for at in range(0, len(joined), width)]
