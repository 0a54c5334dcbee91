"""The clinic of `clinic.py` at work: the same events as OpenMRS has, over its own tables."""

import random
from collections.abc import Mapping
from typing import Any

from desks import Desk, Event, Lost
from sites import Site

TYPES = ("Maternity", "Triage", "Vaccination")  # few, so that two sites make the same


class ClinicDesk(Desk):
    def __init__(self, site: Site, draw: random.Random, lost: Lost) -> None:
        super().__init__(site, draw, lost)
        self._cells = [
            ("person", str(name), "gender")
            for name in sorted(str(uuid) for (uuid,) in self.ask("SELECT uuid FROM person"))[:5]
        ]
        self._encounters: list[str] = []  # the latest, by uuid
        self._groups: list[str] = []
        self._users: list[str] = []

    def events(self) -> Mapping[str, Event]:
        return {
            "vitals": self.vitals,
            "consultation": self.consultation,
            "prescription": self.prescription,
            "registration": self.registration,
            "shared edit": lambda _now: self.rewrite(self.draw.choice(self._cells)),
            "corrected value": self.corrected_value,
            "corrected name": self.corrected_name,
            "voided group": self.purged_group,
            "administration": self.administration,
            "merge": self.merge,
            "delete": self.real_delete,
        }

    def _patient(self) -> int:
        sql = (
            "SELECT p.person_id FROM person p JOIN patient q ON q.patient_id = p.person_id{}"
            " ORDER BY p.uuid LIMIT 1"
        )
        found = self.one(sql.format(" WHERE p.uuid >= ?"), self.uuid())
        return int(self.one(sql.format("")) if found is None else found)

    def _some(self, table: str, key: str) -> int:
        """One of the rows that a table has, by a uuid that is drawn."""
        sql = f"SELECT {key} FROM {table}{{}} ORDER BY uuid LIMIT 1"
        found = self.one(sql.format(" WHERE uuid >= ?"), self.uuid())
        return int(self.one(sql.format("")) if found is None else found)

    def registration(self, now: str) -> None:
        user = self._some("users", "user_id")
        person = self.insert(
            "person", gender=self.draw.choice("MF"), birthdate="1987-06-15", dead=0,
            weight_kg="61.50", creator=user, date_created=now, uuid=self.uuid(),
        )  # fmt: skip
        self.insert("patient", patient_id=person, creator=user)
        for kind in ("telephone", "village"):
            text = self.text(kind)
            self.insert(
                "person_attribute", person_id=person, type=kind, value=text, uuid=self.uuid()
            )

    def _encounter(self, now: str) -> tuple[int, int]:
        """(patient, encounter) of a new one."""
        self._encounters = [*self._encounters[-20:], self.uuid()]
        patient = self._patient()
        number = self.insert(
            "encounter", patient_id=patient, uuid=self._encounters[-1], encounter_datetime=now,
            encounter_type=self._some("encounter_type", "encounter_type_id"),
            location_id=self._some("location", "location_id"),
        )  # fmt: skip
        return patient, number

    def _obs(self, person: int, encounter: int, **value: Any) -> int:
        return self.insert(
            "obs", person_id=person, concept_id=self._some("concept", "concept_id"),
            encounter_id=encounter, **{"uuid": self.uuid(), **value},
        )  # fmt: skip

    def vitals(self, now: str) -> None:
        patient, encounter = self._encounter(now)
        for _ in range(8):
            self._obs(patient, encounter, value_numeric=round(self.draw.uniform(1, 300), 1))

    def consultation(self, now: str) -> None:
        patient, encounter = self._encounter(now)
        self._groups.append(self.uuid())
        group = self._obs(patient, encounter, uuid=self._groups[-1])
        for _ in range(2):
            self._obs(patient, encounter, obs_group_id=group, value_text=self.text("fièvre"))
        self.insert("visit_note", patient_id=patient, note=self.text("note"))
        self.change("patient", {"patient_id": patient}, allergy_status="See list")

    def prescription(self, now: str) -> None:
        _, encounter = self._encounter(now)
        for number in range(2):
            self.insert(
                "order",
                **{"Group Name": self.text("group"), "100%": number, "Größe": "groß",
                   "select": number, "encounter`s": encounter, "UUID": self.uuid()},
            )  # fmt: skip

    def corrected_value(self, _now: str) -> None:
        number = self._some("obs", "obs_id")
        self.change("obs", {"obs_id": number}, value_text=self.text("corrected"))

    def corrected_name(self, _now: str) -> None:
        number = self._some("person_attribute", "person_attribute_id")
        self.change("person_attribute", {"person_attribute_id": number}, value=self.text("at"))

    def purged_group(self, now: str) -> None:
        if not self._groups:
            self.consultation(now)
        name = self._groups.pop()
        group = self.number_of("obs", "obs_id", name)
        if group is not None:
            self.delete("obs", obs_group_id=group)
            self.delete("obs", uuid=name)

    def administration(self, now: str) -> None:
        creator = self._some("users", "user_id")
        person = self.insert(
            "person", gender="M", creator=creator, date_created=now, uuid=self.uuid()
        )
        self._users.append(self.uuid())
        user = self.insert(
            "users", system_id=self.text("3"), username=self.text("j"), person_id=person,
            email=self.text("mail"), creator=creator, uuid=self._users[-1],
        )  # fmt: skip
        self.insert("user_role", user_id=user, role="Infirmière")
        self.insert("User Property", user_id=user, property="locale", **{"the value": "fr"})
        kind = self._some("concept_class", "concept_class_id")
        concept = self.insert("concept", class_id=kind, creator=creator, uuid=self.uuid())
        for _ in range(2):
            self.insert("tag_map", concept_id=concept, tag="preferred")
        name = self.draw.choice(TYPES)
        if self.one("SELECT 1 FROM encounter_type WHERE name = ?", name) is None:
            self.insert("encounter_type", name=name, uuid=self.uuid())

    def merge(self, _now: str) -> None:
        """Rows of the loser go to the winner; the loser goes, with what hangs on it."""
        winner, loser = self._patient(), self._patient()
        user = self.one("SELECT user_id FROM users WHERE person_id = ?", loser)
        if winner == loser or user is not None or not self._mine(loser):
            return
        self.change("encounter", {"patient_id": loser}, patient_id=winner)
        self.change("visit_note", {"patient_id": loser}, patient_id=winner)
        self.change("obs", {"person_id": loser}, person_id=winner)
        self.delete("patient", patient_id=loser)
        self.delete("person", person_id=loser)

    def _mine(self, person: int) -> bool:
        """Not one of those whose edits are looked at afterwards."""
        name = str(self.one("SELECT uuid FROM person WHERE person_id = ?", person))
        return name not in {name for _, name, _ in self._cells}

    def real_delete(self, _now: str) -> None:
        """A role taken away; an encounter purged, with what hangs on it."""
        if self._users:
            user = self.number_of("users", "user_id", self._users.pop())
            self.delete("user_role", user_id=user, role="Infirmière")
        if self._encounters:
            self.delete("encounter", uuid=self._encounters.pop(0))
