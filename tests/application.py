"""An application in a process of its own: it writes all the time, and knows what it has committed.

    python application.py URL NAME FOLDER

It takes lines from its standard input: "burst N" writes N rows in one transaction, "end" ends it.
Otherwise it commits a small transaction every `PAUSE_S`. At the end it writes what must stand in
the tables, of all that it alone has written, to FOLDER/NAME.json. Rows named in
FOLDER/shared.json are edited by every application at once.
"""

import json
import random
import select
import sqlite3
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pymysql
from sites import connect
from tables import dialect_of

PAUSE_S = 0.02
LOST_S = 0.2  # before a server that is gone is asked again
LOST_MAX = 300


class Application:
    """One connection and the rows that it has committed.

    Attributes:
        patients: uuid to (name, village).
        visits: uuid to (uuid of the patient, note).
    """

    def __init__(self, url: str, name: str, shared: list[str]) -> None:
        self._url = url
        self._name = name
        self._shared = shared
        self._draw = random.Random(name)
        self._count = 0
        self.patients: dict[str, tuple[str, str]] = {}
        self.visits: dict[str, tuple[str, str]] = {}
        self._open()

    def _open(self) -> None:
        self._connection = connect(self._url)
        self._server = dialect_of(self._connection) != "sqlite"

    def write(self, rows: int) -> None:
        """One transaction of so many new rows, with an edit and a delete of older ones.

        What the tables must hold afterwards is known even if the server went away in it.
        """
        patients, visits = dict(self.patients), dict(self.visits)
        new = [str(uuid.uuid4()) for _ in range(max(1, rows // 2))]
        try:
            self._say("START TRANSACTION" if self._server else "BEGIN IMMEDIATE")
            self._write(new, patients, visits)
            self._say("COMMIT")
        except (pymysql.MySQLError, psycopg.Error):
            if not self._committed(new[0]):
                return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):  # at its beginning, so nothing is open
                raise
            return
        self.patients, self.visits = patients, visits

    def _write(self, new: list[str], patients: dict[str, Any], visits: dict[str, Any]) -> None:
        named = {key: (self._text(), "here") for key in new}
        self._many(
            "INSERT INTO patient (uuid, name, village) VALUES (?, ?, ?)",
            [(key, *values) for key, values in named.items()],
        )
        patients.update(named)
        noted = {str(uuid.uuid4()): (key, self._text()) for key in new}
        self._many(
            "INSERT INTO visit (uuid, patient_id, note) "
            "SELECT ?, id, ? FROM patient WHERE uuid = ?",
            [(key, note, patient) for key, (patient, note) in noted.items()],
        )
        visits.update(noted)
        key = self._draw.choice(new)
        patients[key] = (patients[key][0], self._text())
        self._say("UPDATE patient SET village = ? WHERE uuid = ?", patients[key][1], key)
        if self._draw.random() < 0.3:
            old = self._draw.choice(list(visits))
            del visits[old]
            self._say("DELETE FROM visit WHERE uuid = ?", old)
        self._say(
            "UPDATE patient SET name = ? WHERE uuid = ?",
            self._text(),
            self._draw.choice(self._shared),
        )

    def _committed(self, key: str) -> bool:
        """Whether the transaction that wrote `key` stands, once the server is back."""
        for _ in range(LOST_MAX):
            try:
                self._open()
                return bool(self._say("SELECT 1 FROM patient WHERE uuid = ?", key))
            except (pymysql.MySQLError, psycopg.Error):
                time.sleep(LOST_S)
        raise AssertionError("the server did not come back")

    def _say(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        cursor = self._connection.cursor()
        cursor.execute(self._marked(sql), parameters)
        return list(cursor.fetchall()) if cursor.description else []

    def _many(self, sql: str, rows: list[tuple[object, ...]]) -> None:
        self._connection.cursor().executemany(self._marked(sql), rows)

    def _marked(self, sql: str) -> str:
        return sql.replace("?", "%s") if self._server else sql

    def _text(self) -> str:
        self._count += 1
        return f"{self._name} {self._count}"


def main(url: str, name: str, folder: Path) -> None:
    application = Application(url, name, json.loads((folder / "shared.json").read_text()))
    # Unbuffered: an order that waits in a buffer of ours would not wake `select`.
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as orders:
        while True:
            ready, _, _ = select.select([orders], [], [], PAUSE_S)
            order = orders.readline().decode().split() if ready else []
            if order == ["end"] or (ready and not order):
                break
            application.write(int(order[1]) if order else 2)
    told = {"patients": application.patients, "visits": application.visits}
    (folder / f"{name}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
