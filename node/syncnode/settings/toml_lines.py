"""Where in a TOML file each key stands, so that a fault can be named with its line.

`tomllib` gives values without places. This scanner reads the same text a second time for its
keys alone: table headers, arrays of tables, dotted and quoted keys, inline tables, elements of
arrays; strings, also over several lines, are skipped. The text must be valid TOML already.
"""

import re
import tomllib

Path = tuple[str | int, ...]
"""The keys from the root to a value; an element of an array is named by its index."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")  # numbers, dates, true and false


def lines_by_path(text: str) -> dict[Path, int]:
    """The line, counted from 1, of every table, key and element of `text`."""
    return _Scanner(text).lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of `path`, or of the nearest table above it when the key is missing; else 1."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return 1


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.lines: dict[Path, int] = {}
        self._headed: set[Path] = set()  # whose line is that of a header or key of their own
        self._elements: dict[Path, int] = {}  # array of tables -> index of its latest element
        self._line, self._line_place = 1, 0
        self._scan_document()

    def _scan_document(self) -> None:
        table: Path = ()
        while self._skip_blank():
            if self.text.startswith("[", self.place):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        line = self._line_here()
        brackets = 2 if self.text.startswith("[[", self.place) else 1
        self.place += brackets
        parts = self._dotted_key()
        self.place += brackets
        path: Path = ()
        for part in parts[:-1]:
            path = self._inside((*path, part), line)
        path = (*path, parts[-1])
        self._note(path, line)
        if brackets == 2:
            self._elements[path] = self._elements.get(path, -1) + 1
            path = (*path, self._elements[path])
            self._note(path, line)
        return path

    def _inside(self, path: Path, line: int) -> Path:
        """The table at `path`; of an array of tables the latest element."""
        self.lines.setdefault(path, line)
        return (*path, self._elements[path]) if path in self._elements else path

    def _pair(self, table: Path) -> None:
        line = self._line_here()
        path = table
        parts = self._dotted_key()
        for part in parts[:-1]:
            path = (*path, part)
            self.lines.setdefault(path, line)
        path = (*path, parts[-1])
        self._note(path, line)
        self._skip_blank()
        self.place += 1  # the equals sign
        self._skip_blank()
        self._value(path)

    def _note(self, path: Path, line: int) -> None:
        # `[a.b]` may stand before `[a]`: then the line of `a` is still that of its own header.
        if path not in self._headed:
            self._headed.add(path)
            self.lines[path] = line

    def _value(self, path: Path) -> None:
        string = _STRING.match(self.text, self.place)
        if string:
            self.place = string.end()
        elif self.text.startswith("[", self.place):
            self._array(path)
        elif self.text.startswith("{", self.place):
            self._inline_table(path)
        else:
            scalar = _SCALAR.match(self.text, self.place)
            assert scalar, f"no TOML value at {self.place}"
            self.place = scalar.end()

    def _array(self, path: Path) -> None:
        self.place += 1
        index = 0
        while self._skip_blank() and not self.text.startswith("]", self.place):
            if self.text.startswith(",", self.place):
                self.place += 1
                continue
            self._note((*path, index), self._line_here())
            self._value((*path, index))
            index += 1
        self.place += 1

    def _inline_table(self, path: Path) -> None:
        self.place += 1
        while self._skip_blank() and not self.text.startswith("}", self.place):
            if self.text.startswith(",", self.place):
                self.place += 1
            else:
                self._pair(path)
        self.place += 1

    def _dotted_key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self._skip_blank()
            parts.append(self._key())
            self._skip_blank()
            if not self.text.startswith(".", self.place):
                return parts
            self.place += 1

    def _key(self) -> str:
        match = _BARE_KEY.match(self.text, self.place) or _STRING.match(self.text, self.place)
        assert match, f"no TOML key at {self.place}"
        self.place = match.end()
        key = match.group()
        if key[0] in "\"'":  # a quoted key is a string: let the parser undo its escapes
            (key,) = tomllib.loads(f"{key} = 0")
        return key

    def _skip_blank(self) -> bool:
        """Pass blanks, line ends and comments; false at the end of the text."""
        match = _BLANK.match(self.text, self.place)
        assert match, "blank matches the empty text"
        self.place = match.end()
        return self.place < len(self.text)

    def _line_here(self) -> int:
        self._line += self.text.count("\n", self._line_place, self.place)
        self._line_place = self.place
        return self._line
