"""`demo`: three sites on this machine are cut off from each other, edited, and brought together.

Everything is real: three SQLite files, three `syncnode serve` processes, an application that
writes plain SQL and knows nothing of syncnode. What is told at the end is read from the files
and from the conflicts on record; the judge of equality is plain SQL that walks the foreign keys
by uuid, and none of our own clocks or sums.
"""

import contextlib
import os
import shlex
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from syncnode.operations.demo_site import POLL_S, Place, all_ended, free_port

if TYPE_CHECKING:
    from syncnode.reports import ConflictReport
    from syncnode.settings.config import Settings

Say = Callable[[str], None]

HOSPITAL, CLINICS = "hospital", ("butaro", "rwinkwavu")
NAMES = (HOSPITAL, *CLINICS)
EQUAL_S_MAX = 15.0  # usually one, and three after the cut: a clinic calls again after a pause


@dataclass(frozen=True, slots=True)
class Edit:
    """One statement of the application at one site while the link is cut.

    Attributes:
        what: The value in words, such as "Grace's phone".
        column: None for a delete of the row.
    """

    site: str
    what: str
    table: str
    uuid: str
    column: str | None = None
    value: str | None = None


def demo(*, say: Say) -> bool:
    """Three sites on this machine, cut off and brought together; True if all ended equal.

    Makes a folder below the current one and leaves it there, with the files of all sites. Ends
    its processes whatever happens.

    Raises:
        SyncError: A site could not be made, or its process ended by itself.
        OSError: The folder could not be made.
    """
    folder = _new_folder()
    say(f"Three sites in {folder.name}/, each with its own SQLite file and its own process.")
    with contextlib.ExitStack() as stack:
        places = {name: Place(folder, name) for name in NAMES}
        for place in places.values():
            stack.callback(place.close)
        return _told(folder, places, say)


def _told(folder: Path, places: Mapping[str, Place], say: Say) -> bool:
    with all_ended(list(places.values())):
        say("\nJoining")
        known = _fill(places[HOSPITAL])
        settings = _join_all(places, say)
        if not _told_equal(places, say):
            return False
        say("\nThe link is cut: the hospital's syncnode is stopped, and everybody goes on writing")
        places[HOSPITAL].end()
        edits = _edit(places, known, say)
        new = _register_two(places, say)
        say("\nThe link is back")
        places[HOSPITAL].start()
        if not _told_equal(places, say):
            return False
    from syncnode.operations.reporting import conflicts

    say("\nWhat happened, as the files have it now")
    accounted = _tell_edits(places[HOSPITAL], edits, conflicts(settings[HOSPITAL]), say)
    _tell_new(places, new, say)
    equal = _equal(places)
    say("\n" + _verdict(places, equal))
    _tell_what_next(folder, say)
    return equal and accounted


# Before the cut


def _new_folder() -> Path:
    number = 1
    while True:
        folder = Path.cwd() / f"syncnode-demo-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _fill(hospital: Place) -> dict[str, str]:
    """What the hospital knew before syncnode came; uuids by name."""
    found = {}
    for name, village, phone, question, answer in (
        ("Grace Uwase", "Nyamata", "0788 300 101", "weight (kg)", "58"),
        ("Jean Bosco", "Kinigi", "0788 300 102", "temperature (C)", "38.4"),
        ("Claire Ingabire", "Burera", "0788 300 103", "weight (kg)", "6.24"),
    ):
        person, obs = _register(hospital, name, village, phone, question, answer)
        found[name] = person
        found[f"{name}, {question}"] = obs
    return found


def _register(
    place: Place, name: str, village: str, phone: str, question: str, answer: str
) -> tuple[str, str]:
    """A person, an encounter and an observation, as an application writes them."""
    keys = [str(uuid.uuid4()) for _ in range(3)]
    with place.application() as connection:
        person = connection.execute(
            "INSERT INTO person (name, village, phone, uuid) VALUES (?, ?, ?, ?)",
            (name, village, phone, keys[0]),
        ).lastrowid
        encounter = connection.execute(
            "INSERT INTO encounter (person_id, day, reason, uuid) VALUES (?, ?, ?, ?)",
            (person, time.strftime("%Y-%m-%d"), "first visit", keys[1]),
        ).lastrowid
        connection.execute(
            "INSERT INTO obs (encounter_id, question, answer, uuid) VALUES (?, ?, ?, ?)",
            (encounter, question, answer, keys[2]),
        )
    return keys[0], keys[2]


