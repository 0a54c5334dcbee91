"""Applications that nobody here has written for: a file each, with its schema and two databases.

A file has sections: `schema`, the rows `here` and `there`, what each side `writes` after they met,
what is `shown` of them by names that mean the same everywhere, and the `preset` that such an
application needs. `schema mysql` is for one engine alone. Names stand in double quotes on all.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mariadb_sites import COUNTERS, in_postgresql, say
from tables import dialect_of, fill

FOLDER = Path(__file__).parent
# Zero dates, too, are written by those for whom they were once allowed.
MODE = "SET sql_mode = 'ANSI_QUOTES,NO_ENGINE_SUBSTITUTION'"


@dataclass(frozen=True)
class Stranger:
    name: str
    sections: Mapping[str, str]

    @property
    def preset(self) -> str:
        return self.sections.get("preset", "")

    def fill(self, connection: Any, side: str) -> None:
        """Make the tables, with the rows of that side."""
        for section in ("schema", side):
            self.run(connection, section)
        fill(connection, ())  # so that the engine's own numbers begin after those that were given

    def run(self, connection: Any, section: str) -> None:
        for statement in self._statements(section, connection):
            say(connection, statement)

    def shown(self, connection: Any) -> dict[str, list[str]]:
        """By question what the database answers, in any order."""
        return {
            question: sorted(str(tuple(map(_plain, row))) for row in say(connection, question))
            for question in self._statements("shown", connection)
        }

    def _statements(self, section: str, connection: Any) -> list[str]:
        engine = dialect_of(connection)
        if engine == "mysql":
            say(connection, MODE)
        text = self.sections.get(section, "") + self.sections.get(f"{section} {engine}", "")
        return [_worded(one, engine) for one in text.split(";\n") if one.strip()]


def stranger(name: str) -> Stranger:
    parts = re.split(r"^--- (.+)\n", (FOLDER / f"{name}.sql").read_text(), flags=re.MULTILINE)
    return Stranger(name, dict(zip(parts[1::2], parts[2::2], strict=True)))


def _worded(statement: str, engine: str) -> str:
    words = {
        "auto": COUNTERS.get(engine, ""),
        # SQLite counts only what is called so.
        "bigint": "INTEGER" if engine == "sqlite" else "BIGINT",
        # The greatest number of an unsigned BIGINT, where there is one.
        "most": "18446744073709551615" if engine != "sqlite" else "9223372036854775807",
    }
    for number in (1, 2, 3):
        name = f"{number:032}"
        words[f"u{number}"] = f"'{name}'" if engine == "postgresql" else f"x'{name}'"
    for word, text in words.items():
        statement = statement.replace("{" + word + "}", text)
    # Columns of all engines have one name for their type; those of one engine have its own.
    common = engine == "postgresql" and "CREATE TABLE wide" not in statement
    return in_postgresql(statement) if common else statement


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    text = str(value)
    # A moment with a zone is shown in the zone of the connection.
    moment = re.fullmatch(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(\.\d+)?(\+00:00)?", text)
    if moment:
        return moment[1] + (moment[2] or "").rstrip("0")
    return float(value) if type(value).__name__ == "Decimal" and value == value else value
