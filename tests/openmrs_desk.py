"""OpenMRS at one site: each thing that it does in a day, as the rows that it writes."""

import random
from collections.abc import Mapping
from typing import Any

from desks import Desk, Event, Lost
from sites import Site

OBS_AT_VITALS = 8
FULL = "SELECT {0}_id, uuid FROM {0}"
# Of these, what stands at the beginning is used all the time; its numbers differ by site.
KNOWN = ("concept", "location", "provider", "encounter_type", "encounter_role", "visit_type")
KNOWN += ("care_setting", "program", "drug", "order_frequency")
TAGS = ("Triage", "Pharmacy", "Maternity")  # few, so that two sites make the same


class OpenmrsDesk(Desk):
    def __init__(self, site: Site, draw: random.Random, lost: Lost) -> None:
        super().__init__(site, draw, lost)
        self._known = {table: self._all(FULL.format(table)) for table in KNOWN}
        self._user = self._all("SELECT user_id, uuid FROM users")[-1]
        self._states = self._all(
            "SELECT program_workflow_state_id, uuid FROM program_workflow_state"
        )
        self._cells = [
            (table, name, column)
            for table, column in (("person_address", "address1"), ("person_name", "family_name2"))
            for name in sorted(str(uuid) for (uuid,) in self.ask(f"SELECT uuid FROM {table}"))[:4]
        ]
        self._visits: list[dict[str, Any]] = []  # the latest
        self._groups: list[str] = []
        self._empty: list[str] = []
        self._orders = 0

    def events(self) -> Mapping[str, Event]:
        return {
            "vitals": self.vitals,
            "consultation": self.consultation,
            "test": self.laboratory,
            "prescription": self.prescription,
            "registration": self.registration,
            "end of visit": self.end_of_visit,
            "shared edit": lambda _now: self.rewrite(self.draw.choice(self._cells)),
            "corrected value": self.corrected_value,
            "corrected name": self.corrected_name,
            "programme": self.programme,
            "log-in": self.log_in,
            "voided group": self.voided_group,
            "administration": self.administration,
            "merge": self.merge,
            "delete": self.real_delete,
        }

    # Rows

    def _all(self, sql: str) -> list[int]:
        """Numbers of rows, in an order that is the same everywhere."""
        return [number for number, _ in sorted(self.ask(sql), key=lambda row: str(row[1]).lower())]

    def _any(self, table: str) -> int:
        return self.draw.choice(self._known[table])

    def _new(self, table: str, now: str, **record: Any) -> int:
        made = {"creator": self._user, "date_created": now, "uuid": self.uuid()}
        return self.insert(table, **{**made, **record})

    def _patient(self) -> int:
        """Anybody, by a uuid that is drawn."""
        sql = (
            "SELECT p.person_id FROM person p JOIN patient q ON q.patient_id = p.person_id"
            " WHERE q.voided = 0{} ORDER BY p.uuid LIMIT 1"
        )
        found = self.one(sql.format(" AND p.uuid >= ?"), self.uuid())
        return int(self.one(sql.format("")) if found is None else found)

    def _visit(self, now: str) -> dict[str, Any]:
        if not self._visits:
            self.vitals(now)
        return self.draw.choice(self._visits)

    def _encounter(self, visit: dict[str, Any], now: str) -> int:
        number = self._new(
            "encounter", now, encounter_type=self._any("encounter_type"), voided=0,
            patient_id=visit["patient"], location_id=visit["location"],
            encounter_datetime=now, visit_id=visit["visit"],
        )  # fmt: skip
        self._new(
            "encounter_provider", now, encounter_id=number, provider_id=self._any("provider"),
            encounter_role_id=self._any("encounter_role"), voided=0,
        )  # fmt: skip
        return number

    def _obs(self, person: int, encounter: int, now: str, **value: Any) -> int:
        return self._new(
            "obs", now, person_id=person, concept_id=self._any("concept"), voided=0,
            encounter_id=encounter, obs_datetime=now, location_id=self._any("location"),
            **{"status": "FINAL", **value},
        )  # fmt: skip

    # Events

    def registration(self, now: str) -> None:
        person = self._new(
            "person", now, gender=self.draw.choice("MF"), birthdate_estimated=1, dead=0,
            birthdate=f"19{self.draw.randint(30, 99)}-06-15", deathdate_estimated=0, voided=0,
        )  # fmt: skip
        user = {"creator": self._user, "date_created": now}
        self.insert("patient", patient_id=person, voided=0, allergy_status="Unknown", **user)
        self._name(person, now, "Mukamana")
        self._new(
            "person_address", now, person_id=person, preferred=1, voided=0,
            address1=self.text("cell"), city_village="Rwinkwavu", country="Rwanda",
        )  # fmt: skip
        for format, value in (
            ("java.lang.String", "Kayonza"),
            ("org.openmrs.Concept", str(self._any("concept"))),
        ):
            sql = "SELECT max(person_attribute_type_id) FROM person_attribute_type WHERE format = ?"
            self._new(
                "person_attribute", now, person_id=person, value=value, voided=0,
                person_attribute_type_id=self.one(sql, format),
            )  # fmt: skip
        for kind in self._all(
            "SELECT patient_identifier_type_id, uuid FROM patient_identifier_type"
        )[:2]:
            self._new(
                "patient_identifier", now, patient_id=person, identifier=self.text("RW"),
                identifier_type=kind, preferred=1, voided=0, location_id=self._any("location"),
            )  # fmt: skip

    def _name(self, person: int, now: str, family: str) -> int:
        return self._new(
            "person_name", now, preferred=1, person_id=person, given_name=self.text("Uwase"),
            family_name=family, voided=0,
        )  # fmt: skip

    def vitals(self, now: str) -> None:
        visit: dict[str, Any] = {"patient": self._patient(), "location": self._any("location")}
        visit["visit"] = self._new(
            "visit", now, patient_id=visit["patient"], visit_type_id=self._any("visit_type"),
            date_started=now, location_id=visit["location"], voided=0,
        )  # fmt: skip
        visit["encounter"] = self._encounter(visit, now)
        for _ in range(OBS_AT_VITALS):
            number = round(self.draw.uniform(1, 300), 1)
            visit["obs"] = self._obs(
                visit["patient"], visit["encounter"], now, value_numeric=number
            )
        self._visits = [*self._visits[-20:], visit]

    def consultation(self, now: str) -> None:
        visit = self._visit(now)
        person, encounter = visit["patient"], self._encounter(visit, now)
        group = self._obs(person, encounter, now)
        self._groups.append(self.one("SELECT uuid FROM obs WHERE obs_id = ?", group))
        coded = self._any("concept")
        self._obs(person, encounter, now, obs_group_id=group, value_coded=coded)
        self._obs(person, encounter, now, obs_group_id=group, value_text="fièvre; no 'milk'")
        self._new(
            "conditions", now, condition_coded=self._any("concept"), clinical_status="ACTIVE",
            verification_status="CONFIRMED", onset_date=now, patient_id=person,
            encounter_id=encounter, voided=0,
        )  # fmt: skip
        self._new(
            "encounter_diagnosis", now, diagnosis_coded=self._any("concept"), dx_rank=1,
            encounter_id=encounter, patient_id=person, certainty="PROVISIONAL", voided=0,
        )  # fmt: skip
        allergy = self._new(
            "allergy", now, patient_id=person, coded_allergen=self._any("concept"), voided=0,
            allergen_type="DRUG", encounter_id=encounter,
        )  # fmt: skip
        concept = self._any("concept")
        self.insert(
            "allergy_reaction", allergy_id=allergy, reaction_concept_id=concept, uuid=self.uuid()
        )
        self._changed("patient", "patient_id", person, now, allergy_status="See list")

    def _changed(self, table: str, key: str, number: int, now: str, **record: Any) -> None:
        self.change(table, {key: number}, changed_by=self._user, date_changed=now, **record)

    def _order(self, visit: dict[str, Any], kind: int, now: str, **record: Any) -> int:
        self._orders += 1  # a local counter: each site has an order 1
        return self._new(
            "orders", now, order_type_id=kind, concept_id=self._any("concept"), voided=0,
            orderer=self._any("provider"), encounter_id=visit["encounter"],
            patient_id=visit["patient"], care_setting=self._any("care_setting"),
            order_number=f"ORD-{self._orders}", urgency="ROUTINE", date_activated=now,
            **{"order_action": "NEW", **record},
        )  # fmt: skip

    def _order_types(self) -> list[int]:
        return self._all("SELECT order_type_id, uuid FROM order_type")

    def prescription(self, now: str) -> None:
        visit, kind = self._visit(now), self._order_types()[0]
        order = self._order(visit, kind, now)
        self._drug(order, frequency=self._any("order_frequency"), dose=5.5)
        revised = self._order(visit, kind, now, order_action="REVISE", previous_order_id=order)
        self._drug(revised, dose=10)
        self.change("orders", {"order_id": order}, date_stopped=now)

    def _drug(self, order: int, **record: Any) -> None:
        self.insert(
            "drug_order", order_id=order, drug_inventory_id=self._any("drug"), as_needed=0,
            dosing_type="org.openmrs.SimpleDosingInstructions", dispense_as_written=0, **record,
        )  # fmt: skip

    def laboratory(self, now: str) -> None:
        visit = self._visit(now)
        order = self._order(visit, self._order_types()[-1], now, accession_number=self.text("LAB"))
        self.insert("test_order", order_id=order, specimen_source=self._any("concept"))
        self._obs(visit["patient"], visit["encounter"], now, order_id=order, value_numeric=412)
        self.change("orders", {"order_id": order}, fulfiller_status="COMPLETED")

    def corrected_name(self, now: str) -> None:
        person = self._patient()
        name = self.one("SELECT max(person_name_id) FROM person_name WHERE person_id = ?", person)
        if self.draw.random() < 0.5:
            text = self.text("Mukamanzi")
            self._changed("person_name", "person_name_id", name, now, family_name=text)
            self._changed("person", "person_id", person, now)
            return
        self._name(person, now, "Mukamanzi Rose")
        self._voided("person_name", "person_name_id", name, now, "replaced")

    def _voided(self, table: str, key: str, number: int, now: str, reason: str) -> None:
        self.change(
            table, {key: number}, voided=1, voided_by=self._user, date_voided=now,
            void_reason=reason,
        )  # fmt: skip

    def corrected_value(self, now: str) -> None:
        visit = self._visit(now)
        wrong = visit["obs"]
        visit["obs"] = self._obs(
            visit["patient"], visit["encounter"], now, previous_version=wrong, value_numeric=63.1,
            status="AMENDED",
        )  # fmt: skip
        self._voided("obs", "obs_id", wrong, now, "typing error")

    def voided_group(self, now: str) -> None:
        if not self._groups:
            self.consultation(now)
        group = self.number_of("obs", "obs_id", self._groups.pop())
        for key in ("obs_group_id", "obs_id"):
            self._voided("obs", key, group, now, "wrong patient")

    def programme(self, now: str) -> None:
        enrolled = self._new(
            "patient_program", now, patient_id=self._patient(), program_id=self._any("program"),
            date_enrolled=now, location_id=self._any("location"), voided=0,
        )  # fmt: skip
        day = now[:10]
        first = self._state(enrolled, day, now)
        self._changed("patient_state", "patient_state_id", first, now, end_date=day)
        self._state(enrolled, day, now)
        self._changed("patient_program", "patient_program_id", enrolled, now, date_completed=now)

    def _state(self, enrolled: int, day: str, now: str) -> int:
        state = self.draw.choice(self._states)
        return self._new(
            "patient_state", now, patient_program_id=enrolled, state=state, start_date=day, voided=0
        )

    def end_of_visit(self, now: str) -> None:
        visit = self._visit(now)
        self._changed("visit", "visit_id", visit["visit"], now, date_stopped=now)
        kind = self.one("SELECT max(relationship_type_id) FROM relationship_type")
        self._new(
            "relationship", now, person_a=visit["patient"], relationship=kind, voided=0,
            person_b=self._patient(),
        )  # fmt: skip
        if self.draw.random() < 0.05:
            person = visit["patient"]
            self._changed("person", "person_id", person, now, dead=1, death_date=now)

    def log_in(self, _now: str) -> None:
        """What stays at the site: a failed log-in, and a setting."""
        self.delete("user_property", user_id=self._user, property="loginAttempts")
        value = str(self.draw.randrange(9))
        user = self._user
        self.insert("user_property", user_id=user, property="loginAttempts", property_value=value)
        seed = "order.nextOrderNumberSeed"
        self.change("global_property", {"property": seed}, property_value=str(self._orders))

    def administration(self, now: str) -> None:
        person = self._new(
            "person",
            now,
            gender="M",
            birthdate_estimated=0,
            dead=0,
            deathdate_estimated=0,
            voided=0,
        )
        self._name(person, now, "Habimana")
        user = self._new(
            "users", now, system_id=self.text("3"), username=self.text("j"), password="x", salt="y",
            person_id=person, retired=0,
        )  # fmt: skip
        self.insert("user_role", user_id=user, role="Provider")
        self.insert("user_property", user_id=user, property="defaultLocale", property_value="fr")
        identifier = self.text("PRV")
        self._new("provider", now, person_id=person, identifier=identifier, retired=0)
        self._concept(now)
        tag = self.draw.choice(TAGS)
        if self.one("SELECT 1 FROM location_tag WHERE name = ?", tag) is None:
            self._new("location_tag", now, name=tag, retired=0)

    def _concept(self, now: str) -> None:
        kinds = [self.one(f"SELECT min({name}_id) FROM {name}") for name in
                 ("concept_datatype", "concept_class")]  # fmt: skip
        concept = self._new(
            "concept", now, retired=0, datatype_id=kinds[0], class_id=kinds[1], is_set=0
        )
        self.insert("concept_numeric", concept_id=concept, units="mg/dL", allow_decimal=1)
        tag = self.one("SELECT min(concept_name_tag_id) FROM concept_name_tag")
        for locale in ("en", "fr"):
            name = self._new(
                "concept_name", now, concept_id=concept, name=self.text("Glycémie"), voided=0,
                locale=locale, locale_preferred=1, concept_name_type="FULLY_SPECIFIED",
            )  # fmt: skip
            if tag is not None:
                self.insert("concept_name_tag_map", concept_name_id=name, concept_name_tag_id=tag)
        self._new("concept_description", now, concept_id=concept, description="d", locale="en")
        of, weight = self._any("concept"), self.draw.randrange(9)
        self._new("concept_set", now, concept_id=concept, concept_set=of, sort_weight=weight)
        self._new("concept_answer", now, concept_id=of, answer_concept=concept, sort_weight=weight)

    def merge(self, now: str) -> None:
        winner, loser = self._patient(), self._patient()
        if winner == loser:
            return
        for table in ("visit", "encounter", "patient_program"):
            self._changed(table, "patient_id", loser, now, patient_id=winner)
        self.change("obs", {"person_id": loser}, person_id=winner)
        self.change("orders", {"patient_id": loser}, patient_id=winner)
        for identifier, kind in self.ask(
            "SELECT identifier, identifier_type FROM patient_identifier"
            " WHERE patient_id = ? AND voided = 0 ORDER BY uuid", loser,
        ):  # fmt: skip
            self._new(
                "patient_identifier", now, patient_id=winner, identifier=identifier, preferred=0,
                identifier_type=kind, voided=0, location_id=self._any("location"),
            )  # fmt: skip
        for (family,) in self.ask(
            "SELECT family_name FROM person_name WHERE person_id = ? ORDER BY uuid", loser
        ):
            self._name(winner, now, family)
        reason = f"Merged with patient #{winner}"
        for table, key in (("patient_identifier", "patient_id"), ("patient", "patient_id"),
                           ("person", "person_id")):  # fmt: skip
            self._voided(table, key, loser, now, reason)
        self._new(
            "person_merge_log", now, winner_person_id=winner, loser_person_id=loser,
            merged_data="<personMergeLogData/>", voided=0,
        )  # fmt: skip

    def real_delete(self, now: str) -> None:
        """A role taken away; an empty encounter purged, and another made to be purged later."""
        user = self.one("SELECT max(user_id) FROM user_role WHERE role = 'Provider'")
        if user is not None:
            self.delete("user_role", user_id=user, role="Provider")
        if self._empty:
            self.delete("encounter", uuid=self._empty.pop())
        self._empty.append(self.uuid())
        self._new(
            "encounter", now, encounter_type=self._any("encounter_type"), voided=0,
            patient_id=self._patient(), location_id=self._any("location"), encounter_datetime=now,
            uuid=self._empty[-1],
        )  # fmt: skip