def _join_all(places: Mapping[str, Place], say: Say) -> dict[str, "Settings"]:
    """What a user does with `init`, `serve`, `invite` and `join`; the settings by name."""
    from syncnode.operations.membership import invite, join
    from syncnode.operations.site import initialise
    from syncnode.settings.new_config import new_settings

    settings = {}
    for name, place in places.items():
        settings[name] = new_settings(
            place.config,
            name=name,
            database=f"sqlite:///{place.database}",
            listen=f"127.0.0.1:{free_port()}" if name == HOSPITAL else None,
            environment={},
        )
        initialise(settings[name], dry_run=False, progress=_quiet)
        said = ", ".join(f"{len(rows)} {table}" for table, rows in place.rows().items())
        say(_by(name, f"is a site now; rows: {said}"))
    places[HOSPITAL].start()
    listen = settings[HOSPITAL].listen
    assert listen is not None, "it was given an address"
    places[HOSPITAL].wait_until_it_listens(*listen)
    for name in CLINICS:
        invitation = invite(settings[HOSPITAL], name, role="child", url=None)
        report = join(settings[name], invitation.token, confirm=lambda _: True, progress=_quiet)
        say(_by(name, f"joined {report.inviter} at {report.url} with a one-time token"))
        places[name].start()
    return settings


# While it is cut


def _edit(places: Mapping[str, Place], known: Mapping[str, str], say: Say) -> list[Edit]:
    grace, jean = known["Grace Uwase"], known["Jean Bosco"]
    weight = known["Claire Ingabire, weight (kg)"]
    edits = [
        Edit("hospital", "Grace's phone", "person", grace, "phone", "0788 999 001"),
        Edit("butaro", "Grace's village", "person", grace, "village", "Butaro"),
        Edit("butaro", "Jean's phone", "person", jean, "phone", "0788 999 002"),
        Edit("rwinkwavu", "Jean's phone", "person", jean, "phone", "0788 999 003"),
        Edit("hospital", "Claire's weight", "obs", weight),
        Edit("rwinkwavu", "Claire's weight", "obs", weight, "answer", "62.4"),
    ]
    for edit in edits:
        place = places[edit.site]
        with place.application() as connection:
            if edit.column is None:
                connection.execute(f"DELETE FROM {edit.table} WHERE uuid = ?", (edit.uuid,))
                say(_by(edit.site, f"deletes {edit.what}, a slip of the pen"))
                continue
            connection.execute(
                f"UPDATE {edit.table} SET {edit.column} = ? WHERE uuid = ?",
                (edit.value, edit.uuid),
            )
        say(_by(edit.site, f"sets {edit.what} to {edit.value}"))
    return edits


def _register_two(places: Mapping[str, Place], say: Say) -> dict[str, str]:
    """Both clinics register a patient, under the same local number."""
    new = {}
    for site, name in zip(CLINICS, ("Alice Mukamana", "Eric Habimana"), strict=True):
        key, _ = _register(places[site], name, site.title(), "", "temperature (C)", "36.8")
        number = places[site].value("person", "person_id", key)
        say(_by(site, f"registers {name}, who gets the number {number} there"))
        new[name] = key
    return new


# Afterwards


def _told_equal(places: Mapping[str, Place], say: Say) -> bool:
    """Wait until all sites hold the same, and say so, or how they differ."""
    began_s = time.monotonic()
    while not (equal := _equal(places)) and time.monotonic() < began_s + EQUAL_S_MAX:
        for place in places.values():
            place.check_running()
        time.sleep(POLL_S)
    if equal:
        say(f"  after {time.monotonic() - began_s:.1f} s all three hold the same rows")
    else:
        say("  " + _verdict(places, equal))
        logs = ", ".join(str(place.log) for place in places.values())
        say(f"  the logs are {logs}")
    return equal


def _equal(places: Mapping[str, Place]) -> bool:
    first, *others = (place.rows() for place in places.values())
    return all(other == first for other in others)


def _verdict(places: Mapping[str, Place], equal: bool) -> str:
    if equal:
        rows = places[HOSPITAL].rows()
        said = ", ".join(f"{len(found)} {table}" for table, found in rows.items())
        return f"All three databases hold the same rows ({said}), compared by plain SQL."
    first = places[HOSPITAL].rows()
    parts = [
        f"{name} in {table}"
        for name in CLINICS
        for table, rows in places[name].rows().items()
        if rows != first[table]
    ]
    return f"The databases are NOT equal; other than at {HOSPITAL}: {', '.join(parts)}."


def _tell_edits(
    place: Place, edits: Sequence[Edit], on_record: Sequence["ConflictReport"], say: Say
) -> bool:
    """What became of each edit; True if each stands or is on record as having given way."""
    accounted = True
    for edit in edits:
        fate = _fate(place, edit, on_record)
        accounted = accounted and fate is not None
        say(_by(edit.site, f"{_sentence(edit)} {fate or 'is GONE WITHOUT A RECORD'}"))
    return accounted


def _fate(place: Place, edit: Edit, on_record: Sequence["ConflictReport"]) -> str | None:
    there = place.value(edit.table, "uuid", edit.uuid) is not None
    records = [
        one
        for one in on_record
        if (one.table, one.row) == (edit.table, edit.uuid) and one.column == edit.column
    ]
    if edit.column is None:
        if not there:
            return "stands: the row is deleted at all sites"
        for record in records:
            return f"is on record and did not win over {record.kept_by}: {record.done}"
        return None
    value = place.value(edit.table, edit.column, edit.uuid)
    if there and value == edit.value:
        beaten = [one.lost_by for one in records if one.kept == edit.value]
        return f"stands, over {' and '.join(beaten)}" if beaten else "stands"
    for record in records:
        if record.lost == edit.value:
            return f"gave way to {record.kept} ({record.kept_by}, later) and is kept on record"
    return None


def _sentence(edit: Edit) -> str:
    if edit.column is None:
        return f"the delete of {edit.what}"
    return f"{edit.what} = {edit.value}"


def _tell_new(places: Mapping[str, Place], new: Mapping[str, str], say: Say) -> None:
    for name, key in new.items():
        parts = []
        for site, place in places.items():
            number = place.value("person", "person_id", key)
            visits = sum(person == key for _, person, *_ in place.rows()["encounter"])
            parts.append(f"number {number} at {site} ({visits} visit)")
        say(f"  {name}: {', '.join(parts)}")


def _tell_what_next(folder: Path, say: Say) -> None:
    def config(site: str) -> str:
        return shlex.quote(str(Path(folder.name) / site / "syncnode.toml"))

    database = shlex.quote(str(Path(folder.name) / "butaro" / "butaro.db"))
    say(f"The files stay in {folder}; the processes have ended. Try next:")
    syncnode = shlex.quote(_as_typed())
    for line in (
        f"{syncnode} conflicts --config {config(HOSPITAL)}",
        f"{syncnode} log --config {config(HOSPITAL)}",
        f"{syncnode} serve --config {config(HOSPITAL)} &",
        f"sqlite3 {database} \"UPDATE person SET phone = '0788 111 222' WHERE person_id = 1\"",
        f"{syncnode} status --config {config('butaro')}",
        f"{syncnode} sync --config {config('butaro')}",
    ):
        say(f"  {line}")


# Small things


def _as_typed() -> str:
    """What runs this program from here: it may lie in no folder of PATH."""
    program, found = Path(sys.argv[0]), shutil.which("syncnode")
    if program.name != "syncnode" or (found and Path(found).resolve() == program.resolve()):
        return "syncnode"
    return os.path.relpath(program)


def _by(site: str, text: str) -> str:
    return f"  {site:<10} {text}"


def _quiet(_: str) -> None:
    """Progress that nobody needs: all of it takes a second."""
